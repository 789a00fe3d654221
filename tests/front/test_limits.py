"""What a site may take is held by the front: bodies, requests of one client, requests at the same time."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hostel.front import values
from tests.front.applications import ECHO, ECHO_ASGI, wait_routed
from tests.support.server import DEADLINE, Server, free_port, make_folder, nginx_binaries, wait_for

NEWLINE = "\n"
KINDS = {"wsgi": ECHO, "asgi": ECHO_ASGI}
WAITS = """
    import os, time

    def application(environ, start_response):
        while environ["PATH_INFO"] == "/wait" and not os.path.exists(os.environ["GO"]):
            time.sleep(0.01)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"went"]
"""


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    for kind, code in KINDS.items():
        front_server.site(f"{kind}-body", code, limits={"body": "10K"})
        front_server.site(f"{kind}-rate", code, limits={"rate": 1}, static={"/files/": "."})
    wait_routed(front_server, *(f"{kind}-{limit}" for kind in KINDS for limit in ("body", "rate")))
    return front_server


def is_untouched(server: Server, site: str) -> bool:
    """Whether no request has reached the application."""
    return server.state(site) == "cold"


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_body_is_refused_before_it_is_sent(server: Server, kind: str) -> None:
    site = f"{kind}-body"
    for length in (10241, 99999, 1000000):
        head = f"POST / HTTP/1.1\r\nHost: {site}.localhost\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
            sock.sendall(head.encode())
            assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert is_untouched(server, site)


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_of_a_body_is_exact(server: Server, kind: str) -> None:
    """Announced or in chunks: the length of these is known when all of them are there, and the worker looks at it."""
    site = f"{kind}-body"
    most = b"x" * 10240
    for body in (b"", b"x", most):
        assert server.get(site, method="POST", body=body).json()["body"] == body.decode()
        assert server.get(site, method="POST", body=iter([body[:5000], body[5000:]])).json()["body"] == body.decode()
    answer = server.get(site, method="POST", body=most + b"x")
    assert (answer.status, answer.headers["content-type"]) == (413, "text/html; charset=utf-8")
    answer = server.get(site, method="POST", body=iter([most, b"x"]))
    assert (answer.status, answer.headers["content-type"]) == (413, "text/html; charset=utf-8")
    assert server.get(site, "/fine").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_asks_too_much_is_told_to_wait(server: Server, kind: str) -> None:
    site = f"{kind}-rate"
    answers = [server.get(site) for _ in range(30)]
    served = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 429]
    assert len(served) + len(refused) == 30
    assert answers[:6] == served[:6]  # as many as in five seconds, and the first
    assert refused
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert server.get(site, "/files/app.py").status == 200
    assert server.get("wsgi-body").status == 200
    wait_for(lambda: server.get(site).status == 200, "the client to be served again")


def test_a_limit_comes_and_goes_with_the_site_file(server: Server) -> None:
    server.site("changing", ECHO)
    wait_routed(server, "changing")
    tree = server.run_dir / "sites" / "changing"
    assert server.get("changing", method="POST", body=b"12345").status == 200
    assert (tree / "plain").is_dir()  # such a site costs the front two looks
    server.site("changing", ECHO, limits={"body": 4, "rate": 1000})
    wait_for(lambda: server.get("changing", method="POST", body=b"12345").status == 413, "the limit")
    assert not (tree / "plain").exists()
    server.site("changing", ECHO, limits={"body": 5, "rate": 1000})
    wait_for(lambda: server.get("changing", method="POST", body=b"12345").status == 200, "the new limit")
    server.site("changing", ECHO)
    wait_for((tree / "plain").is_dir, "the usual way")
    wait_for(lambda: server.get("changing", method="POST", body=b"123456").status == 200, "new workers")


def test_requests_at_the_same_time(server: Server) -> None:
    go = server.projects / "go"
    server.site("crowd", WAITS, limits={"connections": 2}, workers={"max": 1, "threads": 3}, env={"GO": str(go)})
    wait_routed(server, "crowd")
    with ThreadPoolExecutor(2) as pool:
        # Each tries until it is let in: whoever looks whether both are in counts, too.
        inside = [pool.submit(wait_for, lambda: server.get("crowd", "/wait").status == 200) for _ in range(2)]
        answer = wait_for(lambda: (a := server.get("crowd")).status == 503 and a, "the limit to be reached")
        assert answer
        assert answer.headers["retry-after"] == "1"
        assert server.get("wsgi-body").status == 200
        go.touch()
        assert all(each.result() for each in inside)
    go.unlink()
    wait_for(lambda: server.get("crowd").status == 200, "room")


def test_a_closed_door_is_closed_for_a_limited_site_too(server: Server) -> None:
    server.site("stopped", ECHO, limits={"rate": 1000})
    wait_routed(server, "stopped")
    server.client.call("stop", sites=["stopped"])
    assert server.get("stopped").status == 503
    server.client.call("start", sites=["stopped"])
    assert server.get("stopped").status == 200


# --- how nginx reads what is spelled -------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=sorted(nginx_binaries()))
def bare_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A bare nginx that holds to our limits whomever the header X-Client names."""
    folder, port = make_folder(), free_port()
    (folder / "tmp").mkdir(mode=0o777)
    (folder / "nginx.conf").write_text(f"""
        daemon off; pid nginx.pid; events {{}}
        http {{
            {" ".join(f"{name}_temp_path tmp;" for name in ("client_body", "proxy", "uwsgi", "fastcgi", "scgi"))}
            {NEWLINE.join(values.limit_maps())}
            access_log off; real_ip_header X-Client; set_real_ip_from 127.0.0.1; root {folder};
            server {{
                listen 127.0.0.1:{port};
                add_header X-Over "$hostel_is_over" always;
                location / {{
                    set $hostel_values /run/sites/blog/spelled/body=0000000000010240$arg_more;
                    {NEWLINE.join(values.limit_lines())}
                    limit_req_status 429;
                    try_files /- @end;
                }}
                location @end {{ return 204; }}
            }}
        }}""")
    command = [nginx_binaries()[request.param], "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    process = subprocess.Popen(command)
    try:
        wait_for(lambda: ask(port), "nginx")
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def ask(port: int, path: str = "/", **headers: str) -> http.client.HTTPResponse | None:
    """The head of an answer; None when nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse()
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def statuses(port: int, *clients: str) -> set[int]:
    found = [ask(port, "/?more=;rate=1", X_Client=client) for client in clients]
    return {answer.status for answer in found if answer is not None}


def test_a_client_of_ipv6_is_its_network(bare_port: int) -> None:
    assert statuses(bare_port, *(f"2001:db8:1:2:{n:x}::1" for n in range(30))) == {204, 429}
    assert statuses(bare_port, *(f"2001:db8:1:{n:x}::1" for n in range(16, 46))) == {204}
    assert statuses(bare_port, *["2001:db8:a:a::a"] * 30) == {204, 429}
    assert statuses(bare_port, *(f"10.10.10.{n}" for n in range(30))) == {204}
    assert statuses(bare_port, *["10.10.11.1"] * 30) == {204, 429}


def test_lengths_are_compared_as_numbers(bare_port: int) -> None:
    lengths = [0, 1, 9, 10239, 10240, 10241, 10300, 11000, 20000, 99999, 100000, 1000000]
    for length in lengths:
        answer = ask(bare_port, Content_Length=str(length))
        assert answer is not None
        assert (length, answer.headers["X-Over"] == "1") == (length, length > 10240)


@given(st.integers(0, 2**50), st.integers(0, 2**50))
@example(10**16 - 2, 10**16 - 3)
def test_the_expression_that_compares(one: int, other: int) -> None:
    for first, second in ((one, other), (one, one), (one, one + 1)):
        text = f"{first:016}>{second:016}"
        assert bool(re.match(rf"^([0-9]*)(?:{values.larger_digits()})[0-9]*$", text)) == (first > second)
