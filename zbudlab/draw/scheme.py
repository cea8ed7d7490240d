"""A scheme in the making: where zbud's pieces would lie, what collides, and what the readers make of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import groupby

from ..demonstrate.judge import WORDS as VERDICTS
from ..demonstrate.judge import Verdict, demands, verdicts
from ..demonstrate.readers import READERS
from ..schemes import FLAGS, Scheme
from ..struct_page import CHUNK, PG, RECORD, STRUCT_PAGE
from ..zbud import ZbudPool
from .kit import WIDE, Fig, Picture
from .matrix import DEMANDS, LETTERS, ROW, demand_mark, marks
from .page import CHUNKS, WORDS, record, strip

PIECES = {  # what can be placed, and the pieces that it consists of
    "buddy": ("buddy.next", "buddy.prev"),
    "lru": ("lru.next", "lru.prev"),
    "first_chunks": ("first_chunks",),
    "last_chunks": ("last_chunks",),
    "under_reclaim": ("under_reclaim",),
}
FIELDS = [f for f in STRUCT_PAGE.values() if f.name not in ("pfmemalloc", "first_page")]  # each byte once
HOMES = {"record": "struct page", "frame": "the first chunk of the page", "apart": "a structure apart"}
LANE, CELLS = 22, 11  # px: how tall a lane is, and the cells of a record
MARKS = ("it takes a race", "it takes an unlucky address", "any kernel page suffers as much")
SHOWN = (9, 19)  # chunks of the two tenants of the page that is drawn


class Draft(Scheme):
    """A scheme in the making: its choices may collide.  `finished` is the Scheme, if they do not."""

    def __post_init__(self) -> None:
        """Nothing is checked yet."""

    @classmethod
    def of(cls, scheme: Scheme, name: str = "") -> Draft:
        """The same choices under another name, by default their own; what was said about them is left out."""
        return cls(**{**asdict(scheme), "name": name or scheme.name, "about": ""})

    def finished(self) -> Scheme:
        """Raises ValueError, with Scheme's own sentence, if the choices collide."""
        return Scheme(**asdict(self))

    def place(self, piece: str) -> tuple[int, int] | None:
        """Offset and size in bytes of one of PIECES; None for a page under reclaim that PG_reclaim marks."""
        parts = [self.pieces()[name] for name in PIECES[piece] if name in self.pieces()]
        return (parts[0][0], sum(size for _, size in parts)) if parts else None

    def tags(self) -> list[tuple[str, int, int]]:
        """What marks a page in struct page: words, offset and size in bytes."""
        found = [(f"PG_{self.flag}", FLAGS[self.flag] // 8, 1)] if self.flag in FLAGS else []
        if self.mapcount is not None:
            found.append((f"_mapcount {self.mapcount}", 24, 4))
        if self.slab:
            found += [("PG_slab, genuine", PG["slab"] // 8, 1), ("SLUB's counters", 24, 4), ("slab_cache", 48, 8)]
        return found

    def holders(self) -> list[list[str]]:
        """For each of the 64 bytes, what lies there; in struct page also the flags and the tag."""
        found: list[list[str]] = [[] for _ in range(RECORD)]
        places = [(piece, *place) for piece in PIECES if (place := self.place(piece))]
        if self.home == "record":
            found[:8] = [["flags"] for _ in range(8)]
            places += [("the tag", offset, size) for _, offset, size in self.tags() if offset >= 8]
        for name, offset, size in places:
            for byte in range(offset, min(offset + size, RECORD)):
                found[byte].append(name)
        return found

    def collisions(self) -> list[tuple[int, int, list[str]]]:
        """Runs of bytes on which more than one thing lies: the first, the last, and what."""
        runs = groupby(enumerate(self.holders()), key=lambda item: item[1])
        spans = [(names, [i for i, _ in bytes_]) for names, bytes_ in runs if len(names) > 1]
        return [(at[0], at[-1], names) for names, at in spans]


def as_python(scheme: Scheme) -> str:
    """Lines of Python that make an equal Scheme, called `scheme`.

    >>> from zbudlab import SCHEMES
    >>> print(as_python(SCHEMES["inline-header"]).splitlines()[5])
        buddy=0,
    """
    plain = {f.name: getattr(scheme, f.name) for f in fields(Scheme)}
    lines = [f"name={_literal(plain.pop('name'))},", f"home={_literal(plain.pop('home'))},"]
    lines += [f"buddy={plain.pop('buddy')},", f"lru={plain.pop('lru')},"]
    lines += [", ".join(f"{name}={plain.pop(name)}" for name in ("first_chunks", "last_chunks", "width")) + ","]
    lines += [
        f"{f.name}={_literal(plain[f.name])}," for f in fields(Scheme) if plain.get(f.name, f.default) != f.default
    ]
    body = "".join(f"    {line}\n" for line in lines)
    return f"from zbudlab import Scheme\n\nscheme = Scheme(\n{body})\n"


def _literal(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


@dataclass(frozen=True)
class Building:
    """What is on the drawing board: the choices, the scheme that they started from, which piece is in hand, and which
    reader's verdict is looked at."""

    draft: Draft
    start: Scheme
    piece: str = "buddy"
    reader: str = ""

    @cached_property
    def scheme(self) -> Scheme:
        """Raises ValueError, with Scheme's own sentence, if the choices collide."""
        return self.draft.finished()

    @cached_property
    def wrong(self) -> str:
        """What Scheme says against the choices; empty if nothing."""
        try:
            self.scheme  # noqa: B018
        except ValueError as error:
            return str(error)
        return ""

    @cached_property
    def row(self) -> Mapping[str, Verdict]:
        return {} if self.wrong else verdicts(self.scheme)

    def notes(self) -> list[str]:
        """What the choices come to, in sentences: what they cover, what they leave, what Scheme does not refuse."""
        draft = self.draft
        holders = draft.holders()
        taken = [any(name in PIECES for name in names) for names in holders]
        covered = [f.name for f in FIELDS if any(taken[f.offset : f.offset + f.size])]
        left = [f.name for f in FIELDS if f.name not in covered]
        said = [
            {
                "record": f"Over {_listed(covered)} of struct page; {_listed(left)} stay the kernel's.",
                "frame": "Nothing of struct page is covered. The first chunk is taken: 63 are left for tenants.",
                "apart": "Nothing of struct page is covered and no chunk is taken; each page costs a structure more.",
            }[draft.home]
        ]
        for first, last, names in draft.collisions():
            if "the tag" in names:
                said.append(f"{_listed(names)} share {span(first, last)}: whichever is written last stands.")
        if draft.flag == "reclaim" and draft.under_reclaim is None:
            said.append("PG_reclaim marks a page under reclaim too: the two cannot be told apart.")
        return said

    def over(self, piece: str) -> str:
        """What one piece lies on, in words."""
        place = self.draft.place(piece)
        if place is None:
            return "PG_reclaim in flags says so"
        offset, size = place
        shared = [f"{span(a, b)} with {_listed(n for n in names if n != piece)}" for a, b, names in
                  self.draft.collisions() if piece in names]  # fmt: skip
        if shared:
            return "shares " + ", ".join(shared)
        if self.draft.home != "record":
            return span(offset, offset + size - 1)
        fields_ = [f.name for f in FIELDS if f.offset < offset + size and offset < f.offset + f.size]
        return f"over {_listed(fields_)}"


def span(first: int, last: int) -> str:
    """Bytes in words.

    >>> span(8, 8), span(8, 23)
    ('byte 8', 'bytes 8 to 23')
    """
    return f"byte {first}" if first == last else f"bytes {first} to {last}"


def _listed(names: Iterable[str]) -> str:
    *most, last = list(names) or ["nothing"]
    return f"{', '.join(most)} and {last}" if most else last


# ---------------------------------------------------------------------- the picture


class Grid:
    """Where the 64 bytes stand in a picture: eight words from `left` on, gaps between them."""

    def __init__(self, fig: Fig) -> None:
        self.left, self.gap = (112.0, 6.0) if fig.wide else (100.0, 4.0)
        self.width = fig.width - self.left
        self.word = (self.width - 7 * self.gap) / 8

    def x(self, byte: int) -> float:
        """The left edge of a byte, in px."""
        return self.left + byte // 8 * (self.word + self.gap) + byte % 8 * self.word / 8

    def edges(self, offset: int, size: int) -> tuple[float, float]:
        """The left and the right edge of some bytes."""
        last = min(offset + size, RECORD) - 1
        return self.x(offset), self.x(last) + self.word / 8


def scheme_picture(board: Building, width: int = WIDE, *, parts: bool = False) -> Picture:
    """The choices on the bytes, what is wrong with them, the scheme's row of the matrix, and the reason of one verdict.

    With `parts`, the 8 words are targets named word:N, what can be placed piece:NAME, verdicts reader:NAME.
    """
    draft = board.draft
    state = "the choices collide" if board.wrong else f"worst verdict {worst(board.row).word}"
    fig = Fig(f"SchemeBuilder: {draft.name}", f"A scheme with its data in {HOMES[draft.home]}; {state}.", width)
    about = f"from {board.start.name}; zbud's data in {HOMES[draft.home]}"
    fig.text(0, 16, "SchemeBuilder", 16, bold=True)
    fig.text(152, 16, draft.name, bold=True)
    fig.small(164 + 8 * len(draft.name), 16, about, fill="dim")
    fig.say(f"scheme {draft.name}, {about}")
    y = _bytes(fig, board, 34, parts)
    y = _sentences(fig, board, y + 10)
    y = _row(fig, board, y + 12, parts)
    y = _reason(fig, board, y + 16)
    if not board.wrong:
        fig.say()
        for line in as_python(board.scheme).splitlines():
            fig.say(line)
    return fig.picture(y)


def worst(row: Mapping[str, Verdict]) -> Verdict:
    return max(row.values(), key=lambda verdict: verdict.rank)


def sample(scheme: Scheme) -> tuple[bytes, bytes]:
    """A page of a pool under the scheme, with two tenants: its struct page, and the 64 bytes where the data lies."""
    pool = ZbudPool("v12", 4, scheme=scheme)
    for chunks in SHOWN:
        pool.alloc(CHUNK * chunks)
    (pfn,) = pool.mine
    start = pool.data.buddy(pfn) - scheme.buddy
    return bytes(pool.memmap.page(pfn).raw), bytes(pool.memmap.load(start + i, 1) for i in range(RECORD))


def _bytes(fig: Fig, board: Building, y: float, parts: bool) -> float:
    """The page as a strip, its 64 bytes, a lane for each piece: what stands above one another collides."""
    grid, home = Grid(fig), board.draft.home
    page, data = (bytes(RECORD), bytes(RECORD)) if board.wrong else sample(board.scheme)
    chunk = grid.width / CHUNKS
    fig.chip(0, y, "Z")
    fig.small(24, y + 13, "a page")
    strip(fig, grid.left, y, chunk, 18, *SHOWN, board.draft.header_chunks)
    y += 18
    if home == "record":
        y = _cells(fig, grid, board, y + 38, page, "struct page", parts)
        return _lanes(fig, grid, board, _tag(fig, grid, board, y + 6), parts)
    if home == "frame":  # the first chunk, unfolded
        fig.path(f"M{grid.left} {y}V{y + 12}", "Z")
        fig.path(f"M{grid.left + chunk:g} {y}C{grid.left + chunk:g} {y + 16} {fig.width} {y} {fig.width} {y + 12}", "Z")
    y = _cells(fig, grid, board, y + 34, data, "first chunk" if home == "frame" else "apart", parts)
    y = _lanes(fig, grid, board, y + 6, parts)
    y = _cells(fig, grid, board, y + 38, page, "struct page", False, ours=False)
    return _tag(fig, grid, board, y + 6)


def _cells(
    fig: Fig, grid: Grid, board: Building, y: float, raw: bytes, label: str, parts: bool, *, ours: bool = True
) -> float:
    """The 64 bytes at y, their names above; returns the y beneath.  `ours`: zbud's data lies in them."""
    held = [ours and any(name in PIECES for name in names) for names in board.draft.holders()]
    names = WORDS if label == "struct page" else [f"byte {8 * i}" for i in range(8)]
    if ours:
        _collisions(fig, grid, board, y)
    fig.small(0, y + 10, label, bold=ours)
    fig.say(f"  {label}")
    for i, name in enumerate(names):
        x, mine = grid.x(8 * i), any(held[8 * i : 8 * i + (4 if name == "_mapcount" else 8)])
        with fig.part(f"word:{i}", f"{span(8 * i, 8 * i + 7)}, {name}: press to put {board.piece} there", parts):
            if parts:
                fig.rect(x - 2, y - 19, grid.word + 4, CELLS + 23, "none", "none", cls="hit", rx=2)
            bold = mine and (fig.wide or name != "_mapcount")  # it would touch its neighbour
            fig.small(x, y - 7, name, bold=bold, fill="ink" if mine else "dim")
        told = ", ".join(dict.fromkeys(n for at in board.draft.holders()[8 * i : 8 * i + 8] for n in at if ours))
        fig.say(f"  {8 * i:4}  {raw[8 * i : 8 * i + 8].hex(' ')}  {name}{f' = {told}' if told else ''}")
    if label == "struct page":  # a count that sticks up
        x = grid.x(31) + 4  # past the word _mapcount
        fig.path(f"M{x:g} {y - 2}V{y - 22}h5", "dim")
        fig.small(x + 10, y - 18, "_count", bold=any(held[28:32]), fill="ink" if any(held[28:32]) else "dim")
    record(fig, grid.left, y, grid.width, raw, CELLS, grid.gap, tone="Z" if ours else "h2")
    return y + CELLS


def _collisions(fig: Fig, grid: Grid, board: Building, y: float) -> None:
    """Amber columns from the bytes at y down to the lanes that collide there."""
    lanes = ["tag"] * (board.draft.home == "record") + list(PIECES)
    for first, last, names in board.draft.collisions():
        a, b = grid.edges(first, last - first + 1)
        deepest = max(i for i, lane in enumerate(lanes, 1) if lane in names or lane == "tag")
        h = CELLS + 8 + LANE * deepest
        fig.hatches["N"] = "now"
        fig.rect(a - 1.5, y - 1.5, b - a + 3, h, "url(#@id@-N)", "now", 2, 2)
        fig.say(f"  !! {span(first, last)}: {_listed(names)}")


def _tag(fig: Fig, grid: Grid, board: Building, y: float) -> float:
    """What marks the page in struct page; returns the y beneath."""
    tags, letter = board.draft.tags(), {"slab": "S", "reserved": "R"}.get(board.draft.flag or "", "K")
    fig.small(0, y + 15, "tag", bold=True)
    for _, offset, size in tags:
        a, b = grid.edges(offset, size)
        fig.area(a, y + 3, b - a, LANE - 6, "S" if board.draft.slab else letter, rx=2)
    told = ", ".join(dict.fromkeys(words for words, _, _ in tags)) or "none"
    end = max((grid.edges(offset, size)[1] for _, offset, size in tags), default=grid.left - 8)
    _beside(fig, grid, board, grid.left if tags else 0, end, y, told, bold=bool(tags))
    fig.say(f"  tag: {told}")
    return y + LANE


def _lanes(fig: Fig, grid: Grid, board: Building, y: float, parts: bool) -> float:
    for piece in PIECES:
        over = board.over(piece)
        with fig.part(f"piece:{piece}", f"{piece}: {over}; press to take it in hand, then [ and ] move it", parts):
            _lane(fig, grid, board, piece, y, over, parts)
        y += LANE
    return y


def _lane(fig: Fig, grid: Grid, board: Building, piece: str, y: float, over: str, parts: bool) -> None:
    """One piece: its name, its bytes, what it lies on."""
    place, in_hand = board.draft.place(piece), piece == board.piece
    if in_hand:
        fig.rect(0, y + 3, 4, LANE - 6, "now")
    if parts:
        fig.rect(1, y + 1, fig.width - 2, LANE - 2, "none", "none", cls="hit", rx=3)
    fig.small(10, y + 15, piece, bold=in_hand)
    fig.say(f"  {piece}: {over}")
    if place is None:
        _beside(fig, grid, board, 0, grid.left - 8, y, over)
        return
    a, b = grid.edges(*place)
    clash = any(piece in names for _, _, names in board.draft.collisions())
    fig.rect(a, y + 3, b - a, LANE - 6, "tZ", "Z", 1.5, 2)
    for first, last, names in board.draft.collisions():
        if piece in names:
            left, right = grid.edges(first, last - first + 1)
            fig.rect(left, y + 3, right - left, LANE - 6, "url(#@id@-N)", "now", 2, 2)
    for name in PIECES[piece] if len(PIECES[piece]) > 1 else ():
        left, right = grid.edges(*board.draft.pieces()[name])
        if clash:
            fig.rect((left + right) / 2 - 18, y + 5, 36, LANE - 10, "tZ", rx=2)
        fig.small((left + right) / 2, y + 15, name.partition(".")[2], bold=True, at="middle")
    _beside(fig, grid, board, a, b, y, over, bold=clash)


def _beside(
    fig: Fig, grid: Grid, board: Building, a: float, b: float, y: float, words: str, *, bold: bool = False
) -> None:
    """Words beside a box from a to b, on the side where there is room; left out if there is none."""
    w = len(words) * (6.6 if bold else 6.1)
    x = b + 8 if b + 8 + w <= fig.width else a - 8 - w
    if x < grid.left - 4:
        return
    if board.draft.collisions():  # amber may run through
        fig.rect(x - 3, y + 4, w + 4, LANE - 8, "bg")
    fig.small(
        x if x > b else a - 8, y + 15, words, bold=bold, fill="ink" if bold else "dim", at="start" if x > b else "end"
    )


def _sentences(fig: Fig, board: Building, y: float) -> float:
    """What is wrong, or what the choices come to; returns the y beneath."""
    if board.wrong:
        fig.rect(1, y, fig.width - 2, 26, "nowbg", "now", 2, 3)
        fig.text(12, y + 17.5, "Not a scheme yet.", bold=True)
        fig.small(150, y + 17, board.wrong)
        fig.say(f"not a scheme yet. {board.wrong}")
        return y + 30
    for k, note in enumerate(board.notes()):
        if k:
            fig.rect(0, y + 4, 4, 16, "now")
        y = fig.para(10 if k else 0, y + 16, fig.width - 10, note, lead=14) - 8
        fig.say(note)
    return y + 8


def _row(fig: Fig, board: Building, y: float, parts: bool) -> float:
    """The scheme before all readers, and beneath it the one that it started from; returns the y beneath."""
    grid, top = Grid(fig), y + 108
    cell = 24.0 if fig.wide else 22.0
    start, x, does, group = verdicts(board.start), grid.left, "", grid.left
    for y, name, mine in ((top + 17, board.draft.name, True), (top + ROW + 17, board.start.name, False)):
        most = int(grid.left / 6.6)  # the whole name stands at the top
        fig.small(
            0, y, name if len(name) <= most else name[: most - 1] + "\u2026", bold=mine, fill="ink" if mine else "dim"
        )
    fig.say("  before the readers, Linux 3.10")
    for name, reader in READERS.items():
        if does and does != reader.does:
            _group(fig, group, x - 2, top, does)
            x += 7
            group = x
        does = reader.does
        fig.slanted(x + cell / 2 + 2, top - 10, name, bold=name == board.reader)
        _verdict(fig, board, name, start[name], x, top, cell, parts)
        x += cell
    _group(fig, group, x - 2, top, does)
    bottom = top + 2 * ROW
    if fig.wide:
        _demands(fig, board, x + 40, top - 22)
        return bottom + 18
    return _demands(fig, board, grid.left, bottom + 28)


def _group(fig: Fig, a: float, b: float, top: float, words: str) -> None:
    fig.path(f"M{a:g} {top - 4}H{b:g}M{a:g} {top + 2 * ROW + 4}H{b:g}", "dim")
    fig.small(a, top + 2 * ROW + 18, words, fill="dim")


def _verdict(fig: Fig, board: Building, name: str, was: Verdict, x: float, y: float, cell: float, parts: bool) -> None:
    """One reader's verdict, above the one on the scheme that was started from; an amber line where they differ."""
    _square(fig, was, x, y + ROW, cell)
    if board.wrong:
        fig.rect(x + 0.5, y + 2.5, cell - 3, ROW - 5, "none", "dim", 1, 2, "2 3")
        return
    verdict = board.row[name]
    with fig.part(f"reader:{name}", f"{name}: {verdict}; {board.start.name}: {was.word}", parts):
        _square(fig, verdict, x, y, cell, "hit" if parts else "")
    if verdict.word != was.word:
        fig.path(f"M{x:g} {y + ROW}h{cell - 2:g}", "now", 2)
    if name == board.reader:
        fig.rect(x - 1.5, y + 0.5, cell + 1, ROW - 1, "none", "now", 2.5, 3)
    changed = "" if verdict.word == was.word else f" (was {was.word})"
    fig.say(f"  {LETTERS[verdict.word] + marks(verdict):3} {name:16} {verdict.why}{changed}")


def _square(fig: Fig, verdict: Verdict, x: float, y: float, cell: float, cls: str = "") -> None:
    rank, maybe = VERDICTS.index(verdict.word), verdict.race or verdict.luck
    fig.severity(x, y + 2, cell - 2, ROW - 4, rank, maybe=maybe, cls=cls)
    if verdict.anyone:
        ink = "on" if rank > 2 and not maybe else "ink"
        fig.path(f"M{x + cell - 3:g} {y + ROW - 10}v7h-7z", "", fill=ink)


def _demands(fig: Fig, board: Building, x: float, y: float) -> float:
    """The four demands, with how the scheme meets them; returns the y beneath."""
    if board.wrong:
        return y + 4 * 20
    for short, (demand, answer) in zip(DEMANDS, demands(board.scheme, list(board.row.values())).items(), strict=True):
        demand_mark(fig, x + 4, y + 10, demand, answer)
        fig.small(x + 20, y + 14, short, bold=True)
        fig.small(x + 82, y + 14, answer.partition(":")[0])
        fig.say(f"  demand {short[0]}, {demand}: {answer}")
        y += 20
    return y


def _reason(fig: Fig, board: Building, y: float) -> float:
    """Why the chosen reader comes to its verdict; or, in its place, all that collides.  Returns the y beneath."""
    since, verdict = len(fig.parts), board.row.get(board.reader)
    if verdict is None:
        runs = [f"{span(first, last)}: {_listed(names)}" for first, last, names in board.draft.collisions()]
        told = "no verdicts until the choices make a scheme" if board.wrong else "press a verdict for its reason"
        fig.text(16, y + 25, told, bold=True)
        end = fig.para(16, y + 48, fig.width - 30, "; ".join(runs)) if runs else y + 48
        fig.panel(since, y, end + 12)
        return end + 16
    reader, name = READERS[board.reader], f"{board.draft.name} \u00d7 {board.reader}"
    told = ", ".join(
        [
            verdict.word,
            *(words for words, on in zip(MARKS, (verdict.race, verdict.luck, verdict.anyone), strict=True) if on),
        ]
    )
    fig.severity(16, y + 10, 20, 20, VERDICTS.index(verdict.word), maybe=verdict.race or verdict.luck)
    fig.text(44, y + 25, name, bold=True)
    fig.text(58 + 7.9 * len(name), y + 25, told)
    end = fig.para(16, y + 48, fig.width - 30, verdict.why)
    end = fig.para(16, end, fig.width - 30, f"it reads {_listed(verdict.reads)}; honest: {reader.words}", fill="dim")
    fig.panel(since, y, end - 4)
    return end
