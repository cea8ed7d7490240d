"""Readers that report: what they make of a page goes to a file, to the log, or into a dump."""

from __future__ import annotations

from collections.abc import Mapping

from ..struct_page import (
    PG,
    PageAnon,
    PageBuddy,
    PageCompound,
    PageKsm,
    PageLRU,
    PageReserved,
    PageSlab,
    flag_names,
    page_count,
    page_mapcount,
    page_mapped,
)
from .record import Record, any_flag, has, u64
from .refs import shift
from .rules import Adds, Ask, Conclude, Do, Item, Peeker

# ---------------------------------------------------------------------- /proc/kpageflags and /proc/kpagecount

KPF = {
    name: bit
    for bit, name in enumerate(
        "LOCKED ERROR REFERENCED UPTODATE DIRTY LRU ACTIVE SLAB WRITEBACK RECLAIM BUDDY MMAP ANON SWAPCACHE SWAPBACKED "
        "COMPOUND_HEAD COMPOUND_TAIL HUGE UNEVICTABLE HWPOISON NOPAGE KSM THP".split()
    )
} | {
    name: bit
    for bit, name in enumerate(
        "RESERVED MLOCKED MAPPEDTODISK PRIVATE PRIVATE_2 OWNER_PRIVATE ARCH UNCACHED".split(), start=32
    )
}

# the flags that are copied: PG_ name to KPF_ name
COPIED = {name.lower(): name for name in KPF if name.lower() in PG} | {
    "owner_priv_1": "OWNER_PRIVATE",
    "arch_1": "ARCH",
}


def kpf(name: str) -> Adds:
    """One more bit in the answer."""
    return Adds(1 << KPF[name], name)


def kpf_names(value: int, bits: Mapping[str, int] = KPF) -> list[str]:
    """The names of the bits of a kpageflags word; `bits` are those of 3.10 by default.

    >>> kpf_names(0x1800)
    ['MMAP', 'ANON']
    """
    return [name for name, bit in bits.items() if value >> bit & 1]


KPAGEFLAGS = Peeker(
    "kpageflags",
    "stable_page_flags",
    "fs/proc/page.c",
    "somebody reads /proc/kpageflags",
    [
        Ask("a slab page?", PageSlab, no=Ask("mapped: is _mapcount at least 0?", page_mapped, yes=kpf("MMAP"))),
        Ask("anonymous: is mapping odd?", PageAnon, yes=kpf("ANON")),
        Ask("KSM: are both low bits of mapping set?", PageKsm, yes=kpf("KSM")),
        Ask("PG_head?", has("head"), yes=kpf("COMPOUND_HEAD")),
        Ask("PG_tail?", has("tail"), yes=kpf("COMPOUND_TAIL")),
        Ask(
            "part of a compound page?",
            PageCompound,
            yes=Ask(
                "hugetlb: does the record behind the head name free_huge_page?",
                lambda p: p.head().beyond(1)["lru.next"] == p.machine.free_huge_page,
                yes=kpf("HUGE"),
                no=Ask("is the head on the LRU?", lambda p: PageLRU(p.head()), yes=kpf("THP")),
            ),
        ),
        Ask("the first page of a free block: is _mapcount -128?", PageBuddy, yes=kpf("BUDDY")),
        *[Ask(f"PG_{flag}?", has(flag), yes=kpf(name)) for flag, name in COPIED.items()],
        Conclude(lambda p: p.gathered, "the bits noted"),
    ],
    scans="uint64",
)

KPAGECOUNT = Peeker(
    "kpagecount",
    "kpagecount_read",
    "fs/proc/page.c",
    "somebody reads /proc/kpagecount",
    [
        Ask("a slab page?", PageSlab, yes=Conclude(0, "a slab page is not mapped")),
        Conclude(lambda p: u64(page_mapcount(p)), "_mapcount + 1, widened to 64 bits"),
    ],
    scans="uint64",
)

# ---------------------------------------------------------------------- the log

SHOW_MEM = Peeker(
    "show_mem",
    "show_mem",
    "lib/show_mem.c",
    "SysRq-m; an allocation fails; the out-of-memory killer reports",
    [
        Ask("reserved?", PageReserved, yes=Conclude(-1, "one more reserved page")),
        Ask("one reference?", lambda p: page_count(p) == 1, yes=Conclude(1, "one more non-shared page")),
        Ask("more than one?", lambda p: page_count(p) > 1, yes=Conclude(page_count, "shared, but for one reference")),
        Conclude(0, "counted nowhere"),
    ],
    scans="int32",
)


def show_mem_counts(value: int) -> tuple[int, int, int]:
    """What a page adds to the three numbers that show_mem prints: reserved, shared, non-shared.

    >>> show_mem_counts(-1), show_mem_counts(3), show_mem_counts(1), show_mem_counts(0)
    ((1, 0, 0), (0, 2, 0), (0, 0, 1), (0, 0, 0))
    """
    return int(value == -1), max(0, value - 1), int(value == 1)


def print_page(p: Record) -> None:
    """What the kernel prints of a record."""
    count, mapcount, mapping, index = p["_count"], page_mapcount(p), p["mapping"], p["index"]
    flags = p["flags"]
    p.machine.printk(f"page:{p.address:x} count:{count} mapcount:{mapcount} mapping:{mapping:x} index:{index:#x}")
    p.machine.printk(f"page flags: {flags:#x}({'|'.join(flag_names(flags))})")


DUMP_PAGE = Peeker(
    "dump_page",
    "dump_page",
    "mm/page_alloc.c",
    "a bad page is reported; an assertion about a page fails",
    [Do("print its counts, mapping, index and flags", print_page), Conclude(None, "printed; no pointer was followed")],
)

# ---------------------------------------------------------------------- makedumpfile, after a crash

CACHE, CACHE_PRIVATE, USER, FREE = 2, 4, 8, 16  # what a dump level leaves out: bits of -d
HWPOISON = 32  # poisoned pages are left out at every level
LEFT_OUT = {0: "keep", CACHE: "cache", CACHE_PRIVATE: "cache_private", USER: "user", FREE: "free", HWPOISON: "hwpoison"}

_cached = any_flag("lru", "swapcache")


def _how_many(p: Record) -> None:
    p.facts["pages"] = shift(p["private"])


def makedumpfile(level: int) -> Peeker:
    """makedumpfile -d `level`: the number of the class that leaves a page out of the dump, 0 if it is kept."""
    table: list[Item] = []
    if level & FREE:
        left_out = [Do("so many pages are left out: 1 << private", _how_many), Conclude(FREE, "free pages")]
        sized = Ask(
            "is 1 << private a negative int?",
            lambda p: p["private"] & 31 == 31,
            yes=Conclude(0, "none, then"),
            no=left_out,
        )
        buddy = Ask("the first page of a free block: is _mapcount -128?", PageBuddy, yes=sized)
        table.append(Ask("a slab page?", PageSlab, no=buddy))
    if level & CACHE:
        anon = Ask("anonymous: is mapping odd?", PageAnon, no=Conclude(CACHE, "page cache"))
        table.append(Ask("PG_lru or PG_swapcache?", _cached, yes=Ask("PG_private?", has("private"), no=anon)))
    if level & CACHE_PRIVATE:
        anon = Ask("anonymous: is mapping odd?", PageAnon, no=Conclude(CACHE_PRIVATE, "page cache with private data"))
        table.append(Ask("PG_lru or PG_swapcache?", _cached, yes=anon))
    if level & USER:
        table.append(Ask("anonymous: is mapping odd?", PageAnon, yes=Conclude(USER, "user data")))
    table += [
        Ask("poisoned?", has("hwpoison"), yes=Conclude(HWPOISON, "poisoned")),
        Conclude(0, "in the dump"),
    ]
    function, trigger = "__exclude_unnecessary_pages", f"a crashed kernel is dumped with makedumpfile -d {level}"
    return Peeker(
        f"dump{level}", function, "makedumpfile.c", trigger, table, kernel="3.10, makedumpfile 1.5.4", scans="int8"
    )


# ---------------------------------------------------------------------- crash, the debugger

BUFFERS, SLABS, RESERVED, SHARED = 1, 2, 4, 8

CRASH = Peeker(
    "crash",
    "dump_mem_map",
    "memory.c",
    "somebody asks crash for the totals: kmem -i",
    [
        Ask("PG_private?", has("private"), yes=Adds(BUFFERS, "buffers")),
        Ask("a slab page?", PageSlab, yes=Adds(SLABS, "slab")),
        Ask(
            "reserved?",
            PageReserved,
            yes=Adds(RESERVED, "reserved: not part of the RAM"),
            no=Ask(
                "more than one reference, by its own _count?", lambda p: p["_count"] > 1, yes=Adds(SHARED, "shared")
            ),
        ),
        Conclude(lambda p: p.gathered, "the totals that it is part of"),
    ],
    kernel="3.10, as crash sees it",
    scans="int8",
)

PEEKERS = (
    KPAGEFLAGS,
    KPAGECOUNT,
    SHOW_MEM,
    DUMP_PAGE,
    *map(makedumpfile, (CACHE, CACHE_PRIVATE, USER, FREE, 30, 31)),
    CRASH,
)
