"""The memory image that the recordings were made on, as a machine.

All numbers are from the recordings' README and layout.json: where the memmap, RAM, pools, zone lists and address_spaces
lie, and what is in them.  One image serves for all rows: a row's records and words are put in, each reader's deeds are
undone, and then the row is taken out again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..memmap import Memmap
from ..struct_page import PG, RECORD
from .lru import A_OPS, AS_BALLOON_MAP, AS_FLAGS, BACKING_DEV_INFO, PRIVATE_DATA
from .machine import MOVABLE, PAGEBLOCK, UNMOVABLE, Machine

PFNS = range(0x100000, 0x108000)
RAM = range(0x108000)
DEFAULT_RECORD = bytes.fromhex(  # an ordinary kernel page in use, of node 0 and zone Normal
    "0000000000000002 0000000000000000 0000000000000000 ffffffff 01000000"
    "000110000000adde 000220000000adde 0000000000000000 0000000000000000"
)
COUNT = slice(28, 32)  # the bytes of _count

POOLS = (  # each with 66 list heads from byte 8 on: unbuddied[64], buddied, lru
    *(0xFFFF880040000000, 0xFFFF880060000000, 0xFFFF8800C5D2E800, 0xFFFF880025A17000),
    *(0xFFFF8800EB3F9000, 0xFFFF8800B7654000, 0xFFFF88001B2C3800, 0xFFFF88003B2C3800),
)
NODE, PCP, COMPACTION = 0xFFFF880048000000, 0xFFFF880048100000, 0xFFFF880048200000
FILE_MAPPING, BALLOON_MAPPING, BALLOON_DEVICE = 0xFFFF880050000180, 0xFFFF880050000400, 0xFFFF880050000800
OPERATIONS, BDI, INODE = 0xFFFF880051000000, 0xFFFF880051100000, 0xFFFF880051200000
INACTIVE_ANON = 0xFFFF880048001208  # an LRU list

LRU_PAGE = {  # the page before the one that is looked at, where the migrate scanner is to hold the LRU lock
    "flags": 2 << 56 | 1 << PG["lru"] | 1 << PG["swapbacked"],
    "mapping": 0xFFFF880052000011,
    "index": 7,
    "_mapcount": 0,
    "_count": 2,
    "lru.next": INACTIVE_ANON,
    "lru.prev": INACTIVE_ANON,
}


class Image:
    """The machine of the recordings, before any row."""

    def __init__(self) -> None:
        m = Memmap(len(PFNS), base_pfn=PFNS.start, ram=[RAM])
        m.raw[:] = DEFAULT_RECORD * len(PFNS)
        for pool in POOLS:
            for i in range(66):
                m.list_init(pool + 8 + 16 * i)
        for mapping in (FILE_MAPPING, BALLOON_MAPPING):
            for offset, pointer in ((0, INODE), (A_OPS, OPERATIONS), (BACKING_DEV_INFO, BDI)):
                m.store(mapping + offset, pointer)
        m.store(BALLOON_MAPPING + AS_FLAGS, 1 << AS_BALLOON_MAP)
        m.store(BALLOON_MAPPING + PRIVATE_DATA, BALLOON_DEVICE)
        m.store(BALLOON_DEVICE + 8, BALLOON_MAPPING)
        m.list_init(BALLOON_DEVICE + 32)
        self.memmap = m
        self.machine = Machine(m, node=NODE, pcp=PCP, compaction=COMPACTION)

    @contextmanager
    def row(self, row: Mapping[str, Any]) -> Iterator[None]:
        """The image with a row's records and words in it."""
        mark = self.machine.mark()
        self.memmap.nr_pageflags = row.get("nr_pageflags", len(PG))
        for address, word in row.get("mem", {}).items():
            self.machine.write(int(address, 16), int(word, 16))
        records = {int(pfn, 16): bytes.fromhex(record) for pfn, record in row["rec"].items()}
        self._put(records)
        try:
            yield
        finally:
            self.machine.undo(mark)
            self._put(dict.fromkeys(records, DEFAULT_RECORD))

    def _put(self, records: Mapping[int, bytes]) -> None:
        for pfn, record in records.items():
            self.memmap.page(pfn).raw = record

    @contextmanager
    def scene(self, peeker: str, pfn: int, listed: Mapping[str, str]) -> Iterator[None]:
        """What is different for some of the readers, with a row in the image; `listed` are the row's records."""
        part = range(pfn, pfn)
        if peeker.startswith("has_unmovable"):
            part = range(pfn - pfn % PAGEBLOCK, pfn - pfn % PAGEBLOCK + PAGEBLOCK)
        elif peeker == "isolate_migratepages_locked":
            part = range(pfn - 1, pfn)
        where = slice(RECORD * (part.start - PFNS.start), RECORD * (part.stop - PFNS.start))
        saved = bytes(self.memmap.raw[where])
        try:
            if len(part) == 1:
                self._lru_page(part[0])
            elif part:
                self._unmovable_block(part, where, listed)
            yield
        finally:
            self.memmap.raw[where] = saved
            self.machine.migratetype = MOVABLE

    def _lru_page(self, pfn: int) -> None:
        """A page that the migrate scanner can take, for which it takes the LRU lock."""
        p = self.memmap.page(pfn)
        p.raw = bytes(RECORD)
        for name, value in LRU_PAGE.items():
            p[name] = value

    def _unmovable_block(self, block: range, where: slice, listed: Mapping[str, str]) -> None:
        """A block of type UNMOVABLE, of which those pages are free, by _count 0, that the row does not list."""
        free = bytearray(DEFAULT_RECORD)
        free[COUNT] = bytes(4)
        self.memmap.raw[where] = free * PAGEBLOCK
        records = {int(pfn, 16): bytes.fromhex(record) for pfn, record in listed.items()}
        self._put({pfn: record for pfn, record in records.items() if pfn in block})
        self.machine.migratetype = UNMOVABLE
