"""zbudlab on the command line: `python -m zbudlab --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def command_doctor(arguments: argparse.Namespace) -> int:
    from .doctor import doctor

    return 0 if doctor() else 1


def command_check(arguments: argparse.Namespace) -> int:
    """One line a file.  0 if all agree, 1 if any differs, 2 if a file cannot be read; the worst counts."""
    from .recordings import check
    from .rows import RecordingError

    worst = 0
    for path in arguments.files:
        try:
            report = check(path)
        except RecordingError as error:
            print(f"{path}: {error}", file=sys.stderr)
            worst = 2
        else:
            print(report.text, flush=True)
            worst = max(worst, 0 if report.ok else 1)
    return worst


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="zbudlab", description="The 2013 zbud discussion as something you can run.")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    doctor = commands.add_parser("doctor", help="say what is installed here, and what to do where something is missing")
    doctor.set_defaults(run=command_doctor)
    check = commands.add_parser(
        "check",
        help="hold the model to recordings of the original C code",
        description="Holds the model to recordings, one line a file. Exit status: 0 all agree, 1 one differs, "
        "2 one cannot be read.",
    )
    check.add_argument("files", nargs="+", metavar="FILE", help="a trace, timeline or raw record, plain or gzip")
    check.set_defaults(run=command_check)
    return top


def main(words: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
