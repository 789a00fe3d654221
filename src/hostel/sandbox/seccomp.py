"""The system calls that no site needs, as a program for the kernel that refuses them.

The hard part is what is *not* refused: a list of what is allowed breaks with the next C library, so this is the list of
what web applications have no use for, and what breaking out of a kernel usually begins with. A refused call says EPERM as
if root had been needed; clone3(2), whose arguments cannot be looked at, says ENOSYS, after which every C library uses
clone(2). Pure; standard library only, Python 3.9. Sources: seccomp(2), the kernel's syscall tables.
"""

from __future__ import annotations

import struct
from typing import Dict, List, Tuple

EPERM, ENOSYS = 1, 38
NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET, sched.h
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # they type into the terminal of whoever looks

# Those since Linux 5 have the same number everywhere.
_COMMON = {
    "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "mount_setattr": 442, "quotactl_fd": 443, "open_tree_attr": 467,
}  # fmt: skip
REFUSED: Dict[str, Dict[str, int]] = {
    "x86_64": {
        "ptrace": 101, "syslog": 103, "personality": 135, "ustat": 136, "sysfs": 139, "vhangup": 153, "modify_ldt": 154,
        "pivot_root": 155, "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
        "swapon": 167, "swapoff": 168, "reboot": 169, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176,
        "quotactl": 179, "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249,
        "keyctl": 250, "unshare": 272, "vmsplice": 278, "perf_event_open": 298, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311,
        "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323, **_COMMON,
    },
    "aarch64": {
        "lookup_dcookie": 18, "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "vhangup": 58, "quotactl": 60,
        "vmsplice": 75, "acct": 89, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105,
        "delete_module": 106, "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142, "settimeofday": 170,
        "adjtimex": 171, "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224, "swapoff": 225,
        "perf_event_open": 241, "name_to_handle_at": 264, "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268,
        "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
        "kexec_file_load": 294, **_COMMON,
    },
}  # fmt: skip
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*, linux/audit.h
_CLONE = {"x86_64": 56, "aarch64": 220}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_CLONE3 = 435
_X32 = 0x40000000  # the bit of x86-64's second table

# Of linux/bpf_common.h: load a word of seccomp_data, compare and jump, return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24  # where they are in seccomp_data
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def make_program(machine: str) -> bytes:
    """The BPF program for a machine as ``uname -m`` calls it. Raises ``KeyError`` for one that is not known here."""
    allow, refuse, unknown = "allow", "refuse", "unknown"
    lines: List[
        Tuple[int, int, str, str]
    ] = [  # (code, value, where to when true, where to when false; "" for the next)
        (_LOAD, _ARCH, "", ""),
        (_EQUAL, _ARCHITECTURE[machine], "", unknown),
        (_LOAD, _NUMBER, "", ""),
        (_AT_LEAST, _X32, unknown, ""),
        (_EQUAL, _CLONE3, unknown, ""),
        *[(_EQUAL, number, refuse, "") for number in sorted(REFUSED[machine].values())],
        (_EQUAL, _CLONE[machine], "clone", ""),
        (_EQUAL, _IOCTL[machine], "ioctl", allow),
    ]
    labels = {"clone": len(lines)}
    lines += [(_LOAD, _FIRST_ARGUMENT, "", ""), (_ANY_BIT, NAMESPACES, refuse, allow)]
    labels["ioctl"] = len(lines)
    lines += [
        (_LOAD, _SECOND_ARGUMENT, "", ""),
        (_EQUAL, TIOCSTI, refuse, ""),
        (_EQUAL, TIOCLINUX, refuse, allow),
    ]
    for label, value in ((allow, _ALLOW), (refuse, _ERRNO | EPERM), (unknown, _ERRNO | ENOSYS)):
        labels[label] = len(lines)
        lines.append((_RETURN, value, "", ""))
    return b"".join(
        struct.pack("HBBI", code, *[labels[label] - at - 1 if label else 0 for label in (yes, no)], value)
        for at, (code, value, yes, no) in enumerate(lines)
    )
