"""Reloads of many sites, a few at a time.

The hard part is that everybody else goes on meanwhile: a visitor who wakes a sleeping site must not wait behind two hundred
reloads. So no more sites are reloaded at once than workers may start at once, and the others are told when it is their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

SITE_SECONDS = 300.0  # for one site: then the next has its turn, whatever has become of this one


class Roller:
    """``reload`` orders the reload of one site and returns when it has succeeded or failed."""

    def __init__(self, reload: Callable[[str], Awaitable[None]], width: int) -> None:
        self._reload = reload
        self._places = asyncio.Semaphore(width)
        self._tasks: set[asyncio.Task[str]] = set()

    @property
    def left(self) -> int:
        """How many sites have not been reloaded yet."""
        return len(self._tasks)

    def begin(self, names: Sequence[str]) -> list[asyncio.Task[str]]:
        """Reload these sites when it is their turn."""
        tasks = [asyncio.create_task(self._take_turn(name)) for name in names]
        for task in tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return tasks

    async def roll(self, names: Sequence[str]) -> AsyncGenerator[str]:
        """Reload these sites; the name of each when it is done. Whoever does not wait for the end calls off the rest."""
        tasks = self.begin(names)
        try:
            for done in asyncio.as_completed(tasks):
                yield await done
        finally:
            for task in tasks:
                task.cancel()

    async def _take_turn(self, name: str) -> str:
        async with self._places:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SITE_SECONDS):
                    await self._reload(name)
        return name
