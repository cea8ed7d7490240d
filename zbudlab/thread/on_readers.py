"""The claims about readers of the memmap, each as a predicate that runs the model.

What a predicate takes for granted is a parameter (a scheme, a list of readers, a tag): change it, and see whether the
verdict stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from ..demonstrate import READERS, Reader, Verdict
from ..demonstrate.judge import SLUBS, WORDS, Scene, verdicts
from ..demonstrate.readers import TAKES
from ..dress import dress
from ..peekers import Visit
from ..rows import count
from ..schemes import Scheme
from ..struct_page import PG, STRUCT_PAGE, PageHWPoison
from ..versions import ERRNO
from .finding import Finding, listed

FIELDS = ("mapping", "index", "_mapcount", "lru.next", "lru.prev", "private", "padding")
ELSEWHERE = 0xFFFF880000002000  # the address of a page's bytes: an even pointer that leads somewhere


def hurt(scheme: Scheme | str, *words: str) -> dict[str, Verdict]:
    """The readers that go wrong on a scheme's pages (as badly as one of `words`) and not on any kernel page alike."""
    row = verdicts(scheme)
    return {name: v for name, v in row.items() if v.word != "ok" and not v.anyone and (v.word in words or not words)}


def named(scheme: Scheme | str) -> str:
    return scheme if isinstance(scheme, str) else scheme.name


def finished(visit: Visit) -> Visit:
    """The visit, taken to its end."""
    for _ in visit:
        pass
    return visit


def pool_pages(scheme: Scheme | str) -> tuple[Scene, list[int]]:
    """A small machine with a pool of a scheme, and the pool's pages."""
    scene = Scene(scheme)
    return scene, sorted(scene.pool.mine)


# ---------------------------------------------------------------------- 1, 2: memory_failure and its like


def readers_misread_an_overlay(scheme: Scheme | str = "overlay-v12") -> Finding:
    """Code that goes through the memmap by itself, memory_failure for one, goes wrong on zbud's pages."""
    wrong = hurt(scheme)
    words = {v.word for v in wrong.values()}
    cases = {"memory_failure": "memory_failure" in wrong, "others": bool(wrong.keys() - {"memory_failure"})}
    kinds = [
        f"{word}: {listed(r for r, v in wrong.items() if v.word == word)}" for word in reversed(WORDS) if word in words
    ]
    said = f"{named(scheme)}: {len(wrong)} of {len(READERS)} readers go wrong where a plain kernel page is safe"
    return Finding(cases, f"{said}{' (' + '; '.join(kinds) + ')' if kinds else ''}.")


def treated_as_slab_pages_are(scheme: Scheme | str = "overlay-v12") -> Finding:
    """memory_failure does with zbud's pages what it does with a slab page in use: -EBUSY, and the owner goes on."""
    scene, pages = pool_pages(scheme)
    dress(scene.pool.memmap, scene.plain, "slab")
    scene.keep()
    slab = watched(scene, scene.plain, SLUBS)
    pieces = scene.pool.scheme.pieces() if scene.pool.scheme.home == "record" else {}
    visits = [watched(scene, pfn, pieces) for pfn in pages]
    moved = {name: by for visit in visits for name, by in visit.moved.items()}
    then = listed(f"{name} moves by {by:#x}" for name, by in moved.items()) if moved else "nothing of zbud's moves"
    answers = {visit.returned for visit in visits}
    return Finding(
        {"the same answer": answers == {slab.returned}, "the owner's data left alone": not moved and not slab.moved},
        f"memory_failure returns {listed(sorted(answers))} for {count(len(pages), 'page')} of {named(scheme)} and "
        f"{slab.returned} for a slab page. Between taking its reference and dropping it, {then}; PG_hwpoison stays on "
        f"{sum(visit.poisoned for visit in visits)} of them, and on {int(slab.poisoned)} of 1 slab page.",
    )


class Watched(NamedTuple):
    """What memory_failure returned, by how much the owner's data moved meanwhile, and whether PG_hwpoison stayed."""

    returned: str
    moved: dict[str, int]
    poisoned: bool


def watched(scene: Scene, pfn: int, pieces: Mapping[str, tuple[int, int]]) -> Watched:
    """memory_failure at a page whose record holds its owner's `pieces` (offset, size); then all is put back."""
    visit, before, moved = READERS["memory_failure"].visit(scene.machine, pfn), scene.before(pfn), dict[str, int]()
    p = scene.pool.memmap.page(pfn)
    for _ in visit:
        for name, (offset, size) in pieces.items():
            old, new = (int.from_bytes(raw[offset : offset + size], "little") for raw in (before, p.raw))
            if old != new:
                moved[name] = new - old
    names = {-number: f"-{name}" for name, number in ERRNO.items()}
    seen = Watched(names.get(visit.value, str(visit.value)), moved, bool(PageHWPoison(p)))
    scene.back()
    return seen


# ---------------------------------------------------------------------- 3: which fields matter


def nothing_else_matters(intact: Sequence[str] = ("flags", "_count")) -> Finding:
    """If these fields of a page in use stay as they are, no reader cares for what is in the others."""
    matters = {name: readers for name in FIELDS if name not in intact and (readers := who_minds(name))}
    said = [f"{name} ({listed(readers)})" for name, readers in matters.items()]
    others = [name for name in FIELDS if name not in intact]
    return Finding(
        {f"{listed(intact)} and nothing else": not matters},
        f"With {listed(intact)} kept, another value makes a difference to readers in {len(matters)} of {len(others)} "
        f"other fields: {listed(said)}. It makes none in {listed(name for name in others if name not in matters)}.",
    )


@cache
def who_minds(field: str) -> tuple[str, ...]:
    """The readers to whom something else in a field of an ordinary kernel page makes a difference."""
    small = (0, 1, 3, 7, -127, -128) if STRUCT_PAGE[field].signed else (0, 1, 3, 9 | 19 << 16, ELSEWHERE)
    scene = Scene("inline-header")
    p = scene.pool.memmap.page(scene.plain)

    def outcome(reader: Reader, value: int) -> Any:
        p[field] = value
        visit = finished(reader.visit(scene.machine, scene.plain))
        bad = tuple(scene.pages.bad_pages)
        scene.back()
        return visit.value, str(visit.oops or visit.stuck or ""), [names for _, names in bad]

    usual = p[field]
    return tuple(r.name for r in READERS.values() if any(outcome(r, v) != outcome(r, usual) for v in small))


# ---------------------------------------------------------------------- 9, 10, 11: slab's functions, and the count


class SlabCall(NamedTuple):
    """A call into slab by a reader at a page: which function, what it was given, whether the page stayed as it was."""

    reader: str
    function: str
    given: tuple[Any, ...]
    unharmed: bool

    def __str__(self) -> str:
        return f"{self.function} by {self.reader}"


def slab_calls(scheme: Scheme | str, readers: Sequence[Reader]) -> Iterator[SlabCall]:
    """All that the readers make at the pages of a scheme."""
    scene, pages = pool_pages(scheme)
    for reader in readers:
        for pfn in pages:
            visit = finished(reader.visit(scene.machine, pfn))
            same = scene.pool.memmap.page(pfn).raw == scene.before(pfn)
            scene.back()
            for name, *given in visit.events:
                if "slab" in name or name.startswith(("kmem_cache", "kfree", "ksize")):
                    yield SlabCall(reader.name, name, tuple(given), same)


def no_reader_hands_the_page_to_slab(
    scheme: Scheme | str = "slab-flag", readers: Sequence[Reader] = tuple(READERS.values())
) -> Finding:
    """No reader calls a function of slab's on the page; shrink_slab, which takes no page, is the worst."""
    calls = list(slab_calls(scheme, readers))
    given = [call for call in calls if call.given]
    worst = {call.function for call in calls} <= {"shrink_slab"}
    return Finding(
        {"the page is given to none": not given, "shrink_slab is the worst": worst},
        f"{len(readers)} readers at pages of {named(scheme)} call into slab {count(len(calls), 'time')} "
        f"({listed(sorted(set(map(str, calls))))}), and give it a page {count(len(given), 'time')}.",
    )


def shrink_slab_fails_properly(
    scheme: Scheme | str = "slab-flag", readers: Sequence[Reader] = tuple(READERS.values())
) -> Finding:
    """A call into slab that is given a page which is none of slab's leaves that page as it was."""
    calls = list(slab_calls(scheme, readers))
    given = [call for call in calls if call.given]
    return Finding(
        {str(call): call.unharmed for call in given},
        f"Of {count(len(calls), 'call')} ({listed(sorted(set(map(str, calls))))}) {len(given)} had a page to work on: "
        f"{len(calls) - len(given)} could neither fail nor succeed with it.",
    )


def a_positive_count_keeps_readers_off(readers: Sequence[str] = tuple(READERS)) -> Finding:
    """Because _count is positive, a reader leaves a page as it found it."""
    takers = [name for name in readers if READERS[name].does == TAKES]
    lookers = [name for name in readers if name not in takers]
    cases = {name: depends_on_count(name) and leaves_as_found(name) for name in takers}
    asking = [name for name in lookers if depends_on_count(name)]
    if lookers:
        cases["those that only look"] = len(asking) == len(lookers)
    left = [name for name in takers if leaves_as_found(name)]
    return Finding(
        cases,
        f"Of {len(takers)} readers that take references, {listed(left)} give back what they took, and "
        f"{listed(name for name in takers if name not in left)} do not. Of {len(lookers)} that only look, "
        f"{len(asking)} answer otherwise at _count 0 than at 1 ({listed(asking)}).",
    )


def depends_on_count(reader: str) -> bool:
    """Whether a reader comes to another conclusion about an ordinary kernel page if its _count is 0."""
    return len({ending for _, ending in (ended(reader, n) for n in (0, 1))}) > 1


def leaves_as_found(reader: str) -> bool:
    """Whether a page with a positive _count is afterwards as before, but for flags that the reader may leave."""
    return ended(reader, 1)[0]


@cache
def ended(reader: str, references: int) -> tuple[bool, str]:
    scene = Scene("inline-header")
    p = scene.pool.memmap.page(scene.plain)
    p["_count"] = references
    before = p.raw
    visit = finished(READERS[reader].visit(scene.machine, scene.plain))
    ours = scene.plain in scene.pool.memmap.owner
    p["flags"] &= ~sum(1 << PG[name] for name in READERS[reader].leaves)
    return ours and p.raw == before, f"{visit.value} {visit.words} {visit.oops} {visit.stuck}"
