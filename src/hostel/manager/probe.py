"""A start that is made to be measured: the way of a sleeping site's first visitor, with nobody else on it.

The hard part is to measure the real thing and touch nothing. So the worker is ordered as every other, from the site's own
zygote and with its guards, but it gets listening sockets of its own, where the only visitor is this module; the site's state,
its other workers and their visitors do not know of it. What a worker says of its times is its own word, and is kept within
what has been seen from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import time
from typing import Any, Protocol

from hostel.api.views import ImportView, ProblemView, StageView, StartView
from hostel.errors import UsageError
from hostel.machine.journey import Failure, find_stages
from hostel.manager.logs import escape_text
from hostel.manager.site import ManagedSite
from hostel.manager.sockets import bind_site_socket
from hostel.manager.worker import ManagedWorker
from hostel.protocol import uwsgi
from hostel.wire import Drain, HttpSocket, InterfaceFound, Measured, Ready, Step

PROBE = -1  # the number of the worker that is measured
IMPORTS = 6000  # that are shown, of what a worker tells
OWNERS = ("site", "package", "python")
LEAVE_SECONDS = 5.0
HEAD_BYTES = 65536


class Starter(Protocol):
    """What is wanted of ``Workers``."""

    probes: dict[str, Probe]

    def order_probe(self, managed: ManagedSite, worker: ManagedWorker) -> None: ...
    def release_probe(self, managed: ManagedSite, worker: ManagedWorker) -> None: ...
    def signal(self, worker: ManagedWorker, sign: int) -> None: ...


class Probe:
    """One measured start of a site."""

    def __init__(self, workers: Starter, managed: ManagedSite, path: str) -> None:
        self.workers = workers
        self.managed = managed
        self.path = path
        self.loop = asyncio.get_running_loop()
        self.worker = ManagedWorker(managed.name, PROBE, managed.machine.generation, 1)
        self.moments: dict[str, float] = {}
        self.measured: list[Measured] = []
        self.failure: Failure | None = None
        self.ended = asyncio.Event()
        self.is_new_zygote = False
        self.sockets: list[socket.socket] = []

    async def measure(self, seconds: float) -> StartView:
        """Start a worker, ask it for a page, end it. Raises ``UsageError`` when the site is being measured already."""
        if self.managed.name in self.workers.probes:
            raise UsageError(f"site {self.managed.name} is being measured already", "wait until that is over")
        self.workers.probes[self.managed.name] = self
        try:
            self.listener, client = self._listen("probe.sock")
            self.http, http_client = self._listen("probe-http.sock")
            begin = time.monotonic()
            readable = asyncio.Event()
            self.loop.add_reader(self.listener, readable.set)
            answer = asyncio.create_task(self._ask(client, http_client))
            try:
                await readable.wait()
                self.loop.remove_reader(self.listener)
                self.moments["socket readable"] = time.monotonic()
                self.workers.order_probe(self.managed, self.worker)
                end = asyncio.create_task(self.ended.wait())
                await asyncio.wait({answer, end}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                status = answer.result() if answer.done() and not answer.exception() else 0
                if answer.done() and not status:  # the worker may be dying
                    await asyncio.wait({end}, timeout=LEAVE_SECONDS)
                end.cancel()
                if not status and self.failure is None:
                    self.failure = self.worker.make_failure(
                        f"it has not answered within {seconds:g} s" if not answer.done() else "it has answered nothing"
                    )
            finally:
                self.loop.remove_reader(self.listener)
                answer.cancel()
                await self._end_worker()
            return self._view(begin, status)
        finally:
            for sock in self.sockets:
                sock.close()
            del self.workers.probes[self.managed.name]

    def _listen(self, name: str) -> tuple[int, socket.socket]:
        """A listening socket without a name, and a connection that waits in its queue."""
        path = f"sites/{self.managed.name}/{name}"
        listener = socket.socket(fileno=bind_site_socket(path))
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sockets += (listener, client)
        try:
            client.connect(path)
            client.setblocking(False)
        finally:
            os.unlink(path)
        return listener.fileno(), client

    async def _ask(self, client: socket.socket, http_client: socket.socket) -> int:
        """Ask for a page as the front does; the status of the answer, 0 for none."""
        site = self.managed.machine.site
        host = site.domains[0].replace("*.", "any.").replace("*", "localhost")
        variables = {
            "HTTP_X_REQUEST_ID": "0" * 32,
            "REQUEST_METHOD": "GET",
            "REQUEST_URI": self.path,
            "PATH_INFO": self.path.partition("?")[0],
            "QUERY_STRING": self.path.partition("?")[2],
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_PORT": "80",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "0",
            "HTTP_HOST": host,
            "HTTP_X_REQUEST_START": f"t={time.time():.3f}",
        }
        await self.loop.sock_sendall(client, uwsgi.packet(variables))
        head = await self.loop.sock_recv(client, HEAD_BYTES)
        if b"X-Accel-Redirect: @asgi" in head:
            lines = f"GET {self.path} HTTP/1.1\r\nHost: {host}\r\nX-Request-Start: t={time.time():.3f}\r\n"
            await self.loop.sock_sendall(http_client, f"{lines}Connection: close\r\n\r\n".encode())
            head = await self.loop.sock_recv(http_client, HEAD_BYTES)
        if head:
            self.moments["first byte"] = time.monotonic()
        status = head.split(b" ", 2)[1:2]
        return int(status[0]) if status and status[0].isdigit() else 0

    async def _end_worker(self) -> None:
        """Have the worker leave, if need be by force."""
        for how in (self._drain, self._kill):
            if not self.ended.is_set():
                how()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.ended.wait(), LEAVE_SECONDS)
        if not self.ended.is_set():
            self.workers.release_probe(self.managed, self.worker)

    def _drain(self) -> None:
        self.worker.phase = "leaving"
        self.worker.send(Drain())

    def _kill(self) -> None:
        if self.worker.pid:
            self.workers.signal(self.worker, signal.SIGKILL)

    # --- what the worker says, and what is heard of it -----------------------------------------------------------------

    def said(self, message: Any) -> None:
        """A message of the worker."""
        match message:
            case Step(name, seconds):
                if name == "import":
                    self.moments["guards"] = seconds  # since its birth, which it tells later
                self.moments.setdefault("fork", time.monotonic() - seconds)
            case InterfaceFound(interface):
                self.worker.is_asgi = interface == "asgi"
                if self.worker.is_asgi:
                    self.worker.send(HttpSocket(), (self.http,))
            case Measured():
                self.measured.append(message)
            case Ready(seconds):
                self.moments["ready"] = seconds
                self.worker.phase = "ready"

    def end(self, failure: Failure) -> None:
        """It is gone; ``failure`` is why, unless it was told to go."""
        if self.worker.phase != "leaving" or self.worker.last_failure is not None:
            self.failure = failure
        self.ended.set()

    def _view(self, begin: float, status: int) -> StartView:
        moments = dict(self.moments)
        ordered = moments.get("order", begin)
        last = moments.get("first byte", time.monotonic())
        first = self.measured[0] if self.measured else Measured(math.nan, 0.0, 0, ())
        born = first.born if self.measured else moments.get("fork", math.nan)
        if math.isfinite(born):
            moments["fork"] = born = min(max(born, ordered), last)
            if first.loaded:
                moments["import"] = first.loaded
            for name in ("guards", "import", "ready"):
                if name in moments:
                    moments[name] = min(born + moments[name], last)
        stages = find_stages(moments, begin)
        imports = [view for part in self.measured for row in part.imports if (view := view_of(row))][:IMPORTS]
        problems = []
        if self.failure is not None:
            failure = self.failure.as_dict()
            failure.pop("generation")
            problems = [ProblemView(kind="worker", site=self.managed.name, **failure)]
        return StartView(
            site=self.managed.name,
            interface="asgi" if self.worker.is_asgi else "wsgi",
            path=self.path,
            status=status,
            seconds=round(sum(stage.seconds for stage in stages), 6),
            new_zygote=self.is_new_zygote,
            present=max(0, first.present),
            stages=[StageView(each.name, round(each.begin, 6), round(each.seconds, 6), each.text) for each in stages],
            imports=with_own_times(imports),
            problems=problems,
        )


def view_of(row: list[Any]) -> ImportView | None:
    """What a worker says of an import, if it can be believed to be that."""
    if len(row) != 5 or type(row[0]) is not str or not all(type(value) is int for value in row[1:]):
        return None
    name, parent, begin, duration, owner = row
    if not (0 <= owner < len(OWNERS) and 0 <= duration < 10**10 and abs(begin) < 10**10):
        return None
    return ImportView(
        escape_text(name[:200]).replace("\n", " "), parent, begin / 1e6, duration / 1e6, 0.0, OWNERS[owner]
    )


def with_own_times(imports: list[ImportView]) -> list[ImportView]:
    """The imports with what each has taken without those that it contains; a parent comes before its children."""
    own = [each.seconds for each in imports]
    parents = [each.parent if -1 <= each.parent < number else -1 for number, each in enumerate(imports)]
    for number, parent in enumerate(parents):
        if parent >= 0:
            own[parent] -= imports[number].seconds
    return [
        ImportView(each.module, parent, each.begin, each.seconds, round(max(0.0, mine), 6), each.owner)
        for each, parent, mine in zip(imports, parents, own, strict=True)
    ]
