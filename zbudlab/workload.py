"""Where the sizes come from: real pages, what they compress to, and streams of sizes that a seed makes.

zbud never sees a page.  zswap compresses 4096 bytes, puts 8 bytes of its own in front, and asks zbud for room for
that.  So the sizes tell how well zbud does, and they come from what a machine keeps in memory.  Sizes are in bytes.

Only the standard library is needed.  A seed makes the same sizes in every Python and on every machine: the recipes use
only `random.Random(seed).random()`, additions, multiplications and `math.fsum`, never `log`, `exp` or `gauss`.

    >>> from itertools import islice
    >>> list(islice(lognormal(), 6))
    [1593, 1857, 2875, 2128, 848, 821]
    >>> zeros = RealPage("four thousand noughts", "zeros", bytes(4096))
    >>> print(zswap_view([zeros]))
    1 of 1 pages taken, 0 refused (limit 3968 bytes, zlib and 8 bytes of zswap's own)
"""

from __future__ import annotations

import gc
import gzip
import hashlib
import importlib
import json
import math
import os
import random
import sys
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, NamedTuple

from .struct_page import CHUNK, PAGE_SIZE

SEED = 20130520  # the day v12 was posted; the recordings use it too
ZSWAP_HEADER = 8  # struct zswap_header: one swp_entry_t (mm/zswap.c, Linux 3.11, commit 2b2811178e85)
DATA = Path(__file__).with_name("data")  # the corpus that comes with the package
PROC = Path("/proc/self")


class WorkloadError(Exception):
    """Something that this module cannot do, in one sentence."""


class NothingReadable(WorkloadError):
    """A file or a memory that cannot be read."""


class UnknownCompressor(WorkloadError):
    """A compressor that is not installed here and whose size was not recorded."""


class CorpusDamaged(WorkloadError):
    """The corpus files are missing, or are not what was shipped."""


@dataclass(frozen=True)
class RealPage:
    """4096 real bytes: what they are (`kind`), where they are from (`source`), what they were measured to compress to.

    `sizes` holds bytes by compressor name and may be empty.  Bytes of another length raise WorkloadError.
    """

    name: str
    kind: str
    data: bytes = field(repr=False)
    sizes: Mapping[str, int] = field(default_factory=dict, hash=False)
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if len(self.data) != PAGE_SIZE:
            raise WorkloadError(f"a page has {PAGE_SIZE} bytes, {self.name!r} has {len(self.data)}")

    def __str__(self) -> str:
        recorded = ", ".join(f"{name} {size}" for name, size in self.sizes.items())
        return f"{self.name} ({self.kind})" + (f": {recorded}" if recorded else "")


def pages_of_file(path: str | os.PathLike[str], limit: int | None = None, kind: str = "file") -> list[RealPage]:
    """A regular file as the page cache holds it: 4096-byte blocks, the end of the last one filled with zeros.

    At most `limit` pages, in order; none for an empty file.  What cannot be read raises NothingReadable.
    """
    path, pages = Path(path), list[RealPage]()
    try:
        if path.stat() and not path.is_file():
            raise NothingReadable(f"cannot read pages: {str(path)!r} is not a regular file")
        with path.open("rb") as stream:
            while (limit is None or len(pages) < limit) and (block := stream.read(PAGE_SIZE)):
                short = f" ({len(block)} bytes, then zeros)" if len(block) < PAGE_SIZE else ""
                name = f"{path.name}, page {len(pages) + 1}{short}"
                pages.append(RealPage(name, kind, block.ljust(PAGE_SIZE, b"\0"), source="a file of this machine"))
    except (OSError, ValueError) as error:
        raise NothingReadable(f"cannot read pages: {error}") from error
    return pages


def pages_of_memory(limit: int = 64, seed: int = SEED) -> list[RealPage]:
    """Up to `limit` pages of this interpreter's own memory, read and never written; `seed` chooses which.

    A page's `source` says how it was read.  On Linux: through /proc/self/mem, as it lies in memory.  Elsewhere: live
    objects packed one behind another, tuples through ctypes and the bytecode of functions (without ctypes, bytecode
    alone).  The bytes are this process's own and may hold what it holds: do not publish them.  Where nothing can be
    read: NothingReadable.
    """
    if limit < 1:
        raise WorkloadError(f"asked for {limit} pages of memory: at least 1 is needed")
    try:
        pages = _memory_by_proc(limit, random.Random(seed))
    except (OSError, ValueError):
        pages = []
    if not (pages := pages or _memory_by_objects(limit, random.Random(seed))):
        raise NothingReadable("no memory can be read here: neither /proc/self/mem nor a page full of live objects")
    return pages


def _memory_by_proc(limit: int, choice: random.Random) -> list[RealPage]:
    """Pages of private writable mappings without a file, through /proc/self/mem; only those that are present."""
    areas: list[tuple[int, int, str]] = []  # number of its first page, its address, its name
    total = 0
    for line in (PROC / "maps").read_text(errors="replace").splitlines():
        span, mode, _, _, _, *rest = line.split(maxsplit=5)
        name = rest[0] if rest else "[anonymous]"
        if mode.startswith("rw") and mode[3] == "p" and name[:5] in ("[anon", "[heap", "[stac"):
            start, end = (int(part, 16) for part in span.split("-"))
            areas.append((total, start, name))
            total += (end - start) // PAGE_SIZE
    pages: dict[int, RealPage] = {}
    firsts = [area[0] for area in areas]
    with (PROC / "mem").open("rb", buffering=0) as memory:
        for _ in range(50 * limit if total else 0):  # the stacks of threads are large and mostly not there
            number = int(choice.random() * total)
            first, start, name = areas[bisect_right(firsts, number) - 1]
            address = start + (number - first) * PAGE_SIZE
            if not _present(address):
                continue
            try:
                data = os.pread(memory.fileno(), PAGE_SIZE, address)
            except OSError:  # the mapping went away meanwhile
                continue
            if len(data) == PAGE_SIZE:
                kind = {"[heap]": "heap", "[stack]": "stack"}.get(name, "anonymous memory")
                pages[address] = RealPage(f"{name} page {number}", kind, data, source="own memory, /proc/self/mem")
            if len(pages) == limit:
                break
    return list(pages.values())


def _present(address: int) -> bool:
    """Whether a frame lies behind `address` now (bit 63 of its pagemap entry); True where the kernel does not say."""
    try:
        with (PROC / "pagemap").open("rb", buffering=0) as pagemap:
            entry = os.pread(pagemap.fileno(), 8, address // os.sysconf("SC_PAGE_SIZE") * 8)
    except OSError:
        return True
    return len(entry) < 8 or bool(entry[7] & 0x80)


def _memory_by_objects(limit: int, choice: random.Random) -> list[RealPage]:
    """Live tuples, object headers and all (each lies in one piece at its id), and the bytecode of live functions."""
    objects: list[Any] = [thing.__code__.co_code for thing in gc.get_objects() if type(thing) is FunctionType]
    name, how, ctypes = "live bytecode", "code objects", _importable("ctypes")
    if ctypes and sys.implementation.name == "cpython":
        name, how = "live objects", "ctypes.string_at"
        objects += [thing for thing in gc.get_objects() if type(thing) is tuple]
    choice.shuffle(objects)
    pages, held = list[RealPage](), b""
    for thing in objects:
        held += thing if type(thing) is bytes else ctypes.string_at(id(thing), thing.__sizeof__())
        while len(held) >= PAGE_SIZE and len(pages) < limit:
            page_name, source = f"{name}, page {len(pages) + 1}", f"own memory, {how}"
            pages.append(RealPage(page_name, "heap", held[:PAGE_SIZE], source=source))
            held = held[PAGE_SIZE:]
        if len(pages) == limit:
            break
    return pages


def _importable(module: str) -> Any:
    """The module, or None if it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


Compressor = Callable[[bytes], bytes]
_OPTIONAL: dict[str, tuple[str, Callable[[Any], Compressor]]] = {
    "lz4": ("lz4.block", lambda lib: lambda page: lib.compress(page, store_size=False)),
    "zstandard": ("zstandard", lambda lib: lib.ZstdCompressor(level=3).compress),
    "lzo": ("lzo", lambda lib: lambda page: lib.compress(page, 1, False)),  # zswap's default in 2013
}


@lru_cache(maxsize=1)
def compressors() -> Mapping[str, Compressor]:
    """The compressors of this machine by name, each from bytes to compressed bytes; `zlib` (level 1) is always first.

    lz4 (raw block), zstandard (level 3) and lzo (1x-1, without header) are there if their packages are;
    that is looked up once.
    """
    found: dict[str, Compressor] = {"zlib": lambda page: zlib.compress(page, 1)}
    for name, (module, make) in _OPTIONAL.items():
        if library := _importable(module):
            found[name] = make(library)
    return found


def compressed_size(page: RealPage, compressor: str = "zlib") -> int:
    """Bytes that `page` compresses to: the recorded size if it has one, else measured now.

    Builds of zlib differ by some bytes; a recorded size is the same everywhere.  An unknown name raises
    UnknownCompressor.
    """
    if compressor in page.sizes:
        return page.sizes[compressor]
    known = compressors()
    if compressor not in known:
        names = ", ".join(dict.fromkeys([*known, *page.sizes]))
        raise UnknownCompressor(f"no compressor {compressor!r} for {page.name!r}: known are {names}")
    return len(known[compressor](page.data))


def stored_size(page: RealPage, compressor: str = "zlib") -> int:
    """Bytes that zswap asks zbud for: the compressed page and zswap's header of 8 bytes."""
    return compressed_size(page, compressor) + ZSWAP_HEADER


class Offer(NamedTuple):
    """A page that zswap offered to zbud: the `size` asked for in bytes, and why it was refused ("" if it was taken)."""

    page: RealPage
    size: int
    reason: str


@dataclass(frozen=True)
class ZswapView:
    """What became of pages that zswap offered: `taken` and `refused`, each in the order of the pages."""

    taken: tuple[Offer, ...]
    refused: tuple[Offer, ...]
    max_size: int
    compressor: str

    @property
    def sizes(self) -> list[int]:
        """The sizes to ask zbud for, in bytes, in the order of the pages; refused pages are left out."""
        return [offer.size for offer in self.taken]

    def __str__(self) -> str:
        pages = len(self.taken) + len(self.refused)
        head = f"{len(self.taken)} of {pages} pages taken, {len(self.refused)} refused"
        limit = f" (limit {self.max_size} bytes, {self.compressor} and {ZSWAP_HEADER} bytes of zswap's own)"
        return "\n".join([head + limit, *(f"  {offer.page.name}: {offer.reason}" for offer in self.refused)])


def zswap_view(pages: Iterable[RealPage], max_size: int = 3968, compressor: str = "zlib") -> ZswapView:
    """Offer pages to a zbud that takes at most `max_size` bytes: 4096 in v11 and v12, 4032 in 3.11-rc1, 3968 later.

    A refused page goes to the swap device; Linux 3.11 counts it in zswap's reject_compress_poor.  A page of zeros is
    nothing special in 2013: it compresses to a few bytes and takes one chunk like any other.
    """
    taken, refused = list[Offer](), list[Offer]()
    for page in pages:
        size = stored_size(page, compressor)
        if size <= max_size:
            taken.append(Offer(page, size, ""))
        else:
            refused.append(Offer(page, size, f"{size} bytes, {size - max_size} over the limit of {max_size}"))
    return ZswapView(tuple(taken), tuple(refused), max_size, compressor)


def density(zpages: int, pages: int) -> float:
    """Compressed pages (zpages) held by each page of the pool: 1.0 to 2.0 in zbud, 0.0 for an empty pool."""
    return zpages / pages if pages else 0.0


def histogram(sizes: Iterable[int], chunks: int = 4) -> str:
    """How many sizes (bytes) need how many chunks of 64 bytes, as text: `chunks` chunks to a line, at most 60 marks.

    >>> print(histogram([10, 64, 65, 4097], chunks=32))
     1-32  ### 3
    33-64   0
    65-96  # 1
    """
    counts = Counter(max(0, size - 1) // CHUNK // chunks for size in sizes)
    unit = math.ceil(max([60, *counts.values()]) / 60)
    lines = []
    for row in range(max([(PAGE_SIZE // CHUNK - 1) // chunks, *counts]) + 1):
        span = f"{row * chunks + 1:2}-{(row + 1) * chunks:<3}"
        lines.append(f"{span} {'#' * math.ceil(counts[row] / unit)} {counts[row]}")
    return "\n".join(lines)


SizeStream = Callable[..., Iterator[int]]  # seed and max_size, both optional, to endless sizes in bytes


def _between(chance: random.Random, low: int, high: int) -> int:
    """A whole number from `low` to `high`, each as likely; no such number raises WorkloadError."""
    if high < low:
        raise WorkloadError(f"no size from {low} to {high} bytes: a max_size of at least {low} is needed")
    return low + int(chance.random() * (high - low + 1))


def uniform(seed: int = SEED, max_size: int = 3968) -> Iterator[int]:
    """Endless sizes from 1 to `max_size` bytes, each as likely: no workload, a fair test."""
    chance = random.Random(seed)
    while True:
        yield _between(chance, 1, max_size)


def lognormal(seed: int = SEED, max_size: int = 3968) -> Iterator[int]:
    """Endless sizes such as zswap sees: half of them below 1400 bytes, many close to that, few large.

    The logarithm has a deviation of 0.55.  Sizes above `max_size` are cut to it; the recording `04-lognormal` lets them
    through to be refused (give a large `max_size` for that).
    """
    chance = random.Random(seed)
    while True:
        bell = math.fsum(chance.random() for _ in range(12)) - 6.0  # nearly normal: mean 0, deviation 1
        growth = 1.0 + 0.55 * bell / 1024
        for _ in range(10):  # to the 1024th power: nearly exp(0.55 * bell), and the same bits on every machine
            growth *= growth
        yield max(1, min(max_size, int(1400 * growth)))


def bimodal(seed: int = SEED, max_size: int = 3968) -> Iterator[int]:
    """Endless sizes, half of them small (48 to 420 bytes) and half large (2500 to `max_size`): made to pair."""
    chance = random.Random(seed)
    while True:
        yield _between(chance, 48, 420) if chance.random() < 0.5 else _between(chance, 2500, max_size)


def overhalf(seed: int = SEED, max_size: int = 3968) -> Iterator[int]:
    """Endless sizes above half a page (2049 to `max_size`): no two fit together."""
    chance = random.Random(seed)
    while True:
        yield _between(chance, 2049, max_size)


SIZE_STREAMS: dict[str, SizeStream] = {stream.__name__: stream for stream in (uniform, lognormal, bimodal, overhalf)}

Operation = tuple[Literal["alloc", "free"], int]


def churn(sizes: Iterable[int], live: int, operations: int, seed: int = SEED) -> Iterator[Operation]:
    """A stream of operations that fills to about `live` zpages and stays there, made without any allocator.

    ("alloc", size) asks for bytes; ("free", k) gives back allocation number k, counted from 0.  A recording counts only
    allocations that succeeded; here a refused one has a number too, so its free is to be skipped.
    With n zpages live an allocation has chance 1 - n / (2 * live), so there are never more than 2 * live.  The stream
    ends after `operations`, or when it needs a size and `sizes` has none.

    >>> list(churn([100, 200, 300], live=1, operations=4))
    [('alloc', 100), ('free', 0), ('alloc', 200), ('free', 1)]
    """
    if live < 1 or operations < 0:
        raise WorkloadError(f"churn around {live} live zpages for {operations} operations: at least 1 and 0 are needed")
    return _churn(iter(sizes), live, operations, random.Random(seed))


def _churn(sizes: Iterator[int], live: int, operations: int, chance: random.Random) -> Iterator[Operation]:
    held, made = list[int](), 0
    for _ in range(operations):
        if chance.random() * 2 * live >= len(held):
            size = next(sizes, None)
            if size is None:
                return
            held.append(made)
            made += 1
            yield "alloc", size
        else:
            index = _between(chance, 0, len(held) - 1)
            held[index], held[-1] = held[-1], held[index]
            yield "free", held.pop()


def corpus(folder: Path = DATA) -> list[RealPage]:
    """The pages that come with zbudlab, with their recorded sizes; read and verified once.

    `tools/make_corpus.py` says how they were made.  Files that are missing or changed raise CorpusDamaged.
    """
    return list(_corpus(folder))


@lru_cache
def _corpus(folder: Path) -> tuple[RealPage, ...]:
    try:
        index = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        data = gzip.decompress((folder / "corpus.bin.gz").read_bytes())
        if corpus_digest(index["pages"], data) != index["sha256"]:
            raise CorpusDamaged("corpus.json and corpus.bin.gz are not as they were made: install zbudlab again")
        blocks = [data[at : at + PAGE_SIZE] for at in range(0, len(data), PAGE_SIZE)]
        return tuple(
            RealPage(page["name"], page["kind"], block, page["sizes"], f"{page['source']} ({page['licence']})")
            for page, block in zip(index["pages"], blocks, strict=True)
        )
    except FileNotFoundError as error:
        raise CorpusDamaged(f"{Path(error.filename).name} is missing: install zbudlab again") from error
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError) as error:
        raise CorpusDamaged(f"the corpus cannot be read ({type(error).__name__}): install zbudlab again") from error


def corpus_digest(pages: list[dict[str, Any]], data: bytes) -> str:
    """sha256 over the pages' index (as sorted JSON) and then their bytes, in hex: a changed size is noticed too."""
    return hashlib.sha256(json.dumps(pages, sort_keys=True).encode() + data).hexdigest()
