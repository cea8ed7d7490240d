"""The two page allocators: who gets which page, what stays in the record, and which pages are kept away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zbudlab.memmap import KernelOops, Memmap
from zbudlab.page_alloc import Arena, KernelPages, OutOfMemory, PageAllocator, free_pages_check
from zbudlab.struct_page import CHECK_AT_FREE, LIST_POISON1, LIST_POISON2, PG, ZONE_NORMAL

NOT_CHECKED = sorted(name for name, bit in PG.items() if not CHECK_AT_FREE >> bit & 1)
CHECKED = sorted(set(PG) - set(NOT_CHECKED))
MANY = 1 << 30


def kernel_pages(pages: int = 8, **options: Any) -> KernelPages:
    """KernelPages over all of a memmap whose zone and per-cpu lists lie elsewhere, far above it."""
    m = Memmap(pages, ram=[range(pages), range(1000, 1001)])
    return KernelPages(m, zone=m.frame(1000), pcp=m.frame(1000) + 0x800, **options)


@pytest.fixture(params=["arena", "kernel"])
def allocator(request: pytest.FixtureRequest) -> PageAllocator:
    """Eight pages of either allocator."""
    return Arena(Memmap(8)) if request.param == "arena" else kernel_pages()


def take_all(pages: PageAllocator) -> list[int]:
    """Every page that the allocator will still hand out."""
    taken = []
    while True:
        try:
            taken.append(pages.alloc_page())
        except OutOfMemory:
            return taken


# ---------------------------------------------------------------------- what both do


def test_every_page_once_and_then_none(allocator: PageAllocator) -> None:
    assert sorted(take_all(allocator)) == list(range(8))
    with pytest.raises(OutOfMemory, match=r"none of the 8 pages is free; free something") as caught:
        allocator.alloc_page()
    assert (caught.value.errno, caught.value.name) == (12, "ENOMEM")
    allocator.check()


def test_no_memory_left_changes_nothing(allocator: PageAllocator) -> None:
    take_all(allocator)
    before = allocator.memmap.save(), allocator.save()
    with pytest.raises(OutOfMemory):
        allocator.alloc_page("zbud")
    assert (allocator.memmap.save(), allocator.save()) == before


def test_the_owner_is_written_down(allocator: PageAllocator) -> None:
    m = allocator.memmap
    assert m.owner == {}
    a, b = allocator.alloc_page(), allocator.alloc_page("zbud")
    assert m.owner == {a: "kernel", b: "zbud"}
    assert allocator.free_page(a) is True
    assert m.owner == {b: "zbud"}


def test_a_page_on_the_way_out_and_back(allocator: PageAllocator) -> None:
    p = allocator.memmap.page(allocator.alloc_page())
    assert (p["flags"], p["mapping"], p["_mapcount"], p["_count"], p["private"]) == (ZONE_NORMAL, 0, -1, 1, 0)
    assert allocator.free_page(p.pfn) is True
    assert (p["flags"], p["mapping"], p["_mapcount"], p["_count"], p["private"]) == (ZONE_NORMAL, 0, -1, 0, 0)
    assert allocator.bad_pages == []
    allocator.check()


@pytest.mark.parametrize("flag", NOT_CHECKED)
def test_flags_that_the_free_check_ignores_are_cleared_in_silence(allocator: PageAllocator, flag: str) -> None:
    p = allocator.memmap.page(allocator.alloc_page())
    p["flags"] |= 1 << PG[flag]
    assert allocator.free_page(p.pfn) is True
    assert p["flags"] == ZONE_NORMAL
    assert allocator.bad_pages == []


@pytest.mark.parametrize(("flags", "left"), [(25, ZONE_NORMAL | 1 << 25), (26, ZONE_NORMAL)])
def test_a_new_page_flag_that_is_forgotten_is_cleared_in_silence(
    allocator: PageAllocator, flags: int, left: int
) -> None:
    """Bit 25, in a kernel that has 25 flags (it is nobody's) or 26 (it is cleared with the others, but not checked)."""
    allocator.memmap.nr_pageflags = flags
    p = allocator.memmap.page(allocator.alloc_page())
    p["flags"] |= 1 << 25
    assert allocator.free_page(p.pfn) is True
    assert (p["flags"], allocator.bad_pages) == (left, [])


BAD: dict[str, tuple[dict[str, int], list[str]]] = {
    "an even mapping": ({"mapping": 0x1E0012}, ["mapping"]),
    "a pointer as mapping": ({"mapping": 0xFFFF88001E101150}, ["mapping"]),
    "mapped once": ({"_mapcount": 0}, ["_mapcount"]),
    "tagged -127": ({"_mapcount": -127}, ["_mapcount"]),
    "two chunk counts on _mapcount": ({"_mapcount": 1245193}, ["_mapcount"]),
    "an odd mapping and mapped": ({"mapping": 0x130009, "_mapcount": 455883784}, ["_mapcount"]),
    "all of it": (
        {"mapping": 2, "_mapcount": 5, "flags": ZONE_NORMAL | 1 << PG["slab"]},
        ["_mapcount", "mapping", "flags"],
    ),
    "a flag that is checked and one that is not": (
        {"flags": ZONE_NORMAL | 1 << PG["reclaim"] | 1 << PG["lru"]},
        ["flags"],
    ),
} | {f"PG_{flag}": ({"flags": ZONE_NORMAL | 1 << PG[flag]}, ["flags"]) for flag in CHECKED}


@pytest.mark.parametrize("what", BAD)
def test_a_page_that_is_not_clean_is_bad_and_never_comes_back(allocator: PageAllocator, what: str) -> None:
    fields, names = BAD[what]
    p = allocator.memmap.page(allocator.alloc_page())
    for name, value in fields.items():
        p[name] = value
    assert allocator.free_page(p.pfn) is False
    assert allocator.bad_pages == [(p.pfn, names)]
    assert allocator.memmap.owner[p.pfn] == "lost"
    assert p["_mapcount"] == -1, "bad_page resets it, whatever it was"
    assert p["_count"] == 0
    assert p["mapping"] == (0 if fields.get("mapping", 0) & 1 else fields.get("mapping", 0))
    assert p["flags"] == fields.get("flags", ZONE_NORMAL), "the flags stay for the report"
    assert p.pfn not in take_all(allocator)
    allocator.check()


@pytest.mark.parametrize("mapping", [1, 3, 0x130009, 0x14000B, 0xFFFF88001E000001])
def test_an_odd_mapping_is_masked(allocator: PageAllocator, mapping: int) -> None:
    """free_pages_prepare takes the page for anonymous memory, and clears what it should have found."""
    p = allocator.memmap.page(allocator.alloc_page())
    p["mapping"] = mapping
    assert allocator.free_page(p.pfn) is True
    assert (p["mapping"], allocator.bad_pages) == (0, [])
    assert p.pfn in take_all(allocator)


@pytest.mark.parametrize(
    ("count", "left"),
    [(2, 1), (0, -1), (-5632, -5633), (-30720, -30721), (-(2**31), 2**31 - 1), (-559087616, -559087617)],
)
def test_a_page_still_counted_just_stays_away(allocator: PageAllocator, count: int, left: int) -> None:
    p = allocator.memmap.page(allocator.alloc_page())
    p["_count"], p["mapping"], p["_mapcount"] = count, 3, 7
    p["flags"] |= 1 << PG["reclaim"]
    assert allocator.free_page(p.pfn) is False
    assert (p["_count"], p["mapping"], p["_mapcount"]) == (left, 3, 7), "nothing else was even looked at"
    assert p["flags"] == ZONE_NORMAL | 1 << PG["reclaim"]
    assert allocator.bad_pages == []
    assert allocator.memmap.owner[p.pfn] == "pinned"
    assert p.pfn not in take_all(allocator)


def test_the_last_reference_gives_the_page_back(allocator: PageAllocator) -> None:
    p = allocator.memmap.page(allocator.alloc_page())
    p["_count"] = 2
    assert [allocator.free_page(p.pfn), allocator.free_page(p.pfn)] == [False, True]
    assert p.pfn not in allocator.memmap.owner
    assert p.pfn in take_all(allocator)


def test_freeing_a_free_page_is_seen_by_check(allocator: PageAllocator) -> None:
    pfn = allocator.alloc_page()
    allocator.free_page(pfn)
    assert allocator.free_page(pfn) is False
    assert pfn not in allocator.memmap.owner, "it was free already, and still is"
    with pytest.raises(AssertionError, match=rf"<Page {pfn:#x}: .* is free, yet"):
        allocator.check()


def test_a_free_page_may_be_freed_once_more(allocator: PageAllocator) -> None:
    """As unpoison_memory does to a page that zbud then gives back.  Nobody stops it; the damage shows later."""
    p = allocator.memmap.page(allocator.alloc_page())
    allocator.free_page(p.pfn)
    p["_count"] = 1
    assert allocator.free_page(p.pfn) is True
    assert allocator.memmap.owner == {} and allocator.alloc_page() == p.pfn
    if isinstance(allocator, Arena):
        assert allocator.alloc_page() == p.pfn, "handed out twice"
    else:  # its node was put behind itself
        with pytest.raises(KernelOops, match=r"general protection fault at 0xdead000000100108 \(write, in list_del\)"):
            allocator.alloc_page()


def test_save_and_restore(allocator: PageAllocator) -> None:
    held = [allocator.alloc_page() for _ in range(5)]
    for pfn in held[:2]:
        allocator.free_page(pfn)
    allocator.memmap.page(held[2])["mapping"] = 4
    allocator.free_page(held[2])
    saved, ours = allocator.memmap.save(), allocator.save()
    bad = list(allocator.bad_pages)
    follow = []
    for _ in range(2):
        allocator.free_page(held[3])
        allocator.memmap.page(held[4])["mapping"] = 8
        allocator.free_page(held[4])
        follow.append(take_all(allocator))
        assert len(allocator.bad_pages) == 2
        allocator.memmap.restore(saved)
        allocator.restore(ours)
        assert (allocator.memmap.save(), allocator.save(), allocator.bad_pages) == (saved, ours, bad)
        allocator.check()
    assert follow[0] == follow[1], "what follows is the same again"


def test_what_the_free_check_asks() -> None:
    p = Memmap(1).page(0)
    p["_mapcount"] = -1
    assert free_pages_check(p) == []
    p["_count"], p["_mapcount"], p["mapping"], p["flags"] = 1, 0, 1, 1
    assert free_pages_check(p) == ["_mapcount", "mapping", "_count", "flags"]
    p["_mapcount"] = 2**31 - 1  # one more wraps to -2**31, not to 0
    assert free_pages_check(p)[0] == "_mapcount"


# ---------------------------------------------------------------------- the arena


@given(st.lists(st.none() | st.integers(0, 7), max_size=60))
def test_the_arena_hands_out_the_lowest_free_page(script: list[int | None]) -> None:
    arena = Arena(Memmap(8, base_pfn=100))
    free = set(range(100, 108))
    for step in script:
        if step is None and free:
            pfn = arena.alloc_page()
            assert pfn == min(free)
            free.remove(pfn)
        elif step is not None and 100 + step not in free:
            assert arena.free_page(100 + step)
            free.add(100 + step)
        assert arena.free_pfns() == free
        arena.check()


def test_an_arena_on_some_of_the_pages() -> None:
    m = Memmap(8)
    arena = Arena(m, range(2, 5))
    assert arena.free_pfns() == {2, 3, 4}
    assert take_all(arena) == [2, 3, 4]
    with pytest.raises(OutOfMemory, match="none of the 3 pages"):
        arena.alloc_page()
    assert m.page(5)["_count"] == 0 and m.page(5)["_mapcount"] == -1


def test_an_arena_page_is_as_it_was_before_first_use() -> None:
    arena = Arena(Memmap(3))
    before = bytes(arena.memmap.raw)
    for pfn in take_all(arena):
        arena.free_page(pfn)
    assert arena.memmap.raw == before


@pytest.mark.parametrize(("field", "value"), [("_count", 1), ("_mapcount", 0)])
def test_the_arena_sees_a_free_page_that_is_not_idle(field: str, value: int) -> None:
    arena = Arena(Memmap(3))
    for pfn in (arena.alloc_page(), arena.alloc_page()):
        arena.free_page(pfn)
    arena.memmap.page(1)[field] = value
    with pytest.raises(AssertionError, match=r"<Page 0x1: .* is free, yet its record is not idle"):
        arena.check()


# ---------------------------------------------------------------------- fields, against the golden vectors

ZONE_DMA32 = bytes.fromhex("0000000000000001")
# Bytes 0 to 31 of the references' vectors G01, G02, G03, G04 and G05.
G01 = "0000000000000001 0000000000000000 0200000000000000 80ffffff00000000"
G02 = G03 = "0000000000000001 0000000000000000 0200000000000000 ffffffff00000000"
G04 = "0004000000000001 0000000000000000 0000000000000000 ffffffff01000000"
G05 = "0000000000000001 0000000000000000 0000000000000000 ffffffff01000000"
POISON = LIST_POISON1.to_bytes(8, "little") + LIST_POISON2.to_bytes(8, "little")


def halves(pages: PageAllocator, pfn: int) -> tuple[str, bytes, int]:
    """A record as (bytes 0 to 31 as a vector writes them, the lru links, private); the zone is made the vectors'."""
    raw = pages.memmap.page(pfn).raw
    assert raw[:8][7] == 2 and raw[56:] == bytes(8), "zone Normal, and the padding is nobody's"
    raw = raw[:7] + b"\x01" + raw[8:]
    line = " ".join(raw[i : i + 8].hex() for i in range(0, 32, 8))
    return line, raw[32:48], int.from_bytes(raw[48:56], "little")


def links(pages: KernelPages, following: int, before: int) -> bytes:
    return following.to_bytes(8, "little") + before.to_bytes(8, "little")


def test_a_page_after_allocation_is_g05() -> None:
    kernel = kernel_pages(migratetype=2)
    for pfn in take_all(kernel):
        assert halves(kernel, pfn) == (G05, POISON, 0)
    kernel.free_page(5)
    assert kernel.alloc_page() == 5
    assert halves(kernel, 5) == (G05, POISON, 0), "the migratetype that the list left in index is gone again"


def test_a_page_on_the_per_cpu_list_is_g03() -> None:
    kernel = kernel_pages(migratetype=2, high=MANY)
    take_all(kernel)
    for pfn in (3, 6, 1):
        kernel.free_page(pfn)
    head, lru = kernel.list, [kernel.memmap.record(pfn) + 32 for pfn in (1, 6, 3)]
    assert halves(kernel, 1) == (G03, links(kernel, lru[1], head), 0)
    assert halves(kernel, 6) == (G03, links(kernel, lru[2], lru[0]), 0)
    assert halves(kernel, 3) == (G03, links(kernel, head, lru[1]), 0)
    assert head == kernel.pcp + 16 + 2 * 16


def test_a_refill_leaves_pages_on_the_per_cpu_list_like_that_too() -> None:
    kernel = kernel_pages(migratetype=2, batch=4)
    kernel.memmap.pages()["index"][:] = 77  # as when the pages came from lists of another type
    first = kernel.alloc_page()
    waiting = sorted(set(kernel.memmap.pfns) & {first + 1, first + 2, first + 3})
    assert len(waiting) == 3
    assert [halves(kernel, pfn)[0] for pfn in waiting] == [G03] * 3
    assert [kernel.alloc_page() for _ in range(3)] == waiting, "in the order in which the buddy lists gave them"


def test_a_free_block_is_g01_and_its_inside_g02() -> None:
    kernel = kernel_pages(migratetype=2, high=MANY)
    for pfn in take_all(kernel):
        kernel.free_page(pfn)
    kernel.drain()
    head = kernel.free_list(3)
    assert head == kernel.zone + 0x90 + 3 * 88 + 2 * 16
    assert halves(kernel, 0) == (G01, links(kernel, head, head), 3)
    for pfn in range(1, 8):
        line, lru, private = halves(kernel, pfn)
        assert (line, private) == (G02, 0)
        assert lru == POISON, "each was first on a list of its own before it merged"


def test_a_free_block_is_g01_at_boot_already() -> None:
    assert halves(kernel_pages(migratetype=2), 0)[0] == G01


def test_the_page_that_holds_the_lists_is_g04() -> None:
    kernel = KernelPages(Memmap(64))
    line, lru, private = halves(kernel, 63)
    own = kernel.memmap.record(63) + 32
    assert (line, lru, private) == (G04, links(kernel, own, own), 0)
    assert kernel.memmap.owner == {63: "reserved"}
    assert (kernel.zone, kernel.pcp) == (kernel.memmap.frame(63), kernel.memmap.frame(63) + 0x800)
    assert 63 not in take_all(kernel)


def test_pages_that_are_not_the_allocators_stay_reserved() -> None:
    m = Memmap(16, ram=[range(16), range(1000, 1001)])
    kernel = KernelPages(m, [1, 2, 3, 8, 9], zone=m.frame(1000), pcp=m.frame(1000) + 0x800)
    assert kernel.free_pfns() == {1, 2, 3, 8, 9}
    assert sorted(take_all(kernel)) == [1, 2, 3, 8, 9]
    for pfn in set(range(16)) - {1, 2, 3, 8, 9}:
        assert halves(kernel, pfn)[0] == G04
        assert m.owner[pfn] == "reserved"


@pytest.mark.parametrize(
    ("field", "value", "names"),
    [
        ("flags", ZONE_NORMAL | 1 << PG["hwpoison"], ["flags"]),
        ("flags", ZONE_NORMAL | 1 << PG["uncached"], ["flags"]),
        ("flags", ZONE_NORMAL | 1 << PG["compound_lock"], ["flags"]),
        ("mapping", 1, ["mapping"]),
        ("_mapcount", 4, ["_mapcount"]),
        ("_count", 1, ["_count"]),
    ],
)
def test_a_free_page_that_is_not_clean_is_skipped(field: str, value: int, names: list[str]) -> None:
    """memory_failure marks free pages too; the allocator then passes them by (mirrors check_new_page)."""
    kernel = kernel_pages(high=MANY)
    for pfn in take_all(kernel):
        kernel.free_page(pfn)
    p = kernel.memmap.page(3)
    p[field] = value
    assert sorted(take_all(kernel)) == [0, 1, 2, 4, 5, 6, 7]
    assert (kernel.bad_pages, kernel.memmap.owner[3], p["_mapcount"]) == ([(3, names)], "lost", -1)
    if field != "_mapcount":
        assert p[field] == value
    kernel.check()


# ---------------------------------------------------------------------- the buddy lists


def blocks(pages: set[int]) -> dict[int, set[int]]:
    """The one way to cut a set of pfns into largest aligned blocks of 2**0 to 2**10: order to first pfns."""
    cut: dict[int, set[int]] = {order: set() for order in range(11)}
    rest = set(pages)
    for order in reversed(range(11)):
        for pfn in sorted(rest):
            if pfn % (1 << order) == 0 and all(q in rest for q in range(pfn, pfn + (1 << order))):
                cut[order].add(pfn)
                rest -= set(range(pfn, pfn + (1 << order)))
    return cut


def buddy_lists(kernel: KernelPages) -> dict[int, list[int]]:
    m = kernel.memmap
    return {order: [(lru - m.record(0)) // 64 for lru in m.list_walk(kernel.free_list(order))] for order in range(11)}


def test_boot_merges_everything_as_far_as_it_goes() -> None:
    m = Memmap(2061, base_pfn=3, ram=[range(3, 2064), range(9000, 9001)])
    kernel = KernelPages(m, zone=m.frame(9000), pcp=m.frame(9000) + 0x800)
    lists = buddy_lists(kernel)
    assert {order: set(pfns) for order, pfns in lists.items()} == blocks(set(m.pfns))
    assert sorted(lists[10]) == [1024], "no block is larger than 2**10 pages"
    kernel.check()
    two = kernel_pages(4096)
    assert sorted(buddy_lists(two)[10]) == [0, 1024, 2048, 3072]


def test_a_block_is_split_upper_halves_first() -> None:
    kernel = kernel_pages(16, batch=1)
    assert kernel.alloc_page() == 0
    assert {order: pfns for order, pfns in buddy_lists(kernel).items() if pfns} == {0: [1], 1: [2], 2: [4], 3: [8]}
    assert [kernel.memmap.page(pfn)["private"] for pfn in (1, 2, 4, 8)] == [0, 1, 2, 3]
    assert kernel.alloc_page() == 1, "the smallest block that will do"
    assert kernel.alloc_page() == 2


def test_a_neighbour_must_be_free_and_of_the_same_order() -> None:
    kernel = kernel_pages(8, batch=1, high=1)
    held = {kernel.alloc_page() for _ in range(8)}
    assert held == set(range(8))
    for pfn, expected in [
        (0, {0: [0]}),
        (2, {0: [2, 0]}),
        (3, {0: [0], 1: [2]}),
        (1, {2: [0]}),
        (7, {0: [7], 2: [0]}),
        (4, {0: [4, 7], 2: [0]}),
        (5, {0: [7], 1: [4], 2: [0]}),
        (6, {3: [0]}),
    ]:
        kernel.free_page(pfn)
        assert {order: pfns for order, pfns in buddy_lists(kernel).items() if pfns} == expected
        kernel.check()


def test_the_page_freed_last_goes_out_first() -> None:
    kernel = kernel_pages(64, high=MANY)
    held = [kernel.alloc_page() for _ in range(40)]
    order = [held[i] for i in (3, 17, 0, 39, 21)]
    for pfn in order:
        kernel.free_page(pfn)
    assert [kernel.alloc_page() for _ in order] == order[::-1]


def test_the_per_cpu_list_is_drained_in_batches_from_its_cold_end() -> None:
    kernel = kernel_pages(64, batch=2, high=5)
    take_all(kernel)
    for n, pfn in enumerate([10, 20, 30, 40], 1):
        kernel.free_page(pfn)
        assert not any(buddy_lists(kernel).values()), n
    kernel.free_page(50)  # the fifth reaches high: two go, the coldest
    assert buddy_lists(kernel)[0] == [20, 10]
    kernel.check()
    kernel.drain(1)
    assert buddy_lists(kernel)[0] == [30, 20, 10]
    kernel.drain(0)
    assert buddy_lists(kernel)[0] == [30, 20, 10]
    kernel.drain()
    assert buddy_lists(kernel)[0] == [50, 40, 30, 20, 10]
    kernel.drain()
    kernel.check()


@pytest.mark.parametrize(
    ("pages", "batch", "high"), [(8, 1, 6), (64, 1, 6), (128, 2, 12), (640, 10, 60), (4096, 31, 186)]
)
def test_default_batch_and_high(pages: int, batch: int, high: int) -> None:
    kernel = kernel_pages(pages)
    assert (kernel.batch, kernel.high) == (batch, high)
    kernel.alloc_page()
    assert len(kernel.free_pfns()) == pages - 1
    assert sum(1 for _ in kernel.memmap.list_walk(kernel.list)) == batch - 1


@pytest.mark.parametrize("mt", [0, 1, 2])
def test_migratetypes_use_lists_of_their_own(mt: int) -> None:
    kernel = kernel_pages(8, migratetype=mt, high=MANY)
    assert kernel.list == kernel.pcp + 16 + 16 * mt
    assert kernel.free_list(4) == kernel.zone + 0x90 + 4 * 88 + 16 * mt
    kernel.free_page(kernel.alloc_page())
    assert kernel.memmap.load(kernel.memmap.load(kernel.list) - 16) == mt, "index of the page freed last"


# ---------------------------------------------------------------------- check catches


def broken(kernel: KernelPages) -> str:
    with pytest.raises(AssertionError) as caught:
        kernel.check()
    return str(caught.value)


def test_check_catches_damage() -> None:
    kernel = kernel_pages(8, batch=1)
    kernel.alloc_page()  # 0 is out; free: 1, 2 and 3, 4 to 7
    kernel.check()
    saved = kernel.memmap.save()
    for pfn, field, value, said in [
        (2, "_mapcount", -1, "<Page 0x2: .* is on free list 1, yet does not say so"),
        (4, "private", 1, "<Page 0x4: .* is on free list 2, yet does not say so"),
        (4, "_count", 1, "<Page 0x4: .* is free, yet counted"),
        (5, "_count", 3, "<Page 0x5: .* is free, yet counted"),
    ]:
        kernel.memmap.page(pfn)[field] = value
        with pytest.raises(AssertionError, match=said):
            kernel.check()
        kernel.memmap.restore(saved)
    kernel.memmap.owner[6] = "zbud"
    assert broken(kernel).endswith("is free, yet zbud owns it")
    kernel.memmap.restore(saved)
    m = kernel.memmap
    m.list_del(m.record(2) + 32)
    m.page(3)["_mapcount"], m.page(3)["private"] = -128, 1
    m.list_add(m.record(3) + 32, kernel.free_list(1))
    assert "is on free list 1" in broken(kernel), "a block must be aligned"


def test_check_counts_the_per_cpu_list() -> None:
    kernel = kernel_pages(8, batch=4)
    kernel.alloc_page()
    kernel.memmap.list_del(kernel.memmap.load(kernel.list))
    assert broken(kernel) == "the per-cpu list holds 2 pages and counts 3"


# ---------------------------------------------------------------------- a machine


class KernelPagesMachine(RuleBasedStateMachine):
    """Alloc, free, drain and dirty frees in any order, against plain Python lists and sets."""

    @initialize(
        batch=st.integers(1, 5), high=st.integers(1, 9), base=st.sampled_from([0, 5, 1016]), mt=st.integers(0, 2)
    )
    def boot(self, batch: int, high: int, base: int, mt: int) -> None:
        m = Memmap(24, base_pfn=base, ram=[range(base, base + 24), range(5000, 5001)])
        self.kernel = KernelPages(
            m, zone=m.frame(5000), pcp=m.frame(5000) + 0x800, batch=batch, high=high, migratetype=mt
        )
        self.all = set(m.pfns)
        self.held: set[int] = set()  # handed out
        self.lost: set[int] = set()  # given up, not given back
        self.hot: list[int] = []  # the per-cpu list, hot end first
        self.saved: Any = None

    @property
    def in_buddy(self) -> set[int]:
        return self.all - self.held - self.lost - set(self.hot)

    @rule()
    def alloc(self) -> None:
        if not self.hot and not self.in_buddy:
            with pytest.raises(OutOfMemory):
                self.kernel.alloc_page("test")
            return
        free = set(self.hot) or self.in_buddy
        pfn = self.kernel.alloc_page("test")
        assert pfn in free, "a page that was not free was handed out"
        if self.hot:
            assert pfn == self.hot.pop(0)
        else:  # refilled: what the list holds now came from the buddy lists
            m = self.kernel.memmap
            self.hot = [(lru - 32 - m.record(0)) // 64 for lru in m.list_walk(self.kernel.list)]
            assert {pfn, *self.hot} <= free and len({pfn, *self.hot}) == min(self.kernel.batch, len(free))
        self.held.add(pfn)
        p = self.kernel.memmap.page(pfn)
        assert (p["flags"], p["mapping"], p["_mapcount"], p["_count"], p["private"]) == (ZONE_NORMAL, 0, -1, 1, 0)
        assert (p["index"] & 0xFF, p["lru.next"], p["lru.prev"]) == (0, LIST_POISON1, LIST_POISON2)
        self.kernel.memmap.store(self.kernel.memmap.frame(pfn), 2**64 - 1)  # the new owner writes
        p["index"], p["private"] = 0x123456, 0x99

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        pfn = data.draw(st.sampled_from(sorted(self.held)))
        assert self.kernel.free_page(pfn) is True
        assert self.kernel.memmap.page(pfn)["index"] & 0xFF in (0, 1, 2)
        self.held.remove(pfn)
        self.hot.insert(0, pfn)
        if len(self.hot) >= self.kernel.high:
            del self.hot[max(0, len(self.hot) - self.kernel.batch) :]

    @precondition(lambda self: self.held)
    @rule(data=st.data(), flag=st.sampled_from(CHECKED), even=st.integers(1, 99), mapcount=st.integers(0, 9))
    def free_dirty(self, data: st.DataObject, flag: str, even: int, mapcount: int) -> None:
        pfn = data.draw(st.sampled_from(sorted(self.held)))
        p = self.kernel.memmap.page(pfn)
        match data.draw(st.sampled_from(["flag", "mapping", "mapcount", "count"])):
            case "flag":
                p["flags"] |= 1 << PG[flag]
            case "mapping":
                p["mapping"] = 2 * even
            case "mapcount":
                p["_mapcount"] = mapcount
            case "count":
                p["_count"] = 2
        assert self.kernel.free_page(pfn) is False
        self.held.remove(pfn)
        self.lost.add(pfn)

    @rule(most=st.none() | st.integers(0, 6))
    def drain(self, most: int | None) -> None:
        self.kernel.drain(most)
        del self.hot[0 if most is None else max(0, len(self.hot) - most) :]

    @rule()
    def save(self) -> None:
        ours = self.held.copy(), self.lost.copy(), self.hot.copy()
        self.saved = self.kernel.memmap.save(), self.kernel.save(), ours

    @precondition(lambda self: self.saved)
    @rule()
    def restore(self) -> None:
        memory, kernel, (held, lost, hot) = self.saved
        self.kernel.memmap.restore(memory)
        self.kernel.restore(kernel)
        self.held, self.lost, self.hot = held.copy(), lost.copy(), hot.copy()

    @invariant()
    def the_kernel_agrees(self) -> None:
        m = self.kernel.memmap
        self.kernel.check()
        assert [(lru - 32 - m.record(0)) // 64 for lru in m.list_walk(self.kernel.list)] == self.hot
        assert self.kernel.free_pfns() == self.in_buddy | set(self.hot)
        assert {order: set(pfns) for order, pfns in buddy_lists(self.kernel).items()} == blocks(self.in_buddy)
        assert {pfn for pfn, owner in m.owner.items() if owner == "test"} == self.held
        assert {pfn for pfn, owner in m.owner.items() if owner in ("lost", "pinned")} == self.lost
        assert {pfn for pfn, _ in self.kernel.bad_pages} <= self.lost
        for pfn in self.hot:
            p = m.page(pfn)
            assert (p["index"], p["_mapcount"], p["_count"]) == (self.kernel.migratetype, -1, 0)


TestKernelPages = pytest.mark.slow(KernelPagesMachine.TestCase)
TestKernelPages.settings = settings(max_examples=100, stateful_step_count=50)
