"""Every command in the documents is run, and what it prints is what the document says; see ``document``."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.sandbox.abilities import find_abilities
from tests.docs.document import ROOT, Walk, is_unfinished, matches, read_commands

DOCUMENTS = sorted(
    path for path in (ROOT / "docs").rglob("*.md") if "```console" in path.read_text() and "reference" not in path.parts
)
AS_ROOT = {"hosting-strangers.md"}
TENANTS = ("alice", "bob")  # whom it makes
ELSEWHERE = {"third-party-applications.md"}  # run with a browser beside it, in tests/browser/test_third_party.py


@pytest.fixture
def users(request: pytest.FixtureRequest) -> Iterator[None]:
    """A document may make users of the machine; they go again, also when it fails."""
    document = request.getfixturevalue("document")
    found = TENANTS if document.name in AS_ROOT else ()
    if document.name in AS_ROOT and (os.geteuid() != 0 or not find_abilities().has_namespaces):
        pytest.skip("needs root, and namespaces")
    for name in found:
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            pytest.skip(f"this machine has a user {name}, who is left alone")
    yield
    for name in found:
        subprocess.run(["userdel", "--remove", name], capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.usefixtures("users")
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
