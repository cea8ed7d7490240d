"""What instruments look at together: one timeline, one page, one reader.

Several instruments on one stage stay in step: whatever one of them does, all of them show.

    >>> stage = Stage.of(Timeline("v12", pages=4, allocator="kernel"))
    >>> stage.do(lambda: stage.timeline.alloc(1000))
    'alloc 1,000 B = 16 chunks: p0 FIRST, a new page'
    >>> stage.undo()
    'event 0 of 1: the beginning'
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakSet

from ..demonstrate.readers import Column, readers_of
from ..kernel import Recording
from ..memmap import KernelOops
from ..moments import MOMENTS, Moment
from ..moments import moment as named
from ..realpool import RealTimeline
from ..rows import count, fault
from ..timeline import Timeline
from ..versions import Handle, ZbudError

Method = TypeVar("Method", bound=Callable[..., Any])
TURN = threading.RLock()


def in_turn(method: Method) -> Method:
    """One thing at a time on all stages.

    JupyterLab has a button, a click into a picture and a cell answered in threads of their own; a timeline that one of
    them is walking must not be moved by another.
    """

    @functools.wraps(method)
    def waits(*args: Any, **kwargs: Any) -> Any:
        with TURN:
            return method(*args, **kwargs)

    return cast(Method, waits)


class Watcher(Protocol):
    def refresh(self, line: str) -> None: ...


def copied(timeline: Timeline) -> Timeline:
    """The same events on a pool of its own, at the same position."""
    copy = Timeline.empty(timeline.header)
    copy.evict = timeline.evict
    for row in timeline.events:
        copy.replay(row)
    copy.goto(timeline.position)
    return copy


class Stage:
    """A timeline that instruments share, and what of it they look at.

    `book` is what `reset` goes back to.  `pfn` is the page in question, `reader` the name of a reader.  `tape` counts
    the changes of the events.
    """

    def __init__(self, timeline: Timeline, pfn: int = 0, reader: str = "memory_failure") -> None:
        self.watchers: WeakSet[Any] = WeakSet()
        self.tape = 0
        self.begin(timeline, pfn, reader)

    @classmethod
    def of(cls, what: Any) -> Stage:
        """The stage itself, that of another instrument, or a new one on a timeline's copy or a recorded machine."""
        if isinstance(what, Stage):
            return what
        if isinstance(what, Recording):
            return cls(RealTimeline(what), what.zbud_pfns[0])
        if isinstance(what, Timeline):
            return cls(what)
        stage = getattr(what, "stage", None)
        if not isinstance(stage, Stage):
            raise TypeError(f"an instrument stands on a Timeline, a Recording or another instrument, not on {what!r}")
        return stage

    @in_turn
    def begin(self, timeline: Timeline, pfn: int = 0, reader: str = "memory_failure") -> None:
        """Open a book: this timeline is what the stage starts from and returns to."""
        self.book = timeline, pfn, reader
        self.timeline, self.pfn = copied(timeline), pfn
        self.reader = self.reader_of(reader)
        self.tape += 1

    @in_turn
    def set(self, moment: str | Moment) -> str:
        """Open the book at a moment: one of MOMENTS by name, or what a claim or a counterexample gives."""
        found = named(moment) if isinstance(moment, str) else moment
        words = f"set to: {moment}, {MOMENTS[moment].about}" if isinstance(moment, str) else "set to another moment"
        self.begin(found.timeline, found.pfn, found.reader or self.reader)
        return self.tell(words)

    # ------------------------------------------------------------------ what can be done; each returns its line

    @in_turn
    def do(self, operation: Callable[[], Any], before: str = "") -> str:
        """Do something on the timeline, and tell all watchers what came of it; `before` is said before that."""
        timeline = self.timeline
        if self.stopped:
            return self.tell(f"the machine has stopped ({self.stopped}): undo, or go back to the book")
        later = len(timeline.events) - timeline.position
        if later:
            before = f"(forgotten: {count(later, 'later event')}) {before}"
        begun = timeline.position
        try:
            operation()
        except ZbudError as error:
            line = str(error)
            if timeline.position > begun and timeline.events[-1][0] in "rz":
                line += f" ({timeline.caption(timeline.position).came})"
        except KernelOops:
            line = str(timeline.caption(timeline.position))
        else:
            line = str(timeline.caption(timeline.position))
        self.tape += 1
        return self.tell(before + line)

    @in_turn
    def go(self, position: int) -> str:
        """To an event; to where the timeline is already, nothing."""
        position = max(0, min(position, len(self.timeline.events)))
        if position != self.timeline.position:
            self.timeline.goto(position)
            return self.tell(self.here())
        return ""

    @in_turn
    def undo(self) -> str:
        return self.go(self.timeline.position - 1)

    @in_turn
    def redo(self) -> str:
        return self.go(self.timeline.position + 1)

    @in_turn
    def look(self, pfn: int | None = None, reader: str | None = None) -> str:
        """Turn to another page, another reader."""
        pfns = self.timeline.pool.memmap.pfns
        if pfn is not None and pfn not in pfns:
            told = f"{pfn:#x}" if isinstance(pfn, int) else repr(pfn)
            raise IndexError(f"pfn {told} is outside this memmap ({pfns[0]:#x} to {pfns[-1]:#x})")
        self.pfn = self.pfn if pfn is None else pfn
        self.reader = self.reader if reader is None else self.reader_of(reader)
        return self.tell(f"page p{self.pfn}" + (f", {self.reader}" if reader else ""))

    @in_turn
    def reset(self) -> str:
        """Back to the book."""
        self.begin(*self.book)
        return self.tell("back to the beginning")

    @in_turn
    def switch(self, timeline: Timeline, line: str) -> str:
        """Other events, the same book."""
        self.timeline = timeline
        self.tape += 1
        return self.tell(line)

    # ------------------------------------------------------------------ what is to be seen

    @property
    def stopped(self) -> str:
        """The oops that the machine stands at, in words; empty while it runs."""
        events, now = self.timeline.events, self.timeline.position
        return fault(events[now - 1]) if now else ""

    @property
    def recorded(self) -> bool:
        """Whether this is a recorded machine."""
        return isinstance(self.timeline, RealTimeline)

    @property
    def readers(self) -> Mapping[str, Column]:
        """The readers that the pages here have to face."""
        return readers_of(self.timeline.pool.memmap.release)

    def reader_of(self, name: str) -> str:
        """A reader by its own name, or by that of its peeker; on a recorded machine one that its kernel has."""
        named = next((reader.name for reader in self.readers.values() if name in (reader.name, reader.peeker)), name)
        return named if named in self.readers or not self.recorded else next(iter(self.readers))

    def tenant(self, pfn: int, slot: str) -> Handle | None:
        """The zpage in a slot of a page, if there is one."""
        tenants = self.timeline.pool.tenants.values()
        return next((handle for handle in tenants if (handle.pfn, handle.slot) == (pfn, slot)), None)

    def here(self) -> str:
        """Where on the timeline this is, in words."""
        now, total = self.timeline.position, len(self.timeline.events)
        return f"event {now} of {total}: {self.timeline.caption(now) if now else 'the beginning'}"

    @in_turn
    def tell(self, line: str) -> str:
        """All watchers show what is now, and say `line`."""
        for watcher in list(self.watchers):
            watcher.refresh(line)
        return line

    def __repr__(self) -> str:
        return f"<Stage: {self.timeline!r}, page {self.pfn:#x}, {self.reader}>"
