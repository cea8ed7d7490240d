"""The source passes its linter and its type checker; the settings of both are in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
