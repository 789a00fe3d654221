"""A client that asks at fixed times, whatever the answers do, and remembers how long each took.

The hard part is honesty: a client that waits for an answer before it asks again asks nobody during a stall, and one second
without answers counts as one slow request (coordinated omission). So each request has a time at which it is due, and its
latency counts from then. The client is a process of its own: what is measured must not wait for who measures.

A kept connection that the server closes before the first byte of an answer is opened anew and the request sent again, as
browsers do (RFC 9112, section 9.3.1); everything else that is not a 200 is a failure.
"""

from __future__ import annotations

import heapq
import multiprocessing
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

PATIENCE = 10.0  # seconds for an answer
MARGIN = 0.001


@dataclass(frozen=True)
class Sample:
    """One request: the site, when it was due (monotonic), seconds until it was answered, and what was wrong, if anything."""

    site: str
    due: float
    seconds: float
    problem: str = ""


@dataclass
class _Caller:
    """One visitor of one site, with one connection that stays open."""

    site: str
    port: int
    period: float
    due: float
    sock: socket.socket | None = None
    data: bytes = b""
    is_fresh: bool = True  # nothing has been answered on this connection yet
    began: float = 0.0
    request: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.request = f"GET / HTTP/1.1\r\nHost: {self.site}\r\n\r\n".encode()

    def ask(self) -> None:
        self.began = time.monotonic()
        self.data = b""
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
            self.is_fresh = True
        self.sock.sendall(self.request)

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class Client:
    """As a context: asks each site ``rate`` times a second, with so many visitors; ``end`` has all samples."""

    def __init__(self, port: int, sites: Sequence[str], *, rate: float, visitors: int = 1) -> None:
        self.samples: list[Sample] = []
        ours, theirs = multiprocessing.Pipe()
        self._pipe = ours
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_run, args=(theirs, port, list(sites), rate, visitors), daemon=True)

    def __enter__(self) -> Client:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send("end")
        self.samples = self._pipe.recv()
        self._process.join()


def _run(pipe: Connection, port: int, sites: list[str], rate: float, visitors: int) -> None:
    begin = time.monotonic()
    period = visitors / rate
    callers = [
        _Caller(site, port, period, begin + period * (number + index / len(sites)) / visitors)
        for index, site in enumerate(sites)
        for number in range(visitors)
    ]
    samples: list[Sample] = []
    waiting = select.epoll()
    waiting.register(pipe.fileno(), select.EPOLLIN)
    busy: dict[int, _Caller] = {}
    due = [(caller.due, index) for index, caller in enumerate(callers)]
    indexes = {id(caller): index for index, caller in enumerate(callers)}
    heapq.heapify(due)

    def done(caller: _Caller, problem: str = "") -> None:
        now = time.monotonic()
        samples.append(Sample(caller.site, caller.due, now - caller.due, problem))
        if problem:
            caller.close()
        caller.due += caller.period
        heapq.heappush(due, (caller.due, indexes[id(caller)]))

    def ask(caller: _Caller) -> None:
        try:
            caller.ask()
        except OSError as error:
            caller.close()
            if caller.is_fresh:
                done(caller, f"cannot connect: {error!r}")
            else:
                ask(caller)
            return
        assert caller.sock is not None
        busy[caller.sock.fileno()] = caller
        waiting.register(caller.sock.fileno(), select.EPOLLIN)

    def take(number: int) -> None:
        caller = busy[number]
        assert caller.sock is not None
        try:
            more = caller.sock.recv(65536)
        except OSError:
            more = b""
        caller.data += more
        if more and not _is_whole(caller.data):
            return
        del busy[number]
        waiting.unregister(number)
        if more:
            status = caller.data[9:12].decode("latin-1")
            caller.is_fresh = False
            if b"connection: close" in caller.data.partition(b"\r\n\r\n")[0].lower():
                caller.close()
            done(caller, "" if status == "200" else status)
        elif not caller.data and not caller.is_fresh:
            caller.close()
            ask(caller)
        else:
            done(caller, "the connection ended")

    looked = begin
    while True:
        timeout = max(0.0, due[0][0] - time.monotonic()) if due else 1.0
        for number, _ in waiting.poll(min(timeout, 0.5)):
            if number == pipe.fileno():
                pipe.send(samples)
                return
            take(number)
        now = time.monotonic()
        while due and due[0][0] <= now + MARGIN:
            _, index = heapq.heappop(due)
            ask(callers[index])
        if now - looked > 1:
            looked = now
            for number, caller in list(busy.items()):
                if now - caller.began > PATIENCE:
                    del busy[number]
                    waiting.unregister(number)
                    done(caller, f"no answer within {PATIENCE:g} s")


def _is_whole(data: bytes) -> bool:
    """Whether an answer with a Content-Length, or in chunks, is complete."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line[15:])
    return body.endswith(b"0\r\n\r\n")


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which this part of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
