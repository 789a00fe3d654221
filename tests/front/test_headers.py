"""What of a request reaches the application, and in which form: headers, path, query, and the way back."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from hostel.front.nginx import HOP_BY_HOP_HEADERS, REMOVED_HEADERS
from tests.front.applications import ECHO, ECHO_ASGI, wait_routed
from tests.support.server import Server

MARK = "from-the-client"
SPOOFED = (
    *REMOVED_HEADERS, "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Start", "X-Request-Id",
    "X-Forwarded-User", "X-Forwarded-Anything", "x-forwarded-email", "X-FORWARDED-GROUPS",
)  # fmt: skip
KINDS = ("wsgi", "asgi")


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    front_server.site("wsgi", ECHO)
    front_server.site("asgi", ECHO_ASGI)
    wait_routed(front_server, *KINDS)
    return front_server


def ask(
    server: Server, kind: str, *lines: str, target: str = "/", method: str = "GET", body: bytes = b""
) -> dict[str, Any]:
    """Send a request as it is; what the application saw, with its headers as ``headers``: lower case, '-'."""
    head = "\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {kind}.localhost", "Connection: close", *lines, "", ""))
    answer = server.raw(head.encode("latin-1") + body)
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head, _, text = answer.decode().partition("\r\n\r\n")
    assert " 200 " in head.partition("\r\n")[0], answer
    seen: dict[str, Any] = json.loads(text)
    if kind == "wsgi":
        seen["headers"] = {
            name[5:].lower().replace("_", "-"): value for name, value in seen.items() if name.startswith("HTTP_")
        }
    else:
        seen["headers"] = dict(seen["headers"])
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_an_ordinary_request(server: Server, kind: str) -> None:
    seen = ask(
        server, kind, "Accept: text/html", "User-Agent: me", "Cookie: a=b", "X-Own: 1", "Authorization: Basic eDp5"
    )
    start = seen["headers"].pop("x-request-start")
    assert start.startswith("t=")
    assert re.fullmatch("[0-9a-f]{32}", seen["headers"].pop("x-request-id"))
    assert seen["headers"] == {
        "host": f"{kind}.localhost", "accept": "text/html", "user-agent": "me", "cookie": "a=b", "x-own": "1",
        "authorization": "Basic eDp5", "x-forwarded-for": "127.0.0.1", "x-forwarded-host": f"{kind}.localhost",
        "x-forwarded-proto": "http", **({"connection": "close"} if kind == "asgi" else {}),
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_who_forwards_is_known_to_the_front_alone(server: Server, kind: str) -> None:
    seen = ask(server, kind, *(f"{name}: {MARK}" for name in SPOOFED), *(f"{name}: {MARK}, again" for name in SPOOFED))
    assert MARK not in json.dumps(seen)
    assert seen["headers"].pop("x-request-start").startswith("t=")
    assert re.fullmatch("[0-9a-f]{32}", seen["headers"].pop("x-request-id"))
    assert seen["headers"].pop("connection", "close") == "close"
    assert seen["headers"] == {
        "host": f"{kind}.localhost", "x-forwarded-for": "127.0.0.1", "x-forwarded-host": f"{kind}.localhost",
        "x-forwarded-proto": "http",
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_is_who_is_connected(server: Server, kind: str) -> None:
    seen = ask(
        server,
        kind,
        "X-Forwarded-For: 9.9.9.9",
        "X-Real-IP: 9.9.9.9",
        "X-Forwarded-Proto: https",
        "Forwarded: for=9.9.9.9",
    )
    if kind == "wsgi":
        assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"], seen["SERVER_PORT"]) == (
            "127.0.0.1",
            "http",
            str(server.port),
        )
        assert seen["REMOTE_PORT"].isdigit()
        assert "HTTPS" not in seen
    else:
        assert (seen["client"][0], seen["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    ["X_Forwarded_For", "X-Forwarded_Host", "X_FORWARDED_PROTO", "X_Real_IP", "Remote_User", "Under_Score", "Host_", "HTTP_HOST",
     "Content_Length", "CONTENT_TYPE", "X.Forwarded.For", "X Forwarded", "UWSGI_FILE", "X-Forwarded-For\t"],
)  # fmt: skip
def test_names_that_become_others_are_dropped(server: Server, kind: str, name: str) -> None:
    head = f"GET / HTTP/1.1\r\nHost: {kind}.localhost\r\nConnection: close\r\n{name}: {MARK}\r\n\r\n"
    answer = server.raw(head.encode())
    assert MARK.encode() not in answer
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))


@pytest.mark.parametrize("kind", KINDS)
def test_hop_by_hop_headers_end_at_the_front(server: Server, kind: str) -> None:
    names = [name for name in HOP_BY_HOP_HEADERS if name not in ("Connection", "Transfer-Encoding", "Expect")]
    seen = ask(server, kind, "Expect: 100-continue", *(f"{name}: {MARK}" for name in names))
    assert MARK not in json.dumps(seen)
    assert not {"expect", *(name.lower() for name in names)} & set(seen["headers"])
    assert seen["headers"].get("connection", "close") == "close"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", ["h2c", "h2c, websocket", "tls/1.0", "websocket2"])
def test_no_other_protocol_is_changed_to(server: Server, kind: str, protocol: str) -> None:
    """A client could speak to the application past the front."""
    headers = {
        "Upgrade": protocol,
        "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
        "Connection": "Upgrade, HTTP2-Settings",
    }
    seen = server.get(kind, headers=headers).json()
    names = set(dict(seen["headers"]) if kind == "asgi" else seen)
    assert not {"upgrade", "http2-settings", "HTTP_UPGRADE", "HTTP_HTTP2_SETTINGS"} & names


def test_repeated_headers_are_joined(server: Server) -> None:
    lines = ("X-Own: 1", "X-Own: 2", "x-own: 3", "Cookie: a=1", "Cookie: b=2", "Accept: x", "Accept: y")
    seen = ask(server, "wsgi", *lines)["headers"]
    assert (seen["x-own"], seen["cookie"], seen["accept"]) == ("1, 2, 3", "a=1; b=2", "x, y")


@pytest.mark.parametrize("kind", KINDS)
def test_repeated_headers_that_may_not_be(server: Server, kind: str) -> None:
    for line in ("Content-Length: 5", "Host: other.example", "Content-Length: 0\r\nTransfer-Encoding: chunked"):
        head = f"POST / HTTP/1.1\r\nHost: {kind}.localhost\r\nContent-Length: 1\r\nConnection: close\r\n{line}\r\n\r\nx"
        assert server.raw(head.encode()).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a/b?c=d", "/a/b", "c=d"),
        ("/a%2Fb", "/a/b", ""),
        ("/a%2fb/%3F?x=%2F%3f", "/a/b/?", "x=%2F%3f"),
        ("//", "//", ""),
        ("//a///b//", "//a///b//", ""),
        ("/a;x=1/b;y", "/a;x=1/b;y", ""),
        ("/%C3%A4%E2%82%AC", "/\xc3\xa4\xe2\x82\xac", ""),
        ("/%E4", "/\xe4", ""),
        ("/a+b%20c%25", "/a+b c%", ""),
        ("/a%0d%0ab%09%01", "/a\r\nb\t\x01", ""),
        ("/?", "/", ""),
        ("/??a", "/", "?a"),
        ("/a?b?c=%zz&d=\"<>'", "/a", "b?c=%zz&d=\"<>'"),
        ("/a/./b/../c", "/a/c", ""),
        ("/a/%2e%2e/c", "/c", ""),
        ("/a%23b", "/a#b", ""),
        ("/*~!$&'()[]@:=,", "/*~!$&'()[]@:=,", ""),
        ("/" + "x" * 4000 + "?" + "y" * 3000, "/" + "x" * 4000, "y" * 3000),
    ],
)
def test_path_and_query(server: Server, target: str, path: str, query: str) -> None:
    seen = ask(server, "wsgi", target=target)
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["QUERY_STRING"]) == ("", path, query)
    assert seen["REQUEST_URI"] == target
    seen = ask(server, "asgi", target=target)
    assert seen["query_string"] == query
    assert (seen["raw_path"] + (f"?{query}" if query or target.endswith("?") else "")) == target


def test_a_path_with_bytes_that_should_have_been_encoded(server: Server) -> None:
    seen = ask(server, "wsgi", target="/\xc3\xa4")
    assert (seen["PATH_INFO"], seen["REQUEST_URI"]) == ("/\xc3\xa4", "/\xc3\xa4")


def test_the_target_of_a_proxy_comes_as_a_path(server: Server) -> None:
    seen = ask(server, "wsgi", target="http://wsgi.localhost/a%2Fb?c")
    assert (seen["PATH_INFO"], seen["QUERY_STRING"], seen["REQUEST_URI"]) == ("/a/b", "c", "/a%2Fb?c")


@pytest.mark.parametrize("target", ["/%00", "/a%00b", "/%zz", "/%2", "a", "/a b", "/\x01", "/../..", "/%2e%2e/"])
def test_what_is_no_path_reaches_no_application(server: Server, target: str) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: wsgi.localhost\r\nConnection: close\r\n\r\n"
    assert server.raw(head.encode()).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PURGE"])
def test_methods(server: Server, kind: str, method: str) -> None:
    answer = server.get(kind, "/", method=method)
    assert answer.status == 200
    if method != "HEAD":
        assert answer.json()["method" if kind == "asgi" else "REQUEST_METHOD"] == method


@pytest.mark.parametrize("kind", KINDS)
def test_bodies(server: Server, kind: str) -> None:
    seen = ask(server, kind, "Content-Type: text/x", "Content-Length: 5", method="POST", body=b"12345behind")
    assert seen["body"] == "12345"
    if kind == "wsgi":
        assert (seen["CONTENT_TYPE"], seen["CONTENT_LENGTH"]) == ("text/x", "5")
        assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(seen)
    seen = ask(
        server,
        kind,
        "Transfer-Encoding: chunked",
        method="POST",
        body=b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
    )
    assert seen["body"] == "abcde"
    assert "transfer-encoding" not in seen["headers"]
    assert seen["CONTENT_LENGTH"] == "5" if kind == "wsgi" else seen["headers"]["content-length"] == "5"
    large = bytes(range(256)) * 2000
    assert server.get(kind, "/", method="POST", body=large).json()["body"] == large.decode("latin-1")
    assert server.get(kind, "/", method="POST", body=iter([large, large])).json()["body"] == (large * 2).decode(
        "latin-1"
    )


def test_what_an_application_answers(server: Server) -> None:
    """Statuses that the front has pages of its own for, or uses itself, are the application's when it sends them."""
    server.site(
        "answers",
        """
        def application(environ, start_response):
            status = environ["QUERY_STRING"]
            headers = [("Content-Type", "text/plain"), ("X-Own", "1"), ("X-Hostel", "forged")]
            headers += [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
            start_response(status + " Own Reason", headers)
            return [b"the application says " + status.encode()]
        """,
    )
    wait_routed(server, "answers")
    for status in (200, 201, 400, 403, 404, 405, 413, 418, 421, 461, 462, 463, 464, 465, 466, 500, 502, 503, 504, 599):
        answer = server.get("answers", f"/?{status}")
        assert (answer.status, answer.text) == (status, f"the application says {status}")
        assert answer.headers["set-cookie"] == "a=1, b=2"
        assert answer.headers["x-own"] == "1"
        assert "x-hostel" not in answer.headers
        assert "retry-after" not in answer.headers
