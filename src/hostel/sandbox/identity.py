"""Which system user a site runs as, and what that user can reach."""

from __future__ import annotations

import os
import pwd
import stat
import time
from dataclasses import dataclass
from functools import lru_cache

from hostel.errors import HostError, SiteError

REMEMBERED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a worker becomes: numeric user, group and supplementary groups, and what its environment says of it."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str


def own_identity() -> Identity | None:
    """None for root, which runs no site as itself; otherwise the caller, as whom all sites run."""
    if os.geteuid() == 0:
        return None
    try:
        entry = pwd.getpwuid(os.geteuid())
        name, home = entry.pw_name, entry.pw_dir
    except KeyError:
        name, home = str(os.geteuid()), "/"
    return Identity(os.geteuid(), os.getegid(), tuple(os.getgroups()), name, home)


def find_identity(user: str, least: int = 1) -> Identity:
    """The identity of a system user. Raises ``SiteError`` when there is none, or when no site may be that one.

    ``least``: the smallest number that a site's user and its group may have. What the system says is remembered for a few
    seconds: thousands of sites may ask for the same user at once.
    """
    return _find_identity(user, least, int(time.monotonic() // REMEMBERED_SECONDS))


@lru_cache(maxsize=1024)
def _find_identity(user: str, least: int, moment: int) -> Identity:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise SiteError(
            f"there is no system user {user!r}", f"make it (useradd {user}), or name another user"
        ) from None
    if entry.pw_uid == 0 or entry.pw_gid == 0:
        raise SiteError(f"user {user!r} is root, and no site runs as root", "name an ordinary user")
    if min(entry.pw_uid, entry.pw_gid) < least:
        raise SiteError(
            f"user {user!r} has the numbers {entry.pw_uid} and {entry.pw_gid} (group), and sites begin at {least}",
            f"name a user of people's (useradd {user} gives such numbers), or lower --least-uid of hostel serve",
        )
    groups = tuple(sorted(os.getgrouplist(user, entry.pw_gid)))
    if 0 in groups:
        raise SiteError(f"user {user!r} is in root's group", "name a user that is not")
    return Identity(entry.pw_uid, entry.pw_gid, groups, user, entry.pw_dir)


def obstacle(path: str, identity: Identity, *, want: int = os.R_OK | os.X_OK) -> str:
    """What keeps a user from a path: the first folder above it, or itself, that it may not use; empty when nothing does.

    ``want`` is what has to be allowed on the path itself (for a folder: read and enter; for a file: read). For another
    user this is judged by mode bits, and where there is an access control list, which may allow more, in its favour.
    """
    parts = os.path.realpath(path)
    here = ""
    for part in parts.split("/")[1:]:
        here = f"{here}/{part}"
        is_last = here == parts
        try:
            status = os.stat(here)
        except OSError as error:
            return f"{here}: {error.strerror}"
        wanted = want if is_last else os.X_OK
        if is_last and not stat.S_ISDIR(status.st_mode):
            wanted &= ~os.X_OK
        if not _may_use(here, status, identity, wanted):
            return f"{here} is closed to user {identity.name} (mode {stat.S_IMODE(status.st_mode):o})"
    return ""


def _may_use(path: str, status: os.stat_result, identity: Identity, wanted: int) -> bool:
    if identity.uid == os.geteuid():
        return os.access(path, wanted, effective_ids=True)
    if identity.uid == status.st_uid:
        bits = status.st_mode >> 6
    elif status.st_gid == identity.gid or status.st_gid in identity.groups:
        bits = status.st_mode >> 3
    else:
        bits = status.st_mode
    if not wanted & ~bits & 7:
        return True
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:
        return False


def group_of(user: str) -> tuple[int, int]:
    """The uid and gid of a user of the server itself. Raises ``HostError``."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise HostError(f"there is no system user {user!r}", f"make it: useradd --system {user}") from None
    return entry.pw_uid, entry.pw_gid
