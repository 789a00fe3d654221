"""Environments of sites: what is installed, upgraded or made anew in them is what the next worker runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hostel.manager.bare import FEW
from tests.conftest import MakeServer
from tests.support.server import Server, wait_for

APP = """
    import shared
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(shared.VERSION).encode()]
"""


def make_environment(path: Path, *, has_copy: bool = False) -> Path:
    """A virtualenv that everybody may read; its folder of packages. ``has_copy``: of the interpreter."""
    copies = ["--copies"] if has_copy else []
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", *copies, str(path)], check=True)
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

    packages = make_environment(environment, has_copy=is_tenants)  # or the zygote of the system's Python would serve it
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
    packages = make_environment(environment, has_copy=is_tenants)
    (packages / "shared.py").write_text("VERSION = 4444\n")
    if is_tenants:
        give(environment, "hostel")
    wait_for(lambda: server.state("app") == "cold", "the site to sleep")
    assert server.get("app").text == "4444"
    left = 0 if is_tenants else 1
    wait_for(lambda: len(zygotes_of(server, environment)) == left, "the zygotes that are out of date to end")
    assert server.stop() == 0


BARE = """
    import shared, sys
    def application(environ, start_response):
        import colorsys
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{shared.VERSION} {sys.prefix} {sys.executable}".encode()]
"""


def test_tenants_virtualenvs_are_served_by_one_zygote_of_their_interpreter(make_server: MakeServer, user: str) -> None:
    if user or os.geteuid() != 0:
        pytest.skip("there is one user only")
    server = make_server()
    base = Path(os.path.realpath("/usr/bin/python3"))
    for name in ("nobody", "hostel"):
        packages = make_environment(server.folder / name)
        (packages / "shared.py").write_text(f"VERSION = {name!r}\n")
        give(server.folder / name, name)
        server.site(name, BARE, environment=str(server.folder / name), user=name, workers={"idle": 0.5})
    server.start()
    for _ in range(2):
        for name in ("nobody", "hostel"):
            assert server.get(name).text == f"{name} {server.folder / name} {server.folder / name}/bin/python"
        wait_for(lambda: {server.state(name) for name in ("nobody", "hostel")} == {"cold"}, "both to sleep")
    (zygote,) = zygotes_of(server, base)
    assert zygote["user"] == "root"
    # What is Python's own is learned and imported ahead for all of them, and nothing of theirs.
    wait_for(lambda: zygote_has_imported(server, base), "a zygote that has imported it")
    assert server.get("nobody").text.startswith("nobody ")
    (learned,) = [
        path.read_text() for path in (server.state_dir / "learned").iterdir() if "interpreters" in path.read_text()
    ]
    assert "colorsys" in learned and "shared" not in learned
    assert server.stop() == 0


def test_which_virtualenvs_have_a_zygote_of_their_own(make_server: MakeServer) -> None:
    """Those that sites share, and the first few; all others are served by that of their interpreter."""
    server = make_server()
    base = Path(os.path.realpath("/usr/bin/python3"))
    folders = [server.folder / f"environment{number}" for number in range(FEW + 1)]
    for number, folder in enumerate(folders):
        (make_environment(folder) / "shared.py").write_text(f"VERSION = {number}\n")
        server.site(f"site{number}", APP, environment=str(folder))
    server.start()
    for number in range(len(folders)):
        assert server.get(f"site{number}").text == str(number)
    own = [folder for folder in folders if zygotes_of(server, folder)]
    assert FEW - 1 <= len(own) < len(folders)
    assert len(zygotes_of(server, base)) == 1
    last = folders[-1]
    server.site("sharing", APP, environment=str(last))
    server.wait_state("sharing", "cold")
    assert server.get("sharing").text == str(len(folders) - 1)
    assert zygotes_of(server, last)
    assert server.stop() == 0
