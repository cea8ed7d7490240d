"""A peeker in words: the story of a visit, and the description of a table with the fields that each step touches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from ..memmap import VMEMMAP, KernelOops, Memmap
from ..releases import LINUX_3_10, Release
from ..struct_page import RECORD, ZONE_NORMAL
from ..versions import ERRNO_NAMES
from .machine import Beyond, Machine, Stuck
from .record import Record, mask
from .rules import Adds, Ask, Conclude, Item, Peeker, Says, Step, Told, Visit

# ---------------------------------------------------------------------- the story of a visit


class StoryLine(NamedTuple):
    """A line of a story: how deep, the words, and the number of the item (of Visit.told) that it ends with."""

    depth: int
    words: str
    item: int


def story(visit: Visit, *, brief: bool = True) -> str:
    """What a visit asked, saw, did and concluded, as text; see `story_lines`."""
    peeker = visit.peeker
    lines = [f"{peeker.name} at page {visit.pfn:#x} ({peeker.function}, {peeker.file}, Linux {peeker.kernel})"]
    lines += ["  " * (line.depth + 1) + line.words for line in story_lines(visit, brief=brief)]
    return "\n".join([*lines, f"  {ending(visit)}"])


def story_lines(visit: Visit, *, brief: bool = True) -> list[StoryLine]:
    """What a visit asked, saw, did and concluded: a line for each step, deeds within deeds one deeper.

    A field is mentioned when it is first read, and again when it has changed.  If `brief`, runs of questions that were
    all answered with no and led nowhere share a line.
    """
    lines: list[StoryLine] = []
    known: dict[tuple[int, str], int] = {}
    told = visit.told
    i = 0
    while i < len(told):
        n = max(1, _dull(told, i)) if brief else 1
        n = n if n > 3 else 1
        words = _together(visit, told[i : i + n], known) if n > 1 else _line(visit, told, i, known)
        lines.append(StoryLine(told[i].depth, words, i + n - 1))
        i += n
    return lines


def _dull(told: list[Told], i: int) -> int:
    """How many items from the i-th on are questions, at one depth, answered with no and not followed up."""
    n = 0
    for a, after in zip(told[i:], [*told[i + 1 :], None], strict=True):
        if not (isinstance(a.item, Ask) and a.done and not a.answer and a.depth == told[i].depth):
            break
        if after is not None and after.depth > a.depth:
            break
        n += 1
    return n


def _together(visit: Visit, some: list[Told], known: dict[tuple[int, str], int]) -> str:
    details = [detail for a in some for detail in _reads(visit, a, known)]
    questions = [a.item.words for a in some if isinstance(a.item, Step)]
    line = f'asked {len(some)} questions, from "{questions[0]}" to "{questions[-1]}"  no to all'
    return line + (f"  ({'; '.join(details)})" if details else "")


def _line(visit: Visit, told: list[Told], i: int, known: dict[tuple[int, str], int]) -> str:
    this, item = told[i], told[i].item
    if isinstance(item, Says):
        return f'logged "{visit.messages[this.from_[2]]}"'
    if isinstance(item, Adds):
        return f"noted {item.words or hex(item.value)}"
    if isinstance(item, Conclude):
        return f"concluded {shown(visit.peeker, this.answer)}" + (f": {item.words}" if item.words else "")
    assert isinstance(item, Step)
    line = f"{'asked' if isinstance(item, Ask) else 'did'}: {item.words}"
    if not this.done:
        line += "  -- and did not come back"
    elif item.yes or item.no:
        line += "  yes" if this.answer else "  no"
    after = told[i + 1] if i + 1 < len(told) else None
    if after is not None and after.depth > this.depth and not (this.done and after.from_ >= this.to):
        return line  # what was done within follows
    details = _reads(visit, this, known) + _writes(visit, this)
    details += [f'logged "{text}"' for text in visit.messages[this.from_[2] : this.to[2]]]
    return line + (f"  ({'; '.join(details)})" if details else "")


def _reads(visit: Visit, told: Told, known: dict[tuple[int, str], int]) -> list[str]:
    """The fields that a step read, if that was new."""
    news = []
    for address, name, value in visit.seen[told.from_[0] : told.to[0] if told.done else None]:
        if known.get((address, name)) != value:
            known[address, name] = value
            number = _number(visit.page.machine.memmap.release, name, value)
            news.append(f"{_name(visit.page, address, name)} {number}")
    return news


def _writes(visit: Visit, told: Told) -> list[str]:
    """What a step wrote into records."""
    writes = visit.writes[told.from_[1] : told.to[1] if told.done else None]
    return [text for write in writes if (text := written(visit.page, *write))]


def _name(page: Record, address: int, name: str) -> str:
    """A field, and whose it is if it is not the page's own."""
    if not name:
        return f"the word at {address:#x} is"
    if address == page.address:
        return name
    if page._head is not None and address == page._head.address:
        return f"{name} of the head"
    row = page.machine.row(address)
    return f"{name} of page {page.machine.memmap.pfns[row]:#x}" if row >= 0 else f"{name} of a record at {address:#x}"


def _number(release: Release, name: str, value: int) -> str:
    if name == "flags" and (names := release.flag_names(value)):
        return f"{value:#x}, {' '.join(names)}"
    return str(value) if name.endswith("count") else hex(value)


def written(page: Record, address: int, size: int, before: int, after: int) -> str:
    """A write into a record, in words; empty for one that is elsewhere."""
    row = page.machine.row((address - VMEMMAP) // RECORD * RECORD + VMEMMAP)
    if row < 0:
        return ""
    pfn, offset = page.machine.memmap.pfns[row], (address - VMEMMAP) % RECORD
    whose = "" if pfn == page.pfn else f" of page {pfn:#x}"
    release = page.machine.memmap.release
    if offset < 8:
        return _flags_written(release, whose, before << 8 * offset, after << 8 * offset)
    fields = [f for f in release.layout.values() if (f.offset, f.size) == (offset, size)]
    if not fields:
        return f"bytes {offset} to {offset + size - 1}{whose} {before:#x} -> {after:#x}"
    name, sign = fields[0].name, 1 << 8 * size - 1
    numbers = [(n ^ sign) - sign if fields[0].signed else n for n in (before, after)]
    return f"{name}{whose} {_number(release, name, numbers[0])} -> {_number(release, name, numbers[1])}"


def _flags_written(release: Release, whose: str, before: int, after: int) -> str:
    changes = [f"{'set' if after >> release.flags[name] & 1 else 'clear'} PG_{name}"
               for name in release.flag_names(before ^ after)]  # fmt: skip
    return f"{', '.join(changes)}{whose}" if changes else f"no flag changed{whose}"


def ending(visit: Visit) -> str:
    """How a visit ended."""
    if visit.oops is not None:
        return f"oops: {visit.oops}"
    if visit.stuck is not None:
        return str(visit.stuck)
    if visit.beyond:
        return f"goes on in {visit.beyond}, where the model ends"
    return f"returned {shown(visit.peeker, visit.value)}" + (f": {visit.words}" if visit.words else "")


def shown(peeker: Peeker, value: Any) -> str:
    """A value as the kernel's people would write it."""
    if value is None:
        return "nothing"
    if peeker.scans == "uint64":
        return hex(value)
    if not peeker.scans and isinstance(value, int) and -value in ERRNO_NAMES:
        return f"-{ERRNO_NAMES[-value]}"
    return str(value)


# ---------------------------------------------------------------------- the description of a table


class Line(NamedTuple):
    """One item of a table: how deep, after which answer, and the fields that it reads and writes."""

    depth: int
    after: str  # "", "yes" or "no"
    item: Item
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    again: bool = False


def outline(peeker: Peeker) -> list[Line]:
    """A table, item by item.  What a step reads and writes was found by trying it on sample pages.

    A question with all that follows from it is taken apart once; where it stands again, Line.again is set.
    """
    return list(_outline(peeker.table, 0, "", set(), peeker.release))


def _outline(table: Any, depth: int, after: str, before: set[Item], release: Release) -> Iterator[Line]:
    for item in table:
        if not isinstance(item, Step):
            yield Line(depth, after, item)
            continue
        again = item in before and bool(item.yes or item.no)
        reads, writes = touches(item, release)
        yield Line(depth, after, item, reads, writes, again)
        if not again:
            before.add(item)
            yield from _outline(item.yes, depth + 1, "yes", before, release)
            yield from _outline(item.no, depth + 1, "no", before, release)


def describe(peeker: Peeker) -> str:
    """A table as text."""
    lines = [
        f"{peeker.name}: {peeker.function}, {peeker.file}, Linux {peeker.kernel}",
        f"set off by: {peeker.trigger}",
        "",
    ]
    for depth, after, item, reads, writes, again in outline(peeker):
        text = (
            "  " * depth + (f"{after}: " if after else "") + _in_words(peeker, item) + (" (as above)" if again else "")
        )
        touched = [f"reads {', '.join(reads)}"] * bool(reads) + [f"writes {', '.join(writes)}"] * bool(writes)
        lines.append(f"{text:<90}{'' if again else '; '.join(touched)}".rstrip())
    return "\n".join(lines)


def _in_words(peeker: Peeker, item: Item) -> str:
    if isinstance(item, Says):
        return f'log "{item.line}"'
    if isinstance(item, Adds):
        return f"note {item.words or hex(item.value)}"
    if isinstance(item, Conclude):
        value = "what it is" if callable(item.value) else shown(peeker, item.value)
        return f"conclude {value}" + (f": {item.words}" if item.words else "")
    assert isinstance(item, Step)
    pause = " (sleeps)" if item.sleeps else ""
    return ("ask: " if isinstance(item, Ask) else "do: ") + item.words + pause


@cache
def touches(step: Step, release: Release = LINUX_3_10) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields that a step reads and writes, on any of the sample pages."""
    machine, pfns = _samples(release)
    reads: dict[str, None] = {}
    writes: dict[str, None] = {}
    for pfn in pfns:
        visit = Visit(Peeker("trial", "trial", "", "", step, release=release), machine, pfn, {})
        visit.facts = defaultdict(int)
        machine.attend(visit)
        with suppress(KernelOops, Stuck, Beyond):
            step.test(visit.page)
        machine.attend(None)
        changed = [address for address, _, before, after in visit.writes if before != after]
        visit.undo()
        head = visit.page.head().address
        reads |= dict.fromkeys(_relative(visit.page, head, address, name) for address, name, _ in visit.seen)
        writes |= dict.fromkeys(name for address in changed if (name := _field_at(visit.page, head, address)))
    return tuple(reads), tuple(writes)


def _relative(page: Record, head: int, address: int, name: str) -> str:
    """A field, with whose record it is, seen from the page."""
    if not name:
        return "memory"
    owners = {head + RECORD: "head[1].", head: "head.", page.address: ""}  # its own last: a head is its own head
    return owners.get(address, "other.") + name


def _field_at(page: Record, head: int, address: int) -> str:
    """The field that a write goes to; empty for one outside of the memmap."""
    if page.machine.row((address - VMEMMAP) // RECORD * RECORD + VMEMMAP) < 0:
        return ""
    offset = (address - VMEMMAP) % RECORD
    layout = page.machine.memmap.layout
    field = next((f for f in layout.values() if f.offset <= offset < f.offset + f.size), None)
    return _relative(page, head, address - offset, field.name) if field else ""


@cache
def _samples(release: Release) -> tuple[Machine, list[int]]:
    """A small memmap with one page of each kind that makes a difference."""
    if release is not LINUX_3_10:
        from .linux_6_1 import samples

        return samples(release)
    m = Memmap(64, base_pfn=1024)
    m.fill()
    machine = Machine(m)
    anon = m.frame(1024) + 1
    kinds: list[dict[str, int]] = [
        {"_count": 1},
        {"_count": 0, "_mapcount": -128, "private": 0},
        {"_count": 1, "flags": ZONE_NORMAL | mask("slab"), "_mapcount": 5},
        {"_count": 2, "flags": ZONE_NORMAL | mask("lru", "swapbacked"), "_mapcount": 0, "mapping": anon},
        {"_count": 2, "flags": ZONE_NORMAL | mask("lru", "locked"), "mapping": m.frame(1025)},
        {"_count": 2, "flags": ZONE_NORMAL | mask("lru", "swapcache", "active"), "mapping": anon},
        {"_count": 1, "flags": ZONE_NORMAL | mask("lru", "unevictable", "mlocked"), "mapping": anon + 2},
        {"_count": 1, "flags": ZONE_NORMAL | mask("hwpoison")},
        {"_count": 1, "mapping": m.frame(1026)},
        {"_count": 2, "flags": ZONE_NORMAL | mask("head"), "_mapcount": 0, "mapping": anon},
        {"flags": ZONE_NORMAL | mask("tail"), "first_page": m.record(1024 + 9 * 2)},
    ]
    for i, fields in enumerate(kinds):
        p = m.page(1024 + 2 * i if i < 10 else 1024 + 19)
        for name, value in fields.items():
            p[name] = value
    m.page(1024 + 19)["lru.next"], m.page(1024 + 19)["lru.prev"] = machine.free_huge_page, 1
    m.store(m.frame(1026) + 120, 1 << 29)
    m.store(m.frame(1026) + 160, m.frame(1027))
    return machine, [1024 + 2 * i for i in range(10)] + [1024 + 19]
