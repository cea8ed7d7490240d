"""The browser edition: its builder's parts, with no network; then the whole site, built and driven in Chromium."""

import base64
import doctest
import hashlib
import http.server
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import socket
import socketserver
import struct
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from packaging.requirements import Requirement

from tests.browser import expect, run_again, shot
from tests.conftest import no_browser
from tools import site, site_pages
from zbudlab import Memmap, here, survey
from zbudlab.peekers import PEEKERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = [Requirement(line) for line in PROJECT["optional-dependencies"]["site"]]


def test_examples_in_docstrings() -> None:
    done = doctest.testmod(site_pages)
    assert done.attempted
    assert not done.failed


# Its word in lab.py


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """lab.py in another folder, imported; `done` notes what it would install and run there."""
    (tmp_path / "lab.py").write_text((ROOT / "lab.py").read_text(encoding="utf-8"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("lab_of_site", tmp_path / "lab.py")
    assert spec and spec.loader
    lab: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lab)
    lab.done = []
    lab.ENV.mkdir()
    lab.LOG.touch()  # as a step leaves it
    monkeypatch.setattr(lab, "PYTHON", sys.executable)
    monkeypatch.setattr(lab, "ready", lambda: True)
    monkeypatch.setattr(lab, "step", lambda what, *command: lab.done.append([str(word) for word in command]))
    monkeypatch.setattr(lab, "run", lambda *command: lab.done.append(list(command)) or 0)
    return lab


@pytest.mark.parametrize("pin", ["pytest==0.0.1", "no-such-package-here==1.0"])
def test_what_it_is_built_with_is_installed_where_it_is_missing(
    lab: Any, pin: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ZBUDLAB_BROWSER", raising=False)
    (lab.ROOT / "pyproject.toml").write_text(f'[project.optional-dependencies]\nsite = ["{pin}"]\n')
    assert lab.main(["site", "there", "--serve"]) == 0
    install, build = lab.done
    assert "install" in install and install[-1] == pin
    assert build == ["-m", "tools.site", "there", "--serve"]
    assert re.fullmatch(r"zbudlab: adding to \.venv .* MB\. This happens once\.\n", capsys.readouterr().out)
    assert not lab.LOG.exists() and not lab.LOCK.exists()


@pytest.mark.parametrize("word", ["site", "test", "doctor"])
@pytest.mark.parametrize("required", [True, False])
def test_it_is_installed_once_and_for_tests_where_they_must_not_be_skipped(
    lab: Any, word: str, required: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZBUDLAB_BROWSER", "required" if required else "")
    present = f"pytest=={importlib.metadata.version('pytest')}"
    for pin, missing in ((present, False), ("no-such-package-here==1.0", True)):
        (lab.ROOT / "pyproject.toml").write_text(f'[project.optional-dependencies]\nsite = ["{pin}"]\n')
        lab.done.clear()
        assert lab.main([word]) == 0
        wanted = word == "site" or (word == "test" and required)
        assert len(lab.done) == 1 + (wanted and missing)


# Where it goes


@pytest.mark.parametrize("before", ["nothing", "empty", "ours"])
def test_a_site_may_go_there(tmp_path: Path, before: str) -> None:
    folder = tmp_path / "site"
    if before != "nothing":
        folder.mkdir()
    if before == "ours":
        (folder / site.MARK).touch()
        (folder / "index.html").touch()
    assert site.checked(folder) == folder


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_is_not_ours_is_refused_and_stays(tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "thesis"
    kept = place
    if what == "folder":
        place.mkdir()
        kept = place / "chapter"
    kept.write_text("years of work")
    assert site.main([str(place)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(r"zbudlab: \S+thesis (has other things in it|is not a folder).*empty.*\n", said.err)
    assert kept.read_text() == "years of work"


def test_what_was_built_takes_the_place_of_the_old(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "site"
    for text in ("first", "second"):
        with site.replacing(folder) as new:
            (new / text).write_text(text)
        assert [path.name for path in folder.iterdir()] == [text]
        assert [path.name for path in folder.parent.iterdir()] == ["site"]


@pytest.mark.parametrize("end", [site.Failed("no network"), KeyboardInterrupt(), OSError("disk full")])
@pytest.mark.parametrize("before", [False, True])
def test_what_breaks_off_leaves_nothing_half_built(tmp_path: Path, before: bool, end: BaseException) -> None:
    folder = tmp_path / "site"
    if before:
        folder.mkdir()
        (folder / "whole").touch()
    with pytest.raises((site.Failed, KeyboardInterrupt)) as caught, site.replacing(folder) as new:  # noqa: PT012
        (new / "half").touch()
        raise end
    assert "disk full" in str(caught.value) or not isinstance(end, OSError)
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["site", "site/whole"] * before


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(site.Failed, match=r"cannot be written.*somewhere else"),
        site.replacing(tmp_path / "file" / "a"),
    ):
        pass


def test_a_step_that_fails_is_said_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise site.Failed("the network is down")

    def steps(engine: Path, work: Path, new: Path) -> list[Any]:
        return [("first", (new / "index.html").touch), ("second", fail), ("third", pytest.fail)]

    monkeypatch.setattr(site, "steps", steps)
    assert site.main([str(tmp_path / "site")]) == 1
    said = capsys.readouterr()
    assert re.search(r"building.*MB to download.*\n.*1 of 3: first\n.*2 of 3: second\n$", said.out, re.DOTALL)
    assert said.err == "zbudlab: the network is down\n"
    assert list(tmp_path.iterdir()) == []


# What is fetched


class Registry(http.server.BaseHTTPRequestHandler):
    """An npm registry with one package; `answers` is path to bytes, and how many to promise beyond them."""

    answers: dict[str, tuple[bytes, int]] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        body, more = self.answers.get(self.path, (b"", 0))
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body) + more))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address; it is also the one that npm is set to."""
    monkeypatch.setattr(Registry, "answers", {})
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
        yield address
        server.shutdown()


def test_a_file_comes_whole_with_its_progress(registry: str) -> None:
    content = os.urandom(600_000)
    Registry.answers["/file"] = content, 0
    told: list[tuple[int, int]] = []
    assert site.fetched(registry + "file", lambda done, size: told.append((done, size))) == content
    assert told[-1] == (600_000, 600_000)
    assert told == sorted(told)


@pytest.mark.parametrize("path", ["cut", "absent"])
def test_a_file_that_does_not_come_whole(registry: str, path: str) -> None:
    Registry.answers["/cut"] = b"half", 4
    with pytest.raises(site.Unreachable, match=rf"{registry}{path}.*(4 of 8 bytes|Not Found).*same command again"):
        site.fetched(registry + path)


def test_nobody_answers() -> None:
    with pytest.raises(site.Unreachable, match=r"could not be fetched.*network.*proxy"):
        site.fetched("http://127.0.0.1:9/file")


def engine_package(**more: str) -> bytes:
    """An npm package with what is wanted of Pyodide's, and more."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in [*site.ENGINE_FILES, "pyodide.d.ts", *more]:
            info = tarfile.TarInfo(more.get(name, f"package/{name}"))
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    return packed.getvalue()


@pytest.mark.parametrize("right", [True, False])
def test_the_engine_is_held_to_its_digest(
    registry: str, tmp_path: Path, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = engine_package(evil="../../evil")
    described = {"dist": {"tarball": f"{registry}there.tgz"}}
    Registry.answers = {
        f"/pyodide/{site.ENGINE}": (json.dumps(described).encode(), 0),
        "/there.tgz": (packed, 0),
    }
    if right:
        monkeypatch.setattr(site, "ENGINE_DIGEST", base64.b64encode(hashlib.sha512(packed).digest()).decode())
        site.fetch_engine(tmp_path / "a" / "engine")
        written = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
        assert written == {name: name for name in site.ENGINE_FILES}
    else:
        with pytest.raises(site.Failed, match=r"there\.tgz is not the file it ought to be"):
            site.fetch_engine(tmp_path / "a" / "engine")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", [b"<html>", b"{}", b"[1]"])
def test_what_is_no_registry_is_called_so(registry: str, tmp_path: Path, said: bytes) -> None:
    Registry.answers[f"/pyodide/{site.ENGINE}"] = said, 0
    with pytest.raises(site.Failed, match="is that an npm registry"):
        site.fetch_engine(tmp_path / "engine")


@pytest.mark.parametrize(
    ("variable", "npm", "asked"),
    [
        ("https://mirror.example/npm", "https://other.example/", "https://mirror.example/npm/"),
        ("", "https://other.example/\n", "https://other.example/"),
        ("", "undefined", site.NPM),
        ("", None, site.NPM),
    ],
)
def test_the_registry_that_is_asked(
    variable: str, npm: str | None, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", variable)
    answered = SimpleNamespace(returncode=0, stdout=npm)
    monkeypatch.setattr(site.shutil, "which", lambda name: npm and f"/bin/{name}")
    monkeypatch.setattr(site.subprocess, "run", lambda command, **_: answered)
    assert site.registry() == asked


@pytest.mark.parametrize(("said", "kind"), [("ERROR: no route", site.Unreachable), ("ERROR: HASHES", site.Failed)])
def test_packages_that_pip_does_not_bring(
    said: str, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(site, "run", lambda *words, **_: asked.extend(words) or said)
    with pytest.raises(site.Failed, match=f"{said}.*same command again") as caught:
        site.fetch_wheels(tmp_path, tmp_path)
    assert type(caught.value) is kind
    assert {"--require-hashes", "--no-deps", f"--requirement={site.WHEELS}"} <= set(asked)


def test_the_last_word_of_what_failed() -> None:
    assert site.run("json.tool", "--help") == ""
    assert "nowhere.json" in site.run("json.tool", "nowhere.json")


def test_every_package_is_pinned_to_one_file() -> None:
    lines = [line for line in site.WHEELS.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    parsed = [re.fullmatch(r"([a-z-]+)==([\d.]+) --hash=sha256:[0-9a-f]{64}", line) for line in lines]
    assert all(parsed)
    versions = {found[1]: found[2] for found in parsed if found}
    assert len(versions) == len(lines)
    for needed in map(Requirement, PROJECT["dependencies"]):
        if needed.name in versions:
            assert needed.specifier.contains(versions[needed.name])
    (core,) = (pin for pin in PINS if pin.name == "jupyterlite-core")
    assert core.specifier.contains(versions["jupyterlite-pyodide-kernel"])
    assert [[bound.operator for bound in pin.specifier] for pin in PINS] == [["=="]] * len(PINS)


# What is made of it


def wheel(folder: Path, name: str, version: str, *needs: str) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    metadata = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{name}-{version}.data/data/share/{name}.py", "")
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(metadata) + "\n")
    return path


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """Two wheels and a lock that knows one of them, under another spelling."""
    theirs = {"name": "pure_eval", "version": "1.0", "imports": ["pure"], "depends": [], "sha256": "theirs"}
    other = {"name": "numpy", "version": "2.0", "imports": ["numpy"], "depends": [], "sha256": "x"}
    lock = {"info": {"python": "3.14.2"}, "packages": {"pure-eval": theirs, "numpy": other}}
    (tmp_path / site.LOCK).write_text(json.dumps(lock))
    wheel(tmp_path, "pure_eval", "1.0")
    wheel(tmp_path, "zbudlab", "0.1.0", "pure-eval>=0.9", "numpy>=2.0", "pytest; extra == 'test'")
    return tmp_path


def test_the_lock_becomes_one_of_the_wheels_that_are_there(engine: Path) -> None:
    site.relock(engine)
    lock = json.loads((engine / site.LOCK).read_text())
    assert lock["info"] == {"python": "3.14.2"}
    assert list(lock["packages"]) == ["pure-eval", "zbudlab"]
    ours, theirs = lock["packages"]["zbudlab"], lock["packages"]["pure-eval"]
    assert (ours["imports"], ours["depends"]) == (["zbudlab"], ["pure-eval"])
    assert (theirs["imports"], theirs["depends"]) == (["pure"], [])
    for package in (ours, theirs):
        content = (engine / package["file_name"]).read_bytes()
        assert package["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_package_of_another_version_than_the_lock_wants(engine: Path) -> None:
    wheel(engine, "pure_eval", "2.0")
    with pytest.raises(site.Failed, match=r"wants pure-eval 1\.0"):
        site.relock(engine)


def test_a_package_that_others_need_is_missing(engine: Path) -> None:
    lock = json.loads((engine / site.LOCK).read_text())
    lock["packages"]["pure-eval"]["depends"] = ["stack_data"]
    (engine / site.LOCK).write_text(json.dumps(lock))
    with pytest.raises(site.Failed, match="lacks stack-data"):
        site.relock(engine)


def test_a_notebook_for_the_browser_reads_the_same(tmp_path: Path) -> None:
    site.write_notebooks(tmp_path)
    assert len(list(tmp_path.rglob("*.ipynb"))) == len(site.books()) == 18
    for name, path in site.books().items():
        made, saved = json.loads((tmp_path / f"{name}.ipynb").read_text()), nbformat.read(path, as_version=4)
        assert made["metadata"]["kernelspec"] == site.KERNEL
        assert [cell["source"] for cell in made["cells"]] == [cell.source for cell in saved.cells]
        code = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
        assert all(cell["metadata"]["trusted"] for cell in code), "or its saved pictures are not shown"


# The pages to read


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    site.build_pages(folder)
    return folder


@pytest.mark.slow
def test_no_page_asks_for_anything_or_has_a_script(pages: Path) -> None:
    made = list(pages.rglob("*.html"))
    assert len(made) == 19
    for path in made:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<script|<link(?! rel=\"icon\" href=\"data:,\")|<iframe|@import", text), path.name
        assert not re.search(r"""(?:src|srcset|xlink:href)=["'](?!data:)""", text), path.name
        assert not re.search(r"url\((?!#|data:)", text), path.name


@pytest.mark.slow
def test_every_link_leads_somewhere(pages: Path) -> None:
    live = {f"{name}.ipynb" for name in site.books()}
    for path in pages.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        links = [link.replace("&amp;", "&") for link in re.findall(r'<a [^>]*?href="([^"]+)"', text)]
        assert links
        for link in filter(lambda link: not urlsplit(link).scheme and not link.startswith("#"), links):
            parts = urlsplit(link)
            place = (path.parent / parts.path).resolve()
            if parts.query:
                assert place == (pages / "live" / "lab" / "index.html").resolve()
                (notebook,) = parse_qs(parts.query)["path"]
                assert notebook in live
            else:
                assert place.is_file(), f"{link} in {path.name}"


@pytest.mark.slow
def test_a_page_has_the_words_and_the_pictures_of_its_notebook(pages: Path) -> None:
    text = (pages / "read" / "04-peekers.html").read_text(encoding="utf-8")
    assert "<title>Peekers - zbudlab</title>" in text
    assert "At the end of this notebook you can follow a reader of the memmap" in text
    saved = (ROOT / "notebooks" / "04-peekers.ipynb").read_text(encoding="utf-8")
    assert text.count("<svg ") == saved.count("<svg ") > 1
    assert "<summary>the same in text</summary>" in text
    assert 'href="../live/lab/index.html?workspace=04-peekers&amp;path=04-peekers.ipynb"' in text
    assert 'href="../read/03-a-record-with-variants.html"' in text
    solved = (pages / "read" / "solutions" / "04-peekers.html").read_text(encoding="utf-8")
    assert 'href="../../read/solutions/05-the-thread.html"' in solved


def test_what_a_cell_printed_is_text_on_the_page() -> None:
    printed = new_output("stream", name="stdout", text="<script>alert(1)</script> & \x1b[31mred\x1b[0m\n")
    notebook = new_notebook(cells=[new_markdown_cell("# A `b`"), new_code_cell("print(1 < 2)", outputs=[printed])])
    made = site_pages.reading_page(notebook, "00-a", ["00-a"])
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in made
    assert "<script" not in made
    assert "<title>A b - zbudlab</title>" in made
    assert notebook.cells[0].source == "# A `b`"


def test_the_index_has_a_row_for_every_notebook(tmp_path: Path) -> None:
    text = site_pages.index_page(ROOT, list(site.books()))
    assert len(re.findall(r'<tr><th scope="row">\d\d ', text)) == 9
    assert "@" not in re.sub(r"<svg.*?</svg>|<style>.*?</style>", "", text, flags=re.DOTALL)
    (tmp_path / "README.md").write_text("| [00 A](notebooks/00-a.ipynb) | a thing | 10 |\n")
    with pytest.raises(ValueError, match="01-b"):
        site_pages.index_page(tmp_path, ["00-a", "01-b"])


# Showing it


def test_it_is_shown_to_this_machine_only_with_the_types_a_browser_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listened, start = [], site.http.server.ThreadingHTTPServer.__init__
    monkeypatch.setattr(
        site.http.server.ThreadingHTTPServer,
        "__init__",
        lambda self, at, handler: (listened.append(at[0]), start(self, at, handler))[1],
    )
    for name in ("a.mjs", "b.wasm", "c.json", "index.html"):
        (tmp_path / name).write_text("{}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with site.serving(tmp_path) as address:
        assert urlsplit(address).hostname == "127.0.0.1" and listened == ["127.0.0.1"]
        types = {}
        for name in ("a.mjs", "b.wasm", "c.json", ""):
            with opener.open(address + name) as answer:
                types[name] = answer.headers["Content-Type"]
                assert answer.headers["Cache-Control"] == "no-cache"
        with (
            pytest.raises(site.Failed, match=r"cannot be had.*another"),
            site.serving(tmp_path, urlsplit(address).port or 0),
        ):
            pass
    assert types == {
        "a.mjs": "text/javascript",
        "b.wasm": "application/wasm",
        "c.json": "application/json",
        "": "text/html",
    }


def test_ctrl_c_while_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Path) -> list[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(site, "steps", interrupted)
    assert site.main([str(tmp_path / "site")]) == 130
    assert capsys.readouterr().err.startswith("zbudlab: stopped")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [True, False])
def test_serve_builds_only_what_is_not_there(tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if there:
        (tmp_path / site.MARK).touch()
    done: list[Any] = []
    monkeypatch.setattr(site, "build", lambda folder: done.append("build"))
    monkeypatch.setattr(site, "show", lambda *given: done.append(given))
    assert site.main([str(tmp_path), "--serve", "--port", "8123", "--no-browser"]) == 0
    assert done == ["build"] * (not there) + [(tmp_path, 8123, False)]


def test_a_reader_who_goes_away_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "large").write_bytes(bytes(30_000_000))
    with site.serving(tmp_path) as address:
        with socket.create_connection(("127.0.0.1", urlsplit(address).port or 0)) as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            reader.sendall(b"GET /large HTTP/1.0\r\n\r\n")
            assert reader.recv(100).startswith(b"HTTP/1.0 200")
        end = time.monotonic() + 10
        while time.monotonic() < end and any("process_request" in thread.name for thread in threading.enumerate()):
            time.sleep(0.01)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("browser", [True, False])
def test_it_is_shown_until_ctrl_c(
    tmp_path: Path, browser: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.html").write_text("here")
    seen: list[str] = []

    def look(seconds: float) -> None:
        (address,) = re.findall(r"at (http://127\.0\.0\.1:\d+/) \(on this machine only\)", capsys.readouterr().out)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address) as answer:
            assert answer.read() == b"here"
        assert seen == [address] * browser
        raise KeyboardInterrupt

    monkeypatch.setattr(site.webbrowser, "open", seen.append)
    monkeypatch.setattr(site.time, "sleep", look)
    site.show(tmp_path, 0, browser)


# The package without numpy


@pytest.mark.parametrize(("in_browser", "instead"), [(True, "the page to read"), (False, "python3 lab.py")])
def test_without_numpy_a_sentence_says_what_else_there_is(
    in_browser: bool, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.setattr(here, "IN_BROWSER", in_browser)
    memmap = Memmap(4)
    for needs_it in (
        memmap.records,
        memmap.pages,
        lambda: PEEKERS["kpageflags"].scan(memmap),
        lambda: survey.survey("a machine", [], 0),
    ):
        with pytest.raises(here.NotHere, match=rf"with numpy, which .*{instead}.*visit\(memmap, pfn\)") as caught:
            needs_it()
        assert caught.value._render_traceback_() == [str(caught.value)]
        assert str(caught.value).count(". ") == 0


def test_everything_but_whole_memmaps_is_imported_without_numpy() -> None:
    """And without all else that a browser's Python has not."""
    code = """
import importlib, pkgutil, sys
for name in ("numpy", "matplotlib", "jupyterlab", "lz4", "zstandard", "_multiprocessing"):
    sys.modules[name] = None
import zbudlab
for found in pkgutil.walk_packages(zbudlab.__path__, "zbudlab."):
    if found.name not in ("zbudlab.__main__", "zbudlab.peekers.scan"):
        importlib.import_module(found.name)
assert all(getattr(zbudlab, name) for name in zbudlab.__all__)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_errnos_are_linuxs_whatever_the_system_calls_its_own() -> None:
    """In a browser EBUSY is 10, say."""
    code = """
import errno
for name in dir(errno):
    if name.startswith("E"):
        setattr(errno, name, 1000 + getattr(errno, name))
errno.errorcode.clear()
from zbudlab import MOMENTS, PEEKERS
memmap = MOMENTS["two pairs"].build().timeline.pool.memmap
print(PEEKERS["memory_failure"].visit(memmap, 1).value, str(PEEKERS["soft_offline"].visit(memmap, 0)).splitlines()[-1])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"-16 +returned -EIO", done.stdout), done.stdout


# The whole of it

CHROMIUMS_OWN = "content-autofill.googleapis.com"  # which Chromium asks about any page that has something to fill in
LIVE = "window.jupyterapp?.shell.currentWidget"
OPEN_NEXT = """async path => {
    const old = jupyterapp.shell.currentWidget, kernel = old.sessionContext.session.kernel.model;
    const opened = await jupyterapp.commands.execute('docmanager:open', {path, kernel});
    await opened.context.ready;
    await opened.revealed;
    old.dispose();
}"""
ALL_IN_THE_PAGE = (
    f"() => {{ const book = {LIVE}.content; book.notebookConfig = {{...book.notebookConfig, windowingMode: 'none'}}; }}"
)
NOT_RUN = f"""() => [...{LIVE}.content.model.cells].filter(cell => cell.type === 'code' && cell.executionCount === null)
    .map(cell => cell.id)"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site, built from what the registries have."""
    folder = tmp_path_factory.mktemp("browser edition") / "site"
    for pin in PINS:
        try:
            there = pin.specifier.contains(importlib.metadata.version(pin.name))
        except importlib.metadata.PackageNotFoundError:
            there = False
        if not there:
            no_browser(f"{pin} is not installed here: python3 lab.py site installs it")
    try:
        site.build(folder)
    except site.Unreachable as error:
        no_browser(f"the browser edition cannot be built: {error}")
    return folder


@contextmanager
def only_way_out() -> Iterator[tuple[str, list[str]]]:
    """A proxy that lets nothing through, and what it was asked for: workers' requests and service workers' too."""
    asked: list[str] = []

    class Refuse(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            request = self.rfile.readline().decode()
            if CHROMIUMS_OWN not in request:
                asked.append(request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def open_first(page: "Page", address: str) -> None:
    """From the index into the live edition, as a learner goes; its saved pictures are there before anything is run."""
    page.goto(address)
    page.get_by_role("link", name="Begin").click()
    page.locator(".jp-NotebookPanel:visible .jp-Cell").first.wait_for(timeout=60_000)
    page.locator(".jp-OutputArea svg.zl:visible").first.wait_for()
    shot(page, "site-opened")
    page.wait_for_function(f"() => {LIVE}?.sessionContext?.session?.kernel?.status === 'idle'", timeout=90_000)


def try_instruments(page: "Page", book: str) -> None:
    """A click on the instrument that the notebook is about."""
    view = page.locator(".jp-NotebookPanel:visible .zl-view")
    if book.startswith("00"):
        view.first.locator('[data-part="FIRST:0"]').click()
        expect(view.first.locator(".zl-line"), "free p0 FIRST, 9 chunks")
    elif book.startswith("03"):
        xray = view.filter(has=page.locator('[data-part="page:_count"]')).first
        xray.locator('[data-part="page:_count"]').click()
        expect(xray.locator(".zl-line"), r"picked bytes 28 to 31.*_count")
    elif book.startswith("04"):
        view.first.locator('[data-part="reader:soft_offline"]').click()
        expect(view.first.locator(".zl-line"), "soft_offline")
        view.first.locator('[data-part="run:soft_offline"]').click()
        expect(view.first.locator(".zl-line"), "soft_offline at p0: returned -5")


def expect_dark(page: "Page") -> None:
    page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    ink = "getComputedStyle(document.querySelector('.zl-view svg')).getPropertyValue('--zl-Z')"
    page.wait_for_function(f"() => ({ink}).trim() === '#ff7a4d'")


def read_without_script(browser: "Browser", address: str) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(java_script_enabled=False, color_scheme=scheme)  # type: ignore[arg-type]
        with context:
            asked: list[str] = []
            context.on("request", lambda request, asked=asked: asked.append(request.url))
            page = context.new_page()
            page.goto(address)
            shot(page, f"site-index-{scheme}")
            page.get_by_role("link", name="read 04 Peekers").click()
            page.get_by_role("heading", name="Peekers").first.wait_for()
            picture = page.locator("svg.zl").first
            box = picture.bounding_box()
            assert box and box["width"] > 500 and box["height"] > 200
            shot(page, f"site-read-{scheme}")
            assert asked == [address, address + "read/04-peekers.html"]


@pytest.mark.slow
def test_the_whole_course_runs_in_a_browser_that_can_reach_nobody_else(browser: "Browser", built: Path) -> None:
    schema = built / "live" / "extensions" / site.LITE / "static" / "schema" / "kernel.v0.schema.json"
    assert f"/v{site.ENGINE}/" in schema.read_text(encoding="utf-8"), "it is made for another Pyodide"
    complaints: list[str] = []
    with (
        site.serving(built) as address,
        only_way_out() as (proxy, outside),
        browser.new_context(
            viewport={"width": 1280, "height": 1500}, proxy={"server": proxy, "bypass": "127.0.0.1"}
        ) as context,
    ):
        read_without_script(browser, address)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: said.type == "error" and complaints.append(f"{said.text} {said.location}"))
        open_first(page, address)
        for number, book in enumerate(name for name in site.books() if "/" not in name):
            if number:  # in the same Python: to start one takes longer than to run a notebook
                page.evaluate(OPEN_NEXT, f"{book}.ipynb")
            page.evaluate(ALL_IN_THE_PAGE)
            run_again(page)
            assert page.evaluate(NOT_RUN) == [], book
            try_instruments(page, book)
            said = page.locator(".jp-NotebookPanel:visible").inner_text()
            assert ("which the browser edition does not have" in said) == book.startswith("07"), book
            shot(page, f"site-{book}")
        page.emulate_media(color_scheme="dark")  # as if the reader's system turned dark: all follows
        expect_dark(page)
        shot(page, "site-dark")
        assert complaints == []
        assert outside == []
        with pytest.raises(Exception, match="ERR_"):  # and a request to somebody else would have been noticed
            page.goto("http://example.org/")
        assert any("example.org" in asked for asked in outside)
