"""Requests that go on while something is broken, and what became of each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType

from tests.support.server import Server, wait_for

PID = """
    import os, time
    from urllib.parse import parse_qs
    def application(environ, start_response):
        seconds = float(parse_qs(environ["QUERY_STRING"]).get("sleep", ["0"])[0])
        time.sleep(seconds)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
"""
PID_ASGI = """
    import asyncio, os
    from urllib.parse import parse_qs
    async def application(scope, receive, send):
        if scope["type"] != "http":
            return
        await asyncio.sleep(float(parse_qs(scope["query_string"].decode()).get("sleep", ["0"])[0]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""


class Load:
    """As a context: asks some sites all the time, from so many threads for each. ``failures`` has to stay empty."""

    def __init__(self, server: Server, *sites: str, path: str = "/", threads: int = 2) -> None:
        self.server = server
        self.path = path
        self.answers: Counter[tuple[str, str]] = Counter()  # (site, body) of all 200s
        self.failures: list[str] = []
        self.count = 0
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(site,)) for site in sites for _ in range(threads)]

    def _ask(self, site: str) -> None:
        while not self._is_over.is_set():
            begin = time.time()
            try:
                answer = self.server.get(site, self.path, timeout=10)
                if answer.status == 200:
                    self.answers[site, answer.text] += 1
                else:
                    self.failures.append(f"{begin:.3f} {site}: {answer.status} after {answer.seconds:.3f} s")
            except Exception as error:
                self.failures.append(f"{begin:.3f} {site}: {error!r} after {time.time() - begin:.3f} s")
            self.count += 1

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, requests: int = 20) -> None:
        """Wait until so many more requests have been answered."""
        goal = self.count + requests
        wait_for(lambda: self.count >= goal, f"{requests} more answers")

    def bodies(self, site: str) -> set[str]:
        return {body for name, body in self.answers if name == site}
