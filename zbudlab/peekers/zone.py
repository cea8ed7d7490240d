"""The page allocator, as a page that is given up meets it: the per-cpu list, the free lists of blocks, migrate types.

This is the machine's own allocator, in the kernel's order of writes.  Where a machine has one of page_alloc.py, a page
that passes the checks goes back to that one instead.
"""

from __future__ import annotations

from ..page_alloc import KernelPages, keep_away
from ..struct_page import PAGE_BUDDY_MAPCOUNT_VALUE, PageAnon, PageBuddy, PageCompound, PageTail, s32
from .check import FREE_PAGES_PREPARE, bad_page, forget_mapping, free_pages_check
from .machine import (
    FREE_AREA,
    FREE_AREA_SIZE,
    ISOLATE,
    LOW_WATERMARK,
    MAX_ORDER,
    MOVABLE,
    NR_FREE,
    NR_FREE_PAGES,
    PAGEBLOCK,
    PAGESET,
    PCP_BATCH,
    PCP_HIGH,
    PCP_LISTS,
    ZONE_LOCK,
    Machine,
    Stuck,
)
from .record import Record, same_zone
from .refs import clear_flag, compound_order, shift
from .rules import decide

LRU = 32  # where the list node lies in a record


def free_list(zone: int, order: int, kind: int) -> int:
    """Address of the list head of free blocks of 2**order pages of one migrate type."""
    return zone + FREE_AREA + FREE_AREA_SIZE * order + 16 * kind


def freepage_migratetype(p: Record) -> int:
    """What a free page remembers in its index: the migrate type, a C int."""
    return int(s32(p["index"] & 0xFFFF_FFFF))


# ---------------------------------------------------------------------- freeing


def free_hot_cold_page(p: Record) -> None:
    """Free one page: the checks, then first place on the per-cpu list of its block's migrate type."""
    m = p.machine
    zone = m.zone(p)
    clean = decide(FREE_PAGES_PREPARE, p)
    if m.pages is not None and m.row(p.address) >= 0:
        if clean:
            m.memmap.page(p.pfn)["_count"] = 1  # the allocator drops the last reference itself
            m.pages.free_page(p.pfn)
        else:
            keep_away(m.pages, p.pfn, p.facts["bad"])
        return
    if not clean:
        return
    kind = m.block_type(p.pfn)
    p["index"] = kind
    if kind == ISOLATE:
        free_one_page(zone, p, 0, kind)
        return
    pcp = m.read(zone + PAGESET)
    m.list_add(p.address + LRU, pcp + PCP_LISTS + 16 * min(kind, MOVABLE))
    count = m.read(pcp, 4) + 1
    m.write(pcp, count, 4)
    if count >= m.read(pcp + PCP_HIGH, 4):
        free_pcppages_bulk(m, zone, pcp, m.read(pcp + PCP_BATCH, 4))


def free_pages_ok(p: Record, order: int) -> None:
    """Free a block of pages, if every one of them passes the check (mirrors __free_pages_ok)."""
    if PageAnon(p):
        forget_mapping(p)
    bad = [free_pages_check(p.beyond(i)) for i in range(shift(order))]
    if any(bad):
        return
    kind = p.machine.block_type(p.pfn)
    p["index"] = kind
    free_one_page(p.machine.zone(p), p, order, kind)


def free_one_page(zone: int, p: Record, order: int, kind: int) -> None:
    p.machine.spin_lock(zone + ZONE_LOCK)
    merge(zone, p, order, kind)
    p.machine.spin_unlock(zone + ZONE_LOCK)


def drain_all_pages(p: Record) -> None:
    """Give what is on the per-cpu lists back to the free lists of blocks."""
    m = p.machine
    if isinstance(m.pages, KernelPages):
        m.pages.drain()
    elif count := m.read(m.pcp, 4):
        free_pcppages_bulk(m, m.zone_at(m.walked), m.pcp, count)


def free_pcppages_bulk(m: Machine, zone: int, pcp: int, most: int) -> None:
    """Free pages from the cold ends of the per-cpu lists, in turn, and more at a time where the others are empty."""
    m.spin_lock(zone + ZONE_LOCK)
    m.write(pcp, m.read(pcp, 4) - most & 0xFFFF_FFFF, 4)
    kind = passed = 0
    while most:
        kind, passed = (kind + 1) % 3, passed + 1
        head = pcp + PCP_LISTS + 16 * kind
        if m.read(head) == head:
            continue
        for _ in range(most if passed == 3 else min(passed, most)):
            node = m.read(head + 8)
            m.list_del(node)
            p = Record(m, node - LRU)
            merge(zone, p, 0, freepage_migratetype(p))
            most -= 1
            if m.read(head) == head:
                break
        passed = 0
    m.spin_unlock(zone + ZONE_LOCK)


# ---------------------------------------------------------------------- free blocks: merging


def page_is_buddy(p: Record, neighbour: Record, order: int) -> bool:
    """Whether a neighbour is a free block of the same zone and order; one beyond a small memmap's end is not."""
    if p.machine.row(p.address) >= 0 > p.machine.row(neighbour.address):
        return False
    return bool(same_zone(p, neighbour)) and bool(PageBuddy(neighbour)) and neighbour["private"] == order


def merge(zone: int, p: Record, order: int, kind: int) -> None:
    """Merge a free block with its free neighbours, as far as that goes, and list it (mirrors __free_one_page)."""
    m = p.machine
    if PageCompound(p) and destroy_compound_page(p, order):
        return
    index = p.pfn & ((1 << MAX_ORDER) - 1)
    while order < MAX_ORDER - 1:
        neighbour = p.beyond((index ^ 1 << order) - index)
        if not page_is_buddy(p, neighbour, order):
            break
        m.list_del(neighbour.address + LRU)
        m.add(free_list(zone, order, 0) + NR_FREE, -1)
        no_longer_buddy(neighbour)
        p = p.beyond((index & ~(1 << order)) - index)
        index, order = index & ~(1 << order), order + 1
    p["private"] = order
    p["_mapcount"] = PAGE_BUDDY_MAPCOUNT_VALUE
    put = m.list_add_tail if order < MAX_ORDER - 2 and about_to_merge(p, index, order) else m.list_add
    put(p.address + LRU, free_list(zone, order, kind))
    m.add(free_list(zone, order, 0) + NR_FREE, 1)


def about_to_merge(p: Record, index: int, order: int) -> bool:
    """Whether the block of twice the size has a free neighbour: then this one will soon merge, and is listed last."""
    up = index & ~(1 << order)
    higher = p.beyond(up - index)
    return page_is_buddy(higher, higher.beyond((up ^ 1 << order + 1) - up), order + 1)


def no_longer_buddy(p: Record) -> None:
    """A block is free no more: _mapcount back to -1, private 0 (mirrors rmv_page_order)."""
    p["_mapcount"] = -1
    p["private"] = 0


def destroy_compound_page(p: Record, order: int) -> int:
    """Take a compound page apart; how many of its pages did not look like part of it."""
    bad = 0
    if compound_order(p) != order:
        bad_page(p)
        bad += 1
    clear_flag(p, "head")
    for tail in map(p.beyond, range(1, shift(order))):
        if not PageTail(tail) or tail["first_page"] != p.address:
            bad_page(tail)
            bad += 1
        clear_flag(tail, "tail")
    return bad


# ---------------------------------------------------------------------- free blocks: moving and splitting


def move_freepages(zone: int, first: Record, last: Record, kind: int) -> None:
    """Move the free blocks from one page to another to the free lists of a migrate type."""
    m = first.machine
    if m.zone(first) != m.zone(last):
        raise Stuck("BUG")
    p = first.beyond(pages_before_a_free_block(first, last))
    while p.address <= last.address:
        if not PageBuddy(p):
            p = p.beyond(1)
            continue
        order = p["private"]
        m.list_move(p.address + LRU, free_list(zone, order, kind))
        p["index"] = kind
        p = p.beyond(shift(order))


def pages_before_a_free_block(first: Record, last: Record) -> int:
    """How many records can be passed over at one glance: those with another _mapcount than -128."""
    m = first.machine
    i, j = m.row(first.address), m.row(last.address)
    if i < 0 or j < i:
        return 0
    view, at, step = m.fields["_mapcount"]
    column = view[at + step * i : at + step * j + 1 : step].tolist()
    return column.index(PAGE_BUDDY_MAPCOUNT_VALUE) if PAGE_BUDDY_MAPCOUNT_VALUE in column else len(column)


def move_freepages_block(zone: int, p: Record, kind: int) -> None:
    """The same for a whole pageblock, if it lies in the zone."""
    m = p.machine
    if zone != m.zone_at(m.walked):
        return
    first = p.pfn - p.pfn % PAGEBLOCK
    pfns = m.memmap.pfns  # a lesson's memmap may be smaller than a block
    move_freepages(zone, p.at(max(first, pfns[0])), p.at(min(first + PAGEBLOCK - 1, pfns[-1])), kind)


def split_free_page(p: Record) -> int:
    """Take a free block off its list and make single pages of it, each with a reference; how many, or 0."""
    m = p.machine
    order = p["private"] & 0xFFFF_FFFF
    zone = m.zone(p)
    if m.read(zone + NR_FREE_PAGES) <= m.read(zone + LOW_WATERMARK) + shift(order):
        return 0
    m.list_del(p.address + LRU)
    m.add(free_list(zone, order, 0) + NR_FREE, -1)
    no_longer_buddy(p)
    p["_count"] = 1
    for i in range(1, shift(order)):
        p.beyond(i)["_count"] = 1
    return 1 << (order & 63)
