"""Whole machines at a glance, from what /proc/kpageflags and /proc/kpagecount say: pages by kind, a map of memory, and
how many pages the implicit tag of May 2013 would take for zbud's.

Both files have one 64-bit word for each page frame number.  They come in blocks, so that a machine of any size costs
the same memory here; what stays is a few counters and a map of fixed size.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .here import need_numpy

if TYPE_CHECKING:
    import numpy as np

BLOCK = 1 << 16  # pages looked at in one go: half a MiB of each file
CELLS = 512  # at most this many cells in the map
WIDTH = 64  # of them in a line of text
UNKNOWN = 1 << 24  # pages to make the map for if nobody knows how many there are: 64 GiB

# The kinds of pages, by the first of these bits that the kpageflags word has (include/uapi/linux/kernel-page-flags.h):
# name, letter in the map, bit.  The last two have none of them.
KINDS = (
    ("no page here", " ", 20),  # KPF_NOPAGE
    ("poisoned", "!", 19),  # KPF_HWPOISON
    ("free", ".", 10),  # KPF_BUDDY
    ("slab", "s", 7),  # KPF_SLAB
    ("reserved", "r", 32),  # KPF_RESERVED
    ("offline", "o", 23),  # KPF_OFFLINE
    ("page table", "t", 26),  # KPF_PGTABLE
    ("huge", "h", 17),  # KPF_HUGE
    ("zero page", "z", 24),  # KPF_ZERO_PAGE
    ("anonymous", "a", 12),  # KPF_ANON
    ("file", "f", 5),  # KPF_LRU, and none of the above
    ("other", "k", None),
    ("nothing said", "-", None),
)
NAMES = tuple(name for name, _, _ in KINDS)
NOTHING, OTHER, FREE, HOLE, SLAB = (NAMES.index(n) for n in ("nothing said", "other", "free", "no page here", "slab"))

Progress = Callable[[int, int], None]


def kind(flags: int) -> int:
    """Which of KINDS a kpageflags word makes a page.

    >>> NAMES[kind(0)], NAMES[kind(0x5828)], NAMES[kind(0x400)]
    ('nothing said', 'anonymous', 'free')
    """
    for number, (_, _, bit) in enumerate(KINDS):
        if bit is not None and flags >> bit & 1:
            return number
    return OTHER if flags else NOTHING


@dataclass
class Survey:
    """What was counted.

    `kinds`: pages by name of kind.  `taken_for_zbud`: of those, the pages of which
    `!PageSlab(p) && page_count(p) > 0 && page_mapcount(p) <= 0` holds (<20130530174344.GA15837@medulla>).  page_count
    itself is in neither file; a page that is neither free nor a hole is taken to have one above 0.  `mapped`: pages
    whose map count is above 0.  `cells`: a letter for each `per_cell` pages, that of the kind which most of them are.
    `why` is empty, or the sentence that says why there is nothing.
    """

    title: str
    pages: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    taken_for_zbud: dict[str, int] = field(default_factory=dict)
    mapped: int = 0
    cells: str = ""
    per_cell: int = 0
    why: str = ""

    def __bool__(self) -> bool:
        return not self.why

    def __str__(self) -> str:
        if self.why:
            return self.why
        lines = [f"{self.title}: {self.pages:,} pages"]
        lines += [
            f"  {letter} {name:12} {self.kinds[name]:>12,} {self.kinds[name] / self.pages:7.1%}"
            for name, letter, _ in KINDS
            if name in self.kinds
        ]
        taken = sum(self.taken_for_zbud.values())
        lines.append(f"  !PageSlab && page_count > 0 && page_mapcount <= 0 takes {taken:,} of them for zbud's:")
        lines += [f"    {number:>14,} {name}" for name, number in self.taken_for_zbud.items()]
        lines.append(f"  {self.per_cell:,} pages to a letter, that of the most frequent kind:")
        lines += [f"  |{self.cells[i : i + WIDTH]}|" for i in range(0, len(self.cells), WIDTH)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Survey of {self.title}: {self.why or f'{self.pages:,} pages'}>"


def bar(done: int, pages: int) -> None:
    """A `progress` for people: one line on stderr that fills up."""
    share = done / pages if pages else 1.0
    end = "\n" if share >= 1 else ""
    print(f"\r[{'#' * int(40 * share):40}] {share:4.0%} of {pages:,} pages", end=end, file=sys.stderr, flush=True)


def survey(title: str, blocks: Iterable[tuple[Any, Any]], pages: int, progress: Progress | None = None) -> Survey:
    """Count pages that come as pairs of buffers (flags, counts) of 64-bit words, equally long, in ascending order.

    `pages` is about how many will come, 0 if nobody knows: it sets the scale of the map.  `progress(done, pages)` is
    called after each block; the last call says that all is done.  It may be `bar`.
    """
    need_numpy()
    import numpy as np

    per_cell = 1
    while per_cell * CELLS < (pages or UNKNOWN):
        per_cell *= 2
    tally = np.zeros((0, len(KINDS)), np.int64)
    taken, done, mapped = np.zeros(len(KINDS), np.int64), 0, 0
    for flags, counts in blocks:
        words, positive = np.frombuffer(flags, "<u8"), np.frombuffer(counts, "<i8") > 0
        starts, kinds, lengths = _runs(words, positive, done, per_cell)
        cells = (starts + done) // per_cell
        if len(cells):
            tally.resize((max(len(tally), int(cells[-1]) + 1), len(KINDS)), refcheck=False)
        np.add.at(tally, (cells, kinds), lengths)
        suspects = ~positive[starts] & (kinds != SLAB) & (kinds != FREE) & (kinds != HOLE)
        taken += np.bincount(kinds[suspects], lengths[suspects], len(KINDS)).astype(np.int64)
        mapped += int(np.count_nonzero(positive))
        done += len(words)
        if progress and done < pages:
            progress(done, pages)
    if progress:
        progress(done, done)
    letters = "".join(KINDS[i][1] for i in tally.argmax(axis=1)) if len(tally) else ""
    return Survey(title, done, _named(tally.sum(axis=0)), _named(taken), mapped, letters, per_cell)


def _runs(
    words: np.ndarray[Any, Any], positive: np.ndarray[Any, Any], first: int, per_cell: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Runs of pages that are alike and in one cell of the map: where each starts, its kind, its length.

    Memory is full of such runs, and there are few different words, so hardly anything is done page by page.
    """
    import numpy as np

    edges = np.empty(len(words), bool)
    edges[:1] = True
    edges[1:] = (words[1:] != words[:-1]) | (positive[1:] != positive[:-1])
    edges[-first % per_cell :: per_cell] = True
    starts = np.flatnonzero(edges)
    different, which = np.unique(words[starts], return_inverse=True)
    kinds = np.array([kind(int(word)) for word in different], np.intp)[which]
    return starts, kinds, np.diff(starts, append=len(words))


def _named(numbers: np.ndarray[Any, Any]) -> dict[str, int]:
    return {name: int(n) for name, n in zip(NAMES, numbers, strict=True) if n}
