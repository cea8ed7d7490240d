"""Run the notebooks in fresh kernels and save them as a reader should see them on a plain web page.

    python3 lab.py notebooks [NAME ...]     run and save all, or those whose names contain a word given
    python3 lab.py notebooks --check        run, and say where a saved output differs from the fresh one

Saved outputs carry no times, no widget state, no paths: each live picture is saved as the still picture it came with.
Cells tagged `machine` look at the reader's own machine: they are run, and their outputs are not compared.
A warning is an error in a notebook, and so is a connection to anything but this machine itself.
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

from zbudlab import BuddyLab

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
README_PICTURE = ROOT / "docs" / "buddylab.svg"
LIVE = "application/vnd.jupyter.widget-view+json"
START_UP = """
import socket, warnings
warnings.filterwarnings("error")
warnings.filterwarnings("ignore", category=PendingDeprecationWarning, module="ipykernel")  # its own, at shutdown
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


def run(path: Path) -> Any:
    """The notebook, executed in a fresh kernel with normalised outputs.  Raises Failed with the cell and the cause."""
    notebook = nbformat.read(path, as_version=4)
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
        except nbclient.exceptions.CellExecutionError as error:
            raise Failed(f"{path.name}: {error}") from None
    return normalised(notebook, path.name)


def normalised(notebook: Any, name: str) -> Any:
    """The same notebook with tidy metadata, ids, counts and outputs.  Raises Failed for an output nobody should see."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat_minor = 5
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{name[:2]}-{number:02}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [_output(output, count, f"{name}, cell {number}") for output in _joined(cell.outputs)]
    return notebook


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
            if "machine" not in cell.metadata.get("tags", []):
                lines += [
                    line for output in cell.get("outputs", []) for text in texts(output) for line in text.splitlines()
                ]
        return lines

    return "\n".join(difflib.unified_diff(readable(saved), readable(fresh), "saved", "fresh", lineterm="", n=1))


def save(notebook: Any, path: Path) -> None:
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


def readme_picture() -> str:
    """The picture at the top of the README: what BuddyLab shows when it starts."""
    return BuddyLab().picture().file()


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="lab.py notebooks", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only notebooks whose names contain this")
    parser.add_argument("--check", action="store_true", help="save nothing; exit with 1 if a saved output differs")
    arguments = parser.parse_args(words)
    wanted = arguments.names or [""]
    paths = [path for path in sorted(FOLDER.glob("[0-9]*.ipynb")) if any(name in path.name for name in wanted)]
    if not paths:
        parser.error(f"no notebook's name contains {' or '.join(wanted)}")
    worst = 0
    if not arguments.check:
        README_PICTURE.write_text(readme_picture(), encoding="utf-8", newline="\n")
    for path in paths:
        print(f"{path.name} ...", flush=True)
        try:
            fresh = run(path)
        except Failed as error:
            print(error, file=sys.stderr)
            worst = 1
            continue
        changed = difference(nbformat.read(path, as_version=4), fresh)
        if not arguments.check:
            save(fresh, path)
        elif changed:
            print(changed)
            worst = 1
    return worst


if __name__ == "__main__":
    sys.exit(main())
