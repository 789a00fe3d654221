"""Looking at pairs, and reading an answer that somebody may have forged."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostel.certificates.pair import Complaint, Pair
from hostel.certificates.reading import ANSWER_BYTES, FILE_BYTES, look, read_answer
from hostel.errors import PeerError
from tests.support.certificates import make_pair, write_pair

CERTIFICATE, KEY = make_pair("A.example", "*.b.example")


def put(folder: Path, certificate: bytes = CERTIFICATE, key: bytes = KEY) -> tuple[str, str]:
    (folder / "c.pem").write_bytes(certificate)
    (folder / "k.pem").write_bytes(key)
    return str(folder / "c.pem"), str(folder / "k.pem")


def answer_of(files: tuple[str, str]) -> Pair | Complaint:
    return read_answer(json.dumps([look(files)]).encode(), 1)[0]


def test_a_good_pair(tmp_path: Path) -> None:
    other, _ = make_pair("ca.example")
    found = answer_of(put(tmp_path, b"junk before\n" + CERTIFICATE + b"junk between\n" + other))
    assert isinstance(found, Pair)
    assert found.names == ("a.example", "*.b.example")
    assert found.certificate.count("BEGIN CERTIFICATE") == 2
    assert "junk" not in found.certificate
    assert found.begins < found.ends


@pytest.mark.parametrize(
    ("certificate", "key", "which", "says"),
    [
        (b"", KEY, "certificate", "no certificate in PEM"),
        (KEY, CERTIFICATE, "certificate", "no certificate in PEM"),
        (CERTIFICATE, CERTIFICATE, "key", "no private key in PEM"),
        (CERTIFICATE, make_pair("A.example")[1], "key", "does not belong"),
        (CERTIFICATE, b"#" * (FILE_BYTES + 1), "key", "has more than"),
        (CERTIFICATE[:200], KEY, "certificate", "no certificate in PEM"),
        (b"\xff" * 100, KEY, "certificate", "no certificate in PEM"),
    ],
    ids=["empty", "exchanged", "no key", "of another", "too large", "cut", "garbage"],
)  # fmt: skip
def test_what_is_no_pair(tmp_path: Path, certificate: bytes, key: bytes, which: str, says: str) -> None:
    found = answer_of(put(tmp_path, certificate, key))
    assert isinstance(found, Complaint)
    assert (found.which, says in found.reason, found.remedy != "") == (which, True, True), found


def test_what_is_no_file(tmp_path: Path) -> None:
    certificate, key = put(tmp_path)
    for path, says in (
        ("/dev/zero", "not a regular file"),
        (str(tmp_path), "not a regular file"),
        ("/nope", "No such file"),
    ):
        for files, which in (((path, key), "certificate"), ((certificate, path), "key")):
            found = answer_of(files)
            assert isinstance(found, Complaint)
            assert (found.which, says in found.reason) == (which, True), found


def test_a_certificate_for_no_name(tmp_path: Path) -> None:
    write_pair(tmp_path / "c.pem", tmp_path / "k.pem")
    found = answer_of((str(tmp_path / "c.pem"), str(tmp_path / "k.pem")))
    assert isinstance(found, Complaint)
    assert "for no host name" in found.reason


GOOD = {"certificate": "-----BEGIN X-----\nAA==\n", "key": "", "names": ["a"], "begins": 0, "ends": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"certificate": 5}, {"certificate": "no PEM: $(x)"}, {"certificate": "A" * 3 * FILE_BYTES}, {"key": "\u00e4"},
        {"key": None}, {"names": "a"}, {"names": ["a"] * 1000}, {"names": [5]}, {"begins": "x"}, {"ends": 1e300},
        {"ends": float("nan")}, {"begins": float("-inf")}, {"begins": 10**400}, {"ends": -(10**400)},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_a_forged_answer(change: dict[str, Any]) -> None:
    assert isinstance(read_answer(json.dumps([GOOD]).encode(), 1)[0], Pair)
    with pytest.raises(PeerError):
        read_answer(json.dumps([GOOD | change]).encode(), 1)


def test_names_that_are_none_are_left_out() -> None:
    names = ["a", "../x", "A.example", "*.b", "*", "-", "a/b", "b" * 300]
    (found,) = read_answer(json.dumps([GOOD | {"names": names}]).encode(), 1)
    assert isinstance(found, Pair)
    assert found.names == ("a", "*.b", "-")


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"[1]", b"[{}]", b"[[]]", b"\xff", b"[" * 100_000, b" " * (ANSWER_BYTES + 1)]
)
def test_another_answer(data: bytes) -> None:
    with pytest.raises(PeerError):
        read_answer(data, 1)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from((*GOOD, "reason")), inner),
    )
)
def test_whatever_comes_is_read_or_refused(value: Any) -> None:
    with contextlib.suppress(PeerError):  # and nothing else
        read_answer(json.dumps([value]).encode(), 1)
