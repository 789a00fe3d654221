"""What the levels of guards cost: a cold start, and requests of a small page, at each level and as a ratio to ``none``.

The three levels run beside each other and are measured in turn, so that a busy machine is busy for all of them.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import statistics
import subprocess

from tests.support.server import Server, make_folder, wait_for

from bench.cold import first_byte

LEVELS = ("none", "user", "full")
STARTS = int(os.environ.get("ROUNDS", "60"))
SECONDS = float(os.environ.get("SECONDS_OF_LOAD", "2"))
ROUNDS = int(os.environ.get("ROUNDS_OF_LOAD", "8"))
HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
"""


def start(level: str) -> Server:
    server = Server(make_folder(), guard=level)
    server.start()
    server.site("sleeper", HELLO, workers={"idle": 0.05})
    server.site("busy", HELLO, workers={"min": 1, "max": 1})
    server.wait_state("busy", "serving")
    server.wait_state("sleeper", "cold")
    first_byte(server.port, "sleeper.localhost")
    return server


def requests_per_second(server: Server) -> float:
    command = [
        "wrk",
        "-t1",
        "-c8",
        f"-d{SECONDS:.0f}s",
        "-H",
        "Host: busy.localhost",
        f"http://127.0.0.1:{server.port}/",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    assert found and "Non-2xx" not in said, said
    return float(found[1])


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    servers: dict[str, Server] = {}
    try:
        for level in LEVELS:
            servers[level] = start(level)
        starts: dict[str, list[float]] = {level: [] for level in LEVELS}
        for _ in range(STARTS):
            for level in random.sample(LEVELS, len(LEVELS)):
                wait_for(lambda: all(server.state("sleeper") == "cold" for server in servers.values()))
                starts[level].append(first_byte(servers[level].port, "sleeper.localhost"))
        print("cold start of a small site, in ms")
        for level, times in starts.items():
            print(
                f"  {level:5} median {1000 * statistics.median(times):6.1f}   p95 {1000 * percentile(times, 0.95):6.1f}"
            )
        rates: dict[str, list[float]] = {level: [] for level in LEVELS}
        for _ in range(ROUNDS):
            for level, server in servers.items():
                rates[level].append(requests_per_second(server))
        print("requests per second of a small page; the ratio is the median of the rounds'")
        for level, found in rates.items():
            ratio = statistics.median(one / other for one, other in zip(found, rates["none"], strict=True))
            print(f"  {level:5} median {statistics.median(found):8.0f}   ratio {ratio:.3f}")
    finally:
        for server in servers.values():
            server.stop()
            server.kill()
            shutil.rmtree(server.folder)


if __name__ == "__main__":
    main()
