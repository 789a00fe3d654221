"""One chat room: a small FastAPI application with a WebSocket, server-sent events and a JSON endpoint.

The room lives in this process, so the site has one worker; see chat.toml. What was said last is kept in a file while
the worker sleeps.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

HERE = Path(__file__).parent
# Hostel gives each site a writable folder of its own. Nothing is written beside the code, which may belong to
# somebody else than the user that the site runs as.
STATE = Path(os.environ.get("STATE_DIRECTORY", HERE / "state"))
HISTORY = STATE / "history.json"

REMEMBERED = 50  # messages that a newcomer is shown
TEXT_LENGTH = 500
NAME_LENGTH = 30
INBOX_LENGTH = 100
# A worker that leaves waits for its responses to end, up to the site's limits.drain (30 seconds if not set), and one
# without an end would hold it up that long. So the clock stops by itself; the browser's EventSource comes back at once.
CLOCK_SECONDS = 20

Message = dict[str, Any]


def now() -> datetime:
    return datetime.now(UTC)


class Room:
    """Who is here and what was said. Everything in it happens on one event loop, so it needs no locks."""

    def __init__(self) -> None:
        self.inboxes: set[asyncio.Queue[Message]] = set()
        self.history: deque[Message] = deque(maxlen=REMEMBERED)

    def enter(self) -> asyncio.Queue[Message]:
        """A newcomer's inbox, with what was said before in it."""
        inbox: asyncio.Queue[Message] = asyncio.Queue(INBOX_LENGTH)
        for message in self.history:
            inbox.put_nowait(message)
        self.inboxes.add(inbox)
        self.tell_count()
        return inbox

    def leave(self, inbox: asyncio.Queue[Message]) -> None:
        self.inboxes.discard(inbox)
        self.tell_count()

    def say(self, name: str, text: str) -> None:
        message = {"kind": "said", "name": name, "text": text, "time": now().isoformat(timespec="seconds")}
        self.history.append(message)
        self.tell(message)

    def tell_count(self) -> None:
        self.tell({"kind": "people", "count": len(self.inboxes)})

    def tell(self, message: Message) -> None:
        """Put a message into all inboxes. Somebody too slow to empty his misses it, and holds up nobody."""
        for inbox in self.inboxes:
            with suppress(asyncio.QueueFull):
                inbox.put_nowait(message)

    def load(self) -> None:
        with suppress(FileNotFoundError, ValueError):  # ValueError: not JSON; an empty room is better than none
            self.history.extend(json.loads(HISTORY.read_text()))

    def save(self) -> None:
        """Keep the history, all or nothing: a file half written would be no history at all."""
        STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = HISTORY.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(list(self.history)))
        unfinished.replace(HISTORY)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """What is before ``yield`` happens before the first request, what is behind it after the last.

    A worker that is killed does not come to the end: what must not be lost belongs into a database at once.
    """
    app.state.room = Room()
    app.state.room.load()
    app.state.started = now()
    yield
    app.state.room.save()


# FastAPI's pages of documentation fetch scripts from elsewhere, and these examples work without a network.
app = FastAPI(title="Chat", lifespan=lifespan, docs_url=None, redoc_url=None)
# With Hostel the front serves these files and the request never comes here; this line is for: uvicorn chat:app
app.mount("/static", StaticFiles(directory=HERE / "static"))


@app.get("/", include_in_schema=False)
async def index() -> FileResponse:
    return FileResponse(HERE / "index.html")


@app.get("/api/room")
async def describe_room() -> dict[str, Any]:
    """How many are here, what was said last, and since when this worker runs."""
    room: Room = app.state.room
    return {"people": len(room.inboxes), "started": app.state.started, "messages": list(room.history)}


@app.get("/clock")
async def show_clock() -> StreamingResponse:
    """The server's time, once a second, as server-sent events."""
    # Without the second header nginx would collect the events and pass them on by the page.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(tick(), media_type="text/event-stream", headers=headers)


async def tick() -> AsyncIterator[str]:
    yield "retry: 500\n\n"  # milliseconds after which the browser comes back
    for _ in range(CLOCK_SECONDS):
        yield f"data: {now().isoformat(timespec='milliseconds')}\n\n"
        await asyncio.sleep(1 - now().microsecond / 1e6)  # until the next second begins


@app.websocket("/talk")
async def talk(socket: WebSocket, name: str = "") -> None:
    """Each text that comes in is said to the room; what is said in the room goes out as JSON."""
    # Any page may open a WebSocket to any site, in its visitor's name; only our own pages may here. Programs that
    # are not browsers send no Origin.
    origin = socket.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != socket.headers.get("host"):
        await socket.close(1008)
        return
    await socket.accept()
    room: Room = app.state.room
    name = " ".join(name.split())[:NAME_LENGTH] or "Somebody"
    inbox = room.enter()
    # Sent by a task of its own, so that a slow reader does not keep us from hearing him, nor others from talking.
    sending = asyncio.create_task(forward(inbox, socket))
    try:
        while (event := await socket.receive())["type"] != "websocket.disconnect":
            if text := (event.get("text") or "").strip()[:TEXT_LENGTH]:
                room.say(name, text)
    finally:
        sending.cancel()
        room.leave(inbox)


async def forward(inbox: asyncio.Queue[Message], socket: WebSocket) -> None:
    """Send what comes into the inbox, until cancelled or the connection is gone, which ``talk`` notices, too."""
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.send_json(await inbox.get())
