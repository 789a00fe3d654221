"""Two sites that keep a record of each request that reaches them, and a client that sends bytes as they are.

The hard part is to know that nothing else came of some bytes: an answer says what the front thinks, not what a worker was
asked. So each site is one worker that remembers every request it began to run, until it is asked for its record; and
whoever asks does so when the front has closed the hostile connection.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
from dataclasses import dataclass
from typing import Any

from tests.front.applications import wait_routed
from tests.support.server import DEADLINE, Server

KINDS = ("wsgi", "asgi")
RECORD = "/-record"
SILENCE = 0.25  # seconds: so long a front that waits for more gets no more, before it is told that none will come

WSGI = """
    import json

    record = []
    answers = {}

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/-record":
            data = json.dumps(record).encode()
            record.clear()
            start_response("200 OK", [("Content-Type", "application/json")])
            return [data]
        if environ["PATH_INFO"] == "/-answer":  # what to say to the next request
            answers["next"] = json.loads(environ["wsgi.input"].read())
            start_response("200 OK", [])
            return [b""]
        seen = {key: value for key, value in environ.items() if isinstance(value, str)}
        record.append(seen)
        seen["body"] = None
        seen["body"] = environ["wsgi.input"].read().decode("latin-1")
        answer = answers.pop("next", None)
        if answer:
            start_response(answer["status"], [tuple(header) for header in answer["headers"]])
            return [part.encode("latin-1") for part in answer["body"]]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"witness"]
"""
ASGI = """
    import json

    record = []
    answers = {}

    async def application(scope, receive, send):
        if scope["type"] == "websocket":
            record.append(see(scope))
            await receive()
            await send({"type": "websocket.accept"})
            message = await receive()
            while message["type"] == "websocket.receive":
                record[-1].setdefault("messages", []).append(message.get("text"))
                await send({"type": "websocket.send", "text": message.get("text") or "bytes"})
                message = await receive()
            return
        if scope["type"] != "http":
            return
        status, headers, parts = 200, [(b"content-type", b"text/plain")], [b"witness"]
        if scope["path"] == "/-record":
            headers, parts = [(b"content-type", b"application/json")], [json.dumps(record).encode()]
            record.clear()
        elif scope["path"] == "/-answer":
            answers["next"] = json.loads(await read(receive))
        else:
            seen = see(scope)
            record.append(seen)
            seen["body"] = None
            seen["body"] = (await read(receive)).decode("latin-1")
            answer = answers.pop("next", None)
            if answer:
                status = answer["status"].partition(" ")[0]
                status = int(status) if status.isdigit() else status
                headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in answer["headers"]]
                parts = [part.encode("latin-1") for part in answer["body"]]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def see(scope):
        seen = {"REQUEST_METHOD": scope.get("method", "GET"), "PATH_INFO": scope["path"], "type": scope["type"]}
        seen["REQUEST_URI"] = scope["raw_path"].decode("latin-1")
        seen["QUERY_STRING"] = scope["query_string"].decode("latin-1")
        seen["wsgi.url_scheme"] = scope["scheme"]
        seen["REMOTE_ADDR"] = scope["client"][0]
        names = [name.decode("latin-1") for name, _ in scope["headers"]]
        seen["twice"] = ",".join(sorted(name for name in set(names) if names.count(name) > 1))
        for name, value in scope["headers"]:
            seen["HTTP_" + name.decode("latin-1").upper().replace("-", "_")] = value.decode("latin-1")
        return seen

    async def read(receive):
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise ConnectionError("the client went away")
            body += event.get("body", b"")
            more = event.get("more_body", False)
        return body
"""


@dataclass(frozen=True)
class Reply:
    """One of the answers on a connection."""

    status: int
    head: bytes
    body: bytes

    def values(self, name: str) -> list[str]:
        """The values of all header lines of this name."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].lower() == name.lower()]


def add_witnesses(server: Server, **options: Any) -> Server:
    """The two sites, ``wsgi`` and ``asgi``, awake."""
    for kind, code in (("wsgi", WSGI), ("asgi", ASGI)):
        server.site(kind, code, workers={"min": 1, "max": 1}, **options)
    wait_routed(server, *KINDS)
    for kind in KINDS:
        assert server.get(kind, RECORD).status == 200
    return server


def request(kind: str, *lines: bytes, body: bytes = b"", close: bool = True) -> bytes:
    """A request for a witness, as the last on its connection: its first line and more header lines as they are."""
    host = b"Host: %s.localhost" % kind.encode()
    ends = (b"Connection: close",) if close else ()
    return b"\r\n".join((lines[0], host, *ends, *lines[1:], b"", body))


def exchange(server: Server, *pieces: bytes) -> bytes:
    """Send these bytes over one connection, a moment between the pieces, and read until the front closes it.

    When it waits for more instead, it is told that no more will come.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for number, piece in enumerate(pieces):
                sock.sendall(piece)
                sock.settimeout(0.03)
                if number < len(pieces) - 1:
                    with contextlib.suppress(TimeoutError):
                        answer += sock.recv(65536)
            sock.settimeout(SILENCE)
            is_told = False
            while True:
                try:
                    more = sock.recv(65536)
                except TimeoutError:
                    if is_told:
                        raise
                    sock.shutdown(socket.SHUT_WR)
                    sock.settimeout(DEADLINE)
                    is_told = True
                    continue
                if not more:
                    break
                answer += more
        return answer


def replies(data: bytes) -> list[Reply]:
    """The answers that a client reads out of these bytes, one after the other; whatever is no answer is an error."""
    found: list[Reply] = []
    while data:
        if not data.startswith(b"HTTP/1.1 "):
            assert data.lstrip().startswith((b"<", b"witness")), f"this is no answer: {data[:200]!r}"  # to HTTP/0.9
            return [*found, Reply(0, b"", data)]
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, f"a head without an end: {head!r}"
        status = int(head.split(b" ", 2)[1])
        length = re.search(rb"(?im)^content-length: (\d+)\r?$", head)
        if re.search(rb"(?i)\r\ntransfer-encoding: chunked", head):
            body = b""
            while True:
                size, _, data = data.partition(b"\r\n")
                count = int(size, 16)
                body, data = body + data[:count], data[count + 2 :]
                if not count:
                    break
        elif length and status != 304:
            body, data = data[: int(length[1])], data[int(length[1]) :]
        elif status < 200 or status in (204, 304):
            body = b""
        else:
            body, data = data, b""
        found.append(Reply(status, head, body))
    return found


def seen(server: Server, *kinds: str) -> list[dict[str, Any]]:
    """What has reached the applications since they were asked last."""
    found: list[dict[str, Any]] = []
    for kind in kinds or KINDS:
        answer = server.get(kind, RECORD)
        assert answer.status == 200, answer.text
        found += json.loads(answer.body)
    return found


def answer_next(server: Server, kind: str, status: str, headers: list[tuple[str, str]], *body: str) -> None:
    """Have a witness answer its next request so."""
    told = json.dumps({"status": status, "headers": headers, "body": body}).encode()
    assert server.get(kind, "/-answer", method="POST", body=told).status == 200
