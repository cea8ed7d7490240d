"""The pool, version by version: sizes and errors, placement, reclaim in all its detail, and what misuse does."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from zbudlab.memmap import KernelOops, Memmap
from zbudlab.page_alloc import Arena, KernelPages
from zbudlab.schemes import Scheme
from zbudlab.struct_page import LIST_POISON1, LIST_POISON2, PG, ZBUD_PAGE, ZONE_NORMAL
from zbudlab.structure import Evictor
from zbudlab.versions import VERSIONS, Handle, StaleHandle, ZbudError
from zbudlab.zbud import ZbudPool

ALL = ["v11", "v12", "linux-3.11-rc1", "linux-3.11", "linux-5.14"]
OVERLAY, HEADER = ALL[:2], ALL[2:]
ERRNO = {"E2BIG": 7, "EAGAIN": 11, "ENOMEM": 12, "EBUSY": 16, "EINVAL": 22, "ENOSPC": 28}
RECLAIM = 1 << 18

each_version = pytest.mark.parametrize("version", ALL)


def capacity(version: str) -> int:
    return 64 if version in OVERLAY else 63


def header(version: str) -> int:
    return 0 if version in OVERLAY else 64


def everything(pool: ZbudPool) -> Any:
    """Every byte, and all that the model knows besides.  A frame of zeros is as good as one not touched yet."""
    saved = pool.memmap.save()
    frames = {pfn: f for pfn, f in saved.frames.items() if any(f)}
    handles = {int(h): (h.allocation, h.size, h.slot) for h in pool.tenants.values()}
    known = (handles, pool.mine.copy(), pool.allocations, pool.pages.save())
    return saved.records, frames, saved.owner, known


def refused(pool: ZbudPool, name: str, call: Callable[[], object]) -> ZbudError:
    """`call` fails with that errno, and not a byte changes."""
    before = everything(pool)
    with pytest.raises(ZbudError) as caught:
        call()
    assert (caught.value.name, caught.value.errno) == (name, ERRNO[name])
    assert str(caught.value).startswith(f"{name}: ")
    assert everything(pool) == before
    pool.check()
    return caught.value


def chunks(n: int) -> int:
    """A size that takes exactly `n` chunks."""
    return 64 * n - 5


def lists(pool: ZbudPool) -> tuple[dict[int, list[int]], list[int], list[int]]:
    state = pool.state()
    return {int(i): pages for i, pages in state["unbuddied"].items()}, state["buddied"], state["lru"]


class Evict:
    """An evict callback that does what it is told, call by call, and remembers what it was offered."""

    def __init__(self, *actions: Callable[[ZbudPool, Handle], Any] | str) -> None:
        self.actions, self.offered = list(actions), list[Handle]()

    def __call__(self, pool: ZbudPool, handle: Handle) -> int | None:
        self.offered.append(handle)
        action = self.actions.pop(0) if len(self.actions) > 1 else self.actions[0]
        if callable(action):
            result: int | None = action(pool, handle)
            return result
        if "free" in action:
            pool.free(handle)
        return -16 if "refuse" in action else 0

    @property
    def order(self) -> list[int]:
        return [h.allocation for h in self.offered]


# ---------------------------------------------------------------------- sizes and errors

# Chunks, or the error, by size.
SIZES: dict[str, dict[int, int | str]] = {
    "v11": {-1: "EINVAL", 3969: 63, 4032: 63, 4033: 64, 4096: 64, 4097: "EINVAL", 2**31: "EINVAL", 2**70: "EINVAL"},
    "v12": {-1: "EINVAL", 3969: 63, 4032: 63, 4033: 64, 4096: 64, 4097: "E2BIG", 2**31: "E2BIG", 2**70: "E2BIG"},
    "linux-3.11-rc1": {
        -1: "EINVAL",
        3969: 63,
        4032: 63,
        4033: "ENOSPC",
        4096: "ENOSPC",
        4097: "ENOSPC",
        2**70: "ENOSPC",
    },
    "linux-3.11": {-1: "EINVAL", 3969: "ENOSPC", 4032: "ENOSPC", 4033: "ENOSPC", 4096: "ENOSPC", 2**70: "ENOSPC"},
    "linux-5.14": {-1: "ENOSPC", 3969: "ENOSPC", 4032: "ENOSPC", 4033: "ENOSPC", 4096: "ENOSPC", 2**70: "ENOSPC"},
}
for table in SIZES.values():
    table |= {
        0: "EINVAL",
        -(2**40): table[-1],
        1: 1,
        63: 1,
        64: 1,
        65: 2,
        2048: 32,
        2049: 33,
        3904: 61,
        3905: 62,
        3968: 62,
    }
LIMIT = {"v11": 4096, "v12": 4096, "linux-3.11-rc1": 4032, "linux-3.11": 3968, "linux-5.14": 3968}
CASES = [(version, size, result) for version, sizes in SIZES.items() for size, result in sizes.items()]


@pytest.mark.parametrize(("version", "size", "result"), CASES)
def test_sizes(version: str, size: int, result: int | str) -> None:
    for busy in (False, True):
        pool = ZbudPool(version, 3)
        if busy:
            pool.free(pool.alloc(100))
            pool.alloc(3900)
            pool.alloc(1)
        if isinstance(result, int):
            handle = pool.alloc(size)
            assert pool.chunks(handle.pfn)[handle.slot == "LAST"] == result
            assert len(pool.map(handle)) == 64 * result
            pool.check()
        else:
            error = refused(pool, result, lambda pool=pool: pool.alloc(size))
            limit = LIMIT[version] if size > 0 else 1
            assert str(size) in str(error) and f"{limit} byte" in str(error)
            assert (version in str(error)) == (size > 0)
            assert pool.alloc(10).allocation == (3 if busy else 0), "a failed call does not count"


@each_version
def test_the_limit_is_in_the_table(version: str) -> None:
    pool = ZbudPool(version)
    assert (pool.max_size, pool.capacity) == (LIMIT[version], capacity(version))


@each_version
@pytest.mark.parametrize("size", [-1, 0, 1, 3968, 4096, 4097, 2**40])
def test_highmem_is_refused_before_the_upper_limit(version: str, size: int) -> None:
    pool = ZbudPool(version, 2)
    pool.alloc(100)
    error = refused(pool, "EINVAL", lambda: pool.alloc(size, highmem=True))
    assert "__GFP_HIGHMEM" in str(error)


@each_version
@pytest.mark.parametrize("size", [1.0, 100.5, "100", None, b"1", [1], Decimal(3), np.float64(3), 1j])
@pytest.mark.parametrize("highmem", [False, True])
def test_a_size_is_a_whole_number(version: str, size: Any, highmem: bool) -> None:
    pool = ZbudPool(version, 2)
    pool.alloc(100)
    before = everything(pool)
    with pytest.raises(TypeError, match="a size is a whole number of bytes, not") as caught:
        pool.alloc(size, highmem=highmem)
    assert repr(size) in str(caught.value)
    assert everything(pool) == before


@each_version
@pytest.mark.parametrize("kind", [np.int16, np.int32, np.int64, np.uint16, np.uint64])
def test_numpy_sizes_are_sizes(version: str, kind: Any) -> None:
    plain, pool = ZbudPool(version), ZbudPool(version)
    for size in (1, 64, 65, 1000, 2200, 3968):
        assert pool.alloc(kind(size)) == plain.alloc(size)
    assert pool.state() == plain.state()
    for size, name in ((0, "EINVAL"), (5000, VERSIONS[version].too_big)):
        with pytest.raises(ZbudError, match=f"{name}: size {size} "):
            pool.alloc(kind(size))
    assert pool.state() == plain.state()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_a_pool_with_numpy_sizes_is_sound(kind: Any) -> None:
    pool = ZbudPool("v12", 4)
    pool.alloc(kind(100))
    pool.check()


@pytest.mark.parametrize("size", [np.int64(1), True])
def test_the_size_of_a_handle_is_an_int(size: Any) -> None:
    assert type(ZbudPool("v12", 1).alloc(size).size) is int


def test_the_numbers_are_linux_numbers_everywhere() -> None:
    """macOS has EAGAIN 35, WebAssembly EINVAL 28; the kernel in the model has its own."""
    assert {name: ZbudError(name, "why").errno for name in ERRNO} == ERRNO


def kernel(pages: int = 8, **options: Any) -> KernelPages:
    """KernelPages over `pages` pages; its lists lie far above, and two pages behind them have room for pools."""
    m = Memmap(pages, ram=[range(pages), range(1000, 1003)])
    return KernelPages(m, zone=m.frame(1000), pcp=m.frame(1000) + 0x800, **options)


@each_version
@pytest.mark.parametrize("allocator", ["arena", "kernel"])
def test_no_memory(version: str, allocator: str) -> None:
    if allocator == "arena":
        pool = ZbudPool(version, 2)
    else:
        pages = kernel(2)
        pool = ZbudPool(version, pages, address=pages.memmap.frame(1001))
    a, b = pool.alloc(3000), pool.alloc(3600)
    assert pool.pages_nr == 2
    error = refused(pool, "ENOMEM", lambda: pool.alloc(2000))
    assert "none of the 2 pages is free" in str(error)
    refused(pool, VERSIONS[version].too_big, lambda: pool.alloc(5000))
    refused(pool, "EINVAL", lambda: pool.alloc(2000, highmem=True))
    assert pool.alloc(900).pfn == a.pfn, "what fits an old page needs no new one"
    pool.free(b)
    assert pool.alloc(2000).pfn == b.pfn
    pool.check()
    pool.pages.check()


@each_version
def test_a_pool_on_no_pages_at_all(version: str) -> None:
    pool = ZbudPool(version, 0)
    refused(pool, "ENOMEM", lambda: pool.alloc(1))
    refused(pool, "EINVAL", lambda: pool.alloc(0))


def test_an_unknown_version_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"unknown version 'v13'; known: v11, v12, linux-3\.11-rc1, linux-3\.11, linux-5\.14"
    ):
        ZbudPool("v13")


# ---------------------------------------------------------------------- the structure, and handles


@pytest.mark.parametrize(
    ("version", "lists", "offsets"),
    [(v, 64, {"unbuddied": 8, "buddied": 1032, "lru": 1048, "pages_nr": 1064}) for v in ALL[:4]]
    + [("linux-5.14", 63, {"unbuddied": 8, "buddied": 8, "lru": 1016, "pages_nr": 1032})],
)
def test_struct_zbud_pool(version: str, lists: int, offsets: dict[str, int]) -> None:
    """1080 bytes with a lock before and ops behind, 1064 in 5.14: on all but 5.14 the lists are 64."""
    pool = ZbudPool(version, 4)
    m = pool.memmap
    assert pool.offsets == offsets and pool.lists == VERSIONS[version].lists == lists
    assert pool.address == m.frame(4)
    heads = [pool.unbuddied(i) for i in range(lists)] + [pool.buddied, pool.lru]
    assert heads[0] == pool.address + 8 and heads[1] - heads[0] == 16
    assert (pool.buddied, pool.lru) == (pool.address + offsets["buddied"], pool.address + offsets["lru"])
    for head in heads:
        assert m.load(head) == m.load(head + 8) == head
    pool.alloc(10)
    assert m.load(pool.address + offsets["pages_nr"]) == pool.pages_nr == 1
    slab = m.page(4)
    assert (slab["flags"], slab["_count"], m.owner[4]) == (ZONE_NORMAL | 1 << PG["slab"], 1, "slab")
    assert version in repr(pool) and "0xffff880000004000" in repr(pool)


@each_version
def test_a_pool_takes_a_page_for_its_structure(version: str) -> None:
    pages = Arena(Memmap(4))
    pages.alloc_page()
    before = bytes(pages.memmap.raw)
    pool = ZbudPool(version, pages)
    assert pool.address == pages.memmap.frame(1)
    assert pages.memmap.owner == {0: "kernel", 1: "slab"}
    assert pages.memmap.page(1)["flags"] & 1 << PG["slab"]
    assert pool.alloc(100).pfn == 2
    pool.check()
    pool.free(pool.tenants[pages.memmap.frame(2) + header(version)])
    pool.destroy()
    assert pages.memmap.raw == before and pages.memmap.owner == {0: "kernel"}
    assert pages.alloc_page() == 1


@each_version
def test_handles(version: str) -> None:
    pool = ZbudPool(version, 4)
    a, b = pool.alloc(1000), pool.alloc(1500)
    frame = pool.memmap.frame(0)
    assert isinstance(a, int) and a == frame + header(version) and b == frame + 4096 - 24 * 64
    assert (a.allocation, a.size, a.slot, a.pfn, a.offset) == (0, 1000, "FIRST", 0, header(version))
    assert (b.allocation, b.size, b.slot, b.pfn, b.offset) == (1, 1500, "LAST", 0, 2560)
    assert a.pool == b.pool != ZbudPool(version, 4).alloc(1000).pool
    assert repr(b) == "<handle 0xffff880000000a00: allocation 1, 1500 bytes, page 0x0 LAST>"
    assert pool.tenants == {a: a, b: b}
    c = pool.alloc(3968)
    assert (c.pfn, c.offset, c.slot, c.allocation) == (1, header(version), "FIRST", 2)


@each_version
@pytest.mark.parametrize("n", [1, 2, 30, 31])
def test_a_last_handle_is_counted_from_the_end(version: str, n: int) -> None:
    pool = ZbudPool(version, 2)
    pool.alloc(chunks(32))
    last = pool.alloc(chunks(n))
    assert (last.slot, last.offset) == ("LAST", 4096 - 64 * n)
    assert pool.chunks(0) == (32, n)


# ---------------------------------------------------------------------- placement


@each_version
def test_a_new_page_starts_with_first_and_the_second_tenant_is_last(version: str) -> None:
    pool = ZbudPool(version, 4)
    assert [pool.alloc(chunks(n)).slot for n in (10, 20)] == ["FIRST", "LAST"]
    assert pool.chunks(0) == (10, 20)
    assert lists(pool) == ({}, [0], [0]), "buddied, though a gap remains"
    assert pool.alloc(chunks(5)).pfn == 1, "and the gap is nobody's"


@each_version
def test_a_page_that_lost_first_takes_the_next_tenant_as_first(version: str) -> None:
    pool = ZbudPool(version, 4)
    a = pool.alloc(chunks(10))
    b = pool.alloc(chunks(20))
    pool.free(a)
    assert (pool.chunks(0), lists(pool)[0]) == ((0, 20), {capacity(version) - 20: [0]})
    c = pool.alloc(chunks(7))
    assert (c.pfn, c.slot, c.offset) == (0, "FIRST", header(version))
    assert pool.chunks(0) == (7, 20)
    pool.free(b)
    d = pool.alloc(chunks(9))
    assert (d.slot, d.offset, pool.chunks(0)) == ("LAST", 4096 - 9 * 64, (7, 9))


@each_version
@pytest.mark.parametrize("side", ["FIRST", "LAST"])
def test_freeing_either_side_joins_the_slack(version: str, side: str) -> None:
    pool = ZbudPool(version, 2)
    a, b = pool.alloc(chunks(20)), pool.alloc(chunks(30))
    pool.free(a if side == "FIRST" else b)
    left = 30 if side == "FIRST" else 20
    gap = capacity(version) - left
    assert lists(pool) == ({gap: [0]}, [], [0])
    big = pool.alloc(64 * gap)
    assert (big.pfn, big.slot) == (0, side)
    assert sum(pool.chunks(0)) == capacity(version)
    assert pool.pages_nr == 1
    pool.check()


@each_version
def test_best_fit_is_the_tightest_gap_and_among_equals_the_newest(version: str) -> None:
    pool = ZbudPool(version, 16)
    sizes = [50, 40, 45, 40, 45, 56, 60]  # no two fit in one page; the newest page, v11's first choice, is the fullest
    for n in sizes:
        pool.alloc(chunks(n))
    gap = {pfn: capacity(version) - n for pfn, n in enumerate(sizes)}
    assert lists(pool)[0] == {gap[6]: [6], gap[5]: [5], gap[0]: [0], gap[2]: [4, 2], gap[1]: [3, 1]}

    def goes_to(n: int) -> int:
        saved = pool.save()
        pfn = pool.alloc(chunks(n)).pfn
        pool.restore(saved)
        return pfn

    assert goes_to(gap[5]) == 5 and goes_to(gap[5] + 1) == 0
    assert goes_to(gap[0]) == 0 and goes_to(gap[0] + 1) == 4
    assert goes_to(gap[2]) == 4 and goes_to(gap[2] + 1) == 3
    assert goes_to(gap[1]) == 3 and goes_to(gap[1] + 1) == 7, "no gap is wide enough: a new page"
    first = pool.alloc(chunks(gap[2]))
    assert (first.pfn, lists(pool)[0][gap[2]]) == (4, [2])
    assert pool.alloc(chunks(gap[2])).pfn == 2
    assert pool.alloc(chunks(gap[2])).pfn == 3, "the class is empty: the next wider gap"
    pool.check()


@each_version
def test_a_partial_free_puts_the_page_first_on_its_list_but_leaves_the_lru(version: str) -> None:
    pool = ZbudPool(version, 8)
    pairs = [(pool.alloc(chunks(40)), pool.alloc(chunks(20))) for _ in range(3)]
    assert lists(pool) == ({}, [2, 1, 0], [2, 1, 0])
    gap = capacity(version) - 40
    for first, last in (pairs[0], pairs[2], pairs[1]):
        pool.free(last)
        assert lists(pool)[0][gap][0] == first.pfn
        assert lists(pool)[2] == [2, 1, 0]
    assert lists(pool) == ({gap: [1, 2, 0]}, [], [2, 1, 0])
    pool.check()


@each_version
def test_an_allocation_makes_its_page_the_newest(version: str) -> None:
    pool = ZbudPool(version, 8)
    for n in (50, 40, 60):
        pool.alloc(chunks(n))
    assert lists(pool)[2] == [2, 1, 0]
    assert pool.alloc(chunks(20)).pfn == 1
    assert lists(pool)[2] == [1, 2, 0]


@each_version
def test_an_empty_page_goes_back_and_the_lowest_page_is_next(version: str) -> None:
    pool = ZbudPool(version, 8)
    handles = [pool.alloc(chunks(40)) for _ in range(4)]
    assert pool.pages_nr == 4
    pool.free(handles[2])
    pool.free(handles[0])
    assert (pool.pages_nr, lists(pool)[2], pool.mine) == (2, [3, 1], {1, 3})
    assert pool.memmap.owner == {1: "zbud", 3: "zbud", 8: "slab"}
    assert [pool.alloc(chunks(40)).pfn for _ in range(3)] == [0, 2, 4]
    pool.check()


def test_v11_tries_the_newest_page_first() -> None:
    placed = {}
    for version in ALL:
        pool = ZbudPool(version, 4)
        placed[version] = [pool.alloc(size).pfn for size in (3000, 2200, 500)]
    assert placed == {"v11": [0, 1, 1]} | {version: [0, 1, 0] for version in ALL[1:]}


def test_v11_takes_the_newest_page_only_if_it_fits() -> None:
    def pool_with(*sizes: int) -> ZbudPool:
        pool = ZbudPool("v11", 8)
        for n in sizes:
            pool.alloc(chunks(n))
        return pool

    assert pool_with(47, 35).alloc(chunks(29)).pfn == 1, "exactly fits"
    assert pool_with(35, 47).alloc(chunks(17)).pfn == 1, "exactly fits, as the narrower gap too"
    assert pool_with(35, 47).alloc(chunks(18)).pfn == 0, "one too many: the lists"
    older = pool_with(44, 10, 44)  # page 0 comes to the head of the list of page 1, which is the newest
    older.free(next(h for h in older.tenants.values() if h.slot == "LAST"))
    assert lists(older) == ({20: [0, 1]}, [], [1, 0])
    assert older.alloc(chunks(20)).pfn == 1, "exactly fits, and is not asked of the list"
    full = pool_with(50, 40)
    assert full.alloc(chunks(5)).pfn == 1
    assert full.alloc(chunks(5)).pfn == 0, "two tenants already, though 19 chunks are free: the lists"
    lone = pool_with(40, 30)
    assert lone.alloc(chunks(20)).pfn == 1
    lone.free(lone.tenants[lone.memmap.frame(1)])  # page 1 keeps its LAST, and is the newest
    third = lone.alloc(chunks(4))
    assert (third.pfn, third.slot) == (1, "FIRST"), "not page 0, whose gap is tighter"
    lone.check()


@pytest.mark.parametrize(("version", "size"), [("v11", 4096), ("v12", 4096), ("linux-3.11-rc1", 4032)])
def test_a_page_full_with_one_tenant_waits_on_list_0_for_nobody(version: str, size: int) -> None:
    pool = ZbudPool(version, 4)
    handle = pool.alloc(size)
    assert lists(pool) == ({0: [0]}, [], [0])
    assert pool.memmap.load(pool.unbuddied(0)) == pool.data.buddy(0)
    assert pool.alloc(1).pfn == 1, "list 0 is never searched"
    pool.check()
    pool.free(handle)
    assert lists(pool)[0] == {capacity(version) - 1: [1]}


@pytest.mark.parametrize("version", ["linux-3.11", "linux-5.14"])
def test_later_no_tenant_can_make_a_page_useless(version: str) -> None:
    pool = ZbudPool(version, 4)
    pool.alloc(3968)
    assert lists(pool) == ({1: [0]}, [], [0])
    assert pool.alloc(64).pfn == 0
    assert lists(pool) == ({}, [0], [0])


def test_in_5_14_buddied_and_list_0_are_one() -> None:
    pool = ZbudPool("linux-5.14", 4)
    assert pool.buddied == pool.unbuddied(0)
    for n in (62, 1, 30, 10):  # page 0 is full, page 1 is not
        pool.alloc(chunks(n))
    assert lists(pool) == ({}, [1, 0], [1, 0])
    pool.check()
    for version in ALL[:4]:
        assert ZbudPool(version, 1).buddied == ZbudPool(version, 1).unbuddied(64)


@each_version
def test_a_plan_is_what_alloc_would_do_and_does_nothing(version: str) -> None:
    pool = ZbudPool(version, 4)
    assert pool.plan(100) == (None, "FIRST")
    a = pool.alloc(chunks(40))
    assert (pool.plan(chunks(20)), pool.plan(chunks(40))) == ((0, "LAST"), (None, "FIRST"))
    pool.alloc(chunks(20))
    pool.free(a)
    before = everything(pool)
    assert pool.plan(chunks(40)) == (0, "FIRST")
    for size, name in ((0, "EINVAL"), (-1, VERSIONS[version].negative), (4097, VERSIONS[version].too_big)):
        refused(pool, name, lambda size=size: pool.plan(size))
    with pytest.raises(TypeError, match="a size is a whole number"):
        pool.plan(1.5)  # type: ignore[arg-type]
    assert everything(pool) == before


@each_version
def test_state_is_what_the_bytes_say(version: str) -> None:
    pool = ZbudPool(version, 4)
    for n in (43, 30, 21, 40):
        pool.alloc(chunks(n))
    gap = str(capacity(version) - 40)
    if version == "v11":  # 21 goes to the newest page, whose gap is wider
        unbuddied, buddied, lru = {gap: [2], str(64 - 43): [0]}, [1], [2, 1, 0]
        pages = {"0": [43, 0], "1": [30, 21], "2": [40, 0]}
    elif version == "v12":
        unbuddied, buddied, lru = {gap: [2], str(64 - 30): [1]}, [0], [2, 0, 1]
        pages = {"0": [43, 21], "1": [30, 0], "2": [40, 0]}
    else:  # the header leaves page 0 one chunk short
        unbuddied, buddied, lru = {gap: [2], str(63 - 43): [0]}, [1], [2, 1, 0]
        pages = {"0": [43, 0], "1": [30, 21], "2": [40, 0]}
    assert pool.state() == {"unbuddied": unbuddied, "buddied": buddied, "lru": lru, "pages": pages, "pages_nr": 3}
    assert list(pool.walk(pool.lru)) == lru


# ---------------------------------------------------------------------- where the data lies


@pytest.mark.parametrize("version", OVERLAY)
def test_the_overlay_in_struct_page(version: str) -> None:
    pool = ZbudPool(version, 4)
    m, before = pool.memmap, pool.memmap.page(0).raw
    m.page(0)["private"], m.page(0)["padding"] = 0x1234, 0x5678
    for n in (9, 19, 51):
        pool.alloc(chunks(n))
    p, q = m.page(0), m.page(1)
    assert p["mapping"] == 0x130009 and q["mapping"] == 51
    assert p["flags"] == ZONE_NORMAL and p["private"] == 0x1234 and p["padding"] == 0x5678
    zbud = m.records(ZBUD_PAGE)
    assert (zbud["first_chunks"].tolist()[:2], zbud["last_chunks"].tolist()[:2]) == ([9, 51], [19, 0])
    assert m.load(p.address + 16) == m.load(p.address + 24) == pool.buddied
    assert m.load(q.address + 16) == m.load(q.address + 24) == pool.unbuddied(13)
    assert (m.load(q.address + 32), m.load(q.address + 40)) == (p.address + 32, pool.lru)
    assert (m.load(p.address + 32), m.load(p.address + 40)) == (pool.lru, q.address + 32)
    assert p["_count"] == q["_count"] == -30720, "a neighbour in the pool structure: 0xffff8800"
    pool.alloc(chunks(13))
    assert (p["_count"], q["_count"]) == (-5632, -30720), "page 0's neighbour is a record now: 0xffffea00"
    assert p["_mapcount"] == q.address + 16 & 0xFFFFFFFF
    for handle in list(pool.tenants):
        pool.free(handle)
    assert m.page(0)["private"] == 0, "cleared on the way out"
    m.page(0)["padding"] = 0
    assert m.page(0).raw == before, "otherwise byte for byte as before first use"


@pytest.mark.parametrize("version", HEADER)
def test_the_header_in_the_page(version: str) -> None:
    pool = ZbudPool(version, 4)
    m, before = pool.memmap, pool.memmap.page(0).raw
    m.store(m.frame(0) + 40, 0xFF, 1)  # under_reclaim, left by an earlier owner
    for n in (9, 19, 51):
        pool.alloc(chunks(n))
    p, q = m.frame(0), m.frame(1)
    assert [m.load(p + at, 4) for at in (32, 36)] == [9, 19] and [m.load(q + at, 4) for at in (32, 36)] == [51, 0]
    assert m.load(p + 40, 1) == m.load(q + 40, 1) == 0
    assert m.load(p) == m.load(p + 8) == pool.buddied and m.load(q) == m.load(q + 8) == pool.unbuddied(12)
    assert [m.load(q + at) for at in (16, 24)] == [p + 16, pool.lru]
    assert [m.load(p + at) for at in (16, 24)] == [pool.lru, q + 16]
    plain = bytearray(before)
    plain[28] = 1  # _count, the page allocator's doing
    assert m.page(0).raw == plain, "struct page is left alone"
    for handle in list(pool.tenants):
        pool.free(handle)
    assert m.page(0).raw == before
    assert m.load(p) == LIST_POISON1, "what lies in a page that was given back is stale, not cleared"


@pytest.mark.parametrize("version", HEADER)
@pytest.mark.parametrize(("field", "value"), [("mapping", 2), ("_mapcount", 0), ("_count", 2)])
def test_a_page_that_the_allocator_will_not_take_back_has_left_the_pool(version: str, field: str, value: int) -> None:
    """zbud does not learn of it: free returns nothing."""
    pool = pool_of(version, None, 40, 41)
    pool.memmap.page(0)[field] = value
    pool.free(pool.memmap.frame(0) + 64)
    owner = "pinned" if field == "_count" else "lost"
    assert (pool.pages_nr, pool.mine, pool.memmap.owner[0]) == (1, {1}, owner)
    assert [pfn for pfn, _ in pool.pages.bad_pages] == ([] if field == "_count" else [0])
    pool.check()
    assert pool.alloc(chunks(30)).pfn == 2


# ---------------------------------------------------------------------- map


@each_version
def test_map_reads_back_and_writes_through(version: str) -> None:
    pool = ZbudPool(version, 4)
    handles = [pool.alloc(chunks(n)) for n in (20, 30, 40, 15)]
    for i, handle in enumerate(handles):
        view = pool.map(handle)
        assert len(view) == 64 * (20, 30, 40, 15)[i]
        view[:] = bytes([i + 1]) * len(view)
    pool.check()
    for i, handle in enumerate(handles):
        view = pool.map(handle)
        assert view == bytes([i + 1]) * len(view)
        assert pool.memmap.load(handle, 1) == i + 1, "the handle is the address"
        pool.memmap.store(handle + len(view) - 1, 0xEE, 1)
        assert view[-1] == 0xEE
        assert pool.map(int(handle)) == view, "a bare number will do"
        assert not view.readonly


@each_version
def test_a_mapped_zpage_stays_put_across_other_operations(version: str) -> None:
    pool = ZbudPool(version, 8, Evict("free"))
    a, b = pool.alloc(chunks(20)), pool.alloc(chunks(30))
    last, text = pool.map(b), b"stays" * 300
    last[: len(text)] = text
    pool.free(a)
    c = pool.alloc(chunks(33))
    assert c.pfn == 0
    pool.map(c)[:] = b"x" * 64 * 33
    others = [pool.alloc(chunks(50)) for _ in range(3)]
    pool.free(others[1])
    pool.free(c)
    assert bytes(pool.map(b)[: len(text)]) == bytes(last[: len(text)]) == text
    last[0] = ord("S")
    assert pool.map(b)[0] == ord("S")
    pool.check()


# ---------------------------------------------------------------------- reclaim


def pool_of(version: str, evict: Evictor | None, *sizes: int, pages: int = 8) -> ZbudPool:
    """A pool with one tenant after the other, by chunks."""
    pool = ZbudPool(version, pages, evict)
    for n in sizes:
        pool.alloc(chunks(n))
    return pool


def again(pool: ZbudPool, retries: int) -> None:
    """Reclaim fails with EAGAIN after that many tries."""
    with pytest.raises(ZbudError, match=rf"EAGAIN: .*\b{retries}\b") as caught:
        pool.reclaim(retries)
    assert (caught.value.name, caught.value.errno) == ("EAGAIN", 11)
    pool.check()
    pool.pages.check()


@each_version
@pytest.mark.parametrize("retries", [0, -1])
def test_reclaim_with_no_retries(version: str, retries: int) -> None:
    pool = pool_of(version, Evict("free"), 40)
    error = refused(pool, "EINVAL", lambda: pool.reclaim(retries))
    assert str(retries) in str(error)


@each_version
def test_reclaim_with_nothing_to_reclaim_or_nobody_to_ask(version: str) -> None:
    pool = ZbudPool(version, 2, Evict("free"))
    assert "empty" in str(refused(pool, "EINVAL", pool.reclaim))
    pool = pool_of(version, None, 40)
    assert "callback" in str(refused(pool, "EINVAL", pool.reclaim))
    pool.evict = Evict("free")
    pool.reclaim()
    assert pool.pages_nr == 0


@each_version
def test_reclaim_empties_the_oldest_page_and_only_that(version: str) -> None:
    evict = Evict("free")
    pool = pool_of(version, evict, 40, 20, 50, 60)
    pool.reclaim()
    assert evict.order == [0, 1], "FIRST, then LAST"
    assert [h.slot for h in evict.offered] == ["FIRST", "LAST"]
    assert (pool.pages_nr, lists(pool)[2], pool.mine) == (2, [2, 1], {1, 2})
    assert 0 not in pool.memmap.owner
    pool.check()
    pool.pages.check()
    pool.reclaim(1)
    assert evict.order == [0, 1, 2] and lists(pool)[2] == [2]


@each_version
def test_a_callback_that_returns_none_has_agreed(version: str) -> None:
    pool = pool_of(version, lambda pool, handle: pool.free(handle), 40, 20)
    pool.reclaim(1)
    assert pool.pages_nr == 0


@each_version
def test_a_page_with_last_alone_offers_last(version: str) -> None:
    evict = Evict("free")
    pool = pool_of(version, evict, 40, 20)
    pool.free(pool.tenants[pool.memmap.frame(0) + header(version)])
    pool.reclaim(1)
    assert [(h.allocation, h.slot) for h in evict.offered] == [(1, "LAST")]


@each_version
def test_a_failed_reclaim_turns_the_lru(version: str) -> None:
    pool = pool_of(version, Evict("refuse"), 40, 40, 40, 40)
    assert lists(pool)[2] == [3, 2, 1, 0]
    again(pool, 2)
    gap = capacity(version) - 40
    assert lists(pool) == ({gap: [1, 0, 3, 2]}, [], [1, 0, 3, 2])


@each_version
def test_with_more_retries_than_pages_the_same_handles_are_offered_again(version: str) -> None:
    evict = Evict("refuse")
    pool = pool_of(version, evict, 40, 40, 40, 40)
    again(pool, 10)
    assert evict.order == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert len(pool.tenants) == 4


@each_version
def test_eight_retries_by_default(version: str) -> None:
    evict = Evict("refuse")
    pool = pool_of(version, evict, 40)
    with pytest.raises(ZbudError, match=r"EAGAIN: .*\b8\b"):
        pool.reclaim()
    assert evict.order == [0] * 8


@each_version
def test_first_refused_so_last_is_not_offered(version: str) -> None:
    evict = Evict("refuse")
    pool = pool_of(version, evict, 40, 20, 50)
    again(pool, 3)
    assert evict.order == [0, 2, 0]
    assert lists(pool) == ({capacity(version) - 50: [1]}, [0], [0, 1])


@each_version
def test_first_evicted_and_last_refused(version: str) -> None:
    evict = Evict("free", "refuse")
    pool = pool_of(version, evict, 40, 20, 43)
    again(pool, 1)
    assert evict.order == [0, 1]
    assert pool.chunks(0) == (0, 20), "FIRST is lost although reclaim says EAGAIN"
    assert lists(pool) == ({capacity(version) - 20: [0], capacity(version) - 43: [1]}, [], [0, 1])
    assert [h.allocation for h in pool.tenants.values()] == [1, 2]


@each_version
def test_a_survivor_goes_to_the_head_of_its_list(version: str) -> None:
    evict = Evict("free", "refuse")
    pool = pool_of(version, evict, 40, 20)
    pool.free(pool.alloc(chunks(50)))
    a = [pool.alloc(chunks(43)), pool.alloc(chunks(20))]
    pool.free(a[0])  # a page with LAST 20 alone
    gap = capacity(version) - 20
    assert lists(pool) == ({gap: [1]}, [0], [1, 0])
    again(pool, 1)
    assert lists(pool) == ({gap: [0, 1]}, [], [0, 1])


@each_version
def test_evict_frees_but_says_no(version: str) -> None:
    evict = Evict("free and refuse")
    pool = pool_of(version, evict, 40, 50)
    pool.reclaim(1)
    assert evict.order == [0] and pool.mine == {1}, "only the chunk counts matter"
    pair = pool_of(version, Evict("free and refuse"), 40, 20)
    again(pair, 1)
    assert pair.chunks(0) == (0, 20), "but the second call was not made"
    pair.reclaim(1)
    assert pair.pages_nr == 0


@each_version
def test_evict_lies(version: str) -> None:
    evict = Evict("lie")
    pool = pool_of(version, evict, 40, 20, 50)
    again(pool, 2)
    assert evict.order == [0, 1, 2], "zero means agreed, so LAST is offered too"
    assert lists(pool) == ({capacity(version) - 50: [1]}, [0], [1, 0])
    assert len(pool.tenants) == 3


@each_version
def test_both_freed_in_the_first_callback(version: str) -> None:
    """Both handles are fixed before the first call, so the second is offered though it is dead."""

    def both(pool: ZbudPool, handle: Handle) -> int:
        if handle.slot == "FIRST":
            for h in [h for h in pool.tenants.values() if h.pfn == handle.pfn]:
                pool.free(h)
        else:
            with pytest.raises(StaleHandle):
                pool.free(handle)
            with pytest.raises(StaleHandle):
                pool.map(handle)
        return 0

    evict = Evict(both)
    pool = pool_of(version, evict, 40, 20, 50)
    pool.reclaim(1)
    assert [(h.allocation, h.slot, h.size) for h in evict.offered] == [
        (0, "FIRST", chunks(40)),
        (1, "LAST", chunks(20)),
    ]
    assert pool.mine == {1} and lists(pool)[2] == [1]
    pool.check()


@each_version
def test_inside_the_callback(version: str) -> None:
    """The page is on no list, marked, and still counted; freeing changes its chunk counts and nothing else."""
    seen = []

    def look(pool: ZbudPool, handle: Handle) -> int:
        m = pool.memmap
        node = (m.record(0) + 16, m.record(0) + 32) if version in OVERLAY else (m.frame(0), m.frame(0) + 16)
        for at in node:
            assert (m.load(at), m.load(at + 8)) == (LIST_POISON1, LIST_POISON2)
        if version in OVERLAY:
            assert m.page(0)["flags"] == ZONE_NORMAL | RECLAIM
            assert (m.page(0)["_count"], m.page(0)["_mapcount"]) == (-559087616, 0x200200)
        else:
            assert m.load(m.frame(0) + 40, 1) == 1 and m.page(0)["flags"] == ZONE_NORMAL
        assert lists(pool) == ({capacity(version) - 50: [1]}, [], [1])
        before = pool.memmap.save()
        pool.free(handle)
        after = pool.memmap.save()
        changed = [i for i, (x, y) in enumerate(zip(before.records, after.records, strict=True)) if x != y]
        changed += (
            [i for i, (x, y) in enumerate(zip(before.frames[0], after.frames[0], strict=True)) if x != y]
            if version in HEADER
            else []
        )
        at = {"v11": 8, "v12": 8}.get(version, 32)
        assert changed == [at if handle.slot == "FIRST" else at + (2 if version in OVERLAY else 4)]
        seen.append((pool.chunks(0), pool.pages_nr, pool.memmap.owner[0]))
        return 0

    pool = pool_of(version, look, 40, 20, 50)
    pool.reclaim(1)
    assert seen == [((0, 20), 2, "zbud"), ((0, 0), 2, "zbud")]
    assert (pool.pages_nr, 0 in pool.memmap.owner) == (1, False)
    assert pool.memmap.page(0)["flags"] == ZONE_NORMAL, "the mark is gone"
    if version in HEADER:
        assert pool.memmap.load(pool.memmap.frame(0) + 40, 1) == 0
    pool.check()


@each_version
def test_the_mark_is_gone_from_a_survivor(version: str) -> None:
    pool = pool_of(version, Evict("refuse"), 40)
    again(pool, 1)
    assert pool.memmap.page(0)["flags"] == ZONE_NORMAL
    assert not pool.data.under_reclaim(0)
    pool.free(pool.tenants[pool.memmap.frame(0) + header(version)])
    assert pool.pages_nr == 0


@each_version
def test_an_allocation_inside_the_callback_goes_elsewhere(version: str) -> None:
    placed = []

    def swap(pool: ZbudPool, handle: Handle) -> int:
        pool.free(handle)
        placed.append(pool.alloc(chunks(10)))
        return 0

    pool = pool_of(version, swap, 40, 20)
    pool.reclaim(1)
    assert [(h.pfn, h.slot) for h in placed] == [(1, "FIRST"), (1, "LAST")]
    assert (pool.mine, pool.chunks(1), lists(pool)) == ({1}, (10, 10), ({}, [1], [1]))
    assert pool.alloc(1).pfn == 0, "given back, it may be taken again"
    pool.check()


@each_version
def test_an_allocation_inside_the_callback_may_find_no_memory(version: str) -> None:
    def more(pool: ZbudPool, handle: Handle) -> int:
        with pytest.raises(ZbudError, match="ENOMEM"):
            pool.alloc(chunks(10))
        pool.free(handle)
        return 0

    pool = pool_of(version, more, 40, pages=1)
    pool.reclaim(1)
    assert pool.pages_nr == 0


@each_version
def test_a_nested_reclaim(version: str) -> None:
    def nested(pool: ZbudPool, handle: Handle) -> int:
        if handle.pfn == 0:
            with pytest.raises(ZbudError, match=r"EINVAL: .*empty") as caught:
                pool.reclaim(8)
            assert caught.value.errno == 22 and pool.pages_nr == 1
        pool.free(handle)
        return 0

    pool = pool_of(version, nested, 40)
    pool.reclaim(1)
    assert pool.pages_nr == 0

    def deeper(pool: ZbudPool, handle: Handle) -> int:
        if handle.pfn < 2:
            pool.reclaim(1)
        pool.free(handle)
        return 0

    pool = pool_of(version, deeper, 40, 41, 42, 43)
    pool.reclaim(1)
    assert pool.mine == {3} and lists(pool)[2] == [3]
    pool.check()


@each_version
@pytest.mark.parametrize("trouble", [ValueError("evictor"), KeyboardInterrupt(), StaleHandle("stale")])
def test_a_callback_that_raises(version: str, trouble: BaseException) -> None:
    def raises(pool: ZbudPool, handle: Handle) -> int:
        raise trouble

    evict = Evict(raises)
    pool = pool_of(version, evict, 40, 20, 50)
    with pytest.raises(type(trouble)) as caught:
        pool.reclaim(3)
    assert caught.value is trouble and evict.order == [0]
    assert lists(pool) == ({capacity(version) - 50: [1]}, [0], [0, 1]), "linked back, as if refused"
    assert not pool.data.under_reclaim(0)
    pool.check()
    pool.evict = Evict("free", "free", raises)
    pool.reclaim(1)  # page 1 was the oldest
    with pytest.raises(type(trouble)):
        pool.reclaim(3)
    assert (pool.chunks(0), lists(pool)) == ((0, 20), ({capacity(version) - 20: [0]}, [], [0]))
    pool.check()


@each_version
def test_a_callback_that_frees_and_then_raises(version: str) -> None:
    def raises(pool: ZbudPool, handle: Handle) -> int:
        pool.free(handle)
        raise LookupError

    pool = pool_of(version, raises, 40, 50)
    with pytest.raises(LookupError):
        pool.reclaim(3)
    assert (pool.pages_nr, pool.mine, lists(pool)[2]) == (1, {1}, [1]), "one page went back, and no other was asked"
    pool.check()
    pool.pages.check()


@each_version
def test_an_oops_in_the_callback_stops_the_machine(version: str) -> None:
    def crash(pool: ZbudPool, handle: Handle) -> int:
        pool.memmap.load(0)
        return 0

    pool = pool_of(version, crash, 40, 50)
    with pytest.raises(KernelOops, match="NULL pointer"):
        pool.reclaim(1)
    assert lists(pool) == ({capacity(version) - 50: [1]}, [], [1]), "nobody links the page back"
    assert pool.data.under_reclaim(0) and pool.pages_nr == 2


# ---------------------------------------------------------------------- shrink


@each_version
def test_shrink(version: str) -> None:
    evict = Evict("free")
    pool = pool_of(version, evict, 40, 41, 42, 43)
    assert pool.shrink(3) == 3
    assert evict.order == [0, 1, 2] and pool.pages_nr == 1


@each_version
def test_shrink_by_more_than_there_is(version: str) -> None:
    pool = pool_of(version, Evict("free"), 40, 41, 42)
    with pytest.raises(ZbudError, match=r"EINVAL: .*empty") as caught:
        pool.shrink(5)
    assert (caught.value.reclaimed, caught.value.errno, pool.pages_nr) == (3, 22, 0)


@each_version
@pytest.mark.parametrize("pages", [0, -3])
def test_shrink_by_nothing(version: str, pages: int) -> None:
    evict = Evict("free")
    pool = pool_of(version, evict, 40)
    error = refused(pool, "EINVAL", lambda: pool.shrink(pages))
    assert error.reclaimed == 0 and f"{pages} page" in str(error) and not evict.order


@each_version
def test_shrink_without_a_callback(version: str) -> None:
    pool = pool_of(version, None, 40)
    assert refused(pool, "EINVAL", lambda: pool.shrink(1)).reclaimed == 0


@each_version
def test_shrink_stops_at_the_first_failure_after_eight_tries_for_a_page(version: str) -> None:
    evict = Evict("free", "refuse")
    pool = pool_of(version, evict, 40, 41, 42)
    with pytest.raises(ZbudError, match="EAGAIN") as caught:
        pool.shrink(3)
    assert caught.value.reclaimed == 1
    assert evict.order == [0, 1, 2, 1, 2, 1, 2, 1, 2]
    pool.check()


# ---------------------------------------------------------------------- destroy


@each_version
def test_destroying_an_empty_pool(version: str) -> None:
    pool = ZbudPool(version, 4)
    pool.free(pool.alloc(100))
    pool.destroy()
    assert pool.memmap.page(4)["flags"] == ZONE_NORMAL, "its page is a slab page no longer"
    with pytest.raises(ZbudError, match="destroyed"):
        pool.alloc(100)


@each_version
def test_destroying_a_pool_in_use_is_refused(version: str) -> None:
    pool = pool_of(version, None, 40, 20, 50)
    error = refused(pool, "EBUSY", pool.destroy)
    assert "3" in str(error)
    assert pool.alloc(100).pfn == 1


@each_version
def test_what_the_kernel_does_to_a_pool_in_use(version: str) -> None:
    """Only the structure is freed; the pages leak, still linked to the freed memory."""
    pages = Arena(Memmap(6))
    pool = ZbudPool(version, pages)
    handles = [pool.alloc(chunks(n)) for n in (40, 20, 50)]
    m, kept = pool.memmap, {pfn: (pool.memmap.page(pfn).raw, bytes(pool.memmap.frame_bytes(pfn))) for pfn in (1, 2)}
    pool.destroy(checked=False)
    assert m.owner == {1: "lost", 2: "lost"}
    assert {pfn: (m.page(pfn).raw, bytes(m.frame_bytes(pfn))) for pfn in (1, 2)} == kept
    assert m.load(pool.data.lru(1)) == pool.lru
    assert pages.free_pfns() == {0, 3, 4, 5}
    assert pool.tenants == {} and pool.mine == set()
    for handle in handles:
        with pytest.raises(StaleHandle):
            pool.free(handle)
        with pytest.raises(StaleHandle):
            pool.map(handle)


# ---------------------------------------------------------------------- stale handles are refused


def stale(pool: ZbudPool, handle: int) -> None:
    before = everything(pool)
    for use in (pool.free, pool.map):
        with pytest.raises(StaleHandle, match=rf"handle {int(handle):#x} is not a live tenant of this pool"):
            use(handle)
    assert everything(pool) == before
    pool.check()


@each_version
def test_a_handle_freed_before(version: str) -> None:
    pool = ZbudPool(version, 4)
    lone, a, b = pool.alloc(chunks(50)), pool.alloc(chunks(40)), pool.alloc(chunks(20))
    pool.free(lone)
    stale(pool, lone)
    pool.free(a)
    stale(pool, a)
    pool.free(b)
    stale(pool, b)
    stale(pool, int(b))


@each_version
def test_a_handle_whose_place_has_a_new_tenant(version: str) -> None:
    pool = ZbudPool(version, 4)
    a, b = pool.alloc(chunks(40)), pool.alloc(chunks(20))
    pool.free(a)
    c = pool.alloc(chunks(40))
    assert c == a
    stale(pool, a)
    pool.free(b)
    d = pool.alloc(chunks(20))
    assert d == b
    stale(pool, b)
    pool.free(int(c))  # a bare number names whoever lives there
    assert list(pool.tenants.values()) == [d]


@each_version
def test_an_address_that_no_handle_has(version: str) -> None:
    pool = ZbudPool(version, 4)
    a = pool.alloc(chunks(40))
    for address in (0, a + 1, a + 64, a - 64, a + 4096, pool.memmap.record(0), pool.address, 2**64 - 1):
        stale(pool, address)


@each_version
def test_a_handle_of_another_pool_on_the_same_machine(version: str) -> None:
    pages = Arena(Memmap(8))
    one, two = ZbudPool(version, pages), ZbudPool(version, pages)
    a, b = one.alloc(chunks(40)), two.alloc(chunks(40))
    assert a.pfn != b.pfn and a.pool != b.pool
    stale(one, b)
    stale(two, a)
    one.free(a)
    c = two.alloc(chunks(50))  # two moves into the page that one gave back
    d = one.alloc(chunks(50))
    assert (c.pfn, d.pfn) == (2, 4)
    stale(one, c)
    stale(two, a)
    assert a == c
    one.check()
    two.check()


def test_a_handle_of_a_pool_on_another_machine() -> None:
    one, two = ZbudPool("v12", 4), ZbudPool("v12", 4)
    handle = one.alloc(100)
    two.alloc(4000)
    stale(two, handle)


# ---------------------------------------------------------------------- misuse: what the kernel does


@each_version
def test_freeing_a_lone_tenant_twice_is_a_crash(version: str) -> None:
    pool = pool_of(version, None, 40, 50)
    a = next(iter(pool.tenants.values()))
    pool.free(a, checked=False)
    with pytest.raises(KernelOops) as caught:
        pool.free(a, checked=False)
    oops = caught.value
    if version in OVERLAY:
        assert (oops.address, str(oops)) == (0x8, "NULL pointer dereference at 0x8 (write, in list_del)")
    else:
        assert oops.address == 0xDEAD000000100108
        assert str(oops) == "general protection fault at 0xdead000000100108 (write, in list_del)"
    assert oops.during == ["list_del"]


@pytest.mark.parametrize("version", OVERLAY)
@pytest.mark.parametrize("migratetype", [0, 1, 2])
def test_the_crash_comes_from_what_the_allocator_left_in_index(version: str, migratetype: int) -> None:
    pages = kernel(8, migratetype=migratetype)
    pool = ZbudPool(version, pages, address=pages.memmap.frame(1001))
    a = pool.alloc(chunks(40))
    pool.free(a)
    with pytest.raises(KernelOops) as caught:
        pool.free(a, checked=False)
    assert caught.value.address == 8 + migratetype


@pytest.mark.parametrize("version", HEADER)
def test_the_crash_depends_on_what_was_written_to_the_page_since(version: str) -> None:
    pool = pool_of(version, None, 40, 50)
    a = next(iter(pool.tenants.values()))
    pool.free(a)
    pool.memmap.frame_bytes(0)[:] = bytes(4096)
    with pytest.raises(KernelOops, match="NULL pointer dereference at 0x8 "):
        pool.free(a, checked=False)
    pool.memmap.frame_bytes(0)[:] = b"\x41" * 4096  # under_reclaim reads as set, so nothing happens at all
    pool.free(a, checked=False)
    assert pool.chunks(0) == (0, 0x41414141)


@each_version
@pytest.mark.parametrize("slot", ["FIRST", "LAST"])
def test_freeing_twice_when_the_pool_has_the_page_again(version: str, slot: str) -> None:
    pool = ZbudPool(version, 4)
    first, last = pool.alloc(chunks(40)), pool.alloc(chunks(20))
    pool.free(first)
    pool.free(last)
    tenants = {"FIRST": pool.alloc(chunks(30)), "LAST": pool.alloc(chunks(10))}
    outdated = first if slot == "FIRST" else last
    pool.free(outdated, checked=False)
    assert pool.chunks(0) == ((0, 10) if slot == "FIRST" else (30, 0)), "the new tenant is gone, whatever its size"
    pool.check()
    with pytest.raises(StaleHandle):
        pool.free(tenants[slot])
    pool.free(tenants["LAST" if slot == "FIRST" else "FIRST"])
    with pytest.raises(KernelOops) as caught:
        pool.free(tenants[slot], checked=False)
    assert caught.value.address == (0x8 if version in OVERLAY else 0xDEAD000000100108)


@each_version
def test_freeing_first_twice_while_last_lives(version: str) -> None:
    pool = ZbudPool(version, 8)
    pairs = [(pool.alloc(chunks(40)), pool.alloc(chunks(20))) for _ in range(3)]
    for first, _ in pairs:
        pool.free(first)
    gap = capacity(version) - 20
    assert lists(pool) == ({gap: [2, 1, 0]}, [], [2, 1, 0])
    before = everything(pool)[3]
    pool.free(pairs[0][0], checked=False)
    assert lists(pool) == ({gap: [0, 2, 1]}, [], [2, 1, 0]), "its page moves to the head of its list"
    assert [pool.chunks(pfn) for pfn in range(3)] == [(0, 20)] * 3 and pool.pages_nr == 3
    assert everything(pool)[3] == before
    pool.check()


@each_version
@pytest.mark.parametrize("off", [-64 * 7, -64, 64, 1, -1, 8])
def test_any_address_that_is_not_first_means_last(version: str, off: int) -> None:
    pool = ZbudPool(version, 4)
    a, b, c = pool.alloc(chunks(20)), pool.alloc(chunks(20)), pool.alloc(chunks(50))
    assert c.pfn == 1
    pool.free(b + off, checked=False)
    assert pool.chunks(0) == (20, 0)
    assert list(pool.tenants.values()) == [a, c]
    pool.check()
    pool.free(b + off, checked=False)  # and again: silent, as there is nothing to free
    assert pool.chunks(0) == (20, 0) and list(pool.tenants.values()) == [a, c]
    pool.check()


@pytest.mark.parametrize("version", HEADER)
def test_the_page_address_means_last_where_there_is_a_header(version: str) -> None:
    pool = pool_of(version, None, 20, 20)
    pool.free(pool.memmap.frame(0), checked=False)
    assert pool.chunks(0) == (20, 0)


@each_version
def test_an_outdated_last_handle_frees_the_new_tenant(version: str) -> None:
    pool = ZbudPool(version, 4)
    pool.alloc(chunks(20))
    old = pool.alloc(chunks(30))
    pool.free(old)
    new = pool.alloc(chunks(5))
    assert new.slot == "LAST" and new != old
    pool.free(old, checked=False)
    assert pool.chunks(0) == (20, 0) and new not in pool.tenants
    pool.check()


@each_version
def test_a_handle_that_is_nonsense(version: str) -> None:
    pool = pool_of(version, None, 40)
    before = everything(pool)
    for wild in (0, 64, pool.memmap.frame(1 << 20), 0x4141414141414141):
        with pytest.raises(KernelOops):
            pool.free(wild, checked=False)
    assert everything(pool) == before


@each_version
def test_the_kernels_own_free_is_the_same_free(version: str) -> None:
    one, two = ZbudPool(version, 8), ZbudPool(version, 8)
    for pool, checked in ((one, True), (two, False)):
        handles = [pool.alloc(chunks(n)) for n in (40, 20, 50, 10, 33)]
        for i in (1, 4, 0, 3):
            pool.free(handles[i], checked=checked)
    assert everything(one) == everything(two)


@pytest.mark.parametrize("version", OVERLAY)
def test_a_reference_taken_on_a_listed_page_moves_a_list_pointer(version: str) -> None:
    """What the whole thread is about: get_page on a v12 page adds 2**32 to buddy.prev."""
    pool = pool_of(version, None, 40, 20, 41, 20)  # two buddied pages: 1, 0
    a = next(iter(pool.tenants.values()))
    neighbour = pool.memmap.load(pool.memmap.record(0) + 24)
    pool.memmap.page(0)["_count"] += 1
    with pytest.raises(KernelOops) as caught:
        pool.free(a)
    assert caught.value.address == neighbour + (1 << 32) == pool.memmap.record(1) + 16 + (1 << 32)
    assert pool.memmap.load(pool.buddied + 8) == neighbour + (1 << 32), "the first of the two writes was done"


@pytest.mark.parametrize("version", ALL)
def test_reclaim_takes_the_page_off_the_lru_first(version: str) -> None:
    """One sees it where the other link is damaged: by the time of the oops the lru is whole again, without the page."""
    pool = pool_of(version, Evict("free"), 40, 41)
    pool.memmap.store(pool.data.buddy(0), 0)
    with pytest.raises(KernelOops, match="NULL pointer dereference at 0x8 "):
        pool.reclaim(1)
    assert list(pool.walk(pool.lru)) == [1]


# ---------------------------------------------------------------------- save, restore, other schemes


@each_version
def test_save_and_restore(version: str) -> None:
    evict = Evict("free")
    pool = pool_of(version, evict, 40, 20, 50)
    view = pool.map(pool.tenants[pool.memmap.frame(0) + header(version)])
    view[:3] = b"abc"
    before, saved = everything(pool), pool.save()
    for _ in range(2):
        pool.reclaim()
        pool.alloc(chunks(33))
        view[:3] = b"xyz"
        for handle in list(pool.tenants):
            pool.free(handle)
        pool.destroy()
        pool.restore(saved)
        assert everything(pool) == before
        pool.check()
        assert bytes(view[:3]) == b"abc"
    assert pool.alloc(10).allocation == 3


CLEAR = {"home": "record", "buddy": 8, "lru": 32, "first_chunks": 48, "last_chunks": 50, "width": 2}
FRAME = {"home": "frame", "buddy": 0, "lru": 16, "first_chunks": 32, "last_chunks": 36, "width": 4, "under_reclaim": 40}
SCHEMES: list[dict[str, Any]] = [
    CLEAR,
    CLEAR | {"flag": "slab"},
    CLEAR | {"flag": "reserved", "mapcount": -127},
    CLEAR | {"first_chunks": 24, "last_chunks": 26},
    CLEAR | {"under_reclaim": 60, "width": 4, "first_chunks": 48, "last_chunks": 52},
    {"home": "record", "buddy": 32, "lru": 48, "first_chunks": 16, "last_chunks": 18, "width": 2},
    FRAME | {"mapcount": -127},
    FRAME | {"home": "apart"},
    FRAME | {"home": "apart", "slab": True},
    FRAME | {"flag": "private", "buddy": 48, "first_chunks": 0, "last_chunks": 4},
]


@pytest.mark.parametrize("own", SCHEMES, ids=lambda s: "-".join(f"{k}{v}" for k, v in s.items()))
@pytest.mark.parametrize("version", ["v12", "linux-3.11"])
@pytest.mark.parametrize("allocator", ["arena", "kernel"])
def test_a_pool_runs_on_any_scheme(version: str, own: dict[str, Any], allocator: str) -> None:
    scheme = Scheme("mine", **own)
    pages = Arena(Memmap(9), range(8)) if allocator == "arena" else kernel(8)
    before = [pages.memmap.page(pfn)["flags"] for pfn in range(8)]
    address = pages.memmap.frame(8) if allocator == "arena" else pages.memmap.frame(1001)
    evict = Evict("free", "refuse", "free", "free")
    pool = ZbudPool(version, pages, evict, scheme=scheme, address=address)
    assert pool.capacity == (63 if own["home"] == "frame" else 64)
    assert pool.max_size == min(VERSIONS[version].max_size, 64 * pool.capacity)
    handles = [pool.alloc(chunks(n)) for n in (40, 20, 50, 33, 12, 62, 1, 60)]
    for i, handle in enumerate(handles):
        pool.map(handle)[:] = bytes([i + 1]) * len(pool.map(handle))
        pool.check()
    p = pages.memmap.page(handles[0].pfn)
    if scheme.flag:
        assert p["flags"] & 1 << PG[scheme.flag]
    if scheme.mapcount:
        assert p["_mapcount"] == scheme.mapcount
    if scheme.slab:
        assert p["flags"] & 1 << PG["slab"] and p["_mapcount"] == 1 << 16 | 1, "one object of one, in use"
    with pytest.raises(ZbudError, match="EAGAIN"):
        pool.reclaim(1)
    pool.check()
    pool.reclaim(8)
    pool.check()
    for handle in list(pool.tenants.values()):
        view = pool.map(handle)
        assert view == bytes([handle.allocation + 1]) * len(view)
        pool.free(handle)
        pool.check()
    pages.check()
    assert pages.bad_pages == [], "whatever the scheme laid over the record was taken off again"
    assert [pages.memmap.page(pfn)["flags"] for pfn in range(8)] == before
    assert pool.pages_nr == 0 and len(pages.free_pfns()) == 8


def test_5_14_on_an_overlay() -> None:
    pool = ZbudPool("linux-5.14", 4, scheme="overlay-v12")
    pool.alloc(1)
    pool.check()


def test_other_schemes_for_a_version_by_name() -> None:
    pool = ZbudPool("v12", 4, scheme="inline-header")
    assert (pool.capacity, pool.max_size, pool.alloc(4032).offset) == (63, 4032, 64)
    error = refused(pool, "E2BIG", lambda: pool.alloc(4033))
    assert "4033" in str(error) and "4032" in str(error)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lru": 16}, "lru.next and buddy.prev both lie on byte 16"),
        ({"first_chunks": 50}, "last_chunks and first_chunks both lie on byte 50"),
        ({"buddy": 12}, "buddy.next at byte 12 is not aligned"),
        ({"first_chunks": 49}, "first_chunks at byte 49 is not aligned"),
        ({"lru": 56}, "lru.prev at byte 64 is not aligned inside the 64 bytes"),
        ({"last_chunks": 64}, "last_chunks at byte 64 is not aligned inside"),
        ({"first_chunks": -2}, "first_chunks at byte -2 is not aligned inside"),
        ({"flag": "zcache"}, "there is no flag PG_zcache"),
        ({"under_reclaim": 8}, "under_reclaim and buddy.next both lie on byte 8"),
    ],
)
def test_a_scheme_that_cannot_be(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"mine: {said}"):
        Scheme("mine", **(CLEAR | change))


def test_the_pieces_of_a_scheme() -> None:
    scheme = Scheme("mine", **FRAME)
    pieces = scheme.pieces()
    assert pieces == {
        "first_chunks": (32, 4),
        "last_chunks": (36, 4),
        "buddy.next": (0, 8),
        "buddy.prev": (8, 8),
        "lru.next": (16, 8),
        "lru.prev": (24, 8),
        "under_reclaim": (40, 1),
    }
    assert not scheme.overlays(0, 64), "it does not lie on the record at all"
    clear = Scheme("mine", **CLEAR)
    assert clear.overlays(8, 1) and clear.overlays(23, 1) and clear.overlays(0, 9) and clear.overlays(50, 8)
    assert not clear.overlays(0, 8) and not clear.overlays(24, 8) and not clear.overlays(52, 12)
    assert (scheme.header_chunks, clear.header_chunks) == (1, 0)


# ---------------------------------------------------------------------- what cannot be, in one sentence each


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown scheme 'foo'; known: overlay-v12, "):
        ZbudPool("v12", scheme="foo")


@pytest.mark.parametrize("offset", [0xE00, 4])
def test_a_structure_must_lie_within_a_page(offset: int) -> None:
    pages = Arena(Memmap(8), range(5))
    with pytest.raises(ValueError, match="does not lie, aligned to 8 bytes, within one page"):
        ZbudPool("v12", pages, address=pages.memmap.frame(5) + offset)


def test_nothing_can_be_done_to_a_destroyed_pool() -> None:
    pool = ZbudPool("linux-5.14", 4, lambda pool, handle: 0)
    pool.alloc(100)
    pool.destroy(checked=False)
    for deed in (lambda: pool.alloc(1), pool.reclaim, lambda: pool.shrink(1), pool.destroy):
        with pytest.raises(ZbudError, match="EINVAL: this pool was destroyed; make a new one"):
            deed()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"buddy": 0}, "buddy.next and flags both lie on byte 0"), ({"home": "records"}, "home is record, frame or apart"),
     ({"width": 3}, "width 1, 2, 4 or 8, not 3")],
)  # fmt: skip
def test_a_scheme_may_not_lie_on_flags(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Scheme("x", **{**CLEAR, **change})
