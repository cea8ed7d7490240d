"""BuddyLab: a pool to play with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ipywidgets

from ..draw import WIDE, Ghost, Picture, lab_picture
from ..memmap import KernelOops
from ..rows import Caption, count
from ..struct_page import CHUNK
from ..timeline import EVICTORS, Timeline
from ..versions import VERSIONS
from ..workload import RealPage, compressed_size, corpus, stored_size
from .instrument import Instrument, button
from .stage import Stage


class BuddyLab(Instrument):
    """A pool to play with: allocate, click a buddy to free it, reclaim, and go back and forth on the timeline.

    `on` is what it starts with and returns to ("back to the book"): a timeline, or another instrument to stay in step
    with; by default a short timeline of `version` with a few zpages.  `pages` are the real pages that "next real page"
    offers, by default the corpus.

    Keys while the picture has the focus: a allocate, n next real page, r reclaim, u undo, comma and full stop step.
    """

    def __init__(self, on: Any = None, *, version: str = "linux-3.11", pages: Sequence[RealPage] | None = None) -> None:
        self.real = list(corpus() if pages is None else pages)
        self._next = 0
        stage = Stage.of(example(version) if on is None else on)
        if stage.recorded:
            raise ValueError("BuddyLab plays with a pool, and a recorded one stands still: look at it with PageXray, "
                             "PeekerBench or MemmapView")  # fmt: skip
        super().__init__(stage)

    def controls(self) -> Iterable[Sequence[ipywidgets.Widget]]:
        narrow, wide = {"button_width": "auto"}, ipywidgets.Layout(width="420px")
        self.version = ipywidgets.ToggleButtons(options=list(VERSIONS), value=self._name, style=narrow)
        self.version.observe(self.by_hand(self._switch), "value")
        self.size = ipywidgets.IntSlider(19, 1, self._largest, description="chunks", layout=wide)
        self.size.observe(lambda change: self.draw(), "value")
        self.evictor = ipywidgets.Dropdown(
            options=list(EVICTORS), description="evictor", layout=ipywidgets.Layout(width="190px")
        )
        self.evictor.observe(lambda change: self.follow(), "value")
        yield [self.version]
        yield [
            self.size,
            button("Allocate", "as many bytes as the slider says", self.allocate),
            button("Next real page", "room for the next real page, as small as it compresses", self.allocate_real),
        ]
        yield [
            button("Reclaim", "empty the oldest page, through the evictor", self.reclaim),
            self.evictor,
            button("Undo", "one event back", self.stage.undo),
            button("Back to the book", "as it was at the beginning", self.reset),
        ]

    @property
    def timeline(self) -> Timeline:
        return self.stage.timeline

    @property
    def _name(self) -> str:
        return str(self.timeline.header["version"])

    @property
    def _largest(self) -> int:
        return self.timeline.pool.max_size // CHUNK

    # ------------------------------------------------------------------ what can be done

    def allocate(self, size: int | None = None) -> None:
        """Allocate `size` bytes, by default what the slider says."""
        self.stage.do(lambda: self.timeline.alloc(self.size.value * CHUNK if size is None else size))

    def allocate_real(self) -> None:
        """Compress the next real page and store it, if zbud takes it."""
        page = self.real[self._next % len(self.real)]
        self._next += 1
        size = stored_size(page)
        told = f"{page.name} ({page.kind}): compressed to {compressed_size(page):,} bytes, "
        self.stage.do(lambda: self.timeline.alloc(size), f"{told}with zswap's 8 bytes {size:,}; ")

    def reclaim(self) -> None:
        self.stage.do(lambda: self.timeline.reclaim(8))

    def free(self, pfn: int, slot: str) -> None:
        """Free the tenant in a slot of a page."""
        found = self.stage.tenant(pfn, slot)
        if found:
            self.stage.do(lambda: self.timeline.free(found))

    def undo(self) -> None:
        self.stage.undo()

    def reset(self) -> None:
        """Back to the book: the timeline it started with."""
        self._next = 0
        self.stage.reset()

    def _switch(self, version: str) -> None:
        self.stage.switch(self.timeline.under(version), f"the same events under zbud {version}")

    def chosen(self, part: str) -> None:
        kind, _, number = part.partition(":")
        if kind == "event":
            self.stage.go(int(number))
        else:
            self.free(int(number), kind)

    def letters(self) -> dict[str, Callable[[], Any]]:
        return {"a": self.allocate, "n": self.allocate_real, "r": self.reclaim}

    # ------------------------------------------------------------------ showing

    def follow(self) -> None:
        self.timeline.evict = EVICTORS[self.evictor.value]
        self.size.max = self._largest
        self.version.value = self._name

    def picture(self, width: int = WIDE, *, parts: bool = False) -> Picture:
        size = min(self.size.value, self._largest) * CHUNK
        pool = self.timeline.pool
        if self.stage.stopped:
            return lab_picture(self.timeline, width, parts=parts)
        what = f"{size:,} B = {count(size // CHUNK, 'chunk')}"
        try:
            pfn, slot = pool.plan(size)
        except KernelOops:
            return lab_picture(self.timeline, width, parts=parts)
        if pfn is None and not pool.pages.free_pfns():
            return lab_picture(
                self.timeline, width, None, Caption("alloc", what, "ENOMEM, no page is free"), parts=parts
            )
        would = Caption("alloc", what, "would open a new page" if pfn is None else f"would take p{pfn} {slot}")
        return lab_picture(self.timeline, width, Ghost(size // CHUNK, pfn, slot), would, parts=parts)

    def frame(self, width: int) -> Picture:
        return lab_picture(self.timeline, width, parts=True)


def example(version: str = "linux-3.11") -> Timeline:
    """A short timeline to begin with: pairs, single tenants, one freed from each side."""
    timeline = Timeline(version, 16)
    handles = [timeline.alloc(size) for size in (2360, 1650, 2875, 1130, 2680, 700, 1520, 3000, 2040, 1340)]
    timeline.free(handles[0])
    timeline.free(handles[5])
    return timeline
