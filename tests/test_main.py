"""The command line: what `check` and `doctor` print, and how they end."""

from __future__ import annotations

import gzip
import importlib
import importlib.metadata
import json
import re
import shlex
import shutil
import subprocess
import sys
import webbrowser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zbudlab import course, workload
from zbudlab.__main__ import main
from zbudlab.doctor import Finding, findings
from zbudlab.zbud import ZbudPool

doctor = importlib.import_module("zbudlab.doctor")  # the name zbudlab.doctor may also be the function
ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
TINY, RAW = DATA / "v12/01-tiny.jsonl", DATA / "v12/structpage-1-allocfree.json"


def python(*words: str, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, **how)


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A recording with one wrong page number, in line 5."""
    lines = TINY.read_text().splitlines()
    assert json.loads(lines[3]) == ["S", "f4acbe59c068362a", json.loads(lines[3])[2]]
    assert json.loads(lines[4]) == ["a", 1, "OK", 0, 0, "FIRST", 1]
    lines[4] = '["a", 1, "OK", 7, 0, "FIRST", 1]'
    (tmp_path / "wrong.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "wrong.jsonl"


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A recording that ends in the middle of a line."""
    (tmp_path / "cut.jsonl").write_bytes(TINY.read_bytes()[:3000])
    return tmp_path / "cut.jsonl"


# ---------------------------------------------------------------------- check


def test_check_says_ok_once_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(TINY.read_bytes()))
    assert main(["check", str(TINY), str(packed), str(RAW), str(DATA / "v12/02-edges.jsonl.gz")]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "ok v12/01-tiny, 82 operations",
        "ok v12/01-tiny, 82 operations",
        "ok v12/structpage-1-allocfree, 17 steps",
        "ok v12/02-edges, 241 operations",
        "in all 4 recordings",
        "    405 of 405 operations of the allocators agree",
        "    17 of 17 steps with the raw records agree",
    ]
    assert said.err == ""


def test_check_tells_the_first_difference_and_goes_on(capsys: pytest.CaptureFixture[str], wrong: Path) -> None:
    assert main(["check", str(TINY), str(wrong), str(RAW)]) == 1
    said = capsys.readouterr()
    assert said.err == ""
    first, *difference, last, in_all, _, _ = said.out.splitlines()
    assert in_all == "in all 3 recordings, 1 of them differs"
    assert first == "ok v12/01-tiny, 82 operations"
    assert last == "ok v12/structpage-1-allocfree, 17 steps"
    assert difference[0] == (
        'DIFFERS v12/01-tiny, line 5: the recording says ["a", 1, "OK", 7, 0, "FIRST", 1], '
        'the model ["a", 1, "OK", 0, 0, "FIRST", 1]'
    )
    state = '{"unbuddied": {"63": [0]}, "buddied": [], "lru": [0], "pages": {"0": [1, 0]}, "pages_nr": 1}'
    assert difference[1:] == [f"    recorded, next full state: {state}", f"    the model, here:           {state}"]


def test_check_names_what_cannot_be_read(capsys: pytest.CaptureFixture[str], cut: Path, tmp_path: Path) -> None:
    """One sentence each, on stderr; the other files are checked all the same."""
    missing = tmp_path / "missing.jsonl"
    assert main(["check", str(missing), str(TINY), str(cut), str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[:2] == ["ok v12/01-tiny, 82 operations", "in all 1 recording"]
    words = said.err.splitlines()
    assert words[0] == f"{missing}: it cannot be read: No such file or directory"
    assert re.fullmatch(rf"{re.escape(str(cut))}: line \d+ is not JSON: the file is truncated or damaged", words[1])
    assert words[2].startswith(f"{tmp_path}: it cannot be read: ")
    assert len(words) == 3


def test_check_without_a_file_has_all_that_ship(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """Every recording of the tests and of the package is found, and what they come to is summed up."""
    from zbudlab import recordings

    ship = recordings.shipped()
    assert {path.name for path in ship} >= {"6.1", "6.12", "01-tiny.jsonl", "peekers-3.10-subset.jsonl.gz"}
    assert len([path for path in ship if "tests" in path.parts]) == sum(
        path.is_file() and path.parent.name != "kernel" for path in DATA.rglob("*.json*")
    )
    few = [path for path in ship if path.name in ("6.12", "01-tiny.jsonl")]
    monkeypatch.setattr(recordings, "shipped", lambda: few)
    assert main(["check"]) == 0
    assert capsys.readouterr().out.splitlines()[-4:] == [
        f"in all {len(few)} recordings",
        "    410 of 410 operations of the allocators agree",
        "    131,072 of 131,072 answers of running kernels about their pages agree",
        "    140 of 140 of their answers to dressed pages agree",
    ]


@pytest.mark.parametrize("order", ["ok wrong cut", "cut wrong ok", "wrong cut ok"])
def test_the_worst_file_decides(order: str, cut: Path, wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"ok": TINY, "wrong": wrong, "cut": cut}
    assert main(["check", *(str(files[word]) for word in order.split())]) == 2
    assert main(["check", *(str(files[word]) for word in order.split() if word != "cut")]) == 1
    capsys.readouterr()


def test_check_from_a_shell(cut: Path, wrong: Path) -> None:
    """As a user runs it: exit status, one line, no traceback."""
    done = python("-m", "zbudlab", "check", str(TINY))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok v12/01-tiny, 82 operations\n", "")
    done = python("-m", "zbudlab", "check", str(wrong), str(cut))
    assert done.returncode == 2
    assert done.stdout.startswith("DIFFERS v12/01-tiny, line 5: ")
    assert done.stderr.startswith(f"{cut}: line ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_check_ends_quietly_when_nobody_reads_on() -> None:
    command = [sys.executable, "-m", "zbudlab", "check", *[str(TINY)] * 40]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


@pytest.mark.parametrize(("words", "expected"), [
    (["--help"], ["check", "doctor", "usage: zbudlab"]),
    (["check", "--help"], ["FILE", "0 all agree", "1 one differs", "2 one cannot be read", "gzip"]),
    (["doctor", "--help"], ["usage: zbudlab doctor"]),
    (["course", "--help"], ["FOLDER", "never over anything", "--copy-only", "--port N", "--no-browser"]),
    ([], ["course", "open", "check", "doctor", "usage: zbudlab"]),
])  # fmt: skip
def test_help(words: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for word in expected:
        assert word in said


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["doctor", "--fast"], ["course"], ["open", "a", "b"], ["open", "--port", "0"],
     ["course", "x", "--port=65536"], ["course", "x", "--port", "\u0663"]],
)  # fmt: skip
def test_what_is_no_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_interrupt_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "doctor", interrupted)
    assert main(["doctor"]) == 130


# ---------------------------------------------------------------------- doctor


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment where all is well, whatever this one lacks; the folder that the course lies in."""
    (tmp_path / "zbudlab").mkdir()
    (tmp_path / "notebooks").mkdir()
    for name in ("00-start-here.ipynb", "01-first.ipynb", "notes.txt"):
        (tmp_path / "notebooks" / name).touch()
    (tmp_path / "lab.py").touch()
    monkeypatch.setattr(course, "PACKAGE", tmp_path / "zbudlab")
    required = ["numpy>=2.0", "jupyterlab>=4.4", "odd", 'pytest>=8.3; extra == "test"', 'zzz; extra == "test"']
    versions = {"numpy": "2.10.1", "jupyterlab": "4.4", "odd": "0.1", "pytest": "1.0"}
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: required if name == "zbudlab" else [])
    monkeypatch.setattr(importlib.metadata, "version", lambda name: versions[name])
    monkeypatch.setattr(webbrowser, "get", lambda: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 * 2**30))
    return tmp_path


def test_doctor_when_all_is_well(healthy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"ok    Python         3\.\d+\.\d+\S* on \w+", lines[0])
    assert lines[1:] == [
        "ok    numpy          2.10.1",
        "ok    jupyterlab     4.4",
        "ok    odd            0.1",
        "ok    the model      5 versions of zbud put two zpages into one page",
        "ok    real pages     96 in the corpus",
        "ok    notebooks      2 notebooks",
        "ok    browser        one will open by itself",
        "ok    disk           3.0 GiB free",
    ]


def ill(**expected: str) -> None:
    """Exactly these checks fail (a space in a name is a _ here), each in one line that ends in its remedy."""
    failing = {finding.what.replace(" ", "_"): finding for finding in findings() if not finding.well}
    assert set(failing) == set(expected)
    for what, words in expected.items():
        line = str(failing[what])
        assert line.startswith(f"MEND  {failing[what].what:<14} ")
        assert words in line
        assert line.endswith(f": {failing[what].remedy}")
        assert failing[what].remedy
        assert "\n" not in line


def test_doctor_old_python(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 9))
    ill(Python="3.11 or newer is needed; python.org has it")


def test_doctor_old_package(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"numpy": "1.26.4", "jupyterlab": "4.10", "odd": "9"}
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    ill(numpy="1.26.4: 2.0 or newer is needed; run python3 lab.py again (Windows: py lab.py)")


def test_doctor_without_a_checkout(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no lab.py then, and the notebooks are not to be worked in where they lie."""
    (healthy / "lab.py").unlink()
    seen = next(str(finding) for finding in findings() if finding.what == "notebooks")
    assert seen == "ok    notebooks      2 notebooks; zbudlab course FOLDER makes a copy to work in"
    monkeypatch.setattr(importlib.metadata, "version", {"numpy": "1.26", "jupyterlab": "9", "odd": "9"}.__getitem__)
    ill(numpy="2.0 or newer is needed; install zbudlab again with pip")


def test_doctor_missing_package(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name in ("odd", "jupyterlab"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "99"

    monkeypatch.setattr(importlib.metadata, "version", version)
    ill(odd="not installed: run python3 lab.py again", jupyterlab="not installed: run python3 lab.py again")


def test_doctor_not_installed(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    ill(zbudlab="not installed, only lying here: run python3 lab.py again")


def test_doctor_model_that_errs(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ZbudPool, "_search", lambda self, chunks: None)
    ill(the_model="zbud v11 misplaces a zpage: the files were changed; clone again")


def test_doctor_model_that_breaks(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that raises is a finding like any other, and the others are made all the same."""

    def check(self: ZbudPool) -> None:
        raise AssertionError("page 0x0 is on two lists\nand more")

    monkeypatch.setattr(ZbudPool, "check", check)
    ill(model="the check itself fails, AssertionError page 0x0 is on two lists: files were changed")
    assert len(findings()) == 9


def test_doctor_damaged_corpus(healthy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = workload.corpus
    monkeypatch.setattr(workload, "corpus", lambda: real(tmp_path))
    ill(real_pages="corpus.json is missing: install zbudlab again: clone or install again")


def test_doctor_no_notebooks(healthy: Path) -> None:
    shutil.rmtree(healthy / "notebooks")
    ill(notebooks="the folder is missing: clone or install again")
    (healthy / "zbudlab" / "notebooks").mkdir()  # where an installed wheel has them
    (healthy / "zbudlab" / "notebooks" / "00-start-here.ipynb").touch()
    ill()


def test_doctor_read_only_notebooks_are_a_hint(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    ill()
    seen = next(str(finding) for finding in findings() if finding.what == "notebooks")
    assert seen == "ok    notebooks      2 notebooks, in a folder that cannot be written: save copies elsewhere"


def test_doctor_no_browser_is_a_hint(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get() -> None:
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", get)
    ill()
    seen = next(str(finding) for finding in findings() if finding.what == "browser")
    assert seen == "ok    browser        none found: open the printed address in any browser on this machine"


def test_doctor_full_disk(healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30 // 10))
    ill(disk="0.1 GiB free: make at least 0.2 GiB free, notebooks are saved there")


def test_doctor_exit_status(healthy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(healthy / "notebooks")
    assert main(["doctor"]) == 1
    assert sum(line.startswith("MEND") for line in capsys.readouterr().out.splitlines()) == 1


def test_a_finding_shows_its_remedy_only_where_it_fails() -> None:
    assert str(Finding("disk", True, "3 GiB", "buy one")) == "ok    disk           3 GiB"
    assert str(Finding("disk", False, "0 GiB", "buy one")) == "MEND  disk           0 GiB: buy one"


HEAVY = ["numpy", "matplotlib", "jupyterlab", "ipywidgets", "anywidget", "traitlets", "notebook", "IPython"]


def test_doctor_is_quick() -> None:
    """No clock here: it asks for versions and imports none of what takes time."""
    done = python("-c", f"""if True:
        import sys
        from zbudlab.__main__ import main
        main(["doctor"])
        print("imported:", [name for name in {HEAVY} if name in sys.modules])
    """)  # fmt: skip
    assert done.stderr == ""
    *lines, last = done.stdout.splitlines()
    assert last == "imported: []"
    assert all(re.match(r"ok    \S|MEND  \S", line) for line in lines)
    assert {"numpy", "matplotlib", "jupyterlab"} <= {line[6:20].strip() for line in lines}


# ---------------------------------------------------------------------- imports

CORE = "struct_page memmap page_alloc schemes versions invariants zbud timeline rows recordings workload doctor"


def test_core_needs_only_the_standard_library() -> None:
    """With every package that the course needs out of reach, the core imports, works and checks recordings."""
    done = python("-c", f"""if True:
        import importlib, sys
        before = set(sys.modules)
        sys.modules |= dict.fromkeys({HEAVY})  # importing one of these is an ImportError now
        import zbudlab
        for name in "{CORE} __main__".split():
            importlib.import_module("zbudlab." + name)
        pool = zbudlab.ZbudPool("v12", zbudlab.KernelPages(zbudlab.Memmap(64)))
        pool.free(pool.alloc(1000))
        pool.check()
        print(zbudlab.check("tests/data/v12/01-tiny.jsonl").text, len(zbudlab.corpus()))
        after = {{name.partition(".")[0] for name, module in sys.modules.items() if module and name not in before}}
        print(sorted(after - sys.stdlib_module_names))
    """)  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["ok v12/01-tiny, 82 operations 96", "['zbudlab']"]


README = ROOT / "README.md"
BLOCKS = re.findall(r"```\n(\$ .*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
SHOWN = [part for block in BLOCKS for part in re.split(r"^\$ ", block, flags=re.MULTILINE) if part]


@pytest.mark.slow
@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.splitlines()[0][:60])
def test_the_readme_shows_what_the_commands_print(shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line that the README shows stands in the output, in that order; where it says "..." there is more."""
    command, *lines = shown.splitlines()
    words = shlex.split(command.removeprefix("python -m zbudlab ").removeprefix("python3 lab.py "))
    files = [str(path) for word in words for path in (sorted(ROOT.glob(word)) if "/" in word else [])]
    main([word for word in words if "/" not in word] + files)
    printed = iter(capsys.readouterr().out.splitlines())
    for line in lines:
        assert line == "..." or line in printed, line
