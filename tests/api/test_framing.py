"""Messages of the control socket: every cut and every kind of rubbish ends in one kind of error."""

from __future__ import annotations

import asyncio
import json
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostel.api.framing import CALL_BYTES, FRAME_BYTES, pack, read_frame, read_frames
from hostel.errors import PeerError


def read_with_asyncio(data: bytes) -> object:
    async def read() -> object:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await read_frame(reader)

    return asyncio.run(read())


def read_with_socket(data: bytes) -> list[dict[str, object]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        return list(read_frames(ours))


VALUES = st.dictionaries(
    st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5)
)  # fmt: skip


@given(VALUES)
def test_a_message_comes_back_whole(value: dict[str, object]) -> None:
    assert read_with_asyncio(pack(value)) == value
    assert read_with_socket(pack(value) + pack({})) == [value, {}]


@given(st.binary(max_size=200))
def test_rubbish_is_one_kind_of_error(data: bytes) -> None:
    try:
        assert isinstance(read_with_asyncio(data), dict)
    except (PeerError, asyncio.IncompleteReadError):
        pass
    try:
        assert all(isinstance(one, dict) for one in read_with_socket(data))
    except PeerError:
        pass


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "null", '"x"', "{", '{"a":', "[" * 100_000, "9" * 5000, '{"a": ' + "9" * 5000 + "}", "\ud800"],
)
def test_what_is_no_object_is_refused(text: str) -> None:
    data = text.encode(errors="surrogatepass")
    with pytest.raises(PeerError, match=r"^cannot read a control message: not"):
        read_with_asyncio(struct.pack(">I", len(data)) + data)


def test_a_long_message_is_refused_before_it_is_read() -> None:
    with pytest.raises(PeerError, match=f"{CALL_BYTES} are allowed"):
        read_with_asyncio(struct.pack(">I", CALL_BYTES + 1))
    with pytest.raises(PeerError, match="too long"):
        read_with_socket(struct.pack(">I", FRAME_BYTES + 1))


@pytest.mark.parametrize("size", range(1, len(pack({"a": 1}))))
def test_every_cut_is_noticed(size: int) -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        read_with_asyncio(pack({"a": 1})[:size])
    with pytest.raises(PeerError, match="in the middle of an answer"):
        read_with_socket(pack({"a": 1})[:size])


def test_a_message_is_json_behind_its_length() -> None:
    data = pack({"call": "status"})
    assert struct.unpack(">I", data[:4]) == (len(data) - 4,)
    assert json.loads(data[4:]) == {"call": "status"}
