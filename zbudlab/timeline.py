"""A timeline: everything that was done to a pool, as events; and the pool as it stood at any of them.

An event is a row with its result, in a notation that extends the recordings' (rows.py).  State at step i is a pure
function of the header and the first i rows: undo, jumps, replay, tests and saved lessons all rest on that.

    >>> t = Timeline("v12", pages=4)
    >>> a = t.alloc(1000)
    >>> b = t.alloc(1500)
    >>> t.free(a)
    >>> t.pool.chunks(0), t.goto(2).chunks(0)
    ((0, 24), (16, 24))
    >>> print(t.caption(2))
    alloc 1,500 B = 24 chunks: page 0 LAST
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from .memmap import DIRECT_MAP, KernelOops, Memmap
from .page_alloc import Arena, KernelPages, PageAllocator
from .rows import FORMAT, FORMAT_VERSION, Caption, Difference, RecordingError, Row, caption, digest, read_rows
from .struct_page import PAGE_SIZE
from .versions import VERSIONS, Handle, StaleHandle, ZbudError
from .zbud import ZbudPool

Evictor = Callable[["Timeline", Handle], int | None]


def accept(timeline: Timeline, handle: Handle) -> int:
    """The evictor that frees what it is offered."""
    timeline.free(handle)
    return 0


def refuse(timeline: Timeline, handle: Handle) -> int:
    """The evictor that wants to keep everything: -EBUSY."""
    return -16


def lie(timeline: Timeline, handle: Handle) -> int:
    """The evictor that claims success and frees nothing."""
    return 0


EVICTORS: dict[str, Evictor] = {"accepts": accept, "refuses": refuse, "lies": lie}


class Timeline:
    """A pool of `version` on `pages` pages from a named allocator ("arena" or "kernel"), and all that was done to it.

    `events` are the rows so far, `position` is how many of them have happened in `pool` now.  Doing something at an
    earlier position forgets the events behind it.  `evict` is the evictor for `reclaim` (a name of EVICTORS, or a
    function of the timeline and the handle).  `address` (a kernel address with RAM behind it) places the pool.
    """

    def __init__(
        self,
        version: str = "linux-3.11",
        pages: int = 16,
        evict: str | Evictor | None = "accepts",
        *,
        scheme: str | None = None,
        allocator: str = "arena",
        base_pfn: int = 0,
        address: int | None = None,
    ) -> None:
        if allocator not in ("arena", "kernel"):
            raise ValueError(f"unknown allocator {allocator!r}; known: arena, kernel")
        self.header = {"format": FORMAT, "format_version": FORMAT_VERSION, "version": version, "pages": pages}
        self.header |= {"scheme": scheme, "allocator": allocator, "base_pfn": base_pfn, "address": address}
        self.header["evictor"] = evict if isinstance(evict, str) or evict is None else "a function"
        self.events: list[Row] = []
        self.position = 0
        self.evict: Evictor | None = EVICTORS[evict] if isinstance(evict, str) else evict
        self.pool = _build(self.header, self._evict if evict is not None else None)
        self.handles: list[Handle] = []  # handle of allocation k
        self._calls: list[list[Any]] = []  # evict calls of the reclaim that is under way
        self._rows: list[Row] | None = None  # where operations inside an evict call are noted
        self._script: list[list[Any]] | None = None  # the evict calls to repeat, when replaying
        self._redone: Row | None = None  # when replaying: what came of the row
        self._replaying = False
        self._saved: dict[int, Any] = {0: (self.pool.save(), 0)}

    # ------------------------------------------------------------------ doing

    def _note(self, row: Row) -> None:
        if self._rows is not None:
            self._rows.append(row)
            return
        if self._replaying:
            self._redone = row
            return
        if self.position < len(self.events):
            del self.events[self.position :]
            self._saved = {i: saved for i, saved in self._saved.items() if i <= self.position}
        self.events.append(row)
        self.position += 1

    def alloc(self, size: int, *, highmem: bool = False) -> Handle:
        """As ZbudPool.alloc; a failure is an event too."""
        pool = self.pool
        kind = "h" if highmem else "a"
        try:
            handle = pool.alloc(size, highmem=highmem)
        except ZbudError as error:
            self._note([kind, size, error.name, None, None, None, pool.pages_nr])
            raise
        self.handles.append(handle)
        self._note([kind, size, "OK", handle.pfn, handle.offset, handle.slot, pool.pages_nr])
        return handle

    def free(self, handle: Handle) -> None:
        """As ZbudPool.free of a live handle."""
        self.pool.free(handle)
        self._note(["f", handle.allocation, self.pool.pages_nr])

    def free_unchecked(self, address: int) -> None:
        """As ZbudPool.free(address, checked=False): what the kernel would do with any address."""
        row: Row = ["u", f"{int(address):#x}", "OK", None]
        try:
            self.pool.free(address, checked=False)
        except KernelOops as oops:
            row[2] = str(oops)
            raise
        finally:
            row[3] = self.pool.pages_nr
            self._note(row)

    def reclaim(self, retries: int = 8) -> None:
        """As ZbudPool.reclaim, through this timeline's evictor."""
        self._with_calls(["r", retries, "OK", [], 0], lambda: self.pool.reclaim(retries))

    def shrink(self, pages: int) -> None:
        """As ZbudPool.shrink, through this timeline's evictor."""
        self._with_calls(["z", pages, "OK", 0, [], 0], lambda: self.pool.shrink(pages))

    def _with_calls(self, row: Row, operation: Callable[[], Any]) -> None:
        outer, self._calls = self._calls, []
        try:
            done = operation()
        except ZbudError as error:
            row[2], done = error.name, error.reclaimed
            raise
        finally:
            row[-2:] = self._calls, self.pool.pages_nr
            if row[0] == "z":
                row[3] = done
            self._calls = outer
            self._note(row)

    def _evict(self, pool: ZbudPool, handle: Handle) -> int | None:
        """One evict call: by the evictor, or as the script says; what happens inside is noted in the call."""
        call: list[Any] = [handle.allocation, 0, []]
        self._calls.append(call)
        outer, self._rows = self._rows, []
        try:
            if self._script is None:
                assert self.evict is not None
                call[1] = self.evict(self, handle) or 0
            elif self._script:
                call[0], call[1] = self._repeat(self._script.pop(0), handle)
        finally:
            rows, self._rows = self._rows, outer
            call[2] = [row[1] for row in rows if row[0] == "f"]
            if len(call[2]) < len(rows):
                call.append(rows)
        return int(call[1])

    def _repeat(self, recorded: list[Any], handle: Handle) -> tuple[int, int]:
        """Do in an evict call what the recording did; an offered handle that is dead by now is believed to be its k."""
        k, rc, freed, *rows = recorded
        script, self._script = self._script, None
        for row in rows[0] if rows else [["f", k, None] for k in freed]:
            self._script = row[3] if row[0] == "r" else row[4] if row[0] == "z" else None
            self.perform(row)
        self._script = script
        return (k if handle.allocation < 0 else handle.allocation), rc

    def write(self, handle: Handle, data: bytes, offset: int = 0) -> None:
        """Write through map: `data` at `offset` bytes into the zpage; ValueError if it does not fit."""
        room = self.pool.map(handle)
        if offset < 0 or offset + len(data) > len(room):
            raise ValueError(f"{len(data)} bytes at {offset} do not fit in this zpage of {len(room)} bytes")
        room[offset : offset + len(data)] = data
        self._note(["w", handle.allocation, offset, bytes(data).hex()])

    def poke(self, address: int, data: bytes) -> None:
        """Write bytes at any kernel address: the learner's own damage."""
        for i, byte in enumerate(data):
            self.pool.memmap.store(address + i, byte, 1)
        self._note(["b", f"{address:#x}", bytes(data).hex()])

    def destroy(self, *, checked: bool = True) -> None:
        """As ZbudPool.destroy."""
        row: Row = ["d", checked, "OK"]
        try:
            self.pool.destroy(checked=checked)
        except ZbudError as error:
            row[2] = error.name
            raise
        finally:
            self._note(row)

    def remark(self, text: str) -> None:
        self._note(["#", text])

    # ------------------------------------------------------------------ replaying

    def perform(self, row: Row) -> None:
        """Do what a row did, whatever comes of it; that is noted."""
        with suppress(ZbudError, KernelOops):  # the noted row says so
            _DO[row[0]](self, row)

    def _redo(self, line: int) -> None:
        """Do the event at `position` once more; raises Difference if it comes out otherwise than its row says."""
        row = self.events[self.position]
        self._script = list(row[-2]) if row[0] in ("r", "z") else None
        self._replaying = True
        try:
            self.perform(row)
        except StaleHandle as error:
            raise Difference(line, row, str(error)) from None
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"line {line} is malformed ({error}): {json.dumps(row)[:60]}") from None
        finally:
            self._replaying, self._script = False, None
        if self._redone != row:
            raise Difference(line, row, self._redone)
        self.position += 1

    def replay(self, row: Row, line: int = 0) -> None:
        """Append a recorded row and do what it did; raises Difference, naming `line`, if it comes out otherwise."""
        del self.events[self.position :]
        self.events.append(row)
        self._redo(line)

    def goto(self, i: int) -> ZbudPool:
        """Make `position` be `i` and `pool` what it was after the first `i` events; returns the pool.

        Raises IndexError if there are not that many events.
        """
        if not 0 <= i <= len(self.events):
            raise IndexError(f"this timeline has positions 0 to {len(self.events)}, not {i}")
        start = max(at for at in (*self._saved, self.position) if at <= i)
        if start != self.position:
            saved, handles = self._saved[start]
            self.pool.restore(saved)
            del self.handles[handles:]
            self.position = start
        every = max(64, len(self.pool.memmap.pfns) // 4)
        while self.position < i:
            self._redo(self.position + 2)
            if self.position % every == 0 and len(self._saved) < 64:
                self._saved[self.position] = (self.pool.save(), len(self.handles))
        return self.pool

    def undo(self) -> ZbudPool:
        """One event back; at the beginning, nothing."""
        return self.goto(max(0, self.position - 1))

    def walk(self) -> Iterator[ZbudPool]:
        """The pool before the first event, then after each: the same object, moved on.  For drawing frames."""
        for i in range(len(self.events) + 1):
            yield self.goto(i)

    # ------------------------------------------------------------------ words

    def caption(self, i: int) -> Caption:
        """Event number `i`, from 1, in words."""
        before = next((row[-1] for row in reversed(self.events[: i - 1]) if row[0] in "ahfruz"), 0)
        return caption(self.events[i - 1], before)

    def __str__(self) -> str:
        lines = [f"{'>' if n == self.position else ' '}{n:4} {self.caption(n)}" for n in range(1, len(self.events) + 1)]
        return "\n".join([f"timeline of {len(self.events)} events, zbud {self.header['version']}", *lines])

    def __repr__(self) -> str:
        return f"<Timeline: zbud {self.header['version']}, event {self.position} of {len(self.events)}>"

    # ------------------------------------------------------------------ files

    def dump(self, path: str | Path) -> None:
        """Save as JSON Lines (gzip if the name ends in .gz)."""
        text = "".join(json.dumps(row) + "\n" for row in (self.header, *self.events))
        with gzip.open(path, "wt") if str(path).endswith(".gz") else Path(path).open("w") as file:
            file.write(text)

    @classmethod
    def load(cls, path: str | Path) -> Timeline:
        """A timeline from a file that `dump` or the recordings' makers wrote, at its end.

        Raises RecordingError for a file that cannot be read, Difference where the model does something else.
        """
        rows = read_rows(path)
        timeline = cls.empty(rows[0])
        for line, row in enumerate(rows[1:], 2):
            timeline.replay(row, line)
        return timeline

    @classmethod
    def empty(cls, header: dict[str, Any]) -> Timeline:
        """A timeline without events, as the header of a timeline or of a trace describes it."""
        try:
            if header["version"] not in VERSIONS:
                raise RecordingError(f"it is of zbud version {header['version']!r}; known: {', '.join(VERSIONS)}")
            if header["format"] == "zbud-trace":
                return cls(header["version"], header["arena_pages"], "accepts" if header["evictor"] else None)
            evict = header["evictor"] if header["evictor"] is None else "accepts"
            options = {key: header[key] for key in ("scheme", "allocator", "base_pfn", "address")}
            return cls(header["version"], header["pages"], evict, **options)
        except KeyError as error:
            raise RecordingError(f"its header lacks {error}") from None


_DO: dict[str, Callable[[Timeline, Row], Any]] = {
    "a": lambda t, row: t.alloc(row[1]),
    "h": lambda t, row: t.alloc(row[1], highmem=True),
    "f": lambda t, row: t.free(t.handles[row[1]]),
    "r": lambda t, row: t.reclaim(row[1]),
    "z": lambda t, row: t.shrink(row[1]),
    "w": lambda t, row: t.write(t.handles[row[1]], bytes.fromhex(row[3]), row[2]),
    "b": lambda t, row: t.poke(int(row[1], 16), bytes.fromhex(row[2])),
    "u": lambda t, row: t.free_unchecked(int(row[1], 16)),
    "d": lambda t, row: t.destroy(checked=row[1]),
    "#": lambda t, row: t.remark(row[1]),
    "s": lambda t, row: t._note(["s", digest(t.pool.state())]),
    "S": lambda t, row: t._note(["S", digest(t.pool.state()), t.pool.state()]),
}


def _build(header: dict[str, Any], evict: Any) -> ZbudPool:
    """The pool that a header describes; behind its pages lie those for the pool structure and for the kernel's zone."""
    pages, base, kernel = header["pages"], header["base_pfn"], header["allocator"] == "kernel"
    memory, address = range(base, base + pages + 1 + kernel), header["address"]
    place = DIRECT_MAP + PAGE_SIZE * (base + pages) if address is None else address
    home = (place - DIRECT_MAP) // PAGE_SIZE
    memmap = Memmap(len(memory), base_pfn=base, ram=[memory, range(home, home + 1)])
    own = range(base, base + pages)
    source: PageAllocator = KernelPages(memmap, own) if kernel else Arena(memmap, own)
    return ZbudPool(header["version"], source, evict, scheme=header["scheme"], address=place)
