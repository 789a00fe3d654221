"""What a worker says by itself: to the client in the application's place, and to the site's error log; and whether to whom."""

from __future__ import annotations

import select
import sys
import traceback

BUSY = "503 Service Unavailable"
FRONT_PAGES = {
    "413": "@oversize",
    "500": "@failed",
    "503": "@busy",
    "504": "@late",
}  # its places for what a worker refuses

PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>{title}</title><style>body{{font:1.1em/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;"
    "padding:0 1em}}</style><h1>{title}</h1><p>{text}</p></html>\n"
)


def complain(text: str) -> None:
    """Write to the site's error log, if the application has left it there."""
    try:
        print(text, file=sys.stderr, flush=True)
    except Exception:
        pass  # it is closed, or something else is in its place


def complain_of(error: BaseException, request: str, request_id: str) -> None:
    """Write the traceback of a request's error to the site's error log."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    complain(f"error in the application at {request!r}{request_id and f' (request {request_id})'}\n{text.rstrip()}")


def is_gone(descriptor: int) -> bool:
    """Whether the other side has closed the connection."""
    asking = select.poll()
    try:
        asking.register(descriptor, select.POLLRDHUP)
        return bool(asking.poll(0))
    except OSError:
        return True
