"""The store of descriptors."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hostel.supervisor.store import Store
from hostel.wire import DESCRIPTORS, MESSAGE_BYTES, Kept, encode


@pytest.fixture
def store() -> Iterator[Store]:
    before = len(os.listdir("/proc/self/fd"))
    store = Store()
    yield store
    for batch, _ in list(store.batches()):
        for name in batch.names:
            store.forget(name)
    assert len(store) == 0
    assert len(os.listdir("/proc/self/fd")) == before


def descriptor() -> int:
    return os.open(os.devnull, os.O_RDONLY)


def content(store: Store) -> list[tuple[str, str, int]]:
    """All that is kept, as it would arrive; every message has to fit."""
    found = []
    for batch, descriptors in store.batches():
        assert len(encode(batch)) <= MESSAGE_BYTES
        assert 0 < len(descriptors) <= DESCRIPTORS
        found += list(zip(batch.names, batch.notes, descriptors, strict=True))
    return found


def test_what_is_kept_is_handed_over_in_order(store: Store) -> None:
    numbers = [descriptor() for _ in range(3)]
    for name, number in zip("abc", numbers, strict=True):
        store.keep(name, f"note of {name}", number)
    assert content(store) == [(name, f"note of {name}", number) for name, number in zip("abc", numbers, strict=True)]
    assert content(Store()) == []


def test_a_name_is_kept_once_and_its_old_descriptor_closed(store: Store) -> None:
    old, new = descriptor(), descriptor()
    store.keep("a", "old", old)
    store.keep("a", "new", new)
    assert content(store) == [("a", "new", new)]
    with pytest.raises(OSError):
        os.fstat(old)


def test_notes_change_and_names_are_forgotten(store: Store) -> None:
    number = descriptor()
    store.keep("a", "", number)
    store.note("a", "changed")
    store.note("nobody", "nothing")
    store.forget("nobody")
    assert content(store) == [("a", "changed", number)]
    store.forget("a")
    assert content(store) == []
    with pytest.raises(OSError):
        os.fstat(number)


def test_thousands_come_in_batches(store: Store) -> None:
    for number in range(1001):
        store.keep(f"site/{number}/app", "", descriptor())
    assert [len(descriptors) for _, descriptors in store.batches()] == [DESCRIPTORS] * 4 + [1]
    assert [name for name, _, _ in content(store)] == [f"site/{number}/app" for number in range(1001)]


@pytest.mark.parametrize("character", ["x", '"', "\\", "\n", "\0", "é", "\U0001f40d", "\ud800"])
def test_long_notes_come_in_batches_that_fit(store: Store, character: str) -> None:
    """JSON makes one character up to six bytes."""
    notes = [character * length for length in (1, 20_000, 10_000, 25_000, 3, 26_000)]
    for number, note in enumerate(notes):
        store.keep(f"{number}", note, descriptor())
    assert [note for _, note, _ in content(store)] == notes


def test_a_note_that_no_message_can_carry_is_dropped_and_its_descriptor_kept(store: Store) -> None:
    number = descriptor()
    store.keep("a", "x" * MESSAGE_BYTES, number)
    assert content(store) == [("a", "", number)]
    room = MESSAGE_BYTES - len(encode(Kept(("a",), ("",))))
    store.note("a", "x" * room)
    assert content(store) == [("a", "x" * room, number)], "this one just fits"
    store.note("a", "x" * (room + 1))
    assert content(store) == [("a", "", number)]
