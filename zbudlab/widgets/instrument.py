"""What all instruments have in common: a stage, controls, a picture that lives, and the same picture saved."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ipywidgets

from ..draw import NARROW, WIDE, Picture
from ..moments import MOMENTS, Moment
from ..moments import moment as named
from .stage import TURN, Stage, in_turn
from .view import FRAMES, View


def button(words: str, tip: str, action: Callable[[], Any]) -> ipywidgets.Button:
    """A button that says what it does."""
    made = ipywidgets.Button(description=words, tooltip=tip, layout=ipywidgets.Layout(width="auto"))
    turn = in_turn(action)
    made.on_click(lambda _: turn())
    return made


def row(*controls: ipywidgets.Widget) -> ipywidgets.HBox:
    """Controls beside one another, as long as there is room."""
    return ipywidgets.HBox(controls, layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))


class MomentButton(ipywidgets.Button):  # type: ignore[misc]
    """A button for under a paragraph: it sets an instrument (and all that share its stage) to a moment."""

    def __init__(self, instrument: Instrument, moment: str, words: str = "") -> None:
        self.says = words or f"Set the bench to: {moment}"
        self.about = MOMENTS[moment].about
        super().__init__(description=self.says, tooltip=self.about, layout=ipywidgets.Layout(width="auto"))
        self.on_click(lambda _: instrument.set(moment))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        live = super()._repr_mimebundle_(**kwargs)
        text = f"[ {self.says} ]  {self.about}"
        saved = {"text/html": f"<p><b>{html.escape(self.says)}</b>: {html.escape(self.about)}</p>", "text/plain": text}
        return {**(live[0] if isinstance(live, tuple) else live), **saved}


class Instrument(ipywidgets.VBox):  # type: ignore[misc]
    """A live picture of what is on a stage, with its controls above it.

    A subclass says what `controls` it has, how it draws its `picture`, what a `chosen` part does and what `letters` do,
    and `follow`s the stage with its controls.  Keys that all have: u undo, comma and full stop step.
    """

    reels = True  # whether it has a reel to turn through the events

    def __init__(self, on: Any) -> None:
        self.stage = Stage.of(on)
        self._line = ""
        self._following = False
        rows = [row(*controls) for controls in self.controls()]
        self.view = View(in_turn(self.chosen), self._typed, self.stage.go, self._frames)
        self.view.observe(lambda change: self.draw(), "narrow")
        self.view.on_seen = lambda: self.refresh(self._line)
        super().__init__([*rows, self.view])
        self.add_class("zl-instrument")
        self.stage.watchers.add(self)
        self.refresh("")

    # ------------------------------------------------------------------ what a subclass says

    def controls(self) -> Iterable[Sequence[ipywidgets.Widget]]:
        """Rows of controls."""
        return ()

    def picture(self, width: int = WIDE, *, parts: bool = False) -> Picture:
        """What it shows now; with `parts`, for the live view."""
        raise NotImplementedError

    def frame(self, width: int) -> Picture:
        """What the reel shows at the event where the timeline stands."""
        return self.picture(width, parts=True)

    def chosen(self, part: str) -> None:
        """A part of the picture was chosen."""

    def letters(self) -> dict[str, Callable[[], Any]]:
        """What a letter does while the picture has the focus."""
        return {}

    def follow(self) -> None:
        """Bring the controls in step with the stage."""

    # ------------------------------------------------------------------ what all do

    def link(self, moment: str, words: str = "") -> MomentButton:
        """A button that sets the stage to a moment of zbudlab.MOMENTS; ValueError for an unknown name."""
        named(moment)
        return MomentButton(self, moment, words)

    def set(self, moment: str | Moment) -> None:
        """Set the stage to a moment: one of zbudlab.MOMENTS by name, or what a claim gives."""
        self.stage.set(moment)

    @in_turn
    def refresh(self, line: str) -> None:
        """Show what is on the stage now, and say what happened."""
        self._line = line
        if self.view.forsaken:
            return  # it is drawn when somebody looks again
        self._following = True  # controls that move now are not being moved by anybody
        try:
            self.follow()
        finally:
            self._following = False
        self.draw()

    @in_turn
    def draw(self) -> None:
        """Draw again, with the same line: something but the stage has changed."""
        if self._following:
            return
        stage, picture = self.stage, self.picture(NARROW if self.view.narrow else WIDE, parts=True)
        reel = (stage.timeline.position, len(stage.timeline.events)) if self.reels else (0, 0)
        self.view.show(picture, self._line, reel, stage.tape)

    def by_hand(self, action: Callable[[Any], Any]) -> Callable[[Any], None]:
        """What to do when a control is moved by somebody, not by `follow`."""

        def moved(change: Any) -> None:
            with TURN:
                if not self._following:
                    action(change.new)

        return moved

    @in_turn
    def _typed(self, key: str) -> None:
        keys = {"u": self.stage.undo, ",": self.stage.undo, ".": self.stage.redo, **self.letters()}
        if key in keys:
            keys[key]()

    @in_turn
    def _frames(self) -> list[tuple[str, str]]:
        """The picture and the line of every event, for the reel; none where there are too many."""
        timeline, width = self.stage.timeline, NARROW if self.view.narrow else WIDE
        if len(timeline.events) >= FRAMES:
            return []
        now, frames = timeline.position, []
        for _ in timeline.walk():
            frames.append((self.view.lean(self.frame(width).svg), self.stage.here()))
        timeline.goto(now)
        return frames

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live view, and beside it what is saved: the same picture, still, with its text twin."""
        live = super()._repr_mimebundle_(**kwargs)
        still = self.picture()
        return {**(live[0] if isinstance(live, tuple) else live), "text/html": still.html(), "text/plain": still.text}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.stage.timeline!r}>"
