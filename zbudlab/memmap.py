"""A small machine's memory, made of bytes: the memmap, the page frames, and the addresses that lead to both.

The memmap is one stretch of bytes, a 64-byte `struct page` for each page frame.  It has kernel addresses, as on x86_64
in 2013: the record of page `pfn` lies at 0xffffea0000000000 + 64 * pfn, the frame itself at 0xffff880000000000 +
4096 * pfn (source: ADDRESSES).  A `list_head` holds such addresses, so a damaged link leads where it would lead a
kernel: to another record, to somebody's data, or nowhere.  Nowhere is a `KernelOops`.

    >>> m = Memmap(4)
    >>> hex(m.record(2)), hex(m.frame(2))
    ('0xffffea0000000080', '0xffff880000002000')
    >>> m.store(m.record(2) + 24, 0xffffea0000000050)     # a pointer, where _mapcount and _count are
    >>> m.page(2)["_mapcount"], m.page(2)["_count"]
    (80, -5632)
    >>> m.load(0xffffea0100000050)
    Traceback (most recent call last):
    zbudlab.memmap.KernelOops: unable to handle kernel paging request at 0xffffea0100000050 (read)
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .here import need_numpy
from .page import Columns, Page
from .releases import LINUX_3_10, Release
from .struct_page import LIST_POISON1, LIST_POISON2, PAGE_SIZE, RECORD, Layout

if TYPE_CHECKING:
    import numpy as np

VMEMMAP = 0xFFFFEA0000000000  # struct page of pfn 0
DIRECT_MAP = LINUX_3_10.direct_map  # byte 0 of physical memory, in 2013


NOT_RECORDED = "not recorded"  # how `where` ends of memory that was there, and of which nothing is known


class KernelOops(Exception):
    """The machine touched an address where nothing is.

    `address` is the address, `access` is "read" or "write", `during` names the operations that were under way,
    innermost first.  What was written before the fault stays written, as on a real machine.
    """

    def __init__(self, address: int, access: str) -> None:
        super().__init__(address, access)
        self.address, self.access = address, access
        self.during: list[str] = []

    def within(self, operation: str) -> KernelOops:
        """The same oops, with one more operation named."""
        self.during.append(operation)
        return self

    def __str__(self) -> str:
        where = f"{self.address:#018x}" if self.address >= PAGE_SIZE else f"{self.address:#x}"
        if self.address < PAGE_SIZE:
            what = "NULL pointer dereference"
        elif not canonical(self.address):
            what = "general protection fault"
        else:
            what = "unable to handle kernel paging request"
        return f"{what} at {where} ({', in '.join([self.access, *self.during])})"


def canonical(address: int) -> bool:
    """Whether x86_64 accepts `address` as an address at all: bits 47 to 63 are all alike."""
    return address >> 47 in (0, 0x1FFFF)


class Saved(NamedTuple):
    """A copy of a memmap's bytes: what `Memmap.save` returns and `Memmap.restore` takes."""

    records: bytes
    frames: dict[int, bytes]
    owner: dict[int, str]
    ram: tuple[range, ...]


class Memmap:
    """Records and frames of `pages` page frames from `base_pfn` on.

    `ram` lists the ranges of page frame numbers that have memory behind them; by default the frames that the records
    describe.  Frames come into being when first touched, so a memmap of a million pages costs 64 MiB, not 4 GiB.
    `owner` says in truth who has a page (pfn to a word; a missing pfn is free): no reader of the memmap can see it.
    `release` is the kernel whose records these are.  `zero_pfn` and `huge_zero_pfn` are kernel variables: which page
    is the zero page, and the huge one (-1: none is known).

    Raises ValueError if `pages` is not at least 1.
    """

    zero_pfn, huge_zero_pfn = -1, -1

    def __init__(
        self, pages: int, *, base_pfn: int = 0, ram: Iterable[range] | None = None, release: Release = LINUX_3_10
    ) -> None:
        if pages < 1 or base_pfn < 0:
            raise ValueError(f"a memmap needs at least 1 page and a base pfn of at least 0, not {pages} and {base_pfn}")
        self.release, self.layout, self._direct_map = release, release.layout, release.direct_map
        self.pfns = range(base_pfn, base_pfn + pages)
        self.ram = [self.pfns] if ram is None else list(ram)
        self.raw = bytearray(RECORD * pages)
        self.owner: dict[int, str] = {}
        self.nr_pageflags = len(release.flags)  # a scheme with a flag of its own makes it one more
        view = memoryview(self.raw)
        views: dict[str, memoryview] = {"Q": view.cast("Q"), "I": view.cast("I"), "i": view.cast("i")}
        views |= {"H": view.cast("H"), "B": view.cast("B")}
        self._words = views["Q"]
        self._fields = {f.name: (views[f.code], f.offset // f.size, RECORD // f.size) for f in self.layout.values()}
        self._start, self._bytes = VMEMMAP + RECORD * base_pfn, RECORD * pages
        self._frames: dict[int, memoryview] = {}

    # ------------------------------------------------------------------ addresses

    def record(self, pfn: int) -> int:
        """Kernel address of the struct page of `pfn` (mirrors pfn_to_page)."""
        return VMEMMAP + RECORD * pfn

    def frame(self, pfn: int) -> int:
        """Kernel address of byte 0 of page frame `pfn` (mirrors page_address)."""
        return self._direct_map + PAGE_SIZE * pfn

    def at(self, address: int, access: str = "read") -> tuple[memoryview, int]:
        """The memory behind an 8-byte aligned kernel address, as 64-bit words, and the index of the word there.

        Raises KernelOops where nothing is mapped.  This is the one way to memory; everything else goes through it.
        """
        offset = address - self._start
        if 0 <= offset < self._bytes:
            return self._words, offset >> 3
        frame = self._frames.get((address - self._direct_map) >> 12)
        if frame is None:
            if address >> 64:  # addresses wrap at 64 bits
                return self.at(address & 0xFFFF_FFFF_FFFF_FFFF, access)
            frame = self._new_frame(address, access)
        return frame, (address & 0xFFF) >> 3

    def _new_frame(self, address: int, access: str) -> memoryview:
        """The frame behind an address that has not been touched before, if there is RAM."""
        pfn = (address - self._direct_map) >> 12
        if not self.has_frame(pfn):
            raise KernelOops(address, access)
        return self._frames.setdefault(pfn, memoryview(bytearray(self.untouched(pfn))).cast("Q"))

    def has_frame(self, pfn: int) -> bool:
        """Whether there is memory behind a page frame number."""
        return any(pfn in part for part in self.ram)

    def untouched(self, pfn: int) -> bytes:
        """What is in a frame before anything has been written there."""
        return bytes(PAGE_SIZE)

    def load(self, address: int, size: int = 8) -> int:
        """The unsigned little-endian number in `size` bytes (1 to 8) at a kernel address."""
        words, i = self.at(address)
        first = address & 7
        if size == 8 and not first:
            return int(words[i])
        value: int = words[i] >> 8 * first
        if first + size > 8:  # the rest lies in the next word
            words, i = self.at((address & ~7) + 8)
            value |= words[i] << 8 * (8 - first)
        return value & ((1 << 8 * size) - 1)

    def store(self, address: int, value: int, size: int = 8) -> None:
        """Put the low `size` bytes (1 to 8) of `value` at a kernel address."""
        first, mask = address & 7, (1 << 8 * size) - 1
        words, i = self.at(address, "write")
        keep = words[i] & ~(mask << 8 * first)
        if first + size > 8:
            rest, j = self.at((address & ~7) + 8, "write")
            rest[j] = (rest[j] & ~(mask >> 8 * (8 - first))) | (value & mask) >> 8 * (8 - first)
        words[i] = keep | ((value & mask) << 8 * first) & 0xFFFF_FFFF_FFFF_FFFF

    def frame_bytes(self, pfn: int) -> memoryview:
        """The 4096 bytes of a page frame, writable; raises KernelOops where there is no RAM."""
        return self.at(self.frame(pfn), "write")[0].cast("B")

    def where(self, address: int) -> str:
        """In words, what lies at a kernel address.

        >>> Memmap(8).where(0xffffea0000000150), Memmap(8).where(0xffff880000001040), Memmap(8).where(0)
        ('struct page of 0x5, byte 16', 'page 0x1 + 0x040', 'nowhere')
        """
        if address in self.release.poison:
            return "list poison"
        if 0 <= address - self._start < self._bytes:
            pfn, byte = divmod(address - VMEMMAP, RECORD)
            return f"struct page of {pfn:#x}, byte {byte}"
        pfn, byte = divmod(address - self._direct_map, PAGE_SIZE)
        return f"page {pfn:#x} + {byte:#05x}" if self.has_frame(pfn) else "nowhere"

    # ------------------------------------------------------------------ records

    def pfn_of(self, record: int) -> int:
        """The page whose record begins at a kernel address; if none does, the KernelOops of whoever looks there."""
        pfn, byte = divmod(record - VMEMMAP, RECORD)
        if byte or pfn not in self.pfns:
            raise KernelOops(record, "read").within("compound_head")
        return pfn

    def page(self, pfn: int) -> Page:
        """One record, by name: `memmap.page(5)["_count"]`.  Raises IndexError for a pfn outside the memmap."""
        if pfn not in self.pfns:
            raise IndexError(f"pfn {pfn:#x} is outside this memmap ({self.pfns[0]:#x} to {self.pfns[-1]:#x})")
        return Page(self, pfn)

    def records(self, layout: Layout | None = None) -> np.ndarray[Any, Any]:
        """All records as a numpy structured array, shape (pages,), over the very same bytes, read as `layout`.

        Without one they are read as the release has them.
        """
        need_numpy()
        import numpy as np

        return np.frombuffer(self.raw, dtype=np.dtype((layout or self.layout).dtype()))

    def pages(self) -> Columns:
        """All records at once, by name: `memmap.pages()["_count"]` is a numpy column, shape (pages,)."""
        return Columns(self, self.records())

    def default_record(self) -> bytes:
        """An idle record without its lru links: node 0, zone Normal, `_mapcount` -1, no reference."""
        record, at = bytearray(RECORD), self.layout["_mapcount"].offset
        record[:8] = (self.release.zones.index("Normal") << self.release.zone_shift).to_bytes(8, "little")
        record[at : at + 4] = b"\xff\xff\xff\xff"
        return bytes(record)

    def fill(self) -> None:
        """Make every record idle: `default_record` with lru pointing to itself."""
        self.raw[:] = self.default_record() * len(self.pfns)
        lru = self.layout["lru.next"].offset
        own = array("Q", range(self._start + lru, self._start + lru + self._bytes, RECORD))
        self._words[lru // 8 :: 8] = self._words[lru // 8 + 1 :: 8] = memoryview(own)

    # ------------------------------------------------------------------ list_head, at addresses (include/linux/list.h)

    def list_init(self, head: int) -> None:
        """INIT_LIST_HEAD: an empty list is a head that points to itself."""
        self.store(head, head)
        self.store(head + 8, head)

    def list_add(self, entry: int, head: int, *, tail: bool = False) -> None:
        """Put `entry` first on the list of `head`, or last; the stores come in the kernel's order."""
        try:
            before, after = (self.load(head + 8), head) if tail else (head, self.load(head))
            if (entry | before | after) & 7 or entry & 0xFF8 == 0xFF8:
                self._store_all(((after + 8, entry), (entry, after), (entry + 8, before), (before, entry)))
                return
            words, i = self.at(after + 8, "write")
            words[i] = entry
            words, i = self.at(entry, "write")
            words[i], words[i + 1] = after, before
            words, i = self.at(before, "write")
            words[i] = entry
        except KernelOops as oops:
            raise oops.within("list_add") from None

    def list_add_tail(self, entry: int, head: int) -> None:
        """Put `entry` last on the list of `head`."""
        self.list_add(entry, head, tail=True)

    def list_del(self, entry: int) -> None:
        """Take `entry` off its list, trusting both of its links, and poison them."""
        try:
            own, k = self.at(entry)
            crosses = entry & 7 or entry & 0xFF8 == 0xFF8
            after, before = (self.load(entry), self.load(entry + 8)) if crosses else (own[k], own[k + 1])
            if crosses or (before | after) & 7:
                poison = ((entry, LIST_POISON1), (entry + 8, LIST_POISON2))
                self._store_all(((after + 8, before), (before, after), *poison))
                return
            words, i = self.at(after + 8, "write")
            words[i] = before
            words, i = self.at(before, "write")
            words[i] = after
            own[k], own[k + 1] = LIST_POISON1, LIST_POISON2
        except KernelOops as oops:
            raise oops.within("list_del") from None

    def _store_all(self, stores: Iterable[tuple[int, int]]) -> None:
        """Stores for links that need care: unaligned (the processor allows it), or astride two pages."""
        for address, value in stores:
            self.store(address, value)

    def list_empty(self, head: int) -> bool:
        return self.load(head) == head

    def list_walk(self, head: int, most: int = 1 << 22) -> Iterator[int]:
        """The entries of a list, first to last.  RuntimeError if it does not come home within `most` steps."""
        entry = self.load(head)
        for _ in range(most):
            if entry == head:
                return
            yield entry
            entry = self.load(entry)
        if entry != head:
            raise RuntimeError(f"the list at {head:#x} does not return to its head within {most} entries")

    def check(self) -> None:
        """Hold the records to what is true of any memmap; AssertionError names the first that is broken."""
        from .invariants import check_memmap

        check_memmap(self)

    # ------------------------------------------------------------------ copies

    def save(self) -> Saved:
        """A copy of every byte; `restore` puts it back in place, so that views of the bytes stay good."""
        frames = {pfn: bytes(f) for pfn, f in self._frames.items()}
        return Saved(bytes(self.raw), frames, dict(self.owner), tuple(self.ram))

    def restore(self, saved: Saved) -> None:
        self.raw[:] = saved.records
        self.ram = list(saved.ram)
        for pfn in list(self._frames):
            if pfn not in saved.frames:
                if self.has_frame(pfn):
                    self.frame_bytes(pfn)[:] = self.untouched(pfn)
                else:  # memory that was added later
                    del self._frames[pfn]
        for pfn, content in saved.frames.items():
            self.frame_bytes(pfn)[:] = content
        self.owner = dict(saved.owner)

    def __repr__(self) -> str:
        return f"<Memmap: {len(self.pfns)} pages from pfn {self.pfns[0]:#x}>"
