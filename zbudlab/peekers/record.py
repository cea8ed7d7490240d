"""One `struct page`, wherever it lies: how a reader of the memmap holds it.

Mostly a record is some page's row in the memmap.  But a tail page names its head by a pointer, and a reader follows a
pointer wherever it leads: into somebody's data, astride two records, or to nowhere (then the first field that is read
is a `KernelOops`, at that very byte).  So a `Record` is a record at a kernel address.

Every read is seen by the visit that is under way; every write is real, and can be undone (machine.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..memmap import VMEMMAP
from ..struct_page import PG, RECORD, PageCompound, PageLike

if TYPE_CHECKING:
    from .machine import Machine

M64 = 0xFFFF_FFFF_FFFF_FFFF


class Record:
    """The record at `address`: fields by name, as ints."""

    __slots__ = ("_head", "_row", "address", "gathered", "machine")

    def __init__(self, machine: Machine, address: int) -> None:
        self.machine, self.address = machine, address & M64
        self._row = machine.row(self.address)  # in the memmap, or -1 for a record that lies elsewhere
        self._head: Record | None = None
        self.gathered = 0  # what an accumulating reader has noted so far

    def __getitem__(self, name: str) -> int:
        if self._row >= 0:
            view, first, step = self.machine.fields[name]
            value: int = view[first + step * self._row]
        else:
            f = self.machine.memmap.layout[name]
            value = self.machine.read(self.address + f.offset, f.size)
            if f.signed and value >> (8 * f.size - 1):
                value -= 1 << 8 * f.size
        self.machine.seen.append((self.address, name, value))
        return value

    def __setitem__(self, name: str, value: int) -> None:
        f = self.machine.memmap.layout[name]
        self.machine.write(self.address + f.offset, value & ((1 << 8 * f.size) - 1), f.size)

    @property
    def pfn(self) -> int:
        """The page frame number that the kernel would compute from the address (mirrors page_to_pfn)."""
        return ((self.address - VMEMMAP + (1 << 63)) % (1 << 64) - (1 << 63)) // RECORD

    @property
    def facts(self) -> dict[str, Any]:
        """What the function under way keeps in variables of its own."""
        return self.machine.facts

    def head(self) -> Record:
        """The head of the compound page, itself if none (mirrors compound_head): a pointer, not yet followed."""
        release = self.machine.memmap.release
        return Record(self.machine, release.head(self)) if release.tail(self) else self

    @property
    def hpage(self) -> Record:
        """The head as it was when first asked for: a function that keeps it in a variable keeps it for good."""
        if self._head is None:
            self._head = self.head()
        return self._head

    def beyond(self, n: int) -> Record:
        """The record `n` pages on (mirrors page + n)."""
        return Record(self.machine, self.address + RECORD * n)

    def any_of(self, pages: int, test: Callable[[Any], Any]) -> bool:
        """Whether a test holds for any of so many records, from this one on."""
        return any(test(self.beyond(i)) for i in range(pages))

    def at(self, pfn: int) -> Record:
        """The record of another page frame (mirrors pfn_to_page)."""
        return Record(self.machine, VMEMMAP + RECORD * pfn)

    def described(self, pfn: int) -> bool:
        """Whether the memmap has a record of a page frame (mirrors pfn_valid)."""
        return pfn in self.machine.memmap.pfns

    def near(self, pfn: int) -> Record:
        """The record of another page frame; this one if the memmap, being a small one, has none of it."""
        return self.at(pfn) if self.described(pfn) else self

    def again(self) -> Record:
        """The same record, with nothing gathered."""
        other = Record(self.machine, self.address)
        other._head = self._head
        return other

    def word(self, address: int) -> int:
        """The 64-bit word at an address that some field holds."""
        value = self.machine.read(address)
        self.machine.seen.append((address & M64, "", value))
        return value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and other.address == self.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        return f"<Record at {self.machine.memmap.where(self.address)}>"


# ---------------------------------------------------------------------- expressions, on one record or on many at once


class has:
    """The test whether a flag is set on the page itself; `flags` has the bits, those of Linux 3.10 by default."""

    def __init__(self, flag: str, flags: Mapping[str, int] = PG) -> None:
        self.flag, self.bit = flag, flags[flag]

    def __call__(self, p: PageLike) -> Any:
        return (p["flags"] & (1 << self.bit)) != 0


def mask(*flags: str) -> int:
    """The flags as one number.

    >>> hex(mask("slab", "reserved"))
    '0x480'
    """
    return sum(1 << PG[flag] for flag in flags)


def any_flag(*flags: str) -> Any:
    """The test whether any of the flags is set."""
    bits = mask(*flags)
    return lambda p: (p["flags"] & bits) != 0


def u64(value: Any) -> Any:
    """A C int as the unsigned 64-bit number that it is extended to; ints and numpy columns.

    >>> hex(u64(-127))
    '0xffffffffffffff81'
    """
    return value & M64 if isinstance(value, int) else value.astype("int64").view("uint64")


def same_zone(p: Any, other: Any) -> Any:
    """Whether the flags of two pages name the same zone of the same node."""
    return (p["flags"] ^ other["flags"]) >> 56 == 0


def PageHuge(p: Record) -> bool:
    """A page of hugetlb: compound, and the destructor in the second record is free_huge_page."""
    return bool(PageCompound(p)) and p.head().beyond(1)["lru.next"] == p.machine.free_huge_page
