"""The files that reload a site when they are touched (``reload_on``), of all sites that run.

The hard part is to notice each touch once: an editor touches a file in five steps, a deployment exchanges a folder on the
way to it, and what the kernel reports is a folder in which something happened. So each file has a stamp, and a reload is
due when a file that is there has another one. A file that is gone reloads nothing: it is on its way to be replaced.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from hostel.options.site import Site

Stamp = tuple[int, int, int, int]


class ReloadFiles:
    """Owns the stamps. A site's begin to count with ``follow``, which comes before its worker reads anything."""

    def __init__(self) -> None:
        self._stamps: dict[str, dict[str, Stamp | None]] = {}  # site -> path -> what it was
        self._sites: dict[str, set[str]] = {}  # folder -> sites with a file in it

    @property
    def folders(self) -> set[str]:
        """The folders to be watched."""
        return set(self._sites)

    def follow(self, site: Site) -> bool:
        """From now on a site's files count as they are, new ones at least; whether other folders are to be watched."""
        before = self._stamps.get(site.name, {})
        stamps = {path: before[path] if path in before else stamp_of(path) for path in site.reload_on}
        return self._replace(site.name, stamps)

    def forget(self, name: str) -> bool:
        """The site does not run any more; whether other folders are to be watched."""
        return name in self._stamps and self._replace(name, {})

    def _replace(self, name: str, stamps: dict[str, Stamp | None]) -> bool:
        old = {os.path.dirname(path) for path in self._stamps.pop(name, ())}
        new = {os.path.dirname(path) for path in stamps}
        if stamps:
            self._stamps[name] = stamps
        is_other = not new <= self._sites.keys()
        for folder in new - old:
            self._sites.setdefault(folder, set()).add(name)
        for folder in old - new:
            self._sites[folder].discard(name)
            if not self._sites[folder]:
                del self._sites[folder]
                is_other = True
        return is_other

    def take(self, paths: Iterable[str]) -> list[str]:
        """The sites to be reloaded, now that something has happened to these paths: files, or folders of them."""
        names: set[str] = set()
        for path in paths:
            names |= self._sites.get(path, set()) | self._sites.get(os.path.dirname(path), set())
        return sorted(name for name in names if self._is_touched(name))

    def _is_touched(self, name: str) -> bool:
        is_touched = False
        for path, before in self._stamps[name].items():
            now = stamp_of(path)
            if now is not None and now != before:
                self._stamps[name][path] = now
                is_touched = True
        return is_touched


def was_touched_since(site: Site, moment: float) -> bool:
    """Whether a file of a site has changed since a moment of the wall clock: by its ctime, which nobody can set."""
    for path in site.reload_on:
        try:
            changed = os.stat(path).st_ctime
        except OSError:
            continue
        if moment < changed <= time.time():
            return True
    return False


def stamp_of(path: str) -> Stamp | None:
    """What tells a touched file from an untouched one; None when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
