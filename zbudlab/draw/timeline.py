"""A timeline: before, now and next in words, and a tick for each event; and a pool with its timeline beneath."""

from __future__ import annotations

from ..rows import Caption, count, fault
from ..timeline import Timeline
from .kit import WIDE, Fig, Picture
from .pool import Ghost, draw_pool

MOST = 64  # ticks in one picture: the events around the position


def draw_timeline(
    fig: Fig, timeline: Timeline, y: float, *, would: Caption | None = None, parts: bool = False
) -> float:
    """Captions and ticks from `y` down; returns the y beneath.  `would` is the next event if it has not happened yet.

    With `parts`, ticks are targets named event:i.
    """
    now, total = timeline.position, len(timeline.events)
    told = [("before", now - 1), ("now", now), ("next", now + 1)]
    for k, (word, i) in enumerate(told):
        line = timeline.caption(i) if 1 <= i <= total else would if i == total + 1 else None
        if k == 1:
            fig.rect(0, y - 15, fig.width, 22, "nowbg", rx=3)
        if line is None and i != 0:
            continue
        ink = "ink" if k == 1 else "dim"
        fig.small(10, y, f"{word} {i}" if line is not would else word, fill=ink)
        if line is None:
            fig.text(112, y, "the beginning: nothing has happened", fill=ink)
            fig.say(f"  {word:6}      the beginning")
        else:
            fig.text(112, y, line.verb, bold=True, fill=ink)
            fig.text(112 + 8 * len(line.verb) + 8, y, ": ".join(filter(None, line[1:])), fill=ink)
            fig.say(f"  {word:6} {i:4} {line}" if line is not would else f"  {word:6}      {line}")
        y += 22
    if now and now == total and fault(timeline.events[now - 1]):
        fig.small(112, y, "no next event: the machine has stopped", fill="dim")
        fig.say("  next        none: the machine has stopped")
        y += 22
    return _ticks(fig, timeline, y + 18, parts=parts) if total else y


def _ticks(fig: Fig, timeline: Timeline, y: float, *, parts: bool) -> float:
    now, total = timeline.position, len(timeline.events)
    start = max(0, min(now - MOST // 2, total - MOST))
    shown = range(start, min(total, start + MOST))
    step = min((fig.width - 40) / len(shown), 28)
    fig.path(f"M0 {y}H{fig.width}", "rule")
    for k, i in enumerate(shown):
        x, ink, kind = 20 + k * step, "ink" if i < now else "h2", timeline.events[i][0]
        d = f"M{x:g} -2v-11" if kind in "ah" else f"M{x:g} 2v11" if kind in "fu" else f"M{x - 3:g} 0h6"
        if kind in "rz":
            d = f"M{x:g} -7l5 7 -5 7 -5 -7z"
        elif kind in "pq":
            d = f"M{x - 5:g} 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z"
        with fig.at(y), fig.part(f"event:{i + 1}", f"event {i + 1}: {timeline.caption(i + 1)}", parts):
            if parts:
                fig.rect(x - step / 2, -14, step, 28, "none", "none", cls="hit")
            fig.path(d, ink, 1.5 if kind in "rzpq" else 3, "bg" if kind in "rzpq" else "none")
    if now > start:
        fig.rect(20 + (now - 1 - start) * step - 7, y - 18, 14, 36, "none", "now", 2.5, 4)
    kinds = {row[0] for row in timeline.events}
    ring = ", ring: a reader" if kinds & {"p", "q"} else ""
    fig.small(0, y + 32, f"up: alloc, down: free, diamond: reclaim{ring}", fill="dim")
    fig.small(fig.width, y + 32, f"event {now} of {total}", fill="dim", at="end")
    fig.say(f"  event {now} of {total}")
    return y + 38


def lab_picture(
    timeline: Timeline,
    width: int = WIDE,
    ghost: Ghost | None = None,
    would: Caption | None = None,
    *,
    parts: bool = False,
) -> Picture:
    """A pool as it stands at a timeline's position, with the timeline beneath."""
    pool = timeline.pool
    held = f"{count(len(pool.tenants), 'zpage')} in {count(pool.pages_nr, 'page')}"
    desc = f"{held} at event {timeline.position} of {len(timeline.events)}"
    fig = Fig(f"A zbud {pool.version.name} pool and its timeline", desc, width)
    y = draw_pool(fig, pool, ghost, parts=parts)
    return fig.picture(draw_timeline(fig, timeline, y + 30, would=would, parts=parts))
