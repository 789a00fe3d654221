"""The uwsgi protocol, byte by byte: what a packet says, and that nothing but ``PeerError`` comes of a broken one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hostel.errors import PeerError
from hostel.protocol import uwsgi


def block(*pairs: tuple[str, str]) -> bytes:
    """A block with these pairs, repeated names and all."""
    return b"".join(
        len(raw).to_bytes(2, "little") + raw for pair in pairs for raw in (part.encode("latin-1") for part in pair)
    )


# --- the four bytes in front ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"\0\0\0\0", 0),
        (b"\0\x01\0\0", 1),
        (b"\0\xff\0\0", 255),
        (b"\0\0\x01\0", 256),
        (b"\0\x34\x12\0", 0x1234),
        (b"\0\xff\xff\0", 65535),
    ],
)
def test_the_size_is_little_endian(header: bytes, size: int) -> None:
    assert uwsgi.block_size(header) == size


def test_every_modifier_but_0_is_refused() -> None:
    for modifier in range(1, 256):
        with pytest.raises(PeerError, match="only 0 is a request"):
            uwsgi.block_size(bytes([modifier, 1, 0, 0]))
        with pytest.raises(PeerError, match="only 0 is a request"):
            uwsgi.block_size(bytes([0, 1, 0, modifier]))


# --- the block ----------------------------------------------------------------------------------------------------------


def test_a_block_byte_by_byte() -> None:
    data = b"\x0e\x00REQUEST_METHOD\x03\x00GET" + b"\x09\x00PATH_INFO\x01\x00/"
    assert uwsgi.variables(data) == {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}


def test_an_empty_block_has_no_variables() -> None:
    assert uwsgi.variables(b"") == {}
    given_before: dict[str, Any] = {"wsgi.version": (1, 0)}
    assert uwsgi.variables(b"", given_before) is given_before
    assert given_before == {"wsgi.version": (1, 0)}


def test_empty_names_and_values() -> None:
    assert uwsgi.variables(b"\x01\0A\0\0") == {"A": ""}
    assert uwsgi.variables(b"\0\0\x01\0b") == {"": "b"}


def test_every_byte_comes_through_as_latin_1() -> None:
    value = bytes(range(256)).decode("latin-1")
    assert uwsgi.variables(block(("PATH_INFO", value))) == {"PATH_INFO": value}


def test_the_largest_block() -> None:
    value = "x" * (65535 - 2 - 1 - 2)
    data = block(("A", value))
    assert len(data) == 65535
    assert uwsgi.variables(data) == {"A": value}
    many = {f"HTTP_{number}": "v" * 60 for number in range(900)}
    packet = uwsgi.packet(many)
    assert uwsgi.variables(packet[4:]) == many


def test_no_prefix_of_a_block_is_a_block() -> None:
    """Cut anywhere but between two variables, a block has a length that points behind its end, or no value."""
    pairs = (("REQUEST_METHOD", "GET"), ("EMPTY", ""), ("HTTP_LONG", "x" * 300))
    data = block(*pairs)
    ends = {len(block(*pairs[:count])) for count in range(len(pairs) + 1)}
    for size in range(len(data)):
        if size in ends:
            continue
        with pytest.raises(PeerError, match="behind its end"):
            uwsgi.variables(data[:size])


def test_a_trailing_byte_is_refused() -> None:
    for more in (b"\0", b"\0\0", b"\0\0\0", b"A"):
        with pytest.raises(PeerError):
            uwsgi.variables(block(("A", "b")) + more)


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\0A\x02\0b",  # the value is longer than what is left
        b"\xff\xffA\x01\0b",  # the name is
        b"\x01\0A\xff\xffb",
        b"\x02\0A",
        b"\x01",
        b"\x01\0",
    ],
)
def test_lengths_behind_the_end_are_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="behind its end"):
        uwsgi.variables(data)


# --- what a variable may be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["UWSGI_", "UWSGI_FILE", "UWSGI_SCRIPT", "UWSGI_PYHOME", "UWSGI_SETENV"])
def test_magic_variables_are_refused(name: str) -> None:
    with pytest.raises(PeerError, match="UWSGI_"):
        uwsgi.variables(block(("REQUEST_METHOD", "GET"), (name, "/etc/passwd")))


def test_the_magic_word_in_values_and_inside_names_is_nothing_special() -> None:
    found = {"QUERY_STRING": "UWSGI_FILE=x", "HTTP_X_UWSGI_FILE": "y", "UWSG": "I_"}
    assert uwsgi.variables(uwsgi.packet(found)[4:]) == found


def test_repeated_header_lines_are_joined() -> None:
    data = block(("HTTP_ACCEPT", "a"), ("REQUEST_METHOD", "GET"), ("HTTP_ACCEPT", "b"), ("HTTP_ACCEPT", ""))
    assert uwsgi.variables(data) == {"HTTP_ACCEPT": "a, b, ", "REQUEST_METHOD": "GET"}
    cookies = block(("HTTP_COOKIE", "a=1"), ("HTTP_COOKIE", "b=2"))
    assert uwsgi.variables(cookies) == {"HTTP_COOKIE": "a=1; b=2"}


@pytest.mark.parametrize(
    "name",
    ["REQUEST_METHOD", "CONTENT_LENGTH", "REMOTE_ADDR", "PATH_INFO", "HTTPS", "HTTP_HOST", "HTTP_X_REQUEST_START", ""],
)
def test_what_there_is_only_one_of_is_refused_twice(name: str) -> None:
    with pytest.raises(PeerError, match="twice"):
        uwsgi.variables(block((name, "1"), (name, "1")))
    with pytest.raises(PeerError, match="twice"):
        uwsgi.variables(block((name, "1"), ("OTHER", "x"), ("HTTP_ACCEPT", "x"), ("HTTP_ACCEPT", "y"), (name, "2")))


@pytest.mark.parametrize("name", ["wsgi.input", "wsgi.errors", "wsgi.url_scheme", "wsgi.file_wrapper"])
def test_the_servers_own_keys_cannot_be_replaced(name: str) -> None:
    own: dict[str, Any] = {"SCRIPT_NAME": "", name: object()}
    with pytest.raises(PeerError):
        uwsgi.variables(block(("REQUEST_METHOD", "GET"), (name, "mine")), own)
    with pytest.raises(PeerError):  # neither when a repeated header hides that the number of variables is wrong
        uwsgi.variables(block(("HTTP_A", "1"), ("HTTP_A", "2"), (name, "mine")), {"SCRIPT_NAME": "", name: object()})


def test_a_cgi_variable_may_replace_what_is_given() -> None:
    own: dict[str, Any] = {"SCRIPT_NAME": "", "wsgi.version": (1, 0)}
    found = uwsgi.variables(block(("SCRIPT_NAME", "/shop"), ("PATH_INFO", "/cart")), own)
    assert found == {"SCRIPT_NAME": "/shop", "PATH_INFO": "/cart", "wsgi.version": (1, 0)}


def test_joining_leaves_the_given_keys_alone() -> None:
    own: dict[str, Any] = {"wsgi.version": (1, 0)}
    found = uwsgi.variables(block(("HTTP_A", "1"), ("HTTP_A", "2")), own)
    assert found == {"wsgi.version": (1, 0), "HTTP_A": "1, 2"}


def test_what_a_client_says_of_forwarding_is_dropped() -> None:
    claims = {"HTTP_X_FORWARDED_FOR": "1", "HTTP_X_FORWARDED_USER": "root", "HTTP_X_FORWARDED_": ""}
    others = {"HTTP_X_FORWARD": "1", "HTTP_A": "HTTP_X_FORWARDED_FOR"}
    assert uwsgi.variables(uwsgi.packet({**claims, **others})[4:]) == others


# --- fuzz ---------------------------------------------------------------------------------------------------------------

LATIN = st.characters(max_codepoint=255)
NAMES = st.text(LATIN, max_size=30).filter(lambda name: not name.startswith(("UWSGI_", uwsgi.FORWARDED)))


@given(st.dictionaries(NAMES, st.text(LATIN, max_size=300), max_size=30))
@example({})
@example({"": ""})
def test_variables_is_the_inverse_of_packet(found: dict[str, str]) -> None:
    packet = uwsgi.packet(found)
    assert uwsgi.block_size(packet[:4]) == len(packet) - 4
    assert uwsgi.variables(packet[4:]) == found


@given(st.binary(max_size=400))
def test_any_bytes_give_variables_or_a_peer_error(data: bytes) -> None:
    given_before: dict[str, Any] = {"wsgi.version": (1, 0), "SCRIPT_NAME": ""}
    try:
        found = uwsgi.variables(data, given_before)
    except PeerError:
        return
    assert found["wsgi.version"] == (1, 0)
    assert all(type(name) is str for name in found)
    assert all(type(value) is str for name, value in found.items() if name != "wsgi.version")
    assert not any(name.startswith("UWSGI_") for name in found)


@given(st.dictionaries(NAMES, st.text(LATIN, max_size=40), min_size=1, max_size=8), st.data())
def test_a_damaged_block_gives_variables_or_a_peer_error(found: dict[str, str], data: st.DataObject) -> None:
    """Closer to the target than random bytes: one byte of a good block is changed, or a part of it is lost."""
    raw = bytearray(uwsgi.packet(found)[4:])
    position = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw[position] = data.draw(st.integers(0, 255))
    else:
        del raw[position : position + data.draw(st.integers(1, 5))]
    try:
        damaged = uwsgi.variables(bytes(raw))
    except PeerError:
        return
    assert all(type(part) is str for pair in damaged.items() for part in pair)


@given(st.binary(min_size=4, max_size=4))
def test_any_header_gives_a_size_or_a_peer_error(header: bytes) -> None:
    try:
        assert 0 <= uwsgi.block_size(header) <= 65535
    except PeerError:
        assert header[0] or header[3]
