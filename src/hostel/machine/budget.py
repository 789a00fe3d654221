"""Who gets the next worker when the machine has no room for all. Pure.

The rule: what is owed is always given: a site's ``min``, and whatever starts beside the worker that it is to replace, so that
for the time of a reload the budget is exceeded a little. What is left belongs to those who ask, sites without a worker
before sites that want one more, and among equals in the order of their asking. When nothing is left, one worker above
its site's ``min`` gives way for each who asks: the least recently used of those that are idle (for one more worker of a
site: only one that has not been used for ``REST_SECONDS``); else one of the site that has most, if that is at least two
more than the asking site has; else, for a site without a worker, the one that has served for longest, if that is
``TURN_SECONDS``. Until then the queue holds. A busy worker that gives way finishes its requests first.

The hard part is to be fair without moving workers to and fro. Taking from the rich stops one step before they would be the
poor, and a turn is long beside the start that it costs.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hostel.machine.events import Phase
from hostel.machine.moves import Moves

REST_SECONDS = 10.0
TURN_SECONDS = 5.0


class Need(enum.IntEnum):
    """How urgent a worker is; the smaller goes first."""

    OWED = 0
    FIRST = 1  # nobody serves the site
    MORE = 2


@dataclass(frozen=True, slots=True)
class Budget:
    """What all workers together may take: their number, and bytes of memory."""

    workers: int
    memory: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What they take: their number, bytes of memory, and how many of them are above the minimum of their site."""

    workers: int
    memory: int
    spare: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A site asks for a worker that may take so many bytes, and ``has`` so many; ``since`` some time."""

    site: str
    need: Need
    since: float
    has: int
    memory: int

    @property
    def rank(self) -> tuple[Need, int, float]:
        """The order in which claims are met."""
        return self.need, self.has if self.need is Need.MORE else 0, self.since


@dataclass(frozen=True, slots=True)
class Held:
    """A worker that may have to give way. ``began``: its oldest request that runs, 0 when it is idle; times are in seconds."""

    site: str
    worker: int
    used_at: float
    ready_at: float
    began: float = 0.0


def has_room(budget: Budget, usage: Usage, claim: Claim) -> bool:
    """Whether a claim can be met at once. Where the minima alone fill the budget, the other sites share one place."""
    if claim.need is Need.OWED or not usage.spare:
        return True
    return usage.workers < budget.workers and usage.memory + claim.memory <= budget.memory


def choose(claim: Claim, held: Iterable[Held], counts: Mapping[str, int], now: float) -> Held | None:
    """The worker that gives way to a claim, None when the claim has to wait. ``counts``: how many workers each site has."""
    others = [one for one in held if one.site != claim.site]
    is_first = claim.need is Need.FIRST
    rich = {one.site for one in others if counts[one.site] >= claim.has + 2}
    idle = [
        one
        for one in others
        if not one.began and (is_first or one.site in rich or now - one.used_at >= REST_SECONDS)
    ]  # fmt: skip
    if idle:
        return min(idle, key=lambda one: one.used_at)
    if rich:  # of the richest, the one whose request is youngest: old ones may be streams
        return max((one for one in others if one.site in rich), key=lambda one: (counts[one.site], one.began))
    done = [one for one in others if is_first and now - one.ready_at >= TURN_SECONDS]
    return min(done, key=lambda one: one.ready_at, default=None)


def choose_all(
    claims: Sequence[Claim], held: Sequence[Held], counts: Mapping[str, int], minima: Mapping[str, int], now: float
) -> list[Held]:
    """A worker for each claim, in the order of the claims; no site is left with less than its minimum."""
    left, counts = list(held), dict(counts)
    chosen = []
    for claim in sorted(claims, key=lambda claim: claim.rank):
        one = choose(claim, (one for one in left if counts[one.site] > minima[one.site]), counts, now)
        if one is not None:
            left.remove(one)
            counts[one.site] -= 1
            chosen.append(one)
    return chosen


def excess(held: Iterable[Held], now: float) -> Held | None:
    """The worker that leaves when all together are beyond the budget: the least recently used that is at rest."""
    resting = [one for one in held if not one.began and now - one.used_at >= REST_SECONDS]
    return min(resting, key=lambda one: one.used_at, default=None)


def need_of(machine: Moves, number: int) -> Need:
    """How urgent a worker is that a site has ordered."""
    worker = machine.workers[number]
    here = [one for one in machine.workers.values() if one.generation == worker.generation]
    placed = sum(one.phase in (Phase.STARTING, Phase.READY) for one in here)
    if (
        worker.generation == machine.successor
        or worker.replaces in machine.workers
        or placed < machine.site.workers.min
    ):
        return Need.OWED
    return Need.MORE if machine.serving else Need.FIRST
