"""Tenants who write their own site files against each other and the operator, on a real server."""

from __future__ import annotations

import os
import pwd
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.sandbox.abilities import find_abilities
from tests.support.server import Server, make_folder, wait_for

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not find_abilities().has_namespaces, reason="needs namespaces"),
]
USERS = {"alice": "nobody", "bob": "daemon"}
CODE = """
    import json, os
    def application(environ, start_response):
        names = {}
        exec(environ["wsgi.input"].read().decode(), names)
        start_response("200 OK", [])
        return [json.dumps(names.get("result")).encode()]
"""
APP = 'app = "app:application"\ndirectory = ".."\n'


class Place:
    def __init__(self) -> None:
        self.homes = make_folder()
        self.operator = make_folder()
        arguments = ("--tenants", str(self.operator), "--hide", str(self.homes))
        self.server = Server(make_folder(), guard="full", arguments=arguments)
        for name, user in USERS.items():
            for folder in (self.homes / name, self.homes / name / "hostel"):
                folder.mkdir()
                shutil.chown(folder, user)
            self.write(name, "app.py", textwrap.dedent(CODE))
            self.write(name, "open-to-all", f"the secret of {name}")
            self.say(name)

    def say(self, name: str, **more: object) -> None:
        lines = "".join(f"{key} = {value}\n" for key, value in more.items())
        (self.operator / f"{name}.toml").write_text(
            f"user = '{USERS[name]}'\nfolder = '{self.homes}/{name}/hostel'\npaths = ['{self.homes}/{name}']\n"
            f"domains = ['{name}.example', '*.{name}.example']\n{lines}"
        )

    def write(self, name: str, path: str, text: str) -> Path:
        target = self.homes / name / path
        temporary = target.parent / ".new"
        temporary.write_text(text)
        shutil.chown(temporary, USERS[name])
        temporary.rename(target)
        return target

    def ask(self, host: str, code: str = "result = 1") -> object:
        answer = self.server.get(host, "/", method="POST", body=code.encode())
        return answer.json() if answer.status == 200 else answer.status

    def problems(self, name: str) -> list[str]:
        return [problem["reason"] for problem in self.server.view(name).get("problems", ())]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    place = Place()
    try:
        for name in USERS:
            place.write(name, "hostel/blog.toml", APP + f"domains = ['{name}.example']\n")
        place.server.start()
        yield place
        place.server.stop()
    finally:
        place.server.kill()
        for folder in (place.homes, place.operator, place.server.folder):
            shutil.rmtree(folder, ignore_errors=True)


def test_each_runs_as_its_tenant(place: Place) -> None:
    for name, user in USERS.items():
        uid = pwd.getpwnam(user).pw_uid
        assert place.ask(f"{name}.example", "import os; result = os.getuid()") == uid
        assert place.server.view(f"{name}+blog")["user"] == user


def test_the_neighbour_is_hidden(place: Place) -> None:
    code = f"import os; result = os.path.exists({str(place.homes / 'alice' / 'open-to-all')!r})"
    assert place.ask("bob.example", code) is False
    assert place.ask("alice.example", code) is True


def test_a_new_site_is_taken_up(place: Place) -> None:
    place.write("bob", "hostel/wiki.toml", APP)
    wait_for(lambda: place.ask("wiki.bob.localhost") == 1, "the site")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("domains = ['alice.example']\n", "alice.example is not one of the domains of bob"),
        ("domains = ['bob.example']\nuser = 'nobody'\n", "a site of bob runs as user daemon"),
        ("domains = ['bob.example']\n[static]\n'/x/' = '/etc'\n", "/etc lies outside of what bob may name"),
        ("domains = ['bob.example']\n[limits]\nmemory = '100G'\n", "100G is more than bob may have"),
        ("domains = ['bob.example']\n[guard]\nfiles = false\n", "a tenant cannot switch off a guard"),
    ],
)
def test_what_is_refused_is_said_and_the_last_good_version_serves(place: Place, more: str, reason: str) -> None:
    place.write("bob", "hostel/blog.toml", APP + more)
    wait_for(lambda: reason in place.problems("bob+blog"), "the problem")
    assert place.ask("bob.example") == 1
    assert place.ask("alice.example", "import os; result = os.getuid()") == pwd.getpwnam("nobody").pw_uid
    said = place.server.run("check", check=False)
    assert said.returncode == 1 and reason in said.stdout
    assert reason in place.server.log("bob+blog"), "where the tenant can read it"


def test_a_link_out_of_its_home_leads_nowhere(place: Place) -> None:
    """By name it is allowed; what it leads to is looked at when it is used."""
    link = place.homes / "bob" / "link"
    link.symlink_to(place.homes / "alice")
    place.write("bob", "hostel/link.toml", APP.replace('".."', '"../link"') + "[static]\n'/files/' = '.'\n")
    wait_for(lambda: place.server.view("bob+link"), "the site")
    assert place.ask("link.bob.localhost") == 503
    assert any("lies outside of what the tenant may name" in problem for problem in place.problems("bob+link"))
    assert place.server.get("link.bob.localhost", "/files/open-to-all").status == 404
    assert place.server.get("link.bob.localhost", "/files/app.py").status == 404


def test_nobody_takes_the_name_of_another_s_site(place: Place) -> None:
    place.write("bob", "hostel/alice+blog.toml", APP + "domains = ['bob.example']\n")
    wait_for(lambda: place.problems("bob+alice+blog"), "the problem")
    said = place.server.run("add", "alice+blog", str(place.homes / "bob"), "--replace", check=False)
    assert said.returncode == 2 and "a site's name is" in said.stderr
    said = place.server.run("remove", "alice+blog", check=False)
    assert said.returncode == 2 and "not from a folder of site files" in said.stderr
    assert place.ask("alice.example", "import os; result = os.getuid()") == pwd.getpwnam("nobody").pw_uid


def test_what_the_operator_takes_back_is_gone(place: Place) -> None:
    """Though the file of the site is not touched, and though it has a last good version."""
    (place.operator / "bob.toml").write_text(
        (place.operator / "bob.toml").read_text().replace("'bob.example', '*.bob.example'", "'other.example'")
    )
    wait_for(lambda: place.ask("bob.example") == 404, "the end of the domain")
    assert place.ask("alice.example") == 1
    place.say("bob")
    place.write("bob", "hostel/blog.toml", APP + "domains = ['bob.example']\n")
    wait_for(lambda: place.ask("bob.example") == 1, "the site again")


def test_a_tenant_who_has_gone(place: Place) -> None:
    (place.operator / "bob.toml").unlink()
    wait_for(lambda: place.ask("bob.example") == 404, "the end of all sites of bob")
    assert place.ask("alice.example") == 1
    names = [site["name"] for site in place.server.status()["sites"]]
    wait_for(lambda: not place.server.view("bob+blog"), f"their end: {names}")
