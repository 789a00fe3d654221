"""The ASGI worker as a process of its own: its two sockets, its end, and where uvicorn comes from."""

from __future__ import annotations

import os
import socket
import time

import pytest

from hostel.manager.order import own_packages
from hostel.protocol import uwsgi
from hostel.wire import InterfaceFound, Step
from tests.support.server import DEADLINE, wait_for
from tests.worker.process import StartProcess, WorkerProcess
from tests.worker.running import REQUEST, Answer, parse, stamp
from tests.worker.test_interpreters import interpreters, number

HELLO = """
    import asyncio, os, sys
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print("shut down")
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/slow":
            await asyncio.sleep(1)
        if scope["path"] == "/exit-later":
            kept.append(asyncio.create_task(leave()))
        if scope["path"] == "/exit":
            sys.exit(3)
        body = sys.modules["uvicorn"].__file__.encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def leave():
        sys.exit(7)
    kept = []
"""
GET = b"GET %b HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"


def connect(worker: WorkerProcess) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(DEADLINE)
    sock.connect(str(worker.folder / "http.sock"))
    return sock


def read(sock: socket.socket) -> Answer:
    with sock:
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
        return parse(b"".join(parts))


def ask(worker: WorkerProcess, path: bytes = b"/") -> Answer:
    sock = connect(worker)
    sock.sendall(GET % path)
    return read(sock)


def start(start_process: StartProcess, **options: object) -> WorkerProcess:
    return start_process(HELLO, has_http=True, **options).wait_ready()


def test_a_life(start_process: StartProcess) -> None:
    worker = start(start_process)
    assert [message.name for message in worker.messages if isinstance(message, Step)] == [
        "become",
        "import",
        "lifespan",
    ]
    assert InterfaceFound("asgi") in worker.messages
    answer = ask(worker)
    assert answer.code == 200
    note = answer.get("x-hostel")
    assert note is not None
    assert note.startswith("queue=0.000 worker=1.1:")
    assert worker.reading[:2] == (0, 1)
    worker.drain()
    assert worker.wait_end() == 0
    assert worker.log == "shut down\n"


def test_the_end_of_the_manager_is_an_order_to_drain(start_process: StartProcess) -> None:
    worker = start(start_process)
    worker.channel.close()
    assert worker.wait_end() == 0


@pytest.mark.parametrize("body", [b"", b"x" * 10, b"x" * 1_000_000])
def test_who_comes_by_uwsgi_is_sent_to_http(start_process: StartProcess, body: bytes) -> None:
    worker = start(start_process)
    answer = worker.ask(body)
    assert (answer.code, answer.get("x-accel-redirect"), answer.get("content-length")) == (200, "@asgi", "0")
    assert worker.reading.served == 0


def test_who_comes_by_uwsgi_byte_by_byte(start_process: StartProcess) -> None:
    connection = start(start_process).connect()
    for byte in uwsgi.packet(REQUEST | {"CONTENT_LENGTH": "5"}) + b"hello":
        connection.send(bytes([byte]))
    assert connection.answer().get("x-accel-redirect") == "@asgi"


def test_who_comes_by_uwsgi_after_a_change_is_sent_back_to_it(start_process: StartProcess) -> None:
    """The front knows the HTTP socket, and comes by uwsgi all the same: the site has become WSGI, and we are about to go.

    Sent to HTTP it would find nobody, come back, and so on.
    """
    worker = start(start_process)
    connection = worker.request(HTTP_X_REQUEST_START=stamp(-10))  # long after the start
    connection.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        connection.receive()  # it is held as long as this worker listens there
    worker.drain()
    connection.sock.settimeout(DEADLINE)
    assert connection.answer().get("x-accel-redirect") == "@uwsgi"
    assert worker.wait_end() == 0


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\x05" + uwsgi.packet(REQUEST)[1:], uwsgi.packet(REQUEST)[:-1],
        uwsgi.packet(REQUEST | {"CONTENT_LENGTH": "x"}), uwsgi.packet(REQUEST | {"CONTENT_LENGTH": "100"}) + b"short",
        uwsgi.packet(REQUEST | {"HTTP_X_REQUEST_START": "rubbish"}), uwsgi.packet(REQUEST | {"UWSGI_FILE": "x"}),
    ],
)  # fmt: skip
def test_rubbish_by_uwsgi_is_dropped(start_process: StartProcess, data: bytes) -> None:
    worker = start(start_process)
    connection = worker.connect()
    connection.send(data)
    connection.sock.shutdown(socket.SHUT_WR)
    try:
        assert connection.rest() == b""
    except ConnectionResetError:
        pass
    assert worker.ask().get("x-accel-redirect") == "@asgi"
    assert worker.log == ""


# --- draining -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_runs_is_finished(start_process: StartProcess) -> None:
    worker = start(start_process)
    sock = connect(worker)
    sock.sendall(GET % b"/slow")
    wait_for(lambda: worker.reading.busy == 1)
    worker.drain()
    assert read(sock).code == 200
    assert worker.wait_end() == 0


def test_who_has_been_accepted_is_heard(start_process: StartProcess) -> None:
    """uvicorn would close a connection that has said nothing yet; its request may be on the way."""
    worker = start(start_process)
    before = len(os.listdir(f"/proc/{worker.pid}/fd"))
    http, plain = connect(worker), worker.connect()
    wait_for(lambda: len(os.listdir(f"/proc/{worker.pid}/fd")) == before + 2, "both to be accepted")
    worker.drain()
    time.sleep(0.3)
    http.sendall(GET % b"/")
    assert read(http).code == 200
    assert plain.request().answer().get("x-accel-redirect") == "@uwsgi"
    assert worker.wait_end() == 0


@pytest.mark.slow
def test_who_never_says_anything_is_not_waited_for(start_process: StartProcess) -> None:
    worker = start(start_process)
    with connect(worker):
        worker.connect()
        worker.drain()
        assert worker.wait_end() == 0


@pytest.mark.slow
def test_no_request_is_lost_between_two_generations(start_process: StartProcess) -> None:
    """Connections that were accepted in the same turn of the loop that brings the order to leave are served, too."""
    for _ in range(10):
        worker = start(start_process)
        os.kill(worker.pid, 19)  # SIGSTOP: it finds all of it at once
        waiting = [connect(worker) for _ in range(20)]
        for sock in waiting:
            sock.sendall(GET % b"/")
        worker.drain()
        os.kill(worker.pid, 18)  # SIGCONT
        assert worker.wait_end() == 0
        following = start_process(share=worker).wait_ready()
        assert [read(sock).code for sock in waiting] == [200] * 20
        following.close()
        worker.close()


# --- what applications do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("await send({'type': 'lifespan.startup.failed', 'message': 'no database'})", "no database"),
        (
            "await send({'type': 'lifespan.startup.failed', 'message': 'Traceback:\\n  x\\nOSError: gone\\n'})",
            "OSError: gone",
        ),
        ("await send({'type': 'lifespan.startup.failed'})", "it gave no reason"),
    ],
)
def test_a_lifespan_that_fails(start_process: StartProcess, code: str, reason: str) -> None:
    worker = start_process(
        f"async def application(scope, receive, send):\n    await receive()\n    {code}\n", has_http=True
    )
    failure = worker.wait_failed()
    assert failure.reason == f"the application's lifespan failed to start: {reason}"
    assert failure.step == "lifespan"
    assert worker.wait_end() == 100


def test_a_request_that_exits_fails_alone(start_process: StartProcess) -> None:
    worker = start(start_process)
    assert ask(worker, b"/exit").code == 500
    assert ask(worker).code == 200
    assert worker.reading[:2] == (0, 2)


def test_a_task_that_exits_ends_the_worker_and_is_no_failed_start(start_process: StartProcess) -> None:
    worker = start(start_process)
    try:
        ask(worker, b"/exit-later")
    except (AssertionError, ConnectionResetError):
        pass  # the worker was gone before the answer was
    assert worker.wait_end() == 7
    assert worker.listen() is None  # it said nothing more
    assert "lifespan" not in worker.log


# --- environments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", sorted(interpreters(), key=number))
def test_other_interpreters_borrow_our_uvicorn(start_process: StartProcess, version: str) -> None:
    """As far as ours runs there, with all that it needs: the older ones need one of their own, and are told so."""
    worker = start_process(HELLO, has_http=True, python=interpreters()[version], lent_packages=own_packages())
    if number(version) < 11:
        failure = worker.wait_failed()
        assert failure.reason.startswith("this is an ASGI application and uvicorn cannot be imported: ")
        assert failure.hint.startswith("install uvicorn into the site's environment (")
        return
    worker.wait_ready()
    assert ask(worker).body.decode().startswith(own_packages())
    worker.drain()
    assert worker.wait_end() == 0


def test_a_uvicorn_of_the_sites_own_is_not_mixed_with_ours(start_process: StartProcess) -> None:
    code = """
        import importlib, sys
        with open(__file__.replace("app.py", "uvicorn.py"), "w") as file:
            file.write("import sys; raise ImportError(str(sys.meta_path))")
        importlib.invalidate_caches()
        async def application(scope, receive, send): pass
    """
    failure = start_process(code, lent_packages=own_packages(), has_http=True).wait_failed()
    assert "PathFinder" in failure.reason
    assert "LentPackages" not in failure.reason


# --- more than it can do ------------------------------------------------------------------------------------------------

CROWDED = """
    import asyncio, time
    running = most = 0
    async def application(scope, receive, send):
        global running, most
        assert scope["type"] == "http"
        running += 1
        most = max(most, running)
        for _ in range(5):
            end = time.thread_time() + 0.002
            while time.thread_time() < end:
                pass
            await asyncio.sleep(0)
        running -= 1
        body = str(most).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
"""


def test_a_loop_takes_as_many_as_it_finishes(start_process: StartProcess) -> None:
    """The others wait in the queue, where another worker may take them."""
    worker = start_process(CROWDED, has_http=True).wait_ready()
    connections = [connect(worker) for _ in range(60)]
    for connection in connections:
        connection.sendall(GET % b"/")
    most = [int(read(connection).body) for connection in connections]
    assert max(most) < 30


def test_the_queue_stays_as_long_as_it_was(start_process: StartProcess) -> None:
    worker = start(start_process)
    worker.drain()
    worker.wait_end()
    connections = [connect(worker) for _ in range(300)]  # none is refused
    for connection in connections:
        connection.close()


def test_who_has_waited_too_long_is_told_to_come_again(start_process: StartProcess) -> None:
    worker = start(start_process, queue=0.3)
    old = f"\r\nX-Request-Start: {stamp(20)}\r\n\r\n".encode()

    def ask_old() -> Answer:
        sock = connect(worker)
        sock.sendall((GET % b"/").replace(b"\r\n\r\n", old))
        return read(sock)

    assert ask_old().code == 200, "it has waited for the start"
    answer = wait_for(lambda: (found := ask_old()).code == 503 and found)
    assert answer
    assert (answer.get("retry-after"), answer.get("x-accel-redirect")) == ("1", "@busy")
    note = answer.get("x-hostel")
    assert note is not None
    assert note.startswith("queue=20.")
    assert ask(worker).code == 200
