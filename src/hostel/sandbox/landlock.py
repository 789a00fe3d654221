"""Landlock: what a process gives up without being root. Standard library only, Python 3.9.

The hard part is that it knows no exceptions, only what is allowed: so writing is allowed below a site's own folders and to
a few devices, reading everywhere, and what lies outside of them is left to the users' rights. From version 6 on it also
keeps signals, and connections to sockets without a path, inside. Source: landlock(7).
"""

from __future__ import annotations

import os
import stat
import struct
from typing import Sequence

from hostel.sandbox import syscalls

SCOPED = 6  # the first version that knows scopes
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_CHANGES = _WRITE_FILE | 0b1111111110000  # remove and make of all kinds, LANDLOCK_ACCESS_FS_*
_REFER = 1 << 13  # a rename or link from one folder to another
_SCOPES = 0b11  # LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and _SIGNAL
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts")


def confine(writable: Sequence[str], *, has_files: bool, version: int) -> None:
    """Give up what Landlock of this version can take: writing elsewhere than below ``writable``, and reaching others.

    Raises ``OSError``. Needs no_new_privs.
    """
    changes = (_CHANGES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)) if has_files else 0
    attributes = struct.pack("QQQ", changes, 0, _SCOPES if version >= SCOPED else 0)
    ruleset = syscalls.landlock_create(attributes[: 24 if version >= SCOPED else 8])
    try:
        for path in (*writable, *DEVICES, "/proc/self") if has_files else ():
            _allow(ruleset, path, changes)
        syscalls.landlock_restrict(ruleset)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, changes: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            changes &= _WRITE_FILE | _TRUNCATE
        syscalls.landlock_allow(ruleset, changes, descriptor)
    finally:
        os.close(descriptor)
