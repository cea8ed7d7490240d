"""Notebook 04, peekers: what a reader concludes, what it writes, and what becomes of a pointer that it counted with."""

from __future__ import annotations

from functools import cache
from random import Random
from types import SimpleNamespace as Scene
from typing import Any

from ..demonstrate.judge import Scene as Machine
from ..demonstrate.readers import READERS, begin
from ..demonstrate.recogniser import mixed
from ..dress import dress
from ..memmap import KernelOops
from ..page import Page
from ..peekers import Visit
from ..peekers.report import KPF, kpf_names, makedumpfile
from ..struct_page import PageAnon, PageBuddy, PageLRU, PageSlab
from ..zbud import ZbudPool
from .book03 import counts
from .question import Misconception as M
from .question import Prediction
from .task import Exercise, Refused, Wrong, ask, hold, shown

V12 = "overlay-v12"


def machine(s: Any) -> Machine:
    return Machine(s.scheme, getattr(s, "place", 0x1B2C3800), tenants=[(s.first, s.last)], pages=16)


def only_page(m: Machine) -> int:
    return next(iter(m.pool.mine))


def sent(m: Machine, reader: str, pfn: int) -> Visit:
    """The visit of a reader, by its name in READERS or in PEEKERS, from beginning to end; what it does stays done."""
    visit = begin(reader, m.machine, pfn)
    for _ in visit:
        pass
    return visit


# ---------------------------------------------------------------------- by how much the pointer moves

MOVERS = ("soft_offline", "hwpoison-inject", "memory_failure", "page_cache", "makedumpfile", "show_mem")
DOES = {
    "soft_offline": "soft_offline_page is told to take the page out of use",
    "hwpoison-inject": "hwpoison-inject marks the page as broken",
    "memory_failure": "memory_failure hears that the page is broken",
    "page_cache": "somebody with an outdated pointer looks the page up in the page cache",
    "makedumpfile": "makedumpfile -d 31 reads the page's record from a dump",
    "show_mem": "SysRq-m is pressed, and show_mem counts the pages",
}


def v12_page(chance: Random) -> Scene:
    return Scene(
        scheme=V12,
        first=chance.randint(8, 30),
        last=chance.randint(8, 30),
        reader=chance.choice(MOVERS),
        place=0x1B2C3800,
    )


def moved(s: Any) -> int:
    m = machine(s)
    pfn = only_page(m)
    link = m.pool.memmap.record(pfn) + 24
    before = m.pool.memmap.load(link)
    sent(m, s.reader, pfn)
    return m.pool.memmap.load(link) - before


def highest(s: Any) -> int:
    """The farthest that the pointer is from where it was at any time of the visit."""
    m = machine(s)
    pfn = only_page(m)
    at = m.pool.memmap.record(pfn) + 24
    before = m.pool.memmap.load(at)
    ways = [m.pool.memmap.load(at) - before for _ in READERS[s.reader].visit(m.machine, pfn)]
    return max([0, *ways], key=abs)


def in_step(way: int) -> str:
    return "not at all" if way == 0 else f"by {'+' if way > 0 else '-'}{abs(way):#x}"


POINTER = Prediction(
    "pointer-moves",
    "04",
    v12_page,
    ask=lambda s: f"A page of v12, and {DOES[s.reader]}. When that is over, by how much has `buddy.prev` moved?",
    answer=moved,
    why=lambda s: (
        "`_count` is the upper half of `buddy.prev`, so a reference taken is 2**32 added to the pointer: four "
        "gigabytes. "
        f"{s.reader} "
        + {
            (True, True): "writes nothing there.",
            (
                True,
                False,
            ): f"had it {in_step(highest(s))[3:]} away for a while, and put it back; meanwhile zbud works with "
            f"the wrong one.",
            (False, True): "drops what it has not taken.",
            (False, False): f"ends {in_step(moved(s))[3:]} away.",
        }[moved(s) == 0, highest(s) == 0]
    ),
    wrong=(
        M("A count goes up by 1", lambda s: 1, "Bit 0 of `_count` is bit 32 of the pointer."),
        M("A reference is a record", lambda s: 64, "A reference is 1 in `_count`."),
        M("Readers only read", lambda s: 0, "Some take a reference first and ask questions later."),
        M("A reference once taken is kept", lambda s: 1 << 32, "Not every reader takes one, and most drop it again."),
        M(
            "It drops what it has not taken",
            lambda s: -(1 << 32),
            "Only hwpoison-inject does: it claims a reference that it lacks.",
        ),
    ),
    show=in_step,
    seed=3,
)

# ---------------------------------------------------------------------- what the reader concludes

READER_WORDS = {"makedumpfile": "makedumpfile -d 31", "show_mem": "show_mem"}
AS = ("kernel", "slab", "reserved", "anonymous", "page cache", "mapped file", "free", V12, "inline-header")
WHAT = {
    "kernel": "a plain kernel page in use",
    "slab": "a slab page",
    "reserved": "a page with PG_reserved",
    "anonymous": "a user's anonymous page",
    "page cache": "a page of a file that nobody maps",
    "mapped file": "a page of a file that two processes map",
    "free": "the first page of a free block",
}


def a_visit(chance: Random) -> Scene:
    first, last = chance.randint(8, 31), chance.randint(8, 30)
    what = chance.choice((V12, V12, V12, "inline-header", "slab", "page cache", "mapped file", "reserved"))
    return Scene(reader=chance.choice(list(READER_WORDS)), what=what, first=first, last=last, scheme=what)


def words_of(s: Any) -> str:
    if s.what in WHAT:
        return WHAT[s.what]
    return f"a page of zbud {'v12' if s.what == V12 else 'Linux 3.11'} with {s.first} and {s.last} chunks"


def concluded(s: Any, what: str) -> str:
    """What the reader says of such a page."""
    if what in (V12, "inline-header"):
        m = machine(Scene(scheme=what, first=s.first, last=s.last))
        pfn = only_page(m)
    else:
        m = Machine("inline-header", tenants=(), pages=16)
        pfn = m.plain
        if what == "free":
            pfn = next(p for p in m.pool.memmap.pfns if PageBuddy(m.pool.memmap.page(p)))
        else:
            dress(m.pool.memmap, pfn, what)
    return sent(m, s.reader, pfn).words


def mistaken_for(what: str, name: str, but: str = "") -> M:
    return M(
        name, lambda s: concluded(s, what), but or "The record has to say so, in the fields that this reader asks for."
    )


CONCLUDES = Prediction(
    "what-it-concludes",
    "04",
    a_visit,
    ask=lambda s: f"{READER_WORDS[s.reader]} comes to {words_of(s)}. What does it conclude?",
    answer=lambda s: concluded(s, s.what),
    why=lambda s: (
        f"It asks in its own order, and the first answer that settles it ends it: {concluded(s, s.what)}. Nobody tells "
        "it whose page it is; there are only the fields."
    ),
    wrong=(
        mistaken_for("kernel", "It knows whose page it is", "It sees the record and nothing else."),
        mistaken_for("anonymous", "It passes for a user's page"),
        mistaken_for("free", "It passes for a free page"),
        mistaken_for("reserved", "It passes for a page that is nobody's business"),
        mistaken_for("page cache", "It passes for a page of a file"),
        mistaken_for("mapped file", "It passes for a page that several users share"),
    ),
    seed=9,
)

# ---------------------------------------------------------------------- which bits kpageflags shows


def flagged_page(chance: Random) -> Scene:
    return Scene(
        scheme=chance.choice((V12, V12, V12, "slab-flag", "inline-header")),
        first=chance.randint(8, 31),
        last=chance.randint(8, 30),
        place=chance.choice((0x1B2C3800, 0x9B2C3800)),
    )


def kpageflags(s: Any, **change: Any) -> str:
    m = machine(Scene(**(vars(s) | change)))
    return names(sent(m, "kpageflags", only_page(m)).value)


def names(value: int) -> str:
    return ", ".join(kpf_names(value)) or "no bit"


BITS = Prediction(
    "kpageflags-bits",
    "04",
    flagged_page,
    ask=lambda s: (
        f"A zbud page under the scheme {s.scheme}, {s.first} chunks in FIRST and {s.last} in LAST, the pool at "
        f"physical "
        f"address {s.place:#x}. Which bits does /proc/kpageflags show?"
    ),
    answer=kpageflags,
    why=lambda s: (
        "MMAP if the page is not slab's and `_mapcount` is 0 or more; ANON if `mapping` is odd, KSM if both of its low "
        f"bits are set; then the flags. Under {s.scheme}: {kpageflags(s)}."
    ),
    wrong=(
        M("It knows a zbud page when it sees one", lambda s: "no bit", "It reads fields that have been written over."),
        M(
            "The last count makes it anonymous",
            lambda s: kpageflags(s, first=s.last, last=s.first),
            "`first_chunks` lies on the low bits of `mapping`.",
        ),
        M(
            "The pool's address does not matter",
            lambda s: kpageflags(s, place=s.place ^ 0x80000000),
            "The lower half of the link is read as `_mapcount`: from 2 GiB on it is negative, that is, not mapped.",
        ),
        M("Every scheme looks like v12", lambda s: kpageflags(s, scheme=V12), "Another scheme lies on other bytes."),
        M(
            "A page that is owned has PG_slab",
            lambda s: names(1 << KPF["SLAB"]),
            "Only slab sets it, and the proposal of 30 May 2013, <20130530174344.GA15837@medulla>.",
        ),
        M("What is in use is mapped", lambda s: names(1 << KPF["MMAP"]), "MMAP says that page tables lead to it."),
    ),
    seed=15,
)

# ---------------------------------------------------------------------- and then zbud goes on


def reader_then_zbud(chance: Random) -> Scene:
    return Scene(
        scheme=chance.choice((V12, V12, V12, "inline-header", "overlay-clear")),
        first=chance.randint(8, 30),
        last=0,
        reader=chance.choice(("soft_offline", "hwpoison-inject", "memory_failure")),
    )


def aftermath(s: Any) -> str:
    """The reader comes, then the page's only tenant is freed."""
    m = machine(s)
    pfn = only_page(m)
    sent(m, s.reader, pfn)
    (tenant,) = m.pool.tenants.values()
    try:
        m.pool.free(tenant)
    except KernelOops:
        return "the kernel crashes in list_del"
    return "the page is freed, as ever" if pfn not in m.pool.memmap.owner else "zbud goes on, but the page is lost"


AFTERMATH = Prediction(
    "and-then-zbud",
    "04",
    reader_then_zbud,
    ask=lambda s: (
        f"The scheme is {s.scheme}, the page has one tenant, and {DOES[s.reader]}. Then zbud frees the tenant. What "
        "happens?"
    ),
    answer=aftermath,
    why=lambda s: (
        "To free the tenant, zbud unlinks the page and gives it back. If a link was counted with, the unlink writes to "
        "wherever it leads now. If only a count or a flag is off, the page is lost, unless zbud restores that field, "
        "as it does where it has laid data over the record. Here: "
        f"{aftermath(s)}."
    ),
    wrong=(
        M(
            "The reader has put everything back",
            lambda s: "the page is freed, as ever",
            "It has left a count or a flag.",
        ),
        M(
            "A damaged count always crashes",
            lambda s: "the kernel crashes in list_del",
            "Only where the count is part of a pointer, and stays damaged. In its own place it is a leak.",
        ),
        M(
            "A wrong count is a leak, no more",
            lambda s: "zbud goes on, but the page is lost",
            "Under v12 the count is the upper half of a link.",
        ),
        M("zbud sees that the link is wrong", lambda s: "zbud reports an error", "It follows the link."),
    ),
    seed=1,
)

PREDICTIONS = (POINTER, CONCLUDES, BITS, AFTERMATH)

# ---------------------------------------------------------------------- exercises


@cache
def machine_of_all(scheme: str, zpages: int = 30) -> ZbudPool:
    """A small machine with pages of all kinds, and zbud's among them.  Nobody writes to it."""
    return mixed(scheme, zpages)


class View:
    """A record as a reader has it: fields by name and the head, but not the owner.

    What is written is noted, and read back here, but the page itself stays as it is.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._written: dict[str, int] = {}
        self.writes: list[tuple[str, int]] = []

    def __getitem__(self, name: str) -> int:
        return self._written[name] if name in self._written else self._page[name]

    def __setitem__(self, name: str, value: int) -> None:
        self.writes.append((name, value - self[name]))
        self._written[name] = value

    def head(self) -> View:
        head = self._page.head()
        return self if head is self._page else View(head)

    def __repr__(self) -> str:
        known = [name for name in ("_mapcount", "_count", "_refcount") if name in self._page.memmap.layout]
        numbers = ", ".join(f"{name} {self[name]}" for name in known)
        return f"<record: flags {self['flags']:#x}, mapping {self['mapping']:#x}, {numbers}>"


@cache
def dump_cases() -> list[tuple[Page, int]]:
    """Records of all kinds, some of them with two marks, and what makedumpfile -d 24 makes of each."""
    memmap = mixed(V12).memmap
    spare = [pfn for pfn in memmap.pfns if memmap.owner.get(pfn) == "kernel"]
    for pfn in spare[:2]:
        dress(memmap, pfn, "slab", _mapcount=-128)
    dress(memmap, spare[2], "kernel", _mapcount=-128, mapping=9)
    dress(memmap, spare[3], "kernel", _mapcount=-129)
    peeker = makedumpfile(24)
    return [(memmap.page(pfn), int(peeker.visit(memmap, pfn).value)) for pfn in memmap.pfns]


def judge_left_out(answer: Any) -> str:
    cases = dump_cases()
    n = hold(
        answer,
        cases,
        lambda c: c[1],
        (
            M(
                "User data comes first",
                lambda c: 8 if PageAnon(c[0]) else 16 if PageBuddy(c[0]) and not PageSlab(c[0]) else 0,
                "Free pages are asked about first; a record with both marks is called free.",
            ),
            M(
                "-128 is a free block, whoever's page it is",
                lambda c: 16 if PageBuddy(c[0]) else 8 if PageAnon(c[0]) else 0,
                "SLUB keeps counters where `_mapcount` is; -128 there means nothing.",
            ),
            M(
                "A count of 0 is free",
                lambda c: 16 if c[0]["_count"] == 0 else 8 if PageAnon(c[0]) else 0,
                "Pages on a per-cpu list and tails have 0 as well; the reader asks for -128.",
            ),
            M(
                "page_mapcount() is what is stored",
                lambda c: 16 if c[0]["_mapcount"] == -129 else 8 if PageAnon(c[0]) else 0,
                "`page_mapcount()` is one more: -127 for a free block.",
            ),
        ),
        arguments=lambda c: (View(c[0]),),
    )
    zbuds = sum(value == 8 and page.memmap.owner.get(page.pfn) == "zbud" for page, value in cases)
    return (
        f"{n} records. {zbuds} of zbud's pages are left out as user data: your reader believes an odd `mapping`, too."
    )


LEFT_OUT_TASK = Exercise(
    "left-out",
    "04",
    "fill in",
    "a reader in three questions",
    """Write `left_out(p)` as makedumpfile -d 24 asks: first, is it the first page of a free block? That is, not a slab
    page, and `_mapcount` -128; then return 16. Next, is it user data? That is, `mapping` odd; then return 8.
    Otherwise it is in the dump: 0. Fields are read by name, such as `p["_mapcount"]`.""",
    "left_out",
    """
def left_out(p):
    ...
""",
    (
        "Three questions in a row, and the first that is answered with yes returns. `zbudlab.struct_page` has them.",
        "`PageBuddy(p)` asks for -128, and so may a slab page look by accident. `PageAnon(p)` asks for the odd "
        "mapping.",
        "A slab page with `_mapcount` -128 and `mapping` 0 stays in the dump: 0.",
    ),
    judge_left_out,
    """
from zbudlab.struct_page import PageAnon, PageBuddy, PageSlab


def left_out(p):
    if not PageSlab(p) and PageBuddy(p):
        return 16
    return 8 if PageAnon(p) else 0
""",
    (
        Wrong(
            "from zbudlab.struct_page import *\ndef left_out(p):\n    if PageAnon(p):\n        return 8\n"
            "    return 16 if PageBuddy(p) and not PageSlab(p) else 0",
            "User data comes first",
        ),
        Wrong(
            "from zbudlab.struct_page import *\ndef left_out(p):\n    if PageBuddy(p):\n        return 16\n"
            "    return 8 if PageAnon(p) else 0",
            "-128 is a free block, whoever",
        ),
        Wrong(
            "from zbudlab.struct_page import *\ndef left_out(p):\n    if p['_count'] == 0:\n        return 16\n"
            "    return 8 if PageAnon(p) else 0",
            "A count of 0 is free",
        ),
        Wrong(
            "from zbudlab.struct_page import *\ndef left_out(p):\n    if page_mapcount(p) == -128:\n        return 16\n"
            "    return 8 if PageAnon(p) else 0",
            "page_mapcount() is what is stored",
        ),
        Wrong("def left_out(p):\n    return 16 if p['count'] == 0 else 0", "KeyError"),
    ),
)


def judge_drop(pages: Any) -> str:
    if not isinstance(pages, (list, tuple)) or len(pages) < 3 or not all(map(counts, pages)):
        wanted = "three or more pairs (first, last), such as `[(20, 30), (20, 31), (20, 32)]`, "
        wanted += "each count at least 1, together at most 64"
        raise Refused(f"`{shown(pages)}`", wanted)
    for first, last in pages:
        m = machine(Scene(scheme=V12, first=first, last=last))
        bits = kpf_names(sent(m, "kpageflags", only_page(m)).value)
        words = sent(m, "makedumpfile", only_page(m)).words
        if words == "in the dump":
            because = (
                "An odd last count does it, too. The last count begins at bit 16 of `mapping`." if last % 2 else ""
            )
            raise Refused(f"({first}, {last}) is in the dump", "every page left out as user data", because)
        if "KSM" in bits:
            because = "Any odd count will do. 3 modulo 4 sets both low bits."
            raise Refused(f"kpageflags shows KSM for ({first}, {last})", "ANON without KSM", because)
    if len({first for first, _ in pages}) < 3:
        raise Refused("fewer than three first counts", "three different ones", "There are many: 1 modulo 4.")
    return f"{len(pages)} pages in use, and after a crash none of them is in the dump: each is left out as user data."


DROP = Exercise(
    "drop-my-page",
    "04",
    "adversarial",
    "pages that vanish from the dump",
    """Choose chunk counts of three or more pages of v12, as pairs (first, last) with different first counts, so that
    makedumpfile -d 31 leaves every one of them out, while /proc/kpageflags shows KSM for none.""",
    "pages",
    "pages = [...]",
    (
        "Which of the three fields that the dump filter asks about has zbud written over?",
        "It drops user data, which is what has bit 0 of `mapping` set. KSM is bits 0 and 1 together.",
        "9 is 0b1001: odd, and bit 1 is not set. 11 is 0b1011.",
    ),
    judge_drop,
    "pages = [(9, 19), (13, 20), (21, 30)]",
    (
        Wrong("pages = [(8, 19), (12, 21), (20, 31)]", "An odd last count does it, too"),
        Wrong("pages = [(9, 19), (11, 20), (21, 30)]", "Any odd count will do"),
        Wrong("pages = [(9, 19), (9, 20), (9, 30)]", "three different ones"),
        Wrong("pages = [9, 13, 21]", "pairs (first, last)"),
        Wrong("pages = [(1, 0), (9, 19), (13, 20)]", "each count at least 1"),
    ),
    wants="a list of pairs of chunk counts",
)


def judge_careful(answer: Any) -> str:
    n = 0
    pool = machine_of_all(V12)
    for pfn in pool.memmap.pfns:
        page, owner = pool.memmap.page(pfn), pool.memmap.owner.get(pfn, "free")
        view = View(page)
        lru = bool(PageLRU(page))
        said = ask(answer, view, words=f"a page that is {owner}")
        if said is not True and said is not False:
            raise Refused(f"`{shown(said)}` for a page that is {owner}", "True or False")
        if said != lru:
            raise Refused(f"{said} for a page that is {owner}", f"{lru}", "The LRU flag is the question.")
        ways = [way for name, way in view.writes if name == "_count"]
        if not lru and view.writes:
            left = sum(ways)
            because = (
                "Nothing is owed on the way out. A reference is kept there. soft_offline_page of Linux 3.10 does that."
                if left
                else "What is given back does no harm. It was wrong for a while, and zbud went on meanwhile: ask "
                "first, and take later."
            )
            raise Refused(
                f"a page off the LRU ({owner}) is written to: {view.writes}", "nothing written to it", because
            )
        if lru and ways != [1, -1]:
            because = (
                "To look, one need not hold the page. A page that nobody holds can be freed while it is looked at."
            )
            raise Refused(
                f"`_count` changes by {ways or 'nothing'}",
                "+1, then -1, on a page of the LRU",
                because if not ways else "",
            )
        n += 1
    return (
        f"{n} pages, and nobody's link has moved. mm/memory-failure.c of Linux 6.1 asks in this order: the kind, then "
        "the reference. On a real machine the page may leave the LRU between the two: there one takes the reference "
        "and asks once more."
    )


CAREFUL = Exercise(
    "careful-reader",
    "04",
    "bug hunt",
    "a reader that does no harm",
    """`movable(p)` should say whether a page is on the LRU, and hold a reference while it is at work on one that is.
    On a machine with pages of v12 it does damage, in two ways. Mend it, so that no page off the LRU is ever written
    to.""",
    "movable",
    """
from zbudlab.struct_page import PageLRU


def movable(p):
    p["_count"] += 1
    if not PageLRU(p):
        return False
    p["_count"] -= 1
    return True
""",
    (
        "For which pages is the reference never dropped?",
        "And for those where it is dropped: whose bytes was it, in the meantime?",
        "Ask first. Take the reference only of a page that is on the LRU, and drop it at the end.",
    ),
    judge_careful,
    """
def movable(p):
    if not PageLRU(p):
        return False
    p["_count"] += 1
    p["_count"] -= 1
    return True
""",
    (
        Wrong(
            "from zbudlab.struct_page import PageLRU\ndef movable(p):\n    p['_count'] += 1\n    found = PageLRU(p)\n"
            "    p['_count'] -= 1\n    return found",
            "What is given back does no harm",
        ),
        Wrong(
            "from zbudlab.struct_page import PageLRU\ndef movable(p):\n    p['_count'] += 1\n    return PageLRU(p)",
            "a reference is kept",
        ),
        Wrong(
            "from zbudlab.struct_page import PageLRU\ndef movable(p):\n    return PageLRU(p)",
            "one need not hold the page",
        ),
        Wrong("def movable(p):\n    return p['_count'] > 0", "The LRU flag is the question"),
    ),
)

EXERCISES = (LEFT_OUT_TASK, DROP, CAREFUL)
