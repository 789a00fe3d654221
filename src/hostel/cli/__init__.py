"""The command line: a file for each command, each a client of the running server's control socket."""

from __future__ import annotations

import sys

import click

import hostel
from hostel.cli.add import add, remove
from hostel.cli.cache import cache
from hostel.cli.check import check
from hostel.cli.env import env
from hostel.cli.explain import explain
from hostel.cli.logs import logs
from hostel.cli.orders import pause, reload, start, stop
from hostel.cli.output import fail
from hostel.cli.serve import serve
from hostel.cli.session import exec_, shell
from hostel.cli.status import status, welcome
from hostel.cli.upgrade import upgrade
from hostel.errors import HostelError, UsageError


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
    epilog="""\b
Examples:
  hostel serve .               try it on a project: at http://localhost:8000/
  hostel serve /srv/sites      host every site in a folder of site files
  hostel add blog /srv/blog    make a site of a project
  hostel status                what all sites are doing
  hostel logs blog -f          follow the logs of one

\b
Exit status: 0 fine, 1 a site has a problem, 2 wrong use,
3 no server is running, 111 the operating system said no.
""",
)
@click.version_option(hostel.__version__, prog_name="hostel", message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """Host Python web applications, many on one machine."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for one in (
    serve,
    status,
    start,
    stop,
    pause,
    reload,
    logs,
    explain,
    exec_,
    shell,
    add,
    remove,
    cache,
    env,
    check,
    upgrade,
    welcome,
):
    commands.add_command(one)


def main() -> None:
    """Run the command line; the process ends with the exit status of the error tree."""
    sys.exit(run())


def run() -> int:
    """Run the command line; its exit status."""
    try:
        return int(commands.main(prog_name="hostel", standalone_mode=False) or 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"see {context.command_path} --help" if context else "see hostel --help"
        message = error.format_message()
        return fail(UsageError(message[:1].lower() + message[1:].removesuffix("."), hint))
    except HostelError as error:
        return fail(error)
