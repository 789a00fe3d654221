"""The workers' comings and goings: ordering them from their zygotes, hearing what they say, burying them.

The hard part is that four parties tell of one worker: its zygote (forked, ended), the worker itself (steps, ready,
failed), the supervisor (ended, when its zygote is dead), and the machine (drain, kill). Whatever the order in which
they speak, each worker that the machine ordered is reported to it as exited exactly once, and only ``_gone`` does that.
And any of them may die, hang or lie: a worker that its dead zygote had not forked is ordered again, so no request is lost;
an order that is not answered ends the zygote; and what a zygote says counts for its own workers only.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import math
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hostel.errors import HostelError, HostError, PeerError
from hostel.front.pages import Document
from hostel.machine import events as e
from hostel.machine.journey import Failure
from hostel.manager import order as orders
from hostel.manager.bare import BareEnvironments
from hostel.manager.budget import LOOK_SECONDS, Purse, Start
from hostel.manager.deaths import Deaths, MemoryWatch
from hostel.manager.groups import Groups
from hostel.manager.learned import LearnedModules
from hostel.manager.logs import escape_text
from hostel.manager.probe import PROBE, Probe
from hostel.manager.rooms import Room, Rooms
from hostel.manager.site import ManagedSite, Surroundings
from hostel.manager.worker import ManagedWorker, sentence_of
from hostel.manager.zygotes import Cell, Zygote, Zygotes
from hostel.options.check import identity_of
from hostel.options.python import settle_python
from hostel.options.site import Site
from hostel.sandbox.abilities import find_abilities
from hostel.sandbox.cgroups import Cgroups
from hostel.sandbox.site import quota_of, sandbox_of, trees_of
from hostel.wire import (
    Channel,
    Drain,
    Exited,
    Forked,
    ForkRefused,
    HttpSocket,
    Imported,
    InterfaceFound,
    KillWorker,
    Outdated,
    Ready,
    Spawned,
    SpawnFailed,
    StartFailed,
    StartWorker,
    Step,
    WorkerEnded,
)  # fmt: skip
from hostel.worker import scoreboard
from hostel.worker.main import NOT_YOURS

AWAY = 0  # the number of the worker that answers a closed site's queue
HANG_UP_PAUSE = 0.2
AWAY_PAUSE = 1.0  # before another is ordered, when one has answered nobody
ATTEMPTS = 3  # orders for one worker, when its zygotes die before they have forked it
FORK_SECONDS = 30.0  # for a zygote to fork, its own start included
PLACE_SECONDS = (
    20.0  # a start that takes longer gives its place to the next: its import hangs, or is not worth waiting for
)
ORPHAN_SECONDS = 1.0  # for the supervisor to report ends that a zygote has not lived to report


class Workers:
    """All workers of all sites. What happens to them is told to ``dispatch``."""

    def __init__(
        self, surroundings: Surroundings, sites: dict[str, ManagedSite], dispatch: Callable[[str, e.Event], None]
    ) -> None:
        self.surroundings = surroundings
        self.sites = sites
        self.dispatch = dispatch
        self.loop = asyncio.get_running_loop()
        learned = LearnedModules(os.path.join(surroundings.options.state_dir, "learned"))
        bare = BareEnvironments(os.path.join(surroundings.options.state_dir, "interpreters"))
        self.zygotes = Zygotes(learned, bare, surroundings.link, self._zygote_said)
        self.rooms = Rooms(surroundings.link)
        self.groups = Groups(Cgroups(trees_of(surroundings.options.run_dir)))
        find_abilities()  # before anybody waits for it
        self.starts: deque[Start] = deque()  # those that wait for their turn, or for room on this machine
        self.starting: set[ManagedWorker] = set()
        self.purse = Purse(surroundings.options, sites, dispatch)
        self._pumping: asyncio.TimerHandle | None = None
        self.probes: dict[str, Probe] = {}  # starts that are being measured, by site
        self.deaths = Deaths(os.path.join(surroundings.options.state_dir, "deaths"))
        self.memory = MemoryWatch()
        self._by_pid: dict[int, tuple[ManagedSite, ManagedWorker]] = {}

    def warm(self) -> None:
        """Have the zygote of Hostel's own environment ready before anybody asks for it."""
        self.zygotes.find(None)

    # --- starting ---------------------------------------------------------------------------------------------------

    def queue_start(self, managed: ManagedSite, number: int, generation: int, site: Site) -> None:
        """Order a worker as soon as fewer than the allowed number are starting on this machine."""
        worker = ManagedWorker(managed.name, number, generation, site.workers.threads)
        managed.workers[number] = worker
        self.starts.append((managed, worker, site))
        self.loop.call_soon(self._pump)

    def _pump(self) -> None:
        called_off = [one for one in self.starts if one[0].workers.get(one[1].number) is not one[1]]
        for one in called_off:
            self.starts.remove(one)
        while len(self.starting) < self.surroundings.options.starts:
            start = self.purse.next_start(self.starts)
            if start is None:
                self._pump_later()
                break
            managed, worker, site = start
            self.starting.add(worker)
            self.loop.call_later(PLACE_SECONDS, self._end_start, worker)
            self._try_order(managed, worker, site)

    def order_probe(self, managed: ManagedSite, worker: ManagedWorker) -> None:
        """Order the worker that is measured: at once, whatever else starts."""
        self._try_order(managed, worker, managed.machine.site)

    def _try_order(self, managed: ManagedSite, worker: ManagedWorker, site: Site) -> None:
        try:
            managed.prepare_log()
            self._order(managed, worker, site)
        except Exception as error:
            reason, hint = str(error), getattr(error, "hint", "")
            is_hosts = isinstance(error, (HostError, OSError))
            if not isinstance(error, (HostelError, OSError)):
                reason, hint = f"{type(error).__name__}: {error}", "this is a bug in Hostel, please report it"
                traceback.print_exc()
            failure = worker.make_failure(reason, hint, sources=(site.file,), is_hosts=is_hosts)
            self._gone(managed, worker, failure)

    def _room_answered(self, managed: ManagedSite, worker: ManagedWorker, site: Site, problem: str) -> None:
        """The room that a worker has waited for is ready, or cannot be made."""
        if self.find(managed.name, worker.number) != (managed, worker):
            return  # called off meanwhile
        if problem:
            hint = 'guard.level = "user" in the site file does without'
            self._gone(managed, worker, worker.make_failure(problem, hint))
        else:
            self._try_order(managed, worker, site)

    def _pump_later(self) -> None:
        """Somebody may give way soon, or become idle."""
        if self.starts and self._pumping is None:
            self._pumping = self.loop.call_later(LOOK_SECONDS, self._pump_again)

    def _pump_again(self) -> None:
        self._pumping = None
        self._pump()

    def _order(self, managed: ManagedSite, worker: ManagedWorker, site: Site, page: str = "", place: str = "") -> None:
        """Order a worker from its zygote.

        Raises ``SiteError`` or ``OSError`` when that is of no use; what the worker has been given then is closed with it.
        """
        if page:  # this is not the site's code, and its user may be what is wrong with the site
            site = replace(site, user=None, environment=None)
        identity = identity_of(site, self.surroundings.options)
        room = None
        if page:
            zygote = self.zygotes.find(None)
            order = orders.make_away_order(site, identity, page, place)
        else:
            options = self.surroundings.options
            site = settle_python(site, identity, options)
            state = orders.prepare(site, identity, options)
            sandbox = sandbox_of(site, identity, options)
            if sandbox.room:
                answer = functools.partial(self._room_answered, managed, worker, site)
                room = self.rooms.find(site.name, sandbox.room, answer)
                if room is None:
                    return  # it is ordered when the room is ready
                room.users.add(worker)
                worker.room = room.name
            self.groups.enter(site.name, quota_of(site), worker)
            cell = Cell(identity, sandbox.zygote, room, sandbox.has("processes")) if sandbox.zygote else None
            bare = ""
            if site.environment and not cell:
                bare = self.zygotes.find_bare(site.environment, functools.partial(self._is_shared, site.environment))
            zygote = self.zygotes.find(bare or site.environment, cell)
            order = orders.make_order(site, worker.number, worker.generation, identity, options, sandbox, state)
            if bare:
                order = order._replace(virtualenv=site.environment or "")
        probe = self.probes[managed.name] if worker.number == PROBE else None
        order = order._replace(has_http=managed.http >= 0 and probe is None, is_measured=probe is not None)
        with contextlib.ExitStack() as given:  # the zygote gets copies
            board = scoreboard.create(worker.slots)
            given.callback(os.close, board)
            ours, theirs = Channel.pair()
            given.callback(theirs.close)
            worker.channel = ours
            reader, writer = os.pipe()
            given.callback(os.close, writer)
            if os.geteuid() == 0:
                os.fchown(writer, identity.uid, identity.gid)  # an application may open /dev/stdout
            worker.digest = site.digest
            worker.uid = identity.uid
            self._send_order(managed, worker, zygote, order, (reader, theirs.fileno(), writer, board), room)
        self.loop.call_later(FORK_SECONDS, self._check_forked, worker, zygote)

    def _is_shared(self, environment: str) -> bool:
        """Whether several sites name an environment."""
        naming = (one for one in self.sites.values() if one.machine.site.environment == environment)
        return len(list(itertools.islice(naming, 2))) == 2

    def _send_order(
        self,
        managed: ManagedSite,
        worker: ManagedWorker,
        zygote: Zygote,
        order: StartWorker,
        descriptors: tuple[int, int, int, int],
        room: Room | None,
    ) -> None:
        reader, theirs, writer, board = descriptors
        assert worker.channel is not None
        worker.zygote = zygote
        worker.attempts += 1
        worker.has_http = order.has_http
        zygote.orders.add((worker.site, worker.number))
        zygote.ordered += 1
        worker.code = zygote.code
        self.listen_to(managed, worker, worker.channel, reader, board)
        if worker.number > AWAY:
            for name, descriptor in zip(worker.names(), (worker.channel.fileno(), reader, board), strict=True):
                self.surroundings.link.keep(name, descriptor, worker.note())
            self.surroundings.link.flush()
        probe = self.probes[managed.name] if worker.number == PROBE else None
        try:
            sockets = managed.sockets if probe is None else [probe.listener]
            lent = [sockets[0], theirs, writer, board, *sockets[1:]]
            if probe is not None:
                probe.is_new_zygote = not zygote.pid
                probe.moments["order"] = time.monotonic()
            zygote.channel.send(order, [*lent, *([room.descriptor] if room and order.has_room else [])])
        except (BrokenPipeError, ConnectionResetError):
            self.loop.call_soon(self._lose, zygote, "it died")

    def _check_forked(self, worker: ManagedWorker, zygote: Zygote) -> None:
        if worker.zygote is zygote and not worker.pid and (worker.site, worker.number) in zygote.orders:
            where = zygote.environment or sys.prefix
            print(f"hostel: the zygote of {where} does not fork: ending it", file=sys.stderr, flush=True)
            self.zygotes.kill(zygote)
            self._zygote_gone(zygote, f"it did not fork within {FORK_SECONDS:g} s", may_retry=False)

    def adopt(
        self, managed: ManagedSite, worker: ManagedWorker, descriptors: tuple[int, int, int], zygote: str
    ) -> None:
        """Go on with a worker that an earlier manager ordered. Takes over channel, log and scoreboard."""
        channel, log, board = descriptors
        self.listen_to(managed, worker, Channel.from_descriptor(channel), log, board)
        os.close(board)
        managed.workers[worker.number] = worker
        worker.used_at = self.loop.time()
        self.purse.take(worker)
        self.groups.adopt(managed.name, worker)
        if worker.room in self.rooms.by_name:
            self.rooms.by_name[worker.room].users.add(worker)
        worker.zygote = self.zygotes.by_name.get(zygote)
        if worker.zygote is not None:
            worker.zygote.orders.add((worker.site, worker.number))
            worker.zygote.ordered += 1
        if worker.pid:
            self._by_pid[worker.pid] = managed, worker
        else:
            self.loop.call_later(FORK_SECONDS, self._check_adopted, managed, worker)
        if worker.phase == "ordered":
            self.starting.add(worker)
            self.loop.call_later(PLACE_SECONDS, self._end_start, worker)

    def _check_adopted(self, managed: ManagedSite, worker: ManagedWorker) -> None:
        """The earlier manager may have died between hearing of a fork and noting it."""
        if not worker.pid and managed.workers.get(worker.number) is worker:
            self._gone(managed, worker, worker.make_failure("it was lost in a restart of the manager"))

    def listen_to(self, managed: ManagedSite, worker: ManagedWorker, channel: Channel, log: int, board: int) -> None:
        """Hear a worker from now on; the channel and ``log`` belong to it then, ``board`` stays the caller's."""
        worker.open(channel, log, board, managed.log, self._worker_said)

    def _end_start(self, worker: ManagedWorker) -> None:
        """The worker's place among the starting ones is free."""
        if worker in self.starting:
            self.starting.discard(worker)
            self.loop.call_soon(self._pump)

    # --- ending -----------------------------------------------------------------------------------------------------

    def drain(self, managed: ManagedSite, number: int) -> None:
        worker = managed.workers.get(number)
        if worker is None:
            return  # it is gone, and the machine is about to hear of it
        worker.phase = "leaving"
        worker.left_at = self.loop.time()
        worker.send(Drain())
        self.surroundings.link.note(worker.names()[0], worker.note())

    def kill(self, managed: ManagedSite, number: int, sign: int, reason: str, hint: str = "") -> None:
        """End a worker by a signal; with a ``reason``, its exit counts as a failure for that reason."""
        worker = managed.workers.get(number)
        if worker is None:
            return
        if not worker.kill_reason:
            worker.kill_reason = reason
            worker.kill_hint = hint or "the error log has the stack of every thread"
        if not worker.kill_reason:
            worker.phase = "leaving"
        if worker.pid:
            self.signal(worker, sign)
        elif not self.zygotes.is_alive(worker.zygote):  # it waits for its turn, which will not come
            self._gone(managed, worker, worker.make_failure("its start was called off"))
        if worker.phase == "leaving":
            self.surroundings.link.note(worker.names()[0], worker.note())

    def kill_deaf(self, managed: ManagedSite) -> None:
        """End the workers of a site whose listening socket one of them has shut down: no request reaches them any more."""
        for number, worker in list(managed.workers.items()):
            if worker.phase != "leaving" and worker.zygote is not None:
                reason = "the application has shut down its listening socket, descriptor 3"
                self.kill(managed, number, signal.SIGKILL, reason, NOT_YOURS)

    def signal(self, worker: ManagedWorker, sign: int) -> None:
        """Signal a worker through its parent, which alone knows that the pid is still this worker's."""
        zygote = worker.zygote
        if zygote is not None and self.zygotes.is_alive(zygote):
            with contextlib.suppress(OSError):  # it is dead, or does not listen
                zygote.channel.send(KillWorker(worker.said_pid, sign))
                return
        if user_of(worker.pid) == worker.uid:  # the pid is what its zygote said, which may be a tenant's
            with contextlib.suppress(OSError):
                os.kill(worker.pid, sign)

    def _exited(self, managed: ManagedSite, worker: ManagedWorker, status: int) -> None:
        worker.listen(self._worker_said)  # its last words may still be on the way
        if worker.log is not None:
            worker.log.drain()
        code = os.waitstatus_to_exitcode(status)
        is_ours = worker.kill_reason or worker.phase == "leaving" or code != -signal.SIGKILL
        is_out_of_memory = not is_ours and self.memory.has_killed()
        has_run_out = self.groups.has_run_out(managed.name)
        failure = worker.make_exit_failure(
            code, is_out_of_memory=is_out_of_memory, is_by_limit=is_out_of_memory and has_run_out
        )
        was_told = worker.phase == "leaving" and not worker.kill_reason
        if not was_told and worker.number > AWAY and worker.last_failure is None:
            death = worker.make_death(failure, code, is_out_of_memory=is_out_of_memory)
            self.deaths.add(managed.name, death)
            managed.log.write("hostel", [death.reason if worker.kill_reason else sentence_of(death)])
        self._gone(managed, worker, failure)

    def _gone(self, managed: ManagedSite, worker: ManagedWorker, failure: Failure) -> None:
        """A worker's end: clean up, tell the machine, give its place among the starting ones to the next."""
        served = worker.reading().served
        self._release(managed, worker)
        if worker.number == PROBE:
            if self.find(managed.name, PROBE) == (managed, worker):
                self.probes[managed.name].end(failure)
            return
        if worker.number == AWAY:
            if managed.away is worker:
                managed.away = None
                pause = 0.0 if served else AWAY_PAUSE
                if failure.is_hosts:
                    self._hang_up(managed)
                    pause = HANG_UP_PAUSE
                self.loop.call_later(pause, self.dispatch, managed.name, e.TurnedAway())
            return
        managed.served_before += served
        self.surroundings.link.forget(*worker.names())
        if managed.workers.pop(worker.number, None) is worker:
            self.loop.call_soon(self.dispatch, managed.name, e.WorkerExited(worker.number, failure))

    def release_probe(self, managed: ManagedSite, worker: ManagedWorker) -> None:
        """Nothing is heard of the worker that is measured: the end of its channel tells it to go."""
        self._release(managed, worker)

    def _release(self, managed: ManagedSite, worker: ManagedWorker) -> None:
        """Let go of all that a worker had of others."""
        worker.close()
        if worker.number > AWAY:
            self.purse.give_back(worker)
            self.loop.call_soon(self._pump)
        self._by_pid.pop(worker.pid, None)
        self._end_start(worker)
        self.rooms.leave(worker.room, worker)
        self.groups.leave(managed.name, worker)
        zygote = worker.zygote
        if zygote is not None and (managed.name, worker.number) in zygote.orders:
            zygote.orders.discard((managed.name, worker.number))
            self.zygotes.end_if_done(zygote)

    # --- turning away -----------------------------------------------------------------------------------------------

    def turn_away(self, managed: ManagedSite, page: Document, place: str = "@closed") -> None:
        """Have those answered who already wait on the sockets of a site whose door is closed, or which is no more.

        ``place``: where the front has the answer in all its forms.
        """
        if managed.away is not None:
            return
        if not managed.waiting:
            self.loop.call_soon(self.dispatch, managed.name, e.TurnedAway())
            return
        worker = managed.away = ManagedWorker(managed.name, AWAY, managed.machine.generation, 1)
        try:
            self._order(managed, worker, managed.machine.site, page.html, place)
        except (HostelError, OSError) as error:
            print(f"site={managed.name} cannot answer those who wait: {error}", file=sys.stderr, flush=True)
            self._gone(managed, worker, worker.make_failure(str(error), is_hosts=True))

    def _hang_up(self, managed: ManagedSite) -> None:
        """Nobody can be had who would answer those who wait: close the connections, of which the front makes an error page."""
        try:
            managed.renew_sockets()
        except (HostelError, OSError) as error:
            managed.is_torn = True
            print(f"site={managed.name} {error}", file=sys.stderr, flush=True)

    def end_away(self, managed: ManagedSite) -> None:
        """The door is open again: whoever waits now is served."""
        worker, managed.away = managed.away, None
        if worker is not None:
            self._release(managed, worker)  # the end of its channel tells it to go

    # --- what zygotes, workers and the supervisor say ---------------------------------------------------------------

    def find(self, name: str, number: int) -> tuple[ManagedSite, ManagedWorker] | None:
        managed = self.sites.get(name)
        if managed is None:
            return None
        worker = managed.away if number == AWAY else managed.workers.get(number)
        if number == PROBE and name in self.probes:
            worker = self.probes[name].worker
        return (managed, worker) if worker is not None else None

    def _zygote_said(self, zygote: Zygote, message: Any) -> None:
        if message is None:
            self._zygote_gone(zygote, "it died")
            return
        if not isinstance(message, (Forked, ForkRefused, Outdated, WorkerEnded)):
            return
        found = self.find(message.site, message.worker)
        if found is not None and found[1].zygote is not zygote:
            found = None  # a zygote, which may be a tenant's, has nothing to say about others' workers
        match message:
            case Forked(_, _, pid):
                if found is None:
                    with contextlib.suppress(OSError):
                        zygote.channel.send(KillWorker(pid, signal.SIGKILL))
                elif not found[1].said_pid:
                    self._forked(*found, pid)
            case ForkRefused(_, _, reason) if found is not None and not found[1].pid:
                print(
                    f"hostel: the zygote of {zygote.environment or sys.prefix}: {reason}", file=sys.stderr, flush=True
                )
                self._order_again(*found, reason, may_retry=self.zygotes.distrust(zygote), is_hosts=True)
            case Outdated(_, _, path) if found is not None and not found[1].pid:
                where = zygote.environment or sys.prefix
                self.zygotes.retire(zygote)
                self._order_again(*found, f"{where} keeps changing: {escape_text(path[:200])}", may_retry=True)
            case WorkerEnded(_, _, pid, status) if found is not None and found[1].said_pid in (0, pid):
                self._exited(*found, status)

    def _forked(self, managed: ManagedSite, worker: ManagedWorker, pid: int) -> None:
        worker.said_pid = pid
        cell = worker.zygote.cell if worker.zygote is not None else None
        worker.pid = child_called(worker.zygote.pid, pid) if worker.zygote and cell and cell.joins_processes else pid
        if worker.pid:
            self._by_pid[worker.pid] = managed, worker
        if worker.number <= AWAY:
            return
        self.surroundings.link.note(worker.names()[0], worker.note())
        self.dispatch(worker.site, e.WorkerForked(worker.number))
        if worker.phase == "leaving" or worker.kill_reason:  # it was killed before it was born
            self.signal(worker, signal.SIGKILL)

    def _lose(self, zygote: Zygote, why: str) -> None:
        """It does not take orders any more, whether or not its channel has said so."""
        if self.zygotes.is_alive(zygote):
            self.zygotes.drop(zygote)
            self._zygote_gone(zygote, why)

    def _zygote_gone(self, zygote: Zygote, why: str, *, may_retry: bool = True) -> None:
        """Its living workers are the supervisor's now; those it had not forked are ordered again."""
        if zygote.cell is not None and zygote.cell.room is not None:
            self.rooms.end(zygote.cell.room)  # its workers' ends would be told to nobody
        orphans = []
        for name, number in list(zygote.orders):
            found = self.find(name, number)
            if found is None or found[1].zygote is not zygote:
                continue
            if found[1].pid:
                orphans.append(found)
            else:
                where = zygote.environment or sys.prefix
                self._order_again(*found, f"the zygote of {where} is gone: {why}", may_retry=may_retry)
        if orphans:
            self.loop.call_later(ORPHAN_SECONDS, self._check_orphans, orphans)

    def _order_again(
        self, managed: ManagedSite, worker: ManagedWorker, reason: str, *, may_retry: bool, is_hosts: bool = False
    ) -> None:
        """A worker has not been forked, which is not the site's fault: try again, but not for ever."""
        if may_retry and worker.phase == "ordered" and worker.number != AWAY and worker.attempts < ATTEMPTS:
            self._release(managed, worker)
            worker.zygote = None
            if worker.number == PROBE:
                self.loop.call_soon(self.order_probe, managed, worker)
                return
            self.starts.appendleft((managed, worker, managed.machine.workers[worker.number].site))
            self.loop.call_soon(self._pump)
        else:
            failure = worker.make_failure(reason, "the server's log may say more", is_hosts=is_hosts)
            self._gone(managed, worker, failure)

    def _check_orphans(self, orphans: list[tuple[ManagedSite, ManagedWorker]]) -> None:
        """The zygote may have reaped a worker, and died before it could say so."""
        for managed, worker in orphans:
            if self._by_pid.get(worker.pid) == (managed, worker) and not os.path.exists(f"/proc/{worker.pid}"):
                self._gone(managed, worker, worker.make_failure("it ended together with its zygote"))

    def _worker_said(self, worker: ManagedWorker, message: Any, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            os.close(descriptor)  # a worker has nothing to give
        managed = self.sites.get(worker.site)
        if managed is None:
            return
        if worker.number == PROBE and managed.name in self.probes:
            self.probes[managed.name].said(message)
            if not isinstance(message, (Step, StartFailed)):
                return
        match message:
            case Step(name, seconds) if worker.phase == "ordered" and math.isfinite(seconds):
                worker.journey = worker.journey.with_step(escape_text(name[:40]), float(seconds))
            case InterfaceFound(interface) if worker.phase == "ordered":
                self._interface_found(managed, worker, interface)
            case Ready(_, modules) if worker.number != AWAY:
                self._ready(managed, worker, modules)
            case Imported(modules) if worker.number != AWAY and worker.zygote is not None:
                self.zygotes.learn(worker.zygote, modules)
            case PeerError() if worker.phase == "ordered" and worker.number != AWAY:
                reason = f"the application has written to Hostel's channel, descriptor 4, while it started: {message}"
                self.kill(managed, worker.number, signal.SIGKILL, reason, NOT_YOURS)
            case StartFailed(_, reason, hint, text, sources):
                if worker.log is not None:
                    worker.log.drain()
                worker.last_failure = worker.make_failure(reason, hint, traceback=text, sources=sources)
                if worker.phase == "ordered":
                    worker.phase = "leaving"
                self._end_start(worker)
                if worker.number > AWAY:
                    self.dispatch(managed.name, e.WorkerFailed(worker.number, worker.last_failure))

    def _interface_found(self, managed: ManagedSite, worker: ManagedWorker, interface: str) -> None:
        worker.is_asgi = interface == "asgi"
        if worker.is_asgi:
            self.surroundings.link.note(worker.names()[0], worker.note())
            try:
                managed.listen_http()
            except (HostelError, OSError) as error:
                worker.last_failure = worker.make_failure(str(error), is_hosts=True)
                self.kill(managed, worker.number, signal.SIGKILL, str(error))
                return
            if not worker.has_http:
                worker.send(HttpSocket(), (managed.http,))

    def _ready(self, managed: ManagedSite, worker: ManagedWorker, modules: tuple[str, ...]) -> None:
        self._end_start(worker)
        if worker.phase != "ordered":
            return
        worker.phase = "ready"
        self.memory.forget()
        worker.used_at = self.loop.time()
        worker.ready_after = worker.used_at - worker.ordered_at
        self.purse.used(worker)
        self.surroundings.link.note(worker.names()[0], worker.note())
        if worker.is_asgi:
            managed.announce_http()
        else:
            managed.close_http()
        if worker.zygote is not None:
            self.zygotes.learn(worker.zygote, modules)
        text = f"worker {worker.tag} is ready after {worker.ready_after * 1000:.0f} ms, pid {worker.pid}"
        managed.log.write("hostel", [text])
        self.dispatch(managed.name, e.WorkerReady(worker.number, worker.is_asgi))

    def program_said(self, message: Any) -> None:
        """The supervisor about a zygote, a warden, or an orphan that may be one of our workers."""
        if isinstance(message, (Spawned, SpawnFailed, Exited)) and message.name in self.rooms.by_name:
            self.rooms.program_said(message)
            return
        match message:
            case Spawned(name, pid) if name in self.zygotes.by_name:
                self.zygotes.by_name[name].pid = pid
            case SpawnFailed(name, reason) if name in self.zygotes.by_name:
                zygote = self.zygotes.by_name[name]
                self.zygotes.drop(zygote)
                self._zygote_gone(zygote, reason)
            case Exited("", pid, status) if pid in self._by_pid:
                managed, worker = self._by_pid[pid]
                if not self.zygotes.is_alive(worker.zygote):  # a living one reports its workers' ends itself
                    self._exited(managed, worker, status)
            case Exited(name) if name in self.zygotes.by_name:
                self._lose(self.zygotes.by_name[name], "it died")

    def kill_all(self) -> None:
        """The time for leaving is over."""
        for _, worker in list(self._by_pid.values()):
            self.signal(worker, signal.SIGKILL)


def user_of(pid: int) -> int | None:
    """As whom a process runs (proc_pid_status(5)); None when there is none."""
    try:
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Uid:"))
    except (OSError, StopIteration):
        return None


def child_called(parent: int, pid: int) -> int:
    """The child of a process that has this pid in its own namespace (NSpid, proc_pid_status(5)); 0 when there is none."""
    with contextlib.suppress(OSError), open(f"/proc/{parent}/task/{parent}/children") as file:
        for child in map(int, file.read().split()):
            with contextlib.suppress(OSError), open(f"/proc/{child}/status") as status:
                if any(line.startswith("NSpid:") and int(line.split()[-1]) == pid for line in status):
                    return child
    return 0
