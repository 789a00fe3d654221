"""The access log of a site: Apache's combined format, then how long it took, how long it waited, and who answered."""

from __future__ import annotations

import os
import pwd
import re
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import MakeServer
from tests.front.applications import ECHO, ECHO_ASGI, says, wait_routed
from tests.support.server import Server, wait_for

LINE = re.compile(
    r'(?P<client>\S+) - (?P<user>\S+) \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "(?P<request>[^"]*)" (?P<status>\d{3}) '
    r'(?P<bytes>\d+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)" time=(?P<time>\d+\.\d{3}) '
    r"id=(?P<id>[0-9a-f]{32}) queue=(?P<queue>-|\d+\.\d{3}) worker=(?P<worker>-|\d+\.\d+:\d+) "
    r"cache=(?P<cache>-|[A-Z]+)\n"
)
SLOW = """
    import time
    def application(environ, start_response):
        time.sleep(0.3)
        start_response("200 OK", [("X-Hostel", "queue=9.999 worker=9.9:9"), ("Content-Type", "text/plain")])
        return [b"slow"]
"""


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    (front_server.projects / "files").mkdir(mode=0o755)
    (front_server.projects / "files" / "a.txt").write_text("ten bytes\n")
    front_server.site("wsgi", ECHO)
    front_server.site("asgi", ECHO_ASGI)
    front_server.site("slow", SLOW, workers={"max": 1})
    front_server.site("files", static={"/": str(front_server.projects / "files")})
    wait_routed(front_server, "wsgi", "asgi", "files", "slow")
    return front_server


def line_of(server: Server, site: str, mark: str) -> dict[str, str]:
    """The fields of the one line that contains a mark."""
    wait_for(lambda: mark in server.log(site, "access.log"), "the line")
    (line,) = [line for line in server.log(site, "access.log").splitlines(keepends=True) if mark in line]
    match = LINE.fullmatch(line)
    assert match, line
    return match.groupdict()


def test_an_applications_answer(server: Server) -> None:
    headers = {"User-Agent": "browser/1.0 (me)", "Referer": "http://elsewhere.example/"}
    answer = server.get("wsgi", "/page?a=b", headers=headers)
    fields = line_of(server, "wsgi", "/page?a=b")
    (worker,) = server.workers("wsgi")
    assert fields["request"] == "GET /page?a=b HTTP/1.1"
    assert (fields["client"], fields["user"], fields["status"]) == ("127.0.0.1", "-", "200")
    assert (fields["bytes"], fields["agent"]) == (str(len(answer.body)), headers["User-Agent"])
    assert fields["referer"] == headers["Referer"]
    assert fields["worker"].endswith(f":{worker}")
    assert 0 <= float(fields["queue"]) <= float(fields["time"]) + 0.002


def test_an_answer_over_http_names_its_worker_too(server: Server) -> None:
    server.get("asgi", "/page")
    server.get("asgi", "/second")
    (worker,) = server.workers("asgi")
    assert line_of(server, "asgi", "/second")["worker"].endswith(f":{worker}")


def test_the_time_in_the_queue(server: Server) -> None:
    server.get("slow", "/first")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda number: server.get("slow", f"/together-{number}"), range(3)))
    waits = sorted(float(line_of(server, "slow", f"/together-{number}")["queue"]) for number in range(3))
    assert waits[0] < waits[1] < waits[2] < 9  # and not what the application says of itself
    assert waits[2] >= 0.5


def test_a_file_has_neither_queue_nor_worker(server: Server) -> None:
    server.get("files", "/a.txt")
    fields = line_of(server, "files", "/a.txt")
    assert (fields["queue"], fields["worker"], fields["bytes"]) == ("-", "-", "10")


def test_nobody_ends_a_field_or_a_line(server: Server) -> None:
    agent = 'x" 200 1 "a" "b" time=0\x1b[31m\\'
    server.raw(
        b'GET /"quoted HTTP/1.1\r\nHost: wsgi.localhost\r\nConnection: close\r\nAuthorization: Basic eCIgWzpi\r\n'
        b"User-Agent: " + agent.encode() + b"\r\n\r\n"
    )
    fields = line_of(server, "wsgi", "quoted")
    assert fields["request"] == r"GET /\x22quoted HTTP/1.1"
    assert fields["agent"] == r"x\x22 200 1 \x22a\x22 \x22b\x22 time=0\x1B[31m\x5C"
    assert fields["user"] == "?"


def test_a_full_log_is_turned_over_and_no_line_is_lost(make_server: MakeServer) -> None:
    """While visitors come: the front has the log open, and notices a little later that it is another one."""
    server = make_server(arguments=("--log-size", "20K", "--log-keep", "9"))
    server.site("busy", says("busy"), workers={"min": 1, "max": 1})
    server.start()
    folder = server.log_dir / "busy"
    asked = 0

    def logged() -> list[str]:
        text = "".join(path.read_text() for path in folder.glob("access.log*"))
        return re.findall(r"GET /page-(\d+) ", text)

    def is_turned_over() -> bool:
        nonlocal asked
        server.get("busy", f"/page-{asked}")
        asked += 1
        return (folder / "access.log.1").exists() and (folder / "access.log").stat().st_size > 0

    wait_for(is_turned_over, "a new log to be written to", 60)
    wait_for(lambda: len(logged()) == asked, "all lines")
    assert sorted(map(int, logged())) == list(range(asked))
    if os.geteuid() == 0:
        front = pwd.getpwnam("hostel-front").pw_uid
        assert [(path.stat().st_uid, path.stat().st_mode & 0o777) for path in folder.glob("access.log*")] == [
            (front, 0o640) for _ in folder.glob("access.log*")
        ]
        status = folder.stat()
        assert (status.st_uid, status.st_mode & 0o777) == (0, 0o751)


@pytest.mark.skipif(os.geteuid() != 0, reason="guards between users exist only for root")
def test_a_tenant_can_read_his_log_and_change_nothing_there(make_server: MakeServer) -> None:
    """Rule 10: no reading by others, no writing, making, renaming, linking."""
    code = """
        import os

        def attempt(what):
            try:
                what()
            except OSError as error:
                return type(error).__name__
            return "done"

        def application(environ, start_response):
            own, other = (os.path.join(FOLDER, name) for name in ("tenant", "neighbour"))
            log = own + "/access.log"
            attempts = {
                "read": lambda: open(log).read(),
                "read of others": lambda: open(other + "/access.log").read(),
                "write": lambda: open(log, "a"),
                "make": lambda: open(own + "/new", "w"),
                "remove": lambda: os.unlink(log),
                "rename": lambda: os.rename(log, own + "/moved"),
                "link": lambda: os.symlink("/etc/passwd", own + "/access.log.1"),
                "hard link": lambda: os.link("/etc/passwd", own + "/access.log.new"),
                "folder": lambda: os.rename(own, own + "x"),
                "mode": lambda: os.chmod(log, 0o666),
            }
            start_response("200 OK", [("Content-Type", "text/plain")])
            return ["\\n".join(f"{name}: {attempt(what)}" for name, what in attempts.items()).encode()]
    """
    server = make_server(arguments=("--guard", "user"))
    server.site("tenant", f"FOLDER = {str(server.log_dir)!r}\n" + textwrap.dedent(code), user="daemon")
    server.site("neighbour", says("neighbour"), user="bin")
    server.start()
    server.get("neighbour")
    lines = dict(line.split(": ") for line in server.get("tenant").text.splitlines())
    assert lines.pop("read") == "done"
    assert set(lines.values()) == {"PermissionError"}, lines
