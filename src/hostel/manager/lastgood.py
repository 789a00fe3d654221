"""The last good versions of sites whose files are broken now, remembered until they are mended.

A site with a broken file serves on as it was. That must not end because the manager is killed, or the server upgraded: the
next manager finds only the broken file. So what such a site was is kept in the state folder, for as long as it is needed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from hostel.options.site import Site

SUFFIX = ".json"
_adapter: TypeAdapter[Site] = TypeAdapter(Site)


class LastGood:
    """Owns the folder, which is made when it is needed. It is a help: what cannot be written or read is left out."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._kept: dict[str, Site] | None = None

    def sites(self) -> dict[str, Site]:
        """What is remembered, by name."""
        if self._kept is None:
            self._kept = {}
            with contextlib.suppress(OSError):
                for entry in os.listdir(self.folder):
                    with (
                        contextlib.suppress(OSError, ValidationError),
                        open(os.path.join(self.folder, entry), "rb") as file,
                    ):
                        site = _adapter.validate_json(file.read())
                        self._kept[site.name] = site
        return dict(self._kept)

    def keep(self, sites: Mapping[str, Site]) -> None:
        """Remember these sites, and no others."""
        before = self.sites()
        self._kept = dict(sites)
        with contextlib.suppress(OSError):
            for name, site in sites.items():
                if before.get(name) != site:
                    self._write(name, _adapter.dump_json(site))
            for name in before.keys() - sites.keys():
                os.unlink(self._path(name))

    def _write(self, name: str, data: bytes) -> None:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        path = self._path(name)
        with open(f"{path}.new", "wb") as file:
            file.write(data)
        os.replace(f"{path}.new", path)

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, f"{name}{SUFFIX}")
