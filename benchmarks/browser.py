"""From a click to new pixels, in a real JupyterLab and a headless Chromium, beside ipywidgets' own slider and label.

Both are measured in the page itself: from the click or key to the change of the page, and two frames of the screen
more, by turns.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import NotHere, Row, row

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser import LabServer

SLIDES = "ipywidgets' slider to its label"
AIM, GOAL = 50.0, 1.5  # ms at the 95th percentile on an idle machine; times the yardstick
LAB = """
from zbudlab import BuddyLab, PeekerBench, Timeline
timeline = Timeline(pages=64)
for _ in range(64):
    timeline.alloc(1000), timeline.alloc(2000)
BuddyLab(timeline)
"""
BENCH = "PeekerBench()"
SLIDER = """
import ipywidgets
slider, label = ipywidgets.IntSlider(0, 0, 1000), ipywidgets.Label("0")
slider.observe(lambda change: setattr(label, "value", str(change.new)), "value")
ipywidgets.VBox([slider, label])
"""
# From firing an event at one element to the change of another, and two frames more.
MEASURE = """([fired, kind, watched]) => new Promise(resolve => {
    const target = document.querySelector(fired), other = document.querySelector(watched);
    let start;
    new MutationObserver((_, observer) => {
        observer.disconnect();
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - start)));
    }).observe(other, kind === 'click' ? {attributeFilter: ['data-shown']}
        : {childList: true, characterData: true, subtree: true});
    start = performance.now();
    if (kind === 'click') target.dispatchEvent(new MouseEvent('click', {bubbles: true}));
    else target.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
})"""


def chromium_program() -> str:
    """The Chromium to drive.  Raises NotHere if there is none, or no Playwright to drive it."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
    program = os.environ.get("ZBUDLAB_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not program:
        raise NotHere("no Chromium was found: install one, or name it in ZBUDLAB_CHROMIUM")
    if not find_spec("playwright"):
        raise NotHere("Playwright is missing (pip install playwright)")
    return program


def run(quick: bool = False) -> Iterator[Row]:
    with a_page() as (page, lab):
        from tests.browser import show

        show(page, lab, "clicks.ipynb", LAB, BENCH, SLIDER)
        yield from _clicks(page, 8 if quick else 40)


@contextmanager
def a_page() -> Iterator[tuple[Page, LabServer]]:
    """A page of a headless Chromium, and a JupyterLab for it.  Raises NotHere if there is no Chromium to be driven."""
    program = chromium_program()
    from playwright.sync_api import sync_playwright

    from tests.browser import running_lab

    with tempfile.TemporaryDirectory() as private, sync_playwright() as playwright:
        folder = Path(private, "notebooks")
        folder.mkdir()
        with running_lab(folder, Path(private)) as lab:
            chromium = playwright.chromium.launch(executable_path=program, args=["--disable-gpu"])
            yield chromium.new_page(viewport={"width": 1280, "height": 1500}), lab
            chromium.close()


def _clicks(page: Page, repetitions: int) -> Iterator[Row]:
    views = ".jp-OutputArea .zl-view"
    page.evaluate(f"() => [...document.querySelectorAll('{views}')].forEach((view, i) => view.id = 'view' + i)")
    _name_slider(page)
    readers = ("kpageflags", "kpagecount")
    taken: dict[str, list[float]] = {"slider": [], "lab": [], "bench": []}
    for i in range(-2, repetitions):  # the first two warm up
        moves = {
            "slider": ("#slider .noUi-handle", "key", "#label"),
            "lab": (f"#view0 [data-part='FIRST:{i + 2}']", "click", "#view0"),
            "bench": (f"#view1 [data-part='reader:{readers[i % 2]}']", "click", "#view1"),
        }
        for name, move in moves.items():
            took: Any = page.evaluate(MEASURE, list(move))
            if i >= 0:
                taken[name].append(took)
            page.wait_for_timeout(150)
    yardstick = statistics.median(taken["slider"])
    for name, words in (("lab", "BuddyLab of 64 pages: click to repaint"), ("bench", "PeekerBench: click to repaint")):
        middle, late = statistics.median(taken[name]), sorted(taken[name])[int(0.95 * len(taken[name]))]
        yield row(words, middle, "ms", (SLIDES, middle / yardstick), ratio_at_most=GOAL)
        yield row(f"{words}, 95th percentile", late, "ms", (SLIDES, late / yardstick), at_most=AIM)


def _name_slider(page: Page) -> None:
    """Give the slider of the last cell and its label names to find them by."""
    page.evaluate("""() => {
        const box = [...document.querySelectorAll('.jp-OutputArea .widget-slider')].at(-1);
        box.id = 'slider';
        box.parentElement.querySelector(':scope > .widget-label').id = 'label';
    }""")
