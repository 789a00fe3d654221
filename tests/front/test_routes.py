"""Domains that come, move and go: at once, without a reload of nginx, and without harm to anybody else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.conftest import MakeServer
from tests.front.applications import ECHO_ASGI, says, wait_routed, within_a_second
from tests.support.server import Server, descendants_of, wait_for


def front_pids(server: Server) -> set[int]:
    front = server.status()["server"]["front"]
    return {front, *descendants_of(front)}


@contextlib.contextmanager
def visitors(server: Server, site: str) -> Iterator[list[str]]:
    """Visitors of a site, one after another, as long as the block lasts; what was not its answer is in the list."""
    wrong: list[str] = []
    is_over = threading.Event()
    visits = 0

    def visit() -> None:
        nonlocal visits
        while not is_over.is_set():
            try:
                answer = server.get(site)
                if answer.status != 200 or not answer.text.startswith(site):
                    wrong.append(f"{answer.status} {answer.text}")
            except OSError as error:
                wrong.append(repr(error))
            visits += 1

    threads = [threading.Thread(target=visit) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
        before = visits
        wait_for(lambda: visits > before + 2, "more visits")
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    for name in ("bystander", "first", "second"):
        front_server.site(name, says(name), domains=[f"{name}.localhost"])
    wait_routed(front_server, "bystander", "first", "second")
    for name in ("bystander", "first", "second"):
        assert front_server.get(name).status == 200
    return front_server


@pytest.mark.parametrize(
    ("domain", "asked"), [("moving.example", "moving.example"), ("*.example", "a.example"), ("*", "x.y")]
)
def test_a_domain_comes_moves_and_goes(server: Server, domain: str, asked: str) -> None:
    pids = front_pids(server)

    def answer_of(asked: str) -> str:
        answer = server.get(asked)
        return "nobody" if answer.status == 404 else answer.text.split()[0]

    assert answer_of(asked) == "nobody"
    with visitors(server, "bystander") as wrong:
        server.site("first", says("first"), domains=["first.localhost", domain])
        within_a_second(lambda: answer_of(asked) == "first", "the domain to be there")

        # The one who has it keeps it, until it is taken from him.
        server.site("second", says("second"), domains=["second.localhost", domain])
        wait_for(lambda: server.view("second")["problems"], "the second to be told")
        assert answer_of(asked) == "first"
        server.site("first", says("first"), domains=["first.localhost"])
        within_a_second(lambda: answer_of(asked) == "second", "the domain to move")
        assert server.view("second")["problems"] == []

        server.site("second", says("second"), domains=["second.localhost"])
        within_a_second(lambda: answer_of(asked) == "nobody", "the domain to go")
    assert wrong == []
    assert answer_of("first.localhost") == "first"
    assert front_pids(server) == pids


def test_a_domain_on_the_move_always_has_an_answer(server: Server) -> None:
    """The two sites are asked while the domain goes to and fro, by two renames in the tree: nobody gets a 404 or a 502."""
    server.site("first", says("first"), domains=["first.localhost", "fro.example"])
    within_a_second(lambda: server.get("fro.example").status == 200, "the domain to be there")
    answers: set[str] = set()
    failures = []
    is_over = threading.Event()

    def visit() -> None:
        while not is_over.is_set():
            answer = server.get("fro.example")
            answers.add(answer.text.split()[0])
            if answer.status != 200:
                failures.append(answer)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        for turn in range(10):
            here, there = ("first", "second") if turn % 2 == 0 else ("second", "first")
            server.site(there, says(there), domains=[f"{there}.localhost", "fro.example"])
            wait_for(lambda there=there: server.view(there)["problems"], f"{there} to be told")  # type: ignore[misc]
            server.site(here, says(here), domains=[f"{here}.localhost"])
            wait_for(lambda there=there: "fro.example" in server.view(there)["domains"], f"{there} to have it")  # type: ignore[misc]
    finally:
        is_over.set()
        thread.join()
    assert failures == []
    assert answers == {"first", "second"}
    server.site("first", says("first"), domains=["first.localhost"])


def test_a_site_comes_changes_its_kind_and_goes(server: Server) -> None:
    """WSGI, ASGI, files only, and back: each visitor gets the answer of the new kind, the others notice nothing."""
    pids = front_pids(server)
    (server.projects / "kinds").mkdir(exist_ok=True)
    server.write("kinds/page.html", "a page")
    domain = "kinds.example"
    with visitors(server, "bystander") as wrong:
        for _ in range(2):
            server.site("kinds", says("kinds"), domains=[domain])
            within_a_second(lambda: server.get(domain).text.startswith("kinds"), "a WSGI site")
            assert server.get(domain, "/page.html").text.startswith("kinds")

            server.write("kinds/other.py", ECHO_ASGI)
            server.site("kinds", app="other:application", domains=[domain])
            within_a_second(lambda: '"scheme"' in server.get(domain).text, "an ASGI site")
            assert server.get(domain, "/", method="POST", body=b"x" * 100_000).json()["body"] == "x" * 100_000

            server.site("kinds", domains=[domain], static={"/": "."})
            within_a_second(lambda: server.get(domain, "/page.html").text == "a page", "a site of files")
            wait_for(lambda: server.get(domain, "/none").status == 404, "the application to be gone")
        server.site("kinds", says("kinds"), domains=[domain])
        within_a_second(lambda: server.get(domain, "/page.html").text.startswith("kinds"), "a WSGI site again")
        (server.sites / "kinds.toml").unlink()
        within_a_second(lambda: server.get(domain).status == 404, "no site")
    assert wrong == []
    assert front_pids(server) == pids


def test_what_an_earlier_server_left_is_not_believed(make_server: MakeServer) -> None:
    """After a power failure the run tree is what it was; a route, a closed door or a mark of then means nothing now."""
    server = make_server()
    server.site("site", says("site"))
    tree = server.run_dir
    for folder in ("sites/site/files.1.1/usual", "sites/gone", "hosts", "wild", "tmp"):
        (tree / folder).mkdir(parents=True)
    for mark in ("asgi", "static", "closed.html"):
        (tree / "sites/site" / mark).write_text("old")
    (tree / "sites/site/files.1.1/usual/old").symlink_to("/etc")
    (tree / "sites/site/www").symlink_to("files.1.1")
    for host, site in (("old.example", "site"), ("gone.example", "gone"), ("site.localhost", "gone")):
        (tree / "hosts" / host).symlink_to(f"../sites/{site}")
    (tree / "default").symlink_to("sites/site")
    (tree / "new").symlink_to("sites/site")
    server.start()
    assert server.get("site").text.startswith("site")
    assert server.get("site", "/old/hostname").text.startswith("site")
    for host in ("old.example", "gone.example", "any.example"):
        assert server.get(host).status == 404
    assert server.stop() == 0


def test_nobody_is_led_to_https_where_there_is_none(server: Server) -> None:
    server.site("unsafe", says("unsafe"), tls={"redirect": True})
    within_a_second(lambda: server.get("unsafe").status == 200, "the site")
    (problem,) = server.view("unsafe")["problems"]
    assert (problem["where"], problem["hint"]) == ("tls.redirect", "start it with --listen-tls")
    (server.sites / "unsafe.toml").unlink()
