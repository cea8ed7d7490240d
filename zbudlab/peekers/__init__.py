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
from functools import cache
from importlib import import_module
from types import MappingProxyType

from ..releases import release as find_release
from ..releases import room
from . import check, compact, decide, failure, offline, report, take
from .machine import Beyond, Machine, Stuck
from .rules import Adds, Ask, Conclude, Do, Peeker, Says, Visit

PEEKERS: Mapping[str, Peeker] = MappingProxyType(
    {p.name: p for family in (report, decide, compact, failure, offline, take, check) for p in family.PEEKERS}
)


@cache
def of(release: str) -> Mapping[str, Peeker]:
    """The readers of a kernel release, by name; those of 3.10 are PEEKERS.  ValueError for an unknown release."""
    if release == "3.10":
        return PEEKERS
    module = import_module(f".{room(find_release(release).name)}", __package__)
    return MappingProxyType({p.name: p for p in module.PEEKERS})


# The git blob of each file that a table was written after; what was run for the recordings is what is read here.
BLOBS: Mapping[str, str] = MappingProxyType(
    {
        "fs/proc/page.c": "b8730d9ebaee",
        "include/linux/balloon_compaction.h": "089743ade734",
        "kernel/power/snapshot.c": "0de28576807d",
        "lib/show_mem.c": "b7c72311ad0c",
        "mm/compaction.c": "05ccb4cc0bdb",
        "mm/hwpoison-inject.c": "3a61efc518d5",
        "mm/kmemleak.c": "c8d7f3110fd0",
        "mm/memory-failure.c": "ceb0c7f1932f",
        "mm/memory_hotplug.c": "1ad92b46753e",
        "mm/page_alloc.c": "2ee0fd313f03",
        "mm/page_isolation.c": "383bdbb98b04",
        "virt/kvm/kvm_main.c": "302681c4aa44",
        "makedumpfile.c": "b42565c7e0c0",
    }
    | {  # these were only read: Linux 3.10.17, and crash of August 2026
        "arch/x86/mm/ioremap.c": "9a1e6583910c",
        "drivers/base/node.c": "7616a77ca322",
        "include/linux/mm.h": "e0c8528a41a4",
        "mm/filemap.c": "7905fe721aa8",
        "mm/ksm.c": "b6afe0c440d8",
        "memory.c": "f2304f3ffe2f",
    }
)

__all__ = [
    "BLOBS",
    "PEEKERS",
    "Adds",
    "Ask",
    "Beyond",
    "Conclude",
    "Do",
    "Machine",
    "Peeker",
    "Says",
    "Stuck",
    "Visit",
    "of",
]
