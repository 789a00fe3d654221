"""HTTPS: the certificate for each name, what a site is told, and what becomes of pairs that change or are no good."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from tests.conftest import _end
from tests.front.applications import ECHO, ECHO_ASGI, says, wait_routed, within_a_second
from tests.front.test_routes import front_pids
from tests.support.certificates import Shaken, ask_http2, make_pair, shake, write_pair
from tests.support.server import DEADLINE, ORDINARY_USER, Server, free_port, make_folder, nginx_binaries, wait_for

pytestmark = pytest.mark.server
OWN, SHARED, WILD, DEFAULT = 101, 102, 103, 104  # serials
WEBSOCKET = """
    async def application(scope, receive, send):
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["scheme"] + " " + scope["path"] + " " + scope["root_path"]})
        await receive()
"""


class SafeServer(Server):
    """One that takes HTTPS at ``tls_port``, and has a folder of certificates."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tls_port = free_port()
        self.certificates = self.folder / "certificates"
        self.certificates.mkdir()
        self.arguments = ("--listen-tls", str(self.tls_port), "--certificates", str(self.certificates))

    @property
    def authority(self) -> str:
        return str(self.state_dir / "tls" / "localhost-ca.pem")

    def shake(self, name: str | None, **more: object) -> Shaken:
        return shake(self.tls_port, name, **more)  # type: ignore[arg-type]

    def serial(self, name: str | None) -> int:
        """The serial number of the certificate for a name; 0 when there is none."""
        try:
            return self.shake(name, host="any").serial
        except ssl.SSLError:
            return 0


@pytest.fixture(scope="module", params=sorted(nginx_binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[SafeServer]:
    server = SafeServer(make_folder(), nginx=nginx_binaries()[request.param])
    write_pair(
        server.certificates / "live/fullchain.pem",
        server.certificates / "live/privkey.pem",
        "shared.example",
        serial=SHARED,
    )
    write_pair(server.certificates / "wild.crt", server.certificates / "wild.key", "*.wild.example", serial=WILD)
    write_pair(
        server.folder / "tls/own.pem", server.folder / "tls/own.key", "own.example", "www.own.example", serial=OWN
    )
    (server.folder / "tls/own.key").chmod(0o644)
    tls = {"certificate": "../tls/own.pem", "key": "../tls/own.key"}
    server.site("own", ECHO, domains=["own.example", "www.own.example", "own.localhost"], tls=tls)
    server.site("shared", ECHO_ASGI, domains=["shared.example", "x.wild.example", "shared.localhost"])
    server.site("wild", ECHO, domains=["*.wild.example", "bare.example"])
    server.site(
        "safe", ECHO, tls={"redirect": True, "hsts": "365d"}, static={"/static/": "files"}, mount={"/other": "own"}
    )
    server.site("below", says("below"), tls={"redirect": True, "hsts": 60, "hsts_subdomains": True})
    server.site("docs", static={"/": "."}, tls={"hsts": "365d"})
    server.write("safe/files/name.txt", "a file")
    try:
        server.start()
        yield server
    finally:
        _end([server])


def test_each_name_has_its_certificate(server: SafeServer) -> None:
    wait_for(lambda: all(map(server.serial, ("own.example", "shared.example", "x.wild.example"))), "the certificates")
    found = {
        name: server.serial(name)
        for name in ("own.example", "www.own.example", "shared.example", "x.wild.example", "y.wild.example", "bare.example",
                     "z.y.wild.example", "wild.example", "unknown.example", "a..b", "-none", "pairs",
                     "own.example/", "a/../own.example", "a/../../wild/wild.example")
    }  # fmt: skip
    assert {name: serial for name, serial in found.items() if serial} == {
        "own.example": OWN, "www.own.example": OWN, "shared.example": SHARED, "x.wild.example": WILD, "y.wild.example": WILD,
    }  # fmt: skip
    # Names that nobody has are no trouble of ours.
    assert "realpath" not in (server.log_dir / "front.log").read_text()


def test_names_of_this_machine_have_one_of_our_own(server: SafeServer) -> None:
    for name in ("own.localhost", "shared.localhost", "safe.localhost"):
        found = server.shake(name, authority=server.authority)
        assert found.status == 200
    assert server.shake(None, host="own.localhost").status == 200  # by address, as the server listens here alone
    with pytest.raises(ssl.SSLCertVerificationError):
        server.shake("own.example", authority=server.authority)


def test_what_a_site_is_told(server: SafeServer) -> None:
    port = server.tls_port
    seen = json.loads(server.shake("own.example", host=f"own.example:{port}", target="/a?b").body)
    assert (seen["wsgi.url_scheme"], seen["HTTPS"], seen["HTTP_X_FORWARDED_PROTO"]) == ("https", "on", "https")
    assert (seen["HTTP_HOST"], seen["SERVER_PORT"], seen["PATH_INFO"]) == (f"own.example:{port}", str(port), "/a")
    seen = json.loads(server.shake("shared.example").body)
    assert (seen["scheme"], dict(seen["headers"])["x-forwarded-proto"]) == ("https", "https")
    answer = server.get("own.localhost")
    assert (answer.json()["wsgi.url_scheme"], "HTTPS" in answer.json()) == ("http", False)


def test_http_2(server: SafeServer) -> None:
    assert server.shake("own.example", protocols=("h2", "http/1.1")).protocol == "h2"
    answer = subprocess.run(
        ["curl", "-sk", "--http2", "--connect-to", f"::127.0.0.1:{server.tls_port}", "-w", "\n%{http_version}",
         "--data-binary", "x" * 100_000, "https://own.example/"], check=True, capture_output=True, text=True,
    )  # fmt: skip
    body, version = answer.stdout.split("\n")
    seen = json.loads(body)
    assert (version, seen["SERVER_PROTOCOL"], seen["HTTP_HOST"]) == ("2", "HTTP/2.0", "own.example")
    assert len(seen["body"]) == 100_000


def test_a_websocket(server: SafeServer) -> None:
    server.site("socket", WEBSOCKET)
    wait_for(lambda: server.serial("socket.localhost"), "its certificate")
    context = ssl.create_default_context(cafile=server.authority)
    with (
        socket.create_connection(("127.0.0.1", server.tls_port), timeout=DEADLINE) as plain,
        context.wrap_socket(plain, server_hostname="socket.localhost") as sock,
        connect(f"ws://socket.localhost:{server.tls_port}/a", sock=sock) as websocket,
    ):
        assert websocket.recv() == "wss /a "


def test_old_versions_are_refused(server: SafeServer) -> None:
    assert server.shake("own.example").version == "TLSv1.3"
    assert server.shake("own.example", newest=ssl.TLSVersion.TLSv1_2).version == "TLSv1.2"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        server.shake("own.example", newest=ssl.TLSVersion.TLSv1_1)


@pytest.mark.parametrize(
    ("name", "host", "status"),
    [
        ("own.example", "own.example", 200),
        ("own.example", "OWN.example.:8443", 200),
        ("own.example", "www.own.example", 421),
        ("own.example", "shared.example", 421),
        ("own.example", "unknown.example", 421),
        ("own.example", "own.example.org", 421),
        ("own.example", "wn.example", 421),
        ("y.wild.example", "y.wild.example", 200),
        ("y.wild.example", "x.wild.example", 421),
        (None, "own.example", 200),
        (None, "unknown.example", 421),
        (None, "-", 421),
    ],
)
def test_a_request_for_another_name_than_that_of_the_handshake(
    server: SafeServer, name: str | None, host: str, status: int
) -> None:
    before = (server.log_dir / "front.log").read_text()
    answer = server.shake(name, host=host)
    assert answer.status == status
    if status == 421:
        assert "not known" in answer.body
    assert (server.log_dir / "front.log").read_text() == before


def test_several_names_over_one_connection_of_http_2(server: SafeServer) -> None:
    """A browser shares a connection among names that a certificate covers; each answer says which site gave it, if any."""

    def request(*headers: tuple[str, str]) -> list[tuple[str, str]]:
        return [(":method", "GET"), (":scheme", "https"), (":path", "/"), *headers]

    own, other, twice, host, none, odd = ask_http2(
        server.tls_port, "own.example",
        request((":authority", "own.example:8443")), request((":authority", "www.own.example")),
        request((":authority", "own.example"), ("host", "shared.example")), request(("host", "own.example")),
        request((":authority", "unknown.example")), request((":authority", "own.example/../shared.example")),
    )  # fmt: skip
    assert json.loads(own)["HTTP_HOST"] == "own.example:8443"
    for answer in (other, none):
        assert "not known on this connection" in answer
    assert json.loads(host)["HTTP_HOST"] == "own.example"
    for answer in (twice, odd):
        assert not answer or "400 Bad Request" in answer or json.loads(answer)["HTTP_HOST"] == "own.example"


def test_only_the_front_can_read_keys(server: SafeServer) -> None:
    keys = list((server.run_dir / "tls/pairs").glob("*/key.pem"))
    assert keys
    for key in keys:
        assert key.stat().st_mode & 0o007 == 0
    assert (server.state_dir / "tls/localhost-ca.key").stat().st_mode & 0o077 == 0
    if os.geteuid() == 0:
        command = ["su", "-s", "/bin/sh", ORDINARY_USER, "-c", f"cat {keys[0]} {server.state_dir}/tls/localhost-ca.key"]
        assert subprocess.run(command, capture_output=True, check=False).stdout == b""


# --- change ---------------------------------------------------------------------------------------------------------


def test_a_pair_is_replaced_without_a_reload(server: SafeServer) -> None:
    assert server.get("own.localhost").status == 200
    pids = front_pids(server)
    certificate, key = server.folder / "tls/turn.pem", server.folder / "tls/turn.key"

    def put(*names: str, **more: float) -> None:
        write_pair(certificate, key, *names, **more)  # type: ignore[arg-type]
        key.chmod(0o644)

    put("turn.example", serial=1)
    server.site("turn", ECHO, domains=["turn.example"], tls={"certificate": str(certificate), "key": str(key)})
    within_a_second(lambda: server.serial("turn.example") == 1, "the first certificate")
    put("turn.example", serial=2)
    within_a_second(lambda: server.serial("turn.example") == 2, "the second certificate")
    for name, broken in (("turn.key", make_pair("x")[1]), ("turn.pem", b"nothing")):
        good = (server.folder / "tls" / name).read_bytes()
        (server.folder / "tls" / name).write_bytes(broken)
        wait_for(lambda: server.view("turn")["problems"], "the problem to be told")
        (problem,) = server.view("turn")["problems"]
        assert problem["where"] in ("tls.key", "tls.certificate")
        assert ("does not belong" if name == "turn.key" else "no certificate") in problem["reason"]
        assert (problem["hint"] != "", problem["is_fatal"]) == (True, False)
        check = server.run("check", str(server.sites / "turn.toml"), check=False)
        assert (check.returncode, problem["reason"][:40] in check.stdout) == (1, True), check.stdout
        assert server.serial("turn.example") == 2  # the last that was good
        (server.folder / "tls" / name).write_bytes(good)
        wait_for(lambda: not server.view("turn")["problems"], "the problem to be gone")
    put("turn.example", serial=3, days=-1)
    wait_for(lambda: server.view("turn")["problems"], "the problem to be told")
    assert "has expired on" in server.view("turn")["problems"][0]["reason"]
    put("another.example", serial=4)
    wait_for(lambda: "no certificate for turn.example" in str(server.view("turn")["problems"]), "another problem")
    assert server.serial("turn.example") == 0
    write_pair(server.certificates / "turn.pem", server.certificates / "turn.key", "turn.example", serial=5)
    within_a_second(lambda: server.serial("turn.example") == 5, "the one in the server's folder")
    (server.sites / "turn.toml").unlink()
    within_a_second(lambda: server.serial("turn.example") == 0, "the certificate to go")
    assert front_pids(server) == pids


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there is one user")
def test_a_tenant_names_no_key_that_he_cannot_read(server: SafeServer) -> None:
    certificate, key = server.folder / "tls/secret.pem", server.folder / "tls/secret.key"
    write_pair(certificate, key, "secret.example")
    key.chmod(0o600)
    server.site(
        "secret",
        ECHO,
        domains=["secret.example"],
        user=ORDINARY_USER,
        tls={"certificate": str(certificate), "key": str(key)},
    )
    wait_for(lambda: server.view("secret").get("problems"), "the problem to be told")
    assert server.view("secret")["problems"][0]["reason"] == f"cannot read {key}: Permission denied"
    assert server.serial("secret.example") == 0
    check = server.run("check", str(server.sites / "secret.toml"), check=False)
    assert f"cannot read {key}: Permission denied" in check.stdout
    shutil.chown(key, ORDINARY_USER)
    within_a_second(lambda: server.serial("secret.example") == 1, "the certificate")
    os.unlink(key)
    os.mkfifo(key, 0o644)
    wait_for(lambda: "not a regular file" in str(server.view("secret")["problems"]), "another problem")
    (server.sites / "secret.toml").unlink()


def test_a_pair_outlives_the_manager(server: SafeServer) -> None:
    """Handshakes go on without a manager; the next one leaves what is there where the files are no good any more."""
    certificate, key = server.folder / "tls/last.pem", server.folder / "tls/last.key"
    write_pair(certificate, key, "last.example", serial=7)
    key.chmod(0o644)
    server.site("last", ECHO, domains=["last.example"], tls={"certificate": str(certificate), "key": str(key)})
    within_a_second(lambda: server.serial("last.example") == 7, "the certificate")
    key.write_text("nothing")
    wait_for(lambda: server.view("last")["problems"], "the problem to be told")
    before = server.status()["server"]["manager"]
    os.kill(before, signal.SIGKILL)
    assert server.serial("last.example") == 7
    wait_for(lambda: server.is_answering() and server.status()["server"]["manager"] != before, "another manager")
    wait_for(lambda: server.view("last")["problems"], "the problem to be told again")
    assert server.serial("last.example") == 7
    assert server.shake("own.localhost", authority=server.authority).status == 200
    (server.sites / "last.toml").unlink()
    within_a_second(lambda: server.serial("last.example") == 0, "the certificate to go")


# --- HTTPS only -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "status", "there"),
    [
        ("GET", "/", 301, "/"),
        ("HEAD", "/a%20b//c?d=e&f", 301, "/a%20b//c?d=e&f"),
        ("GET", "//evil.example/", 301, "//evil.example/"),
        ("GET", "/static/name.txt", 301, "/static/name.txt"),
        ("GET", "/other/x", 301, "/other/x"),
        ("POST", "/form", 308, "/form"),
        ("GET", "http://safe.localhost/a", 301, "/a"),
    ],
)
def test_who_comes_by_http_is_led_to_https(
    server: SafeServer, method: str, target: str, status: int, there: str
) -> None:
    answer = server.get("safe", target, method=method, body=b"x" if method == "POST" else None)
    assert (answer.status, answer.headers["location"]) == (status, f"https://safe.localhost:{server.tls_port}{there}")
    assert "strict-transport-security" not in answer.headers


def test_a_site_for_https_only_by_https(server: SafeServer) -> None:
    for target, says_what in (
        ("/", '"https"'),
        ("/static/name.txt", "a file"),
        ("/other/x", '"SCRIPT_NAME": "/other"'),
    ):
        answer = server.shake("safe.localhost", target=target)
        assert (answer.status, answer.header("Strict-Transport-Security")) == (200, "max-age=31536000"), target
        assert says_what in answer.body
    missing = server.shake("docs.localhost", target="/missing")
    assert (missing.status, missing.header("Strict-Transport-Security")) == (404, "max-age=31536000")
    answer = server.shake("below.localhost")
    assert answer.header("Strict-Transport-Security") == "max-age=60; includeSubDomains"
    assert server.shake("own.localhost").header("Strict-Transport-Security") is None
    wait_for(
        lambda: (
            '"GET /redirected HTTP' in server.log("safe", "access.log")
            or server.get("safe", "/redirected").status != 301
        ),
        "the log",
    )


def test_a_redirect_comes_and_goes(server: SafeServer) -> None:
    for tls, status in (
        ({}, 200),
        ({"redirect": True}, 301),
        ({"hsts": "1d"}, 200),
        ({"redirect": True}, 301),
        ({}, 200),
    ):
        server.site("turning", ECHO, tls=tls, mount={"/own": "own"} if "hsts" in tls else {})
        within_a_second(lambda status=status: server.get("turning").status == status, f"{tls}")  # type: ignore[misc]
        wait_for(lambda: server.serial("turning.localhost"), "its certificate")
        assert server.shake("turning.localhost").header("Strict-Transport-Security") == (
            "max-age=86400" if "hsts" in tls else None
        )


def test_a_redirect_without_a_certificate_is_told(server: SafeServer) -> None:
    server.site("naked", ECHO, domains=["naked.example"], tls={"redirect": True})
    wait_for(lambda: server.view("naked").get("problems"), "the problem to be told")
    assert server.view("naked")["problems"][0]["reason"] == "there is no certificate for naked.example"
    (server.sites / "naked.toml").unlink()


def test_the_place_of_proofs_for_certificates(server: SafeServer) -> None:
    path = "/.well-known/acme-challenge/token-1"
    place = server.run_dir / "acme" / path[1:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("token-1.proof")
    for host in ("safe.localhost", "own.example", "unknown.example"):
        answer = server.get(host, path)
        assert (answer.status, answer.text, answer.headers["content-type"]) == (200, "token-1.proof", "text/plain")
    place.unlink()
    assert server.get("unknown.example", path).status == 404
    assert server.get("own.localhost", path).json()["PATH_INFO"] == path  # what is not there may be the site's
    assert server.get("safe", path).status == 301
    place.symlink_to("/etc/hostname")
    assert server.get("unknown.example", path).status in (403, 404)
    place.unlink()


def test_a_status_says_where_a_site_is_by_https(server: SafeServer) -> None:
    wait_routed(server, "own", "safe")
    port = server.tls_port
    assert server.view("own")["urls"][-3:] == [
        f"https://{name}:{port}/" for name in ("own.example", "www.own.example", "own.localhost")
    ]
    assert server.view("safe")["urls"][0] == f"https://safe.localhost:{port}/"
    assert server.status()["server"]["listen_tls"] == [f"127.0.0.1:{port}"]


def test_the_cache_keeps_schemes_apart(server: SafeServer) -> None:
    """And what comes as the body of a GET, which HTTP/2 need not announce, has no part in an answer that is kept."""
    code = """
    def application(environ, start_response):
        start_response("200 OK", [("Cache-Control", "max-age=600")])
        return [environ["wsgi.url_scheme"].encode() + b" " + environ["wsgi.input"].read()]
    """
    server.site("kept", code, cache={"on": True}, tls={"hsts": "365d"})
    wait_for(lambda: server.get("kept").headers.get("x-cache"), "the cache")
    wait_for(lambda: server.serial("kept.localhost"), "the certificate")
    command = ["curl", "-sk", "--http2", "--connect-to", f"::127.0.0.1:{server.tls_port}", "-X", "GET", "-T", "-", "-i"]
    answer = subprocess.run(
        [*command, "https://kept.localhost/"], check=True, capture_output=True, text=True, input="x" * 1000
    )
    assert "x-cache: MISS" in answer.stdout
    assert answer.stdout.endswith("\n\nhttps ")
    safe = server.shake("kept.localhost")
    assert (safe.header("X-Cache"), safe.body) == ("HIT", "https ")
    assert safe.header("Strict-Transport-Security") == "max-age=31536000"
    assert server.get("kept").text == "http "
