"""Dressed pages: byte for byte those of the reference scene, and read as what they are."""

import pytest

from zbudlab import Memmap
from zbudlab.dress import COMPOUND, KINDS, dress
from zbudlab.struct_page import PageAnon, PageHead, PageSlab, PageTail, page_count

DMA32 = 1 << 56
GOLDEN = {  # worked out independently of this code; pfn of the page where a link leads to itself
    ("reserved", 0x777): """
        00 04 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
        e0 dd 01 00 00 ea ff ff e0 dd 01 00 00 ea ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("kernel", 0): """
        00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
        00 01 10 00 00 00 ad de 00 02 20 00 00 00 ad de 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("page table", 0): """
        00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
        00 01 10 00 00 00 ad de 00 02 20 00 00 00 ad de 01 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("slab", 0): """
        80 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 40 00 00 05 00 88 ff ff 03 00 15 00 01 00 00 00
        e0 cc 0c 00 00 ea ff ff 20 11 11 00 00 ea ff ff 00 01 00 1f 00 88 ff ff 00 00 00 00 00 00 00 00""",
    ("frozen slab", 0): """
        80 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 15 00 15 80 01 00 00 00
        00 01 10 00 00 00 ad de 00 02 20 00 00 00 ad de 00 01 00 1f 00 88 ff ff 00 00 00 00 00 00 00 00""",
    ("anonymous", 0): """
        6c 00 08 00 00 00 00 01 01 00 00 1e 00 88 ff ff 00 00 00 f0 07 00 00 00 00 00 00 00 01 00 00 00
        60 55 15 00 00 ea ff ff a0 99 19 00 00 ea ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("page cache", 0): """
        2c 00 02 00 00 00 00 01 50 01 10 1e 00 88 ff ff 05 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
        60 55 15 00 00 ea ff ff a0 99 19 00 00 ea ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("mapped file", 0): """
        3c 00 02 00 00 00 00 01 50 01 10 1e 00 88 ff ff 06 00 00 00 00 00 00 00 01 00 00 00 03 00 00 00
        60 55 15 00 00 ea ff ff a0 99 19 00 00 ea ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("hugetlb", 0): """
        08 40 00 00 00 00 00 01 01 00 00 1e 00 88 ff ff 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00
        00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("huge page", 0): """
        6c 40 08 00 00 00 00 01 01 00 00 1e 00 88 ff ff 00 00 00 f0 07 00 00 00 00 00 00 00 01 00 00 00
        60 55 15 00 00 ea ff ff a0 99 19 00 00 ea ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "pfn"), GOLDEN, ids=lambda value: str(value))
def test_the_bytes_worked_out_by_hand(kind: str, pfn: int) -> None:
    m = Memmap(4, base_pfn=pfn)
    m.page(pfn)["flags"] = DMA32
    dress(m, pfn, kind, order=1 if kind in COMPOUND else 0)
    assert m.page(pfn).raw.hex(" ") == " ".join(GOLDEN[kind, pfn].split())


@pytest.mark.parametrize("kind", KINDS)
def test_the_zone_stays_and_the_owner_is_named(kind: str) -> None:
    m = Memmap(16)
    m.fill()
    zone = m.page(4)["flags"]
    dress(m, 4, kind, order=2 if kind in COMPOUND else 0)
    assert m.page(4)["flags"] >> 56 == zone >> 56 and m.owner[4] == KINDS[kind].owner
    assert page_count(m.page(4)) >= 1 and m.page(3).raw == m.page(3).raw and 8 not in m.owner


def test_a_compound_page_hangs_together() -> None:
    m = Memmap(16)
    dress(m, 4, "compound slab", order=2)
    head, tails = m.page(4), [m.page(pfn) for pfn in (5, 6, 7)]
    assert PageHead(head) and PageSlab(head)
    for tail in tails:
        assert PageTail(tail) and not PageSlab(tail)
        assert tail.head().pfn == 4 and page_count(tail) == 1 and tail["_count"] == 0
    assert (tails[0]["lru.next"], tails[0]["lru.prev"]) == (0xFFFFFFFF81130000, 2)


def test_fields_of_ones_own() -> None:
    m = Memmap(2)
    dress(m, 0, "anonymous", mapping=0xFFFF880000001001, _mapcount=4, lru__next=0)
    assert PageAnon(m.page(0)) and m.page(0)["_mapcount"] == 4 and m.page(0)["lru.next"] == 0


@pytest.mark.parametrize(
    ("kind", "order", "complaint"),
    [
        ("velvet", 0, "unknown kind 'velvet'; known: kernel, page table"),
        ("slab", 1, "'slab' has no order"),
        ("hugetlb", 0, "'hugetlb' has an order of at least 1"),
    ],
)
def test_what_cannot_be(kind: str, order: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        dress(Memmap(4), 0, kind, order=order)


def test_outside_the_memmap_nothing_is_dressed() -> None:
    m = Memmap(4)
    before = bytes(m.raw)
    with pytest.raises(IndexError):
        dress(m, 2, "hugetlb", order=2)
    assert m.raw == before and m.owner == {}
