"""Forks while it is imported, and goes on in both processes."""

import os
from typing import Any

PARENT = os.getpid()
os.fork()


def application(environ: Any, start_response: Any) -> Any:
    """Says whether it is served by the process that Hostel started."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"original" if os.getpid() == PARENT else b"copy"]
