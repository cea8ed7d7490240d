"""PageXray: the 64 bytes of one record, its readings beside them, and a field to change any of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ipywidgets

from ..draw import WIDE, Picture
from ..draw.readings import Reading, readings
from ..draw.xray import PICKED, Pick, pick, xray_picture
from ..timeline import Timeline
from .instrument import Instrument, button
from .stage import Stage

POOL_AT = 0xFFFF88001B2C3800  # where the example's pool lies: below 4 GiB, as on most machines of 2013


class PageXray(Instrument):
    """One record under the x-ray: pick a byte or a field, see what it is to each reader, and change it.

    `on` is a timeline, or another instrument to stay in step with; by default two pages of a v12 pool.  `picked` is a
    part of the picture: "byte:24", "page:_count", "zbud:buddy.prev", "header:lru.next", "slab:inuse".  On a recording
    (kernel.load) it has any page of a real machine, as its kernel names the bytes.

    Keys while the picture has the focus: arrows move, Enter picks, [ and ] pick the field before and after, s the slab
    reading, u undo, comma and full stop step.
    """

    def __init__(self, on: Any = None, *, pfn: int | None = None, picked: str = PICKED, slab: bool = False) -> None:
        stage = Stage(pair(), 1) if on is None else Stage.of(on)
        self.picked = "page:_mapcount" if stage.recorded and picked == PICKED else picked
        self._slab, self._focus = slab, ""
        self._hot: tuple[Any, set[int]] = (None, set())
        if pfn is not None:
            stage.look(pfn=pfn)
        super().__init__(stage)

    def controls(self) -> Iterable[Sequence[ipywidgets.Widget]]:
        pfns = self.timeline.pool.memmap.pfns
        self.page = ipywidgets.BoundedIntText(
            self.stage.pfn, min=pfns[0], max=pfns[-1], description="page",
            layout=ipywidgets.Layout(width="170px"),
        )  # fmt: skip
        self.page.observe(self.by_hand(lambda pfn: self.stage.look(pfn=pfn)), "value")
        self.value = ipywidgets.Text(
            description="bytes", continuous_update=False, layout=ipywidgets.Layout(width="320px"),
            style={"description_width": "120px"},
        )  # fmt: skip
        self.value.observe(self.by_hand(self.edit), "value")
        self.slab = ipywidgets.ToggleButton(
            self._slab, description="slab reading", tooltip="what SLUB would read in these bytes",
            layout=ipywidgets.Layout(width="auto"),
        )  # fmt: skip
        self.slab.observe(self.by_hand(self._show_slab), "value")
        yield [self.page, self.value, self.slab]
        yield [
            button("Undo", "one event back", self.stage.undo),
            button("Back to the book", "the record as the cell made it", self.stage.reset),
        ]

    @property
    def timeline(self) -> Timeline:
        return self.stage.timeline

    @property
    def chosen_bytes(self) -> Pick:
        """What is picked now."""
        return pick(self.picked, self._readings())

    def _readings(self) -> list[Reading]:
        pool = self.timeline.pool
        return readings(pool.memmap, self.stage.pfn, pool, slab=self.slab.value)

    # ------------------------------------------------------------------ what can be done

    def chosen(self, part: str) -> None:
        """Pick a byte or a field."""
        self.picked = part
        now = self.chosen_bytes
        self.refresh(f"picked {now}: {now.raw.hex(' ')}" + (f", {now.told}" if now.told else ""))

    def edit(self, text: str) -> None:
        """Put a number, as text (decimal, or hex with 0x), into the picked bytes: an event on the timeline.

        What is no number, or does not fit, is said, and nothing changes.
        """
        now, pfn = self.chosen_bytes, self.stage.pfn
        what = f"{now.told.name if now.told else now} of p{pfn}"
        low, high = -(1 << 8 * now.size - 1), (1 << 8 * now.size) - 1
        try:
            number = int(text.strip().replace("\u2212", "-").replace(",", ""), 0)
        except ValueError:
            self.say(f"{text.strip()!r} is no number: {what} takes a decimal, as 9 or -1, or hex with 0x, as 0x1f")
            return
        if not low <= number <= high:
            self.say(f"{number:,} does not fit into {now}: from {low:,} to {high:,} ({high:#x})")
            return
        data = (number & high).to_bytes(now.size, "little")
        address = now.reading.address + now.offset
        self.stage.do(lambda: self.timeline.poke(address, data), f"{what} is now {text.strip()}: ")

    def step(self, by: int) -> None:
        """Pick a field further on in the reading that is picked from, or (by -1) the one before."""
        now = self.chosen_bytes
        fields = now.reading.fields
        at = max(i for i, told in enumerate(fields) if told.offset <= now.offset)
        self._focus = f"{now.reading.key}:{fields[(at + by) % len(fields)].name}"
        self.chosen(self._focus)
        self._focus = ""

    def letters(self) -> dict[str, Callable[[], Any]]:
        return {"[": lambda: self.step(-1), "]": lambda: self.step(1), "s": self._turn_slab}

    def _turn_slab(self) -> None:
        self.slab.value = not self.slab.value

    def _show_slab(self, on: bool) -> None:
        """With the slab reading or without; what was picked in it stays picked, as a byte."""
        if not on and self.picked.startswith("slab:"):
            pool = self.timeline.pool
            was = pick(self.picked, readings(pool.memmap, self.stage.pfn, pool, slab=True))
            self.picked = f"byte:{was.offset}"
        self.refresh(f"the slab reading is {'shown' if on else 'away'}")

    def say(self, line: str) -> None:
        """Say something, and leave everything as it is."""
        self._line = line
        self.draw()

    # ------------------------------------------------------------------ showing

    def follow(self) -> None:
        pfns = self.timeline.pool.memmap.pfns
        if self.stage.pfn not in pfns:
            self.stage.pfn = pfns[0]
        with self.page.hold_trait_notifications():
            self.page.min, self.page.max, self.page.value = pfns[0], pfns[-1], self.stage.pfn
        self.slab.disabled = self.stage.recorded  # what SLUB read there is known of 3.10 only
        now = self.chosen_bytes
        number = int.from_bytes(now.raw, "little", signed=now.size == 4 and now.told is not None)
        self.value.description = now.told.name if now.told else str(now)
        self.value.value = str(number) if now.size < 8 else f"{number:#x}"

    def picture(self, width: int = WIDE, *, parts: bool = False) -> Picture:
        pool = self.timeline.pool
        return xray_picture(
            pool.memmap, self.stage.pfn, pool, width, picked=self.picked, slab=self.slab.value, hot=self._changed(),
            parts=parts, focus=self._focus,
        )  # fmt: skip

    def _changed(self) -> set[int]:
        """The addresses of the bytes that the event where the timeline stands has changed."""
        timeline, now, book = self.timeline, self.timeline.position, self.stage.book[0]
        key = (timeline, now, self.stage.tape)
        if self._hot[0] != key:
            begun = now == book.position and timeline.events[:now] == book.events[:now]  # nothing has happened yet
            found = timeline.changes(now) if now and not begun else []
            self._hot = key, {address for change in found for address in change.addresses}
        return self._hot[1]


def pair() -> Timeline:
    """Two pages of a v12 pool, both with two tenants: p1 has 9 chunks on the left and 19 on the right."""
    timeline = Timeline("v12", 8, address=POOL_AT)
    for chunks in (12, 30, 9, 19):
        timeline.alloc(64 * chunks)
    return timeline
