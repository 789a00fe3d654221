"""The page on trust says what is tested, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostel.sandbox.identity import Identity
from hostel.sandbox.plan import LEVELS, Abilities, Places, Wishes, make_guards, make_sandbox
from tests.hostile.table import MOST, ROOT, count, lines_of_code, with_tables

PAGE = Path(__file__).parent.parent.parent / "docs" / "explanation" / "trust.md"


def test_the_page_has_the_tables() -> None:
    assert PAGE.read_text() == with_tables(PAGE.read_text()), "make docs"


def test_the_page_has_every_guard() -> None:
    identity = Identity(1000, 1000, (1000,), "blog", "/")
    for guard in make_guards(identity, Wishes("full"), Abilities(True, True, True, 7)):
        assert f"| {guard.name} | " in PAGE.read_text(), guard.name


def test_how_much_code_runs_as_root() -> None:
    assert sum(count(places) for places in ROOT.values()) < MOST


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("has_own_zygote", [False, True])
def test_what_is_not_counted_is_not_executed_as_root(level: str, has_own_zygote: bool) -> None:
    """Landlock and seccomp come after a process has become the site's user for good, and are no part of a room."""
    identity, abilities = Identity(1000, 1000, (1000,), "blog", "/"), Abilities(True, True, True, 7)
    sandbox = make_sandbox(identity, Places("/srv"), Wishes(level), abilities, has_own_zygote=has_own_zygote)
    for plan in (sandbox.zygote, sandbox.worker, sandbox.room):
        names = [name for name, *_ in plan]
        for later in {"confine", "refuse_system_calls"} & set(names):
            assert names.index("set_uid") < names.index("refuse_root") < names.index(later)
    assert level == "none" or "refuse_system_calls" in {name for name, *_ in (*sandbox.zygote, *sandbox.worker)}


def test_lines_of_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        '"""Text\n\nmore."""\n\n# why\nX = """a\nb"""\n\n\ndef f():\n    """Says."""\n    return 1\n'
    )
    assert lines_of_code(tmp_path / "a.py") == 4
