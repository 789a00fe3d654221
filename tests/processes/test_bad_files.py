"""Site files that are wrong in every way there is, in the folder of a server that serves their good neighbours."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeServer
from tests.support.server import Server, wait_for

SOON = 3.0  # for what should take effect within a second, on a busy machine
HELLO = """
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello from " + environ["HTTP_HOST"].partition(".")[0].encode()]
"""


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def make_foreign(path: Path) -> None:
    path.write_text('app = "app:application"\n')
    os.chown(path, 2, 2)


def text(content: str | bytes, mode: int = 0o644) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)

    return make


# How to make the file, and what is said about it: where, and the beginning of the reason.
BAD_FILES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "empty": (text(""), "", "the file says nothing"),
    "large": (text(b"#" * 10_000_000), "", "the file has 10000000 bytes"),
    "yaml": (text("app: x\n"), "line 1, column 4", "not TOML"),
    "cut": (text('app = "a:b"\n[workers]\nmax ='), "line 3", "not TOML"),
    "latin": (text(b"# gr\xfc\xdfe\n"), "line 1", "the file is not UTF-8 text"),
    "nul": (text(b'app = "a:b"\0'), "line 1, column 12", "not TOML"),
    "deep": (text("app = " + "[" * 100_000), "", "not TOML"),
    "dots": (text("a." * 100_000 + "a = 1"), "line 1", "a key has more than 16 parts"),
    "huge": (text("[workers]\nmax = 0x" + "f" * 50_000), "workers.max (line 2)", "has to be at most 256"),
    "twice": (text('app = "a:b"\napp = "a:b"\n'), "line 2, column 12", "not TOML: cannot overwrite a value"),
    "types": (text('app = "a:b"\ndomains = "x"\n'), "domains (line 2)", "has to be a list, not 'x'"),
    "unknown": (text('app = "a:b"\ndomain = ["x"]\n'), "domain (line 2)", "unknown option"),
    "range": (
        text('app = "a:b"\nworkers = { min = 5, max = 2 }\n'),
        "workers (line 2)",
        "min (5) is larger than max (2)",
    ),
    "nested": (
        text('[static]\n"/"="a"\n"/b/c/d/e/f/g/h"="a"\n'),
        "static./b/c/d/e/f/g/h (line 3)",
        "the path in URLs has",
    ),
    "Upper": (text('app = "a:b"\n'), "", "a site's name is 1 to 48 small letters"),
    "dot.ted": (text('app = "a:b"\n'), "", "a site's name is 1 to 48 small letters"),
    "x" * 200: (text('app = "a:b"\n'), "", "a site's name is 1 to 48 small letters"),
    "new\nline": (text('app = "a:b"\n'), "", "a site's name is 1 to 48 small letters"),
    "fifo": (make_fifo, "", "a site file is a regular file"),
    "socket": (make_socket, "", "a site file is a regular file"),
    "folder": (Path.mkdir, "", "a site file is a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "", "a site file is a regular file"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "", "the link leads nowhere"),
    "open": (text('app = "a:b"\n', 0o666), "", "everybody may write to the file"),
    "foreign": (make_foreign, "", "the file belongs to somebody who may not write here"),
}
if os.geteuid() != 0:
    del BAD_FILES["foreign"]


def name_of(name: str) -> str:
    return name.replace("\n", "\\n")


@pytest.fixture(scope="module")
def crowded(shared_server: Server) -> Server:
    """A server whose folder has all the bad files and two good ones."""
    shared_server.site("good", HELLO)
    shared_server.site("better", HELLO)
    for name, (make, _, _) in BAD_FILES.items():
        make(shared_server.sites / f"{name}.toml")
    Path(os.fsdecode(os.fsencode(shared_server.sites) + b"/\xff.toml")).write_text('app = "a:b"\n')
    wait_for(lambda: len(shared_server.status()["sites"]) == len(BAD_FILES) + 3, "all files to be seen", SOON)
    return shared_server


def test_good_neighbours_are_served(crowded: Server) -> None:
    assert crowded.get("good").text == "hello from good"
    assert crowded.get("better").text == "hello from better"
    manager = crowded.status()["server"]["manager"]
    assert crowded.get("fifo").status == 404  # a site that never was
    assert crowded.status()["server"]["manager"] == manager


@pytest.mark.parametrize("name", list(BAD_FILES), ids=lambda name: name_of(name)[:20])
def test_the_status_says_what_is_wrong_with_a_file(crowded: Server, name: str) -> None:
    _, where, reason = BAD_FILES[name]
    view = crowded.view(name_of(name))
    assert (view["state"], view["workers"], view["urls"]) == ("invalid", [], [])
    assert view["file"] == f"{crowded.sites}/{name_of(name)}.toml"
    (problem,) = view["problems"]
    assert problem["kind"] == "file"
    assert problem["file"] == view["file"]
    assert problem["where"] == where
    assert problem["reason"].startswith(reason)
    assert problem["hint"]


def test_check_says_the_same_as_the_status(crowded: Server) -> None:
    result = crowded.run("check", str(crowded.sites), "--json", check=False)
    assert result.returncode == 1
    found = {problem["site"]: problem for problem in json.loads(result.stdout)["problems"]}
    for name, (_, where, reason) in BAD_FILES.items():
        problem = found.pop(name_of(name))
        assert problem["where"] == where
        assert problem["reason"].startswith(reason)
    assert set(found) == {"\\xff"}


def test_people_see_file_place_reason_and_remedy(crowded: Server) -> None:
    result = crowded.run("check", str(crowded.sites), check=False)
    for name, (_, where, reason) in BAD_FILES.items():
        place = f"{crowded.sites}/{name_of(name)}.toml: {f'{where}: ' if where else ''}{reason}"
        lines = result.stdout.splitlines()
        (at,) = [number for number, line in enumerate(lines) if line.startswith(place)]
        assert lines[at + 1].startswith("  -> ")
    assert f"{len(BAD_FILES) + 3} sites, {len(BAD_FILES) + 1} problems" in result.stdout
    assert "\x1b" not in result.stdout
    everything = crowded.run("status", check=False)
    assert everything.returncode == 0  # which sites have problems is asked for by name
    assert "the file says nothing" in crowded.run("status", "empty", check=False).stdout
    assert crowded.run("status", "empty", check=False).returncode == 1


def test_each_problem_is_logged_once(crowded: Server) -> None:
    assert crowded.output.count("site=yaml file problem: ") == 1
    assert "\nline" not in crowded.output


def test_a_mended_file_is_served_within_a_second(crowded: Server) -> None:
    for name in ("folder", "dangling", "cut", "open"):
        path = crowded.sites / f"{name}.toml"
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        began = time.monotonic()
        crowded.site(name, HELLO)
        wait_for(lambda name=name: crowded.get(name).status == 200, name, SOON)  # type: ignore[misc]
        print(f"{name}: served {time.monotonic() - began:.2f} s after it was mended")
        assert crowded.view(name)["problems"] == []


# --- changes of files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken", ["", "app = ", 'app = "app:application"\nunknown = 1\n', "\0"], ids=["empty", "cut", "option", "nul"]
)
def test_a_broken_change_leaves_the_last_good_version_serving(shared_server: Server, broken: str) -> None:
    path = shared_server.site("steady", HELLO)
    wait_for(lambda: shared_server.get("steady").status == 200)
    before = shared_server.view("steady")
    path.write_text(broken)
    wait_for(lambda: shared_server.view("steady")["problems"], "the problem", SOON)
    assert shared_server.get("steady").text == "hello from steady"
    after = shared_server.view("steady")
    assert after["problems"][0]["file"] == str(path)
    assert [worker["pid"] for worker in after["workers"]] == [worker["pid"] for worker in before["workers"]]
    shared_server.site("steady", HELLO)
    wait_for(lambda: not shared_server.view("steady")["problems"], "the problem to go", SOON)


def test_a_half_written_file_takes_effect_when_it_is_complete(shared_server: Server) -> None:
    shared_server.site("slow", HELLO).unlink()
    content = f'app = "app:application"\ndirectory = "{shared_server.projects}/slow"\n'
    path = shared_server.sites / "slow.toml"
    with path.open("w") as file:  # as a slow editor, or scp, writes it
        file.write(content[:30])
        file.flush()
        wait_for(lambda: shared_server.state("slow") == "invalid", "the half", SOON)
        assert shared_server.get("slow").status == 404
        file.write(content[30:])
        began = time.monotonic()
    wait_for(lambda: shared_server.get("slow").status == 200, "the whole", SOON)
    print(f"served {time.monotonic() - began:.2f} s after it was complete")


def test_a_file_that_stays_open_takes_effect_too(shared_server: Server) -> None:
    shared_server.site("kept", HELLO).unlink()
    with (shared_server.sites / "kept.toml").open("w") as file:
        file.write(f'app = "app:application"\ndirectory = "{shared_server.projects}/kept"\n')
        file.flush()
        wait_for(lambda: shared_server.get("kept").status == 200, "the site", SOON)


def test_a_domain_belongs_to_its_first_owner_and_then_to_the_next(shared_server: Server) -> None:
    shared_server.site("zebra", HELLO.replace("hello", "zebra"), domains=["same.example", "zebra.example"])
    wait_for(lambda: shared_server.get("same.example").text.startswith("zebra"))
    path = shared_server.site("apple", HELLO.replace("hello", "apple"), domains=["same.example", "apple.example"])
    wait_for(lambda: shared_server.view("apple"), "the second site", SOON)
    assert shared_server.get("same.example").text.startswith("zebra")  # though "apple" comes first in the folder
    assert shared_server.get("apple.example").text.startswith("apple")
    (problem,) = shared_server.view("apple")["problems"]
    assert (problem["where"], problem["reason"]) == ("domains", "same.example belongs to site zebra")
    assert problem["file"] == str(path)
    assert problem["hint"]
    assert shared_server.view("zebra")["problems"] == []
    began = time.monotonic()
    shared_server.site("zebra", domains=["zebra.example"], app="app:application")
    wait_for(lambda: shared_server.get("same.example").text.startswith("apple"), "the domain to pass on", SOON)
    print(f"passed on within {time.monotonic() - began:.2f} s")
    assert shared_server.view("apple")["problems"] == []
    assert shared_server.get("zebra.example").text.startswith("zebra")


def test_a_domain_passes_on_when_its_owner_is_removed(shared_server: Server) -> None:
    owner = shared_server.site("owner", HELLO, domains=["passed.example"])
    wait_for(lambda: shared_server.get("passed.example").status == 200)
    shared_server.site("heir", HELLO.replace("hello", "heir"), domains=["passed.example"])
    wait_for(lambda: shared_server.view("heir"), "the second site", SOON)
    owner.unlink()
    wait_for(lambda: shared_server.get("passed.example").text.startswith("heir"), "the domain to pass on", SOON)


def test_an_owner_keeps_its_domain_while_its_file_is_broken(shared_server: Server) -> None:
    path = shared_server.site("keeper", HELLO, domains=["kept.example"])
    wait_for(lambda: shared_server.get("kept.example").status == 200)
    path.write_text("broken")
    wait_for(lambda: shared_server.view("keeper")["problems"], "the problem", SOON)
    shared_server.site("thief", HELLO.replace("hello", "thief"), domains=["kept.example"])
    wait_for(lambda: shared_server.view("thief"), "the second site", SOON)
    assert shared_server.get("kept.example").text.startswith("hello")
    path.unlink()
    wait_for(lambda: shared_server.get("kept.example").text.startswith("thief"), "the domain to pass on", SOON)


# --- the folder itself -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_that_is_removed_and_made_again(make_server: MakeServer) -> None:
    server = make_server()
    server.site("old", HELLO)
    server.start()
    assert server.get("old").status == 200
    for put_back in (False, True):
        server.sites.rename(server.folder / "elsewhere")
        assert server.get("old").status == 200  # what runs goes on
        if put_back:
            time.sleep(1.5)  # so that it is seen to be gone
            assert server.get("old").status == 200
        server.sites.mkdir()
        server.site("new", HELLO)
        wait_for(lambda: server.get("new").status == 200, "the site in the new folder")
        wait_for(lambda: server.get("old").status == 404, "the site of the old folder to go")
        shutil.rmtree(server.sites)
        (server.folder / "elsewhere").rename(server.sites)
        wait_for(lambda: server.get("old").status == 200, "the site of the old folder to be back")
        server.site("more", HELLO)
        wait_for(lambda: server.get("more").status == 200, "the folder to be watched", SOON)
        (server.sites / "more.toml").unlink()
        wait_for(lambda: server.get("more").status == 404, "the site to go", SOON)


@pytest.mark.slow
def test_a_folder_behind_a_link_that_is_switched(make_server: MakeServer) -> None:
    """As deployments do it: a new folder beside the old one, and then the link."""
    server = make_server()
    server.site("first", HELLO)
    link = server.folder / "current"
    link.symlink_to(server.sites)
    server.paths = (str(link),)
    server.start()
    assert server.get("first").status == 200
    (server.folder / "release").mkdir()
    shutil.copy(server.sites / "first.toml", server.folder / "release" / "second.toml")
    (server.folder / "new").symlink_to(server.folder / "release")
    (server.folder / "new").rename(link)
    wait_for(lambda: server.get("second").status == 200, "the new folder's site")
    assert server.get("first").status == 404
    shutil.copy(server.sites / "first.toml", server.folder / "release" / "third.toml")
    wait_for(lambda: server.get("third").status == 200, "the new folder to be watched", SOON)


def test_a_server_that_starts_with_nothing_but_bad_files(make_server: MakeServer, user: str) -> None:
    server = make_server(user=user)
    for name in ("empty", "yaml", "fifo", "dangling", "folder", "deep"):
        BAD_FILES[name][0](server.sites / f"{name}.toml")
    server.start()
    assert {site["state"] for site in server.status()["sites"]} == {"invalid"}
    server.site("good", HELLO)
    wait_for(lambda: server.get("good").status == 200, "the good site", SOON)
    assert server.stop() == 0
