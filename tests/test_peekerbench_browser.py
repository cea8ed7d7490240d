"""PeekerBench and SafetyMatrix in a real JupyterLab: by pointer, by keyboard, in both themes."""

from typing import TYPE_CHECKING

from tests.browser import LabServer, dark, expect, shot, show

if TYPE_CHECKING:
    from playwright.sync_api import Page

BENCH = "from zbudlab import BuddyLab, PeekerBench, SafetyMatrix\nbench = PeekerBench()\nbench"


def test_bench_by_pointer(page: "Page", lab_server: LabServer) -> None:
    """A learner sends soft_offline to a page, and zbud meets the damage; another instrument follows."""
    panel = show(page, lab_server, "bench.ipynb", BENCH, "BuddyLab(bench)")
    view, other = panel.locator(".zl-view").nth(0), panel.locator(".zl-view").nth(1)
    line = view.locator(".zl-line")
    shot(page, "peekerbench-light")
    view.locator('[data-part="reader:soft_offline"]').click()
    expect(line, "page p1, soft_offline")
    view.locator('[data-part="run:soft_offline"]').click()
    expect(line, "soft_offline at p1: returned -5")
    expect(other.locator(".zl-line"), "soft_offline at p1: returned -5")
    assert "_count" in view.locator("svg").first.text_content()
    panel.get_by_role("button", name="Zbud goes on").click()
    expect(line, r"free p\d FIRST.*unable to handle kernel paging request at 0xffff880[01]")
    assert "Oops: unable to handle" in view.locator("svg").first.text_content()
    dark(page)
    shot(page, "peekerbench-dark")
    panel.get_by_role("button", name="Run").first.click()
    expect(line, "the machine has stopped")
    panel.get_by_role("button", name="Undo").first.click()
    expect(line, "event 6 of 7: soft_offline at p1")
    view.locator('[data-part="event:2"]').click()
    expect(other.locator(".zl-line"), "event 2 of 7: alloc 1,216 B")
    panel.get_by_role("button", name="Back to the book").first.click()
    expect(line, "back to the beginning")


def test_bench_by_keyboard_alone(page: "Page", lab_server: LabServer) -> None:
    panel = show(page, lab_server, "keys.ipynb", BENCH)
    view = panel.locator(".zl-view").first
    line = view.locator(".zl-line")
    panel.get_by_role("button", name="Back to the book").focus()
    page.keyboard.press("Tab")
    expect(line, "p1, FIRST: 12 chunks")
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    expect(line, "memory_failure: crash, race")
    page.keyboard.press("m")  # a race
    expect(line, r"memory_failure at p1, at pause \d+ meanwhile free allocation")
    page.keyboard.press("u")
    expect(line, "event 5 of 6")
    page.keyboard.press("]")
    page.wait_for_function("() => document.querySelector('.zl-view svg').textContent.includes('line 1 of')")
    page.keyboard.press("x")
    expect(line, "memory_failure at p1: returned -16")
    page.keyboard.press("Escape")
    panel.locator(".zl-reel").first.focus()
    page.keyboard.press("Home")
    expect(line, "event 0 of 6: the beginning")


def test_matrix_to_the_bench(page: "Page", lab_server: LabServer) -> None:
    panel = show(page, lab_server, "matrix.ipynb", BENCH, "SafetyMatrix(bench)")
    bench, view = panel.locator(".zl-view").nth(0), panel.locator(".zl-view").nth(1)
    line = view.locator(".zl-line")
    view.scroll_into_view_if_needed()
    panel.get_by_role("button", name="All schemes and readers").click()
    view.locator('[data-part="reserved:ioremap"]').wait_for(state="attached")  # they are computed now
    view.locator('[data-part="overlay-clear:migrate_scanner"]').click()
    expect(line, r"overlay-clear, migrate_scanner: crash \(luck\)")
    view.locator("text", has_text="overlay-clear \u00d7 migrate_scanner").wait_for()  # the answer is there
    shot(page, "safetymatrix-light")
    page.keyboard.press("ArrowUp")  # one row up in the grid
    expect(line, "overlay-v12, migrate_scanner: ok")
    page.keyboard.press("ArrowLeft")
    expect(line, "overlay-v12, page_cache: crash")
    page.keyboard.press("Enter")
    expect(line, r"overlay-v12, page_cache: crash \(race\)")
    view.locator("text", has_text="overlay-v12 \u00d7 page_cache").wait_for()  # and no other picture is on its way
    view.locator('[data-part="load"]').click()
    expect(line, "the shortest trace of overlay-v12 before page_cache")
    expect(bench.locator(".zl-line"), "the shortest trace of overlay-v12 before page_cache")
    dark(page)
    shot(page, "safetymatrix-dark")
