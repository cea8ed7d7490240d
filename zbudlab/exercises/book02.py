"""Notebook 02, the pool: which page is chosen, which is emptied, and how full it gets."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from types import SimpleNamespace as Scene
from typing import Any

from ..struct_page import CHUNK
from ..versions import Handle, ZbudError
from ..zbud import ZbudPool
from .book01 import MERGED, V12, chunks_of, picture
from .question import Misconception as M
from .question import Prediction
from .task import Exercise, Refused, Wrong, hold, shown


def accept(pool: ZbudPool, handle: Handle) -> int:
    pool.free(handle)
    return 0


def refuse(pool: ZbudPool, handle: Handle) -> int:
    return -16


def page(pfn: int | None) -> str:
    return "a new page" if pfn is None else f"p{pfn}"


def singles(pool: ZbudPool) -> dict[int, int]:
    """Pages with one tenant: pfn to free chunks."""
    counts = {pfn: pool.chunks(pfn) for pfn in sorted(pool.mine)}
    return {pfn: pool.capacity - sum(pair) for pfn, pair in counts.items() if 0 in pair}


# ---------------------------------------------------------------------- which page is chosen


def lonely_pages(chance: Random) -> Scene:
    """Pages with one tenant each, none of which would have fitted beside another; some with the same gap."""
    pool = ZbudPool("v12", 12)
    taken = chance.sample(range(33, 58), 3)
    taken += [taken[1]]
    for chunks in chance.sample(taken, 4):
        pool.alloc(chunks * CHUNK)
    gaps = sorted(singles(pool).values())
    return Scene(pool=pool, chunks=chance.randint(2, max(2, gaps[chance.randint(1, 3)])))


def fitting(s: Any) -> dict[int, int]:
    return {pfn: gap for pfn, gap in singles(s.pool).items() if gap >= s.chunks}


def model_page(s: Any) -> str:
    return page(s.pool.plan(s.chunks * CHUNK)[0])


def head_of_lru(s: Any) -> str:
    return page(next((pfn for pfn in s.pool.walk(s.pool.lru) if pfn in fitting(s)), None))


BEST_FIT = Prediction(
    "best-fit",
    "02",
    lonely_pages,
    ask=lambda s: f"Which page does v12 choose for a zpage of {s.chunks} chunks?",
    answer=model_page,
    why=lambda s: (
        f"The search begins at `unbuddied[{s.chunks}]` and goes upward; the first list that is not empty has the "
        f"tightest fit, and its head is the page that was put there last: {model_page(s)}."
    ),
    wrong=(
        M(
            "First fit: the lowest page that has room",
            lambda s: page(min(fitting(s), default=None)),
            "The lists are searched, from the tightest gap upward, and not the pages.",
        ),
        M(
            "Worst fit: the page with the most room",
            lambda s: page(max(fitting(s), key=lambda pfn: fitting(s)[pfn], default=None)),
            "A request takes the tightest gap that is enough.",
        ),
        M(
            "The newest page that has room",
            head_of_lru,
            "v11 tried the page at the head of the LRU first. v12 goes by the lists alone.",
        ),
        M(
            "Among equals, the one that waits longest",
            lambda s: page(min(fitting(s), key=lambda pfn: (fitting(s)[pfn], pfn), default=None)),
            "A page is put at the head of its list and taken from the head: last in, first out.",
        ),
        M("Pages with a tenant are full", lambda s: "a new page", "A page takes two."),
    ),
    picture=picture,
    seed=217,
)

# ---------------------------------------------------------------------- which page is emptied


def pool_in_use(chance: Random) -> Scene:
    """Four or five pages, then a few frees and allocations."""
    pool = ZbudPool(MERGED, 12, evict=accept)
    firsts = [pool.alloc(chance.randint(34, 50) * CHUNK) for _ in range(chance.randint(4, 5))]
    seconds = [pool.alloc((pool.capacity - pool.chunks(h.pfn)[0]) * CHUNK) for h in chance.sample(firsts, 3)]
    pool.free(chance.choice(seconds))
    oldest = list(pool.walk(pool.lru))[-1]
    tenants = [h for h in pool.tenants.values() if h.pfn == oldest]
    if len(tenants) == 2:
        pool.free(tenants[1])
    return Scene(pool=pool)


def emptied(s: Any) -> str:
    before = set(s.pool.mine)
    s.pool.reclaim()
    return page(next(iter(before - s.pool.mine)))


def fullest(pool: ZbudPool) -> int:
    return max(pool.mine, key=lambda pfn: sum(pool.chunks(pfn)))


EVICTED = Prediction(
    "who-is-evicted",
    "02",
    pool_in_use,
    ask=lambda s: "reclaim empties one page, and the evictor lets everything go. Which page?",
    answer=emptied,
    why=lambda s: (
        f"The tail of the LRU is taken. A page comes to its head when something is allocated in it; a free does not "
        f"move it, and how full it is does not matter. The order, newest first: "
        f"{' '.join(page(pfn) for pfn in s.pool.walk(s.pool.lru))}."
    ),
    wrong=(
        M(
            "The page that was made first goes",
            lambda s: page(min(s.pool.mine)),
            "A page is as old as the last allocation in it, not as the page.",
        ),
        M("The newest goes", lambda s: page(next(s.pool.walk(s.pool.lru))), "That is the head. The tail goes."),
        M(
            "The emptiest page goes, for least is lost",
            lambda s: page(min(s.pool.mine, key=lambda pfn: sum(s.pool.chunks(pfn)))),
            "zbud goes by age alone.",
        ),
        M("The fullest page goes", lambda s: page(fullest(s.pool)), "zbud goes by age alone."),
    ),
    picture=picture,
    seed=5,
)

# ---------------------------------------------------------------------- how many pages


def sizes_in_turn(chance: Random) -> Scene:
    half = chance.choice((CHUNK * 33, CHUNK * 28))
    return Scene(sizes=[max(64, half + CHUNK * chance.randint(-12, 14)) for _ in range(chance.randint(6, 8))])


def pages_filled(s: Any) -> int:
    pool = ZbudPool(MERGED, 16)
    for size in s.sizes:
        pool.alloc(size)
    return pool.pages_nr


DENSITY = Prediction(
    "density",
    "02",
    sizes_in_turn,
    ask=lambda s: (
        f"An empty pool of Linux 3.11 takes zpages of {', '.join(str(chunks_of(size)) for size in s.sizes)} chunks, in "
        "this order. How many pages has it then?"
    ),
    answer=pages_filled,
    why=lambda s: (
        f"{len(s.sizes)} zpages in {pages_filled(s)} pages, a density of {len(s.sizes) / pages_filled(s):.2f}. Two "
        "share a page only if their chunks come to 63 or less, and the first that fits does not wait for a better one."
    ),
    wrong=(
        M("Always two to a page", lambda s: -(-len(s.sizes) // 2), "That is the best case. It takes pairs that fit."),
        M("One to a page", lambda s: len(s.sizes), "That is the worst case, and zbud never does worse."),
        M(
            "As many as the bytes would fill",
            lambda s: -(-sum(s.sizes) // 4096),
            "A page has two slots, and what is left between them goes unused.",
        ),
        M(
            "What is over half a page is alone, the others share",
            lambda s: sum(size > 2048 for size in s.sizes) + -(-sum(size <= 2048 for size in s.sizes) // 2),
            "A large one and a small one may fit together.",
        ),
    ),
    seed=3,
)

# ---------------------------------------------------------------------- how many evictions


def pool_and_goal(chance: Random) -> Scene:
    pool = ZbudPool(MERGED, 16, evict=accept)
    for _ in range(chance.randint(7, 9)):
        pool.alloc(chance.randint(12, 46) * CHUNK)
    return Scene(pool=pool, goal=chance.randint(2, min(4, pool.pages_nr - 1)))


def oldest(s: Any) -> list[int]:
    return list(s.pool.walk(s.pool.lru))[: -s.goal - 1 : -1]


def evictions(s: Any) -> int:
    before = len(s.pool.tenants)
    for _ in range(s.goal):
        s.pool.reclaim()
    return before - len(s.pool.tenants)


EVICTIONS = Prediction(
    "evictions",
    "02",
    pool_and_goal,
    ask=lambda s: f"The kernel wants {s.goal} page frames back. How many zpages are evicted for that?",
    answer=evictions,
    why=lambda s: (
        f"The {s.goal} oldest pages go: {', '.join(page(pfn) for pfn in oldest(s))}. All that lives in them has to "
        "leave, one or two zpages a page. Mel Gorman's example of 21 May 2013 counts this, "
        "<20130521081020.GT11497@suse.de>."
    ),
    wrong=(
        M("A page is a zpage", lambda s: s.goal, "A page that has two tenants gives nothing back until both are gone."),
        M("Every page has two", lambda s: 2 * s.goal, "Some have one."),
        M(
            "The pages with one tenant go first",
            lambda s: s.goal + max(0, s.goal - len(singles(s.pool))),
            "The oldest go, whatever is in them.",
        ),
        M(
            "Enough bytes to fill the pages",
            lambda s: -(-s.goal * 4096 * len(s.pool.tenants) // sum(t.size for t in s.pool.tenants.values())),
            "Bytes from here and there free no page frame: whole pages have to be emptied.",
        ),
    ),
    picture=picture,
    seed=3,
)

# ---------------------------------------------------------------------- a reclaim that fails


def stubborn(chance: Random) -> Scene:
    pool = ZbudPool(MERGED, 16, evict=refuse)
    for _ in range(chance.randint(4, 5)):
        pool.alloc(chance.randint(34, 60) * CHUNK)
    return Scene(pool=pool, tries=chance.randint(2, 3))


def order(pages: Any) -> str:
    return " ".join(map(page, pages))


def after_refusals(s: Any) -> str:
    with suppress(ZbudError):  # EAGAIN
        s.pool.reclaim(s.tries)
    return order(s.pool.walk(s.pool.lru))


def rotated(s: Any, tries: int) -> str:
    pages = list(s.pool.walk(s.pool.lru))
    return order(pages[-tries:][::-1] + pages[:-tries])


REFUSED = Prediction(
    "refused-reclaim",
    "02",
    stubborn,
    ask=lambda s: (
        f"The evictor refuses everything, and reclaim gives up after {s.tries} tries. In what order is the LRU then, "
        "newest first?"
    ),
    answer=after_refusals,
    why=lambda s: (
        f"Each try takes the tail. A page that could not be emptied is put back at the head, and the next try takes "
        f"the new tail: {s.tries} pages have gone round."
    ),
    wrong=(
        M(
            "Nothing was evicted, so nothing moves",
            lambda s: order(s.pool.walk(s.pool.lru)),
            "The tries have moved it.",
        ),
        M("Every try takes the same page", lambda s: rotated(s, 1), "It stands at the head after the first try."),
        M(
            "The first one tried stands in front",
            lambda s: rotated(s, s.tries),
            "Each is put at the head in its turn, so the last one tried stands in front.",
        ),
    ),
    picture=picture,
    seed=2,
)

PREDICTIONS = (BEST_FIT, EVICTED, DENSITY, EVICTIONS, REFUSED)

# ---------------------------------------------------------------------- exercises


def search_case(seed: int) -> tuple[dict[int, list[int]], int]:
    """Unbuddied lists, number of free chunks to the pages on it, head first; and a request in chunks."""
    chance = Random(f"search {seed}")
    scene = lonely_pages(chance)
    return {int(i): pages for i, pages in scene.pool.state()["unbuddied"].items()}, chance.randint(1, 32)


def model_search(case: tuple[dict[int, list[int]], int]) -> int | None:
    """By a pool that is brought into this state, and asked."""
    lists, chunks = case
    pool = ZbudPool(V12, 12)
    owners = {pfn: gap for gap, pages in lists.items() for pfn in reversed(pages)}
    made = {}
    for pfn, gap in owners.items():
        made[pool.alloc((pool.capacity - gap) * CHUNK).pfn] = pfn
    found = pool.plan(chunks * CHUNK)[0]
    return None if found is None else made[found]


def _room(case: Any) -> dict[int, int]:
    lists, chunks = case
    return {pfn: gap for gap, pages in lists.items() for pfn in pages if gap >= chunks}


def judge_search(answer: Any) -> str:
    n = hold(
        answer,
        [search_case(seed) for seed in range(60)],
        model_search,
        (
            M("First fit by page number", lambda c: min(_room(c), default=None), "The lists decide, not the numbers."),
            M(
                "Worst fit",
                lambda c: c[0][max(_room(c).values())][0] if _room(c) else None,
                "The tightest gap that is enough is taken; the larger ones are kept for larger requests.",
            ),
            M(
                "The tail of the list",
                lambda c: c[0][min(_room(c).values())][-1] if _room(c) else None,
                "Pages are put at the head and taken from the head.",
            ),
            M(
                "More room than is needed",
                lambda c: next((c[0][gap][0] for gap in sorted(c[0]) if gap > c[1]), None),
                "A gap of exactly as many chunks is enough.",
            ),
        ),
    )
    return (
        f"{n} searches, each ends at the page that the pool would choose. It is best fit in chunks, last in first out."
    )


SEARCH = Exercise(
    "search",
    "02",
    "fill in",
    "best fit",
    """Write `search(lists, chunks)`: the page that a request of `chunks` goes to, or None if a new page is needed.
    `lists` is a dict: a number of free chunks to the pages that have so many, the head of the list first. There are no
    empty lists in it.""",
    "search",
    "def search(lists, chunks):\n    ...",
    (
        "The pool starts at one particular list and goes in one direction.",
        "From `unbuddied[chunks]` upward; the first list that has a page; its head.",
        "`search({20: [3], 9: [1, 0]}, 9)` is 1, and with 10 chunks it is 3.",
    ),
    judge_search,
    """
def search(lists, chunks):
    for gap in sorted(lists):
        if gap >= chunks:
            return lists[gap][0]
    return None
""",
    (
        Wrong(
            "def search(lists, chunks):\n"
            "    return min((p for gap in lists if gap >= chunks for p in lists[gap]), default=None)",
            "First fit by page number",
        ),
        Wrong(
            "def search(lists, chunks):\n    for gap in sorted(lists, reverse=True):\n"
            "        if gap >= chunks:\n            return lists[gap][0]",
            "Worst fit",
        ),
        Wrong(
            "def search(lists, chunks):\n    for gap in sorted(lists):\n"
            "        if gap >= chunks:\n            return lists[gap][-1]",
            "The tail of the list",
        ),
        Wrong(
            "def search(lists, chunks):\n    for gap in sorted(lists):\n"
            "        if gap > chunks:\n            return lists[gap][0]",
            "More room than is needed",
        ),
        Wrong("def search(lists, chunks):\n    return lists[chunks][0]", "KeyError"),
    ),
)


def sizes_or_refuse(sizes: Any, least: int, most: int) -> None:
    """Refuse what is not a list of so many sizes."""
    if not isinstance(sizes, (list, tuple)) or not all(isinstance(size, int) for size in sizes):
        raise Refused(f"`{shown(sizes)}`", "a list of sizes in bytes, such as `[1000, 2000]`")
    if not least <= len(sizes) <= most:
        raise Refused(f"{len(sizes)} sizes", f"{least} to {most}" if least < most else f"{least}")


def judge_alone(sizes: Any) -> str:
    sizes_or_refuse(sizes, 6, 6)
    if max(sizes) > 2048:
        raise Refused(
            f"a size of {max(sizes)}",
            "none above 2048",
            "Looking for sizes over half a page. Half a page is enough, because the header takes its chunk first.",
        )
    pages = {version: pages_for_all(version, sizes) for version in (V12, MERGED)}
    seen = f"{pages[V12]} pages under v12, {pages[MERGED]} under Linux 3.11"
    if pages == {V12: 3, MERGED: 6}:
        return f"{seen}. 32 and 32 chunks are 64: a page without a header, and one too many with it."
    if pages[MERGED] == 3:
        because = "Sizes that fit with a header too. 31 and 32 chunks are 63; look for what makes 64."
    else:
        because = "Some of them still find a partner. It takes two that make 64 together, whichever two they are."
    raise Refused(seen, "3 pages under v12, 6 under Linux 3.11", because)


def pages_for_all(version: str, sizes: Any) -> int:
    pool = ZbudPool(version, len(sizes))
    for size in sizes:
        pool.alloc(size)
    return pool.pages_nr


ALONE = Exercise(
    "nobody-shares",
    "02",
    "adversarial",
    "what one chunk can cost",
    """Choose six sizes, none above 2048 bytes, so that Linux 3.11 needs a page for each of them, while v12 puts two
    into every page.""",
    "sizes",
    "sizes = ...",
    (
        "How many chunks has a page for its tenants in either version?",
        "Two of them have to come to exactly 64 chunks, whichever two meet.",
        "Smaller: two sizes of 2000 bytes, 32 chunks each, share a page of v12 and not one of 3.11.",
    ),
    judge_alone,
    "sizes = [2048] * 6",
    (
        Wrong("sizes = [2100] * 6", "Looking for sizes over half a page"),
        Wrong("sizes = [1984] * 6", "Sizes that fit with a header too"),
        Wrong("sizes = [2048, 1024] * 3", "Sizes that fit with a header too"),
        Wrong("sizes = [2048, 2048, 2048, 2048, 2048, 1000]", "Some of them still find a partner"),
        Wrong("sizes = [2048] * 5", "Expected: 6"),
    ),
    wants="a list of sizes",
)


def judge_lru(order_: Any) -> str:
    if not isinstance(order_, (list, tuple)) or sorted(order_) != ["a", "b", "c", "d"]:
        raise Refused(f"`{shown(order_)}`", "the four letters a, b, c and d, each once, such as `['a', 'b', 'c', 'd']`")
    pool = ZbudPool(MERGED, 8, evict=accept)
    chunks = {"a": 40, "b": 20, "c": 50, "d": 45}
    handles = {letter: pool.alloc(chunks[letter] * CHUNK) for letter in order_}
    pool.reclaim()
    gone = sorted(letter for letter, handle in handles.items() if handle not in pool.tenants)
    if gone == ["a", "b"]:
        return "reclaim evicts a and b: they share a page, and nothing was allocated in another page before them."
    because = (
        "Thinking that a page is as old as its first tenant. The second makes it the newest again."
        if len(gone) == 1 and handles[gone[0]].pfn != handles["a"].pfn and order_[0] in "ab"
        else "Two that fit do not always meet. The first that fits takes the place."
    )
    raise Refused(f"reclaim evicts {' and '.join(gone)}", "a and b, in one go", because)


LRU = Exercise(
    "oldest-pair",
    "02",
    "adversarial",
    "who shares, and who is old",
    """Four zpages: a takes 40 chunks, b 20, c 50, d 45. Put them in an order such that, allocated in that order, one
    reclaim of Linux 3.11 evicts a and b together.""",
    "arrival",
    "arrival = [...]",
    (
        "Who can share a page with whom? And when does a page become the newest?",
        "A page comes to the head of the LRU when something is allocated in it, be it the first tenant or the second.",
        "In the order a, c, b, d: b joins a, and then a's page is newer than c's.",
    ),
    judge_lru,
    'arrival = ["a", "b", "c", "d"]',
    (
        Wrong('arrival = ["a", "c", "b", "d"]', "as old as its first tenant"),
        Wrong('arrival = ["c", "d", "a", "b"]', "Two that fit do not always meet"),
        Wrong('arrival = ["a", "b"]', "the four letters"),
        Wrong('arrival = ["a", "c", "d", "b"]', "as old as its first tenant"),
    ),
    wants="a list of letters",
)

EXERCISES = (SEARCH, ALONE, LRU)
