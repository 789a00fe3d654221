"""Where a request ends: what two readers could understand differently is refused, and one request never becomes two."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.hostile.clients.lists import AMBIGUOUS, INNER, TAKEN
from tests.hostile.clients.witness import KINDS, add_witnesses, exchange, replies, request, seen
from tests.support.server import DEADLINE, Server, wait_for

REFUSALS = {400, 404, 405, 411, 413, 414, 501, 505}


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    return add_witnesses(front_server)


def fill(data: bytes, kind: str) -> bytes:
    return data.replace(b"{inner}", INNER).replace(b"{host}", b"%s.localhost" % kind.encode())


def body_of(found: dict[str, Any]) -> bytes:
    return str(found["body"]).encode("latin-1")


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_is_ambiguous_reaches_nobody(server: Server, case: str) -> None:
    for kind in KINDS:
        answers = replies(exchange(server, fill(AMBIGUOUS[case], kind)))
        assert seen(server) == [], (kind, answers)
        assert len(answers) == 1, answers
        assert answers[0].status in REFUSALS or not answers[0].status, answers  # 0: a page, in HTTP/0.9


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_taken_is_one_request(server: Server, case: str) -> None:
    data, body = TAKEN[case]
    for kind in KINDS:
        expected = fill(INNER, kind) if body is None else body
        answer = exchange(server, fill(data, kind))
        found = seen(server)
        if not found:  # a newer nginx is stricter
            assert [each.status for each in replies(answer)] == [400]
            assert case in ("bare LF in chunks", "bare LF behind a chunk extension", "a header without a colon")
            continue
        (only,) = found
        assert (only["PATH_INFO"], body_of(only)) == ("/outer", expected)
        assert "HTTP_TRANSFER_ENCODING" not in only
        length = only.get("CONTENT_LENGTH") or only.get("HTTP_CONTENT_LENGTH") or "0"
        assert int(length) == len(expected)
        assert answer.count(b"witness") == (not data.startswith(b"HEAD"))


@pytest.mark.parametrize("kind", KINDS)
def test_requests_one_behind_the_other_stay_apart(server: Server, kind: str) -> None:
    """Pipelined, of every framing, in one piece and byte by byte: each is its own, in order, with its own body."""
    parts = [
        request(kind, b"GET /1 HTTP/1.1", close=False),
        request(kind, b"POST /2 HTTP/1.1", b"Content-Length: 5", body=b"GET /", close=False),
        request(kind, b"POST /3 HTTP/1.1", b"Transfer-Encoding: chunked", body=b"3\r\nPOS\r\n0\r\n\r\n", close=False),
        request(kind, b"POST /4 HTTP/1.1", b"Content-Length: 0", close=False),
        request(kind, b"GET /5 HTTP/1.1", b"X-Last: yes"),
    ]
    expected = [("/1", b""), ("/2", b"GET /"), ("/3", b"POS"), ("/4", b""), ("/5", b"")]
    for pieces in ([b"".join(parts)], parts):
        answers = replies(exchange(server, *pieces))
        assert [each.status for each in answers] == [200] * 5
        found = seen(server)
        assert [(each["PATH_INFO"], body_of(each)) for each in found] == expected
        assert ["HTTP_X_LAST" in each for each in found] == [False] * 4 + [True]
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"".join(parts):
            sock.sendall(bytes([byte]))
        data = b""
        while more := sock.recv(65536):
            data += more
    assert [each.status for each in replies(data)] == [200] * 5
    assert [(each["PATH_INFO"], body_of(each)) for each in seen(server)] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_request_takes_those_behind_it_along(server: Server, kind: str) -> None:
    """What follows a request that was refused may be its body: it is nobody's request."""
    for line in (b"Content-Length: x", b"Content-Length: 1\r\nTransfer-Encoding: chunked", b"X-Own : 1", b"X: a\0b"):
        bad = request(kind, b"POST /bad HTTP/1.1", line, close=False)
        answers = replies(exchange(server, bad + request(kind, b"GET /smuggled HTTP/1.1")))
        assert ([each.status for each in answers], seen(server)) == ([400], [])


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_comes_before_the_body(server: Server, kind: str) -> None:
    """The front says no before the body has come: what comes later is still its body."""
    head = request(kind, b"POST /bad HTTP/1.1", b"Content-Length: 99999999999", close=False)
    answers = replies(exchange(server, head, request(kind, b"GET /smuggled HTTP/1.1")))
    assert [each.status for each in answers] == [413]
    assert seen(server) == []
    head = request(kind, b"POST /1 HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 5", close=False)
    answers = replies(exchange(server, head, b"hello" + request(kind, b"GET /2 HTTP/1.1")))
    assert [each.status for each in answers] == [100, 200, 200]
    assert [(each["PATH_INFO"], body_of(each)) for each in seen(server)] == [("/1", b"hello"), ("/2", b"")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_never_comes_is_no_request(server: Server, kind: str) -> None:
    """The front has a body before it asks an application for anything; a client that leaves early costs it nothing."""
    for framing, body in (
        (b"Content-Length: 5", b"hell"),
        (b"Content-Length: 100000", b"x" * 99_999),
        (b"Transfer-Encoding: chunked", b"5\r\nhell"),
        (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n"),
        (b"Transfer-Encoding: chunked", b"ffffff\r\n"),
        (b"Transfer-Encoding: chunked", b"1" * 10_000),
    ):
        exchange(server, request(kind, b"POST /early HTTP/1.1", framing, body=body))
        assert seen(server) == [], framing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "data",
    [
        b"GET /old\r\n",
        b"GET /old\n",
        b"GET  /old\r\n",
        b"GET /old\r\nHost: {host}\r\n\r\n",
        b"GET /old HTTP/0.9\r\n\r\n",
    ],
    ids=ascii,
)
def test_http_0_9_has_no_host_and_so_no_site(server: Server, kind: str, data: bytes) -> None:
    exchange(server, fill(data, kind))
    assert seen(server) == []


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_behind_the_last_request_are_nothing(server: Server, kind: str) -> None:
    """``Connection: close`` ends the conversation, whatever comes behind it."""
    for line, body in ((b"Content-Length: 5", b"hello"), (b"Transfer-Encoding: chunked", b"0\r\n\r\n"), (b"X: y", b"")):
        answers = replies(
            exchange(server, request(kind, b"POST /last HTTP/1.1", line, body=body) + fill(INNER, kind) * 3)
        )
        assert [each.status for each in answers] == [200]
        assert [each["PATH_INFO"] for each in seen(server)] == ["/last"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", [b"h2c", b"HTTP/2.0", b"websocket, h2c", b"TLS/1.3", b"\twebsocketx"])
def test_no_tunnel_is_made_for_other_protocols(server: Server, kind: str, protocol: bytes) -> None:
    """Through a connection that has changed its protocol an application could be asked past the front (h2csmuggler)."""
    lines = (
        b"Connection: Upgrade, HTTP2-Settings",
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        b"Upgrade: " + protocol,
    )
    data = request(kind, b"GET /upgrade HTTP/1.1", *lines, close=False)
    answers = replies(exchange(server, data, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", fill(INNER, kind)))
    assert 101 not in [each.status for each in answers]
    found = seen(server)
    assert "/smuggled" not in [each["PATH_INFO"] for each in found]
    for each in found:
        assert not {"HTTP_UPGRADE", "HTTP_HTTP2_SETTINGS", "HTTP_KEEP_ALIVE"} & set(each)


def test_after_all_that_the_workers_are_the_same(server: Server) -> None:
    for kind in KINDS:
        view = server.view(kind)
        assert (view["problems"], view["generation"], len(view["workers"])) == ([], 1, 1)
        wait_for(lambda kind=kind: not any(each["busy"] for each in server.view(kind)["workers"]))  # type: ignore[misc]
        assert "Traceback" not in server.log(kind)
