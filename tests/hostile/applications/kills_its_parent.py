"""Ends its parent, which it may when it runs as the same user."""

import os
import signal
from typing import Any


def application(environ: Any, start_response: Any) -> Any:
    """Kills its zygote at one path."""
    if environ["PATH_INFO"] == "/kill":
        os.kill(os.getppid(), signal.SIGKILL)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
