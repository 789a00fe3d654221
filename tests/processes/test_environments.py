"""Environments of sites: what is installed, upgraded or made anew in them is what the next worker runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

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


def zygote_has_imported(server: Server, environment: Path) -> bool:
    zygotes = server.status()["server"]["zygotes"]
    mine = [zygote for zygote in zygotes if zygote["environment"] == str(environment)]
    return [zygote["state"] for zygote in mine] == ["current"] and mine[0]["preloaded"] > 0


@pytest.mark.parametrize("owner", ["the administrator", "the tenant"])
def test_what_was_imported_ahead_is_never_out_of_date(make_server: MakeServer, user: str, owner: str) -> None:
    server = make_server(user=user)
    environment = server.folder / "environment"
    packages = make_environment(environment)
    (packages / "shared.py").write_text("VERSION = 1\n")
    server.site("app", APP, environment=str(environment), workers={"idle": 0.3})
    server.start()
    if owner == "the tenant":
        if user or os.geteuid() != 0:
            pytest.skip("there is one user only")
        give(environment, "hostel")
    assert server.get("app").text == "1"
    wait_for(lambda: zygote_has_imported(server, environment), "a zygote that has imported it")
    server.run("reload", "app")
    assert server.get("app").text == "1"

    (packages / "shared.py").write_text("VERSION = 22\n")  # changed in place, while a worker runs
    server.run("reload", "app")
    assert server.get("app").text == "22"

    wait_for(lambda: server.state("app") == "cold", "the site to sleep")
    wait_for(lambda: zygote_has_imported(server, environment), "a zygote that has imported it")
    (packages / "shared.py").unlink()  # upgraded while it sleeps: now a package
    (packages / "shared").mkdir()
    (packages / "shared" / "__init__.py").write_text("VERSION = 333\n")
    assert server.get("app").text == "333"

    wait_for(lambda: zygote_has_imported(server, environment), "a zygote that has imported it")
    shutil.rmtree(environment)  # made anew
    packages = make_environment(environment)
    (packages / "shared.py").write_text("VERSION = 4444\n")
    if owner == "the tenant":
        give(environment, "hostel")
    wait_for(lambda: server.state("app") == "cold", "the site to sleep")
    assert server.get("app").text == "4444"
    wait_for(
        lambda: len([z for z in server.status()["server"]["zygotes"] if z["environment"] == str(environment)]) == 1
    )
    assert server.stop() == 0
