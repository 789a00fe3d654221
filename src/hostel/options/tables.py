"""The tables of a site file, each a set of options, declared once: ``[workers]``, ``[limits]``, ``[tls]``, ``[cache]`` and
``[static_cache]``. (``[guard]`` is in ``guard``, and the file as a whole in ``site``.)
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as options_dataclass

from hostel.options.fields import CookieName, Duration, PathText, Size, UrlPath

# What the front's fixed configuration has a place for.
Rate = Literal[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
Connections = Literal[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
COOKIE_BYTES = 120  # of all names that a site ignores: they become a part of a path

_CONFIG = ConfigDict(extra="forbid")


@options_dataclass(frozen=True, slots=True, config=_CONFIG)
class WorkerOptions:
    """How many workers a site has, and when they leave."""

    min: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=256,
            description="Workers that run even when nobody visits; with 0 the site sleeps.",
            examples=[1],
        ),
    ] = 0
    max: Annotated[
        int, Field(strict=True, ge=1, le=256, description="The most workers that run at the same time.", examples=[8])
    ] = 4
    threads: Annotated[
        int,
        Field(
            strict=True, ge=1, le=128, description="Requests that one WSGI worker runs at the same time.", examples=[4]
        ),
    ] = 1
    idle: Annotated[
        Duration, Field(description="After so long without a request, workers above min leave.", examples=["1h"])
    ] = 600.0
    idle_ignore: Annotated[
        tuple[UrlPath, ...],
        Field(
            max_length=50,
            description="Paths whose requests do not count as use, as health checks; one may start the site, which sleeps again "
            "5 seconds later.",
            examples=[["/health"]],
        ),
    ] = ()

    def __post_init__(self) -> None:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is larger than max ({self.max})")


@options_dataclass(frozen=True, slots=True, config=_CONFIG)
class LimitOptions:
    """What a site may take."""

    start: Annotated[
        Duration,
        Field(gt=0, description="How long the application may take to import and say it is ready.", examples=["2m"]),
    ] = 60.0
    queue: Annotated[
        Duration,
        Field(
            gt=0,
            description="A request that has waited longer for a busy worker is answered 503 at once; "
            "under lasting overload the bound is a twentieth of that, so that whoever is served is still there.",
            examples=["1s"],
        ),
    ] = 5.0
    request: Annotated[
        Duration,
        Field(
            gt=0,
            description="How long a request may take, and a response in parts from one part to the next; then the client "
            "gets 504, the error log says where it was, and a worker that does not let go of it is replaced.",
            examples=["5m"],
        ),
    ] = 60.0
    drain: Annotated[
        Duration, Field(description="How long a leaving worker may take to finish its requests.", examples=["5m"])
    ] = 30.0
    body: Annotated[
        Size | None,
        Field(
            gt=0,
            description="The largest request body, answered 413 when it is larger. Default, and most: the server's --body.",
            examples=["1M"],
        ),
    ] = None
    rate: Annotated[
        Rate | None,
        Field(
            description="Requests per second of one client (IPv6: of its /64 network), after as many at once as in 5 seconds; "
            "429 beyond. Static files are not counted.",
            examples=[10],
        ),
    ] = None
    connections: Annotated[
        Connections | None,
        Field(
            description="Requests that the front has in hand for the site at the same time; 503 beyond. "
            "Static files are not counted.",
            examples=[100],
        ),
    ] = None
    requests: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            description="A worker that has served so many requests, or up to a tenth less, is replaced by a new one, which "
            "starts beside it; 0 means never.",
            examples=[10000],
        ),
    ] = 0
    life: Annotated[
        Duration,
        Field(
            description="A worker that is so old, or up to a tenth less, is replaced; 0 means never.", examples=["1d"]
        ),
    ] = 0.0
    worker_memory: Annotated[
        Size,
        Field(
            description="A worker that has grown to so much memory of its own is replaced, if it is a minute old; "
            "0 means never. Nothing is killed for it.",
            examples=["256M"],
        ),
    ] = 0
    memory: Annotated[
        Size,
        Field(
            description="All memory of the site, with its files in /tmp; beyond, the kernel kills one of its processes. "
            "0 means no limit of its own. Needs control groups.",
            examples=["512M"],
        ),
    ] = 0
    cpu: Annotated[
        float,
        Field(
            ge=0,
            le=4096,
            description="The time of so many processors, at most; 0 means no limit of its own. Needs control groups.",
            examples=[0.5],
        ),
    ] = 0.0
    processes: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=2**22,
            description="How many processes and threads the site may have; 0 means any number. Without control groups all of "
            "its user's are counted.",
            examples=[100],
        ),
    ] = 1000
    files: Annotated[
        int,
        Field(
            strict=True,
            ge=64,
            le=2**20,
            description="How many files and connections one process of the site may have open.",
            examples=[1024],
        ),
    ] = 16384
    disk: Annotated[
        Size,
        Field(
            description="How much the site may have on the disk of its state folder, with what else it owns there; 0 means no "
            "limit. Needs a user to itself (--users auto), and quotas of that file system.",
            examples=["1G"],
        ),
    ] = 0
    file_size: Annotated[
        Size, Field(description="The largest file that the site may write; 0 means any size.", examples=["1G"])
    ] = 0


@options_dataclass(frozen=True, slots=True, config=_CONFIG)
class TlsOptions:
    """How a site is reached by HTTPS."""

    certificate: Annotated[
        PathText | None,
        Field(
            description="The certificate of the site's domains with those that vouch for it, in PEM; relative to the site "
            "file's folder. Default: what the server's folder of certificates has for them.",
            examples=["/srv/blog/tls/fullchain.pem"],
        ),
    ] = None
    key: Annotated[
        PathText | None,
        Field(
            description="The private key that belongs to it, which the site's user can read; relative to the site file's folder.",
            examples=["/srv/blog/tls/privkey.pem"],
        ),
    ] = None
    redirect: Annotated[
        bool,
        Field(strict=True, description="Lead visitors who come by HTTP to the same address by HTTPS.", examples=[True]),
    ] = False
    hsts: Annotated[
        Duration,
        Field(
            description="Tell browsers to come by HTTPS only for so long (Strict-Transport-Security); 0 tells them nothing.",
            examples=["365d"],
        ),
    ] = 0.0
    hsts_subdomains: Annotated[
        bool,
        Field(strict=True, description="Tell them the same for all names below the site's domains.", examples=[True]),
    ] = False

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together: name both, or neither")
        if self.hsts_subdomains and not self.hsts:
            raise ValueError("hsts_subdomains needs hsts: for how long?")


NO_TLS = TlsOptions()


@options_dataclass(frozen=True, slots=True, config=_CONFIG)
class CacheOptions:
    """What the front keeps of a site's answers."""

    on: Annotated[
        bool,
        Field(
            strict=True,
            description="Whether the front keeps answers that Cache-Control or Expires allow to be kept for everybody.",
            examples=[True],
        ),
    ] = False
    size: Annotated[
        Size,
        Field(description="How much of them is kept on the disk; the oldest go first.", examples=["1G"]),
    ] = 64 * 2**20
    ignored_cookies: Annotated[
        tuple[CookieName, ...],
        Field(
            description="Cookies that no kept answer depends on; '*' is all of them. A visitor with any other, those of "
            "well-known statistics apart, is answered by the application.",
            examples=[["theme", "consent"]],
        ),
    ] = ()

    def __post_init__(self) -> None:
        if len(",".join(self.ignored_cookies)) > COOKIE_BYTES:
            raise ValueError(f"the names of ignored_cookies have more than {COOKIE_BYTES} bytes together")


@options_dataclass(frozen=True, slots=True, config=_CONFIG)
class StaticCacheOptions:
    """How long browsers keep static files without asking again."""

    hashed: Annotated[
        bool,
        Field(
            strict=True,
            description="Files that have a hash of their content in their names, as Django's ManifestStaticFilesStorage, "
            "webpack and Vite make them, are kept for a year.",
            examples=[True],
        ),
    ] = False
    age: Annotated[
        Duration,
        Field(description="Other static files are kept for so long; 0 leaves it to the browser.", examples=["1h"]),
    ] = 0.0
