"""How long a request has waited, when the clock of the machine jumps.

The hard part is that the front stamps a request by the wall clock, and a clock that is set by an hour between that stamp and
this reading makes a fresh request an hour old, or one of the future. What does not jump (CLOCK_MONOTONIC) cannot be had from
the front. So the distance between the two clocks is watched: when it has changed, the clock has jumped by so much, and a
stamp may be of the time before or after. Of the two waits that follow, the shorter one that is possible is the right one,
because nobody waits for as long as clocks jump.

Standard library only, Python 3.9.
"""

from __future__ import annotations

import time

JUMP_SECONDS = 1.0  # a smaller change is none: clocks are adjusted all the time
MEMORY_SECONDS = 600.0  # as long as any request may wait


class WaitClock:
    """Measures waits. ``wall`` is seconds since the epoch, ``now`` is monotonic."""

    __slots__ = ("distance", "jump", "jumped_at")

    def __init__(self, wall: float, now: float) -> None:
        self.distance = wall - now
        self.jump = 0.0  # seconds by which the wall clock was set, last
        self.jumped_at = 0.0

    @classmethod
    def begin(cls) -> WaitClock:
        """A clock that knows the time of now."""
        return cls(time.time(), time.monotonic())

    def waited(self, stamp: float, wall: float, now: float) -> float:
        """Seconds since the front stamped a request; at least 0."""
        change = wall - now - self.distance
        if abs(change) > JUMP_SECONDS:
            self.distance, self.jump, self.jumped_at = wall - now, change, now
        waited = wall - stamp
        if self.jump and now - self.jumped_at < MEMORY_SECONDS:
            possible = [wait for wait in (waited, waited - self.jump) if wait >= 0]
            return min(possible) if possible else 0.0
        return max(0.0, waited)
