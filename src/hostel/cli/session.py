"""``hostel exec`` and ``hostel shell``: a command run exactly as a site's worker would be."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import click

from hostel.cli.output import command, connect, server_option
from hostel.sandbox.cgroups import COMMAND, Cgroups, Quota
from hostel.sandbox.session import Session, run
from hostel.sandbox.site import trees_of

FROM_HERE = ("TERM", "COLORTERM")  # what the terminal is called


@command(
    "exec",
    epilog="""\b
Examples:
  hostel exec blog -- python manage.py migrate
  hostel exec blog -- env
""",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("site")
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND...", type=click.UNPROCESSED)
@server_option
def exec_(site: str, words: tuple[str, ...], run_dir: str | None) -> None:
    """Run a command as the site's worker would be.

    It has the same user, guards, environment variables, virtualenv and folder; its /tmp and its limits are its own.
    Exits with the status of the command.
    """
    raise click.exceptions.Exit(run(make_session(site, words, run_dir)))


@command(
    epilog="""\b
Examples:
  hostel shell blog
"""
)
@click.argument("site")
@server_option
def shell(site: str, run_dir: str | None) -> None:
    """Open a shell as the site's worker would be.

    It has a terminal of its own: what runs in it cannot type into yours.
    """
    session = make_session(site, ("/bin/sh",), run_dir)
    bash = shutil.which("bash", path="/usr/bin:/bin:/usr/local/bin")
    raise click.exceptions.Exit(run(replace(session, command=(bash, "--norc") if bash else session.command)))


def make_session(site: str, words: tuple[str, ...], run_dir: str | None) -> Session:
    """What the running server says about how to run a command for a site."""
    client = connect(run_dir)
    said = client.call("session", site=site)
    trees = trees_of(os.path.abspath(client.run_dir)) if os.geteuid() == 0 else []
    return Session(
        command=words,
        environment={**said["environment"], **{name: os.environ[name] for name in FROM_HERE if name in os.environ}},
        room=said["room"],
        worker=said["worker"],
        joins_processes=bool(said["room"]) and said["joins_processes"],
        cgroups=Cgroups(trees),
        group=f"{site}{COMMAND}{os.getpid()}" if trees else "",
        quota=Quota(said["memory"], said["cpu"], said["processes"]),
    )
