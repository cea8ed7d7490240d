"""The guest's whole file system, as one archive in memory: busybox, three programs of ours, two modules, the scripts.

A kernel unpacks such an archive into its first root folder and starts /init.  It is a cpio archive in the form "newc":
for each file a header of hexadecimal numbers, the name, the content.  Several may follow each other, so what differs
from boot to boot goes into a small second one.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .packages import Trouble

HERE = Path(__file__).parent
PROGRAMS = ("ask", "fill", "moment")
FOLDERS = ("bin", "dev", "guest", "job", "modules", "out", "proc", "sys")


def cpio(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """A newc archive of name: (mode, content), in that order, all owned by root and without a date.

    >>> archive = cpio({"job": (0o40755, b""), "job/cells": (0o100644, b"plain kpageflags")})
    >>> archive[:6], len(archive) % 4, archive.count(b"070701")
    (b'070701', 0, 3)
    """
    out = bytearray()
    for number, (name, (mode, content)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return bytes(out)


def packed(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    return gzip.compress(cpio(files), 6, mtime=0)


def job(settings: Mapping[str, object], cells: str = "") -> bytes:
    """The second archive: what this boot is for, as shell variables, and the cells to ask about."""
    text = "".join(f"{name}='{value}'\n" for name, value in settings.items())
    contents = {"job/settings": text.encode(), "job/cells": cells.encode()}
    return packed({name: (stat.S_IFREG | 0o644, content) for name, content in contents.items()})


def initramfs(tree: Path, build: Path) -> bytes:
    """The first archive, from the unpacked packages in `tree` and the things made in `build`."""
    files = dict.fromkeys(FOLDERS, (stat.S_IFDIR | 0o755, b""))

    def add(name: str, content: bytes, mode: int = 0o755) -> None:
        files[name] = (stat.S_IFREG | mode, content)

    add("init", (HERE / "guest" / "init").read_bytes())
    add("bin/busybox", next(tree.rglob("bin/busybox")).read_bytes())
    for program in PROGRAMS:
        add(f"bin/{program}", (build / program).read_bytes())
    for script in sorted((HERE / "guest").glob("*.sh")):
        add(f"guest/{script.name}", script.read_bytes())
    for module in sorted([*tree.rglob("virtio*.ko*"), *build.glob("module/*.ko")]):
        content = lzma.decompress(module.read_bytes()) if module.suffix == ".xz" else module.read_bytes()
        add(f"modules/{module.name.removesuffix('.xz')}", content)
    return packed(files)


def compile_programs(build: Path) -> None:
    for program in PROGRAMS:
        source = HERE / "guest" / f"{program}.c"
        made(["gcc", "-O2", "-Wall", "-static", "-s", "-o", str(build / program), str(source)], build / "gcc.log")


def compile_modules(tree: Path, build: Path) -> None:
    """Build witness.ko and dress.ko against the unpacked headers, in a copy of the sources.

    The headers' Makefile names its other half by the place it would be installed at; that one line is mended.  The
    modules go without BTF of their own: for that, the kernel's vmlinux would be asked.
    """
    headers = next(path for path in (tree / "usr" / "src").glob("linux-headers-*") if path.name.endswith("-amd64"))
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace("include /usr/src/", f"include {tree}/usr/src/"))
    shutil.copytree(HERE / "module", build / "module", dirs_exist_ok=True)
    command = ["make", "-C", str(headers), f"M={build / 'module'}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]
    made(command, build / "make.log")


def made(command: list[str], log: Path) -> None:
    with log.open("wb") as out:
        if subprocess.run(["nice", *command], stdout=out, stderr=out).returncode:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise Trouble(f"{command[0]} failed; all it said is in {log}, its last words:\n{last}")
