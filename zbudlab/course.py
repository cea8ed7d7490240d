"""The course itself: where it lies, a copy of it in a folder of the reader's own, and JupyterLab on such a folder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import webbrowser
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from urllib.parse import quote

PACKAGE = Path(__file__).resolve().parent
START = "00-start-here.ipynb"
HOMES = ("JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR")  # what would be kept in the home folder


class CourseError(Exception):
    """Something that cannot be done with the course; one sentence with the reason and what to do."""


def checkout() -> Path | None:
    """The folder of lab.py, if this is the package of a checkout and not an installed copy of it."""
    return PACKAGE.parent if (PACKAGE.parent / "lab.py").is_file() else None


def notebooks() -> Path:
    """The folder of the course: in an installed package inside it, in a checkout beside it.

    Raises CourseError if the first notebook is at neither place.
    """
    for folder in (PACKAGE / "notebooks", PACKAGE.parent / "notebooks"):
        if (folder / START).is_file():
            return folder
    raise CourseError("the notebooks are missing: clone or install zbudlab again")


# ---------------------------------------------------------------------- a copy


def copy(folder: Path) -> None:
    """Copy the course into a folder that is empty, or new: then it is made, with those above it that are missing.

    Raises CourseError if something lies there already, or if it cannot be written.  Whatever ends the copy before it is
    whole, what was made is taken away again.  Nothing is ever overwritten: each file is made as a new one, by the
    system's word.
    """
    source, made = notebooks(), list[Path]()
    paths = [path for path in sorted(source.rglob("*")) if _belongs(path.relative_to(source))]
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise CourseError(f"{folder} is not empty, and nothing is overwritten: {_instead(folder)}")
        for above in (*reversed(folder.parents), folder):
            if not above.is_dir():
                above.mkdir()
                made.append(above)
        for path in paths:
            _copy_one(path, folder / path.relative_to(source), made)
    except BaseException as error:  # Ctrl-C, too
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            reason = f"the course cannot be copied to {folder} ({error.strerror or error})"
            raise CourseError(f"{reason}: give a folder that you may write, on a disk with room") from error
        raise


def _belongs(path: Path) -> bool:
    """Whether a path in the folder of the course is part of it; checkpoints and caches are not."""
    return not any(part.startswith((".", "__")) for part in path.parts)


def _instead(folder: Path) -> str:
    there = f", or open the course that is there: zbudlab open {folder}" if (folder / START).is_file() else ""
    return f"give a new or an empty folder{there}"


def _copy_one(path: Path, target: Path, made: list[Path]) -> None:
    """Copy a file, or make a folder, where nothing is; note in `made` that it is there."""
    if path.is_dir():
        target.mkdir()
        made.append(target)
        return
    with target.open("xb") as file:  # x: an error if there is one
        made.append(target)
        file.write(path.read_bytes())


# ---------------------------------------------------------------------- JupyterLab


def open_lab(folder: Path, port: int | None = None, browser: bool = True, settings: Path | None = None) -> int:
    """Run JupyterLab on a folder that holds the course, or holds it in `notebooks`, until it ends; its exit status.

    It listens on localhost only, with a new token.  Jupyter's settings are kept in `settings` (by default in a folder
    of their own among Jupyter's data), so that nobody's private ones get in; there the notebooks of the course are
    signed, for JupyterLab shows the saved pictures of trusted notebooks only.  Without a `port` a free one is found.

    Raises CourseError if the course is not in the folder, the port is taken, or the settings cannot be written.
    """
    start = _start(folder)
    if port:
        _check_port(port)
    browser = browser and _browser_found()
    with _homes() as homes:
        os.environ |= homes
        kept = settings or Path(import_module("jupyter_core.paths").jupyter_data_dir(), "zbudlab")
        try:
            _write_settings(kept)
        except OSError as error:
            reason = f"Jupyter's settings cannot be kept in {kept} ({error.strerror or error})"
            raise CourseError(f"{reason}: name another folder with --settings") from error
        os.environ["JUPYTER_CONFIG_DIR"] = str(kept)
        os.environ.pop("JUPYTER_TOKEN", None)  # a fresh one each time, printed with the address
        print("zbudlab: starting JupyterLab; Ctrl-C in this window ends it.", flush=True)
        return _run_jupyterlab(flags(folder, start, port, browser))


def flags(folder: Path, start: str, port: int | None, browser: bool) -> list[str]:
    """JupyterLab's command line: for one person, on this machine."""
    given: dict[str, object] = {
        "ServerApp.ip": "localhost",
        "ServerApp.root_dir": folder.absolute(),
        "LabApp.default_url": f"/lab/tree/{quote(start)}",
        "ServerApp.open_browser": browser,
        "ServerApp.use_redirect_file": False,  # a browser from a snap or flatpak may not read the hidden file
        "ServerApp.answer_yes": True,  # Ctrl-C means it
        "Application.log_level": "ERROR",  # the address is printed all the same
        "KernelManager.transport_encryption": "auto",  # nobody else on this machine reads along
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
    }
    if port:
        given |= {"ServerApp.port": port, "ServerApp.port_retries": 0}
    if getattr(os, "geteuid", lambda: 1)() == 0:  # in a container, say
        given["ServerApp.allow_root"] = True
    return [f"--{name}={value}" for name, value in given.items()]


def _start(folder: Path) -> str:
    """The first notebook, as a path from the folder."""
    with contextlib.suppress(OSError):  # somebody else's folder
        for start in (START, f"notebooks/{START}"):
            if (folder / start).is_file():
                return start
    raise CourseError(f"the course is not in {folder}: copy it into a new folder, with zbudlab course FOLDER")


def _check_port(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        remedy = "give another with --port, or leave it out and a free one is found"
        raise CourseError(f"port {port} cannot be had ({error.strerror}): {remedy}") from error


def _browser_found() -> bool:
    try:
        webbrowser.get()
    except webbrowser.Error:
        print("zbudlab: no web browser was found here: open the address below in any browser on this machine.")
        return False
    return True


@contextlib.contextmanager
def _homes() -> Iterator[dict[str, str]]:
    """Where Jupyter, IPython and Matplotlib keep things if the home folder cannot be written: only while it runs."""
    if os.access(os.path.expanduser("~"), os.W_OK):  # noqa: PTH111  (Path's raises an error where there is no home)
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="zbudlab-", ignore_cleanup_errors=True) as private:
        yield {name: os.environ.get(name) or str(Path(private, name)) for name in HOMES}


def _write_settings(folder: Path) -> None:
    """No question about news, and a notary of our own, who has seen the notebooks of the course."""
    overrides = folder / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True, exist_ok=True)
    no_news = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    overrides.write_text(json.dumps(no_news))
    notary = {"db_file": str(folder / "signatures.db"), "secret_file": str(folder / "secret")}
    (folder / "jupyter_config.json").write_text(json.dumps({"NotebookNotary": notary}))
    signer = import_module("nbformat.sign").NotebookNotary(**notary)
    for path in notebooks().rglob("*.ipynb"):  # by what they hold, wherever the copies are
        signer.sign(import_module("nbformat").read(path, as_version=4))
    signer.store.close()


def _run_jupyterlab(arguments: list[str]) -> int:
    import_module("jupyterlab.labapp").main(arguments)
    return 0
