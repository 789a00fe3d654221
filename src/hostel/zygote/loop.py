"""The zygote's loop: take an order, fork, reap, report. No threads, no asyncio, no site code.

The hard part is what a fork copies. Before each fork the zygote compares its open descriptors with the list of those it
knows and refuses to fork when there is one more (Android's zygote does the same): what it holds, every tenant gets. The
child puts its own descriptors in their places and closes everything else; then it leaves the zygote's frames by an
exception, so that nothing of them stays alive in a worker.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from typing import Any, Dict, List, Sequence, Tuple

from hostel.errors import PeerError
from hostel.sandbox.warden import fork_into
from hostel.wire import (
    Channel,
    Forked,
    ForkRefused,
    KillWorker,
    Outdated,
    Preload,
    StartWorker,
    WorkerEnded,
)  # fmt: skip
from hostel.worker import virtualenv, wsgi  # noqa: F401  # imported here once, for all workers
from hostel.worker.main import Worker
from hostel.zygote.descriptors import arrange_descriptors, open_descriptors
from hostel.zygote.immortal import make_immortal
from hostel.zygote.preload import preload
from hostel.zygote.sources import Sources

END_SECONDS = 4
DESCRIPTORS_OF_WORKER = 4  # how many every order carries; an HTTP socket and a room come on top


class BecomeWorker(Exception):  # not an error: the way out of the zygote's frames
    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self.worker = worker


class Zygote:
    """A zygote; ``run`` returns when the other end of its channel is gone for good, after its workers."""

    def __init__(self, descriptor: int, *, is_bare: bool = False) -> None:
        self.is_bare = is_bare
        self.channel = Channel.from_descriptor(descriptor)
        os.set_inheritable(descriptor, False)
        self.workers: Dict[int, Tuple[str, int]] = {}
        # One descriptor to wait on for children that ended; the handler has nothing to do but exist.
        self.wake_reader, self.wake_writer = os.pipe()
        os.set_blocking(self.wake_reader, False)
        os.set_blocking(self.wake_writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a zygote ends when its channel does
        self.known = {0, 1, 2, descriptor, self.wake_reader, self.wake_writer}
        self.sources = Sources()
        gc.freeze()

    def run(self) -> None:
        waiting = select.poll()
        waiting.register(self.channel.fileno(), select.POLLIN)
        waiting.register(self.wake_reader, select.POLLIN)
        while True:
            for number, _ in waiting.poll():
                if number == self.wake_reader:
                    self.reap()
                elif not self.obey():
                    return self.end()

    def obey(self) -> bool:
        """Carry out one order; False when nobody is left to give any."""
        try:
            received = self.channel.receive()
        except PeerError:
            return True  # its sender is the manager, which sees no answer
        if received is None:
            return False
        order, descriptors = received
        if isinstance(order, StartWorker):
            self.fork(order, descriptors)
        elif isinstance(order, Preload):
            answer = preload(order.modules, sys.prefix if self.is_bare else "")
            self.sources.remember_modules()
            make_immortal()
            gc.collect()
            gc.freeze()
            self.say(answer)  # from now on there are orders
        elif isinstance(order, KillWorker) and order.pid in self.workers:
            try:
                os.kill(order.pid, order.number)
            except (OSError, OverflowError):
                pass  # no signal has this number
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def say(self, message: Any) -> None:
        try:
            self.channel.send(message)
        except OSError:
            pass  # nobody is left to be told: the next look at the channel ends us

    def fork(self, order: StartWorker, descriptors: List[int]) -> None:
        reason = self.reason_not_to_fork(order, descriptors)
        if reason:
            self.say(ForkRefused(order.site, order.worker, reason))
            return
        changed = "" if order.page else self.sources.find_changed()
        if changed:
            self.say(Outdated(order.site, order.worker, changed))
            return
        try:
            pid = fork_into(descriptors[-1] if order.joins_processes else -1)
        except OSError as error:
            self.say(ForkRefused(order.site, order.worker, f"cannot fork: {error.strerror}"))
            return
        if pid == 0:
            signal.set_wakeup_fd(-1)
            self.channel.socket.detach()  # or its end would close the number, which then is something else
            arrange_descriptors(descriptors, has_http=order.has_http, has_room=order.has_room)
            raise BecomeWorker(Worker(order))
        self.workers[pid] = (order.site, order.worker)
        self.say(Forked(order.site, order.worker, pid))

    def reason_not_to_fork(self, order: StartWorker, descriptors: Sequence[int]) -> str:
        if len(descriptors) != DESCRIPTORS_OF_WORKER + order.has_http + order.has_room:
            return f"the order came with {len(descriptors)} descriptors"
        foreign = open_descriptors().keys() - self.known - set(descriptors)
        if foreign:
            return f"the zygote holds foreign descriptors: {sorted(foreign)}"
        if len(os.listdir("/proc/self/task")) != 1:
            return "the zygote has more than one thread"
        return ""

    def reap(self) -> None:
        """Report the children that have ended."""
        try:
            os.read(self.wake_reader, 4096)
        except BlockingIOError:
            pass
        while self.workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if os.WIFSTOPPED(status):  # a worker has asked to be traced by us, ptrace(2): it gets no answer but this
                os.kill(pid, signal.SIGKILL)
                continue
            site, worker = self.workers.pop(pid, ("", 0))
            self.say(WorkerEnded(site, worker, pid, status))

    def end(self) -> None:
        """Supervisor and manager are gone: so are the other ends of the workers' channels, and they drain by themselves.

        Whoever has not left in time is killed: no worker outlives its server as an orphan.
        """
        deadline = time.monotonic() + END_SECONDS
        while self.workers:
            select.select([self.wake_reader], [], [], 0.1)
            self.reap()
            if time.monotonic() > deadline:
                for pid in self.workers:
                    os.kill(pid, signal.SIGKILL)
                deadline += END_SECONDS
