"""Requests that do not end, each in its own way; the path says which."""

import asyncio
import time
from typing import Any


async def wait_for_something() -> None:
    await asyncio.sleep(1000)


def block_the_loop() -> None:
    time.sleep(1000)


async def be_stubborn() -> None:
    while True:
        try:
            await wait_for_something()
        except BaseException:
            pass


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    kind = b"text/plain"
    match scope["path"]:
        case "/wait":
            await wait_for_something()
        case "/block":
            block_the_loop()
        case "/stubborn":
            await be_stubborn()
        case "/events":
            kind = b"text/event-stream"
    is_stream = scope["path"] in ("/events", "/parts")
    headers = [(b"content-type", kind), *([] if is_stream else [(b"content-length", b"4")])]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if is_stream:
        for _ in range(5):
            await asyncio.sleep(0.1)
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
    await send({"type": "http.response.body", "body": b"fine"})
