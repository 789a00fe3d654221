"""Each parser that reads what a tenant or a client wrote, as a function of bytes that fails when a promise is broken.

The promises: no exception but the declared one, no hang, no descriptor lost, and what comes out is of the declared shape and
says the same as a slow and simple reading, or as what went in. The same functions are played by hypothesis in the test suite,
and for ten minutes by atheris, which looks for new paths through the code (``scripts/fuzz.sh``); so a finding of one is a
test of the other. ``SEEDS`` are good inputs, from which both begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import socket
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hostel import wire
from hostel.api import framing
from hostel.certificates import reading
from hostel.certificates.pair import Complaint, Pair
from hostel.cli.logs import moment_of
from hostel.errors import PeerError, UsageError
from hostel.front.janitor import KEY
from hostel.machine.health import Case
from hostel.machine.journey import Failure
from hostel.manager import logs
from hostel.manager.code import places_to_mend
from hostel.manager.learned import BYTES, MODULES, limit
from hostel.manager.worker import describe, view_of_request
from hostel.options.detect import detect
from hostel.options.site import read_site
from hostel.protocol import uwsgi
from hostel.worker import scoreboard
from hostel.worker.stuck import RequestTooLong
from hostel.worker.wsgi import Server
from tests.playbook.story import make_site

Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {}
SEEDS: dict[str, list[bytes]] = {}


def target(*seeds: bytes) -> Callable[[Target], Target]:
    def add(function: Target) -> Target:
        TARGETS[function.__name__] = function
        SEEDS[function.__name__] = list(seeds)
        return function

    return add


def is_printable(text: str) -> bool:
    """Whether it can be shown in one line without moving the cursor, and written as UTF-8."""
    text.encode()
    return not any((ord(sign) < 32 and sign != "\t") or 127 <= ord(sign) < 160 for sign in text)


# --- the uwsgi protocol ------------------------------------------------------------------------------------------------

REQUEST = uwsgi.packet(
    {"HTTP_X_REQUEST_ID": "id", "REQUEST_METHOD": "POST", "REQUEST_URI": "/a", "PATH_INFO": "/a", "HTTP_HOST": "a.example",
     "CONTENT_LENGTH": "5", "HTTP_X_REQUEST_START": "t=1.5"}
)  # fmt: skip
REPEATED = b"".join(
    len(one).to_bytes(2, "little") + one for one in (b"HTTP_A", b"1", b"HTTP_A", b"2", b"SCRIPT_NAME", b"/x")
)


def pairs_of(block: bytes) -> list[tuple[str, str]] | None:
    """A slow and simple reading of a block."""
    strings = []
    while block:
        size = int.from_bytes(block[:2], "little")
        if len(block) < 2 + size:
            return None
        strings.append(block[2 : 2 + size].decode("latin-1"))
        block = block[2 + size :]
    return list(zip(strings[::2], strings[1::2], strict=True)) if len(strings) % 2 == 0 else None


@target(REQUEST[4:], REPEATED, b"")
def uwsgi_block(data: bytes) -> None:
    given = {"SCRIPT_NAME": "", "wsgi.version": (1, 0), "wsgi.input": 1}
    pairs = pairs_of(data)
    try:
        found = uwsgi.variables(data, dict(given))
    except PeerError:
        if pairs is not None:
            names = [name for name, _ in pairs]
            twice = {name for name in names if names.count(name) > 1 or name in given}
            assert twice or any(name.startswith("UWSGI_") for name in names), "a good block was refused"
        return
    assert pairs is not None, "a broken block was read"
    assert found["wsgi.version"] == (1, 0) and found["wsgi.input"] == 1, "the server's own keys were replaced"
    assert not any(name.startswith(("UWSGI_", uwsgi.FORWARDED)) for name in found)
    expected: dict[str, Any] = dict(given)
    for name, value in pairs:
        is_again = name in expected and name not in given
        if is_again:
            assert name.startswith("HTTP_") and name not in uwsgi.SINGLE_HEADERS, f"{name} was taken twice"
        separator = "; " if name == "HTTP_COOKIE" else ", "
        expected[name] = f"{expected[name]}{separator}{value}" if is_again else value
    assert found == {name: value for name, value in expected.items() if not name.startswith(uwsgi.FORWARDED)}


@target(REQUEST, REQUEST[:30], b"\0\xff\xff\0")
def uwsgi_peek(data: bytes) -> None:
    found = uwsgi.peek(data, scoreboard.NAMES)
    assert set(found) <= set(scoreboard.NAMES)
    assert sum(map(len, found.values())) <= len(data)
    is_whole = len(data) > 4 and int.from_bytes(data[1:3], "little") == len(data) - 4
    pairs = pairs_of(data[4:]) if is_whole else None
    if pairs is not None:
        assert found == {name: value for name, value in pairs if name in scoreboard.NAMES}


@target(REQUEST + b"hello", REQUEST + b"hel", REQUEST + b"hello and more", b"\1\0\0\0", REQUEST[:-1])
def uwsgi_request(data: bytes) -> None:
    """The worker itself: whatever comes over its socket, it answers or closes, and goes on."""
    asked: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        asked.append(environ)
        body = environ["wsgi.input"].read()
        length = environ.get("CONTENT_LENGTH")
        assert len(body) == int(length or 0), "a body that is not as long as it says"
        start_response("200 OK", [])
        return [b"answer"]

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        server = worker()
        server.application = application
        try:
            server.handle(theirs.fileno())
        except (OSError, PeerError, RequestTooLong):
            pass
        theirs.close()
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while more := ours.recv(65536):
                answer += more
    assert len(asked) <= 1, "more than one request out of one connection"
    assert not answer or answer.startswith(b"HTTP/1.1 "), answer
    if asked:
        assert data[0] == 0 and data[3] == 0, "a modifier that is none of ours was served"
        assert all(type(name) is str and not name.startswith("UWSGI_") for name in asked[0])
        assert "HTTP_PROXY" not in asked[0]


_worker: list[Server] = []


def worker() -> Server:
    """A WSGI worker that nobody but ``uwsgi_request`` talks to."""
    if not _worker:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        board = memoryview(bytearray(4096)).cast("d")
        _worker.append(Server(lambda *_: [], listener, -1, lambda: True, board=board, label="1.1:1"))
    return _worker[0]


# --- messages between processes ------------------------------------------------------------------------------------------


@target(*(wire.encode(each) for each in (
    wire.Step("import", 0.5), wire.InterfaceFound("asgi"), wire.Ready(0.5, ("a", "b.c")), wire.Exited("", 17, 9),
    wire.StartFailed("import", "why", "do", "trace", ("/a/b.py",)), wire.Preloaded(("a",), {"b": "c"}, 1), wire.Drain(),
)))  # fmt: skip
def wire_message(data: bytes) -> None:
    try:
        message = wire.decode(data)
    except PeerError:
        return
    assert type(message) in wire.MESSAGES
    if len(data) < wire.MESSAGE_BYTES // 8:  # escapes make it longer
        assert wire.decode(wire.encode(message)) == message
    if isinstance(message, wire.StartFailed):
        site = make_site()
        failure = Failure(
            "",
            0.0,
            site.name,
            1,
            logs.escape_text(message.step),
            logs.escape_text(message.reason),
            sources=message.sources,
        )
        begin = time.monotonic()
        assert places_to_mend(site, failure)
        assert time.monotonic() - begin < 5, "it takes too long to know where it may be mended"
        assert is_printable(failure.reason.replace("\n", "")) and json.dumps(failure.as_dict())


@target(b"\0" + wire.encode(wire.Drain()), b"\3" + wire.encode(wire.Step("import", 0.5)), b"\5rubbish")
def wire_packet(data: bytes) -> None:
    """The first byte is the number of descriptors that come with the packet."""
    left, right = wire.Channel.pair()
    try:
        before = len(os.listdir("/proc/self/fd"))
        content = data[1 : wire.MESSAGE_BYTES + 2000]
        socket.send_fds(left.socket, [content], [0] * (data[0] % 8 if data else 0))
        try:
            received = right.receive(wait=False)
        except PeerError:
            received = None
        if received is not None:
            assert type(received[0]) in wire.MESSAGES
            for descriptor in received[1]:
                os.close(descriptor)
        assert len(os.listdir("/proc/self/fd")) == before, "a descriptor was lost"
    finally:
        left.close()
        right.close()


@target(framing.pack({"call": "status"}), framing.pack({"end": True}) + framing.pack({"error": {}}), b"\0\0\0\2{}")
def api_frames(data: bytes) -> None:
    async def read() -> Any:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await framing.read_frame(reader)

    first: Any = None
    with contextlib.suppress(PeerError, asyncio.IncompleteReadError):
        first = loop().run_until_complete(read())
        assert type(first) is dict
        assert framing.unpack(framing.pack(first)[4:]) == first or first != first
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data[:60_000])
        theirs.shutdown(socket.SHUT_WR)
        frames: list[dict[str, Any]] = []
        with contextlib.suppress(PeerError):
            frames.extend(framing.read_frames(ours))
    assert all(type(frame) is dict for frame in frames)


_loop: list[asyncio.AbstractEventLoop] = []


def loop() -> asyncio.AbstractEventLoop:
    if not _loop:
        _loop.append(asyncio.new_event_loop())
    return _loop[0]


# --- what the manager reads of its workers ---------------------------------------------------------------------------------

BOARD = struct.pack("8d", 1, 100.0, 5, 0, 99.0, 0, 0, 0.5) + scoreboard.make_note("id", "GET", "/a?b")


@target(
    BOARD,
    BOARD.ljust(512, b"\0") * 2,
    struct.pack("8d", *[math.nan] * 8),
    struct.pack("8d", *[math.inf, -math.inf] * 4),
)
def scoreboard_reading(data: bytes) -> None:
    """What a worker wrote into its scoreboard, through all that is done with it."""
    memory = bytearray(data[:2048].ljust(2048, b"\0"))
    board = memoryview(memory).cast("d")
    slots = 1 + len(data) % 4
    reading = scoreboard.read(board, slots)
    assert all(type(each) is int for each in (reading.busy, reading.served, reading.using, reading.uses))
    assert 0 <= reading.using <= max(reading.busy, 0) and 0 <= reading.load <= 1 and reading.served >= 0
    assert reading.oldest >= 0
    found = list(scoreboard.requests(board, slots))
    assert len(found) <= slots
    for request in found:
        view = view_of_request(request, 1000.0)
        for text in (view.method, view.url, view.id, describe(view)):
            assert is_printable(text) and len(text) < 10 * scoreboard.NOTE_BYTES
        assert math.isfinite(view.age) and json.dumps([view.method, view.url, view.id, view.age])
    case = Case()
    for now in (1000.0, 1001.0, 2000.0, 2001.0):
        begins = [request.began for request in found if request.began]
        case, _ = case.after(begins, reading.busy, 0, 60.0, now)


class Kept(logs.Log):
    """A log in memory."""

    def __init__(self) -> None:
        self.data = b""

    def put(self, data: bytes) -> None:
        self.data += data


@target(
    b"a line\nanother\n", b"no end", b"\x1b[31mred\r\n\xff\xfe\n\n", "\u202eright to left\u2028".encode(), b"x" * 20_000
)
def log_lines(data: bytes) -> None:
    """What a worker writes, in pieces: each line becomes one of the log, or some, and none can pretend to be another."""

    async def read(pieces: list[bytes]) -> bytes:
        reader, writer = os.pipe()
        kept = Kept()
        found = logs.LogReader(reader, kept, "1.1")
        for piece in pieces:
            os.write(writer, piece)
            while found._waiting():
                found._take()
        os.close(writer)
        found.drain()
        found.close()
        assert is_printable(found.tail.replace("\n", "")) and len(found.tail) <= logs.TAIL_BYTES
        return kept.data

    data = data[:60_000]
    middle = len(data) * (data[0] if data else 0) // 256
    written = loop().run_until_complete(read([piece for piece in (data[:middle], data[middle:]) if piece]))
    lines = written.decode().split("\n")
    assert lines.pop() == ""
    count = data.count(b"\n") + (not data.endswith(b"\n")) if data else 0
    assert len(lines) == count or len(data) > logs.LINE_BYTES
    for line in lines:
        head, tag, text = line[:24], line[24:31], line[31:]
        assert tag == " [1.1] " and moment_of(head) and is_printable(text), line
    if data.isascii():  # else a sign may be cut by the bounds of a piece
        assert "".join(line[31:] for line in lines) == logs.escape(data.replace(b"\n", b""))


@target(b'127.0.0.1 - - [25/Nov/2026:06:00:00 +0000] "GET / HTTP/1.1" 200', b"2026-11-25T06:00:00.000Z [1.1] text")
def log_moment(data: bytes) -> None:
    """Lines as the front and the manager write them, with what a client or a tenant put into them, and damaged ones."""
    moment = moment_of(data.decode("utf-8", "backslashreplace"))
    assert moment is None or math.isfinite(moment)


@target(b"os\nos.path\nmy_module\n", b"a..b\n\xff\n")
def learned_modules(data: bytes) -> None:
    names = data.decode("latin-1").split("\n")
    found = limit(names)
    assert set(found) <= set(names) and len(found) <= MODULES and sum(map(len, found)) <= BYTES
    assert all(part.isidentifier() for name in found for part in name.split("."))
    json.dumps(list(found)).encode()


PAIR = {"certificate": "-----BEGIN X-----\nAA==\n", "key": "", "names": ["a"], "begins": 0, "ends": 1}


@target(json.dumps([PAIR]).encode(), b'[{"which": "key", "reason": "why", "remedy": "do"}]', b"[1]")
def certificate_answer(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        (found,) = reading.read_answer(data, 1)
        if isinstance(found, Complaint):
            assert is_printable(found.reason) and is_printable(found.remedy)
        else:
            assert isinstance(found, Pair) and math.isfinite(found.begins) and 0 <= found.ends < 2**38
            assert all(name.isascii() and "/" not in name for name in found.names)


@target(b"\nKEY: blog 12 GEThttp\n", b"x" * 40)
def cache_key(data: bytes) -> None:
    if match := KEY.search(data):
        assert int(match[2]) < 10**20 and b"/" not in match[1] and b"." not in match[1]


# --- files that tenants write ------------------------------------------------------------------------------------------------

SITE_FILE = b"""app = "shop.wsgi:application"
domains = ["a.example", "*.b.example"]
static = { "/static/" = "public", "/x" = "../y" }
[workers]
min = 0
max = 4
[limits]
memory = "1G"
request = "60s"
[env]
A = "b"
"""


@target(SITE_FILE, b"app = 5\n", b'[mount]\n"/a" = "b"\n', b"a = [[[[1]]]]", b'reload_on = ["restart\\u0000.txt"]\n')
def site_file(data: bytes) -> None:
    site, problems = read_site("blog", "/srv/sites/blog.toml", data)
    assert (site is None) == any(problem.is_fatal for problem in problems)
    for problem in problems:
        assert is_printable(str(problem)) and is_printable(problem.remedy), str(problem)
    if site is not None:
        for path in (
            site.directory,
            site.environment or "/",
            *site.reload_on,
            *(path for _, path in (*site.static, *site.private, *site.errors)),
        ):
            assert os.path.isabs(path) and is_printable(path), path
        for name, value in site.env:
            assert name and "=" not in name and "\0" not in name + value
        assert all(domain == domain.lower() and not set(domain) & set("/\\ \n\0%$") for domain in site.domains)
        assert json.dumps(site.digest)


APPLICATION = b"""import os
from flask import Flask
def create_app(name="x"):
    app = Flask(name)
    return app
application = create_app(os.environ.get("A", "b") + "c" * 3)
STATIC = os.path.join(os.path.dirname(__file__), "static")
"""


@target(
    APPLICATION,
    b"app = lambda e, s: []\n",
    b"# coding: rot13\nx = 1\n",
    b"a = b'\\xff' * 10 ** 9\n" * 3,
    b"def application(e, s): pass",
)
def project(data: bytes) -> None:
    """The text of a program, looked at without running it."""
    path = _folder() / "app.py"
    path.write_bytes(data)
    begin = time.monotonic()
    try:
        found = detect(str(path.parent))
    except UsageError as error:
        said: tuple[str, ...] = (str(error), error.hint)
    else:
        said = found.notes
        assert json.dumps(found.options)
    assert all(map(is_printable, said)), said
    assert time.monotonic() - begin < 20, "it takes too long"


_folders: list[Path] = []


def _folder() -> Path:
    """A folder for a project; it goes with the process that asked for it."""
    if not _folders:
        place = tempfile.TemporaryDirectory(prefix="hostel-fuzz-")
        _keep.place = place
        _folders.append(Path(place.name))
    return _folders[0]


_keep = SimpleNamespace(place=None)
