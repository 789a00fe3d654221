"""The stages of a start, made of moments of which some are a worker's own word."""

from __future__ import annotations

from hostel.machine.journey import STAGES, find_stages


def test_stages_follow_each_other_until_the_first_that_is_not_known() -> None:
    moments = {"socket readable": 10.1, "order": 10.2, "fork": 10.5, "import": 12.0}
    stages = find_stages(moments, 10.0)
    assert [stage.name for stage in stages] == ["socket readable", "order", "fork"]
    assert [round(stage.begin, 6) for stage in stages] == [0.0, 0.1, 0.2]
    assert [round(stage.seconds, 6) for stage in stages] == [0.1, 0.1, 0.3]
    assert find_stages({}, 10.0) == ()


def test_no_stage_ends_before_it_begins() -> None:
    moments = {name: 20.0 - number for number, (name, _) in enumerate(STAGES)}
    stages = find_stages(moments, 10.0)
    assert len(stages) == len(STAGES)
    assert [stage.seconds for stage in stages] == [10.0] + [0.0] * (len(STAGES) - 1)
