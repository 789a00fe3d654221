"""The table is complete, and its impossible and ignored pairs are what they say."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from hostel.errors import Bug
from hostel.machine import events as e
from hostel.machine.commands import Timer
from hostel.machine.decisions import IGNORED, IMPOSSIBLE, Decisions
from hostel.machine.moves import Moves
from hostel.machine.pool import Load
from hostel.machine.site import TABLE, SiteMachine
from hostel.machine.state import State
from tests.machine.diagram import PATH, render
from tests.playbook.story import make_failure, make_site

EXAMPLES: dict[type, e.Event] = {
    type(event): event
    for event in (
        e.Configured(make_site()),
        e.Removed(),
        e.RequestArrived(),
        e.WorkerForked(1),
        e.WorkerReady(1, is_asgi=False),
        e.WorkersAdopted((), is_outdated=False),
        e.WorkerFailed(1, make_failure()),
        e.WorkerExited(1, make_failure()),
        e.LoadMeasured(Load()),
        e.WorkerWornOut(1, "after 3 requests"),
        e.WorkerStuck(1, make_failure()),
        e.PlaceClaimed(1),
        e.TimeElapsed(Timer("start", 1)),
        e.ReloadOrdered(),
        e.StartOrdered(),
        e.StopOrdered(),
        e.PauseOrdered(60.0),
        e.TurnedAway(),
    )
}


def pairs(decision: Any) -> list[Any]:
    return [pytest.param(*pair, id=f"{pair[0].value}-{pair[1].__name__}") for pair in TABLE if TABLE[pair] is decision]


def content(machine: SiteMachine) -> dict[str, Any]:
    return {name: copy.deepcopy(getattr(machine, name)) for name in Moves.__slots__}


def test_every_pair_of_state_and_event_is_decided() -> None:
    assert set(TABLE) == {(state, event) for state in State for event in e.EVENTS}
    assert set(e.EVENTS) == set(EXAMPLES) == set(e.Event.__args__)
    methods = set(vars(Decisions).values())
    assert all(decision in methods or decision in (IGNORED, IMPOSSIBLE) for decision in TABLE.values())


@pytest.mark.parametrize(("state", "event"), pairs(IMPOSSIBLE))
def test_an_impossible_pair_is_a_bug_and_changes_nothing(state: State, event: type) -> None:
    machine = SiteMachine(make_site())
    machine.state = state
    before = content(machine)
    with pytest.raises(Bug, match=f"{event.__name__} in state {state.value}"):
        machine.handle(EXAMPLES[event], 1.0)
    assert content(machine) == before


@pytest.mark.parametrize(("state", "event"), pairs(IGNORED))
def test_an_ignored_pair_does_nothing_and_changes_nothing(state: State, event: type) -> None:
    machine = SiteMachine(make_site())
    machine.state = state
    before = content(machine)
    assert machine.handle(EXAMPLES[event], 1.0) == []
    assert content(machine) == before


def test_only_handle_assigns_the_state() -> None:
    import inspect

    counts = [inspect.getsource(kind).count("self.state =") for kind in (Moves, Decisions, SiteMachine)]
    assert counts == [1, 0, 1], "in __init__ and in handle"


@pytest.mark.parametrize(
    "broken",
    [
        {"state": State.STARTING},
        {"state": State.SERVING},
        {"state": State.DRAINING},
        {"state": State.FAILED},
        {"state": State.PAUSED, "site": make_site(app=None)},
        {"successor": 1},
        {"is_reload_pending": True},
        {"serving": 1},
    ],
)
def test_the_invariants_notice(broken: dict[str, Any]) -> None:
    machine = SiteMachine(make_site())
    machine.check()
    for name, value in broken.items():
        setattr(machine, name, value)
    with pytest.raises(Bug):
        machine.check()


def test_the_page_about_the_states_is_up_to_date() -> None:
    assert PATH.read_text() == render(), f"write it anew: python -m tests.machine.diagram > {PATH}"
