"""What is printed: nothing that a tenant wrote commands a terminal, tables fit, errors are short."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostel.cli.output import ago, count, fail, print_problem, printable
from hostel.cli.status import print_table
from hostel.errors import SiteError

BASE = {
    "kind": "worker", "site": "blog", "reason": "it broke", "hint": "mend it", "is_fatal": True, "file": "", "where": "",
    "id": "0123abcd", "time": 0.0, "step": "import", "traceback": "", "output": "", "steps": [],
}  # fmt: skip


@given(st.text(st.characters()))
def test_only_printable_text_reaches_a_terminal(text: str) -> None:
    shown = printable(text)
    assert all(character.isprintable() or character in "\n\t" for character in shown)
    shown.encode()
    if text.isprintable():
        assert shown == text


def test_escapes_of_tenants_are_shown_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    bad = "\x1b[2J\x9b2J\u202e\udcff\x07"
    print_problem({**BASE, "reason": bad, "hint": bad, "traceback": f"a\n{bad}\rb"})
    fail(SiteError(bad, bad))
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "\x1b" not in text and "\r" not in text and "\u202e" not in text and "\x9b" not in text
        assert r"\x1b[2J\x9b2J\u202e\udcff\x07" in text


def test_a_problem_has_all_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    print_problem({**BASE, "traceback": "Traceback\n  line", "output": "not shown"}, "  ")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  problem 0123abcd, ") and lines[0].endswith(" ago, at step import: it broke")
    assert lines[1:] == ["    -> mend it", "    | Traceback", "    |   line"]
    print_problem({**BASE, "kind": "file", "file": "/x.toml", "where": "app (line 1)", "hint": ""})
    assert capsys.readouterr().out == "/x.toml: app (line 1): it broke\n"
    print_problem({**BASE, "output": "\n".join(map(str, range(100)))})
    assert capsys.readouterr().out.splitlines()[2:] == [f"  | {number}" for number in range(88, 100)]


def test_amounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostel.cli.output.time.time", lambda: 1_000_000.0)
    assert [ago(1_000_000 - seconds) for seconds in (-5, 0, 59.9, 60, 3600, 86400 * 400)] == [
        "0 s", "0 s", "59 s", "1 m", "1 h", "400 d",
    ]  # fmt: skip
    assert [count(number, "site") for number in (0, 1, 2)] == ["0 sites", "1 site", "2 sites"]


def make_site(**more: Any) -> dict[str, Any]:
    return {
        "name": "blog", "state": "serving", "interface": "wsgi", "since": 1.0, "generation": 12, "served": 345, "problems": [],
        "workers": [{"phase": "ready"}, {"phase": "leaving"}], "urls": ["http://blog.localhost:8000/"], **more,
    }  # fmt: skip


def test_a_table_without_a_terminal_is_whole_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    long = make_site(name="n" * 48, urls=[f"http://{'u' * 90}/"], problems=[{}])
    cold = make_site(state="cold", since=0, generation=0, served=0, workers=[], urls=[])
    print_table([long, cold])
    title, first, second = capsys.readouterr().out.splitlines()
    assert title.split() == ["SITE", "STATE", "SINCE", "GEN", "WORKERS", "SERVED", "URL"]
    assert first.split()[:3] == ["n" * 48, "serving", "!"]
    assert first.split()[-4:] == ["12", "1", "345", f"http://{'u' * 90}/"]
    assert second.split() == ["blog", "cold", "-", "-", "-", "-", "-"]
    print_table([make_site(urls=["http://xn--bcher-kva.example/"])])
    assert "http://bücher.example/" in capsys.readouterr().out
    print_table([])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        ("200", "SITE STATE SINCE GEN WORKERS SERVED URL"),
        ("85", "SITE STATE SERVED WORKERS URL"),
        ("10", "SITE STATE URL"),
    ],
)
def test_a_table_in_a_terminal_leaves_out_what_does_not_fit(
    columns: str, titles: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setitem(os.environ, "COLUMNS", columns)
    print_table([make_site(name="n" * 30)])
    assert sorted(terminal.getvalue().splitlines()[0].replace("\x1b[1m", "").replace("\x1b[0m", "").split()) == sorted(
        titles.split()
    )


def test_a_long_error_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(SiteError("x" * 100_000)) == 1
    assert len(capsys.readouterr().err) < 5000
