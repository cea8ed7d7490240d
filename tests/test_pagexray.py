"""PageXray without a browser: picture, text and controls agree with the bytes, and every part acts."""

import re
from typing import Any

import pytest

from zbudlab import SCHEMES, BuddyLab, PageXray, Timeline
from zbudlab.draw import xray_picture
from zbudlab.draw.readings import PREDICATES, place, readings
from zbudlab.draw.xray import PICKED, pick
from zbudlab.memmap import Memmap
from zbudlab.releases import release
from zbudlab.widgets import pair


def press(instrument: PageXray, **content: str | int) -> None:
    instrument.view._message(instrument.view, content, [])


def parts(svg: str) -> list[str]:
    return re.findall(r'data-part="([^"]*)"', svg)


def record(instrument: PageXray, pfn: int = 1) -> bytes:
    return instrument.timeline.pool.memmap.page(pfn).raw


# ---------------------------------------------------------------------- the picture


def test_the_story_of_bytes_24_to_31() -> None:
    pool = pair().pool
    text = xray_picture(pool.memmap, 1, pool).text
    for line in (
        ">  24  08 3c 2c 1b 00 88 ff ff",
        "page, Linux 3.10: _mapcount 455883784, mapped 455,883,785 times; _count -30720, neither free nor in use",
        "zbud v12 overlay: buddy.prev 0xffff88001b2c3c08, the pool's buddied list",
        "bytes 24 to 31  08 3c 2c 1b 00 88 ff ff  are one pointer to zbud, two numbers to the kernel",
        "PageBuddy(p), page_mapcount(p) <= 0 and page_count(p) > 0 are false; page_mapped(p) is true.",
        "the tag proposed on 30 May, is false here. (<20130530174344.GA15837@medulla>)",
    ):
        assert line in text


def test_every_byte_and_every_field_is_in_text_and_svg() -> None:
    pool = pair().pool
    drawn = xray_picture(pool.memmap, 1, pool, slab=True, parts=True)
    raw = pool.memmap.page(1).raw
    assert parts(drawn.svg)[:64] == [f"byte:{i}" for i in range(64)]
    for i in range(0, 64, 8):
        assert f"{i:3}  {raw[i : i + 8].hex(' ')}" in drawn.text
    for reading in readings(pool.memmap, 1, pool, slab=True):
        for told in reading.fields:
            assert f"{reading.key}:{told.name}" in parts(drawn.svg) and str(told) in drawn.text
    assert "data-part" not in xray_picture(pool.memmap, 1, pool).svg


def test_names_and_bytes_light_up_together() -> None:
    pool = pair().pool
    svg = xray_picture(pool.memmap, 1, pool, parts=True).svg
    lights = dict(re.findall(r'data-part="([^"]*)"[^>]* data-lights="([^"]*)"', svg))
    assert lights["byte:28"] == "28" and lights["page:_count"] == "28 29 30 31"
    assert lights["zbud:buddy.prev"] == " ".join(map(str, range(24, 32)))
    assert set(lights) == set(parts(svg))


def test_the_predicates_are_those_of_the_model() -> None:
    pool = pair().pool
    for pfn in pool.memmap.pfns:
        page = pool.memmap.page(pfn)
        for question, test, field in PREDICATES["3.10"]:
            told = xray_picture(pool.memmap, pfn, pool, picked=f"page:{field}").text.split("bytes ")[-1]
            true = " ".join(re.findall(r"[^;.]* (?:is|are) true", told))
            assert (question in true) == bool(test(page)), (pfn, question)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("width", [880, 620])
def test_every_scheme_is_shown_for_what_it_is(name: str, width: int) -> None:
    timeline = Timeline("v12", 8, scheme=name)
    for chunks in (12, 30, 9, 19):
        timeline.alloc(64 * chunks)
    pool, scheme = timeline.pool, SCHEMES[name]
    drawn = xray_picture(pool.memmap, 1, pool, width, slab=True, parts=True)
    key = "zbud" if scheme.home == "record" else "header"
    assert {f"{key}:{piece}" for piece in scheme.pieces()} <= set(parts(drawn.svg))
    assert f"first_chunks {pool.chunks(1)[0]}, 576 bytes" in drawn.text
    if scheme.home != "record":
        assert "other 64 bytes; struct page: " in drawn.text
        assert not any(part.startswith("zbud:") for part in parts(drawn.svg))
        picked = xray_picture(pool.memmap, 1, pool, width, picked="header:lru.next").text
        assert "are one pointer to zbud; no reader of the memmap sees them" in picked
    assert ("struct page: left alone" in drawn.text) == (name == "inline-header")
    assert ("the tag" in drawn.text.replace("the tag says", "").replace("the tag prop", "")) == (
        scheme.mapcount is not None
    )


def test_addresses_in_words() -> None:
    timeline = Timeline("v12", 8)
    a = timeline.alloc(1000)
    pool, memmap = timeline.pool, timeline.pool.memmap
    assert place(memmap, pool, 0, memmap.load(pool.data.buddy(a.pfn))) == "unbuddied[48] of the pool"
    timeline.alloc(4000)
    assert place(memmap, pool, 0, pool.data.lru(1)) == "p1's lru"
    assert place(memmap, pool, 0, 0xFFFFEA0100000050) == "nowhere: would oops"
    assert place(memmap, pool, 0, memmap.record(3) + 5) == "record of p3, byte 5"
    assert place(memmap, pool, 0, 0) == "" and place(memmap, pool, 8, 8) == "itself, on no list"
    slab = timeline.dress("slab")
    assert "beyond this model" in xray_picture(memmap, slab, pool).text  # what a slab's lists lead to is not here


def test_a_tail_whose_head_is_nowhere_would_oops_and_is_said_to() -> None:
    pool = pair().pool
    page = pool.memmap.page(1)
    page["flags"] |= 1 << 15
    page["first_page"] = 0xFFFFEA0100000000
    text = xray_picture(pool.memmap, 1, pool, picked="page:_count").text
    assert "page_count(p) > 0 is an oops" in text and "the tag proposed on 30 May, would oops here" in text


def test_other_pages_and_other_kernels() -> None:
    pool = pair().pool
    free = xray_picture(pool.memmap, 5, pool).text
    assert "p5 is not zbud's: nobody reads it so" in free and "are two numbers to the kernel" in free
    assert "oops" not in free and "To zbud" not in free
    assert "zbud v12 overlay: 20 bytes without a name" in xray_picture(pool.memmap, 1, pool).text
    assert "zbud" not in xray_picture(pool.memmap, 5).text
    with pytest.raises(IndexError, match="outside this memmap"):
        xray_picture(pool.memmap, 99, pool)
    assert "struct page, Linux 6.1: flags" in xray_picture(Memmap(4, release=release("6.1")), 0, slab=True).text
    assert pick("zbud:nonsense", readings(pool.memmap, 1, pool)).part == "byte:24"


# ---------------------------------------------------------------------- the instrument


def in_step(instrument: PageXray) -> None:
    assert instrument.view.svg == instrument.view.lean(instrument.picture(parts=True).svg)
    assert instrument.page.value == instrument.stage.pfn
    raw = instrument.chosen_bytes.raw
    assert int(instrument.value.value, 0) & ((1 << 8 * len(raw)) - 1) == int.from_bytes(raw, "little")


def test_starts_with_the_story() -> None:
    instrument = PageXray()
    in_step(instrument)
    assert instrument.picked == PICKED and instrument.timeline.pool.chunks(instrument.stage.pfn) == (9, 19)
    assert instrument.value.value == "0xffff88001b2c3c08"


def test_every_part_can_be_picked() -> None:
    instrument = PageXray(slab=True)
    for part in parts(instrument.view.svg):
        press(instrument, part=part)
        assert instrument.picked == part and instrument.view.line.startswith("picked byte")
        in_step(instrument)


def test_an_edit_is_an_event_and_undo_takes_it_back() -> None:
    instrument, before = PageXray(), record(PageXray())
    press(instrument, part="page:_count")
    assert instrument.value.value == "-30720"
    instrument.value.value = "-1"
    assert instrument.view.line.startswith("_count of p1 is now -1: poke 4 bytes")
    assert record(instrument)[28:32] == b"\xff\xff\xff\xff" and len(instrument.timeline.events) == 5
    assert "changed by this event: bytes 28, 29\n" in instrument.picture().text
    in_step(instrument)
    press(instrument, part="byte:8")
    instrument.value.value = "0x1f"
    assert instrument.timeline.pool.chunks(1) == (0x1F, 19) and instrument.value.value == "31"
    press(instrument, key="u")
    press(instrument, key="u")
    assert record(instrument) == before
    in_step(instrument)


@pytest.mark.parametrize(
    ("part", "text", "told"),
    [
        ("byte:8", "4097", "4,097 does not fit into byte 8: from -128 to 255 (0xff)"),
        ("byte:8", "-129", "-129 does not fit into byte 8"),
        ("page:_count", "abc", "'abc' is no number: _count of p1 takes a decimal, as 9 or -1, or hex with 0x"),
        ("page:_count", "", "'' is no number"),
        ("page:index", "0x10000000000000000", "does not fit into bytes 16 to 23"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_changes(part: str, text: str, told: str) -> None:
    instrument = PageXray()
    press(instrument, part=part)
    before = record(instrument), list(instrument.timeline.events)
    instrument.value.value = text
    assert told in instrument.view.line
    assert (record(instrument), instrument.timeline.events) == before


def test_the_header_in_the_page_can_be_edited() -> None:
    instrument = PageXray(Timeline("v12", 8, scheme="inline-header"), pfn=0)
    instrument.stage.do(lambda: instrument.timeline.alloc(1000))
    before = record(instrument, 0)
    press(instrument, part="header:first_chunks")
    instrument.value.value = "7"
    assert instrument.timeline.pool.chunks(0) == (7, 0) and record(instrument, 0) == before
    in_step(instrument)


def test_keys_jump_by_field_and_show_the_slab_reading() -> None:
    instrument = PageXray()
    press(instrument, part="byte:26")
    seen = []
    for key in "]][[[":
        press(instrument, key=key)
        seen.append(instrument.picked)
    assert seen == ["page:_count", "page:lru.next", "page:_count", "page:_mapcount", "page:index"]
    press(instrument, part="zbud:lru.prev")
    press(instrument, key="]")
    assert instrument.picked == "zbud:donotuse"  # round the corner
    press(instrument, key="s")
    press(instrument, part="slab:objects, frozen")
    press(instrument, key="s")
    assert instrument.picked == "byte:26" and "slab:" not in "".join(parts(instrument.view.svg))
    in_step(instrument)


def test_another_page_and_in_step_with_another_instrument() -> None:
    instrument = PageXray()
    other = BuddyLab(instrument)
    instrument.page.value = 0
    assert instrument.view.line.startswith("page p0")
    press(instrument, part="page:_count")
    instrument.value.value = "5"
    assert other.view.line == instrument.view.line and other.timeline is instrument.timeline
    other.allocate(100)
    in_step(instrument)
    press(instrument, part="byte:63")
    assert instrument.stage.pfn == 0
    with pytest.raises(IndexError, match="outside this memmap"):
        PageXray(pfn=1000)


def test_the_saved_view_and_the_frames_of_the_reel() -> None:
    instrument = PageXray()
    bundle: dict[str, Any] = instrument._repr_mimebundle_()
    assert bundle["text/html"] == instrument.picture().html() and bundle["text/plain"] == instrument.picture().text
    frames = instrument._frames()
    assert len(frames) == 5 and frames[4][0] == instrument.view.lean(instrument.picture(parts=True).svg)
    assert instrument.timeline.position == 4
    instrument.view.narrow = True
    assert 'width="620"' in instrument.view.svg
