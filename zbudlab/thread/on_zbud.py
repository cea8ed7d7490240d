"""The claims about the allocator itself, and about where its data may lie; see on_readers.py."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice, permutations, product
from math import fsum

from ..rows import count
from ..schemes import SCHEMES, Bookkeeping, Scheme
from ..struct_page import CHUNK, PAGE_SIZE, STRUCT_PAGE, page_count
from ..structure import Evictor
from ..versions import VERSIONS, Handle, ZbudError
from ..workload import SEED, churn, uniform
from ..zbud import ZbudPool
from .finding import Finding, listed

# ---------------------------------------------------------------------- 15, 16: room, and putting things back


def no_room_for_a_count(width: int = 2, record: int = 56) -> Finding:
    """Beside two list nodes and two chunk counts of `width` bytes no room is left for _count in a record."""
    kept = ("flags", "_mapcount", "_count")
    taken = {byte for name in kept for byte in span(STRUCT_PAGE[name].offset, STRUCT_PAGE[name].size)}
    spare = [byte for byte in range(record) if byte not in taken]

    def places(size: int) -> list[frozenset[int]]:
        """Where a piece fits: aligned, and on spare bytes only."""
        starts = range(0, record - size + 1, min(size, 8))
        return [frozenset(span(at, size)) for at in starts if taken.isdisjoint(span(at, size))]

    ways = [
        (buddy, lru, first, last)
        for (buddy, lru), (first, last) in product(permutations(places(16), 2), permutations(places(width), 2))
        if len(buddy | lru | first | last) == 32 + 2 * width
    ]
    names = ("buddy", "lru", "first_chunks", "last_chunks")
    where = [f"{name} at {min(piece)}" for name, piece in zip(names, ways[0], strict=True)] if ways else []
    pool = ZbudPool("v12", 4, scheme="overlay-clear")  # one of them
    references = page_count(pool.memmap.page(pool.alloc(1000).pfn))
    return Finding(
        {"no placement": not ways},
        f"Of {record} bytes {len(spare)} are spare beside {listed(kept)}, and zbud needs {32 + 2 * width}: "
        f"{len(ways)} placements{f' ({listed(where)}, for one)' if where else ''}. In overlay-clear, "
        f"which is such a one, page_count reads {references}.",
    )


def span(start: int, size: int) -> range:
    return range(start, start + size)


def the_record_must_be_restored(scheme: Scheme | str = "overlay-v12") -> Finding:
    """A page whose descriptor is not put back as it was does not come back to the page allocator."""
    pieces = ("_count", "_mapcount", "mapping", "index", "private", "lru.next")
    alone = {name: becomes(scheme, (name,)) for name in pieces}
    whole = becomes(scheme, pieces)
    lost = [f"{name} ({fate})" for name, fate in alone.items() if fate != "free"]
    return Finding(
        {"nothing restored": whole != "free"},
        f"With nothing restored the page is {whole}. Of {len(pieces)} fields {len(lost)} must be, each by itself: "
        f"{listed(lost)}; without {listed(name for name, fate in alone.items() if fate == 'free')} it is free again.",
    )


FATES = {"pinned": "leaked, for it still looks counted", "lost": "kept back as a bad page"}


class Forgetful(Bookkeeping):
    """Bookkeeping that does not restore the fields in `left_out` when a page leaves the pool."""

    left_out: Sequence[str] = ()

    def end(self, pfn: int) -> None:
        p = self.memmap.page(pfn)
        before = {name: p[name] for name in self.left_out}
        super().end(pfn)
        for name, value in before.items():
            p[name] = value


def becomes(scheme: Scheme | str, left_out: Sequence[str]) -> str:
    """What becomes of a page when its last tenant goes, and zbud does not restore some fields."""
    pool = ZbudPool("v12", 4, scheme=scheme)
    pool.data = data = Forgetful(pool.scheme, pool.memmap)
    data.left_out = left_out
    _, handle = pool.alloc(2048), pool.alloc(3000)
    pool.free(handle)
    fate = pool.memmap.owner.get(handle.pfn, "free")
    return FATES.get(fate, fate)


# ---------------------------------------------------------------------- 17: density


def at_rest(version: str, operations: int = 2000) -> tuple[int, int]:
    """(zpages, pages) where the density was lowest during a churn."""
    pool, handles, lowest = ZbudPool(version, 256), list[Handle](), (2, 1)
    for what, n in churn(uniform(), live=120, operations=operations):
        if what == "alloc":
            handles.append(pool.alloc(n))
        else:
            pool.free(handles[n])
        if pool.pages_nr:
            lowest = min(lowest, (len(pool.tenants), pool.pages_nr), key=lambda d: d[0] / d[1])
    return lowest


def while_reclaiming(version: str) -> tuple[int, int]:
    """(zpages, pages) after the evictor has freed the last tenant of the page, before zbud gives the page back."""
    seen: list[tuple[int, int]] = []

    def evict(pool: ZbudPool, handle: Handle) -> int:
        pool.free(handle)
        seen.append((len(pool.tenants), pool.pages_nr))
        return 0

    pool = ZbudPool(version, 4, evict)
    pool.alloc(1000)
    pool.reclaim(1)
    return seen[-1]


class AsPosted(Bookkeeping):
    """v13 as posted: the header's byte for reclaim keeps what the page held there before, and that was not zero."""

    def begin(self, pfn: int) -> None:
        super().begin(pfn)
        self.mark_reclaim(pfn, True)


def byte_not_set() -> tuple[int, int]:
    """(zpages, pages) in v13 as posted, after an alloc and its free."""
    pool = ZbudPool("linux-3.11-rc1", 4)
    pool.data = AsPosted(pool.scheme, pool.memmap)
    pool.free(pool.alloc(1000))
    return len(pool.tenants), pool.pages_nr


WHEN: dict[str, Callable[[str], tuple[int, int]]] = {
    "at rest": at_rest,
    "while a page is reclaimed": while_reclaiming,
    "v13 as posted": lambda _: byte_not_set(),
}


def never_fewer_zpages_than_pages(when: Sequence[str] = tuple(WHEN), version: str = "v12") -> Finding:
    """The pool never has more pages than zpages."""
    lowest = {name: WHEN[name](version) for name in when}
    said = [f"{name} {zpages} in {count(pages, 'page')}" for name, (zpages, pages) in lowest.items()]
    return Finding(
        {name: zpages >= pages for name, (zpages, pages) in lowest.items()},
        f"The fewest zpages for the pages there are: {'; '.join(said)}.",
    )


# ---------------------------------------------------------------------- 18: the newest page first


def bell(mean: int, deviation: int, seed: int = SEED, most: int = 4032) -> Iterator[int]:
    """Endless sizes in bytes, nearly normal around `mean`, cut to 1 and `most`."""
    chance = random.Random(seed)
    while True:
        yield max(1, min(most, mean + int(deviation * (fsum(chance.random() for _ in range(12)) - 6.0))))


SIZES: dict[str, Callable[[], Iterator[int]]] = {
    "uniform": lambda: uniform(max_size=4032),
    "symmetric": lambda: bell(2048, 600),
    "fat": lambda: bell(2800, 700),
}


def newest_first_costs_density(newest_first: str = "v11", without: str = "v12", zpages: int = 2000) -> Finding:
    """Trying the newest page first gives a lower density, by more than one per cent, where sizes are not thin."""
    both = {
        name: [filled(version, sizes(), zpages) for version in (newest_first, without)] for name, sizes in SIZES.items()
    }
    thin = [filled(version, bell(1300, 400), zpages) for version in (newest_first, without)]
    said = [f"{name} {first:.2f} against {second:.2f}" for name, (first, second) in (both | {"thin": thin}).items()]
    return Finding(
        {name: first < 0.99 * second for name, (first, second) in both.items()},
        f"zpages in a page after {zpages:,} allocations, {newest_first} against {without}: {'; '.join(said)}.",
    )


def filled(version: str, sizes: Iterator[int], zpages: int) -> float:
    """The density of a pool after so many allocations."""
    pool = ZbudPool(version, zpages)
    for size in islice(sizes, zpages):
        pool.alloc(size)
    return zpages / pool.pages_nr


# ---------------------------------------------------------------------- 19: first fit or best fit

Plan = Callable[[ZbudPool, int], tuple[int | None, str]]


def candidates(pool: ZbudPool, size: int) -> list[int]:
    """The pages with one tenant that have room, by page number."""
    need = -(-size // CHUNK)
    return [pfn for pfn in sorted(pool.mine) if room(pool, pfn) >= need and not all(pool.chunks(pfn))]


def room(pool: ZbudPool, pfn: int) -> int:
    return pool.capacity - sum(pool.chunks(pfn))


def first_fit(pool: ZbudPool, size: int) -> tuple[int | None, str]:
    """What first fit by page number would plan."""
    return next(iter(candidates(pool, size)), None), ""


def the_search_is_first_fit(plan: Plan = ZbudPool.plan, version: str = "v12", operations: int = 2000) -> Finding:
    """The page taken is the first that has room, not the one that fits best."""
    pool, handles = ZbudPool(version, 256), list[Handle]()
    choices = first = tightest = 0
    for what, n in churn(uniform(), live=120, operations=operations):
        if what == "free":
            pool.free(handles[n])
            continue
        rooms = {pfn: room(pool, pfn) for pfn in candidates(pool, n)}
        if len(set(rooms.values())) > 1:
            taken = plan(pool, n)[0]
            choices += 1
            first += taken == min(rooms)
            tightest += taken is not None and rooms[taken] == min(rooms.values())
        handles.append(pool.alloc(n))
    return Finding(
        {"always the first with room": first == choices},
        f"In {choices:,} choices between pages of different room, the page taken was the first by number {first:,} "
        f"times, and one with the least sufficient room {tightest:,} times.",
    )


# ---------------------------------------------------------------------- 20: how many chunks


@dataclass(frozen=True)
class CoarseHeader(Scheme):
    """A header that takes `chunks` of the model's chunks."""

    chunks: int = 1

    @property
    def header_chunks(self) -> int:
        return self.chunks


def with_chunks(version: str, n: int, pages: int = 32, evict: Evictor | None = None) -> ZbudPool:
    """A pool of a version as if a page had `n` chunks: a header takes one of those; requests are to be `rounded`."""
    scheme = SCHEMES[VERSIONS[version].scheme]
    if scheme.home == "frame":
        scheme = CoarseHeader(**vars(scheme), chunks=PAGE_SIZE // n // CHUNK)
    return ZbudPool(version, pages, evict, scheme=scheme)


def rounded(size: float, n: int) -> int:
    """A size in bytes, rounded up to a whole number of chunks of which a page has `n`."""
    return int(-(-size * n // PAGE_SIZE) * PAGE_SIZE / n)


def the_number_of_chunks(version: str = "v12", header: str = "linux-3.11-rc1") -> Finding:
    """Gorman's example costs 4 zpages with six chunks, 3 with two; Jennings: the number does not bound the sizes that
    are taken; and with a header in the page two chunks are no use."""
    cost = {n: evicted_for_two(n) for n in (6, 2)}
    most = {n: largest(version, n) for n in (2, 4, 16, 64)}
    behind = {n: largest(header, n) for n in (2, 4, 16, 64)}
    pool = with_chunks(header, 2)
    halves = [pool.alloc(rounded(PAGE_SIZE / 2, 2)) for _ in range(6)]
    return Finding(
        {
            "the example": cost == {6: 4, 2: 3},
            "no bound on sizes": len(set(most.values())) == 1,
            "no use with a header": pool.pages_nr == len(halves),
        },
        f"Two pages of 80 per cent cost {cost[6]} evicted zpages with six chunks a page, {cost[2]} with two. The "
        f"largest size in {version} is {listed(most.values())} bytes with {listed(most)} chunks, in {header} "
        f"{listed(behind.values())}. With two chunks and a header, {len(halves)} zpages take {pool.pages_nr} pages.",
    )


def evicted_for_two(n: int, pages: int = 12) -> int:
    """How many zpages are evicted from a full pool of `n` chunks a page, to store two that compress to 80 per cent."""
    gone: list[Handle] = []

    def evict(pool: ZbudPool, handle: Handle) -> int:
        gone.append(handle)
        pool.free(handle)
        return 0

    pool = with_chunks("v12", n, pages, evict)
    a, b, c, d = (rounded(PAGE_SIZE * share, n) for share in (0.15, 0.15, 0.60, 0.80))
    with suppress(ZbudError):  # in lockstep, until no page is left
        for size in cycle((a, b, c)):
            pool.alloc(size)
    for _ in range(2):
        pool.reclaim()
        pool.alloc(d)
    return len(gone)


def largest(version: str, n: int) -> int:
    """The largest size in bytes that a pool of `n` chunks a page takes."""
    pool = with_chunks(version, n)
    return max(size for size in range(PAGE_SIZE // n, PAGE_SIZE + 1, PAGE_SIZE // n) if takes(pool, size))


def takes(pool: ZbudPool, size: int) -> bool:
    try:
        pool.free(pool.alloc(size))
    except ZbudError:
        return False
    return True
