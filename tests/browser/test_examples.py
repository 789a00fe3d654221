"""The examples in a real browser: pages, styles, the admin, a form, a WebSocket."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import _end
from tests.support.server import Server, make_folder

ROOT = Path(__file__).parent.parent.parent
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1100,800",
)  # fmt: skip


def browse(url: str, *, wait_ms: int = 3000) -> str:
    """The page as the browser has it after its scripts ran."""
    with tempfile.TemporaryDirectory() as profile:
        result = subprocess.run(
            ["chromium", *FLAGS, f"--user-data-dir={profile}", f"--virtual-time-budget={wait_ms}", "--dump-dom", url],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def examples() -> Iterator[Server]:
    """The examples as ``make serve`` serves them, from a copy that site users can read."""
    folder = make_folder()
    subprocess.run(["cp", "-r", str(ROOT / "examples"), str(folder)], check=True)
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    server = Server(folder, paths=(str(folder / "examples"),))
    environment = {"STATE_DIRECTORY": str(folder / "scratch"), "PATH": "/usr/bin:/bin"}
    (folder / "scratch").mkdir()
    import sys

    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"],
        cwd=folder / "examples" / "blog", env=environment, check=True,
    )  # fmt: skip
    server.start()
    yield server
    _end([server])


@pytest.mark.slow
def test_every_example_shows_its_page_with_its_styles(examples: Server) -> None:
    names = [site["name"] for site in examples.status()["sites"]]
    assert len(names) >= 5
    for name in names:
        page = browse(f"http://{name}.localhost:{examples.port}/")
        assert "<h1" in page, (name, page[:500])
        log = examples.log(name, "access.log")
        styles = [line for line in log.splitlines() if re.search(r'"GET \S+\.css\S* HTTP', line)]
        assert "stylesheet" not in page or styles, name
        assert all('" 200 ' in line or '" 304 ' in line for line in styles), styles


@pytest.mark.slow
def test_the_admin_of_the_django_example_has_its_styles(examples: Server) -> None:
    page = browse(f"http://blog.localhost:{examples.port}/admin/")
    assert "Django administration" in page
    log = examples.log("blog", "access.log")
    assert re.search(r'"GET /static/admin/css/base\.css HTTP/1\.1" 200 ', log)


@pytest.mark.slow
def test_the_websocket_of_the_chat_connects_through_the_front(examples: Server) -> None:
    browse(f"http://chat.localhost:{examples.port}/", wait_ms=5000)
    assert re.search(r'"GET /talk HTTP/1\.1" 101 ', examples.log("chat", "access.log"))
