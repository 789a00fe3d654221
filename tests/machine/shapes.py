"""Shapes of load: requests that arrive in each step of a hundredth of a second. The same each time they are made."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator

STEP = 0.01


def steps(seconds: float) -> range:
    return range(round(seconds / STEP))


def silence(seconds: float) -> Iterator[int]:
    return (0 for _ in steps(seconds))


def steady(rate: float, seconds: float, seed: int = 1) -> Iterator[int]:
    """So many requests per second on average, each when it likes (a Poisson process)."""
    chance = random.Random(seed)
    due = chance.expovariate(rate)
    for step in steps(seconds):
        count = 0
        while due < (step + 1) * STEP:
            due += chance.expovariate(rate)
            count += 1
        yield count


def burst(count: int) -> Iterator[int]:
    """All at once."""
    return iter([count])


def sawtooth(low: float, high: float, period: float, teeth: int) -> Iterator[int]:
    """The rate climbs from low to high in each period, and falls back at once."""
    chance = random.Random(2)
    for _ in range(teeth):
        owed = 0.0
        for step in steps(period):
            owed += (low + (high - low) * step * STEP / period) * STEP * chance.uniform(0.5, 1.5)
            count, owed = math.floor(owed), owed % 1
            yield count


def trickle(pause: float, count: int) -> Iterator[int]:
    """One request, a pause, and so on."""
    return itertools.chain.from_iterable(itertools.chain(burst(1), silence(pause)) for _ in range(count))


def after(*shapes: Iterable[int]) -> Iterator[int]:
    """One after the other."""
    return itertools.chain(*shapes)
