"""The options of what keeps a site from others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hostel.options.fields import PathText, Size


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class GuardOptions:
    """What keeps the site from others; hostel explain says what of it is on."""

    level: Annotated[
        Literal["full", "user", "none"] | None,
        Field(
            description="How much: none is the site's user only; user adds no way to more rights; full adds files, processes "
            "and IPC of its own. As far as the machine can. Default: the server's --guard.",
            examples=["user"],
        ),
    ] = None
    files: Annotated[
        bool,
        Field(
            strict=True,
            description="At level full: the system is read-only, /tmp is the site's own, and others' folders are hidden.",
            examples=[False],
        ),
    ] = True
    processes: Annotated[
        bool, Field(strict=True, description="At level full: the site sees its own processes only.", examples=[False])
    ] = True
    ipc: Annotated[
        bool,
        Field(strict=True, description="At level full: shared memory and message queues of its own.", examples=[False]),
    ] = True
    system_calls: Annotated[
        bool,
        Field(
            strict=True, description="The kernel refuses system calls that web sites have no use for.", examples=[False]
        ),
    ] = True
    privileges: Annotated[
        bool,
        Field(
            strict=True,
            description="Set-user-ID programs give no rights. Without it, system_calls is off too.",
            examples=[False],
        ),
    ] = True
    network: Annotated[
        Literal["all", "none"],
        Field(
            description="What it can connect to. all: whatever the machine can. none, at any level: a 127.0.0.1 of its own, and "
            "neither the machine's services, nor other sites', nor the network; sockets in the file system go on working.",
            examples=["none"],
        ),
    ] = "all"
    writable: Annotated[
        tuple[PathText, ...],
        Field(
            description="At level full: what the site may see and write to besides directory, its user's home and "
            "STATE_DIRECTORY; relative to directory.",
            examples=[["/srv/blog/media"]],
        ),
    ] = ()
    tmp: Annotated[
        Size,
        Field(
            ge=2**20,
            description="At level full: the size of the site's /tmp, and of its /var/tmp and /dev/shm. They lie in memory.",
            examples=["1G"],
        ),
    ] = 256 * 2**20
