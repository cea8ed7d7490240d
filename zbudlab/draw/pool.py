"""A pool: its pages as strips, grouped by the lists they are on, and the lru beneath."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..struct_page import CHUNK
from ..words import slack, summary
from ..zbud import ZbudPool
from .kit import WIDE, Fig, Picture
from .page import CHUNKS, strip, strip_text

ROW = 34  # px from strip to strip


@dataclass(frozen=True)
class Ghost:
    """Where a size would go: `chunks` on page `pfn` (None: a new page), into `slot`."""

    chunks: int
    pfn: int | None
    slot: str


def followed(pool: ZbudPool, head: int) -> tuple[list[int], str]:
    """The pfns on one of the pool's lists as far as it can be followed, and where it goes wrong, if it is damaged."""
    pfns: list[int] = []
    for pfn in pool.walk(head):
        if pfn not in pool.mine:
            return pfns, f"leads out of the pool, to page {pfn:#x}"
        if pfn in pfns:
            return pfns, f"returns to p{pfn}, not to its head"
        pfns.append(pfn)
    return pfns, ""


def chains(pool: ZbudPool) -> list[tuple[str, list[int], str]]:
    """The pool's lists that are not empty, as (name, pfns, damage), in the order in which an allocation looks."""
    heads = [(f"unbuddied[{i}]", pool.unbuddied(i)) for i in range(pool.version.shared_list_0, pool.lists)]
    found = [(name, *followed(pool, head)) for name, head in [*heads, ("buddied", pool.buddied)]]
    return [(name, pages, damage) for name, pages, damage in found if pages or damage]


def pool_picture(pool: ZbudPool, width: int = WIDE, ghost: Ghost | None = None) -> Picture:
    """The whole pool, as it stands."""
    fig = Fig(f"A zbud {pool.version.name} pool", summary(pool), width)
    return fig.picture(draw_pool(fig, pool, ghost))


def draw_pool(fig: Fig, pool: ZbudPool, ghost: Ghost | None = None, *, parts: bool = False) -> float:
    """Draw a pool from the top of a figure; returns the y beneath.

    With `parts`, tenants are targets named FIRST:pfn and LAST:pfn, for the live view.
    """
    left, chunk = _left(fig)
    fig.say(summary(pool))
    y = _numbers(fig, pool)
    lru, torn = followed(pool, pool.lru)
    for name, pages, damage in chains(pool):
        y += 6 if name == "buddied" else 0
        with fig.at(y):
            fig.rect(0.5, 2.5, 92, 19, "panel", "dim", 1, 3)
            fig.small(46, 16, name, mono=True, at="middle")
            fig.path(f"M93 12H{left - 38}")
        for k, pfn in enumerate(pages):
            age = f"{lru.index(pfn) + 1}" if pfn in lru else "?"
            fig.say(f"  {name if k == 0 else '':14} {f'p{pfn}':>5} {_row_text(pool, pfn)}  lru {age}")
            here = ghost if ghost is not None and ghost.pfn == pfn else None
            look = (pfn, *pool.chunks(pfn), pool.scheme.header_chunks, pool.capacity)
            with fig.at(y):
                fig.paste(_row(fig.width, look, here, first_in_list=k == 0, parts=parts))
            if here:
                fig.say(f"  {'here':14} {f'p{pfn}':>5} would take {here.chunks} chunks as {here.slot}")
            with fig.at(y):
                fig.small(fig.width, 16, f"LRU {age}", fill="dim", at="end")
            y += ROW
        if damage:
            fig.small(left - 38, y + 13, f"\u00d7 {damage}", bold=True)
            fig.say(f"  {name if not pages else '':14} {damage}")
            y += 22
    if ghost and ghost.pfn is None:
        strip(fig, left, y, chunk, 24)
        fig.small(left - 12, y + 16, "a new page", fill="dim", at="end")
        _ghost(fig, ghost, left, y, chunk, pool.scheme.header_chunks)
        fig.say(f"  {'a new page':14} {'':5} would take {ghost.chunks} chunks as FIRST")
        y += ROW
    if not lru and not ghost:
        fig.small(0, y + 12, "no page yet", fill="dim")
        y += 20
    y = _lru(fig, lru, left, y + 6) if lru else y
    if torn:
        fig.small(left - 38, y + 13, f"\u00d7 the lru {torn}", bold=True)
        fig.say(f"  the lru {torn}")
        y += 22
    return y


def _numbers(fig: Fig, pool: ZbudPool) -> float:
    pages, zpages, free = pool.pages_nr, len(pool.tenants), slack(pool)
    share = f"slack, {100 * free / (pages * pool.capacity * CHUNK):.0f} % of the room" if pages else "slack"
    told = [(pages, "pages"), (zpages, "zpages"), (f"{zpages / pages:.2f}" if pages else "\u2013", "density")]
    told += [(f"{free:,} B", share), (f"{pages * pool.scheme.header_chunks * CHUNK:,} B", "headers")]
    for x, (number, word) in zip((0, 92, 184, 276, 452), told, strict=True):
        fig.text(x, 16, number, 16, bold=True)
        fig.small(x, 31, word, fill="dim")
    return 48


def _row_text(pool: ZbudPool, pfn: int) -> str:
    first, last = pool.chunks(pfn)
    free = pool.capacity - first - last
    return f"{strip_text(first, last, pool.scheme.header_chunks)} first {first:2}, last {last:2}, slack {free:2}"


@lru_cache(4096)
def _row(width: int, look: tuple[int, ...], ghost: Ghost | None, *, first_in_list: bool, parts: bool) -> Fig:
    """A page on its list, from y 0 down; `look` is its pfn, its two chunk counts, the header's, and the capacity.

    The same row stands in picture after picture, so the last ones are kept.
    """
    pfn, first, last, header, capacity = look
    fig = Fig("", "", width)
    left, chunk = _left(fig)
    fig.path(f"M{left - 33} 12h33")
    if not first_in_list:
        fig.path(f"M{left - 25} -6v9m-3 -4l3 4 3 -4")
    fig.box(left - 38, 3, 26, f"p{pfn}")
    strip(fig, left, 0, chunk, 24, first, last, header, gap=not ghost, parts=parts, pfn=pfn)
    if ghost:
        _ghost(fig, ghost, left, 0, chunk, header)
    right = left + CHUNKS * chunk
    fig.small(right + 12, 16, f"slack {capacity - first - last}", bold=not (first and last))
    return fig


def _left(fig: Fig) -> tuple[float, float]:
    """Where strips begin, and how wide a chunk is, in px."""
    return (150, 9.0) if fig.wide else (138, 5.75)


def _ghost(fig: Fig, ghost: Ghost, left: float, y: float, chunk: float, header: int) -> None:
    x = left + (header if ghost.slot == "FIRST" else CHUNKS - ghost.chunks) * chunk
    w = ghost.chunks * chunk
    fig.rect(x + 1.5, y + 1.5, w - 3, 21, "nowbg", "now", 2, 2, "5 3")
    for words in (f"{ghost.chunks} would go here", f"{ghost.chunks} go here", str(ghost.chunks)):
        if w > len(words) * 6.6 + 8:
            fig.text(x + w / 2, y + 16.5, words, 11, at="middle", bold=True)
            break


def _lru(fig: Fig, lru: list[int], left: float, y: float) -> float:
    """The lru as a chain, newest first; it wraps."""
    fig.text(0, y + 13, "LRU", 11, bold=True)
    fig.small(left - 38, y + 13, "new", fill="dim")
    step = 46 if fig.wide else 38
    a_row = int((fig.width - left - 90) // step)
    for k, pfn in enumerate(lru):
        x = left + k % a_row * step
        with fig.at(y + k // a_row * 24):
            fig.box(x, 0, 26, f"p{pfn}")
            if k < len(lru) - 1:
                fig.path(f"M{x + 28} 9h{step - 31}m-4 -3l4 3 -4 3", "dim")
    last = (len(lru) - 1) % a_row
    fig.small(left + last * step + 34, y + (len(lru) - 1) // a_row * 24 + 13, "old: next victim", fill="dim")
    fig.say("  lru, new to old: " + " ".join(f"p{pfn}" for pfn in lru))
    return y + ((len(lru) - 1) // a_row + 1) * 24
