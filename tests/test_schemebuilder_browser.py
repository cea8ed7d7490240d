"""SchemeBuilder in a real JupyterLab: by pointer, by keyboard, in both themes and both widths."""

from typing import TYPE_CHECKING

from tests.browser import LabServer, dark, expect, shot, show

if TYPE_CHECKING:
    from playwright.sync_api import Page

BUILDER = "from zbudlab import BuddyLab, SchemeBuilder\nbuilder = SchemeBuilder()\nbuilder"


def test_by_pointer(page: "Page", lab_server: LabServer) -> None:
    """A learner makes two choices collide, puts one elsewhere, asks for a reason, and takes the scheme to the bench."""
    panel = show(page, lab_server, "builder.ipynb", BUILDER, "BuddyLab(builder)")
    view, other = panel.locator(".zl-view").nth(0), panel.locator(".zl-view").nth(1)
    line = view.locator(".zl-line")
    shot(page, "schemebuilder-light")
    view.locator('[data-part="piece:lru"]').click()
    expect(line, "lru is in hand, over lru.next and lru.prev")
    view.locator('[data-part="word:2"]').click()
    expect(line, "not a scheme yet: mine: lru.next and buddy.prev both lie on byte 16")
    dark(page)
    view.scroll_into_view_if_needed()
    shot(page, "schemebuilder-dark")
    panel.get_by_role("combobox", name="buddy").select_option("byte 32, lru.next")
    expect(line, "mine, worst: ")
    view.locator('[data-part="reader:kpagecount"]').click()
    expect(line, "mine, kpagecount: ok")
    panel.get_by_role("button", name="As Python").click()
    expect(panel.locator("pre[tabindex]").first, r"scheme = Scheme\(\s+name=\"mine\",\s+home=\"record\",\s+buddy=32,")
    panel.get_by_role("button", name="On the bench").click()
    expect(other.locator(".zl-line"), "a pool under scheme mine is on the bench")
    panel.get_by_role("combobox", name="tag").select_option("a value of _mapcount")
    panel.get_by_role("spinbutton", name="value").fill("-300")
    page.keyboard.press("Enter")
    view.locator("svg", has_text="_mapcount -300").wait_for()
    panel.get_by_role("button", name="Back to the book").first.click()
    expect(line, "back to the beginning")


def test_by_keyboard_alone(page: "Page", lab_server: LabServer) -> None:
    panel = show(page, lab_server, "builder-keys.ipynb", BUILDER)
    view = panel.locator(".zl-view").first
    line = view.locator(".zl-line")
    panel.get_by_role("combobox", name="start from").focus()
    page.keyboard.type("over")  # letters are the list's own here, not the notebook's
    expect(line, "from overlay-v12: the patch under review.* mine, worst: crash")
    panel.get_by_role("button", name="As Python").focus()
    page.keyboard.press("Enter")  # the button's own, not the notebook's
    panel.locator("pre[tabindex]").wait_for()
    page.keyboard.press("Enter")
    panel.locator("pre[tabindex]").wait_for(state="hidden")
    panel.get_by_role("button", name="Back to the book").focus()
    page.keyboard.press("Tab")  # the picture is one stop
    expect(line, "bytes 0 to 7, flags: press to put buddy there")
    for _ in range(10):
        page.keyboard.press("ArrowDown")
    expect(line, "first_chunks: over mapping; press to take it in hand")
    page.keyboard.press("Enter")
    page.keyboard.press("]")
    expect(line, "first_chunks and last_chunks|last_chunks and first_chunks")
    page.keyboard.press("[")
    expect(line, "mine, worst: crash")
    page.keyboard.press("End")
    expect(line, "crash: ok: the totals that it is part of; overlay-v12: ok")
    page.keyboard.press("Enter")
    expect(line, "mine, crash: ok")
    page.keyboard.press("Tab")
    assert not page.evaluate("() => !!document.activeElement.closest('.zl-view')")


def test_narrow(page: "Page", lab_server: LabServer) -> None:
    page.set_viewport_size({"width": 1000, "height": 1500})
    panel = show(page, lab_server, "builder-narrow.ipynb", BUILDER)
    panel.locator('.zl-view svg[width="620"]').wait_for()
    shot(page, "schemebuilder-620")
