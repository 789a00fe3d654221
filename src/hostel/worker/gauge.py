"""How full the event loop of an ASGI worker is, told on the scoreboard.

A loop takes any number of requests, so their number does not tell whether it can take one more. It is full when it never
sleeps, or when it comes late to what is due. So the share that counts is the largest of three: the time in which the
loop's thread ran or could have run, as the kernel tells it; the processor time of the whole process, where other threads
compute; and how late the gauge's own timer comes, beside ``LATE_SECONDS``, where something blocks the loop. All are known
for any kind of loop.

The hard part is to cost nothing when nothing happens. There is no timer while no request is open, and where only silent
connections are, it goes slowly, until there is something to be measured.
"""

from __future__ import annotations

import asyncio
import time
from typing import Optional

from hostel.worker.scoreboard import BUSY, LOAD

LOOK_SECONDS = 0.1  # between two looks while there is something to do
SLOW_SECONDS = 1.0  # and while there is not
LATE_SECONDS = 0.05  # what comes so late comes to a loop that is full
SILENT = 0.02  # a share of the time; below, there is nothing to do


class Gauge:
    """Measures the loop that it is woken in."""

    def __init__(self, board: memoryview[float]) -> None:
        self.board = board
        self.timer: Optional[asyncio.TimerHandle] = None
        self.is_slow = False
        self.due = 0.0
        self.looked_at = 0.0
        self.awake = 0.0
        self.processor = 0.0

    def wake(self) -> None:
        """A request begins: measure, if that is not done yet."""
        if self.timer is None or self.is_slow:
            self._begin(LOOK_SECONDS)

    def _begin(self, seconds: float) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.is_slow = seconds > LOOK_SECONDS
        self.looked_at, self.awake, self.processor = time.monotonic(), awake_time(), time.process_time()
        self.due = self.looked_at + seconds
        self.timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self.timer = None
        now = time.monotonic()
        passed = max(now - self.looked_at, 0.001)
        share = max(
            (awake_time() - self.awake) / passed,
            (time.process_time() - self.processor) / passed,
            (now - self.due) / LATE_SECONDS,
        )
        self.board[LOAD] = min(1.0, max(0.0, share))
        if self.board[BUSY]:
            self._begin(LOOK_SECONDS if share > SILENT else SLOW_SECONDS)
        elif share > SILENT:
            self._begin(LOOK_SECONDS)  # the next requests may be on their way
        else:
            self.board[LOAD] = 0.0


def awake_time() -> float:
    """Seconds in which this thread has run, or has waited for a processor (schedstat in proc(5)); 0 where nobody knows."""
    try:
        with open("/proc/thread-self/schedstat", "rb", buffering=0) as file:
            ran, waited, _ = file.read().split()
    except (OSError, ValueError):
        return 0.0
    return (int(ran) + int(waited)) / 1e9
