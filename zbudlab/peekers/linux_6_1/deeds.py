"""What the readers of Linux 6.1 share: questions, references, locks, lists, and pages that their owner can move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...linux_6_1 import (
    LIST_POISON1,
    LIST_POISON2,
    PG_6_1,
    RELEASE,
    PageBuddy,
    PageHead,
    PageIsolated,
    PageMovable,
    hugetlb,
)
from ...versions import ERRNO
from ..machine import Beyond, Stuck
from ..record import Record, has
from ..rules import Ask, Do, Item, Peeker

EIO, BUSY, HWPOISON = -ERRNO["EIO"], -ERRNO["EBUSY"], -ERRNO["EHWPOISON"]
MAX_ORDER = 11  # free blocks have 2**0 to 2**10 pages


def flag(name: str) -> has:
    """The test whether a flag is set on the page itself."""
    return has(name, PG_6_1)


def beyond(call: str) -> Do:
    """From here on the model does not know the way."""

    def act(p: Record) -> None:
        raise Beyond(call)

    return Do(f"go on in {call}", act)


def in_free_block(p: Any, begins: Callable[[Any], Any] = PageBuddy) -> Any:
    """Whether the page is part of a free block: eleven records are asked, without the zone's lock."""
    found: Any = False
    for order in range(MAX_ORDER):
        pfn = p.pfn >> order << order
        begin = p.near(pfn)
        found = found | p.described(pfn) & begins(begin) & (begin["private"] >= order)
        if found is True:
            break
    return found


HUGETLB = "hugetlb: does the record behind the head name its destructor?"


def if_hugetlb(call: str) -> list[Item]:
    """hugetlb's pages go another way, by PG_head of the head and the record behind it."""
    return [Ask("has its head PG_head?", lambda p: PageHead(p.head()), yes=Ask(HUGETLB, hugetlb, yes=beyond(call)))]


def peeker(name: str, function: str, file: str, trigger: str, table: tuple[Item, ...], scans: str = "") -> Peeker:
    """A reader of 6.1."""
    return Peeker(name, function, file, trigger, table, release=RELEASE, scans=scans)


# ---------------------------------------------------------------------- references, locks, lists


def get_page_unless_zero(p: Record) -> bool:
    """Take a reference, unless `_refcount` is 0.  A negative count is not 0."""
    count = p["_refcount"]
    if count == 0:
        return False
    p["_refcount"] = count + 1
    return True


def put_page_testzero(p: Record) -> bool:
    """Drop a reference; whether it was the last."""
    p["_refcount"] = p["_refcount"] - 1
    return p["_refcount"] == 0


def of_head(act: Callable[[Record], Any]) -> Callable[[Record], Any]:
    return lambda p: act(p.head())


def set_flag(name: str) -> Callable[[Record], bool]:
    """Set a flag; whether it was set before."""

    def act(p: Record) -> bool:
        before = p["flags"]
        p["flags"] = before | 1 << PG_6_1[name]
        return bool(before >> PG_6_1[name] & 1)

    return act


def unlock_page(p: Record) -> None:
    p["flags"] = p["flags"] & ~(1 << PG_6_1["locked"])


def lock_page(p: Record) -> None:
    """Take PG_locked, or sleep until it is free: for ever, since nobody else runs."""
    if set_flag("locked")(p):
        raise Stuck("blocks", bit=PG_6_1["locked"])


def leave_free_list(p: Record) -> None:
    """Take the record off a list, after a look whether it is on one (CONFIG_DEBUG_LIST, __list_del_entry_valid)."""
    m, entry, after, before = p.machine, p.address + 8, p["lru.next"], p["lru.prev"]
    for link, name in ((after, "next"), (before, "prev")):
        if link == 0:
            m.printk(f"list_del corruption, {entry:x}->{name} is NULL")
            raise Stuck("BUG")
    poisoned = after == LIST_POISON1 or before == LIST_POISON2
    if poisoned or m.read(before) != entry or m.read(after + 8) != entry:
        m.printk(f"list_del corruption, {entry:x} is on no list")
        raise Stuck("BUG")
    m.unlink(entry)
    poison_links(p)


def poison_links(p: Record) -> None:
    p["lru.next"], p["lru.prev"] = LIST_POISON1, LIST_POISON2


LOCK, UNLOCK = Do("lock it: take PG_locked", lock_page, sleeps=True), Do("unlock it", unlock_page)
PUT = Do("drop the reference", put_page_testzero)
GET = "take a reference, unless _refcount is 0"

# ---------------------------------------------------------------------- pages that their owner can move


def call_isolate_page(p: Record) -> None:
    """Ask the owner to let go of the page: mapping, less its two tag bits, is where its operations are."""
    m = p.machine
    m.call(m.read(p["mapping"] & ~3))


def isolate_movable_page(*failed: Item) -> list[Item]:
    """Take a page from its owner, to move it (mirrors isolate_movable_page), and what follows if that cannot be."""
    return [
        Do(GET, get_page_unless_zero, no=failed),
        Ask("movable: are the low bits of mapping 10?", PageMovable, no=[PUT, *failed]),
        Do("lock it, if that is free", lambda p: not set_flag("locked")(p), no=[PUT, *failed]),
        Ask("is it isolated already?", PageIsolated, yes=[UNLOCK, PUT, *failed]),
        Do("call the first of the operations that mapping points to", call_isolate_page),
    ]
