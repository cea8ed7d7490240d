"""Runs the benchmarks and prints a table, and JSON if asked: `python -m benchmarks --help`."""

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
from pathlib import Path
from types import ModuleType
from typing import Any

import benchmarks
from benchmarks import Row, progress


def modules() -> dict[str, ModuleType]:
    """The benchmarks by name: each module in this folder that has a `run`."""
    names = sorted(found.name for found in pkgutil.iter_modules(benchmarks.__path__) if not found.name.startswith("_"))
    loaded = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    return {name: module for name, module in loaded.items() if hasattr(module, "run")}


def conditions(quick: bool) -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "gc": "on, collected before each repetition" if gc.isenabled() else "off",
        "quick": quick,
    }


def number(value: float | None) -> str:
    """Three digits or more: 23,456  1.38  0.0021"""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """Aligned columns."""
    lines = [["what", "figure", "unit", "ratio", "to", "goal", "met"]]
    for row in rows:
        met = {None: "", True: "yes", False: "NO"}[row["met"]]
        lines.append([
            row["name"], number(row["figure"]), row["unit"], number(row["ratio"]), row["yardstick"], row["goal"], met,
        ])  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = (1, 3)  # numbers
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def measure(chosen: Iterable[tuple[str, ModuleType]], quick: bool, rows: list[Row]) -> int:
    """Append what each benchmark yields to `rows`.  The exit status: 130 after Ctrl-C, 1 if one broke off, else 0."""
    status = 0
    for name, module in chosen:
        try:
            for row in module.run(quick):
                rows.append(row)
                progress(f"{name}: {row['name']}: {number(row['figure'])} {row['unit']}")
        except KeyboardInterrupt:
            progress("interrupted; this is what was measured so far")
            return 130
        except Exception as error:
            progress(f"{name} broke off: {type(error).__name__}: {error}")
            status = 1
    return status


def main(words: Sequence[str] | None = None) -> int:
    known = modules()
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="Measures the model. Ctrl-C ends it and prints what was measured so far."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(known)} (default: all)")
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE as JSON as well (- for stdout)")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: rougher figures in a few seconds")
    arguments = parser.parse_args(words)
    for name in arguments.names:
        if name not in known:
            parser.error(f"no benchmark {name!r}; there are {', '.join(known)}")
    told, rows = conditions(arguments.quick), list[Row]()
    status = measure([(n, m) for n, m in known.items() if n in (arguments.names or known)], arguments.quick, rows)
    if arguments.json != "-":
        print(", ".join(f"{key} {value}" for key, value in told.items()))
        print(table(rows))
    if arguments.json:
        text = json.dumps({"conditions": told, "rows": rows}, indent=1) + "\n"
        if arguments.json == "-":
            print(text, end="")
        else:
            Path(arguments.json).write_text(text, encoding="utf-8")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
