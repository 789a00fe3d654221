"""A Hostel installed in a place of its own, where a test can put a newer version, or a broken one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import hostel

VERSION = f'__version__ = "{hostel.__version__}"'


class Installation:
    """A virtualenv with a copy of Hostel; all else comes from the environment of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = str(folder / "bin/python")
        (packages,) = folder.glob("lib/python*/site-packages")
        self.package = packages / "hostel"
        shutil.copytree(Path(hostel.__file__).parent, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def install(self, version: str) -> None:
        """Put another version in the place of the one that is there: all files are new."""
        for path in self.package.rglob("*.py"):
            self.write(path, path.read_text())
        self.write(self.package / "__init__.py", f'"""Hostel."""\n\n__version__ = "{version}"\n')

    def replace(self, module: str, old: str, new: str) -> None:
        """Change the text of a module."""
        path = self.package / module
        text = path.read_text()
        assert old in text, (module, old)
        self.write(path, text.replace(old, new, 1))

    @staticmethod
    def write(path: Path, text: str) -> None:
        """As an installer does: a new file in the place of the old one."""
        temporary = path.with_suffix(".new")
        temporary.write_text(text)
        temporary.rename(path)
