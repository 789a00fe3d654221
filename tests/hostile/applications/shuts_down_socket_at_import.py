"""Shuts down the listening socket, which belongs to all its workers."""

import socket
from typing import Any

socket.fromfd(3, socket.AF_UNIX, socket.SOCK_STREAM).shutdown(socket.SHUT_RDWR)


def application(environ: Any, start_response: Any) -> Any:
    """Would work, if anything reached it."""
    start_response("200 OK", [])
    return [b"ok"]
