"""How many Django sites a machine with 4 GB serves: Hostel, and gunicorn for each site, in a control group with so much memory.

The visitors come at a fixed rate, each to a site chosen by Zipf's law, and a machine holds as many sites as it serves without an
answer of 5xx, none that is missing, and with 99 of 100 answers within two seconds. ``PLOT`` names an SVG that is made of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.server import Server, free_port, make_folder

from bench.plot import Curve, draw
from bench.projects import PROJECTS, Project

MEMORY = int(os.environ.get("MEMORY", str(4 * 2**30)))
RATE = float(os.environ.get("RATE", "25"))  # requests a second
SECONDS = float(os.environ.get("SECONDS", "20"))
PATIENCE = 10.0
GOOD = 2.0  # seconds
STEPS = {
    "gunicorn": [int(text) for text in os.environ.get("GUNICORN", "40 60 70 80 90 100").split()],
    "Hostel": [int(text) for text in os.environ.get("HOSTEL", "100 200 400 800 1600").split()],
}
GROUP = Path("/sys/fs/cgroup/memory/hostel-density")
BOUND = 5


@dataclass
class Step:
    """What so many sites came to: ``failed`` of ``requests``, and how long 99 of 100 took, in seconds."""

    sites: int
    requests: int
    failed: int
    p99: float
    memory: float  # MB

    @property
    def is_good(self) -> bool:
        return not self.failed and self.p99 <= GOOD


async def visit(port: int, host: str, path: str) -> tuple[int, float]:
    begin = time.monotonic()
    answer = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
    return int(answer[9:12] or 0), time.monotonic() - begin


async def traffic(places: list[tuple[int, str]], path: str) -> Step:
    """Visitors for a while; the first visit of a site may be what wakes it."""
    chance = random.Random(len(places))
    weights = [1 / (number + 1) for number in range(len(places))]
    tasks = []
    begin = time.monotonic()
    for number in range(int(RATE * SECONDS)):
        await asyncio.sleep(max(0.0, begin + number / RATE - time.monotonic()))
        tasks.append(asyncio.create_task(visit(*chance.choices(places, weights)[0], path)))
    found = await asyncio.gather(*tasks)
    seconds = sorted(taken for _, taken in found)
    used = int((GROUP / "memory.usage_in_bytes").read_text()) / 2**20
    failed = sum(status != 200 for status, _ in found)
    return Step(len(places), len(found), failed, seconds[len(seconds) * 99 // 100], used)


@contextlib.contextmanager
def group() -> Iterator[None]:
    """This process, and what it starts, in a control group with so much memory and no swap."""
    GROUP.mkdir()
    (GROUP / "memory.limit_in_bytes").write_text(str(MEMORY))
    home = next(
        line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line
    )
    (GROUP / "cgroup.procs").write_text("0")
    try:
        yield
    finally:
        (GROUP.parent / home.strip("/") / "cgroup.procs").write_text("0")
        deadline = time.monotonic() + 10
        while GROUP.exists() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                GROUP.rmdir()
            time.sleep(0.1)


def of_hostel(project: Project) -> Iterator[Step]:
    server = Server(make_folder())
    try:
        for number in range(max(STEPS["Hostel"])):
            server.site(f"s{number}", None, **project.options)
        with group():
            server.start()
            for count in STEPS["Hostel"]:
                yield asyncio.run(
                    traffic([(server.port, f"s{number}.localhost") for number in range(count)], project.path)
                )
            server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder)


def of_gunicorn(project: Project) -> Iterator[Step]:
    """More and more of them, until the kernel has killed one."""
    places: list[tuple[int, str]] = []
    with group(), contextlib.ExitStack() as stack:
        for count in STEPS["gunicorn"]:
            for _ in range(count - len(places)):
                port = free_port()
                stack.enter_context(project.gunicorn(port))
                places.append((port, "s.localhost"))
                if len(places) % 8 == 0:
                    time.sleep(1)  # both processors have to start them
            time.sleep(3)
            for port, host in places:  # one worker, so it is loaded when it has answered once
                asyncio.run(visit(port, host, project.path))
            step = asyncio.run(traffic(places, project.path))
            yield step
            if not step.is_good:
                return


def main() -> None:
    folder = make_folder()
    curves: dict[str, list[Step]] = {"gunicorn": [], "Hostel": []}
    try:
        project = PROJECTS[os.environ.get("KIND", "django")](folder / "project")
        print(
            f"\n{project.name} in {MEMORY / 2**30:g} GB, {RATE:g} visitors a second by Zipf's law, {SECONDS:g} s each"
        )
        for name, run in (("gunicorn", of_gunicorn), ("Hostel", of_hostel)):
            for step in run(project):
                curves[name].append(step)
                print(f"  {name:<10} {step.sites:6} sites: {step.failed:4} of {step.requests} failed, "
                      f"p99 {step.p99 * 1000:8.1f} ms, {step.memory:6.0f} MB used", flush=True)  # fmt: skip
    finally:
        shutil.rmtree(folder)
    most = {name: max((step.sites for step in steps if step.is_good), default=0) for name, steps in curves.items()}
    ratio = most["Hostel"] / max(1, most["gunicorn"])
    print(f"  at least {most['Hostel']} sites, gunicorn {most['gunicorn']}: {ratio:.1f} times (wanted: {BOUND})")
    if plot := os.environ.get("PLOT"):
        Path(plot).write_text(
            draw(
                f"Django sites in {MEMORY / 2**30:g} GB, {RATE:g} requests a second by Zipf's law",
                "sites", "99 of 100 answers within, ms",
                [Curve(name, [(step.sites, step.p99 * 1000, step.is_good) for step in steps]) for name, steps in curves.items()],
            )
        )  # fmt: skip
        Path(plot).with_suffix(".json").write_text(
            json.dumps({name: [asdict(step) for step in steps] for name, steps in curves.items()}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
