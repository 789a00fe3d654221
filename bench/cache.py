"""Requests per second for answers that the front keeps, beside the same answers from the application, of two weights."""

from __future__ import annotations

import os
import shutil
from typing import Any

from tests.support.server import Server, make_folder, wait_for

from bench.support import requests_per_second, rounds, show

PAGE = """
import time

def application(environ, start_response):
    began = time.thread_time()
    while time.thread_time() - began < {seconds}:
        pass
    start_response("200 OK", [("Content-Type", "text/plain"){headers}])
    return [b"Hello, world!" * 100]
"""
KEPT = ', ("Cache-Control", "max-age=86400")'
CACHE: dict[str, Any] = {"cache": {"on": True}}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "kept": (KEPT, CACHE), "no cache": (KEPT, {}), "a cache, but not kept": ("", CACHE),
}  # fmt: skip
COUNT = int(os.environ.get("ROUNDS", "5"))


def main() -> None:
    server = Server(make_folder())
    weights = {"a page of 1 ms": 0.001, "hello world": 0.0}
    try:
        for weight, seconds in weights.items():
            for way, (headers, options) in WAYS.items():
                code = PAGE.format(seconds=seconds, headers=headers)
                server.site(name_of(weight, way), code, workers={"min": 2, "max": 2}, **options)
        server.start()
        for weight in weights:
            hosts = {way: f"{name_of(weight, way)}.localhost" for way in WAYS}
            for host in hosts.values():
                wait_for(lambda host=host: server.get(host).status == 200, host)  # type: ignore[misc]
            found = rounds(
                {
                    way: lambda host=host: requests_per_second(server.port, host, seconds=2)
                    for way, host in hosts.items()
                },  # type: ignore[misc]
                COUNT,
            )
            show(f"the front's cache, {weight}", found, "kept", "requests/s", {})
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder)


def name_of(weight: str, way: str) -> str:
    return f"{weight}-{way}".replace(" ", "-").replace(",", "")


if __name__ == "__main__":
    main()
