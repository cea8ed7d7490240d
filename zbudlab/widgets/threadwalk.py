"""ThreadWalk: the discussion, message by message, and the model's word on each claim."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import ipywidgets

from ..draw import WIDE, Picture
from ..draw.threadwalk import VIEWS, Walk, claims_of, gist, rows, staged, threadwalk_picture
from ..thread import Message, claims, message
from .instrument import Instrument, button
from .stage import Stage

SEED = "jennings-seed"
ORDERS = ("tree", "time")


class ThreadWalk(Instrument):
    """The messages as a reply tree, each at its true time; one of them open, its claims with the model's verdicts.

    `on` is the stage (or an instrument) on which *try it* sets up what a claim is about; by default a stage of its own,
    which instruments such as PeekerBench(walk) can share.  `open` is the key of the message to begin with.

    Press a message to open it, a claim for its evidence.  In the picture left goes to the answered message, right to
    the first answer; t changes between the tree and the order in time.  Raises KeyError for an unknown message.
    """

    reels = False

    def __init__(self, on: Any = None, *, open: str = SEED) -> None:
        self._book = message(open)
        self._tried: tuple[int, Any] | None = None  # the claim that was tried, and the timeline that it came with
        self.walk = _opened(Walk(rows(_view(self._book)), self._book), self._book)
        super().__init__(_stage(self.walk) if on is None else on)

    def controls(self) -> Iterable[Sequence[ipywidgets.Widget]]:
        self.what = ipywidgets.Dropdown(options=list(VIEWS), value=_view(self._book), description="messages")
        self.what.observe(self.by_hand(self._show), "value")
        self.order = ipywidgets.ToggleButtons(options=ORDERS, style={"button_width": "auto"})
        self.order.observe(self.by_hand(lambda _: self._show(self.what.value)), "value")
        yield [self.what, self.order, button("Back to the book", "as it was at the beginning", self.reset)]

    # ------------------------------------------------------------------ what can be done

    def read(self, key: str) -> None:
        """Open a message; if it is in another part of the thread, that part is shown.  KeyError for an unknown one."""
        m = message(key)
        shown = self.walk.rows if any(other is m for _, other in self.walk.rows) else self._rows(_view(m))
        self.walk = _opened(replace(self.walk, rows=shown), m)
        self.refresh(f"{m.author}, {m.day}: {gist(m)}")

    def weigh(self, number: int) -> None:
        """Show the evidence on a claim of the open message."""
        (claim,) = claims(number)
        self.walk = replace(self.walk, claim=number)
        self.refresh(f"claim {number}, {claim.verdict}: {claim.evidence}")

    def try_it(self, number: int) -> None:
        """Set the stage to the state that a claim is about: a timeline, a page, and perhaps a reader."""
        (claim,) = claims(number)
        timeline, pfn, reader = claim.moment()
        self._tried = number, timeline
        self.walk = replace(self.walk, claim=number)
        self.stage.begin(timeline, pfn, reader or self.stage.reader)
        self.stage.tell(f"on the stage for claim {number}: {staged(claim)}")

    def turn(self) -> None:
        """Change between the tree and the order in time."""
        self.order.value = ORDERS[1 - ORDERS.index(self.order.value)]

    def reset(self) -> None:
        """Back to the book: the message it began with, as a tree, and the stage as it was."""
        self.walk = _opened(Walk(rows(_view(self._book)), self._book), self._book)
        self.order.value = ORDERS[0]
        self.stage.reset()

    def _rows(self, view: str) -> list[tuple[int, Message]]:
        return rows(view, by_time=self.order.value == ORDERS[1])

    def _show(self, view: str) -> None:
        """Other messages, or the same in another order; one that is still there stays open."""
        shown = self._rows(view)
        here = any(m is self.walk.open for _, m in shown)
        self.walk = replace(self.walk, rows=shown)
        if not here:
            self.walk = _opened(self.walk, shown[0][1])
        self.refresh(f"{view}, {'as a tree' if self.order.value == ORDERS[0] else 'in order of time'}")

    def chosen(self, part: str) -> None:
        kind, _, what = part.partition(":")
        if kind == "mail":
            self.read(what)
        else:
            (self.weigh if kind == "claim" else self.try_it)(int(what))

    def letters(self) -> dict[str, Callable[[], Any]]:
        return {"t": self.turn}

    # ------------------------------------------------------------------ showing

    def follow(self) -> None:
        self.what.value = _view(self.walk.rows[0][1])
        tried = self._tried is not None and self.stage.book[0] is self._tried[1]
        self.walk = replace(self.walk, staged=self._tried[0] if self._tried and tried else None)

    def picture(self, width: int = WIDE, *, parts: bool = False) -> Picture:
        return threadwalk_picture(self.walk, width, parts=parts)


def _view(m: Message) -> str:
    """The first of VIEWS that has a message."""
    return next(view for view in VIEWS if any(other is m for _, other in rows(view)))


def _opened(walk: Walk, m: Message) -> Walk:
    """With another message open, and its first claim (if it has one) showing its evidence."""
    return replace(walk, open=m, claim=next((claim.number for claim in claims_of(m)), None))


def _stage(walk: Walk) -> Stage:
    """A stage that shows what the first claim of the open message is about (of no claims: the first of all)."""
    moment = claims(walk.claim or 1)[0].moment()
    return Stage(moment.timeline, moment.pfn, moment.reader or "memory_failure")
