"""``hostel start``, ``stop`` and ``reload``."""

from __future__ import annotations

import time
from typing import Any

import click

from hostel.cli.output import command, connect, count, json_option, print_json, print_problem, say, server_option
from hostel.cli.status import state_of
from hostel.options.fields import parse_duration

NOTES = {
    ("stop", "disabled"): "visitors see a maintenance page until: hostel start {name}",
    ("pause", "paused"): "visitors wait until: hostel start {name}; or for {seconds} s",
    ("pause", "disabled"): "it is stopped, and stays so until: hostel start {name}",
    ("reload", "paused"): "what goes on is the new code: hostel start {name}",
    ("reload", "cold"): "its next start loads the new code",
    ("reload", "draining"): "its next start loads the new code",
    ("reload", "disabled"): "it is stopped; run it with: hostel start {name}",
}


def _order(
    call: str, sites: tuple[str, ...], run_dir: str | None, as_json: bool, is_all: bool, **arguments: Any
) -> None:
    begin = time.time()
    client = connect(run_dir)
    # For programs the answer as a whole, for people each site as soon as it is done.
    arguments |= {"sites": list(sites), "all": is_all}
    parts = [client.call(call, **arguments)] if as_json else client.parts(call, **arguments)
    is_bad = False
    for part in parts:
        if as_json:
            print_json(part)
        for site in part["sites"]:
            # An older problem that the order has not cleared is not the order's: hostel status shows it.
            problems = [
                problem for problem in site["problems"] if problem["kind"] == "file" or problem["time"] >= begin
            ]
            is_bad = is_bad or any(problem["is_fatal"] for problem in problems)
            if not as_json:
                say(describe(call, site, is_bad=bool(problems)))
                for problem in problems:
                    print_problem(problem, "  ")
    if is_bad:
        raise click.exceptions.Exit(1)


def describe(call: str, site: dict[str, Any], *, is_bad: bool) -> str:
    """A site after an order, in a line."""
    ready = sum(worker["phase"] == "ready" for worker in site["workers"])
    seconds = max(0, round(site["resumes"] - time.time()))
    more = "" if is_bad else NOTES.get((call, site["state"]), "").format(name=site["name"], seconds=seconds)
    if ready:
        more = f"generation {site['generation']}, {count(ready, 'worker')}"
    elif site["interface"] == "static" and call not in ("stop", "pause"):
        more = "files only: there is nothing to start"
    return f"{site['name']}: {state_of(site)}" + (f" ({more})" if more else "")


def _arguments(function: Any) -> Any:
    """What the three commands have in common."""
    function = click.option("--all", "is_all", is_flag=True, help="Every site.")(json_option(server_option(function)))
    return click.argument("sites", nargs=-1, metavar="SITE...")(function)


@command(
    epilog="""\b
Examples:
  hostel start blog         now, rather than at the next request
  hostel start --all
"""
)
@_arguments
def start(sites: tuple[str, ...], is_all: bool, run_dir: str | None, as_json: bool) -> None:
    """Start sites, and wait until they serve.

    Exits with 1, and shows the reason, when one does not start.
    """
    _order("start", sites, run_dir, as_json, is_all)


@command(
    epilog="""\b
Examples:
  hostel stop blog          visitors see a maintenance page until its start
"""
)
@_arguments
def stop(sites: tuple[str, ...], is_all: bool, run_dir: str | None, as_json: bool) -> None:
    """Stop sites until they are started again.

    Running requests are finished.
    """
    _order("stop", sites, run_dir, as_json, is_all)


class TimeType(click.ParamType[float]):
    """A time as in site files: 90, 90s, 2m."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_duration(float(value) if str(value).isdigit() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@command(
    epilog="""\b
Examples:
  hostel pause blog         visitors wait while you migrate a database,
                            until: hostel start blog
"""
)
@_arguments
@click.option(
    "--limit", type=TimeType(), default="60s", show_default=True, metavar="TIME",
    help="The sites go on by themselves after so long; less than --request of hostel serve.",
)  # fmt: skip
def pause(sites: tuple[str, ...], is_all: bool, run_dir: str | None, as_json: bool, limit: float) -> None:
    """Let the visitors of sites wait until they are started again.

    Running requests are finished first. Whoever comes meanwhile waits, and is served when the sites go on.
    """
    _order("pause", sites, run_dir, as_json, is_all, limit=limit)


@command(
    epilog="""\b
Examples:
  hostel reload blog        the old code serves until the new code is ready
  hostel reload --all
"""
)
@_arguments
def reload(sites: tuple[str, ...], is_all: bool, run_dir: str | None, as_json: bool) -> None:
    """Load the code of sites anew without losing a request.

    Many sites are reloaded a few at a time, as many as --parallel-starts of hostel serve allows, and each is reported when it
    is done; Ctrl-C calls off the rest. Sites that sleep load the new code at their next start anyway.

    Exits with 1, and shows the reason, when the new code does not start; the old then goes on serving.
    """
    _order("reload", sites, run_dir, as_json, is_all)
