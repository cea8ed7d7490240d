"""The implicit tag of 30 May 2013 as a recogniser of zbud's pages, scored.

Jennings's first idea (source: seed) was to have no tag at all: a zbud page is told by being an allocated kernel page
that nobody maps, `!PageSlab(p) && page_count(p) > 0 && page_mapcount(p) <= 0`.  As a recogniser that has a recall, the
share of zbud's pages that it recognises, and a precision, the share of what it recognises that is zbud's.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from ..dress import COMPOUND, dress
from ..linux_6_1 import PageSlab as slab_6_1
from ..linux_6_1 import mapcount as mapcount_6_1
from ..linux_6_1 import page_count as count_6_1
from ..linux_6_12 import PageSlab as slab_6_12
from ..memmap import Memmap
from ..page_alloc import KernelPages, alloc_block
from ..schemes import Scheme
from ..struct_page import PageSlab, page_count, page_mapcount
from ..zbud import ZbudPool

# A small machine: so many pages of each kind besides zbud's, and the free ones.
MIX = {
    "kernel": 12, "page table": 10, "reserved": 8, "slab": 20, "frozen slab": 6, "anonymous": 60, "page cache": 40,
    "mapped file": 30, "balloon": 2,
}  # fmt: skip


_ASKED = {  # what the three questions are in each kernel
    "3.10": (PageSlab, page_count, page_mapcount),
    "6.1": (slab_6_1, count_6_1, mapcount_6_1),
    "6.12": (slab_6_12, count_6_1, mapcount_6_1),
}


def implicit(p: Any) -> Any:
    """The predicate, by the accessors of the page's own kernel; on one page or on whole columns."""
    slab, users, maps = _ASKED[p.memmap.release.name]
    return (slab(p) ^ True) & (users(p) > 0) & (maps(p) <= 0)


class Score(NamedTuple):
    """`zbud` pages there are, `recognised` by the predicate among them, and by owner what else it takes for zbud's."""

    zbud: int
    recognised: int
    mistaken: dict[str, int]

    @property
    def recall(self) -> float:
        return self.recognised / self.zbud

    @property
    def precision(self) -> float | None:
        """None if it recognises nothing at all."""
        total = self.recognised + sum(self.mistaken.values())
        return self.recognised / total if total else None

    def __str__(self) -> str:
        precision = "-" if self.precision is None else f"{self.precision:.0%}"
        others = ", ".join(f"{n} {owner}" for owner, n in sorted(self.mistaken.items()))
        return f"recall {self.recall:.0%}, precision {precision}; mistaken for zbud's: {others or 'nothing'}"


def mixed(scheme: Scheme | str, zpages: int = 30) -> ZbudPool:
    """A pool of a scheme among pages of every other kind (MIX, and a compound page of each sort)."""
    pages = KernelPages(Memmap(512))
    pool = ZbudPool("v12", pages, scheme=scheme)
    for i in range(zpages):
        pool.alloc(64 * (9 + 7 * i % 40))
    for kind, n in MIX.items():
        for _ in range(n):
            dress(pages.memmap, pages.alloc_page(), kind)
    for kind in COMPOUND:
        dress(pages.memmap, alloc_block(pages, 2), kind, order=2)
    return pool


def score(scheme: Scheme | str) -> Score:
    """How well the implicit tag tells a scheme's pages from all others."""
    pool = mixed(scheme)
    m = pool.memmap
    taken = [pfn for pfn in m.pfns if implicit(m.page(pfn))]
    mistaken = Counter(m.owner.get(pfn, "free") for pfn in taken if pfn not in pool.mine)
    return Score(len(pool.mine), len(pool.mine & set(taken)), dict(mistaken))
