"""Memory of 6.1 is taken away, or put in order: offlining, compaction, and merging with a neighbour."""

from __future__ import annotations

from typing import Any

from ...linux_6_1 import (
    PageBuddy,
    PageCompound,
    PageHWPoison,
    PageIsolated,
    PageLRU,
    PageMovable,
    PageOffline,
    PageReserved,
    hugetlb,
    page_count,
)
from ..machine import Stuck
from ..record import Record
from ..rules import Ask, Conclude, Do, Says
from .deeds import (
    BUSY,
    GET,
    HUGETLB,
    PUT,
    beyond,
    get_page_unless_zero,
    isolate_movable_page,
    leave_free_list,
    peeker,
)


def in_zone_movable(p: Any) -> Any:
    release = p.machine.memmap.release
    return release.zone(p["flags"]) == release.zones.index("Movable")


MOVES = Conclude(0, "can be moved")
HAS_UNMOVABLE = (
    Ask("reserved?", PageReserved, yes=Conclude(1, "cannot be moved")),
    Ask("in zone Movable?", in_zone_movable, yes=Conclude(0, "taken for movable: the zone says so")),
    Ask(
        "part of a compound page?",
        PageCompound,
        yes=[
            Ask(HUGETLB, hugetlb, yes=MOVES),
            Ask(
                "is the head on the LRU, or movable?",
                lambda p: PageLRU(p.head()) | PageMovable(p.head()),
                yes=MOVES,
                no=Conclude(1, "cannot be moved"),
            ),
        ],
    ),
    Ask("is its own _refcount 0?", lambda p: p["_refcount"] == 0, yes=Conclude(0, "free")),
    Ask("poisoned?", PageHWPoison, yes=Conclude(0, "passed over")),
    Ask("is the type offline?", PageOffline, yes=Conclude(0, "passed over")),
    Ask("movable, or on the LRU?", lambda p: PageMovable(p) | PageLRU(p), yes=MOVES),
    Conclude(1, "cannot be moved"),
)


def loops(p: Record) -> None:
    """Offlining begins again until it is told to stop."""
    raise Stuck("loops")


LOOP = Do("not isolated: begin again", loops)
FAILED = Says("failed to isolate pfn {pfn:x}")
LEFT = [
    Ask(
        "is the type offline, and _refcount, the head's, other than 0?",
        lambda p: PageOffline(p) and page_count(p) != 0,
        yes=Conclude(BUSY, "offline, and held: it will never move"),
    ),
    LOOP,
]
OFFLINE_BLOCK = (
    Ask("reserved?", PageReserved, yes=Conclude(BUSY, "unmovable page")),
    Ask(
        "the first page of a free block?",
        PageBuddy,
        yes=[Do("move it to the lists of ISOLATE", leave_free_list), Conclude(0, "isolated")],
    ),
    Ask("part of a compound page?", PageCompound, yes=Ask(HUGETLB, hugetlb, yes=beyond("isolate_hugetlb"))),
    Ask("poisoned?", PageHWPoison, yes=Conclude(0, "passed over")),
    Do(GET, get_page_unless_zero, no=LEFT),
    Ask("on the LRU?", PageLRU, yes=beyond("isolate_lru_page")),
    *isolate_movable_page(FAILED, PUT, *LEFT),
)

NEXT = Conclude(1, "left alone")
ISOLATE_MIGRATEPAGES = (
    Ask("the first page of a free block?", PageBuddy, yes=NEXT),
    Ask("part of a compound page?", PageCompound, yes=[Ask(HUGETLB, hugetlb), Conclude(1, "left alone: compound")]),
    Ask(
        "on the LRU?",
        PageLRU,
        yes=beyond("lruvec_del_folio"),
        no=Ask(
            "movable, and not isolated: are the low bits of mapping 10?",
            lambda p: PageMovable(p) and not PageIsolated(p),
            yes=isolate_movable_page(NEXT),
        ),
    ),
    NEXT,
)
PAGE_IS_BUDDY = (
    Ask("the first page of a free block: is the type buddy?", PageBuddy, no=Conclude(0, "left alone")),
    Ask("of order 0?", lambda p: p["private"] == 0, no=Conclude(0, "left alone")),
    Do("take it off its free list", leave_free_list),
    Conclude(1, "merged with its neighbour"),
)

PEEKERS = (
    peeker(
        "has_unmovable",
        "has_unmovable_pages",
        "mm/page_isolation.c",
        "memory is to be taken away, and its blocks are asked about",
        HAS_UNMOVABLE,
        "int8",
    ),
    peeker(
        "offline_block",
        "offline_pages",
        "mm/memory_hotplug.c",
        "a block of memory in zone Movable is set offline in sysfs",
        OFFLINE_BLOCK,
    ),
    peeker(
        "isolate_migratepages",
        "isolate_migratepages_block",
        "mm/compaction.c",
        "something is written to /proc/sys/vm/compact_memory",
        ISOLATE_MIGRATEPAGES,
    ),
    peeker(
        "page_is_buddy0", "page_is_buddy", "mm/page_alloc.c", "the neighbour, pfn ^ 1, is given back", PAGE_IS_BUDDY
    ),
)
