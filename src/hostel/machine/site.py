"""The life of one site, as one table of (state, event).

The hard part is that three things overlap: workers come and go, a new generation may grow beside the one that serves,
and the site's file may change or vanish meanwhile. Everything is decided here and nothing is done here: ``handle``
takes what happened and returns what to do, and only ``handle`` assigns the state. Every pair of state and event is a
method, ``IGNORED`` or ``IMPOSSIBLE``; a test lists them all. ``check`` says what always holds.

            request, start            a worker is ready             idle, removed
    COLD ───────────────────► STARTING ───────────────► SERVING ──────────────────► DRAINING ──► COLD, or gone
      ▲                         │    ▲                     │                            │
      │ pause over              ▼    │ changed, start      │ too many deaths            │ request: STARTING
      └────────────────────── FAILED ◄─────────────────────┘                            ▼
                                            any state: stop ─► DISABLED: start ─► COLD

A reload does not leave SERVING: ``successor`` is the generation that is starting beside the one that serves.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hostel.errors import Bug
from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Command, Timer
from hostel.machine.events import Phase
from hostel.machine.journey import Failure
from hostel.machine.pool import Peak, wanted_workers
from hostel.machine.restart import History
from hostel.options.site import Site

ABORT_SECONDS = 2.0  # for a worker that is to die with its stack in the log, before it dies without
GROW_PAUSE = 10.0  # after a worker of a serving site failed to start


class State(enum.Enum):
    COLD = "cold"
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    FAILED = "failed"
    DISABLED = "disabled"


@dataclass(slots=True)
class Worker:
    generation: int
    site: Site
    phase: Phase = Phase.ORDERED


class SiteMachine:
    """One site. Read everything, change it only through ``handle``."""

    __slots__ = (
        "_out", "failure", "generation", "grow_after", "history", "is_asgi", "is_reload_pending", "is_removed",
        "next_worker", "peak", "serving", "site", "state", "successor", "workers",
    )  # fmt: skip

    def __init__(self, site: Site) -> None:
        self.site = site  # as its file wants it now
        self.state = State.COLD
        self.workers: dict[int, Worker] = {}
        self.next_worker = 1
        self.generation = 0  # the newest
        self.serving = 0  # the generation that answers requests; 0 when none does
        self.successor = 0  # the generation that starts beside it; 0 when none does
        self.is_reload_pending = False  # another reload was wanted while one runs
        self.is_removed = False
        self.is_asgi = False  # as found by its last worker
        self.failure: Failure | None = None  # the last problem; cleared when a generation takes over
        self.history = History()
        self.peak = Peak()
        self.grow_after = 0.0
        self._out: list[Command] = []

    def handle(self, event: e.Event, now: float) -> list[Command]:
        """What to do about ``event``, in order. Raises ``Bug`` for a pair that cannot be."""
        self._out = []
        self.state = TABLE[self.state, type(event)](self, event, now) or self.state
        return self._out

    # --- what holds -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise ``Bug`` when an invariant is broken; tests call this after each event."""
        coming = self._count(Phase.ORDERED, Phase.STARTING)
        ready = self._count(Phase.READY)
        leaving = self._count(Phase.LEAVING)
        rules = {
            State.COLD: not self.workers,
            State.STARTING: coming > 0 and not ready,
            State.SERVING: ready > 0 and self.serving > 0,
            State.DRAINING: (leaving > 0 or self.is_removed) and not ready and not coming,
            State.FAILED: not ready and not coming and self.failure is not None,
            State.DISABLED: not ready and not coming,
        }
        if not rules[self.state]:
            raise Bug(f"site {self.site.name}: state {self.state.value} with workers {self.workers}")
        if self.state is not State.SERVING and (self.serving or self.successor):
            raise Bug(f"site {self.site.name}: a generation serves, or is about to, in state {self.state.value}")
        if self.is_reload_pending and not self.successor:
            raise Bug(f"site {self.site.name}: a reload is pending, and nothing that it waits for")
        generations = {w.generation for w in self.workers.values() if w.phase is Phase.READY}
        if self.successor:
            generations.discard(self.successor)
        if generations - {self.serving}:
            raise Bug(f"site {self.site.name}: ready workers of generations {generations}, serving is {self.serving}")
        if self.generation < max(self.serving, self.successor):
            raise Bug(f"site {self.site.name}: generation {self.generation} is not the newest")

    # --- helpers: each appends commands ----------------------------------------------------------------------------

    def _do(self, *commands: Command) -> None:
        self._out.extend(commands)

    def _count(self, *phases: Phase) -> int:
        return sum(1 for worker in self.workers.values() if worker.phase in phases)

    def _of(self, generation: int, *phases: Phase) -> list[int]:
        return [n for n, w in self.workers.items() if w.generation == generation and w.phase in phases]

    def _order_worker(self, generation: int, site: Site) -> None:
        number, self.next_worker = self.next_worker, self.next_worker + 1
        self.workers[number] = Worker(generation, site)
        self._do(c.StartWorker(number, generation, site))

    def _begin_generation(self) -> int:
        """Order the first workers of a new generation, made from the site's file as it is now; its number."""
        self.generation += 1
        for _ in range(max(1, self.site.workers.min)):
            self._order_worker(self.generation, self.site)
        return self.generation

    def _open_door(self) -> None:
        """Out of FAILED or DISABLED: take away what they have put in the way."""
        if self.state in (State.FAILED, State.DISABLED):
            self._do(c.UnwatchCode(), c.CancelTimer(Timer("retry")), c.OpenDoor())

    def _wake(self) -> State:
        """Start from nothing. A site of static files has nothing to start."""
        if self.site.app is None:
            return self._rest()
        self._open_door()
        self._do(c.UnwatchQueue())
        return self._start_anew()

    def _start_anew(self) -> State:
        """Begin a generation that nobody serves beside."""
        self._serve_nothing()
        self._begin_generation()
        return State.STARTING

    def _drain(self, number: int) -> None:
        worker = self.workers[number]
        if worker.phase is Phase.READY:
            worker.phase = Phase.LEAVING
            self._do(c.DrainWorker(number), c.SetTimer(Timer("drain", number), worker.site.limits.drain))
        elif worker.phase is not Phase.LEAVING:
            self._abandon(number)

    def _abandon(self, number: int) -> None:
        """End a worker that serves nobody yet."""
        self.workers[number].phase = Phase.LEAVING
        self._do(c.CancelTimer(Timer("start", number)), c.KillWorker(number, signal.SIGKILL))

    def _drain_all(self) -> None:
        for number in list(self.workers):
            self._drain(number)
        self._serve_nothing()

    def _rest(self) -> State:
        """Nothing runs that could serve: wait for the leaving workers, then for a request."""
        self._open_door()
        self._serve_nothing()
        if self.is_removed:
            if not self.workers:
                self._do(c.Discard())
            return State.DRAINING
        self._do(c.WatchQueue())
        return State.DRAINING if self.workers else State.COLD

    def _sleep_or_run(self) -> State:
        """Where a site goes that is neither stopped nor failed: to its minimum."""
        if self.site.workers.min and not self.is_removed:
            return self._wake()
        return self._rest()

    def _fail(self, failure: Failure) -> State:
        """All that are left of its workers are leaving: let the front answer for a while."""
        self._serve_nothing()
        self._do(
            c.CloseDoor(failure),
            c.WatchCode(failure),
            c.SetTimer(Timer("retry"), self.history.pause),
            c.TurnAway(failure),
        )
        return State.FAILED

    def _serve_nothing(self) -> None:
        self.serving = self.successor = 0
        self.is_reload_pending = False

    def _numbers(self, *phases: Phase) -> list[int]:
        return [number for number, worker in self.workers.items() if worker.phase in phases]

    def _newest(self, *phases: Phase) -> int:
        """The newest generation that has workers in these phases; 0 when none has."""
        return max((worker.generation for worker in self.workers.values() if worker.phase in phases), default=0)

    # --- events: each returns the new state, or None to stay ---------------------------------------------------------

    def _configured(self, event: e.Configured, now: float) -> State | None:
        """Asleep: the next start takes the new file."""
        self.site = event.site
        self.is_removed = False
        self._do(c.Publish(event.site))
        if self.state is State.FAILED:
            return self._changed(event, now)
        return None if self.state is State.DISABLED else self._sleep_or_run()

    def _configured_running(self, event: e.Configured, now: float) -> State | None:
        """Awake: new routes hold at once; what only a new worker can take up needs a new generation."""
        is_same = not needs_new_workers(self.site, event.site)
        self.site = event.site
        self._do(c.Publish(event.site))
        if is_same:
            return None
        return self._replace(self.state)

    def _removed(self, event: e.Removed, now: float) -> State:
        """Route nothing to the site any more, let its workers finish, and forget it."""
        self.is_removed = True
        self._do(c.Withdraw(), c.UnwatchQueue())
        self._drain_all()
        return self._rest()

    def _requested(self, event: e.RequestArrived | e.StartOrdered, now: float) -> State | None:
        """Start, unless the site is on its way out."""
        return None if self.is_removed else self._wake()

    def _requested_closed(self, event: e.RequestArrived, now: float) -> None:
        """The door is closed, but somebody was through it already."""
        self._do(c.TurnAway(self.failure if self.state is State.FAILED else None))

    def _turned_away(self, event: e.TurnedAway, now: float) -> None:
        """Look out for the next who comes through."""
        self._do(c.WatchQueue())

    def _forked(self, event: e.WorkerForked, now: float) -> None:
        """The time for its start runs from now."""
        worker = self.workers.get(event.worker)
        if worker is not None and worker.phase is Phase.ORDERED:
            worker.phase = Phase.STARTING
            self._do(c.SetTimer(Timer("start", event.worker), worker.site.limits.start))

    def _take_ready(self, event: e.WorkerReady) -> Worker | None:
        worker = self.workers.get(event.worker)
        if worker is None or worker.phase is Phase.LEAVING:
            return None  # it was told to go before it could say so
        worker.phase = Phase.READY
        self.is_asgi = event.is_asgi
        self.history = self.history.with_success()
        self._do(c.CancelTimer(Timer("start", event.worker)))
        return worker

    def _ready_starting(self, event: e.WorkerReady, now: float) -> State | None:
        """The first that is ready makes the site serve."""
        worker = self._take_ready(event)
        if worker is None:
            return None
        self.serving = worker.generation
        self.failure = None
        return State.SERVING

    def _ready_serving(self, event: e.WorkerReady, now: float) -> State | None:
        """One more; the last that a successor needs makes it take over."""
        worker = self._take_ready(event)
        is_successor = worker is not None and worker.generation == self.successor
        if is_successor and not self._of(self.successor, Phase.ORDERED, Phase.STARTING):
            self._take_over()
        return None

    def _take_over(self) -> None:
        """The successor is complete: from now on it serves, and all others leave."""
        self.serving, self.successor = self.successor, 0
        self.failure = None
        for number, worker in list(self.workers.items()):
            if worker.generation != self.serving:
                self._drain(number)
        if self.is_reload_pending:
            self.is_reload_pending = False
            self.successor = self._begin_generation()

    def _adopted(self, event: e.WorkersAdopted, now: float) -> State:
        """Go on where an earlier manager stopped.

        The newest generation that is ready serves, a newer one that is starting is its successor, and the others leave.
        """
        for adopted in event.workers:
            self.workers[adopted.number] = Worker(adopted.generation, self.site, adopted.phase)
            self.next_worker = max(self.next_worker, adopted.number + 1)
            self.generation = max(self.generation, adopted.generation)
            self.is_asgi = self.is_asgi or adopted.is_asgi
            if adopted.phase is Phase.STARTING:
                self._do(c.SetTimer(Timer("start", adopted.number), self.site.limits.start))
            elif adopted.phase is Phase.LEAVING:
                self._do(c.SetTimer(Timer("drain", adopted.number), self.site.limits.drain))
        self.serving = self._newest(Phase.READY)
        coming = self._newest(Phase.ORDERED, Phase.STARTING)
        if self.serving:
            self.successor = coming if coming > self.serving else 0
        for number, worker in list(self.workers.items()):
            if worker.generation not in (self.serving or coming, self.successor):
                self._drain(number)
        if not self.serving and not coming:
            return self._rest()
        state = State.SERVING if self.serving else State.STARTING
        return self._replace(state) if event.is_outdated else state

    def _failed_starting(self, event: e.WorkerFailed | e.WorkerExited, now: float) -> State | None:
        """The last of the first workers that fails makes the site failed."""
        if not self._was_starting(event):
            return None
        self.failure = event.failure
        if self._count(Phase.ORDERED, Phase.STARTING):
            return None  # another of them may still make it
        self.history = self.history.with_failed_start(now)
        return self._fail(event.failure)

    def _failed_serving(self, event: e.WorkerFailed, now: float) -> State | None:
        """A successor, or one more worker, could not start: what serves goes on."""
        worker = self.workers.get(event.worker)
        if self._was_starting(event) and worker is not None:
            self._lose_start(worker.generation, event.failure, now)
        return None

    def _was_starting(self, event: e.WorkerFailed | e.WorkerExited) -> bool:
        """Whether the event is the end of a start; the worker is then leaving, or gone."""
        worker = self.workers.get(event.worker)
        if worker is None:
            return False
        was_starting = worker.phase in (Phase.ORDERED, Phase.STARTING)
        self._do(c.CancelTimer(Timer("start", event.worker)))
        if isinstance(event, e.WorkerExited):
            self._forget(event.worker)
        elif was_starting:
            worker.phase = Phase.LEAVING
            self._do(c.SetTimer(Timer("kill", event.worker), ABORT_SECONDS))
        return was_starting

    def _forget(self, number: int) -> None:
        del self.workers[number]
        self._do(c.CancelTimer(Timer("drain", number)), c.CancelTimer(Timer("kill", number)))

    def _lose_start(self, generation: int, failure: Failure, now: float) -> None:
        """A start failed while the site serves: what serves goes on."""
        self.failure = failure
        if generation != self.successor:
            self.grow_after = now + GROW_PAUSE
            return
        for number in self._of(generation, Phase.ORDERED, Phase.STARTING, Phase.READY):
            self._drain(number)
        self.successor = 0
        if self.is_reload_pending:
            self.is_reload_pending = False
            self.successor = self._begin_generation()

    def _exited_serving(self, event: e.WorkerExited, now: float) -> State | None:
        """A worker that served or was starting is gone: replace it, fall back on what is left, or give up for a while."""
        worker = self.workers.get(event.worker)
        if worker is None:
            return None
        was_ready = worker.phase is Phase.READY
        if self._was_starting(event):
            self._lose_start(worker.generation, event.failure, now)
            return None
        if not was_ready:
            return None
        self.history = self.history.with_death(now)
        self.failure = event.failure
        if worker.generation == self.successor:
            self._lose_start(worker.generation, event.failure, now)
        if self.history.is_too_much:
            self.grow_after = now + self.history.pause
        ready = self._of(self.serving, Phase.READY)
        if ready:
            coming = self._count(Phase.ORDERED, Phase.STARTING)
            if len(ready) + coming < self.site.workers.min and now >= self.grow_after:
                self._order_worker(self.serving, self.workers[ready[0]].site)
            return None
        if self._of(self.successor, Phase.READY):
            self._take_over()
            return None
        newest = self._newest(Phase.ORDERED, Phase.STARTING)
        if newest:
            if self.is_reload_pending:
                return self._restart()  # what is starting is out of date already
            for number in self._numbers(Phase.ORDERED, Phase.STARTING):
                if self.workers[number].generation != newest:
                    self._abandon(number)
            self._serve_nothing()
            return State.STARTING
        if self.history.is_too_much:
            return self._fail(event.failure)
        return self._sleep_or_run()

    def _exited_leaving(self, event: e.WorkerExited, now: float) -> State | None:
        """In a state where all workers are leaving."""
        if event.worker not in self.workers:
            return None
        self._forget(event.worker)
        if self.workers or self.state is not State.DRAINING:
            return None
        if self.is_removed:
            self._do(c.Discard())
            return None
        return State.COLD  # the queue is watched already

    def _measured(self, event: e.LoadMeasured, now: float) -> State | None:
        """Have as many workers as the load wants."""
        options = self.site.workers
        self.peak = self.peak.with_busy(event.busy, now, max(options.idle, 1.0))
        ready = self._of(self.serving, Phase.READY)
        if self.successor or self._count(Phase.ORDERED, Phase.STARTING):
            return None
        wanted = wanted_workers(
            options,
            is_asgi=self.is_asgi,
            workers=len(ready),
            busy=event.busy,
            is_waiting=event.is_waiting,
            idle_for=event.idle_for,
            peak=self.peak,
        )
        if wanted > len(ready) and now >= self.grow_after:
            self._order_worker(self.serving, self.workers[ready[0]].site)
        for number in ready[: len(ready) - wanted] if wanted < len(ready) else ():
            self._drain(number)
        return self._rest() if wanted == 0 else None

    def _elapsed(self, event: e.TimeElapsed, now: float) -> State | None:
        """A timer of a worker; one whose worker has moved on means nothing."""
        number = event.timer.worker
        worker = self.workers.get(number)
        if worker is None:
            return None
        if event.timer.kind == "start" and worker.phase is Phase.STARTING:
            reason = f"it did not say that it is ready within {worker.site.limits.start:g} s (limits.start)"
            self._do(
                c.KillWorker(number, signal.SIGABRT, reason),  # faulthandler writes the stacks to the error log
                c.SetTimer(Timer("kill", number), ABORT_SECONDS),
            )
        elif event.timer.kind in ("drain", "kill"):
            self._do(c.KillWorker(number, signal.SIGKILL))
        return None

    def _elapsed_failed(self, event: e.TimeElapsed, now: float) -> State | None:
        """The pause is over: the site may be tried again."""
        if event.timer.kind != "retry":
            return self._elapsed(event, now)
        return self._sleep_or_run()

    def _reload(self, event: e.ReloadOrdered, now: float) -> State:
        """A new generation, beside the one that serves if there is one."""
        return self._replace(self.state)

    def _replace(self, state: State) -> State:
        """What runs or starts is out of date: bring up the site as it is now, beside what serves."""
        if self.site.app is None:
            self._drain_all()
            return self._rest()
        if state is State.STARTING:
            return self._restart()
        if self.successor:
            self.is_reload_pending = True
        else:
            self.successor = self._begin_generation()
        return state

    def _restart(self) -> State:
        """Nobody serves, and what is starting is out of date."""
        for number in self._numbers(Phase.ORDERED, Phase.STARTING):
            self._abandon(number)
        return self._start_anew()

    def _changed(self, event: Any, now: float) -> State:
        """Failed, stopped or asleep, and there is a reason to start now."""
        self.history = History()
        return self._wake()

    def _stopped(self, event: e.StopOrdered, now: float) -> State | None:
        """Close the door, let the workers finish, answer those who wait."""
        if self.is_removed:
            return None  # it is on its way out
        self.failure = None
        self._do(c.UnwatchQueue(), c.UnwatchCode(), c.CancelTimer(Timer("retry")), c.CloseDoor(None))
        self._drain_all()
        self._do(c.TurnAway(None))
        return State.DISABLED


def needs_new_workers(old: Site, new: Site) -> bool:
    """Whether a change of the site's file means something to workers that run already."""
    return old.for_workers != new.for_workers


Decision = Callable[[SiteMachine, Any, float], State | None]


def IGNORED(machine: SiteMachine, event: Any, now: float) -> None:  # noqa: N802
    """Nothing is to be done about this event in this state."""


def IMPOSSIBLE(machine: SiteMachine, event: Any, now: float) -> None:  # noqa: N802
    """This event cannot happen in this state: it is a bug if it does."""
    raise Bug(f"site {machine.site.name}: {type(event).__name__} in state {machine.state.value}")


M = SiteMachine
TABLE: dict[tuple[State, type], Decision] = {
    (State.COLD, e.Configured): M._configured,
    (State.COLD, e.Removed): M._removed,
    (State.COLD, e.RequestArrived): M._requested,
    (State.COLD, e.WorkerForked): IMPOSSIBLE,
    (State.COLD, e.WorkerReady): IMPOSSIBLE,
    (State.COLD, e.WorkersAdopted): M._adopted,
    (State.COLD, e.WorkerFailed): IMPOSSIBLE,
    (State.COLD, e.WorkerExited): IMPOSSIBLE,
    (State.COLD, e.LoadMeasured): IGNORED,
    (State.COLD, e.TimeElapsed): IGNORED,
    (State.COLD, e.ReloadOrdered): IGNORED,  # the next start loads what is there then
    (State.COLD, e.StartOrdered): M._changed,
    (State.COLD, e.StopOrdered): M._stopped,
    (State.COLD, e.TurnedAway): IGNORED,
    #
    (State.STARTING, e.Configured): M._configured_running,
    (State.STARTING, e.Removed): M._removed,
    (State.STARTING, e.RequestArrived): IGNORED,
    (State.STARTING, e.WorkerForked): M._forked,
    (State.STARTING, e.WorkerReady): M._ready_starting,
    (State.STARTING, e.WorkersAdopted): IMPOSSIBLE,
    (State.STARTING, e.WorkerFailed): M._failed_starting,
    (State.STARTING, e.WorkerExited): M._failed_starting,
    (State.STARTING, e.LoadMeasured): IGNORED,
    (State.STARTING, e.TimeElapsed): M._elapsed,
    (State.STARTING, e.ReloadOrdered): M._reload,
    (State.STARTING, e.StartOrdered): IGNORED,
    (State.STARTING, e.StopOrdered): M._stopped,
    (State.STARTING, e.TurnedAway): IGNORED,
    #
    (State.SERVING, e.Configured): M._configured_running,
    (State.SERVING, e.Removed): M._removed,
    (State.SERVING, e.RequestArrived): IGNORED,
    (State.SERVING, e.WorkerForked): M._forked,
    (State.SERVING, e.WorkerReady): M._ready_serving,
    (State.SERVING, e.WorkersAdopted): IMPOSSIBLE,
    (State.SERVING, e.WorkerFailed): M._failed_serving,
    (State.SERVING, e.WorkerExited): M._exited_serving,
    (State.SERVING, e.LoadMeasured): M._measured,
    (State.SERVING, e.TimeElapsed): M._elapsed,
    (State.SERVING, e.ReloadOrdered): M._reload,
    (State.SERVING, e.StartOrdered): IGNORED,
    (State.SERVING, e.StopOrdered): M._stopped,
    (State.SERVING, e.TurnedAway): IGNORED,
    #
    (State.DRAINING, e.Configured): M._configured,
    (State.DRAINING, e.Removed): M._removed,
    (State.DRAINING, e.RequestArrived): M._requested,
    (State.DRAINING, e.WorkerForked): IGNORED,  # it was told to leave before it was forked
    (State.DRAINING, e.WorkerReady): IGNORED,
    (State.DRAINING, e.WorkersAdopted): IMPOSSIBLE,
    (State.DRAINING, e.WorkerFailed): IGNORED,
    (State.DRAINING, e.WorkerExited): M._exited_leaving,
    (State.DRAINING, e.LoadMeasured): IGNORED,
    (State.DRAINING, e.TimeElapsed): M._elapsed,
    (State.DRAINING, e.ReloadOrdered): IGNORED,
    (State.DRAINING, e.StartOrdered): M._requested,
    (State.DRAINING, e.StopOrdered): M._stopped,
    (State.DRAINING, e.TurnedAway): IGNORED,
    #
    (State.FAILED, e.Configured): M._configured,
    (State.FAILED, e.Removed): M._removed,
    (State.FAILED, e.RequestArrived): M._requested_closed,
    (State.FAILED, e.WorkerForked): IGNORED,
    (State.FAILED, e.WorkerReady): IGNORED,
    (State.FAILED, e.WorkersAdopted): IMPOSSIBLE,
    (State.FAILED, e.WorkerFailed): IGNORED,
    (State.FAILED, e.WorkerExited): M._exited_leaving,
    (State.FAILED, e.LoadMeasured): IGNORED,
    (State.FAILED, e.TimeElapsed): M._elapsed_failed,
    (State.FAILED, e.ReloadOrdered): M._changed,
    (State.FAILED, e.StartOrdered): M._changed,
    (State.FAILED, e.StopOrdered): M._stopped,
    (State.FAILED, e.TurnedAway): M._turned_away,
    #
    (State.DISABLED, e.Configured): M._configured,
    (State.DISABLED, e.Removed): M._removed,
    (State.DISABLED, e.RequestArrived): M._requested_closed,
    (State.DISABLED, e.WorkerForked): IGNORED,
    (State.DISABLED, e.WorkerReady): IGNORED,
    (State.DISABLED, e.WorkersAdopted): IMPOSSIBLE,
    (State.DISABLED, e.WorkerFailed): IGNORED,
    (State.DISABLED, e.WorkerExited): M._exited_leaving,
    (State.DISABLED, e.LoadMeasured): IGNORED,
    (State.DISABLED, e.TimeElapsed): M._elapsed,
    (State.DISABLED, e.ReloadOrdered): IGNORED,
    (State.DISABLED, e.StartOrdered): M._changed,
    (State.DISABLED, e.StopOrdered): IGNORED,
    (State.DISABLED, e.TurnedAway): M._turned_away,
}
