"""Who gives way when the machine is full: cases, and a machine in virtual time whose sites all get their turn."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from hostel.machine import events as e
from hostel.machine.budget import (
    REST_SECONDS,
    TURN_SECONDS,
    Budget,
    Claim,
    Held,
    Need,
    Usage,
    choose,
    choose_all,
    excess,
    has_room,
    need_of,
)  # fmt: skip
from tests.playbook.story import Story, make_site

NOW = 1000.0
MB = 2**20


def claim(
    site: str = "new", need: Need = Need.FIRST, *, since: float = NOW, has: int = 0, memory: int = 30 * MB
) -> Claim:
    return Claim(site, need, since, has, memory)


def held(
    site: str, number: int = 1, *, unused: float = 0.0, serves: float = 100.0, running: float | None = None
) -> Held:
    """A worker that has been unused, has served and has run its request for so many seconds; None: it is idle."""
    return Held(site, number, NOW - unused, NOW - serves, 0.0 if running is None else NOW - running)


def chosen(one: Claim, *workers: Held) -> tuple[str, int] | None:
    counts = Counter(worker.site for worker in workers)
    found = choose(one, workers, counts, NOW)
    return (found.site, found.worker) if found else None


# --- room ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "room"),
    [
        (Usage(workers=9, memory=0, spare=9), True),
        (Usage(workers=10, memory=0, spare=9), False),
        (Usage(workers=2, memory=270 * MB, spare=2), True),
        (Usage(workers=2, memory=271 * MB, spare=2), False),
    ],
)
def test_room_is_a_matter_of_number_and_of_memory(usage: Usage, room: bool) -> None:
    assert has_room(Budget(10, 300 * MB), usage, claim()) is room


def test_what_is_owed_is_given_beyond_the_budget() -> None:
    full = Usage(workers=10, memory=1000 * MB, spare=10)
    assert has_room(Budget(10, 300 * MB), full, claim(need=Need.OWED))


def test_where_the_minima_fill_the_budget_the_others_share_one_place() -> None:
    budget = Budget(10, 300 * MB)
    assert has_room(budget, Usage(workers=12, memory=400 * MB, spare=0), claim())
    assert not has_room(budget, Usage(workers=13, memory=400 * MB, spare=1), claim())


# --- who gives way --------------------------------------------------------------------------------------------------------


def test_the_least_recently_used_idle_worker_gives_way() -> None:
    assert chosen(claim(), held("a", unused=1), held("b", unused=3), held("c", unused=2)) == ("b", 1)
    assert chosen(claim(), held("a", unused=1), held("b", unused=3, running=3), held("c", unused=2)) == ("c", 1)


def test_a_site_does_not_take_from_itself() -> None:
    assert chosen(claim("a", Need.MORE, has=1), held("a", unused=100)) is None


def test_for_one_more_only_rested_workers_are_taken() -> None:
    more = claim("a", Need.MORE, has=1)
    assert chosen(more, held("b", unused=REST_SECONDS - 1)) is None
    assert chosen(more, held("b", unused=REST_SECONDS)) == ("b", 1)
    assert chosen(claim("a"), held("b", unused=0.1)) == ("b", 1), "a site that has none does not wait for that"


def test_a_site_with_many_busy_workers_gives_to_one_that_has_less() -> None:
    rich = [held("rich", number, running=5 - number) for number in (1, 2, 3)]
    poor = [held("poor", number, running=1) for number in (1, 2)]
    assert chosen(claim(), *rich, *poor) == ("rich", 3), "and it is the one whose request is the youngest"
    assert chosen(claim("other", Need.MORE, has=1), *rich, *poor) == ("rich", 3)
    assert chosen(claim("other", Need.MORE, has=2), *rich, *poor) is None, "it would be the poor one then"


def test_a_turn_ends_when_all_have_one_worker_and_are_busy() -> None:
    young = [held("a", serves=TURN_SECONDS - 2, running=1), held("b", serves=TURN_SECONDS - 1, running=1)]
    assert chosen(claim(), *young) is None, "the queue holds"
    assert chosen(claim(), *young, held("c", serves=TURN_SECONDS, running=1)) == ("c", 1)
    assert chosen(claim("d", Need.MORE, has=1), held("c", serves=1000, running=1)) is None


def test_claims_are_met_in_their_order_and_minima_are_kept() -> None:
    workers = [held("a", 1, unused=50), held("a", 2, unused=40), held("b", unused=30), held("c", unused=20)]
    claims = [
        claim("more", Need.MORE, since=NOW - 9, has=1),
        claim("late", since=NOW - 1),
        claim("early", since=NOW - 2),
    ]
    counts, minima = {"a": 2, "b": 1, "c": 1}, {"a": 1, "b": 0, "c": 1}
    found = choose_all(claims, workers, counts, minima, NOW)
    assert [(one.site, one.worker) for one in found] == [("a", 1), ("b", 1)], (
        "the site with a minimum keeps one, c its only"
    )
    assert sorted(claims, key=lambda one: one.rank) == [claims[2], claims[1], claims[0]]


def test_of_two_sites_that_want_more_the_one_with_less_comes_first() -> None:
    many, few = claim("many", Need.MORE, since=NOW - 9, has=5), claim("few", Need.MORE, has=1)
    assert sorted([many, few], key=lambda one: one.rank) == [few, many]


def test_workers_that_grow_over_the_memory_are_made_fewer_when_they_rest() -> None:
    workers = [held("a", unused=5), held("b", unused=60), held("c", unused=30), held("d", unused=90, running=90)]
    assert excess(workers, NOW) == workers[1]
    assert excess(workers[:1], NOW) is None


# --- how urgent ---------------------------------------------------------------------------------------------------------


def test_the_first_worker_is_more_urgent_than_one_more() -> None:
    story = Story()
    story.configure()
    story.tell(e.RequestArrived())
    assert need_of(story.machine, 1) is Need.FIRST
    story.start([1])
    story.measure(1, waiting=1)
    assert need_of(story.machine, 2) is Need.MORE


def test_a_minimum_and_a_successor_are_owed() -> None:
    story = Story(make_site(min=2))
    story.configure()
    assert [need_of(story.machine, number) for number in (1, 2)] == [Need.OWED, Need.OWED]
    story.start([1, 2])
    story.measure(2, waiting=1)
    assert need_of(story.machine, 3) is Need.MORE
    story.start([3])
    story.tell(e.ReloadOrdered())
    assert need_of(story.machine, 4) is Need.OWED


# --- a machine with too little room -------------------------------------------------------------------------------------


def simulate(sites: int, places: int, seconds: float, *, always_busy: bool) -> tuple[list[float], Counter[str]]:
    """Sites that want a worker, all the time or now and then; returns how long each claim waited, and starts by site."""
    chance = random.Random(3)
    workers: dict[str, Held] = {}
    claims: dict[str, Claim] = {}
    waits: list[float] = []
    starts: Counter[str] = Counter()
    now = 0.0
    budget = Budget(places, 2**40)
    while now < seconds:
        now += 0.1
        for number in range(sites):
            name = f"s{number}"
            is_wanted = always_busy or chance.random() < 0.3 / (number + 1)
            if is_wanted and name in workers:
                workers[name] = replace(workers[name], used_at=now, began=now if always_busy else 0.0)
            elif is_wanted and name not in claims:
                claims[name] = Claim(name, Need.FIRST, now, 0, 0)
        short = []
        for one in sorted(claims.values(), key=lambda one: one.rank):
            if has_room(budget, Usage(len(workers), 0, len(workers)), one):
                workers[one.site] = Held(one.site, 1, now, now, now if always_busy else 0.0)
                waits.append(now - claims.pop(one.site).since)
                starts[one.site] += 1
            else:
                short.append(one)
        for victim in choose_all(short, list(workers.values()), Counter(list(workers)), Counter(), now):
            del workers[victim.site]
    return waits + [now - one.since for one in claims.values()], starts


def test_nobody_starves_when_all_are_always_busy() -> None:
    waits, starts = simulate(30, 10, 120, always_busy=True)
    assert len(starts) == 30, "each has its turns"
    assert max(waits) <= 3 * TURN_SECONDS, "thirty share ten places: two turns of others, then one's own"
    assert max(starts.values()) - min(starts.values()) <= 2


def test_sites_that_are_visited_often_keep_their_workers() -> None:
    waits, starts = simulate(100, 20, 120, always_busy=False)
    assert max(waits) <= 0.2, "there is always one that is idle"
    assert starts["s0"] == 1
    assert starts["s60"] > 1


def test_two_greedy_sites_come_to_equal_parts_and_then_nothing_moves() -> None:
    counts = Counter({"rich": 9, "poor": 1})
    moves = []
    for _ in range(20):
        workers = [held(site, number, running=1) for site, count in counts.items() for number in range(count)]
        claims = [claim(site, Need.MORE, has=count) for site, count in counts.items()]
        for victim in choose_all(claims, workers, counts, Counter(), NOW):
            taker = min(claims, key=lambda one: one.rank).site
            counts[victim.site] -= 1
            counts[taker] += 1
            moves.append((victim.site, taker))
    assert counts == {"rich": 5, "poor": 5}
    assert moves == [("rich", "poor")] * 4
