"""Every command in the documents is run, and what it prints is what the document says; see ``document``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.document import ROOT, Walk, is_unfinished, matches, read_commands

DOCUMENTS = sorted(
    path for path in (ROOT / "docs").rglob("*.md") if "```console" in path.read_text() and "reference" not in path.parts
)
ELSEWHERE = {"third-party-applications.md"}  # run with a browser beside it, in tests/browser/test_third_party.py


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if path.name not in ELSEWHERE],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_commands_of_a_document(document: Path) -> None:
    with Walk() as walk:
        for command in read_commands(document):
            walk.check(command, str(document.relative_to(ROOT)))


def test_there_are_documents_with_commands() -> None:
    assert len(DOCUMENTS) >= 4
    assert all(read_commands(document) for document in DOCUMENTS)


def test_what_a_command_is() -> None:
    assert not is_unfinished("ls")
    assert is_unfinished("ls \\")
    assert is_unfinished("cat <<'END'\nfirst")
    assert not is_unfinished("cat <<'END'\nfirst\nEND")


def test_what_matches() -> None:
    assert matches(("one", "two"), "one\ntwo\n")
    assert matches(("a …, b", "…", "end"), "a 17 s, b\nx\ny\nend\n\n")
    assert matches(("a  b",), "a     b\n")
    assert not matches(("one",), "one\ntwo\n")
    assert not matches(("a …",), "a\nb\n")
