"""Running a command as a site's worker would be, on the terminal of whoever asks for it.

The hard part is the terminal. A process that has it can type into it (TIOCSTI, ioctl_tty(2)), and what it has typed is
executed by the operator's shell, who may be root, when the command is over. So the command never gets it: it has a terminal of
its own, and this process carries the bytes to and fro. Pipes and files are handed over as they are.

The command has namespaces and a control group of its own, arranged as the site's: those of the running workers end with the
last of them, and a migration should not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from hostel.errors import HostelError, HostError
from hostel.sandbox import operations
from hostel.sandbox.cgroups import Cgroups, Quota
from hostel.sandbox.warden import READY, fork_into, fork_warden
from hostel.zygote.descriptors import open_descriptors

Plan = Sequence[Sequence[Any]]
CANNOT_BECOME, NOT_FOUND, CANNOT_EXECUTE = 111, 127, 126  # exit statuses, the last two as a shell's
BYTES = 65536


@dataclass(frozen=True, slots=True)
class Session:
    """What to run and what to become for it; ``group`` is the name of its control group, empty for none."""

    command: Sequence[str]
    environment: Mapping[str, str]
    room: Plan
    worker: Plan
    joins_processes: bool
    cgroups: Cgroups
    group: str
    quota: Quota


def run(session: Session) -> int:
    """Run the command to its end; its exit status as a shell would say it. Raises ``HostError``."""
    room = warden = -1
    try:
        if session.group:
            session.cgroups.open()
            session.cgroups.make(session.group, session.quota)
        if session.room:
            warden, room = _make_room(session.room)
        status = _run(session, room)
    except OSError as error:
        raise HostError(
            f"cannot run the command as the site: {error.strerror}", "hostel explain says what it needs"
        ) from None
    finally:
        if warden > 0:
            os.kill(warden, signal.SIGKILL)
            os.waitpid(warden, 0)
        if room >= 0:
            os.close(room)
        if session.group:
            _remove(session.cgroups, session.group)
    return status if status >= 0 else 128 - status


def _make_room(plan: Plan) -> tuple[int, int]:
    """The pid of a new warden, and a pidfd of it."""
    reader, writer = os.pipe()
    warden = fork_warden([tuple(step) for step in plan], writer)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read(len(READY))
        if said != READY:
            os.waitpid(warden, 0)
            raise HostError(f"cannot make the site's namespaces: {(said + file.read()).decode(errors='replace')}")
    return warden, os.pidfd_open(warden)


def _run(session: Session, room: int) -> int:
    terminals = [number for number in (0, 1, 2) if os.isatty(number)]
    ours, theirs = os.openpty() if terminals else (-1, -1)
    _copy_size(ours)
    pid = fork_into(room if session.joins_processes else -1)
    if not pid:
        _become(session, room, theirs, terminals)
    try:
        if terminals:
            os.close(theirs)
            _carry(ours, pid, has_input=0 in terminals)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        os.kill(pid, signal.SIGHUP)
        raise


def _copy_size(terminal: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))


def _carry(terminal: int, pid: int, *, has_input: bool) -> None:
    """Carry what is typed to the command's terminal, and what it writes to ours, until the command has ended."""
    before = termios.tcgetattr(0) if has_input else None
    signal.signal(signal.SIGWINCH, lambda *_: _copy_size(terminal))
    end = os.pidfd_open(pid)
    try:
        if has_input:
            tty.setraw(0, termios.TCSADRAIN)  # what has been typed already is for the command
        targets = {0: terminal, terminal: 1} if has_input else {terminal: 1}
        is_over = False
        while not is_over and targets:
            ready = select.select([*targets, end], [], [])[0]
            is_over = ready == [end]  # and nothing is left to be read
            for source in ready:
                if source in targets and not _copy(source, targets[source]):
                    del targets[source]
                    is_over = is_over or source == terminal
    finally:
        if before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, before)
        os.close(end)
        os.close(terminal)  # the command, should it still be there, loses its terminal: SIGHUP


def _copy(source: int, target: int) -> bool:
    """Carry on what is there; False when nothing more will come."""
    try:
        data = os.read(source, BYTES)
    except OSError:  # EIO: nobody has the other side open
        return False
    rest = data
    while rest:
        rest = rest[os.write(target, rest) :]
    return bool(data)


def _become(session: Session, room: int, terminal: int, terminals: Sequence[int]) -> NoReturn:
    try:
        os.setsid()  # away from the operator's terminal
        if terminal >= 0:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for number in terminals:
            os.dup2(terminal, number)
        for number in open_descriptors():
            if number > 2:
                os.set_inheritable(number, False)
        if session.group:
            operations.enter_group(session.cgroups.doors(session.group))
        operations.run([tuple(step) for step in session.worker if step[0] != "become_leader"], room)
        os.execvpe(session.command[0], list(session.command), dict(session.environment))
    except HostelError as error:
        print(f"hostel: {error}", file=sys.stderr, flush=True)
    except OSError as error:
        print(f"hostel: cannot execute {session.command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(NOT_FOUND if isinstance(error, FileNotFoundError) else CANNOT_EXECUTE)
    finally:
        os._exit(CANNOT_BECOME)


def _remove(cgroups: Cgroups, group: str) -> None:
    """End what the command has left behind."""
    deadline = time.monotonic() + 5
    cgroups.kill(group)
    while not cgroups.remove(group) and time.monotonic() < deadline:
        time.sleep(0.01)
        cgroups.kill(group)
