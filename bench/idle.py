"""Ten thousand site files: what they cost when nobody visits, and how soon one more is served."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from pathlib import Path

from tests.support.server import Server, descendants_of, make_folder, wait_for

SITES = int(os.environ.get("SITES", "10000"))
HELLO = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n"
QUIET_SECONDS = 20


def memory(pid: int) -> float:
    """Proportional set size in MB: what the process has for itself, and its share of what it shares (proc_pid_smaps(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def processor(pids: list[int]) -> float:
    """Seconds of processor time so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    server = Server(make_folder())
    server.run_dir = Path("/dev/shm/hostel-bench")  # in memory, as /run is on the systems that Hostel is made for
    try:
        server.write("app/app.py", HELLO)
        for number in range(SITES):
            name = f"site{number}"
            (server.sites / f"{name}.toml").write_text(
                f'domains = ["{name}.example.com", "www.{name}.example.com"]\napp = "app:application"\n'
                f'directory = "{server.projects}/app"\n\n[env]\nNUMBER = "{number}"\n\n[workers]\nmax = 2\nidle = "2s"\n'
            )
        begin = time.monotonic()
        server.start(wait=False)
        last = f"site{SITES - 1}.example.com"

        def is_served() -> bool:
            try:
                return server.get(last).status == 200
            except OSError:
                return False

        wait_for(is_served, seconds=60)
        print(f"\n{SITES} sites\n  serving after                      {time.monotonic() - begin:8.2f} s (wanted: 5)")
        statuses = {server.get(f"site{number}.example.com").status for number in range(0, SITES, max(1, SITES // 50))}
        assert statuses == {200}, statuses
        wait_for(lambda: not any(site["workers"] for site in server.status()["sites"]))
        status = server.status()["server"]
        print(f"  memory of the manager              {memory(status['manager']):8.1f} MB (wanted: below 100)")
        print(f"  memory of the supervisor           {memory(status['supervisor']):8.1f} MB")
        assert server.process is not None
        pids = sorted({server.process.pid} | descendants_of(server.process.pid))
        print(f"  processes                          {len(pids):8}    (supervisor, manager, front, zygotes; no worker)")
        time.sleep(2)
        before = processor(pids)
        time.sleep(QUIET_SECONDS)
        used = (processor(pids) - before) / QUIET_SECONDS * 100
        print(f"  processor when nothing happens     {used:8.2f} % of one core (wanted: below 1)")
        load = subprocess.Popen(
            ["wrk", "-t1", "-c4", "-d15s", "-H", "Host: site0.example.com", f"http://127.0.0.1:{server.port}/"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        times = []
        for number in range(9):
            begin = time.monotonic()
            server.site(f"new{number}", HELLO)
            wait_for(lambda name=f"new{number}": server.get(name).status == 200)  # type: ignore[misc]
            times.append(time.monotonic() - begin)
        said, _ = load.communicate()
        assert "Non-2xx" not in said and "Socket errors" not in said, said
        served = next(line.split()[0] for line in said.splitlines() if "requests in" in line)
        print(
            f"  one more site answers after        {statistics.median(times):8.2f} s (worst {max(times):.2f}; wanted: 1)"
            f"\n  requests to another one meanwhile  {served:>8}    (none failed)"
        )
        begin = time.monotonic()
        server.stop()
        print(f"  everything ended after             {time.monotonic() - begin:8.2f} s")
    finally:
        server.kill()
        subprocess.run(["rm", "-rf", str(server.folder), str(server.run_dir)], check=True)


if __name__ == "__main__":
    main()
