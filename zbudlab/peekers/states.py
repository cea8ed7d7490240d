"""What memory_failure can do for a page once it has hold of it: unmap it, and then act by the kind of page it is.

The kinds are rows of a table that looks at page flags only; the first row that fits is taken.  What the kernel does
beyond the record (unmapping, killing, splitting) is an event here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..struct_page import (
    PageAnon,
    PageDirty,
    PageHead,
    PageKsm,
    PageSwapCache,
    page_count,
    page_mapped,
    s32,
)
from ..versions import ERRNO
from .lru import (
    AS_EIO,
    AS_FLAGS,
    BACKING_DEV_INFO,
    BDI_CAP_NO_WRITEBACK,
    BDI_CAPABILITIES,
    ERROR_REMOVE_PAGE,
    I_MMAP_MUTEX,
    delete_from_swap_cache,
    invalidate_inode_page,
    isolate_lru_page,
    operation,
    page_mapping,
    swapper_space,
)
from .put import dequeue_hwpoisoned_huge_page, put_page
from .record import PageHuge, Record, any_flag, mask
from .refs import clear_flag, set_flag, unlock_page
from .rules import Ask, Conclude, Do, Item, Says

BUSY = -ERRNO["EBUSY"]


def of_head(act: Callable[[Record], Any]) -> Callable[[Record], Any]:
    """The same, of the head of the page's compound page, as it was when the function began."""
    return lambda p: act(p.hpage)


def result(what: str, how: str) -> str:
    """The line that is logged of every page that something could, or could not, be done about."""
    return f"MCE {{pfn:#x}}: {what} page recovery: {how}"


UNLOCK = Do("unlock the head", of_head(unlock_page))


# ---------------------------------------------------------------------- hwpoison_user_mappings


def may_be_clean(p: Record) -> bool:
    """Whether a page is not dirty, and of a file whose dirty pages are written back."""
    if PageDirty(p):
        return False
    mapping = page_mapping(p)
    if not mapping or swapper_space(mapping):
        return False
    bdi = p.machine.read(mapping + BACKING_DEV_INFO)
    return not p.machine.read(bdi + BDI_CAPABILITIES, 4) & BDI_CAP_NO_WRITEBACK


def page_mkclean(p: Record) -> bool:
    """Ask the page tables whether somebody wrote to the page: nobody did."""
    p.machine.event("page_mkclean", p.pfn)
    return False


def split_huge_page(p: Record) -> bool:
    """Split a huge page into single ones: that fails."""
    p.machine.event("split_huge_page_to_list", p.pfn)
    return False


def is_thp(p: Record) -> bool:
    return bool(PageHead(p)) and not PageHuge(p) and bool(PageAnon(p))


def collect_procs(p: Record) -> None:
    """Find the processes to be killed: there are none."""
    mapping = p["mapping"]
    if PageAnon(p):
        p.machine.event("page_lock_anon_vma_read", p.pfn)
    elif mapping:
        p.machine.read(mapping + I_MMAP_MUTEX, 4)


def try_to_unmap(p: Record) -> None:
    """Take the page out of all page tables; that always succeeds."""
    unmap_ignoring_mlock_and_access = 0x300
    ignoring_hwpoison = 0x400 if p.facts.get("keep_data") else 0
    p.machine.event("try_to_unmap", p.pfn, unmap_ignoring_mlock_and_access | ignoring_hwpoison)


def keep_data(p: Record) -> None:
    """The data exists elsewhere too, so processes may go on without a signal."""
    p.facts["keep_data"] = True


def spare_processes(p: Record) -> None:
    p.facts["keep_data"] = p.facts["spare"] = True


GIVE_UP = [Says("MCE {pfn:#x}: cannot unmap page, give up"), UNLOCK, Conclude(BUSY, "it cannot be unmapped")]
UNMAP = [
    Ask("KSM: are both low bits of mapping set?", PageKsm, yes=GIVE_UP),
    Ask(
        "in the swap cache?",
        PageSwapCache,
        yes=[Says("MCE {pfn:#x}: keeping poisoned page in swap cache"), Do("remember that", keep_data)],
    ),
    Do(
        "is it clean, and of a file?",
        of_head(may_be_clean),
        yes=Do(
            "did somebody write to it, by the page tables?",
            of_head(page_mkclean),
            yes=Do("set PG_dirty", of_head(lambda head: set_flag(head, "dirty"))),
            no=[
                Do("spare the processes", spare_processes),
                Says("MCE {pfn:#x}: corrupted page was clean: dropped without side effects"),
            ],
        ),
    ),
    Ask(
        "a transparent huge page?",
        of_head(is_thp),
        yes=Do("split it", of_head(split_huge_page), no=[Says("MCE {pfn:#x}: failed to split THP"), *GIVE_UP]),
    ),
    Ask("are processes to be killed?", lambda p: not p.facts.get("spare"), yes=Do("find them", of_head(collect_procs))),
    Do("take it out of all page tables", of_head(try_to_unmap)),
]
USER_MAPPINGS = Ask(
    "reserved or slab?",
    any_flag("reserved", "slab"),
    no=Ask("mapped: is the head's _mapcount at least 0?", of_head(page_mapped), yes=UNMAP),
)


# ---------------------------------------------------------------------- what can be done: an action for each page state

IGNORED, FAILED, DELAYED, RECOVERED = "Ignored", "Failed", "Delayed", "Recovered"


def me_kernel(p: Record) -> str:
    return IGNORED


def me_huge_page(p: Record) -> str:
    head = p.head()
    free = not (page_mapping(head) or PageAnon(head))
    return RECOVERED if free and dequeue_hwpoisoned_huge_page(head) else DELAYED


def delete_from_lru_cache(p: Record) -> bool:
    if not isolate_lru_page(p):
        return False
    clear_flag(p, "active")
    clear_flag(p, "unevictable")
    put_page(p)
    return True


def me_swapcache_dirty(p: Record) -> str:
    clear_flag(p, "dirty")
    clear_flag(p, "uptodate")
    return DELAYED if delete_from_lru_cache(p) else FAILED


def me_swapcache_clean(p: Record) -> str:
    delete_from_swap_cache(p)
    return RECOVERED if delete_from_lru_cache(p) else FAILED


def me_pagecache_clean(p: Record) -> str:
    delete_from_lru_cache(p)
    if PageAnon(p):
        return RECOVERED
    mapping = page_mapping(p)
    if not mapping:
        return FAILED
    if remove := operation(p, mapping, ERROR_REMOVE_PAGE):
        p.machine.call(remove)
    if invalidate_inode_page(p):
        return RECOVERED
    p.machine.printk(f"MCE {p.pfn:#x}: Failed to invalidate")
    return FAILED


def me_pagecache_dirty(p: Record) -> str:
    mapping = page_mapping(p)
    set_flag(p, "error")
    if mapping and not swapper_space(mapping):  # note the lost data in the file's address_space
        byte, bit = divmod(AS_EIO, 8)
        p.machine.write(mapping + AS_FLAGS + byte, p.machine.read(mapping + AS_FLAGS + byte, 1) | 1 << bit, 1)
    return me_pagecache_clean(p)


def me_unknown(p: Record) -> str:
    p.machine.printk(f"MCE {p.pfn:#x}: Unknown page state")
    return FAILED


# the flags looked at, those that must be set, what such a page is called, what is done
PAGE_STATES = (
    ("reserved", "reserved", "reserved kernel", me_kernel),
    ("slab", "slab", "kernel slab", me_kernel),
    ("head", "head", "huge", me_huge_page),
    ("tail", "tail", "huge", me_huge_page),
    ("swapcache dirty", "swapcache dirty", "dirty swapcache", me_swapcache_dirty),
    ("swapcache dirty", "swapcache", "clean swapcache", me_swapcache_clean),
    ("mlocked dirty", "mlocked dirty", "dirty mlocked LRU", me_pagecache_dirty),
    ("mlocked dirty", "mlocked", "clean mlocked LRU", me_pagecache_clean),
    ("unevictable dirty", "unevictable dirty", "dirty unevictable LRU", me_pagecache_dirty),
    ("unevictable dirty", "unevictable", "clean unevictable LRU", me_pagecache_clean),
    ("lru dirty", "lru dirty", "dirty LRU", me_pagecache_dirty),
    ("lru dirty", "lru", "clean LRU", me_pagecache_clean),
)


def page_action(name: str, action: Callable[[Record], str]) -> list[Item]:
    """Do what can be done; then nobody else may hold the page, or it has failed after all."""

    def act(p: Record) -> bool:
        outcome = action(p)
        p.machine.printk(result(name, outcome).format(pfn=p.pfn))
        others = s32(page_count(p) - 1 - (action is me_swapcache_dirty and outcome == DELAYED))
        if others:
            p.machine.printk(f"MCE {p.pfn:#x}: {name} page still referenced by {others} users")
        return not others and outcome in (RECOVERED, DELAYED)

    return [
        Do(
            f"{action.__name__}: do what can be done, and see whether nobody else holds it",
            act,
            yes=[UNLOCK, Conclude(0, f"{name} page, dealt with")],
            no=[UNLOCK, Conclude(BUSY, f"{name} page, not dealt with")],
        )
    ]


def page_states() -> list[Item]:
    """Which row fits the flags as they are?  If none, which fits those that were remembered?  The first that does."""

    def fits(remembered: bool, looked_at: int, set_: int) -> Callable[[Record], bool]:
        return lambda p: (p.facts["flags"] if remembered else p["flags"]) & looked_at == set_

    rows = [
        Ask(
            f"{name}, by its {'former ' if remembered else ''}flags?",
            fits(remembered, mask(*looked_at.split()), mask(*set_.split())),
            yes=page_action(name, action),
        )
        for remembered in (False, True)
        for looked_at, set_, name, action in PAGE_STATES
    ]
    return rows + page_action("unknown page state", me_unknown)
