"""How many workers a site should have. Pure.

The rule: a site has as many workers as it needed at once within the last ``idle`` seconds, at least ``min``, at least one
while it is in use, and at most ``max``. It needs those that are occupied; and when all are, and requests have waited at
two looks in a row, it needs as many more as would work off the queue within half a second at their present pace, less
those that are coming already, and at no look more than it has and has coming: a pool doubles at most. What has not been
forked yet when a worker is free again is called off. When nothing has run for ``idle`` seconds, the pool goes back to
``min``.

The hard part is to follow a burst within some tenths of a second and yet never to flap. So growth is by the length of
the queue, and it counts as needed for as long as what was really occupied: a worker that came too late for its burst is
there for the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hostel.options.tables import WorkerOptions

QUEUE_SECONDS = 0.5  # within which the queue is to be worked off
SHORTEST_WINDOW = 1.0  # seconds, for sites that may not idle at all


@dataclass(frozen=True, slots=True)
class Load:
    """What one look at a site's scoreboards and queue has found.

    running: requests, WebSockets and streams that are open now and count as use.
    occupied: how many workers are filled: requests over threads; for ASGI the loops' shares of time, added up.
    waiting: requests in the queue while all workers are occupied.
    pace: requests that all workers together have finished per second since the last look.
    idle_for: seconds since anything ran.
    """

    running: int = 0
    occupied: float = 0.0
    waiting: int = 0
    pace: float = 0.0
    idle_for: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """What a site's pool remembers from look to look, and the number of workers that it wants.

    ``present`` and ``before`` are the most workers needed at once in the present half of the window and the one before.
    """

    wanted: int = 0
    since: float = -math.inf
    present: int = 0
    before: int = 0
    has_waited: bool = False

    def after(
        self, load: Load, options: WorkerOptions, now: float, *, ready: int, starting: int = 0, ordered: int = 0
    ) -> Pool:
        """The pool after a look, with so many workers that take requests, that start, and that are to be forked yet."""
        is_waiting = load.waiting > 0
        if not is_waiting and not self.has_waited and load.occupied < ready:
            ordered = 0
        coming = starting + ordered
        here = ready + coming
        needed = math.ceil(load.occupied)
        if is_waiting and self.has_waited:
            each = max(options.threads, load.pace / ready * QUEUE_SECONDS)  # requests that one worker takes
            more = math.ceil(load.waiting / each) - coming
            needed = here + min(max(0, more), here)
        needed = min(needed, options.max)
        since, present, before = self._peaks(needed, now, max(options.idle, SHORTEST_WINDOW))
        is_idle = load.idle_for >= options.idle and not load.running and not is_waiting
        lately = min(options.max, max(1, present, before))
        wanted = options.min if is_idle else max(options.min, min(lately, max(here, needed)))
        return Pool(wanted, since, present, before, is_waiting)

    def _peaks(self, needed: int, now: float, window: float) -> tuple[float, int, int]:
        if now - self.since < window / 2:
            return self.since, max(self.present, needed), self.before
        return now, needed, self.present if now - self.since < window else 0
