"""The machine's budget at work: which of the workers that were ordered may start, and who gives way to them.

The decisions are in ``machine/budget.py``; this collects what they are made from, and knows what memory workers take. That
is weighed one worker after the other, those that have done something since they were weighed last, because reading it costs
a thousand times more than a look at a scoreboard.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from hostel.api.views import BudgetView
from hostel.machine import events as e
from hostel.machine.budget import Budget, Claim, Held, Usage, choose_all, excess, has_room, need_of
from hostel.machine.events import Phase
from hostel.machine.state import State
from hostel.manager.memory import memory_of, resident_of
from hostel.manager.site import ManagedSite
from hostel.manager.worker import ManagedWorker
from hostel.options.capacity import WORKER_BYTES, budget_of
from hostel.options.server import ServerOptions
from hostel.options.site import Site

Start = tuple[ManagedSite, ManagedWorker, Site]

LEAVE_SECONDS = 1.0  # within which a worker that gives way is expected to be gone; then another one is asked
LOOK_SECONDS = 0.05  # between two looks for somebody to give way
RELIEF_SECONDS = 1.0  # between two looks whether the workers have outgrown the budget
AVERAGED = 16  # so many weighings, the last ones most, make what is typical
CHANGE = 1 / 16  # of what is resident: after less there is nothing to be weighed


class Purse:
    """What the workers of all sites may take together, and what they do."""

    def __init__(
        self, options: ServerOptions, sites: Mapping[str, ManagedSite], dispatch: Callable[[str, e.Event], None]
    ) -> None:
        self.budget = Budget(*budget_of(options))
        self._starts = options.starts
        self._sites = sites
        self._dispatch = dispatch
        self._loop = asyncio.get_running_loop()
        self._taken: set[ManagedWorker] = set()  # those that have been started and are not gone
        self._typical = WORKER_BYTES  # what a worker takes that has not been weighed
        self._waiting = 0
        self._looked_at = 0.0
        self._relieved_at = 0.0
        self._to_weigh: deque[ManagedWorker] = deque()

    def take(self, worker: ManagedWorker) -> None:
        """The worker is there, or about to be."""
        self._taken.add(worker)

    def give_back(self, worker: ManagedWorker) -> None:
        """The worker is gone."""
        self._taken.discard(worker)

    # --- who may start ----------------------------------------------------------------------------------------------

    def next_start(self, starts: deque[Start]) -> Start | None:
        """Take the next worker that may start out of those that wait.

        None when there is none, or no room: then somebody has been asked to leave, if anybody can be.
        """
        self._waiting = 0
        if not starts:
            return None
        usage = self.usage()
        if (
            usage.workers + len(starts) <= self.budget.workers
            and usage.memory + self._wish(starts) <= self.budget.memory
        ):
            start = starts.popleft()
        else:
            claims = sorted(((self._claim(start), start) for start in starts), key=lambda pair: pair[0].rank)
            claim, start = claims[0]
            if not has_room(self.budget, usage, claim):
                self._waiting = len(claims)
                self._make_room([claim for claim, _ in claims[: self._starts]])
                return None
            starts.remove(start)
        self.take(start[1])
        return start

    def usage(self) -> Usage:
        here = [self._sites[worker.site] for worker in self._taken if worker.site in self._sites]
        minima = sum(min(len(managed.workers), managed.machine.site.workers.min) for managed in set(here))
        memory = sum(worker.memory or self._estimate(worker.site) for worker in self._taken)
        return Usage(len(self._taken), memory, max(0, len(self._taken) - minima))

    def _wish(self, starts: deque[Start]) -> int:
        return sum(self._estimate(managed.name) for managed, _, _ in starts)

    def _estimate(self, site: str) -> int:
        """What a worker of a site will take: what its last one took, or what workers take in general."""
        managed = self._sites.get(site)
        return managed.memory if managed is not None and managed.memory else self._typical

    def _claim(self, start: Start) -> Claim:
        managed, worker, _ = start
        has = sum(one.phase is not Phase.LEAVING for one in managed.machine.workers.values()) - 1
        need = need_of(managed.machine, worker.number)
        return Claim(managed.name, need, worker.ordered_at, has, self._estimate(managed.name))

    # --- who gives way ----------------------------------------------------------------------------------------------

    def _make_room(self, claims: list[Claim]) -> None:
        """Ask a worker to leave for each claim, unless enough are leaving already."""
        now = self._loop.time()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        leaving = sum(1 for worker in self._taken if now - worker.left_at < LEAVE_SECONDS)
        held, counts, minima = self._held()
        for one in choose_all(claims[: max(0, len(claims) - leaving)], held, counts, minima, now):
            self._ask_to_leave(one)

    def _held(self) -> tuple[list[Held], dict[str, int], dict[str, int]]:
        """The workers that take requests, how many each of their sites has, and how many it has to have."""
        held, counts, minima = [], {}, {}
        for name in {worker.site for worker in self._taken}:
            managed = self._sites.get(name)
            if managed is None or managed.machine.state is not State.SERVING or managed.machine.successor:
                continue
            ready = [worker for worker in managed.workers.values() if worker.phase == "ready"]
            counts[name], minima[name] = len(ready), managed.machine.site.workers.min
            for worker in ready:
                reading = worker.reading()
                began = (reading.oldest or worker.used_at) if reading.busy else 0.0
                held.append(Held(name, worker.number, worker.used_at, worker.ready_at, began))
        return held, counts, minima

    def _ask_to_leave(self, one: Held) -> None:
        managed = self._sites[one.site]
        managed.log.write(
            "hostel", [f"worker {managed.workers[one.worker].tag} gives way: the machine has room for no more"]
        )
        self._dispatch(one.site, e.PlaceClaimed(one.worker))

    # --- what they take ---------------------------------------------------------------------------------------------

    def used(self, worker: ManagedWorker) -> None:
        """The worker has done something, which may have taken memory."""
        if not worker.is_to_weigh:
            worker.is_to_weigh = True
            self._to_weigh.append(worker)

    def look(self) -> None:
        """Weigh the next worker, and now and then see whether all have become too heavy; to be called at each tick."""
        while self._to_weigh:
            worker = self._to_weigh.popleft()
            worker.is_to_weigh = False
            if worker in self._taken:
                self._weigh(worker)
                break
        if self._loop.time() >= self._relieved_at + RELIEF_SECONDS:
            self._relieved_at = self._loop.time()
            self._relieve()

    def _weigh(self, worker: ManagedWorker) -> None:
        resident = resident_of(worker.pid)
        if abs(resident - worker.resident) <= worker.resident * CHANGE:
            return
        worker.resident, worker.memory = resident, memory_of(worker.pid)
        self._typical += (worker.memory - self._typical) // AVERAGED
        if worker.site in self._sites:
            self._sites[worker.site].memory = worker.memory

    def _relieve(self) -> None:
        """Workers have grown, or were owed: one that is at rest leaves when all together are beyond the budget."""
        usage = self.usage()
        if usage.memory > self.budget.memory or usage.workers > self.budget.workers:
            held, counts, minima = self._held()
            spare = [one for one in held if counts[one.site] > minima[one.site]]
            if one := excess(spare, self._loop.time()):
                self._ask_to_leave(one)

    def view(self, minimum: int) -> BudgetView:
        """What the status shows. ``minimum``: how many workers run always."""
        usage = self.usage()
        return BudgetView(
            workers=self.budget.workers,
            used_workers=usage.workers,
            memory=self.budget.memory,
            used_memory=usage.memory,
            minimum=minimum,
            waiting=self._waiting,
        )
