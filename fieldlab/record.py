"""What the boots brought home, put into the form that `zbudlab.kernel.load` reads: an index, and parts beside it."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zbudlab import kernel
from zbudlab.struct_page import RECORD

from .boot import Boot
from .btf import Btf
from .cells import SHARING, WORD, Cell

FREE_LOOKING = ("mapcount_m256", "mapcount_m512")
STRUCTS, ENUMS = ("page", "zbud_header", "zbud_pool"), ("pageflags", "pagetype")
FORMS = {  # of the parts: how each is to be read, once it is unpacked
    "memmap": "struct page by pfn, 64 bytes each, in 64 columns of bytes",
    "changed": "pfn (32 bits) and struct page of those that were different afterwards, in 68 columns of bytes",
    "kpageflags": "64-bit little-endian words by pfn",
    "kpagecount": "64-bit little-endian words by pfn",
    "pool": "pfn, list (32 bits each) and first 64 bytes of each page on the pool's lists, in 72 columns of bytes",
    "alive": "a byte for each pfn: bit 0 its first object lives, bit 1 its last",
    "figures": "JSON: texts by name",
    "cells": "JSON: a list of dressed cells, bytes as hex digits",
    "config": "the kernel's configuration",
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def facts(btf: bytes, log: str) -> dict[str, Any]:
    """What the kernel says of its own structures, and of where they lie."""
    types = Btf(btf)
    bases = re.search(r"vmemmap_base (0x\w+) page_offset_base (0x\w+)", log)
    zeros = re.search(r"witness: before: .* pages_nr (\d+), zero_pfn (\d+), huge_zero_pfn (-?\d+)", log)
    assert bases and zeros, "the witness says where it looks, and what it found"
    found: dict[str, Any] = {"vmemmap_base": bases[1], "page_offset_base": bases[2]}
    found |= {"pages_nr": int(zeros[1]), "zero_pfn": int(zeros[2]), "huge_zero_pfn": int(zeros[3])}
    found["structs"] = {name: types.struct(name) for name in STRUCTS}
    found["enums"] = {}
    for name in ENUMS:
        try:
            found["enums"][name] = types.enum(name)
        except KeyError:  # 6.12 has an enum of page types; in 6.1 they are macros, of which BTF does not tell
            continue
    return found


def still(moment: Boot) -> bool:
    """Whether the pool was the same after the kernel was asked as before: pages, lists, headers."""
    return moment.files["pool"] == moment.files["pool_after"]


def witness_settings(btf: bytes) -> str:
    """The module's parameters: where the lists lie in struct zbud_pool."""
    members = {m["name"]: m for m in Btf(btf).struct("zbud_pool")["members"]}
    lists = members["unbuddied"]
    return f"lists_at={lists['offset']} lists={lists['size'] // 16} pages_nr_at={members['pages_nr']['offset']}"


def parts(moment: Boot, cells: list[Cell], config: bytes) -> dict[str, bytes]:
    """The parts' contents, from the files that the guest handed over."""
    files = moment.files
    figures = {n: c.decode(errors="replace") for n, c in files.items() if n.startswith(("proc-", "sys-"))}
    return {
        "memmap": kernel.by_column(files["memmap"], RECORD),
        "changed": kernel.by_column(files["changed"], kernel.CHANGED),
        "kpageflags": files["kpageflags"],
        "kpagecount": files["kpagecount"],
        "pool": kernel.by_column(files["pool"], kernel.POOL_PAGE),
        "alive": files["handles"],
        "figures": json.dumps(figures, sort_keys=True).encode(),
        "cells": json.dumps(sorted(cells, key=lambda c: (c["reader"], c["scheme"])), sort_keys=True).encode(),
        "config": config,
    }


def exhibits(r: kernel.Recording, real: Boot) -> dict[str, Any]:
    """What is worth a look, counted on the recording; `real` is the boot in which readers came to real zbud pages."""
    return {
        "counts": counts(r),
        "look_alikes": look_alikes(r),
        "stale_lru_next": stale(r),
        "anonymous_as_ksm": ksm(r),
        "mappings": {
            c.scheme: c.value for c in r.cells if c.reader == "kpagecount" and c.value and c.scheme[:3] == "v12"
        },
        "first_chunks_modulo_4": modulo(r),
        "real_pages": real_pages(real),
    }


def figure(r: kernel.Recording, name: str) -> int | None:
    """A number that zswap keeps; None if this kernel's has none of that name."""
    text = r.figures.get(f"sys-kernel-debug-zswap-{name}")
    return int(text) if text else None


def counts(r: kernel.Recording) -> dict[str, dict[str, int]]:
    """Pages and objects, each counted by witnesses who do not know of each other."""
    offsets = {m["name"]: m["offset"] for m in r.facts["structs"]["zbud_header"]["members"]}
    slots = [offsets["first_chunks"], offsets["last_chunks"]]
    nonzero = sum(any(header[at : at + 4]) for header in r.headers.values() for at in slots)
    return {
        "pages": {
            "on the pool's lists": len(r.zbud_pfns),
            "the pool's own pages_nr": r.facts["pages_nr"],
            "zswap's pool_total_size / 4096": (figure(r, "pool_total_size") or 0) // 4096,
            "with a live handle": sum(map(bool, r.alive)),
        },
        "objects": {
            "chunk counts above 0 in the headers": nonzero,
            "zswap's stored_pages, less same_filled_pages": (figure(r, "stored_pages") or 0)
            - (figure(r, "same_filled_pages") or 0),
            "live handles": sum(map(int.bit_count, r.alive)),
        },
    }


def look_alikes(r: kernel.Recording) -> dict[str, Any]:
    """Pages not zbud's that have the very 64 bytes of one that is; and pages of which kpageflags says nothing."""
    mine = set(r.zbud_pfns)
    faces = {r.record(pfn): pfn for pfn in r.zbud_pfns}
    twins = [pfn for pfn in r.pfns if pfn not in mine and r.record(pfn) in faces]
    blank = sum(not flags for flags in r.kpageflags)
    pair = [faces[r.record(twins[0])], twins[0]] if twins else []
    blanks = {"blank": blank, "blank_and_zbud": sum(not r.kpageflags[pfn] for pfn in mine)}
    return {"same_64_bytes": len(twins), "example": pair, **blanks}


def stale(r: kernel.Recording) -> dict[str, Any]:
    """zbud pages whose lru.next is 2: the page allocator's note of where it took the page from, never cleared."""
    at = r.layout["lru.next"].offset
    noted = [pfn for pfn in r.zbud_pfns if int.from_bytes(r.record(pfn)[at : at + 8], "little") == 2]
    return {"pages": len(noted), "example": noted[:1]}


def ksm(r: kernel.Recording) -> dict[str, int]:
    """Anonymous pages (KPF_ANON, bit 12), and those of them that are reported as merged by KSM (KPF_KSM, bit 21)."""
    anonymous = [flags for flags in r.kpageflags if flags >> 12 & 1]
    return {"anonymous": len(anonymous), "of these KSM": sum(flags >> 21 & 1 for flags in anonymous)}


def modulo(r: kernel.Recording) -> dict[str, Any]:
    """Chunk counts left in mapping, first_chunks 4, 5, 6 and 7: what each reader made of them."""
    schemes = {"chunks_even": 0, "chunks_odd": 1, "chunks_movable": 2, "chunks_ksm": 3}
    out: dict[str, dict[str, Any]] = {str(remainder): {} for remainder in schemes.values()}
    for c in r.cells:
        if c.scheme in schemes:
            came = c.oops.function if c.oops else c.errno if c.value is None else c.value
            out[str(schemes[c.scheme])][c.reader] = came
    return out


def real_pages(boot: Boot) -> dict[str, Any]:
    """The story of the boot in which readers came to real zbud pages; and the page that stopped the memory offline."""
    begin = boot.log.index("fieldlab: FILLED")
    log = [match[1].rstrip() for line in boot.log[begin:].splitlines() if (match := WORD.match(line))]
    stopped = re.search(r"STOPPED BY (0x\w+), on the pool's lists: (\d)", boot.log)
    page = {"pfn": int(stopped[1], 16), "zbud": stopped[2] == "1"} if stopped else None
    return {"stopped_the_offline": page, "log": [line for line in log if not line.startswith(("ACPI", "reboot"))]}


def write(
    folder: Path,
    release: str,
    contents: Mapping[str, bytes],
    about: Mapping[str, Any],
    real: Boot,
) -> kernel.Recording:
    """Write the recording and read it back.  `about` has its facts and its provenance."""
    told = {}
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
        told[name] = {"file": f"{name}.gz", "length": len(content), "sha256": sha256(content), "form": FORMS[name]}
    index = {"format": kernel.FORMAT, "version": kernel.FORMAT_VERSION, "release": release, **about, "parts": told}
    index["exhibits"] = exhibits(kernel.Recording({**index, "exhibits": {}}, dict(contents)), real)
    index["seal"] = kernel.seal(index)
    (folder / kernel.INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    return kernel.load(folder)


def differences(r: kernel.Recording, shipped: kernel.Recording) -> list[str]:
    """Where a new recording differs from the one in the package in more than chance: layouts, readers, the pool's size.

    Addresses and so the numbers made of them come out anew in each boot; they are left out.
    """
    found = [f"struct {n} is another" for n in STRUCTS if r.facts["structs"][n] != shipped.facts["structs"][n]]
    if abs(len(r.zbud_pfns) - len(shipped.zbud_pfns)) > len(shipped.zbud_pfns) // 5:
        found.append(f"{len(r.zbud_pfns):,} zbud pages; the shipped one has {len(shipped.zbud_pfns):,}")
    known = {(c.scheme, c.reader): outcome(c) for c in shipped.cells if not chance(c)}
    for c in r.cells:
        before = known.get((c.scheme, c.reader))
        if before is not None and before != outcome(c) and not chance(c):
            found.append(f"{c.reader} of {c.scheme}: {outcome(c)}; the shipped one has {before}")
    return found


def chance(c: kernel.Cell) -> bool:
    """Whether a cell may end otherwise in the next boot.

    Two schemes look like a free page: when a neighbour is freed, the kernel takes such a page off a list that it is not
    on, and whether a neighbour is freed nobody can tell.  And the compaction scanner may not have come to the page.
    """
    return c.met is False or (c.scheme in FREE_LOOKING and c.reader not in SHARING)


def outcome(c: kernel.Cell) -> tuple[object, ...]:
    """What does not depend on addresses: value, errno, the function that the kernel ended in, bad page, state."""
    pointer = c.scheme.startswith("v12") and c.reader == "kpagecount"  # there, the value is half a pointer
    bad = next((line for line in c.log if line.startswith("page dumped because")), None)
    return (None if pointer else c.value, c.errno, c.oops and c.oops.function, bad, c.state)
