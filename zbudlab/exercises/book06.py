"""Notebook 06, demonstrate it: verdicts, shortest traces, and what a search has covered."""

from __future__ import annotations

from functools import cache
from random import Random
from types import SimpleNamespace as Scene
from typing import Any

from ..demonstrate.explore import Answer, Step, World, demonstrate
from ..demonstrate.judge import PLACES, WORDS, Verdict, judge
from ..demonstrate.readers import READERS
from ..schemes import SCHEMES, Scheme
from ..struct_page import RECORD
from .question import Misconception as M
from .question import Prediction
from .task import Exercise, Refused, Wrong, hold, shown

V12 = "overlay-v12"


@cache
def verdict(scheme: str, reader: str, races: bool = True) -> Verdict:
    return judge(scheme, reader, races=races)


# ---------------------------------------------------------------------- one cell of the matrix


def cell(chance: Random) -> Scene:
    """A scheme and a reader, more often than not a pair that comes to something."""
    pairs = [(scheme, reader) for scheme in SCHEMES for reader in chance.sample(list(READERS), 3)]
    chance.shuffle(pairs)
    quiet = chance.random() < 0.3
    for scheme, reader in pairs:
        if quiet or verdict(scheme, reader).word != "ok":
            return Scene(scheme=scheme, reader=reader)
    return Scene(scheme=V12, reader="kpageflags")


VERDICT = Prediction(
    "verdict",
    "06",
    cell,
    ask=lambda s: (
        f"The scheme {s.scheme} ({SCHEMES[s.scheme].about}) before the reader {s.reader}. How bad is the worst "
        f"that can "
        "happen?"
    ),
    answer=lambda s: verdict(s.scheme, s.reader).word,
    why=lambda s: f"{verdict(s.scheme, s.reader)}.",
    wrong=(
        M("What is not tagged crashes", lambda s: "crash", "Most readers ask something that stops them in time."),
        M("A tag is safety", lambda s: "ok" if SCHEMES[s.scheme].flag else None, "Only with readers that ask for it."),
        M("As under v12", lambda s: verdict(V12, s.reader).word, "This scheme lies on other bytes."),
        M("As under what was merged", lambda s: verdict("inline-header", s.reader).word, "There the record is clean."),
        M("A wrong number at the most", lambda s: "misreport", "Some readers act on what they read, or write."),
        M("Readers go away empty-handed", lambda s: "ok", "Look at what it reads, and at what it leaves behind."),
    ),
    seed=38,
)

# ---------------------------------------------------------------------- standing still, or at work


def reader_twice(chance: Random) -> Scene:
    scheme = chance.choice((V12, V12, V12, "overlay-clear", "slab-flag", "inline-header"))
    return Scene(
        scheme=scheme, reader=chance.choice(("memory_failure", "do_migrate_range", "page_cache", "soft_offline"))
    )


def both(s: Any) -> tuple[str, str]:
    return verdict(s.scheme, s.reader, False).word, verdict(s.scheme, s.reader).word


def two(still: str, work: str) -> str:
    return f"{still}, and {work}"


RACE = Prediction(
    "race",
    "06",
    reader_twice,
    ask=lambda s: (
        f"The scheme {s.scheme} before {s.reader}: how bad, if zbud stands still during the visit, and how bad, "
        f"if zbud "
        "goes on working?"
    ),
    answer=lambda s: two(*both(s)),
    why=lambda s: (
        f"Standing still: {verdict(s.scheme, s.reader, False)}. Working: {verdict(s.scheme, s.reader)}. What is "
        f"put back "
        "at the end is wrong in between."
    ),
    wrong=(
        M("What is put back does no harm", lambda s: two("ok", "ok"), "Not if zbud follows the link in between."),
        M(
            "It takes no race",
            lambda s: two(both(s)[1], both(s)[1]),
            "A reference that is dropped again restores the bytes.",
        ),
        M(
            "A race makes everything worse",
            lambda s: two(both(s)[0], "crash"),
            "Only where the two touch the same bytes.",
        ),
        M("Any reference breaks a link", lambda s: two("crash", "crash"), "Only one that lies on the link."),
        M("A leak, either way", lambda s: two("wrong", "wrong"), "Not every reader keeps its reference."),
    ),
    seed=15,
)

# ---------------------------------------------------------------------- the shortest trace

TRACED = ("soft_offline", "hwpoison-inject", "makedumpfile", "kpageflags", "migrate_scanner", "unpoison", "show_mem")


@cache
def search(scheme: str, reader: str, words: tuple[str, ...]) -> Answer:
    return demonstrate(scheme, reader, words=words, depth=3)


def a_search(chance: Random) -> Scene:
    scheme = chance.choice((V12, "overlay-clear", "chunks-in-mapping", "overlay-on-mapcount", "inline-header"))
    words = chance.choice((("crash",), ("corrupt", "crash"), WORDS[1:]))
    return Scene(scheme=scheme, reader=chance.choice(TRACED), words=words)


def length(s: Any) -> int:
    return len(search(s.scheme, s.reader, s.words).steps)


def steps(n: int) -> str:
    return f"{n} step{'s' if n > 1 else ''}" if n else "none of up to 3 steps"


SHORTEST = Prediction(
    "shortest-trace",
    "06",
    a_search,
    ask=lambda s: (
        f"From an empty pool: how long is the shortest trace with which {s.reader} gets the scheme {s.scheme} to "
        f"{' or '.join(s.words)}? Each allocation, free, reclaim and visit is a step, and nothing runs in between."
    ),
    answer=length,
    why=lambda s: f"{search(s.scheme, s.reader, s.words)}".replace("\n", ";"),
    wrong=(
        M("The reader alone is enough", lambda s: 1, "There has to be a page first."),
        M(
            "Damage shows at once",
            lambda s: 2 if length(s) != 2 else None,
            "A link that was moved is followed later, when zbud touches its neighbour.",
        ),
        M("Damage has to be stepped on", lambda s: 3 if length(s) != 3 else None, "The visit itself is bad enough."),
        M("If it does no harm at first, it never does", lambda s: 0, "The search goes on for a few steps."),
        M("Nothing is safe", lambda s: 2 if not length(s) else None, "All traces of up to 3 steps were tried."),
    ),
    show=steps,
    seed=11,
)

# ---------------------------------------------------------------------- what a certificate covers


QUIET = ((V12, "memory_failure"), (V12, "page_cache"), (V12, "kpageflags"), ("inline-header", "memory_failure"))
WIDER: dict[str, dict[str, Any]] = {
    "zbud at work during the visits": {"races": True},
    "one step more": {"depth": 3},
    "every reader": {"peeker": None},
}


def a_certificate(chance: Random) -> Scene:
    """A search that found nothing, and a wider one."""
    scheme, reader = chance.choice(QUIET)
    return Scene(scheme=scheme, reader=reader, wider=chance.choice(list(WIDER)))


@cache
def wider(scheme: str, reader: str, how: str) -> Answer:
    scope: dict[str, Any] = {"peeker": reader, "depth": 2, **WIDER[how]}
    return demonstrate(scheme, words=("crash",), **scope)


def ending(n: int) -> str:
    return f"a crash after {n} step{'s' if n > 1 else ''}" if n else "nothing again"


CERTIFICATE = Prediction(
    "certificate",
    "06",
    a_certificate,
    ask=lambda s: (
        f"All traces of up to 2 steps with {s.reader} before the scheme {s.scheme} were tried, zbud standing "
        f"still during "
        f"the visits, and none ends in a crash. Now the same search with {s.wider}. What does it find?"
    ),
    answer=lambda s: len(wider(s.scheme, s.reader, s.wider).steps),
    why=lambda s: f"{wider(s.scheme, s.reader, s.wider)}".replace("\n", ";"),
    wrong=(
        M("What was not found is not there", lambda s: 0, "A certificate covers its scope, and this is outside it."),
        M("The reader alone is enough", lambda s: 1, "There has to be a page first."),
        M("Outside the scope, all is lost", lambda s: 2, "It may find nothing there, either."),
        M("It takes one step more", lambda s: 3, "The scope has other borders than the length."),
    ),
    show=ending,
)

PREDICTIONS = (VERDICT, RACE, SHORTEST, CERTIFICATE)

# ---------------------------------------------------------------------- exercises

FORMS = '("alloc", chunks), ("visit", reader) or ("free",)'


def as_step(world: World, row: Any) -> Step:
    """A row of an answer as a step; a visit goes to the newest page, a free to the oldest tenant."""
    pool = world.pool
    if isinstance(row, (list, tuple)) and row:
        kind, *rest = row
        if kind == "alloc" and len(rest) == 1 and isinstance(rest[0], int):
            return Step("alloc", rest[0])
        if kind == "visit" and len(rest) == 1 and rest[0] in READERS:
            if not pool.mine:
                raise Refused("a visit while the pool has no page", "a page first", "The reader alone is not enough.")
            return Step("visit", (rest[0], next(pool.walk(pool.lru))))
        if kind == "free" and not rest:
            if not pool.tenants:
                raise Refused("a free while nothing is allocated", "a tenant first")
            return next(step for step in world.operations() if step.kind == "free")
    raise Refused(f"`{shown(row)}`", f"one of {FORMS}")


def judge_break(trace: Any) -> str:
    if not isinstance(trace, (list, tuple)) or not trace:
        raise Refused(f"`{shown(trace)}`", f"a list of steps, each {FORMS}")
    if len(trace) > 3:
        raise Refused(f"{len(trace)} steps", "3 at the most", "Longer than it needs to be: one page is enough.")
    world = World(SCHEMES[V12], PLACES[0], tuple(READERS))
    came = None
    for row in trace:
        world.scene.keep()
        came = world.do(as_step(world, row))
        if came is not None and came.word == "crash":
            return f"{came.why}. {len(trace)} steps, from an empty pool."
    kinds = [row[0] for row in trace]
    because = ""
    if "visit" not in kinds:
        because = "zbud alone does no harm to itself. It takes a reader that writes."
    elif kinds[-1] == "visit":
        because = "Damage is not a crash yet. The link that was moved has to be followed."
    else:
        because = "A reader that only reads, or puts back what it took. It takes one that leaves the link moved."
    raise Refused(f"{came or 'no harm'} after the last step", "a crash", because)


BREAK = Exercise(
    "break-v12",
    "06",
    "adversarial",
    "three steps to an oops",
    f"""Write a trace of at most three steps that crashes a machine with a pool of v12, with nothing running in between.
    The steps are {FORMS}; a visit goes to the page that was used last, a free takes the tenant that came first.""",
    "trace",
    'trace = [("alloc", ...), (...), (...)]',
    (
        "Which readers leave a v12 page different from how they found it?",
        "soft_offline keeps a reference, hwpoison-inject drops one too many. What follows the link afterwards?",
        "Any operation that unlinks the page, or puts a neighbour beside it.",
    ),
    judge_break,
    'trace = [("alloc", 9), ("visit", "soft_offline"), ("free",)]',
    (
        Wrong('trace = [("alloc", 9), ("visit", "memory_failure"), ("free",)]', "puts back what it took"),
        Wrong('trace = [("alloc", 9), ("visit", "soft_offline")]', "Damage is not a crash yet"),
        Wrong('trace = [("alloc", 9), ("alloc", 9), ("free",)]', "zbud alone"),
        Wrong('trace = [("visit", "soft_offline")]', "a page first"),
        Wrong('trace = [("alloc", 9), ("visit", "nobody"), ("free",)]', "one of"),
        Wrong('trace = [("alloc", 9)] * 5', "3 at the most"),
    ),
    wants="a list of steps",
)


def damage_cases() -> list[tuple[Scheme, bytes, bytes]]:
    chance = Random("damage")
    cases = []
    for name in ("overlay-v12", "overlay-clear", "overlay-on-mapcount", "overlay-64"):
        for _ in range(12):
            before = bytes(chance.randrange(256) for _ in range(RECORD))
            after = bytearray(before)
            for _ in range(chance.randint(0, 3)):
                at = chance.randrange(RECORD)
                after[at] ^= chance.randint(1, 255)
            cases.append((SCHEMES[name], before, bytes(after)))
    return cases


def damaged_pieces(case: tuple[Scheme, bytes, bytes]) -> list[str]:
    scheme, before, after = case
    return sorted(
        name for name, (at, size) in scheme.pieces().items() if before[at : at + size] != after[at : at + size]
    )


def first_byte_only(case: tuple[Scheme, bytes, bytes]) -> list[str]:
    scheme, before, after = case
    return sorted(name for name, (at, _) in scheme.pieces().items() if before[at] != after[at])


def judge_damage(answer: Any) -> str:
    v12 = SCHEMES[V12]
    n = hold(
        lambda *case: sorted(answer(*case)),
        damage_cases(),
        damaged_pieces,
        (
            M("Only the first byte is compared", first_byte_only, "A piece has `size` bytes; any of them may be hit."),
            M(
                "Every piece is zbud's, changed or not",
                lambda c: sorted(c[0].pieces()),
                "Only those that differ count.",
            ),
            M(
                "The places of v12 for every scheme",
                lambda c: damaged_pieces((v12, c[1], c[2])),
                "`scheme.pieces()` says where this one has its data.",
            ),
        ),
        words=lambda c: f"the scheme {c[0].name}, where bytes {changed_bytes(c)} have changed",
    )
    return f"{n} records. With this, and a reader to blame, you have the verdict corrupt."


def changed_bytes(case: tuple[Scheme, bytes, bytes]) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(case[1], case[2], strict=True)) if a != b]


DAMAGE = Exercise(
    "whose-bytes",
    "06",
    "fill in",
    "whose bytes were they",
    """A reader has been at a record: `before` and `after` are its 64 bytes. Write `damaged(scheme, before, after)`:
    the names of those pieces of zbud's data, in a list, that are not as they were. `scheme.pieces()` is a dict,
    name to (offset, size).""",
    "damaged",
    """
def damaged(scheme, before, after):
    ...
""",
    (
        "Go through the pieces and compare slices.",
        "`before[at : at + size]` is the piece as it was.",
        "If only byte 28 has changed, v12 has lost `buddy.prev`, bytes 24 to 31, and overlay-clear nothing.",
    ),
    judge_damage,
    """
def damaged(scheme, before, after):
    pieces = scheme.pieces().items()
    return [name for name, (at, size) in pieces if before[at : at + size] != after[at : at + size]]
""",
    (
        Wrong(
            "def damaged(scheme, before, after):\n"
            "    return [name for name, (at, size) in scheme.pieces().items() if before[at] != after[at]]",
            "Only the first byte",
        ),
        Wrong("def damaged(scheme, before, after):\n    return list(scheme.pieces())", "Every piece is zbud's"),
        Wrong(
            "from zbudlab.schemes import OVERLAY_V12\ndef damaged(scheme, before, after):\n"
            "    p = OVERLAY_V12.pieces().items()\n"
            "    return [name for name, (at, size) in p if before[at : at + size] != after[at : at + size]]",
            "The places of v12",
        ),
        Wrong("def damaged(scheme, before, after):\n    return before != after", "TypeError"),
    ),
)


@cache
def row_of(scheme: Scheme) -> dict[str, Verdict]:
    """A scheme's row of the matrix, by reader; what befalls any kernel page is left out."""
    row = {reader: judge(scheme, reader) for reader in READERS}
    return {reader: found for reader, found in row.items() if found.word != "ok" and not found.anyone}


def a_scheme(answer: Any) -> Scheme:
    if not isinstance(answer, Scheme):
        raise Refused(f"`{shown(answer)}`", "a Scheme, such as `variant(INLINE_HEADER, ...)` makes one")
    return answer


def judge_tag_value(answer: Any) -> str:
    scheme = a_scheme(answer)
    if scheme.home != "frame" or scheme.flag or scheme.slab:
        raise Refused("another home, or a flag", "the header in the page, and the tag in `_mapcount`")
    if scheme.mapcount is None:
        raise Refused("no tag at all", "a tag in `_mapcount`", "Taking the tag away. Then nobody can tell the page.")
    row = row_of(scheme)
    bad = {reader: found for reader, found in row.items() if found.word != "misreport"}
    if bad:
        worst = max(bad, key=lambda reader: bad[reader].rank)
        because = ""
        if scheme.mapcount == -128:
            because = "A free value is a value for me. The value is taken: -128 is what a free block has in Linux 3.10."
        raise Refused(f"{worst}: {bad[worst]}", "no reader that goes wrong", because)
    if scheme.mapcount >= -1:
        raise Refused(
            f"`_mapcount` {scheme.mapcount}",
            "a value that no page has otherwise",
            "Every number is a tag. -1 is any page that is not mapped, 0 and above are pages that are.",
        )
    told = ", ".join(f"{reader} {found.word}" for reader, found in row.items()) or "nothing"
    return f"`_mapcount` {scheme.mapcount} is nobody else's. What is left: {told}."


TAG_VALUE = Exercise(
    "wrong-value",
    "06",
    "bug hunt",
    "a tag that was taken",
    """This scheme keeps its data in the page and tags it by a value of `_mapcount`. Some readers go wrong. Find out
    why from `judge(mine, reader)`, and choose another value, so that none is worse than misreport, except where a
    plain kernel page fares no better.""",
    "mine",
    """
from zbudlab.schemes import INLINE_HEADER, variant

about = "a header in the page, and a tag in _mapcount"
mine = variant(INLINE_HEADER, "mine", about, mapcount=-128)
""",
    (
        'Ask `judge(mine, "page_is_buddy")`, and read the reason.',
        "Who else writes negative values to `_mapcount` in 2013? The page allocator marks free blocks.",
        "Kozlowski proposed the next one up, <1376043740-10576-4-...>.",
    ),
    judge_tag_value,
    """
about = "a header in the page, and a tag in _mapcount"
mine = variant(INLINE_HEADER, "mine", about, mapcount=-127)
""",
    (
        Wrong(
            "from zbudlab.schemes import *\nfrom zbudlab.schemes import variant\nmine = variant(INLINE_HEADER, "
            "'m', '', mapcount=-128)",
            "value is taken",
        ),
        Wrong("from zbudlab.schemes import *\nmine = INLINE_HEADER", "Taking the tag away"),
        Wrong(
            "from zbudlab.schemes import *\nmine = variant(INLINE_HEADER, 'm', '', mapcount=-1)",
            "any page that is not mapped",
        ),
        Wrong("mine = -127", "a Scheme"),
    ),
    wants="a Scheme",
)

EXERCISES = (BREAK, DAMAGE, TAG_VALUE)
