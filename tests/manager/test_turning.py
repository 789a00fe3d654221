"""Turning logs over: what is due, what becomes of the older ones, and that no line is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hostel.manager.logs import SiteLog
from hostel.manager.turning import Bounds, is_due, turn_over


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def names(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted(folder.iterdir())}


def test_the_older_ones_move_on_and_the_oldest_goes(path: Path) -> None:
    for number in range(5):
        path.write_text(str(number))
        turn_over(str(path), 3)
    assert names(path.parent) == {"access.log": "", "access.log.1": "4", "access.log.2": "3", "access.log.3": "2"}
    path.write_text("5")
    turn_over(str(path), 1)
    assert (path.parent / "access.log.1").read_text() == "5"


def test_the_empty_one_has_owner_and_mode_of_the_full_one(path: Path) -> None:
    path.write_text("x")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1, 2)
    turn_over(str(path), 1)
    status = path.stat()
    assert status.st_mode & 0o777 == 0o640
    assert (status.st_uid, status.st_gid) == ((1, 2) if os.geteuid() == 0 else (os.geteuid(), os.getegid()))


def test_who_has_it_open_goes_on_in_the_older_one(path: Path) -> None:
    with path.open("a") as front:
        turn_over(str(path), 1)
        front.write("late\n")
    assert names(path.parent) == {"access.log": "", "access.log.1": "late\n"}


def test_what_an_earlier_attempt_left_is_no_hindrance(path: Path) -> None:
    path.write_text("x")
    (path.parent / "access.log.new").symlink_to("/etc/passwd")
    turn_over(str(path), 1)
    assert names(path.parent) == {"access.log": "", "access.log.1": "x"}


def test_when_it_is_due(path: Path) -> None:
    bounds = Bounds(size=10, age=60.0)
    begin = path.parent.stat().st_mtime
    assert not is_due(str(path), bounds, begin + 1000)
    path.write_text("x" * 10)
    begin = path.parent.stat().st_mtime
    assert not is_due(str(path), bounds, begin + 59)
    assert is_due(str(path), bounds, begin + 61)
    assert not is_due(str(path), Bounds(size=10), begin + 10**9)
    path.write_text("x" * 11)
    assert is_due(str(path), Bounds(size=10), begin)
    turn_over(str(path), 1)
    begin = (path.parent / "access.log.1").stat().st_ctime
    assert not is_due(str(path), bounds, begin + 61)  # it is empty
    path.write_text("x")
    assert not is_due(str(path), bounds, begin + 59)
    assert is_due(str(path), bounds, begin + 61)


def test_the_error_log_of_a_site_goes_on(tmp_path: Path) -> None:
    log = SiteLog(str(tmp_path / "site"), Bounds(size=100, age=60.0, keep=2))
    log.prepare(None, None)
    for number in range(9):
        log.write("1.1", [f"{number}" * 20])
    log.turn_what_is_due(os.stat(log.path).st_ctime + 61)
    log.write("1.1", ["after"])
    log.close()
    found = names(tmp_path / "site")
    assert set(found) == {"access.log", "error.log", "error.log.1", "error.log.2"}
    assert "after" in found["error.log"] and found["error.log"].count("\n") == 1
    assert "8" * 20 in found["error.log.1"]
