"""Who looks after the run directory looks at all sites in turn, and one that cannot be mended holds up nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hostel.manager.caretaker import FURNITURE, SITES, Caretaker
from hostel.manager.runner import Runner


class Sites:
    """A runner with sites of which some lack something, and some cannot be mended."""

    def __init__(self, run_dir: str, count: int) -> None:
        self.options = SimpleNamespace(run_dir=run_dir)
        self.broken: set[str] = set()
        self.hopeless: set[str] = set()
        self.looked_at: list[str] = []
        self.sites = {f"site{number}": self._site(f"site{number}") for number in range(count)}

    def _site(self, name: str) -> Any:
        def is_intact() -> bool:
            self.looked_at.append(name)
            return name not in self.broken

        return SimpleNamespace(is_intact=is_intact)

    def mend(self, name: str, *, is_elsewhere: bool) -> None:
        if name in self.hopeless:
            raise OSError(28, "no room")
        self.broken.discard(name)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    for name in FURNITURE:
        (tmp_path / name).touch()
    return str(tmp_path)


async def never(_: bool) -> None:
    raise AssertionError("nothing of the server's own is missing")


def test_all_sites_have_their_turn(place: str) -> None:
    sites = Sites(place, 2 * SITES + 1)
    caretaker = Caretaker(cast(Runner, sites), never)
    for _ in range(3):
        asyncio.run(caretaker.look())
    assert sorted(sites.looked_at) == sorted(sites.sites)
    asyncio.run(caretaker.look())
    assert sites.looked_at[-1] == f"site{SITES - 1}", "and again"


def test_one_that_is_broken_makes_all_be_looked_at_and_a_hopeless_one_holds_up_nobody(place: str) -> None:
    sites = Sites(place, 2 * SITES)
    sites.broken = {"site0", "site1", f"site{2 * SITES - 1}"}
    sites.hopeless = {"site0"}
    caretaker = Caretaker(cast(Runner, sites), never)
    with pytest.raises(OSError, match="no room"):
        asyncio.run(caretaker.look())
    assert sites.broken == {"site0"}
