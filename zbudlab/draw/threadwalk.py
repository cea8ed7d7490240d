"""The discussion as a picture: who answered whom, when; and one message open, with what comes of its claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..rows import count
from ..thread import CLAIMS, FAILS, HOLDS, IN_PART, MESSAGES, Claim, Message, reply_tree
from ..thread.messages import GROUPS, KNOWN
from .kit import WIDE, Fig, Picture

VIEWS = {"the discussion": "patch", "what came of it": "after", "the review before": "before", "the posting": "series"}
TOP, ROW = 62, 25  # px: where the rows begin, and how tall they are
ZBUD = "Seth Jennings"  # whose dots are filled
HOUR = timedelta(hours=1)

Rows = Sequence[tuple[int, Message]]  # depth in the tree, message


def rows(view: str = "the discussion", *, by_time: bool = False) -> list[tuple[int, Message]]:
    """The messages of one of VIEWS: as a reply tree, or by time.  The discussion ends with the posting that ended it.

    >>> [message.author for _, message in rows()[-2:]]
    ['Seth Jennings', 'Seth Jennings']
    """
    group = VIEWS[view]
    shown = [m for m in MESSAGES if m.group == group or (group == "patch" and m.key == "jennings-v13")]
    roots = [m for m in shown if m.parent not in shown]
    if by_time:
        return [(0, m) for m in shown]
    return [(depth, m) for root in roots for depth, m in reply_tree(root.key) if m in shown]


def staged(claim: Claim) -> str:
    """What *try it* does, in words."""
    moment = claim.setting
    reader = f", for {moment.reader}" if moment.reader else ""
    scheme = f", scheme {moment.scheme}" if moment.scheme else ""
    return f"{count(len(moment.do), 'event')} under zbud {moment.version}{scheme}; page p{moment.pfn}{reader}"


def claims_of(message: Message) -> list[Claim]:
    return [claim for claim in CLAIMS if message.key in claim.said_in]


@dataclass(frozen=True)
class Walk:
    """What is to be seen: the rows, the open message, which of its claims shows its evidence, which is on the stage."""

    rows: Rows
    open: Message
    claim: int | None = None
    staged: int | None = None


def gist(message: Message) -> str:
    """The first sentence of the paraphrase."""
    head, dot, _ = message.paraphrase.partition(". ")
    return head + dot.strip()


def threadwalk_picture(walk: Walk, width: int = WIDE, *, parts: bool = False) -> Picture:
    """The messages on rows, time to the right; the open one beneath.

    With `parts`, targets are mail:KEY, claim:N and try:N; in view.js left leads to the parent, right to a reply.
    """
    m = walk.open
    fig = Fig(
        "ThreadWalk",
        f"{count(len(walk.rows), 'message')} as reply tree and on a time line; open: {m.author}, {m.day}, with "
        f"{count(len(claims_of(m)), 'claim')} and the model's verdicts.",
        width,
    )
    fig.text(0, 16, "ThreadWalk", 16, bold=True)
    about = f"{GROUPS[walk.rows[0][1].group]}; times in UTC"
    fig.small(118, 16, about, fill="dim")
    fig.say(about)
    axis = Axis(fig, [m.utc for _, m in walk.rows])
    axis.draw(fig, TOP + ROW * len(walk.rows))
    _burst(fig, walk.rows, axis)
    for i in range(len(walk.rows)):
        _row(fig, walk, i, axis, parts)
    _dots(fig, walk, axis)
    y = _legend(fig, TOP + ROW * len(walk.rows) + 14)
    return fig.picture(_open(fig, walk, y + 10, parts))


class Axis:
    """True time, from left to right.  A first message long before the others stands at the edge, with its date."""

    def __init__(self, fig: Fig, times: Sequence[datetime]) -> None:
        self.left, self.width = (572.0, 304.0) if fig.wide else (190.0, 424.0)
        first, second, last = (sorted(times)[i] for i in (0, min(1, len(times) - 1), -1))
        start = second if second - first > (last - first) / 2 else first
        room = max((last - start) / 24, HOUR)
        self.start, self.span = start - room, last - start + 2 * room

    def at(self, when: datetime) -> float:
        return self.left + max(0.0, (when - self.start) / self.span) * self.width

    def draw(self, fig: Fig, bottom: float) -> None:
        """A line for each midnight (over long times: for the first of each month), the days' names between them."""
        long = self.span > timedelta(days=20)
        at = self.start.astimezone(UTC).replace(
            hour=0, minute=0, second=0, microsecond=0, day=1 if long else self.start.day
        )
        named = False
        while at < self.start + self.span:
            after = (at + timedelta(days=32)).replace(day=1) if long else at + timedelta(days=1)
            if at >= self.start:
                fig.path(f"M{self.at(at):.1f} {TOP - 8}V{bottom}", "rule")
            a, b = self.at(at), min(self.at(after), self.left + self.width)
            words = (
                f"{at:%B}"
                if long
                else f"{at.day} {at:%B}"
                if at.day == 1 or (not named and b - a > 38)
                else str(at.day)
            )
            named = named or " " in words
            if b - a > 6.5 * len(words):
                fig.small((a + b) / 2, TOP - 14, words, at="middle", fill="dim")
            at = after


def _burst(fig: Fig, shown: Rows, axis: Axis) -> None:
    """A bracket where at least four messages fall into one hour: true time shows what an even tree hides."""
    times = sorted(m.utc for _, m in shown)
    runs = [[t for t in times if first <= t <= first + HOUR] for first in times]
    run = max(runs, key=len)
    inside = [i for i, (_, m) in enumerate(shown) if m.utc in run]
    together = [i for i in inside if i + 1 in inside or i - 1 in inside]
    minutes = round((run[-1] - run[0]) / timedelta(minutes=1))
    if len(run) < 4 or len(together) < 3 or minutes < 5:  # patches are posted all at once
        return
    a, b = TOP + ROW * together[0] + 4, TOP + ROW * together[-1] + ROW - 4
    x = axis.at(run[-1]) + 12
    fig.path(f"M{x:.1f} {a}h5V{b}h-5", "dim")
    fig.small(x + 12, (a + b) / 2 - 3, f"{len(run)} mails in {minutes} minutes")
    if len(together) < len(inside):
        fig.small(x + 12, (a + b) / 2 + 12, f"({len(inside) - len(together)} of them further down)", fill="dim")
    fig.say(f"{len(run)} mails in {minutes} minutes, from {run[0]:%d %B %H:%M} on")


def _row(fig: Fig, walk: Walk, i: int, axis: Axis, parts: bool) -> None:
    """One message: its author under whom it answers, its gist, and the line from the answered message's dot."""
    depth, m = walk.rows[i]
    y, x, is_open = TOP + i * ROW, 6 + depth * 9, m is walk.open
    row = {other.key: k for k, (_, other) in enumerate(walk.rows)}
    up = row.get(m.in_reply_to)
    told = count(len(claims_of(m)), "claim") if claims_of(m) else ""
    replies = [reply.key for reply in m.replies if reply.key in row]
    stay = m.key  # where nothing was answered, or nobody answered
    steps = {"left": f"mail:{m.in_reply_to if up is not None else stay}", "right": f"mail:{(replies or [stay])[0]}"}
    with fig.part(f"mail:{m.key}", _says(m), parts, **steps):
        if parts or is_open:
            fill, edge = ("nowbg", "now") if is_open else ("none", "none")
            fig.rect(1, y + 0.5, fig.width - 2, ROW - 2, fill, edge, 2, 3, cls="hit" if parts else "")
        fig.small(x + 3, y + 16, m.author.split()[-1], bold=True)
        if fig.wide:
            fig.small(axis.left - 10, y + 16, told, fill="dim", at="end")
            fig.small(186, y + 16, cut(gist(m), axis.left - 206 - 6 * len(told)))
    if up is not None and depth:  # not in the part: it belongs to two rows
        fig.path(f"M{x - 5} {y - 9 if up == i - 1 else TOP + up * ROW + 16}V{y + 12}H{x}", "dim")
    if up is not None:
        fig.path(f"M{axis.at(walk.rows[up][1].utc):.1f} {TOP + up * ROW + 12}V{y + 12}H{axis.at(m.utc):.1f}", "dim")
    mark = ">" if is_open else " "
    fig.say(f"{mark} {m.utc.day:2} {m.utc:%b %H:%M}  {'   ' * depth}{m.author}: {m.key}{told and ', '}{told}")


def _says(m: Message) -> str:
    answers = f", answers {m.parent.author}" if m.parent else ""
    claims = claims_of(m)
    told = f"; {count(len(claims), 'claim')}" if claims else ""
    return f"{m.key}: {m.author}, {m.utc.day} {m.utc:%B %H:%M} UTC{answers}{told}: {gist(m)}"


def cut(words: str, width: float) -> str:
    """As much as fits at 11 px: up to a colon or semicolon near the end, else whole words."""
    most = int(width / 5.9)
    if len(words) <= most:
        return words
    clause = max(words.rfind(mark, 0, most) for mark in ":;")
    return words[:clause] if clause > most * 0.6 else words[:most].rpartition(" ")[0].rstrip(",") + " \u2026"


def _dots(fig: Fig, walk: Walk, axis: Axis) -> None:
    for i, (_, m) in enumerate(walk.rows):
        x, y, is_open = axis.at(m.utc), TOP + i * ROW + 12, m is walk.open
        if m.utc < axis.start:
            fig.path(f"M{x:.1f} {y}l8 -5v10z", "ink", 1.5, "ink" if m.author == ZBUD else "bg")
            fig.rect(x + 12, y - 8, 44, 16, "nowbg" if is_open else "bg")
            fig.small(x + 14, y + 4, f"{m.utc.day} {m.utc:%b}")
            continue
        _dot(fig, x, y, m, is_open)


def _dot(fig: Fig, x: float, y: float, m: Message, is_open: bool = False) -> None:
    """Filled for Jennings, hollow for everyone else; in a broken ring where the text itself was not read."""
    r, edge, sw = (6, "now", 2.5) if is_open else (4.5, "ink", 1.5)
    mine, read = m.author == ZBUD, m.known == "read"
    fig.path(_circle(x, y, r), edge, sw, "ink" if mine and read else "bg", "" if read else "2 2")
    if mine and not read:
        fig.path(_circle(x, y, 2.5), "", fill="ink")


def _circle(x: float, y: float, r: float) -> str:
    return f"M{x - r:.1f} {y}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 -{2 * r} 0z"


def _legend(fig: Fig, y: float) -> float:
    for x, words, fill, dash in (
        (6, "Jennings, zbud", "ink", ""),
        (122, "everyone else", "bg", ""),
        (228, "known through quotes, or by name only", "bg", "2 2"),
    ):
        fig.path(_circle(x, y, 4.5), "ink", 1.5, fill, dash)
        fig.small(x + 10, y + 4, words)
    return y + 8


def _open(fig: Fig, walk: Walk, y: float, parts: bool) -> float:
    """The open message and its claims; returns the y beneath."""
    m, since, top = walk.open, len(fig.parts), y
    where = m.message_id.strip("<>") or "message-id not known"
    when = f"{m.utc.day} {m.utc:%B %Y}, {m.utc:%H:%M} UTC"
    fig.text(16, y + 22, m.author, bold=True)
    fig.text(28 + 8.4 * len(m.author), y + 22, when, fill="dim")
    fig.small(16, y + 40, where, mono=True, fill="dim")
    fig.say()
    fig.say(f"{m.author}, {when}, {where}")
    note = [
        m.key,
        *([f"answers {m.in_reply_to}"] if m.parent else []),
        *([KNOWN[m.known]] if m.known != "read" else []),
    ]
    if fig.wide:
        fig.small(fig.width - 12, y + 22, "; ".join(note), fill="dim", at="end")
    else:
        fig.small(16, y + 56, "; ".join(note), fill="dim")
    fig.say(f"  {'; '.join(note)}")
    y = fig.para(16, y + (62 if fig.wide else 78), fig.width - 40, m.paraphrase)
    fig.say(f"  {m.paraphrase}")
    for claim in claims_of(m):
        y = _claim(fig, walk, claim, y, parts)
    fig.panel(since, top, y + 2)
    return y + 4


def _claim(fig: Fig, walk: Walk, claim: Claim, y: float, parts: bool) -> float:
    """What is claimed, with its verdict; the chosen one also with its evidence.  Returns the y beneath."""
    n, top, verdict = claim.number, y, claim.verdict
    with fig.part(f"claim:{n}", f"claim {n}: {claim.says} {verdict}. {claim.evidence}", parts):
        verdict_pill(fig, 16, y, verdict, "hit" if parts else "")
        y = fig.para(150, y + 15, fig.width - 234, claim.says, lead=14)
        if n == walk.claim:
            y = fig.para(150, y + 2, fig.width - 234, claim.evidence, fill="dim", lead=14)
            if claim.real:
                y = fig.para(150, y + 2, fig.width - 234, str(claim.real), fill="dim", lead=14)
    with fig.part(f"try:{n}", f"try it, claim {n}: {staged(claim)}", parts):
        on = n == walk.staged
        fill, edge, sw = ("nowbg", "now", 2) if on else ("bg", "dim", 1)
        fig.rect(fig.width - 72, top, 62, 22, fill, edge, sw, 4, cls="hit" if parts else "")
        fig.text(fig.width - 41, top + 15.5, "try it", at="middle")
    fig.say(f"  {n:2} {verdict}: {claim.says}")
    fig.say(f"       {claim.evidence}")
    if claim.real:
        fig.say(f"       {claim.real}")
    return max(y - 8, top + 22) + 6


def verdict_pill(fig: Fig, x: float, y: float, verdict: str, cls: str = "") -> None:
    """A claim's verdict as a glyph and in words: tick, half disc, cross on ink, dash."""
    fails = verdict == FAILS
    ink = "on" if fails else "ink"
    fig.rect(x + 0.5, y + 0.5, 122, 21, "h4" if fails else "bg", "ink", 1.3, 10.5, cls=cls)
    if verdict == IN_PART:
        fig.path(f"M{x + 9} {y + 11}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0", ink, 1.2)
        fig.path(f"M{x + 13.5} {y + 6.5}a4.5 4.5 0 0 1 0 9z", "", fill=ink)
    else:
        d = {HOLDS: "l3 3.5 5 -7", FAILS: "m0 -4l7 8m0 -8l-7 8"}.get(verdict, "h8")
        fig.path(f"M{x + 9} {y + 11}{d}", ink, 1.6)
    fig.small(x + 24, y + 15, verdict, fill=ink, bold=True)
