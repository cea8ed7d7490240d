"""memory_failure and soft_offline_page of 6.1: first they ask whether anything can be done about the page.

What they do with pages of user space is not modelled: there the model ends, and says where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...linux_6_1 import (
    PageHead,
    PageHWPoison,
    PageLRU,
    PageMovable,
    PageReserved,
    PageSwapCache,
    page_count,
    page_flag,
)
from ..record import Record
from ..rules import Ask, Conclude, Do, Item, Says
from .deeds import (
    BUSY,
    EIO,
    HWPOISON,
    LOCK,
    PUT,
    UNLOCK,
    beyond,
    get_page_unless_zero,
    if_hugetlb,
    in_free_block,
    isolate_movable_page,
    of_head,
    peeker,
    set_flag,
)

# ---------------------------------------------------------------------- may it be touched?


def handlable(soft: bool) -> Callable[[Any], Any]:
    """The test whether something can be done about a page (mirrors HWPoisonHandlable), asked of the head."""

    def test(p: Any) -> Any:
        head = p.head()
        return (PageMovable(head) if soft else False) | PageLRU(head) | in_free_block(head)

    return test


def shake_page(p: Record) -> None:
    """Empty the queues that the page may be in, and let caches shrink: nothing of that is modelled."""
    p.machine.event("shake_page", p.pfn)


def get_any_page(soft: bool, held: list[Item], free: list[Item], failed: Item) -> list[Item]:
    """Take a reference, if something can be done about the page, and what follows each of the three answers."""
    can = "on the LRU, or free, or movable?" if soft else "on the LRU, or free?"
    unhandlable = [Says("Memory failure: {pfn:#x}: unhandlable page."), failed]
    again = [Do("empty the queues that it may be in, three times", shake_page, sleeps=True),
             Ask(can, handlable(soft), no=unhandlable)]  # fmt: skip
    return [
        *if_hugetlb("get_hwpoison_huge_page"),
        Ask(can, handlable(soft), no=again),
        Do("take a reference on the head, unless its _refcount is 0", of_head(get_page_unless_zero), no=free),
        *held,
    ]


def result(kind: str, action: str) -> Says:
    """The line that sums up what became of a broken page."""
    return Says(f"Memory failure: {{pfn:#x}}: recovery action for {kind}: {action}")


THP = Ask("a transparent huge page?", lambda p: PageHead(p.hpage), yes=beyond("try_to_split_thp_page"))
IDENTIFY = [
    Ask(
        "reserved?",
        PageReserved,
        yes=[UNLOCK, result("reserved kernel page", "Ignored"), Conclude(BUSY, "reserved, ignored")],
    ),
    Ask(
        "in the swap cache, mlocked or unevictable?",
        lambda p: PageSwapCache(p) | page_flag(p, "mlocked") | page_flag(p, "unevictable"),
        yes=beyond("identify_page_state"),
    ),
    Says("Memory failure: {pfn:#x}: Unknown page state"),
    UNLOCK,
    result("unknown page", "Failed"),
    Conclude(BUSY, "of no kind that is known; a reference stays"),
]
MEMORY_FAILURE = (
    *if_hugetlb("try_memory_failure_hugetlb"),
    Do(
        "set PG_hwpoison; was it set before?",
        set_flag("hwpoison"),
        yes=Conclude(HWPOISON, "poisoned already", says="Memory failure: {pfn:#x}: already hardware poisoned"),
    ),
    *get_any_page(
        False,
        held=[
            THP,
            Do("empty the queues that it may be in", shake_page, sleeps=True),
            LOCK,
            Ask(
                "on the LRU, or under writeback?",
                lambda p: PageLRU(p) | page_flag(p.head(), "writeback"),
                yes=beyond("hwpoison_user_mappings"),
                no=IDENTIFY,
            ),
        ],
        free=[beyond("take_page_off_buddy")],
        failed=Conclude(
            BUSY,
            "of unknown kind, ignored; PG_hwpoison stays",
            says="Memory failure: {pfn:#x}: recovery action for unknown page: Ignored",
        ),
    ),
)


def log_isolation_failed(p: Record) -> None:
    count, flags = page_count(p), p["flags"]
    p.machine.printk(f"soft offline: {p.pfn:#x}: page isolation failed, page count {count}, type {flags:#x}")


CANNOT_ISOLATE = [PUT, Do("log how many hold it", log_isolation_failed), Conclude(BUSY, "it cannot be isolated")]
SOFT_OFFLINE = (
    Ask(
        "is it poisoned?",
        PageHWPoison,
        yes=Conclude(0, "poisoned already", says="soft_offline_page: {pfn:#x} page already poisoned"),
    ),
    *get_any_page(
        True,
        held=[
            THP,
            LOCK,
            Ask("on the LRU?", PageLRU, yes=beyond("invalidate_inode_page")),
            UNLOCK,
            Ask("movable: are the low bits of mapping 10?", PageMovable, no=CANNOT_ISOLATE),
            *isolate_movable_page(*CANNOT_ISOLATE),
        ],
        free=[beyond("page_handle_poison")],
        failed=Conclude(EIO, "nothing can be done about it"),
    ),
)

HANDLABLE = (
    Ask("on the LRU, or free?", handlable(False), yes=Conclude(1, "handled")),
    Conclude(0, "not touched: no reference is taken"),
)

_FAILURE = "mm/memory-failure.c"
PEEKERS = (
    peeker(
        "memory_failure",
        "memory_failure",
        _FAILURE,
        "a machine check names the page, or hard_offline_page in sysfs",
        MEMORY_FAILURE,
    ),
    peeker("soft_offline", "soft_offline_page", _FAILURE, "soft_offline_page in sysfs", SOFT_OFFLINE),
    peeker("handlable", "HWPoisonHandlable", _FAILURE, "memory_failure, before it touches the page", HANDLABLE, "int8"),
)
