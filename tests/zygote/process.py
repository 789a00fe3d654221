"""A real zygote, under any Python, without the rest of the server: the test is its manager."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hostel.manager import bare
from hostel.protocol import uwsgi
from hostel.wire import Channel, Drain, Forked, Preload, Preloaded, Ready, StartWorker, WorkerEnded
from hostel.worker import scoreboard
from tests.support.server import DEADLINE, descendants_of, is_alive, make_folder
from tests.worker.process import PACKAGE
from tests.worker.running import REQUEST, Answer, parse

M = TypeVar("M")
Identity = tuple[int, int]  # of what is behind a descriptor

HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [])
        return [str(os.getpid()).encode()]
"""


def identity_of(descriptor: int | str) -> Identity:
    status = os.stat(descriptor)
    return status.st_dev, status.st_ino


def listen_to(channel: Channel) -> Any:
    """The next message that arrives; None at the end of the channel."""
    assert select.select([channel], [], [], DEADLINE)[0], "nothing is said"
    received = channel.receive()
    if received is None:
        return None
    message, descriptors = received
    assert descriptors == []
    return message


@dataclass
class OrderedWorker:
    """A worker that has been ordered; ``pid`` is 0 until it is forked, ``given`` what was handed over."""

    folder: Path
    number: int
    listener: socket.socket
    channel: Channel
    given: list[Identity]
    pid: int = 0

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def wait_ready(self) -> OrderedWorker:
        while not isinstance(message := listen_to(self.channel), Ready):
            assert message is not None, f"it has ended; its log:\n{self.log}"
        return self

    def ask(self) -> Answer:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(DEADLINE)
            sock.connect(self.listener.getsockname())
            sock.sendall(uwsgi.packet(REQUEST))
            with sock.makefile("rb") as file:
                return parse(file.read())

    def drain(self) -> None:
        self.channel.send(Drain())


class ZygoteProcess:
    """A zygote of an environment of its own, and the workers it was ordered to fork."""

    def __init__(self, folder: Path, python: str, *, is_bare: bool = False) -> None:
        self.folder = folder
        code = "import os, sys; print(os.path.realpath(sys.executable), 'python{}.{}'.format(*sys.version_info))"
        result = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
        real, version = result.stdout.split()
        self.site_packages = folder / "lib" / version / "site-packages"
        self.site_packages.mkdir(parents=True)
        self.packages = folder / "packages"  # a folder of packages as well, in which a test may add some
        self.packages.mkdir()
        if not is_bare:
            (self.site_packages / "more.pth").write_text(f"{self.packages}\n")
        bare.make(str(folder), real)
        self.channel, theirs = Channel.pair()
        self.output_path = folder / "output"
        entry = os.path.join(PACKAGE, "zygote", "__main__.py")
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                [folder / "bin" / "python", "-I", "-X", "utf8", entry, str(theirs.fileno()), *["bare"] * is_bare],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[theirs.fileno()], cwd="/",
                start_new_session=True, env={"PATH": "/usr/bin:/bin", "CANARY": "of the zygote"},
            )  # fmt: skip
        theirs.close()
        self.workers: list[OrderedWorker] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def descriptors(self) -> list[str]:
        """What it has open."""
        return sorted(os.readlink(path) for path in Path(f"/proc/{self.pid}/fd").iterdir())

    def expect(self, kind: type[M]) -> M:
        """What it says next, which has to be of this kind."""
        message = listen_to(self.channel)
        assert isinstance(message, kind), f"{message}; its output:\n{self.output_path.read_text()}"
        return message

    # --- workers ----------------------------------------------------------------------------------------------------

    def order(self, code: str = HELLO, *, count: int = 4, **more: Any) -> OrderedWorker:
        """Order a worker for ``code`` with so many of its descriptors."""
        number = len(self.workers) + 1
        folder = self.folder / "sites" / str(number)
        folder.mkdir(parents=True)
        (folder / "app.py").write_text(f"import os, sys\n{textwrap.dedent(code)}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(folder / "app.sock"))
        listener.listen()
        ours, theirs = Channel.pair()
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        board, http = scoreboard.create(), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        given = [listener.fileno(), theirs.fileno(), log, board, http.fileno(), http.fileno()]
        worker = OrderedWorker(folder, number, listener, ours, [identity_of(each) for each in given])
        self.workers.append(worker)
        fields: dict[str, Any] = {
            "site": "site", "worker": number, "generation": 1, "application": "app:application", "interface": "auto",
            "directory": str(folder), "environment": {"PATH": "/usr/bin:/bin"}, "operations": (["reset_signals"],),
            "threads": 1, "processes": 1, "queue": 5.0, "request": 60.0, "drain": 30.0, "lent_packages": "", "page": "",
            "has_http": count == 5,
        } | more  # fmt: skip
        self.channel.send(StartWorker(**fields), given[:count])
        theirs.close()
        http.close()
        for descriptor in (log, board):
            os.close(descriptor)
        return worker

    def fork(self, code: str = HELLO, **more: Any) -> OrderedWorker:
        """Have a worker forked."""
        worker = self.order(code, **more)
        message = self.expect(Forked)
        assert message[:2] == ("site", worker.number)
        worker.pid = message.pid
        return worker

    def wait_ended(self, worker: OrderedWorker) -> int:
        """How a worker ends, as it is reported: its exit status, or minus the signal that killed it."""
        message = self.expect(WorkerEnded)
        assert message[:3] == ("site", worker.number, worker.pid)
        return os.waitstatus_to_exitcode(message.status)

    # --- modules ----------------------------------------------------------------------------------------------------

    def module(self, name: str, code: str = "") -> str:
        """Write a module of the environment; a package when the name ends in a dot."""
        path = self.packages / (name.replace(".", "/") + ("__init__.py" if name.endswith(".") else ".py"))
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(code))
        return name.rstrip(".")

    def preload(self, *modules: str) -> Preloaded:
        self.channel.send(Preload(modules))
        return self.expect(Preloaded)

    # --- the end ----------------------------------------------------------------------------------------------------

    def let_go(self) -> None:
        """Close all that manager and supervisor hold."""
        self.channel.close()
        for worker in self.workers:
            worker.channel.close()
            worker.listener.close()

    def close(self) -> None:
        """End it: it has to leave without a word, and nobody behind."""
        below = descendants_of(self.pid)
        self.let_go()
        try:
            status = self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()
        assert (status, self.output_path.read_text()) == (0, "")
        assert not [pid for pid in below if is_alive(pid)]


StartZygote = Callable[..., ZygoteProcess]


@pytest.fixture
def start_zygote() -> Iterator[StartZygote]:
    """Starts zygotes; at the end they have to end by themselves."""
    zygotes: list[ZygoteProcess] = []

    def start(python: str = sys.executable, *, is_bare: bool = False) -> ZygoteProcess:
        zygotes.append(ZygoteProcess(make_folder(), python, is_bare=is_bare))
        return zygotes[-1]

    yield start
    try:
        for zygote in zygotes:
            zygote.close()
    finally:
        for zygote in zygotes:
            zygote.process.kill()
            shutil.rmtree(zygote.folder)


@pytest.fixture
def zygote(start_zygote: StartZygote) -> ZygoteProcess:
    return start_zygote()
