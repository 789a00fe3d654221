"""The page on trust says what is tested, and no more."""

from __future__ import annotations

from pathlib import Path

from hostel.sandbox.identity import Identity
from hostel.sandbox.plan import Abilities, Wishes, make_guards
from tests.hostile.table import lines_of_code, with_tables

PAGE = Path(__file__).parent.parent.parent / "docs" / "explanation" / "trust.md"


def test_the_page_has_the_tables() -> None:
    assert PAGE.read_text() == with_tables(PAGE.read_text()), "make docs"


def test_the_page_has_every_guard() -> None:
    identity = Identity(1000, 1000, (1000,), "blog", "/")
    for guard in make_guards(identity, Wishes("full"), Abilities(True, True, True, 7)):
        assert f"| {guard.name} | " in PAGE.read_text() or guard.name == "network", guard.name


def test_lines_of_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        '"""Text\n\nmore."""\n\n# why\nX = """a\nb"""\n\n\ndef f():\n    """Says."""\n    return 1\n'
    )
    assert lines_of_code(tmp_path / "a.py") == 4
