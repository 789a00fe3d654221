"""A newly installed Hostel is taken up under load; one that does not start takes nothing down."""

from __future__ import annotations

import signal

import pytest

from tests.conftest import MakeServer
from tests.faults.load import PID, PID_ASGI, Load
from tests.faults.test_manager import wait_new_manager
from tests.support.copy import Installation
from tests.support.server import Server, descendants_of, is_alive, wait_for


@pytest.fixture
def installed(make_server: MakeServer) -> tuple[Server, Installation]:
    """A server that runs from an installation of its own, with some sites."""
    server = make_server()
    installation = Installation(server.folder / "venv")
    server.python = installation.python
    server.site("wsgi", PID, workers={"min": 2, "max": 2})
    server.site("asgi", PID_ASGI)
    server.site("lazy", PID)
    server.start()
    assert server.get("asgi").status == 200
    wait_for(lambda: len(server.workers("wsgi")) == 2)
    assert server.view("wsgi")["generation"] == 1, "nothing is out of date yet"
    return server, installation


def zygotes(server: Server) -> set[int]:
    return {zygote["pid"] for zygote in server.status()["server"]["zygotes"]}


def pids(server: Server) -> set[int]:
    return {server.status()["server"]["manager"], *zygotes(server), *server.workers("wsgi"), *server.workers("asgi")}


@pytest.mark.slow
def test_ten_upgrades_under_load(installed: tuple[Server, Installation]) -> None:
    server, installation = installed
    front = server.status()["server"]["front"]
    with Load(server, "wsgi", "asgi") as load:
        for number in range(10):
            old = pids(server)
            installation.install(f"0.2.{number}")
            said = server.run("upgrade").stdout
            assert said.startswith(f"Hostel 0.2.{number} starts (it was ")
            assert said.endswith("all sites run the new code\n")
            assert server.status()["server"]["version"] == f"0.2.{number}"
            wait_for(lambda old=old: not any(map(is_alive, old)), "the end of all that ran the old code")  # type: ignore[misc]
            load.go_on()
        assert server.get("lazy").status == 200
    assert load.failures == []
    assert server.status()["server"]["front"] == front


def test_the_front_takes_up_another_configuration(installed: tuple[Server, Installation]) -> None:
    server, installation = installed
    installation.replace("front/nginx.conf", "keepalive_timeout 75s;", "keepalive_timeout 74s;")
    installation.install("0.2")
    front = server.status()["server"]["front"]
    processes = descendants_of(front)
    with Load(server, "wsgi") as load:
        server.run("upgrade")
        wait_for(lambda: not any(map(is_alive, processes)), "the end of the front's old processes")
        load.go_on()
    assert load.failures == []
    assert server.status()["server"]["front"] == front
    assert "keepalive_timeout 74s;" in (server.run_dir / "nginx.conf").read_text()


def test_a_signal_to_the_supervisor_does_the_same(installed: tuple[Server, Installation]) -> None:
    server, installation = installed
    manager = server.status()["server"]["manager"]
    installation.install("0.2")
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    wait_new_manager(server, manager)
    assert server.status()["server"]["version"] == "0.2"


def test_a_version_that_does_not_start_is_not_taken_up(installed: tuple[Server, Installation]) -> None:
    server, installation = installed
    manager, workers = server.status()["server"]["manager"], set(server.workers("wsgi"))
    installation.write(installation.package / "manager/runner.py", "raise RuntimeError('this version is broken')\n")
    with Load(server, "wsgi") as load:
        result = server.run("upgrade", check=False)
        assert result.returncode == 111
        assert "cannot upgrade: the new version does not start: RuntimeError: this version is broken" in result.stderr
        load.go_on()
    assert (server.status()["server"]["manager"], set(server.workers("wsgi"))) == (manager, workers)
    assert server.get("lazy").status == 200
    assert load.failures == []


def test_a_version_that_dies_after_its_trial_takes_no_site_down(installed: tuple[Server, Installation]) -> None:
    server, installation = installed
    workers = set(server.workers("wsgi"))
    manager = server.status()["server"]["manager"]
    installation.replace("manager/adoption.py", "    _adopt_routes(runner)", "    raise RuntimeError('it was lying')")
    with Load(server, "wsgi") as load:
        server.client.call("upgrade")
        wait_for(lambda: server.output.count("it was lying") >= 2, "the supervisor to try again and again")
        assert all(map(is_alive, workers))
        load.go_on()
        installation.replace(
            "manager/adoption.py", "    raise RuntimeError('it was lying')", "    _adopt_routes(runner)"
        )
        wait_new_manager(server, manager)
        load.go_on()
    assert load.failures == []


def test_a_version_that_speaks_another_language_is_not_taken_up(installed: tuple[Server, Installation]) -> None:
    server, installation = installed
    manager = server.status()["server"]["manager"]
    installation.replace("wire.py", "class Forget(NamedTuple):", "class Forget(NamedTuple):\n    reason: str")
    installation.install("2.0")
    result = server.run("upgrade", check=False)
    assert result.returncode == 111
    assert "Hostel 2.0 cannot go on with the supervisor that runs" in result.stderr
    assert server.status()["server"]["manager"] == manager
