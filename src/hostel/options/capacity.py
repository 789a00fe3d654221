"""How much of this machine the workers may have, where the options leave it open.

The hard part is whose memory counts: in a container the machine's is not ours, and the limit is that of a control group
somewhere above this process, in one of two hierarchies (cgroups(7)).
"""

from __future__ import annotations

import os

from hostel.options.server import ServerOptions

SHARE = 0.75  # of the memory there is; the rest is for the front, the zygotes, databases and the page cache
WORKER_BYTES = 32 * 2**20  # what a worker of a middling Django site has for itself
LEAST_WORKERS = 8


def budget_of(options: ServerOptions) -> tuple[int, int]:
    """How many workers may run, and how many bytes of memory they may have together."""
    memory = options.memory or int(memory_of_machine() * SHARE)
    return options.workers or max(LEAST_WORKERS, memory // WORKER_BYTES), memory


def memory_of_machine(root: str = "/") -> int:
    """Bytes of memory that this process may use: the machine's, or the lowest limit of a control group that it is in."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in _read(root, "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, name = "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = path.strip("/").split("/")
        for depth in range(len(parts) + 1):
            text = _read(root, top, *parts[:depth], name).strip()
            if text.isdigit():  # not "max"
                limits.append(int(text))
    return min(limits)


def _read(*parts: str) -> str:
    try:
        with open(os.path.join(*parts)) as file:
            return file.read()
    except OSError:
        return ""
