"""What the front keeps of a site's answers, and to whom it gives them: never one visitor's to another."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

import pytest

from hostel.front.cache import CONDITIONS, TELLING_HEADERS
from tests.front.applications import wait_routed
from tests.support.server import Answer, Server, wait_for

# Both answer with the headers and the status that the query names, after "wait" seconds, and count how often they were asked.
PAGES = """
    import json, os, time
    from urllib.parse import parse_qsl

    runs = 0

    def application(environ, start_response):
        global runs
        runs += 1
        said = parse_qsl(environ["QUERY_STRING"])
        query = dict(said)
        while "wait" in query and not os.path.exists(query["wait"]):
            time.sleep(0.01)
        seen = {"run": runs, "site": os.environ["SITE"], "host": environ["HTTP_HOST"], "method": environ["REQUEST_METHOD"]}
        seen["headers"] = {key: value for key, value in environ.items() if key.startswith("HTTP_")}
        seen["body"] = environ["wsgi.input"].read().decode()
        seen["text"] = query.get("text", "")
        if os.path.exists(os.environ["BROKEN"]):
            raise RuntimeError("broken")
        headers = [(name[2:], value) for name, value in said if name.startswith("h-")]
        tag = environ.get("HTTP_IF_NONE_MATCH")
        if tag and ("ETag", tag) in headers:
            start_response("304 Not Modified", headers)
            return []
        start_response(query.get("status", "200 OK"), headers)
        data = json.dumps(seen).encode()
        if "parts" in query:
            return iter([data[:10], data[10:]])
        return [data]
"""
PAGES_ASGI = """
    import asyncio, json, os
    from urllib.parse import parse_qsl

    runs = 0

    async def application(scope, receive, send):
        global runs
        runs += 1
        said = parse_qsl(scope["query_string"].decode())
        query = dict(said)
        while "wait" in query and not os.path.exists(query["wait"]):
            await asyncio.sleep(0.01)
        given = {name.decode(): value.decode() for name, value in scope["headers"]}
        seen = {"run": runs, "site": os.environ["SITE"], "host": given["host"], "method": scope["method"]}
        seen["headers"] = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in given.items()}
        event = await receive()
        seen["body"] = event["body"].decode()
        seen["text"] = query.get("text", "")
        if os.path.exists(os.environ["BROKEN"]):
            raise RuntimeError("broken")
        headers = [(name[2:].encode(), value.encode()) for name, value in said if name.startswith("h-")]
        data = json.dumps(seen).encode()
        if given.get("if-none-match") and (b"ETag", given["if-none-match"].encode()) in headers:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        if "parts" not in query:
            headers.append((b"content-length", str(len(data)).encode()))
        status = int(query.get("status", "200 OK")[:3])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": data})
"""
KINDS = {"wsgi": PAGES, "asgi": PAGES_ASGI}
KEEP = {"Cache-Control": "max-age=600"}
numbers = itertools.count()


def make_site(server: Server, name: str, kind: str = "wsgi", **options: Any) -> None:
    """A site whose answers are kept, and whose application is ready."""
    env = {"SITE": name, "BROKEN": str(server.projects / f"{name}-broken")}
    workers = options.pop("workers", {"max": 1, "threads": 4 if kind == "wsgi" else 1})
    server.site(name, KINDS[kind], env=env, workers=workers, **{"cache": {"on": True}, **options})
    wait_routed(server, name)
    server.client.call("start", sites=[name])


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    for kind in KINDS:
        make_site(front_server, kind, kind)
    make_site(front_server, "other")
    front_server.site("uncached", PAGES, env={"SITE": "uncached", "BROKEN": "/none"})
    wait_routed(front_server, "uncached")
    for kind in KINDS:
        wait_for(lambda kind=kind: visit(front_server, kind).headers.get("x-cache"), "the cache")  # type: ignore[misc]
    return front_server


def make_path(headers: Mapping[str, str] | list[tuple[str, str]] = KEEP, **more: str) -> str:
    """A path that nobody has asked for, to be answered with these headers."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    query = [("n", str(next(numbers))), *((f"h-{name}", value) for name, value in pairs), *more.items()]
    return f"/?{urlencode(query)}"


def visit(server: Server, site: str, path: str = "", method: str = "GET", **headers: str) -> Answer:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.get(site, path or make_path(), method=method, headers=given)


def way(answer: Answer) -> str:
    return answer.headers.get("x-cache", "")


def is_kept(server: Server, site: str, path: str, **headers: str) -> bool:
    """Whether a second visitor is not answered by the application."""
    first, second = visit(server, site, path, **headers), visit(server, site, path, **headers)
    if second.headers.get("x-cache") != "HIT":
        assert first.body != second.body or not first.body
        return False
    assert first.body == second.body
    return True


# --- what is kept --------------------------------------------------------------------------------------------------

LATER = formatdate(time.time() + 600, usegmt=True)
EARLIER = formatdate(time.time() - 600, usegmt=True)
ALLOWED = (
    {"Cache-Control": "max-age=600"},
    {"Cache-Control": "public, max-age=600"},
    {"Cache-Control": "s-maxage=600, max-age=0"},
    {"Expires": LATER},
    {"Cache-Control": "max-age=600", "ETag": '"1"', "Last-Modified": EARLIER},
)
NOT_ALLOWED: tuple[dict[str, str], ...] = (
    {},
    {"ETag": '"1"', "Last-Modified": EARLIER},
    {"Cache-Control": "private, max-age=600"},
    {"Cache-Control": 'private="X-Own", max-age=600'},
    {"Cache-Control": "max-age=600, no-store"},
    {"Cache-Control": "no-cache, max-age=600"},
    {"Cache-Control": "max-age=0"},
    {"Cache-Control": "max-age=600, s-maxage=0"},
    {"Cache-Control": "max-age=600, must-revalidate"},
    {"Cache-Control": "max-age=600, proxy-revalidate"},
    {"Expires": EARLIER},
    {"Expires": "0"},
    {"X-Accel-Expires": "600"},
    {**KEEP, "Set-Cookie": "a=b"},
    {**KEEP, "Vary": "*"},
    {**KEEP, "X-Accel-Buffering": "no"},
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_application_allows_is_kept(server: Server, kind: str) -> None:
    for headers in ALLOWED:
        assert is_kept(server, kind, make_path(headers)), headers
    for headers in NOT_ALLOWED:
        assert not is_kept(server, kind, make_path(headers)), headers
    for headers in ({"Cache-Control": "private"}, {"Set-Cookie": "a=b"}):
        assert not is_kept(server, kind, make_path([*KEEP.items(), *headers.items()]))
        assert not is_kept(server, kind, make_path([*headers.items(), *KEEP.items()]))


@pytest.mark.parametrize("kind", KINDS)
def test_statuses(server: Server, kind: str) -> None:
    for status in ("200 OK", "301 Moved", "302 Found", "404 Not Found", "410 Gone"):
        assert is_kept(server, kind, make_path(status=status)), status
    for status in ("206 Partial", "400 Bad", "401 Who", "403 No", "429 Many", "500 Broken", "503 Busy"):
        assert not is_kept(server, kind, make_path(status=status)), status


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_not_be_whole_is_not_kept(server: Server, kind: str) -> None:
    """Of an answer without a length nobody knows whether its end is missing."""
    assert not is_kept(server, kind, make_path(parts="1"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_answer_is_as_it_was(server: Server, kind: str) -> None:
    path = make_path(
        {**KEEP, "Content-Type": "text/x", "ETag": '"1"', "X-Own": "1", "X-Cache": "mine", "X-Hostel": "y"}
    )
    first, second = visit(server, kind, path), visit(server, kind, path)
    assert (way(first), way(second)) == ("MISS", "HIT")
    for answer in (first, second):
        assert answer.status == 200
        assert answer.body == first.body
        for name, value in (
            ("content-type", "text/x"),
            ("etag", '"1"'),
            ("x-own", "1"),
            ("cache-control", "max-age=600"),
        ):
            assert answer.headers[name] == value
        assert "x-hostel" not in answer.headers


def test_a_site_without_a_cache(server: Server) -> None:
    path = make_path()
    assert visit(server, "uncached", path).json()["run"] < visit(server, "uncached", path).json()["run"]
    assert "x-cache" not in visit(server, "uncached").headers
    assert (server.run_dir / "sites" / "uncached" / "plain").is_dir()


# --- who is answered from the cache --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_visitors_with_something_of_their_own_are_answered_by_the_application(server: Server, kind: str) -> None:
    """They get nothing from the cache, and leave nothing there."""
    own: list[dict[str, str]] = [
        {name: "x"} for name in TELLING_HEADERS if name not in ("Transfer-Encoding", "Upgrade")
    ]
    own += [
        {"Upgrade": "websocket"},
        {"Cookie": "sessionid=1"},
        {"Cookie": "_ga=1; sessionid=1"},
        {"Cookie": "csrftoken=1"},
    ]
    own += [{"Cookie": "_gax=1"}, {"Cookie": "x_ga=1"}, {"Cookie": "nonsense"}, {"Cookie": "a=1;_ga=2"}]
    own += [{"Cookie": "; ".join(["_ga=1"] * 41)}]
    for headers in own:
        path = make_path()
        before = visit(server, kind, path, **headers)
        assert way(before) == "BYPASS", headers
        assert way(visit(server, kind, path)) == "MISS", headers
        assert way(visit(server, kind, path)) == "HIT"
        after = visit(server, kind, path, **headers)
        assert way(after) == "BYPASS"
        assert after.body != before.body or "Upgrade" in headers


@pytest.mark.parametrize("kind", KINDS)
def test_cookies_in_two_lines_are_all_looked_at(server: Server, kind: str) -> None:
    for lines in ("Cookie: _ga=1\r\nCookie: sessionid=1", "Cookie: sessionid=1\r\nCookie: _ga=1"):
        request = f"GET {make_path()} HTTP/1.1\r\nHost: {kind}.localhost\r\nConnection: close\r\n{lines}\r\n\r\n"
        assert b"\r\nX-Cache: BYPASS\r\n" in server.raw(request.encode())


@pytest.mark.parametrize("kind", KINDS)
def test_cookies_of_statistics_do_not_matter(server: Server, kind: str) -> None:
    for cookie in (
        "_ga=GA1.2.3",
        "_ga=1; _ga_ABC=2; _gid=3",
        "_pk_id.1.fff=a=b; _fbp=fb.1",
        "__utma=1;__utmb=2",
        "_hjSession_1=",
    ):
        assert is_kept(server, kind, make_path(), Cookie=cookie), cookie
    # One answer for all of them, though they differ by such cookies; browsers are told that it depends on cookies.
    for vary in ("Cookie", "Accept-Encoding, cookie", "Cookie,Accept-Encoding"):
        path = make_path({**KEEP, "Vary": vary})
        first = visit(server, kind, path, Cookie="_ga=1")
        second = visit(server, kind, path)
        third = visit(server, kind, path, Cookie="_ga=2")
        assert [way(answer) for answer in (first, second, third)] == ["MISS", "HIT", "HIT"]
        assert way(visit(server, kind, path, Cookie="sessionid=1")) == "BYPASS"
        for answer in (first, second, third, visit(server, kind, path, Cookie="sessionid=1")):
            assert sorted(name.strip().lower() for name in answer.headers["vary"].split(",")) == sorted(
                name.strip().lower() for name in vary.split(",")
            )
            assert "x-hostel-vary" not in answer.headers
        assert "HTTP_X_HOSTEL_KEEP" not in first.json()["headers"]


def test_cookies_that_a_site_ignores(server: Server) -> None:
    make_site(server, "themed", cache={"on": True, "ignored_cookies": ["theme", "a.b"]})
    wait_for(lambda: way(visit(server, "themed")), "the cache")
    for cookie in ("theme=dark", "a.b=1; theme=x; _ga=1"):
        assert is_kept(server, "themed", make_path(), Cookie=cookie), cookie
        assert not is_kept(server, "other", make_path(), Cookie=cookie)
    for cookie in (
        "session=1",
        "theme=1; session=2",
        "session=2; theme=1",
        "themes=1",
        "them=1",
        "axb=1",
        "size=1",
        "a=,theme,",
    ):
        assert not is_kept(server, "themed", make_path(), Cookie=cookie), cookie
    make_site(server, "themed", cache={"on": True, "ignored_cookies": ["*"]})
    wait_for(lambda: way(visit(server, "themed", Cookie="session=1")) == "MISS", "the change")
    assert is_kept(server, "themed", make_path(), Cookie="session=1; other=2")
    assert not is_kept(server, "themed", make_path(), Authorization="Basic eDp5")


@pytest.mark.parametrize("kind", KINDS)
def test_other_methods_pass(server: Server, kind: str) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PURGE"):
        path = make_path()
        assert way(visit(server, kind, path, method)) == "BYPASS"
        assert visit(server, kind, path, method).json()["method"] == method
        assert way(visit(server, kind, path)) == "MISS"
        assert visit(server, kind, path, method).json()["method"] == method


@pytest.mark.parametrize("kind", KINDS)
def test_head_takes_from_the_cache_and_leaves_nothing(server: Server, kind: str) -> None:
    path = make_path()
    assert way(visit(server, kind, path, "HEAD")) == "MISS"
    page = visit(server, kind, path)
    assert (way(page), page.json()["method"]) == ("MISS", "GET")
    head = visit(server, kind, path, "HEAD")
    assert (way(head), head.headers["content-length"], head.body) == ("HIT", str(len(page.body)), b"")


@pytest.mark.parametrize("kind", KINDS)
def test_a_get_with_a_body_passes(server: Server, kind: str) -> None:
    """It could be answered by its body, which is not in the key."""
    path = make_path()
    for body in (b"abc", iter([b"ab", b"c"])):
        answer = server.get(kind, path, body=body)
        assert (way(answer), answer.json()["body"]) == ("BYPASS", "abc")
    assert visit(server, kind, path).json()["body"] == ""
    assert way(server.get(kind, path, headers={"Content-Length": "0"})) == "HIT"


# --- what an answer is found by ------------------------------------------------------------------------------------


def test_queries_hosts_and_ports_are_kept_apart(server: Server) -> None:
    server.site(
        "many", PAGES, env={"SITE": "many", "BROKEN": "/none"}, cache={"on": True}, domains=["one.test", "*.two.test"]
    )
    wait_routed(server, "many")
    path = make_path()
    answers = [
        visit(server, host, url, **headers).json()["run"]
        for host in ("one.test", "a.two.test", "b.two.test")
        for url in (path, f"{path}&", f"/{path}", path.replace("?", "?&"))
        for headers in ({}, {"Host": host})
    ]
    assert len(set(answers)) == len(answers)
    assert visit(server, "one.test", path).json()["host"] == f"one.test:{server.port}"
    assert visit(server, "one.test", path, Host="one.test").json()["host"] == "one.test"
    assert way(visit(server, "ONE.test", path)) == "HIT"


def test_headers_that_lie_about_the_host_are_not_believed(server: Server) -> None:
    for name in ("X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Original-Url", "X-Rewrite-Url", "Forwarded",
                 "X-Original-Host", "X-Real-Ip"):  # fmt: skip
        path = make_path()
        assert "evil" not in visit(server, "wsgi", path, **{name: "evil.example"}).text
        assert "evil" not in visit(server, "wsgi", path).text


def test_hop_by_hop_tricks(server: Server) -> None:
    """A client cannot have headers removed, or the Host exchanged, on the way of an answer that is kept."""
    path = make_path()
    for lines in ("Connection: close, Host\r\nHost: wsgi.localhost", "Connection: close, Accept\r\nHost: wsgi.localhost\r\nTE: x",
                  "Connection: close\r\nHost: wsgi.localhost\r\nKeep-Alive: evil\r\nProxy-Connection: evil"):  # fmt: skip
        answer = server.raw(f"GET {path} HTTP/1.1\r\n{lines}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"evil" not in answer
        assert b'"host": "wsgi.localhost"' in answer
    target = f"GET http://wsgi.localhost{path} HTTP/1.1\r\nHost: other.localhost\r\nConnection: close\r\n\r\n"
    answer = server.raw(target.encode())
    assert b'"site": "other"' not in answer


def test_vary(server: Server) -> None:
    for kind in KINDS:
        for vary in ([("Vary", "Accept-Language")], [("Vary", "Accept-Language"), ("Vary", "Accept")],
                     [("Vary", "Accept"), ("Vary", "Accept-Language")], [("Vary", "Accept, accept-language")]):  # fmt: skip
            path = make_path([*KEEP.items(), *vary])
            german = visit(server, kind, path, Accept_Language="de").json()
            english = visit(server, kind, path, Accept_Language="en").json()
            assert german["headers"]["HTTP_ACCEPT_LANGUAGE"] == "de"
            assert english["headers"]["HTTP_ACCEPT_LANGUAGE"] == "en", (kind, vary)
            again = visit(server, kind, path, Accept_Language="de")
            assert (way(again), again.json()) == ("HIT", german)


def test_a_domain_takes_nothing_along_when_it_moves(server: Server) -> None:
    def sites(first: list[str], second: list[str]) -> None:
        for name, domains in (("before", first), ("after", second)):
            env = {"SITE": name, "BROKEN": "/none"}
            server.site(name, PAGES, env=env, cache={"on": True}, domains=domains)
        wait_routed(server, "before", "after")

    path = make_path()
    sites(["moving.test"], ["after.test"])
    wait_for(lambda: visit(server, "moving.test", path).status == 200, "the domain")
    assert is_kept(server, "moving.test", path)
    sites(["before.test"], ["moving.test", "after.test"])
    wait_for(
        lambda: visit(server, "moving.test").status == 200 and visit(server, "moving.test").json()["site"] == "after",
        "the move",
    )
    answer = visit(server, "moving.test", path)
    assert (way(answer), answer.json()["site"]) == ("MISS", "after")


def test_a_site_of_the_same_name_begins_anew(server: Server) -> None:
    make_site(server, "again")
    path = make_path()
    wait_for(lambda: is_kept(server, "again", path), "the cache")
    server.client.call("remove", sites=["again"])
    make_site(server, "again")
    wait_for(lambda: visit(server, "again").status == 200, "the site")
    assert way(visit(server, "again", path)) == "MISS"


# --- conditions and ranges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_conditions(server: Server, kind: str) -> None:
    """Of a kept answer the front knows whether it has changed; for any other the application is asked as the client asked."""
    for keep in (KEEP, {}):
        path = make_path({**keep, "ETag": '"1"'})
        early = visit(server, kind, path, If_None_Match='"1"')
        assert (early.status, way(early), early.body) == (304, "MISS", b"")
        page = visit(server, kind, path)
        assert (page.status, way(page)) == (200, "MISS")
        same = visit(server, kind, path, If_None_Match='"1"')
        assert (same.status, way(same), same.body) == (304, "HIT" if keep else "MISS", b"")
        other = visit(server, kind, path, If_None_Match='"2"')
        assert (other.status, way(other)) == (200, "HIT" if keep else "MISS")
    assert set(CONDITIONS) >= {"If-None-Match", "If-Modified-Since", "Range"}


@pytest.mark.parametrize("kind", KINDS)
def test_ranges(server: Server, kind: str) -> None:
    path = make_path({**KEEP, "Accept-Ranges": "bytes"})
    early = visit(server, kind, path, Range="bytes=0-4")
    assert (early.status, way(early)) == (200, "MISS")
    assert early.json()["headers"]["HTTP_RANGE"] == "bytes=0-4"
    page = visit(server, kind, path)
    part = visit(server, kind, path, Range="bytes=2-5")
    assert (part.status, way(part), part.body) == (206, "HIT", page.body[2:6])
    assert visit(server, kind, path).body == page.body


# --- one at a time, and old answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_one_visitor_at_a_time_asks_for_what_all_want(server: Server, kind: str) -> None:
    site = f"crowd-{kind}"  # of its own, without a memory of answers that were not kept
    make_site(server, site, kind)
    wait_for(lambda: way(visit(server, site)), "the cache")
    go = server.projects / f"go-{kind}"
    path = make_path(wait=str(go))
    with ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(visit, server, site, path) for _ in range(12)]
        wait_for(lambda: server.view(site)["workers"][0]["busy"], "the first to be asked")
        go.touch()
        assert len({answer.result().json()["run"] for answer in answers}) == 1
        assert sorted({way(answer.result()) for answer in answers}) == ["HIT", "MISS"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("headers", [{}, {**KEEP, "Set-Cookie": "a=b"}, {"Cache-Control": "private, max-age=600"}])
def test_nobody_waits_for_what_is_not_kept(server: Server, kind: str, headers: dict[str, str]) -> None:
    go = server.projects / f"go-{next(numbers)}"
    path = make_path(headers, wait=str(go))
    go.touch()
    visit(server, kind, path)
    marks = server.run_dir / "tmp" / "unkept"
    wait_for(lambda: any(mark.name.startswith(f"{kind}.") for mark in marks.iterdir()), "the front to remember it")
    go.unlink()
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(visit, server, kind, path) for _ in range(4)]
        wait_for(lambda: server.view(kind)["workers"][0]["busy"] == 4, "all of them to be asked")
        go.touch()
        assert {way(answer.result()) for answer in answers} == {"MISS"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_old_answer_is_shown_while_a_new_one_is_fetched(server: Server, kind: str) -> None:
    go = server.projects / f"renew-{kind}"
    go.touch()
    path = make_path({"Cache-Control": "max-age=1"}, wait=str(go))
    first = visit(server, kind, path)
    go.unlink()
    stale = wait_for(lambda: (a := visit(server, kind, path)) and way(a) != "HIT" and a, "its time to be over")
    assert stale
    assert (way(stale), stale.body) == ("STALE", first.body)
    assert way(visit(server, kind, path)) in ("STALE", "UPDATING")
    go.touch()
    wait_for(lambda: visit(server, kind, path).body != first.body, "the new answer")


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_answer_does_not_wake_its_site(server: Server, kind: str) -> None:
    site = f"sleepy-{kind}"
    make_site(server, site, kind, workers={"max": 1, "idle": "200ms"})
    path = make_path({**KEEP, "ETag": '"1"'})
    wait_for(lambda: way(visit(server, site)), "the cache")
    visit(server, site, path)
    server.wait_state(site, "cold")
    for _ in range(3):
        assert way(visit(server, site, path)) == "HIT"
        assert way(visit(server, site, path, "HEAD")) == "HIT"
        assert visit(server, site, path, If_None_Match='"1"').status == 304
    assert server.state(site) == "cold"
    assert visit(server, site).status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_site_shows_what_it_had(server: Server, kind: str) -> None:
    """While it raises, and when it does not even start; a site that was stopped shows nothing."""
    site = f"failing-{kind}"
    make_site(server, site, kind)
    path, old = make_path(), make_path({"Cache-Control": "max-age=1"})
    wait_for(lambda: way(visit(server, site)), "the cache")
    page, old_page = visit(server, site, path), visit(server, site, old)
    broken = server.projects / f"{site}-broken"
    broken.touch()
    assert visit(server, site).status == 500
    wait_for(lambda: way(visit(server, site, old)) != "HIT", "its time to be over")
    assert visit(server, site, old).body == old_page.body
    server.write(f"{site}/app.py", "raise RuntimeError('does not start')")
    os.kill(server.workers(site)[0], signal.SIGKILL)
    wait_for(lambda: visit(server, site) and server.state(site) == "failed", "the site to fail")
    assert (way(visit(server, site, path)), visit(server, site, path).body) == ("HIT", page.body)
    assert (way(visit(server, site, old)), visit(server, site, old).body) == ("STALE", old_page.body)
    assert visit(server, site, path, "HEAD").status == 200
    unkept = visit(server, site)
    assert unkept.status == 503
    assert "does not start" in unkept.text
    assert visit(server, site, path, "POST").status == 503
    server.client.call("stop", sites=[site])
    assert visit(server, site, path).status == 503


@pytest.mark.parametrize("kind", KINDS)
def test_new_code_has_new_answers(server: Server, kind: str) -> None:
    """From the moment on when it serves; what does not start leaves the old ones."""
    site = f"deployed-{kind}"
    make_site(server, site, kind)
    path = make_path()
    wait_for(lambda: way(visit(server, site)), "the cache")
    visit(server, site, path)
    server.write(f"{site}/app.py", "raise RuntimeError('does not start')")
    server.client.call("reload", sites=[site])
    assert way(visit(server, site, path)) == "HIT"
    server.write(f"{site}/app.py", KINDS[kind])
    server.client.call("reload", sites=[site])
    wait_for(lambda: way(visit(server, site, path)) == "MISS", "the old ones to go")
    assert way(visit(server, site, path)) == "HIT"
    make_site(server, site, kind, cache={"on": True, "size": "1M"})
    assert way(visit(server, site, path)) == "HIT"
    make_site(server, site, kind, limits={"queue": "4s"})  # takes new workers
    wait_for(lambda: way(visit(server, site, path)) == "MISS", "the old ones to go")
    assert way(visit(server, site, path)) == "HIT"
    server.client.call("stop", sites=[site])
    server.client.call("start", sites=[site])
    assert way(visit(server, site, path)) == "MISS"


def test_an_answer_that_breaks_off_is_not_kept(server: Server) -> None:
    code = """
    import os
    def application(environ, start_response):
        start_response("200 OK", [("Cache-Control", "max-age=600"), ("Content-Length", "100000")])
        yield b"x" * 50000
        if environ["QUERY_STRING"] == "kill":
            os.kill(os.getpid(), 9)
        raise RuntimeError
    """
    code_asgi = """
    import os
    async def application(scope, receive, send):
        headers = [(b"cache-control", b"max-age=600"), (b"content-length", b"100000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * 50000, "more_body": True})
        if scope["query_string"] == b"kill":
            os.kill(os.getpid(), 9)
        raise RuntimeError
    """
    for site, its_code in (("breaks", code), ("breaks-asgi", code_asgi)):
        server.site(site, its_code, cache={"on": True}, workers={"max": 1})
        wait_routed(server, site)
        server.client.call("start", sites=[site])
        for query in ("kill", "raise"):
            for _ in range(2):
                request = f"GET /?{query} HTTP/1.1\r\nHost: {site}.localhost\r\nConnection: close\r\n\r\n"
                answer = server.raw(request.encode())
                assert b"X-Cache: HIT" not in answer
                assert b"X-Cache: MISS" in answer or answer.startswith(b"HTTP/1.1 502")


def test_streams_are_not_held_back(server: Server) -> None:
    code = """
    import os, time
    def application(environ, start_response):
        start_response("200 OK", [("Cache-Control", "max-age=600"), ("X-Accel-Buffering", "no")])
        yield b"first"
        while not os.path.exists(os.environ["GO"]):
            time.sleep(0.01)
        yield b"second"
    """
    go = server.projects / "stream-go"
    server.site("stream", code, cache={"on": True}, env={"GO": str(go)})
    wait_routed(server, "stream")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/", headers={"Host": "stream.localhost"})
    response = connection.getresponse()
    assert response.read(5) == b"first"
    go.touch()
    assert response.read() == b"second"
    connection.close()


# --- what is said about it -----------------------------------------------------------------------------------------


def test_the_access_log_says_where_an_answer_came_from(server: Server) -> None:
    path = make_path()
    for _ in range(2):
        visit(server, "wsgi", path)
    visit(server, "wsgi", path, Cookie="session=1")
    lines = wait_for(
        lambda: (
            len(found := [line for line in server.log("wsgi", "access.log").splitlines() if path in line]) == 3
            and found
        ),
        "the lines",
    )
    assert lines
    assert [line.rpartition(" ")[2] for line in lines] == ["cache=MISS", "cache=HIT", "cache=BYPASS"]
    assert " worker=- " not in lines[0]
    assert " queue=- worker=- " in lines[1]
    visit(server, "uncached", path)
    wait_for(lambda: f"{path} HTTP/1.1" in server.log("uncached", "access.log"), "the line")
    assert server.log("uncached", "access.log").endswith(" cache=-\n")
