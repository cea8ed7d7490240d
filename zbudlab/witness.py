"""Holding the model to a running kernel: /proc/kpageflags and /proc/kpagecount, every page of a recording.

A recording has the memmap before and after the kernel was asked.  Where the kernel's word is what the model makes of
the record before, they agree.  Where it is not, the page may have changed in between, and then the record after says
so: such pages are named.  Anything else is a difference.

    >>> from zbudlab.kernel import load
    >>> print(compare_pfns(load("6.1"), "kpagecount"))
    kpagecount: 65,536 of 65,536 pages agree
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .demonstrate.recogniser import Score, implicit
from .peekers import of
from .peekers.linux_6_1.report import KPF
from .peekers.report import kpf_names

if TYPE_CHECKING:
    from .kernel import Recording


@dataclass(frozen=True)
class EveryPfn:
    """One file of the kernel's beside the model: `changed` are the pages whose record changed meanwhile.

    `differ` has the pages that nothing explains: pfn to what the kernel said and what the model says.
    """

    file: str
    pages: int
    changed: tuple[int, ...]
    differ: dict[int, tuple[int, int]]

    @property
    def agree(self) -> int:
        """How many pages the kernel and the model agree about, by the record before."""
        return self.pages - len(self.changed) - len(self.differ)

    def __str__(self) -> str:
        text = f"{self.file}: {self.agree:,} of {self.pages:,} pages agree"
        if self.changed:
            text += f", {len(self.changed)} changed while the kernel was asked ({some(self.changed)})"
        if self.differ:
            pfn, (kernel, model) = next(iter(self.differ.items()))
            text += f", {len(self.differ)} differ ({some(tuple(self.differ))}): of page {pfn:#x} the kernel says "
            text += f"{self.show(kernel)}, the model {self.show(model)}"
        return text

    def show(self, value: int) -> str:
        names = kpf_names(value, KPF) if self.file == "kpageflags" else []
        return f"{value:#x}" + (f" ({', '.join(names)})" if names else "")


def some(pfns: tuple[int, ...], most: int = 4) -> str:
    """The first few of some page frame numbers.

    >>> some((1, 2, 3, 4, 5))
    '0x1, 0x2, 0x3, 0x4, ...'
    """
    return ", ".join([f"{pfn:#x}" for pfn in pfns[:most]] + ["..."] * (len(pfns) > most))


def compare_pfns(recording: Recording, file: str) -> EveryPfn:
    """What the kernel said in a file of FILES of every page, beside what the model makes of the records.

    A page has changed if its own record has, or if the model's word on the records after is the kernel's: a page's
    answer can depend on the head of its compound page, or on the first page of a free block.
    """
    peeker, memmap = of(recording.release)[file], recording.memmap()
    said: array[int] = getattr(recording, file)
    model = peeker.scan(memmap).tolist()
    for pfn, record in recording.changed.items():
        memmap.page(pfn).raw = record
    after = peeker.scan(memmap).tolist()
    other = [pfn for pfn, value in enumerate(said) if value != model[pfn]]
    changed = tuple(pfn for pfn in other if pfn in recording.changed or after[pfn] == said[pfn])
    differ = {pfn: (said[pfn], model[pfn]) for pfn in other if pfn not in changed}
    return EveryPfn(file, len(said), changed, differ)


def score(recording: Recording) -> Score:
    """How well the implicit tag tells the zbud pages of a real machine from all others, these by their kpageflags."""
    taken = implicit(recording.memmap().pages()).nonzero()[0].tolist()
    mine = set(recording.zbud_pfns)
    others = Counter(
        " ".join(kpf_names(recording.kpageflags[pfn], KPF)) or "no flag" for pfn in taken if pfn not in mine
    )
    return Score(len(mine), len(mine & set(taken)), dict(others))
