"""Two charts: how many zpages need how many chunks; and numbers as marks on one scale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ..struct_page import CHUNK
from .kit import WIDE, Fig, Picture
from .page import CHUNKS
from .palette import colour


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


def dots_picture(
    title: str, unit: str, rows: Mapping[str, Mapping[str, float]], low: float, high: float, width: int = WIDE
) -> Picture:
    """Numbers as marks on one scale from `low` to `high`: a row for each label, a mark for each of up to three names.

    The names of all rows make the legend; a row may lack some.  `unit` says what the numbers are.
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    fig = Fig(title, f"{unit}: {' and '.join(names)}, for {len(rows)} rows", width)
    left, pitch, top = 12 + 6.2 * max(map(len, rows), default=0), 22, 44
    step = (width - left - 24) / (high - low)
    bottom = top + pitch * len(rows)
    for i, name in enumerate(names):
        _mark(fig, i, left + 200 * i + 6, 14)
        fig.small(left + 200 * i + 18, 18, name)
    for tick in range(5):
        value = low + tick * (high - low) / 4
        x = left + (value - low) * step
        fig.path(f"M{x:g} {top - 6}V{bottom}", "rule")
        fig.small(x, bottom + 16, f"{value:g}", fill="dim", at="middle")
    fig.small(left, bottom + 34, unit, fill="dim")
    indent = max(map(len, rows), default=0)
    fig.say(f"{title} ({unit})")
    fig.say(" " * indent + "".join(f"  {name:>{max(6, len(name))}}" for name in names))
    for k, (label, row) in enumerate(rows.items()):
        y = top + pitch * (k + 0.5)
        fig.small(left - 10, y + 4, label, at="end")
        for i, name in enumerate(names):
            if name in row:
                _mark(fig, i, left + (row[name] - low) * step, y)
        told = (f"{row[name]:.2f}" if name in row else "-" for name in names)
        fig.say(
            label.ljust(indent) + "".join(f"  {n:>{max(6, len(name))}}" for n, name in zip(told, names, strict=True))
        )
    return fig.picture(bottom + 42)


def _mark(fig: Fig, i: int, x: float, y: float) -> None:
    """The mark of the name at `i`: a ring, a disc that fits into it, an upright line through both."""
    if i == 0:
        fig.add(f'<circle cx="{x:g}" cy="{y:g}" r="6" fill="none" stroke="{colour("ink")}" stroke-width="1.5"/>')
    elif i == 1:
        fig.add(f'<circle cx="{x:g}" cy="{y:g}" r="3.2" fill="{colour("Z")}"/>')
    else:
        fig.path(f"M{x:g} {y - 9:g}v18", "ink", 2)
