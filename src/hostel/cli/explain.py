"""``hostel explain``: what keeps a site from others, and what its processes become before its code runs."""

from __future__ import annotations

import click

from hostel.cli.output import command, connect, json_option, print_json, say, server_option

PARTS = {
    "room": "its namespaces are made, once for all its workers, by a process that runs none of its code; it is to",
    "zygote": "the parent of its workers, which executes what is in the site's environment, is to",
    "worker": "each worker is to",
}


@command(
    epilog="""\b
Examples:
  hostel explain blog
  hostel explain blog --json | jq '.guards[] | select(.is_on | not)'
"""
)
@click.argument("site")
@server_option
@json_option
def explain(site: str, run_dir: str | None, as_json: bool) -> None:
    """Say what keeps a site from others, and why what is off is off.

    Then, step by step, what its processes become before its code runs.
    """
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
