"""Real worker processes, under any Python, without the rest of the server: the test is their manager and their front."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hostel
from hostel.wire import Channel, Drain, Ready, StartFailed, Step
from hostel.worker import scoreboard
from tests.support.server import DEADLINE, wait_for
from tests.worker.running import Answer, Connection

PACKAGE = os.path.dirname(os.path.abspath(hostel.__file__))
CHILD = os.path.join(os.path.dirname(__file__), "child.py")


class WorkerProcess:
    """One worker; ``ready`` tells whether it got so far, ``messages`` what it has said."""

    def __init__(self, folder: Path, python: str, share: WorkerProcess | None, has_http: bool, **order: Any) -> None:
        self.folder = folder
        self.path: str = share.path if share else str(folder / "app.sock")
        self.listener: socket.socket
        self.http: list[socket.socket]
        if share:
            self.listener = share.listener.dup()
        else:
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(self.path)
            self.listener.listen(1000)
        self.http = [each.dup() for each in share.http] if share else []
        if has_http:
            self.http.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            self.http[0].bind(str(folder / "http.sock"))
            self.http[0].listen(1000)
        fields = {
            "site": "site", "worker": 1, "generation": 1, "application": "app:application", "interface": "auto",
            "directory": str(folder), "environment": {"PATH": os.environ["PATH"]}, "operations": [["reset_signals"]],
            "threads": 1, "processes": 1, "queue": 5.0, "request": 60.0, "drain": 30.0, "lent_packages": "", "page": "",
        } | order  # fmt: skip
        self.channel, theirs = Channel.pair()
        board = scoreboard.create(int(str(fields["threads"])))
        self.board = scoreboard.attach(board)
        self.slots = int(str(fields["threads"]))
        self.log_path = folder / f"log-{id(self)}"
        with self.log_path.open("wb") as log:
            given = [
                self.listener.fileno(),
                theirs.fileno(),
                log.fileno(),
                board,
                *(each.fileno() for each in self.http),
            ]
            self.process = subprocess.Popen(
                [python, "-I", "-X", "utf8", CHILD, PACKAGE, json.dumps(fields), json.dumps(given)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=given, cwd="/",
            )  # fmt: skip
        theirs.close()
        os.close(board)
        self.messages: list[Any] = []
        self.connections: list[Connection] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    def listen(self, seconds: float = DEADLINE) -> Any:
        """What the worker says next; None when its end of the channel is closed."""
        assert select.select([self.channel], [], [], seconds)[0], f"the worker says nothing; its log:\n{self.log}"
        received = self.channel.receive()
        if received is None:
            return None
        self.messages.append(received[0])
        return received[0]

    def wait_ready(self) -> WorkerProcess:
        while not isinstance(message := self.listen(), Ready):
            assert isinstance(message, Step) or type(message).__name__ == "InterfaceFound", f"{message}\n{self.log}"
        return self

    def wait_failed(self) -> StartFailed:
        """The reason why it did not start."""
        while not isinstance(message := self.listen(), StartFailed):
            assert message is not None, f"it ended with {self.process.wait(DEADLINE)}; its log:\n{self.log}"
        return message

    def connect(self) -> Connection:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(DEADLINE)
        sock.connect(self.path)
        self.connections.append(Connection(sock))
        return self.connections[-1]

    def request(self, body: bytes = b"", **more: str) -> Connection:
        return self.connect().request(None, body, **more)

    def ask(self, body: bytes = b"", **more: str) -> Answer:
        return self.request(body, **more).answer()

    @property
    def reading(self) -> scoreboard.Reading:
        return scoreboard.read(self.board, self.slots)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def drain(self) -> None:
        self.channel.send(Drain())

    def wait_end(self, seconds: float = DEADLINE) -> int:
        """Its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker does not end; its log:\n{self.log}") from None

    def wait_idle(self) -> None:
        """Wait until it sleeps in its epoll: not in an accept, which it tries for a moment before."""
        wait_for(
            lambda: "ep" in Path(f"/proc/{self.pid}/wchan").read_text() and self.reading.busy == 0, "it to be idle"
        )

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self.channel.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.listener.close()
        for each in self.http:
            each.close()


StartProcess = Callable[..., WorkerProcess]


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[StartProcess]:
    """Starts worker processes; the code becomes ``app.py``. With ``share``, it is another of that one's site."""
    processes: list[WorkerProcess] = []

    def start(
        code: str = "",
        *,
        python: str = sys.executable,
        share: WorkerProcess | None = None,
        has_http: bool = False,
        **order: Any,
    ) -> WorkerProcess:
        folder = share.folder if share else tmp_path / str(len(processes))
        if not share:
            folder.mkdir()
            (folder / "app.py").write_text(textwrap.dedent(code))
        processes.append(WorkerProcess(folder, python, share, has_http, **order))
        return processes[-1]

    yield start
    for process in processes:
        process.close()
