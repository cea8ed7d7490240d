"""A reader at all pages at once: the same table, its questions put to numpy columns.

The records are taken in blocks small enough for the processor's cache.  Within a block, every step is asked of all
pages, and counts for those that are still undecided; what a table asks of few pages only is asked of copies of these.
Nothing is changed: the deeds of a reader that scans end its table, and are left out.

Only `Peeker.scan` imports this module, and only this module imports numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..memmap import VMEMMAP, KernelOops
from ..struct_page import PG, RECORD, PageTail
from .machine import Machine
from .record import Record, has
from .rules import Adds, Ask, Conclude, Item, Peeker, Step

Column = np.ndarray[Any, Any]


def scan(
    peeker: Peeker, machine: Machine, *, oopses: dict[int, KernelOops] | None, out: Column | None, block: int
) -> Column:
    """What `peeker` concludes of every page: a column in the order of the pfns, `out` if that is given.

    Where the reader would die, KernelOops is raised, of the lowest such pfn; or, if `oopses` is given, put in there by
    pfn, and the page's value is 0.  Raises TypeError for a reader that cannot scan.
    """
    if not peeker.scans:
        raise TypeError(
            f"{peeker.name} cannot scan: it does not judge each page by itself, or changes what it asks about"
        )
    pfns = machine.memmap.pfns
    values = np.empty(len(pfns), peeker.scans) if out is None else out
    whole = Whole(peeker, machine, compiled(peeker), machine.memmap.records(), np.frombuffer(machine.memmap.raw, "<u8"))
    for start in range(0, len(pfns), block):
        deaths = Block(whole, start, min(block, len(pfns) - start)).judge(values[start : start + block])
        if deaths and oopses is None:
            raise deaths[min(deaths)]
        if oopses is not None:
            oopses.update({pfns[start + i]: oops for i, oops in deaths.items()})
    return values


@dataclass
class Whole:
    """What all blocks of a scan share."""

    peeker: Peeker
    machine: Machine
    table: Sequence[Any]
    records: Column
    words: Column  # the same bytes

    def __post_init__(self) -> None:
        self.begin = np.uint64(VMEMMAP + RECORD * self.machine.memmap.pfns.start)  # address of the first record
        self.gathers = takes_down(self.peeker.table)


class Block:
    """Some consecutive records, and what is known of them so far."""

    def __init__(self, whole: Whole, start: int, size: int) -> None:
        self.whole, self.start, self.size = whole, start, size
        self.columns = whole.records[start : start + size]
        self.conclusions: list[tuple[Column, Any]] = []  # of which pages (a mask), and what
        self.deaths: dict[int, KernelOops] = {}  # by position in the block
        self._gathered = np.zeros(size if whole.gathers else 0, np.uint64)
        self._lately: list[int] = []  # what was taken down lately, of the pages that have that bit in _bits
        self._bits = np.zeros(len(self._gathered), np.uint8)

    def judge(self, values: Column) -> dict[int, KernelOops]:
        """Fill in the values of the block's pages; returns where the reader dies, and of what."""
        left = self.follow(self.whole.table, Records(self), np.ones(self.size, bool))
        assert not left.any(), f"{self.whole.peeker.name} comes to no conclusion"
        values[...] = self.conclusions.pop()[1] if self.conclusions else 0  # the last one: where no other holds
        for mask, value in reversed(self.conclusions):  # an earlier one stands, so it is put in later
            np.copyto(values, value, casting="unsafe", where=mask)
        for i in self.deaths:
            values[i] = 0
        return self.deaths

    # ------------------------------------------------------------------ the steps

    def follow(self, table: Sequence[Any], p: Records, open_: Column) -> Column:
        """Put the questions of a table to the pages that `open_` marks; returns which of them are still undecided."""
        before = None
        for item in table:
            if open_ is not before:
                if not open_.any():
                    break
                before = open_
            if isinstance(item, Lookup):
                item.take_down(p)
            elif isinstance(item, Adds):
                self.take_down(item, p, open_)
            elif isinstance(item, Conclude):
                self.conclude(item, p, open_)
                return np.zeros_like(open_)
            elif isinstance(item, Ask):
                open_ = self.ask(item, p, open_)
            elif isinstance(item, Step):
                open_ = self.pass_over(item, p, open_)
        return open_

    def ask(self, step: Ask, p: Records, open_: Column) -> Column:
        """Ask a question of all pages, and follow up the answers."""
        p.open_ = open_
        answer = step.test(p)
        if self.deaths:
            open_ = open_ & ~p.among(self.deaths)
        left = open_
        if step.yes:
            left = self.branch(step.yes, p, open_ & answer, left)
        if step.no:
            left = self.branch(step.no, p, open_ & ~answer, left)
        return left

    def branch(self, table: Sequence[Any], p: Records, these: Column, open_: Column) -> Column:
        """Follow a table for the pages that `these` marks; returns which of `open_` are undecided then."""
        n = np.count_nonzero(these)
        if n == 0:
            return open_
        first = table[0]
        if isinstance(first, Conclude):
            self.conclude(first, p, these)
            return open_ & ~these
        if isinstance(first, Adds) and len(table) == 1:
            self.take_down(first, p, these)
            return open_
        left = open_ & ~these
        if n > len(these) >> 3:
            return left | self.follow(table, p, these)
        left[these] = self.follow(table, p.copy_of(np.flatnonzero(these)), np.ones(n, bool))
        return left

    def pass_over(self, step: Step, p: Records, open_: Column) -> Column:
        """Leave a deed out.  Pages for which it would not be harmless are visited one by one, and that is undone."""
        harmless: Callable[[Any], Column] | None = getattr(step.test, "harmless", None)
        if harmless is None:
            return open_
        one_by_one = open_ & ~harmless(p)
        for i in p.positions(one_by_one).tolist():
            visit = self.whole.peeker.visit(self.whole.machine, self.whole.machine.memmap.pfns[self.start + i])
            visit.undo()
            if visit.oops is not None:
                self.deaths[i] = visit.oops
            self.conclusions.insert(0, (np.arange(self.size) == i, visit.value or 0))
        return open_ & ~one_by_one

    # ------------------------------------------------------------------ what comes of them

    def conclude(self, item: Conclude, p: Records, these: Column) -> None:
        """Note what is concluded of the pages that `these` marks."""
        p.open_ = these
        value = item.value(p) if callable(item.value) else item.value
        if p.where is not None:
            mask = np.zeros(self.size, bool)
            mask[p.where[these]] = True
            if isinstance(value, np.ndarray):
                spread = np.zeros(self.size, value.dtype)
                spread[p.where] = value
                value = spread
            these = mask
        self.conclusions.append((these, value))

    def take_down(self, item: Adds, p: Records, these: Column) -> None:
        """Take something down for the pages that `these` marks: a bit for each of them, for now."""
        if p.where is not None:
            self.gathered[p.where[these]] |= np.uint64(item.value)
            return
        self._bits |= these.view(np.uint8) * np.uint8(1 << len(self._lately))
        self._lately.append(item.value)
        if len(self._lately) == 8:
            self._add_up()

    @property
    def gathered(self) -> Column:
        """All that was taken down of each page."""
        self._add_up()
        return self._gathered

    def _add_up(self) -> None:
        if self._lately:
            sums = np.zeros(1, np.uint64)  # of every choice of bits
            for value in self._lately:
                sums = np.concatenate([sums, sums | np.uint64(value)])
            self._gathered |= sums.take(self._bits, mode="clip")
            self._bits[:] = 0
            self._lately.clear()


class Records:
    """Many records at once: what Record is to one, for expressions over fields.

    They are the block's own, those of some of its pages (`where`), or records at any `addresses`, one for each page.
    """

    def __init__(self, block: Block, where: Column | None = None, addresses: Column | None = None) -> None:
        self.block, self.machine, self.where, self._addresses = block, block.whole.machine, where, addresses
        self.open_: Column | None = None  # which pages are undecided while a question is asked
        self._columns: dict[str, Column] = {}
        self._head: Records | None = None

    def __getitem__(self, name: str) -> Column:
        if self._addresses is not None:  # not kept: who is undecided changes
            column = self.block.whole.records[name]
            return self._fetch(column, RECORD, self._addresses, lambda a: Record(self.machine, a)[name])
        if name not in self._columns:  # kept in a copy that lies close together, so that asking again is fast
            column = self.block.columns[name]
            self._columns[name] = column.copy() if self.where is None else column[self.where]
        return self._columns[name]

    def word(self, addresses: Column) -> Column:
        """The 64-bit words at many addresses."""
        return self._fetch(self.block.whole.words, 8, addresses, self.machine.read)

    def _fetch(self, column: Column, step: int, addresses: Column, read: Callable[[int], int]) -> Column:
        """Take from a column over the memmap what lies there; what lies elsewhere is read, and may be a fault."""
        away = addresses - self.block.whole.begin
        inside = (away < step * len(column)) & (away % step == 0)
        values: Column = column[np.where(inside, away // step, 0)]
        strays = np.flatnonzero(~inside if self.open_ is None else ~inside & self.open_)
        if len(strays):
            different, which = np.unique(addresses[strays], return_inverse=True)
            for n, address in enumerate(different.tolist()):
                same = strays[which == n]
                try:
                    values[same] = read(address)
                except KernelOops as oops:
                    self._die(same, oops.within(self.block.whole.peeker.function).with_traceback(None))
        return values

    def _die(self, of: Column, oops: KernelOops) -> None:
        for i in (of if self.where is None else self.where[of]).tolist():
            self.block.deaths.setdefault(i, oops)

    @property
    def gathered(self) -> Column:
        return self.block.gathered if self.where is None else self.block.gathered[self.where]

    @property
    def pfn(self) -> Column:
        rows: Column = np.arange(self.block.size) if self.where is None else self.where
        return rows + (self.machine.memmap.pfns.start + self.block.start)

    @property
    def addresses(self) -> Column:
        return self._address_of(self.pfn) if self._addresses is None else self._addresses

    @staticmethod
    def _address_of(pfn: Column) -> Column:
        address: Column = pfn.astype(np.uint64) * np.uint64(RECORD) + np.uint64(VMEMMAP)
        return address

    def head(self) -> Records:
        if self._head is None:
            tails = PageTail(self)
            self._head = self._elsewhere(np.where(tails, self["first_page"], self.addresses)) if tails.any() else self
        self._head.open_ = self.open_
        return self._head

    def beyond(self, n: int) -> Records:
        return self._elsewhere(self.addresses + np.uint64(RECORD * n))

    def at(self, pfn: Column) -> Records:
        return self._elsewhere(self._address_of(pfn))

    def described(self, pfn: Column) -> Column:
        pfns = self.machine.memmap.pfns
        inside: Column = (pfn >= pfns.start) & (pfn < pfns.stop)
        return inside

    def near(self, pfn: Column) -> Records:
        return self._elsewhere(np.where(self.described(pfn), self._address_of(pfn), self.addresses))

    def _elsewhere(self, addresses: Column) -> Records:
        other = Records(self.block, self.where, addresses)
        other.open_ = self.open_
        return other

    def copy_of(self, few: Column) -> Records:
        """The records of some of the pages."""
        return Records(self.block, few if self.where is None else self.where[few])

    def positions(self, these: Column) -> Column:
        """Where in the block the marked pages are."""
        return np.flatnonzero(these) if self.where is None else self.where[these]

    def among(self, positions: dict[int, Any]) -> Column:
        """Which of the pages are at the given positions of the block."""
        mask = np.zeros(self.block.size, bool)
        mask[list(positions)] = True
        return mask if self.where is None else mask[self.where]


# ---------------------------------------------------------------------- questions about single flags, looked up


class Lookup:
    """Questions about single flags, each of which takes something down: two tables, computed from those steps."""

    def __init__(self, steps: Sequence[Any]) -> None:
        self.low, self.high = np.zeros(1 << 13, np.uint64), np.zeros(1 << 12, np.uint64)  # for 13 flags, and 12
        for step in steps:
            bit = PG[step.test.flag]
            table, bit = (self.low, bit) if bit < 13 else (self.high, bit - 13)
            table[np.arange(len(table)) >> bit & 1 == 1] |= np.uint64(step.yes[0].value)

    def take_down(self, p: Records) -> None:
        """Take down what the flags add, of all pages: this comes first, so all are undecided."""
        flags, gathered = p["flags"].view(np.int64), p.block.gathered
        self.low.take(flags & 0x1FFF, out=gathered, mode="clip")
        gathered |= self.high.take(flags >> 13 & 0xFFF, mode="clip")


@cache
def compiled(peeker: Peeker) -> tuple[Any, ...]:
    """The table, with all questions that only take something down for a single flag put together, in front."""
    single = [item for item in peeker.table if _only_a_flag(item)]
    rest = [item for item in peeker.table if not _only_a_flag(item)]
    return (Lookup(single), *rest) if single else tuple(rest)


def _only_a_flag(item: Item) -> bool:
    if not isinstance(item, Ask) or not isinstance(item.test, has) or item.no:
        return False
    return len(item.yes) == 1 and isinstance(item.yes[0], Adds)


def takes_down(table: Any) -> bool:
    """Whether a table takes anything down."""
    steps = [item for item in table if isinstance(item, Step)]
    return any(isinstance(item, Adds) for item in table) or any(takes_down((*s.yes, *s.no)) for s in steps)
