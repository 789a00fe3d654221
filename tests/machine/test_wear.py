"""When a worker has done enough."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from hostel.machine.wear import LEAST_AGE, Wear, reason_to_replace
from hostel.options.tables import LimitOptions

FRESH = Wear(served=0, age=0.0, memory=0)
MB = 2**20


def test_without_limits_a_worker_lives_for_ever() -> None:
    assert reason_to_replace(LimitOptions(), 1, Wear(10**9, 10**9, 2**40)) == ""


def test_each_limit_has_its_reason() -> None:
    limits = LimitOptions(requests=1000, life=86400.0, worker_memory=256 * MB)
    assert reason_to_replace(limits, 1, FRESH) == ""
    assert reason_to_replace(limits, 1, Wear(1000, 10, 0)) == "after 1,000 requests (limits.requests)"
    assert reason_to_replace(limits, 1, Wear(5, 86400, 0)) == "after 86,400 s (limits.life)"
    assert reason_to_replace(limits, 1, Wear(5, 600, 300 * MB)) == "at 300 MB of memory (limits.worker_memory)"
    assert reason_to_replace(limits, 1, Wear(5, 600, 255 * MB)) == ""


def test_a_worker_that_needs_more_from_its_beginning_is_not_replaced_all_the_time() -> None:
    limits = LimitOptions(worker_memory=10 * MB)
    assert reason_to_replace(limits, 1, Wear(5, LEAST_AGE - 1, 30 * MB)) == ""
    assert reason_to_replace(limits, 1, Wear(5, LEAST_AGE, 30 * MB)) != ""


def test_none_is_replaced_in_its_first_second() -> None:
    limits = LimitOptions(requests=1, life=0.5)
    assert reason_to_replace(limits, 1, Wear(10**12, 0.9, 0)) == ""
    assert reason_to_replace(limits, 1, Wear(1, 1.0, 0)) != ""


def due(number: int) -> int:
    """After how many requests a worker is replaced that may have a thousand."""
    limits = LimitOptions(requests=1000)
    return next(served for served in range(2000) if reason_to_replace(limits, number, Wear(served, 10, 0)))


@given(st.integers(1, 10**6))
def test_at_most_a_tenth_is_given_up(number: int) -> None:
    assert 900 <= due(number) <= 1000


def test_workers_of_one_site_are_not_due_together() -> None:
    found = sorted(due(number) for number in range(17, 25))
    assert all(late - early >= 5 for early, late in itertools.pairwise(found))
