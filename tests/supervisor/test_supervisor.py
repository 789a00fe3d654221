"""The supervisor with a manager that tests command: what it keeps, what it starts, what it restarts, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hostel.supervisor.__main__ import lock
from tests.support.server import DEADLINE, descendants_of, is_alive, make_folder, wait_for

PUPPET = Path(__file__).parent / "puppet.py"


class Puppet:
    """A manager: what it was handed over, and its strings."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE)
        self.connection = connection
        self.lines = connection.makefile("rw")
        self.said: list[Any] = []
        handover = self.hear()
        self.pid: int = handover["pid"]
        self.kept: dict[str, list[str]] = handover["kept"]
        self.running: dict[str, int] = handover["running"]

    def hear(self) -> Any:
        line = self.lines.readline()
        assert line, "the manager is gone"
        return json.loads(line)

    def do(self, what: str, *, wait: bool = True, **order: Any) -> None:
        self.lines.write(json.dumps({"do": what, **order}) + "\n")
        self.lines.flush()
        while wait and (heard := self.hear()) != "done":
            self.said.append(heard)

    def send(self, *message: Any, descriptors: tuple[int, ...] = ()) -> None:
        self.do("send", message=message, descriptors=descriptors)

    def keep(self, *names: str, contents: tuple[str, ...] = (), notes: tuple[str, ...] = ()) -> None:
        self.do("keep", names=names, contents=contents or names, notes=notes or [""] * len(names))

    def spawn(self, name: str, *argv: str, become: Sequence[Any] = (), at_death: int = 0) -> int:
        """The pid of a new program."""
        self.send("Spawn", name, argv, {"PATH": os.environ["PATH"]}, "/", False, at_death, become, False, False)
        kind, found, pid = self.expect("Spawned", "SpawnFailed")
        assert kind == "Spawned" and found == name, pid
        return int(pid)

    def expect(self, *kinds: str) -> list[Any]:
        """The next message of one of these kinds."""
        while True:
            for heard in self.said:
                if heard[0] in kinds:
                    self.said.remove(heard)
                    return list(heard)
            self.said.append(self.hear())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class Stage:
    """A supervisor in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / "run"
        self.run_dir.mkdir(exist_ok=True)
        self.output = folder / "output"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(folder / "puppets"))
        self.listener.listen()
        self.listener.settimeout(DEADLINE)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.connections: list[Puppet] = []

    def start(self, *manager: str) -> subprocess.Popen[bytes]:
        manager = manager or (sys.executable, str(PUPPET), "{channel}", str(self.folder / "puppets"))
        return self.start_command(sys.executable, "-I", "-m", "hostel.supervisor", str(self.run_dir), "--", *manager)

    def start_command(self, *command: str) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output:
            self.processes.append(subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True))
        return self.processes[-1]

    def accept(self) -> Puppet:
        """The next manager that starts."""
        self.connections.append(Puppet(self.listener.accept()[0]))
        return self.connections[-1]

    def serve(self) -> tuple[subprocess.Popen[bytes], Puppet]:
        """A supervisor and a manager that has finished its start."""
        process = self.start()
        puppet = self.accept()
        puppet.send("Serving")
        return process, puppet

    def close(self) -> None:
        for process in self.processes:
            left = descendants_of(process.pid) if process.poll() is None else set()
            for pid in (process.pid, *left):
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        for puppet in self.connections:
            puppet.lines.close()
            puppet.connection.close()
        self.listener.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    folder = make_folder()
    stage = Stage(folder)
    yield stage
    stage.close()
    shutil.rmtree(folder)


SLEEP = ("sleep", "1000")


def test_descriptors_notes_and_programs_outlive_a_manager(stage: Stage) -> None:
    _, first = stage.serve()
    assert (first.kept, first.running) == ({}, {})
    first.keep("site/blog/app", "worker/blog/1.1/log", notes=("", "note"))
    first.send("Note", "site/blog/app", "disabled")
    first.keep("gone")
    first.send("Forget", ["gone", "never there"])
    pid = first.spawn("zygote/1", *SLEEP)
    first.kill()
    second = stage.accept()
    assert second.pid != first.pid
    assert second.kept == {
        "site/blog/app": ["disabled", "site/blog/app"],
        "worker/blog/1.1/log": ["note", "worker/blog/1.1/log"],
    }
    assert second.running == {"zygote/1": pid}
    assert is_alive(pid)


def test_hundreds_of_descriptors_are_handed_over(stage: Stage) -> None:
    _, first = stage.serve()
    names = [f"site/{number}/app" for number in range(1000)]
    for begin in range(0, 1000, 200):
        first.keep(*names[begin : begin + 200], notes=tuple("x" * 100 for _ in range(200)))
    first.kill()
    second = stage.accept()
    assert {name: content for name, (_, content) in second.kept.items()} == {name: name for name in names}


def test_what_a_manager_said_last_is_done(stage: Stage) -> None:
    """It is killed right after it has spoken: the next one has to know."""
    _, puppet = stage.serve()
    for number in range(3):
        puppet.do("speak and die", name=f"last/{number}", wait=False)
        puppet = stage.accept()
        assert puppet.kept == {f"last/{n}": [f"note {n}", f"last/{n}"] for n in range(number + 1)}


def test_the_end_of_a_program_is_reported_by_its_name(stage: Stage) -> None:
    _, puppet = stage.serve()
    pid = puppet.spawn("front", "sh", "-c", "exit 3")
    assert puppet.expect("Exited") == ["Exited", "front", pid, 3 << 8]
    pid = puppet.spawn("front", *SLEEP)
    puppet.send("Signal", "front", int(signal.SIGTERM))
    assert puppet.expect("Exited") == ["Exited", "front", pid, int(signal.SIGTERM)]
    puppet.send("Signal", "front", int(signal.SIGTERM))  # nobody has this name now


def test_the_end_of_an_orphan_is_reported_without_a_name(stage: Stage) -> None:
    _, puppet = stage.serve()
    code = (
        "import os, time\n"
        "parent = os.getpid()\n"
        "if os.fork(): os._exit(0)\n"
        "while os.getppid() == parent: time.sleep(0.01)\n"
        "os._exit(7)"
    )
    puppet.spawn("parent", sys.executable, "-I", "-c", code)
    exits = {name: os.waitstatus_to_exitcode(status) for _, name, _, status in (puppet.expect("Exited") for _ in "12")}
    assert exits == {"parent": 0, "": 7}


def test_a_program_that_cannot_be_started_is_reported(stage: Stage) -> None:
    _, puppet = stage.serve()
    for message in (
        ["Spawn", "nothing", ["/no/such/program"], {}, "/", False, 0, [], False, False],
        ["Spawn", "nothing", ["true"], {"PATH": "/usr/bin:/bin"}, "/no/such/folder", False, 0, [], False, False],
        ["Spawn", "nothing", ["nul\0"], {}, "/", False, 0, [], False, False],
        ["Spawn", "nothing", [], {}, "/", False, 0, [], False, False],
    ):
        puppet.send(*message)
        kind, name, reason = puppet.expect("Spawned", "SpawnFailed")
        assert (kind, name) == ("SpawnFailed", "nothing")
        assert reason
    puppet.send("Spawn", "nothing", ["true"], {}, "/", False, 0, [["set_gid", -2]], False, False)
    assert puppet.expect("Spawned", "SpawnFailed")[0] == "SpawnFailed"  # it is not what it should be: not executed
    puppet.spawn("something", "true")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_program_becomes_whom_it_is_to_be(stage: Stage) -> None:
    _, puppet = stage.serve()
    place = stage.folder / "open"
    place.mkdir()
    place.chmod(0o777)
    become = [["set_groups", [12346, 12347]], ["set_gid", 12346], ["set_uid", 12345]]
    puppet.spawn("other", "sh", "-c", f"id -u > {place}/id; id -G >> {place}/id", become=become)
    puppet.expect("Exited")
    assert (place / "id").read_text().split() == ["12345", "12346", "12347"]


def test_a_program_gets_its_descriptors_its_environment_and_nothing_else(stage: Stage) -> None:
    _, puppet = stage.serve()
    puppet.keep("secret")
    place = stage.folder / "seen"
    code = (
        "import os, sys, json; json.dump([dict(os.environ), sys.argv[1:], sorted(map(int, os.listdir('/proc/self/fd'))),"
        " os.getcwd(), os.getsid(0) == os.getpid(), [os.fstat(0).st_rdev, os.stat('/dev/null').st_rdev]],"
        f" open({str(place)!r}, 'w'))"
    )
    message = [
        "Spawn",
        "reader",
        [sys.executable, "-I", "-c", code, "{1}", "x{0}"],
        {"FD": "{0}", "LC_ALL": "C.UTF-8"},
        "/",
        False,
        0,
        [],
        False,
        False,
    ]
    puppet.send(*message, descriptors=(0, 0))
    puppet.expect("Exited")
    environment, arguments, descriptors, directory, is_leader, (null, real_null) = json.loads(place.read_text())
    first, second = int(environment["FD"]), int(arguments[0])
    assert environment == {"FD": str(first), "LC_ALL": "C.UTF-8"}
    assert arguments == [str(second), f"x{first}"]
    assert first != second
    assert set(descriptors) - {0, 1, 2} >= {first, second}
    assert len(descriptors) <= 6, "its own, the two, and the listing's"
    assert (directory, is_leader, null) == ("/", True, real_null)


def test_a_manager_that_keeps_dying_is_restarted_with_growing_pauses(stage: Stage) -> None:
    process, puppet = stage.serve()
    times = []
    for _ in range(4):
        begin = time.monotonic()
        puppet.kill()
        puppet = stage.accept()
        times.append(time.monotonic() - begin)
    assert times[2] > 0.5
    assert times[3] > 1.0
    assert process.poll() is None


@pytest.mark.parametrize("code", [0, 2, 111])
def test_a_manager_that_cannot_start_ends_the_server_with_its_status(stage: Stage, code: int) -> None:
    process = stage.start()
    puppet = stage.accept()
    puppet.spawn("front", *SLEEP)
    puppet.do("exit", code=code, wait=False)
    assert process.wait(DEADLINE) == code


def test_a_manager_that_is_killed_before_it_serves_ends_the_server(stage: Stage) -> None:
    process = stage.start()
    stage.accept().kill()
    assert process.wait(DEADLINE) == 70


def test_a_manager_that_ends_by_itself_ends_the_server(stage: Stage) -> None:
    process, puppet = stage.serve()
    pid = puppet.spawn("front", *SLEEP)
    puppet.do("exit", code=0, wait=False)
    assert process.wait(DEADLINE) == 0
    assert not is_alive(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_manager_to_stop(stage: Stage, number: int) -> None:
    process, puppet = stage.serve()
    process.send_signal(number)
    assert puppet.expect("Stop") == ["Stop"]
    assert process.poll() is None, "the manager has time"
    puppet.do("exit", code=0, wait=False)
    assert process.wait(DEADLINE) == 0


def test_without_a_terminal_the_signal_of_its_end_means_an_upgrade(stage: Stage) -> None:
    process, puppet = stage.serve()
    process.send_signal(signal.SIGHUP)
    assert puppet.expect("Upgrade") == ["Upgrade"]
    assert process.poll() is None


def test_a_manager_that_makes_room_is_followed_by_the_next_with_all_there_is(stage: Stage) -> None:
    process, puppet = stage.serve()
    pid = puppet.spawn("front", *SLEEP)
    puppet.keep("site/blog/app", notes=("a note",))
    puppet.send("Replace")
    puppet.do("exit", code=0, wait=False)
    after = stage.accept()
    assert after.kept == {"site/blog/app": ["a note", "site/blog/app"]}
    assert after.running == {"front": pid}
    assert is_alive(pid)
    after.do("exit", code=0, wait=False)
    assert process.wait(DEADLINE) == 0, "this one has not said so: it is the end"


def test_the_end_of_the_terminal_is_ignored_when_nohup_wants_it(stage: Stage) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process, puppet = stage.serve()
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    puppet.expect("Stop")
    puppet.spawn("after", "true")
    assert [message for message in puppet.said if message[0] == "Stop"] == []


def test_a_manager_that_does_not_stop_is_ended_with_all_that_is_below(stage: Stage) -> None:
    process, puppet = stage.serve()
    pid = puppet.spawn("front", "sh", "-c", "trap '' TERM INT HUP; sleep 1000")
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    assert time.monotonic() - begin > 2
    assert not is_alive(pid)
    assert not is_alive(puppet.pid)


def test_a_second_signal_ends_at_once(stage: Stage) -> None:
    process, puppet = stage.serve()
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    puppet.expect("Stop")
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 0
    assert time.monotonic() - begin < 2.5
    assert not is_alive(puppet.pid)


def test_a_stop_while_there_is_no_manager_ends_at_once(stage: Stage) -> None:
    process, puppet = stage.serve()
    pid = puppet.spawn("front", *SLEEP)
    for _ in range(4):
        puppet.kill()
        puppet = stage.accept()
    puppet.kill()  # the next one starts in two seconds
    wait_for(lambda: "the next one starts in 2.0 s" in stage.output.read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    assert not is_alive(pid)


def test_processes_that_run_away_are_found_at_the_end(stage: Stage) -> None:
    process, puppet = stage.serve()
    place = stage.folder / "pids"
    place.touch()
    code = (
        "import os, time\n"
        "for depth in range(5):\n"
        "    if os.fork(): os._exit(0)\n"
        "    os.setsid()\n"
        f"    open({str(place)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "import signal\n"
        "for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\n"
        f"open({str(place)!r}, 'a').write('there\\n')\n"
        "time.sleep(1000)\n"
    )
    puppet.spawn("runaway", sys.executable, "-I", "-c", code)
    wait_for(lambda: "there" in place.read_text())
    last = int(place.read_text().split()[-2])
    assert is_alive(last)
    puppet.do("exit", code=0, wait=False)
    assert process.wait(DEADLINE) == 0
    assert not is_alive(last)


def test_a_second_server_on_the_same_run_directory_is_refused(stage: Stage) -> None:
    first, _ = stage.serve()
    second = stage.start()
    assert second.wait(DEADLINE) == 2
    text = stage.output.read_text()
    assert f"another Hostel serves in {stage.run_dir} (process {first.pid})" in text
    assert "--run-dir" in text
    assert first.poll() is None


@pytest.mark.smoke
def test_the_run_directory_is_clean_before_and_after(stage: Stage) -> None:
    (stage.run_dir / "sites" / "old").mkdir(parents=True)
    (stage.run_dir / "hosts").symlink_to("sites")
    process = stage.start()
    puppet = stage.accept()
    assert [path.name for path in stage.run_dir.iterdir()] == ["lock"]
    (stage.run_dir / "-rf").touch()
    (stage.run_dir / "sites" / "new").mkdir(parents=True)
    puppet.do("exit", code=0, wait=False)
    assert process.wait(DEADLINE) == 0
    assert not stage.run_dir.exists()


def test_a_lock_whose_file_is_gone_does_not_count(tmp_path: Path) -> None:
    """The server before, of which only the end is left, takes its lock and its run directory with it."""
    run_dir, path = tmp_path / "run", tmp_path / "run" / "lock"
    before = lock(str(run_dir))
    os.pwrite(before, b"999999999".ljust(20), 0)  # no process has this number

    def leave() -> None:
        path.unlink()
        run_dir.rmdir()
        os.close(before)

    threading.Timer(0.2, leave).start()
    descriptor = lock(str(run_dir))
    assert os.path.samestat(os.fstat(descriptor), path.stat())
    os.close(descriptor)


def test_a_new_server_waits_for_the_manager_of_one_whose_supervisor_was_killed(stage: Stage) -> None:
    first, puppet = stage.serve()
    (stage.run_dir / "sites").mkdir()
    first.kill()
    first.wait()
    assert puppet.expect("gone") == ["gone"]
    second = stage.start()
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1)
    assert (stage.run_dir / "sites").exists(), "the old manager may still be using it"
    puppet.do("exit", code=0, wait=False)
    stage.accept()
    assert not (stage.run_dir / "sites").exists()


def test_a_program_gets_its_signal_when_the_supervisor_is_killed(stage: Stage) -> None:
    process, puppet = stage.serve()
    place, listens = stage.folder / "told", stage.folder / "listens"
    code = f"trap 'echo yes > {place}; exit' TERM; touch {listens}; while :; do sleep 0.05; done"
    told = puppet.spawn("told", "sh", "-c", code, at_death=signal.SIGTERM)
    wait_for(listens.exists)
    process.kill()
    process.wait()
    wait_for(lambda: place.exists() and not is_alive(told))
    puppet.do("exit", code=0, wait=False)


def test_a_manager_that_does_not_listen_is_replaced(stage: Stage) -> None:
    code = "import sys, hostel.supervisor.__main__ as m; m.DEAF_SECONDS = 1; sys.argv[0] = '-'; sys.exit(m.main())"
    puppet_command = (sys.executable, str(PUPPET), "{channel}", str(stage.folder / "puppets"))
    stage.start_command(sys.executable, "-I", "-c", code, str(stage.run_dir), "--", *puppet_command)
    first = stage.accept()
    first.send("Serving")
    first.keep("a")
    first.do("talk without listening")
    second = stage.accept()
    assert set(second.kept) == {"a"}
    assert not is_alive(first.pid)


def test_rubbish_from_the_manager_does_no_harm(stage: Stage) -> None:
    _, puppet = stage.serve()
    for message in (["Kept", [], []], ["Step", "import", 0.1], ["Exited", "", 1, 0], ["Stop"]):
        puppet.send(*message)  # well formed, and not for a supervisor
    puppet.keep("a")
    puppet.kill()
    assert set(stage.accept().kept) == {"a"}
