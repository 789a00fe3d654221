"""How many workers a site should have. Pure.

The rule: a pool has as many workers as were busy at once within the last ``idle`` seconds, at least ``min`` and at most
``max``; it grows by one when all are busy and a request waits, and when nothing has run for ``idle`` seconds it goes
back to ``min``. A worker of an ASGI site takes any number of requests at once, so its pool is ``min`` or one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hostel.options.site import WorkerOptions


@dataclass(frozen=True, slots=True)
class Peak:
    """The most requests that ran at once lately: the present half of the window, and the half before it."""

    since: float = -math.inf
    present: int = 0
    before: int = 0

    def with_busy(self, busy: int, now: float, window: float) -> Peak:
        if now - self.since >= window / 2:
            before = self.present if now - self.since < window else 0
            return Peak(now, busy, before)
        return Peak(self.since, max(self.present, busy), self.before)

    @property
    def busy(self) -> int:
        return max(self.present, self.before)


def wanted_workers(
    options: WorkerOptions, *, is_asgi: bool, workers: int, busy: int, is_waiting: bool, idle_for: float, peak: Peak
) -> int:
    """How many workers there should be now.

    Args:
        workers: those that are ready; the caller asks only when none is on its way.
        busy: requests that run now.
        is_waiting: whether a request waits in the queue.
        idle_for: seconds since a request ran.
        peak: what ``busy`` has been.
    """
    if idle_for >= options.idle and not busy and not is_waiting:
        return options.min
    least = max(1, options.min)
    if is_asgi:
        return least
    if is_waiting and busy >= workers * options.threads:
        return max(least, min(workers + 1, options.max))
    return max(least, min(workers, options.max, math.ceil(peak.busy / options.threads)))
