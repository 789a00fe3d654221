"""How a call and its answer travel over the control socket: JSON objects, each preceded by its length in four bytes.

A client sends ``{"call": name, ...arguments}`` and gets objects until one has ``"end": true``; an error is an object
with ``"error"`` (kind, message, hint). A long answer comes in parts: the lists of later objects continue those of the
first.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hostel.errors import PeerError

if TYPE_CHECKING:
    import asyncio  # the command line does without

FRAME_BYTES = 64 * 2**20
CALL_BYTES = 2**20
_LENGTH = struct.Struct(">I")


def pack(value: dict[str, Any]) -> bytes:
    data = json.dumps(value).encode()
    return _LENGTH.pack(len(data)) + data


def unpack(data: bytes) -> dict[str, Any]:
    """Raises ``PeerError`` when it is no JSON object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise PeerError("cannot read a control message: not JSON") from None
    if not isinstance(value, dict):
        raise PeerError("cannot read a control message: not an object")
    return value


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    """One call. Raises ``PeerError`` or ``asyncio.IncompleteReadError``."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > CALL_BYTES:
        raise PeerError(f"cannot read a control message of {length} bytes: {CALL_BYTES} are allowed")
    return unpack(await reader.readexactly(length))


def read_frames(sock: socket.socket) -> Iterator[dict[str, Any]]:
    """Objects until the other side closes. Raises ``PeerError`` when it does so in the middle of one."""
    with sock.makefile("rb") as file:
        while head := file.read(_LENGTH.size):
            if len(head) == _LENGTH.size:
                (length,) = _LENGTH.unpack(head)
                if length > FRAME_BYTES:
                    raise PeerError(f"the server's answer is too long: {length} bytes")
                data = file.read(length)
                if len(data) == length:
                    yield unpack(data)
                    continue
            raise PeerError("the server closed the connection in the middle of an answer")
