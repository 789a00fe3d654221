"""The examples in a real browser: pages, styles, forms, the admin, a WebSocket."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import _end
from tests.support.browser import Browser, Page, run_browser
from tests.support.server import Server, free_port, make_folder, wait_for

ROOT = Path(__file__).parent.parent.parent
TLS_PORT = free_port()
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def examples() -> Iterator[Server]:
    """The examples as ``make serve`` serves them, from a copy that site users can read."""
    folder = make_folder()
    written = shutil.ignore_patterns("state", "static-root", "__pycache__", ".venv", "*.sqlite3")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=written)
    subprocess.run(["chmod", "-R", "a+rX", str(folder / "examples")], check=True)
    server = Server(folder, paths=(str(folder / "examples"),), arguments=("--listen-tls", str(TLS_PORT)))
    (folder / "scratch").mkdir()
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"],
        cwd=folder / "examples" / "blog", env={**os.environ, "STATE_DIRECTORY": str(folder / "scratch")}, check=True,
    )  # fmt: skip
    try:
        yield server.start()
    finally:
        _end([server])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with run_browser("--ignore-certificate-errors") as running:  # nobody has told it to trust the server's authority
        yield running


def test_every_example_shows_its_page_with_its_styles(examples: Server, browser: Browser) -> None:
    names = {site["name"] for site in examples.status()["sites"]}
    assert names == {"blog", "chat", "hello", "notes", "pages"}
    for name in sorted(names):
        page = browser.open(f"http://{name}.localhost:{examples.port}/")
        assert page.evaluate("document.querySelector('h1, h2').innerText"), name
        check_whole(page)
        # Whether a style sheet was applied, not only loaded: without one a page is white and has margins of 8 pixels.
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgba(0, 0, 0, 0)", name


def check_whole(page: Page) -> None:
    """Nothing that a page is made of is missing, and its scripts are content."""
    missing = [one for one in page.responses if one.status >= 400 and not one.url.endswith("/favicon.ico")]
    assert not missing
    assert not [error for error in page.errors if "/favicon.ico" not in error]


def test_a_form_without_any_framework(examples: Server, browser: Browser) -> None:
    page = browser.open(f"http://hello.localhost:{examples.port}/")
    page.fill("[name=name]", "Ada <3")
    page.follow("button")
    assert "Hello, Ada <3" in page.text
    assert "name=Ada+%3C3" in page.text


def test_files_alone_need_no_process(examples: Server, browser: Browser) -> None:
    page = browser.open(f"http://pages.localhost:{examples.port}/")
    page.follow("a.button")
    assert "Rhubarb lemonade" in page.text
    check_whole(page)
    assert page.status_of("/style.css") == 200
    assert examples.view("pages")["workers"] == []


def test_a_note_is_pinned_and_taken_down(examples: Server, browser: Browser) -> None:
    page = browser.open(f"http://notes.localhost:{examples.port}/")
    page.fill("#text", "<b>milk</b> & bread")
    page.follow("form.new button")
    assert page.evaluate("document.querySelector('.board li p').innerText") == "<b>milk</b> & bread"
    check_whole(page)
    page.follow(".board button")
    assert "The board is empty" in page.text


def test_a_comment_in_the_blog(examples: Server, browser: Browser) -> None:
    page = browser.open(f"http://blog.localhost:{examples.port}/")
    page.follow(".entry h2 a")
    page.fill("[name=name]", "Grace")
    page.fill("[name=text]", "Sent from a browser.")
    page.follow(".new button")
    wait_for(lambda: "Sent from a browser." in page.text, "the comment")
    check_whole(page)


def test_the_admin_of_the_blog(examples: Server, browser: Browser) -> None:
    page = browser.open(f"http://blog.localhost:{examples.port}/admin/")
    for style in ("base.css", "login.css"):
        assert page.status_of(f"/static/admin/css/{style}") == 200
    password = next(examples.state_dir.glob("**/blog/admin-password.txt")).read_text().strip()
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", password)
    page.follow("[type=submit]")
    assert "Site administration" in page.text
    page.go(f"http://blog.localhost:{examples.port}/admin/posts/post/add/")
    page.fill("[name=title]", "Written in the admin")
    page.wait_for("document.querySelector('[name=slug]').value == 'written-in-the-admin'")  # by Django's script
    page.fill("[name=summary]", "A post")
    page.fill("[name=text]", "by a browser")
    page.follow("[name=_save]")
    assert "was added successfully" in page.text
    check_whole(page)


def test_two_browsers_talk_through_the_websocket(examples: Server, browser: Browser) -> None:
    url = f"http://chat.localhost:{examples.port}/"
    ada, bob = browser.open(url), browser.open(url)
    for page in (ada, bob):
        page.wait_for("document.querySelector('#state').innerText.includes('people here')")
    ada.fill("#text", "Is anybody there?")
    ada.click("#say button")
    bob.wait_for("document.querySelector('#messages').innerText.includes('Is anybody there?')")
    first = bob.wait_for("document.querySelector('#clock').dateTime")  # by server-sent events
    bob.wait_for(f"document.querySelector('#clock').dateTime != '{first}'")
    for page in (ada, bob):
        check_whole(page)
        assert [one.status for one in page.responses if one.kind == "WebSocket"] == [101]
        page.close()
    wait_for(lambda: examples.log("chat", "access.log").count('"GET /talk?name=') >= 2, "their ends in the access log")


def test_every_example_over_https(examples: Server, browser: Browser) -> None:
    for name in ("blog", "chat", "hello", "notes", "pages"):
        page = browser.open(f"https://{name}.localhost:{TLS_PORT}/")
        assert page.evaluate("location.protocol + document.querySelector('h1, h2').innerText") != "https:", name
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgba(0, 0, 0, 0)", name
        check_whole(page)
        (document,) = (one for one in page.responses if one.kind == "Document")
        assert document.protocol == "h2"
        if name == "chat":
            page.wait_for("document.querySelector('#state').innerText.includes('people here')")
            first = page.wait_for("document.querySelector('#clock').dateTime")
            page.wait_for(f"document.querySelector('#clock').dateTime != '{first}'")
            assert [one.status for one in page.responses if one.kind == "WebSocket"] == [101]
        page.close()


def test_an_unknown_name_tells_nothing(examples: Server, browser: Browser) -> None:
    page = browser.open(f"http://nobody.localhost:{examples.port}/")
    assert page.status_of("http://nobody.localhost") == 404
    assert not [site["name"] for site in examples.status()["sites"] if site["name"] in page.text]
