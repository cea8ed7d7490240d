"""What can be done to a pool on a timeline, each deed noted as a row with what came of it.

Doing and replaying go through the same methods: a replay does once more what a row says, and the row that is noted then
must be that row.  What an evictor did is repeated from the row, without the evictor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from operator import index
from typing import TYPE_CHECKING, Any

from .dress import check as check_dress
from .dress import dress
from .memmap import DIRECT_MAP, KernelOops, Memmap
from .page_alloc import Arena, KernelPages, OutOfMemory, PageAllocator, alloc_block
from .rows import Row, digest
from .schemes import SCHEMES, Scheme
from .struct_page import PAGE_SIZE
from .versions import ERRNO, Handle, ZbudError
from .zbud import ZbudPool

if TYPE_CHECKING:
    from .peekers.rules import Visit

Evictor = Callable[[Any, Handle], int | None]  # of a timeline, and of the handle that is offered


def accept(timeline: Deeds, handle: Handle) -> int:
    """The evictor that frees what it is offered."""
    timeline.free(handle)
    return 0


def refuse(timeline: Deeds, handle: Handle) -> int:
    """The evictor that wants to keep everything: -EBUSY."""
    return -16


def lie(timeline: Deeds, handle: Handle) -> int:
    """The evictor that claims success and frees nothing."""
    return 0


EVICTORS: dict[str, Evictor] = {"accepts": accept, "refuses": refuse, "lies": lie}


class Raised(Exception):
    """When replaying: what an evictor raised, by name."""


class SameOops(KernelOops):
    """When replaying: an oops that ended an evict call, in its words."""

    def __init__(self, words: str) -> None:
        super().__init__(0, "read")
        self.words = words

    def __str__(self) -> str:
        return self.words


def outcome(error: BaseException) -> str:
    """How a row tells of an exception: an errno name, an oops in words, or the name of what an evictor raised."""
    if isinstance(error, ZbudError):
        return error.name
    return str(error) if isinstance(error, (KernelOops, Raised)) else type(error).__name__


def again(outcome: str) -> Exception:
    """An exception with the same outcome and the same effect on the pool."""
    if outcome in ERRNO:
        return ZbudError(outcome, "as before")
    return SameOops(outcome) if " at 0x" in outcome else Raised(outcome)


class Deeds:
    """A pool, and what is done to it: `events` are the rows so far, of which `position` have happened in `pool` now."""

    def __init__(self, header: dict[str, Any], evict: Evictor | None) -> None:
        self.header, self.evict = header, evict
        self.events: list[Row] = []
        self.position = 0
        self.pool = self._build()
        self.handles: list[Handle] = []  # of allocation k, also of those in a future that was left
        self._calls: list[list[Any]] = []  # evict calls of the reclaim that is under way
        self._rows: list[Row] | None = None  # where operations inside an evict call or a visit are noted
        self._script: list[list[Any]] | None = None  # the evict calls to repeat, when replaying
        self._redone: Row | None = None  # when replaying: what came of the row
        self._replaying = False

    def _build(self) -> ZbudPool:
        return build(self.header, self._evict if self.evict is not None else None)

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
        """Drop the events behind `position`."""
        del self.events[self.position :]

    # ------------------------------------------------------------------ zbud's operations

    def alloc(self, size: int, *, highmem: bool = False) -> Handle:
        """As ZbudPool.alloc; a failure is an event too."""
        pool = self.pool
        kind = "h" if highmem else "a"
        try:
            handle = pool.alloc(size, highmem=highmem)
        except (ZbudError, KernelOops) as error:  # an oops has written something before: an event as well
            self._note([kind, int(size), outcome(error), None, None, None, pool.pages_nr])
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
            row[2], done = outcome(error), getattr(error, "reclaimed", 0)
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
                raise Raised("more evict calls than recorded")
        except BaseException as error:
            call[1] = outcome(error)
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
        self._do_all(rows[0] if rows else [["f", k, None] for k in freed])
        if isinstance(rc, str):
            raise again(rc)
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

    # ------------------------------------------------------------------ readers, and other people's pages

    def visit(self, reader: str, pfn: int) -> Visit:
        """Send a reader to page `pfn`, by name (see demonstrate.readers.begin); what it does there is done.

        An oops is not raised: it is the visitor who dies of it, and the Visit that is returned tells (`value`, `oops`,
        `stuck`).  Raises ValueError for an unknown reader, IndexError for a page outside of the memmap.
        """
        return self._send(reader, pfn, -1, [])

    def race(self, reader: str, pfn: int, pause: int, rows: Sequence[Sequence[Any]]) -> Visit:
        """The same, but at pause number `pause` (from 0: before step `pause`) what `rows` say is done; then it goes on.

        A row needs no results: ["a", 640], ["f", 0] (allocation 0), ["r", 8].  If a visit ends before that pause, they
        are not done.  What the rows raise besides a ZbudError or a KernelOops, as for a handle that is not live, ends
        it: nothing has happened then.
        """
        if index(pause) < 0:
            raise ValueError(f"a visit has pauses 0, 1, 2 and so on, not {pause}")
        return self._send(reader, pfn, index(pause), [list(row) for row in rows])

    def _send(self, reader: str, pfn: int, pause: int, rows: list[Row]) -> Visit:
        from .demonstrate.readers import begin

        before = self.pool.save()
        outer, self._rows = self._rows, []
        try:
            visit = begin(reader, self.pool.pages, index(pfn))
            for i, _ in enumerate(visit):
                if i == pause:
                    self._do_all(rows)
        except BaseException:
            self.pool.restore(before)
            self._rows = outer
            raise
        done, self._rows = self._rows, outer
        raced = [] if pause < 0 else [pause, done]
        self._note(["p" if pause < 0 else "q", reader, visit.pfn, *raced, came(visit)])
        return visit

    def dress(self, kind: str, order: int = 0) -> int:
        """Take a page (2**`order` of them) and dress it as somebody else's, as a kind of dress.KINDS; returns its pfn.

        Raises ValueError for an unknown kind and an order it does not come in, OutOfMemory if no such page is free.
        """
        order = index(order)
        check_dress(kind, order)
        row: Row = ["k", kind, order, None]
        try:
            pfn = alloc_block(self.pool.pages, order) if order else self.pool.pages.alloc_page()
            dress(self.pool.memmap, pfn, kind, order=order)
            row[3] = pfn
        except (OutOfMemory, KernelOops) as error:
            row[3] = getattr(error, "name", str(error))
            raise
        finally:
            self._note(row)
        return pfn

    # ------------------------------------------------------------------ doing what rows say

    def perform(self, row: Row) -> None:
        """Do what a row did, whatever comes of it; that is noted."""
        with suppress(ZbudError, KernelOops, OutOfMemory, Raised):  # the noted row says so
            DO[row[0]](self, row)

    def _do_all(self, rows: Sequence[Row]) -> None:
        """Do what rows say inside an evict call or a visit; in a replay, evict calls are as they were recorded."""
        script = self._script
        for row in rows:
            again = self._replaying and row[0] in ("r", "z")
            self._script = list(row[-2]) if again else None  # a copy: it is used up
            self.perform(row)
        self._script = script

    def allocation(self, k: int) -> Handle:
        """The handle of allocation number `k`, live or not; IndexError if there is none."""
        if not 0 <= k < len(self.handles):
            raise IndexError(f"there is no allocation {k}")
        return self.handles[k]


def came(visit: Visit) -> dict[str, Any]:
    """What came of a visit, as plain JSON: what the function returned, or why it did not."""
    if visit.oops is not None:
        return {"oops": str(visit.oops)}
    if visit.stuck is not None:
        return {"stuck": str(visit.stuck)}
    return {"beyond": visit.beyond} if visit.beyond else {"value": visit.value}


DO: dict[str, Callable[[Deeds, Row], Any]] = {
    "a": lambda t, row: t.alloc(row[1]),
    "h": lambda t, row: t.alloc(row[1], highmem=True),
    "f": lambda t, row: t.free(t.allocation(row[1])),
    "r": lambda t, row: t.reclaim(row[1]),
    "z": lambda t, row: t.shrink(row[1]),
    "w": lambda t, row: t.write(t.allocation(row[1]), bytes.fromhex(row[3]), row[2]),
    "b": lambda t, row: t.poke(int(row[1], 16), bytes.fromhex(row[2])),
    "u": lambda t, row: t.free_unchecked(int(row[1], 16)),
    "d": lambda t, row: t.destroy(checked=row[1]),
    "p": lambda t, row: t.visit(row[1], row[2]),
    "q": lambda t, row: t.race(row[1], row[2], row[3], row[4]),
    "k": lambda t, row: t.dress(row[1], row[2]),
    "#": lambda t, row: t.remark(row[1]),
    "s": lambda t, row: t._note(["s", digest(t.pool.state())]),
    "S": lambda t, row: t._note(["S", digest(t.pool.state()), t.pool.state()]),
}


def declaration(scheme: str | Scheme | Mapping[str, Any] | None) -> Any:
    """A scheme as plain JSON: its name if it is one of SCHEMES, else all that it declares."""
    if isinstance(scheme, Scheme):
        return scheme.name if SCHEMES.get(scheme.name) == scheme else asdict(scheme)
    return scheme


def scheme_of(told: Any) -> str | Scheme | None:
    """The scheme that a declaration tells of; TypeError for what is none, or tells too little or too much."""
    if isinstance(told, Mapping):
        return Scheme(**told)
    if told is not None and not isinstance(told, str):
        raise TypeError(f"a scheme is a name, a Scheme or its declaration, not {told!r}")
    return told


def build(header: dict[str, Any], evict: Any) -> ZbudPool:
    """The pool that a header describes; behind its pages lie those for the pool structure and for the kernel's zone."""
    pages, base, kernel = header["pages"], header["base_pfn"], header["allocator"] == "kernel"
    memory, address = range(base, base + pages + 1 + kernel), header["address"]
    place = DIRECT_MAP + PAGE_SIZE * (base + pages) if address is None else address
    home = (place - DIRECT_MAP) // PAGE_SIZE
    if memory.stop <= home < memory.stop + 4:
        raise ValueError(f"a pool at {place:#x} would lie where the lists of the kernel do, right behind the memmap")
    memmap = Memmap(len(memory), base_pfn=base, ram=[memory, range(home, home + 1)])
    own = range(base, base + pages)
    source: PageAllocator = KernelPages(memmap, own) if kernel else Arena(memmap, own)
    return ZbudPool(header["version"], source, evict, scheme=scheme_of(header["scheme"]), address=place)
