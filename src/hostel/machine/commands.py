"""What a site wants done, in the imperative. Only the manager's runner carries these out."""

from __future__ import annotations

from dataclasses import dataclass

from hostel.machine.journey import Failure
from hostel.options.site import Site


@dataclass(frozen=True, slots=True)
class Timer:
    """Names a timer of a site: ``start``, ``drain`` and ``kill`` are a worker's, ``retry`` and ``resume`` the site's (0)."""

    kind: str
    worker: int = 0


@dataclass(frozen=True, slots=True)
class StartWorker:
    worker: int
    generation: int
    site: Site


@dataclass(frozen=True, slots=True)
class DrainWorker:
    """Let it accept nothing more, finish, and leave."""

    worker: int


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End it by a signal. ``reason`` becomes the reason of the failure that its exit reports."""

    worker: int
    signal: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SetTimer:
    timer: Timer
    seconds: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    timer: Timer


@dataclass(frozen=True, slots=True)
class WatchQueue:
    """Report the next request that waits on the site's socket, once."""


@dataclass(frozen=True, slots=True)
class UnwatchQueue:
    """Do not report requests: workers take them."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Make the run tree route this site's domains and static files as its file says now."""

    site: Site


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take the site's domains out of the run tree."""


@dataclass(frozen=True, slots=True)
class Discard:
    """The site is no more: close its socket, forget it."""


@dataclass(frozen=True, slots=True)
class CloseDoor:
    """Let the front answer 503 by itself: for a failure with its id, or for a stopped site with a maintenance page."""

    failure: Failure | None


@dataclass(frozen=True, slots=True)
class OpenDoor:
    """Let the front pass requests to the site's socket again."""


@dataclass(frozen=True, slots=True)
class TurnAway:
    """Answer those who already wait on the socket with what the closed door says."""

    failure: Failure | None


@dataclass(frozen=True, slots=True)
class WatchCode:
    """Order a reload when one of the files that were involved in the failure changes."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class UnwatchCode:
    pass


Command = (
    StartWorker | DrainWorker | KillWorker | SetTimer | CancelTimer | WatchQueue | UnwatchQueue | Publish | Withdraw
    | Discard | CloseDoor | OpenDoor | TurnAway | WatchCode | UnwatchCode
)  # fmt: skip
