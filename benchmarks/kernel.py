"""Recorded kernels, and this one: how long a recording takes to load, and a survey of the running machine."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import Row, interleaved, missing, ratio, row
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


def unpack(release: str) -> None:
    """The yardstick: the parts of a recording, unpacked, and nothing done with them."""
    for part in (kernel.DATA / release).glob("*.gz"):
        gzip.decompress(part.read_bytes())


def run(quick: bool = False) -> Iterator[Row]:
    times = 3 if quick else 9
    for release in kernel.releases():
        # by its folder, since a release is read once and kept
        loads, unpacked = interleaved(times, partial(kernel.load, kernel.DATA / release), partial(unpack, release))
        yield row(f"load {release}", 1e3 * median(loads), "ms", ("unpacking its parts", ratio(loads, unpacked)))
    if not all(os.access(name, os.R_OK) for name in FILES):
        yield missing("live()", f"{' and '.join(FILES)} cannot be read here: that takes Linux and root")
        return
    pages = kernel.live().pages  # once beforehand: numpy is imported then
    reads, surveys = interleaved(3 if quick else 5, read_only, kernel.live)
    against = ("reading both files", ratio(surveys, reads))
    yield row(f"live(), {pages:,} pages", median(surveys), "s", against, ratio_at_most=4 / 3)
