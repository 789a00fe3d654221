"""The gauge of an event loop: empty, full of computation, blocked, and silent."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator

import pytest

from hostel.worker import scoreboard
from hostel.worker.gauge import LATE_SECONDS, Gauge
from hostel.worker.scoreboard import BUSY, LOAD
from tests.support.server import DEADLINE


@pytest.fixture
def board() -> Iterator[memoryview[float]]:
    descriptor = scoreboard.create()
    board = scoreboard.attach(descriptor)
    os.close(descriptor)
    yield board
    board.release()


async def wait_load(board: memoryview[float], least: float, most: float) -> None:
    """Wait until the load is within these bounds, as seen by a loop that does nothing else meanwhile."""
    deadline = time.monotonic() + DEADLINE
    while not least <= board[LOAD] <= most:
        assert time.monotonic() < deadline, board[LOAD]
        await asyncio.sleep(0.01)


def test_a_loop_that_computes_is_full_and_one_that_is_done_is_not(board: memoryview[float]) -> None:
    async def run() -> None:
        gauge = Gauge(board)
        board[BUSY] = 1
        gauge.wake()
        deadline = time.monotonic() + DEADLINE
        while board[LOAD] < 0.9:
            assert time.monotonic() < deadline, "time.process_time() has to tell"
            until = time.process_time() + 0.002  # short pieces: nothing else comes late
            while time.process_time() < until:
                pass
            await asyncio.sleep(0)
        board[BUSY] = 0
        await wait_load(board, 0.0, 0.0)
        assert gauge.timer is None, "it has ended by itself"

    asyncio.run(run())


def test_a_loop_that_is_blocked_is_full(board: memoryview[float]) -> None:
    async def run() -> None:
        gauge = Gauge(board)
        board[BUSY] = 1
        gauge.wake()
        for _ in range(100):
            time.sleep(2 * LATE_SECONDS)
            await asyncio.sleep(0)
            if board[LOAD] == 1:
                return
        raise AssertionError

    asyncio.run(run())


def test_open_connections_that_are_silent_are_looked_at_slowly(board: memoryview[float]) -> None:
    async def run() -> None:
        gauge = Gauge(board)
        board[BUSY] = 5
        gauge.wake()
        deadline = time.monotonic() + DEADLINE
        while not gauge.is_slow:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert board[LOAD] < 0.5
        gauge.wake()
        assert not gauge.is_slow, "a new request is looked at closely"
        assert gauge.timer is not None
        gauge.timer.cancel()

    asyncio.run(run())
