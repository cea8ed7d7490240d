"""Recorded kernels, and this one: how long a recording takes to load, and a survey of the running machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import Row, interleaved, ratio, row
from zbudlab import kernel

FILES = ("/proc/kpageflags", "/proc/kpagecount")
ROOM = 1 << 19


def read_only() -> None:
    """The yardstick: both files from end to end, and nothing done with them."""
    room = bytearray(ROOM)
    for name in FILES:
        with Path(name).open("rb", 0) as file:
            while file.readinto(room):
                pass


def run(quick: bool = False) -> Iterator[Row]:
    for release in kernel.releases():
        (times,) = interleaved(3 if quick else 9, lambda release=release: kernel.load(release))  # type: ignore[misc]
        yield row(f"load {release}", 1e3 * median(times), "ms")
    if not all(os.access(name, os.R_OK) for name in FILES):
        return  # not root, or no Linux
    pages = kernel.live().pages  # once beforehand: numpy is imported then
    reads, surveys = interleaved(3 if quick else 9, read_only, kernel.live)
    factor = ratio(surveys, reads)
    against = ("reading both files", factor)
    yield row(f"live(), {pages:,} pages", median(surveys), "s", against=against)
    yield row("live(), times the reading", factor, "", against=against, at_most=4 / 3)
