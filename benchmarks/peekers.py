"""Readers over a large memmap, beside reading its bytes once; stories; and the search for counterexamples."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from benchmarks import Row, interleaved, missing, progress, ratio, row, seconds
from zbudlab.demonstrate import demonstrate
from zbudlab.demonstrate.recogniser import mixed
from zbudlab.memmap import KernelOops, Memmap
from zbudlab.peekers import PEEKERS
from zbudlab.zbud import ZbudPool

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
            partial(PEEKERS[name].scan, memmap, oopses=oopses),
            lambda: np.bitwise_or.reduce(words),
        )
        yield row(
            f"{name} over {pages:,} pages",
            1e9 * median(scanned) / pages,
            "ns a page",
            (BOUND, ratio(scanned, read)),
            ratio_at_most=10 if name == "kpageflags" else 3,
        )
    yield kernels_own(median(scanned) / pages)
    yield story(quick)
    yield from searches(quick)


def story(quick: bool) -> Row:
    progress("peekers: stories")
    memmap, visit = mixed("overlay-v12").memmap, PEEKERS["kpageflags"].visit
    pages = range(0, 512, 4 if quick else 1)

    def tell() -> None:
        for pfn in pages:
            visit(memmap, pfn).undo()

    told, copied = interleaved(3, tell, lambda: [bytes(memmap.raw[64 * pfn : 64 * pfn + 64]) for pfn in pages])
    against = ("copying its 64 bytes", ratio(told, copied))
    return row("story of a page by kpageflags", 1e6 * median(told) / len(pages), "us", against)


def kernels_own(ours: float) -> Row:
    """What the running kernel takes for a page of /proc/kpageflags, beside ours, in seconds."""
    what = "the kernel's own /proc/kpageflags"
    try:
        with Path("/proc/kpageflags").open("rb", buffering=0) as file:
            start = perf_counter()
            read = sum(len(part) for part in iter(lambda: file.read(1 << 20), b""))
            took = perf_counter() - start
    except OSError as error:
        return missing(what, f"it cannot be read here ({error.strerror}): that takes Linux and root")
    if not read:
        return missing(what, "it is empty here")
    took /= read // 8
    return row(what, 1e9 * took, "ns a page", ("kpageflags over the memmap", took / ours))


def searches(quick: bool) -> Iterator[Row]:
    progress("peekers: searches")
    pool = ZbudPool("v12")

    def pairs() -> None:
        for _ in range(1000):
            pool.free(pool.alloc(576))

    answer = demonstrate("overlay-v12", "kmemleak", depth=5 if quick else 7)
    each = answer.seconds / answer.tried
    pair = median(seconds(pairs) for _ in range(5)) / 1000
    against = ("the time of an alloc and a free", each / pair)
    yield row("search: steps tried", 1 / each, "a second", against, at_least=20_000)
    took = {}
    for scheme, reader, races, word in FOUND:
        found = demonstrate(scheme, reader, races=races, words=(word,))
        assert found.found
        took[f"{scheme}, {reader}{', races' * races}: {word}"] = found.seconds
    slowest = max(took, key=lambda name: took[name])
    against = ("a step of the search", took[slowest] / each)
    yield row(f"the slowest of {len(took)} counterexamples ({slowest})", took[slowest], "s", against, at_most=2)
