"""Two hundred different sites asked for at the same moment after a cold boot, beside two hundred gunicorns started then."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable

from tests.support.server import Server, free_port, make_folder

from bench.cold import learn
from bench.projects import PROJECTS, Project

SITES = int(os.environ.get("SITES", "200"))
PATIENCE = 120.0
BOUND = 1 / 3


async def visit(port: int, host: str, path: str) -> int:
    """The status of one request; connecting is tried again and again until somebody listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            return int(answer[9:12] or 0)
        await asyncio.sleep(0.02)
    return 0


async def visit_all(places: list[tuple[int, str]], path: str) -> list[int]:
    return await asyncio.gather(*(visit(port, host, path) for port, host in places))


class Responsiveness:
    """How long a small program takes meanwhile, from its start to its end; the longest."""

    def __enter__(self) -> Responsiveness:
        self.worst = 0.0
        self._is_over = False
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._is_over:
            begin = time.monotonic()
            subprocess.run(["/bin/true"], check=True)
            self.worst = max(self.worst, time.monotonic() - begin)
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()


def measure(title: str, places: list[tuple[int, str]], path: str, start: Callable[[], object]) -> float:
    """Start what serves the places, and ask all of them; seconds until the last has answered."""
    with Responsiveness() as responsiveness:
        begin = time.monotonic()
        start()
        statuses = asyncio.run(visit_all(places, path))
        seconds = time.monotonic() - begin
    failed = sum(status != 200 for status in statuses)
    print(f"  {title:<34} {seconds:8.2f} s   answered otherwise than by 200: {failed}, "
          f"a small program took at most {responsiveness.worst:.2f} s")  # fmt: skip
    return seconds


def of_hostel(project: Project) -> float:
    server = Server(make_folder())
    try:
        for number in range(SITES):
            server.site(f"s{number}", None, **project.options, workers={"idle": 600 if number else 0.3})
        server.start()
        learn(server, project.path, "s0")  # before the machine was switched off
        server.stop()
        places = [(server.port, f"s{number}.localhost") for number in range(SITES)]
        seconds = measure("Hostel", places, project.path, lambda: server.start(wait=False))
        server.stop()
        return seconds
    finally:
        server.kill()
        shutil.rmtree(server.folder)


def of_gunicorn(project: Project) -> float:
    with contextlib.ExitStack() as stack:
        ports = [free_port() for _ in range(SITES)]

        def start() -> None:
            for port in ports:
                stack.enter_context(project.gunicorn(port))

        return measure("gunicorn for each site", [(port, "s.localhost") for port in ports], project.path, start)


def main() -> None:
    folder = make_folder()
    try:
        project = PROJECTS[os.environ.get("KIND", "django")](folder / "project")
        print(f"\n{SITES} sites asked for at the same moment, from the start of all: {project.name}")
        ours, theirs = of_hostel(project), of_gunicorn(project)
        print(f"  Hostel is {ours / theirs:.2f} of it (wanted: {BOUND:.2f})")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
