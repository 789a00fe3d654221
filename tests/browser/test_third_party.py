"""Three applications that we have not written: the how-to's commands, with a browser that looks on after each section."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import pytest

from tests.docs.document import ROOT, Walk, read_commands
from tests.support.browser import Browser, Page, run_browser
from tests.support.server import wait_for

DOCUMENT = ROOT / "docs" / "how-to" / "third-party-applications.md"
NAMES = ("httpbin", "index", "wagtail")
# What else a page wants that is not ours: its makers' news and pictures on the internet.
OURS = ".localhost:"


@pytest.fixture
def browser() -> Iterator[Browser]:
    with run_browser() as running:
        yield running


@pytest.mark.slow
def test_applications_from_pypi(browser: Browser) -> None:
    look = {
        "Wagtail: a Django project": look_at_all,
        "They sleep and wake": wake_all,
        "Reload": look_at_all,
        "Remove them": find_nothing,
    }
    seen = []
    with Walk() as walk:
        for section, commands in groupby(read_commands(DOCUMENT), lambda command: command.section):
            for command in commands:
                walk.check(command, DOCUMENT.name)
            if section in look:
                look[section](walk, browser)
                seen.append(section)
    assert seen == list(look)


def open_page(walk: Walk, browser: Browser, name: str, path: str = "/") -> Page:
    """A page of which nothing is missing."""
    page = browser.open(f"http://{name}{OURS}{walk.port}{path}")
    by_itself = f"{walk.port}/favicon.ico"  # what a browser asks for without being told to
    responses = [one for one in page.responses if OURS in one.url and not one.url.endswith(by_itself)]
    assert responses
    assert [one for one in responses if one.status >= 400] == []
    return page


def look_at_all(walk: Walk, browser: Browser) -> None:
    """A page of each, with its static files."""
    page = open_page(walk, browser, "httpbin")
    assert "httpbin" in page.text
    assert open_page(walk, browser, "httpbin", "/static/favicon.ico").status_of("/favicon.ico") == 200

    page = open_page(walk, browser, "index", "/simple/")
    page.follow("a")
    assert "Links for six" in page.text
    package = page.evaluate("document.querySelector('a').pathname")
    assert page.evaluate(f"fetch('{package}').then(answer => answer.status)") == 200

    page = open_page(walk, browser, "wagtail")
    assert "Welcome to your new Wagtail site!" in page.text
    assert page.status_of("/static/css/welcome_page") == 200

    page = open_page(walk, browser, "wagtail", "/admin/")
    assert page.status_of("/static/wagtailadmin/css/core") == 200
    if page.evaluate("document.querySelector('[name=password]') !== null"):
        page.fill("[name=username]", "admin")
        page.fill("[name=password]", "a-long-password")
        page.follow("[type=submit]")
    wait_for(lambda: "1 Page" in page.text, "the dashboard")


def wake_all(walk: Walk, browser: Browser) -> None:
    """Each once asleep, and awake again. Before that, a static file of one that sleeps, which it sleeps through."""

    def states() -> set[str]:
        return {site["state"] for site in walk.client.call("status")["sites"]}

    wait_for(lambda: states() == {"cold"}, "all to sleep", 60)
    page = open_page(walk, browser, "wagtail", "/static/css/mysite.css")
    assert page.status_of("/mysite.css") == 200
    assert states() == {"cold"}
    look_at_all(walk, browser)
    assert all(site["served"] for site in walk.client.call("status")["sites"])


def find_nothing(walk: Walk, browser: Browser) -> None:
    """What was removed is not there."""
    for name in NAMES:
        page = browser.open(f"http://{name}{OURS}{walk.port}/")
        assert page.status_of(f"//{name}{OURS}") == 404
        assert "There is nothing here" in page.text
