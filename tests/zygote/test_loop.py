"""The zygote as a process: it forks on order, reports every end, and nothing but its channel ends it."""

from __future__ import annotations

import array
import json
import os
import resource
import signal
import socket
import subprocess

import pytest

from hostel.wire import Drain, Forked, ForkRefused, KillWorker, Preload, Stop, WorkerEnded, encode
from hostel.zygote.loop import END_SECONDS
from tests.support.server import DEADLINE, descendants_of, is_alive, wait_for
from tests.worker.test_interpreters import each_python, interpreters
from tests.zygote.process import HELLO, StartZygote, ZygoteProcess, identity_of, listen_to

STUCK = "import time\nprint('stuck', flush=True)\ntime.sleep(1000)"


def check_works(zygote: ZygoteProcess) -> None:
    worker = zygote.fork().wait_ready()
    assert worker.ask().body == str(worker.pid).encode()
    worker.drain()
    assert zygote.wait_ended(worker) == 0


@each_python
def test_a_life(start_zygote: StartZygote, version: str) -> None:
    zygote = start_zygote(interpreters()[version])
    check_works(zygote)
    zygote.module("plain")
    zygote.module("opening", "kept = open('/dev/null')")
    answer = zygote.preload("opening", "plain", "missing")
    assert answer.imported == ("plain",)
    assert list(answer.refused) == ["opening", "missing"]
    check_works(zygote)


# --- what a worker is given ---------------------------------------------------------------------------------------------

LOOK_AROUND = """
    import json
    names = [name for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")]
    frame, files = sys._getframe(), []
    while frame:
        files.append(os.path.basename(frame.f_code.co_filename))
        frame = frame.f_back
    print(json.dumps({
        "descriptors": {name: [os.fstat(int(name)).st_dev, os.fstat(int(name)).st_ino] for name in names},
        "environment": dict(os.environ), "parent": os.getppid(), "files": files, "error": str(sys.exc_info()[1]),
    }))
"""


@pytest.mark.parametrize("count", [4, 5])
def test_a_worker_has_what_was_handed_over_and_nothing_else(zygote: ZygoteProcess, count: int) -> None:
    """Nothing of the zygote: not its channel, its other workers, its environment, its frames."""
    zygote.fork().wait_ready()
    worker = zygote.fork(LOOK_AROUND + HELLO, count=count).wait_ready()
    found = json.loads(worker.log)
    descriptors = {int(number): tuple(identity) for number, identity in found["descriptors"].items()}
    listener, control, log, board, http = worker.given[:5]
    expected = {0: identity_of("/dev/null"), 1: log, 2: log, 3: listener, 4: control}
    if count == 5:
        expected[6] = http
    assert {number: descriptors.pop(number) for number in expected} == expected
    assert set(descriptors.values()) <= {board}, "its mapping keeps it open up to Python 3.12"
    assert found["environment"] == {"PATH": "/usr/bin:/bin"}
    assert found["parent"] == zygote.pid
    assert "loop.py" not in found["files"]
    assert found["error"] == "None"


def test_a_worker_can_be_told_to_leave_by_a_signal_though_the_zygote_cannot(zygote: ZygoteProcess) -> None:
    worker = zygote.fork().wait_ready()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        os.kill(zygote.pid, number)
    check_works(zygote)
    os.kill(worker.pid, signal.SIGTERM)
    assert zygote.wait_ended(worker) == -signal.SIGTERM


def test_nothing_is_left_of_hundreds_of_workers(zygote: ZygoteProcess) -> None:
    check_works(zygote)
    before = zygote.descriptors
    for number in range(200):
        assert zygote.wait_ended(zygote.fork("os._exit(7)", count=4 + number % 2)) == 7
    assert zygote.descriptors == before
    assert descendants_of(zygote.pid) == set()


# --- ends ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [("os._exit(3)", 3), ("os.abort()", -signal.SIGABRT), ("os.kill(os.getpid(), 9)", -signal.SIGKILL), ("1 / 0", 100)],
)
def test_every_end_is_reported_with_its_status(zygote: ZygoteProcess, code: str, status: int) -> None:
    assert zygote.wait_ended(zygote.fork(code)) == status
    assert descendants_of(zygote.pid) == set(), "it is reaped"


def test_ends_at_the_same_time_are_reported_one_by_one(zygote: ZygoteProcess) -> None:
    workers = [zygote.fork() for _ in range(20)]
    os.kill(zygote.pid, signal.SIGSTOP)
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    os.kill(zygote.pid, signal.SIGCONT)
    ends = [zygote.expect(WorkerEnded) for _ in workers]
    assert {(end.worker, end.pid) for end in ends} == {(worker.number, worker.pid) for worker in workers}
    check_works(zygote)


def test_only_its_own_workers_are_killed(zygote: ZygoteProcess) -> None:
    worker, reaped = zygote.fork(), zygote.fork("os._exit(0)")
    assert zygote.wait_ended(reaped) == 0
    with subprocess.Popen(["sleep", "1000"]) as other:
        for pid in (other.pid, zygote.pid, reaped.pid, 0):
            zygote.channel.send(KillWorker(pid, signal.SIGKILL))
        for number in (-1, 0, 9999, 2**40):
            zygote.channel.send(KillWorker(worker.pid, number))
        check_works(zygote)
        assert other.poll() is None
        assert is_alive(worker.pid)
        other.kill()
    zygote.channel.send(KillWorker(worker.pid, signal.SIGKILL))
    assert zygote.wait_ended(worker) == -signal.SIGKILL


# --- orders that cannot be carried out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_an_order_with_other_descriptors_is_refused(zygote: ZygoteProcess, count: int) -> None:
    worker = zygote.order(count=count)
    refusal = ForkRefused("site", worker.number, f"the order came with {count} descriptors")
    assert zygote.expect(ForkRefused) == refusal
    assert listen_to(worker.channel) is None, "they are closed"
    check_works(zygote)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("open('/dev/null')", "the zygote holds foreign descriptors: ["),
        ("__import__('threading').Thread(target=__import__('time').sleep, args=(1000,), daemon=True).start()",
         "the zygote has more than one thread"),
    ],
)  # fmt: skip
def test_a_zygote_that_is_not_as_it_was_forks_no_more(zygote: ZygoteProcess, code: str, reason: str) -> None:
    """A module shows only here, and not in the trial, what it does."""
    zygote.module("two_faced", f"import os\nif os.getppid() == {os.getpid()}:\n    kept = {code}")
    assert zygote.preload("two_faced").imported == ("two_faced",)
    worker = zygote.order()
    assert zygote.expect(ForkRefused).reason.startswith(reason)
    assert listen_to(worker.channel) is None


def test_a_worker_that_cannot_even_begin_has_ended(zygote: ZygoteProcess) -> None:
    """The order to the zygote is right, what it says of the worker is not."""
    assert zygote.wait_ended(zygote.fork(operations=(["no_such_operation"],))) == 1
    check_works(zygote)


GARBAGE = [
    b"x", b"\xff\0", b"[]", b"{}", b'"Stop"', b"[1]", b'["StartWorker"]', b'["KillWorker", 1]', b'["KillWorker", "1", 9]',
    b'["Preload", "os"]', b'["Preload", [1]]', b"[" * 100_000, b'["Preload", ["' + b"x" * 180_000 + b'"]]',
    encode(Drain()), encode(Stop()), encode(Forked("site", 1, 1)),
]  # fmt: skip


def test_garbage_is_dropped_with_its_descriptors(zygote: ZygoteProcess) -> None:
    check_works(zygote)
    before = zygote.descriptors
    attached = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 1, 1, 1]))]
    for data in GARBAGE:
        zygote.channel.socket.send(data)
        zygote.channel.socket.sendmsg([data], attached)
    check_works(zygote)
    assert zygote.descriptors == before


# --- its own end --------------------------------------------------------------------------------------------------------


def test_it_ends_with_its_channel_and_so_do_its_workers(zygote: ZygoteProcess) -> None:
    workers = [zygote.fork().wait_ready() for _ in range(3)]
    zygote.let_go()
    assert zygote.process.wait(DEADLINE) == 0
    assert not [worker for worker in workers if is_alive(worker.pid)]


def test_it_ends_in_peace_when_nobody_hears_its_last_words(zygote: ZygoteProcess) -> None:
    """Orders are on the way, and ends to be told, when the other end of the channel is closed."""
    zygote.fork("os._exit(0)")
    os.kill(zygote.pid, signal.SIGSTOP)
    zygote.order()
    zygote.channel.send(Preload(("missing",)))
    zygote.let_go()
    os.kill(zygote.pid, signal.SIGCONT)
    assert zygote.process.wait(DEADLINE) == 0


@pytest.mark.slow
def test_workers_that_do_not_leave_are_killed_at_its_end(zygote: ZygoteProcess) -> None:
    stuck, *others = zygote.fork(STUCK), zygote.fork(), zygote.fork()
    wait_for(lambda: stuck.log == "stuck\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    zygote.let_go()
    wait_for(lambda: not [worker for worker in others if is_alive(worker.pid)])
    assert is_alive(stuck.pid), "it has its time"
    assert zygote.process.wait(DEADLINE) == 0
    assert not is_alive(stuck.pid)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < END_SECONDS / 2, "it waits asleep"
