"""BuddyLab without a browser: the widget follows the timeline, and the model is never wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbudlab import Timeline, corpus
from zbudlab.widgets import BuddyLab, View, example


def lab(**options: Any) -> BuddyLab:
    return BuddyLab(**options)


def press(view: View, **content: str) -> None:
    """What the browser sends."""
    view._message(view, content, [])


def in_step(instrument: BuddyLab) -> None:
    """Picture, controls and model agree, and the model is sound."""
    timeline = instrument.timeline
    timeline.pool.check()
    assert instrument.view.svg == instrument.picture(parts=True).svg
    assert (instrument.position.value, instrument.position.max) == (timeline.position, len(timeline.events))
    assert instrument.version.value == timeline.header["version"]
    assert instrument.size.max == timeline.pool.max_size // 64


def test_starts_with_something_to_see() -> None:
    instrument = lab()
    in_step(instrument)
    assert len(instrument.timeline.pool.tenants) == 8


def test_allocate_free_reclaim_undo() -> None:
    instrument = lab(timeline=Timeline("v12", 4))
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
    instrument = lab(timeline=Timeline("linux-3.11", 4), pages=pages)
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
    instrument = lab(timeline=Timeline("v12", 4))
    instrument.allocate(1000)
    instrument.evictor.value = evictor
    instrument.reclaim()
    assert instrument.timeline.pool.pages_nr == left
    in_step(instrument)


def test_another_version_replays_the_same_events() -> None:
    instrument = lab(timeline=Timeline("v12", 4))
    instrument.allocate(4096)
    instrument.allocate(1000)
    instrument.version.value = "linux-3.11"
    assert [row[2] for row in instrument.timeline.events] == ["ENOSPC", "OK"]
    in_step(instrument)


def test_scrubbing_and_the_book() -> None:
    instrument = lab()
    total = len(instrument.timeline.events)
    instrument.position.value = 3
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
    instrument = lab(timeline=Timeline("v12", 4))
    for size in (100, 200, 300):
        instrument.allocate(size)
    instrument.position.value = 1
    instrument.allocate(400)
    assert instrument.view.line.startswith("(forgotten: 2 later events) alloc 400 B = 7 chunks")


def test_where_no_page_is_left_no_box_is_drawn() -> None:
    instrument = lab(timeline=Timeline("v12", 1))
    instrument.allocate(4096)
    assert "would go here" not in instrument.view.svg
    assert "alloc 1,216 B = 19 chunks: ENOMEM, no page is free" in instrument.picture().text
    instrument.allocate(64)
    assert instrument.view.line.startswith("ENOMEM: none of the 1 pages is free")


def test_a_tenant_that_is_gone_is_no_error() -> None:
    instrument = lab(timeline=Timeline("v12", 2))
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


def test_narrow_when_the_browser_says_so() -> None:
    instrument = lab()
    instrument.view.narrow = True
    assert 'width="620"' in instrument.view.svg


@given(st.lists(st.sampled_from("anru,.") | st.integers(0, 30), max_size=40))
def test_any_clicking_leaves_all_in_step(moves: list[str | int]) -> None:
    instrument = lab(timeline=Timeline("linux-3.11", 5))
    for move in moves:
        if isinstance(move, str):
            press(instrument.view, key=move)
        else:
            press(instrument.view, part=f"{('FIRST', 'LAST')[move % 2]}:{move // 2}")
    in_step(instrument)
