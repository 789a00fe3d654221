"""A proxy in front of this server: believed when it is named, and nobody else is. Without root, which is another way to run."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.conftest import _end
from tests.front.applications import ECHO, ECHO_ASGI, wait_routed
from tests.front.test_tls import SafeServer
from tests.support.server import ORDINARY_USER, make_folder, nginx_binaries

SAFE = {"X-Forwarded-Proto": "https"}


@pytest.fixture(scope="module", params=sorted(nginx_binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[SafeServer]:
    server = SafeServer(make_folder(), user=ORDINARY_USER, nginx=nginx_binaries()[request.param])
    server.arguments += ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "10.0.0.0/8")
    server.site("wsgi", ECHO, domains=["wsgi.localhost", "shop.example"])
    server.site("asgi", ECHO_ASGI)
    server.site("safe", ECHO, tls={"redirect": True})
    try:
        server.start()
        wait_routed(server, "wsgi", "asgi", "safe")
        yield server
    finally:
        _end([server])


@pytest.mark.parametrize(
    ("told", "client"),
    [
        ("9.9.9.9", "9.9.9.9"),
        ("8.8.8.8, 9.9.9.9, 10.1.2.3", "9.9.9.9"),  # the last that is not of ours
        ("2001:db8::1", "2001:db8::1"),
        ("nonsense", "127.0.0.1"),
    ],
)
def test_the_client(server: SafeServer, told: str, client: str) -> None:
    seen = server.get("wsgi", headers={"X-Forwarded-For": told}).json()
    assert (seen["REMOTE_ADDR"], seen["HTTP_X_FORWARDED_FOR"]) == (client, client)
    seen = server.get("asgi", headers={"X-Forwarded-For": told}).json()
    assert (seen["client"][0], dict(seen["headers"])["x-forwarded-for"]) == (client, client)


@pytest.mark.parametrize(
    ("told", "scheme"), [("https", "https"), ("http, HTTPS", "https"), ("https, http", "http"), ("gopher", "http")]
)
def test_the_scheme(server: SafeServer, told: str, scheme: str) -> None:
    seen = server.get("wsgi", headers={"X-Forwarded-Proto": told}).json()
    assert (seen["wsgi.url_scheme"], seen["HTTP_X_FORWARDED_PROTO"]) == (scheme, scheme)
    assert server.get("asgi", headers={"X-Forwarded-Proto": told}).json()["scheme"] == scheme


def test_a_site_for_https_only_behind_a_proxy_that_ends_it(server: SafeServer) -> None:
    answer = server.get("safe", "/a")
    assert (answer.status, answer.headers["location"]) == (301, f"https://safe.localhost:{server.tls_port}/a")
    answer = server.get("safe", "/a", headers=SAFE)
    assert (answer.status, answer.json()["wsgi.url_scheme"]) == (200, "https")


@pytest.mark.parametrize(
    ("told", "seen"),
    [
        ("shop.example", "shop.example"),
        ("shop.example:8443", "shop.example:8443"),
        ("a/b", "wsgi.localhost"),
        ("shop.example, other", "wsgi.localhost"),
        ("../sites/wsgi", "wsgi.localhost"),
    ],
)
def test_the_name(server: SafeServer, told: str, seen: str) -> None:
    answer = server.get("wsgi", headers={"X-Forwarded-Host": told, "Host": "wsgi.localhost"})
    assert (answer.status, answer.json()["HTTP_HOST"]) == (200, seen)


def test_a_name_that_no_site_has(server: SafeServer) -> None:
    assert server.get("wsgi", headers={"X-Forwarded-Host": "unknown.example"}).status == 404


def test_https_without_root(server: SafeServer) -> None:
    found = server.shake("wsgi.localhost", authority=server.authority)
    assert (found.status, json.loads(found.body)["wsgi.url_scheme"]) == (200, "https")
    assert server.run_dir.stat().st_mode & 0o077 == 0
