"""The zygotes: one for each environment in use, started when needed, replaced when more is learned about what to import.

The hard part is to decide as whom a zygote runs. A zygote that runs as root can fork workers of any user, but executes
the environment's code before it forks; so only an environment that nobody but root can write to gets one. Every other
is served by the zygote of the interpreter that it was made of, which executes nothing else (``bare.py``), or, when even that
is a tenant's, by one that runs as the site's own user, from its first instruction on, and serves that user only.

An order never waits for imports: a zygote starts bare, and one that imports what has been learned starts beside it and
takes over when it is ready. Should one refuse to fork after its imports, a bare one takes its place, and this manager
starts no other for the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hostel.api.views import ZygoteView
from hostel.errors import PeerError, SiteError
from hostel.manager.bare import FEW, BareEnvironments
from hostel.manager.learned import LearnedModules
from hostel.manager.link import SupervisorLink
from hostel.manager.logs import LogReader, ServerLog
from hostel.manager.rooms import Room
from hostel.manager.upgrade import CODE
from hostel.options.python import is_interpreter
from hostel.sandbox import identity as identities
from hostel.sandbox.identity import Identity
from hostel.sandbox.trust import find_base, is_trusted_environment
from hostel.wire import Channel, Preload, Preloaded, Spawn

OWN_ENVIRONMENT = ""  # the name of the Python that Hostel itself runs in
MESSAGES = 5  # more than a zygote has to say about each order
LEARN_SECONDS = 1.0  # what is learned within such a time goes into one new zygote
PREPARE_SECONDS = 180.0  # for all imports, their trials included
REST_SECONDS = 300.0  # the zygote of an environment that no site has used for so long is ended
CURRENT, COMING, RETIRED = "current", "importing", "retired"


@dataclass(frozen=True, slots=True)
class Cell:
    """What a zygote becomes that executes a tenant's code: the tenant, inside the guards of its site.

    ``room``: the site's namespaces, None when it has none; ``joins_processes`` those for processes, too.
    """

    identity: Identity
    operations: tuple[Any, ...]
    room: Room | None
    joins_processes: bool

    @property
    def key(self) -> str:
        """What differs between two that cannot stand for each other."""
        operations = hashlib.sha256(json.dumps(self.operations).encode()).hexdigest()[:16]
        return f"{operations}@{self.room.name if self.room else ''}"


@dataclass(slots=True, eq=False)
class Zygote:
    """A zygote process. ``pid`` is 0 until the supervisor has started it."""

    name: str  # the supervisor's name for it
    key: str
    environment: str
    cell: Cell | None  # None: it runs as we do
    channel: Channel
    state: str
    pid: int = 0
    preloaded: int = 0
    used_at: float = 0.0
    orders: set[tuple[str, int]] = field(default_factory=set)  # workers it was told to fork and that are not reaped
    ordered: int = 0  # how many it was ever told to fork
    messages: int = 0
    output: LogReader | None = None  # what a tenant's zygote writes
    code: str = CODE  # which Hostel it runs

    def note(self) -> str:
        """What the next manager has to know to adopt it."""
        cell = None
        if self.cell is not None:
            room = self.cell.room.name if self.cell.room else ""
            cell = [asdict(self.cell.identity), self.cell.operations, room, self.cell.joins_processes]
        return json.dumps([self.key, self.environment, self.state, self.preloaded, cell, self.code])


def interpreter_of(environment: str) -> str:
    """The path of an environment's Python. Raises ``SiteError`` when there is none."""
    if environment == OWN_ENVIRONMENT:
        return sys.executable
    if is_interpreter(environment):
        return environment
    path = os.path.join(environment, "bin", "python")
    if not os.path.exists(path):
        raise SiteError(
            f"{environment} is no environment: there is no {path}",
            f"make it (python3 -m venv {environment}), or set environment to one that exists",
        )
    return path


def zygote_command(python: str, channel: str, *, is_bare: bool = False) -> tuple[str, ...]:
    """What a zygote is started with; ``channel`` is the descriptor's number."""
    entry = os.path.join(os.path.dirname(os.path.dirname(__file__)), "zygote", "__main__.py")
    return (python, "-I", "-X", "utf8", entry, channel, *(["bare"] if is_bare else []))


class Zygotes:
    """All zygotes. ``on_message`` gets what they say about workers; None instead of a message when one is gone."""

    def __init__(
        self,
        learned: LearnedModules,
        bare: BareEnvironments,
        link: SupervisorLink,
        on_message: Callable[[Zygote, Any], None],
    ) -> None:
        self.learned = learned
        self.bare = bare
        self.by_name: dict[str, Zygote] = {}
        self._link = link
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._current: dict[str, Zygote] = {}  # by key: those that take orders
        self._coming: dict[str, Zygote] = {}  # by key: those that are importing
        self._is_learning: set[str] = set()
        self._is_bare: set[str] = set()  # keys of zygotes that better import nothing
        self._count = 0

    def find(self, environment: str | None, cell: Cell | None = None) -> Zygote:
        """The zygote that forks workers in this environment, for all users or in this cell; started when there is none.

        Raises ``SiteError`` when the environment has no interpreter.
        """
        name = environment or OWN_ENVIRONMENT
        key = f"{name}@{cell.key}" if cell else name
        if key not in self._current:
            self._current[key] = self._start(key, name, cell, CURRENT)
            self._prepare(self._current[key])
        self._current[key].used_at = self._loop.time()
        return self._current[key]

    def find_bare(self, environment: str, is_shared: Callable[[], bool]) -> str:
        """The empty virtualenv whose zygote forks the workers of this one; empty when it has a zygote of its own.

        ``is_shared`` tells whether several sites name it. Raises ``SiteError`` when it is neither to be trusted nor made of an
        interpreter that is.
        """
        is_trusted = is_trusted_environment(environment)
        if is_trusted and (environment in self._current or len(self._current) < FEW or is_shared()):
            return ""
        if base := find_base(environment):
            return self.bare.find(base)
        if os.geteuid() == 0 and not is_trusted:
            raise SiteError(f"{environment} is being changed", "reload the site when that is over")
        return ""

    def _start(self, key: str, environment: str, cell: Cell | None, state: str) -> Zygote:
        python = interpreter_of(environment)
        self._count += 1
        ours, theirs = Channel.pair()
        zygote = Zygote(f"zygote/{os.getpid()}.{self._count}", key, environment, cell, ours, state)
        self._link.keep(zygote.name, ours.fileno(), zygote.note())
        variables = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
        command = zygote_command(python, "{0}", is_bare=self.bare.has(environment))
        descriptors = [theirs.fileno()]
        more: dict[str, Any] = {}
        if cell is not None:
            if cell.room is not None:
                descriptors.insert(0, cell.room.descriptor)
            more = {
                "operations": tuple(list(operation) for operation in cell.operations),
                "has_room": cell.room is not None,
                "joins_processes": cell.room is not None and cell.joins_processes,
            }
            reader, writer = os.pipe()
            descriptors.append(writer)
            zygote.output = LogReader(reader, ServerLog(), f"zygote of {environment}")
        order = Spawn(zygote.name, command, variables, "/", has_output=cell is not None, **more)
        self._link.spawn(order, descriptors)
        theirs.close()
        if cell is not None:
            os.close(writer)
        self._listen(zygote)
        return zygote

    def _prepare(self, zygote: Zygote) -> None:
        """Start the one that imports what has been learned, if it would know more than this one."""
        modules = self.learned.modules(zygote.environment or sys.prefix)
        if zygote.cell and zygote.cell.room and zygote.cell.room.descriptor < 0:
            return  # it is ending
        if modules and zygote.key not in self._coming and zygote.key not in self._is_bare:
            coming = self._start(zygote.key, zygote.environment, zygote.cell, COMING)
            coming.channel.send(Preload(modules))
            self._coming[zygote.key] = coming
            self._loop.call_later(PREPARE_SECONDS, self._give_up, coming)

    def _give_up(self, coming: Zygote) -> None:
        if self._coming.get(coming.key) is coming:
            print(
                f"hostel: the zygote of {coming.environment or sys.prefix} hangs in its imports",
                file=sys.stderr,
                flush=True,
            )
            self.kill(coming)

    def adopt(self, name: str, descriptor: int, note: str, pid: int, rooms: Mapping[str, Room]) -> None:
        """Take over a zygote that an earlier manager started.

        One that is importing would keep orders waiting: it ends. One of another Hostel gets no orders: it would not
        understand them, or fork what is out of date.
        """
        key, environment, state, preloaded, noted, code = json.loads(note)
        cell = None
        if noted is not None:
            identity, operations, room, joins_processes = noted
            identity = Identity(**{**identity, "groups": tuple(identity["groups"])})
            cell = Cell(identity, tuple(operations), rooms.get(room), joins_processes)
        zygote = Zygote(name, key, environment, cell, Channel.from_descriptor(descriptor), state, pid, preloaded)
        zygote.code = code
        self._listen(zygote)
        if state == CURRENT and code != CODE:
            self._change(zygote, RETIRED)
        elif state == CURRENT:
            self._current[key] = zygote
        elif state == COMING:
            self.kill(zygote)

    def settle(self) -> None:
        """All workers have been adopted: end what nobody needs, and begin again what was importing."""
        for zygote in list(self.by_name.values()):
            self.end_if_done(zygote)
        for zygote in list(self._current.values()):
            if not zygote.preloaded:
                self._prepare(zygote)

    def _listen(self, zygote: Zygote) -> None:
        self.by_name[zygote.name] = zygote
        zygote.channel.socket.setblocking(False)
        self._loop.add_reader(zygote.channel.fileno(), self._read, zygote)
        zygote.used_at = self._loop.time()
        if zygote.environment != OWN_ENVIRONMENT:
            self._loop.call_later(REST_SECONDS, self._rest, zygote)

    def _read(self, zygote: Zygote) -> None:
        while zygote.channel.fileno() >= 0:
            try:
                received = zygote.channel.receive(wait=False)
            except BlockingIOError:
                return
            except PeerError:
                received = None
            if received is None:
                self.drop(zygote)
                self._on_message(zygote, None)
                return
            message, descriptors = received
            for descriptor in descriptors:
                os.close(descriptor)
            zygote.messages += 1
            if zygote.messages > MESSAGES * (1 + zygote.ordered):
                print(
                    f"hostel: the zygote of {zygote.environment} says too much: ending it", file=sys.stderr, flush=True
                )
                self._link.signal(zygote.name, signal.SIGKILL)
                self.drop(zygote)
                self._on_message(zygote, None)
                return
            if isinstance(message, Preloaded):
                zygote.preloaded = len(message.imported)
                self.learned.remember_trial(zygote.environment or sys.prefix, message)
                self._take_over(zygote)
            else:
                self._on_message(zygote, message)

    def _take_over(self, zygote: Zygote) -> None:
        """It has imported what it should: from now on it takes the orders."""
        if self._coming.pop(zygote.key, None) is not zygote:
            return
        old = self._current.get(zygote.key)
        self._current[zygote.key] = zygote
        self._change(zygote, CURRENT)
        if old is not None:
            self._change(old, RETIRED)
            self.end_if_done(old)

    def _change(self, zygote: Zygote, state: str) -> None:
        zygote.state = state
        self._link.note(zygote.name, zygote.note())

    def distrust(self, zygote: Zygote) -> bool:
        """It refuses to fork, perhaps because of what it imports; whether the next one, which is bare, may be asked."""
        if not zygote.preloaded:
            return False
        self._is_bare.add(zygote.key)
        self.retire(zygote)
        return True

    def retire(self, zygote: Zygote) -> None:
        """Give it no more orders: the next worker of its environment comes from a new one."""
        if self._current.get(zygote.key) is not zygote:
            return  # it has been replaced already
        del self._current[zygote.key]
        self._change(zygote, RETIRED)
        if zygote.key in self._coming:
            self.kill(self._coming[zygote.key])

    def kill(self, zygote: Zygote) -> None:
        """End a zygote that does not answer; the supervisor reports what becomes of its workers."""
        self._link.signal(zygote.name, signal.SIGKILL)
        self.drop(zygote)

    def learn(self, zygote: Zygote, modules: tuple[str, ...]) -> None:
        """A worker of this zygote's environment has imported these modules."""
        if self.learned.learn(zygote.environment or sys.prefix, modules) and zygote.key not in self._is_learning:
            self._is_learning.add(zygote.key)
            self._loop.call_later(LEARN_SECONDS, self._learned, zygote.key)

    def _learned(self, key: str) -> None:
        self._is_learning.discard(key)
        if key in self._coming:  # it does not know the newest yet
            self._is_learning.add(key)
            self._loop.call_later(LEARN_SECONDS, self._learned, key)
        elif key in self._current:
            with contextlib.suppress(SiteError):  # the environment is gone: its next order will say so
                self._prepare(self._current[key])

    def end_if_done(self, zygote: Zygote) -> None:
        """End a zygote that has no worker left and takes no orders any more, or has had none for a while."""
        if not zygote.orders and zygote.state == RETIRED:
            self.drop(zygote)
        zygote.used_at = self._loop.time()

    def _rest(self, zygote: Zygote) -> None:
        """End the current zygote of an environment that is not in use; look again later when it is."""
        if zygote.name not in self.by_name:
            return
        idle = 0.0 if zygote.orders or zygote.state != CURRENT else self._loop.time() - zygote.used_at
        if idle < REST_SECONDS:
            self._loop.call_later(REST_SECONDS - idle, self._rest, zygote)
            return
        self.drop(zygote)
        if zygote.key in self._coming:
            self.kill(self._coming[zygote.key])

    def is_alive(self, zygote: Zygote | None) -> bool:
        """Whether orders can be given to a zygote, as far as is known."""
        return zygote is not None and zygote.name in self.by_name

    def drop(self, zygote: Zygote) -> None:
        """Forget a zygote: it is dead, or ends now because nobody holds the other end of its channel."""
        if self.by_name.pop(zygote.name, None) is None:
            return
        for table in (self._current, self._coming):
            if table.get(zygote.key) is zygote:
                del table[zygote.key]
        self._loop.remove_reader(zygote.channel.fileno())
        zygote.channel.close()
        if zygote.output is not None:
            zygote.output.drain()
            zygote.output.close()
        self._link.forget(zygote.name)

    def views(self) -> list[ZygoteView]:
        """What the status shows."""
        own = identities.own_identity()
        return [
            ZygoteView(
                environment=self.bare.base_of(zygote.environment) or zygote.environment or sys.prefix,
                user=zygote.cell.identity.name if zygote.cell else own.name if own else "root",
                pid=zygote.pid,
                workers=len(zygote.orders),
                preloaded=zygote.preloaded,
                state=zygote.state,
            )
            for zygote in self.by_name.values()
        ]
