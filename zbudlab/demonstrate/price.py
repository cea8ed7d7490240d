"""What the merged design costs: zbud's data in the page itself, or in struct page, for the same stream of pages.

The header takes a chunk of each page, and with it the largest zpage; the record loses nothing.  The other way round for
the schemes laid over struct page.  Bytes and pages are counted, by running pools; cycles are not claimed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..schemes import SCHEMES
from ..struct_page import CHUNK, PAGE_SIZE
from ..workload import SEED, RealPage, corpus, stored_size
from ..zbud import ZbudPool

# Which schemes, run by which version: the patch under review, moved, as first merged, as released.
PLACEMENTS = (
    ("overlay-v12", "v12"),
    ("overlay-clear", "v12"),
    ("inline-header", "linux-3.11-rc1"),
    ("inline-header", "linux-3.11"),
)


@dataclass(frozen=True)
class Placement:
    """One scheme, run by one version: `header` bytes lost in each page, `overlaid` bytes of each struct page taken.

    `largest` is the largest zpage in bytes, `refused` how many of the stream are larger, `pages` how many pages the
    pool has when it holds those that every placement takes.
    """

    scheme: str
    version: str
    header: int
    overlaid: int
    largest: int
    refused: int
    pages: int


@dataclass(frozen=True)
class Price:
    """The placements side by side; `offered` zpages were asked for, `common` of them are taken by all."""

    placements: tuple[Placement, ...]
    offered: int
    common: int

    def __str__(self) -> str:
        head = ("scheme", "zbud", "header", "of the record", "largest zpage", "refused", f"pages for {self.common:,}")
        rows = [
            (
                p.scheme,
                p.version,
                f"{p.header} B",
                f"{p.overlaid} B",
                f"{p.largest:,} B",
                str(p.refused),
                f"{p.pages:,}",
            )
            for p in self.placements
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        table = [
            "  ".join(
                cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(r, widths, strict=True))
            )
            for r in (head, *rows)
        ]
        few, many = min(p.pages for p in self.placements), max(p.pages for p in self.placements)
        more = f"{many - few:,} pages more ({100 * (many - few) / few:.1f} %)" if few else "nothing"
        return "\n".join([
            f"What it costs to keep zbud's data in the page: {self.offered:,} zpages offered, all take {self.common:,}",
            *table,
            f"A page has {PAGE_SIZE:,} bytes.  Between the cheapest and the dearest: {more}.  Cycles are not claimed.",
        ])  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def price(pages: Iterable[RealPage] | None = None, *, sizes: Iterable[int] | None = None, draws: int = 10_000) -> Price:
    """Run the same stream through each placement: `draws` of real `pages` (by default of the corpus), or `sizes`.

    A seed draws the pages, each as likely; sizes are in bytes and taken as they come.  Raises ValueError if both are
    given.
    """
    if pages is not None and sizes is not None:
        raise ValueError("give pages or sizes, not both: one stream is run")
    if sizes is None:
        real, chance = list(map(stored_size, corpus() if pages is None else pages)), random.Random(SEED)
        sizes = [real[int(chance.random() * len(real))] for _ in range(draws if real else 0)]
    asked = list(sizes)
    limits = [ZbudPool(version, 1, scheme=scheme).max_size for scheme, version in PLACEMENTS]
    common = [size for size in asked if size <= min(limits)]
    return Price(tuple(_placement(*at, asked, common) for at in PLACEMENTS), len(asked), len(common))


def _placement(scheme: str, version: str, asked: list[int], common: list[int]) -> Placement:
    pool, s = ZbudPool(version, len(common), scheme=scheme), SCHEMES[scheme]
    for size in common:
        pool.alloc(size)
    overlaid = sum(size for _, size in s.pieces().values()) if s.home == "record" else 0
    refused = sum(size > pool.max_size for size in asked)
    return Placement(scheme, version, s.header_chunks * CHUNK, overlaid, pool.max_size, refused, pool.pages_nr)
