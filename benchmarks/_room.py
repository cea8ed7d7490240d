"""A JupyterHub on loopback for benchmarks/hub.py, and a watchdog that ends it.

The hub runs with the configuration that instructors get.  Replaced are what takes root and accounts, which are the
login (one password for the run, made at random) and the spawner, and with it the places: ports, folders, the Python.

All that is written goes to one temporary folder.  The watchdog, a process of its own, ends every process of the room
and removes that folder: when the benchmark ends, however it ends, and at the latest when its time is up.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks import NotHere

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
CONFIG = NOTEBOOKS / "room" / "jupyterhub_config.py"
TO_END = 10.0  # seconds that processes get to end by themselves
MARK = "ZBUDLAB_ROOM"  # in the environment of every process of the room; its value is the room's folder
TRIAL = """
import hmac
from jupyterhub.auth import Authenticator

load_subconfig({config!r})
c = get_config()


class OnePassword(Authenticator):
    async def authenticate(self, handler, data):
        return data["username"] if hmac.compare_digest(data["password"], {password!r}) else None


c.JupyterHub.authenticator_class = OnePassword
c.Authenticator.allowed_users = {names!r}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {folder!r} + "/{{username}}"
c.Spawner.environment = {{
    {mark!r}: {folder!r},
    "JUPYTER_RUNTIME_DIR": lambda spawner: {folder!r} + "/" + spawner.user.name,  # a socket's path has to be short
}}
c.Spawner.cmd = [{python!r}, "-m", "jupyterhub.singleuser"]
c.Spawner.args += {arguments!r}
c.JupyterHub.bind_url = "http://127.0.0.1:{ports[0]}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{ports[1]}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{ports[2]}"
c.JupyterHub.cookie_secret_file = {folder!r} + "/cookie_secret"
c.JupyterHub.db_url = "sqlite:///" + {folder!r} + "/hub.sqlite"
c.ConfigurableHTTPProxy.pid_file = {folder!r} + "/proxy.pid"
"""


def needed() -> None:
    """Raise NotHere, in one sentence, for what is missing."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise NotHere("the memory of processes is read from /proc/PID/smaps_rollup, which takes Linux 4.14 or newer")
    ways = []
    if not find_spec("jupyterhub"):
        ways.append('JupyterHub is missing (pip install --editable ".[hub]")')
    if not shutil.which("configurable-http-proxy"):
        ways.append("the proxy of JupyterHub is missing (npm install -g configurable-http-proxy)")
    if ways:
        raise NotHere(" and ".join(ways))


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def processes(folder: str) -> dict[int, str]:
    """The processes of the room, those whose environment has its mark: whose each is ("": the hub and its proxy)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            entries = path.read_text(encoding="utf-8", errors="replace").split("\0")
            if f"{MARK}={folder}" in entries:
                users = (entry.partition("=")[2] for entry in entries if entry.startswith("JUPYTERHUB_USER="))
                found[int(path.parent.name)] = next(users, "")
    return found


def memory(folder: str) -> dict[str, float]:
    """What each user's processes hold in MiB ("": the hub and its proxy): their own, and a share of what they share."""
    held: dict[str, float] = {}
    for process, user in processes(folder).items():
        with contextlib.suppress(OSError):
            told = Path(f"/proc/{process}/smaps_rollup").read_text()
            kib = next(int(line.split()[1]) for line in told.splitlines() if line.startswith("Pss:"))
            held[user] = held.get(user, 0) + kib / 1024
    return held


def watch(folder: str, seconds: float) -> None:
    """The watchdog: wait until the benchmark is gone (its end of the pipe closes) or the time is up; end the room."""
    select.select([sys.stdin], [], [], seconds)
    for word in (signal.SIGTERM, signal.SIGKILL):
        told, end = set[int](), time.monotonic() + TO_END
        while (left := processes(folder)) and time.monotonic() < end:
            for process in left.keys() - told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, word)
            told.update(left)
            time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Room:
    """A running hub."""

    url: str
    folder: str
    password: str
    hub: subprocess.Popen[bytes]

    def last_words(self) -> str:
        lines = Path(self.folder, "hub.log").read_text(errors="replace").splitlines()
        return " / ".join(line for line in lines if line)[-500:]


def furnish(folder: str, names: Collection[str]) -> tuple[int, str]:
    """Write a home with the notebooks for each learner, and the hub's configuration; the hub's port and password."""
    for name in names:
        home = Path(folder, name, "zbudlab")
        home.mkdir(parents=True)
        for path in NOTEBOOKS.glob("*.ipynb"):
            shutil.copy(path, home)
    ports, password = free_ports(3), secrets.token_urlsafe()
    text = TRIAL.format(
        config=str(CONFIG), folder=folder, names=set(names), password=password, ports=ports, mark=MARK,
        python=sys.executable, arguments=["--allow-root"] if os.geteuid() == 0 else [],
    )  # fmt: skip
    Path(folder, "trial.py").write_text(text)
    return ports[0], password


@contextlib.contextmanager
def room(names: Collection[str], limit: float) -> Iterator[Room]:
    """A hub that is starting, with an account for each of `names`; it is gone after this, or after `limit` seconds."""
    folder = str(Path(tempfile.mkdtemp(prefix="zbudlab-")).resolve())
    watchdog = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._room", folder, str(limit)],
        cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    hub = None
    try:
        port, password = furnish(folder, names)
        with Path(folder, "hub.log").open("wb") as log:
            hub = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "--config", "trial.py"],
                cwd=folder, env=os.environ | {MARK: folder, "HOME": folder}, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        yield Room(f"http://127.0.0.1:{port}", folder, password, hub)
    finally:
        watchdog.communicate()  # closes the pipe, and waits
        if hub:
            hub.wait()


if __name__ == "__main__":
    watch(sys.argv[1], float(sys.argv[2]))
