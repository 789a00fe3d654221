"""The runner: the one place that acts. Events come in from everywhere, go through the sites' machines, and the commands
that come out are carried out here.

The hard part is order. An event is handled to its end before the next one, on the one thread there is; what a command
brings about at once (a worker that cannot even be ordered) comes back as an event of its own, later. Nothing here waits:
what takes time is somebody else's (the zygote's fork, the worker's import), and its end is an event.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import assert_never

from hostel.errors import Bug, HostelError, SiteError
from hostel.front.pages import Document
from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.journey import Failure
from hostel.machine.state import State
from hostel.manager.health import Health
from hostel.manager.link import SupervisorLink
from hostel.manager.load import LoadMeter
from hostel.manager.page import make_closed_page, make_document
from hostel.manager.queue import QueueMeter
from hostel.manager.runtree import RunTree
from hostel.manager.site import ManagedSite, Surroundings
from hostel.manager.sockets import QueueWatcher
from hostel.manager.stopped import StoppedSites
from hostel.manager.touch import ReloadFiles
from hostel.manager.workers import Workers
from hostel.options.server import ServerOptions
from hostel.options.site import Site
from hostel.plan import Plan, difference

LOGS_AT_ONCE = 20
RESTING = (State.COLD, State.DRAINING, State.DISABLED)  # the code is read anew at the next start
LOG_SECONDS = 0.002
TURNED_AT_ONCE = 250
TURN_SECONDS = 10.0


class Runner:
    """All sites of the server. ``watch_code`` is called when ``watched`` or ``reload_files`` have changed."""

    def __init__(
        self,
        options: ServerOptions,
        link: SupervisorLink,
        front_ids: tuple[int, int] | None,
        watch_code: Callable[[], None],
    ) -> None:
        self.options = options
        self.loop = asyncio.get_running_loop()
        queues = QueueWatcher(self._request_arrived, self._socket_broken)
        tree = RunTree(front_ids[1] if front_ids else None)
        self.surroundings = Surroundings(options, link, tree, queues, QueueMeter(), front_ids)
        self.sites: dict[str, ManagedSite] = {}
        self.workers = Workers(self.surroundings, self.sites, self.dispatch)
        self.load = LoadMeter(
            self.sites, self.workers.purse, Health(self.workers, self.dispatch, self.log), self.dispatch
        )
        self.plan = Plan()
        self.watched: dict[str, Failure] = {}  # failed sites, and what a change of which would mend
        self.reload_files = ReloadFiles()
        self.stopped = StoppedSites(os.path.join(options.state_dir, "stopped"))
        self.is_ending = False
        self._unturned: list[str] = []  # the sites whose logs have not been looked after in this round
        self._unready: deque[ManagedSite] = deque()
        self._watch_code = watch_code
        self.loop.add_reader(queues.fileno(), queues.report)

    # --- plan -> sites ----------------------------------------------------------------------------------------------

    def apply(self, plan: Plan) -> None:
        """Make the sites what the plan wants."""
        changes = difference(self.plan, plan)
        self.plan = plan
        self.surroundings.tree.owners = plan.owners
        for name in changes.removed:
            self.dispatch(name, e.Removed())
        for site in changes.changed:
            if site.name not in self.sites:
                self.add(ManagedSite(site, self.surroundings))
            self.dispatch(site.name, e.Configured(site))
        self.surroundings.link.flush()

    def add(self, managed: ManagedSite) -> None:
        """Take up a site. Its log is made ready when there is time, which keeps the start of many short."""
        self.sites[managed.name] = managed
        self._unready.append(managed)
        if len(self._unready) == 1:
            self.loop.call_later(LOG_SECONDS, self._prepare_logs)

    def _prepare_logs(self) -> None:
        for _ in range(min(LOGS_AT_ONCE, len(self._unready))):
            managed = self._unready.popleft()
            if self.sites.get(managed.name) is managed:
                managed.prepare_log()
        if self._unready:
            self.loop.call_later(LOG_SECONDS, self._prepare_logs)

    def turn_logs(self) -> None:
        """Look after the logs of some of the sites, and of the others later: of all within ``TURN_SECONDS``."""
        if not self._unturned:
            self._unturned = list(self.sites)
        for _ in range(min(len(self._unturned), TURNED_AT_ONCE)):
            managed = self.sites.get(self._unturned.pop())
            if managed is not None:
                try:
                    managed.log.turn_what_is_due(time.time())
                except OSError as error:
                    print(f"site={managed.name} cannot turn over its log: {error}", file=sys.stderr, flush=True)
        rounds = -(-len(self.sites) // TURNED_AT_ONCE) or 1
        self.loop.call_later(TURN_SECONDS / rounds, self.turn_logs)

    # --- events -> machine -> commands ------------------------------------------------------------------------------

    def dispatch(self, name: str, event: e.Event) -> None:
        """Let a site's machine handle an event, and do what it wants done. One site's trouble stays its own."""
        managed = self.sites.get(name)
        if managed is None:
            return
        machine = managed.machine
        state, failure, replaced = machine.state, machine.failure, machine.replaced
        serving = machine.serving
        if is_about_code(event, machine.site):
            managed.is_outdated = True
        try:
            commands = machine.handle(event, self.loop.time())
        except Bug:
            self._report_bug(name)
            return
        for command in commands:
            try:
                self._act(managed, command)
            except (
                HostelError,
                OSError,
            ) as error:  # what the other commands bring about has to be in step with the machine
                managed.is_torn = managed.is_torn or not isinstance(error, SiteError)
                self.log(managed, f"{error}")
            except Exception:
                self._report_bug(name)
        if managed.has_cache:
            self._forget_answers(managed, serving)
        if machine.state is not state:
            self._changed(managed, state)
        managed.remember()
        if machine.failure is not None and machine.failure is not failure:
            self.log(managed, f"problem {machine.failure.id}: {machine.failure.reason}")
        if machine.replaced is not replaced:
            managed.replaced_at = time.time()
            self.log(managed, f"replaced {machine.replaced}")

    def _forget_answers(self, managed: ManagedSite, serving: int) -> None:
        """Purge the cache for new code: when it takes over from the generation ``serving``, or begins to serve, so that until
        then the old answers are shown; at once when the site rests."""
        machine = managed.machine
        has_begun = machine.serving not in (0, serving)
        if (has_begun and (serving or managed.is_outdated)) or (managed.is_outdated and machine.state in RESTING):
            try:
                managed.purge_cache()
            except OSError as error:
                self.log(managed, f"cannot empty its cache: {error}")
            else:
                managed.is_outdated = False

    def mend(self, name: str, *, is_elsewhere: bool) -> None:
        """Put back what the run tree has lost of a site. Raises ``OSError`` or ``HostelError``."""
        managed = self.sites[name]
        is_new = managed.mend(is_elsewhere=is_elsewhere)
        if managed.is_closed:
            self._close_door(managed, managed.machine.failure)
        self.log(managed, "the run directory has it again")
        if is_new:  # nobody comes to the old socket any more
            self.dispatch(name, e.ReloadOrdered())

    def _report_bug(self, name: str) -> None:
        print(f"hostel: site={name} this is a bug in Hostel, please report it:", file=sys.stderr)
        traceback.print_exc()

    def _changed(self, managed: ManagedSite, before: State) -> None:
        state = managed.machine.state
        managed.since = time.time()
        text = f"{before.value} -> {state.value}"
        if state is State.FAILED:
            pause = managed.machine.resume_at - self.loop.time()
            text += f"; tried again in {pause:.0f} s; at once when its code or file changes; or: hostel start {managed.name}"
        self.log(managed, text)
        if state is State.SERVING:
            self.load.wake(managed)
        else:
            self.load.rest(managed.name)
        self._follow_files(managed)
        try:
            if state is State.DISABLED:
                self.stopped.add(managed.name)
            elif before is State.DISABLED and not self.is_ending:
                self.stopped.discard(managed.name)
        except HostelError as error:
            self.log(managed, f"{error}; {error.hint}")

    def _follow_files(self, managed: ManagedSite) -> None:
        """Have a site reload when a file is touched, if it runs or has tried to: another has nothing to reload."""
        machine = managed.machine
        is_followed = machine.site.reload_on and machine.state in (State.STARTING, State.SERVING, State.FAILED)
        if self.reload_files.follow(machine.site) if is_followed else self.reload_files.forget(managed.name):
            self._watch_code()

    def log(self, managed: ManagedSite, text: str) -> None:
        """One line for the server's log and the site's."""
        if not self.is_ending:
            print(f"site={managed.name} gen={managed.machine.generation} {text}", file=sys.stderr, flush=True)
            managed.log.write("hostel", [text])

    def _act(self, managed: ManagedSite, command: c.Command) -> None:
        match command:
            case c.StartWorker(worker, generation, site):
                self.workers.queue_start(managed, worker, generation, site)
            case c.DrainWorker(worker):
                self.workers.drain(managed, worker)
            case c.KillWorker(worker, number, reason):
                self.workers.kill(managed, worker, number, reason)
            case c.SetTimer(timer, seconds):
                self._set_timer(managed, timer, seconds)
            case c.CancelTimer(timer):
                if handle := managed.timers.pop(timer, None):
                    handle.cancel()
            case c.WatchQueue():
                managed.watch_queue()
            case c.UnwatchQueue():
                managed.unwatch_queue()
            case c.Publish(site):
                managed.publish(site)
                self._follow_files(managed)
            case c.Withdraw():
                if not self.is_ending:  # then all goes at once
                    managed.withdraw()
                    page = make_document("There is nothing here", "This site has been removed.")
                    self.workers.turn_away(managed, page, "@unknown")
            case c.Discard():
                self._discard(managed)
            case c.CloseDoor(failure):
                self._close_door(managed, failure)
            case c.OpenDoor():
                managed.open_door()
                self.workers.end_away(managed)
            case c.TurnAway(failure):
                self.workers.turn_away(managed, self._page(managed, failure))
            case c.WatchCode(failure):
                self.watched[managed.name] = failure
                self._watch_code()
            case c.UnwatchCode():
                if self.watched.pop(managed.name, None):
                    self._watch_code()
            case _:
                assert_never(command)

    def _discard(self, managed: ManagedSite) -> None:
        self.workers.end_away(managed)
        managed.discard(keep_tree=self.is_ending)
        self.load.rest(managed.name)
        is_other = self.reload_files.forget(managed.name)
        if self.watched.pop(managed.name, None) or is_other:
            self._watch_code()
        del self.sites[managed.name]

    def _close_door(self, managed: ManagedSite, failure: Failure | None) -> None:
        pause = managed.machine.history.pause if failure else 0.0
        managed.close_door(self._page(managed, failure), pause, is_stopped=failure is None)

    def _page(self, managed: ManagedSite, failure: Failure | None) -> Document:
        return make_closed_page(managed.name, failure, is_development=self.options.reload, retried_at=managed.resumes)

    # --- requests, time ---------------------------------------------------------------------------------------------

    def _request_arrived(self, name: str) -> None:
        self.dispatch(name, e.RequestArrived())

    def _socket_broken(self, name: str) -> None:
        managed = self.sites[name]
        self.log(managed, "the site has shut down its listening socket: making a new one")
        managed.renew_sockets()
        self.workers.kill_deaf(managed)

    def _set_timer(self, managed: ManagedSite, timer: c.Timer, seconds: float) -> None:
        if handle := managed.timers.pop(timer, None):
            handle.cancel()
        managed.timers[timer] = self.loop.call_later(seconds, self._elapsed, managed, timer)

    def _elapsed(self, managed: ManagedSite, timer: c.Timer) -> None:
        managed.timers.pop(timer, None)
        if self.sites.get(managed.name) is managed:
            self.dispatch(managed.name, e.TimeElapsed(timer))

    # --- the end ----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Let all workers finish and leave; ``is_quiet`` says when they have."""
        self.is_ending = True
        self.workers.starts.clear()
        for name in list(self.sites):
            self.dispatch(name, e.Removed())

    @property
    def is_quiet(self) -> bool:
        return not any(managed.workers for managed in self.sites.values())


def is_about_code(event: e.Event, site: Site) -> bool:
    """Whether a site may have other code, or is configured otherwise, from its next generation on."""
    if isinstance(event, e.Configured):
        return event.site.digest != site.digest
    return isinstance(event, (e.ReloadOrdered, e.PauseOrdered, e.StopOrdered))
