"""`struct page` of Linux 6.12: the offsets of 6.1, other flag bits, and the page type as a number in the top byte.

Slab is no flag any more but a type, and so is hugetlb (source layout-6.12).

    >>> type_value("slab"), hex(type_value("slab") & 0xffffffff)
    (-184549376, '0xf5000000')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from .linux_6_1 import RELEASE as RELEASE_6_1
from .linux_6_1 import STRUCT_PAGE_6_1, PageAnon, PageTail, mapcount, page_count
from .struct_page import Field, Layout, PageLike, Question

_BEHIND_A_HEAD = ("compound_dtor", "compound_order", "compound_mapcount", "compound_nr")
STRUCT_PAGE_6_12 = Layout(
    "struct page, Linux 6.12",
    *[field for field in STRUCT_PAGE_6_1.values() if field.name not in _BEHIND_A_HEAD],
    Field("_large_mapcount", 16, 4, signed=True),  # these two of the record behind a head
    Field("_entire_mapcount", 20, 4, signed=True),
)

PG_6_12: Mapping[str, int] = MappingProxyType(
    {
        name: bit
        for bit, name in enumerate(
            "locked writeback referenced uptodate dirty lru head waiters active workingset owner_priv_1 owner_2 arch_1 "
            "reserved private private_2 reclaim swapbacked unevictable mlocked hwpoison young idle arch_2".split()
        )
    }
)
TYPES: Mapping[str, int] = MappingProxyType(
    {
        name: number
        for number, name in enumerate("buddy offline table guard hugetlb slab zsmalloc unaccepted".split(), 0xF0)
    }
)
HAS_TYPE = -0x100_0000  # a _mapcount below it is a type


def mask(*flags: str) -> int:
    """Some flags as one number."""
    return sum(1 << PG_6_12[flag] for flag in flags)


CHECK_AT_FREE = mask(*"lru locked private private_2 writeback reserved active unevictable mlocked".split())
CHECK_AT_PREP = (1 << len(PG_6_12)) - 1 - mask("hwpoison")

RELEASE = replace(RELEASE_6_1, name="6.12", layout=STRUCT_PAGE_6_12, flags=PG_6_12, types=TYPES)


def type_value(name: str) -> int:
    """What `_mapcount` is in a page of a type."""
    return (TYPES[name] << 24) - (1 << 32)


def page_type(p: PageLike, name: str) -> Any:
    """Whether the page is of a type: its number is the top byte of `_mapcount`'s word."""
    return p["_mapcount"] >> 24 == TYPES[name] - 0x100


def page_flag(p: PageLike, name: str) -> Any:
    """Whether flag PG_`name` is set on `p` itself."""
    return (p["flags"] & (1 << PG_6_12[name])) != 0


def PageSlab(p: PageLike) -> Any:
    """Of a slab: the head's type."""
    return page_type(p.head(), "slab")


def PageBuddy(p: PageLike) -> Any:
    """First page of a free block.  The block's order is then in private."""
    return page_type(p, "buddy")


def large(p: PageLike) -> Any:
    """Whether the compound page that a record is part of has more than one page: PG_head of its head."""
    return page_flag(p.head(), "head")


def types(p: PageLike) -> list[str]:
    """The name of the type that a page has, if it has one that is known."""
    return [name for name in TYPES if page_type(p, name)]


QUESTIONS: tuple[Question, ...] = (  # as in linux_6_1
    ("PageHead(p)", lambda p: page_flag(p, "head"), "flags"),
    ("PageTail(p)", PageTail, "compound_head"),
    ("PageAnon(p)", PageAnon, "mapping"),
    ("PageSlab(p)", PageSlab, "_mapcount"),
    ("PageBuddy(p)", PageBuddy, "_mapcount"),
    ("page_mapcount(p) <= 0", lambda p: mapcount(p) <= 0, "_mapcount"),
    ("page_count(p) > 0", lambda p: page_count(p) > 0, "_refcount"),
)
