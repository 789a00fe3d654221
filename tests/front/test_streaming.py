"""Responses that come little by little are passed on as they come, and connections that are silent for long are kept."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from tests.front.applications import wait_routed
from tests.support.server import Server, make_folder, nginx_binaries

# Each goes on when a file named after the path is there, which the test makes when it has seen the first part.
WSGI = """
    import os, time

    def application(environ, start_response):
        name = environ["PATH_INFO"][1:]
        headers = {
            "events": [("Content-Type", "text/event-stream; charset=utf-8")],
            "asked": [("Content-Type", "text/plain"), ("X-Accel-Buffering", "no")],
        }.get(name, [("Content-Type", "text/plain")])
        start_response("200 OK", headers)
        yield b"data: first\\n\\n"
        while not os.path.exists(name):
            time.sleep(0.01)
        yield b"data: second\\n\\n"
"""
ASGI = """
    import asyncio, os

    async def application(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            return
        assert scope["type"] == "http"
        name = scope["path"][1:]
        kind = b"text/event-stream" if name == "events" else b"text/plain"
        headers = [(b"content-type", kind)]
        if name == "kept":
            headers.append((b"cache-control", b"max-age=1"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: first\\n\\n", "more_body": True})
        while not os.path.exists(name):
            await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"data: second\\n\\n"})
"""


@pytest.fixture(scope="module", params=sorted(nginx_binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(make_folder(), nginx=nginx_binaries()[request.param], arguments=("--request", "1s"))
    try:
        server.start()
        server.site("wsgi", WSGI, workers={"threads": 4})
        server.site("asgi", ASGI)
        wait_routed(server, "wsgi", "asgi")
        assert server.get("asgi", "/app.py").status == 200  # from now on the front speaks HTTP with it
        yield server
        server.stop()
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("kind", "name"), [("wsgi", "events"), ("wsgi", "asked"), ("asgi", "events"), ("asgi", "anything")]
)
def test_a_stream_arrives_as_it_comes(server: Server, kind: str, name: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(f"GET /{name} HTTP/1.1\r\nHost: {kind}.localhost\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while b"first" not in received:
            more = client.recv(1000)
            assert more, received
            received += more
        assert b"second" not in received
        assert b"buffering" not in received.lower()
        server.write(f"{kind}/{name}", "")
        while more := client.recv(1000):
            received += more
    assert b"data: second\n\n" in received


def test_what_may_be_kept_is_collected(server: Server) -> None:
    """It has to be whole before it is kept; and it comes whole."""
    server.write("asgi/kept", "")
    assert server.get("asgi", "/kept").text == "data: first\n\ndata: second\n\n"


def test_a_silent_websocket_outlives_the_limit_of_requests(server: Server) -> None:
    with connect(
        f"ws://asgi.localhost:{server.port}/", sock=socket.create_connection(("127.0.0.1", server.port))
    ) as ws:
        ws.send("before")
        assert ws.recv() == "before"
        time.sleep(2.2)  # silence is what is tested: twice the limit of a request
        ws.send("after")
        assert ws.recv() == "after"


def test_a_stream_of_events_may_be_silent_for_longer_than_a_request_may_take(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        request = (
            "GET /silence HTTP/1.1\r\nHost: asgi.localhost\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n"
        )
        (server.projects / "asgi/events").unlink(missing_ok=True)
        client.sendall(request.replace("silence", "events").encode())
        received = client.recv(1000)
        time.sleep(2.2)
        assert b"second" not in received
        server.write("asgi/events", "")
        while more := client.recv(1000):
            received += more
    assert b"data: second" in received
