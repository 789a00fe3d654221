"""What a tenant tries: the table that the tests and the page of the documentation are made from."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("none", "user", "full")


@dataclass(frozen=True)
class Attack:
    """One attempt. ``stopped_from`` is the first level that stops it; empty when none does."""

    name: str
    text: str
    stopped_from: str
    code: str

    def is_stopped_by(self, level: str) -> bool:
        return bool(self.stopped_from) and LEVELS.index(level) >= LEVELS.index(self.stopped_from)


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
    Attack("loopback", "connect to a service on 127.0.0.1", "", """
        import socket
        try:
            socket.create_connection(("127.0.0.1", int(MARK)), timeout=5).close()
            result = True
        except OSError:
            result = False
        """),
)  # fmt: skip
