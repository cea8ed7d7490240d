"""Notebook 03, a record with variants: the same bytes under two sets of names."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace as Scene
from typing import Any

from ..demonstrate.judge import Scene as Machine
from ..demonstrate.recogniser import implicit
from ..memmap import DIRECT_MAP, KernelOops, Memmap
from ..page import Page
from ..page_alloc import put_and_prepare
from ..struct_page import (
    CHUNK,
    LIST_POISON2,
    STRUCT_PAGE,
    ZBUD_PAGE,
    Layout,
    PageAnon,
    PageKsm,
    page_count,
    page_mapcount,
    s32,
)
from ..timeline import Timeline
from ..versions import Handle, ZbudError
from ..zbud import ZbudPool
from .book01 import picture
from .question import Misconception as M
from .question import Prediction
from .task import Exercise, Refused, Wrong, ask, hold, shown

V12 = "overlay-v12"


def halves_of(link: int) -> tuple[int, int]:
    """_mapcount and _count of a record whose bytes 24 to 31 hold a link, by the memmap."""
    memmap = Memmap(1)
    memmap.store(memmap.record(0) + 24, link)
    return memmap.page(0)["_mapcount"], memmap.page(0)["_count"]


# ---------------------------------------------------------------------- a count that is not one


def neighbours(chance: Random) -> Scene:
    """A page on a list: behind the head, behind another page, or taken off it by reclaim."""
    pool = ZbudPool("v12", 8)
    chunks = chance.randint(33, 56)
    for _ in range(chance.randint(2, 3)):
        pool.alloc(chunks * CHUNK)
    pages = list(pool.walk(pool.unbuddied(pool.capacity - chunks)))
    where = chance.choice(("head", "page", "reclaim"))
    pfn = pages[0] if where == "head" else pages[-1]
    words = {
        "head": "the first on its list",
        "page": "the last on its list, and not alone there",
        "reclaim": "being evicted: reclaim has taken it off its list",
    }
    return Scene(pool=pool, pfn=pfn, where=where, words=words[where])


def count_seen(s: Any) -> int:
    """What page_count answers; of a page being evicted, from inside the evictor."""
    record = s.pool.memmap.page(s.pfn)
    if s.where != "reclaim":
        return int(page_count(record))
    seen = []

    def evict(pool: ZbudPool, handle: Handle) -> int:
        seen.append(int(page_count(record)))
        return -16

    s.pool.evict = evict
    try:
        s.pool.reclaim(1)
    except ZbudError:
        return seen[0]
    raise AssertionError("an evictor that refuses was obeyed")


LEADS = {  # where buddy.prev leads, and the upper half of it
    "head": "leads to a list's head in the pool here: its upper half is 0xffff8800",
    "page": "leads to another page's record here: its upper half is 0xffffea00",
    "reclaim": "`list_del` has poisoned here: its upper half is 0xdead0000",
}

PAGE_COUNT = Prediction(
    "page-count",
    "03",
    neighbours,
    ask=lambda s: f"A pool of v12. What does `page_count()` answer for p{s.pfn}, {s.words}?",
    answer=count_seen,
    why=lambda s: (
        f"`_count` lies on the upper half of `buddy.prev`, which {LEADS[s.where]}. As a signed 32-bit number that is "
        f"{count_seen(s)}."
    ),
    wrong=(
        M("zbud holds the page, so it is counted once", lambda s: 1, "zbud has written a pointer over the count."),
        M("Nobody counts, so it is 0", lambda s: 0, "0 would mean free. Something is there: half a pointer."),
        M(
            "One for each buddy",
            lambda s: len([h for h in s.pool.tenants.values() if h.pfn == s.pfn]) + 1,
            "Tenants are not counted in `_count`.",
        ),
        M(
            "The link leads to the pool",
            lambda s: s32(s.pool.address >> 32),
            "It leads to a list's head there, and only from the first page on that list.",
        ),
        M(
            "The link leads to another page",
            lambda s: s32(s.pool.memmap.record(s.pfn) >> 32),
            "That holds of a page that is on a list, and is not the first there.",
        ),
    ),
    picture=picture,
    seed=2,
)

# ---------------------------------------------------------------------- which field lies there


def some_byte(chance: Random) -> Scene:
    return Scene(byte=chance.choice([n for n in range(8, 48) if n not in range(12, 16)]))


def name_at(layout: Layout, byte: int) -> str:
    names = [f.name for f in layout.covering(byte) if f.name != "pfmemalloc"]
    return names[0] if names else "nothing"


def names_at(byte: int) -> str:
    return f"`{name_at(STRUCT_PAGE, byte)}` and `{name_at(ZBUD_PAGE, byte)}`"


def fields_at(layout: Layout, byte: int) -> str:
    """The fields that have a byte, with all of theirs: "`_count` (bytes 28 to 31)"."""
    return " and ".join(
        f"`{f.name}` (byte{f' {f.offset}' if f.size == 1 else f's {f.offset} to {f.offset + f.size - 1}'})"
        for f in layout.covering(byte)
    )


FIELD = Prediction(
    "which-field",
    "03",
    some_byte,
    ask=lambda s: (
        f"Byte {s.byte} of the record of a page in a v12 pool. What does the kernel call what lies there, and "
        f"what does "
        "zbud?"
    ),
    answer=lambda s: names_at(s.byte),
    why=lambda s: f"The kernel: {fields_at(STRUCT_PAGE, s.byte)}. zbud: {fields_at(ZBUD_PAGE, s.byte)}.",
    wrong=(
        M("Byte 0 is the first one behind `flags`", lambda s: names_at(s.byte + 8), "`flags` are bytes 0 to 7."),
        M(
            "The words are numbered from 1",
            lambda s: names_at(s.byte - 8) if s.byte > 15 else None,
            "Byte 0 is the first.",
        ),
        M(
            "The upper half comes first",
            lambda s: f"`{name_at(STRUCT_PAGE, s.byte ^ 4)}` and `{name_at(ZBUD_PAGE, s.byte)}`",
            "x86_64 is little endian: the lower half of a word lies at the lower address.",
        ),
        M(
            "The two orders are the same",
            lambda s: f"`{name_at(STRUCT_PAGE, s.byte)}` and `{('lru.next', 'buddy.next')[s.byte > 31]}`",
            "zbud's order is its own: chunk counts, buddy, lru.",
        ),
    ),
    seed=37,
)

# ---------------------------------------------------------------------- odd is anonymous


def two_counts(chance: Random) -> Scene:
    return Scene(first=chance.randint(5, 31), last=chance.randint(0, 30))


def record_of(s: Any) -> Page:
    machine = Machine(V12, tenants=[(s.first, s.last)], pages=8)
    return machine.pool.memmap.page(next(iter(machine.pool.mine)))


NEITHER, ANON, KSM = "neither", "anonymous", "anonymous, and merged by KSM"


def taken_for(p: Page) -> str:
    return KSM if PageKsm(p) else ANON if PageAnon(p) else NEITHER


def by_bits(bits: int) -> str:
    return (NEITHER, ANON, NEITHER, KSM)[bits & 3]


ANONYMOUS = Prediction(
    "anonymous",
    "03",
    two_counts,
    ask=lambda s: (
        f"A page of a v12 pool with {s.first} chunks in FIRST and {s.last} in LAST. What do `PageAnon` and `PageKsm` "
        "make of it?"
    ),
    answer=lambda s: taken_for(record_of(s)),
    why=lambda s: (
        f"`first_chunks` is the low half of the low half of `mapping`: {s.first} is 0b{s.first:06b}. Bit 0 set says "
        f"anonymous, both low bits say KSM. `mapping` reads {record_of(s)['mapping']:#x}."
    ),
    wrong=(
        M(
            "Nobody has marked it, so it is neither",
            lambda s: NEITHER,
            "The kernel asks for a bit, not for who set it.",
        ),
        M("The last count decides", lambda s: by_bits(s.last), "`last_chunks` begins at bit 16 of `mapping`."),
        M("The sum decides", lambda s: by_bits(s.first + s.last), "The two counts lie side by side."),
        M("Odd is all there is to it", lambda s: ANON if s.first % 2 else NEITHER, "Bit 1 is asked for as well."),
        M("Any pointer is anonymous memory", lambda s: ANON, "Only bit 0 says so."),
        M("Any odd value is KSM's", lambda s: KSM if s.first % 2 else None, "KSM is told by both low bits."),
    ),
    seed=10,
)

# ---------------------------------------------------------------------- what mapping reads as

MAPPING = Prediction(
    "mapping-value",
    "03",
    two_counts,
    ask=lambda s: (
        f"A page of a v12 pool with {s.first} chunks in FIRST and {s.last} in LAST. What number is `mapping`?"
    ),
    answer=lambda s: record_of(s)["mapping"],
    why=lambda s: (
        f"Bytes 8 and 9 hold {s.first:#x}, bytes 10 and 11 hold {s.last:#x}, lowest byte first: {s.first} + 65536 * "
        f"{s.last} = {s.first + 65536 * s.last:#x}."
    ),
    wrong=(
        M("Highest byte first", lambda s: s.first << 16 | s.last, "x86_64 is little endian."),
        M("A byte for each count", lambda s: s.first | s.last << 8, "The counts are 16 bits wide."),
        M("A word for each count", lambda s: s.first | s.last << 32, "The counts are 16 bits wide."),
        M("zbud leaves it NULL", lambda s: 0, "v12 lays its counts over it."),
    ),
    show=lambda value: f"{value:#x}",
    seed=1,
)

# ---------------------------------------------------------------------- two counts from one pointer


def some_link(chance: Random) -> Scene:
    heads = 0xFFFF880000000000 + (chance.randint(0x8000, 0x9FFFF) << 12) + 8 + 16 * chance.randint(0, 63)
    records = 0xFFFFEA0000000000 + 64 * chance.randint(0x8000, 0x9FFFF) + 16
    return Scene(link=chance.choice((heads, records)))


def pair(low: int, high: int) -> str:
    return f"{low} and {high}"


HALVES = Prediction(
    "halves-of-a-link",
    "03",
    some_link,
    ask=lambda s: f"`buddy.prev` is {s.link:#x}. What are `_mapcount` and `_count`?",
    answer=lambda s: pair(*halves_of(s.link)),
    why=lambda s: (
        f"Lowest byte first: bytes 24 to 27 hold {s.link & 0xFFFFFFFF:#010x}, which is `_mapcount`, bytes 28 to "
        f"31 hold "
        f"{s.link >> 32:#x}, which is `_count`. Both are signed 32-bit numbers, so 0x80000000 and above are negative."
    ),
    wrong=(
        M(
            "The upper half comes first",
            lambda s: pair(*reversed(halves_of(s.link))),
            "x86_64 is little endian, and `_mapcount` lies at the lower address.",
        ),
        M("Counts have no sign", lambda s: pair(s.link & 0xFFFFFFFF, s.link >> 32), "Both are C ints."),
        M("The kernel set them before", lambda s: pair(-1, 1), "zbud has written a pointer there since."),
        M(
            "_mapcount is one more than what is stored",
            lambda s: pair(halves_of(s.link)[0] + 1, halves_of(s.link)[1]),
            "That is what `page_mapcount()` answers.",
        ),
    ),
    seed=1,
)

# ---------------------------------------------------------------------- the rule of 30 May

LAYOUTS = {  # what the pool is called, to its version and scheme
    "v12": ("v12", None),
    "v12, its fields moved off `_mapcount` and `_count`": ("v12", "overlay-clear"),
    "Linux 3.11, which keeps its data in the pages themselves": ("linux-3.11", None),
}


def some_pages(chance: Random) -> Scene:
    """A pool under one of three layouts, below or above 2 GiB, with pages that have one tenant and pages with two."""
    words = chance.choice(list(LAYOUTS))
    version, scheme = LAYOUTS[words]
    at = chance.choice((0x1B2C3800, 0x9B2C3800))
    pool = Timeline(version, 16, scheme=scheme, address=DIRECT_MAP + at).pool
    for _ in range(9):
        pool.alloc(chance.randint(5, 56) * CHUNK)
    return Scene(pool=pool, words=words, pages=[pool.memmap.page(pfn) for pfn in sorted(pool.mine)])


def keep_it(s: Any) -> int:
    return sum(bool(implicit(p)) for p in s.pages)


KEEPS = Prediction(
    "keeps-the-rule",
    "03",
    some_pages,
    ask=lambda s: (
        f"A pool of {s.words}, with {len(s.pages)} pages. Of how many of them is the rule true: "
        "`!PageSlab(p) && page_count(p) > 0 && page_mapcount(p) <= 0`?"
    ),
    answer=keep_it,
    why=lambda s: (
        "`page_count(p) > 0` is false of each: their `_count` is the upper half of a link, and the address of a record "
        "or of a list's head, cut in the middle, is below 0."
        if keep_it(s) == 0
        else "Nothing lies over `_mapcount` and `_count`: they say what the page allocator wrote, -1 and 1."
    ),
    wrong=(
        M(
            "It was made for zbud's pages, so it is true of them",
            lambda s: len(s.pages),
            "It is true of pages in which `_count` and `_mapcount` are counts.",
        ),
        M(
            "A page that looks anonymous breaks it",
            lambda s: sum(not PageAnon(p) for p in s.pages),
            "The rule does not ask for `mapping`.",
        ),
        M(
            "A page with room left is not in use",
            lambda s: sum(all(s.pool.chunks(p.pfn)) for p in s.pages),
            "Chunks are zbud's affair; the rule asks for two counts of the kernel's.",
        ),
        M(
            "`page_mapcount` alone decides",
            lambda s: sum(page_mapcount(p) <= 0 for p in s.pages),
            "`page_count` is asked as well.",
        ),
        M(
            "Only a link to another page spoils the count",
            lambda s: None if keep_it(s) else sum(p["_count"] == s32(s.pool.address >> 32) for p in s.pages),
            "0xffff8800, the upper half of a link to the pool, is below 0 as well.",
        ),
        M("None of zbud's pages can keep it", lambda s: 0, "They can where zbud writes over neither count."),
    ),
    picture=picture,
    seed=1,
)

# ---------------------------------------------------------------------- one user, zbud


def well_meant(chance: Random) -> Scene:
    """A pool of full pages; somebody writes a count into one of them, and zbud frees a tenant, there or elsewhere."""
    pool = Timeline("v12", 8, address=DIRECT_MAP + 0x1B2C3800).pool
    for _ in range(3):
        first = chance.randint(9, 31)
        pool.alloc(first * CHUNK)
        pool.alloc(chance.randint(33, 64 - first) * CHUNK)
    written = chance.randrange(3)
    freed = chance.choice((written, written, (written + 1) % 3))
    tenant = next(h for h in pool.tenants.values() if (h.pfn, h.slot) == (freed, "FIRST"))
    link = pool.memmap.load(pool.data.buddy(written) + 8)
    return Scene(pool=pool, written=written, freed=freed, tenant=tenant, link=link, count=chance.randint(1, 2))


def oops_at(address: int) -> str:
    return f"an oops: nothing is at {address:#018x}"


def moves(s: Any) -> str:
    return f"nothing bad: p{s.freed} moves to `unbuddied[{64 - s.pool.chunks(s.freed)[1]}]`"


def what_happens(s: Any) -> str:
    """Write the count, free the tenant, and see."""
    words = moves(s)
    s.pool.memmap.page(s.written)["_count"] = s.count
    try:
        s.pool.free(s.tenant)
    except KernelOops as oops:
        return oops_at(oops.address)
    return words


ONE_USER = Prediction(
    "one-user",
    "03",
    well_meant,
    ask=lambda s: (
        f"A reader expects a count above 0. So somebody writes {s.count} into `_count` of p{s.written}, and "
        f"then zbud frees FIRST of p{s.freed}. What happens?"
    ),
    answer=what_happens,
    why=lambda s: (
        f"To free a tenant zbud takes its page off its list, and goes where `buddy.prev` leads. That was "
        f"{s.link:#x}; with {s.count} for its upper half it is {s.count << 32 | s.link & 0xFFFFFFFF:#018x}."
        if s.written == s.freed
        else f"zbud takes p{s.freed} off its list, and goes where that page's two links lead: nobody spoilt those."
    ),
    wrong=(
        M(
            "`_count` is the kernel's, and zbud does not look at it",
            moves,
            "In v12 it is half of a link that zbud follows.",
        ),
        M(
            "The count is all of the link now",
            lambda s: oops_at(s.count),
            "It is the upper half; the lower one is as it was.",
        ),
        M(
            "The upper half comes first",
            lambda s: oops_at(s.link & ~0xFFFFFFFF | s.count),
            "The lowest byte lies first, so `_count`, at the higher address, is the upper half.",
        ),
        M(
            "Each link of the list is followed",
            lambda s: oops_at(s.count << 32 | s.link & 0xFFFFFFFF),
            "To take a page off its list is to follow that page's own two links.",
        ),
        M(
            "A tenant less is a user less",
            lambda s: f"p{s.freed} goes back to the page allocator",
            "zbud does not count in `_count`, and the page has another tenant.",
        ),
    ),
    picture=picture,
    seed=1,
)

PREDICTIONS = (PAGE_COUNT, FIELD, ANONYMOUS, MAPPING, HALVES, KEEPS, ONE_USER)

# ---------------------------------------------------------------------- exercises


def judge_halves(answer: Any) -> str:
    chance = Random("halves")
    links = [0xFFFF88001B2C3C08, 0xFFFFEA000048E650, LIST_POISON2, 0xFFFF88009B2C3C08]
    links += [some_link(chance).link for _ in range(20)]
    n = hold(
        answer,
        [(link,) for link in links],
        lambda c: halves_of(c[0]),
        (
            M(
                "The upper half comes first",
                lambda c: halves_of(c[0])[::-1],
                "The lower half lies at the lower address.",
            ),
            M(
                "Neither half has a sign",
                lambda c: (c[0] & 0xFFFFFFFF, c[0] >> 32),
                "0x80000000 and above are negative.",
            ),
            M(
                "Only the upper half has a sign",
                lambda c: (c[0] & 0xFFFFFFFF, halves_of(c[0])[1]),
                "`_mapcount` is signed too; a pool above 2 GiB shows it.",
            ),
        ),
        arguments=lambda c: tuple(c),
        words=lambda c: f"`halves({c[0]:#x})`",
    )
    return (
        f"{n} links, read as the kernel reads them. `_count` is below 0 in each: it is the upper half of a "
        f"kernel address."
    )


HALVES_TASK = Exercise(
    "halves",
    "03",
    "fill in",
    "a pointer, read as two counts",
    """`buddy.prev` lies on bytes 24 to 31 of the record; `_mapcount` on 24 to 27, `_count` on 28 to 31. Write
    `halves(link)`: the pair (`_mapcount`, `_count`) that the kernel reads there.""",
    "halves",
    "def halves(link):\n    ...",
    (
        "Which half of the number lies at the lower address?",
        "Take 32 bits each, `link & 0xffffffff` and `link >> 32`; both are signed.",
        "`halves(0xffffea000048e650)` is (4777552, -5632): 0xffffea00 - 2**32 = -5632.",
    ),
    judge_halves,
    """
def halves(link):
    def signed(half):
        return half - 2**32 if half >= 2**31 else half
    return signed(link & 0xFFFFFFFF), signed(link >> 32)
""",
    (
        Wrong("def halves(link):\n    return link & 0xFFFFFFFF, link >> 32", "Neither half has a sign"),
        Wrong(
            "import struct\ndef halves(link):\n    return struct.unpack('<ii', struct.pack('<Q', link))[::-1]",
            "The upper half comes first",
        ),
        Wrong(
            "def halves(link):\n    return link & 0xFFFFFFFF, (link >> 32) - 2**32", "Only the upper half has a sign"
        ),
        Wrong("def halves(link):\n    return -1, 1", "(-1, 1)"),
    ),
)


def judge_variants(answer: Any) -> str:
    if not isinstance(answer, (list, tuple)) or len(answer) != 3 or not all(map(counts, answer)):
        wanted = (
            "three pairs of chunk counts, such as `[(20, 30), (20, 31), (20, 32)]`, each at least 1, "
            "together at most 64"
        )
        raise Refused(f"`{shown(answer)}`", wanted)
    for (first, last), expected in zip(answer, (NEITHER, ANON, KSM), strict=True):
        if first + last != 64:
            raise Refused(f"{first} + {last} = {first + last} chunks", "64, a full page of v12")
        got = taken_for(record_of(Scene(first=first, last=last)))
        if got != expected:
            because = "Only `first_chunks` lies on the low bits of `mapping`, and `last_chunks` begins at bit 16."
            if expected == KSM and first % 2 == 0:
                because = (
                    "KSM's mark is bit 1. It sets both low bits, as its pages are anonymous too: 3 modulo 4, not 2."
                )
            elif by_bits(last) == expected:
                because = "The last count decides. " + because
            raise Refused(f"{got}, for ({first}, {last})", expected, because)
    return "neither, anonymous, and merged by KSM, says the kernel; in truth all three hold two zpages each."


def counts(answer: Any) -> bool:
    return (
        isinstance(answer, (list, tuple))
        and len(answer) == 2
        and all(isinstance(n, int) and n >= 1 for n in answer)
        and sum(answer) <= 64
    )


VARIANTS = Exercise(
    "three-faces",
    "03",
    "adversarial",
    "three full pages, taken for three things",
    """Choose the chunk counts of three full pages of v12, as pairs (first, last), each count at least 1, together 64:
    the kernel should take the first page for no anonymous memory, the second for anonymous memory that is not KSM's,
    the third for a page merged by KSM.""",
    "pages",
    "pages = [(..., ...), (..., ...), (..., ...)]",
    (
        "Which bits of `mapping` does the kernel look at, and what has zbud written there?",
        "Bit 0 of `first_chunks` says anonymous, bits 0 and 1 together say KSM. `last_chunks` is what is left of 64.",
        "20 is 0b10100, 21 is 0b10101, 22 is 0b10110. One of the three faces is still missing: 22 is not odd.",
    ),
    judge_variants,
    "pages = [(8, 56), (9, 55), (11, 53)]",
    (
        Wrong("pages = [(8, 56), (9, 55), (10, 54)]", "3 modulo 4, not 2"),
        Wrong("pages = [(8, 56), (9, 55), (13, 51)]", "The last count decides"),
        Wrong("pages = [(8, 20), (9, 19), (11, 20)]", "a full page of v12"),
        Wrong("pages = [8, 9, 11]", "three pairs"),
        Wrong("pages = [(9, 55), (9, 55), (11, 53)]", "anonymous, for (9, 55)"),
    ),
    wants="three pairs of chunk counts",
)

FIELDS = ("flags", "mapping", "index", "_mapcount", "_count", "private")


def judge_give_back(answer: Any) -> str:
    fields: dict[str, None] = {}
    for first, last in ((9, 19), (12, 30), (20, 11), (51, 13)):
        p = record_of(Scene(first=first, last=last))
        ask(answer, p, words=f"a page with {first} and {last} chunks")
        count = p["_count"]
        bad = put_and_prepare(p)
        if bad is None:
            raise Refused(
                f"`_count` is {count} when the page is given back, for a page with {first} and {last} chunks",
                "1, so that dropping the last reference frees it",
                "`_count` may stay as it is. The page allocator drops a reference: what is not 1 "
                "before is not 0 afterwards, and the page is never free again.",
            )
        fields |= dict.fromkeys(bad)
    if fields:
        because = {
            "_mapcount": "The link lay on `_count` alone. It covered `_mapcount` as well, which counts from -1.",
            "mapping": "The page allocator clears `mapping`. Only if bit 0 of it is set.",
        }
        raise Refused(
            f"bad page: {', '.join(fields)}",
            "a record that the page allocator accepts",
            because.get(next(iter(fields)), ""),
        )
    return (
        "four pages, and the page allocator takes each of them back. It asks for `_count`, `_mapcount` and `mapping`, "
        "and for `flags`, which v12 leaves alone. What is in `private` and `index` does not matter to it."
    )


GIVE_BACK = Exercise(
    "give-back",
    "03",
    "bug hunt",
    "a record on its way out",
    """Before v12 gives a page back, it has to restore what it laid over the record. `restore(p)` gets the record `p`,
    whose fields are numbers (NULL is 0), read and written by name. It forgets something. Change a line and run the
    cell: the page allocator then gets four pages, and the verdict names the fields that it refuses. Mend it.""",
    "restore",
    """
def restore(p):
    p["private"] = 0
    p["index"] = 0
    p["_count"] = 1
""",
    (
        "What did zbud write over? The table of the two names for each byte says.",
        "The page allocator wants `_mapcount` -1, `mapping` NULL, that is 0, and `_count` 0 after its own decrement.",
        "The link `buddy.prev` covers two fields; the chunk counts lie on a third.",
    ),
    judge_give_back,
    """
def restore(p):
    p["private"] = 0
    p["index"] = 0
    p["mapping"] = 0
    p["_mapcount"] = -1
    p["_count"] = 1
""",
    (
        Wrong("def restore(p):\n    p['mapping'] = 0\n    p['_count'] = 1", "The link lay on `_count` alone"),
        Wrong("def restore(p):\n    p['_mapcount'] = -1\n    p['_count'] = 1", "The page allocator clears `mapping`"),
        Wrong("def restore(p):\n    p['_mapcount'] = -1\n    p['mapping'] = 0", "`_count` may stay as it is"),
        Wrong("def restore(p):\n    p['_mapcount'] = p['mapping'] = 0\n    p['_count'] = 1", "counts from -1"),
    ),
)

EXERCISES = (HALVES_TASK, VARIANTS, GIVE_BACK)
