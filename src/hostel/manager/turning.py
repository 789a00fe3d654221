"""Turning logs over: when a log is full or old, and how an empty one takes its place.

The hard part is that the front has access logs open and writes to them by itself. At no moment may such a log's name lead to
nothing, because the front may not make files there; so the full one gets a second name first, and then the empty one, with
owner and mode set, is renamed over the first name. And for a while (``open_log_file_cache``) lines still go to the one that was
turned over: whoever moves or packs it has to wait for so long. The folder belongs to root, so nobody can put a link there.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a log is turned over: at ``size`` bytes, after ``age`` seconds (0: never); ``keep`` older files are kept."""

    size: int
    age: float = 0.0
    keep: int = 1


def is_due(path: str, bounds: Bounds, now: float) -> bool:
    """Whether a log is to be turned over; ``now`` is the time of day. One that is empty or missing is not."""
    try:
        size = os.lstat(path).st_size
    except OSError:
        return False
    if size > bounds.size:
        return True
    return bool(bounds.age and size and now - begin_of(path) > bounds.age)


def begin_of(path: str) -> float:
    """Since when a log is written to: since the one before it lost its name, or since there are logs in its folder."""
    try:
        return os.lstat(f"{path}.1").st_ctime
    except OSError:
        return os.lstat(os.path.dirname(path)).st_mtime


def turn_over(path: str, keep: int) -> None:
    """Give a log's place to an empty one with the same owner and mode. Raises ``OSError``."""
    status = os.lstat(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(f"{path}.new", flags, 0o600)
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, status.st_mode & 0o777)
    finally:
        os.close(descriptor)
    for number in range(keep, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            if number == keep:
                os.unlink(f"{path}.{number}")
            else:
                os.rename(f"{path}.{number}", f"{path}.{number + 1}")
    os.link(path, f"{path}.1")
    os.rename(f"{path}.new", path)
