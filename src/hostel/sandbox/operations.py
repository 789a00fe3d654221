"""Executing a sandbox plan: each operation does one thing to this process and checks that it is done.

The plan comes from ``sandbox.plan`` as a list of ``(name, argument, ...)``; it is run by a fresh worker, possibly as
root, before any site code. An operation that fails raises ``HostError`` and the worker does not start.
Standard library only, Python 3.9.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import socket
import struct
from typing import Any, Callable, Dict, Sequence, Tuple

from hostel.errors import HostError
from hostel.sandbox import files, landlock, seccomp, syscalls


def reset_signals() -> None:
    """The signal mask and handlers of a fresh interpreter."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals():
        if number in (signal.SIGKILL, signal.SIGSTOP):
            continue
        fresh = signal.SIG_DFL
        if number in (signal.SIGPIPE, getattr(signal, "SIGXFSZ", None)):
            fresh = signal.SIG_IGN
        elif number == signal.SIGINT:
            fresh = signal.default_int_handler  # type: ignore[assignment]
        try:
            signal.signal(number, fresh)
        except (OSError, ValueError):
            pass  # the C library keeps a few real-time signals for itself


def become_leader() -> None:
    """A session of its own: no terminal, and a process group that can be signalled as a whole."""
    os.setsid()


def set_groups(groups: Sequence[int]) -> None:
    os.setgroups(list(groups))
    if sorted(set(os.getgroups())) != sorted(set(groups)):
        raise HostError(f"cannot become the site's user: groups are {os.getgroups()}, not {list(groups)}")


def set_gid(gid: int) -> None:
    os.setresgid(gid, gid, gid)
    if os.getresgid() != (gid, gid, gid):
        raise HostError(f"cannot become the site's user: group ids are {os.getresgid()}, not {gid}")


def set_uid(uid: int) -> None:
    """Become ``uid`` for good: root must not be had back."""
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid):
        raise HostError(f"cannot become the site's user: user ids are {os.getresuid()}, not {uid}")
    if uid:
        try:
            os.setresuid(-1, 0, -1)
        except OSError:
            return
        raise HostError("cannot become the site's user: root could be regained")


_KINDS = {"ipc": syscalls.CLONE_NEWIPC, "uts": syscalls.CLONE_NEWUTS, "net": syscalls.CLONE_NEWNET}
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1  # netdevice(7)


def make_room(kinds: Sequence[str]) -> None:
    """Namespaces of these kinds (``ipc``, ``uts``, ``net``) and always one for mounts, which nobody else is in yet."""
    syscalls.unshare(syscalls.CLONE_NEWNS | sum(_KINDS[kind] for kind in kinds))
    files.make_private()
    if "net" in kinds:
        _raise_loopback()


def _raise_loopback() -> None:
    """Let the processes of a new network namespace reach each other by 127.0.0.1, which is down at first."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack("16xH22x", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def arrange_files(own: Sequence[str], shared: Sequence[str], covered: Sequence[str], scratch_bytes: int) -> None:
    """Of the files, show the system read-only, the site its own, and of others' none."""
    files.arrange(own, shared, covered, scratch_bytes)


def mount_proc() -> None:
    """A /proc of this room's processes only."""
    files.mount_proc()


def enter_room(room: int, kinds: Sequence[str]) -> None:
    """Join the namespaces of the site's warden, which is behind the pidfd ``room``.

    The one for processes has been joined by the fork. Nothing may be imported as root after this: the files are the room's.
    """
    syscalls.setns(room, syscalls.CLONE_NEWNS | sum(_KINDS[kind] for kind in kinds))
    os.close(room)


def drop_bounding_set() -> None:
    """No capability can be had any more, by whatever program; capabilities(7)."""
    number = 0
    while True:
        try:
            if syscalls.prctl(syscalls.PR_CAPBSET_READ, number):
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno == errno.EINVAL and number > 30:  # the kernel knows no more of them
                return
            raise
        number += 1


def clear_capabilities() -> None:
    """Give up what root may do, in this process and in those that it executes, and see that it is given up."""
    syscalls.clear_capabilities()
    if any(syscalls.capabilities()):
        raise HostError("cannot start a site: it would keep capabilities")


def refuse_system_calls() -> None:
    """Have the kernel refuse the system calls that no site needs, for good; ``sandbox.seccomp`` has the list."""
    syscalls.seccomp(seccomp.make_program(os.uname().machine))


def confine(writable: Sequence[str], has_files: bool, version: int) -> None:
    """Give up by Landlock what is outside: others' signals and sockets, and with ``has_files`` writing."""
    landlock.confine(writable, has_files=has_files, version=version)


def refuse_root() -> None:
    """Never run a site as root."""
    if 0 in os.getresuid() or 0 in os.getresgid():
        raise HostError("cannot start a site as root", "set user in the site file, or default_user on the server")


def set_no_new_privs() -> None:
    """Set-user-ID programs give nothing any more (PR_SET_NO_NEW_PRIVS, prctl(2))."""
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if syscalls.prctl(syscalls.PR_GET_NO_NEW_PRIVS) != 1:
        raise HostError("cannot start a site: no_new_privs does not hold")


def set_dumpable() -> None:
    """Give ``/proc/self`` to the site's user, so that an application can open ``/dev/stdout``."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)


def set_umask(mask: int) -> None:
    os.umask(mask)


def set_limit(name: str, soft: int, hard: int) -> None:
    """A limit of each process; no more than what there is already."""
    which = getattr(resource, f"RLIMIT_{name.upper()}")
    _, most = resource.getrlimit(which)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(which, (soft, hard))


def enter_group(doors: Sequence[str]) -> None:
    """Become a member of the site's control groups, as the one thread that this process has; cgroups(7)."""
    for door in doors:
        descriptor = os.open(door, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"0")
        finally:
            os.close(descriptor)


def enter_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise HostError(
            f"cannot enter the directory {path}: {error.strerror}",
            "the site's user needs the right to enter it and every folder above it",
        ) from None


OPERATIONS: Dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        reset_signals, become_leader, make_room, arrange_files, mount_proc, enter_room, drop_bounding_set, clear_capabilities,
        refuse_system_calls, confine, set_groups, set_gid, set_uid, refuse_root, set_no_new_privs, set_dumpable, set_umask,
        set_limit, enter_group, enter_directory,
    )
}  # fmt: skip


def run(plan: Sequence[Tuple[Any, ...]], room: int = -1) -> None:
    """Do all operations in order. Raises ``HostError`` for the first that fails.

    ``room``: the pidfd of the site's warden, which is closed when it has been entered.
    """
    for name, *arguments in plan:
        if name == "enter_room":
            arguments.insert(0, room)
        try:
            OPERATIONS[name](*arguments)
        except OSError as error:
            raise HostError(f"cannot do the sandbox operation {name}{tuple(arguments)}: {error.strerror}") from None
