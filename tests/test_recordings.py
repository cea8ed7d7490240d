"""The model does what the original C code did; a recording or a model that was tampered with is found out."""

from __future__ import annotations

import copy
import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zbudlab import memmap, page_alloc, recordings, schemes, struct_page, structure, timeline
from zbudlab.memmap import Memmap
from zbudlab.page_alloc import Arena
from zbudlab.recordings import CHECKS, Report, check
from zbudlab.rows import LENGTHS, RecordingError, digest
from zbudlab.schemes import Bookkeeping
from zbudlab.timeline import Timeline
from zbudlab.versions import VERSIONS, Handle, ZbudError
from zbudlab.zbud import ZbudPool

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
SHARED = ROOT.parent / "shared" / "conformance"
TINY, EDGES = DATA / "v12/01-tiny.jsonl", DATA / "v12/02-edges.jsonl.gz"
RAW, HEADERS = DATA / "v12/structpage-2-reclaim.json", DATA / "linux-3.11-rc1/zbudheader-1-reclaim.json"


def files(folder: Path, slow: str) -> list[Any]:
    """The recordings of the five versions in a folder, as test parameters; the long ones are slow."""

    def param(path: Path) -> Any:
        marks = [pytest.mark.slow] if any(word in path.name for word in slow.split()) else []
        return pytest.param(path, id=f"{path.parent.name}/{path.name}", marks=marks)

    return [param(path) for version in VERSIONS for path in sorted((folder / version).glob("*.json*"))]


def text(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in text(path).splitlines()]


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def counted(path: Path) -> str:
    """What `check` must say of a good file, counted here once more."""
    if "json" in path.name.split(".")[1:2]:
        document = json.loads(text(path))
        return f"ok {document['header']['version']}/{document['header']['name']}, {len(document['steps'])} steps"
    header, *rows = rows_of(path)
    return f"ok {header['version']}/{header['name']}, {sum(row[0] in 'ahfrz' for row in rows)} operations"


# ---------------------------------------------------------------------- the recordings


@pytest.mark.parametrize("path", files(DATA, "bimodal refuse"))
def test_model_agrees_with_the_subset(path: Path) -> None:
    assert check(path) == Report(True, counted(path))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings are not beside this clone")
@pytest.mark.parametrize("path", files(SHARED, "uniform lognormal bimodal overhalf refuse enomem") or [None])
def test_model_agrees_with_every_recording(path: Path) -> None:
    assert check(path) == Report(True, counted(path))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings are not beside this clone")
def test_subset_is_a_subset() -> None:
    """The files in tests/data are those of the recordings, byte for byte, and there is something of every version."""
    ours = [param.values[0] for param in files(DATA, "")]
    for path in ours:
        assert path.read_bytes() == (SHARED / path.relative_to(DATA)).read_bytes()
    assert {path.parent.name for path in ours} == set(VERSIONS)
    kinds = {row[0] for path in ours if path.name.split(".")[1] == "jsonl" for row in rows_of(path)[1:]}
    assert kinds == set("ahfrz#sS")


def test_accepts_names_of_all_kinds(tmp_path: Path) -> None:
    """A file is known by its content: gzip by its first bytes, a trace by its header."""
    (tmp_path / "renamed").write_bytes(gzip.compress(TINY.read_bytes()))
    (tmp_path / "plain.txt").write_text(text(EDGES))
    (tmp_path / "raw.json.gz").write_bytes(gzip.compress(RAW.read_bytes()))
    (tmp_path / "windows.jsonl").write_text(text(TINY), newline="\r\n")
    assert check(tmp_path / "renamed").text == "ok v12/01-tiny, 82 operations"
    assert check(str(tmp_path / "plain.txt")).text == "ok v12/02-edges, 241 operations"
    assert check(tmp_path / "raw.json.gz").text == "ok v12/structpage-2-reclaim, 18 steps"
    assert check(tmp_path / "windows.jsonl").ok


def test_checks_timelines_too(tmp_path: Path) -> None:
    t = Timeline("linux-5.14", 4)
    t.alloc(100)
    t.remark("a line separator inside\u2028a remark is no end of line")
    t.shrink(1)
    t.dump(tmp_path / "mine.jsonl.gz")
    assert check(tmp_path / "mine.jsonl.gz") == Report(True, "ok mine.jsonl.gz, 2 operations")
    t.events[0][3] = 1
    t.dump(tmp_path / "mine.jsonl.gz")
    said = check(tmp_path / "mine.jsonl.gz")
    assert not said.ok
    assert said.text.splitlines()[1] == '    recorded, next full state: "no full state follows"'
    raw = '{"format": "zbud-timeline", "format_version": 1, "version": "v12", "pages": 4, "scheme": null, '
    raw += '"allocator": "arena", "base_pfn": 0, "address": null, "evictor": null}\n["#", "bare\u2028separator"]\n'
    (tmp_path / "bare.jsonl").write_text(raw, encoding="utf-8")
    assert check(tmp_path / "bare.jsonl").ok


# ---------------------------------------------------------------------- recordings that were tampered with


def tampered(tmp_path: Path, path: Path, change: Callable[[list[Any]], int]) -> tuple[Report, int]:
    """The report on a trace after `change`, which returns the line that it changed."""
    rows = rows_of(path)
    rows[0]["arena_pages"] = min(rows[0]["arena_pages"], 1024)  # the recordings' 65,536 take a while to set up
    line = change(rows)
    (tmp_path / "changed.jsonl").write_text(lines(rows))
    return check(tmp_path / "changed.jsonl"), line


def find(rows: list[Any], wanted: Callable[[Any], bool], nth: int = 0) -> int:
    """The line of the nth row like that, from 1."""
    return [i for i, row in enumerate(rows, 1) if isinstance(row, list) and wanted(row)][nth]


def one(kind: str, place: int, value: Any, wanted: Callable[[Any], bool] = lambda row: True, nth: int = 3) -> Any:
    """A change: in the nth row of a kind, put `value` (or what it makes of what stands there) in its place."""

    def change(rows: list[Any]) -> int:
        line = find(rows, lambda row: row[0] == kind and wanted(row), nth)
        row = rows[line - 1]
        new = value(copy.deepcopy(row[place])) if callable(value) else value
        assert new != row[place], "this changes nothing"
        row[place] = new
        return line

    return change


def granted(row: Any) -> bool:
    return bool(row[2] == "OK")


def swap(pages: list[int]) -> list[int]:
    return [pages[1], pages[0], *pages[2:]]


def called(row: Any) -> bool:
    return len(row[3]) > 0 and bool(row[3][0][2])


TAMPERINGS = {
    "page": (TINY, one("a", 3, lambda page: page + 1, granted)),
    "offset": (TINY, one("a", 4, lambda offset: offset + 64, granted)),
    "slot": (TINY, one("a", 5, lambda slot: {"FIRST": "LAST", "LAST": "FIRST"}[slot], granted)),
    "errno of alloc": (EDGES, one("a", 2, "ENOSPC", lambda row: row[2] == "E2BIG", 0)),
    "errno of highmem": (EDGES, one("h", 2, "ENOMEM", nth=0)),
    "success for failure": (EDGES, one("a", 2, "OK", lambda row: row[2] == "EINVAL", 0)),
    "failure for success": (EDGES, one("a", 2, "ENOMEM", granted)),
    "errno of reclaim": (TINY, one("r", 2, "EAGAIN", granted, 0)),
    "pages_nr of alloc": (TINY, one("a", 6, lambda n: n + 1, granted)),
    "pages_nr of free": (TINY, one("f", 2, lambda n: n - 1)),
    "pages_nr of reclaim": (TINY, one("r", 4, lambda n: n + 1)),
    "which allocation is offered": (TINY, one("r", 3, lambda calls: [[calls[0][0] + 1, *calls[0][1:]]], called, 0)),
    "a call too many": (TINY, one("r", 3, lambda calls: [*calls, [0, 0, []]], called, 0)),
    "a call too few": (TINY, one("r", 3, lambda calls: calls[:-1], called, 0)),
    "nothing freed": (TINY, one("r", 3, lambda calls: [[*calls[0][:2], []], *calls[1:]], called, 0)),
    "digest in a full state": (TINY, one("S", 1, "0" * 16)),
    "digest alone": (DATA / "v12/07-refuse.jsonl.gz", one("s", 1, "0" * 16)),
    "order of the lru": (TINY, one("S", 2, lambda s: s | {"lru": swap(s["lru"])}, lambda row: len(row[2]["lru"]) > 1)),
    "order of buddied": (
        TINY, one("S", 2, lambda s: s | {"buddied": swap(s["buddied"])}, lambda row: len(row[2]["buddied"]) > 1, 0)),
    "an unbuddied list": (
        TINY, one("S", 2, lambda s: s | {"unbuddied": {str(int(k) - 1): v for k, v in s["unbuddied"].items()}},
                  lambda row: len(row[2]["unbuddied"]) > 0)),
    "order of an unbuddied list": (
        TINY, one("S", 2, lambda s: s | {"unbuddied": {k: swap(v) if v[1:] else v for k, v in s["unbuddied"].items()}},
                  lambda row: any(len(v) > 1 for v in row[2]["unbuddied"].values()), 0)),
    "chunk counts": (
        TINY, one("S", 2, lambda s: s | {"pages": {k: [v[0], v[1] + 1] for k, v in s["pages"].items()}},
                  lambda row: len(row[2]["pages"]) > 0)),
    "pages_nr in a state": (TINY, one("S", 2, lambda s: s | {"pages_nr": s["pages_nr"] + 1})),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampered_trace_differs(what: str, tmp_path: Path) -> None:
    """Each is found, at its own line, with what both sides say and the states of both."""
    path, change = TAMPERINGS[what]
    said, line = tampered(tmp_path, path, change)
    rows = rows_of(tmp_path / "changed.jsonl")
    assert not said.ok
    first, recorded, model = said.text.splitlines()
    assert first.startswith(f"DIFFERS {path.parent.name}/{path.name.split('.')[0]}, line {line}: the recording says [")
    assert f"the recording says {json.dumps(rows[line - 1])}, the model [" in first, "both sides in full"
    state = json.loads(recorded.removeprefix("    recorded, next full state: "))
    assert state == next(row[2] for row in rows[line - 1 :] if row[0] == "S")
    ours = json.loads(model.removeprefix("    the model, here:           "))
    assert set(ours) == {"unbuddied", "buddied", "lru", "pages", "pages_nr"}
    if rows[line - 1][0] == "S":
        assert ours == rows_of(path)[line - 1][2], "the model's own state is the true one"


@pytest.mark.parametrize(("place", "value"), [(2, "EAGAIN"), (2, "OK"), (3, 1), (4, []), (5, 1)])
def test_tampered_shrink_differs(place: int, value: Any, tmp_path: Path) -> None:
    """Asked for three pages where there are two: EINVAL, 2 reclaimed (zbud-semantics.md, reclaim)."""
    t = Timeline("linux-5.14", 4)
    t.alloc(3000)
    t.alloc(3000)
    with pytest.raises(ZbudError):
        t.shrink(3)
    assert t.events[2] == ["z", 3, "EINVAL", 2, [[0, 0, [0]], [1, 0, [1]]], 0]
    t.events[2][place] = value
    t.dump(tmp_path / "mine.jsonl")
    said = check(tmp_path / "mine.jsonl")
    assert not said.ok
    assert said.text.startswith("DIFFERS mine.jsonl, line 4: the recording says [")


def test_free_of_the_dead_differs(tmp_path: Path) -> None:
    """A free of what the recording itself has freed before: the model says why it does not."""

    def again(rows: list[Any]) -> int:
        line = find(rows, lambda row: row[0] == "f")
        rows.insert(line, rows[line - 1])
        rows[0]["ops"] += 1
        return line + 1

    said, line = tampered(tmp_path, TINY, again)
    assert said.text.startswith(f"DIFFERS v12/01-tiny, line {line}: ")
    assert "is not a live tenant" in said.text
    assert len(said.text.splitlines()) == 3


@pytest.mark.slow
@settings(max_examples=80)
@given(st.data())
def test_any_other_result_differs(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever result is changed in whichever row, to whatever: DIFFERS, or an error in one sentence; never ok."""
    path = data.draw(st.sampled_from([TINY, DATA / "linux-5.14/01-tiny.jsonl"]))
    rows = rows_of(path)
    del rows[70:-1]
    rows[0] |= {"ops": sum(row[0] in "ahfr" for row in rows[1:]), "arena_pages": 32}
    line = data.draw(st.sampled_from([i for i, row in enumerate(rows[1:], 2) if row[0] != "#"]))
    row = rows[line - 1]
    first = 2 if row[0] in "ahrz" else 1  # a request may be another and have the same result
    holder, key, depth = row, data.draw(st.integers(first, len(row) - 1)), 0
    while isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans()) and depth < 4:
        holder, depth = holder[key], depth + 1
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
    junk = st.recursive(
        st.none() | st.integers(-3, 70) | st.text(max_size=3) | st.sampled_from(["OK", "EAGAIN", "FIRST", 1.5]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=5,
    )  # fmt: skip
    holder[key] = data.draw(junk.filter(lambda value: value != holder[key]))
    file = tmp_path_factory.mktemp("junk") / "changed.jsonl"
    file.write_text(lines(rows))
    said = answer(file)
    assert not said.startswith("ok")
    assert f"line {line}" in said.splitlines()[0]


def answer(path: Path) -> str:
    """What `check` says, also where it is a RecordingError; any other exception goes on."""
    try:
        return check(path).text
    except RecordingError as error:
        return f"error: {error}"


@pytest.mark.slow
@settings(max_examples=100)
@given(st.data())
def test_any_json_is_answered(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Rows and headers of anything at all: a report or a RecordingError, no other exception."""
    leaf = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4)
    leaf |= st.sampled_from(["OK", "0xffff880000000000", "00ff", "v12", "0x0"])
    anything = st.recursive(leaf, lambda inner: st.lists(inner, max_size=5), max_leaves=8)
    row = st.tuples(st.sampled_from([*LENGTHS, "x", ""]), st.lists(anything, max_size=6)).map(lambda r: [r[0], *r[1]])
    right = st.sampled_from(sorted(LENGTHS)).flatmap(
        lambda kind: st.lists(anything, min_size=max(LENGTHS[kind]) - 1, max_size=max(LENGTHS[kind]) - 1).map(
            lambda rest: [kind, *rest]
        )
    )
    header: dict[str, Any] = {
        "format": "zbud-timeline", "format_version": 1, "version": "v12", "pages": 4, "scheme": None,
        "allocator": "arena", "base_pfn": 0, "address": None, "evictor": "accepts",
    }  # fmt: skip
    wrong: dict[str, Any] = data.draw(st.dictionaries(st.sampled_from(sorted(header)), anything, max_size=1))
    if isinstance(wrong.get("pages"), int) and wrong["pages"] > 1000:
        del wrong["pages"]  # a memmap as large as that might be had, and would take its time
    rows = [header | wrong, ALLOC, *data.draw(st.lists(right | row | anything, max_size=3))]
    file = tmp_path_factory.mktemp("junk") / "anything.jsonl"
    file.write_text(lines(rows))
    said = answer(file)
    assert said.startswith(("ok ", "DIFFERS ")) or (said.startswith("error: ") and "\n" not in said)


# ---------------------------------------------------------------------- raw records that were tampered with


def raw(tmp_path: Path, path: Path, change: Callable[[dict[str, Any]], Any]) -> Report:
    document = json.loads(text(path))
    change(document)
    (tmp_path / "changed.json").write_text(json.dumps(document))
    return check(tmp_path / "changed.json")


@pytest.mark.parametrize("path", [RAW, HEADERS, DATA / "v12/structpage-1-allocfree.json"], ids=lambda path: path.stem)
def test_any_byte_of_a_raw_record_counts(path: Path, tmp_path: Path) -> None:
    """One byte in each step, at rest and inside evict calls, another one each time: the step and the page are named."""
    steps = json.loads(text(path))["steps"]
    for n, step in enumerate(steps):
        page, byte = str(n % len(step["records"])), n * 7 % 64

        def change(document: dict[str, Any], n: int = n, page: str = page, byte: int = byte) -> None:
            records = document["steps"][n]["records"]
            content = bytearray.fromhex(records[page])
            content[byte] ^= 1 << n % 8
            records[page] = content.hex()

        said = raw(tmp_path, path, change)
        assert not said.ok
        first, recorded, model = said.text.splitlines()
        assert first.startswith(f"DIFFERS {path.parent.name}/{path.stem}, step {n + 1}: the recording says ")
        assert f"the 64 bytes of page {page} after " in first
        assert first.count(step["records"][page]) == 1, "the model's bytes are the true ones"
        assert recorded.startswith("    recorded, next full state: ")
        assert model.startswith('    the model, here:           {"unbuddied": ')


def put(n: int, key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["steps"][n][key] = value(document["steps"][n][key]) if callable(value) else value

    return change


RAW_TAMPERINGS: dict[str, tuple[Callable[[dict[str, Any]], Any], int, str]] = {
    "a pool head": (put(3, "pool_heads", lambda h: h | {"lru": h["lru"][::-1]}), 4, "list heads"),
    "a head too many": (put(3, "pool_heads", lambda h: h | {"unbuddied[1]": h["lru"]}), 4, "list heads"),
    "a head too few": (put(3, "pool_heads", lambda h: {"lru": h["lru"]}), 4, "list heads"),
    "a head inside": (put(6, "pool_heads", {}), 7, "list heads"),
    "order in a state": (put(4, "state", lambda s: s | {"lru": swap(s["lru"])}), 5, '{"state": '),
    "a digest": (put(4, "digest", "0" * 16), 5, '{"digest": '),
    "a result": (put(2, "op", lambda op: [*op[:3], 1, *op[4:]]), 3, '{"result": '),
    "who is offered": (put(6, "op", lambda op: [op[0], op[1] + 1]), 7, "evict is called for"),
    "a page left out": (put(2, "records", lambda r: {k: r[k] for k in r if k != "4"}), 3, "pages with a record"),
    "offsets": (lambda document: document["header"]["pool_offsets"].update(lru=1032), 1, "offsets in struct zbud_pool"),
    "an operation twice": (lambda document: document["steps"].insert(2, document["steps"][2]), 4, '{"result": '),
    "an evict call left out": (lambda document: document["steps"].pop(6), 7, "evict is called for"),
}  # fmt: skip


@pytest.mark.parametrize("what", RAW_TAMPERINGS)
def test_tampered_raw_records_differ(what: str, tmp_path: Path) -> None:
    change, step, words = RAW_TAMPERINGS[what]
    said = raw(tmp_path, RAW, change)
    assert not said.ok
    first, recorded, model = said.text.splitlines()
    assert first.startswith(f"DIFFERS v12/structpage-2-reclaim, step {step}: the recording says ")
    assert words in first
    assert json.loads(recorded.removeprefix("    recorded, next full state: "))
    assert json.loads(model.removeprefix("    the model, here:           "))


def test_dead_free_in_raw_records_differs(tmp_path: Path) -> None:
    def again(document: dict[str, Any]) -> None:
        steps = document["steps"]
        n = next(i for i, step in enumerate(steps) if step["op"][0] == "f")
        steps.insert(n + 1, steps[n])

    said = raw(tmp_path, RAW, again)
    assert not said.ok
    assert "is not a live tenant" in said.text.splitlines()[0]


@pytest.mark.parametrize("steps", ["after each free", "after the last", "none", "always one"])
def test_raw_records_of_an_evictor_that_frees_both(steps: str, tmp_path: Path) -> None:
    """Policy both_at_first, which the recordings at hand have no raw records of: LAST is freed with FIRST and offered
    all the same, by a handle that is dead by then.  Written down by the model itself; how often is not laid down."""
    told: list[dict[str, Any]] = []

    def tell(op: list[Any], when: str = "inside") -> None:
        pool, m = t.pool, t.pool.memmap
        heads = {f"unbuddied[{i}]": pool.unbuddied(i) for i in range(64)} | {"buddied": pool.buddied, "lru": pool.lru}
        links = {name: [f"{m.load(at):#x}", f"{m.load(at + 8):#x}"] for name, at in heads.items() if m.load(at) != at}
        step = {"op": op, "when": when, "records": {str(n): m.page(n).raw.hex() for n in range(3)}, "pool_heads": links}
        told.append(step | ({"state": pool.state(), "digest": digest(pool.state())} if when == "after" else {}))

    def evict(t: Timeline, handle: Handle) -> int:
        tell(["evict-call", handle.allocation])
        freed = [0, 1] if handle.slot == "FIRST" else []
        for n in freed:
            t.free(t.handles[n])
            if steps == "after each free" or (steps != "none" and n == 1):
                tell(["evict-freed", n])
        if steps == "always one" and not freed:
            tell(["evict-freed", handle.allocation])
        return 0

    t = Timeline("v12", 3, evict, address=0xFFFF880040000000)
    tell(["init"], "after")
    for size in (1000, 1500, 4000):
        t.alloc(size)
        tell(t.events[-1], "after")
    t.reclaim(2)
    assert t.events[-1] == ["r", 2, "OK", [[0, 0, [0, 1]], [1, 0, []]], 1]
    tell(t.events[-1], "after")
    header = json.loads(text(RAW))["header"] | {"name": "both", "arena_pages": 3}
    (tmp_path / "both.json").write_text(json.dumps({"header": header, "steps": told}))
    assert check(tmp_path / "both.json") == Report(True, f"ok v12/both, {len(told)} steps")


# ---------------------------------------------------------------------- models that were tampered with


def best_page_last(pool: ZbudPool, chunks: int) -> int | None:
    """The tightest list, but its tail."""
    for i in range(chunks, pool.version.lists):
        if pages := list(pool.walk(pool.unbuddied(i))):
            return pages[-1]
    return None


def largest_gap(pool: ZbudPool, chunks: int) -> int | None:
    """From the largest gap downward."""
    for i in reversed(range(chunks, pool.version.lists)):
        if pages := list(pool.walk(pool.unbuddied(i))):
            return pages[0]
    return None


def one_list_late(pool: ZbudPool, chunks: int) -> int | None:
    """NCHUNKS off by one: the list that fits exactly is not looked at."""
    for i in range(chunks + 1, pool.version.lists):
        if pages := list(pool.walk(pool.unbuddied(i))):
            return pages[0]
    return None


def never_shares(pool: ZbudPool, chunks: int) -> int | None:
    return None


def always_newest(pool: ZbudPool, chunks: int) -> int | None:
    """The newest page with room, as a first fit over the lru."""
    for pfn in pool.walk(pool.lru):
        first, last = pool.chunks(pfn)
        if not (first and last) and pool.capacity - first - last >= chunks:
            return pfn
    return None


def search(mutant: Callable[[ZbudPool, int], int | None]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(ZbudPool, "_search", mutant)


def lists_first_in_first_out(patch: pytest.MonkeyPatch) -> None:
    add = Memmap.list_add

    def tail(self: Memmap, entry: int, head: int, **how: Any) -> None:
        add(self, entry, self.load(head + 8))

    patch.setattr(Memmap, "list_add", tail)


def reclaim_from_the_head(patch: pytest.MonkeyPatch) -> None:
    reclaim, load = ZbudPool.reclaim, Memmap.load

    def mutant(self: ZbudPool, retries: int = 8) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Memmap, "load", lambda m, at, size=8: load(m, self.lru if at == self.lru + 8 else at, size))
            reclaim(self, retries)

    patch.setattr(ZbudPool, "reclaim", mutant)


def capacity_off_by_one(patch: pytest.MonkeyPatch) -> None:
    init = ZbudPool.__init__

    def mutant(self: ZbudPool, *words: Any, **more: Any) -> None:
        init(self, *words, **more)
        self.capacity -= 1

    patch.setattr(ZbudPool, "__init__", mutant)


def free_refreshes_the_lru(patch: pytest.MonkeyPatch) -> None:
    free = ZbudPool.free

    def mutant(self: ZbudPool, handle: int, **how: Any) -> None:
        free(self, handle, **how)
        pfn = Handle(handle).pfn
        if pfn in self.walk(self.lru):
            self.memmap.list_del(self.data.lru(pfn))
            self.memmap.list_add(self.data.lru(pfn), self.lru)

    patch.setattr(ZbudPool, "free", mutant)


def offers_last_all_the_same(patch: pytest.MonkeyPatch) -> None:
    """A refusal of FIRST does not end the offers."""
    offer = ZbudPool._offer

    def mutant(self: ZbudPool, pfn: int) -> None:
        evict = self.evict
        assert evict is not None
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(self, "evict", lambda pool, handle: evict(pool, handle) and 0)
            offer(self, pfn)

    patch.setattr(ZbudPool, "_offer", mutant)


def highest_free_page(patch: pytest.MonkeyPatch) -> None:
    """The page given back last goes out first."""
    patch.setattr(page_alloc, "heappop", lambda heap: heap.pop())
    patch.setattr(page_alloc, "heappush", lambda heap, pfn: heap.append(pfn))


def version(**changes: Any) -> Callable[[pytest.MonkeyPatch], None]:
    mutants = MappingProxyType({name: dataclasses.replace(v, **changes) for name, v in VERSIONS.items()})

    def change(patch: pytest.MonkeyPatch) -> None:
        for module in (structure, timeline):
            patch.setattr(module, "VERSIONS", mutants)

    return change


def reclaim_unmarked(patch: pytest.MonkeyPatch) -> None:
    """Under reclaim is remembered elsewhere: all that the lists show is right."""
    marked: set[tuple[int, int]] = set()

    def mark(self: Bookkeeping, pfn: int, on: bool) -> None:
        (marked.add if on else marked.discard)((id(self), pfn))

    patch.setattr(Bookkeeping, "mark_reclaim", mark)
    patch.setattr(Bookkeeping, "under_reclaim", lambda self, pfn: (id(self), pfn) in marked)


def another_poison(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memmap, "LIST_POISON1", struct_page.LIST_POISON1 + 0x100)


def private_kept(patch: pytest.MonkeyPatch) -> None:
    """A page that goes back is left with something in its record that no list shows."""
    end = Bookkeeping.end

    def mutant(self: Bookkeeping, pfn: int) -> None:
        end(self, pfn)
        self.memmap.page(pfn)["private"] = 1

    patch.setattr(Bookkeeping, "end", mutant)


def count_of_a_free_page(patch: pytest.MonkeyPatch) -> None:
    alloc_page = Arena.alloc_page

    def mutant(self: Arena, owner: str = "kernel") -> int:
        pfn = alloc_page(self, owner)
        self.memmap.page(pfn)["padding"] = 1
        return pfn

    patch.setattr(Arena, "alloc_page", mutant)


SHORT = [DATA / name / "01-tiny.jsonl" for name in VERSIONS]
MUTANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], list[Path]]] = {
    "tail of the tightest list": (search(best_page_last), [TINY, DATA / "linux-5.14/01-tiny.jsonl"]),
    "largest gap first": (search(largest_gap), [TINY, DATA / "linux-3.11/01-tiny.jsonl"]),
    "NCHUNKS off by one in the search": (search(one_list_late), [DATA / "v12/07-refuse.jsonl.gz", SHORT[4]]),
    "never shares": (search(never_shares), SHORT),
    "newest page with room": (search(always_newest), [TINY]),
    "first in, first out": (lists_first_in_first_out, SHORT),
    "reclaim from the head": (reclaim_from_the_head, [*SHORT, RAW]),
    "capacity off by one": (capacity_off_by_one, SHORT),
    "free refreshes the lru": (free_refreshes_the_lru, [TINY]),
    "LAST offered after a refusal": (offers_last_all_the_same, SHORT),
    "last page back, first page out": (highest_free_page, [DATA / "linux-5.14/09-enomem.jsonl.gz"]),
    "no version tries the lru head": (version(lru_head_first=False), [DATA / "v11/02-edges.jsonl.gz", SHORT[0]]),
    "each version tries the lru head": (version(lru_head_first=True), [TINY]),
    "another largest size": (version(max_size=3900), [EDGES, DATA / "linux-3.11/02-edges.jsonl.gz"]),
    "another errno for too large": (version(too_big="EINVAL"), [EDGES, DATA / "linux-5.14/02-edges.jsonl.gz"]),
    "another errno below zero": (version(negative="E2BIG"), [EDGES, DATA / "linux-5.14/02-edges.jsonl.gz"]),
    "a list more": (version(lists=65), [RAW, HEADERS]),
    "no mark under reclaim": (reclaim_unmarked, [RAW, HEADERS]),
    "another poison": (another_poison, [RAW, HEADERS]),
    "private not cleared": (private_kept, [RAW, DATA / "v12/structpage-1-allocfree.json"]),
    "padding written": (count_of_a_free_page, [RAW]),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_model_is_found_out(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that errs turns each recording red that shows the error; it is never blamed on the file."""
    tamper, red = MUTANTS[mutant]
    tamper(monkeypatch)
    for path in red:
        said = check(path)
        assert not said.ok, path
        assert said.text.startswith(f"DIFFERS {path.parent.name}/")
        assert len(said.text.splitlines()) == 3


# ---------------------------------------------------------------------- what is no recording

HEADER: dict[str, Any] = {
    "format": "zbud-trace", "format_version": 1, "version": "v12", "arena_pages": 4, "evictor": {"policy": "all"},
}  # fmt: skip
MINE: dict[str, Any] = {
    "format": "zbud-timeline", "format_version": 1, "version": "v12", "pages": 4, "scheme": None, "allocator": "arena",
    "base_pfn": 0, "address": None, "evictor": None,
}  # fmt: skip
ALLOC = ["a", 100, "OK", 0, 0, "FIRST", 1]


def rows(*more: Any, **header: Any) -> bytes:
    return lines([HEADER | header, ALLOC, *more]).encode()


def mine(**header: Any) -> bytes:
    return lines([MINE | header]).encode()


def without(key: str, header: dict[str, Any] = HEADER) -> bytes:
    return lines([{k: v for k, v in header.items() if k != key}]).encode()


def cut(path: Path, n: int) -> bytes:
    return b"".join(path.read_bytes().splitlines(keepends=True)[:n])


def changed(path: Path, change: Callable[[dict[str, Any]], Any]) -> bytes:
    document = json.loads(text(path))
    change(document)
    return json.dumps(document).encode()


NOT_JSON = "it is not JSON: truncated, damaged, or no recording at all"
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", NOT_JSON),
    "blank": (b"\n\n", NOT_JSON),
    "prose": (b"Dear list,\n", NOT_JSON),
    "binary": (bytes(range(256)) * 9, "it is truncated or damaged: it does not decompress to text"),
    "gzip of binary": (gzip.compress(bytes(range(256))), "it is truncated or damaged: it does not decompress to text"),
    "gzip cut": (EDGES.read_bytes()[:-900], "it is truncated or damaged: it does not decompress to text"),
    "gzip cut at its end": (EDGES.read_bytes()[:-4], "it is truncated or damaged: it does not decompress to text"),
    "gzip cut at its start": (EDGES.read_bytes()[:5], "it is truncated or damaged: it does not decompress to text"),
    "gzip with a wrong byte": (EDGES.read_bytes()[:600] + b"\0" * 9 + EDGES.read_bytes()[609:], "it "),
    "gzip with a wrong sum": (EDGES.read_bytes()[:-8] + bytes(8), "it cannot be read: CRC check failed"),
    "gzip with more behind it": (EDGES.read_bytes() + b"more", "it cannot be read: Not a gzipped file"),
    "row cut": (TINY.read_bytes()[:5000], "is not JSON: the file is truncated or damaged"),
    "rows missing": (cut(TINY, 90), "it is truncated: the header promises 82 operations, "),
    "rows missing, header only": (cut(TINY, 1), "it is truncated: the header promises 82 operations, 0 are there"),
    "no row at all": (lines([HEADER | {"ops": 0}]).encode(), "it is truncated: a trace ends with a full state"),
    "last state missing": (cut(TINY, -1), "it is truncated: a trace ends with a full state, and this one does not"),
    "blank line": (rows() + b"\n" + lines([["f", 0, 0]]).encode(), "line 3 is not JSON"),
    "deep": (rows() + b"[" * 200_000 + b"\n", "line 3 is not JSON"),
    "deep header": (b"[" * 200_000 + b"\n", NOT_JSON),
    "list": (b"[1, 2]\n", "its format is None; this kit reads zbud-trace, zbud-timeline, zbud-structpage, zbud-header"),
    "number": (b"5", "its format is None; this kit reads "),
    "no format": (without("format"), "its format is None; this kit reads "),
    "unknown format": (rows(format="peeker-vectors"), "its format is 'peeker-vectors'; this kit reads zbud-trace, "),
    "format of another kind": (rows(format=["zbud-trace"]), "its format is ['zbud-trace']; this kit reads "),
    "header of another kind": (b'{"header": 5}\n', "its format is None; this kit reads "),
    "newer format": (rows(format_version=2), "it is of format version 2; this kit reads 1"),
    "no format version": (without("format_version"), "it is of format version None; this kit reads 1"),
    "unknown version": (rows(version="v13"), "it is of zbud version 'v13'; known: v11, v12, linux-3.11-rc1, "),
    "no version": (without("version"), "its header lacks 'version'"),
    "no version, but a name": (without("version", HEADER | {"name": "a"}), "its header lacks 'version'"),
    "version of another kind": (rows(version=["v12"]), "its header makes no pool (TypeError "),
    "no arena": (without("arena_pages"), "its header lacks 'arena_pages'"),
    "arena of words": (rows(arena_pages="many"), "its header makes no pool (TypeError "),
    "arena below zero": (rows(arena_pages=-4), "its header makes no pool (ValueError "),
    "arena beyond memory": (rows(arena_pages=10**15), "its header makes no pool (MemoryError "),
    "arena beyond numbers": (rows(arena_pages=10**30), "its header makes no pool (OverflowError "),
    "no pages": (without("pages", MINE), "its header lacks 'pages'"),
    "no scheme": (without("scheme", MINE), "its header lacks 'scheme'"),
    "unknown scheme": (mine(scheme="mine"), "it is of scheme 'mine'; known: overlay-v12, "),
    "unknown allocator": (mine(allocator="slob"), "its header makes no pool (ValueError unknown allocator 'slob'"),
    "base of another kind": (mine(base_pfn=1.5), "its header makes no pool (TypeError "),
    "base beyond numbers": (mine(base_pfn=2**60), "its header makes no pool (OverflowError "),
    "address at the end of a page": (mine(address=0xFFFF880040000FF8), "its header makes no pool ("),
    "no row": (rows({"a": 1}), 'line 3 is no row that this kit knows: {"a": 1}'),
    "empty row": (rows([]), "line 3 is no row that this kit knows: []"),
    "row of numbers": (rows([5, 6]), "line 3 is no row that this kit knows: [5, 6]"),
    "row without a name": (rows([""]), 'line 3 is no row that this kit knows: [""]'),
    "unknown row": (rows(["q", 1]), 'line 3 is no row that this kit knows: ["q", 1]'),
    "two kinds in one": (rows(["ah", 1, "OK", 0, 0, "FIRST", 1]), "line 3 is no row that this kit knows: "),
    "alloc too short": (rows(["a", 1, "OK", 0]), 'line 3 is no row that this kit knows: ["a", 1, "OK", 0]'),
    "free too short": (rows(["f", 0]), "line 3 is no row that this kit knows: "),
    "reclaim too short": (rows(["r"]), "line 3 is no row that this kit knows: "),
    "state too short": (rows(["S", "f4acbe59c068362a"]), "line 3 is no row that this kit knows: "),
    "alloc too long": (rows([*ALLOC, 0]), "line 3 is no row that this kit knows: "),
    "unknown allocation": (rows(["f", 1, 0]), 'line 3 is malformed (there is no allocation 1): ["f", 1, 0]'),
    "allocation below zero": (rows(["f", -1, 0]), 'line 3 is malformed (there is no allocation -1): ["f", -1, 0]'),
    "allocation of another kind": (rows(["f", "0", 0]), 'line 3 is malformed ('),
    "half an allocation": (rows(["f", 0.0, 0]), "line 3 is malformed ("),
    "size of another kind": (rows(["a", "big", "OK", 0, 0, "FIRST", 1]), "line 3 is malformed ("),
    "no size": (rows(["a", None, "OK", 0, 0, "FIRST", 1]), "line 3 is malformed ("),
    "retries of another kind": (rows(["r", [3], "OK", [], 1]), "line 3 is malformed ("),
    "calls of another kind": (rows(["r", 3, "OK", 5, 1]), "line 3 is malformed ("),
    "call too short": (rows(["r", 3, "OK", [[0, 0]], 1]), "line 3 is malformed ("),
    "call of another kind": (rows(["r", 3, "OK", [7], 1]), "line 3 is malformed ("),
    "call frees what is not there": (rows(["r", 3, "OK", [[0, 0, [9]]], 1]), "line 3 is malformed (there is no "),
    "call returns nothing": (rows(["r", 3, "OK", [[0, None, [0]]], 1]), "line 3 is malformed ("),
    "unknown row inside a call": (rows(["r", 3, "OK", [[0, 0, [], [["q"]]]], 1]), "line 3 is malformed ("),
    "hex that is none": (rows(["w", 0, 0, "xyz"]), "line 3 is malformed ("),
    "address that is none": (rows(["b", "here", "00"]), "line 3 is malformed ("),
    "raw records cut": (RAW.read_bytes()[:9000], NOT_JSON),
    "raw records as a line": (RAW.read_bytes()[:60] + b"\n", NOT_JSON),
    "raw, newer format": (changed(RAW, lambda d: d["header"].update(format_version=2)), "it is of format version 2; "),
    "raw, unknown version": (
        changed(RAW, lambda d: d["header"].update(version="v13")), "malformed: ValueError unknown version 'v13'"),
    "raw, no steps": (changed(RAW, lambda d: d.pop("steps")), "it is truncated or malformed: KeyError 'steps'"),
    "raw, steps of another kind": (changed(RAW, lambda d: d.update(steps=5)), "it is truncated or malformed: TypeEr"),
    "raw, no step": (changed(RAW, lambda d: d["steps"].insert(3, 5)), "it is truncated or malformed: TypeError "),
    "raw, no records": (changed(RAW, lambda d: d["steps"][3].pop("records")), "it is truncated or malformed: KeyErr"),
    "raw, no records to speak of": (changed(RAW, lambda d: d["steps"][3].update(records=5)), "truncated or malformed"),
    "raw, names of records": (
        changed(RAW, lambda d: d["steps"][3].update(records=list("01234"))), "truncated or malformed: AttributeError"),
    "raw, a strange pool": (changed(RAW, lambda d: d["header"].update(pool_address="0x")), "truncated or malformed"),
    "raw, ends in a call": (changed(RAW, lambda d: d.update(steps=d["steps"][:7])), "it is truncated: the last evict"),
    "raw, unknown allocation": (
        changed(RAW, lambda d: d["steps"][2].update(op=["f", 7, 0])), "it is truncated or malformed: IndexError "),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_recording(what: str, tmp_path: Path) -> None:
    """One sentence that says what is wrong and, in a trace, in which line."""
    content, words = BAD[what]
    path = tmp_path / ("bad.json" if what.startswith("raw, ") or what == "raw records cut" else "bad.jsonl")
    path.write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        check(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "Is a directory|Permission denied"), (tmp_path / "none", "No such file")):
        with pytest.raises(RecordingError, match=f"it cannot be read: ({words})"):
            check(path)
    assert issubclass(RecordingError, ValueError)


def test_timeline_load_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "raw.json").write_text(json.dumps(json.loads(RAW.read_text())))
    with pytest.raises(RecordingError, match="no timeline and no trace"):
        Timeline.load(tmp_path / "raw.json")
    (tmp_path / "cut.jsonl").write_bytes(cut(TINY, 90))
    with pytest.raises(RecordingError, match="truncated"):
        Timeline.load(tmp_path / "cut.jsonl")


def test_each_format_has_a_check() -> None:
    files = ["zbud-trace", "zbud-timeline", "zbud-structpage", "zbud-header", "peeker vectors"]
    assert list(CHECKS) == [*files, "zbudlab-kernel"]
    assert schemes.SCHEMES["overlay-v12"].home == "record"
    assert recordings.format_of(RAW) == "zbud-structpage"
    assert recordings.format_of(HEADERS) == "zbud-header"


def test_digest_is_the_recordings_own() -> None:
    """The examples of the recordings' README."""
    empty: dict[str, Any] = {"unbuddied": {}, "buddied": [], "lru": [], "pages": {}, "pages_nr": 0}
    assert digest(empty) == "f4acbe59c068362a"
    two = {"unbuddied": {"34": [1], "21": [0]}, "buddied": [], "lru": [1, 0], "pages": {"1": [30, 0], "0": [43, 0]}}
    assert digest(two | {"pages_nr": 2}) == "c7a2e41246569bf9"
    t = Timeline("v12", 2)
    t.alloc(43 * 64)
    t.alloc(30 * 64)
    assert digest(t.pool.state()) == "c7a2e41246569bf9"
