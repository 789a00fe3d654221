"""A sandbox plan in words for people: one sentence for each operation. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hostel.sandbox.plan import Operation

LIMITS: dict[str, Callable[[int], str]] = {
    "core": lambda value: "write no core dumps",
    "nofile": lambda value: f"have at most {value} open files",
    "fsize": lambda value: f"write no file larger than {value / 2**20:,.0f} MB",
    "nproc": lambda value: f"start nothing when its user has {value} processes",
}


def _confine(writable: Sequence[str], has_files: bool, version: int) -> str:
    parts = ["send no signals to, and open no abstract sockets of, other processes"] if version >= 6 else []
    if has_files:
        parts.append(f"write only below {', '.join(writable)} and to a few devices")
    return f"by Landlock: {'; '.join(parts)}"


def _arrange(own: Sequence[str], shared: Sequence[str], covered: Sequence[str], scratch: int) -> str:
    return (
        f"make the whole file system read-only but for {', '.join(own)}; "
        f"lay empty folders of {scratch / 2**20:,.0f} MB each over /tmp, /var/tmp and /dev/shm; "
        f"hide what lies in {', '.join(covered)}, but for its own and {', '.join(shared)}"
    )


def _kinds(kinds: Sequence[str]) -> str:
    return ", ".join(
        [
            "files",
            *(
                {"ipc": "shared memory and message queues", "uts": "host name", "net": "network"}[kind]
                for kind in kinds
            ),
        ]
    )


WORDS: dict[str, Callable[..., str]] = {
    "reset_signals": lambda: "forget signal handlers and masks of its parent",
    "become_leader": lambda: "begin a session of its own, without a terminal",
    "enter_group": lambda doors: f"enter the site's control groups ({', '.join(doors)})",
    "set_limit": lambda name, soft, hard: LIMITS[name](hard),
    "make_room": lambda kinds: f"make namespaces for {_kinds(kinds)}",
    "arrange_files": _arrange,
    "mount_proc": lambda: "mount a /proc of its own processes",
    "enter_room": lambda kinds: f"enter the site's namespaces for {_kinds(kinds)}",
    "drop_bounding_set": lambda: "give up capabilities for all programs that it will ever execute",
    "set_groups": lambda groups: f"have the groups {', '.join(map(str, groups)) or 'none'}, and look that it has",
    "set_gid": lambda gid: f"become group {gid}, and look that it is",
    "set_uid": lambda uid: f"become user {uid}, look that it is, and that root cannot be had back",
    "refuse_root": lambda: "end, should it be root in any way",
    "clear_capabilities": lambda: "give up its own capabilities, and look that it has none",
    "set_no_new_privs": lambda: "get no rights from set-user-ID programs (no_new_privs)",
    "set_dumpable": lambda: "own its files in /proc",
    "set_umask": lambda mask: f"create files with umask {mask:03o}",
    "enter_directory": lambda path: f"enter {path}",
    "confine": _confine,
    "refuse_system_calls": lambda: "have the kernel refuse system calls that no site needs (seccomp)",
}


def in_words(operation: Operation) -> str:
    """What an operation does."""
    name, *arguments = operation
    return WORDS[name](*arguments)
