"""Many starts at once: not more at a time than are allowed, and nobody keeps a place for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.conftest import MakeServer
from tests.faults.load import PID

SECOND = "\n    import time\n    time.sleep(1)\n" + PID


def test_parallel_starts_are_capped(make_server: MakeServer) -> None:
    server = make_server(arguments=("--parallel-starts", "2"))
    names = [f"site{number}" for number in range(6)]
    for name in names:
        server.site(name, SECOND)
    server.start()
    seen: list[int] = []
    queued: list[int] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            status = server.status()
            forked = [w for s in status["sites"] for w in s["workers"] if w["phase"] == "ordered" and w["pid"]]
            seen.append(max(len(forked), status["server"]["starting"]))
            queued.append(status["server"]["queued_starts"])

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(server.get, names))
    finally:
        is_over.set()
        watcher.join()
    assert [answer.status for answer in answers] == [200] * 6
    assert max(seen) == 2
    assert max(queued) >= 3
    assert max(answer.seconds for answer in answers) > 2.5, "three rounds of a second"


def test_a_start_that_fails_gives_its_place_to_the_next(make_server: MakeServer) -> None:
    server = make_server(arguments=("--parallel-starts", "1"))
    server.site("broken", "raise RuntimeError('no')")
    server.site("gone", PID)
    (server.projects / "gone" / "app.py").unlink()
    server.site("dies", "import os; os._exit(3)")
    server.site("good", PID)
    server.start()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(server.get, ("broken", "gone", "dies", "good")))
    assert [answer.status for answer in answers] == [503, 503, 503, 200]
    assert server.status()["server"]["starting"] == 0


def test_a_reload_of_all_sites_rolls_through_those_that_run(make_server: MakeServer) -> None:
    server = make_server(arguments=("--parallel-starts", "1"))
    names = [f"site{number}" for number in range(2)]
    for name in (*names, "asleep"):
        server.site(name, SECOND if name in names else PID)
    server.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(server.get, names))
    process = subprocess.Popen(
        [sys.executable, "-m", "hostel", "reload", "--all"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "HOSTEL_RUN_DIR": str(server.run_dir)},
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first == "asleep: cold (its next start loads the new code)\n", "what is done is shown at once"
    answer = server.get("asleep")
    moving = server.status()["server"]
    assert (answer.status, moving["queued_starts"]) == (200, 0), "a visitor does not wait for all reloads"
    rest, _ = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "".join(f"{name}: serving (generation 2, 1 worker)\n" for name in names))
    assert server.view("asleep")["generation"] == 1
