"""The one picture: a page frame as a strip of 64 chunks, and beneath it the 64 bytes that describe it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

from ..memmap import Memmap
from ..releases import LINUX_3_10, Release
from ..rows import count
from ..struct_page import CHUNK, PAGE_SIZE, RECORD
from ..words import leads, letter
from ..zbud import ZbudPool
from .kit import WIDE, Fig, Picture
from .palette import TAGS, colour

CHUNKS = PAGE_SIZE // CHUNK


def words_of(release: Release) -> tuple[str, ...]:
    """What a kernel calls the 8 words of a record; of two halves the first, of several names the plainest.

    >>> words_of(LINUX_3_10)
    ('flags', 'mapping', 'index', '_mapcount', 'lru.next', 'lru.prev', 'private', 'padding')
    """
    fields = release.layout.values()
    return tuple(next((f.name for f in fields if f.offset == at), "padding") for at in range(0, RECORD, 8))


WORDS = words_of(LINUX_3_10)


def strip_text(first: int, last: int, header: int = 0) -> str:
    """A page of a pool in 64 characters, one a chunk: header #, FIRST /, slack ., LAST \\.

    >>> print(strip_text(9, 19, 1))
    |#/////////...................................\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\|
    """
    return f"|{'#' * header}{'/' * first}{'.' * (CHUNKS - header - first - last)}{chr(92) * last}|"


@cache
def _ticks(chunk: float) -> str:
    """A mark for each chunk of a page, to stand on y 0."""
    marks = "".join(f"M{i * chunk:g} 0v-{5 if i % 8 == 0 else 3}" for i in range(1, CHUNKS))
    return f'<path d="{marks}" stroke="{colour("rule")}"/>'


def strip(
    fig: Fig, x: float, y: float, chunk: float, h: float, first: int = 0, last: int = 0, header: int = 0, *,
    gap: bool = True, parts: bool = False, pfn: int = 0,
) -> None:  # fmt: skip
    """A zbud page to scale, `chunk` px a chunk: FIRST leans on the left wall, LAST on the right, between them slack."""
    w = CHUNKS * chunk
    fig.rect(x, y, w, h, "bg", "dim", 1)
    fig.stamp(x, y + h, _ticks(chunk))
    if header:
        fig.rect(x, y, chunk * header, h, "Z")
    for slot, n, left, hatch in (
        ("FIRST", first, x + header * chunk, "Z"),
        ("LAST", last, x + w - last * chunk, "Y"),
    ):
        if n:
            with fig.part(
                f"{slot}:{pfn}", f"p{pfn}, {slot}: {count(n, 'chunk')}, {n * CHUNK:,} bytes; press to free", parts
            ):
                fig.area(left + 0.75, y + 0.75, n * chunk - 1.5, h - 1.5, "Z", hatch, cls="hit" if parts else "")
                words = f"{slot.lower()} {n}"
                fig.plate(left + n * chunk / 2, y + h / 2 + 4.5, words, 13 if h > 20 else 11, "tZ", n * chunk - 4)
    slack = CHUNKS - header - first - last
    if gap and slack * chunk > 70 and (first or last):
        fig.small(x + (header + first + slack / 2) * chunk, y + h / 2 + 4, f"slack {slack}", fill="dim", at="middle")


def record(
    fig: Fig, x: float, y: float, w: float, raw: bytes, h: float = 11, gap: float = 4, *,
    hot: Collection[int] = (), tone: str = "h2",
) -> list[float]:  # fmt: skip
    """64 bytes as 8 words of 8 cells: empty 0x00, full 0xff, half ink any other value; `hot` bytes carry amber.

    Returns the left edge of each word in px; a word is (w - 7 * gap) / 8 px wide.
    """
    word = (w - 7 * gap) / 8
    lefts = [x + i * (word + gap) for i in range(8)]
    cells = {"rule": "", tone: "", "h3": ""}
    for i, byte in enumerate(raw):
        left = lefts[i // 8] + i % 8 * word / 8
        if i in hot:
            fig.rect(left - 1.5, y - 3, word / 8 + 3, h + 6, "nowbg", "now", 2, 2)
        ink = "rule" if byte == 0 else "h3" if byte == 255 else tone
        cells[ink] += f"M{left + 0.5:.1f} {y:g}h{word / 8 - 1:.1f}v{h:g}h-{word / 8 - 1:.1f}z"
    for ink, d in cells.items():
        if d:
            fig.path(d, "rule" if ink == "rule" else "", 1, "none" if ink == "rule" else ink)
    return lefts


def values(memmap: Memmap, pfn: int, pool: ZbudPool | None = None) -> dict[str, str]:
    """Each field of a record as struct page reads it, in few words: links say where they lead."""
    p = memmap.page(pfn)
    release = memmap.release
    told = {name: f"{p[name]:#x}" if p[name] else "0" for name in words_of(release)}
    set_ = ", ".join(f"PG_{name}" for name in release.flag_names(p["flags"]))
    told["flags"] = set_ or release.zones[release.zone(p["flags"])]
    told["mapping"] = "NULL" if not p["mapping"] else told["mapping"]
    for name in ("mapping", "index", "lru.next", "lru.prev", "private"):
        if p[name] >> 47:  # a kernel address
            lru = release.layout["lru.next"].offset
            told[name] = leads(memmap, pool, p.address + (lru if name.startswith("lru") else 0), p[name])
    counts = {name: str(p[name]) for name in ("_mapcount", release.references)}
    return told | counts


def page_picture(memmap: Memmap, pfn: int, pool: ZbudPool | None = None, width: int = WIDE) -> Picture:
    """One page: its frame as a strip, its struct page as bytes and as values, and what zbud wrote over either."""
    mine = pool is not None and pfn in pool.mine
    tag = letter(memmap, pfn)
    fig = Fig(
        f"page {pfn:#x}", f"A page frame of 64 chunks ({TAGS[tag]}) above the 64 bytes of its struct page.", width
    )
    left, chunk = (100, 10.0) if fig.wide else (4, 9.5625)
    y = 16.0 if fig.wide else 42.0
    fig.chip(0, 18 if fig.wide else 2, tag)
    fig.text(24, 32 if fig.wide else 16, f"p{pfn}", bold=True)
    fig.small(24 if fig.wide else 64, 47 if fig.wide else 15, f"pfn {pfn:#x}", mono=True, fill="dim")
    fig.small(24 if fig.wide else 150, 61 if fig.wide else 15, TAGS[tag], fill="dim")
    if pool is not None and mine:
        y = _tenants(fig, pool, pfn, left, chunk, y)
    else:
        fig.area(left, y, CHUNKS * chunk, 28, tag)
        fig.plate(left + CHUNKS * chunk / 2, y + 18.5, memmap.owner.get(pfn, "free"), 13, "t" + tag)
        fig.say(f"p{pfn}: {memmap.owner.get(pfn, 'free')} ({TAGS[tag]})")
        y += 28
    y = _struct_page(fig, memmap, pfn, pool if mine else None, left, chunk, y + 22)
    return fig.picture(y)


def _tenants(fig: Fig, pool: ZbudPool, pfn: int, left: float, chunk: float, y: float) -> float:
    """The strip with its handles, and the header chunk unfolded where there is one; returns the y beneath."""
    first, last = pool.chunks(pfn)
    header = pool.scheme.header_chunks
    free = pool.capacity - first - last
    for slot, n, offset in (("FIRST", first, header * CHUNK), ("LAST", last, PAGE_SIZE - last * CHUNK)):
        if n:
            x = left + offset / CHUNK * chunk
            fig.path(f"M{x:g} {y + 12}l-4 -7h8z", "", fill="ink")
            fig.small(x + 7, y + 10, f"{slot} handle, page + {offset:#05x}", fill="dim")
    y += 14
    strip(fig, left, y, chunk, 28, first, last, header)
    if fig.wide:
        fig.small(left + CHUNKS * chunk + 12, y + 12, f"{(first + last) * CHUNK:,} B in use")
        fig.small(left + CHUNKS * chunk + 12, y + 26, f"{free * CHUNK:,} B slack", fill="dim")
    fig.say(f"p{pfn}, zbud {pool.version.name}: first {first} chunks, last {last}, slack {free}")
    fig.say("  " + strip_text(first, last, header))
    y += 28
    if not header:
        return y
    raw = bytes(pool.memmap.frame_bytes(pfn)[:RECORD])
    right = left + CHUNKS * chunk
    fig.path(f"M{left} {y}V{y + 26}M{left + chunk} {y}C{left + chunk} {y + 20} {right} {y + 6} {right} {y + 26}", "Z")
    lefts = record(fig, left, y + 28, CHUNKS * chunk, raw, tone="Z")
    nodes = [int.from_bytes(raw[i : i + 8], "little") for i in (0, 8, 16, 24)]
    home = pool.memmap.frame(pfn)
    told = [leads(pool.memmap, pool, home + i // 2 * 16, node) for i, node in enumerate(nodes)]
    told += [f"{first}, {last}", "yes" if raw[40] else "no"]
    names = ("buddy.next", "buddy.prev", "lru.next", "lru.prev", "first, last", "under_reclaim")
    word = lefts[1] - lefts[0]
    for x, name, value in zip(lefts, names, told, strict=False):
        fig.small(x, y + 53, name, fill="Z", bold=True)
        fig.small(x, y + 67, value if 6.6 * len(value) <= word else value.partition(" ")[0])
    if fig.wide:
        fig.small(0, y + 37, "zbud_header", fill="Z")
    fig.say("  zbud_header, in the first chunk")
    for i, (name, value) in enumerate(zip(names, told, strict=True)):
        fig.say(f"  {8 * i:4}  {raw[8 * i : 8 * i + 8].hex(' ')}  {name} {value}")
    return y + 72


def _struct_page(
    fig: Fig, memmap: Memmap, pfn: int, pool: ZbudPool | None, left: float, chunk: float, y: float
) -> float:
    """The record: names and values above the bytes, zbud's own names beneath where it wrote over them."""
    p, told = memmap.page(pfn), values(memmap, pfn, pool)
    overlay = pool is not None and pool.scheme.home == "record"
    fig.text(left, y + 2, "struct page", 11, bold=True)
    fig.small(left + 74, y + 2, "as the kernel reads it", fill="dim")
    lefts = record(fig, left, y + 42, CHUNKS * chunk, p.raw, tone="Z" if overlay else "h2")
    word = lefts[1] - lefts[0] - 4
    names, count = words_of(memmap.release), memmap.release.references
    for x, name in zip(lefts, names, strict=True):
        fig.small(x, y + 20, name, fill="dim")
        fig.text(x, y + 35, told[name][: int(word / 6)], 11, mono=name == "_mapcount")
    right = lefts[names.index("_mapcount")] + word - 0.5  # the upper half of that word, held by a bracket
    fig.path(f"M{right - word / 2 + 1:.1f} {y + 40}v-2.5H{right:.1f}v2.5v-2.5V{y - 2}h4", "dim")
    fig.small(right + 7, y + 2, f"{count} {told[count]}".replace("-", "\u2212"), bold=True)
    pieces = written(pool) if overlay and pool is not None else {}
    fig.say(
        "  struct page, as the kernel reads it"
        + (f", and what {pool.version.name} wrote there" if pool and overlay else "")
    )
    for i, name in enumerate(names):
        value = f"{told[name]}, {count} {told[count]}" if name == "_mapcount" else told[name]
        zbud = f" = {', '.join(pieces[i])}" if i in pieces else ""
        fig.say(f"  {8 * i:4}  {p.raw[8 * i : 8 * i + 8].hex(' ')}  {name} {value}{zbud}")
    y += 56
    if overlay and pool is not None:
        _brackets(fig, pool, lefts, word, y)
        y += 22
    return y


def written(pool: ZbudPool) -> dict[int, list[str]]:
    """zbud's own names, by the word (0 to 7) of the 64 bytes that they lie in."""
    names: dict[int, list[str]] = {}
    for piece, (offset, _) in sorted(pool.scheme.pieces().items(), key=lambda item: item[1]):
        names.setdefault(offset // 8, []).append(piece)
    return names


def _brackets(fig: Fig, pool: ZbudPool, lefts: Sequence[float], word: float, y: float) -> None:
    """zbud's names beneath the words it wrote over."""
    for i, pieces in written(pool).items():
        fig.path(f"M{lefts[i]:.1f} {y}v4h{word:.1f}v-4", "Z", 1.5)
        fig.small(lefts[i] + 1, y + 17, ", ".join(pieces).replace("_chunks", ""), fill="Z", bold=True)
    fig.small(lefts[6], y + 17, f"as {pool.version.name} writes it", fill="Z")
