"""Holding the model to recordings of the original C code.

`check(path)` reads one file, does what it says was done, and compares everything that the file tells: results, list
orders, digests, raw bytes.  `CHECKS` maps the format that a file names to the function that checks it.

    >>> check("tests/data/v12/01-tiny.jsonl").text
    'ok v12/01-tiny, 82 operations'
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .kernel import DATA, FILES, FORMAT, INDEX, load, releases
from .memmap import KernelOops
from .rows import FORMAT_VERSION, Difference, RecordingError, Row, count, digest, read_rows, read_text
from .struct_page import RECORD
from .timeline import Timeline
from .versions import Handle, StaleHandle
from .zbud import ZbudPool


@dataclass(frozen=True)
class Report:
    """What came of a check: `text` is one line if all agrees, else the first difference with both sides.

    `counts` is what was compared: what it is called, how much of it agrees, and how much of it there is.
    """

    ok: bool
    text: str
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False)


def check(path: str | Path) -> Report:
    """Hold the model to a file, or to the folder that a kernel was recorded in.

    Raises RecordingError for what is no recording that this kit can read.
    """
    path = Path(path)
    if (path / INDEX).is_file():
        path = path / INDEX
    return CHECKS[format_of(path)](path)


def shipped() -> list[Path]:
    """The recordings that come with the kit: those of the tests, in a checkout, and of the package's kernels."""
    traces = Path(__file__).parents[1] / "tests" / "data"
    files = [path for path in sorted(traces.rglob("*.json*")) if path.parent.name != "kernel"]
    return [*files, *(DATA / release for release in releases())]


def in_all(reports: Sequence[Report]) -> str:
    """What some checks came to, in lines; what is not counted in a recording that differs is not counted here.

    >>> print(in_all([Report(True, "", {"operations": (82, 82)}), Report(False, "", {"operations": (240, 241)})]))
    in all 2 recordings, 1 of them differs
        322 of 323 operations agree
    """
    differ = sum(not report.ok for report in reports)
    verb = "differs" if differ == 1 else "differ"
    whats = dict.fromkeys(what for report in reports for what in report.counts)
    lines = [f"in all {count(len(reports), 'recording')}" + f", {differ} of them {verb}" * bool(differ)]
    for what in whats:
        agree, total = map(sum, zip(*(report.counts[what] for report in reports if what in report.counts), strict=True))
        lines.append(f"    {agree:,} of {total:,} {what} agree")
    return "\n".join(lines)


def format_of(path: Path) -> str:
    """The format that a file names in its first object; RecordingError if it is none that this kit reads."""
    text = read_text(path)
    try:
        first = (
            json.loads(text) if path.name.removesuffix(".gz").endswith(".json") else json.loads(text.split("\n", 1)[0])
        )
    except (ValueError, RecursionError):
        raise RecordingError("it is not JSON: truncated, damaged, or no recording at all") from None
    if isinstance(first, dict) and {"rec", "out"} <= first.keys():  # these files name no format: each line is a row
        return "peeker vectors"
    header = first.get("header", first) if isinstance(first, dict) else {}
    name = header.get("format") if isinstance(header, dict) else None
    if not isinstance(name, str) or name not in CHECKS:
        raise RecordingError(f"its format is {name!r}; this kit reads {', '.join(CHECKS)}")
    return str(name)


def check_trace(path: Path) -> Report:
    """A trace of the original allocator, or one of our timelines: every row, in order."""
    rows = read_rows(path)
    header, operations = rows[0], sum(row[0] not in "#sS" for row in rows[1:])
    timeline = Timeline.empty(header)
    name = f"{header['version']}/{header['name']}" if "name" in header else path.name
    for line, row in enumerate(rows[1:], 2):
        try:
            timeline.replay(row, line)
        except Difference as difference:
            states = (r[2] for r in rows[line - 1 :] if r[0] == "S")
            return _differs(f"{name}, {difference}", states, timeline.pool)
    return Report(
        True, f"ok {name}, {operations} operations", {"operations of the allocators": (operations, operations)}
    )


def _differs(what: str, recorded: Iterator[Any], pool: ZbudPool) -> Report:
    """The first difference, and below it both states: the next that the file has, and the model's."""
    try:
        model = json.dumps(pool.state())
    except (KernelOops, RuntimeError) as error:  # damage that the timeline tells of
        model = f"its lists cannot be followed ({error})"
    return Report(False, "\n".join([
        f"DIFFERS {what}",
        f"    recorded, next full state: {json.dumps(next(recorded, 'no full state follows'))}",
        f"    the model, here:           {model}",
    ]))  # fmt: skip


def check_raw(path: Path) -> Report:
    """Raw records (or headers) of every page of a small arena after every step, also inside the evict callback."""
    try:
        document = json.loads(read_text(path))
        if (version := document["header"].get("format_version")) != FORMAT_VERSION:
            raise RecordingError(f"it is of format version {version}; this kit reads {FORMAT_VERSION}")
        return _RawRecords(document).run()
    except RecordingError:
        raise
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, MemoryError, KernelOops) as error:
        raise RecordingError(f"it is truncated or malformed: {type(error).__name__} {error}") from None


class _RawRecords:
    """One file of raw records, being replayed."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.header, self.steps = document["header"], list(document["steps"])
        h = self.header
        self.timeline = Timeline(h["version"], h["arena_pages"], self.evict, address=int(h["pool_address"], 16))
        self.timeline.header["evictor"] = "a recording"
        self.calls: list[Row] = []  # evict calls of the reclaim that is under way, still to come
        self.pages = range(h["arena_pages"])
        self.done = 0  # steps so far

    def run(self) -> Report:
        name, total = f"{self.header['version']}/{self.header['name']}", len(self.steps)
        pool = self.timeline.pool
        try:
            ours = {key: pool.offsets[key] for key in ("unbuddied", "buddied", "lru", "pages_nr")}
            theirs = {key: self.header["pool_offsets"][key] for key in ours}
            self.hold("offsets in struct zbud_pool", theirs, ours)
            while self.steps:
                self.perform()
        except (Difference, StaleHandle) as difference:
            where = "" if isinstance(difference, Difference) else f"step {self.done + 1}: "
            states = (step["state"] for step in self.steps if "state" in step)
            return _differs(f"{name}, {where}{difference}", states, pool)
        return Report(True, f"ok {name}, {total} steps", {"steps with the raw records": (total, total)})

    def hold(self, what: str, recorded: Any, got: Any) -> None:
        if recorded != got:
            raise Difference(self.done + 1, {what: recorded}, {what: got}, "step")

    def perform(self) -> None:
        """The next operation: its evict steps come before it in the file."""
        op: Row | None = next((step["op"] for step in self.steps if step["when"] == "after"), None)
        if op is None:
            raise RecordingError("it is truncated: the last evict call has no end")
        if op[0] != "init":
            self.timeline.evict = self.evict
            self.calls = list(op[-2]) if op[0] in ("r", "z") else []
            self.timeline.perform(op)
            self.hold("result", op, self.timeline.events[-1])
        self.compare()

    def evict(self, timeline: Timeline, handle: Handle) -> int:
        self.hold("evict is called for", self.steps[0]["op"], ["evict-call", handle.allocation])
        _, rc, freed = self.calls.pop(0)
        self.compare()
        marks = next(i for i, step in enumerate(self.steps) if step["op"][0] != "evict-freed")
        for i, k in enumerate(freed):  # the file has a step after each free, or one after the last
            timeline.free(timeline.handles[k])
            if i >= len(freed) - marks:
                self.compare()
        while self.steps[0]["op"][0] == "evict-freed":
            self.compare()
        return int(rc)

    def compare(self) -> None:
        """Hold all bytes to the next step."""
        step, pool = self.steps[0], self.timeline.pool
        m = pool.memmap
        self.hold("pages with a record", sorted(step["records"], key=int), [str(pfn) for pfn in self.pages])
        for pfn, raw in step["records"].items():
            ours = (
                m.page(int(pfn)).raw if self.header["format"] == "zbud-structpage" else m.frame_bytes(int(pfn))[:RECORD]
            )
            self.hold(f"the 64 bytes of page {pfn} after {step['op']}", raw, bytes(ours).hex())
        heads = {f"unbuddied[{i}]": pool.unbuddied(i) for i in range(pool.lists)}
        heads |= {"buddied": pool.buddied, "lru": pool.lru}
        if pool.version.shared_list_0:  # named buddied only, as in the states
            del heads["unbuddied[0]"]
        links = {name: [f"{m.load(at):#x}", f"{m.load(at + 8):#x}"] for name, at in heads.items() if m.load(at) != at}
        self.hold("list heads", step["pool_heads"], links)
        if "state" in step:
            self.hold("state", step["state"], pool.state())
            self.hold("digest", step["digest"], digest(pool.state()))
        del self.steps[0]
        self.done += 1


def check_peekers(path: Path) -> Report:
    """What the original functions that read the memmap did with given records."""
    from .peekers.vectors import check_vectors

    report = check_vectors(path)
    agree, differ = report.agree.total(), report.differ.total()
    counts = {"answers of 3.10's readers": (agree, agree + differ)}
    return Report(report.ok, report.text if report.ok else f"DIFFERS {report.text}", counts)


def check_kernel(path: Path) -> Report:
    """What a running kernel said of every page, and what its readers did with dressed ones."""
    from .dressings import compare_cells
    from .witness import compare_pfns

    recording = load(path.parent)
    files = [compare_pfns(recording, file) for file in FILES]
    texts = [str(file) for file in files]
    asked = [cell for cell in compare_cells(recording.cells, recording.release) if cell.modelled]
    agree = sum(cell.agree for cell in asked)
    texts.append(f"dressed pages: {agree} of {len(asked)} answers agree")
    otherwise = [f"    otherwise: {cell}" for cell in asked if not cell.agree]
    ok = not any(file.differ for file in files)
    counts = {
        "answers of running kernels about their pages": (sum(f.agree for f in files), sum(f.pages for f in files)),
        "of their answers to dressed pages": (agree, len(asked)),
    }
    text = "\n".join([f"{'ok' if ok else 'DIFFERS'} Linux {recording.release}, {'; '.join(texts)}", *otherwise])
    return Report(ok, text, counts)


CHECKS: dict[str, Callable[[Path], Report]] = {
    "zbud-trace": check_trace,
    "zbud-timeline": check_trace,
    "zbud-structpage": check_raw,
    "zbud-header": check_raw,
    "peeker vectors": check_peekers,
    FORMAT: check_kernel,
}
