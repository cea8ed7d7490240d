"""What stands around a page: memory that remembers what was written, lists, zones, locks, and the world outside.

A reader that takes a reference, locks a page or frees it needs more than the memmap: the zone that the page's flags
name, its locks and its lists, the per-cpu list, the counters.  A `Machine` has these, at kernel addresses in the
model's own memory.  One CPU runs, and nobody else does, except what a race explorer does between two steps.

What the kernel would do beyond that (rmap, migration, file systems, memory for others) is not modelled: the machine
notes the call as an event, and the caller goes on with the answer that the recordings' stand-ins give (their README,
"Outside world").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..dress import FREE_COMPOUND_PAGE, FREE_HUGE_PAGE
from ..memmap import NOT_RECORDED, KernelOops, Memmap
from ..page_alloc import KernelPages, PageAllocator
from ..struct_page import LIST_POISON1, LIST_POISON2, RECORD, ZONES
from .record import M64, Record

if TYPE_CHECKING:
    from .rules import Visit

# struct zone, Linux 3.10 in the recordings' configuration: bytes from its start
ZONE_SIZE = 1728
LOW_WATERMARK, PAGESET, ZONE_LOCK, FREE_AREA = 0x08, 0x60, 0x68, 0x90
LRU_LOCK, LRU_LISTS, NR_FREE_PAGES, WAIT_TABLE = 0x480, 0x488, 0x508, 0x650
FREE_AREA_SIZE, NR_FREE = 88, 80  # struct free_area: a list head for each of five migrate types, then a count
MAX_ORDER = 11  # free blocks have 2**0 to 2**10 pages
PAGEBLOCK = 512  # pages in a block that has one migrate type
UNMOVABLE, RECLAIMABLE, MOVABLE, RESERVE, ISOLATE = range(5)  # migrate types; the first three have per-cpu lists
PCP_HIGH, PCP_BATCH, PCP_LISTS = 4, 8, 16  # struct per_cpu_pages: how many pages, how many at most, ..., the lists
NORMAL = ZONES.index("Normal")


class Stuck(Exception):
    """A function that does not return: it `blocks` for a flag bit, `spins` for a lock, `loops`, or hits a `BUG`."""

    def __init__(self, how: str, *, bit: int | None = None, address: int | None = None) -> None:
        super().__init__(how, bit, address)
        self.how, self.bit, self.address = how, bit, address

    def __str__(self) -> str:
        if self.how == "blocks":
            return f"sleeps for ever, waiting for flag bit {self.bit}"
        if self.how == "spins":
            return f"spins for ever, waiting for the lock at {self.address:#x}"
        return "loops for ever" if self.how == "loops" else "BUG: an assertion of the kernel fails"


class Beyond(Exception):
    """The way leads out of the model: `call` is the kernel function that would go on there."""

    def __init__(self, call: str) -> None:
        super().__init__(call)
        self.call = call


class Machine:
    """The surroundings of the pages of `memmap`.

    `pages` is the allocator that a page goes back to when its last reference is dropped; without one, the machine's own
    lists take it.  `node` is the address of struct pglist_data, whose four zones follow one another, `pcp` that of the
    per-cpu lists, `compaction` that of compaction's two lists (free pages, pages to move); by default they lie in
    memory of their own behind the memmap.  `migratetype` is that of all pageblocks, `walked` the zone that is walked by
    a walker of one zone.
    """

    free_huge_page, free_compound_page = FREE_HUGE_PAGE, FREE_COMPOUND_PAGE  # destructors of compound pages

    def __init__(
        self,
        memmap: Memmap,
        pages: PageAllocator | None = None,
        *,
        node: int | None = None,
        pcp: int | None = None,
        compaction: int | None = None,
        migratetype: int = MOVABLE,
        walked: int = NORMAL,
    ) -> None:
        self.memmap, self.pages, self.fields = memmap, pages, memmap._fields
        self._start, self._end = memmap.record(memmap.pfns.start), memmap.record(memmap.pfns.stop)
        if isinstance(pages, KernelPages):  # its lists are the machine's
            node, pcp, migratetype = pages.zone - NORMAL * ZONE_SIZE, pages.pcp, pages.migratetype
        own = node is None or pcp is None or compaction is None
        self._home = [range(memmap.pfns.stop, memmap.pfns.stop + 4)] if own else []
        self.node = memmap.frame(memmap.pfns.stop) if node is None else node
        self.pcp = memmap.frame(memmap.pfns.stop + 2) if pcp is None else pcp
        self.compaction = memmap.frame(memmap.pfns.stop + 3) if compaction is None else compaction
        self.migratetype, self.walked = migratetype, walked
        self.block_types: dict[int, int] = {}  # migrate types of pageblocks where they are not `migratetype`
        self.pagevec: list[tuple[int, int]] = []  # pages on their way to an LRU list: record, kind of list
        self.poisoned = 0  # num_poisoned_pages
        self.log: list[tuple[int, int, int, int]] = []  # every write: address, size, what was there, what is
        self.attend(None)
        self.set_up()

    @staticmethod
    def of(around: Machine | Memmap | PageAllocator) -> Machine:
        """The machine around a memmap, or around an allocator's pages; always the same one."""
        if isinstance(around, Machine):
            return around
        memmap, pages = (around, None) if isinstance(around, Memmap) else (around.memmap, around)
        machine: Machine | None = vars(memmap).get("machine")
        if machine is None or (pages is not None and machine.pages is not pages):
            machine = vars(memmap)["machine"] = Machine(memmap, pages)
        machine.set_up()
        return machine

    def set_up(self) -> None:
        """Make the lists empty, unless they are there already (a memmap that was restored may have lost them)."""
        self.memmap.ram += [home for home in self._home if home not in self.memmap.ram]
        if self.memmap.load(self.zone_at(NORMAL) + LRU_LISTS):
            return
        store = self.memmap.store
        zones = range(self.node, self.node + len(ZONES) * ZONE_SIZE, ZONE_SIZE)
        heads = []
        if isinstance(self.pages, KernelPages):  # then this is its zone, and the free lists are its own
            zones = range(self.pages.zone, self.pages.zone + 1)
        else:
            heads += [self.pcp + PCP_LISTS + 16 * kind for kind in range(3)]
            heads += [
                z + FREE_AREA + FREE_AREA_SIZE * o + 16 * kind for z in zones for o in range(11) for kind in range(5)
            ]
            store(self.pcp + PCP_HIGH, 186, 4)
            store(self.pcp + PCP_BATCH, 31, 4)
        for zone in zones:
            heads += [zone + LRU_LISTS + 16 * kind for kind in range(5)]
            store(zone + PAGESET, self.pcp)
            store(zone + NR_FREE_PAGES, 20000)
        for head in heads:
            store(head, head)
            store(head + 8, head)

    def attend(self, visit: Visit | None) -> None:
        """What is read, written, logged and kept in variables from now on belongs to this visit."""
        self.visit = visit
        self.seen: list[tuple[int, str, int]] = [] if visit is None else visit.seen
        self.writes: list[tuple[int, int, int, int]] = [] if visit is None else visit.writes
        self.facts: dict[str, Any] = {} if visit is None else visit.facts

    @property
    def check_at_prep(self) -> int:
        """The flags that must be clear on a page handed out: all that this kernel has."""
        return (1 << self.memmap.nr_pageflags) - 1

    @check_at_prep.setter
    def check_at_prep(self, mask: int) -> None:
        self.memmap.nr_pageflags = mask.bit_length()

    # ------------------------------------------------------------------ memory

    def row(self, address: int) -> int:
        """Which record of the memmap starts at an address: its row, or -1 if none does."""
        if self._start <= address < self._end and not (address - self._start) % RECORD:
            return (address - self._start) // RECORD
        return -1

    def page(self, pfn: int) -> Record:
        return Record(self, self.memmap.record(pfn))

    def read(self, address: int, size: int = 8) -> int:
        """The unsigned number at an address; where nothing is, the KernelOops names the address that was asked for."""
        try:
            return self.memmap.load(address & M64, size)
        except KernelOops:
            raise self.nothing_at(address & M64, "read") from None

    def write(self, address: int, value: int, size: int = 8) -> None:
        """Put a number there, and remember what was there."""
        address &= M64
        try:
            done = (address, size, self.memmap.load(address, size), value)
            self.memmap.store(address, value, size)
        except KernelOops:
            raise self.nothing_at(address, "write") from None
        self.log.append(done)
        self.writes.append(done)

    def nothing_at(self, address: int, access: str) -> Exception:
        """What comes of going where this memory has nothing: an oops, unless it is only that it was not recorded."""
        words = self.memmap.where(address)
        return Beyond(words) if words.endswith(NOT_RECORDED) else KernelOops(address, access)

    def add(self, address: int, change: int) -> None:
        """Add to the 64-bit number there, in one instruction."""
        try:
            number = self.memmap.load(address & M64)
        except KernelOops:
            raise KernelOops(address & M64, "write") from None
        self.write(address, number + change & M64)

    def mark(self) -> Any:
        """Here and now, for `undo`."""
        return len(self.log), self.poisoned, dict(self.block_types), list(self.pagevec)

    def undo(self, mark: Any) -> None:
        """Take back everything that was written since `mark`, the last first."""
        length, self.poisoned, block_types, pagevec = mark
        self.block_types, self.pagevec = dict(block_types), list(pagevec)
        for address, size, old, _ in reversed(self.log[length:]):
            self.memmap.store(address, old, size)
        del self.log[length:]

    def save(self) -> Any:
        """What it knows besides the memory's bytes, for `restore`."""
        return list(self.log), self.poisoned, dict(self.block_types), list(self.pagevec)

    def restore(self, saved: Any) -> None:
        self.log[:], self.poisoned = saved[0], saved[1]
        self.block_types, self.pagevec = dict(saved[2]), list(saved[3])

    # ------------------------------------------------------------------ lists, each write remembered (linux/list.h)

    def list_del(self, entry: int) -> None:
        """Take `entry` off its list, trusting both of its links, and poison them."""
        self.unlink(entry)
        self.write(entry, LIST_POISON1)
        self.write(entry + 8, LIST_POISON2)

    def unlink(self, entry: int) -> None:
        """Let the neighbours of `entry` point past it (mirrors __list_del)."""
        after, before = self.read(entry), self.read(entry + 8)
        self.write(after + 8, before)
        self.write(before, after)

    def list_add(self, entry: int, head: int) -> None:
        """Put `entry` first on the list of `head`."""
        self._link(entry, head, self.read(head))

    def list_add_tail(self, entry: int, head: int) -> None:
        """Put `entry` last on the list of `head`."""
        self._link(entry, self.read(head + 8), head)

    def _link(self, entry: int, before: int, after: int) -> None:
        self.write(after + 8, entry)
        self.write(entry, after)
        self.write(entry + 8, before)
        self.write(before, entry)

    def list_move(self, entry: int, head: int) -> None:
        """Take `entry` off its list and put it first on that of `head`."""
        self.unlink(entry)
        self.list_add(entry, head)

    # ------------------------------------------------------------------ zones and locks

    def zone_at(self, index: int) -> int:
        """Address of one of the zones of node 0."""
        return self.node + ZONE_SIZE * index

    def zone(self, p: Record) -> int:
        """Address of the zone that a page's flags name.  Only node 0 is there; another one's address is NULL."""
        flags = p["flags"]
        return (0 if flags >> 58 else self.node) + ZONE_SIZE * (flags >> 56 & 3)

    def spin_lock(self, lock: int) -> None:
        """Take a ticket lock of two bytes, served and next: draw the next ticket, and wait until it is served."""
        tickets = self.read(lock, 2)
        if tickets & 0xFF != tickets >> 8:
            raise Stuck("spins", address=lock & M64)
        self.write(lock, tickets + 0x100 & 0xFFFF, 2)

    def spin_unlock(self, lock: int) -> None:
        self.write(lock, self.read(lock, 1) + 1 & 0xFF, 1)

    def block_type(self, pfn: int) -> int:
        """The migrate type of the pageblock that a page is in."""
        return self.block_types.get(pfn // PAGEBLOCK, self.migratetype)

    # ------------------------------------------------------------------ the world outside

    def event(self, name: str, *details: Any) -> None:
        """A call to something that is not modelled."""
        if self.visit is not None:
            self.visit.events.append((name, *details))

    def call(self, function: int) -> NoReturn:
        """Jump where a structure says: no function is in the model's memory, so that is a fault."""
        raise KernelOops(function & M64, "execute")

    def printk(self, line: str) -> None:
        """A line in the kernel's log."""
        if self.visit is not None:
            self.visit.messages.append(line)

    def __repr__(self) -> str:
        return f"<Machine around {self.memmap!r}>"
