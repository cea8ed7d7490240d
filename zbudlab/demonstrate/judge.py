"""One scheme before one reader: what happens, to what, and how bad that is.

Nothing here is typed in.  The reader is sent to every page of a small pool, in every state that the pool can be in;
what it returned is held to its honest answer, and every byte that it left changed is asked whose it was.  Where it
holds something for a moment, zbud goes on meanwhile, in all the ways there are, and the pool is drained afterwards:
that finds the races.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

from ..changes import SLUBS as SLUBS
from ..changes import Change, by_piece, pieces_of_header, pieces_of_record
from ..memmap import DIRECT_MAP, KernelOops
from ..peekers.machine import Machine, Stuck
from ..peekers.rules import Visit
from ..schemes import FLAGS, NEW_FLAG, SCHEMES, Scheme
from ..struct_page import PG, RECORD, STRUCT_PAGE
from ..timeline import Timeline
from ..versions import Handle, ZbudError
from ..zbud import ZbudPool
from .readers import READERS, REPORTS, Reader

WORDS = ("ok", "misreport", "wrong", "corrupt", "crash")  # from bad to worse
# Two places for the pool structure: physical addresses without and with bit 29, which one reader happens to look at.
PLACES = (0x1B2C3800, 0x3B2C3800)
SIZES = ((9, 19), (12, 30), (0, 52), (51, 0), (11, 20), (10, 0))  # first and last chunks: odd, even, 3 modulo 4


@dataclass(frozen=True)
class Verdict:
    """How bad it is (one of WORDS), and why.  `race`: it takes zbud at work in a window; `luck`: an unlucky address;
    `anyone`: the same befalls a plain kernel page.  `reads` are the fields of the page's record that were read."""

    word: str
    why: str
    race: bool = False
    luck: bool = False
    anyone: bool = False
    reads: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """How bad: what needs no race and no luck is worse than what does."""
        return WORDS.index(self.word) * 4 + (not self.race) * 2 + (not self.luck)

    def __str__(self) -> str:
        marks = [name for name in ("race", "luck", "anyone") if getattr(self, name)]
        return f"{self.word}{' (' + ', '.join(marks) + ')' if marks else ''}: {self.why}"


class Scene:
    """A small machine with a pool of a scheme on it, put back as it was after each try.

    `place` is the physical address of the pool structure, `tenants` are the chunk counts to begin with.  `plain` is an
    ordinary kernel page.  `timeline` tells how the other pages came to be what they are; what is done to the pool
    itself is no event of it.
    """

    def __init__(
        self, scheme: Scheme | str, place: int = PLACES[0], tenants: Sequence[tuple[int, int]] = SIZES, pages: int = 24
    ) -> None:
        self.timeline = Timeline("v12", pages - 1, scheme=scheme, allocator="kernel", address=DIRECT_MAP + place)
        self.pool, self.pages = self.timeline.pool, self.timeline.pool.pages
        self.machine = Machine.of(self.pages)
        self.plain = [self.timeline.dress("kernel") for _ in range(4)][-1]  # so that zbud's are not the last pages
        for first, last in tenants:
            self.fill(first, last)
        self.keep()

    def fill(self, first: int, last: int) -> None:
        """A page with these tenants, whatever else is in the pool."""
        pool = self.pool
        stop = pool.alloc(64 * (pool.capacity - last)) if not first else pool.alloc(64 * first)
        if last:
            pool.alloc(64 * last)
        if not first:
            pool.free(stop)

    def keep(self) -> None:
        """What is now is what `back` goes back to, and what changes are measured against."""
        self.machine.log.clear()
        self.saved = self.pool.save()
        self.raw: bytes = self.saved[0].records

    def back(self) -> None:
        self.pool.restore(self.saved)

    def before(self, pfn: int) -> bytes:
        """The record of a page as it was."""
        at = RECORD * (pfn - self.pool.memmap.pfns[0])
        return self.raw[at : at + RECORD]


def changes(scene: Scene) -> list[Change]:
    """What is not as it was, in the pool's records (and, where the scheme puts data there, in its frames)."""
    memmap, scheme = scene.pool.memmap, scene.pool.scheme
    found: list[Change] = []
    if scheme.home == "record" and memmap.raw == scene.raw:
        return found
    for pfn in sorted(scene.pool.mine):
        if header := pieces_of_header(scheme):
            then, now = scene.saved[0].frames.get(pfn, bytes(RECORD))[:RECORD], bytes(memmap.frame_bytes(pfn)[:RECORD])
            found += by_piece(header, memmap.frame(pfn), pfn, then, now)
        then, now = scene.before(pfn), memmap.page(pfn).raw
        if then != now:
            found += by_piece(pieces_of_record(scheme), memmap.record(pfn), pfn, then, now)
    return found


def read(record: bytes, name: str) -> int:
    """A field of struct page, from the bytes of a record."""
    f = STRUCT_PAGE[name]
    return int.from_bytes(record[f.offset : f.offset + f.size], "little", signed=f.signed)


def judged(scene: Scene, reader: Reader, pfn: int, visit: Visit, *, evicting: bool = False) -> Verdict:
    """What came of a finished visit to one page of the pool."""
    reads = tuple(dict.fromkeys(name for at, name, _ in visit.seen if at == visit.page.address and name))
    if visit.oops is not None or visit.stuck is not None:
        return Verdict("crash", str(visit.oops or visit.stuck), reads=reads)
    if pfn not in scene.pool.memmap.owner:
        return Verdict("corrupt", f"p{pfn} is freed while zbud uses it", reads=reads)
    changed = changes(scene)
    for change in changed:
        if change.zbuds:
            return Verdict("corrupt", str(change), reads=reads)
    wrong = _left_behind(scene, reader, pfn, changed)
    if wrong:
        return Verdict("wrong", wrong, reads=reads)
    genuine = scene.pool.scheme.slab and reader.slab is not None
    honest = (reader.slab if genuine else reader.honest, *(reader.evicting if evicting else ()))
    if visit.value not in honest:
        said = reader.show(visit.value)
        if read(scene.before(pfn), "flags") >> PG["hwpoison"] & 1:
            return Verdict("ok", f"says {said}: the page is poisoned, and only damage is judged", reads=reads)
        word = "misreport" if reader.does == REPORTS else "wrong"
        return Verdict(word, f"says {said}, {visit.words}; honest: {reader.show(honest[0])}", reads=reads)
    return Verdict("ok", visit.words or reader.words, reads=reads)


def _left_behind(scene: Scene, reader: Reader, pfn: int, changed: list[Change]) -> str:
    """What a reader left on a page that it should not have, in words; empty if nothing."""
    bad = scene.pages.bad_pages[len(scene.saved[1][1]) :]
    if bad:
        return f"bad page ({', '.join(bad[0][1])}): p{bad[0][0]} is lost"
    p, before = scene.pool.memmap.page(pfn), scene.before(pfn)
    if p.raw == before:
        return next((str(change) for change in changed), "")
    count, flags = read(before, "_count"), read(before, "flags")
    if p["_count"] != count and not scene.pool.scheme.overlays(28, 4):
        gone = "never freed" if p["_count"] > count else "its owner's reference is gone"
        return f"_count goes from {count} to {p['_count']}: {gone}"
    stray = (p["flags"] ^ flags) & ~sum(1 << PG[name] for name in reader.leaves)
    if stray:
        return f"flags left changed: {', '.join(name for name, bit in FLAGS.items() if stray >> bit & 1)}"
    others = [change for change in changed if change.what != "flags"]
    return str(others[0]) if others else ""


# ---------------------------------------------------------------------- the states, and what zbud can do meanwhile


def at_rest(scene: Scene, reader: Reader) -> Iterator[Verdict]:
    """The reader at each page of the pool."""
    for pfn in sorted(scene.pool.mine):
        visit = reader.visit(scene.machine, pfn)
        for _ in visit:
            pass
        yield judged(scene, reader, pfn, visit)
        scene.back()


def while_evicting(scene: Scene, reader: Reader) -> Iterator[Verdict]:
    """The reader at a page under reclaim, from inside the evict callback."""
    seen: list[Verdict] = []

    def evict(pool: ZbudPool, handle: Handle) -> int:
        scene.keep()
        visit = reader.visit(scene.machine, handle.pfn)
        for _ in visit:
            pass
        seen.append(judged(scene, reader, handle.pfn, visit, evicting=True))
        raise Done

    scene.pool.evict = evict
    saved, raw = scene.saved, scene.raw
    try:
        scene.pool.reclaim(1)
    except (Done, KernelOops):
        pass
    finally:
        scene.saved, scene.raw, scene.pool.evict = saved, raw, None
        scene.back()
    yield from seen


class Done(Exception):
    """Out of a callback."""


def in_the_window(scene: Scene, reader: Reader, pfns: Iterable[int] | None = None) -> Iterator[Verdict]:
    """While the reader holds zbud's data changed, zbud does one thing; then both go on, and the pool is drained.

    `pfns` are the pages that the reader goes to, by default all of the pool's.
    """
    for pfn in sorted(scene.pool.mine) if pfns is None else pfns:
        for deed, act in deeds(scene):
            visit = reader.visit(scene.machine, pfn)
            verdict, acted = None, False
            for _ in visit:
                if not acted and any(change.zbuds for change in changes(scene)):
                    acted = True
                    verdict = outcome(act, f"{deed} in the window")
                    if verdict:
                        break
            if acted:
                verdict = verdict or _after(scene, visit, deed)
                if verdict:
                    yield verdict
            scene.back()
            if not acted:
                break  # it changes nothing of zbud's here, not even for a moment


def _after(scene: Scene, visit: Visit, deed: str) -> Verdict | None:
    if visit.oops is not None or visit.stuck is not None:
        return Verdict("crash", f"{deed} in the window; then {visit.oops or visit.stuck}", race=True)
    return outcome(lambda: drain(scene.pool), f"{deed} in the window; later, as the pool is drained")


def outcome(act: Callable[[], Any], when: str) -> Verdict | None:
    """What zbud runs into while it does something; None if nothing."""
    try:
        act()
    except KernelOops as oops:
        return Verdict("crash", f"{when}: {oops}", race=True)
    except (Stuck, RuntimeError) as error:
        return Verdict("crash", f"{when}: {error}", race=True)
    except ZbudError:
        return None
    return None


def deeds(scene: Scene) -> Iterator[tuple[str, Callable[[], None]]]:
    """What zbud can be doing meanwhile: free any of its tenants, or take one more."""
    for handle in list(scene.pool.tenants.values()):
        yield f"free p{handle.pfn} {handle.slot}", lambda handle=handle: scene.pool.free(handle)  # type: ignore[misc]
    yield "alloc", lambda: scene.pool.alloc(64) and None  # type: ignore[misc]


def drain(pool: ZbudPool) -> None:
    for handle in list(pool.tenants.values()):
        pool.free(handle)


def judge(scheme: Scheme | str, reader: str, *, races: bool = True) -> Verdict:
    """The worst that a reader of READERS does to a scheme's pages, or makes of them."""
    scheme = SCHEMES[scheme] if isinstance(scheme, str) else scheme
    by_place = [worst_in(Scene(scheme, place), READERS[reader], races) for place in PLACES]
    worst = max(by_place, key=lambda verdict: verdict.rank)
    worst = replace(worst, luck=len({verdict.word for verdict in by_place}) > 1)
    return worst if worst.word == "ok" else replace(worst, anyone=anyone(READERS[reader], worst))


@cache
def verdicts(scheme: Scheme | str) -> Mapping[str, Verdict]:
    """A scheme before each reader of READERS, races included: its row of the matrix, computed once."""
    return MappingProxyType({name: judge(scheme, name) for name in READERS})


def worst_in(scene: Scene, reader: Reader, races: bool) -> Verdict:
    found = [*at_rest(scene, reader), *while_evicting(scene, reader)]
    worst = max(found, key=lambda verdict: verdict.rank)
    if races and worst.word in ("ok", "misreport", "wrong"):
        raced = [v for v in in_the_window(scene, reader) if WORDS.index(v.word) > WORDS.index(worst.word)]
        if raced:
            worst = max(raced, key=lambda verdict: verdict.rank)
    return replace(worst, reads=tuple(dict.fromkeys(name for verdict in found for name in verdict.reads)))


def anyone(reader: Reader, verdict: Verdict) -> bool:
    """Whether the reader does the same, or worse, to a plain kernel page."""
    scene = Scene("inline-header")
    visit = reader.visit(scene.machine, scene.plain)
    for _ in visit:
        pass
    scene.pool.mine.add(scene.plain)  # judged as if it were a page of the pool
    plain = judged(scene, reader, scene.plain, visit)
    return WORDS.index(plain.word) >= WORDS.index(verdict.word)


def demands(scheme: Scheme | str, verdicts: Sequence[Verdict] = ()) -> dict[str, str]:
    """Morton's four demands of 29 May 2013 (source: variant), each with how a scheme meets it.

    Three follow from the scheme's declaration; the third is the worst of `verdicts` that does not befall anyone alike.
    """
    s = SCHEMES[scheme] if isinstance(scheme, str) else scheme
    placed = "yes" if s.by_definition else "no: laid over it by a cast"
    tagged = f"PG_{s.flag}" if s.flag else f"_mapcount {s.mapcount}" if s.mapcount is not None else ""
    own = [verdict for verdict in verdicts if not verdict.anyone]
    return {
        "placed by definition": placed if s.home == "record" else "does not arise: not in struct page",
        "tag decided": tagged
        or ("PG_slab, genuine" if s.slab else "")
        or ("no" if s.home == "record" else "does not arise"),
        "safe against the readers": str(max(own, key=lambda v: v.rank).word) if own else "not asked",
        "no further page flag": "no" if s.flag in NEW_FLAG else "yes",
    }


class Matrix(dict[tuple[str, str], Verdict]):
    """(scheme, reader) to Verdict, before the readers of `kernel`.

    `own` are schemes, by name, that are not among SCHEMES; `does` says what each reader does (takes a reference, ...).
    """

    own: Mapping[str, Scheme] = MappingProxyType({})
    does: Mapping[str, str] = MappingProxyType({name: reader.does for name, reader in READERS.items()})
    kernel = "3.10"
    whole: Matrix | None = None  # where it shows some readers only: before all of them, for the third demand

    @property
    def schemes(self) -> list[str]:
        return list(dict.fromkeys(scheme for scheme, _ in self))

    @property
    def readers(self) -> list[str]:
        return list(dict.fromkeys(reader for _, reader in self))

    def demands(self, scheme: str) -> dict[str, str]:
        """The four demands, with how a scheme meets them before all the readers."""
        declared, whole = self.own.get(scheme, scheme), self.whole or self
        return demands(declared, [whole[scheme, reader] for reader in whole.readers])


def matrix(schemes: Iterable[str | Scheme] = (), readers: Iterable[str] = (), *, races: bool = True) -> Matrix:
    """Schemes (of SCHEMES by name, or your own) before readers, by name; none given: all.  Computed."""
    asked = {s if isinstance(s, str) else s.name: s for s in (list(schemes) or SCHEMES)}
    found = Matrix(
        ((name, reader), judge(scheme, reader, races=races))
        for name, scheme in asked.items()
        for reader in (list(readers) or READERS)
    )
    found.own = {name: scheme for name, scheme in asked.items() if isinstance(scheme, Scheme)}
    return found
