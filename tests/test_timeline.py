"""The timeline: what was done is told by its events alone, whichever way one goes back and forth."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zbudlab.demonstrate import READERS
from zbudlab.dress import COMPOUND, KINDS
from zbudlab.memmap import KernelOops
from zbudlab.page_alloc import OutOfMemory
from zbudlab.peekers import PEEKERS
from zbudlab.peekers.machine import Machine
from zbudlab.peekers.rules import Step
from zbudlab.rows import LENGTHS, Difference, RecordingError, caption
from zbudlab.schemes import OVERLAY_CLEAR, SCHEMES, variant
from zbudlab.timeline import EVICTORS, Timeline
from zbudlab.versions import VERSIONS, Handle, StaleHandle, ZbudError

DATA = Path(__file__).resolve().parent / "data"
TRACES = [*sorted(DATA.glob("*/01-tiny.jsonl")), DATA / "linux-5.14/08-firstonly.jsonl", DATA / "v12/02-edges.jsonl.gz"]


class Refusal(Exception):
    """What an evictor of these tests raises."""


def moment(timeline: Timeline) -> dict[str, Any]:
    """Everything that the pool is made of now: bytes (as digests), owners, and what only the model knows."""
    pool = timeline.pool
    saved = pool.memmap.save()
    return {
        "records": hashlib.sha256(saved.records).hexdigest(),
        "frames": {pfn: hashlib.sha256(f).hexdigest() for pfn, f in saved.frames.items() if any(f)},  # others are zero
        "owner": saved.owner,
        "pages": pool.pages.save(),
        "allocations": pool.allocations,
        "tenants": {int(h): (h.allocation, h.size, h.slot) for h in pool.tenants.values()},
        "mine": set(pool.mine),
        "destroyed": pool.destroyed,
        "machine": "machine" in vars(pool.memmap) and vars(pool.memmap)["machine"].save(),
        "ram": list(pool.memmap.ram),
    }


class Moody:
    """An evictor that does on each call the next thing of a list, round and round."""

    def __init__(self, moods: list[str]) -> None:
        self.moods, self.calls, self.depth = moods, 0, 0

    def __call__(self, t: Timeline, handle: Handle) -> int:
        mood = self.moods[self.calls % len(self.moods)]
        self.calls, self.depth = self.calls + 1, self.depth + 1
        try:
            return self.act(mood, t, handle)
        finally:
            self.depth -= 1

    def act(self, mood: str, t: Timeline, handle: Handle) -> int:
        if mood == "refuse":
            return -16
        if mood == "lie":
            return 0
        if mood == "raise":
            raise Refusal
        if mood == "alloc":  # a failure goes on, out of the reclaim
            t.alloc(700 + self.calls)
            return 0
        if mood == "quiet alloc":
            with suppress(ZbudError):
                t.alloc(5000)
            with suppress(ZbudError):
                t.alloc(60)
            return -16
        if mood == "remark":
            t.remark("thinking")
        if mood == "unchecked":
            t.free_unchecked(handle)
            return 0
        if mood == "wild":  # an oops, which goes on, out of the reclaim
            t.free_unchecked(0x1234)
        if mood == "nested" and self.depth < 3:
            with suppress(ZbudError):
                t.reclaim(2)
            with suppress(ZbudError):
                t.shrink(2)
        if mood == "both":
            for other in [h for h in t.pool.tenants.values() if h.pfn == handle.pfn and h != handle]:
                t.free(other)
        if handle.allocation >= 0:
            with suppress(StaleHandle):  # dead by now, where "both" freed it
                t.free(handle)
        return -5 if mood == "free, nonzero" else 0


VISITORS = list(dict.fromkeys((*READERS, *PEEKERS)))

MOODS = "accept/refuse/lie/raise/alloc/quiet alloc/remark/unchecked/wild/nested/both/free, nonzero".split("/")

number = st.integers(0, 10**6)
sizes = st.integers(1, 2500) | st.integers(1, 3968) | st.sampled_from([-1, 0, 1, 3969, 4032, 4033, 4096, 4097])
kinds = "alloc " * 6 + "free " * 3 + "reclaim reclaim shrink write poke remark highmem stale undo goto"
steps = st.sampled_from(kinds.split()).flatmap(lambda k: st.tuples(st.just(k), sizes if k == "alloc" else number))
damage = st.tuples(st.sampled_from("unchecked unchecked break break break break destroy".split()), number)
visitors = st.tuples(st.sampled_from("visit visit visit race race dress".split()), number)
programs = st.lists(steps, min_size=15, max_size=40)
rude_programs = st.tuples(st.lists(steps, min_size=8, max_size=20), st.lists(steps | damage, min_size=5, max_size=20))


def do(t: Timeline, step: str, n: int) -> None:
    """One step of a random program; the numbers are made to fit."""
    live = sorted(t.pool.tenants.values(), key=lambda h: h.allocation)
    some = live[n % len(live)] if live else None
    frame = t.pool.memmap.frame(t.pool.memmap.pfns.start + n % t.header["pages"])
    match step:
        case "alloc" | "highmem":
            t.alloc(n, highmem=step == "highmem")
        case "free" if some is not None:
            t.free(some)
        case "stale" if t.handles:
            t.free(t.handles[n % len(t.handles)])
        case "reclaim":
            t.reclaim(n % 6)
        case "shrink":
            t.shrink(n % 4)
        case "write" if some is not None:
            t.write(some, n.to_bytes(3, "big") * (n % 50), n % 4000)
        case "poke":  # into bytes that the pool does not use: pages that nobody has, and the padding of records
            if (frame - t.pool.memmap.frame(0)) >> 12 not in t.pool.memmap.owner:
                t.poke(frame + 1001, b"poked" * 3)
            else:
                t.poke(t.pool.memmap.record(t.pool.memmap.pfns.start) + 56, n.to_bytes(8, "little"))
        case "remark":
            t.remark(f"number {n}")
        case "unchecked":
            wild = [frame, frame + 64, frame + n % 4096, 0, n, 0xFFFF880000000000 - 64 * n, *map(int, t.handles)]
            t.free_unchecked(wild[n % len(wild)])
        case "break" if some is not None:  # a link of a page in the pool leads somewhere else
            node = (t.pool.data.buddy if n % 2 else t.pool.data.lru)(some.pfn) + n % 3 * 8
            t.poke(node + n % 8, bytes([n % 251, n % 5]))
        case "destroy":
            t.destroy(checked=n % 2 == 0)
        case "visit":
            t.visit(VISITORS[n % len(VISITORS)], n // 50 % (t.header["pages"] + 2) + t.pool.memmap.pfns.start)
        case "race":
            free = [["f", some.allocation]] if some is not None and n % 3 else []
            rows = [
                *free,
                ["a", 64 * (n % 64)],
                ["r", n % 3],
                ["k", "slab", 0],
                ["p", "kpagecount", t.pool.memmap.pfns[0]],
            ]
            page = t.pool.memmap.pfns.start if some is None else some.pfn
            t.race(VISITORS[n % len(VISITORS)], page, n % 25, rows[: n % 6])
        case "dress":
            kind = list(KINDS)[n % len(KINDS)]
            t.dress(kind, 1 + n % 2 if kind in COMPOUND else 0)
        case "undo":
            for _ in range(n % 4):
                t.undo()
        case "goto":
            t.goto(n % (len(t.events) + 1))


def run(t: Timeline, program: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Do a program; returns what the pool was at each position when it was first there, and holds each move to that."""
    seen = [moment(t)]
    for step, n in program:
        before = t.position
        with suppress(ZbudError, KernelOops, StaleHandle, Refusal, ValueError, IndexError, OutOfMemory):
            do(t, step, n)
        if step in ("undo", "goto"):
            assert moment(t) == seen[t.position]
        elif t.position == before:
            assert moment(t) == seen[before], f"{step} left no event, yet changed something"
        else:
            assert t.position == len(t.events) == before + 1, "doing something forgets what was later"
            seen[t.position :] = [moment(t)]
    return seen


options = st.fixed_dictionaries({
    "pages": st.integers(1, 6),
    "allocator": st.sampled_from(["arena", "kernel"]),
    "base_pfn": st.sampled_from([0, 0x100]),
})  # fmt: skip
versions = st.sampled_from(list(VERSIONS))
moody = st.lists(st.sampled_from(MOODS), min_size=1, max_size=6)


def hold_to_events(t: Timeline, seen: list[dict[str, Any]], jumps: list[int]) -> None:
    """Any path of jumps leads to what was seen; so does doing the first i events afresh, from their JSON alone."""
    for jump in jumps:
        i = jump % (len(t.events) + 1)
        t.goto(i)
        assert t.position == i
        assert moment(t) == seen[i]
    header, rows = json.loads(json.dumps(t.header)), json.loads(json.dumps(t.events))
    fresh = Timeline.empty(header)
    assert moment(fresh) == seen[0]
    for i, row in enumerate(rows, 1):
        fresh.replay(row, i + 1)
        assert moment(fresh) == seen[i]
    assert rows == t.events == fresh.events
    t.goto(len(t.events))
    assert t.pool.allocations == 0 or [int(h) for h in t.handles[: t.pool.allocations]] == [
        int(h) for h in fresh.handles
    ]


@given(versions, options, moody, programs, st.lists(number, max_size=8))
def test_state_is_a_function_of_the_events(
    version: str, how: dict[str, Any], moods: list[str], program: list[tuple[str, int]], jumps: list[int]
) -> None:
    t = Timeline(version, evict=Moody(moods), **how)
    hold_to_events(t, run(t, program), jumps)


@given(versions, options, moody, rude_programs, st.lists(number, max_size=8))
def test_state_is_a_function_of_the_events_even_when_they_do_damage(
    version: str, how: dict[str, Any], moods: list[str], program: tuple[list[tuple[str, int]], ...], jumps: list[int]
) -> None:
    t = Timeline(version, evict=Moody(moods), **how)
    hold_to_events(t, run(t, [*program[0], *program[1]]), jumps)


rooms = st.sampled_from([None, *SCHEMES, variant(OVERLAY_CLEAR, "mine", "a learner's own", mapcount=-200)])


@pytest.mark.slow
@given(
    versions, options, rooms, moody, st.lists(steps | visitors, min_size=10, max_size=30), st.lists(number, max_size=8)
)
def test_state_is_a_function_of_the_events_with_readers_about(
    version: str, how: dict[str, Any], scheme: Any, moods: list[str], program: list[tuple[str, int]], jumps: list[int]
) -> None:
    t = Timeline(version, evict=Moody(moods), scheme=scheme, **how)
    hold_to_events(t, run(t, program), jumps)


@settings(max_examples=30)
@given(versions, options, moody, rude_programs)
def test_files_tell_everything(
    tmp_path_factory: pytest.TempPathFactory,
    version: str,
    how: dict[str, Any],
    moods: list[str],
    program: tuple[list[tuple[str, int]], ...],
) -> None:
    t = Timeline(version, evict=Moody(moods), **how)
    run(t, [*program[0], *program[1]])
    t.goto(len(t.events))
    for name in ("t.jsonl", "t.jsonl.gz"):
        path = tmp_path_factory.mktemp("files") / name
        t.dump(path)
        loaded = Timeline.load(path)
        assert moment(loaded) == moment(t)
        assert loaded.events == t.events
        assert loaded.position == len(t.events)
        assert loaded.header == t.header | {"evictor": "accepts"}, "a function cannot be saved; the rest can"


def test_gzip_only_where_the_name_says_so(tmp_path: Path) -> None:
    t = Timeline("v12")
    t.alloc(100)
    t.dump(tmp_path / "a.jsonl")
    t.dump(str(tmp_path / "a.jsonl.gz"))
    plain = (tmp_path / "a.jsonl").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == plain
    lines = plain.decode("ascii").splitlines()
    assert json.loads(lines[0])["format"] == "zbud-timeline"
    assert lines[1:] == ['["a", 100, "OK", 0, 0, "FIRST", 1]']


@pytest.mark.parametrize("evict", [None, *EVICTORS])
def test_header_survives(tmp_path: Path, evict: str | None) -> None:
    """All that places a pool, and the evictor's name, is the same after a file; so is what one does then."""
    address = 0xFFFF880040000000
    t = Timeline("v12", 5, evict, scheme="inline-header", allocator="kernel", base_pfn=0x100, address=address)
    t.alloc(1000)
    t.dump(tmp_path / "t.jsonl")
    loaded = Timeline.load(tmp_path / "t.jsonl")
    assert loaded.header == t.header == {
        "format": "zbud-timeline", "format_version": 1, "version": "v12", "pages": 5, "scheme": "inline-header",
        "allocator": "kernel", "base_pfn": 0x100, "address": address, "evictor": evict,
    }  # fmt: skip
    assert loaded.pool.address == address
    assert loaded.pool.scheme.name == "inline-header"
    assert loaded.pool.pages.__class__.__name__ == "KernelPages"
    assert loaded.pool.memmap.pfns.start == 0x100
    for one in (t, loaded):
        with suppress(ZbudError):
            one.reclaim(2)
    assert loaded.events == t.events
    assert moment(loaded) == moment(t)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown allocator 'slob'; known: arena, kernel"):
        Timeline(allocator="slob")
    with pytest.raises(ValueError, match="unknown evictor 'maybe'; known: accepts, refuses, lies"):
        Timeline(evict="maybe")
    with pytest.raises(ValueError, match="unknown version 'v13'"):
        Timeline("v13")


@pytest.mark.parametrize("path", TRACES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recorded_trace_becomes_a_timeline(path: Path, tmp_path: Path) -> None:
    """Loaded, walked backwards from state to state, dumped in our own format and loaded again."""
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    rows = [json.loads(line) for line in text.splitlines()]
    t = Timeline.load(path)
    assert t.events == rows[1:]
    states = [(i, row) for i, row in enumerate(t.events, 1) if row[0] == "S"]
    for i, row in reversed(states[:: len(states) // 20 + 1]):
        assert t.goto(i).state() == row[2]
    t.goto(len(t.events))
    t.dump(tmp_path / "again.jsonl.gz")
    again = Timeline.load(tmp_path / "again.jsonl.gz")
    assert again.events == t.events
    assert again.header["pages"] == rows[0]["arena_pages"]
    assert moment(again) == moment(t)


# ---------------------------------------------------------------------- back and forth


def test_doing_something_earlier_forgets_what_was_later() -> None:
    t = Timeline("v12", 4)
    a = t.alloc(1000)
    t.alloc(1500)
    t.alloc(4000)
    t.goto(1)
    assert len(t.events) == 3, "going back alone forgets nothing"
    t.free(a)
    assert t.events == [["a", 1000, "OK", 0, 0, "FIRST", 1], ["f", 0, 0]]
    assert (t.position, t.pool.pages_nr, t.pool.tenants) == (2, 0, {})
    with pytest.raises(IndexError, match="positions 0 to 2, not 3"):
        t.goto(3)


@pytest.mark.parametrize("how", ["alloc", "replay"])
def test_copies_of_a_forgotten_future_are_forgotten(how: str) -> None:
    """Jumps start from copies of the pool; those of events that were forgotten must not be used for the new ones."""
    t = Timeline("v12", 4)
    for i in range(150):
        t.free(t.alloc(100 + i))
    t.goto(0)
    t.goto(300)  # copies are made on the way
    t.goto(10)
    for _ in range(4):
        if how == "alloc":
            t.alloc(4000)
        else:
            n = t.pool.pages_nr
            t.replay(["a", 4000, "OK", n, 0, "FIRST", n + 1])
    for _ in range(300):
        t.remark("later")
    t.goto(5)
    t.goto(200)
    assert t.pool.state()["pages"] == {str(i): [63, 0] for i in range(4)}


def test_undo_stops_at_the_beginning() -> None:
    t = Timeline("v12")
    assert t.undo() is t.pool
    t.alloc(1)
    assert t.undo().pages_nr == 0
    assert t.undo().pages_nr == 0
    assert t.position == 0
    for i in (-1, 2):
        with pytest.raises(IndexError, match=f"positions 0 to 1, not {i}"):
            t.goto(i)
    assert t.goto(1).pages_nr == 1


def test_walk_shows_every_moment() -> None:
    t = Timeline("linux-3.11", 8)
    for size in (100, 2000, 3000):
        t.alloc(size)
    t.undo()
    assert [pool.pages_nr for pool in t.walk()] == [0, 1, 1, 2]
    assert t.position == 3


def test_jumps_of_a_long_timeline_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one walk through, a jump replays few events, an undo fewer still, and the copies stay few."""
    t, chance, digests = Timeline("linux-3.11", 40), random.Random(3), {}
    for _ in range(10_000):
        live = list(t.pool.tenants.values())
        if chance.random() * 80 > len(live):
            with suppress(ZbudError):
                t.alloc(chance.randrange(1, 3969))
        elif live:
            t.free(chance.choice(live))
        if len(t.events) % 500 == 0:
            digests[len(t.events)] = moment(t)
    total, redone = len(t.events), 0
    redo = Timeline._redo

    def counted(self: Timeline, line: int) -> None:
        nonlocal redone
        redone += 1
        redo(self, line)

    monkeypatch.setattr(Timeline, "_redo", counted)
    t.goto(total - 1)
    assert redone == total - 1, "the first time it has to start at the beginning"
    redone = 0
    for _ in range(64):
        t.undo()
    assert redone < 64 * 65
    t.goto(t.position + 3)
    redone = 0
    t.goto(t.position + 1)
    assert redone == 1, "one step on is one event"
    redone = 0
    for i in chance.sample(sorted(digests), 15):
        t.goto(i)
        assert moment(t) == digests[i]
    assert redone < 15 * 512
    assert len(t._saved) <= 64
    assert 0 in t._saved


# ---------------------------------------------------------------------- events


def test_failures_are_events() -> None:
    t = Timeline("v12", 1)
    for size, highmem in ((0, False), (-5, False), (4097, False), (100, True)):
        with pytest.raises(ZbudError):
            t.alloc(size, highmem=highmem)
    t.alloc(4096)
    with pytest.raises(ZbudError):
        t.alloc(1)
    with pytest.raises(ZbudError):
        t.reclaim(0)
    with pytest.raises(ZbudError):
        t.shrink(0)
    with pytest.raises(ZbudError):
        t.destroy()
    assert t.events == [
        ["a", 0, "EINVAL", None, None, None, 0],
        ["a", -5, "EINVAL", None, None, None, 0],
        ["a", 4097, "E2BIG", None, None, None, 0],
        ["h", 100, "EINVAL", None, None, None, 0],
        ["a", 4096, "OK", 0, 0, "FIRST", 1],
        ["a", 1, "ENOMEM", None, None, None, 1],
        ["r", 0, "EINVAL", [], 1],
        ["z", 0, "EINVAL", 0, [], 1],
        ["d", True, "EBUSY"],
    ]


def test_what_changes_nothing_is_no_event() -> None:
    t = Timeline("v12", 4)
    a = t.alloc(100)
    t.free(a)
    b = t.alloc(128)
    before, events = moment(t), list(t.events)
    with pytest.raises(StaleHandle):
        t.free(a)
    with pytest.raises(StaleHandle):
        t.write(a, b"x")
    with pytest.raises(ValueError, match="129 bytes at 0 do not fit in this zpage of 128 bytes"):
        t.write(b, bytes(129))
    with pytest.raises(ValueError, match="1 bytes at -1 do not fit"):
        t.write(b, b"x", -1)
    with pytest.raises(TypeError):
        t.alloc("100")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        t.reclaim(2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        t.shrink("1")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        t.free(int(b))  # type: ignore[arg-type]  # a bare address does not say which allocation it was
    with pytest.raises(KernelOops):  # the second half lies where nothing is
        t.poke(t.pool.memmap.frame(t.pool.memmap.pfns[-1] + 1) - 4, b"\xff" * 8)
    assert t.events == events
    assert moment(t) == before


def test_numbers_of_other_kinds_become_plain_ones(tmp_path: Path) -> None:
    """numpy's integers, say, which JSON does not know."""

    class Number:
        def __init__(self, n: int) -> None:
            self.n = n

        def __index__(self) -> int:
            return self.n

    t: Any = Timeline("v12", 4)
    t.alloc(Number(100))
    for act, n in ((t.alloc, 5000), (t.reclaim, 0), (t.shrink, 0)):
        with pytest.raises(ZbudError):
            act(Number(n))
    t.dump(tmp_path / "t.jsonl")
    assert [row[1] for row in Timeline.load(tmp_path / "t.jsonl").events] == [100, 5000, 0, 0]


def test_an_oops_is_an_event() -> None:
    """Operations that come upon damage have written something before they oopsed: a replay must do that as well."""
    t = Timeline("v12", 4)
    a = t.alloc(1000)
    t.alloc(4000)
    t.poke(t.pool.memmap.record(0) + 24, bytes(8))  # buddy.prev of page 0 is NULL
    at_rest = moment(t)
    for act in (lambda: t.free(a), lambda: t.alloc(900), lambda: t.reclaim(3), lambda: t.shrink(1)):
        t.goto(3)
        with pytest.raises(KernelOops, match="NULL pointer dereference at 0x0"):
            act()
        damaged = moment(t)
        assert damaged != at_rest
        assert len(t.events) == 4
        assert "NULL pointer dereference at 0x0 (write, in list_del)" in t.events[3]
        assert "NULL pointer dereference" in str(t.caption(4))
        t.goto(0)
        t.goto(4)
        assert moment(t) == damaged


def test_inside_an_evict_call() -> None:
    """What an evictor does besides freeing is told as rows in its call; plain frees need none."""
    t = Timeline("v12", 8, Moody(["quiet alloc", "free, nonzero", "nested", "accept", "raise"]))
    for _ in range(4):
        t.alloc(4000)
    t.reclaim(2)
    assert t.events[-1] == [
        "r", 2, "OK",
        [
            [0, -16, [], [["a", 5000, "E2BIG", None, None, None, 4], ["a", 60, "OK", 3, 4032, "LAST", 4]]],
            [1, -5, [1]],
        ],
        3,
    ]  # fmt: skip
    with pytest.raises(Refusal):
        t.reclaim(1)
    assert t.events[-1] == [
        "r", 1, "Refusal",
        [[2, "Refusal", [], [["r", 2, "Refusal", [[3, 0, [3]], [4, "Refusal", []]], 3]]]],
        3,
    ]  # fmt: skip


def test_unchecked_frees_tell_their_outcome() -> None:
    t = Timeline("v12", 4)
    a = t.alloc(100)
    t.free_unchecked(a)
    for address in (a, 0x1234):
        with pytest.raises(KernelOops) as caught:
            t.free_unchecked(address)
        assert t.events[-1] == ["u", f"{address:#x}", str(caught.value), 0]
    assert t.events[1] == ["u", f"{a:#x}", "OK", 0]


def test_a_free_that_oopsed_inside_an_evict_call() -> None:
    """Told as a row of its own, for it had another outcome than the call's list of frees can tell."""

    def evict(t: Timeline, handle: Handle) -> int:
        with suppress(KernelOops):
            t.free(t.handles[1])
        return -16

    t = Timeline("v12", 4, evict)
    t.alloc(4000)
    t.alloc(4000)
    t.poke(t.pool.memmap.record(1) + 40, bytes(8))  # the lru.prev of page 1 is NULL
    with pytest.raises(ZbudError, match="EAGAIN"):
        t.reclaim(1)
    (call,) = t.events[3][3]
    assert call[:3] == [0, -16, [1]]
    assert [row[0] for row in call[3]] == ["f"]
    assert "NULL pointer dereference" in call[3][0][2]
    there = moment(t)
    t.goto(0)
    t.goto(4)
    assert moment(t) == there


def test_an_error_that_leaves_an_evict_call() -> None:
    """An alloc that fails in the evictor ends the shrink with that errno; the pages done before count."""

    def evict(t: Timeline, handle: Handle) -> int:
        if handle.allocation == 1:
            t.alloc(5000)
        t.free(handle)
        return 0

    t = Timeline("linux-5.14", 4, evict)
    for _ in range(3):
        t.alloc(3000)
    with pytest.raises(ZbudError, match="ENOSPC"):
        t.shrink(3)
    failed = ["a", 5000, "ENOSPC", None, None, None, 2]
    assert t.events[3] == ["z", 3, "ENOSPC", 1, [[0, 0, [0]], [1, "ENOSPC", [], [failed]]], 2]
    there = moment(t)
    t.goto(0)
    t.goto(4)
    assert moment(t) == there


def test_a_dead_handle_that_is_offered_is_believed() -> None:
    """Policy both_at_first of the recordings: the LAST that was freed with the FIRST is offered all the same."""
    t = Timeline("v12", 4)
    t.alloc(1000)
    t.alloc(1000)
    t.replay(["r", 1, "OK", [[0, 0, [0, 1]], [1, 0, []]], 0])
    with pytest.raises(Difference):
        t.replay(["r", 1, "OK", [[0, 0, [0, 1]], [1, 0, []]], 0])


def test_names_of_evictors() -> None:
    calls = {}
    for name in EVICTORS:
        t = Timeline("v12", 4, name)
        t.alloc(100)
        t.alloc(200)
        with suppress(ZbudError):
            t.reclaim(1)
        calls[name] = t.events[-1]
    assert calls == {
        "accepts": ["r", 1, "OK", [[0, 0, [0]], [1, 0, [1]]], 0],
        "refuses": ["r", 1, "EAGAIN", [[0, -16, []]], 1],
        "lies": ["r", 1, "EAGAIN", [[0, 0, []], [1, 0, []]], 1],
    }


def test_replay_says_what_differs() -> None:
    t = Timeline("v12", 4)
    t.alloc(100)
    with pytest.raises(Difference, match=r"line 7: the recording says .* the model ") as caught:
        t.replay(["a", 200, "OK", 1, 0, "FIRST", 2], 7)
    assert (caught.value.line, caught.value.got) == (7, ["a", 200, "OK", 0, 3840, "LAST", 1])
    t = Timeline("v12", 4)
    t.alloc(100)
    t.free(t.handles[0])
    with pytest.raises(Difference, match="not a live tenant"):
        t.replay(["f", 0, 0])
    bad = [["f", 1, 0], ["f", -1, 0], ["f", "0", 0], ["w", 5, 0, "00"], ["r", 1, "OK", 5, 0], ["a", [], 0, 0, 0, 0, 0]]
    for row in bad:
        t = Timeline("v12", 4)
        t.alloc(100)
        with pytest.raises(RecordingError, match="line 9 is malformed"):
            t.replay(row, 9)


def test_replay_ends_where_more_is_offered_than_recorded() -> None:
    """Not after a thousand million tries."""
    t = Timeline("v12", 4)
    t.alloc(100)
    with pytest.raises(Difference, match="more evict calls than recorded"):
        t.replay(["r", 10**9, "EAGAIN", [[0, -16, []]], 1])


# ---------------------------------------------------------------------- under another version


def test_under_another_version() -> None:
    t = Timeline("v12", 6, "accepts", allocator="kernel", base_pfn=0x40)
    a = t.alloc(4000)  # too large for 3.11
    b = t.alloc(1000)
    t.remark("two pages")
    t.free(a)
    with pytest.raises(ZbudError):
        t.alloc(100, highmem=True)
    t.free(b)
    t.alloc(64)
    t.shrink(1)
    t.goto(7)
    other = t.under("linux-3.11")
    assert [row[:3] for row in other.events] == [
        ["a", 4000, "ENOSPC"],
        ["a", 1000, "OK"],
        ["#", "not here: remark two pages"],
        ["#", f"not here: free p{a.pfn} FIRST, 63 chunks: its page goes back too"],
        ["h", 100, "EINVAL"],
        ["f", 0, 0],
        ["a", 64, "OK"],
        ["z", 1, "OK"],
    ]
    assert other.position == 7
    assert other.header["version"] == "linux-3.11"
    assert (other.header["allocator"], other.header["base_pfn"]) == ("kernel", 0x40)


def test_under_another_version_nothing_else_is_freed() -> None:
    """v11 reclaims allocation 0 here and gives its place to number 3: freeing 0 must not free that."""
    t = Timeline("v12", 3)
    for size in (3000, 1500, 1000):
        t.alloc(size)
    t.reclaim(1)
    t.alloc(1000)
    t.free(t.handles[0])
    other = t.under("v11")
    assert other.events[3:] == [
        ["r", 1, "OK", [[0, 0, [0]]], 1],
        ["a", 1000, "OK", 0, 0, "FIRST", 2],
        ["#", "not here: free p0 FIRST, 47 chunks"],
    ]


@settings(max_examples=30)
@given(versions, versions, st.sampled_from([None, *EVICTORS]), programs)
def test_under_any_version_nothing_goes_wrong(
    version: str, other: str, evict: str | None, program: list[tuple[str, int]]
) -> None:
    t = Timeline(version, 4, evict)
    run(t, [step for step in program if step[0] not in ("poke", "write", "remark")])
    again = t.under(other)
    assert again.position == t.position
    again.pool.check()
    assert len(again.events) == len(t.events)
    if other == version:
        assert again.events == t.events


@settings(max_examples=30)
@given(versions, versions, moody, programs)
def test_under_any_version_with_a_busy_evictor(
    version: str, other: str, moods: list[str], program: list[tuple[str, int]]
) -> None:
    """Allocations made inside evict calls are counted too, so that later frees are not taken for others'."""
    moods = [mood for mood in moods if mood not in ("raise", "wild", "unchecked")] or ["quiet alloc"]
    t = Timeline(version, 4, Moody(moods))
    run(t, program)
    again = t.under(other)
    assert len(again.events) == len(t.events)
    again.pool.check()


# ---------------------------------------------------------------------- readers, and other people's pages


def test_a_visit_is_an_event_with_its_effects() -> None:
    """soft_offline takes a reference on a v12 page, that is, adds 2**32 to buddy.prev, and leaks it."""
    t = Timeline("v12", 8)
    a = t.alloc(1000)
    before = moment(t)
    visit = t.visit("soft_offline", a.pfn)
    assert (visit.value, visit.oops, visit.stuck) == (-5, None, None)
    assert t.events[-1] == ["p", "soft_offline", 0, {"value": -5}]
    damaged = moment(t)
    (change,) = [change for change in t.changes(2) if change.zbuds]
    assert (change.what, change.pfn, change.new - change.old) == ("buddy.prev", 0, 1 << 32)
    assert change.addresses == [t.pool.memmap.record(0) + 28]
    assert moment(t) == damaged, "asking what changed changes nothing"
    with pytest.raises(KernelOops, match=r"at 0xffff8801000.* \(write, in list_del\)"):
        t.free(a)
    t.goto(1)
    assert moment(t) == before, "undone with all that the visit set up"
    t.goto(2)
    assert moment(t) == damaged


def test_a_visitor_dies_alone() -> None:
    """The oops of a reader is in its row and in the Visit; whoever sent it is told, not struck."""
    t = Timeline("v12", 8)
    first = t.dress("compound slab", 1)
    visit = t.visit("memory_failure", first + 1)
    assert visit.oops is not None and visit.value is None
    assert t.events[-1] == ["p", "memory_failure", first + 1, {"oops": str(visit.oops)}]
    assert "NULL pointer dereference at 0x58" in str(t.caption(2))
    t.alloc(100)
    again = Timeline.empty(t.header)
    for row in t.events:
        again.replay(row)
    assert moment(again) == moment(t)


@pytest.mark.parametrize("name", VISITORS)
def test_every_reader_can_be_sent_and_its_outcome_is_plain(name: str) -> None:
    t = Timeline("v12", 8, allocator="kernel")
    for kind in ("slab", "page cache", "anonymous"):
        t.dress(kind)
    t.alloc(1000)
    for pfn in t.pool.memmap.pfns:
        t.visit(name, pfn)
    assert json.loads(json.dumps(t.events)) == t.events
    for row in t.events[4:]:
        ((how, value),) = row[-1].items()
        assert type(value) in ((int, type(None)) if how == "value" else (str,))
    there = moment(t)
    t.goto(0)
    t.goto(len(t.events))
    assert moment(t) == there


def test_a_name_of_both_means_the_reader() -> None:
    """unpoison as the matrix has it poisons the page first; the peeker alone would find nothing to do."""
    t = Timeline("linux-3.11", 8)
    a = t.alloc(1000)
    t.visit("unpoison", a.pfn)
    assert a.pfn not in t.pool.memmap.owner, "freed while zbud uses it"


def test_readers_that_are_none() -> None:
    t = Timeline("v12", 4)
    t.alloc(100)
    before = moment(t)
    with pytest.raises(ValueError, match="unknown reader 'nobody'; known: memory_failure, "):
        t.visit("nobody", 0)
    for pfn in (5, -1, 1 << 70):
        with pytest.raises(IndexError, match="is outside this memmap"):
            t.visit("kpagecount", pfn)
    with pytest.raises(TypeError):
        t.visit("kpagecount", "0")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a visit has pauses 0, 1, 2 and so on, not -1"):
        t.race("kpagecount", 0, -1, [])
    assert len(t.events) == 1
    assert moment(t) == before


def test_a_race() -> None:
    """What is done at the pause happens there; its results are in the row, and a replay comes to the same."""
    t = Timeline("v12", 8)
    a, b = t.alloc(600), t.alloc(4000)
    visit = t.visit("memory_failure", a.pfn)
    words = [told.item.words for told in visit.told if isinstance(told.item, Step)]
    t.undo()
    pause = next(i for i, asked in enumerate(words) if asked.startswith("take a reference")) + 1
    t.race("memory_failure", a.pfn, pause, [["f", b.allocation], ["a", 6400], ["a", 64], ["r", 0]])
    oops = "unable to handle kernel paging request at 0xffff880100008368 (write, in list_del)"
    assert t.events[2] == [
        "q", "memory_failure", 0, 4,
        [
            ["f", 1, 1], ["a", 6400, "E2BIG", None, None, None, 1],
            ["a", 64, oops, None, None, None, 1], ["r", 0, "EINVAL", [], 1],
        ],
        {"value": -16},
    ]  # fmt: skip
    there = moment(t)
    t.goto(0)
    t.goto(3)
    assert moment(t) == there


def test_a_race_with_nothing_to_free_has_not_happened() -> None:
    t = Timeline("v12", 8)
    a = t.alloc(600)
    b = t.alloc(600)
    t.free(b)
    before = moment(t)
    for bad, error in (
        (["f", b.allocation], StaleHandle),
        (["f", 7], IndexError),
        (["x"], KeyError),
        (["p", "nobody", 0], ValueError),
        (["k", "frog", 0], ValueError),
    ):
        with pytest.raises(error):
            t.race("memory_failure", a.pfn, 8, [["a", 64], bad])
        assert moment(t) == before
    assert len(t.events) == 3


def test_evict_calls_in_the_middle_of_a_visit_are_repeated() -> None:
    t = Timeline("v12", 8, Moody(["quiet alloc", "accept"]))
    t.alloc(3000)
    t.alloc(3000)
    t.race("kpageflags", 0, 2, [["r", 3]])
    assert t.events[2][4][0][3][0][0] == 0, "the oldest was offered"
    there = moment(t)
    t.goto(0)
    t.goto(3)
    assert moment(t) == there


def test_a_reader_may_come_from_an_evict_call() -> None:
    def evict(t: Timeline, handle: Handle) -> int:
        t.visit("kpageflags", handle.pfn)
        t.dress("slab")
        t.free(handle)
        return 0

    t = Timeline("v12", 8, evict)
    t.alloc(3000)
    t.reclaim(1)
    assert t.events[1][3][0][3][1:] == [["k", "slab", 0, 1], ["f", 0, 1]]
    assert t.events[1][3][0][3][0][:3] == ["p", "kpageflags", 0]
    there = moment(t)
    t.goto(0)
    t.goto(2)
    assert moment(t) == there


@pytest.mark.parametrize("allocator", ["arena", "kernel"])
def test_other_peoples_pages(allocator: str) -> None:
    t = Timeline("v12", 8, allocator=allocator)
    for kind in KINDS:
        with suppress(OutOfMemory):
            pfn = t.dress(kind, 1 if kind in COMPOUND else 0)
            assert t.pool.memmap.owner[pfn] == KINDS[kind].owner
    assert t.events[-1][3] == "ENOMEM"
    before = moment(t)
    for bad, order, words in (
        ("frog", 0, "unknown kind 'frog'"),
        ("slab", 1, "no order"),
        ("huge page", -1, "at least 1"),
    ):
        with pytest.raises(ValueError, match=words):
            t.dress(bad, order)
    assert moment(t) == before
    t.goto(0)
    t.goto(len(t.events))
    assert moment(t) == before


def test_under_another_version_with_readers() -> None:
    t = Timeline("v12", 8)
    a, b = t.alloc(600), t.alloc(4000)
    t.dress("slab")
    t.visit("soft_offline", a.pfn)
    t.race("kpageflags", 0, 1, [["f", b.allocation], ["a", 64], ["a", 640]])
    with pytest.raises(KernelOops):  # v12's lists are damaged, those of the header are not
        t.alloc(700)
    other = t.under("linux-3.11-rc1")
    assert [row[:3] for row in other.events] == [
        ["a", 600, "OK"], ["a", 4000, "OK"], ["k", "slab", 0], ["p", "soft_offline", 0], ["q", "kpageflags", 0],
        ["a", 700, "OK"],
    ]  # fmt: skip
    assert [row[:2] for row in other.events[4][4]] == [["f", 1], ["a", 64], ["a", 640]]
    assert other.pool.memmap.page(0)["_count"] == 2, "the leak is anybody's"
    later = t.under("linux-3.11")  # which refuses the 4000 bytes, so that there is nothing to free
    assert [row[:2] for row in later.events[4][4]] == [["a", 64], ["a", 640]]
    kept = Timeline("v12", 8, scheme="slab-flag").under("linux-3.11")
    assert kept.pool.scheme.name == "slab-flag"


def test_a_scheme_of_ones_own_is_kept_in_the_file(tmp_path: Path) -> None:
    mine = variant(OVERLAY_CLEAR, "mine", "a learner's own", mapcount=-200)
    t = Timeline("v12", 4, scheme=mine)
    t.alloc(1000)
    t.dump(tmp_path / "t.jsonl")
    assert Timeline.load(tmp_path / "t.jsonl").pool.scheme == mine
    assert t.under("v11").pool.scheme == mine
    assert Timeline("v12", 4, scheme=SCHEMES["reserved"]).header["scheme"] == "reserved"
    header = json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0])
    for change in ({"buddy": 9}, {"frogs": 1}, {"buddy": "8"}, {"home": None}, {"flag": []}):
        with pytest.raises(RecordingError, match="its header makes no pool"):
            Timeline.empty(header | {"scheme": header["scheme"] | change})
    for scheme in ({}, 5, []):
        with pytest.raises(RecordingError, match="its header makes no pool"):
            Timeline.empty(header | {"scheme": scheme})


def test_a_pool_does_not_lie_where_the_kernels_lists_do() -> None:
    with pytest.raises(ValueError, match="would lie where the lists of the kernel do"):
        Timeline("v12", 4, address=0xFFFF880000006000)


@pytest.mark.parametrize(
    "row",
    [
        ["p", "nobody", 0, {"value": 0}],
        ["p", [], 0, {"value": 0}],
        ["p", "kpagecount", 99, {"value": 0}],
        ["p", "kpagecount", "0", {"value": 0}],
        ["q", "kpagecount", 0, 0, 5, {"value": 0}],
        ["q", "kpagecount", 0, 0, [5], {"value": 0}],
        ["q", "kpagecount", 0, 0, [["zz"]], {"value": 0}],
        ["q", "kpagecount", 0, -1, [], {"value": 0}],
        ["q", "kpagecount", 0, "0", [], {"value": 0}],
        ["k", "frog", 0, 1],
        ["k", [], 0, 1],
        ["k", "slab", "0", 1],
        ["k", "slab", 3, 1],
    ],
    ids=str,
)
def test_malformed_visits_are_refused(row: list[Any], tmp_path: Path) -> None:
    t = Timeline("v12", 4)
    t.alloc(100)
    t.events.append(row)
    t.dump(tmp_path / "t.jsonl")
    with pytest.raises(RecordingError, match=r"^line 3 is malformed \(.*\): \["):
        Timeline.load(tmp_path / "t.jsonl")


def test_what_changed_has_names() -> None:
    t = Timeline("linux-3.11", 4)
    a = t.alloc(1000)
    t.write(a, b"hello")
    t.poke(t.pool.memmap.record(2) + 28, b"\x05")
    for i, some in ((1, "unbuddied[47], next"), (1, "first_chunks of p0"), (1, "pages_nr"), (1, "_count of p0")):
        assert some in " / ".join(map(str, t.changes(i)))
    (write,), (poke,) = t.changes(2), t.changes(3)
    assert (write.address, write.before, write.after) == (int(a), bytes(5), b"hello")
    assert str(write) == "byte 64 to 68 of p0 goes from 0x0 to 0x6f6c6c6568"
    assert str(poke) == "_count of p2 goes from 0x0 to 0x5"
    t.write(a, bytes(range(1, 100)))
    assert str(t.changes(4)[0]) == "byte 64 to 162 of p0 changes"
    for i in (0, 5):
        with pytest.raises(IndexError, match=f"events 1 to 4, not {i}"):
            t.changes(i)


@pytest.mark.slow
@settings(max_examples=30)
@given(versions, options, rooms, st.lists(steps | visitors, min_size=5, max_size=15))
def test_changes_are_all_that_changed(
    version: str, how: dict[str, Any], scheme: Any, program: list[tuple[str, int]]
) -> None:
    """The bytes after an event are those before it, with what it changed put in: nothing more, nothing less."""
    t = Timeline(version, scheme=scheme, **how)
    run(t, program)
    m = t.pool.memmap

    def content() -> dict[int, bytes]:
        frames = {m.frame(pfn): bytes(m.frame_bytes(pfn)) for pfn in m._frames}
        return {m.record(m.pfns.start): bytes(m.raw), **frames}

    for i in range(1, len(t.events) + 1):
        told = t.changes(i)
        t.goto(i)
        after = content()
        t.goto(i - 1)
        if any(row[0] in "pq" for row in t.events[:i]):
            Machine.of(t.pool.pages)
        before = {start: bytearray(raw) for start, raw in content().items()}
        for change in told:
            start = max(start for start in after if start <= change.address)
            here = change.address - start
            part = before.setdefault(start, bytearray(len(after[start])))
            assert part[here : here + len(change.before)] == change.before != change.after
            part[here : here + len(change.after)] = change.after
        assert {start: bytes(raw) for start, raw in before.items() if any(raw)} == {
            start: raw for start, raw in after.items() if any(raw)
        }
        t.goto(0)  # without the lists that we set up


# ---------------------------------------------------------------------- words

OOPS = "NULL pointer dereference at 0x8 (write, in list_del)"
CAPTIONS: list[tuple[list[Any], int, str]] = [
    (["a", 2620, "OK", 9, 64, "FIRST", 10], 9, "alloc 2,620 B = 41 chunks: p9 FIRST, a new page"),
    (["a", 64, "OK", 9, 4032, "LAST", 10], 10, "alloc 64 B = 1 chunk: p9 LAST"),
    (["a", 5000, "ENOSPC", None, None, None, 3], 3, "alloc 5,000 B: refused, ENOSPC"),
    (["a", 5, OOPS, None, None, None, 3], 3, f"alloc 5 B: {OOPS}"),
    (["h", 100, "EINVAL", None, None, None, 3], 3, "alloc 100 B of highmem: refused, EINVAL"),
    (["f", 12, 3], 3, "free allocation 12"),
    (["f", 12, 2], 3, "free allocation 12: its page goes back too"),
    (["f", 12, OOPS, 3], 3, f"free allocation 12: {OOPS}"),
    (["#", "look here"], 0, "remark look here"),
    (["s", "f4acbe59c068362a"], 0, "state f4acbe59c068362a"),
    (["S", "f4acbe59c068362a", {}], 0, "state f4acbe59c068362a"),
    (["w", 3, 16, "00ff"], 1, "write 2 bytes to allocation 3: at byte 16"),
    (["b", "0xffffea0000000018", "0000"], 1, "poke 2 bytes: at 0xffffea0000000018"),
    (["u", "0x10", "OK", 1], 1, "free, unchecked 0x10: OK"),
    (["k", "slab", 0, 3], 1, "dress p3 as slab"),
    (["k", "huge page", 2, 4], 1, "dress p4 to p7 as huge page"),
    (["k", "huge page", 2, "ENOMEM"], 1, "dress 4 pages as huge page: ENOMEM"),
    (["p", "kpagecount", 3, {"value": 0}], 1, "kpagecount at p3: returned 0"),
    (["p", "kpageflags", 3, {"value": 0x201800}], 1, "kpageflags at p3: returned 0x201800"),
    (["p", "dump_page", 3, {"value": None}], 1, "dump_page at p3: returned None"),
    (["p", "soft_offline", 3, {"value": -5}], 1, "soft_offline at p3: returned -5"),
    (["p", "ksm", 3, {"oops": OOPS}], 1, f"ksm at p3: {OOPS}"),
    (["p", "ksm", 3, {"stuck": "loops for ever"}], 1, "ksm at p3: loops for ever"),
    (["p", "ksm", 3, {"beyond": "f"}], 1, "ksm at p3: goes on beyond the model, in f"),
    (["q", "ksm", 3, 9, [], {"value": 0}], 1, "ksm at p3, at pause 9 meanwhile nothing: returned 0"),
    (
        ["q", "ksm", 3, 9, [["f", 0, 1], ["a", 5, "ENOMEM", None, None, None, 1]], {"value": 0}],
        1,
        "ksm at p3, at pause 9 meanwhile free allocation 0, then alloc 5 B: refused, ENOMEM: returned 0",
    ),
    (["d", True, "OK"], 1, "destroy the pool: OK"),
    (["d", False, "OK"], 1, "destroy the pool, unchecked: OK"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "before", "words"), CAPTIONS, ids=lambda value: str(value)[:40])
def test_captions(row: list[Any], before: int, words: str) -> None:
    assert str(caption(row, before)) == words


def test_captions_of_reclaim() -> None:
    rows: list[list[Any]] = [["r", 8, "OK", [[0, 0, [0]], [1, 0, [1]]], 2]]
    rows.append(["z", 1, "OK", 1, [[0, 0, [0, 1]], [1, 0, []]], 2])
    for row in rows:
        words = caption(row, 3)
        assert words.verb == {"r": "reclaim", "z": "shrink"}[row[0]]
        assert words.what == {"r": "in at most 8 tries", "z": "1 pages"}[row[0]]
        assert words.came.startswith("OK; 2 offered, 2 evicted, 1 page")


def test_every_kind_of_row_has_a_caption() -> None:
    assert {row[0] for row, _, _ in CAPTIONS} | {"r", "z"} == set(LENGTHS)
    for row, _, _ in CAPTIONS:
        assert len(row) in LENGTHS[row[0]]


@pytest.mark.parametrize("how", ["reclaim", "shrink", "free_unchecked"])
def test_caption_knows_of_a_new_page_after_any_operation(how: str) -> None:
    t = Timeline("v12", 8)
    a = t.alloc(4000)
    t.alloc(4000)
    getattr(t, how)(a if how == "free_unchecked" else 1)
    t.remark("now one page")
    t.alloc(4000)
    assert str(t.caption(5)).endswith(": p0 FIRST, a new page")


def test_caption_of_an_event_knows_what_came_before() -> None:
    t = Timeline("v12", 8)
    a = t.alloc(3000)
    t.alloc(1000)
    t.alloc(3500)
    t.remark("now free")
    t.free(a)
    t.free(t.handles[1])
    t.reclaim(1)
    words = [str(t.caption(i)) for i in range(1, 8)]
    assert words == [
        "alloc 3,000 B = 47 chunks: p0 FIRST, a new page",
        "alloc 1,000 B = 16 chunks: p0 LAST",
        "alloc 3,500 B = 55 chunks: p1 FIRST, a new page",
        "remark now free",
        "free p0 FIRST, 47 chunks",
        "free p0 LAST, 16 chunks: its page goes back too",
        words[6],
    ]
    assert "1 offered, 1 evicted, 1 page" in words[6]
    t.goto(2)
    assert [str(t.caption(i)) for i in range(1, 8)] == words, "also of what has not happened yet"
    lines = str(t).splitlines()
    assert lines[0] == "timeline of 7 events, zbud v12"
    assert lines[1:] == [f"{'>' if i == 2 else ' '}   {i} {line}" for i, line in enumerate(words, 1)]
    assert repr(t) == "<Timeline: zbud v12, event 2 of 7>"
