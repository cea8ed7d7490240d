"""Linux 6.1 and 6.12: layouts, readers, dressed pages, and the model held to what running kernels said."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zbudlab import kernel, linux_6_1, linux_6_12
from zbudlab.__main__ import main
from zbudlab.demonstrate import matrix
from zbudlab.demonstrate.real import CONFIRMED, NOT_RUN, OTHERWISE, READERS, Confirmed, dressed_schemes
from zbudlab.dressings import DRESSINGS, Compared, compare_cells, plain_page
from zbudlab.kernel import FILES, Recording
from zbudlab.memmap import KernelOops, Memmap
from zbudlab.peekers import PEEKERS, of
from zbudlab.peekers.rules import Peeker
from zbudlab.recordings import check
from zbudlab.releases import LINUX_3_10, Release, release
from zbudlab.rows import RecordingError
from zbudlab.schemes import LATER_SCHEMES, SCHEMES
from zbudlab.struct_page import Field, s32
from zbudlab.witness import compare_pfns, score
from zbudlab.zbud import ZbudPool

CELLS = Path(__file__).parent / "data" / "kernel"  # of an earlier run of the same experiments, with every reader
PLAIN = 0x000F_FFFF_C000_0000  # flags of an ordinary page of these machines


@pytest.fixture(scope="module", params=kernel.releases())
def recording(request: pytest.FixtureRequest) -> Recording:
    return kernel.load(request.param)


def earlier_cells(name: str) -> list[Any]:
    """Dressed cells of the earlier run."""
    cells = json.loads(gzip.decompress((CELLS / f"cells-{name}.json.gz").read_bytes()))
    for c in cells:
        c["before"], c["after"] = bytes.fromhex(c["before"]), bytes.fromhex(c["after"]) if c["after"] else None
        c["oops"] = SimpleNamespace(**c["oops"]) if c["oops"] else None
    return [SimpleNamespace(counters=None, **c) for c in cells]


def memmap_of(name: str, pages: int = 64, base: int = 0x6440) -> Memmap:
    """A memmap of ordinary kernel pages."""
    m = Memmap(pages, base_pfn=base, ram=(), release=release(name))
    for pfn in m.pfns:
        plain_page(m, pfn, PLAIN)
    return m


# ---------------------------------------------------------------------- layouts


def test_the_layouts_are_those_that_the_kernels_tell_themselves(recording: Recording) -> None:
    ours, theirs = release(recording.release), recording.layout
    both = [name for name in ours.layout if name in theirs]
    assert {"flags", "lru.next", "mapping", "index", "private", "_mapcount", "_refcount", "memcg_data"} <= set(both)
    for name in both:
        assert (ours.layout[name].offset, ours.layout[name].size) == (theirs[name].offset, theirs[name].size), name
    bits = recording.facts["enums"]["pageflags"]
    assert {name: bits[f"PG_{name}"] for name in ours.flags} == dict(ours.flags)
    assert bits["__NR_PAGEFLAGS"] == len(ours.flags)
    if "pagetype" in recording.facts["enums"]:
        assert ours.types == {n: recording.facts["enums"]["pagetype"][f"PGTY_{n}"] for n in ours.types or {}}


@pytest.mark.parametrize("name", ["6.1", "6.12"])
def test_nothing_of_2013_is_where_it_was_but_the_flags(name: str) -> None:
    then, now = LINUX_3_10.layout, release(name).layout
    same = [f for f in now if f in then and then[f].offset == now[f].offset]
    assert same == ["flags"]
    assert [f.name for f in now.covering(8)] == ["lru.next", "compound_head"], "v12's chunk counts lie here"
    assert release(name).flags["slab" if name == "6.1" else "reserved"] != LINUX_3_10.flags.get("slab")


def test_releases_are_known_by_name() -> None:
    assert release("3.10") is LINUX_3_10 and release("6.1") is linux_6_1.RELEASE
    with pytest.raises(ValueError, match=r"Linux 5\.4; known: 3\.10, 6\.1, 6\.12"):
        release("5.4")
    with pytest.raises(ValueError, match=r"5\.4"):
        of("5.4")
    assert repr(release("6.12")) == "<Release: Linux 6.12>"
    assert of("3.10") is PEEKERS


@pytest.mark.parametrize(("name", "zones"), [("3.10", 4), ("6.1", 5), ("6.12", 5)])
def test_the_zone_is_read_where_it_lies(name: str, zones: int) -> None:
    r = release(name)
    assert len(r.zones) == zones
    for number in range(zones):
        assert r.zone(number << r.zone_shift | 1 << r.node_shift | 0xFFFF) == number
        assert r.zone(np.array([number << r.zone_shift], np.uint64))[0] == number


def test_a_real_pages_zone() -> None:
    assert release("6.1").zones[release("6.1").zone(PLAIN)] == "DMA32"
    assert release("6.1").zones[release("6.1").zone(0x001F_FFFF_C000_0000)] == "Movable"


@pytest.mark.parametrize(
    ("mapcount", "buddy", "offline", "typed"),
    [(-1, 0, 0, 0), (-127, 0, 0, 0), (-128, 0, 0, 0), (-129, 1, 0, 1), (-256, 1, 0, 1), (-257, 0, 1, 1),
     (-512, 1, 1, 1), (-4097, 0, 0, 1), (5, 0, 0, 0), (s32(0x7FFF_FF7F), 0, 0, 0)],
)  # fmt: skip
def test_page_types_of_6_1_are_cleared_bits(mapcount: int, buddy: int, offline: int, typed: int) -> None:
    m = memmap_of("6.1")
    m.page(0x6441)["_mapcount"] = mapcount
    for p, pick in ((m.page(0x6441), int), (m.pages(), lambda column: int(column[1]))):
        assert pick(linux_6_1.PageBuddy(p)) == buddy
        assert pick(linux_6_1.PageOffline(p)) == offline
        assert pick(linux_6_1.page_has_type(p)) == typed


def test_page_types_of_6_12_are_numbers() -> None:
    m = memmap_of("6.12")
    p = m.page(0x6441)
    for name in linux_6_12.TYPES:
        p["_mapcount"] = linux_6_12.type_value(name)
        assert [n for n in linux_6_12.TYPES if linux_6_12.page_type(p, n)] == [name]
        assert linux_6_12.page_type(m.pages(), name).tolist() == [pfn == 0x6441 for pfn in m.pfns]
    p["_mapcount"] = -256  # a type in 6.1
    assert not any(linux_6_12.page_type(p, name) for name in linux_6_12.TYPES)


@pytest.mark.parametrize("name", ["6.1", "6.12"])
def test_a_tail_is_told_by_an_odd_word(name: str) -> None:
    m = memmap_of(name)
    m.page(0x6443)["compound_head"] = m.record(0x6440) + 1
    assert m.page(0x6443).head().pfn == 0x6440 and m.page(0x6442).head().pfn == 0x6442
    m.page(0x6440)["mapping"] = 0x1234
    assert m.pages().head()["mapping"][3] == 0x1234
    m.page(0x6443)["compound_head"] = 0x80005
    for p in (m.page(0x6443), m.pages()):
        with pytest.raises(KernelOops, match="0x0000000000080004"):
            p.head()


@pytest.mark.parametrize("name", ["3.10", "6.1", "6.12"])
def test_an_idle_memmap_of_any_release(name: str) -> None:
    m = Memmap(4, base_pfn=8, release=release(name))
    m.fill()
    p = m.page(9)
    assert p["_mapcount"] == -1 and p["_refcount" if name != "3.10" else "_count"] == 0
    lru = p.address + m.layout["lru.next"].offset
    assert p["lru.next"] == p["lru.prev"] == lru
    assert m.release.zones[m.release.zone(p["flags"])] == "Normal"
    assert m.load(m.frame(9)) == 0 and m.frame(0) == m.release.direct_map
    assert m.where(m.frame(9) + 16) == "page 0x9 + 0x010"


def test_a_reader_is_not_sent_to_another_kernels_records() -> None:
    for mine, other in (("6.1", "3.10"), ("3.10", "6.1"), ("6.12", "6.1")):
        with pytest.raises(ValueError, match=rf"reads records of Linux {mine}, and these are of {other}"):
            of(mine)["kpageflags"].visit(Memmap(4, release=release(other)), 1)
        with pytest.raises(ValueError, match="kpagecount reads records"):
            of(mine)["kpagecount"].scan(Memmap(4, release=release(other)))


# ---------------------------------------------------------------------- every page of a real memmap


@pytest.mark.parametrize("file", FILES)
def test_every_page_of_a_running_kernel(recording: Recording, file: str) -> None:
    found = compare_pfns(recording, file)
    assert found.pages == len(recording.pfns) == 65536
    assert found.differ == {}
    assert len(found.changed) <= len(recording.changed) + 8, "what changed is named, and is little"
    assert found.agree == 65536 - len(found.changed)
    assert f"{found.agree:,} of 65,536 pages agree" in str(found)


def test_a_wrong_word_is_a_difference(recording: Recording) -> None:
    altered = kernel.load(kernel.DATA / recording.release)  # one of its own
    pfn = next(pfn for pfn in altered.zbud_pfns if pfn not in altered.changed)
    altered.kpageflags[pfn] = 1 << 7
    found = compare_pfns(altered, "kpageflags")
    assert found.differ == {pfn: (0x80, 0)}
    assert f"of page {pfn:#x} the kernel says 0x80 (SLAB), the model 0x0" in str(found)


def test_a_page_that_changed_is_named_and_not_counted(recording: Recording) -> None:
    altered = kernel.load(kernel.DATA / recording.release)  # one of its own
    pfn = altered.zbud_pfns[5]
    record = bytearray(altered.record(pfn))
    record[48:52] = (3).to_bytes(4, "little")
    altered.changed[pfn] = bytes(record)
    altered.kpagecount[pfn] = 4
    found = compare_pfns(altered, "kpagecount")
    assert pfn in found.changed and found.differ == {}
    assert f"changed while the kernel was asked ({pfn:#x}" in str(found)


def test_the_command_checks_a_folder_and_its_index(capsys: pytest.CaptureFixture[str], recording: Recording) -> None:
    folder = kernel.DATA / recording.release
    for path in (folder, folder / kernel.INDEX):
        assert main(["check", str(path)]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"ok Linux {recording.release}, kpageflags: 65,5")
        assert "kpagecount: 65,5" in said and "dressed pages: " in said


def test_a_folder_without_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError):
        check(tmp_path)


def test_three_counts_and_a_blank_word(recording: Recording) -> None:
    assert {recording.kpageflags[pfn] for pfn in recording.zbud_pfns} == {0}
    m = recording.memmap()
    visit = of(recording.release)["kpageflags"].visit(m, recording.zbud_pfns[0])
    assert visit.value == 0 and "no to all" in str(visit)


def test_6_12_takes_every_anonymous_page_for_ksm(recording: Recording) -> None:
    anon, ksm = 1 << 12, 1 << 21
    words = [word for word in recording.kpageflags if word & anon]
    assert len(words) > 20000
    assert {bool(word & ksm) for word in words} == {recording.release == "6.12"}


def test_the_implicit_tag_is_safe_and_does_not_identify(recording: Recording) -> None:
    found = score(recording)
    assert found.zbud == len(recording.zbud_pfns) and found.recall == 1.0
    assert found.mistaken["no flag"] > 1000 and found.mistaken["RESERVED"] > 5000
    assert found.precision is not None and found.precision < 0.6
    assert not any("SLAB" in kind or "BUDDY" in kind or "MMAP" in kind.split() for kind in found.mistaken)


# ---------------------------------------------------------------------- one table: the story and the scan


def random_memmap(r: Release, seed: int) -> Memmap:
    """Records of all kinds, some of them nonsense: compound pages, types, free blocks, wild pointers."""
    rnd, m = random.Random(seed), Memmap(128, base_pfn=0x400, ram=(), release=r)
    m.zero_pfn, m.huge_zero_pfn = 0x405, 0x408
    values = {
        "_mapcount": [-1, -1, 0, 3, -127, -128, -129, -256, -257, -512, -513, -4097, -0x1000_0000, -0xB00_0000,
                      -0xC00_0000, -0xE00_0000, 0x7FFF_FFFF, -0x8000_0000],
        "_refcount": [0, 1, 1, 2, -5632, 0x7FFF_FFFF],
        "mapping": [0, 0, 0x80004, 0x80005, 0x80006, 0x80007, m.frame(0x400) + 1],
        "private": [0, 0, 1, 3, 10, 11, 1 << 63],
        "memcg_data": [0, 0, 1, 2, 0x80004],
        "compound_head": [0, 2, 0x80005, *[m.record(0x400 + rnd.randrange(128)) + 1 for _ in range(3)]],
    }  # fmt: skip
    for pfn in m.pfns:
        p = plain_page(m, pfn, PLAIN if rnd.random() < 0.8 else 0x001F_FFFF_C000_0000)
        for name, choices in values.items():
            if rnd.random() < 0.3:
                p[name] = rnd.choice(choices)
        for _ in range(rnd.choice([0, 0, 1, 2, 5])):
            p["flags"] |= 1 << rnd.randrange(len(r.flags))
        if rnd.random() < 0.2:  # what lies behind a head
            m.store(p.address + 16, rnd.choice([0x0102, 0x0202, 0x0902]) | rnd.choice([0, 1 << 32, 0xFFFF_FFFF << 32]))
            m.store(p.address + 28, rnd.choice([0, 1, 2, 4, 100]), 4)
    return m


def scanning() -> list[Peeker]:
    return [peeker for name in ("6.1", "6.12") for peeker in of(name).values() if peeker.scans]


@pytest.mark.parametrize("peeker", scanning(), ids=lambda peeker: f"{peeker.name}-{peeker.kernel}")
def test_the_scan_says_what_visits_say(peeker: Peeker) -> None:
    seen: set[Any] = set()
    for seed in range(8):
        m, oopses = random_memmap(peeker.release, seed), dict[int, KernelOops]()
        column = peeker.scan(m, oopses=oopses, block=48)
        before = bytes(m.raw)
        for i, pfn in enumerate(m.pfns):
            visit = peeker.visit(m, pfn)
            if visit.oops is not None:
                assert (pfn, oopses[pfn].address) == (pfn, visit.oops.address)
                seen.add("oops")
            else:
                assert pfn not in oopses
                assert int(column[i]) == visit.value, str(visit)
                seen.add(visit.value)
        assert bytes(m.raw) == before, "readers that scan change nothing"
    assert len(seen) > 1 or peeker.name == "show_mem"


def test_the_scan_says_what_visits_say_of_a_real_memmap(recording: Recording) -> None:
    m = recording.memmap()
    kinds: dict[tuple[int, int], int] = {}
    for pfn in recording.pfns:
        kinds.setdefault((recording.kpageflags[pfn], recording.kpagecount[pfn]), pfn)
    assert len(kinds) > 25
    for peeker in of(recording.release).values():
        if peeker.scans:
            column = peeker.scan(m)
            for pfn in kinds.values():
                assert int(column[pfn]) == peeker.visit(m, pfn).value


@pytest.mark.parametrize("name", ["6.1", "6.12"])
def test_a_table_describes_itself(name: str) -> None:
    for peeker in of(name).values():
        text = peeker.describe()
        assert f"Linux {name}" in text and "conclude" in text
    flags = of(name)["kpageflags"].describe()
    assert "reads _mapcount" in flags and "head.flags" in flags


# ---------------------------------------------------------------------- what a reader says, case by case

KPF = {"SLAB": 7, "BUDDY": 10, "MMAP": 11, "ANON": 12, "SWAPCACHE": 13, "HEAD": 15, "TAIL": 16, "HUGE": 17, "KSM": 21,
       "THP": 22, "OFFLINE": 23, "ZERO_PAGE": 24, "PGTABLE": 26, "SWAPBACKED": 14, "OWNER": 37}  # fmt: skip


def said(m: Memmap, pfn: int) -> set[str]:
    value = of(m.release.name)["kpageflags"].visit(m, pfn).value
    return {name for name, bit in KPF.items() if value >> bit & 1}


def compound(m: Memmap, pages: int, **behind: int) -> None:
    """A compound page at the memmap's first pages; `behind` are fields of the second record."""
    first = m.pfns[0]
    m.page(first)["flags"] |= 1 << m.release.flags["head"]
    for pfn in range(first + 1, first + pages):
        m.page(pfn)["compound_head"], m.page(pfn)["_refcount"] = m.record(first) + 1, 0
    for name, value in behind.items():
        m.page(first + 1)[name] = value


@pytest.mark.parametrize(("order", "at", "free"), [(0, 0, 1), (3, 7, 8), (3, 8, 8), (2, 5, 4)])
def test_a_page_inside_a_free_block_is_free(order: int, at: int, free: int) -> None:
    m = memmap_of("6.1")
    head = m.page(0x6440)
    head["_mapcount"], head["_refcount"], head["private"] = -129, 0, order
    for i in range(1, 1 << order):
        m.page(0x6440 + i)["_refcount"] = 0
    m.page(0x6440 + at)["_refcount"] = 0
    assert said(m, 0x6440 + at) == ({"BUDDY"} if at < free else set())


def test_a_page_in_use_is_not_free_wherever_it_lies() -> None:
    m = memmap_of("6.1")
    m.page(0x6440)["_mapcount"], m.page(0x6440)["private"] = -129, 3
    assert said(m, 0x6441) == set(), "its _refcount is 1"


def test_a_huge_page_is_mapped_if_any_part_of_it_is() -> None:
    m = memmap_of("6.1")
    compound(m, 4, compound_mapcount=-1, compound_nr=4)
    m.page(0x6440)["mapping"] = 0x1001
    assert said(m, 0x6440) == {"HEAD", "ANON", "THP"} and said(m, 0x6442) == {"TAIL", "ANON", "THP"}
    m.page(0x6443)["_mapcount"] = 0
    assert all("MMAP" in said(m, 0x6440 + i) for i in range(4))
    m.page(0x6441)["compound_nr"] = 3
    assert not any("MMAP" in said(m, 0x6440 + i) for i in range(4)), "the part that is mapped is outside"
    m.page(0x6441)["compound_dtor"] = linux_6_1.HUGETLB_PAGE_DTOR
    assert said(m, 0x6442) == {"TAIL", "ANON", "HUGE"}
    m.page(0x6441)["compound_mapcount"] = 0
    assert said(m, 0x6442) == {"TAIL", "ANON", "HUGE", "MMAP"}
    assert [of("6.1")["kpagecount"].visit(m, 0x6440 + i).value for i in (0, 2, 3)] == [1, 1, 2]


def test_the_zero_pages_are_known_from_variables_only() -> None:
    m = memmap_of("6.1")
    assert said(m, 0x6442) == set()
    m.zero_pfn = 0x6442
    assert said(m, 0x6442) == {"ZERO_PAGE"}
    m.huge_zero_pfn = 0x6440
    compound(m, 2, compound_mapcount=-1)
    assert said(m, 0x6441) == {"TAIL", "ZERO_PAGE", "THP"}


def test_a_tail_of_a_slab_is_slab_and_never_mapped() -> None:
    m = memmap_of("6.1")
    compound(m, 2)
    m.page(0x6440)["flags"] |= 1 << linux_6_1.PG_6_1["slab"]
    m.page(0x6441)["_mapcount"] = 7
    assert said(m, 0x6441) == {"TAIL", "SLAB"} and said(m, 0x6440) == {"HEAD", "SLAB"}
    assert of("6.1")["kpagecount"].visit(m, 0x6441).value == 0


@pytest.mark.parametrize("name", ["6.1", "6.12"])
def test_the_swap_cache_takes_two_flags(name: str) -> None:
    m = memmap_of(name)
    p, bits = m.page(0x6444), release(name).flags
    p["flags"] |= 1 << bits["owner_priv_1"]
    assert said(m, 0x6444) == {"OWNER"}
    p["flags"] |= 1 << bits["swapbacked"]
    assert said(m, 0x6444) == {"OWNER", "SWAPBACKED", "SWAPCACHE"}


def test_a_slab_on_a_cpus_list_is_anonymous_to_6_12_if_its_number_is_odd() -> None:
    m = memmap_of("6.12")
    p = m.page(0x6444)
    p["_mapcount"] = linux_6_12.type_value("slab")
    for slabs, names in ((2, {"SLAB"}), (3, {"SLAB", "ANON", "KSM"})):
        p["mapping"] = slabs  # the word is the slab's own
        assert said(m, 0x6444) == names


@pytest.mark.parametrize(
    ("mapcount", "count"), [(-1, 0), (0, 1), (-127, -126), (-128, -127), (-129, 0), (0x7FFF_FFFF, -0x8000_0000)]
)
def test_kpagecount_is_an_int_made_wide(mapcount: int, count: int) -> None:
    m = memmap_of("6.1")
    m.page(0x6444)["_mapcount"] = mapcount
    visit = of("6.1")["kpagecount"].visit(m, 0x6444)
    assert visit.value == count & (1 << 64) - 1
    assert int(of("6.1")["kpagecount"].scan(m)[4]) == visit.value


def test_memory_failure_asks_before_it_takes() -> None:
    m = memmap_of("6.1")
    visit = of("6.1")["memory_failure"].visit(m, 0x6444)
    assert visit.value == -16 and visit.messages[0] == "Memory failure: 0x6444: unhandlable page."
    assert m.page(0x6444)["_refcount"] == 1, "no reference was taken"
    assert linux_6_1.PageHWPoison(m.page(0x6444))
    assert of("6.1")["memory_failure"].visit(m, 0x6444).value == -133, "poisoned already"
    assert of("6.1")["soft_offline"].visit(m, 0x6444).value == 0
    visit.undo()


@pytest.mark.parametrize(
    ("fields", "reader", "call"),
    [
        ({"flags": PLAIN | 1 << 4}, "memory_failure", "hwpoison_user_mappings"),
        ({"flags": PLAIN | 1 << 4}, "soft_offline", "invalidate_inode_page"),
        ({"flags": PLAIN | 1 << 4}, "isolate_migratepages", "lruvec_del_folio"),
        ({"flags": PLAIN | 1 << 4}, "offline_block", "isolate_lru_page"),
        ({"_mapcount": -129, "_refcount": 0}, "memory_failure", "take_page_off_buddy"),
        ({"_mapcount": -129, "_refcount": 0}, "soft_offline", "page_handle_poison"),
    ],
)
def test_where_the_model_ends_it_says_so(fields: dict[str, int], reader: str, call: str) -> None:
    m = memmap_of("6.1")
    for name, value in fields.items():
        m.page(0x6444)[name] = value
    visit = of("6.1")[reader].visit(m, 0x6444)
    assert visit.beyond == call and f"goes on in {call}, where the model ends" in str(visit)


@pytest.mark.parametrize(
    ("flag", "kind"), [("reserved", "reserved kernel page: Ignored"), ("private", "unknown page: Failed")]
)
def test_a_false_free_page_is_taken_and_kept(flag: str, kind: str) -> None:
    m = memmap_of("6.1")
    p = m.page(0x6444)
    p["_mapcount"], p["flags"] = -256, PLAIN | 1 << linux_6_1.PG_6_1[flag]
    visit = of("6.1")["memory_failure"].visit(m, 0x6444)
    assert visit.value == -16 and kind in visit.messages[-1] and p["_refcount"] == 2


def test_a_page_that_can_be_moved_is_asked_once_if_it_is_isolated() -> None:
    m = memmap_of("6.1")
    p = m.page(0x6444)
    p["mapping"] = 0x80006
    assert of("6.1")["isolate_migratepages"].visit(m, 0x6444).oops is not None
    m = memmap_of("6.1")
    p = m.page(0x6444)
    p["mapping"], p["flags"] = 0x80006, PLAIN | 1 << linux_6_1.PG_6_1["reclaim"]
    visit = of("6.1")["isolate_migratepages"].visit(m, 0x6444)
    assert visit.value == 1 and not visit.writes


def test_a_page_on_a_free_list_leaves_it() -> None:
    m = memmap_of("6.1")
    p, q = m.page(0x6444), m.page(0x6446)
    p["_mapcount"], p["_refcount"], p["private"] = -129, 0, 0
    p["lru.next"] = p["lru.prev"] = q.address + 8
    q["lru.next"] = q["lru.prev"] = p.address + 8
    assert of("6.1")["page_is_buddy0"].visit(m, 0x6444).value == 1
    assert q["lru.next"] == q["lru.prev"] == q.address + 8
    assert (p["lru.next"], p["lru.prev"]) == (linux_6_1.LIST_POISON1, linux_6_1.LIST_POISON2)
    visit = of("6.1")["page_is_buddy0"].visit(m, 0x6444)
    assert visit.stuck is not None and "is on no list" in visit.messages[-1]


def test_kpagecgroup_follows_its_pointer_to_a_parent_that_is_online() -> None:
    m = memmap_of("6.1")
    reader, data, parent = of("6.1")["kpagecgroup"], m.record(0x6450) + 56, m.record(0x6460) + 56
    m.page(0x6444)["memcg_data"] = data
    assert reader.visit(m, 0x6444).value == 0, "its parent is NULL"
    m.store(data + 0xC0, parent)
    assert reader.visit(m, 0x6444).value == 0
    m.store(parent + 0xC0, data)
    assert str(reader.visit(m, 0x6444).stuck) == "loops for ever"
    m.store(parent + 0x54, 2, 4)
    assert reader.visit(m, 0x6444).beyond == "cgroup_ino"
    for tagged, value in ((1, 0), (0x80004, None)):
        m.page(0x6444)["memcg_data"] = tagged
        assert reader.visit(m, 0x6444).value == value


# ---------------------------------------------------------------------- pages that were dressed on a real kernel


def test_the_dressings_are_the_bytes_that_were_recorded() -> None:
    cells = earlier_cells("6.1") + kernel.load("6.1").cells
    assert len(DRESSINGS) == 28 and {cell.scheme for cell in cells} == set(DRESSINGS)
    for cell in cells:
        m = memmap_of("6.1", 1, cell.pfn)
        p = plain_page(m, cell.pfn, int.from_bytes(cell.before[:8], "little") >> 25 << 25)
        p["index"] = min(1, field_of(cell.before, m.layout["index"]))  # the migrate type of the list it came from
        DRESSINGS[cell.scheme].put_on(p)
        assert p.raw == cell.before, f"{cell.scheme} before {cell.reader}"


def field_of(record: bytes, field: Field) -> int:
    return int.from_bytes(record[field.offset : field.offset + field.size], "little")


def explained(rows: list[Compared]) -> list[tuple[str, str]]:
    """The cells that the model has and that nothing explains; the record afterwards must be right in all."""
    wrong = [str(row) for row in rows if row.record is False]
    assert not wrong, wrong
    return [
        (row.dressing, row.reader) for row in rows if row.modelled and not row.agree and row.reason.startswith("open")
    ]


def test_the_readers_of_6_1_do_what_the_real_ones_did() -> None:
    rows = compare_cells(earlier_cells("6.1"))
    assert len(rows) == 321 and sum(row.agree for row in rows) == 315
    assert explained(rows) == []
    assert len({row.reason for row in rows if not row.agree}) == 3
    assert sum(row.record is True for row in rows) == 255


def test_the_readers_of_6_12_do_what_the_real_ones_did() -> None:
    rows = compare_cells(earlier_cells("6.12"), "6.12")
    mine = [row for row in rows if row.modelled]
    assert len(mine) == 60 and all(row.agree for row in mine)
    assert explained(rows) == []
    assert {row.reason for row in rows if not row.modelled} == {"this reader is not modelled for 6.12"}


def test_the_shipped_cells_agree_or_say_why(recording: Recording) -> None:
    rows = compare_cells(recording.cells, recording.release)
    assert len(rows) == len(recording.cells) > 0
    assert explained(rows) == []
    assert sum(row.agree for row in rows) >= 0.95 * sum(row.modelled for row in rows)


def test_a_different_answer_is_open_and_a_different_record_is_seen() -> None:
    cell = next(c for c in earlier_cells("6.1") if (c.scheme, c.reader) == ("plain", "soft_offline"))
    cell.errno = 0
    (row,) = compare_cells([cell])
    assert not row.agree and (row.real, row.model, row.reason) == ("ok", "EIO", "open") and row.record is True
    assert str(row) == "plain before soft_offline: ok; the model: EIO (open)"
    cell.errno, cell.after = 5, cell.after[:8] + bytes(56)
    (row,) = compare_cells([cell])
    assert row.record is False and not row.agree and row.reason == "open: the record is left otherwise"


def test_a_neighbour_that_merges_is_a_reason_for_a_bug_only_if_the_page_looks_free() -> None:
    cells = [c for c in earlier_cells("6.1") if c.reader == "soft_offline" and c.scheme in ("plain", "mapcount_m512")]
    for cell in cells:
        cell.oops, cell.after = SimpleNamespace(address=None), None
    reasons = {row.dressing: row.reason for row in compare_cells(cells)}
    assert reasons["plain"] == "open" and "neighbour" in reasons["mapcount_m512"]


def test_a_page_that_compaction_did_not_reach_is_known_by_its_counter() -> None:
    cells = {c.reader: c for c in earlier_cells("6.1") if c.scheme == "chunks_movable"}
    low = cells["compact_movable"]
    low.oops, low.errno = None, 0
    for scanned, reason in ((None, "open"), (low.pfn + 1, "open"), (low.pfn - 1, "not reached")):
        low.counters = scanned and {"compact_migrate_scanned": scanned}
        (row,) = compare_cells([low])
        assert row.reason.split(":")[0] == reason
    assert compare_cells([cells["compact"]])[0].reason.startswith("not reached")


def test_first_chunks_modulo_4_decides() -> None:
    soft = {row.dressing: row.model for row in compare_cells(earlier_cells("6.1")) if row.reader == "soft_offline"}
    kinds = [soft[f"chunks_{kind}"] for kind in ("even", "odd", "movable", "ksm")]
    assert kinds == ["EIO", "EIO", "oops at 0x80004", "EIO"]


# ---------------------------------------------------------------------- the matrix


def test_the_matrix_of_6_1() -> None:
    cells = matrix(kernel="6.1", cells=earlier_cells("6.1"))
    assert cells.schemes == dressed_schemes() and cells.readers == list(READERS)
    verdicts = {key: v for key, v in cells.items() if isinstance(v, Confirmed)}
    assert len(verdicts) == len(cells) == 8 * 12
    tried = [v for (_, reader), v in verdicts.items() if READERS[reader].done not in ("", "show_mem")]
    assert {v.real for v in tried} == {CONFIRMED}, "whatever was tried is as the model says"
    assert {v.real for (_, reader), v in verdicts.items() if not READERS[reader].done} == {NOT_RUN}
    for scheme, what_if in (("overlay-v12", True), ("inline-header", False), ("chunks-in-mapping", True)):
        assert {verdicts[scheme, reader].what_if for reader in READERS} == {what_if}
    assert {v.word for (scheme, _), v in verdicts.items() if scheme == "inline-header"} == {"ok"}
    assert verdicts["overlay-v12", "soft_offline"].word == "crash"
    assert verdicts["mapcount-tag", "kpagecount"].word == "misreport"
    assert verdicts["mapcount-tag", "memory_failure"].word == "wrong"
    assert verdicts["page-type", "free_as_it_is"].word == "wrong"
    assert "a what-if; the real kernel: confirmed" in str(verdicts["overlay-v12", "kpagecount"])


def test_a_cell_that_went_otherwise_is_marked() -> None:
    cell = next(c for c in earlier_cells("6.1") if (c.scheme, c.reader) == ("plain", "soft_offline"))
    cell.errno = 0
    marked = matrix(["inline-header"], ["soft_offline"], kernel="6.1", cells=[cell])["inline-header", "soft_offline"]
    assert isinstance(marked, Confirmed) and marked.real == OTHERWISE
    without = matrix(["inline-header"], ["soft_offline"], kernel="6.1", cells=[])["inline-header", "soft_offline"]
    assert isinstance(without, Confirmed) and without.real == NOT_RUN


def test_what_there_is_no_matrix_of() -> None:
    with pytest.raises(ValueError, match=r"of Linux 3\.10 and of 6\.1, and none of 6\.12"):
        matrix(kernel="6.12")
    with pytest.raises(ValueError, match="no scheme 'overlay-64' here; known: inline-header"):
        matrix(["overlay-64"], kernel="6.1")
    with pytest.raises(ValueError, match="no reader 'crash' here"):
        matrix(readers=["crash"], kernel="6.1")


def test_the_matrix_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "--kernel", "6.1", "--json", "--scheme", "overlay-v12", "--reader", "kpagecount"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kernel"] == "6.1" and len(told["cells"]) == 1
    cell = told["cells"][0]
    assert (cell["word"], cell["what_if"], cell["real"]) == ("crash", True, "confirmed")
    assert main(["matrix", "--kernel", "6.1", "--scheme", "inline-header", "--all"]) == 0
    shown = capsys.readouterr().out
    assert "ok                 12 of 12 readers; confirmed by a real kernel: " in shown
    assert "memory_failure     ok: of unknown kind" in shown
    assert main(["matrix", "--kernel", "6.1", "--scheme", "none"]) == 2
    assert "no scheme 'none'" in capsys.readouterr().err


def test_the_page_type_is_a_scheme_of_later_kernels() -> None:
    (scheme,) = LATER_SCHEMES.values()
    assert scheme.name == "page-type" and scheme.name not in SCHEMES and scheme.home == "frame"
    pool = ZbudPool("linux-3.11", 8, scheme=scheme)
    page = pool.alloc(1000).pfn
    assert pool.memmap.page(page)["_mapcount"] == scheme.mapcount == ~0x1000
    assert linux_6_1.page_has_type({"_mapcount": scheme.mapcount}), "6.1 takes it for a type"  # type: ignore[arg-type]
