"""Closes descriptors that are not its own in the middle of a request: all, or the one that its path names."""

import os
from typing import Any


def application(environ: Any, start_response: Any) -> Any:
    """Closes, and tries to answer."""
    case = environ["PATH_INFO"][1:]
    if case == "all":
        os.closerange(0, 100)
    elif case:
        os.close(int(case))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
