"""Pauses after failures, and how often workers may die."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hostel.machine.restart import INTENSITY, LONGEST_PAUSE, PERIOD, History


def test_pauses_double_up_to_a_minute() -> None:
    history, pauses = History(), []
    for _ in range(8):
        history = history.with_failed_start(0.0)
        pauses.append(history.pause)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_success_forgives_failed_starts_and_not_deaths() -> None:
    history = History()
    for _ in range(INTENSITY):
        history = history.with_failed_start(0.0).with_death(0.0)
    history = history.with_success()
    assert history.failed_starts == 0
    assert history.is_too_much


def test_deaths_count_within_their_period_only() -> None:
    history = History()
    for _ in range(100):
        history = history.with_death(history.deaths[-1] + PERIOD / (INTENSITY - 1) if history.deaths else 0.0)
        assert not history.is_too_much
    for _ in range(INTENSITY):
        history = history.with_death(history.deaths[-1])
    assert history.is_too_much
    assert not history.with_death(history.deaths[-1] + PERIOD).is_too_much


def test_deaths_of_long_ago_do_not_lengthen_the_pause_after_a_failed_start() -> None:
    history = History()
    for _ in range(20):
        history = history.with_death(0.0)
    assert history.pause > 1
    assert history.with_failed_start(PERIOD).pause == 1


@given(st.lists(st.tuples(st.sampled_from(["death", "start", "success"]), st.floats(0, 100))))
def test_the_pause_has_its_bounds(things: list[tuple[str, float]]) -> None:
    history, now = History(), 0.0
    for what, seconds in things:
        now += seconds
        if what == "death":
            history = history.with_death(now)
        elif what == "start":
            history = history.with_failed_start(now)
        else:
            history = history.with_success()
        assert 1 <= history.pause <= LONGEST_PAUSE
