"""Readers over a large memmap, beside reading its bytes once; stories; and the search for counterexamples."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks import Row, interleaved, progress, ratio, row
from zbudlab.demonstrate import demonstrate
from zbudlab.demonstrate.recogniser import mixed
from zbudlab.memmap import KernelOops, Memmap
from zbudlab.peekers import PEEKERS

FEW_FIELDS = ("kpagecount", "show_mem", "saveable_page", "kmemleak", "dump31", "crash")
BOUND = "reading the bytes once"
FOUND = (  # scheme, reader, races, verdict: each is to be found in under two seconds
    ("overlay-v12", "soft_offline", False, "crash"),
    ("overlay-v12", "memory_failure", True, "corrupt"),
    ("overlay-on-mapcount", "hwpoison-inject", False, "corrupt"),
    ("overlay-clear", "migrate_scanner", False, "corrupt"),
    ("inline-header", "unpoison", False, "corrupt"),
    ("overlay-v12", "makedumpfile", False, "wrong"),
    ("overlay-v12", "page_cache", True, "wrong"),  # two things of zbud's in the middle of one visit
)


def large(pages: int) -> Memmap:
    """A memmap of records as they are on a machine: the mix of the recogniser, over and over, in random order."""
    seed = mixed("overlay-v12").memmap
    records = [bytes(seed.raw[i : i + 64]) for i in range(0, len(seed.raw), 64) if not seed.raw[i + 1] & 0xC0]
    memmap = Memmap(pages)
    chance = random.Random(20130520)
    block = b"".join(chance.choice(records) for _ in range(1 << 14))
    memmap.raw[:] = block * (pages >> 14)
    return memmap


def run(quick: bool = False) -> Iterator[Row]:
    pages, repetitions = (1 << 18, 3) if quick else (1 << 22, 5)
    progress(f"peekers: preparing {pages:,} pages")
    memmap = large(pages)
    words = np.frombuffer(memmap.raw, "<u8")
    oopses: dict[int, KernelOops] = {}
    for name in (*FEW_FIELDS, "kpageflags"):
        progress(f"peekers: {name}")
        PEEKERS[name].scan(memmap, oopses=oopses)
        scanned, read = interleaved(
            repetitions,
            lambda name=name: PEEKERS[name].scan(memmap, oopses=oopses),
            lambda: np.bitwise_or.reduce(words),
        )
        times, most = ratio(scanned, read), 10 if name == "kpageflags" else 3
        yield row(
            f"{name} over {pages:,} pages",
            times,
            f"times {BOUND}",
            against=("ns a page", 1e9 * median(scanned) / pages),
            at_most=most,
        )
    yield from kernels_own()
    progress("peekers: stories")
    machine = mixed("overlay-v12").memmap
    start, stories = perf_counter(), 200 if quick else 2000
    for i in range(stories):
        PEEKERS["kpageflags"].visit(machine, i % 512).undo()
    yield row("story of a page by kpageflags", 1e6 * (perf_counter() - start) / stories, "us")
    yield from searches(quick)


def kernels_own() -> Iterator[Row]:
    """What the running kernel takes for a page of /proc/kpageflags, where it may be read."""
    try:
        with Path("/proc/kpageflags").open("rb", buffering=0) as file:
            start = perf_counter()
            read = sum(len(part) for part in iter(lambda: file.read(1 << 20), b""))
    except OSError:
        return
    if read:
        yield row("the kernel's own /proc/kpageflags", 1e9 * (perf_counter() - start) / (read // 8), "ns a page")


def searches(quick: bool) -> Iterator[Row]:
    progress("peekers: searches")
    answer = demonstrate("overlay-v12", "kmemleak", depth=5 if quick else 7)
    yield row("search: steps tried", answer.tried / answer.seconds, "a second", at_least=20_000)
    yield row("search: new states", answer.states / answer.seconds, "a second")
    for scheme, reader, races, word in FOUND:
        found = demonstrate(scheme, reader, races=races, words=(word,))
        assert found.found
        yield row(f"{scheme}, {reader}{', races' * races}: {word} found in", found.seconds, "s", at_most=2)
