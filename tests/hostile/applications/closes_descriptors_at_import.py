"""Closes all descriptors it did not open itself, as daemons do."""

import os
from typing import Any

os.closerange(0, 10)


def application(environ: Any, start_response: Any) -> Any:
    """Would work, if anything reached it."""
    start_response("200 OK", [])
    return [b"ok"]
