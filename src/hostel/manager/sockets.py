"""Listening sockets: bound once, lent to workers, watched while no worker accepts on them.

The hard part is ten thousand of them. They are bare descriptors in one epoll instance, which is itself the only one of
them that the event loop knows, so a sleeping site costs a descriptor and two dictionary entries. Watching is one-shot:
a request that waits is reported once, and nothing more is heard of the socket until somebody watches it again.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable

from hostel.errors import HostError

BACKLOG = 65535  # the kernel lowers it to net.core.somaxconn


def bind_site_socket(path: str) -> int:
    """Bind and listen at a path of the run tree (relative, so that its length does not depend on the run directory's).

    The front may connect and nobody else: mode 0660, and the group is that of the folder, which passes it on.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o117)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            os.unlink(path)  # a dead one
            sock.bind(path)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise HostError(f"cannot listen at {path}: {error.strerror}") from None
    finally:
        os.umask(mask)
    return sock.detach()


def bind_front_socket(address: str) -> int:
    """Bind and listen at ``HOST:PORT`` for the front. Raises ``HostError`` with what to do."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        sock.bind((host, int(port)))
        sock.listen(BACKLOG)
        sock.setblocking(False)  # nginx takes it as it is, and would wait in accept for ever when another was faster
    except OSError as error:
        sock.close()
        hint = "choose another address with --listen"
        if isinstance(error, PermissionError):
            hint = "ports below 1024 need root, or the capability CAP_NET_BIND_SERVICE"
        elif "in use" in str(error.strerror).lower():
            hint = f"something else listens there (see: ss -ltnp 'sport = :{port}'); stop it, or {hint}"
        raise HostError(f"cannot listen at {address}: {error.strerror}", hint) from None
    return sock.detach()


class QueueWatcher:
    """Tells which watched sockets have somebody waiting. Its own descriptor is readable when one has."""

    def __init__(self, on_request: Callable[[str], None], on_broken: Callable[[str], None]) -> None:
        self.epoll = select.epoll()
        self.on_request = on_request
        self.on_broken = on_broken  # a worker has shut the listening socket down (shutdown(2) works through any copy)
        self._sites: dict[int, str] = {}

    def fileno(self) -> int:
        return self.epoll.fileno()

    def watch(self, descriptor: int, site: str) -> None:
        """Report the next request on this socket, once."""
        mask = select.EPOLLIN | select.EPOLLONESHOT
        if descriptor in self._sites:
            self.epoll.modify(descriptor, mask)
        else:
            self._sites[descriptor] = site
            self.epoll.register(descriptor, mask)

    def unwatch(self, descriptor: int, site: str) -> None:
        """Report no requests for now; that a socket has been shut down is reported always."""
        if descriptor in self._sites:
            self.epoll.modify(descriptor, select.EPOLLONESHOT)
        else:
            self._sites[descriptor] = site
            self.epoll.register(descriptor, select.EPOLLONESHOT)

    def forget(self, descriptor: int) -> None:
        """The socket is about to be closed."""
        if self._sites.pop(descriptor, None) is not None:
            self.epoll.unregister(descriptor)

    def report(self) -> None:
        """Call back for every socket that has something to say."""
        for descriptor, events in self.epoll.poll(0, 256):
            site = self._sites.get(descriptor)
            if site is None:
                continue
            if events & (select.EPOLLHUP | select.EPOLLERR):
                self.on_broken(site)
            elif events & select.EPOLLIN:
                self.on_request(site)
