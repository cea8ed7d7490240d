"""The peekers, held to vectors of the kernel's own functions; scans, held to stories; and the vectors, tried.

    python -m tests.test_peekers ../shared/conformance/peekers-3.10 tests/data/peekers-3.10-subset.jsonl.gz

chooses the rows of the project's own recording anew, from the full recordings; `choose` says how.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zbudlab.memmap import KernelOops, Memmap
from zbudlab.page_alloc import Arena, KernelPages
from zbudlab.peekers import (
    BLOBS,
    PEEKERS,
    Adds,
    Conclude,
    Machine,
    Peeker,
    Says,
    Visit,
    compact,
    lru,
    offline,
    report,
    states,
    zone,
)
from zbudlab.peekers import check as check_module
from zbudlab.peekers.image import PFNS, POOLS, Image
from zbudlab.peekers.report import kpf_names, show_mem_counts
from zbudlab.peekers.rules import Item, Step
from zbudlab.peekers.tell import outline, story
from zbudlab.peekers.vectors import check_vectors, compare, histories, is_vector, options, read_vectors
from zbudlab.rows import RecordingError
from zbudlab.struct_page import CHECK_AT_FREE, PG, RECORD, STRUCT_PAGE, ZONE_NORMAL, PageSlab, page_count, page_mapcount
from zbudlab.zbud import ZbudPool

ROOT = Path(__file__).resolve().parent.parent
SUBSET = ROOT / "tests" / "data" / "peekers-3.10-subset.jsonl.gz"
SCANNERS = [name for name, peeker in PEEKERS.items() if peeker.scans]
RECORDINGS = sorted((ROOT.parent / "shared" / "conformance" / "peekers-3.10").glob("*.jsonl.gz"))

# ---------------------------------------------------------------------- the recordings


def test_the_model_agrees_with_the_subset() -> None:
    found = check_vectors(SUBSET)
    assert found.ok, found.text
    assert not found.unknown, "every recorded reader is modelled"
    assert set(found.agree) >= set(PEEKERS) - {
        "crash",
        "dump31",
        "dump_page",
        "ioremap",
        "ksm",
        "node_sysfs",
        "page_cache",
    }
    assert SUBSET.stat().st_size < 150_000


@pytest.mark.slow
@pytest.mark.skipif(not RECORDINGS, reason="the full recordings are not here")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name.split(".")[0])
def test_the_model_agrees_with_the_recordings(path: Path) -> None:
    found = check_vectors(path)
    assert found.ok, found.text
    assert not found.unknown
    assert {call for _, call in found.beyond} <= {"swap_address_space"}, "nothing else leads out of the model"


def test_a_difference_is_told_with_both_sides(tmp_path: Path) -> None:
    row = next(read_vectors(SUBSET))
    row["out"]["kpagecount"] = "0x12345"
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(json.dumps(row) + "\n")
    found = check_vectors(wrong)
    assert not found.ok and found.differ == {"kpagecount": 1}
    assert f"row {row['id']}, kpagecount: the recording says" in found.text and str(0x12345) in found.text


def test_an_unknown_reader_is_named(tmp_path: Path) -> None:
    row = next(read_vectors(SUBSET)) | {"out": {"tomorrows_reader": 1}}
    path = tmp_path / "new.jsonl"
    path.write_text(json.dumps(row) + "\n")
    found = check_vectors(path)
    assert found.ok and found.unknown == {"tomorrows_reader": 1} and "tomorrows_reader" in found.text


@pytest.mark.parametrize("damage", ["nonsense", '{"id": 1}', '{"id":"a","pfn":"0x1","rec":{"0x1":"00"},"out":{}}'])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "damaged.jsonl"
    path.write_text(damage + "\n")
    with pytest.raises(RecordingError, match="line 1"):
        check_vectors(path)
    assert not is_vector(damage)


def test_the_image_is_as_it_was_after_every_row() -> None:
    image = Image()
    before = bytes(image.memmap.raw)
    for row in list(read_vectors(SUBSET))[::7]:
        for _ in compare(image, row, PEEKERS):
            pass
        assert bytes(image.memmap.raw) == before, row["id"]


def test_how_writes_were_cut_does_not_matter_but_their_order_does() -> None:
    record = bytes(RECORD)
    whole, cut = [[0, 4, "0x0102"]], [[0, 1, "0x2"], [1, 1, "0x1"]]
    assert histories(whole, record) == histories(cut, record)
    assert histories([[28, 4, "0x1"], [28, 4, "0x0"]], record) != histories([], record)


# ---------------------------------------------------------------------- 28 records byte by byte

RECORDS = {  # bytes in memory order
    "G01": "00000000000000010000000000000000020000000000000080ffffff00000000"  # free buddy head, order 3
    "001000000088ffff002000000088ffff03000000000000000000000000000000",
    "G02": "000000000000000100000000000000000000000000000000ffffffff00000000"  # free, inside a buddy block
    "0000000000000000000000000000000000000000000000000000000000000000",
    "G03": "000000000000000100000000000000000200000000000000ffffffff00000000"  # free, on a per-cpu list
    "6044040000eaffffa088080000eaffff00000000000000000000000000000000",
    "G04": "000400000000000100000000000000000000000000000000ffffffff01000000"  # boot-reserved
    "e0dd010000eaffffe0dd010000eaffff00000000000000000000000000000000",
    "G05": "000000000000000100000000000000000000000000000000ffffffff01000000"  # plain kernel page (alloc_page)
    "000110000000adde000220000000adde00000000000000000000000000000000",
    "G06": "000000000000000100000000000000000000000000000000ffffffff01000000"  # page-table page (ptl in private)
    "000110000000adde000220000000adde01000100000000000000000000000000",
    "G07": "80000000000000010000000000000000400000050088ffff0300150001000000"  # SLUB slab order 0, not frozen
    "e0cc0c0000eaffff2011110000eaffff0001001f0088ffff0000000000000000",
    "G08": "8000000000000001000000000000000000000000000000001500158001000000"  # SLUB slab order 0, frozen
    "000110000000adde000220000000adde0001001f0088ffff0000000000000000",
    "G09": "6c000800000000010100001e0088ffff000000f0070000000000000001000000"  # anon user, mapped once
    "6055150000eaffffa099190000eaffff00000000000000000000000000000000",
    "G10": "2c000200000000015001101e0088ffff0500000000000000ffffffff01000000"  # page cache, clean, unmapped
    "6055150000eaffffa099190000eaffff00000000000000000000000000000000",
    "G11": "3c000200000000015001101e0088ffff06000000000000000100000003000000"  # page cache, dirty, mapped twice
    "6055150000eaffffa099190000eaffff00000000000000000000000000000000",
    "G12": "08400000000000010100001e0088ffff00000000000000000000000001000000"  # hugetlb head, anon, mapped once
    "0000000000000000000000000000000000000000000000000000000000000000",
    "G13": "6c400800000000010100001e0088ffff000000f0070000000000000001000000"  # THP head, mapped once
    "6055150000eaffffa099190000eaffff00000000000000000000000000000000",
    "G14": "0000000000000001090013000000000050e6480000eaffff083c2c1b0088ffff"  # S1 A first on buddied (f=9,l=19)
    "60e6480000eaffff183c2c1b0088ffff00000000000000000000000000000000",
    "G15": "00000000000000010c001e0000000000083c2c1b0088ffff50d1480000eaffff"  # S1 B behind A (f=12,l=30)
    "183c2c1b0088ffff60d1480000eaffff00000000000000000000000000000000",
    "G16": "00000000000000010000340000000000c8382c1b0088ffffc8382c1b0088ffff"  # S1 C alone on unbuddied[12] (f=0,l=52)
    "183c2c1b0088ffff183c2c1b0088ffff00000000000000000000000000000000",
    "G17": "00000000000000013300000000000000d8382c1b0088ffffd8382c1b0088ffff"  # S1 D alone on unbuddied[13] (f=51,l=0)
    "183c2c1b0088ffff183c2c1b0088ffff00000000000000000000000000000000",
    "G18": "00000400000000010900130000000000000110000000adde000220000000adde"  # S1 A being evicted
    "000110000000adde000220000000adde00000000000000000000000000000000",
    "G19": "000000000000000148e6480000eaffff083c2c1b0088ffff0900130001000000"  # S2a A
    "60e6480000eaffff183c2c1b0088ffff00000000000000000000000000000000",
    "G20": "0000000000000001083c2c1b0088ffff48d1480000eaffff0c001e0001000000"  # S2a B
    "183c2c1b0088ffff60d1480000eaffff00000000000000000000000000000000",
    "G21": "000000000000000148e6480000eaffff083c2c1b0088ffffffffffff01000000"  # S2b A (= S5 A)
    "60e6480000eaffff183c2c1b0088ffff09001300000000000000000000000000",
    "G22": "000400000000000148e6480000eaffff083c2c1b0088ffff0900130001000000"  # S3 A (R1 + PG_reserved)
    "60e6480000eaffff183c2c1b0088ffff00000000000000000000000000000000",
    "G23": "800000000000000148e6480000eaffff083c2c1b0088ffff0900130001000000"  # S4 A (R1 + PG_slab)
    "60e6480000eaffff183c2c1b0088ffff00000000000000000000000000000000",
    "G24": "000000020000000148e6480000eaffff083c2c1b0088ffff0900130001000000"  # S6a A (R1 + bit 25)
    "60e6480000eaffff183c2c1b0088ffff00000000000000000000000000000000",
    "G25": "000000020000000148e6480000eaffff083c2c1b0088ffffffffffff01000000"  # S6b A (R2 + bit 25)
    "60e6480000eaffff183c2c1b0088ffff09001300000000000000000000000000",
    "G26": "000000000000000148e6480000eaffff083c2c1b0088ffff81ffffff01000000"  # S7a A (R2, _mapcount -127)
    "60e6480000eaffff183c2c1b0088ffff09001300000000000000000000000000",
    "G27": "00000000000000010000000000000000000000000000000081ffffff01000000"  # S7b (header in page, _mapcount -127)
    "000110000000adde000220000000adde00000000000000000000000000000000",
    "G28": "000000000000000100000000000000000000000000000000ffffffff01000000"  # S8 (header in page)
    "000110000000adde000220000000adde00000000000000000000000000000000",
}

# What each reader makes of it: _mapcount | _count | kpageflags | kpagecount | memory_failure | soft_offline, and what
# it leaves in _count | has_unmovable counts | migrate scanner (an address: it looks there) | show_mem (res: reserved,
# one: non-shared) | makedumpfile -d 31 | crash | the checks on freeing, but for _count | Jennings's predicate
GOLDEN = """
G01 | -128 | 0 | 0x400 | 0xffffffffffffff81 | free buddy | 0 | 0 | skip | - | 16 | - | n/a | n
G02 | -1 | 0 | 0x0 | 0x0 | free buddy | 0 | 0 | skip | - | 0 | - | n/a | n
G03 | -1 | 0 | 0x0 | 0x0 | high order kernel | -5 | 0 | skip | - | 0 | - | n/a | n
G04 | -1 | 1 | 0x100000000 | 0x0 | non LRU | -5+1 | 1 | skip | res | 0 | res | flags | y
G05 | -1 | 1 | 0x0 | 0x0 | non LRU | -5+1 | 1 | skip | one | 0 | - | clean | y
G06 | -1 | 1 | 0x0 | 0x0 | non LRU | -5+1 | 1 | skip | one | 0 | - | clean | y
G07 | 1376259 | 1 | 0x80 | 0x0 | non LRU | -5+1 | 1 | skip | one | 0 | slab | maps+flags | n
G08 | -2146107371 | 1 | 0x80 | 0x0 | non LRU | -5+1 | 1 | skip | one | 0 | slab | maps+flags | n
G09 | 0 | 1 | 0x586c | 0x1 | LRU rows | moved | 0 | isolate | one | 8 | - | maps+flags | n
G10 | -1 | 1 | 0x40000002c | 0x0 | LRU rows | moved | 0 | isolate | one | 2 | - | mapping+flags | y
G11 | 1 | 3 | 0x40000083c | 0x2 | LRU rows | moved | 0 | isolate | shared+2 | 2 | shared | maps+mapping+flags | n
G12 | 0 | 1 | 0x29808 | 0x1 | huge row | moved | 1 | skip | one | 8 | - | maps | n
G13 | 0 | 1 | 0x40d86c | 0x1 | LRU rows | moved | 0 | huge | one | 8 | - | maps+flags | n
G14 | 455883784 | -30720 | 0x1800 | 0x1b2c3c09 | non LRU | -5+1 | 1 | skip | - | 8 | - | maps | n
G15 | 4772176 | -5632 | 0x800 | 0x48d151 | non LRU | -5+1 | 1 | skip | - | 0 | - | maps+mapping | n
G16 | 455882952 | -30720 | 0x800 | 0x1b2c38c9 | non LRU | -5+1 | 1 | skip | - | 0 | - | maps+mapping | n
G17 | 455882968 | -30720 | 0x201800 | 0x1b2c38d9 | non LRU | -5+1 | 1 | skip | - | 8 | - | maps | n
G18 | 2097664 | -559087616 | 0x1a00 | 0x200201 | non LRU | -5+1 | 1 | skip | - | 8 | - | maps | n
G19 | 1245193 | 1 | 0x800 | 0x13000a | non LRU | -5+1 | 1 | skip | one | 0 | - | maps+mapping | n
G20 | 1966092 | 1 | 0x800 | 0x1e000d | non LRU | -5+1 | 1 | skip | one | 0 | - | maps+mapping | n
G21 | -1 | 1 | 0x0 | 0x0 | non LRU | -5+1 | 1 | 0xffffea000048e6c0 | one | 0 | - | mapping | y
G22 | 1245193 | 1 | 0x100000800 | 0x13000a | non LRU | -5+1 | 1 | skip | res | 0 | res | maps+mapping+flags | n
G23 | 1245193 | 1 | 0x80 | 0x0 | non LRU | -5+1 | 1 | skip | one | 0 | slab | maps+mapping+flags | n
G24 | 1245193 | 1 | 0x800 | 0x13000a | non LRU | -5+1 | 1 | skip | one | 0 | - | maps+mapping | n
G25 | -1 | 1 | 0x0 | 0x0 | non LRU | -5+1 | 1 | skip | one | 0 | - | mapping | y
G26 | -127 | 1 | 0x0 | 0xffffffffffffff82 | non LRU | -5+1 | 1 | 0xffffea000048e6c0 | one | 0 | - | maps+mapping | y
G27 | -127 | 1 | 0x0 | 0xffffffffffffff82 | non LRU | -5+1 | 1 | skip | one | 0 | - | maps | y
G28 | -1 | 1 | 0x0 | 0x0 | non LRU | -5+1 | 1 | skip | one | 0 | - | clean | y
"""

A = 0x12345  # the page that a record is put on


def golden_scene(name: str) -> Machine:
    """A machine whose page A has the record, all others being free; G02 is inside G01's block."""
    m = Memmap(0x800, base_pfn=0x12000, ram=[range(0, 4), range(0x1B2C3, 0x1B2C4), range(0x1E000, 0x1E101)])
    m.fill()
    for pfn in m.pfns:
        m.page(pfn)["flags"] = 1 << 56  # zone DMA32
    m.page(A).raw = bytes.fromhex(RECORDS[name])
    if name == "G02":
        m.page(A & ~7).raw = bytes.fromhex(RECORDS["G01"])
    if name in ("G24", "G25"):
        m.nr_pageflags = 26
    machine = Machine(m, walked=1)
    if name == "G12":
        m.page(A + 1)["lru.next"], m.page(A + 1)["lru.prev"] = machine.free_huge_page, 9
    return machine


def asked(visit: Visit) -> list[str]:
    return [told.item.words for told in visit.told if isinstance(told.item, Step)]


@pytest.mark.parametrize("line", GOLDEN.strip().splitlines(), ids=lambda line: line[:3])
def test_golden_reports(line: str) -> None:
    name, mapcount, count, flags, maps, *_, dump, crash, _, predicate = line.split(" | ")
    show = line.split(" | ")[9]
    machine = golden_scene(name)
    p = machine.memmap.page(A)
    assert (p["_mapcount"], p["_count"]) == (int(mapcount), int(count))
    value = {}
    for reader in SCANNERS:
        visit = PEEKERS[reader].visit(machine, A)
        value[reader] = visit.value
        visit.undo()
    assert (value["kpageflags"], value["kpagecount"]) == (int(flags, 16), int(maps, 16))
    reserved, shared, single = show_mem_counts(value["show_mem"])
    assert {"res": reserved, "one": single, "-": not value["show_mem"], f"shared+{shared}": shared}[show]
    assert value["dump31"] == int(dump)
    assert crash == {0: "-", report.SLABS: "slab", report.RESERVED: "res", report.SHARED: "shared"}[value["crash"]]
    jennings = not PageSlab(p) and page_count(p) > 0 and page_mapcount(p) <= 0
    assert jennings == (predicate == "y")


@pytest.mark.parametrize("line", GOLDEN.strip().splitlines(), ids=lambda line: line[:3])
def test_golden_decisions(line: str) -> None:
    name, *_ = (columns := line.split(" | "))
    unmovable, migrate, free = columns[7], columns[8], columns[12]
    machine = golden_scene(name)
    assert PEEKERS["has_unmovable"].visit(machine, A).value == int(unmovable)
    scanner = PEEKERS["isolate_migratepages"].visit(machine, A)
    followed = [hex(address) for address, field, _ in scanner.seen if not field]
    if migrate.startswith("0x"):
        assert followed == [migrate] and scanner.value == 1
    elif migrate == "isolate":
        assert "take it off its LRU list" in asked(scanner)
    else:
        assert not followed and (scanner.value > 1) == (migrate == "huge")
    if free != "n/a":
        machine = golden_scene(name)
        machine.memmap.page(A)["_count"] = 0
        visit = PEEKERS["free_pages_prepare"].visit(machine, A)
        assert (
            "+".join({"_mapcount": "maps"}.get(reason, reason) for reason in visit.facts.get("bad", ["clean"])) == free
        )


@pytest.mark.parametrize("line", GOLDEN.strip().splitlines(), ids=lambda line: line[:3])
def test_golden_takers(line: str) -> None:
    name, _, count, *_ = (columns := line.split(" | "))
    failure, offline_ = columns[5], columns[6]
    visit = PEEKERS["memory_failure"].visit(golden_scene(name), A)
    if failure in ("LRU rows", "huge row"):
        assert "lock the head: take PG_locked" in asked(visit)
        assert ("set PG_hwpoison on all sub-pages" in asked(visit)) == (failure == "huge row")
    else:
        assert visit.messages[-1].startswith(f"MCE {A:#x}: {failure} page recovery: ")
    visit = PEEKERS["soft_offline"].visit(golden_scene(name), A)
    left = visit.machine.memmap.page(A)["_count"] - int(count)
    if offline_ == "moved":
        assert {"lock it", "lock the head", "split that"} & set(asked(visit))
    else:
        assert (visit.value, left) == {"-5+1": (-5, 1), "-5": (-5, 0), "0": (0, 0)}[offline_]


# ---------------------------------------------------------------------- what the readers do to a pool


@pytest.fixture
def pool() -> ZbudPool:
    """A v12 pool of four pages on two lists, whose pages come from the kernel's allocator."""
    pool = ZbudPool("v12", KernelPages(Memmap(64)))
    for first, last in ((9, 19), (12, 30), (20, 0), (20, 0)):
        pool.alloc(64 * first)
        if last:
            pool.alloc(64 * last)
    pool.check()
    return pool


def buddy_prev(pool: ZbudPool, pfn: int) -> int:
    return pool.memmap.load(pool.data.buddy(pfn) + 8)


def test_soft_offline_moves_a_link_by_four_gigabytes_for_good(pool: ZbudPool) -> None:
    pfn = next(pool.walk(pool.buddied))
    before = buddy_prev(pool, pfn)
    visit = PEEKERS["soft_offline"].visit(pool.pages, pfn)
    assert visit.value == -5 and buddy_prev(pool, pfn) == before + (1 << 32)
    with pytest.raises(KernelOops) as oops:
        pool.free(next(h for h in pool.tenants.values() if h.pfn == pfn))
    assert (oops.value.address, oops.value.access) == (before + (1 << 32), "write")


def test_inject_moves_it_the_other_way(pool: ZbudPool) -> None:
    pfn = next(pool.walk(pool.buddied))
    before = buddy_prev(pool, pfn)
    assert PEEKERS["inject"].visit(pool.pages, pfn).value == -16
    assert buddy_prev(pool, pfn) == before - (1 << 32)


@pytest.mark.parametrize("reader", ["memory_failure", "do_migrate_range", "page_cache"])
def test_undisturbed_the_link_comes_back(pool: ZbudPool, reader: str) -> None:
    pfn = next(pool.walk(pool.buddied))
    before = buddy_prev(pool, pfn)
    visit = PEEKERS[reader].visit(pool.pages, pfn)
    moved = [(old, new) for address, size, old, new in visit.writes if address == pool.memmap.record(pfn) + 28]
    assert [new - old for old, new in moved] == [1, -1] and buddy_prev(pool, pfn) == before


def test_a_page_cache_lookup_suffices_for_an_oops(pool: ZbudPool) -> None:
    """No administrator is needed: between its two steps, zbud unlinks the page."""
    pfn = next(pool.walk(pool.buddied))
    before = buddy_prev(pool, pfn)
    steps = iter(PEEKERS["page_cache"].steps(pool.pages, pfn))
    next(steps)
    next(steps)
    assert buddy_prev(pool, pfn) == before + (1 << 32)
    with pytest.raises(KernelOops):
        pool.free(next(h for h in pool.tenants.values() if h.pfn == pfn))


def test_a_list_operation_in_the_window_leaves_a_wild_link_behind() -> None:
    """A neighbour writes the very word that is off by one, and the put takes one off the new pointer."""
    pool = ZbudPool("v12", KernelPages(Memmap(64)))
    b, a = pool.alloc(64 * 44), pool.alloc(64 * 44)  # a, the newer one, stands before b on their list
    head = pool.unbuddied(20)
    assert list(pool.walk(head)) == [a.pfn, b.pfn]
    visit = PEEKERS["memory_failure"].steps(pool.pages, b.pfn)
    slept = False
    for moment in visit:
        if moment.sleeps and not slept:
            slept = True
            pool.free(a)
    assert slept and visit.value == -16
    assert buddy_prev(pool, b.pfn) == head - (1 << 32)
    with pytest.raises(KernelOops) as oops:
        pool.free(b)
    assert oops.value.address == head - (1 << 32)


def test_the_race_reader_does_that_by_itself() -> None:
    row = next(row for row in read_vectors(SUBSET) if row["class"] == "race/v12/none/neighbour")
    image, pfn = Image(), int(row["pfn"], 16)
    with image.row(row):
        visit = PEEKERS["race"].visit(image.machine, pfn, **options("race", row))
        assert visit.oops is not None and hex(visit.oops.address) == row["out"]["race"]["a"]
        names = [event[0] for event in visit.events]
        assert names == ["lru_add_drain_all", "unlink_in_window", "memory_failure_returned"]


def test_what_won_is_what_unpoison_frees_while_in_use() -> None:
    pages = KernelPages(Memmap(64))
    pool = ZbudPool("linux-3.11", pages)
    handle = pool.alloc(1000)
    visit = PEEKERS["mf_then_unpoison"].visit(pages, handle.pfn)
    assert (visit.facts["memory_failure"], visit.value, visit.bad) == (-16, 0, 0)
    assert handle.pfn not in pool.memmap.owner and handle.pfn in pages.free_pfns()
    assert handle.pfn in {pages.alloc_page("somebody else") for _ in range(10)}


@pytest.mark.parametrize(("scheme", "bad"), [("overlay-clear", ["mapping"]), ("mapcount-tag", ["_mapcount"])])
def test_an_unclean_page_is_kept_away_instead(scheme: str, bad: list[str]) -> None:
    pages = KernelPages(Memmap(64))
    pool = ZbudPool("v12", pages, scheme=scheme)
    pfn = pool.alloc(1000).pfn
    visit = PEEKERS["mf_then_unpoison"].visit(pages, pfn)
    assert pages.bad_pages == [(pfn, bad)] and pool.memmap.owner[pfn] == "lost" and visit.bad == 1
    assert pool.memmap.page(pfn)["_mapcount"] == -1, "bad_page resets it, whatever it meant"


def test_bad_page_takes_the_chunk_counts_with_it() -> None:
    pool = ZbudPool("v12", KernelPages(Memmap(64)), scheme="overlay-on-mapcount")
    handle = pool.alloc(64 * 9)
    PEEKERS["inject"].visit(pool.pages, handle.pfn)
    assert pool.chunks(handle.pfn) == (0xFFFF, 0xFFFF)


def test_an_arena_gets_its_pages_back_too() -> None:
    arena = Arena(Memmap(8))
    pfn = arena.alloc_page()
    PEEKERS["__free_pages"].visit(arena, pfn)
    assert pfn in arena.free_pfns()
    arena.check()


def test_without_an_allocator_the_machine_keeps_the_page() -> None:
    m = Memmap(8)
    m.fill()
    m.page(3)["_count"] = 1
    machine = Machine.of(m)
    PEEKERS["__free_pages"].visit(m, 3)
    assert m.load(machine.pcp, 4) == 1 and m.page(3)["lru.next"] == machine.pcp + 16 + 16 * machine.migratetype
    PEEKERS["memory_failure"].visit(m, 5)
    zone.drain_all_pages(machine.page(3))
    assert m.load(machine.pcp, 4) == 0 and m.page(3)["_mapcount"] == -128


def test_drained_pages_merge() -> None:
    m = Memmap(16)
    m.fill()
    for pfn in range(8):
        m.page(pfn)["_count"] = 1
        PEEKERS["__free_pages"].visit(m, pfn)
    machine = Machine.of(m)
    zone.drain_all_pages(machine.page(0))
    assert (m.page(0)["_mapcount"], m.page(0)["private"]) == (-128, 3)
    assert PEEKERS["is_free_buddy_page"].scan(m).tolist() == [1] * 8 + [0] * 8
    assert PEEKERS["isolate_freepages"].visit(m, 0).value == 8
    assert {m.page(pfn)["_count"] for pfn in range(8)} == {1}


def test_has_unmovable_pages_looks_into_blocks_that_are_not_movable() -> None:
    m = Memmap(8)
    m.fill()
    m.page(2)["_count"] = 1
    machine = Machine(m, migratetype=0)
    before = PEEKERS["soft_offline"].visit(machine, 5)
    assert machine.block_type(5) == 0, "page 2 cannot be moved, so the block was not isolated"
    assert before.value == -5
    m.page(2)["_count"] = 0
    PEEKERS["soft_offline"].visit(machine, 5)
    assert machine.block_type(5) == 2, "isolated, and then made MOVABLE"


# ---------------------------------------------------------------------- notable behaviour


def dressed(image: Image, pfn: int, **fields: int) -> None:
    p = image.memmap.page(pfn)
    for name, value in fields.items():
        p[{"lru_next": "lru.next", "lru_prev": "lru.prev"}.get(name, name)] = value


def alone_on(pool: int, i: int, pfn: int, image: Image) -> int:
    """A page of 9 chunks alone on unbuddied[i], its links over mapping and index (overlay-clear); the list head."""
    head, lru_head, record = pool + 8 + 16 * i, pool + 1048, image.memmap.record(pfn)
    for list_, node in ((head, record + 8), (lru_head, record + 32)):
        image.machine.write(list_, node)
        image.machine.write(list_ + 8, node)
    dressed(image, pfn, mapping=head, index=head, lru_next=lru_head, lru_prev=lru_head, private=9)
    return head


def test_compaction_steals_a_page_alone_on_unbuddied_55() -> None:
    """The list heads behind look like an address_space with the balloon bit, a balloon, and a lock that is free."""
    image, pfn, pool = Image(), PFNS[7], POOLS[1]
    alone_on(pool, 55, pfn, image)
    with image.scene("isolate_migratepages_locked", pfn, {}):
        visit = PEEKERS["isolate_migratepages_locked"].visit(image.machine, pfn)
    assert (visit.value, visit.words, visit.facts["taken"]) == (1, "taken for a balloon's page", 2)
    p = image.memmap.page(pfn)
    assert p["lru.prev"] == image.machine.compaction + 16 and p["_count"] == 2
    assert image.memmap.list_empty(pool + 1048), "gone from zbud's own LRU"
    assert p["private"] == 10, "and a chunk count went up by one: the balloon's number of isolated pages"


@pytest.mark.parametrize("i", range(0, 55, 9))
def test_on_the_other_lists_it_spins(i: int) -> None:
    image, pfn = Image(), PFNS[7]
    head = alone_on(POOLS[1], i, pfn, image)
    with image.scene("isolate_migratepages_locked", pfn, {}):
        visit = PEEKERS["isolate_migratepages_locked"].visit(image.machine, pfn)
    assert visit.stuck is not None and (visit.stuck.how, visit.stuck.address) == ("spins", head + 184)
    assert "spins for ever" in str(visit)


def test_it_takes_a_pool_in_an_unlucky_place() -> None:
    image, pfn = Image(), PFNS[7]
    alone_on(POOLS[0], 12, pfn, image)  # bit 29 of its address is clear
    assert PEEKERS["balloon_movable"].visit(image.machine, pfn).value == 0


def test_a_slab_tail_crashes_memory_failure() -> None:
    image, head, tail = Image(), PFNS[2], PFNS[3]
    dressed(image, head, flags=ZONE_NORMAL | 1 << PG["head"] | 1 << PG["slab"], _mapcount=0x150005)
    dressed(image, tail, flags=ZONE_NORMAL | 1 << PG["tail"], first_page=image.memmap.record(head), lru_prev=1)
    dressed(image, tail, lru_next=Machine.free_compound_page)
    visit = PEEKERS["memory_failure"].visit(image.machine, tail)
    assert visit.oops is not None and visit.oops.address == 0x58, "the lists of no hstate"
    p = image.memmap.page(head)
    assert p["flags"] & 1 << PG["locked"] and p["_count"] == 2, "its head stays locked and held"
    assert ("try_to_unmap", head, 0x300) in visit.events, "SLUB's counters were read as being mapped"
    assert "did not come back" in str(visit)


def test_a_wild_head_faults_at_the_field_that_is_read() -> None:
    m = Memmap(8)
    m.fill()
    m.page(3)["flags"] |= 1 << PG["tail"]
    m.page(3)["first_page"] = 0xDEAD000000100100
    wild = {"kmemleak": 28, "kvm_is_mmio_pfn": 0, "kpageflags": 64 + 32, "show_mem": 28}
    for name, offset in wild.items():
        visit = PEEKERS[name].visit(m, 3)
        assert visit.oops is not None and visit.oops.address == 0xDEAD000000100100 + offset, name
        assert "general protection fault" in str(visit)


def test_numbers_that_look_like_bugs() -> None:
    m = Memmap(8)
    m.fill()
    m.page(1)["_mapcount"], m.page(2)["_mapcount"] = -128, -127
    maps = PEEKERS["kpagecount"].scan(m).tolist()
    assert maps[:3] == [0, 2**64 - 127, 2**64 - 126]
    m.page(3)["mapping"] = 0x130009
    assert kpf_names(PEEKERS["kpageflags"].visit(m, 3).value) == ["ANON"]
    m.page(3)["mapping"] = 0x14000B
    assert kpf_names(PEEKERS["kpageflags"].visit(m, 3).value) == ["ANON", "KSM"]


def test_an_odd_mapping_is_forgiven_when_a_page_is_freed() -> None:
    m = Memmap(8)
    m.fill()
    for pfn, mapping in ((1, 9), (2, 8)):
        m.page(pfn)["mapping"], m.page(pfn)["_count"] = mapping, 1
    assert [PEEKERS["__free_pages"].visit(m, pfn).bad for pfn in (1, 2)] == [0, 1]


def test_a_new_flag_is_cleared_in_silence() -> None:
    m = Memmap(8)
    m.fill()
    m.nr_pageflags = 26
    m.page(1)["flags"] |= 1 << 25
    assert PEEKERS["check_new_page"].visit(m, 1).value == 1
    m.page(1)["_mapcount"] = -1
    assert PEEKERS["free_pages_check"].visit(m, 1).value == 0
    assert m.page(1)["flags"] == ZONE_NORMAL


def test_ksm_takes_only_its_own_page() -> None:
    m, node = Memmap(8), 0xFFFF880000002040
    m.fill()
    m.page(1)["mapping"], m.page(1)["_count"] = node | 3, 1
    assert PEEKERS["ksm"].visit(m, 1).value == 0
    assert PEEKERS["ksm"].visit(m, 1, stable_node=node).value == 1
    assert m.page(1)["_count"] == 2


def test_dump_page_prints_and_follows_nothing() -> None:
    m = Memmap(8)
    m.fill()
    m.page(1)["mapping"], m.page(1)["flags"] = 0x130009, ZONE_NORMAL | 1 << PG["slab"]
    visit = PEEKERS["dump_page"].visit(m, 1)
    assert visit.messages == [
        f"page:{m.record(1):x} count:0 mapcount:0 mapping:130009 index:0x0",
        "page flags: 0x200000000000080(slab)",
    ]


def test_node_sysfs_and_ioremap() -> None:
    m = Memmap(4)
    m.fill()
    m.page(1)["lru.next"] = 0
    m.page(2)["flags"] |= 1 << PG["reserved"]
    assert PEEKERS["node_sysfs"].scan(m).tolist() == [0, -1, 0, 0]
    assert PEEKERS["ioremap"].scan(m).tolist() == [0, 0, 1, 0]


# ---------------------------------------------------------------------- visits: story, undo, moments


def test_the_story_reads_like_one(pool: ZbudPool) -> None:
    pfn = next(pool.walk(pool.buddied))
    before = pool.memmap.page(pfn).raw
    visit = PEEKERS["memory_failure"].visit(pool.pages, pfn)
    count = STRUCT_PAGE["_count"].offset
    n = int.from_bytes(before[count : count + 4], "little", signed=True)
    lines = str(visit).splitlines()
    assert lines[0] == f"memory_failure at page {pfn:#x} (memory_failure, mm/memory-failure.c, Linux 3.10)"
    assert (
        f"did: take a reference on the head, unless its _count is 0  yes  (_count {n}; _count {n} -> {n + 1})"
        in lines[4]
    )
    assert lines[2].strip() == "did: set PG_hwpoison; was it set before?  no  (set PG_hwpoison)"
    assert lines[-1].strip() == "returned -EBUSY: non LRU page, ignored; PG_hwpoison stays"
    assert any(f'logged "MCE {pfn:#x}: non LRU page recovery: Ignored"' in line for line in lines)
    assert len(story(visit, brief=False).splitlines()) > len(lines), "eleven questions share a line in the brief story"
    assert repr(visit).endswith("returned -EBUSY: non LRU page, ignored; PG_hwpoison stays>")


@pytest.mark.parametrize("name", list(PEEKERS))
def test_every_visit_can_be_told_and_undone(name: str) -> None:
    image = Image()
    for row in list(read_vectors(SUBSET))[::5]:
        if name == "race" and "note" not in row:
            continue
        with image.row(row):
            before = bytes(image.memmap.raw)
            more = options(name, row) if row["class"].startswith("race") else {}
            visit = PEEKERS[name].visit(image.machine, int(row["pfn"], 16), **more)
            assert str(visit).startswith(f"{name} at page {row['pfn']}")
            visit.undo()
            assert bytes(image.memmap.raw) == before


def test_steps_pause_where_other_code_can_run() -> None:
    m = Memmap(8)
    m.fill()
    m.page(1)["_count"] = 1
    visit = PEEKERS["soft_offline"].steps(m, 1)
    moments = list(visit)
    assert [moment.step.words for moment in moments if moment.sleeps] == [
        "drain the pagevecs of all CPUs",
        "drain the per-cpu lists of free pages",
        "let every cache shrink",
    ]
    assert visit.value == -5 and m.page(1)["_count"] == 2


def test_two_visits_can_go_on_in_turns() -> None:
    m = Memmap(8)
    m.fill()
    m.page(1)["_count"] = m.page(2)["_count"] = 1
    one, two = PEEKERS["memory_failure"].steps(m, 1), PEEKERS["memory_failure"].steps(m, 2)
    for _ in zip(one, two, strict=True):
        pass
    for visit in (one, two):
        assert visit.value == -16 and visit.messages == [f"MCE {visit.pfn:#x}: non LRU page recovery: Ignored"]
        assert {address for address, *_ in visit.seen} <= {m.record(pfn) for pfn in range(8)}


def test_a_page_outside_is_refused() -> None:
    with pytest.raises(IndexError, match="outside this memmap"):
        PEEKERS["kpageflags"].visit(Memmap(4), 4)


def test_the_machine_is_always_the_same_and_survives_a_restore() -> None:
    m = Memmap(8)
    m.fill()
    saved = m.save()
    machine = Machine.of(m)
    assert Machine.of(m) is machine and Machine.of(machine) is machine
    m.restore(saved)
    m.page(1)["_count"] = 1
    assert PEEKERS["__free_pages"].visit(m, 1).oops is None, "its lists are there again"
    arena = Arena(Memmap(4))
    assert Machine.of(arena).pages is arena and Machine.of(arena.memmap) is Machine.of(arena)


def test_tables_describe_themselves() -> None:
    text = PEEKERS["balloon_movable"].describe()
    assert text.splitlines()[:2] == [
        "balloon_movable: balloon_page_movable, include/linux/balloon_compaction.h, Linux 3.10",
        "set off by: compaction meets a page that is not on the LRU",
    ]
    lines = {line.item.words: line for line in outline(PEEKERS["memory_failure"]) if isinstance(line.item, Step)}
    assert lines["on the LRU?"].reads == ("flags",)
    taken = lines["take a reference on the head, unless its _count is 0"]
    assert "_count" in taken.reads and set(taken.writes) == {"_count", "head._count"}
    assert "flags" in lines["set PG_hwpoison; was it set before?"].writes
    follow = [line for line in outline(PEEKERS["balloon_movable"]) if "memory" in line.reads]
    assert [line.item.words for line in follow if isinstance(line.item, Step)] == [
        "is bit 29 set in the word at mapping + 120?"
    ]
    for peeker in PEEKERS.values():
        assert peeker.describe().count("\n") >= len(peeker.table)


def test_every_reader_says_where_it_is_written() -> None:
    assert {peeker.file for peeker in PEEKERS.values()} == set(BLOBS)
    for name, peeker in PEEKERS.items():
        assert peeker.name == name and peeker.function and peeker.trigger and peeker.kernel.startswith("3.10")


def test_what_a_story_reads_the_kernel_read_too() -> None:
    """The recordings list the fields of the page that the compiled code touched; ours are among them."""
    letters = dict(zip("FMImcnpvx", STRUCT_PAGE_ROWS, strict=True))
    image = Image()
    for row in read_vectors(SUBSET):
        with image.row(row):
            for name in row["out"].keys() - {"race", *UNTOLD}:
                visit = PEEKERS[name].visit(image.machine, int(row["pfn"], 16))
                visit.undo()
                mine = {f"{field}" for at, field, _ in visit.seen if at == visit.page.address and field}
                mine = {"private" if field == "first_page" else field for field in mine}
                touched = {letters[letter] for letter in row["reads"][name]}
                assert mine <= touched, (row["id"], name)


STRUCT_PAGE_ROWS = "flags mapping index _mapcount _count lru.next lru.prev private padding".split()
UNTOLD = ("has_unmovable", "has_unmovable_1", "has_unmovable_skip")  # the scene is another one there


def test_nothing_but_a_scan_needs_numpy() -> None:
    code = (
        "import sys, zbudlab.peekers as k; from zbudlab.memmap import Memmap; m = Memmap(4); m.fill();"
        "[str(p.visit(m, 1)) + p.describe() for p in k.PEEKERS.values()]; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# ---------------------------------------------------------------------- the vectors put to the test


def copied(table: Sequence[Item]) -> tuple[Item, ...]:
    """The same table, in which no item occurs twice, so that each place can be told from the others."""

    def copy(item: Item) -> Item:
        if isinstance(item, Step):
            return type(item)(item.words, item.test, copied(item.yes), copied(item.no), sleeps=item.sleeps)
        if isinstance(item, Conclude):
            return Conclude(item.value, item.words, item.says)
        return Adds(item.value, item.words) if isinstance(item, Adds) else Says(item.line)  # type: ignore[attr-defined]

    return tuple(copy(item) for item in table)


def with_table(p: Peeker, table: Sequence[Item]) -> Peeker:
    return Peeker(p.name, p.function, p.file, p.trigger, tuple(table), kernel=p.kernel, plan=p.plan, scans=p.scans)


def mutants(table: Sequence[Item]) -> Iterator[tuple[Item, str, tuple[Item, ...]]]:
    """Tables with one thing wrong: the item that was changed, how, and the table."""
    for i, item in enumerate(table):
        before, after = table[:i], table[i + 1 :]
        yield item, "left out", (*before, *after)
        for changed, how, other in altered(item):
            yield changed, how, (*before, other, *after)


def altered(item: Item) -> Iterator[tuple[Item, str, Item]]:
    if isinstance(item, Conclude):
        if isinstance(item.value, int):
            yield item, "another value", Conclude(item.value + 1, item.words, item.says)
        if item.says:
            yield item, "not logged", Conclude(item.value, item.words)
    elif isinstance(item, Adds):
        yield item, "another value", Adds(item.value << 1, item.words)
    elif isinstance(item, Says):
        yield item, "another line", Says(item.line + "!")
    elif isinstance(item, Step):
        make, more = type(item), {"sleeps": item.sleeps}
        if item.yes or item.no:
            yield item, "yes for no", make(item.words, item.test, item.no, item.yes, **more)
        for changed, how, table in mutants(item.yes):
            yield changed, how, make(item.words, item.test, table, item.no, **more)
        for changed, how, table in mutants(item.no):
            yield changed, how, make(item.words, item.test, item.yes, table, **more)


def only(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The row with what it says of one reader; empty if it says nothing."""
    level = name.removeprefix("dump")
    out = {name: row["out"][name]} if name in row["out"] else {}
    dump = {level: row["dump"][level]} if name != level and level in row["dump"] else {}
    return {**row, "out": out, "dump": dump} if out or dump else {}


def differs(image: Image, row: Mapping[str, Any], peeker: Peeker) -> bool:
    """Whether a reader does something else than the row says; whatever goes wrong counts."""
    try:
        return any(compared.how == "differs" for compared in compare(image, row, {peeker.name: peeker}))
    except Exception:
        return True


def visited(image: Image, row: Mapping[str, Any], peeker: Peeker) -> Visit:
    with image.row(row), image.scene(peeker.name, int(row["pfn"], 16), row["rec"]):
        visit = peeker.visit(image.machine, int(row["pfn"], 16), **options(peeker.name, row))
        visit.undo()
    image.machine.poisoned = 0
    return visit


@cache
def rows() -> list[dict[str, Any]]:
    return list(read_vectors(SUBSET))


# What may go wrong unnoticed by any vector, and why: the words of the item.
UNSEEN = {
    "take zone->lock": "the recordings do not keep lock words, and to drop the lock is to look at it too",
    "drop zone->lock": "the recordings do not keep lock words",
    "take the zone's lock": "the same",
    "drop the zone's lock": "the same",
    "take the LRU lock": "the same",
    "does a free block begin at pfn & ": "the question for another order finds the block too, or none was recorded",
    "is there such a neighbour?": "in the image, there is",
    "the first page of a free block?": "in the image, the rest of the block is free",
    "pass over all of the block": "the same",
    "one more that cannot be moved": "one is too many, and so are two",
    "on the LRU?": "has_unmovable_1 lets one page pass",
    "can be moved": "the same",
    "passed": "any number but 0 says yes",
    "reserved?": "saveable_page saves the page in either case",
    "saved all the same: it is in the direct map": "the same",
    "none, then": "then it is kept",
    "left alone": "the next conclusion is the same",
    "is bit 29 set in the word at mapping + 120?": "without the LRU lock, the page is left alone in either case",
    "a balloon's, then.  Is the LRU lock held already?": "where it is asked, it is",
    "taken for a balloon's page": "the next conclusion is the same",
    "in a MOVABLE block?": "in the image, all are",
    "find the head of its compound page": "it is found again where it is needed",
    "is it a tail?": "no free page of hugetlb is poisoned by its head and by a tail",
    "is it on the LRU now?": "draining puts nothing there",
    "drain the per-cpu lists of free pages": "they are empty",
    "is it in a free block now?": "it is asked again",
    "remember its flags": "they matter in a race",
    "is it still poisoned?": "not so in a race",
    "is it poisoned now?": "the same",
    "huge, by its flags?": "its former flags, which are asked about next, are the same",
    "me_huge_page": "the same",
    "dirty LRU, by its flags?": "the same",
    "me_pagecache_dirty": "the same",
    "clean LRU, by its flags?": "the same",
    "me_pagecache_clean": "the same",
    "a page of hugetlb?": "unpoison of a free one says the same",
    "make its block MOVABLE again": "blocks are not recorded, and free blocks are moved twice",
    "does anybody hold it still?": "for one page, the answer is the same",
    "somebody's, and not on the LRU": "the same",
    "_mapcount": "which reason it is does not show",
    "mapping": "the same",
    "_count": "the same",
    "flags": "the same",
}


def words_of(item: Item) -> str:
    return str(getattr(item, "words", item))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PEEKERS if name not in ("mf_then_unpoison", "race")])
def test_a_wrong_table_is_found_out(name: str) -> None:
    """Each table with one thing wrong, in all ways: the subset must notice, unless nothing in it comes that way."""
    peeker = with_table(PEEKERS[name], copied(PEEKERS[name].table))
    image = Image()
    parts = [part for row in rows() if (part := only(row, name))]
    reached: dict[int, list[Mapping[str, Any]]] = {}
    for part in parts:
        for told in visited(image, part, peeker).told:
            if not (reached.setdefault(id(told.item), []) and reached[id(told.item)][-1] is part):
                reached[id(told.item)].append(part)
    tried = [mutant for mutant in mutants(peeker.table) if reached.get(id(mutant[0]))]
    for item, how, table in tried:
        noticed = any(differs(image, part, with_table(peeker, table)) for part in reached[id(item)])
        assert noticed or words_of(item).startswith(tuple(UNSEEN)), f"{how}: {item}"
    assert tried or not parts


def test_how_many_wrong_tables_are_tried() -> None:
    """So many changes to items that the subset reaches; the others are hugetlb's and those that a race would take."""
    assert sum(1 for p in PEEKERS.values() for _ in mutants(p.table)) > 2000


# Two steps that must not be swapped: by reader, the first of them by its words.
ORDER = [
    ("kpagecount", "a slab page?"),
    ("show_mem", "reserved?"),
    ("dump30", "a slab page?"),
    ("dump30", "PG_lru or PG_swapcache?"),
    ("free_pages_prepare", "anonymous: is mapping odd?"),
    ("test_isolated", "the first page of a free block?"),
    ("isolate_migratepages", "the first page of a free block?"),
    ("isolate_migratepages", "on the LRU?"),
    ("memory_failure", "set PG_hwpoison; was it set before?"),
    ("memory_failure", "take a reference on the head, unless its _count is 0"),
    ("soft_offline", "is it poisoned?"),
    ("unpoison", "is it poisoned?"),
    ("do_migrate_range", "take a reference, unless _count is 0"),
    ("free_pages_check", "is any flag of CHECK_AT_FREE set?"),
]


@pytest.mark.parametrize(("name", "words"), ORDER)
def test_the_order_of_questions_matters(name: str, words: str) -> None:
    table = PEEKERS[name].table
    i = next(n for n, item in enumerate(table) if words_of(item) == words)
    swapped = with_table(PEEKERS[name], (*table[:i], table[i + 1], table[i], *table[i + 2 :]))
    image = Image()
    assert any(differs(image, only(row, name), swapped) for row in rows() if only(row, name))


# A number that is off: module, name, what it becomes, and a reader that must notice.
NUMBERS: list[tuple[Any, str, Any, str]] = [
    (check_module, "CHECK_AT_FREE", CHECK_AT_FREE & ~(1 << PG["reserved"]), "free_pages_check"),
    (check_module, "CHECK_AT_FREE", CHECK_AT_FREE | 1 << PG["reclaim"], "free_pages_check"),
    (compact, "AS_FLAGS", 112, "balloon_movable"),
    (compact, "AS_BALLOON_MAP", 28, "balloon_movable"),
    (compact, "PRIVATE_DATA", 152, "isolate_migratepages_locked"),
    (compact, "PAGES_LOCK", 16, "isolate_migratepages_locked"),
    (compact, "PAGEBLOCK", 1024, "isolate_migratepages"),
    (lru, "AS_UNEVICTABLE", 27, "do_migrate_range"),
    (lru, "TREE_LOCK", 28, "soft_offline"),
    (lru, "MAX_SWAPFILES", 128, "memory_failure"),
    (states, "BDI_CAPABILITIES", 1 << 40, "memory_failure"),
    (states, "ERROR_REMOVE_PAGE", 0x88, "memory_failure"),
    (states, "FAILED", "failed", "memory_failure"),
    (offline, "ON_STACK", 0xFFFF88005FFF0010, "do_migrate_range"),
    (zone, "PAGE_BUDDY_MAPCOUNT_VALUE", -127, "get_any_page"),
    (zone, "PAGESET", 0x58, "__free_pages"),
    (zone, "FREE_AREA_SIZE", 80, "get_any_page"),
    (zone, "NR_FREE_PAGES", 0x510, "isolate_freepages"),
]


@pytest.mark.parametrize(("module", "name", "value", "reader"), NUMBERS, ids=[f"{n[1]}-{n[3]}" for n in NUMBERS])
def test_numbers_matter(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, value: Any, reader: str) -> None:
    image = Image()
    monkeypatch.setattr(module, name, value)
    assert any(differs(image, only(row, reader), PEEKERS[reader]) for row in rows() if only(row, reader))


# ---------------------------------------------------------------------- scan == story


def random_record(draw: Any, m: Memmap) -> bytes:
    """A record whose fields mean something, to somebody, more often than not."""
    first, n = m.pfns[0], len(m.pfns)
    pointers = [
        lambda: 0,
        lambda: m.record(first + draw.randrange(n)),
        lambda: m.record(first + draw.randrange(n)) + draw.choice((0, 3, 8, 16)),
        lambda: m.frame(first) + draw.randrange(4096 * n),
        lambda: draw.getrandbits(64),
        lambda: draw.choice((0x130009, Machine.free_huge_page, 0xDEAD000000100100)),
    ]
    flag = 1 << draw.randrange(26)
    flags = draw.choice((0, 0, flag, draw.getrandbits(26), 1 << PG["tail"], 1 << PG["head"] | 1 << PG["lru"]))
    zone_ = draw.choice((2,) * 8 + (1, draw.getrandbits(8)))
    mapcount = draw.choice((-1, -1, -128, 0, 5, draw.getrandbits(31)))
    count = draw.choice((0, 1, 1, 2, -5632, draw.getrandbits(32)))
    words = [flags | zone_ << 56, draw.choice(pointers)(), draw.choice((0, 2, 4)), 0]
    words[3] = (mapcount & 0xFFFF_FFFF) | (count & 0xFFFF_FFFF) << 32
    words += [draw.choice(pointers)() for _ in range(3)] + [draw.getrandbits(64)]
    return b"".join((word & 2**64 - 1).to_bytes(8, "little") for word in words)


def random_memmap(draw: Any, pages: int) -> Memmap:
    m = Memmap(pages, base_pfn=1024)
    for pfn in m.pfns:
        m.page(pfn).raw = random_record(draw, m)
    return m


@pytest.mark.slow
@settings(max_examples=20)
@given(draw=st.randoms(use_true_random=False), block=st.sampled_from([7, 64, 1 << 14]))
def test_a_scan_says_of_every_page_what_its_story_says(draw: Any, block: int) -> None:
    m = random_memmap(draw, 100)
    before = bytes(m.raw)
    for name in SCANNERS:
        p, oopses = PEEKERS[name], dict[int, KernelOops]()
        column = p.scan(m, oopses=oopses, block=block)
        assert bytes(m.raw) == before
        alone = Peeker(p.name, p.function, p.file, p.trigger, p.table, scans=p.scans)  # each page by itself
        for pfn, value in zip(m.pfns, column.tolist(), strict=True):
            visit = alone.visit(m, pfn)
            visit.undo()
            if visit.oops is None:
                assert pfn not in oopses and visit.value == value, (name, hex(pfn))
            else:
                assert str(oopses[pfn]) == str(visit.oops) and value == 0, (name, hex(pfn))


def test_a_scan_dies_where_the_reader_would_die_first() -> None:
    m = Memmap(64)
    m.fill()
    for pfn in (50, 20, 35):
        m.page(pfn)["flags"] |= 1 << PG["tail"]
        m.page(pfn)["first_page"] = 0xDEAD000000000000 + (pfn << 6)
    with pytest.raises(KernelOops) as oops:
        PEEKERS["kmemleak"].scan(m, block=8)
    assert oops.value.address == 0xDEAD000000000000 + (20 << 6) + 28
    oopses: dict[int, KernelOops] = {}
    assert PEEKERS["kmemleak"].scan(m, oopses=oopses).tolist() == [0] * 64
    assert sorted(oopses) == [20, 35, 50]


def test_a_scan_can_fill_a_column_that_is_there() -> None:
    m = Memmap(16)
    m.fill()
    out = np.ones(16, np.uint64)
    assert PEEKERS["kpageflags"].scan(m, out=out) is out and not out.any()


@pytest.mark.parametrize("name", [name for name in PEEKERS if name not in SCANNERS])
def test_who_acts_does_not_scan(name: str) -> None:
    with pytest.raises(TypeError, match="cannot scan"):
        PEEKERS[name].scan(Memmap(4))


@pytest.mark.slow
def test_a_scan_of_a_million_pages_takes_no_more_memory_than_its_column() -> None:
    import tracemalloc

    m = Memmap(1 << 18)
    m.raw[:] = b"".join(bytes.fromhex(record) for record in list(RECORDS.values())[:16]) * (1 << 14)
    column = PEEKERS["kpageflags"].scan(m, oopses={})
    tracemalloc.start()
    for name, out in (("kpageflags", column), ("dump31", None), ("is_free_buddy_page", None)):
        PEEKERS[name].scan(m, oopses={}, out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20, "blocks of a mebibyte of records, and what is worked out about them"


# ---------------------------------------------------------------------- how the subset was chosen


def shows(image: Image, row: Mapping[str, Any], peekers: Mapping[str, Peeker]) -> set[Any]:
    """What a row shows: places of tables with their answers, and ways in which readers end."""
    found: set[Any] = set()
    for name, peeker in peekers.items():
        part = only(row, name)
        if not part:
            continue
        visit = visited(image, part, peeker)
        found |= {(name, id(t.item), bool(t.answer) if isinstance(t.item, Step) else None) for t in visit.told}
        said = next(iter((part["out"] | part["dump"]).values()))
        if isinstance(said, dict):
            found.add((name, said.get("o"), visit.oops and visit.oops.access, *sorted(said)))
    return found


def choose(all_rows: Sequence[dict[str, Any]], times: int = 3) -> list[dict[str, Any]]:
    """The rows of the subset: every place of every table, with each of its answers, and every way in which a reader was
    recorded to end, occurs in so many of them, or in all that there are; and every table with one thing wrong that the
    recordings find out is found out.

    The row that shows most of what is still wanted is taken, then the next, until nothing is; then, for a wrong table
    that goes unnoticed so far, the first row that notices it.
    """
    peekers = {name: with_table(p, copied(p.table)) for name, p in PEEKERS.items()}
    image = Image()
    shown = {n: shows(image, row, peekers) for n, row in enumerate(all_rows)}
    left, wanted = dict(shown), dict.fromkeys(set().union(*shown.values()), times)
    chosen = []
    while wanted:
        n = max(left, key=lambda n: len(left[n] & wanted.keys()))
        found = left.pop(n) & wanted.keys()
        if not found:
            break
        chosen.append(n)
        for thing in found:
            wanted[thing] -= 1
            if not wanted[thing]:
                del wanted[thing]
    for name, peeker in peekers.items():
        for item, _, table in mutants(peeker.table):
            places = {(name, id(item), answer) for answer in (True, False, None)}
            able = [n for n in (*chosen, *left) if shown[n] & places]
            wrong = with_table(peeker, table)
            chosen += _first(image, all_rows, able, wrong)
    for module, name, value, reader in NUMBERS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, value)
            chosen += _first(image, all_rows, [*chosen, *left], PEEKERS[reader])
    return [all_rows[n] for n in sorted(set(chosen))]


def _first(image: Image, all_rows: Sequence[dict[str, Any]], able: Sequence[int], wrong: Peeker) -> list[int]:
    """The first of some rows that notices, if any does."""
    return next(([n] for n in able if differs(image, only(all_rows[n], wrong.name), wrong)), [])


def main(source: str, target: str) -> None:
    found = [row for path in sorted(Path(source).glob("*.jsonl.gz")) for row in read_vectors(path)]
    lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in choose(found))
    Path(target).write_bytes(gzip.compress(lines.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
