"""A folder of site files in which others may have put anything: each file is a site or a problem of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.options.site import Problem
from hostel.plan import SiteFile
from hostel.source.folder import FolderSource, is_site_file
from tests.support.server import ORDINARY_USER, make_folder

APP = 'app = "mysite.wsgi:application"\n'
OTHER = pwd.getpwnam("daemon")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    path = make_folder()
    (path / "good.toml").write_text(APP)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def source(folder: Path) -> FolderSource:
    return FolderSource(str(folder))


def problem_of(source: FolderSource, name: str) -> Problem:
    """The one problem of a file beside which the good one is read all the same."""
    files = source.read()
    assert files["good"].site is not None
    assert files[name].site is None
    (problem,) = files[name].problems
    assert (problem.site, files[name].file) == (name, problem.file)
    assert problem.remedy
    assert str(problem).isprintable()
    return problem


def test_names_of_site_files() -> None:
    taken = ["blog.toml", "a.b.toml", "Blog.toml", "a\nb.toml", ".toml"[1:] + ".toml"]
    left = [
        "blog.toml~", ".blog.toml", ".blog.toml.swp", "#blog.toml#", ".#blog.toml", "blog.toml.bak", "blog.toml.new",
        "blog.txt", "toml", ".toml", "pyproject.toml", "4913", "blog.toml.dpkg-new", "blog.TOML", "",
    ]  # fmt: skip
    assert [name for name in taken + left if is_site_file(name)] == taken


def test_a_file_is_a_site(source: FolderSource, folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / ".hidden.toml").write_text("x")
    (folder / "notes.txt").write_text("x")
    files = source.read()
    assert list(files) == ["good"]
    site = files["good"].site
    assert site is not None
    assert (site.name, site.file, site.directory) == ("good", f"{folder}/good.toml", str(folder))
    assert source.folders == (str(folder),)


def test_a_fifo_is_not_waited_for(source: FolderSource, folder: Path) -> None:
    os.mkfifo(folder / "pipe.toml")
    assert problem_of(source, "pipe").reason == "a site file is a regular file, and this is not one"
    writer = os.open(folder / "pipe.toml", os.O_RDWR | os.O_NONBLOCK)  # and with somebody at its other end
    try:
        os.write(writer, APP.encode())
        assert source.refresh([f"{folder}/pipe.toml"])["pipe"].site is None
    finally:
        os.close(writer)


def test_what_is_no_regular_file(source: FolderSource, folder: Path) -> None:
    (folder / "folder.toml").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "socket.toml"))
    (folder / "null.toml").symlink_to("/dev/null")
    (folder / "zero.toml").symlink_to("/dev/zero")
    for name in ("folder", "socket", "null", "zero"):
        assert problem_of(source, name).reason == "a site file is a regular file, and this is not one"


@needs_root
def test_a_device_is_not_opened(source: FolderSource, folder: Path) -> None:
    try:
        os.mknod(folder / "device.toml", 0o20644, os.makedev(10, 130))  # /dev/watchdog restarts a machine when opened
    except PermissionError:
        pytest.skip("no devices can be made here")
    assert problem_of(source, "device").reason == "a site file is a regular file, and this is not one"


def test_links(source: FolderSource, folder: Path) -> None:
    (folder / "real.txt").write_text(APP)
    (folder / "link.toml").symlink_to("real.txt")
    (folder / "dangling.toml").symlink_to("nowhere")
    (folder / "loop.toml").symlink_to("loop.toml")
    files = source.read()
    assert files["link"].site is not None
    assert problem_of(source, "dangling").reason == "the link leads nowhere"
    assert "symbolic links" in problem_of(source, "loop").reason
    (folder / "nowhere").write_text(APP)
    assert source.refresh([f"{folder}/dangling.toml"])["dangling"].site is not None


@needs_root
def test_a_file_of_somebody_else(source: FolderSource, folder: Path) -> None:
    (folder / "foreign.toml").write_text(APP)
    os.chown(folder / "foreign.toml", OTHER.pw_uid, OTHER.pw_gid)
    problem = problem_of(source, "foreign")
    assert problem.reason.startswith("the file belongs to somebody who may not write here")
    assert problem.remedy == "chown it to 0, the owner of the folder"
    os.chown(folder, OTHER.pw_uid, OTHER.pw_gid)  # in whose folder it may lie
    (folder / "foreign.toml").touch()
    assert source.read()["foreign"].site is not None


@needs_root
def test_a_link_to_a_file_of_somebody_else(source: FolderSource, folder: Path) -> None:
    (folder / "theirs").write_text(APP)
    os.chown(folder / "theirs", OTHER.pw_uid, OTHER.pw_gid)
    (folder / "link.toml").symlink_to("theirs")
    assert problem_of(source, "link").reason.startswith("the file belongs to somebody")


@pytest.mark.parametrize(("mode", "is_taken"), [(0o644, True), (0o664, True), (0o646, False), (0o666, False)])
def test_a_file_that_everybody_may_write(source: FolderSource, folder: Path, mode: int, is_taken: bool) -> None:
    (folder / "open.toml").write_text(APP)
    (folder / "open.toml").chmod(mode)
    if is_taken:
        assert source.read()["open"].site is not None
    else:
        problem = problem_of(source, "open")
        assert (problem.reason, problem.remedy) == ("everybody may write to the file", "chmod o-w it")


def test_a_file_of_ten_megabytes_is_not_even_read(source: FolderSource, folder: Path) -> None:
    with (folder / "large.toml").open("wb") as file:
        file.truncate(10_000_000)
    assert problem_of(source, "large").reason.startswith("the file has 10000000 bytes")


@needs_root
def test_what_an_ordinary_user_cannot_read(folder: Path) -> None:
    (folder / "closed.toml").write_text(APP)
    (folder / "closed.toml").chmod(0o600)
    code = f"""if True:
        from hostel.source.folder import FolderSource
        files = FolderSource({str(folder)!r}).read()
        (problem,) = files["closed"].problems
        print(files["good"].site is not None, problem.reason, problem.remedy, sep="; ")
    """
    result = subprocess.run(
        [sys.executable, "-c", code], user=ORDINARY_USER, capture_output=True, text=True, check=True, cwd="/"
    )
    assert result.stdout == (
        "True; cannot read the file: Permission denied; give the user who runs Hostel the right to read it: chmod a+r\n"
    )


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        (b"a b.toml", "a b"), (b"a.b.toml", "a.b"), (b"Blog.toml", "Blog"), (b"\xff.toml", r"\xff"),
        (b"a\nb.toml", r"a\nb"), (b"\x1b[31mred.toml", r"\x1b[31mred"), (b"x" * 250 + b".toml", "x" * 250),
        ("größe.toml".encode(), "größe"), ("a\u202eb.toml".encode(), r"a\u202eb"), (b"-x.toml", "-x"),
    ],
)  # fmt: skip
def test_a_file_with_a_name_that_no_site_can_have(
    source: FolderSource, folder: Path, file_name: bytes, name: str
) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + file_name)).write_text(APP)
    problem = problem_of(source, name)
    assert problem.reason.startswith("a site's name is 1 to 48 small letters")
    assert problem.remedy == "rename the file: its name is the site's name"
    assert problem.file == f"{folder}/{name}.toml"


def test_half_written_then_completed(source: FolderSource, folder: Path) -> None:
    path = folder / "new.toml"
    path.write_text(APP[:9])
    assert "not TOML" in problem_of(source, "new").reason
    with path.open("a") as file:
        file.write(APP[9:])
    assert source.refresh([str(path)])["new"].site is not None


def test_removed_and_added_files(source: FolderSource, folder: Path) -> None:
    assert list(source.read()) == ["good"]
    (folder / "more.toml").write_text(APP)
    assert sorted(source.refresh([f"{folder}/more.toml"])) == ["good", "more"]
    (folder / "good.toml").unlink()
    assert list(source.refresh([f"{folder}/good.toml"])) == ["more"]
    assert list(source.read()) == ["more"]
    (folder / "more.toml").rename(folder / "other.toml")
    assert list(source.refresh([f"{folder}/more.toml", f"{folder}/other.toml"])) == ["other"]


def test_a_folder_that_is_gone_keeps_its_sites_until_it_is_back(source: FolderSource, folder: Path) -> None:
    before = source.read()
    shutil.rmtree(folder)
    assert source.read() == before
    folder.mkdir()
    assert source.refresh([str(folder)]) == {}
    (folder / "new.toml").write_text(APP)
    assert list(source.read()) == ["new"]


def test_a_folder_that_was_never_there_is_a_problem_of_the_server(tmp_path: Path) -> None:
    source = FolderSource(str(tmp_path / "sites"))
    (file,) = source.read().values()
    assert (file.name, file.site) == ("", None)
    (problem,) = file.problems
    assert problem.reason == "cannot read the folder: No such file or directory"
    assert problem.remedy
    (tmp_path / "sites").mkdir()
    assert source.read() == {}


def test_unchanged_files_are_not_read_again(source: FolderSource, folder: Path) -> None:
    before = source.read()
    (folder / "more.toml").write_text(APP)
    after = source.read()
    assert after["good"] is before["good"]
    os.utime(folder / "good.toml")
    assert source.read()["good"] is not before["good"]


def test_when_nothing_has_changed_the_same_mapping_comes_back(source: FolderSource, folder: Path) -> None:
    before = source.read()
    (folder / "notes.txt").write_text("x")
    elsewhere = ["/somewhere/else.toml", f"{folder}/notes.txt", f"{folder}/good.toml", f"{folder}/nothing.toml"]
    assert source.refresh(elsewhere) is before
    assert source.refresh([str(folder)]) is before
    assert source.read() is before
    (folder / "good.toml").unlink()
    assert source.refresh([f"{folder}/good.toml"]) == {}


def test_a_change_of_owner_mode_or_target_is_a_change(source: FolderSource, folder: Path) -> None:
    def look() -> SiteFile:
        return source.refresh([f"{folder}/good.toml"])["good"]

    assert source.read()["good"].site is not None
    (folder / "good.toml").chmod(0o666)
    assert look().site is None
    (folder / "good.toml").chmod(0o644)
    assert look().site is not None
    status = (folder / "good.toml").stat()
    (folder / "swap.toml").write_text(APP.replace("mysite", "notsit"))  # as large as the old one
    os.utime(folder / "swap.toml", ns=(status.st_atime_ns, status.st_mtime_ns))
    (folder / "swap.toml").rename(folder / "good.toml")
    site = look().site
    assert site is not None
    assert site.app == "notsit.wsgi:application"
