"""What must be true of a pool at rest: each invariant named, and the first that is broken reported with its bytes.

The pool believes its lists.  This twin does not: it follows every link back and compares the bytes with what the model
knows besides (who owns which page, which handles are live).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .schemes import FLAGS
from .struct_page import CHUNK, PAGE_SIZE, PageBuddy, PageHead, PageTail

if TYPE_CHECKING:
    from .memmap import Memmap
    from .zbud import ZbudPool


class Observed:
    """What one may do with a pool from outside, and no kernel can: read it whole, copy it, hold it to its rules."""

    def state(self: Any) -> dict[str, Any]:
        """Lists and chunk counts as plain data, read from the bytes, in the form of the recordings' state rows."""
        lists = {str(i): list(self.walk(self.unbuddied(i))) for i in range(self.lists)}
        if self.version.shared_list_0:
            del lists["0"]
        lru = list(self.walk(self.lru))
        return {
            "unbuddied": {i: pages for i, pages in lists.items() if pages},
            "buddied": list(self.walk(self.buddied)),
            "lru": lru,
            "pages": {str(pfn): list(self.chunks(pfn)) for pfn in sorted(lru)},
            "pages_nr": self.pages_nr,
        }

    def save(self: Any) -> Any:
        """A copy of the pool and of all the memory it stands in, for `restore`."""
        ours = self.allocations, dict(self.tenants), set(self.mine), self.destroyed
        machine = vars(self.memmap).get("machine")  # what stands around the pages, if a reader has been here
        around = None if machine is None else (machine, machine.save())
        return self.memmap.save(), self.pages.save(), ours, around

    def restore(self: Any, saved: Any) -> None:
        memory, pages, (self.allocations, tenants, mine, self.destroyed), around = saved
        self.memmap.restore(memory)
        self.pages.restore(pages)
        self.tenants, self.mine = dict(tenants), set(mine)
        if around is None:
            vars(self.memmap).pop("machine", None)
        else:
            machine, state = around
            vars(self.memmap)["machine"] = machine
            machine.restore(state)

    def check(self: Any) -> None:
        """Hold the pool to every invariant; raises AssertionError naming the first that is broken, with the bytes."""
        check_pool(self)


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


def check_memmap(memmap: Memmap) -> None:
    """Raises AssertionError naming the first broken invariant (or KernelOops, where a tail's head leads nowhere)."""
    for pfn in memmap.owner:
        assert pfn in memmap.pfns, f"{memmap.owner[pfn]} owns page {pfn:#x}, which is outside {memmap!r}"
    for p in map(memmap.page, memmap.pfns):
        who = memmap.owner.get(p.pfn)
        if who is None:
            assert p["_count"] == 0, f"page {p.pfn:#x} is free, yet its _count is {p['_count']}: {p.raw.hex()}"
        else:
            assert not PageBuddy(p), f"{who} owns page {p.pfn:#x}, yet it passes for a free block: {p.raw.hex()}"
        if PageTail(p):
            assert PageHead(p.head()), f"page {p.pfn:#x} is a tail of {p.head()!r}, which is no head: {p.raw.hex()}"


def check_pool(pool: ZbudPool) -> None:
    """Raises AssertionError naming the first broken invariant (or KernelOops, where a link leads nowhere)."""
    m = pool.memmap
    heads = {f"unbuddied[{i}]": pool.unbuddied(i) for i in range(pool.lists)} | {"buddied": pool.buddied}
    if pool.version.shared_list_0:
        del heads["unbuddied[0]"]
    listed: dict[int, str] = {}
    for name, head in heads.items():
        for node in ring(m, head, name):
            pfn = pool.data.pfn(node)
            assert node == pool.data.buddy(pfn), f"{name} holds {m.where(node)}, which is no page's buddy node"
            listed[pfn] = name
    nodes = ring(m, pool.lru, "lru")
    aged = [pool.data.pfn(node) for node in nodes]
    for node, pfn in zip(nodes, aged, strict=True):
        assert node == pool.data.lru(pfn), f"the lru holds {m.where(node)}, which is no page's lru node"
    assert set(aged) == pool.mine, f"the lru holds {sorted(aged)}, the pool has {sorted(pool.mine)}"
    assert set(listed) == pool.mine, f"the buddy lists hold {sorted(listed)}, the pool has {sorted(pool.mine)}"
    assert pool.pages_nr == len(pool.mine), f"pages_nr is {pool.pages_nr}, the pool has {len(pool.mine)} pages"
    for pfn in pool.mine:
        _check_page(pool, pfn, listed[pfn])
    tenants = sum(bool(n) for pfn in pool.mine for n in pool.chunks(pfn))
    assert tenants == len(pool.tenants), (
        f"the chunk counts tell of {tenants} zpages, {len(pool.tenants)} handles are live"
    )
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
    tag = 1 << FLAGS[scheme.flag] if scheme.flag else (1 << FLAGS["slab"]) * scheme.slab
    assert p["flags"] & ((1 << pool.memmap.nr_pageflags) - 1) == tag, (
        f"the page flags are not those of {scheme.name}: {bytes_}"
    )
    if not scheme.overlays(24, 4) and not scheme.slab:
        plain = -1 if scheme.mapcount is None else scheme.mapcount
        assert p["_mapcount"] == plain, f"_mapcount is {p['_mapcount']}, not {plain}: {bytes_}"
    if not scheme.overlays(8, 8):
        assert p["mapping"] == 0, f"mapping is {p['mapping']:#x}, not NULL: {bytes_}"
    if not scheme.overlays(28, 4):
        assert p["_count"] == 1, f"_count is {p['_count']}, not 1: {bytes_}"
