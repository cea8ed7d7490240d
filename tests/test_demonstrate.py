"""The demonstration: verdicts are those that the original functions gave, traces are shortest and can be replayed."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from zbudlab import SCHEMES
from zbudlab.__main__ import main
from zbudlab.demonstrate import READERS, demands, demonstrate, implicit, judge, matrix, price, score
from zbudlab.demonstrate.explore import World
from zbudlab.demonstrate.judge import PLACES, WORDS, Scene
from zbudlab.demonstrate.recogniser import mixed
from zbudlab.recordings import check
from zbudlab.schemes import OVERLAY_CLEAR, variant
from zbudlab.timeline import Timeline

MATRIX = matrix()

# What the original functions did to these pages when they were run (the reference's tables), reader by reader, as
# letters: . ok, m misreport, w wrong, c corrupt, x crash; r takes a race, l an unlucky address.
EXPECTED = {
    "overlay-v12": "xr c c c xr xr . . . . . . . . . . . w m m m .",
    "overlay-clear": ". w w w . . xl . . . . . . . . . . . . . . .",
    "overlay-on-mapcount": ". c w c . . . . . . . . . . . . . . m m . .",
    "overlay-64": ". w w c . . . . . . . . . . . . . . . . . .",
    "chunks-in-mapping": ". c w c . . x . . . . . . . . . . w m . . .",
    "reserved": ". w w w . . . . . . . . w w . . . . m . m m",
    "slab-flag": ". w w w . . . . . . . . . . . . . . m . . m",
    "new-flag": ". w w w . . . . . . . . . . . . . . . . . .",
    "mapcount-tag": ". w w w . . . . . . . . . . . . . . . m . .",
    "mapcount-tag-overlay": ". w w w . . xl . . . . . . . . . . . . m . .",
    "slab-cache": ". c w c . . . . . . . . . . . . . . . . . .",
    "inline-header": ". w w c . . . . . . . . . . . . . . . . . .",
}


def letters(scheme: str) -> str:
    def cell(reader: str) -> str:
        verdict = MATRIX[scheme, reader]
        return dict(zip(WORDS, ".mwcx", strict=True))[verdict.word] + "r" * verdict.race + "l" * verdict.luck

    return " ".join(map(cell, READERS))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_matrix(scheme: str) -> None:
    assert letters(scheme) == EXPECTED[scheme]


def test_every_verdict_says_why_and_what_was_read() -> None:
    for (scheme, reader), verdict in MATRIX.items():
        assert verdict.why, (scheme, reader)
        assert verdict.reads, (scheme, reader)


@pytest.mark.parametrize(
    ("scheme", "reader", "why"),
    [
        (
            "overlay-v12",
            "memory_failure",
            r"in the window: unable to handle kernel paging request at 0xffff88011b2c3c08",
        ),
        ("overlay-v12", "soft_offline", r"buddy.prev of p\d+ goes from 0xffff88001b2c3c08 to 0xffff88011b2c3c08"),
        ("overlay-v12", "hwpoison-inject", r"buddy.prev of p\d+ goes from 0xffff88001b2c3c08 to 0xffff87ff1b2c3c08"),
        ("overlay-v12", "kpageflags", r"says 0x201800 \(MMAP, ANON, KSM\)"),
        ("overlay-on-mapcount", "unpoison", r"first_chunks of p\d+ goes from 0x33 to 0xffff"),
        ("overlay-clear", "migrate_scanner", r"spins for ever, waiting for the lock at 0xffff88003b2c3"),
        ("chunks-in-mapping", "migrate_scanner", r"unable|NULL|fault"),
        ("inline-header", "unpoison", r"p\d+ is freed while zbud uses it"),
        ("mapcount-tag", "kpagecount", r"says 0xffffffffffffff82"),
        ("reserved", "kvm_is_mmio", r"device memory"),
        ("slab-cache", "hwpoison-inject", r"SLUB's counters of p\d+ goes from 0x10001 to 0xffffffff"),
    ],
)
def test_reasons(scheme: str, reader: str, why: str) -> None:
    import re

    assert re.search(why, MATRIX[scheme, reader].why), MATRIX[scheme, reader].why


def test_anyone_marks_what_a_plain_page_suffers_too() -> None:
    """soft_offline leaks any kernel page, unpoison frees any, inject loses any: no scheme is to blame."""
    for scheme in ("inline-header", "slab-flag", "overlay-clear"):
        for reader in ("soft_offline", "unpoison", "hwpoison-inject"):
            assert MATRIX[scheme, reader].anyone, (scheme, reader)
    assert not MATRIX["overlay-v12", "soft_offline"].anyone
    assert not MATRIX["overlay-v12", "kpagecount"].anyone


@pytest.mark.parametrize("name", READERS)
def test_the_honest_answer_is_what_a_plain_kernel_page_gets(name: str) -> None:
    reader, scene = READERS[name], Scene("inline-header")
    visit = reader.visit(scene.machine, scene.plain)
    for _ in visit:
        pass
    assert visit.returned and visit.value == reader.honest


def test_the_answer_to_the_last_question_of_the_mail() -> None:
    """A positive count and PG_slab: no crash, no damage; what remains befalls any kernel page, or is a label."""
    row = [MATRIX["slab-flag", reader] for reader in READERS]
    assert not [v for v in row if v.word in ("crash", "corrupt")]
    assert {v.word for v in row if not v.anyone} == {"ok", "misreport"}
    assert demands("slab-flag", row) == {
        "placed by definition": "yes",
        "tag decided": "PG_slab",
        "safe against the readers": "misreport",
        "no further page flag": "yes",
    }


def test_the_four_demands() -> None:
    def of(scheme: str) -> tuple[str, ...]:
        answers = demands(scheme, [MATRIX[scheme, reader] for reader in READERS]).values()
        return tuple(answer.split(":")[0] for answer in answers)

    assert of("overlay-v12") == ("no", "no", "crash", "yes")
    assert of("new-flag") == ("yes", "PG_zbud", "ok", "no")
    assert of("mapcount-tag") == ("does not arise", "_mapcount -127", "misreport", "yes")
    assert of("inline-header") == ("does not arise", "does not arise", "ok", "yes")
    assert demands("reserved")["safe against the readers"] == "not asked"


def test_a_scheme_of_ones_own_is_judged_too() -> None:
    mine = variant(OVERLAY_CLEAR, "mine", "", mapcount=-128)
    assert judge(mine, "makedumpfile").word == "wrong"  # it passes for a free block
    assert judge(mine, "kpageflags").word == "misreport"


# ---------------------------------------------------------------------- the search

FINDS = [  # scheme, reader, races, verdicts looked for; how many steps it takes, and what is found
    (
        "overlay-v12",
        "soft_offline",
        False,
        ("corrupt",),
        2,
        "buddy.prev of p9 goes from 0xffff88001b2c3b78 to 0xffff88011b2c3b78",
    ),
    ("overlay-v12", "soft_offline", False, ("crash",), 3, "0xffff88011b2c3b78 (write, in list_del)"),
    ("overlay-v12", "memory_failure", True, ("crash",), 2, "(write, in list_del)"),
    ("overlay-v12", "memory_failure", True, ("corrupt",), 2, "whose prev is 0xffffe9ff00000290"),
    ("overlay-v12", "makedumpfile", False, ("wrong",), 2, "says 8, user data"),
    ("overlay-on-mapcount", "hwpoison-inject", False, ("corrupt",), 2, "first_chunks of p9 goes from 0x9 to 0xffff"),
    ("overlay-clear", "migrate_scanner", False, ("corrupt",), 2, "first_chunks of p9 goes from 0x9 to 0xa"),
    ("inline-header", "unpoison", False, ("corrupt",), 2, "p9 is freed while zbud uses it"),
]


@pytest.mark.parametrize(
    ("scheme", "reader", "races", "words", "steps", "why"), FINDS, ids=lambda value: str(value)[:20]
)
def test_the_shortest_trace(
    scheme: str, reader: str, races: bool, words: tuple[str, ...], steps: int, why: str
) -> None:
    answer = demonstrate(scheme, reader, races=races, words=words)
    assert answer.verdict is not None and answer.verdict.word in words
    assert len(answer.steps) == steps and why in answer.verdict.why, str(answer)
    *before, (_, changed, last) = answer.replay()
    assert last == answer.verdict, "replayed on a fresh machine, it comes to the same"
    assert all(verdict is None or verdict.word not in words for _, _, verdict in before), "and to nothing earlier"
    if words == ("corrupt",) and not races and scheme != "inline-header":
        assert changed and changed[0] in (answer.verdict.why, *changed)


@pytest.mark.parametrize(
    ("scheme", "reader", "races", "words", "steps", "why"), FINDS, ids=lambda value: str(value)[:20]
)
def test_what_was_found_is_a_timeline(
    scheme: str, reader: str, races: bool, words: tuple[str, ...], steps: int, why: str, tmp_path: Path
) -> None:
    """Its rows are the trace; it can be undone, saved, loaded and checked, and it ends where the search ended."""
    answer = demonstrate(scheme, reader, races=races, words=words)
    timeline = answer.timeline()
    assert timeline.pool.address == 0xFFFF880000000000 + answer.place
    assert timeline.pool.scheme.name == scheme
    assert [row[0] for row in timeline.events] == ["k"] * 4 + [
        {"alloc": "a", "free": "f", "reclaim": "r", "visit": "p", "race": "q"}[step.kind] for step in answer.steps
    ]
    world = World(SCHEMES[scheme], answer.place, (reader,))
    for step in answer.steps:
        world.do(step)
    if not (races and words == ("crash",)):  # where zbud dies in the middle of a visit, the timeline lets it go on
        assert bytes(world.pool.memmap.raw) == bytes(timeline.pool.memmap.raw)
    timeline.dump(tmp_path / "found.jsonl.gz")
    loaded = Timeline.load(tmp_path / "found.jsonl.gz")
    assert loaded.events == timeline.events
    assert bytes(loaded.pool.memmap.raw) == bytes(timeline.pool.memmap.raw)
    assert check(tmp_path / "found.jsonl.gz").ok
    timeline.goto(0)
    assert not timeline.pool.tenants


def test_a_find_among_other_peoples_pages_is_a_timeline_too() -> None:
    answer = demonstrate("inline-header", "memory_failure", others=True, words=("crash",), depth=1)
    timeline = answer.timeline()
    kind, reader, pfn, outcome = timeline.events[-1]
    assert (kind, reader) == ("p", "memory_failure") and "NULL pointer dereference at 0x58" in outcome["oops"]
    assert timeline.pool.memmap.owner[pfn] == "slab"


def test_a_scheme_of_ones_own_is_searched_and_kept(tmp_path: Path) -> None:
    mine = variant(OVERLAY_CLEAR, "mine", "", mapcount=-128)
    answer = demonstrate(mine, "makedumpfile", words=("wrong",))
    answer.timeline().dump(tmp_path / "mine.jsonl")
    assert Timeline.load(tmp_path / "mine.jsonl").pool.scheme == mine


def test_what_takes_two_things_in_the_middle_of_a_visit() -> None:
    """One more operation inside finds a page lost in three steps, which one operation does not find."""
    found = demonstrate("overlay-v12", "page_cache", races=True, words=("wrong",), depth=3)
    assert found.verdict is not None and found.verdict.race and len(found.steps) == 3
    assert "p9 is lost" in found.verdict.why
    assert "alloc 51 chunks, then free p9 FIRST" in str(found.steps[1])
    assert "with up to 2 allocs or frees of zbud's inside a visit" in found.scope()
    *_, (_, _, last) = found.replay()
    assert last == found.verdict
    one = demonstrate("overlay-v12", "page_cache", races=True, words=("wrong",), depth=3, meanwhile=1)
    assert not one.found and one.completed == 3
    assert "with up to 1 alloc or free of zbud's inside a visit" in one.scope()
    with pytest.raises(ValueError, match="a race with 0 operations of zbud's is none; the least is 1"):
        demonstrate("overlay-v12", races=True, meanwhile=0)


def test_fewer_things_in_the_middle_are_tried_before_more() -> None:
    for scheme in ("overlay-v12", "overlay-on-mapcount", "overlay-64"):
        for words in (("corrupt",), ("crash",)):
            one, two = (
                demonstrate(scheme, "memory_failure", races=True, words=words, depth=2, meanwhile=n) for n in (1, 2)
            )
            assert one.steps == two.steps


def test_a_race_with_two_operations_replays() -> None:
    """Step by step, the search's machine and the timeline's go through the same bytes, until it is found."""
    answer = demonstrate("overlay-v12", "page_cache", races=True, words=("wrong",), depth=3)
    timeline, world = answer.timeline(), World(SCHEMES["overlay-v12"], answer.place, ("page_cache",))
    for i, step in enumerate(answer.steps, len(timeline.events) - len(answer.steps) + 1):
        world.scene.keep()
        world.do(step)
        timeline.goto(i)
        if step is answer.steps[-1]:
            assert "lost" in timeline.pool.memmap.owner.values()
            break
        assert bytes(world.pool.memmap.raw) == bytes(timeline.pool.memmap.raw)
        assert world.pool.state() == timeline.pool.state()


def test_the_theft_needs_the_unlucky_address() -> None:
    """A page of nine chunks alone is on unbuddied[55]; bit 29 of the pool's address makes it pass for a balloon's."""
    answer = demonstrate("overlay-clear", "migrate_scanner", words=("corrupt",))
    assert answer.place == PLACES[1]
    assert [str(step) for step in answer.steps] == ["alloc 9 chunks", "migrate_scanner at p9"]


def test_the_tail_of_somebody_elses_page() -> None:
    """memory_failure at the tail of a slab page crashes under any scheme: the reader's own bug, and found as well."""
    for scheme in ("inline-header", "slab-flag"):
        answer = demonstrate(scheme, "memory_failure", others=True, words=("crash",), depth=2)
        assert answer.found and len(answer.steps) == 1
        assert "NULL pointer dereference at 0x58" in answer.verdict.why  # type: ignore[union-attr]
        assert not demonstrate(scheme, "memory_failure", words=("crash",), depth=2).found


def test_no_shorter_trace_was_missed() -> None:
    """Every trace of one step fewer, tried without the search: none shows the verdict that the search found."""
    answer = demonstrate("overlay-v12", "soft_offline", words=("crash",))

    def any_find(world: World, depth: int) -> bool:
        saved = world.pool.save()
        for step in [*world.visits(), *world.operations()]:
            verdict = world.do(step)
            if verdict is not None and verdict.word == "crash":
                return True
            if depth > 1 and (verdict is None or verdict.word != "crash") and any_find(world, depth - 1):
                return True
            world.pool.restore(saved)
            world.scene.saved, world.scene.raw = saved, saved[0].records
        return False

    for place in PLACES:
        assert not any_find(World(SCHEMES["overlay-v12"], place, ("soft_offline",)), len(answer.steps) - 1)
    assert any_find(World(SCHEMES["overlay-v12"], PLACES[0], ("soft_offline",)), len(answer.steps))


def test_a_certificate_states_its_scope() -> None:
    answer = demonstrate("slab-flag", words=("corrupt", "crash"), depth=3)
    assert not answer.found and answer.completed == 3 and answer.states > 100
    for said in ("3 steps", "alloc of 9, 12, 51 chunks", "no races", "0x1b2c3800 and 0x3b2c3800", *READERS):
        assert said in str(answer)


def test_the_same_answer_each_time() -> None:
    first, second = (demonstrate("overlay-64", races=True, depth=2) for _ in range(2))
    assert first.as_json() == second.as_json()


def test_stopped_early_it_says_so() -> None:
    answer = demonstrate("inline-header", "kpagecount", depth=9, seconds=0.0)
    assert answer.stopped and "stopped early; covered" in str(answer)

    def interrupt(answer: object) -> None:
        raise KeyboardInterrupt

    answer = demonstrate("inline-header", "kpagecount", depth=9, progress=interrupt)
    assert answer.stopped and not answer.found


def test_a_search_of_no_steps_is_no_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    for depth in (0, -1):
        with pytest.raises(ValueError, match=f"a search of {depth} steps finds nothing; the least is 1"):
            demonstrate("slab-flag", depth=depth)
        assert main(["demonstrate", "slab-flag", "--depth", str(depth)]) == 2
        assert capsys.readouterr().err == f"zbudlab: --depth {depth} is no search; the least is 1\n"


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown scheme 'nope'; known: overlay-v12, "):
        demonstrate("nope")
    with pytest.raises(ValueError, match="unknown reader 'nope'; known: memory_failure, "):
        demonstrate("slab-flag", "nope")


# ---------------------------------------------------------------------- the price of the merged design


def test_the_price() -> None:
    """The header takes a chunk of each page and of the largest zpage; what it costs in pages is counted."""
    told = price(sizes=[4096, 4032, 3969, 3968, 2048, 2048, 1000, 3032])
    v12, clear, merged, released = told.placements
    assert (told.offered, told.common) == (8, 5)
    for overlay in (v12, clear):
        assert (overlay.header, overlay.overlaid, overlay.largest, overlay.refused, overlay.pages) == (
            0,
            36,
            4096,
            0,
            3,
        )
    assert (merged.header, merged.overlaid, merged.largest, merged.refused, merged.pages) == (64, 0, 4032, 1, 4)
    assert (released.largest, released.refused, released.pages) == (3968, 3, 4), "two halves do not share a page"
    assert "1 pages more (33.3 %)" in str(told) and "Cycles are not claimed" in str(told)
    assert told.as_json()["placements"][3]["largest"] == 3968


def test_the_price_of_real_pages() -> None:
    told = price(draws=2000)
    assert told == price(draws=2000), "a seed draws"
    overlay, *_, header = told.placements
    assert told.offered == 2000 and told.common < 2000
    assert told.common / 2 <= overlay.pages < header.pages < 1.05 * overlay.pages
    assert price([]).common == 0 and "nothing" in str(price([]))
    with pytest.raises(ValueError, match="give pages or sizes, not both"):
        price([], sizes=[])


# ---------------------------------------------------------------------- the implicit tag as a recogniser


def test_the_implicit_tag_knows_none_of_v12s_pages() -> None:
    assert score("overlay-v12").recall == 0
    assert score("slab-flag").recall == 0 and score("overlay-on-mapcount").recall == 0


def test_where_it_knows_all_it_knows_too_many() -> None:
    for scheme in ("overlay-clear", "inline-header", "mapcount-tag"):
        told = score(scheme)
        assert told.recall == 1 and told.precision is not None and 0.05 < told.precision < 0.3
        assert {"kernel", "page table", "page cache", "balloon", "reserved"} <= set(told.mistaken)
        assert "free" not in told.mistaken


def test_the_predicate_is_one_expression_for_a_page_and_for_all() -> None:
    m = mixed("overlay-v12").memmap
    assert implicit(m.pages()).tolist() == [bool(implicit(m.page(pfn))) for pfn in m.pfns]
    assert implicit(m.pages()).dtype == np.bool_


# ---------------------------------------------------------------------- the command line


def test_matrix_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "--scheme", "inline-header", "--scheme", "overlay-v12", "--reader", "kpagecount"]) == 0
    out = capsys.readouterr().out
    assert "inline-header: what was merged" in out and "1 of 1 readers" in out
    assert "kpagecount         misreport: says 0x1b2c3c09" in out
    assert main(["matrix", "--scheme", "new-flag", "--reader", "crash", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cells"][0]["word"] == "ok" and told["demands"]["new-flag"]["no further page flag"] == "no"


def test_demonstrate_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demonstrate", "overlay-v12", "--peeker", "soft_offline", "--at-least", "crash"]) == 1
    assert "3 alloc 9 chunks" in capsys.readouterr().out
    assert main(["demonstrate", "inline-header", "--peeker", "kpagecount", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["found"] is None and told["depth_completed"] == 4
    for words in (
        ["demonstrate", "nope"],
        ["demonstrate", "reserved", "--peeker", "nope"],
        ["matrix", "--reader", "nope"],
    ):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        assert "unknown" in capsys.readouterr().err


def test_what_was_found_is_saved(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "found.jsonl"
    asked = ["demonstrate", "overlay-v12", "--peeker", "memory_failure", "--races", "--at-least", "crash", "--save"]
    assert main([*asked, str(file)]) == 1
    assert main(["check", str(file)]) == 0
    assert "found.jsonl, 6 operations" in capsys.readouterr().out
    assert main([*asked, str(tmp_path / "no" / "such")]) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err
    assert main(["demonstrate", "inline-header", "--depth", "1", "--save", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().err == f"zbudlab: nothing was found, so {tmp_path / 'none'} is not written\n"
    assert not (tmp_path / "none").exists()
    assert main([*asked[:-1], "--meanwhile", "0"]) == 2
    assert capsys.readouterr().err == "zbudlab: --meanwhile 0 is no race; the least is 1\n"


@pytest.mark.slow
def test_price_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["price"]) == 0
    assert capsys.readouterr().out == f"{price()}\n"
    assert main(["price", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(price().as_json()))


def test_every_cell_is_where_it_should_be() -> None:
    assert set(MATRIX) == set(itertools.product(SCHEMES, READERS))
