"""``hostel check``: every problem of every site file at once, without starting anything."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping
from typing import Any

import click

from hostel.api.views import CheckView, as_dict, view_of_problem
from hostel.certificates.checking import check_certificate
from hostel.cli.output import (
    PathType,
    command,
    connect,
    count,
    json_option,
    print_json,
    print_problem,
    say,
    server_option,
)
from hostel.cli.paths import read_files
from hostel.errors import NotRunning, SiteError
from hostel.options.capacity import budget_of
from hostel.options.check import check_site, identity_of
from hostel.options.fields import OF_TENANT
from hostel.options.server import ServerOptions, make_server_options
from hostel.options.site import Problem, Site
from hostel.plan import Plan, SiteFile, make_plan
from hostel.sandbox.site import guards_of
from hostel.source.base import with_own_user
from hostel.source.folder import FolderSource
from hostel.source.tenants import TenantSource


@command(
    epilog="""\b
Examples:
  hostel check                          what the running server serves
  hostel check /srv/sites               all site files of a folder
  hostel check blog.toml shop.toml      these two
  hostel check .                        a project that has no site file
  hostel check --tenants /etc/hostel/tenants
                                        the site files of tenants
"""
)
@click.argument("paths", nargs=-1, type=PathType(), metavar="[PATH]...")
@click.option("--tenants", type=PathType(), metavar="DIR", help="Look at the site files of the tenants in DIR, too.")
@server_option
@json_option
def check(paths: tuple[str, ...], tenants: str | None, run_dir: str | None, as_json: bool) -> None:
    """Report every problem of every site file at PATH.

    Nothing is started. PATH is a site file, a folder of site files, or a project. Exits with 1 when there is a problem.
    """
    table: dict[str, Any] = {"default_user": ServerOptions().default_user}
    workers = budget_of(ServerOptions())[0]
    if not paths and not tenants:
        paths, table, workers = find_paths(run_dir)
    options = make_server_options({**table, "default_user": stand_in(table["default_user"])})
    found: dict[str, SiteFile] = {}
    seen: set[str] = set()
    for path in paths:
        for file in read_files(path, found):
            if file.file not in seen:
                seen.add(file.file)
                found[file.name if file.name not in found else file.file] = file
    if tenants or options.tenants:
        found.update(TenantSource(tenants or options.tenants or "", least=options.least_uid).read())
    if options.users == "auto":
        found = {name: with_own_user(file) for name, file in found.items()}
    plan = make_plan({**neighbours(found.values()), **found}, Plan())
    problems = [problem for name in sorted(found.keys() & plan.problems) for problem in plan.problems[name]]
    for name in found.keys() & plan.sites:
        problems += check_site(plan.sites[name], options)
        problems += check_certificate(plan.sites[name], options)
    if plan.minimum > workers:
        reason = f"workers.min of all sites add up to {plan.minimum}, and the machine's budget is {workers} workers"
        remedy = "lower some of them, or raise --workers of hostel serve"
        problems.append(Problem("", "", "workers.min", reason, remedy, is_fatal=False))
    views = [view_of_problem(problem) for problem in problems]
    guards = {name: names_of_guards(plan.sites[name], options) for name in sorted(found.keys() & plan.sites)}
    if as_json:
        print_json(as_dict(CheckView(len(found), guards, views)))
    else:
        for view in views:
            print_problem(as_dict(view))
        print_guards(guards)
        say(f"{count(len(found), 'site')}, {count(len(problems), 'problem') if problems else 'no problems'}")
    if problems:
        raise click.exceptions.Exit(1)


def names_of_guards(site: Site, options: ServerOptions) -> list[str]:
    """What would keep a site from others if this user started it here."""
    try:
        guards = guards_of(site, identity_of(site, options), options) if site.app is not None else ()
    except SiteError:
        return []  # it cannot be started, and is reported
    return [guard.name for guard in guards if guard.is_on]


def print_guards(guards: Mapping[str, list[str]]) -> None:
    """A line for all sites that have the same guards."""
    kinds: dict[str, list[str]] = {}
    for name, on in guards.items():
        if on:
            kinds.setdefault(", ".join(on), []).append(name)
    for text, names in kinds.items():
        who = f"{names[0]}" if len(names) == 1 else f"{len(names)} sites"
        say(f"guards of {who}: {text}")


def neighbours(files: Iterable[SiteFile]) -> dict[str, SiteFile]:
    """The files beside those that are checked, if one of these mounts a site: that may be described there."""
    folders = {os.path.dirname(file.file) for file in files if file.site and file.site.mount}
    return {name: file for folder in folders for name, file in FolderSource(folder).read().items()}


def stand_in(user: str) -> str:
    """The user, or before the first start of a server has made it, another who owns nothing."""
    try:
        return pwd.getpwnam(user).pw_name
    except KeyError:
        return "nobody"


def find_paths(run_dir: str | None) -> tuple[tuple[str, ...], dict[str, Any], int]:
    """What the running server serves, those of its options that say as whom, and how many workers it has at most.

    Raises ``NotRunning``.
    """
    try:
        answer = connect(run_dir).call("status")
    except NotRunning as error:
        raise NotRunning(str(error), "name the files or folders to check, or another --run-dir") from None
    server = answer["server"]
    folders = tuple(server["site_folders"])
    projects = [
        site["file"]
        for site in answer["sites"]
        if OF_TENANT not in site["name"] and not site["file"].startswith(tuple(f"{f}/" for f in folders))
    ]
    names = ("default_user", "users", "user_range", "least_uid", "state_dir", "tenants")
    table = {name: server[name] for name in names if server[name]}
    return (*folders, *projects), table, server["budget"]["workers"]
