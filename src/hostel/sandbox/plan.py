"""What a worker becomes before site code runs, as a list of operations: pure, printable, tested without running it.

The hard part is to say truly what is guarded. So each guard is decided once, from what the site's file wishes and what the
machine is able to do, with a sentence for people; the operations follow from the same decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hostel.sandbox.identity import Identity

Operation = tuple[Any, ...]
LEVELS = ("none", "user", "full")


@dataclass(frozen=True, slots=True)
class Abilities:
    """What this machine lets Hostel do. ``landlock``: its version, 0 for none; ``controllers``: those of control groups."""

    is_root: bool
    has_namespaces: bool
    has_seccomp: bool
    landlock: int
    controllers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a site may take; 0 means no limit. Bytes, processors, and numbers.

    ``disk_obstacle``: why the disk cannot be limited, in words. ``doors``: the files by which a process enters the site's
    control group, which knows of the first three.
    """

    memory: int = 0
    cpu: float = 0.0
    processes: int = 0
    files: int = 0
    file_size: int = 0
    disk: int = 0
    disk_obstacle: str = ""
    doors: tuple[str, ...] = ()


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a site's file and the server's options want; ``level`` is one of ``LEVELS``."""

    level: str
    files: bool = True
    processes: bool = True
    ipc: bool = True
    system_calls: bool = True
    privileges: bool = True
    network: bool = False  # whether it shall have none


@dataclass(frozen=True, slots=True)
class Places:
    """The site's part of the file system: absolute paths without links.

    Args:
        directory: where it works.
        own: what it sees and may write to, as far as its user may.
        shared: what it sees, though it lies in something that is covered.
        covered: of what lies in these it sees ``own`` and ``shared`` only.
        scratch_bytes: the size of its own ``/tmp``, and of ``/var/tmp`` and ``/dev/shm``.
    """

    directory: str
    own: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    covered: tuple[str, ...] = ()
    scratch_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Guard:
    """One thing that keeps a site from others: on, or why not, in words."""

    name: str
    is_on: bool
    text: str


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What becomes of a site's processes.

    Args:
        zygote: the operations that make a process that runs as the tenant from its first instruction; empty when the
            workers come from a zygote of Hostel's own.
        worker: the operations that make a worker of a copy of the zygote.
        room: those that make the site's namespaces, once for all its workers; empty when it has none.
        guards: what that is good for.
    """

    zygote: tuple[Operation, ...]
    worker: tuple[Operation, ...]
    room: tuple[Operation, ...]
    guards: tuple[Guard, ...]

    def has(self, name: str) -> bool:
        """Whether a guard is on."""
        return any(guard.name == name and guard.is_on for guard in self.guards)


def make_sandbox(
    identity: Identity | None,
    places: Places,
    wishes: Wishes,
    abilities: Abilities,
    limits: Limits = NO_LIMITS,
    *,
    has_own_zygote: bool = False,
) -> Sandbox:
    """Decide the guards of a site and what has to be done for them, in the order of its execution.

    Args:
        identity: whom to become; None when Hostel runs unprivileged and all sites run as its caller.
        has_own_zygote: whether the worker's parent is a zygote of the site's own, as its environment is a tenant's: that
            runs inside of all guards already, and has nothing left to give up.
    """
    guards = make_guards(identity, wishes, abilities, limits)
    on = {guard.name for guard in guards if guard.is_on}
    kinds = ["ipc", "uts"] if "ipc" in on else []
    if "network" in on:
        kinds.append("net")
    has_room = abilities.is_root and bool(on & {"files", "processes", "ipc", "network"})

    become: list[Operation] = [("enter_group", list(limits.doors))] if limits.doors else []
    become += [("set_limit", name, value, value) for name, value in _limits(limits, abilities)]
    if has_room:
        become.append(("enter_room", kinds))
    if abilities.is_root:
        assert identity is not None, "root runs no site as itself"
        if "privileges" in on:
            become.append(("drop_bounding_set",))
        become += [
            ("set_groups", list(identity.groups)), ("set_gid", identity.gid), ("set_uid", identity.uid), ("refuse_root",),
            ("clear_capabilities",),
        ]  # fmt: skip
    if "privileges" in on:
        become.append(("set_no_new_privs",))
    settle: list[Operation] = [("set_dumpable",), ("set_umask", 0o022)]
    settle.append(("enter_directory", places.directory))
    shut: list[Operation] = []
    has_confined_files = "files" in on and not abilities.is_root
    if "reach" in on or has_confined_files:
        shut.append(("confine", list(places.own), has_confined_files, abilities.landlock))
    if "system calls" in on:
        shut.append(("refuse_system_calls",))
    begin: list[Operation] = [("reset_signals",), ("become_leader",)]
    has_own_zygote = has_own_zygote and abilities.is_root

    room: list[Operation] = []
    if has_room:
        room = [("reset_signals",), ("make_room", kinds)]
        if "files" in on:
            room.append(
                ("arrange_files", list(places.own), list(places.shared), list(places.covered), places.scratch_bytes)
            )
        if "processes" in on:
            room.append(("mount_proc",))
        room += [("drop_bounding_set",), ("clear_capabilities",), ("set_no_new_privs",)]
    return Sandbox(
        zygote=tuple(become + shut) if has_own_zygote else (),
        worker=tuple(begin + settle if has_own_zygote else begin + become + settle + shut),
        room=tuple(room),
        guards=guards,
    )


def _limits(limits: Limits, abilities: Abilities) -> list[tuple[str, int]]:
    """The limits of each process; setrlimit(2)."""
    found = [("core", 0)]
    if limits.files:
        found.append(("nofile", limits.files))
    if limits.file_size:
        found.append(("fsize", limits.file_size))
    if limits.processes and abilities.is_root and "pids" not in abilities.controllers:
        found.append(("nproc", limits.processes))
    return found


def _limits_guard(limits: Limits, abilities: Abilities) -> Guard:
    """What the limits are, and which of those that are wished for cannot be had."""
    said: list[str] = []
    missing: list[str] = []
    for name, value, text in (
        ("memory", limits.memory, f"{limits.memory / 2**20:,.0f} MB of memory"),
        ("cpu", limits.cpu, f"the time of {limits.cpu:g} processors"),
        ("pids", limits.processes, f"{limits.processes} processes and threads"),
    ):
        if value:
            can_be_had = name in abilities.controllers or (name == "pids" and abilities.is_root)
            (said if can_be_had else missing).append(text)
    if limits.files:
        said.append(f"{limits.files} open files of each process")
    if limits.file_size:
        said.append(f"{limits.file_size / 2**20:,.0f} MB in a file")
    more = f"; without {', '.join(missing)}, which needs root and control groups" if missing else ""
    if limits.disk:
        text = f"{limits.disk / 2**20:,.0f} MB on its disk"
        if limits.disk_obstacle:
            more += f"; without {text}: {limits.disk_obstacle}"
        else:
            said.append(text)
    return Guard("limits", bool(said) and not more, f"{', '.join(said) or 'none'}{more}")


def make_guards(
    identity: Identity | None, wishes: Wishes, abilities: Abilities, limits: Limits = NO_LIMITS
) -> tuple[Guard, ...]:
    """What of a site is guarded, without what has to be done for it."""
    return (*_guards(identity, wishes, abilities), _limits_guard(limits, abilities))


def make_helper_plan(identity: Identity | None) -> list[Operation]:
    """What a process becomes that runs Hostel's own code as a site's user; None for who stays whoever started Hostel."""
    abilities = Abilities(is_root=identity is not None, has_namespaces=False, has_seccomp=False, landlock=0)
    return list(make_sandbox(identity, Places("/"), Wishes("user"), abilities).worker)


def _guards(identity: Identity | None, wishes: Wishes, abilities: Abilities) -> list[Guard]:
    """What is guarded, and what is not and why."""
    level = LEVELS.index(wishes.level)

    def guard(name: str, least: str, is_wanted: bool, obstacle: str, text: str) -> Guard:
        if level < LEVELS.index(least):
            return Guard(name, False, f"off at level {wishes.level}")
        if not is_wanted:
            return Guard(name, False, "switched off in the site file")
        return Guard(name, not obstacle, obstacle or text)

    who = Guard("user", False, "all sites run as whoever started Hostel: one can read and change the files of another")
    if abilities.is_root and identity is not None:
        who = Guard("user", True, f"runs as user {identity.name} ({identity.uid}), and cannot become root again")
    no_filter = "" if wishes.privileges else "needs the guard privileges"
    no_calls = no_filter or ("" if abilities.has_seccomp else "needs seccomp, on x86-64 or ARM64")
    no_reach = no_filter or ("" if abilities.landlock >= 6 else "needs Linux 6.12 with Landlock")
    no_room = "" if abilities.has_namespaces else "needs Linux 5.12, and the right to make namespaces"
    no_files = no_room
    files = "the system is read-only; /tmp, /var/tmp and /dev/shm are its own; others' folders are hidden"
    if not abilities.is_root:
        no_room = "needs Hostel to be started by root"
        no_files = no_filter or ("" if abilities.landlock else "needs Hostel to be started by root, or Landlock")
        files = "writes to its own folders and to /tmp only; reads what the user who started Hostel can"
    network = Guard(
        "network",
        False,
        "it can connect to whatever this machine can: services on 127.0.0.1 need passwords of their own",
    )
    if wishes.network:
        network = Guard("network", not no_room, no_room or "it has none: a 127.0.0.1 of its own, and nothing else")
    return [
        who,
        guard("privileges", "user", wishes.privileges, "", "programs that would give it another user's rights do not"),
        guard("system calls", "user", wishes.system_calls, no_calls,
              "the kernel refuses tracing, mounting, new namespaces, keys, BPF and the like"),
        guard("reach", "user", True, no_reach, "no signals to processes, and no abstract sockets, that are not its worker's own"),
        guard("files", "full", wishes.files, no_files, files),
        guard("processes", "full", wishes.processes, no_room,
              "sees its own processes only, and all of them are ended with its last worker"),
        guard("ipc", "full", wishes.ipc, no_room, "shared memory, semaphores and message queues are its own"),
        network,
    ]  # fmt: skip
