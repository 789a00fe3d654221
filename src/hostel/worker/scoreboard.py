"""The scoreboard: memory that a worker writes and the manager reads, so that no request costs a message.

The worker owns the content and may write anything into it; the manager takes it as a claim about that site only. The
memory file is sealed against shrinking, because reading a mapping of a shrunk file would kill the manager (SIGBUS,
memfd_create(2)).

Layout: a slot for each thread, or one for the whole of an ASGI worker. A slot is 512 bytes: eight doubles (how many
requests run now; when the present one began, or showed progress last, 0 when it may take any time; how many have been
served; how many run for too long and have been told so; when the worker gave its last sign of life; how many of those that
run do not count as use of the site; how many such have begun; how full the loop of an ASGI worker is, from 0 to 1), and
then a note of which request that is.

The hard part is that the note has to be readable when the worker is stuck or dead, and is written for every request. So
it is the beginning of what the front has sent, copied as it is; the manager takes it apart when somebody wants to know.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
from typing import Iterator, NamedTuple

from hostel.protocol import uwsgi

SLOT_BYTES = 512
SLOT = SLOT_BYTES // 8  # doubles
BUSY, BEGAN, SERVED, OVERDUE, BEAT, IGNORING, IGNORED, LOAD = range(8)
NOTE = 8 * 8  # where in a slot it begins, in bytes
NOTE_BYTES = SLOT_BYTES - NOTE
NAMES = ("HTTP_X_REQUEST_ID", "REQUEST_METHOD", "REQUEST_URI")  # what a note is to have, in the front's order


class Reading(NamedTuple):
    """What a scoreboard says: requests running now, requests ever served, the begin of the oldest running one or 0.

    ``using`` and ``uses``: of those that count as use of the site, how many run, and how many have begun. ``load``: how full the
    worker's loop is, from 0 to 1, when it has one.
    """

    busy: int = 0
    served: int = 0
    oldest: float = 0.0
    using: int = 0
    uses: int = 0
    load: float = 0.0


class Request(NamedTuple):
    """A request as its note tells of it, each part of bounded length, in its client's words."""

    slot: int
    is_running: bool
    began: float  # by the monotonic clock; 0 when it may take any time, or is over
    id: str
    method: str
    url: str


def create(slots: int = 1) -> int:
    """A descriptor of a new, sealed scoreboard."""
    size = -(-slots * SLOT_BYTES // mmap.PAGESIZE) * mmap.PAGESIZE
    descriptor = os.memfd_create("hostel-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def attach(descriptor: int) -> memoryview[float]:
    """The scoreboard behind a descriptor as a writable array of doubles; the descriptor may be closed afterwards."""
    # Up to Python 3.12 the mapping keeps a copy of the descriptor open, for a resize that we never do.
    options = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    return memoryview(mmap.mmap(descriptor, 0, **options)).cast("d")


def make_note(request_id: str, method: str, url: str) -> bytes:
    """A note in the form in which the front would have sent it."""
    values = (text[:NOTE_BYTES] for text in (request_id, method, url))
    return uwsgi.packet(dict(zip(NAMES, values)))[:NOTE_BYTES]


def read(board: memoryview[float], slots: int) -> Reading:
    """Sum up the first ``slots`` slots; values that make no sense count as nothing."""
    end = slots * SLOT
    running, ignoring = board[BUSY:end:SLOT].tolist(), board[IGNORING:end:SLOT].tolist()
    busy, served = sum(running), sum(board[SERVED:end:SLOT].tolist())
    ignored, load = sum(board[IGNORED:end:SLOT].tolist()), board[LOAD]
    oldest = min((began for began in board[BEGAN:end:SLOT].tolist() if began > 0), default=0.0)
    if not (0 <= busy < 1e6 and 0 <= served < 1e15 and 0 <= ignored < 1e15 and 0 <= load <= 1):
        return Reading()
    using = sum(max(0, one - other) for one, other in zip(running, ignoring))  # a thread that is idle may have left one
    if not 0 <= using <= busy:
        using = busy
    return Reading(int(busy), int(served), oldest, int(using), int(busy + served - ignored), load)


def requests(board: memoryview[float], slots: int) -> Iterator[Request]:
    """The request of each slot that ever had one: that which runs (for ASGI the oldest), else the last."""
    memory = board.cast("B")
    for slot in range(slots):
        number = slot * SLOT
        begin = slot * SLOT_BYTES + NOTE
        found = uwsgi.peek(bytes(memory[begin : begin + NOTE_BYTES]), NAMES)
        if found:
            began = board[number + BEGAN]
            began = began if 0 < began < 1e12 else 0.0
            yield Request(slot, board[number + BUSY] >= 1, began, *(found.get(name, "") for name in NAMES))
    memory.release()
