"""Run something on the oldest packages that pyproject.toml allows.

    python3 lab.py test --lowest [--quick] [WORDS FOR PYTEST]

Each lower bound becomes a pin, in an environment of its own, .venv-lowest; what those packages need in turn is the
newest that suits them.  The environment is made again when a bound has changed, or the Python.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENV = ROOT / ".venv-lowest"
STAMP = ENV / "zbudlab.pins"  # written last


def pins(pyproject: str) -> list[str]:
    """The packages of the course and of its tests, each at its lower bound.

    Raises ValueError for a requirement that is not a name and a lower bound.

    >>> pins('[project]\\ndependencies = ["numpy>=2.0"]\\n[project.optional-dependencies]\\ntest = ["pytest>=8.3.1"]')
    ['numpy==2.0', 'pytest==8.3.1']
    """
    project = tomllib.loads(pyproject)["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for requirement in needed:
        if not re.fullmatch(r"[\w-]+>=[\w.]+", requirement):
            raise ValueError(f"{requirement} has no lower bound alone, so there is nothing to pin it to")
    return [requirement.replace(">=", "==") for requirement in needed]


def make(wanted: list[str]) -> Path:
    """The environment's Python; made unless it is there with these packages.  Raises CalledProcessError."""
    python = ENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = "\n".join([sys.version, *wanted])
    if python.exists() and STAMP.is_file() and STAMP.read_text(encoding="utf-8") == stamp:
        return python
    if ENV.exists():
        shutil.rmtree(ENV)
    print(f"making {ENV.name}, with the oldest packages: a minute or two", flush=True)
    subprocess.run([sys.executable, "-m", "venv", ENV], check=True)
    quiet = ["--no-input", "--disable-pip-version-check", "--quiet"]
    subprocess.run([python, "-m", "pip", "install", *quiet, "--editable", ROOT, *wanted], check=True)
    STAMP.write_text(stamp, encoding="utf-8")
    return python


def main(words: list[str]) -> int:
    try:
        python = make(pins((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    except subprocess.CalledProcessError as error:
        print(f"{ENV.name} was not made, for the reason above (exit code {error.returncode})", file=sys.stderr)
        return 1
    return subprocess.run([python, *words], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
