"""The manager is killed: nobody notices."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import MakeServer
from tests.faults.load import PID, PID_ASGI, Load
from tests.support.server import Server, is_alive, wait_for

SLOW_IMPORT = "\n    import time\n    time.sleep(2)\n" + PID
BROKEN = """
    raise RuntimeError("this application does not start")
"""


def kill_manager(server: Server) -> int:
    """SIGKILL to the manager; the pid of the next one, when it answers."""
    old = server.status()["server"]["manager"]
    os.kill(old, signal.SIGKILL)
    return wait_new_manager(server, old)


def wait_new_manager(server: Server, old: int) -> int:
    def new() -> int:
        assert server.process is not None and server.process.poll() is None, server.output
        try:
            pid = int(server.status()["server"]["manager"])
        except Exception:
            return 0
        return pid if pid != old else 0

    return wait_for(new, "the next manager")


def ready_workers(server: Server, *names: str) -> dict[str, list[tuple[int, int, int]]]:
    """Number, generation and pid of all ready workers."""
    return {
        name: [(w["number"], w["generation"], w["pid"]) for w in server.view(name)["workers"] if w["phase"] == "ready"]
        for name in names
    }


def test_running_workers_go_on_as_if_nothing_had_been(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user)
    server.site("wsgi", PID, workers={"min": 2, "max": 2})
    server.site("asgi", PID_ASGI, workers={"max": 1})
    server.site("lazy", PID)
    server.site("files", static={"/": str(server.projects)})
    server.site("stopped", PID)
    server.site("broken", BROKEN)
    server.start()
    server.get("asgi")
    server.get("stopped")
    wait_for(lambda: len(server.workers("wsgi")) == 2)
    server.run("stop", "stopped")
    assert server.get("broken").status == 503
    before = ready_workers(server, "wsgi", "asgi")
    with ThreadPoolExecutor(2) as pool, Load(server, "wsgi", "asgi") as load:
        in_progress = [pool.submit(server.get, name, "/?sleep=3") for name in ("wsgi", "asgi")]
        wait_for(lambda: sum(w["busy"] for w in server.view("wsgi")["workers"]) >= 1)
        kill_manager(server)
        load.go_on()
        assert [answer.result().status for answer in in_progress] == [200, 200]
    assert load.failures == []
    assert ready_workers(server, "wsgi", "asgi") == before
    assert {name: server.state(name) for name in ("wsgi", "asgi", "lazy", "files", "stopped")} == {
        "wsgi": "serving", "asgi": "serving", "lazy": "cold", "files": "cold", "stopped": "disabled",
    }  # fmt: skip
    assert server.get("lazy").status == 200, "sleeping sites still wake"
    assert server.get("stopped").status == 503
    assert server.workers("stopped") == []
    server.run("start", "stopped")
    assert server.get("stopped").status == 200
    assert server.get("broken").status == 503
    server.write("broken/app.py", PID)
    wait_for(lambda: server.get("broken").status == 200, "the mended site")
    view = server.view("wsgi")
    assert [worker["busy"] for worker in view["workers"]] == [0, 0]
    assert 0 < view["served"] == sum(worker["served"] for worker in view["workers"])
    served = view["served"]
    server.get("wsgi")
    wait_for(lambda: server.view("wsgi")["served"] == served + 1)
    assert server.stop() == 0


def test_a_site_that_is_starting_goes_on_starting(make_server: MakeServer) -> None:
    server = make_server()
    server.site("slow", SLOW_IMPORT)
    server.start()
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(server.get, "slow") for _ in range(20)]
        wait_for(lambda: any(worker["pid"] for worker in server.view("slow")["workers"]), "the fork")
        (worker,) = server.view("slow")["workers"]
        kill_manager(server)
        assert {answer.result().status for answer in answers} == {200}
        assert {answer.result().text for answer in answers} == {str(worker["pid"])}, "it was not started twice"
    view = server.wait_state("slow", "serving")
    assert [(w["number"], w["generation"], w["pid"]) for w in view["workers"]] == [(1, 1, worker["pid"])]


def test_a_reload_goes_on(make_server: MakeServer) -> None:
    server = make_server()
    server.site("slow", SLOW_IMPORT)
    server.start()
    server.get("slow")
    server.client.call("reload", sites=["slow"], wait=False)
    wait_for(lambda: len([w for w in server.view("slow")["workers"] if w["pid"]]) == 2, "the successor's fork")
    with Load(server, "slow") as load:
        kill_manager(server)
        wait_for(lambda: [w["generation"] for w in server.view("slow")["workers"]] == [2], "the successor alone")
        load.go_on()
    assert load.failures == []


def test_a_worker_that_is_leaving_finishes_and_is_waited_for(make_server: MakeServer) -> None:
    server = make_server()
    server.site("blog", PID)
    server.start()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.get, "blog", "/?sleep=4")
        wait_for(lambda: sum(w["busy"] for w in server.view("blog").get("workers", ())) == 1)
        server.client.call("reload", sites=["blog"], wait=False)
        wait_for(lambda: len(server.workers("blog", "leaving")) == 1)
        leaving = server.workers("blog", "leaving")
        kill_manager(server)
        assert server.workers("blog", "leaving") == leaving
        assert answer.result().text == str(leaving[0])
    wait_for(lambda: server.workers("blog", "leaving") == [])


def test_a_worker_that_leaves_and_never_ends_keeps_its_limit(make_server: MakeServer) -> None:
    server = make_server()
    server.site("blog", PID, limits={"drain": "3s"})
    server.start()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: server.get("blog", "/?sleep=60").status)
        wait_for(lambda: sum(w["busy"] for w in server.view("blog").get("workers", ())) == 1)
        server.client.call("reload", sites=["blog"], wait=False)
        wait_for(lambda: len(server.workers("blog", "leaving")) == 1)
        (pid,) = server.workers("blog", "leaving")
        kill_manager(server)
        wait_for(lambda: not is_alive(pid), "the end of its limit", seconds=15)
        wait_for(lambda: server.workers("blog", "leaving") == [])


def test_what_happened_while_there_was_no_manager(make_server: MakeServer) -> None:
    """A worker ends, a file changes, one comes, one goes, and somebody visits, all before the next manager starts."""
    server = make_server()
    for name in ("dies", "changes", "goes", "sleeps"):
        server.site(name, PID)
    server.start()
    for name in ("dies", "changes", "goes"):
        server.get(name)
    for _ in range(3):  # so that the next pause is long enough
        kill_manager(server)
    (dying,), (changing,), (going,) = (server.workers(name) for name in ("dies", "changes", "goes"))
    old = server.status()["server"]["manager"]
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: "the next one starts in 1.0 s" in server.output)
    os.kill(dying, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{dying}"))
    server.site("changes", PID, env={"NEW": "yes"})
    server.site("comes", PID)
    (server.sites / "goes.toml").unlink()
    with ThreadPoolExecutor(1) as pool:
        visitor = pool.submit(server.get, "sleeps")
        wait_new_manager(server, old)
        assert visitor.result().status == 200
    assert server.get("dies").status == 200
    wait_for(lambda: server.workers("changes") not in ([], [changing]), "the changed site's new worker")
    wait_for(lambda: not is_alive(changing))
    assert server.get("comes").status == 200
    assert server.get("goes").status == 404
    wait_for(lambda: not is_alive(going))
    assert server.view("goes") == {}
    assert not (server.run_dir / "sites" / "goes").exists()


def test_a_file_that_breaks_while_there_is_no_manager_is_reported(make_server: MakeServer) -> None:
    server = make_server()
    server.site("blog", PID)
    server.site("other", PID)
    server.start()
    server.get("other")
    server.site_file("blog", "app = [")
    wait_for(lambda: server.view("blog")["problems"])
    kill_manager(server)
    assert server.state("blog") == "cold", "its last good version is remembered"
    assert server.get("other").status == 200


def test_a_site_whose_file_is_broken_serves_on_as_it_was(make_server: MakeServer) -> None:
    server = make_server()
    server.site("broken", PID, workers={"min": 1})
    server.start()
    (pid,) = wait_for(lambda: server.workers("broken"))
    server.site_file("broken", "app = 5\n")
    wait_for(lambda: server.view("broken")["problems"])
    with Load(server, "broken") as load:
        kill_manager(server)
        load.go_on()
        assert server.workers("broken") == [pid]
        assert "app" in server.view("broken")["problems"][0]["where"]
        server.site("broken", PID, env={"NEW": "1"})
        wait_for(lambda: server.view("broken")["generation"] == 2, "the mended file")
        load.go_on()
    assert load.failures == []


def test_who_has_a_domain_keeps_it(make_server: MakeServer) -> None:
    server = make_server()
    server.site("zoo", PID, domains=["zoo.localhost", "shop.localhost"])
    server.start()
    server.site("ant", PID, domains=["ant.localhost", "shop.localhost"])
    wait_for(lambda: server.view("ant").get("problems"))
    zoo = server.get("zoo").text
    kill_manager(server)
    assert server.get("shop").text == zoo
    assert server.view("zoo")["domains"] == ["zoo.localhost", "shop.localhost"]


@pytest.mark.slow
@pytest.mark.alone
def test_many_managers_in_a_row_under_load(make_server: MakeServer) -> None:
    server = make_server()
    server.site("wsgi", PID, workers={"min": 2, "max": 2})
    server.site("asgi", PID_ASGI)
    server.site("naps", PID, workers={"idle": 0.2})
    server.start()
    wait_for(lambda: len(server.workers("wsgi")) == 2)
    server.get("asgi")
    pids = {name: set(server.workers(name)) for name in ("wsgi", "asgi")}
    with Load(server, "wsgi", "asgi") as load, Load(server, "naps", threads=1, path="/?sleep=0.05") as naps:
        for _ in range(8):
            # Not by asking: the next manager may die while it starts, too.
            os.kill(wait_for(lambda: manager_of(server)), signal.SIGKILL)
            load.go_on(5)
        wait_for(lambda: server.is_answering())
        load.go_on()
        naps.go_on(5)
    assert load.failures == []
    assert naps.failures == []
    assert {name: set(server.workers(name)) for name in pids} == pids
    server.wait_state("naps", "cold")
    assert server.stop() == 0


def manager_of(server: Server) -> int:
    """The pid of the manager, be it ready or not; 0 when there is none."""
    assert server.process is not None
    with open(f"/proc/{server.process.pid}/task/{server.process.pid}/children") as file:
        for pid in map(int, file.read().split()):
            try:
                with open(f"/proc/{pid}/cmdline") as command:
                    if "hostel.manager" in command.read().split("\0"):
                        return pid
            except OSError:
                pass
    return 0
