"""The distribution's packages: which, how big, fetched with apt-get, unpacked into a folder.  Nothing is installed."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Debian's generic kernels of each release; the cloud flavour has no zswap.
IMAGES = {"6.1": r"linux-image-6\.1\.0-(\d+)-amd64", "6.12": r"linux-image-6\.12\.(\d+)\+deb\d+-amd64"}
# Out of an image of 400 MB these are needed: the kernel, its configuration, and what a virtual disk takes.
WANTED = ("./boot/vmlinuz-*", "./boot/config-*", "*/drivers/virtio/*.ko*", "*/virtio_blk.ko*")
BUILD_PARTS = ("linux-headers-", "linux-kbuild-", "linux-compiler-")
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "gcc": "gcc libc6-dev", "make": "make", "dpkg-deb": "dpkg"}


class Trouble(Exception):
    """The lab cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class Package:
    """`size` in bytes, of the file that is fetched."""

    name: str
    version: str
    size: int
    sha256: str
    depends: tuple[str, ...]


def missing_tools() -> list[str]:
    """The packages that have the programs which this machine lacks."""
    return [package for tool, package in TOOLS.items() if not shutil.which(tool)]


def output(*command: str) -> str:
    """What a command prints.  Trouble if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Trouble(f"there is no {command[0]} here; the lab takes its kernels from Debian's packages") from None
    if done.returncode:
        raise Trouble(f"{' '.join(command)} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def newest(release: str, names: list[str]) -> str:
    """The newest generic image of a release.

    >>> newest("6.1", ["linux-image-6.1.0-9-amd64", "linux-image-6.1.0-56-amd64", "linux-image-6.1.0-57-rt-amd64"])
    'linux-image-6.1.0-56-amd64'
    """
    found = [(int(match[1]), name) for name in names if (match := re.fullmatch(IMAGES[release], name))]
    if not found:
        raise Trouble(f"apt knows no generic {release} kernel here: Debian 12 has one; try apt-get update first")
    return max(found)[1]


def described(stanza: str) -> Package:
    """A package from what `apt-cache show` prints of it."""
    lines = stanza.split("\n\n")[0].splitlines()
    told = dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith(" "))
    depends = tuple(re.split(r"[ |]", part.strip())[0] for part in told.get("Depends", "").split(","))
    return Package(told["Package"], told["Version"], int(told["Size"]), told["SHA256"], depends)


def plan(release: str) -> list[Package]:
    """All that is fetched for a release, the kernel's image first."""
    image = newest(release, output("apt-cache", "pkgnames", f"linux-image-{release}.").split())
    packages, todo = [], [image, image.replace("image", "headers"), "busybox-static"]
    while todo:
        package = described(output("apt-cache", "show", "--no-all-versions", todo.pop(0)))
        packages.append(package)
        if package.name != image:
            known = {p.name for p in packages} | set(todo)
            todo += [d for d in package.depends if d.startswith(BUILD_PARTS) and d not in known]
    return packages


def fetch(packages: list[Package], folder: Path) -> list[Path]:
    """The package files, in the folder; those that are there already, with the right digest, are taken as they are."""
    files = []
    for package in packages:
        found = [path for path in folder.glob(f"{package.name}_*.deb") if sha256(path) == package.sha256]
        if not found:
            print(f"         fetching {package.name} {package.version}, {package.size / 1e6:.1f} MB", flush=True)
            command = ["apt-get", "download", "-qq", f"{package.name}={package.version}"]
            if subprocess.run(command, cwd=folder, stderr=subprocess.DEVNULL).returncode:
                raise Trouble(f"apt-get could not fetch {package.name}: is there a network, and is apt's list fresh?")
            found = list(folder.glob(f"{package.name}_*.deb"))
        files.append(found[0])
    return files


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(files: list[Path], folder: Path) -> None:
    """Put what is needed of each package file under `folder`."""
    folder.mkdir(exist_ok=True)
    for file in files:
        some = ["--wildcards", *WANTED] if file.name.startswith("linux-image") else []
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as packed:
            tar = subprocess.run(["tar", "-x", "-C", folder, *some], stdin=packed.stdout)
        if tar.returncode or packed.returncode:
            raise Trouble(f"{file.name} could not be unpacked: is the disk full? If not, delete the file and try again")
