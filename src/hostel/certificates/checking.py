"""What ``hostel check`` finds out about a site's certificate, without a server."""

from __future__ import annotations

import os
import subprocess
import time

from hostel.certificates import reading
from hostel.certificates.pair import Complaint, Pair, complain_of_time, uncovered
from hostel.errors import PeerError, SiteError
from hostel.options.check import identity_of
from hostel.options.server import ServerOptions
from hostel.options.site import Problem, Site


def check_certificate(site: Site, options: ServerOptions) -> list[Problem]:
    """What is wrong with the certificate and key that a site file names, read as the site's user."""
    if site.tls.certificate is None or site.tls.key is None:
        return []
    answer = _ask((site.tls.certificate, site.tls.key), site, options)
    complaint = _complain(site, answer) if isinstance(answer, Pair) else answer
    if complaint is None:
        return []
    where = f"tls.{complaint.which}"
    return [Problem(site.name, site.file, where, complaint.reason, complaint.remedy, is_fatal=False)]


def _complain(site: Site, pair: Pair) -> Complaint | None:
    if complaint := complain_of_time(pair, time.time()):
        return complaint
    if missing := uncovered(site.domains, {domain: pair for domain in site.domains if pair.covers(domain)}):
        reason = f"{site.tls.certificate} is not for {missing[0]}, but for {', '.join(pair.names[:5])}"
        return Complaint("certificate", reason, "get one that has this name, or take the domain away")
    return None


def _ask(files: reading.Files, site: Site, options: ServerOptions) -> Pair | Complaint:
    try:
        identity = identity_of(site, options) if os.geteuid() == 0 else None
        result = subprocess.run(
            reading.COMMAND, input=reading.make_question(identity, [files]), env=reading.ENVIRONMENT, cwd="/",
            capture_output=True, timeout=reading.SECONDS, check=False,
        )  # fmt: skip
        return reading.read_answer(result.stdout, 1)[0]
    except SiteError as error:
        return Complaint("certificate", str(error), error.hint)
    except (OSError, PeerError, subprocess.SubprocessError) as error:
        return Complaint("certificate", f"cannot look at it: {error}", "can the site's user read Hostel's own files?")
