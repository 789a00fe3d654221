"""A clock that jumps by an hour makes no request older or younger than it is."""

from __future__ import annotations

import pytest

from hostel.worker.clock import WaitClock

HOUR = 3600.0
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR])


def test_without_a_jump_a_wait_is_what_the_clock_says() -> None:
    clock = WaitClock(1000.0, 50.0)
    assert clock.waited(1009.5, 1010.0, 60.0) == pytest.approx(0.5)
    assert clock.waited(1010.1, 1010.0, 60.0) == 0, "the front's clock is a little ahead"
    assert clock.waited(710.0, 1010.0, 60.0) == pytest.approx(300.0), "a pause, perhaps"


@JUMPS
def test_a_request_that_was_stamped_before_the_jump(jump: float) -> None:
    clock = WaitClock(1000.0, 50.0)
    assert clock.waited(1009.8, 1010.0 + jump, 60.0) == pytest.approx(0.2)


@JUMPS
def test_a_request_that_was_stamped_after_the_jump(jump: float) -> None:
    clock = WaitClock(1000.0, 50.0)
    clock.waited(1009.8, 1010.0 + jump, 60.0)
    assert clock.waited(1010.7 + jump, 1011.0 + jump, 61.0) == pytest.approx(0.3)


@JUMPS
def test_there_and_back(jump: float) -> None:
    clock = WaitClock(1000.0, 50.0)
    clock.waited(1009.8, 1010.0 + jump, 60.0)
    assert clock.waited(1010.8 + jump, 1011.0, 61.0) == pytest.approx(0.2)
    assert clock.waited(1011.9, 1012.0, 62.0) == pytest.approx(0.1)


def test_a_clock_that_is_adjusted_has_not_jumped() -> None:
    clock = WaitClock(1000.0, 50.0)
    assert clock.waited(1010.0, 1010.5, 60.0) == pytest.approx(0.5)
    assert clock.jump == 0


@JUMPS
def test_a_jump_is_forgotten_when_nobody_can_have_waited_so_long(jump: float) -> None:
    clock = WaitClock(1000.0, 50.0)
    clock.waited(1010.0, 1010.0 + jump, 60.0)
    later = 1010.0 + jump + 700.0
    assert clock.waited(later - 2 * abs(jump), later, 760.0) == pytest.approx(2 * abs(jump))
