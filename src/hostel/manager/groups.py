"""The control groups of the sites that run: made for the first worker of a site, removed after the last.

The hard part is the end. A group can be removed only when nothing is left in it, and what a site has left behind may fork
faster than it is killed: so it is killed until it is gone, and never when a new worker has come meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Hashable

from hostel.sandbox.cgroups import Cgroups, Quota

AGAIN_SECONDS = 0.05
ATTEMPTS = 200


class Groups:
    """Owns the groups; without a hierarchy it does nothing."""

    def __init__(self, cgroups: Cgroups) -> None:
        self.cgroups = cgroups
        self._users: dict[str, set[Hashable]] = {}
        self._kills: dict[str, int] = {}
        try:
            cgroups.open()
        except OSError as error:
            print(f"hostel: cannot make control groups, so sites have no limits: {error}", file=sys.stderr, flush=True)
            cgroups.trees = []

    def enter(self, site: str, quota: Quota, user: Hashable) -> None:
        """A worker is about to enter the site's group, which is there then. Raises ``OSError``."""
        if self.cgroups.trees:
            self.cgroups.make(site, quota)
            self._users.setdefault(site, set()).add(user)

    def leave(self, site: str, user: Hashable) -> None:
        """A worker is gone; after the last one, the rest of the site is ended, and its group with it."""
        users = self._users.get(site, set())
        if user in users:
            users.discard(user)
            if not users:
                del self._users[site]
                self._kills.pop(site, None)
                self._end(site, ATTEMPTS)

    def adopt(self, site: str, user: Hashable) -> None:
        """A worker that an earlier manager ordered is in there."""
        if self.cgroups.trees:
            self._users.setdefault(site, set()).add(user)

    def settle(self) -> None:
        """All workers have been adopted: end what others have left."""
        for site in self.cgroups.known() - self._users.keys():
            self._end(site, ATTEMPTS)

    def _end(self, site: str, attempts: int) -> None:
        if site in self._users:
            return  # it has been started again
        self.cgroups.kill(site)
        if not self.cgroups.remove(site) and attempts:
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._end, site, attempts - 1)

    def has_run_out(self, site: str) -> bool:
        """Whether the kernel has killed one more of the site's processes since it was asked, for want of the site's memory."""
        count = self.cgroups.kills(site)
        has_grown = count > self._kills.get(site, 0)
        self._kills[site] = count
        return has_grown
