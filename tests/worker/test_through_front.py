"""Workers behind the real front, with each nginx: what PEP 3333 and ASGI promise still holds at the client."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.server import DEADLINE, Server, wait_for

WSGI = """
    import json, os, threading, zlib
    from wsgiref.validate import validator

    go_on = threading.Event()
    state = {"opened": 0, "closed": 0, "ran": 0, "broken": 0}

    @validator
    def checked(environ, start_response):
        body = environ["wsgi.input"].read(10_000_000)
        found = {key: value for key, value in environ.items() if isinstance(value, (str, bool, tuple))}
        found["crc"] = zlib.crc32(body)
        found["size"] = len(body)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(found).encode()]

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/stream":
            start_response("200 OK", [("X-Accel-Buffering", "no"), ("Content-Type", "text/plain")])
            return stream()
        if path == "/go-on":
            go_on.set()
        if path == "/endless":
            start_response("200 OK", [("X-Accel-Buffering", "no")])
            return Endless()
        if path == "/upload":
            try:
                environ["wsgi.input"].read()
            except OSError:
                state["broken"] += 1
                raise
        if path == "/state":
            start_response("200 OK", [])
            return [json.dumps(state).encode()]
        if path == "/file":
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](open(os.environ["LARGE_FILE"], "rb"))
        if path == "/refuse":
            start_response("413 Content Too Large", [])
            return [b"refused"]
        if path == "/not-modified":
            start_response("304 Not Modified", [("ETag", '"1"'), ("Content-Length", "5")])
            return [b"hello"]
        if path == "/no-content":
            start_response("204 No Content", [])
            return [b"hello"]
        if path == "/short":
            start_response("200 OK", [("Content-Length", "100")])
            return [b"too short"]
        if path == "/failing":
            start_response("200 OK", [])
            return failing()
        return checked(environ, start_response)

    def stream():
        yield b"first "
        assert go_on.wait(30)
        yield b"second "
        yield b"third"

    def failing():
        yield b"begun"
        raise RuntimeError

    class Endless:
        def __iter__(self):
            state["opened"] += 1
            return self
        def __next__(self):
            return b"x" * 10_000
        def close(self):
            state["closed"] += 1
"""

ASGI = """
    import asyncio, json, os, pathlib, sys
    print("imported, version 1", flush=True)
    folder = pathlib.Path(os.environ["STATE_DIRECTORY"])

    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["ready"] = "yes"
            (folder / "up").write_text("up")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            (folder / "down").write_text("down")
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await chat(scope, receive, send)
        else:
            await answer(scope, receive, send)

    async def read(receive):
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return body

    async def answer(scope, receive, send):
        path = scope["path"]
        if path == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-accel-buffering", b"no")]})
            for part in (b"first ", b"second ", b"third"):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                if part == b"first ":
                    await asyncio.wait_for(go_on.wait(), 30)
            await send({"type": "http.response.body"})
            return
        if path == "/go-on":
            go_on.set()
        if path == "/print":
            print("printed by the application")
            print("complained by the application", file=sys.stderr)
        if path == "/broken":
            raise RuntimeError("broken on purpose")
        body = await read(receive)
        found = {
            "path": path, "method": scope["method"], "query": scope["query_string"].decode(), "scheme": scope["scheme"],
            "client": scope["client"][0], "size": len(body), "state": scope.get("state", {}).get("ready"),
            "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
            "uvicorn": sys.modules["uvicorn"].__file__, "prefix": sys.prefix, "body": body[:100].decode("latin-1"),
        }
        data = json.dumps(found).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    async def chat(scope, receive, send):
        await receive()
        if scope["path"] == "/closed":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["path"] + "?" + scope["query_string"].decode()})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") == "close":
                await send({"type": "websocket.close", "code": 4001, "reason": "as you wish"})
                return
            await send({key: value for key, value in message.items() if value is not None} | {"type": "websocket.send"})

    go_on = asyncio.Event()
"""


@pytest.fixture(scope="module")
def large_file(front_server: Server) -> bytes:
    """20 MB in a file that sites can read."""
    content = os.urandom(1_000_000) * 20
    path = front_server.projects / "wsgi" / "large"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)
    return content


@pytest.fixture(scope="module")
def wsgi(front_server: Server) -> str:
    """The name of a WSGI site, one process with four threads."""
    env = {"LARGE_FILE": str(front_server.projects / "wsgi" / "large")}
    front_server.site("wsgi", WSGI, workers={"max": 1, "threads": 4}, env=env)
    wait_for(lambda: front_server.state("wsgi") == "cold")
    return "wsgi"


def add_asgi(server: Server, name: str, code: str = ASGI, **options: Any) -> str:
    server.site(name, code, **options)
    wait_for(lambda: server.state(name) == "cold", f"{name} to be known")
    return name


@pytest.fixture(scope="module")
def asgi(front_server: Server) -> str:
    """The name of an ASGI site."""
    return add_asgi(front_server, "asgi")


@contextmanager
def open_request(server: Server, site: str, path: str, method: str = "GET") -> Iterator[http.client.HTTPResponse]:
    """A request whose response is read by and by."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    try:
        connection.request(method, path, headers={"Host": f"{site}.localhost"})
        yield connection.getresponse()
    finally:
        connection.close()


def web_socket(server: Server, site: str, path: str = "/") -> ClientConnection:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)
    return connect(f"ws://{site}.localhost:{server.port}{path}", sock=sock, open_timeout=DEADLINE, proxy=None)


# --- WSGI: requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_the_validator_finds_nothing(front_server: Server, wsgi: str, method: str) -> None:
    body = None if method in ("GET", "OPTIONS") else b"some content"
    answer = front_server.get(wsgi, "/a%20b/%C3%A9?x=1&y=%20", method=method, body=body)
    assert answer.status == 200, answer.text
    found = answer.json()
    assert found["REQUEST_METHOD"] == method
    assert (found["PATH_INFO"], found["QUERY_STRING"]) == ("/a b/\u00c3\u00a9", "x=1&y=%20")
    assert found["REQUEST_URI"] == "/a%20b/%C3%A9?x=1&y=%20"
    assert found["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert found["SERVER_NAME"] == "wsgi.localhost"
    assert found["SERVER_PORT"] == str(front_server.port)
    assert found["HTTP_HOST"] == f"wsgi.localhost:{front_server.port}"
    assert found["size"] == len(body or b"")


@pytest.mark.parametrize("size", [0, 1, 8192, 5_000_000])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_bodies(front_server: Server, wsgi: str, size: int, is_chunked: bool) -> None:
    content = os.urandom(size)
    parts = (content[at : at + 50_021] for at in range(0, size, 50_021))
    answer = front_server.get(wsgi, "/", method="POST", body=parts if is_chunked else content)
    found = answer.json()
    assert (found["size"], found["crc"]) == (size, zlib.crc32(content))
    assert found.get("CONTENT_LENGTH", "0") == str(size)
    assert "HTTP_TRANSFER_ENCODING" not in found


def test_a_large_body_that_nobody_reads(front_server: Server, wsgi: str) -> None:
    answer = front_server.get(wsgi, "/refuse", method="POST", body=b"x" * 5_000_000)
    assert (answer.status, answer.body) == (413, b"refused")


def test_expect_100_continue(front_server: Server, wsgi: str) -> None:
    with socket.create_connection(("127.0.0.1", front_server.port), timeout=DEADLINE) as sock:
        head = f"POST / HTTP/1.1\r\nHost: {wsgi}.localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
        sock.sendall(f"{head}Connection: close\r\n\r\n".encode())
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        response = http.client.HTTPResponse(sock)
        response.begin()
        found = json.loads(response.read())
    assert (response.status, found["size"]) == (200, 5)
    assert "HTTP_EXPECT" not in found


# --- WSGI: responses ----------------------------------------------------------------------------------------------------


def test_streaming_arrives_chunk_by_chunk(front_server: Server, wsgi: str) -> None:
    with open_request(front_server, wsgi, "/stream") as response:
        assert response.read1() == b"first "  # the application goes on only when it is told to
        assert front_server.get(wsgi, "/go-on").status == 200
        assert response.read() == b"second third"
        assert response.getheader("X-Accel-Buffering") is None


def test_head(front_server: Server, wsgi: str) -> None:
    length = front_server.get(wsgi, "/state").headers["content-length"]
    answer = front_server.get(wsgi, "/state", method="HEAD")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", length)
    answer = front_server.get(wsgi, "/stream", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")


def test_answers_without_a_body(front_server: Server, wsgi: str) -> None:
    answer = front_server.get(wsgi, "/no-content")
    assert (answer.status, answer.body, answer.headers.get("content-length")) == (204, b"", None)
    answer = front_server.get(wsgi, "/not-modified")
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", '"1"')


def test_a_file_of_20_mb(front_server: Server, large_file: bytes, wsgi: str) -> None:
    answer = front_server.get(wsgi, "/file")
    assert answer.headers["content-length"] == str(len(large_file))
    assert zlib.crc32(answer.body) == zlib.crc32(large_file)
    answer = front_server.get(wsgi, "/file", method="HEAD")
    assert (answer.headers["content-length"], answer.body) == (str(len(large_file)), b"")


def test_a_body_shorter_than_promised_is_seen_by_the_client(front_server: Server, wsgi: str) -> None:
    with pytest.raises(http.client.IncompleteRead):
        front_server.get(wsgi, "/short")


def test_nothing_of_ours_is_seen_by_the_client(front_server: Server, wsgi: str) -> None:
    headers = front_server.get(wsgi).headers
    assert not [name for name in headers if "hostel" in name]
    assert headers["server"] == "nginx"


def test_a_client_that_disappears(front_server: Server, wsgi: str) -> None:
    """In the middle of the answer, and in the middle of its own body."""
    before = front_server.get(wsgi, "/state").json()
    with open_request(front_server, wsgi, "/endless") as response:
        assert len(response.read(100_000)) == 100_000
    with socket.create_connection(("127.0.0.1", front_server.port)) as sock:
        sock.sendall(b"POST /upload HTTP/1.1\r\nHost: wsgi.localhost\r\nContent-Length: 1000000\r\n\r\nthe begin")

    def is_closed() -> bool:
        state = front_server.get(wsgi, "/state").json()
        return bool(state["closed"] - before["closed"] == 1 == state["opened"] - before["opened"])

    wait_for(is_closed, "the iterator to be closed")
    assert front_server.get(wsgi, "/state").json()["broken"] == 0  # the front never passed on what was not whole
    (pid,) = front_server.workers(wsgi)
    assert front_server.get(wsgi).status == 200
    assert front_server.workers(wsgi) == [pid]


# --- ASGI: HTTP ---------------------------------------------------------------------------------------------------------


def test_asgi_http(front_server: Server, asgi: str) -> None:
    for _ in range(2):  # over the first socket, and then over the second
        answer = front_server.get(asgi, "/a%20b?x=1", headers={"X-Own": "1", "X-Forwarded-For": "6.6.6.6"})
        found = answer.json()
        assert (found["method"], found["path"], found["query"], found["scheme"]) == ("GET", "/a b", "x=1", "http")
        assert (found["client"], found["state"]) == ("127.0.0.1", "yes")
        assert found["headers"]["host"] == f"asgi.localhost:{front_server.port}"
        assert found["headers"]["x-own"] == "1"
        assert found["headers"]["x-forwarded-for"] == "127.0.0.1"
        assert not [name for name in answer.headers if "hostel" in name or "uvicorn" in answer.headers[name]]
    assert front_server.view(asgi)["interface"] == "asgi"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_asgi_bodies(front_server: Server, asgi: str, is_chunked: bool) -> None:
    content = os.urandom(5_000_000)
    parts = (content[at : at + 50_021] for at in range(0, len(content), 50_021))
    answer = front_server.get(asgi, "/", method="POST", body=parts if is_chunked else content)
    assert answer.json()["size"] == len(content)


def test_asgi_streaming(front_server: Server, asgi: str) -> None:
    front_server.get(asgi)
    with open_request(front_server, asgi, "/stream") as response:
        assert response.read1() == b"first "
        assert front_server.get(asgi, "/go-on").status == 200
        assert response.read() == b"second third"


def test_asgi_head_and_failure(front_server: Server, asgi: str) -> None:
    answer = front_server.get(asgi, "/", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert front_server.get(asgi, "/broken").status == 500
    assert front_server.get(asgi, "/").status == 200
    wait_for(lambda: "RuntimeError: broken on purpose" in front_server.log(asgi))


def test_asgi_output_goes_to_the_error_log(front_server: Server, asgi: str) -> None:
    front_server.get(asgi, "/print")
    wait_for(lambda: "complained by the application" in front_server.log(asgi))
    wait_for(lambda: "printed by the application" in front_server.log(asgi))


# --- ASGI: start and end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_the_first_request_may_have_a_body(front_server: Server, size: int) -> None:
    """It is taken over the first socket, and sent again, body and all, over the second."""
    name = add_asgi(front_server, f"post-{size}")
    answer = front_server.get(
        name, "/first?x=1", method="POST", body=b"y" * size, headers={"Content-Type": "text/plain"}
    )
    found = answer.json()
    assert (found["method"], found["path"], found["query"], found["size"]) == ("POST", "/first", "x=1", size)
    assert found["headers"]["content-type"] == "text/plain"
    assert found["body"] == "y" * min(size, 100)


def test_the_first_request_may_be_a_websocket(front_server: Server) -> None:
    name = add_asgi(front_server, "ws-first")
    with web_socket(front_server, name, "/first?x=1") as client:
        assert client.recv(DEADLINE) == "/first?x=1"
        client.send("hello")
        assert client.recv(DEADLINE) == "hello"


def test_many_first_visitors(front_server: Server) -> None:
    name = add_asgi(front_server, "many", "import time\ntime.sleep(1)\n" + ASGI.replace("\n    ", "\n"))
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(lambda number: front_server.get(name, f"/{number}", method="POST", body=b"x" * 100), range(50))
        )
    assert [answer.status for answer in answers] == [200] * 50
    assert [answer.json()["path"] for answer in answers] == [f"/{number}" for number in range(50)]


def test_lifespan(front_server: Server) -> None:
    """Startup before the first request, shutdown when the site falls asleep, and both again."""
    name = add_asgi(front_server, "lifespan", workers={"idle": 0.5})
    folder = front_server.state_dir / "sites" / name
    for _ in range(2):
        assert front_server.get(name).json()["state"] == "yes"
        assert (folder / "up").exists()
        assert not (folder / "down").exists()
        wait_for(lambda: front_server.state(name) == "cold", "the site to sleep")
        wait_for(lambda: (folder / "down").exists(), "the end of its lifespan")
        (folder / "up").unlink()
        (folder / "down").unlink()


def test_a_lifespan_that_fails(front_server: Server) -> None:
    code = """
        async def application(scope, receive, send):
            assert scope["type"] == "lifespan"
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "there is no database"})
    """
    name = add_asgi(front_server, "failing", code)
    answer = front_server.get(name)
    assert answer.status == 503
    assert "there is no database" not in answer.text
    view = front_server.wait_state(name, "failed")
    (problem,) = view["problems"]
    assert problem["reason"] == "the application's lifespan failed to start: there is no database"
    assert problem["step"] == "lifespan"
    assert front_server.get(name).status == 503
    front_server.site(name, ASGI)
    wait_for(lambda: front_server.get(name).status == 200, "the mended site")


def test_an_application_without_lifespan(front_server: Server) -> None:
    code = """
        async def application(scope, receive, send):
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"plain"})
    """
    name = add_asgi(front_server, "plain", code)
    assert [front_server.get(name).text for _ in range(3)] == ["plain"] * 3


# --- ASGI: WebSocket ----------------------------------------------------------------------------------------------------


def test_a_websocket(front_server: Server, asgi: str) -> None:
    with web_socket(front_server, asgi, "/chat?room=1") as client:
        assert client.recv(DEADLINE) == "/chat?room=1"
        for message in ("text \u00e9\U0001f600", b"\0\xff bytes", "", b"", "x" * 500_000, b"y" * 500_000):
            client.send(message)
            assert client.recv(DEADLINE) == message
        client.send("close")
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(DEADLINE)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "as you wish")


def test_a_websocket_that_the_application_refuses(front_server: Server, asgi: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        web_socket(front_server, asgi, "/closed")
    assert caught.value.response.status_code == 403


def test_an_open_websocket_counts_as_use(front_server: Server) -> None:
    name = add_asgi(front_server, "open", workers={"idle": 0.5})
    with web_socket(front_server, name) as client:
        client.recv(DEADLINE)
        time.sleep(1.5)  # longer than idle: it does not fall asleep
        assert front_server.state(name) == "serving"
        assert front_server.view(name)["workers"][0]["busy"] == 1
        client.send("still there")
        assert client.recv(DEADLINE) == "still there"
    wait_for(lambda: front_server.state(name) == "cold", "the site to sleep")


# --- environments, changes ----------------------------------------------------------------------------------------------


def test_an_environment_without_uvicorn(front_server: Server) -> None:
    """The site gets ours, and nothing else that is ours."""
    environment = front_server.folder / "venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", environment], check=True)
    code = ASGI + "    import importlib.util\n    assert importlib.util.find_spec('pydantic') is None\n"
    name = add_asgi(front_server, "bare", code, environment=str(environment))
    for _ in range(2):
        found = front_server.get(name, method="POST", body=b"hello").json()
        assert (found["prefix"], found["body"]) == (str(environment), "hello")
        assert not found["uvicorn"].startswith(str(environment))
    with web_socket(front_server, name, "/chat") as client:
        assert client.recv(DEADLINE) == "/chat?"


PLAIN = """
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"wsgi " + environ["wsgi.input"].read()]
"""


def test_from_asgi_to_wsgi_and_back(front_server: Server) -> None:
    name = add_asgi(front_server, "changing")
    for _ in range(2):
        assert front_server.get(name, method="POST", body=b"one").json()["body"] == "one"
        assert front_server.view(name)["interface"] == "asgi"
        front_server.write(f"{name}/app.py", PLAIN)
        front_server.run("reload", name)
        wait_for(lambda: front_server.get(name, method="POST", body=b"two").text == "wsgi two", "the WSGI version")
        assert front_server.view(name)["interface"] == "wsgi"
        front_server.write(f"{name}/app.py", ASGI)
        front_server.run("reload", name)
        wait_for(lambda: front_server.view(name)["interface"] == "asgi", "the ASGI version")


def test_asleep_from_asgi_to_wsgi(front_server: Server) -> None:
    """The first visitor waits where the site was found before, and is sent to where it is now."""
    name = add_asgi(front_server, "dreaming", workers={"idle": 0.3})
    assert front_server.get(name).status == 200
    wait_for(lambda: front_server.state(name) == "cold", "the site to sleep")
    front_server.write(f"{name}/app.py", PLAIN)
    content = b"x" * 100_000
    assert front_server.get(name, method="POST", body=content).body == b"wsgi " + content
    assert front_server.get(name).text == "wsgi "


def test_a_change_to_asgi_that_fails_keeps_wsgi_serving(front_server: Server) -> None:
    failing = """
        async def application(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})
    """
    front_server.site("steady", PLAIN)
    wait_for(lambda: front_server.state("steady") == "cold")
    assert front_server.get("steady").text == "wsgi "
    front_server.write("steady/app.py", failing)
    front_server.run("reload", "steady", check=False)
    wait_for(lambda: front_server.view("steady")["problems"], "the failure")
    assert [front_server.get("steady").text for _ in range(5)] == ["wsgi "] * 5


def test_no_request_is_lost_when_the_code_changes(front_server: Server) -> None:
    """Between two generations of ASGI, between ASGI and WSGI, and back: while one drains, the other listens, too."""
    name = add_asgi(front_server, "between", workers={"max": 1})
    assert front_server.get(name).status == 200
    statuses: list[int] = []
    is_over = False

    def visit(number: int) -> None:
        while not is_over:
            method = "POST" if number % 2 else "GET"
            statuses.append(front_server.get(name, method=method, body=b"x" * 1000 * number or None).status)

    with ThreadPoolExecutor(4) as pool:
        visits = pool.map(visit, range(4))
        try:
            for code in (ASGI, ASGI, PLAIN, PLAIN, ASGI, PLAIN, ASGI):
                generation, count = front_server.view(name)["generation"], len(statuses)
                wait_for(lambda count=count: len(statuses) > count + 50, "visits")  # type: ignore[misc]
                front_server.write(f"{name}/app.py", code)
                front_server.run("reload", name)
                wait_for(
                    lambda generation=generation: (
                        front_server.view(name)["generation"] > generation  # type: ignore[misc]
                        and len(front_server.view(name)["workers"]) == 1
                    ),
                    "the next generation, alone",
                )
        finally:
            is_over = True
        list(visits)
    assert set(statuses) == {200}
