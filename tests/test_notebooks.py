"""Each notebook, as committed: clean to read, and what it shows is what a fresh run shows."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools import notebooks
from zbudlab.sources import SOURCES

BOOKS = sorted(notebooks.FOLDER.glob("[0-9]*.ipynb"))
MOST = 400_000  # bytes


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def prose(notebook: Any) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_the_course_begins() -> None:
    assert [path.name[:2] for path in BOOKS] == [f"{number:02}" for number in range(len(BOOKS))]
    assert len(BOOKS) >= 2


def test_the_readme_shows_what_the_code_draws() -> None:
    assert notebooks.README_PICTURE.read_text(encoding="utf-8") == notebooks.readme_picture()
    assert notebooks.README_PICTURE.name in (notebooks.ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.name[:2])
class TestAsCommitted:
    def test_it_is_what_the_tool_writes(self, path: Path, tmp_path: Path) -> None:
        """Ids, counts, metadata and outputs are normalised, to the byte."""
        notebook = read(path)
        nbformat.validate(notebook)
        copy = tmp_path / path.name
        notebooks.save(notebooks.normalised(read(path), path.name), copy)
        assert copy.read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
        assert path.stat().st_size < MOST
        assert "widgets" not in notebook.metadata

    def test_every_code_cell_has_run(self, path: Path) -> None:
        cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]

    def test_a_live_picture_by_the_third_cell(self, path: Path) -> None:
        html = [output.data.get("text/html", "") for cell in read(path).cells[:3] for output in cell.get("outputs", [])]
        assert any("<svg" in text for text in html)

    def test_every_picture_has_its_text(self, path: Path) -> None:
        for cell in read(path).cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                if "<svg" in data.get("text/html", ""):
                    assert "<title" in data["text/html"] and "<desc" in data["text/html"]
                    twin = data["text/plain"]
                    assert len(twin.splitlines()) > 1, f"{cell.id}: the text beside the picture is only {twin!r}"

    def test_headings_and_cells_are_as_a_reader_needs_them(self, path: Path) -> None:
        notebook = read(path)
        levels = [len(mark) for mark in re.findall(r"^(#+) ", prose(notebook), re.MULTILINE)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        kinds = [cell.cell_type for cell in notebook.cells]
        assert kinds[0] == "markdown"
        for cell in notebook.cells:
            if cell.cell_type == "code":
                assert len(cell.source.splitlines()) <= 12, cell.source

    def test_links_lead_somewhere(self, path: Path) -> None:
        for target in re.findall(r"\]\(([^)#]+)\)", prose(read(path))):
            assert (path.parent / target).exists(), target

    def test_the_voice(self, path: Path) -> None:
        said = re.findall(r"\b(?:simply|just|obviously|let's dive in)\b|[a-z]!", prose(read(path)), re.IGNORECASE)
        assert said == []


@pytest.mark.slow
@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.name[:2])
def test_a_fresh_run_shows_the_same(path: Path) -> None:
    """In a fresh kernel, offline, with warnings as errors."""
    assert notebooks.difference(read(path), notebooks.run(path)) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings; warnings.warn('old')", "UserWarning"),
        ("import urllib.request; urllib.request.urlopen('http://203.0.113.1/')", "must not need the network"),
        ("import sys; print('!', file=sys.stderr)", "wrote to stderr"),
        ("import ipywidgets; ipywidgets.Button()", "no still picture"),
        ("print('/home' + '/somebody/notes')", "shows a path"),
        ("object()", "an object's address"),
    ],
)
def test_what_is_not_fit_to_be_saved(tmp_path: Path, source: str, complaint: str) -> None:
    path = tmp_path / "99-bad.ipynb"
    cells = [nbformat.v4.new_code_cell(source)]
    path.write_text(json.dumps(nbformat.v4.new_notebook(cells=cells)))
    with pytest.raises(notebooks.Failed, match=complaint):
        notebooks.run(path)


def test_a_changed_output_is_noticed() -> None:
    saved, fresh = read(BOOKS[1]), read(BOOKS[1])
    assert notebooks.difference(saved, fresh) == ""
    cell = next(cell for cell in fresh.cells if cell.get("outputs") and "machine" not in cell.metadata.get("tags", []))
    output = cell.outputs[0]
    output.data["text/plain"] = output.data["text/plain"].replace("zpage", "page")
    assert "-zbud linux-3.11: 2 zpages in 1 page" in notebooks.difference(saved, fresh)


def test_sources_named_in_the_code_exist() -> None:
    package = Path(notebooks.FOLDER.parent, "zbudlab")
    text = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    named = {key for keys in re.findall(r"\(sources? ([\w., -]+?)[);]", text) for key in keys.split(", ")}
    named |= set(re.findall(r"\(source: (\w+)\)", text))
    assert named and named <= set(SOURCES)
