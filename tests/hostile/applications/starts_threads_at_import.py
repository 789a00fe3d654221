"""Starts threads while it is imported, which never end and are no daemons."""

import threading
import time
from typing import Any


def turn() -> None:
    """Goes on for ever."""
    while True:
        time.sleep(0.01)


for _ in range(10):
    threading.Thread(target=turn).start()


def application(environ: Any, start_response: Any) -> Any:
    """Counts them."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(threading.active_count()).encode()]
