"""MemmapView in a real JupyterLab: by pointer, by keyboard, in both themes, and with a million pages."""

from typing import TYPE_CHECKING

from tests.browser import LabServer, expect, shot, show, turn
from zbudlab import kernel

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# The colour of the dot at x, y (shares of width and height) of canvas k, as #rrggbb, or "blank".
DOT = """([k, x, y]) => {
    const canvas = document.querySelectorAll('.zl-dots canvas')[k];
    const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1];
    const [r, g, b, a] = canvas.getContext('2d').getImageData(...at).data;
    return a ? '#' + [r, g, b].map(part => part.toString(16).padStart(2, '0')).join('') : 'blank';
}"""
SHOWN = "() => document.querySelector('.zl-view').dataset.shown"
HALVES = """from zbudlab import MemmapView
half = bytes([3]) * 2048 + bytes([4]) * 2048
MemmapView({"as seen": bytes(4096), "in truth": half}, on_choose=print)"""


def click(view: "Locator", which: str, x: float, y: float) -> None:
    """Click into a map or a lens, at shares of its width and height."""
    box = view.locator(which).bounding_box()
    view.locator(which).click(position={"x": x * box["width"], "y": y * box["height"]})


def test_the_real_memmap(page: "Page", lab_server: LabServer) -> None:
    recording = kernel.load("6.1")
    mine = recording.zbud_pfns[100]
    panel = show(page, lab_server, "real.ipynb", "from zbudlab import MemmapView\nMemmapView()")
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    expect(line, r"pfn 0x\w+: as kpageflags sees it blank, in truth zbud, first \d+, last \d+")
    turn(page, "Light")
    shot(page, "memmap-light")
    click(view, '[data-map="1"]', 0.501, 0.0105)
    expect(line, "pfn 0x2[78][0-9a-f]: as kpageflags sees it")
    view.locator('[data-part="count:Z"]').click()
    expect(line, f"only zbud: 0 as kpageflags sees it, {len(recording.zbud_pfns):,} in truth")
    view.get_by_role("button", name="zoom in").click()
    expect(line, "zoom 2: 128 pages to a row")
    view.get_by_role("textbox", name="pfn").fill(f"{mine:#x}")
    view.get_by_role("textbox", name="pfn").press("Enter")
    expect(line, f"pfn {mine:#x}: as kpageflags sees it blank, in truth zbud")
    shot(page, "memmap-only-zbud")
    view.locator(".zl-dots").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    expect(line, f"pfn {mine + 256:#x}:")  # a row of the map further
    page.keyboard.press("Escape")
    expect(line, "all pages")
    turn(page, "Dark")
    shot(page, "memmap-dark")
    page.set_viewport_size({"width": 1060, "height": 1500})
    page.wait_for_function("() => document.querySelector('.zl-dots svg').viewBox.baseVal.width === 620")
    shot(page, "memmap-narrow")


def test_dots_lie_where_the_pages_are_in_the_colours_of_the_theme(page: "Page", lab_server: LabServer) -> None:
    panel = show(page, lab_server, "halves.ipynb", HALVES)
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    turn(page, "Light")
    page.wait_for_function(f"() => ({DOT})([1, 0.5, 0.25]) === '#c25400'")
    places = [[1, 0.5, 0.25], [1, 0.5, 0.75], [0, 0.5, 0.25]]
    assert [page.evaluate(DOT, place) for place in places] == ["#c25400", "#044d2b", "blank"]
    boxes = [
        panel.locator(which).nth(1).bounding_box() for which in (".zl-dots canvas", ".zl-dots [data-map]")
    ]  # the canvas lies beneath its place in the SVG
    assert all(abs(boxes[0][side] - boxes[1][side]) < 1 for side in ("x", "y", "width", "height"))
    turn(page, "Dark")
    page.wait_for_function(f"() => ({DOT})([1, 0.5, 0.25]) === '#ff7a4d'")
    click(view, '[data-map="1"]', 0.01, 0.01)
    expect(line, "pfn 0x0: as seen blank, in truth zbud")
    click(view, '[data-lens="1"]', 0.15, 0.15)
    expect(line, "pfn 0x42: as seen blank, in truth zbud")


def test_by_keyboard_alone(page: "Page", lab_server: LabServer) -> None:
    panel = show(page, lab_server, "halves.ipynb", HALVES)
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    view.get_by_role("textbox", name="pfn").focus()
    page.keyboard.type("4097")
    page.keyboard.press("Enter")
    expect(line, r"pfn 0x1001 is outside of this memmap \(0x0 to 0xfff\)")
    page.keyboard.press("Control+a")
    page.keyboard.type("0")
    page.keyboard.press("Enter")
    expect(line, "pfn 0x0: as seen blank, in truth zbud")
    page.keyboard.press("Tab")  # the picture is one stop
    for key, told in (
        ("ArrowRight", "pfn 0x1:"), ("ArrowDown", "pfn 0x41:"), ("PageDown", "pfn 0x281:"), ("End", "pfn 0x2bf:"),
        ("Home", "pfn 0x280:"), ("ArrowUp", "pfn 0x240:"), ("+", "zoom 2"), ("+", "zoom 2 is the largest"),
        ("-", "zoom 1"), ("z", "only zbud: 0 as seen, 2,048 in truth"), ("Escape", "all pages"),
        ("Enter", "chosen: pfn 0x240"),
    ):  # fmt: skip
        page.keyboard.press(key)
        expect(line, told)
    page.keyboard.press("/")
    assert page.evaluate("() => document.activeElement.placeholder") == "0x0"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # and out again
    assert not page.evaluate("() => !!document.activeElement.closest('.zl-view')")


def test_a_million_pages(page: "Page", lab_server: LabServer) -> None:
    million = "from zbudlab import MemmapView\nimport random\nrandom.seed(1)\n"
    million += "runs = [bytes([random.randrange(8)]) * 64 for _ in range(16384)]\n"
    million += 'MemmapView({"a million": b"".join(runs)})'
    panel = show(page, lab_server, "million.ipynb", million)
    view, line = panel.locator(".zl-view").first, panel.locator(".zl-line").first
    click(view, '[data-map="0"]', 0.5001, 0.5001)
    expect(line, "pfn 0x(7f|80)[0-9a-f]{3}: a million")
    page.keyboard.press("ArrowRight")
    expect(line, "a million")
    shot(page, "memmap-million")
