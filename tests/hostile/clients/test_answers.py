"""What a hostile application answers (rule 20): no second answer comes out of one, and nothing that is the connection's."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.hostile.clients.witness import KINDS, add_witnesses, answer_next, exchange, replies, request, seen
from tests.support.server import DEADLINE, Server

SPLIT = "x\r\nSet-Cookie: stolen=1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsplit"
BREAKS = ["\r\n", "\n", "\r", "\0", "\r\n\r\n", "\n\n", "\r\n ", "\n\t", "\x0b\r\n", "\u010a\n"]


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    return add_witnesses(front_server)


def ask(server: Server, kind: str, times: int = 1) -> bytes:
    """The whole answer; its application was asked so often at most, and nobody else was."""
    answer = exchange(server, request(kind, b"GET /answer HTTP/1.1"))
    asked = [each["PATH_INFO"] for each in seen(server, kind)]
    assert set(asked) == {"/answer"} and len(asked) <= times and not seen(server)
    return answer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", BREAKS, ids=ascii)
def test_a_line_break_in_an_answer_is_an_error(server: Server, kind: str, text: str) -> None:
    """In the name of a header, in its value, in a status, in one that means something to the front: a 500 for everybody."""
    evil = f"a{text}Set-Cookie: stolen=1".encode().decode("latin-1")
    answers: list[tuple[str, list[tuple[str, str]]]] = [
        ("200 OK", [("X-Own", evil)]), ("200 OK", [(evil, "1")]), ("200 OK", [("Location", f"/{evil}")]),
        ("200 OK", [("Content-Type", f"text/plain;{evil}")]), ("200 OK", [("X-Own", f"a{text}")]),
        ("200 OK", [("X-Own", f"{text}a")]),
        ("200 OK", [("X-Accel-Redirect", f"/{evil}")]), ("200 OK", [("Vary", f"Cookie{evil}")]), ("200 OK", [("X-Own", SPLIT)]),
        ("200 OK", [("X-Own" + text, "1")]), ("200 OK", [("Content-Length", f"5{text}")]),
    ]  # fmt: skip
    if kind == "wsgi":
        answers += [(f"200 {evil}", []), (f"200 OK{text}", []), (f"200{text}", []), (text, [])]
    for status, headers in answers:
        answer_next(server, kind, status, headers, "hello")
        (reply,) = replies(ask(server, kind))
        assert reply.status == 500, (status, headers, reply)
        assert b"stolen" not in reply.head + reply.body and b"split" not in reply.body


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([("Transfer-Encoding", "chunked")], ["5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nsplit"]),
        ([("Transfer-Encoding", "identity")], ["hello"]),
        ([("transfer-encoding", "gzip, chunked")], ["hello"]),
        ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], ["hello"]),
        ([("Connection", "keep-alive, X-Own"), ("Keep-Alive", "timeout=9999"), ("X-Own", "1")], ["hello"]),
        ([("Connection", "upgrade"), ("Upgrade", "websocket")], ["hello"]),
        ([("Trailer", "X-Own"), ("TE", "trailers"), ("Proxy-Connection", "keep-alive")], ["hello"]),
    ],
    ids=str,
)  # fmt: skip
def test_what_belongs_to_the_connection_is_not_the_applications(
    server: Server, kind: str, headers: list[tuple[str, str]], body: list[str]
) -> None:
    answer_next(server, kind, "200 OK", headers, *body)
    answer = ask(server, kind)
    found = replies(answer)
    assert len(found) == 1, answer
    (reply,) = found
    if reply.status != 200:
        assert reply.status in (500, 502)
        return
    assert reply.body.decode() == "".join(body)
    assert reply.values("connection") == ["close"]
    own = {"keep-alive", "upgrade", "trailer", "te", "proxy-connection"}
    assert not own & {line.partition(b":")[0].decode().lower() for line in reply.head.split(b"\r\n")[1:]}
    assert reply.values("transfer-encoding") in ([], ["chunked"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("length", "body"),
    [("5", ["hello" + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsplit"]), ("5", ["hel"]), ("0", ["hello"]), ("-1", ["hello"]),
     ("+5", ["hello"]), ("5, 5", ["hello"]), ("0x5", ["hello"]), ("\u0665", ["hello"]), ("99999999999999999999", ["hello"]),
     ("", ["hello"]),
     ("5", ["he", "llo", "HTTP/1.1 200 OK\r\n\r\nsplit"])],
)  # fmt: skip
def test_an_answer_ends_where_it_says(server: Server, kind: str, length: str, body: list[str]) -> None:
    """Behind it on the same connection comes the next answer, and not what an application made up."""
    told = length.encode().decode("latin-1")
    answer_next(server, kind, "200 OK", [("Content-Length", told)], *body)
    first = request(kind, b"GET /first HTTP/1.1", close=False)
    answers = replies(exchange(server, first + request(kind, b"GET /second HTTP/1.1")))
    asked = [each["PATH_INFO"] for each in seen(server)]
    assert asked[0] == "/first"
    for answer in answers:
        assert b"split" not in answer.body
    # What is not as long as it should be is broken off, and the connection with it: nothing comes behind.
    is_whole = all(each.values("content-length") in ([], [str(len(each.body))]) for each in answers)
    assert len(answers) == len(asked) or not is_whole, answers
    assert answers[-1].body == b"witness" or answers[-1].status >= 500 or not is_whole, answers


@pytest.mark.parametrize("kind", KINDS)
def test_answers_without_a_body_have_none(server: Server, kind: str) -> None:
    """What an application sends with 204, 304 or to HEAD would be read as the next answer."""
    for status, method in (("204 No Content", b"GET"), ("304 Not Modified", b"GET"), ("200 OK", b"HEAD")):
        answer_next(server, kind, status, [("X-Own", "1")], "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsplit")
        answer = exchange(
            server, request(kind, method + b" /answer HTTP/1.1", close=False) + request(kind, b"GET /next HTTP/1.1")
        )
        assert b"split" not in answer, (status, method, answer)
        statuses = re.findall(rb"^HTTP/1\.1 (\d+)", answer, re.MULTILINE)
        assert [each["PATH_INFO"] for each in seen(server)] == ["/answer", "/next"][: len(statuses)]
        assert len(statuses) in (1, 2) and statuses[-1] in (b"200", b"204", b"304", b"500")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "status",
    ["100 Continue", "101 Switching Protocols", "103 Early Hints", "199 x", "000 x", "099 x", "1000 x", "abc x"],
)
def test_no_application_speaks_before_its_answer(server: Server, kind: str, status: str) -> None:
    """An interim answer, or a change of the protocol, is the front's to send."""
    if kind == "asgi":
        status = status.partition(" ")[0]
    answer_next(server, kind, status, [("X-Own", "1"), ("Upgrade", "websocket"), ("Connection", "upgrade")], SPLIT)
    answers = replies(ask(server, kind))
    assert [each.status for each in answers] == [500]
    assert b"split" not in answers[0].body


@pytest.mark.parametrize("kind", KINDS)
def test_places_of_the_fronts_own_cannot_be_named(server: Server, kind: str) -> None:
    for target in ("/.hostel/file/etc/passwd", "/.hostel/send/etc/passwd", "/.hostel/error/200/x", "@cache", "@keep", "@valued",
                   "//etc/passwd", "/../../../etc/passwd", "http://evil.example/", "/%2e%2e/%2e%2e/etc/passwd", "",
                   "x", "@", "@x",
                   "/a\u0100", "?x", "#", "/" + "a" * 9000):  # fmt: skip
        told = target.encode().decode("latin-1")
        for name in ("X-Accel-Redirect", "x-accel-redirect"):
            answer_next(server, kind, "200 OK", [(name, told), ("X-Own", "1")], "body of its own")
            (answer,) = replies(ask(server, kind, times=12))  # a place of the front's may lead to the site again
            assert answer.status >= 400 or answer.body in (b"", b"body of its own", b"witness"), (target, answer)
            assert b"root:" not in answer.body and answer.values("x-accel-redirect") == []
    assert server.get(kind).text == "witness"
    seen(server)


# --- WebSocket ---------------------------------------------------------------------------------------------------------------

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
SHAKE = (b"Upgrade: websocket", b"Connection: Upgrade", KEY, b"Sec-WebSocket-Version: 13")


def test_a_websocket_is_told_what_a_request_is_told(server: Server) -> None:
    lines = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=6.6.6.6",
        "Proxy": "evil.example",
    }
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock,
        connect(
            f"ws://ASGI.localhost.:{server.port}/chat?a=1", sock=sock, additional_headers=lines, proxy=None
        ) as client,
    ):
        client.send("hello")
        assert client.recv(DEADLINE) == "hello"
    (found,) = seen(server, "asgi")
    assert (found["type"], found["PATH_INFO"], found["QUERY_STRING"]) == ("websocket", "/chat", "a=1")
    assert found["HTTP_HOST"] == found["HTTP_X_FORWARDED_HOST"] == f"asgi.localhost:{server.port}"
    assert "evil" not in json.dumps(found) and "6.6.6.6" not in json.dumps(found)
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"]) == ("127.0.0.1", "ws")


@pytest.mark.parametrize(
    "lines",
    [
        (b"Upgrade: websocket",), (b"Connection: Upgrade", KEY), (*SHAKE[:2], SHAKE[3]), (*SHAKE[:3],),
        (*SHAKE[:3], b"Sec-WebSocket-Version: 12"),
        (*SHAKE[:2], b"Sec-WebSocket-Key: x", SHAKE[3]), (*SHAKE[:2], KEY, KEY, SHAKE[3]),
        (b"Upgrade: websocket, h2c", *SHAKE[1:]),
        (b"Upgrade: WebSocketX", *SHAKE[1:]), (*SHAKE, b"Content-Length: 5"), (*SHAKE, b"Transfer-Encoding: chunked"),
        (*SHAKE, b"Sec-WebSocket-Protocol: \x01"), (*SHAKE, b"Sec-WebSocket-Extensions: " + b"x;" * 3000),
    ],
    ids=lambda lines: ascii(b"|".join(lines)[-60:]),
)  # fmt: skip
def test_a_broken_handshake_opens_no_tunnel(server: Server, lines: tuple[bytes, ...]) -> None:
    """What follows it is not passed on, to no application: neither as a request, nor as anything else."""
    inner = request("asgi", b"GET /smuggled HTTP/1.1")
    for kind in KINDS:
        for version in (b"1.1", b"1.0"):
            data = request(kind, b"GET /shake HTTP/" + version, *lines, close=False)
            answer = exchange(
                server,
                data,
                b"hello" if b"5" in lines[-1] else b"",
                b"0\r\n\r\n" if b"chunked" in lines[-1] else b"",
                inner,
            )
            found: list[dict[str, Any]] = seen(server)
            tunnels = answer.count(b"HTTP/1.1 101 ")
            paths = [each["PATH_INFO"] for each in found]
            assert tunnels <= (kind == "asgi")
            if tunnels:  # a whole handshake after all: then what follows is frames, which these are not
                assert paths == ["/shake"] and b"witness" not in answer
            else:  # a request of the client's own, if anything, on the front's connection
                assert paths.count("/shake") <= 1 and paths.count("/smuggled") <= 1


def test_a_wsgi_site_is_never_upgraded(server: Server) -> None:
    answer = exchange(
        server, request("wsgi", b"GET /shake HTTP/1.1", *SHAKE, close=False), request("wsgi", b"GET /next HTTP/1.1")
    )
    assert b"101" not in answer[:15]
    found = seen(server)
    assert [each["PATH_INFO"] for each in found] == ["/shake", "/next"]
    assert not {"HTTP_UPGRADE", "HTTP_CONNECTION"} & set(found[0])
