"""A site's values as the name of a folder, and when the cache's epoch is a new one."""

from __future__ import annotations

import time
from typing import Any

from hostel.front.store import read
from hostel.front.values import spell
from hostel.options.fields import PART_BYTES
from hostel.options.site import Site, make_site


def make(**options: Any) -> Site:
    site, problems = make_site("blog", "/srv/sites/blog.toml", "/srv/sites", {"app": "mysite:app", **options})
    assert site is not None, problems
    return site


def test_the_usual_site_has_none() -> None:
    assert spell(make(), "", 17) == ""


def test_limits() -> None:
    assert spell(make(limits={"body": "1M"}), "", 17) == "body=0000000001048576"
    assert spell(make(limits={"rate": 10, "connections": 5}), "", 17) == "rate=10;connections=5"


def test_files_are_not_limited() -> None:
    assert spell(make(app=None, static={"/": "."}, limits={"rate": 10}), "", 17) == ""


def test_what_is_read() -> None:
    assert read("body=0000000001048576;rate=10", "rate") == "10"
    assert read("body=0000000001048576;rate=10", "connections") == ""
    assert read("", "rate") == ""


def test_the_cache() -> None:
    cache = {"on": True, "size": 1000, "ignored_cookies": ["theme", "a.b"]}
    spelled = spell(make(cache=cache), "", 17)
    assert spelled == "size=1000;epoch=17;cookies=,theme,a.b,"
    assert spell(make(cache={**cache, "on": False}), "", 17) == ""
    assert spell(make(app=None, static={"/": "."}, cache=cache), "", 17) == ""


def test_an_epoch_lasts_until_a_purge() -> None:
    cache = {"on": True}
    spelled = spell(make(cache=cache), "", 17)
    assert read(spelled, "epoch") == "17"
    assert spell(make(cache=cache), spelled, 18) == spelled
    assert read(spell(make(cache=cache, limits={"rate": 5}), spelled, 18), "epoch") == "17"
    assert read(spell(make(cache=cache), "", 18), "epoch") == "18"


def test_it_is_a_name_of_a_file() -> None:
    cookies = ["x" * 100, "y" * 19]
    spelled = spell(
        make(
            limits={"body": 2**50 - 1, "rate": 1000, "connections": 5000},
            cache={"on": True, "size": 2**50 - 1, "ignored_cookies": cookies},
        ),
        "",
        time.time_ns(),
    )
    assert len(spelled) <= PART_BYTES
