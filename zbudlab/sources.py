"""Where every historical and kernel claim comes from: once, here, by key.

A notebook or a docstring names a key; `sources("v12", "seed")` shows the rows.  Message-ids are those of the linux-mm
and linux-kernel lists; a blob is the git object id of the exact file that a statement is about.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """What a claim rests on: `what` in our words, `where` it can be looked up."""

    what: str
    where: str


SOURCES = {
    "v11": Source("zbud v11, 13 May 2013: tries the newest page first", "patch v11 2/4, git blob e5bd0e6"),
    "v12": Source(
        "zbud v12, Seth Jennings, 20 May 2013: zbud's data laid over struct page",
        "<1369067168-12291-3-git-send-email-sjenning@linux.vnet.ibm.com>, git blob b10a1f1",
    ),
    "newest-first": Source(
        "Dan Magenheimer, 13 May 2013: trying the newest page first costs density, though not in the benchmarks in use",
        "<3dfa0c20-ab39-4839-aaeb-46d51314afd4@default>",
    ),
    "first-fit": Source(
        "Mel Gorman, 17 May 2013: review of v11; calls the search first fit, and asks for another number of chunks",
        "<20130517154837.GN11497@suse.de>",
    ),
    "step-dropped": Source(
        "Seth Jennings, 19 May 2013: no benefit of the newest page first can be shown, so the step goes",
        "<20130519205219.GA3252@cerebellum>",
    ),
    "lockstep": Source(
        "Mel Gorman, 21 May 2013: two pages of 80 per cent cost four evicted zpages with six chunks, three with two",
        "<20130521081020.GT11497@suse.de>",
    ),
    "review": Source(
        "Andrew Morton, 28 May 2013: zbud writes over page descriptors; E2BIG is the wrong error",
        "<20130528145911.bd484cbb0bb7a27c1623c520@linux-foundation.org>",
    ),
    "variant": Source(
        "Andrew Morton, 29 May 2013: a variant record and its tag; the four demands",
        "<20130529142904.ace2a29b90a9076d0ee251fd@linux-foundation.org>",
    ),
    "general": Source(
        "Andrew Morton, 29 May 2013: not only memory_failure; whoever reads the memmap expects a struct page there",
        "<20130529134835.58dd89774f47205da4a06202@linux-foundation.org>",
    ),
    "ebusy": Source(
        "Seth Jennings, 29 May 2013: expects memory_failure to answer -EBUSY for zbud's pages, as for slab's",
        "<20130529204236.GD428@cerebellum>",
    ),
    "careless": Source(
        "Dan Magenheimer, 29 May 2013: code that assumes too much about a struct page is what should be mended",
        "<754ae8a0-23af-4c87-953f-d608cba84191@default>",
    ),
    "seed": Source(
        "Seth Jennings, 30 May 2013: a positive _count and PG_slab; do you agree?",
        "<20130530174344.GA15837@medulla>",
    ),
    "inline": Source(
        "Seth Jennings, 30 May 2013, three and a half hours later: the metadata into the page's first chunk",
        "<20130530212017.GB15837@medulla>",
    ),
    "v13": Source(
        "zbud v13, 3 June 2013: an inline header, struct page left alone",
        "<1370291585-26102-1-git-send-email-sjenning@linux.vnet.ibm.com>",
    ),
    "merge": Source(
        "zbud as first merged, July 2013, for Linux 3.11",
        "commit 4e2e2770b152, git blob 9bb4710e3589 (called linux-3.11-rc1 here)",
    ),
    "limit": Source(
        "Heesub Shin, 17 July 2013: the limit lowered by a chunk, so that no tenant makes a second one impossible",
        "<1374071410-9337-1-...>, in Linux 3.11, git blob 9451361e6aa7",
    ),
    "cookie": Source(
        "Dave Hansen, 6 August 2013: PG_slab again, and a cookie to tell zbud's pages from slab's",
        "<52012B35.90801@intel.com>",
    ),
    "5.14": Source("zbud of mid 2021, behind zpool only", "mm/zbud.c, Linux 5.14, git blob 6348932430b8"),
    "removal": Source("zbud leaves the kernel, 2025", "commit 6df8bae8e851, Linux 6.15"),
    "own-flag": Source(
        "Krzysztof Kozlowski, 6 August 2013: zbud's pages made movable, with a page flag PG_zbud to know them by",
        "<1375771361-8388-1-...>",
    ),
    "minus-127": Source(
        "Krzysztof Kozlowski, 9 August 2013: the tag is _mapcount -127; not merged (no PageZbud up to Linux 6.14)",
        "<1376043740-10576-1-...>",
    ),
    "balloon": Source(
        "October 2014: balloon pages get a value of _mapcount, after compaction was caught following a stray mapping",
        "commit d6d86c0a7f8d, Linux 3.18",
    ),
    "page-types": Source(
        "2018: the word of _mapcount gets a second name, page_type, for pages that are never mapped",
        "commit 6e292b9be7f4, include/linux/page-flags.h, Linux 4.18",
    ),
    "slab-type": Source(
        "2024: PG_slab is no page flag any more but a page type", "commit 46df8e73a4a3, Linux 6.10 (not in 6.8.1)"
    ),
    "one-type": Source("2024: a page has one type, a number in the top byte", "commit 4ffca5a96678, Linux 6.12"),
    "frozen": Source(
        "slab pages are allocated frozen: _refcount is 0 for as long as slab has them",
        "alloc_frozen_pages in mm/slub.c, Linux 6.14 (not in 6.13.7); LWN article 1013408",
    ),
    "memdescs": Source(
        "the plan: struct page shrinks to a word, a type in its low bits and a pointer to that type's own descriptor",
        "kernelnewbies.org, MatthewWilcox/Memdescs/Path; LWN article 974937, May 2024",
    ),
    "bigphysarea": Source(
        "a stretch of memory reserved at boot for drivers, as a patch outside the tree: Matt Welsh, March 1996",
        "Linux Documentation Project, Kernel Hackers' Guide, Managing Big Physical Memory Areas; for Linux 1.3.71",
    ),
    "zswap": Source(
        "zswap stores the compressed page with a small header of its own in front",
        "mm/zswap.c, Linux 3.11, commit 2b2811178e85",
    ),
    "LAYOUT_3_10": Source(
        "struct page of x86_64: 56 bytes of fields, 64 with SLUB's alignment; flag numbers and masks",
        "include/linux/mm_types.h and page-flags.h, Linux 3.10",
    ),
    "ADDRESSES": Source(
        "the kernel's address map of the time: direct map and vmemmap",
        "Documentation/x86/x86_64/mm.txt, Linux 3.10; list poison: include/linux/poison.h",
    ),
    "PAGE_ALLOC": Source(
        "what the page allocator leaves in a page it hands out, keeps and takes back",
        "mm/page_alloc.c, Linux 3.10, git blob 2ee0fd313f03 (run in user space for the recordings)",
    ),
    "PEEKERS": Source(
        "what the readers of the memmap do, step by step",
        "the files named in zbudlab.peekers.BLOBS by git blob id, Linux 3.10.17; makedumpfile 1.5.4",
    ),
    "RECORDINGS": Source(
        "recordings of the original C allocators, compiled unchanged and run in user space",
        "tests/data; the blob ids above are those of the files that were compiled",
    ),
    "layout-6.1": Source(
        "struct page and page flags of Linux 6.1: offsets, sizes and bits, as the kernel itself tells them",
        "/sys/kernel/btf/vmlinux of Debian's linux-image-6.1.0-56-amd64 (6.1.192-2), kept in the recording",
    ),
    "layout-6.12": Source(
        "the same of Linux 6.12",
        "/sys/kernel/btf/vmlinux of Debian's linux-image-6.12.117+deb12-amd64, kept in the recording",
    ),
    "readers-6.1": Source(
        "the readers of Linux 6.1: kpageflags, memory_failure, soft_offline, page isolation, compaction, free checks",
        "fs/proc/page.c, mm/memory-failure.c, mm/page_isolation.c, mm/compaction.c, mm/migrate.c, mm/page_alloc.c, "
        "Linux 6.1; two later changes that 6.1.192 shows: PG_mlocked and private are dealt with when a page is freed",
    ),
    "pfmemalloc": Source(
        "a page that was taken from the emergency reserves is noted as such, by a 2 in lru.next",
        "set_page_pfmemalloc, include/linux/mm.h, Linux 6.1",
    ),
    "readers-6.12": Source(
        "kpageflags, kpagecount and the free check of Linux 6.12",
        "fs/proc/page.c, fs/proc/internal.h, mm/page_alloc.c, Linux 6.12",
    ),
}


class Sources(list[Source]):
    """Rows that show themselves: text in a terminal, a table in a notebook."""

    def __str__(self) -> str:
        return "\n".join(f"* {source.what}\n    {source.where}" for source in self)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        rows = (f"| {source.what} | `{source.where}` |" for source in self)
        return "\n".join(["| what | where to look |", "|---|---|", *rows])


def sources(*keys: str) -> Sources:
    """The rows for some keys, in that order; all of them if none is given.  KeyError names an unknown key."""
    wanted: Iterable[str] = keys or SOURCES
    unknown = [key for key in wanted if key not in SOURCES]
    if unknown:
        raise KeyError(f"unknown source {unknown[0]!r}; known: {', '.join(SOURCES)}")
    return Sources(SOURCES[key] for key in wanted)
