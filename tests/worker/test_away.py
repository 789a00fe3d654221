"""The worker of a site that does not start: everybody who waits is told so, on both sockets, and then it leaves."""

from __future__ import annotations

import socket
import threading

import pytest

from hostel.wire import Ready
from tests.support.server import DEADLINE, wait_for
from tests.worker.process import StartProcess, WorkerProcess
from tests.worker.running import Answer, parse, stamp

PAGE = "<h1>caf\u00e9 is closed</h1>"


def start_away(start_process: StartProcess, **options: bool) -> WorkerProcess:
    return start_process(application="@closed", page=PAGE, **options)


def ask_http(worker: WorkerProcess, data: bytes, *, whole: bool = True) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(DEADLINE)
    sock.connect(str(worker.folder / "http.sock"))
    sock.sendall(data)
    if not whole:
        sock.close()
    return sock


def read(sock: socket.socket) -> Answer:
    with sock:
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
        return parse(b"".join(parts))


def check(answer: Answer) -> None:
    assert answer.status == "503 Service Unavailable"
    assert answer.body.decode() == PAGE
    assert answer.get("retry-after") == "5"
    assert answer.get("x-accel-redirect") == "@closed"
    assert answer.get("content-length") == str(len(answer.body))


def test_all_who_wait_are_answered_and_then_it_leaves(start_process: StartProcess) -> None:
    worker = start_away(start_process)
    connections = [worker.request(HTTP_X_REQUEST_START=stamp(10)) for _ in range(30)]
    connections.append(worker.request(b"x" * 500_000, REQUEST_METHOD="POST"))
    for connection in connections:
        check(connection.answer())
    assert worker.wait_end() == 0
    while not isinstance(worker.listen(), Ready):
        pass


def test_nobody_waits(start_process: StartProcess) -> None:
    assert start_away(start_process).wait_end() == 0
    assert start_away(start_process, has_http=True).wait_end() == 0


def test_those_who_wait_for_http_are_answered_too(start_process: StartProcess) -> None:
    worker = start_away(start_process, has_http=True)
    uwsgi = worker.request()
    request = b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n\r\n"
    waiting = [
        ask_http(worker, b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"),
        ask_http(worker, request % 0),
        ask_http(worker, request % 5 + b"hello"),
        ask_http(worker, request % 300_000 + b"x" * 300_000),
    ]
    check(uwsgi.answer())
    for sock in waiting:
        check(read(sock))
    assert worker.wait_end() == 0


@pytest.mark.parametrize(
    "data",
    [b"", b"GET / HTTP/1.1\r\n", b"\xff" * 200_000, b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
     b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhello"],
)  # fmt: skip
def test_rubbish_over_http_stops_nobody(start_process: StartProcess, data: bytes) -> None:
    worker = start_away(start_process, has_http=True)
    try:
        ask_http(worker, data, whole=False)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has been dropped already
    check(read(ask_http(worker, b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")))
    assert worker.wait_end() == 0


@pytest.mark.parametrize("kind", ["uwsgi", "http"])
@pytest.mark.slow
def test_told_to_leave_it_leaves_though_more_come(start_process: StartProcess, kind: str) -> None:
    """The site works again: its visitors are its own."""
    worker = start_away(start_process, has_http=True)
    ended = threading.Event()
    answered = []

    def visit() -> None:
        while not ended.is_set():
            try:
                if kind == "uwsgi":
                    connection = worker.connect()
                    connection.sock.settimeout(0.5)
                    answered.append(connection.request().answer())
                else:
                    with ask_http(worker, b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n") as sock:
                        sock.settimeout(0.5)
                        answered.append(parse(sock.recv(65536)))
            except (OSError, AssertionError):
                pass  # nobody accepts any more

    visitors = [threading.Thread(target=visit) for _ in range(3)]
    for visitor in visitors:
        visitor.start()
    try:
        wait_for(lambda: len(answered) > 100, "load")
        worker.channel.close()
        assert worker.wait_end() == 0
    finally:
        ended.set()
        for visitor in visitors:
            visitor.join()
