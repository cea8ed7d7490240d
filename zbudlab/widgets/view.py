"""The one live view: the very SVG that is saved, with its marked parts made into targets (view.js)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ..draw import Picture
from ..draw.palette import STYLE

LINE = (
    ".zl-line{font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);min-height:1.5em;margin-top:4px}"
    ".zl-reel{width:min(100%,880px);margin:4px 0 0}"
)
FRAMES = 64  # pictures that the reel keeps, so that it turns without the kernel


def lean(svg: str, name: str) -> str:
    """A picture for a live view: without the fallbacks of its colours, for the style sheet is sure to be there.

    Its ids begin with the view's own `name`, so that what stays the same from picture to picture reads the same.
    """
    return re.sub("zl[0-9a-f]{8}", f"zl{name[:8]}", re.sub(r"var\((--zl-\w+),[^()]*\)", r"var(\1)", svg))


class View(anywidget.AnyWidget):
    """A picture whose marked parts can be chosen by pointer or keyboard, and a reel that turns through its frames.

    `on_part` is called with the name of a chosen part, `on_key` with a letter typed while the picture has the focus,
    `on_event` with the event that the reel was turned to.  `frames` gives the picture and the line of every event, or
    nothing where there are too many; it is asked when nothing has happened for a while.
    """

    _esm = Path(__file__).with_name("view.js")
    _css = STYLE + LINE
    svg = traitlets.Unicode().tag(sync=True)
    line = traitlets.Unicode().tag(sync=True)
    reel = traitlets.List(trait=traitlets.Int(), default_value=[0, 0]).tag(
        sync=True
    )  # the event now, how many there are
    tape = traitlets.Int(0).tag(sync=True)  # which events these are: it changes when they do
    narrow = traitlets.Bool(False).tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)  # counts the pictures: it changes last

    def __init__(
        self,
        on_part: Callable[[str], None],
        on_key: Callable[[str], None] | None = None,
        on_event: Callable[[int], object] | None = None,
        frames: Callable[[], list[tuple[str, str]]] | None = None,
    ) -> None:
        super().__init__()
        self.on_part, self.on_key, self.on_event, self.frames = on_part, on_key, on_event, frames
        self.eyes: int | None = None  # how many look at it now; None: nobody has yet
        self.on_seen: Callable[[], object] | None = None  # called when somebody looks again
        self.on_msg(self._message)

    def _message(self, widget: Any, content: dict[str, Any], buffers: Any) -> None:
        if "seen" in content:
            forsaken, self.eyes = self.forsaken, max(0, (self.eyes or 0) + content["seen"])
            if forsaken and self.eyes and self.on_seen:
                self.on_seen()
        elif "part" in content:
            self.on_part(content["part"])
        elif "key" in content and self.on_key:
            self.on_key(content["key"])
        elif "event" in content and self.on_event:
            self.on_event(content["event"])
        elif content.get("need") == self.tape and self.frames:
            self.send({"tape": self.tape, "frames": self.frames()})

    @property
    def forsaken(self) -> bool:
        """Whether nobody looks at it any more: its cell has been run again, say."""
        return self.eyes == 0

    def show(self, picture: Picture, line: str, reel: tuple[int, int] = (0, 0), tape: int = 0) -> None:
        """Show a picture and a line; `reel` is the event now and how many there are, `tape` which events they are."""
        with self.hold_sync():
            self.svg, self.line, self.reel, self.tape = self.lean(picture.svg), line, list(reel), tape
            self.shown += 1

    def lean(self, svg: str) -> str:
        """A picture for this view."""
        return lean(svg, self.model_id)

    def __repr__(self) -> str:
        return f"<View: picture {self.shown}>"
