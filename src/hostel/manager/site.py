"""What the manager holds for one site: its machine, sockets, place in the run tree, workers, log.

Everything here is done to the run tree or to descriptors and is over when the call returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass

from hostel.errors import HostelError
from hostel.front.pages import Document
from hostel.front.values import spell
from hostel.machine.commands import Timer
from hostel.machine.site import SiteMachine
from hostel.machine.state import State
from hostel.manager.link import SupervisorLink
from hostel.manager.logs import SiteLog
from hostel.manager.queue import QueueMeter
from hostel.manager.runtree import Entry, Files, RunTree
from hostel.manager.sockets import QueueWatcher, bind_site_socket
from hostel.manager.turning import Bounds
from hostel.manager.worker import ManagedWorker
from hostel.options.check import identity_of
from hostel.options.server import ServerOptions
from hostel.options.site import Site


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all sites share. ``front_ids``: uid and gid of the front, None when Hostel runs unprivileged."""

    options: ServerOptions
    link: SupervisorLink
    tree: RunTree
    queues: QueueWatcher
    meter: QueueMeter
    front_ids: tuple[int, int] | None


class ManagedSite:
    """One site. The runner decides, this carries out."""

    __slots__ = (
        "_domains", "_entry", "_files", "_log_owner", "away", "http", "is_closed", "is_outdated", "is_torn", "is_watching",
        "last_active", "listened_at", "listener", "log", "looked_at", "machine", "memory", "noted", "quiet",
        "replaced_at", "served", "served_before", "since", "surroundings", "timers", "workers",
    )  # fmt: skip

    def __init__(self, site: Site, surroundings: Surroundings) -> None:
        options = surroundings.options
        self.surroundings = surroundings
        self.machine = SiteMachine(site)
        bounds = Bounds(options.log_size, options.log_age, options.log_keep)
        self.log = SiteLog(os.path.join(options.log_dir, site.name), bounds)
        self.listener = -1
        self.http = -1
        self.workers: dict[int, ManagedWorker] = {}
        self.away: ManagedWorker | None = None  # it answers those who wait while the door is closed
        self.is_closed = False
        self.is_outdated = False  # what the cache has of its answers: other code may come
        self.is_torn = False  # the run tree has not what it should have, because the system said no
        self.noted = ""  # what the next manager is told about the site
        self.is_watching = False
        self.timers: dict[Timer, asyncio.TimerHandle] = {}
        self.since = time.time()
        self.last_active = 0.0
        self.listened_at = 0.0  # when its queue was looked at although it has free workers
        self.looked_at = 0.0
        self.memory = 0  # bytes, of the worker that was weighed last
        self.replaced_at = 0.0  # seconds since the epoch
        self.served = 0
        self.served_before = 0  # by workers that are gone
        self.quiet = 0
        self._domains: tuple[str, ...] = ()
        self._files: Files | None = None  # an earlier manager may have left anything
        self._entry: Entry | None = None
        self._log_owner: tuple[str | None] | None = None  # the user for whom the log has been made
        try:
            if surroundings.tree.open_site(site.name):
                self._entry = Entry()
        except OSError:  # the disk is full; what follows will say so
            self.is_torn = True

    @property
    def name(self) -> str:
        return self.machine.site.name

    @property
    def resumes(self) -> float:
        """When a paused site goes on or a failed one is tried again, in seconds since the epoch; 0 for others."""
        machine = self.machine
        if machine.state not in (State.PAUSED, State.FAILED):
            return 0.0
        return time.time() + machine.resume_at - time.monotonic()

    @property
    def sockets(self) -> list[int]:
        return [descriptor for descriptor in (self.listener, self.http) if descriptor >= 0]

    @property
    def waiting(self) -> int:
        """How many requests wait in its queue."""
        return sum(map(self.surroundings.meter.length, self.sockets))

    def remember(self) -> None:
        """Have the next manager told of a stop or a pause; the rest it sees."""
        machine = self.machine
        note = machine.state.value if machine.state in (State.DISABLED, State.PAUSED) else ""
        if machine.state is State.PAUSED:
            note += f" {machine.resume_at}"
        if note != self.noted and self.listener >= 0:
            self.noted = note
            self.surroundings.link.note(f"site/{self.name}/app", note)

    # --- routing ----------------------------------------------------------------------------------------------------

    def publish(self, site: Site) -> None:
        """Make the run tree route the site as its file says. The socket is there before the first route is."""
        tree = self.surroundings.tree
        if site.app is not None:
            self.listen()
            tree.unmark(site.name, "static")
        # In development the page of a site that does not start says why; nothing is to stand before it.
        errors = tuple(each for each in site.errors if each[0] != "503" or not self.surroundings.options.reload)
        files = Files(site.static, site.private, errors)
        if files != self._files:
            tree.publish_files(site.name, files)
            self._files = files
        tree.publish_values(site.name, spell(site, tree.values(site.name), time.time_ns()))
        entry = entry_of(site, takes_https=self.surroundings.options.takes_https)
        if entry != self._entry:
            tree.publish_entry(site.name, entry, [domain for domain in self._domains if domain in site.domains])
            self._entry = entry
        for domain in site.domains:
            if domain not in self._domains:
                tree.route(domain, site.name)
        for domain in self._domains:
            if domain not in site.domains:
                tree.unroute(domain, site.name)
        self._domains = site.domains
        if site.app is None:
            tree.mark(site.name, "static")
            self.close_sockets()

    def prepare_log(self) -> None:
        """Make the log's folder. It has to be there before a worker is; otherwise it may come when there is time."""
        site = self.machine.site
        if self._log_owner == (site.user,):
            return
        self.surroundings.tree.link_log(site.name, self.log.folder)
        front = self.surroundings.front_ids
        if front is None:
            self.log.prepare(None, None)
        else:
            gid = 0
            with contextlib.suppress(HostelError):  # an unknown user: its start will say so
                gid = identity_of(site, self.surroundings.options).gid
            self.log.prepare(gid, front[0])
        self._log_owner = (site.user,)

    def inherit_domain(self, domain: str) -> None:
        """The run tree routes this domain here already."""
        self._domains += (domain,)

    def withdraw(self) -> None:
        """Route nothing to the site any more."""
        for domain in self._domains:
            self.surroundings.tree.unroute(domain, self.name)
        self._domains = ()

    def close_door(self, page: Document, pause: float, *, is_stopped: bool) -> None:
        self.is_closed = True
        self.surroundings.tree.close_door(self.name, page, pause, is_stopped=is_stopped)

    def open_door(self) -> None:
        if self.is_closed:
            self.is_closed = False
            self.surroundings.tree.open_door(self.name)

    @property
    def has_cache(self) -> bool:
        site = self.machine.site
        return site.cache.on and site.app is not None

    def purge_cache(self) -> None:
        """Have the front find nothing any more of what it has kept of the site's answers."""
        self.surroundings.tree.publish_values(self.name, spell(self.machine.site, "", time.time_ns()))

    def is_intact(self) -> bool:
        """Whether the run tree has what it should have of the site, as far as that is quickly seen."""
        if self.is_torn:
            return False
        site, machine, tree = self.machine.site, self.machine, self.surroundings.tree
        if machine.is_removed:
            return True
        here = {
            "log": self._log_owner is not None,
            "app.sock": self.listener >= 0,
            "http.sock": self.http >= 0,
            "asgi": self.http >= 0 and machine.is_asgi and machine.state is State.SERVING,
            "closed.html": self.is_closed,
            "www": bool(site.static),
            "static": site.app is None,
        }
        return tree.has(site.name, [name for name, is_wanted in here.items() if is_wanted], self._domains)

    def mend(self, *, is_elsewhere: bool = False) -> bool:
        """Put back what the run tree should have of the site; whether it has other sockets now. Raises ``OSError``.

        ``is_elsewhere``: this is another run tree, and what is there is of no use.
        """
        site, tree = self.machine.site, self.surroundings.tree
        self.is_torn = True  # until all has been done
        tree.mend_site(site.name)
        self._log_owner = self._files = self._entry = None
        self._domains = tuple(domain for domain in self._domains if domain not in site.domains)
        self.prepare_log()
        names = [kind for kind, socket in (("app", self.listener), ("http", self.http)) if socket >= 0]
        is_new = is_elsewhere or not all(os.path.lexists(f"sites/{site.name}/{kind}.sock") for kind in names)
        if is_new:
            self.renew_sockets()
        elif self.http >= 0 and self.machine.is_asgi:
            self.announce_http()
        self.publish(site)
        self.is_torn = False
        return is_new

    # --- sockets ----------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Bind the listening socket, unless it is there."""
        if self.listener < 0:
            self.listener = self._bind("app")

    def listen_http(self) -> None:
        """Bind an ASGI site's second socket, unless it is there."""
        if self.http < 0:
            self.http = self._bind("http")
            self.surroundings.link.flush()  # before anybody knows of it: should this manager die, it is still heard

    def announce_http(self) -> None:
        """Somebody serves the second socket: from now on the front goes there by itself."""
        self.surroundings.tree.mark(self.name, "asgi")

    def _bind(self, kind: str) -> int:
        descriptor = bind_site_socket(f"sites/{self.name}/{kind}.sock")
        self.surroundings.link.keep(f"site/{self.name}/{kind}", descriptor)
        if self.is_watching:
            self.surroundings.queues.watch(descriptor, self.name)
        return descriptor

    def close_http(self) -> None:
        """The site is not ASGI any more. The name goes first, so that the front comes to the other socket."""
        if self.http >= 0:
            self.surroundings.tree.unmark(self.name, "asgi")
            self._close("http", self.http)
            self.http = -1

    def close_sockets(self) -> None:
        self.close_http()
        if self.listener >= 0:
            self._close("app", self.listener)
            self.listener = -1

    def _close(self, kind: str, descriptor: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"sites/{self.name}/{kind}.sock")
        self.surroundings.queues.forget(descriptor)
        self.surroundings.link.forget(f"site/{self.name}/{kind}")
        os.close(descriptor)

    def renew_sockets(self) -> None:
        """New listening sockets in the place of ones that a worker has shut down."""
        had_http = self.http >= 0
        self.close_sockets()
        self.listen()
        if had_http:
            self.listen_http()
            self.announce_http()
        if self.is_watching:
            self.watch_queue()
        else:
            self.unwatch_queue()

    def watch_queue(self) -> None:
        self.is_watching = True
        for descriptor in self.sockets:
            self.surroundings.queues.watch(descriptor, self.name)

    def unwatch_queue(self) -> None:
        self.is_watching = False
        for descriptor in self.sockets:
            self.surroundings.queues.unwatch(descriptor, self.name)

    def discard(self, *, keep_tree: bool) -> None:
        """The site is no more; ``keep_tree`` when the whole run tree is about to go."""
        for handle in self.timers.values():
            handle.cancel()
        self.log.close()
        if not keep_tree:
            self.close_sockets()
            self.surroundings.tree.discard_site(self.name)


def entry_of(site: Site, *, takes_https: bool) -> Entry:
    """How requests for a site are to come in. Nobody is led to HTTPS where there is none."""
    below = "+" if site.tls.hsts_subdomains else ""
    return Entry(
        site.paths, site.tls.redirect and takes_https, f"{round(site.tls.hsts)}{below}" if site.tls.hsts else ""
    )
