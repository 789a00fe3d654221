"""Which site a request comes to, by its host name, and what the application is told of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.front.applications import ECHO, ECHO_ASGI, wait_routed
from tests.support.server import Server

DOMAINS = {
    "exact": ["exact.example", "a.wild.example", "plain", "app.sock", "under_score.example", "München.example."],
    "near": ["*.wild.example"],
    "nearer": ["*.b.wild.example"],
    "async": ["async.example", "*.async.example"],
}
TAKER = "taker"  # the site that takes every other name, on the second server


def respond(server: Server, *lines: bytes) -> tuple[int, dict[str, Any]]:
    """Send a request's head as it is; the status, and what the application saw, if one was asked."""
    answer = server.raw(b"\r\n".join((*lines, b"Connection: close", b"", b"")))
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    return status, json.loads(body) if b"application/json" in head else {"text": body.decode()}


def ask(server: Server, host: bytes, target: bytes = b"/") -> tuple[int, dict[str, Any]]:
    return respond(server, b"GET " + target + b" HTTP/1.1", b"Host: " + host)


def host_of(seen: dict[str, Any]) -> str:
    if isinstance(seen.get("headers"), list):
        (host,) = (value for name, value in seen["headers"] if name == "host")
        return str(host)
    return str(seen["HTTP_HOST"])


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    """One with sites of their own names only."""
    for name, domains in DOMAINS.items():
        front_server.site(name, ECHO_ASGI if name == "async" else ECHO, domains=domains, env={"SITE": name})
    wait_routed(front_server, *DOMAINS)
    return front_server


@pytest.fixture(scope="module")
def taker(server: Server) -> Iterator[Server]:
    """The same with a site that takes every other name."""
    file = server.site(TAKER, ECHO, domains=["*"])
    wait_routed(server, TAKER)
    yield server
    file.unlink()


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        (b"exact.example", "exact.example"),
        (b"exact.example:8000", "exact.example:8000"),
        (b"EXACT.Example:80", "exact.example:80"),
        (b"exact.example.", "exact.example"),
        (b"exact.example.:8080", "exact.example:8080"),
        (b"under_score.example", "under_score.example"),
        (b"plain", "plain"),
        (b"app.sock", "app.sock"),
        (b"xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        (b"exact.example:", "exact.example"),
    ],
)
def test_exact_name(server: Server, host: bytes, seen: str) -> None:
    status, environ = ask(server, host)
    assert (status, environ["HTTP_HOST"]) == (200, seen)
    assert environ["SERVER_NAME"] == environ["HTTP_HOST"].partition(":")[0]
    assert environ["HTTP_X_FORWARDED_HOST"] == environ["HTTP_HOST"]


@pytest.mark.parametrize(
    ("host", "site"),
    [
        (b"a.wild.example", "exact"),
        (b"b.wild.example", "near"),
        (b"x.a.wild.example", "near"),
        (b"v.w.x.y.z.wild.example", "near"),
        (b"x.b.wild.example", "nearer"),
        (b"x.y.b.wild.example", "nearer"),
        (b"X.Y.B.Wild.Example.:81", "nearer"),
        (b"sub.async.example", "async"),
    ],
)
def test_the_exact_name_wins_then_the_closest_wildcard(server: Server, host: bytes, site: str) -> None:
    status, seen = ask(server, host)
    assert (status, seen["SITE"]) == (200, site)
    assert host_of(seen) == host.decode().lower().replace(".:", ":")


@pytest.mark.parametrize(
    "host",
    [
        b"unknown.example",
        b"wild.example",  # the wildcard is for the names below it
        b"exact.example.org",
        b"example",
        b"u.v.w.x.y.z.wild.example",  # more labels than a wildcard stands for
        b"-",
        b"default",
        b"hosts",
        b"wild",
        b"*",
        b"sites",
        b"localhost",
        b"127.0.0.1",
        b"[::1]",
        b"[::1]:8000",
        b"[::ffff:127.0.0.1]",
        b"%65xact.example",
        b"exact%2eexample",
        b"exact.example%00",
        b"exact.example@evil.example",
        b"$hostel_at",
        b"a" * 300,
        (b"a" * 60 + b".") * 5 + b"unknown.example",
    ],
)
def test_unknown_names_get_a_page_that_says_nothing_of_sites(server: Server, host: bytes) -> None:
    status, seen = ask(server, host)
    if status == 400 and re.search(rb"[^\w.:\[\]-]", host):
        return  # a newer nginx refuses it by itself
    assert status == 404
    assert "not known" in seen["text"]
    assert not re.search("site|hostel|example", seen["text"])


@pytest.mark.parametrize(
    ("target", "host", "seen"),
    [
        (b"http://exact.example/", b"async.example", "exact.example"),
        (b"http://exact.example/", b"exact.example:8000", "exact.example:8000"),
        (b"http://exact.example:8000/", b"exact.example", "exact.example"),
        (b"http://exact.example:8000/", b"unknown.example:9000", "exact.example"),
        (b"http://EXACT.example./", b"EXACT.example.:8000", "exact.example:8000"),
        (b"http://async.example/", b"exact.example", "async.example"),
        (b"http://x.wild.example/", b"exact.example", "x.wild.example"),
        (b"http://unknown.example/", b"exact.example", None),
        (b"http://exact.example/", b"a/b", "exact.example"),
    ],
)
def test_the_target_counts_when_it_names_another_host(
    server: Server, target: bytes, host: bytes, seen: str | None
) -> None:
    status, environ = ask(server, host, target)
    if seen is None:
        assert status == 404
    elif status != 400:  # nginx may refuse what contradicts itself
        assert (status, host_of(environ)) == (200, seen)
    else:
        assert host == b"a/b"


def test_a_host_in_http_1_0(server: Server) -> None:
    status, seen = respond(server, b"GET / HTTP/1.0", b"Host: exact.example:81")
    assert (status, seen["HTTP_HOST"], seen["SERVER_PROTOCOL"]) == (200, "exact.example:81", "HTTP/1.0")


# From here on there is a site that takes every other name.


@pytest.mark.parametrize(
    "host",
    [
        b"", b" ", b".", b"..", b"...", b"exact..example", b"a/b", b"/", b"../sites/exact", b"exact.example/..",
        b"exact.example\\..", b"exact .example", b"exact.example\0", b"\0", b"exact.example\x01", b"exact.example\x7f",
        b"exact.example\tx",
    ],
)  # fmt: skip
def test_what_is_no_host_name_reaches_no_application(taker: Server, host: bytes) -> None:
    status, seen = ask(taker, host)
    assert status in (400, 404)
    assert "HTTP_HOST" not in seen


@pytest.mark.parametrize(
    ("host", "seen"),
    [
        (b"unknown.example", "unknown.example"),
        (b"Unknown.Example.:8000", "unknown.example:8000"),
        (b"127.0.0.1", "127.0.0.1"),
        (b"localhost:80", "localhost:80"),
        (b"[::1]", "[::1]"),
        (b"[::1]:8000", "[::1]:8000"),
        (b"[::FFFF:127.0.0.1]:8000", "[::ffff:127.0.0.1]:8000"),
        (b"_", "_"),
        (b"default", "default"),
        (b"a" * 300, "a" * 300),
        (b"(" , None), (b"-", None), (b"-a.example", None), (b"*.wild.example", None), (b"a%2fb", None),
        (b"a$b", None), (b"a;b", None), (b"a'b", None), (b'a"b', None), (b"a<b", None), (b"a@b", None), (b"\xe4.example", None),
        (b"[a", None), (b"[g::1]", None), (b"[::1%25eth0]", None),
    ],
)  # fmt: skip
def test_the_site_that_takes_every_name_sees_valid_names_only(taker: Server, host: bytes, seen: str | None) -> None:
    status, environ = ask(taker, host)
    assert environ.get("HTTP_HOST") == seen
    assert status == 200 if seen else status in (400, 404)


@pytest.mark.parametrize("port", [b"8a", b"a", b"123456", b"-1", b"8000:8000", b"8000/", b" 8000", b"%38"])
def test_what_is_no_port_is_not_passed_on(taker: Server, port: bytes) -> None:
    status, environ = ask(taker, b"a.example:" + port)
    assert (status, environ.get("HTTP_HOST")) in ((200, "a.example"), (400, None))


def test_own_names_are_not_taken_by_the_one_that_takes_every_name(taker: Server) -> None:
    for host, site in ((b"exact.example", "exact"), (b"x.b.wild.example", "nearer"), (b"async.example", "async")):
        assert ask(taker, host)[1]["SITE"] == site


def test_two_host_headers_are_refused(taker: Server) -> None:
    for second in (b"exact.example", b"async.example", b""):
        status, seen = respond(taker, b"GET / HTTP/1.1", b"Host: exact.example", b"Host: " + second)
        assert (status, "HTTP_HOST" in seen) == (400, False)


def test_no_host_header(taker: Server) -> None:
    assert respond(taker, b"GET / HTTP/1.1")[0] == 400
    status, seen = respond(taker, b"GET / HTTP/1.0")
    assert (status, "HTTP_HOST" in seen) == (404, False)
