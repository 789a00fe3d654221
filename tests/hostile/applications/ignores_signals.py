"""Does not want to go: ignores whatever it is told, and runs a thread that is no daemon."""

import os
import signal
import threading
import time
from typing import Any

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT):
    signal.signal(number, signal.SIG_IGN)
threading.Thread(target=lambda: time.sleep(10**6)).start()


def application(environ: Any, start_response: Any) -> Any:
    """Takes its time at one path."""
    if environ["PATH_INFO"] == "/never":
        time.sleep(10**6)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
