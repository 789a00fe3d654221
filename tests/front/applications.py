"""Applications that tell what reached them, and what the tests of the front have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.support.server import Server, wait_for

ECHO = """
    import json, os

    def application(environ, start_response):
        seen = {key: value for key, value in environ.items() if isinstance(value, str)}
        seen["body"] = environ["wsgi.input"].read().decode("latin-1")
        seen["SITE"] = os.environ.get("SITE")
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(seen).encode()]
"""
ECHO_ASGI = """
    import json, os

    async def application(scope, receive, send):
        assert scope["type"] == "http"
        body = b""
        while True:
            event = await receive()
            body += event["body"]
            if not event["more_body"]:
                break
        seen = {key: scope[key] for key in ("method", "path", "root_path", "scheme", "client", "http_version")}
        seen["raw_path"] = scope["raw_path"].decode("latin-1")
        seen["query_string"] = scope["query_string"].decode("latin-1")
        seen["headers"] = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
        seen["body"] = body.decode("latin-1")
        seen["SITE"] = os.environ.get("SITE")
        data = json.dumps(seen).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": data})
"""


def says(text: str) -> str:
    """The code of a site that says who it is."""
    return f"""
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [({text!r} + " " + environ["HTTP_HOST"]).encode()]
"""


def wait_routed(server: Server, *names: str) -> None:
    """Wait until the server has taken up these new sites."""
    for name in names:
        wait_for(lambda name=name: server.state(name), f"site {name} to be taken up")  # type: ignore[misc]


def within_a_second(condition: Callable[[], Any], what: str) -> None:
    """Fails when something that has to hold within a second takes much longer; the machine may be busy."""
    begin = time.monotonic()
    wait_for(condition, what)
    assert time.monotonic() - begin < 5, f"{what}: after {time.monotonic() - begin:.1f} s"
