"""The control socket: who may call, and what the calls do.

The hard part is that nothing a caller does may disturb the server: whoever is not allowed is sent away before a byte of
his is read, a message has a bounded size and checked arguments, a caller that is slow or gone is dropped, and a long
answer is made in parts, so that requests in between find the manager free.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import os
import socket
import struct
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import hostel
from hostel.api import framing
from hostel.api.calls import (
    CALLS,
    AddArguments,
    EnvironmentsArguments,
    LogsArguments,
    MeasureArguments,
    OrderArguments,
    PauseArguments,
    PurgeArguments,
    RemoveArguments,
    StatusArguments,
    UpgradeArguments,
)
from hostel.api.views import LogsView, PurgedView, RemovedView, UpgradeView, as_dict
from hostel.errors import Bug, HostelError, PeerError, SiteError, UsageError
from hostel.machine import events as e
from hostel.machine.state import State
from hostel.manager.environments import make_environments
from hostel.manager.probe import Probe
from hostel.manager.server import Server
from hostel.manager.status import make_explanation, make_session, make_status

PATH = "control.sock"
READ_SECONDS = 10.0  # for a caller to say what it wants
WRITE_SECONDS = 10.0  # for a caller to take a part of the answer
REMOVE_SECONDS = 120.0
ANSWER_SECONDS = 0.1  # for the caller of an upgrade to have its answer
SITES = 200  # in one part of an answer

Answer = AsyncIterator[dict[str, Any]]


async def status(server: Server, arguments: StatusArguments) -> Answer:
    names = arguments.sites or ([] if arguments.brief else sorted({*server.runner.sites, *server.runner.plan.problems}))
    check_names(server, arguments.sites)
    async for part in _views(server, names):
        yield part


async def start(server: Server, arguments: OrderArguments) -> Answer:
    async for part in _order(server, arguments, e.StartOrdered(), {State.SERVING, State.FAILED, State.COLD}):
        yield part


async def stop(server: Server, arguments: OrderArguments) -> Answer:
    async for part in _order(server, arguments, e.StopOrdered(), {State.DISABLED}):
        yield part


async def pause(server: Server, arguments: PauseArguments) -> Answer:
    for name in _names(server, arguments):
        if server.runner.sites[name].machine.site.app is None and not arguments.all:
            raise UsageError(f"cannot pause site {name}: it has files only, and nobody waits for those")
    if arguments.limit >= server.options.request:
        raise UsageError(
            f"cannot pause for {arguments.limit:g} s: the front gives up after {server.options.request:g} s",
            "choose a shorter --limit, or a longer --request for hostel serve",
        )
    async for part in _order(server, arguments, e.PauseOrdered(arguments.limit), set(State) - {State.STARTING}):
        yield part


async def reload(server: Server, arguments: OrderArguments) -> Answer:
    """One site at once; many a few at a time, each reported when it is done."""
    names = _names(server, arguments)
    if len(names) == 1:
        wanted = {State.SERVING, State.FAILED, State.COLD, State.DISABLED, State.DRAINING}
        async for part in _order(server, arguments, e.ReloadOrdered(), wanted):
            yield part
    elif arguments.wait:
        yield as_dict(make_status(server, []))
        async for name in server.roller.roll(names):
            yield {"sites": as_dict(make_status(server, [name]))["sites"]}
    else:
        server.roller.begin(names)
        async for part in _views(server, names):
            yield part


def _names(server: Server, arguments: OrderArguments) -> Sequence[str]:
    """The sites that an order is for. Raises ``UsageError`` or ``SiteError`` when it cannot be for them."""
    names = sorted(server.runner.sites) if arguments.all else list(dict.fromkeys(arguments.sites))
    check_names(server, names)
    if not names and not arguments.all:
        raise UsageError("name a site, or --all")
    for name in names:
        if name not in server.runner.sites:
            problem = server.runner.plan.problems[name][0]
            raise SiteError(f"site {name} has no valid site file: {problem}", problem.remedy)
    return names


async def _order(server: Server, arguments: OrderArguments, event: e.Event, settled: set[State]) -> Answer:
    names = _names(server, arguments)
    for name in names:
        server.runner.dispatch(name, event)
    if arguments.wait:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(arguments.seconds):
                for name in names:
                    await server.wait_settled(name, settled)
    async for part in _views(server, names):
        yield part


async def _views(server: Server, names: Sequence[str]) -> Answer:
    """The status of these sites, in parts."""
    yield as_dict(make_status(server, names[:SITES]))
    for first in range(SITES, len(names), SITES):
        await asyncio.sleep(0)
        yield {"sites": as_dict(make_status(server, names[first : first + SITES]))["sites"]}


def check_names(server: Server, names: Sequence[str]) -> None:
    """Raises ``UsageError`` with a suggestion when there is no such site."""
    known = {*server.runner.sites, *server.runner.plan.problems} - {""}
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            some = ", ".join(sorted(known)[:10]) + (", ..." if len(known) > 10 else "")
            hint = f"did you mean {close[0]}?" if close else f"there are: {some}" if known else "there is no site yet"
            raise UsageError(f"there is no site {name[:100]!r}", hint)


async def upgrade(server: Server, _: UpgradeArguments) -> Answer:
    version = await server.upgrade()
    yield as_dict(UpgradeView(hostel.__version__, version, os.getpid()))
    asyncio.get_running_loop().call_later(ANSWER_SECONDS, server.make_room)


async def logs(server: Server, arguments: LogsArguments) -> Answer:
    check_names(server, [arguments.site])
    folder = os.path.join(server.options.log_dir, arguments.site)
    yield as_dict(LogsView(arguments.site, [os.path.join(folder, file) for file in ("error.log", "access.log")]))


async def explain(server: Server, arguments: LogsArguments) -> Answer:
    check_names(server, [arguments.site])
    yield as_dict(make_explanation(server, arguments.site))


async def measure(server: Server, arguments: MeasureArguments) -> Answer:
    check_names(server, [arguments.site])
    managed = server.runner.sites.get(arguments.site)
    if managed is None or managed.machine.site.app is None:
        raise SiteError(
            f"cannot start {arguments.site}: it has no processes", "a site of files alone is served by the front"
        )
    probe = Probe(server.runner.workers, managed, arguments.path)
    yield as_dict(await probe.measure(arguments.seconds))


async def environments(server: Server, _: EnvironmentsArguments) -> Answer:
    yield as_dict(make_environments(server))


async def session(server: Server, arguments: LogsArguments) -> Answer:
    check_names(server, [arguments.site])
    yield as_dict(make_session(server, arguments.site))


async def add(server: Server, arguments: AddArguments) -> Answer:
    server.add(arguments.name, arguments.text, is_replacing=arguments.replace)
    yield as_dict(make_status(server, [arguments.name]))


async def remove(server: Server, arguments: RemoveArguments) -> Answer:
    check_names(server, arguments.sites)
    for name in arguments.sites:
        server.remove(name)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REMOVE_SECONDS):
            for name in arguments.sites:
                while name in server.runner.sites:
                    await asyncio.sleep(0.02)
    yield as_dict(RemovedView(arguments.sites))


async def purge(server: Server, arguments: PurgeArguments) -> Answer:
    check_names(server, arguments.sites)
    yield as_dict(PurgedView(server.purge(None if arguments.all else arguments.sites)))


HANDLERS: dict[str, Callable[[Server, Any], Answer]] = {
    "status": status, "start": start, "stop": stop, "pause": pause, "reload": reload, "logs": logs, "explain": explain,
    "environments": environments, "measure": measure, "session": session,
    "add": add, "remove": remove, "purge": purge, "upgrade": upgrade,
}  # fmt: skip


def caller_of(sock: Any) -> int:
    """The user id at the other end of a unix socket: the kernel's word (SO_PEERCRED, unix(7)), not the caller's."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", data)[1])


class Control:
    """Answers calls on the control socket; only root and the user who started the server may call."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._listening: asyncio.Server | None = None

    async def listen(self) -> None:
        """Begin to listen, or begin anew, where the working directory is now."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(PATH)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)  # of the whole process: nothing else may run until it is back
        try:
            sock.bind(PATH)
        except OSError:
            sock.close()
            raise
        finally:
            os.umask(old)
        self._listening = await asyncio.start_unix_server(self._serve, sock=sock)

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)  # what has been drained has been taken
        try:
            try:
                async for part in self._answer(reader, writer):
                    await _send(writer, part)
                await _send(writer, {"end": True})
            except HostelError as error:
                await _send(writer, {"error": {"kind": error.kind, "message": str(error), "hint": error.hint}})
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # the caller is gone, or as good as gone
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        if caller_of(writer.get_extra_info("socket")) not in (0, os.geteuid()):
            raise UsageError("only root and the user who started the server may control it")
        async with asyncio.timeout(READ_SECONDS):
            table = await framing.read_frame(reader)
        call = CALLS.get(str(table.pop("call", "")))
        if call is None:
            raise PeerError("cannot answer: there is no such call", "client and server may be of different versions")
        arguments = call.read(table)
        try:
            async for part in HANDLERS[call.name](self.server, arguments):
                yield part
        except (HostelError, ConnectionError, TimeoutError):
            raise
        except Exception as error:
            print(f"hostel: this is a bug in Hostel, in {call.name}, please report it:", file=sys.stderr)
            traceback.print_exc()
            raise Bug(
                f"cannot answer {call.name}: {type(error).__name__}", "the server has printed the details"
            ) from None


async def _send(writer: asyncio.StreamWriter, value: dict[str, Any]) -> None:
    writer.write(framing.pack(value))
    async with asyncio.timeout(WRITE_SECONDS):
        await writer.drain()
