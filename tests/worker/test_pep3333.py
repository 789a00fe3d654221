"""The agreement between server and application, to the letter of PEP 3333."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from hostel.protocol import uwsgi
from tests.worker.running import REQUEST, Application, Connection, Serve, stamp

CASES = ("GET", "HEAD", "POST")


def answering(*chunks: bytes, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()) -> Application:
    """An application that answers with these chunks, as a list."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, list(headers))
        return list(chunks)

    return application


# --- the environment ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", CASES)
def test_the_validator_finds_nothing(serve: Serve, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        environ["wsgi.errors"].write("a line\n")
        environ["wsgi.errors"].writelines(["and", " another\n"])
        environ["wsgi.errors"].flush()
        body = environ["wsgi.input"]
        content = body.read(3) + body.readline() + b"".join(body.readlines()) + b"".join(body)
        write = start_response("200 OK", [("Content-Type", "text/plain"), ("X-Method", environ["REQUEST_METHOD"])])
        write(b"written ")
        if method == "HEAD":
            return iter(())
        return iter([content, b" and iterated"])

    server = serve(validator(application), threads=2)
    answer = server.ask(b"content\nof two lines" if method == "POST" else b"", REQUEST_METHOD=method)
    expected = {"GET": b"written  and iterated", "HEAD": b"", "POST": b"written content\nof two lines and iterated"}
    assert (answer.status, answer.body) == ("200 OK", expected[method])
    assert capsys.readouterr().err == "a line\nand another\n"


def test_the_environment(serve: Serve) -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        assert type(environ) is dict
        environ.clear()  # it is the application's to change
        start_response("200 OK", [])
        return []

    server = serve(application, threads=1, processes=4)
    server.ask(QUERY_STRING="a=1", HTTP_X_OWN="caf\xe9", PATH_INFO="/\xc3\xa9", REQUEST_URI="/%C3%A9?a=1")
    assert seen.pop("wsgi.input").read() == b""
    assert seen.pop("wsgi.errors") is sys.stderr
    assert seen.pop("wsgi.file_wrapper")(io.BytesIO(b"x"))
    assert seen == REQUEST | {
        "QUERY_STRING": "a=1",
        "HTTP_X_OWN": "caf\xe9",
        "PATH_INFO": "/\xc3\xa9",
        "REQUEST_URI": "/%C3%A9?a=1",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "example.com",
        "REQUEST_SCHEME": "http",
        "HTTP_X_FORWARDED_FOR": "192.0.2.7",
        "HTTP_X_FORWARDED_HOST": "example.com",
        "HTTP_X_FORWARDED_PROTO": "http",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    seen.clear()
    server.ask()
    assert seen["QUERY_STRING"] == ""
    assert seen["wsgi.url_scheme"] == "http"


def test_https(serve: Serve) -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return []

    server = serve(application)
    server.ask(HTTPS="on", SERVER_PORT="443")
    assert (seen["wsgi.url_scheme"], seen["REQUEST_SCHEME"], seen["HTTP_X_FORWARDED_PROTO"]) == ("https",) * 3
    assert seen["HTTPS"] == "on"
    for value in ("", "off", "ON"):
        server.ask(HTTPS=value)
        assert (seen["wsgi.url_scheme"], seen["HTTP_X_FORWARDED_PROTO"]) == ("http", "http")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("example.com", "example.com"),
        ("example.com:8000", "example.com"),
        ("[::1]", "[::1]"),
        ("[2001:db8::7]:8000", "[2001:db8::7]"),
    ],
)
def test_the_server_name_comes_from_the_host(serve: Serve, host: str, name: str) -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return []

    serve(application).ask(HTTP_HOST=host)
    assert (seen["SERVER_NAME"], seen["HTTP_X_FORWARDED_HOST"]) == (name, host)


def test_forwarded_variables_are_derived_and_never_taken_over(serve: Serve) -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return []

    serve(application).ask(
        HTTP_X_FORWARDED_FOR="6.6.6.6",
        HTTP_X_FORWARDED_HOST="evil.example",
        HTTP_X_FORWARDED_PROTO="https",
        REQUEST_SCHEME="https",
        SERVER_NAME="evil.example",
        HTTP_PROXY="http://evil.example",
    )
    assert not [value for value in map(str, seen.values()) if "evil" in value or "6.6.6.6" in value]
    assert "HTTP_PROXY" not in seen
    assert (seen["REQUEST_SCHEME"], seen["HTTP_X_FORWARDED_PROTO"]) == ("http", "http")


@pytest.mark.parametrize(
    "packet", [b"\0\0\0\0", uwsgi.packet({"PATH_INFO": "/"}), uwsgi.packet({"REQUEST_METHOD": ""})]
)
def test_a_packet_without_a_method_is_no_request(serve: Serve, packet: bytes) -> None:
    server = serve(answering(b"run"))
    connection = server.connect()
    connection.send(packet)
    assert connection.rest() == b""
    assert server.ask().body == b"run"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"\x05" + uwsgi.packet(REQUEST)[1:],
        uwsgi.packet(REQUEST)[:3] + b"\x01" + uwsgi.packet(REQUEST)[4:],
        uwsgi.packet(REQUEST | {"UWSGI_FILE": "/etc/passwd"}),
        uwsgi.packet(REQUEST | {"wsgi.input": "mine"}),
        uwsgi.packet(REQUEST)[:-1],
        b"\0\xff\xff\0" + b"\xff" * 65535,
        b"\0\x03\0\0" + b"\xff" * 3,
    ],
)
def test_rubbish_is_dropped_and_the_next_request_served(serve: Serve, data: bytes) -> None:
    server = serve(answering(b"run"))
    connection = server.connect()
    connection.send(data)
    connection.sock.shutdown(1)  # SHUT_WR
    try:
        assert connection.rest() == b""
    except ConnectionResetError:
        pass
    assert server.ask().body == b"run"


# --- start_response -----------------------------------------------------------------------------------------------------


def test_start_response_again_with_exc_info_before_anything_was_sent(serve: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-First", "1"), ("Content-Length", "99")])
        try:
            raise RuntimeError
        except RuntimeError:
            start_response("500 Oops", [("X-Second", "2")], sys.exc_info())
        return [b"sorry"]

    answer = serve(application).ask()
    assert (answer.status, answer.body) == ("500 Oops", b"sorry")
    assert (answer.get("x-first"), answer.get("x-second"), answer.get("content-length")) == (None, "2", "5")


def test_start_response_the_first_time_with_exc_info(serve: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            raise RuntimeError
        except RuntimeError:
            start_response("500 Oops", [], sys.exc_info())
        return [b"sorry"]

    assert serve(application).ask().status == "500 Oops"


def test_start_response_again_with_exc_info_behind_sent_headers(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """It raises the given exception with its traceback, and the application does not get on."""
    steps = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begun "
        try:
            raise RuntimeError("in the middle")
        except RuntimeError:
            try:
                start_response("500 Oops", [], sys.exc_info())
            except RuntimeError as error:
                steps.append(str(error))
                raise
        yield b"never"

    answer = serve(application).ask()
    assert (answer.status, answer.body) == ("200 OK", b"begun ")
    assert steps == ["in the middle"]
    assert "RuntimeError: in the middle" in capsys.readouterr().err


def test_start_response_twice_without_exc_info(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return [b"never"]

    assert serve(application).ask().code == 500
    assert "called twice" in capsys.readouterr().err


@pytest.mark.parametrize("result", [[], [b"x"], [b"x", b"y"], (b"x",), iter([b"x"]), iter([])])
def test_no_start_response_at_all(serve: Serve, result: Iterable[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(lambda environ, start_response: result).ask().code == 500
    assert "before it called start_response" in capsys.readouterr().err


def test_start_response_within_the_iteration(serve: Serve) -> None:
    """A generator calls it when its first item is asked for; empty items before do no harm."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response("200 OK", [])
        yield b"late"

    assert serve(application).ask().body == b"late"


# --- status and headers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [
        "", "200", "200OK", "20 OK", "2000 OK", "abc OK", "099 Low", "100 Continue", "101 Switching Protocols", " 200 OK",
        "-20 OK", "²00 OK", "200 \u0100", "200 O\r\nX-Evil: 1", "200 O\nK", "200 O\rK", "200 O\0K", "200 OK\r\n\r\nbody",
        200, b"200 OK", None, ("200 OK",),
    ],
)  # fmt: skip
def test_a_bad_status_gives_500(serve: Serve, status: Any) -> None:
    answer = serve(answering(b"x", status=status)).ask()
    assert answer.code == 500
    assert b"X-Evil" not in answer.body
    assert answer.get("x-evil") is None


@pytest.mark.parametrize("status", ["200 ", "200 OK", "299 Any thing at all!", "999 Last", "404 caf\xe9"])
def test_a_good_status(serve: Serve, status: str) -> None:
    assert serve(answering(b"x", status=status)).ask().status == status


@pytest.mark.parametrize(
    "header",
    [
        ("X-Evil", "1\r\nX-More: 2"), ("X-Evil", "1\n2"), ("X-Evil", "1\r2"), ("X-Evil", "1\0"), ("X-Evil", "\r\n"),
        ("X-Evil\r\nX-More", "1"), ("X-Evil\n", "1"), ("X-Evil\r", "1"), ("X-Evil\0", "1"), ("X-Evil:", "1"),
        ("X Evil", "1"), ("", "1"), (" X-Evil", "1"), ("X-Evil ", "1"), ("X-\xe9vil", "1"), ("(X)", "1"),
        ("X-Evil", "\u0100"), ("X-Evil", "日本"), ("X-\u0100", "1"),
        ("X-Evil", 1), ("X-Evil", None), ("X-Evil", b"1"), (b"X-Evil", "1"), (1, "1"), (["X-Evil"], "1"),
        ("X-Evil",), ("X-Evil", "1", "2"), "X-Evil: 1", None, 7,
        ("Content-Length", "five"), ("Content-Length", "-1"), ("Content-Length", "1.0"), ("Content-Length", ""),
        ("Content-Length", "1\r\nX-More: 2"), ("Content-Length", 1), ("Content-Length", "٣"), ("Content-Length", "1" * 5000),
    ],
)  # fmt: skip
def test_a_bad_header_gives_500_and_reaches_nobody(serve: Serve, header: Any) -> None:
    raw = serve(answering(b"x", headers=[("X-Good", "1"), header])).request().rest()
    assert raw.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    for word in (b"X-Evil", b"X-More", b"X-Good", "日本".encode()):
        assert word not in raw


@pytest.mark.parametrize("headers", [None, 5, {"X-A": "1"}.keys()])
def test_headers_that_are_no_list_of_pairs(serve: Serve, headers: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return [b"x"]

    assert serve(application).ask().code == 500


def test_a_header_name_that_was_bad_once_is_bad_again(serve: Serve) -> None:
    """Verdicts on names are remembered."""
    server = serve(answering(b"x", headers=[("Bad Name", "1")]))
    assert [server.ask().code for _ in range(3)] == [500, 500, 500]
    server = serve(answering(b"x", headers=[("Good-Name", "1")]))
    assert [server.ask().get("good-name") for _ in range(3)] == ["1", "1", "1"]


def test_headers_come_through_in_their_order_with_latin_1(serve: Serve) -> None:
    headers = [
        ("Set-Cookie", "a=1"),
        ("X-Text", "caf\xe9\t;"),
        ("Set-Cookie", "b=2"),
        ("X-Empty", ""),
        ("!#$%&'*+-.^_`|~", "ok"),
    ]
    answer = serve(answering(b"x", headers=headers)).ask()
    ours = ("x-hostel", "content-length")
    assert [each for each in answer.headers if each[0] not in ours] == [(n.lower(), v) for n, v in headers]


def test_hop_by_hop_headers_and_our_own_are_dropped(serve: Serve) -> None:
    names = [
        "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
        "Trailers", "Transfer-Encoding", "Upgrade", "X-Hostel", "CONNECTION", "transfer-encoding", "x-hostel",
    ]  # fmt: skip
    answer = serve(answering(b"body", headers=[*((name, "forged") for name in names), ("X-Kept", "1")])).ask()
    assert [name for name, _ in answer.headers] == ["x-hostel", "x-kept", "content-length"]
    assert answer.get("x-hostel") == "queue=0.000 worker=1.1:99"
    assert answer.body == b"body"


@pytest.mark.parametrize(
    ("lengths", "code"), [(["4"], 200), (["4", "4"], 200), (["4", "04"], 200), (["4", "5"], 500), (["0", "4"], 500)]
)
def test_several_content_lengths(serve: Serve, lengths: list[str], code: int) -> None:
    answer = serve(answering(b"body", headers=[("Content-Length", length) for length in lengths])).ask()
    assert answer.code == code
    if code == 200:
        assert (answer.get("content-length"), answer.body) == ("4", b"body")


# --- Content-Length and bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "length"),
    [
        ([b"hello"], "5"), ([b"he", b"llo"], "5"), ([b"", b"hello", b""], "5"), ((b"he", b"llo"), "5"), ((b"hello",), "5"),
        ([], "0"), ((), "0"), ([b""], "0"), (iter([]), "0"), (iter([b"", b""]), "0"),
        (iter([b"hello"]), None), (iter([b"he", b"", b"llo"]), None), ({b"hello": 1}, None),
    ],
)  # fmt: skip
def test_the_length_is_told_where_it_is_known(serve: Serve, result: Any, length: str | None) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return result  # type: ignore[no-any-return]

    answer = serve(application).ask()
    assert answer.get("content-length") == length
    assert answer.body == (b"" if length == "0" else b"hello")


class Bytes(bytes):
    """Bytes all the same, as some libraries have them."""


@pytest.mark.parametrize("result", [[Bytes(b"hello")], iter([Bytes(b"hello")]), [Bytes(b"he"), b"llo"]])
def test_subclasses_of_bytes_are_bytes(serve: Serve, result: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return result

    assert serve(application).ask().body == b"hello"


@pytest.mark.parametrize(
    "result",
    ["text", ["text"], ["text", "more"], iter(["text"]), b"bytes", [1], iter([None]), None, 5, iter([""]), [[b"x"]]],
)
def test_a_body_that_is_not_made_of_bytes_gives_500(serve: Serve, result: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("X-First", "1")])
        return result

    answer = serve(application).ask()
    assert (answer.code, answer.get("x-first")) == (500, None)


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_a_body_longer_than_promised_is_cut_and_reported(
    serve: Serve, kind: Callable[[list[bytes]], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "5")])
        return kind([b"hel", b"lo wo", b"rld"])

    answer = serve(application).ask()
    assert (answer.get("content-length"), answer.body) == ("5", b"hello")
    assert "more than the 5 bytes" in capsys.readouterr().err


def test_iteration_stops_when_the_promise_is_broken(serve: Serve) -> None:
    """PEP 3333, "Handling the Content-Length Header"."""
    asked = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "5")])
        for number in range(1000):
            asked.append(number)
            yield b"abc"

    assert serve(application).ask().body == b"abcab"
    assert asked == [0, 1]


def test_an_iterator_that_keeps_its_promise_is_run_to_its_end(serve: Serve) -> None:
    """Applications do work behind their last item."""
    steps = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "5")])
        yield b"hello"
        steps.append("behind the last item")

    server = serve(application)
    assert server.ask().body == b"hello"
    server.wait_served(1)
    assert steps == ["behind the last item"]


@pytest.mark.parametrize("result", [[b"abc"], [b"a", b"bc"], iter([b"abc"])])
def test_a_body_shorter_than_promised_is_reported(
    serve: Serve, result: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The connection is closed early: the front knows then that the body is not whole."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "5")])
        return result

    answer = serve(application).ask()
    assert (answer.get("content-length"), answer.body) == ("5", b"abc")
    assert "3 bytes of the 5" in capsys.readouterr().err


@pytest.mark.parametrize("result", [[], [b""], iter([])])
def test_an_empty_body_that_was_promised_gives_500(serve: Serve, result: Any) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "5")])
        return result

    assert serve(application).ask().code == 500


def test_a_promised_length_belongs_to_the_redirect_of_the_front(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """An application that lets the front send a file may say how long that is."""
    headers = [("x-accel-redirect", "/files/large"), ("Content-Length", "5000")]
    answer = serve(answering(headers=headers)).ask()
    assert (answer.code, answer.get("x-accel-redirect"), answer.get("content-length")) == (200, "/files/large", "5000")
    assert capsys.readouterr().err == ""


# --- HEAD, 204, 304 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "headers", "length"),
    [
        ([b"hello"], [], "5"),
        ([b"he", b"llo"], [], "5"),
        ([b"hello"], [("Content-Length", "5")], "5"),
        ([], [("Content-Length", "500")], "500"),
        (iter([b"hello"]), [], None),
        (iter([b"hello"]), [("Content-Length", "5")], "5"),
        ([], [], None),  # GET may have more to say
        ([b""], [], None),
        (iter([]), [], None),
    ],
)
def test_head(serve: Serve, result: Any, headers: list[tuple[str, str]], length: str | None) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", headers)
        return result

    answer = serve(application).ask(REQUEST_METHOD="HEAD")
    assert (answer.code, answer.get("content-length"), answer.body) == (200, length, b"")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [[], [("Content-Length", "5")], [("Content-Length", "0")]])
def test_answers_without_a_body(serve: Serve, status: str, method: str, headers: list[tuple[str, str]]) -> None:
    for kind in (list, tuple, iter):

        def application(environ: dict[str, Any], start_response: Any, kind: Any = kind) -> Any:
            start_response(status, headers)
            return kind([b"hello"])

        answer = serve(application).ask(REQUEST_METHOD=method)
        assert (answer.status, answer.get("content-length"), answer.body) == (status, None, b"")


# --- the write callable -------------------------------------------------------------------------------------------------


def test_what_is_written_is_sent_before_write_returns(serve: Serve) -> None:
    go_on = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"first ")
        assert go_on.wait(30)
        write(b"second ")
        return [b"and the rest"]

    connection = serve(application).request()
    assert connection.receive_until(b"\r\n\r\nfirst ")
    go_on.set()
    assert connection.rest() == b"second and the rest"


def test_write_and_every_kind_of_iterable(serve: Serve) -> None:
    for kind in (list, tuple, iter):
        for length in (None, "10"):

            def application(
                environ: dict[str, Any], start_response: Any, kind: Any = kind, length: Any = length
            ) -> Any:
                write = start_response("200 OK", [("Content-Length", length)] if length else [])
                write(b"abc")
                write(b"")
                write(b"def")
                return kind([b"ghij"])

            answer = serve(application).ask()
            assert (answer.get("content-length"), answer.body) == (length, b"abcdefghij")


def test_writing_nothing_sends_the_head(serve: Serve) -> None:
    go_on = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-Early", "1")])(b"")
        assert go_on.wait(30)
        return []

    connection = serve(application).request()
    assert b"X-Early: 1\r\n" in connection.receive_until(b"\r\n\r\n")
    go_on.set()
    assert connection.rest() == b""


def test_writing_more_than_promised_raises(serve: Serve) -> None:
    raised = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "4")])
        write(b"abcd")
        for _ in range(2):
            try:
                write(b"e")
            except ValueError as error:
                raised.append(str(error))
        return []

    assert serve(application).ask().body == b"abcd"
    assert len(raised) == 2
    assert "more than the 4 bytes" in raised[0]


@pytest.mark.parametrize("data", ["text", 5, None, [b"x"], bytearray(b"x")])
def test_writing_what_is_not_bytes_raises(serve: Serve, data: Any) -> None:
    raised = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        try:
            write(data)
        except TypeError as error:
            raised.append(error)
        return [b"fine"]

    assert serve(application).ask().body == b"fine"
    assert len(raised) == 1


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content")])
def test_write_where_there_is_no_body(serve: Serve, method: str, status: str) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, [])(b"abc")
        return [b"def"]

    answer = serve(application).ask(REQUEST_METHOD=method)
    assert (answer.status, answer.body) == (status, b"")


# --- iterators ----------------------------------------------------------------------------------------------------------


class Result:
    """An iterable that notes that it was closed, and may do something at an item or when it is closed."""

    def __init__(self, start_response: Any, *items: Any, at_close: BaseException | None = None) -> None:
        self.start_response = start_response
        self.items = iter(items)
        self.closed = 0
        self.at_close = at_close

    def __iter__(self) -> Result:
        return self

    def __next__(self) -> bytes:
        item = next(self.items)
        if isinstance(item, BaseException):
            raise item
        if callable(item):
            item = item()
        return item  # type: ignore[no-any-return]

    def close(self) -> None:
        self.closed += 1
        if self.at_close is not None:
            raise self.at_close


@pytest.mark.parametrize(
    ("items", "method", "code", "body"),
    [
        ((b"a", b"b"), "GET", 200, b"ab"),
        ((), "GET", 200, b""),
        ((b"a",), "HEAD", 200, b""),
        ((RuntimeError(),), "GET", 500, None),
        ((b"a", RuntimeError()), "GET", 200, b"a"),
        ((b"a", SystemExit(3)), "GET", 200, b"a"),
        ((KeyboardInterrupt(),), "GET", 500, None),
        (("text",), "GET", 500, None),
        ((b"a", "text"), "GET", 200, b"a"),
    ],
)
def test_the_result_is_closed_exactly_once(
    serve: Serve, items: tuple[Any, ...], method: str, code: int, body: bytes | None
) -> None:
    for at_close in (None, RuntimeError("at close"), SystemExit(1)):
        results: list[Result] = []

        def application(
            environ: dict[str, Any], start_response: Any, results: Any = results, at_close: Any = at_close
        ) -> Any:
            start_response("200 OK", [])
            results.append(Result(start_response, *items, at_close=at_close))
            return results[-1]

        server = serve(application)
        answer = server.ask(REQUEST_METHOD=method)
        assert answer.code == code
        assert body is None or answer.body == body
        server.wait_served(1)
        assert results[0].closed == 1


def test_the_result_is_closed_when_start_response_was_never_called(serve: Serve) -> None:
    result = Result(None, b"a")
    assert serve(lambda environ, start_response: result).ask().code == 500
    assert result.closed == 1


def test_the_result_is_closed_when_the_client_is_gone(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    gone = threading.Event()
    results = []

    def application(environ: dict[str, Any], start_response: Any) -> Result:
        start_response("200 OK", [])
        rest = [lambda: gone.wait(30) and b"x" * 100_000] + [b"x" * 100_000] * 100
        results.append(Result(start_response, b"first", *rest))
        return results[-1]

    server = serve(application)
    connection = server.request()
    connection.receive_until(b"first")
    connection.close()
    gone.set()
    server.wait_served(1)
    assert results[0].closed == 1
    assert next(results[0].items)  # it was not run to its end
    assert capsys.readouterr().err == ""  # a visitor who leaves is nobody's fault


def test_a_generator_is_closed_when_the_client_is_gone(serve: Serve) -> None:
    gone, ended = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield b"first"
            assert gone.wait(30)
            while True:
                yield b"x" * 100_000
        finally:
            ended.set()

    server = serve(application)
    connection = server.request()
    connection.receive_until(b"first")
    connection.close()
    gone.set()
    assert ended.wait(30)
    assert server.request().receive_until(b"first")  # it serves the next


def test_each_item_is_sent_before_the_next_is_asked_for(serve: Serve) -> None:
    go_on = threading.Semaphore(0)

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for number in range(3):
            yield b"item %d " % number
            assert go_on.acquire(timeout=30)

    connection = serve(application).request()
    connection.receive_until(b"item 0 ")
    for number in (1, 2):
        go_on.release()
        assert connection.receive() == b"item %d " % number
    go_on.release()
    assert connection.receive() == b""


def test_a_large_answer_to_a_slow_reader(serve: Serve) -> None:
    """More than the socket's buffer holds: writes are cut short and go on."""
    content = bytes(range(256)) * 40_000
    for result in ([content], [content[:5000], content[5000:]], iter([content[:7_000_000], content[7_000_000:]])):

        def application(environ: dict[str, Any], start_response: Any, result: Any = result) -> Any:
            start_response("200 OK", [])
            return result

        assert serve(application).ask().body == content


# --- exceptions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [RuntimeError("broken"), SystemExit(1), SystemExit(), KeyboardInterrupt(), GeneratorExit(), BaseException()],
)
def test_any_exception_gives_500_and_a_traceback(
    serve: Serve, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/broken":
            start_response("200 OK", [("X-First", "1"), ("Content-Length", "77")])
            raise error
        start_response("200 OK", [])
        return [b"fine"]

    server = serve(application)
    answer = server.ask(PATH_INFO="/broken", REQUEST_URI="/broken?x=1")
    assert (answer.code, answer.get("x-first"), answer.get("content-type")) == (500, None, "text/html")
    assert str(len(answer.body)) == answer.get("content-length")
    assert b"broken" not in answer.body  # nothing of the reason is for visitors
    text = capsys.readouterr().err
    assert text.startswith("error in the application at 'GET /broken?x=1'\nTraceback (most recent call last):\n")
    assert type(error).__name__ in text
    assert server.ask().body == b"fine"


def test_a_failure_under_head_has_no_body(serve: Serve) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise RuntimeError

    answer = serve(application).ask(REQUEST_METHOD="HEAD")
    assert (answer.code, answer.body) == (500, b"")


def test_a_request_line_cannot_forge_lines_in_the_log(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise RuntimeError

    serve(application).ask(REQUEST_URI="/\nforged line\x1b[31m")
    assert "\nforged" not in capsys.readouterr().err


def test_a_lost_connection_of_the_applications_own_is_its_failure(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database that went away raises what a visitor who went away raises."""
    for error in (BrokenPipeError(), ConnectionResetError(), ConnectionRefusedError(), ConnectionError()):

        def application(environ: dict[str, Any], start_response: Any, error: Exception = error) -> list[bytes]:
            raise error

        assert serve(application).ask().code == 500
        assert type(error).__name__ in capsys.readouterr().err


def test_an_application_that_replaces_stderr_by_rubbish(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, object(), None):

        def application(environ: dict[str, Any], start_response: Any, stream: Any = stream) -> list[bytes]:
            monkeypatch.setattr(sys, "stderr", stream)
            raise RuntimeError

        server = serve(application)
        assert [server.ask().code for _ in range(2)] == [500, 500]


def test_a_connection_without_a_request(serve: Serve) -> None:
    """A connection that is closed by the front before it says anything is none."""
    server = serve(answering(b"fine"))
    for _ in range(3):
        server.connect().close()
    assert server.ask().body == b"fine"


def test_many_requests_on_one_server(serve: Serve) -> None:
    server = serve(answering(b"fine"))
    assert {server.ask().body for _ in range(300)} == {b"fine"}
    server.wait_served(300)


def test_what_the_front_sees_of_an_answer(serve: Serve) -> None:
    """Head and body in one piece, and then the end."""
    connection: Connection = serve(answering(b"hello", headers=[("X-A", "1")])).request()
    assert connection.receive() == (
        b"HTTP/1.1 200 OK\r\nX-Hostel: queue=0.000 worker=1.1:99\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"
    )
    assert connection.receive() == b""


def test_waiting_is_noted_for_the_access_log(serve: Serve) -> None:
    note = serve(answering(b"x")).ask(HTTP_X_REQUEST_START=stamp(1.5)).get("x-hostel")
    assert note is not None
    assert note.endswith(" worker=1.1:99")
    assert 1.4 < float(note.split()[0][6:]) < 30
