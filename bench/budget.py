"""A thousand sites with room for a hundred workers, visited as sites are: few often, most now and then (Zipf's law)."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.support.server import Server, make_folder

from bench.idle import memory, processor

SITES = int(os.environ.get("SITES", "1000"))
PLACES = int(os.environ.get("PLACES", "100"))
SECONDS = float(os.environ.get("SECONDS", "30"))
CLIENTS = 16
APPLICATION = """
import os, time
def application(environ, start_response):
    time.sleep(0.005)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


@dataclass
class Visits:
    """What the visitors have seen."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    pids: set[bytes] = field(default_factory=set)


async def visit(port: int, name: str, visits: Visits) -> None:
    begin = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET / HTTP/1.0\r\nHost: {name}.localhost\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    visits.statuses[int(answer[9:12] or 0)] += 1
    visits.seconds.append(time.monotonic() - begin)
    visits.pids.add(answer.rpartition(b"\r\n")[2])


async def client(port: int, seed: int, deadline: float, visits: Visits) -> None:
    chance = random.Random(seed)
    names = [f"site{number}" for number in range(SITES)]
    weights = [1 / (number + 1) for number in range(SITES)]
    while time.monotonic() < deadline:
        await visit(port, chance.choices(names, weights)[0], visits)


async def run(port: int, visits: Visits) -> None:
    deadline = time.monotonic() + SECONDS
    await asyncio.gather(*(client(port, seed, deadline, visits) for seed in range(CLIENTS)))


def main() -> None:
    server = Server(make_folder(), arguments=("--workers", str(PLACES)))
    try:
        server.write("app/app.py", APPLICATION)
        for number in range(SITES):
            (server.sites / f"site{number}.toml").write_text(
                f'app = "app:application"\ndirectory = "{server.projects}/app"\n'
            )
        server.start()
        manager = server.status()["server"]["manager"]
        used = processor([manager])
        visits = Visits()
        asyncio.run(run(server.port, visits))
        used = (processor([manager]) - used) / SECONDS * 100
        budget = server.status()["server"]["budget"]
        seconds = sorted(visits.seconds)
        failed = sum(count for status, count in visits.statuses.items() if status != 200)
        print(f"\n{SITES} sites, room for {PLACES} workers, {CLIENTS} visitors, {SECONDS:g} s")
        print(f"  requests                           {len(seconds):8}    ({len(seconds) / SECONDS:.0f}/s)")
        print(f"  answered otherwise than by 200     {failed:8}    (wanted: 0) {dict(visits.statuses)}")
        print(
            f"  starts                             {len(visits.pids):8}    ({len(visits.pids) / len(seconds):.0%} of requests)"
        )
        print(f"  time to the answer, median         {statistics.median(seconds) * 1000:8.1f} ms")
        print(f"  ... of one in a hundred            {seconds[len(seconds) * 99 // 100] * 1000:8.1f} ms")
        print(f"  ... longest                        {seconds[-1] * 1000:8.1f} ms")
        print(f"  workers at the end                 {budget['used_workers']:8}")
        print(f"  their memory                       {budget['used_memory'] / 2**20:8.1f} MB")
        print(f"  processor for the manager          {used:8.1f} % of one core; its memory {memory(manager):.0f} MB")
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder)


if __name__ == "__main__":
    main()
