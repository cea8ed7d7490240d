"""The checkable claims of the discussion: who said it, in our words; a predicate that runs the model; what came of it.

    >>> claim = CLAIMS[4 - 1]
    >>> claim.speaker, claim.verdict
    ('Seth Jennings', 'fails')
    >>> claim.finding.where(True)        # the pages of v12 of which it is true
    []
    >>> claim.run(scheme="inline-header").verdict
    'holds'

A verdict is about a sentence, not about who wrote it: several of these were questions, asked so that somebody would
look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ..moments import Moment, Setting
from ..quote import Quote, quote
from . import on_pages, on_readers, on_zbud
from .finding import Finding, listed
from .messages import Message, message


class Real(NamedTuple):
    """What a running kernel showed: its version, what was seen, and where in the field lab's recordings."""

    kernel: str
    what: str
    where: str

    def __str__(self) -> str:
        return f"Linux {self.kernel}: {self.what} ({self.where})"


@dataclass(frozen=True)
class Claim:
    """A sentence that can be put to the test.

    `said_in` names the messages, `says` is our paraphrase, `predicate` runs the model and returns a Finding; its
    parameters have defaults that make it the claim.  `otherwise` are parameters under which the verdict is another
    one.  `real` is where a running kernel agrees, `setting` how to get to the state that the sentence is about.
    """

    number: int
    said_in: tuple[str, ...]
    says: str
    predicate: Callable[..., Finding]
    setting: Setting
    otherwise: Mapping[str, Any] = field(default_factory=dict, hash=False)
    real: Real | None = None

    @property
    def messages(self) -> list[Message]:
        return [message(key) for key in self.said_in]

    @property
    def speaker(self) -> str:
        """Who said it."""
        return listed(dict.fromkeys(m.author for m in self.messages))

    @cached_property
    def finding(self) -> Finding:
        """What came of it: the predicate is run when this is first asked for."""
        return self.predicate()

    @property
    def verdict(self) -> str:
        """One of finding.VERDICTS."""
        return self.finding.verdict

    @property
    def evidence(self) -> str:
        return self.finding.evidence

    def run(self, **changed: Any) -> Finding:
        """The predicate with other parameters than the claim's own."""
        return self.predicate(**changed)

    def moment(self) -> Moment:
        """A timeline, a page and perhaps a reader: the state that the sentence is about, made anew."""
        return self.setting.build()

    @property
    def code(self) -> Quote:
        """The predicate's source."""
        return quote(self.predicate)

    def as_json(self) -> dict[str, Any]:
        """Everything about it, run, as plain data."""
        told = {"number": self.number, "speaker": self.speaker, "says": self.says}
        where = {"messages": list(self.said_in), "message_ids": [m.message_id for m in self.messages]}
        came = {"verdict": self.verdict, "cases": dict(self.finding.cases), "evidence": self.evidence}
        return {**told, **where, **came, "real": self.real and self.real._asdict()}

    def __str__(self) -> str:
        lines = [
            f"{self.number:2}. {self.speaker}: {self.says}",
            f"{self.verdict.upper()}. {self.evidence}",
            *(f"{m.day}, {m.message_id}" for m in self.messages),
            *([str(self.real)] if self.real else []),
        ]
        return "\n    ".join(lines)

    def __repr__(self) -> str:
        return f"<Claim {self.number}, {self.speaker}>"


class Claims(list[Claim]):
    """Claims that show themselves: text in a terminal; in a notebook a table, with the evidence folded away."""

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        rows = [
            f"| {c.number} | {c.speaker} | {_cell(c.says)} | **{c.verdict}** <details><summary>evidence</summary>"
            f"{'<br>'.join(map(_cell, _behind(c)))}</details> |"
            for c in self
        ]
        return "\n".join(["| | who | claim | verdict |", "|---|---|---|---|", *rows])


def _behind(claim: Claim) -> list[str]:
    """What stands behind a verdict: the run, a running kernel if one was seen, and the messages by their keys."""
    said = f"Said in {listed(claim.said_in)}."
    return [claim.evidence, *([str(claim.real)] if claim.real else []), said]


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table: nothing in it is markup."""
    for mark in "\\|*_`<":
        text = text.replace(mark, "\\" + mark)
    return text


def claims(*numbers: int) -> Claims:
    """The claims of these numbers, in that order; all of them if none is given.  KeyError for one that is not there."""
    by_number = {claim.number: claim for claim in CLAIMS}
    unknown = [n for n in numbers if n not in by_number]
    if unknown:
        raise KeyError(f"there is no claim {unknown[0]}; they are numbered 1 to {len(CLAIMS)}")
    return Claims(by_number[n] for n in numbers or by_number)


PAIR = (("alloc", 576), ("alloc", 1216))  # 9 chunks and 19
V12_LAID_OVER_6_1 = "what-if: v12's fields on a record of 6.1"

CLAIMS = (
    Claim(
        1,
        ("morton-overlay",),
        "Code that reads all descriptors by itself, memory_failure() for one, will misread those that zbud has laid "
        "its data over.",
        on_readers.readers_misread_an_overlay,
        Setting(PAIR, reader="memory_failure"),
        {"scheme": "inline-header"},
        Real("6.1", "/proc/kpagecount tells of 1,604,321 mappings", f"field lab 3, v12; {V12_LAID_OVER_6_1}"),
    ),
    Claim(
        2,
        ("jennings-ebusy",),
        "memory_failure() treats zbud's pages as it treats slab pages in use: it answers -EBUSY.",
        on_readers.treated_as_slab_pages_are,
        Setting(PAIR + PAIR, reader="memory_failure"),
        {"scheme": "inline-header"},
        Real("6.1", "a live zbud page: EBUSY, and marked as poisoned all the same", "field lab 2, hard_offline_page"),
    ),
    Claim(
        3,
        ("jennings-seed",),
        "The fields that readers need untouched are flags and _count, and no others.",
        on_readers.nothing_else_matters,
        Setting(PAIR, scheme="chunks-in-mapping", reader="kpageflags"),
        {"intact": ("flags", "_count", "_mapcount", "mapping", "lru.next")},
        Real("6.1", "the low two bits of mapping decide between silence and an oops", "field lab 3, chunks_*"),
    ),
    Claim(
        4,
        ("jennings-seed",),
        "The first idea: zbud's pages answer to !PageSlab(p) && page_count(p) > 0 && page_mapcount(p) <= 0.",
        on_pages.the_predicate_is_true_of_zbud,
        Setting(PAIR, reader="kpagecount"),
        {"scheme": "inline-header"},
        Real("6.1", "of the merged design it is true on all 10,529 pages", "field lab 2"),
    ),
    Claim(
        5,
        ("jennings-seed",),
        "The first idea will do for a tag: what answers to the predicate can be taken for zbud's.",
        on_pages.the_predicate_singles_out_zbud,
        Setting(PAIR, version="linux-3.11", reader="kpageflags"),
        {"scheme": "mapcount-tag", "tag": on_pages.minus_127},
        Real("6.1", "3,138 pages of others have the very 64 bytes of some zbud page", "field lab 2"),
    ),
    Claim(
        6,
        ("jennings-seed",),
        "The first idea is enough: a page that answers to the predicate is safe, wherever zbud's data lies in the "
        "rest.",
        on_pages.the_predicate_is_enough,
        Setting((("alloc", 576),), scheme="chunks-in-mapping", reader="isolate_migratepages"),
        {"schemes": ("overlay-64", "inline-header")},
        Real(
            "6.1",
            "chunk counts in mapping, 6 in first_chunks: compaction oopses (in another test than 3.10's)",
            "field lab 3, chunks_movable",
        ),
    ),
    Claim(
        7,
        ("jennings-seed",),
        "The second idea: PG_slab over a positive _count is safe against the readers there are.",
        on_pages.slab_flag_and_count_are_safe,
        Setting(PAIR, scheme="slab-flag", reader="memory_failure"),
        {"schemes": ("slab-flag",)},
        Real(
            "6.1",
            "readers of flags and counts do no harm; with an odd chunk count in mapping makedumpfile drops all 60 "
            "pages",
            "field lab 3, slab and slab_odd",
        ),
    ),
    Claim(
        8,
        ("jennings-seed",),
        "PG_slab tells readers that nothing can be taken from _mapcount.",
        on_pages.the_flag_hides_mapcount,
        Setting(PAIR, scheme="slab-flag", reader="kpagecount"),
        {"flag": "reserved"},
        Real("6.1", "with PG_slab kpagecount says 0 over 1.6 million in _mapcount", "field lab 3, v12_slab"),
    ),
    Claim(
        9,
        ("jennings-seed",),
        "No reader calls a slab function on the page itself; the worst is shrink_slab.",
        on_readers.no_reader_hands_the_page_to_slab,
        Setting(PAIR, scheme="slab-flag", reader="soft_offline"),
        real=Real("6.1", "soft offline of a page with a borrowed PG_slab: EIO, and no more", "field lab 3, slab"),
    ),
    Claim(
        10,
        ("wilk-questions",),
        "A question: does shrink_slab fail as it should, given a page with a borrowed PG_slab?",
        on_readers.shrink_slab_fails_properly,
        Setting(PAIR, scheme="slab-flag", reader="soft_offline"),
    ),
    Claim(
        11,
        ("wilk-questions",),
        "A question: is it the positive _count that keeps readers from touching the page?",
        on_readers.a_positive_count_keeps_readers_off,
        Setting(PAIR, version="linux-3.11", reader="inject"),
        {"readers": ("memory_failure", "do_migrate_range", "page_cache")},
        Real(
            "6.1",
            "with a count of 0, kpageflags, kpagecount and both offlinings answer the same",
            "field lab 3, count0",
        ),
    ),
    Claim(
        12,
        ("morton-variant",),
        "page.flags tells three variants apart: reserved, slab's, all else. Are there more?",
        on_pages.three_variants_are_all,
        Setting(PAIR, version="linux-3.11", reader="kpageflags"),
        {"kinds": ("kernel", "reserved", "slab")},
        Real(
            "6.1", "more kinds, named in the word of _mapcount, and readers ask for them", "field lab 3, type_offline"
        ),
    ),
    Claim(
        13,
        ("morton-variant",),
        "PageReserved should keep readers out of there, heavy as it is.",
        on_pages.the_flag_keeps_readers_away,
        Setting(PAIR, scheme="reserved", reader="kvm_is_mmio_pfn"),
        {"scheme": "new-flag"},
        Real(
            "6.1",
            "it stops memory hotplug at once; both offlinings and compaction go on as before",
            "field lab 3, reserved",
        ),
    ),
    Claim(
        14,
        ("magenheimer-rule",),
        "The rule in mm.h already permits it: the owner of a page may use its other fields.",
        on_pages.the_comment_permits_it,
        Setting(PAIR, reader="show_mem"),
        {"scheme": "overlay-clear"},
    ),
    Claim(
        15,
        ("jennings-ebusy",),
        "struct page may have no room for a reference count beside zbud's data.",
        on_zbud.no_room_for_a_count,
        Setting(PAIR, scheme="overlay-clear"),
        {"width": 8},
    ),
    Claim(
        16,
        ("morton-overlay", "jennings-why"),
        "The descriptor has to be put back before the page is freed.",
        on_zbud.the_record_must_be_restored,
        Setting((("alloc", 576),)),
        {"scheme": "inline-header"},
        Real("6.1", "a v12 page freed as it is leaks in silence", f"field lab 3, v12; {V12_LAID_OVER_6_1}"),
    ),
    Claim(
        17,
        ("jennings-v12",),
        "A pool never has fewer zpages than pages.",
        on_zbud.never_fewer_zpages_than_pages,
        Setting((("alloc", 1000), ("alloc", 2000), ("alloc", 3500), ("free", 0))),
        {"when": ("at rest",)},
        Real("6.1", "21,000 zpages in 10,529 pages", "field lab 2"),
    ),
    Claim(
        18,
        ("magenheimer-density",),
        "Trying the newest page first lowers the density where sizes are symmetric, or mostly fat.",
        on_zbud.newest_first_costs_density,
        Setting(tuple(("alloc", size) for size in (3500, 1000, 500, 2900)), version="v11", pfn=1),
        {"newest_first": "v12"},
    ),
    Claim(
        19,
        ("gorman-fit",),
        "The search for a page is first fit.",
        on_zbud.the_search_is_first_fit,
        Setting(tuple(("alloc", size) for size in (1000, 3500, 500)), pfn=1),
        {"plan": on_zbud.first_fit},
    ),
    Claim(
        20,
        ("gorman-lockstep", "jennings-sizes", "jennings-inline"),
        "What the number of chunks does: four evicted zpages against three in Gorman's example; no bound on the sizes "
        "that are taken; and two chunks are of no use once one of them holds a header.",
        on_zbud.the_number_of_chunks,
        Setting(tuple(("alloc", size) for size in (614, 614, 2457) * 4), pages=6, pfn=1),
        {"version": "linux-3.11-rc1"},
        Real("6.1", "first and last chunks come to 63 of 64 at most: one is the header's", "field lab 2"),
    ),
)
