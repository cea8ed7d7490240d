"""A whole memmap at a glance: one class byte for each page, as a reader sees it and in truth.

>>> from zbudlab.demonstrate.recogniser import mixed
>>> found = survey(mixed("overlay-v12"))
>>> list(found.maps), [found.counts(name)["Z"] for name in found.maps]
(['as kpageflags sees it', 'in truth'], [0, 16])
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..kernel import Recording
from ..memmap import Memmap
from ..peekers import of
from ..peekers.report import BUFFERS, KPF, RESERVED, SHARED, SLABS
from ..struct_page import RECORD
from ..words import LETTERS
from ..zbud import ZbudPool
from .palette import TAGS

LOOK_ALIKE = "?"
CLASSES = ("", *TAGS, LOOK_ALIKE)  # a class byte is an index into these letters; 0 is blank
CALLED = {"": "blank", **TAGS, LOOK_ALIKE: "look-alike"}


@dataclass(frozen=True)
class Sample:
    """One page to look at: what it is in `words`, its 64 bytes, and (first, last, header) chunks of a zbud page."""

    pfn: int
    words: str
    record: bytes
    chunks: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Survey:
    """One or two maps of the same pages: name to one class byte a page, an index into CLASSES.

    `about` is a line on where they come from, `note` what is to be said of them besides; `look(pfn)` gives samples of a
    page and of what it can be taken for.
    Raises ValueError for no map or more than two, for maps of unequal length or without pages, for unknown classes.
    """

    maps: Mapping[str, bytes]
    base_pfn: int = 0
    about: str = ""
    look: Callable[[int], Sequence[Sample]] | None = None
    note: str = ""
    _counted: dict[str, Counter[str]] = field(init=False, default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        sizes = {len(classes) for classes in self.maps.values()}
        if not 1 <= len(self.maps) <= 2 or len(sizes) != 1 or sizes == {0}:
            told = ", ".join(f"{len(classes):,}" for classes in self.maps.values()) or "none"
            raise ValueError(f"a survey has one map, or two of the same pages, at least one; given: {told}")
        worst = max(max(classes) for classes in self.maps.values())
        if worst >= len(CLASSES):
            raise ValueError(f"class {worst} is unknown: a class byte is 0 to {len(CLASSES) - 1}, see CLASSES")

    @property
    def pages(self) -> int:
        return len(next(iter(self.maps.values())))

    @property
    def pfns(self) -> range:
        return range(self.base_pfn, self.base_pfn + self.pages)

    def counts(self, name: str) -> Counter[str]:
        """How many pages of each class a map has, by letter."""
        if name not in self._counted:
            by_class = Counter(self.maps[name])
            self._counted[name] = Counter({CLASSES[c]: n for c, n in by_class.items()})
        return self._counted[name]

    def samples(self, pfn: int) -> Sequence[Sample]:
        return self.look(pfn) if self.look else ()

    def says(self, pfn: int) -> str:
        """A page in words: what each map has it for."""
        told = [f"{name} {CALLED[CLASSES[classes[pfn - self.base_pfn]]]}" for name, classes in self.maps.items()]
        own = [sample.words for sample in self.samples(pfn) if sample.pfn == pfn]
        more = [words for words in ", ".join(own).split(", ") if words and not told[-1].endswith(words)]
        return f"pfn {pfn:#x}: {', '.join([*told, *more])}"


def survey(what: Memmap | ZbudPool | Recording, reader: str = "kpageflags") -> Survey:
    """A memmap (a pool's, a recorded one) as a reader sees it, and in truth.

    Raises ValueError for a reader whose answers are not known to tell whose a page is.
    """
    if isinstance(what, Recording):
        return _of_recording(what, reader)
    memmap = what.memmap if isinstance(what, ZbudPool) else what
    pool = what if isinstance(what, ZbudPool) else None
    truth = by_owner(memmap)
    maps = {f"as {reader} sees it": by_reader(memmap, reader), "in truth": truth}
    about = f"in a model of Linux {memmap.release.name}" + (f" with a pool of {pool.scheme.name}" if pool else "")

    def chunks(pfn: int) -> tuple[int, int, int] | None:
        return (*pool.chunks(pfn), pool.scheme.header_chunks) if pool and pfn in pool.mine else None

    def whose(pfn: int) -> str:
        return memmap.owner.get(pfn, "free")

    twins = Twins(truth, memmap.pfns.start, bytes(memmap.raw), whose, chunks)
    return Survey(maps, memmap.pfns.start, about, twins.look)


# ---------------------------------------------------------------------- class bytes


def by_owner(memmap: Memmap) -> bytes:
    """The truth: by who owns each page; a look-alike is one that has, bit for bit, the record of some zbud page."""
    start, classes = memmap.pfns.start, bytearray([CLASSES.index("F")]) * len(memmap.pfns)
    known = {word: CLASSES.index(tag) for word, tag in LETTERS.items()}
    other = CLASSES.index("K")
    for pfn, owner in memmap.owner.items():
        if pfn in memmap.pfns:
            classes[pfn - start] = known.get(owner, other)
    mark_look_alikes(classes, bytes(memmap.raw))
    return bytes(classes)


def mark_look_alikes(classes: bytearray, records: bytes) -> None:
    """Give their class to pages that are not zbud's, and whose 64 bytes are those of a page that is."""
    zbud, alike = CLASSES.index("Z"), CLASSES.index(LOOK_ALIKE)
    each = [records[i : i + RECORD] for i in range(0, len(records), RECORD)]
    faces = {record for record, c in zip(each, classes, strict=True) if c == zbud}
    for i, record in enumerate(each):
        if record in faces and classes[i] != zbud:
            classes[i] = alike


def by_reader(memmap: Memmap, reader: str) -> bytes:
    """What a reader makes of each page (of the memmap's own kernel); where it would die, it says nothing.

    Needs numpy.  Raises ValueError for a reader that is not one of HEARD.
    """
    check(reader)
    return heard(reader, of(memmap.release.name)[reader].scan(memmap, oopses={}).tolist())


def heard(reader: str, values: Iterable[int]) -> bytes:
    """A reader's answers as class bytes.

    >>> list(heard("kpageflags", [0, 1 << 7, 1 << 10]))
    [0, 2, 4]
    """
    known: dict[int, int] = {}
    hears = HEARD[reader]

    def of_value(value: int) -> int:
        if value not in known:
            known[value] = CLASSES.index(hears(value))
        return known[value]

    return bytes(map(of_value, values))


def check(reader: str) -> None:
    if reader not in HEARD:
        raise ValueError(f"what {reader!r} answers does not tell whose a page is; those that do: {', '.join(HEARD)}")


def _bits(*names: str) -> int:
    return sum(1 << KPF[name] for name in names)


def _kpageflags(value: int) -> str:
    users = {_bits("RESERVED"): "R", _bits("SLAB"): "S", _bits("BUDDY"): "F", _bits("LRU", "ANON", "MMAP"): "U"}
    return next((tag for bits, tag in users.items() if value & bits), "K" if value else "")


def _crash(value: int) -> str:
    totals = {RESERVED: "R", SLABS: "S", SHARED | BUFFERS: "U"}
    return next((tag for bits, tag in totals.items() if value & bits), "")


HEARD: Mapping[str, Callable[[int], str]] = {  # what a reader's answer says of whose the page is
    "kpageflags": _kpageflags,
    "kpagecount": lambda value: "U" if value else "",
    "show_mem": lambda value: "R" if value < 0 else "U" if value > 1 else "K" if value else "",
    "crash": _crash,
    "dump31": lambda value: {16: "F", 0: ""}.get(value, "U"),
}

# ---------------------------------------------------------------------- a recorded memmap


def _of_recording(recording: Recording, reader: str) -> Survey:
    """zbud's pages are those on the pool's own lists; of the others nobody knows more than kpageflags says."""
    check(reader)
    said = heard("kpageflags", recording.kpageflags)
    files = {"kpageflags": said, "kpagecount": heard("kpagecount", recording.kpagecount)}
    seen = files[reader] if reader in files else by_reader(recording.memmap(), reader)
    truth = bytearray(said)
    for pfn in recording.zbud_pfns:
        truth[pfn] = CLASSES.index("Z")
    mark_look_alikes(truth, recording.memmap_bytes)
    where = {m["name"]: m["offset"] for m in recording.facts["structs"]["zbud_header"]["members"]}

    def chunks(pfn: int) -> tuple[int, int, int] | None:
        header = recording.headers.get(pfn)
        return (header[where["first_chunks"]], header[where["last_chunks"]], 1) if header else None

    def whose(pfn: int) -> str:
        return CALLED[CLASSES[truth[pfn]]]

    twins = Twins(bytes(truth), 0, recording.memmap_bytes, whose, chunks)
    maps = {f"as {reader} sees it": seen, "in truth": bytes(truth)}
    note = "In truth: zbud's pages are those on the pool's own lists; of the others, what kpageflags says."
    return Survey(maps, 0, f"of a running Linux {recording.provenance['kernel']}", twins.look, note)


@dataclass
class Twins:
    """Pages with the same 64 bytes: of a zbud page, the nearest look-alike; of a look-alike, the nearest zbud page."""

    truth: bytes
    base_pfn: int
    records: bytes
    whose: Callable[[int], str]
    chunks: Callable[[int], tuple[int, int, int] | None]

    def record(self, i: int) -> bytes:
        return self.records[RECORD * i : RECORD * (i + 1)]

    @cached_property
    def by_record(self) -> dict[bytes, dict[str, list[int]]]:
        """For each record that zbud pages and look-alikes share: where the ones and the others are."""
        found: dict[bytes, dict[str, list[int]]] = {}
        for i, c in enumerate(self.truth):
            if CLASSES[c] in ("Z", LOOK_ALIKE):
                found.setdefault(self.record(i), {"Z": [], LOOK_ALIKE: []})[CLASSES[c]].append(i)
        return found

    def look(self, pfn: int) -> list[Sample]:
        """The page, and the nearest one that it can be taken for, if there is one."""
        i = pfn - self.base_pfn
        kind = CLASSES[self.truth[i]]
        found = [self._sample(i, "")]
        if kind in ("Z", LOOK_ALIKE):
            others = self.by_record[self.record(i)][LOOK_ALIKE if kind == "Z" else "Z"]
            at = bisect(others, i)
            near = sorted(others[max(0, at - 1) : at + 1], key=lambda other: abs(other - i))
            found += [self._sample(other, ": the same 64 bytes") for other in near[:1]]
        return found

    def _sample(self, i: int, more: str) -> Sample:
        pfn = self.base_pfn + i
        chunks = self.chunks(pfn)
        words = f", first {chunks[0]}, last {chunks[1]}" if chunks else ""
        return Sample(pfn, self.whose(pfn) + words + more, self.record(i), chunks)
