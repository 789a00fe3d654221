"""Which system user a site runs as."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from hostel.errors import HostError, SiteError
from hostel.sandbox import identity as identities
from hostel.sandbox.identity import Identity, find_identity, group_of, own_identity


def test_an_ordinary_user() -> None:
    entry = pwd.getpwnam("nobody")
    assert find_identity("nobody") == Identity(
        entry.pw_uid, entry.pw_gid, tuple(sorted(os.getgrouplist("nobody", entry.pw_gid))), "nobody", entry.pw_dir
    )


@pytest.mark.parametrize(
    ("user", "says", "hint"),
    [
        ("no-such-user", "there is no system user 'no-such-user'", "useradd no-such-user"),
        ("root", "user 'root' is root, and no site runs as root", "name an ordinary user"),
        ("", "there is no system user ''", "make it"),
        ("0", "there is no system user '0'", "make it"),
    ],
)
def test_who_cannot_be_a_site_s_user(user: str, says: str, hint: str) -> None:
    with pytest.raises(SiteError) as caught:
        find_identity(user)
    assert str(caught.value) == says
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("uid", "gid", "groups", "says"),
    [
        (0, 1000, [1000], "'tester' is root, and no site runs as root"),  # another name for root
        (1000, 0, [0], "'tester' is root, and no site runs as root"),
        (1000, 1000, [1000, 0], "'tester' is in root's group"),
        (1000, 1000, [1000, 4], ""),
    ],
)
def test_other_ways_to_be_root(
    monkeypatch: pytest.MonkeyPatch, uid: int, gid: int, groups: list[int], says: str
) -> None:
    """The system's tables are made up: a test does not change those of the machine."""
    entry = pwd.struct_passwd(("tester", "x", uid, gid, "", "/home/tester", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry)
    monkeypatch.setattr(os, "getgrouplist", lambda name, group: groups)
    identities._find_identity.cache_clear()
    try:
        if says:
            with pytest.raises(SiteError, match=says):
                find_identity("tester")
        else:
            assert find_identity("tester").groups == (4, 1000)
    finally:
        identities._find_identity.cache_clear()


@pytest.mark.parametrize(("uid", "gid", "least"), [(999, 1000, 1000), (1000, 999, 1000), (1000, 1000, 1001)])
def test_users_of_the_system_are_no_sites(monkeypatch: pytest.MonkeyPatch, uid: int, gid: int, least: int) -> None:
    """As a web server's or a database's, whose files are other people's."""
    entry = pwd.struct_passwd(("service", "x", uid, gid, "", "/var", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry)
    monkeypatch.setattr(os, "getgrouplist", lambda name, group: [group])
    identities._find_identity.cache_clear()
    try:
        with pytest.raises(SiteError, match=f"sites begin at {least}") as caught:
            find_identity("service", least)
        assert "--least-uid" in caught.value.hint
        assert find_identity("service", 999).uid == uid
    finally:
        identities._find_identity.cache_clear()


def test_the_caller() -> None:
    own = own_identity()
    if os.geteuid() == 0:
        assert own is None
    else:
        assert own is not None
        assert (own.uid, own.gid, own.name) == (os.geteuid(), os.getegid(), pwd.getpwuid(os.geteuid()).pw_name)


def test_a_caller_that_the_system_has_no_name_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    own = own_identity()
    assert own is not None
    assert (own.uid, own.name, own.home) == (54321, "54321", "/")


def test_users_of_the_server_itself() -> None:
    assert group_of("nobody") == (pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    assert grp.getgrgid(group_of("root")[1]).gr_name == "root"
    with pytest.raises(HostError, match="there is no system user 'no-such-user'") as caught:
        group_of("no-such-user")
    assert caught.value.hint == "make it: useradd --system no-such-user"
