"""zbudlab on the command line: `python -m zbudlab --help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path


def command_course(arguments: argparse.Namespace) -> int:
    """0 once it is copied and JupyterLab has ended, 2 if that cannot be done; then nothing was."""
    from .course import CourseError, copy

    try:
        copy(arguments.folder)
    except CourseError as error:
        print(f"zbudlab: {error}", file=sys.stderr)
        return 2
    print(f"zbudlab: the course is in {arguments.folder}", file=sys.stderr)
    return 0 if arguments.copy_only else command_open(arguments)


def command_open(arguments: argparse.Namespace) -> int:
    from .course import CourseError, open_lab

    try:
        return open_lab(arguments.folder, arguments.port, arguments.browser, arguments.settings)
    except CourseError as error:
        print(f"zbudlab: {error}", file=sys.stderr)
        return 2


def port(text: str) -> int:
    """A number of a port, as an argument."""
    if text.isascii() and text.isdecimal() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"a number from 1 to 65535 is needed, not {text!a}")


def command_doctor(arguments: argparse.Namespace) -> int:
    from .doctor import doctor

    return 0 if doctor() else 1


def command_check(arguments: argparse.Namespace) -> int:
    """A line a file, then all in all.  0 if all agree, 1 if one differs, 2 if one cannot be read; the worst counts."""
    from .recordings import check, in_all, shipped
    from .rows import RecordingError

    worst, reports, files = 0, [], arguments.files or shipped()
    for path in files:
        try:
            report = check(path)
        except RecordingError as error:
            print(f"{path}: {error}", file=sys.stderr)
            worst = 2
        else:
            print(report.text, flush=True)
            reports.append(report)
            worst = max(worst, 0 if report.ok else 1)
    if len(files) > 1:
        print(in_all(reports))
    return worst


def command_matrix(arguments: argparse.Namespace) -> int:
    if arguments.kernel != "3.10":
        return matrix_of_today(arguments)
    from .demonstrate import matrix
    from .demonstrate.readers import READERS
    from .schemes import SCHEMES

    schemes, readers = known(arguments.scheme, SCHEMES, "scheme"), known(arguments.reader, READERS, "reader")
    cells = matrix(schemes, readers)
    asked = {scheme: cells.demands(scheme) for scheme in schemes}
    if arguments.json:
        told = [{"scheme": s, "reader": r, **vars(verdict)} for (s, r), verdict in cells.items()]
        print(json.dumps({"cells": told, "demands": asked}, indent=1))
        return 0
    for scheme in schemes:
        print(f"{scheme}: {SCHEMES[scheme].about}")
        for reader in readers:
            verdict = cells[scheme, reader]
            if verdict.word != "ok" or arguments.all:
                print(f"    {reader:18} {verdict}")
        fine = sum(cells[scheme, reader].word == "ok" for reader in readers)
        print(f"    {'ok':18} {fine} of {len(readers)} readers")
        print("    " + "; ".join(f"{demand}: {answer}" for demand, answer in asked[scheme].items()))
    return 0


def matrix_of_today(arguments: argparse.Namespace) -> int:
    """Dressed pages before the readers of Linux 6.1, with the cells that a real kernel confirmed."""
    from .demonstrate import matrix

    try:
        cells = matrix(arguments.scheme, arguments.reader, kernel=arguments.kernel)
    except ValueError as error:
        print(f"zbudlab: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        told = [{"scheme": s, "reader": r, **vars(verdict)} for (s, r), verdict in cells.items()]
        print(json.dumps({"kernel": arguments.kernel, "cells": told}, indent=1))
        return 0
    for scheme in cells.schemes:
        mine = {reader: cells[scheme, reader] for reader in cells.readers}
        print(scheme)
        for reader, verdict in mine.items():
            if verdict.word != "ok" or arguments.all:
                print(f"    {reader:18} {verdict}")
        confirmed = sum(vars(verdict)["real"] == "confirmed" for verdict in mine.values())
        fine = sum(verdict.word == "ok" for verdict in mine.values())
        print(f"    {'ok':18} {fine} of {len(mine)} readers; confirmed by a real kernel: {confirmed}")
    return 0


def command_demonstrate(arguments: argparse.Namespace) -> int:
    """0 if nothing was found, 1 if something was, 2 for an unknown name."""
    from .demonstrate import Answer, demonstrate
    from .demonstrate.judge import WORDS
    from .demonstrate.readers import READERS
    from .schemes import SCHEMES

    known([arguments.scheme], SCHEMES, "scheme")
    if arguments.depth < 1:
        print(f"zbudlab: --depth {arguments.depth} is no search; the least is 1", file=sys.stderr)
        return 2
    if arguments.meanwhile < 1:
        print(f"zbudlab: --meanwhile {arguments.meanwhile} is no race; the least is 1", file=sys.stderr)
        return 2
    known([arguments.peeker] if arguments.peeker else [], READERS, "reader")

    def progress(answer: Answer) -> None:
        if sys.stderr.isatty():
            print(f"\r{answer.states:,} states, {answer.tried:,} steps", end="", file=sys.stderr, flush=True)

    words = WORDS[WORDS.index(arguments.at_least) :]
    answer = demonstrate(
        arguments.scheme,
        arguments.peeker,
        races=arguments.races,
        meanwhile=arguments.meanwhile,
        others=arguments.others,
        depth=arguments.depth,
        words=words,
        seconds=arguments.seconds,
        progress=progress,
    )
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(json.dumps(answer.as_json(), indent=1) if arguments.json else answer)
    if arguments.save and not answer.found:
        print(f"zbudlab: nothing was found, so {arguments.save} is not written", file=sys.stderr)
    elif arguments.save:
        try:
            answer.timeline().dump(arguments.save)
        except OSError as error:
            print(f"zbudlab: {arguments.save} cannot be written: {error.strerror or error}", file=sys.stderr)
            return 2
    return 1 if answer.found else 0


def command_price(arguments: argparse.Namespace) -> int:
    from .demonstrate import price

    computed = price()
    print(json.dumps(computed.as_json(), indent=1) if arguments.json else computed)
    return 0


def command_claims(arguments: argparse.Namespace) -> int:
    """What was said in the thread and can be checked, checked.  2 for a number that no claim has."""
    from .thread import claims

    try:
        asked = claims(*arguments.numbers)
    except KeyError as error:
        print(f"zbudlab: {error.args[0]}", file=sys.stderr)
        return 2
    print(json.dumps([claim.as_json() for claim in asked], indent=1) if arguments.json else asked)
    return 0


def known(names: Sequence[str], all_names: Collection[str], what: str) -> list[str]:
    """The names asked for, all if none; one sentence and exit status 2 for a name that is not known."""
    for name in names:
        if name not in all_names:
            print(f"zbudlab: unknown {what} {name!r}; known: {', '.join(all_names)}", file=sys.stderr)
            raise SystemExit(2)
    return list(names or all_names)


def add_course(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    opening = argparse.ArgumentParser(add_help=False)
    opening.add_argument("--port", type=port, metavar="N", help="on this port; otherwise on a free one")
    opening.add_argument("--no-browser", dest="browser", action="store_false", help="print the address only")
    opening.add_argument("--settings", type=Path, metavar="DIR", help="where to keep Jupyter's settings for the course")
    course = commands.add_parser(
        "course",
        parents=[opening],
        help="copy the course into a new or an empty folder, and open it in JupyterLab",
        description="Copies the course, never over anything. Exit status: 2 if it cannot be copied, or not be opened.",
    )
    course.add_argument("folder", type=Path, metavar="FOLDER", help="new, or empty")
    course.add_argument("--copy-only", action="store_true", help="do not open it")
    course.set_defaults(run=command_course)
    again = commands.add_parser("open", parents=[opening], help="open a folder that has the course in JupyterLab")
    again.add_argument("folder", type=Path, metavar="FOLDER", nargs="?", default=".", help="by default this one")
    again.set_defaults(run=command_open)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="zbudlab", description="The 2013 zbud discussion as something you can run.")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_course(commands)
    doctor = commands.add_parser("doctor", help="say what is installed here, and what to do where something is missing")
    doctor.set_defaults(run=command_doctor)
    check = commands.add_parser(
        "check",
        help="hold the model to recordings of the original C code",
        description="Holds the model to recordings (without a FILE: to all that come with it), one line a file. "
        "Exit status: 0 all agree, 1 one differs, 2 one cannot be read.",
    )
    files = "a trace, timeline or raw record, plain or gzip; the folder of a kernel recording"
    check.add_argument("files", nargs="*", metavar="FILE", help=files)
    check.set_defaults(run=command_check)
    matrix = commands.add_parser("matrix", help="every scheme before every reader: the verdicts, computed")
    matrix.add_argument("--scheme", action="append", default=[], help="only this scheme (may be repeated)")
    matrix.add_argument("--reader", action="append", default=[], help="only this reader (may be repeated)")
    matrix.add_argument("--kernel", choices=("3.10", "6.1"), default="3.10", help="whose readers (default 3.10)")
    matrix.add_argument("--all", action="store_true", help="also the cells that are ok")
    matrix.add_argument("--json", action="store_true", help="for scripts")
    matrix.set_defaults(run=command_matrix)
    search = commands.add_parser(
        "demonstrate",
        help="find the shortest trace that breaks a scheme, or say what was covered",
        description="Searches breadth first for the shortest trace that breaks a scheme. Exit status: 0 nothing found "
        "in the scope stated, 1 found, 2 an unknown name or a file that cannot be written. Ctrl-C ends the search and "
        "prints what was covered.",
    )
    search.add_argument("scheme", metavar="SCHEME", help="its name; a wrong one lists them all")
    search.add_argument("--peeker", metavar="NAME", help="only this reader; a wrong name lists them all")
    search.add_argument("--races", action="store_true", help="let zbud do something in the middle of a visit")
    search.add_argument("--meanwhile", type=int, default=2, help="how many things at most (default 2)")
    search.add_argument("--others", action="store_true", help="send the readers also to a slab page of two pages")
    search.add_argument("--depth", type=int, default=4, help="steps at most (default 4)")
    search.add_argument("--seconds", type=float, default=60, help="time at most (default 60)")
    search.add_argument("--at-least", choices=("misreport", "wrong", "corrupt", "crash"), default="misreport",
                        help="how bad it must be (default misreport)")  # fmt: skip
    search.add_argument("--json", action="store_true", help="for scripts")
    search.add_argument("--save", metavar="FILE", help="write what was found as a timeline, which can be checked")
    search.set_defaults(run=command_demonstrate)
    price = commands.add_parser(
        "price",
        help="what the merged design costs: the header against the overlay, in bytes and pages, computed",
        description="Runs the same stream of real pages through the placements of zbud's data.",
    )
    price.add_argument("--json", action="store_true", help="for scripts")
    price.set_defaults(run=command_price)
    claims = commands.add_parser(
        "claims",
        help="what was said in the thread, put to the test: each claim with its verdict, computed, and the evidence",
        description="Runs each claim of the thread against the model. Exit status: 0, whatever the verdicts; 2 for a "
        "number that no claim has.",
    )
    claims.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="only these (default: all)")
    claims.add_argument("--json", action="store_true", help="for scripts")
    claims.set_defaults(run=command_claims)
    return top


def main(words: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if words is None else words
    arguments = parser().parse_args(given or ["--help"])
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read along has gone, as `head` does; Python cannot flush at its end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
