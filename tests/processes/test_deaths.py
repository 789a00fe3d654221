"""What is known of a worker that has died: in the status, in JSON, in the error log, and after the manager's death too."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Server, wait_for

APPLICATIONS = Path(__file__).parent.parent / "hostile" / "applications"
MEMORY = Path("/sys/fs/cgroup/memory")  # cgroup v1
LIMIT = 100 * 2**20


def last_death(server: Server, name: str, count: int) -> Any:
    wait_for(lambda: len(server.view(name)["deaths"]) == count, f"{count} deaths")
    return server.view(name)["deaths"][0]


def test_a_death_is_told_with_what_the_worker_ran_and_kept(shared_server: Server) -> None:
    shared_server.site("dies", (APPLICATIONS / "dies_in_requests.py").read_text())
    wait_for(lambda: shared_server.view("dies"))
    (pid,) = [int(shared_server.get("dies").text)]
    assert shared_server.view("dies")["deaths"] == []
    assert shared_server.get("dies", "/segv?a=b").status == 502
    death = last_death(shared_server, "dies", 1)
    assert (death["pid"], death["signal"], death["status"], death["out_of_memory"]) == (pid, "SIGSEGV", 0, False)
    (request,) = death["requests"]
    assert (request["method"], request["url"], len(request["id"])) == ("GET", "/segv?a=b", 32)
    assert request["age"] > 0
    assert f"id={request['id']}" in shared_server.log("dies", "access.log")
    assert f"was killed by SIGSEGV; it ran GET /segv?a=b (request {request['id']})" in shared_server.log("dies")
    assert shared_server.get("dies", "/exit").status == 502
    assert (last_death(shared_server, "dies", 2)["status"], last_death(shared_server, "dies", 2)["signal"]) == (5, "")
    pid = int(shared_server.get("dies", "/last").text)
    wait_for(lambda: shared_server.view("dies")["workers"][0]["busy"] == 0, "the request to be over")
    os.kill(pid, signal.SIGKILL)
    death = last_death(shared_server, "dies", 3)
    assert (death["signal"], death["requests"][0]["url"], death["requests"][0]["age"]) == ("SIGKILL", "/last", 0)
    assert not death["out_of_memory"]

    shown = shared_server.run("status", "dies", check=False).stdout
    assert "was killed by SIGSEGV" in shown
    assert "GET /segv?a=b (request " in shown
    manager = shared_server.status()["server"]["manager"]
    os.kill(manager, signal.SIGKILL)
    wait_for(lambda: shared_server.is_answering() and shared_server.status()["server"]["manager"] != manager)
    assert len(shared_server.view("dies")["deaths"]) == 3
    assert json.loads(shared_server.run("status", "--json").stdout)["sites"][0]["deaths"][0]["pid"] == pid


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A group of processes with little memory."""
    group = MEMORY / f"hostel-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield group
    wait_for(lambda: not (group / "cgroup.procs").read_text(), "its processes to end")
    group.rmdir()


def test_memory_that_has_run_out_is_recognised(shared_server: Server, cgroup: Path) -> None:
    shared_server.site("eats", (APPLICATIONS / "eats_memory.py").read_text())
    wait_for(lambda: shared_server.view("eats"))
    assert shared_server.get("eats").status == 200
    (pid,) = shared_server.workers("eats")
    (cgroup / "cgroup.procs").write_text(str(pid))
    assert shared_server.get("eats", "/more").status == 502
    death = last_death(shared_server, "eats", 1)
    assert (death["signal"], death["out_of_memory"]) == ("SIGKILL", True)
    assert death["reason"].endswith("was killed by SIGKILL, because memory ran out")
    assert death["requests"][0]["url"] == "/more"
