"""SafetyMatrix as a widget: what it opens with, a cell's reason and trace, and a trace loaded into the timeline."""

import re
from collections import Counter

import pytest

from zbudlab import SCHEMES, matrix_picture
from zbudlab.demonstrate.judge import WORDS, judge
from zbudlab.demonstrate.readers import READERS
from zbudlab.demonstrate.real import CONFIRMED, Confirmed, matrix
from zbudlab.draw.palette import colour
from zbudlab.schemes import variant
from zbudlab.widgets import PeekerBench, SafetyMatrix


def press(matrix: SafetyMatrix, part: str) -> None:
    matrix.view._message(matrix.view, {"part": part}, [])


def test_opens_with_four_schemes_and_six_readers() -> None:
    matrix = SafetyMatrix()
    assert (len(matrix.matrix.schemes), len(matrix.matrix.readers)) == (4, 6)
    assert matrix.matrix["slab-flag", "kpageflags"] == judge("slab-flag", "kpageflags")
    assert "overlay-v12 × soft_offline: corrupt" in matrix.picture().text
    assert 'data-row="6"' in matrix.view.svg


def test_shows_all_on_request_and_comes_back() -> None:
    matrix = SafetyMatrix()
    matrix.all.value = True
    assert (len(matrix.matrix.schemes), len(matrix.matrix.readers)) == (len(SCHEMES), len(READERS))
    press(matrix, "reserved:ioremap")
    matrix.all.value = False
    assert matrix.cell in matrix.matrix
    matrix.look("reserved", "ioremap")
    assert matrix.all.value
    matrix.reset()
    assert not matrix.all.value and matrix.cell == ("overlay-v12", "soft_offline")


def test_a_cell_gives_its_reason_and_its_shortest_trace() -> None:
    matrix = SafetyMatrix()
    press(matrix, "overlay-v12:memory_failure")
    assert matrix.view.line.startswith("overlay-v12, memory_failure: crash (race): free p0 FIRST in the window")
    text = matrix.picture().text
    assert "crash; it takes a race" in text and "shortest trace: alloc 9 chunks → memory_failure at p" in text
    assert 'data-part="load"' in matrix.view.svg
    press(matrix, "slab-flag:migrate_scanner")
    assert 'data-part="load"' not in matrix.view.svg and "shortest trace" not in matrix.picture().text


@pytest.mark.parametrize(
    "cell", ["overlay-v12:memory_failure", "overlay-v12:soft_offline", "overlay-clear:migrate_scanner",
             "inline-header:unpoison", "overlay-v12:makedumpfile"]
)  # fmt: skip
def test_a_trace_is_loaded_into_the_timeline_of_another_instrument(cell: str) -> None:
    bench = PeekerBench()
    matrix = SafetyMatrix(bench)
    press(matrix, cell)
    press(matrix, "load")
    scheme, _, reader = cell.partition(":")
    timeline = bench.stage.timeline
    assert (timeline.pool.scheme.name, bench.stage.reader) == (scheme, reader)
    assert any(row[0] in "pq" and row[1] == reader for row in timeline.events)
    assert bench.stage.pfn in timeline.pool.memmap.pfns
    assert bench.view.line == matrix.view.line and "the shortest trace" in bench.view.line
    for i, _ in enumerate(timeline.walk()):  # and it can be gone through, with all that is drawn of it
        assert bench.frame(880).text and i <= len(timeline.events)


def test_a_scheme_of_ones_own() -> None:
    mine = variant(SCHEMES["slab-flag"], "mine", "as an exercise", first_chunks=56, last_chunks=58)
    matrix = SafetyMatrix(schemes=[mine])
    assert matrix.matrix.schemes[-1] == "mine"
    assert all(matrix.matrix["mine", reader].word in WORDS for reader in matrix.matrix.readers)


def test_the_third_demand_is_about_all_readers_not_those_on_show() -> None:
    tagged = variant(SCHEMES["mapcount-tag"], "tagged", "as an exercise", mapcount=-2)
    few = SafetyMatrix(schemes=[tagged]).matrix
    assert "kpagecount" not in few.readers and judge(tagged, "kpagecount").word == "misreport"
    assert few.demands("tagged") == matrix([tagged]).demands("tagged")
    assert few.demands("tagged")["safe against the readers"] == "misreport"


def test_what_there_is_no_cell_for() -> None:
    with pytest.raises(ValueError, match=r"there is no cell 'v13', 'crash'; schemes: overlay-v12, .*; readers: mem"):
        SafetyMatrix().look("v13", "crash")


def test_where_there_is_no_trace_nothing_is_loaded() -> None:
    matrix = SafetyMatrix()
    press(matrix, "slab-flag:migrate_scanner")
    before = matrix.stage.timeline
    matrix.load()
    assert matrix.view.line.startswith("there is no trace to load: slab-flag: nothing found in")
    assert matrix.stage.timeline is before


def test_the_matrix_of_a_real_kernel() -> None:
    instrument = SafetyMatrix(kernel="6.1")
    text = instrument.picture().text
    assert text.startswith("safety matrix, Linux 6.1") and "overlay-v12, if" in text and "x+" in text
    press(instrument, "overlay-v12:kpageflags")
    assert "crash" in instrument.view.line and "the real kernel: confirmed" in instrument.view.line
    assert "a what-if; the real kernel: confirmed" in instrument.picture().text
    assert 'data-part="load"' not in instrument.view.svg
    with pytest.raises(ValueError, match="there is no cell 'new-flag', 'kcore'"):
        instrument.look("new-flag", "kcore")
    assert "a what-if" not in SafetyMatrix().picture().text


def test_what_a_real_kernel_confirmed_is_a_full_dot_on_dark_cells_as_well() -> None:
    found = matrix(kernel="6.1")
    rows = [v for v in found.values() if isinstance(v, Confirmed) and v.real == CONFIRMED]
    dark = [v for v in rows if v.word in ("corrupt", "crash") and not (v.race or v.luck)]
    marks = Counter(re.findall(r'<circle [^>]*r="3.4" fill="([^"]*)" stroke="([^"]*)"', matrix_picture(found).svg))
    on, ink, bg = map(colour, ("on", "ink", "bg"))
    assert len(dark) > 3 and marks[on, ink] == len(dark)
    assert marks[ink, bg] == len(rows) - len(dark) + 1  # one more in the legend
