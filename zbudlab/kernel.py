"""Real kernels: recorded memmaps, and what the kernels themselves said of every page in the same moment.

    >>> r = load("6.1")
    >>> r
    <Recording: Linux 6.1, 65,536 pages, ...>
    >>> pfn = r.zbud_pfns[0]
    >>> r.kpageflags[pfn], r.kpagecount[pfn], len(r.record(pfn)), len(r.headers[pfn])
    (0, 0, 64, 64)

A recording is a folder: `index.json` with the facts, and beside it the parts, each a gzip file of raw bytes, text or
JSON.  The index has each part's length and SHA-256, and one of its own; nothing is believed before it has been
compared.  The folder `fieldlab/` of the project makes recordings; two of them are in the package.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO

from .memmap import NOT_RECORDED, Memmap, Saved
from .releases import release
from .rows import RecordingError
from .struct_page import PAGE_SIZE, RECORD, Field, Layout
from .survey import BLOCK, NAMES, Progress, Survey, kind, survey

FORMAT, FORMAT_VERSION = "zbudlab-kernel", 1
DATA = Path(__file__).parent / "data" / "kernel"
INDEX = "index.json"
FILES = ("kpageflags", "kpagecount")  # what the kernel says of each page, recorded
HEADER = 64  # bytes kept of each zbud page: its first chunk, where the zbud_header lies
POOL_PAGE = 8 + HEADER  # bytes in the part "pool" for each page: pfn and list, 32 bits each, then the header
CHANGED = 4 + RECORD  # bytes in the part "changed" for each record: pfn, then the record
OWNERS = {"free": "", "file": "page cache", "other": "kernel", "nothing said": "kernel"}  # by the survey's kinds
LIMIT = 64 << 20  # bytes that a part may have at most


@dataclass(frozen=True)
class Oops:
    """The end of a kernel: its own sentence, the faulting address if it names one, the function that it was in."""

    what: str
    address: int | None
    function: str


@dataclass(frozen=True)
class Cell:
    """What a real reader did with one dressed page.

    `scheme` is how the page was dressed, `reader` who came; `before` and `after` are its 64 bytes (`after` is None if
    the kernel ended).  `value` is the 64-bit word that a /proc/kpage* file gave, `errno` what a request came to (0: it
    was granted); both are None where no answer came.  `flags_after` is what /proc/kpageflags said afterwards,
    `poisoned_kb` the HardwareCorrupted line of /proc/meminfo, `state` that of the memory block, `counters` what
    compaction counted, `met` whether its scanner came to the page at all, `log` the kernel's own lines.

    An `errno` of 0 and an `oops` together: the request was granted, and the page's next owner ended the kernel.
    """

    scheme: str
    reader: str
    pfn: int
    before: bytes
    after: bytes | None = None
    value: int | None = None
    errno: int | None = None
    oops: Oops | None = None
    flags_after: int | None = None
    poisoned_kb: int | None = None
    state: str | None = None
    counters: dict[str, int] | None = None
    met: bool | None = None
    log: tuple[str, ...] = ()


class RecordedMemmap(Memmap):
    """The memmap of a recording; its frames are those that the recording has the beginning of.

    Who owns a page stays as it was recorded, so copies leave that out; and one of the records as they were recorded
    takes no room.
    """

    def __init__(self, recording: Recording) -> None:
        super().__init__(len(recording.pfns), ram=(), release=release(recording.release))
        self.recorded, self.headers, self.owner = recording.memmap_bytes, recording.headers, recording.owners
        self.raw[:] = self.recorded
        self.zero_pfn, self.huge_zero_pfn = recording.facts["zero_pfn"], recording.facts["huge_zero_pfn"]

    def save(self) -> Saved:
        frames = {pfn: bytes(frame) for pfn, frame in self._frames.items()}
        records = self.recorded if self.raw == self.recorded else bytes(self.raw)
        return Saved(records, frames, {}, tuple(self.ram))

    def restore(self, saved: Saved) -> None:
        super().restore(saved._replace(owner=self.owner))

    def has_frame(self, pfn: int) -> bool:
        return pfn in self.headers or super().has_frame(pfn)

    def untouched(self, pfn: int) -> bytes:
        return self.headers.get(pfn, b"").ljust(PAGE_SIZE, b"\0")

    def where(self, address: int) -> str:
        """As Memmap.where; of an address in a page that was not recorded, the page and that."""
        words = super().where(address)
        pfn, byte = divmod(address - self._direct_map, PAGE_SIZE)
        return f"page {pfn:#x} + {byte:#05x}, {NOT_RECORDED}" if words == "nowhere" and pfn in self.pfns else words


class Recording:
    """One moment of a real machine.  Nothing of it is to be changed.

    release: "6.1" or "6.12".
    memmap_bytes: every struct page, 64 bytes each by pfn, copied just before the kernel was asked.
    changed: the records that were different just after: pfn to the 64 bytes then.  All others had stayed as they were.
    kpageflags, kpagecount: what the kernel's two files said, array('Q') by pfn.
    zbud_pfns: the pages on the pool's own lists, ascending; headers: pfn to the first 64 bytes of the page;
    free_chunks: pfn to the number of the pool's list that it was on.
    alive: by pfn, which objects the trace of handles knows: bit 0 the first, bit 1 the last.
    cells: what readers did with dressed pages, a list of `Cell`; figures: texts by name, such as "proc-vmstat".
    facts: struct layouts and flag numbers from the kernel's BTF, addresses; exhibits: what is worth a look;
    provenance: package, versions, command lines, date; config: the kernel's configuration, as text.
    """

    def __init__(self, index: dict[str, Any], parts: dict[str, bytes]) -> None:
        self.index = index
        self.source = index["release"]  # what `load` finds it by
        self.release: str = index["release"]
        self.provenance: dict[str, Any] = index["provenance"]
        self.facts: dict[str, Any] = index["facts"]
        self.exhibits: dict[str, Any] = index["exhibits"]
        self.memmap_bytes = by_entry(parts["memmap"], RECORD)
        self.changed = {_number(e[:4]): e[4:] for e in _entries(parts["changed"], CHANGED)}
        self.kpageflags, self.kpagecount = words(parts["kpageflags"]), words(parts["kpagecount"])
        pool = [(_number(e[:4]), _number(e[4:8]), e[8:]) for e in _entries(parts["pool"], POOL_PAGE)]
        self.zbud_pfns = sorted(pfn for pfn, _, _ in pool)
        self.free_chunks = {pfn: number for pfn, number, _ in pool}
        self.headers = {pfn: header for pfn, _, header in pool}
        self.alive = parts["alive"]
        self.cells = [cell(entry) for entry in json.loads(parts["cells"])]
        self.figures: dict[str, str] = json.loads(parts["figures"])
        self.config = parts["config"].decode()

    @property
    def pfns(self) -> range:
        return range(len(self.kpageflags))

    def record(self, pfn: int) -> bytes:
        """The 64 bytes of a page's struct page.  Raises IndexError for a pfn that was not recorded."""
        if pfn not in self.pfns:
            raise IndexError(f"pfn {pfn:#x} is outside this recording (0x0 to {self.pfns[-1]:#x})")
        return self.memmap_bytes[pfn * RECORD : (pfn + 1) * RECORD]

    @cached_property
    def layout(self) -> Layout:
        """struct page as this kernel's own BTF describes it: the fields of 1, 2, 4 and 8 bytes, lists as two links."""
        return Layout(f"struct page, Linux {self.release}", *_fields(self.facts["structs"]["page"]["members"]))

    def memmap(self) -> Memmap:
        """A memmap of the model with these bytes in it, a new one each time.

        The owner of each zbud page is noted; of the others, what /proc/kpageflags says.  Of what was in the pages, it
        has the first 64 bytes of zbud's, which were recorded, and zeros behind; going elsewhere is a KernelOops.
        """
        return RecordedMemmap(self)

    @cached_property
    def owners(self) -> dict[int, str]:
        """A word for who has each page, by pfn; free ones have none."""
        words = [OWNERS.get(name, name) for name in NAMES]
        by_flags = {flags: words[kind(flags)] for flags in set(self.kpageflags)}
        owners = {pfn: by_flags[flags] for pfn, flags in enumerate(self.kpageflags) if by_flags[flags]}
        return owners | dict.fromkeys(self.zbud_pfns, "zbud")

    def __repr__(self) -> str:
        sizes = f"{len(self.pfns):,} pages, {len(self.zbud_pfns):,} of them zbud's, {len(self.cells)} dressed cells"
        return f"<Recording: Linux {self.release}, {sizes}>"


def releases() -> list[str]:
    """The recordings in the package, oldest kernel first."""
    names = [path.parent.name for path in DATA.glob(f"*/{INDEX}")]
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")])


def load(what: str | Path) -> Recording:
    """A recording: by the release ("6.1") if it is in the package, else from the folder that the field lab wrote.

    One of the package is read once, and the same object from then on: nothing of it is to be changed.
    Raises RecordingError, in one sentence, for what is missing, truncated, altered, or something else altogether.
    """
    return _in_package(DATA / what) if str(what) in releases() else _load(Path(what), str(what))


@cache
def _in_package(folder: Path) -> Recording:
    return _load(folder, folder.name)


def _load(folder: Path, what: str) -> Recording:
    if not (folder / INDEX).is_file():
        known = " and ".join(releases()) or "none"
        raise RecordingError(f"{what!r} is neither a recorded release ({known}) nor a folder with an {INDEX} in it")
    try:
        index = _index(folder / INDEX)
        found = Recording(index, {name: _part(folder, name, told) for name, told in index["parts"].items()})
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"{folder.name}: something is missing from it or malformed ({error!r})") from None
    found.source = what
    return found


def live(folder: str | Path = "/proc", progress: Progress | None = None) -> Survey:
    """The machine that this runs on: its pages by kind, a map of its memory, the implicit tag scored on real pages.

    It reads /proc/kpageflags and /proc/kpagecount (which takes root), in blocks, and writes nothing anywhere.
    `progress(done, pages)` is called as it goes on, with numbers of pages; survey.bar shows them.  Where the files
    cannot be read or have been blanked, the survey is empty and false, and says why in one sentence.
    """
    folder = Path(folder)
    instead = "A recorded machine is there instead: kernel.overview('6.1') counts its pages, MemmapView() shows them."
    try:
        with (folder / "kpageflags").open("rb", 0) as flags, (folder / "kpagecount").open("rb", 0) as counts:
            found = survey("this machine", _blocks(flags, counts), _spanned(folder / "zoneinfo"), progress)
    except FileNotFoundError as error:
        return Survey("this machine", why=f"There is no {error.filename} here: no Linux, or a container. {instead}")
    except PermissionError as error:
        return Survey("this machine", why=f"{error.filename or folder} may be read by root only. {instead}")
    except OSError as error:
        return Survey("this machine", why=f"The kernel's page files cannot be read ({error}). {instead}")
    if not found.pages:
        return Survey("this machine", why=f"{folder / 'kpageflags'} is empty here. {instead}")
    if not found.mapped:
        why = f"{folder / 'kpagecount'} says that no page is mapped, so it has been blanked here. {instead}"
        return Survey("this machine", why=why)
    return found


def overview(what: Recording | str | Path) -> Survey:
    """The same of a recorded machine: a recording, or what `load` takes.

    >>> print(str(overview("6.1")).splitlines()[0])
    Linux 6.1, recorded: 65,536 pages
    """
    recording = what if isinstance(what, Recording) else load(what)
    flags, counts = recording.kpageflags, recording.kpagecount
    return survey(f"Linux {recording.release}, recorded", [(flags, counts)], len(flags))


def _blocks(flags: BinaryIO, counts: BinaryIO) -> Iterator[tuple[memoryview, memoryview]]:
    """Blocks of both files, as far as both go: whole words only, read into the same two buffers again and again."""
    rooms = memoryview(bytearray(8 * BLOCK)), memoryview(bytearray(8 * BLOCK))
    while True:
        words = min(_fill(file, room) for file, room in zip((flags, counts), rooms, strict=True)) // 8
        if words:
            yield rooms[0][: 8 * words], rooms[1][: 8 * words]
        if words < BLOCK:
            return


def _fill(file: BinaryIO, room: memoryview) -> int:
    """Read until `room` is full or the file ends: a read may give less than was asked for.  Returns the bytes."""
    got = 0
    while got < len(room) and (more := file.readinto(room[got:])):  # type: ignore[attr-defined]
        got += more
    return got


def _spanned(zoneinfo: Path) -> int:
    """How many page frame numbers the zones span, holes and all; 0 if it cannot be told."""
    try:
        text = zoneinfo.read_text()
    except OSError:
        return 0
    spans = re.findall(r"^ +spanned +(\d+).*?^ +start_pfn: +(\d+)", text, re.M | re.S)
    return max((int(start) + int(pages) for pages, start in spans), default=0)


def seal(index: dict[str, Any]) -> str:
    """The SHA-256 of an index: of its JSON, keys sorted, without the seal itself."""
    rest = {key: value for key, value in index.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise RecordingError(f"{path.name} is not JSON: truncated, damaged, or no recording at all") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise RecordingError(f"{path.name} is not the index of a kernel recording: its format is not {FORMAT!r}")
    if index.get("version") != FORMAT_VERSION:
        raise RecordingError(
            f"{path.name} is of format version {index.get('version')!r}; this kit reads {FORMAT_VERSION}"
        )
    if index.get("seal") != seal(index):
        raise RecordingError(f"{path.name} was altered: its SHA-256 is not the one it names")
    return index


def _part(folder: Path, name: str, told: dict[str, Any]) -> bytes:
    """The content of one part, once its length and digest are what the index says."""
    path, length = folder / Path(told["file"]).name, told["length"]
    if not 0 <= length <= LIMIT:
        raise RecordingError(f"part {name} would have {length:,} bytes; the limit is {LIMIT:,}")
    try:
        with gzip.open(path) as file:
            content = file.read(length + 1)
    except FileNotFoundError:
        raise RecordingError(f"part {name} is missing: there is no {path.name} beside the index") from None
    except (OSError, EOFError, zlib.error):
        raise RecordingError(f"part {name} ({path.name}) is truncated or damaged") from None
    if len(content) != length:
        more = "more than" if len(content) > length else f"{len(content):,} bytes, not"
        raise RecordingError(f"part {name} ({path.name}) has {more} the {length:,} that the index says")
    if hashlib.sha256(content).hexdigest() != told["sha256"]:
        raise RecordingError(f"part {name} ({path.name}) was altered: its SHA-256 is not the one in the index")
    return content


def words(content: bytes) -> array[int]:
    """Little-endian 64-bit words, as an array('Q')."""
    numbers = array("Q", content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def by_column(entries: bytes, size: int) -> bytes:
    """Entries of `size` bytes each turned into columns: byte 0 of each, then byte 1 of each; gzip finds more in it."""
    return b"".join(entries[i::size] for i in range(size))


def by_entry(columns: bytes, size: int) -> bytes:
    """The way back from `by_column`.

    >>> by_column(b"abcdef", 3), by_entry(b"adbecf", 3)
    (b'adbecf', b'abcdef')
    """
    n, entries = len(columns) // size, bytearray(len(columns))
    for i in range(size):
        entries[i::size] = columns[i * n : (i + 1) * n]
    return bytes(entries)


def _entries(columns: bytes, size: int) -> Iterator[bytes]:
    content = by_entry(columns, size)
    return (content[i : i + size] for i in range(0, len(content), size))


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")


def cell(entry: dict[str, Any]) -> Cell:
    """A dressed cell from its JSON: bytes are hex digits there."""
    told = dict(entry)
    told["before"] = bytes.fromhex(told["before"])
    told["after"] = bytes.fromhex(told["after"]) if told.get("after") else None
    told["oops"] = Oops(**told["oops"]) if told.get("oops") else None
    told["log"] = tuple(told.get("log", ()))
    return Cell(**told)


def _fields(members: list[dict[str, Any]]) -> list[Field]:
    found: dict[str, Field] = {}
    for m in members:
        name, offset, size = m["name"], m["offset"], m["size"]
        if m["type"] == "struct list_head":
            found |= {f"{name}.{end}": Field(f"{name}.{end}", offset + at) for end, at in (("next", 0), ("prev", 8))}
        elif size in (1, 2, 4, 8) and "bits" not in m:
            found[name] = Field(name, offset, size, signed=size == 4 and m["type"] in ("int", "atomic_t"))
    return sorted(found.values(), key=lambda field: field.offset)
