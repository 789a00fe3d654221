"""``hostel logs``: a site's error log and access log, as they are and as they grow."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from datetime import datetime
from typing import BinaryIO

import click

from hostel.cli.output import command, connect, json_option, print_json, say, server_option
from hostel.errors import HostError

LOOK_SECONDS = 0.1
LINGER_SECONDS = 15.0  # the front keeps a log open for up to 10 s after it has been turned over
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


class OpenLog:
    """A log file from where one is to go on."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.rest = b""
        self.until = math.inf  # monotonic time from which on nobody writes to it any more

    def lines(self) -> list[str]:
        """The lines that have come to their ends since the last time."""
        *lines, self.rest = (self.rest + self.file.read()).split(b"\n")
        return [_decode(line) for line in lines]

    def last(self) -> list[str]:
        """What is left, if it has no end: then it is a line as well."""
        self.file.close()
        return [_decode(self.rest)] if self.rest else []


class Tail:
    """A log that may be missing yet, grow, or be turned over; the front goes on with the old file for a while then."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self._now: OpenLog | None = None
        self._before: list[OpenLog] = []  # turned over, and perhaps still written to

    def last(self, count: int) -> list[str]:
        """The last lines, those of the file that was turned over last included; ``new`` goes on behind them."""
        log = self._open()
        if log is None:
            return []
        file = log.file
        end = begin = file.seek(0, os.SEEK_END)
        data = b""
        while begin and count and data.count(b"\n") <= count and len(data) < LAST_BYTES:
            begin = max(0, begin - max(BLOCK_BYTES, len(data)))
            file.seek(begin)
            data = file.read(end - begin)
        file.seek(end)
        *lines, log.rest = data.split(b"\n")
        found = [_decode(line) for line in lines[-count:]] if count else []
        if begin == 0 and len(found) < count and not self.path.endswith(".1"):
            with contextlib.closing(Tail(f"{self.path}.1")) as before:
                found = [*before.last(count - len(found)), *found]
        return found

    def new(self) -> list[str]:
        """Lines that came since the last look."""
        lines = [line for log in self._before for line in log.lines()]
        while self._before and time.monotonic() > self._before[0].until:
            lines += self._before.pop(0).last()
        log = self._open()
        if log is None:
            return lines
        lines += log.lines()
        if self._is_turned_over(log):
            lines += log.lines()  # what was written between the two looks
            log.until = time.monotonic() + LINGER_SECONDS
            self._before.append(log)
            self._now = None
            lines += self.new()
        return lines

    def close(self) -> None:
        for log in (*self._before, self._now):
            if log is not None:
                log.file.close()
        self._before, self._now = [], None

    def _open(self) -> OpenLog | None:
        if self._now is None:
            try:
                self._now = OpenLog(open(self.path, "rb"))
            except FileNotFoundError:
                return None
            except OSError as error:
                raise HostError(f"cannot read {self.path}: {error.strerror}", "see who may read it") from None
        return self._now

    def _is_turned_over(self, log: OpenLog) -> bool:
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return status.st_ino != os.fstat(log.file.fileno()).st_ino or status.st_size < log.file.tell()


def _decode(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")
