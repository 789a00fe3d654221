"""``hostel serve``: work out what to serve, prepare the machine, become the supervisor.

The process that was started ends up as the supervisor, by exec: nothing of the command line stays in memory.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import click

from hostel.cli.add import pairs
from hostel.cli.output import PathType, command, say
from hostel.cli.paths import is_folder_of_sites, look_at, read_project, unused_name
from hostel.errors import HostError, UsageError
from hostel.front.binary import find_binary
from hostel.options.declaration import Option, read_options
from hostel.options.detect import Detected
from hostel.options.server import ServerOptions, make_server_options, to_json
from hostel.options.site import Site
from hostel.sandbox.trust import is_trusted
from hostel.sandbox.users import who_uses
from hostel.source.folder import SUFFIX
from hostel.source.project import site_name

KINDS = {
    "django": "a Django project", "flask": "a Flask application", "fastapi": "a FastAPI application",
    "starlette": "a Starlette application", "asgi": "an ASGI application", "wsgi": "a WSGI application",
    "static": "static files",
}  # fmt: skip
METAVARS = {
    "listen": "ADDRESS",
    "listen_tls": "ADDRESS",
    "trusted_proxy": "NETWORK",
    "certificates": "DIR",
    "nginx": "BINARY",
    "guard": "LEVEL",
    "hide": "DIR",
    "tenants": "DIR",
    "pythons": "DIR",
    "user_range": "FIRST-LAST",
    "users": "WHOSE",
    "time": "TIME",
    "size": "SIZE",
    "number": "N",
    "text": "TEXT",
}


def declared_options(function: Callable[..., None]) -> Callable[..., None]:
    """A flag for each option of the server: they are declared in ``options.server``, and nowhere else."""
    for option in reversed(read_options(ServerOptions)):
        more: dict[str, Any] = {"is_flag": True} if option.kind == "flag" else {"metavar": metavar_of(option)}
        if option.kind == "list":
            more["multiple"] = True
        more |= {"default": None, "envvar": variable_of(option.key), "help": help_of(option)}
        function = click.option(flag_of(option), option.key, **more)(function)
    return function


def flag_of(option: Option) -> str:
    return f"--{option.key.replace('_', '-')}"


def variable_of(key: str) -> str:
    """The environment variable for an option."""
    return f"HOSTEL_{key.upper()}"


def metavar_of(option: Option) -> str:
    last = option.key.rpartition("_")[2]
    return {"dir": "DIR", "user": "USER"}.get(last) or METAVARS.get(option.key) or METAVARS[option.kind]


def help_of(option: Option) -> str:
    """The option's sentence, with its default where there is one that the sentence does not tell."""
    values = option.default if isinstance(option.default, list) else [option.default_text.strip('"')]
    default = ", ".join(values)
    return option.sentence if default in ("", "false") else f"{option.sentence} Default: {default}."


@command(
    epilog="""\b
Examples:
  hostel serve .                         a project, at http://localhost:8000/
  hostel serve . --reload                the same while you work on it
  hostel serve /srv/sites --listen *:80  every site in a folder of site files
"""
)
@click.argument("paths", nargs=-1, type=PathType(), metavar="[PATH]...")
@declared_options
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE",
    help="Environment variable for a PATH that is a project; may be repeated.",
)  # fmt: skip
def serve(paths: tuple[str, ...], variables: tuple[str, ...], **given: Any) -> None:
    """Serve sites in the foreground until Ctrl-C.

    PATH is a folder of site files, or a project, which is recognised by looking at it. Default: the current folder.
    Each option can be given by an environment variable, too: --state-dir as HOSTEL_STATE_DIR.
    """
    options = make_server_options({key: value_of(value) for key, value in given.items() if value not in (None, ())})
    sources, projects = make_sources(paths or (".",), pairs(variables, "--env"))
    find_binary(options.nginx)
    check_tenants(options)
    check_user_range(options)
    prepare_users(options)
    prepare_run_dir(options.run_dir)
    for site, found in projects:
        say(f"{site.file}: {KINDS[found.kind]} ({site.app or 'files only'}), served as site {site.name}")
        for note in found.notes:
            say(f"  note: {note}")
        look_at(site, options)
    sys.stdout.flush()
    sys.stderr.flush()
    python = [sys.executable, "-I", "-m"]
    subprocess.Popen([*python, "hostel", "_welcome", options.run_dir], stdin=subprocess.DEVNULL)
    manager = [*python, "hostel.manager", "{channel}", to_json(options), json.dumps(sources)]
    os.execv(sys.executable, [*python, "hostel.supervisor", options.run_dir, "--", *manager])


def value_of(given: Any) -> Any:
    """A flag's value: on a command line, a number is text."""
    is_number = isinstance(given, str) and re.fullmatch(r"[0-9]{1,18}", given)
    return int(given) if is_number else given


def make_sources(
    paths: tuple[str, ...], variables: dict[str, str]
) -> tuple[list[dict[str, Any]], list[tuple[Site, Detected]]]:
    """What to serve, for the manager, and the projects among it. Raises ``UsageError``.

    The first project gets every host name that no other site has.
    """
    sources: list[dict[str, Any]] = []
    projects: list[tuple[Site, Detected]] = []
    for path in dict.fromkeys(map(os.path.abspath, paths)):
        if not os.path.exists(path):
            raise UsageError(
                f"cannot serve {path}: there is no such file or folder",
                "check the path; an empty folder is served, too, and sites can be added to it later",
            )
        if is_folder_of_sites(path):
            sources.append({"folder": path})
            continue
        if path.endswith(SUFFIX):
            raise UsageError(f"cannot serve {path} alone: it is one site file", f"serve {os.path.dirname(path)}")
        domains = [] if projects else ["*"]
        name = unused_name(site_name(path), [site.name for site, _ in projects])
        found, file = read_project(path, domains, variables, name)
        if file.site is None:
            raise UsageError(f"cannot serve {path}: " + "; ".join(problem.reason for problem in file.problems))
        projects.append((file.site, found))
        sources.append({"project": path, "name": name, "options": found.options, "domains": domains})
    if variables and not projects:
        raise UsageError(
            "cannot use --env: it is for a project, and none is served", "write [env] in the site files instead"
        )
    return sources, projects


def check_tenants(options: ServerOptions) -> None:
    """See that nobody else decides what tenants may do. Raises ``UsageError``."""
    if options.tenants is None:
        return
    if os.geteuid() != 0:
        raise UsageError("cannot read site files of tenants: that needs root, as each site is to run as its tenant")
    if not is_trusted(options.tenants):
        raise UsageError(
            f"cannot use the folder of tenants {options.tenants}: others than root may write to it",
            "chown it, and the folders above it, to root, and chmod go-w them",
        )


def check_user_range(options: ServerOptions) -> None:
    """See that the numbers of the sites' own users are nobody's. Raises ``UsageError``."""
    if options.users != "auto":
        return
    if os.geteuid() != 0:
        raise UsageError(
            "cannot give sites users of their own: that needs root", "leave out --users, or start Hostel as root"
        )
    if options.uid_range[0] < options.least_uid:
        raise UsageError(
            f"cannot give sites the users {options.user_range}: --least-uid says that they begin at {options.least_uid}",
            "choose another --user-range",
        )
    if taken := who_uses(options.uid_range):
        raise UsageError(
            f"cannot give sites the users {options.user_range}: {taken}",
            "choose numbers that are free with --user-range",
        )


def prepare_users(options: ServerOptions) -> None:
    """Started by root: make the users that Hostel itself needs, when they are missing."""
    if os.geteuid() != 0:
        return
    for user, extra in ((options.default_user, []), (options.front_user, ["--system"])):
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            command = ["useradd", *extra, "--no-create-home", "--user-group", "--home-dir", "/nonexistent", "--shell",
                       "/usr/sbin/nologin", "--comment", "Hostel", user]  # fmt: skip
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                said = getattr(error, "stderr", "") or str(error)
                raise HostError(
                    f"cannot make the system user {user!r}: {said.strip()}", "make it by hand, or name another"
                ) from None
            click.echo(f"made the system user {user}")
        else:
            if entry.pw_uid == 0:
                raise UsageError(f"cannot use {user!r}: it is root", "name an ordinary user")


def prepare_run_dir(path: str) -> None:
    """Make the run directory. Raises ``UsageError`` when it is not ours alone."""
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        os.makedirs(path, mode=mode, exist_ok=True)
        status = os.lstat(path)
    except OSError as error:
        raise UsageError(
            f"cannot use the run directory {path}: {error.strerror}", "choose another with --run-dir"
        ) from None
    if not os.path.isdir(path) or os.path.islink(path) or status.st_uid != os.geteuid():
        raise UsageError(
            f"cannot use the run directory {path}: it is not a folder of yours", "choose another with --run-dir"
        )
    foreign = set(os.listdir(path)) - {
        "lock", "new", "control.sock", "nginx.conf", "nginx.conf.new", "front.pid", "front.lock", "sites", "hosts", "wild",
        "default", "empty", "pages", "tls", "acme", "tmp",
    }  # fmt: skip
    if foreign:
        raise UsageError(
            f"cannot use the run directory {path}: it holds {sorted(foreign)[0]!r}, and is emptied when the server ends",
            "choose an empty one with --run-dir",
        )
    os.chmod(path, mode)
