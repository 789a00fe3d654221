"""``hostel cache``: what the front keeps of the sites' answers."""

from __future__ import annotations

import click

from hostel.cli.output import Command, connect, json_option, print_json, say, server_option


@click.group(
    epilog="""\b
Examples:
  hostel cache purge --all  show nobody what has been kept until now
"""
)
def cache() -> None:
    """What the front keeps of the answers of sites with [cache]."""


@cache.command(
    cls=Command,
    epilog="""\b
Examples:
  hostel cache purge blog   its pages have changed: show nobody the old ones
  hostel cache purge --all
""",
)
@click.argument("sites", nargs=-1, metavar="SITE...")
@click.option("--all", "is_all", is_flag=True, help="Every site that has a cache.")
@server_option
@json_option
def purge(sites: tuple[str, ...], is_all: bool, run_dir: str | None, as_json: bool) -> None:
    """Forget all that is kept of sites' answers.

    From the next request on nothing of it is shown. The disk gets its room back within seconds.
    """
    answer = connect(run_dir).call("purge", sites=list(sites), all=is_all)
    if as_json:
        print_json(answer)
        return
    for name in answer["purged"]:
        say(f"purged the cache of {name}")
    if not answer["purged"]:
        say("no site has a cache")
