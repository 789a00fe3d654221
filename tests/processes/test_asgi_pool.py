"""ASGI sites have pools, too; what counts as use, and how open WebSockets end: with real processes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.server import DEADLINE, Server, make_folder, wait_for

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
        if scope["path"] == "/wait":
            await asyncio.sleep(0.2)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
WSGI = """
    import os
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(make_folder())
    try:
        yield server.start()
    finally:
        server.stop()


def visit_until(server: Server, name: str, path: str, is_over: threading.Event, failed: list[int]) -> None:
    while not is_over.is_set():
        answer = server.get(name, path)
        if answer.status != 200:
            failed.append(answer.status)


def test_a_full_loop_gets_another_worker_and_both_serve(server: Server) -> None:
    name = "full"
    server.site(name, ASGI, workers={"max": 2, "idle": 3})
    wait_for(lambda: server.state(name))
    is_over, failed = threading.Event(), []  # type: tuple[threading.Event, list[int]]
    visitors = [threading.Thread(target=visit_until, args=(server, name, "/block", is_over, failed)) for _ in range(6)]
    for visitor in visitors:
        visitor.start()
    try:
        wait_for(lambda: len(server.workers(name)) == 2, "a second worker")
        wait_for(
            lambda: {server.get(name).body for _ in range(5)} == {str(pid).encode() for pid in server.workers(name)}
        )
    finally:
        is_over.set()
        for visitor in visitors:
            visitor.join()
    assert failed == []
    wait_for(lambda: len(server.workers(name)) < 2, "the pool to shrink")


def test_many_requests_that_only_wait_need_no_more_than_one(server: Server) -> None:
    server.site("waits", ASGI, workers={"max": 4})
    wait_for(lambda: server.state("waits"))
    is_over, failed = threading.Event(), []  # type: tuple[threading.Event, list[int]]
    visitors = [
        threading.Thread(target=visit_until, args=(server, "waits", "/wait", is_over, failed)) for _ in range(10)
    ]
    for visitor in visitors:
        visitor.start()
    wait_for(lambda: server.view("waits")["served"] > 80)
    is_over.set()
    for visitor in visitors:
        visitor.join()
    assert len(server.view("waits")["workers"]) == 1
    assert failed == []


def web_socket(server: Server, name: str) -> ClientConnection:
    sock = socket.create_connection(("127.0.0.1", server.port))
    return connect(f"ws://{name}.localhost:{server.port}/", sock=sock, open_timeout=DEADLINE)


def test_open_websockets_are_told_to_come_again_when_their_worker_leaves(server: Server) -> None:
    server.site("chat", ASGI)
    wait_for(lambda: server.state("chat"))
    server.get("chat")
    with web_socket(server, "chat") as client:
        old = client.recv(DEADLINE)
        begin = time.monotonic()
        server.run("reload", "chat")
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(DEADLINE)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012, "service restart (RFC 6455, registered codes)"
    assert time.monotonic() - begin < DEADLINE, "it does not wait until the drain limit"
    with web_socket(server, "chat") as client:
        assert client.recv(DEADLINE) != old


@pytest.mark.parametrize(("name", "code"), [("checked-wsgi", WSGI), ("checked-asgi", ASGI)])
def test_health_checks_do_not_keep_a_site_awake(server: Server, name: str, code: str) -> None:
    server.site(name, code, workers={"idle": 2, "idle_ignore": ["/health"]})
    wait_for(lambda: server.state(name))
    assert server.get(name).status == 200
    is_over, failed = threading.Event(), []  # type: tuple[threading.Event, list[int]]
    served = []

    def check() -> None:
        while not is_over.wait(0.05):
            served.append(server.get(name, "/health").status)

    checker = threading.Thread(target=check)
    checker.start()
    try:
        wait_for(
            lambda: "serving -> draining" in server.log(name), "the site to sleep though it is checked all the time"
        )
    finally:
        is_over.set()
        checker.join()
    assert set(served) == {200}
    assert failed == []


def test_a_site_that_was_woken_by_a_health_check_soon_sleeps_again(server: Server) -> None:
    server.site("asleep", WSGI, workers={"idle": "1h", "idle_ignore": ["/health"]})
    wait_for(lambda: server.state("asleep"))
    assert server.get("asleep", "/health").status == 200
    assert server.state("asleep") == "serving"
    wait_for(lambda: server.state("asleep") == "cold", "the site to sleep again")
