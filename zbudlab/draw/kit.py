"""The drawing kit: one picture collects SVG and, in the same breath, the text that says the same.

Shapes take palette names for colours (palette.py).  Type comes in three sizes, 16, 13 and 11 px, in two weights.
"""

from __future__ import annotations

import hashlib
import html
import textwrap
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from .palette import STYLE, colour

WIDE, NARROW = 880, 620  # the two layouts, in px


@dataclass(frozen=True)
class Picture:
    """A drawn scene: `svg` (without its style sheet), and `text`, which says the same in characters."""

    svg: str
    text: str

    def styled(self) -> str:
        """The SVG with its style sheet."""
        return self.svg.replace("<defs>", f"<style>{STYLE}</style><defs>", 1)

    def file(self) -> str:
        """The SVG as a file that stands by itself, on a background of its own."""
        return self.styled().replace(' style="', ' style="background:var(--zl-bg);', 1) + "\n"

    def html(self) -> str:
        """The picture as it is saved: SVG with its style sheet, and its text twin, folded, beneath."""
        return (
            f'<div style="overflow-x:auto">{self.styled()}'
            f"<details><summary>the same in text</summary><pre>{html.escape(self.text)}</pre></details></div>"
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": self.text}

    def __str__(self) -> str:
        return self.text


class Fig:
    """A picture in the making, `width` px wide; `title` and `desc` are what a screen reader says of the whole."""

    HATCH: ClassVar = {  # a 6 x 6 tile for each
        "Z": "M0 6L6 0M-1 1L1 -1M5 7L7 5",  # FIRST leans on the left wall
        "Y": "M0 0L6 6M-1 5L1 7M5 -1L7 1",  # LAST on the right
        "R": "M0 0L6 6M0 6L6 0",
        "S": "M1.5 0V6M4.5 0V6",
        "U": "M0 1.5H6M0 4.5H6",
        "F": "M1.5 .6v1.8M4.5 3.6v1.8",
        "N": "M0 3H6M3 0V6",  # where choices collide, in amber
    }

    def __init__(self, title: str, desc: str, width: int = WIDE) -> None:
        self.title, self.desc, self.width = title, desc, width
        self.wide = width >= 760
        self.parts: list[str] = []
        self.lines: list[str] = []
        self.hatches: dict[str, str] = {}  # hatch to the tag whose colour it has
        self.stamps: dict[str, str] = {}  # a drawing that is used many times: its SVG to its name
        self.data: dict[str, object] = {}  # data attributes of the whole: row=8, focus="byte:24"

    # ---------------------------------------------------------------- text twin

    def say(self, line: str = "") -> None:
        """A line of the text twin."""
        self.lines.append(line.rstrip())

    # ---------------------------------------------------------------- shapes

    def add(self, svg: str) -> None:
        self.parts.append(svg)

    def rect(
        self, x: float, y: float, w: float, h: float, fill: str = "none", stroke: str = "", sw: float = 1,
        rx: float = 0, dash: str = "", cls: str = "",
    ) -> None:  # fmt: skip
        line = f' stroke="{colour(stroke)}" stroke-width="{sw}"' if stroke else ""
        extra = "".join(f' {k}="{v}"' for k, v in (("rx", rx), ("stroke-dasharray", dash), ("class", cls)) if v)
        self.add(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{colour(fill)}"{line}{extra}/>')

    def path(self, d: str, stroke: str = "ink", sw: float = 1, fill: str = "none", dash: str = "") -> None:
        line = f' stroke="{colour(stroke)}" stroke-width="{sw}"' if stroke else ""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.add(f'<path d="{d}" fill="{colour(fill)}"{line}{dashed}/>')

    def text(
        self, x: float, y: float, s: object, size: int = 13, fill: str = "ink", at: str = "start", *,
        mono: bool = False, bold: bool = False,
    ) -> None:  # fmt: skip
        extra = "" if at == "start" else f' text-anchor="{at}"'
        extra += ' font-family="var(--zl-mono,monospace)"' if mono else ""
        extra += ' font-weight="600"' if bold else ""
        words = html.escape(str(s).replace("-", "\u2212") if mono and _is_number(s) else str(s))
        self.add(f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour(fill)}"{extra}>{words}</text>')

    def stamp(self, x: float, y: float, svg: str) -> None:
        """A shape (one element, drawn about the origin) that stands in many places: it is in the file once."""
        name = self.stamps.setdefault(svg, f"s{zlib.crc32(svg.encode()):x}")
        self.add(f'<use href="#@id@-{name}" x="{x:g}" y="{y:g}"/>')

    def small(self, x: float, y: float, s: object, **k: object) -> None:
        self.text(x, y, s, 11, **k)  # type: ignore[arg-type]

    def para(self, x: float, y: float, w: float, s: str, size: int = 11, fill: str = "ink", lead: float = 16) -> float:
        """Words in lines of at most `w` px; returns the y of the line that would come next."""
        for line in textwrap.wrap(s, max(12, int(w / (0.52 * size))), break_on_hyphens=False):
            self.text(x, y, line, size, fill)
            y += lead
        return y

    def panel(self, since: int, y: float, bottom: float) -> None:
        """A panel for what is open, put behind all that was drawn since there were `since` parts."""
        self.rect(0, y, self.width, bottom - y, "panel", rx=4)
        self.rect(0, y, 4, bottom - y, "now")
        self.parts[since:since] = [self.parts.pop(-2), self.parts.pop()]

    def plate(self, x: float, y: float, s: str, size: int, fill: str, most: float = 999) -> None:
        """Words on a hatch, centred at `x`, on a plate of the area's tint; left out if they do not fit in `most` px."""
        w = len(s) * size * 0.65 + 8
        if w <= most:
            self.rect(x - w / 2, y - size + 0.5, w, size + 2, fill, rx=3)
            self.text(x, y, s, size, at="middle", bold=True)

    def area(
        self, x: float, y: float, w: float, h: float, tag: str, hatch: str = "", sw: float = 1.5, rx: float = 0,
        cls: str = "",
    ) -> None:  # fmt: skip
        """An area that belongs to a tag: its tint, its hatch, its outline."""
        fill = "t" + tag
        if tag != "K":
            self.hatches[hatch or tag] = tag
            fill = f"url(#@id@-{hatch or tag})"
        self.rect(x, y, w, h, fill, tag, sw, rx, cls=cls)

    def chip(self, x: float, y: float, tag: str, size: float = 18) -> None:
        """The lettered chip that stands for a tag everywhere, in pictures and in prose."""
        self.area(x + 0.5, y + 0.5, size - 1, size - 1, tag, rx=3)
        self.rect(x + size / 2 - 5, y + size / 2 - 6, 10, 12, "t" + tag, rx=2)
        self.text(x + size / 2, y + size / 2 + 4, tag, 11, at="middle", bold=True)

    def box(self, x: float, y: float, w: float, label: str, edge: str = "Z", h: float = 18) -> None:
        """A small labelled box: a page in a list, or a list's head."""
        self.rect(x, y, w, h, "bg" if edge == "Z" else "panel", edge, 1.5 if edge == "Z" else 1, 3, cls="hit")
        self.small(x + w / 2, y + h / 2 + 4, label, mono=True, bold=edge == "Z", at="middle")

    def severity(
        self, x: float, y: float, w: float, h: float, rank: int, *, maybe: bool = False, cls: str = ""
    ) -> None:
        """How bad, as density of ink and as a glyph: 0 ok, 1 misreport, 2 wrong, 3 corrupt, 4 crash.

        `maybe`, for what takes a race or bad luck: hollow, with a dashed edge.
        """
        if maybe:
            self.rect(x + 1, y + 1, w - 2, h - 2, "bg", "ink", 1.5, 2, "3 2", cls)
        else:
            edge = ("rule", "dim", "dim", "", "")[rank]
            self.rect(x, y, w, h, f"h{rank}" if rank else "bg", edge, 1, 2, "", cls)
        cx, cy, fore = x + w / 2, y + h / 2, "ink" if maybe else "on"
        if rank == 0:
            self.add(f'<circle cx="{cx:g}" cy="{cy:g}" r="1.8" fill="{colour("dim")}"/>')
        elif rank == 1:
            self.path(f"M{cx - 4:g} {cy - 2:g}h8m-8 4h8m-1.4 -7l-5.2 10", "ink", 1.3)
        elif rank == 2:
            self.path(f"M{cx:g} {cy - 5:g}l5.5 9.5h-11z", "ink", 1.5)
        elif rank == 3:
            self.path(f"M{cx - 5:g} {cy - 5:g}h5.5l-2 3.5 4 1.5 2 -1v6h-9.5z", "", fill=fore)
        else:
            self.path(f"M{cx - 4:g} {cy - 4:g}l8 8m0 -8l-8 8", fore, 2.4)

    def slanted(self, x: float, y: float, s: str, *, bold: bool = False) -> None:
        """A column's heading, climbing to the right."""
        weight = ' font-weight="600"' if bold else ""
        at = f'x="{x:g}" y="{y:g}" transform="rotate(-52 {x:g} {y:g})"'
        self.add(f'<text {at} font-size="11" fill="{colour("ink")}"{weight}>{html.escape(s)}</text>')

    @contextmanager
    def part(self, name: str, says: str, live: bool = True, **data: object) -> Iterator[None]:
        """A marked part: one target for the pointer, the keyboard and the screen reader, if the picture is `live`.

        `data` becomes data attributes that view.js knows: lights="24 25", row=8.
        """
        if not live:
            yield
            return
        self.add(f'<g data-part="{html.escape(name)}" aria-label="{html.escape(says)}"{_data(data)}>')
        yield
        self.add("</g>")

    @contextmanager
    def at(self, y: float) -> Iterator[None]:
        """A group whose shapes count y from `y` down: where the same is drawn elsewhere, it need not be drawn anew."""
        self.add(f'<g transform="translate(0 {y:g})">')
        yield
        self.add("</g>")

    def paste(self, other: Fig) -> None:
        """All the shapes of another figure."""
        self.parts += other.parts
        self.hatches |= other.hatches
        self.stamps |= other.stamps

    # ---------------------------------------------------------------- the whole

    def picture(self, height: float) -> Picture:
        tiles = "".join(
            f'<pattern id="@id@-{hatch}" width="6" height="6" patternUnits="userSpaceOnUse">'
            f'<rect width="6" height="6" fill="{colour("nowbg" if tag == "now" else "t" + tag)}"/>'
            f'<path d="{self.HATCH[hatch]}" stroke="{colour(tag)}" stroke-width="{1.6 if hatch == "F" else 0.9}"/>'
            "</pattern>"
            for hatch, tag in self.hatches.items()
        )
        tiles += "".join(svg.replace(" ", f' id="@id@-{name}" ', 1) for svg, name in self.stamps.items())
        body = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="zl" viewBox="0 0 {self.width} {height:g}" '
            f'width="{self.width}" height="{height:g}" style="min-width:{0.9 * self.width:g}px" '
            f'role="img" aria-labelledby="@id@-t @id@-d"{_data(self.data)} '
            'font-family="var(--jp-ui-font-family,system-ui,sans-serif)">'
            f'<title id="@id@-t">{html.escape(self.title)}</title><desc id="@id@-d">{html.escape(self.desc)}</desc>'
            f"<defs>{tiles}</defs>" + "".join("\n" + part for part in self.parts) + "</svg>"
        )
        name = "zl" + hashlib.sha256(body.encode()).hexdigest()[:8]  # ids must not clash on one page
        return Picture(body.replace("@id@", name), "\n".join(self.lines))


def _data(attributes: Mapping[str, object]) -> str:
    return "".join(f' data-{key}="{html.escape(str(value))}"' for key, value in attributes.items() if value != "")


def _is_number(s: object) -> bool:
    return str(s).lstrip("-").isdigit()
