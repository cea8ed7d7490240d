"""Small scope, every way: the shortest trace that breaks a scheme, or what was covered without finding one.

The search goes breadth first through what zbud and a reader can do on a small machine: allocate one of a few sizes,
free, reclaim, send a reader to a page; with `races`, also a few operations of zbud's in the middle of a visit.  A state
is the bytes: two ways to the same bytes are one state.  What is found first is the shortest, and it is a timeline.

What is not found is not proved absent, except within the scope, and the scope is part of the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..memmap import KernelOops
from ..rows import Row, count
from ..schemes import SCHEMES, Scheme
from ..struct_page import PAGE_SIZE
from ..timeline import EVICTORS, Timeline
from ..versions import Handle, ZbudError
from .judge import PLACES, WORDS, Scene, Verdict, changes, judged
from .readers import READERS, Reader

SIZES = (9, 12, 51)  # chunks: odd and even; 9 alone leaves 55 free, 12 and 51 do not fit together everywhere


@dataclass(frozen=True)
class Step:
    """One thing that is done.  `kind` is alloc, free, reclaim, visit or race; `words` say it."""

    kind: str
    what: Any  # chunks; (pfn, slot, allocation); an evictor; (reader, pfn); (reader, pfn, pause, Steps)

    def __str__(self) -> str:
        if self.kind == "alloc":
            return f"alloc {self.what} chunks"
        if self.kind == "free":
            return f"free p{self.what[0]} {self.what[1]}"
        if self.kind == "reclaim":
            return f"reclaim, the evictor {self.what}"
        if self.kind == "visit":
            return f"{self.what[0]} at p{self.what[1]}"
        reader, pfn, pause, meanwhile = self.what
        return f"{reader} at p{pfn}; at pause {pause}, meanwhile: {', then '.join(map(str, meanwhile))}"

    def on(self, timeline: Timeline) -> None:
        """Do it on a timeline, as an event."""
        with suppress(ZbudError, KernelOops):
            if self.kind == "reclaim":
                timeline.evict = EVICTORS[self.what]
                timeline.reclaim(1)
            elif self.kind == "visit":
                timeline.visit(*self.what)
            elif self.kind == "race":
                reader, pfn, pause, meanwhile = self.what
                timeline.race(reader, pfn, pause, [step.row() for step in meanwhile])
            else:
                timeline.perform(self.row())

    def row(self) -> Row:
        """An alloc or a free as a timeline's row, without what comes of it."""
        return ["a", 64 * self.what] if self.kind == "alloc" else ["f", self.what[2]]


@dataclass
class Answer:
    """What the search came to.

    `verdict` is what was found (None: nothing), `steps` the shortest way there, from an empty pool whose structure lies
    at physical address `place`.  The rest says what was covered: states, steps tried, the depth that was completed.
    """

    scheme: Scheme
    readers: tuple[str, ...]
    words: tuple[str, ...]  # the verdicts that were looked for
    sizes: tuple[int, ...]
    depth: int
    races: bool
    others: bool = False
    meanwhile: int = 1  # operations of zbud's inside one visit, at most
    verdict: Verdict | None = None
    steps: tuple[Step, ...] = ()
    place: int = PLACES[0]
    states: int = 0
    tried: int = 0
    completed: int = 0
    seconds: float = 0.0
    stopped: bool = False

    @property
    def found(self) -> bool:
        return self.verdict is not None

    def scope(self) -> str:
        """What was tried, in words."""
        operations = f"alloc of {', '.join(map(str, self.sizes))} chunks, free, reclaim"
        readers = ", ".join(self.readers)
        few = "1 alloc or free" if self.meanwhile == 1 else f"{self.meanwhile} allocs or frees"
        inside = f"with up to {few} of zbud's inside a visit"
        races = f"{inside}, at once, where it has begun to hold zbud's data changed" if self.races else "no races"
        also = "zbud's pages and a slab page of two" if self.others else "zbud's pages"
        places = " and ".join(f"{place:#x}" for place in PLACES)
        covered = f"{self.states:,} states, {self.tried:,} steps, all traces of up to {self.completed} steps"
        return (
            f"{covered}: {operations}; readers: {readers}, at {also}; {races}; one pool, its structure at physical "
            f"{places}; one CPU apart from the races"
        )

    def __str__(self) -> str:
        if self.verdict is None:
            ended = "stopped early; covered" if self.stopped else "nothing found in"
            return f"{self.scheme.name}: {ended} {self.scope()}"
        lines = [
            f"{self.scheme.name}: {self.verdict.word} after {count(len(self.steps), 'step')}, pool at {self.place:#x}"
        ]
        lines += [f"  {i} {step}" for i, step in enumerate(self.steps, 1)]
        lines += [f"  {self.verdict.why}", f"  ({count(self.states, 'state')} searched)"]
        return "\n".join(lines)

    def timeline(self) -> Timeline:
        """What was found as a timeline, at its end: other people's pages are dressed first, then each step is an event.

        If nothing was found, these pages are all there is.
        """
        timeline = ground(self.scheme, self.place, others=self.others)[0].timeline
        for step in self.steps:
            step.on(timeline)
        return timeline

    def replay(self) -> Iterator[tuple[Step, list[str], Verdict | None]]:
        """The steps done again on a fresh machine: each with what it changed, and what came of it."""
        timeline = self.timeline()
        world = World(self.scheme, self.place, self.readers, self.sizes, others=self.others)
        for i, step in enumerate(self.steps, len(timeline.events) - len(self.steps) + 1):
            world.scene.keep()
            verdict = world.do(step)
            yield step, [str(change) for change in timeline.changes(i)], verdict

    def as_json(self) -> dict[str, Any]:
        verdict = None if self.verdict is None else {"word": self.verdict.word, "why": self.verdict.why}
        steps = [str(step) for step in self.steps]
        return {
            "scheme": self.scheme.name, "found": verdict, "steps": steps, "place": f"{self.place:#x}",
            "states": self.states, "depth_completed": self.completed, "scope": self.scope(),
        }  # fmt: skip


def ground(scheme: Scheme, place: int, *, others: bool) -> tuple[Scene, list[int]]:
    """Where a search begins: an empty pool, and the pages that are not zbud's (head and tail of a slab page)."""
    scene = Scene(scheme, place, tenants=(), pages=16)
    first = scene.timeline.dress("compound slab", 1) if others else 0
    scene.keep()
    return scene, [first, first + 1] if others else []


class World:
    """A scene that can be moved about: steps to do, and copies to come back to."""

    def __init__(
        self,
        scheme: Scheme,
        place: int,
        readers: tuple[str, ...],
        sizes: tuple[int, ...] = SIZES,
        *,
        others: bool = False,
    ) -> None:
        self.scene, self.others = ground(scheme, place, others=others)
        self.pool, self.readers, self.sizes = self.scene.pool, [READERS[name] for name in readers], sizes
        self.pool.evict = lambda pool, handle: self.evictor(handle)
        self.evictor: Callable[[Handle], int] = self.accepts
        self.left: list[Step] = []  # what zbud could have done next in the middle of the last race

    def accepts(self, handle: Handle) -> int:
        self.pool.free(handle)
        return 0

    def refuses(self, handle: Handle) -> int:
        return -16

    def key(self) -> bytes:
        """The state: every byte that zbud or a reader may look at."""
        memmap, pool = self.pool.memmap, self.pool
        home = pool.address - memmap.frame(0)
        structure = memmap.frame_bytes(home // PAGE_SIZE)[home % PAGE_SIZE :][: pool.offsets["pages_nr"] + 8]
        key = bytes(memmap.raw) + bytes(structure)
        if pool.scheme.home == "frame":
            key += b"".join(bytes(memmap.frame_bytes(pfn)[:48]) for pfn in sorted(pool.mine))
        return key

    def operations(self) -> Iterator[Step]:
        """What zbud can do now."""
        for chunks in self.sizes:
            if chunks <= self.pool.capacity:
                yield Step("alloc", chunks)
        for handle in self.pool.tenants.values():
            yield Step("free", (handle.pfn, handle.slot, handle.allocation))
        if self.pool.mine:
            yield Step("reclaim", "accepts")
            yield Step("reclaim", "refuses")

    def visits(self) -> Iterator[Step]:
        for reader in self.readers:
            for pfn in (*sorted(self.pool.mine), *self.others):
                yield Step("visit", (reader.name, pfn))

    def races(self) -> Iterator[Step]:
        """Each visit, interrupted wherever zbud's data is changed for a moment, by each alloc and free."""
        for reader in self.readers:
            for pfn in sorted(self.pool.mine):
                for pause in self.pauses(reader, pfn):
                    for meanwhile in self.requests():
                        yield Step("race", (reader.name, pfn, pause, (meanwhile,)))

    def requests(self) -> list[Step]:
        return [step for step in self.operations() if step.kind != "reclaim"]

    def pauses(self, reader: Reader, pfn: int) -> list[int]:
        """The pauses of a visit at which zbud's data is not as it was; the first of each run of them."""
        self.scene.keep()
        found, before = [], False
        for i, _ in enumerate(reader.visit(self.scene.machine, pfn)):
            now = any(change.zbuds for change in changes(self.scene))
            if now and not before:
                found.append(i)
            before = now
        self.scene.back()
        return found

    def do(self, step: Step) -> Verdict | None:
        """Do a step; a verdict if it shows something that is not ok."""
        try:
            if step.kind == "alloc":
                self.pool.alloc(64 * step.what)
            elif step.kind == "free":
                self.pool.free(next(h for h in self.pool.tenants.values() if h.allocation == step.what[2]))
            elif step.kind == "reclaim":
                self.evictor = getattr(self, step.what)
                self.pool.reclaim(1)
            elif step.kind == "visit":
                return self.visit(*step.what)
            else:
                return self.race(*step.what)
        except ZbudError:
            return None
        except (KernelOops, RuntimeError) as oops:
            return Verdict("crash", f"{step}: {oops}")
        return self.lost()

    def lost(self) -> Verdict | None:
        """A page that zbud gave back and the allocator did not take."""
        if len(self.pool.pages.bad_pages) > len(self.scene.saved[1][1]):
            pfn, fields = self.pool.pages.bad_pages[-1]
            return Verdict("wrong", f"p{pfn} is lost: a bad page ({', '.join(fields)})")
        lost = [pfn for pfn, owner in self.pool.memmap.owner.items() if owner == "pinned"]
        return Verdict("wrong", f"p{lost[0]} is lost: still counted when zbud gave it back") if lost else None

    def visit(self, name: str, pfn: int) -> Verdict | None:
        self.scene.keep()
        visit = READERS[name].visit(self.scene.machine, pfn)
        for _ in visit:
            pass
        if pfn in self.others and visit.returned:
            return None  # what is right to say of somebody else's page is not asked here
        verdict = judged(self.scene, READERS[name], pfn, visit)
        return None if verdict.word == "ok" else verdict

    def race(self, name: str, pfn: int, pause: int, meanwhile: tuple[Step, ...]) -> Verdict | None:
        """A visit with operations of zbud's in the middle.  What is wrong afterwards shows in zbud's own lists."""
        visit, self.left = READERS[name].visit(self.scene.machine, pfn), []
        for i, _ in enumerate(visit):
            if i == pause:
                for step in meanwhile:
                    if broken := self.do(step):
                        return Verdict(broken.word, broken.why, race=True)
                self.left = self.requests()
        if visit.oops is not None or visit.stuck is not None:
            return Verdict("crash", str(visit.oops or visit.stuck), race=True)
        try:
            self.pool.check()
        except AssertionError as error:
            if "flags" in str(error).split(":")[0] or "_count is" in str(error) or "_mapcount is" in str(error):
                return None  # the reader's own traces on the page, judged without a race
            return Verdict("corrupt", str(error).split(": page", 1)[0], race=True)
        except KernelOops as oops:
            return Verdict("corrupt", f"a link leads nowhere: {oops}", race=True)
        return None


class State(NamedTuple):
    """A state that was reached, and how."""

    saved: Any
    steps: tuple[Step, ...]


Raced = tuple[State, Step, list[Step]]  # a race tried from a state, and what zbud could have done next in its middle


def demonstrate(
    scheme: Scheme | str,
    peeker: str | None = None,
    *,
    races: bool = False,
    meanwhile: int = 2,
    others: bool = False,
    depth: int = 4,
    words: tuple[str, ...] = WORDS[1:],
    sizes: tuple[int, ...] = SIZES,
    seconds: float = 60.0,
    progress: Callable[[Answer], None] | None = None,
) -> Answer:
    """Search for the shortest trace to one of the verdicts in `words`, by one reader or all, up to `depth` steps.

    With `races`, zbud also does up to `meanwhile` things in the middle of a visit: fewer are tried before more.  With
    `others`, the readers also go to a page that is not zbud's: a slab page of two, head and tail.
    Ctrl-C ends the search; the answer then says what was covered, and so it does after `seconds`.  Raises ValueError
    for an unknown scheme or reader, and for a depth or a number of things below 1.
    """
    if isinstance(scheme, str):
        if scheme not in SCHEMES:
            raise ValueError(f"unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}")
        scheme = SCHEMES[scheme]
    if peeker is not None and peeker not in READERS:
        raise ValueError(f"unknown reader {peeker!r}; known: {', '.join(READERS)}")
    if depth < 1 or meanwhile < 1:
        raise ValueError(
            f"a search of {depth} steps finds nothing; the least is 1"
            if depth < 1
            else f"a race with {meanwhile} operations of zbud's is none; the least is 1"
        )
    readers = (peeker,) if peeker else tuple(READERS)
    answer = Answer(scheme, readers, words, sizes, depth, races, others, meanwhile)
    search = Search(answer, seconds, progress)
    try:
        search.run()
    except KeyboardInterrupt:
        answer.stopped = True
    except Over:
        pass
    answer.seconds = time.monotonic() - search.begun
    return answer


class Over(Exception):
    """A search has ended before its depth was reached: something was found, or the time is up."""


class Search:
    """Two worlds, in which the pool lies at one place and at the other, searched side by side."""

    def __init__(self, answer: Answer, seconds: float, progress: Callable[[Answer], None] | None) -> None:
        self.answer, self.progress = answer, progress or (lambda answer: None)
        self.begun = self.told = time.monotonic()
        self.end = self.begun + seconds
        self.worlds = [
            World(answer.scheme, place, answer.readers, answer.sizes, others=answer.others) for place in PLACES
        ]
        self.known = [{world.key()} for world in self.worlds]

    def run(self) -> None:
        """Go from depth to depth until something is found, or the depth that was asked for is reached."""
        frontiers = [[State(world.pool.save(), ())] for world in self.worlds]
        for _ in range(self.answer.depth):
            reached: list[list[State]] = [[], []]
            raced: list[list[Raced]] = [[], []]
            for i in range(2):
                self.expand(i, frontiers[i], reached[i], raced[i])
            for _ in range(self.answer.meanwhile - 1):
                shorter, raced = raced, [[], []]
                for i in range(2):
                    self.lengthen(i, shorter[i], reached[i], raced[i])
            frontiers = reached
            self.answer.completed += 1
            self.progress(self.answer)

    def expand(self, i: int, frontier: list[State], reached: list[State], raced: list[Raced]) -> None:
        """One step further from every state of a frontier."""
        world = self.worlds[i]
        for state in frontier:
            _restore(world, state.saved)
            for step in [*world.visits(), *(world.races() if self.answer.races else ()), *world.operations()]:
                self.attempt(i, state, step, reached, raced)

    def lengthen(self, i: int, shorter: list[Raced], reached: list[State], raced: list[Raced]) -> None:
        """The races tried last, each with one more thing that zbud does in the middle."""
        for state, step, left in shorter:
            *visit, meanwhile = step.what
            for another in left:
                self.attempt(i, state, Step("race", (*visit, (*meanwhile, another))), reached, raced)

    def attempt(self, i: int, state: State, step: Step, reached: list[State], raced: list[Raced]) -> None:
        """Do a step from a state; what it leads to is what was looked for, or is new, or is passed over."""
        answer, world = self.answer, self.worlds[i]
        _restore(world, state.saved)
        answer.tried += 1
        if not answer.tried & 63:
            self.look_at_the_clock()
        verdict = world.do(step)
        if verdict is not None and verdict.word in answer.words:
            answer.verdict, answer.steps, answer.place = verdict, (*state.steps, step), PLACES[i]
            raise Over
        if verdict is not None and verdict.word == "crash":
            return  # the machine is dead
        if step.kind == "race":
            raced.append((state, step, world.left))
        key = world.key()
        if key not in self.known[i]:
            self.known[i].add(key)
            answer.states += 1
            world.scene.machine.log.clear()
            reached.append(State(world.pool.save(), (*state.steps, step)))

    def look_at_the_clock(self) -> None:
        now = time.monotonic()
        if now > self.end:
            self.answer.stopped = True
            raise Over
        if now > self.told + 0.2:
            self.told = now
            self.progress(self.answer)


def _restore(world: World, saved: Any) -> None:
    world.pool.restore(saved)
    world.scene.saved = saved
    world.scene.raw = saved[0].records
