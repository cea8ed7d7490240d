"""A memmap: one small square for each page, with the letter of whoever owns it in truth."""

from __future__ import annotations

from collections import Counter

from ..memmap import Memmap
from ..words import letter
from .kit import WIDE, Fig, Picture
from .palette import TAGS

MOST = 512  # pages that are drawn one by one; of more, only the counts are told


def memmap_picture(memmap: Memmap, width: int = WIDE) -> Picture:
    """Up to 512 pages as lettered squares, 32 to a row, and how many there are of each kind."""
    letters = [letter(memmap, pfn) for pfn in memmap.pfns]
    counts = Counter(letters)
    told = ", ".join(f"{n:,} {TAGS[tag]}" for tag, n in counts.most_common())
    fig = Fig(f"A memmap of {len(letters):,} pages", told, width)
    fig.say(f"memmap of {len(letters):,} pages from pfn {memmap.pfns[0]:#x}: {told}")
    x, y, side, left = 0.0, 0.0, 22 if fig.wide else 14, 76
    for tag, n in counts.most_common():
        fig.chip(x, y, tag)
        fig.small(x + 24, y + 13, f"{TAGS[tag]} {n:,}")
        x += 46 + 6.5 * len(f"{TAGS[tag]} {n:,}")
    y += 30
    drawn = letters[:MOST]
    for i, tag in enumerate(drawn):
        if i % 32 == 0:
            fig.small(
                left - 10,
                y + i // 32 * (side + 2) + side / 2 + 4,
                f"{memmap.pfns[i]:#x}",
                mono=True,
                fill="dim",
                at="end",
            )
            fig.say(f"  {memmap.pfns[i]:#10x}  {''.join(drawn[i : i + 32])}")
        fig.chip(left + i % 32 * (side + 2), y + i // 32 * (side + 2), tag, side)
    y += ((len(drawn) + 31) // 32) * (side + 2)
    if len(letters) > MOST:
        fig.small(left, y + 14, f"and {len(letters) - MOST:,} more pages", fill="dim")
        fig.say(f"  and {len(letters) - MOST:,} more pages")
        y += 22
    return fig.picture(y)
