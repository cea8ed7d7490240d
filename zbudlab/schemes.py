"""Where zbud's data lies, and how its pages are tagged: each way is a few declarative lines.

A page in a zbud pool needs 36 bytes of bookkeeping: a `buddy` list node, an `lru` list node, and two chunk counts.  A
`Scheme` says at which bytes of which 64 they lie: of the page's `struct page` (home "record"), of the first chunk of
the page itself (home "frame"), or of a small structure allocated for it elsewhere (home "apart").  The pool in zbud.py
runs on any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from .memmap import VMEMMAP, Memmap
from .struct_page import PAGE_SIZE, PG, RECORD

RECLAIM = 1 << PG["reclaim"]
SLAB_CACHE = 0xFFFF88001F000100  # a struct kmem_cache that nobody looks into
NEW_FLAG = {
    "zbud": len(PG)
}  # a page flag of zbud's own, behind those that Linux 3.10 has: what the fourth demand rules out
FLAGS = {**PG, **NEW_FLAG}


@dataclass(frozen=True)
class Scheme:
    """Where the pieces lie, in bytes from the start of the record or of the frame.

    `buddy` and `lru` are 16-byte list nodes (a later zbud has no `lru`), `first_chunks` and `last_chunks` unsigned
    numbers of `width` bytes.  A page under reclaim is marked by the byte at `under_reclaim`, or by PG_reclaim if there
    is none.  The tag, if any, is a page `flag` by name, or a value of `_mapcount`.

    Raises ValueError if pieces overlap, lie on flags, are not aligned, or leave the 64 bytes.
    """

    name: str
    home: Literal["record", "frame", "apart"]
    buddy: int
    lru: int | None
    first_chunks: int
    last_chunks: int
    width: int
    under_reclaim: int | None = None
    flag: str | None = None
    mapcount: int | None = None
    slab: bool = False  # the page is a genuine slab page: an object of a cache with objects of PAGE_SIZE
    by_definition: bool = True  # the fields are put into struct page by editing its definition (if they lie there)
    about: str = ""

    def __post_init__(self) -> None:
        if self.home not in ("record", "frame", "apart") or self.width not in (1, 2, 4, 8):
            raise ValueError(
                f"{self.name}: home is record, frame or apart, not {self.home}; width 1, 2, 4 or 8, not {self.width}"
            )
        taken = dict.fromkeys(range(8), "flags") if self.home == "record" else dict[int, str]()
        for piece, (offset, size) in self.pieces().items():
            if offset % min(size, 8) or not 0 <= offset <= RECORD - size:
                raise ValueError(f"{self.name}: {piece} at byte {offset} is not aligned inside the {RECORD} bytes")
            for byte in range(offset, offset + size):
                if byte in taken:
                    raise ValueError(f"{self.name}: {piece} and {taken[byte]} both lie on byte {byte}")
                taken[byte] = piece
        if self.flag is not None and self.flag not in FLAGS:
            raise ValueError(f"{self.name}: there is no flag PG_{self.flag}; known: {', '.join(FLAGS)}")

    def pieces(self) -> dict[str, tuple[int, int]]:
        """Name to (offset, size) in bytes, of each piece of zbud's data.

        >>> SCHEMES["overlay-v12"].pieces()["buddy.prev"]
        (24, 8)
        """
        pieces = {
            "first_chunks": (self.first_chunks, self.width),
            "last_chunks": (self.last_chunks, self.width),
            "buddy.next": (self.buddy, 8),
            "buddy.prev": (self.buddy + 8, 8),
        }
        if self.lru is not None:
            pieces |= {"lru.next": (self.lru, 8), "lru.prev": (self.lru + 8, 8)}
        if self.under_reclaim is not None:
            pieces["under_reclaim"] = (self.under_reclaim, 1)
        return pieces

    def overlays(self, offset: int, size: int) -> bool:
        """Whether zbud's data lies on any of `size` bytes at `offset` of the record."""
        return self.home == "record" and any(o < offset + size and offset < o + n for o, n in self.pieces().values())

    @property
    def header_chunks(self) -> int:
        """Chunks of the page frame that the scheme itself takes: 1 if the data lies in the page, else 0."""
        return 1 if self.home == "frame" else 0


OVERLAY_V12 = Scheme(
    "overlay-v12",
    home="record",
    first_chunks=8,
    last_chunks=10,
    width=2,
    buddy=16,
    lru=32,
    by_definition=False,
    about="the patch under review: over mapping, index, _mapcount and _count, with no tag",
)
OVERLAY_CLEAR = Scheme(
    "overlay-clear",
    home="record",
    buddy=8,
    lru=32,
    first_chunks=48,
    last_chunks=50,
    width=2,
    about="moved off _mapcount and _count, so that the implicit tag of 30 May can hold: Jennings's first idea",
)
INLINE_HEADER = Scheme(
    "inline-header",
    home="frame",
    buddy=0,
    lru=16,
    first_chunks=32,
    last_chunks=36,
    width=4,
    under_reclaim=40,
    about="what was merged: a header in the page's first chunk, struct page left alone",
)


def variant(of: Scheme, name: str, about: str, **change: object) -> Scheme:
    """Another scheme that differs in a few declarations."""
    return replace(of, name=name, about=about, **change)  # type: ignore[arg-type]


_ALL = (
    OVERLAY_V12,
    OVERLAY_CLEAR,
    variant(
        OVERLAY_CLEAR,
        "overlay-on-mapcount",
        "the same with the chunk counts on _mapcount",
        first_chunks=24,
        last_chunks=26,
    ),
    variant(
        OVERLAY_CLEAR,
        "overlay-64",
        "mapping left NULL: needs the padding that only the 64-byte struct page has",
        buddy=32,
        lru=48,
        first_chunks=16,
        last_chunks=18,
    ),
    variant(
        OVERLAY_CLEAR,
        "chunks-in-mapping",
        "the chunk counts left where v12 had them; _mapcount and _count clean",
        buddy=48,
        first_chunks=8,
        last_chunks=10,
    ),
    variant(OVERLAY_CLEAR, "reserved", "overlay-clear, tagged PG_reserved: Morton's big hammer", flag="reserved"),
    variant(OVERLAY_CLEAR, "slab-flag", "overlay-clear, tagged PG_slab: our reading of 30 May", flag="slab"),
    variant(OVERLAY_CLEAR, "new-flag", "overlay-clear, tagged with a page flag of its own", flag="zbud"),
    variant(INLINE_HEADER, "mapcount-tag", "header in the page, _mapcount -127: Kozlowski, August 2013", mapcount=-127),
    variant(OVERLAY_CLEAR, "mapcount-tag-overlay", "overlay-clear, tagged _mapcount -127", mapcount=-127),
    variant(
        INLINE_HEADER,
        "slab-cache",
        "pages from a slab cache with objects of PAGE_SIZE, the data in a structure apart: Bob Liu, 31 May",
        home="apart",
        slab=True,
    ),
    INLINE_HEADER,
)
SCHEMES: Mapping[str, Scheme] = MappingProxyType({s.name: s for s in _ALL})
# What only a later kernel has: a page type is bits cleared from -1 in the word of _mapcount, here one that is nobody's.
LATER_SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {"page-type": variant(INLINE_HEADER, "page-type", "header in the page, a page type: Linux 6.1", mapcount=~0x1000)}
)


class Bookkeeping:
    """zbud's data about the pages of one memmap, read and written where a scheme puts it.

    `chunks`, `buddy` and the others take a pfn; all raise KernelOops where there is no such page.
    """

    def __init__(self, scheme: Scheme, memmap: Memmap) -> None:
        self.scheme, self.memmap = scheme, memmap
        if scheme.home == "apart":  # a structure for each page, in memory of its own behind the memmap
            home = range(memmap.pfns.stop + 16, memmap.pfns.stop + 17 + len(memmap.pfns) * RECORD // PAGE_SIZE)
            if home not in memmap.ram:
                memmap.ram.append(home)
            self._start, self._stride = memmap.frame(home[0]) - RECORD * memmap.pfns.start, RECORD
        else:
            self._start, self._stride = (VMEMMAP, RECORD) if scheme.home == "record" else (memmap.frame(0), PAGE_SIZE)
        self._buddy, self._lru = self._start + scheme.buddy, self._start + (scheme.lru or 0)
        self._first, self._first_shift = scheme.first_chunks // 8, scheme.first_chunks % 8 * 8  # word, and bit in it
        self._last, self._last_shift = scheme.last_chunks // 8, scheme.last_chunks % 8 * 8
        self._mask = (1 << 8 * scheme.width) - 1
        self._not_first, self._not_last = ~(self._mask << self._first_shift), ~(self._mask << self._last_shift)

    def buddy(self, pfn: int) -> int:
        """Address of the page's buddy list node."""
        return self._buddy + self._stride * pfn

    def lru(self, pfn: int) -> int:
        """Address of the page's lru list node."""
        return self._lru + self._stride * pfn

    def pfn(self, address: int) -> int:
        """The page whose data an address, say of a list node, lies in (mirrors list_entry)."""
        return (address - self._start) // self._stride

    def chunks(self, pfn: int) -> tuple[int, int]:
        """(first_chunks, last_chunks) of a page, as its bytes say."""
        words, i = self.memmap.at(self._start + self._stride * pfn)
        first = words[i + self._first] >> self._first_shift & self._mask
        return first, words[i + self._last] >> self._last_shift & self._mask

    def set_chunks(self, pfn: int, first: int, last: int) -> None:
        words, i = self.memmap.at(self._start + self._stride * pfn, "write")
        at, end = i + self._first, i + self._last
        words[at] = words[at] & self._not_first | first << self._first_shift
        words[end] = words[end] & self._not_last | last << self._last_shift

    def begin(self, pfn: int) -> None:
        """A page enters the pool: tag it, no tenants yet (mirrors init_zbud_page)."""
        s, p = self.scheme, self.memmap.page(pfn)
        if s.flag is not None:
            p["flags"] |= 1 << FLAGS[s.flag]
        if s.mapcount is not None:
            p["_mapcount"] = s.mapcount
        if s.slab:  # SLUB's marks: one object, in use, of a cache
            p["flags"] |= 1 << PG["slab"]
            p["_mapcount"], p["private"] = 1 << 16 | 1, SLAB_CACHE
        self.set_chunks(pfn, 0, 0)
        if s.under_reclaim is not None:
            self.mark_reclaim(pfn, False)

    def end(self, pfn: int) -> None:
        """A page leaves the pool: take the tag off, and restore what the scheme laid over the record."""
        s, p = self.scheme, self.memmap.page(pfn)
        if s.flag is not None:
            p["flags"] &= ~(1 << FLAGS[s.flag])
        if s.mapcount is not None or s.slab:
            p["_mapcount"] = -1
        if s.slab:
            p["flags"] &= ~(1 << PG["slab"])
            p["private"] = 0
        if s.home == "record":
            p["private"] = p["mapping"] = p["index"] = 0
            p["_mapcount"], p["_count"] = -1, 1
            self.memmap.list_init(p.address + 32)

    def under_reclaim(self, pfn: int) -> bool:
        if self.scheme.under_reclaim is None:
            return self.memmap.page(pfn)["flags"] & RECLAIM != 0
        return self.memmap.load(self._start + self._stride * pfn + self.scheme.under_reclaim, 1) != 0

    def mark_reclaim(self, pfn: int, on: bool) -> None:
        if self.scheme.under_reclaim is None:
            p = self.memmap.page(pfn)
            p["flags"] = p["flags"] & ~RECLAIM | RECLAIM * on
        else:
            self.memmap.store(self._start + self._stride * pfn + self.scheme.under_reclaim, on, 1)
