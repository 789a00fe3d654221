"""How much of a disk a system user may have: quotas of the file system, where it has any.

The hard part is to say truly what holds. Quotas exist when the kernel was built with them, the file system was made or
mounted with them, and they have been switched on; only asking tells. And they are a user's, not a site's: so they are set for
users only that a site has to itself, and never for an account of the machine. Sources: quotactl(2), linux/quota.h.
"""

from __future__ import annotations

import ctypes
import os
import struct

from hostel.errors import HostError

BLOCK = 1024  # bytes, of which the limits are multiples
_QUOTACTL_FD = 443  # Linux 5.14
_GET, _SET, _USER = 0x800007, 0x800008, 0
_BLOCK_LIMITS = 1  # QIF_BLIMITS: of all fields these are meant
_FORMAT = "QQQQQQQQI4x"  # struct if_dqblk

_libc = ctypes.CDLL(None, use_errno=True)


def find_limit(path: str, uid: int) -> int:
    """How many bytes a user may have on the file system of a path; 0 means as many as there are.

    Raises ``HostError`` when there are no quotas, with the reason.
    """
    return int(struct.unpack(_FORMAT, _quotactl(path, _GET, uid, bytes(struct.calcsize(_FORMAT))))[0]) * BLOCK


def set_limit(path: str, uid: int, most: int) -> None:
    """Have a user write no more than ``most`` bytes to the file system of a path, and see that it holds. Raises ``HostError``."""
    blocks = -(-most // BLOCK)
    if find_limit(path, uid) == blocks * BLOCK:
        return
    _quotactl(path, _SET, uid, struct.pack(_FORMAT, blocks, blocks, 0, 0, 0, 0, 0, 0, _BLOCK_LIMITS))
    if find_limit(path, uid) != blocks * BLOCK:
        raise HostError(f"the quota of user {uid} on the file system of {path} does not hold")


def obstacle(path: str, uid: int) -> str:
    """Why a user cannot be bounded on the file system of a path, in words; empty when nothing keeps from it."""
    try:
        find_limit(path, uid)
    except HostError as error:
        return str(error)
    return ""


def _quotactl(path: str, command: int, uid: int, data: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(data, len(data))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"{path} cannot be looked at: {error.strerror}") from None
    try:
        order = ctypes.c_uint(command << 8 | _USER)
        if _libc.syscall(ctypes.c_long(_QUOTACTL_FD), ctypes.c_uint(descriptor), order, ctypes.c_uint(uid), buffer):
            reason = os.strerror(ctypes.get_errno())
            raise HostError(f"the file system of {path} has no quotas by user that are on ({reason})")
    finally:
        os.close(descriptor)
    return buffer.raw
