"""Many reloads: a few at a time, and all of them in the end."""

from __future__ import annotations

import asyncio
import contextlib

from hostel.manager.roll import Roller


class Reloads:
    """Reloads that end when they are told to."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Future[None]] = {}
        self.begun: list[str] = []

    async def __call__(self, name: str) -> None:
        self.begun.append(name)
        self.running[name] = asyncio.get_running_loop().create_future()
        try:
            await self.running[name]
        finally:
            del self.running[name]

    async def end(self, name: str) -> None:
        self.running[name].set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_at_once_than_allowed_and_each_is_reported_when_it_is_done() -> None:
    async def story() -> None:
        reloads = Reloads()
        roller = Roller(reloads, 2)
        done: list[str] = []

        async def roll() -> None:
            async for name in roller.roll(["a", "b", "c", "d"]):
                done.append(name)

        rolling = asyncio.create_task(roll())
        await settle()
        assert (reloads.begun, roller.left) == (["a", "b"], 4)
        await reloads.end("b")
        await settle()
        assert (done, reloads.begun, roller.left) == (["b"], ["a", "b", "c"], 3)
        other = roller.begin(["e"])
        for name in ("c", "a", "d", "e"):
            await settle()
            await reloads.end(name)
        await rolling
        assert [await task for task in other] == ["e"]
        await settle()
        assert (done, reloads.begun, roller.left) == (["b", "c", "a", "d"], ["a", "b", "c", "d", "e"], 0)

    asyncio.run(story())


def test_who_does_not_wait_for_the_end_calls_off_the_rest() -> None:
    async def story() -> None:
        reloads = Reloads()
        roller = Roller(reloads, 1)
        async with contextlib.aclosing(roller.roll(["a", "b", "c"])) as rolling:
            first = asyncio.ensure_future(anext(rolling))
            await settle()
            await reloads.end("a")
            assert await first == "a"
        await settle()
        assert roller.left == 0
        assert "c" not in reloads.begun

    asyncio.run(story())
