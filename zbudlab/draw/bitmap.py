"""The bitmap: a whole memmap, a dot for each page, with a lens of 16 by 9 pages and a table of counts.

One dot cannot carry a letter or a hatch; the lens and the counts can.  The saved picture has the dots in an image
inside of the SVG; in the live view (`live`) their place is left free, and a canvas lies beneath (widgets/bitmap.js).
"""

from __future__ import annotations

import base64
import math
import struct
import textwrap
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from .kit import WIDE, Fig, Picture
from .page import record, strip, strip_text
from .palette import FALLBACK, colour
from .surveys import CALLED, CLASSES, LOOK_ALIKE, Survey

SIDE, CELL, DROP = 256, 16, 22  # px: a map is so wide, and a page in the lens; the lens hangs so far beneath
ACROSS, DOWN = 16, 9  # pages in the lens
PAINT = {letter: {LOOK_ALIKE: "now"}.get(letter, letter) for letter in CLASSES[1:]}  # palette names
ALIKE = (
    "A look-alike has, bit for bit, the 64 bytes of some zbud page, and is none. "
    "No reader of these bytes can tell the two apart."
)
FAINT = 40  # of 255: how much is left of the classes that were not asked for


@dataclass(frozen=True)
class Grid:
    """How `pages` pages are laid out: `cols` to a row, the first at top left."""

    pages: int

    @property
    def cols(self) -> int:
        return min(self.pages, 1 << math.ceil(math.log2(self.pages) / 2))

    @property
    def rows(self) -> int:
        return -(-self.pages // self.cols)

    @property
    def most(self) -> int:
        """The largest zoom: a map then shows two lenses' width."""
        return max(1, self.cols // (2 * ACROSS))

    def around(self, i: int, w: int, h: int) -> tuple[int, int, int, int]:
        """The rectangle of at most `w` by `h` pages around page number `i`: left, top, width, height."""
        w, h = min(w, self.cols), min(h, self.rows)
        x, y = i % self.cols - w // 2, i // self.cols - h // 2
        return max(0, min(x, self.cols - w)), max(0, min(y, self.rows - h)), w, h

    def window(self, i: int, zoom: int) -> tuple[int, int, int, int]:
        """What a map shows of it at a zoom (1: everything), around page number `i`."""
        return self.around(i, -(-self.cols // zoom), -(-self.rows // zoom))

    def lens(self, i: int) -> tuple[int, int, int, int]:
        return self.around(i, ACROSS, DOWN)

    def lines(self, classes: bytes, rect: tuple[int, int, int, int]) -> Iterator[bytes]:
        """The rows of a rectangle; where the last row is short, blank."""
        x, y, w, h = rect
        for row in range(y, y + h):
            yield classes[row * self.cols + x : min((row + 1) * self.cols, row * self.cols + x + w)].ljust(w, b"\0")


def telling(found: Survey) -> int:
    """The page number where a lens shows most: many kinds of pages, taken for many others."""
    grid = Grid(found.pages)
    maps = list(found.maps.values())

    def richness(i: int) -> int:
        pairs = Counter(zip(*(b"".join(grid.lines(classes, grid.lens(i))) for classes in maps), strict=True))
        return sum(min(n, ACROSS) for n in pairs.values())

    rows = range(DOWN // 2, grid.rows + DOWN // 2, DOWN * max(1, found.pages >> 20))  # lens beside lens
    places = (row * grid.cols + x for row in rows for x in range(ACROSS // 2, grid.cols + ACROSS // 2, ACROSS))
    best = max((min(i, found.pages - 1) for i in places), key=richness)
    x, y, w, h = grid.lens(best)
    inside = [(y + r) * grid.cols + x + c for r in range(h) for c in range(w)]
    zbud = [i for i in inside if i < found.pages and CLASSES[maps[-1][i]] == "Z"]
    paired = (i for i in zbud if len(found.samples(found.base_pfn + i)) > 1)
    return next(paired, zbud[0] if zbud else best)


# ---------------------------------------------------------------------- the image


def png(lines: list[bytes], only: str | None = None) -> bytes:
    """Rows of class bytes as an indexed PNG in the fallback hues; blank is transparent, and all but `only` faint."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    paints = [bytes.fromhex(FALLBACK[PAINT[letter]][1:]) for letter in CLASSES[1:]]
    opacity = bytes(FAINT if only not in (None, letter) else 150 if letter == "K" else 255 for letter in CLASSES[1:])
    header = struct.pack(">IIBBBBB", len(lines[0]), len(lines), 8, 3, 0, 0, 0)  # 8 bits, a palette
    pixels = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", bytes(3) + b"".join(paints))
        + chunk(b"tRNS", b"\0" + opacity)
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def reduced(lines: list[bytes], by: int) -> list[bytes]:
    """A smaller map: each dot is what most of `by` x `by` pages are.

    >>> reduced([b"aabb", b"abcb"], 2)
    [b'ab']
    """
    if by == 1:
        return lines
    small = []
    for y in range(0, len(lines), by):
        rows = lines[y : y + by]
        blocks = (b"".join(row[x : x + by] for row in rows) for x in range(0, len(rows[0]), by))
        small.append(bytes(max(sorted(set(block)), key=block.count) for block in blocks))
    return small


# ---------------------------------------------------------------------- the picture


def bitmap_picture(
    found: Survey,
    width: int = WIDE,
    *,
    at: int | None = None,
    zoom: int = 1,
    only: str | None = None,
    live: bool = False,
) -> Picture:
    """A survey as one or two bitmaps, each with a lens around page `at` (a pfn), and a table of counts.

    `zoom` 2 shows half of the rows and columns, and so on; `only` is the one class (a letter of CLASSES) to look at.
    Raises IndexError for a pfn outside of the survey.
    """
    i = telling(found) if at is None else at - found.base_pfn
    if not 0 <= i < found.pages:
        raise IndexError(f"pfn {at:#x} is outside this survey ({found.pfns[0]:#x} to {found.pfns[-1]:#x})")
    grid = Grid(found.pages)
    title = f"{found.pages:,} pages {found.about}".strip()
    fig = Fig(f"Memmap: {title}", "; ".join(_short(found, name) for name in found.maps), width)
    about = f"{title}, {grid.cols:,} to a row, pfn {found.base_pfn:#x} at top left"
    fig.text(0, 16, "Memmap", 16, bold=True)
    fig.small(92, 16, about, fill="dim")
    fig.say(f"memmap: {about}")
    height = max(64, SIDE * grid.rows // grid.cols)
    for k, name in enumerate(found.maps):
        _map(fig, found, name, grid, i, (k * (SIDE + 32), 66, height), zoom, only, live)
    x, y = SIDE + 48 + (SIDE + 32 if len(found.maps) == 2 else 0), 66.0
    bottom = 66 + height + DROP + min(DOWN, grid.rows) * CELL + 36
    if x > width - 280:
        x, y = 0, bottom + 22
    low = _counts(fig, found, x, y, only, live)
    y = low + 18 if x else y
    low = max(low, _notes(fig, found, found.base_pfn + i, x or 304, y if x else y + 4))
    return fig.picture(max(bottom, low))


def _short(found: Survey, name: str) -> str:
    """A map in a few numbers: what it has of zbud, or how much it leaves blank."""
    counts = found.counts(name)
    told = [f"{counts['Z']:,} zbud"] * bool(counts["Z"])
    told += [f"{counts[LOOK_ALIKE]:,} look-alike{'s' * (counts[LOOK_ALIKE] != 1)}"] * bool(counts[LOOK_ALIKE])
    if not told and counts[""]:
        told = [f"{counts['']:,} blank: it has nothing to say"]
    return f"{name}: {', '.join(told) or 'no zbud, nothing blank'}"


def _map(
    fig: Fig, found: Survey, name: str, grid: Grid, i: int, place: tuple[float, float, float], zoom: int,
    only: str | None, live: bool,
) -> None:  # fmt: skip
    """One map, its lens beneath, and the lines that lead from the one to the other."""
    x, y, height = place
    classes, k = found.maps[name], list(found.maps).index(name)
    title, _, short = _short(found, name).partition(": ")
    fig.text(x, 42, title, bold=True)
    fig.small(x, 57, short, fill="dim")
    wx, wy, ww, wh = window = grid.window(i, zoom)
    if live:
        fig.add(
            f'<rect x="{x + 1:g}" y="{y:g}" width="{SIDE}" height="{height:g}" class="hit" fill="none" data-map="{k}"/>'
        )
    else:
        data = base64.b64encode(png(reduced(list(grid.lines(classes, window)), -(-ww // SIDE)), only)).decode()
        fig.add(
            f'<image x="{x + 1:g}" y="{y:g}" width="{SIDE}" height="{height:g}" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
        )
    fig.rect(x + 0.5, y - 0.5, SIDE + 1, height + 1, "none", "dim")
    lx, ly, lw, lh = lens = grid.lens(i)
    scales = SIDE / ww, height / wh
    _lead(
        fig,
        x + 1 + scales[0] * (lx - wx),
        y + scales[1] * (ly - wy),
        scales[0] * lw,
        scales[1] * lh,
        x,
        lw * CELL,
        y + height,
    )
    under = y + height + DROP
    _lens(fig, list(grid.lines(classes, lens)), x, under, k, live)
    row, column = divmod(i, grid.cols)
    fig.rect(x + (column - lx) * CELL, under + (row - ly) * CELL - 0.5, CELL + 1, CELL + 1, "none", "ink", 2.5, 1)
    first = found.base_pfn + ly * grid.cols + lx
    fig.small(x, under + lh * CELL + 18, f"pfn {first:#x}, and {lh - 1} rows below it", fill="dim")
    fig.say(f"{title}: {short}; lens from pfn {first:#x}, chosen {found.base_pfn + i:#x}")
    for r, line in enumerate(grid.lines(classes, lens)):
        fig.say(f"  {first + r * grid.cols:#10x}  {''.join(CLASSES[c] or '.' for c in line)}")


def _lead(fig: Fig, left: float, top: float, w: float, h: float, x: float, wide: float, low: float) -> None:
    """The place of the lens in a map, and lines from there down to the lens, `wide` px from `x` on."""
    right, bottom, under = left + w, top + h, low + DROP
    lines = f"M{left:.1f} {bottom:.1f}L{x + 0.5:g} {under:g}M{right:.1f} {bottom:.1f}L{x + wide + 0.5:g} {under:g}"
    box = f"M{left - 1:.1f} {top - 1:.1f}H{right + 1:.1f}V{bottom + 1:.1f}H{left - 1:.1f}z"
    for paint, wider in (("bg", 2.5), ("now", 0)):  # a halo first: amber is not to drown in the dots
        fig.path(lines, paint, 1 + wider)
        fig.path(box, paint, 2 + wider)


def _lens(fig: Fig, lines: list[bytes], x: float, y: float, k: int, live: bool) -> None:
    """The pages under the lens, with hatches and letters; runs of one class are drawn together."""
    w, h = len(lines[0]) * CELL, len(lines) * CELL
    fig.rect(x, y - 0.5, w + 1, h + 1, "bg")
    for r, line in enumerate(lines):
        at, top = x + 0.5, y + r * CELL
        for c, run in groupby(line):
            n, letter = len(list(run)), CLASSES[c]
            if letter == LOOK_ALIKE:
                fig.rect(at + 0.5, top + 0.5, n * CELL - 1, CELL - 1, "nowbg", "now", 1.5)
            elif letter:
                fig.area(at + 0.5, top + 0.5, n * CELL - 1, CELL - 1, letter, sw=1)
            if letter:
                _letters(fig, letter, n, at, top)
            at += n * CELL
    fig.rect(x, y - 0.5, w + 1, h + 1, "none", "now", 2)
    if live:
        fig.add(f'<rect x="{x:g}" y="{y:g}" width="{w}" height="{h}" class="hit" fill="none" data-lens="{k}"/>')


def _letters(fig: Fig, letter: str, n: int, x: float, y: float) -> None:
    """`n` times a letter, one to a cell, each with a halo that keeps the hatch off; and lines between the cells."""
    halo, paint = ("nowbg" if letter == LOOK_ALIKE else f"t{letter}"), PAINT[letter]
    if n > 1:
        fig.path("".join(f"M{x + CELL * c:g} {y + 0.5:g}v{CELL - 1}" for c in range(1, n)), paint)
    xs = " ".join(f"{x + CELL * (c + 0.5):g}" for c in range(n))
    fig.add(
        f'<text x="{xs}" y="{y + CELL / 2 + 4:g}" font-size="11" font-weight="600" text-anchor="middle" '
        f'fill="{colour("ink")}" stroke="{colour(halo)}" stroke-width="4" paint-order="stroke">{letter * n}</text>'
    )


def _counts(fig: Fig, found: Survey, x: float, y: float, only: str | None, live: bool) -> float:
    """The table of counts; returns the y beneath.  Live, a row shows only that class."""
    names = list(found.maps)
    heads = [name.removeprefix("as ").removesuffix(" sees it").removeprefix("in ")[:12] for name in names]
    ends = [x + 196 + 66 * k for k in range(len(names))]
    for head, end in zip(heads, ends, strict=True):
        fig.small(end, y - 8, head, fill="dim", at="end")
    fig.say(f"  {'':20}" + "".join(f"{head:>14}" for head in heads))
    for k, letter in enumerate((*CLASSES[1:], "")):
        top, counts = y + k * 28, [found.counts(name)[letter] for name in names]
        told = ", ".join(f"{count:,} {name}" for count, name in zip(counts, names, strict=True))
        with fig.part(f"count:{letter}", f"{CALLED[letter]}: {told}; press to see only these", live):
            fig.rect(x - 4, top - 4, ends[-1] - x + 10, 26, "nowbg" if letter == only else "none", rx=3, cls="hit")
            _chip(fig, x, top, letter)
            fig.small(x + 26, top + 13, CALLED[letter])
            for count, end in zip(counts, ends, strict=True):
                ink, differs = "ink" if count else "dim", len(set(counts)) > 1 and end == ends[-1]
                fig.small(end, top + 13, f"{count:,}", mono=True, at="end", fill=ink, bold=differs)
        fig.say(f"  {letter or '.'} {CALLED[letter]:18}" + "".join(f"{count:14,}" for count in counts))
    return y + len(CLASSES) * 28


def _chip(fig: Fig, x: float, y: float, letter: str) -> None:
    if letter == LOOK_ALIKE:
        fig.rect(x + 0.5, y + 0.5, 17, 17, "nowbg", "now", 1.5, 3)
        fig.small(x + 9, y + 13, letter, at="middle", bold=True)
    elif letter:
        fig.chip(x, y, letter)
    else:
        fig.rect(x + 0.5, y + 0.5, 17, 17, "none", "dim", 1, 3, "2 2")


def _notes(fig: Fig, found: Survey, pfn: int, x: float, y: float) -> float:
    """What a look-alike is, if there are any; then the chosen page, and what it can be taken for."""
    room = fig.width - x
    alike = any(found.counts(name)[LOOK_ALIKE] for name in found.maps)
    for words in filter(None, (ALIKE if alike else "", found.note)):
        fig.say(f"  {words}")
        for line in textwrap.wrap(words, int(room / 5.9)):
            fig.small(x, y + 4, line, fill="dim")
            y += 16
        y += 6
    y += 8
    chunk = min(4.4, room / 64)
    for sample in found.samples(pfn):
        fig.text(x, y + 6, f"{sample.pfn:#x}", 11, mono=True, bold=True)
        fig.small(x + 7.2 * len(f"{sample.pfn:#x}") + 10, y + 6, sample.words)
        fig.say(f"  {sample.pfn:#x}: {sample.words}")
        if sample.chunks:
            first, last, header = sample.chunks
            strip(fig, x, y + 14, chunk, 14, first, last, header)
            fig.say(f"    {strip_text(first, last, header)}")
            y += 20
        record(fig, x, y + 15, 64 * chunk, sample.record, 8)
        fig.say(f"    {sample.record.hex(' ', 8)}")
        y += 44
    return y
