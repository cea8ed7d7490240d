"""The benchmarks' table, results.json and README; and that the room, a load test with a hub, leaves nothing behind."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks import NotHere, Row, __main__, _room, hub, missing, row

ROOT = Path(__file__).resolve().parent.parent
LINUX = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the room's processes are found in /proc")
FIELDS = {"what", "figure", "unit", "yardstick", "ratio", "goal", "met", "note"}
FAST = row("a | b", 1234.5, "ops", ("one store", 2.0), at_least=1000)
SLOW = row("clicks", 80.0, "ms", ("a slider", 1.75), ratio_at_most=1.5)
FREE = row("stories", 0.05, "s", ("a copy", 3.0))
ABSENT = missing("hub", "JupyterHub is missing")
BEFORE, AFTER = "# zbudlab\n\nwords | words\n\n", "\n\n## Next\n<!-- other -->\n"
PAGE = f"{BEFORE}<!-- bench -->\nold\n<!-- /bench -->{AFTER}"


def module(run: Any, doc: str = "What it measures.") -> Any:
    made: Any = ModuleType("benchmark", doc)
    made.run = run
    return made


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Three benchmarks of no length stand in for the real ones; results.json and README.md lie in a folder apart."""
    known: dict[str, Any] = {
        "fast": module(lambda quick: iter([FAST, FREE])),
        "hub": module(lambda quick: iter([SLOW, ABSENT])),
        "soak": module(lambda quick, seconds=0.0: iter([row("soaked", seconds, "s", ("asked", 1.0))])),
    }
    monkeypatch.setattr(__main__, "modules", lambda: known)
    monkeypatch.setattr(__main__, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(__main__, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text(PAGE, encoding="utf-8")
    return known


# ---------------------------------------------------------------------- rows


@pytest.mark.parametrize(
    ("goal", "met", "words"),
    [
        ({"at_least": 3}, True, "at least 3"),
        ({"at_least": 3.5}, False, "at least 3.5"),
        ({"at_most": 2}, False, "at most 2"),
        ({"ratio_at_most": 1.5}, True, "ratio at most 1.5"),
        ({"ratio_at_most": 4 / 3}, False, "ratio at most 1.33"),
        ({}, None, ""),
    ],
)
def test_a_goal_is_for_the_figure_or_for_the_ratio(goal: dict[str, float], met: bool | None, words: str) -> None:
    made = row("what", 3.0, "s", ("a yardstick", 1.4), **goal)
    assert (made.met, made.goal) == (met, words)


def test_the_table_has_the_yardstick_beside_each_figure_in_columns() -> None:
    head, *lines = __main__.table([FAST, SLOW, FREE, ABSENT]).splitlines()
    columns = [head.index(word) for word in ("what", "figure", "beside it", "goal")]
    cut = [[line[a:b].strip() for a, b in zip(columns, [*columns[1:], None], strict=True)] for line in lines]
    assert cut == [
        ["a | b", "1,234 ops", "2 x one store", "at least 1,000: yes"],
        ["clicks", "80 ms", "1.75 x a slider", "ratio at most 1.5: NO"],
        ["stories", "0.05 s", "3 x a copy", ""],
        ["hub", "not measured", "JupyterHub is missing", ""],
    ]


def test_what_breaks_off_or_is_not_here_is_a_row_that_says_so_and_the_others_go_on() -> None:
    def broken() -> Iterator[Row]:
        yield FAST
        raise OSError("no such disk")

    def not_here() -> Iterator[Row]:
        raise NotHere("it takes a Chromium")
        yield

    done: list[__main__.Measured] = []
    assert __main__.measure([("a", broken), ("b", not_here), ("c", lambda: iter([FREE]))], done) == 1
    assert [measured.rows for measured in done] == [
        [FAST, missing("a", "broke off: OSError: no such disk")],
        [missing("b", "it takes a Chromium")],
        [FREE],
    ]
    assert __main__.measure([("b", not_here)], []) == 0  # no Chromium is no failure


def test_ctrl_c_keeps_what_was_measured() -> None:
    def interrupted() -> Iterator[Row]:
        yield FAST
        raise KeyboardInterrupt

    done: list[__main__.Measured] = []
    assert __main__.measure([("a", interrupted), ("b", lambda: iter([FREE]))], done) == 130
    assert [measured.rows for measured in done] == [[FAST]]


# ---------------------------------------------------------------------- the command


def test_all_but_the_soak_are_run_and_saved(bench: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main([]) == 0
    told = json.loads(__main__.RESULTS.read_text(encoding="utf-8"))
    assert set(told) == {"conditions", "benchmarks"}
    assert set(told["conditions"]) == {"date", "machine", "python", "load", "gc", "quick"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", told["conditions"]["date"])
    assert [measured["name"] for measured in told["benchmarks"]] == ["fast", "hub"]
    for measured in told["benchmarks"]:
        assert set(measured) == {"name", "rows", "seconds"}
        assert measured["seconds"] >= 0
    assert [Row(**made) for measured in told["benchmarks"] for made in measured["rows"]] == [FAST, FREE, SLOW, ABSENT]
    assert capsys.readouterr().out.count("\nwhat ") == 1  # one table
    assert __main__.README.read_text(encoding="utf-8") == PAGE


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["hub"], ["hub"]),
        (["--soak"], ["soak"]),
        (["--soak", "5"], ["soak"]),
        (["fast", "--soak", "5"], ["fast", "soak"]),
    ],
)
def test_some_are_run_by_name(bench: dict[str, Any], words: list[str], names: list[str]) -> None:
    assert __main__.main(words) == 0
    told = json.loads(__main__.RESULTS.read_text(encoding="utf-8"))
    assert [measured["name"] for measured in told["benchmarks"]] == names
    if "--soak" in words:
        assert told["benchmarks"][-1]["rows"][0]["figure"] == (5 if "5" in words else __main__.SOAK_SECONDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["slow"], "no benchmark 'slow'; there are fast, hub, soak"),
        (["--readme", "fast"], "--readme is for a whole run"),
        (["--readme", "--quick"], "--readme is for a whole run"),
        (["--readme", "--soak"], "--readme is for a whole run"),
    ],
)
def test_a_call_that_cannot_be_is_refused_in_one_sentence(
    bench: dict[str, Any], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        __main__.main(words)
    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert not __main__.RESULTS.exists()


def test_help_lists_them(bench: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        __main__.main(["--help"])
    assert re.findall(r"^  (\w+) +What it measures\.$", capsys.readouterr().out, re.MULTILINE) == list(bench)


def test_a_folder_that_cannot_be_written_costs_the_file_only(
    bench: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(__main__, "RESULTS", tmp_path / "none" / "results.json")
    assert __main__.main([]) == 0
    said = capsys.readouterr()
    assert "clicks" in said.out
    assert "results.json was not written (No such file or directory)" in said.err


@pytest.mark.slow
def test_each_benchmark_has_a_run_and_a_sentence() -> None:
    known = __main__.modules()
    assert {"browser", "hub", "imports", "kernel", "memory", "notebooks", "peekers", "pool", "timeline"} <= set(known)
    for name, found in known.items():
        assert found.__doc__, name
        wanted = {"quick", "seconds"} if name == "soak" else {"quick"}
        assert wanted <= set(inspect.signature(found.run).parameters), name


@pytest.mark.slow
def test_a_real_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(__main__, "RESULTS", tmp_path / "results.json")
    assert __main__.main(["--quick", "memory"]) == 0
    (measured,) = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["benchmarks"]
    assert len(measured["rows"]) == 3
    said = capsys.readouterr().out
    for made in measured["rows"]:
        assert set(made) == FIELDS
        assert made["figure"] > 0 and made["ratio"] > 0 and made["yardstick"]
        assert made["what"] in said and f"x {made['yardstick']}" in said


# ---------------------------------------------------------------------- the README's table


def test_readme_is_changed_between_the_marks_and_nowhere_else(bench: dict[str, Any]) -> None:
    assert __main__.main(["--readme"]) == 0
    text = __main__.README.read_text(encoding="utf-8")
    assert text.startswith(f"{BEFORE}<!-- bench -->\n")
    assert text.endswith(f"\n<!-- /bench -->{AFTER}")
    sentence, _, table = text.removeprefix(BEFORE).removesuffix(AFTER).partition("\n\n")
    assert json.loads(__main__.RESULTS.read_text(encoding="utf-8"))["conditions"]["date"] in sentence
    assert "processors of a" in sentence
    assert "\n3 figures in 0 s; 2 have a goal, and 1 reach it</summary>" in sentence
    assert table.splitlines()[:-3] == [
        "| what | figure | beside it | goal |",
        "|---|---:|---|---|",
        "| a \\| b | 1,234 ops | 2 x one store | at least 1,000: yes |",
        "| clicks | 80 ms | 1.75 x a slider | ratio at most 1.5: NO |",
        "| hub | not measured | JupyterHub is missing |  |",
    ]
    assert __main__.replaced(text, "old") == PAGE


@pytest.mark.parametrize(
    "text", ["", BEFORE, PAGE * 2, PAGE.replace("/bench", "bench"), "<!-- /bench --><!-- bench -->"]
)
def test_readme_without_its_marks_is_refused_before_anything_is_measured(bench: dict[str, Any], text: str) -> None:
    __main__.README.write_text(text, encoding="utf-8")
    bench["fast"].run = lambda quick: pytest.fail("it was measured")
    with pytest.raises(SystemExit):
        __main__.main(["--readme"])
    assert __main__.README.read_text(encoding="utf-8") == text


def test_readme_stays_as_it_is_when_the_run_was_not_whole(bench: dict[str, Any]) -> None:
    def broken(quick: bool) -> Iterator[Row]:
        raise OSError("no such disk")
        yield

    bench["hub"].run = broken
    assert __main__.main(["--readme"]) == 1
    assert __main__.README.read_text(encoding="utf-8") == PAGE


def test_the_projects_readme_has_a_table_of_a_whole_run() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    __main__.replaced(text, "")  # raises an error where the marks are not
    between = text.partition("<!-- bench -->")[2].partition("<!-- /bench -->")[0]
    assert re.match(r"\n<details><summary>\d{4}-\d\d-\d\d, \d+ processors of a ", between)
    rows = [line for line in between.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in rows)


# ---------------------------------------------------------------------- the room


@LINUX
@pytest.mark.parametrize(
    ("absent", "ways"),
    [
        ({"jupyterhub"}, [".[hub]"]),
        ({"configurable-http-proxy"}, ["npm install"]),
        ({"jupyterhub", "configurable-http-proxy"}, [".[hub]", "npm install"]),
    ],
)
def test_without_a_hub_there_is_a_row_with_the_way_to_one(
    monkeypatch: pytest.MonkeyPatch, absent: set[str], ways: list[str]
) -> None:
    monkeypatch.setattr(_room, "find_spec", lambda name: None if name in absent else name)
    monkeypatch.setattr("shutil.which", lambda name: None if name in absent else name)
    done: list[__main__.Measured] = []
    assert __main__.measure([("hub", hub.run)], done) == 0
    ((said,),) = [measured.rows for measured in done]
    assert said.figure is None
    assert [way for way in (".[hub]", "npm install") if way in said.note] == ways


class Settings:
    """Stands in for JupyterHub's `c`: notes what is set, as "JupyterHub.bind_url"."""

    def __init__(self, noted: dict[str, Any], name: str = "") -> None:
        self.__dict__.update(_noted=noted, _name=name)

    def __getattr__(self, name: str) -> Any:
        return self._noted.get(self._name + name, Settings(self._noted, f"{self._name}{name}."))

    def __setattr__(self, name: str, value: Any) -> None:
        self._noted[self._name + name] = value


def settings(text: str) -> dict[str, Any]:
    noted: dict[str, Any] = {}

    def load(path: str) -> None:
        exec(Path(path).read_text(encoding="utf-8"), names)

    names = {"get_config": lambda: Settings(noted), "load_subconfig": load}
    exec(text, names)
    return noted


@LINUX
def test_the_room_is_the_shipped_one_but_for_login_spawner_and_places(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "jupyterhub", types.ModuleType("jupyterhub"))
    monkeypatch.setitem(sys.modules, "jupyterhub.auth", types.SimpleNamespace(Authenticator=object))
    port, password = _room.furnish(str(tmp_path), ["ada", "bob"])
    shipped = settings(_room.CONFIG.read_text(encoding="utf-8"))
    tried = settings((tmp_path / "trial.py").read_text(encoding="utf-8"))
    assert {name for name in shipped.keys() | tried.keys() if shipped.get(name) != tried.get(name)} <= {
        "JupyterHub.authenticator_class", "Authenticator.allowed_users", "JupyterHub.spawner_class",
        "SimpleLocalProcessSpawner.home_dir_template", "Spawner.environment", "Spawner.cmd", "Spawner.args",
        "JupyterHub.bind_url", "JupyterHub.hub_bind_url", "ConfigurableHTTPProxy.api_url",
        "JupyterHub.cookie_secret_file", "JupyterHub.db_url", "ConfigurableHTTPProxy.pid_file",
    }  # fmt: skip
    assert set(shipped["Spawner.args"]) <= set(tried["Spawner.args"])
    assert tried["JupyterHub.bind_url"] == f"http://127.0.0.1:{port}"
    for name in ("JupyterHub.hub_bind_url", "ConfigurableHTTPProxy.api_url"):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", tried[name])
    for name in ("JupyterHub.cookie_secret_file", "ConfigurableHTTPProxy.pid_file", "JupyterHub.db_url"):
        assert str(tmp_path) in tried[name]
    assert tried["Authenticator.allowed_users"] == {"ada", "bob"}
    assert len(password) > 20
    assert (tmp_path / "ada" / "zbudlab" / hub.NOTEBOOK).exists()


def test_the_shipped_room_is_one_for_thirty_at_once() -> None:
    shipped = settings(_room.CONFIG.read_text(encoding="utf-8"))
    assert "--KernelManager.transport=ipc" in shipped["Spawner.args"]  # by ports, one of thirty kernels died
    assert "JupyterHub.concurrent_spawn_limit" not in shipped  # it turned four of eight away
    assert min(shipped["Spawner.start_timeout"], shipped["Spawner.http_timeout"]) >= 120  # thirty servers took 49 s


@LINUX
def test_the_watchdog_ends_the_rooms_processes_and_no_others(tmp_path: Path) -> None:
    """One of the room ends when asked to, one does not listen; a third is somebody else's."""
    folder = tmp_path / "room"
    folder.mkdir()
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    willing = "import time; print(flush=True); time.sleep(60)"
    people = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env, start_new_session=True)
        for code, env in (
            (willing, {_room.MARK: str(folder), "JUPYTERHUB_USER": "ada"}),
            (stubborn, {_room.MARK: str(folder), "JUPYTERHUB_USER": "ada"}),
            (willing, {_room.MARK: f"{folder}2", "JUPYTERHUB_USER": "ada"}),
        )
    ]
    try:
        for process in people:
            assert process.stdout
            process.stdout.readline()
        assert _room.processes(str(folder)) == {people[0].pid: "ada", people[1].pid: "ada"}
        assert set(_room.memory(str(folder))) == {"ada"}
        code = f"from benchmarks import _room; _room.TO_END = 0.3; _room.watch({str(folder)!r}, 60)"
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE) as watchdog:
            with pytest.raises(subprocess.TimeoutExpired):
                watchdog.wait(0.3)  # as long as the benchmark holds its end of the pipe
            watchdog.communicate(timeout=20)
        assert [process.poll() for process in people[:2]] == [-15, -9]
        assert people[2].poll() is None
        assert not folder.exists()
    finally:
        for process in people:
            process.kill()
            process.communicate()


# ---------------------------------------------------------------------- what the room's figures are made of


def learner(started: float, took: list[float], errors: int = 0) -> Any:
    return types.SimpleNamespace(started=started, ready=started / 2, took=took, errors=errors)


def test_the_slowest_learner_is_told_and_every_error_counts() -> None:
    alone, others = learner(2.0, [0.1, 0.2]), [learner(3.0, [0.2, 0.3]), learner(4.0, [0.6, 0.1], errors=1)]
    told = {each.what.removeprefix("room: "): each for each in hub.figures(alone, others)}
    assert told["servers started, 2 at once: the last"].figure == 4.0
    assert told["servers started, 2 at once: the last"].ratio == 2.0
    assert told["the slowest answer of a cell, 2 at once"].figure == 0.6
    right = told["cells answered without an error"]
    assert (right.figure, right.ratio, right.met) == (3, 0.75, False)


def test_a_cell_that_fails_is_an_error_of_its_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [{"cell_type": kind, "source": kind} for kind in ("code", "markdown", "code", "code")]
    replies = iter([{"status": "ok"}, {"status": "error"}, {"status": "ok"}])
    here: Any = types.SimpleNamespace(url="", password="")
    one = hub.Learner(here, "learner1")
    monkeypatch.setattr(one, "ask", lambda *words, **more: {"content": {"cells": cells}})
    monkeypatch.setattr(one, "wire", lambda: types.SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(one, "answer", lambda wire, kind, content: next(replies))
    one.run_notebook()
    assert (len(one.took), one.errors) == (3, 1)
