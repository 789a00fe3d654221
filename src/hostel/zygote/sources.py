"""Whether what a zygote is made of is still what lies on the disk: packages are upgraded, environments made anew.

The hard part is to notice all of it before a fork, and to be quick about it. So what is remembered are stamps, which cost a
stat(2) each: of the interpreter, of the environment's configuration and its folders of packages (an installation changes
them, and what its ``.pth`` files say), and of the file of every module that has been imported. Hostel's own files are not
among them: a newer Hostel waits for its restart.
"""

from __future__ import annotations

import os
import site
import sys
from typing import Dict, Optional, Set, Tuple

Stamp = Optional[Tuple[int, int, int, int]]


class Sources:
    """The files and folders that this process was made from, as they were when they were read."""

    def __init__(self) -> None:
        environment = os.path.dirname(os.path.dirname(sys.executable))
        places = [sys.executable, os.path.join(environment, "pyvenv.cfg"), *site.getsitepackages()]
        self._stamps: Dict[str, Stamp] = {place: stamp_of(place) for place in places}
        self._known: Set[str] = set()
        self.remember_modules()

    def remember_modules(self) -> None:
        """Remember the files of the modules that have been imported since the last time."""
        for name in sys.modules.keys() - self._known:
            self._known.add(name)
            path = getattr(getattr(sys.modules[name], "__spec__", None), "origin", None)
            if isinstance(path, str) and name.partition(".")[0] != "hostel":
                stamp = stamp_of(path)
                if stamp is not None:  # "built-in" and "frozen" are no files
                    self._stamps[path] = stamp

    def find_changed(self) -> str:
        """The path of one that is not as it was; empty when all are."""
        for path, stamp in self._stamps.items():
            if stamp_of(path) != stamp:
                return path
        return ""


def stamp_of(path: str) -> Stamp:
    """What tells a file from another at the same place; None when there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
