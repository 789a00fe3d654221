"""Time to the first byte from a sleeping Django site, beside the time that gunicorn needs from its start to its first byte."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

from tests.support.server import Server, free_port, make_folder, wait_for

from bench.hello import prepare
from bench.support import BIN, process, rounds, show

COUNT = int(os.environ.get("ROUNDS", "9"))
BLOG = Path(__file__).parent.parent / "examples" / "blog"
APP = "blog_project.wsgi:application"


def first_byte(port: int, host: str) -> float:
    """Seconds until the first byte of the answer; connecting is tried again and again until somebody listens."""
    begin = time.monotonic()
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                data = sock.recv(12)
            assert data.endswith(b"200"), data
            return time.monotonic() - begin
        except ConnectionRefusedError:
            time.sleep(0.002)


def main() -> None:
    server = Server(make_folder())
    state = make_folder()
    state.chmod(0o777)
    env = {"STATE_DIRECTORY": str(state)}
    prepare(BLOG, env)
    server.site("blog", None, app=APP, directory=str(BLOG), env=env, workers={"idle": 0.2})
    port = free_port()

    def of_hostel() -> float:
        wait_for(lambda: server.state("blog") == "cold")
        return first_byte(server.port, "blog.localhost")

    def of_gunicorn() -> float:
        begin = time.monotonic()
        command = [str(BIN / "gunicorn"), "-w", "1", "--chdir", str(BLOG), "-b", f"127.0.0.1:{port}", APP]
        with process(command, env={**os.environ, **env}):
            first_byte(port, "blog.localhost")
            return time.monotonic() - begin

    try:
        server.start()
        first = first_byte(server.port, "blog.localhost")
        # What the first start taught is in the zygote a moment later.
        wait_for(
            lambda: any(
                zygote["preloaded"] and zygote["state"] == "current" for zygote in server.status()["server"]["zygotes"]
            )
        )
        found = rounds({"Hostel, asleep": of_hostel, "gunicorn, from its start": of_gunicorn}, COUNT)
        show(
            "time to the first byte of a Django page", found, "Hostel, asleep", "s", {"gunicorn, from its start": 0.35}
        )
        print(f"  the very first start, before anything was learned: {first:.3f} s")
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder)
        shutil.rmtree(state)


if __name__ == "__main__":
    main()
