"""SafetyMatrix: every scheme before every reader, and the shortest way to each verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import ipywidgets

from ..demonstrate import Answer, demonstrate, matrix
from ..demonstrate.judge import Matrix, verdicts
from ..demonstrate.readers import READERS
from ..demonstrate.real import Confirmed
from ..draw import WIDE, Picture, matrix_picture
from ..draw.matrix import Chosen
from ..schemes import SCHEMES, Scheme
from .instrument import Instrument, button
from .peekerbench import bench_example
from .stage import Stage

# Four schemes and six readers that tell the story; the rest is shown on request.
FEW = (
    ("overlay-v12", "overlay-clear", "slab-flag", "inline-header"),
    ("memory_failure", "soft_offline", "unpoison", "migrate_scanner", "makedumpfile", "kpageflags"),
)
START = ("overlay-v12", "soft_offline")
SECONDS, DEPTH = 30.0, 4  # how long, and how deep, the shortest trace is looked for


@cache
def trace_of(scheme: Scheme, reader: str) -> Answer:
    """The shortest trace to the verdict of a cell, or what was covered without finding one."""
    verdict = verdicts(scheme)[reader]
    words = tuple(word for word in ("misreport", "wrong", "corrupt", "crash") if word == verdict.word)
    words += ("corrupt", "crash") if verdict.race else ()
    return demonstrate(scheme, reader, races=verdict.race, depth=DEPTH, words=words, seconds=SECONDS)


class SafetyMatrix(Instrument):
    """Every scheme before every reader: the verdicts, computed, and Morton's four demands beside them.

    It opens with four schemes and six readers; `schemes` are further ones, of your own.  Press a cell for the reason
    and, where it is not ok, for the shortest trace that leads there; that can be loaded into the timeline of `on`,
    another instrument, which shows it step by step.  The arrow keys walk over the grid.

    With `kernel` "6.1" it is the matrix of that kernel, with the cells that a real one confirmed: no traces there.
    """

    reels = False

    def __init__(self, on: Any = None, *, schemes: Iterable[Scheme] = (), kernel: str = "3.10") -> None:
        own = list(schemes)
        self.today = None if kernel == "3.10" else matrix(kernel=kernel)
        self.schemes = {scheme.name: scheme for scheme in (*SCHEMES.values(), *own)}
        self.own = tuple(scheme.name for scheme in own)
        self.cell = START
        super().__init__(Stage(bench_example(), 1) if on is None else on)

    def controls(self) -> Iterable[Sequence[ipywidgets.Widget]]:
        self.all = ipywidgets.ToggleButton(
            False, description="All schemes and readers", tooltip="or those of the story"
        )
        self.all.layout.width = "auto"
        self.all.observe(lambda change: self._fit(), "value")
        yield [
            *([self.all] if self.today is None else []),
            button("Back to the book", "as it was at the beginning", self.reset),
        ]

    @property
    def matrix(self) -> Matrix:
        """What is on show."""
        if self.today is not None:
            return self.today
        few = ((*FEW[0], *self.own), FEW[1])
        schemes, readers = (tuple(self.schemes), tuple(READERS)) if self.all.value else few
        whole = Matrix(((s, reader), verdicts(self.schemes[s])[reader]) for s in schemes for reader in READERS)
        found = Matrix({(s, reader): whole[s, reader] for s in schemes for reader in readers})
        found.own, found.whole = {name: self.schemes[name] for name in self.own}, whole
        return found

    def look(self, scheme: str, reader: str) -> str:
        """Look at a cell: the line says what is there.  Raises ValueError for an unknown scheme or reader."""
        if self.today is None:
            schemes, readers = list(self.schemes), list(READERS)
        else:
            schemes, readers = self.today.schemes, self.today.readers
        if scheme not in schemes or reader not in readers:
            known = f"schemes: {', '.join(schemes)}; readers: {', '.join(readers)}"
            raise ValueError(f"there is no cell {scheme!r}, {reader!r}; {known}")
        self.cell = (scheme, reader)
        if self.cell not in self.matrix:
            self.all.value = True
        self._line = f"{scheme}, {reader}: {self.matrix[self.cell]}"
        self.draw()
        return self._line

    def load(self) -> None:
        """Put the shortest trace of the cell into the timeline."""
        answer = trace_of(self.schemes[self.cell[0]], self.cell[1])
        if not answer.found:
            self.stage.tell(f"there is no trace to load: {answer}")
            return
        timeline = answer.timeline()
        visits = [row for row in timeline.events if row[0] in "pq"]
        pfn = visits[-1][2] if visits else 0
        self.stage.begin(timeline, pfn, self.cell[1])
        self.stage.tell(f"the shortest trace of {self.cell[0]} before {self.cell[1]}: {self.stage.here()}")

    def reset(self) -> None:
        self.cell, self.all.value = START, False
        self.refresh("back to the beginning")

    def _fit(self) -> None:
        """Fewer are on show now: the cell must be one of them."""
        if self.cell not in self.matrix:
            self.cell = START
        self.draw()

    def chosen(self, part: str) -> None:
        if part == "load":
            self.load()
        else:
            scheme, _, reader = part.rpartition(":")
            self.look(scheme, reader)

    def picture(self, width: int = WIDE, *, parts: bool = False) -> Picture:
        scheme, reader = self.cell
        trace, loads = "", False
        if self.today is not None:
            verdict = self.today[self.cell]
            trace = str(verdict).rpartition(" [")[2].rstrip("]") if isinstance(verdict, Confirmed) else ""
        elif verdicts(self.schemes[scheme])[reader].word != "ok":
            answer = trace_of(self.schemes[scheme], reader)
            loads = answer.found
            trace = "shortest trace: " + " \u2192 ".join(map(str, answer.steps)) if loads else str(answer)
        return matrix_picture(self.matrix, width, parts=parts, chosen=Chosen(scheme, reader, trace, loads))
