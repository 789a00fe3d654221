"""ASGI sites have pools, too; what counts as use, and how open WebSockets end: with real processes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.server import DEADLINE, Server, wait_for

ASGI = """
    import asyncio, os, time
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            raise RuntimeError("none")
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": str(os.getpid())})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        if scope["path"] == "/block":
            time.sleep(0.03)  # what an application should not do, and many do
        if scope["path"] == "/hold":
            time.sleep(5)
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
            for _ in range(25):
                await send({"type": "http.response.body", "body": b"data: still here\\n\\n", "more_body": True})
                await asyncio.sleep(0.1)
            await send({"type": "http.response.body", "body": b""})
            return
        if scope["path"] == "/wait":
            await asyncio.sleep(1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
WSGI = """
    import os
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""


@contextmanager
def visitors(server: Server, name: str, path: str, count: int) -> Iterator[list[int]]:
    """So many visitors, each of whom asks again and again; yields the list of the statuses they get."""
    is_over, statuses = threading.Event(), []

    def visit() -> None:
        while not is_over.is_set():
            statuses.append(server.get(name, path).status)

    threads = [threading.Thread(target=visit) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_a_full_loop_gets_another_worker_and_both_serve(shared_server: Server) -> None:
    def pids() -> set[str]:
        return {str(pid) for pid in shared_server.workers("full")}

    shared_server.site("full", ASGI, workers={"max": 2, "idle": 3})
    wait_for(lambda: shared_server.state("full"))
    with visitors(shared_server, "full", "/block", 6) as statuses:
        wait_for(lambda: len(pids()) == 2, "a second worker")
        wait_for(lambda: {shared_server.get("full").text for _ in range(5)} == pids())
    assert set(statuses) == {200}
    wait_for(lambda: len(pids()) < 2, "the pool to shrink")


def test_a_loop_that_is_blocked_holds_nobody_for_long(shared_server: Server) -> None:
    """It cannot tell how full it is, but the queue does."""
    shared_server.site("held", ASGI, workers={"max": 2})
    wait_for(lambda: shared_server.state("held"))
    shared_server.get("held")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(shared_server.get, "held", "/hold")
        wait_for(lambda: shared_server.view("held")["workers"][0]["busy"])
        assert shared_server.get("held").status == 200
        assert not held.done(), "another worker has answered"
        assert held.result().status == 200


def test_many_requests_that_only_wait_fill_no_loop(shared_server: Server) -> None:
    shared_server.site("waits", ASGI, workers={"max": 8})
    wait_for(lambda: shared_server.state("waits"))
    with visitors(shared_server, "waits", "/wait", 20) as statuses:
        wait_for(lambda: len(statuses) > 40)
    assert len(shared_server.view("waits")["workers"]) <= 2, "one, but the machine may be busy with other things"
    assert set(statuses) == {200}


def test_an_open_stream_counts_as_use(shared_server: Server) -> None:
    shared_server.site("stream", ASGI, workers={"idle": 0.5})
    wait_for(lambda: shared_server.state("stream"))
    assert shared_server.get("stream", "/stream").text.count("still here") == 25
    assert "draining" not in shared_server.log("stream")
    wait_for(lambda: shared_server.state("stream") == "cold", "the site to sleep when the stream has ended")


def web_socket(server: Server, name: str) -> ClientConnection:
    sock = socket.create_connection(("127.0.0.1", server.port))
    return connect(f"ws://{name}.localhost:{server.port}/", sock=sock, open_timeout=DEADLINE)


def test_open_websockets_are_told_to_come_again_when_their_worker_leaves(shared_server: Server) -> None:
    shared_server.site("chat", ASGI, limits={"drain": "10m"})
    wait_for(lambda: shared_server.state("chat"))
    shared_server.get("chat")
    with web_socket(shared_server, "chat") as client:
        old = client.recv(DEADLINE)
        shared_server.run("reload", "chat")
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(DEADLINE)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012, "service restart, at once and not when the drain limit is over"
    with web_socket(shared_server, "chat") as client:
        assert client.recv(DEADLINE) != old


@pytest.mark.parametrize(("name", "code"), [("checked-wsgi", WSGI), ("checked-asgi", ASGI)])
def test_health_checks_do_not_keep_a_site_awake(shared_server: Server, name: str, code: str) -> None:
    shared_server.site(name, code, workers={"idle": 2, "idle_ignore": ["/health"]})
    wait_for(lambda: shared_server.state(name))
    assert shared_server.get(name).status == 200
    with visitors(shared_server, name, "/health", 1) as statuses:
        wait_for(
            lambda: "serving -> draining" in shared_server.log(name),
            "the site to sleep though it is checked all the time",
        )
    assert set(statuses) == {200}


def test_a_site_that_was_woken_by_a_health_check_soon_sleeps_again(shared_server: Server) -> None:
    shared_server.site("asleep", WSGI, workers={"idle": "1h", "idle_ignore": ["/health"]})
    wait_for(lambda: shared_server.state("asleep"))
    assert shared_server.get("asleep", "/health").status == 200
    assert shared_server.state("asleep") == "serving"
    wait_for(lambda: shared_server.state("asleep") == "cold", "the site to sleep again")
