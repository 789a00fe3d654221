"""Stories: a new generation grows beside the one that serves, and takes over or fails."""

from __future__ import annotations

import signal

from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Timer
from hostel.machine.state import State
from tests.playbook.story import Story, make_failure, make_site


def test_the_successor_starts_beside_and_takes_over_when_it_is_complete() -> None:
    story = Story(make_site(min=2)).serve()
    story.when(e.ReloadOrdered(), c.StartWorker(3, 2, story.site), c.StartWorker(4, 2, story.site))
    story.tell(e.WorkerForked(3))
    story.tell(e.WorkerForked(4))
    story.when(e.WorkerReady(3, is_asgi=False), c.CancelTimer(Timer("start", 3)))
    assert story.machine.serving == 1
    story.when(
        e.WorkerReady(4, is_asgi=False),
        c.CancelTimer(Timer("start", 4)),
        c.DrainWorker(1),
        c.SetTimer(Timer("drain", 1), 30),
        c.DrainWorker(2),
        c.SetTimer(Timer("drain", 2), 30),
    )
    story.is_now(State.SERVING)
    assert story.machine.serving == 2
    story.end(1, 2)
    story.is_now(State.SERVING)
    assert set(story.machine.workers) == {3, 4}


def test_the_successor_of_a_pool_that_has_grown_is_as_large() -> None:
    story = Story(make_site(max=4)).serve()
    story.measure(1, waiting=1)
    story.start([2])
    story.when(e.ReloadOrdered(), c.StartWorker(3, 2, story.site), c.StartWorker(4, 2, story.site))
    story.start([3, 4])
    story.end(1, 2)
    story.configure(make_site(app="blog.next:application", max=1))
    story.start([5])
    story.end(3, 4)
    assert set(story.machine.workers) == {5}, "and no larger than it may be"


def test_a_successor_that_fails_leaves_what_serves() -> None:
    story = Story(make_site(min=2)).serve()
    story.tell(e.ReloadOrdered())
    story.tell(e.WorkerForked(3))
    story.tell(e.WorkerForked(4))
    failure = make_failure("SyntaxError: invalid syntax")
    story.when(
        e.WorkerFailed(3, failure),
        c.CancelTimer(Timer("start", 3)),
        c.SetTimer(Timer("kill", 3), 2),
        c.CancelTimer(Timer("start", 4)),
        c.KillWorker(4, signal.SIGKILL),  # one that fails speaks for all of them
    )
    story.is_now(State.SERVING)
    assert (story.machine.serving, story.machine.successor) == (1, 0)
    assert story.machine.failure is failure
    story.end(3, 4)
    assert story.machine.failure is failure, "the owner has to see it until a generation takes over"
    story.tell(e.ReloadOrdered())
    story.start([5, 6])
    assert story.machine.serving == 3
    assert story.machine.failure is None


def test_a_successor_that_is_killed_leaves_what_serves() -> None:
    story = Story().serve()
    story.tell(e.ReloadOrdered())
    story.tell(e.WorkerForked(2))
    story.end(2)
    story.is_now(State.SERVING)
    assert (story.machine.serving, story.machine.successor) == (1, 0)


def test_a_ready_worker_of_an_incomplete_successor_dies() -> None:
    story = Story(make_site(min=2)).serve()
    story.tell(e.ReloadOrdered())
    story.start([3])
    story.tell(e.WorkerForked(4))
    assert c.KillWorker(4, signal.SIGKILL) in story.end(3)
    story.is_now(State.SERVING)
    assert (story.machine.serving, story.machine.successor) == (1, 0)


def test_a_lost_worker_is_replaced_by_one_of_its_own_generation() -> None:
    """Not by one made from the file of a successor that has just died."""
    old = make_site(min=1, max=4)
    story = Story(old).serve()
    story.configure(make_site(min=2, max=4))  # more of the same: no new generation
    new = make_site(app="blog.next:application", min=2, max=4)
    story.configure(new)
    assert story.machine.successor == 2
    story.start([2])
    found = [command for command in story.end(2) if isinstance(command, c.StartWorker)]
    assert all(command.site.app == "blog:application" for command in found)
    assert all(command.generation == 1 for command in found)


def test_reloads_during_a_reload_are_one_more() -> None:
    story = Story().serve()
    story.when(e.ReloadOrdered(), c.StartWorker(2, 2, story.site))
    for _ in range(5):
        story.when(e.ReloadOrdered())
    story.tell(e.WorkerForked(2))
    assert c.StartWorker(3, 3, story.site) in story.tell(e.WorkerReady(2, is_asgi=False))
    story.start([3])
    assert (story.machine.serving, story.machine.successor) == (3, 0)
    story.end(1, 2)
    assert set(story.machine.workers) == {3}


def test_a_reload_that_waits_is_begun_when_the_one_before_it_fails() -> None:
    story = Story().serve()
    story.tell(e.ReloadOrdered())
    story.tell(e.WorkerForked(2))
    story.tell(e.ReloadOrdered())  # the error has been mended already
    assert c.StartWorker(3, 3, story.site) in story.tell(e.WorkerFailed(2, make_failure()))
    story.end(2)
    story.start([3])
    assert (story.machine.serving, story.machine.successor) == (3, 0), "and it was one reload"


def test_a_change_of_the_file_during_a_reload_is_not_forgotten() -> None:
    story = Story().serve()
    story.tell(e.ReloadOrdered())
    new = make_site(app="blog.next:application")
    story.when(e.Configured(new), c.Publish(new))
    story.tell(e.WorkerForked(2))
    assert c.StartWorker(3, 3, new) in story.tell(e.WorkerReady(2, is_asgi=False))
    story.start([3])
    assert story.machine.workers[3].site is new


def test_a_change_of_domains_needs_no_worker() -> None:
    story = Story().serve()
    new = make_site(domains=("blog.example.com", "www.example.com"))
    story.when(e.Configured(new), c.Publish(new))
    assert story.machine.successor == 0


def test_a_reload_of_a_sleeping_site_is_what_its_next_start_does_anyway() -> None:
    story = Story()
    story.configure()
    story.when(e.ReloadOrdered())
    story.is_now(State.COLD)


def test_a_reload_of_a_starting_site_starts_it_anew() -> None:
    story = Story()
    story.configure()
    story.tell(e.RequestArrived())
    story.tell(e.WorkerForked(1))
    story.when(
        e.ReloadOrdered(),
        c.CancelTimer(Timer("start", 1)),
        c.KillWorker(1, signal.SIGKILL),
        c.StartWorker(2, 2, story.site),
    )
    story.when(e.WorkerReady(1, is_asgi=False))  # it could just say so before it died
    story.is_now(State.STARTING)
    story.end(1)
    story.is_now(State.STARTING)
    story.start([2])
    assert story.machine.serving == 2


def test_all_serving_workers_die_during_a_reload_and_the_successor_becomes_the_start() -> None:
    story = Story().serve()
    story.tell(e.ReloadOrdered())
    story.tell(e.WorkerForked(2))
    story.end(1)
    story.is_now(State.STARTING)
    assert story.machine.successor == 0
    story.tell(e.WorkerReady(2, is_asgi=False))
    story.is_now(State.SERVING)
    assert story.machine.serving == 2


def test_growth_of_the_old_generation_is_called_off_when_the_successor_becomes_the_start() -> None:
    story = Story().serve()
    story.measure(1, waiting=1)
    story.tell(e.ReloadOrdered())
    found = story.end(1)
    assert c.KillWorker(2, signal.SIGKILL) in found
    assert c.KillWorker(3, signal.SIGKILL) not in found
    story.is_now(State.STARTING)


def test_the_reload_that_waits_is_not_lost_when_all_serving_workers_die() -> None:
    story = Story().serve()
    story.tell(e.ReloadOrdered())
    story.tell(e.WorkerForked(2))
    story.tell(e.ReloadOrdered())
    found = story.end(1)
    assert c.KillWorker(2, signal.SIGKILL) in found, "what is starting is out of date already"
    assert c.StartWorker(3, 3, story.site) in found
    story.end(2)
    story.start([3])
    story.is_now(State.SERVING)
    assert (story.machine.serving, story.machine.successor) == (3, 0)
    story.wait(100)
    assert story.machine.successor == 0


def test_serving_workers_die_when_a_part_of_the_successor_is_ready() -> None:
    story = Story(make_site(min=2)).serve()
    story.tell(e.ReloadOrdered())
    story.start([3])
    story.tell(e.WorkerForked(4))
    story.end(1)
    story.end(2)
    story.is_now(State.SERVING)
    assert (story.machine.serving, story.machine.successor) == (2, 0)
    story.tell(e.WorkerReady(4, is_asgi=False))
    assert story.machine.serving == 2


def test_nothing_grows_or_shrinks_during_a_reload() -> None:
    story = Story().serve()
    story.tell(e.ReloadOrdered())
    assert story.measure(1, waiting=1) == []
    assert story.measure(idle_for=100_000) == []
