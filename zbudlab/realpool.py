"""The pool of a recorded machine, as it stood in the kernel: its pages, their headers, its lists.

Each zbud page has its header in its first chunk, with the links of the very lists that the kernel walked.  Where they
lead out of the pages, they lead to the heads, in struct zbud_pool; so its address is known, and all of its lists.

    >>> from zbudlab import kernel
    >>> pool = RealPool(kernel.load("6.1"))
    >>> hex(pool.address), pool.pages_nr, pool.chunks(max(pool.mine))
    ('0xffff888006125800', 10519, (45, 18))
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from .deeds import EVICTORS
from .kernel import Recording, load
from .page_alloc import OutOfMemory
from .rows import FORMAT, FORMAT_VERSION
from .schemes import SCHEMES, Bookkeeping, Scheme
from .struct_page import CHUNK, PAGE_SIZE
from .timeline import Timeline
from .versions import VERSIONS, ZbudError
from .zbud import ZbudPool

_numbers = count(1)


class NoPages:
    """The page allocator of a machine that stands still: it has no page for anybody, and takes none back."""

    def __init__(self, recording: Recording) -> None:
        self.memmap = recording.memmap()
        self.bad_pages: list[tuple[int, list[str]]] = []

    def alloc_page(self, owner: str = "kernel") -> int:
        raise OutOfMemory("this machine was recorded; it hands out no pages")

    def free_page(self, pfn: int) -> bool:
        return False

    def free_pfns(self) -> set[int]:
        return set()

    def save(self) -> Any:
        return None

    def restore(self, saved: Any) -> None:
        """There is nothing to put back."""

    def check(self) -> None:
        """There is nothing to check."""


class RealPool(ZbudPool):
    """The zbud pool of a recording: to be looked at, not to be worked with.

    Its scheme and its structure are what the kernel's own type information says.  Linux 6.12's zbud has no lru.
    """

    idle = "it was recorded, and stands still"

    def __init__(self, recording: Recording) -> None:
        self.recording, self.pages = recording, NoPages(recording)
        self.memmap, self.evict = self.pages.memmap, None
        self.version, self.scheme = VERSIONS["linux-5.14"], scheme_of(recording)
        self.data = Bookkeeping(self.scheme, self.memmap)
        self.offsets = offsets(recording, "zbud_pool")
        self._header = self.scheme.header_chunks * CHUNK
        self.capacity = PAGE_SIZE // CHUNK - self.scheme.header_chunks
        self.max_size, self.lists = self.version.max_size, self.capacity
        self.number, self.allocations, self.destroyed = -next(_numbers), 0, False
        self.tenants, self.mine = {}, set(recording.zbud_pfns)
        self._stand()

    def _stand(self) -> None:
        """Find the structure by the links that lead to it, and put its list heads into memory."""
        heads = [(place, there) for place, there in self._links() if not self._is_node(there)]
        place, head = next(link for link in heads if link[0] % PAGE_SIZE == self.scheme.buddy)
        number = self.recording.free_chunks[self.data.pfn(place)]
        self.address = head - self.offsets["unbuddied"] - 16 * number
        self._unbuddied = self.address + self.offsets["unbuddied"]
        self.buddied = self.address + self.offsets["buddied"]
        self.lru = self.address + self.offsets["lru"] if "lru" in self.offsets else -1
        home = (self.address - self.memmap.frame(0)) // PAGE_SIZE
        self.memmap.ram.append(range(home, home + 1))
        for head in [*map(self.unbuddied, range(self.lists)), *[self.lru] * (self.lru >= 0)]:
            self.memmap.list_init(head)
        for place, head in heads:  # the link next that leads there is in the last on the list, prev in the first
            self.memmap.store(head + 8 - (place & 8), place & ~15)
        self.pages_nr = self.recording.facts["pages_nr"]

    def _is_node(self, address: int) -> bool:
        """Whether this is the address of a list node in a header."""
        pfn, offset = divmod(address - self.memmap.frame(0), PAGE_SIZE)
        return pfn in self.mine and offset in (self.scheme.buddy, self.scheme.lru)

    def _links(self) -> Iterator[tuple[int, int]]:
        """Every link in the headers: where it is, and the address in it."""
        nodes = [self.scheme.buddy, *[self.scheme.lru] * (self.scheme.lru is not None)]
        for pfn, header in self.recording.headers.items():
            for offset in (link for node in nodes if node is not None for link in (node, node + 8)):
                yield self.memmap.frame(pfn) + offset, int.from_bytes(header[offset : offset + 8], "little")

    def _not_destroyed(self) -> None:
        raise ZbudError("EINVAL", "this pool is a recorded one: look at it, and work with one of your own (ZbudPool)")

    def __str__(self) -> str:
        return repr(self)  # ten thousand strips would be no picture; MemmapView has all pages, PageXray any of them

    _repr_html_ = None

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        return {"text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<zbud pool of a running Linux {self.recording.release} at {self.address:#x}: pages {self.pages_nr}>"


def offsets(recording: Recording, struct: str) -> dict[str, int]:
    """Where the members of a structure lie, in bytes, as the kernel's own type information has it."""
    return {member["name"]: member["offset"] for member in recording.facts["structs"][struct]["members"]}


def scheme_of(recording: Recording) -> Scheme:
    """Where the recorded kernel's zbud kept its data."""
    at = offsets(recording, "zbud_header")
    return Scheme(
        "inline-header", "frame", at["buddy"], at.get("lru"), at["first_chunks"], at["last_chunks"], 4,
        at.get("under_reclaim"), about=SCHEMES["inline-header"].about,
    )  # fmt: skip


class RealTimeline(Timeline):
    """A recorded machine, and what is done to it: bytes changed by hand, readers sent there.

    `what` is a recording, or what kernel.load takes.  An event is as in any timeline, and can be undone.
    """

    def __init__(self, what: Recording | str) -> None:
        recording = what if isinstance(what, Recording) else load(what)
        header = {"format": FORMAT, "format_version": FORMAT_VERSION, "version": "linux-5.14"}
        header |= {"kernel": recording.source, "pages": len(recording.pfns)}
        self._recording = recording
        self._begin(header, EVICTORS["refuses"])

    def _build(self) -> ZbudPool:
        return RealPool(self._recording)

    def put(self, pfn: int, field: str, value: int) -> None:
        """Put a number into a field of a page's struct page, as its kernel names it: an event.

        Raises KeyError for a name that it does not have, OverflowError for a number that does not fit.
        """
        page, layout = self.pool.memmap.page(pfn), self.pool.memmap.layout
        if field not in layout:
            raise KeyError(f"struct page has no {field!r}; it has {', '.join(layout)}")
        at = layout[field]
        self.poke(page.address + at.offset, value.to_bytes(at.size, "little", signed=value < 0))

    def under(self, version: str, **place: Any) -> Timeline:
        """There is no other version of what was recorded: raises ZbudError."""
        raise ZbudError(
            "EINVAL", "a recorded machine is as it was; another version or scheme takes a Timeline of its own"
        )

    _repr_html_ = None

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        return {"text/plain": str(self)}

    def __str__(self) -> str:
        return super().__str__().replace("zbud linux-5.14", f"Linux {self._recording.release}", 1)

    def __repr__(self) -> str:
        told = f"event {self.position} of {len(self.events)}"
        return f"<RealTimeline: Linux {self._recording.release} as recorded, {told}>"
