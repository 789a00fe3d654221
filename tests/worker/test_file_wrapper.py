"""``wsgi.file_wrapper``: real files go through sendfile(2), everything else is read; all are closed."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostel.worker.response import FileWrapper
from tests.worker.running import Answer, RunningServer, Serve

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which file was read by the wrapper instead of being sent by the kernel."""
    seen: list[str] = []
    original = FileWrapper.__next__

    def observed(self: FileWrapper) -> bytes:
        seen.append(type(self.filelike).__name__)
        return original(self)

    monkeypatch.setattr(FileWrapper, "__next__", observed)
    return seen


def sending(
    serve: Serve, file: Any, headers: tuple[tuple[str, str], ...] = (), status: str = "200 OK"
) -> RunningServer:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, list(headers))
        return environ["wsgi.file_wrapper"](file, 8192)

    return serve(application)


def check_closed(server: RunningServer, file: Any) -> None:
    server.wait_served(1)
    assert file.closed


def temporary_file(path: Path) -> Any:
    file = tempfile.TemporaryFile()
    file.write(CONTENT)
    file.seek(0)
    return file


def named_temporary_file(path: Path) -> Any:
    file = tempfile.NamedTemporaryFile(dir=path.parent)
    file.write(CONTENT)
    file.seek(0)
    return file


REAL: dict[str, Callable[[Path], Any]] = {
    "buffered": lambda path: path.open("rb"),
    "unbuffered": lambda path: path.open("rb", buffering=0),
    "for reading and writing": lambda path: path.open("r+b"),
    "temporary": temporary_file,
    "named temporary": named_temporary_file,
}


def gzipped(path: Path) -> Path:
    with gzip.open(path.with_suffix(".gz"), "wb") as file:
        file.write(CONTENT)
    return path.with_suffix(".gz")


def zipped(path: Path) -> Any:
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        archive.write(path, "file")
    with zipfile.ZipFile(path.with_suffix(".zip")) as archive:
        return archive.open("file")  # which keeps the archive's file open until it is closed itself


def spooled(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile(max_size=100)
    file.write(CONTENT)
    file.seek(0)
    return file


class OwnFile(io.FileIO):
    """A subclass: who knows what it makes of the bytes."""

    def read(self, size: int | None = -1) -> bytes:
        return bytes(super().read(size) or b"").swapcase()


READ: dict[str, tuple[Callable[[Path], Any], bytes]] = {
    "BytesIO": (lambda path: io.BytesIO(CONTENT), CONTENT),
    "GzipFile": (lambda path: gzip.open(gzipped(path)), CONTENT),
    "buffered GzipFile": (lambda path: io.BufferedReader(gzip.open(gzipped(path))), CONTENT),
    "member of a zip file": (zipped, CONTENT),
    "spooled temporary": (spooled, CONTENT),
    "subclass": (lambda path: OwnFile(path), CONTENT.swapcase()),
    "buffered subclass": (lambda path: io.BufferedReader(OwnFile(path)), CONTENT),
}


@pytest.mark.parametrize("kind", REAL)
def test_real_files_are_sent_by_the_kernel(serve: Serve, path: Path, kind: str, read_files: list[str]) -> None:
    file = REAL[kind](path)
    server = sending(serve, file)
    answer = server.ask()
    assert (answer.get("content-length"), answer.body) == (str(len(CONTENT)), CONTENT)
    check_closed(server, file)
    assert read_files == []


@pytest.mark.parametrize("kind", READ)
def test_everything_else_is_read(serve: Serve, path: Path, kind: str, read_files: list[str]) -> None:
    make, content = READ[kind]
    file = make(path)
    server = sending(serve, file)
    answer = server.ask()
    assert answer.body == content
    check_closed(server, file)
    assert read_files


@pytest.mark.parametrize("kind", ["buffered", "unbuffered", "for reading and writing"])
@pytest.mark.parametrize("offset", [1, 100, 70_000, len(CONTENT) - 1])
def test_sending_begins_where_the_file_stands(serve: Serve, path: Path, kind: str, offset: int) -> None:
    file = REAL[kind](path)
    file.seek(offset - 1)
    file.read(1)  # a buffered file has read further than it says
    answer = sending(serve, file).ask()
    assert (answer.get("content-length"), answer.body) == (str(len(CONTENT) - offset), CONTENT[offset:])


@pytest.mark.parametrize("kind", ["buffered", "unbuffered"])
def test_a_file_at_or_behind_its_end_is_empty(serve: Serve, path: Path, kind: str) -> None:
    for position in (len(CONTENT), len(CONTENT) + 5):
        file = REAL[kind](path)
        file.seek(position)
        answer = sending(serve, file).ask()
        assert (answer.get("content-length"), answer.body) == ("0", b"")


def test_an_empty_file(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    answer = sending(serve, (tmp_path / "empty").open("rb")).ask()
    assert (answer.get("content-length"), answer.body) == ("0", b"")


def test_a_file_of_proc_has_no_size_but_content(serve: Serve) -> None:
    answer = sending(serve, open("/proc/self/cmdline", "rb")).ask()
    assert answer.body == Path("/proc/self/cmdline").read_bytes() != b""


@pytest.mark.parametrize("length", [0, 1, 100, 300_000, len(CONTENT)])
@pytest.mark.parametrize("offset", [0, 10])
def test_a_shorter_content_length_cuts_the_file(serve: Serve, path: Path, length: int, offset: int) -> None:
    """A range of a file: the application says how much, the file where from."""
    file = path.open("rb")
    file.seek(offset)
    length = min(length, len(CONTENT) - offset)
    answer = sending(serve, file, (("Content-Length", str(length)),)).ask()
    assert (answer.get("content-length"), answer.body) == (str(length), CONTENT[offset : offset + length])


def test_a_file_shorter_than_promised_is_reported(serve: Serve, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = sending(serve, path.open("rb"), (("Content-Length", "2000000"),)).ask()
    assert (answer.get("content-length"), answer.body) == ("2000000", CONTENT)
    assert f"{len(CONTENT)} bytes of the 2000000" in capsys.readouterr().err


def test_a_file_that_shrinks_while_it_is_sent(serve: Serve, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The connection ends early, and nothing hangs."""
    with path.open("r+b") as file:
        file.truncate(50_000_000)  # far more than the connection takes before the front reads
    sent = path.open("rb")
    server = sending(serve, sent)
    connection = server.request()
    data = connection.receive_until(CONTENT[:256])
    assert b"Content-Length: 50000000\r\n" in data
    os.truncate(path, 1_000_000)
    assert len(connection.rest()) < 49_000_000
    check_closed(server, sent)
    assert "of the 50000000" in capsys.readouterr().err


def test_a_file_that_grows_is_sent_as_it_was(serve: Serve, path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(5_000_000)
    server = sending(serve, path.open("rb"))
    connection = server.request()
    head = connection.receive_until(b"\0" * 100)
    with path.open("ab") as file:
        file.write(b"x" * 1000)
    head, _, body = (head + connection.rest()).partition(b"\r\n\r\n")
    assert len(body) == 5_000_000
    assert b"x" not in body[-1000:]


@pytest.mark.parametrize(
    ("method", "status", "length"), [("HEAD", "200 OK", str(len(CONTENT))), ("GET", "304 Same", None)]
)
def test_a_file_where_there_is_no_body(serve: Serve, path: Path, method: str, status: str, length: str | None) -> None:
    file = path.open("rb")
    server = sending(serve, file, status=status)
    answer = server.ask(REQUEST_METHOD=method)
    assert (answer.status, answer.get("content-length"), answer.body) == (status, length, b"")
    check_closed(server, file)


def test_a_file_behind_written_bytes(serve: Serve, path: Path) -> None:
    for headers in ([], [("Content-Length", str(len(CONTENT) + 6))]):

        def application(environ: dict[str, Any], start_response: Any, headers: Any = headers) -> Any:
            start_response("200 OK", headers)(b"before")
            return environ["wsgi.file_wrapper"](path.open("rb"))

        assert serve(application).ask().body == b"before" + CONTENT


def test_a_wrapper_within_middleware_is_read(serve: Serve, path: Path) -> None:
    """Whoever iterates it, and not we, gets blocks of the size that was asked for."""
    sizes = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        wrapper = environ["wsgi.file_wrapper"](path.open("rb"), 1000)
        try:
            for block in wrapper:
                sizes.append(len(block))
                yield block.swapcase()
        finally:
            wrapper.close()

    assert serve(application).ask().body == CONTENT.swapcase()
    assert sizes == [1000] * 1024


def test_the_validators_wrapper_is_accepted(serve: Serve, path: Path) -> None:
    """``wsgiref.util.FileWrapper``, that many frameworks fall back to."""
    from wsgiref.util import FileWrapper as Standard

    file = path.open("rb")

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return Standard(file)

    server = serve(application)
    assert server.ask().body == CONTENT
    check_closed(server, file)


def test_a_thing_with_nothing_but_read(serve: Serve) -> None:
    class Thing:
        def __init__(self) -> None:
            self.parts = [b"one ", b"two", b""]

        def read(self, size: int) -> bytes:
            return self.parts.pop(0)

    assert sending(serve, Thing()).ask().body == b"one two"


@pytest.mark.parametrize("failure", [OSError("gone"), ValueError("odd"), SystemExit()])
def test_a_file_that_fails_in_the_middle_is_closed(serve: Serve, failure: BaseException) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise failure

    file = Failing(b"x")
    server = sending(serve, file)
    assert server.ask().code == 500
    check_closed(server, file)


def test_a_closed_file_and_a_text_file_give_500(serve: Serve, path: Path) -> None:
    closed = path.open("rb")
    closed.close()
    assert sending(serve, closed).ask().code == 500
    assert sending(serve, path.open("r", encoding="latin-1")).ask().code == 500
    closed_raw = path.open("rb", buffering=0)
    closed_raw.close()
    assert sending(serve, closed_raw).ask().code == 500


def test_a_pipe_is_read(serve: Serve, read_files: list[str]) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"through a pipe")
    os.close(writer)
    answer: Answer = sending(serve, open(reader, "rb")).ask()
    assert (answer.get("content-length"), answer.body) == (None, b"through a pipe")
    assert read_files


def test_a_client_that_leaves_closes_the_file(serve: Serve, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with path.open("r+b") as file:
        file.truncate(50_000_000)
    sent = path.open("rb")
    server = sending(serve, sent)
    connection = server.request()
    connection.receive()
    connection.close()
    check_closed(server, sent)
    assert capsys.readouterr().err == ""
