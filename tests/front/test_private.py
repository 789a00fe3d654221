"""X-Accel-Redirect and X-Sendfile: files that nobody can ask for, sent by the front at an application's word; and no others."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from hostel.worker import sendfile
from tests.front.applications import says, wait_routed
from tests.support.server import Answer, Server, make_folder, wait_for

SENDS = """
    from urllib.parse import unquote

    def application(environ, start_response):
        header, _, target = environ["QUERY_STRING"].partition("=")
        if not header:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"the application"]
        headers = [
            ("Content-Type", "application/x-special"), ("Content-Disposition", 'attachment; filename="a.bin"'),
            ("Set-Cookie", "seen=1"), ("Set-Cookie", "twice=2"), ("Cache-Control", "private, max-age=5"),
            ("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "sandbox"), ("ETag", '"mine"'),
            (header, unquote(target)),
        ]
        if environ["PATH_INFO"] == "/plain":
            headers = headers[-1:]
        start_response("200 OK", headers)
        return [b"the application"]
"""
SENDS_ASGI = """
    from urllib.parse import unquote

    async def application(scope, receive, send):
        assert scope["type"] == "http"
        header, _, target = scope["query_string"].partition(b"=")
        headers = [
            (b"content-type", b"application/x-special"), (b"content-disposition", b'attachment; filename="a.bin"'),
            (b"set-cookie", b"seen=1"), (b"set-cookie", b"twice=2"), (b"cache-control", b"private, max-age=5"),
            (b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"sandbox"), (b"etag", b'"mine"'),
            (header.lower() or b"x-none", unquote(target.decode()).encode()),
        ]
        if scope["path"] == "/plain":
            headers = headers[-1:]
        if scope["path"] == "/length":
            headers.append((b"content-length", b"10"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"the application" if scope["path"] != "/length" else b""})
"""
KINDS = ("wsgi", "asgi")
LARGE = 8_000_000


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    for name, code in (("wsgi", SENDS), ("asgi", SENDS_ASGI)):
        for file, text in {
            "media/a.txt": "0123456789", "media/deep/b c?d%.html": "odd", "media/\xe4.txt": "umlaut", "public/shown.txt": "shown",
            "secret.txt": "a secret", "media-too/c.txt": "a secret",
        }.items():  # fmt: skip
            front_server.write(f"{name}/{file}", text)
        (front_server.projects / name / "media/large.bin").write_bytes(b"x" * LARGE)
        front_server.site(
            name, code, static={"/static/": "public"}, private={"/paid/": "media", "/one/two/file": "media/a.txt"},
            workers={"min": 1, "max": 1},
        )  # fmt: skip
    front_server.write("other/media/theirs.txt", "another's")
    front_server.site("other", says("other"), private={"/paid/": "media"}, static={"/static/": "media"})
    wait_routed(front_server, *KINDS, "other")
    return front_server


def send(server: Server, kind: str, header: str, target: str, path: str = "/", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.get(kind, f"{path}?{header}={quote(target)}", headers=named)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("header", ["X-Accel-Redirect", "X-Sendfile"])
def test_a_file_and_what_the_application_says_of_it(server: Server, kind: str, header: str) -> None:
    folder = str(server.projects / kind / "media")
    prefix = "/paid" if header == "X-Accel-Redirect" else folder
    answer = send(server, kind, header, f"{prefix}/a.txt")
    assert (answer.status, answer.text) == (200, "0123456789")
    kept = {
        "content-type": "application/x-special", "content-disposition": 'attachment; filename="a.bin"',
        "set-cookie": "seen=1, twice=2", "cache-control": "private, max-age=5", "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox", "content-length": "10", "accept-ranges": "bytes",
    }  # fmt: skip
    assert {name: answer.headers.get(name) for name in kept} == kept
    assert not {"x-accel-redirect", "x-sendfile"} & set(answer.headers)
    part = send(server, kind, header, f"{prefix}/a.txt", Range="bytes=2-4")
    assert (part.status, part.text, part.headers["content-range"]) == (206, "234", "bytes 2-4/10")
    same = send(server, kind, header, f"{prefix}/a.txt", If_None_Match=answer.headers["etag"])
    assert same.status == 304
    head = server.get(kind, f"/?{header}={quote(f'{prefix}/a.txt')}", method="HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")
    for name, text in (("deep/b c?d%.html", "odd"), ("\xe4.txt", "umlaut")):
        target = f"{prefix}/{quote(name)}" if header == "X-Accel-Redirect" else f"{prefix}/{name}"
        assert send(server, kind, header, target).text == text
    posted = server.get(kind, f"/?{header}={quote(f'{prefix}/a.txt')}", method="POST", body=b"x" * 70_000)
    assert posted.text == "0123456789"


@pytest.mark.parametrize("kind", KINDS)
def test_the_type_comes_from_the_name_where_the_application_has_none(server: Server, kind: str) -> None:
    answer = send(server, kind, "X-Accel-Redirect", "/paid/deep/b%20c%3Fd%25.html", "/plain")
    assert answer.text == "odd"
    assert answer.headers["content-type"] == "text/html"


@pytest.mark.parametrize("kind", KINDS)
def test_single_files_and_what_is_static_anyway(server: Server, kind: str) -> None:
    assert send(server, kind, "X-Accel-Redirect", "/one/two/file").text == "0123456789"
    assert send(server, kind, "X-Accel-Redirect", "/static/shown.txt").text == "shown"
    shown = str(server.projects / kind / "public/shown.txt")
    assert send(server, kind, "X-Sendfile", shown).text == "shown"


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_way_is_within_what_nginx_goes(server: Server, kind: str) -> None:
    """A name that is found by a wildcard, a site that is mounted there, with a cache and limits; nginx goes ten steps."""
    code = {"wsgi": SENDS, "asgi": SENDS_ASGI}[kind]
    server.write(f"far-{kind}/media/a.txt", "0123456789")
    server.site(f"far-{kind}", code, private={"/paid/": "media"}, cache={"on": True}, limits={"rate": 1000})
    server.site(
        f"portal-{kind}", says("portal"), domains=[f"*.portal-{kind}.localhost"], mount={"/shop": f"far-{kind}"}
    )  # fmt: skip
    host = f"any.portal-{kind}.localhost"
    wait_for(lambda: server.get(host, "/shop/?").text == "the application", "the mounted site")
    answer = server.get(host, "/shop/?X-Accel-Redirect=/shop/paid/a.txt")
    assert (answer.status, answer.text) == (200, "0123456789")


def test_a_promised_length_does_not_matter(server: Server) -> None:
    assert send(server, "asgi", "X-Accel-Redirect", "/paid/large.bin", "/length").body == b"x" * LARGE


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_can_ask_for_them(server: Server, kind: str) -> None:
    for path in ("/paid/a.txt", "/one/two/file", "/.hostel/private/paid/a.txt", "/.hostel/redirect/paid/a.txt",
                 "/.hostel/file/paid/a.txt", "/.hostel/send/../private/1/paid/a.txt", "/www/private/1/paid/a.txt"):  # fmt: skip
        answer = server.get(kind, path, headers={"X-Accel-Redirect": "/paid/a.txt", "X-Sendfile": "/paid/a.txt"})
        assert "0123456789" not in answer.text


FOREIGN = (
    "/paid/../secret.txt", "/paid/%2e%2e/secret.txt", "/paid/..%2fsecret.txt", "/paid/none", "/paid", "/paid/", "/paid/deep",
    "/secret.txt", "/etc/passwd", "/../../../../../etc/passwd", "//etc/passwd", "paid/a.txt", "", "?", "/", "/\\..\\secret.txt",
    "/hosts/other.localhost/www/private/1/paid/theirs.txt", "/sites/other/www/usual/static/theirs.txt", "/nginx.conf",
    "/.hostel/send/1/paid/a.txt/../../../../secret.txt", "/.hostel/send/../../../secret.txt", "/.hostel/private/../secret.txt",
    "/.hostel/private/%2e%2e/%2e%2e/app.sock", "/.hostel/file/etc/passwd", "/.hostel/link/etc/passwd", "/.hostel/aged/x",
    "/.hostel/valued/x", "/.hostel/oversize", "/.hostel/error/200/busy", "/.hostel/error/503/../../nginx.conf", "/.hostel/",
    "@find", "@site", "@mounts", "@mounted", "@valued", "@limited", "@unlimited", "@sent", "@general", "@layers", "@static",
    "@asgi", "@unheard", "@broken", "@unreadable", "@none", "@", "http://other.localhost/static/theirs.txt", "/paid-too/c.txt",
    "/media/a.txt",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", FOREIGN)
def test_no_other_target_is_served(server: Server, kind: str, target: str) -> None:
    """A worker may send the front anything; what comes of it is at most what its own site would answer, or the front's words."""
    answer = server.raw(
        f"GET /?X-Accel-Redirect={quote(target)} HTTP/1.1\r\nHost: {kind}.localhost\r\nConnection: close\r\n\r\n".encode()
    )
    for secret in (b"a secret", b"root:", b"another's", b"worker_connections"):
        assert secret not in answer
    status = int(answer.split()[1])
    ends = (b"the application", b"0\r\n\r\n", b"\r\n\r\n", b"</main>\n</html>\n")
    assert status >= 400 or answer.endswith(ends), answer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "target", ["{site}/secret.txt", "{site}/media/../secret.txt", "{site}/media-too/c.txt", "/etc/passwd", "a.txt", ""]
)
def test_a_file_elsewhere_is_refused_where_the_owner_sees_it(server: Server, kind: str, target: str) -> None:
    answer = send(server, kind, "X-Sendfile", target.format(site=server.projects / kind))
    assert answer.status == 500
    wait_for(lambda: "is in none of the folders that the site file maps in [private]" in server.log(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_links_lead_out_of_no_private_folder(server: Server, kind: str) -> None:
    media = server.projects / kind / "media"
    for name, target in (("out.txt", "../secret.txt"), ("passwd", "/etc/passwd"), ("in.txt", "a.txt")):
        if not os.path.lexists(media / name):
            (media / name).symlink_to(target)
    assert send(server, kind, "X-Accel-Redirect", "/paid/in.txt").text == "0123456789"
    for name in ("out.txt", "passwd"):
        assert send(server, kind, "X-Accel-Redirect", f"/paid/{name}").status == 404


def test_a_large_file_takes_no_time_of_a_worker(server: Server) -> None:
    """Somebody reads slowly; the site's only worker serves others meanwhile."""
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /?X-Accel-Redirect=/paid/large.bin HTTP/1.1\r\nHost: wsgi.localhost\r\n\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        for _ in range(3):
            assert server.get("wsgi").text == "the application"


def test_djangos_file_response_and_sendfile_by_the_worker_still_work(server: Server) -> None:
    code = """
        import pathlib
        from wsgiref.util import FileWrapper
        HERE = pathlib.Path(__file__).parent

        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            wrap = environ["wsgi.file_wrapper"] if environ["PATH_INFO"] == "/ours" else FileWrapper
            return wrap(open(HERE / "file.txt", "rb"))
    """
    server.write("wraps/file.txt", "from the worker")
    server.site("wraps", code, private={"/paid/": "."})
    wait_routed(server, "wraps")
    assert [server.get("wraps", path).text for path in ("/ours", "/theirs")] == ["from the worker"] * 2


def test_a_site_without_private_files_has_nothing_to_send(server: Server) -> None:
    server.site("none", SENDS, static={"/static/": "."})
    wait_routed(server, "none")
    answer = send(server, "none", "X-Sendfile", str(server.projects / "none/app.py"))
    assert answer.status == 500


@pytest.fixture
def places() -> Iterator[dict[str, str]]:
    sendfile.places.update({"/srv/media": "/paid", "/srv/one.txt": "/one", "/srv/all": ""})
    yield sendfile.places
    sendfile.places.clear()


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/srv/media/a b.txt", "/paid/a%20b.txt"), ("/srv/media//x/../a.txt", "/paid/a.txt"), ("/srv/one.txt", "/one"),
        ("/srv/all/x?y#z", "/x%3Fy%23z"), ("/srv/media/\xc3\xa4", "/paid/%C3%A4"),
        ("/srv/media/\xe4\u20ac", "/paid/%C3%A4%E2%82%AC"),
    ],
)  # fmt: skip
def test_a_path_becomes_a_path_in_urls(places: dict[str, str], path: str, target: str) -> None:
    assert sendfile.redirect_to(path) == target


@pytest.mark.parametrize(
    "path", ["/srv/media/../secret", "/srv/mediatheque", "/srv", "media/a", "/srv/one.txt/x/../../y", ""]
)
def test_a_path_elsewhere_becomes_none(places: dict[str, str], path: str) -> None:
    with pytest.raises(ValueError, match="none of the folders"):
        sendfile.redirect_to(path)


def test_a_private_folder_that_the_front_cannot_read(server: Server) -> None:
    """It is a tenant's own: the remedy is his."""
    if os.geteuid() != 0:
        pytest.skip("guards between users exist only for root")
    folder = Path(make_folder())
    try:
        (folder / "media").mkdir()
        (folder / "media/a.txt").write_text("private")
        (folder / "media").chmod(0o700)
        server.site("closed", SENDS, private={"/paid/": str(folder / "media")})
        wait_routed(server, "closed")
        assert send(server, "closed", "X-Accel-Redirect", "/paid/a.txt").status == 404
    finally:
        shutil.rmtree(folder)
