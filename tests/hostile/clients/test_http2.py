"""HTTP/2 as hostile clients speak it: what could become two requests of HTTP/1.1 is refused, and floods hurt nobody else."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator

import pytest

from tests.conftest import _end
from tests.front.test_routes import front_pids
from tests.front.test_tls import SafeServer
from tests.hostile.clients import http2 as h2
from tests.hostile.clients.witness import KINDS, add_witnesses, seen
from tests.support.server import command_of, make_folder, nginx_binaries, wait_for

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=sorted(nginx_binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[SafeServer]:
    server = SafeServer(make_folder(), nginx=nginx_binaries()[request.param])
    try:
        add_witnesses(server.start())
        wait_for(lambda: all(server.serial(f"{kind}.localhost") for kind in KINDS), "the certificates")
        seen(server)
        yield server
    finally:
        _end([server])


def host(kind: str) -> bytes:
    return b"%s.localhost" % kind.encode()


INNER = b"GET /smuggled HTTP/1.1\r\nHost: wsgi.localhost\r\n\r\n"

# Additions to a usual request that no client sends.
REFUSED: dict[str, list[tuple[bytes, bytes]]] = {
    "the method twice": [(b":method", b"POST")],
    "the path twice": [(b":path", b"/smuggled")],
    "the scheme twice": [(b":scheme", b"http")],
    "the authority twice": [(b":authority", b"evil.example")],
    "another host": [(b"host", b"evil.example")],
    "two other hosts": [(b"host", b"{host}"), (b"host", b"evil.example")],
    "an unknown pseudo-header": [(b":evil", b"1")],
    "a status": [(b":status", b"200")],
    "a pseudo-header behind a header": [(b"x-own", b"1"), (b":path", b"/smuggled")],
    "a name in capitals": [(b"X-Own", b"1")],
    "a line break in a name": [(b"x-own: 1\r\nx-other", b"1")],
    "a line break in a value": [(b"x-own", b"1\r\n\r\n" + INNER)],
    "a bare LF in a value": [(b"x-own", b"1\ntransfer-encoding: chunked")],
    "a bare CR in a value": [(b"x-own", b"1\rtransfer-encoding: chunked")],
    "a zero byte in a value": [(b"x-own", b"1\x002")],
    "a zero byte in a name": [(b"x\0own", b"1")],
    "a colon in a name": [(b"transfer-encoding:", b"chunked")],
    "a space in a name": [(b"x own", b"1")],
    "no name": [(b"", b"1")],
    "two lengths": [(b"content-length", b"0"), (b"content-length", b"5")],
    "a length that is none": [(b"content-length", b"x")],
    "a negative length": [(b"content-length", b"-1")],
    "a length with a sign": [(b"content-length", b"+0")],
    "a length that is too large": [(b"content-length", b"5")],
}
# What belongs to a connection of HTTP/1.1: it is refused, or it ends at the front.
DROPPED: dict[str, list[tuple[bytes, bytes]]] = {
    "transfer-encoding": [(b"transfer-encoding", b"chunked")],
    "connection": [(b"connection", b"keep-alive, x-own")],
    "upgrade": [(b"connection", b"upgrade"), (b"upgrade", b"h2c"), (b"http2-settings", b"AAMAAABk")],
    "keep-alive": [(b"keep-alive", b"timeout=5")],
    "proxy-connection": [(b"proxy-connection", b"keep-alive")],
    "te": [(b"te", b"gzip")],
    "websocket": [
        (b"upgrade", b"websocket"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"sec-websocket-version", b"13"),
    ],
    "a proxy": [(b"proxy", b"http://evil.example")],
    "claims": [(b"x-forwarded-for", b"6.6.6.6"), (b"forwarded", b"for=6.6.6.6"), (b"x_forwarded_for", b"6.6.6.6")],
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_ambiguous_in_http_1_is_refused(server: SafeServer, case: str) -> None:
    for kind in KINDS:
        more = [(name, value.replace(b"{host}", host(kind))) for name, value in REFUSED[case]]
        found = h2.play(
            server.tls_port, f"{kind}.localhost", h2.ask(1, h2.get(host(kind), b"/outer", *more)), streams={1}
        )
        reached = seen(server)
        assert "/smuggled" not in [each["PATH_INFO"] for each in reached]
        if reached:  # an older nginx drops what it does not understand, which is as good
            (only,) = reached
            assert "evil" not in str(only) and only["HTTP_HOST"] == f"{kind}.localhost", only
            assert case in (
                "a name in capitals",
                "no name",
                "a colon in a name",
                "a space in a name",
                "two other hosts",
                "another host",
            ), only
            assert not {"HTTP_X_OWN", "HTTP_TRANSFER_ENCODING", "HTTP_X_OTHER", "HTTP_"} & set(only)
        else:
            assert found.statuses.get(1, 400) in (400, 404, 421) or found.resets.get(1), found


@pytest.mark.parametrize("case", DROPPED)
def test_what_belongs_to_a_connection_ends_at_the_front(server: SafeServer, case: str) -> None:
    for kind in KINDS:
        h2.play(
            server.tls_port,
            f"{kind}.localhost",
            h2.ask(1, h2.get(host(kind), b"/outer", *DROPPED[case]), b"hello"),
            streams={1},
        )
        for only in seen(server):
            assert (only["PATH_INFO"], only["body"], only["HTTP_X_FORWARDED_FOR"]) == ("/outer", "hello", "127.0.0.1")
            assert "evil" not in str(only) and "6.6.6.6" not in str(only)
            dropped = {f"HTTP_{name.decode().upper().replace('-', '_')}" for name, _ in DROPPED[case]} - {
                "HTTP_X_FORWARDED_FOR",
                "HTTP_CONNECTION",
            }
            assert not dropped & set(only) - {"HTTP_SEC_WEBSOCKET_KEY", "HTTP_SEC_WEBSOCKET_VERSION"}, only
            assert only.get("HTTP_CONNECTION", "close") == "close"


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_of_another_length_than_it_says(server: SafeServer, kind: str) -> None:
    for told, body in (
        (b"5", b"hel"),
        (b"3", b"hello"),
        (b"0", b"hello"),
        (b"99999", b""),
        (b"18446744073709551615", b"hello"),
    ):
        request = h2.ask(1, h2.get(host(kind), b"/outer", (b"content-length", told), method=b"POST"), body)
        found = h2.play(server.tls_port, f"{kind}.localhost", request, streams={1})
        assert seen(server) == []
        assert found.statuses.get(1, 400) in (400, 413) or found.resets, found
    # Without a length the body is as long as it is: the application is told of it, and reads no further.
    request = h2.ask(1, h2.get(host(kind), b"/outer", method=b"POST"), INNER)
    assert h2.play(server.tls_port, f"{kind}.localhost", request, streams={1}).statuses == {1: 200}
    (only,) = seen(server)
    assert only["body"].encode() == INNER


TARGETS = [
    b"", b"*", b"smuggled", b"/outer HTTP/1.1\r\nHost: evil.example\r\n\r\nGET /smuggled", b"/outer HTTP/1.1", b"/ou ter", b"/\0",
    b"/outer\nX-Own: 1", b"http://evil.example/", b"//evil.example/", b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/%00",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_targets_and_methods_that_are_none(server: SafeServer, kind: str) -> None:
    requests = [h2.get(host(kind), target) for target in TARGETS]
    requests += [
        h2.get(host(kind), b"/outer", method=method)
        for method in (b"", b"get", b"GET /smuggled HTTP/1.1\r\n\r\nGET", b"GE T", b"G\0", b"CONNECT", b"PRI")
    ]
    requests += [
        [pair for pair in h2.get(host(kind), b"/outer") if pair[0] != missing]
        for missing in (b":method", b":path", b":scheme")
    ]
    requests += [
        [(name, b"ht\r\ntp" if name == b":scheme" else value) for name, value in h2.get(host(kind), b"/outer")]
    ]
    for pairs in requests:
        found = h2.play(server.tls_port, f"{kind}.localhost", h2.ask(1, pairs), streams={1})
        for only in seen(server):
            assert "smuggled" not in str(only) and "evil" not in str(only).replace(only["REQUEST_URI"], ""), only
            assert (
                " " not in only["REQUEST_URI"]
                and "\n" not in only["REQUEST_URI"]
                and re.fullmatch("[A-Z]+", only["REQUEST_METHOD"])
            )
            assert dict(pairs).get(b":path", b"") in (b"//evil.example/",) or dict(pairs)[b":path"] == b"/outer", only
        assert found.statuses.get(1, 400) < 500 or found.statuses[1] in (501, 505), pairs


SMUGGLED = h2.block(h2.get(b"wsgi.localhost", b"/smuggled"))
OUTER = h2.ask(1, h2.get(b"wsgi.localhost", b"/outer"))
BROKEN = {
    "data before headers": h2.frame(h2.DATA, h2.END_STREAM, 1, b"hello"),
    "headers on stream 0": h2.frame(h2.HEADERS, 5, 0, SMUGGLED),
    "an even stream": h2.ask(2, h2.get(b"wsgi.localhost", b"/smuggled")),
    "a continuation of nothing": h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1, b""),
    "another frame within headers": h2.frame(h2.HEADERS, h2.END_STREAM, 1, SMUGGLED) + h2.frame(h2.PING, 0, 0, bytes(8)),
    "a push": h2.frame(h2.PUSH, h2.END_HEADERS, 1, bytes(4) + SMUGGLED),
    "headers that are no HPACK": h2.frame(h2.HEADERS, 5, 1, b"\xff" * 50),
    "a header of an index that is not there": h2.frame(h2.HEADERS, 5, 1, b"\xff\xff\xff\x7f"),
    "a length beyond the block": h2.frame(h2.HEADERS, 5, 1, b"\0\x7f\xff\xff\xff\xff\x0f"),
    "a table of 4 GB": h2.frame(h2.HEADERS, 5, 1, b"\x3f\xe1\xff\xff\xff\x0f"),
    "a broken Huffman code": h2.frame(h2.HEADERS, 5, 1, b"\0\x81\x00\x81\xff"),
    "a padding that is longer than its frame": h2.frame(h2.HEADERS, 0xD, 1, b"\xff" + SMUGGLED),
    "a frame of 16 MB": (2**24 - 1).to_bytes(3) + bytes([h2.DATA, 0, 0, 0, 0, 1]) + b"x" * 70_000,
    "settings of a wrong size": h2.frame(h2.SETTINGS, 0, 0, b"12345"),
    "settings that are no such": h2.frame(h2.SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff\0\5\0\0\0\0"),
    "a window of nothing": OUTER + h2.frame(h2.WINDOW, 0, 0, bytes(4)),
    "a window that overflows": OUTER + h2.frame(h2.WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "a stream that depends on itself": h2.frame(h2.PRIORITY, 0, 1, b"\0\0\0\1\0") + OUTER,
    "HTTP/1.1": INNER * 20,
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_frames_end_their_connection_alone(server: SafeServer, case: str) -> None:
    before = processes_of(server)
    h2.play(server.tls_port, "wsgi.localhost", BROKEN[case], streams={1}, patience=1)
    assert {each["PATH_INFO"] for each in seen(server)} <= {"/outer"}
    found = h2.play(server.tls_port, "wsgi.localhost", h2.ask(1, h2.get(b"wsgi.localhost")), streams={1})
    assert (found.statuses, found.bodies) == ({1: 200}, {1: b"witness"})
    seen(server)
    assert processes_of(server) == before, "no process of the front has died"


def test_headers_that_never_end(server: SafeServer) -> None:
    """CONTINUATION without an end, one header after the other, tiny ones, and one that grows: the front stops listening."""
    head = h2.frame(h2.HEADERS, h2.END_STREAM, 1, h2.block(h2.get(b"wsgi.localhost", b"/outer")))
    floods = (
        head + h2.frame(h2.CONTINUATION, 0, 1, h2.block([(b"x-own", b"a" * 1000)])) * 2000,
        head + h2.frame(h2.CONTINUATION, 0, 1, b"") * 200_000,
        head + h2.frame(h2.CONTINUATION, 0, 1, h2.block([(b"a", b"b")])) * 50_000,
        h2.frame(h2.HEADERS, 5, 1, h2.block([*h2.get(b"wsgi.localhost", b"/outer"), (b"x-own", b"a" * 16_000)])),
        # A bomb: one header of 4 kB is put into the table, and then named again and again (RFC 7541, section 6.1).
        h2.frame(h2.HEADERS, 5, 1, h2.block(h2.get(b"wsgi.localhost"))
                 + b"\x40\x05x-own" + h2.number(3900) + b"a" * 3900 + b"\xbe" * 8000),
    )  # fmt: skip
    before = memory_of(server)
    for flood in floods:
        found = h2.play(server.tls_port, "wsgi.localhost", flood, streams={1})
        assert found.is_closed or found.statuses.get(1) in (400, 431) or found.resets, found
        assert seen(server) == []
    assert memory_of(server) - before < 20_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_rapid_resets_do_not_starve_the_neighbours(server: SafeServer, kind: str) -> None:
    """Thousands of requests that are taken back at once: the front ends it, and others are answered meanwhile."""
    target = h2.block(h2.get(host(kind), b"/reset"))
    flood = b"".join(
        h2.frame(h2.HEADERS, 5, stream, target) + h2.frame(h2.RESET, 0, stream, b"\0\0\0\x08")
        for stream in range(1, 20_001, 2)
    )
    other = KINDS[1 - KINDS.index(kind)]
    waits: list[float] = []
    is_over = threading.Event()

    def visit() -> None:
        while not is_over.is_set():
            begin = time.monotonic()
            assert server.get(other).status == 200
            waits.append(time.monotonic() - begin)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        for _ in range(3):
            h2.play(server.tls_port, f"{kind}.localhost", flood, streams=set())
    finally:
        is_over.set()
        thread.join()
    assert waits and sorted(waits)[len(waits) // 2] < 5
    wait_for(lambda: server.get(kind).status == 200, "the site to have done with it")
    reached = seen(server)
    assert len([each for each in reached if each["PATH_INFO"] == "/reset"]) < 30_000
    assert server.view(kind)["problems"] == []


@pytest.mark.parametrize(
    "flood",
    [
        h2.frame(h2.PING, 0, 0, bytes(8)) * 100_000, h2.frame(h2.SETTINGS, 0, 0) * 100_000,
        h2.frame(h2.PRIORITY, 0, 1, b"\0\0\0\3\0") * 100_000, h2.frame(h2.WINDOW, 0, 0, b"\0\0\0\1") * 100_000,
        h2.frame(h2.HEADERS, 4, 1, h2.block(h2.get(b"wsgi.localhost", b"/outer"))) + h2.frame(h2.DATA, 0, 1) * 100_000,
        b"".join(h2.frame(0xAB, 0, 0, b"x") for _ in range(100_000)),
    ],
    ids=["ping", "settings", "priority", "window", "empty data", "unknown"],
)  # fmt: skip
def test_floods_of_frames_that_cost_their_sender_nothing(server: SafeServer, flood: bytes) -> None:
    """CVE-2019-9511 to 9518: no memory is used up, and the next visitor is served."""
    before = memory_of(server)
    h2.play(server.tls_port, "wsgi.localhost", flood, streams=set(), ping=False)
    assert server.get("wsgi").status == 200
    assert memory_of(server) - before < 20_000_000
    seen(server)


def processes_of(server: SafeServer) -> set[int]:
    """Those of the front that serve; others come and go."""
    commands = {pid: command_of(pid) for pid in front_pids(server)}
    return {pid for pid, command in commands.items() if "worker process" in command and "shutting" not in command}


def memory_of(server: SafeServer) -> int:
    """What the front's processes have for themselves, in bytes."""
    total = 0
    for pid in front_pids(server):
        with open(f"/proc/{pid}/statm") as file:
            fields = file.read().split()
        total += (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    return total
