"""How large a memmap is, and how long it takes to make."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from statistics import median

from benchmarks import Row, interleaved, progress, ratio, row
from zbudlab.memmap import Memmap
from zbudlab.struct_page import RECORD

MIB = 2**20


def run(quick: bool = False) -> Iterator[Row]:
    pages = 2**20
    name, plain = f"memmap of {pages:,} pages", pages * RECORD
    progress(f"memory: preparing {name}")
    tracemalloc.start()
    memmap = Memmap(pages)
    memmap.fill()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    bare = f"{RECORD} bytes a page"
    yield row(f"{name}: held", held / MIB, "MiB", (bare, held / plain))
    yield row(f"{name}: at most, while it is filled", peak / MIB, "MiB", (bare, peak / plain))
    filled, copied = interleaved(2 if quick else 5, memmap.fill, lambda: bytes(memmap.raw))
    yield row(f"{name}: filled", 1e3 * median(filled), "ms", ("a copy of its bytes", ratio(filled, copied)))
