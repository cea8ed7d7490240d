"""Pages as other users of the machine dress them: what a `struct page` looks like when somebody else has it.

Each kind of `KINDS` is a few fields; what is not named is as on a plain kernel page.  The pointers of a lone page lead
to places in the kernel's memory where nothing of the model lies; give your own to make them lead somewhere.

    >>> m = Memmap(8)
    >>> dress(m, 3, "page cache", index=7)
    >>> m.page(3)["index"], m.page(3)["_count"], m.owner[3]
    (7, 1, 'page cache')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .memmap import VMEMMAP, Memmap
from .schemes import SLAB_CACHE
from .struct_page import LIST_POISON1, LIST_POISON2, PG, RECORD

# Places that pointers of dressed pages lead to, unless others are given: an anon_vma, an inode's pages, a slab cache,
# two neighbours on an LRU list, a user's page at that virtual page number.
ANON_VMA, INODE_PAGES = 0xFFFF88001E000001, 0xFFFF88001E100150
LRU_NEXT, LRU_PREV = VMEMMAP + RECORD * 0x5555 + 32, VMEMMAP + RECORD * 0x6666 + 32
PARTIAL_NEXT, PARTIAL_PREV = VMEMMAP + RECORD * 0x3333 + 32, VMEMMAP + RECORD * 0x4444 + 32
FREE_HUGE_PAGE, FREE_COMPOUND_PAGE = 0xFFFFFFFF81160000, 0xFFFFFFFF81130000  # what frees a compound page, in page[1]


@dataclass(frozen=True)
class Kind:
    """How one kind of page is dressed: `flags` by name, and fields by name; `owner` is the word in Memmap.owner."""

    owner: str
    flags: str = ""
    fields: Mapping[str, int] = field(default_factory=dict)


POISONED = {"lru.next": LIST_POISON1, "lru.prev": LIST_POISON2}
ON_LRU = {"lru.next": LRU_NEXT, "lru.prev": LRU_PREV}
USER = {"mapping": ANON_VMA, "index": 0x7F0000000, "_mapcount": 0}

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "kernel": Kind("kernel", fields=POISONED),
        "page table": Kind("page table", fields=POISONED | {"private": 0x10001}),  # the lock of its entries
        "reserved": Kind("reserved", "reserved"),
        "slab": Kind(
            "slab",
            "slab",
            {
                "index": 0xFFFF880005000040,  # freelist: the first free object
                "_mapcount": 21 << 16 | 3,  # objects and inuse
                "lru.next": PARTIAL_NEXT,
                "lru.prev": PARTIAL_PREV,
                "private": SLAB_CACHE,
            },
        ),
        "frozen slab": Kind(
            "slab", "slab", POISONED | {"_mapcount": (1 << 31 | 21 << 16 | 21) - (1 << 32), "private": SLAB_CACHE}
        ),
        "anonymous": Kind("anonymous", "referenced uptodate lru active swapbacked", ON_LRU | USER),
        "page cache": Kind(
            "page cache", "referenced uptodate lru mappedtodisk", ON_LRU | {"mapping": INODE_PAGES, "index": 5}
        ),
        "mapped file": Kind(
            "page cache",
            "referenced uptodate dirty lru mappedtodisk",
            ON_LRU | {"mapping": INODE_PAGES, "index": 6, "_mapcount": 1, "_count": 3},
        ),
        "hugetlb": Kind(
            "anonymous", "uptodate head", {"mapping": ANON_VMA, "_mapcount": 0, "lru.next": 0, "lru.prev": 0}
        ),
        "huge page": Kind("anonymous", "referenced uptodate lru active head swapbacked", ON_LRU | USER),
        "compound slab": Kind("slab", "slab head", POISONED | {"_mapcount": 21 << 16 | 3, "private": SLAB_CACHE}),
        "balloon": Kind("balloon", fields={"mapping": 0xFFFF880050000400}),  # an address_space with bit 29 in its flags
    }
)
COMPOUND = {"hugetlb": FREE_HUGE_PAGE, "huge page": FREE_COMPOUND_PAGE, "compound slab": FREE_COMPOUND_PAGE}


def dress(memmap: Memmap, pfn: int, kind: str, *, order: int = 0, **fields: int) -> None:
    """Dress page `pfn` as a kind of KINDS; `fields` of struct page override the kind's (for a dot, two underscores).

    A kind of COMPOUND takes 2**`order` pages: the head, and tails that name it.  Raises ValueError for an unknown kind,
    and for an order where there is none to be; IndexError if the memmap has no such pages.
    """
    check(kind, order)
    memmap.page(pfn + (1 << order) - 1)
    k, p = KINDS[kind], memmap.page(pfn)
    zone = p["flags"] >> len(PG) << len(PG)
    p.raw = bytes(RECORD)
    p["flags"] = zone | sum(1 << PG[flag] for flag in k.flags.split())
    p["_mapcount"], p["_count"] = -1, 1
    p["lru.next"] = p["lru.prev"] = p.address + 32
    for name, value in (*k.fields.items(), *((name.replace("__", "."), value) for name, value in fields.items())):
        p[name] = value
    memmap.owner[pfn] = k.owner
    for i in range(1, 1 << order):
        tail = memmap.page(pfn + i)
        tail.raw = bytes(RECORD)
        tail["flags"] = zone | 1 << PG["tail"]
        tail["_mapcount"], tail["first_page"] = -1, p.address
        memmap.owner[pfn + i] = k.owner
        if i == 1:
            tail["lru.next"], tail["lru.prev"] = COMPOUND[kind], order


def check(kind: str, order: int) -> None:
    """Raises ValueError for an unknown kind, and for an order that it does not come in."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    if order < 0 or bool(order) != (kind in COMPOUND):
        has = "an order of at least 1" if kind in COMPOUND else "no order"
        raise ValueError(f"a page of kind {kind!r} has {has}, not {order}")
