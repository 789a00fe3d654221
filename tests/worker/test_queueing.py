"""How the bound on waiting behaves: workers, a queue and visitors in virtual time."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from hostel.worker.queueing import GONE_SHARE, MEMORY, QueueBound

SHED_SECONDS = 0.00003  # what it costs a worker to refuse, or to find that nobody is there (measured: 0.00002)


@dataclass
class Outcome:
    """What became of the visitors. ``pleased``: they had their page while they still waited; at which times."""

    pleased: list[float]
    wasted: int = 0  # pages made for nobody
    refused: int = 0
    gone: int = 0

    def share_of(self, capacity: float, since: float, until: float) -> float:
        """How many pages were of use between two times, as a share of what was possible."""
        return sum(since <= time < until for time in self.pleased) / (capacity * (until - since))


def simulate(
    arrivals: Iterable[float], *, service: float, patience: float = 1e9, workers: int = 1, limit: float = 5.0
) -> Outcome:
    """Workers that share one queue, each with its own bound, as the worker's loop has it."""
    outcome = Outcome([])
    bounds = [QueueBound(limit) for _ in range(workers)]
    free = [(0.0, number) for number in range(workers)]
    waiting = deque(sorted(arrivals))
    while waiting:
        now, number = heapq.heappop(free)
        arrival = waiting.popleft()
        now = max(now, arrival)
        waited, bound = now - arrival, bounds[number]
        is_gone = waited > patience
        if waited > bound.noticed:
            may_run = bound.may_run(waited, is_gone, now)
        else:
            may_run = True
            bound.relax()
        end = now + (service if may_run else SHED_SECONDS)
        if not may_run:
            outcome.gone += is_gone
            outcome.refused += not is_gone
        elif end - arrival <= patience:
            outcome.pleased.append(end)
        else:
            outcome.wasted += 1
        heapq.heappush(free, (end, number))
    return outcome


def at_random(rate: float, seconds: float, begin: float = 0.0) -> list[float]:
    dice = random.Random(f"{rate} {seconds}")
    times, now = [], begin
    while now < begin + seconds:
        now += dice.expovariate(rate)
        times.append(now)
    return times


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("load", [1.2, 2, 5])
@pytest.mark.parametrize("service", [0.005, 0.05])
def test_under_lasting_overload_nearly_all_work_is_for_somebody_who_waits(
    load: float, service: float, workers: int
) -> None:
    capacity = workers / service
    outcome = simulate(at_random(capacity * load, 40), service=service, workers=workers, patience=1.0)
    assert outcome.share_of(capacity, 5, 40) > 0.94
    assert outcome.share_of(capacity, 0, 40) > 0.9, "it does not take long to notice"


def test_a_bound_that_did_not_tighten_would_serve_people_who_have_gone() -> None:
    """The test of the tests: with the limit alone, which is more than the visitors' patience."""
    capacity, limit = 100.0, 5.0
    pleased = wasted = 0
    now = 0.0
    for arrival in at_random(capacity * 5, 20):
        now = max(now, arrival)
        if now - arrival <= min(limit, 1.0):  # the front has closed the connections of those who went before it was run
            now += 1 / capacity
            pleased += now - arrival <= 1.0
            wasted += now - arrival > 1.0
    assert wasted > pleased


def test_patient_visitors_of_lasting_overload_wait_for_a_short_time_only_once_it_has_lasted() -> None:
    outcome = simulate(at_random(200, 60), service=0.01)
    assert outcome.refused
    assert outcome.share_of(100, 0, 60) > 0.97, "nobody goes, so no work is lost either"
    bound = QueueBound(5.0)
    for step in range(6):
        assert bound.may_run(1.0, False, 100.0 + step) == (step < 5)
    assert bound.seconds == bound.tight == 0.25


@pytest.mark.parametrize("count", [100, 1000])
def test_a_burst_is_served_as_far_as_the_limit_allows(count: int) -> None:
    """A hundred pages a second: five hundred visitors who come at once can be served within the limit of 5 seconds."""
    outcome = simulate([0.0] * count, service=0.01)
    assert len(outcome.pleased) == min(count, 501)
    assert outcome.refused == count - len(outcome.pleased)


def test_one_in_twenty_who_goes_does_not_spoil_a_burst_for_the_others() -> None:
    bound = QueueBound(5.0)
    served = sum(bound.may_run(number * 0.01, number % 20 == 7, number * 0.01) for number in range(400))
    assert served == 400 - 20


def test_a_moment_in_which_many_go_is_not_overload() -> None:
    """One slow request has held all others, and most of those have gone when it is over."""
    bound = QueueBound(5.0)
    for number in range(50):
        assert not bound.may_run(2.0, True, 10 + number / 1000)
    assert bound.may_run(2.0, False, 10.1)


def test_the_bound_is_tightened_by_those_who_go_and_loosened_by_a_short_queue() -> None:
    bound = QueueBound(5.0)
    now = 50.0
    while bound.seconds == 5.0:
        assert not bound.may_run(1.1, True, now)
        assert now < 50 + MEMORY * GONE_SHARE * 2
        now += 1
    assert bound.seconds == 0.25
    assert not bound.may_run(0.3, False, now)
    assert bound.may_run(0.2, False, now)
    assert bound.seconds == 0.25, "those who are run have waited for nearly the bound: that says nothing"
    assert bound.may_run(0.1, False, now)
    assert bound.seconds == 5.0


def test_when_overload_ends_everybody_is_served_again() -> None:
    load = [*at_random(500, 20), *at_random(50, 20, begin=20.0)]
    outcome = simulate(load, service=0.01, patience=1.0)
    assert outcome.share_of(50, 22, 40) > 0.95


def test_a_short_limit_holds_too() -> None:
    bound = QueueBound(0.5)
    assert bound.may_run(0.4, False, 1.0)
    assert not bound.may_run(0.6, False, 1.0)
    assert bound.noticed < 0.05


def test_those_who_are_refused_do_not_come_back_all_at_once() -> None:
    bound = QueueBound(5.0)
    assert {bound.retry_after(number / 1000) for number in range(1000)} == {1, 2, 3, 4, 5}
    assert QueueBound(0.1).retry_after(7.0) == 1
