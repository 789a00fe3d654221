"""Code that reloads or mends a site when it changes: what a failed start was made of, ``reload_on``, and in development all.

The hard part is which folders to watch. They change with each site that fails, recovers, starts or sleeps, and a failure may
be mended in any folder that was involved in it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable

from hostel.machine import events as e
from hostel.machine.journey import Failure
from hostel.manager.runner import Runner
from hostel.manager.watch import LEFT_BEHIND, Watcher, is_program, is_template
from hostel.options.check import packages_of
from hostel.options.site import Site

RETRY_SECONDS = 0.5  # a failed site is not tried more often than this because of changes
RENEW_SECONDS = 0.0002  # for each failed site, between two times when what is watched is worked out anew
SOURCES = 200  # of one failure whose folders are watched
DEEPEST = 50  # folders in each other that a source may lie in: each costs a look, whenever anything is renewed


class CodeWatch:
    """Orders reloads when files change. ``follows_all``: as for development, of every site that runs."""

    def __init__(self, runner: Runner, *, follows_all: bool) -> None:
        self.runner = runner
        self.follows_all = follows_all
        self._watcher = Watcher(self._changed)
        self._failed: dict[str, dict[str, Failure]] = {}  # folder -> what a change in it may mend, by site
        self._renewal: asyncio.TimerHandle | None = None
        self._renewed_at = 0.0

    def close(self) -> None:
        self._watcher.close()

    def renew(self) -> None:
        """What is to be watched has changed. When many sites fail, their changes are taken together."""
        if self._renewal is None:
            loop = asyncio.get_running_loop()
            pause = len(self.runner.watched) * RENEW_SECONDS
            self._renewal = loop.call_at(max(loop.time(), self._renewed_at + pause), self._renew)

    def _renew(self) -> None:
        self._renewal = None
        if self.runner.is_ending:
            return
        self._renewed_at = asyncio.get_running_loop().time()
        self._failed = {}
        for name, failure in self.runner.watched.items():
            for place in places_to_mend(self.runner.sites[name].machine.site, failure):
                self._failed.setdefault(place, {})[name] = failure
        sites = self.runner.sites.values() if self.follows_all else ()
        touched = self.runner.reload_files
        self._watcher.watch({*self._failed, *touched.folders}, {managed.machine.site.directory for managed in sites})
        self._reload_touched(touched.folders)  # what came before the watching began

    def _reload_touched(self, paths: Iterable[str]) -> None:
        for name in self.runner.reload_files.take(paths):
            self.runner.log(self.runner.sites[name], "a file of reload_on has changed")
            self.runner.dispatch(name, e.ReloadOrdered())

    def _changed(self, paths: set[str]) -> None:
        if self.runner.is_ending:
            return
        self._reload_touched(paths)
        mended: dict[str, Failure] = {}
        for path in paths:
            mended |= self._failed.get(path, {})
            if failed := self._failed.get(os.path.dirname(path)):
                is_folder = os.path.basename(path) not in LEFT_BEHIND and os.path.isdir(path)
                mended |= failed if is_folder or is_program(path) or path.endswith(".json") else {}
        if self.follows_all:
            for name, managed in list(self.runner.sites.items()):
                if any(is_code(path, managed.machine.site) for path in paths):
                    if failure := self.runner.watched.get(name):
                        mended[name] = failure
                    else:
                        self.runner.dispatch(name, e.ReloadOrdered())
        for name, failure in mended.items():
            if self.runner.watched.get(name) is failure:
                pause = min(RETRY_SECONDS, max(0.0, self.runner.sites[name].since + RETRY_SECONDS - time.time()))
                asyncio.get_running_loop().call_later(pause, self._retry, name, failure)

    def _retry(self, name: str, failure: Failure) -> None:
        if self.runner.watched.get(name) is failure:
            self.runner.dispatch(name, e.ReloadOrdered())


def places_to_mend(site: Site, failure: Failure) -> set[str]:
    """The folders, without what is below them, where a change may mend a site that does not start."""
    places = {site.directory, *packages_of(site.environment or sys.prefix)}
    if site.environment:
        places |= {site.environment, os.path.join(site.environment, "bin")}
    *packages, _ = (site.app or ":").partition(":")[0].split(".")
    places |= {os.path.join(site.directory, *packages[:depth]) for depth in range(len(packages) + 1)}
    # The sources are named by the worker, and it is not to learn by its restarts what others do.
    top = os.path.join(os.path.realpath(site.directory), "")
    for folder in {os.path.dirname(source) for source in failure.sources[:SOURCES]}:
        if os.path.join(real_path(folder), "").startswith(top):
            places.add(folder)
    return places


def real_path(folder: str) -> str:
    """Where a folder is that a worker has named; empty for what cannot be one."""
    try:
        return os.path.realpath(folder) if folder.count("/") <= DEEPEST else ""
    except ValueError:  # a zero byte, or what is no text of any file system
        return ""


def is_code(path: str, site: Site) -> bool:
    """Whether a file is of a site's program or templates: a running worker may have read it, and will not again."""
    if not is_part(path, site.directory):
        return False
    if is_program(path):
        return True
    return site.app is not None and is_template(path, site.directory, [place for _, place in site.static])


def is_part(path: str, directory: str) -> bool:
    """Whether a file is in a directory, and not in a folder that programs leave behind there."""
    inside = os.path.join(directory, "")
    return path.startswith(inside) and LEFT_BEHIND.isdisjoint(path[len(inside) :].split("/"))
