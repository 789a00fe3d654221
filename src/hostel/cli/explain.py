"""``hostel explain``: what keeps a site from others, what its processes become, and where the time of its start goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hostel.cli.flame import draw, milliseconds
from hostel.cli.output import PathType, command, connect, json_option, print_json, print_problem, say, server_option
from hostel.errors import HostError, UsageError

PARTS = {
    "room": "its namespaces are made, once for all its workers, by a process that runs none of its code; it is to",
    "zygote": "the parent of its workers, which executes what is in the site's environment, is to",
    "worker": "each worker is to",
}
BAR = 30  # characters
MODULES = 15  # that are listed


@command(
    epilog="""\b
Examples:
  hostel explain blog
  hostel explain blog --json | jq '.guards[] | select(.is_on | not)'
  hostel explain blog --start                 where the time of a start goes
  hostel explain blog --start --svg blog.svg  the same as a picture
"""
)
@click.argument("site")
@click.option("--start", is_flag=True, help="Start a worker beside the others, and say where the time went.")
@click.option("--path", default="/", metavar="PATH", help="With --start: the page to ask it for. Default: /.")
@click.option("--svg", type=PathType(), metavar="FILE", help="With --start: write a flame graph of the imports.")
@server_option
@json_option
def explain(site: str, start: bool, path: str, svg: str | None, run_dir: str | None, as_json: bool) -> None:
    """Say what keeps a site from others, and why what is off is off.

    Then, step by step, what its processes become before its code runs. With --start: how it starts. A worker is started for
    that which serves nobody else; it imports the application and answers one request for PATH.
    """
    if not start:
        if svg is not None or path != "/":
            raise UsageError("--svg and --path tell of a start", "add --start")
        explain_guards(site, run_dir, as_json=as_json)
        return
    if not path.startswith("/"):
        raise UsageError("a path begins with '/'", f"try --path /{path}")
    answer = connect(run_dir).call("measure", site=site, path=path)
    if svg is not None:
        try:
            Path(svg).write_text(draw(answer), encoding="utf-8")
        except OSError as error:
            raise HostError(f"cannot write {svg}: {error.strerror}", "name another file") from None
    if as_json:
        print_json(answer)
    else:
        print_start(answer)
        if svg is not None:
            say(f"\nthe flame graph is in {svg}")
    if answer["problems"]:
        raise click.exceptions.Exit(1)


def explain_guards(site: str, run_dir: str | None, *, as_json: bool) -> None:
    answer = connect(run_dir).call("explain", site=site)
    if as_json:
        print_json(answer)
        return
    say(site, bold=True)
    for guard in answer["guards"]:
        say(f"  {'on ' if guard['is_on'] else 'off'}", end="", fg="green" if guard["is_on"] else "yellow")
        say(f"  {guard['name']:<14}{guard['text']}")
    for part, text in PARTS.items():
        if answer[part]:
            say()
            say(text)
            for number, step in enumerate(answer[part], 1):
                say(f"  {number:>2}. {step}")


def print_start(start: Mapping[str, Any]) -> None:
    """The stages as bars, then the modules and the packages that took longest."""
    say(start["site"], bold=True)
    for stage in start["stages"]:
        text = stage["text"]
        if stage["name"] == "fork" and start["new_zygote"]:
            text = f"its zygote is started, which was not there; then {text}"
        bar = make_bar(stage["begin"], stage["seconds"], start["seconds"])
        say(f"  {stage['name']:<16}{milliseconds(stage['seconds']):>11}  {bar}  {text}")
    answer = f"status {start['status']} for {start['path']}" if start["status"] else "no answer"
    say(f"  {'together':<16}{milliseconds(start['seconds']):>11}  {' ' * BAR}  {answer}", bold=True)
    say()
    imports = start["imports"]
    say(f"{start['present']} modules were there from its zygote, {len(imports)} were imported")
    if imports:
        say("\nthe slowest of them, each with what it imported, and for itself")
        for each in sorted(imports, key=lambda one: -one["seconds"])[:MODULES]:
            say(
                f"  {milliseconds(each['seconds']):>11} {milliseconds(each['own']):>11}  {each['module']}"
                f"{'' if each['parent'] < 0 else '  < ' + imports[each['parent']]['module']}"
            )
        say("\nby package, each for itself")
        for name, (seconds, count) in by_package(imports)[:MODULES]:
            say(f"  {milliseconds(seconds):>11}  {name}{f' ({count} modules)' if count > 1 else ''}")
    for problem in start["problems"]:
        say()
        print_problem(problem)


def by_package(imports: Sequence[Mapping[str, Any]]) -> list[tuple[str, tuple[float, int]]]:
    """The time that the modules of each package took for themselves, and how many these are; the slowest first."""
    found: dict[str, tuple[float, int]] = {}
    for each in imports:
        name = each["module"].partition(".")[0] if each["owner"] != "python" else "Python's own"
        seconds, count = found.get(name, (0.0, 0))
        found[name] = seconds + each["own"], count + 1
    return sorted(found.items(), key=lambda one: -one[1][0])


def make_bar(begin: float, seconds: float, whole: float) -> str:
    """Where a stage lies in the whole, as ``BAR`` characters."""
    if whole <= 0:
        return " " * BAR
    left = min(BAR - 1, round(begin / whole * BAR))
    length = max(1, min(BAR - left, round(seconds / whole * BAR)))
    return (" " * left + "█" * length).ljust(BAR)
