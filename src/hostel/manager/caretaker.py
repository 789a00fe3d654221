"""What somebody else takes away is put back: names in the run directory, or the directory itself.

The hard part is that none of this is reported. A cleaner of /tmp removes a socket's name and the socket listens on, unheard;
another file system is mounted over the run directory and everybody works on in the old one, where no new caller comes. So
this looks: each second whether the run directory is still the one we work in and has what every server has, and at some of
the sites in turn. When one of them lacks something, all are looked at. A site whose name in the run tree could not be made,
because the disk was full, is ``torn`` and is mended in the same way. Sockets cannot get their names back: such a site gets new
ones, and if it runs a new generation, which listens on them; the old one finishes what it has.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence

from hostel.errors import HostelError, HostError
from hostel.front import pages
from hostel.manager.control import PATH as CONTROL
from hostel.manager.front import CONFIGURATION
from hostel.manager.runner import Runner
from hostel.manager.runtree import FOLDERS
from hostel.manager.watch import identity_of

LOOK_SECONDS = 1.0
SITES = 100  # looked at each time
AT_ONCE = 20  # mended before others have their turn
LOCK = "lock"
FURNITURE = (*FOLDERS, LOCK, CONTROL, CONFIGURATION, pages.FOLDER)


class Caretaker:
    """Looks after the run directory. ``furnish`` makes anew what is not any site's; it is told whether we have moved."""

    def __init__(self, runner: Runner, furnish: Callable[[bool], Awaitable[None]]) -> None:
        self.runner = runner
        self.furnish = furnish
        self._place = runner.options.run_dir
        self._has_moved = False  # and not everything has been made anew where we are now
        self._next = 0  # site to be looked at
        self._complaint = ""

    async def run(self) -> None:
        """Look every second; never ends."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
                self._complaint = ""
            except (OSError, HostelError) as error:
                self._complain(f"cannot mend the run directory: {error}")
            except Exception:
                self._complain(f"this is a bug in Hostel, please report it: {traceback.format_exc()}")

    async def look(self) -> None:
        """Look once. Raises ``OSError`` or ``HostError`` when something cannot be put back."""
        if identity_of(self._place) != identity_of("."):
            self._move_in()
        names = list(self.runner.sites)
        if self._has_moved or not all(map(os.path.lexists, FURNITURE)):
            self.runner.surroundings.tree.prepare()
            self._lock()
            await self.furnish(self._has_moved)
            print("hostel: the run directory had lost something, and has it again", file=sys.stderr, flush=True)
        elif not self._is_broken(self._some(names)):
            return
        failures = []
        for number, name in enumerate(names):
            if name in self.runner.sites and (self._has_moved or self._is_broken([name])):
                try:
                    self.runner.mend(name, is_elsewhere=self._has_moved)
                except (OSError, HostelError) as error:  # the others may be luckier
                    failures.append(error)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        self._has_moved = False  # a site that could not be mended is torn, and has its turn again
        if failures:
            raise failures[0]

    def _some(self, names: Sequence[str]) -> Sequence[str]:
        """Those whose turn it is."""
        first = self._next if self._next < len(names) else 0
        self._next = first + SITES
        return names[first : self._next]

    def _is_broken(self, names: Sequence[str]) -> bool:
        found = (self.runner.sites.get(name) for name in names)
        return any(managed is not None and not managed.is_intact() for managed in found)

    def _move_in(self) -> None:
        """Work in the run directory again, wherever its path leads now."""
        os.makedirs(self._place, mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
        status = os.lstat(self._place)
        if os.path.islink(self._place) or status.st_uid != os.geteuid():
            raise HostError(f"{self._place} is not a folder of ours any more")
        os.chdir(self._place)
        self._has_moved = True

    def _lock(self) -> None:
        """Tell others that this directory is in use; the supervisor holds the lock from now on, as it does the old one."""
        if os.path.lexists(LOCK):
            return
        descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, str(os.getppid()).encode())
            self.runner.surroundings.link.keep(LOCK, descriptor)
            self.runner.surroundings.link.flush()
        finally:
            os.close(descriptor)

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            print(f"hostel: {text}", file=sys.stderr, flush=True)
