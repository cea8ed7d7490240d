"""The readers of Linux 6.1, after the code of 6.1 and held to what Debian's 6.1.192 did (source readers-6.1).

Much was learned since 2013: kpagecount knows page types, memory_failure asks what a page is before it touches its
count, and compaction no longer follows the mapping of a page that looks like nothing in particular.  What is new in the
memmap can be misread, too: bit 0 of byte 8 makes a tail page, and the two low bits of mapping decide who is moved by
whose operations.  dressings.py sends these readers to pages that were dressed on a real kernel.
"""

from __future__ import annotations

from ...linux_6_1 import RELEASE, TYPES, type_value
from ...memmap import Memmap
from ...releases import Release
from ..machine import Machine
from . import failure, free, offline, report

PEEKERS = tuple(p for family in (report, failure, offline, free) for p in family.PEEKERS)


def samples(release: Release) -> tuple[Machine, list[int]]:
    """A small memmap with one page of each kind that makes a difference, for the description of tables."""
    m = Memmap(64, base_pfn=1024, release=release)
    m.fill()
    bits, anon, head = release.flags, m.frame(1024) + 1, m.record(1042)
    zone = m.page(1024)["flags"]
    kinds: list[dict[str, int]] = [
        {"_refcount": 1, "private": 3, "index": 7},
        {"_mapcount": type_value("buddy") if release is RELEASE else -0xF00_0001, "private": 0},
        {"_refcount": 2, "flags": zone | 1 << bits["lru"] | 1 << bits["swapbacked"], "_mapcount": 0, "mapping": anon},
        {"_refcount": 1, "flags": zone | 1 << bits["hwpoison"]},
        {"_refcount": 1, "flags": zone | 1 << bits["mlocked"]},
        {"_refcount": 1, "mapping": m.frame(1026) + 2},
        {"_refcount": 1, "mapping": m.frame(1026)},
        {"_refcount": 1, "memcg_data": m.frame(1026)},
        {"_refcount": 1, "_mapcount": ~(TYPES["offline"]) if release is RELEASE else -0xE00_0001},
        {"_refcount": 1, "flags": zone | 1 << bits["head"], "mapping": anon},
        {"compound_head": head + 1},
    ]
    pfns = [1024 + 2 * i for i in range(10)] + [1043]
    for pfn, fields in zip(pfns, kinds, strict=True):
        for name, value in fields.items():
            m.page(pfn)[name] = value
    return Machine(m), pfns
