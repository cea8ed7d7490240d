"""Notebook 07, ask a real kernel: the same bytes in Linux 6.1, and what recorded kernels said and did."""

from __future__ import annotations

from functools import cache
from random import Random
from types import SimpleNamespace as Scene
from typing import Any

from ..kernel import Cell, Recording, load
from ..linux_6_1 import RELEASE, PageSlab, mapcount, page_has_type
from ..memmap import Memmap
from ..peekers.linux_6_1 import PEEKERS as READERS_6_1
from ..peekers.record import u64
from ..peekers.report import kpf_names
from ..versions import ERRNO_NAMES
from .book03 import record_of
from .book04 import View
from .book04 import kpageflags as kpageflags_3_10
from .question import Misconception as M
from .question import Prediction
from .task import Exercise, Refused, Wrong, ask, hold

READERS = {reader.name: reader for reader in READERS_6_1}


def recorded() -> Recording:
    return load("6.1")


@cache
def real_memmap() -> Memmap:
    return recorded().memmap()


# ---------------------------------------------------------------------- the bytes of 2013, read in 6.1


def v12_bytes(chance: Random) -> Scene:
    return Scene(scheme="overlay-v12", first=chance.randint(8, 31), last=chance.randint(8, 30), place=0x1B2C3800)


def dressed_6_1(s: Any) -> Memmap:
    """A plain page of 6.1, its number 3, with v12's data at the bytes where it lay in 3.10."""
    memmap = Memmap(8, release=RELEASE)
    p, v12 = memmap.page(3), record_of(s).raw
    p["_mapcount"], p["_refcount"] = -1, 1
    p.raw = p.raw[:8] + v12[8:12] + bytes(4) + v12[16:48] + p.raw[48:]
    return memmap


def in_6_1(s: Any) -> str:
    """What /proc/kpageflags of 6.1 makes of it."""
    visit = READERS["kpageflags"].visit(dressed_6_1(s), 3)
    if not visit.returned:
        return "it crashes"
    return ", ".join(kpf_names(visit.value)) or "no bit"


SAME_BYTES = Prediction(
    "same-bytes",
    "07",
    v12_bytes,
    ask=lambda s: (
        f"A page of Linux 6.1, with the data of v12 where it lay in 3.10: {s.first} and {s.last} chunks at byte "
        f"8, buddy at "
        "byte 16, lru at byte 32. What does /proc/kpageflags show?"
    ),
    answer=in_6_1,
    why=lambda s: (
        f"In 6.1 byte 8 is no part of `mapping`. Bit 0 of the word there says that the page is a tail, and the "
        f"rest where "
        f"its head is. `first_chunks` lies on it: {s.first} is {'odd' if s.first % 2 else 'even'}. "
        + (
            "The reader follows it to an address where nothing is."
            if s.first % 2
            else "So it is no tail, and no flag is set."
        )
    ),
    wrong=(
        M("The same bytes say the same", kpageflags_3_10, "The names over the bytes have moved since 3.10."),
        M(
            "Odd means anonymous, even today",
            lambda s: "ANON" if s.first % 2 else None,
            "`mapping` begins at byte 24 now.",
        ),
        M(
            "What was fatal in 3.10 is fatal now",
            lambda s: "it crashes",
            "The link lies elsewhere now; the count is what harms.",
        ),
        M("A newer kernel ignores what it does not know", lambda s: "no bit", "It believes bit 0 of byte 8."),
        M(
            "It is in use, so it is mapped",
            lambda s: "MMAP",
            "`_mapcount` lies on byte 48 now, where v12 writes nothing.",
        ),
    ),
    seed=22,
)


def odd_page(chance: Random) -> Scene:
    return Scene(first=2 * chance.randint(4, 15) + 1, last=chance.randint(8, 30))


def word_at_8(s: Any) -> int:
    return int.from_bytes(record_of(s).raw[8:16], "little")


def head_of(s: Any) -> int:
    """Where 6.1 takes the head's record to be."""
    visit = READERS["kpageflags"].visit(dressed_6_1(s), 3)
    assert visit.oops is not None
    return int(visit.oops.address)


TAIL = Prediction(
    "whose-tail",
    "07",
    odd_page,
    ask=lambda s: (
        f"A v12 page with {s.first} and {s.last} chunks; the word at byte 8 is {word_at_8(s):#x}. A reader of "
        f"6.1 takes it "
        "for a tail. At which address does it look for the head's record?"
    ),
    answer=head_of,
    why=lambda s: f"Bit 0 is the mark, the rest is the address: {word_at_8(s):#x} - 1. Nothing is mapped there.",
    wrong=(
        M("The whole word is the address", word_at_8, "Bit 0 is the mark of a tail and is taken off."),
        M("The head is the record before", lambda s: Memmap(8).record(2), "A tail names its head."),
        M("The count is a page number", lambda s: 64 * s.first, "It is read as part of an address."),
        M("It looks at the address plus the mark", lambda s: word_at_8(s) + 1, "The mark is taken off, not added."),
    ),
    show=lambda value: f"{value:#x}",
    seed=1,
)

# ---------------------------------------------------------------------- what a real kernel said of a real page


@cache
def kinds_of_pages() -> list[list[int]]:
    """The recorded pages by what their records have in common: a few pfns for each kind, in order."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    memmap = real_memmap()
    for pfn in memmap.pfns:
        p = memmap.page(pfn)
        groups.setdefault((p["_mapcount"], p["_refcount"] > 0, PageSlab(p)), []).append(pfn)
    return [pfns[:20] for _, pfns in sorted(groups.items())]


def real_page(chance: Random) -> Scene:
    return Scene(pfn=chance.choice(chance.choice(kinds_of_pages())))


def said(s: Any) -> int:
    return int(recorded().kpagecount[s.pfn])


REAL_COUNT = Prediction(
    "real-count",
    "07",
    real_page,
    ask=lambda s: (
        f"Page {s.pfn:#x} of the recorded machine: `_mapcount` {real_memmap().page(s.pfn)['_mapcount']}, `_refcount` "
        f"{real_memmap().page(s.pfn)['_refcount']}, "
        f"{'a slab page' if PageSlab(real_memmap().page(s.pfn)) else 'not slab'}. "
        "What did its kernel, Linux 6.1, say in /proc/kpagecount?"
    ),
    answer=said,
    why=lambda s: (
        "Slab pages and pages with a type are 0: their `_mapcount` is no count. Of all others it is `_mapcount` "
        "+ 1. The "
        f"kernel itself said {said(s):#x}."
    ),
    wrong=(
        M("`_mapcount` is the count", lambda s: u64(real_memmap().page(s.pfn)["_mapcount"]), "It counts from -1."),
        M(
            "`_mapcount` + 1, whatever the page",
            lambda s: u64(mapcount(real_memmap().page(s.pfn))),
            "Not of a page with a type.",
        ),
        M(
            "How often it is referenced",
            lambda s: real_memmap().page(s.pfn)["_refcount"],
            "It is the count of mappings.",
        ),
        M("In use is 1", lambda s: 1, "Only user page tables count."),
        M("Kernel memory is 0, and so is all else", lambda s: 0, "A page that is mapped once has 1."),
    ),
    show=lambda value: f"{value:#x}",
    seed=9,
)

# ---------------------------------------------------------------------- what a real kernel did

DRESSED = {
    "plain": "a plain kernel page",
    "reserved": "a page with PG_reserved",
    "slab": "a page with PG_slab",
    "chunks_odd": "a page with odd chunk counts on `mapping`",
    "chunks_movable": "a page with chunk counts on `mapping`, the first 2 modulo 4",
    "chunks_ksm": "a page with chunk counts on `mapping`, the first 3 modulo 4",
    "mapcount_m128": "a page with `_mapcount` -128, a free block in 2013",
    "type_offline": "a page with the type offline",
    "v12_offsets": "a page dressed as v12 did, byte for byte, with an even first count",
    "v12_offsets_odd": "a page dressed as v12 did, byte for byte, with an odd first count",
}
DID = {
    "kpageflags": "somebody reads /proc/kpageflags",
    "kpagecount": "somebody reads /proc/kpagecount",
    "soft_offline": "the kernel is asked to take the page out of use, softly",
    "hard_offline": "the kernel is told that the page is broken",
}


@cache
def cells() -> dict[tuple[str, str], Cell]:
    return {(c.scheme, c.reader): c for c in recorded().cells if c.scheme in DRESSED and c.reader in DID}


def a_cell(chance: Random) -> Scene:
    scheme, reader = chance.choice(sorted(cells()))
    return Scene(scheme=scheme, reader=reader)


def happened(scheme: str, reader: str) -> str | None:
    """What the recorded kernel did; None if that was not tried."""
    c = cells().get((scheme, reader))
    if c is None:
        return None
    if c.oops:
        return "the kernel ends"
    if c.value is None:
        return f"-{ERRNO_NAMES[c.errno]}" if c.errno else "granted"
    return f"{c.value:#x}" + (f" ({', '.join(kpf_names(c.value))})" if reader == "kpageflags" and c.value else "")


def ending(s: Any) -> str:
    c = cells()[s.scheme, s.reader]
    return f" Its own words: {c.oops.what}, in {c.oops.function}." if c.oops else ""


REAL_CELL = Prediction(
    "real-kernel",
    "07",
    a_cell,
    ask=lambda s: f"A real Linux 6.1, {DRESSED[s.scheme]}, and {DID[s.reader]}. What was recorded?",
    answer=lambda s: happened(s.scheme, s.reader),
    why=lambda s: f"Recorded: {happened(s.scheme, s.reader)}.{ending(s)}",
    wrong=(
        M("As with a plain kernel page", lambda s: happened("plain", s.reader), "The record says something else."),
        M("What harms an overlay crashes", lambda s: "the kernel ends", "Only if something follows a pointer."),
        M("As with a page of slab", lambda s: happened("slab", s.reader), "Nothing says slab here."),
        M("As with v12's own bytes", lambda s: happened("v12_offsets_odd", s.reader), "Other bytes, other beliefs."),
        M(
            "-EBUSY, for it is in use",
            lambda s: "-EBUSY" if "offline" in s.reader else None,
            "soft_offline_page answers -EIO for a page of unknown kind.",
        ),
        M(
            "Granted",
            lambda s: "granted" if "offline" in s.reader else None,
            "A page off the LRU cannot be taken away.",
        ),
        M(
            "A mapped page",
            lambda s: {"kpageflags": "0x800 (MMAP)", "kpagecount": "0x1"}.get(s.reader),
            "Nobody maps it.",
        ),
    ),
    seed=16,
)

PREDICTIONS = (SAME_BYTES, TAIL, REAL_COUNT, REAL_CELL)

# ---------------------------------------------------------------------- exercises


def judge_kpagecount(answer: Any) -> str:
    memmap, counts = real_memmap(), recorded().kpagecount
    pfns = sorted({pfn for group in kinds_of_pages() for pfn in group} | set(range(0, len(memmap.pfns), 37)))
    n = hold(
        answer,
        [(memmap.page(pfn), counts[pfn]) for pfn in pfns],
        lambda c: c[1],
        (
            M(
                "The rule of 3.10",
                lambda c: 0 if PageSlab(c[0]) else u64(mapcount(c[0])),
                "In 6.1 a `_mapcount` below -128 is a type, and the page counts as not mapped.",
            ),
            M(
                "-1 is a type, too",
                lambda c: 0 if PageSlab(c[0]) or c[0]["_mapcount"] < 0 else c[0]["_mapcount"] + 1,
                "The boundary is -128.",
            ),
            M(
                "Slab forgotten",
                lambda c: 0 if page_has_type(c[0]) else u64(mapcount(c[0])),
                "In 6.1 slab pages still use the word for counters; PG_slab says so.",
            ),
            M("A count of references", lambda c: c[0]["_refcount"], "Mappings are asked for."),
        ),
        arguments=lambda c: (View(c[0]),),
        words=lambda c: f"page {c[0].pfn:#x}, _mapcount {c[0]['_mapcount']}, _refcount {c[0]['_refcount']}",
    )
    return f"{n:,} pages, and of each what Linux 6.1 itself said."


KPAGECOUNT = Exercise(
    "kpagecount-6-1",
    "07",
    "bug hunt",
    "a reader that grew old",
    """`kpagecount(p)` follows Linux 3.10. Hold it to what a Linux 6.1 said of its pages, find out which it gets wrong,
    and mend it. The answer is an unsigned 64-bit number.""",
    "kpagecount",
    """
from zbudlab.linux_6_1 import PageSlab


def kpagecount(p):
    if PageSlab(p):
        return 0
    return (p["_mapcount"] + 1) & 0xFFFFFFFFFFFFFFFF
""",
    (
        "Run the check: it names a page and its `_mapcount`.",
        "What is -129 in 6.1? `page_has_type(p)` of `zbudlab.linux_6_1` is the question.",
        "A free block's first page has -129: kpagecount said 0, and not 2**64 - 128.",
    ),
    judge_kpagecount,
    """
from zbudlab.linux_6_1 import page_has_type


def kpagecount(p):
    if PageSlab(p) or page_has_type(p):
        return 0
    return (p["_mapcount"] + 1) & 0xFFFFFFFFFFFFFFFF
""",
    (
        Wrong(
            "from zbudlab.linux_6_1 import PageSlab\ndef kpagecount(p):\n    n = p['_mapcount'] + 1\n"
            "    return 0 if PageSlab(p) else n & 0xFFFFFFFFFFFFFFFF",
            "The rule of 3.10",
        ),
        Wrong("def kpagecount(p):\n    return p['_refcount']", "A count of references"),
        Wrong(
            "from zbudlab.linux_6_1 import PageSlab\ndef kpagecount(p):\n    return 0 if PageSlab(p) else "
            "p['_mapcount'] + 1",
            "-512",
        ),
        Wrong("def kpagecount(p):\n    return p['_count']", "KeyError"),
    ),
)

LEAST_PRECISION = 0.8


def judge_suspects(answer: Any) -> str:
    memmap, zbuds = real_memmap(), set(recorded().zbud_pfns)
    right = others = missed = 0
    for pfn in asked():
        taken = bool(ask(answer, View(memmap.page(pfn)), words=f"page {pfn:#x}"))
        right += taken and pfn in zbuds
        missed += not taken and pfn in zbuds
        others += taken and pfn not in zbuds
    recall = right / (right + missed)
    precision = right / (right + others) if right + others else 0.0
    seen = f"recall {recall:.1%}, precision {precision:.1%} on {len(asked()):,} recorded pages"
    if recall < 1:
        because = "A sign that zbud's pages do not have. Print a few of their records: there is nothing on them."
        raise Refused(seen, "recall 100%", because if not right else "A sign that only some of them have.")
    if precision < LEAST_PRECISION:
        because = "Nothing else looks like that. Too wide: page tables, reserved and slab pages or free ones are in it."
        raise Refused(seen, f"precision of {LEAST_PRECISION:.0%} or more", because)
    return (
        f"{seen}. By the record alone it cannot be 100%: {len(twins())} of these pages are not zbud's, and have a "
        "record that a zbud page has too, byte for byte. The merged zbud leaves no tag."
    )


@cache
def asked() -> list[int]:
    """The recorded pages that an answer is asked about: one in eight."""
    return [pfn for pfn in real_memmap().pfns if pfn % 8 == 3]


@cache
def twins() -> list[int]:
    """Those that are not zbud's, and look like one that is."""
    r = recorded()
    records, zbuds = {r.record(pfn) for pfn in r.zbud_pfns}, set(r.zbud_pfns)
    return [pfn for pfn in asked() if pfn not in zbuds and r.record(pfn) in records]


SUSPECTS = Exercise(
    "suspects",
    "07",
    "adversarial",
    "zbud's pages on a real machine",
    """Write `suspect(p)`: True for every zbud page of the recorded Linux 6.1, and for as few others as you can; four
    in five have to be zbud's. The fields are `flags`, `mapping`, `_mapcount`, `_refcount` and the others of 6.1. In
    the top bits of `flags` stands the zone: `p["flags"] & 0xFFFFFF` are the flags themselves.""",
    "suspect",
    """
def suspect(p):
    ...
""",
    (
        'Look at the record of one: `load("6.1")` of `zbudlab.kernel` has `zbud_pfns`.',
        "No flag, one reference, not mapped, no type. What else is empty?",
        "`mapping` and `private` are 0 in them; `_mapcount` is -1 and `_refcount` is 1.",
    ),
    judge_suspects,
    """
def suspect(p):
    in_use = p["_refcount"] == 1 and p["_mapcount"] == -1
    return in_use and p["flags"] & 0xFFFFFF == 0 and p["mapping"] == 0 and p["private"] == 0
""",
    (
        Wrong("def suspect(p):\n    return p['_refcount'] == 1 and p['_mapcount'] == -1", "too wide"),
        Wrong("def suspect(p):\n    return p['_mapcount'] == -127", "nothing on them"),
        Wrong(
            "def suspect(p):\n    return p['_refcount'] == 1 and p['_mapcount'] == -1 and p['lru.next'] == 0",
            "only some of them",
        ),
        Wrong("def suspect(p):\n    return True", "too wide"),
        Wrong("def suspect(p):\n    return p['count'] == 1", "KeyError"),
    ),
)

EXERCISES = (KPAGECOUNT, SUSPECTS)
