"""Looking at what runs: the scoreboards and queues of the sites that are awake, ten times a second.

The hard part is to cost nothing when nothing happens. The clock stands still when no site is awake, and a site that was
found with nothing running is left alone for some looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from hostel.machine import events as e
from hostel.machine.pool import Load
from hostel.machine.wear import Wear, reason_to_replace
from hostel.manager.budget import Purse
from hostel.manager.health import Health
from hostel.manager.site import ManagedSite
from hostel.manager.worker import ManagedWorker

TICK = 0.1  # seconds between looks
QUIET_TICKS = 3  # so many looks are left out after one that found nothing running


class LoadMeter:
    """Tells the sites that are awake what their load is."""

    def __init__(
        self,
        sites: Mapping[str, ManagedSite],
        purse: Purse,
        health: Health,
        dispatch: Callable[[str, e.Event], None],
    ) -> None:
        self._sites = sites
        self._health = health
        self._purse = purse
        self._dispatch = dispatch
        self._loop = asyncio.get_running_loop()
        self._awake: set[str] = set()
        self._ticker: asyncio.TimerHandle | None = None

    def wake(self, managed: ManagedSite) -> None:
        """The site serves: look at it from now on."""
        managed.last_active = managed.looked_at = self._loop.time()
        managed.quiet = 0
        self._awake.add(managed.name)
        if self._ticker is None:
            self._ticker = self._loop.call_later(TICK, self._tick)

    def rest(self, name: str) -> None:
        """The site does not serve any more."""
        self._awake.discard(name)

    def _tick(self) -> None:
        for name in list(self._awake):
            managed = self._sites.get(name)
            if managed is not None:
                self._look(managed)
        self._purse.weigh_next()
        self._ticker = self._loop.call_later(TICK, self._tick) if self._awake else None

    def _look(self, managed: ManagedSite) -> None:
        if managed.quiet:
            managed.quiet -= 1
            return
        now = self._loop.time()
        running, served, occupied, is_full = 0, managed.served_before, 0.0, True
        limits, worn = managed.machine.site.limits, None
        free: list[ManagedWorker] = []
        for worker in list(managed.workers.values()):
            if worker.phase == "ready":
                reading = worker.reading()
                self._health.look(managed, worker, reading)
                if reading.busy or reading.served != worker.seen:
                    worker.used_at, worker.seen = now, reading.served
                    self._purse.used(worker)
                running += reading.busy
                served += reading.served
                share = worker.share(reading)
                occupied += share
                is_full = is_full and share >= 1
                reason = reason_to_replace(
                    limits, worker.number, Wear(reading.served, now - worker.ready_at, worker.memory)
                )
                if reason:
                    worn = e.WorkerWornOut(worker.number, reason)
                if share < 1:
                    free.append(worker)
            elif worker.phase == "leaving":
                self._health.look(managed, worker, worker.reading())
        if running or served != managed.served:
            managed.last_active = now
        else:
            managed.quiet = QUIET_TICKS
        if free and self._health.listen(managed, free):
            managed.quiet = 0
        waiting = managed.waiting if is_full else 0
        pace = max(0, served - managed.served) / max(now - managed.looked_at, TICK / 2)
        managed.served, managed.looked_at = served, now
        load = Load(running, occupied, waiting, pace, now - managed.last_active)
        self._dispatch(managed.name, e.LoadMeasured(load))
        if worn is not None:
            self._dispatch(managed.name, worn)
