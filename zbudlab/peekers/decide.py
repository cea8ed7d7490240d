"""Readers that decide: is it free, can it move, can its block be taken away, is it RAM at all?

Offlining memory asks the most: has_unmovable_pages before it begins, scan_lru_pages for what to move, and in the end
whether every page of the block is isolated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..struct_page import RECORD, ZONES, PageBuddy, PageHWPoison, PageLRU, PageReserved, page_count
from .machine import ISOLATE, MAX_ORDER, MOVABLE, PAGEBLOCK, ZONE_LOCK
from .record import M64, Record, same_zone
from .refs import shift
from .rules import Ask, Conclude, Do, Item, Peeker, Steps, Visit, at_one_stroke, decide, run
from .zone import freepage_migratetype, move_freepages

# ---------------------------------------------------------------------- is it free?


def yes_or_no(words: str, test: Callable[[Any], Any], yes: str = "", no: str = "") -> Ask:
    """A question that is the whole function."""
    return Ask(words, test, yes=Conclude(1, yes), no=Conclude(0, no))


class ZoneLock:
    """zone->lock of the zone that the page's flags name, taken or dropped."""

    def __init__(self, taken: bool) -> None:
        self.taken = taken

    def __call__(self, p: Record) -> None:
        lock = p.machine.zone(p) + ZONE_LOCK
        if self.taken:
            p.machine.spin_lock(lock)
        else:
            p.machine.spin_unlock(lock)

    def harmless(self, p: Any) -> Any:
        """Where a scan may pass it over: pages of a node that exists."""
        return p["flags"] >> 58 == 0


LOCK_ZONE, UNLOCK_ZONE = Do("take zone->lock", ZoneLock(True)), Do("drop zone->lock", ZoneLock(False))


def begins_free_block(order: int) -> Callable[[Any], Any]:
    """The test whether a free block begins where one of 2**order pages with this page in it would begin."""
    return lambda p: p.described(p.pfn >> order << order) & PageBuddy(p.near(p.pfn >> order << order))


def reaches(order: int) -> Callable[[Any], Any]:
    """The test whether that block has so many pages."""
    return lambda p: p.near(p.pfn >> order << order)["private"] >= order


IS_FREE_BUDDY_PAGE = (
    LOCK_ZONE,
    *[
        Ask(
            f"does a free block begin at pfn & ~{(1 << order) - 1:#x}?",
            begins_free_block(order),
            yes=Ask(
                f"is its order {order} or more?", reaches(order), yes=[UNLOCK_ZONE, Conclude(1, "in a free block")]
            ),
        )
        for order in range(MAX_ORDER)
    ],
    UNLOCK_ZONE,
    Conclude(0, "not in a free block"),
)


def is_free_buddy_page(p: Record) -> bool:
    return bool(decide(IS_FREE_BUDDY_PAGE, p))


def page_is_buddy(order: int) -> Peeker:
    """The question that a page being freed asks about its neighbour: a free block of my own order?"""
    table = [
        Ask("is there such a neighbour?", lambda p: p.described(p.pfn ^ 1 << order), no=Conclude(0)),
        Ask("is it of the same zone?", lambda p: same_zone(p, p.near(p.pfn ^ 1 << order)), no=Conclude(0)),
        Ask("the first page of a free block: is _mapcount -128?", PageBuddy, no=Conclude(0)),
        yes_or_no(f"of order {order}?", lambda p: p["private"] == order, "merged", "left alone"),
    ]
    trigger = f"the neighbour, pfn ^ {1 << order}, is freed with order {order}"
    return Peeker(f"page_is_buddy{order}", "page_is_buddy", "mm/page_alloc.c", trigger, table, scans="int8")


# ---------------------------------------------------------------------- has_unmovable_pages


def note_free_block(p: Record) -> None:
    p.facts["on"] = shift(p["private"])


def unmovable_page(skip_hwpoisoned: bool) -> tuple[Item, ...]:
    """What one page adds to the number of unmovable pages."""
    poisoned = Ask("poisoned?", PageHWPoison, yes=Conclude(0, "passed over"))
    free = Ask("the first page of a free block?", PageBuddy, yes=Do("pass over all of the block", note_free_block))
    return (
        Ask("is its own _count 0?", lambda p: p["_count"] == 0, yes=[free, Conclude(0, "free, or a tail")]),
        *([poisoned] if skip_hwpoisoned else []),
        Ask("on the LRU?", PageLRU, yes=Conclude(0, "can be moved")),
        Conclude(1, "one more that cannot be moved"),
    )


def count_unmovable(p: Record, table: tuple[Item, ...], most: int, visit: Visit) -> Steps:
    """Judge all pages of the block that `p` is in.  Only `p` is told about, and equal records are judged once."""
    pfns, raw, me = p.machine.memmap.pfns, p.machine.memmap.raw, p.pfn
    pfn, end = max(me - me % PAGEBLOCK, pfns[0]), min(me - me % PAGEBLOCK + PAGEBLOCK, pfns.stop)
    aside = Visit(visit.peeker, p.machine, me, {})
    found, judged = 0, dict[bytes, tuple[int, int]]()
    while pfn < end:
        at = RECORD * (pfn - pfns[0])
        content = bytes(raw[at : at + RECORD])
        if pfn == me or content not in judged:
            p.facts["on"] = 1
            conclusion = yield from run(table, p.at(pfn), visit if pfn == me else aside, visit.depth)
            judged[content] = conclusion.value, p.facts["on"]
        unmovable, on = judged[content]
        found += unmovable
        if found > most:
            return Conclude(1, f"more than {most} of the block's pages cannot be moved")
        pfn += on if on > 0 else PAGEBLOCK  # a negative number, added to an unsigned one, is past the end
    return Conclude(0, f"at most {most} of the block's pages cannot be moved")


def has_unmovable_pages(p: Record, most: int, skip_hwpoisoned: bool) -> bool:
    """Whether too many pages of a block cannot be moved.  Of a MOVABLE block, or zone, none is looked at."""
    m = p.machine
    if m.zone(p) == m.zone_at(ZONES.index("Movable")) or m.block_type(p.pfn) == MOVABLE:
        return False
    assert m.visit is not None
    return bool(at_one_stroke(count_unmovable(p, unmovable_page(skip_hwpoisoned), most, m.visit)).value)


def has_unmovable(name: str, most: int, skip_hwpoisoned: bool) -> Peeker:
    """The same, of a block that is of type UNMOVABLE."""

    def plan(visit: Visit) -> Steps:
        return count_unmovable(visit.page, visit.peeker.table, most, visit)

    trigger, table = "memory is to be taken away, and its blocks are asked about", unmovable_page(skip_hwpoisoned)
    return Peeker(name, "has_unmovable_pages", "mm/page_alloc.c", trigger, table, plan=plan, scans="int8")


# ---------------------------------------------------------------------- the rest of offlining


def not_isolate(p: Record) -> bool:
    return freepage_migratetype(p) != ISOLATE


def move_to_isolate(p: Record) -> None:
    last = p.beyond(shift(p["private"]) - 1)
    move_freepages(p.machine.zone(p), p, last, ISOLATE)


def isolated_page(skip_hwpoisoned: bool) -> tuple[Item, ...]:
    """How many pages are out of everybody's reach, from this one on; 0 for none."""
    other_type = "does its index name a migrate type other than ISOLATE?"
    poisoned = Ask("poisoned?", PageHWPoison, yes=Conclude(1, "passed"))
    return (
        Ask(
            "the first page of a free block?",
            PageBuddy,
            yes=[
                Ask(other_type, not_isolate, yes=Do("move it", move_to_isolate)),
                Conclude(lambda p: shift(p["private"]), "passed, with its whole block"),
            ],
        ),
        Ask(
            "is _count, the head's, 0?",
            lambda p: page_count(p) == 0,
            yes=Ask(other_type, not_isolate, no=Conclude(1, "passed")),
        ),
        *([poisoned] if skip_hwpoisoned else []),
        Conclude(0, "somebody has it"),
    )


def test_pages_isolated(visit: Visit) -> Steps:
    """Whether all pages of the range are; it is a range of one page."""
    pfn = visit.pfn
    while pfn <= visit.pfn:
        conclusion = yield from run(visit.peeker.table, visit.page.at(pfn), visit)
        if not conclusion.value:
            return conclusion
        pfn = pfn + conclusion.value & M64  # unsigned, as in the kernel
    return Conclude(1, conclusion.words)


def isolated(name: str, skip_hwpoisoned: bool) -> Peeker:
    function, file = "__test_page_isolated_in_pageblock", "mm/page_isolation.c"
    trigger, table = "memory was offlined; is every page of it isolated?", isolated_page(skip_hwpoisoned)
    return Peeker(name, function, file, trigger, table, plan=test_pages_isolated)


# ---------------------------------------------------------------------- is it RAM?  is it anything?


def _reserved_head(p: Any) -> Any:
    return PageReserved(p.head())


PEEKERS = (
    Peeker(
        "PageBuddy",
        "PageBuddy",
        "include/linux/mm.h",
        "many a walker of the memmap asks this first",
        yes_or_no("is _mapcount -128?", PageBuddy, "the first page of a free block", "not that"),
        scans="int8",
    ),
    Peeker(
        "is_free_buddy_page",
        "is_free_buddy_page",
        "mm/page_alloc.c",
        "memory_failure and soft_offline_page ask",
        IS_FREE_BUDDY_PAGE,
        scans="int8",
    ),
    page_is_buddy(0),
    page_is_buddy(3),
    has_unmovable("has_unmovable", 0, False),
    has_unmovable("has_unmovable_skip", 0, True),
    has_unmovable("has_unmovable_1", 1, False),
    Peeker(
        "scan_lru_pages",
        "scan_lru_pages",
        "mm/memory_hotplug.c",
        "memory is offlined: which page is to be moved next?",
        yes_or_no("on the LRU?", PageLRU, "to be moved", "nothing to move"),
        scans="int8",
    ),
    isolated("test_isolated", False),
    isolated("test_isolated_skip", True),
    Peeker(
        "saveable_page",
        "saveable_page",
        "kernel/power/snapshot.c",
        "hibernation goes through a zone",
        [
            Ask(
                "of the zone that is walked?",
                lambda p: p["flags"] >> 56 == p.machine.walked,
                no=Conclude(0, "not saved"),
            ),
            Ask("reserved?", PageReserved, yes=Conclude(1, "saved all the same: it is in the direct map")),
            Conclude(1, "saved"),
        ],
        scans="int8",
    ),
    Peeker(
        "kmemleak",
        "kmemleak_scan",
        "mm/kmemleak.c",
        "every ten minutes, or when `scan` is written to its debugfs file",
        [
            Ask("free: is _count, the head's, 0?", lambda p: page_count(p) == 0, yes=Conclude(0, "passed over")),
            Conclude(1, "its record is searched for pointers"),
        ],
        scans="int8",
    ),
    Peeker(
        "kvm_is_mmio_pfn",
        "kvm_is_mmio_pfn",
        "virt/kvm/kvm_main.c",
        "a guest maps the page",
        yes_or_no("is its head reserved?", _reserved_head, "device memory: mapped uncached, not counted", "RAM"),
        scans="int8",
    ),
    Peeker(
        "ioremap",
        "__ioremap_caller",
        "arch/x86/mm/ioremap.c",
        "a driver maps the page's address as device memory",
        yes_or_no("reserved?", PageReserved, "mapped, with a warning the first time", "refused: it is RAM in use"),
        scans="int8",
    ),
    Peeker(
        "node_sysfs",
        "get_nid_for_pfn",
        "drivers/base/node.c",
        "a memory block is registered or removed",
        [
            Ask("never set up: is lru.next NULL?", lambda p: p["lru.next"] == 0, yes=Conclude(-1, "of no node")),
            Conclude(lambda p: p["flags"] >> 58, "of the node that its flags name"),
        ],
        scans="int8",
    ),
)
