"""The janitor's process (``front.janitor``): started when the first site has a cache, started again when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from hostel.manager.link import SupervisorLink
from hostel.options.server import ServerOptions
from hostel.wire import Spawn

NAME = "janitor"
RESTART_SECONDS = 2.0


class JanitorProcess:
    """A child of the supervisor with the rights of the front; ``front_ids`` are its uid and gid, None unprivileged."""

    def __init__(self, options: ServerOptions, link: SupervisorLink, front_ids: tuple[int, int] | None) -> None:
        self.options = options
        self.link = link
        self.front_ids = front_ids
        self.is_wanted = False
        self.is_inherited = False

    def want(self, *, is_running: bool = False) -> None:
        """There is something to clean; ``is_running``: an earlier manager has started it, and maybe of older code."""
        if not self.is_wanted:
            self.is_wanted, self.is_inherited = True, is_running
            if is_running:
                self.link.signal(NAME, signal.SIGTERM)
            else:
                self._start()

    def _start(self) -> None:
        if self.is_wanted:
            command = (sys.executable, "-I", "-m", "hostel.front.janitor", self.options.cache_dir)
            become: tuple[list[object], ...] = ()
            if self.front_ids:
                uid, gid = self.front_ids
                become = (["set_groups", [gid]], ["set_gid", gid], ["set_uid", uid], ["set_no_new_privs"])
            order = Spawn(
                NAME, (*command, str(self.options.cache_size)), {"PATH": "/usr/bin:/bin"}, os.getcwd(),
                has_output=False, at_death=signal.SIGTERM, operations=become,
            )  # fmt: skip
            self.link.spawn(order)

    def nudge(self) -> None:
        """Have it look now: something has become superfluous."""
        if self.is_wanted:
            self.link.signal(NAME, signal.SIGURG)

    def exited(self, status: int | str) -> None:
        """It has ended, or could not be started."""
        if self.is_inherited:
            self.is_inherited = False
            self._start()
        elif self.is_wanted:
            text = f"the janitor ended (status {status}); starting it again in {RESTART_SECONDS} s"
            print(f"hostel: {text}", file=sys.stderr, flush=True)
            asyncio.get_running_loop().call_later(RESTART_SECONDS, self._start)

    def end(self) -> None:
        if self.is_wanted:
            self.is_wanted = False
            self.link.signal(NAME, signal.SIGTERM)
