"""Three readers of Linux 6.12, where they differ from 6.1's (source readers-6.12).

Two slips are part of it, and are kept.  KSM is asked for by *any* low bit of an anonymous page's mapping, so that every
anonymous page is reported as KSM.  And mapping is read of slab pages, too, where that word is the slab's own: one on a
per-cpu list keeps a number of slabs there, and if that is odd, the slab is reported as anonymous memory, and KSM.
"""

from __future__ import annotations

from typing import Any

from ..linux_6_12 import (
    CHECK_AT_FREE,
    CHECK_AT_PREP,
    HAS_TYPE,
    PG_6_12,
    RELEASE,
    PageBuddy,
    large,
    mask,
    page_type,
)
from ..struct_page import s32
from .linux_6_1.deeds import in_free_block, poison_links
from .linux_6_1.free import (
    DROP,
    LOST,
    REPORT,
    any_reason,
    clear_flags,
    forget_mapping,
    note_type,
    page_bad_reason,
    reset_mapcount,
    take_last_reference,
)
from .linux_6_1.report import KPF as KPF_6_1
from .record import Record, has, u64
from .rules import Adds, Ask, Conclude, Do, Item, Peeker

SWAPCACHE = mask("owner_priv_1", "swapbacked")
KPF = {("OWNER_2" if name == "MAPPEDTODISK" else name): bit for name, bit in KPF_6_1.items()}
COPIED = {name.lower(): name for name in KPF if name.lower() in PG_6_12 and name != "HWPOISON"} | {
    "owner_priv_1": "OWNER_PRIVATE",
    "arch_1": "ARCH",
}


def kpf(*names: str) -> Adds:
    """More bits in the answer."""
    return Adds(sum(1 << KPF[name] for name in names), " ".join(names))


def of_head(name: str) -> Any:
    """The test whether a flag is set on the head."""
    test = has(name, PG_6_12)
    return lambda p: test(p.head())


def anon(p: Any) -> Any:
    return (p.head()["mapping"] & 1) != 0


HUGETLB = "hugetlb: is the type of the head that?"
MAPPED = Ask(
    "has its head PG_head?",
    large,
    no=Ask("mapped: is _mapcount, the head's, at least 0?", lambda p: p.head()["_mapcount"] >= 0, yes=kpf("MMAP")),
    yes=Ask(
        "is _large_mapcount, behind the head, at least 0?",
        lambda p: p.head().beyond(1)["_large_mapcount"] >= 0,
        yes=kpf("MMAP"),
    ),
)
SMALL = Ask(
    "is it the huge zero page?",
    lambda p: p.head().pfn == p.machine.memmap.huge_zero_pfn,
    yes=kpf("ZERO_PAGE", "THP"),
    no=Ask("is it the zero page?", lambda p: p.pfn == p.machine.memmap.zero_pfn, yes=kpf("ZERO_PAGE")),
)
KPAGEFLAGS = (
    Ask(  # first, for the compiled function reads mapping before all else
        "anonymous: is mapping, the head's, odd?",
        anon,
        yes=[
            kpf("ANON"),
            Ask("KSM: is any low bit of mapping set?", lambda p: (p.head()["mapping"] & 3) != 0, yes=kpf("KSM")),
        ],
    ),
    MAPPED,
    Ask(
        "a tail: is bit 0 of the word at byte 8 set?",
        RELEASE.tail,
        yes=kpf("COMPOUND_TAIL"),
        no=Ask("PG_head?", has("head", PG_6_12), yes=kpf("COMPOUND_HEAD")),
    ),
    Ask(
        HUGETLB,
        lambda p: page_type(p.head(), "hugetlb"),
        yes=kpf("HUGE"),
        no=Ask(
            "has its head PG_head?",
            large,
            yes=Ask(
                "can it be mapped in parts: PG_workingset behind the head?",
                lambda p: has("workingset", PG_6_12)(p.head().beyond(1)),
                yes=kpf("THP"),
                no=SMALL,
            ),
            no=SMALL,
        ),
    ),
    Ask(
        "the first page of a free block: is the type buddy?",
        PageBuddy,
        yes=kpf("BUDDY"),
        no=Ask(
            "is _refcount, the head's, 0?",
            lambda p: p.head()["_refcount"] == 0,
            yes=Ask("is it in a free block?", lambda p: in_free_block(p, PageBuddy), yes=kpf("BUDDY")),
        ),
    ),
    Ask("is the type offline?", lambda p: page_type(p, "offline"), yes=kpf("OFFLINE")),
    Ask("is the type table?", lambda p: page_type(p, "table"), yes=kpf("PGTABLE")),
    Ask("is the type of the head slab?", lambda p: page_type(p.head(), "slab"), yes=kpf("SLAB")),
    Ask(
        "PG_swapbacked and PG_owner_priv_1, of the head?",
        lambda p: (p.head()["flags"] & SWAPCACHE) == SWAPCACHE,
        yes=kpf("SWAPCACHE"),
    ),
    Ask(
        HUGETLB,
        lambda p: page_type(p.head(), "hugetlb"),
        yes=Ask("PG_hwpoison of the head?", of_head("hwpoison"), yes=kpf("HWPOISON")),
        no=Ask("PG_hwpoison?", has("hwpoison", PG_6_12), yes=kpf("HWPOISON")),
    ),
    *[Ask(f"PG_{name} of the head?", of_head(name), yes=kpf(bit)) for name, bit in COPIED.items()],
    Conclude(lambda p: p.gathered, "the bits noted"),
)


def own(p: Any) -> Any:
    """`_mapcount` + 1; 0 if `_mapcount` is a type."""
    mapcount = p["_mapcount"]
    return s32(mapcount + 1) * (mapcount >= HAS_TYPE)


KPAGECOUNT = (
    Ask(
        "has its head PG_head?",
        large,
        yes=Conclude(
            lambda p: u64(s32(own(p) + p.head().beyond(1)["_entire_mapcount"] + 1)),
            "_mapcount + 1, unless that is a type, and _entire_mapcount + 1, widened to 64 bits",
        ),
    ),
    Conclude(lambda p: u64(own(p)), "_mapcount + 1, unless that is a type, widened to 64 bits"),
)

# ---------------------------------------------------------------------- a page is given back: the check comes at once


def clear_mlocked(p: Record) -> None:
    head = p.head()
    head["flags"] = head["flags"] & ~mask("mlocked")


CHECK = page_bad_reason(CHECK_AT_FREE)
IF_BAD = Ask(
    "any of these?",
    any_reason,
    yes=[REPORT, Ask("is the type buddy?", PageBuddy, yes=Do("reset _mapcount to -1", reset_mapcount)), LOST],
)
FREE_PAGE = (
    DROP,
    Ask("PG_mlocked, of the head?", of_head("mlocked"), yes=Do("clear it", clear_mlocked)),
    Ask("poisoned?", has("hwpoison", PG_6_12), yes=Conclude(0, "kept away: poisoned")),
    Ask("is a low bit of mapping set?", lambda p: (p["mapping"] & 3) != 0, yes=Do("forget mapping", forget_mapping)),
    *CHECK,
    IF_BAD,
    Do("clear all flags but PG_hwpoison", clear_flags(CHECK_AT_PREP)),
    Do("note its migrate type in index, put it on the per-cpu list", note_type),
)
FREED = Conclude(0, "freed, and clean")
FREE_DRAINED = (*FREE_PAGE, Do("the per-cpu list is full: take it off that", poison_links), FREED)
FREE_FORCED = (Do("set _refcount to 1", take_last_reference), *FREE_DRAINED)

_PROC, _ALLOC, _FREED = "fs/proc/page.c", "mm/page_alloc.c", "a page is given back"


def _peeker(name: str, function: str, file: str, trigger: str, table: tuple[Item, ...], scans: str = "") -> Peeker:
    return Peeker(name, function, file, trigger, table, release=RELEASE, scans=scans)


_BAD = (*CHECK, Conclude(lambda p: p.gathered, "what it is bad for"))
PEEKERS = (
    _peeker("kpageflags", "stable_page_flags", _PROC, "somebody reads /proc/kpageflags", KPAGEFLAGS, "uint64"),
    _peeker("kpagecount", "kpagecount_read", _PROC, "somebody reads /proc/kpagecount", KPAGECOUNT, "uint64"),
    _peeker("free_page_is_bad", "free_page_is_bad", _ALLOC, _FREED, _BAD, "int8"),
    _peeker("free_page", "__free_pages", _ALLOC, _FREED, (*FREE_PAGE, FREED)),
    _peeker("free_drained", "__free_pages", _ALLOC, f"{_FREED}, and the per-cpu list is drained", FREE_DRAINED),
    _peeker("free_forced", "__free_pages", _ALLOC, f"{_FREED} with the last reference, and drained", FREE_FORCED),
)
