"""Advisories of other servers, each played against the real front and worker (rule 24), and a lint for what is not used.

``docs/explanation/advisories.md`` says for each advisory what kind it is, whether it could hit Hostel, and which test plays it:
one of here, one of another file, or the directive that the front's configuration does not have. The last test compares the two.
"""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from hostel.front.nginx import FrontOptions, render
from tests.front.test_routes import front_pids
from tests.hostile.clients.witness import KINDS, add_witnesses, answer_next, exchange, replies, request, seen
from tests.support.server import DEADLINE, Server, command_of, wait_for

PAGE = Path(__file__).parent.parent.parent / "docs" / "explanation" / "advisories.md"
INNER = b"GET /smuggled HTTP/1.1\r\nHost: wsgi.localhost\r\n\r\n"
RAW = """
    import os, socket, stat

    def application(environ, start_response):
        # A tenant can find the connection that the front waits on, and say there whatever he likes.
        answer = environ["wsgi.input"].read()
        for name in os.listdir("/proc/self/fd"):
            number = int(name)
            try:
                if number > 2 and stat.S_ISSOCK(os.fstat(number).st_mode):
                    with socket.socket(fileno=os.dup(number)) as one:
                        is_stream = one.type == socket.SOCK_STREAM
                        if is_stream and not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                            one.sendall(answer)
            except OSError:
                pass
        os._exit(0)
"""


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    front_server.site("raw", RAW, workers={"min": 1, "max": 2})
    front_server.site("files", static={"/static/": "public"})
    front_server.write("files/public/a.txt", "0123456789" * 100)
    front_server.write("files/secret.txt", "secret")
    add_witnesses(front_server)
    wait_for(lambda: front_server.get("files", "/static/a.txt").status == 200, "the files")
    return front_server


def is_refused(server: Server, data: bytes) -> bool:
    """Whether it is one refusal, and no application has seen anything of it."""
    answers = replies(exchange(server, data))
    assert seen(server) == []
    return len(answers) == 1 and (answers[0].status in (400, 404, 501) or not answers[0].status)


def serving(server: Server) -> set[int]:
    commands = {pid: command_of(pid) for pid in front_pids(server)}
    return {pid for pid, command in commands.items() if "worker process" in command}


def is_unharmed(server: Server, before: set[int]) -> bool:
    """Whether no process of the front has died since, and everybody is served."""
    is_served = [server.get(kind).text for kind in KINDS] == ["witness"] * 2
    seen(server)
    return serving(server) == before and is_served


def framed(kind: str, *lines: bytes, body: bytes = b"0\r\n\r\n" + INNER) -> bytes:
    return request(kind, b"POST /outer HTTP/1.1", *lines, body=body)


# --- gunicorn ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2018_1000164_gunicorn_response_splitting(server: Server, kind: str) -> None:
    answer_next(server, kind, "200 OK", [("X-Own", "a\r\nSet-Cookie: stolen=1")], "body")
    (answer,) = replies(exchange(server, request(kind, b"GET / HTTP/1.1")))
    seen(server)
    assert (answer.status, b"stolen" in answer.head + answer.body) == (500, False)


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2024_1135_gunicorn_conflicting_transfer_encodings(server: Server, kind: str) -> None:
    for lines in (
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        (b"Transfer-Encoding: chunked,identity",),
        (b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    ):
        assert is_refused(server, framed(kind, *lines)), lines


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2024_6827_gunicorn_unknown_transfer_encoding(server: Server, kind: str) -> None:
    for value in (b"", b"xchunked", b"chunked\x0b", b"gzip", b"chunked;x", b"cow"):
        assert is_refused(server, framed(kind, b"Transfer-Encoding: " + value, b"Content-Length: 5")), value


# --- uWSGI, and Apache's module for its protocol ----------------------------------------------------------------------


def test_uwsgi_magic_variables_from_a_client(server: Server) -> None:
    """No client's header becomes a variable of uWSGI's, and no application would obey one."""
    lines = (b"UWSGI-FILE: /etc/passwd", b"UWSGI_SCRIPT: x", b"Uwsgi-Pyhome: /tmp")
    assert replies(exchange(server, request("wsgi", b"GET / HTTP/1.1", *lines)))[0].status == 200
    (found,) = seen(server)
    assert not [name for name in found if name.startswith("UWSGI_")]
    assert "HTTP_UWSGI_SCRIPT" not in found


def test_cve_2018_6758_uwsgi_long_path(server: Server) -> None:
    before = serving(server)
    for length in (255, 256, 4095, 4096, 8000):
        for site in ("wsgi", "files"):
            exchange(server, request(site, b"GET /static/" + b"a/" * (length // 2) + b" HTTP/1.1"))
    seen(server)
    assert is_unharmed(server, before)


def test_cve_2018_7490_uwsgi_traversal(server: Server) -> None:
    for up in (b"..%2f", b"../", b"%2e%2e%2f", b"..%5c"):
        for target in (
            b"/static/" + up + b"secret.txt",
            b"/static/" + up * 9 + b"etc/passwd",
            b"/" + up * 9 + b"etc/passwd",
        ):
            answer = exchange(server, request("files", b"GET " + target + b" HTTP/1.1"))
            assert b"secret" not in answer.partition(b"\r\n\r\n")[2] and b"root:" not in answer


def test_cve_2020_11984_mod_proxy_uwsgi_size_of_the_block(server: Server) -> None:
    """Many short headers make more than the 65,535 bytes that a uwsgi packet's size can say: it is refused, not cut."""
    for count in (1000, 2500, 5000, 7000):
        lines = [b"%c%c:" % (97 + number % 26, 97 + number // 26 % 26) for number in range(count)]
        answers = replies(exchange(server, request("wsgi", b"GET /outer HTTP/1.1", *lines)))
        found = seen(server)
        assert len(answers) == 1 and (answers[0].status == 200) == (len(found) == 1), (count, answers)
        assert answers[0].status in (200, 400, 431, 500, 502), (count, answers)
        for each in found:
            assert each["PATH_INFO"] == "/outer" and each["HTTP_HOST"] == "wsgi.localhost"
    assert server.view("wsgi")["problems"] == []


def test_cve_2021_36160_mod_proxy_uwsgi_odd_paths(server: Server) -> None:
    before = serving(server)
    for target in (
        b"/" + b"%2f" * 2000,
        b"/;" * 3000,
        b"/" + b"/" * 7000,
        b"/" + b"%ff" * 2000,
        b"/?" + b"?" * 7000,
        b"//:",
    ):
        for kind in KINDS:
            exchange(server, request(kind, b"GET " + target + b" HTTP/1.1"))
            for found in seen(server):
                assert found["REQUEST_URI"].partition("?")[0].encode("latin-1") == target.partition(b"?")[0]
    assert is_unharmed(server, before)


def raw_answer(server: Server, answer: bytes) -> bytes:
    """What a client gets when a tenant says this to the front in his worker's place."""
    return exchange(server, request("raw", b"POST / HTTP/1.1", b"Content-Length: %d" % len(answer), body=answer))


def test_cve_2023_27522_mod_proxy_uwsgi_response_smuggling(server: Server) -> None:
    """Whatever a tenant writes to the front itself, his visitor gets one answer, and the connection ends with it."""
    for head in (
        b"HTTP/1.1 200 OK\r\nX-Own: a\rSet-Cookie: stolen=1\r\n", b"HTTP/1.1 200 OK\r\nX-Own: a\0b\r\n",
            b"HTTP/1.1 200 OK\r\nX Own: a\r\n",
        b"HTTP/1.1 200 OK\r\n X-Own: a\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n",
    ):  # fmt: skip
        answers = replies(raw_answer(server, head + b"\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsplit"))
        assert len(answers) == 1, (head, answers)
        assert not answers[0].values("set-cookie")


def test_cve_2024_24795_mod_proxy_uwsgi_two_framings_in_an_answer(server: Server) -> None:
    for lines in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n",
            b"Content-Length: 0\r\n",
    ):  # fmt: skip
        answers = replies(raw_answer(server, b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nhelloHTTP/1.1 200 OK\r\n\r\nsplit"))
        assert (len(answers) == 1 and answers[0].values("content-length") in ([], ["5"], ["0"])) or answers[
            0
        ].status >= 500, answers


# --- waitress ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2019_16785_waitress_bare_lf(server: Server, kind: str) -> None:
    """A bare LF ends a line for nginx, so no header can hide behind one: what is there is all read, and judged."""
    assert is_refused(server, framed(kind, b"X-Own: a\nTransfer-Encoding: chunked", b"Content-Length: 5"))
    assert is_refused(server, framed(kind, b"X-Own: a\nContent-Length: 0", b"Content-Length: 5"))


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2019_16786_waitress_transfer_encoding_of_several(server: Server, kind: str) -> None:
    assert is_refused(server, framed(kind, b"Transfer-Encoding: gzip, chunked"))
    assert is_refused(server, framed(kind, b"Transfer-Encoding: identity, chunked", b"Content-Length: 5"))


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2019_16789_waitress_white_space_in_transfer_encoding(server: Server, kind: str) -> None:
    for value in (b"\x0bchunked", b"\x0cchunked", b"\x1cchunked", b"chunked\x0b", b"\xa0chunked", b"\x85chunked"):
        assert is_refused(server, framed(kind, b"Transfer-Encoding: " + value, b"Content-Length: 5")), value
    for name in (b"Transfer-Encoding ", b"Transfer-Encoding\x0b", b"\x0bTransfer-Encoding"):
        assert is_refused(server, framed(kind, name + b": chunked", b"Content-Length: 5")), name


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2019_16792_waitress_content_length_twice(server: Server, kind: str) -> None:
    for lines in (
        (b"Content-Length: 5", b"Content-Length: 5"),
        (b"Content-Length: 5, 5",),
        (b"Content-Length: 0", b"Content-Length: 9"),
    ):
        assert is_refused(server, framed(kind, *lines, body=b"hello" + INNER)), lines


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2020_5236_waitress_catastrophic_expression(server: Server, kind: str) -> None:
    """No header makes the front's or the worker's expressions work for long: none takes much longer than another of its size."""
    plain = [b"X-Own: " + b"a" * 7000]
    heavy = [
        b"X-Own: \x20" + b"\t" * 7000 + b"\x00", b"Accept: " + b"application/" + b"a." * 3400 + b"!",
            b"Accept: " + b"text/htm" * 800,
        b"Accept-Encoding: " + b"gzip ;q=0" * 700 + b"x", b"Accept-Encoding: gzip" + b" " * 7000, b"Cookie: " + b"a=" * 3500,
        b"Cookie: " + b"a=b; " * 1400, b"Cookie: " + b"_ga=" * 1700, b"Upgrade: " + b"websocket" * 700,
            b"Authorization: " + b"Basic " * 1100,
        b"Host: " + b"a." * 3400 + b"example", b"X-Forwarded-For: " + b"1, " * 2000, b"Range: bytes=" + b"0-," * 2000,
    ]  # fmt: skip

    def seconds(line: bytes) -> float:
        data = b"\r\n".join((b"GET / HTTP/1.1", line, b"Connection: close", b"", b""))
        data = data if line.startswith(b"Host") else request(kind, b"GET / HTTP/1.1", line)
        times = []
        for _ in range(3):
            begin = time.monotonic()
            exchange(server, data)
            times.append(time.monotonic() - begin)
        return min(times)

    usual = max(seconds(plain[0]), 0.005)
    for line in heavy:
        assert seconds(line) < 60 * usual, line[:40]
    seen(server)


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2022_24761_waitress_lengths_that_int_takes(server: Server, kind: str) -> None:
    for value in (b"+5", b"0x5", b"5_0", b"-0", b"5.0"):
        assert is_refused(server, framed(kind, b"Content-Length: " + value, body=b"hello" + INNER)), value
    for size in (b"+5", b"0x5", b"-5", b"0_5"):
        body = size + b"\r\nhello\r\n0\r\n\r\n" + INNER
        assert is_refused(server, framed(kind, b"Transfer-Encoding: chunked", body=body)), size


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2022_31015_waitress_a_client_that_leaves_ends_the_server(server: Server, kind: str) -> None:
    before = server.workers(kind)
    for size in (1, 30, 10_000):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as client:
                client.sendall(framed(kind, b"Content-Length: 20000", body=b"x" * 20_000)[: 100 + size])
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset, when it is closed
    assert (server.get(kind).status, server.workers(kind)) == (200, before)
    seen(server)


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2024_49768_waitress_a_request_behind_a_refused_one(server: Server, kind: str) -> None:
    """The second of two is not served when the first was refused, however they are cut into pieces."""
    bad = request(kind, b"POST /bad HTTP/1.1", b"Content-Length: x", close=False)
    second = request(kind, b"GET /smuggled HTTP/1.1")
    for pieces in ((bad + second,), (bad, second), (bad[:-2], bad[-2:] + second)):
        assert [each.status for each in replies(exchange(server, *pieces))] == [400]
        assert seen(server) == []


def test_cve_2024_49769_waitress_closed_connections_that_are_kept(server: Server) -> None:
    """Connections that were closed before anybody looked leave no descriptor and no load behind."""

    def descriptors() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in serving(server))

    assert server.get("wsgi").status == 200
    before = descriptors()
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_for(lambda: descriptors() <= before + 5, "the connections to be forgotten")
    seen(server)


# --- uvicorn, and what it stands on -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2020_7694_uvicorn_log_injection(server: Server, kind: str) -> None:
    for target in (b"/%1b[31mred%0a127.0.0.1 - forged", b"/\x1b[31mred", b"/%0d%0aforged"):
        exchange(server, request(kind, b"GET " + target + b" HTTP/1.1", b"User-Agent: \x1b[2J\x07", b"Referer: a\x7fb"))
    seen(server)
    exchange(server, request(kind, b"GET /last HTTP/1.1"))
    wait_for(lambda: "/last" in server.log(kind, "access.log"), "the log")
    for name in ("access.log", "error.log"):
        text = server.log(kind, name)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
        assert not [line for line in text.split("\n") if line.startswith(("forged", "127.0.0.1 - forged"))]
    seen(server)


def test_cve_2020_7695_uvicorn_response_splitting(server: Server) -> None:
    for header in (
        ("X-Own\r\nSet-Cookie: stolen", "1"),
        ("X-Own", "a\nSet-Cookie: stolen=1"),
        ("X-Own", "a\rSet-Cookie: stolen=1"),
    ):
        answer_next(server, "asgi", "200 OK", [header], "body")
        (answer,) = replies(exchange(server, request("asgi", b"GET / HTTP/1.1")))
        assert (answer.status, b"stolen" in answer.head) == (500, False)
    seen(server)


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2025_43859_h11_ends_of_chunks(server: Server, kind: str) -> None:
    for body in (b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\r\r0\r\n\r\n", b"5\r\nhello0\r\n\r\n"):
        assert is_refused(server, framed(kind, b"Transfer-Encoding: chunked", body=body + INNER)), body


def test_cve_2018_1000518_websockets_compressed_bomb(server: Server) -> None:
    """A message that is small on its way and large when it is unpacked is bounded by its unpacked size."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock,
        connect(f"ws://asgi.localhost:{server.port}/bomb", sock=sock, proxy=None) as client,
    ):
        client.send("0" * 20_000_000)
        with pytest.raises(ConnectionClosed):
            client.recv(DEADLINE)
    assert server.get("asgi").status == 200
    assert all("messages" not in each for each in seen(server, "asgi"))


# --- mod_wsgi, and CGI ------------------------------------------------------------------------------------------------


def test_cve_2014_0242_mod_wsgi_content_type_of_another_answer(server: Server) -> None:
    answer_next(server, "wsgi", "200 OK", [("Content-Type", "text/secret; " + "s" * 3000)], "body")
    assert server.get("wsgi").headers["content-type"].startswith("text/secret")
    answer_next(server, "wsgi", "200 OK", [("X-Own", "1")], "body")
    assert "secret" not in str(server.get("wsgi").headers)
    seen(server)


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2022_2255_mod_wsgi_client_address_by_another_name(server: Server, kind: str) -> None:
    names = (
        b"X-Client-IP",
        b"X-Real-IP",
        b"X-Forwarded-For",
        b"Forwarded",
        b"X-Forwarded",
        b"Forwarded-For",
        b"True-Client-IP",
    )
    lines = [name + b": 6.6.6.6" for name in names]
    assert replies(exchange(server, request(kind, b"GET / HTTP/1.1", *lines)))[0].status == 200
    (found,) = seen(server)
    assert (found["REMOTE_ADDR"], found["HTTP_X_FORWARDED_FOR"]) == ("127.0.0.1", "127.0.0.1")
    assert "HTTP_X_REAL_IP" not in found and "HTTP_FORWARDED" not in found


def test_cve_2016_5385_httpoxy(server: Server) -> None:
    exchange(server, request("wsgi", b"GET / HTTP/1.1", b"Proxy: http://evil.example"))
    (found,) = seen(server)
    assert "HTTP_PROXY" not in found


# --- nginx ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wsgi", "asgi", "files"])
def test_cve_2013_4547_nginx_space_and_zero_in_the_target(server: Server, kind: str) -> None:
    for target in (b"/static/a.txt \0.php", b"/static/../secret.txt \0", b"/a /../smuggled", b"/a \x00b"):
        answer = exchange(server, request(kind, b"GET " + target + b" HTTP/1.1"))
        assert answer.split(b" ", 2)[1] == b"400" and seen(server) == []


def test_cve_2017_7529_nginx_ranges_that_add_up(server: Server) -> None:
    for value in (
        b"-9223372036854775808",
        b"-17208,-9223372036854758792",
        b"0-,-9223372036854775807",
        b"9223372036854775807-",
        b"-1-2",
    ):
        (answer,) = replies(exchange(server, request("files", b"GET /static/a.txt HTTP/1.1", b"Range: bytes=" + value)))
        assert answer.status in (200, 206, 400, 416) and len(answer.body) <= 4000, value
        assert answer.status != 206 or set(answer.body) <= set(b"0123456789") or b"\r\n--" in answer.body


@pytest.mark.parametrize("kind", KINDS)
def test_cve_2019_20372_nginx_body_behind_an_error_page(server: Server, kind: str) -> None:
    """What follows a request that ends in one of the front's own pages is its body, if it has one, and not the next request."""
    for line in (b"GET /.hostel/x HTTP/1.1", b"GET /%00 HTTP/1.1"):
        for framing, body in (
            (b"Content-Length: %d" % len(INNER), INNER),
            (b"Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(INNER), INNER)),
        ):
            data = b"\r\n".join((line, b"Host: unknown.example", framing, b"", body))
            exchange(server, data + request(kind, b"GET /next HTTP/1.1"))
            assert "/smuggled" not in [each["PATH_INFO"] for each in seen(server)]


def test_cve_2026_42946_nginx_uwsgi_answers(server: Server) -> None:
    """A tenant is the server behind uwsgi_pass: whatever he answers, no process of the front dies, nor tells of its memory."""
    before = serving(server)
    for answer in (
        b"", b"\n", b"\r\n\r\n", b"HTTP", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 2", b"HTTP/1.1 200",
            b"HTTP/1.1 999999999999 x\r\n\r\n",
        b"HTTP/1.1 200 OK", b"Status: 200 OK\r\n\r\nbody", b"Status: \r\n\r\n", b"Status: 99999999999999999999\r\n\r\n",
            b"x\r\n\r\n", b":\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000 + b"\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
            b"\0" * 70_000,
        b"HTTP/1.1 200 OK\r\nLocation: " + b"a" * 12_000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nSet-Cookie: \r\n\r\n",
            b"\x16\3\1" * 100,
    ):  # fmt: skip
        for each in replies(raw_answer(server, answer)):
            assert b"witness" not in each.body and len(each.body) < 200_000
    assert is_unharmed(server, before)
    seen(server)


def test_cve_2026_42533_nginx_map_with_expressions(server: Server) -> None:
    """The front's maps are expressions over what clients send: lengths and copies have to agree for whatever that is."""
    before = serving(server)
    texts = (
        b"a" * 4000,
        b"a." * 2000,
        b"%ff" * 1500,
        b"\xff" * 3000,
        b"?" * 3000,
        b"/+" * 2000,
        b"a=b; " * 800,
        b"+&" * 2000,
    )
    for text in texts:
        for site in ("wsgi", "asgi", "files"):
            path = text.replace(b" ", b"")
            exchange(server, request(site, b"GET /" + path + b" HTTP/1.1"))
            exchange(server, request(site, b"GET /static/" + path + b"?" + path[:100] + b" HTTP/1.1"))
            for name in (
                b"Cookie",
                b"Accept",
                b"Accept-Encoding",
                b"Upgrade",
                b"X-Forwarded-Host",
                b"X-Forwarded-Proto",
                b"Authorization",
            ):
                exchange(server, request(site, b"GET /static/a.txt HTTP/1.1", name + b": " + text))
        exchange(
            server,
            b"GET / HTTP/1.1\r\nConnection: close\r\nHost: "
            + text.replace(b" ", b"")[:3000]
            + b".wsgi.localhost:80\r\n\r\n",
        )
    seen(server)
    assert is_unharmed(server, before)


def test_cve_2026_15176_nginx_alias_behind_a_rewrite(server: Server) -> None:
    """Files are mapped by alias behind a rewrite: a path that does not have the prefix any more leads nowhere else."""
    assert server.get("files", "/static/a.txt").status == 200
    for target in (
        b"/static",
        b"/static/",
        b"/.hostel/send/static/a.txt",
        b"/.hostel/send",
        b"/static/a.txt/..",
        b"/static/%2e",
        b"/x/../static/../secret.txt",
    ):
        answer = exchange(server, request("files", b"GET " + target + b" HTTP/1.1"))
        assert b"secret" not in answer.partition(b"\r\n\r\n")[2], target


# --- what the front does not use --------------------------------------------------------------------------------------

UNUSED = (
    "resolver", "mp4", "flv", "grpc_pass", "fastcgi_pass", "scgi_pass", "memcached_pass", "proxy_set_body", "proxy_ssl_verify",
    "ssl_verify_client", "ssl_ocsp", "ssl_stapling", "ssi", "slice", "dav_methods", "charset_map", "source_charset", "mail",
        "stream",
    "auth_basic", "sub_filter", "js_import", "perl", "image_filter", "xslt_stylesheet", "autoindex", "random_index",
)  # fmt: skip


def configuration() -> str:
    """With all that can be switched on but HTTP/3, which is the operator's to want."""
    options = FrontOptions(
        listen=("0.0.0.0:80",), listen_tls=("0.0.0.0:443",), trusted_proxy=("192.0.2.1",), version=(1, 31, 3), has_http3=False,
        log_dir="/var/log/hostel", user="hostel-front", group="hostel-front", processes=2, connections=4096, logs=4096,
            body=2**27,
        request=300.0, cache_dir="/var/cache/hostel", cache_size=2**30,
    )  # fmt: skip
    return re.sub(r"(?m)#.*$", "", render(options))


@pytest.mark.parametrize("directive", UNUSED)
def test_what_is_not_used_cannot_fail(directive: str) -> None:
    def is_used(name: str) -> bool:
        return bool(re.search(rf"(?m)(?:^|[;{{}}])\s*{name}\s", configuration()))

    assert is_used("uwsgi_pass") and is_used("if") and not is_used(directive)


def test_rewrites_have_no_captures_of_their_own() -> None:
    """CVE-2026-42945 and CVE-2026-9256: sizes were wrong where a rewrite's expression has captures that are used by number."""
    text = configuration()
    rewrites = re.findall(r"\brewrite (\S+) ", text)
    assert len(rewrites) > 10 and set(rewrites) == {"^"}
    assert not re.search(r"\$[0-9]", re.sub(r'"[^"]*\$"', "", text))


def test_upstreams_speak_plainly_over_sockets_of_our_own() -> None:
    """CVE-2026-1642, CVE-2026-42926,
    CVE-2026-42055: TLS and HTTP/2 towards applications are not spoken; aliases have no try_files."""
    text = configuration()
    assert set(re.findall(r"(?:proxy|uwsgi)_pass (\S+);", text)) >= {
        "unix:$hostel_at/app.sock",
        "http://unix:$hostel_at/http.sock",
    }
    assert not re.search(r"(?:proxy|uwsgi)_pass \"?(?:https|suwsgi)", text)
    assert set(re.findall(r"proxy_http_version (\S+);", text)) == {"1.1"}
    for place in re.findall(r"location [^{]*\{([^{}]*)\}", text):
        assert not ("alias" in place and "try_files" in place)


# --- the page ---------------------------------------------------------------------------------------------------------


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(("| CVE-", "| magic"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_says_what_is_tested() -> None:
    """Each advisory has a test that exists,
    or a directive that is not used; and each test here that is named after one has its line."""
    names = {name for name in globals() if name.startswith("test_")}
    found = rows()
    numbers = [cells[0] for cells in found]
    assert len(found) > 60 and len(set(numbers)) == len(numbers)
    root = PAGE.parent.parent.parent
    for number, _, kind, can_hit, how in found:
        assert kind and can_hit.startswith(("yes", "no", "nginx's")), number
        for directive in re.findall(r"no `(\w+)`", how):
            assert directive in UNUSED, (number, directive)
        tests = re.findall(r"`(?:(tests/[\w/.]+)::)?(test_\w+)`", how)
        assert tests or "no `" in how or "HTTP/3 only" in how, number
        for file, name in tests:
            if file:
                assert re.search(rf"(?m)^def {name}\(", (root / file).read_text()), (number, file, name)
            else:
                assert name in names, (number, name)
    named = {name for name in names if re.match(r"test_(cve|uwsgi_magic)", name)}
    told = {name for cells in found for name in re.findall(r"`(test_\w+)`", cells[4])}
    assert named <= told
    for name in named - {"test_uwsgi_magic_variables_from_a_client"}:
        year, count = name.split("_")[2:4]
        assert any(cells[0] == f"CVE-{year}-{count}" and name in cells[4] for cells in found), name
