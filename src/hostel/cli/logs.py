"""``hostel logs``: a site's error log and access log, as they are and as they grow."""

from __future__ import annotations

import contextlib
import os
import re
import time
from datetime import datetime
from typing import BinaryIO

import click

from hostel.cli.output import command, connect, json_option, print_json, say, server_option
from hostel.errors import HostError

LOOK_SECONDS = 0.1
BLOCK_BYTES = 65536
LAST_BYTES = 64 * 2**20  # that are looked through for the last lines


@command(
    epilog="""\b
Examples:
  hostel logs blog                 the last lines of both logs
  hostel logs blog -f              and what comes, until Ctrl-C
  hostel logs blog --errors -n 100
"""
)
@click.argument("site")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "-n", "--lines", default=20, type=click.IntRange(0), metavar="N",
    help="How many lines to begin with, of each log. Default: 20.",
)  # fmt: skip
@click.option("--errors", "which", flag_value="error.log", help="Only the error log: what the application writes.")
@click.option("--access", "which", flag_value="access.log", help="Only the access log: who asked for what.")
@server_option
@json_option
def logs(site: str, follow: bool, lines: int, which: str | None, run_dir: str | None, as_json: bool) -> None:
    """Show what a site's application writes, and who asked it for what.

    With --json, print where they are.
    """
    answer = connect(run_dir).call("logs", site=site)
    if as_json:
        print_json(answer)
        return
    tails = [Tail(path) for path in answer["files"] if which in (None, os.path.basename(path))]
    found = [(moment, tail, line) for tail in tails for moment, line in with_moments(tail.last(lines))]
    for _, tail, line in sorted(found, key=lambda one: one[0]):
        show(tail, line)
    if not found and not follow:
        say(f"nothing has been logged for site {site} yet", err=True)
    while follow:
        for tail in tails:
            for line in tail.new():
                show(tail, line)
        time.sleep(LOOK_SECONDS)


def show(tail: Tail, line: str) -> None:
    is_error = tail.name.startswith("error")
    say("error  " if is_error else "access ", end="", fg="yellow" if is_error else "blue")
    say(line)


def with_moments(lines: list[str]) -> list[tuple[float, str]]:
    """Lines with their times; one that has none belongs to the one before it."""
    found = []
    moment = 0.0
    for line in lines:
        moment = moment_of(line) or moment
        found.append((moment, line))
    return found


def moment_of(line: str) -> float | None:
    """When a line was written, in seconds since the epoch.

    The access log counts in whole seconds and writes at the end of a request: its lines come last in their second.
    """
    with contextlib.suppress(ValueError):
        if match := re.match(r"\d{4}-\d\d-\d\dT\S+", line):
            return datetime.fromisoformat(match[0]).timestamp()
        if match := re.search(r"\[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]", line):
            return datetime.strptime(match[1], "%d/%b/%Y:%H:%M:%S %z").timestamp() + 0.9999
    return None


class Tail:
    """A log file that may be missing yet, grow, or be turned over."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self._file: BinaryIO | None = None
        self._rest = b""

    def last(self, count: int) -> list[str]:
        """The last lines, those of the file that was turned over last included; ``new`` goes on behind them."""
        file = self._open()
        if file is None:
            return []
        end = begin = file.seek(0, os.SEEK_END)
        data = b""
        while begin and count and data.count(b"\n") <= count and len(data) < LAST_BYTES:
            begin = max(0, begin - max(BLOCK_BYTES, len(data)))
            file.seek(begin)
            data = file.read(end - begin)
        file.seek(end)
        *lines, self._rest = data.split(b"\n")
        found = [_decode(line) for line in lines[-count:]] if count else []
        if begin == 0 and len(found) < count and not self.path.endswith(".1"):
            with contextlib.closing(Tail(f"{self.path}.1")) as before:
                found = [*before.last(count - len(found)), *found]
        return found

    def new(self) -> list[str]:
        """Lines that came since the last look."""
        lines = self._read()
        if not lines and self._is_turned_over():
            lines = self._read()  # what was written between the two looks
            if self._rest:
                lines.append(_decode(self._rest))
            self.close()
        return lines

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._rest = b""

    def _open(self) -> BinaryIO | None:
        if self._file is None:
            try:
                self._file = open(self.path, "rb")
            except FileNotFoundError:
                return None
            except OSError as error:
                raise HostError(f"cannot read {self.path}: {error.strerror}", "see who may read it") from None
        return self._file

    def _read(self) -> list[str]:
        file = self._open()
        if file is None:
            return []
        *lines, self._rest = (self._rest + file.read()).split(b"\n")
        return [_decode(line) for line in lines]

    def _is_turned_over(self) -> bool:
        if self._file is None:
            return False
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return status.st_ino != os.fstat(self._file.fileno()).st_ino or status.st_size < self._file.tell()


def _decode(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")
