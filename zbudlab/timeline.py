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
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import index
from pathlib import Path
from typing import Any

from .memmap import DIRECT_MAP, KernelOops, Memmap
from .page_alloc import Arena, KernelPages, PageAllocator
from .rows import FORMAT, FORMAT_VERSION, Caption, Difference, RecordingError, Row, caption, count, digest, read_rows
from .schemes import SCHEMES
from .struct_page import CHUNK, PAGE_SIZE
from .versions import ERRNO, VERSIONS, Handle, StaleHandle, ZbudError
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


class _Raised(Exception):
    """When replaying: what an evictor raised, by name."""


class _Oops(KernelOops):
    """When replaying: an oops that ended an evict call, in its words."""

    def __init__(self, words: str) -> None:
        super().__init__(0, "read")
        self.words = words

    def __str__(self) -> str:
        return self.words


def _outcome(error: BaseException) -> str:
    """How a row tells of an exception: an errno name, an oops in words, or the name of what an evictor raised."""
    if isinstance(error, ZbudError):
        return error.name
    return str(error) if isinstance(error, (KernelOops, _Raised)) else type(error).__name__


def _again(outcome: str) -> Exception:
    """An exception with the same outcome and the same effect on the pool."""
    if outcome in ERRNO:
        return ZbudError(outcome, "as before")
    return _Oops(outcome) if " at 0x" in outcome else _Raised(outcome)


def _allocations_inside(row: Row) -> int:
    """How many allocations succeeded inside the evict calls of a reclaim or shrink."""
    inside = [inner for call in row[-2] for inner in (call[3] if len(call) > 3 else [])]
    made: int = sum(_allocations_inside(inner) for inner in inside if inner[0] in ("r", "z"))
    made += sum(inner[0] == "a" and inner[2] == "OK" for inner in inside)
    return made


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
        self.header: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "version": version,
            "pages": pages,
        }
        self.header |= {"scheme": scheme, "allocator": allocator, "base_pfn": base_pfn, "address": address}
        self.header["evictor"] = evict if isinstance(evict, str) or evict is None else "a function"
        if isinstance(evict, str) and evict not in EVICTORS:
            raise ValueError(f"unknown evictor {evict!r}; known: {', '.join(EVICTORS)}")
        self.events: list[Row] = []
        self.position = 0
        self.evict: Evictor | None = EVICTORS[evict] if isinstance(evict, str) else evict
        self.pool = _build(self.header, self._evict if evict is not None else None)
        self.handles: list[Handle] = []  # of allocation k, also of those in a future that was left
        self._calls: list[list[Any]] = []  # evict calls of the reclaim that is under way
        self._rows: list[Row] | None = None  # where operations inside an evict call are noted
        self._script: list[list[Any]] | None = None  # the evict calls to repeat, when replaying
        self._redone: Row | None = None  # when replaying: what came of the row
        self._replaying = False
        self._saved: dict[int, Any] = {0: self.pool.save()}  # copies of the pool, by position
        self._every = max(64, pages // 4)  # how far apart

    # ------------------------------------------------------------------ doing

    def _note(self, row: Row) -> None:
        if self._rows is not None:
            self._rows.append(row)
            return
        if self._replaying:
            self._redone = row
            return
        self._forget()
        self.events.append(row)
        self.position += 1

    def _forget(self) -> None:
        """Drop the events behind `position`, and the copies of the pool that belong to them."""
        if self.position < len(self.events):
            del self.events[self.position :]
            self._saved = {i: saved for i, saved in self._saved.items() if i <= self.position}

    def alloc(self, size: int, *, highmem: bool = False) -> Handle:
        """As ZbudPool.alloc; a failure is an event too."""
        pool = self.pool
        kind = "h" if highmem else "a"
        try:
            handle = pool.alloc(size, highmem=highmem)
        except (ZbudError, KernelOops) as error:  # an oops has written something before: an event as well
            self._note([kind, int(size), _outcome(error), None, None, None, pool.pages_nr])
            raise
        k = handle.allocation
        self.handles[k : k + 1] = [handle]  # k may be known from a future that was left
        self._note([kind, int(size), "OK", handle.pfn, handle.offset, handle.slot, pool.pages_nr])
        return handle

    def free(self, handle: Handle) -> None:
        """As ZbudPool.free of a live handle."""
        k = handle.allocation
        try:
            self.pool.free(handle)
        except KernelOops as oops:
            self._note(["f", k, str(oops), self.pool.pages_nr])
            raise
        self._note(["f", k, self.pool.pages_nr])

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
        retries = index(retries)
        self._with_calls(["r", retries, "OK", [], 0], lambda: self.pool.reclaim(retries))

    def shrink(self, pages: int) -> None:
        """As ZbudPool.shrink, through this timeline's evictor."""
        pages = index(pages)
        self._with_calls(["z", pages, "OK", 0, [], 0], lambda: self.pool.shrink(pages))

    def _with_calls(self, row: Row, operation: Callable[[], Any]) -> None:
        outer, self._calls, done = self._calls, [], 0
        try:
            done = operation()
        except BaseException as error:  # an oops, or whatever the evictor raised: a replay must do likewise
            row[2], done = _outcome(error), getattr(error, "reclaimed", 0)
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
                call[1] = int(self.evict(self, handle) or 0)
            elif self._script:
                call[1] = self._repeat(self._script.pop(0))
            else:
                raise _Raised("more evict calls than recorded")
        except BaseException as error:
            call[1] = _outcome(error)
            raise
        finally:
            rows, self._rows = self._rows, outer
            call[2] = [row[1] for row in rows if row[0] == "f"]
            if any(row[0] != "f" or len(row) > 3 for row in rows):  # more than plain frees
                call.append(rows)
        return int(call[1])

    def _repeat(self, recorded: list[Any]) -> int:
        """Do in an evict call what the recording did, and end it likewise; which handle is offered it need not know."""
        _, rc, freed, *rows = recorded
        script = self._script
        for row in rows[0] if rows else [["f", k, None] for k in freed]:
            self._script = list(row[-2]) if row[0] in ("r", "z") else None  # a copy: it is used up
            self.perform(row)
        self._script = script
        if isinstance(rc, str):
            raise _again(rc)
        return index(rc)

    def write(self, handle: Handle, data: bytes, offset: int = 0) -> None:
        """Write through map: `data` at `offset` bytes into the zpage; ValueError if it does not fit."""
        room = self.pool.map(handle)
        if offset < 0 or offset + len(data) > len(room):
            raise ValueError(f"{len(data)} bytes at {offset} do not fit in this zpage of {len(room)} bytes")
        room[offset : offset + len(data)] = data
        self._note(["w", handle.allocation, offset, bytes(data).hex()])

    def poke(self, address: int, data: bytes) -> None:
        """Write bytes at any kernel address: the learner's own damage."""
        for i in range(len(data)):
            self.pool.memmap.at(address + i, "write")  # all of it or nothing: half a poke would be no event
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
        with suppress(ZbudError, KernelOops, _Raised):  # the noted row says so
            _DO[row[0]](self, row)

    def _allocation(self, k: int) -> Handle:
        if not 0 <= k < len(self.handles):
            raise IndexError(f"there is no allocation {k}")
        return self.handles[k]

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

    def under(self, version: str) -> Timeline:
        """The same requests made of another version (of the same pages): a new timeline, at the same position.

        Allocations are matched by their order; what one version refused, nothing can be freed of in the other.  What
        cannot be done there (or is no request) becomes a remark, so that each event keeps its number.
        """
        place = {key: self.header[key] for key in ("allocator", "base_pfn")}
        other = Timeline(version, self.header["pages"], self.evict, **place)
        handles: list[Handle | None] = []  # for allocation k here, the one made there
        for i, row in enumerate(self.events, 1):
            with suppress(ZbudError):
                if row[0] in ("a", "h"):
                    if row[2] == "OK":
                        handles.append(None)
                    handle = other.alloc(row[1], highmem=row[0] == "h")
                    if row[2] == "OK":
                        handles[-1] = handle
                elif row[0] == "f":
                    freed = handles[row[1]]
                    if freed is not None and other.pool.tenants.get(freed) is freed:  # not another one at its address
                        other.free(freed)
                elif row[0] in ("r", "z"):
                    handles += [None] * _allocations_inside(row)
                    (other.reclaim if row[0] == "r" else other.shrink)(row[1])
            if other.position < i:
                other.remark(f"not here: {self.caption(i)}")
        other.goto(min(self.position, len(other.events)))
        return other

    # ------------------------------------------------------------------ words

    def caption(self, i: int) -> Caption:
        """Event number `i`, from 1, in words."""
        earlier = (self.events[j] for j in range(i - 2, -1, -1))
        before = next((row[-1] for row in earlier if row[0] in "ahfruz"), 0)
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
            if header["version"] not in VERSIONS:
                raise RecordingError(f"it is of zbud version {header['version']!r}; known: {', '.join(VERSIONS)}")
            if header["format"] == "zbud-trace":
                return cls(header["version"], header["arena_pages"], "accepts" if header["evictor"] else None)
            evict = header["evictor"]  # a function cannot be saved; what it did was
            evict = evict if evict is None or evict in EVICTORS else "accepts"
            options = {key: header[key] for key in ("scheme", "allocator", "base_pfn", "address")}
            if options["scheme"] is not None and options["scheme"] not in SCHEMES:
                raise RecordingError(f"it is of scheme {options['scheme']!r}; known: {', '.join(SCHEMES)}")
            return cls(header["version"], header["pages"], evict, **options)
        except KeyError as error:
            raise RecordingError(f"its header lacks {error}") from None
        except RecordingError:
            raise
        except (TypeError, ValueError, IndexError, ArithmeticError, MemoryError, KernelOops) as error:
            raise RecordingError(f"its header makes no pool ({type(error).__name__} {error})") from None


_DO: dict[str, Callable[[Timeline, Row], Any]] = {
    "a": lambda t, row: t.alloc(row[1]),
    "h": lambda t, row: t.alloc(row[1], highmem=True),
    "f": lambda t, row: t.free(t._allocation(row[1])),
    "r": lambda t, row: t.reclaim(row[1]),
    "z": lambda t, row: t.shrink(row[1]),
    "w": lambda t, row: t.write(t._allocation(row[1]), bytes.fromhex(row[3]), row[2]),
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
