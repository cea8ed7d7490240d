"""The ways in which pages of a real Linux 6.1 were dressed, and what its readers made of them, beside our model.

A *dressing* is what some scheme of 2013 would have left in a page's record, on a kernel of today.  The layout moved
since, so every dressing that lays zbud's data over the record is a what-if, and is called that wherever it is shown.

    >>> DRESSINGS["v12"].scheme, DRESSINGS["v12"].what_if
    ('overlay-v12', True)

`compare_cells` takes what was recorded, a cell for each dressed page and reader, and sets the model's answer beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from .linux_6_1 import LIST_POISON2, PG_6_1, TYPES
from .memmap import Memmap
from .page import Page
from .peekers import of
from .peekers.machine import Machine
from .peekers.rules import Visit
from .releases import Release, release
from .struct_page import RECORD, s32
from .versions import ERRNO_NAMES

# ---------------------------------------------------------------------- the dressings

Act = Callable[[Page], None]


@dataclass(frozen=True)
class Dressing:
    """A way to dress a page: `scheme` is the design's name for what it is taken from, `acts` are done in order."""

    name: str
    scheme: str
    about: str
    acts: tuple[Act, ...]
    what_if: bool = False

    def put_on(self, p: Page) -> None:
        """Dress a page of Linux 6.1."""
        for act in self.acts:
            act(p)


def flag(name: str) -> Act:
    """Set a page flag."""

    def act(p: Page) -> None:
        p["flags"] |= 1 << PG_6_1[name]

    return act


def field(name: str, value: int) -> Act:
    """Put a number into a field."""

    def act(p: Page) -> None:
        p[name] = value

    return act


def chunks(first: int) -> Act:
    """The two chunk counts, `first` and 8, where mapping is."""
    return field("mapping", first | 8 << 16)


def by_field(first: int, *, over_counts: bool) -> Act:
    """v12's overlay by the names of the fields that it lay on: chunk counts on mapping, lists on index and lru.

    The second word of `buddy` lay on the counts in 2013; if not `over_counts`, it goes to private.
    """

    def act(p: Page) -> None:
        chunks(first)(p)
        p["lru.next"] = p["lru.prev"] = p.address + 8
        p["index"] = buddy = p.address + 32
        if over_counts:
            p["_mapcount"], p["_refcount"] = s32(buddy & 0xFFFF_FFFF), s32(buddy >> 32)
        else:
            p["private"] = buddy

    return act


def by_offset(first: int) -> Act:
    """v12's overlay at the bytes where it lay in 2013, whatever is there now."""

    def act(p: Page) -> None:
        p["lru.next"], p["lru.prev"] = first | 8 << 16, p.address + 16  # bytes 8 and 16
        p["mapping"], p["index"], p["private"] = p.address + 16, p.address + 32, p.address + 32  # 24, 32 and 40

    return act


def own_address(name: str) -> Act:
    """Let a field hold its own address."""

    def act(p: Page) -> None:
        p[name] = p.address + p.memmap.layout[name].offset

    return act


def lone_list(p: Page) -> None:
    p["lru.next"] = p["lru.prev"] = p.address + 8


def _dressings() -> Iterable[Dressing]:
    slab, reserved = flag("slab"), flag("reserved")
    yield Dressing("plain", "inline-header", "as zbud was merged: nothing in the record", ())
    yield Dressing("reserved", "reserved", "PG_reserved", (reserved,))
    yield Dressing("slab", "slab-flag", "PG_slab", (slab,))
    low = {4: "even", 5: "odd", 6: "movable", 7: "ksm"}  # first_chunks, and what its low bits say in mapping
    for first, kind in low.items():
        name = "v12" if kind == "even" else f"v12_{kind}"
        yield Dressing(name, "overlay-v12", f"v12 by field, first_chunks {first}",
                       (by_field(first, over_counts=True),), True)  # fmt: skip
        yield Dressing(f"chunks_{kind}", "chunks-in-mapping", f"only mapping used, first_chunks {first}",
                       (chunks(first),), True)  # fmt: skip
        if kind != "ksm":
            name = "slab_chunks" if kind == "even" else f"slab_{kind}"
            yield Dressing(name, "slab-flag", f"PG_slab, zbud's data over the record, first_chunks {first}",
                           (slab, by_field(first, over_counts=False)), True)  # fmt: skip
    yield Dressing("v12_slab", "slab-flag", "v12 by field, and PG_slab", (by_field(4, over_counts=True), slab), True)
    yield Dressing(
        "v12_reserved", "reserved", "v12 by field, and PG_reserved", (by_field(4, over_counts=True), reserved), True
    )
    yield Dressing("v12_offsets", "overlay-v12", "v12 at its bytes of 2013, first_chunks 4", (by_offset(4),), True)
    yield Dressing("v12_offsets_odd", "overlay-v12", "v12 at its bytes of 2013, first_chunks 5", (by_offset(5),), True)
    yield Dressing("private", "overlay-clear", "a number in private, and PG_private",
                   (flag("private"), field("private", 0x5A5A)), True)  # fmt: skip
    yield Dressing("lru_list", "overlay-clear", "a list node on lru", (lone_list,), True)
    yield Dressing("type_offline", "page-type", "a type that exists", (field("_mapcount", ~TYPES["offline"]),))
    yield Dressing("type_new", "page-type", "a type that nobody has", (field("_mapcount", ~0x1000),))
    for n in (128, 256, 512):
        yield Dressing(f"mapcount_m{n}", "mapcount-tag", f"_mapcount -{n}", (field("_mapcount", -n),))
    yield Dressing("count0", "", "nobody holds a reference", (field("_refcount", 0),))
    yield Dressing("memcg_data", "", "a pointer in the last word", (own_address("memcg_data"),))
    yield Dressing("memcg_wild", "", "a number in the last word", (field("memcg_data", 4 | 8 << 16),))


DRESSINGS: Mapping[str, Dressing] = MappingProxyType({d.name: d for d in _dressings()})


def plain_page(memmap: Memmap, pfn: int, flags: int) -> Page:
    """Make a record that of a kernel page in use, just allocated; `flags` is its flags word."""
    p = memmap.page(pfn)
    p.raw = bytes(RECORD)
    p["flags"], p["lru.prev"] = flags, LIST_POISON2
    p["_mapcount"], p["_refcount"] = -1, 1
    return p


# ---------------------------------------------------------------------- what was recorded


class Oops(Protocol):
    """How a kernel died: `address` is that of the fault, None if it stopped at an assertion of its own."""

    @property
    def address(self) -> int | None: ...


class Cell(Protocol):
    """One dressed page before one reader: the record `before` and `after` (64 bytes; None if the kernel died).

    `value` is what a file in /proc said, `errno` what another reader answered (0: granted; None: it died, or was
    stopped), `counters` what compaction counted meanwhile, `log` the telling lines of the kernel's log.
    """

    @property
    def scheme(self) -> str: ...
    @property
    def reader(self) -> str: ...
    @property
    def pfn(self) -> int: ...
    @property
    def before(self) -> bytes: ...
    @property
    def after(self) -> bytes | None: ...
    @property
    def value(self) -> int | None: ...
    @property
    def errno(self) -> int | None: ...
    @property
    def oops(self) -> Oops | None: ...
    @property
    def counters(self) -> Mapping[str, int] | None: ...
    @property
    def log(self) -> Iterable[str]: ...


FREES = {"free": "free_page", "free_drained": "free_drained", "free_forced": "free_forced"}
FILES = ("kpageflags", "kpagecount", "kpagecgroup", "kcore")
# what was done to the page, and the peekers that this sets off, one after another
SETS_OFF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: (name,) for name in (*FILES, "show_mem", "soft_offline", "offline_block")}
    | {"hard_offline": ("memory_failure",)}
    | dict.fromkeys(("compact", "compact_movable"), ("isolate_migratepages", "page_is_buddy0"))
    | {done: (peeker,) for done, peeker in FREES.items()}
)


@dataclass(frozen=True)
class Compared:
    """A cell: what the `real` kernel did, what the `model` says, and why they differ, if they do (`open`: not known).

    `record` tells whether the record is the same afterwards, too; None where there is nothing to compare.  They agree
    if it is, and the answers are.
    """

    dressing: str
    reader: str
    real: str
    model: str
    agree: bool
    reason: str = ""
    record: bool | None = None
    what_if: bool = False

    @property
    def modelled(self) -> bool:
        """Whether the model has this reader at all."""
        return self.model != "-"

    def __str__(self) -> str:
        beside = f"{self.real}; the model as well" if self.agree else f"{self.real}; the model: {self.model}"
        what_if = " (a what-if)" if self.what_if else ""
        return f"{self.dressing}{what_if} before {self.reader}: {beside}{f' ({self.reason})' if self.reason else ''}"


def compare_cells(cells: Iterable[Cell], kernel: str = "6.1") -> list[Compared]:
    """The model's answer beside each recorded one, in their order.

    What lay beside the page was not recorded: in the model these are ordinary kernel pages.

    Cells whose reader the model does not have come out as such, with the reason.  Raises ValueError for an unknown
    kernel.
    """
    release_ = release(kernel)
    return [_compared(cell, release_) for cell in cells]


def _compared(cell: Cell, release_: Release) -> Compared:
    real = real_outcome(cell)
    names = SETS_OFF.get(cell.reader, ())
    peekers = of(release_.name)
    what_if = cell.scheme in DRESSINGS and DRESSINGS[cell.scheme].what_if
    if not names or any(name not in peekers for name in names):
        reason = f"this reader is not modelled for {release_.name}"
        return Compared(cell.scheme, cell.reader, real, "-", False, reason, what_if=what_if)
    visits = model_visits(cell, release_, names)
    model = model_outcome(cell.reader, visits)
    after = _after(cell, visits)
    agree = real == model and after is not False
    reason = "" if agree else why(cell, real, model, release_)
    return Compared(cell.scheme, cell.reader, real, model, agree, reason, after, what_if)


def model_visits(cell: Cell, release_: Release, peekers: tuple[str, ...]) -> list[Visit]:
    """Send readers to the cell's record, one after another; what they do there stays done."""
    base = cell.pfn & ~7
    memmap = Memmap(16, base_pfn=base, ram=(), release=release_)
    for pfn in memmap.pfns:
        plain_page(memmap, pfn, int.from_bytes(cell.before[:8], "little"))
    memmap.page(cell.pfn).raw = cell.before
    machine, visits = Machine(memmap), []
    for name in peekers:
        visits.append(of(release_.name)[name].visit(machine, cell.pfn))
        if not visits[-1].returned:
            break
    return visits


def _freed_beside(cell: Cell, release_: Release) -> str:
    """What happens in the model when the page's neighbour is given back."""
    return model_outcome("page_is_buddy0", model_visits(cell, release_, ("page_is_buddy0",)))


def real_outcome(cell: Cell) -> str:
    """What the kernel did, in the words of this module."""
    if cell.oops is not None:
        return "BUG" if cell.oops.address is None else f"oops at {cell.oops.address:#x}"
    if cell.reader in FILES:
        return "no answer" if cell.value is None else f"{cell.value:#x}"
    if cell.reader in FREES:
        reasons = [line.split(": ", 1)[1] for line in cell.log if line.startswith("page dumped because")]
        return f"bad page: {reasons[0]}" if reasons else "silent"
    if cell.reader == "offline_block" and cell.errno is None:
        return "loops"
    return errno_name(cell.errno)


def errno_name(number: int | None) -> str:
    """An errno as the kernel's people write it; 0 is ok."""
    if number is None:
        return "no answer"
    return ERRNO_NAMES.get(number, str(number)) if number else "ok"


def model_outcome(reader: str, visits: list[Visit]) -> str:
    """What the model's readers did, in the same words."""
    last = visits[-1]
    if last.oops is not None:
        return f"oops at {last.oops.address:#x}"
    if last.stuck is not None:
        return last.stuck.how
    if last.beyond:
        return f"goes on in {last.beyond}, where the model ends"
    if reader in FILES:
        return f"{last.value:#x}"
    if reader in FREES:
        return f"bad page: {last.facts['bad']}" if last.bad else "silent"
    return "ok" if reader.startswith("compact") or reader == "show_mem" else errno_name(-last.value)


def _after(cell: Cell, visits: list[Visit]) -> bool | None:
    """Whether the record is the same afterwards; None where it is the next owner's, or the kernel died."""
    freed = cell.reader in FREES and visits[-1].value == 0
    if cell.after is None or freed or not (visits[-1].returned or visits[-1].stuck):
        return None
    return visits[-1].machine.memmap.page(cell.pfn).raw == cell.after


NOT_REACHED = "not reached: the page lies high in its zone, and the scanners met before they came to it"
NEIGHBOUR = "its neighbour was given back meanwhile, and took it for a free page to merge with, as page_is_buddy0 here"
NO_NEIGHBOUR = "its neighbour was not given back meanwhile"
NEXT_OWNER = "freed without a word, as in the model; what follows is its next owner's doing, who trusts memcg_data"


def why(cell: Cell, real: str, model: str, release_: Release) -> str:
    """The reason for a difference, as far as it is known; else `open`."""
    if real == model:
        return "open: the record is left otherwise"
    if real == "BUG" and "page_is_buddy0" in of(release_.name) and _freed_beside(cell, release_) == "BUG":
        return NEIGHBOUR
    if cell.reader.startswith("compact") and real == "ok":
        if model == "BUG":
            return NO_NEIGHBOUR
        scanned = (cell.counters or {}).get("compact_migrate_scanned")
        if scanned < cell.pfn if scanned is not None else cell.reader == "compact":
            return NOT_REACHED
    if cell.reader == "free" and cell.scheme.startswith("memcg") and model == "silent" and real.startswith("oops"):
        return NEXT_OWNER
    return "open"


__all__ = ["DRESSINGS", "Cell", "Compared", "Dressing", "compare_cells"]
