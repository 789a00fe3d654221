"""Every command in the documents is run, and what it prints is what the document says.

In a block marked ``console``, a line that begins with ``$`` is a command and the lines behind it are its output, in which
``…`` stands for anything within a line, and a line ``…`` for any lines. ``hostel serve`` is started in the background and
ends with the document. Each document has a folder of its own, and its commands follow each other there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hostel.api.client import Client
from hostel.errors import HostelError
from tests.support.server import descendants_of, make_folder, wait_for

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = sorted(
    path for path in (ROOT / "docs").rglob("*.md") if "```console" in path.read_text() and "reference" not in path.parts
)


@dataclass(frozen=True)
class Command:
    line: int
    text: str
    output: tuple[str, ...]


def read_commands(path: Path) -> list[Command]:
    """The commands of a document, with the outputs that it shows."""
    found: list[Command] = []
    is_console = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("```"):
            is_console = line == "```console"
        elif is_console and line.startswith("$ "):
            found.append(Command(number, line[2:], ()))
        elif is_console and found and is_unfinished(found[-1].text):
            found[-1] = Command(found[-1].line, f"{found[-1].text}\n{line}", ())
        elif is_console and found:
            found[-1] = Command(found[-1].line, found[-1].text, (*found[-1].output, line.rstrip()))
    return found


def is_unfinished(text: str) -> bool:
    """Whether the next line still belongs to a command: a backslash at its end, or a here-document that is open."""
    here = re.search(r"<<'?(\w+)'?", text)
    return text.endswith("\\") or (here is not None and text.splitlines()[-1] != here[1])


def matches(expected: tuple[str, ...], actual: str) -> bool:
    """Whether a real output is what the document shows, with ``…`` for what differs."""
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += "[^\n]*?".join(re.escape(re.sub(r"\s+", " ", part)) for part in line.split("…")) + r" ?\n"
    text = "".join(re.sub(r"\s+", " ", line.rstrip()) + "\n" for line in actual.splitlines())
    return re.fullmatch(pattern + r"(?:\s*\n)*", text) is not None


@pytest.fixture
def folder() -> Iterator[Path]:
    path = make_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_a_document(document: Path, folder: Path) -> None:
    environment = {
        **{name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "LANG"))},
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(folder),
        "HOSTEL_RUN_DIR": str(folder / "run"),
        "HOSTEL_STATE_DIR": str(folder / "state"),
        "HOSTEL_LOG_DIR": str(folder / "log"),
        "HOSTEL_CHECKOUT": str(ROOT),
        "COLUMNS": "100",
    }
    servers: list[subprocess.Popen[bytes]] = []
    here = folder
    try:
        for command in read_commands(document):
            where = f"{document.relative_to(ROOT)}, line {command.line}: {command.text}"
            if command.text.startswith("cd "):
                here = here / command.text[3:].strip()
                assert here.is_dir(), where
                continue
            if command.text.startswith("hostel serve"):
                output = (folder / "serve.output").open("w+")
                servers.append(
                    subprocess.Popen(
                        ["bash", "-c", f"exec {command.text}"], cwd=here, env=environment, stdin=subprocess.DEVNULL,
                        stdout=output, stderr=output, start_new_session=True,
                    )
                )  # fmt: skip
                wait_for(lambda: is_answering(folder / "run"), where)
                continue
            result = subprocess.run(
                ["bash", "-c", command.text], cwd=here, env=environment, capture_output=True, text=True,
                timeout=600, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            said = result.stdout + result.stderr
            is_error_shown = any(line.startswith(("error:", "Traceback")) for line in command.output)
            assert result.returncode == 0 or is_error_shown, f"{where}\nended with {result.returncode}:\n{said}"
            if command.output:
                assert matches(command.output, said), (
                    f"{where}\nshould print:\n" + "\n".join(command.output) + f"\nprinted:\n{said}"
                )
    finally:
        for server in servers:
            left = descendants_of(server.pid)
            if server.poll() is None:
                server.send_signal(signal.SIGINT)
            try:
                server.wait(10)
            finally:
                for pid in left:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass


def is_answering(run_dir: Path) -> bool:
    try:
        return bool(Client(str(run_dir)).call("status")["server"]["front"])
    except HostelError:
        return False


def test_there_are_documents_with_commands() -> None:
    assert len(DOCUMENTS) >= 3
    assert all(read_commands(document) for document in DOCUMENTS)
