"""Who wrote what, when, and in answer to whom; and the four demands.

Every message has a `key`, used wherever the course speaks of it, and a paraphrase in our words.  The mails themselves
are not here: `message_id` says where to read them.

    >>> message("jennings-seed").author, message("jennings-seed").parent.key
    ('Seth Jennings', 'morton-variant')
    >>> reply_tree("morton-variant")[-1]
    (2, <Message wilk-questions: Konrad Rzeszutek Wilk, 3 June 2013>)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from ..sources import SOURCES
from .mails import MAILS

# How a message is known to us.
KNOWN = {
    "read": "its text was read",
    "quoted": "known through what others quote of it",
    "listed": "known to exist; its text was not read",
}
GROUPS = {
    "patch": "the discussion of v12 2/4, the patch that adds zbud",
    "series": "the rest of the v12 posting",
    "before": "the review of v11 in the weeks before",
    "after": "what came of it",
}


@dataclass(frozen=True, repr=False)
class Message:
    """One mail.

    `key` is its short name here, `time` is in the sender's zone, `message_id` as in the header (cut off by "..." or
    empty as far as it is not known to us), `in_reply_to` the key of the message that it answers (empty: of none in this
    table, or not known).  `known` is a word of KNOWN, `group` one of GROUPS.  `dated` says where the time comes from:
    the "header", or the "id", in which many mail programs write the second of sending.  `names` are terms of
    WHO that it brings up.
    """

    key: str
    author: str
    time: datetime
    subject: str
    message_id: str
    in_reply_to: str
    paraphrase: str
    names: tuple[str, ...] = ()
    known: str = "read"
    group: str = "patch"
    dated: str = "header"

    @property
    def parent(self) -> Message | None:
        """The message that this one answers."""
        return message(self.in_reply_to) if self.in_reply_to else None

    @property
    def replies(self) -> list[Message]:
        """The answers to it, in time order."""
        return [other for other in MESSAGES if other.in_reply_to == self.key]

    @cached_property
    def utc(self) -> datetime:
        return self.time.astimezone(UTC)

    @property
    def day(self) -> str:
        """The day of sending, where it was sent.

        >>> message("morton-variant").day
        '29 May 2013'
        """
        return f"{self.time.day} {self.time:%B %Y}"

    def __str__(self) -> str:
        head = f"{self.author}, {self.day}, {self.time:%H:%M:%S %z}, {self.subject}"
        notes = [self.message_id or "message-id not known", *([] if self.known == "read" else [KNOWN[self.known]])]
        return f"{head}\n    {'; '.join(notes)}\n    {self.paraphrase}"

    def __repr__(self) -> str:
        return f"<Message {self.key}: {self.author}, {self.day}>"


class Tree(list[tuple[int, Message]]):
    """A reply tree, depth first: (depth, message).  It shows itself as text, a line for each message, times in UTC."""

    def __str__(self) -> str:
        lines = []
        for depth, m in self:
            branch = "   " * (depth - 1) + "`- " if depth else ""
            lines.append(f"{m.utc.day:2} {m.utc:%b %H:%M}  {branch}{m.author}: {m.key}")
        return "\n".join(lines)

    __repr__ = __str__


def message(key: str) -> Message:
    """The message of a key; KeyError names an unknown one."""
    if key not in BY_KEY:
        raise KeyError(f"unknown message {key!r}; known: {', '.join(BY_KEY)}")
    return BY_KEY[key]


def reply_tree(root: str = "jennings-v12") -> Tree:
    """The message of a key and everything that was said in answer, answers in time order.

    >>> print(reply_tree("jennings-seed"))
    30 May 17:43  Seth Jennings: jennings-seed
    30 May 21:20  `- Seth Jennings: jennings-inline
    31 May 01:48     `- Bob Liu: liu-slab
     3 Jun 13:48  `- Konrad Rzeszutek Wilk: wilk-questions
    """

    def below(m: Message, depth: int) -> Iterator[tuple[int, Message]]:
        yield depth, m
        for answer in m.replies:
            yield from below(answer, depth + 1)

    return Tree(below(message(root), 0))


@dataclass(frozen=True)
class Demand:
    """One of Andrew Morton's four demands of 29 May 2013; `zbudlab.demonstrate.demands` answers it under `name`."""

    number: int
    paraphrase: str
    name: str
    message: str = "morton-variant"

    def __str__(self) -> str:
        return f"{self.number}. {self.paraphrase} (demands: {self.name})"


DEMANDS = (
    Demand(
        1, "zbud's fields have their place in the definition of struct page, not in a cast.", "placed by definition"
    ),
    Demand(2, "What marks a page as zbud's is decided, and written down.", "tag decided"),
    Demand(3, "It is shown that those who read the memmap today come to no harm by it.", "safe against the readers"),
    Demand(4, "None of the few page flags left is spent on it.", "no further page flag"),
)


def _made(row: Mapping[str, Any]) -> Message:
    """A Message from a row of the table; an id that SOURCES has already is taken from there."""
    fields = dict(row)
    source = fields.pop("source", None)
    if source is not None:
        fields["message_id"] = SOURCES[source].where.split(",")[0]
    fields["time"] = datetime.fromisoformat(fields["time"])
    return Message(**fields)


MESSAGES: tuple[Message, ...] = tuple(sorted(map(_made, MAILS), key=lambda m: m.utc))
BY_KEY = {m.key: m for m in MESSAGES}
