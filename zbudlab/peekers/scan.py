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
from ..struct_page import RECORD
from .machine import Machine
from .record import Record, has
from .rules import Adds, Ask, Conclude, Item, Peeker, Step

Column = np.ndarray[Any, Any]


def without(these: Column, those: Column) -> Column:
    """The pages of one column that are not in the other."""
    rest: Column = these & ~those  # numpy's types before 2.2 say Any
    return rest


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
        self._room: dict[str, Column] = {}

    def copy(self, name: str, column: Column) -> Column:
        """A column of a block in one piece, in the same memory for each block: fresh memory costs more than copying."""
        room = self._room.get(name)
        if room is None or len(room) < len(column):
            room = self._room[name] = np.empty(len(column), column.dtype)
        np.copyto(room[: len(column)], column)
        return room[: len(column)]


class Block:
    """Some consecutive records, and what is known of them so far."""

    def __init__(self, whole: Whole, start: int, size: int) -> None:
        self.whole, self.start, self.size = whole, start, size
        self.columns = whole.records[start : start + size]
        self.values = np.empty(0)  # what is concluded; each page comes to one conclusion, so the order is all the same
        self.deaths: dict[int, KernelOops] = {}  # by position in the block
        self.partial = 0  # how often something was looked up that is good for undecided pages only
        self._gathered = np.zeros(size if whole.gathers else 0, whole.peeker.scans)
        self._lately: list[int] = []  # what was noted lately, of the pages that have that bit in _bits
        self._bits = np.zeros(len(self._gathered), np.uint8)

    def judge(self, values: Column) -> dict[int, KernelOops]:
        """Fill in the values of the block's pages; returns where the reader dies, and of what."""
        self.values = values
        values[...] = 0
        left = self.follow(self.whole.table, Records(self), np.ones(self.size, bool))
        assert not left.any(), f"{self.whole.peeker.name} comes to no conclusion"
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
        answer = p.answer(step.test, open_)
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
            return without(open_, these)
        if isinstance(first, Adds) and len(table) == 1:
            self.take_down(first, p, these)
            return open_
        left = without(open_, these)
        if n > len(these) >> 3:
            left |= self.follow(table, p, these)
            return left
        few = np.flatnonzero(these)
        undecided = self.follow(table, p.copy_of(few), np.ones(n, bool))
        left[few[undecided]] = True
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
            self.values[i] = visit.value or 0
        return without(open_, one_by_one)

    # ------------------------------------------------------------------ what comes of them

    def conclude(self, item: Conclude, p: Records, these: Column) -> None:
        """Put in what is concluded of the pages that `these` marks."""
        p.open_ = these
        value = item.value(p) if callable(item.value) else item.value
        if p.where is not None:
            self.values[p.where[these]] = value[these] if isinstance(value, np.ndarray) else value
        elif isinstance(value, np.ndarray):
            self.values += (value if these.all() else value * these).astype(self.values.dtype, copy=False)
        elif value:
            self.values += times(these, value, self.values.dtype)

    def take_down(self, item: Adds, p: Records, these: Column) -> None:
        """Take something down for the pages that `these` marks; where that takes many bytes, a bit of each for now."""
        if p.where is not None:
            self.gathered[p.where[these]] |= self._gathered.dtype.type(item.value)
        elif self._gathered.itemsize == 1:
            self._gathered |= times(these, item.value, self._gathered.dtype)
        else:
            self._bits |= times(these, 1 << len(self._lately), self._bits.dtype)
            self._lately.append(item.value)
            if len(self._lately) == 8:
                self._add_up()

    @property
    def gathered(self) -> Column:
        """All that was noted of each page."""
        self._add_up()
        return self._gathered

    def _add_up(self) -> None:
        if self._lately:
            sums = np.zeros(1, self._gathered.dtype)  # of every choice of bits
            for value in self._lately:
                sums = np.concatenate([sums, sums | sums.dtype.type(value)])
            self._gathered |= sums.take(self._bits, mode="clip")
            self._bits[:] = 0
            self._lately.clear()


def times(mask: Column, value: int, dtype: np.dtype[Any]) -> Column:
    """`value` where the mask is set, 0 elsewhere: faster to add than it is to copy where a mask says so."""
    ones = mask.view(np.int8 if dtype.kind == "i" else np.uint8)
    product: Column = ones * dtype.type(value)
    return product


class Records:
    """Many records at once: what Record is to one, for expressions over fields.

    They are the block's own, those of some of its pages (`where`), or records at any `addresses`, one for each page.
    """

    def __init__(self, block: Block, where: Column | None = None, addresses: Column | None = None) -> None:
        self.block, self.machine, self.where, self._addresses = block, block.whole.machine, where, addresses
        self.open_: Column | None = None  # which pages are undecided while a question is asked
        self._columns: dict[str, Column] = {}
        self._answers: dict[Any, Column] = {}
        self._head: Records | None = None

    def answer(self, test: Callable[[Any], Column], open_: Column) -> Column:
        """The answer to a question, asked once; but each time if it is only good for pages that are undecided."""
        self.open_ = open_
        if (known := self._answers.get(test)) is not None:
            return known
        before = self.block.partial
        answer = test(self)
        if self.block.partial == before:
            self._answers[test] = answer
        return answer

    def __getitem__(self, name: str) -> Column:
        if self._addresses is not None:  # not kept: who is undecided changes
            column = self.block.whole.records[name]
            return self._fetch(column, RECORD, self._addresses, lambda a: Record(self.machine, a)[name])
        if name not in self._columns:  # kept in a copy that lies close together, so that asking again is fast
            column = self.block.columns[name]
            self._columns[name] = self.block.whole.copy(name, column) if self.where is None else column[self.where]
        return self._columns[name]

    def word(self, addresses: Column) -> Column:
        """The 64-bit words at many addresses."""
        return self._fetch(self.block.whole.words, 8, addresses, self.machine.read)

    def _fetch(self, column: Column, step: int, addresses: Column, read: Callable[[int], int]) -> Column:
        """Take from a column over the memmap what lies there; what lies elsewhere is read, and may be a fault."""
        away = addresses - self.block.whole.begin
        inside = (away < step * len(column)) & (away % step == 0)
        values: Column = column[np.where(inside, away // step, 0)]
        if not inside.all():
            self.block.partial += 1
            strays = np.flatnonzero(~inside if self.open_ is None else ~inside & self.open_)
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
        if self._addresses is not None:
            return self._pfn_of(self._addresses)
        rows: Column = np.arange(self.block.size) if self.where is None else self.where
        return rows + (self.machine.memmap.pfns.start + self.block.start)

    @property
    def addresses(self) -> Column:
        return self._address_of(self.pfn) if self._addresses is None else self._addresses

    @staticmethod
    def _pfn_of(address: Column) -> Column:
        pfn: Column = (address - np.uint64(VMEMMAP)).view(np.int64) // RECORD
        return pfn

    @staticmethod
    def _address_of(pfn: Column) -> Column:
        address: Column = pfn.astype(np.uint64) * np.uint64(RECORD) + np.uint64(VMEMMAP)
        return address

    def head(self) -> Records:
        if self._head is None:
            release = self.machine.memmap.release
            tails = release.tail(self)
            if not tails.any():
                self._head = self
            elif self._addresses is None and not isinstance(self, Heads):
                self._head = Heads(self, tails, release.head(self))
            else:
                self._head = self._elsewhere(np.where(tails, release.head(self), self.addresses))
        self._head.open_ = self.open_
        return self._head

    def beyond(self, n: int) -> Records:
        return self._elsewhere(self.addresses + np.uint64(RECORD * n))

    def any_of(self, pages: Column, test: Callable[[Any], Column]) -> Column:
        """Whether a test holds for any of so many records, from each of these on."""
        self.block.partial += 1
        found, i = np.zeros(len(pages), bool), 0
        left = pages > 0 if self.open_ is None else self.open_ & (pages > 0)
        while left.any():
            other = self.beyond(i)
            other.open_ = left
            found |= test(other) & left
            i += 1
            left = left & ~found & (pages > i) & ~self.among(self.block.deaths)
        return found

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


class Heads(Records):
    """The heads of a block's records: the records themselves, but for the tails among them."""

    def __init__(self, of: Records, tails: Column, heads: Column) -> None:
        super().__init__(of.block, of.where)
        self._of, self._tails = of, np.flatnonzero(tails)
        self._others = of.copy_of(self._tails)._elsewhere(heads[self._tails])

    @property
    def addresses(self) -> Column:
        addresses = self._of.addresses.copy()
        addresses[self._tails] = self._others.addresses
        return addresses

    @property
    def pfn(self) -> Column:
        return self._pfn_of(self.addresses)

    def __getitem__(self, name: str) -> Column:
        if name in self._columns:
            return self._columns[name]
        column, before = self._of[name].copy(), self.block.partial
        self._others.open_ = None if self.open_ is None else self.open_[self._tails]
        column[self._tails] = self._others[name]
        if self.block.partial == before:
            self._columns[name] = column
        return column


# ---------------------------------------------------------------------- questions about single flags, looked up


class Lookup:
    """Questions about single flags, each of which notes something: tables, computed from those steps.

    A table answers for 13 flags side by side: `tables` has it with the number of the first.
    """

    WIDTH = 13

    def __init__(self, steps: Sequence[Any]) -> None:
        self.tables: dict[int, Column] = {}
        every = np.arange(1 << self.WIDTH)
        for step in steps:
            first, bit = divmod(step.test.bit, self.WIDTH)
            table = self.tables.setdefault(first * self.WIDTH, np.zeros(len(every), np.uint64))
            table[every >> bit & 1 == 1] |= np.uint64(step.yes[0].value)

    def take_down(self, p: Records) -> None:
        """Take down what the flags add, of all pages: this comes first, so all are undecided."""
        flags, gathered = p["flags"].view(np.int64), p.block.gathered
        for first, table in self.tables.items():
            which = (flags >> first if first else flags) & (1 << self.WIDTH) - 1
            gathered |= table.astype(gathered.dtype).take(which, mode="clip")


@cache
def compiled(peeker: Peeker) -> tuple[Any, ...]:
    """The table; many questions that only take something down for a single flag are put together, in front."""
    single = [item for item in peeker.table if _only_a_flag(item)]
    if len(single) < 4:  # then to ask them one by one is faster
        return peeker.table
    return (Lookup(single), *(item for item in peeker.table if item not in single))


def _only_a_flag(item: Item) -> bool:
    if not isinstance(item, Ask) or not isinstance(item.test, has) or item.no:
        return False
    return len(item.yes) == 1 and isinstance(item.yes[0], Adds)


def takes_down(table: Any) -> bool:
    """Whether a table takes anything down."""
    steps = [item for item in table if isinstance(item, Step)]
    return any(isinstance(item, Adds) for item in table) or any(takes_down((*s.yes, *s.no)) for s in steps)
