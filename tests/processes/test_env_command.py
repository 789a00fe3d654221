"""Virtualenvs made by the command line: whole or not at all, and brought to running sites without a lost request."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ORDINARY_USER, Server, make_folder, wait_for

APP = """
    import os, sys, hosteldemo
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{hosteldemo.VERSION} {sys.prefix}".encode()]
"""
UV = shutil.which("uv", path=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
TOOLS = ["pip", *(["uv"] if UV else [])]


def make_wheel(folder: Path, version: str, *, extra: str = "") -> None:
    """A wheel of a package with a program (PyPA's binary distribution format)."""
    info = f"hosteldemo-{version}.dist-info"
    files = {
        "hosteldemo.py": f"VERSION = {version!r}\ndef main():\n    print('demo', VERSION)\n{extra}",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: hosteldemo\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nhosteldemo = hosteldemo:main\n",
    }
    lines = []
    with zipfile.ZipFile(folder / f"hosteldemo-{version}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(text.encode())}")
        archive.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,", ""]))


@pytest.fixture
def project() -> Iterator[Path]:
    """A folder with wheels of two versions of a package."""
    folder = make_folder()
    (folder / "wheels").mkdir()
    for version in ("1.0", "2.0"):
        make_wheel(folder / "wheels", version)
    yield folder
    shutil.rmtree(folder)


def hostel(project: Path, tool: str, *arguments: str, run_dir: str = "/nonexistent", **more: Any) -> Any:
    path = "/usr/local/bin:/usr/bin:/bin" + (f":{os.path.dirname(UV)}" if tool == "uv" and UV else "")
    environment = {"PATH": path, "HOME": str(project), "HOSTEL_RUN_DIR": run_dir, "LANG": "C.UTF-8"}
    return subprocess.run(
        [sys.executable, "-m", "hostel", "env", *arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=120, **more,
    )  # fmt: skip


def options(project: Path) -> list[str]:
    return [f"--option={each}" for each in ("--no-index", "--find-links", f"{project}/wheels")]


def leftovers(project: Path) -> list[str]:
    return [path.name for path in project.iterdir() if path.name.startswith(".hostel-new")]


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("kind", ["requirements.txt", "pyproject.toml"])
def test_it_is_made(project: Path, tool: str, kind: str) -> None:
    text = (
        "hosteldemo==1.0\n"
        if kind == "requirements.txt"
        else '[project]\nname = "x"\ndependencies = ["hosteldemo<2"]\n'
    )
    (project / kind).write_text(text)
    result = hostel(project, tool, "create", str(project / ".venv"), *options(project))
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"making {project}/.venv with ")
    assert any("hosteldemo" in line for line in lines)  # its progress
    assert lines[-1] == f'sites run in it with: environment = "{project}/.venv"'
    program = project / ".venv" / "bin" / "hosteldemo"
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "demo 1.0\n"
    assert b".hostel-new" not in b"".join(
        path.read_bytes() for path in (project / ".venv" / "bin").iterdir() if not path.is_symlink()
    )
    assert ".hostel-new" not in (project / ".venv" / "pyvenv.cfg").read_text()
    assert leftovers(project) == []
    again = hostel(project, tool, "create", str(project / ".venv"))
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


@pytest.mark.parametrize("tool", TOOLS)
def test_what_cannot_be_installed_is_told_and_leaves_nothing(project: Path, tool: str) -> None:
    (project / "requirements.txt").write_text("hosteldemo==7.0\n")
    result = hostel(project, tool, "create", str(project / ".venv"), *options(project), "--json")
    assert result.returncode == 111
    error = json.loads(result.stdout)["error"]
    assert error["message"].startswith(f"cannot install what {project}/requirements.txt names: ")
    assert "hosteldemo==7.0" in error["message"]
    assert error["hint"] == "see whether the names and versions in the file are right"
    assert not (project / ".venv").exists()
    assert leftovers(project) == []
    (project / "requirements.txt").unlink()
    (project / "pyproject.toml").write_text("[tool.poetry]\n")
    result = hostel(project, tool, "create", str(project / ".venv"))
    assert (result.returncode, "it has no dependencies in [project]" in result.stderr) == (2, True)


def test_an_interruption_leaves_nothing(project: Path) -> None:
    (project / "requirements.txt").write_text("hosteldemo==1.0\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "hostel", "env", "create", str(project / ".venv"), *options(project)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(project)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: leftovers(project), "it to begin")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
    assert leftovers(project) == []
    assert not (project / ".venv").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")
def test_root_lets_the_owner_of_the_folder_make_it(project: Path) -> None:
    (project / "requirements.txt").write_text("hosteldemo==1.0\n")
    home = project / "theirs"
    home.mkdir()
    shutil.chown(home, ORDINARY_USER)
    source = ["--from", str(project / "requirements.txt")]
    result = hostel(project, "pip", "create", str(home / "env"), *source, *options(project))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"as user {ORDINARY_USER}, who owns the folder\n")
    owners = {path.owner() for path in (home / "env").rglob("*") if not path.is_symlink()}
    assert owners == {ORDINARY_USER}
    # What others can change, root does not install as root.
    shutil.chown(project / "requirements.txt", ORDINARY_USER)
    result = hostel(project, "pip", "create", str(project / "env"), *source, *options(project))
    assert (result.returncode, "cannot install as root" in result.stderr) == (2, True)
    result = hostel(project, "pip", "create", str(home / "other"), *source, *options(project), "--option=--nonsense")
    assert result.returncode == 111
    assert "Traceback" not in result.stderr


def test_new_packages_for_a_running_site(project: Path, shared_server: Server) -> None:
    server = shared_server
    (project / "requirements.txt").write_text("hosteldemo==1.0\n")
    environment = project / "env"
    assert hostel(project, "pip", "create", str(environment), *options(project)).returncode == 0
    for name in ("one", "two"):
        server.site(name, APP, environment=str(environment))
    server.wait_state("one", "cold")
    server.wait_state("two", "cold")
    assert server.get("one").text == f"1.0 {environment}"
    answers: list[tuple[int, str]] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answer = server.get("one")
            answers.append((answer.status, answer.text))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        (project / "requirements.txt").write_text("hosteldemo==9.0\n")  # which is not to be had
        result = hostel(project, "pip", "sync", "one", run_dir=str(server.run_dir))
        assert result.returncode == 111
        (project / "requirements.txt").write_text("hosteldemo==2.0\n")
        result = hostel(project, "pip", "sync", "one", "--json", run_dir=str(server.run_dir))
        assert result.returncode == 0, result.stdout + result.stderr
        assert json.loads(result.stdout)["reloaded"] == ["one", "two"]
    finally:
        is_over.set()
        thread.join()
    assert {status for status, _ in answers} == {200}
    assert {text.split()[0] for _, text in answers} <= {"1.0", "2.0"}
    assert server.get("one").text == server.get("two").text == f"2.0 {environment}"
    assert leftovers(project) == []

    listed = json.loads(server.run("env", "list", "--json").stdout)["environments"]
    view = next(each for each in listed if each["path"] == str(environment))
    assert (view["sites"], view["source"]) == (["one", "two"], str(project / "requirements.txt"))
    assert view["size"] > 100_000
    assert view["version"].startswith("3.")
    wait_for(lambda: "hosteldemo" in learned(server, "one")["imported"], "it to be imported ahead")
    assert learned(server, "one")["refused"] == {}
    assert server.run("env", "list").stdout.count(str(environment)) == 1
    assert "a zygote has imported" in server.run("env", "show", "one").stdout


def learned(server: Server, name: str) -> dict[str, Any]:
    view: dict[str, Any] = json.loads(server.run("env", "show", name, "--json").stdout)
    return view


def test_what_was_refused_is_shown_with_the_reason(project: Path, shared_server: Server) -> None:
    server = shared_server
    make_wheel(
        project / "wheels",
        "3.0",
        extra="import threading, time\nthreading.Thread(target=time.sleep, args=(999,), daemon=True).start()\n",
    )
    (project / "requirements.txt").write_text("hosteldemo==3.0\n")
    assert hostel(project, "pip", "create", str(project / "env"), *options(project)).returncode == 0
    server.site("threads", APP, environment=str(project / "env"))
    server.wait_state("threads", "cold")
    assert server.get("threads").status == 200
    wait_for(lambda: "threads" in learned(server, "threads")["refused"].get("hosteldemo", ""))
    assert "refused hosteldemo: " in server.run("env", "show", "threads").stdout
