"""Takes 200 MB and never gives them back."""

from typing import Any

HOARD: list[bytearray] = []


def application(environ: Any, start_response: Any) -> Any:
    """Takes more with each request to /more."""
    if environ["PATH_INFO"] == "/more":
        HOARD.append(bytearray(b"x" * 200_000_000))
    start_response("200 OK", [])
    return [b"ok"]
