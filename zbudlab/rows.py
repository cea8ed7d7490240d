"""The notation of events: rows of JSON, their words, their digests, and the files they stand in.

    ["a", size, err, page, offset, slot, pages_nr]   alloc; ["h", ...] the same with __GFP_HIGHMEM
    ["f", k, pages_nr]                               free allocation k; if it oopsed: ["f", k, oops, pages_nr]
    ["r", retries, err, calls, pages_nr]             reclaim; calls are [k, rc, freed] or [k, rc, freed, rows]
    ["z", pages, err, reclaimed, calls, pages_nr]    shrink (linux-5.14)
    ["#", text]                                      a remark
    ["s", digest], ["S", digest, state]              what the lists must be at this point

are the recordings' (conformance README).  Ours, in addition:

    ["w", k, offset, hex]                            bytes written through map
    ["b", address, hex]                              bytes written at a kernel address
    ["u", address, outcome, pages_nr]                an unchecked free
    ["d", checked, err]                              destroy
    ["p", reader, pfn, outcome]                      a reader's visit to a page
    ["q", reader, pfn, pause, rows, outcome]         the same, interrupted at a pause by what rows say
    ["k", kind, order, pfn]                          2**order pages taken and dressed as others' (pfn: or why not)

An outcome is {"value": what was returned}, or {"oops": ...}, {"stuck": ...}, {"beyond": ...} in words.

Where an operation came upon damage, its err is the oops in words; where an evict callback raised instead of returning,
its rc is the errno name, the oops, or the name of the exception, and so is the err of the row.

A file is JSON Lines, plain or gzip: a header, then the rows.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from .struct_page import CHUNK

FORMAT, FORMAT_VERSION = "zbud-timeline", 1
LENGTHS = {"a": (7,), "h": (7,), "f": (3, 4), "r": (5,), "z": (6,), "#": (2,), "s": (2,), "S": (3,)} | {
    "w": (4,),
    "b": (3,),
    "u": (4,),
    "d": (3,),
    "p": (4,),
    "q": (6,),
    "k": (4,),
}  # of each kind of row
Row = list[Any]


class RecordingError(ValueError):
    """A file that is no recording we can read: unreadable, truncated, or of an unknown format."""


class Difference(AssertionError):
    """The model did something else than the recording says: `line` counts from 1, the header being line 1."""

    def __init__(self, line: int, recorded: Any, got: Any, unit: str = "line") -> None:
        super().__init__(f"{unit} {line}: the recording says {json.dumps(recorded)}, the model {json.dumps(got)}")
        self.line, self.recorded, self.got = line, recorded, got


def digest(state: dict[str, Any]) -> str:
    """The recordings' 16 hex digits for a pool's state (`ZbudPool.state`).

    >>> digest({"unbuddied": {}, "buddied": [], "lru": [], "pages": {}, "pages_nr": 0})
    'f4acbe59c068362a'
    """

    def numbered(part: dict[str, Any]) -> list[tuple[str, Any]]:
        return sorted(part.items(), key=lambda item: int(item[0]))

    text = "".join(f"u{i}:{','.join(map(str, pages))};" for i, pages in numbered(state["unbuddied"]))
    text += f"b:{','.join(map(str, state['buddied']))};l:{','.join(map(str, state['lru']))};"
    text += "".join(f"p{pfn}:{first}/{last};" for pfn, (first, last) in numbered(state["pages"]))
    return hashlib.sha256(f"{text}n:{state['pages_nr']}".encode()).hexdigest()[:16]


def count(n: int, thing: str) -> str:
    """
    >>> count(1, "page"), count(2000, "page")
    ('1 page', '2,000 pages')
    """
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


class Caption(NamedTuple):
    """An event in words: the verb, what it was done to, what came of it."""

    verb: str
    what: str
    came: str

    def __str__(self) -> str:
        return f"{self.verb} {self.what}: {self.came}" if self.came else f"{self.verb} {self.what}".rstrip()


def caption(row: Row, pages_before: int = 0) -> Caption:
    """A row in words; `pages_before` is the pool's page count before it (to tell a new page from a shared one).

    >>> print(caption(["a", 2620, "OK", 9, 64, "FIRST", 10], 9))
    alloc 2,620 B = 41 chunks: p9 FIRST, a new page
    >>> print(caption(["a", 4097, "E2BIG", None, None, None, 3]))
    alloc 4,097 B: refused, E2BIG
    """
    kind = row[0]
    if kind in "ah":
        size, err, pfn, _, slot, pages = row[1:]
        if err != "OK":
            came = f"refused, {err}" if err.isupper() else err  # an errno, or an oops in words
            return Caption("alloc", f"{size:,} B" + (" of highmem" if kind == "h" else ""), came)
        new = ", a new page" if pages > pages_before else ""
        return Caption("alloc", f"{size:,} B = {count(-(-size // CHUNK), 'chunk')}", f"p{pfn} {slot}{new}")
    if kind == "f":
        came = row[2] if len(row) > 3 else "its page goes back too" if row[2] < pages_before else ""
        return Caption("free", f"allocation {row[1]}", came)
    if kind in "rz":
        offered, granted = len(row[-2]), sum(call[1] == 0 for call in row[-2])
        freed = sum(len(call[2]) for call in row[-2])
        agreed = f"{granted} agreed to, " if granted != freed else ""
        came = f"{offered} offered, {agreed}{freed} evicted, {count(pages_before - row[-1], 'page')} given back"
        return Caption(
            "reclaim" if kind == "r" else "shrink",
            f"in at most {row[1]} tries" if kind == "r" else f"{row[1]} pages",
            f"{row[2]}; {came}",
        )
    if kind in "pq":
        return Caption(row[1], f"at p{row[2]}" + (_meanwhile(row) if kind == "q" else ""), returned(row[-1]))
    words = {
        "w": lambda: Caption("write", f"{len(row[3]) // 2} bytes to allocation {row[1]}", f"at byte {row[2]}"),
        "b": lambda: Caption("poke", f"{len(row[2]) // 2} bytes", f"at {row[1]}"),
        "u": lambda: Caption("free, unchecked", row[1], row[2]),
        "d": lambda: Caption("destroy", "the pool" if row[1] else "the pool, unchecked", row[2]),
        "k": lambda: Caption("dress", *_dressed(*row[1:])),
        "#": lambda: Caption("remark", row[1], ""),
    }
    return words.get(kind, lambda: Caption("state", row[1], ""))()


def _meanwhile(row: Row) -> str:
    done = ", then ".join(str(caption(inner)) for inner in row[4])
    return f", at pause {row[3]} meanwhile {done or 'nothing'}"


def _dressed(kind: str, order: int, pfn: int | str) -> tuple[str, str]:
    if isinstance(pfn, str):
        return f"{count(1 << order, 'page')} as {kind}", pfn
    return f"p{pfn}" + (f" to p{pfn + (1 << order) - 1}" if order else "") + f" as {kind}", ""


def returned(outcome: dict[str, Any]) -> str:
    """What came of a visit, in words.

    >>> returned({"value": -16}), returned({"beyond": "shrink_slab"})
    ('returned -16', 'goes on beyond the model, in shrink_slab')
    """
    ((how, what),) = outcome.items()
    if how == "value":
        return f"returned {what:#x}" if isinstance(what, int) and what >> 16 > 0 else f"returned {what}"
    return f"goes on beyond the model, in {what}" if how == "beyond" else str(what)


def fault(row: Row) -> str:
    """The oops, in words, that an event ended in (or something done inside it); empty if it did not."""
    if row[0] == "#":
        return ""
    for part in row[1:]:
        if isinstance(part, dict):  # what came of a visit
            part = str(part.get("oops", part.get("stuck", "")))
            if part:
                return part
        if isinstance(part, str) and " at 0x" in part:
            return part
        if isinstance(part, list):
            inside = next(filter(None, (fault(inner) for inner in part if isinstance(inner, list) and inner)), "")
            if inside:
                return inside
    return ""


def pages_after(row: Row) -> int | None:
    """How many pages the pool had after an event, if its row tells."""
    if row[0] == "q":
        return next((n for n in map(pages_after, reversed(row[4])) if n is not None), None)
    return int(row[-1]) if row[0] in "ahfruz" else None


def read_rows(path: str | Path) -> list[Any]:
    """The header and the rows of a timeline or trace file, plain or gzip, each a JSON value.

    Raises RecordingError: one sentence that names what is wrong and where.
    """
    rows = parse_lines(read_text(path))
    header = rows[0] if rows else None
    if not isinstance(header, dict) or header.get("format") not in (FORMAT, "zbud-trace"):
        raise RecordingError(
            f"it is no timeline and no trace: the first line must be a header of {FORMAT} or zbud-trace"
        )
    if header.get("format_version") != FORMAT_VERSION:
        raise RecordingError(f"it is of format version {header.get('format_version')}; this kit reads {FORMAT_VERSION}")
    for line, row in enumerate(rows[1:], 2):
        kind = row[0] if isinstance(row, list) and row else None
        if not isinstance(kind, str) or len(row) not in LENGTHS.get(kind, ()):
            raise RecordingError(f"line {line} is no row that this kit knows: {json.dumps(row)[:60]}")
    expected, found = header.get("ops"), sum(row[0] not in "#sS" for row in rows[1:])
    if expected is not None and expected != found:
        raise RecordingError(f"it is truncated: the header promises {expected} operations, {found} are there")
    if expected is not None and (len(rows) < 2 or rows[-1][0] != "S"):  # conformance README: the last row always is
        raise RecordingError("it is truncated: a trace ends with a full state, and this one does not")
    return rows


def read_text(path: str | Path) -> str:
    """The text of a file, plain or gzip.  Raises RecordingError: one sentence that says what is wrong."""
    try:
        raw = Path(path).read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except OSError as error:
        raise RecordingError(f"it cannot be read: {error.strerror or error}") from None
    except (EOFError, zlib.error, UnicodeDecodeError):
        raise RecordingError("it is truncated or damaged: it does not decompress to text") from None


def parse_lines(text: str) -> list[Any]:
    """JSON Lines as values.  Raises RecordingError naming the first line that is none."""
    rows = []
    for line, part in enumerate(text.removesuffix("\n").split("\n"), 1):  # splitlines would also cut at U+2028
        try:
            rows.append(json.loads(part))
        except (ValueError, RecursionError):
            raise RecordingError(f"line {line} is not JSON: the file is truncated or damaged") from None
    return rows
