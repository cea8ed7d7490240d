"""Notebook 03, a record with variants: the same bytes under two sets of names."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace as Scene
from typing import Any

from ..demonstrate.judge import Scene as Machine
from ..memmap import Memmap
from ..page import Page
from ..page_alloc import put_and_prepare
from ..struct_page import CHUNK, LIST_POISON2, STRUCT_PAGE, ZBUD_PAGE, Layout, PageAnon, PageKsm, page_count, s32
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


PAGE_COUNT = Prediction(
    "page-count",
    "03",
    neighbours,
    ask=lambda s: f"A pool of v12. What does `page_count()` answer for p{s.pfn}, {s.words}?",
    answer=count_seen,
    why=lambda s: (
        "`_count` lies on the upper half of `buddy.prev`. It is 0xffff8800 where that leads to a list head in "
        "the pool, "
        "0xffffea00 where it leads to another page's record, and 0xdead0000 where `list_del` has left poison. Here: "
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
            "It leads back along the list: to the head only from the first page.",
        ),
        M(
            "The link leads to another page",
            lambda s: s32(s.pool.memmap.record(s.pfn) >> 32),
            "The first page on a list leads back to the head, which is in the pool.",
        ),
        M("A page off its list leads to itself", lambda s: s32(LIST_POISON2 >> 32), "It is on a list."),
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
    why=lambda s: (
        f"The kernel: {', '.join(map(repr, STRUCT_PAGE.covering(s.byte)))}. "
        f"zbud: {', '.join(map(repr, ZBUD_PAGE.covering(s.byte)))}."
    ),
    wrong=(
        M("Counting from the first field behind flags", lambda s: names_at(s.byte + 8), "`flags` are bytes 0 to 7."),
        M("Counting words from 1", lambda s: names_at(s.byte - 8) if s.byte > 15 else None, "Byte 0 is the first."),
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
        M("The kernel set them before", lambda s: pair(-1, 1), "So it did, and then zbud wrote a pointer there."),
        M(
            "_mapcount is one more than what is stored",
            lambda s: pair(halves_of(s.link)[0] + 1, halves_of(s.link)[1]),
            "That is what `page_mapcount()` answers.",
        ),
    ),
    seed=1,
)

PREDICTIONS = (PAGE_COUNT, FIELD, ANONYMOUS, MAPPING, HALVES)

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
            M("Halves swapped", lambda c: halves_of(c[0])[::-1], "The lower half lies at the lower address."),
            M("Without a sign", lambda c: (c[0] & 0xFFFFFFFF, c[0] >> 32), "0x80000000 and above are negative."),
            M(
                "A sign for the upper half only",
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
        Wrong("def halves(link):\n    return link & 0xFFFFFFFF, link >> 32", "Without a sign"),
        Wrong(
            "import struct\ndef halves(link):\n    return struct.unpack('<ii', struct.pack('<Q', link))[::-1]",
            "Halves swapped",
        ),
        Wrong(
            "def halves(link):\n    return link & 0xFFFFFFFF, (link >> 32) - 2**32", "A sign for the upper half only"
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
                because = "KSM sets both low bits, so its pages are anonymous as well: 3 modulo 4, not 2."
            elif by_bits(last) == expected:
                because = "Looking at the last count. " + because
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
    """Choose the chunk counts of three full pages of v12, 64 chunks each, as pairs (first, last): the kernel should
    take the first page for no anonymous memory, the second for anonymous memory that is not KSM's, the third for a
    page merged by KSM.""",
    "pages",
    "pages = [(..., ...), (..., ...), (..., ...)]",
    (
        "Which bits of `mapping` does the kernel look at, and what has zbud written there?",
        "Bit 0 of `first_chunks` says anonymous, bits 0 and 1 together say KSM. `last_chunks` is what is left of 64.",
        "8 is 0b1000, 9 is 0b1001, 11 is 0b1011.",
    ),
    judge_variants,
    "pages = [(8, 56), (9, 55), (11, 53)]",
    (
        Wrong("pages = [(8, 56), (9, 55), (10, 54)]", "3 modulo 4, not 2"),
        Wrong("pages = [(8, 56), (9, 55), (13, 51)]", "Looking at the last count"),
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
                "Taking `_count` for zbud's to leave as it is. The page allocator drops a reference: what is not 1 "
                "before is not 0 afterwards, and the page is never free again.",
            )
        fields |= dict.fromkeys(bad)
    if fields:
        because = {
            "_mapcount": "Forgetting that `_mapcount` lay under the link. It counts from -1.",
            "mapping": "Testing with an odd count only. The allocator clears `mapping` itself if bit 0 is set, and not "
            "otherwise.",
        }
        raise Refused(
            f"bad page: {', '.join(fields)}",
            "a record that the page allocator accepts",
            because.get(next(iter(fields)), ""),
        )
    return "four pages, and the page allocator takes each of them back."


GIVE_BACK = Exercise(
    "give-back",
    "03",
    "bug hunt",
    "a record on its way out",
    """Before v12 gives a page back, it has to restore what it laid over the record. `restore(p)` gets the record `p`,
    whose fields are read and written by name. It forgets something. Find out what from the page allocator, and mend
    it.""",
    "restore",
    """
def restore(p):
    p["private"] = 0
    p["index"] = 0
    p["_count"] = 1
""",
    (
        "What did zbud write over? The table of the two names for each byte says.",
        "The page allocator wants `_mapcount` -1, `mapping` NULL, and `_count` 0 after its own decrement.",
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
        Wrong("def restore(p):\n    p['mapping'] = 0\n    p['_count'] = 1", "Forgetting that `_mapcount`"),
        Wrong("def restore(p):\n    p['_mapcount'] = -1\n    p['_count'] = 1", "Testing with an odd count only"),
        Wrong("def restore(p):\n    p['_mapcount'] = -1\n    p['mapping'] = 0", "Taking `_count` for zbud's"),
        Wrong("def restore(p):\n    p['_mapcount'] = p['mapping'] = 0\n    p['_count'] = 1", "It counts from -1"),
    ),
)

EXERCISES = (HALVES_TASK, VARIANTS, GIVE_BACK)
