"""Dressed pages before real readers: what to ask, in how many boots, and what the log says came of it.

A cell is one scheme and one reader.  Readers that leave the machine as it was share a boot until one of them ends it;
each of the others gets a machine of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from . import build
from .boot import Boot, Machine

SCHEMES = (
    "plain reserved slab slab_chunks slab_odd slab_movable v12 v12_slab v12_reserved v12_odd v12_movable v12_ksm "
    "v12_offsets v12_offsets_odd chunks_even chunks_odd chunks_movable chunks_ksm private lru_list type_offline "
    "type_new mapcount_m128 mapcount_m256 mapcount_m512 count0 memcg_data memcg_wild"
).split()
SHARING = "kpageflags kpagecount kpagecgroup show_mem".split()
ALONE = "soft_offline hard_offline compact compact_movable offline_block free free_drained free_forced".split()
READERS = SHARING + ALONE
# What --quick asks: all that is only read, and one reader each that refuses, acts, follows a wild pointer, complains.
QUICK = [(s, r) for r in ("kpageflags", "kpagecount") for s in SCHEMES]
QUICK += [("plain", "soft_offline"), ("plain", "hard_offline"), ("chunks_movable", "soft_offline")]
QUICK += [("chunks_even", "free_drained"), ("mapcount_m256", "compact_movable"), ("reserved", "offline_block")]

WORD = re.compile(r"\[ *[\d.]+\] (.*)")  # a line of the kernel's log, behind its time
FATAL = re.compile(r"BUG: (?!Bad page|Bad rss)|general protection|kernel BUG|Oops|invalid opcode|stack segment|divide")
# In the log, but not about the page: registers, guesses at callers, the machine's own going on.
NOISE = re.compile(
    r" \? | *</?TASK>|RIP: 0033|(R(?!IP)[A-Z0-9]{2}|[CDEF]S|[CD]R\d|PKRU): |Modules linked in|Code: |Hardware name:"
    r"|---\[|Kernel |random: |tsc: |clocksource: |sysrq: |ACPI|reboot: |CPU: \d|Tainted: |Disabling lock debugging"
)
LINES = 40  # kept of the log of a cell

Cell = dict[str, Any]  # as zbudlab.kernel.cell reads it


def everything() -> list[tuple[str, str]]:
    return [(scheme, reader) for reader in READERS for scheme in SCHEMES]


def batches(wanted: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """The cells of each boot, if none of them ends it early.

    >>> list(batches([("v12", "kpageflags"), ("v12", "free"), ("plain", "kpageflags")]))
    [[('v12', 'kpageflags'), ('plain', 'kpageflags')], [('v12', 'free')]]
    """
    for reader in dict.fromkeys(reader for _, reader in wanted):
        cells = [cell for cell in wanted if cell[1] == reader]
        yield from [cells] if reader in SHARING else [[cell] for cell in cells]


def ask(machine: Machine, wanted: list[tuple[str, str]], file: Path, tell: Callable[[str], None] = print) -> list[Cell]:
    """Ask for every cell that `file` (a JSON object a line) does not have yet, and add it there as it comes.

    Returns those that were wanted.  A cell whose page cannot even be dressed, twice, is told and left out.
    """
    lines = file.read_text().splitlines() if file.exists() else []
    have = {(cell["scheme"], cell["reader"]): cell for cell in map(json.loads, lines)}
    for batch in batches([cell for cell in wanted if cell not in have]):
        failures = 0
        while batch:
            came, seconds = put(machine, batch)
            with file.open("a") as out:
                out.writelines(json.dumps(cell) + "\n" for cell in came)
            have |= {(cell["scheme"], cell["reader"]): cell for cell in came}
            known = sum(cell in have for cell in wanted)
            tell(
                f"         {known} of {len(wanted)} cells, {seconds:.0f} s; {summary(came[-1]) if came else 'no cell'}"
            )
            failures = 0 if came else failures + 1
            if failures == 2:
                tell(f"         left out: {batch[0][1]} of {batch[0][0]}; the log is {machine.log_path}")
                batch, failures = batch[1:], 0
            batch = [cell for cell in batch if cell not in have]
    return [have[cell] for cell in wanted if cell in have]


def put(machine: Machine, batch: list[tuple[str, str]]) -> tuple[list[Cell], float]:
    """One boot for some cells: those that were answered, and the seconds it took."""
    text = "".join(f"{scheme} {reader}\n" for scheme, reader in batch)
    plugged = batch[0][1] == "offline_block"
    result = machine.boot(build.job({"job": "cells"}, text), seconds=60 + 3 * len(batch), dimm=plugged)
    return answers(result), result.seconds


def summary(cell: Cell) -> str:
    """A cell in a few words."""
    came = "no answer"
    if cell.get("oops"):
        came = f"the kernel ended in {cell['oops']['function']}"
    elif "value" in cell:
        came = f"{cell['value']:#x}"
    elif "errno" in cell:
        bad = next((line for line in cell.get("log", ()) if line.startswith("page dumped because")), "")
        came = f"{'errno ' + str(cell['errno']) if cell['errno'] else 'ok'} {bad}".rstrip()
    return f"{cell['reader']} of {cell['scheme']}: {came}"


def answers(boot: Boot) -> list[Cell]:
    """The cells that a boot's log has, in order."""
    lines = [match[1] for line in boot.log.splitlines() if (match := WORD.match(line))]
    starts = [i for i, line in enumerate(lines) if line.startswith("fieldlab: CELL ")]
    parts = [lines[a:b] for a, b in pairwise([*starts, len(lines)])]
    found = (answer(part, boot.hung) for part in parts)
    return [cell for cell in found if cell]


def answer(lines: list[str], hung: bool = False) -> Cell | None:
    """One cell from its lines of the log.

    One that breaks off counts if the log says how the kernel ended, or if the watchdog had to end it; else the machine
    was stopped for another reason, and this is None.  So it is if the page was never dressed.  What happens after the
    second look at the record is our own doing, by asking for the flags, and is not the reader's.
    """
    _, _, scheme, reader = lines[0].split()
    ours = [line.removeprefix("fieldlab: ").split(" ", 1) for line in lines if line.startswith("fieldlab: ")]
    told = {word[0].rstrip(":"): word[-1] for word in ours}
    records = [rest[0].split() for word, *rest in ours if word == "RECORD" and rest]
    if told.get("DRESSED") != "ok" or not records:
        return None
    cell: Cell = {"scheme": scheme, "reader": reader, "pfn": int(records[0][0], 16), "before": records[0][1]}
    if len(records) > 1:
        cell["after"] = records[1][1]
    cell |= said(told)
    if "VMSTAT" in told:
        scanned = [rest[0].split() for word, *rest in ours if word == "SCANNED"]
        cell["met"] = any(int(first, 16) <= cell["pfn"] < int(end, 16) for first, end in scanned)
    if "DONE" not in told and len(records) < 2:
        oops = fatal(lines)
        if not oops and not hung:
            return None
        cell |= {"oops": oops} if oops else {}
    log = [line.rstrip() for line in lines[1:] if not line.startswith("fieldlab: ") and not NOISE.match(line)]
    if reader == "show_mem":
        log = [line for line in log if re.match(r"\d+ pages ", line)]
    return cell | ({"log": log[:LINES]} if log else {})


def said(told: dict[str, str]) -> Cell:
    """What our own lines of a cell say, by the names that `zbudlab.kernel.Cell` has for it."""
    cell: Cell = {}
    word = told.get("SAID", "")
    if word.startswith("0x"):
        cell["value"] = int(word, 16)
    elif word == "ok" or word.startswith("errno "):
        cell["errno"] = 0 if word == "ok" else int(word.split()[1])
    if told.get("FLAGS", "").startswith("0x"):
        cell["flags_after"] = int(told["FLAGS"], 16)
    if "HardwareCorrupted" in told:
        cell["poisoned_kb"] = int(told["HardwareCorrupted"].split()[0])
    if "STATE" in told:
        cell["state"] = told["STATE"]
    if "VMSTAT" in told:
        numbers = told["VMSTAT"].split()
        cell["counters"] = dict(zip(numbers[::2], map(int, numbers[1::2]), strict=True))
    return cell


def fatal(lines: list[str]) -> dict[str, Any] | None:
    """The end of a kernel, out of its log: its own sentence, the address in it, the function that it was in.

    >>> end = fatal(["BUG: unable to handle page fault for address: 0000000000080004", "RIP: 0010:PageHuge+0x6/0x30"])
    >>> hex(end["address"]), end["function"]
    ('0x80004', 'PageHuge')
    """
    what = next((line for line in lines if FATAL.match(line)), None)
    if what is None:
        return None
    address = re.search(r"address:? (?:0x)?([0-9a-f]{8,16})\b", what)
    places = (re.match(r"RIP: 0010:([\w.]+)", line) for line in lines)
    function = next((match[1] for match in places if match), "")
    return {"what": what, "address": int(address[1], 16) if address else None, "function": function}
