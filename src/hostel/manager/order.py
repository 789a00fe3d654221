"""What a worker is told to become and to run: identity, reach, environment variables, sandbox plan."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

from hostel.errors import SiteError
from hostel.options.check import find_obstacles
from hostel.options.python import folder_of_programs, is_interpreter
from hostel.options.server import ServerOptions
from hostel.options.site import Site
from hostel.sandbox.identity import Identity
from hostel.sandbox.plan import Sandbox, make_helper_plan
from hostel.sandbox.site import limit_disk, state_path
from hostel.wire import StartWorker

SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin"


def state_directory(site: Site, options: ServerOptions, identity: Identity) -> str:
    """The site's own writable folder, made when it is missing. Raises ``SiteError`` when it is somebody else's."""
    path = state_path(site, options)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if os.lstat(path).st_uid != identity.uid:
            raise SiteError(
                f"its state folder {path} belongs to another user than {identity.name}",
                f"if what is in it is the site's: chown -R {identity.uid}:{identity.gid} {path}; if not, move it away",
            ) from None
    else:
        if os.geteuid() == 0:
            os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
    return path


def make_environment(site: Site, state: str, identity: Identity, *, is_development: bool = False) -> dict[str, str]:
    """The environment variables of a site: a short list of our own, then what its file says.

    In development no bytecode is written: Python knows a source by its size and the second of its last change (PEP 552),
    and would run the old code when somebody edits faster than that.
    """
    variables = {
        "PATH": f"{folder_of_programs(site.environment or sys.prefix)}:{SEARCH_PATH}",
        "LANG": "C.UTF-8",
        "HOME": identity.home,
        "USER": identity.name,
        "LOGNAME": identity.name,
        "STATE_DIRECTORY": state,
    }
    if site.environment and not is_interpreter(site.environment):
        variables["VIRTUAL_ENV"] = site.environment
    if is_development:
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
    if "TZ" in os.environ:
        variables["TZ"] = os.environ["TZ"]
    return {**variables, **dict(site.env)}


def prepare(site: Site, identity: Identity, options: ServerOptions) -> str:
    """See that the site's user can reach what it needs; returns its state folder. Raises ``SiteError`` when it cannot."""
    if problems := find_obstacles(site, identity):
        raise SiteError(problems[0].reason, problems[0].remedy)
    limit_disk(site, identity, options)
    return state_directory(site, options, identity)


def make_order(
    site: Site, worker: int, generation: int, identity: Identity, options: ServerOptions, sandbox: Sandbox, state: str
) -> StartWorker:
    """The order for a worker of the site; ``state`` is what ``prepare`` has given."""
    assert site.app is not None
    has_room = bool(sandbox.room) and not sandbox.zygote
    return StartWorker(
        site=site.name,
        worker=worker,
        generation=generation,
        application=site.app,
        interface=site.interface,
        directory=site.directory,
        environment=make_environment(site, state, identity, is_development=options.reload),
        operations=as_lists(sandbox.worker),
        threads=site.workers.threads,
        processes=site.workers.max,
        queue=site.limits.queue,
        request=site.limits.request,
        drain=site.limits.drain,
        lent_packages=own_packages() if site.environment else "",
        page="",
        body=site.limits.body or 0,
        is_fresh=site.start == "fresh",
        idle_ignore=site.workers.idle_ignore,
        has_room=has_room,
        joins_processes=has_room and sandbox.has("processes"),
        sent_by_front={path: prefix for prefix, path in site.sent_by_front},
    )


def make_away_order(site: Site, identity: Identity, page: str, place: str) -> StartWorker:
    """The order for the worker 0 that answers all who wait for a site that is closed: with what the front says at ``place``,
    or with ``page``."""
    return StartWorker(
        site=site.name,
        worker=0,
        generation=0,
        application=place,
        interface="wsgi",
        directory="/",
        environment={"LANG": "C.UTF-8"},
        operations=as_lists(make_helper_plan(identity if os.geteuid() == 0 else None)),
        threads=1,
        processes=1,
        queue=3600.0,
        request=3600.0,
        drain=5.0,
        lent_packages="",
        page=page,
    )


def as_lists(plan: Sequence[tuple[object, ...]]) -> tuple[list[object], ...]:
    return tuple(list(operation) for operation in plan)


def own_packages() -> str:
    """Where Hostel's own dependencies lie, for a site whose environment has no uvicorn."""
    spec = importlib.util.find_spec("uvicorn")
    assert spec is not None and spec.origin is not None
    return os.path.dirname(os.path.dirname(spec.origin))
