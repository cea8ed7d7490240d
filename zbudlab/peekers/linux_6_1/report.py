"""The readers of 6.1 that report: files in /proc, and the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...linux_6_1 import (
    PG_6_1,
    PageAnon,
    PageBuddy,
    PageCompound,
    PageHead,
    PageHWPoison,
    PageKsm,
    PageLRU,
    PageOffline,
    PageSlab,
    PageSwapCache,
    PageTable,
    PageTail,
    hugetlb,
    mapcount,
    page_count,
    page_flag,
    page_has_type,
)
from ...struct_page import s32
from ..machine import Stuck
from ..record import Record, u64
from ..report import KPF as KPF_3_10
from ..rules import Adds, Ask, Conclude, Do
from .deeds import (
    HUGETLB,
    beyond,
    flag,
    in_free_block,
    peeker,
)

# ---------------------------------------------------------------------- /proc/kpageflags and /proc/kpagecount

KPF = KPF_3_10 | {"OFFLINE": 23, "ZERO_PAGE": 24, "IDLE": 25, "PGTABLE": 26, "SOFTDIRTY": 40, "ARCH_2": 41}
COPIED = {name.lower(): name for name in KPF if name.lower() in PG_6_1} | {
    "owner_priv_1": "OWNER_PRIVATE",
    "arch_1": "ARCH",
}


def kpf(*names: str) -> Adds:
    """More bits in the answer."""
    return Adds(sum(1 << KPF[name] for name in names), " ".join(names))


def any_sub_page_mapped(p: Any) -> Any:
    """Whether any page of the compound page has a `_mapcount` of at least 0."""
    head = p.head()
    return head.any_of(head.beyond(1)["compound_nr"], lambda page: page["_mapcount"] >= 0)


MAPPED = Ask(
    "has its head PG_head?",
    lambda p: PageHead(p.head()),
    no=Ask("mapped: is _mapcount, the head's, at least 0?", lambda p: p.head()["_mapcount"] >= 0, yes=kpf("MMAP")),
    yes=Ask(
        "mapped as a whole: is compound_mapcount at least 0?",
        lambda p: p.head().beyond(1)["compound_mapcount"] >= 0,
        yes=kpf("MMAP"),
        no=Ask(
            HUGETLB,
            hugetlb,
            no=Ask("is _mapcount of any of its pages at least 0?", any_sub_page_mapped, yes=kpf("MMAP")),
        ),
    ),
)
KIND = Ask(
    "part of a compound page?",
    PageCompound,
    yes=Ask(
        HUGETLB,
        hugetlb,
        yes=kpf("HUGE"),
        no=Ask(
            "is the head on the LRU, or anonymous?",
            lambda p: PageLRU(p.head()) | PageAnon(p.head()),
            yes=kpf("THP"),
            no=Ask(
                "is it the huge zero page?",
                lambda p: p.head().pfn == p.machine.memmap.huge_zero_pfn,
                yes=kpf("ZERO_PAGE", "THP"),
            ),
        ),
    ),
    no=Ask("is it the zero page?", lambda p: p.pfn == p.machine.memmap.zero_pfn, yes=kpf("ZERO_PAGE")),
)
FREE = Ask(
    "the first page of a free block: is the type buddy?",
    PageBuddy,
    yes=kpf("BUDDY"),
    no=Ask(
        "is _refcount, the head's, 0?",
        lambda p: page_count(p) == 0,
        yes=Ask("is it in a free block?", in_free_block, yes=kpf("BUDDY")),
    ),
)

KPAGEFLAGS = (
    Ask("a slab page: PG_slab of the head?", PageSlab, no=MAPPED),
    Ask("anonymous: is mapping, the head's, odd?", PageAnon, yes=kpf("ANON")),
    Ask("KSM: are both its low bits set?", PageKsm, yes=kpf("KSM")),
    Ask("PG_head?", flag("head"), yes=kpf("COMPOUND_HEAD")),
    Ask("a tail: is bit 0 of the word at byte 8 set?", PageTail, yes=kpf("COMPOUND_TAIL")),
    KIND,
    FREE,
    Ask("is the type offline?", PageOffline, yes=kpf("OFFLINE")),
    Ask("is the type table?", PageTable, yes=kpf("PGTABLE")),
    Ask("a tail, and PG_slab of the head?", lambda p: PageTail(p) & PageSlab(p), yes=kpf("SLAB")),
    Ask("PG_swapbacked and PG_owner_priv_1, of the head?", PageSwapCache, yes=kpf("SWAPCACHE")),
    *[Ask(f"PG_{name}?", flag(name), yes=kpf(bit)) for name, bit in COPIED.items()],
    Conclude(lambda p: p.gathered, "the bits noted"),
)


def whole_and_own(counted_twice: int) -> Callable[[Any], Any]:
    """Mapped by entries of its own, and as a part of the whole; less what is counted twice."""
    return lambda p: u64(s32(mapcount(p) + p.head().beyond(1)["compound_mapcount"] + 1 - counted_twice))


OWN = Conclude(lambda p: u64(mapcount(p)), "_mapcount + 1, widened to 64 bits")
WHOLE = [
    Ask(
        "mapped both ways: PG_workingset behind the head?",
        lambda p: page_flag(p.head().beyond(1), "workingset"),
        yes=Conclude(whole_and_own(1), "_mapcount + 1, and compound_mapcount + 1, less 1, widened to 64 bits"),
    ),
    Conclude(whole_and_own(0), "_mapcount + 1, and compound_mapcount + 1, widened to 64 bits"),
]
KPAGECOUNT = (
    Ask("a slab page: PG_slab of the head?", PageSlab, yes=Conclude(0, "a slab page is not mapped")),
    Ask("has it a type: is _mapcount below -128?", page_has_type, yes=Conclude(0, "what has a type is not mapped")),
    Ask("part of a compound page?", PageCompound, no=OWN),
    Ask("anonymous: is mapping, the head's, odd?", PageAnon, yes=WHOLE),
    Ask(HUGETLB, hugetlb, yes=WHOLE, no=OWN),
)

# ---------------------------------------------------------------------- other files, and the log


CSS_FLAGS, CSS_PARENT, CSS_ONLINE = 0x54, 0xC0, 2  # in a mem_cgroup, which begins with its cgroup_subsys_state


def online_memcg(p: Record) -> bool:
    """Whether the mem_cgroup that memcg_data points to, or a parent of it, says that it is online."""
    memcg, asked = p["memcg_data"] & ~3, set[int]()
    while memcg and not p.machine.read(memcg + CSS_FLAGS, 4) & CSS_ONLINE:
        if memcg in asked:
            raise Stuck("loops")
        asked.add(memcg)
        memcg = p.machine.read(memcg + CSS_PARENT)
    return memcg != 0


KPAGECGROUP = (
    Ask("is memcg_data 0?", lambda p: p["memcg_data"] == 0, yes=Conclude(0, "charged to nobody")),
    Ask("is its bit 0 set?", lambda p: (p["memcg_data"] & 1) != 0, yes=Conclude(0, "its objects are charged")),
    Do(
        "follow memcg_data to a mem_cgroup, and on to its parents: is any online?",
        online_memcg,
        yes=beyond("cgroup_ino"),
        no=Conclude(0, "none is online"),
    ),
)
KCORE = (
    Ask("is the type offline?", PageOffline, yes=Conclude(1, "zeros: the page is logically offline")),
    Ask("poisoned?", PageHWPoison, yes=Conclude(1, "zeros: the page is poisoned")),
    Ask(
        "part of a compound page?",
        PageCompound,
        yes=Ask(
            HUGETLB,
            hugetlb,
            yes=Ask("is the head poisoned?", lambda p: PageHWPoison(p.head()), yes=Conclude(1, "zeros: poisoned")),
        ),
    ),
    Conclude(0, "the page's content"),
)
SHOW_MEM = (Conclude(0, "no record is read: the zones keep count"),)

_PROC, _READ = "fs/proc/page.c", "somebody reads /proc/"
PEEKERS = (
    peeker("kpageflags", "stable_page_flags", _PROC, f"{_READ}kpageflags", KPAGEFLAGS, "uint64"),
    peeker("kpagecount", "kpagecount_read", _PROC, f"{_READ}kpagecount", KPAGECOUNT, "uint64"),
    peeker("kpagecgroup", "page_cgroup_ino", "mm/memcontrol.c", f"{_READ}kpagecgroup", KPAGECGROUP),
    peeker("kcore", "read_kcore", "fs/proc/kcore.c", f"{_READ}kcore", KCORE, "int8"),
    peeker("show_mem", "show_mem", "lib/show_mem.c", "SysRq-m", SHOW_MEM, "int8"),
)
