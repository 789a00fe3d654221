"""The server as a whole: sources, plan, runner, front, watching; what the control socket's calls work on. ``status`` shows it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hostel.errors import HostError, SiteError, UsageError
from hostel.machine import events as e
from hostel.machine.budget import Need, need_of
from hostel.machine.events import Phase
from hostel.machine.site import SiteMachine
from hostel.machine.state import State
from hostel.manager.certificates import Certificates
from hostel.manager.code import CodeWatch
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
from hostel.manager.watch import Watcher
from hostel.options.fields import OF_TENANT, parse_site_name
from hostel.options.server import ServerOptions
from hostel.options.site import Problem, read_site
from hostel.plan import Plan, SiteFile, make_plan
from hostel.sandbox.identity import own_identity
from hostel.sandbox.users import give_uids
from hostel.source.base import Source
from hostel.wire import Exited, Spawned, SpawnFailed, Upgrade

STOP_SECONDS = 2.0  # for the workers to leave, of the 3 seconds in which all has to be over
FOLLOW_SECONDS = 1.0  # after a folder has come to be watched, it is looked at once more
POLL_SECONDS = 0.01  # between looks at a site that somebody waits for


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
        self.runner = Runner(options, link, front_ids, lambda: self.code.renew())
        self.files = Watcher(self.files_changed, is_exact=True)
        self.foreign_files = Watcher(self.files_changed)  # of its own: a storm there hides nothing here
        self.code = CodeWatch(self.runner, follows_all=options.reload)
        self.last_good = LastGood(os.path.join(options.state_dir, "last-good"))
        self.roller = Roller(self._reload, options.starts)
        self._followed: set[str] = set()  # the folders of tenants that are watched
        self._looking: asyncio.TimerHandle | None = None
        self._readings: list[Mapping[str, SiteFile]] = []
        self.ended = asyncio.Event()
        self.is_replaced = False
        self._upgrading: asyncio.Task[None] | None = None

    # --- sources -> plan --------------------------------------------------------------------------------------------

    def read_plan(self) -> Plan:
        """The plan from all sources, read anew. From now on their folders are watched; what changes is reported later."""
        self.files.watch(self._watched)
        if self.options.reload:
            self.code.renew()
        self._readings = [source.read() for source in self.sources]
        self._follow()
        return self._make_plan(replace(self.runner.plan, sites=self.last_good.sites()))

    @property
    def _watched(self) -> set[str]:
        return {folder for source in self.sources for folder in source.watched}

    @property
    def _foreign(self) -> set[str]:
        return {folder for source in self.sources for folder in source.foreign}

    def _follow(self) -> None:
        """Watch what the sources want watched now, and look again where they want it, or where nobody has watched yet."""
        now = self._foreign
        new = now - self._followed
        if now != self._followed:
            self._followed = now
            self.foreign_files.watch(now)
        pause = max((source.again for source in self.sources), default=0.0) or (FOLLOW_SECONDS if new else 0.0)
        if pause and self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(pause, self._look_again, new)

    def _look_again(self, folders: set[str]) -> None:
        self._looking = None
        self.files_changed(folders)

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
        self._give_users(plan)
        return plan

    def _give_users(self, plan: Plan) -> None:
        """Have the sites that are to have a user to themselves given one. Who gets none cannot start, and says why."""
        names = [name for name, site in plan.sites.items() if site.has_own_user]
        try:
            give_uids(self.options.state_dir, names, self.options.uid_range)
        except (SiteError, OSError) as error:
            hint = getattr(error, "hint", "")
            print(f"hostel: cannot give sites users of their own: {error}", *([f"hint: {hint}"] if hint else []), sep="\n",
                  file=sys.stderr, flush=True)  # fmt: skip

    def files_changed(self, paths: set[str]) -> None:
        """Site files may have changed."""
        if self.runner.is_ending:
            return
        before = self.runner.plan.problems
        readings = [source.refresh(paths) for source in self.sources]
        self._follow()
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
            self.code.renew()

    def report(self, plan: Plan, before: Mapping[str, tuple[Problem, ...]]) -> None:
        """Say what is wrong with site files, once."""
        for name, problems in plan.problems.items():
            if before.get(name) != problems:
                managed = self.runner.sites.get(name) if OF_TENANT in name else None
                if managed is not None:  # a tenant sees nothing of the server's log
                    managed.log.write("hostel", [str(problem) for problem in problems])
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
        self.foreign_files.close()
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
