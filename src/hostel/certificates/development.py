"""Certificates for names below ``localhost``, which nobody gives out: made here, by an authority of this server's own.

A browser that has been told to trust the authority (its certificate is ``localhost-ca.pem`` in the state folder) trusts
the sites; any other warns. To trust it is harmless: it says of itself that it can vouch for names below localhost only, and
its key is readable by the server's user alone. Wildcards would be simpler, but nobody accepts one for a whole top level.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from hostel.certificates.pair import Pair
from hostel.errors import HostError

AUTHORITY = "localhost-ca.pem"
AUTHORITY_KEY = "localhost-ca.key"
AUTHORITY_DAYS, DAYS, RENEWED_DAYS = 3650, 397, 30
NAMES_AT_ONCE = 100  # in one certificate: all of them are sent in each handshake
ADDRESSES = ("127.0.0.1", "::1")


class Authority:
    """Gives out certificates for names below localhost. ``folder`` is where its own are kept. Raises ``HostError``."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        try:
            os.makedirs(folder, mode=0o711, exist_ok=True)
            self._certificate, self._key = self._load() or self._make()
        except (OSError, ValueError) as error:
            raise HostError(
                f"cannot keep an authority for localhost in {folder}: {error}", "see who may write there"
            ) from None

    def _load(self) -> tuple[Any, Any] | None:
        """What was made before, unless it ends soon."""
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            with open(os.path.join(self.folder, AUTHORITY), "rb") as file:
                certificate = x509.load_pem_x509_certificate(file.read())
            with open(os.path.join(self.folder, AUTHORITY_KEY), "rb") as file:
                key = load_pem_private_key(file.read(), None)
        except FileNotFoundError:
            return None
        is_lasting = certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(DAYS + RENEWED_DAYS)
        return (certificate, key) if is_lasting and certificate.public_key() == key.public_key() else None

    def _make(self) -> tuple[Any, Any]:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives import serialization as s
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name(
            [x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Hostel on {os.uname().nodename[:40]}, localhost only")]
        )
        networks = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
        reach = x509.NameConstraints([x509.DNSName("localhost"), *map(x509.IPAddress, networks)], None)
        certificate = (
            _build(name, name, key.public_key(), AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(reach, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
        for file_name, data, mode in (
            (AUTHORITY_KEY, private, 0o600), (AUTHORITY, certificate.public_bytes(s.Encoding.PEM), 0o644),
        ):  # fmt: skip
            path = os.path.join(self.folder, file_name)
            descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
            with open(descriptor, "wb") as file:
                file.write(data)
            os.rename(f"{path}.new", path)
        return certificate, key

    def issue(self, names: Sequence[str]) -> Pair:
        """A new certificate for these names, and for the machine's own addresses."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives import serialization as s
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [*map(x509.DNSName, names), *(x509.IPAddress(ip_address(one)) for one in ADDRESSES)]
        certificate = (
            _build(x509.Name([]), self._certificate.subject, key.public_key(), DAYS)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._certificate.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode()
        return Pair(
            certificate.public_bytes(s.Encoding.PEM).decode(), private, tuple(names),
            certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp(),
        )  # fmt: skip


def _build(subject: Any, issuer: Any, public_key: Any, days: int) -> Any:
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days))
    )


def _usage(**used: bool) -> Any:
    from cryptography import x509

    kinds = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
        "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{kind: used.get(kind, False) for kind in kinds})
