"""Kernel releases: what of the memmap differs between them.

Linux moved the names over the 64 bytes more than once since 2013: the fields, the bits of `flags`, how a tail page
names its head, and where the kernel sees physical memory.  A `Release` has all that; memmaps and peekers carry one.

    >>> LINUX_3_10.flags["slab"], release("6.1").flags["slab"]
    (7, 9)
    >>> release("6.1").layout["_mapcount"].offset
    48
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .struct_page import (
    LIST_POISON1,
    LIST_POISON2,
    NODE_SHIFT,
    PG,
    STRUCT_PAGE,
    ZONE_SHIFT,
    ZONES,
    Field,
    Layout,
    PageLike,
    PageTail,
)

# Names over bytes that have a plainer one: of tails and the records behind a head, and one that 3.10 has besides.
COMPOUND = (
    "first_page", "compound_head", "compound_dtor", "compound_order", "compound_mapcount", "compound_nr",
    "_large_mapcount", "_entire_mapcount",
)  # fmt: skip
SPECIAL = (*COMPOUND, "pfmemalloc")


@dataclass(frozen=True, eq=False)
class Release:
    """One kernel's reading of the memmap.

    `flags` are the PG_ names and bits; `tail` asks whether a record is a tail page's, `head` says at which address the
    record of a tail's head is.  `direct_map` is the address of byte 0 of physical memory.  `zone_shift` and
    `node_shift` say where in the flags word zone and node begin; the node takes the rest.  `types` are the page types.
    `poison` is what list_del leaves in next and in prev.
    """

    name: str
    layout: Layout
    flags: Mapping[str, int]
    tail: Callable[[PageLike], Any]
    head: Callable[[PageLike], Any]
    direct_map: int
    zone_shift: int
    node_shift: int
    zones: tuple[str, ...] = ZONES
    types: Mapping[str, int] | None = None
    poison: tuple[int, int] = (LIST_POISON1, LIST_POISON2)

    @property
    def references(self) -> str:
        """What this kernel calls the number of references to a page, in the upper half of the word of `_mapcount`."""
        return "_count" if "_count" in self.layout else "_refcount"

    @property
    def plain(self) -> list[Field]:
        """The fields of a page that is nothing special: of a union, one name for each byte."""
        return [f for f in self.layout.values() if f.name not in SPECIAL]

    def flag_names(self, flags: int) -> list[str]:
        """The PG_ names of the set low bits of a flags word."""
        return [name for name, bit in self.flags.items() if flags >> bit & 1]

    def zone(self, flags: Any) -> Any:
        """The number of the zone that a flags word names, or a column of them."""
        return flags >> self.zone_shift & ((1 << self.node_shift - self.zone_shift) - 1)

    def __repr__(self) -> str:
        return f"<Release: Linux {self.name}>"


LINUX_3_10 = Release(
    "3.10",
    STRUCT_PAGE,
    PG,
    tail=PageTail,
    head=lambda p: p["first_page"],
    direct_map=0xFFFF880000000000,
    zone_shift=ZONE_SHIFT,
    node_shift=NODE_SHIFT,
)

NAMES = ("3.10", "6.1", "6.12")


def room(name: str) -> str:
    """The module, here and in peekers, that has what is particular to a release after 3.10."""
    return f"linux_{name.replace('.', '_')}"


def release(name: str) -> Release:
    """A release by name.  Raises ValueError for one that this kit does not know."""
    if name == LINUX_3_10.name:
        return LINUX_3_10
    if name not in NAMES:
        raise ValueError(f"no layout of struct page is known here for Linux {name}; known: {', '.join(NAMES)}")
    found: Release = import_module(f".{room(name)}", __package__).RELEASE
    return found
