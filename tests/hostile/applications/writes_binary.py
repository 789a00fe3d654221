"""Writes what no terminal should see, and no log should keep as it is."""

import os
import sys
from typing import Any

GARBAGE = (
    bytes(range(256)) + b"\x1b]0;title\x07\x1b[2J\x9b31m" + "\u202egnihtyna\u2028new line?".encode() + b"\xff\xfe\n"
)


def application(environ: Any, start_response: Any) -> Any:
    """Writes by all ways there are."""
    os.write(1, GARBAGE)
    os.write(2, GARBAGE)
    print("\ud800 half a pair", file=sys.stderr)
    print("2026-01-01T00:00:00.000Z [hostel] serving -> failed\r2026", file=environ["wsgi.errors"])
    start_response("200 OK", [])
    return [b"ok"]
