"""Rough places to work in: what a command has to be run by, or in, to be there.  Each can be had by root and by others.

subprocess.run([*without_network(), *as_anybody(), "python3", "lab.py", "doctor"])
"""

import contextlib
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# A network of one's own begins with its loopback down: bring it up (SIOCSIFFLAGS: UP, RUNNING), then be the command.
LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as probe:
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh22x", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""
ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}  # a terminal that knows nothing else


@functools.cache
def _works(*command: str) -> bool:
    """Whether this machine lets us run something by that command."""
    if not shutil.which(command[0]):
        return False
    return subprocess.run([*command, sys.executable, "-c", ""], capture_output=True, timeout=60).returncode == 0


def without_network() -> list[str]:
    """The beginning of a command that finds loopback and nothing else.  Skips where that cannot be had."""
    alone = ["unshare", "--net", *([] if _is_root() else ["--map-root-user"]), sys.executable, "-c", LOOPBACK]
    if not _works(*alone):
        pytest.skip("a network with nothing but loopback cannot be had here (unshare --net)")
    return alone


def as_anybody() -> list[str]:
    """The beginning of a command that may do with files what their modes say, which root else may not care about."""
    if not _is_root():
        return []
    powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    if not _works(*powerless):
        pytest.skip("root writes wherever it likes, and cannot be held back here (setpriv)")
    return powerless


def _is_root() -> bool:
    return getattr(os, "geteuid", lambda: 1)() == 0


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody may write in this folder, nor into what lies in it."""
    if os.name == "nt":
        pytest.skip("folders are not made read-only by their modes there")
    inside = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode & 0o777 for path in inside]
    for path, mode in zip(inside, modes, strict=True):
        path.chmod(mode & 0o555)
    try:
        yield
    finally:
        for path, mode in zip(inside, modes, strict=True):
            path.chmod(mode)
