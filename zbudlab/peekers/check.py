"""The checks of the page allocator: what a page must look like on the way in, and on the way out."""

from __future__ import annotations

from typing import Any

from ..struct_page import CHECK_AT_FREE, PageAnon, PageHWPoison, page_mapcount
from .record import Record
from .rules import Adds, Ask, Conclude, Do, Peeker, decide

REASONS = {1: "_mapcount", 2: "mapping", 4: "_count", 8: "flags"}  # what a page can be bad for
MAPCOUNT, MAPPING, COUNT, FLAGS = (Adds(bit, name) for bit, name in REASONS.items())


def bad_page(p: Record) -> None:
    """Report a page that is not clean, and reset its _mapcount.  A poisoned page is reset without a report."""
    p.facts["bad"] = [name for bit, name in REASONS.items() if p.gathered & bit]
    if p.machine.visit is not None and not PageHWPoison(p):
        p.machine.visit.bad += 1
    p["_mapcount"] = -1


def clear_flags(p: Record) -> None:
    p["flags"] = p["flags"] & ~p.machine.check_at_prep


def any_reason(p: Any) -> Any:
    return p.gathered != 0


_FIELDS = [
    Ask("is _mapcount other than -1?", lambda p: page_mapcount(p) != 0, yes=MAPCOUNT),
    Ask("is mapping set?", lambda p: p["mapping"] != 0, yes=MAPPING),
    Ask("is _count other than 0?", lambda p: p["_count"] != 0, yes=COUNT),
]
_BAD = [Do("bad_page: report it, and reset _mapcount to -1", bad_page), Conclude(1, "bad")]

FREE_PAGES_CHECK = (
    *_FIELDS,
    Ask("is any flag of CHECK_AT_FREE set?", lambda p: (p["flags"] & CHECK_AT_FREE) != 0, yes=FLAGS),
    Ask("any of these?", any_reason, yes=_BAD),
    Ask(
        "is any flag set at all?",
        lambda p: (p["flags"] & p.machine.check_at_prep) != 0,
        yes=Do("clear all flags", clear_flags),
    ),
    Conclude(0, "clean"),
)

CHECK_NEW_PAGE = (
    *_FIELDS,
    Ask("is any flag set at all?", lambda p: (p["flags"] & p.machine.check_at_prep) != 0, yes=FLAGS),
    Ask("any of these?", any_reason, yes=_BAD),
    Conclude(0, "clean"),
)


def forget_mapping(p: Record) -> None:
    p["mapping"] = 0


def free_pages_check(p: Record) -> bool:
    """Whether a page is bad, on the way in."""
    return bool(decide(FREE_PAGES_CHECK, p))


ANON_IS_FORGIVEN = Ask("anonymous: is mapping odd?", PageAnon, yes=Do("set mapping to NULL", forget_mapping))
FREE_PAGES_PREPARE = (
    ANON_IS_FORGIVEN,
    Do("free_pages_check: is it bad?", free_pages_check, yes=Conclude(0, "kept away"), no=Conclude(1, "may be freed")),
)


def _peeker(name: str, trigger: str, table: tuple[Any, ...]) -> Peeker:
    return Peeker(name, name, "mm/page_alloc.c", trigger, table, scans="" if name == "free_pages_prepare" else "int8")


PEEKERS = (
    _peeker("free_pages_check", "a page is given back", FREE_PAGES_CHECK),
    _peeker("free_pages_prepare", "a page is given back", FREE_PAGES_PREPARE),
    _peeker("check_new_page", "a page is handed out", CHECK_NEW_PAGE),
)
