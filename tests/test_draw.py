"""Pictures: legible colours, one drawing for SVG and text, marked parts, the same output each time."""

import itertools
import re
import xml.etree.ElementTree as ET

import pytest

from zbudlab import KernelPages, Memmap, Timeline, ZbudPool, memmap_picture, page_picture, pool_picture, sizes_picture
from zbudlab.draw import NARROW, WIDE, Ghost, Picture, dots_picture, lab_picture, strip_text
from zbudlab.draw.palette import DARK, EYES, FALLBACK, LIGHT, STYLE, TAGS, contrast, distance
from zbudlab.widgets import example

THEMES = {"light": LIGHT, "dark": DARK}
HUES = "RSZFU"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
class TestPalette:
    def test_words_reach_four_and_a_half(self, theme: dict[str, str]) -> None:
        grounds = ["bg", "panel", "nowbg", "h1", "h2", *("t" + tag for tag in TAGS)]
        assert min(contrast(theme["ink"], theme[ground]) for ground in grounds) >= 4.5
        assert min(contrast(theme["dim"], theme[ground]) for ground in ("bg", "panel", "nowbg")) >= 4.5
        assert min(contrast(theme[tag], theme["bg"]) for tag in HUES) >= 4.5  # hues are words on plain ground only

    def test_marks_reach_three(self, theme: dict[str, str]) -> None:
        assert min(contrast(theme[tag], theme["t" + tag]) for tag in HUES) >= 3  # a hatch on its tint
        assert min(contrast(theme["now"], theme[ground]) for ground in ("bg", "nowbg")) >= 3
        assert min(contrast(theme["bg"], theme[ink]) for ink in ("h3", "h4")) >= 3

    @pytest.mark.parametrize("eye", EYES)
    def test_no_two_tags_look_alike(self, theme: dict[str, str], eye: str) -> None:
        closest = min(distance(theme[a], theme[b], eye) for a, b in itertools.combinations(HUES, 2))
        assert closest >= 10


def test_fallbacks_are_seen_on_white_and_on_near_black() -> None:
    for tag in HUES:
        assert contrast(FALLBACK[tag], "#ffffff") >= 3 and contrast(FALLBACK[tag], "#111111") >= 3


def test_contrast_is_the_standard_one() -> None:
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")


def pool_of(version: str) -> ZbudPool:
    return example(version).pool


DOTS = {"800 bytes": {"v11": 2.0, "v12": 2.0}, "2,000 bytes": {"v11": 1.81, "v12": 1.905}, "none": {"v13": 1.0}}


def pictures() -> dict[str, Picture]:
    v12, merged, kernel = pool_of("v12"), pool_of("linux-3.11"), KernelPages(Memmap(64))
    kernel.alloc_page()
    made = {}
    for width in (WIDE, NARROW):
        made |= {
            f"empty {width}": pool_picture(ZbudPool("v11", 2), width),
            f"v12 {width}": pool_picture(v12, width, Ghost(19, 4, "LAST")),
            f"merged {width}": pool_picture(merged, width, Ghost(63, None, "FIRST")),
            f"lab {width}": lab_picture(example("linux-5.14"), width, parts=True),
            f"page v12 {width}": page_picture(v12.memmap, 0, v12, width),
            f"page merged {width}": page_picture(merged.memmap, 0, merged, width),
            f"page slab {width}": page_picture(v12.memmap, 16, v12, width),
            f"page free {width}": page_picture(v12.memmap, 9, None, width),
            f"memmap {width}": memmap_picture(kernel.memmap, width),
            f"memmap of many {width}": memmap_picture(Memmap(2000), width),
            f"sizes {width}": sizes_picture([1, 64, 65, 4000, 4115], 3968, width),
            f"dots {width}": dots_picture("What it costs", "zpages in a page", DOTS, 1, 2, width),
        }
    return made


PICTURES = pictures()


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_sound(name: str) -> None:
    """Well-formed, titled and described, drawn inside its frame, with a text twin; saved without anything live."""
    picture = PICTURES[name]
    root = ET.fromstring(picture.svg)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    assert width in (WIDE, NARROW) and height > 20
    labels = (root.get("aria-labelledby") or "").split()
    assert [root.find(f"{SVG}title").get("id"), root.find(f"{SVG}desc").get("id")] == labels  # type: ignore[union-attr]
    assert all(root.find(f"{SVG}{part}").text for part in ("title", "desc"))  # type: ignore[union-attr]
    for text in root.iter(f"{SVG}text"):
        assert -1 <= float(text.get("x", 0)) <= width and 0 <= float(text.get("y", 0)) <= height, text.text
        assert int(text.get("font-size", 0)) in (11, 13, 16)
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x", 0)) + float(rect.get("width", 0)) <= width + 2
        assert float(rect.get("width", 0)) >= 0
    used = set(re.findall(r"url\(#([^)]*)\)", picture.svg))
    assert used <= {pattern.get("id") for pattern in root.iter(f"{SVG}pattern")}
    assert picture.text.strip() and not re.search(r"<|&\w+;", picture.text)
    assert STYLE in picture.html() and "tabindex" not in picture.html() and "<script" not in picture.html()


def test_marks_stand_where_their_numbers_are() -> None:
    picture = dots_picture("What it costs", "zpages in a page", DOTS, 1, 2)
    ring, disc = (float(x) for x in re.findall(r'<circle cx="([^"]*)" cy="77"', picture.svg))
    left, right = (float(x) for x in re.findall(r'<text x="([^"]*)"[^>]*>[12]</text>', picture.svg))
    assert [round((x - left) / (right - left), 3) for x in (ring, disc)] == [0.81, 0.905]
    assert picture.text.splitlines()[-3:] == [
        "800 bytes      2.00    2.00       -",
        "2,000 bytes    1.81    1.91       -",
        "none              -       -    1.00",
    ]


def test_the_same_picture_each_time() -> None:
    assert {name: picture.svg for name, picture in pictures().items()} == {n: p.svg for n, p in PICTURES.items()}


def test_no_id_serves_two_different_pictures() -> None:
    ids = [re.search(r'<title id="([^"]*)"', svg).group(1) for svg in {p.svg for p in PICTURES.values()}]  # type: ignore[union-attr]
    assert len(ids) == len(set(ids))


def test_a_strip_is_sixty_four_characters() -> None:
    assert strip_text(9, 19, 1) == "|#" + "/" * 9 + "." * 35 + "\\" * 19 + "|"
    for version in ("v12", "linux-3.11"):
        strips = re.findall(r"\|.*\|", str(pool_of(version)))
        assert len(strips) == 6 and {len(strip) for strip in strips} == {66}


def test_text_and_picture_tell_the_same() -> None:
    """Every page of the text twin is drawn, with its counts; the numbers at the top are the pool's."""
    pool = pool_of("linux-3.11")
    picture = pool_picture(pool)
    drawn = ["".join(text.itertext()) for text in ET.fromstring(picture.svg).iter(f"{SVG}text")]
    for pfn in pool.mine:
        first, last = pool.chunks(pfn)
        line = next(line for line in picture.text.splitlines() if f" p{pfn} " in line and "|" in line)
        assert f"first {first:2}, last {last:2}" in line
        assert f"p{pfn}" in drawn and (not last or f"last {last}" in drawn) and (not first or f"first {first}" in drawn)
    assert f"{len(pool.tenants)} zpages" in picture.text and str(len(pool.tenants)) in drawn


def test_live_parts_say_what_they_are() -> None:
    timeline = example("v12")
    root = ET.fromstring(lab_picture(timeline, parts=True).svg)
    parts = {g.get("data-part"): g.get("aria-label") for g in root.iter(f"{SVG}g") if "data-part" in g.attrib}
    tenants = {f"{handle.slot}:{handle.pfn}" for handle in timeline.pool.tenants.values()}
    assert tenants | {f"event:{i}" for i in range(1, len(timeline.events) + 1)} == set(parts)
    assert all(parts.values())
    assert "data-part" not in lab_picture(timeline).svg


def test_a_record_under_v12_names_both_readings() -> None:
    pool = ZbudPool("v12", 8)
    pool.alloc(576), pool.alloc(1216)
    text = page_picture(pool.memmap, 0, pool).text
    assert "mapping 0x130009 = first_chunks, last_chunks" in text
    assert "_count -30720 = buddy.prev" in text


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_count_is_held_by_its_own_four_bytes(width: int) -> None:
    """The bracket that its label leads to covers the upper half of the fourth word, and its value alone is bold."""
    pool = pool_of("v12")
    svg = page_picture(pool.memmap, 0, pool, width).svg
    ((left, right),) = re.findall(r'd="M([\d.]+) [\d.]+v-2.5H([\d.]+)v2.5', svg)
    starts = [float(x) for x in re.findall(r'<text x="([^"]*)"[^>]*>(?:_mapcount|lru.next)</text>', svg)][:2]
    word = starts[1] - starts[0] - 4
    assert float(left) == pytest.approx(starts[0] + word / 2, abs=1)
    assert float(right) == pytest.approx(starts[0] + word, abs=1)
    p = pool.memmap.page(0)
    bold = re.findall(r'<text[^>]*font-weight="600">([^<]*)</text>', svg)
    assert f"_count {p['_count']}".replace("-", "\u2212") in bold and str(p["_mapcount"]) not in bold


def test_objects_show_themselves() -> None:
    pool = pool_of("v12")
    for thing in (pool, pool.memmap, pool.memmap.page(0), Timeline("v12")):
        assert thing._repr_html_().startswith('<div style="overflow-x:auto"><svg')  # type: ignore[union-attr]
        assert thing._repr_mimebundle_()["text/plain"].strip()  # type: ignore[union-attr]
    assert str(pool) == pool_picture(pool).text
    assert str(pool.memmap) == memmap_picture(pool.memmap).text


@pytest.mark.parametrize(
    ("kind", "told"),
    [("loop", "returns to p1, not to its head"), ("out", "leads out of the pool, to page 0x6"),
     ("nowhere", "leads out of the pool, to page 0x4000001")],
)  # fmt: skip
def test_a_damaged_list_is_drawn_as_far_as_it_can_be_followed(kind: str, told: str) -> None:
    pool = ZbudPool("v12", 8)
    for _ in range(3):
        pool.alloc(3000)
    head = pool.unbuddied(64 - 47)
    newest, second = list(pool.memmap.list_walk(head))[:2]
    lead = {"loop": second, "out": pool.data.buddy(6), "nowhere": second + (1 << 32)}[kind]
    pool.memmap.store(second, lead)  # what its next was
    assert pool.memmap.load(newest) == second
    picture = pool_picture(pool)
    assert told in picture.text and "\u00d7" in picture.svg
    assert " p2 " in picture.text and " p1 " in picture.text and " p0 |" not in picture.text
