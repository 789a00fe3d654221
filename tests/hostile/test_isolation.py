"""A tenant that attacks a neighbour, the machine and Hostel, at each level: what each of them stops, and no more than is said.

The tenant is an application that runs any code it is sent. ``ATTACKS`` is the table: each attack's question, the code that
tries it, which ends with ``result = True`` when it has succeeded, and the levels that stop it. The page of the
documentation is made from the same table, so it cannot say what is not tested here.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.sandbox.abilities import find_abilities
from hostel.sandbox.cgroups import find_trees
from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.stage import Stage
from tests.support.server import is_alive, wait_for

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not find_abilities().has_namespaces, reason="needs namespaces"),
]


@pytest.fixture(scope="module", params=["none", "user", "full"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(request.param)
    try:
        yield stage.start()
    finally:
        stage.end()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_what_each_level_stops(stage: Stage, attack: Attack) -> None:
    answer = stage.attack(attack.code)
    assert answer["result"] in (True, False), answer.get("error")
    assert answer["result"] is not (attack.is_stopped_by(stage.level) or attack.is_stopped_by_kernel())
    assert stage.server.get("victim").text.endswith("None"), "the victim serves, and its program runs"


def test_a_worker_that_asks_to_be_traced_deceives_nobody(stage: Stage) -> None:
    """Its parent would be told that it has stopped, in the words that else tell of an end."""
    if stage.level != "none":
        pytest.skip("the kernel refuses it")
    pid = stage.server.workers("tenant")[0]
    code = "import ctypes, os, signal\nctypes.CDLL(None).ptrace(0, 0, 0, 0)\nos.kill(os.getpid(), signal.SIGSTOP)\nresult = True"
    assert stage.server.get("tenant", "/", method="POST", body=code.encode()).status == 502
    wait_for(lambda: not is_alive(pid), "the end of the traced worker")
    wait_for(lambda: stage.attack("result = True")["result"], "another worker")


HIDES = """
    import os, signal, sys, time
    reader, writer = os.pipe()
    if not os.fork():
        os.setsid()
        if not os.fork():
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_IGN)
            for number in range(3, 100):
                if number != writer:
                    try:
                        os.close(number)
                    except OSError:
                        pass
            os.write(writer, b"x")
            os.close(writer)
            os.execv("/bin/sh", ["hostel-daemon", "-c", f"trap '' TERM; while :; do sleep 3601.{MARK}; done"])
        os._exit(0)
    os.close(writer)
    result = os.read(reader, 1) == b"x"
"""


def test_nothing_is_left_of_a_stopped_site(stage: Stage) -> None:
    if stage.level != "full" and not find_trees("/run/hostel"):
        pytest.skip("without namespaces it needs control groups")
    assert stage.attack(HIDES)["result"]
    name = f"sleep\0003601.{stage.server.port}\0".encode()
    found = wait_for(lambda: processes_of(name), "the daemon")
    stage.server.client.call("stop", sites=["tenant"])
    wait_for(lambda: not any(map(is_alive, found)) and not processes_of(name), "the end of the daemon", 5)
    stage.server.client.call("start", sites=["tenant"])


def test_a_new_manager_goes_on_with_all_of_it(stage: Stage) -> None:
    """Workers, their namespaces and control groups are adopted; further workers join the same ones."""
    server = stage.server
    assert stage.attack("open('/tmp/mine', 'w').close()\nresult = True")["result"]
    before = server.workers("victim"), server.workers("tenant"), server.status()["server"]["manager"]
    os.kill(before[2], signal.SIGKILL)
    wait_for(lambda: server.is_answering() and server.status()["server"]["manager"] != before[2], "the next manager")
    assert server.get("victim").text.endswith("None")
    assert (server.workers("victim"), server.workers("tenant")) == before[:2]
    server.client.call("reload", sites=["tenant"])
    code = "import os\nresult = os.path.exists('/tmp/mine')\nif result:\n    os.unlink('/tmp/mine')"
    assert stage.attack(code)["result"], "old and new workers share a room"
    assert server.workers("tenant") != before[1]


def test_the_zygote_of_a_tenants_environment_is_inside_of_the_guards(stage: Stage) -> None:
    """It executes what the tenant has put there before any worker is forked: as the tenant, and where the site is.

    There is one only where the interpreter is the tenant's as well.
    """
    environment = stage.homes / "environment"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--copies", "--without-pip", str(environment)], check=True)
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "evil.pth").write_text("import os; os.environ['SEEN_BY_ZYGOTE'] = str(os.getpid())\n")
    subprocess.run(["chown", "-R", "nobody", str(environment)], check=True)
    server = stage.server
    folder = str(stage.homes / "tenant")
    server.site("own", None, app="app:application", directory=folder, user="nobody", environment=str(environment))
    wait_for(lambda: server.get("own", "/", method="POST", body=b"result = 1").status == 200, "the site to serve")
    (zygote,) = [one for one in server.status()["server"]["zygotes"] if one["environment"] == str(environment)]
    (worker,) = server.workers("own")
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{zygote['pid']}/status").read_text().splitlines())
    assert set(status["Uid"].split()) == {str(pwd.getpwnam("nobody").pw_uid)}
    assert status["CapEff"].strip() == "0000000000000000"
    assert status["NoNewPrivs"] == ("0" if stage.level == "none" else "1")
    assert status["Seccomp"] == ("0" if stage.level == "none" else "2")
    for kind in ("mnt", "pid", "ipc", "uts"):
        one, other, ours = (os.readlink(f"/proc/{pid}/ns/{kind}") for pid in (zygote["pid"], worker, "self"))
        assert one == other
        assert (one == ours) is (stage.level != "full")
    server.client.call("stop", sites=["own"])
    wait_for(lambda: not is_alive(zygote["pid"]), "the end of the zygote", 5)


def test_what_a_tenants_virtualenv_executes_is_executed_by_the_worker(stage: Stage) -> None:
    """As the tenant, inside the guards, and never by the zygote that has the bare interpreter, which is root."""
    environment = stage.homes / "bare"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "evil.pth").write_text(
        "import os, sys; sys.seen = [os.getresuid(), os.getgroups(), open('/proc/self/status').read(), os.getpid()]\n"
    )
    for name in (
        "sitecustomize",
        "usercustomize",
        "colorsys",
        "asyncio",
        "ctypes",
        "json",
    ):  # all that might be imported
        (packages / f"{name}.py").write_text("import os\nif os.geteuid() == 0: os.abort()\n")
    subprocess.run(["chown", "-R", "nobody", str(environment)], check=True)
    server = stage.server
    folder = str(stage.homes / "tenant")
    server.site("bare", None, app="app:application", directory=folder, user="nobody", environment=str(environment))
    code = b"import os, sys; result = [*sys.seen, os.getpid(), sys.prefix, sys.executable]"
    wait_for(lambda: server.get("bare", "/", method="POST", body=code).status == 200, "the site to serve")
    uids, groups, text, early, late, prefix, executable = server.get("bare", "/", method="POST", body=code).json()[
        "result"
    ]
    uid = pwd.getpwnam("nobody").pw_uid
    assert (uids, early) == ([uid] * 3, late)
    assert 0 not in groups
    assert (prefix, executable) == (str(environment), f"{environment}/bin/python")
    status = dict(line.split(":\t", 1) for line in text.splitlines())
    assert status["CapEff"].strip() == "0000000000000000"
    assert status["NoNewPrivs"] == ("0" if stage.level == "none" else "1")
    base = os.path.realpath("/usr/bin/python3")
    (zygote,) = [one for one in server.status()["server"]["zygotes"] if one["environment"] == base]
    maps = Path(f"/proc/{zygote['pid']}/maps").read_text()
    assert str(environment) not in maps
    server.client.call("stop", sites=["bare"])
    wait_for(lambda: not server.workers("bare"), "its end")
    assert is_alive(zygote["pid"])


def processes_of(command: bytes) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == command:
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found
