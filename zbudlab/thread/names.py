"""Who is who in the mail: what the mail of 30 May 2013 and those before it name, and where the kit has it."""

from __future__ import annotations

from dataclasses import dataclass

from .messages import message


@dataclass(frozen=True)
class Who:
    """A `term`, one `sentence`, where it is in the kit (`kit`: a dotted name that can be imported; `notebook`: its
    number), and the key of a `message` that brings it up."""

    term: str
    sentence: str
    kit: str
    notebook: str
    message: str

    def __str__(self) -> str:
        return f"{self.term}: {self.sentence}\n    {self.kit}, notebook {self.notebook}; {self.message}"


class Table(list[Who]):
    """Rows that show themselves: text in a terminal, a table in a notebook."""

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        rows = [
            f"| {w.term.replace('_', chr(92) + '_')} | {w.sentence.replace('_', chr(92) + '_')}<br>`{w.kit}` | "
            f"{w.notebook} | {message(w.message).author}, {message(w.message).day}:<br>`{w.message}` |"
            for w in self
        ]
        head = "| who | what, and where the kit has it | notebook | in the thread |"
        return "\n".join([head, "|---|---|---|---|", *rows])


WHO = Table(
    [
        Who(
            "zbud",
            "An allocator that puts at most two compressed pages in a page frame, one against each wall.",
            "zbudlab.zbud.ZbudPool",
            "02",
            "jennings-v12",
        ),
        Who(
            "struct page",
            "The 64 bytes (56 without SLUB's alignment) that describe a page frame.",
            "zbudlab.struct_page.STRUCT_PAGE",
            "03",
            "morton-overlay",
        ),
        Who(
            "memmap[]",
            "The array of them all, by page frame number: one element for every frame of memory.",
            "zbudlab.memmap.Memmap",
            "03",
            "morton-memmap",
        ),
        Who(
            "memmap-peekers",
            "Code that comes to a page by its number, without being its owner, and believes what the record says.",
            "zbudlab.peekers.PEEKERS",
            "04",
            "jennings-seed",
        ),
        Who(
            "variant record",
            "A record whose fields mean one thing or another, according to a tag; in struct page the tag is scattered.",
            "zbudlab.struct_page.Layout",
            "03",
            "morton-variant",
        ),
        Who(
            "E2BIG",
            "An error number: the list of arguments is too long. zbud v12 answers it to a zpage that is too large for "
            "a page; v13 answers ENOSPC.",
            "zbudlab.versions.ERRNO",
            "01",
            "morton-overlay",
        ),
        Who(
            "zcache",
            "An older compressed cache, in drivers/staging. Its allocator was Magenheimer's zbud, of which this one "
            "was made.",
            "zbudlab.zbud.ZbudPool",
            "02",
            "jennings-v12",
        ),
        Who(
            "zsmalloc",
            "Another allocator of compressed pages, in drivers/staging then, and no part of the kit. It lays data "
            "over struct page, too, but leaves _count alone.",
            "zbudlab.struct_page.STRUCT_PAGE",
            "05",
            "jennings-why",
        ),
        Who(
            "PageReserved",
            "Says that a page is no ordinary memory and that one keeps away; KVM, for one, takes it for a device's.",
            "zbudlab.struct_page.PageReserved",
            "05",
            "morton-variant",
        ),
        Who(
            "PageSlab",
            "Says that a page belongs to the slab allocator, and so what some other fields mean.",
            "zbudlab.struct_page.PageSlab",
            "04",
            "jennings-seed",
        ),
        Who(
            "_count",
            "How many references a page has: 0 if it is free; whoever takes one adds to it, whatever is there.",
            "zbudlab.struct_page.page_count",
            "03",
            "jennings-seed",
        ),
        Who(
            "_mapcount",
            "How often user page tables map a page, less one; also the mark of a free block (-128), and SLUB's "
            "counters.",
            "zbudlab.struct_page.page_mapcount",
            "03",
            "jennings-seed",
        ),
        Who(
            "free pages",
            "The buddy allocator's blocks of 2**n pages: the first carries _mapcount -128, n in private, and hangs on "
            "a list by lru.",
            "zbudlab.page_alloc.KernelPages",
            "03",
            "magenheimer-rule",
        ),
        Who(
            "slab",
            "The allocator of small objects, in several makes (slub is one); it has its own names for most of the "
            "record.",
            "zbudlab.struct_page.SLUB_PAGE",
            "03",
            "morton-variant",
        ),
        Who(
            "memory_failure",
            "What the kernel does about a page that the hardware calls broken: a reference first, questions later.",
            "zbudlab.peekers.failure.MEMORY_FAILURE",
            "04",
            "morton-overlay",
        ),
        Who(
            "memory hotplug",
            "Takes whole blocks of memory away while the machine runs, and must know of each page whether it can move.",
            "zbudlab.peekers.decide.unmovable_page",
            "04",
            "morton-memmap",
        ),
        Who(
            "leak checkers",
            "kmemleak looks for pointers in memory in use, descriptors included, to see what nobody refers to any "
            "more.",
            "zbudlab.peekers.decide.PEEKERS",
            "04",
            "morton-memmap",
        ),
        Who(
            "shrink_slab",
            "Has the kernel's caches give memory back; soft_offline calls it, and it is never told of which page.",
            "zbudlab.peekers.failure.shrink_slab",
            "05",
            "jennings-seed",
        ),
        Who(
            "bigphysarea",
            "Out of tree: patches from March 1996 on that set a stretch of memory aside at boot, for drivers that "
            "need it in one piece (the Linux Documentation Project's Kernel Hackers' Guide tells of it). Whether they "
            "read other people's descriptors we do not know, and the mail that names them was not sure; the point is "
            "that such readers exist, and that nobody can list them. You can write one.",
            "zbudlab.peekers.Peeker",
            "08",
            "morton-memmap",
        ),
        Who(
            "mm.h comment",
            "The written rule: what a count means, and which fields of a page in use are its owner's affair.",
            "zbudlab.thread.on_pages.the_comment_permits_it",
            "05",
            "magenheimer-rule",
        ),
        Who(
            "four demands",
            "A place in the definition, a documented tag, a demonstration of safety, no further page flag.",
            "zbudlab.demonstrate.demands",
            "06",
            "morton-variant",
        ),
    ]
)
