"""Has an application, by another name."""

from typing import Any


def wsgi_app(environ: Any, start_response: Any) -> Any:
    """Would work."""
    start_response("200 OK", [])
    return [b"ok"]
