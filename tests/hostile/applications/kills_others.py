"""Tries to end its parent, and finds out which other processes it could end."""

import json
import os
import signal
from typing import Any


def application(environ: Any, start_response: Any) -> Any:
    """Says whom of other users it could signal."""
    hit = []
    for pid in sorted({os.getppid(), 1, *(int(name) for name in os.listdir("/proc") if name.isdigit())}):
        try:
            if os.stat(f"/proc/{pid}").st_uid != os.getuid():
                os.kill(pid, signal.SIGKILL if pid == os.getppid() else 0)
                hit.append(pid)
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(hit).encode()]
