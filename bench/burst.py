"""Thousands of simultaneous first visitors of a sleeping site: who is served, who is refused, and how soon."""

from __future__ import annotations

import asyncio
import resource
import shutil
import statistics
import time
from collections import Counter
from dataclasses import dataclass

from tests.support.server import Server, make_folder, wait_for

SLOW_IMPORT = """
import time
time.sleep(2)
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"slow to start"]
"""
VISITORS = (4000, 6000)


@dataclass(frozen=True)
class Visit:
    """One visitor's answer: its status (0: none), whether it says when to come again, and the seconds it took."""

    status: int
    has_retry: bool
    seconds: float


async def visit(port: int, host: str, connected: asyncio.Barrier) -> Visit:
    """Connect, wait for all others to be connected, ask, and read the answer."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    finally:
        await connected.wait()
    begin = time.monotonic()
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 120)
    except (OSError, TimeoutError):
        answer = b""
    writer.close()
    head = answer.partition(b"\r\n\r\n")[0].lower()
    return Visit(int(head[9:12] or 0), b"\r\nretry-after:" in head, time.monotonic() - begin)


async def visit_all(port: int, host: str, count: int) -> list[Visit]:
    connected = asyncio.Barrier(count)
    return await asyncio.gather(*(visit(port, host, connected) for _ in range(count)))


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Server(make_folder())
    try:
        server.site("slow", SLOW_IMPORT, limits={"queue": "60s"}, workers={"max": 2, "idle": "1s"})
        server.start()
        for count in VISITORS:
            wait_for(lambda: server.state("slow") == "cold")
            visits = asyncio.run(visit_all(server.port, "slow.localhost", count))
            statuses = Counter(found.status for found in visits)
            refused = [found for found in visits if found.status == 503]
            print(f"\n{count} simultaneous visitors of a site that sleeps and needs 2 s to start")
            print(f"  statuses                           {dict(statuses)}")
            print(f"  the last was served after          {max(found.seconds for found in visits):8.2f} s")
            if refused:
                times = [found.seconds for found in refused]
                print(
                    f"  refused after                      {statistics.median(times):8.2f} s (worst {max(times):.2f}; wanted: 1)"
                )
                print(f"  of these, told when to come again  {sum(found.has_retry for found in refused):8}")
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder)


if __name__ == "__main__":
    main()
