"""Start on demand, idleness, and the end of a server: with real processes, in both modes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import MakeServer
from tests.support.server import Server, wait_for

HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
"""
SLOW_IMPORT = """
    import time
    time.sleep(2)
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"slow to start"]
"""


@pytest.mark.smoke
def test_a_site_sleeps_wakes_and_sleeps_again(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user)
    server.site("hello", HELLO, workers={"idle": 0.5})
    server.start()
    assert server.state("hello") == "cold"
    assert server.workers("hello") == []
    assert server.get("hello").text == "hello"
    assert len(server.workers("hello")) == 1
    wait_for(lambda: server.state("hello") == "cold", "the site to sleep again")
    assert server.view("hello")["workers"] == []
    assert server.get("hello").text == "hello"
    assert server.stop() == 0


def test_a_site_with_a_minimum_runs_without_requests(make_server: MakeServer) -> None:
    server = make_server()
    server.site("hello", HELLO, workers={"min": 2, "max": 2, "idle": 0.2})
    server.start()
    wait_for(lambda: len(server.workers("hello")) == 2, "two workers")
    assert server.get("hello").status == 200
    time.sleep(1)  # longer than idle: the minimum stays
    assert len(server.workers("hello")) == 2


def test_a_thousand_first_visitors_of_a_slow_site_are_all_served(make_server: MakeServer) -> None:
    server = make_server()
    server.site("slow", SLOW_IMPORT)
    server.start()
    with ThreadPoolExecutor(1000) as pool:
        answers = list(pool.map(lambda _: server.get("slow", timeout=120), range(1000)))
    assert [answer.status for answer in answers] == [200] * 1000


def test_ctrl_c_ends_everything_within_three_seconds(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user)
    server.site("hello", HELLO, workers={"min": 2})
    server.site("stuck", "import time\ndef application(e, s):\n    time.sleep(60)\n")
    server.start()
    server.wait_state("hello", "serving")
    with pytest.raises(OSError):
        server.get("stuck", timeout=1)
    begin = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begin < 10, "three seconds, on a machine that has nothing else to do"


def test_workers_come_from_a_zygote(shared_server: Server) -> None:
    shared_server.site("family", HELLO)
    wait_for(lambda: shared_server.state("family") == "cold")
    shared_server.get("family")
    zygotes = {zygote["pid"] for zygote in shared_server.status()["server"]["zygotes"]}
    (pid,) = shared_server.workers("family")
    with open(f"/proc/{pid}/stat") as file:
        assert int(file.read().rpartition(")")[2].split()[1]) in zygotes
