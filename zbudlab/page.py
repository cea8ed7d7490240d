"""Records by name: one `Page`, or many at once as `Columns`; both read the memmap's own bytes.

>>> from zbudlab import Memmap
>>> page = Memmap(4).page(2)
>>> page["_count"] = 3
>>> page.raw[28:32].hex()
'03000000'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .struct_page import RECORD

if TYPE_CHECKING:
    import numpy as np

    from .memmap import Memmap


class Page:
    """One record: fields by name, as ints.  Reading and writing go straight to the memmap's bytes."""

    __slots__ = ("_i", "memmap", "pfn")

    def __init__(self, memmap: Memmap, pfn: int) -> None:
        self.memmap, self.pfn = memmap, pfn
        self._i = pfn - memmap.pfns.start

    def __getitem__(self, name: str) -> int:
        try:
            view, first, step = self.memmap._fields[name]
        except KeyError:
            raise KeyError(f"struct page has no {name!r}; it has {', '.join(self.memmap.layout)}") from None
        value: int = view[first + step * self._i]
        return value

    def __setitem__(self, name: str, value: int) -> None:
        view, first, step = self.memmap._fields[name]
        view[first + step * self._i] = value

    @property
    def raw(self) -> bytes:
        """The 64 bytes, in memory order."""
        return bytes(self.memmap.raw[self._i * RECORD : (self._i + 1) * RECORD])

    @raw.setter
    def raw(self, content: bytes) -> None:
        if len(content) != RECORD:
            raise ValueError(f"a record is {RECORD} bytes, not {len(content)}")
        self.memmap.raw[self._i * RECORD : (self._i + 1) * RECORD] = content

    @property
    def address(self) -> int:
        return self.memmap.record(self.pfn)

    def head(self) -> Page:
        """The head of the compound page this page belongs to, itself if none (mirrors compound_head).

        Raises KernelOops if a tail's pointer to its head leads outside the memmap.
        """
        release = self.memmap.release
        if not release.tail(self):
            return self
        return Page(self.memmap, self.memmap.pfn_of(release.head(self)))

    def __repr__(self) -> str:
        told = ", ".join(f"{name} {self[name]}" for name in ("_mapcount", self.memmap.release.references))
        return f"<Page {self.pfn:#x}: flags {self['flags']:#x}, {told}>"


class Columns:
    """Many records: fields by name, as numpy columns over the memmap's bytes."""

    def __init__(self, memmap: Memmap, records: np.ndarray[Any, Any]) -> None:
        self.memmap, self.records = memmap, records

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        column: np.ndarray[Any, Any] = self.records[name]
        return column

    def head(self) -> Columns:
        """The heads: the same records, each tail replaced by the record of its head (a copy if any is)."""
        import numpy as np

        tails = np.flatnonzero(self.memmap.release.tail(self))
        if not len(tails):
            return self
        m, heads, addresses = self.memmap, self.records.copy(), self.memmap.release.head(self)
        for i in tails:
            heads[i] = m.records()[m.pfn_of(int(addresses[i])) - m.pfns.start]
        return Columns(m, heads)
