"""Environments of sites: what is installed, upgraded or made anew in them is what the next worker runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeServer
from tests.support.server import Server, wait_for

APP = """
    import shared
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(shared.VERSION).encode()]
"""


def make_environment(path: Path, python: str = "/usr/bin/python3") -> Path:
    """A virtualenv that everybody may read; its folder of packages."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(path)], check=True)
    (packages,) = path.glob("lib/python3*/site-packages")
    return packages


def give(path: Path, user: str) -> None:
    subprocess.run(["chown", "-R", user, str(path)], check=True)


def zygotes_of(server: Server, environment: Path) -> list[dict[str, Any]]:
    return [zygote for zygote in server.status()["server"]["zygotes"] if zygote["environment"] == str(environment)]


def zygote_has_imported(server: Server, environment: Path) -> bool:
    return any(zygote["state"] == "current" and zygote["preloaded"] for zygote in zygotes_of(server, environment))


@pytest.mark.parametrize("owner", ["the administrator", "the tenant"])
def test_what_was_imported_ahead_is_never_out_of_date(make_server: MakeServer, user: str, owner: str) -> None:
    server = make_server(user=user)
    environment = server.folder / "environment"
    is_tenants = owner == "the tenant"

    def has_imported() -> bool:
        if is_tenants:  # such a zygote lives in the room of its site: only as long as that is awake
            server.get("app")
        return zygote_has_imported(server, environment)

    packages = make_environment(environment)
    (packages / "shared.py").write_text("VERSION = 1\n")
    server.site("app", APP, environment=str(environment), workers={"idle": 1})
    server.start()
    if is_tenants:
        if user or os.geteuid() != 0:
            pytest.skip("there is one user only")
        give(environment, "hostel")
    assert server.get("app").text == "1"
    wait_for(has_imported, "a zygote that has imported it")
    server.run("reload", "app")
    assert server.get("app").text == "1"

    (packages / "shared.py").write_text("VERSION = 22\n")  # changed in place, while a worker runs
    server.run("reload", "app")
    assert server.get("app").text == "22"

    wait_for(lambda: server.state("app") == "cold", "the site to sleep")
    if is_tenants:
        wait_for(lambda: not zygotes_of(server, environment), "its zygote to end with the last worker of its site")
    else:
        wait_for(has_imported, "a zygote that has imported it")
    (packages / "shared.py").unlink()  # upgraded while it sleeps: now a package
    (packages / "shared").mkdir()
    (packages / "shared" / "__init__.py").write_text("VERSION = 333\n")
    assert server.get("app").text == "333"

    wait_for(has_imported, "a zygote that has imported it")
    shutil.rmtree(environment)  # made anew
    packages = make_environment(environment)
    (packages / "shared.py").write_text("VERSION = 4444\n")
    if is_tenants:
        give(environment, "hostel")
    wait_for(lambda: server.state("app") == "cold", "the site to sleep")
    assert server.get("app").text == "4444"
    left = 0 if is_tenants else 1
    wait_for(lambda: len(zygotes_of(server, environment)) == left, "the zygotes that are out of date to end")
    assert server.stop() == 0
