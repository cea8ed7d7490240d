"""A room: JupyterHub on loopback, and eight learners who execute notebook 04 at once, each in a kernel of their own.

The instructor comes first, alone: that is the yardstick.  Everybody logs in as a browser does, starts a server, reads
the notebook there, and sends its code cells one after the other over the kernel's websocket.  Nothing listens but on
127.0.0.1, and nothing is left behind: see _room.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from statistics import median
from typing import Any
from urllib.parse import urlencode

from benchmarks import Row, progress, row
from benchmarks._room import Room, memory, needed, room

NOTEBOOK = "04-peekers.ipynb"
LEARNERS = int(os.environ.get("ZBUDLAB_LEARNERS", 8))
LIMIT, PATIENCE = 240.0, 60.0  # seconds: the whole room at most; a single answer at most
READY, SERVERS, ANSWER, MEMORY = 30.0, 60.0, 5.0, 300.0  # seconds, seconds, seconds, MiB: the goals


@dataclass
class Learner:
    """Somebody with a browser, as the hub sees them."""

    room: Room
    name: str
    token: str = ""
    kernel: str = ""
    started: float = 0.0  # seconds until the server answered
    ready: float = 0.0  # seconds until the kernel answered
    took: list[float] = field(default_factory=list)  # seconds of each cell
    errors: int = 0  # cells that ended with one

    def __post_init__(self) -> None:
        self.cookies = CookieJar()
        direct, cookies = urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.cookies)
        self.opener = urllib.request.build_opener(direct, cookies)

    def ask(self, method: str, path: str, said: Any = None, **headers: str) -> Any:
        """One request to the hub, or to the learner's server.  Raises urllib's errors."""
        headers["Content-Type"] = "application/json"
        if self.token:
            headers["Authorization"] = f"token {self.token}"
        body = None if said is None else json.dumps(said).encode()
        request = urllib.request.Request(self.room.url + path, body, headers, method=method)
        with self.opener.open(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or "null")

    def log_in(self) -> None:
        """By name and password, in the form that a browser shows; then a token of one's own."""
        self.opener.open(f"{self.room.url}/hub/login", timeout=PATIENCE).read()
        form = {"username": self.name, "password": self.room.password, "_xsrf": self.xsrf()}
        url = f"{self.room.url}/hub/login?next=/hub/home"  # without `next` it would start the server
        self.opener.open(url, urlencode(form).encode(), timeout=PATIENCE).close()
        made = self.ask("POST", f"/hub/api/users/{self.name}/tokens", {}, **{"X-XSRFToken": self.xsrf()})
        self.token = made["token"]

    def xsrf(self) -> str:
        return next(cookie.value or "" for cookie in self.cookies if cookie.name == "_xsrf" and cookie.path == "/hub/")

    def start_server(self) -> None:
        start = time.monotonic()
        self.ask("POST", f"/hub/api/users/{self.name}/server", {})
        while not (server := self.ask("GET", f"/hub/api/users/{self.name}")["servers"].get("", {})).get("ready"):
            if not server.get("pending"):
                raise RuntimeError(f"{self.name}'s server did not start: {self.room.last_words()}")
            time.sleep(0.1)
        self.started = time.monotonic() - start

    def start_kernel(self) -> None:
        """A kernel for the notebook, until it answers.  A busy server may drop the wire: then a new one, as in Lab."""
        import websocket  # of websocket-client, which Jupyter Server brings along

        start = time.monotonic()
        said = {"path": NOTEBOOK, "name": NOTEBOOK, "type": "notebook", "kernel": {"name": "python3"}}
        self.kernel = self.ask("POST", f"/user/{self.name}/api/sessions", said)["kernel"]["id"]
        while not self.ready:
            with (
                contextlib.suppress(websocket.WebSocketConnectionClosedException),
                contextlib.closing(self.wire()) as wire,
            ):
                self.answer(wire, "kernel_info_request", {})
                self.ready = time.monotonic() - start

    def wire(self) -> Any:
        """A websocket to the kernel: not to be left alone for long, since it is to answer the server's pings."""
        import websocket

        url = f"{self.room.url}/user/{self.name}/api/kernels/{self.kernel}/channels?session_id={self.name}"
        login = {"Authorization": f"token {self.token}"}
        return websocket.create_connection(
            url.replace("http", "ws", 1), PATIENCE, header=login, http_no_proxy=["127.0.0.1"]
        )

    def answer(self, wire: Any, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        """The content of the kernel's reply to a request, once it is idle again."""
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": self.name, "username": "", "version": "5.3"}
        said = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
        wire.send(json.dumps(said))
        reply: dict[str, Any] | None = None
        idle = False
        while reply is None or not idle:
            told = wire.recv()
            if isinstance(told, bytes):  # a message with buffers: a picture for a widget
                continue
            message = json.loads(told)
            if message["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            if message["msg_type"] == "status":
                idle = message["content"]["execution_state"] == "idle"
            elif message["channel"] == "shell":
                reply = message["content"]
        return reply

    def run_notebook(self) -> None:
        """Each code cell, in order, whether or not the one before went well."""
        notebook = self.ask("GET", f"/user/{self.name}/api/contents/{NOTEBOOK}")["content"]
        codes = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
        with contextlib.closing(self.wire()) as wire:
            for code in codes:
                start = time.monotonic()
                reply = self.answer(wire, "execute_request", {"code": code, "stop_on_error": False})
                self.took.append(time.monotonic() - start)
                self.errors += reply["status"] != "ok"


def run(quick: bool = False) -> Iterator[Row]:
    needed()
    names = [f"learner{i}" for i in range(1, 1 + (2 if quick else LEARNERS))]
    start = time.monotonic()
    try:
        with ThreadPoolExecutor(len(names)) as threads, room(["instructor", *names], LIMIT) as here:
            opened = opening(here)
            alone, learners = Learner(here, "instructor"), [Learner(here, name) for name in names]
            bare = lesson([alone], map)
            against = ("the start of a server alone", opened / alone.started)
            yield row("room: hub ready", opened, "s", against, at_most=READY)
            lesson(learners, threads.map)
            yield from figures(alone, learners)
            yield from memories(here, learners, bare)
    except Exception as error:
        if time.monotonic() - start > LIMIT:
            raise TimeoutError(f"the room was ended after {LIMIT:.0f} s") from error
        raise


def opening(room: Room) -> float:
    """Wait until the hub answers; the seconds that took.  Raises RuntimeError with its last words if it ends."""
    start = time.monotonic()
    while room.hub.poll() is None:
        try:
            Learner(room, "").ask("GET", "/hub/api/")
            return time.monotonic() - start
        except OSError:  # it does not listen yet; or the proxy does, and knows of no hub
            time.sleep(0.1)
    raise RuntimeError(f"the hub ended: {room.last_words()}")


def lesson(learners: list[Learner], each: Callable[..., Iterable[None]]) -> float:
    """What each does, all together from step to step; the memory of the first one's server before it had a kernel."""
    progress(f"hub: {', '.join(learner.name for learner in learners)}")
    held = 0.0
    for step in (Learner.log_in, Learner.start_server, Learner.start_kernel, Learner.run_notebook):
        list(each(step, learners))
        if step is Learner.start_server:
            held = memory(learners[0].room.folder)[learners[0].name]
    return held


def figures(alone: Learner, learners: list[Learner]) -> Iterator[Row]:
    """How long the learners waited, beside how long the instructor did, who was alone."""
    many, people = f"{len(learners)} at once", [alone, *learners]
    for what, (one, *others), goal in (
        (f"servers started, {many}: the last", [learner.started for learner in people], SERVERS),
        (f"kernels ready, {many}: the last", [learner.ready for learner in people], None),
        (f"notebook 04 by {many}: the last", [sum(learner.took) for learner in people], None),
        (f"the slowest answer of a cell, {many}", [max(learner.took) for learner in people], ANSWER),
    ):
        yield row(f"room: {what}", max(others), "s", ("one alone", max(others) / one), at_most=goal)
    sent = sum(len(learner.took) for learner in learners)
    well = sent - sum(learner.errors for learner in learners)
    yield row("room: cells answered without an error", well, "cells", ("those sent", well / sent), at_least=sent)


def memories(room: Room, learners: list[Learner], bare: float) -> Iterator[Row]:
    """What a learner holds, and what the hub and its proxy do."""
    held = memory(room.folder)
    each = median(held[learner.name] for learner in learners)
    against = ("the first server's, before it had a kernel", each / bare)
    yield row(f"room: memory of a learner, one of {len(learners)}", each, "MiB", against, at_most=MEMORY)
    yield row("room: memory of the hub and its proxy", held[""], "MiB", ("a learner's", held[""] / each))
