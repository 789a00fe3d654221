"""Which host, which client and which scheme an application is told, whatever the client says of them (rules 17 and 18)."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from tests.hostile.clients.witness import KINDS, add_witnesses, exchange, replies, request, seen
from tests.support.server import Server

EVIL = "evil.example"


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    return add_witnesses(front_server)


# --- rule 17: Host ---------------------------------------------------------------------------------------------------------

# What stands for the host, in the line of that name and in the target. ``@`` is the site's own name.
HOSTS = [
    b"@", b"@.", b"@:", b"@:80", b"@:65536", b"@:99999999999999999999", b"@:-1", b"@:0x50", b"@:80:80", b"@.:80", b"@..",
    b"@:evil.example", b"@@evil.example", b"@@@", b"user:password@@", b"evil.example@@", b"@/evil.example", b"@\\evil.example",
    b"@#evil.example", b"@?evil.example", b"@,evil.example", b"@;evil.example", b"@ evil.example", b"@\tevil.example",
    b"@%00evil.example", b"@%0d%0aX-Evil:1", b"%40", b"@\0", b"@\0.evil.example", b"@\x01", b"@\x7f", b"@\xff", b"@\xc2\xad",
    b"\xef\xbc\xb7sgi.localhost", b"evil.example", b"evil_name.example", b".@", b"-", b"_", b"*", b"", b" ", b".", b"..",
    b"[::1]",
    b"[::1]:80", b"[::ffff:127.0.0.1]", b"[@]", b"[::1%25lo]", b"[", b"]", b"127.0.0.1", b"2130706433", b"0x7f.1", b"localhost",
    b"a" * 300, b"a" * 300 + b".@", b"a." * 130 + b"@", b"$host", b"${hostel_at}", b"../@", b"@/../evil", b"hosts", b"http://@/",
    b'"@"', b"'@'", b"<@>", b"{@}", b"xn--", b"xn--a.@",
]  # fmt: skip
HOSTS += [b"@".upper()]


def check(server: Server, data: bytes, kind: str) -> list[dict[str, Any]]:
    """Send it; whatever an application was asked, it was told a name of its own, and the same name everywhere."""
    answers = replies(exchange(server, data.replace(b"@", b"%s.localhost" % kind.encode())))
    found = []
    for name in KINDS:
        for each in seen(server, name):
            found.append(each)
            assert re.fullmatch(rf"{name}\.localhost(:[0-9]{{1,5}})?", each["HTTP_HOST"]), (data, each["HTTP_HOST"])
            assert each["HTTP_X_FORWARDED_HOST"] == each["HTTP_HOST"]
            assert each.get("SERVER_NAME", f"{name}.localhost") == f"{name}.localhost"
            assert EVIL not in "".join(value for key, value in each.items() if key not in ("REQUEST_URI", "PATH_INFO"))
    assert len(found) <= 1
    for answer in answers:
        assert answer.status in (0, 200, 400, 404, 405, 414), (data, answer)
        assert (answer.status == 200) == (len(found) == 1) or not answer.status
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_in_every_wrong_form(server: Server, kind: str) -> None:
    for host in HOSTS:
        for version in (b"1.1", b"1.0"):
            check(server, b"GET / HTTP/%s\r\nHost: %s\r\nConnection: close\r\n\r\n" % (version, host), kind)
    upper = b"GET / HTTP/1.1\r\nHost: %s.LOCALHOST:81\r\nConnection: close\r\n\r\n" % kind.upper().encode()
    assert [each["HTTP_HOST"] for each in check(server, upper, kind)] == [f"{kind}.localhost:81"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_in_the_target_against_one_in_the_head(server: Server, kind: str) -> None:
    """The name is that of the site that runs, whichever of the two it came from; they never differ in what is told."""
    for target in (b"http://@/", b"http://@:81/", b"http://@.", b"https://@/", b"HTTP://@/", b"http://evil.example/",
                   b"http://user@@/", b"http://@?x", b"http:///", b"http://", b"ftp://@/", b"//evil.example/", b"/\\evil.example",
                   b"evil.example:80", b"*"):  # fmt: skip
        for host in (b"@", b"@:82", b"evil.example", b"", b"a/b", b"localhost"):
            check(server, b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, host), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_twice_none_or_folded(server: Server, kind: str) -> None:
    lines = [b"Host: @", b"Host: evil.example", b"Host:@", b"host: @", b"Host : evil.example", b"Host:", b" Host: evil.example",
             b"X-Own: a\r\n Host: evil.example", b"Host: @\r\n .evil.example", b"X-Forwarded-Host: evil.example",
             b"Host\0: evil.example", b"HOST: evil.example", b"Ho st: evil.example"]  # fmt: skip
    for pair in itertools.product(lines, repeat=2):
        data = b"GET / HTTP/1.1\r\n" + b"\r\n".join(pair) + b"\r\nConnection: close\r\n\r\n"
        hosts = sum(line.lower().startswith(b"host:") for line in pair)
        found = check(server, data, kind)
        assert not found or hosts == 1, pair


# --- rule 18: forwarding -----------------------------------------------------------------------------------------------------

CLAIMS = [
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server",
    "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-By", "X-Forwarded-User", "X-Forwarded-Anything", "X-Forwarded",
    "Forwarded", "Forwarded-For", "X-Real-IP", "X-Client-IP", "X-Original-URL", "X-Rewrite-URL", "X-Original-Host", "X-Host",
    "X-Request-ID", "X-Request-Start", "X-Scheme", "X-Script-Name", "Script-Name", "Path-Info", "Remote-Addr", "Remote-User",
    "Proxy", "Proxy-Connection", "Front-End-Https", "X-URL-Scheme", "True-Client-IP", "CF-Connecting-IP", "X-Hostel",
    "X-Hostel-Mount", "X-Hostel-Keep", "X-Accel-Redirect", "X-Sendfile", "Via", "Upgrade", "Keep-Alive", "TE", "Trailer",
    "Transfer-Encoding-X", "HTTPS", "Server-Name", "Wsgi-Input", "UWSGI-FILE",
]  # fmt: skip
# Which of them reach an application as any other header does: they mean nothing to Hostel, nor by themselves to frameworks.
PASSED = {
    "X-Client-IP", "X-Original-URL", "X-Rewrite-URL", "X-Original-Host", "X-Host", "X-Scheme", "X-Script-Name", "Script-Name",
    "Path-Info", "Remote-Addr", "Remote-User", "Front-End-Https", "X-URL-Scheme", "True-Client-IP", "CF-Connecting-IP",
    "X-Accel-Redirect", "X-Sendfile", "Via", "Transfer-Encoding-X", "HTTPS", "Server-Name", "Wsgi-Input", "UWSGI-FILE",
    "Forwarded-For", "X-Forwarded", "X-Hostel",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_claims_about_who_forwards(server: Server, kind: str) -> None:
    lines = [f"{name}: {EVIL}-{number}".encode() for number, name in enumerate(CLAIMS)]
    assert replies(exchange(server, request(kind, b"GET / HTTP/1.1", *lines)))[0].status == 200
    (found,) = seen(server)
    arrived = {key for key, value in found.items() if EVIL in value}
    assert arrived <= {f"HTTP_{name.upper().replace('-', '_')}" for name in PASSED}
    assert (found["REMOTE_ADDR"], found["HTTP_X_FORWARDED_FOR"]) == ("127.0.0.1", "127.0.0.1")
    assert (found["wsgi.url_scheme"], found["HTTP_X_FORWARDED_PROTO"]) == ("http", "http")
    assert re.fullmatch("[0-9a-f]{32}", found["HTTP_X_REQUEST_ID"])
    assert re.fullmatch(r"t=[0-9]+\.[0-9]{3}", found["HTTP_X_REQUEST_START"])
    assert found.get("SCRIPT_NAME", "") == "" and "HTTPS" not in found and "REMOTE_USER" not in found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("joint", [b"_", b".", b" ", b"\xad", b"~", b"\xe2\x80\x90", b"+", b"-\0", b"--"], ids=ascii)
def test_names_that_could_become_others(server: Server, kind: str, joint: bytes) -> None:
    """In CGI's words a hyphen and an underscore are the same: of two lines the second could replace what the front has said."""
    for name in (b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Request-Id", b"Content-Length", b"Content-Type", b"Remote-User",
                 b"X-Hostel-Keep", b"X-Request-Start"):  # fmt: skip
        for data in (name.replace(b"-", joint), name.replace(b"-", joint, 1), name.upper().replace(b"-", joint)):
            answers = replies(exchange(server, request(kind, b"GET / HTTP/1.1", data + b": 17")))
            found = seen(server)
            assert [each.status for each in answers] == [200 if found else 400]
            for each in found:
                own = f"HTTP_{name.decode().upper().replace('-', '_')}"
                assert "17" not in (each.get(own), each.get(own[5:])), data
                assert "twice" not in each or each["twice"] == ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_many_times(server: Server, kind: str) -> None:
    """Each line is a claim: none of them comes through because there are others."""
    lines = [
        b"%s: 6.6.6.%d" % (name, number)
        for number in range(30)
        for name in (b"X-Forwarded-For", b"x-real-ip", b"FORWARDED")
    ]
    assert (
        replies(exchange(server, request(kind, b"GET / HTTP/1.1", *lines, b"X-Own: 1", b"x-own: 2")))[0].status == 200
    )
    (found,) = seen(server)
    assert "6.6.6" not in str(found)
    assert found["HTTP_X_OWN"] in ("1, 2", "2")  # of an ASGI scope, where they are two, the witness has the last
    for name in (b"Content-Type", b"Authorization", b"User-Agent", b"Cookie", b"If-Modified-Since"):
        answers = replies(exchange(server, request(kind, b"GET / HTTP/1.1", name + b": first", name + b": second")))
        found_again = seen(server)
        assert [each.status for each in answers] == [200 if found_again else 400], name


def test_a_proxy_never_becomes_the_environments(server: Server) -> None:
    """httpoxy: what a client says of a proxy is not the variable that programs take their proxy from."""
    for name in (b"Proxy", b"PROXY", b"proxy", b"Http-Proxy", b"Https-Proxy", b"All-Proxy"):
        replies(exchange(server, request("wsgi", b"GET / HTTP/1.1", name + b": http://evil.example")))
        for found in seen(server):
            assert not {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} & set(found)
