"""How many workers a site wants, in virtual time over shapes of load: it follows, and does not flap."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostel.machine.pool import Load, Pool
from hostel.options.tables import WorkerOptions
from tests.machine.pool_play import play
from tests.machine.shapes import STEP, after, burst, sawtooth, silence, steady, trickle


def test_a_steady_load_has_a_steady_pool_of_the_right_size() -> None:
    """Forty requests a second, 50 ms each, are two workers' work."""
    record = play(WorkerOptions(max=16, idle=60), steady(40, 240))
    assert 3 <= record.counts[-1] <= 8, "enough for what chance brings together, and not all that are allowed"
    assert record.share_of_waits_below(0.1) > 0.99
    assert record.started_between(60, 240) <= 3
    assert len(set(record.stops)) <= 2, "what the first rush needed leaves at once"


def test_a_load_that_one_worker_can_do_has_few() -> None:
    record = play(WorkerOptions(max=16, idle=60), steady(2, 300))
    assert max(record.counts) <= 3
    assert len(record.starts) + len(record.stops) <= 6


@pytest.mark.parametrize(("is_counted", "ordered", "full"), [(True, 0.5, 1), (False, 5, 5)])
def test_a_burst_has_all_workers_soon(is_counted: bool, ordered: float, full: float) -> None:
    """A worker takes 0.3 s to start: with the length of the queue known, all eight are ordered within half a second."""
    record = play(
        WorkerOptions(max=8, idle=60), after(silence(0.05), burst(1), silence(29.95), burst(1000), silence(200)),
        service=0.1, is_counted=is_counted,
    )  # fmt: skip
    assert record.at(29.9) == 1
    assert max(record.counts) == 8
    assert record.first(8) <= 30 + ordered
    assert len(record.starts) == 8, "each is started once"
    assert min(record.stops) >= 60, "after half of the idle time at the earliest"
    assert record.counts[-1] == 0
    assert max(record.waits) < 1000 * 0.1 / 8 + full, "nearly as if all had been there"


def test_a_burst_while_starts_are_slow_does_not_wait_for_one_after_the_other() -> None:
    shape = after(burst(1), silence(30), burst(500), silence(60))
    record = play(WorkerOptions(max=8, idle=60), shape, service=0.1, start=10)
    assert record.started_between(30, 31) == 7


def test_a_short_queue_gets_as_many_workers_as_it_fills() -> None:
    record = play(WorkerOptions(max=16, idle=60), after(burst(4), silence(20)), service=5)
    assert max(record.counts) == 4


def test_a_sawtooth_keeps_its_teeth() -> None:
    """A load that comes back within half of the idle time finds its workers."""
    record = play(WorkerOptions(max=16, idle=60), sawtooth(1, 120, 20, 15))
    assert min(record.counts[600:]) >= 6, "the top of a tooth is six workers' work"
    assert record.started_between(60, 300) <= 3
    assert len(record.stops) <= 3


def test_a_slow_sawtooth_is_followed_once_for_each_tooth() -> None:
    teeth = 3
    record = play(WorkerOptions(max=16, idle=20), sawtooth(0.5, 80, 100, teeth))
    top = max(record.counts)
    assert top >= 4
    assert len(record.starts) <= teeth * top + 2
    assert len(set(record.stops)) <= teeth * 4


def test_a_trickle_keeps_one_worker() -> None:
    record = play(WorkerOptions(max=8, idle=60), trickle(40, 30))
    assert set(record.counts) == {1}
    assert (len(record.starts), len(record.stops)) == (1, 0)


def test_a_trickle_with_longer_pauses_than_idle_is_a_start_for_each_drop() -> None:
    record = play(WorkerOptions(max=8, idle=10), trickle(40, 10))
    assert (len(record.starts), len(record.stops)) == (10, 10)


def test_silence_ends_all_when_the_idle_time_is_over() -> None:
    record = play(WorkerOptions(max=8, idle=60), after(steady(100, 10), silence(100)))
    assert record.counts[-1] == 0
    assert 69 <= max(record.stops) <= 72


def test_silence_leaves_the_minimum() -> None:
    record = play(WorkerOptions(min=2, max=8, idle=60), after(steady(100, 10), silence(100)))
    assert record.counts[-1] == 2


def test_threads_are_filled_before_workers_are_added() -> None:
    options = WorkerOptions(max=3, threads=10, idle=60)
    assert max(play(options, after(burst(9), silence(20)), service=2).counts) == 1
    assert max(play(options, after(burst(15), silence(20)), service=2).counts) == 2
    assert max(play(options, after(burst(300), silence(20)), service=2).counts) == 3


def test_one_look_with_a_queue_is_not_enough() -> None:
    options = WorkerOptions(max=8)
    full = Load(running=1, occupied=1, waiting=3)
    pool = Pool().after(full, options, 1.0, ready=1)
    assert pool.wanted == 1
    assert pool.after(Load(running=1, occupied=1), options, 1.1, ready=1).wanted == 1
    assert pool.after(full, options, 1.1, ready=1).wanted == 2, "twice as many as there are, at most"
    assert pool.after(full, options, 1.1, ready=2).wanted == 4
    assert pool.after(full, options, 1.1, ready=1, starting=3).wanted == 4, "those that come are enough"


def test_what_is_not_forked_is_called_off_when_a_worker_is_free_again() -> None:
    options = WorkerOptions(max=8)
    full = Load(running=1, occupied=1, waiting=1)
    pool = Pool().after(full, options, 1.0, ready=1).after(full, options, 1.1, ready=1)
    assert pool.wanted == 2
    free = Load()
    pool = pool.after(free, options, 1.2, ready=1, ordered=1)
    assert pool.wanted == 2, "not before two looks"
    assert pool.after(free, options, 1.3, ready=1, ordered=1).wanted == 1
    assert pool.after(free, options, 1.3, ready=1, starting=1).wanted == 2, "a process that starts is waited for"


def test_a_pool_that_others_have_made_smaller_does_not_grow_back_by_itself() -> None:
    options = WorkerOptions(max=8)
    pool = Pool().after(Load(running=4, occupied=4), options, 1.0, ready=4)
    assert pool.after(Load(), options, 1.1, ready=2).wanted == 2


def test_loops_that_are_nearly_full_count_as_whole_workers() -> None:
    pool = Pool().after(Load(running=50, occupied=1.2), WorkerOptions(max=8), 1.0, ready=3)
    assert pool.wanted == 2


def test_open_connections_keep_a_worker_however_long_they_say_nothing() -> None:
    options = WorkerOptions(max=8, idle=60)
    assert Pool().after(Load(running=1, occupied=0.0, idle_for=1000), options, 1.0, ready=1).wanted == 1
    assert Pool().after(Load(running=0, occupied=0.0, idle_for=1000), options, 1.0, ready=1).wanted == 0


def test_the_peak_forgets_between_half_and_the_whole_of_its_window() -> None:
    options = WorkerOptions(max=8, idle=60)
    pool = Pool().after(Load(running=5, occupied=5), options, 0.0, ready=5)
    times = [float(now) for now in range(1, 100)]
    wanted = []
    for now in times:
        pool = pool.after(Load(running=1, occupied=1), options, now, ready=5)
        wanted.append(pool.wanted)
    assert 30 <= times[wanted.index(1)] <= 60


def test_the_peak_of_a_site_that_slept_through_its_window_is_new() -> None:
    options = WorkerOptions(max=8, idle=60)
    pool = Pool().after(Load(running=5, occupied=5), options, 0.0, ready=5)
    assert pool.after(Load(running=1, occupied=1), options, 1000.0, ready=5).wanted == 1


@settings(deadline=None)
@given(
    st.builds(
        lambda least, more, threads, idle: WorkerOptions(min=least, max=least + more, threads=threads, idle=idle),
        st.integers(0, 4), st.integers(1, 8), st.integers(1, 4), st.sampled_from([0.0, 1.0, 5.0]),
    ),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 300)), max_size=20),
    st.sampled_from([0.01, 0.2, 2.0]),
)  # fmt: skip
def test_whatever_comes_a_pool_keeps_its_bounds_and_shrinks_at_most_three_times_in_a_window(
    options: WorkerOptions, bursts: list[tuple[int, int]], service: float
) -> None:
    shape = after(*(after(burst(count), silence(pause * STEP)) for count, pause in bursts))
    record = play(options, shape, service=service)
    for before, count in itertools.pairwise(record.counts):
        assert options.min <= count <= options.max
        assert not before or count <= 2 * before or count <= options.min
    window = max(options.idle, 1.0)
    shrinks = sorted(set(record.stops))
    assert all(late - early >= window for early, late in zip(shrinks, shrinks[3:], strict=False))
