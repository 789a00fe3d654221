"""What the manager has learned and remembers over restarts: the modules that the sites of an environment import.

One small JSON file for each environment in the state folder, written by rename. It is a cache: a file that is broken or
missing costs a slower start, nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os

from hostel.wire import Preloaded

MODULES = 3000
NAME_BYTES = 120
BYTES = 100_000  # of all names of an environment: they have to fit into one message to its zygote


class LearnedModules:
    """The modules that workers of each environment have imported, in the order of their import."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._modules: dict[str, dict[str, None]] = {}
        self._trials: dict[str, Preloaded] = {}

    def modules(self, environment: str) -> tuple[str, ...]:
        """What a zygote of this environment should import."""
        return tuple(self._of(environment))

    def learn(self, environment: str, modules: tuple[str, ...]) -> bool:
        """Remember more modules of an environment; whether there was anything new."""
        known = self._of(environment)
        new = limit([*known, *(name for name in modules if name not in known)])
        if len(new) == len(known):
            return False
        known.update(new)
        self._save(environment, known)
        return True

    def remember_trial(self, environment: str, trial: Preloaded) -> None:
        """Remember what a zygote of this environment has made of what was learned, to be shown."""
        self._trials[environment] = trial
        self._save(environment, self._of(environment))

    def trial(self, environment: str) -> Preloaded | None:
        """What the last zygote has made of it; None when none has tried."""
        self._of(environment)
        return self._trials.get(environment)

    def _path(self, environment: str) -> str:
        digest = hashlib.sha256(environment.encode()).hexdigest()[:16]
        return os.path.join(self.folder, f"{digest}.json")

    def _of(self, environment: str) -> dict[str, None]:
        if environment not in self._modules:
            modules: list[str] = []
            with (
                contextlib.suppress(OSError, ValueError, LookupError, TypeError, RecursionError),
                open(self._path(environment)) as file,
            ):
                table = json.load(file)
                if table["environment"] == environment:
                    modules = [name for name in table["modules"] if isinstance(name, str)]
                    imported, refused, seconds = table["trial"]
                    self._trials[environment] = Preloaded(
                        tuple(map(str, imported)), {str(name): str(refused[name]) for name in refused}, float(seconds)
                    )
            self._modules[environment] = limit(modules)
        return self._modules[environment]

    def _save(self, environment: str, modules: dict[str, None]) -> None:
        path = self._path(environment)
        with contextlib.suppress(OSError):
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            with open(f"{path}.new", "w") as file:
                table: dict[str, object] = {"environment": environment, "modules": list(modules)}
                if environment in self._trials:
                    table["trial"] = self._trials[environment]
                json.dump(table, file)
            os.replace(f"{path}.new", path)


def limit(names: list[str]) -> dict[str, None]:
    """Those of the names that can be names of modules, as many as may be remembered: tenants have chosen them."""
    found: dict[str, None] = {}
    left = BYTES
    for name in names:
        if len(name) <= NAME_BYTES and name.isascii() and all(part.isidentifier() for part in name.split(".")):
            left -= len(name) + 4  # as JSON
            if left < 0 or len(found) == MODULES:
                break
            found[name] = None
    return found
