"""The scoreboard: one page of memory that a worker writes and the manager reads, so that no request costs a message.

The worker owns the content and may write anything into it; the manager takes it as a claim about that site only. The
memory file is sealed against shrinking, because reading a mapping of a shrunk file would kill the manager (SIGBUS,
memfd_create(2)).

Layout: an array of doubles, three for each slot (a thread; for ASGI the whole worker): how many requests run now, when
the present one began (``CLOCK_MONOTONIC``, seconds, 0 when idle), and how many have been served.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
from typing import NamedTuple

BYTES = 4096
SLOT = 3
SLOTS = BYTES // 8 // SLOT


class Reading(NamedTuple):
    """What a scoreboard says: requests running now, requests ever served, the begin of the oldest running one or 0."""

    busy: int
    served: int
    oldest: float


def create() -> int:
    """A descriptor of a new, sealed scoreboard."""
    descriptor = os.memfd_create("hostel-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, BYTES)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def attach(descriptor: int) -> memoryview[float]:
    """The scoreboard behind a descriptor as a writable array of doubles; the descriptor may be closed afterwards."""
    # Up to Python 3.12 the mapping keeps a copy of the descriptor open, for a resize that we never do.
    options = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    return memoryview(mmap.mmap(descriptor, BYTES, **options)).cast("d")


def read(board: memoryview[float], slots: int) -> Reading:
    """Sum up the first ``slots`` slots; values that make no sense count as nothing."""
    values = board[: slots * SLOT].tolist()
    busy, served = sum(values[0::SLOT]), sum(values[2::SLOT])
    oldest = min((begin for begin in values[1::SLOT] if begin > 0), default=0.0)
    if not (0 <= busy < 1e6 and 0 <= served < 1e15):
        return Reading(0, 0, 0.0)
    return Reading(int(busy), int(served), oldest)
