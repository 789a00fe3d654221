"""Stories: a worker has done enough, and another takes its place."""

from __future__ import annotations

import signal

from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Command, Timer
from hostel.machine.state import State
from tests.playbook.story import Story, make_site

WHY = "after 1,000 requests (limits.requests)"


def wear_out(story: Story, number: int = 1) -> list[Command]:
    return story.tell(e.WorkerWornOut(number, WHY))


def test_its_successor_is_ready_before_it_leaves() -> None:
    story = Story().serve()
    story.when(e.WorkerWornOut(1, WHY), c.StartWorker(2, 1, story.site))
    story.tell(e.WorkerForked(2))
    assert story.machine.replaced == ""
    story.when(
        e.WorkerReady(2, is_asgi=False),
        c.CancelTimer(Timer("start", 2)),
        c.DrainWorker(1),
        c.SetTimer(Timer("drain", 1), 30),
    )
    assert story.machine.replaced == f"worker 1.1 {WHY}"
    story.end(1)
    story.is_now(State.SERVING)
    assert (set(story.machine.workers), story.machine.serving) == ({2}, 1)


def test_one_at_a_time() -> None:
    story = Story(make_site(min=3)).serve()
    wear_out(story, 1)
    assert wear_out(story, 1) == wear_out(story, 2) == []
    story.start([4])
    assert wear_out(story, 2) == [], "the first has not left yet"
    story.end(1)
    assert wear_out(story, 2) == [c.StartWorker(5, 1, story.site)]


def test_the_pool_neither_grows_nor_shrinks_by_it() -> None:
    story = Story(make_site(min=2, max=2)).serve()
    wear_out(story, 1)
    assert story.measure(2) == story.measure(0) == story.measure(0) == [], "the one beside is not called off"
    story.start([3])
    assert story.measure(2, waiting=5) == [], "two are the most"
    story.end(1)
    assert story.measure(2) == []


def test_a_start_that_fails_leaves_the_old_one_and_is_not_tried_again_at_once() -> None:
    story = Story().serve()
    wear_out(story)
    story.tell(e.WorkerForked(2))
    story.fail(2)
    story.is_now(State.SERVING)
    assert set(story.machine.workers) == {1}
    assert wear_out(story) == []
    story.wait(10)
    assert wear_out(story) == [c.StartWorker(3, 1, story.site)]


def test_it_dies_before_its_successor_is_ready() -> None:
    story = Story().serve()
    wear_out(story)
    story.tell(e.WorkerForked(2))
    story.end(1)
    story.is_now(State.STARTING)
    story.tell(e.WorkerReady(2, is_asgi=False))
    story.is_now(State.SERVING)
    assert wear_out(story, 2) == [c.StartWorker(3, 1, story.site)]


def test_a_reload_replaces_both() -> None:
    story = Story().serve()
    wear_out(story)
    story.tell(e.WorkerForked(2))
    story.tell(e.ReloadOrdered())
    assert wear_out(story) == []
    story.tell(e.WorkerForked(3))
    found = story.tell(e.WorkerReady(3, is_asgi=False))
    assert c.DrainWorker(1) in found
    assert c.KillWorker(2, signal.SIGKILL) in found


def test_a_site_may_sleep_meanwhile() -> None:
    story = Story(make_site(idle=1)).serve()
    wear_out(story)
    assert c.KillWorker(2, signal.SIGKILL) in story.measure(idle_for=1)
    story.is_now(State.DRAINING)
    story.end(1, 2)
    story.is_now(State.COLD)


def test_a_worker_that_is_leaving_needs_no_successor() -> None:
    story = Story(make_site(max=4)).serve()
    story.measure(1, waiting=1)
    story.start([2])
    story.tell(e.PlaceClaimed(1))
    assert wear_out(story, 1) == []
