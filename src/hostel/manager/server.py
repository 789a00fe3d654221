"""The server as a whole: sources, plan, runner, front, watching; what the control socket's calls work on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

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
from hostel.errors import HostError, SiteError, UsageError
from hostel.machine import events as e
from hostel.machine.budget import Need, need_of
from hostel.machine.events import Phase
from hostel.machine.journey import Failure
from hostel.machine.site import SiteMachine
from hostel.machine.state import State
from hostel.manager import order as orders
from hostel.manager.certificates import Certificates
from hostel.manager.front import NAME as FRONT
from hostel.manager.front import Front
from hostel.manager.janitor import NAME as JANITOR
from hostel.manager.janitor import JanitorProcess
from hostel.manager.lastgood import LastGood
from hostel.manager.link import SupervisorLink
from hostel.manager.roll import Roller
from hostel.manager.runner import Runner
from hostel.manager.touch import was_touched_since
from hostel.manager.upgrade import CODE, try_new_code
from hostel.manager.watch import LEFT_BEHIND, Watcher, is_program, is_template
from hostel.options.check import identity_of, packages_of
from hostel.options.fields import parse_site_name
from hostel.options.server import ServerOptions
from hostel.options.site import Problem, Site, read_site
from hostel.plan import Plan, SiteFile, make_plan
from hostel.sandbox.identity import own_identity
from hostel.sandbox.site import guards_of, sandbox_of
from hostel.sandbox.words import in_words
from hostel.source.base import Source
from hostel.wire import Exited, Spawned, SpawnFailed, Upgrade

STOP_SECONDS = 2.0  # for the workers to leave, of the 3 seconds in which all has to be over
RETRY_SECONDS = 0.5  # a failed site is not tried more often than this because of changes
RENEW_SECONDS = 0.0002  # for each failed site, between two times when what is watched is worked out anew
POLL_SECONDS = 0.01  # between looks at a site that somebody waits for
SOURCES = 200  # of one failure whose folders are watched


class Server:
    """Everything the manager has."""

    def __init__(
        self,
        options: ServerOptions,
        sources: Sequence[Source],
        link: SupervisorLink,
        front_ids: tuple[int, int] | None,
    ) -> None:
        self.options = options
        self.sources = sources
        self.link = link
        self.front: Front | None = None
        self.certificates: Certificates | None = None  # none is needed without TLS
        self.janitor = JanitorProcess(options, link, front_ids)
        self.started = time.time()
        own = own_identity()
        self.user = own.name if own else "root"
        self.runner = Runner(options, link, front_ids, self._renew_watches)
        self.files = Watcher(self.files_changed, is_exact=True)
        self.code = Watcher(self._code_changed)
        self.last_good = LastGood(os.path.join(options.state_dir, "last-good"))
        self.roller = Roller(self._reload, options.starts)
        self._readings: list[Mapping[str, SiteFile]] = []
        self._failed: dict[str, dict[str, Failure]] = {}  # folder -> what a change in it may mend, by site
        self._renewal: asyncio.TimerHandle | None = None
        self._renewed_at = 0.0
        self.ended = asyncio.Event()
        self.is_replaced = False
        self._upgrading: asyncio.Task[None] | None = None

    # --- sources -> plan --------------------------------------------------------------------------------------------

    def read_plan(self) -> Plan:
        """The plan from all sources, read anew. From now on their folders are watched; what changes is reported later."""
        self.files.watch(self.folders)
        if self.options.reload:
            self._renew_watches()
        self._readings = [source.read() for source in self.sources]
        return self._make_plan(replace(self.runner.plan, sites=self.last_good.sites()))

    def _make_plan(self, current: Plan) -> Plan:
        files: dict[str, SiteFile] = {}
        for reading in self._readings:
            for name, file in reading.items():
                if name in files:
                    problem = Problem(
                        name, file.file, "", f"site {name} comes from {files[name].file} already", "rename one"
                    )
                    files[name] = SiteFile(name, files[name].file, files[name].site, (*files[name].problems, problem))
                else:
                    files[name] = file
        plan = make_plan(files, current)
        broken = [name for name, file in files.items() if file.site is None and name in plan.sites]
        self.last_good.keep({name: plan.sites[name] for name in broken})
        return plan

    def files_changed(self, paths: set[str]) -> None:
        """Site files may have changed."""
        if self.runner.is_ending:
            return
        before = self.runner.plan.problems
        readings = [source.refresh(paths) for source in self.sources]
        if all(new is old for new, old in zip(readings, self._readings, strict=True)):
            return  # other files in the same folder
        self._readings = readings
        plan = self._make_plan(self.runner.plan)
        self.runner.apply(plan)
        if self.certificates is not None:
            self.certificates.apply(plan)
        self.clean_cache(plan)
        self.report(plan, before)
        if self.options.reload:
            self._renew_watches()

    def report(self, plan: Plan, before: Mapping[str, tuple[Problem, ...]]) -> None:
        """Say what is wrong with site files, once."""
        for name, problems in plan.problems.items():
            if before.get(name) != problems:
                for problem in problems:
                    print(f"site={name} file problem: {problem}", file=sys.stderr, flush=True)

    def add(self, name: str, text: str, *, is_replacing: bool) -> None:
        """Write a site file. Raises ``UsageError``, ``SiteError`` or ``HostError``."""
        try:
            parse_site_name(name)
        except ValueError as error:
            raise UsageError(f"cannot add the site: {error}") from None
        if not self.folders:
            raise UsageError("cannot add a site: this server serves a project, not a folder of site files",
                             "start it with: hostel serve FOLDER")  # fmt: skip
        path = self._file_of(name) or os.path.join(self.folders[0], f"{name}.toml")
        data = text.encode(errors="surrogatepass")  # which a site file may not have: it is a problem like others
        _, problems = read_site(name, path, data)
        if problems:
            raise SiteError(f"cannot add site {name}: " + "; ".join(map(str, problems)), problems[0].remedy)
        if os.path.lexists(path) and not is_replacing:
            raise UsageError(
                f"cannot add site {name}: it exists already, in {path}", "choose another name, or --replace it"
            )
        if os.path.dirname(path) not in self.folders:
            raise UsageError(f"cannot replace site {name}: it comes from {path}, not from a folder of site files")
        temporary = os.path.join(os.path.dirname(path), f".{name}.toml.new")
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "wb") as file:
                file.write(data)
            os.rename(temporary, path)
        except OSError as error:
            raise HostError(f"cannot write {path}: {error.strerror}", "see who may write there") from None
        self.files_changed({path})

    def remove(self, name: str) -> None:
        """Remove a site's file. Raises ``UsageError`` or ``HostError``."""
        path = self._file_of(name)
        if os.path.dirname(path) not in self.folders:
            raise UsageError(f"cannot remove site {name}: it comes from {path}, not from a folder of site files")
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise HostError(f"cannot remove {path}: {error.strerror}", "see who may write there") from None
        self.files_changed({path})

    def clean_cache(self, plan: Plan, *, is_running: bool = False) -> None:
        """The sites have changed: have the janitor look, once there is a cache. ``is_running``: it is there already."""
        if is_running or any(site.cache.on for site in plan.sites.values()):
            self.janitor.want(is_running=is_running)
        self.janitor.nudge()

    def purge(self, names: Sequence[str] | None) -> list[str]:
        """Forget what the front has kept of these sites' answers, or of all; their names. Raises ``UsageError``."""
        sites = {name: managed for name, managed in self.runner.sites.items() if managed.has_cache}
        for name in names or ():
            if name not in sites:
                raise UsageError(
                    f"cannot purge the cache of site {name}: it has none", "its site file would say: [cache], on = true"
                )
        if names is not None and not names:
            raise UsageError("name a site, or --all")
        chosen = sorted(sites if names is None else names)
        for name in chosen:
            sites[name].purge_cache()
        self.janitor.nudge()
        return chosen

    @property
    def folders(self) -> list[str]:
        """The folders of site files."""
        return [folder for source in self.sources for folder in source.folders]

    def _file_of(self, name: str) -> str:
        """Where a site comes from, be its file valid or not; empty when there is no such site."""
        managed = self.runner.sites.get(name)
        if managed is not None:
            return managed.machine.site.file
        problems = self.runner.plan.problems.get(name)
        return problems[0].file if problems else ""

    # --- watching ---------------------------------------------------------------------------------------------------

    def _renew_watches(self) -> None:
        """What is to be watched has changed. When many sites fail, their changes are taken together."""
        if self._renewal is None:
            loop = asyncio.get_running_loop()
            pause = len(self.runner.watched) * RENEW_SECONDS
            self._renewal = loop.call_at(max(loop.time(), self._renewed_at + pause), self._renew)

    def _renew(self) -> None:
        self._renewal = None
        if self.runner.is_ending:
            return
        self._renewed_at = asyncio.get_running_loop().time()
        self._failed = {}
        for name, failure in self.runner.watched.items():
            for place in places_to_mend(self.runner.sites[name].machine.site, failure):
                self._failed.setdefault(place, {})[name] = failure
        sites = self.runner.sites.values() if self.options.reload else ()
        touched = self.runner.reload_files
        self.code.watch({*self._failed, *touched.folders}, {managed.machine.site.directory for managed in sites})
        self._reload_touched(touched.folders)  # what came before the watching began

    def _reload_touched(self, paths: Iterable[str]) -> None:
        for name in self.runner.reload_files.take(paths):
            self.runner.log(self.runner.sites[name], "a file of reload_on has changed")
            self.runner.dispatch(name, e.ReloadOrdered())

    def _code_changed(self, paths: set[str]) -> None:
        if self.runner.is_ending:
            return
        self._reload_touched(paths)
        mended: dict[str, Failure] = {}
        for path in paths:
            mended |= self._failed.get(path, {})
            if failed := self._failed.get(os.path.dirname(path)):
                is_folder = os.path.basename(path) not in LEFT_BEHIND and os.path.isdir(path)
                mended |= failed if is_folder or is_program(path) or path.endswith(".json") else {}
        if self.options.reload:
            for name, managed in list(self.runner.sites.items()):
                if any(is_code(path, managed.machine.site) for path in paths):
                    if failure := self.runner.watched.get(name):
                        mended[name] = failure
                    else:
                        self.runner.dispatch(name, e.ReloadOrdered())
        for name, failure in mended.items():
            if self.runner.watched.get(name) is failure:
                pause = min(RETRY_SECONDS, max(0.0, self.runner.sites[name].since + RETRY_SECONDS - time.time()))
                asyncio.get_running_loop().call_later(pause, self._retry, name, failure)

    def _retry(self, name: str, failure: Failure) -> None:
        if self.runner.watched.get(name) is failure:
            self.runner.dispatch(name, e.ReloadOrdered())

    # --- supervisor, front, end -------------------------------------------------------------------------------------

    def supervisor_said(self, message: Any) -> None:
        """A message of the supervisor; None when it is dead, which ends everything."""
        if message is None or type(message).__name__ == "Stop":
            if message is None and self.front is not None:
                self.front.pid = 0  # it was told by the kernel
            self.ended.set()
        elif isinstance(message, Upgrade):
            if self._upgrading is None or self._upgrading.done():
                self._upgrading = asyncio.create_task(self._upgrade_by_signal())
        elif self.front is not None and isinstance(message, (Spawned, SpawnFailed, Exited)) and message.name == FRONT:
            if isinstance(message, Spawned):
                self.front.spawned(message.pid)
            else:
                self.front.exited(message.status if isinstance(message, Exited) else message.reason)
        elif isinstance(message, (Spawned, SpawnFailed, Exited)) and message.name == JANITOR:
            if not isinstance(message, Spawned):
                self.janitor.exited(message.status if isinstance(message, Exited) else message.reason)
        else:
            self.runner.workers.program_said(message)

    async def end(self) -> None:
        """End the front after its requests, then the workers after theirs, within ``STOP_SECONDS``."""
        deadline = time.monotonic() + STOP_SECONDS
        if self.front is not None:
            self.front.end(is_graceful=True)
        if self.certificates is not None:
            self.certificates.close()
        self.janitor.end()
        self.files.close()
        self.code.close()
        self.runner.end()
        while time.monotonic() < deadline and not (self.runner.is_quiet and (self.front is None or not self.front.pid)):
            await asyncio.sleep(0.02)
        if self.front is not None:
            self.front.end(is_graceful=False)
        self.runner.workers.kill_all()

    async def upgrade(self) -> str:
        """Try the Hostel that is installed now; when it would start, ``make_room`` is next. Its version, or ``HostError``."""
        return await try_new_code(sys.argv[2:])

    def make_room(self) -> None:
        """End this manager, and nothing else: the next one is of the newly installed code, and goes on with all there is."""
        self.is_replaced = True
        self.ended.set()

    async def _upgrade_by_signal(self) -> None:
        try:
            version = await self.upgrade()
        except HostError as error:
            print(f"hostel: {error}", f"hint: {error.hint}", sep="\n", file=sys.stderr, flush=True)
            return
        print(f"hostel: upgrading to {version}", file=sys.stderr, flush=True)
        self.make_room()

    def reload_outdated(self) -> None:
        """Reload the sites whose workers run another Hostel than this, when it is their turn."""
        outdated = [
            name
            for name, managed in self.runner.sites.items()
            if any(worker.code not in ("", CODE) for worker in managed.workers.values())  # "": not ordered yet
        ]
        self.roller.begin(outdated)

    def reload_missed(self) -> None:
        """Reload the sites whose files were touched while there was no manager."""
        now, wall = time.monotonic(), time.time()
        for name, managed in list(self.runner.sites.items()):
            ordered = max((worker.ordered_at for worker in managed.workers.values()), default=now)
            if managed.workers and was_touched_since(managed.machine.site, wall - (now - ordered)):
                self.runner.dispatch(name, e.ReloadOrdered())

    async def _reload(self, name: str) -> None:
        """Reload a site, and wait until that has succeeded or failed; its old workers may still have something to do."""
        self.runner.dispatch(name, e.ReloadOrdered())
        while (managed := self.runner.sites.get(name)) and is_starting(managed.machine):
            await asyncio.sleep(POLL_SECONDS)

    async def wait_settled(self, name: str, states: set[State]) -> None:
        """Wait until a site is in one of these states with nothing on its way, or gone."""
        while managed := self.runner.sites.get(name):
            machine = managed.machine
            if machine.state in states and not is_moving(machine):
                return
            await asyncio.sleep(POLL_SECONDS)

    # --- views ------------------------------------------------------------------------------------------------------

    def status(self, names: Sequence[str] | None = None) -> StatusView:
        """What the server and its sites are doing."""
        runner = self.runner
        wanted = sorted({*runner.sites, *runner.plan.problems}) if names is None else names
        return StatusView(
            format=FORMAT,
            server=ServerView(
                version=hostel.__version__,
                user=self.user,
                default_user=self.options.default_user if os.geteuid() == 0 else self.user,
                supervisor=os.getppid(),
                manager=os.getpid(),
                front=self.front.pid if self.front else 0,
                front_version=str(self.front.binary) if self.front else "",
                zygotes=runner.workers.zygotes.views(),
                listen=self.options.listen,
                listen_tls=self.options.listen_tls,
                run_dir=self.options.run_dir,
                state_dir=self.options.state_dir,
                log_dir=self.options.log_dir,
                site_folders=self.folders,
                reload=self.options.reload,
                started=self.started,
                budget=runner.workers.purse.view(runner.plan.minimum),
                starting=len(runner.workers.starting),
                queued_starts=len(runner.workers.starts),
                queued_reloads=self.roller.left,
            ),
            sites=[self._site_view(name) for name in wanted if name],
            problems=[view_of_problem(problem) for problem in self._file_problems("")],
        )

    def _file_problems(self, name: str) -> tuple[Problem, ...]:
        """What is wrong with a site's file, or with what that names; of none for the empty name."""
        told = self.certificates.problems.get(name, ()) if self.certificates is not None else ()
        site = self.runner.plan.sites.get(name)
        if site is not None and site.tls.redirect and not self.options.takes_https:
            reason = "nobody is led to HTTPS, because this server does not take it"
            told = (Problem(name, site.file, "tls.redirect", reason, "start it with --listen-tls", is_fatal=False),)
        return (*self.runner.plan.problems.get(name, ()), *told)

    @property
    def _covered(self) -> Collection[str]:
        return self.certificates.tree.names if self.certificates is not None else ()

    def explain(self, name: str) -> ExplainView:
        """What the processes of a site become. Raises ``SiteError`` when that cannot be said."""
        managed = self.runner.sites.get(name)
        if managed is None or managed.machine.site.app is None:
            raise SiteError(
                f"cannot explain {name}: it has no processes", "a site of files alone is served by the front"
            )
        site = managed.machine.site
        sandbox = sandbox_of(site, identity_of(site, self.options), self.options)
        return ExplainView(
            name,
            [GuardView(guard.name, guard.is_on, guard.text) for guard in sandbox.guards],
            *[[in_words(step) for step in part] for part in (sandbox.room, sandbox.zygote, sandbox.worker)],
        )

    def session(self, name: str) -> SessionView:
        """How a command is run as a site's worker would be. Raises ``SiteError`` when it cannot be."""
        managed = self.runner.sites.get(name)
        if managed is None or managed.machine.site.app is None:
            raise SiteError(f"cannot run a command as {name}: it has no processes", "its file has no app")
        site = managed.machine.site
        identity = identity_of(site, self.options)
        state = orders.prepare(site, identity, self.options)
        managed.prepare_log()
        sandbox = sandbox_of(site, identity, self.options, for_command=True)
        worker = [step for step in sandbox.worker if step[0] != "enter_group"]
        return SessionView(
            name, orders.make_environment(site, state, identity), sandbox.room, worker, sandbox.has("processes"),
            site.limits.memory, site.limits.cpu, site.limits.processes,
        )  # fmt: skip

    def _guards(self, site: Site) -> list[str]:
        """The names of the guards that are on."""
        if site.app is None:
            return []
        try:
            guards = guards_of(site, identity_of(site, self.options), self.options)
        except SiteError:
            return []  # it cannot start, and says why
        return [guard.name for guard in guards if guard.is_on]

    def _site_view(self, name: str) -> SiteView:
        problems = [view_of_problem(problem) for problem in self._file_problems(name)]
        managed = self.runner.sites.get(name)
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
                self.options.listen,
                self.options.listen_tls,
                self._covered,
                is_redirected=site.tls.redirect,
            ),
            mounts=dict(site.paths),
            file=site.file,
            directory=site.directory,
            user=site.user or (self.options.default_user if os.geteuid() == 0 else self.user),
            log_dir=managed.log.folder,
            guards=self._guards(site),
            workers=workers,
            wanted=machine.pool.wanted if machine.serving else 0,
            waiting=managed.waiting,
            served=managed.served_before + sum(worker.served for worker in workers),
            replaced=machine.replaced,
            replaced_at=managed.replaced_at,
            deaths=self.runner.workers.deaths.of(name),
            problems=problems,
        )


def places_to_mend(site: Site, failure: Failure) -> set[str]:
    """The folders, without what is below them, where a change may mend a site that does not start."""
    places = {site.directory, *packages_of(site.environment or sys.prefix)}
    if site.environment:
        places |= {site.environment, os.path.join(site.environment, "bin")}
    *packages, _ = (site.app or ":").partition(":")[0].split(".")
    places |= {os.path.join(site.directory, *packages[:depth]) for depth in range(len(packages) + 1)}
    # The sources are named by the worker, and it is not to learn by its restarts what others do.
    top = os.path.join(os.path.realpath(site.directory), "")
    for folder in {os.path.dirname(source) for source in failure.sources[:SOURCES]}:
        if os.path.join(os.path.realpath(folder), "").startswith(top):
            places.add(folder)
    return places


def is_code(path: str, site: Site) -> bool:
    """Whether a file is of a site's program or templates: a running worker may have read it, and will not again."""
    if not is_part(path, site.directory):
        return False
    if is_program(path):
        return True
    return site.app is not None and is_template(path, site.directory, [place for _, place in site.static])


def is_part(path: str, directory: str) -> bool:
    """Whether a file is in a directory, and not in a folder that programs leave behind there."""
    inside = os.path.join(directory, "")
    return path.startswith(inside) and LEFT_BEHIND.isdisjoint(path[len(inside) :].split("/"))


def is_starting(machine: SiteMachine) -> bool:
    """Whether a worker is on its way. One more that is not forked yet does not count: it may wait for room for ever."""
    return any(
        worker.phase is Phase.STARTING or (worker.phase is Phase.ORDERED and need_of(machine, number) is not Need.MORE)
        for number, worker in machine.workers.items()
    )


def is_moving(machine: SiteMachine) -> bool:
    """Whether something that was ordered has not come to its end yet."""
    is_leaving = any(worker.phase is Phase.LEAVING for worker in machine.workers.values())
    return bool(machine.successor) or is_leaving or is_starting(machine)
