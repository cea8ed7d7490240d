"""The bitmap and MemmapView without a browser: class bytes, the PNG, picture and text, and every move."""

import base64
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbudlab import MemmapView, Timeline, ZbudPool, kernel
from zbudlab.demonstrate.recogniser import mixed
from zbudlab.draw import Survey, bitmap_picture, survey
from zbudlab.draw.bitmap import Grid, png, reduced, telling
from zbudlab.draw.palette import FALLBACK
from zbudlab.draw.surveys import CALLED, CLASSES, HEARD, by_owner, by_reader, heard
from zbudlab.memmap import Memmap
from zbudlab.peekers import PEEKERS
from zbudlab.peekers.report import KPF
from zbudlab.widgets.view import lean
from zbudlab.words import letter

SEEN = "as kpageflags sees it"


def halves(pages: int = 4096) -> dict[str, bytes]:
    """Nothing as it is seen; in truth the first half zbud's, the second free."""
    return {"as seen": bytes(pages), "in truth": bytes([3]) * (pages // 2) + bytes([4]) * (pages - pages // 2)}


def press(view: MemmapView, **content: Any) -> str:
    """What the browser sends; returns the line."""
    view._message(view, content, [])
    return str(view.line)


# ---------------------------------------------------------------------- class bytes


def test_the_truth_is_by_owner() -> None:
    memmap = mixed("slab-flag").memmap
    for pfn, c in zip(memmap.pfns, by_owner(memmap), strict=True):
        assert CLASSES[c] == letter(memmap, pfn)


def test_a_reader_at_all_pages_says_what_it_says_of_each() -> None:
    memmap = mixed("overlay-v12").memmap
    for reader in HEARD:
        classes = by_reader(memmap, reader)
        for pfn in memmap.pfns:
            visit = PEEKERS[reader].visit(memmap, pfn)
            visit.undo()
            assert CLASSES[classes[pfn]] == HEARD[reader](visit.value or 0), (reader, pfn)
    with pytest.raises(
        ValueError, match=r"what 'ksm' answers does not tell whose a page is; those that do: kpageflags"
    ):
        survey(memmap, "ksm")


def test_what_kpageflags_says_by_letter() -> None:
    words = [0, 1 << KPF["RESERVED"] | 1 << KPF["LRU"], 1 << KPF["SLAB"], 1 << KPF["BUDDY"], 1 << KPF["MMAP"], 1]
    assert [CLASSES[c] for c in heard("kpageflags", words)] == ["", "R", "S", "F", "U", "K"]


def test_a_look_alike_is_alike_bit_for_bit() -> None:
    memmap = Memmap(4)
    for pfn in range(3):
        memmap.page(pfn).raw = bytes(range(64))
    memmap.owner |= {0: "zbud", 1: "kernel", 2: "page cache", 3: "kernel"}
    memmap.page(2)["index"] += 1
    assert [CLASSES[c] for c in by_owner(memmap)] == ["Z", "?", "U", "K"]
    told = survey(memmap).samples(0)
    assert [sample.pfn for sample in told] == [0, 1]
    assert told[1].words == "kernel: the same 64 bytes" and told[0].record == told[1].record


def test_the_recorded_memmap_agrees_with_what_was_counted_when_it_was_made() -> None:
    recording = kernel.load("6.1")
    found, counted = survey(recording), recording.exhibits["look_alikes"]
    seen, truth = found.counts(SEEN), found.counts("in truth")
    assert (seen[""], truth["?"]) == (counted["blank"], counted["same_64_bytes"])
    assert truth["Z"] == len(recording.zbud_pfns) == counted["blank_and_zbud"] and seen["Z"] == 0
    assert sum(truth.values()) == sum(seen.values()) == found.pages == 65536
    pfn = recording.zbud_pfns[0]
    header = recording.headers[pfn]
    assert found.says(pfn).endswith(f"in truth zbud, first {header[32]}, last {header[36]}")
    alike = next(i for i, c in enumerate(found.maps["in truth"]) if CLASSES[c] == "?")
    own, other = found.samples(alike)
    assert own.record == other.record == recording.record(alike) and other.pfn in recording.headers
    assert survey(recording, "kpagecount").counts("as kpagecount sees it")["U"] == sum(map(bool, recording.kpagecount))


def test_a_survey_of_nothing_is_refused() -> None:
    for maps, told in (
        ({}, "at least one; given: none"),
        ({"a": b""}, "given: 0"),
        ({"a": bytes(3), "b": bytes(4)}, "given: 3, 4"),
        ({"a": b"0", "b": b"0", "c": b"0"}, "given: 1, 1, 1"),
        ({"a": bytes([8])}, "class 8 is unknown: a class byte is 0 to 7"),
    ):
        with pytest.raises(ValueError, match=told):
            Survey(maps)


# ---------------------------------------------------------------------- the image


def decoded(image: bytes) -> tuple[list[bytes], list[bytes], bytes]:
    """The rows, the palette and the opacities of an indexed PNG."""
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(image):
        (size,), kind = struct.unpack(">I", image[at : at + 4]), image[at + 4 : at + 8]
        data = image[at + 8 : at + 8 + size]
        assert struct.unpack(">I", image[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + data)
        chunks[kind], at = data, at + 12 + size
    w, h = struct.unpack(">II", chunks[b"IHDR"][:8])
    flat = zlib.decompress(chunks[b"IDAT"])
    rows = [flat[r * (w + 1) + 1 : (r + 1) * (w + 1)] for r in range(h)]
    assert chunks[b"IHDR"][8:] == bytes([8, 3, 0, 0, 0]) and len(flat) == h * (w + 1)
    return rows, [chunks[b"PLTE"][i : i + 3] for i in range(0, len(chunks[b"PLTE"]), 3)], chunks[b"tRNS"]


def test_the_png_has_the_class_bytes_and_the_fallback_hues() -> None:
    lines = [bytes([0, 1, 2, 3]), bytes([4, 5, 6, 7])]
    rows, palette, opacity = decoded(png(lines))
    assert rows == lines and opacity[0] == 0 and all(opacity[1:])
    assert palette[3].hex() == FALLBACK["Z"][1:] and palette[7].hex() == FALLBACK["now"][1:]
    faint = decoded(png(lines, "Z"))[2]
    assert faint[3] == 255 and max(faint[:3] + faint[4:]) < 64


def test_the_saved_picture_holds_the_window_that_the_zoom_shows() -> None:
    maps = halves()
    for zoom in (1, 2):
        svg = bitmap_picture(Survey(maps), at=100, zoom=zoom).svg
        images = [base64.b64decode(data) for data in re.findall(r'href="data:image/png;base64,([^"]*)"', svg)]
        grid = Grid(4096)
        assert [decoded(image)[0] for image in images] == [
            list(grid.lines(classes, grid.window(100, zoom))) for classes in maps.values()
        ]
    assert "<image" not in bitmap_picture(Survey(maps), live=True).svg


def test_many_pages_to_a_dot() -> None:
    lines = [bytes([1, 1, 2, 3]), bytes([1, 0, 3, 3]), bytes([4, 4, 5, 5]), bytes([4, 4, 5, 5])]
    assert reduced(lines, 2) == [bytes([1, 3]), bytes([4, 5])] and reduced(lines, 1) is lines
    svg = bitmap_picture(Survey({"a": bytes(1 << 20)}), at=0).svg
    (data,) = re.findall(r'href="data:image/png;base64,([^"]*)"', svg)
    assert len(decoded(base64.b64decode(data))[0]) == 256  # 1,024 to a row, 4 x 4 to a dot


@given(st.integers(1, 5000), st.data())
def test_the_grid_has_every_page_once(pages: int, data: st.DataObject) -> None:
    grid, i = Grid(pages), data.draw(st.integers(0, pages - 1))
    classes = bytes(k % 7 + 1 for k in range(pages))
    everything = b"".join(grid.lines(classes, (0, 0, grid.cols, grid.rows)))
    assert everything.rstrip(b"\0") == classes and len(everything) == grid.cols * grid.rows
    for x, y, w, h in (grid.lens(i), *(grid.window(i, zoom) for zoom in (1, grid.most))):
        assert 0 <= x <= i % grid.cols < x + w <= grid.cols
        assert 0 <= y <= i // grid.cols < y + h <= grid.rows


# ---------------------------------------------------------------------- the picture


def test_text_and_picture_tell_counts_and_lens() -> None:
    found = survey(mixed("overlay-v12"))
    for width in (880, 620):
        drawn = bitmap_picture(found, width, at=0x1E0)
        for name in found.maps:
            for tag, n in found.counts(name).items():
                assert re.search(rf"{re.escape(tag or '.')} {CALLED[tag]} .*\b{n:,}\b", drawn.text)
                assert f">{n:,}<" in drawn.svg
        rows = re.findall(r"^ +0x\w+  ([RSZFUK?.]{16})$", drawn.text, re.M)
        grid = Grid(found.pages)
        lens = [line for classes in found.maps.values() for line in grid.lines(classes, grid.lens(0x1E0))]
        assert rows == ["".join(CLASSES[c] or "." for c in line) for line in lens]
        assert "0x1e0: zbud, first 38" in drawn.text
    with pytest.raises(IndexError, match="pfn 0x200 is outside this survey"):
        bitmap_picture(found, at=0x200)


@pytest.mark.parametrize("pages", [1, 2, 15, 17, 300, 1000])
def test_any_number_of_pages_can_be_drawn(pages: int) -> None:
    for maps in (1, 2):
        found = Survey({str(k): bytes(i % 8 for i in range(pages)) for k in range(maps)}, base_pfn=7)
        assert f"{pages:,} pages" in bitmap_picture(found, live=True).text
        assert 0 <= telling(found) < pages


def test_the_lens_starts_where_there_is_something_to_tell() -> None:
    maps = {"a": bytes(65536), "b": bytearray(65536)}
    maps["b"][40000:40004] = bytes([3, 7, 3, 7])
    assert telling(Survey({name: bytes(classes) for name, classes in maps.items()})) == 40000


# ---------------------------------------------------------------------- the view


def in_step(view: MemmapView) -> None:
    assert view.svg == lean(view.picture(live=True).svg, view.model_id)
    assert view.maps == list(view.survey.maps.values()) and view.cols == view.grid.cols
    assert view.window == list(view.grid.window(view.pfn - view.survey.base_pfn, view.zoom))


def test_starts_with_a_real_memmap() -> None:
    view = MemmapView()
    in_step(view)
    assert view.line.startswith(f"pfn {view.pfn:#x}: as kpageflags sees it blank, in truth zbud, first")
    text = view.picture().text
    assert "65,536 pages of a running Linux 6.1" in text and "those on the pool's own lists" in text
    assert "A look-alike has, bit for bit, the 64 bytes of some zbud page, and is none." in text


def test_keys_move_the_lens_and_keep_to_the_memmap() -> None:
    view = MemmapView(halves(), base_pfn=0x100)
    view.go(0)
    assert view.pfn == 0x100  # the first there is
    steps = {"ArrowRight": 1, "ArrowDown": 65, "End": 127, "PageDown": 703, "Home": 640, "PageUp": 64, "ArrowUp": 0}
    for key, at in steps.items():
        assert press(view, key=key).startswith(f"pfn {0x100 + at:#x}: as seen blank, in truth zbud")
        in_step(view)
    for key in ("ArrowUp", "PageUp", "ArrowLeft"):
        press(view, key=key)
        assert view.pfn == 0x100
    press(view, key="q")
    assert view.pfn == 0x100


def test_zoom_and_only_one_class() -> None:
    view = MemmapView(halves(1 << 16))
    assert [press(view, zoom=1) for _ in range(4)][-2:] == ["zoom 8: 32 pages to a row", "zoom 8 is the largest"]
    assert press(view, key="-") == "zoom 4: 64 pages to a row"
    assert press(view, count="Z") == "only zbud: 0 as seen, 32,768 in truth" and view.only == CLASSES.index("Z")
    assert press(view, key="b") == "only blank: 65,536 as seen, 0 in truth" and view.only == 0
    assert press(view, key="b") == "all pages" and view.only == -1
    press(view, key="f")
    assert press(view, key="Escape") == "all pages" and view.only == -1
    in_step(view)


def test_clicks_typed_pfns_and_choosing() -> None:
    chosen: list[int] = []
    view = MemmapView(halves(), on_choose=chosen.append)
    assert press(view, **{"in": "map", "x": 0.5, "y": 0.999}).startswith("pfn 0xfe0: as seen blank, in truth free")
    assert press(view, **{"in": "lens", "x": 1.0, "y": 0.0}).startswith("pfn 0xde7")
    assert press(view, pfn="0x10").startswith("pfn 0x10: ")
    assert press(view, pfn="1,000").startswith("pfn 0x3e8: ")
    assert press(view, pfn="here") == "'here' is no pfn: it takes a decimal, or hex with 0x, from 0x0 to 0xfff"
    assert press(view, pfn="-1") == "pfn -0x1 is outside of this memmap (0x0 to 0xfff)"
    assert press(view, key="Enter").startswith("chosen: pfn 0x3e8: ") and chosen == [1000]


def test_a_pool_in_motion() -> None:
    timeline = Timeline("v12", 64, allocator="kernel")
    view = MemmapView(timeline.pool)
    assert view.survey.counts("in truth")["Z"] == 0
    timeline.alloc(1000)
    at = view.pfn
    view.show(timeline.pool)
    assert view.survey.counts("in truth")["Z"] == 1 and view.pfn == at
    view.show(ZbudPool("linux-3.11", 8))
    assert view.survey.pages == 9
    in_step(view)


def test_the_saved_view_is_the_still_picture() -> None:
    view = MemmapView(halves(), reader="kpageflags")
    bundle = view._repr_mimebundle_()
    assert bundle["text/html"] == view.picture().html() and bundle["text/plain"] == view.picture().text
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert repr(view) == "<MemmapView: 4,096 pages, as seen and in truth>"
    view.narrow = True
    assert 'width="620"' in view.svg


@pytest.mark.slow
def test_a_million_pages() -> None:
    classes = bytes(np.random.default_rng(1).integers(0, 8, 1 << 20, dtype=np.uint8))
    view = MemmapView({"a million": classes})
    press(view, key="ArrowDown")
    in_step(view)
    assert len(view.svg) < 200_000 and "1,048,576 pages, 1,024 to a row" in view.picture().text
