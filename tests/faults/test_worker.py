"""A worker is killed: its own request is lost, and nothing else."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

from tests.faults.load import PID, PID_ASGI, Load
from tests.support.server import Server, wait_for

SHUT = """
    import os, socket
    def application(environ, start_response):
        if environ["PATH_INFO"] == "/shut":
            socket.socket(fileno=os.dup(3)).shutdown(socket.SHUT_RDWR)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"here"]
"""


def test_the_request_in_a_killed_worker_is_lost_and_the_next_is_served(shared_server: Server) -> None:
    for name, code in (("wsgi", PID), ("asgi", PID_ASGI)):
        shared_server.site(name, code)
        wait_for(lambda name=name: shared_server.state(name) == "cold")  # type: ignore[misc]
        shared_server.get(name)
        (pid,) = shared_server.workers(name)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(shared_server.get, name, "/?sleep=60")
            wait_for(lambda name=name: shared_server.view(name)["workers"][0]["busy"] == 1)  # type: ignore[misc]
            os.kill(pid, signal.SIGKILL)
            assert answer.result().status == 502
        after = shared_server.get(name)
        assert after.status == 200
        assert after.text != str(pid)


def test_the_others_of_a_killed_worker_serve_on(shared_server: Server) -> None:
    shared_server.site("two", PID, workers={"min": 2, "max": 2})
    wait_for(lambda: len(shared_server.workers("two")) == 2)
    first, second = shared_server.workers("two")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(shared_server.get, "two", "/?sleep=60")
        wait_for(lambda: sum(w["busy"] for w in shared_server.view("two")["workers"]) == 1)
        (busy,) = (w["pid"] for w in shared_server.view("two")["workers"] if w["busy"])
        with Load(shared_server, "two") as load:
            os.kill(busy, signal.SIGKILL)
            assert answer.result().status == 502
            load.go_on()
        assert load.failures == []
    wait_for(lambda: len(shared_server.workers("two")) == 2, "another in its place")
    assert busy not in shared_server.workers("two")
    assert {first, second} - {busy} <= set(shared_server.workers("two"))


def test_a_worker_that_shuts_the_listening_socket_down_is_replaced_with_it(shared_server: Server) -> None:
    shared_server.site("shut", SHUT)
    wait_for(lambda: shared_server.state("shut") == "cold")
    shared_server.get("shut", "/shut")
    wait_for(lambda: shared_server.get("shut").status == 200, "a new socket with somebody behind it")
