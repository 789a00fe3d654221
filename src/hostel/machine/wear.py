"""When a worker has done enough and another one is to take its place. Pure.

The rule: after ``limits.requests`` requests, ``limits.life`` or at ``limits.worker_memory``, whichever comes first. Of the first
two a tenth is given up, more or less of it by the worker's number, so that workers which started together, or were visited
alike, do not become due together. A worker that is younger than ``LEAST_AGE`` is not replaced for its memory: the next one
would need as much. None is replaced in its first second, whatever it claims to have served: a site is not to have the
machine fork all the time.
"""

from __future__ import annotations

from dataclasses import dataclass

from hostel.options.tables import LimitOptions

SPREAD = 0.1
GOLDEN = 0.6180339887498949  # its multiples without their whole parts lie evenly, however many there are
LEAST_AGE = 60.0
FIRST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wear:
    """What a worker has behind it: requests, seconds since it was ready, and bytes of memory, 0 when unknown."""

    served: int
    age: float
    memory: int


def reason_to_replace(limits: LimitOptions, number: int, wear: Wear) -> str:
    """Why a worker is to be replaced, as in "after 9,421 requests (limits.requests)"; empty when it is not."""
    if wear.age < FIRST_SECONDS:
        return ""
    part = 1 - SPREAD * (number * GOLDEN % 1)
    if limits.requests and wear.served >= limits.requests * part:
        return f"after {wear.served:,} requests (limits.requests)"
    if limits.life and wear.age >= limits.life * part:
        return f"after {wear.age:,.0f} s (limits.life)"
    if limits.worker_memory and wear.memory >= limits.worker_memory and wear.age >= LEAST_AGE:
        return f"at {wear.memory / 2**20:,.0f} MB of memory (limits.worker_memory)"
    return ""
