"""How many workers a site wants, over recorded shapes of load: it follows, and does not flap."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostel.machine.pool import Peak, wanted_workers
from hostel.options.site import WorkerOptions

STEP = 0.1


def play(options: WorkerOptions, load: Iterable[int], *, is_asgi: bool = False) -> list[int]:
    """The number of workers after each step of a load, given as requests that want to run; workers come at once."""
    workers, peak, now, last_busy = max(1, options.min), Peak(), 0.0, 0.0
    counts = []
    for wish in load:
        now += STEP
        busy = min(wish, workers * options.threads) if not is_asgi else wish
        if busy:
            last_busy = now
        peak = peak.with_busy(busy, now, max(options.idle, 1.0))
        workers = wanted_workers(
            options,
            is_asgi=is_asgi,
            workers=workers,
            busy=busy,
            is_waiting=wish > busy,
            idle_for=now - last_busy,
            peak=peak,
        )
        counts.append(workers)
        if not workers:
            break
    return counts


def seconds(busy: int, duration: float) -> Iterator[int]:
    return itertools.repeat(busy, round(duration / STEP))


def changes(counts: list[int]) -> int:
    return sum(1 for before, after in itertools.pairwise(counts) if before != after)


def test_a_steady_load_has_a_steady_pool() -> None:
    counts = play(WorkerOptions(max=8, idle=60), seconds(3, 600))
    assert counts[-1] == 3
    assert changes(counts) <= 2


def test_a_burst_is_followed_up_at_once_and_down_once() -> None:
    counts = play(WorkerOptions(max=4, idle=60), itertools.chain(seconds(1, 30), seconds(9, 5), seconds(1, 300)))
    assert max(counts) == 4, "the most that are allowed"
    assert counts[310] == 4, "within a second"
    down = [step * STEP for step, count in enumerate(counts) if count == 4][-1]
    assert 35 + 30 <= down <= 35 + 60, "after half of the idle time at the earliest, the whole of it at the latest"
    assert counts[-1] == 1
    assert changes(counts) == 4


def test_a_sawtooth_keeps_its_teeth() -> None:
    tooth = [*seconds(1, 8), *seconds(4, 2)]
    counts = play(WorkerOptions(max=8, idle=60), tooth * 60)
    settled = counts[len(tooth) :]
    assert set(settled) == {4}, "a load that comes back within the idle time finds its workers"


def test_a_trickle_keeps_one_worker() -> None:
    drop = [1, *seconds(0, 40)]
    counts = play(WorkerOptions(max=8, idle=60), drop * 30)
    assert set(counts) == {1}


def test_silence_ends_all() -> None:
    counts = play(WorkerOptions(max=8, idle=60), itertools.chain(seconds(5, 10), seconds(0, 100)))
    assert counts[-1] == 0
    assert 69 <= len(counts) * STEP <= 71


def test_silence_leaves_the_minimum() -> None:
    counts = play(WorkerOptions(min=2, max=8, idle=60), itertools.chain(seconds(5, 10), seconds(0, 100)))
    assert counts[-1] == 2


@pytest.mark.parametrize("shape", [list(seconds(9, 100)), [*seconds(0, 10), *seconds(300, 90)]])
def test_threads_are_filled_before_workers_are_added(shape: list[int]) -> None:
    counts = play(WorkerOptions(max=3, threads=10, idle=60), shape)
    assert counts[-1] == (1 if max(counts) == 1 else 3)


def test_an_asgi_site_has_its_minimum_or_one() -> None:
    assert set(play(WorkerOptions(max=8, idle=60), seconds(1000, 100), is_asgi=True)) == {1}
    assert set(play(WorkerOptions(min=3, max=8, idle=60), seconds(1000, 100), is_asgi=True)) == {3}


def test_the_peak_forgets_between_half_and_the_whole_of_its_window() -> None:
    peak = Peak().with_busy(5, 0.0, 60)
    times = [float(now) for now in range(1, 100)]
    values = []
    for now in times:
        peak = peak.with_busy(0, now, 60)
        values.append(peak.busy)
    forgotten = times[values.index(0)]
    assert 30 <= forgotten <= 60


def test_the_peak_of_a_site_that_slept_through_its_window_is_new() -> None:
    peak = Peak().with_busy(5, 0.0, 60).with_busy(5, 40.0, 60)
    assert peak.with_busy(1, 1000.0, 60).busy == 1


@given(
    st.builds(
        lambda least, more, threads, idle: WorkerOptions(min=least, max=least + more, threads=threads, idle=idle),
        st.integers(0, 4), st.integers(1, 8), st.integers(1, 4), st.sampled_from([0.0, 1.0, 60.0]),
    ),
    st.lists(st.integers(0, 50), max_size=200),
)  # fmt: skip
def test_a_pool_keeps_its_bounds_and_grows_by_one(options: WorkerOptions, load: list[int]) -> None:
    before = max(1, options.min)
    for count in play(options, load):
        assert options.min <= count <= options.max
        assert count <= before + 1
        before = count
