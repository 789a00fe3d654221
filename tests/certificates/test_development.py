"""The authority for names below localhost, and that it can vouch for nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from hostel.certificates.development import AUTHORITY, AUTHORITY_KEY, Authority
from hostel.errors import HostError


def load(data: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(data)


def verify(folder: Path, authority: Authority, *names: str) -> None:
    """Raises ``VerificationError`` when a client that trusts the authority would not take its certificate for the first name."""
    store = Store([load((folder / AUTHORITY).read_bytes())])
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName(names[0]))
    verifier.verify(load(authority.issue(names).certificate.encode()), [])


def test_it_vouches_for_names_below_localhost_alone(tmp_path: Path) -> None:
    authority = Authority(str(tmp_path))
    verify(tmp_path, authority, "a.localhost", "localhost", "*.b.localhost")
    for names in (("a.example",), ("a.localhost", "b.example"), ("localhost.example",)):
        with pytest.raises(VerificationError):
            verify(tmp_path, authority, *names)


def test_it_is_kept(tmp_path: Path) -> None:
    first = Authority(str(tmp_path))
    data = (tmp_path / AUTHORITY).read_bytes()
    verify(tmp_path, Authority(str(tmp_path)), "a.localhost")
    assert (tmp_path / AUTHORITY).read_bytes() == data
    assert (tmp_path / AUTHORITY_KEY).stat().st_mode & 0o777 == 0o600
    (tmp_path / AUTHORITY_KEY).unlink()
    Authority(str(tmp_path))
    assert (tmp_path / AUTHORITY).read_bytes() != data
    assert first.issue(["a.localhost"]).names == ("a.localhost",)


def test_what_is_no_authority_is_told(tmp_path: Path) -> None:
    (tmp_path / AUTHORITY).write_bytes(b"nothing")
    with pytest.raises(HostError, match="authority for localhost"):
        Authority(str(tmp_path))
    with pytest.raises(HostError, match="authority for localhost"):
        Authority(os.path.join(os.devnull, "x"))
