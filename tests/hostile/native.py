"""Compiles what tenants try in native code: a test without a compiler fails, as what it would show is not shown."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "native.c"


def compile_native(target: Path) -> None:
    """Make the program that everybody may execute."""
    done = subprocess.run(
        ["cc", "-O1", "-Wall", "-Wno-unused-result", "-o", str(target), str(SOURCE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, f"{done.stderr}\n(make system-packages installs gcc)"
    target.chmod(0o755)
