"""A recorded machine to stand on: its pool as the kernel left it, and the instruments that look at it."""

import copy
from pathlib import Path

import pytest

from zbudlab import BuddyLab, PageXray, PeekerBench, Timeline, ZbudError, kernel
from zbudlab.demonstrate.face import face
from zbudlab.demonstrate.readers import begin, readers_of
from zbudlab.demonstrate.recogniser import implicit
from zbudlab.draw.readings import readings
from zbudlab.draw.xray import xray_picture
from zbudlab.invariants import ring
from zbudlab.kernel import Recording
from zbudlab.peekers.report import KPF
from zbudlab.realpool import RealPool, RealTimeline
from zbudlab.rows import RecordingError
from zbudlab.widgets.stage import Stage
from zbudlab.words import where

BOTH = pytest.mark.parametrize("release", ["6.1", "6.12"])


@pytest.fixture(scope="module")
def pools() -> dict[str, RealPool]:
    """To be looked at: a test that changes one restores it."""
    return {name: RealPool(kernel.load(name)) for name in ("6.1", "6.12")}


def a_page(r: Recording, flag: str, without: str = "") -> int:
    """The first page of which kpageflags says so, and not the other."""
    mask = 1 << KPF[flag] | (1 << KPF[without] if without else 0)
    return next(pfn for pfn in r.pfns if r.kpageflags[pfn] & mask == 1 << KPF[flag])


# The pool


@BOTH
def test_every_link_of_the_real_pool_leads_back(release: str) -> None:
    """The structure's address was found from the links; all lists are whole, and each page is on the one it should."""
    pool, found = RealPool(kernel.load(release)), dict[int, int]()
    for i in range(pool.lists):
        for node in ring(pool.memmap, pool.unbuddied(i), f"list {i}"):
            found[pool.data.pfn(node)] = i
            assert node == pool.data.buddy(pool.data.pfn(node))
    assert found == pool.recording.free_chunks
    for pfn, i in found.items():
        first, last = pool.chunks(pfn)
        assert i == (0 if first and last else pool.capacity - first - last)
    assert pool.pages_nr == len(pool.mine) == pool.recording.facts["pages_nr"]


def test_the_real_lru_is_whole_and_6_12_has_none() -> None:
    old, new = RealPool(kernel.load("6.1")), RealPool(kernel.load("6.12"))
    assert {old.data.pfn(node) for node in ring(old.memmap, old.lru, "lru")} == old.mine
    assert new.scheme.lru is None and "lru.next" not in new.scheme.pieces() and "lru" not in new.offsets
    assert new.scheme.pieces()["first_chunks"] == (16, 4)


def test_where_the_links_of_a_page_lead(pools: dict[str, RealPool]) -> None:
    pool = pools["6.1"]
    at_the_end = next(pfn for pfn, i in pool.recording.free_chunks.items() if i == 12)
    words = {where(pool, pool.memmap.load(pool.data.buddy(at_the_end) + k)) for k in (0, 8)}
    assert any("buddy" in word for word in words)
    newest = pool.data.pfn(pool.memmap.load(pool.lru))
    assert where(pool, pool.memmap.load(pool.data.lru(newest) + 8)) == "the pool's lru"
    assert pool.memmap.where(pool.memmap.frame(0x180) + 8) == "page 0x180 + 0x008, not recorded"
    assert pool.memmap.where(pool.memmap.frame(1 << 20)) == "nowhere"


def test_nothing_is_done_to_a_recorded_pool(pools: dict[str, RealPool]) -> None:
    pool = pools["6.1"]
    before = pool.memmap.save()
    for deed in (lambda: pool.alloc(100), lambda: pool.reclaim(), lambda: pool.destroy()):
        with pytest.raises(ZbudError, match="recorded one: look at it"):
            deed()
    assert pool.memmap.save() == before
    assert str(pool) == "<zbud pool of a running Linux 6.1 at 0xffff888006125800: pages 10519>"
    assert pool._repr_mimebundle_() == {"text/plain": repr(pool)}


# Readings


@BOTH
def test_the_fields_fit_the_page(pools: dict[str, RealPool], release: str) -> None:
    pool = pools[release]
    r, memmap = pool.recording, pool.memmap
    mine, tail = r.zbud_pfns[7], a_page(r, "COMPOUND_TAIL")
    page, header = readings(memmap, mine, pool)
    assert [told.name for told in page.fields] == [
        "flags", "lru.next", "lru.prev", "mapping", "index", "private", "_mapcount", "_refcount", "memcg_data",
    ]  # fmt: skip
    assert page.title == f"struct page, Linux {release}" and page.raw == r.record(mine)
    assert header.key == "header" and header.raw == r.headers[mine] and not header.over
    assert {told.name: told.value for told in header.fields}["first_chunks"] == str(pool.chunks(mine)[0])
    (of_tail,) = readings(memmap, tail, pool)  # the page itself was not recorded
    names = [told.name for told in of_tail.fields]
    assert "compound_head" in names and "lru.next" not in names
    assert ("_large_mapcount" if release == "6.12" else "compound_order") in names  # this one is right behind its head
    words = {told.name: told.words for told in of_tail.fields}
    assert words["compound_head"] == f"record of p{memmap.page(tail).head().pfn}, byte 0"


@BOTH
def test_what_the_kernel_of_its_time_makes_of_a_page(pools: dict[str, RealPool], release: str) -> None:
    pool = pools[release]
    r = pool.recording
    slab, anonymous, free = a_page(r, "SLAB", "ANON"), a_page(r, "ANON", "SLAB"), a_page(r, "BUDDY")
    told = {pfn: xray_picture(pool.memmap, pfn, pool, picked="page:_mapcount").text for pfn in (slab, anonymous, free)}
    assert "PageAnon says yes" in told[anonymous] and "mapped 1 time" in told[anonymous]
    assert "the first page of a free block" in told[free] and "PageBuddy(p)" in told[free]
    assert ("a type: slab" in told[slab]) == (release == "6.12")
    assert ("PG_slab" in told[slab]) == (release == "6.1")
    assert implicit(pool.memmap.page(pool.recording.zbud_pfns[0])) and not implicit(pool.memmap.page(slab))
    for pfn, words in told.items():
        assert f"30 May, is {str(bool(implicit(pool.memmap.page(pfn)))).lower()} here" in words
    assert "list poison" in xray_picture(pool.memmap, r.zbud_pfns[0], pool).text


# Readers


@BOTH
def test_readers_agree_with_what_the_kernel_said(pools: dict[str, RealPool], release: str) -> None:
    pool = pools[release]
    names = [name for name in readers_of(pool.memmap.release) if name in ("kpageflags", "kpagecount")]
    assert len(names) == 2
    for pfn in range(0, 65536, 331):
        for finding in face(pool, pfn, names):
            assert finding.why.endswith("; the kernel said so too"), (pfn, finding.why)
    for pfn in r_changed(pool)[:5]:
        assert "the page changed meanwhile" in face(pool, pfn, ["kpageflags"])[0].why


def r_changed(pool: RealPool) -> list[int]:
    r = pool.recording
    return [p for p in r.changed if begin("kpageflags", pool.memmap, p) and _says(pool, p) != r.kpageflags[p]]


def _says(pool: RealPool, pfn: int) -> int:
    visit = begin("kpageflags", pool.memmap, pfn)
    for _ in visit:
        pass
    return int(visit.value)


def test_a_visit_leaves_nothing_and_a_poke_is_no_longer_what_the_kernel_saw(pools: dict[str, RealPool]) -> None:
    pool = pools["6.1"]
    pfn = pool.recording.zbud_pfns[0]
    raw = bytes(pool.memmap.raw)
    found = {f.reader.name: f for f in face(pool, pfn, readers_of(pool.memmap.release))}
    assert bytes(pool.memmap.raw) == raw
    assert {name for name, f in found.items() if f.verdict and f.verdict.word != "ok"} == set()
    assert 0 in found["memory_failure"].writes and found["memory_failure"].after()[2] & 0x80  # PG_hwpoison
    pool.memmap.page(pfn)["mapping"] = 5 | 8 << 16  # a first_chunks that is odd, where v12 had it by name
    found = {f.reader.name: f for f in face(pool, pfn, ["kpageflags", "free_as_it_is", "migrate_scanner"])}
    pool.memmap.raw[:] = raw
    assert found["kpageflags"].verdict and found["kpageflags"].verdict.word == "misreport"
    assert "kernel said" not in found["kpageflags"].why


def test_what_was_not_recorded_is_no_oops(pools: dict[str, RealPool]) -> None:
    pool = pools["6.1"]
    charged = a_page(pool.recording, "ANON")
    (finding,) = face(pool, charged, ["kpagecgroup"])
    assert finding.visit.oops is None and finding.visit.beyond.endswith("not recorded") and finding.verdict is None
    (finding,) = face(pool, pool.recording.zbud_pfns[0], ["kpagecgroup"])
    assert finding.visit.returned


def test_readers_of_another_kernel_are_refused(pools: dict[str, RealPool]) -> None:
    with pytest.raises(ValueError, match="unknown reader 'hwpoison-inject'; known: memory_failure, soft_offline"):
        begin("hwpoison-inject", pools["6.1"].memmap, 5)
    assert list(readers_of(pools["6.12"].memmap.release)) == ["free_as_it_is", "kpageflags", "kpagecount"]


# Timelines


def test_a_recorded_machine_has_a_timeline(tmp_path: Path) -> None:
    timeline = RealTimeline("6.1")
    pfn = timeline.pool.recording.zbud_pfns[0]  # type: ignore[attr-defined]
    record = timeline.pool.memmap.record(pfn)
    timeline.put(pfn, "mapping", 5)
    assert timeline.events == [["b", f"{record + 24:#x}", "0500000000000000"]]
    with pytest.raises(KeyError, match=r"struct page has no '_count'; it has flags, lru\.next"):
        timeline.put(pfn, "_count", 1)
    with pytest.raises(OverflowError):
        timeline.put(pfn, "_mapcount", 1 << 33)
    visit = timeline.visit("memory_failure", pfn)
    assert visit.value == -16 and timeline.pool.memmap.page(pfn)["flags"] >> 23 & 1
    looked = PageXray(timeline, pfn=pfn).stage.timeline  # a look into the page is no change of it
    assert [[change.what for change in looked.changes(i)] for i in (1, 2)] == [["mapping"], ["flags"]]
    assert looked.pool.memmap.owner[pfn] == "zbud"
    timeline.dump(tmp_path / "real.jsonl")
    again = Timeline.load(tmp_path / "real.jsonl")
    assert isinstance(again, RealTimeline) and again.events == timeline.events
    assert again.pool.memmap.raw == timeline.pool.memmap.raw
    timeline.goto(0)
    assert timeline.pool.memmap.page(pfn).raw == kernel.load("6.1").record(pfn)
    assert repr(timeline) == "<RealTimeline: Linux 6.1 as recorded, event 0 of 2>"
    assert str(timeline).splitlines()[0] == "timeline of 2 events, Linux 6.1"
    with pytest.raises(ZbudError, match="as it was"):
        timeline.under("v12")
    with pytest.raises(RecordingError, match="neither a recorded release"):
        Timeline.empty(timeline.header | {"kernel": "5.0"})


# Instruments


@BOTH
def test_the_instruments_stand_on_a_recording(release: str) -> None:
    r = kernel.load(release)
    bench = PeekerBench(r)
    xray = PageXray(bench)
    assert bench.stage is xray.stage and bench.stage.recorded and bench.stage.pfn == r.zbud_pfns[0]
    assert bench.scheme.disabled and bench.all.disabled and xray.slab.disabled
    assert tuple(f.reader.name for f in bench.findings) == tuple(bench.stage.readers)
    assert f"Linux {release}, as recorded" in bench.picture().text
    bench.run()
    assert bench.stage.timeline.position == 1 and bench.stage.reader in bench.view.line
    xray.edit("5")
    assert bench.stage.timeline.position == 2 and "_mapcount \N{RIGHTWARDS ARROW}" not in xray.view.line
    assert bench.stage.timeline.pool.memmap.page(bench.stage.pfn)["_mapcount"] == 5
    bench.stage.undo()
    bench.go_on()
    assert "it was recorded, and stands still" in bench.view.line
    bench.chosen(f"FIRST:{bench.stage.pfn}")  # a tenant: nothing is freed here
    assert bench.stage.timeline.position == 1
    bench.stage.reset()
    assert bench.stage.timeline.position == 0 and bench.picture().text == PeekerBench(r).picture().text
    xray.page.value = a_page(r, "ANON")
    assert bench.stage.pfn == xray.page.value and "not zbud's" in bench.picture().text


def test_a_pool_to_play_with_is_no_recorded_one() -> None:
    with pytest.raises(ValueError, match="a recorded one stands still: look at it with PageXray"):
        BuddyLab(kernel.load("6.1"))
    with pytest.raises(ValueError, match="unknown reader 'ksm'; known: memory_failure"):
        PeekerBench(kernel.load("6.1"), reader="ksm")
    assert Stage.of(kernel.load("6.12")).reader == "free_as_it_is"


@BOTH
def test_the_structure_is_found_from_any_of_its_lists(pools: dict[str, RealPool], release: str) -> None:
    """Whichever list the first link to a head is of."""
    r, found = copy.copy(kernel.load(release)), pools[release]
    ends = {i: found.data.pfn(found.memmap.load(found.unbuddied(i))) for i in set(r.free_chunks.values()) if i}
    for i in sorted(ends)[:3]:
        r.headers = {ends[i]: r.headers[ends[i]], **r.headers}
        assert RealPool(r).address == found.address
