"""lab.py, the front door: what it answers, what it sets up, what it leaves behind. No test here needs a network.

Set-ups are played with stand-ins for venv, pip and uv, on a copy of lab.py in a folder with an awkward name. The last
few do the real thing: a set-up that finds no packages, a Ctrl-C, a JupyterLab.
"""

import ast
import contextlib
import http.client
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "lab.py"
BASE = sys._base_executable  # type: ignore[attr-defined]
POSIX_ONLY = pytest.mark.skipif(os.name == "nt", reason="signals to a group of processes")
PYTEST = ["-m", "pytest", "-n", "auto", "--dist", "worksteal"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout in a folder with a space and letters beyond ASCII in its name, before its first set-up."""
    folder = tmp_path / "mój zbud läb"
    folder.mkdir()
    for name in ("lab.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def lab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """That checkout's lab.py, imported; no uv on the machine."""
    spec = importlib.util.spec_from_file_location("lab", folder / "lab.py")
    assert spec and spec.loader
    lab = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lab)
    monkeypatch.setattr(lab.shutil, "which", lambda name: None)
    return lab


class Tools:
    """Stands in for the module subprocess in lab.py: notes each command, and makes or says what the real one would."""

    DEVNULL, STDOUT, TimeoutExpired = subprocess.DEVNULL, subprocess.STDOUT, subprocess.TimeoutExpired

    def __init__(self, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab = lab
        self.commands: list[list[str]] = []
        self.environment: dict[str, str] = {}
        self.pip_ends: list[int | type[BaseException]] = [0]  # what each wait for pip comes to
        self.env_is_sound = True  # what .venv's Python says of itself
        self.terminated = False
        self.patience: float | None = None  # of the last wait
        monkeypatch.setattr(lab, "subprocess", self)

    def __enter__(self) -> "Tools":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, command: list[object], **_: object) -> types.SimpleNamespace:
        return types.SimpleNamespace(returncode=0 if self.env_is_sound else 1)

    def Popen(self, command: list[str], **given: Any) -> "Tools":
        assert given["cwd"] == self.lab.ROOT
        self.commands.append(command)
        self.environment = given["env"]
        if "venv" in command:
            assert not self.lab.PYTHON.exists(), "an environment is made from nothing"
            self.lab.PYTHON.parent.mkdir(parents=True)
            self.lab.PYTHON.touch()
        if "--editable" in command:
            looked_at = b"start" + 20 * b"\nCollecting one" + 3 * b"\nProcessing one"
            given["stdout"].write(looked_at + b"\nERROR: no such thing\n")
            given["stdout"].flush()
            self.packages().mkdir(parents=True, exist_ok=True)
            (self.packages() / "_editable_impl_zbudlab.pth").write_text(str(self.lab.ROOT), encoding="utf-8")
        return self

    def wait(self, timeout: float | None = None) -> int:
        self.patience = timeout
        if "--editable" not in self.commands[-1]:
            return 0
        end = self.pip_ends.pop(0) if len(self.pip_ends) > 1 else self.pip_ends[0]
        if isinstance(end, int):
            return end
        raise end("pip", timeout or 0) if end is subprocess.TimeoutExpired else end

    def terminate(self) -> None:
        self.terminated = True

    def packages(self) -> Path:
        library = "Lib" if os.name == "nt" else "lib/python{}.{}".format(*sys.version_info)
        return self.lab.ENV / library / "site-packages"

    def steps(self) -> list[str]:
        """The commands since the last call, a word each."""
        known = {"venv": "venv", "--editable": "pip"}
        steps = [next((known[word] for word in command if word in known), command[-1]) for command in self.commands]
        self.commands.clear()
        return steps


@pytest.fixture
def tools(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Tools:
    return Tools(lab, monkeypatch)


def call(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """python3 lab.py WORDS, for real, with no uv in reach and no index of packages."""
    command = [sys.executable, str(folder / "lab.py"), *words]
    offline = {"PATH": "", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    environment = os.environ | offline | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=60)


def only_sentence(said: str) -> str:
    """The one line that was said, which must be fit for any terminal."""
    assert said.isascii()
    assert said.count("\n") == 1, said
    assert said.startswith("zbudlab: "), said
    return said


# What it answers without any set-up


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_lists_every_word_in_aligned_lines(folder: Path, lab: Any, word: str) -> None:
    done = call(folder, word)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    columns = set()
    for listed in ["(no word)", "--port N", "--no-browser", "--help", *lab.WORDS]:
        (line,) = (line for line in done.stdout.splitlines() if re.search(rf"^ .*{re.escape(listed)}  ", line))
        columns.add(re.search(rf"{re.escape(listed)} +", line).end())  # type: ignore[union-attr]
    assert len(columns) == 1, done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("word", ["frobnicate", "--frobnicate", "tést", "-x"])
def test_an_unknown_word_is_named_and_nothing_is_set_up(folder: Path, word: str) -> None:
    done = call(folder, word)
    assert (done.returncode, done.stdout) == (2, "")
    assert ascii(word) in only_sentence(done.stderr)
    assert "--help" in done.stderr
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("words", [["--port"], ["--port", "many"], ["--port=0"], ["--port=65536"], ["--port", "-1"]])
def test_a_port_that_is_no_port(folder: Path, words: list[str]) -> None:
    done = call(folder, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--port needs a number" in only_sentence(done.stderr)


def test_a_busy_port_is_said_before_anything_is_set_up(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = call(folder, f"--port={port}", "--no-browser")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"port {port} " in only_sentence(done.stderr)
    assert "another with --port" in done.stderr
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("version", [(3, 6, 15, "final", 0), (3, 10, 13, "final", 0)])
def test_an_old_python_is_told_so_in_a_sentence(folder: Path, version: tuple[object, ...]) -> None:
    pretend = f"import runpy, sys; sys.version_info = {version}; runpy.run_path(sys.argv[1], run_name='__main__')"
    command = [sys.executable, "-c", pretend, str(folder / "lab.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "this is Python {}.{}, and 3.11 or newer is needed".format(*version) in only_sentence(done.stderr)


def test_an_old_python_can_read_the_file_as_far_as_that() -> None:
    tree = ast.parse(LAB.read_text(encoding="ascii"), feature_version=(3, 6))
    check = next(node for node in tree.body if isinstance(node, ast.If))
    before = tree.body[: tree.body.index(check)]
    assert all(isinstance(node, ast.Import) for node in before[1:]), "only imports stand before the check"
    imported = {alias.name for node in before if isinstance(node, ast.Import) for alias in node.names}
    newer = {"tomllib", "zoneinfo", "graphlib", "dataclasses", "contextvars", "importlib.resources"}
    assert imported.isdisjoint(newer)
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


# Setting up


def test_first_set_up_then_none(lab: Any, tools: Tools, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.main(["doctor"]) == 0
    assert tools.steps() == ["venv", "pip", "doctor"]
    assert re.search(r"once.* minute.* MB", capsys.readouterr().out)
    assert not lab.LOG.exists()

    assert lab.main(["doctor"]) == 0
    assert tools.steps() == ["doctor"]
    assert capsys.readouterr().out == ""


def test_what_is_called(lab: Any, tools: Tools) -> None:
    lab.set_up()
    make, install = tools.commands
    assert make[0] == BASE, "never .venv's own Python, which may be about to go"
    assert make[1:] == ["-m", "venv", str(lab.ENV)]
    assert install[:4] == [str(lab.PYTHON), "-m", "pip", "install"]
    assert install[-2:] == ["--editable", ".[test]"]
    assert tools.environment["PYTHONIOENCODING"] == "utf-8"  # as the log is read


def test_uv_is_used_where_it_is(lab: Any, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # it needs no venv module
    lab.set_up()
    make, install = tools.commands
    assert make[:2] == ["/bin/uv", "venv"]
    assert "--seed" in make, "learners use %pip"
    assert make[-3:] == ["--python", BASE, str(lab.ENV)]
    assert install == ["/bin/uv", "pip", "install", "--python", str(lab.PYTHON), "--editable", ".[test]"]


def test_other_requirements_are_installed_into_the_environment_that_is_there(lab: Any, tools: Tools) -> None:
    lab.set_up()
    with (lab.ROOT / "pyproject.toml").open("a") as file:
        file.write("# another line\n")
    tools.steps()
    assert lab.main(["doctor"]) == 0
    assert tools.steps() == ["pip", "doctor"]


def test_another_python_calls_for_another_environment(lab: Any, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.set_up()
    tools.steps()
    monkeypatch.setattr(lab, "sys", types.SimpleNamespace(**vars(sys) | {"version_info": (3, 99, 0, "final", 0)}))
    assert not lab.ready()
    tools.env_is_sound = False
    lab.set_up()
    assert tools.steps() == ["venv", "pip"]


@pytest.mark.parametrize("wrong", ["version_info[:2] != (3, 99)", "no pip"])
def test_an_environment_is_asked_whether_it_can_be_used(lab: Any, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question put to .venv's Python, with a real Python to answer it."""
    lab.PYTHON.parent.mkdir(parents=True)
    lab.PYTHON.touch(mode=0o755)
    assert not lab.usable(), "an empty file is no Python"
    monkeypatch.setattr(lab, "PYTHON", Path(sys.executable))
    assert lab.usable()
    if wrong == "no pip":
        (lab.ROOT / "pip.py").write_text("raise SystemExit(7)")
        monkeypatch.setenv("PYTHONPATH", str(lab.ROOT))
    else:
        monkeypatch.setattr(lab, "sys", types.SimpleNamespace(version_info=(3, 99)))
    assert not lab.usable()


def test_an_environment_without_its_python_is_made_again(lab: Any, tools: Tools) -> None:
    lab.set_up()
    tools.steps()
    lab.PYTHON.unlink()  # its Python was uninstalled, say
    (lab.ENV / "old").touch()
    assert lab.main(["doctor"]) == 0
    assert tools.steps() == ["venv", "pip", "doctor"]
    assert not (lab.ENV / "old").exists()


@pytest.mark.parametrize("end", [1, KeyboardInterrupt])
def test_a_set_up_that_breaks_off_is_begun_again(lab: Any, tools: Tools, end: Any) -> None:
    tools.pip_ends = [subprocess.TimeoutExpired, end]
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        lab.main(["doctor"])
    assert tools.steps() == ["venv", "pip"]
    assert not lab.STAMP.exists()
    assert tools.terminated == (end is KeyboardInterrupt)

    (lab.ENV / "half-made").touch()
    tools.pip_ends = [0]
    assert lab.main(["doctor"]) == 0
    assert tools.steps() == ["venv", "pip", "doctor"]
    assert not (lab.ENV / "half-made").exists()


def test_a_failed_update_leaves_no_stamp_from_before(lab: Any, tools: Tools) -> None:
    lab.set_up()
    before = (lab.ROOT / "pyproject.toml").read_bytes()
    (lab.ROOT / "pyproject.toml").write_bytes(before + b"# another line\n")
    tools.pip_ends = [1]
    with pytest.raises(SystemExit):
        lab.main(["doctor"])
    (lab.ROOT / "pyproject.toml").write_bytes(before)
    assert not lab.ready(), "what is installed is now anybody's guess"


def test_a_failed_install_says_why_and_what_to_do(lab: Any, tools: Tools, capsys: pytest.CaptureFixture[str]) -> None:
    tools.pip_ends = [7]
    with pytest.raises(SystemExit) as stopped:
        lab.main(["doctor"])
    assert stopped.value.code == 1
    *pip, sentence = capsys.readouterr().err.splitlines(keepends=True)
    assert "    ERROR: no such thing\n" in pip
    assert len(pip) == 12
    assert re.search(r"installing failed \(exit code 7\).*network.*run the same command again", only_sentence(sentence))


def test_a_python_without_venv_names_the_remedy(
    lab: Any, tools: Tools, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find_spec(name))
    with pytest.raises(SystemExit) as stopped:
        lab.main(["test"])
    assert stopped.value.code == 1
    assert "sudo apt install python3-venv" in only_sentence(capsys.readouterr().err)
    assert tools.commands == []
    assert not lab.ENV.exists()


# Two set-ups at once


def test_the_lock_is_held_during_a_set_up_and_gone_after_it(
    lab: Any, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []
    monkeypatch.setattr(lab, "finish", lambda: held.append(lab.LOCK.read_text(encoding="utf-8")))
    lab.set_up()
    assert held == [f"{os.getpid()} {socket.gethostname()}"]
    assert not lab.LOCK.exists()
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert f"/{lab.LOCK.name}" in ignored and lab.LOCK.parent == lab.ROOT


@pytest.mark.parametrize("end", [1, KeyboardInterrupt, OSError("disk full")])
def test_a_set_up_that_breaks_off_leaves_no_lock(
    lab: Any, tools: Tools, end: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.pip_ends = [0 if isinstance(end, OSError) else end]
    if isinstance(end, OSError):
        monkeypatch.setattr(lab, "finish", lambda: (_ for _ in ()).throw(end))
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        lab.main(["doctor"])
    assert "pip" in tools.steps()
    assert not lab.LOCK.exists()


@pytest.fixture
def somebody() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is there until it is killed: whoever else sets up."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def naps(lab: Any, monkeypatch: pytest.MonkeyPatch, *deeds: Any) -> None:
    """What happens while lab.py waits for a lock: one deed for each second, and not one second more."""
    left = list(deeds)
    clock = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: left.pop(0)())
    monkeypatch.setattr(lab, "time", clock)


def test_a_second_set_up_waits_for_the_first_and_finds_it_done(
    lab: Any, tools: Tools, somebody: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.set_up()
    lab.STAMP.rename(lab.ROOT / "stamp")  # the first is not through yet
    lab.LOCK.write_text(f"{somebody.pid} {socket.gethostname()}")
    (lab.ENV / "at work").touch()
    tools.steps(), capsys.readouterr()

    def first_ends() -> None:
        assert tools.commands == [] and (lab.ENV / "at work").exists()
        (lab.ROOT / "stamp").rename(lab.STAMP)
        lab.LOCK.unlink()

    naps(lab, monkeypatch, lambda: None, lambda: None, first_ends)
    assert lab.main(["doctor"]) == 0
    assert tools.steps() == ["doctor"]
    assert (lab.ENV / "at work").exists()
    said = only_sentence(capsys.readouterr().out)
    assert "another set-up is under way in this folder; waiting" in said and "delete the file .venv.lock" in said


def test_a_second_set_up_begins_when_the_first_has_failed(
    lab: Any, tools: Tools, somebody: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.LOCK.write_text(f"{somebody.pid} {socket.gethostname()}")
    naps(lab, monkeypatch, lab.LOCK.unlink)
    assert lab.main(["doctor"]) == 0
    assert tools.steps() == ["venv", "pip", "doctor"]


@POSIX_ONLY
@pytest.mark.parametrize("whose", ["nobody's", "ours"])
def test_a_lock_whose_process_is_gone_is_reported(
    lab: Any, tools: Tools, whose: str, somebody: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may also have our own number: then an earlier process had it, in another life of a container."""
    somebody.kill()
    somebody.wait()
    process = somebody.pid if whose == "nobody's" else os.getpid()
    held = f"{process} {socket.gethostname()}"
    lab.LOCK.write_text(held)
    with pytest.raises(SystemExit) as stopped:
        lab.main(["doctor"])
    assert stopped.value.code == 1
    said = only_sentence(capsys.readouterr().err)
    assert "ended before it could remove" in said and "Delete that file, then run the same command again" in said
    assert tools.commands == [] and lab.LOCK.read_text() == held
    lab.LOCK.unlink()  # as told
    assert lab.main(["doctor"]) == 0
    assert tools.steps() == ["venv", "pip", "doctor"]


@pytest.mark.parametrize("held", ["", "4 another-machine", "1", "x y", "99999999999999999999999 {here}"])
def test_in_doubt_a_lock_holds(lab: Any, tools: Tools, held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.LOCK.write_text(held.format(here=socket.gethostname()))
    naps(lab, monkeypatch, lambda: None, lab.LOCK.unlink)
    assert lab.main(["doctor"]) == 0
    assert tools.steps() == ["venv", "pip", "doctor"]


@POSIX_ONLY
def test_a_lock_that_changes_hands_meanwhile_is_not_reported(
    lab: Any, tools: Tools, somebody: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process ends between the two looks at it, and the next in line has it."""
    lab.LOCK.write_text(f"4 {socket.gethostname()}")

    def kill(process: int, signal_: int) -> None:
        lab.LOCK.write_text(f"{somebody.pid} {socket.gethostname()}")
        raise ProcessLookupError

    monkeypatch.setattr(lab, "os", types.SimpleNamespace(name="posix", getpid=os.getpid, kill=kill))
    assert not lab.abandoned()


@pytest.mark.parametrize("open_", [True, False])
def test_on_windows_a_lock_that_nobody_has_open_is_removed(
    lab: Any, open_: bool, somebody: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played: a file that is open cannot be removed there.  And nobody is sent a signal, which would be a Ctrl-C."""

    def refuse() -> None:
        raise PermissionError(13, "being used by another process")

    there = lab.LOCK
    there.write_text(f"{somebody.pid} {socket.gethostname()}")
    unlink = refuse if open_ else there.unlink
    monkeypatch.setattr(lab, "LOCK", types.SimpleNamespace(read_text=there.read_text, unlink=unlink))
    monkeypatch.setattr(lab, "os", types.SimpleNamespace(name="nt"))
    assert not lab.abandoned()
    assert there.exists() == open_


@pytest.mark.slow
@POSIX_ONLY
def test_two_real_calls_at_once(folder: Path) -> None:
    """Each would make the environment; one does, and the other finds it made."""
    play = TWO.format(base=str(folder / "made"))
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
    both = [subprocess.Popen([sys.executable, "-c", play], cwd=folder, **pipes) for _ in range(2)]
    said = sorted((process.communicate(timeout=30)[0] for process in both), key=len)
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == "" and "another set-up is under way" in only_sentence(said[1])
    assert (folder / "made").read_text() == "once "
    assert not (folder / ".venv.lock").exists()


TWO = """\
import importlib.util, pathlib, time
spec = importlib.util.spec_from_file_location("lab", "lab.py")
lab = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lab)
made = pathlib.Path({base!r})
lab.ready = made.exists
def make_environment():
    time.sleep(1.5)  # until the other one has come
    with made.open("a") as file:
        file.write("once ")
lab.make_environment = make_environment
while len(list(pathlib.Path().glob("*.here"))) < 2:  # both begin together
    pathlib.Path(f"{{lab.os.getpid()}}.here").touch()
    time.sleep(0.01)
lab.set_up()
"""


def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    (folder / ".venv").write_text("in the way")
    done = call(folder, "test", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert "the folder .venv cannot be written" in only_sentence(done.stderr)
    assert r"m\xf3j zbud l\xe4b" in done.stderr


@pytest.mark.parametrize("terminal", [True, False])
def test_time_is_seen_to_pass(
    lab: Any, tools: Tools, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    ticks = iter([0.0, 4.0, 100.0, 110.0, 120.0, 125.2])
    monkeypatch.setattr(lab, "time", types.SimpleNamespace(monotonic=lambda: next(ticks)))
    tools.pip_ends = [subprocess.TimeoutExpired, subprocess.TimeoutExpired, 0]
    lab.set_up()
    said = capsys.readouterr().out.partition("\n")[2]  # after the announcement
    assert tools.patience == (1 if terminal else 10)
    lines = ["making an environment, 4 s", *(f"installing, {s} s, 23 packages" for s in (10, 20, 25))]
    if terminal:
        assert said == "\rzbudlab: {}\n\rzbudlab: {}\rzbudlab: {}\rzbudlab: {}\n".format(*lines)
    else:
        assert said == "".join(f"zbudlab: {line}\n" for line in lines)


def test_the_link_to_the_package_suits_any_locale_and_survives_a_move(lab: Any, tools: Tools) -> None:
    lab.set_up()
    (link,) = tools.packages().glob("*.pth")
    text = link.read_text(encoding="ascii").strip()
    assert (tools.packages() / text).resolve() == lab.ROOT
    assert not Path(text).is_absolute()


# Opening the course


@pytest.mark.parametrize("words", [[], ["--no-browser"], ["--port", "{}"], ["--no-browser", "--port={}"]])
def test_the_package_opens_the_course(lab: Any, tools: Tools, words: list[str]) -> None:
    """How, is said in one place, for those who have no lab.py too; here, with all that is kept in .venv."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [word.format(port) for word in words]
    assert lab.main(words) == 0
    command = ["-m", "zbudlab", "open", str(lab.ROOT), "--settings", str(lab.ENV / "jupyter"), *words]
    assert tools.commands[-1] == [str(lab.PYTHON), *command]
    assert tools.steps()[:-1] == ["venv", "pip"]


# The other words


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["test"], PYTEST),
        (["test", "-k", "zbud", "tests/a b.py"], [*PYTEST, "-k", "zbud", "tests/a b.py"]),
        (["test", "-x", "--quick"], [*PYTEST, "-m", "not slow and not browser", "-x"]),
        (["test", "--help"], [*PYTEST, "--help"]),
        (["test", "--lowest", "-x"], ["tools/lowest.py", *PYTEST, "-x"]),
        (["test", "--quick", "--lowest"], ["tools/lowest.py", *PYTEST, "-m", "not slow and not browser"]),
        (["bench", "--quick"], ["-m", "benchmarks", "--quick"]),
        (["notebooks", "01"], ["tools/notebooks.py", "01"]),
        (["doctor"], ["-m", "zbudlab", "doctor"]),
        (["check", "--all", "x.jsonl"], ["-m", "zbudlab", "check", "--all", "x.jsonl"]),
    ],
)
def test_words_go_to_the_environments_python(lab: Any, tools: Tools, words: list[str], command: list[str]) -> None:
    lab.set_up()
    assert lab.main(words) == 0
    assert tools.commands[-1] == [str(lab.PYTHON), *command]


# The real thing


@pytest.mark.slow
def test_a_real_set_up_that_finds_no_packages(folder: Path) -> None:
    """A real environment is made; pip then looks for packages in no index. ASCII terminal, awkward folder."""
    done = call(folder, "test", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert done.stdout.isascii()
    assert re.search(r"zbudlab: installing, \d+ s\n", done.stdout)
    *pip, sentence = done.stderr.splitlines(keepends=True)
    assert any("hatchling" in line for line in pip)
    assert "run the same command again" in only_sentence(sentence)
    assert "Traceback" not in done.stderr
    made = {path.name for path in (folder / ".venv").iterdir()}
    assert "pyvenv.cfg" in made
    assert "zbudlab.stamp" not in made


START = """\
import importlib.util, pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests were started with
spec = importlib.util.spec_from_file_location("lab", "lab.py")
lab = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lab)
lab.PYTHON, lab.PATIENCE, lab.ready = pathlib.Path(sys.executable), 2, lambda: True
lab.finish()
sys.exit(lab.{call})
"""
CHILD = """\
import signal, sys, time
def end(*_):
    time.sleep(0.5)  # it has something to put away
    print("bye", flush=True)
    sys.exit(3)
signal.signal(signal.SIGINT, end)
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def started(folder: Path) -> Iterator[Any]:
    """Starts lab.py on this test's own Python, as if its set-up had gone through, in a process group of its own."""
    running: list[subprocess.Popen[str]] = []

    def start(call: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", START.format(call=call)]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
        running.append(subprocess.Popen(command, cwd=folder, start_new_session=True, **pipes))
        return running[-1]

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@POSIX_ONLY
@pytest.mark.parametrize(
    ("send", "last_words"), [(os.killpg, "bye\n"), (os.kill, "")], ids=["to all, as a terminal does", "to lab.py alone"]
)
def test_ctrl_c_is_quiet_and_leaves_nothing_running(started: Any, folder: Path, send: Any, last_words: str) -> None:
    (folder / "child.py").write_text(CHILD)
    process = started("run('child.py')")
    assert process.stdout.readline() == "up\n"
    send(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=20)  # comes to its end when nobody holds the pipe any more
    assert (said, process.returncode) == (last_words, 130)


@pytest.fixture
def opening(started: Any, folder: Path) -> tuple[Any, re.Match[str]]:
    """The real JupyterLab on a course of one notebook: the process, and the address it prints in port and path."""
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "00-start-here.ipynb", folder / "notebooks")
    process = started("main(['--no-browser'])")
    said, pattern = "", r"http://localhost:(\d+)(/lab/tree/notebooks/00-start-here.ipynb\?token=\w+)"
    while not (address := re.search(pattern, said)):
        line = process.stdout.readline()
        assert line, f"JupyterLab did not start: {said}"
        said += line
    for _ in range(200):  # Jupyter prints the address a moment before it listens
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(address[1])), timeout=5).close()
            break
        time.sleep(0.05)
    return process, address


@POSIX_ONLY
@pytest.mark.slow
def test_the_real_jupyterlab_is_for_its_user_only(opening: tuple[Any, re.Match[str]]) -> None:
    """It refuses whoever has no token, listens on loopback only, and ends on Ctrl-C."""
    process, address = opening
    port, path = int(address[1]), address[2]
    answers = []
    for asked in (path, path.partition("?")[0], "/api/contents"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", asked)
        answers.append(connection.getresponse().status)
        connection.close()
    assert answers == [200, 302, 403]  # the page; the way to a log-in; nothing
    with pytest.raises(ConnectionRefusedError):  # as the machine's outer addresses do
        socket.create_connection(("127.0.0.2", port), timeout=5)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in said


@POSIX_ONLY
def test_the_course_opens_undisturbed(opening: tuple[Any, re.Match[str]], page: Any) -> None:
    """The first notebook is open beside the list of all, nothing pops up, nobody outside is asked."""
    outside = []
    page.on("request", lambda request: "//localhost:" in request.url or outside.append(request.url))
    page.goto(opening[1][0])
    page.get_by_role("heading", name="Start here", exact=True).wait_for(timeout=60_000)
    page.locator(".jp-DirListing-item", has_text="00-start-here.ipynb").wait_for()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
    page.wait_for_timeout(2500)  # the question about news comes within that
    saved = page.locator(".jp-OutputArea-output.jp-RenderedHTML svg").count()
    assert saved >= 1, "a saved picture shows before anything is run: trusted"
    assert page.locator(".Toastify__toast, .jp-Dialog").all_inner_texts() == []
    assert [url for url in outside if not url.startswith(("data:", "blob:"))] == []
