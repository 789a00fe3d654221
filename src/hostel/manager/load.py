"""Looking at what runs: the scoreboards and queues of the sites that are awake, ten times a second.

The hard part is to cost nothing when nothing happens. The clock stands still when no site is awake, and a site that was
found with nothing running is left alone for some looks.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Mapping

from hostel.machine import events as e
from hostel.machine.pool import Load
from hostel.machine.wear import Wear, reason_to_replace
from hostel.manager.budget import Purse
from hostel.manager.health import Health
from hostel.manager.site import ManagedSite
from hostel.manager.worker import ManagedWorker
from hostel.worker.scoreboard import Reading

TICK = 0.1  # seconds between looks
FULL_LOOP = 0.9  # the share of the time from which on an ASGI worker counts as full
IGNORED_SECONDS = 5.0  # a site that is woken by requests that do not count sleeps again after so long
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
        now = managed.looked_at = self._loop.time()
        options = managed.machine.site.workers
        # Who has woken it is not known. If it was nobody who counts, it soon sleeps again.
        managed.last_active = now - max(0.0, options.idle - IGNORED_SECONDS) if options.idle_ignore else now
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
            try:
                if managed is not None:
                    self._look(managed)
            except Exception:  # one site's trouble stays its own
                print(f"hostel: site={name} this is a bug in Hostel, please report it:", file=sys.stderr)
                traceback.print_exc()
        self._purse.look()
        self._ticker = self._loop.call_later(TICK, self._tick) if self._awake else None

    def _look(self, managed: ManagedSite) -> None:
        if managed.quiet:
            managed.quiet -= 1
            return
        now = self._loop.time()
        ready: list[tuple[ManagedWorker, Reading]] = []
        for worker in list(managed.workers.values()):
            if worker.phase in ("ready", "leaving"):
                reading = worker.reading()
                self._health.look(managed, worker, reading)
                if worker.phase == "ready":
                    ready.append((worker, reading))
                    self._notice(managed, worker, reading, now)
        if all(worker.used_at < now for worker, _ in ready):
            managed.quiet = QUIET_TICKS
        free = [worker for worker, reading in ready if worker.share(reading) < 1]
        if free and self._health.listen(managed, free):
            managed.quiet = 0
        self._dispatch(managed.name, e.LoadMeasured(self._measure(managed, ready, now)))
        for worker, reading in ready:
            wear = Wear(reading.served, now - worker.ready_at, worker.memory)
            if reason := reason_to_replace(managed.machine.site.limits, worker.number, wear):
                self._dispatch(managed.name, e.WorkerWornOut(worker.number, reason))

    def _notice(self, managed: ManagedSite, worker: ManagedWorker, reading: Reading, now: float) -> None:
        """Remember that a worker, and perhaps its site, is in use."""
        if reading.busy or reading.served != worker.seen:
            worker.used_at, worker.seen = now, reading.served
            self._purse.used(worker)
        if reading.using or reading.uses != worker.uses:
            managed.last_active, worker.uses = now, reading.uses

    def _measure(self, managed: ManagedSite, ready: list[tuple[ManagedWorker, Reading]], now: float) -> Load:
        """What all of it amounts to."""
        shares = [worker.share(reading) for worker, reading in ready]
        if not managed.machine.is_asgi:
            waiting = managed.waiting if min(shares, default=1) >= 1 else 0
        elif any(reading.busy for _, reading in ready):
            # Who waits within a full loop is not counted, and a loop that is blocked cannot say so: nobody accepts then.
            waiting = managed.waiting or int(min(shares) >= FULL_LOOP)
        else:
            waiting = 0
        served = managed.served_before + sum(reading.served for _, reading in ready)
        pace = max(0, served - managed.served) / max(now - managed.looked_at, TICK / 2)
        managed.served, managed.looked_at = served, now
        running = sum(reading.using for _, reading in ready)
        return Load(running, sum(shares), waiting, pace, now - managed.last_active)
