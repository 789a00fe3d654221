"""Which changes of files matter: of programs and templates, not of what running leaves behind."""

from __future__ import annotations

import pytest

from hostel.manager.watch import is_program, is_template

DIRECTORY = "/srv/data/shop"  # what is above it says nothing


@pytest.mark.parametrize(
    "path",
    [
        "index.html", "pages/index.htm", "shop/templates/shop/cart.djhtml", "views/cart.tpl", "views/cart.mako", "a/b.pt",
        "parts/head.jinja2", "parts/head.j2", "templates/mail.txt", "templates/data/table.html", "shop/jinja2/feed.xml",
    ],
)  # fmt: skip
def test_templates(path: str) -> None:
    assert is_template(f"{DIRECTORY}/{path}", DIRECTORY, ["/srv/data/shop/static", "/srv/data/shop/page"])


@pytest.mark.parametrize(
    "path",
    [
        "notes.txt", "data/report.html", "media/a/upload.html", "instance/page.htm", "public/index.html", "htmlcov/index.html",
        "templates/.#cart.html", "templates/cart.html~", "templates/.cart.html.swp", "templates/4913", "templates/db.sqlite3",
        "served/cart.html", "served/templates/cart.html", "one.html", "app.log", "cache.json", "app.py",
    ],
)  # fmt: skip
def test_no_templates(path: str) -> None:
    assert not is_template(f"{DIRECTORY}/{path}", DIRECTORY, [f"{DIRECTORY}/served", f"{DIRECTORY}/one.html"])


def test_programs() -> None:
    assert all(map(is_program, ("/a/app.py", "/a/settings.toml", "/a/.env")))
    assert not any(map(is_program, ("/a/.#app.py", "/a/app.pyc", "/a/app.py~", "/a/index.html", "/a/app.log")))
