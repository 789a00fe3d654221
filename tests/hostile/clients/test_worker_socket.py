"""The uwsgi protocol by raw bytes, straight to the sockets of a WSGI and an ASGI worker, as somebody who reached them (rule 19).

Each attack is one connection; after it the worker is the same process, asks the application for what is right and nothing
else, and answers the next visitor.
"""

from __future__ import annotations

import contextlib
import json
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostel.protocol import uwsgi
from tests.hostile.clients.witness import ASGI, WSGI
from tests.support.server import wait_for
from tests.worker.process import WorkerProcess
from tests.worker.running import REQUEST, Connection, parse


@pytest.fixture(scope="module")
def wsgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    yield from running(tmp_path_factory.mktemp("wsgi"), WSGI)


@pytest.fixture(scope="module")
def asgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    yield from running(tmp_path_factory.mktemp("asgi"), ASGI, has_http=True)


def running(folder: Path, code: str, has_http: bool = False) -> Iterator[WorkerProcess]:
    (folder / "app.py").write_text(textwrap.dedent(code))
    worker = WorkerProcess(folder, sys.executable, None, has_http)
    try:
        yield worker.wait_ready()
        assert worker.process.poll() is None, worker.log
        assert "Traceback" not in worker.log
        worker.drain()
        assert worker.wait_end() == 0
    finally:
        worker.close()


def block(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"".join(len(one).to_bytes(2, "little") + one for pair in pairs for one in pair)


def packet(
    *pairs: tuple[bytes, bytes], first: int = 0, second: int = 0, size: int | None = None, more: bytes = b""
) -> bytes:
    """A request with these variables beside the usual ones."""
    usual = tuple((name.encode(), value.encode()) for name, value in REQUEST.items())
    data = block(*usual, *pairs) + more
    return bytes([first]) + (len(data) if size is None else size).to_bytes(2, "little") + bytes([second]) + data


def send(worker: WorkerProcess, data: bytes, *, is_open: bool = False) -> bytes:
    """What the worker says to these bytes; behind them comes the end, unless the connection stays open."""
    connection = worker.connect()
    with contextlib.suppress(BrokenPipeError):
        connection.send(data)
        if not is_open:
            connection.sock.shutdown(1)
    with contextlib.suppress(ConnectionResetError):
        return rest(connection)
    return b""


def rest(connection: Connection) -> bytes:
    return connection.rest()


def record(worker: WorkerProcess) -> list[dict[str, Any]]:
    found = json.loads(worker.ask(PATH_INFO="/-record").body)
    assert isinstance(found, list)
    return found


MAGIC = [
    "UWSGI_FILE", "UWSGI_SCRIPT", "UWSGI_MODULE", "UWSGI_CALLABLE", "UWSGI_APPID", "UWSGI_PYHOME", "UWSGI_CHDIR", "UWSGI_SETENV",
    "UWSGI_POSTFILE", "UWSGI_TOUCH_RELOAD", "UWSGI_CACHE_GET", "UWSGI_SCHEME", "UWSGI_", "UWSGI_\0", "UWSGI_X-OWN",
]  # fmt: skip
REFUSED = {
    **{name: packet((name.encode(), b"exec://touch /tmp/hostel-was-owned")) for name in MAGIC},
    **{f"modifier {number}": packet(first=number) for number in (1, 3, 5, 17, 30, 31, 48, 98, 99, 101, 110, 200, 224, 250, 255)},
    **{f"second modifier {number}": packet(second=number) for number in (1, 2, 30, 255)},
    "the method twice": packet((b"REQUEST_METHOD", b"POST")),
    "the path twice": packet((b"PATH_INFO", b"/smuggled")),
    "the host twice": packet((b"HTTP_HOST", b"evil.example")),
    "the length twice": packet((b"CONTENT_LENGTH", b"5"), (b"CONTENT_LENGTH", b"5")),
    "the client twice": packet((b"REMOTE_ADDR", b"6.6.6.6")),
    "HTTPS twice": packet((b"HTTPS", b"on"), (b"HTTPS", b"on")),
    "a repeated header that hides a repeated method": packet((b"HTTP_A", b"1"), (b"HTTP_A", b"2"), (b"REQUEST_METHOD", b"PUT")),
    "wsgi.input": packet((b"wsgi.input", b"mine")),
    "wsgi.errors": packet((b"wsgi.errors", b"mine")),
    "wsgi.url_scheme": packet((b"wsgi.url_scheme", b"https")),
    "wsgi.multithread behind a repeated header": packet((b"HTTP_A", b"1"), (b"HTTP_A", b"2"), (b"wsgi.multithread", b"1")),
    "a size that is too small": packet(size=100),
    "a size of nothing": packet(size=0),
    "a size that is one too small": packet(size=len(packet()) - 5),
    "a size that is too large": packet(size=len(packet()) + 100),
    "the largest size": packet(size=65535),
    "a name that is too long": packet(more=b"\xff\xffA\1\0b"),
    "a value that is too long": packet(more=b"\1\0A\xff\xffb"),
    "a name without a value": packet(more=b"\1\0A"),
    "half a length": packet(more=b"\1"),
    "a zero": packet(more=b"\0"),
    "nothing": b"",
    "one byte": b"\0",
    "a header alone": b"\0\0\0\0",
    "no method": b"\0" + (13).to_bytes(2, "little") + b"\0" + block((b"PATH_INFO", b"")),
    "an empty method": b"\0" + (18).to_bytes(2, "little") + b"\0" + block((b"REQUEST_METHOD", b"")),
    "HTTP": b"GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "FastCGI": b"\1\1\0\1\0\x08\0\0\0\1\0\0\0\0\0\0",
    "SCGI": b"70:CONTENT_LENGTH\x0027\0SCGI\x001\0REQUEST_METHOD\0POST\0REQUEST_URI\0/deepthought\0,",
    "TLS": b"\x16\3\1\2\0\1\0\1\xfc\3\3",
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_request_of_the_fronts_is_dropped(wsgi: WorkerProcess, asgi: WorkerProcess, case: str) -> None:
    assert send(wsgi, REFUSED[case]) == b""
    assert record(wsgi) == []
    answer = send(asgi, REFUSED[case])
    # An ASGI worker sends whoever comes by uwsgi to the front, which asks again by HTTP: it looks at no more than it needs.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: @asgi\r\n")


LENGTHS = [
    "-1",
    "+5",
    "0x5",
    "5.0",
    "5e0",
    "5_0",
    " 5",
    "5 ",
    "5\0",
    "\xb2",
    "1,1",
    "many",
    "9" * 19,
    "9" * 5000,
    "5\n",
]


@pytest.mark.parametrize("length", LENGTHS, ids=lambda length: ascii(length[:20]))
def test_a_length_that_is_none(wsgi: WorkerProcess, asgi: WorkerProcess, length: str) -> None:
    data = packet((b"CONTENT_LENGTH", length.encode("latin-1"))) + b"hello"
    answer = parse(send(wsgi, data, is_open=length.strip() == length))
    assert (answer.code, record(wsgi)) == (400, [])
    assert b"witness" not in send(asgi, data)


def test_bytes_behind_a_request_are_discarded(wsgi: WorkerProcess) -> None:
    """One request for each connection: another one behind it is nobody's, whatever the length says."""
    second = packet((b"HTTP_X_SECOND", b"yes"))
    for pairs, body, expected in (
        ((), b"", ""), (((b"CONTENT_LENGTH", b"0"),), b"", ""), (((b"CONTENT_LENGTH", b""),), b"", ""),
        (((b"CONTENT_LENGTH", b"5"),), b"hello", "hello"), (((b"CONTENT_LENGTH", b"00005"),), b"hello", "hello"),
    ):  # fmt: skip
        for behind in (second, second * 20, b"x" * 100_000):
            send(wsgi, packet(*pairs) + body + behind)
            (found,) = record(wsgi)
            assert (found["body"], "HTTP_X_SECOND" in found) == (expected, False)


def test_a_request_that_is_cut_anywhere(wsgi: WorkerProcess, asgi: WorkerProcess) -> None:
    """The end comes after any byte: there is no request, or its body is not whole, and nobody waits for the rest."""
    data = packet((b"CONTENT_LENGTH", b"5"), (b"HTTP_X_OWN", b"a" * 50)) + b"hello"
    for size in range(len(data)):
        answer = send(wsgi, data[:size])
        assert b"witness" not in answer, size
    begun = record(wsgi)  # the head was whole: the application had begun to read
    assert len(begun) == 5 and {found["body"] for found in begun} == {None}
    for size in range(0, len(data), 3):
        assert b"witness" not in send(asgi, data[:size])


def test_a_request_byte_by_byte_while_others_are_cut(wsgi: WorkerProcess) -> None:
    data = packet((b"CONTENT_LENGTH", b"5")) + b"hello"
    connection = wsgi.connect()

    def drip() -> None:
        for byte in data:
            connection.send(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    for size in (1, 3, 4, 5, 50):
        send(wsgi, data[:size])
    thread.join()
    assert parse(rest(connection)).body == b"witness"
    assert [found["body"] for found in record(wsgi)] == ["hello"]


def test_claims_that_only_the_front_may_make_are_derived(wsgi: WorkerProcess) -> None:
    """Whoever reached the socket can say who the client is; but not what follows from it otherwise than the front would."""
    claims = {
        "HTTP_X_FORWARDED_FOR": "6.6.6.6", "HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_USER": "root",
        "HTTP_PROXY": "http://evil.example", "SERVER_NAME": "evil.example", "REQUEST_SCHEME": "https",
    }  # fmt: skip
    send(wsgi, packet(*((name.encode(), value.encode()) for name, value in claims.items())))
    (found,) = record(wsgi)
    assert not [
        value for value in found.values() if value and ("evil" in value or value in ("6.6.6.6", "root", "https"))
    ]


def test_the_largest_and_the_strangest_heads(wsgi: WorkerProcess) -> None:
    """What is whole is served, whatever the bytes of names and values are."""
    room = 65535 - len(packet()) + 4 - 4
    for pairs in (
        ((b"A", b"x" * (room - 1)),),
        tuple((b"HTTP_%05d" % number, b"") for number in range(room // 14)),
        ((b"", b""),), ((b"\0", b"\0"),), ((bytes(range(256)), bytes(range(256))),), ((b"HTTP_\xff\xfe", b"\r\nX: y"),),
        tuple((b"HTTP_SAME", b"%d" % number) for number in range(2000)),
    ):  # fmt: skip
        assert parse(send(wsgi, packet(*pairs))).body == b"witness"
        assert len(record(wsgi)) == 1


def test_many_at_once_that_say_nothing(wsgi: WorkerProcess, asgi: WorkerProcess) -> None:
    """Connections that are closed without a word, or in the middle of one, cost the next visitor nothing."""
    for worker in (wsgi, asgi):
        silent = [worker.connect() for _ in range(200)]
        for number, connection in enumerate(silent):
            with contextlib.suppress(BrokenPipeError):
                connection.send(packet()[: number % 40])
        for connection in silent:
            connection.close()
        wait_for(lambda worker=worker: worker.reading.busy == 0, "the worker to be idle")  # type: ignore[misc]
    assert parse(send(wsgi, packet())).body == b"witness"
    record(wsgi)
    assert send(asgi, packet()).startswith(b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: @asgi")
    assert uwsgi.block_size(packet()[:4])
