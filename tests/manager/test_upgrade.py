"""What a trial of a new version says, in one sentence and a hint."""

from __future__ import annotations

import pytest

from hostel.manager.upgrade import last_words

MEND = "mend the installation, and try again"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hostel: cannot listen\nhint: choose another\n", ("cannot listen", "choose another")),
        ("some warning\nhostel: cannot listen\n", ("cannot listen", MEND)),
        ("Traceback (most recent call last):\n  File ...\nSyntaxError: invalid syntax\n", ("SyntaxError: invalid syntax", MEND)),
        ("", ("it says nothing", MEND)),
    ],
)  # fmt: skip
def test_the_reason_and_the_hint(text: str, words: tuple[str, str]) -> None:
    assert last_words(text) == words
