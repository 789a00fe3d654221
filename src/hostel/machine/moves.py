"""What one site consists of, and the moves that decisions are made of: each appends commands.

It must not know events: when which move is right is decided in ``decisions``.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from hostel.machine import commands as c
from hostel.machine.commands import Command, Timer
from hostel.machine.events import Phase
from hostel.machine.journey import Failure
from hostel.machine.pool import Pool
from hostel.machine.restart import HOST_PAUSE, History
from hostel.machine.state import State
from hostel.options.site import Site


@dataclass(slots=True)
class Worker:
    generation: int
    site: Site
    phase: Phase = Phase.ORDERED
    replaces: int = 0  # the worker that leaves when this one is ready
    reason: str = ""  # why


class Moves:
    """The fields of a site's machine, and what can be done with them."""

    __slots__ = (
        "_out", "failure", "generation", "grow_after", "history", "is_asgi", "is_reload_pending", "is_removed",
        "next_worker", "pool", "replaced", "resume_at", "serving", "site", "state", "successor", "workers",
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
        self.pool = Pool()
        self.replaced = ""  # which worker was replaced last, and why
        self.grow_after = 0.0
        self.resume_at = 0.0  # when a paused site goes on, or a failed one is tried again, by itself
        self._out: list[Command] = []

    def _do(self, *commands: Command) -> None:
        self._out.extend(commands)

    def _count(self, *phases: Phase) -> int:
        return sum(1 for worker in self.workers.values() if worker.phase in phases)

    def _of(self, generation: int, *phases: Phase) -> list[int]:
        return [n for n, w in self.workers.items() if w.generation == generation and w.phase in phases]

    def _order_worker(self, generation: int, site: Site, replaces: int = 0, reason: str = "") -> None:
        number, self.next_worker = self.next_worker, self.next_worker + 1
        self.workers[number] = Worker(generation, site, replaces=replaces, reason=reason)
        self._do(c.StartWorker(number, generation, site))

    def _begin_generation(self) -> int:
        """Order the first workers of a new generation, made from the site's file as it is now; its number.

        Beside others, they are as many as serve now: who takes over has to bear the same load.
        """
        self.generation += 1
        options, serving = self.site.workers, len(self._of(self.serving, Phase.READY)) if self.serving else 0
        for _ in range(max(1, options.min, min(serving, options.max))):
            self._order_worker(self.generation, self.site)
        return self.generation

    def _open_door(self) -> None:
        """Out of FAILED, DISABLED or PAUSED: take away what they have put in the way."""
        if self.state in (State.FAILED, State.DISABLED):
            self._do(c.UnwatchCode(), c.CancelTimer(Timer("retry")), c.OpenDoor())
        elif self.state is State.PAUSED:
            self._do(c.CancelTimer(Timer("resume")))

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

    def _fail(self, failure: Failure, now: float) -> State:
        """All that are left of its workers are leaving: let the front answer for a while."""
        self._serve_nothing()
        self.resume_at = now + self.history.pause
        self._do(
            c.CloseDoor(failure),
            c.WatchCode(failure),
            c.SetTimer(Timer("retry"), min(self.history.pause, HOST_PAUSE) if failure.is_hosts else self.history.pause),
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
