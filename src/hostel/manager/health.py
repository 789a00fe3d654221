"""Looking after workers that do not get on: requests that take too long, and workers that take none.

The decisions are in ``machine/health.py``; this looks at the scoreboards, sends the signals, and writes what an owner wants
to know into the error log: which request, its id, its age, and the stack of every thread.

The hard part is the answer to the client of a request whose worker is killed. Its connection ends without a word, for
which the front says 502. So the site gets a mark in the run tree just before, which makes that a 504.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from hostel.machine import events as e
from hostel.machine.health import DEAF, Step
from hostel.manager.site import ManagedSite
from hostel.manager.worker import ManagedWorker, describe, view_of_request
from hostel.manager.workers import Workers
from hostel.options.tables import LimitOptions
from hostel.wire import Beat
from hostel.worker.scoreboard import BEAT, OVERDUE, Reading, Request
from hostel.worker.stuck import INTERRUPT, STACKS

LATE_SECONDS = 1.0  # for the front to hear of a connection that has ended
LOOK_SECONDS = 2.0  # between two looks at the queue of a site that has free workers


class Health:
    """Asked to look at each worker that may run something, ten times a second while it does."""

    def __init__(
        self,
        workers: Workers,
        dispatch: Callable[[str, e.Event], None],
        log: Callable[[ManagedSite, str], None],
    ) -> None:
        self._workers = workers
        self._dispatch = dispatch
        self._log = log
        self._loop = asyncio.get_running_loop()

    # --- requests that take too long ----------------------------------------------------------------------------------

    def look(self, managed: ManagedSite, worker: ManagedWorker, reading: Reading) -> None:
        """See whether a worker has requests that are too old, and take the next step."""
        limits = limits_of(managed, worker)
        now = self._loop.time()
        if not worker.case.told and not 0 < reading.oldest < now - limits.request:
            return
        running = [request for request in worker.requests() if request.is_running]
        begins = [request.began for request in running if request.began]
        worker.case, step = worker.case.after(begins, reading.busy, int(worker.field(OVERDUE)), limits.request, now)
        if step is Step.INTERRUPT:
            self._workers.signal(worker, INTERRUPT)
        elif step is Step.SHOW:
            self._show(managed, worker, running, now, limits)
        elif step is Step.KILL:
            self._mark_late(managed)
            what = " and ".join(describe(view_of_request(each, now)) for each in running)
            reason = f"worker {worker.tag} was stuck in {what} (limits.request is {limits.request:g} s)"
            self._kill(managed, worker, reason, "the error log has the stack of every thread")

    def _show(
        self, managed: ManagedSite, worker: ManagedWorker, running: list[Request], now: float, limits: LimitOptions
    ) -> None:
        stuck = " and ".join(
            describe(view_of_request(each, now)) for each in running if 0 < each.began < now - limits.request
        )
        text = (
            f"worker {worker.tag}, pid {worker.pid}, is stuck in {stuck}, which did not end when it was interrupted "
            f"(limits.request is {limits.request:g} s); the stack of every thread follows"
        )
        self._log(managed, text)
        self._workers.signal(worker, STACKS)
        self._dispatch(managed.name, e.WorkerWornOut(worker.number, f"while it was stuck in {stuck}"))

    def _mark_late(self, managed: ManagedSite) -> None:
        tree = managed.surroundings.tree
        with contextlib.suppress(OSError):  # then it is a 502
            tree.expect_late(managed.name)
        self._loop.call_later(LATE_SECONDS, tree.expect_nothing, managed.name)

    # --- workers that take no request ---------------------------------------------------------------------------------

    def listen(self, managed: ManagedSite, free: list[ManagedWorker]) -> bool:
        """See whether somebody waits although these workers are free; whether to look again soon."""
        now = self._loop.time()
        is_asking = any(worker.pulse.asked_at for worker in free)
        if not is_asking and now < managed.listened_at + LOOK_SECONDS:
            return False
        managed.listened_at = now
        is_suspicious = managed.waiting > 0
        for worker in free:
            patience = max(DEAF, limits_of(managed, worker).request) if worker.reading().busy else DEAF
            worker.pulse, step = worker.pulse.after(
                is_suspicious=is_suspicious, sign_at=worker.field(BEAT), patience=patience, now=now
            )
            if step is Step.INTERRUPT:
                worker.send(Beat())
            elif step is Step.KILL:
                is_blocked = not is_stopped(worker.pid)
                why = "its event loop or its main thread is blocked" if is_blocked else "it is stopped (SIGSTOP)"
                reason = f"worker {worker.tag} has not answered for {patience:g} s, while a request waited: {why}"
                self._workers.signal(worker, STACKS)
                self._kill(managed, worker, reason, "see what the application does outside of requests")
        return is_suspicious

    def _kill(self, managed: ManagedSite, worker: ManagedWorker, reason: str, hint: str) -> None:
        self._dispatch(managed.name, e.WorkerStuck(worker.number, worker.make_failure(reason, hint)))


def limits_of(managed: ManagedSite, worker: ManagedWorker) -> LimitOptions:
    """The limits that a worker was made with."""
    found = managed.machine.workers.get(worker.number)
    return (found.site if found is not None else managed.machine.site).limits


def is_stopped(pid: int) -> bool:
    """Whether a process has been stopped by a signal (proc_pid_stat(5))."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "Tt"
    except (OSError, IndexError):
        return False
