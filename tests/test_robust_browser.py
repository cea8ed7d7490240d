"""Rough places in a real browser: an awkward folder, no home, no network, notebooks that cannot be written, a kernel
that is killed; and every notebook in Notebook 7 and on a page that nbconvert makes.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbconvert
import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.sign import NotebookNotary

from benchmarks.soak import BOUNDS, soak
from tests.browser import (
    SECONDS,
    LabServer,
    expect,
    open_notebook,
    run_again,
    run_all_cells,
    running_lab,
    show,
    write_settings,
)
from tests.rooms import as_anybody, read_only, without_network
from tools import notebooks

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BOOKS = sorted(notebooks.FOLDER.glob("[0-9]*.ipynb"))
EDITIONS = [*BOOKS, *map(notebooks.solutions_path, BOOKS)]
FIRST = "notebooks/00-start-here.ipynb"


# ---------------------------------------------------------------------- lab.py, where it is hard to work


@contextlib.contextmanager
def opened(checkout: Path, log: Path, before: list[str], **environment: str) -> Iterator[LabServer]:
    """The JupyterLab that lab.py starts in a checkout; it is run by the command `before`, and talks to `log`."""
    command = [*before, sys.executable, "lab.py", "--no-browser"]
    settings = checkout / ".venv" / "settings"
    write_settings(settings)
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(settings)}
    how: Any = {"cwd": checkout, "env": os.environ | environment, "start_new_session": True}
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, **how) as process:
        try:
            yield once_it_listens(process, checkout, log)
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def once_it_listens(process: "subprocess.Popen[bytes]", checkout: Path, log: Path) -> LabServer:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
        if address := re.search(r"(http://localhost:\d+)/lab/tree/\S+\?token=(\w+)", log.read_text()):
            server = LabServer(address[1], address[2], checkout)
            with contextlib.suppress(OSError):  # it says so a moment before it listens
                server.ask("GET", "/api/status")
                return server
    raise RuntimeError(f"JupyterLab did not start; it said:\n{log.read_text()}")


def works(page: "Page", server: LabServer) -> None:
    """The first notebook runs, nothing red is shown, nothing pops up, and BuddyLab responds."""
    panel = run_all_cells(page, server, FIRST)
    panel.get_by_role("button", name="Allocate").click()
    expect(panel.locator(".zl-line").first, r"alloc 1,216 B = 19 chunks: p1 FIRST, a new page")
    assert panel.locator("[data-mime-type='application/vnd.jupyter.stderr']").all_inner_texts() == []
    assert page.locator(".jp-Dialog").all_inner_texts() == []


def test_an_awkward_folder_a_busy_port_and_a_home_that_cannot_be_written(
    page: "Page", checkout: Path, tmp_path: Path
) -> None:
    home, log = tmp_path / "home", tmp_path / "lab.log"
    home.mkdir()
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # then somebody else has the port, which is as good
            held.enter_context(socket.create_server(("127.0.0.1", 8888)))
        held.enter_context(read_only(home))
        server = held.enter_context(opened(checkout, log, as_anybody(), HOME=str(home), TMPDIR=str(tmp_path)))
        works(page, server)
        assert not server.url.endswith(":8888")
        assert list(home.iterdir()) == []
    assert "Traceback" not in log.read_text() and "Warning" not in log.read_text()


def test_notebooks_that_cannot_be_written(page: "Page", checkout: Path, tmp_path: Path) -> None:
    """They run all the same; JupyterLab says from the beginning that they cannot be saved; they stay as they are."""
    before = (checkout / FIRST).read_bytes()
    with read_only(checkout / "notebooks"), opened(checkout, tmp_path / "lab.log", as_anybody()) as server:
        works(page, server)
        page.get_by_text("notebook is read-only").wait_for()
        page.evaluate("() => { jupyterapp.commands.execute('docmanager:save') }")
        page.locator(".jp-Dialog", has_text="Cannot Save").wait_for()
    assert (checkout / FIRST).read_bytes() == before


def test_no_network_from_the_first_command_after_the_install(browser: "Browser", tmp_path: Path) -> None:
    """JupyterLab, a kernel and Chromium, all where only loopback is to be found: the first test here, run there."""
    name = test_an_awkward_folder_a_busy_port_and_a_home_that_cannot_be_written.__name__
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::{name}"]
    done = subprocess.run(
        [*without_network(), *command], cwd=notebooks.ROOT, capture_output=True, text=True, timeout=180
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


# ---------------------------------------------------------------------- a kernel that is killed

BUSY = """\
import os, pathlib
if not pathlib.Path("been-here").exists():
    pathlib.Path("been-here").write_text(str(os.getpid()))
    while True:
        lab.allocate(1000), lab.undo()
"""


def test_a_kernel_killed_in_the_middle_of_a_run(page: "Page", lab_server: LabServer) -> None:
    """JupyterLab says so and starts another; the picture says that nobody answers, until all is run again."""
    been_here = lab_server.folder / "been-here"
    been_here.write_text("not yet")
    panel = show(page, lab_server, "killed.ipynb", "from zbudlab import BuddyLab\nlab = BuddyLab()\nlab", BUSY)
    line = panel.locator(".zl-line").first
    been_here.unlink()
    page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")
    end = time.monotonic() + SECONDS
    while not (been_here.exists() and been_here.read_text()):
        assert time.monotonic() < end, "the cell has not begun to run"
        page.wait_for_timeout(50)
    os.kill(int(been_here.read_text()), signal.SIGKILL)
    told = page.locator(".jp-Dialog", has_text="appears to have died. It will restart automatically")
    told.get_by_role("button", name="Ok").click()
    allocate = panel.get_by_role("button", name="Allocate")
    for press in (panel.locator("[data-part='event:1']").first, allocate):
        press.click()
        expect(line, "The kernel does not answer")
        line.evaluate("line => { line.textContent = '' }")
    seen: Any = page
    assert seen.errors == ["page error: Cannot send"], "ipywidgets' own, of its button"
    seen.errors.clear()
    run_again(page)
    allocate.click()
    expect(line, "alloc 1,216 B = 19 chunks: p2 LAST")


# ---------------------------------------------------------------------- a soak, shortened


def test_ten_seconds_of_random_clicking(page: "Page", lab_server: LabServer) -> None:
    """What `lab.py bench --soak` does for half an hour."""
    soaked = soak(page, lab_server, seconds=10)
    assert soaked.failures == []
    assert soaked.clicks > 20 and soaked.rests[-1]["events"] > 10
    for what, bound in BOUNDS.items():
        assert soaked.grown(what) <= bound, what


# ---------------------------------------------------------------------- every notebook elsewhere


@pytest.fixture(scope="module")
def notebook_7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A Notebook 7 on a copy of the notebooks, which are trusted, as zbudlab's own way to open them has it."""
    private = tmp_path_factory.mktemp("notebook7")
    folder = private / "notebooks"
    shutil.copytree(notebooks.FOLDER, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    kept = {"db_file": str(private / "signatures.db"), "secret_file": str(private / "secret")}
    (private / "config").mkdir()
    (private / "config" / "jupyter_config.json").write_text(json.dumps({"NotebookNotary": kept}))
    notary = NotebookNotary(**kept)
    for path in folder.rglob("*.ipynb"):
        notary.sign(nbformat.read(path, as_version=4))
    notary.store.close()
    with running_lab(folder, private, notebook=True) as server:
        yield server


def pictures(path: Path) -> list[Any]:
    """The pictures saved in a notebook: what has an SVG in it, and the text that says the same."""
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    saved = [output.get("data", {}).get("text/html", "") for output in outputs]
    found = [svg.parent for text in saved if "<svg" in text for svg in BeautifulSoup(text, "html.parser").select("svg")]
    assert found, "every notebook shows something"
    return found


@pytest.fixture
def page_7(page: "Page") -> Iterator["Page"]:
    """A page for Notebook 7, which trips over its own settings, with and without us; that does not count."""
    yield page
    own: Any = page
    own.errors[:] = [
        error for error in own.errors if "Cannot read properties of undefined (reading 'schema')" not in error
    ]


def test_notebook_7_opens_every_notebook_shows_what_is_saved_and_runs_one(
    page_7: "Page", notebook_7: LabServer
) -> None:
    shown, popped_up = {}, []
    for book in BOOKS:
        panel = open_notebook(page_7, notebook_7, book.name)
        shown[book.name] = panel.locator(".jp-OutputArea svg > title").all_text_contents()
        popped_up += page_7.locator(".jp-Dialog").all_inner_texts()
        notebook_7.stop_kernels()
    assert shown == {book.name: [picture.title.text for picture in pictures(book)] for book in BOOKS}
    assert popped_up == []
    panel = run_all_cells(page_7, notebook_7, BOOKS[0].name)
    panel.locator(".zl-view [data-part='FIRST:0']").first.click()
    expect(panel.locator(".zl-line").first, r"free p0 FIRST, 9 chunks")


@pytest.fixture(scope="module")
def exporter() -> Any:
    return nbconvert.HTMLExporter()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", EDITIONS, ids=lambda path: path.parent.name[0] + path.name[:2])
def test_nbconvert_makes_a_page_of_it_with_every_saved_picture_and_its_text(exporter: Any, path: Path) -> None:
    body, _ = exporter.from_filename(str(path))
    found = [svg.parent for svg in BeautifulSoup(body, "html.parser").select(".jp-OutputArea svg")]
    assert [drawn(picture) for picture in found] == [drawn(picture) for picture in pictures(path)]
    assert all(picture.pre.text.strip() and picture.title.text for picture in found)


def drawn(picture: Any) -> tuple[str, list[str]]:
    """All words of a picture, with the text beside it, and its shapes by kind."""
    return picture.text, [tag.name for tag in picture.svg.find_all()]
