"""The several readings of one record, field by field, in values and in words.

The same 64 bytes are told as the kernel's struct page, as the overlay that a pool's scheme wrote, and as SLUB's slab
page.  Where zbud keeps its data elsewhere, that is a reading of other 64 bytes, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..kernel import RecordedMemmap
from ..linux_6_1 import QUESTIONS as QUESTIONS_6_1
from ..linux_6_1 import types as types_6_1
from ..linux_6_12 import QUESTIONS as QUESTIONS_6_12
from ..linux_6_12 import types as types_6_12
from ..memmap import KernelOops, Memmap
from ..page import Page
from ..releases import COMPOUND, LINUX_3_10
from ..rows import count
from ..schemes import NEW_FLAG, SLAB_CACHE
from ..struct_page import (
    CHUNK,
    PAGE_SIZE,
    RECORD,
    SLUB_PAGE,
    Field,
    PageAnon,
    PageBuddy,
    PageKsm,
    PageLRU,
    PageReserved,
    PageSlab,
    PageTail,
    Question,
    page_count,
    page_mapcount,
    page_mapped,
)
from ..words import letter, where
from ..zbud import ZbudPool

POINTER, NUMBER, FLAGS_WORD, TAG, NOTHING = "pointer", "number", "word of flags", "tag", "nothing"
LEADS = {
    "mapping", "freelist", "next", "slab_cache", "buddy.next", "buddy.prev", "lru.next", "lru.prev", "compound_head",
    "memcg_data",
}  # fmt: skip

# Questions that a kernel puts to a page, in its own words, and the field that decides each.
PREDICATES: dict[str, tuple[Question, ...]] = {
    "3.10": (
        ("PageSlab(p)", PageSlab, "flags"),
        ("PageReserved(p)", PageReserved, "flags"),
        ("PageLRU(p)", PageLRU, "flags"),
        ("PageTail(p)", PageTail, "flags"),
        ("PageAnon(p)", PageAnon, "mapping"),
        ("PageKsm(p)", PageKsm, "mapping"),
        ("PageBuddy(p)", PageBuddy, "_mapcount"),
        ("page_mapped(p)", page_mapped, "_mapcount"),
        ("page_mapcount(p) <= 0", lambda p: page_mapcount(p) <= 0, "_mapcount"),
        ("page_count(p) > 0", lambda p: page_count(p) > 0, "_count"),
    ),
    "6.1": QUESTIONS_6_1,
    "6.12": QUESTIONS_6_12,
}


# The names of a page's types: in 3.10 there were none yet, but for what is one of them now.
TYPED: dict[str, Callable[[Page], list[str]]] = {
    "3.10": lambda p: ["buddy"] if PageBuddy(p) else [],
    "6.1": types_6_1,
    "6.12": types_6_12,
}


@dataclass(frozen=True)
class Told:
    """A field as a reading tells it: its bytes, its `value`, what that is in a few `words`, and its `kind`."""

    name: str
    offset: int
    size: int
    value: str
    words: str = ""
    kind: str = NUMBER

    @property
    def span(self) -> range:
        return range(self.offset, self.offset + self.size)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, ", ".join(filter(None, (self.value, self.words))))))


@dataclass(frozen=True)
class Reading:
    """One reading of the 64 bytes `raw` at kernel `address`; `tag` is the tag letter of those whose reading it is.

    `over` tells whether those bytes are the record itself; `note` is what else there is to say.
    """

    key: str
    title: str
    tag: str
    address: int
    raw: bytes
    fields: tuple[Told, ...]
    note: str = ""
    over: bool = True

    def covering(self, some: Iterable[int]) -> list[Told]:
        """The fields that have any of these bytes."""
        wanted = set(some)
        return [told for told in self.fields if wanted.intersection(told.span)]


def place(memmap: Memmap, pool: ZbudPool | None, home: int, address: int, pfn: int = -1) -> str:
    """Where a link kept at `home` leads, in words: `unbuddied[12] of the pool`, `p3's lru`, `nowhere: would oops`.

    Of a page `pfn` that is somebody else's, a pointer may lead to what this model does not have.
    """
    if address in (0, home):
        return "itself, on no list" if address else ""
    words = where(pool, address) if pool else memmap.where(address)
    if words.startswith("page 0x") and ", its " in words:
        number, _, link = words.removeprefix("page ").partition(", its ")
        return f"p{int(number, 16)}'s {link}"
    if words.startswith("struct page of "):
        number, _, byte = words.removeprefix("struct page of ").partition(", byte ")
        return f"record of p{int(number, 16)}, byte {byte}"
    if words == "nowhere":
        foreign = pfn in memmap.pfns and letter(memmap, pfn) not in "ZF"
        return "beyond this model" if foreign else "nowhere: would oops"
    return {"buddied": "the pool's buddied list"}.get(words, f"{words} of the pool" if "buddied" in words else words)


def readings(memmap: Memmap, pfn: int, pool: ZbudPool | None = None, *, slab: bool = False) -> list[Reading]:
    """The readings of a page's record: struct page, zbud's if there is a pool, and (if `slab`) SLUB's of Linux 3.10.

    Raises IndexError for a pfn outside the memmap.
    """
    page = memmap.page(pfn)
    found = [_struct_page(page, pool)]
    if slab and memmap.release is LINUX_3_10:
        found.append(_slab_page(page, pool))
    if pool is not None:
        overlay = _overlay(page, pool)
        if pool.scheme.home == "record":
            found.insert(1, overlay)
        elif pfn in pool.mine or not isinstance(memmap, RecordedMemmap):
            found.append(_elsewhere(page, pool, overlay))
    return found


def of_zbud(page: Page, pool: ZbudPool | None) -> Reading | None:
    """What zbud reads of the record itself: its overlay, or its tag; None of a page that is not zbud's."""
    return None if pool is None or page.pfn not in pool.mine else _overlay(page, pool)


# ---------------------------------------------------------------------- the kernel's


def _struct_page(p: Page, pool: ZbudPool | None) -> Reading:
    fields = tuple(_told(p, pool, f) for f in shown(p))
    return Reading("page", p.memmap.layout.title, "K", p.address, p.raw, fields)


def shown(p: Page) -> list[Field]:
    """The fields of struct page by the names that fit this page: of a union, one name for each byte.

    Of a tail, a later kernel reads the link to its head; of the record behind a head, what it tells of the whole.
    """
    layout, release = p.memmap.layout, p.memmap.release
    if release is LINUX_3_10 or not release.tail(p):
        return release.plain
    behind_head = release.head(p) == p.address - RECORD
    special = [layout[name] for name in COMPOUND if name in layout and (behind_head or name == "compound_head")]
    taken = {byte for f in special for byte in range(f.offset, f.offset + f.size)}
    plain = [f for f in release.plain if taken.isdisjoint(range(f.offset, f.offset + f.size))]
    return sorted([*special, *plain], key=lambda f: f.offset)


def _told(p: Page, pool: ZbudPool | None, f: Field) -> Told:
    value = p[f.name]
    words = _WORDS[f.name](p, value) if f.name in _WORDS else ""
    led = place(p.memmap, pool, p.address + p.memmap.layout["lru.next"].offset, value, p.pfn)
    if f.name == "compound_head":
        led = place(p.memmap, pool, 0, value - 1, p.pfn)
    if f.name.startswith("lru") or (not words and value >> 47 == 0x1FFFF):
        words = led
    kind = {"flags": FLAGS_WORD, "padding": NOTHING}.get(f.name, POINTER if f.name in LEADS else NUMBER)
    return Told(f.name, f.offset, f.size, _value(f, value), words, kind)


def _value(f: Field, value: int) -> str:
    if f.name in LEADS and not value:
        return "NULL"
    if f.size < 8:
        return str(value)
    return f"{value:#018x}" if f.name == "flags" else f"{value:#x}" if value else "0"


def _flags(p: Page, value: int) -> str:
    release = p.memmap.release
    bits = {**release.flags, **(NEW_FLAG if p.memmap.nr_pageflags > len(release.flags) else {})}
    names = [name for name, bit in bits.items() if value >> bit & 1]
    return ", ".join(f"PG_{name}" for name in names) or f"zone {release.zones[release.zone(value)]}, no PG_ bit"


def _mapping(p: Page, value: int) -> str:
    if p.memmap.release is not LINUX_3_10 and p.memmap.release.tail(p):
        return "of a tail, its head's is asked"
    if value & 3 == 3:
        return "both low bits: PageKsm says yes"
    if value & 1:
        return "odd: PageAnon says yes"
    if value & 2 and p.memmap.release is not LINUX_3_10:
        return "bit 1: __PageMovable says yes"
    return "even: PageAnon says no" if value and value >> 47 != 0x1FFFF else ""


def _index(p: Page, value: int) -> str:
    return "no page offset is that large" if value >> 52 else f"offset {count(value, 'page')}" if value else ""


def _mapcount(p: Page, value: int) -> str:
    types = TYPED[p.memmap.release.name](p)
    if "buddy" in types:
        return "the first page of a free block"
    if types:
        return f"a type: {', '.join(types)}"
    if value < -1:
        return "no number of mappings"
    return f"mapped {count(value + 1, 'time')}" if value >= 0 else "mapped by nobody"


def _users(p: Page, value: int) -> str:
    return count(value, "user") if value > 0 else "neither free nor in use" if value else "nobody's: free"


def _private(p: Page, value: int) -> str:
    return f"a free block of order {value}" if "buddy" in TYPED[p.memmap.release.name](p) else ""


_WORDS: dict[str, Callable[[Page, int], str]] = {
    "flags": _flags,
    "mapping": _mapping,
    "index": _index,
    "_mapcount": _mapcount,
    "_count": _users,
    "_refcount": _users,
    "private": _private,
}

# ---------------------------------------------------------------------- zbud's


def _overlay(p: Page, pool: ZbudPool) -> Reading:
    """What zbud reads in the record: flags that it leaves alone, its own data if it lies there, its tag if any."""
    s = pool.scheme
    flag = "slab" if s.slab else s.flag
    tagged = f"tagged PG_{flag}" if flag else "left alone"
    name = "donotuse" if s.name == "overlay-v12" else "flags"
    fields = [Told(name, 0, 8, "", tagged, TAG if flag else NOTHING)]
    if s.home == "record":
        fields += _pieces(p, pool, p.address, p.raw)
    if s.mapcount is not None:
        fields.append(Told("_mapcount", 24, 4, str(p["_mapcount"]), "the tag", TAG))
    nameless = RECORD - sum(told.size for told in fields)
    note = f"{nameless} bytes without a name" if p.pfn in pool.mine else f"p{p.pfn} is not zbud's: nobody reads it so"
    title = f"zbud {pool.version.name} overlay" if name == "donotuse" else s.name
    return Reading("zbud", title, "Z", p.address, p.raw, tuple(sorted(fields, key=lambda t: t.offset)), note)


def _elsewhere(p: Page, pool: ZbudPool, overlay: Reading) -> Reading:
    """zbud's data where the record has none of it: in the page's first chunk, or in a structure apart."""
    address = pool.data.buddy(p.pfn) - pool.scheme.buddy
    try:
        raw = bytes(pool.memmap.load(address + i, 1) for i in range(RECORD))
    except KernelOops:
        return Reading("header", "zbud_header", "Z", address, bytes(RECORD), (), "no memory there", over=False)
    tags = [told for told in overlay.fields if told.kind == TAG]
    rest = f"only {' and '.join(map(str, tags))}" if tags else "left alone"
    note = f"other 64 bytes; struct page: {rest}" if p.pfn in pool.mine else overlay.note
    title = f"zbud_header, {'in the page' if pool.scheme.home == 'frame' else 'apart'}"
    return Reading("header", title, "Z", address, raw, tuple(_pieces(p, pool, address, raw)), note, over=False)


def _pieces(p: Page, pool: ZbudPool, address: int, raw: bytes) -> list[Told]:
    """zbud's data in these 64 bytes; of a page that is not zbud's nobody follows the links, and no word is said."""
    found = []
    for name, (offset, size) in sorted(pool.scheme.pieces().items(), key=lambda piece: piece[1]):
        value = int.from_bytes(raw[offset : offset + size], "little")
        if name in LEADS:
            home = address + (pool.scheme.buddy if name.startswith("buddy") else pool.scheme.lru or 0)
            led = "" if p.pfn not in pool.mine else place(p.memmap, pool, home, value, -1) or "NULL: would oops"
            found.append(Told(name, offset, size, f"{value:#x}", led, POINTER))
        else:
            words = f"{value * CHUNK:,} bytes" if name.endswith("chunks") else "yes" if value else "no"
            found.append(Told(name, offset, size, str(value), words))
    return found


# ---------------------------------------------------------------------- SLUB's


def _slab_page(p: Page, pool: ZbudPool | None) -> Reading:
    fields = []
    for f in SLUB_PAGE.values():
        value = int.from_bytes(p.raw[f.offset : f.offset + f.size], "little", signed=f.signed)
        name, shown, words = f.name, _value(f, value), ""
        if f.name == "flags":
            is_slab = bool(PageSlab(p))
            shown, words = ("PG_slab", "the tag says: a slab") if is_slab else ("no PG_slab", "the tag says: no slab")
        elif f.name == "objects_frozen":
            name, shown = "objects, frozen", f"{value & 0x7FFF}, {value >> 15}"
        elif f.name == "freelist":
            inside = 0 <= value - p.memmap.frame(p.pfn) < PAGE_SIZE
            words = "a free object in this page" if inside else "not in this page" if value else "no free object"
        elif f.name == "next":
            words = place(p.memmap, pool, p.address + 32, value, p.pfn)
        elif f.name == "slab_cache":
            led = place(p.memmap, pool, 0, value, p.pfn)
            words = "a struct kmem_cache" if value == SLAB_CACHE else led or "of no cache"
        kind = POINTER if f.name in LEADS else FLAGS_WORD if f.name == "flags" else NUMBER
        fields.append(Told(name, f.offset, f.size, shown, words, kind))
    return Reading("slab", "slab page, SLUB", "S", p.address, p.raw, tuple(fields))


# ---------------------------------------------------------------------- what some bytes are


def said_of(kinds: Iterable[str]) -> str:
    """What some fields are, by kind and number.

    >>> said_of(["number", "number"]), said_of(["pointer"]), said_of([])
    ('two numbers', 'one pointer', 'nothing')
    """
    told = [kind for kind in kinds if kind != NOTHING]
    words = {1: "one", 2: "two", 3: "three", 4: "four"}
    parts = []
    for kind in dict.fromkeys(told):
        n = told.count(kind)
        plural = kind.replace("word", "words") if kind == FLAGS_WORD else f"{kind}s"
        parts.append(f"{words.get(n, n)} {kind if n == 1 else plural}")
    return " and ".join(parts) or NOTHING


def asked(p: Page, fields: Iterable[str]) -> list[tuple[str, str]]:
    """What the kernel asks of these fields of struct page, and the answer: true, false, or that it would oops."""
    wanted, found = set(fields), []
    for question, test, field in PREDICATES[p.memmap.release.name]:
        if field in wanted:
            try:
                answer = "true" if test(p) else "false"
            except KernelOops:
                answer = "an oops"
            found.append((question, answer))
    return found
