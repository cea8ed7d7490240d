"""Run the notebooks in fresh kernels and save them as a reader should see them on a plain web page.

    python3 lab.py notebooks [NAME ...]     run and save all, or those whose names contain a word given
    python3 lab.py notebooks --check        run, and say where a saved output differs from the fresh one

There are two editions.  notebooks/ is the learner's: a cell tagged `exercise` holds what the exercise begins with, and
gets it from the package.  notebooks/solutions/ is the same, cell for cell, with a cell tagged `solution` after each.

Saved outputs carry no times, no widget state, no paths: each live picture is saved as the still picture it came with.
Cells tagged `machine` look at the reader's own machine: they are run, and their outputs are not compared.
A warning is an error in a notebook, and so is a connection to anything but this machine itself.  For `nbconvert --to
slides` each cell's place is kept in the metadata: by a tag of SLIDES, else a title or a section begins a slide.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from zbudlab import BuddyLab, PeekerBench, SafetyMatrix, ThreadWalk
from zbudlab.draw.palette import with_chips
from zbudlab.exercises import EXERCISES

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
DOCS = ROOT / "docs"  # the pictures of the README
SOLUTIONS = "solutions"  # the folder of the other edition, beside the notebooks
SLIDES = ("slide", "subslide", "fragment", "skip", "notes")
TAGS = ("machine", "predict", "exercise", "solution", "instructor", *SLIDES)
LIVE = "application/vnd.jupyter.widget-view+json"
START_UP = """
import socket, warnings
warnings.filterwarnings("error")
warnings.filterwarnings("ignore", category=PendingDeprecationWarning, module="ipykernel")  # its own, at shutdown
warnings.filterwarnings("ignore", category=DeprecationWarning, module="tornado")  # Python 3.12, 3.13: at the start
_connect = socket.socket.connect
def connect(self, address):
    if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"a notebook must not need the network: {address}")
    return _connect(self, address)
socket.socket.connect = connect
del connect
"""


class Failed(Exception):
    """A notebook that did not run, or that would not be fit to be saved."""


def run(notebook: Any, path: Path) -> Any:
    """The notebook, executed in a fresh kernel as `path`, normalised.  Raises Failed with the cell and the cause."""
    with tempfile.TemporaryDirectory() as private:
        start = Path(private, "profile_default", "startup", "00-lesson.py")
        start.parent.mkdir(parents=True)
        start.write_text(START_UP)
        client = nbclient.NotebookClient(
            notebook,
            timeout=120,
            store_widget_state=False,
            resources={"metadata": {"path": str(path.parent)}},
            extra_arguments=["--IPKernelApp.log_level=40"],
        )
        try:
            client.execute(env=os.environ | {"IPYTHONDIR": private, "PYDEVD_DISABLE_FILE_VALIDATION": "1"})
        except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.DeadKernelError) as error:
            raise Failed(f"{path.name}: {error}") from None
    return normalised(notebook, path.name)


# ---------------------------------------------------------------------- the two editions


def tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def named(cell: Any, call: str) -> str:
    """The name in `call("name")` in a cell; empty if there is none."""
    found = re.search(rf"\b{call}\(\"([\w-]+)\"", cell.source)
    return found.group(1) if found else ""


def exercise_of(cell: Any) -> Any:
    """The exercise of a cell tagged `exercise`.  Raises Failed if it names none that there is."""
    name = named(cell, "exercise")
    if name not in EXERCISES:
        raise Failed(f'a cell tagged exercise has to say exercise("...") with a name from the bank: {cell.source!r}')
    return EXERCISES[name]


def student(notebook: Any) -> Any:
    """The learner's edition: each exercise as it begins.  Done in place."""
    notebook.cells = [cell for cell in notebook.cells if "solution" not in tags(cell)]
    for cell in notebook.cells:
        if "exercise" in tags(cell):
            cell.source = exercise_of(cell).student_cell
    return notebook


def solved(notebook: Any) -> Any:
    """The other edition of a learner's notebook: a copy, with the solution behind each exercise."""
    copy = nbformat.from_dict(notebook)
    cells = []
    for cell in copy.cells:
        cells.append(cell)
        if "exercise" in tags(cell):
            cells.append(nbformat.v4.new_code_cell(exercise_of(cell).solution_cell, metadata={"tags": ["solution"]}))
    copy.cells = cells
    return copy


def solutions_path(path: Path) -> Path:
    return path.parent / SOLUTIONS / path.name


# ---------------------------------------------------------------------- what is saved


def normalised(notebook: Any, name: str) -> Any:
    """The same notebook with tidy metadata, ids, counts and outputs.  Raises Failed for an output nobody should see."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat_minor = 5
    count, number = 0, -1
    for cell in notebook.cells:
        if "solution" in tags(cell):  # has the number of its exercise, so that the others keep theirs
            cell.id = f"{name[:2]}-{number:02}-solution"
        else:
            number += 1
            cell.id = f"{name[:2]}-{number:02}"
        cell.metadata = nbformat.from_dict(_metadata(cell))
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [_output(output, count, f"{name}, cell {number}") for output in _joined(cell.outputs)]
        else:
            cell.source = with_chips(cell.source)
    return notebook


def _metadata(cell: Any) -> dict[str, Any]:
    """A cell's tags, and where it stands among the slides."""
    strange = set(tags(cell)) - set(TAGS)
    if strange:
        raise Failed(f"unknown tag {', '.join(sorted(strange))}; known: {', '.join(TAGS)}")
    place = next((tag for tag in tags(cell) if tag in SLIDES), "")
    if not place and "instructor" in tags(cell):
        place = "notes"
    if not place and cell.cell_type == "markdown" and re.search("^##? ", cell.source, re.MULTILINE):
        place = "slide"
    metadata: dict[str, Any] = {"slideshow": {"slide_type": place}} if place else {}
    return metadata | ({"tags": tags(cell)} if tags(cell) else {})


def _joined(outputs: list[Any]) -> list[Any]:
    """Neighbouring pieces of one stream as one output: how they were cut depends on the clock."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == "stream" == joined[-1].output_type and output.name == joined[-1].name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _output(output: Any, count: int, where: str) -> Any:
    if output.output_type == "stream" and output.name == "stderr":
        raise Failed(f"{where} wrote to stderr: {output.text}")
    if "data" in output:
        output.metadata = nbformat.from_dict({})
        if "text/html" in output.data:
            output.data.pop(LIVE, None)
        if LIVE in output.data:
            raise Failed(f"{where} shows a widget that has no still picture")
    if output.output_type == "execute_result":
        output.execution_count = count
    for text in texts(output):
        found = re.search(r"(?:/home|/root|/tmp|/usr|/Users)/\S*|[A-Z]:\\\\\S*| at 0x[0-9a-f]{9,}>", text)
        if found:
            raise Failed(f"{where} shows a path or an object's address: {found.group()}")
    return output


def texts(output: Any) -> list[str]:
    """Everything readable in an output, in one order."""
    data = output.get("data", {})
    return [output.text] if output.output_type == "stream" else [str(data[kind]) for kind in sorted(data)]


def difference(saved: Any, fresh: Any) -> str:
    """Where the saved outputs differ from the fresh ones, cells tagged `machine` aside; empty if nowhere."""

    def readable(notebook: Any) -> list[str]:
        lines = []
        for cell in notebook.cells:
            lines.append(f"--- {cell.id}")
            lines += cell.source.splitlines()
            if "machine" not in tags(cell):
                lines += [
                    line for output in cell.get("outputs", []) for text in texts(output) for line in text.splitlines()
                ]
        return lines

    return "\n".join(difflib.unified_diff(readable(saved), readable(fresh), "saved", "fresh", lineterm="", n=1))


def save(notebook: Any, path: Path) -> None:
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


def readme_pictures() -> dict[str, str]:
    """The pictures of the README, by file name: what some instruments show when they are set to a moment."""
    bench = PeekerBench()
    bench.set("four gigabytes")
    matrix = SafetyMatrix()
    matrix.all.value = True
    shown = {"buddylab": BuddyLab(), "peekerbench": bench, "safetymatrix": matrix, "threadwalk": ThreadWalk()}
    return {f"{name}.svg": instrument.picture().file() for name, instrument in shown.items()}


def keep(fresh: Any, place: Path) -> int:
    place.parent.mkdir(exist_ok=True)
    save(fresh, place)
    return 0


def compare(fresh: Any, place: Path) -> int:
    """Say where a saved notebook differs from a fresh one: 1 if anywhere."""
    changed = difference(nbformat.read(place, as_version=4), fresh) if place.exists() else f"{place.name} is missing"
    if changed:
        print(changed)
    return int(bool(changed))


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="lab.py notebooks", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only notebooks whose names contain this")
    parser.add_argument("--check", action="store_true", help="save nothing; exit with 1 if a saved output differs")
    arguments = parser.parse_args(words)
    wanted = arguments.names or [""]
    paths = [path for path in sorted(FOLDER.glob("[0-9]*.ipynb")) if any(name in path.name for name in wanted)]
    if not paths:
        parser.error(f"no notebook's name contains {' or '.join(wanted)}")
    if not arguments.check and not all(os.access(place, os.W_OK) for place in (FOLDER, DOCS)):
        parser.error("the folders notebooks and docs cannot both be written; with --check nothing is")
    worst = 0
    if not arguments.check:
        for name, svg in readme_pictures().items():
            (DOCS / name).write_text(svg, encoding="utf-8", newline="\n")
    for path in paths:
        print(f"{path.name} ...", flush=True)
        try:
            notebook = student(nbformat.read(path, as_version=4))
            editions = {solutions_path(path): run(solved(notebook), path), path: run(notebook, path)}
        except Failed as error:
            print(error, file=sys.stderr)
            worst = 1
            continue
        for place, fresh in editions.items():
            worst = max(worst, keep(fresh, place) if not arguments.check else compare(fresh, place))
    return worst


if __name__ == "__main__":
    sys.exit(main())
