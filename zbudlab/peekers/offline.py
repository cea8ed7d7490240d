"""Taking a page, or a range of pages, out of use while the machine runs: soft_offline_page and do_migrate_range.

Linux 3.10's get_any_page takes a second reference on a page that it cannot handle, and forgets it.
"""

from __future__ import annotations

from ..struct_page import LIST_POISON1, LIST_POISON2, PageAnon, PageHead, PageHWPoison, PageLRU, page_count
from ..versions import ERRNO
from .decide import has_unmovable_pages, is_free_buddy_page
from .failure import FIND_HEAD, shake_page
from .lru import invalidate_inode_page, isolate_lru_page, putback_lru_page
from .machine import ISOLATE, MOVABLE, PAGEBLOCK, ZONE_LOCK
from .put import dequeue_hwpoisoned_huge_page, put_page
from .record import PageHuge, Record
from .refs import (
    compound_trans_order,
    get_page_unless_zero,
    lock_page,
    set_flag,
    set_page_hwpoison_huge_page,
    shift,
    unlock_page,
    wait_on_page_writeback,
)
from .rules import Ask, Conclude, Do, Item, Peeker, Says, Table, items
from .states import BUSY, of_head, split_huge_page
from .zone import drain_all_pages, move_freepages_block

EIO, ENOMEM = -ERRNO["EIO"], -ERRNO["ENOMEM"]
ON_STACK = 0xFFFF88005FFF0000  # stands for the head of a list on the walker's own stack

# ---------------------------------------------------------------------- isolating the pageblock


def set_migratetype_isolate(p: Record) -> None:
    """Make the page's block ISOLATE, so that nothing is allocated from it, if all of its pages can move."""
    m = p.machine
    zone = m.zone(p)
    m.spin_lock(zone + ZONE_LOCK)
    movable = not has_unmovable_pages(p, 0, True)
    if movable:
        m.block_types[p.pfn // PAGEBLOCK] = ISOLATE
        move_freepages_block(zone, p, ISOLATE)
    m.spin_unlock(zone + ZONE_LOCK)
    if movable:
        drain_all_pages(p)


def unset_migratetype_isolate(p: Record) -> None:
    """Make an ISOLATE block MOVABLE."""
    m = p.machine
    zone = m.zone(p)
    m.spin_lock(zone + ZONE_LOCK)
    if m.block_type(p.pfn) == ISOLATE:
        move_freepages_block(zone, p, MOVABLE)
        m.block_types[p.pfn // PAGEBLOCK] = MOVABLE
    m.spin_unlock(zone + ZONE_LOCK)


# ---------------------------------------------------------------------- get_any_page

UNISOLATE = Do("make its block MOVABLE again", unset_migratetype_isolate)


def get_one(held: Table, free: Table, neither: Table) -> list[Item]:
    """Take a reference on a page of any kind (mirrors __get_any_page), and what follows each of its three answers."""
    free_huge = [Says("__get_any_page: {pfn:#x} free huge page"), UNISOLATE, *items(free)]
    free_buddy = [Says("__get_any_page: {pfn:#x} free buddy page"), UNISOLATE, *items(free)]
    unheld = [
        Ask("a page of hugetlb?", PageHuge, yes=free_huge),
        Do("is it in a free block?", is_free_buddy_page, yes=free_buddy),
        Says("__get_any_page: {pfn:#x}: unknown zero refcount page type {p[flags]:x}"),
        UNISOLATE,
        *items(neither),
    ]
    return [
        Do("isolate its block, if that can be done", set_migratetype_isolate),
        Do("take a reference on the head, unless its _count is 0", get_reference_on_head, no=unheld),
        UNISOLATE,
        *items(held),
    ]


def get_reference_on_head(p: Record) -> bool:
    return get_page_unless_zero(p.head())


def get_any_page(held: Table, free: Table) -> list[Item]:
    """Take a reference on a page, after a second try if it is not on the LRU; -EIO, or what follows.

    The second try takes a reference like the first one; if the page is not on the LRU then, nobody drops it.
    """
    unknown = [
        Says("soft_offline: {pfn:#x}: unknown non LRU page type {p[flags]:x}"),
        Conclude(EIO, "a page of unknown kind; a reference taken on it is never dropped"),
    ]
    now = Ask("on the LRU now?", PageLRU, no=unknown)
    lost = Conclude(EIO, "neither held nor free")
    again = get_one([now, *items(held)], [now, *items(free)], [now, lost])
    not_on_lru = [Do("drop the reference", put_page), *shake_page(access=True), *again]
    first = Ask("a page of hugetlb?", PageHuge, no=Ask("on the LRU?", PageLRU, no=not_on_lru))
    return get_one([first, *items(held)], free, lost)


GET_ANY_PAGE = get_any_page(held=Conclude(1, "held"), free=Conclude(0, "free"))

# ---------------------------------------------------------------------- soft_offline_page


def poison(p: Record) -> None:
    set_flag(p, "hwpoison")
    p.machine.poisoned += 1


def poison_free_huge_page(p: Record) -> None:
    set_page_hwpoison_huge_page(p)
    dequeue_hwpoisoned_huge_page(p)
    p.machine.poisoned += shift(compound_trans_order(p))


def transparent_huge(p: Record) -> bool:
    return not PageHuge(p) and bool(PageHead(p.hpage)) and bool(PageAnon(p.hpage))


def migrate_pages(p: Record) -> None:
    """Put an isolated page on a list of its own and have it migrated: that fails, and it is put back."""
    p["lru.next"], p["lru.prev"] = ON_STACK, ON_STACK
    p.machine.event("migrate_pages", p.pfn)
    p["lru.next"], p["lru.prev"] = LIST_POISON1, LIST_POISON2
    putback_lru_page(p)


def log_failure(p: Record) -> None:
    count, flags = page_count(p), p["flags"]
    p.machine.printk(f"soft offline: {p.pfn:#x}: isolation failed: {BUSY}, page count {count}, type {flags:x}")


_POISONED = "soft offline: {pfn:#x} page already poisoned"
OFFLINE_HUGE: list[Item] = [
    Do("lock the head", lambda p: lock_page(p.head()), sleeps=True),
    Ask(
        "is the head poisoned?",
        lambda p: PageHWPoison(p.head()),
        yes=[
            Do("unlock the head", lambda p: unlock_page(p.head())),
            Do("drop the reference", lambda p: put_page(p.head())),
            Conclude(BUSY, "poisoned already", says="soft offline: {pfn:#x} hugepage already poisoned"),
        ],
    ),
    Do("unlock the head", lambda p: unlock_page(p.head())),
    Do("drop the reference, for there is no huge page to migrate to", lambda p: put_page(p.head())),
    Says(f"soft offline: {{pfn:#x}}: migration failed {ENOMEM}, type {{p[flags]:x}}"),
    Conclude(ENOMEM, "it cannot be migrated"),
]
OFFLINE_PAGE: list[Item] = [
    Do("lock it", lock_page, sleeps=True),
    Do("wait until it has been written back", wait_on_page_writeback, sleeps=True),
    Ask(
        "is it poisoned now?",
        PageHWPoison,
        yes=[
            Do("unlock it", unlock_page),
            Do("drop the reference", put_page),
            Conclude(BUSY, "poisoned meanwhile", says=_POISONED),
        ],
    ),
    Do(
        "drop it from the cache of its file",
        invalidate_inode_page,
        yes=[
            Do("unlock it", unlock_page),
            Do("drop the reference", put_page),
            Says("soft_offline: {pfn:#x}: invalidated"),
            Do("set PG_hwpoison, count it", poison),
            Conclude(0, "dropped and poisoned"),
        ],
        no=Do("unlock it", unlock_page),
    ),
    Do(
        "take it off its LRU list",
        isolate_lru_page,
        yes=[
            Do("drop the reference", put_page),
            Do("migrate it; that fails, so it is put back", migrate_pages, sleeps=True),
            Says("soft offline: {pfn:#x}: migration failed 1, type {p[flags]:x}"),
            Conclude(EIO, "it could not be migrated"),
        ],
    ),
    Do("drop the reference", put_page),
    Do("log how many hold it", log_failure),
    Conclude(BUSY, "it left the LRU meanwhile"),
]

SOFT_OFFLINE = (
    FIND_HEAD,
    Ask("is it poisoned?", PageHWPoison, yes=Conclude(BUSY, "poisoned already", says=_POISONED)),
    Ask(
        "part of a transparent huge page?",
        transparent_huge,
        yes=Do(
            "split that",
            of_head(split_huge_page),
            no=Conclude(BUSY, "it cannot be split", says="soft offline: {pfn:#x}: failed to split THP"),
        ),
    ),
    *get_any_page(
        held=Ask("a page of hugetlb?", PageHuge, yes=OFFLINE_HUGE, no=OFFLINE_PAGE),
        free=[
            Ask(
                "a page of hugetlb?",
                PageHuge,
                yes=Do("set PG_hwpoison on all sub-pages, take it off the free list", of_head(poison_free_huge_page)),
                no=Do("set PG_hwpoison, count it", poison),
            ),
            Conclude(0, "a free page, poisoned"),
        ],
    ),
)

# ---------------------------------------------------------------------- do_migrate_range

DO_MIGRATE_RANGE = (
    Do("take a reference, unless _count is 0", get_page_unless_zero, no=Conclude(0, "free, or a tail")),
    Do(
        "take it off its LRU list",
        isolate_lru_page,
        yes=[
            Do("drop the reference", put_page),
            Do("migrate it; that fails, so it is put back", migrate_pages, sleeps=True),
            Conclude(1, "one page could not be migrated"),
        ],
    ),
    Do("drop the reference", put_page),
    Ask(
        "does anybody hold it still?",
        lambda p: page_count(p) != 0,
        yes=Conclude(BUSY, "somebody's, and not on the LRU"),
    ),
    Conclude(BUSY, "it was freed just now"),
)

PEEKERS = (
    Peeker("get_any_page", "get_any_page", "mm/memory-failure.c", "soft_offline_page needs the page", GET_ANY_PAGE),
    Peeker(
        "soft_offline",
        "soft_offline_page",
        "mm/memory-failure.c",
        "a page had many corrected errors: soft_offline_page in sysfs, or madvise(MADV_SOFT_OFFLINE)",
        SOFT_OFFLINE,
    ),
    Peeker(
        "do_migrate_range",
        "do_migrate_range",
        "mm/memory_hotplug.c",
        "memory is offlined: the pages of a range are moved away",
        DO_MIGRATE_RANGE,
    ),
)
