"""What descriptors this process has open, and how those of a worker come to their fixed numbers."""

from __future__ import annotations

import os
from typing import Dict, Sequence


def open_descriptors() -> Dict[int, str]:
    """The numbers of this process's open descriptors, and what is behind each."""
    found: Dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the listing's own
    return found


def close_from(first: int) -> None:
    """Close every descriptor from this number on."""
    os.closerange(first, 1024)
    for number in open_descriptors():
        if number >= 1024:
            os.close(number)


def arrange_descriptors(descriptors: Sequence[int], *, has_http: bool = False, has_room: bool = False) -> None:
    """In a fresh worker: give its descriptors their fixed numbers, and close all others.

    ``descriptors``: listening socket, control channel, log pipe, scoreboard, perhaps the HTTP socket, and perhaps the pidfd of
    the site's warden.
    """
    # First out of the way of each other: every source above every target.
    high = [os.dup(number) for number in descriptors]
    while min(high) <= 7:
        high = [os.dup(number) for number in high]
    listener, control, log, board, *more = high
    targets = [(log, 1), (log, 2), (listener, 3), (control, 4), (board, 5)]
    targets += zip(more, [6] * has_http + [7] * has_room)
    os.closerange(6, 8)
    for source, target in targets:
        os.dup2(source, target, inheritable=target < 3)
    close_from(8)
