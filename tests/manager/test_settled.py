"""When a command that has ordered something is done."""

from __future__ import annotations

from hostel.machine import events as e
from hostel.manager.server import is_moving
from tests.playbook.story import Story, make_site


def test_growth_that_waits_for_room_is_not_waited_for() -> None:
    story = Story(make_site(max=4)).serve()
    assert not is_moving(story.machine)
    story.measure(1, waiting=1)
    assert not is_moving(story.machine), "it may wait for ever"
    story.tell(e.WorkerForked(2))
    assert is_moving(story.machine)
    story.tell(e.WorkerReady(2, is_asgi=False))
    assert not is_moving(story.machine)


def test_first_workers_minima_and_successors_are_waited_for() -> None:
    story = Story(make_site(min=2))
    story.configure()
    assert is_moving(story.machine)
    story.start([1])
    assert is_moving(story.machine), "the second is not there yet"
    story.start([2])
    assert not is_moving(story.machine)
    story.tell(e.ReloadOrdered())
    assert is_moving(story.machine)
    story.start([3, 4])
    assert is_moving(story.machine), "the old ones are leaving"
    story.end(1, 2)
    assert not is_moving(story.machine)
