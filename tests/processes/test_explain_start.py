"""A start that is measured: it tells the truth about the real thing, and nobody else notices."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.server import Server, wait_for

STAGES = ["socket readable", "order", "fork", "guards", "import", "ready", "first byte"]
SLOW = """
    import slow_library
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode(), environ["HTTP_HOST"].encode()]
"""
ASGI = """
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 203, "headers": []})
        await send({"type": "http.response.body", "body": b"asgi"})
"""


def explain(server: Server, site: str, *more: str, code: int = 0) -> dict[str, Any]:
    result = server.run("explain", site, "--start", "--json", *more, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def check_stages(start: dict[str, Any], count: int = len(STAGES)) -> None:
    assert [stage["name"] for stage in start["stages"]] == STAGES[:count]
    end = 0.0
    for stage in start["stages"]:
        assert stage["begin"] == pytest.approx(end, abs=1e-4)
        assert stage["seconds"] >= 0
        end = stage["begin"] + stage["seconds"]
    assert end == pytest.approx(start["seconds"], abs=1e-4)


def test_where_the_time_goes(shared_server: Server, tmp_path: Path) -> None:
    server = shared_server
    server.write("slow/slow_library.py", "import time, slow_part\ntime.sleep(0.3)\n")
    server.write("slow/slow_part.py", "import time\ntime.sleep(0.2)\n")
    server.site("slow", SLOW)
    wait_for(lambda: server.state("slow") == "cold")
    picture = tmp_path / "slow.svg"
    start = explain(server, "slow", "--svg", str(picture))
    check_stages(start)
    assert (start["interface"], start["status"], start["problems"]) == ("wsgi", 200, [])
    of = {each["module"]: each for each in start["imports"]}
    assert start["imports"][of["slow_part"]["parent"]]["module"] == "slow_library"
    assert start["imports"][of["slow_library"]["parent"]]["module"] == "app"
    assert of["app"]["seconds"] >= of["slow_library"]["seconds"] >= 0.5 > of["slow_library"]["own"] >= 0.3
    assert of["slow_part"]["own"] >= 0.2
    assert of["app"]["owner"] == of["slow_part"]["owner"] == "site"
    stages = {stage["name"]: stage["seconds"] for stage in start["stages"]}
    assert stages["import"] >= of["app"]["seconds"] * 0.99
    assert stages["import"] > sum(stages.values()) / 2
    assert start["present"] > 50
    titles = [each.text or "" for each in ElementTree.parse(picture).iter() if each.tag.endswith("title")]
    assert any(title.startswith("slow_part, the site's own: ") for title in titles)

    assert server.state("slow") == "cold"  # the site has noticed nothing
    assert server.view("slow")["served"] == 0
    assert server.view("slow")["deaths"] == []
    wait_for(lambda: not server.workers("slow"))
    printed = server.run("explain", "slow", "--start", "--path", "/some?thing=1").stdout
    assert "  first byte " in printed
    assert "status 200 for /some?thing=1" in printed
    assert "slow_part  < slow_library" in printed


def test_a_site_that_serves_is_left_alone(shared_server: Server) -> None:
    server = shared_server
    server.write("busy/slow_library.py", "")
    server.site("busy", SLOW, workers={"max": 1})
    wait_for(lambda: server.state("busy") == "cold")
    assert server.get("busy").status == 200
    before = server.workers("busy")
    start = explain(server, "busy")
    check_stages(start)
    assert not start["new_zygote"]
    assert server.workers("busy") == before
    assert server.view("busy")["generation"] == 1


def test_an_asgi_application(shared_server: Server) -> None:
    server = shared_server
    server.site("asgi", ASGI)
    wait_for(lambda: server.state("asgi") == "cold")
    start = explain(server, "asgi")
    check_stages(start)
    assert (start["interface"], start["status"]) == ("asgi", 203)
    assert "uvicorn" in {each["module"] for each in start["imports"]}
    assert server.get("asgi").text == "asgi"
    check_stages(explain(server, "asgi"))  # now it is known to be ASGI


@pytest.mark.parametrize(
    ("name", "code", "reason", "stages"),
    [
        ("raises", "import json\nraise ValueError('nope')\n", "ValueError: nope", 4),
        ("exits", "import os\nos._exit(3)\n", "exited by itself with status 3", 4),
        (
            "silent",
            "import os\ndef application(environ, start_response):\n    os._exit(4)\n",
            "exited by itself with status 4",
            6,
        ),
    ],
)
def test_a_site_that_does_not_start(shared_server: Server, name: str, code: str, reason: str, stages: int) -> None:
    server = shared_server
    server.site(name, code)
    wait_for(lambda: server.state(name) == "cold")
    start = explain(server, name, code=1)
    check_stages(start, stages)
    assert start["status"] == 0
    assert reason in start["problems"][0]["reason"]
    assert "worker/imports.py" not in start["problems"][0]["traceback"]  # how it was measured is not its concern
    assert server.view(name)["problems"] == server.view(name)["deaths"] == []


def test_what_a_worker_says_is_kept_within_what_was_seen(shared_server: Server) -> None:
    server = shared_server
    code = """
        import json, os, socket
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=os.dup(4))
        rows = [["x\\x1b[2J", -1, 0, 10**12, 0], ["y", 99, 0, 5, 1], ["z", -1, 0, 5, 77], [1, 2], ["ok", -1, 0, 5, 2]]
        for born in (1e300, -1e300):
            channel.send(json.dumps(["Measured", born, 1e300, -5, rows]).encode())
        def application(environ, start_response):
            start_response("200 OK", [])
            return [b""]
    """
    server.site("liar", code)
    wait_for(lambda: server.state("liar") == "cold")
    start = explain(server, "liar")
    check_stages(start)
    assert start["seconds"] < 60
    assert {each["module"] for each in start["imports"]} >= {"y", "ok"}
    assert not {"x\x1b[2J", "z"} & {each["module"] for each in start["imports"]}
    assert all(each["parent"] < number for number, each in enumerate(start["imports"]))


def test_errors(shared_server: Server) -> None:
    server = shared_server
    server.write("files/index.html", "hello")
    server.site("files", static={"/": "."})
    wait_for(lambda: server.state("files"))
    for arguments, code, text in (
        (("files", "--start"), 1, "it has no processes"),
        (("nothing", "--start"), 2, "there is no site 'nothing'"),
        (("files", "--svg", "x.svg"), 2, "--svg and --path tell of a start"),
        (("files", "--start", "--path", "x"), 2, "a path begins with '/'"),
    ):
        result = server.run("explain", *arguments, check=False)
        assert (result.returncode, text in result.stderr) == (code, True), result.stderr
    assert not os.path.exists("x.svg")
