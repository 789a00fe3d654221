"""The supervisor is killed: all that belongs to it ends, and the next server starts in the same place."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from tests.conftest import MakeServer
from tests.faults.load import PID, PID_ASGI, Load
from tests.faults.test_manager import BROKEN, manager_of
from tests.support.server import Server, descendants_of, is_alive, wait_for

STUBBORN = """
    import signal, time
    for number in (1, 2, 15):
        signal.signal(number, signal.SIG_IGN)
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"x" * 100_000
        time.sleep(1000)
"""


STUCK = """
    import ctypes, signal
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"x" * 100_000
        ctypes.PyDLL(None).sleep(1000)  # in C, and keeps the interpreter's lock
"""


def populate(server: Server) -> None:
    """Sites in many states."""
    server.site("wsgi", PID, workers={"min": 2, "max": 2})
    server.site("asgi", PID_ASGI)
    server.site("files", static={"/": str(server.projects)})
    server.site("broken", BROKEN)
    server.site("stopped", PID)
    server.start()
    assert server.get("asgi").status == 200
    assert server.get("asgi").status == 200
    assert server.get("broken").status == 503
    server.run("stop", "stopped")
    wait_for(lambda: len(server.workers("wsgi")) == 2)


def check_works(server: Server) -> None:
    assert server.get("wsgi").status == 200
    assert server.get("asgi").status == 200
    assert server.get("broken").status == 503
    assert server.get("stopped").status == 503, "until its start"
    server.run("start", "stopped")
    assert server.get("stopped").status == 200
    server.write("broken/app.py", PID)
    wait_for(lambda: server.get("broken").status == 200)


def test_everything_ends_with_the_supervisor(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user)
    server.site("stubborn", STUBBORN)
    server.site("stuck", STUCK)
    populate(server)
    assert server.process is not None
    with ThreadPoolExecutor(2) as pool, Load(server, "wsgi", "asgi"):  # whose failures are nobody's business
        for name in ("stubborn", "stuck"):
            pool.submit(server.get, name, timeout=30)
            wait_for(lambda name=name: server.view(name)["workers"] and server.view(name)["workers"][0]["busy"])  # type: ignore[misc]
        below = descendants_of(server.process.pid)
        assert len(below) >= 8
        server.process.kill()
        begin = time.monotonic()
        wait_for(lambda: not any(map(is_alive, below)), "the end of all processes")
        assert time.monotonic() - begin < 8, "five seconds, on a machine that has nothing else to do"
    server.process.wait()
    server.start()
    check_works(server)
    assert server.stop() == 0


def test_a_server_can_be_started_at_once_after_its_supervisor_was_killed(make_server: MakeServer) -> None:
    """It waits for what is left of the old one, and then has the place for itself."""
    server = make_server()
    populate(server)
    assert server.process is not None
    old = server.process
    below = descendants_of(old.pid)
    old.kill()
    old.wait()
    server.start()
    check_works(server)
    wait_for(lambda: not any(map(is_alive, below)), "the end of the old processes, which take nothing with them")
    assert [server.get(name).status for name in ("wsgi", "asgi", "broken", "stopped")] == [200] * 4
    assert server.stop() == 0


def test_everything_is_killed_at_once_and_started_again(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user)
    populate(server)
    assert server.process is not None
    zygotes = [zygote["pid"] for zygote in server.status()["server"]["zygotes"] if zygote["pid"]]
    below = descendants_of(server.process.pid)
    for pid in (server.process.pid, wait_for(lambda: manager_of(server)), *zygotes):
        os.kill(pid, signal.SIGKILL)
    server.process.wait()
    server.start()
    wait_for(lambda: not any(map(is_alive, below)), "the end of the old workers and of the old front")
    check_works(server)
    assert server.stop() == 0


def test_a_server_that_was_killed_with_the_machine(make_server: MakeServer) -> None:
    """As after a power failure: nothing runs, and the run directory is as it was."""
    server = make_server()
    populate(server)
    server.kill()
    assert (server.run_dir / "sites" / "asgi").exists()
    server.start()
    check_works(server)
    assert server.stop() == 0


def test_a_second_server_in_the_same_place_is_refused(make_server: MakeServer) -> None:
    server = make_server()
    server.site("one", PID)
    server.start()
    other = Server(server.folder)
    other.start(wait=False)
    assert other.process is not None
    assert other.process.wait(30) == 2
    assert "another Hostel serves in" in other.output
    assert server.get("one").status == 200


def test_the_end_of_a_terminal_ends_the_server_in_good_order(make_server: MakeServer) -> None:
    server = make_server()
    server.site("one", PID)
    terminal, slave = os.openpty()
    server.start(terminal=slave)
    os.close(slave)
    server.get("one")
    assert server.process is not None
    server.descendants |= descendants_of(server.process.pid)
    os.close(terminal)
    assert server.process.wait(30) == 0
    server.process = None
    server.check_nothing_is_left()
