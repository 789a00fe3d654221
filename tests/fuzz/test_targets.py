"""The parsers of what tenants and clients write, played by hypothesis: for a moment here, for long by ``scripts/fuzz.sh``."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS, loop

EXAMPLES = dict.fromkeys(TARGETS, 120) | {
    "project": 40,
    "wire_message": 250,
    "uwsgi_block": 300,
    "scoreboard_reading": 250,
}
PIECES = {
    "uwsgi": [b"\0", b"\xff\xff", b"\x05\0UWSGI", b"\x0a\0UWSGI_FILE", b"\x01\0", b"HTTP_A",
             b"\x0e\0CONTENT_LENGTH\x02\0-1", b"nan"],
    "json": [b"[", b"]", b'"', b",", b"{", b"}", b":", b"null", b"NaN", b"-1", b"1e999", b"9" * 400,
             b"\\u0000", b"\\ud800", b"true"],
    "text": [b"\n", b"\r", b"\0", b"\x1b[2J", b"\xe2\x80\xae", b"\xff", b'"', b"\\", b"=", b"[", b"]", b"%", b"\xc2\x85", b"\t"],
    "code": [b"\n", b"(", b")", b"app", b"=", b"*", b"10**9", b" if ", b"lambda: ", b"import os", b"\0", b"class app:",
             b"f'{", b"}'", b"#"],
}  # fmt: skip


def pieces_for(name: str) -> list[bytes]:
    kind = {
        "wire": "json",
        "api": "json",
        "certificate": "json",
        "uwsgi": "uwsgi",
        "scoreboard": "uwsgi",
        "project": "code",
    }
    return PIECES[kind.get(name.partition("_")[0], "text")]


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """A good input with some parts lost, repeated, or replaced by what is likely to mean something; or any bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    data = draw(st.sampled_from(SEEDS[name]))
    for _ in range(draw(st.integers(0, 5))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 8)))
        piece = draw(st.sampled_from(pieces_for(name)) | st.binary(max_size=6) | st.just(data[begin:end] * 2))
        data = data[:begin] + piece + data[end:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_good_inputs(name: str) -> None:
    assert SEEDS[name]
    for data in SEEDS[name]:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs(name: str) -> None:
    @settings(
        max_examples=EXAMPLES[name], deadline=None, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(damaged(name))
    def play(data: bytes) -> None:
        TARGETS[name](data)

    play()


@pytest.fixture(scope="module", autouse=True)
def no_loop_is_left() -> object:
    yield
    loop().close()
