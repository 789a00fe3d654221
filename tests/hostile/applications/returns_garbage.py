"""Returns whatever its path says, and calls start_response in every wrong way."""

from collections.abc import Iterator
from typing import Any


def breaking() -> Iterator[bytes]:
    """Raises after the first piece."""
    yield b"begin"
    raise RuntimeError("in the middle")


def broken() -> Iterator[bytes]:
    """Raises before the first piece."""
    raise RuntimeError("at the beginning")
    yield b""


class Liar:
    """Iterates, but not what is expected; and cannot be closed either."""

    def __iter__(self) -> Iterator[Any]:
        return iter([None, 1, "text", [b"x"]])

    def close(self) -> None:
        """Raises."""
        raise ValueError("in close")


def application(environ: Any, start_response: Any) -> Any:
    """Never does what it should."""
    case = environ["PATH_INFO"][1:]
    if case == "silent":
        return [b"without start_response"]
    if case == "status":
        start_response(200, [])
    elif case == "headers":
        start_response("200 OK", {"A": "b"})
    elif case == "header":
        start_response("200 OK", [("A", None)])
    elif case == "split":
        start_response("200 OK", [("A", "b\r\nSet-Cookie: x=y")])
    elif case == "twice":
        start_response("200 OK", [])
        start_response("200 OK", [])
    else:
        start_response("200 OK", [("Content-Type", "text/plain")])
    garbage = {
        "none": None, "text": "text", "number": 5, "type": object, "list": ["text"], "breaking": breaking(), "broken": broken(),
        "liar": Liar(), "exception": RuntimeError("returned"), "coroutine": print,
    }  # fmt: skip
    if case == "raise":
        raise SystemExit("a request is no reason to exit")
    if case == "interrupt":
        raise KeyboardInterrupt
    return garbage.get(case, [b"ok"])
