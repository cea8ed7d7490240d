"""The readers that a scheme has to face, and the honest answer of each.

The honest answer is what the reader would report or do if it knew who owns the page, and what of the record is the
owner's private matter.  zbud's pages are kernel pages in use, so it is what the reader should say of any such page; it
is declared here, and a test sends every reader to a plain kernel page to see where it does not live up to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

from ..memmap import Memmap
from ..page_alloc import PageAllocator
from ..peekers import PEEKERS, of
from ..peekers.machine import LRU_LOCK, Machine
from ..peekers.report import KPF, SLABS, kpf_names
from ..peekers.rules import Steps, Visit
from ..releases import LINUX_3_10, Release

TAKES, DECIDES, REPORTS = "takes a reference", "decides and acts", "reports"
BUSY, IO_ERROR = -16, -5


@dataclass(frozen=True)
class Reader:
    """A column of the matrix: a peeker, what it does, its honest answer, and the flags that it may leave behind."""

    name: str
    peeker: str
    does: str
    honest: Any
    words: str
    leaves: tuple[str, ...] = ()
    slab: Any = None  # as honest, of a page that is genuinely slab's
    evicting: tuple[Any, ...] = ()  # as honest, while the page is being evicted: it is under reclaim then
    prepare: Callable[[Visit], None] | None = None
    show: Callable[[Any], str] = str

    def visit(self, around: Any, pfn: int) -> Visit:
        """A visit, ready to be taken step by step."""
        visit = PEEKERS[self.peeker].steps(around, pfn)
        if self.prepare:  # as its first deed, before the first pause
            visit.peeker = copy(visit.peeker)
            visit.peeker.plan = _prepared(self.prepare, visit.peeker.plan)
        return visit


def _prepared(prepare: Callable[[Visit], None], plan: Callable[[Visit], Steps]) -> Callable[[Visit], Steps]:
    def both(visit: Visit) -> Steps:
        prepare(visit)
        return (yield from plan(visit))

    return both


def with_lru_lock(visit: Visit) -> None:
    """As if an LRU page before this one had made the scanner take the lock: it looks closer then."""
    visit.facts["lru_lock"] = True
    visit.machine.spin_lock(visit.machine.zone_at(visit.machine.walked) + LRU_LOCK)


def _kpageflags(value: int) -> str:
    return f"{value:#x} ({', '.join(kpf_names(value))})" if value else "0x0"


def _hex(value: int) -> str:
    return f"{value:#x}"


_ALL = (
    Reader("memory_failure", "memory_failure", TAKES, BUSY, "not on the LRU: ignored, -EBUSY", ("hwpoison",)),
    Reader("hwpoison-inject", "inject", TAKES, BUSY, "not on the LRU: ignored, -EBUSY", ("hwpoison",)),
    Reader("soft_offline", "soft_offline", TAKES, IO_ERROR, "cannot be moved: -EIO"),
    Reader("unpoison", "mf_then_unpoison", TAKES, 0, "poisoned, then as it was before"),
    Reader("do_migrate_range", "do_migrate_range", TAKES, BUSY, "somebody's, and not on the LRU: -EBUSY"),
    Reader("page_cache", "page_cache", TAKES, 0, "not the page that was looked for"),
    Reader("migrate_scanner", "isolate_migratepages", DECIDES, 1, "left alone", prepare=with_lru_lock),
    Reader("free_scanner", "isolate_freepages", DECIDES, 0, "not free"),
    Reader("page_is_buddy", "page_is_buddy0", DECIDES, 0, "no free block to merge with"),
    Reader("has_unmovable", "has_unmovable", DECIDES, 1, "cannot be moved"),
    Reader("test_isolated", "test_isolated", DECIDES, 0, "somebody has it"),
    Reader("saveable_page", "saveable_page", DECIDES, 1, "saved with the image"),
    Reader("kvm_is_mmio", "kvm_is_mmio_pfn", DECIDES, 0, "RAM"),
    Reader("ioremap", "ioremap", DECIDES, 0, "refused: it is RAM in use"),
    Reader("ksm", "ksm", DECIDES, 0, "not this node's page"),
    Reader("kmemleak", "kmemleak", DECIDES, 1, "its record is searched for pointers"),
    Reader("node_sysfs", "node_sysfs", DECIDES, 0, "of node 0"),
    Reader("makedumpfile", "dump31", DECIDES, 0, "in the dump"),
    Reader(
        "kpageflags",
        "kpageflags",
        REPORTS,
        0,
        "no flag",
        slab=1 << KPF["SLAB"],
        evicting=(1 << KPF["RECLAIM"],),
        show=_kpageflags,
    ),
    Reader("kpagecount", "kpagecount", REPORTS, 0, "mapped by nobody", show=_hex),
    Reader("show_mem", "show_mem", REPORTS, 1, "one more non-shared page"),
    Reader("crash", "crash", REPORTS, 0, "in none of the special totals", slab=SLABS),
)
READERS = {reader.name: reader for reader in _ALL}


class Column(Protocol):
    """What readers of all kernels have in common."""

    @property
    def name(self) -> str: ...
    @property
    def peeker(self) -> str: ...
    @property
    def does(self) -> str: ...
    def visit(self, around: Any, pfn: int) -> Visit: ...


def readers_of(release: Release) -> Mapping[str, Column]:
    """The readers that pages have to face in a kernel, by name: READERS, or those of real.py."""
    if release is LINUX_3_10:
        return READERS
    from .real import readers

    return readers(release)


def begin(name: str, around: Machine | Memmap | PageAllocator, pfn: int) -> Visit:
    """A visit by name, ready to be taken step by step: of a reader that pages have to face, or of any other peeker.

    Where both have the name, the reader is meant: `unpoison` poisons first.  Raises ValueError for an unknown name,
    IndexError for a page outside of the memmap.
    """
    release = (around if isinstance(around, Memmap) else around.memmap).release
    readers, peekers = readers_of(release), of(release.name)
    if name in readers:
        return readers[name].visit(around, pfn)
    if name not in peekers:
        raise ValueError(f"unknown reader {name!r}; known: {', '.join(dict.fromkeys((*readers, *peekers)))}")
    return peekers[name].steps(around, pfn)
