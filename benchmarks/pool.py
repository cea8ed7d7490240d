"""The pool: allocations, frees and reclaim at 500 and at 20,000 live zpages; and what a timeline adds to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from statistics import median
from typing import Any

from benchmarks import Row, interleaved, progress, ratio, row
from zbudlab.timeline import Timeline
from zbudlab.workload import churn, lognormal
from zbudlab.zbud import ZbudPool

VERSIONS = ("v12", "linux-3.11")  # bookkeeping in struct page, and in the pages themselves
FEW, MANY = 500, 20_000  # live zpages
STORE = "the time of one bare word store"
COST = f"the time at {FEW} live"


class Load:
    """A stream of operations, prepared beforehand, on a pool that holds about `live` zpages, in slices of equal length.

    In the stream a size stands for its allocation, and ~k for the free of allocation k.  A timeline does as a pool.
    """

    def __init__(self, pool: ZbudPool | Timeline, live: int, operations: int, slices: int) -> None:
        self.pool, self.handles = pool, list[Any]()
        first = 3 * live  # after so many it holds nearly as many as it will
        work = churn(lognormal(seed=live), live, first + operations * slices)
        stream = [n if kind == "alloc" else ~n for kind, n in work]
        self.slices = iter([stream[at : at + operations] for at in range(first, len(stream), operations)])
        self.drive(stream[:first])

    def drive(self, operations: list[int]) -> None:
        alloc, free, handles = self.pool.alloc, self.pool.free, self.handles
        for x in operations:
            if x > 0:
                handles.append(alloc(x))
            else:
                free(handles[~x])

    def __call__(self) -> None:
        """The next slice."""
        self.drive(next(self.slices))


class Reclaim:
    """`pages` reclaims at a time, from a pool that is filled up to `live` zpages again before each time."""

    def __init__(self, pool: ZbudPool, live: int, pages: int) -> None:
        self.pool, self.live, self.pages = pool, live, pages
        self.sizes = lognormal(seed=live)
        self.fill()

    def fill(self) -> None:
        for size in islice(self.sizes, self.live - len(self.pool.tenants)):
            self.pool.alloc(size)

    def __call__(self) -> None:
        for _ in range(self.pages):
            self.pool.reclaim(8)


def evict(pool: ZbudPool, handle: Any) -> int:
    pool.free(handle)
    return 0


def store(pool: ZbudPool, times: int) -> Callable[[], None]:
    """The yardstick: a word, stored through the view that the pool's own bytes are behind."""
    words, i = pool.memmap.at(pool.memmap.record(pool.memmap.pfns[-1]) + 56, "write")

    def work() -> None:
        for x in range(times):
            words[i] = x

    return work


def run(quick: bool = False) -> Iterator[Row]:
    for version in VERSIONS:
        progress(f"pool: preparing {version}")
        yield from allocs_and_frees(version, *((3_000, 3) if quick else (15_000, 9)))
        yield from reclaims(version, 3 if quick else 9)


def allocs_and_frees(version: str, operations: int, times: int) -> Iterator[Row]:
    few = Load(ZbudPool(version, 2 * FEW), FEW, operations, times)
    many = Load(ZbudPool(version, 2 * MANY), MANY, operations, times)
    told = Load(Timeline(version, 2 * FEW), FEW, operations, times)
    assert isinstance(few.pool, ZbudPool)
    bare = store(few.pool, operations)
    at_few, at_many, events, stores = interleaved(times, few, many, told, bare)
    name = f"{version}: alloc and free"
    for what, taken, yardstick, those, goals in (
        (f"{FEW} live", at_few, STORE, stores, {"at_least": 200_000}),
        (f"{MANY:,} live", at_many, COST, at_few, {"ratio_at_most": 1.5}),
        (f"{FEW} live, events recorded", events, COST, at_few, {"at_least": 100_000}),
    ):
        yield row(f"{name}, {what}", operations / median(taken), "op/s", (yardstick, ratio(taken, those)), **goals)


def reclaims(version: str, times: int) -> Iterator[Row]:
    few = Reclaim(ZbudPool(version, 2 * FEW, evict), FEW, 100)
    many = Reclaim(ZbudPool(version, 2 * MANY, evict), MANY, 1_000)
    bare = store(few.pool, 1_000)
    at_few, at_many, stores = list[float](), list[float](), list[float]()
    for _ in range(times):
        few.fill()
        many.fill()
        for taken, new in zip((at_few, at_many, stores), interleaved(1, few, many, bare), strict=True):
            taken += new
    name = f"{version}: reclaim"
    each_of_few, each_of_many = [t / few.pages for t in at_few], [t / many.pages for t in at_many]
    against = (STORE, ratio(each_of_few, [t / 1_000 for t in stores]))
    yield row(f"{name}, {FEW} live", 1 / median(each_of_few), "pages/s", against)
    against = (COST, ratio(each_of_many, each_of_few))
    yield row(f"{name}, {MANY:,} live", 1 / median(each_of_many), "pages/s", against, ratio_at_most=1.5)
