"""Watching files: the folders of site files always, and code where a change should be acted upon.

The hard part is who makes the changes. A tenant may give a file any name that the kernel takes, change it a million
times a second, or let a link on the way lead elsewhere; and the set of watched folders changes whenever a site fails or
recovers. So this asks the kernel itself (inotify(7)): names are bytes, a folder is added or taken away without a gap for
the others, and a folder that is too busy is left alone for a while. (The package watchfiles ends with an exception at
a name that is not UTF-8, has to begin anew for each change of the set, and does not see that a folder was replaced.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from hostel.errors import HostError
from hostel.sandbox import syscalls

GATHER_SECONDS = 0.08  # changes within such a time are reported together, and the kernel is not asked more often
LOOK_SECONDS = 1.0  # how soon it is noticed that a folder is another one now: the kernel does not tell about links
READ_BYTES = 65536
MOST_CHANGES = 500  # of one folder in one read

MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
QUEUE_OVERFLOW, IGNORED, ONLY_FOLDERS, IS_FOLDER = 0x4000, 0x8000, 0x1000000, 0x40000000
MASK = ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF | ONLY_FOLDERS
_EVENT = struct.Struct("iIII")

LEFT_BEHIND = frozenset(
    ("__pycache__", "node_modules", "site-packages", ".git", ".hg", ".svn", ".tox", ".nox", ".venv", ".idea",
     ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis")
)  # fmt: skip
PROGRAM_SUFFIXES = (".py", ".so", ".pth", ".toml", ".ini", ".cfg", ".env", ".yaml", ".yml")
TEMPLATE_SUFFIXES = (
    ".djhtml", ".htm", ".html", ".j2", ".jinja", ".jinja2", ".mak", ".mako", ".pt", ".tmpl", ".tpl", ".xhtml",
)  # fmt: skip
TEXT_SUFFIXES = (".txt", ".xml", ".md", ".css", ".js")  # of templates too, as those of mails, where nothing else lies
TEMPLATE_FOLDERS = frozenset(("templates", "jinja2"))
DATA_FOLDERS = frozenset(
    ("build", "cache", "coverage", "data", "dist", "files", "htmlcov", "instance", "log", "logs", "media", "out",
     "output", "public", "reports", "site", "static", "temp", "tmp", "upload", "uploads", "var", "_build", "_site")
)  # fmt: skip
_EDITORS = (".#", "#", "._")  # what the names of files begin with that are an editor's own


def is_program(path: str) -> bool:
    """Whether a file is part of a site's program, and not something that running it leaves behind."""
    return path.endswith(PROGRAM_SUFFIXES) and not os.path.basename(path).startswith(_EDITORS)


def is_template(path: str, directory: str, served: Iterable[str]) -> bool:
    """Whether a file in a site's directory may be a template, which frameworks keep as they have read it first.

    It is none when it is below one of the paths that are ``served`` as files. Pages that a program writes have the same
    names as templates; they are known by where they lie.
    """
    name = os.path.basename(path)
    if not path.endswith(TEMPLATE_SUFFIXES + TEXT_SUFFIXES) or name.startswith(_EDITORS):
        return False
    if any(path == place or path.startswith(os.path.join(place, "")) for place in served):
        return False
    folders = os.path.relpath(path, directory).split(os.sep)[:-1]
    if not TEMPLATE_FOLDERS.isdisjoint(folders):
        return True
    return path.endswith(TEMPLATE_SUFFIXES) and DATA_FOLDERS.isdisjoint(folders)


class Watcher:
    """Calls back with the paths that have changed in what ``watch`` names; a watched folder itself may be among them.

    With ``is_exact`` every write is a change; otherwise a file has changed when its writer closes it, and a folder (not
    a tree) in which too much happens is left alone until the next look. Raises ``HostError`` when the system lets
    nothing be watched.
    """

    def __init__(self, on_change: Callable[[set[str]], None], *, is_exact: bool = False) -> None:
        self.on_change = on_change
        self.is_exact = is_exact
        self._loop = asyncio.get_running_loop()
        self._wanted: dict[str, bool] = {}  # place -> whether all below it is meant too
        self._trees: tuple[str, ...] = ()  # what the paths below those places begin with
        self._found: dict[str, tuple[int, int]] = {}  # place -> what it was: device and inode
        self._paths: dict[int, set[str]] = {}  # the kernel's number -> paths; two may lead to one folder
        self._numbers: dict[str, int] = {}
        self._changed: set[str] = set()
        self._looking: asyncio.TimerHandle | None = None
        self._complaint = ""
        try:
            self._descriptor = syscalls.inotify_init()
        except OSError as error:
            raise HostError(
                f"cannot watch files: {error.strerror}", "allow more: sysctl fs.inotify.max_user_instances=1024"
            ) from None
        self._loop.add_reader(self._descriptor, self._read)

    def watch(self, folders: Iterable[str], trees: Iterable[str] = ()) -> None:
        """Watch ``folders`` (not what is below them) and everything below ``trees``, and nothing else."""
        old, self._wanted = self._wanted, dict.fromkeys(folders, False) | dict.fromkeys(trees, True)
        self._trees = tuple(os.path.join(place, "") for place, deep in self._wanted.items() if deep)
        for place, deep in old.items():
            if self._wanted.get(place) is not deep:
                self._remove(place, deep)
        for place, deep in self._wanted.items():
            if old.get(place) is not deep:
                self._add(place, deep)
        if self._wanted and self._looking is None:
            self._looking = self._loop.call_later(LOOK_SECONDS, self._look)

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    # --- what is watched --------------------------------------------------------------------------------------------

    def _add(self, place: str, deep: bool) -> None:
        """Begin with a place, if it is there."""
        if found := identity_of(place):
            self._found[place] = found
            for folder in folders_below(place) if deep else (place,):
                self._add_folder(folder)

    def _remove(self, place: str, deep: bool) -> None:
        """End with a place, as far as it is not part of another one."""
        self._found.pop(place, None)
        inside = os.path.join(place, "")
        below = [folder for folder in self._numbers if folder.startswith(inside)] if deep else []
        for folder in (place, *below):
            if folder not in self._wanted and not folder.startswith(self._trees):
                self._remove_folder(folder)

    def _add_folder(self, folder: str) -> None:
        try:
            number = syscalls.inotify_add_watch(self._descriptor, folder, MASK | (MODIFY if self.is_exact else 0))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        except OSError as error:
            self._complain(f"cannot watch {folder}: {error.strerror} (see sysctl fs.inotify.max_user_watches)")
            return
        self._paths.setdefault(number, set()).add(folder)
        self._numbers[folder] = number

    def _remove_folder(self, folder: str) -> None:
        number = self._numbers.pop(folder, None)
        if number is None:
            return
        self._paths[number].discard(folder)
        if not self._paths[number]:
            del self._paths[number]
            with contextlib.suppress(OSError):  # the kernel ends by itself when the folder is gone
                syscalls.inotify_rm_watch(self._descriptor, number)

    def _look(self) -> None:
        """Find places that came, that went, that are other ones now, and those that were left alone."""
        self._looking = self._loop.call_later(LOOK_SECONDS, self._look) if self._wanted else None
        for place, deep in self._wanted.items():
            found = identity_of(place)
            is_other = found != self._found.get(place)
            if is_other or (found and place not in self._numbers):
                self._found.pop(place, None)
                self._remove_folder(place)
                self._add(place, deep)
                if is_other or place in self._numbers:
                    self._changed.add(place)
        self._report()

    # --- what the kernel says ---------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take in what has happened, then look away for a moment: there may be much more of the same."""
        self._take()
        self._loop.remove_reader(self._descriptor)
        self._loop.call_later(GATHER_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._descriptor >= 0:
            self._take()  # what came in the meantime belongs to it
            self._loop.add_reader(self._descriptor, self._read)
            self._report()

    def _report(self) -> None:
        changed, self._changed = self._changed, set()
        if changed:
            self.on_change(changed)

    def _take(self) -> None:
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return
        counts: Counter[int] = Counter()
        for number, mask, name in events(data):
            counts[number] += 1
            if mask & QUEUE_OVERFLOW:
                self._changed |= self._wanted.keys()
            for folder in list(self._paths.get(number, ())):
                self._take_event(folder, mask, name)
        for number, count in counts.items():
            if count > MOST_CHANGES and not self.is_exact:
                for folder in [one for one in self._paths.get(number, ()) if not f"{one}/".startswith(self._trees)]:
                    self._changed.add(folder)
                    self._remove_folder(folder)

    def _take_event(self, folder: str, mask: int, name: str) -> None:
        if mask & (IGNORED | DELETE_SELF | MOVE_SELF):
            self._remove_folder(folder)  # should it be there again, the next look finds it
        self._changed.add(os.path.join(folder, name) if name else folder)
        if name and mask & IS_FOLDER and mask & (CREATE | MOVED_TO) and name not in LEFT_BEHIND:
            self._take_new_folder(os.path.join(folder, name))

    def _take_new_folder(self, path: str) -> None:
        """In a tree it is watched too, and what was put into it before that counts as changed."""
        if not path.startswith(self._trees):
            return
        for folder in folders_below(path):
            self._add_folder(folder)
            with contextlib.suppress(OSError):
                self._changed.update(os.path.join(folder, name) for name in os.listdir(folder))

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            print(f"hostel: {text}", file=sys.stderr, flush=True)


def identity_of(path: str) -> tuple[int, int] | None:
    """What a path leads to, so that another one in its place is recognised; None when there is nothing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def events(data: bytes) -> Iterator[tuple[int, int, str]]:
    """The kernel's number of the watched folder, the mask and the name in each event that was read."""
    at = 0
    while at < len(data):
        number, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        yield number, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))
        at += length


def folders_below(place: str) -> Iterator[str]:
    """A folder and those below it, without those that programs leave behind; links are not followed."""
    for folder, names, _ in os.walk(place):
        yield folder
        names[:] = [name for name in names if name not in LEFT_BEHIND]
