"""Requests that do not end, each in its own way; the path says which."""

import itertools
import time
from collections.abc import Iterator
from typing import Any


def parts(seconds: float, count: int) -> Iterator[bytes]:
    for _ in range(count):
        time.sleep(seconds)
        yield b"part"


def wait_for_something() -> None:
    time.sleep(1000)


def compute() -> None:
    while True:
        for _ in range(1000):
            pass


def be_stubborn() -> None:
    while True:
        try:
            wait_for_something()
        except BaseException:
            pass


def hold_the_interpreter() -> None:
    """C code that never lets another thread run, nor a signal's handler."""
    sum(itertools.repeat(0))


def application(environ: Any, start_response: Any) -> Any:
    headers = [("Content-Type", "text/plain")]
    match environ["PATH_INFO"]:
        case "/wait":
            wait_for_something()
        case "/compute":
            compute()
        case "/stubborn":
            be_stubborn()
        case "/hold":
            hold_the_interpreter()
        case "/parts":
            start_response("200 OK", headers)
            return parts(0.04, 12)
        case "/events":
            start_response("200 OK", [("content-type", "text/event-stream; charset=utf-8")])
            return parts(1.0, 2)
        case "/while":
            time.sleep(float(environ["QUERY_STRING"]))
    start_response("200 OK", headers)
    return [b"fine"]
