"""Stories: a site grows under load and shrinks afterwards."""

from __future__ import annotations

from hostel.machine import commands as c
from hostel.machine import events as e
from tests.playbook.story import Story, make_site


def test_a_site_grows_one_by_one_while_requests_wait() -> None:
    story = Story(make_site(max=3)).serve()
    for number in (2, 3):
        assert story.measure(number - 1, is_waiting=True) == [c.StartWorker(number, 1, story.site)]
        assert story.measure(number - 1, is_waiting=True) == [], "one at a time"
        story.start([number])
    assert story.measure(3, is_waiting=True) == [], "three are the most"


def test_a_site_shrinks_to_what_it_needed_lately() -> None:
    story = Story(make_site(max=4, idle=100)).serve()
    for number in (2, 3, 4):
        story.measure(number - 1, is_waiting=True)
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
    for number in (2, 3):
        assert story.measure() == [c.StartWorker(number, 1, make_site(min=1))]
        story.start([number])
    assert story.measure() == []


def test_a_maximum_that_is_lowered_is_kept() -> None:
    story = Story(make_site(min=3)).serve()
    site = make_site(min=0, max=1)
    story.when(e.Configured(site), c.Publish(site))
    found = story.measure(3)
    assert [command for command in found if isinstance(command, c.DrainWorker)] == [c.DrainWorker(1), c.DrainWorker(2)]


def test_threads_are_counted() -> None:
    story = Story(make_site(max=2, threads=4)).serve()
    assert story.measure(3, is_waiting=True) == []
    assert story.measure(4, is_waiting=True) == [c.StartWorker(2, 1, story.site)]


def test_an_asgi_worker_takes_all() -> None:
    story = Story(make_site(max=4))
    story.configure()
    story.tell(e.RequestArrived())
    story.tell(e.WorkerReady(1, is_asgi=True))
    assert story.measure(500, is_waiting=True) == []
