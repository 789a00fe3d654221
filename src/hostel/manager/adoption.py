"""Taking over from a manager that died: its sockets, workers and zygotes as they are.

The hard part is what happened meanwhile. Nothing that was said is lost, because the supervisor holds the manager's ends of
all channels: a worker that got ready, failed or died has said so, or its zygote has, and it is heard when the channels are
read again. What was not noted before the death is found by looking: whether a process is there, whether its channel is
still open. A site whose file changed while nobody looked is reloaded. What belongs to a site that is gone is closed.
"""

from __future__ import annotations

import os
import select

from hostel.machine import events as e
from hostel.machine.events import AdoptedWorker, Phase
from hostel.machine.state import State
from hostel.manager.link import Inheritance
from hostel.manager.runner import Runner
from hostel.manager.site import ManagedSite
from hostel.manager.worker import ManagedWorker
from hostel.plan import Plan

PARTS = ("channel", "log", "board")


def adopt(runner: Runner, inheritance: Inheritance, plan: Plan) -> None:
    """Make the runner own what was left; to be called before the plan is applied."""
    runner.stopped.keep_only({*plan.sites, *plan.problems})
    runner.workers.deaths.keep_only({*plan.sites, *plan.problems})
    stopped = runner.stopped.names() & plan.sites.keys()
    for name in {*runner.surroundings.tree.known_sites(), *stopped}:
        if name in plan.sites:
            runner.add(ManagedSite(plan.sites[name], runner.surroundings))
        else:
            runner.surroundings.tree.discard_site(name)
    _adopt_routes(runner)
    for name, pid in inheritance.running.items():
        if name.startswith("room/"):
            runner.workers.rooms.adopt(name, pid)
    _adopt_zygotes(runner, inheritance)
    notes = _adopt_sockets(runner, inheritance)
    _adopt_workers(runner, inheritance)
    tree = runner.surroundings.tree
    for name, managed in list(runner.sites.items()):
        if managed.http < 0:
            tree.unmark(name, "asgi")
        tree.expect_nothing(name)
        word, _, moment = notes.get(name, "").partition(" ")
        if word == State.DISABLED.value or name in stopped:
            runner.dispatch(name, e.StopOrdered())
            continue
        tree.open_door(name)  # it may have been closed for a failure: that is tried again
        if word == State.PAUSED.value:
            runner.dispatch(name, e.PauseOrdered(max(0.0, float(moment) - runner.loop.time())))
    runner.workers.zygotes.settle()
    runner.workers.rooms.settle()
    runner.workers.groups.settle()


def _adopt_routes(runner: Runner) -> None:
    tree = runner.surroundings.tree
    for domain, name in tree.routes().items():
        if name in runner.sites:
            runner.sites[name].inherit_domain(domain)
        else:
            tree.unroute(domain, name)


def _adopt_zygotes(runner: Runner, inheritance: Inheritance) -> None:
    for rest, descriptor, note in inheritance.below("zygote/"):
        name = f"zygote/{rest}"
        if name in inheritance.running:
            runner.workers.zygotes.adopt(
                name, descriptor, note, inheritance.running[name], runner.workers.rooms.by_name
            )
        else:
            os.close(descriptor)
            runner.surroundings.link.forget(name)


def _adopt_sockets(runner: Runner, inheritance: Inheritance) -> dict[str, str]:
    """The listening sockets; returns what was noted of their sites."""
    notes = {}
    for rest, descriptor, note in inheritance.below("site/"):
        name, _, kind = rest.rpartition("/")
        managed = runner.sites.get(name)
        if managed is None:
            os.close(descriptor)
            runner.surroundings.link.forget(f"site/{rest}")
        elif kind == "http":
            managed.http = descriptor
        else:
            managed.listener = descriptor
            managed.noted = notes[name] = note
    return notes


def _adopt_workers(runner: Runner, inheritance: Inheritance) -> None:
    kept: dict[str, dict[str, tuple[int, str]]] = {}
    for rest, descriptor, note in inheritance.below("worker/"):
        name, _, part = rest.rpartition("/")
        kept.setdefault(name, {})[part] = (descriptor, note)
    adopted: dict[str, list[ManagedWorker]] = {}
    for name, parts in kept.items():
        worker = _adopt_worker(runner, name, parts)
        if worker is not None:
            adopted.setdefault(worker.site, []).append(worker)
    for name, workers in adopted.items():
        here = [worker for worker in workers if worker.phase != "leaving"]
        newest = max((worker.generation for worker in here), default=0)
        digest = runner.sites[name].machine.site.digest
        is_outdated = any(worker.digest != digest for worker in here if worker.generation == newest)
        found = tuple(
            AdoptedWorker(worker.number, worker.generation, phase_of(worker), worker.is_asgi) for worker in workers
        )
        runner.dispatch(name, e.WorkersAdopted(found, is_outdated))


def _adopt_worker(runner: Runner, name: str, parts: dict[str, tuple[int, str]]) -> ManagedWorker | None:
    """The worker, when it is one that may be heard of again."""
    site, _, tag = name.rpartition("/")
    generation, number = (int(part) for part in tag.split("."))
    managed = runner.sites.get(site)
    if managed is not None and set(parts) == set(PARTS):
        channel = parts["channel"][0]
        worker, zygote = ManagedWorker.from_note(site, number, generation, parts["channel"][1])
        if os.path.exists(f"/proc/{worker.pid}") if worker.pid else not has_ended(channel):
            runner.workers.adopt(managed, worker, (channel, parts["log"][0], parts["board"][0]), zygote)
            return worker
    for part, (descriptor, _) in parts.items():
        os.close(descriptor)
        runner.surroundings.link.forget(f"worker/{name}/{part}")
    return None


def has_ended(channel: int) -> bool:
    """Whether nobody holds the other end of a channel: the worker is dead, or its order never left."""
    asking = select.poll()
    asking.register(channel, select.POLLHUP)
    return any(events & select.POLLHUP for _, events in asking.poll(0))


def phase_of(worker: ManagedWorker) -> Phase:
    """How far a worker is, in the machine's words."""
    if worker.phase == "ordered":
        return Phase.STARTING if worker.pid else Phase.ORDERED
    return Phase(worker.phase)
