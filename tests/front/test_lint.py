"""What a lint of nginx's configurations says of ours: nothing that matters."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hostel.front.nginx import render
from tests.front.test_connection import OPTIONS

GIXY = Path(sys.executable).parent / "gixy"
FLAW = "location ~ /there/(.*) { proxy_pass http://$1; }"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="gixy does not run with this Python"),
    pytest.mark.skipif(not GIXY.exists(), reason="gixy is not installed: make venv"),
]


def findings(text: str, folder: Path) -> list[dict[str, Any]]:
    """What gixy finds of medium or high severity."""
    (folder / "nginx.conf").write_text(text)
    command = [str(GIXY), "--format", "json", "-ll", str(folder / "nginx.conf")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr, result.stderr
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_gixy_finds_nothing(tmp_path: Path) -> None:
    text = render(replace(OPTIONS, trusted_proxy=("10.0.0.0/8",)))
    assert findings(text, tmp_path) == []
    flawed = text.replace("location @redirect", f"{FLAW} location @redirect")
    assert [one["plugin"] for one in findings(flawed, tmp_path)] == ["ssrf"]
