"""The WSGI loop: accept when free, read one request, run the application, answer, close (PEP 3333).

The hard part: this is the hot path of the whole server, in Python. So a usual request is five system calls (accept,
read, write, close, and now and then a wait), its environment starts as a copy of what never changes, and whatever is
unusual is recognised by one comparison and handled elsewhere. A thread accepts only when it can run what it accepts at
once, so the kernel's queue is the only queue and no fast request waits behind a slow one.

It must not know how the application was found, which user it runs as, or who started it.
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import struct
import sys
import threading
import time
from typing import Any, Callable, Dict, FrozenSet, Iterable, Tuple

from hostel.errors import PeerError
from hostel.protocol import uwsgi
from hostel.worker import scoreboard
from hostel.worker.body import Body, Input
from hostel.worker.clock import WaitClock
from hostel.worker.queueing import QueueBound
from hostel.worker.response import FileWrapper, Response
from hostel.worker.stuck import Interrupter, RequestTooLong
from hostel.worker.telling import BUSY, FRONT_PAGES, PAGE, complain, complain_of, is_gone

READ_BYTES = 8192
REQUEST_HEAD_SECONDS = 30  # the front sends a request in one piece: a head that takes longer has no sender any more
ACCEPT_TIME = struct.pack("ll", 0, 50_000)  # struct timeval
CONTROL_SECONDS = 0.05  # how soon a worker under full load notices that it is to drain
LENGTH_DIGITS = 18  # of a Content-Length; int() refuses thousands of them with an exception
SHORTAGES = (errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # of the machine, and they may pass
SHORTAGE_SECONDS = 0.05


class Server:
    """Serves one application on one listening socket, with so many threads, until it is told to drain.

    ``control`` is the descriptor on which orders arrive; ``take_order`` is called when it is readable and says whether
    to drain. ``queue`` is the longest time in seconds that a request may have waited for a worker (under lasting overload
    it is less, see ``queueing``); it counts from the moment this worker was ready, so that visitors who waited for the
    site's start are served. ``request`` is how long one may run before ``stuck.interrupt`` raises in it. ``body`` is the
    most bytes of a request's body; 0 is without a bound. A request for a path in ``idle_ignore`` does not count as use of the
    site. ``board`` has a slot for each thread. With ``leave_when_empty``
    the server ends as soon as nothing waits, and not before.
    """

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        listener: socket.socket,
        control: int,
        take_order: Callable[[], bool],
        *,
        board: memoryview[float],
        label: str,
        threads: int = 1,
        processes: int = 1,
        queue: float = 5.0,
        request: float = 60.0,
        body: int = 0,
        idle_ignore: FrozenSet[str] = frozenset(),
        leave_when_empty: bool = False,
    ) -> None:
        self.application = application
        self.listener = listener
        self.control = control
        self.take_order = take_order
        self.board = board
        self.notes = board.cast("B")
        self.stuck = Interrupter(board, threads, request)
        self.label = label
        self.threads = threads
        self.bound = QueueBound(queue)
        self.body = body or math.inf
        self.idle_ignore = idle_ignore
        self.leave_when_empty = leave_when_empty
        self.draining = False
        self.ready_at = 0.0  # monotonic
        self.clock = WaitClock.begin()
        self.environ: Dict[str, Any] = {  # what all requests have in common
            "SCRIPT_NAME": "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": Input(Body(-1, 0, b"")),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": threads > 1,
            "wsgi.multiprocess": processes > 1,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
        }
        # An accept waits a moment and then gives up (SO_RCVTIMEO, socket(7)): a busy worker needs no other call to get
        # its next request, and an idle one, which has given up, waits for requests and orders together.
        listener.setblocking(True)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, ACCEPT_TIME)

    def run(self) -> None:
        """Serve until drained. Returns when the last request has been answered."""
        self.ready_at = time.monotonic()
        if self.threads == 1:
            self._serve(0, self.control, self.take_order)
            return
        wake_reader, wake_writer = os.pipe()

        def wake() -> None:
            try:
                os.write(wake_writer, b"\0")  # never read: it stays readable for all threads
            except OSError:
                pass  # the application closed it, which woke them too

        def serve(slot: int) -> None:
            try:
                self._serve(slot, wake_reader, lambda: True)
            finally:
                wake()

        threads = [threading.Thread(target=serve, args=(slot,), name=f"hostel-{slot}") for slot in range(self.threads)]
        for thread in threads:
            thread.start()
        waiting = select.poll()
        waiting.register(self.control, select.POLLIN)
        waiting.register(wake_reader, select.POLLIN)
        while not self.draining:
            # A thread ends by itself only when none can accept any more.
            self.draining = any(number == wake_reader or self.take_order() for number, _ in waiting.poll())
        wake()
        for thread in threads:
            thread.join()
        os.close(wake_reader)
        os.close(wake_writer)

    def _serve(self, slot: int, wake: int, is_drain: Callable[[], bool]) -> None:
        """One thread's life, until it is drained or cannot accept any more."""
        let_front_finish()
        self.stuck.enter(slot)
        try:
            self._accept_and_handle(slot, wake, is_drain)
        except OSError as error:
            complain(f"the application has closed descriptors of its worker, which leaves now: {error.strerror}")

    def _accept_and_handle(self, slot: int, wake: int, is_drain: Callable[[], bool]) -> None:
        """Accept, handle, close. Raises ``OSError`` when the descriptors this needs are gone."""
        accept = self.listener._accept  # type: ignore[attr-defined]  # accept4(2) without a socket object around it
        handle, close, clock, board = self.handle, os.close, time.monotonic, self.board
        listening = self.listener.fileno()
        busy, began, served = (
            slot * scoreboard.SLOT + field for field in (scoreboard.BUSY, scoreboard.BEGAN, scoreboard.SERVED)
        )
        waiting = select.epoll()
        # Exclusive: a connection wakes one of the idle threads and processes, not all of them (epoll_ctl(2)). Whoever is
        # woken has to take it, even one that is told to drain at the same moment: nobody else knows of it.
        waiting.register(listening, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        waiting.register(wake, select.EPOLLIN)
        wake_status = os.fstat(wake)
        look_at = 0.0
        while True:
            try:
                descriptor, _ = accept()
            except BlockingIOError:
                if self.draining:
                    break
                if not os.path.samestat(os.fstat(wake), wake_status):  # an epoll says nothing of what was closed
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
                ready = [number for number, _ in waiting.poll(0.2 if self.leave_when_empty else None)]
                if wake in ready and is_drain():
                    self.draining = True
                if listening not in ready and (self.draining or self.leave_when_empty):
                    break
                continue
            except OSError as error:
                if error.errno in SHORTAGES:
                    time.sleep(SHORTAGE_SECONDS)
                elif error.errno == errno.EMFILE and not self.draining:
                    complain("the application has used up its worker's descriptors, which leaves after this request")
                    self.draining = True
                    os.close(0)  # /dev/null makes room for the request that only this worker knows of
                else:
                    raise
                continue
            now = clock()
            board[busy], board[began] = 1, now
            try:
                handle(descriptor, slot)
            except (OSError, PeerError, RequestTooLong):
                pass  # nobody is there to be told
            finally:
                try:
                    close(descriptor)
                except OSError:
                    pass  # the application closed it
                board[busy], board[began] = 0, 0
                board[served] += 1
            if now > look_at:
                look_at = now + CONTROL_SECONDS
                if any(number == wake for number, _ in waiting.poll(0)) and is_drain():
                    self.draining = True
            if self.draining and not self.leave_when_empty:
                break
        waiting.close()

    def read_head(self, descriptor: int, data: bytes) -> Tuple[bytes, int]:
        """All that has come when the request's variables are complete, and where they end; for an unusual head.

        Raises ``ConnectionError``, ``TimeoutError`` or ``PeerError``.
        """
        deadline = time.monotonic() + REQUEST_HEAD_SECONDS
        readable = select.poll()
        readable.register(descriptor, select.POLLIN)
        while True:
            if len(data) >= uwsgi.HEADER_BYTES:
                end = uwsgi.HEADER_BYTES + uwsgi.block_size(data)
                if len(data) >= end:
                    return data, end
            if not readable.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError("the front did not finish the request's head")
            more = os.read(descriptor, READ_BYTES)
            if not more:
                raise ConnectionError("the front closed the connection within the request's head")
            data += more

    def handle(self, descriptor: int, slot: int = 0) -> None:
        """One request, from its first byte to its last, by the thread of this slot.

        Raises ``PeerError`` or ``OSError`` when there is nobody to be answered.
        """
        data = os.read(descriptor, READ_BYTES)
        end = 4 + (data[1] | data[2] << 8) if len(data) > 4 else 0
        if len(data) < end or not end or data[0] or data[3]:
            data, end = self.read_head(descriptor, data)
        head = data[: scoreboard.NOTE_BYTES]
        place = slot * scoreboard.SLOT_BYTES + scoreboard.NOTE
        self.notes[place : place + len(head)] = head
        environ = uwsgi.variables(data[4:end], self.environ.copy())
        now, wall = time.monotonic(), time.time()
        try:
            stamp = float(environ["HTTP_X_REQUEST_START"][2:])
        except (KeyError, ValueError):
            stamp = wall
        waited = wall - stamp
        is_refused = False
        if not 0 <= waited <= self.bound.noticed:
            waited = self.clock.waited(stamp, wall, now)
        if waited > self.bound.noticed:
            is_absent = is_gone(descriptor)
            is_refused = not self.bound.may_run(min(waited, now - self.ready_at), is_absent, now)
            if is_absent:
                return
        elif self.bound.standing_since:
            self.bound.relax()
        note = f"queue={waited:.3f} worker={self.label}"
        method = environ.get("REQUEST_METHOD")
        if not method:
            raise PeerError("cannot serve a uwsgi request without REQUEST_METHOD")
        response = Response(descriptor, method == "HEAD", note, self.board, slot * scoreboard.SLOT + scoreboard.BEGAN)
        body = None
        length = environ.get("CONTENT_LENGTH")
        if length:
            if not (length.isascii() and length.isdigit()) or len(length) > LENGTH_DIGITS:
                self.refuse(response, "400 Bad Request", "The request's Content-Length is not a number.")
                return
            size = int(length)
            body = Body(descriptor, size, data[end:])
            environ["wsgi.input"] = Input(body)
            if size > self.body:
                self.refuse(response, "413 Content Too Large", "The site does not take uploads of this size.")
                body.discard()
                return
        if is_refused:
            self.refuse(
                response, BUSY, "Too many visitors at the moment. Please try again.", self.bound.retry_after(now)
            )
            if body is not None:
                body.discard()
            return
        self.complete(environ)
        if "HOSTEL_KEEP" in environ:
            response.is_to_be_kept = bool(environ.pop("HOSTEL_KEEP"))
        if self.idle_ignore:
            is_ignored = environ.get("PATH_INFO") in self.idle_ignore
            place = slot * scoreboard.SLOT
            self.board[place + scoreboard.IGNORING] = is_ignored
            self.board[place + scoreboard.IGNORED] += is_ignored

        result: Any = None
        try:
            self.stuck.is_inside[slot] = True
            result = self.application(environ, response.start)
            if type(result) is list and len(result) == 1 and not response.is_started:
                response.send_whole(result[0])
            else:
                response.send_result(result)
        except ConnectionError as error:
            if not is_gone(descriptor):  # it was a connection of the application's own
                self.report(environ, response, error)
        except BaseException as error:  # SystemExit too: one request must not end the worker
            self.report(environ, response, error)
        finally:
            self.stuck.leave(slot)
            try:
                if hasattr(result, "close"):
                    result.close()
            except BaseException as error:
                self.report(environ, response, error)
            if body is not None:
                body.discard()

    def complete(self, environ: Dict[str, Any]) -> None:
        """Derive what the front need not say, and what nobody else may."""
        scheme = "http"
        if environ.get("HTTPS") == "on":
            scheme = environ["wsgi.url_scheme"] = "https"
        host = environ.get("HTTP_HOST", "")
        environ["SERVER_NAME"] = host.partition(":")[0] if host[:1] != "[" else host.partition("]")[0] + "]"
        environ["REQUEST_SCHEME"] = environ["HTTP_X_FORWARDED_PROTO"] = scheme
        environ["HTTP_X_FORWARDED_HOST"] = host
        environ["HTTP_X_FORWARDED_FOR"] = environ.get("REMOTE_ADDR", "")
        environ.pop("HTTP_PROXY", None)  # never to become $HTTP_PROXY: CVE-2016-5385 and its kin
        if "QUERY_STRING" not in environ:  # PEP 3333 lets it be absent, old applications do not
            environ["QUERY_STRING"] = ""

    def report(self, environ: Dict[str, Any], response: Response, error: BaseException) -> None:
        """Write the traceback to the site's error log, and answer 500 or 504 if nothing has been answered yet."""
        request = f"{environ.get('REQUEST_METHOD')} {environ.get('REQUEST_URI') or environ.get('PATH_INFO')}"
        complain_of(error, request, environ.get("HTTP_X_REQUEST_ID", ""))
        if response.is_started:
            return
        if isinstance(error, RequestTooLong):
            self.refuse(response, "504 Gateway Timeout", "The application took too long to answer.")
        else:
            self.refuse(response, "500 Internal Server Error", "The application failed. Its log says why.")

    def refuse(self, response: Response, status: str, text: str, retry_after: int = 0) -> None:
        """Answer with the front's page for this status, or a short one of our own where there is none."""
        data = PAGE.format(title=status[4:], text=text).encode()
        headers = [("Content-Type", "text/html"), ("Content-Length", str(len(data)))]
        if retry_after:
            headers.append(("Retry-After", str(retry_after)))
        if status[:3] in FRONT_PAGES:
            headers.append(("X-Accel-Redirect", FRONT_PAGES[status[:3]]))
        response.head = b""
        response.start(status, headers)
        try:
            response.write(data)
        except OSError:
            pass  # nobody is there to be told


def let_front_finish() -> None:
    """Let this thread wait, when it is woken, until the one who woke it sleeps (SCHED_BATCH, sched(7)).

    Otherwise the front's connect(2) is interrupted by the worker that it wakes, which finds no request to read yet, and
    each request costs two more switches between processes: a third of all that a small one costs. Threads and processes
    that the application starts are as usual.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    except OSError:
        pass
