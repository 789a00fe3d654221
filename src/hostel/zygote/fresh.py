"""A worker that shares nothing: after the fork it executes its interpreter anew, and is handed its order once more.

The hard part is that it stays the zygote's child, with the pid, the namespaces and the descriptors that it was born with, so
that nobody else has to know. Nothing of the process's memory outlives execve(2): the key of string hashes, the layout of the
addresses and the state of random numbers are its own. What the zygote has imported is gone, too: that is the price.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from hostel.wire import StartWorker, decode, encode

DESCRIPTORS = range(3, 8)  # what a worker may have beside its output; see worker.main


def execute(worker: Any, entry: str, word: str) -> None:
    """Become a new interpreter, told by ``word``, with the same order. Returns only when that fails; the manager is told."""
    try:
        order = os.memfd_create("order", 0)
        os.write(order, encode(worker.order))
        os.lseek(order, 0, os.SEEK_SET)
        for number in (*DESCRIPTORS, order):
            try:
                os.set_inheritable(number, True)
            except OSError:
                pass  # this worker has none of this number
        os.execv(sys.executable, [sys.executable, "-I", "-X", "utf8", entry, word, str(order)])
    except OSError as error:
        reason = f"cannot start a new interpreter: {error.strerror}"
        sys.exit(worker.fail(reason, 'start = "fork" in the site file does without', ""))


def take_order(descriptor: int) -> StartWorker:
    """The order that was left for the new interpreter."""
    with open(descriptor, "rb") as file:
        order = decode(file.read())
    assert isinstance(order, StartWorker)
    for number in DESCRIPTORS:
        try:
            os.set_inheritable(number, False)
        except OSError:
            pass
    return order
