"""Stories: workers that are stuck, and what becomes of their sites."""

from __future__ import annotations

import signal

from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.state import State
from tests.playbook.story import Story, make_failure, make_site

STUCK = make_failure("worker 1.1 was stuck in GET /slow")


def test_a_stuck_worker_is_killed_and_the_others_serve() -> None:
    story = Story(make_site(min=2)).serve()
    story.when(e.WorkerStuck(1, STUCK), c.KillWorker(1, signal.SIGKILL, STUCK.reason), c.StartWorker(3, 1, story.site))
    story.is_now(State.SERVING)
    assert story.machine.failure is STUCK
    story.end(1)
    story.is_now(State.SERVING)


def test_the_only_worker_is_stuck_and_who_comes_next_wakes_the_site() -> None:
    story = Story().serve()
    story.when(e.WorkerStuck(1, STUCK), c.KillWorker(1, signal.SIGKILL, STUCK.reason), c.WatchQueue())
    story.is_now(State.DRAINING)
    story.tell(e.RequestArrived())
    story.is_now(State.STARTING)
    story.end(1)
    story.start([2])
    story.is_now(State.SERVING)


def test_the_only_worker_is_stuck_while_another_is_coming() -> None:
    story = Story(make_site(max=2)).serve()
    story.measure(1, waiting=1)
    story.measure(1, waiting=1)
    story.when(e.WorkerStuck(1, STUCK), c.KillWorker(1, signal.SIGKILL, STUCK.reason))
    story.is_now(State.STARTING)
    story.start([2])
    story.is_now(State.SERVING)


def test_stuck_workers_are_no_reason_to_give_the_site_up() -> None:
    """A database that hangs makes all of them stuck at the same moment."""
    story = Story(make_site(min=8, max=8)).serve()
    for number in range(1, 9):
        story.tell(e.WorkerStuck(number, STUCK))
        story.end(number)
    assert story.state in (State.SERVING, State.STARTING)


def test_one_that_was_told_to_leave_already_is_killed() -> None:
    story = Story().serve()
    story.tell(e.ReloadOrdered())
    story.start([2])
    story.when(e.WorkerStuck(1, STUCK), c.KillWorker(1, signal.SIGKILL, STUCK.reason))
    story.is_now(State.SERVING)
    assert story.machine.failure is None
    story.end(1)
    story.when(e.WorkerStuck(1, STUCK))
