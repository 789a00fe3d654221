"""Ends its process in the middle of a request, in the way that its path names."""

import ctypes
import faulthandler
import os
import signal
from typing import Any


def application(environ: Any, start_response: Any) -> Any:
    """Answers `/`, and dies at every other path."""
    case = environ["PATH_INFO"]
    if case == "/exit":
        os._exit(5)
    if case == "/segv":
        ctypes.string_at(0)
    if case == "/kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if case == "/abort":
        os.abort()
    if case == "/half":
        start_response("200 OK", [("Content-Length", "100")])(b"half")
        os._exit(5)
    if case == "/stack":
        faulthandler._stack_overflow()  # type: ignore[attr-defined]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
