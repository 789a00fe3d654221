"""What ``hostel check`` and every start ask of the machine: can the site's user have what the site needs?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hostel.errors import SiteError
from hostel.options.check import check_site, find_obstacles, identity_of
from hostel.options.server import make_server_options
from hostel.options.site import Problem, Site, make_site
from hostel.sandbox.identity import Identity, find_identity, own_identity
from tests.support.server import make_folder

OPTIONS = make_server_options({"default_user": "nobody"})
NOBODY = find_identity("nobody")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach, with an application."""
    path = make_folder()
    (path / "app.py").write_text("")
    yield path
    shutil.rmtree(path)


def site(folder: Path, **table: Any) -> Site:
    made, problems = make_site("blog", str(folder / "blog.toml"), str(folder), {"app": "app:application", **table})
    assert made is not None, problems
    return made


def check(folder: Path, **table: Any) -> list[tuple[str, str]]:
    """Where and why, of all problems; each has a remedy and names the file."""
    problems = check_site(site(folder, **table), OPTIONS)
    for problem in problems:
        assert problem.remedy, problem
        assert problem.file.endswith("blog.toml")
    return [(problem.where, problem.reason) for problem in problems]


def obstacles(folder: Path, identity: Identity = NOBODY, **table: Any) -> list[Problem]:
    return find_obstacles(site(folder, **table), identity)


def make_environment(path: Path) -> Path:
    """The skeleton of a virtualenv."""
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python").symlink_to(os.path.realpath("/usr/bin/python3"))
    (path / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    return path


def test_a_good_site_has_no_problem(folder: Path) -> None:
    assert check(folder) == []
    environment = make_environment(folder / "venv")
    assert check(folder, environment=str(environment)) == []


def test_a_missing_directory(folder: Path) -> None:
    ((where, reason),) = check(folder, directory="nowhere")
    assert where == "directory"
    assert reason == f"its directory cannot be used: {folder}/nowhere: No such file or directory"


def test_a_file_instead_of_a_directory(folder: Path) -> None:
    assert check(folder, directory="app.py") == [
        ("directory", f"its directory cannot be used: {folder}/app.py is not a folder")
    ]


@needs_root
@pytest.mark.parametrize(
    ("mode", "is_closed"), [(0o700, True), (0o711, True), (0o744, True), (0o755, False), (0o705, False)]
)
def test_a_directory_has_to_be_readable_and_enterable(folder: Path, mode: int, is_closed: bool) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "app.py").write_text("")
    (folder / "inner").chmod(mode)
    found = obstacles(folder, directory="inner")
    assert bool(found) is is_closed
    if found:
        assert found[0].reason.endswith(f"{folder}/inner is closed to user nobody (mode {mode:o})")
        assert "give user nobody the right to read it" in found[0].remedy


@needs_root
def test_the_first_closed_folder_on_the_way_is_named(folder: Path) -> None:
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "a").chmod(0o700)
    ((problem),) = obstacles(folder, directory="a/b/c")
    assert f"{folder}/a is closed to user nobody (mode 700)" in problem.reason


@needs_root
def test_owner_group_and_others_have_each_their_own_bits(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    inner.chmod(0o075)  # for everybody but its owner
    os.chown(inner, NOBODY.uid, 0)
    assert obstacles(folder, directory="inner")
    os.chown(inner, 0, NOBODY.gid)
    assert not obstacles(folder, directory="inner")
    inner.chmod(0o705)  # for everybody but its group
    assert obstacles(folder, directory="inner")
    assert not obstacles(folder, Identity(4321, 4321, (), "other", "/"), directory="inner")


@needs_root
def test_an_access_control_list_may_allow_what_the_mode_does_not(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    inner.chmod(0o700)
    assert obstacles(folder, directory="inner")
    # Version 2; user:: rwx, user:nobody: r-x, group:: ---, mask:: r-x, other:: ---; acl(5), linux/posix_acl_xattr.h
    entries = [(1, 7, -1), (2, 5, NOBODY.uid), (4, 0, -1), (16, 5, -1), (32, 0, -1)]
    data = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + (number & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, bits, number in entries
    )
    try:
        os.setxattr(inner, "system.posix_acl_access", data)
    except OSError:
        pytest.skip("the file system has no access control lists")
    assert not obstacles(folder, directory="inner")


@needs_root
def test_an_environment_that_is_missing_closed_or_none(folder: Path) -> None:
    ((where, reason),) = check(folder, environment="venv")
    assert (where, reason) == (
        "environment",
        f"its environment cannot be used: {folder}/venv: No such file or directory",
    )
    environment = make_environment(folder / "venv")
    environment.chmod(0o700)
    ((where, reason),) = check(folder, environment="venv")
    assert "venv is closed to user nobody" in reason
    environment.chmod(0o755)
    (environment / "lib/python3.11/site-packages").chmod(0o700)
    ((where, reason),) = check(folder, environment="venv")
    assert "site-packages is closed to user nobody" in reason
    (environment / "lib/python3.11/site-packages").chmod(0o755)
    (environment / "bin" / "python").unlink()
    ((where, reason),) = check(folder, environment="venv")
    assert reason == f"its Python cannot be used: {folder}/venv/bin/python: No such file or directory"


@needs_root
def test_a_python_under_root_s_home(folder: Path) -> None:
    """The usual case: root has made the environment with a Python of its own."""
    private = folder / "root"
    (private / "bin").mkdir(parents=True)
    (private / "bin" / "python3").write_text("")
    private.chmod(0o700)
    environment = make_environment(folder / "venv")
    (environment / "bin" / "python").unlink()
    (environment / "bin" / "python").symlink_to(private / "bin" / "python3")
    (problem,) = obstacles(folder, environment="venv")
    assert f"its Python cannot be used: {private} is closed to user nobody" in problem.reason
    assert "made in its folder by /usr/bin/python3 -m venv" in problem.remedy


def test_static_paths_that_are_missing_are_no_reason_not_to_start(folder: Path) -> None:
    found = check_site(site(folder, static={"/static/": "static-root", "/app.py": "app.py"}), OPTIONS)
    assert [(problem.where, problem.is_fatal) for problem in found] == [("static./static/", False)]
    assert "collectstatic" in found[0].remedy


def test_a_site_without_application_needs_nothing(folder: Path) -> None:
    made, _ = make_site(
        "files", f"{folder}/files.toml", str(folder), {"static": {"/": "."}, "directory": "/nonexistent"}
    )
    assert made is not None
    assert find_obstacles(made, NOBODY) == []


@pytest.mark.parametrize(
    ("app", "missing"),
    [
        ("app:x", ""), ("nowhere:x", "nowhere"), ("nowhere.wsgi:x", "nowhere"), ("package:x", ""), ("package.wsgi:x", ""),
        ("package.urls:x", "package.urls"), ("wsgiref.simple_server:demo_app", ""), ("added:x", ""), ("extra:x", ""),
        ("installed:x", ""),
    ],
)  # fmt: skip
def test_the_application_s_module_is_looked_for(folder: Path, app: str, missing: str) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "wsgi.py").write_text("")
    packages = make_environment(folder / "venv") / "lib/python3.11/site-packages"
    (packages / "installed.cpython-311-x86_64-linux-gnu.so").write_text("")
    (packages / "more.pth").write_text(f"# a comment\n{folder}/more\nimport os\n")
    for name, place in (("added", "more"), ("extra", "extra")):
        (folder / place).mkdir()
        (folder / place / f"{name}.py").write_text("")
    found = check(folder, app=app, environment="venv", env={"PYTHONPATH": f"{folder}/extra"})
    assert found == ([("app", f"there is no module {missing!r} in {folder} or in the environment")] if missing else [])


def test_an_editable_installation_may_provide_any_module(folder: Path) -> None:
    packages = make_environment(folder / "venv") / "lib/python3.11/site-packages"
    (packages / "__editable__.demo-1.pth").write_text(
        "import __editable___demo_finder; __editable___demo_finder.install()"
    )
    assert check(folder, app="nowhere:x", environment="venv") == []


def test_looking_for_modules_waits_for_nobody(folder: Path) -> None:
    packages = make_environment(folder / "venv") / "lib/python3.11/site-packages"
    os.mkfifo(packages / "trap.pth")
    (packages / "folder.pth").mkdir()
    assert [where for where, _ in check(folder, app="nowhere:x", environment="venv")] == ["app"]


# --- as whom -------------------------------------------------------------------------------------------------------


@needs_root
def test_root_runs_sites_as_their_user_or_the_default_one(folder: Path) -> None:
    assert identity_of(site(folder), OPTIONS).name == "nobody"
    assert identity_of(site(folder, user="daemon"), replace(OPTIONS, least_uid=1)).name == "daemon"
    with pytest.raises(SiteError, match="sites begin at 1000"):
        identity_of(site(folder, user="daemon"), OPTIONS)


@needs_root
@pytest.mark.parametrize(
    ("user", "says"),
    [("no-such-user", "there is no system user 'no-such-user'"), ("root", "is root, and no site runs as root")],
)
def test_a_user_that_no_site_can_have(folder: Path, user: str, says: str) -> None:
    with pytest.raises(SiteError, match=says):
        identity_of(site(folder, user=user), OPTIONS)
    ((where, reason),) = check(folder, user=user)
    assert where == "user"
    assert says in reason


def test_without_root_all_sites_run_as_the_caller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = Identity(NOBODY.uid, NOBODY.gid, (), "me", "/")
    monkeypatch.setattr("hostel.sandbox.identity.own_identity", lambda: me)
    assert identity_of(site(folder), OPTIONS) == me
    assert identity_of(site(folder, user="me"), OPTIONS) == me
    with pytest.raises(SiteError, match="it wants to run as user 'other', and Hostel runs as 'me'") as caught:
        identity_of(site(folder, user="other"), OPTIONS)
    assert caught.value.hint == "start Hostel as root, or remove user from the site file"


def test_own_identity() -> None:
    own = own_identity()
    assert own is None if os.geteuid() == 0 else own is not None and own.uid == os.geteuid()
