"""BuddyLab in a real JupyterLab: by pointer, by keyboard, in both themes."""

from typing import TYPE_CHECKING

from tests.browser import LabServer, dark, expect, run_again, run_all_cells, shot, show

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

BOOK = "00-start-here.ipynb"


def tenants(view: "Locator") -> list[str]:
    """The names of the tenants that can be chosen, as the picture has them."""
    parts = view.locator("[data-part]").evaluate_all("parts => parts.map(part => part.dataset.part)")
    return [name for name in parts if not name.startswith("event")]


def test_by_pointer(page: "Page", lab_server: LabServer) -> None:
    panel = run_all_cells(page, lab_server, BOOK)
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    assert tenants(view) == ["FIRST:0", "LAST:0"]
    panel.get_by_role("button", name="Allocate").click()
    expect(line, r"alloc 1,216 B = 19 chunks: p1 FIRST, a new page")
    view.locator('[data-part="FIRST:0"]').click()
    expect(line, r"free p0 FIRST, 9 chunks")
    assert tenants(view) == ["LAST:0", "FIRST:1"]  # both have 44 free chunks: the one put there last is first
    panel.get_by_role("button", name="Next real page").click()
    expect(
        line,
        r"json/decoder.py, page 2 \(source text\): compressed to 1,182 bytes, with zswap's 8 bytes 1,190; "
        r"alloc .* p0 FIRST",
    )
    panel.get_by_role("button", name="Reclaim").click()
    expect(line, r"reclaim in at most 8 tries: OK; 1 offered, 1 evicted, 1 page given back")
    panel.get_by_role("button", name="Undo").click()
    expect(line, r"event 5 of 6")
    view.locator('[data-part="event:2"]').click()
    expect(line, r"event 2 of 6")
    assert tenants(view) == ["FIRST:0", "LAST:0"]
    panel.get_by_role("button", name="v12", exact=True).click()
    expect(line, "the same events under zbud v12")
    shot(page, "buddylab-light")
    dark(page)
    shot(page, "buddylab-dark")
    panel.get_by_role("button", name="Back to the book").click()
    expect(line, "back to the beginning")
    assert tenants(view) == ["FIRST:0", "LAST:0"]


def test_by_keyboard_alone(page: "Page", lab_server: LabServer) -> None:
    panel = run_all_cells(page, lab_server, BOOK)
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    panel.get_by_role("button", name="Back to the book").focus()
    page.keyboard.press("Tab")  # the picture is one stop
    expect(line, "p0, FIRST: 9 chunks, 576 bytes")
    page.keyboard.press("ArrowRight")
    expect(line, "p0, LAST: 19 chunks, 1,216 bytes")
    page.keyboard.press("a")
    expect(line, "p1 FIRST, a new page")
    page.keyboard.press("Enter")  # the focus stayed on p0 LAST
    expect(line, "free p0 LAST, 19 chunks")
    page.keyboard.press("u")
    expect(line, "event 3 of 4")
    page.keyboard.press("End")
    expect(line, "event 4: free p0 LAST")
    page.keyboard.press("Enter")
    expect(line, "event 4 of 4")
    assert tenants(view) == ["FIRST:1", "FIRST:0"]
    page.keyboard.press("Tab")  # the reel
    page.keyboard.press("Home")
    expect(line, "event 0 of 4: the beginning")
    page.keyboard.press("Tab")  # and out again
    assert not page.evaluate("() => !!document.activeElement.closest('.zl-view')")


def test_the_reel_turns_without_a_kernel(page: "Page", lab_server: LabServer) -> None:
    panel = run_all_cells(page, lab_server, BOOK)
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    panel.get_by_role("button", name="Allocate").click()
    page.wait_for_selector('.zl-view[data-frames="4"]')
    lab_server.stop_kernels()
    view.get_by_role("slider", name="event").focus()
    page.keyboard.press("Home")
    expect(line, "event 0 of 3: the beginning")
    assert tenants(view) == []
    page.keyboard.press("ArrowRight")
    assert tenants(view) == ["FIRST:0"]
    page.keyboard.press("End")
    expect(line, "event 3 of 3: alloc 1,216 B")
    assert tenants(view) == ["FIRST:1", "FIRST:0", "LAST:0"]


def test_run_again_after_a_restart(page: "Page", lab_server: LabServer) -> None:
    panel = run_all_cells(page, lab_server, BOOK)
    panel.get_by_role("button", name="Allocate").click()
    page.evaluate("() => { window.again = jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }")
    page.evaluate("() => window.again")
    run_again(page)
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    assert tenants(view) == ["FIRST:0", "LAST:0"]
    panel.get_by_role("button", name="Allocate").click()
    expect(line, "p1 FIRST, a new page")


# A picture as the page holds it, but for line ends and for the part that Tab reaches.
AS_DRAWN = r"""view => view.querySelector('svg').outerHTML.replace(/ tabindex="-?[0-9]"|\n/g, '')"""
RUN_LAST = """() => { const book = jupyterapp.shell.currentWidget.content;
    book.activeCellIndex = book.widgets.length - 1; return jupyterapp.commands.execute('notebook:run-cell'); }"""


def test_what_is_kept_of_a_picture_stands_where_a_new_one_would_have_it(page: "Page", lab_server: LabServer) -> None:
    """Whatever was done, the picture that was changed piece by piece is the one that is drawn at one stroke."""
    panel = show(page, lab_server, "kept.ipynb", "from zbudlab import BuddyLab\nlab = BuddyLab()\nlab", "lab")
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    for part, told in (
        ("FIRST:1", "free p1 FIRST"), ("LAST:3", "free p3 LAST"), ("event:3", "event 3 of 14"),
        ("FIRST:0", "free p0 FIRST"), ("event:1", "event 1 of 4"), ("event:4", "event 4 of 4"),
    ):  # fmt: skip
        view.locator(f'[data-part="{part}"]').click()
        expect(line, told)
        page.evaluate(RUN_LAST)
        page.wait_for_function("() => document.querySelectorAll('.jp-OutputArea .zl-view svg').length === 2")
        drawn = [panel.locator(".zl-view").nth(i).evaluate(AS_DRAWN) for i in range(2)]
        assert drawn[0] == drawn[1], told


def test_a_hundred_fast_clicks(page: "Page", lab_server: LabServer) -> None:
    """However fast they come, picture and model agree in the end."""
    panel = run_all_cells(page, lab_server, BOOK)
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    panel.get_by_role("button", name="Allocate").evaluate("b => { for (let i = 0; i < 60; i++) b.click() }")
    panel.get_by_role("button", name="Undo").evaluate("b => { for (let i = 0; i < 40; i++) b.click() }")
    expect(line, "event 22 of 62")
    # 2 zpages to begin with; 7 further pages with two each; then the arena is full and allocations are refused
    assert len(tenants(view)) == 16
    assert "16 zpages in 8 pages at event 22 of 62" in view.locator("desc").text_content()
