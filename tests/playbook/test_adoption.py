"""Stories: a manager died, and the next one finds workers."""

from __future__ import annotations

import signal

from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Timer
from hostel.machine.events import AdoptedWorker, Phase
from hostel.machine.state import State
from tests.playbook.story import Story, make_failure, make_site


def adopted(number: int, generation: int, phase: Phase = Phase.READY) -> AdoptedWorker:
    return AdoptedWorker(number, generation, phase)


def found(*workers: AdoptedWorker, is_outdated: bool = False) -> e.WorkersAdopted:
    return e.WorkersAdopted(workers, is_outdated)


def test_a_serving_site_goes_on() -> None:
    story = Story()
    story.when(found(adopted(7, 3), adopted(9, 3)))
    story.is_now(State.SERVING)
    story.when(e.Configured(story.site), c.Publish(story.site))
    assert (story.machine.serving, story.machine.generation) == (3, 3)
    story.when(e.ReloadOrdered(), c.StartWorker(10, 4, story.site), c.StartWorker(11, 4, story.site))


def test_of_two_generations_that_are_ready_the_newer_serves() -> None:
    story = Story()
    story.when(found(adopted(1, 1), adopted(2, 2)), c.DrainWorker(1), c.SetTimer(Timer("drain", 1), 30))
    story.is_now(State.SERVING)
    assert story.machine.serving == 2


def test_a_reload_goes_on() -> None:
    story = Story()
    story.when(found(adopted(1, 1), adopted(2, 2, Phase.STARTING)), c.SetTimer(Timer("start", 2), 60))
    assert (story.machine.serving, story.machine.successor) == (1, 2)
    story.configure()
    assert c.DrainWorker(1) in story.tell(e.WorkerReady(2, is_asgi=False))
    assert story.machine.serving == 2


def test_growth_goes_on() -> None:
    story = Story()
    story.tell(found(adopted(1, 1), adopted(2, 1, Phase.STARTING)))
    assert (story.machine.serving, story.machine.successor) == (1, 0)
    story.when(e.WorkerReady(2, is_asgi=False), c.CancelTimer(Timer("start", 2)))


def test_a_start_goes_on_with_its_limit() -> None:
    story = Story(make_site(start=10))
    story.when(found(adopted(1, 1, Phase.STARTING)), c.SetTimer(Timer("start", 1), 10))
    story.is_now(State.STARTING)
    story.when(e.Configured(story.site), c.Publish(story.site))
    story.timers.clear()
    story.tell(e.WorkerReady(1, is_asgi=False))
    story.is_now(State.SERVING)


def test_a_worker_that_was_ordered_and_not_yet_forked() -> None:
    story = Story()
    story.when(found(adopted(1, 1, Phase.ORDERED)))
    story.is_now(State.STARTING)
    story.when(e.WorkerForked(1), c.SetTimer(Timer("start", 1), 60))


def test_a_start_of_an_old_generation_beside_a_newer_one_is_called_off() -> None:
    story = Story()
    story.when(
        found(adopted(1, 1, Phase.STARTING), adopted(2, 2)),
        c.SetTimer(Timer("start", 1), 60),
        c.CancelTimer(Timer("start", 1)),
        c.KillWorker(1, signal.SIGKILL),
    )
    story.is_now(State.SERVING)
    assert story.machine.serving == 2


def test_leaving_workers_keep_their_limit_and_a_request_starts_new_ones() -> None:
    story = Story(make_site(drain=5))
    story.when(found(adopted(4, 2, Phase.LEAVING)), c.SetTimer(Timer("drain", 4), 5), c.WatchQueue())
    story.is_now(State.DRAINING)
    story.when(e.Configured(story.site), c.Publish(story.site), c.WatchQueue())
    story.when(e.RequestArrived(), c.UnwatchQueue(), c.StartWorker(5, 3, story.site))
    reason = "worker 2.4 did not finish its requests within 5 s (limits.drain)"
    story.wait(5, c.KillWorker(4, signal.SIGABRT, reason), c.SetTimer(Timer("kill", 4), 2))


def test_a_file_that_changed_meanwhile_is_a_reload() -> None:
    story = Story(make_site(app="blog.next:application"))
    story.when(
        found(adopted(1, 1), adopted(2, 1), is_outdated=True),
        c.StartWorker(3, 2, story.site),
        c.StartWorker(4, 2, story.site),
    )
    story.is_now(State.SERVING)
    assert (story.machine.serving, story.machine.successor) == (1, 2)
    story.start([3, 4])
    assert story.machine.serving == 2
    story.end(1, 2)


def test_a_file_that_changed_during_a_start_starts_anew() -> None:
    story = Story()
    found_commands = story.tell(found(adopted(1, 1, Phase.STARTING), is_outdated=True))
    assert found_commands[-2:] == [c.KillWorker(1, signal.SIGKILL), c.StartWorker(2, 2, story.site)]
    story.is_now(State.STARTING)


def test_an_application_that_became_static_files_meanwhile() -> None:
    story = Story(make_site(app=None))
    story.tell(found(adopted(1, 1), adopted(2, 2, Phase.STARTING), is_outdated=True))
    story.is_now(State.DRAINING)
    story.end(1, 2)
    story.is_now(State.COLD)


def test_a_stopped_site_stays_stopped() -> None:
    story = Story()
    story.tell(found(adopted(1, 1, Phase.LEAVING)))
    story.tell(e.StopOrdered())
    story.configure()
    story.is_now(State.DISABLED)
    story.end(1)
    story.is_now(State.DISABLED)


def test_an_adopted_worker_dies() -> None:
    story = Story()
    story.tell(found(adopted(5, 2)))
    story.configure()
    story.tell(e.WorkerExited(5, make_failure()))
    story.is_now(State.COLD)


def test_what_the_workers_speak_is_known() -> None:
    story = Story()
    story.tell(e.WorkersAdopted((AdoptedWorker(1, 1, Phase.READY, is_asgi=True),), is_outdated=False))
    assert story.machine.is_asgi
