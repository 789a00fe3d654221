"""``hostel status``: what the server and its sites are doing; and the first screen of ``hostel serve``."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from hostel.cli.output import (
    ago,
    command,
    connect,
    count,
    headline,
    json_option,
    print_json,
    print_problem,
    printable,
    say,
    server_option,
    shorten,
    size,
)  # fmt: skip
from hostel.errors import NotRunning
from hostel.options.fields import to_readable
from hostel.options.server import default_folder

COLORS = {
    "cold": "blue", "starting": "yellow", "serving": "green", "draining": "yellow", "failed": "red",
    "disabled": "magenta", "paused": "magenta", "invalid": "red", "static": "cyan",
}  # fmt: skip
COLUMNS = ("SITE", "STATE", "SINCE", "GEN", "WORKERS", "SERVED", "URL")
DISPENSABLE = ("GEN", "SINCE", "SERVED", "WORKERS")  # left out in this order where a terminal is too narrow
SHOWN = 40  # sites on the first screen
DEATHS = 5  # that are shown of a site
PROBLEMS = 10  # sites whose problems are shown below a table


@command(
    epilog="""\b
Examples:
  hostel status                 all sites, a line each
  hostel status blog            one site, with its workers and problems
  hostel status --json | jq -r '.sites[] | select(.problems != []) | .name'
"""
)
@click.argument("sites", nargs=-1, metavar="[SITE]...")
@server_option
@json_option
def status(sites: tuple[str, ...], run_dir: str | None, as_json: bool) -> None:
    """Show the server and its sites.

    Exits with 1 when a site that was asked for has a problem.
    """
    answer = connect(run_dir).call("status", sites=list(sites))
    if as_json:
        print_json(answer)
    elif sites:
        for site in answer["sites"]:
            print_site(site)
    else:
        print_server(answer)
        say()
        print_table(answer["sites"])
        print_problems(answer)
    if sites and any(problem["is_fatal"] for site in answer["sites"] for problem in site["problems"]):
        raise click.exceptions.Exit(1)


def print_server(answer: dict[str, Any]) -> None:
    server = answer["server"]
    workers = sum(len(site["workers"]) for site in answer["sites"])
    say(f"Hostel {server['version']}", end="", bold=True)
    say(f", up {ago(server['started'])}, {count(len(answer['sites']), 'site')}, {count(workers, 'worker')}")
    say(f"  processes: supervisor {server['supervisor']}, manager {server['manager']}, front {server['front']}")
    print_budget(server["budget"])
    safe = f", HTTPS on {', '.join(server['listen_tls'])}" if server["listen_tls"] else ""
    say(f"  front:     {server['front_version']} on {', '.join(server['listen'])}{safe}")
    if server["site_folders"]:
        say(f"  sites:     {', '.join(server['site_folders'])}")
    say(f"  logs:      {server['log_dir']}")


def print_budget(budget: dict[str, Any]) -> None:
    waiting = f", {budget['waiting']} more wait for room" if budget["waiting"] else ""
    say(
        f"  budget:    {budget['used_workers']} of {count(budget['workers'], 'worker')}, "
        f"{size(budget['used_memory'])} of {size(budget['memory'])}{waiting}"
    )
    if budget["minimum"] > budget["workers"]:
        say(
            f"! the sites' workers.min add up to {budget['minimum']}, more than the budget of {budget['workers']}: they run, "
            "and all other sites share one place; raise --workers, or lower some of them",
            fg="red",
        )


def print_table(sites: Sequence[dict[str, Any]]) -> None:
    """A line for each site."""
    if not sites:
        return
    rows = [dict(zip(COLUMNS, COLUMNS, strict=True)), *map(_row, sites)]
    width = {column: max(len(row[column]) for row in rows) for column in COLUMNS}
    columns = list(COLUMNS)
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for column in DISPENSABLE:
        if sum(width[one] + 2 for one in columns) - 2 > room:
            columns.remove(column)
    for number, row in enumerate(rows):
        cells = {column: row[column].ljust(width[column]) for column in columns}
        cells[columns[-1]] = row[columns[-1]]
        if number == 0:
            click.secho("  ".join(cells.values()), bold=True)
        else:
            cells["STATE"] = click.style(cells["STATE"], fg=COLORS.get(row["STATE"].rstrip(" !")))
            click.echo("  ".join(cells.values()))


def state_of(site: dict[str, Any]) -> str:
    """The state as people are shown it: files alone never wake, and so do not sleep."""
    return "static" if site["interface"] == "static" and site["state"] == "cold" else str(site["state"])


def _row(site: dict[str, Any]) -> dict[str, str]:
    ready = sum(worker["phase"] == "ready" for worker in site["workers"])
    values = (
        shorten(printable(site["name"]), 60),
        state_of(site) + (" !" if site["problems"] else ""),
        ago(site["since"]) if site["since"] else "-",
        str(site["generation"] or "-"),
        str(ready or "-"),
        str(site["served"] or "-"),
        to_readable(site["urls"][0]) if site["urls"] else "-",
    )
    return dict(zip(COLUMNS, values, strict=True))


def print_problems(answer: dict[str, Any]) -> None:
    """What is wrong, a line for each site."""
    for problem in answer["problems"]:
        print_problem(problem)
    bad = [site for site in answer["sites"] if site["problems"]]
    if bad:
        say()
    for site in bad[:PROBLEMS]:
        more = f" (and {len(site['problems']) - 1} more)" if len(site["problems"]) > 1 else ""
        say(shorten(f"! {site['name']}: {headline(site['problems'][0])}{more}", 300), fg="red")
    if bad:
        others = f"{len(bad) - PROBLEMS} more have problems; " if len(bad) > PROBLEMS else ""
        say(f"{others}more: hostel status {'SITE' if len(bad) > 1 else printable(bad[0]['name'])}")


def print_site(site: dict[str, Any]) -> None:
    say(site["name"], end="  ", bold=True)
    say(state_of(site), end="", fg=COLORS.get(state_of(site)))
    say(f" for {ago(site['since'])}" if site["since"] else "", end="")
    goes_on = "is tried again" if site["state"] == "failed" else "goes on by itself"
    say(f", {goes_on} in {max(0, round(site['resumes'] - time.time()))} s" if site["resumes"] else "")
    facts = {
        "urls": to_readable(" ".join(site["urls"])),
        "mounts": ", ".join(f"{path} -> {other}" for path, other in site["mounts"].items()),
        "file": site["file"],
        "directory": site["directory"],
        "interface": site["interface"],
        "user": site["user"],
        "logs": site["log_dir"],
        "guards": ", ".join(site["guards"]),
        "generation": site["generation"] or "",
        "pool": pool_of(site),
        "replaced": f"{site['replaced']}, {ago(site['replaced_at'])} ago" if site["replaced"] else "",
        "served": count(site["served"], "request") if site["served"] else "",
    }
    for name, value in facts.items():
        if value:
            say(f"  {name + ':':<12}{value}")
    for worker in site["workers"]:
        ready = f", started in {worker['ready_after'] * 1000:.0f} ms" if worker["ready_after"] else ""
        memory = f", {size(worker['memory'])}" if worker["memory"] else ""
        say(
            f"  worker {worker['generation']}.{worker['number']}: pid {worker['pid'] or '-'}, {worker['phase']}{ready}, "
            f"{worker['served']} served, {worker['busy']} running{memory}"
        )
    for death in site["deaths"][:DEATHS]:
        print_death(death)
    for problem in site["problems"]:
        print_problem(problem, "  ")


def print_death(death: dict[str, Any]) -> None:
    """How a worker ended, and what it was doing."""
    say(f"  died {ago(death['time'])} ago: {printable(death['reason'])} (pid {death['pid']})")
    for request in death["requests"]:
        age = f", for {request['age']:.1f} s" if request["age"] else ", which was over"
        say(
            f"    {shorten(printable(request['method'] + ' ' + request['url']), 100)} (request {printable(request['id'])}){age}"
        )


def pool_of(site: dict[str, Any]) -> str:
    """What its workers do, in a line; empty when there is none."""
    ready = [worker for worker in site["workers"] if worker["phase"] == "ready"]
    busy = sum(worker["busy"] > 0 for worker in ready)
    waiting = f", {count(site['waiting'], 'request')} waiting" if site["waiting"] else ""
    return f"{len(ready)} ready, {busy} busy, {site['wanted']} wanted{waiting}" if site["workers"] or waiting else ""


def print_tls(answer: dict[str, Any]) -> None:
    """How to come by HTTPS."""
    safe = [to_readable(url) for site in answer["sites"] for url in site["urls"] if url.startswith("https:")]
    if not safe:
        say(f"HTTPS on {', '.join(answer['server']['listen_tls'])}, with no certificate for any domain yet.")
        return
    say(f"\nHTTPS: {safe[0]}" + (f" and {len(safe) - 1} more" if len(safe) > 1 else ""))
    if any(url.split("/")[2].partition(":")[0].endswith("localhost") for url in safe):
        say(f"  To be trusted by this machine's browsers: {answer['server']['state_dir']}/tls/localhost-ca.pem")


@click.command("_welcome", hidden=True)
@click.argument("run_dir")
def welcome(run_dir: str) -> None:
    """The first screen of ``hostel serve``: waits for the server, and shows what it serves."""
    parent = os.getppid()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and os.getppid() == parent:
        try:
            answer = connect(run_dir).call("status")
        except NotRunning:
            time.sleep(0.03)
            continue
        print_welcome(answer)
        return


def print_welcome(answer: dict[str, Any]) -> None:
    server, sites = answer["server"], answer["sites"]
    which = "" if server["run_dir"] == default_folder("run") else f" --run-dir {server['run_dir']}"
    say()
    say(f"Hostel {server['version']}", end="", bold=True)
    say(f" with {server['front_version']}; logs in {server['log_dir']}")
    if server["user"] != "root" and (len(sites) > 1 or server["site_folders"]):
        say(f"All sites run as {server['user']}, who started Hostel: nothing guards them from each other.", fg="yellow")
    say()
    print_table(sites[:SHOWN])
    if len(sites) > SHOWN:
        say(f"... and {len(sites) - SHOWN} more: hostel status{which}")
    if not sites and not answer["problems"]:
        say(f"No site yet. Put a site file into {', '.join(server['site_folders'])}, or:")
        say(f"  hostel add NAME PROJECT{which}")
    if server["listen_tls"]:
        print_tls(answer)
    print_problems(answer)
    say("\nA site starts with its first request. Stop the server with Ctrl-C.\n")
