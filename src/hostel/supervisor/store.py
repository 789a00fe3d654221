"""The descriptors that outlive every manager, by name, each with a note for the next manager."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from hostel.errors import PeerError
from hostel.wire import DESCRIPTORS, MESSAGE_BYTES, Kept, encode


class Store:
    """Owns the descriptors put into it."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, str]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, name: str, note: str, descriptor: int) -> None:
        """Keep a descriptor; one that was kept under the same name is closed."""
        self.forget(name)
        self._kept[name] = (descriptor, fitting(name, note))

    def note(self, name: str, note: str) -> None:
        """Replace the note of a kept descriptor; nothing happens when the name is unknown."""
        if name in self._kept:
            self._kept[name] = (self._kept[name][0], fitting(name, note))

    def forget(self, name: str) -> None:
        """Close and drop; nothing happens when the name is unknown."""
        descriptor, _ = self._kept.pop(name, (-1, ""))
        if descriptor >= 0:
            os.close(descriptor)

    def batches(self) -> Iterator[tuple[Kept, Sequence[int]]]:
        """All that is kept, in messages that fit on a channel, with the descriptors for each."""
        names: list[str] = []
        notes: list[str] = []
        descriptors: list[int] = []
        size = 0
        for name, (descriptor, note) in self._kept.items():
            weight = len(encode(Kept((name,), (note,))))
            if names and (size + weight > MESSAGE_BYTES or len(names) == DESCRIPTORS):
                yield Kept(tuple(names), tuple(notes)), descriptors
                names, notes, descriptors, size = [], [], [], 0
            names.append(name)
            notes.append(note)
            descriptors.append(descriptor)
            size += weight
        if names:
            yield Kept(tuple(names), tuple(notes)), descriptors


def fitting(name: str, note: str) -> str:
    """The note, or nothing when it is so long that no message could carry it to the next manager."""
    try:
        encode(Kept((name,), (note,)))
    except PeerError:
        return ""
    return note
