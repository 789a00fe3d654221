"""The requests that an ASGI worker runs: told of on the scoreboard, and cancelled when they take too long.

The hard part is that one thread has them all. So the scoreboard tells of the oldest of those that may not take any time
(WebSockets and streams of events may), and one timer waits for that one's time. A request that computes, instead of
waiting, blocks the loop and with it that timer; the manager sees from outside that the oldest is too old, and its signal
raises in whatever the loop runs.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from typing import Any, Dict, FrozenSet, List, MutableMapping, Optional, Set

from hostel.worker import scoreboard
from hostel.worker.gauge import Gauge
from hostel.worker.stuck import RequestTooLong
from hostel.worker.telling import complain

STUBBORN_SECONDS = 4.0  # after a task was cancelled: before the manager ends the worker (GRACE in machine/health.py)
MOST_FRAMES = 100
Scope = MutableMapping[str, Any]


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
