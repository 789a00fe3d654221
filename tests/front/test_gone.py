"""Visitors who leave while they wait: their requests are never run, however they came."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import _end
from tests.support.server import Server, free_port, make_folder, wait_for

WSGI = """
    import json, time
    seen = []
    def application(environ, start_response):
        path = environ["PATH_INFO"]
        seen.append(path)
        if path == "/hold":
            time.sleep(2)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(seen).encode()]
"""
ASGI = """
    import json, time
    seen = []
    async def application(scope, receive, send):
        assert scope["type"] == "http"
        seen.append(scope["path"])
        if scope["path"] == "/hold":
            time.sleep(2)
        body = json.dumps(seen).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})
"""
WAYS = {
    "plain": ("http", "--http1.1"),
    "encrypted": ("https", "--http1.1"),
    "two": ("https", "--http2"),
    "with-body": ("http", "--http1.1", "--data", "a=b"),
    "with-large-body": ("https", "--http2", "--data-binary", "@body"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(make_folder())
    server.tls_port = free_port()  # type: ignore[attr-defined]
    server.arguments = ("--listen-tls", str(server.tls_port))  # type: ignore[attr-defined]
    server.site("wsgi", WSGI, workers={"min": 1, "max": 1})
    server.site("asgi", ASGI, workers={"min": 1, "max": 1})
    (server.folder / "body").write_bytes(b"x" * 200_000)
    try:
        yield server.start()
    finally:
        _end([server])


def leave(server: Server, site: str, name: str) -> int:
    """Come in one of the ways, and leave after a moment; what curl says."""
    scheme, *options = WAYS[name]
    port = server.port if scheme == "http" else server.tls_port  # type: ignore[attr-defined]
    curl = shutil.which("curl")
    assert curl
    command = [curl, "-sk", "--max-time", "0.5", *options, f"{scheme}://{site}.localhost:{port}/{name}"]
    return subprocess.run(command, cwd=server.folder, stdout=subprocess.DEVNULL, check=False).returncode


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def cancel(server: Server, site: str) -> ssl.SSLSocket:
    """Ask by HTTP/2 and cancel the stream, as a browser does when its user goes elsewhere; the connection stays."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host = f"{site}.localhost"
    port = server.tls_port  # type: ignore[attr-defined]
    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=host)
    assert connection.selected_alpn_protocol() == "h2"
    fields = {":method": "GET", ":scheme": "https", ":path": "/cancelled", ":authority": f"{host}:{port}"}
    block = b"".join(
        b"\x10" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 5, 1, block))
    connection.sendall(frame(3, 0, 1, struct.pack(">I", 8)))
    return connection


@pytest.mark.parametrize("site", ["wsgi", "asgi"])
def test_nobody_runs_for_who_has_left(server: Server, site: str) -> None:
    server.wait_state(site, "serving")
    with ThreadPoolExecutor() as pool:
        holding = pool.submit(server.get, site, "/hold")
        wait_for(lambda: server.view(site)["workers"][0]["busy"] == 1, "the worker to be busy")
        left = [pool.submit(leave, server, site, name) for name in WAYS]
        connection = cancel(server, site)
        stays = pool.submit(server.get, site, "/stays")
        timed_out = 28
        assert [each.result() for each in left] == [timed_out] * len(WAYS)
        assert holding.result().status == 200
        assert stays.result().status == 200
        connection.close()
    seen = json.loads(server.get(site, "/seen").body)
    assert [path for path in seen if path not in ("/hold", "/stays", "/seen")] == []
    assert {"/hold", "/stays"} <= set(seen)
