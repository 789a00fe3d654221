"""``hostel serve`` as a newcomer uses it: a project, a folder, both, neither; as root and as an ordinary user."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from hostel.cli import commands
from hostel.cli.paths import is_folder_of_sites, unused_name
from hostel.cli.serve import make_sources
from hostel.errors import UsageError
from hostel.options.server import ServerOptions
from tests.conftest import MakeServer
from tests.support.server import Server, free_port, wait_for

HELLO = """
    import os, sys
    def application(environ, start_response):
        start_response("200 OK", [])
        return [repr((os.environ.get("GREETING"), sys.prefix)).encode()]
"""
FLASK = """
    from flask import Flask
    app = Flask(__name__)
    @app.get("/")
    def index():
        return "from flask"
"""
FASTAPI = """
    from fastapi import FastAPI
    app = FastAPI()
    @app.get("/")
    async def index():
        return "from fastapi"
"""
HOSTS = ("localhost", "127.0.0.1", "any.example.com", "demo.localhost")


def serve(server: Server, *paths: Path) -> Server:
    server.paths = tuple(map(str, paths))
    server.start()
    wait_for(lambda: "Stop the server with Ctrl-C." in server.output, "the first screen")
    return server


def get(server: Server, path: str, host: str) -> tuple[int, str]:
    answer = server.get("demo", path, headers={"Host": f"{host}:{server.port}"})
    return answer.status, answer.text


def give(server: Server, folder: Path) -> None:
    """Let the server's user own a folder and what is in it."""
    if server.user and os.geteuid() == 0:
        entry = pwd.getpwnam(server.user)
        for path in (folder, *folder.rglob("*")):
            os.lchown(path, entry.pw_uid, entry.pw_gid)


@pytest.mark.slow
def test_a_fresh_django_project(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user)
    project = server.projects / "demo"
    project.mkdir()
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", str(project)], check=True, timeout=60)
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=project, check=True, timeout=60)
    give(server, project)
    serve(server, project)
    screen = server.output
    assert f"{project}: a Django project (mysite.wsgi:application), served as site demo" in screen
    assert re.search(rf"^demo +cold .* http://localhost:{server.port}/$", screen, re.M)
    if not user and os.geteuid() == 0:
        assert f"it runs as user hostel, who may not write into {project}" in screen
    assert server.workers("demo") == []
    for host in ("localhost", "127.0.0.1", "demo.localhost"):
        assert get(server, "/", host)[0] == 200
        status, page = get(server, "/admin/login/", host)
        assert (status, "Django administration" in page) == (200, True)
    style = re.search(r'<link rel="stylesheet" href="([^"]+)">', page)
    assert style is not None
    answer = server.get("demo", style[1])
    assert (answer.status, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
    wait_for(lambda: style[1] in server.log("demo", "access.log"))
    served = [line for line in server.log("demo", "access.log").splitlines() if style[1] in line]
    assert " worker=- " in served[0], "the front serves it, not the application"


@pytest.mark.parametrize(
    ("file", "code", "kind", "text"),
    [
        ("app.py", FLASK, "a Flask application (app:app)", "from flask"),
        ("main.py", FASTAPI, "a FastAPI application (main:app)", '"from fastapi"'),
        ("wsgi.py", HELLO, "a WSGI application (wsgi:application)", "(None, "),
        ("index.html", "from a file", "static files (files only)", "from a file"),
    ],
    ids=["flask", "fastapi", "wsgi", "static"],
)
def test_a_project_for_any_host(make_server: MakeServer, user: str, file: str, code: str, kind: str, text: str) -> None:
    server = make_server(user=user)
    server.write(f"demo/{file}", code)
    serve(server, server.projects / "demo")
    assert f"{server.projects}/demo: {kind}, served as site demo" in server.output
    for host in HOSTS:
        status, body = get(server, "/", host)
        assert (status, body[: len(text)]) == (200, text)
    if file == "main.py":
        assert "swagger" in server.get("demo", "/docs").text.lower()
    assert server.stop() == 0


def test_a_single_file_its_own_environment_and_variables(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user, arguments=("--env", "GREETING=good day"))
    file = server.write("demo/page.py", "import only_here\n" + HELLO.replace("\n    ", "\n"))
    environment = server.projects / "demo" / ".venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(environment)], check=True, timeout=60)
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "only_here.py").write_text("")
    give(server, server.projects / "demo")
    serve(server, file)
    assert get(server, "/", "localhost") == (200, repr(("good day", str(environment))))
    assert server.view("page")["file"] == str(file)


def test_a_django_project_with_the_settings_that_are_given(tmp_path: Path) -> None:
    """What it is, is worked out with the environment that it will have."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.css").write_text("")
    (tmp_path / "manage.py").write_text("import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'dev')\n")
    (tmp_path / "dev.py").write_text("STATIC_ROOT = None\n")
    (tmp_path / "live.py").write_text("STATIC_ROOT = 'files'\n")
    sources, ((site, _),) = make_sources((str(tmp_path),), {"DJANGO_SETTINGS_MODULE": "live"})
    assert site.static == (("/static", str(tmp_path / "files")),)
    assert site.env == (("DJANGO_SETTINGS_MODULE", "live"),)
    assert sources[0]["options"]["env"] == {"DJANGO_SETTINGS_MODULE": "live"}


@pytest.mark.slow
def test_folders_and_projects_together(make_server: MakeServer) -> None:
    server = make_server()
    server.site("filed", HELLO)
    (server.folder / "empty").mkdir()
    server.write("one/back/app.py", FLASK)
    server.write("two/back/main.py", FASTAPI)
    serve(
        server, server.sites, server.projects / "one/back", server.projects / "two/back", server.folder / "empty",
        server.sites,
    )  # fmt: skip
    assert sorted(site["name"] for site in server.status()["sites"]) == ["back", "back-2", "filed"]
    assert get(server, "/", "anything.example.com") == (200, "from flask")
    assert server.get("back-2").text == '"from fastapi"'
    assert server.get("filed").status == 200
    assert server.run("check").stdout.endswith("\n3 sites, no problems\n")
    server.run("add", "more", str(server.projects / "one/back"))
    assert (server.sites / "more.toml").exists()
    result = server.run("remove", "back", check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert "it comes from" in result.stderr
    (server.folder / "empty" / "late.toml").write_text(f'[static]\n"/" = "{server.projects}"\n')
    wait_for(lambda: server.state("late") == "cold")


def test_a_project_alone_takes_no_further_sites(make_server: MakeServer) -> None:
    server = make_server()
    server.write("demo/app.py", FLASK)
    serve(server, server.projects / "demo")
    for command in (("add", "more", str(server.projects / "demo")), ("remove", "demo")):
        result = server.run(*command, check=False)
        assert result.returncode == 2
        assert "not a folder of site files" in result.stderr or "not from a folder of site files" in result.stderr
    assert server.run("check").stdout.endswith("\n1 site, no problems\n")


def test_an_empty_folder(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user)
    serve(server, server.sites)
    hint = f"  hostel add NAME PROJECT --run-dir {server.run_dir}"
    assert hint in server.output.splitlines()
    assert server.run("check").stdout == "0 sites, no problems\n"
    assert server.get("localhost").status == 404
    server.write("demo/app.py", FLASK)
    server.run(*hint.replace("NAME", "demo").replace("PROJECT", str(server.projects / "demo")).split()[1:])
    assert server.get("demo").text == "from flask"
    is_ordinary = bool(user) or os.geteuid() != 0
    assert ("nothing guards them from each other" in server.output) is is_ordinary


def test_the_first_screen_tells_what_is_wrong(make_server: MakeServer) -> None:
    server = make_server()
    server.site("fine", HELLO)
    server.site_file("odd", "ap = 3\n")
    server.site_file("wo\x1brse", "ap = 3\n")
    serve(server, server.sites)
    rows = server.output[server.output.index("SITE") :]
    assert re.search(r"^fine +cold ", rows, re.M)
    assert re.search(r"^odd +invalid !", rows, re.M)
    assert "! odd: " in rows
    assert "\x1b" not in rows


def refused(make_server: MakeServer, *arguments: str) -> tuple[int, str]:
    """Exit status and message of a server that does not start; it has left nothing behind."""
    server = make_server()
    result = server.run(
        "serve", "--listen", str(server.port), "--state-dir", str(server.state_dir), "--log-dir", str(server.log_dir),
        *arguments, check=False,
    )  # fmt: skip
    left = {path.name for path in server.run_dir.iterdir()} if server.run_dir.exists() else set()
    assert not left
    assert "Traceback" not in result.stderr
    return result.returncode, result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("/nonexistent",), "cannot serve /nonexistent: there is no such file or folder"),
        (("/dev/null",), "it is neither a folder nor a Python file"),
        (("/proc/self/fdinfo",), "nothing in it looks like a web application"),
        (("/", "--listen", "nowhere"), "--listen: 'nowhere' is not an address"),
        (("/", "--parallel-starts", "99999", "--body", "12Q"), "--parallel-starts: "),
        (("/", "--nginx", "/bin/true"), ""),
        (("/", "--run-dir", "/etc"), ""),
        (("/", "--env", "X"), "cannot use --env 'X'"),
    ],
)
def test_what_cannot_be_served(make_server: MakeServer, arguments: tuple[str, ...], message: str) -> None:
    code, said = refused(make_server, *arguments)
    assert code == 2
    assert said.startswith("error: ")
    assert message in said


def test_wrong_paths_and_folders(make_server: MakeServer, tmp_path: Path) -> None:
    file = tmp_path / "blog.toml"
    file.write_text('[static]\n"/" = "."\n')
    code, said = refused(make_server, str(file))
    assert (code, said) == (2, f"error: cannot serve {file} alone: it is one site file\nhint:  serve {tmp_path}\n")
    code, said = refused(make_server, str(tmp_path), "--env", "A=1")
    assert (code, "cannot use --env" in said) == (2, True)
    code, said = refused(make_server, str(tmp_path), "--run-dir", str(tmp_path))
    assert (code, "it holds 'blog.toml', and is emptied when the server ends" in said) == (2, True)
    code, said = refused(make_server, str(tmp_path), "--nginx", "/bin/true")
    assert (code, "it is not an nginx that runs here" in said) == (2, True)


def test_a_taken_address_and_a_taken_run_directory(make_server: MakeServer) -> None:
    server = make_server()
    serve(server, server.sites)
    code, said = refused(make_server, str(server.sites), "--listen", str(server.port))
    assert code == 111
    assert f"cannot listen at 127.0.0.1:{server.port}" in said
    code, said = refused_in(server)
    assert (code, f"another Hostel serves in {server.run_dir}" in said) == (2, True)
    assert server.get("nothing").status == 404


def refused_in(server: Server) -> tuple[int, str]:
    result = server.run(
        "serve", str(server.sites), "--listen", str(free_port()), "--state-dir", str(server.state_dir),
        "--log-dir", str(server.log_dir), check=False,
    )  # fmt: skip
    return result.returncode, result.stderr


# What needs no server


def test_the_flags_are_the_declared_options(monkeypatch: pytest.MonkeyPatch) -> None:
    command = commands.commands["serve"]
    flags = {option.name for option in command.params} - {"paths", "variables"}
    assert flags == {field.name for field in fields(ServerOptions)}
    context = command.make_context("serve", [])
    assert all(context.params[name] in (None, ()) for name in flags)
    monkeypatch.setenv("HOSTEL_LISTEN", "80 [::]:80")
    monkeypatch.setenv("HOSTEL_RELOAD", "1")
    monkeypatch.setenv("HOSTEL_LOG_SIZE", "1M")
    context = command.make_context("serve", ["--log-size", "2M"])
    assert [context.params[name] for name in ("listen", "reload", "log_size")] == [("80", "[::]:80"), True, "2M"]


def test_folder_of_sites_or_project(tmp_path: Path) -> None:
    assert is_folder_of_sites(str(tmp_path))
    (tmp_path / "app.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    assert not is_folder_of_sites(str(tmp_path))
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "settings.toml").write_text("[project]\n")
    assert not is_folder_of_sites(str(tmp_path)), "a project may have TOML files of its own"
    (tmp_path / "site.toml").write_text('app = "app:app"\n')
    assert is_folder_of_sites(str(tmp_path)), "a valid site file says what is meant"
    (tmp_path / "site.toml").unlink()
    (tmp_path / "app.py").unlink()
    assert is_folder_of_sites(str(tmp_path)), "only broken site files: that is a folder of sites, too"


def test_names_of_projects(tmp_path: Path) -> None:
    assert unused_name("app", ["app", "app-2"]) == "app-3"
    assert len(unused_name("a" * 48, ["a" * 48])) <= 48
    for folder in ("a/app", "b/app"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "index.html").write_text("")
    sources, projects = make_sources((f"{tmp_path}/a/app", f"{tmp_path}/b/app", f"{tmp_path}/a/app/"), {"A": "1"})
    assert [(source["name"], source["domains"]) for source in sources] == [("app", ["*"]), ("app-2", [])]
    assert [site.domains for site, _ in projects] == [("*",), ("app-2.localhost",)]
    assert all(site.env == (("A", "1"),) for site, _ in projects)
    with pytest.raises(UsageError, match="the name of an environment variable"):
        make_sources((f"{tmp_path}/a/app",), {"1": "1"})
