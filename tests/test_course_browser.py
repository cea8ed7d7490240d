"""Every notebook of the course, opened and run in a real JupyterLab as a learner would."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import LabServer, run_all_cells, shot

if TYPE_CHECKING:
    from playwright.sync_api import Page

BOOKS = [path.name for path in sorted((Path(__file__).parent.parent / "notebooks").glob("[0-9]*.ipynb"))]


@pytest.mark.parametrize("book", BOOKS, ids=lambda name: name[:2])
def test_every_cell_runs_and_the_pictures_are_live(page: "Page", lab_server: LabServer, book: str) -> None:
    panel = run_all_cells(page, lab_server, book)
    views = panel.locator(".zl-view")
    assert views.count()
    for i in range(views.count()):
        views.nth(i).scroll_into_view_if_needed()
        view = views.nth(i).locator("svg").first
        assert view.locator("title").first.text_content() and view.locator("desc").first.text_content()
        assert view.locator("[data-part]").count() > 3
        shot(page, f"book-{book[:2]}-{i}")
    for quiz in panel.locator(".widget-radio-box").all():
        assert quiz.locator("input").count() >= 2
