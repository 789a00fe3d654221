"""``guard.network = "none"``: a site reaches nothing but itself and what is in the file system, at each level."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from hostel.sandbox.abilities import find_abilities
from tests.hostile.stage import Stage
from tests.support.server import wait_for

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not find_abilities().has_namespaces, reason="needs namespaces"),
]


@pytest.fixture(scope="module", params=["none", "user", "full"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(request.param)
    try:
        yield stage.start()
    finally:
        stage.end()


REACH = """
    import errno, os, socket, threading
    def reach(family, address):
        with socket.socket(family) as one:
            one.settimeout(5)
            try:
                one.connect(address)
                return "reached"
            except OSError as error:
                return errno.errorcode.get(error.errno, str(error))
    own = socket.create_server(("127.0.0.1", 0))
    result = {
        "loopback": reach(socket.AF_INET, ("127.0.0.1", int(MARK))),
        "metadata": reach(socket.AF_INET, ("169.254.169.254", 80)),
        "world": reach(socket.AF_INET, ("192.0.2.1", 80)),
        "abstract": reach(socket.AF_UNIX, "\\0hostel-victim-" + MARK),
        "own": reach(socket.AF_INET, own.getsockname()),
        "file": reach(socket.AF_UNIX, FILE),
        "interfaces": [name for _, name in socket.if_nameindex()],
    }
"""


def test_a_site_without_a_network(stage: Stage) -> None:
    """Neither services of this machine, nor other sites', nor the cloud's metadata; what is in the file system works."""
    server = stage.server
    folder = stage.homes / "tenant"
    path = str(folder / "service.sock")
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(path)
        os.chmod(path, 0o777)
        service.listen()
        server.site(
            "lone", None, app="app:application", directory=str(folder), user="nobody", guard={"network": "none"},
            workers={"min": 1},
        )  # fmt: skip
        server.wait_state("lone", "serving")
        code = "\n".join(line[4:] for line in REACH.splitlines())
        text = f"MARK = '{server.port}'\nFILE = {path!r}\n{code}"
        found = server.get("lone", "/", method="POST", body=text.encode()).json()["result"]
    assert found["interfaces"] == ["lo"]
    assert found["loopback"] == "ECONNREFUSED"
    assert found["metadata"] == found["world"] == "ENETUNREACH"
    assert found["abstract"] in ("ECONNREFUSED", "EPERM")
    assert (found["own"], found["file"]) == ("reached", "reached")
    command = [
        "exec",
        "--run-dir",
        str(server.run_dir),
        "lone",
        "--",
        "python",
        "-c",
        "import socket; print(socket.if_nameindex())",
    ]
    assert server.run(*command).stdout.strip() == "[(1, 'lo')]"
    assert "on   network" in server.run("explain", "--run-dir", str(server.run_dir), "lone").stdout
    server.client.call("stop", sites=["lone"])


def test_a_site_of_asgi_without_a_network(stage: Stage) -> None:
    server = stage.server
    server.site(
        "lone-asgi",
        """
        import socket
        async def application(scope, receive, send):
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": repr(socket.if_nameindex()).encode()})
        """,
        user="nobody", guard={"network": "none"}, workers={"min": 1},
    )  # fmt: skip
    wait_for(lambda: server.get("lone-asgi").text == "[(1, 'lo')]", "the site")
