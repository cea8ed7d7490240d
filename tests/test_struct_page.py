"""The record: where each name lies, what each predicate asks, and that one page and a column of pages agree."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbudlab import struct_page as sp
from zbudlab.memmap import KernelOops, Memmap
from zbudlab.page import Columns
from zbudlab.struct_page import PG, SLUB_PAGE, STRUCT_PAGE, ZBUD_PAGE, Field, Layout

# name, offset, size, signed: Linux 3.10, x86_64, SLUB (mm_types.h), zbud v12, SLUB's own view.
TABLES: list[tuple[Layout, list[tuple[str, int, int, bool]]]] = [
    (
        STRUCT_PAGE,
        [
            ("flags", 0, 8, False),
            ("mapping", 8, 8, False),
            ("index", 16, 8, False),
            ("pfmemalloc", 16, 1, False),
            ("_mapcount", 24, 4, True),
            ("_count", 28, 4, True),
            ("lru.next", 32, 8, False),
            ("lru.prev", 40, 8, False),
            ("private", 48, 8, False),
            ("first_page", 48, 8, False),
            ("padding", 56, 8, False),
        ],
    ),
    (
        ZBUD_PAGE,
        [
            ("donotuse", 0, 8, False),
            ("first_chunks", 8, 2, False),
            ("last_chunks", 10, 2, False),
            ("buddy.next", 16, 8, False),
            ("buddy.prev", 24, 8, False),
            ("lru.next", 32, 8, False),
            ("lru.prev", 40, 8, False),
        ],
    ),
    (
        SLUB_PAGE,
        [
            ("flags", 0, 8, False),
            ("freelist", 16, 8, False),
            ("inuse", 24, 2, False),
            ("objects_frozen", 26, 2, False),
            ("_count", 28, 4, True),
            ("next", 32, 8, False),
            ("pages", 40, 4, True),
            ("pobjects", 44, 4, True),
            ("slab_cache", 48, 8, False),
        ],
    ),
]
LAYOUTS = [layout for layout, _ in TABLES]

# Linux 3.10 with PAT, MEMORY_FAILURE and THP (page-flags.h).
BITS = {
    "locked": 0,
    "error": 1,
    "referenced": 2,
    "uptodate": 3,
    "dirty": 4,
    "lru": 5,
    "active": 6,
    "slab": 7,
    "owner_priv_1": 8,
    "arch_1": 9,
    "reserved": 10,
    "private": 11,
    "private_2": 12,
    "writeback": 13,
    "head": 14,
    "tail": 15,
    "swapcache": 16,
    "mappedtodisk": 17,
    "reclaim": 18,
    "swapbacked": 19,
    "unevictable": 20,
    "mlocked": 21,
    "uncached": 22,
    "hwpoison": 23,
    "compound_lock": 24,
}
FLAG_PREDICATES = {
    sp.PageLRU: "lru",
    sp.PageSlab: "slab",
    sp.PageReserved: "reserved",
    sp.PageReclaim: "reclaim",
    sp.PageHWPoison: "hwpoison",
    sp.PageHead: "head",
    sp.PageTail: "tail",
}
PREDICATES = [*FLAG_PREDICATES, sp.PageAnon, sp.PageKsm, sp.PageBuddy, sp.page_mapped, sp.page_mapcount, sp.page_count]

TAIL = 1 << BITS["tail"]


def memmap_of(*records: bytes, base_pfn: int = 0) -> Memmap:
    m = Memmap(len(records), base_pfn=base_pfn)
    for pfn, content in zip(m.pfns, records, strict=True):
        m.page(pfn).raw = content
    return m


# ---------------------------------------------------------------------- layouts


@pytest.mark.parametrize(("layout", "table"), TABLES, ids=lambda x: x.title if isinstance(x, Layout) else "")
def test_fields_lie_where_the_kernel_has_them(layout: Layout, table: list[tuple[str, int, int, bool]]) -> None:
    assert [(f.name, f.offset, f.size, f.signed) for f in layout.values()] == table
    assert list(layout) == [name for name, *_ in table] and len(layout) == len(table)


def test_a_layout_names_itself_and_refuses_unknown_names() -> None:
    assert repr(ZBUD_PAGE).startswith("<Layout struct zbud_page, v12: donotuse, first_chunks")
    with pytest.raises(KeyError):
        STRUCT_PAGE["first_chunks"]
    assert "first_chunks" in ZBUD_PAGE


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.title)
def test_no_field_leaves_the_record_or_is_unaligned(layout: Layout) -> None:
    for f in layout.values():
        assert f.offset % f.size == 0 and f.offset + f.size <= sp.RECORD


def test_the_constants() -> None:
    assert (sp.RECORD, sp.PAGE_SIZE, sp.CHUNK) == (64, 4096, 64)
    assert (sp.LIST_POISON1, sp.LIST_POISON2) == (0xDEAD000000100100, 0xDEAD000000200200)
    assert sp.PAGE_BUDDY_MAPCOUNT_VALUE == -128


def test_covering_names_the_fields_that_share_a_byte() -> None:
    def names(layout: Layout, offset: int, size: int = 1) -> list[str]:
        return [f.name for f in layout.covering(offset, size)]

    assert names(ZBUD_PAGE, 24, 4) == names(ZBUD_PAGE, 28, 4) == ["buddy.prev"]
    assert names(ZBUD_PAGE, 8, 8) == ["first_chunks", "last_chunks"]
    assert names(ZBUD_PAGE, 12, 4) == names(ZBUD_PAGE, 48, 16) == []
    assert names(STRUCT_PAGE, 16) == ["index", "pfmemalloc"]
    assert names(STRUCT_PAGE, 17) == ["index"]
    assert names(STRUCT_PAGE, 24, 8) == ["_mapcount", "_count"]
    assert names(STRUCT_PAGE, 27, 2) == ["_mapcount", "_count"]
    assert names(STRUCT_PAGE, 7, 1) == ["flags"]
    assert names(STRUCT_PAGE, 7, 2) == ["flags", "mapping"]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.title)
@given(records=st.lists(st.binary(min_size=64, max_size=64), min_size=1, max_size=4))
def test_every_layout_reads_the_same_bytes(layout: Layout, records: list[bytes]) -> None:
    m = memmap_of(*records)
    columns = m.records(layout)
    assert columns.shape == (len(records),) and columns.dtype.itemsize == 64
    for name, f in layout.items():
        expected = [int.from_bytes(r[f.offset : f.offset + f.size], "little", signed=f.signed) for r in records]
        assert columns[name].tolist() == expected
        assert columns[name].dtype == np.dtype(f.dtype)
        view = memoryview(m.raw).cast(f.code)
        assert [view[(64 * i + f.offset) // f.size] for i in range(len(records))] == expected
        if layout is STRUCT_PAGE:
            assert [m.page(i)[name] for i in range(len(records))] == expected


@given(st.data(), st.binary(min_size=64, max_size=64))
def test_writing_a_field_changes_its_bytes_and_no_others(data: st.DataObject, record: bytes) -> None:
    f = data.draw(st.sampled_from(list(STRUCT_PAGE.values())))
    low, high = (-(1 << 8 * f.size - 1), (1 << 8 * f.size - 1) - 1) if f.signed else (0, (1 << 8 * f.size) - 1)
    value = data.draw(st.integers(low, high))
    m = memmap_of(bytes(64), record, bytes(64))
    m.page(1)[f.name] = value
    end = f.offset + f.size
    assert m.page(1).raw == record[: f.offset] + value.to_bytes(f.size, "little", signed=f.signed) + record[end:]
    assert m.page(0).raw == m.page(2).raw == bytes(64)
    m.pages()[f.name][2] = value  # a column is the very same memory
    assert m.page(2)[f.name] == value


def test_a_value_that_does_not_fit_is_refused() -> None:
    p = Memmap(1).page(0)
    for name, value in (("_count", 2**31), ("_count", -(2**31) - 1), ("flags", -1), ("flags", 2**64)):
        with pytest.raises(ValueError, match=r"range|format"):
            p[name] = value
    assert p.raw == bytes(64)


def test_field_says_what_it_is() -> None:
    assert repr(Field("x", 4, 4, signed=True)) == "Field('x', bytes 4 to 7, signed)"
    assert repr(Field("x", 8)) == "Field('x', bytes 8 to 15)"
    assert (Field("x", 8, 2).code, Field("x", 8, 2).dtype) == ("H", "<u2")
    assert (Field("x", 8, 4, signed=True).code, Field("x", 8, 4, signed=True).dtype) == ("i", "<i4")


# ---------------------------------------------------------------------- flags


def test_flag_bits() -> None:
    assert dict(PG) == BITS
    assert list(PG) == sorted(BITS, key=BITS.__getitem__)


def test_flags_that_the_allocator_checks() -> None:
    assert sp.CHECK_AT_FREE == 0x1B13CE1
    assert sp.CHECK_AT_PREP == 0x1FFFFFF
    assert sp.CHECK_AT_FREE & ~sp.CHECK_AT_PREP == 0
    assert not sp.CHECK_AT_FREE & 1 << BITS["reclaim"], "a leftover PG_reclaim is cleared in silence"


def test_zone_and_node_bits() -> None:
    assert [sp.page_zone(zone << 56) for zone in range(4)] == ["DMA", "DMA32", "Normal", "Movable"]
    assert sp.page_zone(63 << 58 | 2 << 56 | 0x1FFFFFF) == "Normal"
    assert sp.ZONE_NORMAL == 0x0200000000000000
    assert (sp.ZONE_SHIFT, sp.NODE_SHIFT) == (56, 58)


@given(st.sets(st.sampled_from(list(BITS))), st.integers(0, 2**39 - 1))
def test_flag_names_lists_the_low_bits_only(names: set[str], high: int) -> None:
    flags = sum(1 << BITS[n] for n in names) | high << 25
    assert sp.flag_names(flags) == sorted(names, key=BITS.__getitem__)


@pytest.mark.parametrize(("predicate", "name"), FLAG_PREDICATES.items(), ids=lambda x: getattr(x, "__name__", x))
def test_each_flag_predicate_asks_its_own_bit(predicate: Any, name: str) -> None:
    m = Memmap(2)
    m.page(0)["flags"] = 1 << BITS[name]
    m.page(1)["flags"] = ~(1 << BITS[name]) & 2**64 - 1
    assert [predicate(m.page(pfn)) for pfn in m.pfns] == [True, False]
    assert predicate(m.pages()).tolist() == [True, False]
    assert sp.page_flag(m.page(0), name) is True


# ---------------------------------------------------------------------- predicates on golden records

# From the references' golden vectors: bytes 0 to 31, then the expected _mapcount, _count, page_mapcount and words.
GOLDEN = {
    "free buddy head": ("0000000000000001 0000000000000000 0200000000000000 80ffffff00000000", -128, 0, {"PageBuddy"}),
    "free, on a per-cpu list": ("0000000000000001 0000000000000000 0200000000000000 ffffffff00000000", -1, 0, set()),
    "boot-reserved": ("0004000000000001 0000000000000000 0000000000000000 ffffffff01000000", -1, 1, {"PageReserved"}),
    "slab, not frozen": (
        "8000000000000001 0000000000000000 400000050088ffff 0300150001000000",
        1376259,
        1,
        {"PageSlab", "page_mapped"},
    ),
    "slab, frozen": (
        "8000000000000001 0000000000000000 0000000000000000 1500158001000000",
        -2146107371,
        1,
        {"PageSlab"},
    ),
    "anon user, mapped once": (
        "6c00080000000001 0100001e0088ffff 0000f00700000000 0000000001000000",
        0,
        1,
        {"PageLRU", "PageAnon", "page_mapped"},
    ),
    "page cache, mapped twice": (
        "3c00020000000001 5001101e0088ffff 0600000000000000 0100000003000000",
        1,
        3,
        {"PageLRU", "page_mapped"},
    ),
    "zbud v12, 9 and 19 chunks, first": (
        "0000000000000001 0900130000000000 50e6480000eaffff 083c2c1b0088ffff",
        455883784,
        -30720,
        {"PageAnon", "page_mapped"},
    ),
    "zbud v12, 12 and 30 chunks, second": (
        "0000000000000001 0c001e0000000000 083c2c1b0088ffff 50d1480000eaffff",
        4772176,
        -5632,
        {"page_mapped"},
    ),
    "zbud v12, 51 chunks alone": (
        "0000000000000001 3300000000000000 d8382c1b0088ffff d8382c1b0088ffff",
        455882968,
        -30720,
        {"PageAnon", "PageKsm", "page_mapped"},
    ),
    "zbud v12, being evicted": (
        "0000040000000001 0900130000000000 000110000000adde 000220000000adde",
        2097664,
        -559087616,
        {"PageReclaim", "PageAnon", "page_mapped"},
    ),
    "tagged -127": ("0000000000000001 0000000000000000 0000000000000000 81ffffff01000000", -127, 1, set()),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_records(name: str) -> None:
    line, mapcount, count, words = GOLDEN[name]
    p = memmap_of(bytes.fromhex(line) + bytes(32)).page(0)
    assert (p["_mapcount"], p["_count"]) == (mapcount, count)
    assert (sp.page_mapcount(p), sp.page_count(p)) == (mapcount + 1, count)
    boolean = [*FLAG_PREDICATES, sp.PageAnon, sp.PageKsm, sp.PageBuddy, sp.page_mapped]
    assert {f.__name__ for f in boolean if f(p)} == words


@pytest.mark.parametrize(
    ("mapping", "anon", "ksm"),
    [
        (0, False, False),
        (1, True, False),
        (2, False, False),
        (3, True, True),
        (0x14000B, True, True),
        (8, False, False),
    ],
)
def test_the_two_low_bits_of_mapping(mapping: int, anon: bool, ksm: bool) -> None:
    p = Memmap(1).page(0)
    p["mapping"] = mapping
    assert (sp.PageAnon(p), sp.PageKsm(p)) == (anon, ksm)


@pytest.mark.parametrize(
    ("raw", "mapcount", "mapped"),
    [(-1, 0, False), (0, 1, True), (-128, -127, False), (-2, -1, False), (2**31 - 1, -(2**31), True)],
)
def test_mapcount_starts_at_minus_one_and_wraps(raw: int, mapcount: int, mapped: bool) -> None:
    m = Memmap(1)
    m.page(0)["_mapcount"] = raw
    assert sp.page_mapcount(m.page(0)) == mapcount
    assert sp.page_mapcount(m.pages()).tolist() == [mapcount]
    assert sp.page_mapped(m.page(0)) is mapped


@given(st.integers(-(2**70), 2**70))
def test_s32_is_the_c_int(value: int) -> None:
    assert sp.s32(value) == ctypes.c_int32(value & 0xFFFFFFFF).value


def test_s32_leaves_columns_alone() -> None:
    column = np.array([-1, 2**31 - 1], dtype="<i4")
    assert sp.s32(column) is column


# ---------------------------------------------------------------------- one page and a column of pages

MAPCOUNTS = st.sampled_from([-1, 0, 1, -128, -127, -129, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1)
FLAG_WORDS = st.integers(0, 2**64 - 1) | st.sampled_from([*[1 << bit for bit in range(25)], TAIL, 0])


@st.composite
def memmaps(draw: st.DrawFn) -> Memmap:
    """A few pages of anything; a tail's first_page names one of them."""
    base = draw(st.sampled_from([0, 7, 0x12345]))
    m = Memmap(draw(st.integers(1, 6)), base_pfn=base)
    for pfn in m.pfns:
        p = m.page(pfn)
        p.raw = draw(st.binary(min_size=64, max_size=64))
        p["flags"], p["_mapcount"] = draw(FLAG_WORDS), draw(MAPCOUNTS)
        if draw(st.booleans()):
            p["mapping"] = draw(st.integers(0, 4))
        if p["flags"] & TAIL:
            p["first_page"] = m.record(draw(st.sampled_from(m.pfns)))
    return m


@given(memmaps())
def test_a_column_answers_what_its_pages_answer(m: Memmap) -> None:
    before = bytes(m.raw)
    for f in PREDICATES:
        assert f(m.pages()).tolist() == [f(m.page(pfn)) for pfn in m.pfns], f.__name__
    for name in BITS:
        assert sp.page_flag(m.pages(), name).tolist() == [sp.page_flag(m.page(pfn), name) for pfn in m.pfns]
    for name in STRUCT_PAGE:
        assert m.pages()[name].tolist() == [m.page(pfn)[name] for pfn in m.pfns]
    assert m.raw == before, "asking changes nothing"


@given(memmaps())
def test_predicates_in_plain_words(m: Memmap) -> None:
    """Once more, from the bytes alone."""
    for pfn in m.pfns:
        p, r = m.page(pfn), m.page(pfn).raw
        mapcount = int.from_bytes(r[24:28], "little", signed=True)
        head = m.page((int.from_bytes(r[48:56], "little") - 0xFFFFEA0000000000) // 64).raw if r[1] & 0x80 else r
        assert sp.PageAnon(p) == bool(r[8] & 1)
        assert sp.PageKsm(p) == (r[8] & 3 == 3)
        assert sp.PageBuddy(p) == (r[24:28] == b"\x80\xff\xff\xff")
        assert sp.page_mapped(p) == (r[27] < 0x80)
        assert sp.page_mapcount(p) == (-(2**31) if mapcount == 2**31 - 1 else mapcount + 1)
        assert sp.page_count(p) == int.from_bytes(head[28:32], "little", signed=True)


# ---------------------------------------------------------------------- compound pages


@pytest.fixture(params=[0, 0x12340], ids=hex)
def compound(request: pytest.FixtureRequest) -> Memmap:
    """Eight pages; pages 4 to 7 are one compound page whose head holds three references."""
    m = Memmap(8, base_pfn=request.param)
    m.fill()
    head, *tails = m.pfns[4:]
    m.page(head)["flags"] |= 1 << BITS["head"]
    m.page(head)["_count"] = 3
    for pfn in tails:
        m.page(pfn)["flags"] |= TAIL
        m.page(pfn)["first_page"] = m.record(head)
        m.page(pfn)["_mapcount"] = 5
    return m


def test_page_count_is_read_from_the_head(compound: Memmap) -> None:
    assert [sp.page_count(compound.page(pfn)) for pfn in compound.pfns] == [0, 0, 0, 0, 3, 3, 3, 3]
    assert sp.page_count(compound.pages()).tolist() == [0, 0, 0, 0, 3, 3, 3, 3]
    assert compound.pages()["_count"].tolist() == [0, 0, 0, 0, 3, 0, 0, 0]


def test_page_mapcount_is_the_tails_own(compound: Memmap) -> None:
    assert sp.page_mapcount(compound.pages()).tolist() == [0, 0, 0, 0, 0, 6, 6, 6]


def test_the_head_of_a_page(compound: Memmap) -> None:
    base = compound.pfns[0]
    assert [compound.page(pfn).head().pfn - base for pfn in compound.pfns] == [0, 1, 2, 3, 4, 4, 4, 4]
    lone = compound.page(base)
    assert lone.head() is lone
    assert compound.pages().head()["flags"].tolist() == [compound.page(pfn).head()["flags"] for pfn in compound.pfns]


def test_columns_without_tails_are_their_own_heads() -> None:
    m = Memmap(3)
    m.fill()
    columns = m.pages()
    assert columns.head() is columns


@pytest.mark.parametrize("rows", [slice(4, 8), slice(5, 6), slice(None, None, -1)])
def test_some_rows_find_their_heads_too(compound: Memmap, rows: slice) -> None:
    some = Columns(compound, compound.records()[rows])
    assert sp.page_count(some).tolist() == [sp.page_count(compound.page(pfn)) for pfn in compound.pfns[rows]]


def test_the_heads_of_heads(compound: Memmap) -> None:
    base = compound.pfns[0]
    compound.page(base + 4)["flags"] |= TAIL  # damage: the head of 5 to 7 is itself a tail now, of page 1
    compound.page(base + 4)["first_page"] = compound.record(base + 1)
    compound.page(base + 1)["_count"] = 9
    expected = [sp.page_count(compound.page(pfn).head()) for pfn in compound.pfns]
    assert sp.page_count(compound.pages().head()).tolist() == expected == [0, 9, 0, 0, 9, 9, 9, 9]


@pytest.mark.parametrize("off", [-64, 8, 64 * 8, 0x100000000, 1])
def test_a_wild_first_page_is_an_oops(compound: Memmap, off: int) -> None:
    pfn = compound.pfns[6]
    wild = compound.record(compound.pfns[0]) + off
    compound.page(pfn)["first_page"] = wild
    for ask in (lambda: sp.page_count(compound.page(pfn)), lambda: sp.page_count(compound.pages())):
        with pytest.raises(KernelOops, match="compound_head") as caught:
            ask()
        assert (caught.value.address, caught.value.access, caught.value.during) == (wild, "read", ["compound_head"])
    assert sp.page_count(compound.page(compound.pfns[5])) == 3, "the other tails still find their head"
