"""A site that is paused holds its visitors; one that is stopped sends them away. Neither is forgotten."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import MakeServer
from tests.faults.load import PID, PID_ASGI, Load
from tests.faults.test_manager import kill_manager
from tests.support.server import Server, wait_for


@pytest.mark.parametrize(("name", "code"), [("wsgi", PID), ("asgi", PID_ASGI)])
def test_requests_wait_during_a_pause_and_are_served_by_what_comes_after_it(
    shared_server: Server, name: str, code: str
) -> None:
    server = shared_server
    server.site(name, code, limits={"queue": "100ms"})
    wait_for(lambda: server.state(name) == "cold")
    old = server.get(name).text
    with ThreadPoolExecutor(10) as pool:
        running = pool.submit(server.get, name, "/?sleep=1")
        wait_for(lambda: sum(worker["busy"] for worker in server.view(name)["workers"]))
        said = server.run("pause", name, "--limit", "2m").stdout
        assert said.startswith(f"{name}: paused (visitors wait until: hostel start {name}; or for 1")
        assert running.done(), "what runs is finished before the migration begins"
        assert running.result().status == 200
        assert server.workers(name) == []
        held = [pool.submit(server.get, name) for _ in range(8)]
        kill_manager(server)
        view = server.view(name)
        assert view["state"] == "paused"
        assert 60 < view["resumes"] - time.time() < 120
        assert not any(answer.done() for answer in held)
        server.run("start", name)
        answers = [answer.result() for answer in held]
    assert {answer.status for answer in answers} == {200}, "however long they have waited"
    assert old not in {answer.text for answer in answers}


def test_a_pause_ends_at_its_limit(shared_server: Server) -> None:
    server = shared_server
    server.site("forgotten", PID)
    wait_for(lambda: server.state("forgotten") == "cold")
    server.get("forgotten")
    server.run("pause", "forgotten", "--limit", "1500ms")
    answer = server.get("forgotten")
    assert answer.status == 200
    assert answer.seconds > 0.5
    assert server.view("forgotten")["resumes"] == 0


def test_a_pause_under_load_loses_nothing(shared_server: Server) -> None:
    server = shared_server
    server.site("busy", PID, workers={"min": 2, "max": 2})
    wait_for(lambda: len(server.workers("busy")) == 2)
    with Load(server, "busy", threads=4) as load:
        for _ in range(3):
            server.run("pause", "busy")
            assert server.workers("busy") == []
            server.run("start", "busy")
            load.go_on()
    assert load.failures == []


def test_a_pause_longer_than_the_front_waits_is_refused(shared_server: Server) -> None:
    server = shared_server
    server.site("long", PID)
    wait_for(lambda: server.state("long") == "cold")
    result = server.run("pause", "long", "--limit", "10m", check=False)
    assert result.returncode == 2
    assert "the front gives up after 300 s" in result.stderr
    assert server.state("long") == "cold"


def test_a_stopped_site_stays_stopped_until_its_start(make_server: MakeServer) -> None:
    server = make_server()
    server.site("down", PID, workers={"min": 1})
    server.site("files", static={"/": str(server.projects)})
    server.start()
    server.run("stop", "down", "files")
    server.stop()
    server.start()
    assert [server.state(name) for name in ("down", "files")] == ["disabled", "disabled"]
    answer = server.get("down")
    assert answer.status == 503
    assert "Down for maintenance" in answer.text
    server.run("start", "down")
    assert server.get("down").status == 200
    (server.sites / "files.toml").unlink()
    wait_for(lambda: not server.view("files"), "the removal")
    server.stop()
    server.start()
    server.site("files", static={"/": str(server.projects)})
    wait_for(lambda: server.state("files") == "cold", "another site of this name")
