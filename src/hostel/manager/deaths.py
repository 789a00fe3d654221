"""How workers ended that were not told to: the last of each site, kept over restarts of the manager and the server.

The hard part is what can be known afterwards. Which request it was, the scoreboard tells: it outlives its worker. That
memory ran out, nobody is told: the kernel sends SIGKILL without a sender. But it counts (``oom_kill``, /proc/vmstat), for
the whole machine and for limits of cgroups, so a SIGKILL that is not ours, while the count has grown, is one of those.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Container
from dataclasses import asdict
from typing import Any

from hostel.api.views import DeathView, RequestView

KEPT = 10  # of each site
FILE_BYTES = 64 * 1024  # what is longer is not ours
BROKEN = (OSError, ValueError, TypeError, LookupError, RecursionError)


class Deaths:
    """Owns the folder, with a file for each site that ever had one."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._known: dict[str, deque[DeathView]] = {}
        with contextlib.suppress(OSError):
            self._known = {name: self._read(name) for name in os.listdir(folder)}

    def add(self, site: str, death: DeathView) -> None:
        """Remember one more. A full disk makes it be forgotten with the manager."""
        known = self._known.setdefault(site, deque(maxlen=KEPT))
        known.appendleft(death)
        path = os.path.join(self.folder, site)
        with contextlib.suppress(OSError):
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
                json.dump([asdict(each) for each in known], file)
            os.replace(f"{path}.new", path)

    def of(self, site: str) -> list[DeathView]:
        """The last deaths of a site, the newest first."""
        return list(self._known.get(site, ()))

    def keep_only(self, known: Container[str]) -> None:
        """Forget sites that are no more."""
        for name in [name for name in self._known if name not in known]:
            del self._known[name]
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.folder, name))

    def _read(self, name: str) -> deque[DeathView]:
        """What an earlier manager remembered, as far as it can be read."""
        path = os.path.join(self.folder, name)
        with contextlib.suppress(*BROKEN), open(path, encoding="utf-8") as file:
            return deque(map(_death, json.loads(file.read(FILE_BYTES))), KEPT)
        return deque(maxlen=KEPT)


def _death(values: dict[str, Any]) -> DeathView:
    return DeathView(**{**values, "requests": [RequestView(**each) for each in values["requests"]]})


class MemoryWatch:
    """Tells whether the kernel has killed somebody for want of memory, each time once."""

    def __init__(self, path: str = "/proc/vmstat") -> None:
        self.path = path
        self._seen = self._count()

    def has_killed(self) -> bool:
        """Whether there is one more than was told of."""
        count = self._count()
        has_grown = count > self._seen
        self._seen += has_grown
        return has_grown

    def forget(self) -> None:
        """What has happened up to now has nothing to do with what comes."""
        self._seen = self._count()

    def _count(self) -> int:
        with contextlib.suppress(OSError, ValueError), open(self.path) as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0
