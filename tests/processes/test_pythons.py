"""Sites on Pythons of their own: several versions side by side, each seeing its own packages and nothing of Hostel's."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.options.python import find_python, prefix_of, version_of
from hostel.sandbox.identity import Identity
from tests.support.server import Server, make_folder, wait_for
from tests.worker.test_interpreters import CURRENT, interpreters

WANTED = ("3.9", "3.11", "3.13")
LEFT_OUT = shutil.ignore_patterns(
    "test", "tests", "idlelib", "tkinter", "site-packages", "ensurepip", "__pycache__", "*.a"
)
LOOK = """
    import importlib.util, json, sys, os
    def look():
        names = ("pydantic", "click", "rich", "watchfiles", "tomli", "idna", "uvicorn", "h11", "only_here")
        found = [name for name in names if importlib.util.find_spec(name)]
        return json.dumps({
            "version": "{}.{}".format(*sys.version_info), "path": sys.path[1:], "found": found,
            "PATH": os.environ["PATH"], "VIRTUAL_ENV": os.environ.get("VIRTUAL_ENV"), "executable": sys.executable,
        }).encode()
"""
WSGI = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [look()]
"""
ASGI = """
    async def application(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": look()})
        else:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
"""


@pytest.fixture(scope="module")
def pythons() -> Iterator[Path]:
    """A folder with a copy of each wanted Python, which everybody may read, as an administrator would install them."""
    folder = make_folder()
    for version in WANTED:
        found = interpreters().get(version)
        if found is None or not version_of(found):
            continue
        prefix = Path(prefix_of(found))
        place = folder / f"cpython-{version}.0"
        (place / "bin").mkdir(parents=True)
        shutil.copy(os.path.realpath(found), place / "bin" / f"python{version}")
        shutil.copytree(prefix / "lib" / f"python{version}", place / "lib" / f"python{version}", ignore=LEFT_OUT)
        packages = place / "lib" / f"python{version}" / "site-packages"
        for folder_of_packages in (packages, place / "lib" / "python3" / "dist-packages"):  # the second is Debian's
            folder_of_packages.mkdir(parents=True)
            (folder_of_packages / "only_here.py").touch()
        for library in prefix.glob("lib/libpython*.so*"):
            shutil.copy(library, place / "lib")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(pythons: Path) -> Iterator[Server]:
    server = Server(make_folder(), arguments=("--pythons", str(pythons)))
    try:
        yield server.start()
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder)


def present(folder: Path) -> list[str]:
    return [version for version in WANTED if list(folder.glob(f"*/bin/python{version}"))]


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_side_by_side(server: Server, pythons: Path, kind: str) -> None:
    versions = present(pythons)
    assert CURRENT in versions or len(versions) >= 2
    for version in versions:
        name = f"{kind}-{version.replace('.', '-')}"
        server.site(name, LOOK + (ASGI if kind == "asgi" else WSGI), python=version)
    for version in versions:
        name = f"{kind}-{version.replace('.', '-')}"
        server.wait_state(name, "cold")
        answer = server.get(name)
        if (
            kind == "asgi" and version == "3.9" and answer.status == 503
        ):  # what there is to lend is written for newer ones
            assert "install uvicorn into the site's environment" in server.view(name)["problems"][0]["hint"]
            versions = [each for each in versions if each != version]
            continue
        assert answer.status == 200, server.log(name)
        seen = json.loads(answer.body)
        place = next(pythons.glob(f"*/bin/python{version}")).parent
        assert (seen["version"], seen["executable"]) == (version, str(place / f"python{version}"))
        assert seen["PATH"].startswith(f"{place}:")
        assert seen["VIRTUAL_ENV"] is None
        assert all(path.startswith(str(place.parent)) for path in seen["path"]), seen["path"]
        # uvicorn is lent to those who need it, by the names of its parts; nothing else of Hostel's is there.
        lent = {"uvicorn", "h11", "click"} if kind == "asgi" else set()
        assert set(seen["found"]) - lent == {"only_here"}
    serving = {site["name"] for site in server.status()["sites"] if site["state"] == "serving"}
    assert len([name for name in serving if name.startswith(kind)]) == len(versions)


def test_a_python_that_is_not_there(server: Server, pythons: Path) -> None:
    missing = next(version for version in ("3.14", "3.12", "3.10") if version not in interpreters())
    server.site("missing", WSGI, python=missing)
    server.site("path", WSGI, python="/nonexistent/python3")
    server.site("both", WSGI, python="3.11", environment="/srv/env")
    server.site("number", WSGI, python=3.1)
    wait_for(lambda: len(server.status()["sites"]) >= 4)
    server.run("start", "missing", check=False)
    problem = server.view("missing")["problems"][0]
    assert problem["reason"].startswith(f"no Python {missing} was found on this machine, which has 3.")
    assert "--pythons" in problem["hint"]
    said = server.run("check", str(server.sites), check=False).stdout
    assert "its Python cannot be used: /nonexistent: No such file or directory" in said
    assert "an environment has its Python already" in said
    assert 'write it in quotes, as "3.13"' in said


NOBODY = Identity(65534, 65534, (), "nobody", "/nonexistent")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look with another's eyes")
def test_one_that_the_user_cannot_read_says_so(pythons: Path) -> None:
    from hostel.errors import SiteError

    version = present(pythons)[0]
    closed = make_folder()
    try:
        shutil.copytree(pythons / f"cpython-{version}.0", closed / "python", symlinks=True)
        path = str(closed / "python" / "bin" / f"python{version}")
        assert find_python(path, NOBODY) == path
        closed.chmod(0o700)
        with pytest.raises(SiteError, match="is closed to user nobody"):
            find_python(path, NOBODY)
        # By its version, another is taken that can be read.
        assert find_python(version, NOBODY, [str(closed), str(pythons)]).startswith(str(pythons))
    finally:
        shutil.rmtree(closed)


def test_what_is_no_python(tmp_path: Path) -> None:
    from hostel.errors import SiteError

    me = Identity(os.geteuid(), os.getegid(), (), "me", str(tmp_path))
    shim = tmp_path / "bin" / "python3.13"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nexec python3\n")
    shim.chmod(0o755)
    assert version_of(str(shim)) == ""
    with pytest.raises(SiteError, match="is no Python that Hostel knows"):
        find_python(str(shim), me)
    (tmp_path / "pyvenv.cfg").touch()
    with pytest.raises(SiteError, match="belongs to an environment"):
        find_python(str(shim), me)
