"""``wsgi.input``: the request's body, exactly as long as its declared length (PEP 3333, "Input and Error Streams").

``Body`` knows where the bytes are and where they end; ``io.BufferedReader`` makes a file of it, lines and all.
"""

from __future__ import annotations

import io
import os
from typing import Any

READ_BYTES = 65536


class Body(io.RawIOBase):
    """The part of the body that came with the head, then what is still in the connection, up to the declared length.

    Reading raises ``ConnectionError`` when the client is gone before the body is whole.
    """

    def __init__(self, descriptor: int, length: int, first: bytes) -> None:
        super().__init__()
        self.descriptor = descriptor
        self.first = first[:length]
        self.missing = length - len(self.first)  # bytes still in the connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """What is there, or one system call gives; 0 only at the body's end."""
        if self.first:
            data, self.first = self.first[: len(buffer)], self.first[len(buffer) :]
        elif self.missing:
            data = self._receive(len(buffer))
        else:
            return 0
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """All that is left. The inherited method would fetch it in pieces of 8 KB."""
        parts = [self.first]
        self.first = b""
        while self.missing:
            parts.append(self._receive(READ_BYTES))
        return b"".join(parts)

    def discard(self) -> None:
        """Read what the application left unread, so that closing the connection does not reset it (unix(7))."""
        while self.missing:
            self._receive(READ_BYTES)

    def _receive(self, size: int) -> bytes:
        data = os.read(self.descriptor, min(size, self.missing))
        if not data:
            raise ConnectionError("the client went away before the request's body was complete")
        self.missing -= len(data)
        return data


class Input(io.BufferedReader):
    """What the application sees of a body. It cannot close it: requests without a body share one."""

    def __init__(self, body: Body) -> None:
        super().__init__(body, READ_BYTES)

    def close(self) -> None:
        pass
