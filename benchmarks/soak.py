"""Random, seeded clicking on BuddyLab and PeekerBench in a real JupyterLab: `python3 lab.py bench --soak [SECONDS]`.

After each event the pool is held to its invariants.  Where a reader was let loose they may be broken, and rightly so:
then everything is done once more in a pool of its own, which must come to the very same bytes and the same complaint.
Every so often all goes back to the book, and memory is measured: the kernel's, the page's and its number of nodes.
Each may grow by so much (BOUNDS) from the first such rest to the last, however long it takes.
"""

from __future__ import annotations

import gc
import json
import random
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets

from benchmarks import Row, progress, row
from zbudlab.memmap import KernelOops
from zbudlab.timeline import Timeline

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser import LabServer
    from zbudlab.widgets import Instrument

SEED = 2013
REST = 150  # clicks between two rests
BOUNDS = {"kernel": 20.0, "page": 20.0, "nodes": 2000.0}  # MB, MB, DOM nodes: the most that each may grow
MEASURED = (
    ("kernel", "memory of the kernel", "MB"),
    ("page", "heap of the page", "MB"),
    ("nodes", "its nodes", "nodes"),
)
READERS_WERE_HERE = "pqkbu"  # the kinds of events that may break a pool: a visit, a race, a dress, bytes, a wild free
ROOT = Path(__file__).resolve().parent.parent
# Both in one cell: JupyterLab makes a toolbar for every cell that becomes the active one, and keeps them all for ever.
CELL = f"""\
import sys
sys.path.append({str(ROOT)!r})
from benchmarks.soak import Guard, tell
from zbudlab import BuddyLab, PeekerBench
lab, bench = BuddyLab(), PeekerBench()
guards = Guard(lab), Guard(bench)
get_ipython().showtraceback = guards[0].complain
display(lab, bench)
"""

# ---------------------------------------------------------------------- the pool is held to its rules


def audit(timeline: Timeline) -> str:
    """What is wrong with a timeline's pool, in words; empty if nothing is."""
    done = timeline.events[: timeline.position]
    if not any(kind[0] in READERS_WERE_HERE for kind in done):
        return complaint(timeline)
    again = Timeline.empty(timeline.header)
    for event in done:
        again.replay(event)
    if again.pool.memmap.raw != timeline.pool.memmap.raw:
        return "the same events, done once more, come to other bytes"
    ours, others = complaint(timeline), complaint(again)
    return "" if ours == others else f"one pool says {ours!r}, the same once more {others!r}"


def complaint(timeline: Timeline) -> str:
    """What the pool's own check says; empty if it is content."""
    try:
        timeline.pool.check()
    except (AssertionError, KernelOops) as error:
        return str(error) or type(error).__name__
    return ""


class Guard:
    """Stands beside an instrument and looks at its pool after each event."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument, self.events, self.failures = instrument, 0, list[str]()
        instrument.stage.watchers.add(self)

    def refresh(self, line: str) -> None:
        """What a stage calls after each event."""
        self.events += 1
        try:
            wrong = audit(self.instrument.stage.timeline)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            self.failures.append(f"after {line!r}: {wrong}")

    def complain(self, *_: Any, **__: Any) -> None:
        """In place of a kernel's traceback, which JupyterLab would show nobody."""
        self.failures.append(f"{sys.exc_info()[1]!r}")


def tell(guards: Iterable[Guard], file: str) -> None:
    """Write down what the guards have seen, and what this process holds."""
    import psutil

    gc.collect()
    told = {
        "kernel": psutil.Process().memory_info().rss / 1e6,
        "events": sum(guard.events for guard in guards),
        "failures": [failure for guard in guards for failure in guard.failures],
        "shown": [guard.instrument.view.shown for guard in guards],
    }
    Path(file).write_text(json.dumps(told), encoding="utf-8")


# ---------------------------------------------------------------------- clicking without a browser


def move(instrument: Instrument, dice: random.Random) -> str:
    """Do one thing that a learner could do with an instrument; what it was."""
    view, controls = instrument.view, [one for line in instrument.children[:-1] for one in line.children]
    parts = re.findall(r'data-part="([^"]+)"', view.svg)
    kind = dice.choice(("control", "control", "part", "part", "part", "key", "key", "reel", "width"))
    if kind == "control":
        return _touch(dice.choice(controls), dice)
    if kind == "width":
        view.narrow = not view.narrow
        return "width"
    content: dict[str, Any] = {
        "part": {"part": dice.choice(parts) if parts else "FIRST:0"},
        "key": {"key": dice.choice("u,." + "".join(instrument.letters()))},
        "reel": {"event": dice.randint(0, view.reel[1])},
    }[kind]
    view._message(view, content, [])
    return str(content)


def _touch(control: Any, dice: random.Random) -> str:
    """Press a button, turn a switch, choose from a list or move a slider."""
    if isinstance(control, ipywidgets.Button):
        for answer in control._click_handlers.callbacks:  # control.click() would keep an error to itself
            answer(control)
        return str(control.description)
    if isinstance(control, ipywidgets.ToggleButton):
        control.value = not control.value
    elif isinstance(control, ipywidgets.IntSlider):
        control.value = dice.randint(control.min, control.max)
    else:
        control.value = dice.choice(control.options)
    return f"{control.description} {control.value}"


# ---------------------------------------------------------------------- clicking in a browser

# One move in instrument `which`; the dice are numbers from 0 to 1.  Resolves, with what it was, when a picture has
# changed, or after a while: not every click is one.
MOVE = """([which, kind, one, two]) => new Promise((resolve) => {
    const box = document.querySelectorAll('.jp-OutputArea .zl-instrument')[which];
    const view = box.querySelector('.zl-view');
    const among = (dice, list) => list[Math.floor(dice * list.length)];
    const key = (on, name) => {
        on.focus();
        on.dispatchEvent(new KeyboardEvent('keydown', {key: name, bubbles: true}));
    };
    let said = kind;
    const done = () => { observer.disconnect(); clearTimeout(timer); resolve(said); };
    const observer = new MutationObserver(done);
    observer.observe(view, {attributeFilter: ['data-shown']});
    const timer = setTimeout(done, 250);
    const part = among(one, view.querySelectorAll('[data-part]'));
    if (kind === 'part' && part) {
        said = part.dataset.part;
        part.dispatchEvent(new MouseEvent('click', {bubbles: true}));
    } else if (kind === 'key' && part) {
        said = among(two, [...'anrxmgu,.[]', 'ArrowRight', 'ArrowDown', 'Enter', 'Escape']);
        key(part, said);
    } else if (kind === 'list') {
        const list = among(one, box.querySelectorAll('select'));
        list.selectedIndex = Math.floor(two * list.options.length);
        list.dispatchEvent(new Event('change', {bubbles: true}));
        said = list.value;
    } else if (kind === 'slider') {
        said = among(two, ['ArrowRight', 'ArrowLeft', 'PageUp', 'PageDown']);
        key(among(one, box.querySelectorAll('.noUi-handle')), said);
    } else if (kind === 'reel') {
        const reel = view.querySelector('.zl-reel');
        reel.value = Math.round(one * reel.max);
        reel.dispatchEvent(new Event('input', {bubbles: true}));
    } else {
        const button = among(one, [...box.querySelectorAll('button')].filter((each) => !view.contains(each)));
        said = button.textContent;
        button.click();
    }
})"""
KINDS = ("part",) * 6 + ("button",) * 5 + ("key",) * 4 + ("list", "slider", "reel")
BACK = """() => [...document.querySelectorAll('.zl-instrument button')]
    .filter((each) => each.textContent === 'Back to the book').forEach((each) => each.click())"""
LINES = """() => [...document.querySelectorAll('.zl-instrument .zl-line')].map((line) => line.textContent)"""
SHOWN = """() => [...document.querySelectorAll('.zl-instrument .zl-view')].map((view) => Number(view.dataset.shown))"""
ASK = """(code) => jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code}).done"""


@dataclass
class Soaked:
    """What a soak came to: `rests` are the figures at each rest, `failures` all that was wrong, in words."""

    clicks: int = 0
    seconds: float = 0.0
    rests: list[dict[str, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def grown(self, what: str) -> float:
        """How much more there is at the last rest than at the first."""
        return self.rests[-1][what] - self.rests[0][what]

    def slope(self, what: str) -> float:
        """How much a thousand clicks add, by the line of least squares through the second half of the rests."""
        half = self.rests[len(self.rests) // 2 :]
        x, y = [rest["clicks"] / 1000 for rest in half], [rest[what] for rest in half]
        mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
        spread = sum((a - mean_x) ** 2 for a in x)
        return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread if spread else 0.0


def soak(page: Page, lab: LabServer, seconds: float, seed: int = SEED) -> Soaked:
    """Click about for so many seconds in a notebook of its own, or until something is wrong."""
    from tests.browser import show

    show(page, lab, "soak.ipynb", CELL)
    session = page.context.new_cdp_session(page)
    dice, soaked, begun = random.Random(seed), Soaked(), time.monotonic()
    trail: list[str] = []  # the last moves, for whoever looks into a failure
    _rest(page, lab, session, soaked)
    while soaked.seconds < seconds and not soaked.failures:
        for _ in range(REST):
            move = [dice.randrange(2), dice.choice(KINDS), dice.random(), dice.random()]
            trail = [*trail[-19:], f"{move[0]} {page.evaluate(MOVE, move)}"]
            soaked.clicks += 1
            soaked.seconds = time.monotonic() - begun
            if soaked.seconds >= seconds:
                break
        _rest(page, lab, session, soaked)
    soaked.failures += [f"the last moves: {', '.join(trail)}"] if soaked.failures else []
    return soaked


def _rest(page: Page, lab: LabServer, session: Any, soaked: Soaked) -> None:
    """Back to the book; what is seen must be what the kernel has shown last.  Then memory is measured."""
    page.evaluate(BACK)
    page.wait_for_function(f"() => ({LINES})().every((line) => line === 'back to the beginning')", timeout=60_000)
    file = lab.folder / "soak.json"
    for _ in range(50):  # a picture may be on its way
        page.evaluate(ASK, f"tell(guards, {str(file)!r})")
        told, seen = json.loads(file.read_text(encoding="utf-8")), page.evaluate(SHOWN)
        if seen == told["shown"]:
            break
        page.wait_for_timeout(100)
    else:
        soaked.failures.append(f"the page shows the pictures {seen}, the kernel has sent {told['shown']}")
    soaked.failures += told["failures"]
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    nodes = session.send("Memory.getDOMCounters")["nodes"]
    soaked.rests.append(
        {"clicks": soaked.clicks, "events": told["events"], "kernel": told["kernel"], "page": heap, "nodes": nodes}
    )


def run(quick: bool = False, seconds: float = 1800.0, seed: int = SEED) -> Iterator[Row]:
    """The figures of a soak; without a Chromium NotHere is raised."""
    from benchmarks.browser import a_page

    with a_page() as (page, lab):
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
        soaked = soak(page, lab, max(1.0, seconds / 10 if quick else seconds), seed)
        wrong += soaked.failures
    for words in wrong:
        progress(f"soak: {words}")
    pace = soaked.clicks / soaked.seconds
    yield row("clicks on BuddyLab and PeekerBench", soaked.clicks, "clicks", ("a click a second", pace))
    yield row("what went wrong meanwhile", len(wrong), "", ("a click", len(wrong) / soaked.clicks), at_most=0)
    for what, words, unit in MEASURED:
        first, last = soaked.rests[0][what], soaked.rests[-1][what]
        beside = (f"what there was, {first:,.0f} {unit}; now {soaked.slope(what):+.2g} a thousand clicks", last / first)
        yield row(f"{words}: grown by", soaked.grown(what), unit, beside, at_most=BOUNDS[what])
