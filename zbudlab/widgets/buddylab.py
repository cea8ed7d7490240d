"""BuddyLab: a pool to play with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from ..draw import NARROW, WIDE, Ghost, Picture, lab_picture
from ..rows import Caption, count
from ..struct_page import CHUNK
from ..timeline import EVICTORS, Timeline
from ..versions import VERSIONS, ZbudError
from ..workload import RealPage, compressed_size, corpus, stored_size
from .view import View


class BuddyLab(ipywidgets.VBox):  # type: ignore[misc]
    """A pool to play with: allocate, click a buddy to free it, reclaim, and go back and forth on the timeline.

    `timeline` is what it starts with and returns to ("back to the book"); by default a short one of `version` with a
    few zpages.  `pages` are the real pages that "next real page" offers, by default the corpus.

    Keys while the picture has the focus: a allocate, n next real page, r reclaim, u undo, comma and full stop step.
    """

    def __init__(
        self, timeline: Timeline | None = None, *, version: str = "linux-3.11", pages: Sequence[RealPage] | None = None
    ) -> None:
        self.book = timeline or example(version)
        self.timeline = self.book.under(self.book.header["version"])
        self.real = list(corpus() if pages is None else pages)
        self._next, self._line = 0, ""
        self._controls()
        self.view = View(self._chosen, self._typed)
        self.view.observe(lambda change: self.draw(), "narrow")
        super().__init__([*self._rows, self.view])
        self.draw()

    # ------------------------------------------------------------------ controls

    def _controls(self) -> None:
        def button(words: str, tip: str, action: Callable[[], None]) -> ipywidgets.Button:
            made = ipywidgets.Button(description=words, tooltip=tip, layout=ipywidgets.Layout(width="auto"))
            made.on_click(lambda _: action())
            return made

        narrow = {"button_width": "auto"}
        self.version = ipywidgets.ToggleButtons(options=list(VERSIONS), value=self._name, style=narrow)
        self.version.observe(lambda change: self._switch(change.new), "value")
        self.size = ipywidgets.IntSlider(
            19, 1, self._largest, description="chunks", layout=ipywidgets.Layout(width="420px")
        )
        self.size.observe(lambda change: self.draw(), "value")
        self.evictor = ipywidgets.Dropdown(
            options=list(EVICTORS), description="evictor", layout=ipywidgets.Layout(width="190px")
        )
        self.evictor.observe(lambda change: self._set_evictor(), "value")
        self.position = ipywidgets.IntSlider(
            self.timeline.position, 0, len(self.timeline.events), description="event", continuous_update=True
        )
        self.position.observe(lambda change: self._go(change.new), "value")
        actions = [
            button("Allocate", "as many bytes as the slider says", self.allocate),
            button("Next real page", "room for the next real page, as small as it compresses", self.allocate_real),
            button("Reclaim", "empty the oldest page, through the evictor", self.reclaim),
            button("Undo", "one event back", self.undo),
            button("Back to the book", "as it was at the beginning", self.reset),
        ]
        row = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        self._rows = [
            ipywidgets.HBox([self.version], layout=row),
            ipywidgets.HBox([self.size, *actions[:2]], layout=row),
            ipywidgets.HBox([actions[2], self.evictor, self.position, *actions[3:]], layout=row),
        ]

    @property
    def _name(self) -> str:
        return str(self.timeline.header["version"])

    @property
    def _largest(self) -> int:
        return self.timeline.pool.max_size // CHUNK

    # ------------------------------------------------------------------ what can be done

    def allocate(self, size: int | None = None) -> None:
        """Allocate `size` bytes, by default what the slider says."""
        self._do(lambda: self.timeline.alloc(self.size.value * CHUNK if size is None else size))

    def allocate_real(self) -> None:
        """Compress the next real page and store it, if zbud takes it."""
        page = self.real[self._next % len(self.real)]
        self._next += 1
        size = stored_size(page)
        told = (
            f"{page.name} ({page.kind}): compressed to {compressed_size(page):,} bytes, with zswap's 8 bytes {size:,}; "
        )
        self._do(lambda: self.timeline.alloc(size), told)

    def reclaim(self) -> None:
        self._do(lambda: self.timeline.reclaim(8))

    def free(self, pfn: int, slot: str) -> None:
        """Free the tenant in a slot of a page."""
        tenants = self.timeline.pool.tenants.values()
        found = [handle for handle in tenants if (handle.pfn, handle.slot) == (pfn, slot)]
        if found:
            self._do(lambda: self.timeline.free(found[0]))

    def undo(self) -> None:
        self._go(max(0, self.timeline.position - 1))

    def reset(self) -> None:
        """Back to the book: the timeline it started with."""
        self._next = 0
        self.timeline = self.book.under(self.book.header["version"])
        self._set_evictor()
        self.version.value = self._name
        self._said("back to the beginning")

    def _do(self, operation: Callable[[], Any], before: str = "") -> None:
        later = len(self.timeline.events) - self.timeline.position
        if later:
            before = f"(forgotten: {count(later, 'later event')}) {before}"
        try:
            operation()
        except ZbudError as error:
            self._said(f"{before}{error}")
        else:
            self._said(f"{before}{self.timeline.caption(self.timeline.position)}")

    def _go(self, position: int) -> None:
        if position != self.timeline.position:
            self.timeline.goto(position)
            self._said(f"event {position} of {len(self.timeline.events)}")

    def _switch(self, version: str) -> None:
        if version != self._name:
            self.timeline = self.timeline.under(version)
            self._said(f"the same events under zbud {version}")

    def _set_evictor(self) -> None:
        self.timeline.evict = EVICTORS[self.evictor.value]

    def _chosen(self, part: str) -> None:
        kind, _, number = part.partition(":")
        if kind == "event":
            self._go(int(number))
        else:
            self.free(int(number), kind)

    def _typed(self, key: str) -> None:
        at, end = self.timeline.position, len(self.timeline.events)
        actions: dict[str, Callable[[], None]] = {
            "a": self.allocate,
            "n": self.allocate_real,
            "r": self.reclaim,
            "u": self.undo,
            ",": lambda: self._go(max(0, at - 1)),
            ".": lambda: self._go(min(end, at + 1)),
        }
        if key in actions:
            actions[key]()

    # ------------------------------------------------------------------ showing

    def picture(self, width: int = WIDE, *, parts: bool = False) -> Picture:
        """What it shows now."""
        size = min(self.size.value, self._largest) * CHUNK
        pool = self.timeline.pool
        pfn, slot = pool.plan(size)
        what = f"{size:,} B = {count(size // CHUNK, 'chunk')}"
        if pfn is None and not pool.pages.free_pfns():
            return lab_picture(
                self.timeline, width, None, Caption("alloc", what, "ENOMEM, no page is free"), parts=parts
            )
        would = Caption("alloc", what, "would open a new page" if pfn is None else f"would take p{pfn} {slot}")
        return lab_picture(self.timeline, width, Ghost(size // CHUNK, pfn, slot), would, parts=parts)

    def draw(self) -> None:
        self.view.show(self.picture(NARROW if self.view.narrow else WIDE, parts=True), self._line)

    def _said(self, line: str) -> None:
        """Bring controls and picture in step with the timeline, and say what happened."""
        self._line = line
        self.size.max = self._largest
        with self.position.hold_trait_notifications():
            self.position.max = len(self.timeline.events)
            self.position.value = self.timeline.position
        self.draw()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live view, and beside it what is saved: the same picture, still, with its text twin."""
        live = super()._repr_mimebundle_(**kwargs)
        still = self.picture()
        return {**(live[0] if isinstance(live, tuple) else live), "text/html": still.html(), "text/plain": still.text}

    def __repr__(self) -> str:
        return f"<BuddyLab: {self.timeline!r}>"


def example(version: str = "linux-3.11") -> Timeline:
    """A short timeline to begin with: pairs, single tenants, one freed from each side."""
    timeline = Timeline(version, 16)
    handles = [timeline.alloc(size) for size in (2360, 1650, 2875, 1130, 2680, 700, 1520, 3000, 2040, 1340)]
    timeline.free(handles[0])
    timeline.free(handles[5])
    return timeline
