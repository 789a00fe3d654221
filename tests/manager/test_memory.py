"""What a process has in memory."""

from __future__ import annotations

import os

import pytest

from hostel.manager import memory
from hostel.manager.memory import memory_of, resident_of

MB = 2**20


def test_what_a_process_takes_is_seen() -> None:
    before, resident = memory_of(os.getpid()), resident_of(os.getpid())
    assert 0 < before <= resident * 1.05
    taken = b"x" * (50 * MB)
    assert memory_of(os.getpid()) >= before + 45 * MB
    assert resident_of(os.getpid()) >= resident + 45 * MB
    del taken


def test_of_a_large_process_what_is_resident_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LARGE", MB)
    assert memory_of(os.getpid()) == pytest.approx(resident_of(os.getpid()), rel=0.1)


def test_one_that_is_gone_has_nothing() -> None:
    assert memory_of(2**22 + 1) == resident_of(2**22 + 1) == 0
