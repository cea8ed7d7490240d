"""Five historical versions of zbud (sources v11, v12, merge, limit, 5.14); the handles and errors they answer with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .memmap import DIRECT_MAP
from .struct_page import PAGE_SIZE

# Linux's numbers: those of the system that Python runs on may differ.
# Linux's numbers: those of the system that this runs on may be others.
ERRNO = {"EIO": 5, "E2BIG": 7, "EAGAIN": 11, "ENOMEM": 12, "EBUSY": 16, "EINVAL": 22, "ENOSPC": 28, "EHWPOISON": 133}
ERRNO_NAMES = {number: name for name, number in ERRNO.items()}
FIRST, LAST = "FIRST", "LAST"  # the two slots of a page


@dataclass(frozen=True)
class Version:
    """What one version of zbud does differently: sizes in bytes, `lists` the number of unbuddied lists (NCHUNKS)."""

    name: str
    about: str
    scheme: str
    lists: int
    max_size: int
    too_big: str  # the errno of a larger size
    negative: str  # and of a size below 0
    lru_head_first: bool = False  # try the newest page before the lists
    shared_list_0: bool = False  # buddied and unbuddied[0] are one list

    def offsets(self, lists: int) -> dict[str, int]:
        """struct zbud_pool with `lists` unbuddied lists: where its heads and its page count lie, in bytes.

        >>> VERSIONS["v12"].offsets(64)
        {'unbuddied': 8, 'buddied': 1032, 'lru': 1048, 'pages_nr': 1064}
        """
        behind = 8 + 16 * lists  # a lock comes first
        buddied, lru = (8, behind) if self.shared_list_0 else (behind, behind + 16)
        return {"unbuddied": 8, "buddied": buddied, "lru": lru, "pages_nr": lru + 16}


_ALL = (
    Version("v11", "patch of 13 May 2013", "overlay-v12", 64, 4096, "EINVAL", "EINVAL", lru_head_first=True),
    Version("v12", "patch of 20 May 2013, under review here", "overlay-v12", 64, 4096, "E2BIG", "EINVAL"),
    Version("linux-3.11-rc1", "as first merged, July 2013", "inline-header", 64, 4032, "ENOSPC", "EINVAL"),
    Version("linux-3.11", "as released", "inline-header", 64, 3968, "ENOSPC", "EINVAL"),
    Version("linux-5.14", "2021", "inline-header", 63, 3968, "ENOSPC", "ENOSPC", shared_list_0=True),
)
VERSIONS: Mapping[str, Version] = MappingProxyType({v.name: v for v in _ALL})


class ZbudError(Exception):
    """An error that the kernel returns: `name` is its errno name, `errno` the number; `reclaimed` is for shrink."""

    reclaimed = 0

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name, self.errno = name, ERRNO[name]


class StaleHandle(Exception):
    """A handle that is not, or no longer, a tenant of this pool.  The kernel would not notice."""


class Handle(int):
    """A zpage's handle: its kernel address, an int.  It also remembers which allocation it was; no kernel does."""

    allocation: int = -1  # counts the pool's successful allocations from 0; -1 if unknown
    size: int = 0  # bytes asked for
    slot: str = ""  # FIRST or LAST
    pool: int = 0  # which pool, by its number

    @property
    def pfn(self) -> int:
        return (self - DIRECT_MAP) // PAGE_SIZE

    @property
    def offset(self) -> int:
        """Bytes from the start of the page frame."""
        return self % PAGE_SIZE

    def __repr__(self) -> str:
        return (
            f"<handle {int(self):#x}: allocation {self.allocation}, {self.size} bytes, page {self.pfn:#x} {self.slot}>"
        )
