"""Folders of tenants' site files, in which their owners have put anything."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.options.site import Problem
from hostel.source import tenants
from hostel.source.tenants import TenantSource
from tests.support.server import ORDINARY_USER, make_folder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
TENANT = pwd.getpwnam(ORDINARY_USER)
OTHER = pwd.getpwnam("daemon")
APP = 'app = "app:application"\n'


class Homes:
    """An operator's folder with one tenant, alice, and her home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.operator = folder / "tenants"
        self.home = folder / "alice"
        self.sites = self.home / "hostel"
        self.operator.mkdir()
        for path in (self.home, self.sites):
            path.mkdir()
            os.chown(path, TENANT.pw_uid, TENANT.pw_gid)
        self.say(sites=5)
        self.source = TenantSource(str(self.operator), least=1)

    def say(self, **more: object) -> None:
        lines = [f"{key} = {value}\n" for key, value in more.items()]
        text = f"user = '{ORDINARY_USER}'\nfolder = '{self.sites}'\npaths = ['{self.home}']\n" + "".join(lines)
        (self.operator / "alice.toml").write_text(text)

    def write(self, name: str, text: str = APP) -> Path:
        path = self.sites / name
        path.write_text(text)
        os.chown(path, TENANT.pw_uid, TENANT.pw_gid)
        return path

    def problem(self, name: str) -> Problem:
        files = self.source.read()
        assert files[name].site is None
        (problem,) = files[name].problems
        assert problem.remedy and problem.site == name
        return problem


@pytest.fixture
def homes() -> Iterator[Homes]:
    folder = make_folder()
    yield Homes(folder)
    shutil.rmtree(folder)


def test_a_site(homes: Homes) -> None:
    homes.write("blog.toml")
    homes.write(".hidden.toml", "x")
    site = homes.source.read()["alice+blog"].site
    assert site is not None
    assert (site.name, site.user, site.file) == ("alice+blog", ORDINARY_USER, f"{homes.sites}/blog.toml")
    assert (homes.source.watched, homes.source.foreign) == ((str(homes.operator),), (str(homes.sites),))
    assert homes.source.folders == ()


def test_what_is_no_file_of_hers(homes: Homes) -> None:
    os.mkfifo(homes.sites / "pipe.toml")
    (homes.sites / "folder.toml").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(homes.sites / "socket.toml"))
    for name in ("pipe", "folder", "socket"):
        assert homes.problem(f"alice+{name}").reason == "a site file is a regular file, and this is not one"


def test_links_are_not_followed(homes: Homes) -> None:
    (homes.sites / "zero.toml").symlink_to("/dev/zero")
    (homes.sites / "own.toml").symlink_to(homes.write("real.txt"))
    for name in ("zero", "own"):
        assert "cannot read the file" in homes.problem(f"alice+{name}").reason


def test_files_of_others(homes: Homes) -> None:
    for name, uid in (("roots", 0), ("theirs", OTHER.pw_uid)):
        (homes.folder / name).write_text(APP)
        os.chown(homes.folder / name, uid, -1)
        os.link(homes.folder / name, homes.sites / f"{name}.toml")
        assert homes.problem(f"alice+{name}").reason == f"the file does not belong to {ORDINARY_USER}"


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o664])
def test_files_that_others_may_write(homes: Homes, mode: int) -> None:
    path = homes.write("open.toml")
    os.chown(path, -1, OTHER.pw_gid)
    path.chmod(mode)
    assert homes.problem("alice+open").reason == f"others than {ORDINARY_USER} may write to the file"


def test_a_large_file_is_not_read(homes: Homes) -> None:
    with homes.write("large.toml").open("r+b") as file:
        file.truncate(10_000_000_000)
    assert homes.problem("alice+large").reason.startswith("the file has 10000000000 bytes")


def test_the_folder_itself(homes: Homes) -> None:
    homes.write("blog.toml")
    assert homes.source.read()["alice+blog"].site is not None
    homes.sites.chmod(0o777)
    assert "does not belong to" in homes.problem("alice+").reason
    homes.sites.chmod(0o755)
    os.chown(homes.sites, OTHER.pw_uid, -1)
    assert "does not belong to" in homes.problem("alice+").reason
    homes.sites.rename(homes.home / "real")
    homes.sites.symlink_to(homes.home / "real")
    assert "no part of its path may be a link" in homes.problem("alice+").remedy
    assert homes.source.read()["alice+blog"].site is not None, "what runs goes on"


def test_a_link_above_the_folder(homes: Homes) -> None:
    """It would lead root to a folder of the same name elsewhere."""
    (homes.folder / "elsewhere").mkdir()
    shutil.rmtree(homes.home)
    homes.home.symlink_to(homes.folder / "elsewhere")
    (homes.folder / "elsewhere" / "hostel").mkdir()
    assert "cannot read the folder" in homes.problem("alice+").reason


def test_names(homes: Homes) -> None:
    for name in ("bob+shop.toml", "-x.toml", "Blog.toml", "a b.toml", "a\x1b[31m.toml"):
        homes.write(name)
    files = homes.source.read()
    assert all(file.site is None and file.name.startswith("alice+") for file in files.values())
    assert all(str(problem).isprintable() for file in files.values() for problem in file.problems)


def test_too_many_sites(homes: Homes) -> None:
    homes.say(sites=2)
    for number in range(20):
        homes.write(f"s{number:02}.toml")
    files = homes.source.read()
    assert [name for name, file in files.items() if file.site] == ["alice+s00", "alice+s01"]
    assert [file.problems[0].reason for file in files.values() if not file.site] == [
        "alice may have 2 sites, and this is one more"
    ]


def test_what_has_not_changed_is_not_read_again(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenants, "PAUSE_SECONDS", 0.0)
    path = homes.write("blog.toml")
    before = homes.source.read()
    homes.write("notes.txt")
    assert homes.source.refresh([str(homes.sites)]) is before
    assert homes.source.read()["alice+blog"] is before["alice+blog"]
    status = path.stat()
    path.write_text(APP.replace("app:", "xpp:"))  # as large as before, and as old
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = homes.source.refresh([str(path)])
    site = after["alice+blog"].site
    assert site is not None and site.app == "xpp:application"
    homes.say(sites=5, domains=["a.example"])
    again = homes.source.refresh([f"{homes.operator}/alice.toml"])
    assert again["alice+blog"].tenant is not after["alice+blog"].tenant, "judged by what holds now"


def test_a_folder_of_very_many_files_is_not_read_to_its_end(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenants, "ENTRIES", 3)
    for number in range(10):
        homes.write(f"s{number}.toml")
    assert len(homes.source.read()) == 3


def test_who_writes_all_the_time_is_looked_at_once_a_second(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = homes.write("blog.toml")
    before = homes.source.read()
    path.write_text(APP + "domains = ['evil.test']\n")
    assert homes.source.refresh([str(path)]) is before
    assert homes.source.again > 0
    monkeypatch.setattr(tenants, "PAUSE_SECONDS", 0.0)
    assert homes.source.refresh([])["alice+blog"].site is None
    assert homes.source.again == 0


def test_a_swap_between_a_file_and_a_link_shows_nothing_of_others(homes: Homes) -> None:
    """The link leads to a file that only root may read: no look at it may ever succeed."""
    secret = homes.folder / "secret"
    secret.write_text(APP)
    secret.chmod(0o600)
    end = threading.Event()

    def swap() -> None:
        good, link, target = homes.home / "good", homes.home / "link", homes.sites / "blog.toml"
        while not end.is_set():
            good.write_text("app = 1\n")
            os.chown(good, TENANT.pw_uid, TENANT.pw_gid)
            os.rename(good, target)
            link.symlink_to(secret)
            os.rename(link, target)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(2000):
            file = homes.source.read().get("alice+blog")
            assert file is None or file.site is None
    finally:
        end.set()
        thread.join()


def test_the_operator_s_files(homes: Homes) -> None:
    homes.write("blog.toml")
    assert homes.source.read()["alice+blog"].site is not None
    (homes.operator / "alice.toml").write_text("sites = 'many'\n")
    files = homes.source.read()
    assert files["alice+blog"].site is not None, "the last good version of what she may"
    assert files["alice+"].problems
    (homes.operator / "Bob.toml").write_text("")
    (homes.operator / "eve.toml").write_text(f"user = 'root'\nfolder = '{homes.sites}'\npaths = ['/home/eve']\n")
    files = homes.source.read()
    assert "a tenant's name is" in files["Bob+"].problems[0].reason
    assert "user 'root' is root" in files["eve+"].problems[0].reason
    (homes.operator / "alice.toml").unlink()
    assert "alice+blog" not in homes.source.read()


def test_less_is_allowed_than_before(homes: Homes) -> None:
    homes.say(domains=["a.example"])
    path = homes.write("blog.toml", APP + "domains = ['a.example']\n")
    assert homes.source.read()["alice+blog"].site is not None
    homes.say(domains=[])
    assert homes.source.refresh([f"{homes.operator}/alice.toml"])["alice+blog"].site is None
    assert path.exists()
