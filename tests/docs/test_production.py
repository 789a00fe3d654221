"""What the how-to for a server on the internet shows and no test can run as it stands: the unit of systemd."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hostel.cli.serve import serve
from tests.docs.document import ROOT

PAGE = ROOT / "docs" / "how-to" / "production.md"
BINARY = "/opt/hostel/bin/hostel"


def unit() -> str:
    match = re.search(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert match
    return match[1]


def test_its_command_is_one_that_hostel_knows() -> None:
    (command,) = re.findall(r"(?m)^ExecStart=(.*)$", unit())
    binary, name, *arguments = shlex.split(command)
    assert (binary, name) == (BINARY, "serve")
    context = serve.make_context("serve", arguments, resilient_parsing=True)
    assert context.params["listen"] == ("*:80", "[::]:80")
    assert context.params["listen_tls"] == ("*:443", "[::]:443")
    assert context.params["certificates"] == "/etc/letsencrypt/live"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    file = tmp_path / "hostel.service"
    file.write_text(unit().replace(BINARY, str(Path(sys.executable).parent / "hostel")))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert "hostel.service" not in result.stderr
