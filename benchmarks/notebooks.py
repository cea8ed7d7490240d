"""The course, executed headless: how long each notebook takes, when the first picture stands, what a kernel holds."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from benchmarks import Row, progress, row

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
TOTAL, SLOWEST, FIRST, MEMORY = 90.0, 20.0, 3.0, 150.0  # seconds, seconds, seconds, MB: the goals
HELD = """
import resource, sys
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))
"""


def run(quick: bool = False) -> Iterator[Row]:
    took: dict[str, float] = {}
    held: dict[str, float] = {}
    first = 0.0
    for path in sorted(FOLDER.glob("[0-9]*.ipynb"))[: 2 if quick else None]:
        progress(f"notebooks: {path.name}")
        notebook, seconds = executed(path)
        took[path.name], held[path.name] = seconds, float(notebook.cells[-1].outputs[0].text)
        if not first:
            first = _seconds_of(next(cell for cell in notebook.cells if cell.cell_type == "code"))
    slowest, fullest = max(took, key=lambda name: took[name]), max(held, key=lambda name: held[name])
    total = sum(took.values())
    yield row(f"{len(took)} notebooks executed", total, "s", at_most=TOTAL)
    yield row(
        f"the slowest, {slowest[:2]}", took[slowest], "s", against=("all", took[slowest] / total), at_most=SLOWEST
    )
    yield row("first live picture in a fresh kernel", first, "s", at_most=FIRST)
    yield row(f"most memory at the end, {fullest[:2]}", held[fullest], "MB", at_most=MEMORY)


def executed(path: Path) -> tuple[Any, float]:
    """The notebook run in a fresh kernel, with a cell at its end that tells what the kernel held; and the seconds."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(HELD))
    with tempfile.TemporaryDirectory() as private:
        start = time.perf_counter()
        client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}})
        client.execute(env=os.environ | {"IPYTHONDIR": private})
        return notebook, time.perf_counter() - start


def _seconds_of(cell: Any) -> float:
    """How long the kernel was busy with a cell."""
    told = cell.metadata.execution
    busy, idle = (datetime.fromisoformat(told[f"iopub.status.{state}"]) for state in ("busy", "idle"))
    return (idle - busy).total_seconds()
