"""Moments: states that a sentence is about, by name, for a bench to be set to.

>>> moment = MOMENTS["four gigabytes"].build()
>>> print(moment.timeline.caption(moment.timeline.position))
soft_offline at p0: returned -5
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from .memmap import DIRECT_MAP, KernelOops
from .timeline import Timeline
from .versions import ZbudError

BIT_29 = 0x3B2C3800  # a physical address for the pool structure that has bit 29 set


class Moment(NamedTuple):
    """What a bench can be set to: a timeline at its end, a page to look at, a reader to send there (None: any)."""

    timeline: Timeline
    pfn: int
    reader: str | None


@dataclass(frozen=True)
class Setting:
    """How a moment comes about: a pool of `version` and `scheme` (None: the version's own), and what is done to it.

    `do` holds ("alloc", bytes), ("free", number of the allocation), ("reclaim", retries), ("visit", reader, pfn) and
    ("dress", kind, order).  The pool has `pages` pages, the first of them page 0, and its structure lies at physical
    address `place` (None: behind the pages).  `pfn` is the page to look at, `about` says in words what there is to see.
    """

    do: tuple[tuple[Any, ...], ...]
    version: str = "v12"
    scheme: str | None = None
    pfn: int = 0
    reader: str | None = None
    pages: int = 8
    place: int | None = None
    about: str = ""

    def build(self) -> Moment:
        """A new timeline, with everything done; an oops at its end is part of it."""
        address = None if self.place is None else DIRECT_MAP + self.place
        timeline = Timeline(self.version, self.pages, scheme=self.scheme, allocator="kernel", address=address)
        for what, *arguments in self.do:
            if what == "free":
                arguments = [timeline.handles[arguments[0]]]
            with suppress(ZbudError, KernelOops):  # it is an event all the same
                getattr(timeline, what)(*arguments)
        return Moment(timeline, self.pfn, self.reader)


_PAIR = (("alloc", 576), ("alloc", 1216))  # 9 and 19 chunks
_PAIRS = (*_PAIR, ("alloc", 768), ("alloc", 1920))  # and 12 and 30
_ALONE = (("alloc", 576),)  # 9 chunks, 55 free

MOMENTS: Mapping[str, Setting] = MappingProxyType(
    {
        "a pair": Setting(_PAIR, reader="kpagecount", about="a v12 page with 9 chunks on the left and 19 on the right"),
        "two pairs": Setting(_PAIRS, pfn=1, reader="memory_failure", about="two v12 pages with two tenants each"),
        "odd chunks": Setting(_PAIR, reader="makedumpfile", about="first_chunks is 9: makedumpfile drops the page"),
        "even chunks": Setting(_PAIRS, pfn=1, reader="makedumpfile", about="first_chunks is 12: the page is kept"),
        "four gigabytes": Setting(
            (*_PAIRS, ("visit", "soft_offline", 0)),
            reader="soft_offline",
            about="soft_offline_page has kept its reference: buddy.prev of page 0 is 2^32 too high",
        ),
        "the oops": Setting(
            (*_PAIRS, ("visit", "soft_offline", 0), ("free", 0)),
            reader="soft_offline",
            about="zbud takes page 0 off its list, and follows the pointer that is 2^32 too high",
        ),
        "balloon": Setting(
            _ALONE,
            scheme="overlay-clear",
            place=BIT_29,
            reader="migrate_scanner",
            about="a page alone on unbuddied[55], with the pool where bit 29 of its address is set",
        ),
        "stolen": Setting(
            (*_ALONE, ("visit", "migrate_scanner", 0)),
            scheme="overlay-clear",
            place=BIT_29,
            reader="migrate_scanner",
            about="compaction has taken the page of zbud's for a page of a balloon",
        ),
        "bad page": Setting(
            (*_PAIR, ("visit", "hwpoison-inject", 0)),
            scheme="overlay-on-mapcount",
            reader="hwpoison-inject",
            about="bad_page has written over the chunk counts",
        ),
        "the tail": Setting(
            (*_PAIR, ("dress", "compound slab", 1)),
            pfn=3,
            reader="memory_failure",
            about="the second page of a compound slab page, and memory_failure on its way to it",
        ),
        "freed in use": Setting(
            (*_PAIR, ("visit", "unpoison", 0)),
            scheme="inline-header",
            reader="unpoison",
            about="unpoison has freed a page that zbud still uses",
        ),
        "the proposal": Setting(
            _PAIRS, scheme="slab-flag", pfn=1, reader="kpageflags", about="PG_slab and a positive _count: 30 May 2013"
        ),
        "merged": Setting(
            _PAIRS, "linux-3.11", pfn=1, reader="kpageflags", about="the header in the page, as merged and released"
        ),
    }
)


def moment(name: str) -> Moment:
    """A moment of MOMENTS, built; ValueError for an unknown name."""
    if name not in MOMENTS:
        raise ValueError(f"there is no moment {name!r}; there are: {', '.join(MOMENTS)}")
    return MOMENTS[name].build()
