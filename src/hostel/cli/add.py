"""``hostel add`` and ``hostel remove``: site files written and removed."""

from __future__ import annotations

import getpass
import json
import os
import re
from typing import Any

import click

from hostel.cli.output import PathType, command, connect, json_option, print_json, print_problem, say, server_option
from hostel.cli.paths import look_at
from hostel.errors import UsageError
from hostel.options.detect import ENVIRONMENTS, detect
from hostel.options.fields import parse_site_name
from hostel.options.server import make_server_options
from hostel.options.site import Site, read_site


@command(
    epilog="""\b
Examples:
  hostel add blog /srv/blog              what it is, is found out by looking
  hostel add blog /srv/blog --dry-run    only show the site file
  hostel add blog /srv/blog --domain blog.example.com --user blog
  hostel add httpbin --app httpbin:app --environment /srv/httpbin/.venv
"""
)
@click.argument("name")
@click.argument("project", required=False, type=PathType())
@click.option(
    "--domain", "domains", multiple=True, metavar="HOST", help="Host name; may be repeated. Default: NAME.localhost."
)
@click.option("--app", metavar="MODULE:OBJECT", help="The application, when it cannot be found by looking.")
@click.option("--environment", type=PathType(), metavar="DIR", help="The virtualenv it runs in.")
@click.option("--user", help="The system user it runs as.", metavar="USER")
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", help="Environment variable of the site; may be repeated."
)
@click.option(
    "--static",
    multiple=True,
    metavar="/URL/=PATH",
    help="Files that are served without the application; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Print the site file and write nothing; no server is needed.")
@click.option("--replace", is_flag=True, help="Replace the site if it exists.")
@server_option
@json_option
def add(
    name: str,
    project: str | None,
    domains: tuple[str, ...],
    app: str | None,
    environment: str | None,
    user: str | None,
    variables: tuple[str, ...],
    static: tuple[str, ...],
    dry_run: bool,
    replace: bool,
    run_dir: str | None,
    as_json: bool,
) -> None:
    """Write a site file for PROJECT into the running server's folder.

    It is served within a second. PROJECT is a folder, or the Python file that has the application. With --app it may be
    left out: then it is the folder of the --environment, else the current one.
    """
    try:
        parse_site_name(name)
    except ValueError as error:
        raise UsageError(f"cannot add the site: {error}", "give it another NAME; its domains may be any") from None
    given = pairs(variables, "--env")
    options, notes = find_options(project, app, environment, given)
    options |= {key: value for key, value in (("app", app), ("user", user)) if value is not None}
    if environment:
        options["environment"] = os.path.abspath(environment)
    if domains:
        options["domains"] = list(domains)
    if given:
        options["env"] = {**options.get("env", {}), **given}
    if static:
        paths = {prefix: os.path.abspath(path) for prefix, path in pairs(static, "--static").items()}
        options["static"] = {**options.get("static", {}), **paths}
    text = write_site_file(options)
    site = check_text(name, text)
    if dry_run:
        say(text, end="")
        for note in notes:
            say(f"note: {note}", err=True)
        return
    answer = connect(run_dir).call("add", name=name, text=text, replace=replace)
    if as_json:
        print_json(answer)
        return
    view = answer["sites"][0]
    say(f"added site {name}, written to {view['file']}")
    for url in view["urls"]:
        say(f"  {url}")
    for note in notes:
        say(f"  note: {note}")
    for problem in view["problems"]:
        print_problem(problem, "  ")
    if answer["server"]["user"] == getpass.getuser():
        look_at(site, make_server_options({"default_user": answer["server"]["default_user"]}))


def check_text(name: str, text: str) -> Site:
    """The site that a site file would make: checked here too, where the person is. Raises ``UsageError``."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        shown = text[: error.end].splitlines()[-1]
        raise UsageError(
            f"cannot add site {name}: a site file is UTF-8, and cannot say: {shown}", "rename what is not"
        ) from None
    site, problems = read_site(name, os.path.abspath(f"{name}.toml"), data)
    if site is None:
        reasons = [f"{problem.where.partition(' (')[0]}: {problem.reason}" for problem in problems]
        raise UsageError(f"cannot add site {name}: " + "; ".join(reasons), problems[0].remedy)
    return site


def find_options(
    project: str | None, app: str | None, environment: str | None, variables: dict[str, str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a site file for the project would say, and notes for the person; ``variables`` are those that it will have.

    Raises ``UsageError``.
    """
    if app is not None and (project is None or os.path.isdir(project)):
        # The folder of an environment, not the environment: what lies in there is no place to work in.
        place = os.path.abspath(project or (os.path.dirname(os.path.abspath(environment)) if environment else "."))
        own = find_environment(place)
        return {"app": app, "directory": place, **({"environment": own} if own else {})}, ()
    if project is None:
        raise UsageError("cannot add the site: there is nothing to make it of", "name its PROJECT folder, or its --app")
    found = detect(project, variables)
    return dict(found.options), found.notes


def find_environment(folder: str) -> str | None:
    """The virtualenv of a project's folder, if it has one under a usual name."""
    paths = [os.path.join(folder, name) for name in ENVIRONMENTS]
    return next((path for path in paths if os.path.isfile(os.path.join(path, "pyvenv.cfg"))), None)


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """``NAME=VALUE`` arguments as a table. Raises ``UsageError``."""
    found = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise UsageError(f"cannot use {option} {text!r}: it has no '='", f"write {option} NAME=VALUE")
        found[key] = value
    return found


def write_site_file(options: dict[str, Any]) -> str:
    """A table of options as TOML; plain values first, tables behind them."""
    lines = [f"{key} = {write_value(value)}" for key, value in options.items() if not isinstance(value, dict)]
    for key, table in options.items():
        if isinstance(table, dict) and table:
            lines += ["", f"[{key}]"]
            lines += [f"{write_key(name)} = {write_value(value)}" for name, value in table.items()]
    return "\n".join(lines) + "\n"


def write_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else write_value(name)


def write_value(value: Any) -> str:
    """A value as TOML; JSON's strings, numbers and lists are TOML's, but for one control character."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@command(
    epilog="""\b
Examples:
  hostel remove blog        its site file goes; the project and the logs stay
"""
)
@click.argument("sites", nargs=-1, required=True, metavar="SITE...")
@server_option
@json_option
def remove(sites: tuple[str, ...], run_dir: str | None, as_json: bool) -> None:
    """Remove sites; running requests are finished."""
    answer = connect(run_dir).call("remove", sites=list(sites))
    if as_json:
        print_json(answer)
    else:
        for name in answer["removed"]:
            say(f"removed site {name}")
