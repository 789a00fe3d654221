"""Files that reload a site: each touch counts once."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from hostel.manager.touch import ReloadFiles, was_touched_since
from hostel.options.site import Site
from tests.playbook.story import make_site


def site_with(*paths: Path, name: str = "blog") -> Site:
    return replace(make_site(), name=name, reload_on=tuple(map(str, paths)))


def touch(path: Path) -> None:
    path.touch()
    os.utime(path, ns=(0, time.time_ns()))


def test_a_touch_counts_once(tmp_path: Path) -> None:
    files, path = ReloadFiles(), tmp_path / "restart"
    path.touch()
    assert files.follow(site_with(path))
    assert files.folders == {str(tmp_path)}
    assert files.take([str(path), str(tmp_path)]) == [], "looked at, not touched"
    touch(path)
    assert files.take([str(tmp_path / "another.txt"), str(path)]) == ["blog"]
    assert files.take([str(path)]) == []


def test_a_file_that_is_replaced_comes_back_as_another(tmp_path: Path) -> None:
    files, path = ReloadFiles(), tmp_path / "wsgi.py"
    path.write_text("one")
    files.follow(site_with(path))
    path.unlink()
    assert files.take([str(path)]) == [], "on its way to be replaced"
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(path)
    assert files.take([str(path)]) == ["blog"]


def test_the_first_touch_makes_the_file(tmp_path: Path) -> None:
    files, path = ReloadFiles(), tmp_path / "restart.txt"
    files.follow(site_with(path))
    path.touch()
    assert files.take([str(path)]) == ["blog"]


def test_a_touch_during_the_start_is_not_forgotten_when_the_site_serves(tmp_path: Path) -> None:
    files, path = ReloadFiles(), tmp_path / "restart"
    path.touch()
    files.follow(site_with(path))
    touch(path)
    assert not files.follow(site_with(path, tmp_path / "more")), "the same folder"
    assert files.take(files.folders) == ["blog"]


def test_folders_are_shared_and_given_up(tmp_path: Path) -> None:
    files, path = ReloadFiles(), tmp_path / "restart"
    assert files.follow(site_with(path, name="one"))
    assert not files.follow(site_with(path, name="two"))
    path.touch()
    assert files.take([str(path)]) == ["one", "two"]
    assert not files.forget("one")
    assert not files.forget("one")
    assert files.forget("two")
    assert files.folders == set()
    assert files.take([str(path)]) == []


def test_what_was_touched_while_nobody_looked(tmp_path: Path) -> None:
    path = tmp_path / "restart"
    site = site_with(path, tmp_path / "missing")
    assert not was_touched_since(site, 0.0)
    path.touch()
    os.utime(path, (0, 0))  # as a deployment tool that keeps the times of files
    changed = path.stat().st_ctime
    assert was_touched_since(site, changed - 1)
    assert not was_touched_since(site, changed)
