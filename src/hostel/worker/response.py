"""One WSGI response: what ``start_response`` promised, and what has been sent of it (PEP 3333).

The hard part is to decide the fine print once. ``start`` checks and builds the whole head, so that an error is raised
where the application made it; everything behind it only joins bytes. The verdict on a header's name is remembered,
because applications use the same few names again and again.
"""

from __future__ import annotations

import io
import os
import re
import stat
import time
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from hostel.worker import sendfile

PASS, DROP, LENGTH, VARY, SENDFILE = 1, 2, 3, 4, 5  # what becomes of a header

# Not the application's to send (RFC 9110, section 7.6.1; PEP 3333, "Other HTTP Features"), or ours.
DROPPED = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "trailers", "transfer-encoding", "upgrade", "x-hostel", "x-hostel-vary")
)  # fmt: skip
SPECIAL = {"content-length": LENGTH, "vary": VARY, "x-sendfile": SENDFILE}
TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")  # RFC 9110, 5.6.2
KNOWN_NAMES = 1000
EVENTS = b"\r\ncontent-type: text/event-stream"
BODYLESS = ("204", "304")
PIECE_BYTES = 2**22  # of a file, between two signs that something happens
EVENT_STREAM = re.compile(rb"\ncontent-type:[ \t]*text/event-stream", re.IGNORECASE)

_verdicts: Dict[str, int] = {}


def _judge(name: str) -> int:
    """What becomes of a header of this name. Raises ``ValueError`` when it is no name."""
    if not name or not TOKEN.issuperset(name):
        raise ValueError(f"header name {name!r} is not a token (RFC 9110, section 5.6.2)")
    lower = name.lower()
    verdict = DROP if lower in DROPPED else SPECIAL.get(lower, PASS)
    if len(_verdicts) < KNOWN_NAMES:
        _verdicts[name] = verdict
    return verdict


def split_vary(vary: str, is_to_be_kept: bool) -> List[Tuple[str, str]]:
    """The headers for what an answer depends on, by all the application's ``Vary`` together: of several lines, nginx before
    1.23 heeds the last.

    The front keeps an answer only for visitors without cookies that matter. With Cookie in ``Vary`` it would keep one for each
    of them, who differ by the cookies of statistics; so it is told in a header of its own, which becomes ``Vary`` again.
    """
    names = [name.strip() for name in vary.split(",")]
    others = [name for name in names if name.lower() != "cookie"]
    if not is_to_be_kept or len(others) == len(names):
        return [("Vary", vary)]
    return [("X-Hostel-Vary", "Cookie"), *([("Vary", ", ".join(others))] if others else [])]


class FileWrapper:
    """``wsgi.file_wrapper``: sent with sendfile(2) where the file really is one, else read in blocks."""

    def __init__(self, filelike: Any, block_size: int = 65536) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        data: bytes = self.filelike.read(self.block_size)
        if not data:
            raise StopIteration
        return data

    def real_file(self) -> Optional[Any]:
        """The binary file whose bytes sendfile(2) can take from its descriptor, or None.

        Only the exact types of the ``io`` module count: a ``gzip.GzipFile`` has a descriptor too, of other bytes. And
        only files that have a size: those of ``/proc`` say 0 whatever they hold.
        """
        candidate = self.filelike
        if type(candidate).__name__ == "_TemporaryFileWrapper":
            candidate = candidate.file
        raw = candidate.raw if type(candidate) in (io.BufferedReader, io.BufferedRandom) else candidate
        if type(raw) is io.FileIO and not raw.closed:
            status = os.fstat(raw.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size:
                return candidate
        return None


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data`` to a blocking descriptor."""
    written = os.write(descriptor, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(data):
            written += os.write(descriptor, view[written:])


class Response:
    """One response on its way to the front over ``descriptor``; ``note`` is for the access log.

    ``board[began]`` is where the time stands from which the request's age counts: a response in parts makes it young again
    with each part, and a stream of events may take any time.
    """

    __slots__ = (
        "began",
        "board",
        "descriptor",
        "head",
        "is_bodyless",
        "is_head",
        "is_started",
        "is_to_be_kept",
        "length",
        "note",
        "sent",
    )

    def __init__(self, descriptor: int, is_head: bool, note: str, board: memoryview[float], began: int) -> None:
        self.descriptor = descriptor
        self.note = note
        self.board = board
        self.began = began
        self.is_head = is_head  # the request's method is HEAD
        self.is_bodyless = False  # 204, 304: there is no body, nor a length of one
        self.head = b""  # from start_response on, without the empty line
        self.length: Optional[int] = None  # of the body, as the application promised it
        self.is_started = False  # the head has been sent
        self.is_to_be_kept = False  # by the front, if it may be
        self.sent = 0  # bytes of the body

    def start(self, status: str, headers: List[Tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        """``start_response``. Raises ``ValueError`` or ``TypeError``, in the application, for what HTTP cannot carry."""
        if exc_info:
            try:
                if self.is_started:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # the traceback would refer to this frame
        elif self.head:
            raise AssertionError("start_response was called twice without exc_info")
        code = status[:3]
        if status[3:4] != " " or not (code.isascii() and code.isdigit()) or code < "200":
            raise ValueError(f"status {status!r} is not three digits from 200 on, a space and a reason")
        lines = [f"HTTP/1.1 {status}\r\nX-Hostel: {self.note}\r\n"]
        length = None
        vary = ""
        for name, value in headers:
            verdict = _verdicts.get(name) or _judge(name)
            if verdict == PASS:
                lines.append(name + ": " + value + "\r\n")
            elif verdict == LENGTH:
                if not (value.isascii() and value.isdigit()):
                    raise ValueError(f"Content-Length {value!r} is not a number")
                if length not in (None, int(value)):
                    raise ValueError("two different Content-Length headers")
                length = int(value)
            elif verdict == VARY:
                vary += f", {value}" if vary else value
            elif verdict == SENDFILE:
                lines.append("X-Accel-Redirect: " + sendfile.redirect_to(value) + "\r\n")
        if vary:
            lines += [f"{name}: {value}\r\n" for name, value in split_vary(vary, self.is_to_be_kept)]
        head = "".join(lines)
        count = len(lines) + 1
        if head.count("\n") != count or head.count("\r") != count or "\0" in head:
            raise ValueError("a status or header contains CR, LF or NUL")
        self.head = head.encode("latin-1")  # raises UnicodeEncodeError, a ValueError
        self.is_bodyless = code in BODYLESS
        self.length = None if self.is_bodyless else length
        return self.write

    def send_whole(self, body: bytes) -> None:
        """Send head and body in one system call; nothing has been sent yet and nothing will follow."""
        if type(body) is not bytes or not self.head or self.is_head or self.is_bodyless or self.length is not None:
            self.send_result((body,))
            return
        self.is_started = True
        data = b"%bContent-Length: %d\r\n\r\n%b" % (self.head, len(body), body)
        written = os.write(self.descriptor, data)
        if written < len(data):
            write_all(self.descriptor, data[written:])

    def send_head(self, body: bytes = b"") -> None:
        """Send the head, with the first bytes of the body in the same system call."""
        if not self.head:
            raise AssertionError("the application sent a body before it called start_response")
        self.is_started = True
        if self.length is None:  # the front would hold a stream of events until it has some of it
            length = b"X-Accel-Buffering: no\r\n" if EVENTS in self.head.lower() else b""
        else:
            length = b"Content-Length: %d\r\n" % self.length
        write_all(self.descriptor, b"%b%b\r\n%b" % (self.head, length, self._cut(body)))
        if EVENT_STREAM.search(self.head):
            self.board[self.began] = 0.0
        else:
            self._progress()

    def _progress(self) -> None:
        """The application does something for this request."""
        if self.board[self.began]:
            self.board[self.began] = time.monotonic()

    def write(self, data: bytes) -> None:
        """The ``write`` callable: the bytes are on their way when it returns.

        Raises ``ValueError`` when they are more than the application's Content-Length, which is all that is sent then.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"the application's body is made of {type(data).__name__}, not bytes")
        if not self.is_started:
            self.send_head(data)
        else:
            part = self._cut(data)
            if part:
                write_all(self.descriptor, part)
                self._progress()
        if self.length is not None and self.sent > self.length:
            raise ValueError(f"the application sent more than the {self.length} bytes of its Content-Length")

    def _cut(self, data: bytes) -> bytes:
        """What of ``data`` may be sent: nothing of a body that has to be empty, nothing behind the promised length."""
        if self.is_head or self.is_bodyless:
            return b""
        before = self.sent
        self.sent = before + len(data)
        if self.length is not None and self.sent > self.length:
            return data[: max(0, self.length - before)]
        return data

    def send_result(self, result: Iterable[bytes]) -> None:
        """Send what the application returned, each chunk as it comes.

        Raises ``ValueError`` when it is not as long as the application promised.
        """
        file = None
        if isinstance(result, (list, tuple)):
            data = b"".join(result)  # raises TypeError for what is not bytes
            self._promise(len(data))
            result = (data,)
        elif isinstance(result, FileWrapper):
            file = result.real_file()
        if file is not None:
            self._send_file(file)
        else:
            for data in result:
                if data or not isinstance(data, bytes):
                    self.write(data)
        is_bare = self.is_head or self.is_bodyless or self.length is None
        if not is_bare and self.sent != self.length and not self._is_redirect():
            raise ValueError(f"the application sent {self.sent} bytes of the {self.length} of its Content-Length")
        if not self.is_started:
            self._promise(0)
            self.send_head()

    def _is_redirect(self) -> bool:
        """Whether the front takes the body from elsewhere; the application may have promised the length of that."""
        return not self.sent and b"\nx-accel-redirect:" in self.head.lower()

    def _promise(self, length: int) -> None:
        """Announce the length of the body, if the application has not and may.

        An empty answer to HEAD says nothing about the length that GET would have.
        """
        is_free = self.head and self.length is None and not self.is_started and not self.is_bodyless
        if is_free and (length or not self.is_head):
            self.length = length

    def _send_file(self, file: Any) -> None:
        position = file.tell()
        size = max(0, os.fstat(file.fileno()).st_size - position)
        self._promise(size)
        if not self.is_started:
            self.send_head()
        if self.is_head or self.is_bodyless:
            return
        end = position + (size if self.length is None else min(size, self.length - self.sent))
        while position < end:
            count = os.sendfile(self.descriptor, file.fileno(), position, min(end - position, PIECE_BYTES))
            if not count:
                break  # the file shrank meanwhile
            self._progress()
            position += count
            self.sent += count
