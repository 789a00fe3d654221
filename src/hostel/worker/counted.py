"""The requests of an ASGI worker: counted on the scoreboard, noted for the access log, cancelled when they take too long.

The hard part is that one thread has them all. So the scoreboard tells of the oldest of those that may not take any time
(WebSockets and streams of events may), and one timer waits for that one's time. A request that computes, instead of
waiting, blocks the loop and with it that timer; the manager sees from outside that the oldest is too old, and its signal
raises in whatever the loop runs.
"""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from typing import Any, Awaitable, Callable, Dict, FrozenSet, Iterable, List, MutableMapping, Optional, Set, Tuple

from hostel.worker import scoreboard
from hostel.worker.clock import WaitClock
from hostel.worker.gauge import Gauge
from hostel.worker.queueing import QueueBound
from hostel.worker.response import split_vary
from hostel.worker.sendfile import redirect_headers
from hostel.worker.stuck import RequestTooLong
from hostel.worker.wsgi import FRONT_PAGES, complain, complain_of, is_gone

STUBBORN_SECONDS = 4.0  # after a task was cancelled: before the manager ends the worker (GRACE in machine/health.py)
MOST_FRAMES = 100
UNBUFFERED = (b"x-accel-buffering", b"no")
SETTLED = frozenset((b"content-length", b"cache-control", b"expires", b"x-accel-buffering", b"x-accel-redirect"))
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Dict[str, Any]]]
Send = Callable[[Dict[str, Any]], Awaitable[None]]

# What the front says of forwarding; anything else that begins so is a client's claim.
FORWARDED = frozenset((b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"))


class Running:
    """The requests that may not run for ever, the one that has shown no progress for longest first.

    Those whose time is up are cancelled, with one timer for all of them. What the scoreboard says of the worker's requests is
    said here.
    """

    def __init__(self, board: memoryview[float], limit: float, idle_ignore: FrozenSet[str] = frozenset()) -> None:
        self.board = board
        self.gauge = Gauge(board)
        self.idle_ignore = idle_ignore  # paths that do not count as use of the site
        self.notes = board.cast("B")[scoreboard.NOTE : scoreboard.SLOT_BYTES]
        self.limit = limit
        self.began: Dict[Any, float] = {}  # by task, in the order of the times
        self.scopes: Dict[Any, Scope] = {}
        self.overdue: Set[Any] = set()  # tasks that have been cancelled and are not over
        self.ignored: Set[Any] = set()  # tasks whose paths are such
        self.shown: Any = None  # the task that the scoreboard tells of
        self.alarm: Optional[asyncio.TimerHandle] = None

    def begin(self, task: Any, scope: Scope) -> None:
        """One more runs."""
        self.board[scoreboard.BUSY] += 1
        if scope["path"] in self.idle_ignore:
            self.ignored.add(task)
            self.board[scoreboard.IGNORING] = len(self.ignored)
            self.board[scoreboard.IGNORED] += 1
        self.gauge.wake()
        self.scopes[task] = scope
        if scope["type"] == "http":  # WebSockets may take any time
            self.began[task] = time.monotonic()
        self._show()
        if self.alarm is None:
            self._set_alarm()

    def progress(self, task: Any, is_endless: bool = False) -> None:
        """It has sent a part of its response, or begun a stream of events, which may take any time."""
        if self.began.pop(task, None) and not is_endless:
            self.began[task] = time.monotonic()
        self._show()

    def end(self, task: Any) -> None:
        self.began.pop(task, None)
        self.overdue.discard(task)
        del self.scopes[task]
        self.ignored.discard(task)
        self.board[scoreboard.IGNORING] = len(self.ignored)
        self.board[scoreboard.BUSY] -= 1
        self.board[scoreboard.SERVED] += 1
        self.board[scoreboard.OVERDUE] = len(self.overdue)
        self._show()

    def _show(self) -> None:
        """Tell of the one that is to be told of: the oldest, or any when all may take any time."""
        task = next(iter(self.began or self.scopes), None)
        self.board[scoreboard.BEGAN] = self.began.get(task, 0.0)
        if task is not self.shown and task is not None:
            scope = self.scopes[task]
            url = request_of(scope)
            note = scoreboard.make_note(id_of(scope), scope.get("method", "GET"), url)
            self.notes[: len(note)] = note
        self.shown = task

    def _set_alarm(self) -> None:
        waiting = [began for task, began in self.began.items() if task not in self.overdue][:1]
        if not waiting:
            self.alarm = None
            return
        loop = asyncio.get_running_loop()
        self.alarm = loop.call_later(max(0.0, waiting[0] + self.limit - time.monotonic()), self.expire)

    def expire(self) -> None:
        """Cancel those whose time is up."""
        now = time.monotonic()
        for task, began in self.began.items():
            if began + self.limit > now:
                break
            if task not in self.overdue:
                self.overdue.add(task)
                task.cancel()
                asyncio.get_running_loop().call_later(STUBBORN_SECONDS, self._show_stack, task)
        self.board[scoreboard.OVERDUE] = len(self.overdue)
        self._set_alarm()

    def _show_stack(self, task: Any) -> None:
        """Say where a task waits that has not let itself be cancelled: no thread's stack shows it."""
        if task in self.overdue:
            scope = self.scopes[task]
            request = f"{scope['method']} {request_of(scope)} (request {id_of(scope)})"
            stack = "".join(traceback.format_list(stack_of(task.get_coro())))
            complain(f"{request} was cancelled in vain, and waits at\n{stack.rstrip()}")

    def interrupt(self, *_: Any) -> None:
        """The handler of the manager's signal: the loop is blocked by what runs now, if it could not even cancel the oldest."""
        task = asyncio.current_task() if asyncio._get_running_loop() else None
        oldest = next(iter(self.began.items()), None)
        if task is not None and oldest and oldest[0] not in self.overdue and time.monotonic() - oldest[1] > self.limit:
            raise RequestTooLong


class Counted:
    """The application with its requests and WebSockets counted, and the queue time noted for the access log.

    It is not asked when a request's body is larger than ``body`` bytes; 0 is without a bound. The front has the body already,
    and says how large it is.
    """

    def __init__(self, application: Any, running: Running, bound: QueueBound, label: str, body: int = 0) -> None:
        self.application = application
        self.running = running
        self.bound = bound
        self.ready_at = math.inf  # monotonic; waiting counts from then
        self.clock = WaitClock.begin()
        self.label = label
        self.body = body or math.inf
        self.failure = ""  # what the lifespan said when it could not start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":

            async def send_observed(message: Dict[str, Any]) -> None:
                if message["type"] == "lifespan.startup.failed":
                    self.failure = str(message.get("message", ""))
                await send(message)

            await self.application(scope, receive, send_observed)
            return
        waited, headers, is_to_be_kept = 0.0, [], False
        for name, value in scope["headers"]:
            if name == b"x-request-start":
                try:
                    waited = self.clock.waited(float(value[2:]), time.time(), time.monotonic())
                except ValueError:
                    pass
            elif name == b"content-length" and int(value) > self.body:
                await refuse(send, 413)
                return
            elif name == b"x-hostel-keep":
                is_to_be_kept = True
                continue
            elif name == b"x-hostel-mount":
                mount_at(scope, value.decode("utf-8", "surrogateescape"))
                continue
            elif name[:12] == b"x-forwarded-" and name not in FORWARDED:
                continue
            headers.append((name, value))
        scope["headers"] = headers
        note = (b"x-hostel", f"queue={waited:.3f} worker={self.label}".encode())
        task, running = asyncio.current_task(), self.running
        is_started = False

        async def send_noted(message: Dict[str, Any]) -> None:
            nonlocal is_started
            is_started = True
            if message["type"] in ("http.response.start", "websocket.accept"):
                headers = redirect_headers(message.get("headers", ()))
                is_passed_on = message["type"] == "http.response.start" and is_stream(headers)
                headers += [note, UNBUFFERED] if is_passed_on else [note]
                message = {**message, "headers": heed_vary(headers, is_to_be_kept)}
                running.progress(task, is_event_stream(message["headers"]))
            elif message.get("more_body"):
                running.progress(task)
            await send(message)

        if scope["type"] == "http" and not self._may_run(waited, receive):
            await refuse(send_noted, 503, self.bound.retry_after(time.monotonic()))
            return
        running.begin(task, scope)
        try:
            await self.application(scope, receive, send_noted)
        except (asyncio.CancelledError, RequestTooLong) as error:
            if isinstance(error, asyncio.CancelledError) and task not in running.overdue:
                raise
            complain_of(error, f"{scope.get('method')} {request_of(scope)}", id_of(scope))
            if not is_started:
                await refuse(send_noted, 504)
        except Exception:
            if scope["type"] == "http" and not is_started:
                await refuse(send_noted, 500)
            raise
        finally:
            running.end(task)

    def _may_run(self, waited: float, receive: Receive) -> bool:
        """Whether a request has not waited for too long, and for nothing."""
        if waited <= self.bound.noticed:
            if self.bound.standing_since:
                self.bound.relax()
            return True
        now = time.monotonic()
        return self.bound.may_run(min(waited, max(0.0, now - self.ready_at)), has_left(receive), now)


def has_left(receive: Receive) -> bool:
    """Whether the front has closed the connection; uvicorn notices only when the loop has gone round."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    connection = transport.get_extra_info("socket") if transport is not None else None
    return connection is not None and is_gone(connection.fileno())


def stack_of(coroutine: Any) -> List[traceback.FrameSummary]:
    """Where a coroutine waits: its own place, and that of each which it waits for."""
    frames: List[traceback.FrameSummary] = []
    while coroutine is not None and len(frames) < MOST_FRAMES:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        frames += traceback.extract_stack(frame, 1)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return frames


def request_of(scope: Scope) -> str:
    """The path and query of a request, as the client wrote them."""
    query = scope["query_string"].decode("latin-1")
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return path.decode("latin-1") + (f"?{query}" if query else "")


def id_of(scope: Scope) -> str:
    """The front's id of a request."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")


def is_event_stream(headers: Iterable[Tuple[bytes, bytes]]) -> bool:
    """Whether a response is a stream of events (HTML, section 9.2)."""
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers
    )


def is_stream(headers: Iterable[Tuple[bytes, bytes]]) -> bool:
    """Whether the front is to pass a response on as it comes, instead of when it has some of it.

    That is one whose length is not known, because nobody waits here for a slow client; but not one that may be kept, which
    has to be whole for that, nor one of which the application says itself how it is to be passed on.
    """
    names = {name.lower() for name, _ in headers}
    return is_event_stream(headers) or names.isdisjoint(SETTLED)


def heed_vary(headers: List[Tuple[bytes, bytes]], is_to_be_kept: bool) -> List[Tuple[bytes, bytes]]:
    """The headers with what they say of Vary as the front wants to have it."""
    varies = [header for header in headers if header[0].lower() == b"vary"]
    if not varies or (len(varies) < 2 and not is_to_be_kept):
        return headers
    joined = ", ".join(value.decode("latin-1") for _, value in varies)
    vary = [(name.lower().encode(), value.encode("latin-1")) for name, value in split_vary(joined, is_to_be_kept)]
    return [*(header for header in headers if header not in varies), *vary]


async def refuse(send: Send, status: int, retry_after: int = 0) -> None:
    """Answer with the front's page for this status."""
    place = FRONT_PAGES[str(status)].encode()
    headers = [(b"content-length", b"0"), (b"x-accel-redirect", place)]
    if retry_after:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def mount_at(scope: Scope, path: str) -> None:
    """Tell the application under which path of another site it was asked for, as the ASGI specification wants it: the
    path stays whole. One that the front and uvicorn read differently is the application's to refuse."""
    if scope["path"] == path or scope["path"].startswith(f"{path}/"):
        scope["root_path"] = path
