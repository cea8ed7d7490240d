"""Addresses, pages and pools in words."""

from __future__ import annotations

from .memmap import Memmap
from .rows import count
from .struct_page import RECORD
from .zbud import ZbudPool

# What a page's owner is called, and the tag letter that stands for it everywhere.
LETTERS = {"zbud": "Z", "slab": "S", "reserved": "R", "anonymous": "U", "page cache": "U"}


def letter(memmap: Memmap, pfn: int) -> str:
    """The tag letter of a page, by who owns it in truth: R, S, Z, F, U, or K for any other kernel page."""
    owner = memmap.owner.get(pfn)
    return "F" if owner is None else LETTERS.get(owner, "K")


def where(pool: ZbudPool, address: int) -> str:
    """What an address leads to, in words, for somebody who knows the pool.

    >>> pool = ZbudPool("v12")
    >>> handle = pool.alloc(1000)
    >>> where(pool, pool.memmap.load(pool.memmap.record(0) + 16)), where(pool, pool.memmap.load(pool.lru))
    ('unbuddied[48]', 'page 0x0, its lru')
    """
    heads = {pool.unbuddied(i): f"unbuddied[{i}]" for i in range(pool.lists)}
    heads |= {pool.buddied: "buddied", pool.lru: "the pool's lru"}
    if address in heads:
        return heads[address]
    pfn = pool.data.pfn(address)
    if pfn in pool.mine:
        if address == pool.data.buddy(pfn):
            return f"page {pfn:#x}, its buddy"
        if address == pool.data.lru(pfn):
            return f"page {pfn:#x}, its lru"
    return pool.memmap.where(address)


def leads(memmap: Memmap, pool: ZbudPool | None, home: int, address: int) -> str:
    """Where a link kept at address `home` leads, in a few characters: `p3 lru`, `list [48]`, `itself`, `nowhere`."""
    if address == home:
        return "itself"
    words = where(pool, address) if pool else memmap.where(address)
    if words.startswith("page 0x") and ", its " in words:
        pfn, _, link = words.removeprefix("page ").partition(", its ")
        return f"p{int(pfn, 16)} {link}"
    if words.startswith("struct page of "):
        return f"record of p{(address - memmap.record(0)) // RECORD}"
    return {"the pool's lru": "pool lru", "list poison": "poison"}.get(words, words.replace("unbuddied[", "list ["))


def slack(pool: ZbudPool) -> int:
    """Bytes in the pool's pages that no tenant and no header takes."""
    return sum(pool.capacity - sum(pool.chunks(pfn)) for pfn in pool.mine) * 64


def summary(pool: ZbudPool) -> str:
    """One line: pages, zpages, density, slack."""
    pages, zpages = pool.pages_nr, len(pool.tenants)
    density = f", density {zpages / pages:.2f}, slack {slack(pool):,} B" if pages else ""
    return f"zbud {pool.version.name}: {count(zpages, 'zpage')} in {count(pages, 'page')}{density}"
