"""What commands share: finding the server, printing for people and for programs.

Much of what is printed was written by tenants (tracebacks, names of files): ``say`` lets none of it command a terminal.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from hostel.api.client import Client
from hostel.api.views import ErrorView, as_dict
from hostel.errors import HostelError
from hostel.options.server import default_folder

F = TypeVar("F", bound=Callable[..., Any])
OUTPUT_LINES = 12  # of what a worker wrote last


class Command(click.Command):
    """A command whose errors are JSON, too, when JSON was asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HostelError as error:
            if not ctx.params.get("as_json"):
                raise
            print_json({"error": as_dict(ErrorView(error.kind, str(error), error.hint))})
            raise click.exceptions.Exit(error.exit_code) from None


class PathType(click.ParamType[str]):
    """A path, which may be missing but not empty: an empty one would be the current folder."""

    name = "path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value or self.fail("a path is not empty", param, ctx)


command = functools.partial(click.command, cls=Command)
server_option = click.option(
    "--run-dir",
    envvar="HOSTEL_RUN_DIR",
    metavar="DIR",
    help="Run directory of the server, if it is not the usual one; HOSTEL_RUN_DIR says it as well.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def connect(run_dir: str | None) -> Client:
    return Client(os.path.abspath(run_dir or default_folder("run")))


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def say(text: str = "", *, end: str = "\n", err: bool = False, **style: Any) -> None:
    """Print a text of which nothing but its characters reaches the terminal; ``style`` as ``click.style``."""
    click.secho(printable(text), nl=False, err=err, **style)
    click.echo(end, nl=False, err=err)


def printable(text: str) -> str:
    """The text with escapes for control characters, for those that change a line's direction, and for broken ones."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def fail(error: HostelError) -> int:
    """Print an error for a person; its exit status."""
    say("error: ", end="", err=True, fg="red", bold=True)
    say(shorten(str(error)), err=True)
    if error.hint:
        say("hint:  ", end="", err=True, fg="cyan")
        say(shorten(error.hint), err=True)
    return error.exit_code


def shorten(text: str, most: int = 4000) -> str:
    """A text without its middle, when it is so long that nobody would see its end."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def ago(moment: float) -> str:
    """How long ago, in one unit."""
    seconds = max(0, int(time.time() - moment))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def size(number: float) -> str:
    """Bytes for people: ``640 MB``, ``1.5 GB``."""
    return f"{number / 2**30:.1f} GB" if number >= 2**30 else f"{number / 2**20:.0f} MB"


def count(number: int, noun: str) -> str:
    """``1 site``, ``2 sites``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def headline(problem: dict[str, Any]) -> str:
    """A problem in a line."""
    if problem["kind"] == "file":
        places = (problem["file"], problem["where"], problem["reason"])
        return ": ".join(place for place in places if place)
    return f"problem {problem['id']}, {ago(problem['time'])} ago, at step {problem['step']}: {problem['reason']}"


def print_problem(problem: dict[str, Any], indent: str = "") -> None:
    """One problem with its remedy and what is known of it."""
    lines = [f"-> {problem['hint']}"] if problem["hint"] else []
    if problem["traceback"]:
        lines += [f"| {line}" for line in problem["traceback"].rstrip().splitlines()]
    elif problem["output"]:
        lines += [f"| {line}" for line in problem["output"].rstrip().splitlines()[-OUTPUT_LINES:]]
    say(f"{indent}{headline(problem)}", fg="red" if problem["is_fatal"] else "yellow")
    for line in lines:
        say(f"{indent}  {line}")
