"""Running what a document shows.

In a block marked ``console``, a line that begins with ``$`` is a command and the lines behind it are its output, in which
``…`` stands for anything within a line, and a line ``…`` for any lines. ``hostel serve`` is started in the background and
ends with the document. Each document has a folder of its own, and its commands follow each other there.

``python -m tests.docs.document docs/tutorial.md`` prints a document's commands with their real outputs, for its author.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from hostel.api.client import Client
from hostel.errors import HostelError
from tests.support.server import descendants_of, free_port, make_folder, wait_for

ROOT = Path(__file__).parent.parent.parent
DOCUMENTED_PORT, DOCUMENTED_TLS_PORT = 8000, 8443
SECONDS = 600.0  # for a command: some install packages
# What only looks is repeated while it does not show what it should: a change takes effect within a second, and a reader
# is slower than a test.
LOOKING = ("curl ", "hostel status", "hostel logs")
PATIENCE_SECONDS = 10.0
# A command may fail only where the document shows that it does.
FAILURE = re.compile(r"^(error:|Traceback)|(?<!no )\bproblems?\b", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    line: int
    section: str  # the heading above it
    text: str
    output: tuple[str, ...] = ()


def read_commands(path: Path) -> list[Command]:
    """The commands of a document, with the outputs that it shows."""
    found: list[Command] = []
    is_console, section = False, ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("```"):
            is_console = line == "```console"
        elif is_console and line.startswith("$ "):
            found.append(Command(number, section, line[2:]))
        elif is_console and found and is_unfinished(found[-1].text):
            found[-1] = Command(found[-1].line, section, f"{found[-1].text}\n{line}")
        elif is_console and found:
            found[-1] = Command(found[-1].line, section, found[-1].text, (*found[-1].output, line.rstrip()))
        elif not is_console and line.startswith("#"):
            section = line.lstrip("# ")
    return found


def is_unfinished(text: str) -> bool:
    """Whether the next line still belongs to a command: a backslash at its end, or a here-document that is open."""
    here = re.search(r"<<'?(\w+)'?", text)
    return text.endswith("\\") or (here is not None and text.splitlines()[-1] != here[1])


def matches(expected: tuple[str, ...], actual: str) -> bool:
    """Whether a real output is what the document shows, with ``…`` for what differs. The width of spaces is nothing."""
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += "[^\n]*?".join(re.escape(re.sub(r"\s+", " ", part)) for part in line.split("…")) + r" ?\n"
    text = "".join(re.sub(r"\s+", " ", line.rstrip()) + "\n" for line in actual.splitlines())
    return re.fullmatch(pattern + r"(?:\s*\n)*", text) is not None


@dataclass
class Walk:
    """One run through a document, as a reader with two terminals."""

    folder: Path = field(default_factory=make_folder)
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.here = self.folder
        kept = ("PIP_", "SSL_", "LANG")
        self.environment = {
            **{name: os.environ[name] for name in os.environ if name.startswith(kept)},
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.folder),
            "HOSTEL_RUN_DIR": str(self.folder / "run"),
            "HOSTEL_STATE_DIR": str(self.folder / "state"),
            "HOSTEL_LOG_DIR": str(self.folder / "log"),
            "HOSTEL_LISTEN": f"127.0.0.1:{self.port}",
            "COLUMNS": "100",
        }

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def run(self, command: Command) -> tuple[int, str]:
        """Run one command; its exit status and what it printed, with the port that the document names."""
        text = command.text.replace(f":{DOCUMENTED_PORT}", f":{self.port}")
        text = re.sub(rf"(?<=[: ]){DOCUMENTED_TLS_PORT}\b", str(self.tls_port), text)
        if text.startswith("cd "):
            self.here = self.here / text[3:].strip()
            return int(not self.here.is_dir()), ""
        if text.startswith("hostel serve"):
            return 0, self._as_documented(self._serve(text, command))
        result = subprocess.run(
            ["bash", "-c", text], cwd=self.here, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        return result.returncode, self._as_documented(result.stdout)

    def check(self, command: Command, name: str) -> None:
        """Run one command, and fail when it does not do what the document shows."""
        where = f"{name}, line {command.line}: {command.text}"
        deadline = time.monotonic() + PATIENCE_SECONDS
        code, said = self.run(command)
        while command.text.startswith(LOOKING) and not matches(command.output, said) and time.monotonic() < deadline:
            time.sleep(0.1)
            code, said = self.run(command)
        assert code == 0 or FAILURE.search("\n".join(command.output)), f"{where}\nended with {code}:\n{said}"
        if command.output:
            shown = "\n".join(command.output)
            assert matches(command.output, said), f"{where}\nshould print:\n{shown}\nprinted:\n{said}"

    def _serve(self, text: str, command: Command) -> str:
        for server in self.servers:
            _end(server)
        path = self.folder / "serve.output"
        with path.open("wb") as output:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {text}"], cwd=self.here, env=self.environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self.servers.append(server)

        def is_ready() -> bool:
            assert server.poll() is None, f"{text} ended:\n{path.read_text()}"
            return self._is_answering() and "Ctrl-C" in path.read_text()

        wait_for(is_ready, text)
        return path.read_text()

    def _is_answering(self) -> bool:
        try:
            return bool(self.client.call("status")["server"]["front"])
        except HostelError:
            return False

    @property
    def client(self) -> Client:
        return Client(str(self.folder / "run"))

    def _as_documented(self, text: str) -> str:
        for real, documented in ((self.port, DOCUMENTED_PORT), (self.tls_port, DOCUMENTED_TLS_PORT)):
            text = text.replace(f":{real}", f":{documented}")
        return text.replace(f" --run-dir {self.environment['HOSTEL_RUN_DIR']}", "")

    def end(self) -> None:
        try:
            for server in self.servers:
                _end(server)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End a server as Ctrl-C does; if it will not, by all means."""
    left = descendants_of(server.pid)
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
    try:
        server.wait(30)
    finally:
        for pid in (server.pid, *left) if server.poll() is None else left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def print_transcript(path: Path) -> None:
    with Walk() as walk:
        for command in read_commands(path):
            if command.text.startswith(LOOKING):
                time.sleep(1.5)  # as a reader
            code, said = walk.run(command)
            print(f"$ {command.text}\n{said}", end="", flush=True)
            if code:
                print(f"[exit status {code}]", flush=True)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print_transcript(Path(argument))
