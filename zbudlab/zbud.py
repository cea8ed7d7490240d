"""zbud: at most two compressed pages ("zpages") in one page frame, in five historical versions.

A frame is 64 chunks of 64 bytes.  The first tenant, FIRST, leans on the left wall; the second, LAST, on the right wall;
what is left between them is slack, in one piece, whichever of the two goes first.  A page with one tenant waits on the
`unbuddied` list for its number of free chunks; a page with two is on `buddied`; all are on `lru`, newest first.

Everything the allocator knows lies in the model's bytes: the chunk counts and list nodes where the scheme puts them
(schemes.py), the list heads in the pool structure.  The behaviour is that of the original C code and is held to
recordings of it (recordings.py); the text is ours.

    >>> pool = ZbudPool("v12")
    >>> a, b = pool.alloc(1000), pool.alloc(1500)
    >>> pool.chunks(0)
    (16, 24)
    >>> b.offset, b.slot
    (2560, 'LAST')
    >>> pool.alloc(4097)
    Traceback (most recent call last):
    zbudlab.versions.ZbudError: E2BIG: size 4097 exceeds 4096 bytes, the largest that zbud v12 takes
"""

from __future__ import annotations

from operator import index

from .memmap import DIRECT_MAP, KernelOops
from .page_alloc import OutOfMemory
from .struct_page import CHUNK, PAGE_SIZE
from .structure import PoolStructure
from .versions import FIRST, LAST, Handle, StaleHandle, ZbudError


class ZbudPool(PoolStructure):
    """A pool of `version`, taking its pages from `pages` (a page allocator, or a number: an arena of that many).

    `evict(pool, handle)` is the user's callback for `reclaim`: it should free the handle and return 0; anything else
    means refused.  `scheme` (a Scheme or its name) may replace the version's own.  `address` is where struct zbud_pool
    lies; by default in a slab page of its own behind the arena.
    """

    def _address(self, pfn: int, slot: str, last: int) -> int:
        """The handle of a tenant (mirrors encode_handle): FIRST behind the header, LAST at the very end."""
        return DIRECT_MAP + PAGE_SIZE * pfn + (self._header if slot == FIRST else PAGE_SIZE - last * CHUNK)

    # ------------------------------------------------------------------ alloc

    def alloc(self, size: int, *, highmem: bool = False) -> Handle:
        """Room for `size` bytes; returns the handle (mirrors zbud_alloc).

        Best fit in chunks: the first non-empty unbuddied list from the needed number upward, its head; else a new page.
        Raises ZbudError with the version's errno: EINVAL (size 0, below 0, or `highmem`, which stands for
        __GFP_HIGHMEM), E2BIG or ENOSPC (too large), ENOMEM (no page to be had).  A failed call changes nothing.
        """
        chunks = self._chunks_for(size, highmem)
        pfn = self._search(chunks)
        new = pfn is None
        if pfn is None:
            pfn, first, last = self._new_page(), 0, 0
        else:
            first, last = self.data.chunks(pfn)
            self.memmap.list_del(self.data.buddy(pfn))
        if first == 0:
            slot, first = FIRST, chunks
        else:
            slot, last = LAST, chunks
        self.data.set_chunks(pfn, first, last)
        self._place(pfn, first, last)
        if not new:
            self.memmap.list_del(self.data.lru(pfn))
        self.memmap.list_add(self.data.lru(pfn), self.lru)
        handle = Handle(self._address(pfn, slot, last))
        handle.allocation, handle.size, handle.slot, handle.pool = self.allocations, index(size), slot, self.number
        self.allocations += 1
        self.tenants[handle] = handle
        return handle

    def plan(self, size: int) -> tuple[int | None, str]:
        """Where `alloc(size)` would put it now: (pfn, slot), with pfn None for a new page.  Raises as `alloc` does,
        except that it does not ask whether there is a new page."""
        pfn = self._search(self._chunks_for(size, False))
        return pfn, FIRST if pfn is None or not self.data.chunks(pfn)[0] else LAST

    def _chunks_for(self, size: int, highmem: bool) -> int:
        try:
            size = index(size)
        except TypeError:
            raise TypeError(f"a size is a whole number of bytes, not {size!r}") from None
        v = self.version
        self._not_destroyed()
        if highmem:
            raise ZbudError("EINVAL", "__GFP_HIGHMEM: zbud takes no highmem pages, for it writes to them directly")
        if size <= 0:
            unsigned = "; this version reads it as a huge unsigned number" if size and v.negative == v.too_big else ""
            why = f"size {size} is too small; the smallest is 1 byte{unsigned}"
            raise ZbudError(v.negative if size else "EINVAL", why)
        if size > self.max_size:
            raise ZbudError(
                v.too_big, f"size {size} exceeds {self.max_size} bytes, the largest that zbud {v.name} takes"
            )
        return (size + CHUNK - 1) // CHUNK

    def _not_destroyed(self) -> None:
        if self.destroyed:
            raise ZbudError("EINVAL", "this pool was destroyed; make a new one (the kernel would use the freed memory)")

    def _search(self, chunks: int) -> int | None:
        """The page that a request of `chunks` goes to, if the pool has one."""
        m = self.memmap
        if self.version.lru_head_first and not m.list_empty(self.lru):
            pfn = self.data.pfn(m.load(self.lru))
            first, last = self.data.chunks(pfn)
            if not (first and last) and self.capacity - first - last >= chunks:
                return pfn
        head = self.unbuddied(chunks)
        words, i = m.at(head)
        for entry in words[
            i : i + 2 * (self.lists - chunks) : 2
        ]:  # upward from the tightest fit: each head's first link
            if entry != head:  # not an empty list
                return self.data.pfn(entry)
            head += 16
        return None

    def _new_page(self) -> int:
        try:
            pfn = self.pages.alloc_page("zbud")
        except OutOfMemory as none:
            raise ZbudError("ENOMEM", str(none)) from None
        self.pages_nr += 1
        self.mine.add(pfn)
        self.data.begin(pfn)
        return pfn

    def _place(self, pfn: int, first: int, last: int) -> None:
        """Put a page first on the list that its chunk counts call for."""
        head = self.buddied if first and last else self._unbuddied + 16 * (self.capacity - first - last)
        self.memmap.list_add(self.data.buddy(pfn), head)

    # ------------------------------------------------------------------ free, map

    def free(self, handle: int, *, checked: bool = True) -> None:
        """Give a zpage back (mirrors zbud_free).  The page itself goes back when both of its slots are empty.

        Raises StaleHandle, changing nothing, if the handle is not a live tenant of this pool.  With `checked=False` the
        kernel's own behaviour: the offset alone decides the slot, and what the page holds is believed.
        """
        if checked and self.tenants.get(handle) is not handle:  # the very handle that alloc returned needs no more
            self._live(handle)
        pfn = (handle - DIRECT_MAP) // PAGE_SIZE
        slot = LAST if (handle - self._header) % PAGE_SIZE else FIRST
        first, last = self.data.chunks(pfn)
        if first if slot == FIRST else last:
            self.tenants.pop(self._address(pfn, slot, last), None)
        if slot == FIRST:
            first = 0
        else:
            last = 0
        self.data.set_chunks(pfn, first, last)
        if self.data.under_reclaim(pfn):
            return
        self.memmap.list_del(self.data.buddy(pfn))
        if first or last:
            self._place(pfn, first, last)
        else:
            self.memmap.list_del(self.data.lru(pfn))
            self._give_back(pfn)

    def _live(self, handle: int) -> Handle:
        try:
            live = self.tenants.get(index(handle))
        except TypeError:
            raise TypeError(f"a handle is a kernel address, not {handle!r}") from None
        if (
            live is None
            or getattr(handle, "allocation", live.allocation) != live.allocation
            or (getattr(handle, "pool", self.number) != self.number)
        ):
            raise StaleHandle(
                f"handle {int(handle):#x} is not a live tenant of this pool: it was freed before, or is another "
                "pool's; the kernel would not notice (checked=False shows what it would do)"
            )
        return live

    def _give_back(self, pfn: int) -> None:
        """Restore what the scheme laid over the record, and give the page back (mirrors free_zbud_page)."""
        self.data.end(pfn)
        self.mine.discard(pfn)
        self.pages.free_page(pfn)
        self.pages_nr -= 1

    def map(self, handle: int) -> memoryview:
        """The zpage's bytes, writable, a whole number of chunks (mirrors zbud_map, which returns the handle itself)."""
        live = self._live(handle)
        chunks = self.chunks(live.pfn)[0 if live.slot == FIRST else 1]
        return self.memmap.frame_bytes(live.pfn)[live.offset : live.offset + chunks * CHUNK]

    # ------------------------------------------------------------------ reclaim

    def reclaim(self, retries: int = 8) -> None:
        """Empty one page, the oldest, through the evict callback (mirrors zbud_reclaim_page).

        Raises ZbudError: EINVAL without a callback, with an empty pool or with `retries` 0; EAGAIN if no page could be
        emptied in `retries` tries.  A callback that raises counts as refused: the page is linked back, then the
        exception goes on.
        """
        self._not_destroyed()
        if self.evict is None or self.memmap.list_empty(self.lru) or retries <= 0:
            missing = "no evict callback" if self.evict is None else "an empty pool"
            raise ZbudError("EINVAL", f"cannot reclaim with {missing if retries > 0 else f'{retries} retries'}")
        for _ in range(retries):
            pfn = self.data.pfn(self.memmap.load(self.lru + 8))
            self.memmap.list_del(self.data.lru(pfn))
            self.memmap.list_del(self.data.buddy(pfn))
            self.data.mark_reclaim(pfn, True)
            try:
                self._offer(pfn)
            except KernelOops:  # the machine is dead: nobody cleans up
                raise
            except BaseException:
                self._end_reclaim(pfn)
                raise
            if self._end_reclaim(pfn):
                return
        raise ZbudError("EAGAIN", f"the evictor left no page empty; tries made: {retries}")

    def _end_reclaim(self, pfn: int) -> bool:
        """Only the chunk counts matter, not what evict said: give an empty page back (True), else link it in again."""
        self.data.mark_reclaim(pfn, False)
        first, last = self.data.chunks(pfn)
        if not (first or last):
            self._give_back(pfn)
            return True
        self._place(pfn, first, last)
        self.memmap.list_add(self.data.lru(pfn), self.lru)
        return False

    def _offer(self, pfn: int) -> None:
        """Call evict for FIRST, then for LAST; a refusal ends it.  Both handles are fixed before the first call."""
        assert self.evict is not None
        counts = self.chunks(pfn)
        tenants = [self._address(pfn, slot, counts[1]) for slot, n in zip((FIRST, LAST), counts, strict=True) if n]
        for handle in [self.tenants.get(address, Handle(address)) for address in tenants]:
            if self.evict(self, handle):
                return

    def shrink(self, pages: int) -> int:
        """Reclaim up to `pages` pages, 8 retries each; returns how many (mirrors zbud_zpool_shrink, 5.14).

        Stops at the first failure and raises its ZbudError, with `reclaimed` set to the number of pages done.
        """
        for done in range(pages):
            try:
                self.reclaim(8)
            except ZbudError as error:
                error.reclaimed = done
                raise
        if pages <= 0:
            raise ZbudError("EINVAL", f"asked to reclaim {pages} pages; the smallest number is 1")
        return pages

    # ------------------------------------------------------------------ the end

    def destroy(self, *, checked: bool = True) -> None:
        """Free the pool structure (mirrors zbud_destroy_pool, which does not look whether the pool is empty).

        Raises ZbudError EBUSY, ours and not the kernel's, if zpages are left; with `checked=False` their pages leak.
        """
        self._not_destroyed()
        if checked and self.tenants:
            raise ZbudError(
                "EBUSY", f"{len(self.tenants)} zpages are left, and their pages would leak; free them first"
            )
        self.memmap.owner.update(dict.fromkeys(self.mine, "lost"))
        self.mine.clear()
        self.tenants.clear()
        self.destroyed = True
        self._dress_slab(False)
        if self._taken is not None:
            self.pages.free_page(self._taken)

    def __repr__(self) -> str:
        return (
            f"<zbud {self.version.name} pool at {self.address:#x}: zpages {len(self.tenants)}, pages {self.pages_nr}>"
        )
