"""How much memory a worker has for itself, read from /proc when it may have changed."""

from __future__ import annotations

import os

LARGE = 256 * 2**20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_of(pid: int) -> int:
    """Bytes that a process has in memory, those included that it shares with its zygote; 0 when it is gone. Cheap."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:  # proc_pid_statm(5)
            return int(file.read().split()[1]) * PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def memory_of(pid: int) -> int:
    """Bytes that a process has for itself, and its part of what it shares (PSS, proc_pid_smaps(5)).

    This walks all its pages: a millisecond for each 20 MB or so. Of a large process, and where we may not look, it is what
    is resident, beside which what it shares is little.
    """
    resident = resident_of(pid)
    if resident > LARGE:
        return resident
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            for line in file.read().splitlines():
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return resident
