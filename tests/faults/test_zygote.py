"""The zygote is killed: its workers go on, and the next ones come from another."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

from tests.conftest import MakeServer
from tests.faults.load import PID, Load
from tests.faults.test_manager import SLOW_IMPORT, kill_manager, ready_workers
from tests.support.server import Server, is_alive, wait_for


def zygotes(server: Server) -> set[int]:
    return {zygote["pid"] for zygote in server.status()["server"]["zygotes"] if zygote["pid"]}


def kill_zygotes(server: Server) -> set[int]:
    pids = zygotes(server)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return pids


def test_workers_go_on_and_new_ones_come_from_another_zygote(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user)
    server.site("one", PID, workers={"min": 2, "max": 2})
    server.site("two", PID)
    server.start()
    wait_for(lambda: len(server.workers("one")) == 2)
    before = ready_workers(server, "one")
    with Load(server, "one") as load:
        old = kill_zygotes(server)
        assert server.get("two").status == 200
        load.go_on()
    assert load.failures == []
    assert ready_workers(server, "one") == before
    assert zygotes(server) and not zygotes(server) & old


def test_the_death_of_an_orphaned_worker_is_noticed(make_server: MakeServer) -> None:
    server = make_server()
    server.site("one", PID, workers={"min": 1})
    server.start()
    wait_for(lambda: server.workers("one"))
    kill_zygotes(server)
    (pid,) = server.workers("one")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: server.workers("one") not in ([], [pid]), "another worker")
    assert server.get("one").status == 200
    problems = server.view("one")["problems"]
    assert any("SIGKILL" in problem["reason"] for problem in problems) or problems == []


def test_an_orphaned_worker_is_drained_and_killed(make_server: MakeServer) -> None:
    server = make_server()
    server.site("one", PID)
    server.site("stuck", PID, limits={"drain": "1s"})
    server.start()
    for name in ("one", "stuck"):
        server.get(name)
    (one,), (stuck,) = server.workers("one"), server.workers("stuck")
    kill_zygotes(server)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: server.get("stuck", "/?sleep=60").status)
        wait_for(lambda: server.view("stuck")["workers"][0]["busy"] == 1)
        server.run("reload", "--all")
        wait_for(lambda: not is_alive(one))
        wait_for(lambda: not is_alive(stuck))
    wait_for(lambda: [w["generation"] for name in ("one", "stuck") for w in server.view(name)["workers"]] == [2, 2])


def test_a_worker_that_was_ordered_and_not_forked_is_ordered_again(make_server: MakeServer) -> None:
    """The zygote stands still while the request comes, and dies with the order unread."""
    server = make_server()
    server.site("one", PID)
    server.start()
    wait_for(lambda: zygotes(server))
    for pid in zygotes(server):
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(server.get, "one") for _ in range(5)]
        wait_for(lambda: server.state("one") == "starting")
        kill_zygotes(server)
        assert [answer.result().status for answer in answers] == [200] * 5


def test_a_start_survives_its_zygote(make_server: MakeServer) -> None:
    server = make_server()
    server.site("slow", SLOW_IMPORT)
    server.start()
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(server.get, "slow") for _ in range(5)]
        wait_for(lambda: any(worker["pid"] for worker in server.view("slow")["workers"]))
        (worker,) = server.view("slow")["workers"]
        kill_zygotes(server)
        assert {answer.result().text for answer in answers} == {str(worker["pid"])}


def test_zygote_and_manager_die_together(make_server: MakeServer) -> None:
    server = make_server()
    server.site("one", PID, workers={"min": 1, "max": 1})
    server.site("two", PID)
    server.start()
    wait_for(lambda: server.workers("one"))
    before = ready_workers(server, "one")
    with Load(server, "one") as load:
        kill_zygotes(server)
        kill_manager(server)
        assert server.get("two").status == 200
        load.go_on()
    assert load.failures == []
    assert ready_workers(server, "one") == before
    (pid,) = server.workers("one")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: server.workers("one") not in ([], [pid]), "another worker")


def test_a_new_manager_uses_the_zygotes_that_are_there(make_server: MakeServer) -> None:
    server = make_server()
    server.site("one", PID)
    server.site("two", PID)
    server.start()
    server.get("one")
    before = zygotes(server)
    for _ in range(3):
        kill_manager(server)
    assert server.get("two").status == 200
    assert zygotes(server) & before
    current = [zygote for zygote in server.status()["server"]["zygotes"] if zygote["state"] == "current"]
    assert len(current) == 1
