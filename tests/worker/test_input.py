"""``wsgi.input``: exact lengths, however the body comes; PEP 3333, "Input and Error Streams"."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostel.protocol import uwsgi
from hostel.worker.body import Body, Input
from tests.support.server import wait_for
from tests.worker.running import REQUEST, Serve

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The front's end and the worker's end of a connection."""
    ends = socket.socketpair()
    for end in ends:
        end.settimeout(None)
    yield ends
    for end in ends:
        end.close()


def make_input(end: socket.socket, length: int, first: bytes = b"") -> Input:
    return Input(Body(end.fileno(), length, first))


# --- reading ------------------------------------------------------------------------------------------------------------

TEXT = b"first line\n\nthird\r\nfourth with\0zero\nlast without newline"
READS: dict[str, Callable[[Any], Any]] = {
    "read()": lambda body: body.read(),
    "read(-1)": lambda body: body.read(-1),
    "read(None)": lambda body: body.read(None),
    "read(0)": lambda body: [body.read(0), body.read()],
    "read(1) each": lambda body: list(iter(lambda: body.read(1), b"")),
    "read(7) each": lambda body: list(iter(lambda: body.read(7), b"")),
    "read(all)": lambda body: [body.read(len(TEXT)), body.read(1)],
    "read(more)": lambda body: body.read(10 * len(TEXT)),
    "readline()": lambda body: list(iter(body.readline, b"")),
    "readline(0)": lambda body: [body.readline(0), body.read()],
    "readline(3) each": lambda body: list(iter(lambda: body.readline(3), b"")),
    "readline(-1)": lambda body: list(iter(lambda: body.readline(-1), b"")),
    "readline(100)": lambda body: list(iter(lambda: body.readline(100), b"")),
    "readlines()": lambda body: body.readlines(),
    "readlines(1)": lambda body: [body.readlines(1), body.read()],
    "readlines(20)": lambda body: [body.readlines(20), body.readlines()],
    "iteration": lambda body: list(body),
    "mixed": lambda body: [body.read(2), body.readline(), next(body), body.readline(2), body.readlines()],
}


@pytest.mark.parametrize("arrived", [0, 1, 5, 11, len(TEXT) - 1, len(TEXT)])
@pytest.mark.parametrize("name", READS)
def test_reading_is_that_of_a_file_of_this_content(pair: Pair, name: str, arrived: int) -> None:
    front, worker = pair
    front.sendall(TEXT[arrived:])
    assert READS[name](make_input(worker, len(TEXT), TEXT[:arrived])) == READS[name](io.BytesIO(TEXT))


@pytest.mark.parametrize("name", READS)
def test_nothing_behind_the_end_is_read(pair: Pair, name: str) -> None:
    """Neither what came with the head nor what is still in the connection."""
    front, worker = pair
    for arrived in (0, 8, len(TEXT)):
        front.sendall(TEXT[arrived:] + b"NEXT")
        body = make_input(worker, len(TEXT), TEXT[:arrived])
        assert READS[name](body) == READS[name](io.BytesIO(TEXT))
        assert body.read() == body.readline() == b""
        assert worker.recv(100) == b"NEXT"
        body = make_input(worker, len(TEXT), TEXT + b"NEXT")
        assert READS[name](body) == READS[name](io.BytesIO(TEXT))
        assert body.read(1) == b""


@given(
    st.binary(max_size=300), st.lists(st.tuples(st.sampled_from(["read", "readline"]), st.integers(-1, 60))), st.data()
)
@settings(deadline=None)
def test_any_sequence_of_reads(content: bytes, calls: list[tuple[str, int]], data: st.DataObject) -> None:
    arrived = data.draw(st.integers(0, len(content)))
    front, worker = socket.socketpair()
    with front, worker:
        worker.setblocking(True)
        front.sendall(content[arrived:])
        body, file = make_input(worker, len(content), content[:arrived]), io.BytesIO(content)
        for name, size in calls:
            assert getattr(body, name)(size) == getattr(file, name)(size)
        assert body.read() == file.read()


def test_a_body_of_many_packets(pair: Pair) -> None:
    """A read waits for all it was asked for, though one system call gives less."""
    front, worker = pair
    content = os.urandom(1_000_000)

    def send() -> None:
        for at in range(0, len(content), 777):
            front.sendall(content[at : at + 777])

    sender = threading.Thread(target=send)
    sender.start()
    body = make_input(worker, len(content))
    got = [body.read(10), body.read(70_000), body.read(65536), body.read(300_000), body.read()]
    sender.join()
    assert [len(part) for part in got] == [10, 70_000, 65536, 300_000, 1_000_000 - 435_546]
    assert b"".join(got) == content


@pytest.mark.parametrize("name", [name for name in READS if "(0)" not in name])
def test_a_client_that_leaves_in_mid_body_is_an_error_and_no_short_body(pair: Pair, name: str) -> None:
    front, worker = pair
    front.sendall(TEXT[5:])
    front.close()
    with pytest.raises(ConnectionError):
        READS[name](make_input(worker, len(TEXT) + 1, TEXT[:5]))


def test_the_application_cannot_close_it(pair: Pair) -> None:
    """Wrapping it in a text file, as CSV readers do, closes it when the wrapper goes."""
    front, worker = pair
    front.sendall(b"two\nthree\n")
    body = make_input(worker, 14, b"one\n")
    with io.TextIOWrapper(body) as text:
        assert text.readline() == "one\n"
    body.close()
    assert not body.closed
    body.read()


def test_discarding_leaves_what_is_behind_the_body(pair: Pair) -> None:
    front, worker = pair
    front.sendall(b"rest" + b"NEXT")
    body = Body(worker.fileno(), 10, b"before")
    body.discard()
    body.discard()
    assert worker.recv(100) == b"NEXT"


# --- in a request -------------------------------------------------------------------------------------------------------


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["wsgi.input"].read()]


@pytest.mark.parametrize("size", [1, 100, 7000, 8192, 65535, 65536, 1_000_000])
def test_bodies_of_many_sizes(serve: Serve, size: int) -> None:
    content = os.urandom(size)
    assert serve(echo).ask(content, REQUEST_METHOD="POST").body == content


def test_a_request_that_comes_byte_by_byte(serve: Serve) -> None:
    connection = serve(echo).connect()
    packet = uwsgi.packet(REQUEST | {"REQUEST_METHOD": "PUT", "CONTENT_LENGTH": "5"}) + b"hello"
    for byte in packet:
        connection.send(bytes([byte]))
    assert connection.answer().body == b"hello"


def test_head_and_body_cut_at_every_border(serve: Serve) -> None:
    server = serve(echo)
    packet = uwsgi.packet(REQUEST | {"REQUEST_METHOD": "PUT", "CONTENT_LENGTH": "5"})
    for cut in (1, 3, 4, 5, len(packet) - 1, len(packet), len(packet) + 1, len(packet) + 4):
        connection = server.connect()
        data = packet + b"hello"
        connection.send(data[:cut])
        wait_for(lambda: server.reading.busy == 1)
        connection.send(data[cut:])
        assert connection.answer().body == b"hello"


def test_the_largest_head(serve: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [str(len(environ["HTTP_X_LONG"])).encode() + environ["wsgi.input"].read()]

    room = 65535 - (len(uwsgi.packet(REQUEST | {"HTTP_X_LONG": "", "CONTENT_LENGTH": "3"})) - 4)
    answer = serve(application).ask(b"abc", HTTP_X_LONG="x" * room)
    assert answer.body == str(room).encode() + b"abc"


def test_bytes_behind_the_body_are_nobodys(serve: Serve) -> None:
    """One connection is one request: a second one on it is never run."""
    seen = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    server = serve(application)
    connection = server.request(b"body" + uwsgi.packet(REQUEST | {"PATH_INFO": "/smuggled"}), CONTENT_LENGTH="4")
    assert connection.receive_until(b"body").startswith(b"HTTP/1.1 200 OK\r\n")
    server.wait_served(1)
    assert seen == ["/"]


def test_a_request_without_a_body_has_an_empty_one(serve: Serve) -> None:
    """Requests without a body share one, so nobody may spoil it."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        parts = [body.read(), body.read(5), body.readline(), *body.readlines(), *body]
        with io.TextIOWrapper(body) as text:
            parts.append(text.read().encode())
        body.close()
        start_response("200 OK", [])
        return [*parts, b"nothing"]

    server = serve(application)
    for length in ("", "", "0"):
        assert server.ask(CONTENT_LENGTH=length).body == b"nothing"


def test_a_client_that_leaves_in_mid_body_does_not_kill_the_worker(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    raised = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            body = environ["wsgi.input"].read()
        except ConnectionError as error:
            raised.append(error)
            raise
        start_response("200 OK", [])
        return [body]

    server = serve(application)
    for sent in (b"", b"half"):
        connection = server.request(sent, CONTENT_LENGTH="100")
        wait_for(lambda: server.reading.busy == 1)
        connection.close()
    server.wait_served(2)
    assert len(raised) == 2
    assert server.ask(b"whole").body == b"whole"
    assert capsys.readouterr().err == ""  # nobody did anything wrong


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_a_body_that_nobody_reads_is_taken_in_all_the_same(serve: Serve, size: int) -> None:
    """Or the kernel would reset the connection (unix(7)), and the front might lose the answer."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("413 Content Too Large", [])
        return [b"too much"]

    def failing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read(3)
        raise RuntimeError

    assert serve(application).ask(b"x" * size).body == b"too much"
    assert serve(failing).ask(b"x" * size).code == 500


@pytest.mark.parametrize("length", ["-1", "+5", "5 ", "0x5", "five", "5.0", "٣", "1" * 5000])
def test_a_content_length_that_is_no_number_is_refused(serve: Serve, length: str) -> None:
    server = serve(echo)
    if not length.isascii():
        length = length.encode().decode("latin-1")
    assert server.ask(CONTENT_LENGTH=length).code == 400
    assert server.ask().code == 200
