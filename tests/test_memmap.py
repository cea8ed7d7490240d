"""The memmap: addresses, single numbers anywhere, frames that come when touched, oopses, and lists at addresses."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbudlab.memmap import DIRECT_MAP, VMEMMAP, KernelOops, Memmap, canonical
from zbudlab.struct_page import LIST_POISON1, LIST_POISON2, ZBUD_PAGE

PAGE = 4096
FOUR_GIG = 1 << 32


@pytest.fixture
def m() -> Memmap:
    """Eight idle pages."""
    memmap = Memmap(8)
    memmap.fill()
    return memmap


def lru(m: Memmap, pfn: int) -> int:
    return m.record(pfn) + 32


def oops(call: Callable[[], object]) -> KernelOops:
    with pytest.raises(KernelOops) as caught:
        call()
    return caught.value


# ---------------------------------------------------------------------- addresses


def test_addresses_are_those_of_x86_64_in_2013(m: Memmap) -> None:
    assert (VMEMMAP, DIRECT_MAP) == (0xFFFFEA0000000000, 0xFFFF880000000000)
    assert (m.record(0), m.record(7)) == (0xFFFFEA0000000000, 0xFFFFEA00000001C0)
    assert (m.frame(0), m.frame(7)) == (0xFFFF880000000000, 0xFFFF880000007000)
    assert m.page(7).address == m.record(7)


def test_a_base_pfn_moves_the_records_not_the_arithmetic() -> None:
    m = Memmap(4, base_pfn=0x12345)
    m.fill()
    assert m.record(0x12345) == 0xFFFFEA000048D140
    assert m.pfns == range(0x12345, 0x12349)
    m.store(0xFFFFEA000048D140 + 28, 7, 4)
    assert m.page(0x12345)["_count"] == 7
    assert m.raw[28:32] == b"\x07\0\0\0"
    assert oops(lambda: m.load(m.record(0x12344))).address == 0xFFFFEA000048D100
    assert oops(lambda: m.load(m.record(0x12349))).address == 0xFFFFEA000048D240
    assert m.load(m.record(0x12348) + 32) == m.record(0x12348) + 32
    m.store(m.frame(0x12346), 1)
    assert oops(lambda: m.load(m.frame(0x12344))).address == 0xFFFF880012344000


@pytest.mark.parametrize("arguments", [{"pages": 0}, {"pages": -1}, {"pages": 1, "base_pfn": -1}])
def test_a_memmap_needs_a_page(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1 page"):
        Memmap(**arguments)


def test_a_pfn_outside_the_memmap_has_no_record(m: Memmap) -> None:
    for pfn in (-1, 8, 1 << 40):
        with pytest.raises(IndexError, match=r"outside this memmap \(0x0 to 0x7\)"):
            m.page(pfn)


def test_numpy_pfns_are_fine(m: Memmap) -> None:
    m.page(3)["_count"] = 9
    assert m.page(np.int64(3))["_count"] == 9


def test_where_says_what_lies_at_an_address(m: Memmap) -> None:
    assert m.where(m.record(5) + 16) == "struct page of 0x5, byte 16"
    assert m.where(m.record(0)) == "struct page of 0x0, byte 0"
    assert m.where(m.record(7) + 63) == "struct page of 0x7, byte 63"
    assert m.where(m.record(8)) == m.where(m.record(0) - 1) == "nowhere"
    assert m.where(m.frame(1) + 0x40) == "page 0x1 + 0x040"
    assert m.where(m.frame(7) + 0xFFF) == "page 0x7 + 0xfff"
    assert m.where(m.frame(8)) == m.where(m.frame(0) - 1) == m.where(0) == m.where(8) == "nowhere"
    assert m.where(LIST_POISON1) == m.where(LIST_POISON2) == "list poison"
    assert m.save().frames == {}, "asking where brings no frame into being"
    far = Memmap(2, base_pfn=0x100, ram=[range(0x50, 0x51)])
    assert far.where(far.record(0x101) + 8) == "struct page of 0x101, byte 8"
    assert far.where(far.frame(0x50)) == "page 0x50 + 0x000"
    assert far.where(far.frame(0x100)) == "nowhere"


def test_repr() -> None:
    assert repr(Memmap(4, base_pfn=0x10)) == "<Memmap: 4 pages from pfn 0x10>"
    assert repr(Memmap(1).page(0)) == "<Page 0x0: flags 0x0, _mapcount 0, _count 0>"


# ---------------------------------------------------------------------- load and store

REGIONS = st.sampled_from(
    [(VMEMMAP + 64 * 3, 64 * 2), (DIRECT_MAP + PAGE * 3, PAGE * 2), (DIRECT_MAP + PAGE * 9, PAGE)]
)


@st.composite
def accesses(draw: st.DrawFn) -> tuple[int, int, int, int | None]:
    """(region's start, offset in it, size, value to store or None to load), biased to the edges of words and pages."""
    start, length = draw(REGIONS)
    size = draw(st.integers(1, 8))
    near = st.sampled_from([e for e in (0, 8, 64, PAGE, length) if e <= length]).flatmap(
        lambda edge: st.integers(edge - 9, edge + 9)
    )
    offset = draw(near | st.integers(0, length))
    return start, min(max(offset, 0), length - size), size, draw(st.none() | st.integers(-(2**64), 2**65))


@given(st.lists(accesses(), max_size=30))
def test_load_and_store_are_a_plain_bytearray(script: list[tuple[int, int, int, int | None]]) -> None:
    m = Memmap(2, base_pfn=3, ram=[range(3, 5), range(9, 10)])
    plain = {VMEMMAP + 64 * 3: bytearray(128), DIRECT_MAP + PAGE * 3: bytearray(2 * PAGE)}
    plain[DIRECT_MAP + PAGE * 9] = bytearray(PAGE)
    for start, offset, size, value in script:
        if value is None:
            assert m.load(start + offset, size) == int.from_bytes(plain[start][offset : offset + size], "little")
        else:
            m.store(start + offset, value, size)
            plain[start][offset : offset + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    records, frames, lone = plain.values()
    assert m.raw == records
    assert bytes(m.frame_bytes(3)) + bytes(m.frame_bytes(4)) == frames
    assert m.frame_bytes(9) == lone


def test_the_default_is_eight_bytes(m: Memmap) -> None:
    m.store(m.frame(0) + 3, 0x1122334455667788)
    assert m.load(m.frame(0) + 3) == 0x1122334455667788
    assert bytes(m.frame_bytes(0)[:12]) == bytes.fromhex("000000 8877665544332211 00")


@pytest.mark.parametrize("end", ["record", "frame"])
def test_an_access_that_runs_out_of_memory_does_nothing(m: Memmap, end: str) -> None:
    edge = m.record(8) if end == "record" else m.frame(8)
    m.store(edge - 8, 0x0807060504030201)
    before = m.save()
    for size in range(4, 9):
        fault = oops(lambda size=size: m.store(edge - 3, 2**64 - 1, size))
        assert (fault.address, fault.access) == (edge, "write")
        fault = oops(lambda size=size: m.load(edge - 3, size))
        assert (fault.address, fault.access) == (edge, "read")
    assert m.save() == before
    assert m.load(edge - 3, 3) == 0x080706, "the bytes before the edge are there"


def test_a_number_may_cross_into_another_page(m: Memmap) -> None:
    m.store(m.frame(1) - 3, 0x0102030405060708)
    assert bytes(m.frame_bytes(0)[-3:]) + bytes(m.frame_bytes(1)[:5]) == bytes.fromhex("0807060504030201")
    m.store(m.record(1) - 2, 0xAABBCCDD, 4)
    assert m.raw[62:66] == bytes.fromhex("ddccbbaa")


# ---------------------------------------------------------------------- frames and RAM


def test_a_million_pages_cost_their_records_only() -> None:
    tracemalloc.start()
    try:
        m = Memmap(1 << 20)
        for pfn in (0, 1 << 19, (1 << 20) - 1):
            m.store(m.frame(pfn) + 8, pfn)
            m.page(pfn)["_count"] = 1
        assert m.load(m.frame(1 << 19) + 8) == 1 << 19
        grown, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 64 << 20 <= grown <= peak < (64 << 20) + (64 << 10)


def test_frames_come_zeroed_when_touched_and_stay(m: Memmap) -> None:
    assert m.save().frames == {}
    assert m.load(m.frame(2) + 100) == 0
    view = m.frame_bytes(2)
    assert len(view) == PAGE and not view.readonly and view == bytes(PAGE)
    view[5] = 9
    assert m.load(m.frame(2) + 5, 1) == 9
    m.store(m.frame(2) + 6, 8, 1)
    assert view[6] == 8
    assert set(m.save().frames) == {2}


def test_ram_may_have_holes_and_reach_beyond_the_records() -> None:
    m = Memmap(4, base_pfn=8, ram=[range(8, 10), range(100, 101)])
    for pfn in (8, 9, 100):
        m.store(m.frame(pfn) + PAGE - 8, pfn)
        assert m.load(m.frame(pfn) + PAGE - 8) == pfn
        assert len(m.frame_bytes(pfn)) == PAGE
    for pfn in (7, 10, 11, 99, 101):
        assert oops(lambda pfn=pfn: m.store(m.frame(pfn), 1)).address == m.frame(pfn)
        assert oops(lambda pfn=pfn: m.load(m.frame(pfn))).address == m.frame(pfn)
        assert oops(lambda pfn=pfn: m.frame_bytes(pfn)).address == m.frame(pfn)
    assert m.page(11)["_count"] == 0, "a record needs no memory behind its page"
    assert oops(lambda: Memmap(2, ram=[]).load(m.frame(0))).address == m.frame(0), "no RAM at all is possible too"


# ---------------------------------------------------------------------- oopses


def test_what_an_oops_says(m: Memmap) -> None:
    def text(address: int) -> str:
        return str(oops(lambda: m.load(address)))

    assert text(0) == "NULL pointer dereference at 0x0 (read)"
    assert text(8) == "NULL pointer dereference at 0x8 (read)"
    assert text(0xFF8) == "NULL pointer dereference at 0xff8 (read)"
    assert text(0x1000) == "unable to handle kernel paging request at 0x0000000000001000 (read)"
    assert text(m.record(8)) == "unable to handle kernel paging request at 0xffffea0000000200 (read)"
    assert text(m.frame(8)) == "unable to handle kernel paging request at 0xffff880000008000 (read)"
    assert text(0xFFFF87FF1B2C3C08) == "unable to handle kernel paging request at 0xffff87ff1b2c3c08 (read)"
    assert text(LIST_POISON1 + 8) == "general protection fault at 0xdead000000100108 (read)"
    assert text(1 << 47) == "general protection fault at 0x0000800000000000 (read)"
    assert str(oops(lambda: m.store(0x10, 1))) == "NULL pointer dereference at 0x10 (write)"


def test_an_oops_names_the_operations_innermost_first() -> None:
    fault = KernelOops(0x8, "write").within("list_del").within("zbud_free")
    assert (fault.address, fault.access, fault.during) == (8, "write", ["list_del", "zbud_free"])
    assert str(fault) == "NULL pointer dereference at 0x8 (write, in list_del, in zbud_free)"


def test_canonical_addresses() -> None:
    good = [0, (1 << 47) - 1, 0xFFFF800000000000, DIRECT_MAP, VMEMMAP, 2**64 - 1]
    bad = [1 << 47, 0xFFFF7FFFFFFFFFFF, LIST_POISON1, LIST_POISON2]
    assert all(map(canonical, good)) and not any(map(canonical, bad))


# ---------------------------------------------------------------------- records


def test_an_idle_record(m: Memmap) -> None:
    own = (m.record(2) + 32).to_bytes(8, "little")
    idle = bytes.fromhex("0000000000000002") + bytes(16) + bytes.fromhex("ffffffff00000000") + own + own + bytes(16)
    assert m.page(2).raw == idle
    assert m.default_record() == idle[:32] + bytes(32)
    assert all(m.load(lru(m, pfn)) == m.load(lru(m, pfn) + 8) == lru(m, pfn) for pfn in m.pfns)
    m.raw[:] = b"x" * len(m.raw)
    m.fill()
    assert m.page(2).raw == idle
    high = Memmap(2, base_pfn=0x1000)
    high.fill()
    assert high.load(high.record(0x1001) + 40) == high.record(0x1001) + 32


def test_a_record_is_set_whole(m: Memmap) -> None:
    before = bytes(m.raw)
    m.page(4).raw = bytes(range(64))
    assert m.page(4).raw == bytes(range(64))
    assert m.raw == before[: 4 * 64] + bytes(range(64)) + before[5 * 64 :]
    for wrong in (b"", bytes(63), bytes(65)):
        with pytest.raises(ValueError, match=f"64 bytes, not {len(wrong)}"):
            m.page(4).raw = wrong
    assert len(m.raw) == 8 * 64


def test_a_pointer_stored_over_the_counts(m: Memmap) -> None:
    """The arithmetic that the whole discussion is about."""
    p = m.page(2)
    m.store(p.address + 24, 0xFFFFEA000048E650)
    assert (p["_mapcount"], p["_count"]) == (4777552, -5632)
    m.store(p.address + 24, 0xFFFF88001B2C38C8)
    assert (p["_mapcount"], p["_count"]) == (455882952, -30720)
    p["_count"] += 1
    assert m.load(p.address + 24) == 0xFFFF88011B2C38C8
    p["_count"] -= 2
    assert m.load(p.address + 24) == 0xFFFF87FF1B2C38C8


# ---------------------------------------------------------------------- lists

PLACES = [DIRECT_MAP + PAGE * 7 + 8, DIRECT_MAP + 16, VMEMMAP + 32, VMEMMAP + 64 + 16, VMEMMAP + 64 + 32]
PLACES += [DIRECT_MAP + PAGE * 3 + 64 * i for i in range(3)]
ACTIONS = st.tuples(st.sampled_from(["add", "tail", "del"]), st.integers(0, 1), st.integers(0, len(PLACES) - 1))


@given(st.lists(ACTIONS, max_size=40))
def test_lists_are_lists(script: list[tuple[str, int, int]]) -> None:
    """Two heads, eight nodes in records and frames, against two plain lists: both ways round, and poison where off."""
    m = Memmap(8)
    heads, plain = [m.frame(6), m.frame(6) + 16], [[], []]
    for head in heads:
        m.list_init(head)
    gone: set[int] = set()
    for what, which, place in script:
        node = PLACES[place]
        on = next((p for p in plain if node in p), None)
        if what == "del" and on is not None:
            m.list_del(node)
            on.remove(node)
            gone.add(node)
        elif what != "del" and on is None:
            (m.list_add if what == "add" else m.list_add_tail)(node, heads[which])
            plain[which].insert(0 if what == "add" else len(plain[which]), node)
            gone.discard(node)
        for head, nodes in zip(heads, plain, strict=True):
            assert list(m.list_walk(head)) == nodes
            assert m.list_empty(head) == (not nodes)
            ring = [head, *nodes, head]
            assert [m.load(x + 8) for x in ring[1:]] == ring[:-1]
        for node in gone:
            assert (m.load(node), m.load(node + 8)) == (LIST_POISON1, LIST_POISON2)


def chain(m: Memmap, *pfns: int) -> int:
    """A list head in the last frame, with the lru nodes of `pfns` on it, first to last."""
    head = m.frame(m.pfns[-1]) + 64
    m.list_init(head)
    for pfn in reversed(pfns):
        m.list_add(lru(m, pfn), head)
    return head


def test_deleting_twice_is_a_general_protection_fault(m: Memmap) -> None:
    chain(m, 1, 2)
    m.list_del(lru(m, 1))
    before = m.save()
    fault = oops(lambda: m.list_del(lru(m, 1)))
    assert str(fault) == "general protection fault at 0xdead000000100108 (write, in list_del)"
    assert m.save() == before


def test_a_next_pointer_four_gigabytes_off(m: Memmap) -> None:
    chain(m, 1, 2, 3)
    m.store(lru(m, 2) + 4, m.load(lru(m, 2) + 4, 4) + 1, 4)  # +1 on the upper half, as a reference count would
    before = m.save()
    fault = oops(lambda: m.list_del(lru(m, 2)))
    assert (fault.address, fault.access, fault.during) == (lru(m, 3) + FOUR_GIG + 8, "write", ["list_del"])
    assert m.save() == before, "the first write was the one that faulted"


def test_a_prev_pointer_four_gigabytes_off(m: Memmap) -> None:
    chain(m, 1, 2, 3)
    wild = lru(m, 1) + FOUR_GIG
    m.store(lru(m, 2) + 12, m.load(lru(m, 2) + 12, 4) + 1, 4)
    before = bytearray(m.raw)
    fault = oops(lambda: m.list_del(lru(m, 2)))
    assert (fault.address, fault.access, fault.during) == (wild, "write", ["list_del"])
    before[3 * 64 + 40 : 3 * 64 + 48] = wild.to_bytes(8, "little")  # what was written before the fault stays
    assert m.raw == before
    assert m.load(lru(m, 2)) == lru(m, 3), "and the entry was not poisoned yet"


def test_adding_to_a_damaged_head(m: Memmap) -> None:
    head = chain(m, 1)
    m.store(head, lru(m, 1) + FOUR_GIG)
    before = m.save()
    fault = oops(lambda: m.list_add(lru(m, 4), head))
    assert (fault.address, fault.access, fault.during) == (lru(m, 1) + FOUR_GIG + 8, "write", ["list_add"])
    assert m.save() == before


def test_adding_an_entry_that_is_nowhere(m: Memmap) -> None:
    head, nowhere = chain(m, 1), m.record(9)
    fault = oops(lambda: m.list_add(nowhere, head))
    assert (fault.address, fault.access, fault.during) == (nowhere, "write", ["list_add"])
    assert m.load(lru(m, 1) + 8) == nowhere, "the neighbour's link was written before the fault"
    assert m.load(head) == lru(m, 1)


@pytest.mark.parametrize("operation", ["list_add", "list_del"])
def test_a_head_or_entry_that_is_nowhere(m: Memmap, operation: str) -> None:
    before = m.save()
    fault = oops(lambda: m.list_add(lru(m, 1), 0) if operation == "list_add" else m.list_del(0))
    assert (fault.address, fault.access, fault.during) == (0, "read", [operation])
    assert m.save() == before


@pytest.mark.parametrize("skew", [1, 2, 4, 7])
def test_deleting_through_unaligned_links(m: Memmap, skew: int) -> None:
    """The processor writes where the links say, byte by byte."""
    chain(m, 1, 2, 3)
    after, before = m.frame(5) + 200 + skew, m.frame(5) + 304
    m.store(lru(m, 2), after)
    m.store(lru(m, 2) + 8, before)
    m.list_del(lru(m, 2))
    expected = bytearray(PAGE)
    expected[208 + skew : 216 + skew] = before.to_bytes(8, "little")
    expected[304:312] = after.to_bytes(8, "little")
    assert m.frame_bytes(5) == expected
    assert (m.load(lru(m, 2)), m.load(lru(m, 2) + 8)) == (LIST_POISON1, LIST_POISON2)


@pytest.mark.parametrize("skew", [1, 4, 7])
def test_deleting_with_only_prev_unaligned(m: Memmap, skew: int) -> None:
    chain(m, 1, 2, 3)
    before = m.frame(5) + PAGE - 4 - skew  # for some skews the number crosses into page 6
    m.store(lru(m, 2) + 8, before)
    m.list_del(lru(m, 2))
    assert m.load(before) == lru(m, 3)
    assert m.load(lru(m, 3) + 8) == before
    assert bytes(m.frame_bytes(5)[: -4 - skew]) == bytes(PAGE - 4 - skew)


def test_an_unaligned_link_may_fault_too(m: Memmap) -> None:
    chain(m, 1, 2, 3)
    m.store(lru(m, 2), 0x1)
    before = m.save()
    fault = oops(lambda: m.list_del(lru(m, 2)))
    assert (fault.address, fault.during) == (0x9, ["list_del"])
    assert m.save() == before


@pytest.mark.parametrize("skew", [1, 2, 4])
def test_adding_through_an_unaligned_link(m: Memmap, skew: int) -> None:
    head = chain(m, 1)
    odd = m.frame(5) + 96 + skew
    m.store(head, odd)
    m.list_add(lru(m, 4), head)
    expected = bytearray(PAGE)
    expected[104 + skew : 112 + skew] = lru(m, 4).to_bytes(8, "little")
    assert m.frame_bytes(5) == expected
    assert (m.load(lru(m, 4)), m.load(lru(m, 4) + 8), m.load(head)) == (odd, head, lru(m, 4))


def test_a_walk_that_never_comes_home(m: Memmap) -> None:
    head = chain(m, 1, 2, 3)
    m.store(lru(m, 3), lru(m, 2))
    seen: list[int] = []

    def walk() -> None:
        for node in m.list_walk(head, 10):
            seen.append(node)

    with pytest.raises(RuntimeError, match=r"the list at 0xffff880000007040 does not return to its head within 10 "):
        walk()
    assert seen == [lru(m, pfn) for pfn in (1, 2, 3, 2, 3, 2, 3, 2, 3, 2)]
    chain(m, 1, 2, 3)
    assert len(list(m.list_walk(head, 4))) == 3, "three entries, and a fourth step to see the head"


def test_a_walk_into_nowhere_is_an_oops(m: Memmap) -> None:
    head = chain(m, 1, 2)
    m.store(lru(m, 2), 0)
    assert oops(lambda: list(m.list_walk(head))).address == 0


# ---------------------------------------------------------------------- save and restore


def test_restore_puts_every_byte_back_in_place(m: Memmap) -> None:
    m.store(m.frame(1) + 10, 0x42, 1)
    m.owner[3] = "zbud"
    column, zbud, view = m.pages()["_count"], m.records(ZBUD_PAGE)["first_chunks"], m.frame_bytes(1)
    page, saved = m.page(3), m.save()
    for _ in range(2):  # a copy is good for more than one restore
        column[3], zbud[2] = 5, 7
        view[10:12] = b"\x43\x44"
        m.owner.update({3: "lost", 4: "slab"})
        m.store(m.frame(2), 1)  # a frame that the copy does not know
        assert m.save() != saved
        m.restore(saved)
        assert (page["_count"], m.page(2)["mapping"], m.load(m.frame(1) + 10, 2)) == (0, 0, 0x42)
        assert (column[3], zbud[2], bytes(view[10:12])) == (0, 0, b"\x42\0"), "old views see what came back"
        assert m.owner == {3: "zbud"}
        assert m.load(m.frame(2)) == 0
    column[3], view[10] = 6, 0x45
    assert (m.page(3)["_count"], m.load(m.frame(1) + 10, 1)) == (6, 0x45), "and still write through"


def test_a_saved_copy_does_not_change(m: Memmap) -> None:
    m.store(m.frame(0), 1)
    saved = m.save()
    kept = (bytes(saved.records), dict(saved.frames), dict(saved.owner))
    m.page(0)["_count"] = 9
    m.store(m.frame(0), 2)
    m.owner[0] = "zbud"
    assert (saved.records, saved.frames, saved.owner) == kept
    m.restore(saved)
    m.owner[1] = "zbud"
    m.store(m.frame(0), 3)
    assert (saved.records, saved.frames, saved.owner) == kept


def test_a_view_of_a_frame_born_after_the_copy_stays_good(m: Memmap) -> None:
    saved = m.save()
    view = m.frame_bytes(2)
    view[0] = 1
    m.restore(saved)
    assert m.load(m.frame(2), 1) == 0
    m.store(m.frame(2), 7, 1)
    assert view[0] == 7


# ---------------------------------------------------------------------- include/linux/list.h to the letter


def test_list_add_tail_writes_the_head_first(m: Memmap) -> None:
    """list_add_tail is __list_add(new, head->prev, head): head->prev, then new, then prev->next."""
    head, wild = chain(m, 1), lru(m, 1) + FOUR_GIG
    m.store(head + 8, wild)
    fault = oops(lambda: m.list_add_tail(lru(m, 4), head))
    assert (fault.address, fault.access) == (wild, "write")
    assert m.load(head + 8) == lru(m, 4)
    assert (m.load(lru(m, 4)), m.load(lru(m, 4) + 8)) == (head, wild)


def test_list_add_tail_does_not_read_the_last_entry(m: Memmap) -> None:
    head = chain(m, 1)
    m.store(lru(m, 1), 0)  # the last entry's own next is damaged, and nobody minds
    m.list_add_tail(lru(m, 4), head)
    assert (m.load(lru(m, 1)), m.load(head + 8), m.load(lru(m, 4))) == (lru(m, 4), lru(m, 4), head)


def test_list_add_tail_through_an_unaligned_prev(m: Memmap) -> None:
    head, odd = chain(m, 1), m.frame(5) + 101
    m.store(head + 8, odd)
    m.list_add_tail(lru(m, 4), head)
    assert (m.load(odd), m.load(head + 8)) == (lru(m, 4), lru(m, 4))


def test_addresses_wrap_at_64_bits(m: Memmap) -> None:
    chain(m, 1, 2)
    m.store(lru(m, 1), 2**64 - 8)
    assert str(oops(lambda: m.list_del(lru(m, 1)))) == "NULL pointer dereference at 0x0 (write, in list_del)"


@pytest.mark.parametrize("node", ["crossing", "unaligned", "unaligned and crossing"])
def test_a_list_node_may_lie_anywhere(m: Memmap, node: str) -> None:
    head = chain(m, 1)
    at = {"crossing": m.frame(3) - 8, "unaligned": m.frame(3) + 100, "unaligned and crossing": m.frame(3) - 5}[node]
    for add, expected in ((m.list_add, [at, lru(m, 1)]), (m.list_add_tail, [lru(m, 1), at])):
        add(at, head)
        assert list(m.list_walk(head)) == expected
        ring = [head, *expected, head]
        assert [m.load(x + 8) for x in ring[1:]] == ring[:-1]
        m.list_del(at)
        assert list(m.list_walk(head)) == [lru(m, 1)]
        assert (m.load(at), m.load(at + 8)) == (LIST_POISON1, LIST_POISON2)


@pytest.mark.parametrize("end", [0, 3, 8])
def test_a_list_node_that_runs_out_of_memory(m: Memmap, end: int) -> None:
    """Its second half lies where nothing is; what the kernel had written by then stays."""
    head, node = chain(m, 1), m.frame(8) - 8 - end
    if end == 8:
        m.list_add(node, head)
        return
    fault = oops(lambda: m.list_add(node, head))
    assert (fault.address, fault.access, fault.during) == (m.frame(8), "write", ["list_add"])
    assert (m.load(lru(m, 1) + 8), m.load(node), m.load(head)) == (node, lru(m, 1), lru(m, 1))
