"""A reader of the memmap as an ordered table of steps.

    Ask(words, test)     a question; `test` is an expression over the record's fields
    Do(words, act)       a deed; where `yes` or `no` follows, what the act returns is the answer
    Says(line)           a line in the kernel's log
    Adds(value)          an accumulating reader notes something, and goes on
    Conclude(value)      the end: what the function returns, and what that means

`Ask` and `Do` name what follows a `yes` and what follows a `no`: one item, several, or nothing.  The first conclusion
ends it.  From this one definition come the story of a page (`Peeker.visit`), the points between which other code can
run (`Peeker.steps`), the reading of a whole memmap (`Peeker.scan`, in scan.py) and the documentation
(`Peeker.describe`, in tell.py).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..here import need_numpy
from ..memmap import KernelOops, Memmap
from ..page_alloc import PageAllocator
from ..releases import LINUX_3_10, Release
from .machine import Beyond, Machine, Stuck
from .record import Record

if TYPE_CHECKING:
    import numpy as np

Around = Machine | Memmap | PageAllocator  # where a peeker can be sent
Test = Callable[[Any], Any]  # of a Record, or of many at once (scan.Records)


class Item:
    """Anything that a table holds."""


Table = Item | Sequence[Item]


@dataclass(frozen=True)
class Conclude(Item):
    """The end: `value` (or a function of the record) is returned; `words` say what it means, `says` is logged."""

    value: Any
    words: str = ""
    says: str = ""


@dataclass(frozen=True)
class Adds(Item):
    """Something noted: `value` is or-ed to what has been gathered."""

    value: int
    words: str = ""


@dataclass(frozen=True)
class Says(Item):
    """A line in the kernel's log; {pfn} and {p} stand for the page frame number and the record."""

    line: str


class Step(Item):
    """Something asked or done, and what follows from the answer; a deed that `sleeps` lets other code run for long."""

    def __init__(self, words: str, test: Test, yes: Table = (), no: Table = (), *, sleeps: bool = False) -> None:
        self.words, self.test, self.yes, self.no, self.sleeps = words, test, items(yes), items(no), sleeps

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.words}>"


class Ask(Step):
    """A question about fields.  Asking changes nothing."""


class Do(Step):
    """A deed."""


def items(table: Table) -> tuple[Item, ...]:
    return (table,) if isinstance(table, Item) else tuple(table)


class Told:
    """One item as it happened: how deep it was nested, the answer, and what was read, written and logged meanwhile."""

    __slots__ = ("answer", "depth", "done", "from_", "item", "to")

    def __init__(self, item: Item, depth: int, from_: tuple[int, int, int]) -> None:
        self.item, self.depth, self.from_, self.to = item, depth, from_, from_
        self.answer: Any = None
        self.done = False  # a step that ends in a fault stays undone


class Moment(NamedTuple):
    """A point between two steps: `step` comes next; if it `sleeps`, other code has ample time."""

    step: Step
    sleeps: bool


Steps = Generator[Moment, None, Conclude]


def run(table: Sequence[Item], p: Record, visit: Visit, depth: int = 0) -> Steps:
    """Go through a table to its conclusion, with a pause before each step."""
    conclusion = yield from _follow(table, p, visit, depth)
    assert conclusion is not None, "the table comes to no conclusion"
    return conclusion


def _follow(table: Sequence[Item], p: Record, visit: Visit, depth: int) -> Generator[Moment, None, Conclude | None]:
    for item in table:
        if isinstance(item, Step):
            yield Moment(item, item.sleeps)
            told = visit.begin(item, depth)
            answer = item.test(p)
            visit.end(told, answer)
            if then := item.yes if answer else item.no:
                conclusion = yield from _follow(then, p, visit, depth + 1)
                if conclusion is not None:
                    return conclusion
            continue
        told = visit.begin(item, depth)
        if isinstance(item, Adds):
            p.gathered |= item.value
            visit.end(told)
        elif isinstance(item, Says):
            visit.machine.printk(item.line.format(pfn=visit.pfn, p=p))
            visit.end(told)
        elif isinstance(item, Conclude):
            if item.says:
                visit.machine.printk(item.says.format(pfn=visit.pfn, p=p))
            value = item.value(p) if callable(item.value) else item.value
            visit.end(told, value)
            return Conclude(value, item.words)
    return None


def at_one_stroke(steps: Steps) -> Conclude:
    """Take steps to their conclusion without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            conclusion: Conclude = end.value
            return conclusion


def decide(table: Sequence[Item], p: Record) -> Any:
    """Go through a table at one stroke, as part of a deed, and return the value that it concludes with."""
    visit = p.machine.visit
    assert visit is not None, "a table is gone through as part of a visit"
    depth = visit.depth
    conclusion = at_one_stroke(run(table, p.again(), visit, depth + 1))
    visit.depth = depth
    return conclusion.value


class Visit:
    """One reader at one page: what it asked, saw, did and concluded.

    `value` is what the function returned (None if it did not return), `words` what that means.  If it did not return,
    `oops` is the fault, or `stuck` says how it hangs, or `beyond` which call leads out of the model.  `told` is what
    happened item by item, `seen` every field read (address of the record, name, value), `writes` every write (address,
    size in bytes, before, after), `messages` the lines logged, `events` the calls to the world outside.

    Iterate over a visit to take it step by step.  What it does is real; `undo` takes it back.
    """

    def __init__(self, peeker: Peeker, machine: Machine, pfn: int, options: dict[str, Any]) -> None:
        if pfn not in machine.memmap.pfns:
            pfns = machine.memmap.pfns
            raise IndexError(f"pfn {pfn:#x} is outside this memmap ({pfns[0]:#x} to {pfns[-1]:#x})")
        self.peeker, self.machine, self.pfn, self.options = peeker, machine, pfn, options
        self.page = machine.page(pfn)
        self.value: Any = None
        self.words, self.beyond = "", ""
        self.oops: KernelOops | None = None
        self.stuck: Stuck | None = None
        self.told: list[Told] = []
        self.seen: list[tuple[int, str, int]] = []
        self.writes: list[tuple[int, int, int, int]] = []
        self.messages: list[str] = []
        self.events: list[tuple[Any, ...]] = []
        self.facts: dict[str, Any] = {}  # what the functions keep in variables
        self.bad = 0  # "Bad page state" reports
        self.depth = 0
        self._begin = machine.mark()

    def __iter__(self) -> Iterator[Moment]:
        """Take the steps one by one, pausing before each."""
        machine = self.machine
        self._begin = machine.mark()
        steps = self.peeker.plan(self)
        try:
            while True:
                machine.attend(self)
                yield next(steps)
        except StopIteration as end:
            self.value, self.words = end.value.value, end.value.words
        except KernelOops as oops:
            self.oops = oops.within(self.peeker.function)
        except Stuck as stuck:
            self.stuck = stuck
        except Beyond as beyond:
            self.beyond = beyond.call
        finally:
            machine.attend(None)

    def begin(self, item: Item, depth: int) -> Told:
        """Something is about to happen."""
        told = Told(item, depth, (len(self.seen), len(self.writes), len(self.messages)))
        self.told.append(told)
        self.depth = depth
        return told

    def end(self, told: Told, answer: Any = None) -> None:
        """It has happened."""
        told.answer, told.done = answer, True
        told.to = (len(self.seen), len(self.writes), len(self.messages))

    @property
    def returned(self) -> bool:
        return self.oops is None and self.stuck is None and not self.beyond

    def undo(self) -> None:
        """Take back all that this machine's visits have written since this one began (not what its allocator did)."""
        self.machine.undo(self._begin)

    def __str__(self) -> str:
        from .tell import story

        return story(self)

    def __repr__(self) -> str:
        from .tell import ending

        return f"<Visit of {self.peeker.name} to page {self.pfn:#x}: {ending(self)}>"


def one_page(visit: Visit) -> Steps:
    """What most readers do: go through the table for the page."""
    return run(visit.peeker.table, visit.page, visit)


class Peeker:
    """A reader: its table, and where in the kernel it is written.

    `trigger` says what sets it off.  `plan` drives the table where a function visits several pages or does several
    things.  A reader `scans`, if it judges each page by itself and asks nothing that its deeds have changed, into a
    column of the numpy type named.  `honest` is a place for what the reader would answer if it knew who owns the page:
    a function of machine and pfn, attached by whoever judges.  `release` is the kernel whose records it reads.
    """

    def __init__(
        self,
        name: str,
        function: str,
        file: str,
        trigger: str,
        table: Table,
        *,
        release: Release = LINUX_3_10,
        kernel: str = "",
        plan: Callable[[Visit], Steps] = one_page,
        scans: str = "",
    ) -> None:
        self.name, self.function, self.file, self.trigger = name, function, file, trigger
        self.release, self.kernel = release, kernel or release.name
        self.table, self.plan, self.scans = items(table), plan, scans
        self.honest: Callable[[Machine, int], Any] | None = None

    def visit(self, around: Around, pfn: int, **options: Any) -> Visit:
        """Send the reader to a page.  What it does there is done: the memmap changes (`Visit.undo` takes it back)."""
        visit = self.steps(around, pfn, **options)
        for _ in visit:
            pass
        return visit

    def steps(self, around: Around, pfn: int, **options: Any) -> Visit:
        """The same, not yet begun: iterate over it to take the steps one by one, and let other code run in between."""
        return Visit(self, self._at(around), pfn, options)

    def _at(self, around: Around) -> Machine:
        """The machine; ValueError if its records are another kernel's, which this reader would misread."""
        machine = Machine.of(around)
        if machine.memmap.release is not self.release:
            theirs = machine.memmap.release.name
            raise ValueError(
                f"{self.name} reads records of Linux {self.release.name}, and these are of {theirs}: "
                f"take the reader from peekers.of({theirs!r})"
            )
        return machine

    def scan(
        self,
        around: Around,
        *,
        oopses: dict[int, KernelOops] | None = None,
        out: np.ndarray[Any, Any] | None = None,
        block: int = 1 << 15,
    ) -> np.ndarray[Any, Any]:
        """What it says of every page, as a numpy column; see scan.scan."""
        need_numpy()
        from .scan import scan

        return scan(self, self._at(around), oopses=oopses, out=out, block=block)

    def describe(self) -> str:
        """The table in words: what is asked, which fields that reads, what is done and written, what is concluded."""
        from .tell import describe

        return describe(self)

    def __repr__(self) -> str:
        return f"<Peeker {self.name}: {self.function}, {self.file}, Linux {self.kernel}>"
