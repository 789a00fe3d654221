"""Requests with malformed anything: each gets a short refusal, and no application and no neighbour notices."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.front.applications import ECHO, ECHO_ASGI, wait_routed
from tests.support.server import Server, wait_for

KINDS = ("wsgi", "asgi")


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    front_server.site("wsgi", ECHO, workers={"min": 1, "max": 1})
    front_server.site("asgi", ECHO_ASGI, workers={"min": 1, "max": 1})
    wait_routed(front_server, *KINDS)
    return front_server


def head(*lines: bytes, kind: str) -> bytes:
    return b"\r\n".join((lines[0], b"Host: %s.localhost" % kind.encode(), b"Connection: close", *lines[1:], b"", b""))


REFUSED = {
    "garbage": b"\x00\xff\xfe garbage \r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "the PROXY protocol": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: wsgi.localhost\r\n\r\n",
    "a uwsgi packet": b"\x00\x10\x00\x00\x0e\x00REQUEST_METHOD\x03\x00GET",
    "no method": b" / HTTP/1.1\r\nHost: wsgi.localhost\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: wsgi.localhost\r\n\r\n",
    "a target that is no path": b"GET wsgi HTTP/1.1\r\nHost: wsgi.localhost\r\n\r\n",
    "a version that never was": b"GET / HTTP/9.9\r\nHost: wsgi.localhost\r\n\r\n",
    "an unknown protocol": b"GET / SPDY/1\r\nHost: wsgi.localhost\r\n\r\n",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_request_is_refused(server: Server, case: str) -> None:
    check_refused(server, server.raw(REFUSED[case]))


HEADERS = {
    "nothing before the colon": b": nothing",
    "a space before the colon": b"X-Own : 1",
    "a zero byte": b"X-Own: a\x00b",
    "a zero byte in the name": b"X\x00Own: 1",
    "a length that is negative": b"Content-Length: -1",
    "a length that is no number": b"Content-Length: many",
    "a length with a sign": b"Content-Length: +5",
    "a length in hexadecimal": b"Content-Length: 0x5",
    "a length beyond all measure": b"Content-Length: 99999999999999999999999",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6",
    "a length twice": b"Content-Length: 5\r\nContent-Length: 5",
    "two lengths in one": b"Content-Length: 5, 5",
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    "an unknown coding": b"Transfer-Encoding: rot13",
    "a coding that only looks like one": b"Transfer-Encoding: xchunked",
    "two codings": b"Transfer-Encoding: gzip, chunked",
    "a header of 9 kB": b"X-Own: " + b"a" * 9000,
    "a thousand headers": b"\r\n".join(b"X-Own-%d: %s" % (number, b"a" * 40) for number in range(1000)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", HEADERS)
def test_malformed_headers_are_refused(server: Server, kind: str, case: str) -> None:
    check_refused(server, server.raw(head(b"POST / HTTP/1.1", HEADERS[case], kind=kind) + b"hello"))


def test_a_header_without_a_colon_is_one_without_a_value(server: Server) -> None:
    answer = server.raw(head(b"GET / HTTP/1.1", b"Nonsense", kind="wsgi"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"HTTP_NONSENSE": ""' in answer


CHUNKS = {
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a size that is no number": b"zz\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a size beyond all measure": b"f" * 20 + b"\r\nhello\r\n0\r\n\r\n",
    "a size that is too small": b"2\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CHUNKS)
def test_malformed_chunks_are_refused(server: Server, kind: str, case: str) -> None:
    request = head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", kind=kind) + CHUNKS[case]
    check_refused(server, server.raw(request))


TARGETS = {
    "%": 400, "/%": 400, "/%zz": 400, "/%0": 400, "/%00": 400, "/a%00b": 400, "/\x00": 400, "/\x01": 400, "/a b": 400,
    "/../../etc/passwd": 400, "/%2e%2e/%2e%2e/etc/passwd": 400, "/" + "a" * 9000: 414, "/?" + "a" * 9000: 414,
    "//": 200, "/\\..\\": 200, "/?%zz&=&&": 200, "/%ff%fe": 200, "/a/./b/../c": 200, "/" + "a/" * 3000: 200,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: ascii(target[:30]))
def test_malformed_targets(server: Server, kind: str, target: str) -> None:
    answer = server.raw(head(b"GET " + target.encode("latin-1") + b" HTTP/1.1", kind=kind))
    if TARGETS[target] == 200:
        assert answer.startswith(b"HTTP/1.1 200 "), answer
    else:
        check_refused(server, answer)


def check_refused(server: Server, answer: bytes) -> None:
    """An error of the client's that says nothing of the sites, or no answer at all; and all goes on."""
    status = answer.partition(b" ")[2][:3]
    assert not answer or (status.startswith(b"4") or status in (b"501", b"505")), answer
    assert len(answer) < 2000
    for secret in (b"wsgi", b"asgi", b"hosts/", b"Traceback", b"nginx/"):
        assert secret not in answer
    assert [server.get(kind).status for kind in KINDS] == [200, 200]


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_a_request_is_a_request_of_its_own(server: Server, kind: str) -> None:
    """Nothing is smuggled past the front in the body of another request."""
    inner = b"GET /smuggled HTTP/1.1\r\nHost: %s.localhost\r\n\r\n" % kind.encode()
    for length in (b"Content-Length: %d" % len(inner), b"Transfer-Encoding: chunked"):
        body = inner if b"Length" in length else b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
        answer = server.raw(head(b"POST /outer HTTP/1.1", length, kind=kind) + body)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0, 1, 20, 60, -6])
def test_a_client_that_leaves_in_the_middle(server: Server, kind: str, part: int) -> None:
    request = head(b"POST / HTTP/1.1", b"Content-Length: 5", kind=kind) + b"hello"
    before = [server.workers(name) for name in KINDS]
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(request[:part])
    assert [server.get(name).status for name in KINDS] == [200, 200]
    assert [server.workers(name) for name in KINDS] == before


PIECES = [
    b"GET ", b"POST ", b"/", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b"\t", b"\x00", b" ", b":", b"%", b"?",
    b"Host: wsgi.localhost", b"Host: asgi.localhost", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"3\r\nabc\r\n",
    b"0\r\n\r\n", b"abc", b"Connection: close", b"Connection: upgrade", b"Upgrade: websocket", b"Expect: 100-continue",
    b"Range: bytes=0-",
]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join)))
def test_anything_at_all(server: Server, data: bytes) -> None:
    """Whatever is sent, the answer is HTTP or none, and never a server error."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while more := client.recv(65536):
                answer += more
        except ConnectionResetError:
            pass
    assert not answer or answer.startswith((b"HTTP/1.", b"<")), answer  # the latter: a page, in HTTP/0.9
    assert b" 500 " not in answer and b" 502 " not in answer and b" 504 " not in answer


def test_after_all_that_the_workers_are_the_same(server: Server) -> None:
    for kind in KINDS:
        view = server.view(kind)
        assert view["problems"] == []
        assert view["generation"] == 1
        wait_for(lambda kind=kind: not any(worker["busy"] for worker in server.view(kind)["workers"]))  # type: ignore[misc]
        assert json.loads(server.get(kind).text)
