"""A program that answers on any number of uwsgi sockets as fast as Python can: ``backend.py READY SOCKET-PATTERN COUNT``.

It stands in the place of ten thousand awake sites, which no machine of this size holds, where only what is before them
is measured. Two processes share the sockets ``SOCKET-PATTERN % number``; READY is a file that is made when they listen.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"
PROCESSES = 2


def main() -> None:
    ready, pattern, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.umask(0)
    listeners = {}
    for number in range(count):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(pattern % number)
        listener.listen(4096)
        listener.setblocking(False)
        listeners[listener.fileno()] = listener
    for _ in range(PROCESSES - 1):
        if not os.fork():
            break
    else:
        open(ready, "w").close()
    waiting = select.epoll()
    for descriptor in listeners:
        waiting.register(descriptor, select.EPOLLIN | select.EPOLLEXCLUSIVE)
    # As Hostel's workers do: the front is not interrupted by whom it wakes.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    while True:
        for descriptor, _ in waiting.poll():
            try:
                connection, _ = listeners[descriptor].accept()
            except BlockingIOError:
                continue  # the other was faster
            with connection, contextlib.suppress(OSError):  # the load generator may have ended
                answer(connection)


def answer(connection: socket.socket) -> None:
    """Read a request's variables to their end, and answer."""
    data = b""
    while len(data) < 4 or len(data) < 4 + (data[1] | data[2] << 8):
        more = connection.recv(8192)
        if not more:
            return
        data += more
    connection.sendall(ANSWER)


if __name__ == "__main__":
    main()
