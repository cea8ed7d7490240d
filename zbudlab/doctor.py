"""Is everything here that the course needs?  One line a check, with a remedy where it fails, in under two seconds."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .course import CourseError, checkout, notebooks
from .here import IN_BROWSER


def again() -> str:
    """The remedy for packages that are missing or old: lab.py's, or that of who installed zbudlab by other means."""
    if checkout():
        return "run python3 lab.py again (Windows: py lab.py); it repairs its own environment"
    return "install zbudlab again with pip, which brings what it needs"


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, what was seen, and what to do if it is not."""

    what: str
    well: bool
    seen: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'ok  ' if self.well else 'MEND'}  {self.what:<14} {self.seen}"
        return line if self.well else f"{line}: {self.remedy}"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def check_python() -> Iterator[Finding]:
    seen = f"{platform.python_version()} on {platform.system() or sys.platform}"
    yield Finding("Python", sys.version_info >= (3, 11), seen, "3.11 or newer is needed; python.org has it")


def check_packages() -> Iterator[Finding]:
    """The run-time requirements as the installed package states them, and whether they are met."""
    try:
        required = importlib.metadata.requires("zbudlab") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("zbudlab", False, "not installed, only lying here", again())
        return
    for requirement in required:
        name, least = re.split(r">=|;", requirement)[:2] if ">=" in requirement else (requirement, "0")
        if "extra ==" in requirement:
            continue
        try:
            seen = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = Finding(name, False, "not installed", again())
            yield found if not IN_BROWSER else Finding(name, True, "not in the browser edition: what needs it says so")
            continue
        yield Finding(name, _version(seen) >= _version(least), seen, f"{least} or newer is needed; {again()}")


def check_model() -> Iterator[Finding]:
    """Two zpages in one page, and the page back: in every version."""
    from .versions import VERSIONS
    from .zbud import ZbudPool

    for version in VERSIONS:
        pool = ZbudPool(version, 2)
        first, last = pool.alloc(1000), pool.alloc(1500)
        pool.check()
        shared = pool.pages_nr == 1
        pool.free(first)
        pool.free(last)
        if not shared or pool.pages_nr:
            yield Finding(
                "the model", False, f"zbud {version} misplaces a zpage", "the files were changed; clone again"
            )
            return
    yield Finding("the model", True, f"{len(VERSIONS)} versions of zbud put two zpages into one page")


def check_corpus() -> Iterator[Finding]:
    from .workload import WorkloadError, corpus

    try:
        yield Finding("real pages", True, f"{len(corpus())} in the corpus")
    except WorkloadError as error:
        yield Finding("real pages", False, str(error), "clone or install again")


def check_notebooks() -> Iterator[Finding]:
    """The course itself, and whether it can be saved where it lies."""
    try:
        folder = notebooks()
    except CourseError:
        yield Finding("notebooks", False, "the folder is missing", "clone or install again")
        return
    seen = f"{len(list(folder.glob('*.ipynb')))} notebooks"
    if IN_BROWSER:
        seen += "; what is changed in them is kept in this browser"
    elif not checkout():
        seen += "; zbudlab course FOLDER makes a copy to work in"
    elif not os.access(folder, os.W_OK):
        seen += ", in a folder that cannot be written: save copies elsewhere"
    yield Finding("notebooks", True, seen)


def check_browser() -> Iterator[Finding]:
    if IN_BROWSER:
        yield Finding("browser", True, "this one")
        return
    try:
        webbrowser.get()
        seen = "one will open by itself"
    except webbrowser.Error:
        seen = "none found: open the printed address in any browser on this machine"
    yield Finding("browser", True, seen)


def check_room() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding("disk", free > 0.2, f"{free:,.1f} GiB free", "make at least 0.2 GiB free, notebooks are saved there")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    check_model,
    check_corpus,
    check_notebooks,
    check_browser,
    check_room,
)


def findings() -> list[Finding]:
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check()
        except Exception as error:  # a check that breaks has found something, too
            what = check.__name__.removeprefix("check_")
            seen = f"the check itself fails, {type(error).__name__} {error}".split("\n")[0]
            found.append(Finding(what, False, seen, "files were changed or are not all here; clone or install again"))
    return found


def doctor() -> bool:
    """Print a line for each check; True if all is well."""
    found = findings()
    print("\n".join(map(str, found)))
    return all(finding.well for finding in found)
