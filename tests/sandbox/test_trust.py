"""Who decides what is found at a path: nothing that a tenant could exchange is ever executed by root."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.sandbox import trust
from hostel.sandbox.trust import find_base, is_trusted, is_trusted_environment
from tests.support.server import make_folder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
TENANT = pwd.getpwnam("nobody")


@pytest.fixture
def folder() -> Iterator[Path]:
    path = make_folder()
    yield path
    shutil.rmtree(path)


def give(path: Path) -> None:
    """Give something to a tenant."""
    os.chown(path, TENANT.pw_uid, TENANT.pw_gid, follow_symlinks=False)


def test_what_root_alone_may_change(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "file").write_text("")
    (folder / "link").symlink_to("a/file")
    for path in ("/", "/usr/bin/env", folder, folder / "a" / "file", folder / "link", folder / "a" / ".." / "link"):
        assert is_trusted(str(path)), path


@pytest.mark.parametrize("part", ["a", "a/b", "a/b/file"])
def test_every_folder_on_the_way_counts(folder: Path, part: str) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").write_text("")
    give(folder / part)
    assert not is_trusted(str(folder / "a" / "b" / "file"))


@pytest.mark.parametrize(("mode", "gid", "trusted"), [
    (0o755, 0, True), (0o757, 0, False), (0o775, 1234, False), (0o775, 0, True), (0o1777, 0, True), (0o1775, 1234, True),
])  # fmt: skip
def test_folders_that_others_may_write_to(folder: Path, mode: int, gid: int, trusted: bool) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "file").write_text("")
    os.chown(inner, 0, gid)
    inner.chmod(mode)
    assert is_trusted(str(inner / "file")) is trusted


def test_a_file_that_others_may_write_to(folder: Path) -> None:
    path = folder / "file"
    path.write_text("")
    path.chmod(0o646)
    assert not is_trusted(str(path))


def test_in_a_sticky_folder_each_thing_is_its_owner_s(folder: Path) -> None:
    sticky = folder / "tmp"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "ours").write_text("")
    (sticky / "theirs").write_text("")
    give(sticky / "theirs")
    assert is_trusted(str(sticky / "ours"))
    assert not is_trusted(str(sticky / "theirs"))
    assert not is_trusted(str(sticky / "missing"))  # who comes first makes it


def test_a_link_is_its_owner_s_and_as_good_as_its_target(folder: Path) -> None:
    theirs = folder / "theirs"
    theirs.mkdir()
    (theirs / "to-root").symlink_to("/usr/bin/env")
    (folder / "to-theirs").symlink_to(theirs)
    (folder / "through-theirs").symlink_to("theirs/to-root")
    (folder / "tenant-s").symlink_to("/usr/bin/env")
    give(theirs)
    give(folder / "tenant-s")
    for name in ("theirs/to-root", "to-theirs", "through-theirs", "tenant-s"):
        assert not is_trusted(str(folder / name)), name


def test_links_without_end(folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    assert not is_trusted(str(folder / "loop"))


def test_nothing_is_trusted_where_only_root_could_put_something(folder: Path) -> None:
    assert is_trusted(str(folder / "missing" / "deeper"))
    (folder / "file").write_text("")
    assert not is_trusted(str(folder / "file" / "below"))


@pytest.fixture
def environment(folder: Path) -> Path:
    """A virtualenv of the system's Python that belongs to root."""
    path = folder / "venv"
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python").symlink_to("/usr/bin/python3")
    (path / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    packages = path / "lib" / "python3.11" / "site-packages"
    (packages / "flask").mkdir(parents=True)
    (packages / "six.py").write_text("")
    return path


def judge(environment: Path) -> bool:
    trust._is_trusted_environment.cache_clear()
    return is_trusted_environment(str(environment))


def test_an_environment_of_root(environment: Path) -> None:
    assert judge(environment)


@pytest.mark.parametrize(
    "part",
    ["", "bin", "bin/python", "pyvenv.cfg", "lib", "lib/python3.11", "lib/python3.11/site-packages",
     "lib/python3.11/site-packages/flask", "lib/python3.11/site-packages/six.py"],
)  # fmt: skip
def test_any_part_in_a_tenant_s_hands_is_enough(environment: Path, part: str) -> None:
    give(environment / part)
    assert not judge(environment)


def test_a_folder_that_only_looks_like_an_environment(folder: Path) -> None:
    """A link to the system's Python and nothing else, in a tenant's folder: the link may be another one tomorrow."""
    theirs = folder / "fake"
    (theirs / "bin").mkdir(parents=True)
    (theirs / "bin" / "python").symlink_to("/usr/bin/python3")
    give(theirs)
    give(theirs / "bin")
    assert not judge(theirs)


def test_an_interpreter_of_a_tenant(environment: Path, folder: Path) -> None:
    theirs = folder / "python" / "bin"
    theirs.mkdir(parents=True)
    shutil.copy("/bin/true", theirs / "python3")
    give(theirs)
    (environment / "bin" / "python").unlink()
    (environment / "bin" / "python").symlink_to(theirs / "python3")
    assert not judge(environment)


@pytest.mark.parametrize("part", ["bin", "bin/python3.12", "lib/python3.12", "lib/python3.12/site-packages"])
def test_an_interpreter_itself(folder: Path, part: str) -> None:
    """What a site names by ``python``: it is trusted with all that it executes, or not at all."""
    (folder / "python" / "bin").mkdir(parents=True)
    (folder / "python" / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    python = folder / "python" / "bin" / "python3.12"
    shutil.copy("/bin/true", python)
    assert judge(python)
    give(folder / "python" / part)
    assert not judge(python)


def test_a_standard_library_of_a_tenant(environment: Path, folder: Path) -> None:
    theirs = folder / "python"
    (theirs / "lib" / "python3.11").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text(f"home = {theirs}/bin\n")
    assert judge(environment)
    give(theirs / "lib" / "python3.11")
    assert not judge(environment)


@pytest.mark.parametrize(
    ("line", "trusted"),
    [("# {theirs}", True), ("import os; os.getpid()", True), ("{ours}", True), ("../packages", True), ("{theirs}", False),
     ("{theirs}/not/there/yet", False), ("{ours}\n{theirs}", False)],
)  # fmt: skip
def test_folders_that_are_added_by_path_configuration_files(
    environment: Path, folder: Path, line: str, trusted: bool
) -> None:
    """As ``pip install -e`` does with a project."""
    theirs, ours = folder / "project", folder / "ours"
    theirs.mkdir()
    ours.mkdir()
    give(theirs)
    (environment / "lib/python3.11/site-packages/project.pth").write_text(line.format(theirs=theirs, ours=ours) + "\n")
    assert judge(environment) is trusted


def test_the_answer_is_not_remembered_for_long(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    trust._is_trusted_environment.cache_clear()
    assert is_trusted_environment(str(environment))
    give(environment)
    now += trust.REMEMBERED_SECONDS
    assert not is_trusted_environment(str(environment))


# --- the interpreter behind a tenant's virtualenv ---------------------------------------------------------------------


def base_of(environment: Path) -> str:
    trust._find_base.cache_clear()
    trust._is_trusted_environment.cache_clear()
    return find_base(str(environment))


@pytest.fixture
def theirs(environment: Path) -> Path:
    for path in (environment, *environment.rglob("*")):
        give(path)
    return environment


def test_the_base_of_a_tenant_s_virtualenv(theirs: Path) -> None:
    assert not judge(theirs)
    assert base_of(theirs) == os.path.realpath("/usr/bin/python3")


@pytest.mark.parametrize("target", ["/usr/bin/env", "/bin/sh", "/usr/bin/perl", "missing", "own", "/usr/lib/python3"])
def test_what_is_no_python_of_root_is_no_base(theirs: Path, target: str) -> None:
    """Whatever the tenant's link leads to would be started by root."""
    own = theirs / "bin" / "python3.11"
    shutil.copy("/usr/bin/python3", own)
    give(own)
    (theirs / "bin" / "python").unlink()
    (theirs / "bin" / "python").symlink_to("python3.11" if target == "own" else target)
    assert base_of(theirs) == ""


def test_a_configuration_that_is_not_what_it_should_be(theirs: Path) -> None:
    path = theirs / "pyvenv.cfg"
    for home in ("/usr/local/bin", "/usr/bin/", "", f"{theirs}/bin"):
        path.write_text(f"home = {home}\n")
        assert base_of(theirs) == "", home
    path.write_text("home = /opt/bin\nHOME = /usr/bin\n")
    assert base_of(theirs)
    path.write_text("#" * 5000 + "\nhome = /usr/bin\n")
    assert base_of(theirs) == ""
    path.unlink()
    assert base_of(theirs) == ""
    os.mkfifo(path)
    assert base_of(theirs) == "", "which nobody waits for"
    path.unlink()
    (theirs / "real.cfg").write_text("home = /usr/bin\n")
    path.symlink_to("real.cfg")
    assert base_of(theirs) == ""
