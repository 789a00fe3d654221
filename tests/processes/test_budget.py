"""A machine with room for a few workers and many sites: with real processes."""

from __future__ import annotations

import random
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.server import Server, make_folder, wait_for

pytestmark = pytest.mark.server
PLACES = 3
HELLO = """
    import os, time
    def application(environ, start_response):
        time.sleep(float(environ["QUERY_STRING"] or 0))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""


@pytest.fixture(scope="module")
def full_server() -> Iterator[Server]:
    server = Server(make_folder(), arguments=("--workers", str(PLACES)))
    server.write("hello/app.py", HELLO)
    try:
        yield server.start()
    finally:
        server.stop()


def add(server: Server, *names: str, **workers: float) -> list[str]:
    for name in names:
        server.site(
            name, None, app="app:application", directory=str(server.projects / "hello"),
            workers=workers, limits={"queue": "1m"},
        )  # fmt: skip
    for name in names:
        wait_for(lambda name=name: server.state(name))  # type: ignore[misc]
    return list(names)


def remove(server: Server, *names: str) -> None:
    server.run("remove", *names)


def running(server: Server) -> dict[str, int]:
    return {site["name"]: len(site["workers"]) for site in server.status()["sites"] if site["workers"]}


def test_many_sites_share_few_places_and_nobody_sees_an_error(full_server: Server) -> None:
    names = add(full_server, *(f"zipf{number}" for number in range(20)))
    chance = random.Random(1)
    visits = chance.choices(names, [1 / (number + 1) for number in range(20)], k=200)
    most, is_over = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not is_over.is_set():
            most = max(most, full_server.status()["server"]["budget"]["used_workers"])

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda name: full_server.get(name).status, visits))
    finally:
        is_over.set()
        watcher.join()
    assert statuses == [200] * 200
    assert any("gives way: the machine has room for no more" in full_server.log(name) for name in names)
    assert most <= PLACES
    remove(full_server, *names)


@pytest.mark.slow
def test_a_site_without_a_worker_gets_one_while_all_others_are_busy_all_the_time(full_server: Server) -> None:
    names = add(full_server, "busy1", "busy2", "busy3")
    (late,) = add(full_server, "late")
    is_over = threading.Event()
    failed: list[int] = []

    def visit(name: str) -> None:
        while not is_over.is_set():
            answer = full_server.get(name, "/?0.2")
            if answer.status != 200:
                failed.append(answer.status)

    visitors = [threading.Thread(target=visit, args=(name,)) for name in names for _ in range(2)]
    for visitor in visitors:
        visitor.start()
    try:
        wait_for(lambda: all(running(full_server).get(name) for name in names), "all to be busy")
        assert full_server.get(late, timeout=60).status == 200
    finally:
        is_over.set()
        for visitor in visitors:
            visitor.join()
    assert failed == []
    remove(full_server, *names, late)


def test_memory_is_part_of_the_budget() -> None:
    server = Server(make_folder(), arguments=("--memory", "120M"))
    server.write("hello/app.py", "kept = b'x' * 40_000_000\n" + textwrap.dedent(HELLO))
    try:
        server.start()
        names = add(server, *(f"large{number}" for number in range(5)))
        for name in names:
            assert server.get(name).status == 200
            wait_for(lambda name=name: server.view(name)["workers"][0]["memory"] > 40_000_000)  # type: ignore[misc]
        for name in names:  # now it is known what each of them takes
            assert server.get(name).status == 200
            assert server.status()["server"]["budget"]["used_memory"] <= 120 * 2**20
            assert len(running(server)) <= 2, "three would be more"
    finally:
        server.stop()


@pytest.mark.slow
def test_a_site_with_many_workers_gives_to_one_that_has_none_and_a_minimum_is_kept(full_server: Server) -> None:
    (kept,) = add(full_server, "kept", min=1)
    (greedy,) = add(full_server, "greedy", max=8)
    (modest,) = add(full_server, "modest")
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(full_server.get, greedy, "/?0.5") for _ in range(8)]
        wait_for(lambda: running(full_server) == {kept: 1, greedy: PLACES - 1}, "the greedy site to take what there is")
        begin = time.monotonic()
        assert full_server.get(modest).status == 200
        waited = time.monotonic() - begin
        assert running(full_server)[kept] == 1
        assert [answer.result().status for answer in answers] == [200] * 8
    assert waited < 5, "it need not wait until all of the other's requests are done"
    remove(full_server, kept, greedy, modest)


def test_minima_beyond_the_budget_run_and_others_take_turns(full_server: Server) -> None:
    kept = add(full_server, *(f"min{number}" for number in range(PLACES + 1)), min=1)
    others = add(full_server, "other1", "other2")
    wait_for(lambda: running(full_server) == dict.fromkeys(kept, 1), "all that are to run always")
    for _ in range(3):
        assert [full_server.get(name).status for name in others] == [200, 200]
    assert full_server.status()["server"]["budget"]["minimum"] == PLACES + 1
    assert "more than the budget" in full_server.run("status").stdout
    assert (
        "workers.min of all sites add up to 4, and the machine's budget is 3"
        in full_server.run("check", check=False).stdout
    )
    remove(full_server, *kept, *others)
