"""How the corpus of real pages was made: `python tools/make_corpus.py [FOLDER]` writes corpus.bin.gz and corpus.json.

Run on Linux with a CPython that has lz4, zstandard and python-lzo installed, so that all sizes can be recorded.
The corpus is meant to hold what a machine swaps out: mostly heap, some text and code, a few pages that are nearly
nothing and a few that no compressor can help.

What is the same in every run of one Python: the pages made from a seed, and those cut from the standard library.
What is not: the heap pages.  They are read from the memory of a second interpreter, where addresses differ from run
to run.  So a new run gives another corpus with another digest, and every saved output that shows its sizes has to
be made anew.

Nothing of the machine may get in.  The second interpreter gets an empty environment, the root directory and its
program on standard input; code is compiled under a neutral file name; and any page in which a path, the user's or
the host's name is found, in 8-, 16- or 32-bit characters, is thrown away.  `leaks` is that test, and the tests
apply it to the shipped corpus.
"""

from __future__ import annotations

import base64
import getpass
import gzip
import json
import marshal
import math
import platform
import random
import re
import socket
import struct
import subprocess
import sys
import sysconfig
import zlib
from array import array
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zbudlab.struct_page import PAGE_SIZE
from zbudlab.workload import SEED, compressors, corpus_digest, histogram

OURS = "MIT"
PSF = "PSF-2.0"
PYTHON = f"CPython {platform.python_version()}"

SOURCES = """json/decoder.py dataclasses.py difflib.py statistics.py enum.py contextlib.py functools.py calendar.py
    fractions.py ast.py textwrap.py heapq.py""".split()
BYTECODE = "json/decoder.py dataclasses.py difflib.py statistics.py enum.py functools.py ast.py".split()

PROSE = """\
A machine that has run short of memory looks for pages that nobody has touched for a while. It used to write them to a
disk and take the frames. Disks are slow, processors are not, and so another place was put in front of the disk: a
pool of memory where pages wait in compressed form. A page of four thousand and ninety-six bytes goes in, and
something smaller comes to rest. How much smaller is nobody's choice. It depends on what the program was doing when it
was forgotten.

Most of what programs keep is dull, and that is good news. Pointers share their upper halves. Counters are small
numbers in wide fields. Text repeats its favourite words, tables repeat their headings, and every allocator leaves
gaps that were zero when it began. Such a page shrinks to a third of its size or less. Pages of pure nothing shrink to
a few bytes and still need a place of their own. Other pages do not shrink at all. A photograph has been squeezed once
before, and so has music, and so has everything that came over an encrypted line. To a compressor these are noise. It
hands back the same page with a few more bytes in front, and the pool sends it on to the disk.

The question is then how to lay odd sizes into even frames. One way is to cut them up and glue the pieces together,
which packs tightly and makes it hard to say which frame will be empty next. The other way is to put two into each
frame and no more: one from the left, one from the right, and whatever is left over stays in the middle. It wastes
some memory and knows two things for certain. No frame ever holds more than two tenants, so to empty one frame is
never more than two pieces of work. And every tenant lies in one piece, so nobody has to copy it together before
reading.

Whether two fit depends on the crowd. If everybody is small, any two get along, and the pool holds twice as many pages
as it has frames. If everybody needs more than half, no two ever meet, and the pool is a row of single rooms. Between
the two lies the ordinary case, where one large tenant and one small one share, provided that somebody looks for the
gap that fits best and does not simply take the first one open. That search has to be short. A list for each size of
gap is enough: start with the smallest gap that would do, and go up until a list is not empty.

It is worth watching such a pool for a while with pages from a real program and not with numbers from a formula. The
formula is smooth. The program is not: it frees a hundred tenants of one kind at once, then asks for a hundred of
another, and the gaps that were made for the first are a little too small for the second. The average says that all is
well. The lists say which frames are half empty, and why.
"""

HEAP_PROGRAM = r"""
import argparse, ast, collections, dataclasses, difflib, enum, fractions, functools, gc, json, os, random, re
import statistics, struct, textwrap, typing
chance = random.Random(SEED)
memory = os.open("/proc/self/mem", os.O_RDONLY)
def word(address):
    return struct.unpack("<Q", os.pread(memory, 8, address))[0]
def show(kind, addresses):
    chosen = sorted({address >> 12 for address in addresses})
    chance.shuffle(chosen)
    for number in chosen[:60]:
        try:
            page = os.pread(memory, 4096, number << 12)
        except OSError:
            continue
        print(json.dumps([kind, page.hex()]))
interpreter = [id(thing) for thing in gc.get_objects()]
class Account:
    __slots__ = ("name", "number", "balance", "friends")
    def __init__(self, number):
        self.name, self.number, self.balance = "account %d" % number, number, number * 37 % 1000 / 8
        self.friends = ()
accounts = [Account(number) for number in range(4000)]
for account in accounts:
    account.friends = tuple(chance.sample(accounts, 3))
records = [{"id": n, "name": "reader %d" % n, "score": chance.random(), "tags": ["page", "zbud"]} for n in range(4000)]
squares = tuple(n * n for n in range(40000))
table = {"key %d" % (n * 7919): n for n in range(40000)}
words = ["%s-%d" % (chance.choice(["unbuddied", "buddied", "lru", "chunk", "slab"]), n) for n in range(8000)]
floats = [chance.random() for _ in range(20000)]
text = json.dumps(records)
tree = ast.parse("\n".join("x%d = [y %% %d for y in range(%d) if y > %d]" % (n, n + 1, n, n // 2) for n in range(400)))
show("the interpreter's heap", interpreter)
show("objects with four slots", map(id, accounts))
show("small dicts", map(id, records))
show("a tuple of ints", range(id(squares), id(squares) + 320000, 4096))
show("int objects", map(id, squares[300:]))
keys = word(id(table) + 32)
show("the keys of a dict", range(keys, keys + 1400000, 4096))
show("short strings", map(id, words))
show("float objects", map(id, floats))
show("a long string", range(id(text), id(text) + len(text), 4096))
show("a syntax tree", map(id, ast.walk(tree)))
"""


class Made(NamedTuple):
    """One page before it is measured."""

    name: str
    kind: str
    source: str
    licence: str
    data: bytes


def leaks(data: bytes, names: tuple[str, ...] = ()) -> list[bytes]:
    """What in `data` looks like a path of a machine, or is one of `names`; in 8-, 16- and 32-bit characters."""
    folders = "/home/ /root /usr/ /tmp /work /opt/ /var/ /mnt/ /Users/ .pyenv site-packages".split()
    found = []
    for word in (*folders, *names):
        for zeros in (b"", b"\0", b"\0\0\0"):
            found += re.findall(zeros.join(re.escape(bytes([byte])) for byte in word.encode()), data)
    return found


def paths(data: bytes) -> list[bytes]:
    """Anything like /word, for memory and machine code, where no path has any business."""
    return re.findall(rb"/(?:\0{0,3}[\w.+-]){4,}", data)


def clean(data: bytes) -> bool:
    """Whether a page of memory or code holds nothing of this machine, as far as a search can tell."""
    user, host = getpass.getuser(), socket.gethostname()
    return not paths(data) and not leaks(data, (user, host, "pyenv"))


def blocks(data: bytes) -> list[bytes]:
    """4096-byte blocks, the last one filled with zeros."""
    return [data[at : at + PAGE_SIZE].ljust(PAGE_SIZE, b"\0") for at in range(0, len(data), PAGE_SIZE)]


def random_bytes(chance: random.Random, count: int) -> bytes:
    return bytes(int(chance.random() * 256) for _ in range(count))


def library_pages() -> Iterator[Made]:
    """One page each of library sources and of their bytecode, compiled under a name that tells nothing."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for where in SOURCES:
        pages = blocks((library / where).read_bytes())
        number = next(n for n, page in enumerate(pages) if n and not leaks(page))
        yield Made(f"{where}, page {number + 1}", "source text", f"{PYTHON}, Lib/{where}", PSF, pages[number])
    for where in BYTECODE:
        code = compile((library / where).read_text(encoding="utf-8"), where, "exec", dont_inherit=True, optimize=0)
        pages = blocks(marshal.dumps(code))
        number = next(n for n, page in enumerate(pages) if n and clean(page))
        yield Made(f"{where} compiled, page {number + 1}", "bytecode", f"{PYTHON}, Lib/{where}", PSF, pages[number])


def machine_code() -> Iterator[Made]:
    """Pages from the interpreter's own instructions: its largest executable mapping, which is CPython alone."""
    spans = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, mode, _, _, _, *file = line.split(maxsplit=5)
        if "x" in mode and file and "python" in Path(file[0]).name:
            start, end = (int(part, 16) for part in span.split("-"))
            spans.append((end - start, start))
    length, start = max(spans)
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        memory.seek(start)
        pages = blocks(memory.read(length))
    for number in range(40, len(pages) - 40, len(pages) // 8):
        if clean(pages[number]):
            about = f"{PYTHON} for {platform.machine()}, instructions"
            yield Made(f"the interpreter's instructions, page {number}", "machine code", about, PSF, pages[number])


def heap(wanted: dict[str, int]) -> Iterator[Made]:
    """Pages of a second interpreter that holds some objects: `wanted` of each kind, those that are clean."""
    program = HEAP_PROGRAM.replace("SEED", str(SEED))
    run = [sys.executable, "-I", "-S", "-X", "utf8", "-"]
    printed = subprocess.run(run, input=program, env={}, cwd="/", capture_output=True, text=True, check=True).stdout
    seen = dict.fromkeys(wanted, 0)
    for line in printed.splitlines():
        kind, digits = json.loads(line)
        page = bytes.fromhex(digits)
        if seen[kind] < wanted[kind] and clean(page) and page.count(0) < PAGE_SIZE:
            seen[kind] += 1
            yield Made(f"{kind}, page {seen[kind]}", "heap", f"{PYTHON}, memory of a fresh process", PSF, page)
    if seen != wanted:
        raise SystemExit(f"not enough clean heap pages: wanted {wanted}, found {seen}")


def picture(width: int, height: int) -> tuple[bytes, bytes]:
    """A sky above hills, with grain that grows from the top down: 3 bytes a pixel, and as a PNG file."""
    chance = random.Random(SEED)
    rows = []
    for y in range(height):
        row = bytearray()
        for x in range(width):
            hill = height * (0.6 + 0.1 * math.sin(x / 23) + 0.05 * math.sin(x / 7))
            shade = (90 + y // 2, 140 + y // 3, 230) if y < hill else (40 + x % 16, 110 - y // 8, 50)
            grain = int(chance.random() * (4 + y // 4))
            row += bytes(min(255, max(0, tone + grain)) for tone in shade)
        rows.append(bytes(row))

    def part(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"".join(rows), b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", packed) + part(b"IEND", b"")


def letters_on_a_screen() -> bytes:
    """A one-byte-a-pixel window of 512 x 64: text-like strokes on an even ground."""
    chance = random.Random(SEED)
    screen = bytearray(b"\xf7" * 512 * 64)
    for line in range(4, 60, 14):
        for x in range(8, 480, 7):
            for stroke in range(int(chance.random() * 4)):
                for y in range(9):
                    screen[(line + y) * 512 + x + stroke * 2 % 5] = 0x20 if y % (stroke + 2) else 0x60
    return bytes(screen)


def numbers() -> Iterator[tuple[str, bytes]]:
    """Arrays as programs keep them, one page each."""
    chance = random.Random(SEED)
    walk = [0.0]
    for _ in range(511):
        walk.append(walk[-1] + chance.random() - 0.5)
    yield "doubles: a random walk", array("d", walk).tobytes()
    yield "doubles: evenly random", array("d", (chance.random() for _ in range(512))).tobytes()
    yield "doubles: prices in cents", array("d", (int(chance.random() * 9999) / 100 for _ in range(512))).tobytes()
    yield "floats: a pixel mask, mostly 0 and 1", array("f", (float(i % 97 > 40) for i in range(1024))).tobytes()
    yield "floats: readings with noise", array("f", (20 + chance.random() for _ in range(1024))).tobytes()
    yield "64-bit counters", array("q", range(7000, 7000 + 3 * 512, 3)).tobytes()
    yield "32-bit amounts below a million", array("i", (int(chance.random() * 1e6) for _ in range(1024))).tobytes()
    yield "64-bit times, a few apart", array("q", (1369067166000 + i * 40 + i * i % 7 for i in range(512))).tobytes()
    yield (
        "16-bit sound",
        array("h", (int(8000 * math.sin(i / 30) + 300 * chance.random()) for i in range(2048))).tobytes(),
    )


def texts() -> Iterator[tuple[str, bytes]]:
    """Tables, logs and letters, a page each."""
    chance = random.Random(SEED)
    rows = [(n, int(chance.random() * 4096), round(chance.random() * 100, 3)) for n in range(400)]
    yield "a table (CSV)", "".join(f"{n};{size};{share};zbud\n" for n, size, share in rows).encode()[:PAGE_SIZE]
    entries = [
        {"pfn": n, "size": size, "share": share, "slot": "FIRST" if n % 2 else "LAST"} for n, size, share in rows
    ]
    yield "records (JSON)", json.dumps(entries, indent=1).encode()[:PAGE_SIZE]
    hours = [f"2013-05-{20 + n // 40} 14:{n % 60:02}:{size % 60:02}" for n, size, _ in rows]
    lines = (f"{hours[n]} pool: stored page {n} in {size} bytes, {share} ms\n" for n, size, share in rows)
    yield "a log", "".join(lines).encode()[:PAGE_SIZE]
    yield "an attachment (base64)", base64.encodebytes(random_bytes(chance, 3000))[:PAGE_SIZE]
    yield "digests in hex", "".join(random_bytes(chance, 32).hex() + "\n" for _ in range(63)).encode()


def sparse() -> Iterator[tuple[str, bytes]]:
    """Pages that are mostly zeros."""
    chance = random.Random(SEED)
    for count in (1, 8, 40, 120):
        page = bytearray(PAGE_SIZE)
        for _ in range(count):
            at = int(chance.random() * 512) * 8
            page[at : at + 8] = struct.pack("<Q", 0x7F0000000000 + int(chance.random() * 1e9) * 16)
        yield f"{count} pointer{'s' * (count > 1)} in zeros", bytes(page)


def made_pages() -> Iterator[Made]:
    """Everything that a seed makes."""
    chance = random.Random(SEED)

    def several(kind: str, name: str, data: bytes, keep: list[int] | None = None) -> Iterator[Made]:
        pages = blocks(data)
        for number in keep or range(len(pages)):
            title = f"{name}, page {number + 1}" if len(pages) > 1 else name
            yield Made(title, kind, "tools/make_corpus.py", OURS, pages[number])

    pixels, png = picture(320, 200)
    for number in range(3):
        yield from several("zeros", f"untouched, page {number + 1}", bytes(PAGE_SIZE))
    for name, data in sparse():
        yield from several("sparse", name, data)
    for name, data in numbers():
        yield from several("numbers", name, data)
    for name, data in texts():
        yield from several("text", name, data)
    yield from several("prose", "about two in a frame", PROSE.replace("\n", " ").encode()[:-1])
    yield from several("bitmap", "pixels of hills under a sky", pixels, [2, 16, 30, 45])
    yield from several("bitmap", "a window full of letters", letters_on_a_screen(), [1, 4])
    yield from several("picture", "hills under a sky (PNG)", png, [1, 2, 3])
    log = "".join(f"{int(chance.random() * 1e9)} {n}\n" for n in range(5000)).encode()
    packed = zlib.compress(log, 9)
    yield from several("compressed", "numbers, deflated", packed, [0, len(packed) // PAGE_SIZE])
    keys = b"".join(struct.pack("<I", n) + random_bytes(chance, 60) for n in range(64))
    yield from several("noise", "keys with a number each", keys)
    marks = b"".join(struct.pack("<IB", n, 7) + random_bytes(chance, 59) for n in range(64))
    yield from several("noise", "fingerprints with a number and a type each", marks)
    for number in range(3):
        yield from several("noise", f"random bytes, page {number + 1}", random_bytes(chance, PAGE_SIZE))


def libraries() -> dict[str, dict[str, object]]:
    """What measured the sizes, by compressor name; all four have to be there."""
    if missing := {"zlib", "lz4", "zstandard", "lzo"} - set(compressors()):
        raise SystemExit(f"cannot measure without {', '.join(sorted(missing))}: pip install lz4 zstandard python-lzo")
    lz4, zstandard, lzo = (import_module(name) for name in ("lz4", "zstandard", "lzo"))
    version = metadata.version
    zstd = ".".join(map(str, zstandard.ZSTD_VERSION))
    return {
        "zlib": {"library": f"zlib {zlib.ZLIB_RUNTIME_VERSION}", "package": PYTHON, "level": 1},
        "lz4": {
            "library": f"lz4 {lz4.library_version_string()}",
            "package": f"lz4 {version('lz4')}",
            "level": "default, raw block",
        },
        "zstandard": {"library": f"zstd {zstd}", "package": f"zstandard {version('zstandard')}", "level": 3},
        "lzo": {
            "library": f"lzo {lzo.LZO_VERSION_STRING.decode()}",
            "package": f"python-lzo {version('python-lzo')}",
            "level": "lzo1x_1, without header",
        },
    }


def python_licence() -> list[str]:
    """The PSF licence agreement, as the licence itself asks for, one line to an item."""
    text = (Path(sysconfig.get_paths()["stdlib"]) / "LICENSE.txt").read_text(encoding="utf-8")
    start = text.index("PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2")
    return text[start : text.index("BEOPEN.COM LICENSE")].strip().splitlines()


def main(folder: Path) -> None:
    """Make the corpus, write it to `folder`, say what it holds."""
    wanted = {"the interpreter's heap": 15, "objects with four slots": 3, "small dicts": 3, "a tuple of ints": 1}
    wanted |= {"int objects": 2, "the keys of a dict": 2, "short strings": 2, "float objects": 1, "a long string": 1}
    wanted |= {"a syntax tree": 2}
    pages = [*library_pages(), *machine_code(), *heap(wanted), *made_pages()]
    random.Random(SEED).shuffle(pages)  # as reclaim would meet them: of all kinds, in no order
    measure: dict[str, Callable[[bytes], bytes]] = dict(compressors())
    about = libraries()
    index = []
    for page in pages:
        sizes = {name: len(measure[name](page.data)) for name in about}
        index.append(page._asdict() | {"sizes": sizes})
        del index[-1]["data"]
    data = b"".join(page.data for page in pages)
    whole = {
        "about": "pages in the order of corpus.bin.gz, made by tools/make_corpus.py; sizes in bytes, without zswap's 8",
        "sha256": corpus_digest(index, data),
        "compressors": about,
        "pages": index,
        "licences": {OURS: "as zbudlab itself, see its LICENSE", PSF: python_licence()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corpus.bin.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    (folder / "corpus.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(f"{len(pages)} pages, {(folder / 'corpus.bin.gz').stat().st_size} bytes packed")
    print(histogram(page["sizes"]["zlib"] for page in index))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "zbudlab" / "data")
