"""Readers of the memmap."""

from . import check, compact, decide, failure, offline, report, take
from .rules import Peeker

PEEKERS: dict[str, Peeker] = {
    p.name: p for family in (report, decide, compact, failure, offline, take, check) for p in family.PEEKERS
}
