"""Messages between supervisor, manager, zygote and workers; some carry descriptors.

The hard part: a worker may be hostile, and root reads what it sends. So a channel is a ``SOCK_SEQPACKET`` pair (the
kernel keeps the borders of messages), each message is one JSON list ``[kind, field, ...]`` of bounded size, and every
field is checked against the declared type before anybody sees it. Anything else is a ``PeerError``: close the channel.

Standard library only, Python 3.9: zygotes and workers run this under the interpreter of their sites.
"""

from __future__ import annotations

import array
import json
import math
import os
import socket
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type

from hostel.errors import PeerError

MESSAGE_BYTES = (
    160 * 1024
)  # below the default send buffer (net.core.wmem_default is 212,992), so one packet always fits
DESCRIPTORS = 250  # SCM_MAX_FD is 253, unix(7)
_INT = array.array("i").itemsize
_ANCILLARY_BYTES = socket.CMSG_SPACE(DESCRIPTORS * _INT)

# --- manager -> supervisor -------------------------------------------------------------------------------------------


class Keep(NamedTuple):
    """Keep the attached descriptors, one for each name, and give them to the next manager with their notes."""

    names: Tuple[str, ...]
    notes: Tuple[str, ...]


class Note(NamedTuple):
    """Replace the note of a kept descriptor."""

    name: str
    note: str


class Forget(NamedTuple):
    """Close the kept descriptors of these names; unknown names are ignored."""

    names: Tuple[str, ...]


class Spawn(NamedTuple):
    """Start a program with the attached descriptors.

    ``{0}``, ``{1}`` … in ``argv`` and in the values of ``environment`` become the numbers of the attached descriptors. With
    ``has_output`` the last descriptor is not for its use, but becomes its standard output and error: a tenant's program
    must not hold the terminal of who started the server. ``at_death`` is the signal that it gets when the supervisor
    dies; 0 for a program that notices by itself. ``operations`` is the sandbox plan that is carried out before the program is
    executed. With ``has_room`` the first descriptor is not for its use either, but the warden's whose namespaces the plan
    enters; with ``joins_processes`` the program is born in its namespace for processes.
    """

    name: str
    argv: Tuple[str, ...]
    environment: Dict[str, str]
    directory: str
    has_output: bool
    at_death: int = 0
    operations: Tuple[List[Any], ...] = ()
    has_room: bool = False
    joins_processes: bool = False


class MakeRoom(NamedTuple):
    """Fork the warden of new namespaces, which ``operations`` arrange. Attached: the pipe where it says ``ready``, or why not."""

    name: str
    operations: Tuple[List[Any], ...]


class Signal(NamedTuple):
    """Send a signal to the program started under this name."""

    name: str
    number: int


class Serving(NamedTuple):
    """The manager has finished its start: from now on the supervisor restarts it when it dies."""


class Replace(NamedTuple):
    """Start the next manager as soon as this one ends: it makes room for newly installed code."""


# --- supervisor -> manager -------------------------------------------------------------------------------------------


class Kept(NamedTuple):
    """What an earlier manager asked to keep, with the descriptors attached in the same order."""

    names: Tuple[str, ...]
    notes: Tuple[str, ...]


class Running(NamedTuple):
    """Programs that were started for an earlier manager and are still alive; the last message of a handover."""

    names: Tuple[str, ...]
    pids: Tuple[int, ...]


class Spawned(NamedTuple):
    name: str
    pid: int


class SpawnFailed(NamedTuple):
    name: str
    reason: str


class Exited(NamedTuple):
    """A child ended. ``name`` is empty for an orphan that came to the supervisor as the subreaper."""

    name: str
    pid: int
    status: int


class Stop(NamedTuple):
    """The person at the keyboard, or the machine, wants the server to end."""


class Upgrade(NamedTuple):
    """Whoever runs the server wants newly installed code taken up (SIGHUP)."""


# --- manager -> zygote -----------------------------------------------------------------------------------------------


class Preload(NamedTuple):
    """Import these modules, those that import cleanly in a trial first."""

    modules: Tuple[str, ...]


class StartWorker(NamedTuple):
    """Fork a worker. Attached: listening socket, control channel, log pipe, scoreboard, with ``has_http`` the HTTP socket, and
    with ``has_room`` the warden's pidfd; with ``joins_processes`` the worker is born in its namespace for processes.

    ``operations`` is the sandbox plan as ``[[name, argument, ...], ...]``. ``application`` is ``module:object`` or, for the
    worker that answers a closed site's queue, the front's place for that, with the answer itself in ``page``. ``body`` is the
    most bytes of a request's body; 0 leaves it to the front. One that ``is_measured`` tells how long its imports take; one
    that ``is_fresh`` executes its interpreter anew after the fork. ``virtualenv`` is what a worker of a bare zygote enters.
    """

    site: str
    worker: int
    generation: int
    application: str
    interface: str
    directory: str
    environment: Dict[str, str]
    operations: Tuple[List[Any], ...]
    threads: int
    processes: int
    queue: float
    request: float
    drain: float
    lent_packages: str
    page: str
    has_http: bool = False
    has_room: bool = False
    joins_processes: bool = False
    sent_by_front: Dict[str, str] = {}
    body: int = 0
    idle_ignore: Tuple[str, ...] = ()
    is_measured: bool = False
    virtualenv: str = ""
    is_fresh: bool = False


class KillWorker(NamedTuple):
    pid: int
    number: int


# --- zygote -> manager -----------------------------------------------------------------------------------------------


class Preloaded(NamedTuple):
    """The answer to ``Preload``: what is imported now, what is not and why, and how long it took."""

    imported: Tuple[str, ...]
    refused: Dict[str, str]
    seconds: float


class Forked(NamedTuple):
    site: str
    worker: int
    pid: int


class ForkRefused(NamedTuple):
    site: str
    worker: int
    reason: str


class Outdated(NamedTuple):
    """Not forked: what the zygote was made from is not what lies on the disk, at ``path`` for one. It takes no more orders."""

    site: str
    worker: int
    path: str


class WorkerEnded(NamedTuple):
    site: str
    worker: int
    pid: int
    status: int


# --- worker -> manager -----------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """A step of the start begins now, so many seconds after the fork."""

    name: str
    seconds: float


class InterfaceFound(NamedTuple):
    """The application is loaded and is ``wsgi`` or ``asgi``. An ASGI worker without an HTTP socket waits for one."""

    interface: str


class Ready(NamedTuple):
    """The worker accepts requests. ``modules``: what its site imported that other sites of the environment may share."""

    seconds: float
    modules: Tuple[str, ...]


class Measured(NamedTuple):
    """Of a start that is measured: when the worker was born, by the clock that never goes back, so many seconds after that its
    application was loaded (0: it was not), how many modules its zygote had for it, and its imports as
    ``[module, number of the one it was imported by, begin, duration, owner]``, in microseconds. In parts when it is long."""

    born: float
    loaded: float
    present: int
    imports: Tuple[List[Any], ...]


class Imported(NamedTuple):
    """What it has imported since, of the same kind: many modules are imported by the first request that needs them. Said once,
    before the worker leaves."""

    modules: Tuple[str, ...]


class StartFailed(NamedTuple):
    """The site could not be started. ``sources``: the site's own files that were involved, to be watched."""

    step: str
    reason: str
    hint: str
    traceback: str
    sources: Tuple[str, ...]


# --- manager -> worker -----------------------------------------------------------------------------------------------


class HttpSocket(NamedTuple):
    """The answer to ``InterfaceFound("asgi")``: the listening socket for HTTP is attached."""


class Beat(NamedTuple):
    """Give a sign of life, on the scoreboard: somebody waits for a worker that is free."""


class Drain(NamedTuple):
    """Accept nothing more, finish what runs, then leave."""


MESSAGES: Tuple[Type[Any], ...] = (
    Keep, Note, Forget, Spawn, MakeRoom, Signal, Serving, Replace,
    Kept, Running, Spawned, SpawnFailed, Exited, Stop, Upgrade,
    Preload, StartWorker, KillWorker,
    Preloaded, Forked, ForkRefused, Outdated, WorkerEnded,
    Step, InterfaceFound, Measured, Ready, Imported, StartFailed,
    HttpSocket, Beat, Drain,
)  # fmt: skip


def _is_int(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_str(value: Any) -> bool:
    return type(value) is str


def _is_list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) is list and all(map(check, value))


def _is_dict_of_str(value: Any) -> bool:
    return type(value) is dict and all(map(_is_str, value.values()))  # JSON's keys are always strings


_CHECKS: Dict[str, Callable[[Any], bool]] = {
    "str": _is_str,
    "int": _is_int,
    "bool": lambda value: type(value) is bool,
    "float": lambda value: _is_int(value) or (type(value) is float and math.isfinite(value)),
    "Tuple[str, ...]": _is_list_of(_is_str),
    "Tuple[int, ...]": _is_list_of(_is_int),
    "Dict[str, str]": _is_dict_of_str,
    "Tuple[List[Any], ...]": _is_list_of(lambda value: type(value) is list),
}


def _annotation_text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else annotation.__forward_arg__


_KINDS: Dict[str, Tuple[Type[Any], Tuple[Tuple[str, str], ...]]] = {
    kind.__name__: (kind, tuple((name, _annotation_text(text)) for name, text in kind.__annotations__.items()))
    for kind in MESSAGES
}


# What supervisor and manager say to each other.
_SUPERVISORS = (
    Keep, Note, Forget, Spawn, Signal, Serving, Replace,
    Kept, Running, Spawned, SpawnFailed, Exited, Stop, Upgrade,
)  # fmt: skip
PROTOCOL_VARIABLE = "HOSTEL_PROTOCOL"  # in the environment of a manager: what its supervisor speaks


def protocol() -> str:
    """What differs when a message between supervisor and manager does.

    The supervisor is never replaced while the server runs, so a manager of another Hostel has to speak as it does: else an
    upgrade takes a restart of the server. Between managers, zygotes and workers of different versions there are ``Drain``,
    ``KillWorker`` and ``WorkerEnded``, and these stay as they are.
    """
    return repr([(kind.__name__, *_KINDS[kind.__name__][1]) for kind in _SUPERVISORS])


def encode(message: Any) -> bytes:
    """One message as the bytes of one packet. Raises ``PeerError`` when it is larger than a packet may be."""
    data = json.dumps([type(message).__name__, *message], ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(data) > MESSAGE_BYTES:
        raise PeerError(f"cannot send a {type(message).__name__} message: {len(data)} bytes, {MESSAGE_BYTES} fit")
    return data


def decode(data: bytes) -> Any:
    """The message in one packet; raises ``PeerError`` for anything that is not exactly one declared message."""
    try:
        content = json.loads(data.decode("utf-8", "surrogatepass"))
        if type(content) is not list:
            raise TypeError
        kind_name, *values = content
        kind, fields = _KINDS[kind_name]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PeerError(f"cannot read a message: {type(error).__name__}") from None
    if len(values) != len(fields):
        raise PeerError(f"cannot read a {kind_name} message: {len(values)} fields, {len(fields)} expected")
    for index, (name, annotation) in enumerate(fields):
        if not _CHECKS[annotation](values[index]):
            raise PeerError(f"cannot read a {kind_name} message: {name} is not {annotation}")
        if annotation.startswith("Tuple"):
            values[index] = tuple(values[index])
    return kind(*values)


class Channel:
    """One end of a message channel; owns its socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    @classmethod
    def pair(cls) -> Tuple[Channel, Channel]:
        """Two connected ends."""
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(left), cls(right)

    @classmethod
    def from_descriptor(cls, descriptor: int) -> Channel:
        """A channel over a descriptor that now belongs to it."""
        return cls(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=descriptor))

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Send one message. Raises ``OSError`` when the other side is gone or, without blocking, when it is full."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.socket.sendmsg([encode(message)], ancillary, socket.MSG_NOSIGNAL)

    def receive(self, wait: bool = True) -> Optional[Tuple[Any, List[int]]]:
        """The next message and the descriptors it carried, which now belong to the caller; None when the peer is gone.

        Raises ``BlockingIOError`` when ``wait`` is false and nothing is there, ``PeerError`` for a broken message (its
        descriptors are closed then).
        """
        flags = socket.MSG_CMSG_CLOEXEC | (0 if wait else socket.MSG_DONTWAIT)
        try:
            # Not socket.recv_fds: up to Python 3.13 it forgets the flags.
            data, ancillary, received_flags, _ = self.socket.recvmsg(MESSAGE_BYTES, _ANCILLARY_BYTES, flags)
        except (ConnectionResetError, BrokenPipeError):
            return None
        descriptors: List[int] = []
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors += array.array("i", content[: len(content) // _INT * _INT])
        if not data and not descriptors:
            return None
        try:
            if received_flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise PeerError("cannot read a message: it was cut off")
            return decode(data), descriptors
        except PeerError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
