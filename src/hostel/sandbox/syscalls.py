"""The system calls that Python does not have, through ctypes. Standard library only, Python 3.9."""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: int = 0) -> int:
    """prctl(2) with one argument; raises ``OSError``."""
    return _checked(_libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0))


def inotify_init() -> int:
    """A descriptor on which the kernel reports changes of files; inotify(7)."""
    return _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def inotify_add_watch(descriptor: int, path: str, mask: int) -> int:
    """Have changes of what a path leads to reported; returns the number under which they will be. Raises ``OSError``."""
    return _checked(_libc.inotify_add_watch(descriptor, os.fsencode(path), ctypes.c_uint32(mask)))


def inotify_rm_watch(descriptor: int, number: int) -> None:
    """Have them reported no more; raises ``OSError`` when they are not."""
    _checked(_libc.inotify_rm_watch(descriptor, number))


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
