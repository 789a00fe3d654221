"""The uwsgi protocol, as the front speaks it to a worker: bytes in, variables out.

A packet is four bytes (modifier 1, size in two bytes little-endian, modifier 2) and a block of ``size`` bytes holding
keys and values, each preceded by its length in two bytes little-endian; the request's body follows.
Source: https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html

The hard part: this runs for every request, in pure Python, on bytes that may come from anybody who reached the socket.
So the block is decoded once, cut by the lengths alone, and everything unusual (repeated names, uWSGI's magic
``UWSGI_*`` variables) is recognised by one comparison each and looked at only when it is there.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

from hostel.errors import PeerError

HEADER_BYTES = 4
FORWARDED = (
    "HTTP_X_FORWARDED_"  # the front sends none of these (the worker knows their values): they are a client's claims
)


def block_size(header: bytes) -> int:
    """The size in bytes of the block that follows a packet's four header bytes.

    Raises ``PeerError`` for any modifier but 0 (a request for a WSGI application): the others ask a uWSGI server to
    reload, signal, or run code.
    """
    if header[0] or header[3]:
        raise PeerError(f"cannot serve a uwsgi packet with modifiers {header[0]} and {header[3]}: only 0 is a request")
    return header[1] | header[2] << 8


def variables(block: bytes, found: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """The request variables in a block, decoded as Latin-1 as PEP 3333 wants them, added to ``found``.

    Repeated ``HTTP_*`` variables are repeated header lines and are joined as RFC 9110, section 5.3 says; those that begin
    with ``FORWARDED`` are dropped. Raises
    ``PeerError`` when lengths do not add up, when another variable is repeated, for ``UWSGI_*`` names, and for one that
    would replace what is in ``found`` unless it is a CGI variable (all capitals). ``found`` is spoilt then.
    """
    text = block.decode("latin-1")
    end = len(block)
    if found is None:
        found = {}
    expected = len(found)
    position = 0
    try:
        while position < end:
            middle = position + 2 + (block[position] | block[position + 1] << 8)
            key = text[position + 2 : middle]
            position = middle + 2 + (block[middle] | block[middle + 1] << 8)
            found[key] = text[middle + 2 : position]
            expected += 1
    except IndexError:
        position = -1
    if position != end:
        raise PeerError("cannot read a uwsgi block: a length points behind its end")
    if len(found) != expected:
        _join_repeated(text, block, found)
    if "UWSGI_" in text and any(key.startswith("UWSGI_") for key in found):
        raise PeerError("cannot serve a uwsgi request with magic UWSGI_* variables")
    if FORWARDED in text:
        for key in [key for key in found if key.startswith(FORWARDED)]:
            del found[key]
    return found


# Header lines of which there is one, or that the front sets.
SINGLE_HEADERS = frozenset(("HTTP_HOST", "HTTP_X_REQUEST_ID", "HTTP_X_REQUEST_START"))


def _join_repeated(text: str, block: bytes, found: Dict[str, Any]) -> None:
    """Put what ``variables`` found in order, where something was found twice. The lengths are known to be right."""
    strings = []
    position = 0
    while position < len(block):
        start = position + 2
        position = start + (block[position] | block[position + 1] << 8)
        strings.append(text[start:position])
    joined: Dict[str, str] = {}
    for key, value in zip(strings[::2], strings[1::2]):
        if key not in joined:
            joined[key] = value
        elif key.startswith("HTTP_") and key not in SINGLE_HEADERS:
            joined[key] += ("; " if key == "HTTP_COOKIE" else ", ") + value
        else:
            raise PeerError(f"cannot serve a uwsgi request with the variable {key!r} twice")
    for key in joined:
        if not key.startswith("HTTP_") and not key.isupper():
            raise PeerError(f"cannot serve a uwsgi request with the variable {key!r}")
    found.update(joined)


def packet(found: Dict[str, str]) -> bytes:
    """The packet that carries these variables; the inverse of ``variables``, for clients and tests."""
    block = b"".join(
        len(raw).to_bytes(2, "little") + raw
        for pair in found.items()
        for raw in (part.encode("latin-1") for part in pair)
    )
    return b"\0" + len(block).to_bytes(2, "little") + b"\0" + block


def peek(packet: bytes, names: Sequence[str]) -> Dict[str, str]:
    """The variables of these names, as far as they can be found in the beginning of a packet, which may be anything."""
    found: Dict[str, str] = {}
    position, end = HEADER_BYTES, min(len(packet), HEADER_BYTES + int.from_bytes(packet[1:3], "little"))
    while position + 2 < end:
        parts = []
        for _ in range(2):
            begin = position + 2
            position = begin + int.from_bytes(packet[begin - 2 : begin], "little")
            parts.append(packet[begin : min(position, end)].decode("latin-1"))
        if parts[0] in names:
            found[parts[0]] = parts[1]
    return found
