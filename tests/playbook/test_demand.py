"""Stories: a site sleeps, wakes, serves, and goes to sleep again."""

from __future__ import annotations

import signal

from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Timer
from hostel.machine.pool import Load
from hostel.machine.state import State
from tests.playbook.story import Story, make_failure, make_site


def test_a_request_wakes_a_site_and_idleness_puts_it_to_sleep() -> None:
    site = make_site(idle=600)
    story = Story(site)
    story.when(e.Configured(site), c.Publish(site), c.WatchQueue())
    story.is_now(State.COLD)

    story.when(e.RequestArrived(), c.UnwatchQueue(), c.StartWorker(1, 1, site))
    story.is_now(State.STARTING)
    story.when(e.WorkerForked(1), c.SetTimer(Timer("start", 1), 60))
    story.when(e.RequestArrived())  # it was on the way when the watching ended
    story.when(e.WorkerReady(1, is_asgi=False), c.CancelTimer(Timer("start", 1)))
    story.is_now(State.SERVING)

    story.wait(300)
    story.when(e.LoadMeasured(Load(running=1, occupied=1)))
    story.wait(599)
    story.when(e.LoadMeasured(Load(idle_for=599)))
    story.wait(1)
    story.when(
        e.LoadMeasured(Load(idle_for=600)),
        c.DrainWorker(1),
        c.SetTimer(Timer("drain", 1), 30),
        c.WatchQueue(),
    )
    story.is_now(State.DRAINING)
    story.when(
        e.WorkerExited(1, make_failure("it left")), c.CancelTimer(Timer("drain", 1)), c.CancelTimer(Timer("kill", 1))
    )
    story.is_now(State.COLD)


def test_a_request_while_the_last_worker_leaves_starts_the_next_generation_at_once() -> None:
    story = Story().serve()
    story.measure(idle_for=600)
    story.is_now(State.DRAINING)
    story.when(e.RequestArrived(), c.UnwatchQueue(), c.StartWorker(2, 2, story.site))
    story.is_now(State.STARTING)
    story.start([2])
    story.is_now(State.SERVING)
    story.end(1)  # the old one takes its time
    story.is_now(State.SERVING)


def test_a_worker_that_does_not_finish_is_killed_when_its_time_is_over() -> None:
    story = Story(make_site(drain=5)).serve()
    story.measure(idle_for=600)
    story.wait(4.9)
    reason = "worker 1.1 did not finish its requests within 5 s (limits.drain)"
    story.wait(
        0.1, c.KillWorker(1, signal.SIGABRT, reason), c.SetTimer(Timer("kill", 1), 2)
    )  # with its stack in the log
    story.wait(2, c.KillWorker(1, signal.SIGKILL))
    story.end(1)
    story.is_now(State.COLD)


def test_a_busy_site_does_not_sleep_even_when_it_may_not_idle_at_all() -> None:
    story = Story(make_site(idle=0, max=1)).serve()
    assert story.measure(1) == []
    assert story.measure(0, waiting=1) == []
    story.measure(0)
    story.is_now(State.DRAINING)


def test_a_minimum_starts_with_the_server_and_stays() -> None:
    site = make_site(min=2, idle=600)
    story = Story(site)
    story.when(
        e.Configured(site),
        c.Publish(site),
        c.UnwatchQueue(),
        c.StartWorker(1, 1, site),
        c.StartWorker(2, 1, site),
    )
    story.start([1, 2])
    assert story.measure(idle_for=100_000) == []
    story.is_now(State.SERVING)


def test_the_first_of_two_workers_that_is_ready_serves_already() -> None:
    story = Story(make_site(min=2))
    story.configure()
    story.tell(e.WorkerForked(1))
    story.tell(e.WorkerForked(2))
    story.tell(e.WorkerReady(2, is_asgi=False))
    story.is_now(State.SERVING)
    story.tell(e.WorkerReady(1, is_asgi=False))
    assert story.measure() == []


def test_a_worker_may_be_ready_before_anybody_says_that_it_was_forked() -> None:
    story = Story()
    story.configure()
    story.tell(e.RequestArrived())
    story.tell(e.WorkerReady(1, is_asgi=False))
    story.is_now(State.SERVING)
    story.when(e.WorkerForked(1))  # and no limit for a start that is over
    story.wait(1000)


def test_a_start_that_was_ordered_does_not_wait_for_a_request() -> None:
    story = Story()
    story.configure()
    story.when(e.StartOrdered(), c.UnwatchQueue(), c.StartWorker(1, 1, story.site))
    story.when(e.StartOrdered())  # once is enough
    story.start([1])
    story.when(e.StartOrdered())


def test_static_files_need_no_worker() -> None:
    site = make_site(app=None)
    story = Story(site)
    story.when(e.Configured(site), c.Publish(site), c.WatchQueue())
    story.when(e.StartOrdered(), c.WatchQueue())
    story.is_now(State.COLD)
    story.when(e.ReloadOrdered())
    story.is_now(State.COLD)
