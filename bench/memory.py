"""What an idle live worker has in memory (PSS), beside gunicorn with one worker for each site: twenty sites of each kind.

``PARTS=1`` shows where a worker's memory is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import time
from collections import Counter
from pathlib import Path

from tests.support.server import Server, descendants_of, free_port, make_folder

from bench.cold import first_byte, learn
from bench.idle import memory
from bench.projects import PROJECTS, Project

SITES = int(os.environ.get("SITES", "20"))
VISITS = 3
BOUNDS = {"flask": 0.35, "django": 0.45}


def of_hostel(project: Project) -> tuple[float, float]:
    """MB of a worker, and of all that is there for a site: its worker, and its part of the zygote."""
    server = Server(make_folder())
    try:
        for number in range(SITES):
            idle = 600 if number else 0.3  # the first teaches; a server that has been up for a minute knows
            server.site(f"s{number}", None, **project.options, workers={"max": 1, "idle": idle})
        server.start()
        learn(server, project.path, "s0")
        names = [f"s{number}" for number in range(1, SITES)] + ["s0"]
        for name in names:
            for _ in range(VISITS):
                assert server.get(name, project.path).status == 200
        time.sleep(0.2)
        pids = [pid for name in names[:-1] for pid in server.workers(name)]
        assert len(pids) == SITES - 1, pids
        workers = [memory(pid) for pid in pids]
        zygotes = [memory(zygote["pid"]) for zygote in server.status()["server"]["zygotes"]]
        if os.environ.get("PARTS"):
            show_parts(pids[0])
        server.stop()
        return statistics.median(workers), statistics.median(workers) + sum(zygotes) / SITES
    finally:
        server.kill()
        shutil.rmtree(server.folder)


def of_gunicorn(project: Project) -> tuple[float, float]:
    """MB of a worker, and of a worker with its master."""
    with contextlib.ExitStack() as stack:
        masters = []
        for _ in range(SITES):
            port = free_port()
            masters.append(stack.enter_context(project.gunicorn(port)).pid)
            for _ in range(VISITS):
                first_byte(port, "s.localhost", project.path)
        workers = [pid for master in masters for pid in descendants_of(master)]
        one = statistics.median(memory(pid) for pid in workers)
        if os.environ.get("PARTS"):
            show_parts(workers[0])
        return one, one + statistics.median(memory(pid) for pid in masters)


def show_parts(pid: int) -> None:
    """What is mapped by a process, by how much of it is its own (proc_pid_smaps(5))."""
    parts: Counter[str] = Counter()
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):
            name = fields[5].rpartition("/")[2] if len(fields) > 5 else "anonymous"
        elif fields[0] in ("Pss:", "Private_Dirty:", "Shared_Dirty:", "Shared_Clean:"):
            parts[f"{name[:30]:<30} {fields[0]}"] += int(fields[1])
            parts[f"{'all':<30} {fields[0]}"] += int(fields[1])
    for name, size in parts.most_common(14):
        print(f"    {name:<46} {size / 1024:8.2f} MB")


def main() -> None:
    for kind in os.environ.get("KINDS", "flask django").split():
        folder = make_folder()
        try:
            project = PROJECTS[kind](folder / kind)
            ours, theirs = of_hostel(project), of_gunicorn(project)
            print(f"\nmemory (PSS) of one of {SITES} idle live sites: {project.name}")
            print(f"  a worker, Hostel                   {ours[0]:8.1f} MB")
            print(f"  a worker, gunicorn                 {theirs[0]:8.1f} MB")
            print(
                f"  Hostel is                          {ours[0] / theirs[0]:8.2f} of it   (wanted: {BOUNDS.get(kind, '-')})"
            )
            print(
                f"  with all that is there for a site  {ours[1]:8.1f} MB, gunicorn {theirs[1]:.1f} MB: {ours[1] / theirs[1]:.2f}"
            )
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
