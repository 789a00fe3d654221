"""What the scenarios share: peers as processes, the same front for them, wrk, and ratios of medians."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.support.server import free_port, make_folder, wait_for

from hostel.front.binary import find_binary
from hostel.front.connection import TRUSTING_NOBODY
from hostel.front.nginx import FrontOptions, indent, pass_to, proxy_parameters, render, uwsgi_parameters

BIN = Path(sys.executable).parent
CONNECTIONS = 32


@contextlib.contextmanager
def process(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, ended with all its children, also when a scenario is ended by SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, **options,  # type: ignore[call-overload]
    )  # fmt: skip
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def front_options(port: int, folder: Path) -> FrontOptions:
    """The front's options as Hostel has them by default, for a front of the scenario's own that works in ``folder``."""
    is_root = os.geteuid() == 0
    return FrontOptions(
        listen=(f"127.0.0.1:{port}",), listen_tls=(), trusted_proxy=(), version=find_binary().version, has_http3=False,
        cache_dir=str(folder / "tmp"), cache_size=2**20, log_dir=str(folder / "log"), user="nobody" if is_root else "",
        group="nogroup" if is_root else "", processes=os.cpu_count() or 1, connections=4096, logs=12000, body=2**27,
        request=300,
    )  # fmt: skip


@contextlib.contextmanager
def front_for(host: str, target: str) -> Iterator[int]:
    """Hostel's own front configuration with one site, whose requests go to ``target``; its port.

    ``target``: ``uwsgi unix:PATH`` or ``http unix:PATH``. So the peers get the front that Hostel gets, access log included.
    """
    folder = make_folder()
    port = free_port()
    binary = find_binary()
    for path in ("hosts", "wild", "tmp", "log", "sites/one/www", "sites/one/plain"):
        (folder / path).mkdir(parents=True)
    (folder / "hosts" / host).symlink_to("../sites/one")
    (folder / "sites/one/log").symlink_to(folder / "log")
    (folder / "tmp").chmod(0o777)
    options = front_options(port, folder)
    text = render(options)
    kind, _, address = target.partition(" ")
    if kind == "uwsgi":
        text = text.replace("unix:$hostel_at/app.sock", address)
    else:
        # A plain HTTP peer is reached in one step, as its documentation has it.
        request = options.request
        uwsgi = indent([*pass_to("uwsgi", request), *uwsgi_parameters(TRUSTING_NOBODY["https"])])
        proxy = indent([*pass_to("proxy", request), *proxy_parameters()])
        assert uwsgi in text
        text = text.replace(uwsgi, proxy).replace("http://unix:$hostel_at/http.sock", f"http://{address}")
    (folder / "nginx.conf").write_text(text)
    (folder / "log").chmod(0o777)
    with process([binary.path, "-p", ".", "-c", "nginx.conf", "-e", str(folder / "log/front.log")], cwd=folder):
        yield port
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def requests_per_second(
    port: int, host: str, path: str = "/", seconds: int = 4, connections: int = CONNECTIONS, script: str = ""
) -> float:
    """What wrk gets with connections that stay open. Anything but 2xx and 3xx is an error here.

    ``script``: a file for wrk that makes the requests.
    """
    made = ["-s", script] if script else ["-H", f"Host: {host}"]
    result = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *made, f"http://127.0.0.1:{port}{path}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    if "Non-2xx" in result.stdout or "Socket errors" in result.stdout:
        raise AssertionError(result.stdout)
    match = re.search(r"Requests/sec:\s+([\d.]+)", result.stdout)
    assert match, result.stdout
    return float(match[1])


def rounds(measures: dict[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    """Each measure in turn, ``count`` times, after one round that does not count.

    The order changes each time, because what comes second here gets less: a sixth of large files, between two that are the same.
    """
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(count + 1):
        for name in list(measures)[:: 1 if number % 2 else -1]:
            value = measures[name]()
            if number:
                found[name].append(value)
    return found


def show(title: str, found: dict[str, list[float]], ours: str, unit: str, bounds: dict[str, float]) -> None:
    """Medians, and how ours compares: ``bounds`` are the ratios that we want to others."""
    print(f"\n{title}")
    mine = statistics.median(found[ours])
    for name, values in found.items():
        median = statistics.median(values)
        ratio = "" if name == ours else f"   {ours} is {mine / median:.2f} of it"
        bound = f" (wanted: {bounds[name]})" if name in bounds else ""
        spread = f"{min(values):.4g} to {max(values):.4g}"
        print(f"  {name:<34} {median:10.4g} {unit}   ({spread}){ratio}{bound}")
    sys.stdout.flush()


def wait_for_socket(path: Path) -> None:
    wait_for(path.exists, f"{path}")
    time.sleep(0.5)
