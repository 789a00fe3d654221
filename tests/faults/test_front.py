"""The front is killed: it is started again, and who connects meanwhile waits instead of being refused."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.faults.load import PID, PID_ASGI
from tests.support.server import Server, default_nginx, descendants_of, is_alive, wait_for


def front_of(server: Server) -> int:
    return int(server.status()["server"]["front"] or 0)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV], ids=lambda sign: sign.name)
def test_a_front_that_was_killed_is_started_again(make_server: MakeServer, user: str, sign: signal.Signals) -> None:
    server = make_server(user=user)
    server.site("wsgi", PID, workers={"min": 1})
    server.site("asgi", PID_ASGI)
    server.start()
    wait_for(lambda: server.workers("wsgi"))
    (worker,) = server.workers("wsgi")
    for _ in range(3):
        before = front_of(server)
        below = descendants_of(before)
        os.kill(before, sign)
        wait_for(lambda before=before: front_of(server) not in (0, before), "another front")  # type: ignore[misc]
        assert server.get("wsgi").text == str(worker), "the workers have not noticed"
        assert server.get("asgi").status == 200
        wait_for(lambda below=below: not any(map(is_alive, below)), "the old front's workers' end")  # type: ignore[misc]
    assert server.stop() == 0


def test_who_connects_while_there_is_no_front_waits(make_server: MakeServer) -> None:
    server = make_server()
    server.site("one", PID, workers={"min": 1})
    server.start()
    wait_for(lambda: server.workers("one"))
    for _ in range(3):
        before = front_of(server)
        for pid in (before, *descendants_of(before)):
            with contextlib.suppress(ProcessLookupError):  # it has noticed that its master is gone
                os.kill(pid, signal.SIGKILL)
        assert server.get("one").status == 200
        wait_for(lambda before=before: front_of(server) not in (0, before), "another front")  # type: ignore[misc]
    assert server.stop() == 0


def test_a_worker_of_the_front_that_was_killed_is_replaced(make_server: MakeServer) -> None:
    server = make_server()
    server.site("one", PID)
    server.start()
    assert server.get("one").status == 200
    front = front_of(server)
    workers = descendants_of(front)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: descendants_of(front) - workers, "new ones")
    assert server.get("one").status == 200
    assert front_of(server) == front
    assert server.stop() == 0


def test_no_change_of_a_site_touches_the_front(make_server: MakeServer) -> None:
    server = make_server()
    server.site("one", PID)
    server.start()
    assert server.get("one").status == 200
    before = descendants_of(front_of(server)) | {front_of(server)}
    configuration = Path(server.run_dir, "nginx.conf").stat()
    for number in range(20):
        server.site(f"more{number}", PID, domains=[f"more{number}.example"])
    wait_for(lambda: server.get("more19.example").status == 200)
    server.run("reload", "more19")
    for number in range(20):
        (server.sites / f"more{number}.toml").unlink()
    wait_for(lambda: server.get("more19.example").status == 404)
    assert descendants_of(front_of(server)) | {front_of(server)} == before
    assert Path(server.run_dir, "nginx.conf").stat() == configuration
    assert server.stop() == 0


def test_a_configuration_that_nginx_does_not_take_leaves_the_old_one(make_server: MakeServer) -> None:
    server = make_server()
    flag, wrapper = server.folder / "refuse", server.folder / "nginx"
    refuse = f'case " $* " in *" -t "*) [ ! -e {flag} ] || {{ echo "told to refuse"; exit 1; }};; esac'
    wrapper.write_text(f'#!/bin/sh\n{refuse}\nexec {default_nginx()} "$@"\n')
    wrapper.chmod(0o755)
    server.nginx = str(wrapper)
    server.site("one", PID)
    server.start()
    configuration = server.run_dir / "nginx.conf"
    configuration.write_text(f"{configuration.read_text()}# as an older version would write it\n")
    old, front = configuration.read_text(), front_of(server)

    def replace_manager() -> None:
        before = server.status()["server"]["manager"]
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: server.is_answering() and server.status()["server"]["manager"] != before, "another manager")

    flag.touch()
    replace_manager()
    assert "told to refuse; the front goes on with its old configuration" in server.output
    assert (configuration.read_text(), front_of(server), server.get("one").status) == (old, front, 200)
    flag.unlink()
    workers = descendants_of(front)
    replace_manager()
    assert configuration.read_text() != old
    wait_for(lambda: descendants_of(front) and not descendants_of(front) & workers, "nginx to have taken it up")
    assert (front_of(server), server.get("one").status) == (front, 200)
    assert server.stop() == 0
