"""Which folders are watched for a site that does not start: its worker names them, and may be hostile."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hostel.machine.journey import Failure
from hostel.manager.code import DEEPEST, places_to_mend
from tests.playbook.story import make_site


def places(directory: Path, *sources: str) -> set[str]:
    site = replace(make_site(), directory=str(directory))
    failure = Failure("1234", 0.0, site.name, 1, "import", "broken", sources=sources)
    return places_to_mend(site, failure)


def test_the_folders_of_what_was_involved(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "elsewhere").symlink_to("/etc")
    usual = places(tmp_path)
    assert places(tmp_path, f"{tmp_path}/a/b.py") == {*usual, f"{tmp_path}/a"}
    assert places(tmp_path, "/etc/passwd", f"{tmp_path}/../x", f"{tmp_path}/elsewhere/passwd", "") == usual


@pytest.mark.parametrize(
    "source",
    ["{}/\0/x.py", "\0/x", "{}/\ud800/x.py", "{}/" + "a/" * 1000, "/" * 100_000, "{}/" + "a" * 100_000 + "/x"],
    ids=["zero", "zero alone", "surrogate", "deep", "slashes", "long"],
)
def test_what_cannot_be_a_path_is_nothing_to_watch(tmp_path: Path, source: str) -> None:
    """It is asked for together with those of all other sites: an error here would be theirs."""
    (tmp_path / "a").mkdir()
    good = f"{tmp_path}/a/b.py"
    found = places(tmp_path, source.format(tmp_path), good) - places(tmp_path)
    assert f"{tmp_path}/a" in found
    assert all(place.count("/") <= DEEPEST and os.path.realpath(place) for place in found)
