"""Notebook 01, two zpages in a page: chunks, walls, the header, and what a handle does not know."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace as Scene
from typing import Any

from ..draw import Picture, pool_picture
from ..memmap import KernelOops
from ..struct_page import CHUNK, PAGE_SIZE
from ..versions import LAST
from ..zbud import ZbudPool
from .question import Misconception as M
from .question import Prediction
from .task import Exercise, Refused, Wrong, hold, shown

V12, MERGED = "v12", "linux-3.11"


def chunks_of(size: int) -> int:
    return -(-size // CHUNK)


def picture(scene: Any) -> Picture:
    """The pool as it stands when the question is asked."""
    return pool_picture(scene.pool)


# ---------------------------------------------------------------------- how many chunks


def some_size(chance: Random) -> Scene:
    size = CHUNK * chance.randint(2, 60) + chance.choice((-7, -1, 1, 2, 9, 30))
    return Scene(size=size)


def chunks_taken(s: Any) -> int:
    pool = ZbudPool(MERGED)
    return pool.chunks(pool.alloc(s.size).pfn)[0]


CHUNKS = Prediction(
    "chunks",
    "01",
    some_size,
    ask=lambda s: f"How many chunks does a zpage of {s.size:,} bytes take?",
    answer=chunks_taken,
    why=lambda s: (
        f"A chunk is 64 bytes, and a part of one counts as a whole: {s.size:,} / 64 is {s.size / 64:.2f}, so "
        f"{chunks_of(s.size)} chunks, and {chunks_of(s.size) * 64 - s.size} bytes stay unused."
    ),
    wrong=(
        M("Rounding down", lambda s: s.size // CHUNK, "The rest has to be somewhere: a chunk that is begun is taken."),
        M(
            "Counting the header with the tenant",
            lambda s: chunks_of(s.size) + 1,
            "The header is the page's and stands there once; a tenant's count is its own chunks.",
        ),
        M(
            "Dividing the page by the 63 chunks that are left",
            lambda s: -(-s.size // (PAGE_SIZE // 63)),
            "A chunk is 64 bytes in every version; with a header there are 63 of them, not larger ones.",
        ),
    ),
    seed=4,
)

# ---------------------------------------------------------------------- where the second begins


def pool_with_first(chance: Random) -> Scene:
    pool = ZbudPool(chance.choice((V12, MERGED)), 4)
    first = chance.randint(6, 30)
    pool.alloc(first * CHUNK)
    return Scene(pool=pool, first=first, size=chance.randint(5, 28) * CHUNK - chance.choice((5, 12, 24, 40)))


SECOND_OFFSET = Prediction(
    "second-offset",
    "01",
    pool_with_first,
    ask=lambda s: (
        f"Under zbud {s.pool.version.name}, a zpage of {s.size:,} bytes joins the one that is there. At which byte of "
        "the page frame does it begin?"
    ),
    answer=lambda s: s.pool.alloc(s.size).offset,
    why=lambda s: (
        f"LAST ends at byte 4096 and is {chunks_of(s.size)} chunks long: 4096 - 64 * {chunks_of(s.size)} = "
        f"{PAGE_SIZE - CHUNK * chunks_of(s.size)}. Where FIRST ends does not matter, nor does a header."
    ),
    wrong=(
        M(
            "Packing tenants one behind the other",
            lambda s: (s.first + s.pool.scheme.header_chunks) * CHUNK,
            "LAST leans on the right wall, so that whoever leaves, the free space is one piece.",
        ),
        M(
            "Counting bytes",
            lambda s: PAGE_SIZE - s.size,
            "A tenant takes whole chunks, so a handle is a multiple of 64.",
        ),
        M(
            "A header at each end",
            lambda s: PAGE_SIZE - CHUNK * (chunks_of(s.size) + 1),
            "There is one header at the most, and it stands in the first chunk.",
        ),
    ),
    picture=picture,
)

# ---------------------------------------------------------------------- where the third goes


def pool_with_a_gap(chance: Random) -> Scene:
    """Page 0 has two tenants and slack; page 1 has one, on one of the walls."""
    pool = ZbudPool(chance.choice((V12, MERGED)), 6)
    for _ in range(2):
        pool.alloc(chance.randint(9, 16) * CHUNK)
    a, b = chance.randint(32, 40), chance.randint(9, 20)
    left = pool.alloc(a * CHUNK)
    if chance.random() < 0.6:
        pool.alloc(b * CHUNK)
        pool.free(left)
    room = pool.capacity - max(pool.chunks(1))
    return Scene(pool=pool, chunks=chance.randint(6, min(30, room + 3)))


def planned(s: Any) -> str:
    pfn, slot = s.pool.plan(s.chunks * CHUNK)
    return f"a new page, as {slot}" if pfn is None else f"page p{pfn}, as {slot}"


THIRD = Prediction(
    "third-tenant",
    "01",
    pool_with_a_gap,
    ask=lambda s: f"Where does the next zpage go? It takes {s.chunks} chunks.",
    answer=planned,
    why=lambda s: (
        f"Page p0 has two tenants and is not looked at, whatever its slack. Page p1 has one, and "
        f"{s.pool.capacity - max(s.pool.chunks(1))} free chunks; its empty slot is "
        f"{'FIRST' if not s.pool.chunks(1)[0] else 'LAST'}. {s.chunks} chunks go to: {planned(s)}."
    ),
    wrong=(
        M(
            "Any gap will do",
            lambda s: "page p0, into the gap",
            "A page has two slots; a page with two tenants is full.",
        ),
        M(
            "Slots are filled in the order of coming",
            lambda s: "page p1, as LAST",
            "The empty slot is filled: FIRST if that is empty, else LAST.",
        ),
        M(
            "A new page for each zpage that comes alone",
            lambda s: "a new page, as FIRST",
            "Pages with one tenant are searched before a new one is taken.",
        ),
        M(
            "Each new tenant stands at the left",
            lambda s: "page p1, as FIRST",
            "A slot has one tenant, and a page takes no more than it has room for.",
        ),
    ),
    picture=picture,
)

# ---------------------------------------------------------------------- what freeing joins


def pool_with_two(chance: Random) -> Scene:
    pool = ZbudPool(chance.choice((V12, MERGED)), 4)
    handles = pool.alloc(chance.randint(8, 30) * CHUNK), pool.alloc(chance.randint(8, 30) * CHUNK)
    return Scene(pool=pool, handles=handles, gone=chance.randint(0, 1))


def chunks_gone(s: Any) -> tuple[int, int]:
    """Chunks of the tenant that leaves, and of the one that stays."""
    counts = s.pool.chunks(0)
    return counts[s.gone], counts[1 - s.gone]


def list_after(s: Any) -> str:
    s.pool.free(s.handles[s.gone])
    return f"unbuddied[{next(iter(s.pool.state()['unbuddied']))}]"


FREEING = Prediction(
    "freeing-joins",
    "01",
    pool_with_two,
    ask=lambda s: f"{('FIRST', 'LAST')[s.gone]} is freed. On which list does the page wait then?",
    answer=list_after,
    why=lambda s: (
        f"{chunks_gone(s)[0]} chunks join the slack, and with a tenant on a wall the free space is one piece: "
        f"{s.pool.capacity} - {chunks_gone(s)[1]} = {s.pool.capacity - chunks_gone(s)[1]} chunks. The list is named "
        "by that."
    ),
    wrong=(
        M(
            "Only what was freed is free",
            lambda s: f"unbuddied[{chunks_gone(s)[0]}]",
            "The slack between the tenants joins it.",
        ),
        M(
            "The list is named by what is taken",
            lambda s: f"unbuddied[{chunks_gone(s)[1]}]",
            "It is named by what is free: a request looks for room.",
        ),
        M(
            "The wrong number of chunks in a page",
            lambda s: f"unbuddied[{(127 - s.pool.capacity) - chunks_gone(s)[1]}]",
            "64 chunks without a header, 63 with one.",
        ),
        M("A page with a tenant is still buddied", lambda s: "buddied", "With one tenant it takes another again."),
    ),
    picture=picture,
    seed=3,
)

# ---------------------------------------------------------------------- what the header costs


def two_sizes(chance: Random) -> Scene:
    total = chance.choice((62, 63, 64, 64, 64, 65))
    first = chance.randint(20, 44)
    sizes = [CHUNK * n - chance.choice((0, 20, 40)) for n in (first, total - first)]
    return Scene(sizes=sizes)


def pages_for(s: Any, version: str) -> int:
    pool = ZbudPool(version, 4)
    for size in s.sizes:
        pool.alloc(size)
    return pool.pages_nr


HEADER = Prediction(
    "header-cost",
    "01",
    two_sizes,
    ask=lambda s: (
        f"Two zpages of {s.sizes[0]:,} and {s.sizes[1]:,} bytes. How many pages do they take under v12, and how many "
        "under Linux 3.11?"
    ),
    answer=lambda s: f"{pages_for(s, V12)} and {pages_for(s, MERGED)}",
    why=lambda s: (
        f"They take {chunks_of(s.sizes[0])} and {chunks_of(s.sizes[1])} chunks, {sum(map(chunks_of, s.sizes))} "
        "together. v12 has 64 in a page; with the header in the first chunk, 63 are left."
    ),
    wrong=(
        M("The header is free of charge", lambda s: "{0} and {0}".format(pages_for(s, V12)), "It takes a chunk of 64."),
        M(
            "v12 has a header too",
            lambda s: "{0} and {0}".format(pages_for(s, MERGED)),
            "v12 keeps its data in struct page, so a page has all of its 64 chunks for tenants.",
        ),
        M(
            "A header for each tenant",
            lambda s: f"{pages_for(s, V12)} and {1 if sum(map(chunks_of, s.sizes)) <= 62 else 2}",
            "The page has one header, for both tenants.",
        ),
        M(
            "Counting bytes",
            lambda s: " and ".join(str(1 + (sum(s.sizes) > room)) for room in (PAGE_SIZE, PAGE_SIZE - CHUNK)),
            "Each tenant is rounded up to whole chunks.",
        ),
        M("Two always share", lambda s: "1 and 1", "Only if their chunks fit together."),
        M(
            "More than half a page never shares",
            lambda s: "2 and 2" if max(s.sizes) > PAGE_SIZE // 2 else None,
            "What counts is the sum.",
        ),
    ),
)

# ---------------------------------------------------------------------- freed twice


def freed_twice(chance: Random) -> Scene:
    """A handle that has been freed once: its page is gone, or has another tenant, or was handed out again."""
    pool = ZbudPool(chance.choice((V12, MERGED)), 4)
    mine = pool.alloc(chance.randint(600, 1500))
    story = chance.choice(("alone", "neighbour", "refilled"))
    if story == "neighbour":
        pool.alloc(chance.randint(600, 1500))
    pool.free(mine)
    if story == "refilled":
        pool.alloc(chance.randint(600, 1500))
    words = {
        "alone": "it was alone in its page",
        "neighbour": "another tenant lives in the page, on the right wall",
        "refilled": "a new tenant has moved in since",
    }
    return Scene(pool=pool, mine=mine, words=words[story])


def outcome(s: Any) -> str:
    before = set(s.pool.tenants)
    try:
        s.pool.free(s.mine, checked=False)
    except KernelOops:
        return "the kernel crashes"
    return "another zpage is gone" if before - set(s.pool.tenants) else "no zpage is lost"


FREED_TWICE = Prediction(
    "freed-twice",
    "01",
    freed_twice,
    ask=lambda s: (
        f"zbud {s.pool.version.name}, and a FIRST that has been freed: {s.words}. The kernel frees the same handle "
        "again. What happens?"
    ),
    answer=outcome,
    why=lambda s: (
        "A handle is an address. Its offset says FIRST, so the page's FIRST count is set to 0 and the page is taken "
        f"off its list and put on another. Here {s.words}, and so: {outcome(s)}."
    ),
    wrong=(
        M("The kernel checks a handle", lambda s: "an error, and nothing else", "It has nothing to check it against."),
        M("A handle knows its tenant", lambda s: "no zpage is lost", "It is an address; who lives there now is freed."),
        M(
            "Freeing twice always crashes",
            lambda s: "the kernel crashes",
            "Only where the page has left its list, so that the link that is followed leads nowhere.",
        ),
        M(
            "The page is always in use again",
            lambda s: "another zpage is gone",
            "Only if somebody has moved into the same slot.",
        ),
    ),
)

PREDICTIONS = (CHUNKS, SECOND_OFFSET, THIRD, FREEING, HEADER, FREED_TWICE)

# ---------------------------------------------------------------------- exercises


def model_offset(case: tuple[str, int]) -> int:
    slot, size = case
    pool = ZbudPool(MERGED, 4)
    if slot == LAST:
        pool.alloc(CHUNK)
    return pool.alloc(size).offset


def judge_offsets(answer: Any) -> str:
    chance = Random("offsets")
    sizes = [1, 64, 65, 1000, 1500, 3904, *(chance.randint(1, 3904) for _ in range(20))]
    n = hold(
        answer,
        [(slot, size) for size in sizes for slot in ("FIRST", "LAST")],
        model_offset,
        (
            M("Counting bytes", lambda c: 64 if c[0] == "FIRST" else 4096 - c[1], "A tenant takes whole chunks."),
            M("Rounding down", lambda c: 64 if c[0] == "FIRST" else 4096 - c[1] // 64 * 64, "A begun chunk is taken."),
            M(
                "No header",
                lambda c: 0 if c[0] == "FIRST" else 4096 - chunks_of(c[1]) * 64,
                "In Linux 3.11 the first chunk of the page is zbud's, so FIRST begins behind it. v12 had no header.",
            ),
            M(
                "A header at both ends",
                lambda c: 64 if c[0] == "FIRST" else 4032 - chunks_of(c[1]) * 64,
                "LAST reaches to the very end of the page.",
            ),
        ),
    )
    return (
        f"{n} handles, all where the model puts them. FIRST begins at a fixed byte, LAST ends at one; that is why the "
        "offset alone tells the kernel which of the two it frees."
    )


OFFSETS = Exercise(
    "offsets",
    "01",
    "fill in",
    "where a zpage begins",
    """Write `offset(slot, size)`: the byte of the page frame at which a zpage of `size` bytes begins under Linux 3.11.
    `slot` is "FIRST" or "LAST".""",
    "offset",
    "def offset(slot, size):\n    ...",
    (
        "One of the two does not depend on the size at all.",
        "FIRST stands behind the header, which is a chunk. LAST ends where the page ends.",
        "A zpage of 65 bytes takes 2 chunks, 128 bytes. As LAST it begins at byte 4096 - 128 = 3968.",
    ),
    judge_offsets,
    """
def offset(slot, size):
    if slot == "FIRST":
        return 64
    return 4096 - -(-size // 64) * 64
""",
    (
        Wrong("def offset(slot, size):\n    return 64 if slot == 'FIRST' else 4096 - size", "Counting bytes"),
        Wrong("def offset(slot, size):\n    return 64 if slot == 'FIRST' else 4096 - size // 64 * 64", "Rounding down"),
        Wrong("def offset(slot, size):\n    return 0 if slot == 'FIRST' else 4096 - -(-size // 64) * 64", "No header"),
        Wrong(
            "def offset(slot, size):\n    return 64 if slot == 'FIRST' else 4032 - -(-size // 64) * 64",
            "A header at both ends",
        ),
    ),
)


def judge_alone_on_55(sizes: Any) -> str:
    if not isinstance(sizes, (list, tuple)) or not all(isinstance(size, int) for size in sizes):
        raise Refused(f"`{shown(sizes)}`", "a list of sizes in bytes, such as `[1000, 2000]`")
    if len(sizes) > 64:
        raise Refused(f"{len(sizes)} sizes", "at most 64")
    pool = ZbudPool(MERGED, 64)
    for size in sizes:
        pool.alloc(size)
    lists, buddied = pool.state()["unbuddied"], pool.state()["buddied"]
    seen = "; ".join(
        [f"unbuddied[{i}] has {len(pages)}" for i, pages in lists.items()] + [f"buddied has {len(buddied)}"]
    )
    expected = "one page on unbuddied[55], no other unbuddied page, and at least 2 buddied ones"
    if list(lists) == ["55"] and len(lists["55"]) == 1 and len(buddied) >= 2:
        last = max(pool.chunks(lists["55"][0]))
        return f"{seen}. {last} chunks are taken and 1 is the header's: 64 - 1 - {last} = 55."
    because = ""
    if "54" in lists:
        because = "Forgetting the header. 64 - 9 = 55, but one chunk of the 64 is zbud's own."
    elif "8" in lists:
        because = "The list named by what is taken. `unbuddied[55]` holds pages with 55 free chunks, not 55 taken ones."
    elif list(lists) == ["55"] and len(lists["55"]) == 1:
        because = "Stopping too early. There have to be full pages as well."
    elif len(buddied) < 2 or len(lists) > 1:
        because = "Two in turn always share. They share only if their chunks fit, and best fit may choose another page."
    raise Refused(seen, expected, because)


ALONE = Exercise(
    "alone-on-55",
    "01",
    "adversarial",
    "one page, on a list of your choice",
    """Choose sizes so that a pool of Linux 3.11 that allocates them in turn ends with one page on `unbuddied[55]`, no
    page on any other unbuddied list, and at least two buddied pages.""",
    "sizes",
    "sizes = ...",
    (
        "The page on the list has one tenant. How many chunks does it take?",
        "63 chunks are for tenants: 63 - 55 = 8. And two that are to share a page take at most 63 together.",
        "Smaller: `[2000, 1900, 500]` gives one buddied page, and one on `unbuddied[55]`.",
    ),
    judge_alone_on_55,
    "sizes = [2000, 1900, 2000, 1900, 500]",
    (
        Wrong("sizes = [2000, 1900, 2000, 1900, 9 * 64]", "Forgetting the header"),
        Wrong("sizes = [2000, 1900, 2000, 1900, 55 * 64]", "named by what is taken"),
        Wrong("sizes = [500]", "Stopping too early"),
        Wrong("sizes = [2100, 2100, 2100, 500]", "Two in turn always share"),
        Wrong("sizes = '500'", "a list of sizes"),
        Wrong("sizes = [2000, 1900, 0]", "EINVAL"),
    ),
    wants="a list of sizes",
)


def model_list_after(case: tuple[int, int, str]) -> int | None:
    """Where a page goes, by freeing that slot in a pool; -1 is buddied."""
    first, last, slot = case
    pool = ZbudPool(MERGED, 4)
    filler = pool.alloc((first or pool.capacity - last) * CHUNK)
    handles = {"FIRST": filler}
    if last:
        handles["LAST"] = pool.alloc(last * CHUNK)
    if not first:
        pool.free(filler)
    pool.free(handles[slot])
    lists = pool.state()["unbuddied"]
    return int(next(iter(lists))) if lists else None


def judge_list_after(answer: Any) -> str:
    chance = Random("list-after")
    pairs = [(9, 19), (30, 10), *((chance.randint(1, 40), chance.randint(1, 22)) for _ in range(12))]
    cases = [(f, last, slot) for f, last in pairs for slot in ("FIRST", "LAST")]
    cases += [(f, 0, "FIRST") for f, _ in pairs] + [(0, last, "LAST") for _, last in pairs]
    n = hold(
        answer,
        cases,
        model_list_after,
        (
            M(
                "The tenant that left is counted, not the one that stays",
                lambda c: 63 - c[0] if c[2] == "FIRST" else 63 - c[1],
                "What is free afterwards is everything but the tenant that stays.",
            ),
            M(
                "An empty page is kept",
                lambda c: 63 - (c[1] if c[2] == "FIRST" else c[0]),
                "A page whose two slots are empty goes back to the page allocator: None.",
            ),
            M(
                "64 chunks",
                lambda c: 64 - left if (left := c[1] if c[2] == "FIRST" else c[0]) else None,
                "The header takes one.",
            ),
        ),
    )
    return f"{n} pages, each on the list where the model has it, or given back."


LIST_AFTER = Exercise(
    "list-after",
    "01",
    "bug hunt",
    "a page that changes its list",
    """`list_after(first, last, slot)` should say on which unbuddied list a page of Linux 3.11 waits after the tenant
    in `slot` was freed: the number of free chunks, or None if the page is given back. `first` and `last` are the
    chunk counts before. It is wrong in two ways. Mend it.""",
    "list_after",
    """
def list_after(first, last, slot):
    if slot == "FIRST":
        return 63 - first
    return 63 - last
""",
    (
        "Take a page with 9 and 19 chunks, free FIRST, and look at the picture of the pool.",
        "Who is still there afterwards? And what if nobody is?",
        '`list_after(9, 19, "FIRST")` is 63 - 19 = 44, and `list_after(9, 0, "FIRST")` is None.',
    ),
    judge_list_after,
    """
def list_after(first, last, slot):
    left = last if slot == "FIRST" else first
    return 63 - left if left else None
""",
    (
        Wrong(
            "def list_after(first, last, slot):\n    gone = first if slot == 'FIRST' else last\n    return 63 - gone",
            "The tenant that left",
        ),
        Wrong(
            "def list_after(first, last, slot):\n    return 63 - (last if slot == 'FIRST' else first)", "An empty page"
        ),
        Wrong(
            "def list_after(first, last, slot):\n    left = last if slot == 'FIRST' else first\n"
            "    return 64 - left if left else None",
            "64 chunks",
        ),
    ),
)

EXERCISES = (OFFSETS, ALONE, LIST_AFTER)
