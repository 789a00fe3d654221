"""A WSGI server in a thread of the test, on a real listening socket, and the front's part of the conversation with it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hostel.errors import PeerError
from hostel.protocol import uwsgi
from hostel.wire import Channel, Drain
from hostel.worker import scoreboard
from hostel.worker.wsgi import Server
from tests.support.server import DEADLINE, wait_for

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

REQUEST = {  # what the front says of every request
    "REQUEST_METHOD": "GET",
    "REQUEST_URI": "/",
    "PATH_INFO": "/",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_PORT": "80",
    "REMOTE_ADDR": "192.0.2.7",
    "REMOTE_PORT": "40000",
    "HTTP_HOST": "example.com",
}


@dataclass
class Answer:
    """A worker's answer as it came over the socket: ``headers`` in their order, with lower-case names."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def code(self) -> int:
        return int(self.status[:3])

    def get(self, name: str) -> str | None:
        """The one header of this name; None when there is none."""
        values = [value for each, value in self.headers if each == name]
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None


def parse(data: bytes) -> Answer:
    """The answer in what a worker sent before it closed the connection."""
    head, separator, body = data.partition(b"\r\n\r\n")
    assert separator, f"no whole head: {data!r}"
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    assert version == "HTTP/1.1"
    headers = []
    for line in lines:
        name, separator_, value = line.partition(": ")
        assert separator_, f"no header: {line!r}"
        headers.append((name.lower(), value))
    return Answer(status, headers, body)


@dataclass
class Connection:
    """The front's end of one connection to a worker."""

    sock: socket.socket

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(self, variables: Mapping[str, str] | None = None, body: bytes = b"", **more: str) -> Connection:
        """Send a request: the usual variables with ``more`` on top, or exactly ``variables``."""
        found = dict(REQUEST if variables is None else variables) | more
        if body and "CONTENT_LENGTH" not in found:
            found["CONTENT_LENGTH"] = str(len(body))
        try:
            self.send(uwsgi.packet(found) + body)
        except BrokenPipeError:
            pass  # refused before it was read: what is to be read is there all the same
        return self

    def receive(self) -> bytes:
        """What comes next; empty at the end. Raises ``ConnectionResetError`` when the worker left bytes unread."""
        return self.sock.recv(65536)

    def receive_until(self, expected: bytes) -> bytes:
        """What comes until this has come, and perhaps more."""
        data = b""
        while expected not in data:
            more = self.receive()
            assert more, f"the connection ended after {data!r}"
            data += more
        return data

    def rest(self) -> bytes:
        """All that comes until the worker closes the connection."""
        parts = []
        while part := self.receive():
            parts.append(part)
        return b"".join(parts)

    def answer(self) -> Answer:
        return parse(self.rest())

    def close(self) -> None:
        self.sock.close()


@dataclass
class RunningServer:
    """A ``Server`` that runs in a thread until it is drained."""

    folder: Path
    application: Application
    options: dict[str, Any] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = str(self.folder / f"app-{id(self)}.sock")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(1000)
        self.ours, self.theirs = Channel.pair()
        descriptor = scoreboard.create(self.options.get("threads", 1))
        self.board = scoreboard.attach(descriptor)
        os.close(descriptor)
        self.server = Server(
            self.application, self.listener, self.theirs.fileno(), self.take_order,
            board=self.board, label="1.1:99", **self.options,
        )  # fmt: skip
        self.thread = threading.Thread(target=self.server.run)

    def take_order(self) -> bool:
        try:
            received = self.theirs.receive()
        except (PeerError, OSError):
            return True
        return received is None or isinstance(received[0], Drain)

    def start(self) -> RunningServer:
        self.thread.start()
        return self

    def connect(self) -> Connection:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(DEADLINE)
        sock.connect(self.path)
        self.connections.append(Connection(sock))
        return self.connections[-1]

    def request(self, body: bytes = b"", **more: str) -> Connection:
        """A new connection with a request on its way."""
        return self.connect().request(None, body, **more)

    def ask(self, body: bytes = b"", **more: str) -> Answer:
        """One request and its answer."""
        return self.request(body, **more).answer()

    @property
    def reading(self) -> scoreboard.Reading:
        return scoreboard.read(self.board, self.options.get("threads", 1))

    def wait_served(self, count: int) -> None:
        """Wait until so many requests are over and none runs."""
        wait_for(lambda: self.reading[:2] == (0, count), f"{count} served requests, it is at {self.reading}")

    def drain(self) -> None:
        self.ours.send(Drain())

    def wait_end(self) -> None:
        """Wait until the server has returned."""
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive(), "the server does not leave"

    def close(self) -> None:
        """End it; an idle server has to leave at once."""
        for connection in self.connections:
            connection.close()
        self.ours.close()
        if self.thread.ident is not None:
            self.wait_end()
        self.theirs.close()
        self.listener.close()


Serve = Callable[..., RunningServer]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers for applications; they are drained at the end, and have to end."""
    servers: list[RunningServer] = []

    def start(application: Application, **options: Any) -> RunningServer:
        servers.append(RunningServer(tmp_path, application, options))
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()


def stamp(age: float = 0.0) -> str:
    """The front's note about a request that arrived so many seconds ago."""
    return f"t={time.time() - age:.3f}"
