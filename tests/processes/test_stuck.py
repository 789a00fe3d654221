"""Requests that do not end and workers that take none, with a whole server: what clients get, owners read, and the site does.

All of them happen at the same time on one server, because each takes its time.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hostel.machine.health import GRACE
from hostel.manager.health import is_stopped
from tests.support.server import Answer, Server, make_folder, wait_for

pytestmark = pytest.mark.slow

APPLICATIONS = Path(__file__).parent.parent / "hostile" / "applications"
LIMIT = 0.5
PATIENCE = 100.0  # of clients, on a busy machine
LONG_LIMIT = 2.0  # where another request has to fit in
YOUNG = 0.8  # seconds before the end of the stuck one's grace that the other begins
# Each site by name: which application, how many threads, what is asked that does not end.
CASES = {
    "gives-way": ("stuck", 1, "/wait"),
    "gives-way-asgi": ("stuck_asgi", 1, "/wait"),
    "blocks": ("stuck_asgi", 1, "/block"),
    "stubborn": ("stuck", 1, "/stubborn"),
    "stubborn-asgi": ("stuck_asgi", 1, "/stubborn"),
    "holds": ("stuck", 1, "/hold"),
    "threads": ("stuck", 2, "/wait"),
    "stopped": ("stuck", 1, "/compute"),
}
FUNCTIONS = {
    "/wait": "wait_for_something",
    "/block": "block_the_loop",
    "/stubborn": "be_stubborn",
    "/hold": "hold_the_interpreter",
    "/compute": "compute",
}
ENDED = ("stubborn", "stubborn-asgi", "holds", "threads", "stopped")  # those whose worker has to go


@dataclass
class Outcome:
    pid: int
    answer: Answer
    also: Answer | None = None  # of a request that ran beside it


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(make_folder())
    try:
        server.start()
        for name, (application, threads, _) in CASES.items():
            code = (APPLICATIONS / f"{application}.py").read_text()
            limits = {"request": LIMIT if threads == 1 else LONG_LIMIT}
            server.site(name, code, workers={"min": 1, "max": 1, "threads": threads}, limits=limits)
        code = (APPLICATIONS / "stuck.py").read_text()
        server.site("deaf", code, workers={"min": 1, "max": 1})
        yield server
        assert server.stop() == 0
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


def run(server: Server, name: str) -> Outcome:
    """Ask what does not end, and what does beside it where there is room."""
    _, threads, path = CASES[name]
    (pid,) = wait_for(lambda: server.workers(name), f"a worker of {name}")
    with ThreadPoolExecutor() as pool:
        stuck: Future[Answer] = pool.submit(server.get, name, f"{path}?in={name}", timeout=PATIENCE)
        also = None
        if name == "stopped":
            wait_for(lambda: server.view(name)["workers"][0]["busy"] == 1, "the request to run")
            os.kill(pid, signal.SIGSTOP)
        if threads > 1:
            wait_for(lambda: server.view(name)["workers"][0]["busy"] == 1, "the request to run")
            time.sleep(LONG_LIMIT + GRACE - YOUNG)
            also = pool.submit(server.get, name, f"/while?{YOUNG * 1.9}").result()
        return Outcome(pid, stuck.result(), also)


@pytest.fixture(scope="module")
def outcomes(server: Server) -> dict[str, Any]:
    with ThreadPoolExecutor(len(CASES) + 1) as pool:
        found = {name: pool.submit(run, server, name) for name in CASES}
        deaf = pool.submit(run_deaf, server)
        return {**{name: future.result() for name, future in found.items()}, "deaf": deaf.result()}


def run_deaf(server: Server) -> Outcome:
    """A worker that is stopped while it runs nothing."""
    (pid,) = wait_for(lambda: server.workers("deaf"), "a worker")
    assert server.get("deaf").body == b"fine"
    wait_for(lambda: server.view("deaf")["workers"][0]["busy"] == 0, "the request to be over")
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: is_stopped(pid), "the worker to be stopped: until then it may accept yet")
    return Outcome(pid, server.get("deaf", timeout=PATIENCE))


@pytest.mark.parametrize("name", CASES)
def test_the_client_is_told_that_it_took_too_long(outcomes: dict[str, Outcome], name: str) -> None:
    answer = outcomes[name].answer
    assert answer.status == 504
    assert answer.headers["content-type"].startswith("text/html")
    assert (answer.seconds > GRACE) == (name in ENDED)
    assert answer.seconds < LONG_LIMIT + GRACE + 10


@pytest.mark.parametrize("name", CASES)
def test_the_error_log_says_which_request_it_was_and_where(
    server: Server, outcomes: dict[str, Outcome], name: str
) -> None:
    path = CASES[name][2]
    log = wait_for(lambda: server.log(name))
    in_access_log = re.search(rf"{path}\?in={name} .* id=([0-9a-f]+) ", server.log(name, "access.log"))
    assert in_access_log
    assert f"{path}?in={name}" in log
    assert f"(request {in_access_log[1]})" in log
    if name != "stopped":  # a stopped process writes nothing
        assert f" in {FUNCTIONS[path]}\n" in log
    if name in ENDED:
        assert re.search(rf"worker 1.1, pid {outcomes[name].pid}, is stuck in GET {path}\?in={name} .* for \d+ s", log)


@pytest.mark.parametrize("name", CASES)
def test_the_site_goes_on(server: Server, outcomes: dict[str, Outcome], name: str) -> None:
    assert server.get(name).body == b"fine"
    is_same = server.workers(name) == [outcomes[name].pid]
    assert is_same == (name not in ENDED)
    reasons = [problem["reason"] for problem in server.view(name)["problems"]]
    assert not is_same or reasons == []


def test_requests_beside_a_stuck_one_are_answered(outcomes: dict[str, Outcome]) -> None:
    also = outcomes["threads"].also
    assert also is not None
    assert also.body == b"fine"


def test_a_worker_that_takes_no_requests_is_found_when_one_waits(server: Server, outcomes: dict[str, Outcome]) -> None:
    assert outcomes["deaf"].answer.status in (200, 504)
    assert server.get("deaf").body == b"fine"
    assert outcomes["deaf"].pid not in server.workers("deaf")
    assert "has not answered for 10 s, while a request waited: it is stopped (SIGSTOP)" in server.log("deaf")
