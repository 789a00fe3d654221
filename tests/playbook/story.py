"""A stage for stories about one site: events go in, commands come out, and time passes when the story says so."""

from __future__ import annotations

from collections.abc import Iterable

from hostel.machine import commands as c
from hostel.machine import events as e
from hostel.machine.commands import Command, Timer
from hostel.machine.journey import Failure
from hostel.machine.pool import Load
from hostel.machine.site import SiteMachine
from hostel.machine.state import State
from hostel.options.site import Site
from hostel.options.tables import LimitOptions, StaticCacheOptions, WorkerOptions

APP = "blog:application"


def make_site(
    *,
    app: str | None = APP,
    domains: tuple[str, ...] = ("blog.example.com",),
    start: float = 60.0,
    drain: float = 30.0,
    **workers: float,
) -> Site:
    """A site called blog; ``workers`` are the options of that table."""
    return Site(
        name="blog",
        file="/sites/blog.toml",
        app=app,
        interface="auto",
        domains=domains,
        directory="/srv/blog",
        environment=None,
        user=None,
        reload_on=(),
        static=() if app else (("", "/srv/blog"),),
        static_cache=StaticCacheOptions(),
        private=(),
        errors=(),
        env=(),
        workers=WorkerOptions(**workers),  # type: ignore[arg-type]
        limits=LimitOptions(start=start, drain=drain),
    )


def make_failure(reason: str = "no module named 'blog'") -> Failure:
    return Failure(id="1d", time=0.0, site="blog", generation=1, step="import", reason=reason)


class Story:
    """One machine on its stage. Keeps the machine's timers and fires them when ``wait`` lets time pass."""

    def __init__(self, site: Site | None = None) -> None:
        self.site = site or make_site()
        self.machine = SiteMachine(self.site)
        self.now = 1000.0
        self.timers: dict[Timer, float] = {}
        self.told: list[Command] = []  # all commands so far

    @property
    def state(self) -> State:
        return self.machine.state

    def is_now(self, state: State) -> None:
        assert self.machine.state is state

    def when(self, event: e.Event, *expected: Command) -> None:
        """The event happens, and exactly these commands are its consequence."""
        found = self.tell(event)
        assert found == list(expected), f"\nafter  {event}\nfound  {found}\nwanted {list(expected)}"

    def tell(self, event: e.Event) -> list[Command]:
        """The event happens; its consequences."""
        found = self.machine.handle(event, self.now)
        self.machine.check()
        for command in found:
            if isinstance(command, c.SetTimer):
                self.timers[command.timer] = self.now + command.seconds
            elif isinstance(command, c.CancelTimer):
                self.timers.pop(command.timer, None)
        self.told += found
        return found

    def wait(self, seconds: float, *expected: Command) -> None:
        """Time passes, and exactly these commands come of it."""
        end = self.now + seconds
        found: list[Command] = []
        while due := [timer for timer, time in self.timers.items() if time <= end]:
            timer = min(due, key=self.timers.__getitem__)
            self.now = self.timers.pop(timer)
            found += self.tell(e.TimeElapsed(timer))
        self.now = end
        assert found == list(expected), f"\nfound  {found}\nwanted {list(expected)}"

    # --- short cuts through what is told at length elsewhere --------------------------------------------------------

    def configure(self, site: Site | None = None) -> list[Command]:
        self.site = site or self.site
        return self.tell(e.Configured(self.site))

    def start(self, numbers: Iterable[int]) -> None:
        """These workers are forked and get ready."""
        for number in numbers:
            self.tell(e.WorkerForked(number))
        for number in numbers:
            self.tell(e.WorkerReady(number, is_asgi=False))

    def serve(self) -> Story:
        """The site is configured and woken up, and its first workers serve."""
        self.configure()
        if self.state is State.COLD:
            self.tell(e.RequestArrived())
        self.start(list(self.machine.workers))
        self.is_now(State.SERVING)
        return self

    def fail(self, number: int = 1, reason: str = "no module named 'blog'") -> Failure:
        """This worker says why it cannot start, and ends."""
        failure = make_failure(reason)
        self.tell(e.WorkerFailed(number, failure))
        self.tell(e.WorkerExited(number, failure))
        return failure

    def end(self, *numbers: int) -> list[Command]:
        """These workers end; all that comes of it."""
        return [command for number in numbers for command in self.tell(e.WorkerExited(number, make_failure("ended")))]

    def measure(self, running: int = 0, *, waiting: int = 0, idle_for: float = 0.0) -> list[Command]:
        """A look at the load; with some waiting, two looks in a row."""
        event = e.LoadMeasured(Load(running, float(running), waiting, idle_for=idle_for))
        return [command for _ in range(2 if waiting else 1) for command in self.tell(event)]
