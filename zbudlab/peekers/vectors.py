"""Holding the peekers to recordings of the kernel's own functions.

Each row of a recording is an image of memory, and for every reader what it did there: what it returned, or why it did
not; what it wrote, in order; which other records changed; what it logged and called.  All of that is compared.  Where
both lead into the kernel's own data, which neither the image nor the model has, that is counted as out of scope, by
the kernel function that goes on there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..rows import RecordingError, read_text
from ..struct_page import RECORD
from . import PEEKERS
from .image import PFNS, Image
from .record import M64
from .report import FREE, LEFT_OUT, show_mem_counts
from .rules import Peeker, Visit

PATIENCE = 1 << 29  # so many pages at once were too many for the recordings: they say that makedumpfile loops
KERNEL_DATA = "0xffffffff81f00000"  # stands in the recordings for any address in the kernel's own data
AGREES, DIFFERS, BEYOND, UNKNOWN = "agrees", "differs", "beyond", "unknown"


class Compared(NamedTuple):
    """One reader at one row: how it compares, and what the recording and the model say (`got` may be a call's name)."""

    peeker: str
    how: str
    recorded: Any
    got: Any


@dataclass
class VectorReport:
    """What came of a check, counted by peeker.

    `agree` and `differ` count comparisons; `beyond` counts, by peeker and kernel function, those whose way leads out of
    the model; `unknown` counts what is recorded of peekers that this kit does not have.  `text` is one line if all
    agrees, else the first difference with both sides.
    """

    name: str
    rows: int = 0
    agree: Counter[str] = field(default_factory=Counter)
    differ: Counter[str] = field(default_factory=Counter)
    beyond: Counter[tuple[str, str]] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    first: str = ""

    @property
    def ok(self) -> bool:
        return not self.differ

    @property
    def text(self) -> str:
        if self.first:
            return self.first
        parts = [f"{self.rows:,} rows", f"{self.agree.total():,} comparisons"]
        if self.beyond:
            calls = sorted({call for _, call in self.beyond})
            parts.append(f"{self.beyond.total()} out of scope (they go on in {', '.join(calls)})")
        if self.unknown:
            parts.append(f"{self.unknown.total()} of readers not known here ({', '.join(sorted(self.unknown))})")
        return f"ok {self.name}, {', '.join(parts)}"

    def count(self, row: str, c: Compared) -> None:
        if c.how == BEYOND:
            self.beyond[c.peeker, c.got] += 1
            return
        {AGREES: self.agree, DIFFERS: self.differ, UNKNOWN: self.unknown}[c.how][c.peeker] += 1
        if c.how == DIFFERS and not self.first:
            said, got = json.dumps(c.recorded), json.dumps(c.got)
            self.first = f"{self.name}, row {row}, {c.peeker}: the recording says {said}, the model {got}"


def check_vectors(
    path: str | Path, peekers: Mapping[str, Peeker] = PEEKERS, *, stop_at_first: bool = False
) -> VectorReport:
    """Hold `peekers` to a file of vectors.  Raises RecordingError for a file that is none."""
    path = Path(path)
    report, image = VectorReport(path.name.removesuffix(".gz").removesuffix(".jsonl")), Image()
    for row in read_vectors(path):
        report.rows += 1
        for compared in compare(image, row, peekers):
            report.count(row["id"], compared)
            if stop_at_first and report.first:
                return report
    return report


def read_vectors(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file; RecordingError for a row that is none."""
    for n, line in enumerate(read_text(path).splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not is_vector(row):
            raise RecordingError(f"line {n} is no row of peeker vectors")
        yield row


def is_vector(row: Any) -> bool:
    """Whether an object looks like a row of a file that `check_vectors` reads."""
    if not isinstance(row, dict) or not {"id", "pfn", "rec", "out"} <= row.keys():
        return False
    try:
        pfns = [int(pfn, 16) for pfn in row["rec"]]
        lengths = [len(bytes.fromhex(record)) for record in row["rec"].values()]
        return int(row["pfn"], 16) in pfns and all(pfn in PFNS for pfn in pfns) and set(lengths) == {RECORD}
    except (ValueError, TypeError, AttributeError):
        return False


def compare(image: Image, row: Mapping[str, Any], peekers: Mapping[str, Peeker]) -> Iterator[Compared]:
    """Send every reader that the row tells of to its page."""
    pfn, record = int(row["pfn"], 16), bytes.fromhex(row["rec"][row["pfn"]])
    recorded = {**row["out"], **{f"dump{level}": said for level, said in row.get("dump", {}).items()}}
    with image.row(row):
        for name, said in recorded.items():
            if name not in peekers:
                yield Compared(name, UNKNOWN, said, None)
                continue
            with image.scene(name, pfn, row["rec"]):
                visit = peekers[name].visit(image.machine, pfn, **options(name, row))
                got = outcome(visit)
            want = plain(said)
            if visit.beyond and want.get("a") == KERNEL_DATA:  # there the recording ends, too
                yield Compared(name, BEYOND, said, visit.beyond)
                continue
            if "np" not in want:
                got.pop("np", None)
            yield Compared(name, AGREES if same(want, got, record) else DIFFERS, want, got)


def options(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader is told besides the page: for the race, which list nodes are unlinked when."""
    if name != "race":
        return {}
    note = row["note"]
    keys = {"in_window": "unlink_in_window", "after": "unlink_after"}
    return {ours: int(note[theirs], 16) for ours, theirs in keys.items() if note[theirs]}


# ---------------------------------------------------------------------- an outcome, in the recordings' words


def plain(said: Any) -> dict[str, Any]:
    """A recorded outcome as an object, its numbers as numbers."""
    want = dict(said) if isinstance(said, dict) else {"r": said}
    if isinstance(want.get("r"), str) and want["r"].startswith("0x"):
        want["r"] = int(want["r"], 16)
    return want


def outcome(visit: Visit) -> dict[str, Any]:
    """What a visit came to; what it did is undone."""
    got = _ending(visit)
    machine, mine = visit.machine, visit.page.address
    written = [[a - mine, size, hex(new)] for a, size, _, new in visit.writes if mine <= a < mine + RECORD]
    others = {row for a, *_ in visit.writes if (row := machine.row(a & ~(RECORD - 1))) >= 0} - {machine.row(mine)}
    after = {row: machine.memmap.page(PFNS[row]).raw for row in sorted(others)}
    got["np"] = machine.poisoned
    visit.undo()
    changed = {hex(PFNS[row]): raw.hex() for row, raw in after.items() if machine.memmap.page(PFNS[row]).raw != raw}
    if changed:
        got["ch"] = changed if len(changed) <= 8 else dict(list(changed.items())[:4])
    if len(changed) > 8:
        got["ch_n"] = len(changed)
    texts = [line.replace(f"{visit.pfn:#x}", "PFN").replace(f"{visit.pfn:x}", "PFN") for line in visit.messages]
    found = {"wr": written, "bad": visit.bad, "ev": [list(event) for event in visit.events], "msg": texts}
    return got | {key: value for key, value in found.items() if value}


def _ending(visit: Visit) -> dict[str, Any]:
    """Value, or why there is none."""
    if visit.oops is not None:
        jump = visit.oops.access == "execute"
        rw = {} if jump else {"rw": visit.oops.access[0]}
        return {"o": "oops-exec" if jump else "oops", "a": hex(visit.oops.address), **rw}
    if visit.stuck is not None:
        more = {"bit": visit.stuck.bit, "a": visit.stuck.address and hex(visit.stuck.address)}
        return {"o": visit.stuck.how} | {key: value for key, value in more.items() if value is not None}
    ours = {"taken": "n", "memory_failure": "mf"}
    kept = {theirs: visit.facts[name] for name, theirs in ours.items() if name in visit.facts}
    return {"beyond": visit.beyond} if visit.beyond else {"r": _value(visit)} | kept


def _value(visit: Visit) -> Any:
    """The value as the recordings write it."""
    name, value = visit.peeker.name, visit.value
    if name == "show_mem":
        return list(show_mem_counts(value))
    if not name.startswith("dump"):
        return value
    if value != FREE:
        return LEFT_OUT[value]
    pages = visit.facts["pages"]
    return "loops" if pages >= PATIENCE else f"free:{min(pages, PFNS.stop - visit.pfn)}"


def same(want: dict[str, Any], got: dict[str, Any], record: bytes) -> bool:
    """Whether two outcomes are the same, the writes byte by byte."""
    if want.get("r", got.get("r")) != got.get("r") or want.get("o") != got.get("o"):
        return False
    keys = (want.keys() | got.keys()) - {"r", "wr"}
    if any(want.get(key) != got.get(key) for key in keys):
        return False
    ours, theirs = got.get("wr", []), want.get("wr", [])
    return bool(ours == theirs) or histories(ours, record) == histories(theirs, record)


def histories(writes: list[list[Any]], record: bytes) -> dict[int, list[int]]:
    """What each byte of a record was, one after another.

    Two sequences of writes with equal histories differ only in how writes were cut, or in the order of writes to
    different bytes, which is the compiler's choice.
    """
    found: dict[int, list[int]] = {}
    for offset, size, value in writes:
        for at, byte in enumerate((int(value, 16) & M64).to_bytes(8, "little")[:size], offset):
            past = found.setdefault(at, [record[at]])
            if past[-1] != byte:
                past.append(byte)
    return {at: past for at, past in found.items() if len(past) > 1}
