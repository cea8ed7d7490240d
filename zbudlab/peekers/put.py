"""Dropping a reference, and what follows when it was the last: off the LRU list, and back to where it came from."""

from __future__ import annotations

from ..struct_page import PageActive, PageHead, PageLRU, PageSlab, PageTail, PageUnevictable, page_mapcount
from .machine import LRU_LOCK, Stuck
from .record import M64, Record
from .refs import (
    compound_lock,
    compound_order,
    compound_unlock,
    get_page_unless_zero,
    put_page_testzero,
    to_be_written,
    unset_flag,
)
from .zone import LRU, free_hot_cold_page, free_pages_ok


def put_page(p: Record) -> None:
    """Drop a reference; the last one frees the page."""
    if PageTail(p):
        _put_tail(p)
    elif put_page_testzero(p):
        _free(p)


def _put_tail(p: Record) -> None:
    """Drop a reference that was taken through a tail: one on the head, and one on the tail's own _mapcount."""
    head = p.head()
    if head == p or not get_page_unless_zero(head):
        if put_page_testzero(p):
            _free(p, single=True)
        return
    of_slab = PageSlab(head)
    if not of_slab:
        compound_lock(head)
    put_page_testzero(head)  # the one taken a moment ago, to hold the head meanwhile
    p["_mapcount"] = to_be_written(p, "_mapcount") - 1
    if not of_slab:
        compound_unlock(head)
    if put_page_testzero(head):
        _free(head)


def _free(p: Record, *, single: bool = False) -> None:
    """Free a page that nobody holds: by itself, or as the destructor of its compound page does it."""
    m = p.machine
    take_off_lru(p)
    if single or not PageHead(p):
        free_hot_cold_page(p)
        return
    destructor = p.beyond(1)["lru.next"]
    if destructor == m.free_compound_page:
        free_pages_ok(p, compound_order(p) & 0xFFFF_FFFF)
    elif destructor == m.free_huge_page:
        free_huge_page(p)
    else:
        m.call(destructor)


def take_off_lru(p: Record) -> None:
    """A page that is freed while it is on an LRU list leaves that (mirrors __page_cache_release)."""
    if not PageLRU(p):
        return
    m = p.machine
    lock = m.zone(p) + LRU_LOCK
    m.spin_lock(lock)
    unset_flag(p, "lru")
    if PageUnevictable(p):
        unset_flag(p, "unevictable")
    elif PageActive(p):
        unset_flag(p, "active")
    m.list_del(p.address + LRU)
    m.spin_unlock(lock)


# ---------------------------------------------------------------------- hugetlb, with one size of huge pages, none free

HUGE_ORDER = 9
HUGEPAGE_FREELISTS, SURPLUS_OF_NODE = 0x58, 0x658  # struct hstate: for each node, a list of free pages, and a number
HSTATE_LIST = 0xFFFFFFFF81F00000  # where such a list lies: in kernel data, outside of the model's memory


def page_hstate(p: Record) -> bool:
    """Whether hugetlb has pages of this size.  Where it has not, the kernel goes on with a NULL pointer."""
    return 4096 << (compound_order(p) & 63) & M64 == 4096 << HUGE_ORDER


def dequeue_hwpoisoned_huge_page(p: Record) -> bool:
    """Take a huge page off the list of free ones, if it is on it.  It never is."""
    known, node = page_hstate(p), p["flags"] >> 58
    if not known:
        p.machine.read(HUGEPAGE_FREELISTS + 16 * node)
    return False


def free_huge_page(p: Record) -> None:
    """Give a huge page back to hugetlb."""
    known, node = page_hstate(p), p["flags"] >> 58
    p["private"] = 0
    p["mapping"] = 0
    if p.head()["_count"] or page_mapcount(p):
        raise Stuck("BUG")
    if not known:
        p.machine.read(SURPLUS_OF_NODE + 4 * node, 4)
    p.machine.unlink(p.address + LRU)
    p["lru.next"] = HSTATE_LIST
    p["lru.prev"] = HSTATE_LIST
