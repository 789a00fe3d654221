"""What the control socket shows of environments: who runs in each, and what its zygotes have learned to import."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hostel.api.views import EnvironmentsView, EnvironmentView
from hostel.errors import SiteError
from hostel.manager.logs import escape_text
from hostel.options.check import identity_of
from hostel.options.python import settle_python

if TYPE_CHECKING:
    from hostel.manager.server import Server


def make_environments(server: Server) -> EnvironmentsView:
    """Every environment that a site runs in, or that has a zygote."""
    sites: dict[str, list[str]] = {}
    for name, managed in sorted(server.runner.sites.items()):
        site = managed.machine.site
        if site.app is None:
            continue
        try:
            site = settle_python(site, identity_of(site, server.options), server.options)
            path = site.environment or sys.prefix
        except SiteError:
            path = site.environment or site.python or sys.prefix  # it is not there, which its status says
        sites.setdefault(path, []).append(name)
    zygotes = server.runner.workers.zygotes
    views = zygotes.views()
    found = []
    for path in sorted({*sites, *(view.environment for view in views)}):
        trial = zygotes.learned.trial(path)
        found.append(
            EnvironmentView(
                path=path,
                sites=sites.get(path, []),
                zygotes=[view for view in views if view.environment == path],
                learned=zygotes.learned.modules(path),
                tried=trial is not None,
                imported=trial.imported if trial else (),
                refused={name: escape_text(reason) for name, reason in trial.refused.items()} if trial else {},
                seconds=round(trial.seconds, 3) if trial else 0.0,
            )
        )
    return EnvironmentsView(found)
