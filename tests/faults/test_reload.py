"""Reloads under load: no request is lost, and each is answered by the old generation or the new one."""

from __future__ import annotations

import pytest

from tests.faults.load import PID, PID_ASGI, Load
from tests.support.server import Server, is_alive, wait_for


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("wsgi", PID), ("asgi", PID_ASGI)])
def test_ten_reloads_under_load(shared_server: Server, name: str, code: str) -> None:
    server = shared_server
    server.site(name, code, workers={"min": 2, "max": 4})
    wait_for(lambda: len(server.workers(name)) == 2)
    seen: set[str] = set()
    with Load(server, name, path="/?sleep=0.01", threads=4) as load:
        for generation in range(2, 12):
            before = set(server.workers(name))
            server.run("reload", name)
            view = server.view(name)
            assert view["generation"] == generation
            assert not set(server.workers(name)) & before
            wait_for(lambda before=before: not any(map(is_alive, before)), "the old workers' end")  # type: ignore[misc]
            load.answers.clear()
            load.go_on()
            assert not load.bodies(name) & seen, "an old generation's worker has answered"
            seen |= load.bodies(name)
    assert load.failures == []


def test_responses_are_old_or_new_and_new_ones_stay(shared_server: Server) -> None:
    server = shared_server
    text = """
        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"version {}"]
    """
    server.site("versions", text.format(1))
    wait_for(lambda: server.state("versions") == "cold")
    server.get("versions")
    with Load(server, "versions") as load:
        server.write("versions/app.py", text.format(2))
        load.go_on()
        assert load.bodies("versions") == {"version 1"}, "nobody has asked for the new one"
        server.run("reload", "versions")
        load.answers.clear()
        load.go_on()
        load.answers.clear()  # those that had begun before
        load.go_on()
        assert load.bodies("versions") == {"version 2"}
        server.write("versions/app.py", "raise RuntimeError('broken')")
        assert server.run("reload", "versions", check=False).returncode == 1
        load.go_on()
        assert load.bodies("versions") == {"version 2"}
    assert load.failures == []
    assert server.state("versions") == "serving"
    assert "broken" in server.view("versions")["problems"][0]["reason"]
