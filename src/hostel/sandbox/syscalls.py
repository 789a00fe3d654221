"""The system calls that Python does not have, through ctypes. Standard library only, Python 3.9."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Tuple

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_SLAVE = 2, 4, 8, 1 << 14, 1 << 19
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 1, 2

AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_NO_MAGICLINKS = 0x02
_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3, capget(2)

# Since Linux 5 a new system call has the same number on all machines.
_OPEN_TREE, _MOVE_MOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 437, 442
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_SECCOMP = {"x86_64": 317, "aarch64": 277}

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: int = 0) -> int:
    """prctl(2) with one argument; raises ``OSError``."""
    return _checked(_libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0))


def inotify_init() -> int:
    """A descriptor on which the kernel reports changes of files; inotify(7)."""
    return _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))


def inotify_add_watch(descriptor: int, path: str, mask: int) -> int:
    """Have changes of what a path leads to reported; returns the number under which they will be. Raises ``OSError``."""
    return _checked(_libc.inotify_add_watch(descriptor, os.fsencode(path), ctypes.c_uint32(mask)))


def inotify_rm_watch(descriptor: int, number: int) -> None:
    """Have them reported no more; raises ``OSError`` when they are not."""
    _checked(_libc.inotify_rm_watch(descriptor, number))


def unshare(flags: int) -> None:
    """Leave the namespaces of these kinds for new ones; unshare(2). Raises ``OSError``."""
    _checked(_libc.unshare(flags))


def setns(descriptor: int, flags: int) -> None:
    """Join the namespaces of these kinds of the process behind a pidfd; setns(2), Linux 5.8. Raises ``OSError``."""
    _checked(_libc.setns(descriptor, flags))


def mount(kind: str, target: str, flags: int, data: str = "") -> None:
    """Mount a file system that has no device, or with an empty ``kind`` change what is there; mount(2)."""
    source = kind.encode() or None
    _checked(_libc.mount(source, os.fsencode(target), source, ctypes.c_ulong(flags), data.encode() or None))


def open_plain(path: str, folder: int = AT_FDCWD) -> int:
    """A descriptor that only names what is at a path without any link on the way; openat2(2). Raises ``OSError``."""
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    return _call(_OPENAT2, folder, os.fsencode(path), how, len(how))


def clone_tree(descriptor: int) -> int:
    """A copy, attached nowhere yet, of the mounts from what a descriptor names down; open_tree(2)."""
    return _call(_OPEN_TREE, descriptor, b"", _OPEN_TREE_CLONE | _AT_EMPTY_PATH | _AT_RECURSIVE | os.O_CLOEXEC)


def attach_tree(tree: int, place: int) -> None:
    """Mount what ``clone_tree`` gave over what a descriptor names; move_mount(2)."""
    _call(_MOVE_MOUNT, tree, b"", place, b"", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)


def set_mount_attributes(descriptor: int, path: str, attributes: int, *, is_recursive: bool) -> None:
    """Add attributes to a mount, and perhaps all below it; mount_setattr(2), Linux 5.12."""
    values = struct.pack("QQQQ", attributes, 0, 0, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if is_recursive else 0)
    _call(_MOUNT_SETATTR, descriptor, os.fsencode(path), flags, values, len(values))


def capabilities() -> Tuple[int, int, int]:
    """This thread's effective, permitted and inheritable capabilities, as sets of bits; capget(2)."""
    header, data = _capability_header(), ctypes.create_string_buffer(24)
    _checked(_libc.capget(header, data))
    low, high = struct.unpack("III", data.raw[:12]), struct.unpack("III", data.raw[12:])
    return low[0] | high[0] << 32, low[1] | high[1] << 32, low[2] | high[2] << 32


def clear_capabilities() -> None:
    """Give up all capabilities, those that a program executed later would inherit too; capset(2)."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    _checked(_libc.capset(_capability_header(), bytes(24)))


def _capability_header() -> bytes:
    return struct.pack("Ii", _CAPABILITY_VERSION, 0)


def landlock_version() -> int:
    """The version of the kernel's Landlock; 0 when it has none, or it is switched off."""
    try:
        return _call(_LANDLOCK_CREATE_RULESET, None, 0, 1)
    except OSError:
        return 0


def landlock_create(attributes: bytes) -> int:
    """A descriptor of a set of rules; landlock_create_ruleset(2)."""
    return _call(_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)


def landlock_allow(ruleset: int, access: int, descriptor: int) -> None:
    """Allow this access below what a descriptor names; landlock_add_rule(2)."""
    _call(_LANDLOCK_ADD_RULE, ruleset, 1, struct.pack("=Qi", access, descriptor), 0)


def landlock_restrict(ruleset: int) -> None:
    """From now on the rules hold for this process and its children; landlock_restrict_self(2)."""
    _call(_LANDLOCK_RESTRICT_SELF, ruleset, 0)


def seccomp(program: bytes) -> None:
    """Have each system call of this process and its children judged by a BPF program; seccomp(2).

    The mitigation of a weakness of processors that it would switch on costs more than it gives here, where no secret of
    another lies in the same process (SECCOMP_FILTER_FLAG_SPEC_ALLOW).
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    _call(_SECCOMP[os.uname().machine], 1, 4, header)


def has_seccomp() -> bool:
    """Whether this machine's system calls are known here, and the kernel can judge them."""
    return os.uname().machine in _SECCOMP and os.path.exists("/proc/sys/kernel/seccomp/actions_avail")


def _call(number: int, *arguments: object) -> int:
    """A system call that the C library may not have."""
    return _checked(
        _libc.syscall(
            ctypes.c_long(number), *[ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
        )
    )


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
