"""A hundred reloads in a hundred seconds: no request fails, and nobody notices.

Windows with one reload a second and windows without take turns, under the same load; what is compared is the longest time
that a visitor waits in either. SECONDS: of all windows with reloads.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time

from tests.support.server import Server, make_folder, wait_for

from bench.client import Client, Sample, quantile

SECONDS = int(os.environ.get("SECONDS", "100"))
WINDOW = 10
RATE = 1200.0  # requests a second
VISITORS = 16
HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"hello"]
"""


def main() -> None:
    server = Server(make_folder())
    try:
        server.site("hello", HELLO, workers={"min": 2, "max": 2})
        server.start()
        wait_for(lambda: len(server.workers("hello")) == 2)
        windows: list[tuple[float, float, bool]] = []
        reloads = 0
        with Client(server.port, ["hello.localhost"], rate=RATE, visitors=VISITORS) as client:
            time.sleep(2)
            for number in range(2 * SECONDS // WINDOW):
                begin = time.monotonic()
                if number % 2:
                    for second in range(WINDOW):
                        time.sleep(max(0.0, begin + second - time.monotonic()))
                        server.client.call("reload", sites=["hello"])
                        reloads += 1
                time.sleep(max(0.0, begin + WINDOW - time.monotonic()))
                windows.append((begin, time.monotonic(), bool(number % 2)))
        view = server.view("hello")
        assert view["generation"] == reloads + 1, view
        print(f"\n{reloads} reloads, one a second, {RATE:g} requests a second")
        worst = {False: show("without reloads", client.samples, windows, False)}
        worst[True] = show("with reloads", client.samples, windows, True)
        print(
            f"  the worst stall is longer by         {(worst[True] - worst[False]) * 1000:8.1f} ms (wanted: below 50)"
        )
    finally:
        server.stop()
        server.kill()
        subprocess.run(["rm", "-rf", str(server.folder)], check=True)


def show(title: str, samples: list[Sample], windows: list[tuple[float, float, bool]], kind: bool) -> float:
    """Print what the windows of a kind have seen; the longest wait."""
    found = [[s for s in samples if begin <= s.due < end] for begin, end, which in windows if which is kind]
    seconds = [s.seconds for window in found for s in window]
    failures = [s.problem for window in found for s in window if s.problem]
    print(f"  {title}: {len(seconds)} requests, {len(failures)} failed {sorted(set(failures)) or ''}")
    for name, part in (("half", 0.5), ("99 %", 0.99), ("99.9 %", 0.999)):
        print(f"    {name:<8} within                    {quantile(seconds, part) * 1000:8.1f} ms")
    worst = [max(s.seconds for s in window) for window in found]
    print(f"    the worst of a window, median      {statistics.median(worst) * 1000:8.1f} ms")
    print(f"    the worst of all                   {max(worst) * 1000:8.1f} ms")
    return max(worst)


if __name__ == "__main__":
    main()
