"""Where pages come from: two page allocators, and what each leaves in a record.

`Arena` is the page allocator of the recordings: the lowest free page first, records kept simple (recordings' README).
It makes page numbers predictable, so most lessons use it.

`KernelPages` hands out and takes back pages as Linux 3.10 does for order 0: a per-cpu list (the page freed last goes
out first) in front of buddy free lists of order 0 to 10, with the very fields that the kernel leaves
(source: PAGE_ALLOC).  Lessons use it where a freed page must look like a free page.  It leaves out migrate types (one
serves for all), the watermarks, cold pages, and the guess that lists a block last which will soon merge.

Both check a page that comes back as free_pages_check does, and refuse to hand on one that is not clean.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any, Protocol, runtime_checkable

from .memmap import VMEMMAP, Memmap
from .page import Page
from .struct_page import (
    CHECK_AT_FREE,
    PAGE_BUDDY_MAPCOUNT_VALUE,
    RECORD,
    PageAnon,
    PageBuddy,
    page_mapcount,
)

MAX_ORDER = 11  # free blocks have 2**0 to 2**10 pages


class OutOfMemory(Exception):
    """No page is free (the kernel's caller sees a NULL page and answers -ENOMEM)."""

    errno, name = 12, "ENOMEM"


@runtime_checkable
class PageAllocator(Protocol):
    """What a pool needs of a page allocator: a page, giving it back, and a copy of its own state for `restore`."""

    memmap: Memmap
    bad_pages: list[tuple[int, list[str]]]

    def alloc_page(self, owner: str = "kernel") -> int: ...

    def free_page(self, pfn: int) -> bool: ...

    def free_pfns(self) -> set[int]: ...

    def save(self) -> Any: ...

    def restore(self, saved: Any) -> None: ...

    def check(self) -> None: ...


def all_flags(p: Page) -> int:
    """The mask of every page flag that this kernel has (PAGE_FLAGS_CHECK_AT_PREP)."""
    return (1 << p.memmap.nr_pageflags) - 1


def unclean(p: Page, flags: int) -> list[str]:
    """The fields that are not as a free page's must be, in the order in which the kernel asks; `flags` must be 0."""
    asked = {
        "_mapcount": page_mapcount(p) != 0,
        "mapping": p["mapping"] != 0,
        "_count": p["_count"] != 0,
        "flags": p["flags"] & flags != 0,
    }
    return [name for name, bad in asked.items() if bad]


def free_pages_check(p: Page) -> list[str]:
    """Why a page may not be freed; empty if it may."""
    return unclean(p, CHECK_AT_FREE)


def check_new_page(p: Page) -> list[str]:
    """Why a free page may not be handed out; empty if it may."""
    return unclean(p, all_flags(p))


def put_and_prepare(p: Page) -> list[str] | None:
    """Drop a reference; if it was the last, prepare the page for freeing (mirrors __free_pages, free_pages_prepare).

    Returns None if references remain (nothing more happens: the page stays away), an empty list if the page may go
    back to the free pages, else the fields that are not clean: then `_mapcount` has been reset as bad_page does, and
    the page is given to nobody.
    """
    p["_count"] = (p["_count"] - 1 + 2**31) % 2**32 - 2**31
    if p["_count"]:
        return None
    if PageAnon(p):
        p["mapping"] = 0
    bad = free_pages_check(p)
    if bad:
        p["_mapcount"] = -1
    else:
        p["flags"] &= ~all_flags(p)
    return bad


def keep_away(pages: PageAllocator, pfn: int, bad: list[str] | None) -> bool:
    """A page that was given up but not given back: nobody will hand it out again.  Returns False."""
    if bad:
        pages.bad_pages.append((pfn, bad))
    if pfn in pages.memmap.owner:  # else it was free already, and still is
        pages.memmap.owner[pfn] = "lost" if bad else "pinned"
    return False


class Arena:
    """The recordings' page allocator: always the lowest free page; `_count` 1 on the way out, 0 on the way back.

    `pages` are the pfns it may hand out, by default all of the memmap.  Their records are made idle (`Memmap.fill`).

    >>> arena = Arena(Memmap(2))
    >>> arena.alloc_page(), arena.alloc_page()
    (0, 1)
    >>> arena.free_page(0), arena.alloc_page()
    (True, 0)
    """

    kind = "arena"

    def __init__(self, memmap: Memmap, pages: range | None = None) -> None:
        self.memmap = memmap
        self.pages = memmap.pfns if pages is None else pages
        memmap.fill()
        self._fresh = self.pages.start  # lowest page never handed out yet
        self._back: list[int] = []  # a heap of pages handed out and given back
        self.bad_pages: list[tuple[int, list[str]]] = []

    def alloc_page(self, owner: str = "kernel") -> int:
        """The lowest free pfn, its `_count` now 1; raises OutOfMemory if none is left."""
        if self._back:
            pfn = heappop(self._back)
        elif self._fresh < self.pages.stop:
            pfn, self._fresh = self._fresh, self._fresh + 1
        else:
            raise OutOfMemory(f"none of the {len(self.pages)} pages is free; free something, or make a larger memmap")
        self.memmap.page(pfn)["_count"] = 1
        self.memmap.owner[pfn] = owner
        return pfn

    def free_page(self, pfn: int) -> bool:
        """Drop a reference to `pfn`; True if that gave it back, False if it is kept away (bad, or still counted)."""
        bad = put_and_prepare(self.memmap.page(pfn))
        if bad != []:
            return keep_away(self, pfn, bad)
        self.memmap.owner.pop(pfn, None)  # a page may be freed once more when it is free already: nobody stops it
        heappush(self._back, pfn)
        return True

    def free_pfns(self) -> set[int]:
        return {*self._back, *range(self._fresh, self.pages.stop)}

    def check(self) -> None:
        """Raises AssertionError naming a free page whose record is not idle."""
        for pfn in self._back:
            p = self.memmap.page(pfn)
            bad = unclean(p, all_flags(p))
            assert not bad, f"{p!r} is free, yet its record is not idle ({', '.join(bad)}): {p.raw.hex()}"

    def save(self) -> Any:
        return self._fresh, list(self._back), list(self.bad_pages)

    def restore(self, saved: Any) -> None:
        self._fresh, self._back, self.bad_pages = saved[0], list(saved[1]), list(saved[2])


class KernelPages:
    """Linux 3.10's order-0 pages: a per-cpu list in front of the buddy lists, both at kernel addresses in the model.

    `zone` is the address of struct zone (its free lists stand at +0x90, 88 bytes an order), `pcp` that of the per-cpu
    lists; by default both lie in the memmap's last page, which is then reserved.  `high` is how many pages the per-cpu
    list may reach before `batch` of them go to the buddy lists.  `migratetype` (0 unmovable, 1 reclaimable, 2 movable)
    says which of the lists are used and what a free page's index remembers.

    >>> kernel = KernelPages(Memmap(64))
    >>> pfn = kernel.alloc_page()
    >>> kernel.free_page(pfn), kernel.memmap.page(pfn)["_count"]
    (True, 0)
    """

    kind = "kernel"

    def __init__(
        self,
        memmap: Memmap,
        pages: Iterable[int] | None = None,
        *,
        zone: int | None = None,
        pcp: int | None = None,
        migratetype: int = 0,
        batch: int | None = None,
        high: int | None = None,
    ) -> None:
        self.memmap, self.migratetype = memmap, migratetype
        home = memmap.frame(memmap.pfns[-1])
        own = zone is None or pcp is None
        self.zone = home if zone is None else zone
        self.pcp = home + 0x800 if pcp is None else pcp
        self.batch = max(1, min(31, len(memmap.pfns) // 64)) if batch is None else batch
        self.high = 6 * self.batch if high is None else high
        self.bad_pages: list[tuple[int, list[str]]] = []
        memmap.fill()
        self._count, self.list = 0, self.pcp + 16 + 16 * migratetype
        memmap.list_init(self.list)
        for order in range(MAX_ORDER):
            memmap.list_init(self.free_list(order))
        for p in map(memmap.page, memmap.pfns):  # at boot every page is reserved; then the free ones are freed
            p["flags"] |= 1 << 10
            p["_count"] = 1
            memmap.owner[p.pfn] = "reserved"
        free = (memmap.pfns[:-1] if own else memmap.pfns) if pages is None else pages
        for pfn in free:
            p = memmap.page(pfn)
            p["flags"] &= ~(1 << 10)
            p["_count"], p["index"] = 0, self.migratetype
            del memmap.owner[pfn]
            self._free_one_page(pfn)

    def free_list(self, order: int) -> int:
        """Address of the list head of free blocks of 2**order pages."""
        return self.zone + 0x90 + 88 * order + 16 * self.migratetype

    @staticmethod
    def _pfn(lru: int) -> int:
        return (lru - 32 - VMEMMAP) // RECORD

    def alloc_page(self, owner: str = "kernel") -> int:
        """The pfn at the hot end of the per-cpu list, refilled from the buddy lists; OutOfMemory if both are empty.

        The page leaves with low flags 0, mapping NULL, `_mapcount` -1, `_count` 1, private 0, lru poisoned.
        """
        m = self.memmap
        while True:
            if m.list_empty(self.list):
                self._refill()
            if m.list_empty(self.list):
                raise OutOfMemory(f"none of the {len(m.pfns)} pages is free; free something, or make a larger memmap")
            lru = m.load(self.list)
            m.list_del(lru)
            self._count -= 1
            p = m.page(self._pfn(lru))
            m.owner[p.pfn] = owner
            bad = check_new_page(p)
            if not bad:
                p["private"], p["_count"], p["pfmemalloc"] = 0, 1, 0
                return p.pfn
            p["_mapcount"] = -1  # as bad_page does; the page is given to nobody, and the next is tried
            keep_away(self, p.pfn, bad)

    def _refill(self) -> None:
        """Fill the per-cpu list with a batch, in the order in which the buddy lists give it (mirrors rmqueue_bulk)."""
        m, tail = self.memmap, self.list
        for _ in range(self.batch):
            pfn = self._take_block()
            if pfn is None:
                return
            m.page(pfn)["index"] = self.migratetype
            m.list_add(m.record(pfn) + 32, tail)
            tail = m.record(pfn) + 32
            self._count += 1

    def free_page(self, pfn: int) -> bool:
        """Drop a reference to `pfn`; True if it went to the per-cpu list, False if it is kept away (see Arena)."""
        m = self.memmap
        p = m.page(pfn)
        bad = put_and_prepare(p)
        if bad != []:
            return keep_away(self, pfn, bad)
        m.owner.pop(pfn, None)
        p["index"] = self.migratetype
        m.list_add(p.address + 32, self.list)
        self._count += 1
        if self._count >= self.high:
            self.drain(self.batch)
        return True

    def drain(self, most: int | None = None) -> None:
        """Move up to `most` pages (all, if None) from the cold end of the per-cpu list to the buddy lists."""
        m = self.memmap
        while not m.list_empty(self.list) and most != 0:
            lru = m.load(self.list + 8)
            m.list_del(lru)
            self._count -= 1
            self._free_one_page(self._pfn(lru))
            most = None if most is None else most - 1

    def _free_one_page(self, pfn: int) -> None:
        """Merge a free page with its free neighbours, as far as it goes (mirrors __free_one_page)."""
        m, order = self.memmap, 0
        while order < MAX_ORDER - 1:
            neighbour = pfn ^ (1 << order)
            if neighbour not in m.pfns or not page_is_buddy(m.page(neighbour), order):
                break
            self._unlink_block(neighbour)
            pfn &= neighbour
            order += 1
        p = m.page(pfn)
        p["private"], p["_mapcount"] = order, PAGE_BUDDY_MAPCOUNT_VALUE
        m.list_add(p.address + 32, self.free_list(order))

    def _unlink_block(self, pfn: int) -> None:
        p = self.memmap.page(pfn)
        self.memmap.list_del(p.address + 32)
        p["private"], p["_mapcount"] = 0, -1

    def _take_block(self) -> int | None:
        """One page of the smallest free block; the upper halves go back to the lists (mirrors __rmqueue_smallest)."""
        m = self.memmap
        for order in range(MAX_ORDER):
            if m.list_empty(self.free_list(order)):
                continue
            pfn = self._pfn(m.load(self.free_list(order)))
            self._unlink_block(pfn)
            for smaller in reversed(range(order)):
                half = m.page(pfn + (1 << smaller))
                half["private"], half["_mapcount"] = smaller, PAGE_BUDDY_MAPCOUNT_VALUE
                m.list_add(half.address + 32, self.free_list(smaller))
            return pfn
        return None

    def free_pfns(self) -> set[int]:
        m = self.memmap
        free = {self._pfn(lru) for lru in m.list_walk(self.list)}
        for order in range(MAX_ORDER):
            for lru in m.list_walk(self.free_list(order)):
                free.update(range(self._pfn(lru), self._pfn(lru) + (1 << order)))
        return free

    def check(self) -> None:
        """Raises AssertionError naming the first free block or page whose record is not as the kernel leaves it."""
        m = self.memmap
        for order in range(MAX_ORDER):
            for lru in m.list_walk(self.free_list(order)):
                p = m.page(self._pfn(lru))
                good = PageBuddy(p) and p["private"] == order and p.pfn % (1 << order) == 0
                assert good, f"{p!r} is on free list {order}, yet does not say so: {p.raw.hex()}"
        on_cpu = [self._pfn(lru) for lru in m.list_walk(self.list)]
        assert len(on_cpu) == self._count, f"the per-cpu list holds {len(on_cpu)} pages and counts {self._count}"
        for pfn in self.free_pfns():
            assert m.page(pfn)["_count"] == 0, f"{m.page(pfn)!r} is free, yet counted"
            assert pfn not in m.owner, f"{m.page(pfn)!r} is free, yet {m.owner[pfn]} owns it"

    def save(self) -> Any:
        return self._count, list(self.bad_pages)

    def restore(self, saved: Any) -> None:
        self._count, self.bad_pages = saved[0], list(saved[1])


def page_is_buddy(p: Page, order: int) -> bool:
    """Whether a neighbour is a free block of the same order, to merge with (mirrors page_is_buddy)."""
    return bool(PageBuddy(p)) and p["private"] == order


def alloc_block(pages: PageAllocator, order: int) -> int:
    """The first pfn of 2**order free pages side by side and aligned, all handed out; OutOfMemory if there are none.

    They are taken one by one, and what was taken besides is given back: no way to allocate, but what a scene needs.
    """
    free, size = pages.free_pfns(), 1 << order
    first = next((pfn for pfn in sorted(free) if pfn % size == 0 and free.issuperset(range(pfn, pfn + size))), None)
    if first is None:
        raise OutOfMemory(f"no {size} free pages lie side by side and aligned")
    block, taken = set(range(first, first + size)), set[int]()
    while not block <= taken:
        taken.add(pages.alloc_page())
    for pfn in sorted(taken - block):
        pages.free_page(pfn)
    return first
