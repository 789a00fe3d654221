"""The life of one site, as one table of (state, event).

The hard part is that three things overlap: workers come and go, a new generation may grow beside the one that serves,
and the site's file may change or vanish meanwhile. Everything is decided here and nothing is done here: ``handle``
takes what happened and returns what to do, and only ``handle`` assigns the state. Every pair of state and event is a
method of ``Decisions``, ``IGNORED`` or ``IMPOSSIBLE``; a test lists them all. ``check`` says what always holds.

            request, start            a worker is ready             idle, removed
    COLD ───────────────────► STARTING ───────────────► SERVING ──────────────────► DRAINING ──► COLD, or gone
      ▲                         │    ▲                     │                            │
      │ pause over              ▼    │ changed, start      │ too many deaths            │ request: STARTING
      └────────────────────── FAILED ◄─────────────────────┘                            ▼
                                            any state: stop ──► DISABLED: start ─────────► STARTING
                                                       pause ─► PAUSED: start, limit ────► STARTING or COLD

A reload does not leave SERVING: ``successor`` is the generation that is starting beside the one that serves.
"""

from __future__ import annotations

from hostel.errors import Bug
from hostel.machine import events as e
from hostel.machine.commands import Command
from hostel.machine.decisions import IGNORED, IMPOSSIBLE, Decision, Decisions
from hostel.machine.events import Phase
from hostel.machine.state import State

D = Decisions
TABLE: dict[tuple[State, type], Decision] = {
    (State.COLD, e.Configured): D.configured,
    (State.COLD, e.Removed): D.removed,
    (State.COLD, e.RequestArrived): D.requested,
    (State.COLD, e.WorkerForked): IMPOSSIBLE,
    (State.COLD, e.WorkerReady): IMPOSSIBLE,
    (State.COLD, e.WorkersAdopted): D.adopted,
    (State.COLD, e.WorkerFailed): IMPOSSIBLE,
    (State.COLD, e.WorkerExited): IMPOSSIBLE,
    (State.COLD, e.LoadMeasured): IGNORED,
    (State.COLD, e.WorkerWornOut): IGNORED,
    (State.COLD, e.WorkerStuck): IGNORED,
    (State.COLD, e.PlaceClaimed): IGNORED,
    (State.COLD, e.TimeElapsed): IGNORED,
    (State.COLD, e.ReloadOrdered): IGNORED,  # the next start loads what is there then
    (State.COLD, e.StartOrdered): D.changed,
    (State.COLD, e.StopOrdered): D.stopped,
    (State.COLD, e.PauseOrdered): D.paused,
    (State.COLD, e.TurnedAway): IGNORED,
    #
    (State.STARTING, e.Configured): D.configured_running,
    (State.STARTING, e.Removed): D.removed,
    (State.STARTING, e.RequestArrived): IGNORED,
    (State.STARTING, e.WorkerForked): D.forked,
    (State.STARTING, e.WorkerReady): D.ready_starting,
    (State.STARTING, e.WorkersAdopted): IMPOSSIBLE,
    (State.STARTING, e.WorkerFailed): D.failed_starting,
    (State.STARTING, e.WorkerExited): D.failed_starting,
    (State.STARTING, e.LoadMeasured): IGNORED,
    (State.STARTING, e.WorkerWornOut): IGNORED,
    (State.STARTING, e.WorkerStuck): D.stuck,
    (State.STARTING, e.PlaceClaimed): IGNORED,
    (State.STARTING, e.TimeElapsed): D.elapsed,
    (State.STARTING, e.ReloadOrdered): D.reload,
    (State.STARTING, e.StartOrdered): IGNORED,
    (State.STARTING, e.StopOrdered): D.stopped,
    (State.STARTING, e.PauseOrdered): D.paused,
    (State.STARTING, e.TurnedAway): IGNORED,
    #
    (State.SERVING, e.Configured): D.configured_running,
    (State.SERVING, e.Removed): D.removed,
    (State.SERVING, e.RequestArrived): IGNORED,
    (State.SERVING, e.WorkerForked): D.forked,
    (State.SERVING, e.WorkerReady): D.ready_serving,
    (State.SERVING, e.WorkersAdopted): IMPOSSIBLE,
    (State.SERVING, e.WorkerFailed): D.failed_serving,
    (State.SERVING, e.WorkerExited): D.exited_serving,
    (State.SERVING, e.LoadMeasured): D.measured,
    (State.SERVING, e.WorkerWornOut): D.wore_out,
    (State.SERVING, e.WorkerStuck): D.stuck_serving,
    (State.SERVING, e.PlaceClaimed): D.gave_way,
    (State.SERVING, e.TimeElapsed): D.elapsed,
    (State.SERVING, e.ReloadOrdered): D.reload,
    (State.SERVING, e.StartOrdered): IGNORED,
    (State.SERVING, e.StopOrdered): D.stopped,
    (State.SERVING, e.PauseOrdered): D.paused,
    (State.SERVING, e.TurnedAway): IGNORED,
    #
    (State.DRAINING, e.Configured): D.configured,
    (State.DRAINING, e.Removed): D.removed,
    (State.DRAINING, e.RequestArrived): D.requested,
    (State.DRAINING, e.WorkerForked): IGNORED,  # it was told to leave before it was forked
    (State.DRAINING, e.WorkerReady): IGNORED,
    (State.DRAINING, e.WorkersAdopted): IMPOSSIBLE,
    (State.DRAINING, e.WorkerFailed): IGNORED,
    (State.DRAINING, e.WorkerExited): D.exited_leaving,
    (State.DRAINING, e.LoadMeasured): IGNORED,
    (State.DRAINING, e.WorkerWornOut): IGNORED,
    (State.DRAINING, e.WorkerStuck): D.stuck,
    (State.DRAINING, e.PlaceClaimed): IGNORED,
    (State.DRAINING, e.TimeElapsed): D.elapsed,
    (State.DRAINING, e.ReloadOrdered): IGNORED,
    (State.DRAINING, e.StartOrdered): D.requested,
    (State.DRAINING, e.StopOrdered): D.stopped,
    (State.DRAINING, e.PauseOrdered): D.paused,
    (State.DRAINING, e.TurnedAway): IGNORED,
    #
    (State.FAILED, e.Configured): D.configured,
    (State.FAILED, e.Removed): D.removed,
    (State.FAILED, e.RequestArrived): D.requested_closed,
    (State.FAILED, e.WorkerForked): IGNORED,
    (State.FAILED, e.WorkerReady): IGNORED,
    (State.FAILED, e.WorkersAdopted): IMPOSSIBLE,
    (State.FAILED, e.WorkerFailed): IGNORED,
    (State.FAILED, e.WorkerExited): D.exited_leaving,
    (State.FAILED, e.LoadMeasured): IGNORED,
    (State.FAILED, e.WorkerWornOut): IGNORED,
    (State.FAILED, e.WorkerStuck): D.stuck,
    (State.FAILED, e.PlaceClaimed): IGNORED,
    (State.FAILED, e.TimeElapsed): D.elapsed_failed,
    (State.FAILED, e.ReloadOrdered): D.changed,
    (State.FAILED, e.StartOrdered): D.changed,
    (State.FAILED, e.StopOrdered): D.stopped,
    (State.FAILED, e.PauseOrdered): D.paused,
    (State.FAILED, e.TurnedAway): D.turned_away,
    #
    (State.DISABLED, e.Configured): D.configured,
    (State.DISABLED, e.Removed): D.removed,
    (State.DISABLED, e.RequestArrived): D.requested_closed,
    (State.DISABLED, e.WorkerForked): IGNORED,
    (State.DISABLED, e.WorkerReady): IGNORED,
    (State.DISABLED, e.WorkersAdopted): IMPOSSIBLE,
    (State.DISABLED, e.WorkerFailed): IGNORED,
    (State.DISABLED, e.WorkerExited): D.exited_leaving,
    (State.DISABLED, e.LoadMeasured): IGNORED,
    (State.DISABLED, e.WorkerWornOut): IGNORED,
    (State.DISABLED, e.WorkerStuck): D.stuck,
    (State.DISABLED, e.PlaceClaimed): IGNORED,
    (State.DISABLED, e.TimeElapsed): D.elapsed,
    (State.DISABLED, e.ReloadOrdered): IGNORED,
    (State.DISABLED, e.StartOrdered): D.changed,
    (State.DISABLED, e.StopOrdered): IGNORED,
    (State.DISABLED, e.PauseOrdered): IGNORED,  # it is stopped, and stays so
    (State.DISABLED, e.TurnedAway): D.turned_away,
    #
    (State.PAUSED, e.Configured): D.configured,
    (State.PAUSED, e.Removed): D.removed,
    (State.PAUSED, e.RequestArrived): IGNORED,  # it waits, as all do
    (State.PAUSED, e.WorkerForked): IGNORED,
    (State.PAUSED, e.WorkerReady): IGNORED,
    (State.PAUSED, e.WorkersAdopted): IMPOSSIBLE,
    (State.PAUSED, e.WorkerFailed): IGNORED,
    (State.PAUSED, e.WorkerExited): D.exited_leaving,
    (State.PAUSED, e.LoadMeasured): IGNORED,
    (State.PAUSED, e.WorkerWornOut): IGNORED,
    (State.PAUSED, e.WorkerStuck): D.stuck,
    (State.PAUSED, e.PlaceClaimed): IGNORED,
    (State.PAUSED, e.TimeElapsed): D.elapsed_paused,
    (State.PAUSED, e.ReloadOrdered): IGNORED,  # what goes on loads what is there then
    (State.PAUSED, e.StartOrdered): D.changed,
    (State.PAUSED, e.StopOrdered): D.stopped,
    (State.PAUSED, e.PauseOrdered): D.paused,
    (State.PAUSED, e.TurnedAway): IGNORED,
}


class SiteMachine(Decisions):
    """One site. Read everything, change it only through ``handle``."""

    __slots__ = ()

    def handle(self, event: e.Event, now: float) -> list[Command]:
        """What to do about ``event``, in order. Raises ``Bug`` for a pair that cannot be."""
        self._out = []
        self.state = TABLE[self.state, type(event)](self, event, now) or self.state
        return self._out

    def check(self) -> None:
        """Raise ``Bug`` when an invariant is broken; tests call this after each event."""
        coming = self._count(Phase.ORDERED, Phase.STARTING)
        ready = self._count(Phase.READY)
        leaving = self._count(Phase.LEAVING)
        rules = {
            State.COLD: not self.workers,
            State.STARTING: coming > 0 and not ready,
            State.SERVING: ready > 0 and self.serving > 0,
            State.DRAINING: (leaving > 0 or self.is_removed) and not ready and not coming,
            State.FAILED: not ready and not coming and self.failure is not None,
            State.DISABLED: not ready and not coming,
            State.PAUSED: not ready and not coming and self.site.app is not None,
        }
        if not rules[self.state]:
            raise Bug(f"site {self.site.name}: state {self.state.value} with workers {self.workers}")
        if self.state is not State.SERVING and (self.serving or self.successor):
            raise Bug(f"site {self.site.name}: a generation serves, or is about to, in state {self.state.value}")
        if self.is_reload_pending and not self.successor:
            raise Bug(f"site {self.site.name}: a reload is pending, and nothing that it waits for")
        generations = {w.generation for w in self.workers.values() if w.phase is Phase.READY}
        if self.successor:
            generations.discard(self.successor)
        if generations - {self.serving}:
            raise Bug(f"site {self.site.name}: ready workers of generations {generations}, serving is {self.serving}")
        if self.generation < max(self.serving, self.successor):
            raise Bug(f"site {self.site.name}: generation {self.generation} is not the newest")
