"""Overload: a site that is offered twice and five times what it can do, by visitors who give up after a second.

What counts is how many get their page in time, as a share of what the site does when nobody has to wait. And what the
visitors of another site on the same machine notice of it.

SECONDS, ROUNDS: of each measurement; SERVERS, PARTS: which of them, separated by commas.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.server import Server, make_folder, wait_for

from bench.support import BIN, front_for, process, requests_per_second, wait_for_socket
from bench.visitors import visit

SECONDS = float(os.environ.get("SECONDS", "12"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SERVERS = os.environ.get("SERVERS", "Hostel,uWSGI,gunicorn,Granian").split(",")
PARTS = os.environ.get("PARTS", "wait,compute,slices,neighbour").split(",")
PATIENCE = 1.0
LOADS = (2, 5)
NEIGHBOUR_RATE = 80  # of its visitors, per second
WANTED = 0.9
WARM_SECONDS = 3  # of overload before it is looked at: what it brings about at first is over
# The page is made by waiting for something (a database), or by computing.
APPLICATION = """
import time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/compute":
        end = time.thread_time() + 0.01
        while time.thread_time() < end:
            pass
    else:
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, world!"]
"""
# Its loop goes round between the slices: visitors are accepted while others' pages are being made.
ASGI = """
import asyncio, time

async def application(scope, receive, send):
    if scope["type"] == "http":
        for _ in range(10):
            end = time.thread_time() + 0.001
            while time.thread_time() < end:
                pass
            await asyncio.sleep(0)
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"Hello, world!"})
"""
Target = tuple[int, str]  # port and host name


def capacity_of(target: Target, path: str) -> float:
    """Pages a second when there is always a next visitor, who hardly waits. Begins when earlier visitors are forgotten."""
    port, host = target
    wait_for(
        lambda: visit(port, host, rate=20, seconds=0.2, patience=0.1, path=path).percentile(0.9), "a quiet site", 120
    )
    return requests_per_second(port, host, path, seconds=max(1, round(SECONDS / 4)), connections=3)


@contextlib.contextmanager
def all_servers(folder: Path) -> Iterator[dict[str, Target]]:
    """Hostel and its peers with one process each for the same application, behind the same nginx."""
    folder.joinpath("asgi.py").write_text(ASGI)
    server = Server(folder / "hostel")
    server.site("asgi", None, app="asgi:application", directory=str(folder), workers={"min": 1, "max": 1})
    server.site("site", None, app="app:application", directory=str(folder), workers={"min": 1, "max": 1})
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    peers = {
        "uWSGI": ("uwsgi", [
            BIN / "uwsgi", "--socket", f"{folder}/uwsgi.sock", "--chmod-socket=666", "--master", "--processes", "1",
            "--listen", "2048", "--disable-logging", "--chdir", folder, "--module", "app", "--need-app",
            "--virtualenv", BIN.parent,
        ]),
        "gunicorn": ("http", [
            BIN / "gunicorn", "-w", "1", "--chdir", folder, "--umask", "0", "-b", f"unix:{folder}/gunicorn.sock",
            "app:application",
        ]),
        "Granian": ("http", [
            BIN / "granian", "--interface", "wsgi", "--workers", "1", "--blocking-threads", "1", "--uds",
            f"{folder}/granian.sock", "--uds-permissions", "666", "--working-dir", folder, "app:application",
        ]),
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        wait_for(lambda: server.workers("site") and server.workers("asgi"))
        targets: dict[str, Target] = {"Hostel": (server.port, "site.localhost")}
        for name, (kind, command) in peers.items():
            if name not in SERVERS:
                continue
            stack.enter_context(process([str(part) for part in command], env=environment))
            path = folder / f"{name.lower()}.sock"
            wait_for_socket(path)
            targets[name] = stack.enter_context(front_for("site.localhost", f"{kind} unix:{path}")), "site.localhost"
        yield targets
        server.stop()


@contextlib.contextmanager
def neighbours(folder: Path) -> Iterator[Server]:
    """Two sites with the usual options."""
    server = Server(folder / "neighbours")
    for name in ("quiet", "busy"):
        server.site(name, None, app="app:application", directory=str(folder))
    try:
        yield server.start()
        server.stop()
    finally:
        server.kill()


@contextlib.contextmanager
def visitors(target: Target, rate: float, path: str) -> Iterator[None]:
    """Visitors from a process of their own, who have been coming for a while."""
    port, host = target
    call = f"visit({port}, {host!r}, rate={rate}, seconds=3600, patience={PATIENCE}, path={path!r})"
    code = f"from bench.visitors import visit; {call}"
    with process([sys.executable, "-c", code]):
        time.sleep(WARM_SECONDS)
        yield


def compare(targets: dict[str, Target], path: str, title: str) -> None:
    print(f"\n{title}: pages in time, as a share of what the site can do (wanted of Hostel: {WANTED})")
    shares: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for name, target in targets.items():
            for load in LOADS:
                before = capacity_of(target, path)
                visits = visit(*target, rate=before * load, seconds=SECONDS, patience=PATIENCE, path=path)
                capacity = statistics.mean((before, capacity_of(target, path)))  # the machine may have other work
                shares.setdefault((name, load), []).append(visits.rate / capacity)
    for (name, load), found in shares.items():
        print(
            f"  {name:<10} offered {load} times   {statistics.median(found):6.2f}   ({min(found):.2f} to {max(found):.2f})"
        )
    sys.stdout.flush()


def neighbour(server: Server, path: str) -> None:
    """What the visitors of one site notice of the overload of another: the server's own choice of workers."""
    print(
        f"\na neighbour's pages while another site is offered too much for its {path}: "
        "the slowest of a hundred, in ms (wanted: 1.5 times)"
    )
    quiet, busy = (server.port, "quiet.localhost"), (server.port, "busy.localhost")
    capacity_of(quiet, "/")  # its workers are there, and stay
    capacity = capacity_of(busy, path)
    found: dict[str, list[float]] = {"alone": [], **{f"beside {load} times": [] for load in LOADS}}
    for _ in range(ROUNDS):
        for name, load in zip(found, (0, *LOADS), strict=True):
            with visitors(busy, capacity * load, path) if load else contextlib.nullcontext():
                visits = visit(*quiet, rate=NEIGHBOUR_RATE, seconds=SECONDS, patience=10.0)
            found[name].append(visits.percentile(0.99) * 1000)
            assert set(visits.answers) == {"200"}, visits.answers
    for name, values in found.items():
        ratio = statistics.median(values) / statistics.median(found["alone"])
        spread = f"{min(values):.1f} to {max(values):.1f}"
        print(f"  {name:<16} {statistics.median(values):7.1f}   ({spread})   {ratio:.2f} times")


def main() -> None:
    folder = make_folder()
    try:
        folder.joinpath("app.py").write_text(APPLICATION)
        folder.chmod(0o777)
        with all_servers(folder) if PARTS != ["neighbour"] else contextlib.nullcontext({}) as targets:
            if "wait" in PARTS:
                compare(targets, "/", "pages that wait for 10 ms")
            if "compute" in PARTS:
                compare(targets, "/compute", "pages that compute for 10 ms")
            if "slices" in PARTS:
                slices = {"Hostel": (targets["Hostel"][0], "asgi.localhost")}
                compare(slices, "/", "pages of an ASGI application that compute for 10 ms in slices")
        if "neighbour" in PARTS:
            with neighbours(folder) as server:
                for path in ("/compute", "/wait"):
                    neighbour(server, path)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
