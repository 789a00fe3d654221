"""Sites that have a user each (``--users auto``): who they are, and that nobody is ever given another's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from hostel.sandbox import quota
from tests.support.server import Server, make_folder, wait_for

pytestmark = [pytest.mark.server, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
FIRST, LAST = 1_950_000_000, 1_950_000_005
ARGUMENTS = ("--users", "auto", "--user-range", f"{FIRST}-{LAST}")
TENANT = """
    import json, os
    def application(environ, start_response):
        names = {}
        exec(environ["wsgi.input"].read().decode(), names)
        start_response("200 OK", [])
        return [json.dumps(names.get("result")).encode()]
"""
WHO = """if True:
    import os
    result = [os.getresuid(), os.getresgid(), os.getgroups(), os.environ["HOME"], os.environ["USER"]]
    open(os.path.expanduser("~/mine"), "w").close()
"""


def ask(server: Server, site: str, code: str) -> object:
    answer = server.get(site, "/", method="POST", body=code.encode())
    assert answer.status == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(make_folder(), arguments=ARGUMENTS)
    for name in ("alpha", "beta"):
        server.site(name, TENANT)
    try:
        yield server.start()
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


def test_each_site_has_a_user_to_itself(server: Server) -> None:
    for uid, name in ((FIRST, "alpha"), (FIRST + 1, "beta")):
        home = str(server.state_dir / "sites" / name)
        assert ask(server, name, WHO) == [[uid] * 3, [uid] * 3, [uid], home, f"site-{name}"]
        assert (server.state_dir / "sites" / name / "mine").stat().st_uid == uid
        assert server.view(name)["user"] == f"site-{name}"
        assert f"runs as user site-{name} ({uid})" in server.run("explain", name).stdout
        assert server.run("exec", name, "--", "id", "-u").stdout == f"{uid}\n"
    assert server.status()["server"]["users"] == "auto"
    assert "no problems" in server.run("check").stdout


def test_a_neighbour_is_somebody_else(server: Server) -> None:
    (pid,) = server.workers("alpha")
    code = f"""if True:
        import os, signal
        result = []
        for attempt in (
            lambda: open({str(server.state_dir / "sites" / "alpha" / "mine")!r}),
            lambda: os.kill({pid}, signal.SIGKILL),
            lambda: open("/proc/{pid}/environ", "rb").read(1),
            lambda: open({str(server.state_dir / "users")!r}),
            lambda: open({str(server.state_dir / "users")!r}, "a"),
            lambda: os.rename({str(server.state_dir / "users")!r}, {str(server.state_dir / "sites" / "beta" / "users")!r}),
            lambda: os.setuid({FIRST}),
        ):
            try:
                attempt()
                result.append(True)
            except OSError:
                result.append(False)
    """
    assert ask(server, "beta", code) == [False] * 7


def test_a_disk_that_is_not_limited_is_said(server: Server) -> None:
    server.site("disk", TENANT, limits={"disk": "100M"}, user="nobody")
    wait_for(lambda: server.view("disk"), "the site")
    assert "without 100 MB on its disk: its user is not its own alone" in server.run("explain", "disk").stdout
    server.site("alpha", TENANT, limits={"disk": "100M"})
    text = "100 MB on its disk"
    wait_for(lambda: text in server.run("explain", "alpha").stdout, "the limit")
    if why := quota.obstacle(str(server.state_dir / "sites"), FIRST):
        assert f"without {text}: {why}" in server.run("explain", "alpha").stdout
    else:
        assert ask(server, "alpha", "result = 1") == 1
        assert quota.find_limit(str(server.state_dir / "sites"), FIRST) == 100 * 2**20


def test_a_site_s_own_user_wins(server: Server) -> None:
    server.site("named", TENANT, user="nobody")
    wait_for(lambda: server.view("named"), "the site")
    assert ask(server, "named", "import os; result = os.environ['USER']") == "nobody"
    assert server.view("named")["user"] == "nobody"


def test_sites_without_a_user_are_not_one_user_s(server: Server) -> None:
    """Who may mount a site depends on it."""
    server.site("mounter", TENANT, mount={"/a": "alpha"})
    wait_for(lambda: server.view("mounter"), "the site")
    reasons = [problem["reason"] for problem in server.view("mounter")["problems"]]
    assert reasons == ["site alpha belongs to another user, and does not allow it"]


def test_nobody_is_given_the_user_of_a_site_that_is_gone(server: Server) -> None:
    """Neither after its removal, nor by the next manager, nor by the next server; the site itself has it again."""
    (server.sites / "beta.toml").unlink()
    wait_for(lambda: not server.view("beta"), "the end of beta")
    manager = server.status()["server"]["manager"]
    os.kill(manager, signal.SIGKILL)
    wait_for(lambda: server.is_answering() and server.status()["server"]["manager"] != manager, "the next manager")
    server.site("gamma", TENANT)
    wait_for(lambda: server.view("gamma"), "the site")
    uid = "import os; result = os.getuid()"
    gamma = ask(server, "gamma", uid)
    assert gamma not in (FIRST, FIRST + 1)
    server.stop()
    server.site("delta", TENANT)
    server.site("beta", TENANT)
    server.start()
    delta = ask(server, "delta", uid)
    assert delta not in (FIRST, FIRST + 1, gamma)
    assert [ask(server, name, uid) for name in ("alpha", "beta", "gamma")] == [FIRST, FIRST + 1, gamma]


def test_when_no_number_is_left_a_site_says_so_and_the_others_go_on(server: Server) -> None:
    for number in range(LAST - FIRST + 1):
        server.site(f"x{number}", TENANT)
    last = f"x{LAST - FIRST}"
    wait_for(lambda: server.view(last), "the sites")
    assert server.get(last).status == 503
    (problem,) = server.view(last)["problems"]
    assert problem["reason"].endswith(f"all numbers from {FIRST} to {LAST} have been given")
    assert "--user-range" in problem["hint"]
    assert "cannot give sites users of their own" in server.output
    assert ask(server, "alpha", "result = 1") == 1


def refusal(*arguments: str, user: str | None = None) -> str:
    folder = make_folder()
    try:
        if user:
            shutil.chown(folder, user)
        server = Server(folder, arguments=arguments, user=user or "")
        server.start(wait=False)
        assert server.process is not None
        assert server.process.wait(30) == 2
        server.process = None
        return server.output
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def test_numbers_that_somebody_has_are_refused() -> None:
    said = refusal("--users", "auto", "--user-range", "65536-4000000000", "--least-uid", "70000")
    assert "--least-uid says that they begin at 70000" in said
    assert "write FIRST-LAST" in refusal("--user-range", "70000")
    assert "that needs root" in refusal("--users", "auto", user="nobody")
