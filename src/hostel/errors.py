"""The error tree: each error says whose fault it is and what to do now.

Imported by the zygote and the workers too, so it uses nothing but the language (Python 3.9).
"""

from __future__ import annotations


class HostelError(Exception):
    """What all of Hostel's own errors are.

    ``str()`` is one sentence of the form "cannot X: why"; ``hint`` says what to do now; ``exit_code`` is what the
    command line ends with.
    """

    kind = "error"
    exit_code = 70

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SiteError(HostelError):
    """The site's code or its file is at fault; its owner can mend it."""

    kind = "site"
    exit_code = 1


class UsageError(HostelError):
    """The person at the keyboard asked for something that cannot be."""

    kind = "usage"
    exit_code = 2


class NotRunning(UsageError):
    """No server answers at the control socket."""

    kind = "not-running"
    exit_code = 3


class PeerError(HostelError):
    """The other side of a channel or connection sent something broken; drop the connection, never the server."""

    kind = "peer"
    exit_code = 76


class HostError(HostelError):
    """The operating system said no; the machine's administrator can mend it."""

    kind = "host"
    exit_code = 111


class Bug(HostelError):
    """One of our own invariants does not hold."""

    kind = "bug"
    exit_code = 70
