"""The calls that the control socket answers: their arguments and what their answers look like. The one table of them.

Pure: a message in, checked arguments or ``PeerError`` out. What a call does is the manager's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from hostel.api.views import (
    EnvironmentsView,
    ExplainView,
    LogsView,
    PurgedView,
    RemovedView,
    SessionView,
    StartView,
    StatusView,
    UpgradeView,
)  # fmt: skip
from hostel.errors import PeerError

_CONFIG = ConfigDict(extra="forbid")
Names = Annotated[list[str], Field(description="names of sites")]


@checked_dataclass(frozen=True, slots=True, config=_CONFIG)
class StatusArguments:
    """Which sites; none means all."""

    sites: Names = Field(default_factory=list)
    brief: Annotated[bool, Field(description="none means none: the server only")] = False


@checked_dataclass(frozen=True, slots=True, config=_CONFIG)
class OrderArguments:
    """Which sites, and whether to wait for them."""

    sites: Names = Field(default_factory=list)
    all: Annotated[bool, Field(description="every site, whatever sites says")] = False
    wait: Annotated[bool, Field(description="answer when the order is carried out, not at once")] = True
    seconds: Annotated[float, Field(ge=0, le=86400, description="answer after so long in any case")] = 120.0


@checked_dataclass(frozen=True, slots=True, config=_CONFIG)
class PauseArguments(OrderArguments):
    """Which sites, whether to wait for them, and how long requests may wait."""

    limit: Annotated[float, Field(gt=0, le=86400, description="seconds after which the sites go on by themselves")] = (
        60.0
    )


@checked_dataclass(frozen=True, slots=True, config=_CONFIG)
class UpgradeArguments:
    """None."""


@checked_dataclass(frozen=True, slots=True, config=_CONFIG)
class EnvironmentsArguments:
    """None."""


@checked_dataclass(frozen=True, slots=True, config=_CONFIG)
class LogsArguments:
    """Which site."""

    site: Annotated[str, Field(description="the site's name")]


@checked_dataclass(frozen=True, slots=True, config=_CONFIG)
class MeasureArguments:
    """Which site, and what is asked of it."""

    site: Annotated[str, Field(description="the site's name")]
    path: Annotated[str, Field(pattern=r"^/[!-~]{0,2000}$", description="the path to ask for")] = "/"
    seconds: Annotated[float, Field(gt=0, le=3600, description="give up after so long")] = 60.0


@checked_dataclass(frozen=True, slots=True, config=_CONFIG)
class AddArguments:
    """The new site file."""

    name: Annotated[str, Field(description="the site's name")]
    text: Annotated[str, Field(description="the text of its site file")]
    replace: Annotated[bool, Field(description="whether a site of this name is replaced")] = False


@checked_dataclass(frozen=True, slots=True, config=_CONFIG)
class RemoveArguments:
    """Which sites."""

    sites: Names


@checked_dataclass(frozen=True, slots=True, config=_CONFIG)
class PurgeArguments:
    """Which sites."""

    sites: Names = Field(default_factory=list)
    all: Annotated[bool, Field(description="every site that has a cache, whatever sites says")] = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call: the type of its arguments, the type of its answer, and what it does in a sentence."""

    name: str
    arguments: type
    answer: type
    text: str

    def read(self, table: dict[str, Any]) -> Any:
        """The arguments in a message. Raises ``PeerError``."""
        try:
            return TypeAdapter(self.arguments).validate_python(table)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])[:100]
            raise PeerError(
                f"cannot answer {self.name}: {where}: {first['msg']}", "client and server may be of different versions"
            ) from None


CALLS = {
    call.name: call
    for call in (
        Call("status", StatusArguments, StatusView, "What the server and its sites are doing."),
        Call("start", OrderArguments, StatusView, "Start sites; answers when they serve or have failed."),
        Call(
            "stop",
            OrderArguments,
            StatusView,
            "Stop sites until they are started; answers when their workers are gone.",
        ),
        Call(
            "pause",
            PauseArguments,
            StatusView,
            "Let requests wait until the sites are started, or for so long; answers when their workers are gone.",
        ),
        Call(
            "reload", OrderArguments, StatusView, "Load the code of sites anew; answers when it serves or has failed."
        ),
        Call(
            "upgrade",
            UpgradeArguments,
            UpgradeView,
            "Restart manager and zygotes from newly installed code; answers when that has been tried, and is about to begin.",
        ),
        Call("explain", LogsArguments, ExplainView, "What keeps a site from others, and what its processes become."),
        Call(
            "measure",
            MeasureArguments,
            StartView,
            "Start a worker beside the site's own to measure it, ask it for a page, and end it.",
        ),
        Call(
            "environments", EnvironmentsArguments, EnvironmentsView, "What the sites run in, and what is known of that."
        ),
        Call("session", LogsArguments, SessionView, "How a command is run as the site's worker would be."),
        Call("logs", LogsArguments, LogsView, "The paths of a site's logs."),
        Call("add", AddArguments, StatusView, "Write a site file and take it up; answers with the site."),
        Call(
            "purge",
            PurgeArguments,
            PurgedView,
            "Forget what the front has kept of sites' answers; nobody is shown it any more.",
        ),
        Call("remove", RemoveArguments, RemovedView, "Remove site files; answers when the sites are gone."),
    )
}
