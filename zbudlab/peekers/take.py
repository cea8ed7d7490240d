"""Readers that take a reference on a page, or drop one, and little else."""

from __future__ import annotations

from ..struct_page import PageSwapCache
from .failure import MEMORY_FAILURE
from .machine import Stuck
from .put import put_page
from .record import Record, u64
from .refs import get_page_unless_zero, put_page_testzero
from .rules import Ask, Conclude, Do, Peeker, Steps, Visit, run
from .zone import free_hot_cold_page

FREE_PAGES = (
    Do("drop a reference; was it the last?", put_page_testzero, yes=Do("free the page", free_hot_cold_page)),
    Conclude(None, "done"),
)

STALE_LOOKUP = (
    Do("take a reference, unless _count is 0", get_page_unless_zero, no=Conclude(0, "gone; the tree is asked again")),
    Do("look again: the tree names another page by now.  Drop the reference", put_page),
    Conclude(0, "not the page that was looked for"),
)

# ---------------------------------------------------------------------- KSM


def its_page(p: Record) -> bool:
    """Whether mapping names exactly this stable node, in KSM's way."""
    visit = p.machine.visit
    node = STABLE_NODE if visit is None else visit.options.get("stable_node", STABLE_NODE)
    return p["mapping"] == node | 3


def wait_for_unfreeze(p: Record) -> None:
    raise Stuck("loops")


STABLE_NODE = 0xFFFF880053000040
STALE = Conclude(0, "stale: the node is forgotten")
KSM = (
    Ask("does mapping name this very node?", its_page, no=STALE),
    Do(
        "take a reference, unless _count is 0",
        get_page_unless_zero,
        no=[Ask("in the swap cache?", PageSwapCache, no=STALE), Do("wait until it is migrated", wait_for_unfreeze)],
    ),
    Ask("does mapping still name this node?", its_page, no=[Do("drop the reference", put_page), STALE]),
    Conclude(1, "the node's page, with a reference"),
)


# ---------------------------------------------------------------------- a race


def race(visit: Visit) -> Steps:
    """memory_failure, with list_del of one node while it drains, and of another after it has returned.

    The visit's options `in_window` and `after` are the addresses of the nodes, if any.
    """
    m, window, after = visit.machine, visit.options.get("in_window"), visit.options.get("after")
    steps = run(MEMORY_FAILURE, visit.page, visit)
    while True:
        try:
            yield next(steps)
        except StopIteration as end:
            conclusion: Conclude = end.value
            break
        if window is not None and ("lru_add_drain_all",) in visit.events:
            m.event("unlink_in_window", hex(window))
            m.list_del(window)
            window = None
    m.event("memory_failure_returned", u64(conclusion.value), 0, 0)
    if after is not None:
        m.list_del(after)
    return conclusion


PEEKERS = (
    Peeker("__free_pages", "__free_pages", "mm/page_alloc.c", "the owner gives a page of order 0 back", FREE_PAGES),
    Peeker(
        "page_cache",
        "find_get_page",
        "mm/filemap.c",
        "a lookup without a lock finds a page that was freed since",
        STALE_LOOKUP,
    ),
    Peeker("ksm", "get_ksm_page", "mm/ksm.c", "KSM looks at the page that a stable node remembers by its number", KSM),
    Peeker(
        "race",
        "memory_failure",
        "mm/memory-failure.c",
        "a machine check, while zbud is busy on another CPU",
        MEMORY_FAILURE,
        plan=race,
    ),
)
