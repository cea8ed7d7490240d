"""What must be true of a pool at rest: each invariant named, and the first that is broken reported with its bytes.

The pool believes its lists.  This twin does not: it follows every link back and compares the bytes with what the model
knows besides (who owns which page, which handles are live).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .struct_page import CHUNK, PAGE_SIZE, PG

if TYPE_CHECKING:
    from .memmap import Memmap
    from .zbud import ZbudPool


def ring(memmap: Memmap, head: int, name: str) -> list[int]:
    """The entries of a list, each link followed both ways; raises AssertionError naming the first that is one-way."""
    entries: list[int] = []
    entry = head
    while True:
        after = memmap.load(entry)
        back = memmap.load(after + 8)
        assert back == entry, f"{name}: {memmap.where(entry)} leads to {memmap.where(after)}, whose prev is {back:#x}"
        if after == head:
            return entries
        entries.append(after)
        assert len(entries) <= len(memmap.pfns), f"{name} does not return to its head within {len(entries)} entries"
        entry = after


def check_pool(pool: ZbudPool) -> None:
    """Raises AssertionError naming the first broken invariant (or KernelOops, where a link leads nowhere)."""
    m = pool.memmap
    heads = {f"unbuddied[{i}]": pool.unbuddied(i) for i in range(pool.version.lists)} | {"buddied": pool.buddied}
    if pool.version.shared_list_0:
        del heads["unbuddied[0]"]
    listed: dict[int, str] = {}
    for name, head in heads.items():
        for pfn in map(pool.data.pfn, ring(m, head, name)):
            assert pfn not in listed, f"page {pfn:#x} is on {listed[pfn]} and on {name}"
            listed[pfn] = name
    aged = [pool.data.pfn(node) for node in ring(m, pool.lru, "lru")]
    assert len(aged) == len(set(aged)), f"a page is on the lru twice: {aged}"
    assert set(aged) == pool.mine, f"the lru holds {sorted(aged)}, the pool has {sorted(pool.mine)}"
    assert set(listed) == pool.mine, f"the buddy lists hold {sorted(listed)}, the pool has {sorted(pool.mine)}"
    assert pool.pages_nr == len(pool.mine), f"pages_nr is {pool.pages_nr}, the pool has {len(pool.mine)} pages"
    for pfn in pool.mine:
        _check_page(pool, pfn, listed[pfn])
    tenants = sum(bool(n) for pfn in pool.mine for n in pool.chunks(pfn))
    assert tenants == len(pool.tenants), (
        f"the chunk counts tell of {tenants} zpages, {len(pool.tenants)} handles are live"
    )
    assert len(pool.tenants) >= pool.pages_nr, f"density below 1: {len(pool.tenants)} zpages in {pool.pages_nr} pages"
    for handle in pool.tenants.values():
        n = pool.chunks(handle.pfn)[handle.slot == "LAST"]
        size = f"{handle!r} lies on {n} chunks of {CHUNK} bytes"
        assert n == -(-handle.size // CHUNK), size
        assert handle == pool._address(handle.pfn, handle.slot, n), f"{handle!r} is not where the chunk counts put it"


def _check_page(pool: ZbudPool, pfn: int, name: str) -> None:
    first, last = pool.chunks(pfn)
    p, scheme = pool.memmap.page(pfn), pool.scheme
    bytes_ = f"page {pfn:#x}, record {p.raw.hex()}, first chunk {bytes(pool.memmap.frame_bytes(pfn)[:CHUNK]).hex()}"
    free = pool.capacity - first - last
    assert first or last, f"a page without a tenant is in the pool: {bytes_}"
    assert free >= 0, f"{first} and {last} chunks do not fit in {pool.capacity} ({PAGE_SIZE} bytes): {bytes_}"
    right = "buddied" if (first and last) or (free == 0 and pool.version.shared_list_0) else f"unbuddied[{free}]"
    assert name == right, f"a page with {first} and {last} chunks is on {name}, not on {right}: {bytes_}"
    assert not pool.data.under_reclaim(pfn), f"a page is marked as under reclaim at rest: {bytes_}"
    assert pool.memmap.owner.get(pfn) == "zbud", (
        f"{pool.memmap.owner.get(pfn, 'nobody')} owns a page of the pool: {bytes_}"
    )
    tag = 1 << PG[scheme.flag] if scheme.flag else 0
    assert p["flags"] & ((1 << len(PG)) - 1) == tag, f"the page flags are not those of {scheme.name}: {bytes_}"
    if not scheme.overlays(24, 4):
        plain = -1 if scheme.mapcount is None else scheme.mapcount
        assert p["_mapcount"] == plain, f"_mapcount is {p['_mapcount']}, not {plain}: {bytes_}"
    if not scheme.overlays(28, 4):
        assert p["_count"] == 1, f"_count is {p['_count']}, not 1: {bytes_}"
