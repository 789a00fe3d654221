"""Stories: a site grows under load and shrinks afterwards."""

from __future__ import annotations

import signal

from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Timer
from hostel.machine.pool import Load
from hostel.machine.state import State
from tests.playbook.story import Story, make_site


def orders(story: Story, numbers: list[int]) -> list[c.Command]:
    return [c.StartWorker(number, 1, story.site) for number in numbers]


def test_a_site_grows_while_requests_wait() -> None:
    story = Story(make_site(max=3)).serve()
    for number in (2, 3):
        assert story.measure(number - 1, waiting=1) == [c.StartWorker(number, 1, story.site)]
        assert story.measure(number - 1, waiting=1) == [], "one for one who waits"
        story.start([number])
    assert story.measure(3, waiting=1) == [], "three are the most"


def test_a_site_doubles_while_many_wait() -> None:
    story = Story(make_site(max=8)).serve()
    look = e.LoadMeasured(Load(running=1, occupied=1, waiting=1000))
    assert [story.tell(look) for _ in range(5)] == [[], *(orders(story, n) for n in ([2], [3, 4], [5, 6, 7, 8])), []]


def test_workers_that_are_not_forked_yet_are_called_off_when_the_queue_is_empty() -> None:
    story = Story(make_site(max=8)).serve()
    story.measure(1, waiting=2)
    story.measure(1, waiting=2)
    story.tell(e.WorkerForked(2))
    assert set(story.machine.workers) == {1, 2, 3}
    assert story.measure(0) == []
    assert c.KillWorker(3, signal.SIGKILL) in story.measure(0)
    story.end(3)
    story.start([2])
    assert story.measure(0) == []
    assert set(story.machine.workers) == {1, 2}


def test_a_site_falls_asleep_while_a_worker_starts() -> None:
    story = Story(make_site(max=8, idle=1)).serve()
    story.measure(1, waiting=1)
    story.tell(e.WorkerForked(2))
    found = story.measure(idle_for=1)
    assert c.DrainWorker(1) in found
    assert c.KillWorker(2, signal.SIGKILL) in found
    story.is_now(State.DRAINING)


def test_a_site_shrinks_to_what_it_needed_lately() -> None:
    story = Story(make_site(max=4, idle=100)).serve()
    for number in (2, 3, 4):
        story.measure(number - 1, waiting=1)
        story.start([number])
    story.measure(4)
    for _ in range(10):
        story.wait(9)
        assert story.measure(1) == [], "what was needed within the last 100 seconds may be needed again"
    drained: list[int] = []
    for _ in range(10):
        story.wait(9)
        leaving = [command.worker for command in story.measure(1) if isinstance(command, c.DrainWorker)]
        story.end(*leaving)
        drained += leaving
    assert drained == [1, 2, 3]


def test_a_minimum_that_is_raised_is_reached_without_a_new_generation() -> None:
    story = Story(make_site(min=1)).serve()
    site = make_site(min=3)
    story.when(e.Configured(site), c.Publish(site))
    assert story.measure() == [c.StartWorker(number, 1, make_site(min=1)) for number in (2, 3)]
    story.start([2, 3])
    assert story.measure() == []


def test_a_maximum_that_is_lowered_is_kept() -> None:
    story = Story(make_site(min=3)).serve()
    site = make_site(min=0, max=1)
    story.when(e.Configured(site), c.Publish(site))
    found = story.measure(3)
    assert [command for command in found if isinstance(command, c.DrainWorker)] == [c.DrainWorker(1), c.DrainWorker(2)]


def test_a_worker_gives_way_to_another_site() -> None:
    story = Story(make_site(max=4)).serve()
    story.measure(1, waiting=1)
    story.start([2])
    story.when(e.PlaceClaimed(1), c.DrainWorker(1), c.SetTimer(Timer("drain", 1), 30))
    story.when(e.PlaceClaimed(1))  # it is leaving already
    story.is_now(State.SERVING)
    story.end(1)
    assert story.measure(1) == [], "it does not take it back"


def test_a_site_whose_last_worker_gives_way_sleeps_until_the_next_request() -> None:
    story = Story(make_site(max=4)).serve()
    story.when(e.PlaceClaimed(1), c.DrainWorker(1), c.SetTimer(Timer("drain", 1), 30), c.WatchQueue())
    story.is_now(State.DRAINING)
    story.when(e.RequestArrived(), c.UnwatchQueue(), c.StartWorker(2, 2, story.site))


def test_a_minimum_does_not_give_way() -> None:
    story = Story(make_site(min=1)).serve()
    story.when(e.PlaceClaimed(1))


def test_nobody_gives_way_during_a_reload() -> None:
    story = Story(make_site(max=4)).serve()
    story.tell(e.ReloadOrdered())
    story.when(e.PlaceClaimed(1))
