"""What the front answers in a site's place: pages for people, problem details for programs, the site's own where it has any."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.front.pages import BY_KIND, PAGES
from hostel.options.fields import ERROR_STATUSES
from tests.conftest import MakeServer
from tests.front.applications import wait_routed
from tests.support.server import Answer, Server, make_folder, nginx_binaries, wait_for

AS_PROGRAM = {"Accept": "application/json, text/html;q=0.9, */*;q=0.8"}
AS_BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,application/json;q=0.8,*/*;q=0.7"}
TROUBLE = """
    import os, signal, time

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/raise":
            raise RuntimeError("a secret")
        if path == "/die":
            os.kill(os.getpid(), signal.SIGKILL)
        if path == "/slow":
            time.sleep(1.7)
        if path == "/says":
            start_response(environ["QUERY_STRING"].replace("+", " "), [("Content-Type", "text/plain")])
            return [b"the application's own words"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"fine"]
"""
TROUBLE_ASGI = """
    async def application(scope, receive, send):
        assert scope["type"] == "http"
        if scope["path"] == "/raise":
            raise RuntimeError("a secret")
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 500 if scope["path"] == "/says" else 200, "headers": headers})
        if scope["path"] == "/late":
            raise RuntimeError("a secret")
        await send({"type": "http.response.body", "body": b"the application's own words"})
"""
OWN = "<!doctype html><title>Ours</title><p>our own page for {status}"


@pytest.fixture(scope="module", params=sorted(nginx_binaries()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """``wsgi`` and ``own`` have the same trouble, and ``own`` has pages for it; ``broken`` and ``ownbroken`` do not start."""
    server = Server(
        make_folder(), nginx=nginx_binaries()[request.param], arguments=("--request", "1s", "--body", "64K")
    )
    try:
        server.start()
        for status in ERROR_STATUSES:
            for name in ("own", "ownbroken", "ownfiles"):
                server.write(f"{name}/errors/{status}.html", OWN.format(status=status))
        pages = {status: f"errors/{status}.html" for status in ERROR_STATUSES}
        workers = {"min": 1, "max": 2}
        server.site("wsgi", TROUBLE, workers=workers)
        server.site("own", TROUBLE, errors=pages, workers=workers)
        server.site("asgi", TROUBLE_ASGI)
        server.site("broken", "import nothing_of_this_name\n")
        server.site("ownbroken", "import nothing_of_this_name\n", errors=pages)
        server.site("files", static={"/": "."})
        server.site("ownfiles", static={"/": "."}, errors=pages)
        wait_routed(server, "wsgi", "own", "asgi", "broken", "ownbroken", "files", "ownfiles")
        yield server
        server.stop()
    finally:
        server.kill()
        os.system(f"rm -rf {server.folder}")


def failure_id(server: Server, name: str) -> str:
    server.get(name)
    server.wait_state(name, "failed")
    return str(server.view(name)["problems"][0]["id"])


def ask(server: Server, site: str, kind: str, headers: dict[str, str], method: str = "GET") -> Answer:
    """Run into an error of this kind."""
    body = b"x" * 100_000 if kind == "large" else None
    path = {"failed": "/raise", "broken": "/die", "late": "/slow"}.get(kind, "/")
    return server.get(site, path, method="POST" if body else method, headers=headers, body=body)


def check_page(answer: Answer, kind: str) -> None:
    page = BY_KIND[kind]
    assert (answer.status, answer.headers["content-type"]) == (page.status, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers.get("retry-after", "0") == str(page.retry)
    assert not {"etag", "last-modified", "x-hostel", "x-accel-redirect"} & set(answer.headers)


def check_problem(answer: Answer, kind: str) -> None:
    page = BY_KIND[kind]
    assert (answer.status, answer.headers["content-type"]) == (page.status, "application/problem+json")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers.get("retry-after", "0") == str(page.retry)
    problem = answer.json()
    assert (problem["type"], problem["status"]) == (f"urn:hostel:{kind}", page.status)
    assert problem["title"] and problem["detail"]
    assert problem.get("retry", 0) == page.retry


@pytest.mark.parametrize("kind", ["failed", "broken", "large", "late"])
def test_an_error_in_each_form(server: Server, kind: str) -> None:
    html = ask(server, "wsgi", kind, AS_BROWSER)
    check_page(html, kind)
    assert BY_KIND[kind].text in html.text and "a secret" not in html.text
    check_problem(ask(server, "wsgi", kind, AS_PROGRAM), kind)
    own = ask(server, "own", kind, AS_BROWSER)
    check_page(own, kind)
    assert own.text == OWN.format(status=BY_KIND[kind].status)
    check_problem(ask(server, "own", kind, AS_PROGRAM), kind)
    if kind != "large":
        head = ask(server, "wsgi", kind, AS_BROWSER, "HEAD")
        assert (head.status, head.body) == (BY_KIND[kind].status, b"")


def test_an_unknown_host(server: Server) -> None:
    check_page(server.get("nobody.example", headers=AS_BROWSER), "unknown")
    check_problem(server.get("nobody.example", headers=AS_PROGRAM, method="POST", body=b"x"), "unknown")
    head = server.get("nobody.example", method="HEAD")
    assert (head.status, head.body) == (404, b"")


def test_a_page_that_is_missing_on_a_site_of_files(server: Server) -> None:
    check_page(server.get("files", "/none"), "nothing")
    check_problem(server.get("files", "/none", headers=AS_PROGRAM), "nothing")
    assert server.get("ownfiles", "/none").text == OWN.format(status=404)


def test_a_site_that_does_not_start(server: Server) -> None:
    record = failure_id(server, "broken")
    for _ in range(2):  # by a worker that turns away, and by the closed door
        html = server.get("broken", headers=AS_BROWSER)
        check_page(html, "closed")
        assert record in html.text and "nothing_of_this_name" not in html.text
        problem = server.get("broken", headers=AS_PROGRAM, method="POST", body=b"x")
        check_problem(problem, "closed")
        assert problem.json()["id"] == record
    own_record = failure_id(server, "ownbroken")
    assert server.get("ownbroken").text == OWN.format(status=503)
    assert server.get("ownbroken", headers=AS_PROGRAM).json()["id"] == own_record


def test_a_site_that_was_stopped(server: Server) -> None:
    server.client.call("stop", sites=["files"])
    try:
        check_page(server.get("files", "/none"), "closed")
        assert server.get("files", "/none", headers=AS_PROGRAM).json()["title"] == "Down for maintenance"
    finally:
        server.client.call("start", sites=["files"])


def test_those_who_wait_for_a_start_that_fails_get_the_same(make_server: MakeServer) -> None:
    """They are answered by a worker; the front, not the worker, chooses the form."""
    server = make_server()
    server.site("dying", "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nraise SystemExit\n")
    server.start()
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        html = pool.submit(server.get, "dying", headers=AS_BROWSER)
        problem = pool.submit(server.get, "dying", headers=AS_PROGRAM)
        server.wait_state("dying", "starting")
        server.write("dying/go", "")
        check_page(html.result(), "closed")
        check_problem(problem.result(), "closed")
        assert problem.result().json()["id"] in html.result().text


def test_an_asgi_application_that_raises(server: Server) -> None:
    for path in ("/", "/raise"):  # the first request of all comes by uwsgi
        server.get("asgi", path)
    check_page(server.get("asgi", "/raise", headers=AS_BROWSER), "failed")
    check_problem(server.get("asgi", "/raise", headers=AS_PROGRAM), "failed")
    assert "a secret" in server.log("asgi")
    wait_for(lambda: '"GET /raise HTTP/1.1" 500' in server.log("asgi", "access.log"))


def test_what_the_application_says_itself_stays(server: Server) -> None:
    for status in (404, 413, 429, 500, 502, 503, 504):
        for site in ("wsgi", "own"):
            answer = server.get(site, f"/says?{status}+Whatever", headers=AS_PROGRAM)
            assert (answer.status, answer.text) == (status, "the application's own words")
            assert answer.headers["content-type"] == "text/plain"
    assert server.get("asgi", "/says").text == "the application's own words"


def test_a_full_queue(server: Server) -> None:
    """Nobody listens: nginx finds no connection to be had, as when the queue is full."""
    name = "full"
    server.site(name, TROUBLE, workers={"min": 1, "max": 1})
    wait_for(lambda: server.get(name).status == 200)
    path = server.run_dir / f"sites/{name}/app.sock"
    path.unlink()
    check_page(server.get(name), "busy")
    check_problem(server.get(name, headers=AS_PROGRAM), "busy")


def test_an_error_page_that_nobody_may_read_is_replaced(server: Server) -> None:
    """And one that leads to others' files, or to none."""
    for name, target in (("secret", None), ("foreign", "/etc/shadow"), ("missing", "/nowhere"), ("folder", "/etc")):
        page = server.projects / name / "500.html"
        server.site(name, TROUBLE, errors={"500": "500.html"})
        if target:
            page.symlink_to(target)
        else:
            page.write_text("private")
            page.chmod(0)
        wait_routed(server, name)
        answer = server.get(name, "/raise")
        if name != "secret" or os.geteuid() == 0:
            check_page(answer, "failed")
            assert BY_KIND["failed"].text in answer.text


def test_the_places_of_errors_are_nobodys_to_ask_for(server: Server) -> None:
    for path in ("/.hostel/error/503/busy", "/.hostel/error/200/../../pages/busy.html", "/pages/busy.html"):
        answer = server.get("files", path)
        check_page(answer, "nothing")


def test_in_development_nothing_stands_before_the_reason(make_server: MakeServer) -> None:
    server = make_server(arguments=("--reload",))
    server.write("broken/503.html", "our own")
    server.site("broken", "import nothing_of_this_name\n", errors={"503": "503.html"})
    server.start()
    wait_for(lambda: "nothing_of_this_name" in server.get("broken").text, "the reason")
    problem = server.get("broken", headers=AS_PROGRAM).json()
    assert "nothing_of_this_name" in problem["detail"] and "broken" in problem["title"]


def test_every_page_can_be_replaced() -> None:
    assert {str(page.status) for page in PAGES} - {"421"} == set(ERROR_STATUSES)  # that one is of no site


def test_check_tells_of_a_page_that_is_missing(tmp_path: Path) -> None:
    from hostel.options.check import check_site
    from hostel.options.server import ServerOptions
    from hostel.options.site import make_site

    site, _ = make_site("files", "files.toml", str(tmp_path), {"static": {"/": "."}, "errors": {"404": "404.html"}})
    assert site is not None
    (problem,) = check_site(site, ServerOptions())
    assert (problem.where, problem.is_fatal) == ("errors.404", False)
