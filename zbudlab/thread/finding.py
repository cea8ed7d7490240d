"""What comes of putting a claim to the test.

A predicate runs the model and returns a `Finding`: the cases that it tried, each with whether the claim is true of it.
The verdict is no opinion, it is counted:

    holds            true of every case
    fails            true of none
    holds in part    true of some; the cases say of which
    does not arise   there was no case: what the claim (or question) supposes does not happen
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

HOLDS, FAILS, IN_PART, MOOT = VERDICTS = ("holds", "fails", "holds in part", "does not arise")


@dataclass(frozen=True)
class Finding:
    """`cases` in words with True or False, `evidence` in a sentence or two made from what the run produced."""

    cases: Mapping[str, bool]
    evidence: str

    @property
    def verdict(self) -> str:
        """One of VERDICTS, counted from the cases.

        >>> Finding({"at rest": True, "while evicting": False}, "").verdict
        'holds in part'
        """
        true = sum(map(bool, self.cases.values()))
        return MOOT if not self.cases else HOLDS if true == len(self.cases) else IN_PART if true else FAILS

    def where(self, answer: bool) -> list[str]:
        """The cases of which the claim is true, or those of which it is not."""
        return [case for case, true in self.cases.items() if bool(true) is answer]

    def __str__(self) -> str:
        return f"{self.verdict}: {self.evidence}"


def listed(things: Iterable[object]) -> str:
    """Things in a sentence.

    >>> listed(["flags", "_count", "mapping"]), listed([])
    ('flags, _count and mapping', 'none')
    """
    words = list(map(str, things))
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) or "none"
