"""ThreadWalk without a browser: picture and text are the thread's, every part acts, *try it* sets the stage."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from zbudlab.draw import NARROW, WIDE
from zbudlab.draw.threadwalk import VIEWS, Walk, claims_of, cut, rows, threadwalk_picture
from zbudlab.thread import CLAIMS, MESSAGES, VERDICTS, message, reply_tree
from zbudlab.widgets import PeekerBench, ThreadWalk

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def shared() -> ThreadWalk:
    return ThreadWalk()


@pytest.fixture
def walk(shared: ThreadWalk) -> ThreadWalk:
    shared.reset()
    return shared


def press(walk: ThreadWalk, **content: Any) -> None:
    """What the browser sends."""
    walk.view._message(walk.view, content, [])


def parts(walk: ThreadWalk) -> dict[str, dict[str, str]]:
    return {
        g.attrib["data-part"]: g.attrib for g in ET.fromstring(walk.view.svg).iter(f"{SVG}g") if "data-part" in g.attrib
    }


def words(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text")]


def test_the_rows_are_the_reply_tree_and_every_message_is_somewhere() -> None:
    assert rows()[:-1] == list(reply_tree("jennings-v12"))
    assert rows()[-1] == (0, message("jennings-v13"))  # what ended the discussion
    assert {m.key for view in VIEWS for _, m in rows(view)} == {m.key for m in MESSAGES}
    for view in VIEWS:
        timed = rows(view, by_time=True)
        assert [m for _, m in timed] == sorted((m for _, m in rows(view)), key=lambda m: m.utc)
        assert {depth for depth, _ in timed} == {0}


def test_it_opens_on_the_mail_it_all_starts_from(walk: ThreadWalk) -> None:
    assert walk.walk.open.key == "jennings-seed"
    text = walk.picture().text
    assert "Seth Jennings, 30 May 2013, 17:43 UTC, 20130530174344.GA15837@medulla" in text
    assert "answers morton-variant" in text and "5 mails in 46 minutes" in text


def test_each_claim_stands_there_with_the_verdict_of_its_run(walk: ThreadWalk) -> None:
    """Computed: the pill says what the predicate's cases come to."""
    for m in (m for m in MESSAGES if claims_of(m)):
        press(walk, part=f"mail:{m.key}") if f"mail:{m.key}" in parts(walk) else walk.read(m.key)
        text = walk.picture().text
        for claim in claims_of(m):
            true = sum(claim.finding.cases.values())
            expected = VERDICTS[
                3 if not claim.finding.cases else 1 if not true else 2 if true < len(claim.finding.cases) else 0
            ]
            assert f"{claim.number:2} {expected}: {claim.says}" in text and claim.evidence in text
        assert all(verdict in words(walk.view.svg) for verdict in {claim.verdict for claim in claims_of(m)})
    assert {claim.number for m in MESSAGES for claim in claims_of(m)} == {claim.number for claim in CLAIMS}


def test_every_part_acts(walk: ThreadWalk) -> None:
    for name in parts(walk):
        walk.reset()
        kind, _, what = name.partition(":")
        press(walk, part=name)
        if kind == "mail":
            assert walk.walk.open.key == what and message(what).author in walk.view.line
        else:
            assert walk.walk.claim == int(what) and f"claim {what}" in walk.view.line
            assert (walk.walk.staged == int(what)) is (kind == "try")


def test_left_is_the_parent_and_right_the_first_reply(walk: ThreadWalk) -> None:
    found = parts(walk)
    shown = {m.key for _, m in rows()}
    for key in shown:
        m, attributes = message(key), found[f"mail:{key}"]
        assert attributes["data-left"] == f"mail:{m.in_reply_to if m.in_reply_to in shown else key}"
        replies = [reply.key for reply in m.replies if reply.key in shown]
        assert attributes["data-right"] == f"mail:{(replies or [key])[0]}"
    assert found["mail:jennings-seed"]["data-left"] == "mail:morton-variant"
    assert "answers Andrew Morton; 7 claims" in found["mail:jennings-seed"]["aria-label"]


def test_t_switches_tree_and_time(walk: ThreadWalk) -> None:
    press(walk, key="t")
    assert walk.order.value == "time" and "in order of time" in walk.view.line
    mails = [name.partition(":")[2] for name in parts(walk) if name.startswith("mail:")]
    assert [message(key).utc for key in mails] == sorted(message(key).utc for key in mails)
    assert walk.walk.open.key == "jennings-seed"
    press(walk, key="t")
    assert [f"mail:{m.key}" for _, m in rows()] == [name for name in parts(walk) if name.startswith("mail:")]


def test_what_came_after_is_shown_on_request(walk: ThreadWalk) -> None:
    assert "mail:kozlowski-127" not in parts(walk)
    walk.what.value = "what came of it"
    assert walk.walk.open.key == "jennings-v13" and "mail:kozlowski-127" in parts(walk)
    walk.read("gorman-fit")  # in another part of the thread
    assert walk.what.value == "the review before"


def test_try_it_sets_the_stage(walk: ThreadWalk) -> None:
    bench = PeekerBench(walk)
    for claim in claims_of(message("jennings-seed")):
        press(walk, part=f"try:{claim.number}")
        timeline, pfn, _ = claim.moment()
        assert bench.stage.timeline.events == timeline.events and bench.stage.pfn == pfn
        assert bench.stage.timeline.pool.scheme == timeline.pool.scheme
        assert bench.view.line == walk.view.line and f"on the stage for claim {claim.number}" in bench.view.line
        assert walk.walk.staged == claim.number
    walk.stage.begin(timeline)  # somebody else sets the stage
    walk.refresh("")
    assert walk.walk.staged is None


def test_on_a_stage_of_its_own_or_on_anothers() -> None:
    bench = PeekerBench()
    walk = ThreadWalk(bench, open="wilk-questions")
    assert walk.stage is bench.stage and walk.walk.open.key == "wilk-questions"
    own = ThreadWalk(open="gorman-fit")
    assert own.stage.timeline.events == CLAIMS[18].moment().timeline.events
    assert own.what.value == "the review before"
    with pytest.raises(KeyError, match="unknown message 'linus'"):
        ThreadWalk(open="linus")


def test_the_saved_view_is_the_still_picture(walk: ThreadWalk) -> None:
    bundle = walk._repr_mimebundle_()
    assert bundle["text/html"] == walk.picture().html() and bundle["text/plain"] == walk.picture().text
    assert 'data-part="' not in bundle["text/html"]
    assert walk.view.reel == [0, 0]


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("view", VIEWS)
def test_all_views_are_sound(view: str, width: int) -> None:
    """Well-formed, inside the frame, times from left to right; each message open in turn."""
    shown = rows(view)
    for _, m in shown:
        root = ET.fromstring(threadwalk_picture(Walk(shown, m), width).svg)
        height = float(root.get("height", 0))
        for text in root.iter(f"{SVG}text"):
            assert 0 <= float(text.get("x", 0)) <= width and 0 <= float(text.get("y", 0)) <= height, text.text
        dots = [p for p in root.iter(f"{SVG}path") if re.fullmatch(r"M[\d.]+ \d+a(6 6|4.5 4.5) .*z", p.get("d", ""))]
        lefts = [float(p.get("d", "")[1:].split()[0]) for p in dots if " 0 1 0 " in p.get("d", "")]
        assert lefts and max(lefts) <= width


def test_words_are_cut_at_a_clause_or_between_words() -> None:
    assert cut("short", 100) == "short"
    assert cut("all of the one clause; and some of the other", 150) == "all of the one clause"
    assert cut("not one clause but words, many of them", 150) == "not one clause but \u2026"
