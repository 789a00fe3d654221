"""The sandbox of one site on this machine: its file, its user and the server's options brought together.

The hard part is to know what a site needs to see when others' folders are hidden: its own, its interpreter with all that
lies behind links, and Hostel. Paths are resolved here, once; whoever mounts them later follows no link any more.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from functools import cache

from hostel.errors import HostError, SiteError
from hostel.options.server import ServerOptions
from hostel.options.site import Site
from hostel.options.tenant import is_inside
from hostel.sandbox import quota
from hostel.sandbox.abilities import find_abilities
from hostel.sandbox.cgroups import Cgroups, Quota, Tree, find_trees
from hostel.sandbox.files import SCRATCH
from hostel.sandbox.identity import Identity
from hostel.sandbox.plan import Abilities, Guard, Limits, Places, Sandbox, Wishes, make_guards, make_sandbox
from hostel.sandbox.trust import find_base, is_trusted_environment

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def sandbox_of(site: Site, identity: Identity, options: ServerOptions, *, for_command: bool = False) -> Sandbox:
    """What the processes of a site become here; ``for_command``: a process that no zygote of the site's is the parent of."""
    return make_sandbox(
        identity,
        places_of(site, identity, options),
        _wishes(site, options),
        _abilities(options),
        _limits(site, identity, options),
        has_own_zygote=not for_command and has_own_zygote(site),
    )


def guards_of(site: Site, identity: Identity, options: ServerOptions) -> tuple[Guard, ...]:
    """What keeps a site from others here; quick enough to be asked for thousands of sites."""
    return make_guards(identity, _wishes(site, options), _abilities(options), _limits(site, identity, options))


def _wishes(site: Site, options: ServerOptions) -> Wishes:
    guard = site.guard
    return Wishes(
        level=guard.level or options.guard_level,
        files=guard.files,
        processes=guard.processes,
        ipc=guard.ipc,
        system_calls=guard.system_calls,
        privileges=guard.privileges,
        network=guard.network == "none",
    )


def _abilities(options: ServerOptions) -> Abilities:
    controllers = tuple(one for tree in trees_of(options.run_dir) for one in tree.controllers)
    return replace(find_abilities(), controllers=controllers)


def _limits(site: Site, identity: Identity, options: ServerOptions) -> Limits:
    limits = site.limits
    doors = tuple(Cgroups(trees_of(options.run_dir)).doors(site.name))
    obstacle = _disk_obstacle(site, identity, options) if limits.disk else ""
    return Limits(
        limits.memory, limits.cpu, limits.processes, limits.files, limits.file_size, limits.disk, obstacle, doors
    )


def _disk_obstacle(site: Site, identity: Identity, options: ServerOptions) -> str:
    """Why the site's disk cannot be limited, in words."""
    if not site.has_own_user:
        return "its user is not its own alone (--users auto gives it one; for others there is setquota)"
    return quota.obstacle(os.path.join(options.state_dir, "sites"), identity.uid)


def limit_disk(site: Site, identity: Identity, options: ServerOptions) -> None:
    """Have the kernel hold ``limits.disk``, where it can; where it cannot, ``hostel explain`` says so."""
    if site.has_own_user:
        with contextlib.suppress(HostError):
            quota.set_limit(os.path.join(options.state_dir, "sites"), identity.uid, site.limits.disk)


def quota_of(site: Site) -> Quota:
    """What its control group allows."""
    return Quota(site.limits.memory, site.limits.cpu, site.limits.processes)


def trees_of(run_dir: str) -> list[Tree]:
    """The hierarchies in which the sites of the server with this run directory have their groups; looked for once."""
    return list(_find_trees(run_dir))


@cache
def _find_trees(run_dir: str) -> tuple[Tree, ...]:
    try:
        return tuple(find_trees(run_dir)) if os.geteuid() == 0 else ()
    except OSError:
        return ()  # a system without control groups


def has_own_zygote(site: Site) -> bool:
    """Whether somebody other than root decides what the site's interpreter executes before a worker is forked."""
    if os.geteuid() != 0 or site.environment is None or is_trusted_environment(site.environment):
        return False
    return not find_base(site.environment)  # then it is forked by the zygote of the bare interpreter


def state_path(site: Site, options: ServerOptions) -> str:
    """The site's own writable folder."""
    return os.path.join(options.state_dir, "sites", site.name)


def places_of(site: Site, identity: Identity, options: ServerOptions) -> Places:
    """Which parts of the file system are the site's, which it has to see, and which are covered."""
    own = [site.directory, state_path(site, options), *site.guard.writable]
    if os.geteuid() != 0:
        own += SCRATCH
    elif _is_home(identity):
        own.append(identity.home)
    shared = [
        PACKAGE,
        os.path.join(options.log_dir, site.name),
        *dict(site.env).get("PYTHONPATH", "").split(os.pathsep),
    ]
    for environment in (site.environment, sys.prefix):
        if environment and os.path.isfile(environment):  # an interpreter itself
            shared += [environment, os.path.dirname(os.path.dirname(os.path.realpath(environment)))]
        elif environment:
            python = os.path.realpath(os.path.join(environment, "bin", "python"))
            shared += [environment, os.path.dirname(os.path.dirname(python))]
    shared.append(sys.base_prefix)
    covered = [*options.hide, options.run_dir, options.state_dir, options.log_dir]
    seen, writable, hidden = _resolved(shared), _resolved(own), _resolved(covered)
    if site.within:
        # What the tenant may have exchanged for a link is resolved once, above, and judged by where it has led.
        ours = _resolved([PACKAGE, os.path.join(options.log_dir, site.name), sys.prefix, sys.base_prefix])
        seen = tuple(
            path for path in seen if path in ours or is_inside(path, site.within) or not is_inside(path, hidden)
        )
        for path in writable:
            if not is_inside(path, (*site.within, *_resolved([state_path(site, options), identity.home]))):
                raise SiteError(
                    f"a path that it names leads to {path}, which lies outside of what the tenant may name",
                    "remove the link",
                )
    return Places(
        directory=site.directory, own=writable, shared=seen, covered=hidden,
        scratch_bytes=site.guard.tmp,
    )  # fmt: skip


def _is_home(identity: Identity) -> bool:
    """Whether the user has a home that is its own: system users often name a folder that is everybody's."""
    try:
        return identity.home != "/" and os.stat(identity.home).st_uid == identity.uid
    except OSError:
        return False


def _resolved(paths: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.path.realpath(path) for path in paths if os.path.isabs(path)))
