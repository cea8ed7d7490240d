"""One chart: how many zpages need how many chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..struct_page import CHUNK
from .kit import WIDE, Fig, Picture
from .page import CHUNKS


def sizes_picture(sizes: Sequence[int], limit: int, width: int = WIDE) -> Picture:
    """Sizes in bytes as bars, one for each number of chunks, on the scale of a page; `limit` is the largest zbud takes.

    What is larger stands beyond the limit, in the colour of other kernel pages.
    """
    counts = Counter(-(-size // CHUNK) for size in sizes)
    kept = sum(n for chunks, n in counts.items() if chunks * CHUNK <= limit)
    told = f"{len(sizes)} compressed pages: {kept} within {limit:,} bytes, {len(sizes) - kept} above"
    fig = Fig("Sizes in chunks", told, width)
    last = max([CHUNKS, *counts])
    left, step, tall = 40.0, (width - 90) / last, 120
    unit = tall / max([1, *counts.values()])
    fig.say(told)
    for chunks in range(1, last + 1):
        h = counts[chunks] * unit
        if h:
            x = left + (chunks - 1) * step
            fig.area(x + 0.5, 12 + tall - h, step - 1, h, "Z" if chunks * CHUNK <= limit else "K", sw=1)
    base = 12 + tall
    fig.path(f"M{left} {base}h{last * step:g}", "dim")
    for chunks in (1, 16, 32, 48, 64):
        fig.small(left + (chunks - 0.5) * step, base + 16, chunks, fill="dim", at="middle")
    fig.small(left + last * step + 6, base + 16, "chunks", fill="dim")
    most = max(counts.values(), default=0)
    fig.small(left - 6, 20, most, fill="dim", at="end")
    fig.small(left - 6, base, 0, fill="dim", at="end")
    edge = left + limit // CHUNK * step
    fig.path(f"M{edge:g} 2V{base}", "ink", 1.5, dash="4 3")
    fig.small(edge - 6, 10, f"largest: {limit:,} B", at="end")
    for low in range(1, last + 1, 4):
        n = sum(counts[chunks] for chunks in range(low, low + 4))
        fig.say(f"  {low:3} to {low + 3:3} chunks {'#' * n} {n}")
    return fig.picture(base + 24)
