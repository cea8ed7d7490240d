"""Runs the benchmarks, prints one table and writes results.json: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import pkgutil
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import benchmarks
from benchmarks import NotHere, Row, missing, progress

RESULTS = Path(__file__).resolve().parent / "results.json"
README = RESULTS.parent.parent / "README.md"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"  # what stands between them in README.md is written by --readme
SOAK, SOAK_SECONDS = "soak", 1800.0


@dataclass
class Measured:
    """What one benchmark came to; `seconds` is how long it took."""

    name: str
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0


def modules() -> dict[str, ModuleType]:
    """The benchmarks by name: each module in this folder that has a `run`."""
    names = sorted(found.name for found in pkgutil.iter_modules(benchmarks.__path__) if not found.name.startswith("_"))
    loaded = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    return {name: module for name, module in loaded.items() if hasattr(module, "run")}


def machine() -> str:
    """The kind of machine in words: 2 processors of a virtual x86_64 machine (AMD EPYC), Linux"""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        told = ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in told.splitlines())}
    virtual = "virtual " if "hypervisor" in facts.get("flags", "").split() else ""
    model = facts.get("model name") or platform.processor() or "model not told"
    return f"{os.cpu_count()} processors of a {virtual}{platform.machine()} machine ({model}), {platform.system()}"


def conditions(quick: bool) -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "gc": "on, collected before each repetition" if gc.isenabled() else "off",
        "quick": quick,
    }


def number(value: float) -> str:
    """Three digits or more: 23,456  1.38  0.0021"""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cells(row: Row) -> tuple[str, str, str, str]:
    """A row in words: what, the figure, the yardstick beside it, the goal and whether it is reached."""
    if row.figure is None or row.ratio is None:
        return row.what, "not measured", row.note, row.goal
    said = {None: "", True: ": yes", False: ": NO"}[row.met]
    return row.what, f"{number(row.figure)} {row.unit}", f"{number(row.ratio)} x {row.yardstick}", row.goal + said


def table(rows: Iterable[Row]) -> str:
    """Aligned columns, for a terminal."""
    lines = [("what", "figure", "beside it", "goal"), *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def for_readme(done: Sequence[Measured], told: dict[str, Any]) -> str:
    """What stands in README.md, folded: the run, and the rows that have a goal or could not be measured."""
    rows = [row for measured in done for row in measured.rows]
    figures = [row for row in rows if row.figure is not None]
    met = [row.met for row in figures if row.met is not None]
    took = sum(measured.seconds for measured in done)
    lines = [
        f"<details><summary>{told['date']}, {told['machine']}, {told['python']}, load {told['load']} at the start:",
        f"{len(figures)} figures in {took:.0f} s; {len(met)} have a goal, and {sum(met)} reach it</summary>",
        "",
        "| what | figure | beside it | goal |",
        "|---|---:|---|---|",
    ]
    for row in rows:
        if row.met is not None or row.figure is None:
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells(row)) + " |")
    return "\n".join([*lines, "", "</details>"])


def replaced(text: str, between: str) -> str:
    """README.md's text with `between` between the two marks, and all else as it was.

    Raises ValueError if the marks are not there, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before + after:
        raise ValueError(f"README.md needs the marks {BEGIN} and {END}, once each and in this order")
    return f"{before}{begin}\n{between}\n{end}{after}"


def measure(chosen: Iterable[tuple[str, Any]], done: list[Measured]) -> int:
    """Append what each benchmark yields to `done`.  The exit status: 130 after Ctrl-C, 1 if one broke off, else 0."""
    status = 0
    for name, run in chosen:
        measured, start = Measured(name), perf_counter()
        done.append(measured)
        try:
            for row in run():
                measured.rows.append(row)
                progress(f"{name}: {': '.join(filter(None, cells(row)[:2]))}")
        except KeyboardInterrupt:
            progress("interrupted; this is what was measured so far")
            return 130
        except NotHere as reason:
            measured.rows.append(missing(name, str(reason)))
            progress(f"{name}: not measured: {reason}")
        except Exception as error:
            measured.rows.append(missing(name, f"broke off: {type(error).__name__}: {error}"))
            progress(f"{name} broke off: {type(error).__name__}: {error}")
            status = 1
        finally:
            measured.seconds = round(perf_counter() - start, 1)
    return status


def save(told: dict[str, Any], done: Sequence[Measured]) -> None:
    text = json.dumps({"conditions": told, "benchmarks": [asdict(measured) for measured in done]}, indent=1)
    try:
        RESULTS.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        progress(f"{RESULTS.name} was not written ({error.strerror}); the table stands all the same")


def parser_of(known: dict[str, ModuleType]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measures the model and the course, prints one table, and writes benchmarks/results.json.\n"
        "Ctrl-C ends it and prints what was measured so far.",
        epilog="benchmarks:\n"
        + "\n".join(f"  {name:10} {(module.__doc__ or '').splitlines()[0]}" for name, module in known.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these; without a name, all but {SOAK}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: rougher figures in less time")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md as well (for authors)")
    parser.add_argument(
        "--" + SOAK, nargs="?", type=float, const=SOAK_SECONDS, metavar="SECONDS",
        help=f"random clicking on the instruments, for {SOAK_SECONDS:.0f} s or so many; nothing else unless named",
    )  # fmt: skip
    return parser


def choice(arguments: argparse.Namespace, known: dict[str, ModuleType]) -> list[tuple[str, Any]]:
    """What is to be run: names, each with the call.  Raises ValueError if it cannot be."""
    if arguments.readme and (arguments.names or arguments.quick or arguments.soak is not None):
        raise ValueError("--readme is for a whole run: leave the names, --quick and --soak out")
    for name in (*arguments.names, *([SOAK] if arguments.soak is not None else [])):
        if name not in known:
            raise ValueError(f"no benchmark {name!r}; there are {', '.join(known)}")
    calls = {name: partial(module.run, arguments.quick) for name, module in known.items()}
    if arguments.soak is not None:
        calls[SOAK] = partial(known[SOAK].run, arguments.quick, seconds=arguments.soak)
        names = {*arguments.names, SOAK}
    else:
        names = set(arguments.names or known.keys() - {SOAK})
    return [(name, call) for name, call in calls.items() if name in names]


def main(words: Sequence[str] | None = None) -> int:
    known = modules()
    parser = parser_of(known)
    arguments = parser.parse_args(words)
    try:
        chosen = choice(arguments, known)
        if arguments.readme:
            replaced(README.read_text(encoding="utf-8"), "")  # what it would stumble over in the end, now
    except ValueError as error:
        parser.error(str(error))
    told, done = conditions(arguments.quick), list[Measured]()
    status = measure(chosen, done)
    save(told, done)
    print(", ".join(f"{key} {value}" for key, value in told.items()))
    print(table(row for measured in done for row in measured.rows))
    print(f"{sum(measured.seconds for measured in done):.0f} s in all")
    if arguments.readme and status:
        progress("README.md is as it was: this run was not whole")
    elif arguments.readme:
        text = replaced(README.read_text(encoding="utf-8"), for_readme(done, told))
        README.write_text(text, encoding="utf-8", newline="\n")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
