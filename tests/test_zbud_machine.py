"""Anything, in any order: the pool against a second allocator that is written to be obvious, step by step.

`Naive` knows no bytes: pages are dictionaries, lists are Python lists.  It follows the description of the original
allocator, not our code, and must agree on every placement, list order, page number, error and call of the evictor.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zbudlab.memmap import Memmap
from zbudlab.page_alloc import Arena, KernelPages
from zbudlab.versions import Handle, StaleHandle, ZbudError
from zbudlab.zbud import ZbudPool

# version: (chunks for both tenants, bytes of header, largest size, error above it, error below zero)
TABLE = {
    "v11": (64, 0, 4096, "EINVAL", "EINVAL"),
    "v12": (64, 0, 4096, "E2BIG", "EINVAL"),
    "linux-3.11-rc1": (63, 64, 4032, "ENOSPC", "EINVAL"),
    "linux-3.11": (63, 64, 3968, "ENOSPC", "EINVAL"),
    "linux-5.14": (63, 64, 3968, "ENOSPC", "ENOSPC"),
}


class Refused(Exception):
    """An errno by name."""


class Stop(Exception):
    """What an evictor raises."""


class Naive:
    """zbud without bytes.  A tenant is (number of its allocation, chunks), a page two slots with a tenant or None."""

    def __init__(self, version: str, take_page: Callable[[set[int]], int | None]) -> None:
        self.version, self.take_page = version, take_page
        self.capacity, self.header, self.largest, self.too_big, self.negative = TABLE[version]
        self.pages: dict[int, dict[str, tuple[int, int] | None]] = {}
        self.unbuddied: dict[int, list[int]] = {i: [] for i in range(65)}
        self.buddied: list[int] = []
        self.lru: list[int] = []
        self.reclaiming: set[int] = set()
        self.count = 0
        self.evict: Callable[[int], int] = lambda k: -16

    def gap(self, page: int) -> int:
        return self.capacity - sum(tenant[1] for tenant in self.pages[page].values() if tenant)

    def off_lists(self, page: int) -> None:
        for pages in [*self.unbuddied.values(), self.buddied]:
            if page in pages:
                pages.remove(page)

    def onto_list(self, page: int) -> None:
        both = all(self.pages[page].values())
        (self.buddied if both else self.unbuddied[self.gap(page)]).insert(0, page)

    def find(self, chunks: int) -> int | None:
        if self.version == "v11" and self.lru:
            newest = self.lru[0]
            if not all(self.pages[newest].values()) and self.gap(newest) >= chunks:
                return newest
        for gap in range(chunks, 65):
            if self.unbuddied[gap]:
                return self.unbuddied[gap][0]
        return None

    def alloc(self, size: int, highmem: bool = False) -> tuple[int, int, str, int]:
        if size == 0 or highmem:
            raise Refused("EINVAL")
        if size < 0:
            raise Refused(self.negative)
        if size > self.largest:
            raise Refused(self.too_big)
        chunks = -(-size // 64)
        page = self.find(chunks)
        if page is None:
            page = self.take_page(set(self.pages))
            if page is None:
                raise Refused("ENOMEM")
            self.pages[page] = {"FIRST": None, "LAST": None}
        slot = "LAST" if self.pages[page]["FIRST"] else "FIRST"
        k, self.count = self.count, self.count + 1
        self.pages[page][slot] = (k, chunks)
        self.off_lists(page)
        self.onto_list(page)
        if page in self.lru:
            self.lru.remove(page)
        self.lru.insert(0, page)
        return k, page, slot, self.header if slot == "FIRST" else 4096 - 64 * chunks

    def where(self, k: int) -> tuple[int, str]:
        return next(
            (p, s) for p, slots in self.pages.items() for s, tenant in slots.items() if tenant and tenant[0] == k
        )

    def live(self) -> list[int]:
        return sorted(tenant[0] for slots in self.pages.values() for tenant in slots.values() if tenant)

    def together(self, k: int) -> list[int]:
        """The tenants of the page of `k`, FIRST first."""
        return [tenant[0] for tenant in self.pages[self.where(k)[0]].values() if tenant]

    def free(self, k: int) -> None:
        page, slot = self.where(k)
        self.pages[page][slot] = None
        if page in self.reclaiming:
            return
        self.off_lists(page)
        if any(self.pages[page].values()):
            self.onto_list(page)
        else:
            self.lru.remove(page)
            del self.pages[page]

    def reclaim(self, retries: int) -> None:
        if not self.lru or retries == 0:
            raise Refused("EINVAL")
        for _ in range(retries):
            page = self.lru.pop()
            self.off_lists(page)
            self.reclaiming.add(page)
            offers = [tenant[0] for tenant in self.pages[page].values() if tenant]
            trouble = None
            try:
                for k in offers:
                    if self.evict(k):
                        break
            except Stop as stop:
                trouble = stop
            self.reclaiming.remove(page)
            empty = not any(self.pages[page].values())
            if empty:
                del self.pages[page]
            else:
                self.onto_list(page)
                self.lru.insert(0, page)
            if trouble:
                raise trouble
            if empty:
                return
        raise Refused("EAGAIN")

    def shrink(self, pages: int) -> int:
        done = 0
        while done < pages:
            try:
                self.reclaim(8)
            except Refused as why:
                raise Refused(f"{why} after {done}") from None
            done += 1
        if pages == 0:
            raise Refused("EINVAL after 0")
        return done

    def state(self) -> dict[str, Any]:
        return {
            "unbuddied": {str(i): pages for i, pages in self.unbuddied.items() if pages},
            "buddied": self.buddied,
            "lru": self.lru,
            "pages": {
                str(p): [tenant[1] if tenant else 0 for tenant in slots.values()]
                for p, slots in sorted(self.pages.items())
            },
            "pages_nr": len(self.pages),
        }


class Real:
    """A ZbudPool behind the same methods.  Every zpage is filled when it comes, and remembered."""

    def __init__(self, version: str, pages: int, allocator: str) -> None:
        if allocator == "arena":
            self.pool = ZbudPool(version, pages, self._evict)
        else:
            m = Memmap(pages, ram=[range(pages), range(1000, 1002)])
            kernel = KernelPages(m, zone=m.frame(1000), pcp=m.frame(1000) + 0x800, batch=2, high=4)
            self.pool = ZbudPool(version, kernel, self._evict, address=m.frame(1001))
        self.given: list[int | None] = []  # the pages that the allocator gave
        self.handles: dict[int, Handle] = {}
        self.dead: list[Handle] = []
        self.content: dict[int, bytes] = {}
        self.evict: Callable[[int], int] = lambda k: -16
        self.take, self.pool.pages.alloc_page = self.pool.pages.alloc_page, self._note  # type: ignore[method-assign]

    def _note(self, owner: str = "kernel") -> int:
        self.given.append(None)
        self.given[-1] = pfn = self.take(owner)
        return pfn

    def _evict(self, pool: ZbudPool, handle: Handle) -> int:
        assert pool is self.pool
        return self.evict(handle.allocation)

    def alloc(self, size: int, highmem: bool = False) -> tuple[int, int, str, int]:
        try:
            planned = None if highmem else self.pool.plan(size)
            handle = self.pool.alloc(size, highmem=highmem)
        except ZbudError as error:
            raise Refused(error.name) from None
        assert planned in ((handle.pfn, handle.slot), (None, "FIRST"))
        assert planned != (None, "FIRST") or self.given, "a new page was planned, and one was taken"
        k = handle.allocation
        self.handles[k] = handle
        self.content[k] = Random(k).randbytes(len(self.pool.map(handle)))
        self.pool.map(handle)[:] = self.content[k]
        return k, handle.pfn, handle.slot, handle.offset

    def live(self) -> list[int]:
        return sorted(self.handles)

    def together(self, k: int) -> list[int]:
        pfn = self.handles[k].pfn
        return sorted((j for j, h in self.handles.items() if h.pfn == pfn), key=lambda j: self.handles[j].slot)

    def free(self, k: int) -> None:
        self.dead.append(self.handles.pop(k))
        del self.content[k]
        self.pool.free(self.dead[-1])

    def reclaim(self, retries: int) -> None:
        try:
            self.pool.reclaim(retries)
        except ZbudError as error:
            raise Refused(error.name) from None

    def shrink(self, pages: int) -> int:
        try:
            return self.pool.shrink(pages)
        except ZbudError as error:
            raise Refused(f"{error.name} after {error.reclaimed}") from None


ACTIONS = ["free", "refuse", "lie", "free and refuse", "both", "swap", "nested", "stop", "free and stop"]


def evictor(world: Naive | Real, script: list[str], log: list[tuple[int, str]]) -> Callable[[int], int]:
    """An evict callback for either world, that follows the script and then refuses."""
    left = list(script)

    def evict(k: int) -> int:
        action = left.pop(0) if left else "refuse"
        log.append((k, action))
        if k not in world.live():  # its neighbour's callback freed it
            return 0
        if action == "nested":
            try:
                world.reclaim(1)
            except Refused as why:
                log.append((k, str(why)))
        if action == "both":
            for j in world.together(k):
                world.free(j)
        elif action not in ("refuse", "lie", "stop") and k in world.live():
            world.free(k)
        if action == "swap":
            try:
                log.append(world.alloc(700 * (k % 5 + 1))[:2])
            except Refused as why:
                log.append((k, str(why)))
        if "stop" in action:
            raise Stop
        return -16 if "refuse" in action else 0

    return evict


class Both:
    """The two worlds, held together."""

    def __init__(self, version: str, pages: int, allocator: str = "arena") -> None:
        self.all = set(range(pages))
        self.allocator = allocator
        self.real = Real(version, pages, allocator)
        self.naive = Naive(version, self.take)

    def take(self, used: set[int]) -> int | None:
        """The naive arena takes the lowest page not in use; what KernelPages chose is believed, if it was free."""
        if self.allocator == "arena":
            return min(self.all - used, default=None)
        pfn = self.real.given.pop(0)
        assert pfn not in used and (pfn is None) == (used == self.all)
        return pfn

    def do(self, what: str, *arguments: Any, script: list[str] | None = None) -> Any:
        """Do it in both worlds; both must answer, or refuse, alike."""
        outcomes = []
        self.real.given.clear()
        for world in (self.real, self.naive):
            log: list[tuple[int, str]] = []
            world.evict = evictor(world, script or [], log)
            try:
                outcome = getattr(world, what)(*arguments)
            except (Refused, Stop) as why:
                outcome = repr(why)
            outcomes.append((outcome, log))
        assert outcomes[0] == outcomes[1]
        return outcomes[0][0]

    def check(self) -> None:
        pool = self.real.pool
        pool.check()
        pool.pages.check()
        assert pool.state() == self.naive.state()
        assert self.real.live() == self.naive.live()
        assert pool.pages.free_pfns() == self.all - set(self.naive.pages)  # type: ignore[attr-defined]
        assert len(self.real.handles) >= pool.pages_nr, "density is at least 1 at rest"
        for k, handle in self.real.handles.items():
            assert pool.map(handle) == self.real.content[k], f"{handle!r} lost what was written to it"


SIZES = st.integers(1, 4200) | st.integers(1, 700) | st.integers(1, 65).map(lambda n: 64 * n) | st.integers(1900, 2200)

SCRIPTS = st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=8)


class ZbudMachine(RuleBasedStateMachine):
    version = allocator = ""

    @initialize(pages=st.sampled_from([6, 9, 3, 1]), sizes=st.lists(SIZES, max_size=8))
    def start(self, pages: int, sizes: list[int]) -> None:
        self.both = Both(self.version, pages, self.allocator)
        self.alloc(sizes)

    @rule(sizes=st.lists(SIZES, min_size=1, max_size=5))
    def alloc(self, sizes: list[int]) -> None:
        for size in sizes:
            self.both.do("alloc", size)
            self.both.check()

    @rule(size=st.sampled_from([0, -1, -64, 1, 3968, 3969, 4032, 4033, 4096, 4097, 1 << 40]), highmem=st.booleans())
    def alloc_at_the_edges(self, size: int, highmem: bool) -> None:
        self.both.do("alloc", size, highmem)

    @precondition(lambda self: self.both.real.handles)
    @rule(picks=st.lists(st.integers(0, 99), min_size=1, max_size=4))
    def free(self, picks: list[int]) -> None:
        for pick in picks:
            if live := self.both.real.live():
                self.both.do("free", live[pick % len(live)])
                self.both.check()

    @precondition(lambda self: self.both.real.dead)
    @rule(data=st.data())
    def free_again(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(self.both.real.dead))
        with pytest.raises(StaleHandle):
            self.both.real.pool.free(handle)

    @precondition(lambda self: self.both.real.handles)
    @rule(retries=st.integers(0, 6), script=SCRIPTS)
    def reclaim(self, retries: int, script: list[str]) -> None:
        self.both.do("reclaim", retries, script=script)

    @rule(pages=st.integers(0, 3), script=SCRIPTS)
    def shrink(self, pages: int, script: list[str]) -> None:
        self.both.do("shrink", pages, script=script)

    @precondition(lambda self: self.both.real.handles)
    @rule(data=st.data(), text=st.binary(min_size=1, max_size=20))
    def write(self, data: st.DataObject, text: bytes) -> None:
        real = self.both.real
        k = data.draw(st.sampled_from(real.live()))
        view = real.pool.map(real.handles[k])
        at = data.draw(st.sampled_from([0, len(view) // 2, len(view) - len(text)]))
        view[at : at + len(text)] = text
        old = real.content[k]
        real.content[k] = old[:at] + text + old[at + len(text) :]

    @invariant()
    def agree(self) -> None:
        self.both.check()


def machine(version: str, allocator: str, examples: int) -> Any:
    facts = {"version": version, "allocator": allocator}
    case: Any = type(f"{version} on {allocator}", (ZbudMachine,), facts).TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=40)
    return pytest.mark.slow(case)


TestV11 = machine("v11", "arena", 50)
TestV12 = machine("v12", "arena", 50)
TestLinux311Rc1 = machine("linux-3.11-rc1", "arena", 50)
TestLinux311 = machine("linux-3.11", "arena", 50)
TestLinux514 = machine("linux-5.14", "arena", 50)
TestV12OnKernelPages = machine("v12", "kernel", 30)
TestLinux311OnKernelPages = machine("linux-3.11", "kernel", 30)


@pytest.mark.slow
@pytest.mark.parametrize("allocator", ["arena", "kernel"])
@pytest.mark.parametrize("version", TABLE)
def test_a_long_life(version: str, allocator: str) -> None:
    """A thousand seeded operations on a larger pool: it grows, churns, is reclaimed and drained to nothing."""
    random = Random(f"{version} {allocator}")
    both = Both(version, 24, allocator)
    for step in range(1000):
        live = both.real.live()
        wanted = 30 if step < 800 else 0
        if random.random() < (0.75 if len(live) < wanted else 0.25):
            both.do("alloc", int(random.choice([random.uniform(1, 4100), random.lognormvariate(7.2, 0.5)])))
        elif live and random.random() < 0.8:
            both.do("free", random.choice(live))
        elif random.random() < 0.7:
            both.do("reclaim", random.randrange(1, 8), script=random.choices(ACTIONS, k=8))
        else:
            both.do("shrink", random.randrange(4), script=random.choices(ACTIONS, k=8))
        both.check()
    for k in both.real.live():
        both.do("free", k)
        both.check()
    assert both.real.pool.pages_nr == 0 and isinstance(both.real.pool.pages, Arena | KernelPages)
