"""Each notebook, as committed: clean to read, and what it shows is what a fresh run shows."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

import zbudlab
from tools import notebooks
from zbudlab.exercises import EXERCISES, PREDICTIONS
from zbudlab.sources import SOURCES

BOOKS = sorted(notebooks.FOLDER.glob("[0-9]*.ipynb"))
LESSONS = [path for path in BOOKS if path.name[:2] != "00"]  # 00 is an entrance, and owes less
EDITIONS = [*BOOKS, *map(notebooks.solutions_path, BOOKS)]
MOST = 400_000  # bytes
INSTRUMENTS = [name for name, module in zbudlab._LATER.items() if module == "widgets"]


def by_name(path: Path) -> str:
    return f"{path.name[:2]}{'-solved' if path.parent.name == notebooks.SOLUTIONS else ''}"


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def prose(notebook: Any) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def tagged(notebook: Any, tag: str) -> list[Any]:
    return [cell for cell in notebook.cells if tag in notebooks.tags(cell)]


def words(notebook: Any) -> int:
    """Words to be read: tables, links' targets and what is for instructors do not count."""
    cells = [cell for cell in notebook.cells if "instructor" not in notebooks.tags(cell)]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    text = re.sub(r"^\|.*$", "", text, flags=re.MULTILINE)
    return len(re.sub(r"\]\([^)]*\)", "]", text).split())


def test_the_course_begins() -> None:
    assert [path.name[:2] for path in BOOKS] == [f"{number:02}" for number in range(len(BOOKS))]
    assert len(BOOKS) >= 2


@pytest.mark.slow
def test_the_readme_shows_what_the_code_draws() -> None:
    readme = (notebooks.ROOT / "README.md").read_text(encoding="utf-8")
    pictures = notebooks.readme_pictures()
    assert sorted(pictures) == sorted(path.name for path in notebooks.DOCS.iterdir())
    for name, svg in pictures.items():
        assert (notebooks.DOCS / name).read_text(encoding="utf-8") == svg
        assert f"(docs/{name})" in readme, name


@pytest.mark.parametrize("path", EDITIONS, ids=by_name)
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
            assert target.startswith("https://") or (path.parent / target).exists(), target

    def test_the_voice(self, path: Path) -> None:
        said = re.findall(r"\b(?:simply|just|obviously|let's dive in)\b|[a-z]!", prose(read(path)), re.IGNORECASE)
        assert said == []


@pytest.mark.parametrize("path", LESSONS, ids=by_name)
class TestEveryLesson:
    """What each notebook but the first owes its reader."""

    def test_its_size(self, path: Path) -> None:
        notebook = read(path)
        assert 25 <= len(notebook.cells) <= 40
        assert 900 <= words(notebook) <= 1600

    def test_its_skeleton(self, path: Path) -> None:
        text = prose(read(path))
        for part in (r"^# ", r"\*\*Questions\.\*\*", r"\*\*Minutes\.\*\*", r"^## Key points$"):
            assert len(re.findall(part, text, re.MULTILINE)) == 1, part
        for part in (r"^(?:## |\*\*)What the model leaves out", r"^(?:## |\*\*)Next"):
            assert re.search(part, text, re.MULTILINE), part

    def test_prose_before_each_code_cell(self, path: Path) -> None:
        for before, cell in itertools.pairwise(read(path).cells):
            if cell.cell_type == "code" and "exercise" not in notebooks.tags(cell):
                assert before.cell_type == "markdown", cell.source

    def test_at_most_three_instruments(self, path: Path) -> None:
        code = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
        assert len(re.findall(rf"\b(?:{'|'.join(INSTRUMENTS)})\(", code)) <= 3

    def test_its_predictions(self, path: Path) -> None:
        cells = tagged(read(path), "predict")
        names = [notebooks.named(cell, "predict") for cell in cells]
        assert 3 <= len(names) == len(set(names)) <= 4
        for cell, name in zip(cells, names, strict=True):
            assert PREDICTIONS[name].notebook == path.name[:2]
            assert cell.source.splitlines()[-1] == f'predict("{name}")'  # shown, and the question of the book
            assert name in cell.outputs[-1].data["text/plain"]

    def test_its_exercises(self, path: Path) -> None:
        notebook = read(path)
        cells = tagged(notebook, "exercise")
        names = [notebooks.named(cell, "exercise") for cell in cells]
        assert 1 <= len(names) == len(set(names)) <= 3
        for cell, name in zip(cells, names, strict=True):
            assert EXERCISES[name].notebook == path.name[:2]
            shown = notebook.cells[notebook.cells.index(cell) - 1]
            assert shown.source.splitlines()[-1] == f'exercise("{name}")'
            assert cell.outputs[-1].data["text/plain"].startswith("not yet: ")

    def test_a_word_to_instructors(self, path: Path) -> None:
        (cell,) = tagged(read(path), "instructor")
        assert cell.cell_type == "markdown"
        assert cell.source.startswith("<details><summary>") and cell.source.endswith("</details>")


def test_all_three_kinds_of_exercise_are_met() -> None:
    cells = [cell for path in BOOKS for cell in tagged(read(path), "exercise")]
    met = {EXERCISES[notebooks.named(cell, "exercise")].kind for cell in cells}
    assert len(LESSONS) < 8 or met == {"fill in", "bug hunt", "adversarial"}


@pytest.mark.parametrize("path", BOOKS, ids=by_name)
class TestTwoEditions:
    def test_they_are_equal_cell_for_cell_but_for_the_solutions(self, path: Path) -> None:
        learners, solved = read(path).cells, read(notebooks.solutions_path(path)).cells
        rest = [cell for cell in solved if "solution" not in notebooks.tags(cell)]
        assert [(c.id, c.cell_type, c.metadata) for c in learners] == [(c.id, c.cell_type, c.metadata) for c in rest]
        for one, other in zip(learners, rest, strict=True):
            assert one.source == other.source
            if "machine" not in notebooks.tags(one):
                said, says = ([notebooks.texts(o) for o in cell.get("outputs", [])] for cell in (one, other))
                assert said == says, one.id

    def test_a_solution_stands_behind_each_exercise_and_is_right(self, path: Path) -> None:
        cells = read(notebooks.solutions_path(path)).cells
        for before, cell in itertools.pairwise(cells):
            assert ("exercise" in notebooks.tags(before)) == ("solution" in notebooks.tags(cell))
            if "solution" in notebooks.tags(cell):
                name = notebooks.named(before, "exercise")
                assert before.source == EXERCISES[name].student_cell
                assert cell.source == EXERCISES[name].solution_cell
                assert cell.outputs[-1].data["text/plain"].startswith("right: ")

    def test_no_solution_is_given_away_in_the_learners_edition(self, path: Path) -> None:
        assert tagged(read(path), "solution") == []


def test_there_is_no_solution_without_its_notebook() -> None:
    assert {p.name for p in (notebooks.FOLDER / notebooks.SOLUTIONS).glob("*.ipynb")} == {p.name for p in BOOKS}


def small(*cells: Any) -> Any:
    return nbformat.v4.new_notebook(cells=list(cells))


def code(source: str, *tags: str) -> Any:
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})


def test_the_editions_are_made_from_the_bank() -> None:
    notebook = small(code("1"), code('exercise("offsets").check(42)', "exercise"), code("old", "solution"), code("2"))
    learners = notebooks.student(notebook)
    assert [cell.source for cell in learners.cells] == ["1", EXERCISES["offsets"].student_cell, "2"]
    solved = notebooks.solved(learners)
    assert [cell.source for cell in solved.cells][2] == EXERCISES["offsets"].solution_cell
    assert len(learners.cells) == 3 and len(solved.cells) == 4
    solved.cells[0].source = "other"
    assert learners.cells[0].source == "1"  # a copy
    ids = [cell.id for cell in notebooks.normalised(solved, "04-x.ipynb").cells]
    assert ids == ["04-00", "04-01", "04-01-solution", "04-02"]


@pytest.mark.parametrize("source", ["check(offset)", 'exercise("no such").check(1)', 'exercise("nothing").check(1)'])
def test_an_exercise_that_is_not_in_the_bank(source: str) -> None:
    with pytest.raises(notebooks.Failed, match="name from the bank"):
        notebooks.student(small(code(source, "exercise")))


def test_an_unknown_tag() -> None:
    with pytest.raises(notebooks.Failed, match="unknown tag nonsense"):
        notebooks.normalised(small(code("1", "nonsense", "machine")), "04-x.ipynb")


def test_where_the_slides_begin() -> None:
    cells = [nbformat.v4.new_markdown_cell(text) for text in ("# Title", "text", "so.\n\n## On", "### Below")]
    aside = nbformat.v4.new_markdown_cell("aside", metadata={"tags": ["instructor"]})
    normal = notebooks.normalised(small(*cells, code("1"), code("2", "fragment"), aside), "04-x.ipynb")
    places = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in normal.cells]
    assert places == ["slide", None, "slide", None, None, "fragment", "notes"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_slides_can_be_made_of_a_notebook() -> None:
    """As `jupyter nbconvert --to slides` does.  Nothing is fetched for that; who shows them fetches reveal.js."""
    from nbconvert import SlidesExporter

    notebook = read(LESSONS[0])
    body, _ = SlidesExporter().from_notebook_node(notebook)
    begun = sum(cell.metadata.get("slideshow", {}).get("slide_type") == "slide" for cell in notebook.cells)
    assert begun >= 8
    assert body.count("<section>") >= begun
    assert body.count('<aside class="notes">') == len(tagged(notebook, "instructor"))
    assert "<svg" in body and "what the model says" in body


@pytest.mark.slow
@pytest.mark.parametrize("path", EDITIONS, ids=by_name)
def test_a_fresh_run_shows_the_same(path: Path) -> None:
    """In a fresh kernel, offline, with warnings as errors."""
    assert notebooks.difference(read(path), notebooks.run(read(path), notebooks.FOLDER / path.name)) == ""


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
        notebooks.run(read(path), path)


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
