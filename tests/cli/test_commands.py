"""The commands beside a real server, as a person or a program uses them: what they print, and how they end."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import click
import pytest

import hostel
from hostel.api import views
from hostel.cli import commands, run
from hostel.options.site import read_site
from tests.support.server import Server, wait_for

HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
"""


@pytest.fixture(scope="module", name="server")
def fixture_server(shared_server: Server) -> Server:
    server = shared_server
    for name in ("hello", "other"):
        server.site(name, HELLO)
    server.site("torn", "import nothing_like_that\n")
    server.site_file("odd", 'ap = "app:application"\nworkers = 3\n')
    server.write("flask/app.py", "from flask import Flask\napp = Flask(__name__)\napp.get('/')(lambda: 'from flask')\n")
    server.write("fast/main.py", "from fastapi import FastAPI\napp = FastAPI()\napp.get('/')(lambda: 'from fastapi')\n")
    server.write("plain/wsgi.py", HELLO)
    server.write("pages/index.html", "from a file")
    wait_for(lambda: len(server.status()["sites"]) == 4)
    return server


class Answer:
    """A finished command."""

    def __init__(self, server: Server, *arguments: str) -> None:
        result = server.run(*arguments, check=False)
        self.code, self.out, self.err = result.returncode, result.stdout, result.stderr
        assert "\x1b" not in self.out + self.err  # without a terminal there are no colours
        assert "Traceback" not in self.err
        assert max(map(len, self.err.splitlines()), default=0) < 1000


# status


def test_status_is_a_table(server: Server) -> None:
    answer = Answer(server, "status")
    assert answer.code == 0
    lines = answer.out.splitlines()
    rows = {line.split()[0]: line for line in lines[lines.index("") + 2 :] if line}
    assert f"http://hello.localhost:{server.port}/" in rows["hello"]
    assert "invalid !" in rows["odd"]
    assert "! odd: " in answer.out
    assert lines[0].startswith(f"Hostel {hostel.__version__}, up ")
    assert all(line == line.rstrip() for line in lines)


def test_status_of_a_site(server: Server) -> None:
    server.get("hello")
    answer = Answer(server, "status", "hello")
    assert answer.code == 0
    assert answer.out.startswith("hello  serving for ")
    for part in (f"file:       {server.sites}/hello.toml", "worker 1.1: pid ", "1 served", "interface:  wsgi"):
        assert part in answer.out
    answer = Answer(server, "status", "hello", "odd")
    assert answer.code == 1
    assert "did you mean 'app'?" in answer.out
    assert "workers" in answer.out
    answer = Answer(server, "status", "odd", "helo")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: there is no site 'helo'\nhint:  did you mean hello?\n"


def check_shape(value: Any, kind: Any) -> None:
    """Whether a JSON value has just the fields, and the types, that a view declares."""
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        assert list(value) == [field.name for field in fields(kind)]
        for name, one in value.items():
            check_shape(one, hints[name])
    elif get_origin(kind) is Mapping:
        for name, one in value.items():
            assert type(name) is str
            check_shape(one, get_args(kind)[1])
    elif get_origin(kind) is not None:
        for one in value:
            check_shape(one, *get_args(kind))
    elif kind is float:
        assert type(value) in (int, float)
    elif kind is not Any:
        assert type(value) is kind


@pytest.mark.parametrize(
    ("arguments", "kind", "code"),
    [
        ("status", views.StatusView, 0),
        ("status hello odd torn", views.StatusView, 1),
        ("start hello", views.StatusView, 0),
        ("start torn", views.StatusView, 1),
        ("reload hello", views.StatusView, 0),
        ("stop other", views.StatusView, 0),
        ("start other", views.StatusView, 0),
        ("logs hello", views.LogsView, 0),
        ("explain hello", views.ExplainView, 0),
        ("explain hello --start", views.StartView, 0),
        ("explain torn --start", views.StartView, 1),
        ("check", views.CheckView, 1),
        ("env list", views.EnvironmentsView, 0),
        ("env show hello", views.EnvironmentView, 0),
        ("add json {projects}/plain", views.StatusView, 0),
        ("remove json", views.RemovedView, 0),
        ("cache purge --all", views.PurgedView, 0),
    ],
)
def test_json_has_the_declared_fields(server: Server, arguments: str, kind: type, code: int) -> None:
    answer = Answer(server, *arguments.format(projects=server.projects).split(), "--json")
    assert (answer.code, answer.err) == (code, "")
    check_shape(json.loads(answer.out), kind)


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        ("status nope", 2, "usage"),
        ("start odd", 1, "site"),
        ("add hello {projects}/plain", 2, "usage"),
        ("check /nonexistent", 2, "usage"),
        ("logs nope", 2, "usage"),
        ("explain nope", 2, "usage"),
        ("env show nope", 2, "usage"),
        ("env create {projects}/plain", 2, "usage"),
        ("cache purge", 2, "usage"),
        ("cache purge nope", 2, "usage"),
        ("cache purge hello", 2, "usage"),
        ("status --run-dir /nonexistent", 3, "not-running"),
    ],
)
def test_errors_are_json_too(server: Server, arguments: str, code: int, kind: str) -> None:
    answer = Answer(server, *arguments.format(projects=server.projects).split(), "--json")
    assert (answer.code, answer.err) == (code, "")
    error = json.loads(answer.out)
    check_shape(error["error"], views.ErrorView)
    assert (list(error), error["error"]["kind"]) == (["error"], kind)


# start, stop, reload


def test_stop_start_and_reload(server: Server) -> None:
    server.site("ordered", HELLO)
    wait_for(lambda: server.state("ordered"))
    assert Answer(server, "start", "ordered").out == "ordered: serving (generation 1, 1 worker)\n"
    assert Answer(server, "reload", "ordered").out == "ordered: serving (generation 2, 1 worker)\n"
    answer = Answer(server, "stop", "ordered")
    assert answer.out == "ordered: disabled (visitors see a maintenance page until: hostel start ordered)\n"
    assert server.get("ordered").status == 503
    assert (
        Answer(server, "reload", "ordered").out
        == "ordered: disabled (it is stopped; run it with: hostel start ordered)\n"
    )
    assert Answer(server, "start", "ordered").code == 0
    assert server.get("ordered").text == "hello"
    assert Answer(server, "start", "ordered", "nope").code == 2
    answer = Answer(server, "start")
    assert (answer.code, answer.err) == (2, "error: name a site, or --all\n")


def test_a_site_that_does_not_start(server: Server) -> None:
    answer = Answer(server, "start", "hello", "torn")
    assert answer.code == 1
    lines = answer.out.splitlines()
    assert lines[0].startswith("hello: serving")
    assert re.fullmatch(r"torn: (failed|cold)", lines[1])
    assert re.fullmatch(
        r"  problem [0-9a-f]{8}, \d s ago, at step import: no module named 'nothing_like_that'", lines[2]
    )
    assert lines[3].startswith("    -> install it into the site's environment")
    assert lines[4] == "    | Traceback (most recent call last):"
    assert f'    |   File "{server.projects}/torn/app.py", line 1, in <module>' in lines
    assert lines[-1] == "    | ModuleNotFoundError: No module named 'nothing_like_that'"
    assert "hostel/" not in answer.out.partition("Traceback")[2]  # no frames of our own
    assert Answer(server, "status", "torn").code == 1


def test_a_reload_that_fails(server: Server) -> None:
    server.site("worse", HELLO)
    wait_for(lambda: server.state("worse"))
    server.get("worse")
    server.write("worse/app.py", "1 / 0\n")
    answer = Answer(server, "reload", "worse")
    assert answer.code == 1
    assert answer.out.startswith("worse: serving (generation 1, 1 worker)\n")
    assert "ZeroDivisionError" in answer.out
    assert server.get("worse").text == "hello"
    answer = Answer(server, "start", "worse")  # it serves; the old problem is not this order's
    assert (answer.code, answer.out) == (0, "worse: serving (generation 1, 1 worker)\n")


def test_a_reload_beside_a_broken_file(server: Server) -> None:
    server.site("edited", HELLO)
    wait_for(lambda: server.state("edited"))
    server.get("edited")
    server.site_file("edited", "app = 5\n")
    wait_for(lambda: server.view("edited")["problems"])
    answer = Answer(server, "reload", "edited")
    assert answer.code == 1
    assert answer.out.startswith("edited: serving (generation 2, 1 worker)\n")
    assert "edited.toml: app" in answer.out


def test_all_sites(server: Server) -> None:
    names = {site["name"] for site in server.status()["sites"] if site["state"] != "invalid"}
    for command, state in (("stop", "disabled"), ("start", r"\w+"), ("reload", r"\w+")):
        answer = Answer(server, command, "--all")
        assert {name for name in names if re.search(rf"^{name}: {state}", answer.out, re.M)} == names
    assert server.get("hello").text == "hello"


# add and remove


@pytest.mark.parametrize(
    ("project", "text"),
    [("flask", "from flask"), ("fast/main.py", '"from fastapi"'), ("plain", "hello"), ("pages", "from a file")],
)
def test_add_a_project_and_remove_it(server: Server, project: str, text: str) -> None:
    name = f"new-{project[:4]}"
    answer = Answer(server, "add", name, f"{server.projects}/{project}")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[:2] == [
        f"added site {name}, written to {server.sites}/{name}.toml", f"  http://{name}.localhost:{server.port}/"
    ]  # fmt: skip
    assert not any("problem" in line for line in lines)
    wait_for(lambda: server.get(name).text == text)
    assert Answer(server, "remove", name).out == f"removed site {name}\n"
    assert server.get(name).status == 404
    assert not (server.sites / f"{name}.toml").exists()


def test_add_with_everything_said(server: Server) -> None:
    server.write("full/code/app.py", HELLO)
    server.write("full/files/a.txt", "a file")
    arguments = (
        "add", "full", f"{server.projects}/full/code", "--app", "app:application", "--domain", "full.localhost",
        "--domain", "also.localhost", "--env", "A=b=c", "--env", "EMPTY=", "--user", "hostel",
        "--static", f"/s/={server.projects}/full/files",
    )  # fmt: skip
    shown = Answer(server, *arguments, "--dry-run")
    assert shown.code == 0
    assert not (server.sites / "full.toml").exists()
    site, problems = read_site("full", "/x/full.toml", shown.out.encode())
    assert (problems, site and site.domains) == ([], ("full.localhost", "also.localhost"))
    assert site is not None
    assert (site.env, site.user) == ((("A", "b=c"), ("EMPTY", "")), "hostel")
    assert Answer(server, *arguments).code == 0
    assert (server.sites / "full.toml").read_text() == shown.out
    assert server.get("also").text == "hello"
    assert server.get("full", "/s/a.txt").text == "a file"
    answer = Answer(server, *arguments)
    assert answer.code == 2
    assert answer.err == (
        f"error: cannot add site full: it exists already, in {server.sites}/full.toml\n"
        "hint:  choose another name, or --replace it\n"
    )
    assert Answer(server, *arguments, "--domain", "third.localhost", "--replace").code == 0
    assert server.get("third").text == "hello"


def test_add_says_what_will_not_work(server: Server) -> None:
    answer = Answer(server, "add", "hopeless", f"{server.projects}/plain", "--app", "nope:app", "--user", "no-such-user",
                    "--domain", "hello.localhost")  # fmt: skip
    assert answer.code == 0
    for part in ("domains: hello.localhost belongs to site hello", "no system user", "no module 'nope'"):
        assert part in answer.out
    Answer(server, "remove", "hopeless")


def test_add_looks_at_the_settings_that_are_given(server: Server) -> None:
    server.write(
        "django/site/two/manage.py", "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.dev')\n"
    )
    server.write("django/site/two/config/dev.py", "STATIC_ROOT = '/dev'\n")
    server.write("django/site/two/config/live.py", "STATIC_ROOT = 'files'\nSTATIC_URL = 'live/'\n")
    server.write("django/site/two/files/a.css", "")
    given = "DJANGO_SETTINGS_MODULE=config.live"
    answer = Answer(
        server, "add", "two", f"{server.projects}/django/site/two", "--env", given, "--env", "A=1", "--dry-run"
    )
    site, problems = read_site("two", "/x/two.toml", answer.out.encode())
    assert site is not None and not problems
    assert site.static == (("/live", f"{server.projects}/django/site/two/files"),)
    assert site.env == (("A", "1"), ("DJANGO_SETTINGS_MODULE", "config.live"))


def test_add_without_a_project(server: Server) -> None:
    answer = Answer(server, "add", "env", "--app", "app:app", "--environment", f"{server.projects}/.venv/", "--dry-run")
    assert f'directory = "{server.projects}"\nenvironment = "{server.projects}/.venv"' in answer.out
    answer = Answer(server, "add", "here", "--app", "app:app", "--dry-run")
    assert f'directory = "{Path.cwd()}"' in answer.out
    assert Answer(server, "add", "none").code == 2


def test_add_with_app_finds_the_environment_of_the_project(server: Server) -> None:
    server.write("own/.venv/pyvenv.cfg", "home = /usr/bin")
    answer = Answer(server, "add", "own", f"{server.projects}/own", "--app", "app:app", "--dry-run")
    assert f'environment = "{server.projects}/own/.venv"' in answer.out
    answer = Answer(
        server, "add", "own", f"{server.projects}/own", "--app", "app:app", "--environment", "/x", "--dry-run"
    )
    assert 'environment = "/x"' in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Bad Name", "{projects}/plain"), "a site's name is 1 to 48 small letters"),
        (("x" * 49, "{projects}/plain"), "a site's name is"),
        (("../x", "{projects}/plain"), "a site's name is"),
        (("x", "{projects}/nope"), "there is no such file or folder"),
        (("x", "{projects}"), "nothing in it looks like a web application"),
        (("x", "{projects}/plain", "--env", "A"), "cannot use --env 'A': it has no '='"),
        (("x", "{projects}/plain", "--env", "1=2", "--domain", "a b", "--static", "s=/x"),
         "env.1"),
        (("x", "{projects}/plain", "--user", ""), "user: "),
        (("x", "{projects}/plain", "--domain", "http://x/"), "leave out the scheme"),
        (("x", "{projects}/plain", "--environment", "/\udcff"), "a site file is UTF-8"),
        (("odd", "{projects}/plain"), "it exists already"),
    ],
)  # fmt: skip
def test_add_what_cannot_be(server: Server, arguments: tuple[str, ...], message: str) -> None:
    before = sorted(server.sites.iterdir())
    answer = Answer(server, "add", *(argument.format(projects=server.projects) for argument in arguments))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: cannot ")
    assert message in answer.err
    assert sorted(server.sites.iterdir()) == before


# check


def test_check_reports_everything_at_once_and_starts_nothing(server: Server) -> None:
    started = server.view("hello")["generation"]
    answer = Answer(server, "check")
    assert answer.code == 1
    for part in (f"{server.sites}/odd.toml: ap", f"{server.sites}/odd.toml: workers", "did you mean 'app'?"):
        assert part in answer.out
    assert answer.out.splitlines()[-1].startswith(f"{len(list(server.sites.glob('*.toml')))} sites, ")
    answer = Answer(server, "check", f"{server.sites}/hello.toml", f"{server.sites}/other.toml")
    assert answer.code == 0
    assert answer.out.startswith("guards of ")
    assert answer.out.endswith("\n2 sites, no problems\n")
    answer = Answer(
        server, "check", f"{server.projects}/flask", str(server.sites / "hello.toml"), "--run-dir", "/nonexistent"
    )
    assert answer.code == 0
    assert answer.out.startswith("guards of ")
    assert answer.out.endswith("\n2 sites, no problems\n")
    assert server.view("hello")["generation"] == started


def test_check_what_cannot_be_looked_at(server: Server) -> None:
    answer = Answer(server, "check", str(server.sites / "nope.toml"))
    assert (answer.code, answer.err.partition("\n")[0]) == (
        2, f"error: cannot look at {server.sites}/nope.toml: there is no such file"
    )  # fmt: skip
    assert Answer(server, "check", "/dev/null").code == 2
    answer = Answer(server, "check", "--run-dir", "/nonexistent")
    assert answer.code == 3
    assert "name the files or folders to check" in answer.err


def test_check_files_that_take_domains_from_each_other(server: Server) -> None:
    (server.folder / "more").mkdir(exist_ok=True)
    for name in ("a", "b"):
        (server.folder / "more" / f"{name}.toml").write_text('domains = ["x.localhost"]\n[static]\n"/" = "."\n')
    answer = Answer(server, "check", str(server.folder / "more"))
    assert answer.code == 1
    assert "more/b.toml: domains: x.localhost belongs to site a" in answer.out


def test_check_looks_beside_a_file_for_the_sites_that_it_mounts(server: Server) -> None:
    (server.folder / "mounts").mkdir(exist_ok=True)
    for name, mount in (("main", '[mount]\n"/a" = "shop"\n"/b" = "none"\n'), ("shop", '[static]\n"/" = "none"\n')):
        (server.folder / "mounts" / f"{name}.toml").write_text(mount)
    answer = Answer(server, "check", str(server.folder / "mounts" / "main.toml"))
    assert answer.code == 1
    assert "main.toml: mount./b: there is no site none" in answer.out
    assert answer.out.splitlines()[-1] == "1 site, 1 problem"


# Help, version, wrong use


def test_bare_command_shows_help(server: Server) -> None:
    bare, help_ = Answer(server), Answer(server, "--help")
    assert (bare.code, bare.out, bare.err) == (0, help_.out, "")
    assert Answer(server, "--version").out == f"hostel {hostel.__version__}\n"
    assert Answer(server, "-h").out == help_.out


def examples_of(command: click.Command) -> list[str]:
    text = (command.epilog or "").partition("Examples:")[2]
    return [re.split(r"\s{2,}", line.strip())[0] for line in text.splitlines() if line.strip().startswith("hostel ")]


@pytest.mark.parametrize("name", [name for name, command in commands.commands.items() if not command.hidden])
def test_help_fits_and_its_examples_run(server: Server, name: str) -> None:
    answer = Answer(server, name, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert max(map(len, answer.out.splitlines())) <= 80
    found = examples_of(commands.commands[name])
    assert found
    for site in ("blog", "shop", "httpbin"):
        server.site(site, HELLO)
    server.write("blog/manage.py", "")  # the site's own command
    wait_for(lambda: all(map(server.state, ("blog", "shop", "httpbin"))))
    places = {
        "/srv/blog": f"{server.projects}/plain", "/srv/sites": str(server.sites), ".": f"{server.projects}/plain",
        "/srv/httpbin/.venv": str(server.projects), "blog.toml": f"{server.sites}/blog.toml",
        "shop.toml": f"{server.sites}/shop.toml", "blog.svg": f"{server.folder}/blog.svg",
    }  # fmt: skip
    for example in found:
        program, *arguments = shlex.split(example.partition(" | ")[0])
        arguments = [places.get(argument, argument) for argument in arguments]
        assert program == "hostel"
        assert arguments[0] == name
        if name == "serve" or "-f" in arguments:
            commands.commands[name].make_context(name, arguments[1:])  # they would not end
            continue
        if name == "add":
            Answer(server, "remove", "blog", "httpbin")
            Answer(server, "remove", "blog")
        answer = Answer(server, *arguments)
        problem_is_fine = name == "check" or "--all" in arguments
        assert answer.code == 0 or (problem_is_fine and answer.code == 1), f"{example}: {answer.err}"
    if name != "serve":
        for site in ("blog", "shop", "httpbin"):
            (server.sites / f"{site}.toml").unlink(missing_ok=True)


ODD = [
    "", " ", "-", "--", "---", "-x", "--xyz", "--run-dir", "--run-dir=", "\n", "\x7f\x1b[2J", "é", "\u202e", "\udcff", "..",
    "/", "*", "x" * 100_000, "/" + "y/" * 3000, "--json=1", "-n", "--lines=x", "--env", "=", "0", "1e9", "{}", "%s", "[red]",
]  # fmt: skip


@pytest.mark.parametrize("command", ["", *(name for name in commands.commands if not name.startswith("_"))])
def test_odd_arguments_are_answered_with_a_sentence(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nothing that can be typed makes a traceback. (A server is not running here, so nothing is done.)"""
    (tmp_path / "empty.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOSTEL_RUN_DIR", str(tmp_path / "run"))
    for odd in [[], *([one] for one in ODD), *(["x", one] for one in ODD), *(["x", one, "x"] for one in ODD)]:
        if command == "serve" and not odd:
            continue  # that would serve the folder
        arguments = [command, *odd] if command else odd
        monkeypatch.setattr("sys.argv", ["hostel", *arguments])
        code = run()
        said = capsys.readouterr()
        assert code in (0, 1, 2, 3, 111), arguments
        assert code in (0, 1) or said.err.startswith(("error: ", "Usage: ")), arguments
        assert "Traceback" not in said.err
        assert "\x1b" not in said.err.replace("\x1b[0m", "").replace("\x1b[31m\x1b[1m", "").replace("\x1b[36m", "")
        said.err.encode()
        assert len(said.err) < 20_000


def test_wrong_use_is_told_in_our_words(server: Server) -> None:
    answer = Answer(server, "stauts")
    assert answer.code == 2
    assert answer.err.startswith("error: no such command 'stauts'")
    assert answer.err.endswith("hint:  see hostel --help\n")
    answer = Answer(server, "serve", "--lissten", "3")
    assert answer.err.endswith("hint:  see hostel serve --help\n")
    answer = Answer(server, "logs")
    assert (answer.code, answer.out) == (2, "")
    answer = Answer(server, "status", "--run-dir", "/nonexistent")
    assert (answer.code, answer.err) == (
        3, "error: no server is running at /nonexistent\n"
        "hint:  start one with hostel serve, or name another --run-dir\n",
    )  # fmt: skip


# --- explain ---------------------------------------------------------------------------------------------------------


def test_explain(server: Server) -> None:
    """Every guard with a sentence, then every step in words; the status has those that are on."""
    answer = Answer(server, "explain", "hello")
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "hello"
    guards = [line.split(None, 1) for line in lines[1:10]]
    assert {state for state, _ in guards} == {"on", "off"}
    assert "off  network       it can connect to whatever this machine can" in answer.out
    assert "each worker is to" in lines
    assert "   1. forget signal handlers and masks of its parent" in lines
    said = json.loads(Answer(server, "explain", "hello", "--json").out)
    assert server.view("hello")["guards"] == [guard["name"] for guard in said["guards"] if guard["is_on"]]
    assert f"guards:     {', '.join(server.view('hello')['guards'])}" in Answer(server, "status", "hello").out
    identity = "become user" if os.geteuid() == 0 else "get no rights"
    assert any(identity in step for step in said["worker"])
