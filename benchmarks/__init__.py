"""How fast the model is, and how large: `python3 lab.py bench`, or `python -m benchmarks --help`.

Each module here with a `run(quick)` is a benchmark: it yields rows (`Row`) as it measures them, or raises `NotHere`.
To add one, add a module.  A figure is the median of several repetitions.  Machines differ and are busy with other
things, so what counts is the ratio to a yardstick that was measured in the same run, its repetitions between those of
the figure.  `soak` takes half an hour and is left out unless it is asked for.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter


class NotHere(Exception):
    """Something that a benchmark needs is not on this machine; the words say what, and how to get it."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure, the yardstick beside it, and whether it reaches its goal.

    `ratio` is to the yardstick: of times, of bytes, of what a figure counts.  Where the figure is None, nothing was
    measured, and `note` says why.  `met` is None where there is no goal.
    """

    what: str
    figure: float | None
    unit: str = ""
    yardstick: str = ""  # in words, to be read after "3 times"
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None
    note: str = ""


def row(
    what: str,
    figure: float,
    unit: str,
    against: tuple[str, float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    ratio_at_most: float | None = None,
) -> Row:
    """A row: `against` is the yardstick in words and the ratio to it; the goal, if any, is for the figure or the ratio.

    >>> row("search", 150_000.0, "steps/s", ("an alloc and free", 3.0), at_least=200_000).met
    False
    >>> row("click", 21.0, "ms", ("ipywidgets' slider", 1.2), ratio_at_most=1.5).goal
    'ratio at most 1.5'
    """
    yardstick, ratio = against
    goal, met = "", None
    if at_least is not None:
        goal, met = f"at least {at_least:,g}", figure >= at_least
    if at_most is not None:
        goal, met = f"at most {at_most:,g}", figure <= at_most
    if ratio_at_most is not None:
        goal, met = f"ratio at most {ratio_at_most:.3g}", ratio <= ratio_at_most
    return Row(what, figure, unit, yardstick, ratio, goal, met)


def missing(what: str, why: str) -> Row:
    """The row of something that could not be measured."""
    return Row(what, None, note=why)


def progress(text: str) -> None:
    """Say on stderr what is being measured: stdout is for the table."""
    print(f"... {text}", file=sys.stderr, flush=True)


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes, once; the garbage of earlier work is collected first, not meanwhile counted."""
    gc.collect()
    start = perf_counter()
    work()
    return perf_counter() - start


def interleaved(repetitions: int, *works: Callable[[], object]) -> list[list[float]]:
    """The seconds of each piece of work, over and over: each once, then each again, so that all share the weather."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(repetitions):
        for times, work in zip(taken, works, strict=True):
            times.append(seconds(work))
    return taken


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """The median ratio of two interleaved series, repetition by repetition."""
    return median(a / b for a, b in zip(these, those, strict=True))
