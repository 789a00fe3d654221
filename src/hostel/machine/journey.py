"""The journey of a start: its named steps with their times, and what stopped it. One record for all who show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Journey:
    """The steps of one start: each name with the seconds since the fork at which it began."""

    steps: tuple[tuple[str, float], ...] = ()

    @property
    def last(self) -> str:
        """The step that the start was in when it ended, or ``order`` when the worker was never forked."""
        return self.steps[-1][0] if self.steps else "order"

    def with_step(self, name: str, seconds: float) -> Journey:
        return Journey((*self.steps, (name, seconds)))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker could not start, or died: shown by the command line, the status and the development page alike.

    ``id`` is what a visitor sees in production; ``time`` is in seconds since the epoch; ``output`` is the end of what
    the worker wrote; ``sources`` are the site's own files that were involved. ``is_hosts``: nothing is wrong with the
    site, the machine is full or has used something up, and that may pass at any moment.
    """

    id: str
    time: float
    site: str
    generation: int
    step: str
    reason: str
    hint: str = ""
    traceback: str = ""
    output: str = ""
    journey: Journey = Journey()
    sources: tuple[str, ...] = ()
    is_hosts: bool = False

    def __str__(self) -> str:
        return f"cannot start site {self.site}: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """The failure as plain values, with the steps as ``[name, seconds]``."""
        return {
            "id": self.id,
            "time": self.time,
            "generation": self.generation,
            "step": self.step,
            "reason": self.reason,
            "hint": self.hint,
            "traceback": self.traceback,
            "output": self.output,
            "steps": [list(step) for step in self.journey.steps],
        }


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the way from a visitor to the first byte of the answer; times are seconds since the visitor came."""

    name: str
    begin: float
    seconds: float
    text: str


# Each stage ends with the moment of its own name in ``find_stages``; the next one begins there.
STAGES = (
    ("socket readable", "the manager notices that somebody waits"),
    ("order", "it works out what the worker becomes, sees that its room and its zygote are there, and orders it"),
    ("fork", "the zygote looks whether it is out of date or holds what it must not, and forks"),
    ("guards", "the worker becomes the site: user, namespaces, limits, descriptors, variables"),
    ("import", "it imports the application"),
    ("ready", "it prepares to serve; an ASGI application's lifespan starts"),
    ("first byte", "it takes the request, and the application answers"),
)


def find_stages(moments: dict[str, float], begin: float) -> tuple[Stage, ...]:
    """The stages whose ends are known, until the first that is not. No stage ends before it begins, whatever a worker says."""
    found: list[Stage] = []
    last = begin
    for name, text in STAGES:
        if name not in moments:
            break
        end = max(last, moments[name])
        found.append(Stage(name, last - begin, end - last, text))
        last = end
    return tuple(found)
