"""One page before its readers: the page, its record before and now, who reads what and comes to what, and one story."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..demonstrate.face import Finding
from ..demonstrate.judge import WORDS as VERDICTS
from ..peekers.tell import StoryLine, ending, story_lines
from ..realpool import RealPool
from ..rows import count
from ..struct_page import CHUNK, RECORD
from ..timeline import Timeline
from ..words import letter
from .kit import WIDE, Fig, Picture
from .page import CHUNKS, record, strip, strip_text, words_of, written
from .palette import TAGS
from .timeline import draw_timeline

TABLE_ROW, STORY_ROW, STORY_MOST = 22, 20, 11


@dataclass(frozen=True)
class Bench:
    """What is on the bench: a timeline, a page, what the readers make of it, which of them is looked at, how far.

    `item` is the item of the chosen reader's story (Visit.told) after which the record is shown; None: as it is now.
    `next` says what zbud would do next, `stopped` is the oops that the machine stands at.
    """

    timeline: Timeline
    pfn: int
    findings: Sequence[Finding]
    reader: str
    item: int | None = None
    next: str = ""
    stopped: str = ""

    @property
    def chosen(self) -> Finding:
        return next(finding for finding in self.findings if finding.reader.name == self.reader)

    def records(self) -> list[tuple[str, bytes]]:
        """The records to show, the last one being the one in question, each with its label."""
        now = self.timeline.pool.memmap.page(self.pfn).raw
        if self.item is not None:
            return [("now", now), ("then", self.chosen.after(self.item))]
        at = self.timeline.position
        before = bytearray(now)
        start = self.timeline.pool.memmap.record(self.pfn)
        for change in self.timeline.changes(at) if at else ():
            for i, byte in enumerate(change.before):
                if 0 <= change.address + i - start < RECORD:
                    before[change.address + i - start] = byte
        return [("before", bytes(before)), ("now", now)] if before != now else [("now", now)]


def bench_picture(bench: Bench, width: int = WIDE, *, parts: bool = False) -> Picture:
    """The whole bench.

    With `parts`, tenants are targets named FIRST:pfn and LAST:pfn, readers reader:NAME, the chosen one's button
    run:NAME, lines of its story item:N, ticks of the timeline event:N.
    """
    pool = bench.timeline.pool
    tag = letter(pool.memmap, bench.pfn)
    fig = Fig(
        f"p{bench.pfn} before {len(bench.findings)} readers",
        f"A page ({TAGS[tag]}) of a pool of scheme {pool.scheme.name}; {bench.reader}: {_verdict(bench.chosen)}",
        width,
    )
    kernel = pool.memmap.release.name + ", as recorded" * isinstance(pool, RealPool)
    fig.say(
        f"p{bench.pfn} ({TAGS[tag]}), scheme {pool.scheme.name}, before {len(bench.findings)} readers, Linux {kernel}"
    )
    y = _page(fig, bench, tag, parts)
    y = _record(fig, bench, y + 10)
    y = _table(fig, bench, y + 26, parts)
    y = _story(fig, bench, y + 32, parts)
    y = _next(fig, bench, y + 6)
    return fig.picture(draw_timeline(fig, bench.timeline, y + 28, parts=parts))


def _left(fig: Fig) -> tuple[float, float]:
    return (96, 12.25) if fig.wide else (64, 8.6875)


def _page(fig: Fig, bench: Bench, tag: str, parts: bool) -> float:
    """The frame as a strip; returns the y beneath."""
    pool, pfn = bench.timeline.pool, bench.pfn
    left, chunk = _left(fig)
    fig.chip(0, 3, tag)
    fig.text(24, 17, f"p{pfn}", bold=True)
    if pfn in pool.mine:
        first, last = pool.chunks(pfn)
        header = pool.scheme.header_chunks
        strip(fig, left, 0, chunk, 24, first, last, header, parts=parts, pfn=pfn)
        fig.say(f"  {strip_text(first, last, header)}")
        told = f"{first * CHUNK:,} and {last * CHUNK:,} bytes"
    else:
        fig.area(left, 0, CHUNKS * chunk, 24, tag)
        told = pool.memmap.owner.get(pfn, "free")
        fig.plate(left + CHUNKS * chunk / 2, 16, told, 13, "t" + tag)
    fig.say(f"  pfn {pfn:#x}, {told}")
    return 30


def _record(fig: Fig, bench: Bench, y: float) -> float:
    """The record, before and now, with what changed in words; returns the y beneath."""
    pool = bench.timeline.pool
    left, chunk = _left(fig)
    shown = bench.records()
    now = shown[-1][1]
    hot = {i for i in range(RECORD) if shown[0][1][i] != now[i]}
    overlay = bench.pfn in pool.mine and pool.scheme.home == "record"
    for label, raw in shown:
        last = raw is now
        fig.small(0, y + 10, label, bold=last)
        lefts = record(fig, left, y, CHUNKS * chunk, raw, hot=hot if last else (), tone="Z" if overlay else "h2")
        fig.say(f"  {label:6} {' '.join(raw[i : i + 8].hex() for i in range(0, RECORD, 8))}")
        y += 22
    pieces = written(pool) if overlay else {}
    words = words_of(pool.memmap.release)
    for i, x in enumerate(lefts):
        name = ", ".join(pieces.get(i, [] if i in (1, 2, 3, 4, 5, 6, 7) and overlay else [words[i]]))
        short = name.replace("_chunks", "") if overlay else name
        fig.small(x, y + 10, short if fig.wide else short[:12], fill="Z" if i in pieces else "dim")
    y += 18
    told = _changed(bench, shown[0][1], now)
    if told:
        fig.rect(left - 4, y, fig.width - left + 4, 24, "nowbg", "now", 1.5, 3)
        line = "; ".join(told)
        fig.text(left + 4, y + 16.5, _cut(fig, line, left + 8, 7.1), 13)
        fig.say(f"  changed: {'; '.join(told)}")
        y += 30
    return y


def _changed(bench: Bench, before: bytes, after: bytes) -> list[str]:
    """What changed in the record, in words, as zbud and as the kernel read it."""
    pool = bench.timeline.pool
    told = []
    ours = pool.scheme.pieces() if bench.pfn in pool.mine and pool.scheme.home == "record" else {}
    for name, (offset, size) in ours.items():
        old, new = (int.from_bytes(raw[offset : offset + size], "little") for raw in (before, after))
        if old != new:
            step = " + 2^32" if new - old == 1 << 32 else " \u2212 2^32" if old - new == 1 << 32 else ""
            told.append(f"{name} {old:#x} \u2192 {new:#x}{step}")
    release = pool.memmap.release
    for name in ("_mapcount", release.references):
        at = release.layout[name].offset
        old, new = (int.from_bytes(raw[at : at + 4], "little", signed=True) for raw in (before, after))
        if old != new:
            told.append(f"{name} {old} \u2192 {new}")
    if before[:8] != after[:8]:
        old, new = (int.from_bytes(raw[:8], "little") for raw in (before, after))
        for sign, bits in (("set", new & ~old), ("clear", old & ~new)):
            told += [f"{sign} PG_{name}" for name in release.flag_names(bits)]
    return told


def _verdict(finding: Finding) -> str:
    verdict = finding.verdict
    if verdict is None:
        return "not zbud's"
    return verdict.word + ", race" * verdict.race + " *" * verdict.anyone


def _cut(fig: Fig, words: str, x: float, each: float = 6.1, right: float = 0) -> str:
    """As much of a sentence as fits from x to the right edge."""
    most = int((fig.width - right - x) / each)
    return words if len(words) <= most else words[: most - 1].rstrip(" ,;:") + "\u2026"


def _table(fig: Fig, bench: Bench, y: float, parts: bool) -> float:
    """Readers, what they read and write, verdict and reason; returns the y beneath."""
    xs = (8, 124, 218, 352) if fig.wide else (6, 122, 202, 304)
    for x, word in zip(xs, ("reader", "reads, writes", "verdict", "because"), strict=True):
        fig.small(x, y, word, fill="dim")
    y += 8
    fig.say("  reader            reads, writes   verdict            because")
    does = ""
    for finding in bench.findings:
        if does and finding.reader.does != does:
            fig.path(f"M0 {y}H{fig.width}", "rule")
        does = finding.reader.does
        _reader(fig, bench, finding, xs, y, parts)
        y += TABLE_ROW
    if any(finding.verdict and finding.verdict.anyone for finding in bench.findings):
        fig.small(xs[2] + 24, y + 15, "* any kernel page suffers as much", fill="dim")
        fig.say("    * any kernel page suffers as much")
        y += TABLE_ROW
    return y


def _reader(fig: Fig, bench: Bench, finding: Finding, xs: Sequence[float], y: float, parts: bool) -> None:
    name, verdict = finding.reader.name, finding.verdict
    chosen = name == bench.reader
    with fig.part(f"reader:{name}", f"{name}: {_verdict(finding)}: {finding.why}", parts):
        if chosen:
            fig.rect(1, y + 1, fig.width - 2, TABLE_ROW - 2, "panel", "now", 2, 3)
        if parts:
            fig.rect(1, y + 1, fig.width - 2, TABLE_ROW - 2, "none", "none", cls="hit", rx=3)
        fig.text(xs[0], y + 15, name, 11, mono=True, bold=chosen)
        cells = ""
        for word in range(8):
            mine = range(8 * word, 8 * word + 8)
            reads, writes = finding.reads & set(mine), finding.writes & set(mine)
            x = xs[1] + word * 10
            fig.rect(x, y + 7, 8, 8, "nowbg" if writes else "h2" if reads else "none", "now" if writes else "rule", 1)
            if writes:
                fig.path(f"M{x + 1.5} {y + 13.5}l5 -5", "now", 1.5)
            cells += "w" if writes else "r" if reads else "."
        if verdict is None:
            fig.small(xs[2] + 22, y + 15, "says", fill="dim")
        else:
            fig.severity(xs[2], y + 2, 18, 18, VERDICTS.index(verdict.word), maybe=verdict.race)
            fig.small(xs[2] + 24, y + 15, _verdict(finding), bold=verdict.word != "ok")
        fig.small(xs[3], y + 15, _cut(fig, finding.why, xs[3], right=58 if chosen else 4))
    if chosen:
        with fig.part(f"run:{name}", f"run {name}: what it does is done", parts):
            fig.rect(fig.width - 52, y + 2, 48, TABLE_ROW - 4, "bg", "dim", 1, 3, cls="hit" if parts else "")
            fig.path(f"M{fig.width - 44} {y + 7}l6 4 -6 4z", "", fill="ink")
            fig.small(fig.width - 33, y + 15, "run", bold=True)
    fig.say(f"  {'>' if chosen else ' '} {name:16} {cells:14} {_verdict(finding):18} {finding.why}")


def _story(fig: Fig, bench: Bench, y: float, parts: bool) -> float:
    """The chosen reader's story, a window of it around the chosen line; returns the y beneath."""
    visit = bench.chosen.visit
    peeker = visit.peeker
    lines = story_lines(visit)
    at = next((k for k, line in enumerate(lines) if bench.item is not None and line.item >= bench.item), len(lines))
    start = 0 if bench.item is None else max(0, min(at - STORY_MOST // 2, len(lines) - STORY_MOST))
    shown = lines[start : start + STORY_MOST]
    fig.text(0, y, bench.reader, 13, mono=True, bold=True)
    where = f"{peeker.function}, {peeker.file}, Linux {peeker.kernel}; " + (
        f"line {at + 1} of {len(lines)}" if bench.item is not None else count(len(lines), "line")
    )
    fig.small(16 + 8 * len(bench.reader), y, where, fill="dim")
    fig.say(f"  {bench.reader} ({where})")
    y += 8
    for k, line in enumerate(shown, start):
        _line(fig, line, k, y, k == at, parts)
        y += STORY_ROW
    later = len(lines) - start - len(shown)
    if later:
        fig.small(34, y + 12, f"and {count(later, 'more line')}", fill="dim")
        fig.say(f"        and {count(later, 'more line')}")
        y += 18
    end = ending(visit)
    fig.text(10, y + 15, _cut(fig, end, 10, 7.1), 13, bold=True)
    fig.say(f"    {end}")
    return y + 24


def _line(fig: Fig, line: StoryLine, k: int, y: float, chosen: bool, parts: bool) -> None:
    with fig.part(f"item:{line.item}", f"{k + 1}: {line.words}", parts):
        if chosen:
            fig.rect(1, y + 1, fig.width - 2, STORY_ROW - 2, "nowbg", "now", 2, 3)
        if parts:
            fig.rect(1, y + 1, fig.width - 2, STORY_ROW - 2, "none", "none", cls="hit", rx=3)
        x = 34 + 14 * line.depth
        fig.small(24, y + 14, k + 1, mono=True, fill="dim", at="end")
        fig.small(x, y + 14, _cut(fig, line.words, x), bold=chosen)
    fig.say(f"  {'>' if chosen else ' '} {k + 1:3} {'  ' * line.depth}{line.words}")


def _next(fig: Fig, bench: Bench, y: float) -> float:
    """The oops that the machine stands at, or what zbud would do next; returns the y beneath."""
    if not bench.stopped:
        if bench.next:
            fig.small(10, y + 12, f"next: {bench.next}", fill="dim")
            fig.say(f"  next: {bench.next}")
        return y + 18
    caption = bench.timeline.caption(bench.timeline.position)
    lines = ["Oops: " + bench.stopped, f"at event {bench.timeline.position}: {caption.verb} {caption.what}"]
    fig.rect(0, y, fig.width, 12 + 20 * len(lines), "h4", rx=3)
    for k, line in enumerate(lines):
        fig.text(
            14, y + 20 + 20 * k, _cut(fig, line, 14, 7.9 if fig.wide else 8), 13, fill="on", mono=True, bold=k == 0
        )
        fig.say(f"  {line}")
    return y + 18 + 20 * len(lines)
