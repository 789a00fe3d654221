"""An ASGI application with what the server has to do around it: refuse, tell the front and the log, count.

It knows how the front talks to a worker; what becomes of a request that takes too long is ``running``'s.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from typing import Any, Awaitable, Callable, Dict, Iterable, List, Set, Tuple

from hostel.worker.clock import WaitClock
from hostel.worker.queueing import QueueBound
from hostel.worker.response import DROPPED, KNOWN_NAMES, TOKEN, split_vary
from hostel.worker.running import Running, Scope, id_of, request_of
from hostel.worker.sendfile import redirect_headers
from hostel.worker.stuck import RequestTooLong
from hostel.worker.telling import FRONT_PAGES, complain_of, is_gone

UNBUFFERED = (b"x-accel-buffering", b"no")
SETTLED = frozenset((b"content-length", b"cache-control", b"expires", b"x-accel-buffering", b"x-accel-redirect"))
BROKEN = re.compile(rb"[\r\n\0]")
_DROPPED = frozenset(name.encode() for name in DROPPED)
_names: Set[bytes] = set()  # that are names
Receive = Callable[[], Awaitable[Dict[str, Any]]]
Send = Callable[[Dict[str, Any]], Awaitable[None]]

# What the front says of forwarding; anything else that begins so is a client's claim.
FORWARDED = frozenset((b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"))


class Counted:
    """The application with its requests and WebSockets counted, and the queue time noted for the access log.

    It is not asked when a request's body is larger than ``body`` bytes; 0 is without a bound. The front has the body already,
    and says how large it is.
    """

    def __init__(self, application: Any, running: Running, bound: QueueBound, label: str, body: int = 0) -> None:
        self.application = application
        self.running = running
        self.bound = bound
        self.ready_at = math.inf  # monotonic; waiting counts from then
        self.clock = WaitClock.begin()
        self.label = label
        self.body = body or math.inf
        self.failure = ""  # what the lifespan said when it could not start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":

            async def send_observed(message: Dict[str, Any]) -> None:
                if message["type"] == "lifespan.startup.failed":
                    self.failure = str(message.get("message", ""))
                await send(message)

            await self.application(scope, receive, send_observed)
            return
        waited, headers, is_to_be_kept = 0.0, [], False
        for name, value in scope["headers"]:
            if name == b"x-request-start":
                try:
                    waited = self.clock.waited(float(value[2:]), time.time(), time.monotonic())
                except ValueError:
                    pass
            elif name == b"content-length" and int(value) > self.body:
                await refuse(send, 413)
                return
            elif name == b"x-hostel-keep":
                is_to_be_kept = True
                continue
            elif name == b"x-hostel-mount":
                mount_at(scope, value.decode("utf-8", "surrogateescape"))
                continue
            elif name[:12] == b"x-forwarded-" and name not in FORWARDED:
                continue
            headers.append((name, value))
        scope["headers"] = headers
        note = (b"x-hostel", f"queue={waited:.3f} worker={self.label}".encode())
        task, running = asyncio.current_task(), self.running
        is_started = False

        async def send_noted(message: Dict[str, Any]) -> None:
            nonlocal is_started
            if message["type"] in ("http.response.start", "websocket.accept"):
                headers = redirect_headers(check_head(message))
                is_passed_on = message["type"] == "http.response.start" and is_stream(headers)
                headers += [note, UNBUFFERED] if is_passed_on else [note]
                message = {**message, "headers": heed_vary(headers, is_to_be_kept)}
                running.progress(task, is_event_stream(message["headers"]))
            elif message.get("more_body"):
                running.progress(task)
            is_started = True
            await send(message)

        if scope["type"] == "http" and not self._may_run(waited, receive):
            await refuse(send_noted, 503, self.bound.retry_after(time.monotonic()))
            return
        running.begin(task, scope)
        try:
            await self.application(scope, receive, send_noted)
        except (asyncio.CancelledError, RequestTooLong) as error:
            if isinstance(error, asyncio.CancelledError) and task not in running.overdue:
                raise
            complain_of(error, f"{scope.get('method')} {request_of(scope)}", id_of(scope))
            if not is_started:
                await refuse(send_noted, 504)
        except Exception:
            if scope["type"] == "http" and not is_started:
                await refuse(send_noted, 500)
            raise
        finally:
            running.end(task)

    def _may_run(self, waited: float, receive: Receive) -> bool:
        """Whether a request has not waited for too long, and for nothing."""
        if waited <= self.bound.noticed:
            if self.bound.standing_since:
                self.bound.relax()
            return True
        now = time.monotonic()
        return self.bound.may_run(min(waited, max(0.0, now - self.ready_at)), has_left(receive), now)


def has_left(receive: Receive) -> bool:
    """Whether the front has closed the connection; uvicorn notices only when the loop has gone round."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    connection = transport.get_extra_info("socket") if transport is not None else None
    return connection is not None and is_gone(connection.fileno())


def check_head(message: Dict[str, Any]) -> List[Tuple[bytes, bytes]]:
    """The headers of a response that are the application's to send: those of the connection are not, nor are ours.

    Raises ``ValueError`` for what would end the head, or another answer: uvicorn takes any status, and the front passes one
    below 200 on as the beginning of an answer, whose end is whatever the application has sent.
    """
    status = message.get("status", 200)
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"status {status!r} is not a number from 200 to 599")
    headers, length = [], None
    for name, value in message.get("headers", ()):
        name = name.lower()
        if name not in _names:
            if not name or not TOKEN.issuperset(name.decode("latin-1")):
                raise ValueError(f"header name {name!r} is not a token (RFC 9110, section 5.6.2)")
            if len(_names) < KNOWN_NAMES:
                _names.add(name)
        if name == b"content-length":
            if not value.isdigit() or length not in (None, value):
                raise ValueError(f"Content-Length {value!r} is not a number, or another one than before")
            if length is not None:
                continue
            length = value
        if name not in _DROPPED:
            headers.append((name, value))
    if BROKEN.search(b"".join([value for _, value in headers])):
        raise ValueError("a header contains CR, LF or NUL")
    return headers


def is_event_stream(headers: Iterable[Tuple[bytes, bytes]]) -> bool:
    """Whether a response is a stream of events (HTML, section 9.2)."""
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers
    )


def is_stream(headers: Iterable[Tuple[bytes, bytes]]) -> bool:
    """Whether the front is to pass a response on as it comes, instead of when it has some of it.

    That is one whose length is not known, because nobody waits here for a slow client; but not one that may be kept, which
    has to be whole for that, nor one of which the application says itself how it is to be passed on.
    """
    names = {name.lower() for name, _ in headers}
    return is_event_stream(headers) or names.isdisjoint(SETTLED)


def heed_vary(headers: List[Tuple[bytes, bytes]], is_to_be_kept: bool) -> List[Tuple[bytes, bytes]]:
    """The headers with what they say of Vary as the front wants to have it."""
    varies = [header for header in headers if header[0].lower() == b"vary"]
    if not varies or (len(varies) < 2 and not is_to_be_kept):
        return headers
    joined = ", ".join(value.decode("latin-1") for _, value in varies)
    vary = [(name.lower().encode(), value.encode("latin-1")) for name, value in split_vary(joined, is_to_be_kept)]
    return [*(header for header in headers if header not in varies), *vary]


async def refuse(send: Send, status: int, retry_after: int = 0) -> None:
    """Answer with the front's page for this status."""
    place = FRONT_PAGES[str(status)].encode()
    headers = [(b"content-length", b"0"), (b"x-accel-redirect", place)]
    if retry_after:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def mount_at(scope: Scope, path: str) -> None:
    """Tell the application under which path of another site it was asked for, as the ASGI specification wants it: the
    path stays whole. One that the front and uvicorn read differently is the application's to refuse."""
    if scope["path"] == path or scope["path"].startswith(f"{path}/"):
        scope["root_path"] = path
