"""A zygote notices that what it was made from has changed, and forks no more."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from hostel.wire import Outdated
from tests.worker.test_interpreters import interpreters, number
from tests.zygote.process import StartZygote, ZygoteProcess, listen_to


def rewrite(zygote: ZygoteProcess) -> str:
    path = zygote.packages / "shared.py"
    path.write_text("VERSION = 222")
    return str(path)


def rewrite_as_large_and_as_old(zygote: ZygoteProcess) -> str:
    path = zygote.packages / "shared.py"
    before = path.stat()
    (zygote.packages / "new").write_text("VERSION = 2")
    os.utime(zygote.packages / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (zygote.packages / "new").rename(path)
    return str(path)


def remove(zygote: ZygoteProcess) -> str:
    (zygote.packages / "shared.py").unlink()
    return str(zygote.packages / "shared.py")


def install(zygote: ZygoteProcess) -> str:
    (zygote.site_packages / "other.pth").write_text("/somewhere\n")
    return str(zygote.site_packages)


def reconfigure(zygote: ZygoteProcess) -> str:
    (zygote.folder / "pyvenv.cfg").write_text("home = /elsewhere\n")
    return str(zygote.folder / "pyvenv.cfg")


def exchange_python(zygote: ZygoteProcess) -> str:
    python = zygote.folder / "bin" / "python"
    python.unlink()
    python.symlink_to("/bin/true")
    return str(python)


def remove_python(zygote: ZygoteProcess) -> str:
    (zygote.folder / "bin" / "python").unlink()
    return str(zygote.folder / "bin" / "python")


CHANGES = [rewrite, rewrite_as_large_and_as_old, remove, install, reconfigure, exchange_python, remove_python]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_zygote_forks_no_more_when_its_environment_has_changed(
    zygote: ZygoteProcess, change: Callable[[ZygoteProcess], str]
) -> None:
    zygote.module("shared", "VERSION = 1")
    assert zygote.preload("shared").imported == ("shared",)
    worker = zygote.fork()
    worker.wait_ready()
    path = change(zygote)
    refused = zygote.order()
    assert zygote.expect(Outdated) == ("site", refused.number, path)
    assert listen_to(refused.channel) is None, "nothing of the order is kept"
    assert worker.ask().body == str(worker.pid).encode(), "those it has forked go on"
    worker.drain()
    assert zygote.wait_ended(worker) == 0


@pytest.mark.parametrize("version", sorted(interpreters(), key=number))
def test_nothing_changes_by_itself(start_zygote: StartZygote, version: str) -> None:
    zygote = start_zygote(interpreters()[version])
    zygote.module("package.", "from package import inner")
    zygote.module("package.inner", "import json, decimal, sqlite3")
    zygote.preload("package", "email.mime.text", "asyncio")
    for _ in range(3):
        zygote.fork("import package, xml.dom.minidom" + "\n" + HELLO).wait_ready()


def test_a_page_is_served_all_the_same(zygote: ZygoteProcess) -> None:
    """It is no code of the environment's."""
    install(zygote)
    zygote.fork(page="closed").wait_ready()


HELLO = """
def application(environ, start_response):
    start_response("200 OK", [])
    return []
"""
