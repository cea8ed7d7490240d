"""The safety matrix: schemes by readers, each cell a verdict, and the four demands beside it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from ..demonstrate.judge import WORDS, Matrix, Verdict
from ..demonstrate.real import CONFIRMED, OTHERWISE, Confirmed
from .kit import WIDE, Fig, Picture
from .palette import colour

TOP, ROW = 128, 26  # px: where the rows begin, and how tall they are
LETTERS = dict(zip(WORDS, ".mwcx", strict=True))
DEMANDS = ("1 placed", "2 tagged", "3 safe", "4 no flag")


def marks(verdict: Verdict) -> str:
    """What qualifies a verdict, in characters.

    ~ it takes a race or an unlucky address; * anyone's page suffers it; + a real kernel did the same, - it did not.
    """
    real = {CONFIRMED: "+", OTHERWISE: "-"}.get(verdict.real, "") if isinstance(verdict, Confirmed) else ""
    return "~" * (verdict.race or verdict.luck) + "*" * verdict.anyone + real


@dataclass(frozen=True)
class Chosen:
    """The cell that is looked at, and what is known of it: the shortest trace in words, or why there is none."""

    scheme: str
    reader: str
    trace: str = ""
    loads: bool = False  # whether there is a trace to be loaded into the timeline


def matrix_picture(matrix: Matrix, width: int = WIDE, *, parts: bool = False, chosen: Chosen | None = None) -> Picture:
    """The whole matrix, and beneath it what is known of the chosen cell.

    With `parts`, cells are targets named scheme:reader, for the live view, and so is "load".
    """
    schemes, readers = matrix.schemes, matrix.readers
    fig = Fig(
        f"Safety matrix, Linux {matrix.kernel}",
        f"{len(schemes)} schemes by {len(readers)} readers; worst first in the text",
        width,
    )
    fig.data = {"row": len(readers)} if parts else {}
    left, demand = (146, 24) if fig.wide else (140, 17)
    cell = min(26.0 if len(readers) > 8 else 46.0, (width - left - 4 * demand - 60) / len(readers))
    xs, x, does = [], float(left), ""
    for name in readers:
        x += 7 if does and matrix.does[name] != does else 0
        does = matrix.does[name]
        xs.append(x)
        fig.slanted(x + cell / 2 + 2, TOP - 10, name)
        x += cell
    at = x + 12
    for k, word in enumerate(DEMANDS):
        fig.slanted(at + k * demand + demand / 2, TOP - 10, word, bold=True)
    for group in dict.fromkeys(matrix.does[name] for name in readers):
        inside = [x for x, name in zip(xs, readers, strict=True) if matrix.does[name] == group]
        bottom = TOP + len(schemes) * ROW + 4
        fig.path(
            f"M{inside[0]:g} {TOP - 4}H{inside[-1] + cell - 2:g}M{inside[0]:g} {bottom}H{inside[-1] + cell - 2:g}",
            "dim",
        )
        if (inside[-1] - inside[0] + cell) > 6.2 * len(group):
            fig.small(inside[0], bottom + 14, group, fill="dim")
    fig.say(f"safety matrix, Linux {matrix.kernel}: . ok, m misreport, w wrong, c corrupt, x crash;")
    fig.say("~ it takes a race or an unlucky address, * any kernel page suffers as much")
    real = any(isinstance(verdict, Confirmed) for verdict in matrix.values())
    if real:
        fig.say("+ a real kernel did the same to such a page, - it did not; a what-if: laid over a record of today")
    for r, scheme in enumerate(schemes):
        _row(fig, matrix, scheme, TOP + r * ROW, xs, cell, at, demand, parts)
    if chosen and (chosen.scheme, chosen.reader) in matrix:
        top = TOP + schemes.index(chosen.scheme) * ROW
        fig.rect(xs[readers.index(chosen.reader)] - 3, top - 1, cell + 4, ROW + 2, "none", "now", 2.5, 4)
    fig.say(f"  {'':22} {' '.join(f'{name[:5]:5}' for name in readers)}")
    y = _legend(fig, TOP + len(schemes) * ROW + 44, real)
    return fig.picture(_cell(fig, matrix[chosen.scheme, chosen.reader], chosen, y + 8, parts) if chosen else y)


def _cell(fig: Fig, verdict: Verdict, chosen: Chosen, y: float, parts: bool) -> float:
    """What is known of one cell; returns the y beneath."""
    lines = [verdict.why]
    lines += [f"it reads {', '.join(verdict.reads)}"] * bool(verdict.reads)
    lines += ["the same befalls any plain kernel page"] * verdict.anyone
    lines += [chosen.trace] * bool(chosen.trace)
    most = int((fig.width - 40) / 6.1)
    wrapped = [(n, part) for n, line in enumerate(lines) for part in textwrap.wrap(line, most)]
    height = 36 + 17 * len(wrapped) + 30 * chosen.loads
    fig.rect(0, y, fig.width, height, "panel", rx=3)
    fig.rect(0, y, 4, height, "now")
    head = f"{chosen.scheme} \u00d7 {chosen.reader}"
    takes = ["a race"] * verdict.race + ["an unlucky address"] * verdict.luck
    came = f"{verdict.word}; it takes {' and '.join(takes)}" if takes else verdict.word
    fig.severity(14, y + 8, 18, 18, WORDS.index(verdict.word), maybe=verdict.race or verdict.luck)
    fig.text(40, y + 22, head, bold=True)
    fig.text(40 + 8.2 * len(head), y + 22, came)
    fig.say(f"{head}: {came}")
    for line in lines:
        fig.say(f"  {line}")
    for k, (n, line) in enumerate(wrapped):
        fig.small(14, y + 44 + 17 * k, line, fill="ink" if n == 0 or line in chosen.trace else "dim")
    if chosen.loads:
        top = y + height - 30
        with fig.part("load", "load this trace into the timeline", parts):
            fig.rect(14, top, 158, 22, "bg", "dim", 1, 3, cls="hit" if parts else "")
            fig.small(93, top + 15, "load into the timeline", bold=True, at="middle")
    return y + height


def _row(
    fig: Fig, matrix: Matrix, scheme: str, y: float, xs: list[float], cell: float, at: float, demand: float, parts: bool
) -> None:
    fig.text(0, y + 17, scheme, 11, bold=True)
    row = [matrix[scheme, name] for name in matrix.readers]
    what_if = any(isinstance(verdict, Confirmed) and verdict.what_if for verdict in row)
    if what_if:
        fig.small(138, y + 17, "if", fill="dim", at="end")
    for x, name in zip(xs, matrix.readers, strict=True):
        verdict = matrix[scheme, name]
        with fig.part(f"{scheme}:{name}", f"{scheme}, {name}: {verdict}", parts):
            rank, maybe = WORDS.index(verdict.word), verdict.race or verdict.luck
            fig.severity(x, y + 2, cell - 2, ROW - 4, rank, maybe=maybe, cls="hit" if parts else "")
            dark = rank > 2 and not maybe
            if verdict.anyone:
                ink = "on" if dark else "ink"
                fig.path(f"M{x + cell - 3:g} {y + ROW - 10}v7h-7z", "", fill=ink)
            if isinstance(verdict, Confirmed) and verdict.real in (CONFIRMED, OTHERWISE):
                _witness(fig, x + cell - 7, y + 7, verdict.real == CONFIRMED, dark)
    answers = matrix.demands(scheme)
    for k, (word, answer) in enumerate(answers.items()):
        demand_mark(fig, at + k * demand + demand / 2 - 4, y + ROW / 2, word, answer)
    told = " ".join(f"{LETTERS[verdict.word] + marks(verdict):5}" for verdict in row)
    fig.say(f"  {scheme + ', if' * what_if:22} {told}  {'; '.join(answers.values())}")


def _witness(fig: Fig, x: float, y: float, same: bool, dark: bool = False) -> None:
    """A real kernel was asked: a full dot if it did the same, a ring if it did not; lighter than a `dark` ground."""
    ink, ground = ("on", "ink") if dark else ("ink", "bg")
    fill, edge = (ink, ground) if same else (ground, ink)
    at = f'cx="{x:g}" cy="{y:g}" r="3.4"'
    fig.add(f'<circle {at} fill="{colour(fill)}" stroke="{colour(edge)}" stroke-width="1.3"/>')


def demand_mark(fig: Fig, x: float, y: float, word: str, answer: str) -> None:
    """Tick, ring or dash; the third demand shows the worst verdict of the row that is the scheme's own."""
    if answer in WORDS:
        fig.severity(x - 9, y - 9, 18, 18, WORDS.index(answer))
    elif answer.startswith("does not"):
        fig.path(f"M{x - 4:g} {y:g}h8", "dim", 1.5)
    elif answer.startswith("no"):
        fig.path(f"M{x - 4.5:g} {y:g}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0", "ink", 1.3)
    else:
        fig.path(f"M{x - 5:g} {y:g}l3.5 4.5 6.5 -9", "ink", 2)


def _legend(fig: Fig, y: float, real: bool) -> float:
    x = 0.0
    for rank, word in enumerate(WORDS):
        fig.severity(x, y - 13, 18, 18, rank)
        fig.small(x + 24, y, word)
        x += 36 + 6.6 * len(word)
    fig.severity(x, y - 13, 18, 18, 2, maybe=True)
    fig.small(x + 24, y, "takes a race or bad luck")
    x, y = (x + 176, y) if fig.wide else (0.0, y + 24)
    fig.path(f"M{x + 16:g} {y - 4}v8h-8z", "", fill="ink")
    fig.small(x + 24, y, "any kernel page suffers as much")
    y += 22
    if real:
        _witness(fig, 8, y - 4, True)
        fig.small(24, y, "a real 6.1 kernel did the same")
        _witness(fig, 228, y - 4, False)
        fig.small(244, y, "it did not")
        fig.small(330, y, "if: a what-if, laid over a record of today", fill="dim")
        y += 22
    fig.small(
        0,
        y,
        "the four demands: tick met, ring not met, dash does not arise; 3 is the worst that is not everybody's",
        fill="dim",
    )
    return y + 8
