"""The thread as data: a tree, in order, with sources; claims with computed verdicts that can come out otherwise."""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import zbudlab
from zbudlab.__main__ import main
from zbudlab.demonstrate import READERS, demands, score
from zbudlab.demonstrate.readers import DECIDES, Reader
from zbudlab.memmap import KernelOops
from zbudlab.peekers import PEEKERS, Conclude, Do, Peeker
from zbudlab.schemes import SCHEMES, variant
from zbudlab.sources import SOURCES
from zbudlab.thread import (
    CLAIMS,
    DEMANDS,
    MESSAGES,
    VERDICTS,
    WHO,
    Claim,
    Finding,
    claims,
    message,
    on_pages,
    on_readers,
    on_zbud,
    reply_tree,
)
from zbudlab.thread.messages import GROUPS, KNOWN
from zbudlab.zbud import ZbudPool

ROOT = Path(__file__).resolve().parent.parent
SEED_MAIL = (
    ROOT.parent / "shared" / "reference" / "seed-mail.txt"
)  # not part of the project: compared with if it is there
PREDICATE = "!PageSlab(p) && page_count(p) > 0 && page_mapcount(p) <= 0"  # the one line that is quoted

# What came of each claim when the dossier was written, from reading alone; the predicates know nothing of it.
EXPECTED = {
    "holds": {1, 9, 16, 20},
    "fails": {3, 4, 5, 12, 15, 19},
    "holds in part": {2, 6, 7, 8, 11, 13, 14, 17, 18},
    "does not arise": {10},
}


def by_number(claim: Claim) -> str:
    return str(claim.number)


# ---------------------------------------------------------------------- messages


def test_every_message_is_complete() -> None:
    for m in MESSAGES:
        assert m.author and m.subject and m.time.tzinfo and m.known in KNOWN and m.group in GROUPS, m
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", m.key), m.key
        assert m.key.startswith(m.author.split()[-1].lower()), "the key names its author"
        assert m.message_id or m.known == "quoted", "only what we know from others may be without an id"
        assert re.fullmatch(r"(<[^<> ]+(@[^<> ]+|-\.\.\.)>)?", m.message_id), m.message_id
        assert 1 <= len(re.findall(r"[.?)](?= |$)", m.paraphrase)) <= 6
        assert "!" not in m.paraphrase
        assert m.dated in ("header", "id")


def test_keys_and_ids_are_unique() -> None:
    assert len({m.key for m in MESSAGES}) == len(MESSAGES)
    ids = Counter(m.message_id for m in MESSAGES if m.message_id)
    assert max(ids.values()) == 1


def test_the_tree_is_the_patch_and_all_that_was_said_of_it() -> None:
    tree = reply_tree()
    assert tree[0] == (0, message("jennings-v12"))
    assert {m.key for _, m in tree} == {m.key for m in MESSAGES if m.group == "patch"}
    assert len(tree) == 13 == len({m.key for _, m in tree}), "each once: a tree"
    for (before, _), (depth, m) in pairwise(tree):
        assert depth <= before + 1
        assert m.parent in [other for _, other in tree]
    path, m = [], message("wilk-questions")
    while m.parent and m.group == "patch":
        path.append(m.author.split()[-1])
        m = m.parent
    assert path == "Wilk Jennings Morton Magenheimer Morton Jennings Morton Jennings Morton Jennings".split()


def test_times_ascend() -> None:
    assert [m.utc for m in MESSAGES] == sorted(m.utc for m in MESSAGES)
    for m in MESSAGES:
        if m.parent:
            assert m.parent.utc < m.utc, f"{m.key} answers {m.parent.key}"
    assert message("jennings-inline").utc - message("jennings-seed").utc < (
        message("jennings-v13").utc - message("wilk-questions").utc
    )


SECONDS = {m.key: m for m in MESSAGES if re.match(r"<(\d{10}|\d{14}|[0-9A-F]{8})[.-]", m.message_id)}


@pytest.mark.parametrize("key", SECONDS)
def test_ids_that_hold_a_time_agree_with_it(key: str) -> None:
    """Some mail programs write the second (UTC or local), some the epoch; git send-email that of its last mail."""
    m = SECONDS[key]
    stamp = m.message_id[1:].replace("-", ".").split(".")[0]
    if len(stamp) == 14:
        local = "linux-foundation" in m.message_id or m.message_id.endswith("@...>")
        sent = datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=m.time.tzinfo if local else UTC)
    else:
        sent = datetime.fromtimestamp(int(stamp, 10 if len(stamp) == 10 else 16), UTC)
    assert 0 <= (sent - m.utc).total_seconds() <= 6 or abs((sent - m.utc).total_seconds()) <= 1


def test_sources_have_the_ids_once() -> None:
    """Where SOURCES has a message, its id is taken from there and written nowhere else."""
    text = "".join((ROOT / f"zbudlab/thread/{name}.py").read_text() for name in ("mails", "claims", "messages"))
    for key in ("v12", "review", "variant", "seed", "inline", "v13", "limit"):
        found = re.match(r"<[^>]+>", SOURCES[key].where)
        assert found and found[0] not in text
        assert [m.message_id for m in MESSAGES].count(found[0]) == 1


def test_the_tree_as_text() -> None:
    lines = str(reply_tree()).splitlines()
    assert len(lines) == 13
    assert lines[0] == "20 May 16:26  Seth Jennings: jennings-v12"
    assert lines[8] == "30 May 17:43  " + "   " * 7 + "`- Seth Jennings: jennings-seed"
    assert "2013-05" not in repr(message("jennings-seed"))
    assert "<20130530174344.GA15837@medulla>" in str(message("jennings-seed"))
    assert "known through what others quote of it" in str(message("morton-protocol"))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"unknown message 'nope'; known: .*jennings-seed"):
        message("nope")
    with pytest.raises(KeyError, match="there is no claim 21; they are numbered 1 to 20"):
        claims(3, 21)


def test_the_four_demands_are_those_that_are_computed() -> None:
    assert [d.number for d in DEMANDS] == [1, 2, 3, 4]
    assert [d.name for d in DEMANDS] == list(demands("slab-flag"))
    assert {message(d.message).author for d in DEMANDS} == {"Andrew Morton"}


# ---------------------------------------------------------------------- claims


def test_the_claims_are_numbered_and_said_by_somebody() -> None:
    assert [c.number for c in CLAIMS] == list(range(1, 21))
    for c in CLAIMS:
        assert c.says and c.said_in and c.speaker and all(m.message_id for m in c.messages), c.number
        assert callable(c.predicate) and c.predicate.__doc__, c.number
        assert c.real is None or (c.real.kernel and c.real.what and c.real.where)
    assert len({c.predicate for c in CLAIMS}) == 20
    assert CLAIMS[16 - 1].speaker == "Andrew Morton and Seth Jennings"


@pytest.mark.parametrize("claim", CLAIMS, ids=by_number)
def test_the_verdict_is_computed_and_is_the_one_expected(claim: Claim) -> None:
    found = claim.finding
    assert claim.verdict == found.verdict in VERDICTS
    assert claim.number in EXPECTED[claim.verdict], f"{claim}\n{dict(found.cases)}"
    assert re.search(r"\d", claim.evidence) and claim.evidence.endswith("."), "made from the run's numbers"
    assert claim.run() == found, "the same each time"


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.otherwise], ids=by_number)
def test_it_can_come_out_otherwise(claim: Claim) -> None:
    changed = claim.run(**claim.otherwise)
    assert changed.verdict != claim.verdict
    assert changed.evidence != claim.evidence


def test_a_verdict_is_counted() -> None:
    assert [Finding(cases, "").verdict for cases in ({"a": True}, {"a": False}, {"a": True, "b": False}, {})] == list(
        VERDICTS
    )
    both = Finding({"a": True, "b": False}, "seen")
    assert (both.where(True), both.where(False), str(both)) == (["a"], ["b"], "holds in part: seen")


class Handing(Reader):
    """A reader that gives the page to slab, and perhaps scribbles on it."""

    scribbles = False

    def visit(self, around: Any, pfn: int) -> Any:
        def give(p: Any) -> None:
            p.machine.event("kmem_cache_free", p.pfn)
            if self.scribbles:
                p["private"] = 1

        return Peeker("handing", "handing", "mm/x.c", "", [Do("give it to slab", give), Conclude(0)]).steps(around, pfn)


class Scribbling(Handing):
    scribbles = True


def test_a_reader_that_hands_the_page_to_slab_is_noticed() -> None:
    polite, rude = (kind(kind.__name__, "", DECIDES, 0, "") for kind in (Handing, Scribbling))
    assert CLAIMS[9 - 1].run(readers=[polite]).verdict == "fails"
    assert CLAIMS[10 - 1].run(readers=[polite]).verdict == "holds"
    assert CLAIMS[10 - 1].run(readers=[rude]).verdict == "fails"
    assert CLAIMS[10 - 1].run(readers=[polite, rude]).verdict == "holds in part"
    assert CLAIMS[9 - 1].run(readers=[READERS["kpagecount"]]).verdict == "holds"


def test_the_predicates_ask_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the model beneath, and the verdict follows."""
    assert CLAIMS[5 - 1].run(tag=lambda p: False).verdict == "fails", "a tag that takes nothing singles out nothing"
    mine = variant(SCHEMES["overlay-64"], "mine", "", mapcount=-128)
    assert CLAIMS[1 - 1].run(scheme=mine).verdict == "holds", "passing for a free block is no good"
    assert CLAIMS[6 - 1].run(schemes=("chunks-in-mapping",)).verdict == "fails"
    monkeypatch.setattr(
        ZbudPool, "_search", lambda pool, chunks: on_zbud.first_fit(pool, 64 * chunks)[0]
    )  # the allocator itself does first fit now
    assert CLAIMS[19 - 1].run().verdict == "holds"
    monkeypatch.setattr(ZbudPool, "_search", lambda pool, chunks: None)  # each zpage alone
    assert CLAIMS[18 - 1].run().verdict == "fails" and CLAIMS[20 - 1].run().verdict == "holds in part"


def test_the_untagged_schemes_are_found_by_the_predicate() -> None:
    assert [s.name for s in on_pages.untagged()] == [
        "overlay-clear",
        "overlay-64",
        "chunks-in-mapping",
        "inline-header",
    ]
    assert {s.name: score(s).recall for s in on_pages.untagged()} == dict.fromkeys(
        ("overlay-clear", "overlay-64", "chunks-in-mapping", "inline-header"), 1.0
    )


def test_what_the_evidence_rests_on() -> None:
    """A few of the numbers, each by another way."""
    assert on_readers.who_minds("lru.next") == ("node_sysfs",)
    assert "migrate_scanner" in on_readers.who_minds("mapping") and not on_readers.who_minds("index")
    assert CLAIMS[15 - 1].run(record=64).evidence.startswith("Of 64 bytes 48 are spare")
    assert on_zbud.rounded(4096 * 0.15, 6) == 682 and on_zbud.rounded(4096 * 0.15, 2) == 2048
    assert {n: on_zbud.evicted_for_two(n) for n in (6, 2, 64)} == {6: 4, 2: 3, 64: 4}
    assert on_zbud.becomes("overlay-v12", ()) == "free"
    assert on_zbud.while_reclaiming("v12") == (0, 1) == on_zbud.byte_not_set()


# ---------------------------------------------------------------------- moments


@pytest.mark.parametrize("claim", CLAIMS, ids=by_number)
def test_a_moment_is_a_state_to_look_at(claim: Claim) -> None:
    timeline, pfn, reader = claim.moment()
    assert timeline.position == len(timeline.events) == len(claim.setting.do)
    timeline.pool.check()
    assert pfn in timeline.pool.mine
    assert timeline is not claim.moment().timeline, "made anew each time"
    if reader is not None:
        visit = PEEKERS[reader].visit(timeline.pool.pages, pfn)
        assert visit.told and (visit.returned or isinstance(visit.oops, KernelOops))


def test_moments_show_what_the_sentence_is_about() -> None:
    def visit(number: int) -> Any:
        timeline, pfn, reader = CLAIMS[number - 1].moment()
        assert reader
        return PEEKERS[reader].visit(timeline.pool.pages, pfn)

    assert any(name == "_count" and value < 0 for _, name, value in visit(1).seen)
    assert visit(2).value == -16
    assert visit(4).value > 1000  # times mapped
    assert "dereference at 0x81 " in str(visit(6).oops)  # 9 chunks, and 120 bytes on
    assert visit(9).events == [("shrink_slab",)]
    newest, best = CLAIMS[18 - 1].moment().timeline, CLAIMS[18 - 1].moment().timeline.under("v12")
    assert (newest.pool.pages_nr, best.pool.pages_nr) == (3, 2)
    fit = CLAIMS[19 - 1].moment().timeline
    assert fit.handles[-1].pfn == 1 and on_zbud.room(fit.pool, 0) > 8, "the first page had room as well"


# ---------------------------------------------------------------------- who is who


def test_everything_that_the_mail_names_is_in_the_table() -> None:
    terms = [w.term for w in WHO]
    assert len(set(terms)) == len(terms)
    assert set(terms) >= set(
        "zbud, struct page, memmap[], memmap-peekers, variant record, PageReserved, PageSlab, _count, _mapcount, "
        "free pages, slab, memory_failure, memory hotplug, leak checkers, shrink_slab, bigphysarea, mm.h comment, "
        "four demands".split(", ")
    )
    assert {name for m in MESSAGES for name in m.names} <= set(terms)


@pytest.mark.parametrize("who", WHO, ids=lambda w: w.term)
def test_who_is_who(who: Any) -> None:
    assert who.sentence.endswith(".") and re.fullmatch("0[0-8]", who.notebook)
    assert who.term in message(who.message).names
    module, _, name = who.kit.rpartition(".")
    assert hasattr(importlib.import_module(module), name)
    assert who.term in str(who) and who.kit in WHO._repr_markdown_()


# ---------------------------------------------------------------------- whose words


def runs(text: str, n: int = 8) -> set[tuple[str, ...]]:
    """All runs of n words in a text."""
    words = re.findall(r"[a-z0-9_]+", text.replace(PREDICATE, " ").lower())
    return set(zip(*(words[i:] for i in range(n)), strict=False))


@pytest.mark.skipif(not SEED_MAIL.exists(), reason="the mail is no part of the project; it is not here to compare with")
def test_the_words_are_ours() -> None:
    mail = runs(re.sub(r"(?m)^[> ]+", "", SEED_MAIL.read_text()))
    assert len(mail) > 300
    ours = {m.key: m.paraphrase for m in MESSAGES} | {f"claim {c.number}": c.says for c in CLAIMS}
    ours |= {f"demand {d.number}": d.paraphrase for d in DEMANDS} | {w.term: w.sentence for w in WHO}
    for what, text in ours.items():
        assert not runs(text) & mail, what


def test_nothing_says_that_the_tag_was_merged() -> None:
    for m in MESSAGES:
        assert "merged" not in m.paraphrase.replace("never merged", "")


# ---------------------------------------------------------------------- the command line, and the package's own names


def test_claims_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"(?m)^[ 12]\d\. ", out)) == 20
    for c in CLAIMS:
        assert c.says in out and f"    {c.verdict.upper()}. {c.evidence}\n" in out
        assert all(m.message_id in out for m in c.messages) and (c.real is None or str(c.real) in out)
    assert main(["claims", "4", "19"]) == 0
    assert len(re.findall(r"(?m)^[ 12]\d\. ", capsys.readouterr().out)) == 2


def test_claims_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["number"] for row in told] == list(range(1, 21))
    for row, claim in zip(told, CLAIMS, strict=True):
        assert row == claim.as_json() and row["verdict"] == Finding(row["cases"], "").verdict
    assert told[9]["real"] is None and told[0]["real"]["kernel"] == "6.1"
    assert told[15]["message_ids"] == [message("morton-overlay").message_id, message("jennings-why").message_id]


def test_an_unknown_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "0"]) == 2
    assert capsys.readouterr().err == "zbudlab: there is no claim 0; they are numbered 1 to 20\n"


def test_in_a_notebook() -> None:
    table = claims(4, 10)._repr_markdown_()
    assert table.count("\n") == 3 and "**fails**" in table and "\\_count" in table
    for row, claim in zip(table.splitlines()[2:], claims(4, 10), strict=True):
        seen, folded = row.split("<details>")
        assert f"**{claim.verdict}**" in seen and claim.evidence[:8] in folded and claim.said_in[0] in folded
        assert claim.evidence[:8] not in seen and folded.endswith("</details> |")
    assert "def the_predicate_is_true_of_zbud" in CLAIMS[4 - 1].code
    assert repr(CLAIMS[0]) == "<Claim 1, Andrew Morton>"


def test_the_package_has_the_names() -> None:
    assert zbudlab.CLAIMS is CLAIMS and zbudlab.MESSAGES is MESSAGES and zbudlab.WHO is WHO
    assert zbudlab.claims is claims and zbudlab.reply_tree is reply_tree
