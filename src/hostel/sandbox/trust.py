"""Who decides what is found at a path: the question before root executes anything.

The hard part is that a path is more than its last part. Whoever owns, or may write to, any folder on the way can put
something else there, and a link moves the question to where it leads, without the place of the link being beyond doubt.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import time
from functools import lru_cache

LINKS = 40  # as many as the kernel follows, path_resolution(7)
REMEMBERED_SECONDS = 5
PYTHON = re.compile(r"python3(\.\d+)?")  # what the programs are called that are Pythons
CONFIGURATION_BYTES = 4096


def is_trusted(path: str) -> bool:
    """Whether nobody but root, or whoever runs Hostel, decides what is found at a path, or that nothing is."""
    rest = _parts(os.path.abspath(path))
    here, links = "/", 0
    status = os.lstat(here)
    try:
        while _is_ours(status):
            if not rest:
                return True
            part = rest.pop()
            if part in ("", ".", ".."):
                here = os.path.dirname(here) if part == ".." else here
                continue
            try:
                status = os.lstat(os.path.join(here, part))
            except FileNotFoundError:
                return not os.lstat(here).st_mode & stat.S_IWOTH  # as a sticky folder may be
            if not stat.S_ISLNK(status.st_mode):
                here = os.path.join(here, part)
            elif links == LINKS:
                return False
            else:
                links += 1
                target = os.readlink(os.path.join(here, part))
                rest += _parts(target)
                here = "/" if target.startswith("/") else here
    except OSError:
        pass
    return False


def _parts(path: str) -> list[str]:
    return path.split("/")[::-1]


def _is_ours(status: os.stat_result) -> bool:
    """Whether this is root's or the caller's, and nobody else may change it. In a sticky folder each has its own."""
    if status.st_uid not in (0, os.geteuid()):
        return False
    if stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
        return True
    return not (status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != 0))


def is_trusted_environment(environment: str) -> bool:
    """Whether nobody but root decides what an interpreter of this environment executes.

    That is its interpreter and standard library, ``pyvenv.cfg``, what lies in ``site-packages``, and the folders that
    ``.pth`` files there add (the installation of a project in editable form adds the project's own). What is found is
    remembered for a few seconds.
    """
    return _is_trusted_environment(environment, int(time.monotonic() // REMEMBERED_SECONDS))


@lru_cache(maxsize=1024)
def _is_trusted_environment(environment: str, moment: int) -> bool:
    if os.path.isfile(environment):  # an interpreter itself
        prefix = os.path.dirname(os.path.dirname(os.path.realpath(environment)))
        prefixes = [prefix, "/usr/local"] if prefix == "/usr" else [prefix]
        folders = [path for one in prefixes for path in glob.glob(f"{glob.escape(one)}/lib*/python3*")]
        return is_trusted(environment) and all(map(_is_trusted_library, folders))
    configuration = os.path.join(environment, "pyvenv.cfg")
    if not all(map(is_trusted, (environment, os.path.join(environment, "bin", "python"), configuration))):
        return False
    prefixes = [environment]
    settings = _read_settings(configuration)
    if home := settings.get("home"):  # the folder of the interpreter that a virtualenv was made of
        prefixes.append(os.path.dirname(home))
    if settings.get("include-system-site-packages", "").lower() == "true":
        prefixes.append("/usr/local")  # Debian's Python looks there too
    libraries = [path for prefix in prefixes for path in glob.glob(f"{glob.escape(prefix)}/lib*/python3*")]
    return all(map(_is_trusted_library, libraries))


def find_base(environment: str) -> str:
    """The interpreter that a virtualenv was made of, empty when somebody other than root decides what that executes.

    The virtualenv may be a tenant's, and all that it says is checked: that its ``bin/python`` leads to a Python, rather than
    to any program that root would then start, and that its configuration names the same one.
    """
    return _find_base(environment, int(time.monotonic() // REMEMBERED_SECONDS))


@lru_cache(maxsize=1024)
def _find_base(environment: str, moment: int) -> str:
    python = os.path.realpath(os.path.join(environment, "bin", "python"))
    folder, name = os.path.split(python)
    if not PYTHON.fullmatch(name) or os.path.basename(folder) != "bin":
        return ""
    if not is_trusted(python) or not os.path.isfile(python) or not is_trusted_environment(os.path.dirname(folder)):
        return ""
    return python if _read_home(os.path.join(environment, "pyvenv.cfg")) == folder else ""


def _read_home(path: str) -> str:
    """Where a ``pyvenv.cfg`` says that its interpreter lies. The file is a tenant's, so it may be of any kind and size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        lines = os.read(descriptor, CONFIGURATION_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    pairs = [line.partition("=") for line in lines]
    return next((value.strip() for key, _, value in reversed(pairs) if key.strip().lower() == "home"), "")


def _read_settings(path: str) -> dict[str, str]:
    """The keys of a ``pyvenv.cfg``."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            pairs = [line.partition("=") for line in file]
    except OSError:
        return {}
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _is_trusted_library(folder: str) -> bool:
    if not is_trusted(folder):
        return False
    return all(_are_trusted_packages(os.path.join(folder, name)) for name in ("site-packages", "dist-packages"))


def _are_trusted_packages(folder: str) -> bool:
    if not os.path.lexists(folder):
        return True
    if not is_trusted(folder):
        return False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not _is_ours(entry.stat(follow_symlinks=False)) or (
                    entry.is_symlink() and not is_trusted(entry.path)
                ):
                    return False
                if entry.name.endswith(".pth") and not _is_trusted_pth(folder, entry.path):
                    return False
    except OSError:
        return False
    return True


def _is_trusted_pth(folder: str, path: str) -> bool:
    """Whether the folders that a path configuration file adds are trusted (module ``site`` in the library reference)."""
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file]
    added = [os.path.join(folder, line) for line in lines if line and not line.startswith(("#", "import ", "import\t"))]
    return all(map(is_trusted, added))
