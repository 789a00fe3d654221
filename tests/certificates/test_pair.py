"""Which certificate is for which name."""

from __future__ import annotations

import pytest

from hostel.certificates.pair import SOON_SECONDS, Pair, choose, complain_of_time, local_names, uncovered


def pair(*names: str, ends: float = 1000.0) -> Pair:
    return Pair(f"certificate of {names} until {ends}", "key", names, 0.0, ends)


@pytest.mark.parametrize(
    ("names", "domain", "is_covered"),
    [
        (("a.example",), "a.example", True),
        (("a.example",), "b.example", False),
        (("*.example",), "a.example", True),
        (("*.example",), "b.a.example", False),
        (("*.example",), "example", False),
        (("*.example",), "*.example", True),
        (("*.example",), "*.a.example", False),
        (("*.a.example", "a.example"), "*.a.example", True),
        ((), "a.example", False),
    ],
)
def test_what_a_certificate_covers(names: tuple[str, ...], domain: str, is_covered: bool) -> None:
    assert pair(*names).covers(domain) is is_covered


def test_a_sites_own_comes_first_then_what_lasts_longest() -> None:
    own, short, long, wild = (
        pair("a.example"),
        pair("b.example"),
        pair("b.example", ends=2000),
        pair("*.example", ends=3000),
    )
    owners = {
        "a.example": "a",
        "b.example": "b",
        "c.example": "b",
        "*.example": "c",
        "other.org": "c",
        "x.a.example": "a",
    }
    chosen = choose(owners, {"a": own}, [long, short, wild])
    assert chosen == {"a.example": own, "b.example": long, "c.example": wild, "*.example": wild}
    assert uncovered(["a.example", "other.org", "*"], chosen) == ["other.org"]
    assert choose(owners, {"a": own}, [short])["a.example"] is own


def test_a_site_uses_its_own_for_its_own_domains_alone() -> None:
    greedy = pair("a.example", "b.example", "*.example")
    assert choose({"a.example": "a", "b.example": "b"}, {"a": greedy}, []) == {"a.example": greedy}


def test_all_that_is_shared_is_used_where_every_name_is_taken() -> None:
    one = pair("x.example", "*.y.example")
    assert choose({"*": "a"}, {}, [one]) == {"x.example": one, "*.y.example": one}


def test_names_of_this_machine() -> None:
    owners = ("a.localhost", "*.b.localhost", "localhost.example", "*", "c.localhost")
    assert local_names(owners, {"c.localhost": pair()}) == ["a.localhost", "*.b.localhost", "localhost"]


def test_what_is_said_of_time() -> None:
    one = pair("a.example", ends=2 * SOON_SECONDS)
    assert complain_of_time(one, 1.0) is None
    for now, said in (
        (-1.0, "not valid before 1970-01-01"),
        (SOON_SECONDS + 1, "expires on"),
        (3 * SOON_SECONDS, "has expired on"),
    ):
        complaint = complain_of_time(one, now)
        assert complaint is not None
        assert said in complaint.reason


def test_another_content_is_another_id() -> None:
    ids = {Pair(certificate, key, (), 0, 0).id for certificate, key in (("a", "b"), ("ab", ""), ("a", "c"), ("b", "a"))}
    assert len(ids) == 4
