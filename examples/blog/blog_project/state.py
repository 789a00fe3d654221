"""The folder for what the blog writes: its database and its secrets.

Hostel gives each site a writable folder of its own and names it in STATE_DIRECTORY. Nothing is written beside the
code, which may belong to somebody else than the user that the site runs as.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("STATE_DIRECTORY", BASE_DIR / "state"))
FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
DATABASE = FOLDER / "db.sqlite3"


@contextmanager
def locked() -> Iterator[None]:
    """Only one process at a time gets in here; the lock of one that dies is free again."""
    descriptor = os.open(FOLDER / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_secret(name: str, make: Callable[[], str]) -> str:
    """The text of a file that only the site's user may read; what ``make`` returns, if there is no such file yet."""
    path = FOLDER / name
    try:
        return path.read_text()
    except FileNotFoundError:
        pass
    with locked():
        if not path.exists():  # or another process has made it while we waited
            write_secret(name, make())
        return path.read_text()


def write_secret(name: str, text: str) -> Path:
    """Write the file under another name first: nobody ever reads half a secret. Call it with the lock held."""
    path, unfinished = FOLDER / name, FOLDER / f"{name}.unfinished"
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)
    unfinished.replace(path)
    return path


def is_database_missing() -> bool:
    """SQLite makes an empty file when somebody only looks; that is no database yet."""
    return not DATABASE.exists() or DATABASE.stat().st_size == 0
