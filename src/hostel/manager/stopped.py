"""The sites that were stopped, remembered until they are started: a file for each in the state folder.

So a stop outlives the server and the machine, as its page promises the visitors: a site that is down for maintenance must
not come back, half migrated, because somebody restarts the machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container

from hostel.errors import HostError


class StoppedSites:
    """Owns the folder, which is made when it is needed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def names(self) -> set[str]:
        """The sites that are to stay stopped."""
        with contextlib.suppress(OSError):
            return set(os.listdir(self.folder))
        return set()

    def add(self, name: str) -> None:
        """Remember a stop. Raises ``HostError``."""
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            os.close(os.open(os.path.join(self.folder, name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise HostError(
                f"cannot remember that site {name} is stopped: {error.strerror}", "the next start of the server runs it"
            ) from None

    def discard(self, name: str) -> None:
        """The site was started, or is no more. Raises ``HostError``."""
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.folder, name))
        except OSError as error:
            raise HostError(
                f"cannot forget that site {name} was stopped: {error.strerror}", "the next start of the server stops it"
            ) from None

    def keep_only(self, known: Container[str]) -> None:
        """Forget sites that are no more."""
        for name in self.names():
            if name not in known:
                with contextlib.suppress(HostError):
                    self.discard(name)
