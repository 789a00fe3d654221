"""The process that keeps the cache within its bounds: what it deletes, what it reads, and that it is there."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from hostel.front import janitor
from hostel.front.janitor import (
    CLOSED_SECONDS,
    HEAD_BYTES,
    LEFT_SECONDS,
    MARK_BYTES,
    MARK_SECONDS,
    STALE_SECONDS,
    VALID,
    Entry,
    Janitor,
    Share,
    read_entry,
    superfluous,
)
from hostel.front.store import FULL, UNKEPT
from tests.conftest import MakeServer
from tests.front.test_cache import KEEP, is_kept, make_path, make_site, visit, way
from tests.support.server import ORDINARY_USER, Server, command_of, descendants_of, wait_for

NOW = 1_000_000.0


def entry(site: str = "blog", epoch: str = "17", size: int = 10, made: float = NOW, valid: float = NOW + 60) -> Entry:
    return Entry(site, epoch, size, made, valid, 1)


def gone(entries: dict[str, Entry], total: int = 1000, **wanted: Share) -> set[str]:
    return set(superfluous(entries, wanted, total, NOW))


def test_the_oldest_of_a_site_that_has_too_much_go() -> None:
    entries = {f"/{n}": entry(made=NOW - n) for n in range(10)} | {f"/o{n}": entry("other", made=0) for n in range(10)}
    assert gone(entries, blog=Share("17", 100), other=Share("17", 100)) == set()
    assert gone(entries, blog=Share("17", 70), other=Share("17", 100)) == {"/9", "/8", "/7"}
    assert gone(entries, blog=Share("17", 65), other=Share("17", 100)) == {"/9", "/8", "/7", "/6"}
    assert gone(entries, blog=Share("17", 5), other=Share("17", 100)) == {f"/{n}" for n in range(10)}


def test_the_oldest_of_all_go_when_there_is_too_much_of_them() -> None:
    entries = {f"/{n}": entry(made=NOW - n) for n in range(10)} | {"/other": entry("other", made=NOW - 5.5)}
    assert gone(entries, total=60, blog=Share("17", 100), other=Share("17", 100)) == {"/9", "/8", "/7", "/6", "/other"}


def test_what_nobody_can_be_shown_any_more_goes() -> None:
    entries = {"/old": entry(epoch="16"), "/now": entry(), "/none": entry("none")}
    assert gone(entries, blog=Share("17", 100)) == {"/old", "/none"}


def test_what_is_long_outdated_goes_but_later_while_the_site_does_not_start() -> None:
    entries = {"/1": entry(valid=NOW - STALE_SECONDS + 1), "/2": entry(valid=NOW - STALE_SECONDS - 1)}
    entries["/3"] = entry(valid=NOW - CLOSED_SECONDS - 1)
    assert gone(entries, blog=Share("17", 100)) == {"/2", "/3"}
    assert gone(entries, blog=Share("17", 100, is_closed=True)) == {"/3"}


# --- what it reads -------------------------------------------------------------------------------------------------


def write(path: Path, key: bytes, valid: int = 5, fill: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(VALID.pack(5, valid) + fill + b"\nKEY: " + key + b"\nHTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000)
    return path


def test_a_file_of_the_cache_says_whose_it_is(tmp_path: Path) -> None:
    for site in ("blog", "alice+blog"):
        found = read_entry(str(write(tmp_path / "a", f"{site} 17 http blog.localhost /".encode(), 99, b"\0" * 300)))
        assert found is not None
        assert (found.site, found.epoch, found.valid) == (site, "17", 99.0)
        assert found.size >= 5000


@pytest.mark.parametrize(
    "key",
    [b"", b"blog", b"blog ", b"blog 17",
      b"../x 17 http", b"blog x http", b"\xff\xfe 1 ", b"x" * 49 + b" 17 http", b"a+b+c 17 http", b"+blog 17 http",
      b"blog " + b"9" * 21 + b" "],
)  # fmt: skip
def test_what_is_no_key_is_nobodys(tmp_path: Path, key: bytes) -> None:
    assert read_entry(str(write(tmp_path / "a", key))) is None


def test_what_is_no_file_of_the_cache(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "late").write_bytes(b"\0" * HEAD_BYTES + b"\nKEY: blog 17 http")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(write(tmp_path / "file", b"blog 17 http /"))
    for name in ("empty", "late", "fifo", "link", "none", "."):
        assert read_entry(str(tmp_path / name)) is None, name


def test_a_client_cannot_write_anothers_name_into_a_key(tmp_path: Path) -> None:
    found = read_entry(str(write(tmp_path / "a", b"blog 17 http blog.localhost /%0AKEY: other 18 http")))
    assert found is not None
    assert found.site == "blog"


# --- what it does --------------------------------------------------------------------------------------------------


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory with a site, blog, that has a cache of 17,000 bytes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sites" / "blog").mkdir(parents=True)
    (tmp_path / "sites" / "none").mkdir()
    (tmp_path / "sites" / "blog" / "values").symlink_to("spelled/size=17000;digest=0;epoch=17")
    (tmp_path / UNKEPT).mkdir(parents=True)
    return tmp_path


def test_files_come_and_go(run_dir: Path) -> None:
    cleaner = Janitor("cache", 10**6)
    cleaner.clean(time.time())
    later = int(time.time()) + 60
    one = write(run_dir / "cache" / "uwsgi" / "0f" / "a", b"blog 17 http /1", later)
    cleaner.clean(time.time())
    assert one.exists()
    two = write(run_dir / "cache" / "proxy" / "0f" / "b", b"blog 16 http /1", later)
    strange = run_dir / "cache" / "uwsgi" / "0f" / "strange"
    strange.write_text("not of the cache")
    cleaner.clean(time.time())
    assert (one.exists(), two.exists(), strange.exists()) == (True, False, True)
    one.unlink()
    for n in range(4):
        write(run_dir / "cache" / "uwsgi" / "1f" / f"c{n}", b"blog 17 http /1", later)
        os.utime(run_dir / "cache" / "uwsgi" / "1f" / f"c{n}", (later, later + n))
    cleaner.clean(time.time())
    left = sorted(path.name for path in (run_dir / "cache").rglob("c*") if path.is_file())
    assert left in (["c2", "c3"], ["c1", "c2", "c3"])  # as the file system counts
    (run_dir / "sites" / "blog" / "values").unlink()
    cleaner.clean(time.time())
    assert not [path for path in (run_dir / "cache").rglob("c*") if path.is_file()]


def test_files_that_nginx_has_left_unfinished(run_dir: Path) -> None:
    young, old = (write(run_dir / "cache" / "uwsgi" / "0f" / f"a.{n:010}", b"blog 17 http /1") for n in range(2))
    os.utime(old, (0, time.time() - LEFT_SECONDS - 1))
    Janitor("cache", 10**6).clean(time.time())
    assert (young.exists(), old.exists()) == (True, False)


def test_a_full_disk(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = run_dir / FULL
    janitor.tell_of_disk("sites")
    assert not full.exists()
    monkeypatch.setattr(janitor, "FREE_BYTES", 2**60)
    janitor.tell_of_disk("sites")
    janitor.tell_of_disk("sites")
    assert full.exists()
    monkeypatch.setattr(janitor, "FREE_BYTES", 0)
    janitor.tell_of_disk("sites")
    assert not full.exists()
    monkeypatch.setattr(janitor, "FREE_BYTES", 1)
    janitor.tell_of_disk("none")
    assert full.exists()


def test_marks(run_dir: Path) -> None:
    marks = run_dir / UNKEPT
    for name in ("young", "old", "large"):
        (marks / name).write_bytes(b"\n" * (MARK_BYTES + 1 if name == "large" else 5))
    os.utime(marks / "old", (0, time.time() - MARK_SECONDS - 1))
    janitor.clean_marks(time.time())
    assert {path.name: path.stat().st_size for path in marks.iterdir()} == {"young": 5, "large": 0}


# --- with a server -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(front_server: Server) -> Server:
    make_site(front_server, "small", cache={"on": True, "size": "100K"})
    make_site(front_server, "large")
    make_site(front_server, "changing", "asgi")
    for site in ("small", "large", "changing"):
        wait_for(lambda site=site: way(visit(front_server, site)), "the cache")  # type: ignore[misc]
    return front_server


def kept_bytes(server: Server, site: str) -> int:
    """What is on the disk of a site's answers."""
    paths = [path for path in (server.state_dir / "cache").rglob("*") if path.is_file()]
    entries = [read_entry(str(path)) for path in paths]
    return sum(one.size for one in entries if one is not None and one.site == site)


def janitor_of(server: Server) -> int:
    """The process id of the janitor; 0 while there is none."""
    assert server.process is not None
    return next((pid for pid in descendants_of(server.process.pid) if "front.janitor" in command_of(pid)), 0)


def nudged(server: Server) -> bool:
    """Have it look now; true, so that it can stand in a condition."""
    if pid := janitor_of(server):
        os.kill(pid, signal.SIGURG)
    return True


def test_it_has_the_rights_of_the_front(server: Server) -> None:
    pid = wait_for(lambda: janitor_of(server), "the janitor")
    folder = os.stat(server.state_dir / "cache" / "uwsgi")
    assert os.stat(f"/proc/{pid}").st_uid == folder.st_uid
    assert not folder.st_mode & 0o077  # no tenant can look into it


def test_a_site_keeps_no_more_than_its_share(server: Server) -> None:
    first = make_path(text="x" * 4000)
    for site in ("small", "large"):
        visit(server, site, first)
    for _ in range(60):
        path = make_path(text="x" * 4000)
        for site in ("small", "large"):
            visit(server, site, path)
    wait_for(lambda: nudged(server) and kept_bytes(server, "small") <= 100 * 1024, "the oldest to go")
    assert kept_bytes(server, "small") > 50 * 1024
    assert kept_bytes(server, "large") > 240 * 1024
    assert way(visit(server, "small", first)) == "MISS"
    assert way(visit(server, "large", first)) == "HIT"
    assert way(visit(server, "small", path)) == "HIT"


@pytest.mark.parametrize("site", ["large", "changing"])
def test_a_purge_is_instant_and_gives_the_room_back(server: Server, site: str) -> None:
    paths = [make_path(KEEP) for _ in range(5)]
    for path in paths:
        assert is_kept(server, site, path)
    assert server.run("cache", "purge", site).stdout == f"purged the cache of {site}\n"
    for path in paths:
        assert way(visit(server, site, path)) == "MISS"
    for path in paths:
        assert way(visit(server, site, path)) == "HIT"
    before = kept_bytes(server, site)
    assert server.client.call("purge", sites=[site]) == {"purged": [site]}
    wait_for(lambda: kept_bytes(server, site) < before, "the room")


def test_without_root(make_server: MakeServer) -> None:
    server = make_server(user=ORDINARY_USER).start()
    make_site(server, "small")
    path = make_path()
    wait_for(lambda: is_kept(server, "small", path), "the cache")
    assert server.client.call("purge", all=True) == {"purged": ["small"]}
    assert way(visit(server, "small", path)) == "MISS"
    wait_for(lambda: janitor_of(server), "the janitor")
    assert "the janitor ended" not in server.output


def test_on_a_full_disk_the_cache_rests(server: Server) -> None:
    path = make_path()
    assert is_kept(server, "large", path)
    (server.run_dir / FULL).touch()  # in the janitor's place, who takes it away again
    assert way(visit(server, "large", path)) == "BYPASS"
    wait_for(lambda: nudged(server) and way(visit(server, "large", path)) == "HIT", "the cache")


def test_what_is_kept_outlives_manager_and_front(server: Server) -> None:
    pid = wait_for(lambda: janitor_of(server), "the janitor")
    path = make_path()
    assert is_kept(server, "large", path)
    for part in ("manager", "front"):
        old = server.status()["server"][part]
        os.kill(old, signal.SIGKILL)
        wait_for(lambda part=part, old=old: server.is_answering() and server.status()["server"][part] != old, part)  # type: ignore[misc]
        assert way(visit(server, "large", path)) == "HIT"
    wait_for(lambda: janitor_of(server) not in (0, pid), "the next manager's janitor")
    server.client.call("purge", sites=["large"])
    assert way(visit(server, "large", path)) == "MISS"


def test_when_it_dies_there_is_another(server: Server) -> None:
    assert "the janitor ended" not in server.output
    pid = wait_for(lambda: janitor_of(server), "the janitor")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: janitor_of(server) not in (0, pid), "the next one")
