"""The course, executed headless: how long each notebook takes, when the first picture stands, what a kernel holds."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import nbclient
import nbformat

from benchmarks import Row, progress, row

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
TOTAL, SLOWEST, FIRST, MEMORY = 90.0, 20.0, 3.0, 150.0  # seconds, seconds, seconds, MB: the goals
EMPTY = "empty notebook"
HELD = """
import pathlib, resource, sys
status = pathlib.Path("/proc/self/status")
if status.exists():  # Linux; there ru_maxrss would be at least what the process held that started this one
    print(int(status.read_text().partition("VmHWM:")[2].split()[0]) / (1 << 10))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))
"""


def run(quick: bool = False) -> Iterator[Row]:
    took: dict[str, float] = {}
    held: dict[str, float] = {}
    first, bare, bare_held = 0.0, list[float](), list[float]()
    for path in sorted(FOLDER.glob("[0-9]*.ipynb"))[: 2 if quick else None]:
        progress(f"notebooks: {path.name}")
        notebook, took[path.name] = executed(nbformat.read(path, as_version=4))
        held[path.name] = float(notebook.cells[-1].outputs[0].text)
        if not first:
            first = _seconds_of(next(cell for cell in notebook.cells if cell.cell_type == "code"))
        empty, seconds = executed(nbformat.v4.new_notebook())
        bare.append(seconds)
        bare_held.append(float(empty.cells[-1].outputs[0].text))
    slowest, fullest = max(took, key=lambda name: took[name]), max(held, key=lambda name: held[name])
    total, one = sum(took.values()), median(bare)
    yield row(
        f"{len(took)} notebooks executed", total, "s", (f"{len(took)} {EMPTY}s", total / sum(bare)), at_most=TOTAL
    )
    against = (f"an {EMPTY}", took[slowest] / one)
    yield row(f"the slowest notebook, {slowest[:2]}", took[slowest], "s", against, at_most=SLOWEST)
    yield row("first live picture in a fresh kernel", first, "s", (f"an {EMPTY}", first / one), at_most=FIRST)
    against = (f"an {EMPTY}'s kernel", held[fullest] / median(bare_held))
    yield row(f"most memory that a kernel held, {fullest[:2]}", held[fullest], "MB", against, at_most=MEMORY)


def executed(notebook: Any) -> tuple[Any, float]:
    """The notebook run in a fresh kernel, with a cell at its end that tells what the kernel held; and the seconds."""
    notebook.cells.append(nbformat.v4.new_code_cell(HELD))
    with tempfile.TemporaryDirectory() as private:
        start = time.perf_counter()
        client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(FOLDER)}})
        client.execute(env=os.environ | {"IPYTHONDIR": private})
        return notebook, time.perf_counter() - start


def _seconds_of(cell: Any) -> float:
    """How long the kernel was busy with a cell."""
    told = cell.metadata.execution
    busy, idle = (datetime.fromisoformat(told[f"iopub.status.{state}"]) for state in ("busy", "idle"))
    return (idle - busy).total_seconds()
