"""Attacks that take more than one answer to judge: poison, forged messages, races, injection, and outliving."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostel.sandbox.abilities import find_abilities
from hostel.sandbox.cgroups import find_trees
from tests.hostile.stage import TENANT, Stage
from tests.support.server import is_alive, wait_for

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not find_abilities().has_namespaces, reason="needs namespaces"),
]
SWAPS = 1_000_000


@pytest.fixture(scope="module", params=["none", "user", "full"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(request.param)
    try:
        yield stage.start()
    finally:
        stage.end()


def is_well(stage: Stage) -> bool:
    """The victim serves as it did."""
    return stage.server.get("victim").text.endswith("None")


def replaced(stage: Stage) -> None:
    """The tenant's worker is another process than it was."""
    (pid,) = stage.server.workers("tenant")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: stage.server.workers("tenant") not in ([pid], []), "another worker")


# --- poison: what a worker does must not reach the next ------------------------------------------------------------


def test_the_next_worker_is_as_if_the_first_had_not_been(stage: Stage) -> None:
    poison = """
        import builtins, gc, json, os, signal, sys
        builtins.POISON = json.POISON = os.POISON = True
        os.environ["POISON"] = sys.path[:0] or "yes"
        sys.path.insert(0, "/tmp/poison")
        sys.modules["poison"] = json
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.umask(0)
        os.nice(5)
        for number in range(50):  # and descriptors that are inherited
            os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
        result = True
        """
    look = """
        import builtins, json, os, signal, sys
        umask = os.umask(0o22)
        result = [hasattr(builtins, "POISON"), hasattr(json, "POISON"), "POISON" in os.environ, "/tmp/poison" in sys.path,
                  "poison" in sys.modules, signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN, umask == 0, os.nice(0) != 0,
                  len(os.listdir("/proc/self/fd")) > 40]
        """
    assert stage.attack(poison)["result"]
    assert all(stage.attack(look)["result"]), "it is seen where it was done"
    replaced(stage)
    assert not any(stage.attack(look)["result"])


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "-1e308", "1e308"])
def test_a_forged_scoreboard_is_believed_of_nobody_else(stage: Stage, value: str) -> None:
    """The memory that the manager reads: numbers that are none, and a note of bytes that are no note."""
    forge = f"""
        import ctypes, struct
        result = False
        for line in open("/proc/self/maps"):
            if "hostel-scoreboard" in line:
                begin, end = (int(part, 16) for part in line.split()[0].split("-"))
                size = end - begin
                slot = struct.pack("8d", *[{value}] * 8) + b"\\xff" * 448
                ctypes.memmove(begin, slot * (size // 512), size)
                result = True
        """
    server = stage.server
    manager = server.status()["server"]["manager"]
    assert stage.attack(forge)["result"], "there is a scoreboard"
    for _ in range(3):
        assert server.status()["server"]["manager"] == manager
        assert is_well(stage)
    server.client.call("status")
    assert server.run("status", "--run-dir", str(server.run_dir)).returncode == 0
    wait_for(
        lambda: stage.server.get("tenant", "/", method="POST", body=b"result = 1").status == 200, "the tenant itself"
    )
    assert server.status()["server"]["manager"] == manager


# --- forged messages ------------------------------------------------------------------------------------------------

FORGED = {
    "garbage": "[os.urandom(200) for _ in range(200)]",
    "huge": "[b'[' * 60000, b'[' * 60000 + b']' * 60000, b'x' * 200000]",
    "wrong types": """[json.dumps(one).encode() for one in (None, 1, [], {},
        "Ready", ["Ready"], ["Ready", {}], ["Measured"] + ["x"] * 20, ["Stop"],
        ["Beat", 1e999], ["Exited", 1, 9], ["Spawned", 1, 2], ["WorkerEnded", 1, 9], ["Signal", 1, 9], ["Forget", "front"],
        ["Ready", True, 10**400], ["StartFailed", "\\x1b[2J", 0, "x", "\\n2026 fake"])]""",
    "nothing": "[b''] * 50",
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_messages_on_the_control_channel(stage: Stage, kind: str) -> None:
    """Its worker may lose by it; the manager neither ends, nor believes it, nor keeps what descriptors come along."""
    server = stage.server
    server.client.call("reload", sites=["tenant"])  # the one before may have had its channel closed for what it said
    wait_for(lambda: len(server.workers("tenant")) == 1, "a worker that has said nothing yet")
    manager = server.status()["server"]["manager"]
    held = len(os.listdir(f"/proc/{manager}/fd"))
    forge = f"""
        import array, json, os, socket
        channel = socket.socket(fileno=os.dup(4))
        sent = 0
        for data in {FORGED[kind]}:
            for attached in ([], [0, 1, 2] * 40):
                more = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", attached))] if attached else []
                try:
                    channel.sendmsg([data], more, socket.MSG_DONTWAIT)
                    sent += 1
                except OSError:
                    pass
        result = sent
        """
    try:
        answer = stage.attack(forge)
        assert answer["result"], answer
    except ValueError:
        pass  # the worker was ended for it, before it could answer
    assert is_well(stage)
    wait_for(
        lambda: server.get("tenant", "/", method="POST", body=b"result = 1").status == 200, "a worker that behaves"
    )
    wait_for(lambda: len(server.workers("tenant")) == 1, "one worker")
    assert server.status()["server"]["manager"] == manager
    wait_for(lambda: len(os.listdir(f"/proc/{manager}/fd")) <= held + 3, "attached descriptors to be closed")
    assert server.view("victim")["state"] == "serving"


# --- links that are swapped -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("what", ["file", "folder"])
def test_nothing_outside_is_served_while_links_are_swapped(stage: Stage, what: str) -> None:
    """By the millions, in native code, while a client asks for them: as a static file, and by X-Accel-Redirect."""
    server = stage.server
    home = stage.homes / "tenant"
    secret = stage.homes / "victim" / "private"
    secret.mkdir(exist_ok=True)
    (secret / "page.txt").write_text("the victim's secret")
    for path in (home / "files", home / "files" / "folder"):
        path.mkdir(exist_ok=True)
        os.chown(path, 65534, 65534)
    for path in (home / "files" / "page.txt", home / "files" / "folder" / "page.txt"):
        path.write_text("its own")
        os.chown(
            path, 65534, 65534
        )  # what belongs to whom the other file belongs to is no safer than that: docs/explanation/trust.md
    link = home / "files" / f"link-{what}"
    link.unlink(missing_ok=True)
    link.symlink_to(secret / "page.txt" if what == "file" else secret)
    os.chown(link, 65534, 65534, follow_symlinks=False)
    original = home / "files" / ("page.txt" if what == "file" else "folder")
    url = "/files/page.txt" if what == "file" else "/files/folder/page.txt"
    code = TENANT + (
        "    inner = application\n"
        "    def application(environ, start_response):\n"
        "        if environ['REQUEST_METHOD'] == 'GET':\n"
        f"            start_response('200 OK', [('X-Accel-Redirect', '{url}')])\n"
        "            return []\n"
        "        return inner(environ, start_response)\n"
    )
    server.site(
        "swapper", code, user="nobody", static={"/files": str(home / "files")}, guard={"writable": [str(home)]},
        workers={"min": 1, "max": 2},
    )  # fmt: skip
    wait_for(lambda: server.get("swapper", url).status == 200, "the files")
    os.chown(home / "files", 65534, 65534)
    native = f"""
        import subprocess
        done = subprocess.run(["{stage.open}/native", "swap", "{original}", "{link}", "{SWAPS}"], capture_output=True, timeout=60)
        result = int(done.stdout)
        """
    swapped: list[int] = []

    def swap() -> None:
        text = "\n".join(line[8:] for line in native.splitlines())
        swapped.append(server.get("swapper", "/", method="POST", body=text.encode()).json()["result"])

    thread = threading.Thread(target=swap)
    thread.start()
    seen: dict[tuple[int, bool], int] = {}
    try:
        while thread.is_alive():
            for asked in (url, "/by-accel"):
                answer = server.get("swapper", asked)
                assert "secret" not in answer.text
                key = answer.status, "its own" in answer.text
                seen[key] = seen.get(key, 0) + 1
    finally:
        thread.join()
    assert swapped == [SWAPS]
    assert seen.get((200, True)), seen
    assert any(status in (403, 404) for status, _ in seen), f"the swaps were never met: {seen}"


# --- injection ------------------------------------------------------------------------------------------------------


def test_logs_have_no_control_characters_and_no_lines_of_others(stage: Stage) -> None:
    code = """
        import os, sys
        for text in ("\\x1b[2J\\x1b]0;title\\x07", "a\\rb", "\\x00nul", "\\x9b31m", "\\u2028line", "\\x7f"):
            os.write(2, ("INJECTED " + text + "\\n").encode("utf-8", "surrogateescape"))
        os.write(2, b"INJECTED \\xff\\xfe\\x9b\\n")
        result = True
        """
    assert stage.attack(code)["result"]
    wait_for(lambda: stage.server.log("tenant").count("INJECTED") >= 7, "the lines")
    path = stage.server.log_dir / "tenant" / "error.log"
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", path.read_bytes())
    assert "INJECTED" not in stage.server.log("victim")
    assert "INJECTED" not in stage.server.output


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "/../victim/open-to-all",
        "/sites/victim/www/0/x",
        "/hosts/victim.localhost/app.sock",
        "@app",
        "/\x01",
    ],
)
def test_the_front_is_not_led_astray_by_headers(stage: Stage, target: str) -> None:
    """Headers that nginx obeys, with targets outside of what is the site's."""
    code = TENANT.replace(
        'start_response("200 OK", [])',
        f'start_response("200 OK", [("X-Accel-Redirect", {target!r}), ("X-Sendfile", "/etc/passwd"), '
        '("X-Accel-Limit-Rate", "1")])',
    )
    home = stage.homes / "tenant"
    stage.server.site("led", code, user="nobody", workers={"min": 1})
    wait_for(lambda: stage.server.get("led").status != 503, "the site")
    text = stage.server.get("led", "/", method="POST", body=b"result = 1").text
    assert "root:" not in text
    assert "secret" not in text
    assert is_well(stage)
    assert home.exists()


# --- outliving a stop -----------------------------------------------------------------------------------------------

OUTLIVES = {
    "stopped": "signal.raise_signal(signal.SIGSTOP)",
    "deaf": "for number in range(1, 65):\n            try:\n                signal.signal(number, signal.SIG_IGN)\n"
    "            except (OSError, ValueError):\n                pass\n        time.sleep(1000)",
    "leader": "os.setsid()\n        os.setpgid(0, 0) if os.getsid(0) != os.getpid() else None\n        time.sleep(1000)",
}


@pytest.mark.parametrize("how", [*OUTLIVES, "forking"])
def test_nothing_outlives_a_stop(stage: Stage, how: str) -> None:
    if stage.level != "full" and not find_trees("/run/hostel"):
        pytest.skip("without namespaces it needs control groups")
    name = f"out{stage.server.port}{how[:4]}"
    if how == "forking":
        code = (
            f"import subprocess\nresult = subprocess.run(['{stage.open}/native', 'run-away', '{name}']).returncode == 0"
        )
    else:
        code = (
            "import ctypes, os, signal, time\nresult = True\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n"
            f"        ctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)\n        {OUTLIVES[how]}\n        time.sleep(1000)\n"
            "    os._exit(0)\n"
        )
    assert stage.attack(code)["result"]
    wait_for(lambda: named(name), "what is to outlive")
    stage.server.client.call("stop", sites=["tenant"])
    wait_for(lambda: not named(name), "the end of it", 5)
    stage.server.client.call("start", sites=["tenant"])
    wait_for(lambda: stage.server.get("tenant", "/", method="POST", body=b"result = 1").status == 200, "the site again")
    assert not named(name)


def named(name: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == name[:15] and is_alive(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found
