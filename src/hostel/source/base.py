"""The contract of a source of sites."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from hostel.plan import SiteFile


def with_own_user(file: SiteFile) -> SiteFile:
    """A site file whose site has a user to itself, if it names none."""
    return file if file.site is None else replace(file, site=file.site.with_own_user())


class Source(Protocol):
    """Says which sites there should be. A source reports problems in its site files; it raises nothing."""

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of site files that belong to whoever runs Hostel: sites can be added there."""

    @property
    def watched(self) -> tuple[str, ...]:
        """The folders whose changes mean that ``refresh`` may have something new."""

    @property
    def foreign(self) -> tuple[str, ...]:
        """The same of folders that belong to others, who may change them without end."""

    @property
    def again(self) -> float:
        """In how many seconds ``refresh`` is to be called even if nothing changes; 0 for never."""

    def read(self) -> Mapping[str, SiteFile]:
        """All site files by the name of their site."""

    def refresh(self, paths: Iterable[str]) -> Mapping[str, SiteFile]:
        """The same as ``read``, looking only at what may have changed; ``paths`` as a file watcher names them.

        The very same mapping as before comes back when nothing has.
        """
