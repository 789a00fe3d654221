"""Shuts down the listening socket in the middle of a request."""

import os
import socket
from typing import Any


def application(environ: Any, start_response: Any) -> Any:
    """Shuts down at one path."""
    if environ["PATH_INFO"] == "/shut":
        socket.fromfd(3, socket.AF_UNIX, socket.SOCK_STREAM).shutdown(socket.SHUT_RDWR)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
