"""One page, here and now, before all the readers at once: what each would say, read and write, and how bad that is.

Nothing is left of the visits: the pool stands afterwards as it stood before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache

from ..page_alloc import KernelPages
from ..peekers.machine import Machine
from ..peekers.rules import Visit
from ..peekers.tell import ending
from ..realpool import RealPool
from ..struct_page import CHUNK, RECORD
from ..versions import Handle
from ..zbud import ZbudPool
from .judge import WORDS, Scene, Verdict, anyone, drain, in_the_window, judged, outcome
from .readers import READERS, Column, Reader


@dataclass(frozen=True)
class Finding:
    """What came of sending one reader to one page.

    `verdict` is None where the page is not zbud's: what is right to say of somebody else's page is not asked here.
    `reads` and `writes` are the bytes (0 to 63) of the page's own record that were looked at and written on the way;
    `record` is the record as it was before.
    """

    reader: Column
    visit: Visit
    verdict: Verdict | None
    reads: frozenset[int]
    writes: frozenset[int]
    record: bytes
    heard: str = ""

    @property
    def why(self) -> str:
        """What came of it, in a sentence, and what the real kernel said of the page, where that was recorded."""
        return (self.verdict.why if self.verdict else ending(self.visit)) + self.heard

    def after(self, item: int | None = None) -> bytes:
        """The record after item number `item` of the visit's story, by default at its end."""
        told, raw = self.visit.told, bytearray(self.record)
        stop = None if item is None or not told[item].done else told[item].to[1]
        start = self.visit.page.address
        for address, size, _, value in self.visit.writes[:stop]:
            for i in range(size):
                if 0 <= address + i - start < RECORD:
                    raw[address + i - start] = value >> 8 * i & 255
        return bytes(raw)


class Here(Scene):
    """A scene on a pool that is there already."""

    def __init__(self, pool: ZbudPool) -> None:
        if not isinstance(pool.pages, KernelPages):
            raise ValueError(
                "the readers need the kernel's page allocator about them: Timeline(..., allocator='kernel')"
            )
        self.pool, self.pages, self.plain = pool, pool.pages, -1
        self.machine = Machine.of(pool.pages)
        self.keep()


def face(pool: ZbudPool, pfn: int, readers: Iterable[str] = READERS, *, races: bool = True) -> list[Finding]:
    """Send readers of READERS, by name, to page `pfn` of the pool's memmap, each as if it were the only one.

    With `races`, zbud also goes on in the middle of a visit, in all the ways there are, wherever the reader has zbud's
    data changed for a moment; what is worse then is the verdict, and it says that it takes a race.  (Not in a pool that
    is damaged already.)
    Before readers of a later kernel no pool goes on: there are no races.
    Raises IndexError for a page outside of the memmap, ValueError for a pool whose pages come from the arena.
    """
    if isinstance(pool, RealPool):
        from .real import face as later

        return later(pool, pfn, readers)
    before = pool.save()
    try:
        scene = Here(pool)
        sound = outcome(lambda: drain(pool), "") is None  # else whatever comes next would be blamed on the reader
        scene.back()
        return [_finding(scene, READERS[name], pfn, races and sound) for name in readers]
    finally:
        pool.restore(before)


def _finding(scene: Here, reader: Reader, pfn: int, races: bool) -> Finding:
    visit = reader.visit(scene.machine, pfn)
    for _ in visit:
        pass
    verdict = judged(scene, reader, pfn, visit) if pfn in scene.pool.mine else None
    scene.back()
    if verdict and races and verdict.word in WORDS[:3]:
        raced = [v for v in in_the_window(scene, reader, [pfn]) if WORDS.index(v.word) > WORDS.index(verdict.word)]
        verdict = replace(max(raced, key=lambda v: v.rank), reads=verdict.reads) if raced else verdict
    if verdict and verdict.word != "ok":
        verdict = replace(verdict, anyone=_of_anyone(reader.name, verdict.word))
    return Finding(reader, visit, verdict, *touched(visit), scene.before(pfn))


def touched(visit: Visit) -> tuple[frozenset[int], frozenset[int]]:
    """The bytes of the page's own record that a visit has read, and those that it has written."""
    at, layout = visit.page.address, visit.machine.memmap.layout
    fields = [layout[name] for address, name, _ in visit.seen if address == at and name]
    reads = {byte for f in fields for byte in range(f.offset, f.offset + f.size)}
    writes = {address + i - at for address, size, _, _ in visit.writes for i in range(size)}
    return frozenset(reads), frozenset(byte for byte in writes if 0 <= byte < RECORD)


@cache
def _of_anyone(reader: str, word: str) -> bool:
    """Whether the reader does as much to any kernel page."""
    return anyone(READERS[reader], Verdict(word, ""))


Deed = tuple[str, int]  # a method of pools, and its argument: free and a handle, alloc and bytes


def consequence(pool: ZbudPool, pfn: int) -> Deed | None:
    """The next operation of zbud's that meets the damage done to a page.

    Tried, and taken back: to free each tenant of the page, then of the other pages, and to allocate.  If none of them
    ends in an oops, the first it is; None if the pool is empty.

    >>> from zbudlab import Timeline
    >>> timeline = Timeline("v12", 8, allocator="kernel")
    >>> a, b, c = (timeline.alloc(size) for size in (576, 1216, 3000))
    >>> visit = timeline.visit("soft_offline", 0)  # buddy.prev of page 0 has changed
    >>> consequence(timeline.pool, 1) == ("free", a)  # to free page 1 does no harm
    True
    """
    return _first(pool, pfn, lambda deed: outcome(lambda: _do(pool, deed), "") is not None)


def meanwhile(pool: ZbudPool, reader: str, pfn: int, pause: int) -> Deed | None:
    """The operation of zbud's that does most harm at pause number `pause` of a visit to a page, tried likewise.

    Harm is an oops: of the operation, of the reader, or later, as the pool is drained.
    """

    def harms(deed: Deed) -> bool:
        visit = READERS[reader].visit(Machine.of(pool.pages), pfn)
        for i, _ in enumerate(visit):
            if i == pause and outcome(lambda: _do(pool, deed), "") is not None:
                return True
        return bool(visit.oops or visit.stuck) or outcome(lambda: drain(pool), "") is not None

    return _first(pool, pfn, harms)


def _first(pool: ZbudPool, pfn: int, harms: Callable[[Deed], bool]) -> Deed | None:
    """The first operation that does harm, else the first; whatever was tried is taken back."""
    tenants = sorted(pool.tenants.values(), key=lambda handle: (handle.pfn != pfn, handle.pfn, handle.offset))
    deeds: list[Deed] = [("free", handle) for handle in tenants] + [("alloc", CHUNK)] * bool(tenants)
    before = pool.save()
    for deed in deeds:
        harm = harms(deed)
        pool.restore(before)
        if harm:
            return deed
    return deeds[0] if deeds else None


def _do(pool: ZbudPool, deed: Deed) -> None:
    getattr(pool, deed[0])(deed[1])


def deed_in_words(deed: Deed) -> str:
    """
    >>> deed_in_words(("alloc", 64))
    'zbud allocates 64 bytes'
    """
    what = deed[1]
    return f"zbud frees p{what.pfn} {what.slot}" if isinstance(what, Handle) else f"zbud allocates {what} bytes"
