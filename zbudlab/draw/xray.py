"""PageXray: the 64 bytes of one record, and beside them their readings; one byte or field is picked.

The picked bytes carry amber in every reading that lies over them, and a sentence beneath says what they are to zbud
and to the kernel, and what the kernel's questions make of them.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ..demonstrate.recogniser import implicit
from ..memmap import KernelOops, Memmap
from ..page import Page
from ..sources import SOURCES
from ..words import letter
from ..zbud import ZbudPool
from .kit import WIDE, Fig, Picture
from .palette import TAGS, colour
from .readings import NOTHING, TAG, Reading, Told, asked, of_zbud, readings, said_of

PICKED = "zbud:buddy.prev"  # what is picked unless told otherwise: the link where _mapcount and _count are
ROW, TOP = 58, 62  # px: from word to word, and where they begin
IMPLICIT = "!PageSlab(p) && page_count(p) > 0 && page_mapcount(p) <= 0"


class Pick(NamedTuple):
    """Some bytes of a reading: those of a field `told`, or a single one (`told` is None)."""

    part: str
    reading: Reading
    offset: int
    size: int
    told: Told | None

    @property
    def span(self) -> range:
        return range(self.offset, self.offset + self.size)

    @property
    def raw(self) -> bytes:
        return self.reading.raw[self.offset : self.offset + self.size]

    def __str__(self) -> str:
        last = self.offset + self.size - 1
        where = f"byte {last}" if self.size == 1 else f"bytes {self.offset} to {last}"
        return where if self.reading.over else f"{where} of the {self.reading.title}"


def pick(part: str, found: Iterable[Reading]) -> Pick:
    """The bytes that a part stands for: "byte:24", or "page:_count" and such; of a part that is not there, byte 24."""
    by_key = {reading.key: reading for reading in found}
    key, _, name = part.partition(":")
    for told in by_key[key].fields if key in by_key else ():
        if told.name == name:
            return Pick(part, by_key[key], told.offset, told.size, told)
    offset = int(name) if key == "byte" and name.isdigit() and int(name) < 64 else 24
    return Pick(f"byte:{offset}", by_key["page"], offset, 1, None)


def xray_picture(
    memmap: Memmap, pfn: int, pool: ZbudPool | None = None, width: int = WIDE, *, picked: str = PICKED,
    slab: bool = False, hot: Collection[int] = (), parts: bool = False, focus: str = "",
) -> Picture:  # fmt: skip
    """The record of page `pfn`, byte by byte and in its readings; `slab` adds SLUB's.

    `picked` is a part: "byte:24", "page:_count", "zbud:buddy.prev", "header:lru.next", "slab:inuse".  `hot` are kernel
    addresses of bytes that have changed.  With `parts`, bytes and fields are targets of these names, for the live
    view; `focus` names the one that the focus goes to.  Raises IndexError for a pfn outside the memmap.
    """
    found = readings(memmap, pfn, pool, slab=slab)
    page, chosen = memmap.page(pfn), pick(picked, found)
    tag = letter(memmap, pfn)
    fig = Fig(f"The struct page of p{pfn}", f"Its 64 bytes, and {len(found)} readings; picked: {chosen}.", width)
    if parts:
        fig.data |= {"focus": focus}
    fig.chip(0, 2, tag)
    fig.text(26, 16, f"p{pfn}", 16, bold=True)
    owner = memmap.owner.get(pfn, "free")
    about = f"{TAGS[tag] if owner == 'zbud' else owner}, pfn {pfn:#x}, struct page at"
    _rich(fig, 36 + 11 * len(f"p{pfn}"), 16, [(about, "dim"), (f"{page.address:#x}", "mono")])
    fig.say(f"p{pfn}, {owner}, pfn {pfn:#x}, struct page at {page.address:#x}")
    cell = 24.0 if fig.wide else 21.0 if len(found) < 3 else 16.5
    left = 30 + 8 * cell + (26 if fig.wide or len(found) < 3 else 10)
    gap = 12 if fig.wide else 8
    column = (width - 7 - left - gap * (len(found) - 1)) / len(found)
    _amber(fig, chosen, found, left, column + gap)
    _bytes(fig, page, chosen, cell, [r for r in found if r.over], {a - page.address for a in hot}, parts)
    for k, reading in enumerate(found):
        lit = {a - reading.address for a in hot}
        _column(fig, reading, left + k * (column + gap), column, chosen, lit, parts)
    _tell(fig, page, found, chosen, hot)
    return fig.picture(_sentence(fig, page, chosen, of_zbud(page, pool), TOP + 8 * ROW + 14))


def _amber(fig: Fig, chosen: Pick, found: list[Reading], left: float, step: float) -> None:
    """The amber row: across the bytes and all readings of them, or across the one reading of other bytes."""
    y = TOP + chosen.offset // 8 * ROW - 4
    over = sum(reading.over for reading in found)
    if chosen.reading.over:
        right = left + over * step if over < len(found) else fig.width + 2.0
        fig.rect(1, y, right - 4, ROW - 1, "nowbg", "now", 2, 4)
    else:
        fig.rect(left + over * step - 5, y, fig.width - left - over * step + 4, ROW - 1, "nowbg", "now", 2, 4)


def _bytes(
    fig: Fig, page: Page, chosen: Pick, cell: float, over: list[Reading], hot: set[int], parts: bool
) -> None:  # fmt: skip
    fig.small(30, TOP - 10, "64 bytes in memory order" if fig.wide else "64 bytes", fill="dim")
    size = 13 if cell > 22 else 11
    for i, byte in enumerate(page.raw):
        x, y = 30 + i % 8 * cell, TOP + i // 8 * ROW
        if i % 8 == 0:
            fig.small(22, y + 27, i, mono=True, fill="dim", at="end")
        names = [f"{told.name} in {reading.title}" for reading in over for told in reading.covering([i])]
        with fig.part(f"byte:{i}", f"byte {i}: {byte:#04x}; {'; '.join(names)}", parts, lights=i, row=8):
            mine = chosen.reading.over and i in chosen.span and chosen.size < 8
            edge = "now" if mine or i in hot else "dim" if byte else "rule"
            fill = "nowbg" if i in hot else "bg"
            fig.rect(x + 0.5, y + 11.5, cell - 2, 24, fill, edge, 2 if edge == "now" else 1, 2, cls="hit")
            fig.text(x + cell / 2 - 0.5, y + 28, f"{byte:02x}", size, "ink" if byte else "dim", "middle", mono=True)
    if chosen.reading.over:
        for told in over[0].covering(chosen.span):
            x, y = 30 + told.offset % 8 * cell, TOP + told.offset // 8 * ROW
            value = (
                f"{int.from_bytes(page.raw[told.offset : told.offset + told.size], 'little'):#0{2 + 2 * told.size}x}"
            )
            fig.path(f"M{x + 1:g} {y + 38}v3h{told.size * cell - 5:g}v-3", "now", 1.5)
            if 6.7 * len(value) <= told.size * cell + 2:
                fig.small(x + told.size * cell / 2 - 2, y + 51, value, mono=True, at="middle")


def _column(
    fig: Fig, reading: Reading, x: float, w: float, chosen: Pick, hot: set[int], parts: bool
) -> None:  # fmt: skip
    """One reading: a box for each field, beside the word that it lies in."""
    indent = 0
    if reading.tag != "K":
        fig.chip(x, TOP - 24, reading.tag)
        indent = 24
    short = reading.title.partition(",")[0]
    sizes = [(title, size) for title in (reading.title, short) for size in (13, 11)]
    title, size = next((t for t in sizes if len(t[0]) * t[1] * 0.61 + indent <= w), (short, 11))
    fig.text(x + indent, TOP - 10, title, size, bold=True)
    for row in range(8):
        fields = reading.covering(range(8 * row, 8 * row + 8))
        h = (ROW - 9 - 1.5 * (len(fields) - 1)) / max(1, len(fields))
        for k, told in enumerate(fields):
            y = TOP + row * ROW + k * (h + 1.5)
            _field(fig, reading, told, (x, y, w, h), chosen, hot, parts)
    if reading.note:
        free = next((row for row in range(8) if not reading.covering(range(8 * row, 64))), 8)
        for k, line in enumerate(textwrap.wrap(_minus(reading.note), max(10, int(w / 5.9)))):
            fig.small(x + 7, TOP + free * ROW + 14 + 15 * k, line, fill="dim")


def _field(
    fig: Fig, reading: Reading, told: Told, at: tuple[float, float, float, float], chosen: Pick, hot: set[int],
    parts: bool,
) -> None:  # fmt: skip
    """The box of one field: its place is left, top, width, height."""
    x, y, w, h = at
    name, changed = f"{reading.key}:{told.name}", bool(hot.intersection(told.span))
    says = f"bytes {told.offset} to {told.offset + told.size - 1}: {told}; {reading.title}"
    lights = " ".join(f"{'' if reading.over else 'h'}{i}" for i in told.span)
    with fig.part(name, says, parts, lights=lights, row=1):
        fill = "nowbg" if changed else "bg" if reading.tag == "K" else f"t{reading.tag}"
        edge, sw = ("now", 2) if changed or name == chosen.part else (reading.tag, 1)
        fig.rect(x + 0.5, y + 0.5, w - 1, h, fill, edge, sw, 2, "" if reading.over else "4 2", "hit")
        _box(fig, told, x + 7, y, w - 14, h)


def _box(fig: Fig, told: Told, x: float, y: float, w: float, h: float) -> None:
    """The words in a field's box; what does not fit is left to the line above the picture."""
    if h < 40:
        base = y + h / 2 + 4
        x, w = x - 2, w + 4
        fig.small(x, base, told.name, bold=True)
        if 6.6 * (len(told.name) + len(told.value)) <= w:
            fig.small(x + w, base, told.value, mono=True, at="end", bold=True)
        return
    fig.small(x, y + 14, told.name, bold=True)
    fig.small(x, y + 29, told.value, mono=True)
    for words in (
        told.words,
        told.words.partition(": ")[2],
        told.words.partition(": ")[0],
        told.words.partition(",")[0],
    ):
        if words and 6.1 * len(words) <= w:
            fig.small(x, y + 43, words)
            break


# ---------------------------------------------------------------------- the sentence beneath


def meaning(chosen: Pick, kernel: list[Told], zbud: list[Told] | None) -> list[tuple[str, str]]:
    """What the picked bytes are to zbud and to the kernel, as pieces of a sentence: (words, colour)."""
    ours, theirs = said_of(t.kind for t in zbud or ()), said_of(t.kind for t in kernel)
    verb = "is" if chosen.size == 1 else "are"
    if not chosen.reading.over:
        return [(verb, ""), (ours, "Z"), ("to zbud; no reader of the memmap sees them", "")]
    ours, theirs = (
        f"part of {what}" if what != NOTHING and any(chosen.size < t.size for t in fields) else what
        for what, fields in ((ours, zbud or ()), (theirs, kernel))
    )
    to_zbud = [(ours, "Z"), ("to zbud,", "")] if zbud is not None else []
    return [(verb, ""), *to_zbud, (theirs, "ink"), ("to the kernel", "")]


def sentences(page: Page, chosen: Pick, kernel: list[Told], zbud: list[Told] | None) -> list[str]:
    """The lines beneath: what the fields are, and what the kernel's questions make of them."""
    lines = []
    for told in kernel if chosen.reading.over else ():
        raw = f"{int.from_bytes(page.raw[told.offset : told.offset + told.size], 'little'):#x}"
        equals = f"{raw} = {told.value}" if told.size < 8 and told.value != raw else told.value or raw
        lines.append(f"{told.name} is {equals}{_joined(told)}.")
    for told in zbud or ():
        if told.kind not in (NOTHING, TAG):
            lines.append(f"To zbud, {told.name} is {told.value}{_joined(told)}.")
    answers = asked(page, [told.name for told in kernel]) if chosen.reading.over else []
    came = []
    for answer in dict.fromkeys(answer for _, answer in answers):
        questions = [question for question, given in answers if given == answer]
        came.append(f"{listed(questions)} {'is' if len(questions) == 1 else 'are'} {answer}")
    return lines + [f"{'; '.join(came)}."] * bool(came)


def _joined(told: Told) -> str:
    """The words of a field, behind its value: no second colon in one sentence."""
    return told.words and f"{', ' if ':' in told.words else ': '}{told.words}"


def listed(words: Sequence[str]) -> str:
    """
    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def verdict(page: Page) -> str:
    """Whether the predicate of 30 May 2013 (source: seed) takes the page for zbud's."""
    try:
        return f"So {IMPLICIT}, the tag proposed on 30 May, is {'true' if implicit(page) else 'false'} here."
    except KernelOops:
        return f"So {IMPLICIT}, the tag proposed on 30 May, would oops here."


def _sentence(fig: Fig, page: Page, chosen: Pick, zbud: Reading | None, y: float) -> float:
    """The lines beneath the picture, behind an amber bar; returns the y beneath."""
    over = chosen.reading.over
    kernel = readings(page.memmap, page.pfn)[0].covering(chosen.span) if over else []
    ours = None if zbud is None else (zbud if over else chosen.reading).covering(chosen.span)
    told = meaning(chosen, kernel, ours)
    raw = chosen.raw.hex(" ")
    spans = [(str(chosen), "bold"), (f"  {raw}  " if fig.wide else "", "mono"), *told]
    top = y
    if sum(len(words) for words, _ in spans) * 7.4 > fig.width:
        del spans[1]
    _rich(fig, 14, y + 13, spans)
    fig.say(f"{chosen}  {raw}  " + " ".join(words for words, _ in told))
    y += 32
    lines = [(line, "ink") for line in sentences(page, chosen, kernel, ours)]
    if any(told.name in ("flags", "_mapcount", "_count", "_refcount") for told in kernel):
        lines.append((verdict(page), "dim"))
    for text, ink in lines:
        source = f" ({SOURCES['seed'].where})" if ink == "dim" else ""
        fig.say(f"  {text}{source}")
        for line in textwrap.wrap(_minus(text), int((fig.width - 14) / 6.0)):
            fig.small(14, y, line, fill=ink)
            y += 16
    fig.rect(0, top, 4, y - top - 8, "now")
    return y


def _minus(words: str) -> str:
    """Words with a real minus sign before negative numbers."""
    return re.sub(r"(?<![\w-])-(?=\d)", "\u2212", words)


def _rich(fig: Fig, x: float, y: float, spans: Iterable[tuple[str, str]]) -> None:
    """A line of words, some of them bold, dim, in monospace, or in a colour (and bold then)."""
    styles = {"": "", "bold": ' font-weight="600"', "mono": ' font-family="var(--zl-mono,monospace)"'}
    styles["dim"] = f' fill="{colour("dim")}"'
    inside = ""
    for words, style in spans:
        how = styles.get(style, f' font-weight="600" fill="{colour(style or "ink")}"')
        inside += f'<tspan{how} xml:space="preserve">{html.escape(words)} </tspan>' if words else ""
    fig.add(f'<text x="{x:g}" y="{y:g}" font-size="13" fill="{colour("ink")}">{inside}</text>')


def _tell(fig: Fig, page: Page, found: list[Reading], chosen: Pick, hot: Collection[int]) -> None:
    """The table in the text twin: eight bytes to a line, and what each reading has there."""
    others = [reading for reading in found if not reading.over]
    changed = sorted(address - page.address for address in hot if 0 <= address - page.address < len(page.raw))
    if changed:
        fig.say(f"  changed by this event: bytes {', '.join(map(str, changed))}")
    for row in range(8):
        some = range(8 * row, 8 * row + 8)
        mark = ">" if chosen.reading.over and chosen.offset // 8 == row else " "
        fig.say(f"{mark} {8 * row:3}  {page.raw[8 * row : 8 * row + 8].hex(' ')}")
        for reading in found:
            if reading.over and reading.covering(some):
                fig.say(f"         {reading.title}: {'; '.join(map(str, reading.covering(some)))}")
    for reading in found:
        if reading.over and reading.note:
            fig.say(f"  {reading.title}: {reading.note}")
    for reading in others:
        fig.say(f"  {reading.title}, at {reading.address:#x}: {reading.note}")
        for told in reading.fields:
            mark = ">" if told.name == chosen.part.partition(":")[2] and not chosen.reading.over else " "
            fig.say(f"{mark} {told.offset:3}  {reading.raw[told.offset : told.offset + told.size].hex(' '):23}  {told}")
