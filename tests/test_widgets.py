"""BuddyLab without a browser: the widget follows the timeline, and the model is never wrong."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbudlab import Timeline, corpus
from zbudlab.widgets import BuddyLab, View, example


def lab(**options: Any) -> BuddyLab:
    return BuddyLab(**options)


def press(view: View, **content: str | int) -> None:
    """What the browser sends."""
    view._message(view, content, [])


def in_step(instrument: BuddyLab) -> None:
    """Picture, controls and model agree, and the model is sound."""
    timeline = instrument.timeline
    timeline.pool.check()
    assert instrument.view.svg == instrument.view.lean(instrument.picture(parts=True).svg)
    assert instrument.view.reel == [timeline.position, len(timeline.events)]
    assert instrument.version.value == timeline.header["version"]
    assert instrument.size.max == timeline.pool.max_size // 64


def test_starts_with_something_to_see() -> None:
    instrument = lab()
    in_step(instrument)
    assert len(instrument.timeline.pool.tenants) == 8


def test_allocate_free_reclaim_undo() -> None:
    instrument = lab(on=Timeline("v12", 4))
    instrument.size.value = 40
    instrument.allocate()
    assert instrument.view.line == "alloc 2,560 B = 40 chunks: p0 FIRST, a new page"
    instrument.allocate(1500)
    assert instrument.timeline.pool.chunks(0) == (40, 24)
    press(instrument.view, part="FIRST:0")
    assert instrument.timeline.pool.chunks(0) == (0, 24)
    press(instrument.view, key="u")
    assert instrument.timeline.pool.chunks(0) == (40, 24)
    press(instrument.view, key="r")
    assert instrument.timeline.pool.pages_nr == 0
    in_step(instrument)


def test_real_pages_in_turn_and_refusals_in_words() -> None:
    pages = [page for page in corpus() if page.kind == "picture"][:1] + corpus()[:1]
    instrument = lab(on=Timeline("linux-3.11", 4), pages=pages)
    instrument.allocate_real()
    assert "ENOSPC: size 4115 exceeds 3968 bytes" in instrument.view.line
    instrument.allocate_real()
    assert (
        "compressed to 1,182 bytes, with zswap's 8 bytes 1,190; alloc 1,190 B = 19 chunks: p0 FIRST"
        in instrument.view.line
    )
    in_step(instrument)


@pytest.mark.parametrize(("evictor", "left"), [("accepts", 0), ("refuses", 1), ("lies", 1)])
def test_evictors(evictor: str, left: int) -> None:
    instrument = lab(on=Timeline("v12", 4))
    instrument.allocate(1000)
    instrument.evictor.value = evictor
    instrument.reclaim()
    assert instrument.timeline.pool.pages_nr == left
    said = {"accepts": "1 offered, 1 evicted", "refuses": "8 offered, 0 evicted", "lies": "8 agreed to, 0 evicted"}
    assert said[evictor] in instrument.view.line
    in_step(instrument)


def test_another_version_replays_the_same_events() -> None:
    instrument = lab(on=Timeline("v12", 4))
    instrument.allocate(4096)
    instrument.allocate(1000)
    instrument.version.value = "linux-3.11"
    assert [row[2] for row in instrument.timeline.events] == ["ENOSPC", "OK"]
    in_step(instrument)


def test_scrubbing_and_the_book() -> None:
    instrument = lab()
    total = len(instrument.timeline.events)
    press(instrument.view, event=3)
    assert instrument.timeline.position == 3
    press(instrument.view, part="event:5")
    assert instrument.timeline.position == 5 and len(instrument.timeline.events) == total
    instrument.allocate(64)  # a new future
    assert len(instrument.timeline.events) == 6
    instrument.version.value = "v11"
    instrument.reset()
    assert instrument.timeline.events == example().events
    in_step(instrument)


def test_a_new_deed_at_an_earlier_event_says_what_is_forgotten() -> None:
    instrument = lab(on=Timeline("v12", 4))
    for size in (100, 200, 300):
        instrument.allocate(size)
    press(instrument.view, event=1)
    instrument.allocate(400)
    assert instrument.view.line.startswith("(forgotten: 2 later events) alloc 400 B = 7 chunks")


def test_where_no_page_is_left_no_box_is_drawn() -> None:
    instrument = lab(on=Timeline("v12", 1))
    instrument.allocate(4096)
    assert "would go here" not in instrument.view.svg
    assert "alloc 1,216 B = 19 chunks: ENOMEM, no page is free" in instrument.picture().text
    instrument.allocate(64)
    assert instrument.view.line.startswith("ENOMEM: none of the 1 pages is free")


def test_a_tenant_that_is_gone_is_no_error() -> None:
    instrument = lab(on=Timeline("v12", 2))
    instrument.allocate(100)
    for _ in range(2):  # a double click, faster than the picture
        press(instrument.view, part="FIRST:0")
    assert instrument.timeline.pool.pages_nr == 0
    in_step(instrument)


def test_the_saved_view_is_the_still_picture() -> None:
    instrument = lab()
    bundle = instrument._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == instrument.picture().html()
    assert bundle["text/plain"] == instrument.picture().text
    assert repr(instrument) == "<BuddyLab: <Timeline: zbud linux-3.11, event 12 of 12>>"


def frames(view: View, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the browser gets when it asks for the frames of the reel."""
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(view, "send", sent.append)
    press(view, need=view.tape - 1)  # of events that are no more: no answer
    press(view, need=view.tape)
    assert [message["tape"] for message in sent] == [view.tape]
    answer: list[tuple[str, str]] = sent[0]["frames"]
    return answer


def test_the_reel_has_a_frame_for_every_event(monkeypatch: pytest.MonkeyPatch) -> None:
    instrument = lab()
    now, svg = instrument.timeline.position, instrument.view.svg
    got = frames(instrument.view, monkeypatch)
    assert len(got) == len(instrument.timeline.events) + 1
    assert (instrument.timeline.position, instrument.view.svg) == (now, svg)  # nobody was moved
    for i in (0, 4, len(got) - 1):
        instrument.stage.timeline.goto(i)
        assert got[i] == (instrument.view.lean(instrument.frame(880).svg), instrument.stage.here())


def test_the_reel_of_a_long_timeline_has_no_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    long = Timeline("v12", 4)
    for _ in range(64):
        long.remark("waiting")
    assert frames(lab(on=long).view, monkeypatch) == []


def test_the_tape_changes_with_the_events_and_only_with_them() -> None:
    instrument = lab()
    tape = instrument.view.tape
    press(instrument.view, event=3)
    assert instrument.view.tape == tape
    instrument.allocate(64)
    assert instrument.view.tape != tape


def test_two_instruments_on_one_pool_stay_in_step() -> None:
    one = lab(on=Timeline("v12", 4))
    two = BuddyLab(one)
    one.allocate(1000)
    two.version.value = "v11"
    one.allocate(200)
    press(two.view, part="FIRST:0")
    for instrument in (one, two):
        in_step(instrument)
        assert instrument.view.line == "free p0 FIRST, 16 chunks: "[:-2]
    assert one.timeline is two.timeline
    with pytest.raises(TypeError, match="stands on a Timeline, a Recording or another instrument, not on 7"):
        BuddyLab(7)


def test_the_book_is_a_copy_that_keeps_every_kind_of_event() -> None:
    timeline = Timeline("v12", 4)
    timeline.write(timeline.alloc(100), b"abc")
    timeline.poke(timeline.pool.memmap.record(3), b"x")
    instrument = lab(on=timeline)
    instrument.allocate(100)
    instrument.reset()
    assert instrument.timeline.events == timeline.events and len(timeline.events) == 3


def test_a_machine_that_stopped_does_nothing_more_until_it_is_undone() -> None:
    timeline = Timeline("v12", 4)
    a = timeline.alloc(1000)
    timeline.poke(timeline.pool.data.lru(0) + 4, b"\x00\x00\x00\x00")  # half of a link
    instrument = lab(on=timeline)
    instrument.free(a.pfn, a.slot)
    oops = instrument.view.line
    assert " at 0x" in oops
    before = instrument.timeline.pool.memmap.raw.hex()
    instrument.allocate(64)
    assert instrument.view.line.startswith("the machine has stopped (")
    assert instrument.timeline.pool.memmap.raw.hex() == before and len(instrument.timeline.events) == 3
    instrument.undo()
    instrument.allocate(64)
    assert "\u00d7" in instrument.picture().svg  # and the list that breaks off is drawn as far as it goes


def test_narrow_when_the_browser_says_so() -> None:
    instrument = lab()
    instrument.view.narrow = True
    assert 'width="620"' in instrument.view.svg


@given(st.lists(st.sampled_from("anru,.") | st.integers(0, 30), max_size=40))
def test_any_clicking_leaves_all_in_step(moves: list[str | int]) -> None:
    instrument = lab(on=Timeline("linux-3.11", 5))
    for move in moves:
        if isinstance(move, str):
            press(instrument.view, key=move)
        else:
            press(instrument.view, part=f"{('FIRST', 'LAST')[move % 2]}:{move // 2}")
    in_step(instrument)


def test_a_picture_that_nobody_looks_at_is_not_drawn() -> None:
    """A cell that is run again leaves its old view behind: it must not slow down the new one for ever."""
    one = lab(on=Timeline("v12", 4))
    two = BuddyLab(one)
    press(one.view, seen=1)
    press(two.view, seen=1)
    press(one.view, seen=-1)
    shown = one.view.shown
    two.allocate(1000)
    two.allocate(200)
    assert one.view.shown == shown and "alloc 200 B" in two.view.line
    press(one.view, seen=1)
    in_step(one)
    assert one.view.line == two.view.line


def test_one_thing_at_a_time() -> None:
    """A click that comes in another thread while the reel's frames are drawn waits, and is not lost."""
    instrument = lab()
    began, drawn = instrument.timeline.position, instrument.frame
    clicks = [threading.Thread(target=instrument.undo), threading.Thread(target=instrument.view.on_key, args=["u"])]

    def frame(width: int) -> Any:
        for click in clicks:
            if click.ident is None:
                click.start()
                click.join(0.1)
        return drawn(width)

    instrument.frame = frame
    press(instrument.view, need=instrument.view.tape)
    for click in clicks:
        click.join()
    assert instrument.timeline.position == began - 2
    in_step(instrument)


def test_the_reels_pictures_leave_the_timeline_where_it_was() -> None:
    instrument = lab()
    instrument.undo()
    instrument.undo()
    now = instrument.timeline.position
    press(instrument.view, need=instrument.view.tape)
    assert instrument.timeline.position == now < len(instrument.timeline.events)
    in_step(instrument)
