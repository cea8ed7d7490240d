"""Compaction: one scanner looks for pages to move away, another for free pages to move them to.

The migrate scanner takes pages from the LRU, and besides those one other kind: pages that a balloon holds.  In 3.10 it
knows a balloon's page by asking whether the page looks like nothing in particular, and then by *following its mapping*:
bit 29 of the word 120 bytes behind.  It is the one reader here that follows a pointer of a page without any flag.
"""

from __future__ import annotations

from typing import Any

from ..struct_page import PageBuddy, PageHead, PageLRU, PageSwapBacked, PageUnevictable, page_count, page_mapped, s32
from .lru import AS_BALLOON_MAP, AS_FLAGS, PRIVATE_DATA
from .machine import ISOLATE, LRU_LOCK, MOVABLE, PAGEBLOCK, RESERVE, ZONE_LOCK, Machine
from .put import put_page
from .record import M64, Record
from .refs import clear_flag, compound_order, get_page_unless_zero, shift, trylock_page, unlock_page
from .rules import Ask, Conclude, Do, Item, Peeker, Steps, Visit, run
from .zone import LRU, split_free_page

FREEPAGES, MIGRATEPAGES = 0x00, 0x10  # struct compact_control: its lists of free pages, and of pages to move
ISOLATED_PAGES, PAGES_LOCK = 0x10, 0x18  # struct balloon_dev_info: a counter, a lock, and behind them a list of pages

# ---------------------------------------------------------------------- the balloon test


def says_balloon(p: Any) -> Any:
    """Whether the address_space that mapping should be is a balloon's: bit 29 of its flags."""
    return (p.word(p["mapping"] + AS_FLAGS) & 1 << AS_BALLOON_MAP) != 0


def balloon_test(words: str, count: Any, no: Conclude) -> list[Item]:
    """Does a page look like nothing in particular, and say its mapping that it is a balloon's?  Goes on if so."""
    return [
        Ask("is any flag set?", lambda p: (p["flags"] & p.machine.check_at_prep) != 0, yes=no),
        Ask("mapped: is _mapcount at least 0?", page_mapped, yes=no),
        Ask(words, count, no=no),
        Ask("is mapping NULL?", lambda p: p["mapping"] == 0, yes=no),
        Ask("is bit 29 set in the word at mapping + 120?", says_balloon, no=no),
    ]


def one_reference(p: Any) -> Any:
    return page_count(p) == 1


def two_references(p: Any) -> Any:
    return page_count(p) >= 2


def balloon_page_isolate(p: Record) -> bool:
    """Take a page off the balloon's list: a reference, the page lock, a second look, the balloon's own lock."""
    m = p.machine
    if not get_page_unless_zero(p):
        return False
    if trylock_page(p):
        if p["mapping"] and says_balloon(p) and page_count(p) == 2:
            balloon = m.read(p["mapping"] + PRIVATE_DATA)
            m.spin_lock(balloon + PAGES_LOCK)
            m.list_del(p.address + LRU)
            m.add(balloon + ISOLATED_PAGES, 1)
            m.spin_unlock(balloon + PAGES_LOCK)
            unlock_page(p)
            return True
        unlock_page(p)
    put_page(p)
    return False


# ---------------------------------------------------------------------- the migrate scanner

NEXT = Conclude(1, "left alone")  # the value of the table: how many pages the scanner goes on


def other_zone(p: Any) -> Any:
    return p["flags"] >> 56 != p.machine.walked


def lock_held(p: Record) -> bool:
    return bool(p.facts.get("lru_lock"))


def take_lru_lock(p: Record) -> None:
    if not lock_held(p):
        p.machine.spin_lock(p.machine.zone_at(p.machine.walked) + LRU_LOCK)
        p.facts["lru_lock"] = True


def isolate_for_migration(p: Record) -> bool:
    """A reference, and PG_lru is cleared (mirrors __isolate_lru_page)."""
    if not get_page_unless_zero(p):
        return False
    clear_flag(p, "lru")
    return True


def leave_lru_list(p: Record) -> None:
    p.machine.list_del(p.address + LRU)


def keep_for_migration(p: Record) -> None:
    p.machine.list_add(p.address + LRU, p.machine.compaction + MIGRATEPAGES)
    p.facts["taken"] += 1


ISOLATE_MIGRATEPAGES = (
    Ask("of another zone?", other_zone, yes=NEXT),
    Ask("the first page of a free block?", PageBuddy, yes=NEXT),
    Ask(
        "on the LRU?",
        PageLRU,
        no=[
            *balloon_test("is _count 1?", one_reference, NEXT),
            Ask("a balloon's, then.  Is the LRU lock held already?", lock_held, no=NEXT),
            Do(
                "take it off the balloon's list",
                balloon_page_isolate,
                yes=[Do("put it on compaction's list", keep_for_migration), Conclude(1, "taken for a balloon's page")],
            ),
            NEXT,
        ],
    ),
    Ask(
        "PG_head?",
        PageHead,
        yes=Ask(
            "is the LRU lock held already?",
            lock_held,
            yes=Conclude(lambda p: shift(compound_order(p)), "a huge page: on to its end"),
            no=Conclude(lambda p: PAGEBLOCK - p.pfn % PAGEBLOCK, "a huge page: on to the end of the block"),
        ),
    ),
    Do("take the LRU lock", take_lru_lock),
    Ask("unevictable?", PageUnevictable, yes=NEXT),
    Do("take a reference, unless _count is 0, and clear PG_lru", isolate_for_migration, no=NEXT),
    Do("take it off its LRU list", leave_lru_list),
    Do("put it on compaction's list", keep_for_migration),
    Conclude(1, "taken, to be moved"),
)


def empty_list(m: Machine, which: int) -> int:
    """One of compaction's lists, as it is when compaction begins."""
    head = m.compaction + which
    m.write(head, head)
    m.write(head + 8, head)
    return head


def migrate_scanner(name: str, before: int) -> Peeker:
    """Scans as far as the page, from `before` pages before it, so that the lock may be held when it gets there."""

    def plan(visit: Visit) -> Steps:
        m, pfn = visit.machine, visit.pfn - before
        visit.facts["taken"] = 0
        head = empty_list(m, MIGRATEPAGES)
        while pfn <= visit.pfn:
            conclusion = yield from run(visit.peeker.table, visit.page.at(pfn), visit)
            pfn = pfn + conclusion.value & M64  # unsigned, as in the kernel
        node = m.read(head)
        while node != head:  # what was taken is counted, by kind
            PageSwapBacked(Record(m, node - LRU))
            node = m.read(node)
        if visit.facts.get("lru_lock"):
            m.spin_unlock(m.zone_at(m.walked) + LRU_LOCK)
        return Conclude(pfn - visit.pfn, conclusion.words)

    trigger = "a high-order allocation fails; something is written to /proc/sys/vm/compact_memory"
    function, file = "isolate_migratepages_range", "mm/compaction.c"
    return Peeker(name, function, file, trigger, ISOLATE_MIGRATEPAGES, plan=plan)


# ---------------------------------------------------------------------- the free scanner


def movable_block(p: Record) -> bool:
    """Whether the free scanner may use pages of the block (mirrors suitable_migration_target)."""
    kind = p.machine.block_type(p.pfn)
    return kind == MOVABLE or (kind not in (RESERVE, ISOLATE) and p["private"] & 0xFFFF_FFFF >= 9)


def split_for_migration(p: Record) -> bool:
    head = empty_list(p.machine, FREEPAGES)
    p.facts["pages"] = split_free_page(p)
    for i in range(s32(p.facts["pages"] & 0xFFFF_FFFF)):
        p.machine.list_add(p.beyond(i).address + LRU, head)
    return bool(p.facts["pages"])


def walked_zone_lock(taken: bool) -> Any:
    def act(p: Record) -> None:
        lock = p.machine.zone_at(p.machine.walked) + ZONE_LOCK
        (p.machine.spin_lock if taken else p.machine.spin_unlock)(lock)

    return act


DROP_LOCK = Do("drop the zone's lock", walked_zone_lock(False))
ISOLATE_FREEPAGES = (
    Ask("the first page of a free block?", PageBuddy, no=Conclude(0, "not free")),
    Do("take the zone's lock", walked_zone_lock(True)),
    Ask("in a MOVABLE block?", movable_block, no=[DROP_LOCK, Conclude(0, "the block is not to be filled")]),
    Do("take the block off its list, and make single pages of it", split_for_migration),
    DROP_LOCK,
    Conclude(lambda p: p.facts["pages"], "so many free pages were taken"),
)

_BALLOON = "include/linux/balloon_compaction.h"
PEEKERS = (
    Peeker(
        "balloon_movable",
        "balloon_page_movable",
        _BALLOON,
        "compaction meets a page that is not on the LRU",
        [*balloon_test("is _count 1?", one_reference, Conclude(0, "no")), Conclude(1, "a balloon's page")],
        scans="int8",
    ),
    Peeker(
        "balloon_isolated",
        "isolated_balloon_page",
        _BALLOON,
        "a page that was isolated is put back",
        [*balloon_test("is _count at least 2?", two_references, Conclude(0, "no")), Conclude(1, "a balloon's page")],
        kernel="3.10.17 (not in 3.10.0)",
        scans="int8",
    ),
    migrate_scanner("isolate_migratepages", 0),
    migrate_scanner("isolate_migratepages_locked", 1),
    Peeker(
        "isolate_freepages",
        "isolate_freepages_block",
        "mm/compaction.c",
        "compaction needs free pages to move others to",
        ISOLATE_FREEPAGES,
    ),
)
