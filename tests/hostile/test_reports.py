"""A tenant whose worker tells the manager lies about its start: they concern nobody but him."""

from __future__ import annotations

import os

from tests.support.server import Server, wait_for

LIAR = """
    import json, os, socket
    report = ["StartFailed", "import", "broken", "", "", SOURCES]
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=os.dup(4))
    channel.send(json.dumps(report).encode())
    raise SystemExit
"""
SOUND = """
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"sound"]
"""


def test_paths_that_are_none_blind_nobody(shared_server: Server) -> None:
    """What a failed start was made of is watched for all sites together; one that cannot be watched is left out."""
    for number, sources in enumerate((r"['/x\0/a.py', '/\ud800/a.py']", "['/' + 'a/' * 40_000 + 'b.py']")):
        name = f"liar{number}"
        shared_server.site(name, LIAR.replace("SOURCES", sources))
        wait_for(lambda name=name: shared_server.state(name), f"site {name} to be taken up")  # type: ignore[misc]
        assert shared_server.get(name).status >= 500
        shared_server.wait_state(name, "failed")
    shared_server.site("neighbour", "import nothing_of_that_name\n")
    wait_for(lambda: shared_server.state("neighbour"), "the neighbour to be taken up")
    assert shared_server.get("neighbour").status >= 500
    shared_server.wait_state("neighbour", "failed")
    new = shared_server.write("neighbour/new.py", SOUND)
    os.replace(new, new.with_name("app.py"))  # mended: it is watched
    wait_for(lambda: shared_server.get("neighbour").text == "sound", "the neighbour to be mended")
    assert "Traceback" not in shared_server.output
