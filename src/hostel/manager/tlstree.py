"""Certificates in the run tree, where the front finds them by the name in a handshake.

    tls/pairs/<id>/certificate.pem, key.pem   what a pair is never changes: another one has another id
    tls/exact/<domain> -> ../pairs/<id>       tls/wild/<domain> for *.<domain>
    tls/exact/-none                           for clients that name no host

The hard part is who may look: keys of all sites lie here, and nobody but root and the front may enter. Every change is one
rename, and a pair is left for a while when no name leads to it any more: the front may be about to read its second file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Mapping

from hostel.certificates.pair import Pair

FOLDERS = ("tls", "tls/pairs", "tls/exact", "tls/wild")
NO_NAME = "-none"


class TlsTree:
    """Owns ``tls`` in the current working directory. ``front_group`` is the gid of the front, None unprivileged."""

    def __init__(self, front_group: int | None) -> None:
        self.front_group = front_group
        self._left: set[str] = set()  # pairs that no name has led to since the last change
        self._links: dict[str, str] = {}  # name -> pair
        self.refresh()

    def refresh(self) -> None:
        """Make the folders, if they are not there, and see what they have: an earlier manager's work, or nothing any more."""
        for name in FOLDERS:
            os.makedirs(name, mode=0o750, exist_ok=True)
            if self.front_group is not None:
                os.chown(name, 0, self.front_group)
        self._links = {
            prefix + entry: os.path.basename(os.readlink(f"{folder}/{entry}"))
            for folder, prefix in (("tls/exact", ""), ("tls/wild", "*."))
            for entry in os.listdir(folder)
            if entry[0] != "."
        }

    @property
    def names(self) -> Collection[str]:
        """The names, and ``*.name``, that have a certificate."""
        return self._links.keys()

    def publish(self, names: Mapping[str, Pair], kept: Collection[str]) -> None:
        """Lead each name to its pair; of other names, those that are ``kept`` keep what they have. Raises ``OSError``."""
        for pair in set(names.values()):
            self._write(pair)
        for name, pair in names.items():
            if self._links.get(name) != pair.id:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink("tls/new")
                os.symlink(f"../pairs/{pair.id}", "tls/new")
                os.rename("tls/new", place_of(name))
                self._links[name] = pair.id
        for name in [name for name in self._links if name not in names and name not in kept]:
            os.unlink(place_of(name))
            del self._links[name]
        unused = set(os.listdir("tls/pairs")) - set(self._links.values())
        for pair_id in unused & self._left:
            shutil.rmtree(f"tls/pairs/{pair_id}", ignore_errors=True)
        self._left = unused

    def _write(self, pair: Pair) -> None:
        """The two files of a pair, readable by the front alone, whole or not at all."""
        folder = f"tls/pairs/{pair.id}"
        if os.path.isdir(folder):
            return
        shutil.rmtree(f"{folder}.new", ignore_errors=True)
        os.mkdir(f"{folder}.new", 0o750)
        for name, text in (("certificate.pem", pair.certificate), ("key.pem", pair.key)):
            descriptor = os.open(f"{folder}.new/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as file:
                file.write(text)
                if self.front_group is not None:
                    os.fchown(descriptor, 0, self.front_group)
                    os.fchmod(descriptor, 0o640)
        if self.front_group is not None:
            os.chown(f"{folder}.new", 0, self.front_group)
        os.rename(f"{folder}.new", folder)


def place_of(name: str) -> str:
    """Where a name's link lies."""
    return f"tls/wild/{name[2:]}" if name.startswith("*.") else f"tls/exact/{name}"
