"""The system users that sites are given out of a reserved range, with ``--users auto``: each number to one site, for ever.

The hard part is "for ever". A number that is given twice hands one site the files that another has left behind: after the
other was removed, after a crash, and from a second server that uses the same state folder. So the record only grows: a line
for each site, added under a lock and on the disk before the number is used, and never taken out again. What is not a record
any more is not repaired by guessing: then no number is given. There is no entry in the system's list of users: a thousand of
them would be the machine's for ever, each a name that other programs take for a person's, and a worker needs none, as its
HOME, USER and LOGNAME are set.
"""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import re
import stat
from collections.abc import Iterable
from functools import lru_cache

from hostel.errors import SiteError
from hostel.options.fields import LEAST_UID

RECORD = "users"
RECORD_BYTES = 64 * 2**20
_LINE = re.compile(r"([0-9]{1,10}) (\S{1,100})")
_MEND = "bring it back from a backup; a number given twice would give one site the files of another"


def find_uid(state_dir: str, site: str) -> int | None:
    """The number of a site's user; None when it has not been given one. Raises ``SiteError`` when the record is of no use."""
    path = os.path.join(state_dir, RECORD)
    try:
        status = os.stat(path)
        return _load(path, (status.st_mtime_ns, status.st_size, status.st_ino)).get(site)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SiteError(f"cannot read the record of users {path}: {error.strerror}", _MEND) from None


def give_uids(state_dir: str, sites: Iterable[str], uid_range: tuple[int, int]) -> None:
    """Give each of these sites a number out of the range (its last included) that it has to itself, if it has none yet.

    Raises ``SiteError`` when there is none left for some, or when the record is of no use; and ``OSError``.
    """
    wanted = set(sites)
    path = os.path.join(state_dir, RECORD)
    if not wanted or (os.path.exists(path) and all(find_uid(state_dir, site) for site in wanted)):
        return
    is_new = not os.path.lexists(path)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        given, whole = _read(descriptor, path)
        if not given:
            _look_for_remains(state_dir, uid_range, path)
        if os.fstat(descriptor).st_size > whole:
            os.ftruncate(descriptor, whole)  # a line that was being written when the machine went down: nobody has it
        lines = []
        highest = max((uid for uid in given.values() if uid_range[0] <= uid <= uid_range[1]), default=uid_range[0] - 1)
        for site in sorted(wanted - given.keys()):
            highest += 1
            while highest <= uid_range[1] and _is_known(highest):
                highest += 1
            if highest > uid_range[1]:
                break
            lines.append(f"{highest} {site}\n")
        os.write(descriptor, "".join(lines).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    if len(lines) < len(wanted - given.keys()):
        raise SiteError(*used_up(uid_range))


def used_up(uid_range: tuple[int, int]) -> tuple[str, str]:
    """What is said of a site for which no number is left, and what to do."""
    first, last = uid_range
    return (
        f"no system user is left for it: all numbers from {first} to {last} have been given",
        "give hostel serve another --user-range: sites keep the numbers that they have",
    )


@lru_cache(maxsize=4)
def _load(path: str, signature: tuple[int, ...]) -> dict[str, int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return _read(descriptor, path)[0]
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: str) -> tuple[dict[str, int], int]:
    """The numbers by site, and how many bytes of whole lines there are. Raises ``SiteError``."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise SiteError(
            f"the record of users {path} is not to be trusted: others than root may have written it", "see who has"
        )
    data = b""
    while len(data) < min(status.st_size, RECORD_BYTES) and (more := os.pread(descriptor, 2**20, len(data))):
        data += more
    whole = data.rfind(b"\n") + 1
    given: dict[str, int] = {}
    uids: set[int] = set()
    for number, line in enumerate(data[:whole].decode(errors="replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in given or int(match[1]) in uids or int(match[1]) < LEAST_UID:
            raise SiteError(f"the record of users {path} is damaged, at line {number}", _MEND)
        given[match[2]] = int(match[1])
        uids.add(given[match[2]])
    return given, whole


def _look_for_remains(state_dir: str, uid_range: tuple[int, int], path: str) -> None:
    """An empty record is the first one, or another has been lost: then sites have left files. Raises ``SiteError``."""
    folder = os.path.join(state_dir, "sites")
    with os.scandir(folder) as entries:
        for entry in entries:
            uid = entry.stat(follow_symlinks=False).st_uid
            if uid_range[0] <= uid <= uid_range[1]:
                raise SiteError(f"the record of users {path} is lost: {entry.path} belongs to user {uid}", _MEND)


def _is_known(uid: int) -> bool:
    """Whether the machine has a user or a group of this number, which came there after the range was looked at."""
    for look in (pwd.getpwuid, grp.getgrgid):
        try:
            look(uid)
            return True
        except KeyError:
            pass
    return False


def who_uses(uid_range: tuple[int, int], root: str = "/") -> str:
    """Who else has a number of this range: a user, a group, or a range for users of containers; empty when nobody has."""
    first, last = uid_range
    for kind, entries in (
        ("user", [(one.pw_uid, one.pw_name) for one in pwd.getpwall()]),
        ("group", [(one.gr_gid, one.gr_name) for one in grp.getgrall()]),
    ):
        for number, name in entries:
            if first <= number <= last:
                return f"{kind} {name} has {number}"
    for file in ("etc/subuid", "etc/subgid"):  # subuid(5): name:first:count
        try:
            with open(os.path.join(root, file), errors="replace") as lines:
                parts = [line.strip().split(":") for line in lines]
        except OSError:
            continue
        for part in parts:
            if len(part) == 3 and part[1].isdigit() and part[2].isdigit():
                begin, count = int(part[1]), int(part[2])
                if begin <= last and first < begin + count:
                    return f"/{file} gives {begin} to {begin + count - 1} to {part[0]}"
    return ""
