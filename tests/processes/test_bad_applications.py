"""Applications that go wrong by mistake or on purpose: what their visitors and owners see, and that nobody else notices.

The applications are in ``tests/hostile/applications``, a file for each.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import MakeServer
from tests.support.server import Answer, Server, is_alive, make_folder, wait_for

APPLICATIONS = Path(__file__).parent.parent / "hostile" / "applications"
SOON = 4.0  # for what should come at once, on a busy machine
GOOD = """
    import os
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"good {os.getpid()}".encode()]
"""
# It imports what the bad ones do, so that the zygote has learned it all before and need not be replaced meanwhile.
NEIGHBOUR = (
    "import array, ctypes, faulthandler, json, math, os, signal, socket, struct, sys, threading, time, asyncio, uvicorn\n"
    "import multiprocessing, subprocess, uvicorn.server, http, email, html, urllib.request, tempfile\n"
) + GOOD.replace("\n    ", "\n")
ID = re.compile(r"<code>([0-9a-f]{8})</code>")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Visitor(threading.Thread):
    """Visits a site all the time, and keeps what was not right about it."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__(daemon=True)
        self.server, self.site = server, name
        self.count = 0
        self.failures: list[str] = []
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.wait(0.02):
            try:
                answer = self.server.get(self.site, timeout=10)
                if answer.status != 200:
                    self.failures.append(f"{answer.status}: {answer.text}")
            except Exception as error:
                self.failures.append(repr(error))
            self.count += 1


def pids(server: Server) -> dict[str, Any]:
    """The processes that nothing that a site does may end."""
    said = server.status()["server"]
    return {
        "supervisor": said["supervisor"], "manager": said["manager"], "front": said["front"],
        "zygotes": [zygote["pid"] for zygote in said["zygotes"]], "neighbour": server.workers("neighbour"),
    }  # fmt: skip


def has_learned(server: Server) -> bool:
    zygotes = server.status()["server"]["zygotes"]
    return any(zygote["state"] == "current" and zygote["preloaded"] > 50 for zygote in zygotes)


@pytest.fixture(scope="module")
def visited() -> Iterator[tuple[Server, Visitor]]:
    """A server with a neighbour that is visited all the time."""
    server = Server(make_folder())
    try:
        server.start()
        server.site("neighbour", NEIGHBOUR, workers={"min": 1, "max": 1})
        server.wait_state("neighbour", "serving")
        wait_for(lambda: has_learned(server), "a zygote that has learned")
        server.client.call("reload", sites=["neighbour"])
        wait_for(lambda: len(server.view("neighbour")["workers"]) == 1, "the neighbour to come from the learned zygote")
        wait_for(lambda: len(server.status()["server"]["zygotes"]) == 1, "the first zygote to go")
        visitor = Visitor(server, "neighbour")
        visitor.start()
        yield server, visitor
        visitor.is_over.set()
        visitor.join()
        assert server.stop() == 0
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def server(visited: tuple[Server, Visitor]) -> Iterator[Server]:
    """The server; afterwards the neighbour has served all the time, and all processes of the server are the same."""
    server, visitor = visited
    before = pids(server)
    visitor.failures.clear()
    yield server
    count = visitor.count
    wait_for(lambda: visitor.count > count + 1, "the neighbour's visitor")
    assert visitor.failures == []
    assert pids(server) == before
    assert server.view("neighbour")["problems"] == []


def source(application: str) -> str:
    return (APPLICATIONS / f"{application}.py").read_text()


def put(server: Server, application: str, **options: Any) -> str:
    """Make a site of one of the bad applications; its name. Ends the one of an earlier test."""
    name = application.replace("_", "-")
    server.site(name, source(application), **options)
    wait_for(lambda: server.view(name), "the site", SOON)
    return name


def remove(server: Server, name: str) -> None:
    (server.sites / f"{name}.toml").unlink()
    wait_for(lambda: not server.view(name), "the site to go")


def problem_of(server: Server, name: str) -> dict[str, Any]:
    (problem,) = server.view(name)["problems"]
    assert problem["kind"] == "worker"
    return dict(problem)


def check_closed(answer: Answer, problem: dict[str, Any]) -> None:
    """A short page with an id, and nothing that is the owner's business."""
    assert answer.status == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["retry-after"]) > 0
    assert len(answer.body) < 3000
    found = ID.search(answer.text)
    assert found
    assert found[1] == problem["id"]
    for secret in ("Traceback", "/var/tmp", "s3cret", "app.py", "Error"):
        assert secret not in answer.text


# --- what does not start ---------------------------------------------------------------------------------------------


class Broken(NamedTuple):
    """An application that does not start, and what its owner is told."""

    application: str
    reason: str  # a regular expression
    hint: str = ""
    traceback: str = ""  # part of the last line; empty when there is to be none
    output: str = ""
    options: dict[str, Any] = {}
    step: str = "import"


NOT_YOURS = "descriptors 0 to 6 of a worker belong to Hostel"
HANGS = {"limits": {"start": "1s"}}
LATE = r"it did not say that it is ready within 1 s \(limits.start\); it was at step 'import'$"
BROKEN = {
    "no module": Broken(
        "no_callable", r"^no module named 'nowhere'$", "check app and directory", options={"app": "nowhere:application"}
    ),
    "no submodule": Broken(
        "no_callable", r"^no module named 'app.wsgi'", "check app and directory", options={"app": "app.wsgi:application"}
    ),
    "no dependency": Broken(
        "missing_dependency", r"^no module named 'no_such_package_anywhere'$", "install it into the site's environment",
        "ModuleNotFoundError",
    ),
    "no name": Broken("other_name", r"^module 'app' has no 'application'$", "it has: wsgi_app"),
    "no callable": Broken("no_callable", r"^'app:application' is dict, which cannot be called$", "app has to name"),
    "no factory": Broken(
        "other_name", r"^app:wsgi_app\(\) raised TypeError", "see the traceback", "TypeError", options={"app": "app:wsgi_app()"}
    ),
    "raises": Broken(
        "raises_at_import", r"^RuntimeError: <script>alert\(1\)</script> site=other", "see the traceback", "cold -> serving"
    ),
    "raises base": Broken("raises_base_exception", r"^Stop: enough$", "see the traceback", "Stop: enough"),
    "exits": Broken(
        "exits_at_import", r"^module 'app' exits when it is imported \(status 3\)$", "__main__", "SystemExit: 3",
        "usage: app FILE",
    ),
    "leaves": Broken(
        "leaves_at_import", r"exited by itself with status 7", "must not end its process", output="last words"
    ),
    "is killed": Broken("kills_itself_at_import", r"was killed by SIGKILL at step 'import'$", "error log"),
    "crashes": Broken(
        "crashes_at_import", r"was killed by SIGSEGV at step 'import'$", "error log", output="Fatal Python error: Segmentation"
    ),
    "hangs": Broken("hangs_at_import", LATE, "stack", output="in wait_for_the_database", options=HANGS),
    "hangs deaf": Broken("hangs_deaf_at_import", LATE, "stack", options=HANGS),
    "writes to channel": Broken("writes_to_channel_at_import", r"^the application has written to Hostel's channel", NOT_YOURS),
    "closes descriptors": Broken(
        "closes_descriptors_at_import", r"^the application has closed descriptors that belong to its worker$", NOT_YOURS
    ),
    "shuts down": Broken(
        "shuts_down_socket_at_import", r"^the application has shut down its listening socket, descriptor 3", NOT_YOURS, step=""
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(BROKEN))
def test_a_site_that_does_not_start(server: Server, case: str) -> None:
    expected = BROKEN[case]
    name = put(server, expected.application, **expected.options)
    first = server.get(name)  # waits in the queue for the start that fails
    wait_for(lambda: server.state(name) == "failed" and not server.view(name)["workers"])
    problem = problem_of(server, name)
    if case == "shuts down":
        assert first.status in (502, 503)  # 502: the kernel closes the connections that wait on the socket
    else:
        check_closed(first, problem)
    second = server.get(name)  # is told at once, by the front
    check_closed(second, problem)
    assert second.seconds < 1
    view = server.view(name)
    assert view["workers"] == []
    assert view["state"] == "failed"
    assert re.search(expected.reason, problem["reason"]), problem["reason"]
    assert expected.hint in problem["hint"]
    assert problem["hint"]
    assert problem["step"] == expected.step or not expected.step
    if expected.traceback:
        assert expected.traceback in problem["traceback"].splitlines()[-1]
    else:
        assert not problem["traceback"]
    assert expected.output in problem["output"]
    assert problem["steps"][0][0] == "become"
    for said in (problem["reason"], problem["hint"], problem["output"], problem["traceback"]):
        assert said.replace("\n", "").isprintable()
    assert "\n" not in problem["reason"]
    remove(server, name)


@pytest.mark.parametrize(
    "application",
    ["raises_at_import", "exits_at_import", "leaves_at_import", "crashes_at_import", "closes_descriptors_at_import"],
)
def test_the_next_request_after_the_code_was_mended_is_served(server: Server, application: str) -> None:
    name = put(server, application)
    assert server.get(name).status == 503
    server.write(f"{name}/app.py", GOOD)
    began = time.monotonic()
    wait_for(lambda: server.get(name).status == 200, "the mended site", SOON)
    print(f"served {time.monotonic() - began:.2f} s after it was mended")
    assert server.view(name)["problems"] == []
    remove(server, name)


def test_a_missing_module_that_appears(server: Server) -> None:
    """First its folder, then the file: each is a reason to try, and the first of them is in vain."""
    name = put(server, "no_callable", app="package.wsgi:application")
    assert server.get(name).status == 503
    (server.projects / name / "package").mkdir()
    generation = server.view(name)["generation"]
    wait_for(
        lambda: server.view(name)["generation"] > generation and server.state(name) == "failed", "another try", SOON
    )
    server.write(f"{name}/package/wsgi.py", GOOD)
    wait_for(lambda: server.get(name).status == 200, "the module to be found", SOON)
    remove(server, name)


def test_a_missing_dependency_that_is_installed(server: Server) -> None:
    """Into the usual place, a virtualenv called .venv in the site's own folder."""
    folder = server.projects / "missing-dependency"
    packages = folder / ".venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (folder / ".venv" / "bin").mkdir()
    (folder / ".venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    (folder / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    zygotes = len(server.status()["server"]["zygotes"])
    name, code = folder.name, source("missing_dependency") + GOOD.replace("\n    ", "\n")
    server.site(name, code, environment=str(folder / ".venv"))
    wait_for(lambda: server.view(name), "the site", SOON)
    assert server.get(name).status == 503
    assert "no_such_package_anywhere" in problem_of(server, name)["reason"]
    (packages / "no_such_package_anywhere").mkdir()
    (packages / "no_such_package_anywhere" / "__init__.py").write_text("")
    wait_for(lambda: server.get(name).status == 200, "the package to be found", SOON)
    remove(server, name)
    end_zygotes(server, zygotes)


def end_zygotes(server: Server, count: int) -> None:
    """End the zygotes that a test has started beyond those it found; the server ends them when it ends."""
    for zygote in server.status()["server"]["zygotes"]:
        if zygote["environment"].startswith(str(server.projects)):
            os.kill(zygote["pid"], signal.SIGKILL)
    wait_for(lambda: len(server.status()["server"]["zygotes"]) == count, "the zygotes to go")


def test_a_changed_site_file_is_tried_at_once(server: Server) -> None:
    name = put(server, "other_name")
    assert server.get(name).status == 503
    server.site(name, app="app:wsgi_app")
    wait_for(lambda: server.get(name).status == 200, "the mended site", SOON)
    remove(server, name)


def test_an_order_to_start_is_carried_out_at_once(server: Server) -> None:
    name = put(server, "other_name")
    assert server.get(name).status == 503
    answer = server.client.call("start", sites=[name])
    assert answer["sites"][0]["state"] == "failed"
    assert answer["sites"][0]["generation"] == 2
    remove(server, name)


@pytest.mark.slow
@pytest.mark.parametrize("application", ["raises_at_import", "leaves_at_import", "shuts_down_socket_at_import"])
def test_a_site_that_does_not_start_is_tried_less_and_less(server: Server, application: str) -> None:
    name = put(server, application)
    deadline = time.monotonic() + 9
    attempts: dict[int, float] = {}
    while time.monotonic() < deadline:
        assert server.get(name).status in (502, 503)  # 502: it waited on the socket that was shut down
        attempts.setdefault(server.view(name)["generation"], time.monotonic())
    times = list(attempts.values())
    pauses = [later - sooner for sooner, later in pairwise(times)]
    print(f"{len(attempts)} attempts in 9 s, pauses: {[round(pause, 1) for pause in pauses]}")
    assert 3 <= len(attempts) <= 5  # after 0, 1, 3 and 7 seconds
    assert pauses == sorted(pauses)
    remove(server, name)


def test_a_worker_that_ignores_all_is_killed(server: Server) -> None:
    name = put(server, "hangs_deaf_at_import", limits={"start": "500ms"})
    began = time.monotonic()
    assert server.get(name).status == 503
    assert 0.5 <= time.monotonic() - began < 10
    remove(server, name)


def test_a_hanging_start_holds_back_nobody(server: Server) -> None:
    """Not even those who start at the same time, as long as there is a place for them."""
    hanging = put(server, "hangs_at_import", limits={"start": "20s"})
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(server.get, hanging)
        wait_for(lambda: server.state(hanging) == "starting")
        server.site("beside", GOOD)
        wait_for(lambda: server.get("beside").status == 200, "the other site", SOON)
        server.write(f"{hanging}/app.py", GOOD)
        server.client.call("reload", sites=[hanging])
        assert waiting.result().status == 200  # who waited for the first attempt is served by the second
    remove(server, hanging)
    remove(server, "beside")


def test_a_user_that_does_not_exist_is_a_problem_of_its_site(server: Server) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    name = put(server, "other_name", app="app:wsgi_app", user="no-such-user")
    first = server.get(name)
    problem = problem_of(server, name)
    check_closed(first, problem)
    assert (problem["reason"], problem["step"]) == ("there is no system user 'no-such-user'", "order")
    assert "useradd" in problem["hint"]
    server.site(name, app="app:wsgi_app")
    wait_for(lambda: server.get(name).status == 200, "the mended site", SOON)
    remove(server, name)


# --- what starts all the same ----------------------------------------------------------------------------------------


def test_threads_at_import(server: Server) -> None:
    name = put(server, "starts_threads_at_import", limits={"drain": "1s"})
    assert server.get(name).text == "11"
    (pid,) = server.workers(name)
    remove(server, name)  # though its threads never end
    wait_for(lambda: not is_alive(pid), "the worker to go")


def test_a_fork_at_import_serves_no_visitor(server: Server) -> None:
    name = put(server, "forks_at_import", workers={"min": 1, "max": 1})
    assert {server.get(name).text for _ in range(30)} == {"original"}
    assert len(server.workers(name)) == 1
    assert server.view(name)["problems"] == []
    remove(server, name)


def test_a_megabyte_of_output_at_import(server: Server) -> None:
    name = put(server, "prints_a_megabyte_at_import")
    assert server.get(name).status == 200
    wait_for(lambda: server.log(name).rstrip().endswith("the end"), "the whole output")
    assert server.log(name).count("a line of thirty-two characters\n") == 32768
    remove(server, name)


def test_binary_output(server: Server) -> None:
    name = put(server, "writes_binary")
    assert server.get(name).status == 200
    wait_for(lambda: "half a pair" in server.log(name) and "serving -> failed" in server.log(name))
    text = server.log(name)
    assert text.replace("\n", "").replace("\t", "").isprintable()
    assert r"\x1b]0;title\x07\x1b[2J\x9b31m\u202egnihtyna\u2028new line?" in text
    stamped = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[(hostel|\d+\.\d+)\] ")
    assert all(stamped.match(line) for line in text.splitlines())
    assert "[1.1] 2026-01-01T00:00:00.000Z [hostel] serving -> failed\\x0d2026" in text  # nobody is taken in by it
    remove(server, name)


GARBAGE = {
    "silent": 500, "status": 500, "headers": 500, "header": 500, "split": 500, "twice": 500, "none": 500, "number": 500,
    "type": 500, "list": 500, "broken": 500, "liar": 500, "exception": 500, "coroutine": 500, "raise": 500, "interrupt": 500,
    "text": 500, "": 200,
}  # fmt: skip


def test_garbage_in_the_place_of_an_answer(server: Server) -> None:
    name = put(server, "returns_garbage", workers={"max": 1})
    assert server.get(name).status == 200
    before = server.workers(name)
    for case, status in GARBAGE.items():
        answer = server.get(name, f"/{case}")
        assert (case, answer.status) == (case, status)
        assert "set-cookie" not in answer.headers
        assert "Traceback" not in answer.text
    assert server.get(name, "/breaking").text == "begin"  # too late to say anything else
    assert server.workers(name) == before
    assert server.view(name)["problems"] == []
    remove(server, name)


@pytest.mark.parametrize(
    ("case", "reason"),
    [("exit", "exited by itself with status 5"), ("segv", "was killed by SIGSEGV"), ("kill", "was killed by SIGKILL"),
     ("abort", "was killed by SIGABRT"), ("stack", "was killed by SIGSEGV"), ("half", "exited by itself with status 5")],
)  # fmt: skip
def test_a_worker_that_dies_in_a_request_is_replaced(server: Server, case: str, reason: str) -> None:
    name = put(server, "dies_in_requests", workers={"max": 1})
    pid = server.get(name).text
    if case == "half":
        with pytest.raises(http.client.IncompleteRead) as caught:
            server.get(name, "/half")
        assert caught.value.partial == b"half"
    else:
        answer = server.get(name, f"/{case}")
        assert answer.status == 502
        assert "Traceback" not in answer.text
    following = server.get(name)
    assert following.status == 200
    assert following.text != pid
    wait_for(lambda: server.view(name)["generation"] == 2, "the next attempt")
    assert reason in server.log(name)
    remove(server, name)


def test_a_death_in_one_worker_costs_the_requests_in_it_and_no_other(server: Server) -> None:
    name = put(server, "dies_in_requests", workers={"min": 3, "max": 3})
    wait_for(lambda: len(server.workers(name)) == 3)
    assert server.get(name, "/exit").status == 502
    assert [server.get(name).status for _ in range(10)] == [200] * 10
    wait_for(lambda: len(server.workers(name)) == 3, "the minimum to be there again")
    (problem,) = server.view(name)["problems"]
    assert "exited by itself with status 5" in problem["reason"]
    remove(server, name)


@pytest.mark.slow
def test_a_site_that_dies_at_every_request_ends_up_failed(server: Server) -> None:
    name = put(server, "dies_in_requests", workers={"max": 1})
    deadline = time.monotonic() + 10
    statuses: list[int] = []
    generations: list[tuple[float, int]] = []
    while time.monotonic() < deadline:
        statuses.append(server.get(name, "/exit").status)
        generations.append((time.monotonic() - deadline + 10, server.view(name)["generation"]))
        time.sleep(0.02)
    starts = generations[-1][1]
    print(f"{len(statuses)} requests, {starts} starts; 502: {statuses.count(502)}, 503: {statuses.count(503)}")
    assert set(statuses) == {502, 503}
    assert statuses.count(502) <= 9  # five deaths, then one after each pause of 1, 2, 4 ... seconds
    assert starts <= 10
    assert server.state(name) == "failed"
    problem = problem_of(server, name)
    assert "exited by itself with status 5" in problem["reason"]
    check_closed(server.get(name), problem)
    server.write(f"{name}/app.py", GOOD)
    wait_for(lambda: server.get(name).status == 200, "the mended site", SOON)
    remove(server, name)


def test_a_spoiled_process_goes_on_serving(server: Server) -> None:
    name = put(server, "spoils_its_process", workers={"max": 1})
    assert len({server.get(name).text for _ in range(10)}) == 1
    (pid,) = server.workers(name)
    server.client.call("reload", sites=[name])
    assert server.get(name).text != str(pid)
    wait_for(lambda: not is_alive(pid), "the old worker to go though it ignores every signal")
    remove(server, name)


@needs_root
def test_a_site_cannot_end_others_processes(server: Server) -> None:
    name = put(server, "kills_others")
    assert server.get(name).json() == []
    remove(server, name)


def test_without_root_a_zygote_that_was_killed_is_replaced(make_server: MakeServer) -> None:
    """Then sites and server are one user, and nothing keeps them apart; but the server goes on."""
    server = make_server(user="nobody" if os.geteuid() == 0 else "", guard="none")
    server.site("other", GOOD)
    server.site("killer", source("kills_its_parent"))
    server.start()
    assert server.get("other").status == 200
    before = pids_without_neighbour(server)
    pid = server.get("killer", "/kill").text
    wait_for(lambda: server.get("killer").text == pid, "the worker to go on")
    server.client.call("reload", sites=["killer", "other"])
    # A worker that is told to leave in the moment when a request wakes it takes that one yet.
    wait_for(lambda: server.get("killer").text not in ("", pid), "another worker")
    assert server.get("other").status == 200
    assert pids_without_neighbour(server) == before
    assert server.stop() == 0


def pids_without_neighbour(server: Server) -> list[int]:
    said = server.status()["server"]
    return [said["supervisor"], said["manager"], said["front"]]


CHANNEL = ["garbage", "empty", "large", "forged", "steps", "descriptors", "for-ever"]


@pytest.mark.parametrize("case", CHANNEL)
def test_abuse_of_the_channel_to_the_manager(server: Server, case: str) -> None:
    name = put(server, "abuses_channel", workers={"max": 1})
    manager = server.status()["server"]["manager"]
    before = len(os.listdir(f"/proc/{manager}/fd"))
    for _ in range(3):
        assert server.get(name, f"/{case}").status == 200
    assert server.state(name) == "serving"
    assert server.get("neighbour").status == 200
    assert len(os.listdir(f"/proc/{manager}/fd")) <= before + 8
    assert "forged\nstep" not in server.output
    for problem in server.view(name)["problems"]:
        assert problem["reason"].isprintable()
    pid = server.get(name).text
    server.client.call("reload", sites=[name])  # it still hears what it is told
    assert server.get(name).text != pid
    remove(server, name)


@pytest.mark.parametrize("case", ["nan", "infinite", "negative", "busy", "random", "huge", "zero"])
def test_nonsense_on_the_scoreboard(server: Server, case: str) -> None:
    name = put(server, "scribbles_on_scoreboard", workers={"min": 1, "max": 2})
    answer = server.get(name, f"/{case}").json()
    assert answer["address"]
    assert answer["truncated"] == []
    for _ in range(10):
        assert server.get(name).status == 200
        for worker in server.view(name)["workers"]:
            assert 0 <= worker["busy"] < 10**6
            assert 0 <= worker["served"] < 10**15
    json.loads(json.dumps(server.status(), allow_nan=False))
    assert len(server.workers(name)) <= 2
    remove(server, name)


def test_two_hundred_megabytes(server: Server) -> None:
    name = put(server, "eats_memory", workers={"max": 1})
    assert server.get(name, "/more").status == 200
    remove(server, name)


def test_a_worker_that_does_not_want_to_go(server: Server) -> None:
    name = put(server, "ignores_signals", workers={"max": 1}, limits={"drain": "1s"})
    pid = server.get(name).text
    with pytest.raises(TimeoutError):
        server.get(name, "/never", timeout=1)
    server.client.call("reload", sites=[name])
    assert server.get(name).text != pid
    wait_for(lambda: not is_alive(int(pid)), "the old worker to be killed")
    remove(server, name)


@pytest.mark.parametrize("case", ["all", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"])
@pytest.mark.parametrize("threads", [1, 3])
def test_descriptors_closed_in_a_request(server: Server, case: str, threads: int) -> None:
    """Whatever breaks by it, the site serves again soon, by a new worker if need be."""
    name = put(server, "closes_descriptors_in_requests", workers={"max": 1, "threads": threads})
    assert server.get(name).status == 200
    assert server.get(name, f"/{case}").status in (200, 500, 502)
    wait_for(lambda: [server.get(name).status for _ in range(5)] == [200] * 5, "the site to serve again")
    server.client.call("reload", sites=[name])
    assert server.get(name).status == 200
    remove(server, name)


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_the_listening_socket_shut_down_in_a_request(server: Server, interface: str) -> None:
    name = f"shut-{interface}"
    asgi = """
        import os, socket
        async def application(scope, receive, send):
            if scope["type"] != "http":
                return
            if scope["path"] == "/shut":
                for number in (3, 5, 6, 7, 8):
                    try:
                        socket.fromfd(number, socket.AF_UNIX, socket.SOCK_STREAM).shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
    """
    server.site(name, source("shuts_down_socket_in_requests") if interface == "wsgi" else asgi, workers={"max": 1})
    wait_for(lambda: server.get(name).status == 200)
    server.get(name, "/shut")
    wait_for(lambda: "has shut down its listening socket" in server.log(name), "it to be noticed")
    wait_for(lambda: [server.get(name).status for _ in range(5)] == [200] * 5, "the site to serve again")
    remove(server, name)


def test_who_may_not_read_a_file_is_told_which_and_as_whom(server: Server) -> None:
    secret = server.write("refused/key.pem", "secret")
    secret.chmod(0)
    server.site("refused", f"open({str(secret)!r})\n")
    wait_for(lambda: server.get("refused").status == 503)
    problem = problem_of(server, "refused")
    assert problem["reason"] == f"PermissionError: [Errno 13] Permission denied: '{secret}'"
    user = server.view("refused")["user"]
    assert problem["hint"].startswith(f"the site runs as user {user}, who ")
    assert f"{secret}" in problem["hint"]
    assert "set user" in problem["hint"] or "chmod" in problem["hint"]
    secret.parent.joinpath("app.py").write_text(f"open('{secret.parent}/closed/key.pem')\n")
    closed = secret.parent / "closed"
    closed.mkdir(mode=0)
    server.client.call("reload", sites=["refused"])
    assert f"user {user}, who may not enter {closed}: " in problem_of(server, "refused")["hint"]
    closed.chmod(0o700)
    remove(server, "refused")


# --- the page in development ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def developing() -> Iterator[Server]:
    """A server with ``--reload``."""
    server = Server(make_folder(), arguments=("--reload",))
    try:
        yield server.start()
    finally:
        try:
            server.stop()
        finally:
            server.kill()
            shutil.rmtree(server.folder, ignore_errors=True)


def test_in_development_the_page_has_the_traceback_escaped(developing: Server) -> None:
    name = put(developing, "raises_at_import")
    for answer in (developing.get(name), developing.get(name)):  # from the queue, and from the front
        assert answer.status == 503
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
        assert "<script" not in answer.text
        assert answer.text.count("Traceback (most recent call last)") == 1
        assert "raise RuntimeError(" in answer.text
        assert "\x1b" not in answer.text
        assert "Step: import" in answer.text
        assert "see the traceback" in answer.text
    developing.write(f"{name}/app.py", GOOD)
    wait_for(lambda: developing.get(name).status == 200, "the mended site", SOON)


def test_in_development_a_long_traceback_fits_into_the_page(developing: Server) -> None:
    developing.site("long", "raise RuntimeError('\"<>&\\\\' * 20000)\n")
    wait_for(lambda: developing.get("long").status == 503)
    assert "&quot;&lt;&gt;&amp;" in developing.get("long").text


def test_in_development_a_hang_shows_where(developing: Server) -> None:
    name = put(developing, "hangs_at_import", limits={"start": "500ms"})
    answer = developing.get(name)
    assert answer.status == 503
    assert "in wait_for_the_database" in answer.text
