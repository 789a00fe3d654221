"""The front's process: its configuration is written and tested, it is started, watched, started again, ended.

The listening sockets belong to the supervisor and are lent to nginx through its variable ``NGINX``, which is how nginx
hands sockets to its own successor (ngx_add_inherited_sockets in nginx.c). So while nginx is dead, connections wait
instead of being refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence

from hostel.errors import HostError
from hostel.front import nginx, pages
from hostel.front.binary import Binary
from hostel.manager.link import SupervisorLink
from hostel.wire import Spawn

NAME = "front"
CONFIGURATION = "nginx.conf"
PAUSES = (0.0, 0.2, 1.0, 2.0, 5.0)  # before it is started again
CALM_SECONDS = 3.0  # one that lived that long was no failed start


class Front:
    """nginx as a child of the supervisor. Works in the run directory."""

    def __init__(
        self, binary: Binary, options: nginx.FrontOptions, sockets: Sequence[int], link: SupervisorLink
    ) -> None:
        self.binary = binary
        self.options = options
        self.sockets = list(sockets)
        self.link = link
        self.pid = 0
        self.deaths = 0
        self.started_at = 0.0
        self.is_ending = False

    @property
    def log(self) -> str:
        return log_of(self.options)

    async def configure(self) -> bool:
        """Write the configuration, tested by nginx itself; whether it is another than before.

        Raises ``HostError`` with what nginx says; the old one stays.
        """
        self._prepare_log()
        self._write_pages()
        await test_configuration(self.binary, self.options)
        is_other = read_if_there(CONFIGURATION) != read_if_there(f"{CONFIGURATION}.new")
        os.replace(f"{CONFIGURATION}.new", CONFIGURATION)
        return is_other

    def _write_pages(self) -> None:
        os.makedirs(pages.FOLDER, mode=0o755, exist_ok=True)
        for name, text in pages.files().items():
            with open(f"{pages.FOLDER}/new", "w") as file:
                file.write(text)
            os.replace(f"{pages.FOLDER}/new", f"{pages.FOLDER}/{name}")

    def _prepare_log(self) -> None:
        """Make the log before nginx does, which would let everybody read what is asked of all the sites."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.log, flags, 0o600)
        except OSError as error:
            raise HostError(f"cannot write {self.log}: {error.strerror}", "choose another --log-dir") from None
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)

    def start(self) -> None:
        """Let the supervisor start nginx."""
        self.started_at = asyncio.get_running_loop().time()
        names = "".join(f"{{{index}}};" for index in range(len(self.sockets)))
        environment = {"NGINX": names, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        order = Spawn(
            NAME,
            command(self.binary, CONFIGURATION, self.log),
            environment,
            os.getcwd(),
            has_output=False,
            at_death=signal.SIGTERM,
        )
        self.link.spawn(order, self.sockets)

    def spawned(self, pid: int) -> None:
        self.pid = pid

    def restart(self) -> None:
        """Have another nginx in the place of this one, in the working directory of now; connections wait meanwhile."""
        self.link.signal(NAME, signal.SIGQUIT)

    def reload(self) -> None:
        """Have nginx take up its new configuration: new workers begin, and the old ones leave after their requests."""
        self.link.signal(NAME, signal.SIGHUP)

    def exited(self, status: int | str) -> None:
        """nginx has ended: start it again, the more often it dies the later."""
        if self.pid:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGQUIT)  # its own workers have outlived it if it was killed
        self.pid = 0
        if self.is_ending:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - self.started_at > CALM_SECONDS:
            self.deaths = 0
        pause = PAUSES[min(self.deaths, len(PAUSES) - 1)]
        self.deaths += 1
        print(f"hostel: the front ended (status {status}); starting it again in {pause} s", file=sys.stderr, flush=True)
        loop.call_later(pause, self._restart)

    def _restart(self) -> None:
        if not self.is_ending and not self.pid:
            self.start()

    def end(self, *, is_graceful: bool) -> None:
        """Ask nginx to end: after the requests it has, or at once."""
        self.is_ending = True
        if self.pid:
            self.link.signal(NAME, signal.SIGQUIT if is_graceful else signal.SIGTERM)


def read_if_there(path: str) -> str:
    """A file's text; empty when there is none."""
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""


async def test_configuration(binary: Binary, options: nginx.FrontOptions) -> None:
    """Write the configuration beside the one in use, and have nginx test it. Raises ``HostError`` with what it says."""
    text = nginx.render(options)
    with open(f"{CONFIGURATION}.new", "w") as file:
        file.write(text)
    test = await asyncio.create_subprocess_exec(
        *command(binary, f"{CONFIGURATION}.new", log_of(options)), "-t", "-q",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await test.communicate()
    if test.returncode:
        raise HostError(f"cannot use the front's configuration: {output.decode(errors='replace').strip()}")


def command(binary: Binary, configuration: str, log: str) -> tuple[str, ...]:
    return (binary.path, "-p", ".", "-c", configuration, "-e", log)


def log_of(options: nginx.FrontOptions) -> str:
    return os.path.join(options.log_dir, "front.log")
