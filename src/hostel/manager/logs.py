"""A site's error log: what its workers write, line by line, with the time and the worker.

The hard part is that a tenant decides what is written and how much. The log belongs to root, and only the manager
writes to it; control characters are escaped, so no line can pretend to be another or command a terminal; the rate is
bounded for each site, counted in what ends up in the file (a line costs its time stamp, be it empty), by reading no
faster, which makes the writer wait; the size is bounded by turning the file over (``turning``), as that of the access log is,
which the front writes.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import termios
import time

from hostel.manager.turning import Bounds, is_due, turn_over

READ_BYTES = 8192
RATE = 2_000_000  # bytes a second that one site may write
SLACK_SECONDS = 0.01  # by which it may be ahead
LINE_BYTES = 16384  # a longer line is cut into pieces
TAIL_LINES, TAIL_BYTES = 60, 4096
LAST_BYTES = 256 * 1024  # of a dead worker; a pipe holds 64 KiB unless somebody has made it larger

# What moves the cursor, ends a line, or changes the direction of writing.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 9}
_ESCAPES |= {code: f"\\u{code:04x}" for code in (0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))}


def escape(data: bytes) -> str:
    """Text for a log: control characters and what is not UTF-8 as escapes."""
    return data.decode("utf-8", "backslashreplace").translate(_ESCAPES)


def stamp(now: float) -> str:
    """A time in UTC, to the millisecond."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"


def escape_text(text: str) -> str:
    """Text of several lines, which it keeps, that somebody else wrote: fit for logs, terminals and JSON."""
    return "\n".join(escape(line.encode("utf-8", "surrogatepass")) for line in text.split("\n"))


class Log:
    """Takes lines, and knows how fast."""

    full_until = 0.0  # monotonic time until which its rate is used up

    def write(self, tag: str, lines: list[str]) -> None:
        """Append lines. A full disk loses them and nothing else."""
        prefix = f"{stamp(time.time())} [{tag}] "
        data = "".join(f"{prefix}{line}\n" for line in lines).encode("utf-8", "backslashreplace")
        self.full_until = max(self.full_until, time.monotonic()) + len(data) / RATE
        with contextlib.suppress(OSError):
            self.put(data)

    def put(self, data: bytes) -> None:
        """Append whole lines. Raises ``OSError``."""
        raise NotImplementedError


class SiteLog(Log):
    """The error log of one site; the file is open only while something is written now and then.

    The folder and its files belong to root, the group of the site's user may read them, and the front writes its access
    log there into a file that exists already.
    """

    def __init__(self, folder: str, bounds: Bounds) -> None:
        self.folder = folder
        self.bounds = bounds
        self.path = os.path.join(folder, "error.log")
        self.access_path = os.path.join(folder, "access.log")
        self._descriptor = -1
        self._size = 0

    def prepare(self, gid: int | None, front_uid: int | None) -> None:
        """Make the folder and the access log; ``gid`` and ``front_uid`` are None when Hostel runs unprivileged."""
        try:
            os.mkdir(self.folder, 0o751)
        except FileExistsError:
            if os.path.lexists(self.access_path) and gid in (None, os.stat(self.folder).st_gid):
                return
        descriptor = os.open(self.access_path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        if gid is not None and front_uid is not None:
            os.chown(self.folder, 0, gid)
            os.fchown(descriptor, front_uid, gid)
            for name in os.listdir(self.folder):  # of an earlier user of the site
                owner = front_uid if name.startswith("access.") else 0
                os.chown(os.path.join(self.folder, name), owner, gid, follow_symlinks=False)
        os.close(descriptor)

    def put(self, data: bytes) -> None:
        try:
            if self._descriptor < 0:
                self._open()
            if self._size > self.bounds.size:
                self._turn()
            self._size += os.write(self._descriptor, data)
        except OSError:
            self.close()  # the next time may be better
            raise

    def turn_what_is_due(self, now: float) -> None:
        """Turn over the logs that are full or old; ``now`` is the time of day. Raises ``OSError``."""
        if is_due(self.access_path, self.bounds, now):
            turn_over(self.access_path, self.bounds.keep)
        if self.bounds.age and is_due(self.path, self.bounds, now):  # its size is seen to when something is written
            self._turn()

    def _turn(self) -> None:
        self.close()
        turn_over(self.path, self.bounds.keep)
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o640)
        self._size = os.fstat(self._descriptor).st_size
        if os.geteuid() == 0:
            os.fchown(self._descriptor, 0, os.stat(self.folder).st_gid)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class ServerLog(Log):
    """The server's own log, its standard error; for what tenants' programs say that belongs to no one site."""

    def put(self, data: bytes) -> None:
        os.write(2, data)


class LogReader:
    """Reads one worker's output from a pipe into its site's log until all its writers are gone."""

    def __init__(self, descriptor: int, log: Log, tag: str) -> None:
        self.descriptor = descriptor
        self.log = log
        self.tag = tag
        self.tail = ""  # the end of what was written, for the record of a failure
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        self._take()
        pause = self.log.full_until - time.monotonic()
        if pause > SLACK_SECONDS and self.descriptor >= 0:
            self._loop.remove_reader(self.descriptor)
            self._loop.call_later(pause, self._resume)

    def _resume(self) -> None:
        if self.descriptor >= 0:
            self._loop.add_reader(self.descriptor, self._read)

    def _take(self) -> int:
        """Read once; how many bytes there were."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.close()
            return 0
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > LINE_BYTES:
            lines.append(self._rest[:LINE_BYTES])
            self._rest = self._rest[LINE_BYTES:]
        self._write(lines)
        return len(data)

    def _write(self, lines: list[bytes]) -> None:
        if lines:
            pieces = [line[i : i + LINE_BYTES] for line in lines for i in range(0, len(line) or 1, LINE_BYTES)]
            texts = [escape(piece) for piece in pieces]
            self.log.write(self.tag, texts)
            last = texts[-TAIL_LINES:]
            self.tail = "\n".join([self.tail, *last] if self.tail else last)[-TAIL_BYTES:]

    def drain(self) -> None:
        """Take in what is there now: the worker is dead, and its last words matter. Others may still be writing."""
        left = min(self._waiting(), LAST_BYTES)
        while left > 0 and (taken := self._take()):
            left -= taken
        self._finish()

    def _waiting(self) -> int:
        """How many bytes are in the pipe (FIONREAD, ioctl_tty(2))."""
        count = array.array("i", [0])
        if self.descriptor >= 0:
            fcntl.ioctl(self.descriptor, termios.FIONREAD, count)
        return count[0]

    def _finish(self) -> None:
        """A line without its end is a line too."""
        if self._rest:
            self._write([self._rest])
            self._rest = b""

    def close(self) -> None:
        if self.descriptor >= 0:
            self._loop.remove_reader(self.descriptor)
            os.close(self.descriptor)
            self.descriptor = -1
        self._finish()


def prepare_folder(path: str, mode: int) -> None:
    """Make a folder of the server, its parents included."""
    os.makedirs(path, exist_ok=True)
    with contextlib.suppress(PermissionError):
        os.chmod(path, mode)
