"""The machine says no: no room on the disk, no inode, no descriptor, no process; or the run directory is gone.

A degraded answer comes at once, and all is well again soon after the cause has gone, without a restart.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.faults.load import PID, PID_ASGI, Load
from tests.faults.test_manager import kill_manager, manager_of, wait_new_manager
from tests.support.server import ORDINARY_USER, Server, wait_for

SOON = 15.0  # for what takes five seconds on a machine that has nothing else to do
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")


def populate(server: Server) -> None:
    """One site that runs, two that have never run, and one of files."""
    server.site("awake", PID, workers={"min": 1})
    server.site("asleep", PID)
    server.site("asgi", PID_ASGI)
    server.site("files", static={"/": str(server.projects / "files")})
    (server.projects / "files/index.html").write_text("a file")
    server.start()
    wait_for(lambda: server.workers("awake"))


def check_recovers(server: Server, *names: str) -> None:
    """Every site answers, and the server can be asked; soon, and without anybody's help."""
    for name in names or ("awake", "asleep", "asgi", "files"):
        wait_for(lambda name=name: server.get(name).status == 200, f"{name} to recover", SOON)  # type: ignore[misc]
    assert server.status()["server"]["manager"]


# --- the run directory --------------------------------------------------------------------------------------------------


def empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@pytest.mark.parametrize("wipe", [empty, shutil.rmtree], ids=["emptied", "removed"])
def test_a_run_directory_that_was_wiped_is_made_anew(make_server: MakeServer, wipe: Callable[[Path], None]) -> None:
    server = make_server()
    populate(server)
    before = set(server.workers("awake"))
    assert server.get("asgi").status == 200
    server.run("stop", "asleep")
    wipe(server.run_dir)
    assert server.get("awake").seconds < SOON, "nobody waits for what is not there"
    wait_for(lambda: (server.run_dir / "sites/files").exists(), "the first signs of recovery", SOON)
    check_recovers(server, "awake", "asgi", "files")
    assert server.get("asleep").status == 503, "it is still stopped"
    server.run("start", "asleep")
    wait_for(lambda: not before & set(server.workers("awake")), "workers on the new socket alone")
    with Load(server, "awake", "asgi", "asleep") as load:
        kill_manager(server)
        load.go_on()
    assert load.failures == []
    body = b"x" * 200_000
    assert server.get("awake", method="POST", body=body).status == 200, "the front has its temporary files again"
    other = Server(server.folder)
    other.start(wait=False)
    assert other.process is not None
    assert other.process.wait(30) == 2, "the new directory is locked as the old one was"


def test_a_socket_that_a_cleaner_has_removed_is_replaced(make_server: MakeServer) -> None:
    server = make_server()
    populate(server)
    for name in ("awake", "asleep"):
        (server.run_dir / f"sites/{name}/app.sock").unlink()
    (server.run_dir / "hosts/files.localhost").unlink()
    check_recovers(server)


@NEEDS_ROOT
def test_another_file_system_over_the_run_directory(make_server: MakeServer) -> None:
    server = make_server()
    populate(server)
    with Load(server, "awake", "asleep") as load, mounted(server.run_dir, "size=4m,mode=711"):
        wait_for(lambda: (server.run_dir / "control.sock").exists(), "a new control socket", SOON)
        wait_for(lambda: (server.run_dir / "sites/awake/app.sock").exists(), "the sites", SOON)
        load.failures.clear()
        load.go_on()
        check_recovers(server)
    wait_for(server.is_answering, "the control socket at its old place", SOON)
    check_recovers(server)
    assert all("404" not in failure for failure in load.failures), "every name leads somewhere all the time"


# --- no room ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(path: Path, options: str) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill_room(path: Path) -> None:
    with (path / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)


def fill_inodes(path: Path) -> None:
    (path / "filler").mkdir()
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (path / f"filler/{number}").touch()


def free(path: Path) -> None:
    subprocess.run(["rm", "-rf", str(path / "filler")], check=True)


@NEEDS_ROOT
@pytest.mark.parametrize("fill", [fill_room, fill_inodes], ids=["no room", "no inode"])
def test_a_full_disk(make_server: MakeServer, fill: Callable[[Path], None]) -> None:
    server = make_server()
    disk = server.folder / "disk"
    server.run_dir, server.state_dir, server.log_dir = (disk / name for name in ("run", "state", "log"))
    with mounted(disk, "size=8m,nr_inodes=2000,mode=755"):
        populate(server)
        fill(disk)
        try:
            for name in ("awake", "files"):
                assert server.get(name).status == 200, "what runs goes on"
            for name in ("asleep", "asgi"):
                answer = server.get(name)
                assert answer.status in (200, 502, 503), "what cannot be started says so"
            server.site("new", PID)  # which cannot get a place in the run directory, or a log
            wait_for(lambda: server.state("new"))
            server.run("stop", "awake", check=False)
            assert server.get("awake").status in (502, 503)
            kill_manager(server)
            assert server.get("files").status == 200
        finally:
            free(disk)
        server.run("start", "awake")
        check_recovers(server, "awake", "asleep", "asgi", "files", "new")
        server.stop()


# --- no descriptor, no process ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def limited(server: Server, pid: int, what: str, limit: int) -> Iterator[None]:
    """A process with less of something (an option of prlimit(1)) than it would like."""

    entry = pwd.getpwnam(server.user) if server.user else None
    become = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []} if entry else {}

    def run(*arguments: str) -> str:
        command = ["prlimit", "--pid", str(pid), *arguments]
        return str(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **become).stdout)  # type: ignore[call-overload]

    before = run(f"--{what}", "--noheadings", "--output", "SOFT").strip()
    run(f"--{what}={limit}:")
    try:
        yield
    finally:
        run(f"--{what}={before}:")


def test_a_manager_without_descriptors(make_server: MakeServer) -> None:
    server = make_server()
    populate(server)
    manager = server.status()["server"]["manager"]
    open_now = len(os.listdir(f"/proc/{manager}/fd"))
    with limited(server, manager, "nofile", open_now):
        assert server.get("awake").status == 200
        for name in ("asleep", "asgi"):
            assert server.get(name).status in (502, 503)
            assert server.get(name).status in (502, 503)
    check_recovers(server)
    assert server.status()["server"]["manager"] == manager
    for name in ("awake", "asleep", "asgi"):
        server.run("stop", name)
    wait_for(lambda: len(os.listdir(f"/proc/{manager}/fd")) <= open_now, "no descriptor to be leaked")


def test_a_zygote_that_must_not_fork(make_server: MakeServer) -> None:
    server = make_server(user=ORDINARY_USER if os.geteuid() == 0 else "")
    populate(server)
    zygotes = [zygote["pid"] for zygote in server.status()["server"]["zygotes"] if zygote["pid"]]
    with contextlib.ExitStack() as limits:
        for pid in zygotes:
            limits.enter_context(limited(server, pid, "nproc", 1))
        assert server.get("awake").status == 200
        for name in ("asleep", "asgi"):
            assert server.get(name).status in (502, 503)
            assert server.get(name).status in (502, 503)
        assert "cannot fork" in server.view("asleep")["problems"][0]["reason"]
    check_recovers(server)


def test_a_supervisor_that_must_not_fork(make_server: MakeServer) -> None:
    server = make_server(user=ORDINARY_USER if os.geteuid() == 0 else "")
    populate(server)
    assert server.process is not None
    old = manager_of(server)
    with limited(server, server.process.pid, "nproc", 1), Load(server, "awake", "files") as load:
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: "cannot start a manager" in server.output, "the supervisor to try")
        load.go_on()
    wait_new_manager(server, old)
    assert load.failures == []
    check_recovers(server)


# --- the clock ----------------------------------------------------------------------------------------------------------

JUMPING = """
    import asyncio, os, time
    real, offset = time.time, 0.0
    time.time = lambda: real() + offset  # as the worker sees it from now on; the front has stamped by the old time
    def act(query):
        global offset
        if query.startswith("jump="):
            offset = float(query[5:])
"""
JUMPING_WSGI = (
    JUMPING
    + """
    def application(environ, start_response):
        act(environ["QUERY_STRING"])
        time.sleep(0.2)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"served"]
"""
)
JUMPING_ASGI = (
    JUMPING
    + """
    async def application(scope, receive, send):
        if scope["type"] == "http":
            act(scope["query_string"].decode())
            await asyncio.sleep(0.2)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"served"})
"""
)


@pytest.mark.parametrize(("name", "code"), [("wsgi", JUMPING_WSGI), ("asgi", JUMPING_ASGI)])
def test_a_clock_that_jumps_by_an_hour_both_ways(shared_server: Server, name: str, code: str) -> None:
    server = shared_server
    server.site(name, code, workers={"max": 1}, limits={"queue": "2s"})
    wait_for(lambda: server.state(name) == "cold")
    assert server.get(name).status == 200
    for jump in ("3600", "0", "-3600", "0"):
        with ThreadPoolExecutor(4) as pool:
            answers = [
                pool.submit(server.get, name, f"/?jump={jump}"),
                *(pool.submit(server.get, name) for _ in range(3)),
            ]
        assert [answer.result().status for answer in answers] == [200] * 4, "nobody has waited for so long"
    server.get(name, "/?jump=-3600")
    with ThreadPoolExecutor(30) as pool:
        statuses = [answer.status for answer in pool.map(server.get, [name] * 30)]
    if name == "wsgi":
        assert 503 in statuses, "and who has really waited for too long is told so"
