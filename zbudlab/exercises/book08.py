"""Notebook 08, what happened next, and your turn: tags in the type word, and schemes of your own."""

from __future__ import annotations

from functools import cache
from random import Random
from types import SimpleNamespace as Scene
from typing import Any

from .. import linux_6_1, linux_6_12
from ..demonstrate.judge import Scene as Machine
from ..demonstrate.judge import demands
from ..demonstrate.readers import READERS
from ..demonstrate.recogniser import mixed
from ..dress import dress
from ..memmap import Memmap
from ..page_alloc import KernelPages
from ..peekers import PEEKERS
from ..peekers.linux_6_1 import PEEKERS as READERS_6_1
from ..schemes import FLAGS, INLINE_HEADER, Scheme, variant
from ..struct_page import PageReserved, page_mapcount, s32
from ..zbud import ZbudPool
from .book04 import View, machine_of_all, only_page, sent
from .book06 import a_scheme, row_of
from .question import Misconception as M
from .question import Prediction
from .task import Exercise, Refused, Wrong, ask, hold

KOZLOWSKI = "<1376043740-10576-4-...>"

# ---------------------------------------------------------------------- page types as cleared bits


def a_type(chance: Random) -> Scene:
    return Scene(name=chance.choice(list(linux_6_1.TYPES)))


def bit(s: Any) -> int:
    return linux_6_1.TYPES[s.name]


TYPE_VALUE = Prediction(
    "type-value",
    "08",
    a_type,
    ask=lambda s: (
        f"In Linux 6.1 the page type {s.name} is the bit {bit(s):#x}, and the type word lies on `_mapcount`. "
        f"Which number "
        "is `_mapcount` in such a page?"
    ),
    answer=lambda s: linux_6_1.type_value(s.name),
    why=lambda s: (
        f"The word of a page without a type is -1, all bits set. A type clears its bit: -1 - {bit(s):#x} = "
        f"{linux_6_1.type_value(s.name)}, or {linux_6_1.type_value(s.name) & 0xFFFFFFFF:#x}."
    ),
    wrong=(
        M("The value is minus the bit", lambda s: -bit(s), "-1 has all bits set; one is cleared from it."),
        M("The bit is set", bit, "Set bits would be map counts: 0 and above."),
        M(
            "The base, with the bit set",
            lambda s: s32(0xF0000000 | bit(s)),
            "0xf0000000 is what all types have in common.",
        ),
        M(
            "The base, with all other bits clear",
            lambda s: s32(0xF0000000),
            "Only the type's own bit is cleared from -1.",
        ),
    ),
    seed=7,
)

# ---------------------------------------------------------------------- the same number, then and now

VALUES = (-1, -2, -127, -128, -129, -257, -513, 0, 2)


def a_value(chance: Random) -> Scene:
    return Scene(value=chance.choice(VALUES))


def counted(value: int, kernel: str) -> int:
    """What /proc/kpagecount says of a kernel page with that `_mapcount`."""
    if kernel == "3.10":
        memmap = Memmap(4)
        dress(memmap, 1, "kernel", _mapcount=value)
        return int(PEEKERS["kpagecount"].visit(memmap, 1).value)
    memmap = Memmap(4, release=linux_6_1.RELEASE)
    memmap.page(1)["_mapcount"], memmap.page(1)["_refcount"] = value, 1
    (reader,) = (r for r in READERS_6_1 if r.name == "kpagecount")
    return int(reader.visit(memmap, 1).value)


def then_and_now(old: int, new: int) -> str:
    return f"{old:#x} and {new:#x}"


def both(s: Any) -> tuple[int, int]:
    return counted(s.value, "3.10"), counted(s.value, "6.1")


THEN_AND_NOW = Prediction(
    "then-and-now",
    "08",
    a_value,
    ask=lambda s: (
        f"A page that is not slab's has `_mapcount` {s.value}. What does /proc/kpagecount say in Linux 3.10, "
        f"and what in 6.1?"
    ),
    answer=lambda s: then_and_now(*both(s)),
    why=lambda s: (
        f"3.10 says `_mapcount` + 1, widened to 64 bits, whatever it is. In 6.1 a value below -128 is a type, "
        f"and its page "
        f"counts as not mapped. {s.value} is {'one' if s.value < -128 else 'none'}."
    ),
    wrong=(
        M("The rule has not changed", lambda s: then_and_now(both(s)[0], both(s)[0]), "Types came in between."),
        M("Anything negative is 0 now", lambda s: then_and_now(both(s)[0], max(0, s.value + 1)), "Only below -128."),
        M(
            "Negative was always 0",
            lambda s: then_and_now(max(0, s.value + 1), max(0, s.value + 1)),
            "3.10 knew no types.",
        ),
        M(
            "A 32-bit number",
            lambda s: then_and_now(s.value + 1 & 0xFFFFFFFF, both(s)[1]),
            "The file has 64-bit numbers.",
        ),
        M("The stored value", lambda s: then_and_now(*[s.value & (1 << 64) - 1] * 2), "One more than that."),
    ),
    seed=4,
)

# ---------------------------------------------------------------------- a type is a number now


def a_word(chance: Random) -> Scene:
    return Scene(word=chance.choice(list(linux_6_12.TYPES.values())) << 24 | chance.randint(1, 0xFFFFFF))


def type_in_6_12(s: Any) -> str:
    memmap = Memmap(4, release=linux_6_12.RELEASE)
    memmap.page(1)["_mapcount"] = s32(s.word)
    found = [name for name in linux_6_12.TYPES if linux_6_12.page_type(memmap.page(1), name)]
    return found[0] if found else "none"


def types_by_bits(s: Any) -> str:
    """By the rule of 6.1: the types whose bits are clear."""
    clear = [name for name, bit_ in linux_6_1.TYPES.items() if not s.word & bit_]
    return " and ".join(clear) or "none"


TYPE_BYTE = Prediction(
    "type-byte",
    "08",
    a_word,
    ask=lambda s: f"Linux 6.12, and the word at `_mapcount` is {s.word:#010x}. Which type has the page?",
    answer=type_in_6_12,
    why=lambda s: (
        f"The top byte is the type, as a number: {s.word >> 24:#x} is {type_in_6_12(s)}. The other three bytes are the "
        "owner's to use. One byte decides: a tag in the sense of a variant record."
    ),
    wrong=(
        M("A type clears its bit", types_by_bits, "So it was in 6.1. Since 6.12 a page has one type, a number."),
        M("Types need all other bits set", lambda s: "none", "The low 24 bits do not matter."),
        M(
            "Counting from the wrong end",
            lambda s: list(linux_6_12.TYPES)[~list(linux_6_12.TYPES).index(type_in_6_12(s))],
            "0xf0 is buddy, and the numbers go up from there.",
        ),
        M(
            "The next one",
            lambda s: [*linux_6_12.TYPES, "none"][list(linux_6_12.TYPES).index(type_in_6_12(s)) + 1],
            "0xf0 is the first, not the zeroth of nothing.",
        ),
    ),
    seed=5,
)

# ---------------------------------------------------------------------- which number to take for a tag

TAGS = (-127, -128, -129, -2, 0, 127)


def a_tag(chance: Random) -> Scene:
    return Scene(tag=chance.choice(TAGS))


@cache
def misled(tag: int) -> tuple[str, ...]:
    """The readers that a tag misleads, where a plain kernel page does not mislead them."""
    return tuple(row_of(variant(INLINE_HEADER, "a tag", "", mapcount=tag)))


@cache
def readers_of_mapcount(tag: int) -> tuple[str, ...]:
    """The readers that look at the field at all."""
    found = []
    for name in READERS:
        m = Machine(variant(INLINE_HEADER, "a tag", "", mapcount=tag), tenants=[(12, 30)], pages=16)
        visit = sent(m, name, only_page(m))
        if any(field == "_mapcount" for at, field, _ in visit.seen if at == visit.page.address):
            found.append(name)
    return tuple(found)


TAG = Prediction(
    "which-number",
    "08",
    a_tag,
    ask=lambda s: (
        f"A header in the page, and `_mapcount` {s.tag} as its tag. How many of the 22 readers of 2013 does the "
        f"tag mislead, "
        "compared with a plain kernel page?"
    ),
    answer=lambda s: len(misled(s.tag)),
    why=lambda s: f"These: {', '.join(misled(s.tag)) or 'none'}.",
    wrong=(
        M("Who does not know a tag does not see it", lambda s: 0, "The word has a meaning for every page."),
        M(
            "Whatever reads _mapcount is misled",
            lambda s: len(readers_of_mapcount(s.tag)),
            "Some come to the same answer.",
        ),
        M("All such numbers are alike", lambda s: len(misled(-128)), "-128 is the free block's."),
        M("All of them look there", lambda s: 22, "Most ask other fields first."),
        M("Only kpagecount shows it", lambda s: 1, "0 and above are mappings, -128 is a free block."),
    ),
    seed=9,
)


PREDICTIONS = (TYPE_VALUE, THEN_AND_NOW, TYPE_BYTE, TAG)

# ---------------------------------------------------------------------- exercises


def tagged(scheme: Scheme, p: Any) -> bool:
    """Whether a page has the scheme's tag."""
    if scheme.flag is not None:
        return bool(p["flags"] >> FLAGS[scheme.flag] & 1)
    return bool(p["_mapcount"] == scheme.mapcount)


def judge_invention(answer: Any) -> str:
    scheme = a_scheme(answer)
    met = demands(scheme)
    if met["tag decided"] in ("no", "does not arise"):
        raise Refused(
            "no tag", "a `flag` or a `mapcount`", "Leaving the record alone. Safe, and nobody can tell the page."
        )
    if met["no further page flag"] == "no":
        raise Refused("a page flag of its own", "no further flag", "The fourth demand rules out just this.")
    if met["placed by definition"].startswith("no"):
        raise Refused(
            "a cast over the record", "fields placed by definition, or none in the record", "v12 all over again."
        )
    pool = mixed(scheme)
    others = {
        pool.memmap.owner.get(pfn, "free")
        for pfn in pool.memmap.pfns
        if pfn not in pool.mine and tagged(scheme, pool.memmap.page(pfn))
    }
    if others:
        because = "A tag that others wear. Then it tells a class, and not zbud."
        raise Refused(
            f"the tag is also on pages that are {', '.join(sorted(others))}", "on zbud's and no others", because
        )
    bad = {reader: found for reader, found in row_of(scheme).items() if found.word != "misreport"}
    if bad:
        worst = max(bad, key=lambda reader: bad[reader].rank)
        because = "Data on a field that somebody follows or counts with." if scheme.home == "record" else ""
        raise Refused(f"{worst}: {bad[worst]}", "no reader worse than misreport, plain pages aside", because)
    left = ", ".join(f"{reader} {found.word}" for reader, found in row_of(scheme).items()) or "nothing"
    return f"{scheme.name} has a tag of its own, {met['tag decided']}, and no reader harms it. What is left: {left}."


INVENT = Exercise(
    "invent-a-tag",
    "08",
    "adversarial",
    "a scheme of your own",
    """Invent a scheme for zbud's data, and a tag, such that no other page of the machine wears the tag, no page flag
    is added, nothing is laid over the record by a cast, and no reader of 2013 is worse than misreport, except where
    a plain kernel page fares no better.""",
    "mine",
    """
from zbudlab.schemes import INLINE_HEADER, variant

about = "what it is, in a line"
mine = variant(INLINE_HEADER, "mine", about)  # flag="...", or mapcount=...
""",
    (
        "Where the data lies in the page itself, only the tag is left to decide upon.",
        "A flag that exists is worn by somebody already (see `zbudlab.SCHEMES`). Which `_mapcount` has nobody?",
        "Kozlowski's proposal of August 2013 is one answer, " + KOZLOWSKI + ". Are there others?",
    ),
    judge_invention,
    """
about = "a header in the page, and a value of _mapcount that nobody has"
mine = variant(INLINE_HEADER, "mine", about, mapcount=-127)
""",
    (
        Wrong("from zbudlab.schemes import *\nmine = SCHEMES['slab-flag']", "A tag that others wear"),
        Wrong("from zbudlab.schemes import *\nmine = SCHEMES['new-flag']", "The fourth demand"),
        Wrong(
            "from zbudlab.schemes import *\nmine = variant(SCHEMES['overlay-v12'], 'm', '', flag='arch_1')",
            "v12 all over",
        ),
        Wrong(
            "from zbudlab.schemes import *\nmine = variant(INLINE_HEADER, 'm', '', mapcount=-128)",
            "A tag that others wear",
        ),
        Wrong("from zbudlab.schemes import *\nmine = SCHEMES['chunks-in-mapping']", "Leaving the record alone"),
        Wrong("from zbudlab.schemes import *\nmine = SCHEMES['mapcount-tag-overlay']", "somebody follows"),
        Wrong("mine = 'a cookie in private'", "a Scheme"),
    ),
    wants="a Scheme",
)


def judge_page_zbud(answer: Any) -> str:
    pool = machine_of_all("mapcount-tag")
    cases = [(pool.memmap.page(pfn), pfn in pool.mine) for pfn in pool.memmap.pfns]
    n = hold(
        lambda p: bool(answer(p)),
        cases,
        lambda c: c[1],
        (
            M(
                "page_mapcount() instead of _mapcount",
                lambda c: page_mapcount(c[0]) == -127,
                "It answers one more than what is stored: it is -127 for -128, and that is a free block.",
            ),
            M(
                "Anything negative",
                lambda c: c[0]["_mapcount"] < -1,
                "Free blocks and frozen slab pages are there, too.",
            ),
            M("As an unsigned number", lambda c: c[0]["_mapcount"] == 2**32 - 127, "The field is a signed number."),
            M("Both values", lambda c: c[0]["_mapcount"] in (-127, -128), "-128 is the free block's."),
        ),
        arguments=lambda c: (View(c[0]),),
        words=lambda c: f"a page with _mapcount {c[0]['_mapcount']}",
    )
    return f"{n} pages, and zbud's told from all others, by one comparison."


PAGE_ZBUD = Exercise(
    "page-zbud",
    "08",
    "bug hunt",
    "one off",
    f"""Kozlowski's RFC of 9 August 2013, {KOZLOWSKI}, tags zbud's pages with `_mapcount` -127. This `PageZbud(p)` is
    meant to find them, and finds free blocks. Mend it.""",
    "PageZbud",
    """
from zbudlab.struct_page import page_mapcount


def PageZbud(p):
    return page_mapcount(p) == -127
""",
    (
        "What is `_mapcount` of the pages that it finds?",
        "`page_mapcount()` counts mappings; `_mapcount` counts from -1.",
        "A free block has `_mapcount` -128, and page_mapcount -127.",
    ),
    judge_page_zbud,
    """
def PageZbud(p):
    return p["_mapcount"] == -127
""",
    (
        Wrong(
            "from zbudlab.struct_page import page_mapcount as m\ndef PageZbud(p):\n    return m(p) == -127",
            "page_mapcount() instead",
        ),
        Wrong("def PageZbud(p):\n    return p['_mapcount'] < -1", "Anything negative"),
        Wrong("def PageZbud(p):\n    return p['_mapcount'] == 0xFFFFFF81", "unsigned"),
        Wrong("def PageZbud(p):\n    return p['_mapcount'] in (-127, -128)", "Both values"),
    ),
)


@cache
def area_machine(scheme: str, seed: int) -> ZbudPool:
    """A machine with an area of reserved pages, single reserved pages, and a pool right behind the area."""
    chance = Random(f"area {seed}")
    pages = KernelPages(Memmap(128))
    for _ in range(chance.randint(3, 9)):
        dress(pages.memmap, pages.alloc_page(), chance.choice(("kernel", "slab", "reserved", "anonymous")))
    dress(pages.memmap, pages.alloc_page(), "kernel")
    for _ in range(chance.randint(9, 20)):
        dress(pages.memmap, pages.alloc_page(), "reserved")
    pool = ZbudPool("v12", pages, scheme=scheme, address=pages.memmap.frame(pages.alloc_page()))
    for _ in range(chance.randint(4, 8)):
        pool.alloc(64 * chance.randint(33, 50))
    return pool


def runs(marks: list[bool]) -> list[tuple[int, int]]:
    """(start, length) of each run of marks."""
    found: list[tuple[int, int]] = []
    for i, mark in enumerate(marks):
        if mark and i and marks[i - 1]:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        elif mark:
            found.append((i, 1))
    return found


def longest(records: Any) -> tuple[int, int]:
    return max(runs([bool(PageReserved(p)) for p in records]), key=lambda run: (run[1], -run[0]))


def records_of(pool: ZbudPool) -> list[View]:
    return [View(pool.memmap.page(pfn)) for pfn in pool.memmap.pfns]


def judge_area(answer: Any) -> str:
    schemes = ("inline-header", "overlay-v12", "slab-flag", "reserved")
    cases = [(records_of(area_machine(scheme, seed)),) for scheme in schemes for seed in range(6)]
    hold(
        lambda records: tuple(answer(records)),
        cases,
        lambda c: longest(c[0]),
        (
            M(
                "All reserved pages, not a run of them",
                lambda c: (first_reserved(c[0]), sum(bool(PageReserved(p)) for p in c[0])),
                "Single pages are reserved, too; the area is the longest run.",
            ),
            M("The first run", lambda c: runs([bool(PageReserved(p)) for p in c[0]])[0], "The longest is wanted."),
            M("The end instead of the length", lambda c: (longest(c[0])[0], sum(longest(c[0]))), "Start and length."),
        ),
        words=lambda c: "a machine of 128 pages",
        arguments=lambda c: (c[0],),
    )
    claimed = {scheme: zbuds_claimed(answer, scheme) for scheme in schemes}
    return (
        f"{len(cases)} machines, and the area found on each. But it believes PG_reserved: where zbud tags its "
        f"pages with that, "
        f"your reader takes {claimed['reserved']} of them for its own; under {', '.join(schemes[:3])}, "
        f"{sum(claimed[scheme] for scheme in schemes[:3])}."
    )


def first_reserved(records: Any) -> int:
    return next(i for i, p in enumerate(records) if PageReserved(p))


def zbuds_claimed(answer: Any, scheme: str) -> int:
    total = 0
    for seed in range(6):
        pool = area_machine(scheme, seed)
        start, length = ask(answer, records_of(pool))
        total += len(pool.mine & set(pool.memmap.pfns[start : start + length]))
    return total


AREA = Exercise(
    "out-of-tree",
    "08",
    "fill in",
    "a reader that nobody can ask",
    """Morton half remembers out-of-tree patches that read the memmap as well, bigphysarea perhaps,
    <20130529134835.58dd89774f47205da4a06202@linux-foundation.org>. What it read is not known here, so this one is
    yours: a driver that lost track of its area, a run of pages that it had marked PG_reserved. Write
    `find_area(records)`: the longest run of reserved pages, as (index of the first, how many); `records` is the
    memmap as a list.""",
    "find_area",
    """
def find_area(records):
    ...
""",
    (
        "Go through the list and count how long the run is that you are in.",
        "`PageReserved(p)` of `zbudlab.struct_page` asks. Remember a run that is longer than the best so far.",
        "If pages 3, 7, 8 and 9 are reserved, the answer is (7, 3).",
    ),
    judge_area,
    """
from zbudlab.struct_page import PageReserved


def find_area(records):
    best, length = (0, 0), 0
    for i, p in enumerate(records):
        length = length + 1 if PageReserved(p) else 0
        if length > best[1]:
            best = (i + 1 - length, length)
    return best
""",
    (
        Wrong(
            "from zbudlab.struct_page import PageReserved\ndef find_area(records):\n"
            "    found = [i for i, p in enumerate(records) if PageReserved(p)]\n    return found[0], len(found)",
            "All reserved pages",
        ),
        Wrong(
            "from zbudlab.struct_page import PageReserved\ndef find_area(records):\n    start = None\n"
            "    for i, p in enumerate(records):\n        if PageReserved(p):\n            start = i if start "
            "is None else start\n"
            "        elif start is not None:\n            return start, i - start",
            "The first run",
        ),
        Wrong(
            "from zbudlab.struct_page import PageReserved\ndef find_area(records):\n    best, n = (0, 0), 0\n"
            "    for i, p in enumerate(records):\n        n = n + 1 if PageReserved(p) else 0\n"
            "        if n > best[1]:\n            best = (i + 1 - n, n)\n    return best[0], best[0] + best[1]",
            "The end instead of the length",
        ),
        Wrong("def find_area(records):\n    return 0", "TypeError"),
    ),
)

EXERCISES = (INVENT, PAGE_ZBUD, AREA)
