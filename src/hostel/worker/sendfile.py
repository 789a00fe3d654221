"""``X-Sendfile``: a file is named by its path, and the front sends it. Pure.

Apache's header and lighttpd's, which nginx does not know; nginx's own, ``X-Accel-Redirect``, names the file as a path in
URLs. So one becomes the other, by the site's mappings. Nothing is guarded here: this runs in the application's own process.
The front looks for what it is told among that site's files only, whoever tells it.
"""

from __future__ import annotations

import os
from typing import Dict, Iterable, List, Tuple

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
SENDFILE, REDIRECT = b"x-sendfile", b"x-accel-redirect"

places: Dict[str, str] = {}  # of this site: folders and files, with their paths in URLs


def quote(path: str) -> str:
    """A path as it stands in URLs (RFC 3986, section 2.1); ``urllib`` would cost each worker of every site its memory."""
    return "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in os.fsencode(path))


def redirect_to(path: str) -> str:
    """The value of ``X-Accel-Redirect`` for a file. Raises ``ValueError`` when the front does not send it."""
    try:
        path = path.encode("latin-1").decode()  # bytes as text, which is what headers are in WSGI (PEP 3333)
    except UnicodeError:
        pass  # it was text
    wanted = os.path.normpath(path)
    for place, prefix in places.items():
        if wanted == place or wanted.startswith(os.path.join(place, "")):
            below = wanted[len(place) :].lstrip("/")
            return quote(f"{prefix}/{below}" if below else prefix or "/")
    raise ValueError(f"X-Sendfile: {path!r} is in none of the folders that the site file maps in [private]")


def redirect_headers(headers: Iterable[Tuple[bytes, bytes]]) -> List[Tuple[bytes, bytes]]:
    """The headers of an ASGI response as the front understands them. Raises ``ValueError`` as ``redirect_to`` does.

    Whoever has a file sent may promise its length, which is not that of the body that the application has instead.
    """
    found = [(name, value) for name, value in headers]
    if all(name not in (SENDFILE, REDIRECT) for name, _ in found):
        return found
    others = [(name, value) for name, value in found if name not in (SENDFILE, b"content-length")]
    for name, value in found:
        if name == SENDFILE:
            others.append((REDIRECT, redirect_to(value.decode("latin-1")).encode()))
    return others
