"""The list of guards that are taken away in turn is whole, and fits the source and the tests as they are."""

from __future__ import annotations

import pytest

from hostel.sandbox import operations
from tests.hostile.mutations import MUTATIONS, OPERATIONS, ROOT, UNIT, Mutation, is_caught


def test_every_operation_of_a_plan_is_in_the_list() -> None:
    assert {mutation.name for mutation in OPERATIONS} == set(operations.OPERATIONS)
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_an_entry_fits(mutation: Mutation) -> None:
    text = mutation.path.read_text()
    changed = mutation.change(text)
    assert changed != text
    compile(changed, str(mutation.path), "exec")
    path, _, rest = mutation.test.partition("::")
    assert f"def {rest.partition('[')[0]}" in (ROOT / path).read_text()


def test_a_guard_that_is_not_there_is_an_error() -> None:
    for mutation in (
        Mutation("a", "src/hostel/wire.py", UNIT, "nowhere"),
        Mutation("b", "src/hostel/wire.py:nowhere", UNIT),
    ):
        with pytest.raises(ValueError, match=f"{mutation.name}: "):
            mutation.change(mutation.path.read_text())


@pytest.mark.slow
@pytest.mark.alone
def test_what_is_said_to_be_caught_is_caught() -> None:
    """One of them; all: ``python -m tests.hostile.mutations``."""
    before = OPERATIONS[10].path.read_text()
    assert is_caught(OPERATIONS[10])
    assert OPERATIONS[10].path.read_text() == before
