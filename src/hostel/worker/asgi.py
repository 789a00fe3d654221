"""The ASGI worker: uvicorn over the inherited socket, counted on the scoreboard, drained by order.

The hard part: whether a site is ASGI is known only when its application has been loaded, and by then visitors already
wait on the site's first socket, where the front speaks uwsgi. So an ASGI worker listens on both: HTTP goes to uvicorn,
and whoever still comes by uwsgi is told ``X-Accel-Redirect: @asgi``, which makes the front send the same request again,
body and method kept, to the HTTP socket. From the second request on the front finds the HTTP socket by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import math
import socket
import sys
import time
from typing import Any, Callable, FrozenSet, Set, Tuple

from hostel.errors import PeerError
from hostel.protocol import uwsgi
from hostel.worker.counted import Counted
from hostel.worker.load import LoadError
from hostel.worker.queueing import QueueBound
from hostel.worker.running import Running
from hostel.worker.stuck import obey_signals
from hostel.worker.wsgi import let_front_finish

REDIRECT = b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: @%b\r\nContent-Length: 0\r\n\r\n"
MARKED_SECONDS = 0.2  # so soon the front knows of the HTTP socket of a worker that is ready
CHANGE_SECONDS = 1  # so long at most it takes until a worker is told to drain
REQUEST_SECONDS = 60
ACCEPT_TURNS = 5  # of the loop, from accept(2) until the protocol has the connection; asyncio takes 3
ARRIVAL_SECONDS = 2  # the front sends its request as soon as it is connected
# Connections that asyncio accepts in each turn of its loop; as fast as it can do something about them, and the others wait in
# the queue, where another worker may take them, and where their time is bounded. uvloop takes all, and sets the queue's length.
ACCEPTED = 1
BACKLOG = 65535  # the kernel lowers it to net.core.somaxconn


async def redirect_to_http(connection: socket.socket, ready_at: float, drained: asyncio.Event) -> None:
    """Send one request that came by uwsgi to the HTTP socket; see the module's text.

    One that came when the front had long known the HTTP socket means that this is known no more: the site's code has
    become WSGI. It is sent back to where it came from, as soon as this worker does not listen there any longer.
    """
    loop = asyncio.get_running_loop()
    with connection:
        try:
            if await asyncio.wait_for(_read_request(connection), REQUEST_SECONDS) > ready_at + MARKED_SECONDS:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(drained.wait(), CHANGE_SECONDS)
            await loop.sock_sendall(connection, REDIRECT % (b"uwsgi" if drained.is_set() else b"asgi"))
        except (PeerError, ValueError, OSError, asyncio.TimeoutError):
            pass  # nobody is there to be told


async def _read_request(connection: socket.socket) -> float:
    """Take in a whole request and forget it, for the front keeps it for the second attempt; the time when it arrived."""
    data = await _read_until(connection, b"", uwsgi.HEADER_BYTES)
    end = uwsgi.HEADER_BYTES + uwsgi.block_size(data)
    data = await _read_until(connection, data, end)
    variables = uwsgi.variables(data[uwsgi.HEADER_BYTES : end])
    left = int(variables.get("CONTENT_LENGTH") or 0) - (len(data) - end)
    while left > 0:
        left -= len(await _read_until(connection, b"", 1))
    return float(variables.get("HTTP_X_REQUEST_START", "t=0")[2:])


async def _read_until(connection: socket.socket, data: bytes, size: int) -> bytes:
    """``data`` and what comes, until it is at least ``size`` bytes. Raises ``ConnectionError``."""
    while len(data) < size:
        more = await asyncio.get_running_loop().sock_recv(connection, 65536)
        if not more:
            raise ConnectionError("the front closed the connection within the request")
        data += more
    return data


def serve(
    application: Any,
    listener: socket.socket,
    http: socket.socket,
    control: int,
    take_order: Callable[[], bool],
    *,
    board: memoryview[float],
    label: str,
    queue: float,
    request: float,
    drain: float,
    body: int,
    idle_ignore: FrozenSet[str],
    lent_packages: str,
    on_ready: Callable[[], None],
) -> None:
    """Serve until ``take_order`` says to drain; returns when all is answered or ``drain`` seconds have passed.

    Raises ``LoadError`` when uvicorn is not to be had or the application's lifespan fails to start.
    """
    running = Running(board, request, idle_ignore)
    counted = Counted(application, running, QueueBound(queue), label, body)
    uvicorn, config = load_uvicorn(counted, drain, lent_packages)
    let_front_finish()

    class Server(uvicorn.Server):  # type: ignore[name-defined,misc]
        """uvicorn's server with readiness, and an end, told by us; it would poll ten times a second for both."""

        def capture_signals(self) -> Any:
            return contextlib.nullcontext()  # a worker is stopped through its channel

        async def startup(self, sockets: Any = None) -> None:
            loop = asyncio.get_running_loop()
            self.drained = asyncio.Event()
            ready_at = math.inf

            def obey() -> None:
                if take_order():
                    loop.remove_reader(control)
                    self.drained.set()

            # Not asyncio's server: it accepts until nothing is left, and blocks then if a WSGI worker of the site listens,
            # too, because they share the socket and what it is set to.
            def accept() -> None:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # somebody else was quicker
                connection.setblocking(False)
                task = loop.create_task(redirect_to_http(connection, ready_at, self.drained))
                self.redirects.add(task)
                task.add_done_callback(self.redirects.discard)

            await super().startup(sockets=sockets)
            self.redirects: Set[asyncio.Task[None]] = set()
            loop.add_reader(listener, accept)
            loop.add_reader(control, obey)
            obey_signals(running.interrupt)
            on_ready()
            ready_at, counted.ready_at = time.time(), time.monotonic()

        async def main_loop(self) -> None:
            await self.on_tick(0)
            await self.drained.wait()
            # A server that is closed drops connections which it has accepted and not yet taken up.
            for listening in (listener, http):
                asyncio.get_running_loop().remove_reader(listening)
            await self.wait_arrived()

        async def wait_arrived(self) -> None:
            """Wait until every connection that has been accepted has said what it wants: uvicorn would drop it unheard."""
            for _ in range(ACCEPT_TURNS):
                await asyncio.sleep(0)
            deadline = time.monotonic() + ARRIVAL_SECONDS
            is_arriving = True
            while is_arriving and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
                unheard = [each for each in self.server_state.connections if getattr(each, "cycle", each) is None]
                is_arriving = bool(unheard or self.redirects)

    http = Listening(fileno=http.detach())
    server = Server(config)
    try:
        server.run(sockets=[http])
    except SystemExit:
        if server.started:
            raise  # the application's own
        reason = (counted.failure.strip().splitlines() or ["it gave no reason"])[-1]  # often it is a whole traceback
        raise LoadError(
            f"the application's lifespan failed to start: {reason}", "see the error log", counted.failure
        ) from None


class Listening(socket.socket):
    """A listening socket whose queue stays as long as it was made; asyncio would make it as short as its turns."""

    def listen(self, *_: Any) -> None:
        pass


class LentPackages(importlib.abc.MetaPathFinder):
    """Finds uvicorn and what it needs in Hostel's own packages, for a site whose environment has no uvicorn.

    It is asked last, and finds these names only: nothing else of Hostel's leaks into a site. It is not asked at all where
    the site has a uvicorn: that one may not go with our versions of what it needs.
    """

    NAMES = frozenset(("uvicorn", "h11", "click", "httptools", "websockets", "typing_extensions"))

    def __init__(self, path: str) -> None:
        self.path = path

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if path is None and name in self.NAMES:
            return importlib.machinery.PathFinder.find_spec(name, [self.path])
        return None


def load_uvicorn(application: Counted, drain: float, lent_packages: str) -> Tuple[Any, Any]:
    """uvicorn from the site's environment, or else the copy in ``lent_packages``, and its configuration.

    Raises ``LoadError`` when it does not run here: the copy may be written for newer Pythons than the site's.
    """
    if lent_packages and importlib.util.find_spec("uvicorn") is None:
        sys.meta_path.append(LentPackages(lent_packages))
    try:
        import uvicorn
        import uvicorn.server

        config = uvicorn.Config(
            application,
            lifespan="auto",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=True,
            forwarded_allow_ips="*",  # the only peer is the front: nobody else can enter the socket's directory
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, int(drain) - 1),  # before the manager's patience ends
            backlog=BACKLOG if importlib.util.find_spec("uvloop") else ACCEPTED,
        )
        config.load()  # imports the protocols, and what those need
    except Exception as error:  # not ImportError alone: a newer language fails with a TypeError or a SyntaxError, too
        raise LoadError(
            f"this is an ASGI application and uvicorn cannot be imported: {error}",
            f"install uvicorn into the site's environment ({sys.prefix})",
        ) from None
    return uvicorn, config
