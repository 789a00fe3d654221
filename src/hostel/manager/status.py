"""What the control socket shows of the server and its sites: views, made when somebody asks, and nothing kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import hostel
from hostel.api.views import (
    FORMAT,
    ExplainView,
    GuardView,
    ProblemView,
    ServerView,
    SessionView,
    SiteView,
    StatusView,
    WorkerView,
    make_urls,
    view_of_problem,
)  # fmt: skip
from hostel.errors import SiteError
from hostel.manager import order as orders
from hostel.options.check import identity_of
from hostel.options.python import settle_python
from hostel.options.site import Problem, Site
from hostel.sandbox.site import guards_of, sandbox_of
from hostel.sandbox.words import in_words

if TYPE_CHECKING:
    from hostel.manager.server import Server


def make_status(server: Server, names: Sequence[str] | None = None) -> StatusView:
    """What the server and its sites are doing."""
    runner = server.runner
    wanted = sorted({*runner.sites, *runner.plan.problems}) if names is None else names
    return StatusView(
        format=FORMAT,
        server=ServerView(
            version=hostel.__version__,
            user=server.user,
            default_user=server.options.default_user if os.geteuid() == 0 else server.user,
            users=server.options.users,
            user_range=server.options.user_range,
            supervisor=os.getppid(),
            manager=os.getpid(),
            front=server.front.pid if server.front else 0,
            front_version=str(server.front.binary) if server.front else "",
            zygotes=runner.workers.zygotes.views(),
            listen=server.options.listen,
            listen_tls=server.options.listen_tls,
            run_dir=server.options.run_dir,
            state_dir=server.options.state_dir,
            log_dir=server.options.log_dir,
            site_folders=server.folders,
            least_uid=server.options.least_uid,
            tenants=server.options.tenants or "",
            reload=server.options.reload,
            started=server.started,
            budget=runner.workers.purse.view(runner.plan.minimum),
            starting=len(runner.workers.starting),
            queued_starts=len(runner.workers.starts),
            queued_reloads=server.roller.left,
        ),
        sites=[_site_view(server, name) for name in wanted if name],
        problems=[view_of_problem(problem) for problem in _file_problems(server, "")],
    )


def _file_problems(server: Server, name: str) -> tuple[Problem, ...]:
    """What is wrong with a site's file, or with what that names; of none for the empty name."""
    told = server.certificates.problems.get(name, ()) if server.certificates is not None else ()
    site = server.runner.plan.sites.get(name)
    if site is not None and site.tls.redirect and not server.options.takes_https:
        reason = "nobody is led to HTTPS, because this server does not take it"
        told = (Problem(name, site.file, "tls.redirect", reason, "start it with --listen-tls", is_fatal=False),)
    return (*server.runner.plan.problems.get(name, ()), *told)


def make_explanation(server: Server, name: str) -> ExplainView:
    """What the processes of a site become. Raises ``SiteError`` when that cannot be said."""
    managed = server.runner.sites.get(name)
    if managed is None or managed.machine.site.app is None:
        raise SiteError(f"cannot explain {name}: it has no processes", "a site of files alone is served by the front")
    site = managed.machine.site
    identity = identity_of(site, server.options)
    sandbox = sandbox_of(settle_python(site, identity, server.options), identity, server.options)
    return ExplainView(
        name,
        [GuardView(guard.name, guard.is_on, guard.text) for guard in sandbox.guards],
        *[[in_words(step) for step in part] for part in (sandbox.room, sandbox.zygote, sandbox.worker)],
    )


def make_session(server: Server, name: str) -> SessionView:
    """How a command is run as a site's worker would be. Raises ``SiteError`` when it cannot be."""
    managed = server.runner.sites.get(name)
    if managed is None or managed.machine.site.app is None:
        raise SiteError(f"cannot run a command as {name}: it has no processes", "its file has no app")
    site = managed.machine.site
    identity = identity_of(site, server.options)
    site = settle_python(site, identity, server.options)
    state = orders.prepare(site, identity, server.options)
    managed.prepare_log()
    sandbox = sandbox_of(site, identity, server.options, for_command=True)
    worker = [step for step in sandbox.worker if step[0] != "enter_group"]
    return SessionView(
        name, orders.make_environment(site, state, identity), sandbox.room, worker, sandbox.has("processes"),
        site.limits.memory, site.limits.cpu, site.limits.processes,
    )  # fmt: skip


def user_of(site: Site, server: Server) -> str:
    """The name of the user that a site runs as; one that it has to itself is named after it."""
    if site.has_own_user:
        return f"site-{site.name}"
    return site.user or (server.options.default_user if os.geteuid() == 0 else server.user)


def _guards(server: Server, site: Site) -> list[str]:
    """The names of the guards that are on."""
    if site.app is None:
        return []
    try:
        guards = guards_of(site, identity_of(site, server.options), server.options)
    except SiteError:
        return []  # it cannot start, and says why
    return [guard.name for guard in guards if guard.is_on]


def _site_view(server: Server, name: str) -> SiteView:
    problems = [view_of_problem(problem) for problem in _file_problems(server, name)]
    managed = server.runner.sites.get(name)
    if managed is None:
        file = problems[0].file if problems else ""
        return SiteView(
            name, "invalid", 0.0, 0.0, 0, "", (), (), {}, file, "", "", "", (), (), 0, 0, 0, "", 0.0, (), problems
        )
    machine, site = managed.machine, managed.machine.site
    workers = []
    for number, worker in sorted(managed.workers.items()):
        reading = worker.reading()
        workers.append(
            WorkerView(number, worker.generation, worker.pid, worker.phase, reading.busy, reading.served,
                       worker.memory, round(worker.ready_after, 4))
        )  # fmt: skip
    if machine.failure is not None:
        failure = machine.failure.as_dict()
        failure.pop("generation")
        problems.append(ProblemView(kind="worker", site=name, **failure))
    return SiteView(
        name=name,
        state=machine.state.value,
        since=managed.since,
        resumes=managed.resumes,
        generation=machine.serving or machine.generation,
        interface="static"
        if site.app is None
        else ("asgi" if machine.is_asgi else "wsgi")
        if machine.generation
        else "",
        domains=site.domains,
        urls=make_urls(
            site.domains,
            server.options.listen,
            server.options.listen_tls,
            server.certificates.tree.names if server.certificates is not None else (),
            is_redirected=site.tls.redirect,
        ),
        mounts=dict(site.paths),
        file=site.file,
        directory=site.directory,
        user=user_of(site, server),
        log_dir=managed.log.folder,
        guards=_guards(server, site),
        workers=workers,
        wanted=machine.pool.wanted if machine.serving else 0,
        waiting=managed.waiting,
        served=managed.served_before + sum(worker.served for worker in workers),
        replaced=machine.replaced,
        replaced_at=managed.replaced_at,
        deaths=server.runner.workers.deaths.of(name),
        problems=problems,
    )
