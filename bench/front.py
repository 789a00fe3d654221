"""The front: ten thousand sites with traffic on all of them, and static files, beside an nginx that is wired for one site."""

from __future__ import annotations

import contextlib
import grp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.support.server import free_port, wait_for

from bench.support import front_options, process, requests_per_second, rounds, show
from hostel.front.binary import find_binary
from hostel.front.nginx import read_text, render
from hostel.manager.runtree import Files, RunTree

SITES = int(os.environ.get("SITES", "10000"))
COUNT = int(os.environ.get("ROUNDS", "5"))
FILES = {"small.css": 4 << 10, "large.bin": 1 << 20}
PARAMETERS = {  # what nginx's own file uwsgi_params has
    "QUERY_STRING": "$query_string", "REQUEST_METHOD": "$request_method", "CONTENT_TYPE": "$content_type",
    "CONTENT_LENGTH": "$content_length", "REQUEST_URI": "$request_uri", "PATH_INFO": "$document_uri",
    "DOCUMENT_ROOT": "$document_root", "SERVER_PROTOCOL": "$server_protocol", "REQUEST_SCHEME": "$scheme",
    "REMOTE_ADDR": "$remote_addr", "REMOTE_PORT": "$remote_port", "SERVER_PORT": "$server_port", "SERVER_NAME": "$server_name",
}  # fmt: skip
BARE = """
daemon off;
[user]
worker_processes [processes];
pid bare.pid;
events { worker_connections 4096; }
http {
    [mime_types]
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 10000;
    uwsgi_temp_path tmp/uwsgi;
    client_body_temp_path tmp/body;
    proxy_temp_path tmp/proxy;
    fastcgi_temp_path tmp/fastcgi;
    scgi_temp_path tmp/scgi;
    server {
        listen 127.0.0.1:[port] backlog=65535;
        access_log log/bare.log combined;
        location /static/ { root files; }
        location / {
            [parameters]
            uwsgi_pass unix:sites/site0/app.sock;
        }
    }
}
"""


def make_tree(folder: Path) -> None:
    """The run tree of so many usual sites, each with a socket to come, a log, and static files; works in ``folder``."""
    os.chdir(folder)
    for path in ("log", "files/static"):
        (folder / path).mkdir(parents=True)
    for name, size in FILES.items():
        (folder / "files/static" / name).write_bytes(b"x" * size)
    tree = RunTree(grp.getgrnam("nogroup").gr_gid if os.geteuid() == 0 else None)
    tree.prepare()
    (folder / "log").chmod(0o777)
    for number in range(SITES):
        name, log = f"site{number}", folder / f"log/site{number}"
        log.mkdir()
        log.chmod(0o777)
        tree.open_site(name)
        tree.link_log(name, str(log))
        tree.publish_files(name, Files(static=(("/static", str(folder / "files/static")),)))
        tree.route(f"{name}.example.com", name)


@contextlib.contextmanager
def bare_front(folder: Path) -> Iterator[int]:
    """nginx as somebody writes it by hand for one site: its socket, its files, its log; the port."""
    port = free_port()
    values = {
        "user": "user nobody nogroup;" if os.geteuid() == 0 else "",
        "processes": str(os.cpu_count() or 1),
        "mime_types": read_text("mime.types"),
        "port": str(port),
        "parameters": " ".join(f"uwsgi_param {name} {value};" for name, value in PARAMETERS.items()),
    }
    text = BARE
    for name, value in values.items():
        text = text.replace(f"[{name}]", value)
    (folder / "bare.conf").write_text(text)
    command = [find_binary().path, "-p", ".", "-c", "bare.conf", "-e", "log/bare-error.log"]
    with process(command, cwd=folder):
        yield port


@contextlib.contextmanager
def hostel_front(folder: Path) -> Iterator[int]:
    """nginx with Hostel's configuration over the tree; the port."""
    port = free_port()
    (folder / "nginx.conf").write_text(render(front_options(port, folder)))
    command = [find_binary().path, "-p", ".", "-c", "nginx.conf", "-e", "log/front.log"]
    with process(command, cwd=folder):
        yield port


def write_script(folder: Path, path: str) -> str:
    """A script for wrk that asks all sites in turn, in an order that no cache likes."""
    script = folder / "hosts.lua"
    script.write_text(
        f"local requests, last = {{}}, 0\n"
        f"function init(args)\n"
        f"  for i = 0, {SITES - 1} do\n"
        f"    requests[i] = wrk.format('GET', '{path}', {{Host = 'site' .. i .. '.example.com'}})\n"
        f"  end\n"
        f"end\n"
        f"function request()\n"
        f"  last = (last + 7919) % {SITES}\n"
        f"  return requests[last]\n"
        f"end\n"
    )
    return str(script)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="hostel-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        make_tree(folder)
        ready = folder / "ready"
        backend = [sys.executable, str(Path(__file__).with_name("backend.py")), str(ready)]
        with contextlib.ExitStack() as stack:
            stack.enter_context(process([*backend, "sites/site%d/app.sock", str(SITES)], cwd=folder))
            wait_for(ready.exists)
            ours, bare = stack.enter_context(hostel_front(folder)), stack.enter_context(bare_front(folder))
            wait_for(lambda: is_up(ours) and is_up(bare))
            script = write_script(folder, "/")
            title = f"traffic on {SITES} sites, and on one that nginx is wired for"
            found = rounds(
                {
                    "Hostel": partial(requests_per_second, ours, "", script=script),
                    "nginx wired for one site": partial(requests_per_second, bare, "", script=script),
                },
                COUNT,
            )
            show(title, found, "Hostel", "requests/s", {"nginx wired for one site": 0.8})
            host = "site0.example.com"
            for name, size in FILES.items():
                path = f"/static/{name}"
                found = rounds(
                    {
                        "Hostel": partial(requests_per_second, ours, host, path),
                        "bare nginx": partial(requests_per_second, bare, host, path),
                    },
                    COUNT,
                )
                show(f"a static file of {size >> 10} KB", found, "Hostel", "requests/s", {"bare nginx": 0.9})
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def is_up(port: int) -> bool:
    return (
        shutil.which("curl") is not None
        and not subprocess.run(
            ["curl", "-sf", "-o", "/dev/null", "-H", "Host: site0.example.com", f"http://127.0.0.1:{port}/"],
            check=False,
        ).returncode
    )


if __name__ == "__main__":
    main()
