"""What the page about forking says: what workers of one zygote share, and what a fresh interpreter does not."""

from __future__ import annotations

import json

import pytest

from tests.support.server import Server, wait_for

CODE = """
    import json, os, random, secrets, socket, sys, tempfile, threading, uuid
    with open("/proc/self/maps") as file:
        libc = next(line.split("-")[0] for line in file if "libc" in line or "libpython" in line)
    told = {
        "hash": hash("a text"), "layout": libc, "address": id(os), "random": random.random(), "secret": secrets.token_hex(),
        "uuid": str(uuid.uuid4()), "temporary": next(tempfile._get_candidate_names()), "pid": os.getpid(),
        "threads": threading.active_count(), "tasks": len(os.listdir("/proc/self/task")),
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
        "argv": sys.argv, "executable": sys.executable, "path": sys.path[1:], "flags": list(sys.flags),
    }
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(told).encode()]
"""


def starts(server: Server, name: str) -> list[dict[str, object]]:
    """What two workers of a site tell, one after the other."""
    found = [server.get(name).json()]
    server.run("reload", name)
    wait_for(lambda: server.get(name).json()["pid"] != found[0]["pid"])
    return [*found, server.get(name).json()]


@pytest.mark.parametrize("start", ["fork", "fresh"])
def test_what_two_workers_share(shared_server: Server, start: str) -> None:
    server = shared_server
    server.site(start, CODE, start=start)
    wait_for(lambda: server.state(start) == "cold")
    one, other = starts(server, start)
    for name in ("random", "secret", "uuid", "temporary", "pid"):
        assert one[name] != other[name], name
    for name in ("threads", "tasks", "descriptors", "argv", "executable", "path", "flags"):
        assert one[name] == other[name], name
    assert one["threads"] == one["tasks"] == 1
    for name in ("hash", "layout"):
        assert (one[name] == other[name]) == (start == "fork"), name


def test_a_fresh_interpreter_is_the_same_but_for_that(shared_server: Server) -> None:
    server = shared_server
    for start in ("fork", "fresh"):
        server.site(f"same-{start}", CODE, start=start)
        server.wait_state(f"same-{start}", "cold")
    forked, fresh = (server.get(f"same-{start}").json() for start in ("fork", "fresh"))
    for name in ("threads", "tasks", "descriptors", "argv", "executable", "path", "flags"):
        assert forked[name] == fresh[name], name
    assert server.run("explain", "same-fresh", "--start").stdout.count("status 200") == 1
    server.run("stop", "same-fresh")  # it is reaped by its zygote as any other
    wait_for(lambda: not server.workers("same-fresh"))
    assert server.view("same-fresh")["deaths"] == []
    server.run("start", "same-fresh")
    pid = json.loads(server.get("same-fresh").body)["pid"]
    assert pid in server.workers("same-fresh")
