"""Messages between the processes: what may come, what may not, and what happens to descriptors."""

from __future__ import annotations

import array
import fcntl
import gc
import json
import os
import resource
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hostel import wire
from hostel.errors import PeerError
from hostel.wire import DESCRIPTORS, MESSAGE_BYTES, MESSAGES, Channel, Drain, Keep, Note, Preload, Ready, Step, Stop

TEXT = st.text(st.characters(codec=None), max_size=20)  # with lone surrogates: paths need not be UTF-8
INTEGERS = st.integers(-(2**63), 2**63 - 1)
PLAIN = st.none() | st.booleans() | INTEGERS | TEXT
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXT,
    "int": INTEGERS,
    "bool": st.booleans(),
    "float": st.floats(allow_nan=False, allow_infinity=False) | INTEGERS,
    "Tuple[str, ...]": st.lists(TEXT, max_size=5).map(tuple),
    "Tuple[int, ...]": st.lists(INTEGERS, max_size=5).map(tuple),
    "Dict[str, str]": st.dictionaries(TEXT, TEXT, max_size=5),
    "Tuple[List[Any], ...]": st.lists(st.lists(PLAIN, max_size=3), max_size=3).map(tuple),
}


def fields_of(kind: Any) -> list[str]:
    return [wire._annotation_text(annotation) for annotation in kind.__annotations__.values()]


ANY_MESSAGE = st.sampled_from(MESSAGES).flatmap(
    lambda kind: st.tuples(*(FIELDS[text] for text in fields_of(kind))).map(lambda values: kind(*values))
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
    | st.sampled_from([kind.__name__ for kind in MESSAGES]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    left, right = Channel.pair()
    yield left, right
    left.close()
    right.close()


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> Iterator[None]:
    gc.collect()  # what earlier tests have left
    before = os.listdir("/proc/self/fd")
    yield
    assert len(os.listdir("/proc/self/fd")) == len(before)


@given(ANY_MESSAGE)
@settings(max_examples=500)
def test_every_message_comes_out_as_it_went_in(message: Any) -> None:
    found = wire.decode(wire.encode(message))
    assert found == message
    assert type(found) is type(message)


def test_every_field_of_every_message_is_checked() -> None:
    for kind in MESSAGES:
        for text in fields_of(kind):
            assert text in FIELDS
            assert text in wire._CHECKS


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xff\xfe")
@example(b'["Stop"')
@example(b"[" * 5000)
@example(b'{"a":' * 5000)
@example(b"9" * 5000)
def test_rubbish_is_refused(data: bytes) -> None:
    try:
        message = wire.decode(data)
    except PeerError:
        return
    assert type(message) in MESSAGES


@given(ANY_JSON)
@settings(max_examples=500)
def test_json_that_is_no_message_is_refused(value: Any) -> None:
    try:
        message = wire.decode(json.dumps(value).encode())
    except PeerError:
        return
    assert type(value) is list
    assert value[0] == type(message).__name__
    assert len(value) == 1 + len(message)


@pytest.mark.parametrize(
    "text",
    [
        '["Nonsense"]', '[["Stop"]]', "[]", '"Stop"', '{"Stop": 1}', "null", "[null]", '["Stop", 1]',
        '["Step", "import"]', '["Step", "import", "0"]', '["Step", 1, 0]', '["Step", "import", true]',
        '["Step", "import", NaN]', '["Step", "import", Infinity]', '["Step", "import", -Infinity]',
        '["Step", "import", 1e999]', '["Exited", "", 1.0, 0]', '["Exited", "", 9223372036854775808, 0]',
        '["Exited", "", true, 0]', '["Ready", 0.1, "modules"]', '["Ready", 0.1, [1]]', '["Ready", 0.1, [["a"]]]',
        '["Ready", 0.1, {"a": "b"}]', '["Preloaded", [], {"a": 1}, 0]', '["Preloaded", [], ["a"], 0]',
        '["Keep", ["a"], [null]]', '["Running", ["a"], [1.5]]',
    ],
)  # fmt: skip
def test_each_wrong_message_is_refused(text: str) -> None:
    with pytest.raises(PeerError, match="cannot read a"):
        wire.decode(text.encode())


def test_the_largest_message_fits_through_a_channel_that_nobody_reads(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    left.socket.setblocking(False)
    room = MESSAGE_BYTES - len(wire.encode(Note("", "")))
    message = Note("", "x" * room)
    left.send(message)
    assert right.receive() == (message, [])
    with pytest.raises(PeerError, match="bytes"):
        left.send(Note("", "x" * (room + 1)))
    with pytest.raises(BlockingIOError):
        right.receive(wait=False)


def test_descriptors_arrive_in_order_and_are_closed_on_exec(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    readers, writers = zip(*(os.pipe() for _ in range(3)), strict=True)
    left.send(Stop(), writers)
    received = right.receive()
    assert received is not None
    message, descriptors = received
    assert message == Stop()
    for number, descriptor in enumerate(descriptors):
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        os.write(descriptor, b"%d" % number)
        os.close(descriptor)
    assert [os.read(reader, 10) for reader in readers] == [b"0", b"1", b"2"]
    for descriptor in (*readers, *writers):
        os.close(descriptor)


def test_the_most_descriptors_a_message_carries(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    left.send(Keep(("a",), ("",)), [0] * DESCRIPTORS)
    received = right.receive()
    assert received is not None
    assert len(received[1]) == DESCRIPTORS
    for descriptor in received[1]:
        os.close(descriptor)


def send_raw(channel: Channel, data: bytes, descriptors: list[int]) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    channel.socket.sendmsg([data], ancillary)


@pytest.mark.parametrize(
    ("data", "descriptors"),
    [
        pytest.param(b'["Stop"]', 253, id="more descriptors than are expected"),
        pytest.param(b"rubbish", 5, id="rubbish"),
        pytest.param(b'["Step", "import", "soon"]', 5, id="a wrong field"),
        pytest.param(b'["Note", "a", "' + b"x" * MESSAGE_BYTES + b'"]', 5, id="too large"),
        pytest.param(b"", 5, id="nothing but descriptors"),
    ],
)
def test_a_broken_message_is_an_error_and_leaks_no_descriptor(
    pair: tuple[Channel, Channel], data: bytes, descriptors: int
) -> None:
    left, right = pair
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        send_raw(left, data, [0] * descriptors)
        with pytest.raises(PeerError):
            right.receive()
    assert len(os.listdir("/proc/self/fd")) == before
    left.send(Drain())
    assert right.receive() == (Drain(), []), "the channel is as good as before"


def test_more_descriptors_than_this_process_may_have_are_an_error_and_no_leak(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    before = len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    left.send(Stop(), [0] * 20)
    first_free = os.dup(0)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free + 5, hard))
    try:
        with pytest.raises(PeerError, match="cut off"):
            right.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_there_and_nobody_there(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    with pytest.raises(BlockingIOError):
        right.receive(wait=False)
    left.send(Stop())
    left.close()
    assert right.receive(wait=False) == (Stop(), []), "what was said before the end is heard"
    assert right.receive(wait=False) is None
    assert right.receive() is None
    with pytest.raises(OSError):
        right.send(Stop())


def test_a_packet_without_anything_counts_as_the_end(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    left.socket.send(b"")
    assert right.receive() is None


def test_a_sender_does_not_die_of_sigpipe(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    right.close()
    for message in (Drain(), Step("import", 0.5), Ready(1.0, ("a",)), Preload(())):
        with pytest.raises(BrokenPipeError):
            left.send(message)


def test_borders_are_kept(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    for number in range(50):
        left.send(Step("import", number))
    assert [right.receive() for _ in range(50)] == [(Step("import", number), []) for number in range(50)]


def test_what_managers_say_to_zygotes_and_workers_of_other_versions_stays() -> None:
    """After an upgrade they go on for a while; see ``protocol``."""
    assert wire.encode(wire.Drain()) == b'["Drain"]'
    assert wire.encode(wire.KillWorker(17, 9)) == b'["KillWorker", 17, 9]'
    assert wire.encode(wire.WorkerEnded("blog", 2, 17, 256)) == b'["WorkerEnded", "blog", 2, 17, 256]'
