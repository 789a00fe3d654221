"""The picture of the first screen for the README, made of what ``hostel serve examples`` really prints.

``python -m tests.docs.first_screen`` makes it anew; as root, because only in namespaces of its own does a server have the
usual port and folders for sure. A test says when that is due.
"""

from __future__ import annotations

import html
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.docs.document import ROOT

PICTURE = ROOT / "docs" / "images" / "first-screen.svg"
COMMAND = "hostel serve examples"
COLUMNS = 76
ROWS = 30
END = "Ctrl-C"  # stands in the last line of the screen
OWN_MACHINE = """
ip link set lo up
for folder in /run /var/lib /var/log; do mount -t tmpfs tmpfs $folder; done
exec hostel serve examples
"""
THEME = TerminalTheme(
    (27, 31, 42),
    (222, 226, 236),
    [(27, 31, 42), (240, 113, 120), (158, 206, 106), (224, 175, 104), (122, 162, 247), (187, 154, 247), (125, 207, 255),
     (222, 226, 236)],
)  # fmt: skip


def capture() -> str:
    """What the command prints on a terminal until it waits, with its colours."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    server = subprocess.Popen(
        ["unshare", "--mount", "--net", "sh", "-ec", OWN_MACHINE], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TERM": "xterm-256color", "LANG": "C.UTF-8"},
    )  # fmt: skip
    os.close(theirs)
    said = ""
    try:
        while END not in said:
            said += os.read(ours, 65536).decode()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        os.close(ours)
    return said.replace("\r\n", "\n").strip("\n")


def draw(screen: str) -> str:
    """The picture of a terminal with this screen."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "dim"), (COMMAND, "bold")))
    console.print(Text.from_ansi(screen))
    picture = console.export_svg(title="", theme=THEME, unique_id="first-screen")
    picture = re.sub(
        r" *@font-face \{.*?\}\n", "", picture, flags=re.DOTALL
    )  # a README's picture must not load anything
    fonts = "font-family: Fira Code, DejaVu Sans Mono, Menlo, Consolas, monospace"
    return re.sub(r"[ \t]+$", "", picture.replace("font-family: Fira Code, monospace", fonts), flags=re.MULTILINE)


def lines_of(picture: str) -> list[str]:
    """The text of the picture, line by line."""
    rows: dict[float, dict[float, str]] = {}
    for x, y, text in re.findall(r'<text class="[^"]+-r\d+" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', picture):
        rows.setdefault(float(y), {})[float(x)] = html.unescape(text).replace("\xa0", " ")
    return ["".join(parts[x] for x in sorted(parts)).strip() for _, parts in sorted(rows.items())]


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(capture()))
