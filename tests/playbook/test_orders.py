"""Stories: stop and start, files that go and come back, and sites that change their nature."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Timer
from hostel.machine.state import State
from hostel.options.site import Site
from tests.playbook.story import Story, make_failure, make_site


def cold(site: Site) -> Story:
    story = Story(site)
    story.configure()
    return story


def starting(site: Site) -> Story:
    story = cold(site)
    story.tell(e.StartOrdered())
    story.tell(e.WorkerForked(1))
    return story


def serving(site: Site) -> Story:
    return Story(site).serve()


def reloading(site: Site) -> Story:
    story = serving(site)
    story.tell(e.ReloadOrdered())
    return story


def draining(site: Site) -> Story:
    story = serving(site)
    story.measure(idle_for=100_000)
    return story


def failed(site: Site) -> Story:
    story = starting(site)
    story.fail(1)
    return story


def failing(site: Site) -> Story:
    story = starting(site)
    story.tell(e.WorkerFailed(1, make_failure()))
    return story


def disabled(site: Site) -> Story:
    story = cold(site)
    story.tell(e.StopOrdered())
    return story


def disabling(site: Site) -> Story:
    story = serving(site)
    story.tell(e.StopOrdered())
    return story


def pausing(site: Site) -> Story:
    story = serving(site)
    story.tell(e.PauseOrdered(60))
    return story


def paused(site: Site) -> Story:
    story = pausing(site)
    story.end(1)
    return story


SCENES = [cold, starting, serving, reloading, draining, failed, failing, disabled, disabling, pausing, paused]
Scene = Callable[[Site], Story]


def test_a_site_is_stopped_and_started() -> None:
    story = serving(make_site())
    story.when(
        e.StopOrdered(),
        c.UnwatchQueue(),
        c.UnwatchCode(),
        c.CancelTimer(Timer("retry")),
        c.CancelTimer(Timer("resume")),
        c.CloseDoor(None),
        c.DrainWorker(1),
        c.SetTimer(Timer("drain", 1), 30),
        c.TurnAway(None),
    )
    story.is_now(State.DISABLED)
    story.end(1)
    story.is_now(State.DISABLED)
    story.when(e.TurnedAway(), c.WatchQueue())
    story.when(e.RequestArrived(), c.TurnAway(None))
    story.when(e.TurnedAway(), c.WatchQueue())
    story.when(e.StopOrdered())
    story.when(e.ReloadOrdered())
    story.when(
        e.StartOrdered(),
        c.UnwatchCode(), c.CancelTimer(Timer("retry")), c.OpenDoor(), c.UnwatchQueue(), c.StartWorker(2, 2, story.site),
    )  # fmt: skip
    story.is_now(State.STARTING)


def test_a_stopped_site_stays_stopped_when_its_file_changes() -> None:
    story = disabled(make_site())
    new = make_site(app="blog.next:application")
    story.when(e.Configured(new), c.Publish(new))
    story.is_now(State.DISABLED)
    assert story.tell(e.StartOrdered())[-1] == c.StartWorker(1, 1, new)


@pytest.mark.parametrize("scene", SCENES)
def test_a_stop_in_every_state_ends_all_workers(scene: Scene) -> None:
    story = scene(make_site())
    story.tell(e.StopOrdered())
    story.is_now(State.DISABLED)
    story.end(*list(story.machine.workers))
    story.is_now(State.DISABLED)
    assert not story.machine.workers
    assert set(story.timers) == set()
    assert story.machine.failure is None


@pytest.mark.parametrize("scene", SCENES)
def test_a_site_is_removed_in_every_state(scene: Scene) -> None:
    story = scene(make_site())
    workers = set(story.machine.workers)
    found = story.tell(e.Removed())
    assert found[:2] == [c.Withdraw(), c.UnwatchQueue()]
    if workers:
        assert c.Discard() not in found
        story.is_now(State.DRAINING)
        found = story.end(*workers)
    assert found[-1] == c.Discard()
    assert story.told.count(c.Discard()) == 1
    assert set(story.timers) == set()


@pytest.mark.parametrize("scene", [serving, starting, failing, disabling])
@pytest.mark.parametrize(
    "event", [e.StopOrdered(), e.StartOrdered(), e.ReloadOrdered(), e.RequestArrived(), e.TurnedAway()]
)
def test_nothing_brings_back_a_site_that_is_removed(scene: Scene, event: e.Event) -> None:
    story = scene(make_site())
    story.tell(e.Removed())
    story.when(event)
    story.is_now(State.DRAINING)
    assert story.end(1)[-1] == c.Discard()


def test_a_file_that_comes_back_while_its_workers_leave() -> None:
    story = serving(make_site())
    story.tell(e.Removed())
    again = make_site(app="blog.again:application")
    story.when(e.Configured(again), c.Publish(again), c.WatchQueue())
    story.is_now(State.DRAINING)
    story.when(e.RequestArrived(), c.UnwatchQueue(), c.StartWorker(2, 2, again))
    assert c.Discard() not in story.end(1)
    story.start([2])
    story.is_now(State.SERVING)


def test_a_file_that_comes_back_is_not_stopped_any_more() -> None:
    story = disabling(make_site())
    assert c.OpenDoor() in story.tell(e.Removed())
    story.configure(make_site())
    story.end(1)
    story.is_now(State.COLD)


@pytest.mark.parametrize("scene", SCENES)
def test_an_application_becomes_static_files_and_back_in_every_state(scene: Scene) -> None:
    story = scene(make_site())
    was_disabled = story.state is State.DISABLED
    static = make_site(app=None)
    assert story.tell(e.Configured(static))[0] == c.Publish(static)
    workers = set(story.machine.workers)
    assert all(worker.phase.value == "leaving" for worker in story.machine.workers.values())
    story.end(*workers)
    story.is_now(State.DISABLED if was_disabled else State.COLD)
    assert set(story.timers) == set()

    application = make_site()
    story.configure(application)
    if was_disabled:
        story.tell(e.StartOrdered())
    story.tell(e.RequestArrived())
    story.is_now(State.STARTING)
    story.start([n for n, worker in story.machine.workers.items() if worker.phase.value == "ordered"])
    story.is_now(State.SERVING)


def test_a_starting_worker_of_a_site_that_is_removed_is_not_waited_for() -> None:
    story = starting(make_site())
    assert c.KillWorker(1, signal.SIGKILL) in story.tell(e.Removed())
    story.when(e.WorkerReady(1, is_asgi=False))
    story.when(e.WorkerForked(1))
    story.when(e.WorkerFailed(1, make_failure()))
    assert story.end(1)[-1] == c.Discard()


def test_an_order_for_a_site_whose_old_workers_leave() -> None:
    story = draining(make_site())
    story.when(e.StartOrdered(), c.UnwatchQueue(), c.StartWorker(2, 2, story.site))


# --- pause ----------------------------------------------------------------------------------------------------------------


def test_a_pause_lets_workers_finish_and_requests_wait_until_the_start() -> None:
    story = serving(make_site())
    story.when(
        e.PauseOrdered(60),
        c.UnwatchQueue(),
        c.SetTimer(Timer("resume"), 60),
        c.DrainWorker(1),
        c.SetTimer(Timer("drain", 1), 30),
    )
    story.is_now(State.PAUSED)
    story.when(e.RequestArrived())
    story.when(e.ReloadOrdered())
    story.when(
        e.WorkerExited(1, make_failure("ended")), c.CancelTimer(Timer("drain", 1)), c.CancelTimer(Timer("kill", 1))
    )
    story.is_now(State.PAUSED)
    story.when(e.StartOrdered(), c.CancelTimer(Timer("resume")), c.UnwatchQueue(), c.StartWorker(2, 2, story.site))
    story.is_now(State.STARTING)


def test_a_pause_ends_by_itself_at_its_limit() -> None:
    story = paused(make_site())
    story.wait(60, c.CancelTimer(Timer("resume")), c.WatchQueue())
    story.is_now(State.COLD)
    story = paused(make_site(min=1))
    story.wait(59)
    story.wait(1, c.CancelTimer(Timer("resume")), c.UnwatchQueue(), c.StartWorker(2, 2, story.site))
    story.is_now(State.STARTING)


def test_a_pause_of_a_pause_counts_from_its_own_beginning() -> None:
    story = paused(make_site())
    story.wait(50)
    story.when(e.PauseOrdered(30), c.CancelTimer(Timer("resume")), c.UnwatchQueue(), c.SetTimer(Timer("resume"), 30))
    story.wait(29)
    story.is_now(State.PAUSED)
    assert story.machine.resume_at == story.now + 1


def test_a_pause_whose_limit_comes_before_the_workers_have_finished() -> None:
    story = pausing(make_site())
    story.wait(20)
    story.tell(e.PauseOrdered(5))
    story.wait(5, c.CancelTimer(Timer("resume")), c.WatchQueue())
    story.is_now(State.DRAINING)
    story.when(e.RequestArrived(), c.UnwatchQueue(), c.StartWorker(2, 2, story.site))


def test_a_failed_site_that_is_paused_holds_its_visitors() -> None:
    story = failed(make_site())
    found = story.tell(e.PauseOrdered(60))
    assert c.OpenDoor() in found
    story.is_now(State.PAUSED)
    assert set(story.timers) == {Timer("resume")}


def test_a_stop_answers_those_who_a_pause_has_held() -> None:
    story = paused(make_site())
    assert story.tell(e.StopOrdered())[-1] == c.TurnAway(None)
    story.is_now(State.DISABLED)
    story.when(e.PauseOrdered(60))
    story.is_now(State.DISABLED)


@pytest.mark.parametrize("scene", SCENES)
def test_a_pause_in_every_state_ends_all_workers_and_itself(scene: Scene) -> None:
    story = scene(make_site())
    was_disabled = story.state is State.DISABLED
    story.tell(e.PauseOrdered(60))
    story.is_now(State.DISABLED if was_disabled else State.PAUSED)
    story.end(*list(story.machine.workers))
    assert set(story.timers) == (set() if was_disabled else {Timer("resume")})
    story.tell(e.StartOrdered())
    story.start(list(story.machine.workers))
    story.is_now(State.SERVING)


def test_there_is_nothing_to_pause_about_static_files() -> None:
    story = cold(make_site(app=None))
    story.when(e.PauseOrdered(60))
    story.is_now(State.COLD)
