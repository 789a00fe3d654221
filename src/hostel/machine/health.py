"""What to do about a request that takes too long, and about a worker that takes none. Pure.

The rule for requests: when one has run for ``limits.request`` it is interrupted, which ends most of them. One that runs
``GRACE`` longer is stuck: the stack of every thread goes to the error log, another worker is started, and the stuck one takes
no new requests. It is killed as soon as it runs nothing that is not stuck.

The rule for workers: when a request waits in the queue although a worker is free, that worker is asked for a sign of life.
One that gives none for ``DEAF`` seconds, and while somebody waits, is killed. So nothing has to be done regularly, by
nobody: a worker that nobody waits for may be as dead as it likes.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass

GRACE = 5.0  # seconds from the interruption to the worker's end
STACKS = 0.5  # for the stacks to be written
DEAF = 10.0


class Step(enum.Enum):
    """What is to be done now."""

    NOTHING = "nothing"
    INTERRUPT = "interrupt"  # raise in the requests that are too old
    SHOW = "show"  # have the stacks written, and another worker started
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Case:
    """What has been done about a worker's requests so far. ``told``: when those began that have been interrupted."""

    told: frozenset[float] = frozenset()
    shown_at: float = 0.0

    def after(
        self, begins: Collection[float], running: int, given_up: int, limit: float, now: float
    ) -> tuple[Case, Step]:
        """The case after another look, and what to do.

        ``begins``: when the requests that may not take any time began, or went on. ``running``: how many there are in all;
        ``given_up``: how many the worker itself knows to be past their limit, if it knows.
        """
        overdue = frozenset(began for began in begins if now - began > limit)
        stuck = [began for began in overdue if now - began > limit + GRACE]
        if overdue - self.told:
            return Case(overdue, self.shown_at), Step.INTERRUPT
        case = Case(overdue, self.shown_at if stuck else 0.0)
        if stuck and not self.shown_at:
            return Case(overdue, now), Step.SHOW
        if stuck and now - self.shown_at >= STACKS and running <= max(len(stuck), given_up):
            return case, Step.KILL
        return case, Step.NOTHING


@dataclass(frozen=True, slots=True)
class Pulse:
    """Whether a worker has to give a sign of life. ``asked_at`` is 0 when nobody has asked."""

    asked_at: float = 0.0

    def after(self, *, is_suspicious: bool, sign_at: float, patience: float, now: float) -> tuple[Pulse, Step]:
        """``is_suspicious``: somebody waits, and this worker could take him. ``sign_at``: when it gave its last sign."""
        if not is_suspicious or (self.asked_at and sign_at >= self.asked_at):
            return Pulse(), Step.NOTHING
        if not self.asked_at:
            return Pulse(now), Step.INTERRUPT
        return self, Step.KILL if now - self.asked_at > patience else Step.NOTHING
