"""Going back and forth: what undo, a jump and a replay of a timeline cost."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from statistics import median

from benchmarks import Row, progress, row, seconds
from benchmarks.pool import Load
from zbudlab.timeline import Timeline

FRAME = 16.7  # milliseconds: what is done within one frame of a screen is felt as immediate
REPLAY = "the replay of an event"


def run(quick: bool = False) -> Iterator[Row]:
    for events, pages, live in ((2_000, 64, 60), (20_000, 600, 500)):
        progress(f"timeline: preparing {events:,} events")
        timeline = Timeline("linux-3.11", pages)
        load = Load(timeline, live, events - 3 * live, 1)
        per_doing = seconds(load) / (events - 3 * live)
        timeline.goto(0)
        per_replay = seconds(partial(timeline.goto, events)) / events
        name = f"timeline of {events:,} events"
        yield row(f"{name}: replay", 1e6 * per_replay, "us/event", ("doing it", per_replay / per_doing))
        chance = random.Random(1)
        jumps = [partial(timeline.goto, chance.randrange(events)) for _ in range(20 if quick else 40)]
        took = median(map(seconds, jumps))
        yield row(f"{name}: jump", 1e3 * took, "ms", (REPLAY, took / per_replay), at_most=FRAME)
        timeline.goto(events)
        took = median(map(seconds, [timeline.undo] * len(jumps)))
        yield row(f"{name}: undo", 1e3 * took, "ms", (REPLAY, took / per_replay), at_most=FRAME)
