"""Changes everything about its process that a request should leave alone, and goes on."""

import os
import signal
import socket
import sys
import threading
import time
from typing import Any

socket.setdefaulttimeout(0.001)


def application(environ: Any, start_response: Any) -> Any:
    """Spoils, and answers."""
    os.chdir("/")
    os.umask(0o777)
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.environ.clear()
    sys.path.clear()
    sys.stdout.close()
    sys.stderr = None
    environ.clear()
    for name in [name for name in sys.modules if name.startswith("hostel.protocol")]:
        del sys.modules[name]
    threading.stack_size(32768)
    time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
