"""The rooms of sites: their own namespaces, each held by a warden that the supervisor forks.

The hard part is when a room is made and when it ends. It is made for the first worker of a site, which waits for it, and is
shared by all whose files are arranged alike, so that the workers of a site have one ``/tmp``; and it ends with its last
worker, by one SIGKILL to the warden: whatever the site has left behind, hidden or turned into a daemon, is gone with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hostel.manager.link import SupervisorLink
from hostel.sandbox.warden import READY
from hostel.wire import Exited, MakeRoom, Spawned, SpawnFailed

Answer = Callable[[str], None]  # called with what went wrong, empty when nothing did


@dataclass(slots=True, eq=False)
class Room:
    """A site's namespaces. ``descriptor``: the warden's pidfd, -1 until it is ready."""

    name: str  # the supervisor's name for it
    key: str
    pid: int = 0
    descriptor: int = -1
    users: set[Hashable] = field(default_factory=set)
    waiting: list[Answer] = field(default_factory=list)


class Rooms:
    """All rooms."""

    def __init__(self, link: SupervisorLink) -> None:
        self.by_name: dict[str, Room] = {}
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._by_key: dict[str, Room] = {}
        self._count = 0

    def find(self, site: str, operations: Sequence[Any], answer: Answer) -> Room | None:
        """The site's room that these operations arrange, when it is ready; otherwise ``answer`` is called when it is."""
        key = f"room/{site}/{hashlib.sha256(json.dumps(operations).encode()).hexdigest()[:16]}"
        room = self._by_key.get(key)
        if room is None:
            room = self._make(key, operations)
        if room.descriptor < 0:
            room.waiting.append(answer)
            return None
        return room

    def _make(self, key: str, operations: Sequence[Any]) -> Room:
        self._count += 1
        room = Room(f"{key}.{os.getpid()}.{self._count}", key)
        self.by_name[room.name] = self._by_key[key] = room
        reader, writer = os.pipe()
        self._link.spawn(MakeRoom(room.name, tuple(list(operation) for operation in operations)), [writer])
        os.close(writer)
        self._loop.add_reader(reader, self._read, room, reader)
        return room

    def _read(self, room: Room, reader: int) -> None:
        """The warden's one line, or its end."""
        self._loop.remove_reader(reader)
        said = os.read(reader, 2000)
        os.close(reader)
        if said != READY:
            self._lose(room, said.decode(errors="replace") or "its first process died")
        elif room.pid:
            self._open(room)
        else:
            room.pid = -1  # the supervisor's word is still on its way

    def _open(self, room: Room) -> None:
        try:
            room.descriptor = os.pidfd_open(room.pid)
        except OSError as error:
            self._lose(room, f"its first process died: {error.strerror}")
            return
        waiting, room.waiting = room.waiting, []
        for answer in waiting:
            answer("")
        self.end_if_empty(room)  # those who waited may have been called off

    def _lose(self, room: Room, reason: str) -> None:
        waiting, room.waiting = room.waiting, []
        self._drop(room)
        for answer in waiting:
            answer(f"cannot make the site's namespaces: {reason}")

    def _drop(self, room: Room) -> None:
        self.by_name.pop(room.name, None)
        if self._by_key.get(room.key) is room:
            del self._by_key[room.key]
        if room.descriptor >= 0:
            os.close(room.descriptor)
            room.descriptor = -1

    def leave(self, name: str, user: Hashable) -> None:
        """A worker is gone; the room that it was the last in ends, with everybody who is left in there."""
        if room := self.by_name.get(name):
            room.users.discard(user)
            self.end_if_empty(room)

    def end_if_empty(self, room: Room) -> None:
        if not room.users and not room.waiting:
            self.end(room)

    def end(self, room: Room) -> None:
        """End a room with everybody in it; those who wait for it are told so."""
        if room.name in self.by_name:
            self._link.signal(room.name, signal.SIGKILL)
            self._lose(room, "they were ended")

    def program_said(self, message: Any) -> None:
        """The supervisor about a warden."""
        room = self.by_name.get(message.name)
        match message:
            case Spawned(_, pid) if room is not None:
                is_ready, room.pid = room.pid == -1, pid
                if is_ready:
                    self._open(room)
            case SpawnFailed(_, reason) if room is not None:
                self._lose(room, reason)
            case Exited() if room is not None:
                self._lose(room, "its first process died")

    def adopt(self, name: str, pid: int) -> None:
        """Go on with a room that an earlier manager ordered; ``settle`` ends those that no worker is in."""
        room = Room(name, name.partition(".")[0], pid)
        with contextlib.suppress(OSError):
            room.descriptor = os.pidfd_open(pid)
            self.by_name[name] = self._by_key[room.key] = room

    def settle(self) -> None:
        """All workers have been adopted."""
        for room in list(self.by_name.values()):
            self.end_if_empty(room)
