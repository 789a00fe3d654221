"""The control socket of a real server: who may call, and that no caller disturbs it."""

from __future__ import annotations

import os
import pwd
import random
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hostel.api.client import Client
from hostel.api.framing import CALL_BYTES, pack, read_frames
from hostel.errors import NotRunning, PeerError, SiteError, UsageError
from hostel.manager.control import READ_SECONDS, SITES, WRITE_SECONDS
from tests.conftest import MakeServer
from tests.support.server import ORDINARY_USER, Server, is_alive, wait_for

HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"hello"]
"""
MANY = 3 * SITES + 50
AS_STRANGER = "import sys; from hostel.api.client import Client; Client(sys.argv[1]).call('status')"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to become another user")


@pytest.fixture(scope="module", name="server")
def fixture_server(shared_server: Server) -> Server:
    shared_server.site("hello", HELLO)
    for number in range(MANY):
        shared_server.site_file(f"many-{number:03}", 'app = "app:application"\n')
    wait_for(lambda: len(shared_server.status()["sites"]) == MANY + 1, "all sites to be known", 60)
    return shared_server


@pytest.fixture(autouse=True)
def _undisturbed(server: Server) -> Iterator[None]:
    """After each test the same manager is there, answers, and has nothing to complain about."""
    manager = server.status()["server"]["manager"]
    printed = len(server.output)
    yield
    assert server.status()["server"]["manager"] == manager
    assert "Traceback" not in server.output[printed:]
    assert server.get("hello").text == "hello"


def connect(server: Server) -> socket.socket:
    folder = os.open(server.run_dir, os.O_PATH)
    try:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        sock.connect(f"/proc/self/fd/{folder}/control.sock")
        return sock
    finally:
        os.close(folder)


def run_as_stranger(server: Server) -> str:
    """What a call by another ordinary user fails with."""
    result = subprocess.run(
        [sys.executable, "-c", AS_STRANGER, str(server.run_dir)], user=pwd.getpwnam(ORDINARY_USER).pw_uid,
        group=pwd.getpwnam(ORDINARY_USER).pw_gid, extra_groups=[], capture_output=True, text=True, timeout=60,
        check=False, cwd="/",
    )  # fmt: skip
    assert result.returncode == 1
    return result.stderr.splitlines()[-1]


@as_root
def test_a_stranger_is_refused_by_the_mode(server: Server) -> None:
    status = (server.run_dir / "control.sock").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, 0)
    assert "permission denied" in run_as_stranger(server)


@as_root
def test_a_stranger_is_refused_whatever_the_mode(server: Server) -> None:
    path = server.run_dir / "control.sock"
    path.chmod(0o666)
    try:
        assert "only root and the user who started the server may control it" in run_as_stranger(server)
    finally:
        path.chmod(0o600)


@as_root
def test_root_and_its_user_control_an_ordinary_server(make_server: MakeServer) -> None:
    server = make_server(user=ORDINARY_USER)
    server.start()
    status = (server.run_dir / "control.sock").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, pwd.getpwnam(ORDINARY_USER).pw_uid)
    assert server.status()["server"]["user"] == ORDINARY_USER
    entry = pwd.getpwnam(ORDINARY_USER)
    subprocess.run(
        [sys.executable, "-c", AS_STRANGER, str(server.run_dir)], user=entry.pw_uid, group=entry.pw_gid,
        extra_groups=[], timeout=60, check=True, cwd="/",
    )  # fmt: skip


def test_rubbish_is_answered_with_an_error(server: Server) -> None:
    chance = random.Random(1)
    for _ in range(200):
        data = chance.randbytes(chance.randrange(0, 60))
        framed = chance.random() < 0.5
        with closing(connect(server)) as sock:
            sock.sendall(struct.pack(">I", len(data)) + data if framed else data)
            sock.shutdown(socket.SHUT_WR)
            try:
                answers = list(read_frames(sock))
            except ConnectionResetError:
                answers = []
        assert all(answer["error"]["kind"] == "peer" for answer in answers)
        assert answers or not framed


@pytest.mark.parametrize(
    "message",
    [{}, {"call": None}, {"call": "_serve"}, {"call": ["status"]}, {"call": "status", "sites": 5},
     {"call": "status", "more": 1}, {"call": "logs"}, {"call": "add", "name": [], "text": {}}],
)  # fmt: skip
def test_a_wrong_call_is_answered_with_an_error(server: Server, message: dict[str, object]) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(pack(message))
        (answer,) = read_frames(sock)
    assert answer["error"]["kind"] == "peer"


@pytest.mark.parametrize("length", [CALL_BYTES + 1, 2**31, 2**32 - 1])
def test_a_huge_message_is_refused_before_it_is_sent(server: Server, length: int) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(struct.pack(">I", length))
        (answer,) = read_frames(sock)
    assert "bytes: " in answer["error"]["message"]


def test_a_client_that_asks_too_much_hears_why(server: Server) -> None:
    with pytest.raises(PeerError, match=f"{CALL_BYTES} are allowed"):
        server.client.call("status", sites=["x" * 100] * 100_000)
    with pytest.raises(UsageError, match="there is no site"):
        server.client.call("status", sites=["x" * 900_000])


@pytest.mark.slow
def test_slow_callers_are_dropped(server: Server) -> None:
    manager = server.status()["server"]["manager"]
    before = len(os.listdir(f"/proc/{manager}/fd"))
    with ExitStack() as stack:
        for number in range(100):
            sock = stack.enter_context(closing(connect(server)))
            # Half of them do not finish their question, the others do not take their answer.
            sock.sendall(pack({"call": "status"}) if number % 2 else b"\0\0")
        begin = time.monotonic()
        assert server.status()["sites"]
        assert time.monotonic() - begin < READ_SECONDS
        wait_for(
            lambda: len(os.listdir(f"/proc/{manager}/fd")) <= before + 5, "the callers to be dropped",
            3 * (READ_SECONDS + WRITE_SECONDS),
        )  # fmt: skip


def test_many_callers_at_once(server: Server) -> None:
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: server.client.call("status", sites=["hello"]), range(500)))
    assert all(answer["sites"][0]["name"] == "hello" for answer in answers)


def test_callers_that_disconnect_in_the_middle(server: Server) -> None:
    server.site("slow", "import time\ntime.sleep(1)\n" + HELLO.replace("\n    ", "\n"))
    wait_for(lambda: server.state("slow"))
    for _ in range(20):
        with closing(connect(server)) as sock:
            sock.sendall(pack({"call": "status"}))
            sock.recv(100)
        with closing(connect(server)) as sock:
            sock.sendall(pack({"call": "start", "sites": ["slow"]}))
    server.wait_state("slow", "serving")


def test_a_caller_may_close_its_half(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(pack({"call": "status", "sites": ["hello"]}))
        sock.shutdown(socket.SHUT_WR)
        first, last = read_frames(sock)
    assert first["sites"][0]["name"] == "hello"
    assert last == {"end": True}


def test_a_long_answer_comes_in_parts(server: Server) -> None:
    with closing(connect(server)) as sock:
        sock.sendall(pack({"call": "status"}))
        parts = list(read_frames(sock))
    names = [[site["name"] for site in part["sites"]] for part in parts[:-1]]
    assert all(len(some) <= SITES for some in names)
    assert len(names) >= 4
    assert [name for some in names for name in some] == [site["name"] for site in server.status()["sites"]]


def test_orders(server: Server) -> None:
    server.site("ordered", HELLO)
    server.site("torn", "import nothing_like_that\n")
    wait_for(lambda: server.state("ordered") and server.state("torn"))
    (site,) = server.client.call("start", sites=["ordered"])["sites"]
    assert (site["state"], site["generation"]) == ("serving", 1)
    (site,) = server.client.call("reload", sites=["ordered"])["sites"]
    assert (site["state"], site["generation"]) == ("serving", 2)
    (site,) = server.client.call("stop", sites=["ordered"])["sites"]
    assert (site["state"], site["workers"]) == ("disabled", [])
    (site,) = server.client.call("start", sites=["torn"])["sites"]
    (problem,) = site["problems"]
    assert (problem["kind"], problem["site"], problem["step"]) == ("worker", "torn", "import")
    assert "nothing_like_that" in problem["reason"]
    with pytest.raises(UsageError, match="name a site, or --all"):
        server.client.call("start")


def test_an_order_that_need_not_be_waited_for(server: Server) -> None:
    server.site("sleepy", "import time\ntime.sleep(3)\n")
    wait_for(lambda: server.state("sleepy"))
    (site,) = server.client.call("start", sites=["sleepy"], wait=False)["sites"]
    assert site["state"] == "starting"
    (site,) = server.client.call("start", sites=["sleepy"], seconds=0.1)["sites"]
    assert site["state"] == "starting"
    server.client.call("stop", sites=["sleepy"])


def test_unknown_sites_and_broken_ones(server: Server) -> None:
    with pytest.raises(UsageError, match="there is no site 'helo'") as caught:
        server.client.call("status", sites=["hello", "helo"])
    assert caught.value.hint == "did you mean hello?"
    server.site_file("odd", "app = 3\n")
    wait_for(lambda: server.state("odd") == "invalid")
    with pytest.raises(SiteError, match=r"site odd has no valid site file: .*odd\.toml: app"):
        server.client.call("start", sites=["odd"])
    assert server.client.call("remove", sites=["odd"]) == {"removed": ["odd"]}
    assert not (server.sites / "odd.toml").exists()
    with pytest.raises(UsageError, match="there is no site 'odd'"):
        server.client.call("remove", sites=["odd"])


def test_adding_replacing_and_removing(server: Server) -> None:
    text = f'app = "app:application"\ndirectory = "{server.projects / "hello"}"\n'
    (site,) = server.client.call("add", name="added", text=text)["sites"]
    assert site["file"] == str(server.sites / "added.toml")
    assert (server.sites / "added.toml").read_text() == text
    assert server.get("added").text == "hello"
    with pytest.raises(UsageError, match="cannot add site added: it exists already"):
        server.client.call("add", name="added", text=text)
    server.client.call("add", name="added", text=text + 'domains = ["other.localhost"]\n', replace=True)
    assert server.get("other").text == "hello"
    assert server.get("added").status == 404
    for name, text in (("../x", "app = 1"), ("x" * 49, "app = 1"), ("x", "app = 1"), ("x", "\ud800"), ("x", "\0")):
        with pytest.raises((UsageError, SiteError), match=r"^cannot add"):
            server.client.call("add", name=name, text=text)
    server.client.call("remove", sites=["added"])
    assert server.view("added") == {}
    assert server.get("other").status == 404


def test_no_server(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing", Path("/dev/null")):
        with pytest.raises(NotRunning, match="no server is running at"):
            Client(str(folder)).call("status")


def test_a_manager_that_is_started_anew_is_waited_for(make_server: MakeServer) -> None:
    server = make_server()
    server.site("hello", HELLO)
    server.start()
    manager = server.status()["server"]["manager"]
    os.kill(manager, 9)
    wait_for(lambda: not is_alive(manager))
    assert server.status()["server"]["manager"] != manager


def test_a_run_directory_with_a_long_path(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user)
    server.run_dir = server.folder / ("r" * 200)
    server.site("hello", HELLO)
    server.start()
    assert server.get("hello").text == "hello"
    assert "hello" in server.run("status").stdout
    assert server.run("reload", "hello").stdout == "hello: serving (generation 2, 1 worker)\n"
