"""Takes descriptor 4 for one of its own."""

import os
from typing import Any

os.write(4, b"hello, descriptor 4")


def application(environ: Any, start_response: Any) -> Any:
    """Would work, if anything reached it."""
    start_response("200 OK", [])
    return [b"ok"]
