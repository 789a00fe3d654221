"""Sites from a folder of TOML files: the file's name is the site's name.

The hard part: root reads what others may have put there. A file is opened without waiting (it may be a FIFO), and judged
by what has been opened, not by its name: regular, of bounded size, of the right owner, writable by nobody else
(rule 11 of the trust page). One broken file is a problem of its site only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping

from hostel.errors import SiteError
from hostel.options.fields import plain
from hostel.options.site import FILE_BYTES, Problem, read_site
from hostel.plan import SiteFile
from hostel.source.base import with_own_user

SUFFIX = ".toml"


class FolderSource:
    """The site files of one folder. Files that are unchanged since the last look are not read again.

    ``has_own_users``: a site that names no user gets one to itself.
    """

    def __init__(self, folder: str, *, has_own_users: bool = False) -> None:
        self._adapt = with_own_user if has_own_users else lambda file: file
        self.folder = os.path.abspath(folder)
        self._seen: dict[str, tuple[tuple[int, ...], SiteFile]] = {}  # file name -> (signature, what it said)
        self._files: Mapping[str, SiteFile] = {}
        self._is_changed = False

    @property
    def folders(self) -> tuple[str, ...]:
        return (self.folder,)

    @property
    def watched(self) -> tuple[str, ...]:
        return self.folders

    @property
    def foreign(self) -> tuple[str, ...]:
        return ()

    @property
    def again(self) -> float:
        return 0.0

    def read(self) -> Mapping[str, SiteFile]:
        try:
            names = [name for name in os.listdir(self.folder) if is_site_file(name)]
        except OSError as error:
            if self._seen:
                return self._result()  # the folder is gone or unreadable: what runs goes on
            remedy = "make it, and give the user who runs Hostel the right to read it"
            problem = Problem("", self.folder, "", f"cannot read the folder: {error.strerror}", remedy)
            self._is_changed = True
            return {"": SiteFile("", self.folder, None, (problem,))}
        for name in set(self._seen).difference(names):
            self._forget(name)
        for name in names:
            self._look(name)
        return self._result()

    def refresh(self, paths: Iterable[str]) -> Mapping[str, SiteFile]:
        for path in paths:
            folder, name = os.path.split(path)
            if path == self.folder or "\N{REPLACEMENT CHARACTER}" in name:  # a watcher's word for what is not UTF-8
                return self.read()
            if folder == self.folder and is_site_file(name):
                self._look(name)
        return self._result()

    def _result(self) -> Mapping[str, SiteFile]:
        if self._is_changed:
            self._is_changed = False
            self._files = {file.name: file for _, file in self._seen.values()}
        return self._files

    def _forget(self, file_name: str) -> None:
        if self._seen.pop(file_name, None):
            self._is_changed = True

    def _look(self, file_name: str) -> None:
        path = os.path.join(self.folder, file_name)
        try:
            status = os.stat(path)
            signature: tuple[int, ...] = (
                status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev, status.st_mode,
            )  # fmt: skip
        except OSError as error:
            signature = (error.errno or 0,)
        if file_name in self._seen and self._seen[file_name][0] == signature:
            return
        try:
            self._seen[file_name] = (signature, self._adapt(read_site_file(path)))
            self._is_changed = True
        except FileNotFoundError:
            self._forget(file_name)


def is_site_file(name: str) -> bool:
    """Whether a name in the folder is meant as a site file, not as an editor's or our own temporary file."""
    return name.endswith(SUFFIX) and not name.startswith((".", "#")) and name != "pyproject.toml"


def read_site_file(path: str) -> SiteFile:
    """What a site file says. Raises ``FileNotFoundError`` when there is none; all else that is wrong is a problem of it."""
    folder, file_name = os.path.split(path)
    # Whoever may write to the folder chooses the name, and it is shown in logs and terminals.
    name, shown = plain_name(file_name.removesuffix(SUFFIX)), os.path.join(folder, plain_name(file_name))

    def refuse(reason: str, remedy: str) -> SiteFile:
        return SiteFile(name, shown, None, (Problem(name, shown, "", reason, remedy),))

    try:
        data = read_safely(path, folder)
    except FileNotFoundError:
        if not os.path.islink(path):
            raise
        return refuse("the link leads nowhere", "remove it, or mend its target")
    except SiteError as error:
        return refuse(str(error), error.hint)
    except OSError as error:
        remedy = "remove it, or mend it"
        if isinstance(error, PermissionError):
            remedy = "give the user who runs Hostel the right to read it: chmod a+r"
        return refuse(f"cannot read the file: {error.strerror}", remedy)
    site, problems = read_site(name, shown, data)
    return SiteFile(name, shown, site, tuple(problems))


def plain_name(name: str) -> str:
    """A file's name as text that can be printed."""
    return plain(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def read_safely(path: str, folder: str) -> bytes:
    """The bytes of a site file in a folder. Raises ``OSError``, or ``SiteError`` with the reason not to trust it."""
    _require_regular(os.stat(path))  # before it is opened: opening a device may set it going
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        _require_regular(status)
        if status.st_size > FILE_BYTES:
            raise SiteError(
                f"the file has {status.st_size} bytes; a site file has at most {FILE_BYTES}",
                "is it a site file? Each site has a short one of its own",
            )
        owner = os.stat(folder).st_uid
        if status.st_uid not in (0, os.geteuid(), owner):
            raise SiteError(
                "the file belongs to somebody who may not write here: its owner has to own the folder, or be root",
                f"chown it to {owner}, the owner of the folder",
            )
        if status.st_mode & stat.S_IWOTH:
            raise SiteError("everybody may write to the file", "chmod o-w it")
        return os.read(descriptor, FILE_BYTES + 1)
    finally:
        os.close(descriptor)


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SiteError("a site file is a regular file, and this is not one", "remove it, or give it another name")
