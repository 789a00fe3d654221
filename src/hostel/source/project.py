"""One site from a project folder, found out by looking at it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hostel.options.site import make_site
from hostel.plan import SiteFile
from hostel.source.base import with_own_user


class ProjectSource:
    """A single site made of a table of options, as ``options.detect`` finds it; named like its path, if not told."""

    def __init__(
        self, path: str, options: Mapping[str, Any], domains: Iterable[str], name: str = "", *,
        has_own_users: bool = False,
    ) -> None:  # fmt: skip
        self.path = os.path.abspath(path)
        name = name or site_name(self.path)
        site, problems = make_site(name, self.path, os.path.dirname(self.path), {**options, "domains": list(domains)})
        file = SiteFile(name, self.path, site, tuple(problems))
        self._files = {name: with_own_user(file) if has_own_users else file}

    @property
    def folders(self) -> tuple[str, ...]:
        return ()

    @property
    def watched(self) -> tuple[str, ...]:
        return self.folders

    @property
    def foreign(self) -> tuple[str, ...]:
        return ()

    @property
    def again(self) -> float:
        return 0.0

    def read(self) -> Mapping[str, SiteFile]:
        return self._files

    def refresh(self, paths: Iterable[str]) -> Mapping[str, SiteFile]:
        return self._files


def site_name(path: str) -> str:
    """A valid site name from the last part of a path."""
    base = os.path.basename(os.path.normpath(path)).removesuffix(".py").lower()
    return re.sub(r"[^a-z0-9_-]+", "-", base).strip("-_")[:48].strip("-_") or "site"
