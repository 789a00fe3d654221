"""A site in virtual time: requests come, wait, run; workers start and leave as its pool wants. Nothing else of Hostel."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from hostel.machine.pool import Load, Pool
from hostel.options.tables import WorkerOptions
from tests.machine.shapes import STEP

LOOK_STEPS = 10  # the manager looks every tenth of a second


@dataclass
class Record:
    """What came of a load. ``counts`` has the workers after each look; ``starts`` and ``stops`` the times of those."""

    counts: list[int] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def at(self, time: float) -> int:
        """How many workers there were."""
        return self.counts[round(time / STEP / LOOK_STEPS)]

    def first(self, count: int) -> float:
        """When there were so many workers for the first time."""
        return self.counts.index(count) * STEP * LOOK_STEPS

    def started_between(self, begin: float, end: float) -> int:
        return sum(begin <= time < end for time in self.starts)

    def share_of_waits_below(self, seconds: float) -> float:
        return sum(wait <= seconds for wait in self.waits) / len(self.waits)


def play(
    options: WorkerOptions,
    arrivals: Iterable[int],
    *,
    service: float = 0.05,
    start: float = 0.3,
    is_counted: bool = True,
) -> Record:
    """Run a load to its end. ``is_counted``: the kernel tells how many wait, not only whether any does.

    A site without workers is woken by its first request, as the machine does it, and rests when its pool wants none.
    """
    record, pool = Record(), Pool()
    queue: deque[float] = deque()
    running: list[float] = []  # when each request ends
    coming: list[float] = []  # when each worker will be ready
    ready, finished, last_active = 0, 0, 0.0
    for step, count in enumerate(arrivals):
        now = step * STEP
        queue.extend([now] * count)
        running = [end for end in running if end > now + STEP / 2]
        ready += sum(time <= now for time in coming)
        coming = [time for time in coming if time > now]
        while queue and len(running) < ready * options.threads:
            record.waits.append(now - queue.popleft())
            running.append(now + service)
        if running:
            last_active = now
        if not ready and not coming and (queue or options.min):
            for _ in range(max(1, options.min)):
                coming.append(now + start)
                record.starts.append(now)
            last_active = now + start
        if step % LOOK_STEPS:
            continue
        if ready:
            is_full = len(running) >= ready * options.threads
            waiting = len(queue) if is_full else 0
            load = Load(
                running=len(running),
                occupied=len(running) / options.threads,
                waiting=waiting if is_counted else min(1, waiting),
                pace=(len(record.waits) - len(running) - finished) / (LOOK_STEPS * STEP),
                idle_for=now - last_active,
            )
            finished = len(record.waits) - len(running)
            pool = pool.after(load, options, now, ready=ready, starting=len(coming))
            surplus = ready + len(coming) - pool.wanted
            if surplus < 0:
                coming += [now + start] * -surplus
                record.starts += [now] * -surplus
            elif not coming:
                ready -= surplus
                record.stops += [now] * surplus
        record.counts.append(ready + len(coming))
    return record
