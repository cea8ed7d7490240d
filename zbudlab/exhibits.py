"""What recorded kernels have to show: exhibits, one call each, and each counted anew on the recording.

    >>> found = counts("6.1")
    >>> found.facts["pages on the pool's own lists"] == found.facts["pages with a live handle"]
    True
    >>> anonymous_as_ksm("6.12")
    Anonymous pages that are reported as KSM's, Linux 6.12
      anonymous, says /proc/kpageflags ...

Each takes what `kernel.load` takes, or a recording.  Where the recording lacks what an exhibit needs, the exhibit is
false and says so in one sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .dressings import errno_name, real_outcome
from .kernel import Cell, Recording, load
from .peekers.linux_6_1.report import KPF
from .peekers.report import kpf_names
from .struct_page import PAGE_SIZE, RECORD, s32

What = Recording | str | Path
Fact = int | str
ZSWAP = "sys-kernel-debug-zswap-"
STALE = 2  # in lru.next: the page came from the reserves (set_page_pfmemalloc, include/linux/mm.h, Linux 6.1)
CHUNKS_IN_MAPPING = {"chunks_even": 4, "chunks_odd": 5, "chunks_movable": 6, "chunks_ksm": 7}  # first_chunks
BEFORE_KPAGECOUNT = ("plain", "v12", "v12_odd", "v12_movable", "v12_ksm", "v12_reserved", "v12_slab")


@dataclass(frozen=True)
class Exhibit:
    """Facts by their names, in order; `pfns` are pages worth a look; `why` is empty, or says why there is nothing."""

    title: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    pfns: tuple[int, ...] = ()
    why: str = ""

    def __bool__(self) -> bool:
        return not self.why

    def __str__(self) -> str:
        if self.why:
            return f"{self.title}: {self.why}"
        width = max(map(len, self.facts))
        lines = [self.title]
        for name, fact in self.facts.items():
            first, *more = (f"{fact:,}" if isinstance(fact, int) else fact).splitlines()
            lines += [f"  {name:{width}}  {first}", *(f"  {'':{width}}  {line}" for line in more)]
        return "\n".join(lines)

    __repr__ = __str__


def counts(what: What = "6.1") -> Exhibit:
    """zbud's pages, and the objects in them, each counted by three witnesses who do not know of each other."""
    r = _recording(what)
    title = f"Three counts of zbud's pages, and three of its objects, Linux {r.release}"
    total, stored = _figure(r, "pool_total_size"), _figure(r, "stored_pages")
    if total is None or stored is None:
        return Exhibit(title, why="this recording has no figures of zswap.")
    where = {m["name"]: m["offset"] for m in r.facts["structs"]["zbud_header"]["members"]}
    slots = (where["first_chunks"], where["last_chunks"])
    pages = {
        "pages on the pool's own lists": len(r.zbud_pfns),
        f"zswap's pool_total_size / {PAGE_SIZE}": total // PAGE_SIZE,
        "pages with a live handle": sum(map(bool, r.alive)),
    }
    objects = {
        "chunk counts above 0 in the headers": sum(any(h[at : at + 4]) for h in r.headers.values() for at in slots),
        "zswap's stored_pages, less same_filled_pages": stored - (_figure(r, "same_filled_pages") or 0),
        "live handles": sum(map(int.bit_count, r.alive)),
    }
    agree = len(set(pages.values())) == len(set(objects.values())) == 1
    return Exhibit(title, {**pages, **objects, "do they agree": "exactly" if agree else "no"})


def twins(what: What = "6.1") -> Exhibit:
    """Pages that are not zbud's, and have the very 64 bytes of one that is; `pfns`: one of zbud's, and one such."""
    r = _recording(what)
    title = f"Records that zbud's pages share with others, Linux {r.release}"
    mine, others = set(r.zbud_pfns), Counter[bytes]()
    faces = {r.record(pfn): pfn for pfn in reversed(r.zbud_pfns)}
    alike = [pfn for pfn in r.pfns if pfn not in mine and r.record(pfn) in faces]
    if not alike:
        return Exhibit(title, why="in this recording no other page has the record of a zbud page.")
    others.update(r.record(pfn) for pfn in alike)
    face = others.most_common(1)[0][0]
    pair = (faces[face], next(pfn for pfn in alike if r.record(pfn) == face))
    facts: dict[str, Fact] = {
        "zbud's pages": len(mine),
        "others with the very 64 bytes of one of them": len(alike),
        "of all these, kpageflags says": _says(r, [*mine, *alike]),
        "the record that most others share": _words(face),
        "  zbud's pages with it": sum(r.record(pfn) == face for pfn in mine),
        "  others with it": others[face],
        "  the first of each": f"{pair[0]:#x} is zbud's, {pair[1]:#x} is not",
    }
    return Exhibit(title, facts, pair)


def stale_lru_next(what: What = "6.1") -> Exhibit:
    """zbud pages in whose lru.next the page allocator's note still stands that they came from the reserves."""
    r = _recording(what)
    title = f"What is in lru.next of zbud's pages, Linux {r.release}"
    at = r.layout["lru.next"].offset
    noted = {pfn: int.from_bytes(r.record(pfn)[at : at + 8], "little") for pfn in r.zbud_pfns}
    pfns = tuple(pfn for pfn, value in noted.items() if value == STALE)
    if not pfns:
        return Exhibit(title, why=f"in this recording it is {STALE} in none of them.")
    facts: dict[str, Fact] = {f"{value:#x}": n for value, n in sorted(Counter(noted.values()).items())}
    return Exhibit(title, facts, pfns)


def mappings(what: What = "6.1") -> Exhibit:
    """What /proc/kpagecount said of pages that wear v12's overlay, field by field, and where the number is from."""
    r = _recording(what)
    title = f"How often a page is mapped, says /proc/kpagecount of Linux {r.release} (v12 is a what-if there)"
    cells = {c.scheme: c for c in r.cells if c.reader == "kpagecount" and c.value is not None}
    if "v12" not in cells:
        return Exhibit(title, why="this recording has no answer of kpagecount to a page dressed as v12 did.")
    facts = {name: _mapped(r, cells[name]) for name in BEFORE_KPAGECOUNT if name in cells}
    return Exhibit(title, facts, (cells["v12"].pfn,))


def first_chunks_modulo_4(what: What = "6.1") -> Exhibit:
    """Chunk counts left in `mapping`, first_chunks 4 to 7: what each reader did, where it is not always the same."""
    r = _recording(what)
    title = f"first_chunks 4, 5, 6 and 7 in mapping, before readers of Linux {r.release} (a what-if)"
    came: dict[str, dict[int, Cell]] = {}
    for c in r.cells:
        if c.scheme in CHUNKS_IN_MAPPING:
            came.setdefault(c.reader, {})[CHUNKS_IN_MAPPING[c.scheme]] = c
    asked = {reader: cells for reader, cells in came.items() if len(cells) == len(CHUNKS_IN_MAPPING)}
    missed = [reader for reader, cells in asked.items() if any(c.met is False for c in cells.values())]
    facts: dict[str, Fact] = {}
    same: list[str] = []
    for reader, cells in asked.items():
        did: dict[str, list[int]] = {}
        for first in sorted(cells):
            did.setdefault(_did(cells[first]), []).append(first)
        if len(did) > 1:
            facts[reader] = "; ".join(f"{', '.join(map(str, firsts))}: {words}" for words, firsts in did.items())
        elif reader not in missed:
            same.append(reader)
    if not facts:
        return Exhibit(title, why="this recording has no reader that came to all four of them and told them apart.")
    facts["the same to all four"] = ", ".join(same) or "no reader"
    return Exhibit(title, facts | ({"did not come to the page": ", ".join(missed)} if missed else {}))


def stopped_an_offline(what: What = "6.1") -> Exhibit:
    """The boot in which readers came to live zbud pages, one of which stopped a memory block from going offline."""
    r = _recording(what)
    title = f"Readers before live pages of zbud, another boot of Linux {r.release}"
    story = r.exhibits.get("real_pages") or {}
    stopped, log = story.get("stopped_the_offline"), story.get("log", [])
    if not stopped:
        return Exhibit(title, why="this recording does not tell of a page that stopped a memory offline.")
    facts = dict(_story(log))
    raw = [word for line in log if line.startswith("raw: ") for word in line.split()[1:]]
    record = b"".join(int(word, 16).to_bytes(8, "little") for word in raw)
    alike = sum(r.record(pfn) == record for pfn in r.zbud_pfns)
    whose = "on the lists of zbud's pool" if stopped["zbud"] else "not zbud's"
    facts["the page that stopped the offline"] = f"{stopped['pfn']:#x}, {whose}"
    facts["its record, as the kernel printed it"] = _words(record)
    facts["zbud pages of the recorded memmap that have it"] = alike
    return Exhibit(title, facts, (stopped["pfn"],))


def anonymous_as_ksm(what: What = "6.12") -> Exhibit:
    """Anonymous pages that /proc/kpageflags reports as merged by KSM, and what their records say."""
    r = _recording(what)
    title = f"Anonymous pages that are reported as KSM's, Linux {r.release}"
    anonymous = tuple(pfn for pfn in r.pfns if r.kpageflags[pfn] >> KPF["ANON"] & 1)
    if not anonymous:
        return Exhibit(title, why="in this recording no page is anonymous.")
    memmap = r.memmap()
    slabs = {pfn for pfn in anonymous if r.kpageflags[pfn] >> KPF["SLAB"] & 1}
    merged = sum(memmap.page(pfn).head()["mapping"] & 3 == 3 for pfn in anonymous if pfn not in slabs)
    facts: dict[str, Fact] = {
        "anonymous, says /proc/kpageflags": len(anonymous),
        "of these KSM's, says the same file": sum(r.kpageflags[pfn] >> KPF["KSM"] & 1 for pfn in anonymous),
        "of these slab's, whose word there is no mapping": len(slabs),
        "of the others, with both low bits of mapping set": merged,
    }
    return Exhibit(title, facts, anonymous)


def _recording(what: What) -> Recording:
    return what if isinstance(what, Recording) else load(what)


def _figure(r: Recording, name: str) -> int | None:
    """A number that zswap keeps, None if it was not recorded."""
    text = r.figures.get(ZSWAP + name)
    return int(text) if text else None


def _says(r: Recording, pfns: Iterable[int]) -> str:
    """What kpageflags says of some pages, in few words."""
    said = Counter(" ".join(kpf_names(r.kpageflags[pfn], KPF)) or "nothing" for pfn in pfns)
    return ", ".join(f"{words} ({n:,})" if len(said) > 1 else words for words, n in said.most_common())


def _words(record: bytes) -> str:
    """64 bytes as two lines of four words."""
    words = [f"{int.from_bytes(record[i : i + 8], 'little'):016x}" for i in range(0, RECORD, 8)]
    return "\n".join((" ".join(words[:4]), " ".join(words[4:])))


def _mapped(r: Recording, cell: Cell) -> str:
    at = r.layout["_mapcount"].offset
    low, high = (int.from_bytes(cell.before[i : i + 4], "little") for i in (at, at + 4))
    said = f"{cell.value:,}"
    if s32(low) == -1:
        return said
    return f"{said}; the word there is {high:#010x}{low:08x}, and its lower half + 1 is {s32(low) + 1:,}"


def _did(cell: Cell) -> str:
    """What the kernel did, without the numbers that are different in each boot."""
    if cell.oops:
        return f"{real_outcome(cell)}, in {cell.oops.function}"
    if cell.reader == "kpageflags" and cell.value:
        return ", ".join(kpf_names(cell.value, KPF))
    return real_outcome(cell)


def _story(log: Iterable[str]) -> Iterable[tuple[str, Fact]]:
    """What was tried, in order, and what became of each page that was looked at: its last kpageflags."""
    last: dict[str, int] = {}
    tried: dict[str, str] = {}
    for line in log:
        if match := re.match(r"fieldlab: TRY ([\w ]+?)(?: (\d+))?: (?:errno (\d+)|ok)$", line):
            what, pfn, errno = match.groups()
            yield what, errno_name(int(errno or 0))
            if pfn and what.endswith("_offline"):
                tried[pfn] = what
        elif match := re.match(r"fieldlab: PAGE (\d+) kpageflags (0x\w+)", line):
            last[match[1]] = int(match[2], 16)
    for pfn, what in tried.items():
        if pfn in last:
            yield f"in the end, the page of {what} is", ", ".join(kpf_names(last[pfn], KPF)) or "in use"


__all__ = [
    "Exhibit",
    "anonymous_as_ksm",
    "counts",
    "first_chunks_modulo_4",
    "mappings",
    "stale_lru_next",
    "stopped_an_offline",
    "twins",
]
