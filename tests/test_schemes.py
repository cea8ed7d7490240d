"""Every scheme: its bytes are those worked out by hand, and the pool runs on it and leaves nothing behind."""

import re

import pytest

from zbudlab import SCHEMES, VERSIONS, KernelPages, Memmap, Scheme, ZbudPool
from zbudlab.page_alloc import Arena
from zbudlab.schemes import FLAGS, OVERLAY_CLEAR, variant

A, B = 0x12345, 0x12399  # pages A and B of the reference scene
POOL = 0xFFFF88001B2C3800
DMA32 = 1 << 56

# The 64 bytes, worked out independently of this code: A with chunks 9 and 19 first on buddied and lru, B with 12 and 30
# second; then C with 0 and 52 alone on unbuddied[12], and A while it is being evicted.
GOLDEN = {
    ("overlay-v12", "A"): """
        00 00 00 00 00 00 00 01 09 00 13 00 00 00 00 00 50 e6 48 00 00 ea ff ff 08 3c 2c 1b 00 88 ff ff
        60 e6 48 00 00 ea ff ff 18 3c 2c 1b 00 88 ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("overlay-v12", "B"): """
        00 00 00 00 00 00 00 01 0c 00 1e 00 00 00 00 00 08 3c 2c 1b 00 88 ff ff 50 d1 48 00 00 ea ff ff
        18 3c 2c 1b 00 88 ff ff 60 d1 48 00 00 ea ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("overlay-on-mapcount", "A"): """
        00 00 00 00 00 00 00 01 48 e6 48 00 00 ea ff ff 08 3c 2c 1b 00 88 ff ff 09 00 13 00 01 00 00 00
        60 e6 48 00 00 ea ff ff 18 3c 2c 1b 00 88 ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("overlay-on-mapcount", "B"): """
        00 00 00 00 00 00 00 01 08 3c 2c 1b 00 88 ff ff 48 d1 48 00 00 ea ff ff 0c 00 1e 00 01 00 00 00
        18 3c 2c 1b 00 88 ff ff 60 d1 48 00 00 ea ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("overlay-clear", "A"): """
        00 00 00 00 00 00 00 01 48 e6 48 00 00 ea ff ff 08 3c 2c 1b 00 88 ff ff ff ff ff ff 01 00 00 00
        60 e6 48 00 00 ea ff ff 18 3c 2c 1b 00 88 ff ff 09 00 13 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("new-flag", "A"): """
        00 00 00 02 00 00 00 01 48 e6 48 00 00 ea ff ff 08 3c 2c 1b 00 88 ff ff ff ff ff ff 01 00 00 00
        60 e6 48 00 00 ea ff ff 18 3c 2c 1b 00 88 ff ff 09 00 13 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("mapcount-tag-overlay", "A"): """
        00 00 00 00 00 00 00 01 48 e6 48 00 00 ea ff ff 08 3c 2c 1b 00 88 ff ff 81 ff ff ff 01 00 00 00
        60 e6 48 00 00 ea ff ff 18 3c 2c 1b 00 88 ff ff 09 00 13 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("mapcount-tag", "A"): """
        00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 81 ff ff ff 01 00 00 00
        00 01 10 00 00 00 ad de 00 02 20 00 00 00 ad de 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("inline-header", "A"): """
        00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 ff ff ff ff 01 00 00 00
        00 01 10 00 00 00 ad de 00 02 20 00 00 00 ad de 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("overlay-v12", "C"): """
        00 00 00 00 00 00 00 01 00 00 34 00 00 00 00 00 c8 38 2c 1b 00 88 ff ff c8 38 2c 1b 00 88 ff ff
        18 3c 2c 1b 00 88 ff ff 18 3c 2c 1b 00 88 ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
    ("overlay-v12", "evicted"): """
        00 00 04 00 00 00 00 01 09 00 13 00 00 00 00 00 00 01 10 00 00 00 ad de 00 02 20 00 00 00 ad de
        00 01 10 00 00 00 ad de 00 02 20 00 00 00 ad de 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00""",
}  # fmt: skip


class Scene(Arena):
    """Hands out A, then B, as a per-cpu list would leave them."""

    def alloc_page(self, owner: str = "kernel") -> int:
        pfn = B if A in self.memmap.owner else A
        self.memmap.owner[pfn] = owner
        p = self.memmap.page(pfn)
        p["flags"], p["_count"] = DMA32, 1
        self.memmap.store(p.address + 32, 0xDEAD000000100100)
        self.memmap.store(p.address + 40, 0xDEAD000000200200)
        return pfn


def scene(scheme: str, *chunks: int) -> ZbudPool:
    memmap = Memmap(B - A + 1, base_pfn=A, ram=[range(A, B + 1), range(0x1B2C3, 0x1B2C4)])
    pool = ZbudPool("v12", Scene(memmap), scheme=scheme, address=POOL)
    for n in chunks:
        pool.alloc(64 * n)
    return pool


@pytest.mark.parametrize(("scheme", "page"), GOLDEN, ids=lambda value: str(value))
def test_the_bytes_worked_out_by_hand(scheme: str, page: str) -> None:
    if page == "C":
        pool = scene(scheme, 12, 52)
        pool.free(next(handle for handle in pool.tenants.values() if handle.slot == "FIRST"))
        got = pool.memmap.page(A).raw
    elif page == "evicted":
        seen = []
        pool = scene(scheme, 9, 19)
        pool.evict = lambda pool, handle: seen.append(pool.memmap.page(A).raw) or -16  # type: ignore[func-returns-value]
        with pytest.raises(Exception, match="EAGAIN"):
            pool.reclaim(1)
        (got,) = seen
    else:
        pool = scene(scheme, 9, 12, 30, 19)  # B's pair first, so that A is first on both lists
        if pool.chunks(A) != (9, 19):
            pool = scene(scheme, 9, 19, 12, 30)
            first = pool.tenants[min(pool.tenants)]
            pool.free(next(h for h in pool.tenants.values() if h.pfn == A and h.slot == "LAST"))
            assert first.pfn == A
            pool.alloc(64 * 19)
        got = pool.memmap.page(A if page == "A" else B).raw
    assert got.hex(" ") == " ".join(GOLDEN[scheme, page].split())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_pool_runs_on_any_scheme(version: str, scheme: str) -> None:
    """Fill, reclaim, drain: sound after each step, and every page comes back as it went."""
    pages = KernelPages(Memmap(16, ram=[range(16), range(100, 101)]))
    before = {pfn: pages.memmap.page(pfn)["flags"] for pfn in range(15)}
    address = pages.memmap.frame(100)
    pool = ZbudPool(version, pages, lambda pool, handle: pool.free(handle), scheme=scheme, address=address)
    handles = [pool.alloc(64 * n) for n in (9, 19, 12, 30, 40, 62)]
    pool.check()
    for handle in handles[::2]:
        pool.map(handle)[:] = bytes([7]) * (64 * -(-handle.size // 64))
    assert all(set(pool.map(handle)) == {7} for handle in handles[::2])
    pool.reclaim()
    pool.check()
    for handle in list(pool.tenants.values()):
        pool.free(handle)
        pool.check()
    assert pages.bad_pages == [] and pool.pages_nr == 0
    assert {pfn: pages.memmap.page(pfn)["flags"] for pfn in range(15)} == before
    pages.check()


def test_what_a_page_of_each_scheme_tells_the_kernel() -> None:
    """The tag, the counts and mapping, as anybody reads them."""
    told = {}
    for name in SCHEMES:
        pool = scene(name, 9, 19)
        p = pool.memmap.page(A)
        flags = [flag for flag, bit in FLAGS.items() if p["flags"] >> bit & 1]
        told[name] = (
            flags,
            p["_mapcount"],
            p["_count"],
            "NULL" if not p["mapping"] else "odd" if p["mapping"] & 1 else "even",
        )
    clear = (-1, 1)
    assert told == {
        "overlay-v12": ([], 0x1B2C3C08, -30720, "odd"),
        "overlay-clear": ([], *clear, "even"),
        "overlay-on-mapcount": ([], 9 + 19 * 65536, 1, "even"),
        "overlay-64": ([], *clear, "NULL"),
        "chunks-in-mapping": ([], *clear, "odd"),
        "reserved": (["reserved"], *clear, "even"),
        "slab-flag": (["slab"], *clear, "even"),
        "new-flag": (["zbud"], *clear, "even"),
        "mapcount-tag": ([], -127, 1, "NULL"),
        "mapcount-tag-overlay": ([], -127, 1, "even"),
        "slab-cache": (["slab"], 0x10001, 1, "NULL"),
        "inline-header": ([], *clear, "NULL"),
    }


def test_a_stale_new_flag_is_cleared_in_silence_and_a_stale_slab_flag_is_not() -> None:
    """The free check does not know the flag; what it clears at the end is every flag that the kernel has."""
    for scheme, bad in (("new-flag", []), ("slab-flag", [["flags"]])):
        pages = Arena(Memmap(2), range(1))
        pool = ZbudPool("v12", pages, scheme=scheme, address=pages.memmap.frame(1))
        handle = pool.alloc(100)

        def forgets_the_flag(pfn: int, pool: ZbudPool = pool) -> None:
            for field in ("mapping", "index", "private"):
                pool.memmap.page(pfn)[field] = 0

        pool.data.end = forgets_the_flag  # type: ignore[method-assign]
        pool.free(handle)
        assert [fields for _, fields in pages.bad_pages] == bad
        assert pages.memmap.page(0)["flags"] >> FLAGS["zbud"] & 1 == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"lru": 16}, "lru.next and buddy.prev both lie on byte 16"),
        ({"buddy": 60}, "buddy.next at byte 60 is not aligned inside the 64 bytes"),
        ({"last_chunks": 51}, "last_chunks at byte 51 is not aligned"),
        ({"flag": "shiny"}, "there is no flag PG_shiny; known: locked, error"),
    ],
)
def test_an_impossible_scheme_says_why(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"mine: {re.escape(complaint)}"):
        variant(OVERLAY_CLEAR, "mine", "", **change)


def test_a_scheme_of_ones_own() -> None:
    mine = Scheme("mine", home="record", buddy=32, lru=48, first_chunks=8, last_chunks=10, width=2, mapcount=-300)
    pool = ZbudPool("v12", 4, scheme=mine)
    pool.alloc(100)
    pool.check()
    assert pool.memmap.page(0)["_mapcount"] == -300
