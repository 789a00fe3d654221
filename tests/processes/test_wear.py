"""Workers are replaced when they have done enough, and nobody notices: with real processes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.server import Server, wait_for

WSGI = """
    import os
    kept = []
    def application(environ, start_response):
        if environ["PATH_INFO"] == "/grow":
            kept.append(b"x" * 50_000_000)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""
ASGI = """
    import os
    async def application(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
REQUESTS = 60


@pytest.mark.parametrize(
    ("name", "code", "threads"),
    [("plain", WSGI, 1), ("threaded", WSGI, 3), ("asgi", ASGI, 1)],
    ids=["plain", "threaded", "asgi"],
)
def test_after_so_many_requests_with_its_successor_ready_first(
    shared_server: Server, name: str, code: str, threads: int
) -> None:
    shared_server.site(name, code, workers={"min": 2, "max": 2, "threads": threads}, limits={"requests": REQUESTS})
    wait_for(lambda: len(shared_server.workers(name)) == 2, "both workers")
    first = set(shared_server.workers(name))
    is_over = threading.Event()
    beside: set[int] = set()

    def look() -> None:
        while not is_over.is_set():
            workers = shared_server.view(name)["workers"]
            beside.add(sum(worker["phase"] != "leaving" for worker in workers))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            while not is_over.is_set():
                answers = list(pool.map(lambda _: shared_server.get(name), range(20)))
                assert [answer.status for answer in answers] == [200] * 20
                if not first & set(shared_server.workers(name)):
                    is_over.set()
    finally:
        is_over.set()
        watcher.join()
    assert beside <= {2, 3}, "one at a time, and never less than the minimum"
    view = shared_server.view(name)
    assert view["replaced"].endswith("requests (limits.requests)")
    assert view["problems"] == []
    assert "replaced worker 1." in shared_server.log(name)


def test_after_so_long_a_life(shared_server: Server) -> None:
    shared_server.site("short", WSGI, workers={"min": 1}, limits={"life": 1})
    wait_for(lambda: "(limits.life)" in shared_server.view("short").get("replaced", ""), "a worker to be replaced")
    assert shared_server.get("short").status == 200


def test_the_memory_of_a_worker_is_seen_to_grow(shared_server: Server) -> None:
    shared_server.site("growing", WSGI, workers={"max": 1}, limits={"worker_memory": "1M"})
    wait_for(lambda: shared_server.state("growing"))
    shared_server.get("growing")

    def memory() -> int:
        return int(shared_server.view("growing")["workers"][0]["memory"])

    before = wait_for(memory, "the worker to be weighed")
    shared_server.get("growing", "/grow")
    wait_for(lambda: memory() >= before + 49_000_000, "what it has taken to be seen")
    assert " MB" in shared_server.run("status", "growing").stdout
    assert shared_server.view("growing")["replaced"] == "", "it is too young"
