"""What is not as it was: two copies of a pool's memory compared, and each difference given the name of its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from .memmap import Saved
from .releases import LINUX_3_10, Release
from .schemes import Scheme
from .struct_page import PAGE_SIZE, RECORD
from .words import where
from .zbud import ZbudPool

SLUBS = {"freelist": (16, 8), "SLUB's counters": (24, 4), "slab_cache": (48, 8)}  # a slab page's fields that are SLUB's
Piece = tuple[str, int, int, bool]  # a name, from which byte, how many bytes, zbud's own or not


@dataclass(frozen=True)
class Change:
    """Some bytes, `before` and `after`, from a kernel `address` on: `what` they are, of page `pfn` if that says it.

    `zbuds` tells whether they are zbud's own data.
    """

    address: int
    before: bytes
    after: bytes
    what: str
    pfn: int | None = None
    zbuds: bool = False

    @property
    def old(self) -> int:
        return int.from_bytes(self.before, "little")

    @property
    def new(self) -> int:
        return int.from_bytes(self.after, "little")

    @property
    def addresses(self) -> list[int]:
        """The kernel address of each byte that is another one now."""
        return [self.address + i for i, (a, b) in enumerate(zip(self.before, self.after, strict=True)) if a != b]

    def __str__(self) -> str:
        what = self.what if self.pfn is None else f"{self.what} of p{self.pfn}"
        return f"{what} goes from {self.old:#x} to {self.new:#x}" if len(self.before) <= 8 else f"{what} changes"


@lru_cache
def pieces_of_record(scheme: Scheme | None, release: Release = LINUX_3_10) -> tuple[Piece, ...]:
    """What the 64 bytes of a record are called: of a page of a pool of `scheme`, or (None) of anybody's.

    Zbud's pieces hide the fields that they lie over.
    """
    ours = {} if scheme is None else scheme.pieces() if scheme.home == "record" else SLUBS if scheme.slab else {}
    rest = {f.name: (f.offset, f.size) for f in release.plain}
    for offset, size in ours.values():
        rest = {name: (o, n) for name, (o, n) in rest.items() if o + n <= offset or offset + size <= o}
    return (*((name, *at, True) for name, at in ours.items()), *((name, *at, False) for name, at in rest.items()))


@lru_cache
def pieces_of_header(scheme: Scheme) -> tuple[Piece, ...]:
    """What the first chunk of a page is called, where the scheme puts zbud's data there."""
    return tuple((name, *at, True) for name, at in scheme.pieces().items()) if scheme.home == "frame" else ()


def by_piece(pieces: Iterable[Piece], address: int, pfn: int, then: bytes, now: bytes) -> Iterator[Change]:
    """The pieces that differ; `then` and `now` are the bytes at `address`, of page `pfn`."""
    for name, offset, size, zbuds in pieces:
        old, new = then[offset : offset + size], now[offset : offset + size]
        if old != new:
            yield Change(address + offset, old, new, name, pfn, zbuds)


def between(pool: ZbudPool, before: Saved, after: Saved, mine: set[int]) -> list[Change]:
    """All that differs between two copies of the memory that a pool stands in; `mine` are the pages it had or has."""
    memmap, found = pool.memmap, list[Change]()
    if before.records != after.records:
        for pfn in memmap.pfns:
            at = RECORD * (pfn - memmap.pfns.start)
            then, now = before.records[at : at + RECORD], after.records[at : at + RECORD]
            if then != now:
                pieces = pieces_of_record(pool.scheme if pfn in mine else None, memmap.release)
                found += by_piece(pieces, memmap.record(pfn), pfn, then, now)
    for pfn in sorted({*before.frames, *after.frames}):
        then, now = (saved.frames.get(pfn) or memmap.untouched(pfn) for saved in (before, after))
        if then != now:
            found += _in_frame(pool, pfn, then, now) if pfn in mine else _words(pool, memmap.frame(pfn), then, now)
    return found


def _in_frame(pool: ZbudPool, pfn: int, then: bytes, now: bytes) -> Iterator[Change]:
    """In a page of the pool: zbud's header, if there is one, and whatever is stored behind it."""
    frame, pieces = pool.memmap.frame(pfn), pieces_of_header(pool.scheme)
    yield from by_piece(pieces, frame, pfn, then, now)
    header = max((offset + size for _, offset, size, _ in pieces), default=0)
    start = None
    for i in range(header, PAGE_SIZE + 1):
        differs = i < PAGE_SIZE and then[i] != now[i]
        if differs and start is None:
            start = i
        elif not differs and start is not None:
            yield Change(frame + start, then[start:i], now[start:i], f"byte {start} to {i - 1}", pfn)
            start = None


def _words(pool: ZbudPool, frame: int, then: bytes, now: bytes) -> Iterator[Change]:
    """Elsewhere: the 64-bit words that differ."""
    for i in range(0, PAGE_SIZE, 8):
        if then[i : i + 8] != now[i : i + 8]:
            what, zbuds = _name(pool, frame + i)
            yield Change(frame + i, then[i : i + 8], now[i : i + 8], what, None, zbuds)


def _name(pool: ZbudPool, address: int) -> tuple[str, bool]:
    """What a word outside of the records is called, and whether it is zbud's."""
    if address == pool.address + pool.offsets["pages_nr"]:
        return "pages_nr", True
    for node, link in ((address, "next"), (address - 8, "prev")):
        name = where(pool, node)
        if name != pool.memmap.where(node):  # then it is a list node of zbud's
            return f"{name}, {link}", True
    return pool.memmap.where(address), False
