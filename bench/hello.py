"""Requests per second: a hello world and a Django page, through Hostel and through the peers."""

from __future__ import annotations

import contextlib
import os
import shutil
from functools import partial
from pathlib import Path

from tests.support.server import Server, free_port, make_folder, wait_for

from bench.support import BIN, front_for, process, requests_per_second, rounds, show, wait_for_socket

HELLO = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, world!"]
"""
COUNT = int(os.environ.get("ROUNDS", "7"))
POST = "/posts/first-steps/"  # of those that the example puts into its database
PROCESSES = 2


def compare(project: Path, app: str, env: dict[str, str], pages: dict[str, str], bounds: dict[str, float]) -> None:
    """Serve one project by all of them, and ask each in turn for each page: ``pages`` are titles with their paths."""
    server = Server(make_folder())
    sockets = make_folder()
    sockets.chmod(0o777)
    workers = {"min": PROCESSES, "max": PROCESSES}
    server.site("site", None, app=app, directory=str(project), workers=workers, env=env)
    environment = {**os.environ, **env}
    gunicorn = [str(BIN / "gunicorn"), "-w", str(PROCESSES), "--chdir", str(project), "--backlog", "2048"]
    alone = free_port()
    uwsgi = [
        str(BIN / "uwsgi"), "--socket", f"{sockets}/u.sock", "--chmod-socket=666", "--master", "--processes", str(PROCESSES),
        "--listen", "2048", "--disable-logging", "--chdir", str(project), "--module", app, "--need-app",
        "--virtualenv", str(BIN.parent),
    ]  # fmt: skip
    try:
        with contextlib.ExitStack() as stack:
            server.start()
            wait_for(lambda: len(server.workers("site")) == PROCESSES)
            stack.enter_context(process(uwsgi, env=environment))
            stack.enter_context(process([*gunicorn, "-b", f"127.0.0.1:{alone}", app], env=environment))
            stack.enter_context(
                process([*gunicorn, "--umask", "0", "-b", f"unix:{sockets}/g.sock", app], env=environment)
            )
            wait_for_socket(sockets / "u.sock")
            wait_for_socket(sockets / "g.sock")
            host = "site.localhost"
            uwsgi_port = stack.enter_context(front_for(host, f"uwsgi unix:{sockets}/u.sock"))
            gunicorn_port = stack.enter_context(front_for(host, f"http unix:{sockets}/g.sock"))
            wait_for_socket(sockets)
            ports = {
                "Hostel": server.port,
                "uWSGI behind the same nginx": uwsgi_port,
                "gunicorn behind the same nginx": gunicorn_port,
                "gunicorn alone": alone,
            }
            for title, path in pages.items():
                measures = {name: partial(requests_per_second, port, host, path) for name, port in ports.items()}
                show(title, rounds(measures, COUNT), "Hostel", "requests/s", bounds)
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder)
        shutil.rmtree(sockets)


def main() -> None:
    folder = make_folder()
    try:
        (folder / "hello.py").write_text(HELLO)
        bounds = {
            "uWSGI behind the same nginx": 0.95,
            "gunicorn behind the same nginx": 3.0,
            "gunicorn alone": 2.5,
        }
        compare(folder, "hello:application", {}, {f"hello world, {PROCESSES} processes": "/"}, bounds)
        blog = Path(__file__).parent.parent / "examples" / "blog"
        state = folder / "state"
        state.mkdir(mode=0o777)
        state.chmod(0o777)
        bounds = {
            "uWSGI behind the same nginx": 1.0,
            "gunicorn behind the same nginx": 1.2,
            "gunicorn alone": 1.2,
        }
        env = {"STATE_DIRECTORY": str(state)}
        prepare(blog, env)
        pages = {
            "a Django page without a query": "/about/",
            "a Django page with a query and a form": POST,
            "a Django page that lists and counts": "/",
            "Django's admin login": "/admin/login/",
        }
        compare(blog, "blog_project.wsgi:application", env, pages, bounds)
    finally:
        shutil.rmtree(folder)


def prepare(project: Path, env: dict[str, str]) -> None:
    """Make the project's database once, usable by whoever serves it."""
    import subprocess

    python = str(BIN / "python")
    subprocess.run([python, "-c", "import blog_project.wsgi"], cwd=project, env={**os.environ, **env}, check=True)
    for path in Path(env["STATE_DIRECTORY"]).rglob("*"):
        path.chmod(0o777 if path.is_dir() else 0o666)


if __name__ == "__main__":
    main()
