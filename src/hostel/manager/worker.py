"""A worker as the manager sees it: channel, log, scoreboard, and the journey of its start."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import signal
import time
from collections.abc import Callable
from typing import Any

from hostel.api.views import DeathView, RequestView
from hostel.errors import PeerError
from hostel.machine.health import Case, Pulse
from hostel.machine.journey import Failure, Journey
from hostel.manager.logs import LogReader, SiteLog, escape_text
from hostel.manager.zygotes import Zygote
from hostel.wire import Channel
from hostel.worker import scoreboard
from hostel.worker.main import FAILED_TO_START, LOST_DESCRIPTORS, NOT_YOURS

MOST_REQUESTS = 8  # of a worker that are worth showing
MESSAGES = 100  # more than an honest worker ever sends; one that sends more is not listened to any longer

NOTED = (
    "attempts",
    "code",
    "digest",
    "has_http",
    "is_asgi",
    "ordered_at",
    "phase",
    "pid",
    "ready_after",
    "room",
    "said_pid",
    "slots",
    "uid",
)


class ManagedWorker:
    """One worker. ``pid`` is 0 until it is forked; ``phase`` is what the status shows."""

    __slots__ = (
        "attempts", "board", "case", "channel", "code", "digest", "generation", "has_http", "is_asgi", "is_to_weigh",
        "journey", "kill_hint", "kill_reason", "last_failure", "left_at", "log", "memory", "messages", "number",
        "ordered_at", "phase", "pid", "pulse", "ready_after", "resident", "room", "said_pid", "seen", "site", "slots", "uid",
        "used_at", "uses", "zygote",
    )  # fmt: skip

    def __init__(self, site: str, number: int, generation: int, slots: int) -> None:
        self.site = site
        self.number = number
        self.generation = generation
        self.zygote: Zygote | None = None
        self.said_pid = 0  # what its zygote calls it, which may be in another namespace than we are
        self.room = ""  # the name of the one it is in
        self.attempts = 0  # how often it was ordered
        self.slots = slots
        self.pid = 0
        self.uid = -1  # as whom it runs
        self.phase = "ordered"
        self.is_asgi = False
        self.digest = ""  # of the site that it runs
        self.code = ""  # which Hostel it runs
        self.has_http = False  # it was given the HTTP socket at its start
        self.journey = Journey()
        self.kill_reason = ""
        self.kill_hint = ""
        self.last_failure: Failure | None = None
        self.channel: Channel | None = None
        self.log: LogReader | None = None
        self.board: memoryview[float] | None = None
        self.messages = 0
        self.case = Case()  # of its requests that take too long
        self.pulse = Pulse()
        self.used_at = 0.0  # when it was last seen to do something
        self.left_at = -math.inf  # when it was told to leave
        self.uses = 0  # requests that count as use and had begun then
        self.seen = 0  # requests that it had served then
        self.memory = 0  # bytes, as weighed; 0 before
        self.resident = 0  # bytes, at that time
        self.is_to_weigh = False
        self.ordered_at = time.monotonic()
        self.ready_after = 0.0  # seconds from the order to readiness

    @property
    def name(self) -> str:
        """How the supervisor and the logs call it."""
        return f"{self.site}/{self.generation}.{self.number}"

    @property
    def tag(self) -> str:
        return f"{self.generation}.{self.number}" if self.number >= 0 else "that is measured"

    @property
    def ready_at(self) -> float:
        return self.ordered_at + self.ready_after

    def names(self) -> tuple[str, str, str]:
        """The names under which its descriptors are kept: channel, log, scoreboard."""
        return f"worker/{self.name}/channel", f"worker/{self.name}/log", f"worker/{self.name}/board"

    def note(self) -> str:
        """What the next manager has to know to adopt it."""
        values = {name: getattr(self, name) for name in NOTED}
        return json.dumps({**values, "zygote": self.zygote.name if self.zygote else ""})

    @classmethod
    def from_note(cls, site: str, number: int, generation: int, note: str) -> tuple[ManagedWorker, str]:
        """The worker that a note describes, and its zygote's name."""
        values = json.loads(note)
        worker = cls(site, number, generation, values["slots"])
        for name in NOTED:
            if name in values:  # the note may be an older Hostel's
                setattr(worker, name, values[name])
        return worker, values["zygote"]

    def open(
        self,
        channel: Channel,
        log: int,
        board: int,
        site_log: SiteLog,
        on_message: Callable[[ManagedWorker, Any, list[int]], None],
    ) -> None:
        """Begin to listen to it. Takes over the channel and the log's descriptor; the scoreboard's is closed by the caller."""
        self.channel = channel
        self.log = LogReader(log, site_log, self.tag)
        self.board = scoreboard.attach(board)
        asyncio.get_running_loop().add_reader(channel.fileno(), self.listen, on_message)

    def listen(self, on_message: Callable[[ManagedWorker, Any, list[int]], None]) -> None:
        """Take in what the worker says. Its exit is reported by its parent.

        Rubbish, or too much, ends the listening; the last message is then the ``PeerError``.
        """
        while self.channel is not None:
            try:
                received = self.channel.receive(wait=False)
            except BlockingIOError:
                return
            except PeerError as error:
                received = error, []
            if received is None:
                self._hush()
                return
            self.messages += 1
            if self.messages > MESSAGES and not isinstance(received[0], PeerError):
                received = PeerError("there are too many messages"), received[1]
            if isinstance(received[0], PeerError):
                self._hush()
                on_message(self, *received)
                return
            on_message(self, *received)

    def _hush(self) -> None:
        if self.channel is not None:
            asyncio.get_running_loop().remove_reader(self.channel.fileno())

    def send(self, message: Any, descriptors: tuple[int, ...] = ()) -> None:
        if self.channel is not None:
            try:
                self.channel.socket.setblocking(False)
                self.channel.send(message, descriptors)
            except OSError:
                pass  # it is dead, or does not read: its drain limit ends it

    def close(self) -> None:
        """The worker is gone."""
        self._hush()
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if self.log is not None:
            self.log.drain()
            self.log.close()
        if self.board is not None:
            self.board.release()
            self.board = None

    def reading(self) -> scoreboard.Reading:
        return scoreboard.read(self.board, self.slots) if self.board is not None else scoreboard.Reading()

    def field(self, number: int) -> float:
        """What its scoreboard says of the worker as a whole, by the numbers of ``worker.scoreboard``."""
        value = self.board[number] if self.board is not None else 0.0
        return value if math.isfinite(value) else 0.0

    def requests(self) -> list[scoreboard.Request]:
        """What it says of the requests that it runs, or ran last."""
        return list(scoreboard.requests(self.board, self.slots)) if self.board is not None else []

    def share(self, reading: scoreboard.Reading) -> float:
        """How much of it is occupied: 1 when it cannot take another request."""
        return reading.load if self.is_asgi else reading.busy / self.slots

    def make_failure(
        self, reason: str, hint: str = "", *, traceback: str = "", sources: tuple[str, ...] = (), is_hosts: bool = False
    ) -> Failure:
        """A record of what has gone wrong with this worker; in words that may be the worker's own, made fit to be shown."""
        return Failure(
            id=secrets.token_hex(4),
            time=time.time(),
            site=self.site,
            generation=self.generation,
            step=self.journey.last,
            reason=escape_text(reason).replace("\n", " "),
            hint=escape_text(hint).replace("\n", " "),
            traceback=escape_text(traceback),
            output=self.log.tail if self.log else "",
            journey=self.journey,
            sources=sources,
            is_hosts=is_hosts,
        )

    def make_exit_failure(self, code: int, *, is_out_of_memory: bool = False, is_by_limit: bool = False) -> Failure:
        """The record of its end, from its exit status, or the negative number of the signal that ended it."""
        if self.last_failure is not None:
            return self.last_failure
        step = self.journey.last
        hint = ""
        if self.kill_reason:
            reason, hint = self.kill_reason, self.kill_hint
            if self.phase == "ordered":
                reason += f"; it was at step {step!r}"
        elif code < 0:
            reason = f"worker {self.tag} was killed by {signal_name(-code)}"
            if self.phase != "ready":
                reason += f" at step {step!r}"
            hint = "the error log has what it said last"
            if is_out_of_memory:
                reason += ", because memory ran out"
                hint = "give the site, or the machine, more memory, or fewer workers"
            if is_by_limit:
                reason += " that the site may have (limits.memory)"
        elif code == LOST_DESCRIPTORS:
            reason, hint = "the application has closed descriptors that belong to its worker", NOT_YOURS
        elif code == FAILED_TO_START:
            reason, hint = "the worker could not say why it did not start", "the error log has what it said last"
        else:
            reason = f"worker {self.tag} exited by itself with status {code}"
            hint = "an application must not end its process"
        return self.make_failure(reason, hint)

    def make_death(self, failure: Failure, code: int, *, is_out_of_memory: bool) -> DeathView:
        """The record of its end as it is kept and shown."""
        now = time.monotonic()
        requests = self.requests()
        shown = [each for each in requests if each.is_running] or requests[:1]
        return DeathView(
            time=failure.time,
            worker=self.tag,
            pid=self.pid,
            age=round(max(0.0, now - self.ready_at), 3) if self.ready_after else 0.0,
            reason=failure.reason,
            signal=signal_name(-code) if code < 0 else "",
            status=max(0, code),
            out_of_memory=is_out_of_memory,
            requests=[view_of_request(each, now) for each in shown[:MOST_REQUESTS]],
        )


def view_of_request(request: scoreboard.Request, now: float) -> RequestView:
    """A request as it is shown; its parts are what a client and a worker say they are, made fit for that."""
    method, url, number = (escape_text(part).replace("\n", " ") for part in (request.method, request.url, request.id))
    is_aging = request.is_running and request.began
    return RequestView(method, url, number, round(now - request.began, 3) if is_aging else 0.0)


def describe(request: RequestView) -> str:
    """A request in words."""
    age = f" for {request.age:.0f} s" if request.age else ""
    return f"{request.method} {request.url} (request {request.id or '-'}){age}"


def sentence_of(death: DeathView) -> str:
    """A death in words, with what the worker was doing."""
    running = [describe(request) for request in death.requests if request.age]
    last = [f"its last was {describe(request)}" for request in death.requests]
    return "; ".join([death.reason, *([f"it ran {' and '.join(running)}"] if running else last[:1])])


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
