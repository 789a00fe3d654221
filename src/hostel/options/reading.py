"""Reading files and folders that nobody vouches for: within bounds, and only what is a file.

This may be root looking at what a tenant wrote. Every reach has a bound, nothing is waited for, nothing raises; what was
left out is noted in a sentence for the person.
"""

from __future__ import annotations

import ast
import os
import re
import stat
import warnings

FILE_BYTES = 2**20
FILE_WORDS = 120_000  # a file of 1 MB can become 900 MB of syntax tree; what grows is words, at up to 1.7 KB each
TOTAL_WORDS = 300_000
FILES = 300
FOLDER_ENTRIES = 2_000
TOTAL_ENTRIES = 50_000
NOTES = 20

# Direct subfolders that hold none of a project's own applications.
FOREIGN_FOLDERS = frozenset({
    "venv", "env", "virtualenv", "node_modules", "site-packages", "__pycache__", "test", "tests", "docs", "doc",
    "examples", "example", "migrations",
})  # fmt: skip

_WORD = re.compile(rb"\w+|[^\w\s]")


class Reader:
    """Reads, until its bounds are reached."""

    def __init__(self) -> None:
        self._notes: dict[str, None] = {}
        self._words = TOTAL_WORDS
        self._files = FILES
        self._entries = TOTAL_ENTRIES

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each thing that was left out."""
        return tuple(self._notes)

    def note(self, text: str) -> None:
        """Keep a sentence for the person, once."""
        if len(self._notes) < NOTES:
            self._notes[text] = None

    def read(self, path: str) -> bytes | None:
        """The bytes of a regular file; None and a note when they cannot be had; None alone when there is no file."""
        try:
            # Looked at before it is opened, because opening alone can do something to a device; and after, because the
            # owner of the folder may have changed it in between.
            _insist_on_file(os.stat(path))
            with open(
                path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)
            ) as file:
                _insist_on_file(os.fstat(file.fileno()))
                if self._files <= 0 or self._words <= 0:
                    raise OSError(0, "too many files were read before it")
                self._files -= 1
                data = file.read(FILE_BYTES + 1)
            if len(data) > FILE_BYTES:
                raise OSError(0, "it is larger than 1 MB")
            words = sum(1 for _ in _WORD.finditer(data))
            if words > min(FILE_WORDS, self._words):
                raise OSError(0, "it is too long to be looked at")
            self._words -= words
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            self.note(f"{path} was skipped: {getattr(error, 'strerror', None) or 'it cannot be read'}")
            return None
        return data

    def parse(self, path: str) -> ast.Module | None:
        """The syntax tree of a Python file; None and a note when it cannot be had; None alone when there is no file."""
        source = self.read(path)
        if source is None:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(_decode(source), path)
        except SyntaxError as error:
            self.note(f"{path} was skipped: {f'line {error.lineno}' if error.lineno else 'it'} is not valid Python")
        except (ValueError, RecursionError, MemoryError):
            self.note(f"{path} was skipped: it is not readable as Python")
        return None

    def entries(self, folder: str) -> list[str]:
        """The names in a folder, sorted; none when it cannot be read, and only some of them when it is huge."""
        names: list[str] = []
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if len(names) >= FOLDER_ENTRIES or self._entries <= 0:
                        self.note(f"{folder} has too many entries: only some were looked at")
                        break
                    self._entries -= 1
                    names.append(entry.name)
        except (OSError, ValueError):
            return []
        return sorted(names)

    def folders(self, folder: str) -> list[str]:
        """The names of the folders in a folder that may hold a project's code."""
        names = (name for name in self.entries(folder) if name[0] != "." and name not in FOREIGN_FOLDERS)
        return [name for name in names if os.path.isdir(os.path.join(folder, name))]


def _insist_on_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "it is not a regular file")


def _decode(source: bytes) -> str:
    """UTF-8, or Latin-1 for a file that names an encoding: some of Python's codecs can be made to take hours."""
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError:
        if re.search(rb"coding[:=]", b"".join(source.split(b"\n", 2)[:2])[:400]):
            return source.decode("latin-1")
        raise
