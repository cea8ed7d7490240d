"""LRU lists and the page cache: isolating a page, putting it back, dropping it from its file or from swap."""

from __future__ import annotations

from ..struct_page import (
    PageActive,
    PageDirty,
    PageLRU,
    PageSwapBacked,
    PageSwapCache,
    PageUnevictable,
    PageWriteback,
    page_mapped,
)
from .machine import LRU_LISTS, LRU_LOCK, Beyond, Stuck
from .put import put_page
from .record import Record, any_flag, has
from .refs import clear_flag, get_page, set_flag, test_and_clear_flag
from .zone import LRU

INACTIVE_ANON, ACTIVE_ANON, INACTIVE_FILE, ACTIVE_FILE, UNEVICTABLE = range(5)  # the LRU lists of a zone

# struct address_space and its operations, Linux 3.10: bytes from the start of each
PAGE_TREE, TREE_ROOT, TREE_LOCK, I_MMAP_MUTEX = 0x08, 0x10, 0x18, 0x38
NRPAGES, A_OPS, AS_FLAGS, BACKING_DEV_INFO, PRIVATE_DATA = 0x60, 0x70, 0x78, 0x80, 0xA0
AS_EIO, AS_UNEVICTABLE, AS_BALLOON_MAP = 25, 28, 29  # bits of its flags
RELEASEPAGE, FREEPAGE, ERROR_REMOVE_PAGE = 0x48, 0x50, 0x80
BDI_CAPABILITIES, BDI_CAP_NO_WRITEBACK = 0x20, 2

SWAPPER_SPACES, ADDRESS_SPACE = 0xFFFFFFFF81E00000, 168  # one for each swap file, in kernel data: not in the model
MAX_SWAPFILES = 29


def isolate_lru_page(p: Record) -> bool:
    """Take a page off its LRU list, with a reference of its own; whether it was on one."""
    if not PageLRU(p):
        return False
    m = p.machine
    lock = m.zone(p) + LRU_LOCK
    m.spin_lock(lock)
    get_page(p)
    clear_flag(p, "lru")
    m.list_del(p.address + LRU)
    m.spin_unlock(lock)
    return True


def putback_lru_page(p: Record) -> None:
    """Put an isolated page back: into the pagevec for the list of its kind, or straight on the unevictable list."""
    m = p.machine
    active = test_and_clear_flag(p, "active")
    while True:
        clear_flag(p, "unevictable")
        if page_evictable(p):
            kind = (INACTIVE_ANON if PageSwapBacked(p) else INACTIVE_FILE) + active
            if PageActive(p):  # as lru_cache_add_lru looks again
                clear_flag(p, "active")
            elif PageUnevictable(p):
                clear_flag(p, "unevictable")
            get_page(p)
            m.pagevec.append((p.address, kind))
            break
        zone = m.zone(p)
        m.spin_lock(zone + LRU_LOCK)
        set_flag(p, "unevictable")
        set_flag(p, "lru")
        m.list_add(p.address + LRU, zone + LRU_LISTS + 16 * UNEVICTABLE)
        m.spin_unlock(zone + LRU_LOCK)
        if not page_evictable(p) or not isolate_lru_page(p):
            break
        put_page(p)
    put_page(p)


def lru_add_drain_all(p: Record) -> None:
    """Let every CPU put the pages of its pagevecs on their LRU lists."""
    m = p.machine
    m.event("lru_add_drain_all")
    waiting, m.pagevec = m.pagevec, []
    for address, kind in waiting:
        page = Record(m, address)
        zone = m.zone(page)
        m.spin_lock(zone + LRU_LOCK)
        set_flag(page, "lru")
        if kind in (ACTIVE_ANON, ACTIVE_FILE):
            set_flag(page, "active")
        m.list_add(address + LRU, zone + LRU_LISTS + 16 * kind)
        m.spin_unlock(zone + LRU_LOCK)
        put_page(page)


def page_evictable(p: Record) -> bool:
    """Whether a page may be reclaimed: not locked into memory, by its address space or by itself."""
    mapping = page_mapping(p)
    if mapping and not swapper_space(mapping) and p.machine.read(mapping + AS_FLAGS) >> AS_UNEVICTABLE & 1:
        return False
    return not has("mlocked")(p)


# ---------------------------------------------------------------------- whose page it is


def page_mapping(p: Record) -> int:
    """The address_space of a page: that of swap for the swap cache, NULL for other anonymous pages, else mapping."""
    if PageSwapCache(p):
        return swap_address_space(p["private"])
    mapping = p["mapping"]
    return 0 if mapping & 1 else mapping


def swap_address_space(entry: int) -> int:
    """The address_space of a swap file: its number is in the upper bits of an entry, which a page has in private."""
    return SWAPPER_SPACES + ADDRESS_SPACE * (entry >> 57)


def swapper_space(mapping: int) -> bool:
    """Whether an address_space is that of a swap file; then whatever is asked of it is answered with no.

    The number of a swap file comes from a page's private, so it may be one that no swap file has: out of the model.
    """
    number = (mapping - SWAPPER_SPACES) // ADDRESS_SPACE
    if not 0 <= number < 128 or (mapping - SWAPPER_SPACES) % ADDRESS_SPACE:
        return False
    if number >= MAX_SWAPFILES:
        raise Beyond("swap_address_space")
    return True


def operation(p: Record, mapping: int, offset: int) -> int:
    """A function that an address_space names, NULL for none."""
    return 0 if swapper_space(mapping) else p.machine.read(p.machine.read(mapping + A_OPS) + offset)


# ---------------------------------------------------------------------- dropping a page from its cache

page_has_private = any_flag("private", "private_2")


def invalidate_inode_page(p: Record) -> bool:
    """Drop a clean page that nobody maps from the cache of its file; whether that worked."""
    mapping = page_mapping(p)
    if not mapping or PageDirty(p) or PageWriteback(p) or page_mapped(p):
        return False
    if p["mapping"] != mapping:
        return False
    if page_has_private(p) and not try_to_release_page(p):
        return False
    return remove_mapping(p, mapping)


def try_to_release_page(p: Record) -> bool:
    """Ask the file system to let go of what it keeps about a page; it does not."""
    if PageWriteback(p):
        return False
    mapping = p["mapping"]
    releasepage = operation(p, mapping, RELEASEPAGE) if mapping else 0
    if releasepage:
        p.machine.call(releasepage)
    p.machine.event("try_to_free_buffers", p.pfn)
    return False


def remove_mapping(p: Record, mapping: int) -> bool:
    """Take a page out of its file's cache, if exactly two hold it: the cache, and who is asking."""
    m = p.machine
    if not has("locked")(p) or mapping != page_mapping(p):
        raise Stuck("BUG")
    m.spin_lock(mapping + TREE_LOCK)
    if p["_count"] != 2:
        m.spin_unlock(mapping + TREE_LOCK)
        return False
    p["_count"] = 0  # nobody can take a reference now
    if PageDirty(p):
        p["_count"] = 2
        m.spin_unlock(mapping + TREE_LOCK)
        return False
    freepage = operation(p, mapping, FREEPAGE)
    delete_from_page_cache(p)
    m.spin_unlock(mapping + TREE_LOCK)
    if freepage:
        m.call(freepage)
    p["_count"] = 1
    return True


def delete_from_page_cache(p: Record) -> None:
    """Out of the file's tree of pages, which holds none here, so that only its root can change."""
    m = p.machine
    mapping = p["mapping"]
    if m.read(mapping + PAGE_TREE, 4) == 0 and p["index"] == 0:
        m.write(mapping + TREE_ROOT, 0)
    p["mapping"] = 0
    m.add(mapping + NRPAGES, -1)
    if page_mapped(p):
        raise Stuck("BUG")


def delete_from_swap_cache(p: Record) -> None:
    """Take a page out of the swap cache, and drop the cache's reference."""
    entry = p["private"]
    swapper_space(swap_address_space(entry))
    p["private"] = 0
    clear_flag(p, "swapcache")
    p.machine.event("swapcache_free", entry)
    put_page(p)
