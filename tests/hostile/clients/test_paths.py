"""Paths that lead out of folders, in every encoding (rule 9), and what an application is told of such a path."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

import pytest

from tests.hostile.clients.witness import KINDS, add_witnesses, exchange, replies, request, seen
from tests.support.server import DEADLINE, Server, wait_for

SECRET = "what-nobody-may-have"
# What some reader takes for "../": plain, encoded once, twice and thrice, overlong UTF-8, IIS' %u, wide forms, with backslashes,
# parameters, zero bytes and white space in between.
UP = [
    "../", "..%2f", "..%2F", "%2e%2e/", "%2e%2e%2f", ".%2e/", "%2e./", "..%252f", "%252e%252e%252f", "%25252e%25252e%25252f",
    "..\\", "..%5c", "%2e%2e%5c", "..%255c", "..%c0%af", "%c0%ae%c0%ae/", "%c0%ae%c0%ae%c0%af", "%e0%80%ae%e0%80%ae%e0%80%af",
    "..%c1%9c", "..%c0%2f", "%u002e%u002e%u2215", "..%u2215", "%uff0e%uff0e%uff0f", "%ef%bc%8e%ef%bc%8e%ef%bc%8f", "\u2025/",
    "\uff0e\uff0e\uff0f", "..;/", "..;a=b/", "..%3b/", "..%00/", "..%0d/", "..%0a/", "..%09/", "..%20/", "..+/", "....//",
    "..../",
    "...//", ".././", "./../", "//../", "/..//", "..//", "%2e%2e//", "..%2f%2f", "..?/", "..#/", "..%23/", "..%3f/", "..%ff/",
    "..\x01/", "..\t/", "..\x7f/", "..%", "%%32%65%%32%65/", "%2e%2e%2f%00", "..%e2%80%8b/", "..:/", "..,/", "..|/", "..*/",
    "..~/",
]  # fmt: skip
PLACES = ["/", "/static/", "/static/inner/", "/files/", "/static", "/static/../static/", "/static/a.txt/", "/nothing/"]
TARGETS = ["secret.txt", "secret.txt%00.txt", "secret.txt/", "secret.txt?", "..//secret.txt", "app.py"]


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    """Both witnesses map ``/static`` and ``/files``; beside the folders, and above all of them, lie secrets."""
    for kind in (*KINDS, "pages"):
        for name in ("public/a.txt", "public/inner/b.txt", "private/c.txt"):
            front_server.write(f"{kind}/{name}", name)
        front_server.write(f"{kind}/secret.txt", SECRET)
        front_server.write(f"{kind}/private-beside.txt", SECRET)
    front_server.write("secret.txt", SECRET)
    (front_server.folder / "secret.txt").write_text(SECRET)
    mapped = {"/static/": "public", "/files/": "private"}
    front_server.site("pages", static={"/": "public", **mapped})
    add_witnesses(front_server, static=mapped)
    wait_for(lambda: front_server.get("pages", "/a.txt").text == "public/a.txt", "the files")
    return front_server


def attempts() -> Iterator[str]:
    for place, up in itertools.product(PLACES, UP):
        for count in (1, 2, 7):
            yield f"{place}{up * count}secret.txt"
        yield f"{place}inner/{up * 2}secret.txt"
        yield f"{place}{up * 9}etc/passwd"
        yield f"{place}{up * 3}run/control.sock"
    for up, target in itertools.product(("../", "%2e%2e%2f", "..%5c", "..%00/"), TARGETS):
        yield f"/static/{up}{target}"
    yield from ("/files-beside.txt", "/static%00/../secret.txt", "/%5c%5c..%5csecret.txt",
                "/static/%2fetc/passwd", "//etc/passwd",
                "/static//etc/passwd", "/static/C:/secret.txt", "/static/~root/.profile", "/.hostel/file/../secret.txt",
                "/.hostel/send/a.txt", "/.hostel/link/../../secret.txt", "/.hostel/redirect/etc/passwd",
                "/.well-known/acme-challenge/../../secret.txt",
                "/.well-known/acme-challenge/%2e%2e/run/front.pid", "/static/a.txt/../../secret.txt")  # fmt: skip


@pytest.mark.parametrize("kind", ["wsgi", "asgi", "pages"])
def test_no_path_leads_out_of_a_folder(server: Server, kind: str) -> None:
    """Over connections that are kept, as thousands of requests are quickest; a refusal may end one."""
    tried, asked = 0, list(attempts())
    while asked:
        batch, asked = asked[:40], asked[40:]
        for target, answer in ask_all(server, kind, batch):
            tried += 1
            assert SECRET.encode() not in answer and b"root:" not in answer, target
            assert b"def application" not in answer, target
            assert b" 500 " not in answer[:15] and b" 502 " not in answer[:15], (target, answer[:200])
    assert tried > 2000
    if kind != "pages":
        for found in seen(server, kind):
            if kind == "wsgi":  # an ASGI server is given the path as the client wrote it, as its specification has it
                parts = found["PATH_INFO"].split("/")
                assert not {"..", "."} & set(parts), found["PATH_INFO"]
            assert "\0" not in found["PATH_INFO"]


def ask_all(server: Server, kind: str, targets: list[str]) -> Iterator[tuple[str, bytes]]:
    """One answer for each; each on a connection of its own where the one before has ended it."""
    with Connection(server) as connection:
        for target in targets:
            line = b"GET %s HTTP/1.1" % target.encode("utf-8", "surrogateescape")
            yield target, connection.ask(request(kind, line, close=False))


class Connection:
    """A connection that is opened again when the front has closed it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sock: socket.socket | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        if self.sock is not None:
            self.sock.close()

    def ask(self, data: bytes) -> bytes:
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.server.port), timeout=DEADLINE)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(data)
        answer = b""
        while True:
            more = self.sock.recv(65536)
            answer += more
            if not more or is_whole(answer):
                break
        if not more or b"\r\nConnection: close" in answer:
            self.sock.close()
            self.sock = None
        return answer


def is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_applications_agree_about_where_a_path_leads(server: Server, kind: str) -> None:
    """What is a file in the front's eyes is sent by it; what is not, the application sees with what the front made of it."""
    for target, is_file in (
        (b"/static/a.txt", True), (b"/static/inner/../a.txt", True), (b"/x/../static/a.txt", True), (b"/static/%61.txt", True),
        (b"/%73tatic/a.txt", True), (b"/static/./a.txt", True), (b"/static//a.txt", True), (b"/static/a.txt/", False),
        (b"/static/A.TXT", False), (b"/STATIC/a.txt", False), (b"/static\\a.txt", False), (b"/static;x/a.txt", False),
        (b"/static/a.txt;x", False), (b"/static/a.txt%20", False), (b"/static%2fa.txt", True), (b"/static/a.txt%00", None),
    ):  # fmt: skip
        (answer,) = replies(exchange(server, request(kind, b"GET " + target + b" HTTP/1.1")))
        found = seen(server)
        if is_file is None:
            assert (answer.status, found) == (400, [])
        else:
            assert (answer.body == b"public/a.txt", not found) == (is_file, is_file), target
