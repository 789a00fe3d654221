"""Getting a request to end that has run for too long: by an exception, raised in its own thread and nowhere else.

The hard part is to hit nothing but the application. The manager, which sees on the scoreboard that a request is too old, can
only send a signal; Python runs its handler in the main thread, between two instructions of whatever that is doing. So the
handler looks itself who is too old, and raises only where the application is running. In the main thread that ends even a
system call that waits, as a sleep or a read. In other threads the exception comes with the next instruction that is
Python's: one that waits in a system call or computes in C does not notice, and is left to the manager, which ends the worker.

The exception is not an ``Exception``, so that an application's own handling of errors lets it pass.
"""

from __future__ import annotations

import faulthandler
import signal
import threading
import time
from typing import Any, List

from hostel.worker.scoreboard import BEGAN, SLOT

INTERRUPT = signal.SIGRTMIN + 8  # to raise in the requests that have run for too long; applications use none of these
STACKS = signal.SIGRTMIN + 9  # to write the stack of every thread to the error log, even if C code never returns


class RequestTooLong(BaseException):
    """Raised in a request that has taken longer than the site's ``limits.request``."""

    def __str__(self) -> str:
        return "this request takes longer than limits.request of its site allows"


class Interrupter:
    """Knows which threads run the application. ``limit`` is in seconds."""

    def __init__(self, board: memoryview[float], threads: int, limit: float) -> None:
        self.board = board
        self.limit = limit
        self.threads = [0] * threads  # their identifiers, by slot
        self.is_inside = [False] * threads  # the application, and not our own code
        self.told: List[float] = [0.0] * threads  # the begin of the request in which it was raised

    def enter(self, slot: int) -> None:
        """This thread serves this slot from now on."""
        self.threads[slot] = threading.get_ident()

    def leave(self, slot: int) -> None:
        """The application has returned to this thread, or has raised."""
        self.is_inside[slot] = False
        if self.told[slot]:
            self.told[slot] = 0.0
            raise_in(self.threads[slot], None)  # should it not have come yet

    def interrupt(self, *_: Any) -> None:
        """The signal's handler: raise in each request that is too old, once."""
        now, is_own = time.monotonic(), False
        for slot, thread in enumerate(self.threads):
            began = self.board[slot * SLOT + BEGAN]
            if not self.is_inside[slot] or not began or now - began < self.limit or self.told[slot] == began:
                continue
            self.told[slot] = began
            if thread == threading.get_ident():
                is_own = True
            else:
                raise_in(thread, RequestTooLong)
        if is_own:
            raise RequestTooLong


def raise_in(thread: int, error: Any) -> None:
    """Let another thread raise an exception of this class soon (PyThreadState_SetAsyncExc); None takes it back."""
    try:
        import ctypes  # of no use to a worker without such requests
    except ImportError:
        return  # a Python without it: the manager will end the worker
    argument = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), argument)


def obey_signals(interrupt: Any) -> None:
    """Let the manager's signals have their effect in this process. ``faulthandler`` writes to descriptor 2."""
    signal.signal(INTERRUPT, interrupt)
    faulthandler.register(STACKS, file=2, all_threads=True)
