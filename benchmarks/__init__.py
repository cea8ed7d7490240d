"""How fast the model is, and how large: `python3 lab.py bench`, or `python -m benchmarks --help`.

Each module here that has a `run(quick)` is a benchmark; it yields rows (`Row`) as it measures them.  To add one, add a
module.  A figure is the median of several repetitions.  Machines differ and are busy with other things, so what counts
is the ratio to a yardstick that was measured in the same run, its repetitions between those of the figure.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import TypedDict


class Row(TypedDict):
    """One line of the table: a figure, what it is held against, and whether it reaches its goal (None: it has none)."""

    name: str
    figure: float
    unit: str
    yardstick: str  # in words
    ratio: float | None  # to the yardstick
    goal: str
    met: bool | None


def row(
    name: str,
    figure: float,
    unit: str,
    *,
    against: tuple[str, float] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Row:
    """A row: `against` is the yardstick in words and the ratio to it; the goal is one for the figure.

    >>> row("search", 150_000.0, "op/s", at_least=200_000)["met"]
    False
    """
    goal, met = "", None
    if at_least is not None:
        goal, met = f"at least {at_least:,g}", figure >= at_least
    if at_most is not None:
        goal, met = f"at most {at_most:,g}", figure <= at_most
    yardstick, ratio = against or ("", None)
    return {
        "name": name, "figure": figure, "unit": unit, "yardstick": yardstick, "ratio": ratio, "goal": goal, "met": met,
    }  # fmt: skip


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
