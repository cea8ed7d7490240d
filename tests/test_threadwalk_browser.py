"""ThreadWalk in a real JupyterLab: by pointer, by keyboard, in both themes and both widths."""

from typing import TYPE_CHECKING

from tests.browser import LabServer, dark, expect, shot, show

if TYPE_CHECKING:
    from playwright.sync_api import Page

WALK = "from zbudlab import BuddyLab, ThreadWalk\nwalk = ThreadWalk()\nwalk"
FOCUS = "() => document.activeElement.dataset.part"


def test_by_pointer(page: "Page", lab_server: LabServer) -> None:
    """A learner tries a claim, and another instrument shows what it is about; then reads on."""
    panel = show(page, lab_server, "walk.ipynb", WALK, "BuddyLab(walk)")
    view, other = panel.locator(".zl-view").nth(0), panel.locator(".zl-view").nth(1)
    line = view.locator(".zl-line")
    shot(page, "threadwalk-light")
    view.locator('[data-part="claim:4"]').click()
    expect(line, r"claim 4, fails: It is true of 0 of 16 pages of overlay-v12")
    view.locator('[data-part="try:6"]').click()
    expect(line, "on the stage for claim 6: 1 event under zbud v12, scheme chunks-in-mapping; page p0")
    expect(other.locator(".zl-line"), "on the stage for claim 6")
    view.locator('[data-part="mail:wilk-questions"]').click()
    expect(line, "Konrad Rzeszutek Wilk, 3 June 2013: Two questions")
    assert "does not arise" in view.locator("svg").first.text_content()
    dark(page)
    view.scroll_into_view_if_needed()
    shot(page, "threadwalk-dark")
    panel.get_by_role("button", name="time", exact=True).click()
    expect(line, "the discussion, in order of time")
    panel.get_by_role("combobox", name="messages").select_option("what came of it")
    expect(line, "what came of it, in order of time")
    view.locator('[data-part="mail:kozlowski-127"]').click()
    expect(line, "Krzysztof Kozlowski, 9 August 2013: The mark is _mapcount -127 now")
    panel.get_by_role("button", name="Back to the book").first.click()
    expect(line, "back to the beginning")
    view.locator('[data-part="mail:jennings-seed"]').wait_for(state="attached")


def test_by_keyboard_alone(page: "Page", lab_server: LabServer) -> None:
    panel = show(page, lab_server, "walk-keys.ipynb", WALK)
    view = panel.locator(".zl-view").first
    line = view.locator(".zl-line")
    panel.get_by_role("button", name="Back to the book").focus()
    page.keyboard.press("Tab")  # the picture is one stop
    expect(line, "jennings-v12: Seth Jennings, 20 May 16:26 UTC")
    page.keyboard.press("ArrowLeft")  # it answers nothing here
    assert page.evaluate(FOCUS) == "mail:jennings-v12"
    for _ in range(3):
        page.keyboard.press("ArrowRight")  # the first reply
    assert page.evaluate(FOCUS) == "mail:morton-protocol"
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    expect(line, "jennings-enomem: .* answers Andrew Morton")
    page.keyboard.press("ArrowLeft")  # the parent
    assert page.evaluate(FOCUS) == "mail:morton-protocol"
    page.keyboard.press("Enter")
    expect(line, "Andrew Morton, 29 May 2013: A change to struct page")
    page.keyboard.press("t")
    expect(line, "in order of time")
    assert page.evaluate(FOCUS) == "mail:morton-protocol"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(line, "Seth Jennings, 29 May 2013: He will write it")
    page.keyboard.press("End")  # the last claim's try it
    page.keyboard.press(" ")
    expect(line, "on the stage for claim 15")
    page.keyboard.press("Tab")
    assert not page.evaluate("() => !!document.activeElement.closest('.zl-view')")


def test_narrow(page: "Page", lab_server: LabServer) -> None:
    page.set_viewport_size({"width": 1000, "height": 1500})
    panel = show(page, lab_server, "walk-narrow.ipynb", WALK)
    panel.locator('.zl-view svg[width="620"]').wait_for()
    shot(page, "threadwalk-620")
