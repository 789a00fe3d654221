"""What this machine can do for a site: tried once, not guessed from version numbers.

The hard part is that a container, a kernel without an option, or a filter around us may each refuse: so namespaces are made
in a process of their own, with everything that a site's would have. ``python -m hostel.sandbox.abilities`` is that process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

from hostel.errors import HostelError
from hostel.sandbox import operations, syscalls
from hostel.sandbox.plan import Abilities

TRIAL_SECONDS = 20.0


@cache
def find_abilities() -> Abilities:
    """What can be done here, by whoever runs this."""
    is_root = os.geteuid() == 0
    return Abilities(
        is_root=is_root,
        has_namespaces=is_root and _can_make_rooms(),
        has_seccomp=syscalls.has_seccomp(),
        landlock=syscalls.landlock_version(),
    )


def _can_make_rooms() -> bool:
    trial = [sys.executable, "-I", "-m", __name__]
    try:
        return not subprocess.run(trial, capture_output=True, timeout=TRIAL_SECONDS, check=False).returncode
    except (OSError, subprocess.SubprocessError):
        return False


def _try() -> int:
    """Make a room, as a warden does; 0 when all of it worked."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWPID)
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        operations.run(
            [("make_room", ["ipc", "uts"]), ("arrange_files", ["/usr"], [], ["/root"], 2**20), ("mount_proc",)]
        )
    except (HostelError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_try())
