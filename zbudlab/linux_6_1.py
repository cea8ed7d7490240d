"""`struct page` of Linux 6.1: the same 64 bytes, other names, and rules that were not there in 2013.

The offsets and the flag bits are those that the type information of Debian's 6.1.192 kernel tells (sources
layout-6.1).  What moved since 3.10: `mapping` from byte 8 to 24, `_mapcount` from 24 to 48, and byte 8 got a meaning
that it did not have: a set bit 0 there says "I am a tail page", and the other bits say of which head.  What is new:
a page that is never mapped can have a *type*, in the word of `_mapcount`, as bits cleared from -1.

    >>> [f.name for f in STRUCT_PAGE_6_1.covering(8, 8)]
    ['lru.next', 'compound_head']
    >>> type_value("buddy"), type_value("offline")
    (-129, -257)

The functions carry the kernel's names and its semantics: some look at the page itself, some at the head of the
compound page that it is part of.  They work on one record and on many at once, as those of struct_page.py do.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .releases import Release
from .struct_page import Field, Layout, PageLike, Question, s32

LIST_POISON1 = 0xDEAD000000000100  # what list_del leaves in next
LIST_POISON2 = 0xDEAD000000000122  # and in prev

STRUCT_PAGE_6_1 = Layout(
    "struct page, Linux 6.1",
    Field("flags", 0),
    Field("lru.next", 8),
    Field("compound_head", 8),
    Field("lru.prev", 16),
    Field("compound_dtor", 16, 1),  # these five of the record behind a head
    Field("compound_order", 17, 1),
    Field("compound_mapcount", 20, 4, signed=True),
    Field("mapping", 24),
    Field("compound_nr", 28, 4),
    Field("index", 32),
    Field("private", 40),
    Field("_mapcount", 48, 4, signed=True),
    Field("_refcount", 52, 4, signed=True),
    Field("memcg_data", 56),
)

PG_6_1: Mapping[str, int] = MappingProxyType(
    {
        name: bit
        for bit, name in enumerate(
            "locked referenced uptodate dirty lru active workingset waiters error slab owner_priv_1 arch_1 reserved "
            "private private_2 writeback head mappedtodisk reclaim swapbacked unevictable mlocked uncached hwpoison "
            "arch_2".split()
        )
    }
)
NO_TYPE = s32(0xF000_0000)  # the bits of the type word that are set in every type
PAGE_MAPCOUNT_RESERVE = -128  # a _mapcount below it is a type
TYPES: Mapping[str, int] = MappingProxyType({"buddy": 0x80, "offline": 0x100, "table": 0x200, "guard": 0x400})
PAGE_MAPPING_ANON, PAGE_MAPPING_MOVABLE = 1, 2  # the low bits of mapping; both together: KSM
HUGETLB_PAGE_DTOR = 2


def mask(*flags: str) -> int:
    """Some flags as one number."""
    return sum(1 << PG_6_1[flag] for flag in flags)


CHECK_AT_PREP = (1 << len(PG_6_1)) - 1 - mask("hwpoison")  # what is cleared of a page that is given back
CHECK_AT_FREE = mask(
    *"lru locked private private_2 writeback reserved slab active unevictable mlocked".split()
)  # what must be clear in it; asked after the clearing


def PageTail(p: PageLike) -> Any:
    """A tail page: bit 0 of the word at byte 8, whatever else that word is used for."""
    return (p["compound_head"] & 1) != 0


RELEASE = Release(
    "6.1",
    STRUCT_PAGE_6_1,
    PG_6_1,
    tail=PageTail,
    head=lambda p: p["compound_head"] - 1,
    direct_map=0xFFFF888000000000,
    zone_shift=51,
    node_shift=54,
    zones=("DMA", "DMA32", "Normal", "Movable", "Device"),
    types=TYPES,
    poison=(LIST_POISON1, LIST_POISON2),
)


def type_value(*types: str) -> int:
    """What `_mapcount` is in a page of the given types."""
    return -1 - sum(TYPES[name] for name in types)


def page_type(p: PageLike, name: str) -> Any:
    """Whether the page is of a type: the type's bit is clear, and the highest four are set."""
    return (p["_mapcount"] & (NO_TYPE | TYPES[name])) == NO_TYPE


def PageBuddy(p: PageLike) -> Any:
    """First page of a free block.  The block's order is then in private."""
    return page_type(p, "buddy")


def PageOffline(p: PageLike) -> Any:
    return page_type(p, "offline")


def PageTable(p: PageLike) -> Any:
    return page_type(p, "table")


def page_has_type(p: PageLike) -> Any:
    """Whether `_mapcount` is taken for a type: anything below -128, so neither the -128 nor the -127 of 2013."""
    return p["_mapcount"] < PAGE_MAPCOUNT_RESERVE


def page_flag(p: PageLike, name: str) -> Any:
    """Whether flag PG_`name` is set on `p` itself."""
    return (p["flags"] & (1 << PG_6_1[name])) != 0


def PageSlab(p: PageLike) -> Any:
    """Of a slab: PG_slab of the head."""
    return page_flag(p.head(), "slab")


def PageLRU(p: PageLike) -> Any:
    """On an LRU list: PG_lru of the head."""
    return page_flag(p.head(), "lru")


def PageReserved(p: PageLike) -> Any:
    return page_flag(p, "reserved")


def PageHWPoison(p: PageLike) -> Any:
    return page_flag(p, "hwpoison")


def PageIsolated(p: PageLike) -> Any:
    """Taken off its owner's list, to be moved: the bit of PG_reclaim."""
    return page_flag(p, "reclaim")


def PageHead(p: PageLike) -> Any:
    return page_flag(p, "head")


def PageCompound(p: PageLike) -> Any:
    return PageHead(p) | PageTail(p)


def hugetlb(p: Any) -> Any:
    """Of hugetlb, if the page is compound: the destructor that the record behind the head names."""
    return p.head().beyond(1)["compound_dtor"] == HUGETLB_PAGE_DTOR


def PageAnon(p: PageLike) -> Any:
    """Anonymous memory: bit 0 of the head's mapping, and nothing else is asked."""
    return (p.head()["mapping"] & PAGE_MAPPING_ANON) != 0


def PageKsm(p: PageLike) -> Any:
    """Merged by KSM: both low bits of the head's mapping."""
    return (p.head()["mapping"] & 3) == 3


def PageMovable(p: PageLike) -> Any:
    """A page that its owner can move (the kernel's __PageMovable): only the upper one of mapping's low bits."""
    return (p["mapping"] & 3) == PAGE_MAPPING_MOVABLE


def PageSwapCache(p: PageLike) -> Any:
    """In the swap cache: PG_owner_priv_1, if PG_swapbacked is set, too; of the head."""
    both = mask("owner_priv_1", "swapbacked")
    return (p.head()["flags"] & both) == both


def page_count(p: PageLike) -> Any:
    """References to the page, read from the head of its compound page."""
    return p.head()["_refcount"]


def mapcount(p: PageLike) -> Any:
    """`_mapcount` + 1, a C int."""
    return s32(p["_mapcount"] + 1)


def types(p: PageLike) -> list[str]:
    """The names of the types that a page has."""
    return [name for name in TYPES if page_type(p, name)]


# Questions put to a page, in the kernel's own words, and the field that decides each.
QUESTIONS: tuple[Question, ...] = (
    ("PageSlab(p)", PageSlab, "flags"),
    ("PageReserved(p)", PageReserved, "flags"),
    ("PageLRU(p)", PageLRU, "flags"),
    ("PageHead(p)", PageHead, "flags"),
    ("PageTail(p)", PageTail, "compound_head"),
    ("PageAnon(p)", PageAnon, "mapping"),
    ("PageKsm(p)", PageKsm, "mapping"),
    ("__PageMovable(p)", PageMovable, "mapping"),
    ("PageBuddy(p)", PageBuddy, "_mapcount"),
    ("page_has_type(p)", page_has_type, "_mapcount"),
    ("page_mapcount(p) <= 0", lambda p: mapcount(p) <= 0, "_mapcount"),
    ("page_count(p) > 0", lambda p: page_count(p) > 0, "_refcount"),
)
