"""Time to the first byte from a sleeping site, beside a fresh interpreter that does the same import and request, and beside the
time that gunicorn needs from its start to its first byte: a Django site, a Flask site with SQLAlchemy, and a Wagtail site.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.support.server import Server, free_port, make_folder, wait_for

from bench.projects import ENVIRONMENT, PROJECTS, SITE_BIN, Project
from bench.support import rounds, show

COUNT = int(os.environ.get("ROUNDS", "9"))
OURS, FRESH, GUNICORN = "Hostel, asleep", "a fresh interpreter", "gunicorn, from its start"
BOUNDS = {"django": 0.2, "flask": 0.12, "wagtail": 0.5}
OF_GUNICORN = 0.15
REQUEST = """
import importlib, io, sys
module, name = sys.argv[1].split(":")
sys.path.insert(0, "")
application = getattr(importlib.import_module(module), name)
environ = {
    "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": sys.argv[2], "QUERY_STRING": "",
    "SERVER_NAME": "site.localhost", "SERVER_PORT": "80", "HTTP_HOST": "site.localhost", "SERVER_PROTOCOL": "HTTP/1.0",
    "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr,
    "wsgi.multithread": False, "wsgi.multiprocess": True, "wsgi.run_once": False,
}
statuses = []
next(iter(application(environ, lambda status, headers, *more: statuses.append(status))))
assert statuses == ["200 OK"], statuses
sys.stdout.write("200")
sys.stdout.flush()
"""


def first_byte(port: int, host: str, path: str = "/") -> float:
    """Seconds until the first byte of the answer; connecting is tried again and again until somebody listens."""
    begin = time.monotonic()
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                data = sock.recv(12)
            assert data.endswith(b"200"), data
            return time.monotonic() - begin
        except ConnectionRefusedError:
            time.sleep(0.002)


def of_fresh(project: Project) -> float:
    """Seconds from the start of an interpreter to the first byte that it has made."""
    begin = time.monotonic()
    command = [str(SITE_BIN / "python"), "-c", REQUEST, project.app, project.path]
    with subprocess.Popen(
        command,
        cwd=project.directory,
        env={**os.environ, **project.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read(3) == b"200"
        seconds = time.monotonic() - begin
        child.kill()
    return seconds


def learn(server: Server, path: str, name: str = "site") -> float:
    """Let a server learn what a site imports, as one has that has been up for a minute; seconds of the very first start."""
    first = first_byte(server.port, f"{name}.localhost", path)
    wait_for(lambda: server.state(name) == "cold")

    def is_settled() -> bool:
        zygotes = [
            one for one in server.status()["server"]["zygotes"] if one["environment"] == (ENVIRONMENT or sys.prefix)
        ]
        return len(zygotes) == 1 and zygotes[0]["preloaded"] > 0

    time.sleep(1.5)  # what one of its workers has imported goes into one new zygote
    wait_for(is_settled, seconds=60)
    return first


def measure(kind: str, project: Project) -> None:
    server = Server(make_folder())
    server.site("site", None, **project.options, workers={"idle": 0.2})
    port = free_port()
    ready: list[float] = []

    def of_hostel() -> float:
        wait_for(lambda: server.state("site") == "cold")
        seconds = first_byte(server.port, "site.localhost", project.path)
        ready.append(float(re.findall(r"is ready after (\d+) ms", server.log("site"))[-1]) / 1000)
        return seconds

    def of_gunicorn() -> float:
        begin = time.monotonic()
        with project.gunicorn(port):
            first_byte(port, "site.localhost", project.path)
            return time.monotonic() - begin

    try:
        server.start()
        first = learn(server, project.path)
        found = rounds({OURS: of_hostel, FRESH: lambda: of_fresh(project), GUNICORN: of_gunicorn}, COUNT)
        show(f"time to the first byte: {project.name}", found, OURS, "s", {FRESH: BOUNDS[kind], GUNICORN: OF_GUNICORN})
        print(f"  from the order to a ready worker   {statistics.median(ready):10.4g} s")
        print(f"  the very first start, before anything was learned: {first:.3f} s")
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder)


def main() -> None:
    for kind in os.environ.get("KINDS", "django flask wagtail").split():
        folder = make_folder()
        try:
            measure(kind, PROJECTS[kind](Path(folder) / kind))
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
