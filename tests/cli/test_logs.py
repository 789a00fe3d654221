"""Following log files: whatever happens to them, each line is shown once and in order."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hostel.cli.logs import BLOCK_BYTES, OpenLog, Tail, moment_of, with_moments
from hostel.manager.turning import turn_over
from tests.support.server import Server, wait_for

MakeTail = Callable[[Path], Tail]
CHATTY = """
    import sys
    def application(environ, start_response):
        print("asked for", environ["PATH_INFO"])
        sys.stdout.flush()
        start_response("200 OK", [])
        return [b""]
"""


def write(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


@pytest.fixture(name="tail")
def fixture_tail() -> Iterator[MakeTail]:
    with ExitStack() as stack:
        yield lambda path: stack.enter_context(closing(Tail(str(path))))


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path) -> Path:
    return tmp_path / "error.log"


def test_last_lines(path: Path, tail: MakeTail) -> None:
    assert tail(path).last(5) == []
    write(path, *map(str, range(100)))
    assert tail(path).last(3) == ["97", "98", "99"]
    assert tail(path).last(0) == []
    assert len(tail(path).last(1000)) == 100
    path.write_text("")
    assert tail(path).last(3) == []


def test_last_lines_of_long_files(path: Path, tail: MakeTail) -> None:
    chance = random.Random(1)
    lines = ["x" * chance.randrange(2000) for _ in range(2000)]
    write(path, *lines)
    assert path.stat().st_size > 10 * BLOCK_BYTES
    for number in (1, 10, 100, 1000, 2000, 3000):
        assert tail(path).last(number) == lines[-number:]
    path.write_text("x" * (3 * BLOCK_BYTES) + "\nend\n")
    assert tail(path).last(1) == ["end"]
    assert len(tail(path).last(2)[0]) == 3 * BLOCK_BYTES


def test_last_lines_reach_into_the_file_before(path: Path, tail: MakeTail) -> None:
    write(path.with_name("error.log.1"), "a", "b", "c")
    write(path, "d")
    assert tail(path).last(3) == ["b", "c", "d"]
    assert tail(path).last(1) == ["d"]


def test_new_lines(path: Path, tail: MakeTail) -> None:
    one = tail(path)
    assert one.last(5) == one.new() == []
    write(path, "a", "b")
    assert one.new() == ["a", "b"]
    with path.open("a") as file:
        file.write("half")
    assert one.new() == []
    write(path, " whole", "c")
    assert one.new() == ["half whole", "c"]
    again = tail(path)
    assert again.last(1) == ["c"]
    write(path, "d")
    assert again.new() == one.new() == ["d"]


def test_a_half_line_is_not_shown_twice(path: Path, tail: MakeTail) -> None:
    path.write_text("a\nhal")
    one = tail(path)
    assert one.last(5) == ["a"]
    write(path, "f")
    assert one.new() == ["half"]


def test_bytes_that_are_no_text(path: Path, tail: MakeTail) -> None:
    path.write_bytes(b"\xff\xfe\n")
    assert tail(path).last(1) == ["\\xff\\xfe"]


def test_a_file_that_is_turned_over(path: Path, tail: MakeTail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Tail.__module__], "LINGER_SECONDS", -1)
    write(path, "a")
    one = tail(path)
    one.last(9)
    write(path, "b")
    path.rename(f"{path}.1")
    assert one.new() == ["b"]
    with Path(f"{path}.1").open("a") as file:
        file.write("late\nunfinished")
    write(path, "c")
    assert one.new() + one.new() + one.new() == ["late", "unfinished", "c"]
    path.write_text("")  # as copytruncate does
    assert one.new() == []
    write(path, "d")
    assert one.new() == ["d"]
    path.unlink()
    assert one.new() == []


def test_a_line_that_is_written_while_the_file_is_turned_over(path: Path) -> None:
    class Unlucky(Tail):
        def _is_turned_over(self, log: OpenLog) -> bool:
            is_turned_over = super()._is_turned_over(log)
            write(Path(f"{path}.1"), "just then")
            return is_turned_over

    write(path, "a")
    with closing(Unlucky(str(path))) as one:
        assert one.last(1) == ["a"]
        path.rename(f"{path}.1")
        write(path, "b")
        assert set(one.new() + one.new()) == {"just then", "b"}


def test_lines_that_still_go_to_the_file_that_was_turned_over(path: Path, tail: MakeTail) -> None:
    """As the front's do: it has the file open."""
    write(path, "a")
    one = tail(path)
    assert one.last(9) == ["a"]
    with path.open("a") as front:
        turn_over(str(path), 1)
        write(path, "new")
        assert one.new() == ["new"]
        front.write("old\n")
        front.flush()
        assert one.new() == ["old"]
        write(path, "new again")
        front.write("old again\n")
        front.flush()
        assert one.new() == ["old again", "new again"]
    assert tail(path).last(9) == ["a", "old", "old again", "new", "new again"]


def test_a_file_that_is_turned_over_all_the_time(path: Path, tail: MakeTail) -> None:
    chance = random.Random(2)
    one = tail(path)
    one.last(0)
    seen: list[str] = []
    written = 0
    for _ in range(500):
        match chance.randrange(3):
            case 0:
                write(path, str(written))
                written += 1
            case 1 if path.exists():
                seen += one.new() + one.new()  # a reader that is not a whole file late
                path.replace(f"{path}.1")
            case 2:
                seen += one.new()
    for _ in range(3):
        seen += one.new()
    assert seen == [str(number) for number in range(written)]


def test_both_logs_are_merged_by_time() -> None:
    error = ["no time", "2026-11-21T03:54:28.500Z [1.1] Traceback", "  no time either"]
    access = ['1.2.3.4 - - [21/Nov/2026:04:54:28 +0100] "GET / HTTP/1.1" 200', "1.2.3.4 - - [nonsense]"]
    first, second = with_moments(error), with_moments(access)
    assert first[0][0] == 0
    assert first[1][0] == first[2][0] < second[0][0] == second[1][0] < first[1][0] + 1
    assert moment_of("2026-99-99T00:00:00Z x") is None


@pytest.fixture(scope="module", name="server")
def fixture_server(shared_server: Server) -> Server:
    for name in ("chatty", "turned", "silent"):
        shared_server.site(name, CHATTY)
    wait_for(lambda: all(map(shared_server.state, ("chatty", "turned", "silent"))))
    return shared_server


def test_show_logs(server: Server) -> None:
    for number in range(5):
        server.get("chatty", f"/{number}")
    wait_for(lambda: "GET /4 " in server.log("chatty", "access.log") and "for /4" in server.log("chatty"))
    both = server.run("logs", "chatty").stdout
    assert both.index("cold -> starting") < both.index("asked for /0") < both.index('"GET /0 ')
    assert all(line.startswith(("error  ", "access ")) for line in both.splitlines())
    assert server.run("logs", "chatty", "--errors", "-n", "2").stdout.count("\n") == 2
    access = server.run("logs", "chatty", "--access", "-n3").stdout
    # The front's processes write when they have answered: the client may have asked another one by then.
    assert len(access.splitlines()) == 3
    assert {line.split()[7] for line in access.splitlines()} <= {"/1", "/2", "/3", "/4"}
    assert server.run("logs", "chatty", "-n", "0").stdout == ""
    silent = server.run("logs", "silent")
    assert (silent.stdout, silent.stderr) == ("", "nothing has been logged for site silent yet\n")


def follow(server: Server, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hostel", "logs", "-f", "-n", "0", *arguments, "--run-dir", str(server.run_dir)]
    with (server.folder / "follow").open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def test_follow_logs_until_ctrl_c(server: Server) -> None:
    output = server.folder / "follow"
    process = follow(server, "turned")
    try:
        for number in range(3):
            wait_for(lambda: server.get("turned", f"/{number}") and f"asked for /{number}" in output.read_text())  # noqa: B023
        log = server.log_dir / "turned" / "error.log"
        log.rename(f"{log}.1")
        write(log, "2026-11-21T00:00:00.000Z [1.1] in the new file")
        wait_for(lambda: "in the new file" in output.read_text(), "the new file to be followed")
        assert "GET /0 " in output.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in output.read_text()


def test_a_reader_that_goes_away(server: Server) -> None:
    server.get("chatty")
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "hostel", "logs", "-f", "chatty", "--run-dir", str(server.run_dir)],
        stdout=writer, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    wait_for(lambda: server.get("chatty") and process.poll() is not None, "the command to end")
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_no_logs(server: Server) -> None:
    result = server.run("logs", "chaty", check=False)
    assert (result.returncode, result.stderr) == (2, "error: there is no site 'chaty'\nhint:  did you mean chatty?\n")
    assert server.run("logs", "chatty", "-n", "-1", check=False).returncode == 2
