"""The control groups of sites: one for each site that runs, in whatever hierarchies this machine has.

The hard part is that machines differ. Version 2 has one tree, and no process may lie beside the groups that share out its
controllers; version 1 has a tree for each controller; some machines have both, with the controllers in the first and the
second good for nothing but to end all processes of a group. So what is here is looked up in ``/proc``, a group is a folder
in each tree that is of use, and a limit is a line of text for one of a few files.

And how a process enters: whoever moves a whole process makes the kernel wait until all processors have passed a certain
point, 6 ms or more of each start. One thread that moves itself waits for nothing, which version 1 allows (``tasks``) and
version 2 does not. So the second is left out where the first can number a group's processes: with none allowed any more,
nothing is forked while they are killed.
Sources: cgroups(7), the kernel's cgroup-v1 and cgroup-v2 documents, ``cgroup_procs_write_start`` in its source.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

CONTROLLERS = ("memory", "pids", "cpu")
CPU_PERIOD = 100_000  # microseconds
COMMAND = "."  # in the names of groups that are not a site's; no site's name has one
SERVER = "server"  # version 2: the group of Hostel's own processes, which move out of the sites' way


@dataclass(frozen=True, slots=True)
class Quota:
    """What one site may take; 0 means as much as there is. ``memory`` in bytes, ``cpu`` in processors."""

    memory: int = 0
    cpu: float = 0.0
    processes: int = 0


@dataclass(frozen=True, slots=True)
class Tree:
    """A hierarchy with the controllers that are of use to us in it. ``path``: the folder of this server's groups."""

    path: str
    controllers: tuple[str, ...]
    is_unified: bool

    def settings(self, quota: Quota) -> Iterator[tuple[str, str]]:
        """The files of a site's group, and what has to be in them."""
        if "memory" in self.controllers:
            if self.is_unified:
                yield "memory.max", str(quota.memory or "max")
                yield "memory.swap.max", "0" if quota.memory else "max"
            else:
                yield "memory.limit_in_bytes", str(quota.memory or -1)
        if "pids" in self.controllers:
            yield "pids.max", str(quota.processes or "max")
        if "cpu" in self.controllers:
            share = int(quota.cpu * CPU_PERIOD)
            if self.is_unified:
                yield "cpu.max", f"{share or 'max'} {CPU_PERIOD}"
            else:
                yield "cpu.cfs_quota_us", str(share or -1)


def find_trees(run_dir: str, *, cgroup: str = "/proc/self/cgroup", mounts: str = "/proc/self/mountinfo") -> list[Tree]:
    """The hierarchies that this process may make groups in, for the server of a run directory.

    ``cgroup`` and ``mounts`` are cgroups(7)'s and proc_pid_mountinfo(5)'s files.
    """
    name = f"hostel-{hashlib.sha256(run_dir.encode()).hexdigest()[:8]}"
    trees = []
    places = list(_mounted(mounts))
    with open(cgroup) as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    for _, names, own in lines:
        controllers = set(names.split(",")) & {*CONTROLLERS}
        for point, root, kinds in places:
            is_unified = not names and kinds is None
            if not is_unified and (kinds is None or not controllers or not controllers <= kinds):
                continue
            inside = os.path.relpath(own, root) if os.path.join(own, "").startswith(os.path.join(root, "")) else "."
            base = os.path.normpath(os.path.join(point, inside))
            if is_unified:
                # A manager that is started anew finds itself in the group that the first has moved it to.
                base = base.removesuffix(f"/{SERVER}")
                controllers = set(_read(f"{base}/cgroup.controllers").split()) & {*CONTROLLERS}
            if os.access(base, os.W_OK):
                trees.append(Tree(os.path.join(base, name), tuple(sorted(controllers)), is_unified))
                break
    has_pids = any("pids" in tree.controllers for tree in trees)
    return [tree for tree in trees if tree.controllers or not has_pids]


def _mounted(mounts: str) -> Iterator[tuple[str, str, set[str] | None]]:
    """``(mount point, its root in the hierarchy, controllers)`` of each mounted hierarchy; None for version 2."""
    with open(mounts) as file:
        for line in file:
            left, _, right = line.rstrip("\n").partition(" - ")
            kind, _, options = right.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                _, _, _, root, point, *_ = left.split(" ")
                yield point, root, None if kind == "cgroup2" else set(options.split(","))


class Cgroups:
    """All groups of one server's sites. Raises ``OSError`` where the system refuses."""

    def __init__(self, trees: list[Tree]) -> None:
        self.trees = trees
        self._quotas: dict[str, Quota] = {}  # of the groups that are there

    def open(self) -> None:
        """Make the folders that the sites' groups lie in, and let controllers work there."""
        for tree in self.trees:
            os.makedirs(tree.path, exist_ok=True)
            if tree.is_unified and tree.controllers:
                _share_out(os.path.dirname(tree.path), tree.controllers)
                _share_out(tree.path, tree.controllers)

    def has(self, controller: str) -> bool:
        """Whether this machine lets us use a controller."""
        return any(controller in tree.controllers for tree in self.trees)

    def known(self) -> set[str]:
        """The sites that have a group, whoever has made it; the groups of commands are nobody's."""
        return {entry.name for tree in self.trees for entry in _folders(tree.path) if COMMAND not in entry.name}

    def make(self, site: str, quota: Quota) -> None:
        """The site's group, with these limits from now on."""
        if self._quotas.get(site) == quota:
            return
        for tree in self.trees:
            path = os.path.join(tree.path, site)
            os.makedirs(path, exist_ok=True)
            for name, value in tree.settings(quota):
                with contextlib.suppress(FileNotFoundError):  # swap is not always counted
                    _write(os.path.join(path, name), value)
        self._quotas[site] = quota

    def doors(self, site: str) -> list[str]:
        """The files by which a process of one thread enters the site's group, cgroups(7): it writes 0 to each."""
        return [os.path.join(tree.path, site, "cgroup.procs" if tree.is_unified else "tasks") for tree in self.trees]

    def members(self, site: str) -> set[int]:
        """The pids of all processes of a site."""
        lists = [os.path.join(tree.path, site, "cgroup.procs") for tree in self.trees]
        return {int(pid) for path in lists for pid in _read(path).split()}

    def kill(self, site: str) -> None:
        """End all processes of a site. Those that are being forked meanwhile need another call."""
        self._quotas.pop(site, None)
        for tree in self.trees:
            if tree.is_unified:
                with contextlib.suppress(OSError):  # Linux 5.14
                    _write(os.path.join(tree.path, site, "cgroup.kill"), "1")
            elif "pids" in tree.controllers:
                with contextlib.suppress(OSError):  # there is no such group
                    _write(os.path.join(tree.path, site, "pids.max"), "0")
        for pid in self.members(site):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self, site: str) -> bool:
        """Remove an empty group; whether it is gone."""
        self._quotas.pop(site, None)
        for tree in self.trees:
            with contextlib.suppress(FileNotFoundError):
                try:
                    os.rmdir(os.path.join(tree.path, site))
                except OSError:
                    return False
        return True

    def close(self) -> None:
        """Remove all groups that nothing is left in, and the folders of ``open``."""
        for site in self.known():
            self.remove(site)
        for tree in self.trees:
            with contextlib.suppress(OSError):
                os.rmdir(tree.path)

    def kills(self, site: str) -> int:
        """How many of the site's processes the kernel has killed because its memory was used up."""
        for tree in self.trees:
            if "memory" in tree.controllers:
                name = "memory.events" if tree.is_unified else "memory.oom_control"
                for line in _read(os.path.join(tree.path, site, name)).splitlines():
                    key, _, value = line.partition(" ")
                    if key == "oom_kill":
                        return int(value)
        return 0


def _share_out(path: str, controllers: tuple[str, ...]) -> None:
    """Let groups below a group have controllers: then no process may lie in it itself."""
    wish = " ".join(f"+{one}" for one in controllers)
    try:
        _write(os.path.join(path, "cgroup.subtree_control"), wish)
    except OSError:
        server = os.path.join(path, SERVER)
        os.makedirs(server, exist_ok=True)
        for pid in _read(os.path.join(path, "cgroup.procs")).split():
            with contextlib.suppress(ProcessLookupError):
                _write(os.path.join(server, "cgroup.procs"), pid)
        _write(os.path.join(path, "cgroup.subtree_control"), wish)


def _folders(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
