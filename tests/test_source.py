"""The source passes its linter and its type checker; the settings of both are in pyproject.toml."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "zbudlab"


def complaints(*command: str) -> str:
    """What `python -m command` says when it is not content."""
    line = [sys.executable, "-m", *command]
    done = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    return done.stdout if done.returncode else ""


def test_ruff_is_content() -> None:
    if said := complaints("ruff", "check", "--output-format=concise", "."):
        pytest.fail(said, pytrace=False)


@pytest.mark.slow
def test_mypy_is_content() -> None:
    if said := complaints("mypy"):
        pytest.fail(said, pytrace=False)


def imported(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports when it is imported itself."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            whole = [*package[: len(package) - node.level + 1], *(node.module.split(".") if node.module else ())]
            yield from whole[1:2] or [name.name for name in node.names]


def test_each_module_imports_only_from_what_the_readme_has_above_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = readme.partition("| module | holds |")[2].partition("\n\n")[0].splitlines()[2:]
    place = {name: i for i, row in enumerate(rows) for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}
    modules = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert set(place) == modules - {"__init__"}
    for path in PACKAGE.rglob("*.py"):
        me = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for other in imported(path) if me != "__init__" else ():
            assert other not in place or place[other] <= place[me], f"{path.name} of {me} imports {other}"
