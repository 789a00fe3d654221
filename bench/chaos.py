"""Random SIGKILLs over many sites: who else notices, and is anything left?

Manager, zygotes, workers, and both kinds of nginx processes are killed while visitors ask for all sites. A request inside a
killed worker is lost; so each failure of a site whose own worker was killed at that moment is its own, and all others are
counted as failures of others. In the second half the manager is left alone, so that its memory has time to grow.

MINUTES, SITES, PAUSE: how long, how many sites, and the most seconds between two kills. The end compares with a calm
beginning: processes, descriptors, files, memory.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.test_manager import manager_of
from tests.support.server import Server, command_of, descendants_of, make_folder, wait_for

from bench.client import Client, Sample
from bench.idle import memory
from hostel.errors import HostelError

RATE = 300.0  # requests a second, over all sites
IDLE = 4  # seconds until a site sleeps: the calm is soon there
NEAR = 3.0  # seconds around the death of a site's worker in which its failures are its own
WAKING = 5.0  # seconds until the first kill: the visitors wake all sites at once
CALM_SECONDS = 60.0
PAUSES = (0.2, float(os.environ.get("PAUSE", "1.5")))  # seconds between two kills, at least and at most
TARGETS = {
    "worker": 8,
    "zygote": 2,
    "manager": 2,
    "front's worker": 2,
    "front": 1,
}  # how often, in relation to each other
WANTED = 0.9999
WSGI = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [b"hello"]
"""
ASGI = """
    async def application(scope, receive, send):
        if scope["type"] == "http":
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"hello"})
"""


@dataclass
class Calm:
    """What there is when nobody visits."""

    processes: int
    descriptors: dict[str, int]
    files: set[str]
    memory: dict[str, float]  # MB


@dataclass
class Report:
    """What came of it. ``failures`` of others; ``own``: of sites whose own worker had been killed."""

    requests: int = 0
    kills: list[tuple[float, str]] = field(default_factory=list)  # when, and what
    failures: list[Sample] = field(default_factory=list)
    own: list[Sample] = field(default_factory=list)
    before: Calm | None = None
    after: Calm | None = None
    peaks: list[float] = field(default_factory=list)  # MB of the manager, while it is left alone

    @property
    def success(self) -> float:
        """The share of the requests that were served, of those that no kill of their own worker has hit."""
        return 1 - len(self.failures) / max(1, self.requests - len(self.own))

    def last_kill(self, sample: Sample) -> str:
        """What was killed last when a request was to be answered."""
        before = [target for moment, target in self.kills if moment <= sample.due + sample.seconds]
        return before[-1] if before else "nothing"

    def leaks(self) -> list[str]:
        """What there is more of than before, in words."""
        assert self.before is not None and self.after is not None
        before, after = self.before, self.after
        found = [
            f"{name} has {after.descriptors[name]} descriptors, and had {count}"
            for name, count in before.descriptors.items()
            if after.descriptors[name] > count
        ]
        if after.processes > before.processes:
            found.append(f"there are {after.processes} processes, and were {before.processes}")
        if after.files - before.files:
            found.append(f"files: {sorted(after.files - before.files)[:20]}")
        return found


class Chaos:
    """A server with many sites, and who kills its processes."""

    def __init__(self, server: Server, sites: int, seed: int = 1) -> None:
        self.server = server
        self.names = [f"site{number}" for number in range(sites)]
        self.dice = random.Random(seed)
        self.deaths: list[tuple[str, float]] = []  # of workers: the site, and when
        self.report = Report()
        for number, name in enumerate(self.names):
            server.site(name, ASGI if number % 10 == 9 else WSGI, workers={"idle": IDLE})

    def run(self, seconds: float) -> Report:
        self.server.start()
        self._visit(2 * IDLE)
        self.report.before = self._calm()
        self._visit(seconds, is_killing=True)
        self.report.after = self._calm()
        return self.report

    def _visit(self, seconds: float, *, is_killing: bool = False) -> None:
        hosts = [f"{name}.localhost" for name in self.names]
        begin = time.monotonic()
        with Client(self.server.port, hosts, rate=RATE / len(hosts)) as client:
            looked = begin
            if is_killing:
                time.sleep(WAKING)
            while (now := time.monotonic()) < begin + seconds:
                time.sleep(self.dice.uniform(*PAUSES))
                if is_killing:
                    is_second_half = now > begin + seconds / 2
                    self._kill(spared="manager" if is_second_half else "")
                    if is_second_half and now - looked > 5:
                        looked = now
                        with contextlib.suppress(OSError):
                            self.report.peaks.append(memory(manager_of(self.server)))
        if is_killing:
            self._count(client.samples)

    def _kill(self, spared: str) -> None:
        target = self.dice.choices(list(TARGETS), list(TARGETS.values()))[0]
        if target == spared:
            return
        try:
            pid = self._find(target)
        except (HostelError, OSError, IndexError):
            return  # there is none at the moment
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.report.kills.append((time.monotonic(), target))

    def _find(self, target: str) -> int:
        if target == "manager":
            return manager_of(self.server)
        status: dict[str, Any] = self.server.status()
        if target == "zygote":
            return int(self.dice.choice(status["server"]["zygotes"])["pid"])
        if target == "worker":
            site = self.dice.choice([site for site in status["sites"] if site["workers"]])
            self.deaths.append((site["name"], time.monotonic()))
            return int(self.dice.choice(site["workers"])["pid"])
        front = int(status["server"]["front"])
        return front if target == "front" or not front else self.dice.choice(sorted(descendants_of(front)))

    def _count(self, samples: list[Sample]) -> None:
        self.report.requests = len(samples)
        for sample in samples:
            if sample.problem:
                name = sample.site.partition(".")[0]
                is_own = any(
                    name == site and -NEAR < sample.due - moment < NEAR + sample.seconds for site, moment in self.deaths
                )
                (self.report.own if is_own else self.report.failures).append(sample)

    def _restless(self) -> list[Any]:
        """What is there besides one zygote and sleeping sites."""
        status = self.server.status()
        zygotes = [zygote for zygote in status["server"]["zygotes"] if zygote["state"] != "current"]
        return [(site["name"], site["state"], site["workers"]) for site in status["sites"] if site["workers"]] + zygotes

    def _calm(self) -> Calm:
        """Wait until all sites sleep, and look at what there is then."""

        self.server.get(self.names[0])  # a zygote that was killed last is started when somebody needs it
        try:
            wait_for(lambda: not self._restless(), "the calm", CALM_SECONDS)
        except AssertionError:
            raise AssertionError(f"these do not come to rest: {self._restless()}") from None
        assert self.server.process is not None
        supervisor = self.server.process.pid
        server = self.server.status()["server"]
        pids = {"supervisor": supervisor, "manager": server["manager"], "zygote": server["zygotes"][0]["pid"]}
        wait_for(
            lambda: not any("shutting down" in name for name in titles(supervisor)),
            "the front's old workers to end",
            60,
        )
        return Calm(
            processes=len(
                [name for name in titles(supervisor) if "cache loader" not in name]
            ),  # nginx has it for a minute
            descriptors={name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in pids.items()},
            files=files_below(self.server.run_dir) | files_below(self.server.state_dir),
            memory={name: memory(pid) for name, pid in pids.items()},
        )


def titles(pid: int) -> list[str]:
    """What the processes below one call themselves."""
    return [command_of(one) for one in descendants_of(pid)]


def files_below(folder: Path) -> set[str]:
    """The names of everything in a folder, without the record of each site's last deaths: it is meant to be left."""
    names = {str(path.relative_to(folder.parent)) for path in folder.rglob("*")}
    return {name for name in names if "/www/" not in name and not name.startswith("state/deaths")}


def show(report: Report) -> None:
    kills = Counter(target for _, target in report.kills)
    print(f"\n{len(report.kills)} kills: {', '.join(f'{number} of {name}' for name, number in kills.items())}")
    print(f"  requests                           {report.requests:8}")
    print(f"  failures of others                 {len(report.failures):8}")
    for (problem, target), number in Counter((s.problem, report.last_kill(s)) for s in report.failures).items():
        print(f"    after the kill of a {target:<14} {number:8}    {problem}")
    print(f"  failures of a killed worker's site {len(report.own):8}    {Counter(s.problem for s in report.own)}")
    print(f"  others served                      {report.success * 100:8.4f} % (wanted: {WANTED * 100})")
    assert report.before is not None and report.after is not None
    for name, before in report.before.memory.items():
        print(f"  memory of {name:<24} {report.after.memory[name]:8.1f} MB (before: {before:.1f})")
    if report.peaks:
        points = [report.peaks[(len(report.peaks) - 1) * part // 8] for part in range(9)]
        print(f"  memory of the manager left alone   {' '.join(f'{point:.1f}' for point in points)} MB")
    print(f"  leaked                             {report.leaks() or 'nothing'}")


def main() -> None:
    server = Server(make_folder())
    try:
        show(Chaos(server, int(os.environ.get("SITES", "200"))).run(float(os.environ.get("MINUTES", "30")) * 60))
    finally:
        server.stop()
        server.kill()
        subprocess.run(["rm", "-rf", str(server.folder)], check=True)


if __name__ == "__main__":
    main()
