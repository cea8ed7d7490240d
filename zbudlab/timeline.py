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
    alloc 1,500 B = 24 chunks: p0 LAST
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .changes import Change, between
from .deeds import DO, EVICTORS, Deeds, Evictor, declaration
from .memmap import KernelOops
from .page_alloc import OutOfMemory
from .rows import (
    FORMAT,
    FORMAT_VERSION,
    Caption,
    Difference,
    RecordingError,
    Row,
    caption,
    count,
    pages_after,
    read_rows,
)
from .schemes import SCHEMES, Scheme
from .struct_page import CHUNK, PAGE_SIZE
from .versions import VERSIONS, Handle, StaleHandle, ZbudError
from .zbud import ZbudPool

__all__ = ["EVICTORS", "Evictor", "Timeline"]


def _allocations_inside(row: Row) -> int:
    """How many allocations succeeded inside the evict calls of a reclaim or shrink, or in the middle of a visit."""
    inside = row[4] if row[0] == "q" else [inner for call in row[-2] for inner in (call[3] if len(call) > 3 else [])]
    made: int = sum(_allocations_inside(inner) for inner in inside if inner[0] in ("r", "z", "q"))
    made += sum(inner[0] == "a" and inner[2] == "OK" for inner in inside)
    return made


class Timeline(Deeds):
    """A pool of `version` on `pages` pages from a named allocator ("arena" or "kernel"), and all that was done to it.

    `events` are the rows so far, `position` is how many of them have happened in `pool` now.  Doing something at an
    earlier position forgets the events behind it.  `evict` is the evictor for `reclaim` (a name of EVICTORS, or a
    function of the timeline and the handle).  `scheme` (a name of SCHEMES, or a Scheme) replaces the version's own,
    `address` (a kernel address with RAM behind it) places the pool.
    """

    def __init__(
        self,
        version: str = "linux-3.11",
        pages: int = 16,
        evict: str | Evictor | None = "accepts",
        *,
        scheme: str | Scheme | Mapping[str, Any] | None = None,
        allocator: str = "arena",
        base_pfn: int = 0,
        address: int | None = None,
    ) -> None:
        if allocator not in ("arena", "kernel"):
            raise ValueError(f"unknown allocator {allocator!r}; known: arena, kernel")
        header = {"format": FORMAT, "format_version": FORMAT_VERSION, "version": version, "pages": pages}
        header |= {"scheme": declaration(scheme), "allocator": allocator, "base_pfn": base_pfn, "address": address}
        header["evictor"] = evict if isinstance(evict, str) or evict is None else "a function"
        if isinstance(evict, str) and evict not in EVICTORS:
            raise ValueError(f"unknown evictor {evict!r}; known: {', '.join(EVICTORS)}")
        self._begin(header, EVICTORS[evict] if isinstance(evict, str) else evict)

    def _begin(self, header: dict[str, Any], evict: Evictor | None) -> None:
        Deeds.__init__(self, header, evict)
        self._saved: dict[int, Any] = {0: self.pool.save()}  # copies of the pool, by position
        self._every = max(64, header["pages"] // 4)  # how far apart

    # ------------------------------------------------------------------ replaying

    def _forget(self) -> None:
        """Drop the events behind `position`, and the copies of the pool that belong to them."""
        if self.position < len(self.events):
            super()._forget()
            self._saved = {i: saved for i, saved in self._saved.items() if i <= self.position}

    def _redo(self, line: int) -> None:
        """Do the event at `position` once more; raises Difference if it comes out otherwise than its row says."""
        row = self.events[self.position]
        self._replaying, self._redone = True, None
        try:
            self._script = list(row[-2]) if row[0] in ("r", "z") else None
            self.perform(row)
        except StaleHandle as error:
            raise Difference(line, row, str(error)) from None
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise RecordingError(f"line {line} is malformed ({error}): {json.dumps(row)[:60]}") from None
        finally:
            self._replaying, self._script = False, None
        if self._redone != row:
            raise Difference(line, row, self._redone)
        self.position += 1

    def replay(self, row: Row, line: int = 0) -> None:
        """Append a recorded row and do what it did; raises Difference, naming `line`, if it comes out otherwise."""
        self._forget()
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
            self.pool.restore(self._saved[start])
            self.position = start
        while self.position < i:
            self._redo(self.position + 2)
            if self.position % self._every == 0 or i - self.position == 64:  # the latter for the undos to come
                self._keep()
        return self.pool

    def _keep(self) -> None:
        """Keep a copy of the pool at this position, so that no jump replays for long; too many are thinned out."""
        self._saved[self.position] = self.pool.save()
        memmap = self.pool.memmap
        size = len(memmap.raw) + PAGE_SIZE * len(memmap._frames)
        if len(self._saved) > max(8, min(64, (256 << 20) // size)):
            if sum(at % self._every == 0 for at in self._saved) > len(self._saved) // 2:
                self._every *= 2
            self._saved = {at: saved for at, saved in self._saved.items() if at % self._every == 0}

    def undo(self) -> ZbudPool:
        """One event back; at the beginning, nothing."""
        return self.goto(max(0, self.position - 1))

    def walk(self) -> Iterator[ZbudPool]:
        """The pool before the first event, then after each: the same object, moved on.  For drawing frames."""
        for i in range(len(self.events) + 1):
            yield self.goto(i)

    def changes(self, i: int) -> list[Change]:
        """What event number `i`, from 1, changed in memory: the bytes before and after, with the names they have."""
        from .peekers.machine import Machine

        if not 1 <= i <= len(self.events):
            raise IndexError(f"this timeline has events 1 to {len(self.events)}, not {i}")
        here, memmap = self.position, self.pool.memmap
        self.goto(i)
        after, mine, visited = memmap.save(), set(self.pool.mine), "machine" in vars(memmap)
        self.goto(i - 1)
        before = self.pool.save()
        if visited:  # the first visit finds the kernel's lists as they have been all the time
            Machine.of(self.pool.pages)
        found = between(self.pool, memmap.save(), after, mine | self.pool.mine)
        self.pool.restore(before)
        self.goto(here)
        return found

    def under(self, version: str, **place: Any) -> Timeline:
        """The same requests made of another version (of the same pages): a new timeline, at the same position.

        `place` may name another scheme, allocator, base_pfn or address than ours.
        Allocations are matched by their order; what one version refused, nothing can be freed of in the other.  What
        cannot be done there (or is no request) becomes a remark, so that each event keeps its number.
        """
        ours = {key: self.header[key] for key in ("scheme", "allocator", "base_pfn", "address")}
        other = Timeline(version, self.header["pages"], self.evict, **(ours | place))
        handles: list[Handle | None] = []  # for allocation k here, the one made there
        for i, row in enumerate(self.events, 1):
            with suppress(ZbudError, KernelOops, OutOfMemory, StaleHandle):
                other._request(row, handles)
            if other.position < i:
                other.remark(f"not here: {self.caption(i)}")
        other.goto(min(self.position, len(other.events)))
        return other

    def _request(self, row: Row, handles: list[Handle | None]) -> None:
        """Ask for what a row of another timeline asked for; `handles` are our handles by its allocations."""
        kind = row[0]
        if kind in ("a", "h"):
            if row[2] == "OK":
                handles.append(None)
            handle = self.alloc(row[1], highmem=kind == "h")
            if row[2] == "OK":
                handles[-1] = handle
        elif kind == "f":
            freed = self._ours(row, handles)
            if freed is not None:
                self.free(freed)
        elif kind in ("r", "z"):
            handles += [None] * _allocations_inside(row)
            (self.reclaim if kind == "r" else self.shrink)(row[1])
        elif kind == "q":
            meanwhile = [inner for inner in row[4] if inner[0] != "f" or self._ours(inner, handles) is not None]
            for k, inner in enumerate(meanwhile):
                if (freed := self._ours(inner, handles)) is not None:
                    meanwhile[k] = ["f", freed.allocation]
            handles += [None] * _allocations_inside(row)
            self.race(row[1], row[2], row[3], meanwhile)
        elif kind in ("p", "k"):
            DO[kind](self, row)

    def _ours(self, row: Row, handles: list[Handle | None]) -> Handle | None:
        """The handle that a free of another timeline means here; None for another row, and if it is not live here."""
        handle = handles[row[1]] if row[0] == "f" and row[1] < len(handles) else None
        return handle if handle is not None and self.pool.tenants.get(handle) is handle else None

    # ------------------------------------------------------------------ words

    def caption(self, i: int) -> Caption:
        """Event number `i`, from 1, in words."""
        earlier = (pages_after(self.events[j]) for j in range(i - 2, -1, -1))
        before = next((pages for pages in earlier if pages is not None), 0)
        row = self.events[i - 1]
        words = caption(row, before)
        if row[0] == "f":
            h = self.handles[row[1]]
            words = words._replace(what=f"p{h.pfn} {h.slot}, {count(-(-h.size // CHUNK), 'chunk')}")
        return words

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
            if "kernel" in header:
                from .realpool import RealTimeline

                return RealTimeline(header["kernel"])
            if header["version"] not in VERSIONS:
                raise RecordingError(f"it is of zbud version {header['version']!r}; known: {', '.join(VERSIONS)}")
            if header["format"] == "zbud-trace":
                return cls(header["version"], header["arena_pages"], "accepts" if header["evictor"] else None)
            evict = header["evictor"]  # a function cannot be saved; what it did was
            evict = evict if evict is None or evict in EVICTORS else "accepts"
            options = {key: header[key] for key in ("scheme", "allocator", "base_pfn", "address")}
            if isinstance(options["scheme"], str) and options["scheme"] not in SCHEMES:
                raise RecordingError(f"it is of scheme {options['scheme']!r}; known: {', '.join(SCHEMES)}")
            return cls(header["version"], header["pages"], evict, **options)
        except KeyError as error:
            raise RecordingError(f"its header lacks {error}") from None
        except RecordingError:
            raise
        except (TypeError, ValueError, IndexError, ArithmeticError, MemoryError, KernelOops) as error:
            raise RecordingError(f"its header makes no pool ({type(error).__name__} {error})") from None
