"""How long it takes until zbudlab is there: imports, each in a fresh Python, and `doctor`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks import Row, interleaved, ratio, row

ROOT = Path(__file__).resolve().parent.parent
EMPTY = "a Python that does nothing"
STARTS = {
    "import zbudlab": "import zbudlab",
    "import zbudlab.draw": "import zbudlab.draw",
    "import zbudlab.widgets": "import zbudlab.widgets",
    "doctor": "from zbudlab.__main__ import main; main(['doctor'])",
}


def fresh(code: str) -> Callable[[], object]:
    command = [sys.executable, "-c", code]
    return lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(quick: bool = False) -> Iterator[Row]:
    starts = {name: code for name, code in STARTS.items() if "widgets" not in code or find_spec("ipywidgets")}
    for code in ("pass", *starts.values()):
        fresh(code)()  # once beforehand: bytecode is compiled, files are in memory
    empty, *taken = interleaved(3 if quick else 9, *map(fresh, ("pass", *starts.values())))
    for name, times in zip(starts, taken, strict=True):
        goal = 2000.0 if name == "doctor" else None
        yield row(name, 1e3 * median(times), "ms", (EMPTY, ratio(times, empty)), at_most=goal)
