"""python3 lab.py fieldlab: everything from an empty folder to a recording, one step after the other."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from zbudlab import kernel

from . import build, cells, packages, record
from .boot import COMMAND_LINE, Machine, accelerator
from .packages import Trouble

HERE = Path(__file__).parent
SWAP_JOB: dict[str, object] = {"fill_mib": 240, "back_mib": 24}  # in a guest of 256 MiB
# Memory can be taken offline in whole blocks of 128 MiB only, and the last one here has a hole: so more memory.
REAL_JOB: dict[str, object] = {"fill_mib": 400, "back_mib": 24}
REAL_MIB = 400
start = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - start:4.0f} s] {text}", flush=True)


def options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lab.py fieldlab",
        description="Boot a real kernel in a virtual machine, make it swap into zbud, ask its readers about dressed "
        "pages, and write a recording that zbudlab.kernel.load reads. Needs Linux with apt (Debian 12). See "
        "fieldlab/README.md.",
    )
    parser.add_argument("--release", choices=list(packages.IMAGES), default="6.1", help="which kernel (6.1)")
    parser.add_argument("--quick", action="store_true", help="a subset of the cells: about three minutes")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the recording goes (fieldlab-RELEASE)")
    parser.add_argument("--yes", action="store_true", help="do not ask before downloading")
    return parser.parse_args(words)


def agreed(question: str, yes: bool) -> bool:
    if yes:
        return True
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def check_tools(yes: bool) -> None:
    """See that QEMU and a compiler are here; offer to install what is not, if this is root."""
    lacking = packages.missing_tools()
    if not lacking:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *" ".join(lacking).split()]
    said = " ".join(command)
    if getattr(os, "geteuid", lambda: 1)() or not agreed(
        f"This machine lacks programs that the lab needs. Run: {said}?", yes
    ):
        raise Trouble(f"programs are missing here. Install them, then run this again: {said}")
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        raise Trouble(f"that failed: {said}")


def prepare(wanted: list[packages.Package], work: Path) -> Machine:
    """Fetch, unpack, build: a machine that is ready to boot."""
    tree, made = work / "tree", work / "build"
    files = packages.fetch(wanted, work)
    if not (tree / "unpacked").exists():
        say("unpacking the kernel, the headers, busybox")
        packages.unpack(files, tree)
        (tree / "unpacked").touch()
    say("compiling three small programs and two modules")
    made.mkdir(exist_ok=True)
    build.compile_programs(made)
    build.compile_modules(tree, made)
    image = build.initramfs(tree, made)
    say(f"the guest's file system: {len(image) / 1e6:.1f} MB, packed")
    machine = Machine(next((tree / "boot").glob("vmlinuz-*")), image, work / "boots")
    machine.accelerator = accelerator(machine)
    say(f"guests run under {'KVM' if machine.accelerator == 'kvm' else 'emulation (no KVM that works here)'}")
    return machine


def offer(wanted: list[packages.Package], work: Path, yes: bool) -> None:
    """Say what will be downloaded, how much, and where to; Trouble if that is not agreed to."""
    size = sum(package.size for package in wanted) / 1e6
    say(f"{len(wanted)} packages of Debian's, {size:.0f} MB to download, none of them installed:")
    for package in wanted:
        print(f"         {package.name} {package.version}, {package.size / 1e6:.1f} MB")
    if not agreed(f"Download them to {work}?", yes):
        raise Trouble("nothing was downloaded")
    work.mkdir(parents=True, exist_ok=True)


def provenance(arguments: argparse.Namespace, wanted: list[packages.Package], machine: Machine) -> dict[str, Any]:
    """Where a recording comes from, so that it can be made again.  Folders of this machine are left out."""
    sources = sorted(path for folder in ("guest", "module") for path in (HERE / folder).iterdir())
    command = " ".join(machine.command(256, dimm=False))
    return {
        "made_with": f"python3 lab.py fieldlab --release {arguments.release}{' --quick' * arguments.quick}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "packages": [{"name": p.name, "version": p.version, "sha256": p.sha256} for p in wanted],
        "kernel": wanted[0].version,
        "kernel_command_line": COMMAND_LINE,
        "guest_mib": 256,
        "accelerator": machine.accelerator,
        "qemu": packages.output("qemu-system-x86_64", "--version").splitlines()[0],
        "qemu_command": command.replace(f"{machine.folder}/", "").replace(f"{machine.kernel.parent}/", ""),
        "compiler": packages.output("gcc", "--version").splitlines()[0],
        "host": f"{platform.system()} {platform.machine()}",
        "sources": {str(path.relative_to(HERE)): record.sha256(path.read_bytes()) for path in sources},
    }


def interrogate(arguments: argparse.Namespace) -> None:
    out: Path = (arguments.out or Path(f"fieldlab-{arguments.release}")).resolve()
    if set(str(out)) & set(" :"):
        raise Trouble(f"{out}: the kernel's build system cannot work in a folder with a space or colon in its name")
    check_tools(arguments.yes)
    wanted = packages.plan(arguments.release)
    work = out / "work" / wanted[0].name
    offer(wanted, work, arguments.yes)
    machine = prepare(wanted, work)
    origin = provenance(arguments, wanted, machine)

    layout = machine.must(build.job({"job": "layout"}), "the layouts", seconds=60)
    btf = layout.files["btf"]
    settings: dict[str, object] = {"witness": record.witness_settings(btf)}
    say(f"first boot, {layout.seconds:.0f} s: the kernel has told its layouts; zbud's lists: {settings['witness']}")
    moment = machine.must(build.job({"job": "moment"} | settings | SWAP_JOB), "the memmap", seconds=240)
    say(f"second boot, {moment.seconds:.0f} s: swapped into zbud, one moment copied")
    real = machine.must(build.job({"job": "real"} | settings | REAL_JOB), "the real pages", seconds=240, mib=REAL_MIB)
    say(f"third boot, {real.seconds:.0f} s: readers came to real zbud pages")

    asked = cells.QUICK if arguments.quick else cells.everything()
    say(f"{len(asked)} dressed cells; what was answered before by the same guest is not asked again")
    answered = cells.ask(machine, asked, work / f"cells-{record.sha256(machine.initramfs)[:12]}.jsonl")
    config = next(machine.kernel.parent.glob("config-*")).read_bytes()
    origin |= {"config_sha256": record.sha256(config), "cells_asked": len(asked)}
    facts = record.facts(btf, moment.log) | {"pool_stood_still": record.still(moment)}
    about = {"facts": facts, "provenance": origin}
    r = record.write(out, arguments.release, record.parts(moment, answered, config), about, real)
    say(f"written to {out}: {r}")
    report(r)


def report(r: kernel.Recording) -> None:
    """The best of it, and how it compares with the recording in the package."""
    for thing, told in r.exhibits["counts"].items():
        agree = "they agree" if len(set(told.values())) == 1 else "THEY DO NOT AGREE"
        print(f"    {thing}: " + ", ".join(f"{number:,} {how}" for how, number in told.items()) + f"; {agree}")
    print(f"    records that changed while the kernel was asked: {len(r.changed)}")
    print(f"    pages that have the very bytes of a zbud page: {r.exhibits['look_alikes']['same_64_bytes']:,}")
    if r.release in kernel.releases():
        found = record.differences(r, kernel.load(r.release))
        print(f"    beside the recording in the package: {len(found) or 'no'} differences that are not chance")
        for line in found:
            print(f"      {line}")


def main(words: list[str]) -> int:
    arguments = options(words)
    if not sys.platform.startswith("linux"):
        print("fieldlab: it needs Linux: there is no other way to a Linux kernel here.", file=sys.stderr)
        return 1
    try:
        interrogate(arguments)
    except Trouble as trouble:
        print(f"fieldlab: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fieldlab: stopped; what is there already is used the next time.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
