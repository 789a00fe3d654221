"""Turning visitors away: a site that does not start owes an answer to those who already wait on its sockets.

It is the same loop as for a site that works, with a page instead of an application, and it ends when nobody waits any
more. From then on the front answers by itself.

A site that was ASGI and is WSGI now owes one, too: those who wait on its HTTP socket are sent to the other one, by an
answer that makes the front repeat the request there.
"""

from __future__ import annotations

import select
import socket
from typing import Any, Callable, Dict, List, Optional

from hostel.worker.wsgi import Server

HTTP_HEAD_BYTES = 65536
HTTP_SECONDS = 5
SILENCE_SECONDS = 0.2  # when nobody has come for so long, nobody will
FOREVER = 3600.0  # they have waited long, and for nothing else than this
REDIRECT = b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: @uwsgi\r\nContent-Length: 0\r\n\r\n"


def turn_away(
    page: bytes,
    place: str,
    listener: socket.socket,
    http: Optional[socket.socket],
    control: int,
    take_order: Callable[[], bool],
    board: memoryview[float],
    label: str,
) -> None:
    """Answer 503 with ``page`` to all who wait on the two sockets; return when nobody does.

    ``place``: where the front has what to say in all its forms, which it says then.
    """
    headers = [
        ("Content-Type", "text/html"),
        ("Retry-After", "5"),
        ("X-Accel-Redirect", place),
    ]

    def application(environ: Dict[str, Any], start_response: Any) -> List[bytes]:
        start_response("503 Service Unavailable", headers)
        return [page]

    server = Server(
        application, listener, control, take_order, board=board, label=label, queue=FOREVER, leave_when_empty=True
    )
    server.run()
    if http is not None and not server.draining:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        answer = f"HTTP/1.1 503 Service Unavailable\r\n{head}Content-Length: {len(page)}\r\n\r\n".encode() + page
        answer_http(http, answer, control, take_order)


def answer_http(http: socket.socket, answer: bytes, control: int, take_order: Callable[[], bool]) -> bool:
    """Give ``answer`` to all who wait on the HTTP socket, until nobody does; whether an order to drain ended it."""
    http.setblocking(False)
    while True:
        ready = select.select([http.fileno(), control], [], [], SILENCE_SECONDS)[0]
        if control in ready and take_order():
            return True
        if http.fileno() not in ready:
            return False
        try:
            connection = http.accept()[0]
        except OSError:
            continue
        with connection:
            connection.settimeout(HTTP_SECONDS)
            try:
                read_http_request(connection)
                connection.sendall(answer)
            except (OSError, ValueError):
                pass


def read_http_request(connection: socket.socket) -> None:
    """Take in one request of the front (which always says its length) and forget it.

    Raises ``OSError`` when the front is gone, ``ValueError`` for what is no request.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        data += more
        if not more or len(data) > HTTP_HEAD_BYTES:
            raise ValueError("no request")
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = (int(lengths[0]) if lengths else 0) - len(body)
    while left > 0:
        more = connection.recv(min(left, 65536))
        if not more:
            raise ValueError("no whole request")
        left -= len(more)
