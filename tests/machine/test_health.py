"""Requests that take too long and workers that take none, in virtual time."""

from __future__ import annotations

from hostel.machine.health import DEAF, GRACE, STACKS, Case, Pulse, Step

LIMIT = 60.0
BEGAN = 1000.0


def walk(case: Case, times: dict[float, tuple[float, ...]], running: int = 0, given_up: int = 0) -> list[Step]:
    """The steps at these ages of the first request, with the times when the requests of each look began."""
    steps = []
    for age, begins in times.items():
        case, step = case.after(begins, running or len(begins), given_up, LIMIT, BEGAN + age)
        steps.append(step)
    return steps


def ages(*values: float, also: tuple[float, ...] = ()) -> dict[float, tuple[float, ...]]:
    return dict.fromkeys(values, (BEGAN, *also))


def test_a_request_is_interrupted_once_then_shown_then_its_worker_is_killed() -> None:
    shown = LIMIT + GRACE + 0.1
    steps = walk(Case(), ages(1, LIMIT, LIMIT + 0.1, LIMIT + 0.2, LIMIT + GRACE, shown, shown + 0.1, shown + STACKS))
    nothing = Step.NOTHING
    assert steps == [nothing, nothing, Step.INTERRUPT, nothing, nothing, Step.SHOW, nothing, Step.KILL]


def test_a_request_that_lets_itself_be_interrupted_leaves_nothing_behind() -> None:
    case, step = Case().after((BEGAN,), 1, 0, LIMIT, BEGAN + LIMIT + 1)
    assert step is Step.INTERRUPT
    case, step = case.after((), 0, 0, LIMIT, BEGAN + LIMIT + 2)
    assert (case, step) == (Case(), Step.NOTHING)


def test_a_worker_is_not_killed_while_it_runs_what_is_not_stuck() -> None:
    late = LIMIT + GRACE + 1
    young = BEGAN + late - 1
    steps = walk(Case(), ages(LIMIT + 1, late, late + 10, also=(young,)))
    assert steps == [Step.INTERRUPT, Step.SHOW, Step.NOTHING]
    assert walk(Case(), ages(LIMIT + 1, late, late + 10), running=2)[-1] is Step.NOTHING, "a WebSocket counts too"
    assert walk(Case(), {**ages(LIMIT + 1, late, also=(young,)), **ages(late + 10)})[-1] is Step.KILL, (
        "the young one is over"
    )


def test_each_request_is_interrupted_in_its_own_time() -> None:
    second = BEGAN + 2
    steps = walk(Case(), ages(LIMIT + 1, LIMIT + 1.5, LIMIT + 2.1, LIMIT + 3, also=(second,)))
    assert steps == [Step.INTERRUPT, Step.NOTHING, Step.INTERRUPT, Step.NOTHING]


def test_requests_that_the_worker_itself_has_given_up_do_not_hold_it() -> None:
    """An ASGI worker tells of the oldest request only, and of how many it has cancelled in vain."""
    late = LIMIT + GRACE + 1
    assert walk(Case(), ages(LIMIT + 1, late, late + 1), running=3, given_up=3)[-1] is Step.KILL
    assert walk(Case(), ages(LIMIT + 1, late, late + 1), running=3, given_up=2)[-1] is Step.NOTHING


def feel(pulse: Pulse, now: float, *, is_suspicious: bool = True, sign_at: float = 0.0) -> tuple[Pulse, Step]:
    return pulse.after(is_suspicious=is_suspicious, sign_at=sign_at, patience=DEAF, now=now)


def test_nobody_is_asked_who_is_not_waited_for() -> None:
    assert feel(Pulse(), 50, is_suspicious=False) == (Pulse(), Step.NOTHING)


def test_a_free_worker_that_is_waited_for_has_to_answer() -> None:
    pulse, step = feel(Pulse(), 50)
    assert step is Step.INTERRUPT
    pulse, step = feel(pulse, 50 + DEAF, sign_at=49)
    assert step is Step.NOTHING
    assert feel(pulse, 50 + DEAF + 0.1, sign_at=49)[1] is Step.KILL
    assert feel(pulse, 50 + DEAF + 0.1, sign_at=50.1) == (Pulse(), Step.NOTHING)
    assert feel(pulse, 50 + DEAF + 0.1, is_suspicious=False) == (Pulse(), Step.NOTHING), "others have taken what waited"
