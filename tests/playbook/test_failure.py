"""Stories: starts that fail, workers that die, and how a site comes back."""

from __future__ import annotations

import signal

import pytest

from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Timer
from hostel.machine.state import State
from tests.playbook.story import Story, make_failure, make_site


def wake(story: Story) -> int:
    """A request comes; the number of the worker that is to answer it."""
    story.tell(e.RequestArrived())
    story.is_now(State.STARTING)
    number = max(story.machine.workers)
    story.tell(e.WorkerForked(number))
    return number


def test_a_first_start_that_fails_closes_the_door_and_answers_those_who_wait() -> None:
    story = Story()
    story.configure()
    wake(story)
    failure = make_failure()
    story.when(
        e.WorkerFailed(1, failure),
        c.CancelTimer(Timer("start", 1)),
        c.SetTimer(Timer("kill", 1), 2),  # it is about to exit, and had better do so
        c.CloseDoor(failure),
        c.WatchCode(failure),
        c.SetTimer(Timer("retry"), 1),
        c.TurnAway(failure),
    )
    story.is_now(State.FAILED)
    assert story.machine.failure is failure
    story.when(
        e.WorkerExited(1, failure),
        c.CancelTimer(Timer("drain", 1)),
        c.CancelTimer(Timer("kill", 1)),
    )
    story.when(e.TurnedAway(), c.WatchQueue())
    # The door is closed, but somebody was through it already.
    story.when(e.RequestArrived(), c.TurnAway(failure))
    story.when(e.TurnedAway(), c.WatchQueue())
    # When the pause is over the site sleeps again, and the next request may try.
    story.wait(1, c.UnwatchCode(), c.CancelTimer(Timer("retry")), c.OpenDoor(), c.WatchQueue())
    story.is_now(State.COLD)
    assert wake(story) == 2


def test_a_worker_that_failed_and_does_not_leave_is_killed() -> None:
    story = Story()
    story.configure()
    wake(story)
    story.tell(e.WorkerFailed(1, make_failure()))
    story.timers.pop(Timer("retry"))
    story.wait(2, c.KillWorker(1, signal.SIGKILL))


def test_the_pauses_double_up_to_a_minute_and_a_success_forgets_them() -> None:
    story = Story()
    story.configure()
    pauses = []
    for _ in range(9):
        story.fail(wake(story))
        pauses.append(story.timers[Timer("retry")] - story.now)
        story.wait(pauses[-1], *story_of_reopening())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    story.start([wake(story)])
    story.is_now(State.SERVING)
    assert story.machine.failure is None
    story.measure(idle_for=600)
    story.end(max(story.machine.workers))
    story.fail(wake(story))
    assert story.timers[Timer("retry")] - story.now == 1


def story_of_reopening() -> tuple[c.Command, ...]:
    return c.UnwatchCode(), c.CancelTimer(Timer("retry")), c.OpenDoor(), c.WatchQueue()


def test_a_site_with_a_minimum_is_tried_again_without_a_request() -> None:
    story = Story(make_site(min=1))
    story.configure()
    story.tell(e.WorkerForked(1))
    story.fail(1)
    story.wait(
        1,
        c.UnwatchCode(),
        c.CancelTimer(Timer("retry")),
        c.OpenDoor(),
        c.UnwatchQueue(),
        c.StartWorker(2, 2, story.site),
    )
    story.is_now(State.STARTING)


@pytest.mark.parametrize("event", [e.ReloadOrdered(), e.StartOrdered()])
def test_mending_the_code_is_enough(event: e.Event) -> None:
    story = Story()
    story.configure()
    for _ in range(3):
        story.fail(wake(story))
        story.wait(story.timers[Timer("retry")] - story.now, *story_of_reopening())
    story.fail(wake(story))
    story.when(
        event,
        c.UnwatchCode(),
        c.CancelTimer(Timer("retry")),
        c.OpenDoor(),
        c.UnwatchQueue(),
        c.StartWorker(5, 5, story.site),
    )
    story.tell(e.WorkerForked(5))
    story.fail(5)
    assert story.timers[Timer("retry")] - story.now == 1, "a mended site begins with short pauses"


def test_mending_the_file_is_enough_too() -> None:
    story = Story()
    story.configure()
    story.fail(wake(story))
    mended = make_site(app="blog.wsgi:application")
    found = story.configure(mended)
    assert found[0] == c.Publish(mended)
    assert c.OpenDoor() in found
    assert found[-1] == c.StartWorker(2, 2, mended)


def test_a_failed_site_that_becomes_static_is_open_again() -> None:
    story = Story()
    story.configure()
    story.fail(wake(story))
    static = make_site(app=None)
    story.when(e.Configured(static), c.Publish(static), *story_of_reopening())
    story.is_now(State.COLD)
    story.wait(100)


def test_a_start_that_takes_too_long_is_ended_with_its_stack_in_the_log() -> None:
    story = Story(make_site(start=10))
    story.configure()
    wake(story)
    reason = "it did not say that it is ready within 10 s (limits.start)"
    story.wait(9.9)
    story.wait(0.1, c.KillWorker(1, signal.SIGABRT, reason), c.SetTimer(Timer("kill", 1), 2))
    story.is_now(State.STARTING)
    story.wait(2, c.KillWorker(1, signal.SIGKILL))  # it ignores SIGABRT
    failure = make_failure(reason)
    story.tell(e.WorkerExited(1, failure))
    story.is_now(State.FAILED)
    assert story.machine.failure is failure


def test_one_of_two_first_workers_may_fail() -> None:
    story = Story(make_site(min=2))
    story.configure()
    story.tell(e.WorkerForked(1))
    story.tell(e.WorkerForked(2))
    story.fail(1)
    story.is_now(State.STARTING)
    story.tell(e.WorkerReady(2, is_asgi=False))
    story.is_now(State.SERVING)
    assert [c.StartWorker(3, 1, story.site)] == story.measure()


def test_both_of_two_first_workers_fail() -> None:
    story = Story(make_site(min=2))
    story.configure()
    for number in (1, 2):
        story.tell(e.WorkerForked(number))
    story.fail(1)
    story.fail(2, "the second")
    story.is_now(State.FAILED)
    assert story.machine.failure is not None
    assert story.machine.failure.reason == "the second"
    assert story.timers[Timer("retry")] - story.now == 1, "two workers of one start are one failure"


def test_a_worker_that_dies_is_replaced_when_the_minimum_wants_it() -> None:
    story = Story(make_site(min=2)).serve()
    assert story.end(1)[-1] == c.StartWorker(3, 1, story.site)
    story.is_now(State.SERVING)
    story.start([3])
    assert story.measure() == []


def test_a_worker_that_dies_is_not_replaced_before_a_request_wants_it() -> None:
    story = Story().serve()
    assert story.end(1)[-1] == c.WatchQueue()
    story.is_now(State.COLD)
    story.when(e.RequestArrived(), c.UnwatchQueue(), c.StartWorker(2, 2, story.site))


def test_the_end_of_a_serving_worker_is_a_problem_to_show() -> None:
    story = Story().serve()
    story.tell(e.WorkerExited(1, failure := make_failure("worker 1.1 was killed by SIGSEGV")))
    assert story.machine.failure is failure


def test_a_stop_and_a_start_forget_the_pauses() -> None:
    story = Story()
    story.configure()
    for _ in range(3):
        story.fail(wake(story))
        story.wait(story.timers[Timer("retry")] - story.now, *story_of_reopening())
    story.tell(e.StopOrdered())
    story.tell(e.StartOrdered())
    story.fail(wake(story))
    assert story.timers[Timer("retry")] - story.now == 1


def test_a_site_with_a_minimum_whose_only_worker_dies_starts_anew() -> None:
    story = Story(make_site(min=1)).serve()
    assert story.end(1)[-1] == c.StartWorker(2, 2, story.site)
    story.is_now(State.STARTING)


def test_workers_that_die_again_and_again_make_the_site_failed() -> None:
    story = Story().serve()
    for number in range(1, 5):
        story.wait(1)
        story.end(number)
        story.is_now(State.COLD)
        story.start([wake(story)])
    found = story.end(5)
    story.is_now(State.FAILED)
    assert c.SetTimer(Timer("retry"), 1) in found
    # The next attempts starts well and dies again: the pauses grow.
    for number, pause in ((6, 2), (7, 4)):
        story.tell(e.TimeElapsed(Timer("retry")))
        story.start([wake(story)])
        assert c.SetTimer(Timer("retry"), pause) in story.end(number)
    # Ten seconds without a death are a new beginning.
    story.tell(e.TimeElapsed(Timer("retry")))
    story.start([wake(story)])
    story.wait(10)
    story.end(8)
    story.is_now(State.COLD)


def test_one_of_two_workers_that_dies_again_and_again_is_replaced_with_pauses() -> None:
    story = Story(make_site(min=2)).serve()
    number = 3
    for _ in range(4):
        story.end(number - 1)
        story.start([number])
        number += 1
    assert c.StartWorker(number, 1, story.site) not in story.end(number - 1)
    story.is_now(State.SERVING)
    assert story.measure() == [], "the pause holds for growth, too"
    story.wait(0.9)
    assert story.measure() == []
    story.wait(0.1)
    assert story.measure() == [c.StartWorker(number, 1, story.site)]


def test_growth_that_fails_leaves_the_site_serving_and_is_not_tried_for_a_while() -> None:
    story = Story(make_site(max=4)).serve()
    assert story.measure(1, waiting=1) == [c.StartWorker(2, 1, story.site)]
    story.tell(e.WorkerForked(2))
    story.fail(2, "out of database connections")
    story.is_now(State.SERVING)
    assert story.machine.failure is not None
    assert story.measure(1, waiting=1) == []
    story.wait(10)
    assert story.measure(1, waiting=1) == [c.StartWorker(3, 1, story.site)]


def test_the_last_worker_dies_while_another_is_coming() -> None:
    story = Story(make_site(max=2)).serve()
    story.measure(1, waiting=1)
    story.tell(e.WorkerForked(2))
    story.end(1)
    story.is_now(State.STARTING)
    story.tell(e.WorkerReady(2, is_asgi=False))
    story.is_now(State.SERVING)
