"""`pool.check()` catches damage: each invariant is broken alone, through the bytes, and the right assertion fires."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from zbudlab.dress import dress
from zbudlab.memmap import KernelOops, Memmap
from zbudlab.page_alloc import KernelPages, alloc_block
from zbudlab.schemes import Scheme
from zbudlab.struct_page import PG
from zbudlab.zbud import ZbudPool

OVERLAY, HEADER = ["v11", "v12"], ["linux-3.11-rc1", "linux-3.11", "linux-5.14"]
ALL = OVERLAY + HEADER


def sound(version: str, **options: Any) -> ZbudPool:
    """A pool of eight pages: page 0 with 40 and 20 chunks, 1 with 50, 2 with 44, and 3 with 30 and 30."""
    pool = ZbudPool(version, 8, **options)
    for n in (40, 20, 50, 44, 30, 30):
        pool.alloc(64 * n)
    state = pool.state()
    assert (list(state["pages"].values()), state["lru"]) == ([[40, 20], [50, 0], [44, 0], [30, 30]], [3, 2, 1, 0])
    assert (list(state["unbuddied"].values()), state["buddied"]) == ([[1], [2]], [3, 0])
    pool.check()
    return pool


def broken(pool: ZbudPool) -> str:
    with pytest.raises(AssertionError) as caught:
        pool.check()
    return str(caught.value).splitlines()[0]


def spare_node(pool: ZbudPool, pfn: int) -> int:
    """An address for a second list node that belongs to `pfn`, where zbud keeps nothing of its own."""
    return pool.memmap.record(pfn) + 48 if pool.scheme.home == "record" else pool.memmap.frame(pfn) + 2048


def gap(pool: ZbudPool, chunks: int) -> int:
    return pool.unbuddied(pool.capacity - chunks)


def relink(pool: ZbudPool, pfn: int, head: int) -> None:
    pool.memmap.list_del(pool.data.buddy(pfn))
    pool.memmap.list_add(pool.data.buddy(pfn), head)


# What each break does to the pool, by name, with the assertion that it must raise.
BREAKS: dict[str, tuple[Callable[[ZbudPool], None], str]] = {}


def breaks(said: str) -> Callable[[Callable[[ZbudPool], None]], Callable[[ZbudPool], None]]:
    def note(f: Callable[[ZbudPool], None]) -> Callable[[ZbudPool], None]:
        BREAKS[f.__name__] = f, said
        return f

    return note


@breaks(r"lru: .* leads to .*, whose prev is 0xffff88000000")
def a_prev_on_the_lru_that_skips_a_page(pool: ZbudPool) -> None:
    pool.memmap.store(pool.data.lru(1) + 8, pool.lru)


@breaks(r"lru: .* leads to .*, whose prev is ")
def a_next_on_the_lru_that_skips_a_page(pool: ZbudPool) -> None:
    pool.memmap.store(pool.data.lru(3), pool.data.lru(1))


@breaks(r"lru: .* leads to page 0x8 \+ .*, whose prev is ")
def a_last_link_of_the_lru_head(pool: ZbudPool) -> None:
    pool.memmap.store(pool.lru + 8, pool.data.lru(1))


@breaks(r"buddied: .* leads to .*, whose prev is ")
def a_prev_on_buddied(pool: ZbudPool) -> None:
    pool.memmap.store(pool.data.buddy(0) + 8, pool.buddied)


@breaks(r"unbuddied\[(19|20)\]: .* leads to .*, whose prev is ")
def a_prev_on_an_unbuddied_list(pool: ZbudPool) -> None:
    pool.memmap.store(pool.data.buddy(2) + 8, pool.buddied)


@breaks(r"unbuddied\[7\]: page 0x8 \+ .* leads to page 0x8 \+ .*, whose prev is 0x0")
def an_empty_list_head_that_was_cleared(pool: ZbudPool) -> None:
    pool.memmap.store(pool.unbuddied(7) + 8, 0)


@breaks(r"lru does not return to its head within 10 entries")
def a_chain_that_is_sound_but_longer_than_the_machine(pool: ZbudPool) -> None:
    for i in range(8):
        pool.memmap.list_add(pool.memmap.frame(5) + 64 * i, pool.lru)


@breaks(r"buddied holds (struct page of 0x1, byte 48|page 0x1 \+ 0x800), which is no page's buddy node")
def a_page_on_two_lists(pool: ZbudPool) -> None:
    pool.memmap.list_add(spare_node(pool, 1), pool.buddied)


@breaks(r"buddied holds (struct page of 0x0, byte 48|page 0x0 \+ 0x800), which is no page's buddy node")
def a_page_twice_on_one_list(pool: ZbudPool) -> None:
    pool.memmap.list_add(spare_node(pool, 0), pool.buddied)


@breaks(r"the lru holds (struct page of 0x1, byte 48|page 0x1 \+ 0x800), which is no page's lru node")
def a_page_twice_on_the_lru(pool: ZbudPool) -> None:
    pool.memmap.list_add(spare_node(pool, 1), pool.lru)


@breaks(r"the lru holds \[0, 2, 3\], the pool has \[0, 1, 2, 3\]")
def a_page_that_fell_off_the_lru(pool: ZbudPool) -> None:
    pool.memmap.list_del(pool.data.lru(1))


@breaks(r"the lru holds \[0, 1, 2, 3, 6\], the pool has \[0, 1, 2, 3\]")
def a_strangers_page_on_the_lru(pool: ZbudPool) -> None:
    pool.memmap.list_add(pool.data.lru(6), pool.lru)


@breaks(r"the buddy lists hold \[0, 2, 3\], the pool has \[0, 1, 2, 3\]")
def a_page_that_fell_off_its_list(pool: ZbudPool) -> None:
    pool.memmap.list_del(pool.data.buddy(1))


@breaks(r"the buddy lists hold \[0, 1, 2, 3, 6\], the pool has \[0, 1, 2, 3\]")
def a_strangers_page_on_buddied(pool: ZbudPool) -> None:
    pool.memmap.list_add(pool.data.buddy(6), pool.buddied)


@breaks(r"pages_nr is 5, the pool has 4 pages")
def a_wrong_page_count(pool: ZbudPool) -> None:
    pool.pages_nr += 1


@breaks(r"a page without a tenant is in the pool: page 0x1, record ")
def a_page_without_a_tenant(pool: ZbudPool) -> None:
    pool.data.set_chunks(1, 0, 0)


@breaks(r"40 and 25 chunks do not fit in 6[34] \(4096 bytes\): page 0x0, record ")
def tenants_that_overlap(pool: ZbudPool) -> None:
    pool.data.set_chunks(0, 40, 25)


@breaks(r"a page with 50 and 0 chunks is on unbuddied\[3\], not on unbuddied\[1[34]\]: page 0x1, ")
def a_page_on_a_list_for_another_gap(pool: ZbudPool) -> None:
    relink(pool, 1, pool.unbuddied(3))


@breaks(r"a page with 50 and 0 chunks is on buddied, not on unbuddied\[1[34]\]: page 0x1, ")
def a_page_with_one_tenant_on_buddied(pool: ZbudPool) -> None:
    relink(pool, 1, pool.buddied)


@breaks(r"a page with 40 and 20 chunks is on unbuddied\[[34]\], not on buddied: page 0x0, ")
def a_page_with_two_tenants_on_an_unbuddied_list(pool: ZbudPool) -> None:
    relink(pool, 0, gap(pool, 60))


@breaks(r"a page with 49 and 0 chunks is on unbuddied\[1[34]\], not on unbuddied\[1[45]\]: page 0x1, ")
def a_chunk_count_that_is_one_off(pool: ZbudPool) -> None:
    pool.data.set_chunks(1, 49, 0)


@breaks(r"a page is marked as under reclaim at rest: page 0x2, ")
def a_mark_that_was_forgotten(pool: ZbudPool) -> None:
    pool.data.mark_reclaim(2, True)


@breaks(r"the page flags are not those of (overlay-v12|inline-header): page 0x2, ")
def a_page_flag(pool: ZbudPool) -> None:
    pool.memmap.page(2)["flags"] |= 1 << PG["dirty"]


@breaks(r"the page flags are not those of (overlay-v12|inline-header): page 0x2, ")
def the_highest_page_flag(pool: ZbudPool) -> None:
    pool.memmap.page(2)["flags"] |= 1 << PG["compound_lock"]


@breaks(r"the chunk counts tell of 7 zpages, 6 handles are live")
def a_tenant_too_many(pool: ZbudPool) -> None:
    pool.data.set_chunks(1, 50, 3)
    relink(pool, 1, pool.buddied)


@breaks(r"the chunk counts tell of 5 zpages, 6 handles are live")
def a_tenant_too_few(pool: ZbudPool) -> None:
    pool.data.set_chunks(0, 40, 0)
    relink(pool, 0, gap(pool, 40))


@breaks(r"<handle .*: allocation 2, 3200 bytes, page 0x1 FIRST> lies on 49 chunks of 64 bytes")
def a_first_tenant_cut_short_and_its_page_moved(pool: ZbudPool) -> None:
    pool.data.set_chunks(1, 49, 0)
    relink(pool, 1, gap(pool, 49))


@breaks(r"<handle .*: allocation 1, 1280 bytes, page 0x0 LAST> lies on 21 chunks of 64 bytes")
def a_last_tenant_that_grew(pool: ZbudPool) -> None:
    pool.data.set_chunks(0, 40, 21)


@breaks(r"<handle .*: allocation 2, 3200 bytes, page 0x1 FIRST> lies on 0 chunks of 64 bytes")
def a_tenant_in_the_other_slot(pool: ZbudPool) -> None:
    pool.data.set_chunks(1, 0, 50)


@breaks(r"<handle .*: allocation 4, 1920 bytes, page 0x3 LAST> is not where the chunk counts put it")
def a_handle_that_forgot_its_slot(pool: ZbudPool) -> None:
    """Not through the bytes: they cannot say otherwise once the chunk counts are right."""
    next(h for h in pool.tenants.values() if h.allocation == 4).slot = "LAST"


@breaks(r"lost owns a page of the pool: page 0x1, ")
def another_owner(pool: ZbudPool) -> None:
    pool.memmap.owner[1] = "lost"


@breaks(r"nobody owns a page of the pool: page 0x1, ")
def no_owner(pool: ZbudPool) -> None:
    del pool.memmap.owner[1]


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("name", BREAKS)
def test_check_names_what_is_broken(version: str, name: str) -> None:
    damage, said = BREAKS[name]
    pool = sound(version)
    before = pool.save()
    damage(pool)
    assert re.match(said, broken(pool))
    pool.restore(before)
    if name != "a_handle_that_forgot_its_slot":
        pool.check()


@pytest.mark.parametrize("version", ALL)
def test_the_bytes_of_a_broken_page_are_shown(version: str) -> None:
    pool = sound(version)
    pool.data.set_chunks(1, 0, 0)
    m = pool.memmap
    assert f"record {m.page(1).raw.hex()}, first chunk {bytes(m.frame_bytes(1)[:64]).hex()}" in broken(pool)


@pytest.mark.parametrize("version", HEADER)
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("_mapcount", 0, r"_mapcount is 0, not -1: page 0x2, "),
        ("_mapcount", -127, r"_mapcount is -127, not -1: page 0x2, "),
        ("mapping", 0x1000, r"mapping is 0x1000, not NULL: page 0x2, "),
        ("_count", 2, r"_count is 2, not 1: page 0x2, "),
        ("_count", 0, r"_count is 0, not 1: page 0x2, "),
    ],
)
def test_the_record_is_left_alone_where_the_header_is_in_the_page(
    version: str, field: str, value: int, said: str
) -> None:
    pool = sound(version)
    pool.memmap.page(2)[field] = value
    assert re.match(said, broken(pool))


@pytest.mark.parametrize("version", OVERLAY)
@pytest.mark.parametrize("field", ["_mapcount", "_count"])
def test_on_an_overlay_the_counts_are_a_link_and_seen_as_that(version: str, field: str) -> None:
    pool = sound(version)
    p = pool.memmap.page(0)
    pool.memmap.page(0)[field] += 1
    link = pool.memmap.load(p.address + 24)
    assert re.match(
        rf"buddied: struct page of 0x3, byte 16 leads to .* 0x0, byte 16, whose prev is {link:#x}", broken(pool)
    )


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("pfn", range(4))
def test_a_link_to_nowhere_is_an_oops(version: str, pfn: int) -> None:
    pool = sound(version)
    node = pool.data.lru(pfn)
    pool.memmap.store(node, pool.memmap.load(node) + (1 << 32))
    with pytest.raises(KernelOops) as caught:
        pool.check()
    assert caught.value.address == pool.memmap.load(node) + 8


TAGGED = {"home": "record", "buddy": 8, "lru": 32, "first_chunks": 48, "last_chunks": 50, "width": 2}


@pytest.mark.parametrize(
    ("tag", "field", "value", "said"),
    [
        ({"mapcount": -127}, "_mapcount", -1, r"_mapcount is -1, not -127: page 0x2, "),
        ({"flag": "slab"}, "flags", 2 << 56, r"the page flags are not those of mine: page 0x2, "),
        ({"flag": "slab"}, "flags", 2 << 56 | 1 << 7 | 1 << 10, r"the page flags are not those of mine: page 0x2, "),
        ({"flag": "slab"}, "_mapcount", 3, r"_mapcount is 3, not -1: page 0x2, "),
        ({}, "_count", 2, r"_count is 2, not 1: page 0x2, "),
        ({"buddy": 32, "lru": 16}, "mapping", 6, r"mapping is 0x6, not NULL: page 0x2, "),
        ({"flag": "zbud"}, "flags", 2 << 56, r"the page flags are not those of mine: page 0x2, "),
        ({"flag": "zbud"}, "flags", 2 << 56 | 3 << 24, r"the page flags are not those of mine: page 0x2, "),
    ],
)
def test_a_scheme_that_leaves_the_counts_alone_is_held_to_it(
    tag: dict[str, Any], field: str, value: int, said: str
) -> None:
    pool = sound("v12", scheme=Scheme("mine", **(TAGGED | tag)))
    pool.memmap.page(2)[field] = value
    assert re.match(said, broken(pool))


@pytest.mark.parametrize(
    ("first_chunks", "on", "left"), [(24, "_mapcount", "_count"), (28, "_count", "_mapcount"), (8, "mapping", "_count")]
)
def test_only_what_a_scheme_lies_on_is_not_held_to_anything(first_chunks: int, on: str, left: str) -> None:
    own = TAGGED | {"first_chunks": first_chunks, "last_chunks": first_chunks + 2, "buddy": 48}
    pool = sound("v12", scheme=Scheme("mine", **own))
    assert pool.memmap.page(0)[on] == 40 | 20 << 16
    pool.check()
    pool.memmap.page(0)[left] = 3
    assert re.match(rf"{left} is 3, not -?1: page 0x0, ", broken(pool))


def test_in_5_14_a_full_page_with_one_tenant_belongs_on_the_shared_list() -> None:
    pool = sound("linux-5.14")
    pool.data.set_chunks(1, 63, 0)
    relink(pool, 1, pool.buddied)
    assert re.match(r"<handle .*: allocation 2, 3200 bytes, page 0x1 FIRST> lies on 63 chunks", broken(pool))


@pytest.mark.parametrize("version", ["v11", "v12", "linux-3.11-rc1", "linux-3.11"])
def test_before_5_14_list_0_is_a_list_of_its_own(version: str) -> None:
    pool = sound(version)
    pool.data.set_chunks(1, pool.capacity, 0)
    relink(pool, 1, pool.buddied)
    assert re.match(r"a page with 6[34] and 0 chunks is on buddied, not on unbuddied\[0\]: page 0x1, ", broken(pool))
    relink(pool, 1, pool.unbuddied(0))
    assert re.match(r"<handle .*: allocation 2, 3200 bytes, page 0x1 FIRST> lies on 6[34] chunks", broken(pool))


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("which", ["buddy", "lru"])
def test_a_node_that_is_not_the_pages_own(version: str, which: str) -> None:
    """A sound chain, with the right pages in the right order, through a node that lies elsewhere in its page."""
    pool = sound(version)
    own = pool.data.buddy(2) if which == "buddy" else pool.data.lru(2)
    before = pool.memmap.load(own + 8)
    pool.memmap.list_del(own)
    pool.memmap.list_add(spare_node(pool, 2), before)
    name = r"unbuddied\[(19|20)\]" if which == "buddy" else "the lru"
    assert re.match(rf"{name} holds .*, which is no page's {which} node", broken(pool))


@pytest.mark.parametrize("version", ALL)
def test_the_lru_nodes_of_a_page_are_not_its_buddy_nodes(version: str) -> None:
    pool = sound(version)
    pool.memmap.list_del(pool.data.buddy(1))
    pool.memmap.list_del(pool.data.lru(1))
    pool.memmap.list_add(pool.data.lru(1), gap(pool, 50))
    pool.memmap.list_add(pool.data.buddy(1), pool.lru)
    assert re.match(r"unbuddied\[1[34]\] holds .*, which is no page's buddy node", broken(pool))


# ---------------------------------------------------------------------- the memmap


def a_memmap() -> Memmap:
    pages = KernelPages(Memmap(64))
    for kind in ("anonymous", "slab", "page table"):
        dress(pages.memmap, pages.alloc_page(), kind)
    dress(pages.memmap, alloc_block(pages, 2), "compound slab", order=2)
    return pages.memmap


@pytest.mark.parametrize("version", ALL)
def test_a_sound_memmap(version: str) -> None:
    a_memmap().check()
    sound(version).memmap.check()


def test_check_of_the_memmap_names_what_is_broken() -> None:
    m = a_memmap()
    m.owner[64] = "nobody"
    with pytest.raises(AssertionError, match="nobody owns page 0x40, which is outside"):
        m.check()
    free, slab = (next(pfn for pfn in m.pfns if m.owner.get(pfn) == who) for who in (None, "slab"))
    tail = next(pfn for pfn in m.pfns if m.page(pfn)["flags"] >> 15 & 1)
    for pfn, field, value, said in (
        (free, "_count", 1, "is free, yet its _count is 1"),
        (slab, "_mapcount", -128, "slab owns page .*, yet it passes for a free block"),
        (tail, "first_page", m.record(free), "is a tail of .*, which is no head"),
    ):
        m = a_memmap()
        m.page(pfn)[field] = value
        with pytest.raises(AssertionError, match=said):
            m.check()
