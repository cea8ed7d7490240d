"""The package by itself: a copy of the course where the reader wants it, JupyterLab on it, and all that from a wheel.

No test here needs a network: the wheel is installed into an environment of its own, outside this checkout, that borrows
what zbudlab needs from the environment of the tests.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import webbrowser
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from tools import lowest, notebooks
from zbudlab import course
from zbudlab.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
COURSE = ROOT / "notebooks"
POSIX_ONLY = pytest.mark.skipif(os.name == "nt", reason="signals to a group of processes")


def held(folder: Path) -> dict[str, bytes | None]:
    """All that is in a folder: its files with what they hold, and its folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def only_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said, on stderr."""
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"zbudlab: [^\n]+\n", said.err), said.err
    return said.err


# ---------------------------------------------------------------------- where the course is


def test_the_course_is_found_in_a_checkout_and_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert course.notebooks() == COURSE
    assert course.checkout() == ROOT
    package = tmp_path / "zbudlab"
    monkeypatch.setattr(course, "PACKAGE", package)
    (tmp_path / "notebooks").mkdir()  # another package of that name, beside ours
    with pytest.raises(course.CourseError, match="notebooks are missing: clone or install"):
        course.notebooks()
    shutil.copytree(COURSE, package / "notebooks")
    assert course.notebooks() == package / "notebooks"
    assert course.checkout() is None


# ---------------------------------------------------------------------- a copy


@pytest.mark.parametrize("there", ["", "new", "new/and deeper ż"])
def test_a_copy_is_the_whole_course_and_can_be_written(there: str, tmp_path: Path) -> None:
    """Into an empty folder or a new one; without what Jupyter and Python left among the notebooks."""
    assert main(["course", str(tmp_path / there), "--copy-only"]) == 0
    kept = {name: held_ for name, held_ in held(COURSE).items() if ".ipynb_checkpoints" not in name}
    assert held(tmp_path / there) == {name: held_ for name, held_ in kept.items() if "__pycache__" not in name}
    assert "solutions/08-your-turn.ipynb" in held(tmp_path / there)
    assert all(path.stat().st_mode & 0o200 for path in tmp_path.rglob("*"))


def test_what_jupyter_keeps_among_the_notebooks_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(COURSE, tmp_path / "zbudlab" / "notebooks")
    for junk in (".ipynb_checkpoints/00-start-here-checkpoint.ipynb", "room/__pycache__/x.pyc", ".DS_Store"):
        file = tmp_path / "zbudlab" / "notebooks" / junk
        file.parent.mkdir(exist_ok=True)
        file.touch()
    monkeypatch.setattr(course, "PACKAGE", tmp_path / "zbudlab")
    course.copy(tmp_path / "copy")
    assert not [path for path in held(tmp_path / "copy") if re.search("checkpoint|pyc|DS_Store", path)]


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ("notes.txt", "is not empty, and nothing is overwritten: give a new or an empty folder\n"),
        ("00-start-here.ipynb", "give a new or an empty folder, or open the course that is there: zbudlab open {}\n"),
        (".hidden", "is not empty"),
        ("folder/file", "is not empty"),
    ],
)
def test_nothing_is_overwritten(there: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / there
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    before = held(tmp_path)
    assert main(["course", str(tmp_path), "--no-browser"]) == 2
    said = only_sentence(capsys)
    assert str(tmp_path) in said and words.format(tmp_path) in said
    assert held(tmp_path) == before


def test_a_folder_that_cannot_be_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    for there in ("file", "file/course"):
        assert main(["course", str(tmp_path / there)]) == 2
        assert f"cannot be copied to {tmp_path / there} (" in only_sentence(capsys)
    assert held(tmp_path) == {"file": b"in the way"}


NOBODY = """\
import os, sys
from zbudlab import __main__, course
found = course.notebooks()
course.notebooks = lambda: found  # whether nobody may look there or not
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(__main__.main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="users and modes of another kind")
@pytest.mark.parametrize(("word", "there"), [("course", ""), ("course", "new/deeper"), ("open", "")])
def test_a_folder_that_is_somebody_elses(word: str, there: str, tmp_path: Path) -> None:
    """Nobody asks for it: root may write everywhere."""
    tmp_path.chmod(0o100 if os.geteuid() else 0o700)
    folder = tmp_path / there
    done = subprocess.run([sys.executable, "-c", NOBODY, word, folder], cwd=ROOT, capture_output=True, text=True)
    tmp_path.chmod(0o700)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    denied = f"cannot be copied to {folder} (Permission denied): give a folder that you may write"
    assert (denied if word == "course" else f"the course is not in {folder}: ") in done.stderr
    assert held(tmp_path) == {}


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")], ids=repr)
@pytest.mark.parametrize("there", ["", "new/deeper"])
def test_a_copy_that_breaks_off_leaves_nothing(
    end: BaseException, there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever was made is gone, and what the disk had no room for as well."""
    read, after = Path.read_bytes, ["solutions", "01-two-zpages-in-a-page.ipynb"]

    def fail(self: Path) -> bytes:
        if list(self.parts[-2:]) == after:
            assert len(list(tmp_path.rglob("*"))) > 10
            raise end
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", fail)
    status = main(["course", str(tmp_path / there)])
    assert status == (130 if isinstance(end, KeyboardInterrupt) else 2)
    if status == 2:
        assert "(No space left on device): give a folder" in only_sentence(capsys)
    assert tmp_path.is_dir() and list(tmp_path.iterdir()) == []


def test_what_somebody_else_puts_there_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two copies begun at once, say: each file is made as a new one, or not at all."""
    make = course._copy_one

    def meanwhile(path: Path, target: Path, made: list[Path]) -> None:
        if target.name == "05-the-thread.ipynb":
            target.write_text("theirs")
        make(path, target, made)

    monkeypatch.setattr(course, "_copy_one", meanwhile)
    with pytest.raises(course.CourseError, match="File exists"):
        course.copy(tmp_path)
    assert held(tmp_path) == {"05-the-thread.ipynb": b"theirs"}


# ---------------------------------------------------------------------- JupyterLab on it


class Started:
    """Stands in for JupyterLab: what it would be started with, and what it would find."""

    def __init__(self) -> None:
        self.flags: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self.untrusted: list[str] = []  # notebooks of the folder

    def __call__(self, arguments: list[str]) -> int:
        self.flags = dict(flag.removeprefix("--").split("=", 1) for flag in arguments)
        self.environment = dict(os.environ)
        folder, settings = Path(self.flags["ServerApp.root_dir"]), Path(os.environ["JUPYTER_CONFIG_DIR"])
        notary = NotebookNotary(**json.loads((settings / "jupyter_config.json").read_text())["NotebookNotary"])
        found = {path.name: nbformat.read(path, as_version=4) for path in folder.glob("*.ipynb")}
        self.untrusted = sorted(name for name, notebook in found.items() if not notary.check_signature(notebook))
        notary.store.close()
        return 0


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    """JupyterLab is not started, but what with is noted; no browser on the machine, data of Jupyter's own in data/."""

    def no_browser() -> None:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", no_browser)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    for name in ("JUPYTER_CONFIG_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):  # put back in the end, whatever sets them
        monkeypatch.setenv(name, "")
    stand_in = Started()
    monkeypatch.setattr(course, "_run_jupyterlab", stand_in)
    return stand_in


def test_jupyterlab_keeps_to_itself(started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "")  # would switch the token off
    assert main(["course", str(tmp_path / "new one"), "--settings", str(tmp_path / "settings")]) == 0
    assert started.flags["ServerApp.ip"] == "localhost"
    assert started.flags["KernelManager.transport_encryption"] == "auto"
    assert started.flags["LabApp.check_for_updates_class"] == "jupyterlab.NeverCheckForUpdate"
    assert not any("token" in flag or "password" in flag for flag in started.flags)
    assert "JUPYTER_TOKEN" not in started.environment
    assert started.flags["ServerApp.answer_yes"] == "True"  # Ctrl-C is not asked back
    assert started.flags["ServerApp.root_dir"] == str(tmp_path / "new one")
    assert started.flags["LabApp.default_url"] == "/lab/tree/00-start-here.ipynb"
    assert started.environment["JUPYTER_CONFIG_DIR"] == str(tmp_path / "settings")
    assert '"fetchNews": "false"' in (tmp_path / "settings/labconfig/default_setting_overrides.json").read_text()
    assert not (tmp_path / "data").exists()


def test_the_notebooks_of_the_course_are_trusted_and_no_others(started: Started, tmp_path: Path) -> None:
    """By what they hold.  An output that is not ours stays behind JupyterLab's guard, in a copy of ours too."""
    course.copy(tmp_path / "mine")
    changed = nbformat.read(tmp_path / "mine" / "01-two-zpages-in-a-page.ipynb", as_version=4)
    cell = next(cell for cell in changed.cells if cell.cell_type == "code")
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": "<script>1</script>"})]
    nbformat.write(changed, tmp_path / "mine" / "01-two-zpages-in-a-page.ipynb")
    nbformat.write(nbformat.v4.new_notebook(cells=changed.cells), tmp_path / "mine" / "theirs.ipynb")
    assert main(["open", str(tmp_path / "mine")]) == 0
    assert started.untrusted == ["01-two-zpages-in-a-page.ipynb", "theirs.ipynb"]
    assert started.environment["JUPYTER_CONFIG_DIR"] == str(tmp_path / "data" / "zbudlab")


def test_the_folder_may_be_a_checkout_or_this_one(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["open", str(ROOT)]) == 0
    assert started.flags["LabApp.default_url"] == "/lab/tree/notebooks/00-start-here.ipynb"
    course.copy(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    assert main(["open"]) == 0
    assert started.flags["ServerApp.root_dir"] == str(tmp_path / "here")


def test_a_folder_without_the_course(started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for there in (tmp_path, tmp_path / "none"):
        assert main(["open", str(there)]) == 2
        assert f"is not in {there}: copy it into a new folder, with zbudlab course FOLDER" in only_sentence(capsys)
    assert started.flags == {}


def test_a_port_is_found_unless_one_is_asked_for(started: Started, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", str(ROOT)]) == 0
    assert not {"ServerApp.port", "ServerApp.port_retries"} & set(started.flags)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started.flags.clear()
        capsys.readouterr()
        assert main(["open", str(ROOT), "--port", str(port)]) == 2
        assert f"port {port} cannot be had (" in only_sentence(capsys)
        assert started.flags == {}
    assert main(["open", str(ROOT), f"--port={port}"]) == 0
    assert (started.flags["ServerApp.port"], started.flags["ServerApp.port_retries"]) == (str(port), "0")


def test_with_and_without_a_browser(
    started: Started, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["open", str(ROOT)]) == 0
    assert started.flags["ServerApp.open_browser"] == "False"
    assert "no web browser was found here: open the address below" in capsys.readouterr().out
    monkeypatch.setattr(webbrowser, "get", lambda: None)
    assert main(["open", str(ROOT)]) == 0
    assert started.flags["ServerApp.open_browser"] == "True"
    assert main(["open", str(ROOT), "--no-browser"]) == 0
    assert started.flags["ServerApp.open_browser"] == "False"
    assert "no web browser" not in capsys.readouterr().out


@pytest.mark.parametrize(("user", "allowed"), [(0, "True"), (1000, None)])
def test_only_root_is_allowed_root(
    started: Started, user: int, allowed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user, raising=False)
    assert main(["open", str(ROOT)]) == 0
    assert started.flags.get("ServerApp.allow_root") == allowed


@pytest.mark.parametrize("named", [True, False])
def test_a_home_that_cannot_be_written(
    started: Started, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept there goes elsewhere, for this once, but where the reader has named a place."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    if not named:
        monkeypatch.delenv("JUPYTER_DATA_DIR")
    assert main(["open", str(ROOT)]) == 0
    private = Path(started.environment["IPYTHONDIR"]).parent
    assert started.environment["MPLCONFIGDIR"].startswith(str(private))
    data = tmp_path / "data" if named else private / "JUPYTER_DATA_DIR"
    assert started.environment["JUPYTER_DATA_DIR"] == str(data)
    assert started.environment["JUPYTER_CONFIG_DIR"] == str(data / "zbudlab")
    assert not private.exists(), "once it has ended"


def test_settings_that_cannot_be_kept(started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["open", str(ROOT), "--no-browser", "--settings", str(tmp_path / "file")]) == 2
    assert f"cannot be kept in {tmp_path / 'file'} (" in only_sentence(capsys)
    assert started.flags == {}


# ---------------------------------------------------------------------- the wheel


@functools.cache
def wheel(folder: Path) -> Path:
    """The wheel, built in a folder by what pyproject.toml names, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_course_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    fit = {".py", ".js", ".json", ".gz", ".ipynb", ".md"}
    files = [*(ROOT / "zbudlab").rglob("*"), *COURSE.rglob("*")]
    ours = [path.relative_to(ROOT) for path in files if path.suffix in fit and ".ipynb_checkpoints" not in path.parts]
    expected = {
        path.as_posix().replace("notebooks/", "zbudlab/notebooks/", path.parts[0] == "notebooks") for path in ours
    }
    metadata = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    with zipfile.ZipFile(wheel(tmp_path_factory.getbasetemp() / "wheel")) as packed:
        names = set(packed.namelist())
        info = next(name.split("/")[0] for name in names if name.endswith("/METADATA"))
        assert packed.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert "zbudlab = zbudlab.__main__:main" in packed.read(f"{info}/entry_points.txt").decode()
    assert names - expected == {f"{info}/{name}" for name in metadata}
    assert expected - names == set()
    assert {"zbudlab/notebooks/08-your-turn.ipynb", "zbudlab/notebooks/solutions/08-your-turn.ipynb"} < names
    assert {"zbudlab/widgets/view.js", "zbudlab/data/corpus.bin.gz", "zbudlab/data/kernel/6.12/memmap.gz"} < names


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel in it.  What zbudlab needs is borrowed from the tests', by a
    path: so the checkout, which is there by a link, is not among it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=60)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)}))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "--quiet"]
    built = wheel(tmp_path_factory.getbasetemp() / "wheel")
    subprocess.run([*pip, "--force-reinstall", str(built)], check=True, capture_output=True, timeout=60)
    return python


def elsewhere(python: Path) -> dict[str, Any]:
    """How to run something there: far from the checkout, with a home of its own and Jupyter's parts borrowed."""
    share = Path(sys.prefix, "share", "jupyter")
    home = python.parent.parent.parent / "home"
    home.mkdir(exist_ok=True)
    environment = os.environ | {"HOME": str(home), "JUPYTERLAB_DIR": str(share / "lab"), "JUPYTER_PATH": str(share)}
    for name in ("PYTHONPATH", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_TOKEN"):
        environment.pop(name, None)
    return {"cwd": home, "env": environment, "text": True, "encoding": "utf-8"}


RUN = """\
import sys, nbclient, nbformat
book = nbformat.read(sys.argv[1], as_version=4)
book.cells.append(nbformat.v4.new_code_cell("import zbudlab; print(zbudlab.__file__)"))
nbclient.NotebookClient(book, timeout=120, store_widget_state=False).execute(cwd=sys.argv[2])
nbformat.write(book, sys.argv[1])
"""


@pytest.mark.slow
def test_notebook_01_runs_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    """In a copy that the installed command made; it shows there what it shows here."""
    how = elsewhere(installed)
    command = installed.parent / "zbudlab"
    subprocess.run([command, "course", tmp_path / "course", "--copy-only"], check=True, timeout=60, **how)
    book = tmp_path / "course" / "01-two-zpages-in-a-page.ipynb"
    assert book.read_bytes() == (COURSE / book.name).read_bytes()
    how["env"]["PYTHONWARNINGS"] = "error::UserWarning:zbudlab"
    subprocess.run([installed, "-c", RUN, book, book.parent], check=True, timeout=120, **how)
    ran = nbformat.read(book, as_version=4)
    package = Path(ran.cells.pop().outputs[0].text.strip()).parent
    assert package.is_relative_to(installed.parent.parent) and not package.is_relative_to(ROOT)
    saved = nbformat.read(COURSE / book.name, as_version=4)
    assert notebooks.difference(saved, notebooks.normalised(ran, book.name)) == ""


@pytest.mark.slow
def test_the_doctor_is_content_with_the_wheel(installed: Path) -> None:
    done = subprocess.run(
        [installed, "-m", "zbudlab", "doctor"], capture_output=True, timeout=60, **elsewhere(installed)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(list(COURSE.glob('*.ipynb')))} notebooks; zbudlab course FOLDER makes a copy" in done.stdout


@pytest.fixture
def opening(installed: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The real JupyterLab, started by the installed command: the process, the server's address, and its token."""
    command = [installed.parent / "zbudlab", "course", tmp_path / "my course", "--no-browser"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True}
    process = subprocess.Popen(command, **elsewhere(installed), **pipes)
    assert process.stdout
    try:
        said, pattern = "", r"(http://localhost:\d+)/lab/tree/00-start-here.ipynb\?token=(\w+)"
        while not (address := re.search(pattern, said)):
            line = process.stdout.readline()
            assert line, f"JupyterLab did not start: {said}"
            said += line
        yield process, address[1], address[2]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ask(address: str, token: str) -> Any:
    """What the server answers; asked again while it does not listen yet."""
    request = urllib.request.Request(address, headers={"Authorization": f"token {token}"})
    for _ in range(200):
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read())
        except ConnectionRefusedError:
            time.sleep(0.05)
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            time.sleep(0.05)
    raise AssertionError(f"nobody answers at {address}")


@POSIX_ONLY
@pytest.mark.slow
def test_the_installed_command_opens_its_copy(opening: tuple[subprocess.Popen[str], str, str]) -> None:
    """The copied notebook is there and trusted, for who has the token; Ctrl-C ends it."""
    process, server, token = opening
    book = ask(f"{server}/api/contents/05-the-thread.ipynb", token)["content"]
    assert all(cell["metadata"]["trusted"] for cell in book["cells"] if cell["cell_type"] == "code")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask(f"{server}/api/contents", "")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in said


# ---------------------------------------------------------------------- the lowest versions


def test_every_bound_becomes_a_pin() -> None:
    pins = lowest.pins((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {"numpy==2.0", "jupyterlab==4.4", "hatchling==1.26.3"} < set(pins)
    with pytest.raises(ValueError, match=r"odd>=1,<2 has no lower bound alone"):
        lowest.pins('[project]\ndependencies = ["odd>=1,<2"]\n[project.optional-dependencies]\ntest = []')


class Pip:
    """Stands in for the module subprocess: notes the commands, and makes the environment that venv would."""

    CalledProcessError = subprocess.CalledProcessError

    def __init__(self, python: Path) -> None:
        self.python, self.fails, self.commands = python, False, list[str]()

    def run(self, command: list[Any], check: bool = False, cwd: Path | None = None) -> Any:
        words = [str(word) for word in command]
        self.commands.append(next((word for word in ("venv", "pip") if word in words), " ".join(words[1:])))
        if "venv" in words:
            assert not self.python.exists(), "made from nothing"
            self.python.parent.mkdir(parents=True)
            self.python.touch()
        if self.fails and "pip" in words:
            raise subprocess.CalledProcessError(7, words)
        return subprocess.CompletedProcess(words, 3)


def test_the_lowest_environment_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And again after a set-up that failed, or for other bounds."""
    pip = Pip(tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    for name, value in {"ENV": tmp_path / "env", "STAMP": tmp_path / "env" / "stamp", "subprocess": pip}.items():
        monkeypatch.setattr(lowest, name, value)
    pip.fails = True
    assert lowest.main(["-m", "pytest"]) == 1
    assert "was not made" in capsys.readouterr().err
    pip.fails = False
    assert [lowest.main(["-m", "pytest"]), lowest.main(["-m", "ruff"])] == [3, 3]  # as what was run says
    assert pip.commands == ["venv", "pip", "venv", "pip", "-m pytest", "-m ruff"]
    monkeypatch.setattr(lowest, "pins", lambda text: ["numpy==9"])
    lowest.main(["-m", "pytest"])
    assert pip.commands[6:] == ["venv", "pip", "-m pytest"]
