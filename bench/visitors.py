"""Visitors who come at a given rate, whether or not they are served, and give up after a while: an open loop.

wrk and its like send the next request when they have the answer to the last, so they never offer more than a server can do.
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import time
from collections import Counter
from dataclasses import dataclass, field

WAIT_MS = 2  # at most, between two looks at who is to come


@dataclass
class Visits:
    """What became of them: ``pleased`` are the seconds it took those who got a 200 in time."""

    seconds: float
    pleased: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Pages a second that came in time."""
        return len(self.pleased) / self.seconds

    def percentile(self, share: float) -> float:
        """The time within which so large a share of the pages came."""
        return sorted(self.pleased)[min(len(self.pleased) - 1, int(share * len(self.pleased)))] if self.pleased else 0.0


def visit(port: int, host: str, *, rate: float, seconds: float, patience: float, path: str = "/") -> Visits:
    """Let visitors come at random times, ``rate`` a second, each on a connection of its own that it closes after ``patience``."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    visits = Visits(seconds)
    dice = random.Random(1)
    open_since: dict[int, tuple[socket.socket, float]] = {}
    patiences: list[tuple[float, int, float]] = []  # when whoever came at this time on this descriptor gives up
    poller = select.epoll()
    began = time.monotonic()
    next_at = began
    end = began + seconds

    def leave(number: int, answer: str) -> None:
        sock, _ = open_since.pop(number)
        visits.answers[answer] += 1
        sock.close()

    while True:
        now = time.monotonic()
        while next_at <= now and next_at < end:
            next_at += dice.expovariate(rate)
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            open_since[sock.fileno()] = sock, now
            heapq.heappush(patiences, (now + patience, sock.fileno(), now))
            poller.register(sock, select.EPOLLOUT)
        while patiences and patiences[0][0] <= now:
            _, number, came = heapq.heappop(patiences)
            if number in open_since and open_since[number][1] == came:
                leave(number, "gave up")
        if now >= end and not open_since:
            return visits
        for number, events in poller.poll(WAIT_MS / 1000):
            sock, came = open_since[number]
            try:
                if events & select.EPOLLOUT:
                    sock.send(request)
                    poller.modify(sock, select.EPOLLIN)
                    continue
                status = sock.recv(65536)[9:12].decode("latin-1")
            except OSError as error:
                leave(number, error.strerror or "error")
                continue
            if status == "200":
                visits.pleased.append(time.monotonic() - came)
            leave(number, status)
