"""Notebook 05, the thread: claims as predicates, and what the model says of them."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace as Scene
from typing import Any, NamedTuple

from ..demonstrate.judge import Scene as Machine
from ..demonstrate.judge import demands
from ..demonstrate.readers import READERS
from ..demonstrate.recogniser import implicit
from ..dress import dress
from ..peekers import PEEKERS
from ..schemes import SCHEMES, Scheme
from ..struct_page import STRUCT_PAGE, PageSlab, flag_names, page_count, page_mapcount
from .book04 import WHAT, View, machine_of_all, only_page, sent
from .question import Misconception as M
from .question import Prediction
from .task import Exercise, Refused, Wrong, ask, hold, shown

V12 = "overlay-v12"
SEED_MAIL = "<20130530174344.GA15837@medulla>"

# ---------------------------------------------------------------------- what the implicit tag says of a page

YES, SLAB = "it is taken for zbud's", "no: it is slab's"
COUNT, MAPCOUNT = "no: page_count() is not above 0", "no: page_mapcount() is above 0"
KINDS = ("kernel", "page table", "slab", "frozen slab", "anonymous", "page cache", "mapped file", "balloon", "reserved")
NAMES = WHAT | {
    "page table": "a page of a page table",
    "frozen slab": "a slab page that a CPU allocates from",
    "balloon": "a page in a balloon",
}


def someones_page(chance: Random) -> Scene:
    first, last = chance.randint(8, 31), chance.randint(8, 30)
    return Scene(
        what=chance.choice((*KINDS, V12, V12, "inline-header", "overlay-clear", "slab-flag")), first=first, last=last
    )


def name_of(s: Any) -> str:
    return NAMES.get(s.what) or f"a zbud page under the scheme {s.what}, with {s.first} and {s.last} chunks"


def page_of(s: Any) -> Any:
    m = Machine(s.what if s.what in SCHEMES else "inline-header", tenants=[(s.first, s.last)], pages=16)
    if s.what in SCHEMES:
        return m.pool.memmap.page(only_page(m))
    dress(m.pool.memmap, m.plain, s.what)
    return m.pool.memmap.page(m.plain)


def verdict_of(p: Any) -> str:
    """What the predicate says, and if no, which part says so first."""
    if implicit(p):
        return YES
    return SLAB if PageSlab(p) else COUNT if not page_count(p) > 0 else MAPCOUNT


IMPLICIT = Prediction(
    "implicit-tag",
    "05",
    someones_page,
    ask=lambda s: (
        f"The predicate of 30 May, {SEED_MAIL}: `!PageSlab(p) && page_count(p) > 0 && page_mapcount(p) <= 0`. "
        f"What does "
        f"it say of {name_of(s)}?"
    ),
    answer=lambda s: verdict_of(page_of(s)),
    why=lambda s: (
        f"PageSlab: {'yes' if PageSlab(page_of(s)) else 'no'}. page_count: {page_count(page_of(s))}. page_mapcount: "
        f"{page_mapcount(page_of(s))}."
    ),
    wrong=(
        M(
            "It was made for zbud's pages, so it is true of them",
            lambda s: YES if s.what in SCHEMES else None,
            "Only if the scheme leaves `_count` and `_mapcount` alone, and PG_slab clear.",
        ),
        M("What is used is mapped", lambda s: MAPCOUNT, "Only user page tables count here; kernel memory has none."),
        M(
            "Only memory that users map has references",
            lambda s: COUNT,
            "Whoever allocated the page has one, unless something was written over it.",
        ),
        M("Kernel memory is slab's", lambda s: SLAB, "Much of it comes straight from the page allocator."),
        M("What is not slab's must be zbud's", lambda s: YES, "Two more things are asked."),
    ),
    seed=2,
)

# ---------------------------------------------------------------------- how well it does

TRIED = (
    V12,
    "overlay-clear",
    "slab-flag",
    "overlay-on-mapcount",
    "inline-header",
    "mapcount-tag",
    "reserved",
    "new-flag",
)


def a_mixture(chance: Random) -> Scene:
    return Scene(scheme=chance.choice(TRIED), zpages=chance.randint(12, 36))


def found(s: Any) -> tuple[int, int, int]:
    """zbud's pages, how many of them are recognised, how many others are."""
    pool = machine_of_all(s.scheme, s.zpages)
    taken = {pfn for pfn in pool.memmap.pfns if implicit(pool.memmap.page(pfn))}
    return len(pool.mine), len(taken & pool.mine), len(taken - pool.mine)


def score_words(zbuds: int, right: int, others: int) -> str:
    return f"{right} of zbud's {zbuds}, and {others} others"


PRECISION = Prediction(
    "how-precise",
    "05",
    a_mixture,
    ask=lambda s: (
        f"A small machine with pages of every kind, {found(s)[0]} of them zbud's, under the scheme {s.scheme}. "
        f"Which does "
        "the predicate of 30 May pick out?"
    ),
    answer=lambda s: score_words(*found(s)),
    why=lambda s: (
        f"{found(s)[2]} others are kernel pages, page tables, reserved pages and the like: in use, not slab's, "
        f"mapped by "
        f"nobody. Of zbud's it picks those whose `_count` and `_mapcount` are left alone: {found(s)[1]} under "
        f"{s.scheme}."
    ),
    wrong=(
        M(
            "A tag tells its own",
            lambda s: score_words(found(s)[0], found(s)[0], 0),
            "It tells a class that others are in.",
        ),
        M(
            "It recognises nothing else",
            lambda s: score_words(*found(s)[:2], 0),
            "Others meet the same three conditions.",
        ),
        M(
            "It recognises zbud's at least",
            lambda s: score_words(found(s)[0], found(s)[0], found(s)[2]),
            "Not where a pointer lies on `_count`, or the tag is PG_slab.",
        ),
        M(
            "It never recognises zbud's",
            lambda s: score_words(found(s)[0], 0, found(s)[2]),
            "Where the counts are left alone, a zbud page is an unmapped kernel page like any other.",
        ),
    ),
    seed=14,
)

# ---------------------------------------------------------------------- the demands

CHECKED = {"placed by definition": "1", "tag decided": "2", "no further page flag": "4"}


def some_scheme(chance: Random) -> Scene:
    return Scene(scheme=chance.choice(list(SCHEMES)))


def unmet(s: Any) -> set[str]:
    answers = demands(s.scheme)
    return {number for demand, number in CHECKED.items() if answers[demand].split(":")[0] == "no"}


def unmet_words(numbers: set[str]) -> str:
    which = " and ".join(sorted(numbers))
    return f"demand{'s' if len(numbers) > 1 else ''} {which}" if numbers else "none of the three"


def where_it_stands(scheme: Scheme) -> str:
    if scheme.home != "record":
        return "Its data does not lie in struct page."
    named = "are named in the definition of struct page" if scheme.by_definition else "are laid over it by a cast"
    return f"Its fields {named}."


DEMANDS = Prediction(
    "which-demand",
    "05",
    some_scheme,
    ask=lambda s: (
        f"The scheme {s.scheme}: {SCHEMES[s.scheme].about}. {where_it_stands(SCHEMES[s.scheme])} Of Morton's demands "
        "of 29 May, <20130529142904.ace2a29b90a9076d0ee251fd@linux-foundation.org>, which does it leave unmet: 1, "
        "placed by editing the definition; 2, a tag decided upon; 4, no further page flag?"
    ),
    answer=lambda s: unmet_words(unmet(s)),
    why=lambda s: (
        "; ".join(f"{demand}: {answer}" for demand, answer in demands(s.scheme).items() if demand in CHECKED) + "."
    ),
    wrong=(
        M(
            "A scheme without a tag fails, always",
            lambda s: unmet_words(unmet(s) | {"2"}),
            "Not if nothing lies in struct page.",
        ),
        M(
            "An overlay is placed by definition",
            lambda s: unmet_words(unmet(s) - {"1"}),
            "v12 casts, and edits nothing.",
        ),
        M("A flag is a further flag", lambda s: unmet_words(unmet(s) | {"4"}), "Not one that the kernel has already."),
        M(
            "Demand 4 is about memory, not flags",
            lambda s: unmet_words(unmet(s) - {"4"}),
            "A flag of its own is what it rules out.",
        ),
        M("Anything in struct page was a cast", lambda s: unmet_words(unmet(s) | {"1"}), "Only v12's was."),
    ),
)

# ---------------------------------------------------------------------- the return code, and what is left

ASKED = ("memory_failure", "soft_offline", "hwpoison-inject")
CODES = {-16: "-EBUSY", -5: "-EIO", 0: "0"}


def reader_and_scheme(chance: Random) -> Scene:
    return Scene(
        reader=chance.choice(ASKED), scheme=chance.choice(("slab-flag", "overlay-clear", "inline-header", "reserved"))
    )


def left_of(s: Any, reader: str = "") -> str:
    """What a reader returns, and what is different in the record afterwards."""
    m = Machine(s.scheme, tenants=[(12, 30)], pages=16)
    p = m.pool.memmap.page(only_page(m))
    before = {name: p[name] for name in STRUCT_PAGE}
    code = sent(m, reader or s.reader, p.pfn).value
    parts = []
    for name in ("flags", "_count"):
        if p[name] != before[name]:
            new = "PG_" + ", PG_".join(flag_names(p[name] & ~before[name])) if name == "flags" else f"{name} {p[name]}"
            parts.append(new)
    return f"{CODES.get(code, code)}; it leaves {' and '.join(parts) or 'nothing'}"


RETURN_CODE = Prediction(
    "busy-and-what-else",
    "05",
    reader_and_scheme,
    ask=lambda s: (
        f"{s.reader} comes to a zbud page under the scheme {s.scheme}, `_count` 1. Jennings wanted the answer -EBUSY, "
        "<20130529204236.GD428@cerebellum>. What is returned, and what is left in the record?"
    ),
    answer=left_of,
    why=lambda s: (
        "The return code says that nothing could be done for the page. It does not say that nothing was done to "
        "it. Here: "
        f"{left_of(s)}."
    ),
    wrong=(
        M("-EBUSY means that nothing was done", lambda s: "-EBUSY; it leaves nothing", "The mark was set before."),
        M(
            "It does as memory_failure does",
            lambda s: left_of(s, "memory_failure"),
            "Each reader has an order of its own.",
        ),
        M(
            "It does as soft_offline_page does",
            lambda s: left_of(s, "soft_offline"),
            "Each reader has an order of its own.",
        ),
        M(
            "It does as hwpoison-inject does",
            lambda s: left_of(s, "hwpoison-inject"),
            "That one drops a reference which it never took.",
        ),
        M("It succeeds", lambda s: "0; it leaves nothing", "A page off the LRU cannot be dealt with."),
    ),
    seed=2,
)

PREDICTIONS = (IMPLICIT, PRECISION, DEMANDS, RETURN_CODE)

# ---------------------------------------------------------------------- exercises


def machine_cases(scheme: str, zpages: int = 30) -> list[Any]:
    pool = machine_of_all(scheme, zpages)
    return [(pool.memmap.page(pfn), pool.memmap.owner.get(pfn, "free")) for pfn in pool.memmap.pfns]


def judge_translation(answer: Any) -> str:
    cases = [(p, owner) for scheme in (V12, "overlay-clear", "slab-flag") for p, owner in machine_cases(scheme)]
    high = Machine(V12, 0x9B2C3800, pages=24)  # links to a pool above 2 GiB: the lower half is negative
    cases += [(high.pool.memmap.page(pfn), "zbud") for pfn in sorted(high.pool.mine)]
    n = hold(
        answer,
        cases,
        lambda c: bool(implicit(c[0])),
        (
            M(
                "Each page has a count of its own",
                lambda c: not PageSlab(c[0]) and c[0]["_count"] > 0 and page_mapcount(c[0]) <= 0,
                "`page_count(p)` of a tail reads the count of its head.",
            ),
            M(
                "Allocated means not 0",
                lambda c: not PageSlab(c[0]) and page_count(c[0]) != 0 and page_mapcount(c[0]) <= 0,
                "The mail says `> 0`, and half a pointer is below.",
            ),
            M(
                "Not mapped means _mapcount at most 0",
                lambda c: not PageSlab(c[0]) and page_count(c[0]) > 0 and c[0]["_mapcount"] <= 0,
                "`_mapcount` counts from -1; 0 is mapped once.",
            ),
            M(
                "Slab's pages are in the class, too",
                lambda c: page_count(c[0]) > 0 and page_mapcount(c[0]) <= 0,
                "The mail excepts them.",
            ),
        ),
        arguments=lambda c: (View(c[0]),),
        words=lambda c: f"a page that is {c[1]}, {View(c[0])!r}",
    )
    return (
        f"{n} pages of four machines, and the same answer as the predicate's. Whether it tells zbud's is "
        f"another matter."
    )


TRANSLATE = Exercise(
    "translate-the-claim",
    "05",
    "fill in",
    "a sentence as a predicate",
    f"""The mail of 30 May, {SEED_MAIL}, describes a class of pages: allocated, not slab's, no userspace mapping. Write
    it as `unmapped_kernel(p)`, True or False, with the kernel's own accessors: `PageSlab`, `page_count` and
    `page_mapcount` of `zbudlab.struct_page`.""",
    "unmapped_kernel",
    """
def unmapped_kernel(p):
    ...
""",
    (
        "Three conditions, joined by and.",
        "Allocated is `page_count(p) > 0`; a user's mapping makes `page_mapcount(p)` 1 or more.",
        "A plain kernel page has page_count 1 and page_mapcount 0: True. A slab page: False.",
    ),
    judge_translation,
    """
from zbudlab.struct_page import PageSlab, page_count, page_mapcount


def unmapped_kernel(p):
    return not PageSlab(p) and page_count(p) > 0 and page_mapcount(p) <= 0
""",
    (
        Wrong(
            "from zbudlab.struct_page import *\ndef unmapped_kernel(p):\n"
            "    return not PageSlab(p) and page_count(p) != 0 and page_mapcount(p) <= 0",
            "Allocated means not 0",
        ),
        Wrong(
            "from zbudlab.struct_page import *\ndef unmapped_kernel(p):\n"
            "    return not PageSlab(p) and page_count(p) > 0 and p['_mapcount'] <= 0",
            "Not mapped means",
        ),
        Wrong(
            "from zbudlab.struct_page import *\ndef unmapped_kernel(p):\n    return page_count(p) > 0 and "
            "page_mapcount(p) <= 0",
            "Slab's pages are in the class",
        ),
        Wrong(
            "from zbudlab.struct_page import *\ndef unmapped_kernel(p):\n"
            "    return not PageSlab(p) and p['_count'] > 0 and page_mapcount(p) <= 0",
            "a count of its own",
        ),
    ),
)


def judge_recogniser(answer: Any) -> str:
    tally = Scene(zbud=0, right=0, others={})
    for zpages in (30, 44):
        for p, owner in machine_cases(V12, zpages):
            said = ask(answer, View(p), words=f"a page that is {owner}")
            tally.zbud += owner == "zbud"
            if said and owner == "zbud":
                tally.right += 1
            elif said:
                tally.others[owner] = tally.others.get(owner, 0) + 1
    recall = tally.right / tally.zbud
    recognised = tally.right + sum(tally.others.values())
    precision = tally.right / recognised if recognised else 0.0
    seen = f"recall {recall:.0%}, precision {precision:.0%}"
    if recall == precision == 1:
        return (
            f"{seen} on {tally.zbud} zbud pages among all others. v12 had a tag after all, one that nobody "
            f"decided upon: "
            "a count that cannot be."
        )
    because = ""
    if tally.others:
        mistaken = ", ".join(f"{n} {owner}" for owner, n in sorted(tally.others.items()))
        because = f"Nobody else has that sign. Others have it as well: {mistaken}."
    elif tally.right == 0:
        because = "The predicate of 30 May tells zbud's pages. On v12's bytes `page_count` is never above 0."
    else:
        because = "All of zbud's pages have that sign. Only some have, as with an odd first count."
    raise Refused(seen, "recall 100%, precision 100%", because)


RECOGNISE = Exercise(
    "recognise-v12",
    "05",
    "adversarial",
    "a recogniser that makes no mistake",
    """Write `is_zbud(p)` so that, on a machine with pages of every kind, it is True for each page of a v12 pool and
    for no other. It sees the record and nothing else. Recall and precision are to be 1.""",
    "is_zbud",
    """
def is_zbud(p):
    ...
""",
    (
        "v12 tags nothing. But which field of its pages has a value that no other page can have?",
        "A page in use has a `_count` above 0, a free page and a tail have 0.",
        'Print `p["_count"]` for a few pages of a pool: they are upper halves of pointers.',
    ),
    judge_recogniser,
    """
def is_zbud(p):
    return p["_count"] < 0
""",
    (
        Wrong(
            "from zbudlab.struct_page import *\ndef is_zbud(p):\n"
            "    return not PageSlab(p) and page_count(p) > 0 and page_mapcount(p) <= 0",
            "others have it as well",
        ),
        Wrong(
            "from zbudlab.struct_page import *\ndef is_zbud(p):\n    return PageAnon(p) and p['_count'] < 0",
            "only some have",
        ),
        Wrong("def is_zbud(p):\n    return p['_count'] != 1", "others have it as well"),
        Wrong("def is_zbud(p):\n    return False", "The predicate of 30 May tells"),
        Wrong("def is_zbud(p):\n    return p.memmap.owner", "AttributeError"),
    ),
)

OTHERS = [name for name in STRUCT_PAGE if name not in ("flags", "_count", "pfmemalloc", "first_page", "padding")]


def judge_counterexample(answer: Any) -> str:
    if not isinstance(answer, (list, tuple)) or len(answer) != 2 or not isinstance(answer[1], dict):
        raise Refused(f"`{shown(answer)}`", 'a reader and a dict of fields, such as `("show_mem", {"index": 7})`')
    reader, fields = answer
    if not isinstance(reader, str) or reader not in {**READERS, **PEEKERS}:
        raise Refused(f"the reader `{shown(reader)}`", f"one of {', '.join(READERS)}")
    meddled = [name for name in fields if name not in OTHERS]
    if meddled or not fields:
        raise Refused(
            f"the fields {', '.join(map(str, meddled)) or 'of an empty dict'}",
            f"some of {', '.join(OTHERS)}",
            "Any field may be changed. The claim is about all but `flags` and `_count`.",
        )
    plain, yours = at_a_plain_page(reader, {}), at_a_plain_page(reader, fields)
    wanted = "a reader that writes what it would not write to a plain kernel page, or crashes"
    if plain == yours:
        because = "Whatever stands there is looked at. This reader never asks for it, or takes the value for the same."
        raise Refused(f"{reader} says {plain.said} either way", wanted, because)
    if not yours.lost and plain.wrote == yours.wrote:
        because = (
            "Another answer is harm enough. It settles the claim. Nothing is damaged yet: take one that acts on it."
        )
        raise Refused(f"{reader} says {plain.said} of a plain kernel page, {yours.said} of yours", wanted, because)
    deed = "does not survive yours" if yours.lost else "writes something else to yours"
    return (
        f"{reader} says {plain.said} of a plain kernel page, and {deed}: {yours.said}. `flags` and `_count` were "
        "intact. So these two are not all that has to be left alone."
    )


class Came(NamedTuple):
    """What came of a reader's visit: its words, whether it was the kernel's end, and where it wrote what difference."""

    said: str
    lost: bool
    wrote: tuple[tuple[int, int, int], ...]


def at_a_plain_page(reader: str, fields: dict[str, int]) -> Came:
    """A reader sent to a kernel page in use with some fields changed."""
    m = Machine("inline-header", tenants=(), pages=16)
    p = m.pool.memmap.page(m.plain)
    for name, value in fields.items():
        p[name] = value
    visit = sent(m, reader, m.plain)
    wrote = tuple((address, size, after - before) for address, size, before, after in visit.writes)
    if visit.returned:
        return Came(f"{visit.value} ({visit.words or 'that is all'})", False, wrote)
    return Came(str(visit.oops or visit.stuck or visit.beyond), not visit.beyond, wrote)


COUNTEREXAMPLE = Exercise(
    "counterexample",
    "05",
    "adversarial",
    "two fields are not enough",
    f"""Jennings asks, {SEED_MAIL}, whether `flags` and `_count` are all that has to stay intact for the readers. Find a
    reader, and values of other fields, with which it does harm: it crashes at a kernel page in use, or writes there
    what it would not write otherwise. Give a pair: the reader's name (in READERS or PEEKERS), and a dict of fields.""",
    "found",
    "found = (..., {...: ...})",
    (
        "Which fields do the readers ask for? `READERS` and their stories name them. Those that report do not write.",
        "`migrate_scanner` follows `mapping` as a pointer. `memory_failure` looks for a free block by `_mapcount`.",
        'A value of `_mapcount` that means "free block" is -128. A `mapping` that leads nowhere is 9.',
    ),
    judge_counterexample,
    'found = ("migrate_scanner", {"mapping": 9})',
    (
        Wrong('found = ("show_mem", {"_mapcount": -128})', "never asks for it"),
        Wrong('found = ("makedumpfile", {"_mapcount": -128})', "Another answer is harm"),
        Wrong('found = ("dump31", {"mapping": 9})', "Nothing is damaged yet"),
        Wrong('found = ("kpagecount", {"_count": 5})', "Any field may be changed"),
        Wrong('found = ("kpageflags", {"mapping": 8})', "never asks for it"),
        Wrong('found = ("page-types", {"mapping": 9})', "the reader"),
        Wrong('found = "kpageflags"', "a reader and a dict"),
        Wrong('found = ("kpageflags", {"mapping": "odd"})', "TypeError"),
    ),
    wants="a reader and a dict of fields",
)

EXERCISES = (TRANSLATE, RECOGNISE, COUNTEREXAMPLE)
