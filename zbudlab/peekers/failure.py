"""memory_failure, and who calls it: a page that the hardware, or a tester, says is broken.

It takes a reference first and asks questions later; the order of the questions is that of the tables below.  What can
be done about which kind of page is in states.py.
"""

from __future__ import annotations

from ..struct_page import PageHWPoison, PageLRU, PageSlab, PageSwapCache, PageTail, page_count
from .decide import is_free_buddy_page
from .lru import lru_add_drain_all
from .put import dequeue_hwpoisoned_huge_page, put_page
from .record import PageHuge, Record
from .refs import (
    clear_page_hwpoison_huge_page,
    compound_order,
    compound_trans_order,
    get_page_unless_zero,
    lock_page,
    set_page_hwpoison_huge_page,
    shift,
    test_and_clear_flag,
    test_and_set_flag,
    wait_on_page_writeback,
)
from .rules import Ask, Conclude, Do, Item, Peeker, Says, Steps, Visit, run
from .states import BUSY, UNLOCK, USER_MAPPINGS, of_head, page_states, result
from .zone import drain_all_pages

# ---------------------------------------------------------------------- deeds


def find_head(p: Record) -> Record:
    return p.hpage


def set_hwpoison(p: Record) -> bool:
    return test_and_set_flag(p, "hwpoison")


def clear_hwpoison(p: Record) -> bool:
    return test_and_clear_flag(p, "hwpoison")


def count_poisoned(p: Record) -> None:
    p.facts["nr_pages"] = shift(compound_order(p.hpage)) & 0xFFFF_FFFF if PageHuge(p) else 1
    p.machine.poisoned += p.facts["nr_pages"]


def uncount_poisoned(p: Record) -> None:
    p.machine.poisoned -= p.facts["nr_pages"]


def remember_nr_pages(p: Record) -> None:
    p.facts["nr_pages"] = shift(compound_trans_order(p.hpage)) & 0xFFFF_FFFF


def remember_flags(p: Record) -> None:
    p.facts["flags"] = p["flags"]


def shrink_slab(p: Record) -> None:
    """Let every cache give memory back; the caches of the model have none, so once is enough."""
    p.machine.event("shrink_slab")
    page_count(p)


FIND_HEAD = Do("find the head of its compound page", find_head)
LOCK = Do("lock the head: take PG_locked", of_head(lock_page), sleeps=True)
PUT, PUT_HEAD = Do("drop the reference", put_page), Do("drop the reference on the head", of_head(put_page))
UNCOUNT = Do("take it off the number of poisoned pages", uncount_poisoned)
POISON_HEAD = "set PG_hwpoison on the head; was it set before?"
POISON_ALL = Do("set PG_hwpoison on all sub-pages", of_head(set_page_hwpoison_huge_page))


# ---------------------------------------------------------------------- the questions


def huge_or_tail(p: Record) -> bool:
    return PageHuge(p) or bool(PageTail(p))


def huge_tail(p: Record) -> bool:
    return PageHuge(p) and bool(PageTail(p))


def truncated(p: Record) -> bool:
    return bool(PageLRU(p)) and not PageSwapCache(p) and p["mapping"] == 0


def shake_page(access: bool) -> list[Item]:
    """Perhaps the page is only on its way somewhere: empty the queues that it may be in.  That takes milliseconds."""
    shrink = [Do("let every cache shrink", shrink_slab, sleeps=True)] if access else []
    free = Do("is it in a free block now?", is_free_buddy_page, no=shrink)
    on_lru = "is it on the LRU now?"
    drain = [
        Do("drain the pagevecs of all CPUs", lru_add_drain_all, sleeps=True),
        Ask(
            on_lru,
            PageLRU,
            no=[
                Do("drain the per-cpu lists of free pages", drain_all_pages, sleeps=True),
                Ask(on_lru, PageLRU, no=free),
            ],
        ),
    ]
    return [Ask("a slab page?", PageSlab, yes=shrink, no=drain)]


FREE_HUGE_PAGE = [
    LOCK,
    Ask("is the head poisoned?", of_head(PageHWPoison), no=[UNCOUNT, Conclude(0, "unpoisoned meanwhile")]),
    Ask(
        "is it a tail?",
        lambda p: p != p.hpage,
        yes=Do(POISON_HEAD, of_head(set_hwpoison), yes=[UNCOUNT, Conclude(0, "another sub-page was first")]),
    ),
    POISON_ALL,
    Do(
        "take it off hugetlb's list of free pages",
        of_head(dequeue_hwpoisoned_huge_page),
        yes=[Says(result("free huge", "Delayed")), UNLOCK, Conclude(0, "free huge page, delayed")],
        no=[Says(result("free huge", "Ignored")), UNLOCK, Conclude(BUSY, "free huge page, ignored")],
    ),
]

NOBODY_HOLDS_IT = [
    Do(
        "is it in a free block?",
        is_free_buddy_page,
        yes=Conclude(0, "free buddy page, delayed", says=result("free buddy", "Delayed")),
    ),
    Ask("a page of hugetlb?", of_head(PageHuge), yes=FREE_HUGE_PAGE),
    Conclude(BUSY, "high order kernel page, ignored", says=result("high order kernel", "Ignored")),
]

NOT_ON_THE_LRU = [
    Do(
        "is it in a free block?",
        is_free_buddy_page,
        yes=Conclude(0, "free buddy page at the second try, delayed", says=result("free buddy, 2nd try", "Delayed")),
    ),
    Says(result("non LRU", "Ignored")),
    PUT,
    Conclude(BUSY, "non LRU page, ignored; PG_hwpoison stays"),
]

MUST_BE_ON_THE_LRU = [
    Ask("on the LRU?", PageLRU, no=shake_page(access=False)),
    Ask("on the LRU?", PageLRU, no=NOT_ON_THE_LRU),
]

ANOTHER_WAS_FIRST = [
    Says(result("hugepage already hardware poisoned", "Ignored")),
    UNLOCK,
    PUT_HEAD,
    Conclude(0, "another sub-page was first"),
]
JUST_UNPOISONED = [Says("MCE {pfn:#x}: just unpoisoned"), UNLOCK, Conclude(0, "unpoisoned meanwhile")]
ALREADY_TRUNCATED = [
    Says(result("already truncated LRU", "Ignored")),
    UNLOCK,
    Conclude(BUSY, "already truncated LRU page, ignored"),
]


def memory_failure(*take_reference: Item) -> tuple[Item, ...]:
    """The function; its caller says (MF_COUNT_INCREASED) whether it has taken a reference already."""
    return (
        FIND_HEAD,
        Do(
            "set PG_hwpoison; was it set before?",
            set_hwpoison,
            yes=Conclude(0, "already hardware poisoned", says="MCE {pfn:#x}: already hardware poisoned"),
        ),
        Do("count it as poisoned", count_poisoned),
        *take_reference,
        Ask("a page of hugetlb, or a tail?", huge_or_tail, no=MUST_BE_ON_THE_LRU),
        LOCK,
        Do("remember its flags", remember_flags),
        Ask("is it still poisoned?", PageHWPoison, no=JUST_UNPOISONED),
        Ask("a tail of hugetlb?", huge_tail, yes=Do(POISON_HEAD, of_head(set_hwpoison), yes=ANOTHER_WAS_FIRST)),
        Ask("a page of hugetlb?", PageHuge, yes=POISON_ALL),
        Do("wait until it has been written back", wait_on_page_writeback, sleeps=True),
        USER_MAPPINGS,
        Ask("on the LRU, but in no cache any more?", truncated, yes=ALREADY_TRUNCATED),
        *page_states(),
    )


MEMORY_FAILURE = memory_failure(
    Do("take a reference on the head, unless its _count is 0", of_head(get_page_unless_zero), no=NOBODY_HOLDS_IT),
)

INJECT = (Says("Injecting memory failure at pfn {pfn:x}"), *memory_failure())  # says that it has a reference, has none


# ---------------------------------------------------------------------- unpoison_memory

UNPOISON = (
    FIND_HEAD,
    Ask(
        "is it poisoned?",
        PageHWPoison,
        no=Conclude(0, "it was not poisoned", says="MCE: Page was already unpoisoned {pfn:#x}"),
    ),
    Do("how many pages is that?", remember_nr_pages),
    Do(
        "take a reference on the head, unless its _count is 0",
        of_head(get_page_unless_zero),
        no=[
            Ask(
                "a page of hugetlb?",
                of_head(PageHuge),
                yes=Conclude(0, "left alone", says="MCE: Memory failure is now running on free hugepage {pfn:#x}"),
            ),
            Do("clear PG_hwpoison; was it set?", clear_hwpoison, yes=UNCOUNT),
            Conclude(0, "a free page, unpoisoned", says="MCE: Software-unpoisoned free page {pfn:#x}"),
        ],
    ),
    LOCK,
    Do(
        "clear PG_hwpoison on the head; was it set?",
        of_head(clear_hwpoison),
        yes=[
            Says("MCE: Software-unpoisoned page {pfn:#x}"),
            UNCOUNT,
            Ask(
                "a page of hugetlb?",
                of_head(PageHuge),
                yes=Do("clear PG_hwpoison on all sub-pages", of_head(clear_page_hwpoison_huge_page)),
            ),
            UNLOCK,
            PUT_HEAD,
            Do("drop the reference that memory_failure kept, if it kept one", of_head(put_page)),
            Conclude(0, "unpoisoned"),
        ],
    ),
    UNLOCK,
    PUT_HEAD,
    Conclude(0, "unpoisoned meanwhile"),
)


def first_poison(visit: Visit) -> Steps:
    """memory_failure and then, whatever came of it, unpoison_memory."""
    conclusion = yield from run(MEMORY_FAILURE, visit.page, visit)
    visit.facts["memory_failure"] = conclusion.value
    return (yield from run(UNPOISON, visit.machine.page(visit.pfn), visit))


FILE, INJECTOR = "mm/memory-failure.c", "mm/hwpoison-inject.c"
PEEKERS = (
    Peeker(
        "memory_failure",
        "memory_failure",
        FILE,
        "a machine check names the page, or hard_offline_page in sysfs, or madvise(MADV_HWPOISON)",
        MEMORY_FAILURE,
    ),
    Peeker("inject", "hwpoison_inject", INJECTOR, "corrupt-pfn in debugfs, its filter off", INJECT),
    Peeker("unpoison", "unpoison_memory", FILE, "unpoison-pfn in debugfs", UNPOISON),
    Peeker(
        "mf_then_unpoison",
        "unpoison_memory",
        FILE,
        "memory_failure, and afterwards unpoison-pfn in debugfs",
        (*MEMORY_FAILURE, *UNPOISON),
        plan=first_poison,
    ),
)
