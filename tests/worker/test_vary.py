"""What an answer depends on, as the front is told."""

from __future__ import annotations

import pytest

from hostel.worker.counted import heed_vary
from hostel.worker.response import split_vary


@pytest.mark.parametrize("vary", ["Accept", "Cookie", "Accept, Cookie", "*", ""])
def test_what_is_not_to_be_kept_stays_as_it_is(vary: str) -> None:
    assert split_vary(vary, False) == [("Vary", vary)]


@pytest.mark.parametrize(
    ("vary", "headers"),
    [
        ("Accept", [("Vary", "Accept")]),
        ("*", [("Vary", "*")]),
        ("X-Cookie, Cookies", [("Vary", "X-Cookie, Cookies")]),
        ("Cookie", [("X-Hostel-Vary", "Cookie")]),
        (" cookie ,COOKIE", [("X-Hostel-Vary", "Cookie")]),
        ("Cookie, *", [("X-Hostel-Vary", "Cookie"), ("Vary", "*")]),
        ("Accept,Cookie,Origin", [("X-Hostel-Vary", "Cookie"), ("Vary", "Accept, Origin")]),
    ],
)
def test_cookies_are_told_apart_when_it_is_to_be_kept(vary: str, headers: list[tuple[str, str]]) -> None:
    assert split_vary(vary, True) == headers


def test_several_lines_of_asgi_become_one() -> None:
    one, two = (b"vary", b"Accept"), (b"Vary", b"Cookie")
    other = (b"x-own", b"1")
    assert heed_vary([other], True) == [other]
    assert heed_vary([two, other], False) == [two, other]
    assert heed_vary([one, other, two], False) == [other, (b"vary", b"Accept, Cookie")]
    assert heed_vary([one, other, two], True) == [other, (b"x-hostel-vary", b"Cookie"), (b"vary", b"Accept")]
