"""Which virtualenvs are served by a zygote of their bare interpreter, and what that zygote runs in.

A zygote of its own has a virtualenv's modules imported, and takes more memory than a worker does; it pays where several sites
share the virtualenv, and while there are few. So the rule: **a virtualenv that only root can write to gets a zygote of its own
when two sites name it, or as long as fewer than ``FEW`` zygotes run; every other is served by the zygote of the bare interpreter
that it was made of**, be it a tenant's or the hundredth of an agency's; and where that interpreter is a tenant's as well (or
cannot be told), the site has a zygote in its room, which is the tenant from its first instruction.

The hard part is that the bare zygote runs as root. It runs in an empty virtualenv that Hostel makes, so that no package and no
``.pth`` file of anybody is there before the fork; and what that leads to is an interpreter that nobody but root can change
(``sandbox.trust.find_base``). The worker enters the site's virtualenv when it has become the tenant (``worker.virtualenv``).
"""

from __future__ import annotations

import hashlib
import os

from hostel.errors import HostError

FEW = 8
CONFIGURATION = "home = {home}\ninclude-system-site-packages = false\n"


class BareEnvironments:
    """The empty virtualenvs, one for each interpreter, in a folder of Hostel's own."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._bases: dict[str, str] = {}  # by the path of the empty virtualenv

    def find(self, base: str) -> str:
        """The path of the empty virtualenv of an interpreter, made when it is missing. Raises ``HostError``."""
        path = os.path.join(self.folder, hashlib.sha256(base.encode()).hexdigest()[:16])
        if path not in self._bases:
            try:
                make(path, base)
            except OSError as error:
                raise HostError(f"cannot make {path}: {error.strerror}", "look at the state folder") from None
            self._bases[path] = base
        return path

    def base_of(self, path: str) -> str:
        """The interpreter of an empty virtualenv; empty for any other environment."""
        return os.path.realpath(os.path.join(path, "bin", "python")) if self.has(path) else ""

    def has(self, path: str) -> bool:
        return os.path.dirname(path) == self.folder


def make(path: str, base: str) -> None:
    """An empty virtualenv, as ``venv`` would make it."""
    os.makedirs(os.path.join(path, "bin"), mode=0o755, exist_ok=True)
    with open(os.path.join(path, "pyvenv.cfg"), "w") as file:
        file.write(CONFIGURATION.format(home=os.path.dirname(base)))
    link = os.path.join(path, "bin", "python")
    if not os.path.lexists(link):
        os.symlink(base, link)
