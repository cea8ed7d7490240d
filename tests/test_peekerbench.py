"""PeekerBench and what it stands on: one page, here and now, before the readers; and the bench as a widget."""

from typing import Any

import pytest

from zbudlab import CLAIMS, MOMENTS, SCHEMES, Timeline
from zbudlab.demonstrate.face import Finding, consequence, deed_in_words, face, meanwhile
from zbudlab.demonstrate.judge import WORDS, judge
from zbudlab.demonstrate.readers import READERS
from zbudlab.peekers.tell import ending
from zbudlab.widgets import BuddyLab, PeekerBench, bench_example


def found(pool: Any, pfn: int, reader: str, **options: Any) -> Finding:
    return face(pool, pfn, [reader], **options)[0]


def press(bench: PeekerBench, **content: str | int) -> None:
    """What the browser sends."""
    bench.view._message(bench.view, content, [])


# ---------------------------------------------------------------------- face


def test_nothing_is_left_of_the_visits() -> None:
    pool = bench_example().pool
    before = pool.save()
    face(pool, 1)
    after = pool.save()
    assert (before[0].records, before[0].frames, before[2]) == (after[0].records, after[0].frames, after[2])
    pool.check()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_page_is_judged_worse_here_than_in_the_matrix(scheme: str) -> None:
    """The matrix is the worst over many states; this is one of them."""
    pool = bench_example(scheme).pool
    for finding in face(pool, 0):
        assert finding.verdict is not None
        worst = judge(scheme, finding.reader.name)
        assert WORDS.index(finding.verdict.word) <= WORDS.index(worst.word), finding.reader.name


def test_what_is_read_and_written() -> None:
    pool = bench_example().pool
    get = found(pool, 1, "page_cache")
    assert get.writes == {28, 29, 30, 31} and {0, 24, 28} & get.reads == {0, 28}
    assert not found(pool, 1, "kpageflags").writes
    assert get.record == pool.memmap.page(1).raw == get.after()  # the put undoes the get


def test_the_record_in_the_middle_of_a_visit() -> None:
    pool = bench_example().pool
    get = found(pool, 0, "page_cache")
    counts = {int.from_bytes(get.after(i)[28:32], "little", signed=True) for i, _ in enumerate(get.visit.told)}
    assert counts == {-5632, -5631}


def test_races_are_found_and_are_not_blamed_on_a_damaged_pool() -> None:
    timeline = bench_example()
    verdict = found(timeline.pool, 1, "memory_failure").verdict
    assert verdict and verdict.word == "crash" and verdict.race
    alone = found(timeline.pool, 1, "memory_failure", races=False).verdict
    assert alone and alone.word == "ok"
    timeline.visit("soft_offline", 1)
    after = found(timeline.pool, 1, "memory_failure").verdict
    assert after and after.word == "ok" and not after.race


def test_what_befalls_anybody_is_marked() -> None:
    verdict = found(bench_example("inline-header").pool, 1, "soft_offline").verdict
    assert verdict and (verdict.word, verdict.anyone) == ("wrong", True)


def test_of_a_page_that_is_not_zbuds_there_is_no_verdict() -> None:
    timeline = bench_example()
    slab = timeline.dress("slab")
    finding = found(timeline.pool, slab, "kpageflags")
    assert finding.verdict is None and finding.why == ending(finding.visit)
    assert "SLAB" in str(finding.visit)


def test_the_arena_will_not_do() -> None:
    with pytest.raises(ValueError, match="kernel's page allocator"):
        face(Timeline("v12", 4).pool, 0)


def test_zbud_meets_the_damage() -> None:
    timeline = bench_example()
    assert deed_in_words(consequence(timeline.pool, 1) or ("", 0)) == "zbud frees p1 FIRST"  # no damage: the first
    timeline.visit("soft_offline", 0)
    deed = consequence(timeline.pool, 1)
    assert deed and deed_in_words(deed) == "zbud frees p0 FIRST"  # to free p1 does no harm
    assert consequence(Timeline("v12", 4, allocator="kernel").pool, 0) is None
    assert meanwhile(Timeline("v12", 4, allocator="kernel").pool, "page_cache", 0, 1) is None


# ---------------------------------------------------------------------- the widget


def test_starts_with_a_page_before_the_readers() -> None:
    bench = PeekerBench()
    text = bench.picture().text
    assert text.startswith("p1 (zbud), scheme overlay-v12, before 14 readers")
    assert "> memory_failure" in text and "crash, race" in text
    assert repr(bench) == "<PeekerBench: <Timeline: zbud v12, event 5 of 5>>"


def test_run_changes_bytes_and_the_next_operation_meets_them() -> None:
    bench = PeekerBench(pfn=0)
    press(bench, part="reader:soft_offline")
    assert bench.stage.reader == "soft_offline"
    press(bench, part="run:soft_offline")
    assert bench.view.line == "soft_offline at p0: returned -5"
    assert "changed: buddy.prev 0xffffea0000000050 → 0xffffea0100000050 + 2^32; _count -5632 → -5631" in (
        bench.picture().text
    )
    press(bench, key="g")
    assert "0xffffea0100000050" in bench.view.line and "list_del" in bench.view.line
    assert "Oops: unable to handle" in bench.picture().text
    press(bench, key="x")
    assert bench.view.line.startswith("the machine has stopped (")
    press(bench, key="u")
    assert "Oops" not in bench.picture().text
    bench.stage.reset()
    assert "changed" not in bench.picture().text


def test_the_story_line_by_line() -> None:
    bench = PeekerBench(reader="page_cache")
    shown = set()
    for _ in bench._chosen.visit.told:
        press(bench, key="]")
        shown.add(bench.picture().text.split("changed: ")[-1].split("\n")[0][:40] if bench.item is not None else "")
    assert any(line.startswith("buddy.prev") for line in shown)
    press(bench, part="item:0")
    assert bench.item == 0 and "line 1 of" in bench.picture().text
    press(bench, key="[")
    assert bench.item == 0
    press(bench, part="reader:crash")
    assert bench.item is None


def test_meanwhile_is_a_race_on_the_timeline() -> None:
    bench = PeekerBench(reader="memory_failure")
    press(bench, key="m")
    row = bench.stage.timeline.events[-1]
    assert row[:3] == ["q", "memory_failure", 1] and row[4][0][0] == "f"
    assert " at 0x" in bench.stage.stopped
    replayed = Timeline.empty(bench.stage.timeline.header)
    for event in bench.stage.timeline.events:
        replayed.replay(event)


def test_another_scheme_has_the_same_events() -> None:
    bench = PeekerBench(reader="soft_offline")
    bench.run()
    bench.scheme.value = "inline-header"
    assert [row[0] for row in bench.stage.timeline.events] == list("aaaaap")
    assert bench.stage.timeline.pool.scheme.name == "inline-header"
    assert bench.view.line == "the same events under inline-header"
    bench.stage.reset()
    assert bench.scheme.value == "overlay-v12"


def test_in_step_with_a_buddylab_and_with_another_page() -> None:
    bench = PeekerBench()
    lab = BuddyLab(bench)
    lab.allocate(640)
    assert bench.view.reel == lab.view.reel == [6, 6]
    press(bench, part="FIRST:1")
    assert (lab.view.line, len(lab.timeline.events)) == ("free p1 FIRST, 12 chunks", 7)
    bench.page.value = 7
    assert bench.stage.pfn == 7 and "p7 (free)" in bench.picture().text
    bench.all.value = True
    assert f"before {len(READERS)} readers" in bench.picture().text


def test_what_cannot_be_put_on_the_bench() -> None:
    with pytest.raises(ValueError, match="unknown reader 'nobody'; known: memory_failure"):
        PeekerBench(reader="nobody")
    with pytest.raises(ValueError, match="kernel's page allocator"):
        PeekerBench(Timeline("v12", 4))
    with pytest.raises(IndexError, match="pfn 0x63 is outside"):
        PeekerBench(pfn=99)


def test_the_saved_view_is_the_still_picture() -> None:
    bench = PeekerBench()
    bundle = bench._repr_mimebundle_()
    assert bundle["text/html"] == bench.picture().html() and bundle["text/plain"] == bench.picture().text
    bench.view.narrow = True
    assert 'width="620"' in bench.view.svg


# ---------------------------------------------------------------------- moments


@pytest.mark.parametrize("name", MOMENTS)
def test_a_bench_can_be_set_to_every_moment(name: str) -> None:
    bench = PeekerBench()
    lab = BuddyLab(bench)
    bench.set(name)
    setting = MOMENTS[name]
    assert bench.stage.pfn == setting.pfn and setting.about in bench.view.line == lab.view.line
    assert bench.stage.reader == setting.reader
    finding = bench._chosen
    if name in ("the proposal", "merged", "even chunks", "stolen", "bad page"):
        assert finding.verdict and finding.verdict.word in ("ok", "misreport")
    elif name == "the tail":
        assert finding.verdict is None and "0x58" in finding.why
    else:
        assert finding.verdict and finding.verdict.word != "ok"
    bench.stage.undo()
    bench.stage.reset()  # back to the moment, not to what was there before
    assert bench.stage.timeline.events == setting.build().timeline.events


def test_a_link_sets_it_and_says_so_on_paper() -> None:
    bench = PeekerBench()
    link = bench.link("stolen", "Let compaction take it")
    link.click()
    assert bench.stage.timeline.pool.scheme.name == "overlay-clear" and bench.view.line.startswith("set to: stolen")
    bundle = link._repr_mimebundle_()
    assert "Let compaction take it" in bundle["text/html"] and "balloon" in bundle["text/plain"]
    with pytest.raises(ValueError, match="there is no moment 'never'; there are: a pair, two pairs"):
        bench.link("never")
    with pytest.raises(ValueError, match="there is no moment 'never'"):
        bench.set("never")


def test_a_bench_can_be_set_to_what_every_claim_is_about() -> None:
    bench = PeekerBench()
    for claim in CLAIMS:
        bench.set(claim.moment())
        assert bench.picture().text
