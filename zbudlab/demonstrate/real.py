"""The matrix on a kernel of today: schemes before the readers of Linux 6.1, and what the real ones did.

The verdicts are computed, as those of 3.10 are: the model's readers are sent to a page that is dressed as the scheme
would have it, in each way in which a real kernel's page was dressed (dressings.py), and the worst counts.  Where the
real reader did the same to such a page, the cell is *confirmed*.  A scheme that lays zbud's data over the record is a
what-if here: the layout moved since 2013.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..dressings import DRESSINGS, Cell, Compared, Dressing, compare_cells, model_outcome, plain_page
from ..kernel import FILES, load, releases
from ..linux_6_1 import PG_6_1, RELEASE
from ..memmap import Memmap
from ..page_alloc import PageAllocator
from ..peekers import of
from ..peekers.machine import Machine
from ..peekers.rules import Visit
from ..realpool import RealPool
from ..releases import Release
from ..schemes import LATER_SCHEMES, Scheme
from .face import Finding, touched
from .judge import WORDS, Matrix, Verdict
from .judge import matrix as matrix_of_2013
from .readers import DECIDES, REPORTS, TAKES

CONFIRMED, OTHERWISE, NOT_RUN = "confirmed", "otherwise", "not run"
KERNEL_PAGE = 0x000F_FFFF_C000_0000  # flags of a page of node 0, zone DMA32, last used by no known CPU
PAGE = 0x6458


@dataclass(frozen=True)
class Confirmed(Verdict):
    """A verdict on 6.1: the `dressing` that it is about, what the `real` kernel did with it (CONFIRMED, OTHERWISE or
    NOT_RUN), and whether the scheme is a `what_if` there."""

    dressing: str = ""
    real: str = NOT_RUN
    what_if: bool = False

    def __str__(self) -> str:
        what_if = ", a what-if" if self.what_if else ""
        return f"{super().__str__()} [{self.dressing}{what_if}; the real kernel: {self.real}]"


@dataclass(frozen=True)
class Reader:
    """A column: the `peeker`, its honest outcomes in the words of dressings.py, the flags that it may leave, and what
    sets it off on a real kernel (`done`; empty if that was not tried)."""

    name: str
    peeker: str
    does: str
    honest: tuple[str, ...]
    done: str = ""
    leaves: tuple[str, ...] = ()
    luck: bool = False  # it takes that the neighbour is given back

    def visit(self, around: Machine | Memmap | PageAllocator, pfn: int) -> Visit:
        """A visit, ready to be taken step by step."""
        release = (around if isinstance(around, Memmap) else around.memmap).release
        return of(release.name)[self.peeker].steps(around, pfn)


READERS = {
    reader.name: reader
    for reader in (
        Reader("memory_failure", "memory_failure", TAKES, ("EBUSY",), "hard_offline", ("hwpoison",)),
        Reader("soft_offline", "soft_offline", TAKES, ("EIO",), "soft_offline"),
        Reader("offline_block", "offline_block", TAKES, ("EBUSY", "loops"), "offline_block"),
        Reader("migrate_scanner", "isolate_migratepages", DECIDES, ("ok",), "compact_movable"),
        Reader("page_is_buddy", "page_is_buddy0", DECIDES, ("ok",), luck=True),
        Reader("has_unmovable", "has_unmovable", DECIDES, ("cannot be moved",)),
        Reader("free_as_it_is", "free_drained", DECIDES, ("silent",), "free_drained"),
        *[Reader(name, name, REPORTS, ("0x0",), name) for name in ("kpageflags", "kpagecount", "kpagecgroup", "kcore")],
        Reader("show_mem", "show_mem", REPORTS, ("ok",), "show_mem"),
    )
}


def readers(release: Release) -> Mapping[str, Reader]:
    """Those of READERS that the model has for a release."""
    return {name: reader for name, reader in READERS.items() if reader.peeker in of(release.name)}


def matrix(
    schemes: Iterable[str | Scheme] = (),
    readers: Iterable[str] = (),
    *,
    races: bool = True,
    kernel: str = "3.10",
    cells: Sequence[Cell] | None = None,
) -> Matrix:
    """Schemes before readers, by name (none given: all), computed.

    With `kernel` "6.1" the rows are the schemes that pages of a real 6.1 were dressed by, the columns READERS, and the
    verdicts `Confirmed` ones; `cells` is what the real kernel did, by default that of the recording in the package.
    Raises ValueError for another kernel, and for a scheme or reader that it does not have.
    """
    if kernel == "3.10":
        return matrix_of_2013(schemes, readers, races=races)
    if kernel != RELEASE.name:
        raise ValueError(f"there is a matrix of Linux 3.10 and of {RELEASE.name}, and none of {kernel}")
    named = [scheme if isinstance(scheme, str) else scheme.name for scheme in schemes]
    rows, columns = chosen(named, dressed_schemes(), "scheme"), chosen(readers, list(READERS), "reader")
    if cells is None:
        cells = load(kernel).cells if kernel in releases() else []
    real = {(cell.dressing, cell.reader): cell for cell in compare_cells(cells, kernel)}
    found = Matrix(((scheme, name), verdict(scheme, READERS[name], real)) for scheme in rows for name in columns)
    found.kernel, found.own = kernel, LATER_SCHEMES
    found.does = {name: reader.does for name, reader in READERS.items()}
    return found


def dressed_schemes() -> list[str]:
    """The schemes by which pages were dressed."""
    return list(dict.fromkeys(d.scheme for d in DRESSINGS.values() if d.scheme))


def chosen(names: Iterable[str], known: list[str], what: str) -> list[str]:
    """The names asked for, all if none.  Raises ValueError for one that is not known."""
    asked = list(names)
    for name in asked:
        if name not in known:
            raise ValueError(f"Linux {RELEASE.name} has no {what} {name!r} here; known: {', '.join(known)}")
    return asked or known


def verdict(scheme: str, reader: Reader, real: dict[tuple[str, str], Compared]) -> Confirmed:
    """The worst that a reader does to a scheme's pages, in any way to dress them, or makes of them.

    Of several that are equally bad, one is preferred that the real kernel confirmed.
    """
    found = []
    for dressing in DRESSINGS.values():
        if dressing.scheme != scheme:
            continue
        cell = real.get((dressing.name, reader.done))
        said = NOT_RUN if cell is None else CONFIRMED if cell.agree else OTHERWISE
        found.append(replace(judged(dressing, reader), real=said, what_if=dressing.what_if))
    worst = max(found, key=lambda v: (v.rank, v.real == CONFIRMED))
    reads = tuple(dict.fromkeys(name for v in found for name in v.reads))
    return replace(worst, reads=reads, anyone=worst.word != "ok" and _plain_is_as_bad(reader, worst))


def _plain_is_as_bad(reader: Reader, worst: Confirmed) -> bool:
    plain = judged(DRESSINGS["plain"], reader)
    return WORDS.index(plain.word) >= WORDS.index(worst.word)


def judged(dressing: Dressing, reader: Reader) -> Confirmed:
    """What came of a visit to a page that is dressed like that."""
    memmap = Memmap(16, base_pfn=PAGE & ~7, ram=(), release=RELEASE)
    for pfn in memmap.pfns:
        plain_page(memmap, pfn, KERNEL_PAGE)
    page = memmap.page(PAGE)
    plain = page.raw
    dressing.put_on(page)
    before = page.raw
    visit = of(RELEASE.name)[reader.peeker].visit(Machine(memmap), PAGE)
    reads = tuple(dict.fromkeys(name for at, name, _ in visit.seen if at == visit.page.address and name))
    word, why = _judged(reader, visit, plain, before, page.raw)
    return Confirmed(word, why, luck=word != "ok" and reader.luck, reads=reads, dressing=dressing.name)


def _judged(reader: Reader, visit: Visit, plain: bytes, before: bytes, after: bytes) -> tuple[str, str]:
    """How bad it is, and why: `plain`, `before` and `after` are the record undressed, dressed, and as it was left."""
    said = outcome(reader, visit)
    if visit.oops is not None or (visit.stuck is not None and said not in reader.honest):
        logged = f" ({visit.messages[-1]})" if visit.stuck and visit.messages else ""
        return "crash", str(visit.oops or visit.stuck) + logged
    if reader.peeker == "free_drained":
        if visit.value == 0:
            return "ok", visit.words
        return "wrong", f"{said}: the page is lost" if visit.bad else visit.words
    changed = [i for i in range(len(before)) if before[i] != after[i]]
    leaves = sum(1 << PG_6_1[name] for name in reader.leaves)
    allowed = [i for i in range(8) if (before[i] ^ after[i]) & ~(leaves >> 8 * i) & 0xFF == 0]
    damage = [i for i in changed if i not in allowed]
    if any(before[i] != plain[i] for i in damage):
        return "corrupt", f"bytes {damage[0]} to {damage[-1]} of the scheme's own are changed"
    if damage:
        return "wrong", f"bytes {damage[0]} to {damage[-1]} of the record are left changed: {visit.words}"
    if said not in reader.honest:
        return "misreport" if reader.does == REPORTS else "wrong", f"says {said}; honest: {reader.honest[0]}"
    return "ok", visit.words or said


def outcome(reader: Reader, visit: Visit) -> str:
    """What the reader did, in the words of dressings.py, and of two that are asked only here."""
    if visit.returned and reader.name == "has_unmovable":
        return visit.words
    if visit.returned and reader.name == "page_is_buddy":
        return "merged" if visit.value else "ok"
    return model_outcome("compact" if reader.name == "migrate_scanner" else reader.done or reader.peeker, [visit])


# ---------------------------------------------------------------------- a page of a recorded machine


def face(pool: RealPool, pfn: int, names: Iterable[str]) -> list[Finding]:
    """Send readers, by name, to a page of a recorded machine, each as if it were the only one; nothing is left of it.

    What the kernel's own files said of the page is told as well, as long as its record is the recorded one.
    """
    known, machine = readers(pool.memmap.release), Machine.of(pool.pages)
    found = []
    for name in names:
        mark, before = machine.mark(), pool.memmap.page(pfn).raw
        visit = known[name].visit(machine, pfn)
        for _ in visit:
            pass
        verdict = None
        if pfn in pool.mine:
            word, why = _judged(known[name], visit, before, before, pool.memmap.page(pfn).raw)
            verdict = Verdict(word, why, luck=word != "ok" and known[name].luck)
        found.append(Finding(known[name], visit, verdict, *touched(visit), before, _heard(pool, visit, before)))
        machine.undo(mark)
    return found


def _heard(pool: RealPool, visit: Visit, before: bytes) -> str:
    """What /proc said of the page when it was recorded."""
    recording, file = pool.recording, visit.peeker.name
    if file not in FILES or before != recording.record(visit.pfn):
        return ""
    said = getattr(recording, file)[visit.pfn]
    if said == visit.value:
        return "; the kernel said so too"
    changed = " (the page changed meanwhile)" if visit.pfn in recording.changed else ""
    return f"; the kernel said {said:#x}{changed}"
