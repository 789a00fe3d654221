"""Anything is killed at any time, for a while: the others' visitors do not notice, and nothing is left of it.

CHAOS_SECONDS: for how long; the whole of it, half an hour over 200 sites, is ``bench/chaos.py``.
"""

from __future__ import annotations

import os

import pytest
from bench.chaos import WANTED, Chaos, show

from tests.conftest import MakeServer

SECONDS = float(os.environ.get("CHAOS_SECONDS", "120"))
SITES = 40
GROWTH = 1.3  # what is within an allocator's whims


@pytest.mark.alone
@pytest.mark.slow
def test_random_kills_over_many_sites(make_server: MakeServer) -> None:
    report = Chaos(make_server(), SITES).run(SECONDS)
    show(report)
    assert report.success >= WANTED
    assert report.leaks() == []
    assert report.before is not None and report.after is not None
    for name, before in report.before.memory.items():
        assert report.after.memory[name] < before * GROWTH, name
