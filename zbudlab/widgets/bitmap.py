"""MemmapView: thousands to a million pages as dots, with a lens, beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ..draw.bitmap import DOWN, PAINT, Grid, bitmap_picture, telling
from ..draw.kit import NARROW, WIDE, Picture
from ..draw.palette import STYLE
from ..draw.surveys import CALLED, CLASSES, Survey, survey
from ..kernel import Recording, load
from ..memmap import Memmap
from ..zbud import ZbudPool
from .view import LINE, lean

What = Survey | Mapping[str, bytes] | Memmap | ZbudPool | Recording
DOTS = (  # the canvases lie beneath the SVG
    ".zl-dots{position:relative;padding:4px}"
    ".zl-dots:focus-visible{outline:2.5px solid var(--zl-now);outline-offset:-2.5px}"
    ".zl-dots canvas{position:absolute;pointer-events:none}.zl-dots svg{position:relative;cursor:pointer}"
    ".zl-tools{display:flex;gap:6px;align-items:center;font:13px var(--jp-ui-font-family,system-ui,sans-serif);"
    "margin:4px 0}.zl-tools :is(button,input){font:inherit;color:inherit;background:var(--zl-panel);"
    "border:1px solid var(--zl-dim);border-radius:4px;padding:2px 10px}.zl-tools input{width:9em}"
)
LETTERS = {letter.lower() or "b": letter for letter in CLASSES}  # the key that shows only a class


class MemmapView(anywidget.AnyWidget):
    """A whole memmap as a reader sees it, and beside it the truth: move the lens, zoom, look at one class only.

    `what` is a memmap, a pool or a recording (then as `reader` sees it), a Survey, or one or two maps of your own: name
    to one class byte a page, an index into draw.surveys.CLASSES, the first for page `base_pfn`.  By default it is the
    recorded memmap of a real kernel, Linux 6.1.  `on_choose` is called with the pfn of a page that was chosen.

    Keys while the picture has the focus: arrows one page and one row, Page Up and Down a lens, Home and End a row's
    ends, plus and minus zoom, Enter chooses; r s z f u k ? and b (blank) show only that class, Escape all.
    """

    _esm = Path(__file__).with_name("bitmap.js")
    _css = STYLE + LINE + DOTS
    svg = traitlets.Unicode().tag(sync=True)
    line = traitlets.Unicode().tag(sync=True)
    maps = traitlets.List(trait=traitlets.Bytes()).tag(sync=True)
    cols = traitlets.Int(1).tag(sync=True)
    window = traitlets.List(trait=traitlets.Int(), default_value=[0, 0, 1, 1]).tag(
        sync=True
    )  # left, top, width, height
    paints = traitlets.List(trait=traitlets.Unicode(), default_value=list(PAINT.values())).tag(sync=True)
    only = traitlets.Int(-1).tag(sync=True)  # the one class that is shown, -1 for all
    narrow = traitlets.Bool(False).tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)  # counts the pictures: it changes last

    def __init__(
        self,
        what: What | None = None,
        base_pfn: int = 0,
        on_choose: Callable[[int], object] | None = None,
        *,
        reader: str = "kpageflags",
    ) -> None:
        super().__init__()
        self.on_choose, self.zoom = on_choose, 1
        self.on_msg(self._message)
        self.observe(lambda change: self.draw(self.line), "narrow")
        self.show(load("6.1") if what is None else what, base_pfn, reader=reader)

    # ------------------------------------------------------------------ what can be done

    def show(self, what: What, base_pfn: int = 0, *, reader: str = "kpageflags") -> None:
        """Show something else; the lens stays where it is, if that is one of the pages."""
        before = getattr(self, "survey", None)
        if isinstance(what, Mapping):
            what = Survey(what, base_pfn)
        self.survey = what if isinstance(what, Survey) else survey(what, reader)
        self.grid = Grid(self.survey.pages)
        if before is None or before.pfns != self.survey.pfns:
            self.pfn, self.zoom = self.survey.base_pfn + telling(self.survey), 1
        self.maps, self.cols = list(self.survey.maps.values()), self.grid.cols
        self.go(self.pfn)

    def go(self, pfn: int) -> None:
        """Move the lens to a page; beyond the ends, to the first or the last."""
        self.pfn = max(self.survey.pfns[0], min(pfn, self.survey.pfns[-1]))
        self.draw(self.survey.says(self.pfn))

    def magnify(self, by: int) -> None:
        """Zoom in (by 1) or out (by -1), to twice or half the size."""
        zoom = self.zoom * 2 if by > 0 else self.zoom // 2
        if 1 <= zoom <= self.grid.most:
            self.zoom = zoom
            self.draw(f"zoom {zoom}: {self.grid.window(0, zoom)[2]:,} pages to a row")
        else:
            self.draw(f"zoom {self.zoom} is the {'largest' if by > 0 else 'smallest'}")

    def look_for(self, letter: str) -> None:
        """Show only the pages of one class, a letter of CLASSES; once more, all."""
        number = CLASSES.index(letter)
        self.only = -1 if self.only == number else number
        counts = ", ".join(f"{self.survey.counts(name)[letter]:,} {name}" for name in self.survey.maps)
        self.draw("all pages" if self.only < 0 else f"only {CALLED[letter]}: {counts}")

    def choose(self) -> None:
        """Choose the page in the middle of the lens."""
        if self.on_choose:
            self.on_choose(self.pfn)
        self.draw(f"chosen: {self.survey.says(self.pfn)}")

    def _ask(self, text: str) -> None:
        """To a pfn that was typed, in decimal or in hex with 0x."""
        first, last = self.survey.pfns[0], self.survey.pfns[-1]
        try:
            pfn = int(text.strip().replace(",", ""), 0)
        except ValueError:
            self.draw(f"{text.strip()!r} is no pfn: it takes a decimal, or hex with 0x, from {first:#x} to {last:#x}")
            return
        if pfn in self.survey.pfns:
            self.go(pfn)
        else:
            self.draw(f"pfn {pfn:#x} is outside of this memmap ({first:#x} to {last:#x})")

    def _key(self, key: str) -> None:
        cols, i = self.grid.cols, self.pfn - self.survey.base_pfn
        steps = {"ArrowLeft": -1, "ArrowRight": 1, "ArrowUp": -cols, "ArrowDown": cols}
        steps |= {"PageUp": -DOWN * cols, "PageDown": DOWN * cols, "Home": -(i % cols), "End": cols - 1 - i % cols}
        if key in steps:
            stays = 0 <= i + steps[key] < self.survey.pages  # up and down keep to the column
            self.go(self.pfn + steps[key] if stays or abs(steps[key]) < cols else self.pfn)
        elif key in "+=-":
            self.magnify(-1 if key == "-" else 1)
        elif key in ("Enter", " "):
            self.choose()
        elif key == "Escape":
            self.only = -1
            self.draw("all pages")
        elif key in LETTERS:
            self.look_for(LETTERS[key])

    def _message(self, widget: Any, content: dict[str, Any], buffers: Any) -> None:
        """What the browser sends: a key, a class, a typed pfn, a step of zoom, or a place in a map or a lens."""
        if "key" in content:
            self._key(content["key"])
        elif "count" in content:
            self.look_for(content["count"])
        elif "pfn" in content:
            self._ask(content["pfn"])
        elif "zoom" in content:
            self.magnify(content["zoom"])
        elif "x" in content:
            i = self.pfn - self.survey.base_pfn
            left, top, w, h = self.grid.lens(i) if content["in"] == "lens" else self.grid.window(i, self.zoom)
            x, y = (min(int(content[axis] * size), size - 1) for axis, size in (("x", w), ("y", h)))
            self.go(self.survey.base_pfn + (top + y) * self.grid.cols + left + x)

    # ------------------------------------------------------------------ showing

    def picture(self, width: int = WIDE, *, live: bool = False) -> Picture:
        only = CLASSES[self.only] if self.only >= 0 else None
        return bitmap_picture(self.survey, width, at=self.pfn, zoom=self.zoom, only=only, live=live)

    def draw(self, line: str) -> None:
        with self.hold_sync():
            self.svg = lean(self.picture(NARROW if self.narrow else WIDE, live=True).svg, self.model_id)
            self.window = list(self.grid.window(self.pfn - self.survey.base_pfn, self.zoom))
            self.line = line
            self.shown += 1

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live view, and beside it what is saved: the same picture, still, with its text twin."""
        live: Any = super()._repr_mimebundle_(**kwargs)
        still = self.picture()
        return {**(live[0] if isinstance(live, tuple) else live), "text/html": still.html(), "text/plain": still.text}

    def __repr__(self) -> str:
        return f"<MemmapView: {self.survey.pages:,} pages, {' and '.join(self.survey.maps)}>"
