"""`struct page`: sixty-four bytes with several sets of names.

A page frame is 4096 bytes of memory; its `struct page` is the 64-byte record that describes it.  The record is a
*variant record*: which names are true of which bytes depends on who owns the page.  A `Layout` is one set of names.
Three of them lie over the same bytes here: the kernel's own, the one that zbud v12 wrote, and SLUB's.

Everything below works alike on one record (`memmap.page(pfn)`) and on all of them at once (`memmap.pages()`): a page
`p` answers `p["_mapcount"]` with an int or with a numpy column, and the predicates are plain expressions over that.
The functions carry the kernel's names and its semantics, Linux 3.10, x86_64, SLUB (source: LAYOUT_3_10).

    >>> STRUCT_PAGE["_count"]
    Field('_count', bytes 28 to 31, signed)
    >>> [f.name for f in ZBUD_PAGE.covering(28, 4)]
    ['buddy.prev']
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

RECORD = 64  # bytes in one struct page (SLUB builds: 56 used, aligned to 16)
PAGE_SIZE = 4096
CHUNK = 64  # bytes in one zbud chunk: 64 chunks in a page

LIST_POISON1 = 0xDEAD000000100100  # what list_del leaves in next
LIST_POISON2 = 0xDEAD000000200200  # and in prev

# memoryview and struct codes by (size in bytes, signed)
_CODES = {(8, False): "Q", (4, False): "I", (4, True): "i", (2, False): "H", (1, False): "B"}


@dataclass(frozen=True, repr=False)
class Field:
    """A name for some bytes of the record: `offset` and `size` in bytes, little endian."""

    name: str
    offset: int
    size: int = 8
    signed: bool = False

    @property
    def code(self) -> str:
        """The memoryview format of the field: Q, I, i, H or B."""
        return _CODES[self.size, self.signed]

    @property
    def dtype(self) -> str:
        """The numpy dtype of the field, little endian."""
        return f"<{'i' if self.signed else 'u'}{self.size}"

    def __repr__(self) -> str:
        sign = ", signed" if self.signed else ""
        return f"Field({self.name!r}, bytes {self.offset} to {self.offset + self.size - 1}{sign})"


class Layout(Mapping[str, Field]):
    """One reading of the 64 bytes: a mapping from names to fields, in the order of the bytes.  Fields may overlap."""

    def __init__(self, title: str, *fields: Field) -> None:
        self.title = title
        self._fields = {f.name: f for f in fields}

    def __getitem__(self, name: str) -> Field:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<Layout {self.title}: {', '.join(self)}>"

    def covering(self, offset: int, size: int = 1) -> list[Field]:
        """The fields that share a byte with `size` bytes at `offset`."""
        return [f for f in self.values() if f.offset < offset + size and offset < f.offset + f.size]

    def dtype(self) -> Any:
        """The arguments of numpy.dtype for this reading: overlapping fields, item size 64."""
        fields = list(self.values())
        return {
            "names": [f.name for f in fields],
            "formats": [f.dtype for f in fields],
            "offsets": [f.offset for f in fields],
            "itemsize": RECORD,
        }


STRUCT_PAGE = Layout(
    "struct page, Linux 3.10",
    Field("flags", 0),
    Field("mapping", 8),
    Field("index", 16),
    Field("pfmemalloc", 16, 1),
    Field("_mapcount", 24, 4, signed=True),
    Field("_count", 28, 4, signed=True),
    Field("lru.next", 32),
    Field("lru.prev", 40),
    Field("private", 48),
    Field("first_page", 48),
    Field("padding", 56),
)

ZBUD_PAGE = Layout(
    "struct zbud_page, v12",
    Field("donotuse", 0),
    Field("first_chunks", 8, 2),
    Field("last_chunks", 10, 2),
    Field("buddy.next", 16),
    Field("buddy.prev", 24),
    Field("lru.next", 32),
    Field("lru.prev", 40),
)

SLUB_PAGE = Layout(
    "struct page, as SLUB uses it",
    Field("flags", 0),
    Field("freelist", 16),
    Field("inuse", 24, 2),
    Field("objects_frozen", 26, 2),  # bits 0 to 14 objects, bit 15 frozen
    Field("_count", 28, 4, signed=True),
    Field("next", 32),
    Field("pages", 40, 4, signed=True),
    Field("pobjects", 44, 4, signed=True),
    Field("slab_cache", 48),
)

# Page flags of Linux 3.10 (x86_64 with PAT, MEMORY_FAILURE, THP): name to bit.
PG: Mapping[str, int] = MappingProxyType(
    {
        name: bit
        for bit, name in enumerate(
            "locked error referenced uptodate dirty lru active slab owner_priv_1 arch_1 reserved private private_2 "
            "writeback head tail swapcache mappedtodisk reclaim swapbacked unevictable mlocked uncached hwpoison "
            "compound_lock".split()
        )
    }
)
CHECK_AT_PREP = (1 << len(PG)) - 1  # flags that must be clear on a page about to be handed out
CHECK_AT_FREE = sum(
    1 << PG[name]
    for name in "locked lru active slab reserved private private_2 writeback swapcache unevictable mlocked hwpoison "
    "compound_lock".split()
)  # flags that must be clear on a page given back: 0x1b13ce1
ZONE_SHIFT, NODE_SHIFT = 56, 58  # where flags holds the zone (2 bits) and the node (6 bits)
ZONES = ("DMA", "DMA32", "Normal", "Movable")
ZONE_NORMAL = ZONES.index("Normal") << ZONE_SHIFT

PAGE_BUDDY_MAPCOUNT_VALUE = -128  # _mapcount of the first page of a free block
PAGE_MAPPING_ANON, PAGE_MAPPING_KSM = 1, 2  # the two low bits of mapping


class PageLike(Protocol):
    """One record or a column of records: fields by name, and the head of the compound page it belongs to."""

    def __getitem__(self, name: str) -> Any: ...

    def head(self) -> PageLike: ...


Question = tuple[str, Callable[[Any], Any], str]  # what is asked of a page, in the kernel's words; the test; its field


def s32(value: Any) -> Any:
    """`value` as the C int it would wrap to; numpy columns of int32 have wrapped already.

    >>> s32(0xffffea00), s32(2**31 - 1 + 1)
    (-5632, -2147483648)
    """
    return ((value + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000 if isinstance(value, int) else value


def page_flag(p: PageLike, name: str) -> Any:
    """Whether flag PG_`name` is set on `p` itself: a bool, or a column of bools."""
    return (p["flags"] & (1 << PG[name])) != 0


def PageLRU(p: PageLike) -> Any:
    return page_flag(p, "lru")


def PageSlab(p: PageLike) -> Any:
    return page_flag(p, "slab")


def PageReserved(p: PageLike) -> Any:
    return page_flag(p, "reserved")


def PageReclaim(p: PageLike) -> Any:
    return page_flag(p, "reclaim")


def PageHWPoison(p: PageLike) -> Any:
    return page_flag(p, "hwpoison")


def PageHead(p: PageLike) -> Any:
    return page_flag(p, "head")


def PageTail(p: PageLike) -> Any:
    return page_flag(p, "tail")


def PageCompound(p: PageLike) -> Any:
    """Part of a compound page: PG_head or PG_tail."""
    return (p["flags"] & (1 << PG["head"] | 1 << PG["tail"])) != 0


def PageActive(p: PageLike) -> Any:
    return page_flag(p, "active")


def PageUnevictable(p: PageLike) -> Any:
    return page_flag(p, "unevictable")


def PageSwapBacked(p: PageLike) -> Any:
    return page_flag(p, "swapbacked")


def PageSwapCache(p: PageLike) -> Any:
    return page_flag(p, "swapcache")


def PageDirty(p: PageLike) -> Any:
    return page_flag(p, "dirty")


def PageWriteback(p: PageLike) -> Any:
    return page_flag(p, "writeback")


def PagePrivate(p: PageLike) -> Any:
    return page_flag(p, "private")


def PageAnon(p: PageLike) -> Any:
    """Anonymous memory: bit 0 of mapping.  The kernel asks nothing else, so any odd value there says yes."""
    return (p["mapping"] & PAGE_MAPPING_ANON) != 0


def PageKsm(p: PageLike) -> Any:
    """Merged by KSM: both low bits of mapping."""
    return (p["mapping"] & 3) == (PAGE_MAPPING_ANON | PAGE_MAPPING_KSM)


def PageBuddy(p: PageLike) -> Any:
    """First page of a free block: `_mapcount` is -128.  The block's order is then in private."""
    return p["_mapcount"] == PAGE_BUDDY_MAPCOUNT_VALUE


def page_count(p: PageLike) -> Any:
    """References to the page, read from the head of its compound page: 0 free, above 0 in use, below 0 nonsense."""
    return p.head()["_count"]


def page_mapcount(p: PageLike) -> Any:
    """How often the page is mapped by user page tables: `_mapcount` starts at -1, so one more than that, a C int."""
    return s32(p["_mapcount"] + 1)


def page_mapped(p: PageLike) -> Any:
    return p["_mapcount"] >= 0


def flag_names(flags: int) -> list[str]:
    """The PG_ names of the set low bits of a flags word.

    >>> flag_names(0x0100000000040080)
    ['slab', 'reclaim']
    """
    return [name for name, bit in PG.items() if flags >> bit & 1]


def page_zone(flags: int) -> str:
    """The zone that a flags word names.

    >>> page_zone(0x0100000000000000)
    'DMA32'
    """
    return ZONES[flags >> ZONE_SHIFT & 3]
