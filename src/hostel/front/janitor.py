"""The process that keeps the cache within its bounds: ``python -m hostel.front.janitor CACHE-DIR TOTAL-BYTES``.

nginx bounds its cache as a whole, and forgets what nobody asks for. The janitor deletes what it cannot know about: the oldest
answers of a site that has more than its share, those from before a purge or of a site that is gone, those whose time has long
been over, and old marks of what was not kept (``front.cache``). nginx takes a file that has vanished for one that never was.
And it says when there is no room on the disk, on which answers would break off.

The hard part is that the name of a cache file tells nothing, and what stands in it was written by clients and tenants. So this
is a process of its own with the rights of the front, which has these files anyway; it reads the head of each file once, and
takes nothing from it but a number and the first two words of the key, which the front has put there.

It works in the run directory, and learns from the run tree what the sites are to have. SIGURG makes it look at once; a
process that does not wait for it yet lives on.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import struct
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from hostel.front.store import FREE_BYTES, FULL, MODULES, UNKEPT, read

PAUSE_SECONDS = 5.0
STALE_SECONDS = 600.0  # so long an answer may be shown when its time is over, while a new one is fetched
CLOSED_SECONDS = 86400.0  # the same while its site does not start
MARK_SECONDS = 600.0
MARK_BYTES = 65536
HEAD_BYTES = 4096
LEFT_SECONDS = 3600.0  # a file that nginx has not finished in such a time is left from one that died
VALID = struct.Struct("@Nq")  # the beginning of ngx_http_file_cache_header_t: version, valid_sec
KEY = re.compile(rb"\nKEY: ((?:[a-z0-9_-]{1,32}\+)?[a-z0-9_-]{1,48}) ([0-9]{1,20}) ")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the cache. ``size`` is what it takes on the disk, in bytes; ``made`` and ``valid`` are when it was written and
    when its time is over, in seconds since the epoch."""

    site: str
    epoch: str
    size: int
    made: float
    valid: float
    inode: int


@dataclass(frozen=True, slots=True)
class Share:
    """What a site is to have in the cache."""

    epoch: str
    size: int
    is_closed: bool = False


def read_entry(path: str) -> Entry | None:
    """What a file of the cache says of itself; None when it says nothing, or is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        head = os.pread(descriptor, HEAD_BYTES, 0) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(descriptor)
    key = KEY.search(head)
    if key is None or len(head) < VALID.size:
        return None
    _, valid = VALID.unpack_from(head)
    return Entry(
        key[1].decode(),
        key[2].decode(),
        max(status.st_size, status.st_blocks * 512),
        status.st_mtime,
        float(valid),
        status.st_ino,
    )


def shares(names: Iterable[str]) -> dict[str, Share]:
    """What the run tree in the current folder gives to these sites, as far as they have a cache."""
    found = {}
    for name in names:  # the front may not list the sites
        with contextlib.suppress(OSError):
            spelled = os.path.basename(os.readlink(f"sites/{name}/values"))
            if epoch := read(spelled, "epoch"):
                found[name] = Share(epoch, int(read(spelled, "size")), os.path.lexists(f"sites/{name}/closed.html"))
    return found


def superfluous(entries: dict[str, Entry], wanted: dict[str, Share], total: int, now: float) -> list[str]:
    """The paths that are to go. Pure."""
    gone = []
    kept: dict[str, list[tuple[float, str]]] = {}
    for path, entry in entries.items():
        share = wanted.get(entry.site)
        if share is None or share.epoch != entry.epoch or is_outdated(entry, share, now):
            gone.append(path)
        else:
            kept.setdefault(entry.site, []).append((entry.made, path))
    for site, files in kept.items():
        gone += too_many(files, entries, wanted[site].size)
    left = set(entries).difference(gone)
    return gone + too_many([(entries[path].made, path) for path in left], entries, total)


def is_outdated(entry: Entry, share: Share, now: float) -> bool:
    return now > entry.valid + (CLOSED_SECONDS if share.is_closed else STALE_SECONDS)


def too_many(files: list[tuple[float, str]], entries: dict[str, Entry], most: int) -> list[str]:
    """The oldest of these, so that the rest has at most ``most`` bytes."""
    excess = sum(entries[path].size for _, path in files) - most
    gone = []
    for _, path in sorted(files) if excess > 0 else ():
        if excess <= 0:
            break
        gone.append(path)
        excess -= entries[path].size
    return gone


@dataclass(slots=True)
class Folder:
    """A folder of the cache: the entries in it, and when it was changed last; 0 for one that may have been since."""

    changed: float = 0.0
    entries: dict[str, Entry] = field(default_factory=dict)


class Janitor:
    """Remembers what it has read: it reads a file once, and looks into a folder only when something in it has changed."""

    def __init__(self, cache_dir: str, total: int) -> None:
        self.cache_dir = cache_dir
        self.total = total
        self.folders: dict[str, Folder] = {}

    def clean(self, now: float) -> None:
        """Look once, and delete what is to go."""
        for module in MODULES:
            for name in scan(f"{self.cache_dir}/{module}"):
                self.look(f"{self.cache_dir}/{module}/{name}", now)
        entries = {
            f"{path}/{name}": entry for path, folder in self.folders.items() for name, entry in folder.entries.items()
        }
        wanted = shares({entry.site for entry in entries.values()})
        for path in superfluous(entries, wanted, self.total, now):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        clean_marks(now)
        tell_of_disk(self.cache_dir)

    def look(self, path: str, now: float) -> None:
        """Take up what has come into a folder, and forget what has gone from it."""
        folder = self.folders.setdefault(path, Folder())
        try:
            changed = os.stat(path).st_mtime
        except OSError:
            del self.folders[path]
            return
        if folder.changed == changed:
            return
        # Two changes within a tick of the clock look like one.
        folder.changed = changed if now - changed > 1.0 else 0.0
        known, folder.entries = folder.entries, {}
        for name, status in scan(path).items():
            entry = known.get(name)
            if "." in name:  # nginx has not finished it
                if now - status.st_mtime > LEFT_SECONDS:
                    with contextlib.suppress(OSError):
                        os.unlink(f"{path}/{name}")
                continue
            if entry is None or (entry.inode, entry.made) != (status.st_ino, status.st_mtime):
                entry = read_entry(f"{path}/{name}")
            if entry is not None:
                folder.entries[name] = entry


def scan(folder: str) -> dict[str, os.stat_result]:
    """What is in a folder."""
    found = {}
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found[entry.name] = entry.stat(follow_symlinks=False)
    return found


def tell_of_disk(folder: str) -> None:
    """Have the front know whether the disk with this folder is full, which is what a folder that has gone amounts to."""
    free = 0
    with contextlib.suppress(OSError):
        status = os.statvfs(folder)
        free = status.f_bavail * status.f_frsize
    if free < FREE_BYTES:
        os.close(os.open(FULL, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(FULL)


def clean_marks(now: float) -> None:
    """Remove the marks that nothing has been added to for a while; what is added is nobody's to read."""
    for name, status in scan(UNKEPT).items():
        with contextlib.suppress(OSError):
            if now - status.st_mtime > MARK_SECONDS:
                os.unlink(f"{UNKEPT}/{name}")
            elif status.st_size > MARK_BYTES:
                os.truncate(f"{UNKEPT}/{name}", 0)


def main() -> None:
    cache_dir, total = sys.argv[1:]
    janitor = Janitor(cache_dir, int(total))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGURG})
    while True:
        begin = time.monotonic()
        janitor.clean(time.time())
        # A cache that takes long to look through is looked at less often.
        signal.sigtimedwait({signal.SIGURG}, max(PAUSE_SECONDS, 20 * (time.monotonic() - begin)))


if __name__ == "__main__":
    main()
