"""Recorded kernels: what ships, what the loader refuses, and surveys of this machine played with small files."""

import gzip
import hashlib
import json
import os
import shutil
import struct
from array import array
from pathlib import Path
from typing import Any

import pytest

from zbudlab import kernel
from zbudlab.kernel import Cell, Oops, RecordingError
from zbudlab.memmap import KernelOops
from zbudlab.survey import BLOCK, NAMES, Survey, bar, kind, survey

RELEASES = kernel.releases()
SHIPPED = pytest.mark.parametrize("name", RELEASES)


# What ships


def test_which_recordings_ship() -> None:
    assert RELEASES == ["6.1", "6.12"]
    sizes = {name: sum(path.stat().st_size for path in (kernel.DATA / name).iterdir()) for name in RELEASES}
    assert all(size < 600_000 for size in sizes.values()), sizes


@SHIPPED
def test_every_part_has_the_digest_that_the_index_names(name: str) -> None:
    index = json.loads((kernel.DATA / name / "index.json").read_text())
    for told in index["parts"].values():
        content = gzip.decompress((kernel.DATA / name / told["file"]).read_bytes())
        assert (len(content), hashlib.sha256(content).hexdigest()) == (told["length"], told["sha256"])
    assert {path.name for path in (kernel.DATA / name).iterdir()} == {"index.json"} | {
        told["file"] for told in index["parts"].values()
    }


@SHIPPED
def test_a_recording_is_of_one_piece(name: str) -> None:
    r = kernel.load(name)
    assert len(r.pfns) == 65536 == len(r.kpageflags) == len(r.kpagecount) == len(r.alive) == len(r.memmap_bytes) // 64
    assert sorted(r.headers) == sorted(r.free_chunks) == r.zbud_pfns == sorted(set(r.zbud_pfns))
    assert all(len(header) == 64 for header in r.headers.values())
    assert all(len(after) == 64 and after != r.record(pfn) for pfn, after in r.changed.items())
    assert r.provenance["kernel"].startswith(name) and f"{name}." in r.figures["proc-version"]
    assert hashlib.sha256(r.config.encode()).hexdigest() == r.provenance["config_sha256"]
    assert {"CONFIG_ZBUD=y", "CONFIG_ZSWAP=y"} <= set(r.config.splitlines())
    assert "pswpout" in r.figures["proc-vmstat"]


@SHIPPED
def test_three_counts_of_the_pool_agree_exactly(name: str) -> None:
    r = kernel.load(name)
    pages = int(r.figures["sys-kernel-debug-zswap-pool_total_size"]) // 4096
    assert pages == len(r.zbud_pfns) == sum(map(bool, r.alive)) == r.facts["pages_nr"] > 9_000
    assert r.zbud_pfns == [pfn for pfn in r.pfns if r.alive[pfn]]
    for told in r.exhibits["counts"].values():
        assert len(set(told.values())) == 1


@SHIPPED
def test_headers_lists_and_handles_tell_the_same(name: str) -> None:
    r = kernel.load(name)
    offsets = {m["name"]: m["offset"] for m in r.facts["structs"]["zbud_header"]["members"]}
    for pfn, header in r.headers.items():
        first, last = (struct.unpack_from("<I", header, offsets[n])[0] for n in ("first_chunks", "last_chunks"))
        assert r.alive[pfn] == (first > 0) + 2 * (last > 0)
        assert 0 < first + last <= 63
        assert r.free_chunks[pfn] == (0 if first and last else 63 - first - last)


@SHIPPED
def test_a_zbud_page_is_told_by_nothing_in_its_record(name: str) -> None:
    r = kernel.load(name)
    assert {(r.kpageflags[pfn], r.kpagecount[pfn]) for pfn in r.zbud_pfns} == {(0, 0)}
    m = r.memmap()
    assert {(m.page(p)["_mapcount"], m.page(p)["_refcount"], m.page(p)["mapping"]) for p in r.zbud_pfns} == {(-1, 1, 0)}
    faces = {r.record(pfn) for pfn in r.zbud_pfns}
    twins = sum(r.record(pfn) in faces for pfn in r.pfns) - len(r.zbud_pfns)
    assert twins == r.exhibits["look_alikes"]["same_64_bytes"] > 1000


def test_anonymous_pages_are_ksm_to_6_12_and_to_6_1_not() -> None:
    told = {name: kernel.load(name).exhibits["anonymous_as_ksm"] for name in RELEASES}
    assert told["6.1"]["of these KSM"] == 0 < told["6.1"]["anonymous"]
    assert told["6.12"]["of these KSM"] == told["6.12"]["anonymous"] > 20_000


@SHIPPED
def test_the_page_that_stopped_a_memory_offline_was_zbuds(name: str) -> None:
    story = kernel.load(name).exhibits["real_pages"]
    assert story["stopped_the_offline"]["zbud"]
    assert any(line.startswith("page dumped because: unmovable page") for line in story["log"])
    assert any(line.endswith("TRY offline_block 1: errno 16") for line in story["log"])


@SHIPPED
def test_cells_are_there_once_and_whole(name: str) -> None:
    r = kernel.load(name)
    assert len({(c.scheme, c.reader) for c in r.cells}) == len(r.cells)
    assert all(len(c.before) == 64 and (c.after is None or len(c.after) == 64) for c in r.cells)
    for c in r.cells:
        if c.oops:
            assert c.after is None and c.value is None
            assert c.errno is None or (c.errno == 0 and c.reader == "free")
            assert c.oops.function and c.oops.what in c.log
    assert r.provenance["cells_asked"] == len(r.cells)


@SHIPPED
def test_a_page_that_a_reader_dumps_is_the_dressed_one(name: str) -> None:
    dumps = [(c, line) for c in kernel.load(name).cells for line in c.log if line.startswith("page:")]
    assert len(dumps) > 40
    for c, line in dumps:
        assert line.endswith(f" pfn:{c.pfn:#x}"), (c.scheme, c.reader, line)


def test_first_chunks_modulo_4_decides() -> None:
    told = {c.scheme: c for c in kernel.load("6.1").cells if c.reader == "soft_offline"}
    assert [told[s].errno for s in ("chunks_even", "chunks_odd", "chunks_ksm")] == [5, 5, 5]
    assert told["chunks_movable"].oops == Oops(
        "BUG: unable to handle page fault for address: 0000000000080004", 0x80004, "isolate_movable_page"
    )
    flags = {c.scheme: c.value for c in kernel.load("6.1").cells if c.reader == "kpageflags"}
    assert [flags[f"chunks_{s}"] for s in ("even", "odd", "movable", "ksm")] == [0, 1 << 12, 0, 1 << 21 | 1 << 12]


def test_half_a_list_pointer_is_a_map_count() -> None:
    for c in kernel.load("6.1").cells:
        if (c.scheme, c.reader) == ("v12", "kpagecount"):
            assert c.value == struct.unpack_from("<I", c.before, 48)[0] + 1 > 1_000_000
            return
    pytest.fail("the cell is not there")


@SHIPPED
def test_the_layout_is_the_kernels_own(name: str) -> None:
    r = kernel.load(name)
    assert {field: r.layout[field].offset for field in ("lru.next", "lru.prev", "mapping", "index", "private")} == {
        "lru.next": 8, "lru.prev": 16, "mapping": 24, "index": 32, "private": 40,
    }  # fmt: skip
    assert r.layout["_mapcount"].signed and r.layout["_refcount"].signed and not r.layout["page_type"].signed
    ours = r.memmap().layout
    shared = set(ours) & set(r.layout)
    assert {"flags", "_mapcount", "_refcount", "mapping", "lru.next"} <= shared
    assert {n: (ours[n].offset, ours[n].size) for n in shared} == {
        n: (r.layout[n].offset, r.layout[n].size) for n in shared
    }


def test_a_recorded_memmap_is_a_memmap_of_which_the_headers_are_known() -> None:
    r = kernel.load("6.1")
    m = r.memmap()
    pfn = r.zbud_pfns[0]
    assert m.page(pfn).raw == r.record(pfn) and {p for p, owner in m.owner.items() if owner == "zbud"} == {*r.zbud_pfns}
    assert {pfn for pfn in m.pfns if pfn not in m.owner} == {pfn for pfn in m.pfns if r.kpageflags[pfn] >> 10 & 1}
    assert {m.owner[pfn] for pfn in m.pfns if r.kpageflags[pfn] >> 7 & 1} == {"slab"}
    assert m.frame_bytes(pfn) == r.headers[pfn] + bytes(4032)
    assert m.zero_pfn == r.facts["zero_pfn"] and r.kpageflags[m.zero_pfn] >> 24 & 1  # KPF_ZERO_PAGE
    with pytest.raises(KernelOops):
        m.frame_bytes(m.zero_pfn)
    m.page(pfn)["flags"] = 0
    assert r.record(pfn)[:8] != bytes(8) and r.memmap().page(pfn).raw == r.record(pfn)
    for outside in (-1, 65536):
        with pytest.raises(IndexError, match="outside this recording"):
            r.record(outside)


# What the loader refuses


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(kernel.DATA / "6.1", tmp_path / "copy"))


def reseal(folder: Path, change: Any) -> None:
    """Alter an index and seal it again, as somebody who knows how would."""
    index = json.loads((folder / "index.json").read_text())
    change(index)
    index["seal"] = kernel.seal(index)
    (folder / "index.json").write_text(json.dumps(index))


def test_a_copy_is_as_good_as_what_ships(folder: Path) -> None:
    assert repr(kernel.load(folder)) == repr(kernel.load("6.1")) == repr(kernel.load(str(folder)))


def test_a_truncated_part(folder: Path) -> None:
    content = (folder / "memmap.gz").read_bytes()
    (folder / "memmap.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(RecordingError, match=r"part memmap \(memmap\.gz\) is truncated or damaged"):
        kernel.load(folder)


def test_a_damaged_part(folder: Path) -> None:
    content = bytearray((folder / "pool.gz").read_bytes())
    content[len(content) // 2] ^= 0x10
    (folder / "pool.gz").write_bytes(content)
    with pytest.raises(RecordingError, match="part pool"):
        kernel.load(folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda content: bytes([content[0] ^ 1]) + content[1:], "was altered"),
        (lambda content: content + b"\0", "has more than the 524,288"),
        (lambda content: content[:-8], "has 524,280 bytes, not the 524,288"),
    ],
)
def test_an_altered_part(folder: Path, change: Any, why: str) -> None:
    content = gzip.decompress((folder / "kpageflags.gz").read_bytes())
    (folder / "kpageflags.gz").write_bytes(gzip.compress(change(content)))
    with pytest.raises(RecordingError, match=why):
        kernel.load(folder)


def test_a_part_that_is_something_else(folder: Path) -> None:
    (folder / "cells.gz").write_text("[]")
    with pytest.raises(RecordingError, match=r"part cells \(cells\.gz\) is truncated or damaged"):
        kernel.load(folder)


def test_a_missing_part(folder: Path) -> None:
    (folder / "alive.gz").unlink()
    with pytest.raises(RecordingError, match=r"part alive is missing: there is no alive\.gz beside the index"):
        kernel.load(folder)


def test_an_altered_index(folder: Path) -> None:
    text = (folder / "index.json").read_text()
    (folder / "index.json").write_text(text.replace('"zero_pfn": ', '"zero_pfn": 1'))
    with pytest.raises(RecordingError, match=r"index\.json was altered"):
        kernel.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"format": "zbudlab-kernel", '])
def test_an_index_that_is_not_json(folder: Path, text: str) -> None:
    (folder / "index.json").write_text(text)
    with pytest.raises(RecordingError, match="is not JSON"):
        kernel.load(folder)


@pytest.mark.parametrize("text", ["[]", "1", '{"format": "zbud-trace"}', "{}"])
def test_a_foreign_index(folder: Path, text: str) -> None:
    (folder / "index.json").write_text(text)
    with pytest.raises(RecordingError, match="not the index of a kernel recording"):
        kernel.load(folder)


def test_a_later_format(folder: Path) -> None:
    reseal(folder, lambda index: index.update(version=2))
    with pytest.raises(RecordingError, match="format version 2; this kit reads 1"):
        kernel.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.pop("parts"),
        lambda index: index["parts"].pop("memmap"),
        lambda index: index["parts"]["memmap"].pop("length"),
        lambda index: index["parts"]["memmap"].update(length="4194304"),
        lambda index: index.update(parts=[]),
        lambda index: index.pop("release"),
    ],
)
def test_an_index_that_lacks_something(folder: Path, change: Any) -> None:
    reseal(folder, change)
    with pytest.raises(RecordingError, match="missing from it or malformed"):
        kernel.load(folder)


def test_an_index_that_points_out_of_its_folder(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "alive.gz", tmp_path / "alive.gz")
    reseal(folder, lambda index: index["parts"]["alive"].update(file="../alive.gz"))
    with pytest.raises(RecordingError, match="part alive is missing"):
        kernel.load(folder)


def test_a_part_that_claims_to_be_enormous(folder: Path) -> None:
    reseal(folder, lambda index: index["parts"]["config"].update(length=1 << 40))
    with pytest.raises(RecordingError, match=r"part config would have 1,099,511,627,776 bytes; the limit is"):
        kernel.load(folder)


@pytest.mark.parametrize("what", ["6.2", "no/such/folder", "", "../6.1"])
def test_what_is_not_there(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecordingError, match=r"neither a recorded release \(6\.1 and 6\.12\) nor a folder"):
        kernel.load(what)


def test_a_cell_from_its_json() -> None:
    entry = {"scheme": "v12", "reader": "compact", "pfn": 5, "before": "00" * 64, "oops": {
        "what": "kernel BUG at lib/list_debug.c:49!", "address": None, "function": "f",
    }, "log": ["a", "b"]}  # fmt: skip
    oops = Oops("kernel BUG at lib/list_debug.c:49!", None, "f")
    assert kernel.cell(entry) == Cell("v12", "compact", 5, bytes(64), oops=oops, log=("a", "b"))
    assert kernel.cell(entry | {"after": "01" * 64, "oops": None}).after == b"\1" * 64


# Surveys


HOLE, FREE, SLAB, ANON, FILE = 1 << 20, 1 << 10, 1 << 7, 1 << 12 | 1 << 5, 1 << 5 | 1 << 3


def proc(folder: Path, flags: list[int], counts: list[int], spanned: int | None = None) -> Path:
    """A folder with the two files in it."""
    for name, numbers in (("kpageflags", flags), ("kpagecount", counts)):
        (folder / name).write_bytes(struct.pack(f"<{len(numbers)}Q", *numbers))
    if spanned is not None:
        zones = "Node 0, zone DMA\n  pages free 3\n        spanned  16\n        present 15\n  start_pfn:  0\n"
        zones += f"Node 0, zone Normal\n        spanned  {spanned - 16}\n  node_unreclaimable: 0\n  start_pfn:   16\n"
        (folder / "zoneinfo").write_text(zones)
    return folder


def test_pages_by_kind_and_the_implicit_tag(tmp_path: Path) -> None:
    flags = [0, FREE, SLAB, ANON, ANON, FILE, HOLE, 1 << 32, 1 << 16, 0]
    counts = [0, 0, 0, 1, 0, 3, 0, 0, 0, (1 << 64) - 127]
    s = kernel.live(proc(tmp_path, flags, counts, 32))
    assert s and s.pages == 10 and s.mapped == 2
    assert s.kinds == {
        "no page here": 1, "free": 1, "slab": 1, "reserved": 1, "anonymous": 2, "file": 1, "other": 1,
        "nothing said": 2,
    }  # fmt: skip
    assert s.taken_for_zbud == {"reserved": 1, "anonymous": 1, "other": 1, "nothing said": 2}
    assert (s.cells, s.per_cell) == ("-.saaf rk-", 1)
    text = str(s)
    assert "this machine: 10 pages" in text and "takes 5 of them" in text and "|-.saaf rk-|" in text


def test_memory_of_many_blocks_that_ends_in_the_middle_of_one(tmp_path: Path) -> None:
    flags = [FREE] * BLOCK + [HOLE] * 3 + [SLAB] * (BLOCK - 3) + [ANON] * 1000
    counts = [0] * (2 * BLOCK) + [1] * 1000
    seen: list[tuple[int, int]] = []
    s = kernel.live(proc(tmp_path, flags, counts, len(flags)), progress=lambda *at: seen.append(at))
    assert s.kinds == {"no page here": 3, "free": BLOCK, "slab": BLOCK - 3, "anonymous": 1000}
    assert s.taken_for_zbud == {} and s.mapped == 1000
    assert s.per_cell == 512 and s.cells == "." * 128 + "s" * 128 + "aa"
    assert [done for done, _ in seen] == [BLOCK, 2 * BLOCK, 2 * BLOCK + 1000]
    assert {total for _, total in seen} == {len(flags)}


def test_files_of_unequal_length_and_a_word_that_is_cut_off(tmp_path: Path) -> None:
    proc(tmp_path, [SLAB] * 9, [1] * 12)
    with (tmp_path / "kpageflags").open("ab") as file:
        file.write(b"\1\2\3")
    assert kernel.live(tmp_path).pages == 9
    proc(tmp_path, [SLAB] * 9, [1] * 4)
    assert kernel.live(tmp_path).pages == 4


def test_a_progress_bar_that_fills_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [ANON] * (BLOCK + 5)
    assert kernel.live(proc(tmp_path, flags, flags, 2 * BLOCK), progress=bar)
    first, *_, last = capsys.readouterr().err.strip("\r\n").split("\r")
    assert first == f"[{'#' * 20:40}]  50% of 131,072 pages"
    assert last == f"[{'#' * 40}] 100% of 65,541 pages"


class Slow:
    """A file that gives at most 1,000 bytes a read, as a kernel may."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def readinto(self, room: memoryview) -> int:
        n = min(len(room), 1000, len(self.content) - self.at)
        room[:n] = self.content[self.at : self.at + n]
        self.at += n
        return n


def test_short_reads() -> None:
    flags, counts = array("Q", range(BLOCK + 7)), array("Q", range(BLOCK + 7))
    files: Any = (Slow(flags.tobytes()), Slow(counts.tobytes()))
    blocks = [(bytes(a), bytes(b)) for a, b in kernel._blocks(*files)]
    assert [len(a) for a, _ in blocks] == [8 * BLOCK, 56]
    assert b"".join(a for a, _ in blocks) == b"".join(b for _, b in blocks) == flags.tobytes()


def test_a_machine_whose_size_nobody_knows(tmp_path: Path) -> None:
    s = kernel.live(proc(tmp_path, [ANON] * 10, [1] * 10))
    assert s.pages == 10 and s.cells == "a"


INSTEAD = r"kernel\.overview\('6\.1'\) counts its pages, MemmapView\(\) shows them\.$"


def test_no_such_files(tmp_path: Path) -> None:
    s = kernel.live(tmp_path)
    assert not s and s.pages == 0
    assert s.why.startswith(f"There is no {tmp_path / 'kpageflags'} here")
    assert str(s) == s.why


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = proc(tmp_path, [ANON], [1]) / "kpageflags"
    if os.name != "nt" and os.geteuid():
        path.chmod(0)
    else:  # root may read it all the same, so the refusal is played

        def refuse(self: Path, *_: object) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", refuse)
    assert kernel.live(tmp_path).why.startswith(f"{path} may be read by root only.")


@pytest.mark.parametrize(
    ("flags", "counts", "why"),
    [
        ([ANON, FILE, SLAB], [0, 0, 0], "says that no page is mapped, so it has been blanked here"),
        ([], [], "is empty here"),
    ],
)
def test_blanked_files(tmp_path: Path, flags: list[int], counts: list[int], why: str) -> None:
    s = kernel.live(proc(tmp_path, flags, counts))
    assert why in s.why and not s


def test_a_file_that_fails_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(kernel, "_fill", broken)
    assert "cannot be read ([Errno 5]" in kernel.live(proc(tmp_path, [ANON], [1])).why


def test_every_refusal_offers_the_recording(tmp_path: Path) -> None:
    import re

    for s in (kernel.live(tmp_path), kernel.live(proc(tmp_path, [ANON], [0]))):
        assert re.search(INSTEAD, s.why)
        assert repr(s) == f"<Survey of this machine: {s.why}>"


def test_nothing_is_written(tmp_path: Path) -> None:
    folder = proc(tmp_path, [ANON] * 5, [1] * 5, 32)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert kernel.live(folder)
    assert before == {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_the_overview_of_a_recording_counts_what_is_in_it() -> None:
    r = kernel.load("6.1")
    s = kernel.overview(r)
    expected: dict[str, int] = {}
    for flags in r.kpageflags:
        expected[NAMES[kind(flags)]] = expected.get(NAMES[kind(flags)], 0) + 1
    assert s.kinds == expected
    assert len(s.cells) == 512 and s.per_cell == 128
    blank = [pfn for pfn in r.pfns if not r.kpageflags[pfn] and not r.kpagecount[pfn]]
    assert s.taken_for_zbud["nothing said"] == len(blank) > len(r.zbud_pfns)


@pytest.mark.parametrize("size", [1, 7, 512, 1000])
def test_blocks_of_any_size_give_the_same_survey(size: int) -> None:
    flags = array("Q", ([ANON] * 5 + [SLAB] * 300 + [FREE, HOLE]) * 10)
    counts = array("Q", [i % 3 for i in range(len(flags))])
    whole = survey("x", [(flags, counts)], len(flags))
    parts = [(flags[i : i + size], counts[i : i + size]) for i in range(0, len(flags), size)]
    assert survey("x", parts, len(flags)) == whole != Survey("x")


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/kpageflags", os.R_OK), reason="the real files are for root, on Linux")
def test_this_machine_for_real() -> None:
    s = kernel.live()
    if s:
        assert s.pages == sum(s.kinds.values()) > 10_000 and s.mapped > 0
        assert sum(s.taken_for_zbud.values()) < s.pages
    else:
        assert "recorded machine is there instead" in s.why
