"""What a site was before its file was broken is remembered for the next manager."""

from __future__ import annotations

from pathlib import Path

from hostel.manager.lastgood import LastGood
from hostel.options.site import Site, read_site

TEXT = b"""
app = "blog:application"
domains = ["blog.example.com", "*.blog.example.com"]
reload_on = ["restart"]
[static]
"/static" = "files"
[env]
A = "1"
[workers]
min = 1
idle = "10m"
[limits]
queue = "250ms"
"""


def make_site(name: str) -> Site:
    site, problems = read_site(name, f"/sites/{name}.toml", TEXT)
    assert site is not None, problems
    return site


def test_what_is_kept_is_there_for_the_next_one(tmp_path: Path) -> None:
    folder = str(tmp_path / "last-good")
    sites = {name: make_site(name) for name in ("blog", "shop")}
    LastGood(folder).keep(sites)
    later = LastGood(folder)
    assert later.sites() == sites
    later.keep({"blog": sites["blog"]})
    assert LastGood(folder).sites() == {"blog": sites["blog"]}
    later.keep({})
    assert LastGood(folder).sites() == {}


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    good = LastGood(str(tmp_path))
    good.keep({"blog": make_site("blog")})
    (tmp_path / "shop.json").write_text('{"name": "shop"}')
    (tmp_path / "odd.json").mkdir()
    assert list(LastGood(str(tmp_path)).sites()) == ["blog"]


def test_a_full_disk_is_nobodys_end(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    good = LastGood(str(tmp_path / "file/last-good"))
    good.keep({"blog": make_site("blog")})
    assert list(good.sites()) == ["blog"]
