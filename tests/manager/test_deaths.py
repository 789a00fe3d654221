"""The record of deaths: bounded, kept over restarts, and not believed where it has been spoilt."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostel.api.views import DeathView, RequestView
from hostel.manager.deaths import KEPT, Deaths, MemoryWatch
from hostel.manager.worker import sentence_of, view_of_request
from hostel.worker.scoreboard import Request

RUNNING = RequestView("GET", "/slow?a=b", "5eed", 3.2)
OVER = RequestView("POST", "/form", "0dd", 0.0)


def death(number: int, *requests: RequestView) -> DeathView:
    return DeathView(float(number), f"1.{number}", number, 60.0, "was killed", "SIGSEGV", 0, False, requests)


def test_the_last_deaths_are_kept_over_a_restart(tmp_path: Path) -> None:
    deaths = Deaths(str(tmp_path / "deaths"))
    assert deaths.of("blog") == []
    for number in range(KEPT + 3):
        deaths.add("blog", death(number, RUNNING))
    deaths.add("shop", death(1))
    for found in (deaths, Deaths(str(tmp_path / "deaths"))):
        assert [each.pid for each in found.of("blog")] == list(range(KEPT + 2, 2, -1))
        assert list(found.of("blog")[0].requests) == [RUNNING]
        assert [each.pid for each in found.of("shop")] == [1]


def test_a_site_that_is_no_more_is_forgotten(tmp_path: Path) -> None:
    deaths = Deaths(str(tmp_path))
    for name in ("blog", "shop"):
        deaths.add(name, death(1))
    deaths.keep_only({"shop"})
    assert deaths.of("blog") == []
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


@pytest.mark.parametrize("content", ["", "[", "{}", "[1]", '[{"time": 1}]', "null", "\0", "[" * 10_000])
def test_a_file_that_is_spoilt_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "blog").write_text(content)
    assert Deaths(str(tmp_path)).of("blog") == []


def test_where_nothing_can_be_written_they_are_known_until_the_restart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    deaths = Deaths(str(tmp_path / "file" / "deaths"))
    deaths.add("blog", death(1))
    assert len(deaths.of("blog")) == 1


def test_a_sentence_says_what_it_was_doing() -> None:
    assert sentence_of(death(1, RUNNING)) == "was killed; it ran GET /slow?a=b (request 5eed) for 3 s"
    assert sentence_of(death(1, OVER)) == "was killed; its last was POST /form (request 0dd)"
    assert sentence_of(death(1)) == "was killed"


def test_what_a_worker_claims_is_made_fit_to_be_shown() -> None:
    view = view_of_request(Request(0, True, 90.0, "\x1b[2J", "GET\n[hostel]", "/\r\n\u202e"), 100.0)
    for text in (view.method, view.url, view.id):
        assert text.isprintable()
    assert view.age == 10.0


def test_memory_that_ran_out_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "vmstat"
    path.write_text("pgfault 7\noom_kill 4\n")
    watch = MemoryWatch(str(path))
    assert not watch.has_killed()
    path.write_text("pgfault 7\noom_kill 6\n")
    assert [watch.has_killed() for _ in range(3)] == [True, True, False]
    path.write_text("oom_kill 7\n")
    watch.forget()
    assert not watch.has_killed()
    assert not MemoryWatch(str(tmp_path / "nowhere")).has_killed()
