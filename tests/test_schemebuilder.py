"""SchemeBuilder without a browser: choices, bytes, words, row and Python agree."""

import xml.etree.ElementTree as ET
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbudlab import SCHEMES, Scheme, judge
from zbudlab.demonstrate import READERS, demands
from zbudlab.demonstrate.judge import verdicts
from zbudlab.draw import NARROW, WIDE, scheme_picture
from zbudlab.draw.scheme import PIECES, Building, Draft, as_python, sample
from zbudlab.schemes import FLAGS
from zbudlab.struct_page import RECORD
from zbudlab.widgets import PageXray, PeekerBench, SchemeBuilder

SVG = "{http://www.w3.org/2000/svg}"
START = SCHEMES["slab-flag"]


@pytest.fixture(scope="module")
def shared() -> SchemeBuilder:
    return SchemeBuilder()


@pytest.fixture
def builder(shared: SchemeBuilder) -> SchemeBuilder:
    shared.reset()
    shared.stage.look(reader="memory_failure")
    return shared


def press(builder: SchemeBuilder, **content: Any) -> None:
    """What the browser sends."""
    builder.view._message(builder.view, content, [])


def parts(builder: SchemeBuilder) -> list[str]:
    return [g.attrib["data-part"] for g in ET.fromstring(builder.view.svg).iter(f"{SVG}g") if "data-part" in g.attrib]


def made_by(source: str) -> Scheme:
    names: dict[str, Any] = {}
    exec(source, names)
    made: Scheme = names["scheme"]
    return made


def in_step(builder: SchemeBuilder) -> None:
    """Controls, picture, Python and scheme say the same."""
    draft = builder.board.draft
    assert builder.view.svg == builder.view.lean(builder.picture(parts=True).svg)
    chosen = {piece: control.value for piece, control in builder.places.items()}
    assert chosen == {piece: getattr(draft, piece) for piece in PIECES} | (
        {"under_reclaim": "PG_reclaim"} if draft.under_reclaim is None else {}
    )
    assert builder.width.value == draft.width
    if not builder.board.wrong:
        assert made_by(builder.source()) == builder.scheme == draft.finished()


def test_it_starts_from_the_proposal(builder: SchemeBuilder) -> None:
    assert builder.scheme == Scheme(**{**asdict(START), "name": "mine", "about": ""})
    assert builder.tag.value == "a page flag" and builder.flag.value == "slab"
    in_step(builder)


@pytest.mark.slow
def test_each_control_is_a_choice(builder: SchemeBuilder) -> None:
    for change, field, value in (
        ("home", "home", "frame"),
        ("home", "home", "apart"),
        ("home", "by_definition", False),
        ("home", "by_definition", True),
    ):
        words = {"frame": "the page's first chunk", "apart": "a structure apart", False: "struct page, by a cast"}
        getattr(builder, change).value = words.get(value, "struct page, by definition")
        assert getattr(builder.board.draft, field) == value
    builder.flag.value = "reserved"
    assert builder.scheme.flag == "reserved"
    for tag, field, value in (
        ("a value of _mapcount", "mapcount", -127),
        ("a new page flag", "flag", "zbud"),
        ("genuine slab", "slab", True),
        ("no tag", "flag", None),
    ):
        builder.tag.value = tag
        assert getattr(builder.scheme, field) == value
        assert sum([builder.scheme.flag is not None, builder.scheme.mapcount is not None, builder.scheme.slab]) <= 1
        in_step(builder)
    builder.tag.value = "a value of _mapcount"
    builder.mapcount.value = -512
    assert builder.scheme.mapcount == -512
    builder.places["under_reclaim"].value = 56
    assert builder.scheme.under_reclaim == 56 and "under_reclaim" in builder.source()
    in_step(builder)


def test_what_collides_is_said_in_schemes_own_words_and_seen_on_the_bytes(builder: SchemeBuilder) -> None:
    builder.places["lru"].value = 16
    with pytest.raises(ValueError, match=r"^mine: lru\.next and buddy.prev both lie on byte 16$") as caught:
        builder.scheme  # noqa: B018
    with pytest.raises(ValueError, match="both lie on byte 16"):
        builder.source()
    assert str(caught.value) in builder.view.line and str(caught.value) in builder.python.value
    text = builder.picture().text
    assert f"not a scheme yet. {caught.value}" in text and "!! bytes 16 to 23: buddy and lru" in text
    assert "url(#" in builder.view.svg and not [part for part in parts(builder) if part.startswith("reader")]
    builder.put_on_the_bench()
    assert "not a scheme yet" in builder.view.line
    in_step(builder)
    builder.places["lru"].value = 32
    assert not builder.board.wrong and builder.scheme.lru == 32


def test_a_place_that_is_not_aligned_stays_to_be_seen(builder: SchemeBuilder) -> None:
    builder.width.value = 4
    assert "last_chunks at byte 50 is not aligned" in builder.board.wrong
    assert ("byte 50, private", 50) in builder.places["last_chunks"].options
    builder.places["last_chunks"].value = 52
    assert builder.scheme.width == 4
    in_step(builder)


def test_a_tag_that_the_data_lies_on_is_said_though_scheme_takes_it(builder: SchemeBuilder) -> None:
    builder.tag.value = "a value of _mapcount"
    builder.places["first_chunks"].value = 24
    text = builder.picture().text
    assert "first_chunks and the tag share bytes 24 to 25: whichever is written last stands" in text
    assert "first_chunks: shares bytes 24 to 25 with the tag" in text
    builder.tag.value = "genuine slab"  # whose marks lie in two places
    assert "last_chunks and the tag share bytes 50 to 51" in builder.picture().text
    assert "first_chunks and the tag share bytes 24 to 25" in builder.picture().text
    builder.start_from("overlay-clear")
    builder.tag.value, builder.flag.value = "a page flag", "reclaim"
    assert "the two cannot be told apart" in builder.picture().text


def test_the_row_is_the_matrix_row_and_the_demands_are_theirs(builder: SchemeBuilder) -> None:
    builder.start_from("chunks-in-mapping")
    text, row = builder.picture().text, {name: judge(builder.scheme, name) for name in READERS}
    assert builder.board.row == row == {name: judge("chunks-in-mapping", name) for name in READERS}
    for name, verdict in row.items():
        assert f" {name:16} {verdict.why}" in text
        press(builder, part=f"reader:{name}")
        assert builder.view.line == f"mine, {name}: {verdict}"
        assert builder.stage.reader == name and f"mine \u00d7 {name}" in builder.view.svg
    for demand, answer in demands(builder.scheme, list(row.values())).items():
        assert f"{demand}: {answer}" in text


def test_what_changed_against_the_start_is_said(builder: SchemeBuilder) -> None:
    builder.change(first_chunks=24, last_chunks=26, buddy=48, flag=None)
    was, now = verdicts(START), builder.board.row
    changed = [name for name in READERS if was[name].word != now[name].word]
    assert changed
    for line in builder.picture().text.splitlines():
        for name in READERS:
            if f" {name:16} " in line:
                assert (f"(was {was[name].word})" in line) is (name in changed)


def test_every_part_acts(builder: SchemeBuilder) -> None:
    names = parts(builder)
    assert names[:8] == [f"word:{i}" for i in range(8)]
    assert [name for name in names if name.startswith("piece")] == [f"piece:{piece}" for piece in PIECES]
    assert [name for name in names if name.startswith("reader")] == [f"reader:{name}" for name in READERS]
    for piece in PIECES:
        builder.reset()
        press(builder, part=f"piece:{piece}")
        assert f"{piece} is in hand" in builder.view.line
        press(builder, part="word:7")
        assert getattr(builder.board.draft, piece) == (48 if piece in ("buddy", "lru") else 56)
        in_step(builder)


def test_brackets_move_the_piece_in_hand(builder: SchemeBuilder) -> None:
    press(builder, part="piece:first_chunks")
    press(builder, key="]")
    assert builder.board.draft.first_chunks == 50
    press(builder, key="[")
    assert builder.board.draft.first_chunks == 48
    press(builder, part="piece:buddy")
    for _ in range(9):
        press(builder, key="[")
    assert builder.board.draft.buddy == 0 and "both lie on byte 0" in builder.view.line  # the edge
    press(builder, part="piece:under_reclaim")
    press(builder, key="]")
    assert builder.board.draft.under_reclaim == 0
    in_step(builder)


@pytest.mark.parametrize("name", SCHEMES)
def test_start_from_any_scheme(builder: SchemeBuilder, name: str) -> None:
    builder.start.value = name
    assert Draft.of(SCHEMES[name]) == Draft.of(builder.scheme, name)
    assert f"from {name}; zbud's data in" in builder.view.svg.replace("&#x27;", "'")
    assert all(verdict.word == verdicts(SCHEMES[name])[reader].word for reader, verdict in builder.board.row.items())
    in_step(builder)


def test_on_the_bench_all_see_a_pool_under_the_scheme(builder: SchemeBuilder) -> None:
    bench, xray = PeekerBench(builder), PageXray(builder)
    builder.start_from("overlay-clear")
    builder.place("first_chunks", 56)
    builder.put_on_the_bench()
    assert bench.stage.timeline.pool.scheme == builder.scheme
    assert "a pool under scheme mine is on the bench" == bench.view.line == xray.view.line
    assert bench.stage.timeline.pool.chunks(0) == (9, 19)
    bench.stage.look(reader="kpagecount")
    assert builder.board.reader == "kpagecount" and "mine \u00d7 kpagecount" in builder.view.svg


def test_what_it_can_begin_with() -> None:
    own = Scheme("my own", "record", 16, 32, 8, 9, 1, mapcount=-300)
    builder = SchemeBuilder(PeekerBench(), start=own, name="second try")
    assert builder.start.value == "my own" and builder.mapcount.value == -300
    assert made_by(builder.source()) == builder.scheme and builder.scheme.name == "second try"
    builder.start.value = "reserved"
    builder.start.value = "my own"
    assert builder.scheme.first_chunks == 8
    with pytest.raises(ValueError, match="unknown scheme 'slab'; known: overlay-v12"):
        SchemeBuilder(start="slab")
    with pytest.raises(ValueError, match="both is tagged by a page flag and by a value of _mapcount; the builder has"):
        SchemeBuilder(start=Scheme("both", "frame", 0, 16, 32, 36, 4, flag="slab", mapcount=-127))


def test_the_saved_view_is_the_still_picture(builder: SchemeBuilder) -> None:
    bundle = builder._repr_mimebundle_()
    assert bundle["text/html"] == builder.picture().html() and bundle["text/plain"] == builder.picture().text
    assert 'data-part="' not in bundle["text/html"]
    for line in builder.source().splitlines():
        assert line in bundle["text/plain"]


def test_ten_lines_of_python(builder: SchemeBuilder) -> None:
    assert len(builder.source().splitlines()) == 10
    builder.show.value = True
    assert builder.python.layout.display == "" and "scheme = Scheme(" in builder.python.value
    builder.show.value = False
    assert builder.python.layout.display == "none"


@st.composite
def schemes(draw: st.DrawFn) -> Scheme:
    """Any scheme that holds: pieces in words of their own."""
    home = draw(st.sampled_from(("record", "frame", "apart")))
    node = draw(st.permutations([1, 3, 5]))
    width = draw(st.sampled_from((1, 2, 4, 8)))
    places = [8 * node[2] + 8 * k // width * width for k in (0, 1)]
    return Scheme(
        draw(st.text(max_size=8)),
        home,
        8 * node[0],
        8 * node[1],
        *draw(st.permutations(places)),
        width,
        draw(st.one_of(st.none(), st.integers(56, 63))),
        draw(st.sampled_from((None, *FLAGS))),
        draw(st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1))),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.text(max_size=20)),
    )


@given(schemes())
def test_the_python_makes_an_equal_scheme(scheme: Scheme) -> None:
    assert made_by(as_python(scheme)) == scheme


def refusal(draft: Draft) -> str:
    """What Scheme itself says against a draft; empty if nothing."""
    try:
        Scheme(**asdict(draft))
    except ValueError as error:
        return str(error)
    return ""


NODES, ANY = st.integers(0, 6).map(lambda word: 8 * word), st.integers(0, 63)


@given(
    st.sampled_from(("record", "frame", "apart")), NODES, NODES, ANY, ANY, st.sampled_from((1, 2, 4, 8)),
    st.one_of(st.none(), ANY), st.sampled_from((WIDE, NARROW)),
)  # fmt: skip
def test_a_draft_is_refused_as_scheme_refuses_it(
    home: Any, buddy: int, lru: int, first: int, last: int, width: int, reclaim: int | None, px: int
) -> None:
    draft = Draft("mine", home, buddy, lru, first, last, width, reclaim)
    board = Building(draft, START)
    assert board.wrong == refusal(draft)
    if board.wrong:
        if "both lie on" in board.wrong:
            byte = int(board.wrong.rpartition(" ")[2])
            assert any(start <= byte <= end for start, end, _ in draft.collisions())
        picture = scheme_picture(board, px, parts=True)
        assert board.wrong in picture.text
        for text in ET.fromstring(picture.svg).iter(f"{SVG}text"):
            assert 0 <= float(text.get("x", 0)) <= px
    else:
        assert not draft.collisions()


def test_the_bytes_on_show_are_a_pages_own() -> None:
    page, data = sample(SCHEMES["overlay-v12"])
    assert page == data and page[8:12] == bytes([9, 0, 19, 0])
    page, data = sample(SCHEMES["inline-header"])
    assert data[32:40] == bytes([9, 0, 0, 0, 19, 0, 0, 0]) and len(data) == RECORD and page[28] == 1
    page, data = sample(SCHEMES["slab-cache"])
    assert data[32:40] == bytes([9, 0, 0, 0, 19, 0, 0, 0]) and page[0] == 0x80
