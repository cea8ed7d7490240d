"""Peekers: code in the kernel, and beside it, that comes to a page by its number and makes up its mind from the record.

    >>> from zbudlab.zbud import ZbudPool
    >>> pool = ZbudPool("v12", 8)
    >>> page = pool.alloc(1000).pfn
    >>> visit = PEEKERS["kpagecount"].visit(pool.memmap, page)
    >>> print(visit)
    kpagecount at page 0x0 (kpagecount_read, fs/proc/page.c, Linux 3.10)
      asked: a slab page?  no  (flags 0x200000000000000)
      concluded 0x8309: _mapcount + 1, widened to 64 bits
      returned 0x8309: _mapcount + 1, widened to 64 bits

`PEEKERS` has them all by name; rules.py says how each is written down.  By family: report.py, decide.py, compact.py
(compaction), failure.py and states.py (memory_failure), offline.py, take.py, check.py (the page allocator's checks).
What they do to a record is in refs.py, put.py, lru.py and zone.py; what stands around a page, in machine.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from . import check, compact, decide, failure, offline, report, take
from .machine import Beyond, Machine, Stuck
from .rules import Adds, Ask, Conclude, Do, Peeker, Says, Visit

PEEKERS: Mapping[str, Peeker] = MappingProxyType(
    {p.name: p for family in (report, decide, compact, failure, offline, take, check) for p in family.PEEKERS}
)

__all__ = ["PEEKERS", "Adds", "Ask", "Beyond", "Conclude", "Do", "Machine", "Peeker", "Says", "Stuck", "Visit"]
