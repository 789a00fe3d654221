"""A client of HTTP/2 that sends whatever frames it is told (RFC 9113), and understands as much of the answers as a test needs.

The hard part would be HPACK. It is not needed: headers can be sent as literals without any compression (RFC 7541,
section 6.2.2), and of the answers only the status counts, which nginx writes as an indexed field or as a plain literal.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass, field

from tests.support.certificates import AnyName
from tests.support.server import DEADLINE

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STATUS = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}

Pairs = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, data: bytes = b"") -> bytes:
    return len(data).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + data


def number(value: int) -> bytes:
    """A length with a prefix of seven bits (RFC 7541, section 5.1)."""
    if value < 127:
        return bytes([value])
    parts, value = [127], value - 127
    while value >= 128:
        parts.append(value % 128 + 128)
        value //= 128
    return bytes([*parts, value])


def block(pairs: Pairs) -> bytes:
    """Headers as literals that are not indexed."""
    return b"".join(b"\0" + b"".join(number(len(one)) + one for one in pair) for pair in pairs)


def get(host: bytes, path: bytes = b"/", *more: tuple[bytes, bytes], method: bytes = b"GET") -> Pairs:
    """The usual headers of a request, and more."""
    return [(b":method", method), (b":scheme", b"https"), (b":authority", host), (b":path", path), *more]


def ask(stream: int, pairs: Pairs, body: bytes | None = None) -> bytes:
    """The frames of a whole request."""
    head = frame(HEADERS, END_HEADERS | (END_STREAM if body is None else 0), stream, block(pairs))
    return head if body is None else head + frame(DATA, END_STREAM, stream, body)


@dataclass
class Seen:
    """What came back: the status of each stream that has one, the bodies, and how it ended."""

    statuses: dict[int, int] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    resets: dict[int, int] = field(default_factory=dict)  # stream -> error
    goaway: int | None = None  # error
    is_closed: bool = False


def play(
    port: int,
    name: str,
    *frames: bytes,
    streams: set[int],
    settings: bytes = b"",
    ping: bool = True,
    patience: float = DEADLINE,
) -> Seen:
    """Send frames over a new connection, and listen until these streams have ended, and a ping behind them is answered."""
    context = AnyName(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    seen = Seen()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as plain,
        context.wrap_socket(plain, server_hostname=name) as sock,
        sock.makefile("rb") as file,
        contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError),
    ):
        data = PREFACE + frame(SETTINGS, 0, 0, settings) + b"".join(frames)
        if ping:
            data += frame(PING, 0, 0, b"at last!")
        sender = memoryview(data)
        sock.settimeout(DEADLINE)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
            while sender:
                sender = sender[sock.send(sender) :]
        left, is_answered = set(streams), not ping
        while left or not is_answered:
            # So soon comes what will come for these streams at all.
            sock.settimeout(min(2, patience) if is_answered else patience)
            try:
                head = file.read(9)
            except TimeoutError:
                return seen
            if len(head) < 9:
                break
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
            payload = file.read(int.from_bytes(head[:3]))
            is_answered |= kind == PING and payload == b"at last!"
            if kind == HEADERS and stream not in seen.statuses:
                seen.statuses[stream] = status_of(payload)
            elif kind == DATA:
                seen.bodies[stream] = seen.bodies.get(stream, b"") + payload
            elif kind == RESET:
                seen.resets[stream] = int.from_bytes(payload)
                left.discard(stream)
            elif kind == GOAWAY:
                seen.goaway = int.from_bytes(payload[4:8])
                break
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                left.discard(stream)
        else:
            return seen
    seen.is_closed = True
    return seen


def status_of(payload: bytes) -> int:
    """The status at the beginning of nginx's headers; before it may be a new size of the table."""
    at = 0
    while payload[at] & 0xE0 == 0x20:
        at += 1
    if payload[at] in STATUS:
        return STATUS[payload[at]]
    assert payload[at] & 0x0F == 8 and payload[at + 1] == 3, payload[:20]  # a literal with the name of :status
    return int(payload[at + 2 : at + 5])
