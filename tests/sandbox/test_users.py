"""The record of users that sites have to themselves: each number to one site, for ever, whatever happens."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from hostel.errors import SiteError
from hostel.sandbox import users
from hostel.sandbox.users import find_uid, give_uids, who_uses

RANGE = (1_900_000_000, 1_900_000_009)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "sites").mkdir()
    return tmp_path


def give(state: Path, *sites: str, uid_range: tuple[int, int] = RANGE) -> list[int | None]:
    give_uids(str(state), sites, uid_range)
    return [find_uid(str(state), site) for site in sites]


def test_each_site_has_one_and_keeps_it(state: Path) -> None:
    assert find_uid(str(state), "blog") is None
    assert give(state, "shop", "blog") == [1_900_000_001, 1_900_000_000]
    assert give(state, "wiki", "blog") == [1_900_000_002, 1_900_000_000]
    assert (state / "users").read_text() == "1900000000 blog\n1900000001 shop\n1900000002 wiki\n"
    assert (state / "users").stat().st_mode & 0o777 == 0o600


def test_a_number_is_never_given_again(state: Path) -> None:
    """The record does not know which sites there are: nothing takes a line out of it."""
    give(state, "gone")
    assert give(state, "new") == [1_900_000_001]
    assert give(state, "gone") == [1_900_000_000]  # its name is what a site is; its files are still there


def test_when_the_range_is_used_up_the_others_keep_theirs(state: Path) -> None:
    with pytest.raises(SiteError, match="all numbers from 1900000000 to 1900000001 have been given") as caught:
        give(state, "a", "b", "c", uid_range=(RANGE[0], RANGE[0] + 1))
    assert "--user-range" in caught.value.hint
    assert (find_uid(str(state), "a"), find_uid(str(state), "b"), find_uid(str(state), "c")) == (
        RANGE[0], RANGE[0] + 1, None,
    )  # fmt: skip
    assert give(state, "c", "a", uid_range=(5_000_000, 5_000_009)) == [5_000_000, RANGE[0]]


@pytest.mark.parametrize(
    "text",
    ["1900000000 blog\n1900000000 shop\n", "1900000000 blog\n1900000001 blog\n", "blog\n", "0 blog\n", "1900000000\n",
     "\0" * 512 + "\n", "1900000000 a b\n", "-1 blog\n"],
)  # fmt: skip
def test_a_damaged_record_gives_nothing(state: Path, text: str) -> None:
    (state / "users").write_text(text)
    (state / "users").chmod(0o600)
    with pytest.raises(SiteError, match=r"is damaged, at line [12]") as caught:
        find_uid(str(state), "blog")
    assert "backup" in caught.value.hint
    with pytest.raises(SiteError, match="is damaged"):
        give(state, "more")
    assert (state / "users").read_text() == text


def test_a_line_that_was_never_finished_was_never_used(state: Path) -> None:
    give(state, "blog")
    with (state / "users").open("a") as file:
        file.write("1900000001 sho")
    assert find_uid(str(state), "sho") is None
    assert give(state, "wiki") == [1_900_000_001]
    assert (state / "users").read_text() == "1900000000 blog\n1900000001 wiki\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_record_that_is_lost_is_not_begun_anew_over_the_files_of_sites(state: Path) -> None:
    (uid,) = give(state, "blog")
    assert uid is not None
    (state / "sites" / "blog").mkdir()
    os.chown(state / "sites" / "blog", uid, uid)
    (state / "users").unlink()
    with pytest.raises(SiteError, match=r"is lost: .*sites/blog belongs to user 1900000000"):
        give(state, "other")
    with pytest.raises(SiteError, match="is lost"):  # and it stays lost
        give(state, "other")
    assert find_uid(str(state), "other") is None


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_a_record_that_others_may_write_is_not_believed(state: Path, mode: int) -> None:
    give(state, "blog")
    (state / "users").chmod(mode)
    os.utime(state / "users", ns=(1, 1))
    with pytest.raises(SiteError, match="not to be trusted"):
        find_uid(str(state), "blog")


def test_a_link_is_not_followed(state: Path) -> None:
    (state / "elsewhere").write_text("1900000000 blog\n")
    (state / "elsewhere").chmod(0o600)
    (state / "users").symlink_to("elsewhere")
    with pytest.raises(SiteError, match="cannot read the record of users"):
        find_uid(str(state), "blog")


def test_numbers_that_the_machine_knows_are_left_out(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "_is_known", lambda uid: uid < RANGE[0] + 3)
    assert give(state, "blog") == [RANGE[0] + 3]


def test_two_servers_with_one_state_folder_give_no_number_twice(state: Path) -> None:
    code = f"""if True:
        import sys
        from hostel.sandbox.users import give_uids
        for number in range(60):
            give_uids({str(state)!r}, [f"{{sys.argv[1]}}-{{number}}"], (1_900_000_000, 1_900_099_999))
    """
    servers = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("a", "b", "c")]
    assert [server.wait(60) for server in servers] == [0, 0, 0]
    lines = [line.split() for line in (state / "users").read_text().splitlines()]
    assert len({site for _, site in lines}) == len({uid for uid, _ in lines}) == len(lines) == 180


def test_who_else_has_a_number(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "subuid").write_text("# none\nalice:5000000:65536\nbob:x:y\n")
    entry = pwd.getpwnam("nobody")
    assert who_uses((entry.pw_uid, entry.pw_uid)) == f"user nobody has {entry.pw_uid}"
    assert who_uses((5_065_535, 5_065_600), str(tmp_path)) == "/etc/subuid gives 5000000 to 5065535 to alice"
    assert who_uses((5_065_536, 5_065_600), str(tmp_path)) == ""
    assert who_uses(RANGE) == ""
