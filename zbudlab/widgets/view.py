"""The one live view: the very SVG that is saved, with its marked parts made into targets (view.js)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ..draw import Picture
from ..draw.palette import STYLE

LINE = ".zl-line{font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);min-height:1.5em;margin-top:4px}"


class View(anywidget.AnyWidget):
    """A picture whose marked parts can be chosen by pointer or keyboard.

    `on_part` is called with the name of a chosen part, `on_key` with a letter typed while the picture has the focus.
    """

    _esm = Path(__file__).with_name("view.js")
    _css = STYLE + LINE
    svg = traitlets.Unicode().tag(sync=True)
    line = traitlets.Unicode().tag(sync=True)
    narrow = traitlets.Bool(False).tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)  # counts the pictures: it changes last

    def __init__(self, on_part: Callable[[str], None], on_key: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self.on_part, self.on_key = on_part, on_key
        self.on_msg(self._message)

    def _message(self, widget: Any, content: dict[str, Any], buffers: Any) -> None:
        if "part" in content:
            self.on_part(content["part"])
        elif "key" in content and self.on_key:
            self.on_key(content["key"])

    def show(self, picture: Picture, line: str) -> None:
        with self.hold_sync():
            self.svg, self.line = picture.svg, line
            self.shown += 1

    def __repr__(self) -> str:
        return f"<View: picture {self.shown}>"
