"""PeekerBench: one page in front of all the readers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ipywidgets

from ..demonstrate.face import Finding, consequence, deed_in_words, face, meanwhile
from ..demonstrate.readers import READERS
from ..draw import WIDE, Picture
from ..draw.bench import Bench, bench_picture
from ..peekers.rules import Step
from ..peekers.tell import story_lines
from ..schemes import SCHEMES
from ..timeline import Timeline
from ..versions import Handle
from .instrument import Instrument, button
from .stage import Stage

# Those that tell the story; the rest is shown on request.
STORY = (
    "memory_failure", "hwpoison-inject", "soft_offline", "unpoison", "do_migrate_range", "page_cache",
    "migrate_scanner", "has_unmovable", "kmemleak", "makedumpfile", "kpageflags", "kpagecount", "show_mem", "crash",
)  # fmt: skip


class PeekerBench(Instrument):
    """One page before its readers: what each says of it, and what becomes of it when one of them is let loose.

    `on` is a timeline, or another instrument to stay in step with; by default a small pool of `scheme`.  `pfn` is the
    page on the bench, `reader` (a name of READERS) the one whose story is told.  Its pages must come from the kernel's
    allocator: Timeline(..., allocator="kernel").  On a recording (kernel.load) any page of a real machine stands before
    the readers of its own kernel.

    A reader is chosen by pressing its row, and let loose with its button *run*: what it does is done, and is an event.
    A line of its story shows the record at that moment; with one chosen, *Meanwhile* lets zbud work in that very
    moment.  *Zbud goes on* does what meets the damage.  Keys: x run, m meanwhile, g zbud goes on, u undo, comma and
    full stop step; the brackets go through the story.
    """

    def __init__(
        self, on: Any = None, *, scheme: str = "overlay-v12", pfn: int | None = None, reader: str | None = None
    ) -> None:
        self.item: int | None = None
        self._seen: tuple[Any, ...] = ()
        self._found: list[Finding] = []
        stage = Stage(bench_example(scheme), 1) if on is None else Stage.of(on)
        known = stage.readers
        if reader is not None and reader not in known:
            raise ValueError(f"unknown reader {reader!r}; known: {', '.join(known)}")
        if pfn is not None or reader is not None:
            stage.look(pfn, reader)
            stage.book = (stage.book[0], stage.pfn, stage.reader)
        super().__init__(stage)

    def controls(self) -> Iterable[Sequence[ipywidgets.Widget]]:
        pfns = self.stage.timeline.pool.memmap.pfns
        width = ipywidgets.Layout(width="260px")
        self.scheme = ipywidgets.Dropdown(options=[*SCHEMES], description="scheme", layout=width)
        self.scheme.observe(self.by_hand(self._switch), "value")
        self.page = ipywidgets.IntSlider(self.stage.pfn, pfns[0], pfns[-1], description="page", layout=width)
        self.page.observe(self.by_hand(lambda pfn: self.stage.look(pfn)), "value")
        self.all = ipywidgets.ToggleButton(
            False, description="All readers", tooltip="all, or those that tell the story"
        )
        self.all.observe(lambda change: self.draw(), "value")
        yield [self.scheme, self.page, self.all]
        yield [
            button("Run", "let the chosen reader loose on the page", self.run),
            button("Meanwhile", "the reader visits, and zbud works after the chosen line of its story", self.meanwhile),
            button("Zbud goes on", "the next operation of zbud's, the one that meets the damage", self.go_on),
            button("Undo", "one event back", self.stage.undo),
            button("Back to the book", "as it was at the beginning", self.stage.reset),
        ]

    # ------------------------------------------------------------------ what can be done

    def run(self) -> None:
        """Let the chosen reader loose on the page."""
        stage = self.stage
        self.item = None
        stage.do(lambda: stage.timeline.visit(stage.reader, stage.pfn))

    def meanwhile(self) -> None:
        """The same, with zbud at work after the chosen line of the story (by default where it does most harm)."""
        stage, pool = self.stage, self.stage.timeline.pool
        told = self._chosen.visit.told
        item = self.item if self.item is not None else self._window()
        pause = sum(isinstance(one.item, Step) for one in told[: item + 1])
        deed = meanwhile(pool, stage.reader, stage.pfn, pause)
        if deed is None:
            stage.tell(f"zbud has nothing to do: {pool.idle}")
            return
        row = ["f", deed[1].allocation] if isinstance(deed[1], Handle) else ["a", deed[1]]
        self.item = None
        stage.do(lambda: stage.timeline.race(stage.reader, stage.pfn, pause, [row]))

    def _window(self) -> int:
        """The item of the story after which the record is not as it was; the first of all if there is none."""
        finding = self._chosen
        moments = (i for i, _ in enumerate(finding.visit.told) if finding.after(i)[8:] != finding.record[8:])
        return next(moments, 0)

    def go_on(self) -> None:
        """The next operation of zbud's: the one that meets the damage, if there is any."""
        timeline = self.stage.timeline
        deed = consequence(timeline.pool, self.stage.pfn)
        if deed is None:
            self.stage.tell(f"zbud has nothing to do: {timeline.pool.idle}")
        else:
            self.stage.do(lambda: getattr(timeline, deed[0])(deed[1]))

    def _switch(self, scheme: str) -> None:
        timeline = self.stage.timeline
        self.item = None
        self.stage.switch(timeline.under(timeline.header["version"], scheme=scheme), f"the same events under {scheme}")

    def chosen(self, part: str) -> None:
        kind, _, name = part.partition(":")
        if kind == "reader":
            self.item = None
            self.stage.look(reader=name)
        elif kind == "run":
            self.run()
        elif kind == "item":
            self._at(int(name))
        elif kind == "event":
            self.stage.go(int(name))
        else:
            handle = self.stage.tenant(int(name), kind)
            if handle:
                self.stage.do(lambda: self.stage.timeline.free(handle))

    def _at(self, item: int | None) -> None:
        """To a line of the story; None, or a line that it has no more (clicks may outrun pictures): past its end."""
        self.item = item if item in range(len(self._chosen.visit.told)) else None
        self.draw()

    def _turn(self, step: int) -> None:
        """To the next line of the story, or the one before."""
        ends = [line.item for line in story_lines(self._chosen.visit)]
        at = ends.index(self.item) if self.item in ends else -1
        self._at(ends[max(0, min(len(ends) - 1, at + step))] if ends else None)

    def letters(self) -> dict[str, Callable[[], Any]]:
        return {
            "x": self.run,
            "m": self.meanwhile,
            "g": self.go_on,
            "[": lambda: self._turn(-1),
            "]": lambda: self._turn(1),
        }

    # ------------------------------------------------------------------ showing

    def follow(self) -> None:
        header, pfns = self.stage.timeline.header, self.stage.timeline.pool.memmap.pfns
        name = self.stage.timeline.pool.scheme.name
        if name not in self.scheme.options:
            self.scheme.options = [*SCHEMES, name]
        self.scheme.value = name
        self.scheme.disabled = self.all.disabled = self.stage.recorded
        self.page.min, self.page.max = pfns[0], pfns[0] + header["pages"] - 1
        self.page.value = self.stage.pfn
        if self.stage.reader not in STORY and self.stage.reader in READERS:
            self.all.value = True

    @property
    def readers(self) -> tuple[str, ...]:
        """The readers on show."""
        if self.stage.recorded or self.all.value or self.stage.reader not in STORY:
            return tuple(self.stage.readers)
        return STORY

    @property
    def findings(self) -> list[Finding]:
        """What the readers come to, here and now."""
        timeline = self.stage.timeline
        seen = (id(timeline), self.stage.tape, timeline.position, self.stage.pfn, self.readers)
        if seen != self._seen:
            if self._seen[1:4] != seen[1:4]:
                self.item = None
            self._found, self._seen = face(timeline.pool, self.stage.pfn, self.readers), seen
        return self._found

    @property
    def _chosen(self) -> Finding:
        return next(finding for finding in self.findings if finding.reader.name == self.stage.reader)

    def picture(self, width: int = WIDE, *, parts: bool = False) -> Picture:
        stage, findings = self.stage, self.findings
        deed = None if stage.stopped else consequence(stage.timeline.pool, stage.pfn)
        then = deed_in_words(deed) if deed else ""
        bench = Bench(stage.timeline, stage.pfn, findings, stage.reader, self.item, then, stage.stopped)
        return bench_picture(bench, width, parts=parts)


def bench_example(scheme: str = "overlay-v12") -> Timeline:
    """Three pages to begin with: two pairs, the first odd, the second even, and a page with one tenant."""
    timeline = Timeline("v12", 8, scheme=scheme, allocator="kernel")
    for size in (576, 1216, 768, 1920, 3000):
        timeline.alloc(size)
    return timeline
