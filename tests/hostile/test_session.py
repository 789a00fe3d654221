"""``hostel exec`` and ``hostel shell``: a command is what a worker would be, and does not get the operator's terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostel.sandbox.cgroups import find_trees
from hostel.sandbox.session import CANNOT_BECOME
from tests.support.server import DEADLINE, Server, make_folder, wait_for

pytestmark = pytest.mark.server
LOOK = """
import json, os, resource
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
found = {name: status[name] for name in ("Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "NSpid")}
found |= {"cwd": os.getcwd(), "files": resource.getrlimit(resource.RLIMIT_NOFILE), "umask": os.umask(0)}
found["environment"] = {key: value for key, value in os.environ.items() if key not in ("TERM", "COLORTERM", "LC_CTYPE")}
found["namespaces"] = [os.path.exists("/proc/%d" % int(os.environ["OUTSIDE"])), os.path.exists("/root/.")]
"""
APP = (
    LOOK
    + """
def application(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps(found).encode()]
"""
)


@pytest.fixture(scope="module", params=["none", "full"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(make_folder(), guard=request.param)
    try:
        server.start()
        server.site("site", APP, env={"COLOR": "blue", "OUTSIDE": str(os.getpid())}, limits={"files": 500})
        server.site("files", None, static={"/": "."})
        wait_for(lambda: server.state("files"), "the sites")
        yield server
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


def command(server: Server, *words: str) -> list[str]:
    return [sys.executable, "-m", "hostel", "exec", "--run-dir", str(server.run_dir), *words]


def run(server: Server, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(server, *words),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        start_new_session=True,
        **more,
    )
    assert not any(list(Path(tree.path).glob("site.*")) for tree in find_trees(str(server.run_dir))), "no group is left"
    return done


def test_a_command_is_what_a_worker_is(server: Server) -> None:
    done = run(server, "site", "--", "python", "-c", LOOK + "print(json.dumps(found))")
    assert (done.returncode, done.stderr) == (0, "")
    mine, workers = json.loads(done.stdout), server.get("site").json()
    for found in (mine, workers):
        found["NSpid"] = len(found["NSpid"].split())
    mine["environment"].pop("PWD", None)
    assert mine == workers


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["sh", "-c", "exit 7"], 7, ""), (["sh", "-c", "kill -9 $$"], 137, ""),
        (["nowhere"], 127, "cannot execute nowhere: No such file or directory"), (["/etc"], 126, "cannot execute /etc"),
    ],
)  # fmt: skip
def test_the_status_is_the_command_s(server: Server, words: list[str], status: int, said: str) -> None:
    done = run(server, "site", "--", *words)
    assert done.returncode == status
    assert said in done.stderr


def test_pipes_go_through(server: Server) -> None:
    assert run(server, "site", "--", "cat", input="hello").stdout == "hello"


def test_sites_without_processes_and_unknown_ones(server: Server) -> None:
    assert "has no processes" in run(server, "files", "--", "true").stderr
    assert run(server, "nobody-knows", "--", "true").returncode == 2
    assert CANNOT_BECOME == 111


def test_what_a_command_leaves_behind_is_ended(server: Server) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs namespaces or control groups")
    marker = f"3602.{server.port}"
    run(server, "site", "--", "sh", "-c", f"setsid sleep {marker} >/dev/null 2>&1 </dev/null &")
    wait_for(
        lambda: subprocess.run(["pgrep", "-f", f"^sleep {marker}"], capture_output=True, check=False).returncode == 1
    )


def converse(words: list[str], typed: bytes) -> tuple[bytes, str, int]:
    """What a command says on a terminal on which this is typed; the terminal's name, and the exit status."""
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.write(ours, typed)
    said, deadline = b"", time.monotonic() + DEADLINE
    while time.monotonic() < deadline and select.select([ours], [], [], DEADLINE)[0]:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        said += data
    os.close(ours)
    try:
        return said, name, process.wait(DEADLINE)
    finally:
        process.kill()


def test_the_operator_s_terminal_is_out_of_reach(server: Server) -> None:
    """Typing into its own terminal, where the kernel lets it, and into that of the operator, which it has not."""
    code = (
        "import fcntl, os, termios\n"
        "print('terminals', *{os.ttyname(number) for number in (0, 1, 2)}, 'end')\n"
        "for path in ('/dev/tty', '/proc/self/fd/0'):\n"
        "    try:\n"
        "        fcntl.ioctl(os.open(path, os.O_RDWR), termios.TIOCSTI, b'#')\n"
        "    except OSError:\n"
        "        pass\n"
        "print('read', input(), 'end')\n"
    )
    said, name, status = converse(command(server, "site", "--", "python", "-c", code), b"typed\n")
    assert status == 0, said
    terminals = said.split(b"terminals ")[1].split(b" end")[0].decode().split()
    assert len(terminals) == 1
    assert terminals != [name]
    assert b"typed" in said.split(b"read ")[1]


def test_a_shell(server: Server) -> None:
    words = [sys.executable, "-m", "hostel", "shell", "--run-dir", str(server.run_dir), "site"]
    said, _, status = converse(words, b"echo =$COLOR=; exit 5\n")
    assert b"=blue=" in said
    assert status == 5
