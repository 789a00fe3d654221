"""Slow clients on one site: 5,000 connections each that send headers, send bodies, or read, very slowly; how are the others?

Side by side in one run: the neighbours are asked before the slow ones come, while they are there, and when they have gone.
Wanted: every answer of the neighbours is a 200, and their 99th percentile stays within 2 times.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time

from tests.support.server import Server, make_folder, wait_for

from bench.support import CONNECTIONS

CLIENTS = int(os.environ.get("CLIENTS", "5000"))
SECONDS = int(os.environ.get("SECONDS", "4"))
NEIGHBOURS = 4
APPLICATION = """
BODY = b"x" * 400_000

def application(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [BODY if environ["PATH_INFO"] == "/large" else b"small"]
"""
KINDS = {
    "slow headers": b"GET / HTTP/1.1\r\nHost: slow.localhost\r\n",
    "slow bodies": b"POST / HTTP/1.1\r\nHost: slow.localhost\r\nContent-Length: 1000000\r\n\r\n",
    "slow readers": b"GET /large HTTP/1.1\r\nHost: slow.localhost\r\n\r\n",
}
DRIPS = {"slow headers": b"X-Slow: 1\r\n", "slow bodies": b"x" * 10, "slow readers": b""}
DRIP_SECONDS = 5.0


class Crowd:
    """Slow clients of one kind, in a process of their own: ``python -m bench.slow KIND PORT COUNT``."""

    def __init__(self, kind: str, port: int, count: int) -> None:
        self.kind, self.port, self.count = kind, port, count
        self.alive = 0

    async def run(self) -> None:
        starting = asyncio.Semaphore(200)
        tasks = [asyncio.create_task(self.live(starting)) for _ in range(self.count)]
        while self.alive < self.count and not all(task.done() for task in tasks):
            await asyncio.sleep(0.1)
        print("ready", self.alive, flush=True)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def live(self, starting: asyncio.Semaphore) -> None:
        """Connect, send the beginning, and then a little now and then; or read a little."""
        async with starting:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2048)
            writer.write(KINDS[self.kind])
            await writer.drain()
            if self.kind == "slow readers":
                await reader.read(100)
        self.alive += 1
        while True:
            await asyncio.sleep(DRIP_SECONDS)
            if self.kind == "slow readers":
                await reader.read(500)
            else:
                writer.write(DRIPS[self.kind])
                await writer.drain()


def measure(port: int) -> dict[str, float]:
    """The neighbours' 99th percentile in ms, requests per second, and how many answers were no 200."""
    found = []
    for number in range(NEIGHBOURS):
        command = [
            "wrk", "-t1", f"-c{CONNECTIONS // NEIGHBOURS}", f"-d{SECONDS}s", "--latency", "-H",
            f"Host: neighbour{number}.localhost", f"http://127.0.0.1:{port}/",
        ]  # fmt: skip
        found.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    texts = [process.communicate()[0] for process in found]
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    slowest, rate, wrong = [], 0.0, 0
    for text in texts:
        match = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
        assert match, text
        slowest.append(float(match[1]) * units[match[2]])
        rate += float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
        wrong += sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
        wrong += sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    return {"p99": statistics.median(slowest), "rate": rate, "wrong": wrong}


def memory_of(front: int) -> int:
    """The memory of nginx's processes, in MB."""
    pids = [
        front,
        *map(int, subprocess.run(["pgrep", "-P", str(front)], capture_output=True, text=True).stdout.split()),
    ]
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total >> 10


def main() -> None:
    server = Server(make_folder())
    try:
        workers = {"min": 1, "max": 1}
        server.site("slow", APPLICATION, workers=workers)
        for number in range(NEIGHBOURS):
            server.site(f"neighbour{number}", APPLICATION, workers=workers)
        server.start()
        for number in range(NEIGHBOURS):
            wait_for(lambda number=number: server.get(f"neighbour{number}").status == 200)  # type: ignore[misc]
        front = server.status()["server"]["front"]
        print(f"{NEIGHBOURS} neighbours beside {CLIENTS} slow connections to one site")
        for kind in KINDS:
            before, memory_before = measure(server.port), memory_of(front)
            command = [sys.executable, "-m", "bench.slow", kind, str(server.port), str(CLIENTS)]
            crowd = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            try:
                assert crowd.stdout is not None
                alive = int(crowd.stdout.readline().split()[1])
                during, memory = measure(server.port), memory_of(front)
                own = server.get("slow").status
                busy = sum(worker["busy"] for worker in server.view("slow")["workers"])
            finally:
                crowd.kill()
                crowd.wait()
            time.sleep(1)
            after = measure(server.port)
            calm = statistics.mean((before["p99"], after["p99"]))
            print(
                f"  {kind:<14} {alive} connected; p99 {before['p99']:.1f} / {during['p99']:.1f} / {after['p99']:.1f} ms before / "
                f"with / after: {during['p99'] / calm:.2f} times (wanted: 2); {during['rate']:.0f} of "
                f"{statistics.mean((before['rate'], after['rate'])):.0f} requests/s; {during['wrong']:.0f} wrong answers; the "
                f"slow site says {own}, with {busy} requests in its worker; nginx {memory_before} -> {memory} MB",
                flush=True,
            )
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder)


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if len(sys.argv) == 4:
        asyncio.run(Crowd(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).run())
    else:
        main()
