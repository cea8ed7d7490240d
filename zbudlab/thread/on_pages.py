"""The claims about what marks a page, and about what its record may hold; see on_readers.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from ..demonstrate import READERS, implicit
from ..demonstrate.judge import Scene, verdicts
from ..demonstrate.recogniser import MIX, mixed
from ..dress import COMPOUND, KINDS, dress
from ..memmap import Memmap
from ..page_alloc import KernelPages, alloc_block
from ..peekers import PEEKERS
from ..rows import count
from ..schemes import SCHEMES, Scheme, variant
from ..struct_page import (
    PG,
    STRUCT_PAGE,
    Field,
    PageAnon,
    PageBuddy,
    PageReserved,
    PageSlab,
    PageTail,
    page_count,
    page_mapcount,
)
from ..zbud import ZbudPool
from .finding import Finding, listed
from .on_readers import finished, hurt, named, pool_pages

OUTSIDE = ("makedumpfile.c", "memory.c")  # files of readers that are no part of the kernel
CHUNKS_AND_SLAB = variant(
    SCHEMES["chunks-in-mapping"], "chunks-in-mapping with PG_slab", "what-if: the chunk counts stay", flag="slab"
)

# ---------------------------------------------------------------------- 4, 5, 6: the first idea


def passes(scheme: Scheme | str) -> list[bool]:
    """Of each page of a scheme, whether the predicate is true of it."""
    pool = mixed(scheme)
    return [bool(implicit(pool.memmap.page(pfn))) for pfn in sorted(pool.mine)]


def the_predicate_is_true_of_zbud(scheme: Scheme | str = "overlay-v12") -> Finding:
    """!PageSlab(p) && page_count(p) > 0 && page_mapcount(p) <= 0 is true of every page of zbud's."""
    pool = mixed(scheme)
    pages = [pool.memmap.page(pfn) for pfn in sorted(pool.mine)]
    counts = Counter(page_count(p) for p in pages)
    mapped = sum(page_mapcount(p) > 0 for p in pages)
    return Finding(
        {f"p{p.pfn}": bool(implicit(p)) for p in pages},
        f"It is true of {sum(map(implicit, pages))} of {len(pages)} pages of {named(scheme)}: page_count is "
        f"{listed(f'{value} on {n}' for value, n in sorted(counts.items()))}, and page_mapcount is above 0 on "
        f"{mapped}.",
    )


def the_predicate_singles_out_zbud(
    scheme: Scheme | str = "inline-header", tag: Callable[[Any], Any] = implicit
) -> Finding:
    """What the predicate is true of is zbud's, where it is true of zbud's pages at all."""
    pool = mixed(scheme)
    taken = {pfn for pfn in pool.memmap.pfns if tag(pool.memmap.page(pfn))}
    owners = Counter(pool.memmap.owner.get(pfn, "free") for pfn in taken - pool.mine)
    share = f"{len(taken & pool.mine) / len(taken):.0%}" if taken else "none"
    return Finding(
        {"only zbud's pages": taken <= pool.mine and bool(taken)},
        f"Of {count(len(taken), 'page')} that it takes for zbud's, {len(taken & pool.mine)} are ({share}); the others: "
        f"{listed(f'{n} {owner}' for owner, n in owners.most_common())}.",
    )


def minus_127(p: Any) -> Any:
    """Kozlowski's mark of August 2013, as a tag."""
    return p["_mapcount"] == -127


def untagged() -> list[Scheme]:
    """The schemes without any tag of which the predicate is true: the ways in which the first idea can be had."""
    plain = [s for s in SCHEMES.values() if s.flag is None and s.mapcount is None and not s.slab]
    return [s for s in plain if all(passes(s))]


def the_predicate_is_enough(schemes: Sequence[Scheme | str] = ()) -> Finding:
    """Wherever zbud's data lies, if the predicate is true of its pages then readers do no harm."""
    harm = {named(s): hurt(s, "crash", "corrupt") for s in schemes or untagged()}
    said = [f"{name} ({listed(f'{r}, {v}' for r, v in found.items())})" for name, found in harm.items() if found]
    v12 = verdicts("overlay-v12")["migrate_scanner"]
    return Finding(
        {name: not found for name, found in harm.items()},
        f"Harm is done to {listed(said)}; not to {listed(name for name, found in harm.items() if not found)}. On v12 "
        f"as it was, where it is true of {sum(passes('overlay-v12'))} pages, the migrate scanner's verdict is "
        f"{v12.word}.",
    )


# ---------------------------------------------------------------------- 7, 8: the second idea


def slab_flag_and_count_are_safe(schemes: Sequence[Scheme | str] = ("slab-flag", CHUNKS_AND_SLAB)) -> Finding:
    """With PG_slab and a positive _count no reader does harm, wherever the rest of zbud's data lies."""
    cases, said = dict[str, bool](), list[str]()
    for s in schemes:
        harm = hurt(s, "crash", "corrupt", "wrong")
        inside = {r for r in harm if PEEKERS[READERS[r].peeker].file not in OUTSIDE}
        cases |= {f"{named(s)}, in the kernel": not inside, f"{named(s)}, from outside": not harm.keys() - inside}
        labels = hurt(s, "misreport")
        said.append(
            f"{named(s)}: harm by {listed(f'{r} ({v.why})' for r, v in harm.items())}, another label in "
            f"{listed(labels)}"
        )
    return Finding(cases, "; ".join(said) + ".")


def the_flag_hides_mapcount(flag: str = "slab") -> Finding:
    """The flag on a page tells readers to make nothing of _mapcount."""
    meanings = {"0 or 7": (0, 7), "-128": (-128,)}
    cases = {
        f"{reader} ({meaning})": not minds_mapcount(reader, flag, values)
        for meaning, values in meanings.items()
        for reader in READERS
        if minds_mapcount(reader, "", values)
    }
    told = Finding(cases, "")
    return Finding(
        cases,
        f"Readers draw {len(cases)} conclusions from _mapcount of a page without flags. With PG_{flag} set they draw "
        f"no more: {listed(told.where(True))}; they draw all the same: {listed(told.where(False))}.",
    )


@cache
def minds_mapcount(reader: str, flag: str, values: tuple[int, ...]) -> bool:
    """Whether what a reader answers about a page with a flag depends on _mapcount."""
    scene = Scene("inline-header")

    def answer(mapcount: int) -> Any:
        p = scene.pool.memmap.page(scene.plain)
        p["flags"] |= 1 << PG[flag] if flag else 0
        p["_mapcount"] = mapcount
        visit = finished(READERS[reader].visit(scene.machine, scene.plain))
        scene.back()
        return visit.value, str(visit.oops or visit.stuck or "")

    return any(answer(value) != answer(-1) for value in values)


# ---------------------------------------------------------------------- 12, 13, 14: the record's variants and rules

MARKS: Mapping[str, Callable[[Any], Any]] = {
    "another flag": lambda p: p["flags"] & ((1 << len(PG)) - 1) & ~(1 << PG["slab"] | 1 << PG["reserved"]),
    "_mapcount": PageBuddy,
    "_count": lambda p: not PageTail(p) and page_count(p) == 0,
    "a bit of mapping": PageAnon,
    "what mapping leads to": lambda p: p["mapping"] and not PageAnon(p) and not p["flags"] & ((1 << len(PG)) - 1),
}


EVERYBODY = (*MIX, *COMPOUND, "zbud", "free")


def three_variants_are_all(kinds: Sequence[str] = EVERYBODY) -> Finding:
    """PageReserved, PageSlab, neither: the three tell whose a page is."""
    owners: dict[str, dict[str, set[str]]] = {"reserved": {}, "slab": {}, "neither": {}}
    m = one_of_each(kinds)
    for p in map(m.page, m.pfns):
        who = m.owner.get(p.pfn, "free")
        if who != "free" or "free" in kinds:
            tag = "reserved" if PageReserved(p) else "slab" if PageSlab(p.head()) else "neither"
            owners[tag].setdefault(who, set()).update(mark for mark, shows in MARKS.items() if shows(p))
    rest, none = owners["neither"], "nothing"
    said = [f"{who}: {listed(sorted(marks)) if marks else none}" for who, marks in sorted(rest.items())]
    return Finding(
        {"each variant has one owner": all(len(who) < 2 for who in owners.values())},
        f"Neither reserved nor slab are pages of {count(len(rest), 'owner')}. What else tells them apart: "
        f"{'; '.join(said)}.",
    )


def one_of_each(kinds: Sequence[str]) -> Memmap:
    """A memmap with a page of each kind of dress.KINDS that is named, perhaps one of zbud's, and free pages."""
    pages = KernelPages(Memmap(128))
    pool = ZbudPool("linux-3.11", pages)
    if "zbud" in kinds:
        pool.alloc(1000)
    for kind in kinds:
        if kind in KINDS:
            order = 2 * (kind in COMPOUND)
            dress(pages.memmap, alloc_block(pages, order) if order else pages.alloc_page(), kind, order=order)
    return pages.memmap


def the_flag_keeps_readers_away(scheme: Scheme | str = "reserved") -> Finding:
    """With the flag on zbud's pages no reader goes wrong on them."""
    wrong, without = hurt(scheme), hurt("overlay-clear")
    cured, new = [r for r in without if r not in wrong], [r for r in wrong if r not in without]
    return Finding(
        {reader: reader not in wrong for reader in READERS},
        f"{len(READERS) - len(wrong)} of {len(READERS)} readers do no worse on {named(scheme)} than on any kernel "
        f"page. Against the same bytes without the tag it cures {listed(cured)}; new trouble: "
        f"{listed(f'{r} ({wrong[r].word})' for r in new)}. memory_failure asks for it "
        f"{count(flag_asked(scheme), 'time')}.",
    )


def flag_asked(scheme: Scheme | str) -> int:
    """How many of memory_failure's questions about a page name its tag."""
    scene, pages = pool_pages(scheme)
    visit = finished(READERS["memory_failure"].visit(scene.machine, pages[0]))
    flag = scene.pool.scheme.flag
    return sum(flag is not None and flag in getattr(told.item, "words", "") for told in visit.told)


def the_comment_permits_it(scheme: Scheme | str = "overlay-v12") -> Finding:
    """The rule in mm.h lets a page's owner use these bytes: any but flags, and but a _count that is to stay valid."""
    scene, pages = pool_pages(scheme)
    s, kept = scene.pool.scheme, ("flags", "_count")
    cases = {
        piece: s.home != "record" or not any(overlap(STRUCT_PAGE[name], offset, size) for name in kept)
        for piece, (offset, size) in s.pieces().items()
    }
    valid = sum(page_count(scene.pool.memmap.page(pfn)) == 1 for pfn in pages)
    counts = sorted({page_count(scene.pool.memmap.page(pfn)) for pfn in pages})
    return Finding(
        cases,
        f"{sum(cases.values())} of {len(cases)} pieces of zbud's data lie where the rule lets {named(s)} put them; "
        f"{listed(Finding(cases, '').where(False))} would need an exception. page_count is valid on {valid} of "
        f"{len(pages)} pages (it reads {listed(counts)}).",
    )


def overlap(field: Field, offset: int, size: int) -> bool:
    return bool(offset < field.offset + field.size and field.offset < offset + size)
