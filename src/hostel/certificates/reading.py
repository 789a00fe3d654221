"""Reading a certificate and its key as whoever names them: a program that the manager starts, and how it is asked.

The hard part is trust. A tenant names these files, so root does not open them: this program becomes the site's user first,
and what that user cannot read, it does not see. Nor does root take them apart: the program does, and its answer, which a
tenant might forge, is taken apart as text with bounds. A forger wins nothing: the answer is used for names that his own site
has already.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import sys
from collections.abc import Sequence
from typing import Any

from hostel.certificates.pair import Complaint, Pair
from hostel.errors import HostError, PeerError
from hostel.options.fields import plain
from hostel.sandbox import operations
from hostel.sandbox.identity import Identity
from hostel.sandbox.plan import make_helper_plan

FILE_BYTES = 128 * 1024
ANSWER_BYTES = 4 * 2**20
AT_ONCE = 20  # pairs in one question, so that the answer keeps its bound
SECONDS = 20.0  # for an answer
MOST_NAMES = 500
COMMAND = (sys.executable, "-I", "-m", "hostel.certificates.reading")
ENVIRONMENT = {"LANG": "C.UTF-8"}

Files = tuple[str, str]  # paths of a certificate and of its key
_PEM = re.compile(r"(?:-----(?:BEGIN|END) [A-Z ]{1,30}-----|[A-Za-z0-9+/=]{1,76}|)(?:\n|$)")
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_-][a-z0-9_.-]{0,252}")


# --- asking --------------------------------------------------------------------------------------------------------


def make_question(identity: Identity | None, files: Sequence[Files]) -> bytes:
    """The program's standard input; ``identity`` is whom it has to become, None to stay who it is."""
    plan = make_helper_plan(identity) if identity else []
    return json.dumps({"operations": plan, "files": files}).encode()


def read_answer(data: bytes, count: int) -> list[Pair | Complaint]:
    """The program's standard output. Raises ``PeerError`` for anything that it would not write."""
    if len(data) > ANSWER_BYTES:
        raise PeerError("cannot read what was found out about a certificate: it is too long")
    try:
        answer = json.loads(data)
        if not isinstance(answer, list) or len(answer) != count:
            raise ValueError("another number of answers than of questions")
        return [_read_one(one) for one in answer]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise PeerError(f"cannot read what was found out about a certificate: {plain(str(error), 200)}") from None


def _read_one(one: dict[str, Any]) -> Pair | Complaint:
    if "reason" in one:
        which, reason, remedy = (plain(str(one[field]), 300) for field in ("which", "reason", "remedy"))
        return Complaint("key" if which == "key" else "certificate", reason, remedy)
    certificate, key, names = one["certificate"], one["key"], one["names"]
    for text in (certificate, key):
        if not isinstance(text, str) or len(text) > 2 * FILE_BYTES or not all(map(_PEM.fullmatch, text.splitlines())):
            raise ValueError("not PEM")
    if not isinstance(names, list) or len(names) > MOST_NAMES:
        raise ValueError("too many names")
    begins, ends = float(one["begins"]), float(one["ends"])
    if not (math.isfinite(begins) and 0 <= ends < 2**38):
        raise ValueError("no time")
    return Pair(certificate, key, tuple(name for name in names if _NAME.fullmatch(name)), begins, ends)


# --- answering -----------------------------------------------------------------------------------------------------


class UnusableError(Exception):
    """A pair cannot be used; the arguments are those of a ``Complaint``."""


def look(files: Files) -> dict[str, Any]:
    """What there is to say of a pair, as plain values."""
    try:
        return _look(*files)
    except UnusableError as error:
        which, reason, remedy = error.args
        return {"which": which, "reason": reason, "remedy": remedy}


def _look(certificate_path: str, key_path: str) -> dict[str, Any]:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as s

    certificate_data = read_file("certificate", certificate_path)
    key_data = read_file("key", key_path)
    try:
        chain = x509.load_pem_x509_certificates(certificate_data)
        public = chain[0].public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableError(
            "certificate", f"{certificate_path} is no certificate in PEM: {error}", PEM_REMEDY
        ) from None
    try:
        key = s.load_pem_private_key(key_data, None)
    except TypeError:
        remedy = "take it away: openssl pkey -in OLD -out NEW"
        raise UnusableError("key", f"{key_path} is protected by a passphrase", remedy) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnusableError("key", f"{key_path} is no private key in PEM: {error}", PEM_REMEDY) from None
    form = (s.Encoding.DER, s.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != public.public_bytes(*form):
        reason = f"the key in {key_path} does not belong to the first certificate in {certificate_path}"
        raise UnusableError(
            "key", reason, "name the two that were made together; the site's own certificate comes first"
        )
    try:
        alternatives = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]
    except (x509.ExtensionNotFound, ValueError):
        names = []
    if not names:
        reason = f"{certificate_path} is for no host name"
        raise UnusableError("certificate", reason, "a certificate for a site has a subject alternative name")
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    return {
        "certificate": b"".join(one.public_bytes(s.Encoding.PEM) for one in chain).decode(),
        "key": private.decode(),
        "names": names[:MOST_NAMES],
        "begins": chain[0].not_valid_before_utc.timestamp(),
        "ends": chain[0].not_valid_after_utc.timestamp(),
    }


PEM_REMEDY = "a file of it begins with a line as -----BEGIN CERTIFICATE----- or -----BEGIN PRIVATE KEY-----"


def read_file(which: str, path: str) -> bytes:
    """The bytes of a regular file of bounded size. Raises ``UnusableError``."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # before it is opened: opening a device may set it going
            raise UnusableError(which, f"{path} is not a regular file", f"name the file of the {which}")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnusableError(which, f"{path} is not a regular file", f"name the file of the {which}")
            data = os.read(descriptor, FILE_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        remedy = "correct the path, or give the site's user the right to read it and to enter the folders above"
        raise UnusableError(which, f"cannot read {path}: {error.strerror}", remedy) from None
    if len(data) > FILE_BYTES:
        raise UnusableError(which, f"{path} has more than {FILE_BYTES} bytes", f"name the file of the {which}")
    return data


def main() -> int:
    question = json.loads(sys.stdin.buffer.read())
    import cryptography.x509  # noqa: F401  # as who we are: a site's user may not be able to read Hostel's packages

    try:
        operations.run([tuple(operation) for operation in question["operations"]])
    except HostError as error:
        print(error, file=sys.stderr)
        return 1
    json.dump([look((certificate, key)) for certificate, key in question["files"]], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
