"""How many requests wait in a site's queue: the kernel's own count, asked for by number of the socket.

Nothing in the socket interface tells it, but the kernel's socket diagnostics do (sock_diag(7), ``UDIAG_SHOW_RQLEN``), which
``ss -xl`` shows as Recv-Q: 6 microseconds for one socket, without privileges. A kernel may be built without them; then all
that is known is whether anybody waits, and pools grow one by one.
"""

from __future__ import annotations

import os
import select
import socket
import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
UDIAG_SHOW_RQLEN = 0x10
UNIX_DIAG_RQLEN = 4
ANY = 0xFFFFFFFF
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
REQUEST = struct.Struct("=BBHIIIII")  # struct unix_diag_req: family, protocol, -, states, inode, show, cookie (2)
MESSAGE_BYTES = 16  # struct unix_diag_msg
ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type


class QueueMeter:
    """Tells the lengths of listening Unix sockets' queues."""

    def __init__(self) -> None:
        try:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._kernel: socket.socket | None = socket.socket(socket.AF_NETLINK, kind, NETLINK_SOCK_DIAG)
        except OSError:
            self._kernel = None

    def length(self, descriptor: int) -> int:
        """How many connections wait to be accepted; 1 for any number where the kernel does not count them for us."""
        if self._kernel is not None:
            try:
                return self._ask(self._kernel, os.fstat(descriptor).st_ino)
            except (OSError, ValueError, struct.error):
                self.close()
        return int(is_somebody_waiting(descriptor))

    def close(self) -> None:
        """Ask the kernel no more."""
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    def _ask(self, kernel: socket.socket, inode: int) -> int:
        request = REQUEST.pack(socket.AF_UNIX, 0, 0, ANY, inode, UDIAG_SHOW_RQLEN, ANY, ANY)
        kernel.send(HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + request)
        answer = kernel.recv(4096)
        length, kind, *_ = HEADER.unpack_from(answer)
        if kind != SOCK_DIAG_BY_FAMILY:
            raise ValueError("the kernel has refused")
        offset = HEADER.size + MESSAGE_BYTES
        while offset < length:
            size, attribute = ATTRIBUTE.unpack_from(answer, offset)
            if attribute == UNIX_DIAG_RQLEN:
                return int(struct.unpack_from("=I", answer, offset + ATTRIBUTE.size)[0])
            offset += size + 3 & ~3 or length
        raise ValueError("the kernel has not told it")


def is_somebody_waiting(descriptor: int) -> bool:
    """Whether a connection waits on a listening socket."""
    asking = select.poll()
    asking.register(descriptor, select.POLLIN)
    return bool(asking.poll(0))
