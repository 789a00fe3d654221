"""A certificate with its key, and which pair is for which name. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

SOON_SECONDS = 10 * 86400.0  # whoever renews certificates by a program does it a month before the end


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (with those that vouch for it) and its private key, both as PEM; times are seconds since the epoch."""

    certificate: str
    key: str
    names: tuple[str, ...]
    begins: float
    ends: float

    @property
    def id(self) -> str:
        """A short text that differs for other content."""
        return hashlib.sha256(f"{self.certificate}\0{self.key}".encode()).hexdigest()[:32]

    def covers(self, domain: str) -> bool:
        """Whether a browser takes it for a host name; for ``*.name``, whether for all names with one more label."""
        parent = domain.partition(".")[2]
        return domain in self.names or (domain[:2] != "*." and f"*.{parent}" in self.names)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why a pair cannot be used, or will not be usable for long: which of the files ("certificate" or "key"), why, what to do."""

    which: str
    reason: str
    remedy: str


def complain_of_time(pair: Pair, now: float) -> Complaint | None:
    """What is to be said of a certificate's time, if anything."""
    day = datetime.fromtimestamp(pair.ends if pair.begins <= now else pair.begins, UTC).date().isoformat()
    if now < pair.begins:
        return Complaint("certificate", f"the certificate is not valid before {day}", "is this machine's clock right?")
    if now > pair.ends:
        return Complaint("certificate", f"the certificate has expired on {day}", "renew it")
    if now > pair.ends - SOON_SECONDS:
        return Complaint("certificate", f"the certificate expires on {day}", "renew it, and see why nothing else did")
    return None


def choose(owners: Mapping[str, str], own: Mapping[str, Pair], shared: Iterable[Pair]) -> dict[str, Pair]:
    """The pair for each name, or ``*.name``, that has one: the site's own, else the shared one that lasts longest.

    ``owners`` says which site has which domain. Where a site takes every other name (``*``), all that is shared is used.
    """
    by_name: dict[str, Pair] = {}
    for lasting in sorted(shared, key=lambda pair: pair.ends):
        by_name.update(dict.fromkeys(lasting.names, lasting))
    chosen = {}
    for domain, site in owners.items():
        pair = own.get(site)
        if pair is None or not pair.covers(domain):
            pair = by_name.get(domain)
            if pair is None and domain[:2] != "*.":
                pair = by_name.get(f"*.{domain.partition('.')[2]}")
        if pair is not None:
            chosen[domain] = pair
    return {**by_name, **chosen} if "*" in owners else chosen


def uncovered(domains: Sequence[str], chosen: Mapping[str, Pair]) -> list[str]:
    """The domains for which there is no certificate; ``*`` needs none, because nobody knows what it stands for."""
    return [domain for domain in domains if domain != "*" and domain not in chosen]


def local_names(owners: Iterable[str], chosen: Mapping[str, Pair]) -> list[str]:
    """The names of this machine only for which nobody gives out a certificate, and none is chosen."""
    names = ("localhost" if domain == "*" else domain for domain in owners)
    return [name for name in names if (name == "localhost" or name.endswith(".localhost")) and name not in chosen]
