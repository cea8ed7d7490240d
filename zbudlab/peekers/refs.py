"""Flags, locks and references: what readers do to a record, one instruction at a time.

The kernel's names and order, and the width of its instructions: an atomic flag operation touches one byte or four, as
compiled.  A reference is one more on the 32-bit word at byte 28, whatever lies there.
"""

from __future__ import annotations

from ..memmap import KernelOops
from ..struct_page import PG, PageHead, PageSlab, PageTail, PageWriteback, s32
from .machine import WAIT_TABLE, Stuck
from .record import Record

# ---------------------------------------------------------------------- flags


def to_be_written(p: Record, field: str) -> int:
    """A field that one instruction reads and writes: where nothing is, the fault is that of a write."""
    try:
        return p[field]
    except KernelOops as oops:
        raise KernelOops(oops.address, "write") from None


def set_flag(p: Record, name: str) -> None:
    """Set a flag, atomically (mirrors SetPage...: on one byte)."""
    byte, bit = divmod(PG[name], 8)
    p.machine.write(p.address + byte, to_be_written(p, "flags") >> 8 * byte & 0xFF | 1 << bit, 1)


def clear_flag(p: Record, name: str) -> None:
    """Clear a flag, atomically (mirrors ClearPage...: on one byte)."""
    byte, bit = divmod(PG[name], 8)
    p.machine.write(p.address + byte, to_be_written(p, "flags") >> 8 * byte & 0xFF & ~(1 << bit), 1)


def test_and_set_flag(p: Record, name: str) -> bool:
    """Set a flag, atomically; whether it was set before (mirrors TestSetPage...: on four bytes)."""
    low = to_be_written(p, "flags") & 0xFFFF_FFFF
    p.machine.write(p.address, low | 1 << PG[name], 4)
    return bool(low >> PG[name] & 1)


def test_and_clear_flag(p: Record, name: str) -> bool:
    """Clear a flag, atomically; whether it was set before (mirrors TestClearPage...: on four bytes)."""
    low = to_be_written(p, "flags") & 0xFFFF_FFFF
    p.machine.write(p.address, low & ~(1 << PG[name]), 4)
    return bool(low >> PG[name] & 1)


def unset_flag(p: Record, name: str) -> None:
    """Clear a flag where nobody else can be looking (mirrors __ClearPage...: on four bytes)."""
    test_and_clear_flag(p, name)


# ---------------------------------------------------------------------- the page lock, and waiting


def page_waitqueue(p: Record) -> None:
    """Find where the sleepers for a page wait: by way of the zone that its flags name."""
    p.machine.read(p.machine.zone(p) + WAIT_TABLE)


def trylock_page(p: Record) -> bool:
    return not test_and_set_flag(p, "locked")


def lock_page(p: Record) -> None:
    """Take PG_locked, or sleep until it is free: for ever, since nobody else runs."""
    if not trylock_page(p):
        page_waitqueue(p)
        raise Stuck("blocks", bit=PG["locked"])


def unlock_page(p: Record) -> None:
    clear_flag(p, "locked")
    page_waitqueue(p)


def wait_on_page_writeback(p: Record) -> None:
    """Sleep until the page has been written to its disk."""
    if PageWriteback(p):
        page_waitqueue(p)
        raise Stuck("blocks", bit=PG["writeback"])


def compound_lock(p: Record) -> None:
    """Take PG_compound_lock, which is waited for in a tight loop."""
    if test_and_set_flag(p, "compound_lock"):
        raise Stuck("loops")


def compound_unlock(p: Record) -> None:
    clear_flag(p, "compound_lock")


# ---------------------------------------------------------------------- references


def get_page_unless_zero(p: Record) -> bool:
    """Take a reference, unless `_count` is 0.  A negative count is not 0."""
    count = p["_count"]
    if count == 0:
        return False
    p["_count"] = count + 1
    return True


def put_page_testzero(p: Record) -> bool:
    """Drop a reference; whether it was the last."""
    count = s32(to_be_written(p, "_count") - 1)
    p["_count"] = count
    return bool(count == 0)


def get_page(p: Record) -> None:
    """Take one more reference: through a tail, on the head, and on the tail's own _mapcount."""
    if not PageTail(p):
        p["_count"] = to_be_written(p, "_count") + 1
        return
    head = p.head()
    if head == p or not get_page_unless_zero(head):
        p["_count"] = to_be_written(p, "_count") + 1
        return
    of_slab = PageSlab(head)  # a slab's pages are never split, and its flags are changed without care
    if not of_slab:
        compound_lock(head)
    p["_mapcount"] = to_be_written(p, "_mapcount") + 1
    if not of_slab:
        compound_unlock(head)


# ---------------------------------------------------------------------- compound pages


def compound_order(p: Record) -> int:
    """The order that the record behind a head tells, as a C int; 0 for a page that is no head."""
    return int(s32(p.beyond(1)["lru.prev"] & 0xFFFF_FFFF)) if PageHead(p) else 0


def compound_trans_order(p: Record) -> int:
    """The same, under PG_compound_lock."""
    if not PageHead(p):
        return 0
    compound_lock(p)
    order = compound_order(p)
    compound_unlock(p)
    return order


def shift(order: int) -> int:
    """1 << order, computed in a C int: the processor looks at the low five bits of the order only.

    >>> shift(9), shift(32), shift(31)
    (512, 1, -2147483648)
    """
    return int(s32(1 << (order & 31)))


def set_page_hwpoison_huge_page(p: Record) -> None:
    for i in range(shift(compound_trans_order(p))):
        set_flag(p.beyond(i), "hwpoison")


def clear_page_hwpoison_huge_page(p: Record) -> None:
    for i in range(shift(compound_trans_order(p))):
        clear_flag(p.beyond(i), "hwpoison")
