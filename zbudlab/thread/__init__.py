"""The thread as data: every message, who answered whom, the four demands, and what can be checked of what was said.

    >>> from zbudlab.thread import CLAIMS
    >>> print(CLAIMS[19 - 1].says, CLAIMS[19 - 1].verdict)
    The search for a page is first fit. fails

Messages are in messages.py (the table in mails.py), who is who in names.py, claims in claims.py, their predicates in
on_readers.py, on_pages.py and on_zbud.py, what a verdict is in finding.py.
"""

from ..moments import Moment, Setting
from .claims import CLAIMS, Claim, Claims, Real, claims
from .finding import FAILS, HOLDS, IN_PART, MOOT, VERDICTS, Finding
from .messages import DEMANDS, MESSAGES, Demand, Message, Tree, message, reply_tree
from .names import WHO, Who

__all__ = [
    "CLAIMS",
    "DEMANDS",
    "FAILS",
    "HOLDS",
    "IN_PART",
    "MESSAGES",
    "MOOT",
    "VERDICTS",
    "WHO",
    "Claim",
    "Claims",
    "Demand",
    "Finding",
    "Message",
    "Moment",
    "Real",
    "Setting",
    "Tree",
    "Who",
    "claims",
    "message",
    "reply_tree",
]
