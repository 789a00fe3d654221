"""The supervisor's loop.

    python -m hostel.supervisor RUN_DIR -- MANAGER-COMMAND...

It owns the run directory (the lock, and that nothing is left in it), the descriptor store, and the children. It must not
know what a site is.

The hard part is to be so small that nothing in it fails: one blocking loop over a signal pipe and one channel, no
state but names and numbers. When the manager dies, the next one gets all descriptors and a list of what runs. When the
manager ends by itself, or the server is told to stop, everything below it is ended too: the supervisor is the subreaper
(PR_SET_CHILD_SUBREAPER, prctl(2)), so whatever escaped its parent is found among its own children.

Should it die itself, everything ends with it: its channels break, which manager, zygotes and workers take as the order to
leave, and other programs get the signal that their order names. The manager has a copy of the lock, so that no other
server begins before this one has ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from hostel.errors import HostelError, PeerError, UsageError
from hostel.sandbox import operations, syscalls
from hostel.sandbox.cgroups import Cgroups, find_trees
from hostel.sandbox.warden import fork_warden, send_children, take_children_back
from hostel.supervisor.store import Store
from hostel.wire import (
    PROTOCOL_VARIABLE,
    Channel,
    Exited,
    Forget,
    Keep,
    MakeRoom,
    Note,
    Replace,
    Running,
    Serving,
    Signal,
    Spawn,
    Spawned,
    SpawnFailed,
    Stop,
    Upgrade,
    protocol,
)  # fmt: skip

STOP_SECONDS = 2.6  # for the manager to end everything in good order; what is left then is killed
RESTART_SECONDS = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)  # pauses between starts of a manager that keeps dying
SHORTAGE_SECONDS = 1.0  # after which a start is tried again that the system has refused
CALM_SECONDS = 5.0  # a manager that lived that long starts the row of pauses anew
KILL_SECONDS = 5.0
DEAF_SECONDS = 30  # a manager that leaves its channel full for so long is ended: the next one will read
REMAINS_SECONDS = 10.0  # for what is left of a server whose supervisor was killed to end
LOCK = "lock"
DESCRIPTORS = 131072


class Supervisor:
    """``run`` returns the exit status of the server. ``lock``: the descriptor of the run directory's lock."""

    def __init__(self, manager_command: list[str], lock: int) -> None:
        self.manager_command = manager_command
        self.lock = lock
        self.store = Store()
        self.programs: dict[str, int] = {}  # pids by name
        self.channel: Channel | None = None
        self.manager: subprocess.Popen[bytes] | None = None
        self.has_served = False
        self.is_replacing = False  # the manager has said that it ends to make room for the next
        self.stop_by = 0.0  # monotonic time by which all has to be over; 0: no stop has been asked for
        self.deaths = 0
        self.started_at = 0.0
        self.restart_at = 0.0
        self.wake_reader, wake_writer = os.pipe()
        os.set_blocking(self.wake_reader, False)
        os.set_blocking(wake_writer, False)
        self.stop_signals = {signal.SIGTERM, signal.SIGINT}
        signals = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup(1) leaves it
            signals.add(signal.SIGHUP)
            if has_terminal():  # then it means that the terminal is gone
                self.stop_signals.add(signal.SIGHUP)
        for number in signals:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)

    def run(self) -> int:
        self.start_manager()
        while True:
            readable = select.poll()
            readable.register(self.wake_reader, select.POLLIN)
            if self.channel is not None:
                readable.register(self.channel.fileno(), select.POLLIN)
            events = [number for number, _ in readable.poll(self.patience())]
            if self.wake_reader in events:
                self.take_signals()
            status = self.reap()
            if status is not None:
                self.end_all()
                return status
            if self.channel is not None and self.channel.fileno() in events:
                self.obey()
            now = time.monotonic()
            if self.stop_by and (now >= self.stop_by or self.manager is None):
                self.end_all()
                return 0
            if self.manager is None and now >= self.restart_at:
                self.start_manager()

    def patience(self) -> float | None:
        """How many milliseconds the loop may sleep."""
        times = [time for time in (self.stop_by, self.restart_at if self.manager is None else 0.0) if time]
        return max(0.0, min(times) - time.monotonic()) * 1000 if times else None

    def take_signals(self) -> None:
        came = set(os.read(self.wake_reader, 4096))
        if not self.stop_signals & came:
            if signal.SIGHUP in came:
                self.tell(Upgrade())
            return
        if self.stop_by:  # asked twice: at once
            self.stop_by = time.monotonic()
            return
        self.stop_by = time.monotonic() + STOP_SECONDS
        self.tell(Stop())

    def start_manager(self) -> None:
        """Start a manager and hand over what is kept and what runs."""
        ours, theirs = Channel.pair()
        ours.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", DEAF_SECONDS, 0))
        number = theirs.fileno()
        command = [part.replace("{channel}", str(number)) for part in self.manager_command]
        self.started_at = time.monotonic()
        try:
            self.manager = subprocess.Popen(
                command,
                pass_fds=[number, self.lock],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, PROTOCOL_VARIABLE: protocol()},
            )
        except OSError as error:  # no memory, or no process left
            ours.close()
            self.restart_at = time.monotonic() + SHORTAGE_SECONDS
            print(f"hostel: cannot start a manager: {error}", file=sys.stderr, flush=True)
            return
        finally:
            theirs.close()
        self.channel = ours
        for message, descriptors in self.store.batches():
            self.tell(message, descriptors)
        self.tell(Running(tuple(self.programs), tuple(self.programs.values())))

    def tell(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Say something to the manager, if there is one."""
        if self.channel is None or self.manager is None:
            return
        try:
            self.channel.send(message, descriptors)
        except BlockingIOError:
            print(f"hostel: the manager has not listened for {DEAF_SECONDS} s", file=sys.stderr, flush=True)
            self.manager.kill()
        except OSError:
            pass  # it is dead: its end will be reaped

    def reap(self) -> int | None:
        """Reap all that ended; the server's exit status when it is over."""
        assert self.manager is not None or self.restart_at
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if not pid:
                return None
            if os.WIFSTOPPED(status):  # an orphan that asks to be traced, ptrace(2), would be taken for dead
                os.kill(pid, signal.SIGKILL)
                continue
            if self.manager is not None and pid == self.manager.pid:
                self.manager.returncode = status
                self.manager = None
                over = self.manager_ended(os.waitstatus_to_exitcode(status))
                if over is not None:
                    return over
                continue
            name = next((name for name, known in self.programs.items() if known == pid), "")
            self.programs.pop(name, None)
            self.tell(Exited(name, pid, status))

    def manager_ended(self, code: int) -> int | None:
        with contextlib.suppress(BlockingIOError):
            while self.channel is not None:  # what it said last is still to be done
                self.obey(wait=False)
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if self.is_replacing and not self.stop_by:
            self.is_replacing = False
            self.restart_at = time.monotonic()
            return None
        if code == 0 or self.stop_by or not self.has_served:  # a server that cannot start says so and ends
            return max(code, 0) if self.has_served else (code if code >= 0 else 70)
        if time.monotonic() - self.started_at > CALM_SECONDS:
            self.deaths = 0
        pause = RESTART_SECONDS[min(self.deaths, len(RESTART_SECONDS) - 1)]
        self.deaths += 1
        self.restart_at = time.monotonic() + pause
        print(
            f"hostel: the manager died (status {code}); the next one starts in {pause} s", file=sys.stderr, flush=True
        )
        return None

    def obey(self, wait: bool = True) -> None:
        """Take one message from the manager. Raises ``BlockingIOError`` when there is none and ``wait`` is false."""
        assert self.channel is not None
        try:
            received = self.channel.receive(wait)
        except PeerError as error:
            print(f"hostel: {error}", file=sys.stderr, flush=True)
            return
        if received is None:
            self.channel.close()
            self.channel = None  # the manager is about to be reaped
            return
        message, descriptors = received
        if isinstance(message, Keep):
            for name, note, descriptor in zip(message.names, message.notes, descriptors, strict=False):
                self.store.keep(name, note, descriptor)
            return  # the store owns the descriptors now
        if isinstance(message, Note):
            self.store.note(message.name, message.note)
        elif isinstance(message, Forget):
            for name in message.names:
                self.store.forget(name)
        elif isinstance(message, Spawn):
            self.spawn(message, descriptors)
        elif isinstance(message, MakeRoom):
            self.make_room(message, descriptors)
        elif isinstance(message, Signal) and message.name in self.programs:
            os.kill(self.programs[message.name], message.number)
        elif isinstance(message, Serving):
            self.has_served = True
        elif isinstance(message, Replace):
            self.is_replacing = True
        for descriptor in descriptors:
            os.close(descriptor)

    def spawn(self, order: Spawn, descriptors: list[int]) -> None:
        """Start a program; what it becomes is done before it is executed."""
        room = descriptors[0] if order.has_room and descriptors else -1
        given = descriptors[1:] if order.has_room else descriptors
        own, output = (given[:-1], given[-1]) if order.has_output else (given, None)

        def become() -> None:
            try:
                operations.run([tuple(operation) for operation in order.operations], os.dup(room) if room >= 0 else -1)
            except HostelError as error:
                os.write(2, f"hostel: {error}\n".encode())
                raise
            if order.at_death:  # later: a change of user takes it away
                syscalls.prctl(syscalls.PR_SET_PDEATHSIG, order.at_death)

        try:
            back = send_children(room if order.joins_processes else -1)
            try:
                program = subprocess.Popen(
                    [fill_in(part, given) for part in order.argv],
                    env={key: fill_in(value, given) for key, value in order.environment.items()},
                    cwd=order.directory,
                    pass_fds=own,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=become if order.operations or order.at_death else None,
                )
            finally:
                take_children_back(back)
        except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
            self.tell(SpawnFailed(order.name, str(error)))
            return
        program.returncode = 0  # it is reaped here, not by its object
        self.programs[order.name] = program.pid
        self.tell(Spawned(order.name, program.pid))

    def make_room(self, order: MakeRoom, descriptors: list[int]) -> None:
        """Fork a site's warden, which says by itself when its room is ready."""
        try:
            pid = fork_warden([tuple(operation) for operation in order.operations], descriptors[0])
        except (OSError, IndexError) as error:
            self.tell(SpawnFailed(order.name, str(error)))
        else:
            self.programs[order.name] = pid
            self.tell(Spawned(order.name, pid))

    def end_all(self) -> None:
        """Kill and reap every descendant, those included that ran away from their parents."""
        deadline = time.monotonic() + KILL_SECONDS
        while time.monotonic() < deadline:
            for pid in children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def has_terminal() -> bool:
    """Whether this process has a controlling terminal, whose end is told by SIGHUP (tty(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def fill_in(text: str, descriptors: list[int]) -> str:
    """Put the numbers of the attached descriptors in the place of ``{0}``, ``{1}`` …"""
    for index, descriptor in enumerate(descriptors):
        text = text.replace(f"{{{index}}}", str(descriptor))
    return text


def children() -> list[int]:
    """The pids of this process's children, zombies included; proc_pid_task(5)."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


def lock(run_dir: str) -> int:
    """Lock the run directory for the life of this server. Raises ``UsageError`` when another server has it.

    When that one's supervisor is dead, what is left of it ends by itself, and is waited for. A server that ends in good
    order takes the lock's file with it, so a lock counts only when its file is still the one that is there.
    """
    path = os.path.join(run_dir, LOCK)
    deadline = time.monotonic() + REMAINS_SECONDS
    while True:
        os.makedirs(run_dir, mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    break
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode()
            if os.path.exists(f"/proc/{owner or 'self'}") or time.monotonic() > deadline:
                raise UsageError(
                    f"cannot start: another Hostel serves in {run_dir} (process {owner})",
                    "stop it, or choose another --run-dir",
                ) from None
            time.sleep(0.05)
        os.close(descriptor)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def sweep(run_dir: str) -> None:
    """Remove everything but the lock from the run directory, and the control groups of its sites.

    By rm(1): ten thousand sites are swept in a second.
    """
    if os.geteuid() == 0:
        with contextlib.suppress(OSError):  # a system without them
            Cgroups(find_trees(run_dir)).close()
    paths = [os.path.join(run_dir, name) for name in os.listdir(run_dir) if name != LOCK]
    if paths:
        subprocess.run(["rm", "-rf", "--", *paths], check=False)


def raise_descriptor_limit() -> None:
    """Have as many descriptors as may be: a listening socket for each site, a connection for each visitor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, DESCRIPTORS), hard):  # root may have more than it was given
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            break


def main() -> int:
    run_dir, separator, *command = sys.argv[1:]
    assert separator == "--"
    try:
        descriptor = lock(run_dir)
        raise_descriptor_limit()
        sweep(run_dir)  # an earlier server may have been killed
        status = Supervisor(command, descriptor).run()
        sweep(run_dir)
        with contextlib.suppress(OSError):  # somebody may have been quicker
            os.unlink(os.path.join(run_dir, LOCK))
        with contextlib.suppress(OSError):  # the folder may be another's, or a mount
            os.rmdir(run_dir)
        return status
    except HostelError as error:
        print(f"hostel: {error}", *([f"hint: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
