"""Adding, changing and removing site files, and code in development: at once, for nobody else, without losing a request."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeServer
from tests.support.server import Answer, Server, make_folder, wait_for

SOON = 3.0  # for what should take effect within a second, on a busy machine
HELLO = """
    import os, time
    def application(environ, start_response):
        if environ["PATH_INFO"] == "/slow":
            time.sleep(3)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{os.environ.get('WORD', 'hello')} {os.getpid()}".encode()]
"""


def timed(what: str, condition: Callable[[], Any], seconds: float = SOON) -> None:
    """Wait for something and say how long it took."""
    began = time.monotonic()
    wait_for(condition, what, seconds)
    print(f"{what}: after {time.monotonic() - began:.2f} s")


def word(server: Server, name: str) -> str:
    return server.get(name).text.partition(" ")[0]


def state_of(server: Server, name: str) -> tuple[Any, ...]:
    """What a change of another site must not change."""
    view = server.view(name)
    return (view["generation"], [worker["pid"] for worker in view["workers"]], view["since"], view["problems"])


@pytest.fixture
def neighbour(shared_server: Server) -> Iterator[Server]:
    """The shared server with a running site; whatever the test does must not touch it."""
    if not shared_server.view("neighbour"):
        shared_server.site("neighbour", HELLO, workers={"min": 1, "max": 1})
        wait_for(lambda: shared_server.state("neighbour") == "serving")
    before = state_of(shared_server, "neighbour")
    yield shared_server
    assert state_of(shared_server, "neighbour") == before
    assert shared_server.get("neighbour").status == 200


def test_an_added_site_is_served_within_a_second(neighbour: Server) -> None:
    assert neighbour.get("added").status == 404
    neighbour.site("added", HELLO)
    timed("added", lambda: neighbour.get("added").status == 200)


def test_a_removed_site_is_gone_within_a_second(neighbour: Server) -> None:
    path = neighbour.site("going", HELLO)
    wait_for(lambda: neighbour.get("going").status == 200)
    (pid,) = neighbour.workers("going")
    path.unlink()
    timed("removed", lambda: neighbour.get("going").status == 404)
    wait_for(lambda: not neighbour.view("going"), "the status to forget it")
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "its worker to go")
    assert not (neighbour.run_dir / "sites" / "going").exists()
    assert not (neighbour.run_dir / "hosts" / "going.localhost").is_symlink()


def test_a_changed_site_is_changed_within_a_second(neighbour: Server) -> None:
    neighbour.site("changing", HELLO, env={"WORD": "one"})
    wait_for(lambda: neighbour.get("changing").status == 200)
    assert word(neighbour, "changing") == "one"
    neighbour.site("changing", env={"WORD": "two"}, app="app:application")
    timed("changed", lambda: word(neighbour, "changing") == "two")
    assert neighbour.view("changing")["generation"] == 2


ROUTES: dict[str, dict[str, Any]] = {
    "domains": {"domains": ["routes.localhost", "more.example"]},
    "static": {"static": {"/files/": "."}},
    "workers": {"workers": {"min": 1, "max": 3, "idle": "1h"}},
    "start": {"limits": {"start": "9s"}},
}
CODE: dict[str, dict[str, Any]] = {
    "env": {"env": {"WORD": "new"}},
    "app": {"app": "app:application.__call__"},
    "threads": {"workers": {"threads": 2}},
    "queue": {"limits": {"queue": "9s"}},
    "interface": {"interface": "wsgi"},
}


@pytest.mark.parametrize("change", list(ROUTES))
def test_a_change_that_means_nothing_to_workers_makes_no_new_ones(neighbour: Server, change: str) -> None:
    neighbour.site("routes", HELLO)
    wait_for(lambda: neighbour.get("routes").status == 200)
    before = state_of(neighbour, "routes")
    neighbour.site("routes", app="app:application", **ROUTES[change])
    if change == "domains":
        timed("routed", lambda: neighbour.get("more.example").status == 200)
    elif change == "static":
        timed("mapped", lambda: "def application" in neighbour.get("routes", "/files/app.py").text)
    else:
        time.sleep(1)
    assert state_of(neighbour, "routes") == before
    (neighbour.sites / "routes.toml").unlink()
    wait_for(lambda: not neighbour.view("routes"))


@pytest.mark.parametrize("change", list(CODE))
def test_a_change_that_workers_are_made_of_makes_a_new_generation(neighbour: Server, change: str) -> None:
    neighbour.site("coded", HELLO)
    wait_for(lambda: neighbour.get("coded").status == 200)
    generation = neighbour.view("coded")["generation"]
    (pid,) = neighbour.workers("coded")
    neighbour.site("coded", **{"app": "app:application", **CODE[change]})
    wait_for(lambda: neighbour.view("coded")["generation"] == generation + 1, "the next generation", SOON)
    wait_for(lambda: neighbour.workers("coded") not in ([pid], []), "its worker")
    assert neighbour.get("coded").status == 200
    (neighbour.sites / "coded.toml").unlink()
    wait_for(lambda: not neighbour.view("coded"))


def test_touching_a_file_changes_nothing(neighbour: Server) -> None:
    path = neighbour.site("touched", HELLO)
    wait_for(lambda: neighbour.get("touched").status == 200)
    before = state_of(neighbour, "touched")
    os.utime(path)
    path.write_text("# a comment\n" + path.read_text())
    path.chmod(0o600)
    time.sleep(1)
    assert state_of(neighbour, "touched") == before


@pytest.mark.slow
@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_changes_never_interrupt_a_request(neighbour: Server, interface: str) -> None:
    """A request of 3 seconds runs while its site's file is changed, changed again, and removed."""
    asgi = """
        import asyncio, os
        async def application(scope, receive, send):
            if scope["type"] != "http":
                return
            if scope["path"] == "/slow":
                await asyncio.sleep(3)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": f"hello {os.getpid()}".encode()})
    """
    name = f"busy-{interface}"
    neighbour.site(name, HELLO if interface == "wsgi" else asgi)
    wait_for(lambda: neighbour.get(name).status == 200)
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(neighbour.get, name, "/slow")]
        (pid,) = neighbour.workers(name)
        wait_for(lambda: neighbour.view(name)["workers"][0]["busy"], "the request to run")
        neighbour.site(name, app="app:application", env={"A": "1"})
        wait_for(lambda: neighbour.workers(name) not in ([], [pid]), "the next generation")
        running.append(pool.submit(neighbour.get, name, "/slow"))
        wait_for(lambda: sum(worker["busy"] for worker in neighbour.view(name)["workers"]) == 2, "both requests to run")
        neighbour.site(name, app="app:application", env={"A": "2"})
        wait_for(lambda: len(neighbour.view(name)["workers"]) == 3, "the third generation")
        (neighbour.sites / f"{name}.toml").unlink()
        wait_for(lambda: neighbour.get(name).status == 404, "the site to be removed", SOON)
        answers: list[Answer] = [one.result() for one in running]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].text == f"hello {pid}"
    assert all(answer.seconds > 2.9 for answer in answers)
    wait_for(lambda: not neighbour.view(name), "the removed site to end")


def test_a_removed_site_that_comes_back_while_it_still_answers(neighbour: Server) -> None:
    path = neighbour.site("back", HELLO)
    wait_for(lambda: neighbour.get("back").status == 200)
    content = path.read_text()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(neighbour.get, "back", "/slow")
        wait_for(lambda: neighbour.view("back")["workers"][0]["busy"], "the request to run")
        path.unlink()
        wait_for(lambda: neighbour.state("back") == "draining", "the site to be removed", SOON)
        assert neighbour.get("back").status == 404
        path.write_text(content)
        timed("back", lambda: neighbour.get("back").status == 200)
        assert not running.done()
        assert running.result().status == 200


def test_who_waits_in_the_queue_of_a_removed_site_is_answered_at_once(neighbour: Server) -> None:
    path = neighbour.site("queued", HELLO, workers={"max": 1})
    wait_for(lambda: neighbour.get("queued").status == 200)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(neighbour.get, "queued", "/slow")
        wait_for(lambda: neighbour.view("queued")["workers"][0]["busy"], "the request to run")
        waiting = [pool.submit(neighbour.get, "queued") for _ in range(5)]
        time.sleep(0.2)
        path.unlink()
        answers = [one.result() for one in waiting]
        assert not running.done()
        assert running.result().status == 200
    assert {answer.status for answer in answers} == {404}
    assert {"There is nothing here" in answer.text for answer in answers} == {True}


@pytest.mark.slow
def test_removal_and_return_in_quick_succession(neighbour: Server) -> None:
    """At any pace between what the server notices and what it does not."""
    path = neighbour.site("blinking", HELLO)
    content = path.read_text()
    wait_for(lambda: neighbour.get("blinking").status == 200)
    stop = threading.Event()
    answers: list[int] = []

    def visit() -> None:
        while not stop.is_set():
            answers.append(neighbour.get("blinking").status)

    with ThreadPoolExecutor() as pool:
        visiting: list[Future[None]] = [pool.submit(visit) for _ in range(2)]
        for round_ in range(40):
            path.unlink()
            time.sleep(round_ % 8 * 0.02)
            path.write_text(content)
            time.sleep(round_ % 5 * 0.04)
        wait_for(lambda: neighbour.get("blinking").status == 200)
        stop.set()
        for one in visiting:
            one.result()
    print(f"{len(answers)} answers: {[(status, answers.count(status)) for status in sorted(set(answers))]}")
    assert set(answers) <= {200, 404, 503}  # 503: who came just before the removal
    assert neighbour.view("blinking")["problems"] == []
    wait_for(lambda: len(neighbour.view("blinking")["workers"]) <= 1, "old workers to go")


def test_renaming_a_file_moves_the_site(neighbour: Server) -> None:
    path = neighbour.site("before", HELLO, domains=["moving.example"])
    wait_for(lambda: neighbour.get("moving.example").status == 200)
    path.rename(neighbour.sites / "after.toml")
    wait_for(lambda: neighbour.view("after") and not neighbour.view("before"), "the site to move", SOON)
    assert neighbour.get("moving.example").status == 200


@pytest.mark.slow
def test_three_hundred_files_at_once(make_server: MakeServer) -> None:
    server = make_server()
    server.site("neighbour", HELLO)
    server.write("many/app.py", HELLO)
    server.start()
    assert server.get("neighbour").status == 200
    before = state_of(server, "neighbour")
    content = f'app = "app:application"\ndirectory = "{server.projects}/many"\n'

    def write(suffix: str) -> None:
        for number in range(300):
            server.site_file(f"many-{number}", content + suffix)

    write("")
    timed("300 added", lambda: len(server.status()["sites"]) == 301, 10)
    assert server.get("many-0").status == server.get("many-299").status == 200
    write("[static]\n'/files/' = '.'\n")
    timed("300 changed", lambda: all(server.get(f"many-{n}", "/files/app.py").status == 200 for n in (0, 150, 299)), 10)
    assert server.view("many-0")["generation"] == 1
    for number in range(300):
        (server.sites / f"many-{number}.toml").unlink()
    timed("300 removed", lambda: len(server.status()["sites"]) == 1, 10)
    assert server.get("many-299").status == 404
    assert state_of(server, "neighbour") == before


def test_a_static_site_becomes_an_application_and_back(neighbour: Server) -> None:
    neighbour.site("mixed", static={"/": "."})
    neighbour.write("mixed/index.html", "static")
    wait_for(lambda: neighbour.get("mixed").text == "static", "the page", SOON)
    neighbour.site("mixed", HELLO)
    wait_for(lambda: word(neighbour, "mixed") == "hello", "the application", SOON)
    neighbour.site("mixed", static={"/": "."})
    wait_for(lambda: neighbour.get("mixed").text == "static", "the page again", SOON)
    wait_for(lambda: not neighbour.view("mixed")["workers"], "its workers to go")


# --- code in development: --reload ------------------------------------------------------------------------------------

PAGE = """
    from words import WORD
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [WORD.encode()]
"""
ASGI_PAGE = """
    from words import WORD
    async def application(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": WORD.encode()})
"""


@pytest.fixture(scope="module")
def developing() -> Iterator[Server]:
    """A server with ``--reload``."""
    server = Server(make_folder(), arguments=("--reload",))
    try:
        yield server.start()
    finally:
        try:
            server.stop()
        finally:
            server.kill()
            shutil.rmtree(server.folder, ignore_errors=True)


def set_word(server: Server, name: str, text: str) -> Path:
    return server.write(f"{name}/words.py", f"WORD = {text!r}\n")


@pytest.mark.parametrize(("name", "code"), [("wsgi", PAGE), ("asgi", ASGI_PAGE)])
def test_changed_code_is_served_from_the_next_second_on(developing: Server, name: str, code: str) -> None:
    developing.write(f"{name}/words.py", "WORD = 'one'\n")
    developing.site(name, code)
    wait_for(lambda: developing.get(name).status == 200)
    assert developing.get(name).text == "one"
    for text in ("second", "third"):  # each as long as the other cannot be told apart by its size
        set_word(developing, name, text)
        timed(f"{name}: changed code", lambda text=text: developing.get(name).text == text)  # type: ignore[misc]


@pytest.mark.parametrize(("name", "code"), [("quick-wsgi", PAGE), ("quick-asgi", ASGI_PAGE)])
def test_a_change_within_a_second_that_keeps_the_size_is_seen(developing: Server, name: str, code: str) -> None:
    """Python's bytecode cache takes a source of the same size and second for the one that it has compiled."""
    folder = developing.projects / name
    folder.mkdir()
    folder.chmod(0o777)  # the site's user may write the cache
    second = time.time_ns() // 10**9 * 10**9 - 10**10
    for text in ("one", "two", "six"):
        path = developing.write(f"{name}/words.new", f"WORD = {text!r}\n")
        os.utime(path, ns=(second, second))
        path.rename(folder / "words.py")
        if text == "one":
            developing.site(name, code)
        timed(f"{name}: changed code", lambda text=text: developing.get(name).text == text)  # type: ignore[misc]
    assert not list(folder.rglob("__pycache__"))


def test_code_in_a_folder_that_is_new_is_watched_too(developing: Server) -> None:
    set_word(developing, "growing", "small")
    developing.site("growing", PAGE)
    wait_for(lambda: developing.get("growing").status == 200)
    developing.write("growing/deep/er/__init__.py", "TEXT = 'first'\n")
    developing.write("growing/words.py", "from deep.er import TEXT as WORD\n")
    timed("moved", lambda: developing.get("growing").text == "first")
    developing.write("growing/deep/er/__init__.py", "TEXT = 'other'\n")
    timed("changed deep down", lambda: developing.get("growing").text == "other")
    os.rename(developing.projects / "growing/deep/er", developing.projects / "growing/deep/est")
    developing.write("growing/words.py", "from deep.est import TEXT as WORD\n")
    developing.write("growing/deep/est/__init__.py", "TEXT = 'third'\n")
    timed("changed in a renamed folder", lambda: developing.get("growing").text == "third")


@pytest.mark.parametrize(
    "broken", ["WORD = 'x\n", "raise RuntimeError('broken')\n", "import no_such_module\n", "raise SystemExit(3)\n", ""]
)
def test_a_broken_change_leaves_the_old_version_serving(developing: Server, broken: str) -> None:
    set_word(developing, "breaking", "old")
    developing.site("breaking", PAGE)
    wait_for(lambda: developing.get("breaking").status == 200)
    # Who answers may be a worker of which the manager does not know yet that it is ready: no reason to keep it.
    developing.client.call("reload", sites=["breaking"])
    wait_for(lambda: developing.get("breaking").text == "old")
    developing.write("breaking/words.py", broken)
    wait_for(lambda: developing.view("breaking")["problems"], "the problem")
    (problem,) = developing.view("breaking")["problems"]
    assert problem["step"] == "import"
    assert problem["traceback"]
    assert developing.view("breaking")["state"] == "serving"
    assert developing.get("breaking").text == "old"  # this is what the browser goes on to see
    set_word(developing, "breaking", "new")
    timed("mended", lambda: developing.get("breaking").text == "new")
    wait_for(lambda: not developing.view("breaking")["problems"], "the problem to go")


def test_what_running_leaves_behind_reloads_nothing(developing: Server) -> None:
    developing.site(
        "messy",
        """
        import os, pathlib, sqlite3, sys
        HERE = pathlib.Path(__file__).parent / "data"
        def application(environ, start_response):
            with sqlite3.connect(HERE / "db.sqlite3") as db:
                db.execute("CREATE TABLE IF NOT EXISTS t (x)")
                db.execute("INSERT INTO t VALUES (1)")
            with (HERE / "app.log").open("a") as log:
                log.write("visited\\n")
            (HERE / "cache.json").write_text("{}")
            (HERE / "upload.png").write_bytes(b"x")
            (HERE / "report.html").write_text("x")
            (HERE / "__pycache__").mkdir(exist_ok=True)
            (HERE / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"x")
            (HERE / "node_modules").mkdir(exist_ok=True)
            (HERE / "node_modules" / "setup.py").write_text("")
            (HERE / f"upload-{os.urandom(3).hex()}").mkdir()
            start_response("200 OK", [])
            return [b"done"]
        """,
    )
    data = developing.projects / "messy" / "data"
    data.mkdir()
    data.chmod(0o777)
    for _ in range(5):
        wait_for(lambda: developing.get("messy").text == "done")
        time.sleep(0.3)
    assert developing.view("messy")["generation"] == 1
    with sqlite3.connect(data / "db.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (5,)
    database.close()


TEMPLATES = """
    import flask, jinja2
    app = application = flask.Flask(__name__)
    app.jinja_loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader("templates"), jinja2.FileSystemLoader("parts")])
    app.add_url_rule("/<path:name>", view_func=lambda name: flask.render_template(name))
"""


@pytest.mark.parametrize("name", ["templates/page.html", "parts/deep/page.jinja2", "templates/mail.txt"])
def test_a_changed_template_is_served_from_the_next_second_on(developing: Server, name: str) -> None:
    url = f"/{name.partition('/')[2]}"
    developing.write(f"templated/{name}", "one {{ 1 + 1 }}")
    developing.site("templated", TEMPLATES)
    wait_for(lambda: developing.get("templated", url).text == "one 2")
    developing.write(f"templated/{name}", "two {{ 1 + 1 }}")
    timed("a changed template", lambda: developing.get("templated", url).text == "two 2")


def test_a_file_that_is_served_as_it_is_reloads_nothing(developing: Server) -> None:
    developing.write("mapped/pages/page.html", "one")
    developing.site("mapped", HELLO, static={"/pages/": "pages"})
    wait_for(lambda: developing.get("mapped").status == 200)
    developing.write("mapped/pages/page.html", "two")
    assert developing.get("mapped", "/pages/page.html").text == "two"
    time.sleep(1)
    assert developing.view("mapped")["generation"] == 1


def test_a_sleeping_site_stays_asleep_when_its_code_changes(developing: Server) -> None:
    set_word(developing, "sleeper", "one")
    developing.site("sleeper", PAGE)
    wait_for(lambda: developing.state("sleeper") == "cold")
    set_word(developing, "sleeper", "two")
    time.sleep(0.5)
    assert developing.state("sleeper") == "cold"
    assert developing.get("sleeper").text == "two"


def test_only_the_site_whose_code_has_changed_is_reloaded(developing: Server) -> None:
    for name in ("left", "right"):
        set_word(developing, name, "one")
        developing.site(name, PAGE)
        wait_for(lambda name=name: developing.get(name).status == 200)  # type: ignore[misc]
    before = state_of(developing, "right")
    set_word(developing, "left", "two")
    wait_for(lambda: developing.get("left").text == "two", "the change", SOON)
    assert state_of(developing, "right") == before


# --- in production: reload_on -------------------------------------------------------------------------------------------


def test_a_touched_file_of_reload_on_reloads_the_site(shared_server: Server) -> None:
    server = shared_server
    set_word(server, "renewed", "one")
    server.site("renewed", PAGE, reload_on=["words.py", "restart.txt"])
    wait_for(lambda: server.get("renewed").status == 200)
    (server.projects / "renewed/other.txt").write_text("beside it")
    set_word(server, "renewed", "another")
    wait_for(lambda: server.get("renewed").text == "another", "the written file")
    assert server.view("renewed")["generation"] == 2
    (server.projects / "renewed/restart.txt").touch()
    wait_for(lambda: server.view("renewed")["generation"] == 3, "the new file")
    os.utime(server.projects / "renewed/restart.txt")
    wait_for(lambda: server.view("renewed")["generation"] == 4, "the touched file")


def test_a_deployment_by_exchanging_a_link_reloads_the_site(shared_server: Server) -> None:
    server = shared_server
    for release in ("one", "two"):
        set_word(server, f"releases/{release}", release)
        server.write(f"releases/{release}/app.py", PAGE)
    current = server.projects / "releases/current"
    current.symlink_to("one")
    server.site("linked", app="app:application", directory=str(current), reload_on=["app.py"])
    wait_for(lambda: server.get("linked").text == "one")
    (server.projects / "releases/new").symlink_to("two")
    (server.projects / "releases/new").rename(current)
    wait_for(lambda: server.get("linked").text == "two", "the new release")


def test_a_failed_site_is_tried_again_when_its_reload_file_is_touched(make_server: MakeServer) -> None:
    server = make_server()
    server.write("mended/ready", "no")
    code = "\n    if open('ready').read() == 'no': raise SystemExit" + PAGE
    set_word(server, "mended", "one")
    server.site("mended", code, reload_on=["restart"])
    server.start()
    assert server.get("mended").status == 503
    for _ in range(4):  # the pauses grow
        server.run("start", "mended", check=False)
    server.write("mended/ready", "yes")
    server.write("mended/restart", "")
    wait_for(lambda: server.state("mended") == "serving", "the next attempt")


def test_without_reload_running_code_is_left_alone(shared_server: Server) -> None:
    set_word(shared_server, "production", "one")
    shared_server.site("production", PAGE)
    wait_for(lambda: shared_server.get("production").status == 200)
    set_word(shared_server, "production", "two")
    time.sleep(1)
    assert shared_server.get("production").text == "one"
    shared_server.client.call("reload", sites=["production"])
    assert shared_server.get("production").text == "two"
