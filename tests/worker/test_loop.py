"""The loop around the requests: threads, the queue's limit, draining, the scoreboard."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.support.server import wait_for
from tests.worker.running import Connection, RunningServer, Serve, stamp

OLD = 100.0  # seconds: longer than any limit here, and than any test


class Gate:
    """An application whose requests say that they run, and then wait until they are let through."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.most = 0
        self._lock = threading.Lock()
        self._open = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = environ["PATH_INFO"]
        with self._lock:
            self.running.append(path)
            self.most = max(self.most, len(self.running))
        assert self._open.acquire(timeout=30)
        with self._lock:
            self.running.remove(path)
        start_response("200 OK", [])
        return [path.encode()]

    def let_through(self, count: int = 1) -> None:
        self._open.release(count)

    def wait_running(self, *paths: str) -> None:
        wait_for(lambda: sorted(self.running) == sorted(paths), f"{paths} to run, not {self.running}")


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def make_ready_before(server: RunningServer, seconds: float) -> None:
    """Let the server have been ready for longer than it has."""
    wait_for(lambda: server.server.ready_at)
    server.server.ready_at -= seconds


# --- threads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_as_many_requests_as_threads_run_at_once(serve: Serve, threads: int) -> None:
    gate = Gate()
    server = serve(gate, threads=threads)
    paths = [f"/{number}" for number in range(threads)]
    connections = [server.request(PATH_INFO=path) for path in paths]
    gate.wait_running(*paths)
    connections += [server.request(PATH_INFO=path) for path in ("/next", "/last")]
    gate.let_through()
    wait_for(lambda: "/next" in gate.running, "the next to run when one has ended")
    assert server.reading.busy == threads
    gate.let_through(threads + 1)
    assert sorted(each.answer().body.decode() for each in connections) == sorted([*paths, "/next", "/last"])
    assert gate.most == threads
    server.wait_served(threads + 2)


def test_waiting_requests_are_served_in_their_order(serve: Serve) -> None:
    seen = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/first":
            assert go_on.wait(30)
        start_response("200 OK", [])
        return []

    go_on = threading.Event()
    server = serve(application)
    connections = [server.request(PATH_INFO="/first")]
    wait_for(lambda: seen)
    connections += [server.request(PATH_INFO=f"/{number}") for number in range(20)]
    go_on.set()
    for connection in connections:
        assert connection.answer().code == 200
    assert seen == ["/first", *(f"/{number}" for number in range(20))]


@pytest.mark.parametrize(("threads", "expected"), [(1, (False, False)), (3, (True, True))])
def test_the_environment_says_how_many_there_are(serve: Serve, threads: int, expected: tuple[bool, bool]) -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return []

    serve(application, threads=threads, processes=threads).ask()
    assert (seen["wsgi.multithread"], seen["wsgi.multiprocess"]) == expected


# --- the queue's limit --------------------------------------------------------------------------------------------------


def test_who_has_waited_too_long_is_told_to_come_again(serve: Serve) -> None:
    gate = Gate()
    server = serve(gate, queue=5.0)
    make_ready_before(server, OLD)
    for body in (b"", b"x" * 1_000_000):
        answer = server.ask(body, HTTP_X_REQUEST_START=stamp(6))
        assert answer.code == 503
        assert 1 <= int(answer.get("retry-after") or 0) <= 5
        assert answer.get("content-length") == str(len(answer.body))
        note = answer.get("x-hostel")
        assert note is not None
        assert note.startswith("queue=6.")
    assert gate.most == 0
    gate.let_through(3)
    assert server.ask(HTTP_X_REQUEST_START=stamp(1)).code == 200
    assert server.ask(HTTP_X_REQUEST_START=stamp(0)).code == 200
    assert server.ask().code == 200


def test_a_refused_head_request_has_no_body(serve: Serve) -> None:
    server = serve(hello, queue=5.0)
    make_ready_before(server, OLD)
    answer = server.ask(REQUEST_METHOD="HEAD", HTTP_X_REQUEST_START=stamp(6))
    assert (answer.code, answer.body) == (503, b"")


def test_waiting_counts_from_readiness(serve: Serve) -> None:
    """Whoever has waited for the start of the site is served, however long that took."""
    server = serve(hello, queue=0.5)
    assert server.ask(HTTP_X_REQUEST_START=stamp(OLD)).code == 200
    make_ready_before(server, OLD / 2)
    assert server.ask(HTTP_X_REQUEST_START=stamp(OLD)).code == 503
    assert server.ask(HTTP_X_REQUEST_START=stamp(0.1)).code == 200


def test_a_request_from_the_future_has_not_waited(serve: Serve) -> None:
    """The front's clock is ours, but clocks are set."""
    server = serve(hello, queue=1.0)
    make_ready_before(server, OLD)
    answer = server.ask(HTTP_X_REQUEST_START=stamp(-1000))
    assert (answer.code, answer.get("x-hostel")) == (200, "queue=0.000 worker=1.1:99")


@pytest.mark.parametrize(
    "value", ["", "t", "t=", "t=abc", "t=nan", "t=inf", "abc", "t=1e999", "t=0x10", "t=" + "9" * 5000]
)
def test_rubbish_for_an_arrival_time_is_no_time(serve: Serve, value: str) -> None:
    server = serve(hello, queue=1.0)
    make_ready_before(server, OLD)
    assert server.ask(HTTP_X_REQUEST_START=value).code == 200


def test_nobody_runs_for_a_visitor_who_has_left(serve: Serve) -> None:
    gate = Gate()
    server = serve(gate)
    first = server.request(PATH_INFO="/first")
    gate.wait_running("/first")
    gone = server.request(PATH_INFO="/gone", HTTP_X_REQUEST_START=stamp(1))
    patient = server.request(PATH_INFO="/patient", HTTP_X_REQUEST_START=stamp(1))
    gone.close()
    gate.let_through()
    gate.wait_running("/patient")
    gate.let_through()
    assert (first.answer().body, patient.answer().body) == (b"/first", b"/patient")
    server.wait_served(3)


# --- draining -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_an_idle_server_leaves_at_once(serve: Serve, threads: int) -> None:
    server = serve(hello, threads=threads)
    assert server.ask().body == b"hello"
    server.drain()
    server.wait_end()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_end_of_the_manager_is_an_order_to_drain(serve: Serve, threads: int) -> None:
    server = serve(hello, threads=threads)
    assert server.ask().body == b"hello"
    server.ours.close()
    server.wait_end()


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_no_order_to_drain_changes_nothing(serve: Serve, threads: int) -> None:
    from hostel.wire import HttpSocket

    server = serve(hello, threads=threads)
    server.ours.send(HttpSocket())
    assert server.ask().body == b"hello"
    wait_for(lambda: server.reading.busy == 0)
    assert server.thread.is_alive()
    assert server.ask().body == b"hello"


@pytest.mark.parametrize("threads", [1, 3])
def test_a_busy_server_finishes_and_takes_nothing_more(serve: Serve, threads: int) -> None:
    gate = Gate()
    server = serve(gate, threads=threads)
    paths = [f"/{number}" for number in range(threads)]
    connections = [server.request(PATH_INFO=path) for path in paths]
    gate.wait_running(*paths)
    waiting = server.request(PATH_INFO="/waiting")
    server.drain()
    wait_for(lambda: server.server.draining or threads == 1)
    gate.let_through(threads)
    assert sorted(each.answer().body.decode() for each in connections) == paths
    server.wait_end()
    assert server.reading[:2] == (0, threads)
    assert gate.running == []
    # Whoever still waits is the next generation's.
    accepted, _ = server.listener.accept()
    with accepted:
        assert b"/waiting" in accepted.recv(10_000)
    waiting.close()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.slow
def test_under_full_load_it_leaves_soon(serve: Serve, threads: int) -> None:
    server = serve(hello, threads=threads)
    ended = threading.Event()

    def visit() -> None:
        while not ended.is_set():
            try:
                connection = server.connect()
                connection.sock.settimeout(1)
                connection.request().rest()
            except OSError:
                pass  # nobody accepts any more

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    try:
        wait_for(lambda: server.reading.served > 200, "load")
        server.drain()
        server.wait_end()
    finally:
        ended.set()
        for visitor in visitors:
            visitor.join()


def test_a_streaming_answer_is_finished(serve: Serve) -> None:
    go_on = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"begun "
        assert go_on.wait(30)
        yield b"ended"

    server = serve(application)
    connection = server.request()
    connection.receive_until(b"begun ")
    server.drain()
    go_on.set()
    assert connection.rest() == b"ended"
    server.wait_end()


# --- leaving when nobody waits ------------------------------------------------------------------------------------------


def test_it_leaves_when_nobody_waits(serve: Serve) -> None:
    server = serve(hello, leave_when_empty=True)
    server.wait_end()
    assert server.reading.served == 0


def test_it_serves_all_who_wait_before_it_leaves(serve: Serve) -> None:
    gate = Gate()
    server = serve(gate, leave_when_empty=True)
    connections = [server.request(PATH_INFO=f"/{number}") for number in range(50)]
    gate.let_through(50)
    assert [each.answer().body for each in connections] == [b"/%d" % number for number in range(50)]
    server.wait_end()
    assert server.reading.served == 50


# --- the scoreboard -----------------------------------------------------------------------------------------------------


def fail(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise RuntimeError


def stop(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise SystemExit


@pytest.mark.parametrize("threads", [1, 2])
def test_requests_that_do_not_count_as_use(serve: Serve, threads: int) -> None:
    gate = Gate()
    server = serve(gate, threads=threads, idle_ignore=frozenset({"/health"}))
    for path, using, uses in [("/health", 0, 0), ("/", 1, 1), ("/health/", 1, 2), ("/health", 0, 2)]:
        connection = server.request(PATH_INFO=path)
        gate.wait_running(path)
        assert server.reading.busy == 1
        assert (server.reading.using, server.reading.uses) == (using, uses), path
        gate.let_through()
        connection.answer()
    server.wait_served(4)
    assert (server.reading.using, server.reading.uses) == (0, 2)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_scoreboard_while_requests_run(serve: Serve, threads: int) -> None:
    gate = Gate()
    server = serve(gate, threads=threads)
    assert server.reading[:3] == (0, 0, 0.0)
    before = time.monotonic()
    first = server.request(PATH_INFO="/first")
    gate.wait_running("/first")
    busy, served, oldest = server.reading[:3]
    assert (busy, served) == (1, 0)
    assert before <= oldest <= time.monotonic()
    second = server.request(PATH_INFO="/second")
    if threads == 2:
        gate.wait_running("/first", "/second")
        assert server.reading[:3] == (2, 0, oldest)
    gate.let_through(2)
    assert first.answer().code == second.answer().code == 200
    server.wait_served(2)
    assert server.reading[:3] == (0, 2, 0.0)


def leave_early(server: RunningServer) -> None:
    connection = server.request(CONTENT_LENGTH="100")
    connection.close()


def leave_at_once(server: RunningServer) -> None:
    server.connect().close()


def send_rubbish(server: RunningServer) -> None:
    connection: Connection = server.connect()
    connection.send(b"GET / HTTP/1.1\r\n\r\n")
    connection.sock.shutdown(1)


@pytest.mark.parametrize(
    "act",
    [
        lambda server: server.ask(),
        lambda server: server.ask(REQUEST_METHOD="HEAD"),
        lambda server: server.ask(b"x" * 300_000),
        lambda server: server.ask(CONTENT_LENGTH="rubbish"),
        lambda server: server.ask(HTTP_X_REQUEST_START=stamp(OLD)),
        leave_early,
        leave_at_once,
        send_rubbish,
    ],
)
@pytest.mark.parametrize("application", [hello, fail, stop])
def test_the_scoreboard_after_each_kind_of_end(serve: Serve, application: Any, act: Any) -> None:
    """A request that is counted as running for ever would keep the site awake, and be killed in the end."""
    server = serve(application, queue=5.0)
    make_ready_before(server, OLD)
    act(server)
    server.wait_served(1)
    assert server.reading[:3] == (0, 1, 0.0)
