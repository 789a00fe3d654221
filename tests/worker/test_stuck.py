"""Requests that take too long, in real workers: the test is the manager, which only sees the scoreboard and sends signals."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hostel.worker import scoreboard
from hostel.worker.stuck import INTERRUPT, STACKS
from tests.support.server import wait_for
from tests.worker.process import StartProcess, WorkerProcess
from tests.worker.running import Connection, Serve, parse
from tests.worker.test_asgi import GET, connect

APPLICATIONS = Path(__file__).parent.parent / "hostile" / "applications"
LIMIT = 0.3


def wsgi(start_process: StartProcess, **options: object) -> WorkerProcess:
    return start_process((APPLICATIONS / "stuck.py").read_text(), request=LIMIT, **options).wait_ready()


def asgi(start_process: StartProcess) -> WorkerProcess:
    code = (APPLICATIONS / "stuck_asgi.py").read_text()
    return start_process(code, request=LIMIT, has_http=True).wait_ready()


def wait_overdue(worker: WorkerProcess) -> scoreboard.Request:
    """Wait until a request has run for too long; what the scoreboard says of it."""
    wait_for(lambda: 0 < worker.reading.oldest < time.monotonic() - LIMIT, "a request that takes too long")
    return next(request for request in scoreboard.requests(worker.board, worker.slots) if request.is_running)


def interrupt(worker: WorkerProcess) -> None:
    os.kill(worker.pid, INTERRUPT)


def is_quiet(worker: WorkerProcess) -> bool:
    return worker.reading.busy == 0


@pytest.mark.parametrize("path", ["/wait", "/compute"])
def test_a_request_that_takes_too_long_gets_504_and_the_log_says_where_it_was(
    start_process: StartProcess, path: str
) -> None:
    worker = wsgi(start_process)
    connection = worker.request(REQUEST_URI=f"{path}?a=b", PATH_INFO=path, HTTP_X_REQUEST_ID="5eed" * 8)
    found = wait_overdue(worker)
    assert (found.method, found.url, found.id) == ("GET", f"{path}?a=b", "5eed" * 8)
    interrupt(worker)
    answer = connection.answer()
    assert answer.code == 504
    assert f"error in the application at 'GET {path}?a=b' (request {'5eed' * 8})\nTraceback" in worker.log
    assert ("in wait_for_something" if path == "/wait" else "in compute") in worker.log
    assert "RequestTooLong: this request takes longer than limits.request" in worker.log
    assert worker.ask().body == b"fine", "the worker goes on"


def test_only_the_thread_that_is_stuck_is_hit(start_process: StartProcess) -> None:
    worker = wsgi(start_process, threads=2)
    connection = worker.request(PATH_INFO="/compute")
    wait_overdue(worker)
    young = worker.request(PATH_INFO="/while", QUERY_STRING="0.05")
    wait_for(lambda: worker.reading.busy == 2)
    interrupt(worker)
    assert connection.answer().code == 504
    assert young.answer().body == b"fine"
    assert worker.log.count("Traceback") == 1


def test_a_signal_without_a_reason_changes_nothing(start_process: StartProcess) -> None:
    worker = wsgi(start_process)
    interrupt(worker)
    connection = worker.request(PATH_INFO="/while", QUERY_STRING="0.05")
    wait_for(lambda: worker.reading.busy)
    for _ in range(50):
        interrupt(worker)
    assert connection.answer().body == b"fine"
    wait_for(lambda: is_quiet(worker))
    interrupt(worker)
    assert worker.ask().body == b"fine"
    assert worker.log == ""


@pytest.mark.parametrize(("threads", "path"), [(1, "/stubborn"), (1, "/hold"), (2, "/wait"), (2, "/hold")])
def test_what_does_not_let_go_shows_its_stack(start_process: StartProcess, threads: int, path: str) -> None:
    """It catches everything, is in C code that holds the interpreter, or waits in the system in another thread."""
    worker = wsgi(start_process, threads=threads)
    worker.request(PATH_INFO=path)
    wait_overdue(worker)
    interrupt(worker)
    os.kill(worker.pid, STACKS)
    function = {"/stubborn": "be_stubborn", "/hold": "hold_the_interpreter", "/wait": "wait_for_something"}[path]
    wait_for(lambda: f" in {function}\n" in worker.log, "the stack")
    assert worker.reading.busy == 1, "it is still there"
    os.kill(worker.pid, signal.SIGKILL)


def test_a_response_in_parts_may_take_longer_than_each_of_them(start_process: StartProcess) -> None:
    worker = wsgi(start_process)
    began = time.monotonic()
    connection = worker.request(PATH_INFO="/parts")
    while connection.receive():
        interrupt(worker)
    assert time.monotonic() - began > LIMIT
    wait_for(lambda: is_quiet(worker))
    assert worker.log == ""


def test_a_stream_of_events_may_take_any_time(start_process: StartProcess) -> None:
    worker = wsgi(start_process)
    connection = worker.request(PATH_INFO="/events")
    connection.receive_until(b"part")
    wait_for(lambda: worker.reading[:3] == (1, 0, 0.0))
    interrupt(worker)
    assert connection.rest() == b"part"


def test_the_time_of_the_next_request_begins_anew(start_process: StartProcess) -> None:
    worker = wsgi(start_process)
    began = time.monotonic()
    while time.monotonic() - began < 2 * LIMIT:
        connection = worker.request(PATH_INFO="/while", QUERY_STRING="0.02")
        interrupt(worker)
        assert connection.answer().body == b"fine"


def test_an_exception_that_comes_too_late_hits_nobody(serve: Serve) -> None:
    """It is on its way to a thread whose request ends by itself just then."""

    def application(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        if environ["PATH_INFO"] == "/late":
            server.server.stuck.told[0] = 1.0
        start_response("200 OK", [])
        return [b"fine"]

    server = serve(application)
    assert server.ask(PATH_INFO="/late").body == b"fine"
    assert server.server.stuck.told == [0.0]
    assert server.ask().body == b"fine"


# --- ASGI -------------------------------------------------------------------------------------------------------------


def ask(worker: WorkerProcess, path: bytes) -> Connection:
    sock = connect(worker)
    sock.sendall(GET.replace(b"\r\n\r\n", b"\r\nX-Request-Id: 5eed\r\n\r\n") % path)
    worker.connections.append(Connection(sock))
    return worker.connections[-1]


def test_an_asgi_request_that_takes_too_long_is_cancelled(start_process: StartProcess) -> None:
    worker = asgi(start_process)
    connection = ask(worker, b"/wait?a=b")
    wait_for(lambda: worker.reading.busy == 1)
    (found,) = scoreboard.requests(worker.board, 1)
    assert (found.is_running, found.method, found.url, found.id) == (True, "GET", "/wait?a=b", "5eed")
    assert parse(connection.rest()).code == 504
    assert "error in the application at 'GET /wait?a=b' (request 5eed)\nTraceback" in worker.log
    assert "in wait_for_something" in worker.log
    wait_for(lambda: worker.reading[:3] == (0, 1, 0.0))
    assert parse(ask(worker, b"/").rest()).body == b"fine"


def test_a_blocked_loop_is_freed_by_the_signal(start_process: StartProcess) -> None:
    worker = asgi(start_process)
    connection = ask(worker, b"/block")
    wait_overdue(worker)
    interrupt(worker)
    assert parse(connection.rest()).code == 504
    assert "in block_the_loop" in worker.log
    assert parse(ask(worker, b"/").rest()).body == b"fine"


def test_an_asgi_request_that_catches_everything_is_counted_as_overdue(start_process: StartProcess) -> None:
    worker = asgi(start_process)
    ask(worker, b"/stubborn")
    wait_for(lambda: worker.board[scoreboard.OVERDUE] == 1, "it to be told")
    assert worker.reading.busy == 1
    assert parse(ask(worker, b"/").rest()).body == b"fine", "others are served"
    os.kill(worker.pid, signal.SIGKILL)


@pytest.mark.parametrize("path", [b"/events", b"/parts"])
def test_asgi_streams_may_take_longer(start_process: StartProcess, path: bytes) -> None:
    worker = asgi(start_process)
    connection = ask(worker, path)
    connection.receive_until(b"200 OK")
    if path == b"/events":
        wait_for(lambda: worker.reading.oldest == 0)
    assert b"fine" in connection.rest()
    assert worker.log == ""


def test_a_websocket_may_take_any_time(start_process: StartProcess) -> None:
    worker = asgi(start_process)
    sock = connect(worker)
    worker.connections.append(Connection(sock))
    sock.sendall(
        b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    worker.connections[-1].receive_until(b"101 Switching")
    wait_for(lambda: worker.reading[:2] == (1, 0))
    assert worker.reading.oldest == 0
    assert parse(ask(worker, b"/").rest()).body == b"fine"
