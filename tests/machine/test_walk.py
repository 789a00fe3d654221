"""Random lives of a site: whatever happens in whatever order, what has to hold holds, and the site always comes back.

The world here does what the manager does with commands, and lets workers be forked, get ready, fail and die whenever
they like.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import assert_never

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Timer
from hostel.machine.events import AdoptedWorker, Phase
from hostel.machine.pool import Load
from hostel.machine.site import SiteMachine
from hostel.machine.state import State
from hostel.options.site import Site
from tests.playbook.story import make_failure, make_site

SITES = [
    make_site(),
    make_site(min=1),
    make_site(min=2, max=3),
    make_site(app="blog.next:application", idle=0),
    make_site(app="blog.next:application", min=2, max=2),
    make_site(domains=("other.example.com",)),
    make_site(app=None),
]
APPLICATIONS = [site for site in SITES if site.app]


@dataclass
class Process:
    """A worker as the world has it. ``signals``: what it was sent; one that is not forked cannot be sent anything."""

    is_forked: bool = False
    is_ready: bool = False
    has_failed: bool = False
    is_told: bool = False  # to drain
    signals: tuple[int, ...] = ()


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.machine = SiteMachine(SITES[0])
        self.processes: dict[int, Process] = {}
        self.numbers: set[int] = set()  # all that were ever ordered
        self.timers: set[Timer] = set()
        self.is_watched = False
        self.is_turning_away = False
        self.is_closed = False
        self.is_code_watched = False
        self.is_published = False
        self.is_gone = False

    # --- what the manager does --------------------------------------------------------------------------------------

    def tell(self, event: e.Event) -> None:
        if self.is_gone:
            return
        for command in self.machine.handle(event, self.now):
            self.act(command)

    def act(self, command: c.Command) -> None:
        match command:
            case c.StartWorker(worker, generation, site):
                assert worker not in self.numbers, "a number is given once"
                assert site.app is not None
                assert generation <= self.machine.generation
                self.numbers.add(worker)
                self.processes[worker] = Process()
            case c.DrainWorker(worker):
                self.processes[worker].is_told = True
            case c.KillWorker(worker, number, _):
                self.processes[worker].signals += (number,)
            case c.SetTimer(timer, seconds):
                assert seconds >= 0
                self.timers.add(timer)
            case c.CancelTimer(timer):
                self.timers.discard(timer)
            case c.WatchQueue():
                self.is_watched = True
            case c.UnwatchQueue():
                self.is_watched = False
            case c.Publish():
                self.is_published = True
            case c.Withdraw():
                self.is_published = False
            case c.Discard():
                assert not self.processes, "the socket is closed when nobody needs it any more"
                assert not self.is_published
                self.is_gone = True
            case c.CloseDoor():
                self.is_closed = True
            case c.OpenDoor():
                self.is_closed = False
                self.is_turning_away = False
            case c.TurnAway():
                self.is_turning_away = True
            case c.WatchCode():
                self.is_code_watched = True
            case c.UnwatchCode():
                self.is_code_watched = False
            case _:
                assert_never(command)

    # --- what happens -----------------------------------------------------------------------------------------------

    @initialize(
        site=st.sampled_from(SITES),
        left=st.lists(st.tuples(st.integers(1, 3), st.sampled_from(Phase)), max_size=4),
        is_outdated=st.booleans(),
        is_stopped=st.booleans(),
    )
    def begin(self, site: Site, left: list[tuple[int, Phase]], is_outdated: bool, is_stopped: bool) -> None:
        """A manager starts, perhaps after another one."""
        self.machine = SiteMachine(site)
        workers = tuple(AdoptedWorker(number, *worker) for number, worker in enumerate(left, 1))
        for worker in workers:
            is_ready = worker.phase in (Phase.READY, Phase.LEAVING)
            is_forked = worker.phase is not Phase.ORDERED
            self.processes[worker.number] = Process(is_forked, is_ready, is_told=worker.phase is Phase.LEAVING)
            self.numbers.add(worker.number)
        if workers:
            self.tell(e.WorkersAdopted(workers, is_outdated or site.app is None))
        if is_stopped:
            self.tell(e.StopOrdered())
        self.tell(e.Configured(site))

    @rule(seconds=st.sampled_from([0.1, 1.0, 11.0, 700.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(site=st.sampled_from(SITES))
    def configure(self, site: Site) -> None:
        self.tell(e.Configured(site))

    @rule()
    def remove(self) -> None:
        if not self.machine.is_removed:
            self.tell(e.Removed())

    @rule(event=st.sampled_from([e.ReloadOrdered(), e.StartOrdered(), e.StopOrdered(), e.PauseOrdered(60.0)]))
    def order(self, event: e.Event) -> None:
        self.tell(event)

    @rule()
    def request(self) -> None:
        if self.is_watched:
            self.is_watched = False  # one shot
            self.tell(e.RequestArrived())

    @rule()
    def request_that_was_on_its_way(self) -> None:
        """Reported just before the watching ended."""
        if not self.is_watched:
            self.tell(e.RequestArrived())

    @rule()
    def finish_turning_away(self) -> None:
        if self.is_turning_away:
            self.is_turning_away = False
            self.tell(e.TurnedAway())

    @rule(choice=st.integers(0, 9))
    def fork(self, choice: int) -> None:
        if number := self.choose(choice, [n for n, p in self.processes.items() if not p.is_forked]):
            self.processes[number].is_forked = True
            self.tell(e.WorkerForked(number))

    @rule(choice=st.integers(0, 9), is_asgi=st.booleans())
    def get_ready(self, choice: int, is_asgi: bool) -> None:
        candidates = [n for n, p in self.processes.items() if not p.is_ready and not p.has_failed]
        if number := self.choose(choice, candidates):
            self.processes[number].is_ready = True
            self.tell(e.WorkerReady(number, is_asgi))

    @rule(choice=st.integers(0, 9))
    def fail(self, choice: int) -> None:
        candidates = [n for n, p in self.processes.items() if not p.is_ready and not p.has_failed]
        if number := self.choose(choice, candidates):
            self.processes[number].has_failed = True
            self.tell(e.WorkerFailed(number, make_failure()))

    @rule(choice=st.integers(0, 9))
    def die(self, choice: int) -> None:
        """A worker ends: it was told to, was killed, has failed, could not be forked, or just dies."""
        if number := self.choose(choice, list(self.processes)):
            self.exit(number)

    @rule(choice=st.integers(0, 9))
    def elapse(self, choice: int) -> None:
        timers = sorted(self.timers, key=lambda timer: (timer.worker, timer.kind))
        if timers:
            timer = timers[choice % len(timers)]
            self.timers.discard(timer)
            self.tell(e.TimeElapsed(timer))

    @rule(busy=st.integers(0, 5), waiting=st.integers(0, 9), idle_for=st.sampled_from([0.0, 1.0, 599.0, 601.0]))
    def measure(self, busy: int, waiting: int, idle_for: float) -> None:
        self.tell(e.LoadMeasured(Load(busy, busy, waiting, idle_for=idle_for)))

    @rule(choice=st.integers(0, 9))
    def wear_out(self, choice: int) -> None:
        if number := self.choose(choice, list(self.processes)):
            self.tell(e.WorkerWornOut(number, "after 3 requests"))

    @rule(choice=st.integers(0, 9))
    def be_stuck(self, choice: int) -> None:
        """A worker that is ready, or was told to drain and has not."""
        if number := self.choose(choice, [number for number, process in self.processes.items() if process.is_ready]):
            self.tell(e.WorkerStuck(number, make_failure("stuck")))

    @rule(choice=st.integers(0, 9))
    def claim_place(self, choice: int) -> None:
        if number := self.choose(choice, list(self.processes)):
            self.tell(e.PlaceClaimed(number))

    def choose(self, choice: int, numbers: list[int]) -> int:
        return numbers[choice % len(numbers)] if numbers else 0

    def exit(self, number: int) -> None:
        del self.processes[number]
        self.tell(e.WorkerExited(number, make_failure()))

    # --- what holds -------------------------------------------------------------------------------------------------

    @invariant()
    def the_machine_is_sound(self) -> None:
        if not self.is_gone:
            self.machine.check()

    @invariant()
    def each_worker_is_known_until_it_has_exited(self) -> None:
        assert set(self.machine.workers) == set(self.processes)
        for number, process in self.processes.items():
            if self.machine.workers[number].phase is Phase.READY:
                assert process.is_ready
                assert not process.is_told

    @invariant()
    def someone_listens(self) -> None:
        if self.is_gone or self.machine.is_removed or self.machine.state in (State.STARTING, State.SERVING):
            return
        if self.machine.state is State.PAUSED:
            assert not self.is_watched, "it waits, and wakes nobody"
            return
        assert self.is_watched or self.is_turning_away, self.machine.state

    @invariant()
    def nobody_listens_for_a_removed_site(self) -> None:
        if self.machine.is_removed:
            assert not self.is_watched
            assert not self.is_published

    @invariant()
    def a_failed_site_has_its_timer_and_no_other_has(self) -> None:
        is_failed = self.machine.state is State.FAILED
        assert (Timer("retry") in self.timers) is is_failed
        assert self.is_code_watched is is_failed

    @invariant()
    def a_pause_has_its_limit(self) -> None:
        assert (Timer("resume") in self.timers) is (self.machine.state is State.PAUSED)

    @invariant()
    def the_door_is_closed_when_the_site_is(self) -> None:
        assert self.is_closed is (self.machine.state in (State.FAILED, State.DISABLED))

    @invariant()
    def each_worker_that_leaves_has_a_limit(self) -> None:
        for number, worker in self.machine.workers.items():
            is_killed = signal.SIGKILL in self.processes[number].signals
            is_limited = {Timer("drain", number), Timer("kill", number)} & self.timers
            if worker.phase is Phase.LEAVING:
                assert is_killed or is_limited
            elif worker.phase is Phase.STARTING:
                assert is_killed or is_limited or Timer("start", number) in self.timers
            elif signal.SIGABRT not in self.processes[number].signals:  # ready too late, and about to die
                assert not is_killed

    @invariant()
    def no_timer_outlives_its_worker(self) -> None:
        assert {timer.worker for timer in self.timers if timer.worker} <= set(self.processes)

    @invariant()
    def there_are_not_too_many_workers(self) -> None:
        for generation in {self.machine.serving, self.machine.successor} - {0}:
            workers = [w for w in self.machine.workers.values() if w.generation == generation]
            here = [w for w in workers if w.phase is not Phase.LEAVING and w.replaces not in self.machine.workers]
            assert len(here) <= max(max(w.site.workers.max for w in here), 4) if here else True

    # --- what comes ------------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.is_gone)
    @rule()
    def calm_down(self) -> None:
        """Nothing goes wrong any more: then all that moves comes to rest, and a request is served if one can be."""
        self.settle()
        machine = self.machine
        assert not machine.successor
        for state, timer in ((State.PAUSED, Timer("resume")), (State.FAILED, Timer("retry"))):
            if machine.state is state:
                self.timers.discard(timer)
                self.tell(e.TimeElapsed(timer))
                self.settle()
        if self.is_gone:
            return
        if machine.site.app is None or machine.state is State.DISABLED:
            assert machine.state in (State.COLD, State.DISABLED)
            return
        if machine.state is State.COLD:
            assert machine.site.workers.min == 0
            self.request()
            self.settle()
        assert machine.state is State.SERVING

    def settle(self) -> None:
        for _ in range(100):
            self.finish_turning_away()
            for number, process in list(self.processes.items()):
                if process.is_told or process.signals or process.has_failed:
                    self.exit(number)
                elif not process.is_forked:
                    process.is_forked = True
                    self.tell(e.WorkerForked(number))
                elif not process.is_ready:
                    process.is_ready = True
                    self.tell(e.WorkerReady(number, is_asgi=False))
            phases = {worker.phase for worker in self.machine.workers.values()}
            if phases <= {Phase.READY} and not self.is_turning_away:
                return
        raise AssertionError(f"it does not come to rest: {self.machine.state}, {self.machine.workers}")


World.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestWorld = World.TestCase
