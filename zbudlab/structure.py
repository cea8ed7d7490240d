"""What a pool stands on: struct zbud_pool at its address, with the list heads and the number of pages in it.

Which pages a pool has is written in these lists and in the chunk counts, and nowhere else.  What it does is in zbud.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from operator import index
from typing import Any, SupportsIndex

from .invariants import Observed
from .memmap import DIRECT_MAP, Memmap
from .page_alloc import Arena, PageAllocator
from .schemes import NEW_FLAG, SCHEMES, Bookkeeping, Scheme
from .struct_page import CHUNK, PAGE_SIZE, PG
from .versions import VERSIONS, Handle

SLAB = 1 << PG["slab"]
Evictor = Callable[[Any, Handle], int | None]  # of a pool, and of the handle that is offered
_numbers = count(1)


class PoolStructure(Observed):
    """struct zbud_pool, created and empty; see ZbudPool for what the arguments are.

    `tenants` and `mine` are what the model remembers besides, to be able to warn: zbud keeps no such books.
    """

    idle = "the pool is empty"  # why zbud has nothing to do, when it has nothing to do

    def __init__(
        self,
        version: str = "linux-3.11",
        pages: PageAllocator | SupportsIndex = 16,
        evict: Evictor | None = None,
        *,
        scheme: Scheme | str | None = None,
        address: int | None = None,
    ) -> None:
        if version not in VERSIONS:
            raise ValueError(f"unknown version {version!r}; known: {', '.join(VERSIONS)}")
        if not isinstance(pages, PageAllocator):  # an arena, and behind it a page for the pool structure
            try:
                pages = index(pages)
            except TypeError:
                raise TypeError(f"pages is a page allocator or a whole number, not {pages!r}") from None
            if pages < 0:
                raise ValueError(f"a pool cannot have {pages} pages; 0 is the smallest number")
            memmap = Memmap(pages + 1)
            address = memmap.frame(pages) if address is None else address
            pages = Arena(memmap, range(pages))
        self.version, self.evict, self.memmap = VERSIONS[version], evict, pages.memmap
        self.pages: PageAllocator = pages
        scheme = self.version.scheme if scheme is None else scheme
        if isinstance(scheme, str) and scheme not in SCHEMES:
            raise ValueError(f"unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}")
        self.scheme = s = SCHEMES[scheme] if isinstance(scheme, str) else scheme
        self.data = Bookkeeping(s, self.memmap)
        if s.flag in NEW_FLAG:
            self.memmap.nr_pageflags = NEW_FLAG[s.flag] + 1
        self._header = s.header_chunks * CHUNK
        self.capacity = PAGE_SIZE // CHUNK - s.header_chunks  # chunks for both tenants
        self.max_size = min(self.version.max_size, self.capacity * CHUNK)
        self.lists = max(self.version.lists, self.capacity)  # 5.14 has one a chunk; on an overlay that is one more
        self.offsets = self.version.offsets(self.lists)
        self.number = next(_numbers)
        self._taken: int | None = None  # the page taken for the structure, if any
        if address is None:
            self._taken = pages.alloc_page()
            address = self.memmap.frame(self._taken)
        self.address = address
        if address % 8 or address % PAGE_SIZE + self.offsets["pages_nr"] + 16 > PAGE_SIZE:
            raise ValueError(f"a pool at {address:#x} does not lie, aligned to 8 bytes, within one page")
        self._dress_slab(True)
        self._unbuddied = self.address + 8
        self.buddied, self.lru = self.address + self.offsets["buddied"], self.address + self.offsets["lru"]
        for head in [*map(self.unbuddied, range(self.lists)), self.buddied, self.lru]:
            self.memmap.list_init(head)
        self.pages_nr = 0
        self.allocations = 0  # successful ones so far
        self.tenants: dict[int, Handle] = {}  # live handles by address: known to us, not to zbud
        self.mine: set[int] = set()  # the pages it has, likewise
        self.destroyed = False

    def _dress_slab(self, on: bool) -> None:
        """struct zbud_pool is a slab object (kzalloc), so its page is a slab page, if the memmap describes it."""
        pfn = (self.address - DIRECT_MAP) // PAGE_SIZE
        if pfn in self.memmap.pfns:
            p = self.memmap.page(pfn)
            p["flags"] = p["flags"] & ~SLAB | SLAB * on
            p["_count"] = 1
            self.memmap.owner[pfn] = "slab"

    def unbuddied(self, free_chunks: int) -> int:
        """Address of the list head of pages with one tenant and `free_chunks` free chunks."""
        return self._unbuddied + 16 * free_chunks

    @property
    def pages_nr(self) -> int:
        """Pages in the pool, as the pool structure counts them (mirrors zbud_get_pool_size)."""
        return self.memmap.load(self.address + self.offsets["pages_nr"])

    @pages_nr.setter
    def pages_nr(self, n: int) -> None:
        self.memmap.store(self.address + self.offsets["pages_nr"], n)

    def chunks(self, pfn: int) -> tuple[int, int]:
        """(first_chunks, last_chunks) of a page of the pool, as its bytes say."""
        return self.data.chunks(pfn)

    def walk(self, head: int) -> Iterator[int]:
        """The pfns on one of the pool's lists, first to last."""
        for node in self.memmap.list_walk(head):
            yield self.data.pfn(node)
