"""What happens to a site, in the past tense."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from hostel.machine.commands import Timer
from hostel.machine.journey import Failure
from hostel.machine.pool import Load
from hostel.options.site import Site


class Phase(enum.Enum):
    """How far a worker is."""

    ORDERED = "ordered"  # to be forked as soon as there is room
    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class AdoptedWorker:
    """A worker as an earlier manager left it."""

    number: int
    generation: int
    phase: Phase
    is_asgi: bool = False


@dataclass(frozen=True, slots=True)
class Configured:
    """The site's file is new or has changed, and is valid."""

    site: Site


@dataclass(frozen=True, slots=True)
class Removed:
    """The site's file is gone."""


@dataclass(frozen=True, slots=True)
class RequestArrived:
    """Somebody waits on the site's socket while it is watched. Watching has ended with this."""


@dataclass(frozen=True, slots=True)
class WorkerForked:
    """The process is there; the time for its start runs from now."""

    worker: int


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The worker has loaded the application and accepts requests."""

    worker: int
    is_asgi: bool


@dataclass(frozen=True, slots=True)
class WorkersAdopted:
    """An earlier manager left these workers, and they live. Comes before anything else, once.

    ``is_outdated``: the newest of them were made from another version of the site's file.
    """

    workers: tuple[AdoptedWorker, ...]
    is_outdated: bool


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The worker said why it cannot start; it is about to exit."""

    worker: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """The worker is gone, or could not be forked. ``failure`` describes its end, should anybody be interested."""

    worker: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class LoadMeasured:
    """Somebody has looked at the scoreboards and the queue."""

    load: Load


@dataclass(frozen=True, slots=True)
class WorkerWornOut:
    """The worker has done enough. ``reason`` continues "worker 1.2 was replaced ..."."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerStuck:
    """All that the worker runs has been running for too long, or it runs nothing any more. ``failure`` says which."""

    worker: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class PlaceClaimed:
    """Another site needs a worker, the machine has no room for one more, and this one is to give way."""

    worker: int


@dataclass(frozen=True, slots=True)
class TimeElapsed:
    """A timer that was set and not cancelled has run out."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class ReloadOrdered:
    """Somebody, or a changed file, wants the code loaded anew."""


@dataclass(frozen=True, slots=True)
class StartOrdered:
    """``hostel start``: run again after a stop, or now rather than at the next request."""


@dataclass(frozen=True, slots=True)
class StopOrdered:
    """``hostel stop``: no worker, and a page that says so, until ``hostel start``."""


@dataclass(frozen=True, slots=True)
class PauseOrdered:
    """``hostel pause``: no worker, and requests wait, until ``hostel start``, or for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """All who waited for the failed or stopped site have their answer."""


Event = (
    Configured | Removed | RequestArrived | WorkerForked | WorkerReady | WorkersAdopted | WorkerFailed | WorkerExited
    | LoadMeasured | WorkerWornOut | WorkerStuck | PlaceClaimed | TimeElapsed | ReloadOrdered | StartOrdered | StopOrdered
    | PauseOrdered | TurnedAway
)  # fmt: skip
EVENTS: tuple[type, ...] = (
    Configured, Removed, RequestArrived, WorkerForked, WorkerReady, WorkersAdopted, WorkerFailed, WorkerExited,
    LoadMeasured, WorkerWornOut, WorkerStuck, PlaceClaimed, TimeElapsed, ReloadOrdered, StartOrdered, StopOrdered,
    PauseOrdered, TurnedAway,
)  # fmt: skip
