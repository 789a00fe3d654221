"""Each operation of a sandbox plan, done in a process of its own and read back from there."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pwd
import resource
import signal
import socket
import struct
import subprocess
import termios
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostel.errors import HostError
from hostel.sandbox import operations, seccomp, syscalls
from hostel.sandbox.abilities import find_abilities
from hostel.sandbox.identity import find_identity
from hostel.sandbox.plan import Operation, Places, Wishes, make_sandbox

NOBODY = pwd.getpwnam("nobody")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def plan_for(directory: str) -> list[Operation]:
    """What a worker of user nobody becomes at level user."""
    return list(make_sandbox(find_identity("nobody"), Places(directory), Wishes("user"), find_abilities()).worker)


def in_child(work: Callable[[], Any]) -> Any:
    """What ``work`` returns in a forked child; a ``HostError`` there comes back as ``(message, hint)``."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                result = work()
            except HostError as error:
                result = (str(error), error.hint)
            os.write(writer, json.dumps(result).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    assert data, "the child ended with an exception, see standard error"
    return json.loads(data)


def after(plan: list[tuple[Any, ...]], look: Callable[[], Any]) -> Any:
    """What ``look`` sees in a child that has carried out a plan."""

    def work() -> Any:
        operations.run(plan)
        return look()

    return in_child(work)


def refusal(plan: list[tuple[Any, ...]]) -> Any:
    """Message and hint of the operation that cannot be done."""
    return after(plan, lambda: None)


def status_of(*names: str) -> list[str]:
    """Lines of ``/proc/self/status``."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [lines[name].strip() for name in names]


def test_reset_signals() -> None:
    glibc = 0b11 << 31  # its own signals 32 and 33, which make(1) hands down ignored, and which no program can set

    def work() -> Any:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGCHLD])
        operations.run([("reset_signals",)])
        handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE, signal.SIGINT)]
        return [
            handlers == [signal.SIG_DFL, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler],
            *(int(mask, 16) & ~glibc for mask in status_of("SigBlk", "SigIgn", "SigCgt")),
        ]

    ignored = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    assert in_child(work) == [True, 0, ignored, 1 << (signal.SIGINT - 1)]  # as in a fresh interpreter


def test_become_leader() -> None:
    assert after([("become_leader",)], lambda: os.getsid(0) == os.getpgrp() == os.getpid())
    (said, _) = refusal([("become_leader",), ("become_leader",)])
    assert said == "cannot do the sandbox operation become_leader(): Operation not permitted"


@needs_root
def test_the_change_of_user_is_complete_and_for_good() -> None:
    def work() -> Any:
        operations.run([("set_groups", [NOBODY.pw_gid, 4567]), ("set_gid", 1234), ("set_uid", NOBODY.pw_uid)])
        attempts: list[Callable[[], None]] = [
            lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setgid(0), lambda: os.setgroups([])
        ]  # fmt: skip
        for attempt in attempts:
            try:
                attempt()
            except PermissionError:
                continue
            return "root could be had back"
        return status_of("Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapAmb")

    uid = str(NOBODY.pw_uid)
    none = "0000000000000000"
    groups = " ".join(map(str, sorted([NOBODY.pw_gid, 4567])))
    assert in_child(work) == ["\t".join([uid] * 4), "\t".join(["1234"] * 4), groups, none, none, none]


@needs_root
def test_no_groups_at_all() -> None:
    def work() -> Any:
        os.setgroups([4567])  # who runs the tests may have none, and would not notice
        operations.run([("set_groups", [])])
        return os.getgroups()

    assert in_child(work) == []


@needs_root
def test_who_has_become_another_cannot_become_a_third() -> None:
    (said, _) = refusal([("set_uid", NOBODY.pw_uid), ("set_uid", 1)])
    assert said == "cannot do the sandbox operation set_uid(1,): Operation not permitted"


@needs_root
@pytest.mark.parametrize("plan", [[], [("set_uid", 65534)], [("set_gid", 65534)], [("set_uid", 0), ("set_gid", 65534)]])
def test_a_site_is_never_run_as_root(plan: list[Any]) -> None:
    """Half a change is none: neither with root's user nor with root's group."""
    assert refusal([*plan, ("refuse_root",)]) == [
        "cannot start a site as root",
        "set user in the site file, or default_user on the server",
    ]


@needs_root
def test_a_site_that_is_not_root_is_run() -> None:
    assert in_child(lambda: operations.run([("set_gid", 65534), ("set_uid", 65534), ("refuse_root",)])) is None


def test_what_the_kernel_did_not_do_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that report success and change nothing: the operations look for themselves."""
    monkeypatch.setattr(os, "setgroups", lambda groups: None)
    monkeypatch.setattr(os, "setresgid", lambda *ids: None)
    monkeypatch.setattr(os, "setresuid", lambda *ids: None)
    monkeypatch.setattr(syscalls, "prctl", lambda option, argument=0: 0)
    for operation, said in (
        (("set_groups", [4321]), "groups are"), (("set_gid", 4321), "group ids are"), (("set_uid", 4321), "user ids are"),
        (("set_no_new_privs",), "no_new_privs does not hold"),
    ):  # fmt: skip
        with pytest.raises(HostError, match=said):
            operations.run([operation])
    monkeypatch.setattr(os, "getresuid", lambda: (4321, 4321, 4321))
    with pytest.raises(HostError, match="root could be regained"):
        operations.run([("set_uid", 4321)])


def test_no_new_privs() -> None:
    assert after([("set_no_new_privs",)], lambda: status_of("NoNewPrivs")) == ["1"]


@needs_root
def test_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> Any:
        operations.run([("drop_bounding_set",), ("clear_capabilities",)])
        return status_of("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

    if os.geteuid() == 0:
        assert in_child(work) == ["0000000000000000"] * 5
    monkeypatch.setattr(syscalls, "clear_capabilities", lambda: None)
    monkeypatch.setattr(syscalls, "capabilities", lambda: (0, 1, 0))
    with pytest.raises(HostError, match="it would keep capabilities"):
        operations.run([("clear_capabilities",)])


def test_refused_system_calls() -> None:
    """A call of each kind, with arguments for which an unguarded process would get another answer."""

    def work() -> Any:
        libc = ctypes.CDLL(None, use_errno=True)
        numbers = seccomp.REFUSED[os.uname().machine]

        def answer(number: int, *arguments: int) -> int:
            libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
            return ctypes.get_errno()

        operations.run([("set_no_new_privs",), ("refuse_system_calls",)])
        terminal, _ = os.openpty()
        results = {name: answer(number, -1, -1, -1, -1) for name, number in numbers.items()}
        return [
            {name for name, number in results.items() if number != errno.EPERM} == set(),
            answer(435, 0, 0) == errno.ENOSYS,  # clone3
            answer({"x86_64": 56, "aarch64": 220}[os.uname().machine], syscalls.CLONE_NEWNS, 0) == errno.EPERM,
            answer({"x86_64": 16, "aarch64": 29}[os.uname().machine], terminal, termios.TIOCSTI, 0) == errno.EPERM,
            subprocess.run(["true"], check=True).returncode,
            os.getppid() > 0,
        ]

    assert in_child(work) == [True, True, True, True, 0, True]


@pytest.mark.parametrize("machine", seccomp.REFUSED)
def test_the_program_of_refused_system_calls_goes_nowhere_else(machine: str) -> None:
    """Each jump is forwards, fits into its byte, and lands inside."""
    program = seccomp.make_program(machine)
    lines = list(struct.iter_unpack("HBBI", program))
    assert len(lines) <= 4096
    for at, (code, yes, no, _) in enumerate(lines):
        if code & 7 == 5:
            assert at + 1 + max(yes, no) < len(lines)
    assert [code for code, *_ in lines[-3:]] == [6, 6, 6]


@pytest.mark.skipif(syscalls.landlock_version() < 3, reason="needs Landlock")
def test_confined_writing(tmp_path: Path) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "other" / "file").write_text("as it was")

    def attempt(work: Callable[[], object]) -> str:
        try:
            work()
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return "done"

    def work() -> Any:
        own, other = tmp_path / "own", tmp_path / "other"
        operations.run([("set_no_new_privs",), ("confine", [str(own)], True, syscalls.landlock_version())])
        return [
            attempt(lambda: (own / "a").write_text("")), attempt(lambda: (own / "folder").mkdir()),
            attempt(lambda: (own / "a").rename(own / "folder" / "b")), attempt(lambda: Path("/dev/null").write_text("x")),
            attempt(lambda: (other / "file").read_text()), attempt(lambda: (other / "file").write_text("")),
            attempt(lambda: os.truncate(other / "file", 0)), attempt(lambda: (other / "new").mkdir()),
            attempt(lambda: (other / "file").unlink()), attempt(lambda: (own / "folder" / "b").rename(other / "b")),
        ]  # fmt: skip

    assert in_child(work) == ["done"] * 5 + ["EACCES"] * 5
    assert (tmp_path / "other" / "file").read_text() == "as it was"


@pytest.mark.skipif(syscalls.landlock_version() < 6, reason="needs a newer Landlock")
def test_confined_reach() -> None:
    """Neither signals nor abstract sockets lead out; to itself and its children a process can send signals."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"\0hostel-test-{os.getpid()}")
        listener.listen()
        parent = os.getpid()

        def work() -> Any:
            operations.run([("set_no_new_privs",), ("confine", [], False, syscalls.landlock_version())])
            refused = []
            attempts: list[Callable[[], None]] = [
                lambda: os.kill(parent, 0),
                lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(listener.getsockname()),
            ]
            for attempt in attempts:
                try:
                    attempt()
                except PermissionError:
                    refused.append(True)
            os.kill(os.getpid(), 0)
            child = subprocess.Popen(["sleep", "100"])
            child.kill()
            return refused, child.wait()

        assert in_child(work) == [[True, True], -signal.SIGKILL]


def test_dumpable_after_the_change_of_user() -> None:
    def work() -> Any:
        os.setresuid(65534, 65534, 65534)
        before = os.stat("/proc/self/fd").st_uid
        operations.run([("set_dumpable",)])
        return before, os.stat("/proc/self/fd").st_uid

    assert in_child(work) == [0, 65534]


def test_umask() -> None:
    assert after([("set_umask", 0o027)], lambda: os.umask(0)) == 0o027


def test_limits() -> None:
    def work() -> Any:
        operations.run([("set_limit", "core", 0, 0), ("set_limit", "nofile", 50, 60)])
        return resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE)

    assert in_child(work) == [[0, 0], [50, 60]]


def test_directory(tmp_path: Path) -> None:
    assert after([("enter_directory", str(tmp_path))], os.getcwd) == str(tmp_path)
    assert refusal([("enter_directory", f"{tmp_path}/nowhere")]) == [
        f"cannot enter the directory {tmp_path}/nowhere: No such file or directory",
        "the site's user needs the right to enter it and every folder above it",
    ]


@needs_root
def test_a_directory_is_entered_as_the_site_s_user(tmp_path: Path) -> None:
    plan = plan_for(str(tmp_path))
    tmp_path.chmod(0o700)
    (said, _) = refusal(plan)
    assert said == f"cannot enter the directory {tmp_path}: Permission denied"


@needs_root
def test_a_whole_plan() -> None:
    def work() -> Any:
        operations.run([tuple(operation) for operation in json.loads(json.dumps(plan_for("/")))])
        return [
            *status_of("Uid", "Gid", "NoNewPrivs", "CapEff", "CapBnd", "Seccomp"),
            os.getcwd(),
            os.umask(0),
            os.getsid(0) == os.getpid(),
        ]

    nobody = find_identity("nobody")
    uid, gid = ("\t".join([str(number)] * 4) for number in (nobody.uid, nobody.gid))
    assert in_child(work) == [uid, gid, "1", "0000000000000000", "0000000000000000", "2", "/", 0o022, True]
