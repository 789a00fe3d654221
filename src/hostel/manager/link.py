"""The manager's side of its channel to the supervisor: what to keep, what to start, and what has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hostel.errors import Bug
from hostel.wire import (
    Channel,
    Forget,
    Keep,
    Kept,
    MakeRoom,
    Note,
    Running,
    Signal,
    Spawn,
)  # fmt: skip

BATCH = 200


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What an earlier manager left: descriptors with their notes, and running programs with their pids, by name."""

    kept: dict[str, tuple[int, str]]
    running: dict[str, int]

    def below(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """``(rest of the name, descriptor, note)`` of all kept names that begin with ``prefix``."""
        for name, (descriptor, note) in self.kept.items():
            if name.startswith(prefix):
                yield name[len(prefix) :], descriptor, note


class SupervisorLink:
    """Owns the channel. Messages that keep descriptors are gathered, so that ten thousand of them cost fifty."""

    def __init__(self, descriptor: int) -> None:
        self.channel = Channel.from_descriptor(descriptor)
        self._gathered: list[tuple[str, int, str]] = []

    def inherit(self) -> Inheritance:
        """Take over what an earlier manager left; the first thing to do."""
        kept: dict[str, tuple[int, str]] = {}
        while True:
            received = self.channel.receive()
            if received is None:
                raise Bug("the supervisor ended during the handover")
            message, descriptors = received
            if isinstance(message, Kept):
                for name, note, descriptor in zip(message.names, message.notes, descriptors, strict=True):
                    kept[name] = (descriptor, note)
            elif isinstance(message, Running):
                return Inheritance(kept, dict(zip(message.names, message.pids, strict=True)))

    def listen(self, on_message: Callable[[Any], None]) -> None:
        """Call ``on_message`` for each message, and with None when the supervisor is gone."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            while True:
                try:
                    received = self.channel.receive(wait=False)
                except BlockingIOError:
                    return
                if received is None:
                    loop.remove_reader(self.channel.fileno())
                    on_message(None)
                    return
                on_message(received[0])

        loop.add_reader(self.channel.fileno(), read)

    def keep(self, name: str, descriptor: int, note: str = "") -> None:
        """Have a copy of a descriptor kept; it has to stay open here until ``flush``."""
        self._gathered.append((name, descriptor, note))
        if len(self._gathered) >= BATCH:
            self.flush()
        elif len(self._gathered) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            names, descriptors, notes = zip(*gathered, strict=True)
            self.send(Keep(names, notes), descriptors)

    def note(self, name: str, note: str) -> None:
        self.flush()
        self.send(Note(name, note))

    def forget(self, *names: str) -> None:
        self.flush()
        self.send(Forget(names))

    def spawn(self, order: Spawn | MakeRoom, descriptors: Sequence[int] = ()) -> None:
        self.flush()
        self.send(order, descriptors)

    def signal(self, name: str, number: int) -> None:
        self.send(Signal(name, number))

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is gone: reading will say so
            self.channel.send(message, descriptors)
