"""How long each module's import took, and which module had it imported; measured when somebody has asked for it.

The hard part is to see every import under every Python without slowing those that need no work. The ``import`` statement
looks into ``sys.modules`` by itself and calls ``_find_and_load`` of the frozen import system for what is not there; so does
``importlib.import_module``. That one function is replaced, and nothing is called for a module that is there already. It is
what ``-X importtime`` measures too, which can only be asked for when an interpreter starts.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import get_ident
from typing import Any, Dict, List

MODULES = 6000  # that are told
PART = 150  # in one message, where names may have four bytes for each character
NAME_CHARACTERS = 200
OWN, PACKAGE, PYTHON = 0, 1, 2  # whose a module is: the site's, of its environment, of Python itself


class Import:
    """One import: ``parent`` is the number of the one in which it happened, or -1; times are seconds."""

    __slots__ = ("begin", "name", "parent", "seconds")

    def __init__(self, name: str, parent: int, begin: float) -> None:
        self.name = name
        self.parent = parent
        self.begin = begin
        self.seconds = 0.0


class Recorder:
    """Records the imports of the thread that made it, from ``start`` to ``stop``."""

    def __init__(self) -> None:
        self.imports: List[Import] = []
        self._stack: List[int] = []
        self._thread = get_ident()
        self._system: Any = sys.modules["_frozen_importlib"]
        self._load: Any = None

    def start(self) -> None:
        self._load = self._system._find_and_load
        self._system._find_and_load = self._find_and_load

    def stop(self) -> None:
        if self._load is not None:
            self._system._find_and_load = self._load

    def _find_and_load(self, name: str, import_: Any) -> Any:
        if get_ident() != self._thread or type(name) is not str:
            return self._load(name, import_)
        package = name.rpartition(".")[0]
        if package and package not in sys.modules:
            import_(package)  # as would happen now, but beside this module instead of inside of it
            if name in sys.modules:
                return sys.modules[name]  # the package has imported it
        number = len(self.imports)
        one = Import(name, self._stack[-1] if self._stack else -1, time.monotonic())
        self.imports.append(one)
        self._stack.append(number)
        try:
            return self._load(name, import_)
        finally:
            one.seconds = time.monotonic() - one.begin
            del self._stack[self._stack.index(number) :]

    def rows(self, born: float, directory: str) -> List[List[Any]]:
        """What is told of each: name, number of its parent, microseconds since ``born`` and of its import, and whose it is."""
        own: Dict[str, int] = {}
        rows: List[List[Any]] = []
        for one in self.imports[:MODULES]:
            if one.name not in own:
                own[one.name] = owner_of(one.name, directory)
            begin, seconds = int((one.begin - born) * 1e6), int(one.seconds * 1e6)
            rows.append([one.name[:NAME_CHARACTERS], one.parent, begin, seconds, own[one.name]])
        return rows


def owner_of(name: str, directory: str) -> int:
    """Whether a module is the site's own, of a package of its environment, or of Python."""
    try:
        spec = object.__getattribute__(sys.modules[name], "__dict__").get("__spec__")
        place = getattr(spec, "origin", None)
    except (KeyError, AttributeError):
        place = None
    if not isinstance(place, str):
        return PYTHON
    if f"{os.sep}site-packages{os.sep}" in place or f"{os.sep}dist-packages{os.sep}" in place:
        return PACKAGE
    if place.startswith(os.path.join(directory, "")):
        return OWN
    library = os.path.join(os.path.dirname(os.__file__), "")
    return PYTHON if place.startswith(library) or place in ("built-in", "frozen") else PACKAGE
