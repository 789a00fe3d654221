"""``hostel upgrade``: from the installed code to the running one."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from hostel.api.client import Client
from hostel.api.views import UpgradeView, as_dict
from hostel.cli.output import command, connect, count, json_option, print_json, say, server_option
from hostel.errors import HostError, NotRunning

LOOK_SECONDS = 0.05
START_SECONDS = 30.0
REMEDY = (
    "sites that run go on meanwhile; what the server has printed says why: mend the installation, or install the old version "
    "again: it tries all the time"
)


@command(
    epilog="""\b
Examples:
  hostel upgrade            after: pip install --upgrade hostel
"""
)
@server_option
@json_option
def upgrade(run_dir: str | None, as_json: bool) -> None:
    """Take up a newly installed Hostel without losing a request.

    The new version is tried first; when it would not start, the old one goes on and this exits with 111. Then manager and
    zygotes are restarted, and the sites that run are reloaded, a few at a time. SIGHUP to the supervisor does the same, unless
    it has a terminal.
    """
    client = connect(run_dir)
    answer = client.call("upgrade")
    view = UpgradeView(answer["before"], answer["version"], answer["manager"])
    if not as_json:
        say(f"Hostel {view.version} starts (it was {view.before})")
    left = wait_for_manager(client, view.manager)["queued_reloads"]
    while left:
        if not as_json:
            say(f"{count(left, 'site')} to be reloaded")
        before = left
        while left == before:
            time.sleep(LOOK_SECONDS)
            left = look(client)["queued_reloads"]
    if as_json:
        print_json(as_dict(view))
    else:
        say("all sites run the new code")


def look(client: Client) -> dict[str, Any]:
    return dict(client.call("status", brief=True)["server"])


def wait_for_manager(client: Client, old: int) -> dict[str, Any]:
    """What the status says of the server when another manager than ``old`` serves. Raises ``HostError`` when none does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(NotRunning):
            server = look(client)
            if server["manager"] != old:
                return server
        time.sleep(LOOK_SECONDS)
    raise HostError("the new version does not start, although it did in its trial", REMEDY)
