"""Rough places, as far as no browser is needed: an ASCII terminal, no network, folders that cannot be written.

The real lab.py is called, in a real checkout in a folder with an awkward name (the fixture `checkout`).
"""

import gc
import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from benchmarks.soak import Guard, audit, complaint, move
from tests.rooms import ASCII, as_anybody, read_only, without_network
from tools import notebooks
from zbudlab import BuddyLab, PeekerBench
from zbudlab.__main__ import parser
from zbudlab.draw import NARROW, WIDE

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests" / "data" / "v12" / "01-tiny.jsonl"
BLOCKS = 6000  # of Python's memory: so much more may be held after 300 moves (drawn rows are kept)


def lab_words() -> list[str]:
    spec = importlib.util.spec_from_file_location("lab_for_its_words", ROOT / "lab.py")
    assert spec and spec.loader
    lab = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lab)
    return list(lab.WORDS)


# What is asked of each word, and its exit status; any other word is asked for --help.
ASKED: dict[str, tuple[list[str], int]] = {
    "test": (["--quick", "-q", "tests"], 0),
    "bench": (["memory", "--quick"], 0),
    "notebooks": (["--check", "00"], 0),
    "doctor": ([], 0),
    "check": (["tests/zażółć.jsonl", "zbudlab/data/kernel/6.12", "gęślą"], 2),
    "matrix": (["--all"], 0),
    "demonstrate": (["slab-flag", "--peeker", "soft_offline", "--save", "jaźń.jsonl"], 1),
    "claims": ([], 0),
    "price": ([], 0),
}
FAST = ("doctor", "check", "fieldlab")
LAB = lab_words()
COMMANDS: list[str] = list(parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr, call-overload, arg-type]
WORDS = [pytest.param(word, marks=[pytest.mark.slow] * (word not in FAST)) for word in dict.fromkeys([*LAB, *COMMANDS])]


def run(checkout: Path, *words: str, before: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    """python3 lab.py WORDS (or python -m zbudlab WORDS, if lab.py has no such word), run by the command `before`."""
    python = [sys.executable, "lab.py"] if words[0] in LAB else [str(checkout / ".venv/bin/python"), "-m", "zbudlab"]
    how: Any = {"capture_output": True, "encoding": "ascii", "timeout": 120}
    return subprocess.run([*before, *python, *words], cwd=checkout, env=os.environ | environment, **how)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home that its owner may not write."""
    (tmp_path / "home").mkdir()
    with read_only(tmp_path / "home"):
        yield tmp_path / "home"


@pytest.mark.parametrize("word", WORDS)
def test_every_word_on_an_ascii_terminal_with_no_home_and_no_network(checkout: Path, home: Path, word: str) -> None:
    """Also where the folder and the files have names that such a terminal cannot show."""
    (checkout / "tests").mkdir(exist_ok=True)
    (checkout / "tests" / "test_one.py").write_text(
        "import zbudlab\n\n\ndef test_one():\n    assert zbudlab.corpus()\n"
    )
    (checkout / "tests" / "zażółć.jsonl").write_bytes(TINY.read_bytes())
    words, status = ASKED.get(word, (["--help"], 0))
    if word == "site" and importlib.util.find_spec("jupyterlite_core") is None:
        status = 1  # it would add what it builds with, from the network
    done = run(checkout, word, *words, before=[*without_network(), *as_anybody()], HOME=str(home), **ASCII)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    assert done.stdout.strip(), "it has something to say"
    assert (word == "site" and status == 1) == ("Most often there is no network" in done.stderr)


def test_there_is_no_network_where_the_words_are_tried() -> None:
    tried = """if True:
        import errno, socket
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
        with socket.socket() as outside:
            outside.settimeout(5)
            print(errno.errorcode[outside.connect_ex(("203.0.113.1", 80))])
    """
    done = subprocess.run([*without_network(), sys.executable, "-c", tried], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ENETUNREACH\n", "")


def test_what_is_kept_elsewhere_goes_when_the_program_ends(checkout: Path, home: Path, tmp_path: Path) -> None:
    """Jupyter, IPython and Matplotlib are told where; a place that the user has named stays."""
    words = "import lab, sys; sys.exit(lab.run('-c', sys.argv[1]))"
    tell = "import os; [print(os.environ[name]) for name in ('JUPYTER_DATA_DIR', 'IPYTHONDIR', 'MPLCONFIGDIR')]"
    environment = os.environ | {"HOME": str(home), "TMPDIR": str(tmp_path), "IPYTHONDIR": "mine"}
    command = [*as_anybody(), sys.executable, "-c", words, tell]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)
    data, ipython, matplotlib = done.stdout.splitlines()
    assert ipython == "mine"
    assert Path(data).parent == Path(matplotlib).parent and Path(data).parent.parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.slow
def test_notebooks_that_cannot_be_written(checkout: Path) -> None:
    """The doctor says what to do; the authors' word names the file, and leaves all as it was."""
    before = {path: path.read_bytes() for path in sorted(checkout.glob("notebooks/*.ipynb"))}
    with read_only(checkout / "notebooks"), read_only(checkout / "docs"):
        told = run(checkout, "doctor", before=as_anybody())
        done = run(checkout, "notebooks", "00", before=as_anybody())
    assert f"{len(before)} notebooks, in a folder that cannot be written: save copies elsewhere" in told.stdout
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("cannot both be written; with --check nothing is")
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.slow
def test_a_kernel_that_dies_in_the_middle_of_a_notebook(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")]
    with pytest.raises(notebooks.Failed, match=r"99-dies\.ipynb: Kernel died"):
        notebooks.run(nbformat.v4.new_notebook(cells=cells), tmp_path / "99-dies.ipynb")


# ---------------------------------------------------------------------- a soak, shortened, and without a browser


@pytest.mark.slow
def test_random_clicking_leaves_pools_sound_and_pictures_in_step() -> None:
    """On BuddyLab and PeekerBench; nothing is kept of what has gone back to the book."""
    dice, instruments = random.Random(3), (BuddyLab(), PeekerBench())
    guards, trail, held = [Guard(one) for one in instruments], list[str](), list[int]()
    for turn in range(400):
        one = dice.choice(instruments)
        trail.append(move(one, dice))
        assert one.view.svg == one.view.lean(one.picture(NARROW if one.view.narrow else WIDE, parts=True).svg), trail[
            -9:
        ]
        assert [guard.failures for guard in guards] == [[], []], trail[-9:]
        if turn % 100 == 99:
            for instrument in instruments:
                instrument.stage.reset()
            gc.collect()
            held.append(sys.getallocatedblocks())
    assert all(guard.events > 80 for guard in guards)
    assert held[-1] - held[0] < BLOCKS, held


def test_the_audit_sees_what_is_wrong() -> None:
    """A pool that only zbud has used is held to its invariants, one that a reader has been at to the same once more."""
    lab, bench = BuddyLab(), PeekerBench()
    bench.stage.look(reader="soft_offline")
    bench.run()
    assert complaint(bench.stage.timeline) and audit(bench.stage.timeline) == ""
    for instrument, seen in ((lab, "the page flags are not those of"), (bench, "come to other bytes")):
        guard, pool = Guard(instrument), instrument.stage.timeline.pool
        pool.memmap.page(min(pool.mine))["flags"] ^= 1
        guard.refresh("a push")
        assert "after 'a push': " in guard.failures[0] and seen in guard.failures[0]


def test_clicks_that_come_when_their_target_is_gone() -> None:
    """A line of a story that another reader does not have, and a story without any line."""
    bench = PeekerBench()
    for reader in ("memory_failure", "has_unmovable"):
        bench.stage.look(reader=reader)
        for press in ({"part": "item:99"}, {"key": "]"}, {"key": "["}):
            bench.view._message(bench.view, press, [])
        bench.stage.timeline.reclaim(8)
