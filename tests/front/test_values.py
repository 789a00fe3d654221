"""A site's values as the name of a folder."""

from __future__ import annotations

from typing import Any

from hostel.front.values import spell
from hostel.options.site import Site, make_site


def make(**options: Any) -> Site:
    site, problems = make_site("blog", "/srv/sites/blog.toml", "/srv/sites", {"app": "mysite:app", **options})
    assert site is not None, problems
    return site


def test_the_usual_site_has_none() -> None:
    assert spell(make()) == ""


def test_limits() -> None:
    assert spell(make(limits={"body": "1M"})) == "body=0000000001048576"
    assert spell(make(limits={"rate": 10, "connections": 5})) == "rate=10;connections=5"


def test_files_are_not_limited() -> None:
    assert spell(make(app=None, static={"/": "."}, limits={"rate": 10})) == ""
