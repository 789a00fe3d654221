"""Calling the running server."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from hostel.api.framing import pack, read_frames
from hostel.errors import Bug, HostelError, HostError, NotRunning, PeerError, SiteError, UsageError

RESTART_SECONDS = 20.0  # for a manager that is being started, or started anew after it died
_ERRORS: dict[str, type[HostelError]] = {
    kind.kind: kind for kind in (SiteError, UsageError, NotRunning, PeerError, HostError, Bug)
}


class Client:
    """A client of the server whose run directory is given."""

    def __init__(self, run_dir: str) -> None:
        self.run_dir = run_dir

    def call(self, call: str, **arguments: Any) -> dict[str, Any]:
        """The whole answer to a call. Raises ``NotRunning``, or the error that the server reports."""
        answer: dict[str, Any] = {}
        for part in self.parts(call, **arguments):
            for key, value in part.items():
                answer[key] = answer[key] + value if key in answer else value
        return answer

    def parts(self, call: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """The answer to a call, in the parts in which it comes. Raises as ``call`` does."""
        with self._connect() as sock:
            try:
                sock.sendall(pack({"call": call, **arguments}))
            except (BrokenPipeError, ConnectionResetError):
                pass  # it says why before it hangs up
            try:
                for frame in read_frames(sock):
                    if error := frame.get("error"):
                        kind = _ERRORS.get(error.get("kind"), HostelError)
                        raise kind(error.get("message", ""), error.get("hint", ""))
                    if frame.get("end"):
                        return
                    yield frame
            except ConnectionResetError:
                pass
        raise NotRunning("the server ended before it answered")

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                return self._try_to_connect()
            except PermissionError:
                raise UsageError(
                    f"cannot control the server at {self.run_dir}: permission denied",
                    "use the user who started it, or root",
                ) from None
            except OSError:
                if not is_locked(self.run_dir):
                    raise NotRunning(
                        f"no server is running at {self.run_dir}",
                        "start one with hostel serve, or name another --run-dir",
                    ) from None
                if time.monotonic() > deadline:
                    raise NotRunning(
                        f"the server at {self.run_dir} does not answer", "what it has printed may say why"
                    ) from None
                time.sleep(0.03)

    def _try_to_connect(self) -> socket.socket:
        folder = os.open(self.run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # A path of our own making, because unix(7) allows 107 bytes, however long that of the run directory is.
            sock.connect(f"/proc/self/fd/{folder}/control.sock")
        except OSError:
            sock.close()
            raise
        finally:
            os.close(folder)
        return sock


def is_locked(run_dir: str) -> bool:
    """Whether a server has this run directory, although it may not answer yet; proc_locks(5)."""
    try:
        inode = os.stat(os.path.join(run_dir, "lock")).st_ino
        with open("/proc/locks") as file:
            return any("FLOCK" in line and f":{inode} " in line for line in file)
    except OSError:
        return False
