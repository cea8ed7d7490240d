"""The workload: an intact corpus, pages that are really read, sizes alike everywhere, errors in sentences."""

from __future__ import annotations

import ctypes
import gc
import gzip
import importlib.util
import json
import os
import shutil
import struct
import sys
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbudlab import workload
from zbudlab.workload import (
    SIZE_STREAMS,
    CorpusDamaged,
    NothingReadable,
    RealPage,
    UnknownCompressor,
    WorkloadError,
    churn,
    compressed_size,
    compressors,
    corpus,
    density,
    histogram,
    pages_of_file,
    pages_of_memory,
    stored_size,
    zswap_view,
)

MAKER = Path(__file__).resolve().parents[1] / "tools" / "make_corpus.py"
ZEROS = RealPage("zeros", "zeros", bytes(4096))


@pytest.fixture
def maker() -> ModuleType:
    if not MAKER.exists():
        pytest.skip("tools/ is not part of an installed zbudlab")
    spec = importlib.util.spec_from_file_location("make_corpus", MAKER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_corpus"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fresh_compressors() -> Iterator[None]:
    compressors.cache_clear()
    yield
    compressors.cache_clear()


# --- pages


def test_a_page_has_4096_bytes() -> None:
    with pytest.raises(WorkloadError, match="a page has 4096 bytes, 'short' has 4095"):
        RealPage("short", "text", bytes(4095))


def test_a_page_shows_itself_in_one_line() -> None:
    assert (
        str(RealPage("a.py, page 2", "source text", bytes(4096), {"zlib": 41})) == "a.py, page 2 (source text): zlib 41"
    )
    assert str(ZEROS) == "zeros (zeros)"
    assert len(repr(ZEROS)) < 200
    assert {ZEROS, RealPage("zeros", "zeros", bytes(4096))} == {ZEROS}


def test_file_pages_are_the_blocks_with_the_last_filled_by_zeros(tmp_path: Path) -> None:
    content = bytes(range(256)) * 33  # 8448 bytes: two pages and 256 bytes
    (tmp_path / "f.bin").write_bytes(content)
    pages = pages_of_file(tmp_path / "f.bin", kind="test")
    assert b"".join(page.data for page in pages) == content + bytes(3 * 4096 - len(content))
    assert [page.name for page in pages] == ["f.bin, page 1", "f.bin, page 2", "f.bin, page 3 (256 bytes, then zeros)"]
    assert {page.kind for page in pages} == {"test"}
    assert pages_of_file(str(tmp_path / "f.bin"), limit=2, kind="test") == pages[:2]
    assert pages_of_file(tmp_path / "f.bin", limit=0) == []


def test_a_file_of_whole_pages_has_no_short_one_and_an_empty_file_has_none(tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(b"x" * 8192)
    (tmp_path / "empty").touch()
    assert [page.data for page in pages_of_file(tmp_path / "whole")] == [b"x" * 4096] * 2
    assert pages_of_file(tmp_path / "empty") == []


def test_what_is_no_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NothingReadable, match=r"cannot read pages: .*No such file.*missing"):
        pages_of_file(tmp_path / "missing")
    with pytest.raises(NothingReadable, match="not a regular file"):
        pages_of_file(tmp_path)
    with pytest.raises(NothingReadable, match=r"cannot read pages: .*null"):
        pages_of_file("nul\0nul")


# --- memory


@pytest.mark.skipif(not os.access("/proc/self/mem", os.R_OK), reason="needs a readable /proc/self/mem")
def test_memory_pages_are_this_process() -> None:
    mark = b"this very page lies in the memory of the test"
    held = [mark * 200 for _ in range(4000)]  # 36 MB that is surely there, in heap and anonymous mappings
    pages = pages_of_memory(60)
    assert len(pages) == 60 == len({page.name for page in pages})
    assert {page.source for page in pages} == {"own memory, /proc/self/mem"}
    assert any(mark in page.data for page in pages)
    assert len(held) == 4000


def fake_proc(folder: Path, maps: str, memory: bytes, present: bytes | None = None) -> Path:
    (folder / "maps").write_text(maps)
    (folder / "mem").write_bytes(memory)
    if present is not None:
        (folder / "pagemap").write_bytes(b"".join(struct.pack("<Q", bit << 63 | 0x1234) for bit in present))
    return folder


needs_pread = pytest.mark.skipif(not hasattr(os, "pread"), reason="needs os.pread, as on Linux and macOS")

MAPS = """\
00000000-00001000 r-xp 00000000 08:01 77                         /bin/program
00001000-00003000 rw-p 00000000 00:00 0                          [heap]
00003000-00004000 rw-p 00000000 08:01 77                         /bin/program
00004000-00005000 rw-s 00000000 00:00 0
00005000-00006000 r--p 00000000 00:00 0
00006000-00007000 rw-p 00000000 00:00 0
00007000-00009000 rw-p 00000000 00:00 0                          [stack]
"""


@needs_pread
def test_only_private_writable_memory_without_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = b"".join(bytes([65 + number]) * 4096 for number in range(8)) + b"short"  # page 8 ends early
    monkeypatch.setattr(workload, "PROC", fake_proc(tmp_path, MAPS, memory))
    pages = {page.data[:1]: page for page in pages_of_memory(30)}
    assert {letter: page.kind for letter, page in pages.items()} == {
        b"B": "heap",
        b"C": "heap",
        b"G": "anonymous memory",
        b"H": "stack",
    }
    assert {page.source for page in pages.values()} == {"own memory, /proc/self/mem"}
    assert len(pages_of_memory(2)) == 2
    assert pages_of_memory(2, seed=1) == pages_of_memory(2, seed=1)


@needs_pread
def test_pages_that_are_not_present_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 4096)
    monkeypatch.setattr(
        workload, "PROC", fake_proc(tmp_path, MAPS, b"m" * 4096 * 9, bytes([1, 0, 1, 1, 1, 1, 0, 1, 0]))
    )
    assert sorted(page.name for page in pages_of_memory(30)) == ["[heap] page 1", "[stack] page 3"]


@needs_pread
def test_a_mapping_that_vanishes_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pread(file: int, count: int, at: int) -> bytes:
        if at < 0x6000:
            raise OSError(5, "Input/output error")
        return b"m" * count

    monkeypatch.setattr(workload, "PROC", fake_proc(tmp_path, MAPS, b""))
    monkeypatch.setattr(os, "pread", pread)
    assert {page.kind for page in pages_of_memory(30)} == {"anonymous memory", "stack"}


@pytest.mark.parametrize("maps", [None, "", "no such line\n", MAPS])
def test_without_proc_live_objects_are_read(maps: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No /proc at all, an empty one, a strange one, and one whose mem cannot be opened."""
    if maps is not None:
        (tmp_path / "maps").write_text(maps)
    monkeypatch.setattr(workload, "PROC", tmp_path)
    pages = pages_of_memory(5)
    assert [page.name for page in pages] == [f"live objects, page {number}" for number in range(1, 6)]
    assert {page.source for page in pages} == {"own memory, ctypes.string_at"}


def test_the_fallback_reads_a_tuple_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = object()
    known = (mark,) * 700
    length, header = tuple.__basicsize__ + 700 * 8, object.__basicsize__  # the header counts references: it differs
    monkeypatch.setattr(workload, "PROC", tmp_path)
    monkeypatch.setattr(gc, "get_objects", lambda: [known, known])
    pages = pages_of_memory(9)
    packed = b"".join(page.data for page in pages)
    assert len(packed) == 2 * length // 4096 * 4096 == 8192
    body = ctypes.string_at(id(known), length)[header:]
    assert packed[header:length] == body
    assert packed[length + header :] == body[: 8192 - length - header]
    assert body.count(struct.pack("P", id(mark))) == 700


@pytest.mark.parametrize("lacking", ["ctypes", "cpython"])
def test_without_ctypes_bytecode_is_read(lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "PROC", tmp_path)
    if lacking == "ctypes":
        monkeypatch.setattr(workload, "_importable", lambda name: None)
    else:
        monkeypatch.setattr(workload, "sys", SimpleNamespace(implementation=SimpleNamespace(name="pypy")))
    code = test_without_ctypes_bytecode_is_read.__code__.co_code
    monkeypatch.setattr(gc, "get_objects", lambda: [test_without_ctypes_bytecode_is_read, (1, 2)] * 100)
    pages = pages_of_memory(2)
    assert pages[0].data == (code * 100)[:4096]
    assert pages[0].source == "own memory, code objects"


def test_where_nothing_can_be_read_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "PROC", tmp_path)
    monkeypatch.setattr(gc, "get_objects", list)
    with pytest.raises(NothingReadable, match="no memory can be read here"):
        pages_of_memory()
    with pytest.raises(WorkloadError, match="asked for 0 pages"):
        pages_of_memory(0)


# --- compressors and zswap's view


def test_zlib_at_level_1_is_always_there(fresh_compressors: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "_importable", lambda name: None)
    assert list(compressors()) == ["zlib"]
    data = bytes(range(256)) * 16
    assert compressors()["zlib"](data) == zlib.compress(data, 1)


def test_what_is_installed_is_offered(fresh_compressors: None, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def compress(page: bytes, *how: int, **named: bool) -> bytes:
        calls.append((*how, named))
        return b"four"

    fakes = {
        "lz4.block": SimpleNamespace(compress=compress),
        "zstandard": SimpleNamespace(ZstdCompressor=lambda level: SimpleNamespace(compress=lambda page: b"z" * level)),
        "lzo": SimpleNamespace(compress=compress),
    }
    monkeypatch.setattr(workload, "_importable", fakes.get)
    assert list(compressors()) == ["zlib", "lz4", "zstandard", "lzo"]
    assert [compressed_size(ZEROS, name) for name in ("lz4", "zstandard", "lzo")] == [4, 3, 4]
    assert calls == [({"store_size": False},), (1, False, {})]


@pytest.mark.parametrize("name", ["lz4", "zstandard", "lzo"])
def test_installed_compressors_agree_with_the_recorded_sizes(name: str) -> None:
    if name not in compressors():
        pytest.skip(f"{name} is not installed")
    for page in corpus():
        assert abs(len(compressors()[name](page.data)) - page.sizes[name]) <= 40 + page.sizes[name] // 20


def test_a_recorded_size_is_preferred() -> None:
    assert compressed_size(RealPage("p", "k", bytes(4096), {"zlib": 1234, "gone": 7})) == 1234
    assert compressed_size(RealPage("p", "k", bytes(4096), {"gone": 7}), "gone") == 7
    assert compressed_size(ZEROS) == len(zlib.compress(bytes(4096), 1)) < 64


def test_an_unknown_compressor_is_named_with_those_known() -> None:
    page = RealPage("p", "k", bytes(4096), {"recorded": 9})
    with pytest.raises(UnknownCompressor, match=r"no compressor 'brotli' for 'p': known are zlib.*recorded$"):
        compressed_size(page, "brotli")


def test_zswap_adds_its_header() -> None:
    assert stored_size(RealPage("p", "k", bytes(4096), {"zlib": 100})) == 108


@pytest.mark.parametrize("max_size", [4096, 4032, 3968])
def test_the_largest_size_is_taken_and_one_more_is_refused(max_size: int) -> None:
    pages = [RealPage(f"{size}", "k", bytes(4096), {"zlib": size - 8}) for size in (max_size + 1, 64, max_size)]
    view = zswap_view(pages, max_size)
    assert view.sizes == [64, max_size]
    assert [offer.page for offer in view.taken] == pages[1:]
    assert [(offer.page, offer.size) for offer in view.refused] == [(pages[0], max_size + 1)]
    assert str(view) == (
        f"2 of 3 pages taken, 1 refused (limit {max_size} bytes, zlib and 8 bytes of zswap's own)\n"
        f"  {max_size + 1}: {max_size + 1} bytes, 1 over the limit of {max_size}"
    )


def test_each_version_refuses_other_pages_of_the_corpus() -> None:
    never = {f"random bytes, page {n}" for n in (1, 2, 3)} | {f"hills under a sky (PNG), page {n}" for n in (2, 3, 4)}
    never.add("numbers, deflated, page 1")
    refused = {size: {offer.page.name for offer in zswap_view(corpus(), size).refused} for size in (4096, 4032, 3968)}
    assert refused[4096] == never
    assert refused[4032] == never | {"keys with a number each"}
    assert refused[3968] == refused[4032] | {"fingerprints with a number and a type each"}
    assert len(zswap_view(corpus(), 3968, "lzo").refused) == 18


# --- the corpus


def test_the_corpus_is_whole() -> None:
    pages = corpus()
    assert len(pages) == 96 == len({page.name for page in pages})
    assert all(len(page.data) == 4096 and page.source.endswith((" (MIT)", " (PSF-2.0)")) for page in pages)
    assert all(set(page.sizes) == {"zlib", "lz4", "zstandard", "lzo"} for page in pages)
    kinds = {page.kind for page in pages}
    assert kinds >= {"source text", "bytecode", "machine code", "heap", "picture", "zeros", "sparse", "noise", "prose"}


def test_the_corpus_is_cached_and_cannot_be_spoilt() -> None:
    corpus().clear()
    assert corpus()[0] is corpus()[0]


def test_recorded_sizes_are_about_what_zlib_gives_here() -> None:
    another = "ng" in zlib.ZLIB_RUNTIME_VERSION or hasattr(zlib, "ZLIBNG_VERSION")  # compresses otherwise at level 1
    for page in corpus():
        now, then = len(zlib.compress(page.data, 1)), page.sizes["zlib"]
        assert abs(now - then) <= (then if another else 16 + then // 50), page


def test_the_corpus_has_a_telling_spread() -> None:
    sizes = sorted(page.sizes["zlib"] for page in corpus())
    assert sizes[4] < 128
    assert 800 < sizes[48] < 1600
    assert sum(2048 < size <= 3960 for size in sizes) > 15
    assert sum(size > 4096 for size in sizes) == 7


def test_nothing_of_a_machine_is_in_the_corpus(maker: ModuleType) -> None:
    folder = workload.DATA
    data = gzip.decompress((folder / "corpus.bin.gz").read_bytes())
    for text in (data, (folder / "corpus.json").read_bytes(), (folder / "corpus.bin.gz").read_bytes()[:64]):
        for word in (b"/home/", b"/root", b"/usr/", b"/tmp", b"/work", b"C:\\Users", b".pyenv", b"site-packages"):
            assert word not in text
        assert maker.leaks(text) == []
    for page in corpus():
        if page.kind in ("heap", "machine code", "bytecode"):
            assert maker.paths(page.data) == []
    assert (folder / "corpus.bin.gz").stat().st_size < 300_000


@pytest.mark.parametrize("encoding", ["ascii", "utf-16-le", "utf-32-le"])
def test_a_leak_is_seen_in_every_width(encoding: str, maker: ModuleType) -> None:
    assert len(maker.leaks(b"\1\2" + "/home/someone".encode(encoding) + b"\3")) == 1
    assert len(maker.leaks(b"\1\2" + "HOSTNAME".encode(encoding) + b"\3", ("HOSTNAME",))) == 1
    assert maker.paths(b"\1\2" + "/lib64".encode(encoding) + b"\3")
    assert maker.leaks(b"the work at home / on the root") == [] == maker.paths(b"1 / 2 and/or")


def test_pages_made_from_a_seed_are_still_made_so(maker: ModuleType) -> None:
    """Those that need neither the platform's zlib nor its sine; the maker's docstring promises it."""
    shipped = {page.name: page.data for page in corpus()}
    made = [page for page in maker.made_pages() if page.kind in ("zeros", "sparse", "noise", "text", "prose")]
    assert len(made) == 18
    assert all(shipped[page.name] == page.data for page in made)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(workload.DATA, tmp_path / "data"))


def test_a_copy_of_the_corpus_is_the_corpus(copy: Path) -> None:
    assert corpus(copy) == corpus()


@pytest.mark.parametrize("name", ["corpus.json", "corpus.bin.gz"])
def test_a_missing_file_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(CorpusDamaged, match=f"^{name} is missing: install zbudlab again$"):
        corpus(copy)


def test_a_changed_byte_is_noticed(copy: Path) -> None:
    data = bytearray(gzip.decompress((copy / "corpus.bin.gz").read_bytes()))
    data[5 * 4096 + 7] ^= 1
    (copy / "corpus.bin.gz").write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(CorpusDamaged, match="not as they were made"):
        corpus(copy)


def test_a_changed_size_is_noticed(copy: Path) -> None:
    index = json.loads((copy / "corpus.json").read_text())
    index["pages"][3]["sizes"]["zlib"] += 1
    (copy / "corpus.json").write_text(json.dumps(index))
    with pytest.raises(CorpusDamaged, match="not as they were made"):
        corpus(copy)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("corpus.json", b""),
        ("corpus.json", b"[]"),
        ("corpus.json", b"{}"),
        ("corpus.json", b"\xff\xfe"),
        ("corpus.bin.gz", b""),
        ("corpus.bin.gz", b"not gzip at all"),
        ("corpus.bin.gz", None),
    ],
)
def test_files_of_another_kind_are_refused_in_a_sentence(name: str, content: bytes | None, copy: Path) -> None:
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(
        CorpusDamaged, match=r"^(the corpus cannot be read \(\w+\)|corpus.*made): install zbudlab again$"
    ):
        corpus(copy)


def test_an_index_of_another_length_is_refused(copy: Path) -> None:
    index = json.loads((copy / "corpus.json").read_text())
    data = gzip.decompress((copy / "corpus.bin.gz").read_bytes())
    index["sha256"] = workload.corpus_digest(index["pages"][1:], data)
    index["pages"].pop(0)
    (copy / "corpus.json").write_text(json.dumps(index))
    with pytest.raises(CorpusDamaged, match="cannot be read"):
        corpus(copy)


# --- streams, churn, pictures


FIRST_SIZES = {
    "uniform": ([1617, 667, 404, 2796, 1921, 3562, 1952, 3677], [1327, 618, 2667, 297, 2195, 1498, 238, 2079]),
    "lognormal": ([1593, 1857, 2875, 2128, 848, 821, 1789, 1899], [316, 1667, 475, 1815, 1382, 2708, 1005, 1383]),
    "bimodal": ([110, 310, 382, 393, 2675, 261, 3893, 3004], [104, 2615, 3084, 237, 209, 81, 356, 131]),
    "overhalf": ([2831, 2371, 2244, 3401, 2978, 3772, 2993, 3828], [2712, 2357, 3382, 2197, 3146, 2797, 2167, 3088]),
}


@pytest.mark.parametrize("name", SIZE_STREAMS)
def test_streams_are_the_same_everywhere(name: str) -> None:
    stream = SIZE_STREAMS[name]
    assert (list(islice(stream(), 8)), list(islice(stream(seed=7, max_size=4096), 8))) == FIRST_SIZES[name]


def drawn(name: str, max_size: int = 3968) -> list[int]:
    return sorted(islice(SIZE_STREAMS[name](max_size=max_size), 20000))


def test_streams_have_the_shapes_of_the_recordings() -> None:
    even = drawn("uniform")
    assert (even[0], even[-1]) == (1, 3968)
    assert abs(even[10000] - 1984) < 50
    bell = drawn("lognormal", 1 << 20)
    assert abs(bell[10000] - 1400) < 30
    assert abs(bell[3173] - 807) < 30  # one deviation down and up: 1400 / exp(0.55), 1400 * exp(0.55)
    assert abs(bell[16827] - 2427) < 60
    assert bell[-1] > 6000
    two = drawn("bimodal")
    assert (two[0], two[-1]) == (48, 3968)
    assert {size for size in two if 420 < size < 2500} == set()
    assert {420, 2500} <= set(two)
    assert abs(sum(size <= 420 for size in two) - 10000) < 300
    assert (drawn("overhalf")[0], drawn("overhalf")[-1]) == (2049, 3968)


def test_lognormal_is_cut_to_the_largest_size() -> None:
    sizes = drawn("lognormal")
    assert sizes[-1] == 3968
    assert 300 < sizes.count(3968) < 800
    assert sizes[: 20000 - sizes.count(3968)] == drawn("lognormal", 1 << 20)[: 20000 - sizes.count(3968)]


def test_a_largest_size_too_small_for_the_shape_is_refused() -> None:
    with pytest.raises(WorkloadError, match="a max_size of at least 2049 is needed"):
        next(SIZE_STREAMS["overhalf"](max_size=2048))
    assert next(SIZE_STREAMS["overhalf"](max_size=2049)) == 2049


@given(live=st.integers(1, 40), operations=st.integers(0, 400), seed=st.integers(0, 2**64))
def test_churn_frees_what_lives_and_stays_around_its_target(live: int, operations: int, seed: int) -> None:
    done = list(churn(range(1000, 2000), live, operations, seed))
    assert len(done) == operations
    assert done == list(churn(range(1000, 2000), live, operations, seed))
    held: set[int] = set()
    made = 0
    for verb, value in done:
        if verb == "alloc":
            assert value == 1000 + made
            held.add(made)
            made += 1
        else:
            assert verb == "free"
            held.remove(value)
        assert len(held) <= 2 * live


def test_churn_fills_to_its_target_and_frees_old_and_young() -> None:
    live, ages, count, made = [], [], 0, 0
    for verb, value in churn(SIZE_STREAMS["lognormal"](), 200, 20000):
        if verb == "free":
            ages.append(made - value)
        made += verb == "alloc"
        count += 1 if verb == "alloc" else -1
        live.append(count)
    assert 190 < sum(live[2000:]) / 18000 < 210
    assert min(live[2000:]) > 140
    assert max(live) < 260
    assert min(ages) == 1  # the youngest goes at once, now and then
    assert max(ages) > 800


def test_churn_ends_with_its_sizes_and_refuses_nonsense() -> None:
    assert list(churn([5, 6], 50, 99)) == [("alloc", 5), ("alloc", 6)]
    for live, operations in ((0, 5), (5, -1)):
        with pytest.raises(WorkloadError, match="at least 1 and 0 are needed"):
            churn([1], live, operations)


def test_churn_is_pinned() -> None:
    assert list(churn(range(100, 900, 100), 3, 10)) == [
        ("alloc", 100),
        ("alloc", 200),
        ("free", 1),
        ("alloc", 300),
        ("alloc", 400),
        ("free", 3),
        ("alloc", 500),
        ("free", 2),
        ("alloc", 600),
        ("alloc", 700),
    ]


def test_density() -> None:
    assert (density(0, 0), density(3, 2)) == (0.0, 1.5)


def test_histogram_counts_every_size_in_its_row() -> None:
    rows = histogram([1, 64, 65, 256, 257, 4096, 4097]).splitlines()
    assert (rows[0], rows[1], rows[15], rows[16]) == (" 1-4   #### 4", " 5-8   # 1", "61-64  # 1", "65-68  # 1")
    assert len(rows) == 17
    assert len(histogram([], 5).splitlines()) == 13  # 61-65 holds the last chunks
    many = histogram([10] * 6001 + [5000], 64).splitlines()
    assert many[0].count("#") == 60
    assert many[1].count("#") == 1
