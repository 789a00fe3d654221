"""What a tenant tries: the table that the tests and the page of the documentation are made from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

LEVELS = ("none", "user", "full")


@dataclass(frozen=True)
class Attack:
    """One attempt. ``stopped_from`` is the first level that stops it; empty when none does.

    ``unless``: a file and what it says on a machine whose kernel refuses this to everybody.
    """

    name: str
    text: str
    stopped_from: str
    code: str
    unless: tuple[str, str] = ("", "")

    def is_stopped_by(self, level: str) -> bool:
        return bool(self.stopped_from) and LEVELS.index(level) >= LEVELS.index(self.stopped_from)

    def is_stopped_by_kernel(self) -> bool:
        path, value = self.unless
        return bool(path) and os.path.exists(path) and Path(path).read_text().strip() == value


def native(*words: str) -> str:
    """The code that runs an attack of ``native.c``."""
    arguments = ", ".join(f'f"{word}"' for word in words)
    return f"""
        import subprocess
        done = subprocess.run([f"{{OPEN}}/native", {arguments}], capture_output=True, timeout=20)
        assert done.returncode in (0, 1), done
        result = done.returncode == 0
        """


ATTACKS = (
    Attack("root", "become root again", "none", """
        import os
        result = False
        for work in (lambda: os.setuid(0), lambda: os.setresuid(-1, 0, -1), lambda: os.setgid(0), lambda: os.setgroups([0])):
            try:
                work()
                result = True
            except OSError:
                pass
        """),
    Attack("native-root", "become root again in native code: set*id calls, capabilities, securebits", "none", native("root")),
    Attack("privileged-calls", "make calls that are root's: mount, setns, chroot, open_by_handle_at, BPF, kernel modules, clocks",
           "none", native("privileged")),
    Attack("touch", "touch another site's process by its number: limits, priority, processors, signals by pidfd, its memory",
           "none", native("touch", "{VICTIM_PID}")),
    Attack("precedence", "take precedence over others: nice, real-time scheduling", "none", native("precedence")),
    Attack("state", "read the state folder of another site", "none", """
        import os
        try:
            result = bool(open(f"{STATE}/sites/victim/secret").read())
        except OSError:
            result = False
        """),
    Attack("socket", "connect to another site's listening socket, or to the control socket", "none", """
        import socket
        result = False
        for path in (f"{RUN}/sites/victim/app.sock", f"{RUN}/control.sock"):
            try:
                socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(path)
                result = True
            except OSError:
                pass
        """),
    Attack("logs", "write to, or make something in, a folder of logs", "none", """
        import os
        result = False
        for path in (f"{LOG}/tenant/new", f"{LOG}/victim/new", f"{LOG}/new", f"{LOG}/victim/error.log"):
            try:
                open(path, "a").close()
                result = True
            except OSError:
                pass
        """),
    Attack("others-logs", "read the logs of another site", "none", """
        import os
        result = False
        for path in (f"{LOG}/victim/error.log", f"{LOG}/victim/access.log"):
            try:
                open(path).close()
                result = True
            except OSError:
                pass
        """),
    Attack("squat", "bind, replace, rename or remove a listening socket, its own or another's", "none", """
        import os, socket
        result = False
        for site in ("tenant", "victim"):
            path = f"{RUN}/sites/{site}/app.sock"
            for work in (
                lambda: os.unlink(path), lambda: os.rename(path, path + ".old"), lambda: os.link(path, path + ".new"),
                lambda: os.symlink("/tmp/mine.sock", path), lambda: os.chmod(path, 0o777),
                lambda: socket.socket(socket.AF_UNIX).bind(f"{RUN}/sites/{site}/http.sock"),
                lambda: os.rename(f"{RUN}/sites/{site}", f"{RUN}/sites/mine"),
            ):
                try:
                    work()
                    result = True
                except OSError:
                    pass
        """),
    Attack("domain", "take over another site's domain in the run tree", "none", """
        import os
        result = False
        for place in ("hosts", "wild", "tls/exact", "acme"):
            for work in (
                lambda: os.unlink(f"{RUN}/{place}/victim.localhost"), lambda: os.mkdir(f"{RUN}/{place}/new"),
                lambda: os.symlink("../sites/tenant", f"{RUN}/{place}/other.localhost"),
                lambda: open(f"{RUN}/{place}/file", "w"),
            ):
                try:
                    work()
                    result = True
                except OSError:
                    pass
        try:
            os.symlink("sites/tenant", f"{RUN}/default")
            result = True
        except OSError:
            pass
        """),
    Attack("signal", "end another site's processes, or Hostel's", "none", """
        import os, signal
        result = False
        for pid in (VICTIM_PID, MANAGER_PID):
            try:
                os.kill(pid, signal.SIGKILL)
                result = True
            except OSError:
                pass
        """),
    Attack("environment", "read the environment variables or the memory of another site's process", "none", """
        result = False
        for name in ("environ", "mem", "maps", "fd/0"):
            try:
                open(f"/proc/{VICTIM_PID}/{name}", "rb").read(1)
                result = True
            except OSError:
                pass
        """),
    Attack("set-user-id", "gain rights from a set-user-ID program", "user", """
        import os, subprocess
        try:
            result = int(subprocess.run([f"{OPEN}/id", "-u"], capture_output=True).stdout) != os.getuid()
        except OSError:
            result = False
        """),
    Attack("trace", "trace a process of its own, as debuggers and many exploits do", "user", """
        import ctypes, os
        pid = os.fork()
        if not pid:
            os._exit(ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0)
        result = os.waitpid(pid, 0)[1] != 0
        """),
    Attack("memory", "read the memory of a process of its own (process_vm_readv)", "user", native("read-memory")),
    Attack("descriptors", "take descriptors out of a process of its own (pidfd_getfd)", "user", native("take-descriptor")),
    Attack("io-uring", "use io_uring", "user", native("io-uring"), ("/proc/sys/kernel/io_uring_disabled", "2")),
    Attack("faults", "handle faults of memory, as exploits of races in the kernel do (userfaultfd)", "user", native("faults")),
    Attack("terminal", "type into its terminal, as if somebody had (TIOCSTI)", "user", native("terminal"),
           ("/proc/sys/dev/tty/legacy_tiocsti", "0")),
    Attack("other-tables", "make system calls by the tables for 32-bit programs", "user", native("other-tables"),
           ("/proc/sys/kernel/arch", "aarch64")),
    Attack("user-namespace", "make a user namespace, where most holes of kernels are", "user", """
        import subprocess
        result = subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode == 0
        """),
    Attack("keyring", "use the kernel's keyrings", "user", """
        import ctypes
        result = ctypes.CDLL(None, use_errno=True).syscall(250 if __import__("os").uname().machine == "x86_64" else 219,
                                                          0, -3, 1) > 0
        """),
    Attack("abstract-socket", "connect to an abstract socket of another site", "user", """
        import socket
        try:
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect("\\0hostel-victim-" + MARK)
            result = True
        except OSError:
            result = False
        """),
    Attack("processes", "see other processes and their command lines", "full", """
        import os
        try:
            result = b"manager" in open(f"/proc/{MANAGER_PID}/cmdline", "rb").read()
        except OSError:
            result = False
        """),
    Attack("home", "read a file of another tenant's folder that is open to all", "full", """
        import os
        try:
            result = bool(open(f"{HOMES}/victim/open-to-all").read())
        except OSError:
            result = False
        """),
    Attack("tmp", "read, or lay a trap for, what another site has in /tmp or /dev/shm", "full", """
        import os
        result = os.path.exists("/tmp/victim-left-this") or os.path.exists("/dev/shm/victim-left-this")
        """),
    Attack("shared-memory", "find System V shared memory of others", "full", """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        result = libc.shmget(int(MARK), 0, 0) >= 0
        """),
    Attack("world-writable", "write where everybody may: a folder such as /run/lock", "full", """
        import os
        path = f"{OPEN}/file"
        try:
            open(path, "w").close()
            result = True
        except OSError:
            result = False
        """),
    Attack("run-dir", "learn the names of the other sites", "full", """
        import os
        result = os.path.exists(f"{RUN}/control.sock")
        """),
    Attack("inspect", "look at where another site's process works and what it executes", "none", """
        import os
        result = False
        for name in ("cwd", "exe", "root", "ns/mnt"):
            try:
                os.readlink(f"/proc/{VICTIM_PID}/{name}")
                result = True
            except OSError:
                pass
        """),
    Attack("loopback", "connect to a service on 127.0.0.1", "", """
        import socket
        try:
            socket.create_connection(("127.0.0.1", int(MARK)), timeout=5).close()
            result = True
        except OSError:
            result = False
        """),
)  # fmt: skip
