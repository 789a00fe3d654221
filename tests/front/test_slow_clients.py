"""Slow clients: they send headers, bodies, or read, as slowly as they like; no worker waits, and no neighbour notices."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.front.applications import says, wait_routed
from tests.support.server import Server, wait_for

LARGE = """
    def application(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x" * 3_000_000] if environ["PATH_INFO"] == "/large" else [b"small"]
"""
CLIENTS = 100


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    front_server.site("slow", LARGE, workers={"min": 1, "max": 1})
    front_server.site("neighbour", says("neighbour"), workers={"min": 1, "max": 1})
    wait_routed(front_server, "slow", "neighbour")
    wait_for(lambda: front_server.get("slow").text == "small")
    return front_server


@contextlib.contextmanager
def clients(server: Server, data: bytes, count: int = CLIENTS) -> Iterator[list[socket.socket]]:
    """So many connections that have sent so much and go no further."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", server.port))
            client.sendall(data)
            found.append(client)
        yield found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: slow.localhost\r\nX-Slow: ",
        b"POST / HTTP/1.1\r\nHost: slow.localhost\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000,
        b"POST / HTTP/1.1\r\nHost: slow.localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"GET /large HTTP/1.1\r\nHost: slow.localhost\r\n\r\n",
    ],
    ids=["nothing", "headers", "body", "chunks", "reading"],
)
def test_no_worker_waits_for_a_slow_client(server: Server, data: bytes) -> None:
    is_reading = b"large" in data
    with clients(server, data, 20 if is_reading else CLIENTS) as slow:
        if is_reading:
            assert {client.recv(100)[:12] for client in slow} == {b"HTTP/1.1 200"}
        for _ in range(10):
            assert server.get("slow").text == "small"
            assert server.get("neighbour").status == 200
        wait_for(lambda: not any(worker["busy"] for worker in server.view("slow")["workers"]), "the worker to be free")


def test_a_slow_client_gets_all_in_the_end(server: Server) -> None:
    head = b"POST / HTTP/1.1\r\nHost: slow.localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
    with clients(server, b"", 1) as (client,):
        for byte in head + b"0123456789":
            client.sendall(bytes([byte]))
        answer = b""
        while more := client.recv(1000):
            answer += more
    assert answer.endswith(b"small")


def test_the_configuration_knows_no_site(server: Server) -> None:
    """Rule 22: whatever sites there are, it is the same text."""
    before = (server.run_dir / "nginx.conf").read_bytes()
    server.site(
        "canary", says("canary"), domains=["canary.example"], static={"/canary/": "."}, env={"CANARY": "canary"}
    )
    wait_routed(server, "canary")
    assert server.get("canary.example").status == 200
    assert (server.run_dir / "nginx.conf").read_bytes() == before
    assert b"canary" not in before
