"""Writes a megabyte while it is imported."""

import os
import sys
from typing import Any

print("x" * 99)
sys.stdout.write("a line of thirty-two characters\n" * 32768)
os.write(1, b"the end\n")


def application(environ: Any, start_response: Any) -> Any:
    """Works."""
    start_response("200 OK", [])
    return [b"ok"]
