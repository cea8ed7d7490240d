"""The colours, and the numbers that show they can be told apart.

Hue says what a page is, ink says how bad a verdict is, amber says now.  Colour never stands alone: each tag has a
letter and a hatch too.  Every colour is a CSS variable with a literal fallback, so a picture follows JupyterLab's
theme, and still reads where a site strips the style sheet.
"""

from __future__ import annotations

import math
import re

Theme = dict[str, str]

TAGS = {"R": "reserved", "S": "slab", "Z": "zbud", "F": "free", "U": "user or page cache", "K": "other kernel page"}

LIGHT: Theme = {
    "bg": "#ffffff", "on": "#ffffff", "ink": "#14181d", "dim": "#5b5f66", "rule": "#d9dce1", "panel": "#f4f5f7",
    "R": "#5b5f66", "S": "#3f71c3", "Z": "#c25400", "F": "#044d2b", "U": "#751a81", "K": "#5b5f66",
    "now": "#8a5a00", "nowbg": "#ffe49a", "h1": "#e3e6ea", "h2": "#b4bac3", "h3": "#565d67", "h4": "#14181d",
}  # fmt: skip
DARK: Theme = {
    "bg": "#111111", "on": "#111111", "ink": "#e8eaed", "dim": "#a9b0b7", "rule": "#34383d", "panel": "#1b1d20",
    "R": "#b0b8be", "S": "#5a96f5", "Z": "#ff7a4d", "F": "#a6ecc4", "U": "#c56fa3", "K": "#a9b0b7",
    "now": "#ffcf5c", "nowbg": "#4d3c00", "h1": "#2c3036", "h2": "#59606a", "h3": "#b2b9c3", "h4": "#ffffff",
}  # fmt: skip
FALLBACK: Theme = {  # where there is no style sheet: readable on white and on near-black alike
    "bg": "none", "on": "#ffffff", "ink": "currentColor", "dim": "currentColor", "rule": "#77777755",
    "panel": "#77777715", "R": "#777777", "S": "#4a7fd4", "Z": "#d55e00", "F": "#009e73", "U": "#b0539a",
    "K": "#777777", "now": "#b07800", "nowbg": "#b0780033", "h1": "#77777733", "h2": "#77777777", "h3": "#777777",
    "h4": "#444444",
}  # fmt: skip


def _rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def _tint(colour: str, background: str, share: float) -> str:
    """A light wash of `colour` over `background`, for areas that words or hatches stand on."""
    mixed = (round(a * share + b * (1 - share)) for a, b in zip(_rgb(colour), _rgb(background), strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


for _theme, _share in ((LIGHT, 0.13), (DARK, 0.22)):
    _theme.update({"t" + tag: _tint(_theme[tag], _theme["bg"], _share) for tag in TAGS})
FALLBACK.update({"t" + tag: FALLBACK[tag] + "22" for tag in TAGS})


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1 (WCAG 2)."""
    parts = [x / 255 for x in _rgb(colour)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2): words want 4.5, marks 3.

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


# How a colour looks to three kinds of eyes (Machado, Oliveira, Fernandes 2009, severity 1).
EYES: dict[str, tuple[float, ...] | None] = {
    "normal": None,
    "deuteranopia": (0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881),
    "protanopia": (0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998),
    "tritanopia": (1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039),
}


def oklab(colour: str, eye: str = "normal") -> tuple[float, float, float]:
    """A colour as one kind of eye sees it, in OKLab, where distances are what one sees."""
    c = [x / 3294.6 if x <= 10 else ((x / 255 + 0.055) / 1.055) ** 2.4 for x in _rgb(colour)]
    matrix = EYES[eye]
    if matrix:
        c = [max(0.0, sum(m * x for m, x in zip(matrix[i : i + 3], c, strict=True))) for i in (0, 3, 6)]
    to_lms = ((0.4122215, 0.5363325, 0.051446), (0.2119035, 0.6806995, 0.107397), (0.0883025, 0.2817188, 0.6299787))
    long, medium, short = (sum(a * b for a, b in zip(row, c, strict=True)) ** (1 / 3) for row in to_lms)
    return (
        0.2104543 * long + 0.7936178 * medium - 0.0040720 * short,
        1.9779985 * long - 2.4285922 * medium + 0.4505937 * short,
        0.0259040 * long + 0.7827718 * medium - 0.8086758 * short,
    )


def distance(a: str, b: str, eye: str = "normal") -> float:
    """How different two colours look, OKLab times 100; below about 5 two areas look alike."""
    return 100 * math.dist(oklab(a, eye), oklab(b, eye))


def colour(name: str) -> str:
    """A palette name as SVG paint: the variable, and the fallback where there is no style sheet."""
    return f"var(--zl-{name},{FALLBACK[name]})" if name in FALLBACK else name


def chip(tag: str) -> str:
    """The lettered chip of a tag for words in Markdown: a key cap in its colours, a letter where styles are stripped.

    >>> chip("Z")
    '<kbd style="background-color:#f7e9de;color:#14181d;border:1px solid #c25400">Z</kbd>'
    """
    look = f"background-color:{LIGHT['t' + tag]};color:{LIGHT['ink']};border:1px solid {LIGHT[tag]}"
    return f'<kbd style="{look}">{tag}</kbd>'


def with_chips(markdown: str) -> str:
    """Markdown in which every <kbd> that holds a tag's letter has the tag's colours.

    >>> with_chips("<kbd>Z</kbd> zbud") == chip("Z") + " zbud"
    True
    """
    return re.sub(rf"<kbd[^>]*>([{''.join(TAGS)}])</kbd>", lambda found: chip(found[1]), markdown)


def _declare(theme: Theme) -> str:
    return "".join(f"--zl-{name}:{value};" for name, value in theme.items())


STYLE = (
    f'.zl{{{_declare(LIGHT)}--zl-mono:var(--jp-code-font-family,ui-monospace,"DejaVu Sans Mono",monospace);'
    "max-width:100%;height:auto}"
    f"@media(prefers-color-scheme:dark){{.zl{{{_declare(DARK)}}}}}"
    f"[data-jp-theme-light=true] .zl{{{_declare(LIGHT)}}}[data-jp-theme-light=false] .zl{{{_declare(DARK)}}}"
    f"@media print{{.zl,[data-jp-theme-light] .zl{{{_declare(LIGHT)}}}}}"
    ".zl [data-part]{cursor:pointer;outline:none}.zl .hit{pointer-events:all}"
    ".zl [data-lights].lit>.hit{stroke:var(--zl-now);stroke-width:2}"
    ".zl [data-part]:hover>.hit,.zl [data-part]:focus>.hit{stroke:var(--zl-now);stroke-width:2.5}"
)
