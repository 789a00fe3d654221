"""The picture in the README shows what the first screen is today."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.docs.document import ROOT, Command, Walk, matches
from tests.docs.first_screen import COMMAND, PICTURE, lines_of


@pytest.mark.slow
def test_the_picture_is_of_the_first_screen() -> None:
    prompt, title, *shown = lines_of(PICTURE.read_text())
    assert prompt == f"$ {COMMAND}"
    assert re.fullmatch(r"Hostel \S+ with nginx \S+ \(\S+\); logs in \S+", title)
    with Walk() as walk:
        shutil.copytree(ROOT / "examples", walk.folder / "examples")
        _, said = walk.run(Command(0, "", COMMAND))
    # Not as root there is one line more.
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("All sites run as")]
    assert re.match(r"Hostel \S+ with nginx", lines[0])
    expected = tuple(re.sub(r"\b\d+ s\b", "… s", line) for line in shown)
    assert matches(expected, "\n".join(lines[1:])), f"make it anew: python -m tests.docs.first_screen; it is\n{said}"
