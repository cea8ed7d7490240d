"""SchemeBuilder: put zbud's data where you like, and see what that does."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import ipywidgets

from ..demonstrate.judge import SIZES
from ..demonstrate.readers import READERS
from ..draw import WIDE, Picture
from ..draw.scheme import FIELDS, PIECES, Building, Draft, as_python, scheme_picture, worst
from ..schemes import NEW_FLAG, SCHEMES, Scheme
from ..struct_page import CHUNK, PG, RECORD
from ..timeline import Timeline
from .instrument import Instrument, button
from .stage import Stage

HOMES = {
    "struct page, by definition": ("record", True),
    "struct page, by a cast": ("record", False),
    "the page's first chunk": ("frame", True),
    "a structure apart": ("apart", True),
}
NO_TAG, FLAG, MAPCOUNT, NEW, GENUINE = (
    "no tag",
    "a page flag",
    "a value of _mapcount",
    "a new page flag",
    "genuine slab",
)
TAGS: dict[str, dict[str, Any]] = {  # and what each begins with: -127 is the value of August 2013
    NO_TAG: {},
    FLAG: {"flag": "slab"},
    MAPCOUNT: {"mapcount": -127},
    NEW: {"flag": "zbud"},
    GENUINE: {"slab": True},
}
INT = 1 << 31  # C's int ends here
PG_RECLAIM = "PG_reclaim"  # in place of a byte: a list of choices takes None for no choice
LABEL = {"description_width": "initial"}
PRE = '<pre tabindex="0" aria-label="the scheme as Python" style="line-height:1.4">{}</pre>'


class SchemeBuilder(Instrument):
    """Choose where each piece of zbud's data lies and what tags the page; the bytes and the readers answer at once.

    `start` (a Scheme, or a name of SCHEMES) is what it begins with, under the name `name`.  `scheme` is the Scheme that
    was built, `source()` the Python that makes it; both raise ValueError, with Scheme's own sentence, while the choices
    collide.  "On the bench" gives the instruments of its stage a pool under the scheme.

    In the picture: press a piece to take it in hand, then a word to put it there, or [ and ] to move it; press a
    verdict for its reason.  Raises ValueError for a `start` with more than one tag.
    """

    reels = False

    def __init__(self, on: Any = None, *, start: str | Scheme = "slab-flag", name: str = "mine") -> None:
        self.name, self._first = name, _known(start)
        self._starts = {**SCHEMES, self._first.name: self._first}
        self.board = Building(Draft.of(self._first, name), self._first)
        super().__init__(Stage(bench(self.board.scheme), 0, self._telling()) if on is None else on)

    def _telling(self) -> str:
        """The reader whose verdict is worst, of those that are the scheme's own doing."""
        row = self.board.row
        return max(row, key=lambda name: (not row[name].anyone, row[name].rank))

    @property
    def scheme(self) -> Scheme:
        """The scheme that was built; raises ValueError while the choices collide."""
        return self.board.scheme

    def source(self) -> str:
        """Lines of Python that make an equal Scheme, called `scheme`; raises ValueError while the choices collide."""
        return as_python(self.scheme)

    def controls(self) -> Iterable[Sequence[ipywidgets.Widget]]:
        self.start = self._choice("start from", list(self._starts), self.start_from, "215px")
        self.home = self._choice("data in", list(HOMES), self._home, "255px")
        self.tag = self._choice("tag", list(TAGS), self._tag, "185px")
        self.flag = self._choice("flag", list(PG), lambda flag: self.change(flag=flag), "150px")
        self.mapcount = ipywidgets.BoundedIntText(
            -127, -INT, INT - 1, description="value", layout=ipywidgets.Layout(width="150px"), style=LABEL
        )
        self.mapcount.observe(self.by_hand(lambda value: self.change(mapcount=value)), "value")
        wide = {"buddy": "200px", "lru": "190px"}
        self.places = {
            piece: self._choice(piece, [], self._placed(piece), wide.get(piece, "245px")) for piece in PIECES
        }
        self.width = self._choice("bytes of a count", [1, 2, 4, 8], lambda n: self.change(width=n), "170px")
        self.show = ipywidgets.ToggleButton(description="As Python", tooltip="the lines that make this scheme")
        self.show.observe(lambda change: self._reveal(change.new), "value")
        self.python = ipywidgets.HTML(layout=ipywidgets.Layout(display="none"))
        yield [self.start, self.home, self.tag, self.flag, self.mapcount]
        yield [*self.places.values(), self.width]
        yield [
            button(
                "On the bench", "a pool under this scheme, for all instruments on this stage", self.put_on_the_bench
            ),
            self.show,
            button("Back to the book", "as it was at the beginning", self.reset),
        ]
        yield [self.python]

    def _choice(
        self, words: str, options: Sequence[Any], action: Callable[[Any], Any], width: str
    ) -> ipywidgets.Dropdown:
        layout = ipywidgets.Layout(width=width)
        made = ipywidgets.Dropdown(options=options, description=words, layout=layout, style=LABEL)
        made.observe(self.by_hand(action), "value")
        return made

    # ------------------------------------------------------------------ what can be done

    def change(self, **choices: Any) -> None:
        """Choose anew: fields of Scheme by name.  What comes of it is shown and said."""
        self.board = replace(self.board, draft=replace(self.board.draft, **choices))
        self.refresh(self._said())

    def start_from(self, scheme: str | Scheme) -> None:
        """Begin again with the choices of a scheme."""
        start = _known(scheme, self._starts)
        self._starts.setdefault(start.name, start)
        self.board = replace(self.board, draft=Draft.of(start, self.name), start=start)
        self.refresh(f"from {start.name}{start.about and ': '}{start.about}. {self._said()}")

    def put_on_the_bench(self) -> None:
        """A pool under the scheme, with a few zpages, for all instruments on the stage."""
        if self.board.wrong:
            self.refresh(f"not a scheme yet: {self.board.wrong}")
            return
        self.stage.begin(bench(self.scheme), 0, self.stage.reader)
        self.stage.tell(f"a pool under scheme {self.name} is on the bench")

    def reset(self) -> None:
        """Back to the book: the choices it started with."""
        self.board = Building(Draft.of(self._first, self.name), self._first)
        self.stage.reset()

    def _reveal(self, on: bool) -> None:
        self.python.layout.display = "" if on else "none"

    def _said(self) -> str:
        if self.board.wrong:
            return f"not a scheme yet: {self.board.wrong}"
        verdict = worst(self.board.row)
        name = next(name for name, found in self.board.row.items() if found is verdict)
        return f"{self.name}, worst: {verdict.word}, {name}"

    def _home(self, words: str) -> None:
        home, by_definition = HOMES[words]
        self.change(home=home, by_definition=by_definition)

    def _tag(self, kind: str) -> None:
        self.change(**{"flag": None, "mapcount": None, "slab": False, **TAGS[kind]})

    def _placed(self, piece: str) -> Callable[[Any], None]:
        return lambda offset: self.place(piece, None if offset == PG_RECLAIM else offset)

    def place(self, piece: str, offset: int | None) -> None:
        """Put a piece at a byte; for a page under reclaim, None is PG_reclaim."""
        self.board = replace(self.board, piece=piece)
        self.change(**{piece: offset})

    def move(self, steps: int) -> None:
        """Move the piece in hand by as many of its own places; at the edge it stays."""
        piece, place = self.board.piece, self.board.draft.place(self.board.piece)
        if place is None:
            self.place(piece, 0 if steps > 0 else RECORD - 1)
            return
        step = min(8, place[1])
        offset = (place[0] // step + steps) * step
        if 0 <= offset <= RECORD - place[1]:
            self.place(piece, offset)

    def chosen(self, part: str) -> None:
        kind, _, name = part.partition(":")
        if kind == "piece":
            self.board = replace(self.board, piece=name)
            self.refresh(f"{name} is in hand, {self.board.over(name)}: press a word, or move it with [ and ]")
        elif kind == "word":
            place = self.board.draft.place(self.board.piece)
            self.place(self.board.piece, min(8 * int(name), RECORD - (place[1] if place else 1)))
        else:
            self.stage.look(reader=name)
            self.refresh(f"{self.name}, {name}: {self.board.row[name]}" if self.board.row else self.board.wrong)

    def letters(self) -> dict[str, Callable[[], Any]]:
        return {"[": lambda: self.move(-1), "]": lambda: self.move(1)}

    # ------------------------------------------------------------------ showing

    def follow(self) -> None:
        reader = self.stage.reader if self.stage.reader in READERS else ""
        self.board = replace(self.board, reader=reader)
        draft = self.board.draft
        _offer(self.start, tuple(self._starts))
        self.start.value = self.board.start.name
        self.home.value = next(words for words, (home, cast) in HOMES.items() if home == draft.home
                               and (home != "record" or cast == draft.by_definition))  # fmt: skip
        self.tag.value = kind = _tagged(draft)
        self.flag.layout.display = "" if kind == FLAG else "none"
        self.mapcount.layout.display = "" if kind == MAPCOUNT else "none"
        self.flag.value = draft.flag if kind == FLAG else "slab"
        if draft.mapcount is not None:
            self.mapcount.value = draft.mapcount
        self.width.value = draft.width
        for piece, control in self.places.items():
            _offer(control, _places(draft, piece))
            offset = getattr(draft, piece)
            control.value = PG_RECLAIM if offset is None else offset

        self.python.value = PRE.format(html.escape(f"# {self.board.wrong}" if self.board.wrong else self.source()))

    def picture(self, width: int = WIDE, *, parts: bool = False) -> Picture:
        return scheme_picture(self.board, width, parts=parts)


def bench(scheme: Scheme) -> Timeline:
    """A pool under a scheme, with a few zpages in pairs."""
    timeline = Timeline("v12", scheme=scheme, allocator="kernel")
    for chunks in chain(*SIZES[:2]):
        timeline.alloc(CHUNK * chunks)
    return timeline


def _known(scheme: str | Scheme, others: Mapping[str, Scheme] = SCHEMES) -> Scheme:
    """A scheme that the controls can show."""
    if isinstance(scheme, str):
        if scheme not in others:
            raise ValueError(f"unknown scheme {scheme!r}; known: {', '.join(others)}")
        scheme = others[scheme]
    _tagged(scheme)
    return scheme


def _tagged(scheme: Scheme) -> str:
    """Which of TAGS a scheme has."""
    kinds = [NEW if scheme.flag in NEW_FLAG else FLAG] if scheme.flag is not None else []
    kinds += [MAPCOUNT] if scheme.mapcount is not None else []
    kinds += [GENUINE] if scheme.slab else []
    if len(kinds) > 1:
        raise ValueError(f"{scheme.name} is tagged by {' and by '.join(kinds)}; the builder has room for one tag")
    return kinds[0] if kinds else NO_TAG


def _offer(control: ipywidgets.Dropdown, options: tuple[Any, ...]) -> None:
    """Other options, if they are others: each time they are set the browser builds the list anew."""
    if control.options != options:
        control.options = options


def _places(draft: Draft, piece: str) -> tuple[tuple[str, int | str], ...]:
    """Where a piece can be put, in words with the byte: its own place is always among them."""
    size = 16 if piece in ("buddy", "lru") else 1 if piece == "under_reclaim" else draft.width
    offsets = {*range(0, RECORD + 1 - size, min(size, 8)), *([at] if (at := getattr(draft, piece)) is not None else [])}
    names = {byte: f.name for f in FIELDS for byte in range(f.offset, f.offset + f.size)}
    options: list[tuple[str, int | str]] = [(PG_RECLAIM, PG_RECLAIM)] if piece == "under_reclaim" else []
    for offset in sorted(offsets):
        over = f", {names[offset]}" if draft.home == "record" else ""
        options.append((f"byte {offset}{over}", offset))
    return tuple(options)
