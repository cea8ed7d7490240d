"""A page of 6.1 is given back: much is forgiven, and the rest is asked only when a per-cpu list is drained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...linux_6_1 import (
    CHECK_AT_FREE,
    CHECK_AT_PREP,
    PG_6_1,
    PageHWPoison,
    page_flag,
)
from ..record import Record
from ..rules import Adds, Ask, Conclude, Do, Item
from .deeds import (
    peeker,
    poison_links,
    put_page_testzero,
)

REASONS = {  # what a page can be bad for; the last one is printed
    1: "nonzero mapcount",
    2: "non-NULL mapping",
    4: "nonzero _refcount",
    8: "PAGE_FLAGS_CHECK_AT_FREE flag(s) set",
    16: "page still charged to cgroup",
}


def page_bad_reason(check_at_free: int) -> tuple[Item, ...]:
    """The questions of free_page_is_bad."""
    mapcount_, mapping, count, flags, memcg = (Adds(bit, reason) for bit, reason in REASONS.items())
    return (
        Ask("is _mapcount other than -1?", lambda p: p["_mapcount"] != -1, yes=mapcount_),
        Ask("is mapping set?", lambda p: p["mapping"] != 0, yes=mapping),
        Ask("is _refcount other than 0?", lambda p: p["_refcount"] != 0, yes=count),
        Ask("is any flag of CHECK_AT_FREE set?", lambda p: (p["flags"] & check_at_free) != 0, yes=flags),
        Ask("is memcg_data set?", lambda p: p["memcg_data"] != 0, yes=memcg),
    )


def bad_page(p: Record) -> None:
    """Report a page that is not clean."""
    reason = next((text for bit, text in reversed(REASONS.items()) if p.gathered & bit), "nothing")
    p.facts["bad"] = reason
    p.machine.printk(f"BUG: Bad page state  pfn:{p.pfn:05x}")
    p.machine.printk(f"page dumped because: {reason}")
    if p.machine.visit is not None:
        p.machine.visit.bad += 1


def reset_mapcount(p: Record) -> None:
    p["_mapcount"] = -1


def forget_mapping(p: Record) -> None:
    p["mapping"] = 0


def clear_flags(check_at_prep: int) -> Callable[[Record], None]:
    def act(p: Record) -> None:
        p["flags"] = p["flags"] & ~check_at_prep

    return act


def clear_mlocked(p: Record) -> None:
    head = p.head()
    head["flags"] = head["flags"] & ~(1 << PG_6_1["mlocked"])


def forget_private(p: Record) -> None:
    p["private"] = 0  # 6.1.192 does that; 6.1 did not


def note_type(p: Record) -> None:
    p["index"] = 0  # the migrate type UNMOVABLE


def any_reason(p: Any) -> Any:
    return p.gathered != 0


DROP = Do(
    "drop a reference; was it the last?",
    put_page_testzero,
    no=Conclude(2, "not freed: somebody else seems to hold it"),
)
REPORT, LOST = Do("bad_page: report it", bad_page), Conclude(1, "bad: it is lost")
IF_BAD = Ask("any of these?", any_reason, yes=[REPORT, Do("reset _mapcount to -1", reset_mapcount), LOST])
PREPARE = (
    Ask("PG_mlocked, of the head?", lambda p: page_flag(p.head(), "mlocked"), yes=Do("clear it", clear_mlocked)),
    Ask("poisoned?", PageHWPoison, yes=Conclude(0, "kept away: poisoned")),
    Ask("is a low bit of mapping set?", lambda p: (p["mapping"] & 3) != 0, yes=Do("forget mapping", forget_mapping)),
    Do("clear all flags but PG_hwpoison", clear_flags(CHECK_AT_PREP)),
    Do("clear private", forget_private),
    Do("note its migrate type in index, put it on the per-cpu list", note_type),
)
CHECK = page_bad_reason(CHECK_AT_FREE)
FREE_PAGE = (DROP, *PREPARE, Conclude(0, "freed; nothing else was asked"))
DRAIN = (Do("the per-cpu list is full: take it off that", poison_links), *CHECK, IF_BAD)
FREE_DRAINED = (DROP, *PREPARE, *DRAIN, Conclude(0, "freed, and clean"))


def take_last_reference(p: Record) -> None:
    p["_refcount"] = 1


FREE_FORCED = (Do("set _refcount to 1", take_last_reference), *FREE_DRAINED)

_ALLOC, _FREED = "mm/page_alloc.c", "a page is given back"
_BAD = (*CHECK, Conclude(lambda p: p.gathered, "what it is bad for"))
PEEKERS = (
    peeker("free_page_is_bad", "free_page_is_bad", _ALLOC, "a per-cpu list is drained", _BAD, "int8"),
    peeker("free_page", "__free_pages", _ALLOC, _FREED, FREE_PAGE),
    peeker("free_drained", "__free_pages", _ALLOC, f"{_FREED}, and the per-cpu list is drained", FREE_DRAINED),
    peeker("free_forced", "__free_pages", _ALLOC, f"{_FREED} with the last reference, and drained", FREE_FORCED),
)
