"""Certificates for tests, and asking a server by HTTPS."""

from __future__ import annotations

import socket
import ssl
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.server import DEADLINE


def make_pair(*names: str, days: float = 90, serial: int = 1) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, as PEM. ``serial`` tells it from others."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(days=365))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.TraditionalOpenSSL, s.NoEncryption())
    return certificate.public_bytes(s.Encoding.PEM), private


def write_pair(certificate: Path, key: Path, *names: str, days: float = 90, serial: int = 1) -> None:
    """The same as files, each put in place by a rename."""
    for path, data in zip((certificate, key), make_pair(*names, days=days, serial=serial), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".new").write_bytes(data)
        path.with_suffix(".new").rename(path)


@dataclass(frozen=True)
class Shaken:
    """What a client learns in a handshake, and from one request behind it."""

    certificate: x509.Certificate
    protocol: str | None  # by ALPN
    version: str | None
    answer: bytes

    @property
    def serial(self) -> int:
        return int(self.certificate.serial_number)

    @property
    def status(self) -> int:
        return int(self.answer.split(b" ", 2)[1])

    @property
    def body(self) -> str:
        return self.answer.partition(b"\r\n\r\n")[2].decode()

    def header(self, name: str) -> str | None:
        for line in self.answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
            if line.lower().startswith(f"{name.lower()}: "):
                return line.partition(": ")[2]
        return None


def ask_http2(port: int, name: str, *requests: list[tuple[str, str]]) -> list[str]:
    """The bodies of the answers to requests over one connection of HTTP/2, each with headers that no client would send."""
    context = AnyName(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    bodies = dict.fromkeys(range(1, 2 * len(requests), 2), b"")
    open_streams = set(bodies)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as plain,
        context.wrap_socket(plain, server_hostname=name) as sock,
        sock.makefile("rb") as file,
    ):
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, b""))
        for stream, headers in zip(bodies, requests, strict=True):
            # Literals that are not indexed (RFC 7541, section 6.2.2).
            block = b"".join(b"\0" + b"".join(bytes([len(one)]) + one.encode() for one in pair) for pair in headers)
            sock.sendall(_frame(HEADERS, END_STREAM | END_HEADERS, stream, block))
        while open_streams:
            head = file.read(9)
            if len(head) < 9:
                break  # the server has had enough
            data, kind, flags, stream = file.read(int.from_bytes(head[:3])), head[3], head[4], int.from_bytes(head[5:])
            if kind == DATA:
                bodies[stream] += data
            if kind == RESET or (kind in (DATA, HEADERS) and flags & END_STREAM):
                open_streams.discard(stream)
    return [body.decode() for body in bodies.values()]


# Of RFC 9113, section 6.
DATA, HEADERS, RESET, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS = 1, 4


def _frame(kind: int, flags: int, stream: int, data: bytes) -> bytes:
    return len(data).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + data


class AnyName(ssl.SSLContext):
    """A client that names whatever it is told, in the form of a host name or not."""

    def _encode_hostname(self, name: str | None) -> str | None:
        return name


def shake(
    port: int,
    name: str | None,
    *,
    host: str | None = None,
    target: str = "/",
    method: str = "GET",
    authority: str = "",
    newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    protocols: tuple[str, ...] = ("http/1.1",),
    lines: tuple[str, ...] = (),
) -> Shaken:
    """Shake hands as a client that names ``name``, and ask for ``host``. Trusts anybody, or an authority alone."""
    context = AnyName(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        context.load_verify_locations(authority)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if newest < ssl.TLSVersion.TLSv1_2 and newest > 0:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of old versions
        context.maximum_version = newest
    context.set_alpn_protocols(list(protocols))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as plain,
        context.wrap_socket(plain, server_hostname=name) as sock,
    ):
        data = sock.getpeercert(True)
        assert data is not None
        answer = b""
        if sock.selected_alpn_protocol() != "h2":
            head = (f"{method} {target} HTTP/1.1", f"Host: {host or name}", "Connection: close", *lines, "", "")
            sock.sendall("\r\n".join(head).encode())
            while more := sock.recv(65536):
                answer += more
        return Shaken(x509.load_der_x509_certificate(data), sock.selected_alpn_protocol(), sock.version(), answer)
