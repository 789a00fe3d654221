"""What a site decides when something happens: a method for each kind of answer, named by the table in ``site``.

Each takes the event and the time, appends commands, and returns the new state, or None to stay.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from hostel.errors import Bug
from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Timer
from hostel.machine.events import Phase
from hostel.machine.journey import Failure
from hostel.machine.moves import Moves, Worker
from hostel.machine.restart import History
from hostel.machine.state import State
from hostel.options.site import Site

ABORT_SECONDS = 2.0  # for a worker that is to die with its stack in the log, before it dies without
GROW_PAUSE = 10.0  # after a worker of a serving site failed to start


class Decisions(Moves):
    """All decisions about one site."""

    __slots__ = ()

    def configured(self, event: e.Configured, now: float) -> State | None:
        """Asleep: the next start takes the new file."""
        self.site = event.site
        self.is_removed = False
        self._do(c.Publish(event.site))
        if self.state is State.FAILED:
            return self.changed(event, now)
        if self.state is State.DISABLED or (self.state is State.PAUSED and event.site.app is not None):
            return None
        return self._sleep_or_run()

    def configured_running(self, event: e.Configured, now: float) -> State | None:
        """Awake: new routes hold at once; what only a new worker can take up needs a new generation."""
        is_same = not needs_new_workers(self.site, event.site)
        self.site = event.site
        self._do(c.Publish(event.site))
        if is_same:
            return None
        return self._replace(self.state)

    def removed(self, event: e.Removed, now: float) -> State:
        """Route nothing to the site any more, let its workers finish, and forget it."""
        self.is_removed = True
        self._do(c.Withdraw(), c.UnwatchQueue())
        self._drain_all()
        return self._rest()

    def requested(self, event: e.RequestArrived | e.StartOrdered, now: float) -> State | None:
        """Start, unless the site is on its way out."""
        return None if self.is_removed else self._wake()

    def requested_closed(self, event: e.RequestArrived, now: float) -> None:
        """The door is closed, but somebody was through it already."""
        self._do(c.TurnAway(self.failure if self.state is State.FAILED else None))

    def turned_away(self, event: e.TurnedAway, now: float) -> None:
        """Look out for the next who comes through."""
        self._do(c.WatchQueue())

    def forked(self, event: e.WorkerForked, now: float) -> None:
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

    def ready_starting(self, event: e.WorkerReady, now: float) -> State | None:
        """The first that is ready makes the site serve."""
        worker = self._take_ready(event)
        if worker is None:
            return None
        self.serving = worker.generation
        self.failure = None
        return State.SERVING

    def ready_serving(self, event: e.WorkerReady, now: float) -> State | None:
        """One more; the last that a successor needs makes it take over."""
        worker = self._take_ready(event)
        if worker is None:
            return None
        if worker.replaces and worker.replaces in self._of(worker.generation, Phase.READY):
            self.replaced = f"worker {worker.generation}.{worker.replaces} {worker.reason}"
            self._drain(worker.replaces)
        is_successor = worker.generation == self.successor
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

    def adopted(self, event: e.WorkersAdopted, now: float) -> State:
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

    def failed_starting(self, event: e.WorkerFailed | e.WorkerExited, now: float) -> State | None:
        """The last of the first workers that fails makes the site failed."""
        if not self._was_starting(event):
            return None
        self.failure = event.failure
        if self._count(Phase.ORDERED, Phase.STARTING):
            return None  # another of them may still make it
        self.history = self.history.with_failed_start(now)
        return self._fail(event.failure, now)

    def failed_serving(self, event: e.WorkerFailed, now: float) -> State | None:
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

    def exited_serving(self, event: e.WorkerExited, now: float) -> State | None:
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
        return self._go_on_without(worker, event.failure, now)

    def _go_on_without(self, worker: Worker, failure: Failure, now: float) -> State | None:
        """A worker does not serve any more, and was not told to leave."""
        self.failure = failure
        if worker.generation == self.successor:
            self._lose_start(worker.generation, failure, now)
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
            return self._fail(failure, now)
        return self._sleep_or_run()

    def stuck(self, event: e.WorkerStuck, now: float) -> None:
        """End it: it would not leave by itself."""
        if event.worker in self.workers:
            self._do(c.KillWorker(event.worker, signal.SIGKILL, event.failure.reason))

    def stuck_serving(self, event: e.WorkerStuck, now: float) -> State | None:
        """End it, and go on with the others, or with a new one. That counts for the site's health, but as no death: it takes
        long enough by itself."""
        self.stuck(event, now)
        worker = self.workers.get(event.worker)
        if worker is None or worker.phase is not Phase.READY:
            return None
        worker.phase = Phase.LEAVING
        return self._go_on_without(worker, event.failure, now)

    def exited_leaving(self, event: e.WorkerExited, now: float) -> State | None:
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

    def measured(self, event: e.LoadMeasured, now: float) -> State | None:
        """Have as many workers as the pool wants. A reload leaves it as it is."""
        if self.successor:
            return None
        ready = self._of(self.serving, Phase.READY)
        starting, ordered = (
            [number for number in self._of(self.serving, phase) if not self._is_beside(number)]
            for phase in (Phase.STARTING, Phase.ORDERED)
        )
        self.pool = self.pool.after(
            event.load, self.site.workers, now, ready=len(ready), starting=len(starting), ordered=len(ordered)
        )
        surplus = len(ready) + len(starting) + len(ordered) - self.pool.wanted
        if surplus < 0 and now >= self.grow_after:
            for _ in range(-surplus):
                self._order_worker(self.serving, self.workers[ready[0]].site)
        elif not self.pool.wanted:
            self._drain_all()
            return self._rest()
        else:
            for number in [*reversed(ordered), *(() if starting else ready)][: max(0, surplus)]:
                self._drain(number)
        return None

    def _is_beside(self, number: int) -> bool:
        """Whether this worker is to take the place of one that is still there."""
        worker = self.workers[number]
        return worker.replaces in self.workers and worker.phase is not Phase.LEAVING

    def wore_out(self, event: e.WorkerWornOut, now: float) -> None:
        """Start another one beside it, unless one of the site is being replaced already; it leaves when that is ready."""
        is_held_up = self.successor or now < self.grow_after or any(map(self._is_beside, self.workers))
        if event.worker in self._of(self.serving, Phase.READY) and not is_held_up:
            worker = self.workers[event.worker]
            self._order_worker(self.serving, worker.site, event.worker, event.reason)

    def gave_way(self, event: e.PlaceClaimed, now: float) -> State | None:
        """Let a worker above the minimum leave; with the last one the site sleeps. What waits in the queue wakes it again."""
        ready = self._of(self.serving, Phase.READY)
        if self.successor or event.worker not in ready or len(ready) <= self.site.workers.min:
            return None
        if len(ready) > 1:
            self._drain(event.worker)
            return None
        self._drain_all()
        return self._rest()

    def elapsed(self, event: e.TimeElapsed, now: float) -> State | None:
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
        elif event.timer.kind == "drain":
            tag = f"{worker.generation}.{number}"
            reason = f"worker {tag} did not finish its requests within {worker.site.limits.drain:g} s (limits.drain)"
            self._do(c.KillWorker(number, signal.SIGABRT, reason), c.SetTimer(Timer("kill", number), ABORT_SECONDS))
        elif event.timer.kind == "kill":
            self._do(c.KillWorker(number, signal.SIGKILL))
        return None

    def elapsed_failed(self, event: e.TimeElapsed, now: float) -> State | None:
        """The pause is over: the site may be tried again."""
        if event.timer.kind != "retry":
            return self.elapsed(event, now)
        return self._sleep_or_run()

    def elapsed_paused(self, event: e.TimeElapsed, now: float) -> State | None:
        """The limit of the pause: the site goes on by itself."""
        if event.timer.kind != "resume":
            return self.elapsed(event, now)
        return self._sleep_or_run()

    def reload(self, event: e.ReloadOrdered, now: float) -> State:
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

    def changed(self, event: Any, now: float) -> State:
        """Failed, stopped or asleep, and there is a reason to start now."""
        self.history = History()
        return self._wake()

    def stopped(self, event: e.StopOrdered, now: float) -> State | None:
        """Close the door, let the workers finish, answer those who wait."""
        if self.is_removed:
            return None  # it is on its way out
        self.failure = None
        self._do(c.UnwatchQueue(), c.UnwatchCode(), c.CancelTimer(Timer("retry")), c.CancelTimer(Timer("resume")))
        self._do(c.CloseDoor(None))
        self._drain_all()
        self._do(c.TurnAway(None))
        return State.DISABLED

    def paused(self, event: e.PauseOrdered, now: float) -> State | None:
        """Let the workers finish, and whoever comes wait. A pause of a pause is counted from its own beginning."""
        if self.is_removed or self.site.app is None:
            return None  # it is on its way out, or nobody would wait for anything
        self._open_door()
        self._do(c.UnwatchQueue(), c.SetTimer(Timer("resume"), event.seconds))
        self._drain_all()
        self.resume_at = now + event.seconds
        return State.PAUSED


def needs_new_workers(old: Site, new: Site) -> bool:
    """Whether a change of the site's file means something to workers that run already."""
    return old.for_workers != new.for_workers


Decision = Callable[[Decisions, Any, float], State | None]


def IGNORED(machine: Decisions, event: Any, now: float) -> None:  # noqa: N802
    """Nothing is to be done about this event in this state."""


def IMPOSSIBLE(machine: Decisions, event: Any, now: float) -> None:  # noqa: N802
    """This event cannot happen in this state: it is a bug if it does."""
    raise Bug(f"site {machine.site.name}: {type(event).__name__} in state {machine.state.value}")
