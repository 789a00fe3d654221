"""What an environment says of itself on the disk: its Python, what it was made from, how large it is. Nothing is executed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

from hostel.environments.building import read_recipe
from hostel.options.python import is_interpreter, version_of

ENTRIES = 500_000  # files that are counted, at most


@dataclass(frozen=True, slots=True)
class EnvironmentLook:
    """An environment as it lies on the disk."""

    path: Annotated[str, "the virtualenv, or the interpreter"]
    python: Annotated[str, "the interpreter that it stands on"]
    version: Annotated[str, 'its version, as "3.13"; empty when that cannot be told']
    size: Annotated[int, "bytes that its files take on the disk; of an interpreter itself, 0"]
    source: Annotated[str, "the file that hostel env has made it from; empty when something else has"]
    problem: Annotated[str, "what is wrong with it; empty when nothing is"]


def look_at(path: str) -> EnvironmentLook:
    """What can be seen of an environment."""
    if is_interpreter(path):
        return EnvironmentLook(path, path, version_of(path), 0, "", "")
    python = os.path.join(path, "bin", "python")
    problem = "" if os.path.exists(python) else f"there is no {python}"
    recipe = read_recipe(path)
    real = os.path.realpath(python) if not problem else ""
    return EnvironmentLook(path, real, version_of(python), size_of(path), recipe.source if recipe else "", problem)


def size_of(folder: str) -> int:
    """The bytes that a folder's files take on the disk; each once, however many names it has."""
    total, rest = 0, [folder]
    seen: set[tuple[int, int]] = set()
    while rest and len(seen) < ENTRIES:
        try:
            with os.scandir(rest.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if (status.st_dev, status.st_ino) not in seen:
                        seen.add((status.st_dev, status.st_ino))
                        total += status.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        rest.append(entry.path)
        except OSError:
            continue
    return total
