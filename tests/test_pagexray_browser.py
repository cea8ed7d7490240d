"""PageXray in a real JupyterLab: by pointer, by keyboard, in both themes, wide and narrow."""

from typing import TYPE_CHECKING

from tests.browser import LabServer, expect, shot, show, turn

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


def xray(page: "Page", lab: LabServer) -> "Locator":
    return show(page, lab, "xray.ipynb", "from zbudlab import PageXray\nPageXray()")


def lit(view: "Locator") -> set[str]:
    return set(view.locator(".lit").evaluate_all("parts => parts.map(part => part.dataset.part)"))


def test_by_pointer(page: "Page", lab_server: LabServer) -> None:
    panel = xray(page, lab_server)
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    assert "bytes 24 to 31" in view.locator("desc").text_content()
    turn(page, "Light")
    shot(page, "pagexray-light")
    view.locator('[data-part="byte:29"]').hover()
    expect(line, r"byte 29: 0x88; _count in struct page, Linux 3.10; buddy.prev in zbud v12 overlay")
    assert lit(view) == {"byte:29", "page:_count", "zbud:buddy.prev"}
    view.locator('[data-part="page:_count"]').hover()
    assert lit(view) == {*(f"byte:{i}" for i in range(28, 32)), "page:_count", "zbud:buddy.prev"}
    view.locator('[data-part="page:_count"]').click()
    expect(line, r"picked bytes 28 to 31: 00 88 ff ff, _count -30720")
    field = panel.get_by_role("textbox", name="_count")
    field.fill("abc")
    field.press("Enter")
    expect(line, r"'abc' is no number: _count of p1 takes a decimal")
    field.fill("-30719")
    field.press("Enter")
    expect(line, r"_count of p1 is now -30719: poke 4 bytes")
    assert "01 88 ff ff" in view.locator("svg").text_content()
    assert "0xffff88011b2c3c08" in view.locator('[data-part="zbud:buddy.prev"]').text_content()
    panel.get_by_role("button", name="slab reading").click()
    view.locator('[data-part="slab:inuse"]').click()
    expect(line, "picked bytes 24 to 25")
    turn(page, "Dark")
    ink = "(getComputedStyle(document.querySelector('.zl-view svg')).getPropertyValue('--zl-Z')).trim()"
    page.wait_for_function(f"() => {ink} === '#ff7a4d'")
    shot(page, "pagexray-dark")
    panel.get_by_role("button", name="Undo").click()
    expect(line, "event 4 of 5")
    page.set_viewport_size({"width": 1060, "height": 1500})
    page.wait_for_function("() => document.querySelector('.zl-view svg').viewBox.baseVal.width === 620")
    shot(page, "pagexray-narrow")


def test_by_keyboard_alone(page: "Page", lab_server: LabServer) -> None:
    panel = xray(page, lab_server)
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    panel.get_by_role("button", name="Back to the book").focus()
    page.keyboard.press("Tab")  # the picture is one stop
    expect(line, "byte 0: 0x00")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    expect(line, "byte 25: 0x3c")
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    expect(line, "byte 57: 0x00")  # the grid ends there
    for _ in range(6):
        page.keyboard.press("ArrowUp")
    expect(line, "byte 9: 0x00")
    page.keyboard.press("Enter")
    expect(line, "picked byte 9: 00")
    page.keyboard.press("]")
    expect(line, "picked bytes 16 to 23.*index")
    page.keyboard.press("[")
    expect(line, "picked bytes 8 to 15.*mapping")
    page.keyboard.press("ArrowDown")  # the focus went with it
    expect(line, "bytes 16 to 23: index")
    page.keyboard.press("s")
    expect(line, "the slab reading is shown")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Back to the book"
    panel.get_by_role("textbox", name="mapping").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("0")
    page.keyboard.press("Enter")
    expect(line, "mapping of p1 is now 0: poke 8 bytes")
    assert view.locator('[data-part="zbud:first_chunks"]').text_content().strip().endswith("0")
