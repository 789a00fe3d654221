"""A tenant that takes all there is: what its limits leave to others, and how it learns about them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostel.sandbox.cgroups import Cgroups, Quota, Tree, find_trees
from tests.hostile.stage import TENANT
from tests.support.server import Server, make_folder, wait_for

TREES = find_trees("/run/hostel-test") if os.geteuid() == 0 else []
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not Cgroups(TREES).has("memory"), reason="needs root and control groups"),
]
NEIGHBOUR = """
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"neighbour"]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with a neighbour, which serves afterwards as before; no group of it is left."""
    server = Server(make_folder())
    try:
        server.start()
        server.site("neighbour", NEIGHBOUR, workers={"min": 1})
        server.wait_state("neighbour", "serving")
        pid = server.workers("neighbour")
        yield server
        assert server.get("neighbour").text == "neighbour"
        assert server.workers("neighbour") == pid
        server.stop()
        assert not [tree.path for tree in find_trees(str(server.run_dir)) if os.path.exists(tree.path)]
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)


def tenant(server: Server, name: str, **limits: Any) -> None:
    server.site(name, TENANT, user="nobody", limits=limits, workers={"max": 1}, env={"MARK": str(server.port)})
    wait_for(lambda: run(server, name, "result = 1") == 1, "the tenant to serve")


def run(server: Server, name: str, code: str) -> Any:
    """What a tenant's code has found out; the status when it could not say so."""
    answer = server.get(name, "/", method="POST", body=f"MARK = {server.port}\n{textwrap.dedent(code)}".encode())
    return answer.json()["result"] if answer.status == 200 else answer.status


def groups(server: Server) -> Cgroups:
    return Cgroups(find_trees(str(server.run_dir)))


def test_all_processes_of_a_site_are_in_its_group(server: Server) -> None:
    tenant(server, "member")
    assert groups(server).known() == {"member", "neighbour"}
    child = run(
        server, "member", "import subprocess; process = subprocess.Popen(['sleep', '100']); result = process.pid"
    )
    assert groups(server).members("member") == {*server.workers("member"), child}
    assert not groups(server).members("neighbour") & groups(server).members("member")
    server.client.call("stop", sites=["member"])
    wait_for(lambda: groups(server).known() == {"neighbour"}, "the end of its group")


def test_a_memory_hog_is_ended_alone_and_told_why(server: Server) -> None:
    tenant(server, "hog", memory="100M")
    assert run(server, "hog", "hoard = bytearray(300 * 2**20); result = 1") == 502
    (death, *_) = wait_for(lambda: server.view("hog")["deaths"], "the worker's death to be told")
    assert death["out_of_memory"]
    assert "because memory ran out that the site may have (limits.memory)" in death["reason"]
    assert run(server, "hog", "hoard = bytearray(20 * 2**20); result = 1") == 1


def test_a_fork_bomb_comes_to_its_end(server: Server) -> None:
    tenant(server, "bomb", processes=20)
    code = """
import os, time
children = []
result = 0
try:
    while result < 200:
        pid = os.fork()
        if not pid:
            time.sleep(100)
            os._exit(0)
        children.append(pid)
        result += 1
except BlockingIOError:
    pass
for pid in children:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"""
    assert 10 <= run(server, "bomb", code) < 20


def test_files(server: Server) -> None:
    tenant(server, "files", files=100, file_size="1M")
    code = "import os\nresult = 0\ntry:\n    while True:\n        os.dup(0)\n        result += 1\nexcept OSError:\n    pass"
    code += "\nfor number in range(20, 200):\n    try:\n        os.close(number)\n    except OSError:\n        pass\n"
    assert 50 < run(server, "files", code) < 100
    code = (
        "import os\npath = os.environ['STATE_DIRECTORY'] + '/large'\ntry:\n    open(path, 'wb').write(bytes(2**21))\n"
    )
    code += "    result = 'written'\nexcept OSError as error:\n    result = os.path.getsize(path)"
    assert run(server, "files", code) == 2**20


def test_a_processor_s_time_is_shared_out(server: Server) -> None:
    """What the kernel counts, rather than how long something takes on a busy machine."""
    tenant(server, "burner", cpu=0.25)
    (path,) = [tree.path for tree in groups(server).trees if "cpu" in tree.controllers]
    run(
        server,
        "burner",
        "import time\nbegin = time.monotonic()\nwhile time.monotonic() < begin + 0.5:\n    pass\nresult = 1",
    )
    counts = dict(line.split() for line in Path(path, "burner", "cpu.stat").read_text().splitlines())
    assert int(counts["nr_throttled"]) > 0


def test_a_new_manager_ends_what_nobody_needs(server: Server) -> None:
    tenant(server, "survivor")
    before = groups(server).members("survivor")
    stray = [os.path.join(tree.path, "stray") for tree in groups(server).trees]
    for path in stray:
        os.mkdir(path)
    manager = server.status()["server"]["manager"]
    os.kill(manager, 9)
    wait_for(lambda: server.is_answering() and server.status()["server"]["manager"] != manager, "the next manager")
    wait_for(lambda: not any(map(os.path.exists, stray)), "the stray groups to go")
    assert groups(server).members("survivor") == before


def test_in_a_group_that_is_ended_nothing_is_forked_any_more(server: Server) -> None:
    """Or who forks faster than the list of its processes is read would never be killed."""
    cgroups = groups(server)
    cgroups.make("hare", Quota())
    flee = "import os, sys\nfor door in sys.argv[1:]:\n    open(door, 'w').write('0')\nif os.fork(): os._exit(0)"
    command = [sys.executable, "-c", flee, *cgroups.doors("hare")]
    assert subprocess.run(command, check=False).returncode == 0
    cgroups.kill("hare")
    result = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    assert b"BlockingIOError" in result.stderr
    cgroups.make("hare", Quota())  # the site is started again meanwhile
    assert subprocess.run(command, check=False).returncode == 0

    def is_over() -> bool:
        cgroups.kill("hare")
        return cgroups.remove("hare")

    wait_for(is_over, "its end")


# --- machines of other kinds, as files ------------------------------------------------------------------------------


def lines_of(*mounts: tuple[str, str, str, str]) -> str:
    return "".join(f"30 20 0:1 {root} {point} rw - {kind} {kind} {options}\n" for root, point, kind, options in mounts)


def test_a_machine_with_version_2_only(tmp_path: Path) -> None:
    own = tmp_path / "mnt" / "system.slice" / "hostel.service"
    (own / "server").mkdir(parents=True)
    (own / "cgroup.controllers").write_text("cpuset cpu io memory pids")
    (tmp_path / "mounts").write_text(lines_of(("/", f"{tmp_path}/mnt", "cgroup2", "rw")))
    for path in ("/system.slice/hostel.service", "/system.slice/hostel.service/server"):
        (tmp_path / "cgroup").write_text(f"0::{path}\n")
        (tree,) = find_trees("/run/x", cgroup=f"{tmp_path}/cgroup", mounts=f"{tmp_path}/mounts")
        assert (os.path.dirname(tree.path), tree.controllers, tree.is_unified) == (
            str(own),
            ("cpu", "memory", "pids"),
            True,
        )


def test_a_container_that_sees_its_part_of_a_hierarchy_only(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "mounts").write_text(lines_of(("/docker/1", f"{tmp_path}/memory", "cgroup", "rw,memory")))
    (tmp_path / "cgroup").write_text("4:memory:/docker/1\n1:name=systemd:/\n")
    (tree,) = find_trees("/run/x", cgroup=f"{tmp_path}/cgroup", mounts=f"{tmp_path}/mounts")
    assert (os.path.dirname(tree.path), tree.controllers) == (str(tmp_path / "memory"), ("memory",))


def test_a_machine_with_both_versions(tmp_path: Path) -> None:
    """What the second alone could do is done by the first, where that counts processes."""
    for name in ("memory", "pids", "unified"):
        (tmp_path / name).mkdir()
    mounts = [("/", f"{tmp_path}/{name}", "cgroup", f"rw,{name}") for name in ("memory", "pids")]
    (tmp_path / "mounts").write_text(lines_of(*mounts, ("/", f"{tmp_path}/unified", "cgroup2", "rw")))
    (tmp_path / "cgroup").write_text("8:pids:/\n4:memory:/\n0::/\n")
    trees = find_trees("/run/x", cgroup=f"{tmp_path}/cgroup", mounts=f"{tmp_path}/mounts")
    assert [os.path.dirname(tree.path) for tree in trees] == [f"{tmp_path}/pids", f"{tmp_path}/memory"]
    assert {os.path.basename(door) for door in Cgroups(trees).doors("blog")} == {"tasks"}
    (tmp_path / "cgroup").write_text("4:memory:/\n0::/\n")
    trees = find_trees("/run/x", cgroup=f"{tmp_path}/cgroup", mounts=f"{tmp_path}/mounts")
    assert [tree.is_unified for tree in trees] == [False, True]


@pytest.mark.parametrize(
    ("is_unified", "files"),
    [
        (True, [("memory.max", "1048576"), ("memory.swap.max", "0"), ("pids.max", "10"), ("cpu.max", "50000 100000")]),
        (False, [("memory.limit_in_bytes", "1048576"), ("pids.max", "10"), ("cpu.cfs_quota_us", "50000")]),
    ],
)
def test_limits_are_written_in_each_version_s_words(is_unified: bool, files: list[tuple[str, str]]) -> None:
    assert list(Tree("/x", ("cpu", "memory", "pids"), is_unified).settings(Quota(2**20, 0.5, 10))) == files
