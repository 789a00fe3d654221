"""A site's warden: the first process of its namespaces, which lives as long as they do. Standard library only.

The hard part is that the first process of a PID namespace is special: it is handed every orphan, and when it ends the
kernel kills all others. So it is a process that runs nothing of a site and does nothing but wait: a site's workers come
and go, what they leave behind is reaped here, and one SIGKILL from outside ends all of it, however it has hidden.

It says one line to whoever ordered it: ``ready``, or why not. The other end of that pipe is closed with its death.
"""

from __future__ import annotations

import os
import signal
from typing import Any, NoReturn, Sequence, Tuple

from hostel.errors import HostelError
from hostel.sandbox import operations, syscalls
from hostel.zygote.descriptors import close_from

READY = b"ready"
NEW = -2  # in place of a pidfd: a namespace that is made now


def fork_warden(plan: Sequence[Tuple[Any, ...]], output: int) -> int:
    """Fork a warden into a new PID namespace; returns its pid. Raises ``OSError``.

    ``plan``: the operations that make the namespaces. ``output``: the descriptor it says its line to.
    """
    pid = fork_into(NEW)
    if not pid:
        _live(plan, output)
    return pid


def fork_into(room: int) -> int:
    """fork(2) such that the child is born in a room's PID namespace: a warden's pidfd, ``NEW``, or -1 for our own."""
    own = send_children(room)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid:
            take_children_back(own)
        elif own >= 0:
            os.close(own)
    return pid


def send_children(room: int) -> int:
    """Have children that are forked from now on born in a room's PID namespace; returns what ends it."""
    if room == -1:
        return -1
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if room == NEW:
            syscalls.unshare(syscalls.CLONE_NEWPID)
        else:
            syscalls.setns(room, syscalls.CLONE_NEWPID)
    except OSError:
        os.close(own)
        raise
    return own


def take_children_back(own: int) -> None:
    """Have them born with us again."""
    if own >= 0:
        syscalls.setns(own, syscalls.CLONE_NEWPID)
        os.close(own)


def _live(plan: Sequence[Tuple[Any, ...]], output: int) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(output, 3)
        close_from(4)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.close(null)
        try:
            operations.run(plan)
        except (HostelError, OSError) as error:
            os.write(3, str(error).encode()[:2000])
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        os.write(3, READY)
        while True:
            signal.sigwait([signal.SIGCHLD])
            _reap()
    finally:
        os._exit(70)  # never back into the frames of whoever forked


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass  # nobody is left
