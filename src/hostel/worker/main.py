"""A worker's life from the fork to its end: become the site, load its application, serve until drained.

The hard part: everything before ``serve`` is a journey of named steps, each announced to the manager before it begins,
so that a start which fails, hangs or dies says where. The descriptors are always the same: 0 is ``/dev/null``, 1 and 2
the log, 3 the listening socket, 4 the control channel, 5 the scoreboard (mapped, then closed), 6 the HTTP socket of a
site known to be ASGI, 7 the way into the site's namespaces (closed when they are entered).
"""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import socket
import sys
import time
from typing import Any, Optional, Set, Tuple

from hostel.errors import HostelError, PeerError
from hostel.sandbox import operations
from hostel.wire import (
    Beat,
    Channel,
    Drain,
    HttpSocket,
    Imported,
    InterfaceFound,
    Measured,
    Ready,
    StartFailed,
    StartWorker,
    Step,
)  # fmt: skip
from hostel.worker import scoreboard, sendfile, virtualenv
from hostel.worker.load import LoadError, involved_sources, is_asgi, load, shared_modules

LISTENER, CONTROL, BOARD, HTTP, ROOM = 3, 4, 5, 6, 7
FAILED_TO_START = 100  # exit status; the manager has been told why
NOT_YOURS = "descriptors 0 to 6 of a worker belong to Hostel: close and use only what the application has opened"
LOST_DESCRIPTORS = 101  # exit status; the application has closed the descriptor by which the manager would be told
CHANNEL_MODULES = 4000  # how many module names one message may carry


class Worker:
    """One worker process; ``run`` returns its exit status."""

    def __init__(self, order: StartWorker) -> None:
        self.order = order
        self.born = time.monotonic()
        self.pid = os.getpid()
        self.step = "fork"
        self.is_ready = False
        self.channel = Channel.from_descriptor(CONTROL)
        self.modules_before: Set[str] = set(sys.modules)
        self.recorder: Optional[Any] = None  # of imports, when they are to be measured
        self.loaded = 0.0

    def run(self) -> int:
        """Become the site and serve it. Every failure before ``Ready`` is reported with its step."""
        try:
            self.become()
            if self.order.page:
                return self.turn_away()
            application, interface = self.load()
            self.serve(application, interface)
        except LoadError as error:
            return self.fail(str(error), error.hint, error.traceback)
        except (HostelError, OSError) as error:
            if self.is_ready:
                raise  # it is no start any more that fails
            return self.fail(str(error), getattr(error, "hint", ""), "")
        return 0

    def enter(self, step: str) -> None:
        self.step = step
        self.channel.send(Step(step, time.monotonic() - self.born))

    def become(self) -> None:
        """From a copy of the zygote to a process of this site."""
        order = self.order
        self.enter("become")
        self.board = scoreboard.attach(BOARD)
        os.close(BOARD)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=LISTENER)
        os.environ.clear()
        os.environ.update(order.environment)
        if order.environment.get("PYTHONDONTWRITEBYTECODE"):
            sys.dont_write_bytecode = True  # the variable is read when an interpreter starts: too early here
        operations.run([tuple(operation) for operation in order.operations], ROOM)
        label = f"{order.generation}.{order.worker}"
        self.label = f"{label}:{os.getpid()}"
        try:
            with open("/proc/self/comm", "w") as file:
                file.write(f"{order.site}:{label}"[:15])
        except OSError:
            pass
        sys.argv = [order.application]
        faulthandler.enable(file=2)  # a crash by signal leaves its stack in the site's error log
        # New streams: those of the zygote remember what kind of file theirs was.
        for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
            stream = open(number, mode, 1, encoding="utf-8", errors="backslashreplace", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)

    def load(self) -> Any:
        order = self.order
        if order.virtualenv:
            self.enter("virtualenv")
            virtualenv.enter(order.virtualenv)
        self.enter("import")
        sys.path.insert(0, order.directory)
        sys.path[1:1] = [path for path in order.environment.get("PYTHONPATH", "").split(os.pathsep) if path]
        before = identity_of(LISTENER), identity_of(CONTROL)
        if order.is_measured:
            from hostel.worker.imports import Recorder

            self.recorder = Recorder()
            self.recorder.start()
        application = load(order.application, order.directory)
        if os.getpid() != self.pid:
            print("the application has forked while it was imported; the copy ends here", file=sys.stderr, flush=True)
            os._exit(0)
        if (identity_of(LISTENER), identity_of(CONTROL)) != before:
            os._exit(LOST_DESCRIPTORS)
        if is_shut_down(self.listener):
            raise LoadError(f"the application has shut down its listening socket, descriptor {LISTENER}", NOT_YOURS)
        interface = order.interface
        if interface == "auto":
            interface = "asgi" if is_asgi(application) else "wsgi"
        self.loaded = time.monotonic() - self.born
        self.channel.send(InterfaceFound(interface))
        gc.collect()
        gc.freeze()  # what the import made stays: later collections need not look at it
        return application, interface

    def ready(self) -> None:
        self.is_ready = True
        ready = time.monotonic() - self.born
        self.tell_measured()
        self.channel.send(Ready(ready, self.new_modules()))

    def tell_measured(self) -> None:
        """Tell how long the imports have taken, in as many messages as it takes."""
        if self.recorder is None:
            return
        from hostel.worker.imports import PART

        self.recorder.stop()
        rows = self.recorder.rows(self.born, self.order.directory)
        for first in range(0, len(rows) or 1, PART):
            part = tuple(rows[first : first + PART])
            self.channel.send(Measured(self.born, self.loaded, len(self.modules_before), part))

    def new_modules(self) -> Tuple[str, ...]:
        """What has been imported since this was asked last, without the site's own."""
        order = self.order
        found = shared_modules(order.directory, self.modules_before, order.virtualenv)[:CHANNEL_MODULES]
        self.modules_before.update(found)
        return found

    def leave(self) -> None:
        """Tell of what requests have imported, so that the next worker has it at once."""
        modules = self.new_modules() if self.is_ready else ()
        if modules:
            try:
                self.channel.send(Imported(modules))
            except (PeerError, OSError):
                pass  # it is of use to others only

    def take_order(self) -> bool:
        """Read what the manager wants; whether it is to drain. A manager and a supervisor that are gone mean it too."""
        try:
            received = self.channel.receive()
        except (PeerError, OSError):
            return True
        if received is not None and isinstance(received[0], Beat):
            self.board[scoreboard.BEAT] = time.monotonic()
        if received is not None and isinstance(received[0], Drain):
            self.leave()
            return True
        return received is None

    def serve(self, application: Any, interface: str) -> None:
        order = self.order
        sendfile.places.update(order.sent_by_front)
        if interface == "asgi":
            from hostel.worker import asgi  # imports asyncio, which a WSGI worker does without

            http = self.http_socket()
            self.enter("lifespan")
            asgi.serve(
                application, self.listener, http, CONTROL, self.take_order,
                board=self.board, label=self.label, queue=order.queue, request=order.request, drain=order.drain, body=order.body,
                idle_ignore=frozenset(order.idle_ignore), lent_packages=order.lent_packages, on_ready=self.ready,
            )  # fmt: skip
        else:
            from hostel.worker import stuck, wsgi

            server = wsgi.Server(
                application, self.listener, CONTROL, self.take_order, board=self.board, label=self.label,
                threads=order.threads, processes=order.processes, queue=order.queue, request=order.request,
                body=order.body, idle_ignore=frozenset(order.idle_ignore),
            )  # fmt: skip
            stuck.obey_signals(server.stuck.interrupt)
            self.ready()
            if self.order.has_http:  # the site was ASGI
                from hostel.worker import away

                with self.http_socket() as http:
                    if away.answer_http(http, away.REDIRECT, CONTROL, self.take_order):
                        return
            server.run()

    def http_socket(self) -> socket.socket:
        """The second listening socket of an ASGI site: inherited when it was known, else given by the manager now."""
        number = HTTP
        if not self.order.has_http:
            received = self.channel.receive()
            if received is None or not isinstance(received[0], HttpSocket) or len(received[1]) != 1:
                raise PeerError("cannot serve ASGI: the manager gave no HTTP socket")
            number = received[1][0]
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=number)

    def turn_away(self) -> int:
        """Answer everybody who waits for a site that does not start, then leave."""
        from hostel.worker import away

        http = self.http_socket() if self.order.has_http else None
        self.channel.send(Ready(time.monotonic() - self.born, ()))
        page, place = self.order.page.encode(), self.order.application
        away.turn_away(page, place, self.listener, http, CONTROL, self.take_order, self.board, self.label)
        return 0

    def fail(self, reason: str, hint: str, traceback: str) -> int:
        print(f"cannot start: {reason}", traceback, sep="\n" if traceback else "", file=sys.stderr, flush=True)
        sources = involved_sources(self.order.directory, traceback)
        message = StartFailed(self.step, reason[:2000], hint[:2000], traceback[-30000:], sources)
        try:
            self.tell_measured()
            self.channel.send(message)
        except OSError:
            pass  # nobody is left to be told
        return FAILED_TO_START


def is_shut_down(listener: socket.socket) -> bool:
    """Whether nobody can connect any more: shutdown(2) works through every copy of a descriptor."""
    asking = select.poll()
    asking.register(listener, 0)
    return bool(asking.poll(0))


def identity_of(descriptor: int) -> Tuple[int, int]:
    """What is behind a descriptor, so that a change is noticed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
